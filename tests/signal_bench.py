"""A signal source on the bench: a journal in memory, and services on loopback, real or scripted."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial

import attrs
import trio

from actors.flow_api import flow_app, serve_flow_api
from actors.market_clock import MarketClock
from actors.signal_desk import SignalDesk
from actors.signals import HttpSignalSource
from protocol.circuit_breaker import CircuitBreaker
from protocol.control_events import FlowThresholdEvent
from protocol.events import AlarmEvent, BaseEvent, PredictionSignalEvent, SignalVerdictEvent
from protocol.flow_service import FlowLimits, FlowService
from protocol.prediction_shelf import StoredPrediction
from protocol.source_settings import FlowThreshold, HttpSource

KEY = "canary-key"
START = datetime(2019, 2, 11, 15, 0, tzinfo=UTC)
PLENTY = FlowLimits(100_000, 100_000)


def stored(ticker: str, second: float, signal_id: str = "", **changes: object) -> StoredPrediction:
    timestamp_ms = round(START.timestamp() * 1000 + second * 1000)
    body = {
        "id": signal_id or f"{ticker}-{second:g}",
        "ticker": ticker,
        "signal": "BUY",
        "confidence": 0.8,
        "timestamp": timestamp_ms,
        **changes,
    }
    return StoredPrediction(ticker, timestamp_ms, json.dumps(body).encode())


@attrs.define
class ListJournal:
    """A journal in memory, with the face of the real one."""

    events: list[BaseEvent] = attrs.Factory(list)

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None:
        assert stream == "signals"
        self.events += events

    def read(self, stream: str) -> Iterable[BaseEvent]:
        assert stream == "signals"
        return tuple(self.events)

    @property
    def received(self) -> list[str]:
        return [event.signal_id for event in self.events if isinstance(event, PredictionSignalEvent)]

    @property
    def verdicts(self) -> dict[str, str]:
        verdicts = [event for event in self.events if isinstance(event, SignalVerdictEvent)]
        assert len({event.signal_id for event in verdicts}) == len(verdicts)
        return {event.signal_id: event.code for event in verdicts}

    @property
    def alarms(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, AlarmEvent)]


@attrs.define
class Run:
    """One source with all that it talks to; the clock starts at START."""

    url: str
    symbols: tuple[str, ...] = ("GLD", "SLV")
    speed: float = 60.0
    poll_s: float = 3.0
    journal: ListJournal = attrs.Factory(ListJournal)
    judged: set[str] = attrs.Factory(set)
    delivered: list[str] = attrs.Factory(list)
    also_polled: tuple[str, ...] = ()
    settings: HttpSource = attrs.Factory(lambda: HttpSource(max_age_s=90))
    thresholds: tuple[FlowThreshold, ...] = ()
    flows: list[FlowThresholdEvent] = attrs.Factory(list)
    breaker: CircuitBreaker = attrs.Factory(CircuitBreaker)
    clock: MarketClock = attrs.field(init=False)
    desk: SignalDesk = attrs.field(init=False)
    source: HttpSignalSource = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock = MarketClock(self.speed)
        self.desk = SignalDesk(
            symbols=self.symbols,
            journal=self.journal,
            deliver=self._deliver,
            clock=self.clock,
            judged=lambda: self.judged,
            deliver_flow=self.flows.append,
        )
        self.source = HttpSignalSource(
            attrs.evolve(self.settings, url=self.url, poll_s=self.poll_s),
            KEY,
            desk=self.desk,
            clock=self.clock,
            tickers=(*self.symbols, *self.also_polled),
            thresholds=self.thresholds,
            breaker=self.breaker,
        )

    def _deliver(self, event: PredictionSignalEvent) -> None:
        assert event in self.journal.events
        self.delivered.append(event.signal_id)

    async def until(self, condition: Callable[[], bool], within_loop_s: float = 5.0) -> None:
        with trio.fail_after(within_loop_s):
            while not condition():
                await trio.sleep(0.005)

    @asynccontextmanager
    async def going(self, at: datetime = START) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.source.run, 1)
            if not self.clock.known:
                self.clock.set(at)
            yield
            nursery.cancel_scope.cancel()


@attrs.define
class Embedded(Run):
    """`service_clock` is what the service goes by; the source has a clock of its own."""

    service_clock: MarketClock = attrs.field(kw_only=True)


@asynccontextmanager
async def embedded(
    *predictions: StoredPrediction, limits: FlowLimits = PLENTY, speed: float = 60.0, at: datetime = START
) -> AsyncIterator[Embedded]:
    """A source and the embedded service, each with its own clock, as in a replay."""
    clock = MarketClock(speed, at)
    service = FlowService(predictions, tickers=("GLD", "SLV"), limits=limits)
    async with trio.open_nursery() as nursery:
        app = flow_app(service, api_key=KEY, now=clock.now)
        url = await nursery.start(partial(serve_flow_api, app))
        run = Embedded(url, speed=speed, service_clock=clock)
        clock.set(at)
        yield run
        nursery.cancel_scope.cancel()


Answer = Callable[[str, trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def scripted(answer: Answer) -> AsyncIterator[str]:
    """A server that answers each request line as the test says, one request a connection."""

    async def serve(stream: trio.SocketStream) -> None:
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                chunk = await stream.receive_some(65536)
                if not chunk:
                    return
                request += chunk
            await answer(request.decode(), stream)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        yield f"http://127.0.0.1:{port}/api/v1"
        nursery.cancel_scope.cancel()


def http(body: bytes, code: int = 200, *headers: str, content_type: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {code} Whatever", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "Connection: close", "", ""]).encode() + body


def success(*predictions: StoredPrediction) -> bytes:
    bodies = b",".join(prediction.body for prediction in predictions)
    return http(b'{"status":"success","data":{"ticker":"SLV","predictions":[%b]}}' % bodies)
