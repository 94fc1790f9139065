"""`enter`: an entry with its exits and additions, as the configuration writes it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from protocol.config_reading import FRACTION, NOT_NEGATIVE, POSITIVE, Range, Table, suggest
from protocol.config_rules_parts import (
    OF_STOP,
    OF_TARGET,
    PLAIN,
    STOP_DEFAULTS,
    TARGET_DEFAULTS,
    TRAIL_DEFAULTS,
    RulesRead,
    read_addition,
    read_distance,
    read_sizing,
)
from protocol.rules.actions import (
    DEFAULT_STOP,
    Breakeven,
    DoubleDownLevel,
    Enter,
    EntryOrder,
    OnCloseStop,
    OnOpposite,
    ScaleLevel,
    TargetPart,
    Trailing,
)
from protocol.rules.amounts import Distance, Multiple, Percent, Shares, SharesBy, Sizing
from protocol.values import OrderType, Side

MAX_WORKING_ORDERS: Final = 15
"""Orders that TWS lets work at once for one contract, side and account."""
SHARE: Final = Range(low=Decimal(0), high=Decimal(1), open_low=True)
"""A part of a position, up to the whole."""

_NOON: Final = time(12)
_ORDER_TYPES: Final[Mapping[str, OrderType]] = MappingProxyType(
    {
        "market": OrderType.MARKET,
        "limit": OrderType.LIMIT,
        "stop": OrderType.STOP,
        "stop_limit": OrderType.STOP_LIMIT,
    }
)
_OTHER_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "auto_create_stops": "is not a choice here: every entry has a stop; leave this out and give "
        "stop_pct = 0.03, stop_atr = 2.0 or another stop_…",
        "stop_loss_pct": "is called stop_pct here, and is a fraction (0.03 is 3 %)",
        "take_profit_pct": "is called target_pct here, and is a fraction (0.08 is 8 %)",
        "trigger_profit_pct": "belongs to a level: scale_in = [{ profit_pct = 0.02, shares = 25 }]",
        "trailing_stop_pct": "is called trail_pct here, and is a fraction (0.03 is 3 %)",
        "quantity": "is called shares here",
    }
)
"""Words that such configurations use elsewhere, and what they are called here."""


def read_enter(read: RulesRead, table: Table) -> Enter:
    """Which way, how, how much, and its exits; an entry without a stop does not exist."""
    if not table.has("side"):
        table.fault("side", 'is missing: expected "BUY" (long) or "SELL" (short)')
    refuse_other_words(table)
    stop = _read_stop(read, table)
    targets = _read_targets(read, table)
    target = read_distance(read, table, "target", OF_TARGET, TARGET_DEFAULTS)
    if targets and target is not None:
        table.fault("targets", "a target for the whole position is given too; give one or the other")
    enter = Enter(
        side=table.choice("side", Side.BUY, Side),
        stop=stop if stop is not None else DEFAULT_STOP,
        target=target,
        on_opposite=table.choice("on_opposite", OnOpposite.REVERSE, OnOpposite),
        on_close_stop=table.choice("on_close_stop", OnCloseStop.REFUSE, OnCloseStop),
        sizing=read_sizing(read, table),
        order=read_order(read, table),
        targets=targets,
        trail=read_trail(read, table),
        breakeven=read_breakeven(read, table),
        scale_in=_read_scale_ins(read, table),
        double_down=_read_double_downs(read, table),
        close_after_s=table.number("close_after_s", 60.0, POSITIVE) if table.has("close_after_s") else None,
        close_at=table.time_of_day("close_at", _NOON) if table.has("close_at") else None,
    )
    table.close()
    _check_worst_case(table, enter, read)
    return enter


def refuse_other_words(table: Table) -> None:
    for word, what in _OTHER_WORDS.items():
        if word in table.names:
            table.refuse(word, what)


def _read_stop(read: RulesRead, table: Table) -> Distance | None:
    before = table.fault_count
    stop = read_distance(read, table, "stop", OF_STOP, STOP_DEFAULTS)
    if stop is None and table.fault_count == before:
        table.fault(
            "stop_pct",
            "is missing: every entry has a stop; give stop_pct = 0.03, stop_atr = 2.0, stop_amount, "
            "stop_price or stop_expr",
        )
    least, most = read.risk.min_stop_distance, read.risk.max_stop_distance
    if isinstance(stop, Percent) and not least <= stop.fraction <= most:
        table.fault(
            "stop_pct",
            f"{stop.fraction:g} is outside the limits risk.min_stop_distance {least:g} "
            f"and risk.max_stop_distance {most:g}",
        )
    return stop


def read_order(read: RulesRead, table: Table) -> EntryOrder:
    """`order = "limit"` and how far from the quote; a market order needs nothing."""
    faults = table.fault_count
    word = table.text("order", "market")
    kind = _ORDER_TYPES.get(word)
    if kind is None:
        table.fault("order", f'no order type "{word}"{suggest(word, tuple(_ORDER_TYPES))}')
        kind = OrderType.MARKET
    offset = read_distance(read, table, "offset", (*PLAIN, "expr"))
    limit_offset = read_distance(read, table, "limit_offset", (*PLAIN, "expr"))
    if table.fault_count == faults:
        if offset is not None and kind is OrderType.MARKET:
            table.fault("order", 'is a market order, which has no offset; write order = "limit" or "stop"')
        if limit_offset is not None and kind is not OrderType.STOP_LIMIT:
            table.fault("order", 'only order = "stop_limit" has a limit_offset')
    expires_s = table.number("expires_s", 30.0, POSITIVE) if table.has("expires_s") else None
    return EntryOrder(kind, offset, limit_offset, expires_s)


# --- exits --------------------------------------------------------------------------------------------


def _read_targets(read: RulesRead, table: Table) -> tuple[TargetPart, ...]:
    """`targets = [{ pct = 0.02, part = 0.5 }, …]`; what they leave of the position has the stop alone."""
    parts, whole = [], Decimal(0)
    for item in table.tables("targets") or ():
        distance = read_distance(read, item, "", OF_TARGET)
        if distance is None and not any(item.has(kind) for kind in OF_TARGET):
            item.fault("pct", f"is missing: a target has one of {', '.join(OF_TARGET)}")
        if not item.has("part"):
            item.fault("part", "is missing: the fraction of the position that this target is for")
        part = item.decimal("part", Decimal(1), SHARE)
        whole += part
        item.close()
        if distance is not None:
            parts.append(TargetPart(distance, float(part)))
    if whole > 1:
        table.fault("targets", f"their parts add up to {whole:f}, more than the whole position")
    if table.has("targets") and table.value("targets") == []:
        table.expected("targets", "at least one target")
    return tuple(parts)


def read_trail(read: RulesRead, table: Table) -> Trailing | None:
    """`trail_pct` and so on, `trail_after_…`, `trail_native`."""
    distance = read_distance(read, table, "trail", PLAIN, TRAIL_DEFAULTS)
    after = read_distance(read, table, "trail_after", PLAIN)
    native = table.truth("trail_native", default=False)
    if distance is None:
        given = [name for name in table.names if name.startswith(("trail_after", "trail_native"))]
        if given and not any(table.has(f"trail_{kind}") for kind in PLAIN) and not table.has("trail"):
            table.fault(given[0], "says nothing without trail_pct, trail_atr or trail_amount")
        return None
    if native and after is not None:
        table.fault(
            "trail_native", "the broker's own trailing stop begins at once; leave out this or trail_after_…"
        )
    return Trailing(distance, after, native)


def read_breakeven(read: RulesRead, table: Table) -> Breakeven | None:
    after = read_distance(read, table, "breakeven_after", PLAIN)
    offset = table.decimal("breakeven_offset", Decimal(0), NOT_NEGATIVE)
    if after is None:
        if "breakeven_offset" in table.names and not any(
            table.has(f"breakeven_after_{kind}") for kind in PLAIN
        ):
            table.fault("breakeven_offset", "says nothing without breakeven_after_pct, …_atr or …_amount")
        return None
    return Breakeven(after, offset)


# --- additions ----------------------------------------------------------------------------------------


def _read_scale_ins(read: RulesRead, table: Table) -> tuple[ScaleLevel, ...]:
    """`scale_in = [{ profit_pct = 0.02, shares = 25 }, …]`."""
    levels = []
    for item in table.tables("scale_in") or ():
        refuse_other_words(item)
        profit = read_distance(read, item, "profit", PLAIN)
        if profit is None and not any(item.has(f"profit_{kind}") for kind in PLAIN):
            item.fault(
                "profit_pct", "is missing: the profit at which it adds, as profit_pct, …_atr or …_amount"
            )
        quantity = read_addition(read, item, "multiple", Multiple(0.5))
        item.close()
        if profit is not None:
            levels.append(ScaleLevel(profit, quantity))
    for earlier, later in pairwise(levels):
        if earlier.profit == later.profit:
            table.fault("scale_in", "two levels lie at the same profit; make them one")
    return tuple(levels)


def _read_double_downs(read: RulesRead, table: Table) -> tuple[DoubleDownLevel, ...]:
    """`double_down = [{ part_of_stop = 0.5, multiplier = 1.0 }, …]`."""
    default = DoubleDownLevel()
    levels = []
    for item in table.tables("double_down") or ():
        part = item.number("part_of_stop", default.part_of_stop, FRACTION)
        levels.append(DoubleDownLevel(part, read_addition(read, item, "multiplier", default.quantity)))
        item.close()
    parts = [level.part_of_stop for level in levels]
    if len(set(parts)) < len(parts):
        table.fault("double_down", "two levels lie at the same part of the way to the stop; make them one")
    return tuple(levels)


# --- the worst case -----------------------------------------------------------------------------------


def _check_worst_case(table: Table, enter: Enter, read: RulesRead) -> None:
    """Every level filled: the orders that work at once, and how much one stop has to cover."""
    groups = exit_groups(enter)
    exits, entries = 2 * groups, 1 + len(enter.double_down) + len(enter.scale_in)
    if exits > MAX_WORKING_ORDERS:
        table.fault(
            "targets",
            f"{groups} parts with a stop and a target each are {exits} orders; TWS lets "
            f"{MAX_WORKING_ORDERS} work for one side",
        )
    if entries > MAX_WORKING_ORDERS:
        table.fault(
            "double_down" if enter.double_down else "scale_in",
            f"with the entry they are {entries} orders; TWS lets {MAX_WORKING_ORDERS} work for one side",
        )
    for symbol, sizing in _sizes(enter, read):
        worst = _worst_quantity(enter, sizing)
        if worst is not None and worst > read.risk.max_order_quantity:
            table.fault(
                "double_down" if enter.double_down else "scale_in",
                f"with every level filled, the stop of {symbol} would cover {worst} shares, over "
                f"risk.max_order_quantity {read.risk.max_order_quantity}",
            )
            return


def exit_groups(enter: Enter) -> int:
    """The parts of the position that have exits of their own, those without a target counted in."""
    whole = sum(Decimal(repr(target.part)) for target in enter.targets)
    return max(len(enter.targets) + (1 if enter.targets and whole < 1 else 0), 1)


def _sizes(enter: Enter, read: RulesRead) -> tuple[tuple[str, Sizing], ...]:
    if enter.sizing is not None:
        return (("every symbol", enter.sizing),)
    return tuple((str(symbol.symbol), symbol.sizing) for symbol in read.symbols)


def _worst_quantity(enter: Enter, sizing: Sizing) -> int | None:
    """Shares with all additions; None where that depends on a price, or there are none."""
    if not isinstance(sizing, Shares) or not (enter.scale_in or enter.double_down):
        return None
    total = sizing.quantity
    for addition in (
        *(level.quantity for level in enter.scale_in),
        *(level.quantity for level in enter.double_down),
    ):
        match addition:
            case Multiple(multiple):
                total += int(sizing.quantity * Decimal(repr(multiple)))
            case Shares(quantity):
                total += quantity
            case SharesBy():
                pass
    return total
