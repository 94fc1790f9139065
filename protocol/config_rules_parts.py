"""What rules are made of, as the configuration writes it: expressions, distances, sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import attrs

from protocol.config_reading import COUNT, FRACTION, POSITIVE, Table
from protocol.risk.settings import RiskLimits
from protocol.rules.actions import (
    DEFAULT_ATR_MULTIPLE,
    DEFAULT_REWARD_RATIO,
    DEFAULT_STOP,
    DEFAULT_TARGET,
    DEFAULT_TRAIL,
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
from protocol.rules.expression import Expression, ExpressionFault, Kind
from protocol.rules.fact_names import VALUE_PREFIX
from protocol.settings import SymbolSettings

DEFAULT_SIZING: Final = Allocation(Decimal(10_000))

PLAIN: Final = ("pct", "atr", "amount")
"""The kinds of a distance that holds anywhere: `…_pct`, `…_atr`, `…_amount`."""
OF_STOP: Final = (*PLAIN, "price", "expr")
OF_TARGET: Final = (*PLAIN, "price", "reward", "expr")

_SIZES: Final = ("allocation", "shares", "risk_pct", "shares_expr")


@attrs.frozen
class Mention:
    """A name that is used at a place; whether there is such a thing is known once all rules are read."""

    table: Table
    key: str
    name: str


@attrs.define
class RulesRead:
    """What all rules together have said so far."""

    risk: RiskLimits
    symbols: tuple[SymbolSettings, ...]
    values_set: set[str] = attrs.field(factory=set)
    values_used: list[Mention] = attrs.field(factory=list)
    rules_switched: list[Mention] = attrs.field(factory=list)
    prepared: set[str] = attrs.field(factory=set)
    submitted: list[Mention] = attrs.field(factory=list)
    linked: set[str] = attrs.field(factory=set)
    cancelled: list[Mention] = attrs.field(factory=list)


# --- expressions --------------------------------------------------------------------------------------


def read_expression(read: RulesRead, table: Table, key: str, kind: Kind) -> Expression | None:
    """A checked expression whose value is of `kind` (ANY: of any); None after a fault."""
    text = table.text(key, "")
    if not text:
        table.expected(key, "an expression in quotes")
        return None
    return parse_expression(read, table, key, text, kind)


def parse_expression(read: RulesRead, table: Table, key: str, text: str, kind: Kind) -> Expression | None:
    try:
        expression = Expression.parse(text)
    except ExpressionFault as fault:
        table.fault(key, str(fault))
        return None
    for name in sorted(expression.names):
        if name.startswith(VALUE_PREFIX):
            read.values_used.append(Mention(table, key, name.removeprefix(VALUE_PREFIX)))
    if kind is not Kind.ANY and expression.kind not in (kind, Kind.ANY):
        wanted = "a condition, which is true or false" if kind is Kind.TRUTH else kind.value
        table.expected(key, f"{wanted} (it is {expression.kind.value})")
        return None
    return expression


# --- distances ----------------------------------------------------------------------------------------


def read_distance(
    read: RulesRead,
    table: Table,
    name: str,
    kinds: tuple[str, ...],
    defaults: Mapping[str, Distance] | None = None,
) -> Distance | None:
    """`stop_pct`, `stop_atr`, …: one of `kinds`; None when none is given, or several (which is a fault).

    Without a `name`, the kinds are keys themselves (of one target among several).
    With `defaults`, `stop = "atr"` names a kind alone and has the user's own figure for it.
    """
    prefix = f"{name}_" if name else ""
    given = [prefix + kind for kind in kinds if table.has(prefix + kind)]
    if defaults is not None and table.has(name):
        given.append(name)
    if len(given) > 1:
        what = name.replace("_", " ") or "target"
        table.fault(given[1], f"{given[0]} is given too; a {what} has one distance")
        return None
    if not given:
        return None
    if defaults is not None and given[0] == name:
        return _default_distance(table, name, defaults)
    kind = given[0].removeprefix(prefix)
    if kind == "expr":
        expression = read_expression(read, table, given[0], Kind.NUMBER)
        return None if expression is None else DistanceBy(expression)
    return _NUMBERS[kind](table, given[0])


_NUMBERS: Final[Mapping[str, Callable[[Table, str], Distance]]] = MappingProxyType(
    {
        "pct": lambda table, key: Percent(table.number(key, 0.03, FRACTION)),
        "atr": lambda table, key: AtrMultiple(table.number(key, DEFAULT_ATR_MULTIPLE, POSITIVE)),
        "amount": lambda table, key: Amount(table.decimal(key, Decimal(1), POSITIVE)),
        "price": lambda table, key: At(table.decimal(key, Decimal(1), POSITIVE)),
        "reward": lambda table, key: RiskReward(table.number(key, DEFAULT_REWARD_RATIO, POSITIVE)),
    }
)

STOP_DEFAULTS: Final[Mapping[str, Distance]] = MappingProxyType(
    {"pct": DEFAULT_STOP, "atr": AtrMultiple(DEFAULT_ATR_MULTIPLE)}
)
TARGET_DEFAULTS: Final[Mapping[str, Distance]] = MappingProxyType(
    {
        "pct": DEFAULT_TARGET,
        "atr": AtrMultiple(DEFAULT_ATR_MULTIPLE),
        "reward": RiskReward(DEFAULT_REWARD_RATIO),
    }
)
TRAIL_DEFAULTS: Final[Mapping[str, Distance]] = MappingProxyType(
    {"pct": DEFAULT_TRAIL, "atr": AtrMultiple(DEFAULT_ATR_MULTIPLE)}
)


def _default_distance(table: Table, name: str, defaults: Mapping[str, Distance]) -> Distance | None:
    word = table.value(name)
    if isinstance(word, str) and word in defaults:
        return defaults[word]
    kinds = " or ".join(f'"{kind}"' for kind in defaults)
    table.expected(name, f"{kinds}, for your own default of that kind, or a figure, as in {name}_pct = 0.03")
    return None


# --- sizes --------------------------------------------------------------------------------------------


def read_sizing(read: RulesRead, table: Table) -> Sizing | None:
    """At most one of four; a size that every entry would be refused for is a fault here."""
    given = [key for key in _SIZES if table.has(key)]
    if len(given) > 1:
        table.fault(given[1], f"only one of {', '.join(_SIZES)}; {given[0]} is given too")
        return None
    risk = read.risk
    match given:
        case ["shares"]:
            shares = table.integer("shares", 1, COUNT)
            if shares > risk.max_order_quantity:
                table.fault("shares", f"{shares} is over risk.max_order_quantity {risk.max_order_quantity}")
            return Shares(shares)
        case ["risk_pct"]:
            return RiskFraction(table.number("risk_pct", 0.01, FRACTION))
        case ["shares_expr"]:
            expression = read_expression(read, table, "shares_expr", Kind.NUMBER)
            return None if expression is None else SharesBy(expression)
        case ["allocation"]:
            dollars = table.decimal("allocation", DEFAULT_SIZING.dollars, POSITIVE)
            if dollars > risk.max_order_notional:
                table.fault(
                    "allocation", f"{dollars} is over risk.max_order_notional {risk.max_order_notional}"
                )
            return Allocation(dollars)
        case _:
            return None


def read_addition(read: RulesRead, table: Table, multiple: str, default: Addition) -> Addition:
    """How much is added: shares, shares by an expression, or under `multiple` in terms of the main entry."""
    keys = (multiple, "shares", "shares_expr")
    given = [key for key in keys if table.has(key)]
    if len(given) > 1:
        table.fault(given[1], f"only one of {', '.join(keys)}; {given[0]} is given too")
        return default
    match given:
        case ["shares"]:
            return Shares(table.integer("shares", 1, COUNT))
        case ["shares_expr"]:
            expression = read_expression(read, table, "shares_expr", Kind.NUMBER)
            return default if expression is None else SharesBy(expression)
        case [_]:
            return Multiple(table.number(multiple, 1.0, POSITIVE))
        case _:
            return default
