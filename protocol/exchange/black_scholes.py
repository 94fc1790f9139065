"""The price of a European option by Black and Scholes, its greeks, and the volatility that a price implies.

Times are years, rates and volatilities annual and continuous; there are no dividends. Vega is per point of
volatility (0.01) and theta per day, as TWS says them.
"""

from __future__ import annotations

from math import erf, exp, log, pi, sqrt
from typing import Final, NamedTuple

DAYS_A_YEAR: Final = 365.0
_LEAST_VOLATILITY, _MOST_VOLATILITY = 1e-4, 10.0
_STEPS: Final = 60
"""Of the bisection: far beyond what a price in cents can tell apart."""


class Greeks(NamedTuple):
    price: float
    delta: float
    gamma: float
    vega: float
    theta: float


def price_of(
    spot: float, strike: float, years: float, rate: float, volatility: float, *, call: bool
) -> float:
    """Dollars per share of the underlying."""
    discount = exp(-rate * years) if years > 0 else 1.0
    if years <= 0 or volatility <= 0:
        gain = spot - strike * discount
        return max(gain if call else -gain, 0.0)
    d1, d2 = _moments(spot, strike, years, rate, volatility)
    if call:
        return spot * _normal(d1) - strike * discount * _normal(d2)
    return strike * discount * _normal(-d2) - spot * _normal(-d1)


def greeks_of(
    spot: float, strike: float, years: float, rate: float, volatility: float, *, call: bool
) -> Greeks:
    price = price_of(spot, strike, years, rate, volatility, call=call)
    if years <= 0 or volatility <= 0:
        inside = spot > strike if call else spot < strike
        return Greeks(price, (1.0 if call else -1.0) if inside else 0.0, 0.0, 0.0, 0.0)
    d1, d2 = _moments(spot, strike, years, rate, volatility)
    density = exp(-d1 * d1 / 2) / sqrt(2 * pi)
    discounted = strike * exp(-rate * years)
    decay = -spot * density * volatility / (2 * sqrt(years))
    interest = -rate * discounted * _normal(d2) if call else rate * discounted * _normal(-d2)
    return Greeks(
        price,
        _normal(d1) - (0.0 if call else 1.0),
        density / (spot * volatility * sqrt(years)),
        spot * density * sqrt(years) / 100,
        (decay + interest) / DAYS_A_YEAR,
    )


def implied_volatility(
    price: float, spot: float, strike: float, years: float, rate: float, *, call: bool
) -> float | None:
    """The volatility at which the option costs `price`; None when there is none."""
    if not (0 < spot < 1e12 and 0 < strike < 1e12 and years > 0 and price > 0):
        return None
    low, high = _LEAST_VOLATILITY, _MOST_VOLATILITY
    if not (
        price_of(spot, strike, years, rate, low, call=call)
        <= price
        <= price_of(spot, strike, years, rate, high, call=call)
    ):
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if price_of(spot, strike, years, rate, middle, call=call) < price:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _moments(spot: float, strike: float, years: float, rate: float, volatility: float) -> tuple[float, float]:
    spread = volatility * sqrt(years)
    d1 = (log(spot / strike) + (rate + volatility * volatility / 2) * years) / spread
    return d1, d1 - spread


def _normal(x: float) -> float:
    return (1 + erf(x / sqrt(2))) / 2
