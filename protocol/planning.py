"""From the parts of an entry, as a rule says them, to the plan of a trade in dollars and shares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs

from protocol.chores import Chores
from protocol.distances import Ruler, addition
from protocol.rules.actions import Breakeven, DoubleDownLevel, Enter, ScaleLevel, Trailing
from protocol.rules.amounts import Percent
from protocol.trade_plan import AdditionPlan, BreakevenPlan, TradePlan, TrailPlan, Tranche
from protocol.values import Side


@attrs.frozen
class Refusal:
    """Why something may not be done: a short code and a sentence."""

    code: str
    reason: str


NOT_KNOWN = "a value that it needs is not known yet"


def plan_trade(chores: Chores, entry: Enter, ruler: Ruler) -> TradePlan | Refusal:
    """Everything that the entry plans beyond its own order; additions come when its size is known."""
    tranches = _plan_tranches(entry, ruler)
    if isinstance(tranches, Refusal):
        return tranches
    trail = None
    if entry.trail is not None and not entry.trail.native:
        trail = plan_trail(entry.trail, ruler)
        if trail is None:
            return Refusal("no_trail", f"the trailing distance cannot be worked out: {NOT_KNOWN}")
    breakeven = None
    if entry.breakeven is not None:
        breakeven = plan_breakeven(entry.breakeven, ruler)
        if breakeven is None:
            return Refusal("no_breakeven", f"the way to breakeven cannot be worked out: {NOT_KNOWN}")
    return TradePlan(
        tranches=tranches,
        trail=trail,
        breakeven=breakeven,
        entry_age_s=entry.order.expires_s,
        close_at=None if entry.close_at is None else _moment(chores, entry.close_at),
        close_after_s=entry.close_after_s,
    )


def _plan_tranches(entry: Enter, ruler: Ruler) -> tuple[Tranche, ...] | Refusal:
    native = entry.trail if entry.trail is not None and entry.trail.native else None
    amount = fraction = None
    if native is not None:
        amount, fraction = native_trail(native, ruler)
        if amount is None and fraction is None:
            return Refusal("no_trail", f"the trailing distance cannot be worked out: {NOT_KNOWN}")
    if not entry.targets and native is None:
        return ()
    if not entry.targets:
        target = None if entry.target is None else ruler.dollars(entry.target, away=entry.side.sign)
        return (Tranche(target_distance=target, trail_amount=amount, trail_fraction=fraction),)
    tranches = []
    for part in entry.targets:
        target = ruler.dollars(part.distance, away=entry.side.sign)
        if target is None:
            return Refusal("no_distance", f"a target cannot be worked out: {NOT_KNOWN}")
        tranches.append(Tranche(Decimal(repr(part.part)), target, None, amount, fraction))
    rest = 1 - sum((tranche.part for tranche in tranches), Decimal(0))
    if rest > 0:
        # What no target is for is left to the stop alone, and to its trail.
        tranches.append(Tranche(rest, None, None, amount, fraction))
    return tuple(tranches)


def native_trail(trail: Trailing, ruler: Ruler) -> tuple[Decimal | None, Decimal | None]:
    """Dollars or fraction by which the broker's own trailing stop follows; TWS knows fractions to 0.01 %."""
    if isinstance(trail.distance, Percent):
        return None, Decimal(repr(round(trail.distance.fraction, 4)))
    return ruler.dollars(trail.distance), None


def plan_trail(trail: Trailing, ruler: Ruler) -> TrailPlan | None:
    after = None if trail.after is None else ruler.dollars(trail.after)
    if trail.after is not None and after is None:
        return None
    if isinstance(trail.distance, Percent):
        return TrailPlan(None, Decimal(repr(trail.distance.fraction)), after)
    amount = ruler.dollars(trail.distance)
    return None if amount is None else TrailPlan(amount, None, after)


def plan_breakeven(breakeven: Breakeven, ruler: Ruler) -> BreakevenPlan | None:
    after = ruler.dollars(breakeven.after)
    return None if after is None else BreakevenPlan(after, breakeven.offset)


def plan_additions(
    levels: Sequence[ScaleLevel], ruler: Ruler, main: int, side: Side
) -> tuple[AdditionPlan, ...]:
    """Scale-ins: levels whose distance or size is not known, or is nothing, do not exist."""
    plans = []
    for level in levels:
        distance = ruler.dollars(level.profit, away=side.sign)
        quantity = addition(level.quantity, main, ruler.facts)
        plans.append(AdditionPlan(distance or Decimal(0), quantity if distance else 0))
    return tuple(plans)


def plan_double_downs(levels: Sequence[DoubleDownLevel], ruler: Ruler, main: int) -> tuple[AdditionPlan, ...]:
    assert ruler.stop is not None
    return tuple(
        AdditionPlan(
            ruler.stop * Decimal(repr(level.part_of_stop)), addition(level.quantity, main, ruler.facts)
        )
        for level in levels
    )


def _moment(chores: Chores, wall: time) -> datetime:
    """That time of today, in the schedule's zone."""
    day = chores.at.astimezone(ZoneInfo(chores.plan.schedule.zone)).date()
    return datetime.combine(day, wall, ZoneInfo(chores.plan.schedule.zone))
