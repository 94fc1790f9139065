"""Bars of any size from trades, or from smaller bars: cut as TWS cuts the historical ones.

Intervals are aligned to New York's midnight and cut at the edges of the regular session: an hourly bar
starts at 09:30 and the next one at 10:00, a daily bar is the session. What trades outside regular hours
belongs to no bar, since history is asked for regular hours, too; on a day when the exchange is closed
(a recorded market may trade then) nothing is cut. An interval without a trade is no bar: TWS sends some
of them as flat bars without volume and leaves others out, so neither counts (`traded`).
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from protocol.exchange.calendar import NEW_YORK, new_york, session_of
from protocol.values import Bar, Tick

DAY_S: Final = 86_400
_NEVER: Final = datetime(1, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)


@lru_cache(maxsize=64)
def _hours_of(day: date) -> tuple[datetime, datetime, datetime]:
    """Midnight in New York, and from when to when bars are made that day."""
    midnight = new_york(day, time())
    session = session_of(day)
    if session is None:
        return midnight, midnight, new_york(day + _DAY, time())
    return midnight, session.start, session.end


def interval_at(at: datetime, bar_s: int) -> tuple[datetime, datetime] | None:
    """From when to when, in UTC, the bar of `bar_s` seconds goes that `at` falls into; None out of hours."""
    midnight, first, last = _hours_of(at.astimezone(NEW_YORK).date())
    if not first <= at < last:
        return None
    if bar_s >= DAY_S:
        return first, last
    start = midnight + timedelta(seconds=(at - midnight).total_seconds() // bar_s * bar_s)
    return max(start, first), min(start + timedelta(seconds=bar_s), last)


def traded(bar: Bar) -> bool:
    """Whether `bar` tells of trading at all, in numbers that can be reckoned with."""
    return (
        (bar.volume > 0 or bar.high != bar.low)
        and 0 < bar.low <= bar.high
        and math.isfinite(bar.open + bar.high + bar.low + bar.close + bar.volume)
    )


class BarBuilder:
    """The bar in the making, of `bar_s` seconds; what completes one gives it.

    A bar is complete with the first trade after it, or when somebody tells that its time is over
    (`advance`). A tick that was merged from several carries their extremes, so a bar keeps its range under
    load. Volume is the rise of the day's volume where the line tells it (TWS does not send every trade, but
    counts them all), else the sum of the sizes.
    """

    __slots__ = (
        "_bar_s", "_close", "_closed_until", "_high", "_low", "_open", "_size", "_start", "_torn", "_total",
        "_total_before", "_whole", "end", "was_torn",
    )  # fmt: skip

    def __init__(self, bar_s: int) -> None:
        if bar_s <= 0:
            raise ValueError(f"a bar lasts some seconds, got {bar_s}")
        self._bar_s = bar_s
        self._start = self._closed_until = _NEVER
        self.end: datetime | None = None
        """When the bar in the making is over; None while there is none."""
        self._open = self._high = self._low = self._close = self._size = 0.0
        self._total: float | None = None
        self._total_before: float | None = None
        self._whole = self._torn = False
        self.was_torn = False
        """Whether a part of the bar that was completed last may have gone unheard."""

    def add(self, tick: Tick) -> Bar | None:
        """Take a trade; gives the bar that it shows to be complete."""
        end, at = self.end, tick.at
        if end is not None and at < end:
            # A tick that is older than the bar in the making still traded: it belongs to what is open.
            if tick.high > self._high:
                self._high = tick.high
            if tick.low < self._low:
                self._low = tick.low
            self._close = tick.price
            self._size += tick.size
            return None
        completed = self.advance(at)
        if self._begin(at):
            self._open, self._high, self._low, self._close = tick.price, tick.high, tick.low, tick.price
            self._size = tick.size
        return completed

    def fold(self, bar: Bar) -> Bar | None:
        """Take a complete bar of a smaller size, five seconds for instance; they come in order."""
        if not traded(bar):
            return self.advance(bar.start)
        if self.end is not None and bar.start < self.end:
            self._high, self._low = max(self._high, bar.high), min(self._low, bar.low)
            self._close = bar.close
            self._size += bar.volume
            return None
        completed = self.advance(bar.start)
        if self._begin(bar.start):
            self._open, self._high, self._low, self._close = bar.open, bar.high, bar.low, bar.close
            self._size = bar.volume
        return completed

    def count(self, total: float) -> None:
        """Take the day's volume up to now, as it is told behind each trade."""
        if self._total is None or total < self._total:
            # Nobody knows what of it was before the bar in the making, or it is the first of a new day.
            self._total_before = None if self._total is None else 0.0
        self._total = total

    def advance(self, at: datetime) -> Bar | None:
        """Let time go on to `at`; gives the bar that is over by then."""
        if self.end is None or at < self.end:
            return None
        volume = self._size
        if self._total is not None and self._total_before is not None:
            volume = max(self._total - self._total_before, 0.0)
        self._closed_until, self.end, self.was_torn = self.end, None, self._torn
        return Bar(self._start, self._open, self._high, self._low, self._close, volume)

    def interrupt(self) -> None:
        """What trades from now on is not heard: the bar in the making will lack something."""
        self._whole, self._torn = False, True
        self._total = self._total_before = None

    def _begin(self, at: datetime) -> bool:
        # Whoever comes late to a bar that time has closed is the first of the next one.
        interval = interval_at(max(at, self._closed_until), self._bar_s)
        if interval is None:
            return False
        self._start, self.end = interval
        self._total_before = self._total
        self._torn, self._whole = not self._whole, True
        return True
