"""The signal source that polls an options-flow API: receive, journal, judge, hand on.

Each ticker has its own task and its own place in the poll interval. Market time drives the interval,
the rate limit and the age of signals; loop time drives deadlines and backoff. Whatever the service does,
the source stays up and says so once (an `AlarmEvent` for each kind of trouble, another when it is over):
trading goes on without it. The journal's stream `signals` is all that it remembers across a restart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Protocol

import attrs
import trio

from actors.flow_client import (
    Allowance,
    FetchOutcome,
    FlowClient,
    Trouble,
    check_api_key,
    check_base_url,
)
from actors.flow_pages import fetch_all
from actors.market_clock import MarketClock
from protocol.events import AlarmEvent, BaseEvent, PredictionSignalEvent
from protocol.predictions import ticker_of, timestamp_of
from protocol.rate_window import RateWindow
from protocol.signal_gate import GateLimits, Judgement, SeenSignals, judge, judge_again, unjudged
from protocol.source_health import SourceHealth
from protocol.source_settings import HttpSource

STREAM = "signals"
REQUESTS_PER_MIN = 30
"""The service's limit for light end points, until it says another one itself."""
BUDGET_SHARE = 0.9
"""Of the limit: the rest is for full pages, and for requests that arrive closer together than they left."""
MAX_POLLS_PER_LOOP_S = 100.0
"""A poll costs 2 to 3 ms of the machine, both ends: no replay is so fast that polling may starve trading."""
IN_FLIGHT = 4
AGE_GRACE_S = 30.0
"""What a signal's age may exceed the poll interval by, unless the configuration says otherwise."""
MACHINE_ALLOWANCE_LOOP_S = 0.25
"""What our own machine may add to a signal's age; at `--speed` X it counts X times in market time."""
LOOK_BACK_S = 3600.0
"""How far back the first poll of a fresh journal asks."""
GLANCE_LOOP_S = 0.5
"""A replay may skip hours at any moment: nobody sleeps longer than this without looking at the clock."""
CLOCK_GLANCE_LOOP_S = 0.02
"""Until the broker has said the time nothing can be polled; afterwards every signal already ages."""
RETRY_LOOP_S = 0.1
CHUNK = 100
"""Events or predictions between two checkpoints."""


class SignalJournal(Protocol):
    """What the source needs of the journal."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> object: ...

    def read(self, stream: str) -> Iterable[BaseEvent]: ...


@attrs.define
class SourceStatistics:
    """Counts since the source was made."""

    polls: int = 0
    received: int = 0
    repeated: int = 0
    troubles: int = 0


@attrs.define
class _Watch:
    """What the source knows of one ticker. `seen_until`: the newest stamp it was given, in market time."""

    seen_until: datetime | None = None
    not_before_loop: float = -math.inf


class HttpSignalSource:
    """One polled service. `deliver` takes each signal that passed the gate; it must not wait."""

    def __init__(
        self,
        settings: HttpSource,
        api_key: str,
        symbols: Iterable[str],
        *,
        journal: SignalJournal,
        deliver: Callable[[PredictionSignalEvent], None],
        clock: MarketClock,
        judged: Callable[[], Collection[str]] = frozenset,
        also_polled: Iterable[str] = (),
        random: Random | None = None,
        look_back_s: float = LOOK_BACK_S,
    ) -> None:
        """`judged`: the ids that have their verdict in another stream, asked for at each (re)start.

        `also_polled`: tickers that nobody trades, asked for so that their signals get a verdict too.
        ValueError when the URL or the key cannot be used; neither is in the text.
        """
        check_api_key(api_key)
        self._base_url = check_base_url(settings.url)
        self._settings, self._api_key = settings, api_key
        self._journal, self._deliver, self._clock, self._judged = journal, deliver, clock, judged
        self._random = random if random is not None else Random(settings.name)
        self._look_back_s = look_back_s
        traded = frozenset(symbols)
        max_age_s = settings.max_age_s if settings.max_age_s is not None else settings.poll_s + AGE_GRACE_S
        self._limits = GateLimits(traded, settings.min_confidence, max_age_s)
        self._watches = {ticker: _Watch() for ticker in sorted({*traded, *also_polled})}
        self._seen = SeenSignals()
        self._handed_on: set[str] = set()
        self._window = RateWindow(int(REQUESTS_PER_MIN * BUDGET_SHARE))
        self._hold_until = datetime.min.replace(tzinfo=UTC)
        self._in_flight = trio.CapacityLimiter(IN_FLIGHT)
        self._client: FlowClient | None = None
        self._health = SourceHealth()
        self._throttled = False
        self._statistics = SourceStatistics()

    def statistics(self) -> SourceStatistics:
        return attrs.evolve(self._statistics)

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover from the journal, then poll until cancelled. `epoch` counts the starts of this actor."""
        del epoch  # nothing that this actor sends could be confused with what an earlier one sent
        waiting = await self._recover()
        async with FlowClient(self._base_url, self._api_key) as client:
            task_status.started()
            while not self._clock.known:
                await trio.sleep(CLOCK_GLANCE_LOOP_S)
            self._hand_on_again(waiting)
            try:
                self._client = client
                await self._poll_for_ever(client)
            finally:
                self._client = None

    async def _poll_for_ever(self, client: FlowClient) -> None:
        begin, poll_s = self._clock.now(), self._settings.poll_s
        async with trio.open_nursery() as nursery:
            for place, ticker in enumerate(self._watches):
                due = begin + timedelta(seconds=poll_s * place / len(self._watches))
                nursery.start_soon(self._watch, client, ticker, due)

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

    # --- recovery ---------------------------------------------------------------------------------

    async def _recover(self) -> tuple[PredictionSignalEvent, ...]:
        """Rebuild what was seen; the receptions that still wait for a verdict, oldest first."""
        events: list[BaseEvent] = []
        self._seen = SeenSignals()
        heard_at: datetime | None = None
        for number, event in enumerate(self._journal.read(STREAM), start=1):
            self._seen.evolve(event)
            events.append(event)
            heard_at = event.at if heard_at is None else max(heard_at, event.at)
            if isinstance(event, PredictionSignalEvent):
                self._note_stamp(event.symbol, event.predicted_at, event.at)
            if number % CHUNK == 0:
                await trio.lowlevel.checkpoint()
        for watch in self._watches.values():
            watch.seen_until = watch.seen_until or heard_at
        await trio.lowlevel.checkpoint()
        return tuple(
            event for event in unjudged(events, self._judged()) if event.signal_id not in self._handed_on
        )

    def _hand_on_again(self, waiting: Iterable[PredictionSignalEvent]) -> None:
        now = self._clock.now()
        for event in waiting:
            self._perform(judge_again(event, self._limits, at=now, allowance_s=self._allowance_s()))

    # --- when -------------------------------------------------------------------------------------

    async def _watch(self, client: FlowClient, ticker: str, due: datetime) -> None:
        while True:
            await self._wait_until(due)
            await trio.sleep_until(self._watches[ticker].not_before_loop)
            await self._wait_for_room()
            async with self._in_flight:
                await self._poll(client, ticker)
            due = self._next_due(due)

    async def _drain_one(self, client: FlowClient, ticker: str, left: set[str]) -> None:
        async with self._in_flight:
            self._window.take(self._clock.now())
            if await self._poll(client, ticker):
                left.discard(ticker)

    def _next_due(self, due: datetime) -> datetime:
        """The next time in this ticker's own rhythm: missed polls are not made up for."""
        interval_s = self._interval_s()
        late_s = max(0.0, (self._clock.now() - due).total_seconds())
        return due + timedelta(seconds=interval_s * (1 + math.floor(late_s / interval_s)))

    def _interval_s(self) -> float:
        """The poll interval, longer where the service's limit or the machine cannot bear it."""
        of_service_s = 60 * len(self._watches) / self._window.limit
        if of_service_s > self._settings.poll_s and not self._throttled:
            self._throttled = True
            text = f"{self._settings.name}: polling every {of_service_s:.0f} s, the service allows no more"
            self._alarm("signals_throttled", text)
        return max(self._settings.poll_s, of_service_s, self._machine_interval_s())

    def _machine_interval_s(self) -> float:
        return len(self._watches) / MAX_POLLS_PER_LOOP_S * self._clock.speed

    def _allowance_s(self) -> float:
        stretched_s = max(0.0, self._machine_interval_s() - self._settings.poll_s)
        return stretched_s + MACHINE_ALLOWANCE_LOOP_S * self._clock.speed

    async def _wait_until(self, market: datetime) -> None:
        while self._clock.now() < market:
            left_loop_s = self._clock.loop_time_of(market) - trio.current_time()
            await trio.sleep(min(max(left_loop_s, 0.001), GLANCE_LOOP_S))

    async def _wait_for_room(self) -> None:
        """Until the service's limit has room for one more request, which is then ours."""
        while True:
            now = self._clock.now()
            if now >= self._hold_until and self._window.take(now):
                return
            await self._wait_until(max(self._hold_until, self._window.free_at(now)))

    # --- one poll ---------------------------------------------------------------------------------

    async def _poll(self, client: FlowClient, ticker: str) -> bool:
        """Ask for what is new and take it; whether the whole of it came."""
        bodies, trouble = await fetch_all(partial(self._fetch, client, ticker), self._since(ticker))
        await self._take(ticker, bodies, whole=trouble is None)
        if trouble is None:
            self._note_success(ticker)
        else:
            self._note_trouble(ticker, trouble)
        return trouble is None

    def _since(self, ticker: str) -> datetime | None:
        now, seen_until = self._clock.now(), self._watches[ticker].seen_until
        if seen_until is None:
            return now - timedelta(seconds=self._look_back_s) if math.isfinite(self._look_back_s) else None
        return min(now, seen_until) - timedelta(seconds=self._limits.max_age_s)

    async def _fetch(
        self, client: FlowClient, ticker: str, start: str | None, end: str | None
    ) -> FetchOutcome:
        # The first page was admitted with the poll, further ones are rare: the part of the limit that
        # polls leave free is theirs.
        self._statistics.polls += 1
        outcome = await client.fetch_predictions(ticker, start, end)
        self._heed(outcome.allowance)
        return outcome

    def _heed(self, allowance: Allowance) -> None:
        if allowance.limit:
            self._window.limit = max(1, int(allowance.limit * BUDGET_SHARE))
        if allowance.remaining == 0 and allowance.reset_s:
            self._hold_until = self._clock.now() + timedelta(seconds=allowance.reset_s)

    # --- what came --------------------------------------------------------------------------------

    async def _take(self, ticker: str, bodies: Sequence[object], *, whole: bool) -> None:
        """Judge and hand on what came, oldest first. Only a whole answer moves the point to ask from."""
        for number, body in enumerate(sorted(bodies, key=lambda body: timestamp_of(body) or 0.0), start=1):
            named = ticker_of(body)
            if named is not None and named != ticker and named in self._watches:
                # Its own poll brings it, if the service means it.
                continue
            self._take_one(body)
            stamp = timestamp_of(body)
            if whole and stamp is not None:
                self._note_stamp(ticker, datetime.fromtimestamp(stamp / 1000, UTC), self._clock.now())
            if number % CHUNK == 0:
                await trio.lowlevel.checkpoint()

    def _take_one(self, body: object) -> None:
        now, name = self._clock.now(), self._settings.name
        judgement = judge(
            self._seen, body, self._limits, at=now, source=name, allowance_s=self._allowance_s()
        )
        if judgement.events:
            self._statistics.received += 1
            self._perform(judgement)
        else:
            self._statistics.repeated += 1

    def _perform(self, judgement: Judgement) -> None:
        """Journal, remember, hand on: in this order."""
        if judgement.events:
            self._journal.append(STREAM, judgement.events)
        for event in judgement.events:
            self._seen.evolve(event)
        if judgement.passed is not None:
            self._deliver(judgement.passed)
            self._handed_on.add(judgement.passed.signal_id)

    def _note_stamp(self, ticker: str, stamp: datetime, at: datetime) -> None:
        """A stamp from the future moves nothing: it would hide what comes before it."""
        watch = self._watches.get(ticker)
        if watch is not None and stamp <= at and (watch.seen_until is None or stamp > watch.seen_until):
            watch.seen_until = stamp

    # --- troubles ---------------------------------------------------------------------------------

    def _note_trouble(self, ticker: str, trouble: Trouble) -> None:
        self._statistics.troubles += 1
        name = self._settings.name
        if self._health.note_failure(ticker, trouble.kind):
            text = f"{name}: {ticker}: {trouble.text}; trading goes on, signals may be missing"
            self._alarm(f"signals_{trouble.kind.value}", text)
        backoff_loop_s = self._health.backoff_loop_s(ticker, self._random)
        self._watches[ticker].not_before_loop = trio.current_time() + backoff_loop_s

    def _note_success(self, ticker: str) -> None:
        for kind in self._health.note_success(ticker):
            self._alarm("signals_recovered", f"{self._settings.name}: {kind.value} is over")

    def _alarm(self, code: str, text: str) -> None:
        self._journal.append(STREAM, [AlarmEvent(at=self._clock.now(), code=code, text=text)])
