"""The currency pairs that the simulated TWS lists, with about their rates of January 2025.

Each wanders on its own: cross rates are not held together.
"""

from __future__ import annotations

from typing import Final

import attrs

CALMNESS: Final = 0.1
"""Rates move by this power of the walk of a stock: a tenth of its daily deviation."""
CARRIER_PREFIX: Final = "fx "
"""Walks that rates follow carry names that no stock has."""


@attrs.frozen
class Pair:
    """`base` costs `rate` of `quote`, about; `tick` is the step of its price."""

    base: str
    quote: str
    rate: float
    tick: float

    @property
    def local_symbol(self) -> str:
        return f"{self.base}.{self.quote}"

    @property
    def carrier(self) -> str:
        return CARRIER_PREFIX + self.local_symbol

    def price(self, walk: float, walk_base: float) -> float:
        """The rate when the walk that it follows is at `walk`, having begun around `walk_base`."""
        return self.rate * float((walk / walk_base) ** CALMNESS)


_FINE, _COARSE = 0.00005, 0.005

PAIRS: Final = {
    pair.local_symbol: pair
    for pair in (
        Pair("AUD", "USD", 0.628, _FINE),
        Pair("EUR", "CHF", 0.944, _FINE),
        Pair("EUR", "GBP", 0.843, _FINE),
        Pair("EUR", "JPY", 162.8, _COARSE),
        Pair("EUR", "USD", 1.041, _FINE),
        Pair("GBP", "JPY", 193.2, _COARSE),
        Pair("GBP", "USD", 1.235, _FINE),
        Pair("NZD", "USD", 0.567, _FINE),
        Pair("USD", "CAD", 1.438, _FINE),
        Pair("USD", "CHF", 0.907, _FINE),
        Pair("USD", "JPY", 156.4, _COARSE),
    )
}
