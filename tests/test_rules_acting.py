"""Rules of one symbol: when they act without a signal, and what their actions lead to."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from protocol.commands import CancelOrder, EndHedge, HedgeTrade, ModifyOrder, PlaceOrders
from protocol.events import (
    NotifyEvent,
    PeerAskedEvent,
    PositionUpdateEvent,
    RuleFiredEvent,
    RuleSwitchedEvent,
    SignalVerdictEvent,
)
from protocol.rules.actions import (
    Action,
    Adjust,
    Cancel,
    Choose,
    Close,
    DoubleDown,
    EnableRule,
    Enter,
    EntryOrder,
    FlattenAll,
    Hedge,
    Link,
    Log,
    Notify,
    PlainOrder,
    Prepare,
    ScaleIn,
    SetValue,
    Submit,
    Trailing,
)
from protocol.rules.amounts import Amount, Multiple, Percent, Shares
from protocol.rules.conditions import Condition, When, WhenEvent, WhenPosition, WhenSignal, WhenTime
from protocol.rules.expression import Expression
from protocol.rules.rule import Rule
from protocol.symbol import peer_requests
from protocol.values import CLOSE, DOUBLEDOWN, MAIN, SCALE, STOP, TARGET, OrderStatus, OrderType, Side, Symbol
from tests.symbol_desk import LONG, SHORT, Desk, ref

D = Decimal
GLD = Symbol("GLD")


def rule(when: Condition | str, *then: Action, **changes: object) -> Rule:
    condition = When.parse(when) if isinstance(when, str) else when
    return attrs.evolve(Rule("r", condition, then), **changes)  # type: ignore[arg-type]


def desk_with(*rules: Rule) -> Desk:
    """A long trade of 100 at 100.00 is open; its stop is at 97.00, its target at 108.00."""
    return Desk.ready(rules=(*rules, LONG, SHORT)).entered()


def fired(desk: Desk) -> list[str]:
    return [event.rule for event in desk.events if isinstance(event, RuleFiredEvent)]


def notes(desk: Desk) -> list[str]:
    return [event.text for event in desk.events if isinstance(event, NotifyEvent)]


# --- when -----------------------------------------------------------------------------------------


def test_a_rule_acts_when_its_condition_becomes_true_and_not_while_it_stays_so() -> None:
    desk = desk_with(rule("pnl_pct >= 0.01", Notify("{pnl_pct} up"), cooldown_s=0.0))
    desk.quote(100.50, 100.52)
    assert notes(desk) == []
    desk.quote(101.20, 101.22)
    desk.quote(101.30, 101.32)
    assert notes(desk) == ["0.012 up"]
    desk.quote(100.20, 100.22)
    desk.quote(101.40, 101.42)
    assert len(notes(desk)) == 2


def test_a_rule_waits_for_its_cooldown_and_acts_then_if_its_condition_still_holds() -> None:
    desk = desk_with(rule("pnl_pct >= 0.01", Notify("up"), cooldown_s=60.0))
    for price in (101.2, 100.2, 101.2):
        desk.quote(price, price + 0.02)
    assert len(notes(desk)) == 1
    desk.wait(61.0)
    assert len(notes(desk)) == 2


def test_a_daily_limit_ends_a_rules_day() -> None:
    desk = desk_with(rule("pnl_pct >= 0.01", Notify("up"), cooldown_s=0.0, max_per_day=2))
    for _ in range(4):
        desk.quote(101.2, 101.22)
        desk.quote(100.2, 100.22)
    assert len(notes(desk)) == 2


def test_a_rule_about_events_answers_each_of_them_and_those_derived_from_it() -> None:
    fills = WhenEvent("FillEvent")
    desk = Desk.ready(rules=(rule(fills, Notify("a fill of {event.quantity}"), cooldown_s=0.0), LONG))
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 60, "100")
    desk.fills(ref(MAIN), 40, "100")
    assert notes(desk) == ["a fill of 60", "a fill of 40"]
    orders = Desk.ready(rules=(rule(WhenEvent("OrderEvent"), Log("an order event"), cooldown_s=0.0), LONG))
    orders.signal("BUY")
    assert len(notes(orders)) == 3, "three new orders are three order events"


def test_rules_about_time_are_looked_at_without_any_tick() -> None:
    early = rule(WhenTime(min_minutes_since_open=31.0), Notify("half an hour"))
    desk = Desk.ready(rules=(early, LONG))
    assert notes(desk) == []
    desk.wait(70.0)
    assert notes(desk) == ["half an hour"]


def test_a_disabled_rule_does_nothing_until_another_rule_enables_it() -> None:
    sleeping = rule("pnl_pct >= 0.02", Close(), name="sleeper", enabled=False)
    waking = rule("pnl_pct >= 0.01", EnableRule("sleeper"), name="waker")
    desk = desk_with(sleeping, waking)
    desk.quote(102.5, 102.52)
    assert [event.rule for event in desk.events if isinstance(event, RuleSwitchedEvent)] == ["sleeper"]
    assert desk.trade.closing is not None


def test_rules_of_higher_priority_are_asked_first() -> None:
    low = rule("pnl_pct >= 0.01", Notify("low"), name="low", priority=10)
    high = rule("pnl_pct >= 0.01", Notify("high"), name="high", priority=200)
    desk = Desk.ready(rules=(high, LONG, low)).entered()
    desk.quote(101.2, 101.22)
    assert notes(desk) == ["high", "low"]


def test_after_a_restart_a_rule_that_enlarges_has_to_be_seen_false_first() -> None:
    add = rule("pnl_pct >= 0.01", ScaleIn(Shares(10)))
    desk = Desk.ready(101.2, 101.22, rules=(LONG,)).entered(price="100")
    again = Desk(attrs.evolve(desk.plan, rules=(add, LONG)), desk.at)
    again.state = desk.state
    again.connect()
    again.quote(101.2, 101.22)
    assert again.trade.latest(SCALE) is None
    again.quote(100.2, 100.22)
    again.quote(101.2, 101.22)
    again.wait(0.5)
    assert again.trade.latest(SCALE) is not None


def test_after_a_restart_a_rule_that_only_reduces_risk_acts_at_once() -> None:
    desk = Desk.ready(99.0, 99.02, rules=(LONG,)).entered(price="100")
    cut = rule("pnl_pct <= -0.005", Close(reason="cut"))
    again = Desk(attrs.evolve(desk.plan, rules=(cut, LONG)), desk.at)
    again.state = desk.state
    again.connect()
    again.quote(99.0, 99.02)
    assert again.trade.closing is not None
    assert again.trade.closing.reason == "cut"


def test_an_exception_in_a_rule_is_not_caught_here() -> None:
    broken = attrs.evolve(rule("pnl_pct >= 0.01", Close()), then=(None,))  # type: ignore[arg-type]
    desk = desk_with(broken)
    with pytest.raises(AssertionError):
        desk.quote(101.2, 101.22)


# --- signals --------------------------------------------------------------------------------------


def test_a_signal_that_misses_a_condition_is_ignored_with_what_was_missing() -> None:
    picky = rule(WhenSignal(("BUY",)) & When.parse("spread < 0.001"), Enter(Side.BUY), name="picky")
    desk = Desk.ready(rules=(picky,))
    desk.signal("BUY")
    verdict = next(event for event in desk.events if isinstance(event, SignalVerdictEvent))
    assert verdict.code == "no_rule"
    assert "rule 'picky': spread < 0.001" in verdict.reason


def test_a_signal_can_close_without_entering() -> None:
    flat = rule(WhenSignal(("SELL",)), Close(reason="sell signal"), name="flat", priority=200)
    desk = Desk.ready(rules=(flat, LONG)).entered()
    desk.signal("SELL", "s2")
    assert desk.trade.closing is not None
    assert desk.verdicts()[-1] == ("s2", "close")


def test_two_rules_on_one_signal_trade_once_and_tell_twice() -> None:
    tell = rule(WhenSignal(("BUY",)), Notify("a buy at {confidence}"), name="tell", priority=50)
    desk = Desk.ready(rules=(attrs.evolve(LONG, name="other", priority=90), LONG, tell))
    desk.signal("BUY")
    assert len([c for c in desk.commands if isinstance(c, PlaceOrders)]) == 1
    assert notes(desk) == ["a buy at 0.9"]
    assert desk.verdicts() == [("s1", "entry")]


def test_an_entry_without_a_signal_takes_the_same_way() -> None:
    breakout = rule("bid > 101", Enter(Side.BUY), name="breakout", cooldown_s=60.0)
    desk = Desk.ready(rules=(breakout,))
    desk.quote(101.2, 101.22)
    desk.wait(0.5)
    assert [order.ref.role for order in desk.commands[-1].orders] == ["main", "target", "stop"]  # type: ignore[union-attr]
    assert desk.trade.rule == "breakout"
    assert fired(desk) == ["breakout"]


def test_a_refused_entry_is_tried_again_while_its_condition_holds() -> None:
    breakout = rule("bid > 101", Enter(Side.BUY), name="breakout")
    desk = Desk.ready(rules=(breakout,))
    desk.quote(101.2, 103.9)
    desk.wait(1.0)
    assert desk.state.trade is None
    assert len([note for note in notes(desk) if "was refused" in note]) == 1, "said once"
    desk.book = (101.2, 101.22)
    desk.wait(2.0)
    desk.wait(1.0)
    assert desk.trade.rule == "breakout"


# --- actions --------------------------------------------------------------------------------------


def test_a_scale_in_by_rule_adds_at_the_market_and_the_exits_follow() -> None:
    desk = desk_with(rule("pnl_pct >= 0.02", ScaleIn(Shares(25), Percent(0.02))))
    desk.quote(102.2, 102.22)
    desk.wait(0.5)
    added = desk.trade.latest(SCALE)
    assert added is not None
    assert (added.spec.side, added.spec.quantity, added.spec.type) == (Side.BUY, 25, OrderType.MARKET)
    desk.told(added.ref)
    desk.fills(added.ref, 25, "102.22")
    desk.told(added.ref, OrderStatus.FILLED, 25)
    assert desk.quantity(STOP) == desk.quantity(TARGET) == 125


def test_a_double_down_by_rule_rests_part_of_the_way_to_the_stop() -> None:
    desk = desk_with(rule("pnl_pct <= -0.005", DoubleDown(Multiple(1.5), 0.5)))
    desk.quote(99.4, 99.42)
    order = desk.trade.latest(DOUBLEDOWN)
    assert order is not None
    assert (order.spec.quantity, order.spec.limit_price) == (150, D("98.50"))


def test_nothing_is_added_while_the_entry_still_works() -> None:
    desk = Desk.ready(rules=(rule("quantity > 0", ScaleIn()), LONG))
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 50, "100")
    assert desk.trade.latest(SCALE) is None
    desk.fills(ref(MAIN), 50, "100")
    desk.told(ref(MAIN), OrderStatus.FILLED, 100)
    desk.wait(2.0)
    assert desk.trade.latest(SCALE) is not None


def test_a_stop_is_adjusted_to_be_tighter_and_never_looser() -> None:
    desk = desk_with(
        rule("pnl_pct >= 0.01", Adjust(stop=Percent(0.01)), name="tighter"),
        rule("pnl_pct >= 0.02", Adjust(stop=Percent(0.025)), name="looser"),
    )
    desk.quote(101.2, 101.22)
    assert desk.order(ref(STOP)).spec.stop_price == D("99.00")
    desk.quote(102.2, 102.22)
    assert desk.order(ref(STOP)).spec.stop_price == D("99.00")


def test_a_target_is_moved_in_place() -> None:
    desk = desk_with(rule("pnl_pct >= 0.01", Adjust(target=Percent(0.03))))
    desk.quote(101.2, 101.22)
    desk.wait(0.3)
    moved = [command for command in desk.commands if isinstance(command, ModifyOrder)]
    assert [(command.order.ref.role, command.order.limit_price) for command in moved] == [
        (TARGET, D("103.00"))
    ]


def test_trailing_can_be_switched_on_later() -> None:
    desk = desk_with(rule("pnl_pct >= 0.02", Adjust(trail=Trailing(Amount(D("1.00"))))))
    desk.quote(102.2, 102.22)
    assert desk.order(ref(STOP)).spec.stop_price == D("101.20")


def test_an_exit_of_a_name_of_ones_own_joins_and_all_of_them_stay_the_position() -> None:
    desk = desk_with(
        rule("pnl_pct >= 0.01", Link("trail", 0.4, trail=Trailing(Amount(D("0.50")), native=True)))
    )
    desk.quote(101.2, 101.22)
    joined = desk.trade.latest("trail")
    assert joined is not None
    assert (joined.spec.quantity, joined.spec.type, joined.spec.trail_amount) == (
        40, OrderType.TRAILING, D("0.50")
    )  # fmt: skip
    assert desk.quantity(STOP) == 100, "the first stop gives nothing up before the second one works"
    desk.told(joined.ref)
    assert (desk.quantity(STOP), desk.quantity(TARGET), desk.quantity("trail")) == (60, 60, 40)
    desk.fills(joined.ref, 40, "100.70")
    desk.told(joined.ref, OrderStatus.FILLED, 40)
    assert (desk.quantity(STOP), desk.quantity(TARGET)) == (60, 60)
    assert desk.position == 60


def test_a_part_of_a_position_is_closed_together_with_a_stop_of_its_own() -> None:
    desk = desk_with(rule("pnl_pct >= 0.01", Close(0.5)))
    desk.quote(101.2, 101.22)
    apart = desk.trade.latest("part0")
    assert apart is not None
    assert (apart.spec.quantity, desk.quantity(STOP), desk.trade.latest(CLOSE)) == (50, 100, None)
    desk.told(apart.ref)
    assert (desk.quantity(STOP), desk.quantity(TARGET), desk.trade.latest(CLOSE)) == (50, 50, None)
    desk.told(ref(STOP))
    order = desk.trade.latest(CLOSE)
    assert order is not None
    assert (order.spec.quantity, order.spec.oca_group) == (50, apart.spec.oca_group)
    desk.told(order.ref)
    desk.fills(order.ref, 50, "101.20")
    desk.told(order.ref, OrderStatus.FILLED, 50)
    desk.told(apart.ref, OrderStatus.CANCELLED)
    assert (desk.position, desk.quantity(STOP), desk.quantity(TARGET)) == (50, 50, 50)
    assert desk.trade.closing is None


def test_working_additions_are_cancelled_by_their_link() -> None:
    desk = desk_with(
        rule("pnl_pct <= -0.005", DoubleDown(), name="add"),
        rule("pnl_pct >= 0.01", Cancel((DOUBLEDOWN,)), name="off"),
    )
    desk.quote(99.4, 99.42)
    desk.told(ref(DOUBLEDOWN))
    desk.quote(101.2, 101.22)
    assert [c.ref.role for c in desk.commands if isinstance(c, CancelOrder)] == [DOUBLEDOWN]


def test_a_rule_may_flatten_every_symbol() -> None:
    desk = desk_with(rule("pnl_pct <= -0.01", FlattenAll("too much")))
    desk.quote(98.5, 98.52)
    asked = peer_requests(desk.events)
    assert [(each.what, each.peer, each.reason) for each in asked] == [("flatten", "*", "too much")]


def test_a_choice_takes_one_way() -> None:
    choice = Choose(When.parse("pnl > 0"), (Notify("up"),), (Notify("down"),))
    desk = desk_with(rule("abs(pnl_pct) >= 0.01", choice, cooldown_s=0.0))
    desk.quote(98.5, 98.52)
    desk.quote(100.0, 100.02)
    desk.quote(101.5, 101.52)
    assert notes(desk) == ["down", "up"]


def test_a_value_is_kept_and_read() -> None:
    desk = desk_with(
        rule("pnl_pct >= 0.01", SetValue("seen", Expression.parse("pnl")), name="keep"),
        rule("value.seen > 100", Notify("seen {value.seen}"), name="read"),
    )
    desk.quote(101.5, 101.52)
    desk.quote(101.6, 101.62)
    assert desk.state.values == {"seen": 150.0}
    assert notes(desk) == ["seen 150"]


def test_a_plain_order_without_a_trade_opens_one_with_the_usual_exits() -> None:
    desk = Desk.ready(rules=(rule("bid > 101", PlainOrder(Side.SELL, Shares(30)), name="plain"),))
    desk.quote(101.2, 101.22)
    desk.wait(0.5)
    assert (desk.trade.side, desk.trade.quantity, desk.trade.rule) == (Side.SELL, 30, "plain")
    assert (desk.quantity(STOP), desk.quantity(TARGET)) == (30, 30)


def test_a_plain_order_on_the_side_of_the_trade_adds_and_the_exits_follow() -> None:
    order = EntryOrder(OrderType.LIMIT, Percent(0.01))
    desk = desk_with(rule("pnl_pct >= 0.01", PlainOrder(Side.BUY, Shares(20), order)))
    desk.quote(102.0, 102.02)
    desk.wait(0.5)
    added = desk.trade.latest("order")
    assert added is not None
    assert (added.spec.quantity, added.spec.limit_price) == (20, D("100.99"))
    desk.told(added.ref)
    desk.fills(added.ref, 20, "100.99")
    assert (desk.quantity(STOP), desk.quantity(TARGET)) == (120, 120)


def test_a_plain_order_against_the_trade_takes_that_much_off_and_never_turns_it() -> None:
    desk = desk_with(
        rule("pnl_pct >= 0.01", PlainOrder(Side.SELL, Shares(40)), name="less"),
        rule("pnl_pct >= 0.02", PlainOrder(Side.SELL, Shares(300)), name="turn"),
    )
    desk.quote(101.2, 101.22)
    apart = desk.trade.latest("part0")
    assert apart is not None
    assert apart.spec.quantity == 40
    desk.quote(102.2, 102.22)
    assert any("sides are not mixed" in note for note in notes(desk))
    assert desk.trade.closing is None


def test_an_entry_is_prepared_first_and_submitted_later() -> None:
    ready = rule("bid > 100.5", Prepare("dip", Enter(Side.BUY)), name="ready")
    send = rule("bid > 101", Submit("dip"), name="send")
    desk = Desk.ready(rules=(ready, send))
    desk.quote(100.6, 100.62)
    assert desk.state.trade is None
    assert desk.state.prepared == {"dip": "ready"}
    desk.quote(101.1, 101.12)
    desk.wait(0.5)
    assert desk.trade.side is Side.BUY
    assert desk.state.prepared == {}


def test_a_hedge_is_asked_of_the_other_symbol_and_ended_with_the_trade() -> None:
    desk = desk_with(rule("pnl_pct >= 0.01", Hedge(GLD, 0.5)))
    desk.quote(101.2, 101.22)
    (asked,) = [event for event in desk.events if isinstance(event, PeerAskedEvent)]
    assert (asked.what, asked.peer, asked.dollars) == ("hedge", "GLD", D("-5000"))
    desk.fills(ref(TARGET), 100, "108")
    desk.told(ref(TARGET), OrderStatus.FILLED, 100)
    desk.told(ref(STOP), OrderStatus.CANCELLED)
    assert desk.state.trade is None
    assert [e.what for e in desk.events if isinstance(e, PeerAskedEvent)] == ["hedge", "unhedge"]


def test_the_hedging_symbol_owns_the_hedge_and_ends_it_when_told() -> None:
    desk = Desk.ready()
    desk.say(HedgeTrade(desk.at, GLD, 7, D("-5000"), "hedge"))
    assert (desk.trade.side, desk.trade.quantity) == (Side.SELL, 50)
    desk.say(HedgeTrade(desk.at, GLD, 7, D("-5000"), "hedge"))
    assert desk.trade.trade == 1, "once"
    desk.bracket_taken()
    desk.fills(ref(MAIN), 50, "99.98")
    desk.told(ref(MAIN), OrderStatus.FILLED, 50)
    desk.say(EndHedge(desk.at, GLD, 6))
    assert desk.trade.closing is None, "another trade's hedge"
    desk.say(EndHedge(desk.at, GLD, 7))
    assert desk.trade.closing is not None


def test_a_symbol_in_a_trade_takes_on_no_hedge_and_says_so() -> None:
    desk = desk_with()
    desk.say(HedgeTrade(desk.at, GLD, 7, D("-5000"), "hedge"))
    assert notes(desk) == ["no hedge for GLD: it has a trade of its own"]
    assert not [event for event in desk.events if isinstance(event, PositionUpdateEvent)]


def test_conditions_on_the_position_and_on_the_rest_compose() -> None:
    winning = WhenPosition(state=("open",), side="long", min_pnl_pct=0.01)
    desk = desk_with(rule(winning & ~When.parse("pnl_pct > 0.05"), Notify("between"), cooldown_s=0.0))
    desk.quote(106.0, 106.02)
    assert notes(desk) == []
    desk.quote(102.0, 102.02)
    assert notes(desk) == ["between"]
