"""What the past of a contract says about it, for the generic ticks of a line that asks."""

from __future__ import annotations

from typing import Final

from protocol.exchange.bar_book import VOLATILITY_DAYS, realized_volatility
from protocol.exchange.contract_key import contract_key
from protocol.exchange.history import DAY_S
from protocol.exchange.listings import Listing
from protocol.exchange.options import OptionTerms
from protocol.exchange.tws_floor import Floor
from protocol.exchange.tws_generic_ticks import Facts

WEEKS: Final = (13, 26, 52)
_WEEK_DAYS: Final = 5
AVERAGE_DAYS: Final = 63
"""Trading days over which the volume is averaged: a quarter."""
_FROM_THE_PAST: Final = frozenset({104, 165, 411})


def facts_of(floor: Floor, listing: Listing, wanted: frozenset[int]) -> Facts:
    """Only what these generic ticks need: a year of days takes a moment to make."""
    terms = listing.terms
    underlying = terms.underlying if isinstance(terms, OptionTerms) else terms
    implied = floor.settings.volatility_of(underlying) if isinstance(underlying, str) else None
    hard = isinstance(terms, str) and floor.hard_to_borrow(contract_key(listing.contract))
    if not wanted & _FROM_THE_PAST or not isinstance(terms, str):
        return Facts(implied_volatility=implied, hard_to_borrow=hard)
    days = max(WEEKS) * _WEEK_DAYS if 165 in wanted else VOLATILITY_DAYS
    daily = floor.book.bars(listing, "TRADES", DAY_S, floor.now, days, regular_only=True)
    if not daily:
        return Facts(implied_volatility=implied, hard_to_borrow=hard)
    spans = [daily[-weeks * _WEEK_DAYS :] for weeks in WEEKS]
    recent = daily[-AVERAGE_DAYS:]
    return Facts(
        historical_volatility=realized_volatility([bar.close for bar in daily[-VOLATILITY_DAYS:]]),
        implied_volatility=implied,
        ranges=tuple((min(bar.low for bar in span), max(bar.high for bar in span)) for span in spans),
        average_volume=int(sum(bar.volume for bar in recent) / len(recent)),
        hard_to_borrow=hard,
    )
