#!/usr/bin/env python3
"""What the simulated TWS bears: many clients and symbols over real sockets, against a bare server.

Three processes: the simulator as users run it, a bare trio server that says the same bytes without any
thought, and this one, whose clients do no more with what they hear than count it.
"""

from __future__ import annotations

import itertools
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import attrs
import orjson
import trio
from cyclopts import App, CycloptsError, Parameter

from protocol.tws.codec import encode_client
from protocol.tws.framing import frame
from protocol.tws.handshake import ClientHandshake
from protocol.tws.messages import (
    CancelOrder,
    ClientRequest,
    Contract,
    Order,
    PlaceOrder,
    ReqCurrentTime,
    ReqMktData,
    StartApi,
)

VERSION = 178
SYMBOLS = tuple(
    "".join(letters) for letters in itertools.islice(itertools.product("ABCDEFGHIJ", repeat=3), 500)
)
MANY = 30
FLOOD_SPEED = 400.0
"""Market seconds a second: far more than can be said, so that the simulator says what it can."""
SETTINGS = "[session.market]\nmax_market_data_lines = 1000\n"
"""TWS gives a client a hundred lines."""
SIMULATOR = Path(__file__).parent / "tws_simulator.py"
RECEIVE_BYTES = 262_144
LONGEST_CATCH_UP_S = 30
_LENGTH = struct.Struct("!I")

HELP = """Load the simulated TWS with 30 clients and 500 symbols over real sockets.

Figures of one run are of this machine on this day; the ratios to a bare trio
server that sends the same bytes travel. Exit codes: 0 measured, 1 a client was
dropped or heard nothing, 2 wrong option."""

app = App(name="bench_load.py", help=HELP, help_format="plaintext", version_flags=[])


class Client:
    """A TWS client at its cheapest: it counts frames and remembers when the ones it was asked about came."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._rest = bytearray()
        self.frames = self.bytes = 0
        self.alive = True

    @classmethod
    async def connect(cls, port: int, client_id: int) -> Client:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        handshake = ClientHandshake(100, VERSION)
        await stream.send_all(handshake.hello)
        while handshake.receive_data(bytes(await stream.receive_some())) is None:
            pass
        client = cls(stream)
        await client.ask(StartApi(client_id))
        while not any(payload.startswith(b"9\0") for payload in await client.hear()):
            pass
        return client

    async def ask(self, *requests: ClientRequest) -> None:
        await self._stream.send_all(b"".join(frame(encode_client(VERSION, one)) for one in requests))

    async def watch(self, symbols: tuple[str, ...]) -> None:
        """Subscribe, and wait until all of it has been taken in: 15,000 lines take seconds to open."""
        await self.ask(
            *(ReqMktData(n, stock(s), "", False, False) for n, s in enumerate(symbols, start=1)),
            ReqCurrentTime(),
        )
        while not any(payload.startswith(b"49\0") for payload in await self.hear()):
            if not self.alive:
                raise ConnectionError("the simulator ended the connection")

    async def hear(self) -> list[bytes]:
        """The payloads of one receive; none when the connection is over."""
        data = await self._receive()
        self._rest += data
        payloads, at = [], 0
        while len(self._rest) - at >= 4:
            (size,) = _LENGTH.unpack_from(self._rest, at)
            if len(self._rest) - at - 4 < size:
                break
            payloads.append(bytes(self._rest[at + 4 : at + 4 + size]))
            at += 4 + size
        del self._rest[:at]
        self.frames += len(payloads)
        return payloads

    async def count(self) -> None:
        """Count what comes, for as long as it comes; frames only by their lengths."""
        while data := await self._receive():
            buffer = self._rest + data if self._rest else data
            at, end = 0, len(buffer)
            while end - at >= 4:
                size = _LENGTH.unpack_from(buffer, at)[0]
                if end - at - 4 < size:
                    break
                at += 4 + size
                self.frames += 1
            self._rest = bytearray(buffer[at:])

    async def _receive(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
        except trio.BrokenResourceError:
            data = b""
        self.alive = self.alive and bool(data)
        self.bytes += len(data)
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


def stock(symbol: str) -> Contract:
    return Contract(symbol=symbol, sec_type="STK", exchange="SMART", currency="USD")


@asynccontextmanager
async def serving(*command: str) -> AsyncIterator[int]:
    """Another process that says `listening on HOST:PORT`; its port."""
    process = await trio.lowlevel.open_process([sys.executable, *command], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = b""
        while not line.endswith(b"\n"):
            line += bytes(await process.stdout.receive_some(200)) or b"\n"
        if not line.startswith(b"listening on "):
            raise ConnectionError(f"{command[0]} does not listen")
        yield int(line.rstrip().rpartition(b":")[2])
    finally:
        process.terminate()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def simulating(speed: float) -> AsyncIterator[int]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.toml"
        settings.write_text(SETTINGS)
        options = ("--port", "0", "--speed", str(speed), "--settings", str(settings))
        async with serving(str(SIMULATOR), *options) as port:
            yield port


# --- the peer -----------------------------------------------------------------------------------------


async def _serve_bytes(path: Path) -> None:
    """Say the bytes of a file to whoever connects, again and again; answer each message with its own.

    A connection that sends `F` is flooded; one that sends a frame gets the file back once for each frame.
    """
    said = path.read_bytes()

    async def talk(stream: trio.SocketStream) -> None:
        first = await stream.receive_some(1)
        if first == b"F":
            while True:
                await stream.send_all(said)
        asked = bytearray(first)
        while data := await stream.receive_some(65_536):
            asked += data
            while len(asked) >= 4 and len(asked) >= 4 + _LENGTH.unpack_from(asked)[0]:
                del asked[: 4 + _LENGTH.unpack_from(asked)[0]]
                await stream.send_all(said)

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(f"listening on 127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)

    async def guarded(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await talk(stream)

    await trio.serve_listeners(guarded, listeners)


# --- ticks ----------------------------------------------------------------------------------------------


@attrs.frozen
class Flood:
    clients: int
    ticks_per_s: float
    """All clients together; a tick is one message."""
    bytes_per_s: float
    dropped: int
    poorest: int
    """Ticks that the client which heard least got."""


async def _flood(clients: list[Client], symbols: tuple[str, ...], seconds: float) -> Flood:
    """What the clients hear in so many seconds, once all watch the symbols and a second later."""
    async with trio.open_nursery() as nursery:
        await _listen_all(nursery, clients, symbols)
        await trio.sleep(1)
        before, began = [(one.frames, one.bytes) for one in clients], time.perf_counter()
        await trio.sleep(seconds)
        took = time.perf_counter() - began
        heard = [one.frames - frames for one, (frames, _) in zip(clients, before, strict=True)]
        data = sum(one.bytes - bytes_ for one, (_, bytes_) in zip(clients, before, strict=True))
        dropped = sum(not one.alive for one in clients)
        nursery.cancel_scope.cancel()
    return Flood(len(clients), sum(heard) / took, data / took, dropped, min(heard))


async def _listen_all(nursery: trio.Nursery, clients: list[Client], symbols: tuple[str, ...]) -> None:
    """Have the clients watch and count in the background; returns when all have begun to count."""

    async def listen(client: Client, task_status: trio.TaskStatus[None]) -> None:
        if symbols:
            await client.watch(symbols)
        task_status.started()
        await client.count()

    async with trio.open_nursery() as starting:
        for client in clients:
            starting.start_soon(nursery.start, listen, client)


async def flood(count: int, *, speed: float = FLOOD_SPEED, seconds: float = 4.0) -> Flood:
    """Every client watches every symbol."""
    async with simulating(speed) as port:
        clients = [await Client.connect(port, number) for number in range(1, count + 1)]
        return await _flood(clients, SYMBOLS, seconds)


async def flood_of_peer(count: int, said: bytes, *, seconds: float = 2.0) -> Flood:
    """The same from a server that only sends."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said"
        path.write_bytes(said)
        async with serving(__file__, "--peer", str(path)) as port:
            clients = []
            for _ in range(count):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(b"F")
                clients.append(Client(stream))
            return await _flood(clients, (), seconds)


async def sample_of_ticks() -> bytes:
    """Some hundred kilobytes of what the simulator says to one client, in whole frames."""
    async with simulating(FLOOD_SPEED) as port:
        client = await Client.connect(port, 1)
        await client.watch(SYMBOLS)
        said = bytearray()
        while len(said) < 200_000:
            said += b"".join(frame(payload) for payload in await client.hear())
        await client.aclose()
        return bytes(said)


# --- how late ticks are ------------------------------------------------------------------------------


async def lateness(count: int, seconds: float = 5.0) -> tuple[float, float]:
    """Median and 99th percentile of the milliseconds by which a trade's tick comes later than its symbol's
    quickest one: the market ticks each symbol once a second, always at the same moment of it.

    One of `count` clients looks; all watch everything.
    """
    arrivals: dict[bytes, list[float]] = {}

    async def look(client: Client) -> None:
        while payloads := await client.hear():
            now = time.perf_counter()
            for payload in payloads:
                kind, _, req_id, tick_type, _ = payload.split(b"\0", 4)
                if kind == b"1" and tick_type == b"4":
                    arrivals.setdefault(req_id, []).append(now)

    async with simulating(1.0) as port, trio.open_nursery() as nursery:
        clients = [await Client.connect(port, number) for number in range(1, count + 1)]
        await _listen_all(nursery, clients[1:], SYMBOLS)
        await clients[0].watch(SYMBOLS)
        nursery.start_soon(look, clients[0])
        # Opening the lines held the market up; it skips nothing, and has to come to its own pace first.
        for _ in range(LONGEST_CATCH_UP_S):
            arrivals.clear()
            await trio.sleep(1)
            if 0.9 < sum(map(len, arrivals.values())) / len(SYMBOLS) < 1.1:
                break
        arrivals.clear()
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    late_ms = []
    for times in arrivals.values():
        phases = [moment - second for second, moment in enumerate(times)]
        late_ms += [(phase - min(phases)) * 1e3 for phase in phases]
    return _percentiles(late_ms)


def _percentiles(values: list[float]) -> tuple[float, float]:
    values = sorted(values)
    return statistics.median(values), values[min(len(values) - 1, int(len(values) * 0.99))]


# --- orders ---------------------------------------------------------------------------------------------


@attrs.frozen
class Orders:
    """Round trips: place to the first orderStatus; a cycle is place, acknowledgement, cancel, 202."""

    cycles_per_s: float
    ack_p50_ms: float
    ack_p99_ms: float


async def orders(cycles: int = 300) -> Orders:
    """One client, one order after another, on a market of 500 symbols that another client watches."""
    acks_ms = []
    async with simulating(1.0) as port, trio.open_nursery() as nursery:
        watcher, trader = await Client.connect(port, 1), await Client.connect(port, 2)
        await watcher.watch(SYMBOLS)
        nursery.start_soon(watcher.count)
        await trio.sleep(1)
        began = time.perf_counter()
        for number in range(1, cycles + 1):
            order = Order(action="BUY", total_quantity=Decimal(1), order_type="LMT", lmt_price=0.5, tif="DAY")
            asked = time.perf_counter()
            await trader.ask(PlaceOrder(number, stock(SYMBOLS[0]), order))
            await _until(trader, b"3\0")
            acks_ms.append((time.perf_counter() - asked) * 1e3)
            await trader.ask(CancelOrder(number))
            await _until(trader, b"4\0")
        took = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return Orders(cycles / took, *_percentiles(acks_ms))


async def _until(client: Client, start: bytes) -> None:
    while payloads := await client.hear():
        if any(payload.startswith(start) for payload in payloads):
            return
    raise ConnectionError("the simulator ended the connection")


async def echo(cycles: int = 1000, answer_bytes: int = 900) -> tuple[float, float]:
    """The same round trip with a bare server: as long a request, as long an answer."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said"
        path.write_bytes(frame(b"3\0" + b"x" * answer_bytes))
        async with serving(__file__, "--peer", str(path)) as port:
            client = Client(await trio.open_tcp_stream("127.0.0.1", port))
            took_ms = []
            for number in range(cycles):
                asked = time.perf_counter()
                await client.ask(PlaceOrder(number, stock("ABC"), Order(action="BUY", order_type="LMT")))
                await _until(client, b"3\0")
                took_ms.append((time.perf_counter() - asked) * 1e3)
            return _percentiles(took_ms)


# --- the program ------------------------------------------------------------------------------------------


async def measure() -> dict[str, float]:
    """All figures, in the order in which they are printed."""
    figures: dict[str, float] = {}

    def say(name: str, value: float, unit: str, note: str = "") -> None:
        figures[name] = value
        print(f"{name:42} {value:12,.2f} {unit:8} {note}", flush=True)

    sample = await sample_of_ticks()
    for count in (1, MANY):
        ours, peer = await flood(count), await flood_of_peer(count, sample)
        if ours.dropped or not ours.poorest:
            raise ConnectionError(f"{ours.dropped} of {count} clients were dropped, one heard {ours.poorest}")
        say(f"ticks/s to {count} clients", ours.ticks_per_s, "1/s", f"{len(SYMBOLS)} symbols")
        ratio = ours.bytes_per_s / peer.bytes_per_s
        say(
            f"bytes/s to {count} against a bare server",
            ratio,
            "ratio",
            f"bare {peer.bytes_per_s / 1e6:.0f} MB/s",
        )
    for count in (1, MANY):
        p50, p99 = await lateness(count)
        say(f"tick late, {count} clients, p50", p50, "ms", "of 500 ticks a second, each to all")
        say(f"tick late, {count} clients, p99", p99, "ms")
    traded, bare = await orders(), await echo()
    say("orders/s (place, ack, cancel, 202)", traded.cycles_per_s, "1/s", "one at a time")
    say("order to acknowledgement, p50", traded.ack_p50_ms, "ms", f"bare echo {bare[0]:.3f} ms")
    say("order to acknowledgement, p99", traded.ack_p99_ms, "ms", f"bare echo {bare[1]:.3f} ms")
    say("acknowledgement against a bare echo, p50", traded.ack_p50_ms / bare[0], "ratio")
    return figures


async def check(seconds: float) -> dict[str, float]:
    """Thirty clients and 500 symbols at the market's own pace: what each got, and whether all are there."""
    return attrs.asdict(await flood(MANY, speed=1.0, seconds=seconds))


@app.default
def main(
    *,
    quick: Annotated[
        float | None, Parameter(name="--check", help="Only 30 clients at pace 1, for so many seconds.")
    ] = None,
    json: Annotated[Path | None, Parameter(help="Write the figures there, too.")] = None,
    peer: Annotated[Path | None, Parameter(show=False)] = None,
) -> int:
    """Measure and print; a row each."""
    if peer is not None:
        trio.run(_serve_bytes, peer)
        return 0
    try:
        figures = trio.run(measure) if quick is None else trio.run(check, quick)
    except ConnectionError as error:
        print(f"bench_load.py: {error}", file=sys.stderr)
        return 1
    if quick is not None:
        print(orjson.dumps(figures).decode())
    if json is not None:
        json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(app(print_error=False, exit_on_error=False, result_action="return_value") or 0)
    except CycloptsError as error:
        print(f"bench_load.py: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        os._exit(130)
