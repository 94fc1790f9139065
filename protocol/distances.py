"""From a distance as a rule says it to dollars per share, at the moment of a decision."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

import attrs

from protocol.rules.amounts import (
    Addition,
    Amount,
    At,
    AtrMultiple,
    Distance,
    DistanceBy,
    Multiple,
    Percent,
    RiskReward,
    Shares,
    SharesBy,
)
from protocol.rules.expression import Expression, Facts


@attrs.frozen
class Ruler:
    """What distances are measured with: the price they start from, the ATR, and the facts of the moment.

    `away` is +1 where a distance lies above the price (a long's target, a short's stop), else -1: only a
    fixed price needs it. `stop` is the stop's distance, for targets that are a multiple of it.
    """

    price: Decimal
    atr: float | None
    facts: Facts
    stop: Decimal | None = None

    def dollars(self, distance: Distance, away: int = 1) -> Decimal | None:
        """None when something that it needs is not known. A fixed price on the wrong side is negative."""
        match distance:
            case Percent(fraction):
                return self.price * Decimal(repr(fraction))
            case AtrMultiple(multiple):
                return None if self.atr is None else Decimal(repr(round(self.atr * multiple, 6)))
            case Amount(dollars):
                return dollars
            case At(price):
                return (price - self.price) * away
            case RiskReward(ratio):
                return None if self.stop is None else self.stop * Decimal(repr(ratio))
            case DistanceBy(expression):
                return number(expression, self.facts)
            case _:
                assert_never(distance)


def number(expression: Expression, facts: Facts) -> Decimal | None:
    """The value of an expression as an exact number; None when it is unknown or no number."""
    value = expression.value(facts)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return Decimal(repr(round(float(value), 6)))


def addition(quantity: Addition, main: int, facts: Facts) -> int:
    """Whole shares of an addition to a trade whose main entry asked for `main`; 0 when it is not known."""
    match quantity:
        case Multiple(multiple):
            return int(main * Decimal(repr(multiple)))
        case Shares(shares):
            return shares
        case SharesBy(expression):
            value = number(expression, facts)
            return 0 if value is None else max(int(value), 0)
        case _:
            assert_never(quantity)
