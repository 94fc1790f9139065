"""The lists of the configuration: which symbols, how large, and the rules that trade them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import attrs

from protocol.config_reading import COUNT, FRACTION, NOT_NEGATIVE, POSITIVE, PROBABILITY, Table, suggest
from protocol.settings import (
    Allocation,
    AtrMultiple,
    Distance,
    Enter,
    OnOpposite,
    Percent,
    RiskFraction,
    RiskLimits,
    Rule,
    Shares,
    Sizing,
    SymbolSettings,
    WhenSignal,
)
from protocol.values import Side, Symbol

SIGNALS = ("BUY", "SELL", "SHORT")
"""The predictions that can trade; every other word of the service means "no trade"."""

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*([ .][A-Z0-9]+)?")
_SIZES = ("allocation", "shares", "risk_pct")
_PLACEHOLDER = "{symbol}"
_LATER_CONDITIONS = ("position", "time", "market", "all", "any", "not")
_LATER_ACTIONS = ("close", "reverse", "scale", "scale_in", "double_down", "trail", "flatten")
_LATER_PARTS = ("double_down", "scale_in", "trail", "trail_pct", "trail_atr")

DEFAULT_STOP = Percent(0.03)
DEFAULT_TARGET = Percent(0.08)
DEFAULT_RULES = (
    Rule(
        name="long",
        when=WhenSignal(signals=("BUY",), min_confidence=0.5),
        then=Enter(side=Side.BUY, stop=DEFAULT_STOP, target=DEFAULT_TARGET, on_opposite=OnOpposite.REVERSE),
        cooldown_s=180.0,
    ),
    Rule(
        name="short",
        when=WhenSignal(signals=("SELL", "SHORT"), min_confidence=0.5),
        then=Enter(side=Side.SELL, stop=DEFAULT_STOP, target=DEFAULT_TARGET, on_opposite=OnOpposite.REVERSE),
        cooldown_s=180.0,
    ),
)
"""BUY enters long, SELL and SHORT enter short, for every symbol; the opposite signal reverses."""
DEFAULT_SIZING = Allocation(Decimal(10_000))


# --- symbols --------------------------------------------------------------------------------------


def read_symbols(tables: Sequence[Table], risk: RiskLimits) -> tuple[SymbolSettings, ...]:
    """`[[symbols]]`: each once, with one size."""
    found: dict[str, SymbolSettings] = {}
    for table in tables:
        name = table.required_text("symbol")
        if name and not _SYMBOL.fullmatch(name):
            close = f'; did you mean "{name.upper()}"?' if _SYMBOL.fullmatch(name.upper()) else ""
            table.fault("symbol", f'"{name}" is no stock symbol as TWS writes it{close}')
        elif name in found:
            table.fault("symbol", f'"{name}" is listed twice')
        sizing = _read_sizing(table, risk)
        table.close()
        found.setdefault(name, SymbolSettings(Symbol(name), sizing))
    return tuple(found.values())


def _read_sizing(table: Table, risk: RiskLimits) -> Sizing:
    """Exactly one of three; a size that every entry would be refused for is a fault here."""
    given = [key for key in _SIZES if table.has(key)]
    if len(given) > 1:
        table.fault(given[1], f"only one of {', '.join(_SIZES)}; {given[0]} is given too")
        return DEFAULT_SIZING
    match given:
        case ["shares"]:
            shares = table.integer("shares", 1, COUNT)
            if shares > risk.max_order_quantity:
                table.fault("shares", f"{shares} is over risk.max_order_quantity {risk.max_order_quantity}")
            return Shares(shares)
        case ["risk_pct"]:
            return RiskFraction(table.number("risk_pct", 0.01, FRACTION))
        case ["allocation"]:
            dollars = table.decimal("allocation", DEFAULT_SIZING.dollars, POSITIVE)
            if dollars > risk.max_order_notional:
                table.fault(
                    "allocation", f"{dollars} is over risk.max_order_notional {risk.max_order_notional}"
                )
            return Allocation(dollars)
        case _:
            return DEFAULT_SIZING


# --- rules ----------------------------------------------------------------------------------------


def read_rules(tables: Sequence[Table], symbols: Sequence[Symbol], risk: RiskLimits) -> tuple[Rule, ...]:
    """`[[rules]]`, a rule whose name holds `{symbol}` once for each of its symbols."""
    rules: list[Rule] = []
    for table in tables:
        taken = {rule.name for rule in rules}
        for rule in _read_rule(table, symbols, risk):
            if rule.name in taken:
                table.fault("name", f'"{rule.name}" is the name of another rule')
            rules.append(rule)
    return tuple(rules)


def _read_rule(table: Table, symbols: Sequence[Symbol], risk: RiskLimits) -> tuple[Rule, ...]:
    rule = Rule(
        name=table.required_text("name"),
        symbols=_read_rule_symbols(table, symbols),
        when=_read_condition(table),
        then=_read_action(table, risk),
        priority=table.integer("priority", 100),
        cooldown_s=table.number("cooldown_s", 180.0, NOT_NEGATIVE),
        max_per_day=table.integer("max_per_day", 1, COUNT) if table.has("max_per_day") else None,
    )
    table.close()
    for other in re.findall(r"\{.*?\}", rule.name):
        if other != _PLACEHOLDER:
            table.fault("name", f"unknown placeholder {other}; known: {_PLACEHOLDER}")
    if _PLACEHOLDER not in rule.name:
        return (rule,)
    return tuple(
        attrs.evolve(rule, name=rule.name.replace(_PLACEHOLDER, symbol), symbols=(symbol,))
        for symbol in rule.symbols or tuple(symbols)
    )


def _read_rule_symbols(table: Table, symbols: Sequence[Symbol]) -> tuple[Symbol, ...]:
    named = table.texts("symbols", ())
    for name in named:
        if name not in symbols:
            table.fault("symbols", f'"{name}" is not among the configured symbols{suggest(name, symbols)}')
    if table.has("symbols") and not named:
        table.expected("symbols", "at least one symbol (leave the key out for all)")
    return tuple(Symbol(name) for name in dict.fromkeys(named))


def _read_condition(rule: Table) -> WhenSignal:
    default = WhenSignal(signals=("BUY",))
    when = rule.table("when")
    if when is None:
        if not rule.has("when"):
            rule.fault("when", 'is missing: expected a condition like when.signal = { signal = "BUY" }')
        return default
    for kind in when.names:
        if kind in _LATER_CONDITIONS:
            when.refuse(kind, "conditions of this kind are not in this version; it knows: signal")
    table = when.table("signal")
    if not when.has("signal") and not set(when.names) & set(_LATER_CONDITIONS):
        when.fault("signal", 'is missing: expected a table like { signal = "BUY", min_confidence = 0.5 }')
    when.close()
    if table is None:
        return default
    if not table.has("signal"):
        table.fault("signal", f"is missing: expected one or more of {', '.join(SIGNALS)}")
    signals = table.texts("signal", default.signals)
    for signal in signals:
        if signal not in SIGNALS:
            table.fault("signal", f'no signal "{signal}" can trade{suggest(signal, SIGNALS)}')
    if not signals:
        table.expected("signal", f"one or more of {', '.join(SIGNALS)}")
    confidence = table.number("min_confidence", default.min_confidence, PROBABILITY)
    table.close()
    return WhenSignal(signals=signals, min_confidence=confidence)


def _read_action(rule: Table, risk: RiskLimits) -> Enter:
    default = Enter(side=Side.BUY)
    actions = rule.tables("then")
    if not actions:
        if actions is None:
            rule.fault("then", 'is missing: expected [{ enter = { side = "BUY", stop_pct = 0.03 } }]')
        elif not isinstance(rule.value("then"), list) or not rule.value("then"):
            rule.expected("then", "a list with one action")
        return default
    if len(actions) > 1:
        rule.fault("then", "more than one action is not in this version")
    for action in actions:
        for kind in action.names:
            if kind in _LATER_ACTIONS:
                action.refuse(kind, "actions of this kind are not in this version; it knows: enter")
    enters = [(action, action.table("enter")) for action in actions]
    for action, table in enters:
        if table is None and not action.has("enter") and not set(action.names) & set(_LATER_ACTIONS):
            action.fault("enter", "is missing: the only action of this version")
        action.close()
    found = [_read_enter(table, risk) for _, table in enters if table is not None]
    return found[0] if found else default


def _read_enter(table: Table, risk: RiskLimits) -> Enter:
    """Which way, and the distances of the exits; an entry without a stop does not exist."""
    if not table.has("side"):
        table.fault("side", 'is missing: expected "BUY" (long) or "SELL" (short)')
    for key in table.names:
        if key in _LATER_PARTS:
            table.refuse(key, "is not in this version")
    stop = _read_distance(table, "stop")
    if stop is None and not (table.has("stop_pct") or table.has("stop_atr")):
        table.fault("stop_pct", "is missing: every entry has a stop; give stop_pct or stop_atr")
    if isinstance(stop, Percent) and not risk.min_stop_distance <= stop.fraction <= risk.max_stop_distance:
        table.fault(
            "stop_pct",
            f"{stop.fraction:g} is outside the limits risk.min_stop_distance {risk.min_stop_distance:g} "
            f"and risk.max_stop_distance {risk.max_stop_distance:g}",
        )
    enter = Enter(
        side=table.choice("side", Side.BUY, Side),
        stop=stop if stop is not None else DEFAULT_STOP,
        target=_read_distance(table, "target"),
        on_opposite=table.choice("on_opposite", OnOpposite.REVERSE, OnOpposite),
    )
    table.close()
    return enter


def _read_distance(table: Table, exit_name: str) -> Distance | None:
    """`stop_pct` or `stop_atr`; None when neither is given, or both (which is a fault)."""
    percent, atr = f"{exit_name}_pct", f"{exit_name}_atr"
    match table.has(percent), table.has(atr):
        case True, True:
            table.fault(atr, f"{percent} is given too; a {exit_name} has one distance")
            return None
        case True, False:
            return Percent(table.number(percent, 0.03, FRACTION))
        case False, True:
            return AtrMultiple(table.number(atr, 1.0, POSITIVE))
        case _:
            return None
