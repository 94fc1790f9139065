"""The lists of the configuration: which symbols, how large, and the rules that trade them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import attrs

from protocol.config_reading import COUNT, NOT_NEGATIVE, POSITIVE, Table, suggest
from protocol.config_rules_actions import read_actions
from protocol.config_rules_conditions import check_event_fields, read_condition
from protocol.config_rules_entry import MAX_WORKING_ORDERS, exit_groups
from protocol.config_rules_parts import DEFAULT_SIZING, Mention, RulesRead, read_sizing
from protocol.portfolio import is_portfolio_rule, portfolio_faults
from protocol.risk.settings import RiskLimits
from protocol.rules.actions import (
    DEFAULT_STOP,
    DEFAULT_TARGET,
    Action,
    Choose,
    EnableRule,
    Enter,
    Hedge,
    Link,
    OnOpposite,
)
from protocol.rules.conditions import Condition, WhenSignal
from protocol.rules.rule import Rule
from protocol.settings import StockFacts, SymbolSettings
from protocol.values import Side, Symbol

_SYMBOL = re.compile(r"[A-Z][A-Z0-9]*([ .][A-Z0-9]+)?")
_PLACEHOLDER: Final = "{symbol}"

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


# --- symbols --------------------------------------------------------------------------------------


def read_symbols(tables: Sequence[Table], risk: RiskLimits) -> tuple[SymbolSettings, ...]:
    """`[[symbols]]`: each once, with one size."""
    read = RulesRead(risk, ())
    found: dict[str, SymbolSettings] = {}
    for table in tables:
        name = table.required_text("symbol")
        if name and not _SYMBOL.fullmatch(name):
            close = f'; did you mean "{name.upper()}"?' if _SYMBOL.fullmatch(name.upper()) else ""
            table.fault("symbol", f'"{name}" is no stock symbol as TWS writes it{close}')
        elif name in found:
            table.fault("symbol", f'"{name}" is listed twice')
        sizing, facts = read_sizing(read, table) or DEFAULT_SIZING, _read_facts(table)
        table.close()
        found.setdefault(name, SymbolSettings(Symbol(name), sizing, facts))
    return tuple(found.values())


def _read_facts(table: Table) -> StockFacts:
    """`sector`, `beta`, `average_volume`, `market_cap`: each may be left out."""
    cap = table.decimal("market_cap", Decimal(0), POSITIVE) if table.has("market_cap") else None
    return StockFacts(
        sector=table.text("sector", ""),
        beta=table.number("beta", 0.0) if table.has("beta") else None,
        average_volume=table.integer("average_volume", 1, COUNT) if table.has("average_volume") else None,
        market_cap=cap,
    )


# --- rules ----------------------------------------------------------------------------------------


def read_rules(
    tables: Sequence[Table], symbols: Sequence[SymbolSettings], risk: RiskLimits
) -> tuple[Rule, ...]:
    """`[[rules]]`, a rule whose name holds `{symbol}` once for each of its symbols."""
    read = RulesRead(risk, tuple(symbols))
    rules: list[Rule] = []
    written: list[str] = []
    places: list[tuple[Table, Rule]] = []
    for table in tables:
        taken = {rule.name for rule in rules}
        for rule in _read_rule(table, read, written):
            if rule.name in taken:
                table.fault("name", f'"{rule.name}" is the name of another rule')
            rules.append(rule)
            places.append((table, rule))
    _check_links(places)
    _check_mentions(read, [*written, *(rule.name for rule in rules)])
    return tuple(rules)


def _read_rule(table: Table, read: RulesRead, written: list[str]) -> tuple[Rule, ...]:
    names = [entry.symbol for entry in read.symbols]
    name, symbols, when = (
        table.required_text("name"),
        _read_rule_symbols(table, names),
        _read_when(table, read),
    )
    rule = Rule(
        name=name,
        symbols=symbols,
        when=when,
        then=read_actions(read, table, "then"),
        priority=table.integer("priority", 100),
        cooldown_s=table.number("cooldown_s", 180.0, NOT_NEGATIVE),
        max_per_day=table.integer("max_per_day", 1, COUNT) if table.has("max_per_day") else None,
        reset_by_stop_out=table.truth("reset_by_stop_out", default=False),
        enabled=table.truth("enabled", default=True),
    )
    table.close()
    for fault in portfolio_faults(rule) if is_portfolio_rule(rule) else ():
        table.fault("then" if "can only" in fault else "when", fault)
    written.append(name)
    for other in re.findall(r"\{.*?\}", rule.name):
        if other != _PLACEHOLDER:
            table.fault("name", f"unknown placeholder {other}; known: {_PLACEHOLDER}")
    return tuple(_expanded(rule, symbol) for symbol in symbols or names) if _PLACEHOLDER in name else (rule,)


def _expanded(rule: Rule, symbol: Symbol) -> Rule:
    name = rule.name.replace(_PLACEHOLDER, symbol)
    return attrs.evolve(rule, name=name, symbols=(symbol,), then=_named(rule.then, symbol))


def _named(actions: tuple[Action, ...], symbol: Symbol) -> tuple[Action, ...]:
    """The same actions, where they speak of other rules: of those of this symbol."""
    named: list[Action] = []
    for action in actions:
        match action:
            case EnableRule(rule=rule):
                named.append(attrs.evolve(action, rule=rule.replace(_PLACEHOLDER, symbol)))
            case Choose(then=then, otherwise=otherwise):
                branches = _named(then, symbol), _named(otherwise, symbol)
                named.append(attrs.evolve(action, then=branches[0], otherwise=branches[1]))
            case _:
                named.append(action)
    return tuple(named)


def hedges_of(actions: tuple[Action, ...]) -> tuple[Symbol, ...]:
    """The symbols that they hedge with."""
    found: list[Symbol] = []
    for action in actions:
        match action:
            case Hedge(symbol=symbol):
                found.append(symbol)
            case Choose(then=then, otherwise=otherwise):
                found += (*hedges_of(then), *hedges_of(otherwise))
            case _:
                pass
    return tuple(found)


def _read_rule_symbols(table: Table, symbols: Sequence[Symbol]) -> tuple[Symbol, ...]:
    named = table.texts("symbols", ())
    for name in named:
        if name not in symbols:
            table.fault("symbols", f'"{name}" is not among the configured symbols{suggest(name, symbols)}')
    if table.has("symbols") and not named:
        table.expected("symbols", "at least one symbol (leave the key out for all)")
    return tuple(Symbol(name) for name in dict.fromkeys(named))


def _read_when(table: Table, read: RulesRead) -> Condition:
    condition: Condition | None = None
    if table.has("when"):
        condition = read_condition(read, table, "when")
    else:
        table.fault("when", 'is missing: expected a condition like when.signal = { signal = "BUY" }')
    if condition is None:
        return WhenSignal(signals=("BUY",))
    check_event_fields(table, "when", condition)
    return condition


def _check_links(places: Sequence[tuple[Table, Rule]]) -> None:
    """Exits that other rules may join to a trade count among those that work at once."""
    for table, rule in places:
        if rule.entry is None:
            continue
        names: set[str] = set()
        for _, other in places:
            if not rule.symbols or not other.symbols or set(rule.symbols) & set(other.symbols):
                names |= {link.name for link in _links_of(other.then)}
        exits = 2 * (exit_groups(rule.entry) + len(names))
        if names and exits > MAX_WORKING_ORDERS:
            table.fault(
                "then",
                f"with the links {', '.join(sorted(names))} the exits are {exits} orders; TWS lets "
                f"{MAX_WORKING_ORDERS} work for one side",
            )


def _links_of(actions: tuple[Action, ...]) -> tuple[Link, ...]:
    found: list[Link] = []
    for action in actions:
        match action:
            case Link():
                found.append(action)
            case Choose(then=then, otherwise=otherwise):
                found += (*_links_of(then), *_links_of(otherwise))
            case _:
                pass
    return tuple(found)


def _check_mentions(read: RulesRead, rules: Sequence[str]) -> None:
    """What one rule says of another has to be there."""
    _check(
        read.values_used,
        sorted(read.values_set),
        "no rule sets a value",
        " (an action set = { name, value })",
    )
    _check(read.rules_switched, rules, "there is no rule", "")
    _check(read.submitted, sorted(read.prepared), "no rule prepares an entry", "")
    _check(read.cancelled, sorted(read.linked), "no order is linked as", "")


def _check(mentions: Sequence[Mention], known: Sequence[str], what: str, how: str) -> None:
    for mention in mentions:
        if mention.name not in known:
            close = suggest(mention.name, known)
            mention.table.fault(mention.key, f'{what} "{mention.name}"{close or how}')
