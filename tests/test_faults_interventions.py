"""What people and the exchange do to a venue from outside: busts, corrections, manual orders, rejects."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.happenings import (
    CommissionCharged,
    ExecutionCorrected,
    OrderAccepted,
    OrderCancelled,
    OrderModified,
    OrderRejected,
    PositionChanged,
    Status,
)
from protocol.exchange.interventions import Interventions
from protocol.exchange.snapshot import snapshot_from_json, snapshot_to_json
from protocol.exchange.venue import Venue
from tests.venues import ACCOUNT, CASH, SLV, Bench, fills, kinds, limit, market, only, stop


def opened(bid: float = 25.0, ask: float = 25.02) -> tuple[Bench, Interventions]:
    bench = Bench()
    bench.quote(bid, ask)
    return bench, Interventions(bench.venue)


def test_a_bust_takes_the_shares_the_cash_and_the_commission_back() -> None:
    bench, outside = opened()
    bench.place(1, market("BUY", 100))
    (execution,) = bench.venue.executions()
    assert outside.bust(bench.later(), execution.exec_id)
    corrected, charged, position = bench.venue.take()
    assert isinstance(corrected, ExecutionCorrected)
    assert (corrected.replaces, corrected.execution.quantity) == (execution.exec_id, 0)
    assert corrected.execution.exec_id == execution.exec_id[:-3] + ".02"
    assert (corrected.order.filled, int(corrected.order.order.total_quantity)) == (0, 0)
    assert isinstance(charged, CommissionCharged)
    assert charged.commission == 0
    assert isinstance(position, PositionChanged)
    assert (position.quantity, position.commission) == (0, Decimal(0))
    assert bench.venue.account(ACCOUNT).cash == CASH


def test_a_correction_of_the_price_moves_cash_and_average_and_keeps_the_commission() -> None:
    bench, outside = opened()
    bench.place(1, market("BUY", 100))
    (execution,) = bench.venue.executions()
    assert outside.correct(bench.later(), execution.exec_id, price=Decimal("24.50"))
    (position,) = only(bench.venue.take(), PositionChanged)
    assert (position.quantity, position.average_cost) == (100, Decimal("24.5"))
    assert bench.venue.account(ACCOUNT).cash == CASH - 2450 - 1
    assert bench.order(1).avg_fill_price == 24.5
    assert [e.price for e in outside.effective_executions()] == [Decimal("24.50")]


def test_a_replaced_execution_cannot_be_corrected_again_but_its_successor_can() -> None:
    bench, outside = opened()
    bench.place(1, market("BUY", 100))
    first = bench.venue.executions()[0].exec_id
    assert outside.correct(bench.later(), first, quantity=60)
    assert not outside.correct(bench.later(), first, quantity=50)
    assert outside.correct(bench.later(), first[:-3] + ".02", quantity=40)
    assert bench.venue.executions()[-1].exec_id == first[:-3] + ".03"
    assert bench.position == 40
    with pytest.raises(ValueError, match="is none"):
        outside.correct(bench.now, first[:-3] + ".03", price=Decimal(0))


def test_the_profit_of_a_corrected_sale_is_what_it_would_have_been() -> None:
    bench, outside = opened()
    bench.place(1, market("BUY", 100))
    bench.place(2, market("SELL", 100))
    outside.correct(bench.later(), bench.venue.executions()[0].exec_id, price=Decimal("20.02"))
    books = bench.venue.account(ACCOUNT)
    assert books.realized_pnl == Decimal("498.00")
    assert books.cash == CASH + 498 - 2


def test_a_bust_of_a_working_order_leaves_what_it_still_works_for() -> None:
    bench, outside = opened()
    bench.place(1, limit("BUY", 1500, 25.02))
    assert bench.order(1).remaining == 500
    outside.bust(bench.later(), bench.venue.executions()[0].exec_id)
    order = bench.order(1)
    assert (order.status, order.filled, order.remaining) == (Status.SUBMITTED, 0, 500)


@given(
    st.lists(st.tuples(st.sampled_from(["BUY", "SELL"]), st.integers(1, 300)), min_size=1, max_size=6),
    st.data(),
)
@pytest.mark.slow
def test_after_any_correction_the_books_are_those_of_the_corrected_trades(
    trades: list[tuple[str, int]], data: st.DataObject
) -> None:
    bench, outside = opened()
    for number, (action, quantity) in enumerate(trades, 1):
        bench.place(number, market(action, quantity))
        bench.quote(25.0 + number, 25.02 + number)
    for _ in range(2):
        chosen = data.draw(st.sampled_from(outside.effective_executions()))
        quantity = data.draw(st.integers(0, 300))
        price = Decimal(data.draw(st.integers(1, 5000))) / 100
        outside.correct(bench.later(), chosen.exec_id, price=price, quantity=quantity)
        bench.venue.take()
    effective = outside.effective_executions()
    charges = sum(bench.venue.charge(e.exec_id).commission for e in effective)
    signed = [e.quantity if e.side == "BOT" else -e.quantity for e in effective]
    spent = sum(n * e.price for n, e in zip(signed, effective, strict=True))
    books = bench.venue.account(ACCOUNT)
    assert bench.position == sum(signed)
    assert books.cash == CASH - spent - charges
    assert books.commission == charges
    for number in range(1, len(trades) + 1):
        filled = sum(e.quantity for e in effective if e.order_id == number)
        assert bench.order(number).filled == filled
        assert bench.venue.commission_of(bench.order(number).perm_id) == sum(
            bench.venue.charge(e.exec_id).commission for e in effective if e.order_id == number
        )


def test_manual_orders_have_no_id_and_do_not_get_in_each_others_way() -> None:
    bench, outside = opened()
    first = outside.place_manual(bench.now, SLV, limit("BUY", 100, 24.0))
    second = outside.place_manual(bench.now, SLV, market("BUY", 50))
    assert first is not None
    assert second is not None
    happened = bench.venue.take()
    assert fills(happened) == [(0, 50, Decimal("25.02"))]
    assert (second.client_id, second.order_id) == (0, 0)
    assert first.perm_id != second.perm_id
    assert bench.venue.find(0, 0) is None
    assert outside.cancel_manual(bench.now, first.perm_id)
    (cancelled,) = only(bench.venue.take(), OrderCancelled)
    assert cancelled.order.perm_id == first.perm_id


def test_a_wrong_manual_order_is_refused_like_any_other() -> None:
    bench, outside = opened()
    assert outside.place_manual(bench.now, SLV, limit("BUY", 100, 24.001)) is None
    (refused,) = only(bench.venue.take(), OrderRejected)
    assert (refused.client_id, refused.code) == (0, 110)


def test_a_person_cancels_and_moves_an_order_of_an_api_client() -> None:
    bench, outside = opened()
    bench.place(1, limit("BUY", 100, 24.0))
    perm_id = bench.order(1).perm_id
    assert outside.modify_manual(bench.later(), perm_id, limit_price=24.5, quantity=70)
    (modified,) = only(bench.venue.take(), OrderModified)
    assert (modified.order.order.lmt_price, int(modified.order.order.total_quantity)) == (24.5, 70)
    assert outside.cancel_manual(bench.later(), perm_id)
    (cancelled,) = only(bench.venue.take(), OrderCancelled)
    assert not cancelled.by_client
    assert not outside.cancel_manual(bench.later(), perm_id)
    assert not outside.modify_manual(bench.later(), perm_id, quantity=1)
    assert not outside.reject(bench.later(), 4711, "unknown")


def test_a_person_cancels_everything() -> None:
    bench, outside = opened()
    bench.place(1, limit("BUY", 100, 24.0))
    bench.place(1, limit("BUY", 100, 24.0), client=2)
    assert outside.cancel_everything(bench.later()) == 2
    assert bench.venue.open_orders() == ()


def test_the_exchange_rejects_a_working_stop() -> None:
    bench, outside = opened()
    bench.place(1, stop("SELL", 100, 24.0))
    assert outside.reject(bench.later(), bench.order(1).perm_id, "No stops today.")
    (rejected,) = bench.venue.take()
    assert isinstance(rejected, OrderRejected)
    assert (rejected.code, rejected.text) == (201, "Order rejected - reason:No stops today.")
    assert bench.order(1).status is Status.INACTIVE
    assert bench.venue.open_orders() == ()


def test_a_rejected_parent_takes_its_children_with_it() -> None:
    bench, outside = opened()
    bench.bracket(limit("BUY", 100, 24.0), target=26.0, stop_at=23.0)
    bench.venue.take()
    outside.reject(bench.later(), bench.order(1).perm_id, "No.")
    assert kinds(bench.venue.take()) == ["OrderRejected", "OrderCancelled", "OrderCancelled"]


def test_nothing_trades_between_halt_and_resume() -> None:
    bench, outside = opened()
    outside.halt(bench.later(), "SLV")
    assert fills(bench.place(1, market("BUY", 100))) == []
    outside.resume(bench.later(), "SLV")
    assert fills(bench.venue.take()) == [(1, 100, Decimal("25.02"))]


def test_a_modify_that_goes_astray_leaves_two_orders_of_one_id() -> None:
    bench, outside = opened()
    bench.place(1, attrs.evolve(limit("BUY", 100, 24.0), order_ref="mine"))
    before = bench.order(1)
    bench.place(1, attrs.evolve(limit("BUY", 100, 24.5), order_ref="mine"))
    twin = outside.leave_stale(bench.later(), before)
    assert twin is not None
    (accepted,) = only(bench.venue.take(), OrderAccepted)
    assert accepted.order == twin
    live = bench.venue.open_orders()
    assert [(o.order_id, o.order.order_ref, o.order.lmt_price) for o in live] == [
        (1, "mine", 24.5),
        (1, "mine", 24.0),
    ]
    assert live[0].perm_id == before.perm_id
    restored = Venue.restore(
        bench.venue.settings, snapshot_from_json(snapshot_to_json(bench.venue.snapshot()))
    )
    for venue in (bench.venue, restored):
        venue.cancel(bench.now, 1, 1)
        assert [o.perm_id for o in venue.open_orders()] == [twin.perm_id]
        venue.cancel(bench.now, 1, 1)
        assert venue.open_orders() == ()


def test_an_order_out_of_its_group_can_fill_after_its_sibling() -> None:
    bench, outside = opened()
    bench.place(1, attrs.evolve(limit("SELL", 100, 26.0), oca_group="g", oca_type=1))
    bench.place(2, attrs.evolve(stop("SELL", 100, 24.0), oca_group="g", oca_type=1))
    assert outside.leave_group(bench.order(2).perm_id)
    assert bench.order(2).order.oca_group == "g"
    assert fills(bench.quote(26.0, 26.02)) == [(1, 100, Decimal("26.0"))]
    assert bench.order(2).status is Status.PRE_SUBMITTED
    assert not outside.leave_group(4711)


def test_a_cancelled_order_can_trade_all_the_same() -> None:
    bench, outside = opened()
    bench.place(1, limit("BUY", 100, 24.0))
    bench.cancel(1)
    perm_id = bench.order(1).perm_id
    assert outside.fill_ended(bench.later(), perm_id, 30)
    assert fills(bench.venue.take()) == [(1, 30, Decimal("24.0"))]
    assert (bench.order(1).status, bench.order(1).filled) == (Status.CANCELLED, 30)
    assert outside.fill_ended(bench.later(), perm_id)
    assert (bench.order(1).status, bench.position) == (Status.FILLED, 100)
    assert not outside.fill_ended(bench.later(), perm_id)
