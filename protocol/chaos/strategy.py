"""What an episode trades by: rules and limits drawn so that much happens within half an hour."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import attrs

from protocol.config import default_settings
from protocol.risk.settings import RiskLimits
from protocol.rules.actions import (
    Breakeven,
    Close,
    DoubleDownLevel,
    Enter,
    EntryOrder,
    OnOpposite,
    ScaleLevel,
    TargetPart,
    Trailing,
)
from protocol.rules.amounts import Addition, Multiple, Percent, Shares, Sizing
from protocol.rules.conditions import WhenPosition, WhenSignal
from protocol.rules.rule import Rule, entries_of
from protocol.settings import Settings, SymbolSettings
from protocol.values import OrderType, Side, Symbol

LONG_SIGNALS, SHORT_SIGNALS = ("BUY",), ("SELL", "SHORT")


@attrs.frozen
class Style:
    """How the rules of an episode enter; drawn once, the same for both sides."""

    stop: Percent
    target: Percent | None
    on_opposite: OnOpposite
    order: EntryOrder
    targets: tuple[TargetPart, ...]
    trail: Trailing | None
    breakeven: Breakeven | None
    scale_in: tuple[ScaleLevel, ...]
    double_down: tuple[DoubleDownLevel, ...]
    close_after_s: float | None
    cooldown_s: float


def draw_settings(random: Random, symbols: tuple[Symbol, ...]) -> Settings:
    """Everything that the trading system is told."""
    style = _draw_style(random)
    rules = [_enter("long", LONG_SIGNALS, Side.BUY, style), _enter("short", SHORT_SIGNALS, Side.SELL, style)]
    if random.random() < 0.3:
        rules.append(
            Rule(
                "take it",
                WhenPosition(min_pnl_pct=random.uniform(0.002, 0.005)),
                Close(reason="enough"),
                cooldown_s=30.0,
            )
        )
    sized = tuple(SymbolSettings(symbol, Shares(random.choice((40, 100, 230, 500)))) for symbol in symbols)
    return attrs.evolve(
        default_settings(symbols), symbols=sized, rules=tuple(rules), risk=_draw_limits(random)
    )


def most_shares(size: Sizing, rules: tuple[Rule, ...]) -> int:
    """What one trade may grow to: the entry, and every addition that its rule plans."""
    assert isinstance(size, Shares)
    most = 0
    for rule in rules:
        for entry in entries_of(rule.then):
            levels: tuple[ScaleLevel | DoubleDownLevel, ...] = (*entry.scale_in, *entry.double_down)
            additions = [level.quantity for level in levels]
            most = max(most, size.quantity + sum(_added(size, quantity) for quantity in additions))
    return most


def _added(sizing: Shares, quantity: Addition) -> int:
    assert isinstance(quantity, Multiple)
    return int(sizing.quantity * quantity.multiple)


def _enter(name: str, signals: tuple[str, ...], side: Side, style: Style) -> Rule:
    entry = Enter(
        side=side,
        stop=style.stop,
        target=None if style.targets else style.target,
        on_opposite=style.on_opposite,
        order=style.order,
        targets=style.targets,
        trail=style.trail,
        breakeven=style.breakeven,
        scale_in=style.scale_in,
        double_down=style.double_down,
        close_after_s=style.close_after_s,
    )
    return Rule(name, WhenSignal(signals, min_confidence=0.5), entry, cooldown_s=style.cooldown_s)


def _draw_style(random: Random) -> Style:
    stop = Percent(round(random.uniform(0.003, 0.009), 4))
    target = Percent(round(random.uniform(0.003, 0.012), 4))
    trails = random.random()
    return Style(
        stop=stop,
        target=target if random.random() < 0.9 else None,
        on_opposite=OnOpposite.REVERSE if random.random() < 0.7 else OnOpposite.CLOSE,
        order=_draw_order(random),
        targets=_draw_targets(random, target) if random.random() < 0.15 else (),
        trail=Trailing(distance=stop, native=trails < 0.1) if trails < 0.25 else None,
        breakeven=Breakeven(Percent(stop.fraction / 2)) if random.random() < 0.2 else None,
        scale_in=(ScaleLevel(Percent(0.002), Multiple(0.5)),) if random.random() < 0.25 else (),
        double_down=(DoubleDownLevel(0.5, Multiple(1.0)),) if random.random() < 0.25 else (),
        close_after_s=random.uniform(120, 500) if random.random() < 0.3 else None,
        cooldown_s=random.choice((0.0, 20.0, 60.0)),
    )


def _draw_order(random: Random) -> EntryOrder:
    """Mostly at the market; at times a limit near it, which may fill late, in part, or never."""
    if random.random() < 0.7:
        return EntryOrder()
    return EntryOrder(OrderType.LIMIT, offset=Percent(random.choice((0.0, 0.0005))), expires_s=25.0)


def _draw_targets(random: Random, target: Percent) -> tuple[TargetPart, ...]:
    part = random.choice((0.3, 0.5))
    return (TargetPart(target, part), TargetPart(Percent(target.fraction * 1.6), 1 - part))


def _draw_limits(random: Random) -> RiskLimits:
    """Those that would end the trading of a symbol for the day are wide, but for some episodes."""
    limits = RiskLimits(max_quote_age_s=10.0, max_order_notional=Decimal(200_000))
    if random.random() < 0.2:
        return limits
    return attrs.evolve(
        limits, max_round_trips=1000, max_stop_outs_in_a_row=1000, max_rejects=1000,
        max_rejects_in_all=1000, max_daily_loss_of_symbol=Decimal(1_000_000), max_messages_per_execution=1000,
    )  # fmt: skip
