"""What an option, a future or a currency pair costs when the price that it follows is known.

All three are functions of one price, which grow (or, for puts, fall) with it and do not change within a
minute otherwise. So their bars are those of what they follow, put through the same function.
"""

from __future__ import annotations

from datetime import datetime
from math import ceil, floor
from typing import Final, NamedTuple, TypeAlias

from protocol.exchange import market_rules
from protocol.exchange.black_scholes import Greeks, greeks_of, price_of
from protocol.exchange.calendar import NEW_YORK
from protocol.exchange.currencies import Pair
from protocol.exchange.futures import FutureTerms
from protocol.exchange.listings import Listing
from protocol.exchange.options import OptionTerms
from protocol.exchange.tws_market_settings import MarketSettings

OPTION_SIZE, FUTURE_SIZE, CURRENCY_SIZE = 20, 50, 1_000_000
"""Shown on both sides, in contracts; in units of the currency."""
OPTION_SPREAD: Final = 0.02
"""Of its price, at least one step."""
_DIGITS = 8

DerivedTerms: TypeAlias = OptionTerms | FutureTerms | Pair


class Sides(NamedTuple):
    """`worth` is the price at which it trades, on the grid. A bid of 0 with size 0 is none."""

    bid: float
    bid_size: int
    ask: float
    ask_size: int
    worth: float


def sides_of(
    listing: Listing, carrier_price: float, carrier_base: float, at: datetime, settings: MarketSettings
) -> Sides:
    """The quote when its carrier costs `carrier_price`; `carrier_base`: what that costs in the long run."""
    match listing.terms:
        case OptionTerms() as terms:
            return _option(listing.rule_id, option_model(terms, carrier_price, at, settings))
        case FutureTerms() as terms:
            day = at.astimezone(NEW_YORK).date()
            exact = terms.price(carrier_price, settings.interest_rate, day)
            return _around(exact, terms.product.tick, FUTURE_SIZE)
        case Pair() as pair:
            return _around(pair.price(carrier_price, carrier_base), pair.tick, CURRENCY_SIZE)
        case str(symbol):
            raise ValueError(f"the stock {symbol} follows nothing but itself")


def option_model(terms: OptionTerms, spot: float, at: datetime, settings: MarketSettings) -> float:
    volatility = settings.volatility_of(terms.underlying)
    years, rate = terms.years_left(at), settings.interest_rate
    return price_of(spot, terms.strike, years, rate, volatility, call=terms.is_call)


def option_greeks(terms: OptionTerms, spot: float, volatility: float, at: datetime, rate: float) -> Greeks:
    return greeks_of(spot, terms.strike, terms.years_left(at), rate, volatility, call=terms.is_call)


def _option(rule_id: int, model: float) -> Sides:
    step = market_rules.step_at(rule_id, model)
    half = max(model * OPTION_SPREAD / 2, step / 2)
    bid = _down(model - half, market_rules.step_at(rule_id, max(model - half, 0.0)))
    ask = _up(model + half, market_rules.step_at(rule_id, model + half))
    worth = round(round(model / step) * step, _DIGITS)
    if bid <= 0:
        return Sides(0.0, 0, ask, OPTION_SIZE, worth or step)
    return Sides(bid, OPTION_SIZE, ask, OPTION_SIZE, worth)


def _around(exact: float, tick: float, size: int) -> Sides:
    bid = _down(exact, tick)
    return Sides(bid, size, round(bid + tick, _DIGITS), size, round(round(exact / tick) * tick, _DIGITS))


def _down(price: float, step: float) -> float:
    return round(floor(round(price / step, 6)) * step, _DIGITS)


def _up(price: float, step: float) -> float:
    return round(ceil(round(price / step, 6)) * step, _DIGITS)
