"""The timer actor: wakes symbols at the market times that they asked for.

One for all, so that a symbol needs no task beside the one that reads its mailbox. What was asked outlives
a restart of it; a wake that comes twice or late harms nobody, since symbols look at the clock themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime

import trio

from actors.market_clock import MarketClock
from protocol.values import Symbol


class Timers:
    """At most one wake for each symbol: the earliest that it asked for last."""

    def __init__(self, clock: MarketClock, wake: Callable[[Symbol, datetime], None]) -> None:
        self._clock, self._wake = clock, wake
        self._due: dict[Symbol, datetime] = {}
        self._next_loop = math.inf
        self._sooner = trio.Event()
        # A replay may skip hours at any moment: then what lay far ahead may be due at once.
        clock.follow(self._look_again)

    def set(self, symbol: Symbol, at: datetime | None) -> None:
        """Wake `symbol` at `at` and not at what it asked for before; None: not at all."""
        if at is None:
            self._due.pop(symbol, None)
            return
        self._due[symbol] = at
        if self._clock.loop_time_of(at) < self._next_loop:
            self._sooner.set()

    def _look_again(self) -> None:
        self._sooner.set()

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        del epoch  # it commands nobody
        task_status.started()
        while True:
            now = self._clock.now()
            for symbol in [symbol for symbol, at in self._due.items() if at <= now]:
                # Taken out first: the woken one asks anew in this very call.
                del self._due[symbol]
                self._wake(symbol, now)
            self._sooner = trio.Event()
            earliest = min(self._due.values(), default=None)
            loop_now = trio.current_time()
            self._next_loop = math.inf if earliest is None else self._clock.loop_time_of(earliest)
            with trio.move_on_at(max(self._next_loop, loop_now)):
                await self._sooner.wait()
