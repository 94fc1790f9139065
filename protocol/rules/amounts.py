"""How much and how far: three types of size and six of distance, never a number that means two things."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.rules.expression import Expression

# --- how much -------------------------------------------------------------------------------------


@attrs.frozen
class Shares:
    quantity: int


@attrs.frozen
class Allocation:
    """Dollars to put into one entry, at the reference price of the decision."""

    dollars: Decimal


@attrs.frozen
class RiskFraction:
    """Fraction of the account's equity that one stop-out may cost."""

    fraction: float


@attrs.frozen
class SharesBy:
    """Shares by an expression, cut to whole ones; unknown, or below 1, it refuses the entry."""

    expression: Expression


Sizing: TypeAlias = Shares | Allocation | RiskFraction | SharesBy


@attrs.frozen
class Multiple:
    """A multiple of what the trade's main entry asked for, rounded down: 1.0 is the same size again."""

    multiple: float


Addition: TypeAlias = Multiple | Shares | SharesBy
"""How much is added to a live trade."""

# --- how far --------------------------------------------------------------------------------------


@attrs.frozen
class Percent:
    """A fraction of the average entry price: `Percent(0.03)` is 3 %."""

    fraction: float


@attrs.frozen
class AtrMultiple:
    multiple: float


@attrs.frozen
class Amount:
    """Dollars per share."""

    dollars: Decimal


@attrs.frozen
class At:
    """A fixed price; its distance is that from the reference price of the decision."""

    price: Decimal


@attrs.frozen
class RiskReward:
    """Of a target only: this many times the distance of the stop."""

    ratio: float


@attrs.frozen
class DistanceBy:
    """Dollars per share by an expression."""

    expression: Expression


Distance: TypeAlias = Percent | AtrMultiple | Amount | At | RiskReward | DistanceBy
