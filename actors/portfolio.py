"""The portfolio actor: the owner of rules over all symbols. It looks, and asks symbols to flatten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import trio

from actors.market_clock import MarketClock
from protocol.events import BaseEvent, PeerAskedEvent
from protocol.portfolio import (
    Holding,
    PortfolioState,
    PortfolioView,
    evolve_portfolio,
    watch_portfolio,
)
from protocol.rules.rule import Rule
from protocol.settings import Schedule

STREAM: Final = "portfolio"
LOOK_EVERY_S: Final = 1.0
"""Market seconds between two looks, but …"""
LEAST_PAUSE_LOOP_S: Final = 0.02
"""… in a fast replay not more often than this."""


class Journal(Protocol):
    def append(self, stream: str, events: Sequence[BaseEvent]) -> None: ...
    def read(self, stream: str | None = None) -> Iterator[BaseEvent]: ...


class Portfolio:
    """`holdings` tells what the symbols hold now; `ask` is how symbols are asked for something."""

    def __init__(
        self,
        rules: tuple[Rule, ...],
        schedule: Schedule,
        *,
        journal: Journal,
        clock: MarketClock,
        holdings: Callable[[datetime], tuple[tuple[Holding, ...], Decimal | None]],
        ask: Callable[[PeerAskedEvent], None],
    ) -> None:
        self.rules, self._schedule = rules, schedule
        self._journal, self._clock, self._holdings, self._ask = journal, clock, holdings, ask
        self._state = PortfolioState()
        self._wanted = trio.Event()

    def use(self, rules: tuple[Rule, ...]) -> None:
        """Other rules from now on."""
        self.rules = rules
        self._wanted.set()
        self._wanted = trio.Event()

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        del epoch  # it asks symbols, who decide for themselves
        self._state = PortfolioState()
        for event in self._journal.read(STREAM):
            self._state = evolve_portfolio(self._state, event)
        task_status.started()
        while True:
            if not self.rules:
                await self._wanted.wait()
            if self._clock.known:
                self.look()
            await trio.sleep(max(LOOK_EVERY_S / self._clock.speed, LEAST_PAUSE_LOOP_S))

    def look(self) -> None:
        """Look once: decide, journal, evolve, ask."""
        at = self._clock.now()
        holdings, equity = self._holdings(at)
        view = PortfolioView(at, holdings, equity, self._schedule)
        self._state, events = watch_portfolio(self._state, self.rules, view)
        if not events:
            return
        self._journal.append(STREAM, events)
        for event in events:
            self._state = evolve_portfolio(self._state, event)
            if isinstance(event, PeerAskedEvent):
                self._ask(event)


def same_day(one: datetime, other: datetime, zone: str) -> bool:
    """Whether both are the same day of the exchange."""
    return one.astimezone(ZoneInfo(zone)).date() == other.astimezone(ZoneInfo(zone)).date()
