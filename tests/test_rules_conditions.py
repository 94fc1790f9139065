"""Conditions: when they hold, what is missing when they do not, and how they are composed in Python."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.events import FillEvent, OrderEvent, PredictionSignalEvent
from protocol.rules.actions import Close, Enter, Log, Notify
from protocol.rules.conditions import (
    All,
    AnyOf,
    Condition,
    FieldTest,
    IndicatorTest,
    Not,
    When,
    WhenEvent,
    WhenMarket,
    WhenPosition,
    WhenSignal,
    WhenTime,
    asks_for_signal,
    changes_of,
    describe_condition,
    event_types,
    facts_of,
    holds,
    indicators_of,
    why_not,
)
from protocol.rules.expression import Value
from protocol.rules.fact_names import Change
from protocol.rules.indicator_names import indicator_name
from protocol.rules.rule import Rule
from protocol.values import Side
from tests.test_rules_expression import NOTHING, Known

BUY = WhenSignal(("BUY",))
RSI = indicator_name("rsi", (14,))


def test_a_signal_holds_by_word_confidence_and_source() -> None:
    condition = WhenSignal(("BUY", "SHORT"), 0.7, ("flow",))
    said: dict[str, Value] = {"signal": "BUY", "confidence": 0.7, "source": "flow"}
    assert holds(condition, Known(said)) is True
    assert why_not(condition, Known({**said, "signal": "SELL"})) == 'signal is BUY or SHORT (it is "SELL")'
    assert why_not(condition, Known({**said, "confidence": 0.6})) == "confidence >= 0.7 (it is 0.6)"
    assert why_not(condition, Known({**said, "source": "web"})) == 'source is flow (it is "web")'


def test_without_a_signal_or_an_event_those_that_ask_for_one_do_not_hold() -> None:
    assert holds(BUY, NOTHING) is False
    assert holds(WhenEvent("FillEvent"), NOTHING) is False


def test_an_event_is_meant_with_those_derived_from_it_and_its_fields_are_compared() -> None:
    condition = WhenEvent(
        "OrderEvent", (FieldTest("quantity", ">=", 100), FieldTest("ref.role", "==", "stop"))
    )
    fill: dict[str, Value] = {
        "event.event_type": "FillEvent",
        "event.quantity": 150.0,
        "event.ref.role": "stop",
    }
    assert holds(condition, Known(fill)) is True
    assert holds(condition, Known({**fill, "event.quantity": 50.0})) is False
    assert holds(condition, Known({**fill, "event.event_type": "AlarmEvent"})) is False
    assert event_types(condition) == (OrderEvent,)
    assert issubclass(FillEvent, event_types(condition))
    with pytest.raises(ValueError, match="no event type"):
        WhenEvent("FilEvent")


def test_a_position_holds_within_its_bounds_which_are_included() -> None:
    condition = WhenPosition(state=("open",), side="long", min_pnl_pct=0.02, max_duration_s=60)
    facts: dict[str, Value] = {"state": "open", "side": "long", "pnl_pct": 0.02, "duration_s": 60.0}
    assert holds(condition, Known(facts)) is True
    assert holds(condition, Known({**facts, "state": "adjusting"})) is True
    assert why_not(condition, Known({**facts, "pnl_pct": 0.0199})) == "pnl_pct >= 0.02 (it is 0.0199)"
    assert holds(condition, Known({"state": "open", "side": "long", "duration_s": 3.0})) is None
    assert holds(condition, Known({"state": "flat"})) is False


def test_a_time_holds_from_its_first_minute_until_before_its_last() -> None:
    condition = WhenTime(after=time(9, 30), before=time(15, 30), weekdays=("mon", "fri"), market_hours=True)
    facts: dict[str, Value] = {"time": "09:30", "weekday": "fri", "market_open": True}
    assert holds(condition, Known(facts)) is True
    assert holds(condition, Known({**facts, "time": "15:29"})) is True
    assert why_not(condition, Known({**facts, "time": "15:30"})) == 'time < "15:30" (it is "15:30")'
    assert holds(condition, Known({**facts, "weekday": "tue"})) is False
    assert holds(condition, Known({**facts, "market_open": False})) is False
    assert holds(WhenTime(max_minutes_to_close=10), Known({"minutes_to_close": 10.0})) is True


def test_a_market_holds_by_prices_and_indicators() -> None:
    condition = WhenMarket(min_price=5, max_volatility=0.02, indicators=(IndicatorTest(RSI, "<=", 70),))
    facts = Known({"price": 6.0, "volatility": 0.01}, {"rsi14": 71.0})
    assert why_not(condition, facts) == "rsi14 <= 70 (it is 71)"
    assert holds(condition, Known(facts.facts)) is None
    assert holds(condition, Known(facts.facts, {"rsi14": 60.0})) is True


_known = st.sampled_from([True, False, None])
_given: dict[bool | None, Condition] = {
    True: When.parse("1 > 0"),
    False: When.parse("1 < 0"),
    None: When.parse("price > 0"),
}
_WEIGHT = {False: 0, None: 1, True: 2}


@given(st.lists(_known, min_size=1, max_size=5))
def test_what_is_composed_holds_as_its_parts_do(values: list[bool | None]) -> None:
    parts = tuple(_given[value] for value in values)
    weights = [_WEIGHT[value] for value in values]
    assert _WEIGHT[holds(All(parts), NOTHING)] == min(weights)
    assert _WEIGHT[holds(AnyOf(parts), NOTHING)] == max(weights)
    assert holds(Not(All(parts)), NOTHING) is holds(AnyOf(tuple(Not(part) for part in parts)), NOTHING)
    for condition in (All(parts), AnyOf(parts), Not(AnyOf(parts))):
        assert (why_not(condition, NOTHING) == "") == (holds(condition, NOTHING) is True)


def test_conditions_are_composed_with_and_or_and_not() -> None:
    cheap, open_, late = When.parse("price < 5"), WhenPosition(state=("open",)), WhenTime(after=time(15))
    assert BUY & cheap & open_ == All((BUY, cheap, open_))
    assert BUY | cheap | open_ == AnyOf((BUY, cheap, open_))
    assert (BUY | cheap) & ~late == All((AnyOf((BUY, cheap)), Not(late)))
    assert ~~late == late
    assert describe_condition((BUY | cheap) & ~late) == (
        '(BUY with confidence from 0.5 or price < 5) and not (time >= "15:00")'
    )


def test_actions_are_put_one_after_the_other_with_plus() -> None:
    enter, note, tell, close = Enter(Side.BUY), Log("a"), Notify("b"), Close()
    assert enter + note == (enter, note)
    assert enter + note + tell + close == (enter, note, tell, close)
    assert enter + (note + tell) == (enter, note, tell)
    rule = Rule("r", BUY & When.parse("rsi14 < 70"), enter + note)
    assert rule.then == (enter, note)
    assert rule.entry == enter


def test_a_condition_says_what_it_reads_and_what_can_change_it() -> None:
    condition = BUY & When.parse("rsi14 < 70 and value.hits > 1") & ~WhenTime(after=time(10))
    assert facts_of(condition) == {"signal", "confidence", "value.hits", "time"}
    assert indicators_of(condition) == (RSI,)
    assert changes_of(condition) == {Change.SIGNAL, Change.BAR, Change.POSITION, Change.TIME}
    assert asks_for_signal(condition)
    assert not asks_for_signal(When.parse("price > 3"))
    assert changes_of(WhenPosition(state=("open",))) == {Change.POSITION}
    assert asks_for_signal(When.parse("confidence > 0.5"))
    assert event_types(WhenEvent("PredictionSignalEvent") | BUY) == (PredictionSignalEvent,)


def test_a_condition_that_does_not_hold_names_the_part_that_fails_and_not_one_that_is_unknown() -> None:
    condition = When.parse("rsi14 < 70") & When.parse("price > 3")
    assert why_not(condition, Known({"price": 2.0})) == "price > 3 (it is 2)"
    assert why_not(condition, Known({"price": 4.0})) == "rsi14 < 70 (it is not known)"
    assert why_not(~When.parse("price > 3"), Known({"price": 4.0})) == "not: price > 3"
    assert why_not(When.parse("price > 3") | When.parse("bid > 3"), Known({"price": 1.0, "bid": 1.0})) == (
        "price > 3 (it is 1) and bid > 3 (it is 1)"
    )
