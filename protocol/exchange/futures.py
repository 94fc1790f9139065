"""The index futures that the simulated TWS lists: each follows the fund on its index.

A future costs the fund's price times a factor, and interest until its last day. The factors are about those
of January 2025.
"""

from __future__ import annotations

from datetime import date
from math import exp
from typing import Final

import attrs

from protocol.exchange.black_scholes import DAYS_A_YEAR
from protocol.exchange.options import last_day, third_friday

LISTED_QUARTERS: Final = 2
MONTH_CODES: Final = {3: "H", 6: "M", 9: "U", 12: "Z"}


@attrs.frozen
class Product:
    """`carrier`: the fund whose price it follows, times `factor`. `tick` in index points."""

    symbol: str
    carrier: str
    factor: float
    exchange: str
    multiplier: str
    tick: float
    name: str


PRODUCTS: Final = {
    product.symbol: product
    for product in (
        Product("ES", "SPY", 10.0, "CME", "50", 0.25, "E-mini S&P 500"),
        Product("MES", "SPY", 10.0, "CME", "5", 0.25, "Micro E-Mini S&P 500"),
        Product("NQ", "QQQ", 41.0, "CME", "20", 0.25, "E-mini NASDAQ 100"),
        Product("MNQ", "QQQ", 41.0, "CME", "2", 0.25, "Micro E-Mini Nasdaq-100"),
        Product("RTY", "IWM", 10.0, "CME", "50", 0.1, "E-Mini Russell 2000"),
        Product("M2K", "IWM", 10.0, "CME", "5", 0.1, "Micro E-Mini Russell 2000"),
        Product("YM", "DIA", 100.0, "CBOT", "5", 1.0, "E-mini Dow Jones Industrial Average"),
        Product("MYM", "DIA", 100.0, "CBOT", "0.5", 1.0, "Micro E-Mini Dow Jones Industrial Average"),
    )
}


@attrs.frozen
class FutureTerms:
    product: Product
    expiry: date

    @property
    def local_symbol(self) -> str:
        """Such as `ESH5`."""
        return f"{self.product.symbol}{MONTH_CODES[self.expiry.month]}{self.expiry.year % 10}"

    def price(self, carrier: float, rate: float, today: date) -> float:
        """What the future is worth, off its grid."""
        years = max((self.expiry - today).days, 0) / DAYS_A_YEAR
        return carrier * self.product.factor * exp(rate * years)


def listed(product: Product, today: date) -> tuple[FutureTerms, ...]:
    """The next quarters, the front one first; a future still trades on its last day."""
    found: list[FutureTerms] = []
    year, month = today.year, today.month
    while len(found) < LISTED_QUARTERS:
        if month in MONTH_CODES:
            expiry = last_day(third_friday(year, month))
            if expiry >= today:
                found.append(FutureTerms(product, expiry))
        year, month = year + month // 12, month % 12 + 1
    return tuple(found)


def read_local_symbol(text: str, today: date) -> FutureTerms | None:
    """The listed future of that name."""
    product = PRODUCTS.get(text[:-2])
    if product is None:
        return None
    return next((terms for terms in listed(product, today) if terms.local_symbol == text), None)
