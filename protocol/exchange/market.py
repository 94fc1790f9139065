"""What the simulated venue trades on: ticks in time order, and the history before any moment.

`Market` is what the simulated TWS needs to know of it; `RecordedMarket` replays recorded days, the one in
`synthetic.py` makes its own. Neither keeps a position: `ticks` can be asked again from any moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from operator import attrgetter
from typing import Final, Protocol

from protocol.exchange.calendar import CLOSE, OPEN, Session, new_york, session_of
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import MINUTE_US, SECOND_US, completed_bars, micros, moment, regular_part
from protocol.exchange.path import BAR_S, STEP_S
from protocol.exchange.tape import Tape
from protocol.values import Bar

PRE_MARKET_OPEN: Final = time(4, 0)
POST_MARKET_CLOSE: Final = time(20, 0)
HALF_DAY_POST_MARKET_CLOSE: Final = time(17, 0)
"""Hours of the NYSE's electronic markets (https://www.nyse.com/markets/hours-calendars)."""

_STAMP_OFFSETS: Final = tuple(timedelta(seconds=second) for second in range(0, BAR_S, STEP_S))
_by_time = attrgetter("at")


class Market(Protocol):
    @property
    def symbols(self) -> tuple[str, ...]:
        """Whose ticks come, sorted."""
        ...

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The days that can be traded, ascending; an endless market names a first stretch of them."""
        ...

    @property
    def start(self) -> datetime:
        """Where a replay begins unless somebody says otherwise."""
        ...

    @property
    def end(self) -> datetime | None:
        """When the last session closes; None for an endless market."""
        ...

    @property
    def has_regular_hours(self) -> bool:
        """Whether every session lies within the exchange's regular hours: there is no extended trading."""
        ...

    def knows(self, symbol: str) -> bool:
        """Whether there is such a stock in this market."""
        ...

    def add(self, symbol: str) -> None:
        """Make a known symbol tick, if it does not yet. Raises KeyError for one that is not known."""
        ...

    def session_after(self, at: datetime) -> Session | None:
        """The session in progress at `at`, or else the next one; None when there is none any more."""
        ...

    def ticks(self, from_: datetime) -> Iterator[MarketTick]:
        """Every tick at or after `from_`, made as they are taken, by time; at the same time by symbol."""
        ...

    def history(
        self, symbol: str, bar_s: int, end: datetime, count: int, *, regular_only: bool = False
    ) -> tuple[Bar, ...]:
        """The last `count` bars of `bar_s` seconds (at most a day) complete by `end`, oldest first.

        `regular_only` leaves out what lies outside regular hours. Empty for an unknown symbol. `end` is
        the caller's market time or before: what comes later is in the market, too.
        """
        ...


class RecordedMarket:
    """Recorded days, replayed. A symbol ticks from its first row to the close of its last day.

    Bars give twelve ticks a minute at fixed seconds (`path.py`), in minutes without one the quotes keep
    standing, to the close; trades and quotes come as they were recorded. `warnings` says what of the
    recording was left out, one line each.
    """

    def __init__(self, tapes: Sequence[Tape], warnings: tuple[str, ...] = ()) -> None:
        """Raises ValueError when there is nothing recorded."""
        self._tapes = {tape.symbol: tape for tape in sorted(tapes, key=attrgetter("symbol")) if tape.days()}
        if not self._tapes:
            raise ValueError("a recorded market needs at least one row")
        self.warnings = warnings
        self._sessions = _sessions_of(self._tapes.values())

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._tapes)

    @property
    def sessions(self) -> tuple[Session, ...]:
        return self._sessions

    @property
    def start(self) -> datetime:
        return self._sessions[0].start

    @property
    def end(self) -> datetime:
        return self._sessions[-1].end

    @property
    def has_regular_hours(self) -> bool:
        return all(regular_part(session) == session for session in self._sessions)

    def knows(self, symbol: str) -> bool:
        return symbol in self._tapes

    def add(self, symbol: str) -> None:
        if symbol not in self._tapes:
            raise KeyError(symbol)

    def session_after(self, at: datetime) -> Session | None:
        return next((session for session in self._sessions if at < session.end), None)

    def ticks(self, from_: datetime) -> Iterator[MarketTick]:
        ends = [(tape, max(tape.days())) for tape in self._tapes.values()]
        for session in self._sessions:
            if session.end <= from_:
                continue
            tapes = [tape for tape, last_day in ends if session.day <= last_day]
            start_us, end_us = micros(max(session.start, from_)), micros(session.end)
            for minute_us in range(start_us - start_us % MINUTE_US, end_us, MINUTE_US):
                minute = moment(minute_us)
                stamps = tuple([minute + offset for offset in _STAMP_OFFSETS])
                merged: list[MarketTick] = []
                for tape in tapes:
                    merged += tape.minute(session.day, minute_us, stamps)
                # Stable: at the same time the symbols stay in order, and each symbol's rows as recorded.
                merged.sort(key=_by_time)
                if minute < from_:
                    merged = [tick for tick in merged if tick.at >= from_]
                yield from merged

    def ticks_of(self, symbol: str, session: Session, from_us: int, to_us: int) -> Iterator[MarketTick]:
        """The ticks of one symbol again, from `from_us` up to, not including, `to_us`, within `session`."""
        tape = self._tapes.get(symbol)
        if tape is None or session.day > max(tape.days()):
            return
        first, end = moment(from_us), moment(to_us)
        for minute_us in range(from_us - from_us % MINUTE_US, to_us, MINUTE_US):
            minute = moment(minute_us)
            stamps = tuple([minute + offset for offset in _STAMP_OFFSETS])
            yield from (
                tick for tick in tape.minute(session.day, minute_us, stamps) if first <= tick.at < end
            )

    def history(
        self, symbol: str, bar_s: int, end: datetime, count: int, *, regular_only: bool = False
    ) -> tuple[Bar, ...]:
        tape = self._tapes.get(symbol)
        if tape is None:
            return ()
        last_day = max(tape.days())
        sessions = (session for session in reversed(self._sessions) if session.day <= last_day)
        if regular_only:
            sessions = (part for part in map(regular_part, sessions) if part is not None)
        return completed_bars(tape, sessions, bar_s, end, count)


def _sessions_of(tapes: Iterable[Tape]) -> tuple[Session, ...]:
    spans: dict[date, tuple[int, int]] = {}
    for tape in tapes:
        for day, first_us, end_us in tape.spans():
            low, high = spans.get(day, (first_us, end_us))
            spans[day] = min(low, first_us), max(high, end_us)
    return tuple(_session_around(day, *spans[day]) for day in sorted(spans))


def _session_around(day: date, first_us: int, end_us: int) -> Session:
    """Regular hours if they hold all of the day's rows, else the extended hours as far as there are rows."""
    first, end = moment(first_us - first_us % MINUTE_US), moment(-(-end_us // SECOND_US) * SECOND_US)
    regular = session_of(day)
    if regular is None:
        regular = Session(day, new_york(day, OPEN), new_york(day, CLOSE))
    start, close = regular.start, regular.end
    if first < start:
        start = min(first, new_york(day, PRE_MARKET_OPEN))
    if end > close:
        half_day = close < new_york(day, CLOSE)
        close = max(end, new_york(day, HALF_DAY_POST_MARKET_CLOSE if half_day else POST_MARKET_CLOSE))
    return Session(day, start, close)
