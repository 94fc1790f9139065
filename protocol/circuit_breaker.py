"""When a service is left alone: after so many failures in a row one request asks it, and only now and then.

Closed, everybody may ask. Open, nobody may until a wait is over, which doubles each time. Half open, one
request may try for all: its success closes the breaker, its failure opens it again.
"""

from __future__ import annotations

import enum
from random import Random

OPENS_AFTER = 6
"""Failures in a row, of whatever tickers: fewer are a bad moment, and have their own backoff."""
LEAST_WAIT_LOOP_S = 5.0
MOST_WAIT_LOOP_S = 60.0
JITTER = 0.2
PROBE_LOOP_S = 15.0
"""After so long without an answer the next request may try: whoever tried may have been stopped."""


class BreakerState(enum.Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """One service's. All times are the loop's; the first wait is `least_wait_loop_s`."""

    __slots__ = ("_failures", "_least_wait_loop_s", "_openings", "_retry_at_loop", "_state")

    def __init__(self, least_wait_loop_s: float = LEAST_WAIT_LOOP_S) -> None:
        self._least_wait_loop_s = least_wait_loop_s
        self._state = BreakerState.CLOSED
        self._failures = 0
        self._openings = 0
        self._retry_at_loop = 0.0

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def retry_at_loop(self) -> float:
        """When the next request may try; of no meaning while it is closed."""
        return self._retry_at_loop

    def may_ask(self, loop_s: float) -> bool:
        """Whether a request may leave now. Where it is not closed, a yes is for one request only."""
        if self._state is BreakerState.CLOSED:
            return True
        if loop_s < self._retry_at_loop:
            return False
        self._state = BreakerState.HALF_OPEN
        self._retry_at_loop = loop_s + PROBE_LOOP_S
        return True

    def note_failure(self, loop_s: float, random: Random) -> bool:
        """Whether the breaker opens with it, having been closed."""
        self._failures += 1
        was = self._state
        if was is BreakerState.OPEN or (was is BreakerState.CLOSED and self._failures < OPENS_AFTER):
            return False
        self._state = BreakerState.OPEN
        self._openings += 1
        doublings = min(self._openings - 1, 16)
        wait_loop_s: float = min(MOST_WAIT_LOOP_S, self._least_wait_loop_s * 2.0**doublings)
        self._retry_at_loop = loop_s + wait_loop_s * (1 + JITTER * random.random())
        return was is BreakerState.CLOSED

    def note_success(self) -> bool:
        """Whether the breaker closes with it."""
        was, self._state = self._state, BreakerState.CLOSED
        self._failures = self._openings = 0
        return was is not BreakerState.CLOSED
