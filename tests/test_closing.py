"""Closing a trade: by its target, by a market order in the group, and by one after the exits are dead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from protocol.closing import ASK_AGAIN, GRACE, MAX_ATTEMPTS
from protocol.commands import CancelOrder, Flatten, ModifyOrder, PlaceOrders, Stop, Wake
from protocol.events import AlarmEvent, EntryDroppedEvent, PositionCloseEvent
from protocol.reports import LinkChanged, LinkState, OrderLost, RequestKind
from protocol.rules.actions import Enter
from protocol.rules.conditions import WhenSignal
from protocol.rules.rule import Rule
from protocol.values import (
    CLOSE,
    MAIN,
    STOP,
    TARGET,
    OrderSpec,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from tests.symbol_desk import SLV, Desk, ref

D = Decimal
S = OrderStatus
UNBOUND = Rule("unbound", WhenSignal(("BUY",)), Enter(Side.BUY, target=None))


def market_close(quantity: int, revision: int = 0, *, group: str = "t:SLV:000001") -> PlaceOrders:
    spec = OrderSpec(
        ref(CLOSE, revision=revision), Side.SELL, quantity, OrderType.MARKET, TimeInForce.DAY,
        oca_group=group, oca_type=2 if group else 0,
    )  # fmt: skip
    return PlaceOrders(SLV, 1, (spec,))


def closing_limits(desk: Desk) -> list[Decimal | None]:
    return [c.order.limit_price for c in desk.commands if isinstance(c, ModifyOrder)]


def flatten(desk: Desk) -> tuple[object, ...]:
    return desk.say(Flatten(desk.at, "close all"))


def reasons(desk: Desk) -> list[str]:
    return [event.reason for event in desk.events if isinstance(event, PositionCloseEvent)]


def test_a_close_turns_the_target_into_a_marketable_limit_in_its_group() -> None:
    desk = Desk.ready().entered()
    target = desk.order(ref(TARGET)).spec
    (command,) = flatten(desk)
    assert isinstance(command, ModifyOrder)
    assert command.order.limit_price == D("99.48"), "the bid less half a percent, on the grid"
    assert (command.order.ref, command.order.oca_group, command.order.quantity) == (
        target.ref, target.oca_group, 100,
    )  # fmt: skip
    assert flatten(desk) == ()


def test_closing_a_short_trade_buys_above_the_ask() -> None:
    desk = Desk.ready().entered("SHORT", price="99.98")
    (command,) = flatten(desk)
    assert isinstance(command, ModifyOrder)
    assert (command.order.side, command.order.limit_price) == (Side.BUY, D("100.50"))


def test_a_close_that_does_not_fill_reaches_further_and_then_a_market_order_joins() -> None:
    desk = Desk.ready().entered()
    flatten(desk)
    desk.told(ref(TARGET))
    for _ in range(MAX_ATTEMPTS - 1):
        desk.wait((ASK_AGAIN + timedelta(seconds=0.1)).total_seconds())
        desk.told(ref(TARGET))
    limits = closing_limits(desk)
    assert limits == sorted(limits, key=lambda limit: -(limit or 0))
    assert len(set(limits)) == MAX_ATTEMPTS
    assert limits[-1] is not None
    assert limits[-1] >= D("99.98") * D("0.97") - D("0.01"), "within the collar"
    assert desk.wait(4) == ()
    assert desk.wait(2) == (market_close(100),)


def test_a_partial_fill_of_the_close_asks_for_nothing_new() -> None:
    desk = Desk.ready().entered()
    flatten(desk)
    desk.told(ref(TARGET))
    assert desk.fills(ref(TARGET), 40, "99.98") == ()
    assert (desk.position, desk.quantity(STOP)) == (60, 60)


def test_a_close_that_is_at_work_is_waited_for_also_without_a_quote() -> None:
    """Right after a restart there is none: a market order beside it would be refused by the group (10326)."""
    desk = Desk.ready().entered()
    flatten(desk)
    desk.told(ref(TARGET))
    desk.view.bid = desk.view.ask = desk.view.last = None
    assert desk.say(Wake(desk.at)) == ()
    assert desk.fills(ref(TARGET), 40, "99.98") == ()
    assert desk.say(Wake(desk.at)) == ()


def test_without_a_target_a_market_order_joins_the_group() -> None:
    desk = Desk.ready(rules=(UNBOUND,)).entered()
    assert flatten(desk) == (market_close(100),)
    desk.told(ref(CLOSE))
    assert desk.fills(ref(CLOSE), 100, "99.98") == ()
    desk.told(ref(CLOSE), S.FILLED, 100)
    desk.told(ref(STOP), S.CANCELLED)
    assert (desk.state.trade, reasons(desk)) == (None, ["close all"])


def test_a_target_that_may_not_be_changed_leaves_the_close_to_a_market_order_in_the_group() -> None:
    desk = Desk.ready().entered()
    flatten(desk)
    assert desk.refused(ref(TARGET), RequestKind.MODIFY) == (market_close(100),)


def test_where_the_group_is_refused_the_exits_are_cancelled_first() -> None:
    desk = Desk.ready(rules=(UNBOUND,)).entered()
    flatten(desk)
    assert desk.refused(ref(CLOSE), RequestKind.PLACE, terminal=True) == (CancelOrder(SLV, 1, ref(STOP)),)
    assert desk.told(ref(STOP), S.PENDING_CANCEL) == ()
    assert desk.wait(1) == ()
    desk.told(ref(STOP), S.CANCELLED)
    assert market_close(100, 1, group="") in desk.commands + list(desk.wait(2))


def test_a_close_that_never_arrived_is_sent_again_in_the_group_and_costs_no_stop() -> None:
    """The link went with it. Taken for a refusal of the group, it cancelled the stop (seed 634)."""
    desk = Desk.ready(rules=(UNBOUND,)).entered()
    flatten(desk)
    assert desk.say(OrderLost(desk.at, ref(CLOSE))) == ()
    assert market_close(100, 1) in desk.wait(2)
    assert not any(isinstance(command, CancelOrder) for command in desk.commands)


def test_a_close_beside_which_no_stop_works_is_an_alarm() -> None:
    """The stop went with the target that filled, and an addition filled as well (seed 734)."""
    desk = Desk.ready(rules=(UNBOUND,)).entered()
    flatten(desk)
    desk.told(ref(STOP), S.CANCELLED)
    desk.say(OrderLost(desk.at, ref(CLOSE)))
    desk.wait(2)
    assert [event.code for event in desk.events if isinstance(event, AlarmEvent)] == ["UNCOVERED"]


def test_a_stop_that_fills_while_it_is_being_cancelled_needs_no_close() -> None:
    desk = Desk.ready(rules=(UNBOUND,)).entered()
    flatten(desk)
    desk.refused(ref(CLOSE), RequestKind.PLACE, terminal=True)
    assert desk.told(ref(STOP), S.FILLED, 100) == ()
    assert desk.wait(10) == (), "its executions are still to come"
    desk.fills(ref(STOP), 100, "97")
    assert (desk.state.trade, desk.position) == (None, 0)


def test_a_close_does_not_sell_what_the_stop_is_said_to_have_sold() -> None:
    desk = Desk.ready().entered()
    desk.told(ref(STOP), S.SUBMITTED, 30)
    assert flatten(desk) == ()
    (close,) = desk.fills(ref(STOP), 30, "97")
    assert isinstance(close, ModifyOrder)
    assert (close.order.ref, close.order.quantity) == (ref(TARGET), 70)


def test_a_market_close_does_not_sell_what_the_stop_is_said_to_have_sold() -> None:
    desk = Desk.ready(rules=(UNBOUND,)).entered()
    desk.told(ref(STOP), S.SUBMITTED, 30)
    assert flatten(desk) == ()
    assert desk.fills(ref(STOP), 30, "97") == (market_close(70),)


def test_refused_closing_orders_follow_each_other_ever_more_slowly() -> None:
    desk = Desk.ready(rules=(UNBOUND,)).entered()
    flatten(desk)
    desk.refused(ref(CLOSE), RequestKind.PLACE, terminal=True)
    desk.told(ref(STOP), S.CANCELLED)
    for _ in range(300):
        desk.wait(1)
        close = desk.trade.latest(CLOSE)
        if close is not None and close.live:
            desk.refused(close.ref, RequestKind.PLACE, terminal=True)
    assert 10 < desk.trade.next_revision(CLOSE) < 20


def test_an_entry_that_fills_while_it_is_closed_is_closed_too() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    cancel, close = flatten(desk)
    assert cancel == CancelOrder(SLV, 1, ref(MAIN))
    assert isinstance(close, ModifyOrder)
    assert close.order.quantity == 40
    (more,) = desk.fills(ref(MAIN), 60, "100")
    assert isinstance(more, ModifyOrder)
    assert more.order.quantity == 100


def test_a_close_before_the_bracket_is_acknowledged_waits_for_it() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.fills(ref(MAIN), 100, "100")
    assert flatten(desk) == ()
    (command,) = desk.told(ref(TARGET))
    assert isinstance(command, ModifyOrder)


def test_flat_by_a_stranger_the_exits_are_cancelled_at_once() -> None:
    desk = Desk.ready().entered()
    stranger = desk.execution(None, Side.SELL, 100, "99.98")
    assert desk.say(stranger) == (CancelOrder(SLV, 1, ref(TARGET)), CancelOrder(SLV, 1, ref(STOP)))


def test_a_sibling_that_the_broker_forgot_is_cancelled_after_a_while() -> None:
    desk = Desk.ready().entered()
    desk.fills(ref(TARGET), 100, "108")
    assert desk.wait(GRACE.total_seconds() - 0.1) == ()
    assert desk.wait(0.3) == (CancelOrder(SLV, 1, ref(STOP)),)


def test_a_position_of_the_wrong_side_is_closed_after_its_exits_are_dead() -> None:
    desk = Desk.ready().entered()
    commands = desk.fills(ref(STOP), 130, "97")
    assert commands == (CancelOrder(SLV, 1, ref(TARGET)),)
    assert desk.told(ref(TARGET), S.CANCELLED) != ()
    close = desk.order(ref(CLOSE)).spec
    # A group of which an order has filled takes no more: it gets one of its own.
    group = "t:SLV:000001:again1"
    assert (desk.position, close.side, close.quantity, close.oca_group) == (-30, Side.BUY, 30, group)


@pytest.mark.parametrize(
    ("entered", "flat_at"),
    [
        (datetime(2025, 9, 26, 14, 0, tzinfo=UTC), datetime(2025, 9, 26, 19, 59, tzinfo=UTC)),
        (datetime(2025, 11, 28, 15, 0, tzinfo=UTC), datetime(2025, 11, 28, 17, 59, tzinfo=UTC)),
    ],
)
def test_the_day_ends_flat_a_minute_before_the_close(entered: datetime, flat_at: datetime) -> None:
    desk = Desk.ready(at=entered).entered()
    desk.commands.clear()
    desk.at = flat_at - timedelta(seconds=1)
    assert desk.say(Wake(desk.at)) == ()
    assert desk.wake_at == flat_at
    desk.at = flat_at
    (command,) = desk.say(Wake(desk.at))
    assert isinstance(command, ModifyOrder)
    assert command.order.ref == ref(TARGET)
    assert desk.signal("SHORT", "s2") == ()
    desk.fills(ref(TARGET), 100, "99.98")
    desk.told(ref(TARGET), S.FILLED, 100)
    desk.told(ref(STOP), S.CANCELLED)
    assert (desk.state.trade, reasons(desk)) == (None, ["end of day"])


def test_a_trade_that_missed_the_end_of_its_day_is_closed_at_the_next_open() -> None:
    desk = Desk.ready().entered()
    desk.at = datetime(2025, 9, 26, 21, 0, tzinfo=UTC)
    assert desk.say(Wake(desk.at)) == ()
    desk.at = datetime(2025, 9, 29, 13, 0, tzinfo=UTC)
    assert desk.say(Wake(desk.at)) == ()
    assert desk.wake_at == datetime(2025, 9, 29, 13, 30, tzinfo=UTC)
    desk.at = desk.wake_at
    (command,) = desk.quote(99.98, 100.0)[:1]
    assert isinstance(command, ModifyOrder)


def test_flatten_takes_back_the_entry_of_a_reversal() -> None:
    desk = Desk.ready().entered()
    desk.wait(200)
    desk.signal("SHORT", "s2")
    assert flatten(desk) == ()
    assert any(isinstance(event, EntryDroppedEvent) for event in desk.events)
    desk.fills(ref(TARGET), 100, "99.98")
    desk.told(ref(TARGET), S.FILLED, 100)
    assert desk.told(ref(STOP), S.CANCELLED) == ()
    assert (desk.state.trade, desk.state.pending, desk.quote(99.98, 100.0)) == (None, None, ())


def test_flatten_before_the_entry_has_filled_leaves_nothing() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    assert flatten(desk) == (CancelOrder(SLV, 1, ref(MAIN)),)
    for role in (MAIN, TARGET, STOP):
        desk.told(ref(role), S.CANCELLED)
    assert (desk.state.trade, reasons(desk)) == (None, ["not entered: close all"])


def test_a_refused_cancel_is_asked_again_after_a_while() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    flatten(desk)
    assert desk.refused(ref(MAIN), RequestKind.CANCEL) == ()
    assert desk.wait(GRACE.total_seconds() + 0.1) == (CancelOrder(SLV, 1, ref(MAIN)),)


def test_a_clean_stop_cancels_entries_and_leaves_the_exits_standing() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    assert desk.say(Stop(desk.at)) == (CancelOrder(SLV, 1, ref(MAIN)),)
    assert desk.trade.closing is None


def test_nothing_is_asked_of_a_broker_that_cannot_be_seen() -> None:
    desk = Desk.ready().entered()
    desk.say(LinkChanged(desk.at, LinkState.DOWN, 1))
    assert flatten(desk) == desk.wait(60) == ()
    desk.say(LinkChanged(desk.at, LinkState.UP, 2))
    assert desk.wait(60) == (), "linked up, but the books are not compared yet"
    commands = desk.snapshot(*(desk.report(order.ref) for order in desk.trade.orders if order.live),
                             generation=2)  # fmt: skip
    assert [type(command) for command in commands] == [ModifyOrder]
    assert not [event for event in desk.events if isinstance(event, AlarmEvent)]
