"""Market time on the machine's own clock.

The broker says what time it is (message 49); from there market time is carried on at `speed` times the
loop's clock. It never runs backwards: a later word of the broker that lies before what was already
handed out holds the clock still until it is overtaken. Under trio's mock clock it is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf

import trio


class MarketClock:
    """One per run, shared by all actors. `speed` is market seconds per loop second."""

    def __init__(self, speed: float = 1.0, start: datetime | None = None) -> None:
        if speed <= 0:
            raise ValueError(f"the speed of a market clock is positive, got {speed}")
        self.speed = speed
        self._anchor_market = start if start is not None else datetime.fromtimestamp(0, UTC)
        self._anchor_loop: float | None = None
        self._latest = self._anchor_market
        self._looked_loop_s = -inf
        self._followers: list[Callable[[], None]] = []

    def follow(self, follower: Callable[[], None]) -> None:
        """Call `follower` whenever the clock is set: a moment that was far ahead may have come."""
        self._followers.append(follower)

    @property
    def known(self) -> bool:
        """Whether the broker has said the time yet."""
        return self._anchor_loop is not None

    def now(self) -> datetime:
        if self._anchor_loop is None:
            return self._latest
        loop_s = trio.current_time()
        if loop_s == self._looked_loop_s:
            return self._latest  # on a mock clock, many ask at one moment
        self._looked_loop_s = loop_s
        elapsed_s = (loop_s - self._anchor_loop) * self.speed
        now = self._anchor_market + timedelta(seconds=elapsed_s)
        if now < self._latest:
            return self._latest
        self._latest = now
        return now

    def set(self, market: datetime) -> None:
        """The broker says that it is `market` now."""
        self._anchor_market, self._anchor_loop = market, trio.current_time()
        self._latest, self._looked_loop_s = max(self._latest, market), -inf
        for follower in self._followers:
            follower()

    def advance_to(self, market: datetime) -> None:
        """Something stamped `market` was seen: it is at least that late (a replay skips closed hours)."""
        if market > self.now():
            self.set(market)

    def loop_time_of(self, market: datetime) -> float:
        """The loop's time at which it will be `market`, as far as is known now."""
        return trio.current_time() + (market - self.now()).total_seconds() / self.speed
