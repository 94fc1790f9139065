"""Feeds that misbehave as a test says, and a bench for the sources that are pushed to."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Protocol

import attrs
import trio
import trio_websocket
from wsproto.utilities import ProtocolError

from actors.market_clock import MarketClock
from actors.signal_desk import SignalDesk
from actors.supervisor import ChildSpec, Supervisor, SupervisorSpec
from actors.websocket_source import PACE, WebSocketSignals
from protocol.events import PredictionSignalEvent, SystemEvent
from protocol.redaction import Secret
from protocol.source_settings import WebSocketSource
from protocol.supervision_plan import Backoff
from tests.signal_bench import ListJournal

TOKEN = "canary-token-0123"
SUBSCRIBE = '{"subscribe": {tickers_json}, "list": "{tickers}", "after": {last_seq}}'
Line = trio_websocket.WebSocketConnection
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
START = datetime(2019, 2, 11, 15, 0, tzinfo=UTC)
QUICK = Backoff(min_loop_s=0.01, max_loop_s=0.05, healthy_after_loop_s=0.1)


def prediction(name: str, ticker: str = "SLV", **changes: object) -> dict[str, object]:
    """A good one, stamped when the bench's clock begins."""
    return {
        "id": name,
        "ticker": ticker,
        "signal": "BUY",
        "confidence": 0.8,
        "timestamp": round(START.timestamp() * 1000),
        **changes,
    }


def envelope(seq: int, name: str = "") -> str:
    return json.dumps({"type": "prediction", "seq": seq, "data": prediction(name or f"id-{seq}")})


# --- feeds ----------------------------------------------------------------------------------------


@attrs.define
class Feed:
    """A websocket server whose every connection does what `behave` says; it keeps what clients told it."""

    behave: Callable[[int, Line], Awaitable[None]]
    """Called with the number of the connection, from 1; the connection is closed when it returns."""
    url: str = ""
    headers: list[dict[str, str]] = attrs.Factory(list)
    heard: list[str | bytes] = attrs.Factory(list)
    connections: int = 0

    async def serve(self, request: trio_websocket.WebSocketRequest) -> None:
        self.connections += 1
        number = self.connections
        self.headers.append({name.decode(): value.decode() for name, value in request.headers})
        connection = await request.accept()
        with suppress(trio_websocket.ConnectionClosed):
            await self.behave(number, connection)
            with trio.move_on_after(0.2):
                await connection.aclose()

    async def hear(self, connection: Line) -> str | bytes:
        message = await connection.get_message()
        self.heard.append(message)
        return message


@asynccontextmanager
async def feeding(
    behave: Callable[[int, Line], Awaitable[None]],
) -> AsyncIterator[Feed]:
    feed = Feed(behave)
    async with raw_server(partial(_serve_websocket, feed)) as port:
        feed.url = f"ws://127.0.0.1:{port}/feed"
        yield feed


async def _serve_websocket(feed: Feed, stream: trio.SocketStream) -> None:
    try:
        async with trio.open_nursery() as nursery:
            await feed.serve(await trio_websocket.wrap_server_stream(nursery, stream))
            nursery.cancel_scope.cancel()
    except* (trio_websocket.ConnectionClosed, ProtocolError):
        # The library answers a ping while it closes, and stumbles over itself.
        pass


@asynccontextmanager
async def raw_server(answer: Callable[[trio.SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A TCP server that does with each connection as the test says; its port."""

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await answer(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def accept_handshake(request: bytes) -> bytes:
    """The answer of a websocket server to that handshake (RFC 6455, 4.2.2)."""
    lines = request.split(b"\r\n")
    key = next(line.split(b": ")[1] for line in lines if line.lower().startswith(b"sec-websocket-key"))
    proof = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


# --- the bench ------------------------------------------------------------------------------------


class Source(Protocol):
    async def run(self, epoch: int, task_status: trio.TaskStatus[None]) -> None: ...


@attrs.define
class SourceBench:
    """What a source stands on: a desk with its journal, marks, a clock; and what passed the gate."""

    symbols: tuple[str, ...] = ("GLD", "SLV")
    speed: float = 1.0
    journal: ListJournal = attrs.Factory(ListJournal)
    meta: dict[str, str] = attrs.Factory(dict)
    delivered: list[str] = attrs.Factory(list)
    lives: list[SystemEvent] = attrs.Factory(list)
    clock: MarketClock = attrs.field(init=False)
    desk: SignalDesk = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock = MarketClock(self.speed)
        self.desk = SignalDesk(
            symbols=self.symbols, journal=self.journal, deliver=self._deliver, clock=self.clock
        )

    def _deliver(self, event: PredictionSignalEvent) -> None:
        assert event in self.journal.events, "journalled before anything follows from it"
        self.delivered.append(event.signal_id)

    def get_meta(self, key: str) -> str | None:
        return self.meta.get(key)

    def set_meta(self, key: str, value: str) -> None:
        self.meta[key] = value

    def restarted(self) -> SourceBench:
        """The same state folder in another process."""
        return SourceBench(self.symbols, self.speed, ListJournal(list(self.journal.events)), dict(self.meta))

    @asynccontextmanager
    async def going(self, *sources: Source) -> AsyncIterator[None]:
        """The sources as tasks, and the time known."""
        async with trio.open_nursery() as nursery:
            for source in sources:
                await nursery.start(source.run, 1)
            if not self.clock.known:
                self.clock.set(START)
            yield
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def supervised(self, *sources: Source) -> AsyncIterator[Callable[[], bool]]:
        """The sources as children of a supervisor; what is given kills one of them in turn."""
        children = tuple(
            ChildSpec(id=f"source{number}", start=source.run, backoff=QUICK)
            for number, source in enumerate(sources)
        )
        epochs: Counter[str] = Counter()

        def next_epoch(actor: str) -> int:
            epochs[actor] += 1
            return epochs[actor]

        supervisor = Supervisor(
            SupervisorSpec(name="edge", children=children, intensity=None),
            record=self.lives.append,
            market_now=self.clock.now,
            next_epoch=next_epoch,
            rng=Random(0),
            on_stuck=_never_stuck,
        )
        turns = itertools.cycle(child.id for child in children)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            self.clock.set(START)
            yield lambda: supervisor.kill(next(turns), "a test")
            supervisor.stop()


def _never_stuck(child: str) -> None:
    raise AssertionError(f"{child} did not end when it was cancelled")


async def until(condition: Callable[[], bool], within_loop_s: float = 5.0) -> None:
    with trio.fail_after(within_loop_s):
        while not condition():
            await trio.sleep(0.005)


@contextmanager
def memory_grows_less_than(limit_bytes: int) -> Iterator[None]:
    """Of what Python allocates, at its peak."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before < limit_bytes, f"{(peak - before) / 1e6:.1f} MB"


def listening(bench: SourceBench, url: str, **changes: object) -> WebSocketSignals:
    """A websocket source on the bench, quick to try again; `changes` of its settings or its own."""
    plan = {"keep_alive_loop_s": 5.0, "silence_loop_s": 10.0, "subscribe": SUBSCRIBE, "name": "feed"}
    tls = changes.pop("tls", None)
    tickers = changes.pop("tickers", ())
    handshake_loop_s = changes.pop("handshake_loop_s", 2.0)
    pace = changes.pop("pace", PACE)
    return WebSocketSignals(
        WebSocketSource(url=url, **{**plan, **changes}),  # type: ignore[arg-type]
        Secret(TOKEN),
        desk=bench.desk,
        clock=bench.clock,
        tickers=tickers,  # type: ignore[arg-type]
        random=Random(0),
        marks=bench,
        pace=pace,  # type: ignore[arg-type]
        reconnect=QUICK,
        handshake_loop_s=handshake_loop_s,  # type: ignore[arg-type]
        tls=tls,  # type: ignore[arg-type]
    )


async def stay(line: Line) -> None:
    """Until the client is gone."""
    while True:
        await line.get_message()
