"""The options on US stocks that the simulated TWS lists: which there are, and how they are called.

There are weeklies for five Fridays from this week on and monthlies (third Fridays) for a year; an expiry
that falls on a holiday moves to the trading day before. Strikes lie around the last close; farther ones are
found, too, when they are asked for by name.
"""

from __future__ import annotations

import functools
import re
from datetime import date, datetime, time, timedelta
from typing import Final

import attrs

from protocol.exchange.black_scholes import DAYS_A_YEAR
from protocol.exchange.calendar import is_trading_day, new_york, previous_trading_day, session_of

WEEKLIES: Final = 5
MONTHLIES: Final = 12
LISTED_RANGE: Final = 0.35
"""Strikes are listed within this share of the last close."""
FINEST_STRIKE: Final = 0.5
_FARTHEST: Final = 10.0
"""An option whose strike is beyond so many times the price, or less than that part of it, does not exist."""
_STRIKE_STEPS: Final = ((25.0, 0.5), (100.0, 1.0), (250.0, 2.5), (1000.0, 5.0), (float("inf"), 10.0))
_CODE: Final = re.compile(r"([A-Z0-9. ]{6})(\d{6})([CP])(\d{8})")
_FRIDAY = 4
_WEEK = timedelta(days=7)
EXPIRY_CLOCK: Final = time(16, 0)


@attrs.frozen
class OptionTerms:
    """`right` is C or P."""

    underlying: str
    expiry: date
    strike: float
    right: str

    @property
    def local_symbol(self) -> str:
        """The code of the Options Clearing Corporation, such as `SLV   250221C00028000`."""
        return f"{self.underlying:<6}{self.expiry:%y%m%d}{self.right}{round(self.strike * 1000):08d}"

    @property
    def is_call(self) -> bool:
        return self.right == "C"

    def years_left(self, at: datetime) -> float:
        """Until the close of its last day, in whole minutes: within a minute the model stands still."""
        session = session_of(self.expiry)
        end = new_york(self.expiry, EXPIRY_CLOCK) if session is None else session.end
        minutes = int((end - at).total_seconds() // 60)
        return max(minutes, 0) / (DAYS_A_YEAR * 24 * 60)


def read_code(text: str) -> OptionTerms | None:
    """The option that a local symbol names, or None when it is no such code."""
    found = _CODE.fullmatch(text)
    if found is None:
        return None
    underlying, day, right, strike = found.groups()
    try:
        expiry = date(2000 + int(day[:2]), int(day[2:4]), int(day[4:]))
    except ValueError:
        return None
    return OptionTerms(underlying.rstrip(), expiry, int(strike) / 1000, right)


@functools.lru_cache(maxsize=256)
def expiries(today: date) -> tuple[date, ...]:
    """What is listed on `today`, ascending; an option still trades on its last day."""
    friday = today + timedelta(days=(_FRIDAY - today.weekday()) % 7)
    fridays = {friday + _WEEK * week for week in range(WEEKLIES)}
    for month in range(today.month - 1, today.month + MONTHLIES):
        fridays.add(third_friday(today.year + month // 12, month % 12 + 1))
    return tuple(sorted({day for day in map(last_day, fridays) if day >= today}))


def third_friday(year: int, month: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(_FRIDAY - first.weekday()) % 7 + 14)


def last_day(friday: date) -> date:
    """The last trading day of what expires on a Friday."""
    return friday if is_trading_day(friday) else previous_trading_day(friday).day


def strikes(price: float) -> tuple[float, ...]:
    """The strikes listed around a price, ascending."""
    step = next(step for below, step in _STRIKE_STEPS if price < below)
    low, high = int(price * (1 - LISTED_RANGE) / step), int(price * (1 + LISTED_RANGE) / step)
    return tuple(number * step for number in range(max(low, 1), high + 1))


def exists(terms: OptionTerms, price: float, today: date) -> bool:
    """Whether there is such an option when its underlying costs about `price`."""
    return (
        terms.expiry in expiries(today)
        and terms.strike % FINEST_STRIKE == 0
        and price / _FARTHEST <= terms.strike <= price * _FARTHEST
    )
