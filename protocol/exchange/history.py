"""Historical bars of any size up to a day, folded from what trades; complete bars only.

Bars are aligned to New York's midnight and cut at the edges of their session, as TWS does it: an hourly
bar of regular hours starts at 09:30 and the next one at 10:00. A stretch without a trade is a flat bar at
the price before it, without volume; before a symbol's first trade there are none. A daily bar is a session.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from typing import Final, Protocol

from protocol.exchange.calendar import Session, new_york, session_of
from protocol.exchange.path import Print
from protocol.values import Bar

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US
DAY_S: Final = 86_400
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Microseconds of the epoch: how the columns of a market keep time."""
    return (at - EPOCH) // _MICROSECOND


def moment(at_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=at_us)


class Prints(Protocol):
    """What traded in one symbol, by time."""

    def prints(self, session: Session, from_us: int, to_us: int, *, whole_minutes: bool) -> Iterable[Print]:
        """In time order, from `from_us` (a whole minute) up to, not including, `to_us`, all within `session`.

        `whole_minutes`: a minute may come as one print, since nobody looks inside it.
        """
        ...

    def close_before(self, at_us: int) -> float | None:
        """The last price before `at_us`, a whole minute."""
        ...


def regular_part(session: Session) -> Session | None:
    """What of a recorded session lies in regular hours; all of it on a day when the exchange is closed."""
    regular = session_of(session.day)
    if regular is None:
        return session
    start, end = max(session.start, regular.start), min(session.end, regular.end)
    return Session(session.day, start, end) if start < end else None


def completed_bars(
    source: Prints, newest_first: Iterable[Session], bar_s: int, end: datetime, count: int
) -> tuple[Bar, ...]:
    """The last `count` bars of `bar_s` seconds that were complete by `end`, oldest first."""
    if not 1 <= bar_s <= DAY_S:
        raise ValueError(f"bars last from one second to one day, not {bar_s} s")
    end_us, missing = micros(end), count
    parts: list[list[Bar]] = []
    for session in newest_first:
        if missing <= 0:
            break
        bars = _bars_of_session(source, session, bar_s, end_us, missing)
        parts.append(bars)
        missing -= len(bars)
    return tuple(bar for part in reversed(parts) for bar in part)


def _bars_of_session(source: Prints, session: Session, bar_s: int, end_us: int, count: int) -> list[Bar]:
    open_us, close_us = micros(session.start), micros(session.end)
    midnight_us = micros(new_york(session.day, time()))
    step_us = bar_s * SECOND_US
    if bar_s == DAY_S:
        first, last = 0, 0 if close_us <= end_us else -1
    else:
        first = (open_us - midnight_us) // step_us
        last = (
            (close_us - 1 - midnight_us) // step_us
            if close_us <= end_us
            else (end_us - midnight_us) // step_us - 1
        )
    first = max(first, last - count + 1)
    if last < first:
        return []
    from_us = max(open_us, midnight_us + first * step_us)
    to_us = min(close_us, midnight_us + (last + 1) * step_us)
    whole_us = from_us - from_us % MINUTE_US
    prints = source.prints(session, whole_us, to_us, whole_minutes=bar_s % 60 == 0 and whole_us == from_us)
    edges = [from_us, *range(midnight_us + (first + 1) * step_us, to_us, step_us), to_us]
    return list(_fold(iter(prints), edges, source.close_before(whole_us)))


def _fold(prints: Iterator[Print], edges: list[int], before: float | None) -> Iterator[Bar]:
    upcoming = next(prints, None)
    while upcoming is not None and upcoming.at_us < edges[0]:
        before = upcoming.close
        upcoming = next(prints, None)
    for start_us, end_us in pairwise(edges):
        if upcoming is None or upcoming.at_us >= end_us:
            if before is not None:
                yield Bar(moment(start_us), before, before, before, before, 0)
            continue
        _, opened, high, low, close, volume = upcoming
        upcoming = next(prints, None)
        while upcoming is not None and upcoming.at_us < end_us:
            high, low = max(high, upcoming.high), min(low, upcoming.low)
            close = upcoming.close
            volume += upcoming.volume
            upcoming = next(prints, None)
        yield Bar(moment(start_us), opened, high, low, close, volume)
        before = close
