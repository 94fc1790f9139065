"""From a signal to its verdict, and to the bracket that it asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders, Stop
from protocol.events import EntryDroppedEvent
from protocol.reports import LinkChanged, LinkState
from protocol.risk.settings import RiskLimits
from protocol.rules.actions import Enter, OnOpposite
from protocol.rules.amounts import Allocation, AtrMultiple, Percent, RiskFraction, Shares
from protocol.rules.conditions import WhenSignal
from protocol.rules.rule import Rule
from protocol.symbol_plan import rules_of
from protocol.values import (
    MAIN,
    STOP,
    TARGET,
    OrderSpec,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    Symbol,
    Tick,
    TickKind,
    TimeInForce,
)
from tests.symbol_desk import LONG, PLAN, SHORT, SLV, TEN, Desk, ref, signal

D = Decimal


def bracket(side: Side, quantity: int, stop: str, target: str) -> PlaceOrders:
    """An entry at the market, and its children in one group that reduces its members."""
    main = OrderSpec(ref(MAIN), side, quantity, OrderType.MARKET, TimeInForce.DAY)
    child = OrderSpec(
        ref(STOP), side.opposite, quantity, OrderType.STOP, TimeInForce.GTC, stop_price=D(stop),
        outside_rth=True, parent=main.ref, oca_group="t:SLV:000001", oca_type=2,
    )  # fmt: skip
    other = attrs.evolve(
        child, ref=ref(TARGET), type=OrderType.LIMIT, stop_price=None, limit_price=D(target),
        purpose=Purpose.TARGET,
    )  # fmt: skip
    return PlaceOrders(SLV, 1, (main, other, child))


def test_a_buy_enters_long_with_the_stop_below_and_the_target_above() -> None:
    desk = Desk.ready(99.98, 100.0)
    assert desk.signal("BUY") == (bracket(Side.BUY, 100, "97.00", "108.00"),)
    assert desk.verdicts() == [("s1", "entry")]


@pytest.mark.parametrize("word", ["SELL", "SHORT"])
def test_sell_and_short_enter_short_with_the_stop_above_and_the_target_below(word: str) -> None:
    desk = Desk.ready(100.0, 100.02)
    assert desk.signal(word) == (bracket(Side.SELL, 100, "103.00", "92.00"),)


def test_a_stop_is_rounded_away_from_the_market_and_a_target_towards_it() -> None:
    # 33.33: the stop lies 0.9999 away, the target 2.6664.
    assert Desk.ready(33.32, 33.33).signal("BUY") == (bracket(Side.BUY, 100, "32.33", "35.99"),)
    assert Desk.ready(33.33, 33.34).signal("SHORT") == (bracket(Side.SELL, 100, "34.33", "30.67"),)


def test_dollars_buy_whole_shares_at_the_far_side_of_the_quote() -> None:
    desk = Desk.ready(33.32, 33.33, sizing=Allocation(D(10_000)))
    (command,) = desk.signal("BUY")
    assert isinstance(command, PlaceOrders)
    assert {order.quantity for order in command.orders} == {300}


def test_without_a_target_only_the_stop_is_a_child() -> None:
    rule = attrs.evolve(LONG, then=Enter(Side.BUY, target=None))
    (command,) = Desk.ready(rules=(rule,)).signal("BUY")
    assert isinstance(command, PlaceOrders)
    assert [order.ref.role for order in command.orders] == [MAIN, STOP]


def test_distances_in_average_true_ranges_need_a_warm_average() -> None:
    rule = attrs.evolve(LONG, then=Enter(Side.BUY, stop=AtrMultiple(2.0), target=AtrMultiple(3.0)))
    desk = Desk.ready(rules=(rule,))
    assert desk.signal("BUY", "s1") == ()
    for minute in range(16):
        at = desk.at + timedelta(minutes=minute)
        desk.say(Tick(SLV, TickKind.LAST, 100.0, 1.0, at, 99.5, 100.5))
    desk.at += timedelta(minutes=16)
    desk.quote(99.98, 100.0)
    assert desk.signal("BUY", "s2") == (bracket(Side.BUY, 100, "98.00", "103.00"),)
    assert desk.verdicts() == [("s1", "no_atr"), ("s2", "entry")]


def test_a_signal_is_judged_once() -> None:
    desk = Desk.ready()
    desk.signal("HOLD", "s1")
    assert desk.signal("BUY", "s1") == ()
    assert desk.verdicts() == [("s1", "no_rule")]


def test_a_signal_that_no_rule_asks_for_is_ignored() -> None:
    desk = Desk.ready()
    assert desk.signal("HOLD", "s1") == desk.signal("BUY", "s2", confidence=0.49) == ()
    assert desk.verdicts() == [("s1", "no_rule"), ("s2", "no_rule")]


def test_the_same_side_is_ignored_while_a_trade_lives() -> None:
    desk = Desk.ready()
    desk.signal("BUY", "s1")
    assert desk.signal("BUY", "s2") == ()
    desk.bracket_taken()
    desk.fills(ref(MAIN), 100, "100")
    assert desk.signal("BUY", "s3") == ()
    assert desk.verdicts() == [("s1", "entry"), ("s2", "same_side"), ("s3", "same_side")]


def test_an_opposite_signal_closes_first_and_enters_after_flat() -> None:
    desk = Desk.ready().entered()
    desk.wait(200)
    (close,) = desk.signal("SHORT", "s2")
    assert isinstance(close, ModifyOrder)
    assert (close.order.ref, close.order.quantity) == (ref(TARGET), 100)
    assert desk.signal("SHORT", "s3") == desk.signal("BUY", "s4") == ()
    assert desk.fills(ref(TARGET), 100, "99.98") == ()
    assert desk.told(ref(TARGET), OrderStatus.FILLED, 100) == ()
    (entry,) = desk.told(ref(STOP), OrderStatus.CANCELLED)
    assert isinstance(entry, PlaceOrders)
    assert [(order.ref, order.side) for order in entry.orders] == [
        (ref(MAIN, 2), Side.SELL), (ref(TARGET, 2), Side.BUY), (ref(STOP, 2), Side.BUY),
    ]  # fmt: skip
    assert desk.verdicts() == [("s1", "entry"), ("s2", "reverse"), ("s3", "closing"), ("s4", "closing")]


def test_an_opposite_signal_while_the_entry_still_works_cancels_it_first() -> None:
    desk = Desk.ready(limits=RiskLimits(repeat_guard_s=0.0), rules=tuple(
        attrs.evolve(rule, cooldown_s=0.0) for rule in (LONG, SHORT)
    ))  # fmt: skip
    desk.signal("BUY", "s1")
    desk.bracket_taken()
    assert desk.signal("SHORT", "s2") == (CancelOrder(SLV, 1, ref(MAIN)),)
    for role in (MAIN, TARGET):
        assert desk.told(ref(role), OrderStatus.CANCELLED) == ()
    (entry,) = desk.told(ref(STOP), OrderStatus.CANCELLED)
    assert isinstance(entry, PlaceOrders)
    assert entry.orders[0].side is Side.SELL


def test_a_rule_may_only_close_on_the_opposite_side() -> None:
    short = attrs.evolve(SHORT, then=Enter(Side.SELL, on_opposite=OnOpposite.CLOSE))
    desk = Desk.ready(rules=(LONG, short)).entered()
    desk.wait(200)
    (close,) = desk.signal("SHORT", "s2")
    assert isinstance(close, ModifyOrder)
    desk.fills(ref(TARGET), 100, "99.98")
    desk.told(ref(TARGET), OrderStatus.FILLED, 100)
    assert desk.told(ref(STOP), OrderStatus.CANCELLED) == ()
    assert (desk.state.trade, desk.state.pending, desk.position) == (None, None, 0)


def _closed_for_reversal() -> Desk:
    """Flat, with a new entry pending that cannot be made: the quote has gone stale meanwhile."""
    desk = Desk.ready().entered()
    desk.wait(200)
    desk.signal("SHORT", "s2")
    desk.at += timedelta(seconds=10)
    desk.fills(ref(TARGET), 100, "99.98")
    desk.told(ref(TARGET), OrderStatus.FILLED, 100)
    assert desk.told(ref(STOP), OrderStatus.CANCELLED) == ()
    assert desk.state.pending is not None
    return desk


def test_the_entry_of_a_reversal_waits_for_a_fresh_quote() -> None:
    desk = _closed_for_reversal()
    desk.at += timedelta(seconds=20)
    (entry,) = desk.quote(99.98, 100.0)
    assert isinstance(entry, PlaceOrders)


def test_the_entry_of_a_reversal_does_not_wait_for_ever() -> None:
    for link in (LinkState.UP, LinkState.DOWN):
        desk = _closed_for_reversal()
        desk.say(LinkChanged(desk.at, link, 1))
        desk.at += timedelta(seconds=31)
        desk.connect(generation=2)
        assert desk.quote(99.98, 100.0) == ()
        assert desk.state.pending is None
        assert isinstance(desk.events[-1], EntryDroppedEvent)


def test_a_clean_stop_enters_nothing_more() -> None:
    desk = _closed_for_reversal()
    assert desk.say(Stop(desk.at)) == ()
    assert desk.quote(99.98, 100.0) == ()
    assert desk.signal("BUY", "s3") == ()
    assert desk.verdicts()[-1] == ("s3", "stopping")


def test_the_cooldown_refuses_and_then_is_over() -> None:
    desk = Desk.ready()
    desk.signal("BUY", "s1")
    for role in (MAIN, TARGET, STOP):
        desk.told(ref(role), OrderStatus.CANCELLED)
    assert desk.state.trade is None
    desk.wait(1)
    assert desk.signal("BUY", "s2") == ()
    desk.wait(178)
    assert desk.signal("SHORT", "s3") == ()
    desk.wait(1)
    assert desk.signal("BUY", "s4") != ()
    assert desk.verdicts() == [("s1", "entry"), ("s2", "repeat"), ("s3", "cooldown"), ("s4", "entry")]


def test_a_rule_enters_only_so_often_a_day() -> None:
    desk = Desk.ready(rules=(attrs.evolve(LONG, max_per_day=1),))
    desk.signal("BUY", "s1")
    for role in (MAIN, TARGET, STOP):
        desk.told(ref(role), OrderStatus.CANCELLED)
    desk.wait(200)
    assert desk.signal("BUY", "s2") == ()
    desk.at += timedelta(days=3)
    desk.quote(99.98, 100.0)
    assert desk.signal("BUY", "s3") != ()
    assert [code for _, code in desk.verdicts()] == ["entry", "max_per_day", "entry"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"bid": 100.0, "ask": 100.0}, "crossed_quote"),
        ({"bid": 98.0}, "wide_spread"),
        ({"bid": 0.0}, "no_quote"),
        ({"sizing": Allocation(D(99))}, "size_zero"),
        ({"sizing": Shares(10_001)}, "order_quantity"),
        ({"sizing": Shares(501)}, "order_notional"),
        ({"sizing": RiskFraction(0.01)}, "no_equity"),
        ({"rules": (attrs.evolve(LONG, then=Enter(Side.BUY, stop=Percent(0.0005))),)}, "stop_too_close"),
        ({"rules": (attrs.evolve(LONG, then=Enter(Side.BUY, stop=Percent(0.16))),)}, "stop_too_far"),
        ({"at": datetime(2025, 9, 26, 19, 45, tzinfo=UTC)}, "session"),
        ({"at": datetime(2025, 9, 27, 15, 0, tzinfo=UTC)}, "session"),
    ],
)
def test_what_must_not_trade_is_refused_with_its_reason(changes: dict[str, object], code: str) -> None:
    desk = Desk.ready(**changes)  # type: ignore[arg-type]
    assert desk.signal("BUY") == ()
    assert desk.verdicts() == [("s1", code)]
    assert desk.state.trade is None


def test_a_quote_of_more_than_five_seconds_is_stale() -> None:
    desk = Desk.ready()
    desk.at += timedelta(seconds=5.1)
    assert desk.signal("BUY", "s1") == ()
    desk.at -= timedelta(seconds=0.1)
    assert desk.signal("BUY", "s2") != ()
    assert desk.verdicts() == [("s1", "stale_quote"), ("s2", "entry")]


def test_a_halted_symbol_is_not_entered() -> None:
    desk = Desk.ready()
    desk.say(Tick(SLV, TickKind.HALTED, 1.0, 0.0, desk.at, 1.0, 1.0))
    assert desk.signal("BUY") == ()
    assert desk.verdicts() == [("s1", "halted")]


def test_nothing_is_entered_before_the_books_are_reconciled() -> None:
    desk = Desk(at=TEN)
    assert desk.say(signal("BUY", TEN)) == ()
    assert desk.verdicts() == [("s1", "not_reconciled")]


def test_an_entry_that_does_not_fill_in_time_is_cancelled_whatever_the_books_say_meanwhile() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.wait(20)
    desk.snapshot(*(desk.report(order.ref) for order in desk.trade.orders))
    assert CancelOrder(SLV, 1, ref(MAIN)) not in desk.commands
    assert CancelOrder(SLV, 1, ref(MAIN)) in desk.wait(10.2)


def test_rules_are_ranked_by_priority_and_chosen_by_symbol() -> None:
    low, high = Rule("low", WhenSignal(("BUY",)), Enter(Side.BUY)), attrs.evolve(LONG, priority=200)
    other = attrs.evolve(LONG, name="other", symbols=(Symbol("GLD"),), priority=300)
    assert rules_of(SLV, (low, high, other)) == (high, low)
    assert PLAN.rule_named("short") is SHORT
