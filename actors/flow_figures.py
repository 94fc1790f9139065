"""Trades and divergence of a polled service, asked for where a threshold looks at them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial

import trio

from actors.flow_access import MACHINE_ALLOWANCE_LOOP_S, FlowAccess
from actors.flow_client import FetchOutcome, FlowClient
from actors.flow_pages import fetch_all
from actors.market_clock import MarketClock
from actors.signal_desk import SignalDesk
from protocol.flow_thresholds import DATA, ThresholdWatch, stamp_of_row
from protocol.source_settings import FlowThreshold, HttpSource

LOOK_BACK_S = 900.0
"""How far back the first poll asks: enough to know on which side of its limits a figure stands."""
AGE_GRACE_S = 30.0
"""What a crossing's age may exceed the poll interval by."""
MAX_FAULTS_TOLD = 32
"""Kinds of bad rows that one source says in its life."""


class FlowFigures:
    """One source's. Its polls are heavy ones and never take from the budget of the predictions."""

    def __init__(
        self,
        settings: HttpSource,
        thresholds: Iterable[FlowThreshold],
        *,
        access: FlowAccess,
        desk: SignalDesk,
        clock: MarketClock,
    ) -> None:
        self._settings, self._access, self._desk, self._clock = settings, access, desk, clock
        self._watch = ThresholdWatch(thresholds, source=settings.name)
        self._polled = {"trades": settings.trades, "divergence": settings.divergence}
        self._told: set[str] = set()
        self.pairs = 0
        """Tickers times end points that are polled: they share what the service allows."""

    def of(self, ticker: str) -> tuple[str, ...]:
        """The end points that are asked about `ticker`."""
        return tuple(data for data in DATA if self._polled[data] and self._watch.watched(data, ticker))

    def count(self, tickers: Iterable[str]) -> None:
        """These tickers are polled from now on."""
        self.pairs = sum(len(self.of(ticker)) for ticker in tickers)

    async def follow(self, client: FlowClient, ticker: str, data: str, due: datetime) -> None:
        """Poll one end point about one ticker for ever."""
        key = f"{ticker} {data}"
        while True:
            await self._access.wait_until(due)
            await self._access.wait_for_turn(key, self._access.heavy)
            async with self._access.in_flight:
                await self._poll(client, ticker, data, key)
            late_s = max(0.0, (self._clock.now() - due).total_seconds())
            interval_s = self._interval_s()
            due += timedelta(seconds=interval_s * (1 + math.floor(late_s / interval_s)))

    def _interval_s(self) -> float:
        """Longer than asked for where the service's limit does not allow more."""
        poll_s = self._settings.data_poll_s
        return max(poll_s, 60.0 * self.pairs / self._access.heavy.window.limit)

    async def _poll(self, client: FlowClient, ticker: str, data: str, key: str) -> None:
        since = self._watch.newest_at(data, ticker)
        since = since or self._clock.now() - timedelta(seconds=LOOK_BACK_S)
        rows, trouble = await fetch_all(
            partial(self._fetch, client, data, ticker), since, stamp_of=stamp_of_row
        )
        self._take(data, ticker, rows)
        self._access.settle(key, trouble)
        await trio.lowlevel.checkpoint()

    async def _fetch(
        self, client: FlowClient, data: str, ticker: str, start: str | None, end: str | None
    ) -> FetchOutcome:
        fetch = client.fetch_trades if data == "trades" else client.fetch_divergence
        return await self._access.ask(self._access.heavy, partial(fetch, ticker, start, end))

    def _take(self, data: str, ticker: str, rows: Sequence[object]) -> None:
        max_age_s = self._interval_s() + AGE_GRACE_S + MACHINE_ALLOWANCE_LOOP_S * self._clock.speed
        taken = self._watch.take(data, ticker, rows, at=self._clock.now(), max_age_s=max_age_s)
        for fault in taken.faults:
            self._tell(f"{data}: {fault}")
        for event in taken.events:
            self._desk.take_flow(event)

    def _tell(self, fault: str) -> None:
        if fault not in self._told and len(self._told) < MAX_FAULTS_TOLD:
            self._told.add(fault)
            self._desk.alarm("signals_bad_rows", f"{self._settings.name}: {fault}; it counts for nothing")
