"""How many requests a client may make in a second, and what it hears when it makes more."""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import Final

import attrs

RATE_CODE: Final = 100
NEAR: Final = 0.88
"""The part of the limit from which on TWS warns (capture: 44 of 50)."""
WARNINGS_BEFORE_DROP: Final = 3
"""Requests refused within one window, the last of which ends the connection (TWS: "several")."""
PACE_OPTION: Final = "+PACEAPI"
"""A client that connects with it is slowed down instead of being refused."""
_WINDOW_S: Final = 1.0


class Pace(enum.Enum):
    ALLOWED = "allowed"
    NEAR_LIMIT = "near_limit"
    """Allowed, with a warning."""
    REFUSED = "refused"
    LAST_REFUSED = "last_refused"
    """Refused, and the connection ends."""


@attrs.frozen
class Paced:
    """What becomes of one request: `text` belongs to error 100, empty when nothing is said; `wait_s`: the
    request is taken only after so many seconds."""

    pace: Pace
    text: str = ""
    wait_s: float = 0.0

    @property
    def taken(self) -> bool:
        return self.pace in (Pace.ALLOWED, Pace.NEAR_LIMIT)

    @property
    def ends(self) -> bool:
        return self.pace is Pace.LAST_REFUSED


_ALLOWED = Paced(Pace.ALLOWED)


class RequestPace:
    """The requests of one connection within the last second; `now_s` is any clock that only goes forward."""

    def __init__(self, limit: int | None, options: str = "") -> None:
        """`limit` None: any number. `options`: what the client added to its hello."""
        self._limit, self._queues = limit, PACE_OPTION in options.split()
        self._recent_s: deque[float] = deque()
        self._refused_s: deque[float] = deque()
        self._warned_s = -math.inf

    def take(self, now_s: float) -> Paced:
        limit = self._limit
        if limit is None:
            return _ALLOWED
        for recent in (self._recent_s, self._refused_s):
            while recent and now_s - recent[0] >= _WINDOW_S:
                recent.popleft()
        if len(self._recent_s) < limit:
            self._recent_s.append(now_s)
            return self._near(now_s, limit)
        if self._queues:
            free_s = self._recent_s[-limit] + _WINDOW_S
            self._recent_s.append(free_s)
            return Paced(Pace.ALLOWED, wait_s=free_s - now_s)
        self._refused_s.append(now_s)
        count = len(self._refused_s)
        text = (
            f"Max rate of messages per second has been exceeded:max={limit} "
            f"rec={len(self._recent_s) + count} ({count})"
        )
        last = count >= WARNINGS_BEFORE_DROP
        return Paced(Pace.LAST_REFUSED if last else Pace.REFUSED, text)

    def _near(self, now_s: float, limit: int) -> Paced:
        count = len(self._recent_s)
        if count < math.ceil(limit * NEAR) or now_s - self._warned_s < _WINDOW_S:
            return _ALLOWED
        self._warned_s = now_s
        return Paced(Pace.NEAR_LIMIT, f"Approaching max rate of {limit} messages per second ({count})")
