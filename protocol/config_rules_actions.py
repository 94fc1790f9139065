"""`then`: actions as the configuration writes them, each a table with one key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from protocol.config_reading import FRACTION, POSITIVE, Table, suggest
from protocol.config_rules_conditions import read_condition
from protocol.config_rules_entry import (
    SHARE,
    read_breakeven,
    read_enter,
    read_order,
    read_trail,
    refuse_other_words,
)
from protocol.config_rules_parts import (
    OF_STOP,
    OF_TARGET,
    PLAIN,
    STOP_DEFAULTS,
    TARGET_DEFAULTS,
    Mention,
    RulesRead,
    parse_expression,
    read_addition,
    read_distance,
    read_sizing,
)
from protocol.rules.actions import (
    Action,
    Adjust,
    Cancel,
    Choose,
    Close,
    DoubleDown,
    EnableRule,
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
)
from protocol.rules.expression import ExpressionFault, Kind
from protocol.rules.expression_names import check_fact
from protocol.values import CLOSE, DOUBLEDOWN, MAIN, SCALE, STOP, TARGET, Side, Symbol

_PROTECTS: Final = (STOP, CLOSE)
_LINK_NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
_VALUE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


def read_actions(read: RulesRead, table: Table, key: str) -> tuple[Action, ...]:
    """The list of actions under `key`; a fault when there is none."""
    tables = table.tables(key)
    if tables is None:
        table.fault(key, 'is missing: expected [{ enter = { side = "BUY", stop_pct = 0.03 } }]')
        return ()
    if not tables and table.value(key) == []:
        table.expected(key, "a list with at least one action")
    found = []
    for item in tables:
        action = _read_action(read, item)
        if action is not None:
            found.append(action)
    return tuple(found)


def _read_action(read: RulesRead, table: Table) -> Action | None:
    kinds = (*_OF_TABLE, *_OF_TEXT)
    given = [kind for kind in kinds if table.has(kind)]
    table.close()
    if not given:
        if not table.names:
            table.fault("enter", f"is missing: an action is one of {', '.join(kinds)}")
        return None
    if len(given) > 1:
        table.fault(given[1], f"{given[0]} is given too; each action has braces of its own, in their order")
        return None
    kind = given[0]
    if kind in _OF_TEXT:
        return _read_text_action(read, table, kind)
    inner = table.table(kind)
    return None if inner is None else _read_table_action(read, inner, kind)


_OF_TEXT: Final = ("submit", "notify", "log", "enable", "disable")
_OF_TABLE: Final = (
    "enter",
    "order",
    "scale_in",
    "double_down",
    "adjust",
    "link",
    "close",
    "cancel",
    "flatten_all",
    "hedge",
    "prepare",
    "set",
    "choose",
)


def _read_text_action(read: RulesRead, table: Table, kind: str) -> Action:
    """`notify = "…"` and others that need one word or sentence."""
    if kind in ("notify", "log"):
        text = _text_with_facts(table, kind)
        return Notify(text) if kind == "notify" else Log(text)
    name = table.required_text(kind)
    if kind == "submit":
        read.submitted.append(Mention(table, kind, name))
        return Submit(name)
    read.rules_switched.append(Mention(table, kind, name))
    return EnableRule(name, on=kind == "enable")


def _read_table_action(read: RulesRead, inner: Table, kind: str) -> Action | None:
    match kind:
        case "enter":
            return read_enter(read, inner)
        case "close":
            return _close(inner)
        case "flatten_all":
            return _flatten_all(inner)
        case _:
            return _READERS[kind](read, inner)


# --- entries ------------------------------------------------------------------------------------------


def _plain_order(read: RulesRead, inner: Table) -> Action:
    if not inner.has("side"):
        inner.fault("side", 'is missing: expected "BUY" or "SELL"')
    side = inner.choice("side", Side.BUY, Side)
    plain = PlainOrder(side, read_sizing(read, inner), read_order(read, inner))
    inner.close()
    return plain


def _prepare(read: RulesRead, inner: Table) -> Action | None:
    name, entry = inner.required_text("name"), inner.table("enter")
    if not inner.has("enter"):
        inner.fault("enter", "is missing: the entry that is made ready")
    inner.close()
    read.prepared.add(name)
    return None if entry is None else Prepare(name, read_enter(read, entry))


def _hedge(read: RulesRead, inner: Table) -> Action | None:
    name, known = inner.required_text("symbol"), [str(each.symbol) for each in read.symbols]
    if name and name not in known:
        inner.fault("symbol", f'"{name}" is not among the configured symbols{suggest(name, known)}')
    ratio = inner.number("ratio", 1.0, POSITIVE)
    inner.close()
    return Hedge(Symbol(name), ratio)


# --- the live trade -----------------------------------------------------------------------------------


def _scale_in(read: RulesRead, inner: Table) -> Action | None:
    refuse_other_words(inner)
    quantity = read_addition(read, inner, "multiple", ScaleIn().quantity)
    action = ScaleIn(quantity, read_distance(read, inner, "min_profit", PLAIN))
    inner.close()
    return action


def _double_down(read: RulesRead, inner: Table) -> Action | None:
    quantity = read_addition(read, inner, "multiplier", DoubleDown().quantity)
    part: float | None = inner.number("part_of_stop", 0.5, FRACTION)
    if inner.truth("at_market", default=False):
        if "part_of_stop" in inner.names:
            inner.fault("at_market", "part_of_stop is given too; it adds now, or by a limit on the way")
        part = None
    inner.close()
    return DoubleDown(quantity, part)


def _adjust(read: RulesRead, inner: Table) -> Action | None:
    refuse_other_words(inner)
    before = inner.fault_count
    action = Adjust(
        stop=read_distance(read, inner, "stop", OF_STOP, STOP_DEFAULTS),
        target=read_distance(read, inner, "target", OF_TARGET, TARGET_DEFAULTS),
        trail=read_trail(read, inner),
        breakeven=read_breakeven(read, inner),
    )
    if action.trail is not None and action.trail.native:
        inner.fault("trail_native", "belongs to an entry or a link; a live stop is trailed by us")
    inner.close()
    if action == Adjust() and inner.fault_count == before:
        inner.fault("stop_pct", "nothing to adjust: give stop_…, target_…, trail_… or breakeven_after_…")
    return action


def _link(read: RulesRead, inner: Table) -> Action | None:
    name = inner.required_text("name")
    if name in (MAIN, STOP, TARGET, SCALE, DOUBLEDOWN, CLOSE):
        inner.fault("name", f'"{name}" is a link type that every trade has; give it another name')
    elif name and not _LINK_NAME.fullmatch(name):
        inner.expected("name", "a name of small letters, digits and _")
    if not inner.has("part"):
        inner.fault("part", "is missing: the fraction of the position that it is for")
    before = inner.fault_count
    trail = read_trail(read, inner)
    action = Link(
        name,
        inner.number("part", 0.5, FRACTION),
        read_distance(read, inner, "stop", OF_STOP, STOP_DEFAULTS),
        trail,
        read_distance(read, inner, "target", OF_TARGET, TARGET_DEFAULTS),
    )
    if trail is not None and trail.after is not None:
        inner.fault("trail_after_pct", "is not for a link: its stop is the broker's own and trails at once")
    if (action.stop is None) == (trail is None) and inner.fault_count == before:
        inner.fault("stop_pct", "give it one stop: stop_… for a fixed one, or trail_… for one that trails")
    inner.close()
    read.linked.add(name)
    return action


def _close(inner: Table) -> Action:
    action = Close(inner.number("part", 1.0, SHARE), inner.text("reason", ""))
    inner.close()
    return action


def _cancel(read: RulesRead, inner: Table) -> Action | None:
    links = inner.texts("links", Cancel().links)
    for name in links:
        if name in _PROTECTS:
            inner.fault("links", f'"{name}" orders protect the trade; close it instead')
        elif name not in (MAIN, TARGET, SCALE, DOUBLEDOWN):
            read.cancelled.append(Mention(inner, "links", name))
    inner.close()
    return Cancel(links)


def _flatten_all(inner: Table) -> Action:
    action = FlattenAll(inner.text("reason", ""))
    inner.close()
    return action


# --- words and values -----------------------------------------------------------------------------------


def _text_with_facts(table: Table, key: str) -> str:
    text = table.required_text(key)
    for name in _PLACEHOLDER.findall(text):
        try:
            check_fact(name)
        except ExpressionFault as fault:
            table.fault(key, f"{{{name}}}: {fault.what}")
    return text


def _set(read: RulesRead, inner: Table) -> Action | None:
    name = inner.required_text("name")
    if name and not _VALUE_NAME.fullmatch(name):
        inner.expected("name", "a name of small letters, digits and _")
    read.values_set.add(name)
    value = inner.value("value")
    if value is None:
        inner.fault("value", 'is missing: a number, true, false, or an expression such as "price * 2"')
    text = {True: "True", False: "False"}.get(value) if isinstance(value, bool) else str(value)
    expression = None
    if value is not None and text is not None:
        expression = parse_expression(read, inner, "value", text, Kind.ANY)
    inner.close()
    return None if expression is None else SetValue(name, expression)


def _choose(read: RulesRead, inner: Table) -> Action | None:
    if not inner.has("if"):
        inner.fault("if", "is missing: the condition that chooses")
    condition = read_condition(read, inner, "if") if inner.has("if") else None
    then = read_actions(read, inner, "then")
    otherwise = read_actions(read, inner, "else") if inner.has("else") else ()
    inner.close()
    return None if condition is None else Choose(condition, then, otherwise)


_READERS: Final[Mapping[str, Callable[[RulesRead, Table], Action | None]]] = MappingProxyType(
    {
        "order": _plain_order,
        "scale_in": _scale_in,
        "double_down": _double_down,
        "adjust": _adjust,
        "link": _link,
        "cancel": _cancel,
        "hedge": _hedge,
        "prepare": _prepare,
        "set": _set,
        "choose": _choose,
    }
)
