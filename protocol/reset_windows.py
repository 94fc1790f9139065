"""When TWS is away by plan: its own restart, and the hours in which IBKR resets its servers.

TWS and IB Gateway restart once a day at a time of the user's choice (*Lock and Exit*, *Auto restart*; 23:45
as installed). IBKR resets its North American servers from 00:15 to 01:45 New York time on the days from
Sunday to Friday, and all of them from Friday 23:00 to Saturday 03:00; orders at an exchange stand, new ones
may not be taken (interactivebrokers.com, software/systemStatus.php; older pages say 23:45 to 00:45 for the
first). All of it lies outside of the session, but for a restart that somebody has set into it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from protocol.schedule import DayPhase, phase
from protocol.settings import Schedule

LEAD: Final = timedelta(seconds=60)
"""Before a window: an order that leaves now may be the last thing that TWS hears."""
RESTART_TAKES: Final = timedelta(minutes=5)
"""A restart that takes longer is none that goes as planned: a person is told."""
IBKR_ZONE: Final = "America/New_York"
NIGHTLY: Final = (time(0, 15), time(1, 45))
SATURDAY, FRIDAY = 5, 4
WEEKEND: Final = (time(23, 0), time(3, 0))
"""From Friday to Saturday."""


@attrs.frozen
class ResetWindow:
    """From `begins` until `ends`, in UTC; `name` says whose it is and until when, as people there read it."""

    begins: datetime
    ends: datetime
    name: str
    is_restart: bool = False


@attrs.frozen
class ResetPlan:
    """`restart_at` is a wall time of the schedule's zone; None when nobody has said when TWS restarts."""

    restart_at: time | None = None
    schedule: Schedule = attrs.Factory(Schedule)

    def window(self, at: datetime) -> ResetWindow | None:
        """The window that `at` lies in, the one that ends last; from a minute before it begins."""
        near = (each for each in self._near(at) if each.begins - LEAD <= at < each.ends)
        return max(near, key=lambda each: each.ends, default=None)

    def why_no_risk(self, at: datetime, up_since: datetime | None) -> str:
        """Why nothing new is to be risked at `at`, as a sentence; empty when it may be.

        `up_since`: since when the link has been up and reconciled. After a restart that is over sooner than
        its window, nothing has to wait for the window.
        """
        for each in self._near(at):
            if not each.begins - LEAD <= at < each.ends:
                continue
            back = each.is_restart and up_since is not None and up_since >= each.begins
            if not back:
                return f"{each.name}: no new risk"
        return ""

    def excuses(self, at: datetime, *, holding: bool) -> ResetWindow | None:
        """The window in which a link that is down is no news; there is none while positions are open
        (`holding`) in a session that is open."""
        found = self.window(at)
        watched = holding and phase(self.schedule, at) is not DayPhase.CLOSED
        return None if found is None or at < found.begins or watched else found

    def _near(self, at: datetime) -> Iterator[ResetWindow]:
        """The windows that begin on this day or the ones beside it."""
        today = at.astimezone(_zone(IBKR_ZONE)).date()
        for days in (-1, 0, 1):
            yield from _resets(today + timedelta(days=days))
        if self.restart_at is not None:
            zone = _zone(self.schedule.zone)
            local = at.astimezone(zone).date()
            for days in (-1, 0, 1):
                yield _restart(local + timedelta(days=days), self.restart_at, zone)


@lru_cache(maxsize=16)
def _resets(day: date) -> tuple[ResetWindow, ...]:
    """Those of IBKR that begin on a day of New York."""
    zone, found = _zone(IBKR_ZONE), []
    if day.weekday() != SATURDAY:
        found.append(_window(day, NIGHTLY, "IBKR's nightly reset", zone))
    if day.weekday() == FRIDAY:
        found.append(_window(day, WEEKEND, "IBKR's weekend reset", zone))
    return tuple(found)


def _window(day: date, times: tuple[time, time], name: str, zone: ZoneInfo) -> ResetWindow:
    begin, end = times
    last_day = day if begin < end else day + timedelta(days=1)
    begins, ends = datetime.combine(day, begin, zone), datetime.combine(last_day, end, zone)
    text = f"{name} until {end:%H:%M} New York time"
    return ResetWindow(begins.astimezone(UTC), ends.astimezone(UTC), text)


def _restart(day: date, at: time, zone: ZoneInfo) -> ResetWindow:
    begins = datetime.combine(day, at, zone).astimezone(UTC)
    return ResetWindow(begins, begins + RESTART_TAKES, f"the daily restart of TWS at {at:%H:%M}", True)


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
