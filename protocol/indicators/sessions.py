"""Figures of one session: they begin afresh with each trading day of the exchange.

Each counts only when the day was seen from its beginning: from the opening, or with the day before.
"""

from __future__ import annotations

from collections import deque
from datetime import date, datetime, timedelta
from typing import Final

from protocol.exchange.calendar import NEW_YORK, Session, session_of
from protocol.indicators.base import Indicator, ratio, typical_price, whole
from protocol.values import Bar

_MINUTE: Final = timedelta(minutes=1)


class _Days:
    """Which session a bar belongs to, and whether that one was seen from its beginning."""

    __slots__ = ("_day", "seen_whole", "session")

    def __init__(self) -> None:
        self._day: date | None = None
        self.session: Session | None = None
        self.seen_whole = False

    def begins(self, bar: Bar) -> bool:
        """Whether `bar` is the first of another day. `session` is None when the exchange is closed."""
        day = bar.start.astimezone(NEW_YORK).date()
        if day == self._day:
            return False
        self.session = session_of(day)
        opening = None if self.session is None else self.session.start
        self.seen_whole = self._day is not None or opening is None or bar.start <= opening
        self._day = day
        return True


class SessionAveragePrice(Indicator):
    """VWAP: the session's average price, each bar's typical price weighted with its volume."""

    __slots__ = ("_days", "_dollars", "_volume", "value")

    def __init__(self) -> None:
        self._days = _Days()
        self._dollars = self._volume = 0.0
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        if self._days.begins(bar):
            self._dollars = self._volume = 0.0
        self._dollars += typical_price(bar) * bar.volume
        self._volume += bar.volume
        self.value = ratio(self._dollars, self._volume) if self._days.seen_whole else None


class OpeningRange(Indicator):
    """The highest and the lowest price of the session's first `minutes`; none before they are over.

    A bar of `bar_s` seconds counts when it starts within them.
    """

    __slots__ = ("_bar", "_days", "_ends", "_high", "_low", "_minutes", "high", "low")

    def __init__(self, minutes: float = 15, bar_s: int = 60) -> None:
        if minutes <= 0:
            raise ValueError(f"an opening range lasts some minutes, got {minutes:g}")
        self._minutes, self._bar = minutes, timedelta(seconds=bar_s)
        self._days = _Days()
        self._ends: datetime | None = None
        self._high = self._low = 0.0
        self.high: float | None = None
        self.low: float | None = None

    def add(self, bar: Bar) -> None:
        if self._days.begins(bar):
            session = self._days.session
            opening = bar.start if session is None else session.start
            self._ends = opening + self._minutes * _MINUTE
            self._high, self._low, self.high, self.low = bar.high, bar.low, None, None
        assert self._ends is not None
        if bar.start < self._ends:
            self._high, self._low = max(self._high, bar.high), min(self._low, bar.low)
        if bar.start + self._bar >= self._ends and self.high is None and self._days.seen_whole:
            self.high, self.low = self._high, self._low


class RelativeVolume(Indicator):
    """The session's volume so far, against the mean of the same stretch of the last `days` sessions.

    1 is as usual. A session that is over by that time of day (half a day) counts with all it had. None
    until `days` sessions were seen whole.
    """

    __slots__ = ("_days", "_today", "_volume", "_wanted", "_yesterdays", "value")

    def __init__(self, days: float = 5) -> None:
        self._wanted = whole(days, "the number of days")
        self._days = _Days()
        self._yesterdays: deque[_Volumes] = deque(maxlen=self._wanted)
        self._today: _Volumes | None = None
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        whole_before = self._days.seen_whole
        if self._days.begins(bar):
            if self._today is not None and whole_before:
                self._yesterdays.append(self._today)
            session = self._days.session
            self._today = _Volumes(bar.start if session is None else session.start)
        assert self._today is not None
        self._today.add(bar)
        known = len(self._yesterdays) == self._wanted and self._days.seen_whole
        if known:
            since_open = bar.start - self._today.opening
            usual = sum(day.until(since_open) for day in self._yesterdays) / self._wanted
            self.value = ratio(self._today.total, usual)
        else:
            self.value = None


class _Volumes:
    """How the volume of one session grew, bar by bar."""

    __slots__ = ("_next", "_sums", "_times", "opening", "total")

    def __init__(self, opening: datetime) -> None:
        self.opening = opening
        self.total = 0.0
        self._times: list[timedelta] = []
        self._sums: list[float] = []
        self._next = 0

    def add(self, bar: Bar) -> None:
        self.total += bar.volume
        self._times.append(bar.start - self.opening)
        self._sums.append(self.total)

    def until(self, since_open: timedelta) -> float:
        """The volume of the bars that started by then. Asked in the order of a day, so it walks along."""
        if self._next and self._times[self._next - 1] > since_open:
            self._next = 0
        while self._next < len(self._times) and self._times[self._next] <= since_open:
            self._next += 1
        return self._sums[self._next - 1] if self._next else 0.0


class SessionBalanceVolume(Indicator):
    """OBV: volume at rising closes less volume at falling ones, since the session began (Joseph Granville).

    Counted within the session, since a sum without a beginning means nothing after a restart.
    """

    __slots__ = ("_days", "_last", "_sum", "value")

    def __init__(self) -> None:
        self._days = _Days()
        self._last: float | None = None
        self._sum = 0.0
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        if self._days.begins(bar):
            self._sum = 0.0
        if self._last is not None and bar.close != self._last:
            self._sum += bar.volume if bar.close > self._last else -bar.volume
        self._last = bar.close
        self.value = self._sum if self._days.seen_whole else None
