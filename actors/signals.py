"""The signal source that polls an options-flow API.

Each ticker has its own task and its own place in its poll interval. Market time drives the interval, the
rate limits and the age of signals; loop time drives deadlines and backoff. Whatever the service does, the
source stays up and says so (`actors/flow_access.py`): trading goes on without it. What it brings is judged,
journalled and remembered by the desk (`actors/signal_desk.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import attrs
import trio

from actors.flow_access import MACHINE_ALLOWANCE_LOOP_S, FlowAccess
from actors.flow_client import FetchOutcome, FlowClient, check_api_key, check_base_url
from actors.flow_figures import FlowFigures
from actors.flow_pages import fetch_all
from actors.market_clock import MarketClock
from actors.signal_desk import CHUNK, SignalDesk, SourceStatistics
from protocol.circuit_breaker import CircuitBreaker
from protocol.predictions import ticker_of, timestamp_of
from protocol.source_settings import FlowThreshold, HttpSource

MAX_POLLS_PER_LOOP_S = 100.0
"""A poll costs 2 to 3 ms of the machine, both ends: no replay is so fast that polling may starve trading."""
AGE_GRACE_S = 30.0
"""What a signal's age may exceed the poll interval by, unless the configuration says otherwise."""
LOOK_BACK_S = 3600.0
"""How far back the first poll of a fresh journal asks."""
CLOCK_GLANCE_LOOP_S = 0.02
"""Until the broker has said the time nothing can be polled; afterwards every signal already ages."""
RETRY_LOOP_S = 0.1


@attrs.define
class _Watch:
    """What the source knows of one ticker. `seen_until`: the newest stamp it was given, in market time."""

    seen_until: datetime | None = None
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)


class HttpSignalSource:
    """One polled service and the tickers that it is asked about; they may change while it runs."""

    def __init__(
        self,
        settings: HttpSource,
        api_key: str,
        *,
        desk: SignalDesk,
        clock: MarketClock,
        tickers: Iterable[str],
        random: Random | None = None,
        thresholds: Sequence[FlowThreshold] = (),
        look_back_s: float = LOOK_BACK_S,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        """`tickers`: whose predictions are asked for, also those that nobody trades and that get a verdict.

        ValueError when the URL or the key cannot be used; neither is in the text.
        """
        check_api_key(api_key)
        self._base_url = check_base_url(settings.url)
        self._settings, self._api_key = settings, api_key
        self._desk, self._clock = desk, clock
        self._look_back_s = look_back_s
        random = random if random is not None else Random(settings.name)
        breaker = breaker if breaker is not None else CircuitBreaker()
        self._access = FlowAccess(settings.name, desk=desk, clock=clock, random=random, breaker=breaker)
        self._figures = FlowFigures(settings, thresholds, access=self._access, desk=desk, clock=clock)
        self._watches = {ticker: _Watch() for ticker in sorted(set(tickers))}
        self._client: FlowClient | None = None
        self._nursery: trio.Nursery | None = None
        self._throttled = False
        self._received = self._repeated = 0

    @property
    def tickers(self) -> tuple[str, ...]:
        return tuple(self._watches)

    def statistics(self) -> SourceStatistics:
        return SourceStatistics(
            polls=self._access.requests,
            received=self._received,
            repeated=self._repeated,
            troubles=self._access.troubles,
        )

    def health(self) -> tuple[str, str]:
        return self._access.health()

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Poll until cancelled. `epoch` counts the starts of this actor."""
        del epoch  # nothing that this actor sends could be confused with what an earlier one sent
        await self._desk.recover()
        async with FlowClient(self._base_url, self._api_key) as client:
            task_status.started()
            while not self._clock.known:
                await trio.sleep(CLOCK_GLANCE_LOOP_S)
            least_s = min(
                (self._max_age_s(ticker) for ticker in self._watches), default=self._settings.poll_s
            )
            self._desk.hand_on(self._settings, max_age_s=least_s, allowance_s=self._allowance_s(""))
            try:
                self._client = client
                await self._poll_for_ever(client)
            finally:
                self._client = self._nursery = None

    async def _poll_for_ever(self, client: FlowClient) -> None:
        begin = self._clock.now()
        self._figures.count(self._watches)
        async with trio.open_nursery() as self._nursery:
            for place, (ticker, watch) in enumerate(self._watches.items()):
                share = place / len(self._watches)
                watch.scope = trio.CancelScope()
                self._nursery.start_soon(self._watch, client, ticker, watch, begin, share)
            # Without any ticker it still runs: some may be added.
            await trio.sleep_forever()

    def set_tickers(self, tickers: Iterable[str]) -> None:
        """Ask for these from now on. What is known of a ticker that stays is kept."""
        wanted = sorted(set(tickers))
        for ticker in [ticker for ticker in self._watches if ticker not in wanted]:
            self._watches.pop(ticker).scope.cancel()
            self._access.forget([ticker])
        added = [ticker for ticker in wanted if ticker not in self._watches]
        for ticker in added:
            watch = self._watches[ticker] = _Watch()
            if self._nursery is not None and self._client is not None:
                self._nursery.start_soon(self._watch, self._client, ticker, watch, self._clock.now(), 0.0)
        self._watches = dict(sorted(self._watches.items()))
        self._figures.count(self._watches)

    async def drain(self, deadline_loop_s: float = 10.0) -> tuple[str, ...]:
        """Poll every ticker once more, now; the tickers for which that failed until the deadline.

        The own budget is not asked, but what the service refuses is tried again.
        """
        left = set(self._watches)
        with trio.move_on_after(deadline_loop_s):
            while left and self._client is not None and self._clock.known:
                async with trio.open_nursery() as nursery:
                    for ticker in sorted(left):
                        nursery.start_soon(self._drain_one, self._client, ticker, left)
                if left:
                    await trio.sleep(RETRY_LOOP_S)
        return tuple(sorted(left))

    # --- when -------------------------------------------------------------------------------------

    async def _watch(
        self, client: FlowClient, ticker: str, watch: _Watch, begin: datetime, share: float
    ) -> None:
        """Everything about one ticker, from `begin` on; `share` of each interval is its place in it."""
        with watch.scope:
            async with trio.open_nursery() as nursery:
                for data in self._figures.of(ticker):
                    due = begin + timedelta(seconds=self._settings.data_poll_s * share)
                    nursery.start_soon(self._figures.follow, client, ticker, data, due)
                await self._follow(client, ticker, begin + timedelta(seconds=self._poll_s(ticker) * share))

    async def _follow(self, client: FlowClient, ticker: str, due: datetime) -> None:
        while True:
            await self._access.wait_until(due)
            await self._access.wait_for_turn(ticker, self._access.light)
            async with self._access.in_flight:
                await self._poll(client, ticker)
            due = self._next_due(ticker, due)

    async def _drain_one(self, client: FlowClient, ticker: str, left: set[str]) -> None:
        async with self._access.in_flight:
            self._access.light.window.take(self._clock.now())
            if await self._poll(client, ticker):
                left.discard(ticker)

    def _next_due(self, ticker: str, due: datetime) -> datetime:
        """The next time in this ticker's own rhythm: missed polls are not made up for."""
        interval_s = self._interval_s(ticker)
        late_s = max(0.0, (self._clock.now() - due).total_seconds())
        return due + timedelta(seconds=interval_s * (1 + math.floor(late_s / interval_s)))

    def _poll_s(self, ticker: str) -> float:
        return next(
            (own_s for name, own_s in self._settings.poll_of if name == ticker), self._settings.poll_s
        )

    def _interval_s(self, ticker: str) -> float:
        """The poll interval, longer where the service's limit or the machine cannot bear it."""
        poll_s = self._poll_s(ticker)
        wanted_per_min = sum(60 / self._poll_s(each) for each in self._watches)
        stretch = max(1.0, wanted_per_min / self._access.light.window.limit)
        if stretch > 1 and not self._throttled:
            self._throttled = True
            text = f"{self._settings.name}: polling every {poll_s * stretch:.0f} s"
            self._desk.alarm("signals_throttled", f"{text}, the service allows no more")
        return max(poll_s * stretch, self._machine_interval_s())

    def _machine_interval_s(self) -> float:
        return len(self._watches) / MAX_POLLS_PER_LOOP_S * self._clock.speed

    def _max_age_s(self, ticker: str) -> float:
        own_s = self._settings.max_age_s
        return own_s if own_s is not None else self._poll_s(ticker) + AGE_GRACE_S

    def _allowance_s(self, ticker: str) -> float:
        stretched_s = max(0.0, self._machine_interval_s() - self._poll_s(ticker))
        return stretched_s + MACHINE_ALLOWANCE_LOOP_S * self._clock.speed

    # --- one poll ---------------------------------------------------------------------------------

    async def _poll(self, client: FlowClient, ticker: str) -> bool:
        """Ask for what is new and take it; whether the whole of it came."""
        bodies, trouble = await fetch_all(partial(self._fetch, client, ticker), self._since(ticker))
        await self._take(ticker, bodies, whole=trouble is None)
        self._access.settle(ticker, trouble)
        return trouble is None

    def _since(self, ticker: str) -> datetime | None:
        """From where to ask: what may still be acted on is asked for again, since it may have come late."""
        now, watch = self._clock.now(), self._watches.get(ticker)
        overlap = timedelta(seconds=self._max_age_s(ticker))
        if watch is not None and watch.seen_until is not None:
            return min(now, watch.seen_until) - overlap
        if not math.isfinite(self._look_back_s):
            return None
        # After a restart, also what was missed meanwhile.
        heard_at = self._desk.heard_at or now
        return min(now - timedelta(seconds=self._look_back_s), heard_at - overlap)

    async def _fetch(
        self, client: FlowClient, ticker: str, start: str | None, end: str | None
    ) -> FetchOutcome:
        # The first page was admitted with the poll, further ones are rare: the part of the limit that
        # polls leave free is theirs.
        request = partial(client.fetch_predictions, ticker, start, end)
        return await self._access.ask(self._access.light, request)

    # --- what came --------------------------------------------------------------------------------

    async def _take(self, ticker: str, bodies: Sequence[object], *, whole: bool) -> None:
        """Judge and hand on what came, oldest first. Only a whole answer moves the point to ask from."""
        for number, body in enumerate(sorted(bodies, key=lambda body: timestamp_of(body) or 0.0), start=1):
            named = ticker_of(body)
            if named is not None and named != ticker and named in self._watches:
                # Its own poll brings it, if the service means it.
                continue
            self._take_one(ticker, body)
            stamp = timestamp_of(body)
            if whole and stamp is not None:
                self._note_stamp(ticker, datetime.fromtimestamp(stamp / 1000, UTC))
            if number % CHUNK == 0:
                await trio.lowlevel.checkpoint()

    def _take_one(self, ticker: str, body: object) -> None:
        judgement = self._desk.take(
            body,
            self._settings,
            max_age_s=self._max_age_s(ticker),
            allowance_s=self._allowance_s(ticker),
        )
        if judgement.events:
            self._received += 1
        else:
            self._repeated += 1

    def _note_stamp(self, ticker: str, stamp: datetime) -> None:
        """A stamp from the future moves nothing: it would hide what comes before it."""
        watch = self._watches.get(ticker)
        if watch is None or stamp > self._clock.now():
            return
        if watch.seen_until is None or stamp > watch.seen_until:
            watch.seen_until = stamp
