"""The trading day of a schedule, by the exchange's calendar: until when to enter, when to flatten."""

from __future__ import annotations

import enum
from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import attrs

from protocol.exchange.calendar import session_of
from protocol.settings import Schedule


class DayPhase(enum.Enum):
    CLOSED = "the exchange is closed"
    OPEN = "open"
    NO_ENTRIES = "too late in the session for an entry"
    FLATTEN = "the session ends: everything is flattened"


@attrs.frozen
class TradingDay:
    """The moments of one day, in UTC. On a half day everything lies as long before the close as else."""

    open: datetime
    no_entries_after: datetime
    flatten: datetime
    close: datetime

    def phase(self, at: datetime) -> DayPhase:
        if at < self.open or at >= self.close:
            return DayPhase.CLOSED
        if at >= self.flatten:
            return DayPhase.FLATTEN
        return DayPhase.NO_ENTRIES if at >= self.no_entries_after else DayPhase.OPEN


@lru_cache(maxsize=64)
def trading_day(schedule: Schedule, ordinal: int) -> TradingDay | None:
    """The trading day with that ordinal in the schedule's zone; None when the exchange is closed all day."""
    day = datetime.fromordinal(ordinal).date()
    session = session_of(day)
    if session is None:
        return None
    zone = ZoneInfo(schedule.zone)

    def moment(clock: time) -> datetime:
        return datetime.combine(day, clock, zone)

    usual_close = moment(schedule.close)
    close = min(session.end, usual_close)
    earlier: timedelta = usual_close - close
    return TradingDay(
        open=max(session.start, moment(schedule.open)),
        no_entries_after=moment(schedule.no_entries_after) - earlier,
        flatten=moment(schedule.flatten) - earlier,
        close=close,
    )


def day_of(schedule: Schedule, at: datetime) -> TradingDay | None:
    return trading_day(schedule, at.astimezone(_zone(schedule.zone)).toordinal())


def phase(schedule: Schedule, at: datetime) -> DayPhase:
    day = day_of(schedule, at)
    return DayPhase.CLOSED if day is None else day.phase(at)


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
