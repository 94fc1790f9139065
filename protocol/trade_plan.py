"""What a trade means to do with its position, resolved to dollars and shares when it was decided.

It is part of the fact that the trade was opened, so nothing of it depends on a configuration that may
have changed since. Distances are dollars per share, from the average entry unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import ROUND_FLOOR, Decimal

import attrs

from protocol.values import STOP, TARGET

ONE = Decimal(1)


@attrs.frozen
class Tranche:
    """A part of the position with exits of its own: a stop, and a target or none, in one OCA group.

    The broker shrinks a group by what one of its members fills, so exits for different parts of the
    position must not share one. `name` is the user's link type for exits that were joined later.
    """

    part: Decimal = ONE
    """Fraction of the position."""
    target_distance: Decimal | None = None
    stop_distance: Decimal | None = None
    """None: the trade's own, which adjusting, trailing and breakeven move."""
    trail_amount: Decimal | None = None
    trail_fraction: Decimal | None = None
    """A native trailing stop in place of a fixed one: dollars, or a fraction of the price."""
    name: str = ""
    fixed: int | None = None
    """So many shares, whatever the position grows to, in place of a part."""
    closing: str = ""
    """Why these shares are being closed apart from the rest; empty while they are not."""

    @property
    def native_trail(self) -> bool:
        return self.trail_amount is not None or self.trail_fraction is not None


@attrs.frozen
class TrailPlan:
    """We ratchet the stop: `amount` dollars or a `fraction` behind the price, once `after` in profit."""

    amount: Decimal | None = None
    fraction: Decimal | None = None
    after: Decimal | None = None

    def distance(self, price: Decimal) -> Decimal:
        return price * self.fraction if self.fraction is not None else self.amount or Decimal(0)


@attrs.frozen
class BreakevenPlan:
    after: Decimal
    offset: Decimal = Decimal(0)


@attrs.frozen
class AdditionPlan:
    """One level, `distance` dollars from the average entry: in profit to scale in, in loss to double down."""

    distance: Decimal
    quantity: int


@attrs.frozen
class TradePlan:
    tranches: tuple[Tranche, ...] = ()
    """Empty: one, with the trade's target."""
    trail: TrailPlan | None = None
    breakeven: BreakevenPlan | None = None
    scale_ins: tuple[AdditionPlan, ...] = ()
    double_downs: tuple[AdditionPlan, ...] = ()
    entry_age_s: float | None = None
    """After how long the main entry is cancelled, in market seconds; None: the risk limit says."""
    close_at: datetime | None = None
    close_after_s: float | None = None
    """When the trade is closed whatever it does: at a moment, or that long after it was opened."""
    hedge_of: str = ""
    """The symbol and trade that this one hedges; it ends with it."""


def stop_role(index: int, tranche: Tranche) -> str:
    """The role of a tranche's stop: `stop`, `stop.1`, … or the user's own name."""
    return tranche.name or (STOP if index == 0 else f"{STOP}.{index}")


def target_role(index: int, tranche: Tranche) -> str:
    if tranche.name:
        return f"{tranche.name}.{TARGET}"
    return TARGET if index == 0 else f"{TARGET}.{index}"


def split(quantity: int, parts: Sequence[Decimal]) -> tuple[int, ...]:
    """Whole shares for each part, which add up to `quantity`: the last takes what rounding leaves."""
    shares, given, reached = [], 0, Decimal(0)
    for number, part in enumerate(parts, 1):
        reached += part
        upto = int((quantity * reached).to_integral_value(ROUND_FLOOR)) if number < len(parts) else quantity
        shares.append(upto - given)
        given = upto
    return tuple(shares)
