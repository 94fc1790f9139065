"""The clock of a replay: market time as a function of the machine's clock, without the closed hours.

Theory of operation. The market's sessions are widened to windows: a little before the opening, so that
clients are ready for it, and a little after the close, so that what the close brings about (expired day
orders, late polls) is seen. Windows follow each other without a gap in the machine's time. The market
time of a moment is found by laying the elapsed seconds, times the speed, along the windows.

Sessions may come from an endless iterator (the synthetic market); windows are made as they are reached.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import attrs

from protocol.exchange.calendar import Session, session_of

LEAD = timedelta(seconds=30)
"""Market time shown before a session's start."""
TAIL = timedelta(seconds=120)
"""Market time shown after a session's end."""


@attrs.frozen
class _Window:
    start: datetime
    end: datetime
    offset_s: float
    """Market seconds that the replay has run when the window begins."""


class ReplayClock:
    """Market time from the machine's; stands at its start until `begin`. `speed`: market seconds a second."""

    def __init__(self, sessions: Iterable[Session], *, speed: float, start: datetime | None = None) -> None:
        """`start`: the market time to begin at; None, or one in closed hours, means the next window."""
        if speed <= 0:
            raise ValueError(f"the speed of a replay is positive, got {speed}")
        self.speed = speed
        self._coming = _windows(sessions, start)
        self._windows: list[_Window] = []
        self._began_loop_s: float | None = None
        self._paused_loop_s: float | None = None
        if not self._reach_another():
            raise ValueError("the market has no session at or after the start of the replay")

    @property
    def start(self) -> datetime:
        return self._windows[0].start

    @property
    def begun(self) -> bool:
        return self._began_loop_s is not None

    def begin(self, loop_s: float) -> None:
        """Market time starts to run; later calls change nothing."""
        if self._began_loop_s is None:
            self._began_loop_s = loop_s

    @property
    def paused(self) -> bool:
        return self._paused_loop_s is not None

    def pause(self, loop_s: float) -> None:
        """Market time stands still until `go_on`; in a pause already, nothing changes."""
        if self._paused_loop_s is None:
            self._paused_loop_s = loop_s

    def go_on(self, loop_s: float) -> None:
        """Market time runs on from where it was paused."""
        if self._paused_loop_s is not None and self._began_loop_s is not None:
            self._began_loop_s += loop_s - max(self._paused_loop_s, self._began_loop_s)
        self._paused_loop_s = None

    def market_at(self, loop_s: float) -> datetime:
        """The market time that the replay should show at this moment of the machine's clock."""
        if self._began_loop_s is None:
            return self.start
        if self._paused_loop_s is not None:
            loop_s = max(self._began_loop_s, min(loop_s, self._paused_loop_s))
        run_s = (loop_s - self._began_loop_s) * self.speed
        while self._run_s_at_end() < run_s and self._reach_another():
            pass
        for window in reversed(self._windows):
            if run_s >= window.offset_s:
                return min(window.start + timedelta(seconds=run_s - window.offset_s), window.end)
        return self.start

    def loop_s_of(self, market: datetime) -> float | None:
        """When the replay shows this market time: its window's beginning for a time in closed hours.

        None when the replay has not begun, is paused, or is over by then.
        """
        if self._began_loop_s is None or self._paused_loop_s is not None:
            return None
        while self._windows[-1].end < market and self._reach_another():
            pass
        for window in self._windows:
            if market <= window.end:
                into_s = max((market - window.start).total_seconds(), 0.0)
                return self._began_loop_s + (window.offset_s + into_s) / self.speed
        return None

    def over_at(self, market: datetime) -> bool:
        """Whether the replay ends at this market time: no window goes on beyond it."""
        while self._windows[-1].end <= market and self._reach_another():
            pass
        return market >= self._windows[-1].end

    def _run_s_at_end(self) -> float:
        last = self._windows[-1]
        return last.offset_s + (last.end - last.start).total_seconds()

    def _reach_another(self) -> bool:
        window = next(self._coming, None)
        if window is None:
            return False
        offset_s = self._run_s_at_end() if self._windows else 0.0
        self._windows.append(_Window(window[0], window[1], offset_s))
        return True


def _windows(sessions: Iterable[Session], start: datetime | None) -> Iterator[tuple[datetime, datetime]]:
    """Sessions widened, from `start` on; where two overlap, the later one begins at the other's end."""
    reached = start
    for session in sessions:
        first, last = session.start - LEAD, session.end + TAIL
        if reached is not None:
            first = max(first, reached)
        if first >= last:
            continue
        yield first, last
        reached = last


class Turn(enum.Enum):
    """What changes at a boundary of the trading day."""

    OPENS = "opens"
    """Regular trading hours begin."""
    CLOSES = "closes"
    """Regular trading hours end."""
    DAY_ENDS = "day ends"
    """The last session of the day is over; all that was good for the day expires."""


@attrs.frozen
class Boundary:
    at: datetime
    turn: Turn


def boundaries(sessions: Iterable[Session]) -> Iterator[Boundary]:
    """The turns of the sessions in their order. Sessions that reach beyond the regular hours of their
    day are extended ones: the regular hours lie within."""
    for session in sessions:
        regular = session_of(session.day) or session
        yield Boundary(max(session.start, min(regular.start, session.end)), Turn.OPENS)
        yield Boundary(min(session.end, max(regular.end, session.start)), Turn.CLOSES)
        yield Boundary(session.end, Turn.DAY_ENDS)
