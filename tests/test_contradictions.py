"""The broker's position is not what our executions make: what a symbol does, as the README's table says."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from protocol.commands import CancelOrder, PlaceOrders
from protocol.events import AlarmEvent, ForeignFillEvent, HoldEvent
from protocol.symbol_state import SymbolState, evolve
from protocol.values import OrderStatus, Side
from tests.counter_desk import Counter
from tests.symbol_desk import SLV, Desk, ref

README = Path(__file__).parent.parent / "protocol" / "README.md"
ROWS = (
    ("long 100, stop and target at work", 100),
    ("long 100, stop and target at work", 0),
    ("long 100, stop and target at work", 60),
    ("long 100, stop and target at work", 160),
    ("long 100, stop and target at work", -50),
    ("long 100, both cancelled meanwhile", 100),
    ("long 100, both cancelled meanwhile", 0),
    ("long 100, both cancelled meanwhile", 60),
    ("long 100, both cancelled meanwhile", 160),
    ("long 100, both cancelled meanwhile", -50),
    ("an entry at work, nothing filled", 0),
    ("an entry at work, nothing filled", 100),
    ("an entry at work, nothing filled", -50),
    ("long 100 by somebody else, no trade", 100),
    ("long 100 by somebody else, no trade", 0),
    ("long 100 by somebody else, no trade", 160),
    ("long 100 by somebody else, no trade", -50),
    ("flat, no trade", 0),
    ("flat, no trade", 100),
    ("flat, no trade", -50),
    ("flat, a stop of ours that the journal lacks", 0),
    ("flat, a stop of ours that the journal lacks", 100),
    ("flat, a stop of ours that the journal lacks", -50),
)


def row(ours: str, theirs: int) -> str:
    counter = Counter(ours)
    for _ in range(3):
        counter.look(theirs)
        counter.wait(3)
    return f"| {ours} | {theirs} | {counter.outcome()} |"


@pytest.mark.parametrize(("ours", "theirs"), ROWS)
def test_what_a_symbol_does_about_a_position_that_is_not_ours_stands_in_the_table(
    ours: str, theirs: int
) -> None:
    assert row(ours, theirs) in README.read_text(encoding="utf-8").splitlines()


def test_the_table_has_no_other_rows() -> None:
    text = README.read_text(encoding="utf-8").partition("## When books contradict each other")[2]
    lines = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    assert len(lines) == len(ROWS) + 1


def test_a_difference_that_is_gone_at_the_second_look_leaves_no_trace() -> None:
    desk = Desk.ready().entered()
    desk.snapshot(*(desk.report(order.ref) for order in desk.trade.orders if order.live), position=0)
    assert desk.state.held
    desk.wait(3)
    desk.snapshot(*(desk.report(order.ref) for order in desk.trade.orders if order.live), position=100)
    assert desk.state.held == ""
    assert desk.position == 100
    assert not [event for event in desk.events if isinstance(event, ForeignFillEvent)]


def test_a_difference_that_changes_begins_anew() -> None:
    desk = Desk.ready()
    for theirs in (100, 60, 100, 60):
        desk.snapshot(position=theirs)
        desk.wait(3)
    assert desk.position == 0


def test_looks_on_two_links_are_not_two_looks() -> None:
    desk = Desk.ready()
    desk.snapshot(position=100)
    desk.wait(3)
    desk.connect(generation=2)
    desk.snapshot(position=100, generation=2)
    assert desk.position == 0
    desk.wait(3)
    desk.snapshot(position=100, generation=2)
    assert desk.position == 100


def test_the_books_are_asked_for_again_while_they_differ_and_not_after() -> None:
    desk = Desk.ready()
    desk.snapshot(position=100)
    assert not desk.view.wants_books
    desk.wait(3)
    assert desk.view.wants_books
    desk.view.wants_books = False
    desk.snapshot(position=100)
    desk.wait(10)
    assert not desk.view.wants_books
    assert desk.wake_at is None


def test_executions_that_a_status_spoke_of_are_waited_for() -> None:
    desk = Desk.ready().entered()
    desk.told(ref("stop"), OrderStatus.SUBMITTED, 40)
    exits = [desk.report(order.ref, filled=40) for order in desk.trade.orders if order.live]
    for _ in range(3):
        desk.snapshot(*exits, position=60)
        desk.wait(3)
    assert desk.position == 100
    desk.say(desk.execution(ref("stop"), Side.SELL, 40, "97"))
    desk.snapshot(*exits, position=60)
    assert desk.position == 60
    assert desk.state.held == ""


def test_a_true_execution_takes_the_place_of_what_the_books_stood_in_for() -> None:
    counter = Counter("long 100, stop and target at work")
    desk = counter.desk
    for _ in range(2):
        counter.look(60)
        counter.wait(3)
    assert desk.position == 60
    desk.say(desk.execution(ref("stop"), Side.SELL, 30, "97"))
    desk.say(desk.execution(None, Side.SELL, 10, "97"))
    assert desk.position == 60
    standing = [
        event for event in desk.events if isinstance(event, ForeignFillEvent) and "books" in event.exec_id
    ]
    assert [(event.exec_id, event.quantity) for event in standing] == [
        ("books.SLV.0.01", 40), ("books.SLV.0.02", 10), ("books.SLV.0.03", 0),
    ]  # fmt: skip


def test_once_a_person_has_resumed_what_is_executed_is_new() -> None:
    counter = Counter("flat, no trade")
    desk = counter.desk
    for _ in range(2):
        counter.look(100)
        counter.wait(3)
    desk.state = evolve(desk.state, HoldEvent(at=desk.at, symbol=SLV, reason=""))
    desk.say(desk.execution(None, Side.BUY, 50, "100"))
    assert desk.position == 150


def test_shares_that_nobody_knows_the_price_of_wait_for_one() -> None:
    desk = Desk()
    desk.connect()
    for _ in range(3):
        desk.snapshot(position=100)
        desk.at += timedelta(seconds=3)
    assert desk.position == 0
    desk.quote(99.98, 100.0)
    desk.snapshot(position=100)
    assert desk.position == 100
    assert desk.state.position.average_price == Decimal("99.99")


def test_the_alarm_says_what_there_is_and_what_was_believed() -> None:
    counter = Counter("long 100, stop and target at work")
    for _ in range(3):
        counter.look(60)
        counter.wait(3)
    alarms = [event.code for event in counter.desk.events if isinstance(event, AlarmEvent)]
    assert alarms == ["BOOKS_DISAGREE", "POSITION_TAKEN_OVER"]
    assert counter.desk.state.held == "the broker's position was taken over: 60 there, 100 by our executions"


@pytest.mark.parametrize(("sold", "left"), [(150, -50), (100, 0)])
def test_a_stranger_who_sells_more_than_we_have_ends_our_trade_and_keeps_the_rest(
    sold: int, left: int
) -> None:
    counter = Counter("long 100, stop and target at work")
    counter.serve(counter.desk.say(counter.desk.execution(None, Side.SELL, sold, "100")))
    counter.wait(10)
    assert counter.desk.state.trade is None
    assert counter.desk.position == left
    assert counter.desk.state.own_quantity == 0
    assert {type(each) for each in counter.asked} == {CancelOrder}


def test_what_we_sold_too_much_ourselves_is_bought_back_beside_what_others_sold() -> None:
    counter = Counter("long 100, stop and target at work")
    desk = counter.desk
    counter.serve(desk.say(desk.execution(None, Side.SELL, 20, "100")))
    # The exits fill beyond each other, as where an exchange does not keep to the group.
    counter.serve(desk.say(desk.execution(ref("target"), Side.SELL, 100, "108")))
    counter.serve(desk.say(desk.execution(ref("stop"), Side.SELL, 30, "97")))
    assert desk.position == -50
    assert desk.state.own_quantity == -30
    counter.wait(10)
    closes = [each for each in counter.desk.commands if isinstance(each, PlaceOrders)][1:]
    assert [(spec.side, spec.quantity) for each in closes for spec in each.orders] == [(Side.BUY, 30)]


def test_replayed_a_contradiction_gives_the_same_state() -> None:
    counter = Counter("long 100, stop and target at work")
    for _ in range(3):
        counter.look(-50)
        counter.wait(3)
    state = SymbolState.begin(SLV)
    for event in counter.desk.events:
        state = evolve(state, event)
    assert state == counter.desk.state


def after_a_split(*, quoted: bool) -> Counter:
    """Four shares for one, while we were away: the stop has been cancelled, the prices are a quarter."""
    counter = Counter("long 100, stop and target at work")
    desk = counter.desk
    desk.view.bid = desk.view.ask = desk.view.last = None
    if quoted:
        desk.quote(25.00, 25.02)
    counter.look(400)
    cancelled = desk.report(ref("stop"), OrderStatus.CANCELLED)
    counter.serve(desk.say(cancelled))
    return counter


@pytest.mark.parametrize("quoted", [True, False], ids=["quoted", "before the first quote"])
def test_after_a_split_no_order_is_placed_at_the_prices_of_before(quoted: bool) -> None:
    counter = after_a_split(quoted=quoted)
    desk = counter.desk
    desk.quote(25.00, 25.02)
    for _ in range(3):
        counter.wait(3)
        counter.look(400)
    assert counter.asked == []
    assert desk.position == 100
    assert counter.alarms() == ["BOOKS_DISAGREE", "SPLIT_SUSPECTED"]
    assert "as after a split 4:1" in desk.state.held
