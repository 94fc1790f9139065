"""What the venue takes and refuses: ids, checks, held legs, modifies, cancels."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from protocol.exchange.happenings import (
    Happening,
    OrderAccepted,
    OrderCancelled,
    OrderModified,
    OrderRejected,
    Status,
)
from protocol.exchange.venue import AccountSettings, VenueSettings
from protocol.tws.messages import Contract, Order
from protocol.tws.order_terms import PriceCondition
from tests.venues import ACCOUNT, GLD, SLV, Bench, fills, kinds, limit, market, only, stop, stop_limit


def codes(happened: tuple[Happening, ...]) -> list[int]:
    return [h.code for h in only(happened, OrderRejected)]


# --- new orders -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (limit("BUY", 10, 9.505), 110),
        (stop("SELL", 10, 9.501), 110),
        (limit("BUY", 10, float("nan")), 321),
        (limit("BUY", 10, 1e300), 321),
        (limit("BUY", 10, 0.0), 321),
        (attrs.evolve(limit("BUY", 10, 9.50), lmt_price=None), 321),
        (attrs.evolve(market("BUY", 10), order_type="TRAIL"), 321),
        (attrs.evolve(market("BUY", 10), action="HOLD"), 321),
        (attrs.evolve(market("BUY", 10), account="U999"), 321),
        (attrs.evolve(market("BUY", 10), order_type="BOX TOP"), 387),
        (attrs.evolve(market("BUY", 10), order_type="MKT PRT"), 387),
        (attrs.evolve(stop("BUY", 10, 9.50), order_type="STP PRT"), 387),
        (attrs.evolve(market("BUY", 10), order_type="NONSENSE"), 321),
        (attrs.evolve(market("BUY", 10), cash_qty=1000.0), 10244),
        (attrs.evolve(market("BUY", 10), tif="EVER"), 10052),
        (attrs.evolve(market("BUY", 10), min_qty=11), 321),
        (attrs.evolve(market("BUY", 10), trigger_method=5), 321),
        (attrs.evolve(market("BUY", 10), good_after_time="later"), 343),
        (attrs.evolve(market("BUY", 10), what_if=True), 321),
        (attrs.evolve(market("BUY", 10), oca_group="g", oca_type=4), 321),
        (market("BUY", 0), 434),
        (market("BUY", -5), 434),
        (attrs.evolve(market("BUY", 1), total_quantity=Decimal("0.5")), 434),
        (attrs.evolve(market("BUY", 1), total_quantity=Decimal("NaN")), 434),
        (market("BUY", 10**12), 321),
        (attrs.evolve(limit("BUY", 10, 9.50), tif="GTD", good_till_date="soon"), 343),
        (attrs.evolve(limit("BUY", 10, 9.50), parent_id=77), 135),
    ],
)
def test_a_wrong_order_is_refused_with_its_code_and_does_not_come_to_be(order: Order, code: int) -> None:
    bench = Bench()
    happened = bench.place(1, order)
    assert codes(happened) == [code]
    assert only(happened, OrderRejected)[0].order is None
    assert bench.venue.find(1, 1) is None
    assert bench.venue.largest_order_id(1) == 0


def test_an_unsupported_time_in_force_makes_an_inactive_order() -> None:
    bench = Bench()
    happened = bench.place(1, attrs.evolve(limit("BUY", 10, 9.50), tif="FOK"))
    (rejected,) = only(happened, OrderRejected)
    assert rejected.code == 201
    assert rejected.order == bench.order(1)
    assert bench.order(1).status is Status.INACTIVE
    assert codes(bench.cancel(1)) == [10148]


def test_the_sixteenth_working_order_on_one_side_is_rejected() -> None:
    bench = Bench()
    for order_id in range(1, 16):
        bench.place(order_id, limit("BUY", 1, 9.00))
    assert codes(bench.place(16, limit("BUY", 1, 9.00))) == [201]
    assert codes(bench.place(17, limit("SELL", 1, 11.00))) == []
    assert codes(bench.place(18, limit("BUY", 1, 9.00), contract=GLD)) == []


def test_buying_power_is_checked_only_where_it_is_asked_for_and_never_for_a_closing_order() -> None:
    accounts = (AccountSettings(ACCOUNT, Decimal(1000)),)
    bench = Bench(settings=VenueSettings(accounts=accounts, buying_power_multiple=Decimal(2)))
    bench.quote(10.00, 10.00)
    assert codes(bench.place(1, market("BUY", 201))) == [201]
    assert fills(bench.place(2, market("BUY", 199)))
    assert codes(bench.place(3, market("SELL", 199))) == []
    unlimited = Bench(settings=VenueSettings(accounts=accounts, check_margin=False))
    unlimited.quote(10.00, 10.00)
    assert fills(unlimited.place(1, market("BUY", 201)))


def test_an_order_id_serves_once_and_only_upwards() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(5, market("BUY", 10))
    assert codes(bench.place(5, market("BUY", 10))) == [104]
    assert codes(bench.place(4, market("BUY", 10))) == [103]
    bench.place(6, limit("BUY", 10, 9.00))
    bench.cancel(6)
    assert codes(bench.place(6, limit("BUY", 10, 9.00))) == [103]
    assert codes(bench.place(4, market("BUY", 10), client=2)) == [], "ids are per client"
    assert (bench.venue.largest_order_id(1), bench.venue.largest_order_id(2)) == (6, 4)


def test_an_order_without_account_and_time_in_force_is_a_day_order_of_the_first_account() -> None:
    bench = Bench()
    bench.place(1, limit("BUY", 10, 9.00))
    assert (bench.order(1).order.tif, bench.order(1).account) == ("DAY", ACCOUNT)


WITHOUT_EFFECT: tuple[dict[str, Any], ...] = (
    {"hidden": True},
    {"display_size": 10},
    {"discretionary_amt": 0.05},
    {"sweep_to_fill": True},
    {"conditions": (PriceCondition(is_more=True, price=99.0, con_id=1, exchange="SMART"),)},
    {"algo_strategy": "Adaptive", "algo_params": (("adaptivePriority", "Patient"),)},
    {"scale_init_level_size": 10, "scale_price_increment": 0.05},
    {"hedge_type": "P", "hedge_param": "GLD"},
)


@pytest.mark.parametrize("attributes", WITHOUT_EFFECT, ids=lambda given: next(iter(given)))
def test_an_attribute_without_effect_is_echoed_and_changes_nothing(attributes: dict[str, Any]) -> None:
    plain, special = Bench(), Bench()
    for bench, order in (
        (plain, limit("BUY", 100, 10.01)),
        (special, attrs.evolve(limit("BUY", 100, 10.01), **attributes)),
    ):
        bench.quote(9.99, 10.03)
        bench.place(1, order)
    kept = special.order(1).order
    assert {name: getattr(kept, name) for name in attributes} == attributes
    for bid, ask, size in ((9.98, 10.02, 100), (9.99, 10.01, 40), (9.98, 10.00, 60)):
        assert fills(special.quote(bid, ask, size)) == fills(plain.quote(bid, ask, size))
        assert special.state(1) == plain.state(1)
    assert special.state(1) == (Status.FILLED, "", 100, 100)


# --- transmit ---------------------------------------------------------------------------------------


def test_an_untransmitted_order_is_silent_until_the_same_id_transmits() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    assert bench.place(1, attrs.evolve(market("BUY", 10), transmit=False)) == ()
    assert bench.order(1).status is Status.API_PENDING
    assert bench.venue.open_orders() == ()
    assert kinds(bench.place(1, market("BUY", 20)))[:2] == ["OrderAccepted", "Executed"]
    assert bench.position == 20


def test_the_last_leg_of_a_bracket_transmits_all_of_it_parent_first() -> None:
    bench = Bench()
    bench.bracket(limit("BUY", 100, 9.90), target=10.90, stop_at=9.50)
    accepted = only(bench.venue.take(), OrderAccepted)
    assert [(a.order.order_id, a.order.status, a.order.why_held) for a in accepted] == [
        (1, Status.SUBMITTED, ""),
        (2, Status.PRE_SUBMITTED, "child"),
        (3, Status.PRE_SUBMITTED, "child,trigger"),
    ]
    parent = accepted[0].order
    assert {
        (a.order.parent_perm_id, a.order.order.oca_group, a.order.order.oca_type) for a in accepted[1:]
    } == {(parent.perm_id, str(parent.perm_id), 3)}


def test_a_refused_last_leg_leaves_the_rest_of_the_bracket_untransmitted() -> None:
    bench = Bench()
    bench.place(1, attrs.evolve(limit("BUY", 10, 9.90), transmit=False))
    assert codes(bench.place(2, attrs.evolve(stop("SELL", 10, 9.505), parent_id=1))) == [110]
    assert bench.order(1).status is Status.API_PENDING


def test_cancelling_an_untransmitted_parent_takes_its_held_children_with_it() -> None:
    bench = Bench()
    bench.place(1, attrs.evolve(limit("BUY", 10, 9.90), transmit=False))
    bench.place(2, attrs.evolve(stop("SELL", 10, 9.50), parent_id=1, transmit=False))
    assert [c.order.order_id for c in only(bench.cancel(1), OrderCancelled)] == [1, 2]


# --- modify -----------------------------------------------------------------------------------------


def test_a_modify_in_place_keeps_the_permanent_id_and_can_make_the_order_trade() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, limit("BUY", 10, 9.00))
    perm_id = bench.order(1).perm_id
    happened = bench.place(1, limit("BUY", 30, 10.05))
    assert kinds(happened)[:2] == ["OrderModified", "Executed"]
    assert only(happened, OrderModified)[0].order.perm_id == perm_id
    assert fills(happened) == [(1, 30, Decimal("10.01"))]


def test_a_modify_that_does_not_transmit_takes_effect_all_the_same() -> None:
    bench = Bench()
    bench.place(1, limit("BUY", 10, 9.00))
    happened = bench.place(1, attrs.evolve(limit("BUY", 20, 9.10), transmit=False))
    assert kinds(happened) == ["OrderModified"]
    assert bench.state(1) == (Status.SUBMITTED, "", 20, 0)
    assert fills(bench.quote(9.08, 9.10)) == [(1, 20, Decimal("9.1"))]


def test_the_total_after_a_modify_includes_what_has_filled() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=40)
    bench.place(1, limit("BUY", 100, 10.01))
    bench.place(1, limit("BUY", 60, 10.01))
    assert bench.state(1) == (Status.SUBMITTED, "", 60, 40)
    assert fills(bench.quote(9.99, 10.01)) == [(1, 20, Decimal("10.01"))]


@pytest.mark.parametrize("total", [40, 25])
def test_a_modify_to_no_more_than_has_filled_completes_the_order(total: int) -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=40)
    bench.place(1, limit("BUY", 100, 10.01))
    happened = bench.place(1, limit("BUY", total, 10.01))
    assert kinds(happened) == ["OrderModified"]
    assert bench.state(1) == (Status.FILLED, "", 40, 40)
    assert bench.venue.open_orders() == ()


def test_a_modify_that_completes_an_order_leaves_its_siblings() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=40)
    for order_id, price in ((1, 10.01), (2, 9.00)):
        bench.place(order_id, attrs.evolve(limit("BUY", 100, price), oca_group="g", oca_type=3))
    sibling = bench.state(2)
    bench.place(1, attrs.evolve(limit("BUY", 40, 10.01), oca_group="g", oca_type=3))
    assert bench.state(1) == (Status.FILLED, "", 40, 40)
    assert bench.state(2) == sibling == (Status.SUBMITTED, "", 100, 0)


@pytest.mark.parametrize(
    ("order", "contract", "code"),
    [
        (limit("SELL", 10, 9.00), SLV, 105),
        (limit("BUY", 10, 9.00), GLD, 105),
        (limit("BUY", 10, 9.001), SLV, 110),
        (limit("BUY", 0, 9.00), SLV, 434),
        (attrs.evolve(limit("BUY", 10, 9.00), tif="FOK"), SLV, 201),
        (attrs.evolve(limit("BUY", 10, 9.00), oca_group="other"), SLV, 10326),
    ],
)
def test_after_a_refused_modify_the_original_stands(order: Order, contract: Contract, code: int) -> None:
    bench = Bench()
    bench.place(1, limit("BUY", 10, 9.00))
    before = bench.order(1)
    happened = bench.place(1, order, contract=contract)
    assert codes(happened) == [code]
    assert only(happened, OrderRejected)[0].order == before == bench.order(1)


def test_a_waiting_stop_moved_through_the_market_is_elected_at_once() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(10.00)
    bench.place(1, stop("SELL", 10, 9.50))
    assert kinds(bench.place(1, stop("SELL", 10, 10.05)))[:3] == [
        "OrderModified", "OrderTriggered", "Executed",
    ]  # fmt: skip


def test_an_elected_stop_that_changes_its_type_waits_for_its_trigger_again() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=4)
    bench.trade(10.00)
    bench.place(1, stop("SELL", 10, 10.00))
    assert bench.state(1) == (Status.SUBMITTED, "", 10, 4)
    bench.place(1, stop_limit("SELL", 10, 9.00, 8.90))
    assert bench.state(1) == (Status.PRE_SUBMITTED, "trigger", 10, 4)


def test_a_target_turned_into_a_marketable_limit_stays_in_its_group_and_ends_the_stop() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.bracket(market("BUY", 100), target=10.90, stop_at=9.50, oca="exits", oca_type=2)
    assert bench.position == 100
    bench.later()
    bench.place(2, attrs.evolve(limit("SELL", 100, 9.90), tif="GTC"))
    assert bench.position == 0
    assert bench.state(3)[0] is Status.CANCELLED


# --- cancel -----------------------------------------------------------------------------------------


def test_a_cancel_ends_the_order_and_keeps_what_it_filled() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=40)
    bench.place(1, limit("BUY", 100, 10.01))
    (cancelled,) = only(bench.cancel(1), OrderCancelled)
    assert (cancelled.by_client, cancelled.reason) == (True, "")
    assert bench.state(1) == (Status.CANCELLED, "", 100, 40)
    assert bench.quote(9.00, 9.01) == ()


def test_a_cancel_of_an_unknown_or_foreign_or_ended_order_is_refused() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, limit("BUY", 10, 9.00))
    bench.place(2, market("BUY", 10))
    assert codes(bench.cancel(9)) == [10147]
    assert codes(bench.cancel(1, client=2)) == [10147]
    (late,) = only(bench.cancel(2), OrderRejected)
    assert (late.code, late.order) == (10148, None)
    assert late.text == "OrderId 2 that needs to be cancelled cannot be cancelled, state: Filled."


def test_a_global_cancel_ends_the_live_orders_of_every_client() -> None:
    bench = Bench()
    bench.place(1, limit("BUY", 10, 9.00))
    bench.place(1, limit("BUY", 10, 9.00), client=2)
    bench.venue.global_cancel(bench.later(), 1)
    cancelled = only(bench.venue.take(), OrderCancelled)
    assert [(c.order.client_id, c.by_client) for c in cancelled] == [(1, True), (2, False)]
    assert bench.venue.open_orders() == ()


# --- queries ----------------------------------------------------------------------------------------


def test_the_venue_lists_open_and_completed_orders_with_their_endings() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, limit("BUY", 10, 9.00))
    bench.place(2, market("BUY", 10))
    bench.place(3, limit("BUY", 10, 9.00), client=2)
    bench.later()
    bench.cancel(1)
    assert [o.order_id for o in bench.venue.open_orders()] == [3]
    assert bench.venue.open_orders(1) == ()
    assert [(c.order.order_id, c.order.status, c.reason) for c in bench.venue.completed_orders()] == [
        (2, Status.FILLED, ""),
        (1, Status.CANCELLED, ""),
    ]
    (execution,) = bench.venue.executions()
    assert bench.venue.charge(execution.exec_id).commission == Decimal("1.00")
