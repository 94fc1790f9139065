"""`[risk]`: the limits, the protections, and what of them contradicts itself or the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import attrs

from protocol.config_reading import (
    ANY,
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    Table,
    suggest,
)
from protocol.risk.ledger import KEPT_RESULTS
from protocol.risk.settings import (
    CoolDown,
    DrawdownGuard,
    LowProfitLock,
    Protection,
    RiskLimits,
    StopLossGuard,
)
from protocol.settings import SymbolSettings
from protocol.values import Symbol

_PART: Final = Range(low=Decimal(0), high=Decimal(1), open_low=True)
_NOT_ALL: Final = Range(low=Decimal(0), high=Decimal(1), open_high=True)
_TRADES: Final = Range(low=Decimal(1), high=Decimal(KEPT_RESULTS))
ONE: Final = Decimal(1)
OFF: Final = "off"
"""The value of a limit that is not applied, where that is possible."""

WHOLE: Final[Mapping[str, Range]] = dict.fromkeys(
    (
        "max_order_quantity", "max_position_quantity", "max_positions", "min_stop_ticks",
        "max_order_messages", "max_entries", "max_round_trips", "max_stop_outs_in_a_row", "max_rejects",
        "max_rejects_in_all", "max_messages_per_execution",
    ),
    COUNT,
)  # fmt: skip
DOLLARS: Final[Mapping[str, Range]] = dict.fromkeys(
    ("max_order_notional", "max_position_notional", "max_daily_loss_of_symbol"), POSITIVE
)
NUMBERS: Final[Mapping[str, Range]] = {
    **dict.fromkeys(("max_gross", "max_net", "max_sector"), POSITIVE),
    **dict.fromkeys(
        (
            "min_stop_distance", "max_stop_distance", "price_collar", "flatten_collar", "max_fill_deviation",
            "max_spread", "daily_loss_reduce", "daily_loss_halt", "max_drawdown",
        ),
        FRACTION,
    ),
    **dict.fromkeys(
        (
            "fill_window_s", "max_quote_age_s", "max_entry_age_s", "message_window_s", "reject_window_s",
        ),
        POSITIVE,
    ),
    "quote_age_allowance_loop_s": NOT_NEGATIVE,
    "repeat_guard_s": NOT_NEGATIVE,
    "min_excess_liquidity": _NOT_ALL,
    "initial_margin": _PART,
}  # fmt: skip
MAY_BE_OFF: Final = frozenset({
    "max_position_quantity", "max_position_notional", "max_gross", "max_net", "max_sector", "max_drawdown",
})  # fmt: skip
"""Limits that can be None."""

_IN_ORDER: Final = (
    ("min_stop_distance", "max_stop_distance"),
    ("price_collar", "flatten_collar"),
    ("daily_loss_reduce", "daily_loss_halt"),
    ("max_rejects", "max_rejects_in_all"),
    ("max_entries", "max_order_messages"),
    ("max_net", "max_gross"),
    ("max_sector", "max_gross"),
)
"""Pairs of which the first is the smaller. One that is left at its default is reached later or never, which
contradicts nothing, except …"""
_NEVER_EQUAL: Final = frozenset({"min_stop_distance", "daily_loss_reduce"})
_ALWAYS: Final = frozenset({"min_stop_distance"})
"""… where nothing could be entered at all."""
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_SYMBOL: Final = re.compile(r"[A-Z][A-Z0-9]*([ .][A-Z0-9]+)?")


def read_risk(table: Table) -> RiskLimits:
    """The limits; the keys are the names in `RiskLimits`. `"off"` where a limit need not be applied."""
    default = RiskLimits()
    before = table.fault_count
    values: dict[str, Any] = {}
    for name, allowed in WHOLE.items():
        usual = getattr(default, name)
        values[name] = usual if _is_left(table, name, usual) else table.integer(name, usual or 1, allowed)
    for name, allowed in DOLLARS.items():
        usual = getattr(default, name)
        values[name] = usual if _is_left(table, name, usual) else table.decimal(name, usual or ONE, allowed)
    for name, allowed in NUMBERS.items():
        usual = getattr(default, name)
        values[name] = usual if _is_left(table, name, usual) else table.number(name, usual or 1.0, allowed)
    for name in MAY_BE_OFF:
        if table.value(name) == OFF:
            values[name] = None
    limits = RiskLimits(
        **values,
        restricted=_read_restricted(table),
        currency=_read_currency(table, default.currency),
        protections=_read_protections(table),
    )
    table.close()
    if table.fault_count == before:
        _check_order(table, limits)
    return limits


def _is_left(table: Table, name: str, usual: object) -> bool:
    """Whether there is nothing to read: a limit that is not applied, by default or by `"off"`."""
    present = table.has(name)
    return (usual is None and not present) or (name in MAY_BE_OFF and table.value(name) == OFF)


def _check_order(table: Table, limits: RiskLimits) -> None:
    for small, large in _IN_ORDER:
        less, more = getattr(limits, small), getattr(limits, large)
        if less is None or more is None or not (table.has(small) or small in _ALWAYS):
            continue
        if small in _NEVER_EQUAL and less >= more:
            table.fault(small, f"must be less than {large} ({more:g})")
        elif less > more:
            table.fault(small, f"must not be more than {large} ({more:g})")


def _read_restricted(table: Table) -> tuple[Symbol, ...]:
    names = table.texts("restricted", ())
    for name in names:
        if not _SYMBOL.fullmatch(name):
            close = f'; did you mean "{name.upper()}"?' if _SYMBOL.fullmatch(name.upper()) else ""
            table.fault("restricted", f'"{name}" is no stock symbol as TWS writes it{close}')
    return tuple(Symbol(name) for name in dict.fromkeys(names))


def _read_currency(table: Table, default: str) -> str:
    currency = table.text("currency", default)
    if not _CURRENCY.fullmatch(currency):
        table.expected("currency", 'a currency like "USD"')
    return currency


def check_restricted(table: Table, risk: RiskLimits, symbols: Sequence[SymbolSettings]) -> None:
    """What may never be entered and is traded all the same is a mistake in one of the two lists."""
    for entry in symbols:
        if entry.symbol in risk.restricted:
            table.fault("restricted", f'"{entry.symbol}" is among the symbols that are traded')


# --- protections ----------------------------------------------------------------------------------


def _read_protections(table: Table) -> tuple[Protection, ...]:
    """`[[risk.protections]]`, in the order in which they are written."""
    found = []
    for inner in table.tables("protections") or ():
        protection = _read_protection(inner)
        if protection is not None:
            found.append(protection)
    return tuple(found)


def _read_protection(table: Table) -> Protection | None:
    kind = table.required_text("kind")
    match kind:
        case "cool_down":
            found: Protection = CoolDown(_seconds(table, "lock_s", CoolDown().lock_s))
        case "stop_loss_guard":
            found = _stop_loss_guard(table, StopLossGuard())
        case "drawdown_guard":
            found = _drawdown_guard(table, DrawdownGuard())
        case "low_profit_lock":
            found = _low_profit_lock(table, LowProfitLock())
        case _:
            if kind:
                table.fault("kind", f'no protection is called "{kind}"{suggest(kind, KINDS)}')
            return None
    table.close()
    return found


KINDS: Final = ("cool_down", "stop_loss_guard", "drawdown_guard", "low_profit_lock")


def _stop_loss_guard(table: Table, default: StopLossGuard) -> StopLossGuard:
    return StopLossGuard(
        trades=table.integer("trades", default.trades, _TRADES),
        window_s=_seconds(table, "window_s", default.window_s),
        lock_s=_seconds(table, "lock_s", default.lock_s),
        everything=table.truth("everything", default.everything),
    )


def _drawdown_guard(table: Table, default: DrawdownGuard) -> DrawdownGuard:
    return DrawdownGuard(
        fraction=table.number("fraction", default.fraction, FRACTION),
        trades=table.integer("trades", default.trades, _TRADES),
        window_s=_seconds(table, "window_s", default.window_s),
        lock_s=_seconds(table, "lock_s", default.lock_s),
    )


def _low_profit_lock(table: Table, default: LowProfitLock) -> LowProfitLock:
    return LowProfitLock(
        profit=table.decimal("profit", default.profit, ANY),
        trades=table.integer("trades", default.trades, _TRADES),
        window_s=_seconds(table, "window_s", default.window_s),
        lock_s=_seconds(table, "lock_s", default.lock_s),
    )


def _seconds(table: Table, key: str, default: float) -> float:
    return table.number(key, default, POSITIVE)


# --- in sentences -----------------------------------------------------------------------------------


def describe_risk(risk: RiskLimits) -> Iterator[str]:
    """One line of what every order meets, one of what differs from the defaults, one for each protection."""
    yield f"risk: at most {risk.max_order_quantity} shares and ${risk.max_order_notional} an order"
    default, changed = RiskLimits(), []
    for field in attrs.fields(RiskLimits):
        name, value = field.name, getattr(risk, field.name)
        usual = getattr(default, name)
        if value != usual and name != "protections":
            changed.append(f"{name} {_spelled(value)} (usually {_spelled(usual)})")
    if changed:
        yield f"risk, not as usual: {', '.join(changed)}"
    for protection in risk.protections:
        yield f"protection: {describe_protection(protection)}"


def describe_protection(protection: Protection) -> str:
    match protection:
        case CoolDown(lock_s=lock_s):
            return f"after each trade its symbol waits {lock_s:g} s"
        case StopLossGuard(trades, window_s, lock_s, everything):
            whom = "everything" if everything else "the symbol"
            return f"{trades} stop-outs within {window_s:g} s lock {whom} for {lock_s:g} s"
        case DrawdownGuard(fraction, trades, window_s, lock_s):
            return (
                f"a fall of {fraction:g} of the equity over at least {trades} trades within {window_s:g} s "
                f"locks everything for {lock_s:g} s"
            )
        case LowProfitLock(profit, trades, window_s, lock_s):
            return (
                f"a symbol whose last {trades} trades within {window_s:g} s made less than ${profit} is "
                f"locked for {lock_s:g} s"
            )


def _spelled(value: object) -> str:
    match value:
        case None:
            return OFF
        case tuple():
            return ", ".join(map(str, value)) or "none"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
