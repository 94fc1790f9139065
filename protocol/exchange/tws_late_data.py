"""Delayed market data: the ticks of some contracts once more, so many minutes later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta

from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import MarketTick
from protocol.exchange.listings import Listing
from protocol.exchange.tws_clients import Said
from protocol.exchange.tws_floor import Floor
from protocol.exchange.tws_market_data import DELAYED_KINDS, Line, MarketDataLines
from protocol.tws.messages import ServerMessage


class LateData:
    """Contracts are kept late from their first delayed line on; what was before comes from their past."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._delay = timedelta(seconds=floor.settings.delay_s)
        self.lines = MarketDataLines(DELAYED_KINDS, floor.settings.tick_gather_s)
        self._waiting: dict[str, deque[MarketTick]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def start(self, line: Line, listing: Listing, at: datetime) -> Iterator[ServerMessage]:
        self._keep_late(listing, at)
        return self.lines.start(line, at)

    def snapshot(self, line: Line, listing: Listing, at: datetime) -> Iterator[ServerMessage]:
        self._keep_late(listing, at)
        return self.lines.snapshot(line, at)

    def take_tick(self, tick: MarketTick) -> None:
        waiting = self._waiting.get(tick.symbol)
        if waiting is not None:
            waiting.append(tick)

    def advance(self, at: datetime) -> list[tuple[int, Said]]:
        """What is said of ticks that are old enough by now."""
        told: list[tuple[int, Said]] = []
        for waiting in self._waiting.values():
            while waiting and waiting[0].at <= at - self._delay:
                told += self.lines.take_tick(waiting.popleft())
        told += self.lines.flush(at)
        return told

    def _keep_late(self, listing: Listing, at: datetime) -> None:
        key = contract_key(listing.contract)
        if key in self._waiting:
            return
        waiting = self._waiting[key] = deque()
        quote, then = self.lines.quote(key), at - self._delay
        quote.close = self._floor.quote(listing).close
        session = self._floor.market.session_after(then)
        if session is None or at <= session.start:
            return
        for tick in self._floor.book.ticks(listing, session, max(session.start, then - self._delay), at):
            if tick.at <= then:
                quote.absorb(tick)
            else:
                waiting.append(tick)
