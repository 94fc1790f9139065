"""From what the user wants to put in to whole shares."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from typing import assert_never

from protocol.rules.amounts import Allocation, RiskFraction, Shares


def size(
    sizing: Shares | Allocation | RiskFraction, price: Decimal, stop_distance: Decimal, equity: Decimal | None
) -> int | None:
    """Whole shares of one entry at `price` dollars; None when the account's equity is needed and unknown.

    Rounded down, so zero is possible: an allocation that does not buy one share buys none.
    """
    match sizing:
        case Shares(quantity):
            return quantity
        case Allocation(dollars):
            return int((dollars / price).to_integral_value(ROUND_FLOOR))
        case RiskFraction(fraction):
            if equity is None:
                return None
            return int((equity * Decimal(repr(fraction)) / stop_distance).to_integral_value(ROUND_FLOOR))
        case _:
            assert_never(sizing)
