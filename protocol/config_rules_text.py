"""Rules in sentences: what asks for what, in words that a person can check."""

from __future__ import annotations

from typing import assert_never

from protocol.rules.actions import (
    Action,
    Adjust,
    Breakeven,
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
    OnCloseStop,
    PlainOrder,
    Prepare,
    ScaleIn,
    SetValue,
    Submit,
    Trailing,
)
from protocol.rules.amounts import (
    Addition,
    Allocation,
    Amount,
    At,
    AtrMultiple,
    Distance,
    DistanceBy,
    Multiple,
    Percent,
    RiskFraction,
    RiskReward,
    Shares,
    SharesBy,
    Sizing,
)
from protocol.rules.conditions import describe_condition
from protocol.rules.rule import Rule
from protocol.values import OrderType

_ORDER_WORDS = {
    OrderType.LIMIT: "by a limit order",
    OrderType.STOP: "by a stop order",
    OrderType.STOP_LIMIT: "by a stop-limit order",
}


def describe_rule(rule: Rule) -> str:
    """One sentence: what has to hold, what then happens, for which symbols, and how often."""
    whom = ", ".join(rule.symbols) if rule.symbols else "every symbol"
    then = " and then ".join(describe_action(action, whom) for action in rule.then)
    enters = bool(rule.then) and isinstance(rule.then[0], Enter)
    between, of = (" ", "") if enters else (": ", f", for {whom}")
    reset = " (none after a stop-out)" if rule.reset_by_stop_out else ""
    limit = "" if rule.max_per_day is None else f", at most {rule.max_per_day} a day"
    off = "" if rule.enabled else ", switched off at first"
    often = f"cooldown {rule.cooldown_s:g} s{reset}{limit}{off}"
    return f"{describe_condition(rule.when)}{between}{then}{of}, {often}"


def describe_action(action: Action, whom: str = "") -> str:
    """An action as the end of a sentence that begins with its condition."""
    match action:
        case Enter():
            return _enter(action, whom)
        case Prepare(name, entry):
            return f"makes ready as '{name}': {_enter(entry, '')}"
        case PlainOrder(side, sizing, order):
            size = "" if sizing is None else f" {describe_sizing(sizing)}"
            return f"places {side.value}{size}{_order(order) or ' at the market'}"
        case Submit(name):
            return f"sends '{name}'"
        case ScaleIn() | DoubleDown() | Adjust() | Link() | Close() | Cancel() | Hedge():
            return _on_trade(action)
        case FlattenAll(reason):
            return f"closes every trade of every symbol{_because(reason)}"
        case Notify(text):
            return f'tells a person "{text}"'
        case Log(text):
            return f'notes "{text}"'
        case SetValue(name, value):
            return f"keeps {value.text} as value.{name}"
        case EnableRule(name, on):
            return f"switches the rule '{name}' {'on' if on else 'off'}"
        case Choose(condition, then, otherwise):
            done = " and then ".join(describe_action(each) for each in then)
            rest = " and then ".join(describe_action(each) for each in otherwise)
            tail = f", else {rest}" if rest else ""
            return f"if {describe_condition(condition)}: {done}{tail}"
        case _:
            assert_never(action)


def _on_trade(action: ScaleIn | DoubleDown | Adjust | Link | Close | Cancel | Hedge) -> str:
    match action:
        case ScaleIn(quantity, profit):
            when = "" if profit is None else f" when {describe_distance(profit)} in profit"
            return f"adds {describe_addition(quantity)} at the market{when}"
        case DoubleDown(quantity, None):
            return f"doubles down by {describe_addition(quantity)} at the market"
        case DoubleDown(quantity, part):
            return f"doubles down by {describe_addition(quantity)}, {part:g} of the way to the stop"
        case Adjust(stop, target, trail, breakeven):
            return "adjusts the exits: " + ", ".join(_exits(stop, target, trail, breakeven))
        case Link(name, part, stop, trail, target):
            return f"joins '{name}' for {_percent(part)}: " + ", ".join(_exits(stop, target, trail, None))
        case Close(part, reason):
            what = "the trade" if part >= 1 else f"{_percent(part)} of the trade"
            return f"closes {what}{_because(reason)}"
        case Cancel(links):
            return f"cancels the orders {', '.join(links)}"
        case Hedge(symbol, ratio):
            return f"hedges with {ratio:g} times its dollars in {symbol}"
        case _:
            assert_never(action)


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


# --- an entry -----------------------------------------------------------------------------------------


def _enter(entry: Enter, whom: str) -> str:
    side = f"enters {entry.side.value} {whom}".rstrip()
    parts = [f"{side}{_order(entry.order)}"]
    if entry.sizing is not None:
        parts.append(describe_sizing(entry.sizing))
    parts.append(f"stop {describe_distance(entry.stop)}")
    parts += [
        f"target {describe_distance(each.distance)} for {_percent(each.part)}" for each in entry.targets
    ]
    if not entry.targets:
        parts.append("no target" if entry.target is None else f"target {describe_distance(entry.target)}")
    parts += _exits(None, None, entry.trail, entry.breakeven)
    parts += [
        f"adds {describe_addition(level.quantity)} at {describe_distance(level.profit)} in profit"
        for level in entry.scale_in
    ]
    parts += [
        f"doubles down by {describe_addition(level.quantity)}, {level.part_of_stop:g} of the way to the stop"
        for level in entry.double_down
    ]
    parts.append(f"on the opposite signal {entry.on_opposite.value}")
    if entry.on_close_stop is OnCloseStop.WIDEN:
        parts.append("a stop that is too close is widened and the size shrunk")
    if entry.close_after_s is not None:
        parts.append(f"closed after {entry.close_after_s:g} s")
    if entry.close_at is not None:
        parts.append(f"closed at {entry.close_at:%H:%M}")
    return ", ".join(parts)


def _order(order: EntryOrder) -> str:
    words = _ORDER_WORDS.get(order.type, "")
    text = f" {words}" if words else ""
    if order.offset is not None:
        text += f" {describe_distance(order.offset)} from the quote"
    if order.limit_offset is not None:
        text += f" with its limit {describe_distance(order.limit_offset)} further"
    if order.expires_s is not None:
        text += f" that expires after {order.expires_s:g} s"
    return text


def _exits(
    stop: Distance | None, target: Distance | None, trail: Trailing | None, breakeven: Breakeven | None
) -> list[str]:
    parts = []
    if stop is not None:
        parts.append(f"stop {describe_distance(stop)}")
    if target is not None:
        parts.append(f"target {describe_distance(target)}")
    if trail is not None:
        after = "" if trail.after is None else f" once {describe_distance(trail.after)} in profit"
        how = " by the broker" if trail.native else ""
        parts.append(f"stop trails {describe_distance(trail.distance)} behind{how}{after}")
    if breakeven is not None:
        offset = f" plus ${breakeven.offset}" if breakeven.offset else ""
        parts.append(f"stop to breakeven{offset} once {describe_distance(breakeven.after)} in profit")
    return parts


# --- amounts ------------------------------------------------------------------------------------------


def describe_distance(distance: Distance) -> str:
    match distance:
        case Percent(fraction):
            return _percent(fraction)
        case AtrMultiple(multiple):
            return f"{multiple:g} ATR"
        case Amount(dollars):
            return f"${dollars}"
        case At(price):
            return f"at ${price}"
        case RiskReward(ratio):
            return f"{ratio:g} times the stop"
        case DistanceBy(expression):
            return f"$({expression.text})"
        case _:
            assert_never(distance)


def describe_sizing(sizing: Sizing) -> str:
    match sizing:
        case Shares(quantity):
            return f"{quantity} shares an entry"
        case Allocation(dollars):
            return f"${dollars} an entry"
        case RiskFraction(fraction):
            return f"{fraction:.4g} of the equity at risk an entry"
        case SharesBy(expression):
            return f"({expression.text}) shares an entry"
        case _:
            assert_never(sizing)


def describe_addition(quantity: Addition) -> str:
    match quantity:
        case Multiple(multiple):
            return f"{multiple:g} times the entry"
        case Shares(shares):
            return f"{shares} shares"
        case SharesBy(expression):
            return f"({expression.text}) shares"
        case _:
            assert_never(quantity)


def _percent(fraction: float) -> str:
    return f"{fraction * 100:g} %"
