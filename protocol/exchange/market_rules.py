"""Market rules: the price steps of contracts, by the number that contract details name.

26 is TWS's rule of US stocks, 32 that of options in the penny program, 67 that of the E-mini futures; which
numbers the others have at IBKR is not known here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.tws.messages import MarketRule
from protocol.values import PriceGrid

STOCK, SUB_DOLLAR_STOCK, OPTION, PENNY_OPTION = 26, 557, 32, 110
QUARTER, TENTH, WHOLE = 67, 57, 25
FINE_CURRENCY, COARSE_CURRENCY = 239, 240

STEPS: Final[dict[int, tuple[tuple[float, float], ...]]] = {
    STOCK: ((0.0, 0.01),),
    SUB_DOLLAR_STOCK: ((0.0, 0.0001), (1.0, 0.01)),
    OPTION: ((0.0, 0.01), (3.0, 0.05)),
    PENNY_OPTION: ((0.0, 0.01),),
    QUARTER: ((0.0, 0.25),),
    TENTH: ((0.0, 0.1),),
    WHOLE: ((0.0, 1.0),),
    FINE_CURRENCY: ((0.0, 0.00005),),
    COARSE_CURRENCY: ((0.0, 0.005),),
}
_BY_TICK: Final = {0.25: QUARTER, 0.1: TENTH, 1.0: WHOLE, 0.00005: FINE_CURRENCY, 0.005: COARSE_CURRENCY}


def market_rule(rule_id: int) -> MarketRule | None:
    """The price steps of a rule, or None when TWS would not know it."""
    steps = STEPS.get(rule_id)
    return None if steps is None else MarketRule(rule_id, steps)


def rule_of_tick(tick: float) -> int:
    """The rule of a contract that has one step at any price."""
    return _BY_TICK[tick]


def grid_of(rule_id: int) -> PriceGrid:
    return PriceGrid(tuple((Decimal(repr(low)), Decimal(repr(step))) for low, step in STEPS[rule_id]))


def step_at(rule_id: int, price: float) -> float:
    """The step that holds at `price`."""
    step = STEPS[rule_id][0][1]
    for low, wider in STEPS[rule_id]:
        if price >= low:
            step = wider
    return step
