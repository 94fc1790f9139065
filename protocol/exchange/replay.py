"""The market on its way to the simulated TWS: ticks and turns of the trading day, merged by time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from protocol.exchange.calendar import Session
from protocol.exchange.happenings import MarketTick
from protocol.exchange.market import Market
from protocol.exchange.replay_clock import Boundary, boundaries

WARM_UP = timedelta(minutes=5)
"""Ticks of so much market time before a replay's start make its first quotes."""


def sessions_from(market: Market, at: datetime) -> Iterator[Session]:
    """The session in progress at `at` and all that follow; endless in an endless market."""
    session = market.session_after(at)
    while session is not None:
        yield session
        session = market.session_after(session.end)


class Replay:
    """What comes next of a market, from `start` on. Its ticks can be looked at before they are taken."""

    def __init__(self, market: Market, start: datetime) -> None:
        self._market, self._reached = market, start
        self._ticks: Iterator[MarketTick] | None = None
        self._tick: MarketTick | None = None
        self._boundaries = boundaries(sessions_from(market, start))
        self._boundary = next(self._boundaries, None)

    def pass_time(self, at: datetime) -> None:
        """It is `at`, everything due by then is taken: a market that begins to tick does so from here on."""
        self._reached = max(self._reached, at)

    @property
    def next_tick(self) -> MarketTick | None:
        # An endless market without a symbol would be searched for ever for its first tick.
        if self._tick is None and self._ticks is None and self._market.symbols:
            self._ticks = self._market.ticks(self._reached)
            self._tick = next(self._ticks, None)
        return self._tick

    @property
    def next_at(self) -> datetime | None:
        """When the next thing happens; None when nothing does any more (or not before a symbol is added)."""
        tick, boundary = self.next_tick, self._boundary
        if tick is None:
            return None if boundary is None else boundary.at
        return tick.at if boundary is None else min(tick.at, boundary.at)

    @property
    def exhausted(self) -> bool:
        """The market is over: there is neither a tick nor a turn to come."""
        return self.next_at is None

    def take(self) -> MarketTick | Boundary | None:
        """The next thing. At the same time a turn of the day comes before the ticks."""
        tick, boundary = self.next_tick, self._boundary
        if boundary is not None and (tick is None or boundary.at <= tick.at):
            self._boundary = next(self._boundaries, None)
            return boundary
        if tick is not None and self._ticks is not None:
            self._tick = next(self._ticks, None)
        return tick
