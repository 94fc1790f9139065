"""A person cancels or moves our exits in TWS: put back once, and then it is their word."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import SignalVerdictEvent
from protocol.values import OrderStatus, Side
from tests.counter_desk import Counter
from tests.symbol_desk import Desk, ref

LONG = "long 100, stop and target at work"


def cancel(counter: Counter, role: str, revision: int = 0) -> None:
    counter.serve(counter.desk.told(ref(role, 1, revision), OrderStatus.CANCELLED))


def move(counter: Counter, role: str, **changes: object) -> None:
    counter.hear(attrs.evolve(counter.desk.report(ref(role)), **changes))  # type: ignore[arg-type]


def stops(counter: Counter) -> list[tuple[str, int, Decimal | None]]:
    """Reference, open shares and price of the stops that work."""
    return [
        (str(order.ref), order.remaining, order.confirmed_stop)
        for order in counter.desk.trade.orders
        if order.live and order.role == "stop"
    ]


# --- cancelled ------------------------------------------------------------------------------------


def test_a_stop_that_somebody_cancels_is_put_back_at_once_and_a_person_is_told() -> None:
    counter = Counter(LONG)
    cancel(counter, "stop")
    assert stops(counter) == [("t:SLV:000001:stop:r1", 100, Decimal("97.00"))]
    assert counter.alarms() == ["EXIT_CANCELLED"]
    assert counter.desk.state.held == ""


def test_whoever_cancels_it_again_is_heard_the_position_is_closed_and_the_symbol_held() -> None:
    counter = Counter(LONG)
    cancel(counter, "stop")
    cancel(counter, "stop", 1)
    assert counter.desk.state.held == "somebody else cancelled the stop again"
    assert counter.desk.trade.closing is not None
    last = counter.asked[-1]
    assert isinstance(last, ModifyOrder)
    assert (last.order.ref, last.order.side, last.order.quantity) == (ref("target"), Side.SELL, 100)
    assert counter.alarms() == ["EXIT_CANCELLED", "EXIT_CANCELLED", "UNCOVERED"]


@pytest.mark.parametrize("first", ["stop", "target"])
def test_everything_cancelled_in_tws_brings_the_stop_back_and_holds_the_symbol(first: str) -> None:
    counter = Counter(LONG)
    for role in (first, "target" if first == "stop" else "stop"):
        cancel(counter, role)
    assert stops(counter) == [("t:SLV:000001:stop:r1", 100, Decimal("97.00"))]
    assert counter.desk.state.held == "somebody else cancelled stop and target"
    counter.desk.wait(5)
    counter.serve(counter.desk.signal("BUY", "s2"))
    assert [type(each) for each in counter.asked] == [PlaceOrders]


def test_held_by_a_cancelled_stop_and_target_nothing_is_entered_after_the_trade() -> None:
    counter = Counter(LONG)
    cancel(counter, "stop")
    cancel(counter, "target")
    counter.hear(counter.desk.execution(ref("stop", 1, 1), Side.SELL, 100, "97"))
    counter.wait(600)
    assert counter.desk.state.trade is None
    counter.serve(counter.desk.signal("BUY", "s2"))
    said = [event for event in counter.desk.events if isinstance(event, SignalVerdictEvent)]
    assert said[-1].code == "hold"


def test_a_stop_that_the_exchange_cancels_since_the_target_has_filled_is_nobodys() -> None:
    counter = Counter(LONG)
    desk = counter.desk
    counter.hear(desk.execution(ref("target"), Side.SELL, 100, "108"))
    cancel(counter, "stop")
    counter.wait(5)
    assert desk.state.trade is None
    assert counter.alarms() == []
    assert desk.state.held == ""


def test_exits_that_go_with_their_entry_were_cancelled_by_nobody() -> None:
    counter = Counter("an entry at work, nothing filled")
    counter.hear(counter.desk.execution(ref("main"), Side.BUY, 40, "100"))
    for role in ("main", "stop", "target"):
        cancel(counter, role)
    assert [shares for _, shares, _ in stops(counter)] == [40]
    assert counter.alarms() == []
    assert counter.desk.state.held == ""


def test_an_exit_that_we_cancel_ourselves_is_no_dispute() -> None:
    counter = Counter(LONG)
    counter.hear(counter.desk.execution(None, Side.SELL, 100, "100"))
    counter.wait(5)
    assert counter.alarms() == ["FOREIGN_TRADE"]


# --- moved ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("price", ["90", "99"], ids=["away from the market", "towards it"])
def test_a_stop_that_somebody_moves_is_put_back_after_a_second(price: str) -> None:
    counter = Counter(LONG)
    move(counter, "stop", stop_price=Decimal(price))
    counter.wait(0.9)
    assert counter.asked == []
    counter.wait(0.3)
    assert stops(counter) == [("t:SLV:000001:stop:r0", 100, Decimal("97.00"))]
    assert counter.alarms() == ["EXIT_MOVED"]
    assert counter.desk.state.held == ""


def test_moved_again_it_stays_where_somebody_wants_it_and_the_symbol_is_held() -> None:
    counter = Counter(LONG)
    for _ in range(2):
        move(counter, "stop", stop_price=Decimal("90"))
        counter.wait(5)
    counter.asked.clear()
    counter.wait(30)
    assert counter.asked == []
    assert stops(counter) == [("t:SLV:000001:stop:r0", 100, Decimal("90"))]
    assert counter.desk.state.held == "somebody else moved the stop to 100 shares at 90 again"


def test_the_size_of_a_stop_that_is_somebodys_still_follows_the_position() -> None:
    counter = Counter(LONG)
    for _ in range(2):
        move(counter, "stop", stop_price=Decimal("90"))
        counter.wait(5)
    counter.hear(counter.desk.execution(None, Side.SELL, 40, "100"))
    counter.wait(5)
    assert stops(counter) == [("t:SLV:000001:stop:r0", 60, Decimal("90"))]


def test_a_target_that_is_moved_twice_stays_there_too() -> None:
    counter = Counter(LONG)
    for _ in range(2):
        move(counter, "target", limit_price=Decimal("120"))
        counter.wait(5)
    assert counter.desk.order(ref("target")).confirmed_limit == Decimal("120")
    assert counter.desk.state.held


def test_a_stop_that_is_made_smaller_grows_again_and_the_second_time_the_position_is_closed() -> None:
    counter = Counter(LONG)
    move(counter, "stop", quantity=40)
    counter.wait(1.2)
    assert [shares for _, shares, _ in stops(counter)] == [100]
    counter.wait(5)
    move(counter, "stop", quantity=40)
    counter.wait(1.2)
    assert counter.desk.trade.closing is not None
    assert counter.desk.trade.closing.reason == "somebody else keeps shrinking the stop"
    assert counter.desk.state.held


def test_an_echo_that_was_overtaken_is_no_move() -> None:
    counter = Counter(LONG)
    move(counter, "stop", stop_price=Decimal("96"))
    counter.wait(0.5)
    move(counter, "stop")
    counter.wait(5)
    assert counter.asked == []
    assert counter.alarms() == []


def test_a_reduction_by_the_broker_that_is_told_before_its_execution_is_no_move() -> None:
    counter = Counter(LONG)
    move(counter, "stop", quantity=60)
    counter.wait(0.5)
    counter.hear(counter.desk.execution(ref("target"), Side.SELL, 40, "108"))
    counter.wait(5)
    assert stops(counter) == [("t:SLV:000001:stop:r0", 60, Decimal("97.00"))]
    assert counter.alarms() == []


def test_a_change_of_ours_that_nobody_answers_is_no_move() -> None:
    desk = Desk.ready().entered()
    for order in desk.trade.orders:
        if order.live:
            desk.told(order.ref)
    desk.say(desk.execution(None, Side.BUY, 50, "100"))
    held = desk.state.held
    desk.told(ref("stop"), quantity=100)
    desk.wait(10)
    assert desk.order(ref("stop")).moved == 0
    assert desk.state.held == held


def test_moved_while_there_was_no_link_is_moved_all_the_same() -> None:
    counter = Counter(LONG)
    desk = counter.desk
    for times in (1, 2):
        stop = desk.report(ref("stop"), stop_price=Decimal("90"))
        counter.serve(desk.snapshot(stop, desk.report(ref("target"))))
        counter.wait(3)
        assert desk.order(ref("stop")).moved == times
    assert stops(counter) == [("t:SLV:000001:stop:r0", 100, Decimal("90"))]
    assert counter.alarms() == ["EXIT_MOVED", "EXIT_MOVED"]
    assert not any(isinstance(each, CancelOrder) for each in counter.asked)


def test_children_that_the_broker_scales_with_their_entry_were_moved_by_nobody() -> None:
    counter = Counter("an entry at work, nothing filled")
    counter.hear(counter.desk.execution(ref("main"), Side.BUY, 40, "100"))
    for role in ("stop", "target"):
        move(counter, role, quantity=40)
    counter.wait(4)
    counter.hear(counter.desk.execution(ref("main"), Side.BUY, 60, "100"))
    counter.wait(0.1)
    for role in ("stop", "target"):
        move(counter, role, quantity=100)
    counter.wait(10)
    assert counter.alarms() == []
    assert counter.asked == []
    assert [shares for _, shares, _ in stops(counter)] == [100]
