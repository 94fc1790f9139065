"""Injected deaths: crashes symbol actors at the moments they were ordered for, and keeps the record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs
import trio

from actors.child import Killed
from actors.market_clock import MarketClock
from actors.symbol import SymbolActor
from protocol.events import BaseEvent
from protocol.kills import KillOrder
from protocol.report import Kill
from protocol.values import Symbol


@attrs.define
class _Death:
    symbol: Symbol
    at: datetime
    position: int
    loop_s: float
    ready_after_ms: float | None = None


class Kills:
    """`probe` is called by every symbol actor after each step; orders for one symbol fire one by one."""

    def __init__(self, orders: Sequence[KillOrder], clock: MarketClock) -> None:
        self._waiting: dict[Symbol, list[KillOrder]] = {}
        for order in orders:
            self._waiting.setdefault(order.symbol, []).append(order)
        self._clock = clock
        self._since: dict[Symbol, datetime] = {}
        self._deaths: list[_Death] = []
        self._recovering: dict[Symbol, list[_Death]] = {}

    def probe(self, actor: SymbolActor, events: tuple[BaseEvent, ...]) -> None:
        """Note that a killed actor is ready again, and kill it when its next order is due."""
        symbol = actor.symbol
        if actor.ready:
            for death in self._recovering.pop(symbol, ()):
                death.ready_after_ms = (trio.current_time() - death.loop_s) * 1000
        waiting = self._waiting.get(symbol)
        if not waiting or not self._clock.known:
            return
        now = self._clock.now()
        since = self._since.setdefault(symbol, now)
        order = waiting[0]
        recovering = not actor.ready and not events
        if not order.is_due(events, recovering=recovering, at=now, since=since):
            return
        waiting.pop(0)
        self._since[symbol] = now
        quantity = actor.state.position.quantity
        death = _Death(symbol, now, quantity, trio.current_time())
        self._deaths.append(death)
        # A recovery that is cut short is over only when a later one is: until then all its deaths wait.
        self._recovering.setdefault(symbol, []).append(death)
        raise Killed(f"killed on command: {order}")

    def record(self) -> tuple[Kill, ...]:
        return tuple(Kill(d.symbol, d.at, d.position, d.ready_after_ms) for d in self._deaths)

    def pending(self) -> tuple[KillOrder, ...]:
        """Orders whose moment never came."""
        return tuple(order for waiting in self._waiting.values() for order in waiting)
