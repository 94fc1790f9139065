"""When one more request may leave for a polled service, and what its answers say about that.

One for each source, shared by all its tickers: the limits for light and heavy end points, which the
service may change with any answer, the holds that it asks for, the requests in flight, the backoff of
each ticker and the circuit breaker of them all. Whatever the service does, it is said once: an alarm for
each kind of trouble, and another when it is over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from random import Random

import trio

from actors.flow_client import Fetched, FetchOutcome, Trouble
from actors.market_clock import MarketClock
from actors.signal_desk import SignalDesk
from protocol.circuit_breaker import BreakerState, CircuitBreaker
from protocol.health import HealthState
from protocol.rate_window import RateWindow
from protocol.source_health import SourceHealth, TroubleKind

LIGHT_PER_MIN, HEAVY_PER_MIN = 30, 15
"""The service's limits, until it says others itself."""
BUDGET_SHARE = 0.9
"""Of the limit: the rest is for full pages, and for requests that arrive closer together than they left."""
IN_FLIGHT = 4
GLANCE_LOOP_S = 0.5
"""A replay may skip hours at any moment: nobody sleeps longer than this without looking at the clock."""
MACHINE_ALLOWANCE_LOOP_S = 0.25
"""What our own machine may add to the age of what comes; at `--speed` X it counts X times in market time."""
UNSAID_HOLD_S = 20.0
"""After a 429 that does not say until when: a third of the minute that the limit is about."""

_HARMLESS = frozenset({TroubleKind.RATE_LIMITED, TroubleKind.UNKNOWN_TICKER})
"""The service is well: it has only declined this request."""


class Budget:
    """What the service allows for one weight of its end points, in market minutes."""

    def __init__(self, per_min: int) -> None:
        self.window = RateWindow(int(per_min * BUDGET_SHARE))
        self.hold_until = datetime.min.replace(tzinfo=UTC)

    def heed(self, outcome: FetchOutcome, at: datetime) -> None:
        """Take over what the answer says about the limit."""
        said = outcome.allowance
        if said.limit:
            self.window.limit = max(1, int(said.limit * BUDGET_SHARE))
        limited = isinstance(outcome, Trouble) and outcome.kind is TroubleKind.RATE_LIMITED
        waits_s = [wait_s for wait_s in (said.reset_s, said.retry_after_s) if wait_s]
        if limited:
            self._hold(at, max(waits_s, default=UNSAID_HOLD_S))
        elif said.remaining == 0 and said.reset_s:
            self._hold(at, said.reset_s)

    def _hold(self, at: datetime, wait_s: float) -> None:
        self.hold_until = max(self.hold_until, at + timedelta(seconds=wait_s))


class FlowAccess:
    """`name` is the source's; alarms go to the desk."""

    def __init__(
        self, name: str, *, desk: SignalDesk, clock: MarketClock, random: Random, breaker: CircuitBreaker
    ) -> None:
        self._name, self._desk, self._clock, self._random = name, desk, clock, random
        self.light, self.heavy = Budget(LIGHT_PER_MIN), Budget(HEAVY_PER_MIN)
        self._in_flight = trio.CapacityLimiter(IN_FLIGHT)
        self._breaker = breaker
        self._health = SourceHealth()
        self._not_before_loop: dict[str, float] = {}
        self._last_trouble = ""
        self.requests = self.troubles = 0

    @property
    def breaker(self) -> BreakerState:
        return self._breaker.state

    @property
    def in_flight(self) -> trio.CapacityLimiter:
        """To be held while one poll, of however many pages, is made."""
        return self._in_flight

    def health(self) -> tuple[str, str]:
        """A word of `HealthState` and a sentence for a person."""
        if not self._clock.known:
            return HealthState.WAITING.value, "waits for the market's time"
        if self._breaker.state is not BreakerState.CLOSED:
            return HealthState.DOWN.value, f"the service is left alone for a while: {self._last_trouble}"
        troubled = self._health.troubled
        if troubled:
            return HealthState.TROUBLED.value, f"{', '.join(troubled)}: {self._last_trouble}"
        return HealthState.OK.value, "its service answers" if self.requests else "has not asked yet"

    # --- when -------------------------------------------------------------------------------------

    async def wait_for_turn(self, key: str, budget: Budget) -> None:
        """Until the request that `key` wants to make may leave; its place in the budget is then taken."""
        while True:
            await trio.sleep_until(self._not_before_loop.get(key, 0.0))
            left_loop_s = self._breaker.retry_at_loop - trio.current_time()
            if self._breaker.state is not BreakerState.CLOSED and left_loop_s > 0:
                # It may close before: somebody else's request has come through.
                await trio.sleep(min(left_loop_s, GLANCE_LOOP_S))
                continue
            await self._wait_for_room(budget)
            if self._breaker.may_ask(trio.current_time()):
                return

    async def _wait_for_room(self, budget: Budget) -> None:
        while True:
            now = self._clock.now()
            if now >= budget.hold_until and budget.window.take(now):
                return
            await self.wait_until(max(budget.hold_until, budget.window.free_at(now)))

    async def wait_until(self, market: datetime) -> None:
        while self._clock.now() < market:
            left_loop_s = self._clock.loop_time_of(market) - trio.current_time()
            await trio.sleep(min(max(left_loop_s, 0.001), GLANCE_LOOP_S))

    async def ask(self, budget: Budget, request: Callable[[], Awaitable[FetchOutcome]]) -> FetchOutcome:
        """Make one request that was admitted, and heed what its answer says about the limit."""
        self.requests += 1
        outcome = await request()
        budget.heed(outcome, self._clock.now())
        return outcome

    # --- how it went ------------------------------------------------------------------------------

    def settle(self, key: str, trouble: Trouble | None) -> None:
        """What came of a poll of `key`: alarms at the beginning and the end of a trouble, backoff between."""
        if trouble is None or trouble.kind in _HARMLESS:
            self._note_alive()
        if trouble is None:
            for kind in self._health.note_success(key):
                self._desk.alarm("signals_recovered", f"{self._name}: {kind.value} is over")
            return
        self.troubles += 1
        self._last_trouble = trouble.text
        if self._health.note_failure(key, trouble.kind):
            text = f"{self._name}: {key}: {trouble.text}; trading goes on, signals may be missing"
            self._desk.alarm(f"signals_{trouble.kind.value}", text)
        now = trio.current_time()
        self._not_before_loop[key] = now + self._health.backoff_loop_s(key, self._random)
        if trouble.kind not in _HARMLESS and self._breaker.note_failure(now, self._random):
            wait_loop_s = self._breaker.retry_at_loop - now
            text = f"{self._name}: nothing but failures ({trouble.text}); asked again in {wait_loop_s:.0f} s"
            self._desk.alarm("signals_breaker_open", f"{text}, one request at a time")

    def _note_alive(self) -> None:
        if self._breaker.note_success():
            self._not_before_loop.clear()
            self._desk.alarm("signals_breaker_closed", f"{self._name}: the service answers again")

    def forget(self, keys: Iterable[str]) -> None:
        """Of tickers that are polled no more: their troubles are nobody's."""
        for key in keys:
            self._health.note_success(key)
            self._not_before_loop.pop(key, None)


def trouble_of(outcome: FetchOutcome) -> Trouble | None:
    return None if isinstance(outcome, Fetched) else outcome
