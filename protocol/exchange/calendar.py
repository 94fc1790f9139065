"""The trading days of the New York Stock Exchange: which days, from when to when.

Closed days come from the `holidays` package (its NYSE calendar knows the one-off closings, too, such as
the days of mourning). Half days close at 13:00 and follow a rule, as the exchange announces them on
its page "Holidays & Trading Hours" (https://www.nyse.com/markets/hours-calendars):

* the day after Thanksgiving,
* 24 December when it is a trading day,
* 3 July when both it and Independence Day fall on weekdays (on a Friday 3 July, the 4th is observed
  on it and the exchange is closed; before a Monday 4 July there is no half day).

The rule holds from 2004 on; before, single half days differed.
"""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import attrs
import holidays

NEW_YORK: Final = ZoneInfo("America/New_York")
OPEN: Final = time(9, 30)
CLOSE: Final = time(16, 0)
HALF_DAY_CLOSE: Final = time(13, 0)

_ONE_DAY: Final = timedelta(days=1)
LONGEST_CLOSURE_DAYS: Final = 200
"""More than the exchange was ever closed (134 days, in 1914): a search that goes on longer is a bug."""


@attrs.frozen
class Session:
    """One day's trading: from `start` up to, not including, `end`, both in UTC. `day` is New York's date."""

    day: date
    start: datetime
    end: datetime

    def contains(self, at: datetime) -> bool:
        return self.start <= at < self.end


@functools.cache
def _closed_days() -> holidays.HolidayBase:
    return holidays.financial_holidays("NYSE")


def is_trading_day(day: date) -> bool:
    return day.weekday() < 5 and day not in _closed_days()


def is_half_day(day: date) -> bool:
    """Whether the exchange closes at 13:00 on this day."""
    if not is_trading_day(day):
        return False
    match day.month, day.day:
        case 7, 3:
            return day.weekday() < 4
        case 12, 24:
            return True
        case 11, _:
            # The fourth Thursday lies on the 22nd to the 28th.
            return day.weekday() == 4 and 23 <= day.day <= 29
        case _:
            return False


def new_york(day: date, clock: time) -> datetime:
    """The instant, in UTC, at which clocks in New York show `clock` on `day`."""
    return datetime.combine(day, clock, NEW_YORK).astimezone(UTC)


@functools.lru_cache(maxsize=4096)
def session_of(day: date) -> Session | None:
    """Regular trading hours of that day, or None when the exchange is closed."""
    if not is_trading_day(day):
        return None
    return Session(day, new_york(day, OPEN), new_york(day, HALF_DAY_CLOSE if is_half_day(day) else CLOSE))


def session_at(at: datetime) -> Session | None:
    """The regular session that `at` falls into."""
    session = session_of(at.astimezone(NEW_YORK).date())
    return session if session is not None and session.contains(at) else None


def is_open(at: datetime) -> bool:
    """Whether the exchange trades in regular hours at this instant (the close itself is closed)."""
    return session_at(at) is not None


def next_session(at: datetime) -> Session:
    """The regular session in progress at `at`, or else the first one to start after it."""
    day = at.astimezone(NEW_YORK).date()
    session = session_of(day)
    if session is not None and at < session.end:
        return session
    return next_trading_day(day)


def next_trading_day(day: date) -> Session:
    """The regular session of the first trading day after `day`."""
    return _search(day, _ONE_DAY)


def previous_trading_day(day: date) -> Session:
    """The regular session of the last trading day before `day`."""
    return _search(day, -_ONE_DAY)


def _search(day: date, step: timedelta) -> Session:
    for _ in range(LONGEST_CLOSURE_DAYS):
        day += step
        session = session_of(day)
        if session is not None:
            return session
    raise AssertionError(f"no trading day within {LONGEST_CLOSURE_DAYS} days of {day}")
