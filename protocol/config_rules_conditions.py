"""`when`: conditions as the configuration writes them.

An expression in quotes, or a table of `signal`, `event`, `flow`, `position`, `time`, `market`, `expression`,
`all`, `any` and `not`; several of them in one table have to hold together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import time
from types import MappingProxyType
from typing import Final

import attrs

from protocol.config_reading import PROBABILITY, Table, suggest
from protocol.config_rules_parts import RulesRead, parse_expression
from protocol.rules.conditions import (
    EVENT_KINDS,
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
    event_types,
    facts_of,
)
from protocol.rules.expression import Kind
from protocol.rules.fact_names import EVENT_PREFIX, SIDES, STATES, WEEKDAYS
from protocol.rules.indicator_names import IndicatorFault, IndicatorName, indicator_name, split_suffix
from protocol.rules.three_valued import COMPARISONS

SIGNALS: Final = ("BUY", "SELL", "SHORT")
"""The predictions that can trade; every other word of the service means "no trade"."""

_SIGNED = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*(.*?)\s*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_condition(read: RulesRead, table: Table, key: str) -> Condition | None:
    """The condition under `key`: a text is an expression; None after a fault."""
    value = table.value(key)
    if isinstance(value, str):
        expression = parse_expression(read, table, key, value, Kind.TRUTH)
        return None if expression is None else When(expression)
    if not isinstance(value, Mapping):
        table.expected(key, 'an expression in quotes or a table like { signal = { signal = "BUY" } }')
        return None
    inner = table.table(key)
    assert inner is not None
    return _read_kinds(read, inner, table, key)


def _read_kinds(read: RulesRead, inner: Table, table: Table, key: str) -> Condition | None:
    before, found = inner.fault_count, list[Condition]()
    for kind in _KINDS:
        if inner.has(kind):
            condition = _read_kind(read, inner, kind)
            if condition is not None:
                found.append(condition)
    inner.close()
    if not found:
        if inner.fault_count == before:
            table.fault(key, f"holds no condition; known: {', '.join(_KINDS)}")
        return None
    return found[0] if len(found) == 1 else All(tuple(found))


def check_event_fields(table: Table, key: str, condition: Condition) -> None:
    """Fields of an event can only be read where there is one."""
    if event_types(condition) or asks_for_signal(condition):
        return
    for name in sorted(facts_of(condition)):
        if name.startswith(EVENT_PREFIX):
            table.fault(key, f"{name} has no event to read: add when.event with its type")


# --- the kinds ----------------------------------------------------------------------------------------


def _read_kind(read: RulesRead, table: Table, kind: str) -> Condition | None:
    match kind:
        case "expression":
            text = table.required_text(kind)
            expression = parse_expression(read, table, kind, text, Kind.TRUTH) if text else None
            return None if expression is None else When(expression)
        case "all" | "any":
            conditions = _read_list(read, table, kind)
            composed = All if kind == "all" else AnyOf
            return composed(conditions) if conditions else None
        case "not":
            condition = read_condition(read, table, kind)
            return None if condition is None else Not(condition)
        case _:
            inner = table.table(kind)
            return None if inner is None else _SIMPLE[kind](inner)


def _read_signal(table: Table) -> Condition:
    default = WhenSignal(("BUY",))
    if not table.has("signal"):
        table.fault("signal", f"is missing: expected one or more of {', '.join(SIGNALS)}")
    signals = table.texts("signal", default.signals)
    for signal in signals:
        if signal not in SIGNALS:
            table.fault("signal", f'no signal "{signal}" can trade{suggest(signal, SIGNALS)}')
    if not signals:
        table.expected("signal", f"one or more of {', '.join(SIGNALS)}")
    confidence = table.number("min_confidence", default.min_confidence, PROBABILITY)
    sources = table.texts("source", ())
    table.close()
    return WhenSignal(signals, confidence, sources)


def _read_event(table: Table) -> Condition | None:
    name = table.required_text("type")
    if name and name not in EVENT_KINDS:
        table.fault("type", f'there is no event "{name}"{suggest(name, tuple(EVENT_KINDS))}')
    where = table.table("where")
    fields = []
    for field in () if where is None else where.names:
        assert where is not None
        if name in EVENT_KINDS:
            _check_field(where, field, name)
        sign, value = _comparison(where, field)
        fields.append(FieldTest(field, sign, value))
    table.close()
    return WhenEvent(name, tuple(fields)) if name in EVENT_KINDS else None


def _read_flow(table: Table) -> Condition | None:
    """`{ threshold = "NAME" }`: the event that a figure of the options flow has crossed it."""
    if not table.has("threshold"):
        table.fault("threshold", "is missing: expected the name of one of [[thresholds]]")
    names = table.texts("threshold", ())
    table.close()
    crossed = tuple(WhenEvent("FlowThresholdEvent", (FieldTest("threshold", "==", name),)) for name in names)
    if not crossed:
        return None
    return crossed[0] if len(crossed) == 1 else AnyOf(crossed)


def _check_field(where: Table, field: str, name: str) -> None:
    kind = EVENT_KINDS[name]
    known = [*attrs.fields_dict(kind)]
    if field.partition(".")[0] not in (*known, "symbol"):
        where.fault(field, f"{name} has no such field{suggest(field, known)}")


def _comparison(table: Table, key: str) -> tuple[str, float | str | bool]:
    """`">= 100"` is a comparison; what has no sign has to be equal."""
    value = table.value(key)
    if isinstance(value, bool):
        return "==", value
    if not isinstance(value, str):
        return "==", table.number(key, 0.0)
    found = _SIGNED.fullmatch(value)
    sign, rest = (found[1], found[2]) if found else ("==", value)
    assert sign in COMPARISONS
    if rest in ("true", "false"):
        return sign, rest == "true"
    return sign, float(rest) if found and _NUMBER.fullmatch(rest) else rest


def _read_position(table: Table) -> Condition:
    states = _words(table, "state", STATES)
    sides = _words(table, "side", tuple(side for side in SIDES if side))
    if len(sides) > 1:
        table.fault("side", "a trade has one side; leave it out for both")
    bounds = _bounds(table, WhenPosition)
    table.close()
    return WhenPosition(state=states, side=sides[0] if sides else None, **bounds)  # type: ignore[arg-type]


def _read_time(table: Table) -> Condition:
    after, before = _clock(table, "after"), _clock(table, "before")
    if after is not None and before is not None and after >= before:
        table.fault("before", f"{before:%H:%M} is not later than after {after:%H:%M}")
    weekdays = _words(table, "weekdays", WEEKDAYS)
    hours = table.truth("market_hours", True) if table.has("market_hours") else None
    half_day = table.truth("half_day", True) if table.has("half_day") else None
    bounds = _bounds(table, WhenTime)
    table.close()
    return WhenTime(
        after=after,
        before=before,
        weekdays=weekdays,
        market_hours=hours,
        half_day=half_day,
        **bounds,
    )


def _clock(table: Table, key: str) -> time | None:
    if not table.has(key):
        return None
    found = table.time_of_day(key, time(0))
    if found.second or found.microsecond:
        table.expected(key, 'a time to the minute, like "15:30"')
    return found


def _read_market(table: Table) -> Condition:
    bounds = _bounds(table, WhenMarket)
    tests = []
    for name in table.names:
        edge, _, asked = name.partition("_")
        if edge in ("min", "max") and name not in bounds:
            indicator = _indicator(table, name, asked)
            if indicator is not None:
                sign = ">=" if edge == "min" else "<="
                tests.append(IndicatorTest(indicator, sign, table.number(name, 0.0)))
    table.close()
    return WhenMarket(**bounds, indicators=tuple(tests))


def _indicator(table: Table, key: str, text: str) -> IndicatorName | None:
    """The indicator that `rsi14` or `macd.line` names, or None, so that the key is one that nobody knows."""
    head, _, field = text.partition(".")
    split = split_suffix(head)
    if split is None:
        return None
    table.has(key)
    try:
        return indicator_name(*split, None, field)
    except IndicatorFault as fault:
        table.fault(key, str(fault))
        return None


def _read_list(read: RulesRead, table: Table, key: str) -> tuple[Condition, ...]:
    items = table.listed(key)
    if items is None:
        return ()
    if not items.names:
        table.expected(key, "at least one condition")
    found = [read_condition(read, items, index) for index in items.names]
    return tuple(condition for condition in found if condition is not None)


_SIMPLE: Final[Mapping[str, Callable[[Table], Condition | None]]] = MappingProxyType(
    {
        "signal": _read_signal,
        "event": _read_event,
        "flow": _read_flow,
        "position": _read_position,
        "time": _read_time,
        "market": _read_market,
    }
)
_KINDS: Final = (*_SIMPLE, "expression", "all", "any", "not")


# --- parts --------------------------------------------------------------------------------------------


def _bounds(table: Table, kind: type[WhenPosition | WhenTime | WhenMarket]) -> dict[str, float]:
    """The `min_…` and `max_…` that the condition knows, as far as they are given."""
    found: dict[str, float] = {}
    for name in attrs.fields_dict(kind):
        if name.startswith(("min_", "max_")) and table.has(name):
            found[name] = table.number(name, 0.0)
    for name, low in found.items():
        high = found.get(f"max_{name.removeprefix('min_')}") if name.startswith("min_") else None
        if high is not None and low > high:
            table.fault(name, f"{low:g} is more than max_{name.removeprefix('min_')} {high:g}")
    return found


def _words(table: Table, key: str, known: tuple[str, ...]) -> tuple[str, ...]:
    words = table.texts(key, ())
    for word in words:
        if word not in known:
            table.fault(key, f'"{word}" is not known here{suggest(word, known)}')
    if table.has(key) and not words:
        table.expected(key, f"one or more of {', '.join(known)}")
    return words
