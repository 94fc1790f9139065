"""Groups and families of orders, and what each request does to an order in each of its states."""

from __future__ import annotations

import attrs
import pytest

from protocol.exchange.happenings import Happening, OrderAccepted, OrderRejected, Status
from protocol.exchange.snapshot import snapshot_from_json, snapshot_to_json
from protocol.exchange.venue import Venue
from protocol.tws.messages import Order
from tests.venues import Bench, kinds, limit, market, only, stop


def codes(happened: tuple[Happening, ...]) -> list[int]:
    return [h.code for h in only(happened, OrderRejected)]


def revived(bench: Bench) -> None:
    """The bench goes on with a venue that came back from its snapshot."""
    saved = snapshot_to_json(bench.venue.snapshot())
    bench.venue = Venue.restore(bench.venue.settings, snapshot_from_json(saved))


# --- groups and families --------------------------------------------------------------------------------


def grouped(order: Order, oca_type: int = 1) -> Order:
    return attrs.evolve(order, oca_group="g", oca_type=oca_type)


def test_nothing_joins_a_group_that_has_filled() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, grouped(limit("SELL", 10, 10.50)))
    bench.place(2, grouped(market("SELL", 10)))
    assert bench.order(1).status is Status.CANCELLED
    revived(bench)
    (refused,) = only(bench.place(3, grouped(limit("SELL", 10, 10.50))), OrderRejected)
    assert (refused.code, refused.text, refused.order) == (10326, "OCA group revision is not allowed.", None)
    assert codes(bench.place(3, attrs.evolve(grouped(limit("SELL", 10, 10.50)), oca_group="h"))) == []


def test_a_group_that_traded_in_part_can_be_joined() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=4)
    bench.place(1, grouped(limit("SELL", 10, 9.99), 2))
    assert codes(bench.place(2, grouped(limit("SELL", 10, 10.50), 2))) == []


def test_a_child_joins_no_family_whose_exits_have_filled() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.bracket(limit("BUY", 10, 10.01), target=10.05, stop_at=9.50)
    bench.quote(10.05, 10.07)
    assert bench.order(2).status is Status.FILLED
    assert codes(bench.place(4, attrs.evolve(stop("SELL", 10, 9.50), parent_id=1))) == [10326]


def test_a_child_of_a_child_sleeps_until_the_child_fills() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(limit("BUY", 10, 10.01), transmit=False))
    bench.place(2, attrs.evolve(limit("SELL", 10, 10.50), parent_id=1, transmit=False))
    happened = bench.place(3, attrs.evolve(limit("BUY", 10, 9.00), parent_id=2, oca_group="own"))
    assert [h.order.order_id for h in only(happened, OrderAccepted)] == [1, 2, 3]
    assert bench.state(2) == (Status.SUBMITTED, "", 10, 0)
    assert bench.state(3) == (Status.PRE_SUBMITTED, "child", 10, 0)
    bench.quote(10.50, 10.52)
    assert bench.state(3) == (Status.SUBMITTED, "", 10, 0)


# --- every state, every request -------------------------------------------------------------------------

STATES = (
    Status.API_PENDING,
    Status.PRE_SUBMITTED,
    Status.SUBMITTED,
    Status.FILLED,
    Status.CANCELLED,
    Status.INACTIVE,
)
"""All that an order at the venue can be in: a cancel takes effect at once, so that none is PendingCancel."""


def in_state(status: Status) -> Bench:
    """Order 1 in a state, with nothing left to take."""
    bench = Bench()
    bench.quote(9.99, 10.01)
    order = limit("BUY", 10, 9.00)
    match status:
        case Status.API_PENDING:
            order = attrs.evolve(order, transmit=False)
        case Status.PRE_SUBMITTED:
            order = stop("BUY", 10, 11.00)
        case Status.FILLED:
            order = market("BUY", 10)
        case Status.INACTIVE:
            order = attrs.evolve(order, tif="FOK")
        case _:
            pass
    bench.place(1, order)
    if status is Status.CANCELLED:
        bench.cancel(1)
    assert bench.order(1).status is status
    return bench


@pytest.mark.parametrize(
    ("status", "happens"),
    list(
        zip(
            STATES,
            (["OrderAccepted"], ["OrderModified"], ["OrderModified"], [104], [103], [103]),
            strict=True,
        )
    ),
)
def test_what_a_modify_does_in_every_state(status: Status, happens: list[object]) -> None:
    bench = in_state(status)
    before = bench.order(1)
    happened = bench.place(1, limit("BUY", 12, 9.10))
    assert (codes(happened) or kinds(happened)) == happens
    changed = isinstance(happens[0], str)
    assert (bench.order(1).order.total_quantity == 12) is changed
    assert bench.order(1).perm_id == before.perm_id
    if not changed:
        assert bench.order(1) == before


@pytest.mark.parametrize(
    ("status", "happens"),
    list(zip(STATES, (["OrderCancelled"],) * 3 + ([10148],) * 3, strict=True)),
)
def test_what_a_cancel_does_in_every_state(status: Status, happens: list[object]) -> None:
    bench = in_state(status)
    happened = bench.cancel(1)
    assert (codes(happened) or kinds(happened)) == happens
    for refused in only(happened, OrderRejected):
        text = f"OrderId 1 that needs to be cancelled cannot be cancelled, state: {status.value}."
        assert (refused.text, bench.order(1).status) == (text, status)


@pytest.mark.parametrize(
    ("status", "ended"), list(zip(STATES, (False, True, True, False, False, False), strict=True))
)
def test_what_a_global_cancel_does_in_every_state(status: Status, ended: bool) -> None:
    bench = in_state(status)
    bench.venue.global_cancel(bench.now, 2)
    happened = bench.venue.take()
    assert kinds(happened) == (["OrderCancelled"] if ended else [])
    assert (bench.order(1).status is Status.CANCELLED) is (ended or status is Status.CANCELLED)


@pytest.mark.parametrize(
    ("status", "code"), list(zip(STATES, (None, None, None, None, 201, 201), strict=True))
)
def test_what_becomes_of_a_child_in_every_state_of_its_parent(status: Status, code: int | None) -> None:
    bench = in_state(status)
    happened = bench.place(2, attrs.evolve(limit("SELL", 10, 12.00), parent_id=1))
    assert codes(happened) == ([] if code is None else [code])
    works = status is Status.FILLED
    assert (bench.order(2).status is Status.SUBMITTED) is works
