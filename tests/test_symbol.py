"""The core of a symbol as a whole: what it hears, what it remembers, and how it starts again."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs

from protocol.commands import CancelOrder, Flatten, ModifyOrder, PlaceOrders, Stop
from protocol.events import (
    AlarmEvent,
    HoldEvent,
    NewOrderEvent,
    OrderStatusEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    ReconciledEvent,
)
from protocol.market_view import MarketView
from protocol.reports import CommissionCharged, LinkState, OrderLost, RequestKind, SymbolSnapshot
from protocol.symbol import commands_for
from protocol.symbol_state import SymbolState, evolve
from protocol.values import CLOSE, MAIN, STOP, TARGET, OrderStatus, Side
from tests.symbol_desk import PLAN, SLV, Desk, ref

D = Decimal
S = OrderStatus


def conclude(desk: Desk) -> None:
    desk.fills(ref(TARGET), 100, "108")
    desk.told(ref(TARGET), S.FILLED, 100)
    desk.told(ref(STOP), S.CANCELLED)
    assert desk.state.trade is None


def restarted(desk: Desk) -> Desk:
    """The symbol after a crash: its state from the journal, its view of the market empty."""
    again = Desk(desk.plan, desk.at)
    for event in desk.events:
        again.state = evolve(again.state, event)
    assert again.state == desk.state
    again.events = list(desk.events)
    return again


def test_any_prefix_of_the_journal_gives_the_state_that_the_symbol_had_then() -> None:
    desk = Desk.ready().entered()
    desk.say(CommissionCharged(desk.at, SLV, "x1.01", D("1.00")))
    desk.fills(ref(STOP), 30, "97")
    desk.refused(ref(STOP), RequestKind.MODIFY)
    desk.fills(ref(TARGET), 70, "108")
    desk.told(ref(TARGET), S.FILLED, 70)
    desk.told(ref(STOP), S.CANCELLED, 30)
    states = [SymbolState.begin(SLV)]
    for event in desk.events:
        states.append(evolve(states[-1], event))
    assert states[-1] == desk.state
    assert desk.state.trade is None
    for cut in range(len(desk.events)):
        state = SymbolState.begin(SLV)
        for event in desk.events[:cut]:
            state = evolve(state, event)
        assert state == states[cut]


def test_a_closed_trade_says_what_it_made() -> None:
    desk = Desk.ready().entered()
    conclude(desk)
    closed = [event for event in desk.events if isinstance(event, PositionCloseEvent)]
    assert [(event.trade, event.reason, event.realized_pnl) for event in closed] == [(1, "target", D(800))]


def test_a_repeated_status_is_not_journalled_again() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    before = len(desk.events)
    for _ in range(3):
        desk.told(ref(STOP))
    assert len(desk.events) == before
    desk.fills(ref(MAIN), 40, "100")
    desk.told(ref(MAIN), S.SUBMITTED, 40)
    before = len(desk.events)
    desk.told(ref(MAIN), S.SUBMITTED, 0)
    assert len(desk.events) == before, "an older count of shares is no news"


def test_a_fill_after_the_trade_has_concluded_is_closed() -> None:
    desk = Desk.ready().entered()
    conclude(desk)
    (close,) = desk.say(desk.execution(ref(STOP), Side.SELL, 30, "97"))
    assert isinstance(close, PlaceOrders)
    assert [(order.ref, order.side, order.quantity) for order in close.orders] == [
        (ref(CLOSE, 2), Side.BUY, 30)
    ]
    assert [e.code for e in desk.events if isinstance(e, AlarmEvent)] == ["LATE_FILL"]
    desk.fills(ref(CLOSE, 2), 30, "97")
    assert (desk.state.trade, desk.position) == (None, 0)


def test_late_fills_that_cancel_each_other_out_need_no_trade() -> None:
    desk = Desk.ready().entered()
    conclude(desk)
    late = tuple(desk.execution(ref(STOP), side, 30, "97") for side in (Side.SELL, Side.BUY))
    assert desk.snapshot(executions=late) == ()
    assert desk.state.trade is None


def test_a_late_fill_that_takes_itself_back_leaves_no_trade_behind() -> None:
    desk = Desk.ready().entered()
    conclude(desk)
    desk.say(attrs.evolve(desk.execution(ref(STOP), Side.SELL, 30, "97"), exec_id="late.01"))
    desk.say(attrs.evolve(desk.execution(ref(STOP), Side.SELL, 0, "97"), exec_id="late.02"))
    desk.told(ref(CLOSE, 2), S.CANCELLED)
    assert (desk.state.trade, desk.position) == (None, 0)


def test_an_order_of_a_concluded_trade_that_still_works_is_cancelled() -> None:
    desk = Desk.ready().entered()
    report = desk.report(ref(STOP))
    conclude(desk)
    assert desk.say(report) == (CancelOrder(SLV, 1, ref(STOP)),)


def test_a_strangers_fill_counts_and_holds_the_symbol() -> None:
    desk = Desk.ready()
    assert desk.say(desk.execution(None, Side.BUY, 50, "100")) == ()
    assert desk.signal("BUY") == ()
    assert (desk.position, desk.verdicts()) == (50, [("s1", "hold")])
    assert desk.snapshot() == ()
    assert desk.state.held, "a hold for a stranger is lifted by a person"


def test_books_that_differ_hold_the_symbol_until_they_agree() -> None:
    desk = Desk.ready()
    desk.snapshot(position=10)
    assert desk.signal("BUY", "s1") == ()
    desk.snapshot(position=0)
    assert desk.signal("BUY", "s2") != ()
    holds = [event.reason for event in desk.events if isinstance(event, HoldEvent)]
    assert holds == ["the broker's position differs from our executions: 10 there, 0 here", ""]


def test_an_order_that_was_lost_is_dead() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    for role in (MAIN, TARGET, STOP):
        assert desk.say(OrderLost(desk.at, ref(role))) == ()
    assert desk.state.trade is None


def test_orders_that_were_decided_and_never_sent_are_not_sent_on_a_guess() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    again = restarted(desk)
    again.connect(generation=2)
    assert again.commands == []
    assert again.state.trade is None
    closed = [event.reason for event in again.events if isinstance(event, PositionCloseEvent)]
    assert closed == ["not entered"]


def test_a_snapshot_that_crosses_a_placement_does_not_make_it_lost() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.snapshot()
    assert desk.state.trade is not None
    desk.at += timedelta(seconds=3)
    desk.snapshot()
    assert desk.state.trade is None


def test_a_snapshot_from_before_a_restart_does_not_make_what_was_asked_since_lost() -> None:
    desk = Desk.ready()
    old = SymbolSnapshot(desk.at, SLV, 1, 0, (), (), 0, tradable=True)
    desk.at += timedelta(seconds=1)
    desk.quote(99.98, 100.0)
    desk.signal("BUY")
    again = restarted(desk)
    again.view.link_changed(LinkState.UP, 1)
    again.say(old)
    assert again.state.trade is not None
    assert not again.view.reconciled
    again.snapshot(*(again.report(order.ref) for order in again.trade.orders))
    assert again.view.reconciled


def test_after_a_restart_a_stop_that_was_never_sent_is_placed_anew() -> None:
    desk = Desk.ready().entered()
    desk.told(ref(STOP), S.CANCELLED)
    assert desk.trade.next_revision(STOP) == 2
    again = restarted(desk)
    again.connect(generation=2)
    placed = [command for command in again.commands if isinstance(command, PlaceOrders)]
    assert [order.ref for command in placed for order in command.orders] == [ref(STOP, revision=2)]


def test_after_a_restart_a_change_that_was_never_sent_is_asked_again() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    as_it_was = [desk.report(ref(role)) for role in (TARGET, STOP)]
    assert len(desk.told(ref(MAIN), S.CANCELLED)) == 2
    again = restarted(desk)
    again.connect(generation=2)
    again.commands.clear()
    again.snapshot(*as_it_was, generation=2)
    assert [(c.order.ref, c.order.quantity) for c in again.commands if isinstance(c, ModifyOrder)] == [
        (ref(STOP), 40), (ref(TARGET), 40),
    ]  # fmt: skip


def test_a_fill_that_shrinks_a_close_which_never_left_does_not_make_the_books_of_this_life_old() -> None:
    desk = Desk.ready().entered()
    desk.told(ref(STOP))
    desk.say(Flatten(desk.at, "close all"))
    desk.refused(ref(TARGET), RequestKind.MODIFY)
    assert desk.order(ref(CLOSE)).status is S.CREATED
    again = restarted(desk)
    again.view.link_changed(LinkState.UP, 1)
    asked_at = again.at
    again.at += timedelta(seconds=0.1)
    filled = again.execution(ref(TARGET), Side.SELL, 100, "108", "t.01")
    again.say(filled)
    again.say(SymbolSnapshot(asked_at, SLV, 1, 0, (), (filled,), 0, tradable=True))
    assert again.view.reconciled
    again.told(ref(STOP), S.CANCELLED)
    assert again.state.trade is None


def test_after_a_restart_what_executed_meanwhile_is_found_in_the_snapshot() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    again = restarted(desk)
    again.at += timedelta(seconds=1)
    fill = again.execution(ref(MAIN), Side.BUY, 100, "100")
    exits = [again.report(ref(role)) for role in (TARGET, STOP)]
    again.snapshot(*exits, executions=(fill,), position=100, generation=2)
    assert again.position == 100
    assert again.say(fill) == ()
    assert any(isinstance(event, ReconciledEvent) for event in again.events)


def test_a_trade_of_which_only_the_beginning_was_written_ends() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    opened = next(n for n, event in enumerate(desk.events) if isinstance(event, PositionOpenEvent))
    del desk.events[opened + 1 :]
    again = Desk(desk.plan, desk.at)
    for event in desk.events:
        again.state = evolve(again.state, event)
    again.connect(generation=2)
    assert again.state.trade is None


def test_the_link_and_the_books_decide_whether_anything_is_asked() -> None:
    view = MarketView(PLAN.atr)
    assert not view.reconciled
    view.link_changed(LinkState.UP, 1)
    view.reconciled = True
    view.link_changed(LinkState.HELD, 1)
    assert view.reconciled, "a cut upstream does not lose the books"
    view.link_changed(LinkState.UP, 2)
    assert not view.reconciled


def test_a_bracket_leaves_as_one_command_and_single_orders_alone() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    news = [event for event in desk.events if isinstance(event, NewOrderEvent)]
    other = attrs.evolve(news[2].order, ref=ref(STOP, revision=1), parent=None)
    events = [*news, NewOrderEvent(at=desk.at, ref=other.ref, order=other)]
    assert commands_for(PLAN, 7, events) == (
        PlaceOrders(SLV, 7, tuple(event.order for event in news)),
        PlaceOrders(SLV, 7, (other,)),
    )
    statuses = [event for event in desk.events if isinstance(event, OrderStatusEvent)]
    assert commands_for(PLAN, 7, statuses) == ()


def test_a_cancel_that_crossed_the_last_fill_alarms_nobody_and_one_of_a_live_order_does() -> None:
    desk = Desk.ready().entered()
    desk.refused(ref(MAIN), RequestKind.CANCEL)
    assert [event for event in desk.events if isinstance(event, AlarmEvent)] == []
    desk.refused(ref(STOP), RequestKind.CANCEL)
    assert [event.code for event in desk.events if isinstance(event, AlarmEvent)] == ["REFUSED"]


def test_a_system_that_stops_begins_nothing_new_and_leaves_the_position_its_stop() -> None:
    desk = Desk.ready().entered()
    desk.say(Stop(desk.at))
    assert desk.signal("SHORT", "s2") == ()
    assert desk.verdicts()[-1] == ("s2", "stopping")
    assert desk.trade.closing is None
    assert desk.position == 100
