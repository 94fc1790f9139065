"""A TCP proxy that does to a connection what networks and dying peers do to it.

`python -m tests.proxy --to 127.0.0.1:7497` listens on a free port, says which, and takes a command a line on
its standard input: `split 1 for 3`, `stall from_tws for 12`, `reset`, `pass`, … (`TROUBLES` names them all);
`--plan SEED --minutes 10` plays a plan instead. Tests and the soak use `proxied`, a proxy in a thread.

Bytes are never reordered, and never lost within a connection that goes on: one that has lost some is dead for
good, as with TCP.
"""

from __future__ import annotations

import argparse
import math
import random
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, assert_never

import attrs
import trio

from tests.proxy_troubles import (
    AcceptAndClose,
    Cut,
    Delay,
    Garble,
    Glue,
    Refuse,
    Reset,
    Split,
    Stall,
    Step,
    Swallow,
    Throttle,
    Trouble,
    Way,
    draw_plan,
    read_command,
)

READ_BYTES: Final = 65_536
LOOPBACK: Final = "127.0.0.1"
JOIN_S: Final = 5.0
RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER without a time: the end is an RST, and what was not sent is gone."""


@attrs.define(eq=False)
class _Pair:
    """One connection: the client's stream, and ours to TWS."""

    client: trio.SocketStream
    tws: trio.SocketStream
    lost: set[Way] = attrs.field(factory=set)
    """The ways on which bytes were swallowed."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    def reset(self) -> None:
        for stream in (self.client, self.tws):
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
        self.scope.cancel()


class Proxy:
    """Passes everything on to `host:port`, until told otherwise. One trouble at a time."""

    def __init__(self, host: str, port: int, *, seed: int = 1, listen_on: int = 0) -> None:
        self.host, self.port, self.listening_on = host, port, listen_on
        self.connections = 0
        self.passed: Counter[Way] = Counter()
        """Bytes that arrived."""
        self.done: Counter[str] = Counter()
        """How often each trouble was made."""
        self._rng = random.Random(seed)
        self._troubles: dict[Way, Trouble] = {}
        self._pairs: list[_Pair] = []
        self._changed = trio.Event()
        self._number = 0
        self._door: Refuse | AcceptAndClose | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen and carry, for ever. `listening_on` is the port once it has started."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            (listener,) = await trio.open_tcp_listeners(self.listening_on, host=LOOPBACK)
            self.listening_on = int(listener.socket.getsockname()[1])
            task_status.started()
            while True:
                async with listener:
                    await self._take_until_refused(listener, nursery)
                while isinstance(self._door, Refuse):
                    await self._changed.wait()
                (listener,) = await trio.open_tcp_listeners(self.listening_on, host=LOOPBACK)

    async def _take_until_refused(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        async def take() -> None:
            while True:
                nursery.start_soon(self._serve, await listener.accept())

        async with trio.open_nursery() as taking:
            taking.start_soon(take)
            while not isinstance(self._door, Refuse):
                await self._changed.wait()
            taking.cancel_scope.cancel()

    # --- commands ---------------------------------------------------------------------------------

    def make(self, trouble: Trouble, way: Way = Way.BOTH, for_s: float = math.inf) -> None:
        """Begin a trouble; the one before is over. In the loop's thread."""
        self.done[type(trouble).__name__] += 1
        self._number += 1
        self._troubles.clear()
        self._door = None
        match trouble:
            case Reset():
                for pair in self._pairs:
                    pair.reset()
            case Refuse() | AcceptAndClose():
                self._door = trouble
            case _:
                for one in (Way.TO_TWS, Way.FROM_TWS):
                    if way.covers(one):
                        self._troubles[one] = trouble
        self._tell()
        if for_s < math.inf:
            self._nursery.start_soon(self._end_later, self._number, for_s)

    def heal(self) -> None:
        """All passes again. Connections that have lost bytes stay dead."""
        self._troubles.clear()
        self._door = None
        self._tell()

    async def play(self, plan: Sequence[Step]) -> None:
        """One step after the other, counted from now."""
        begun = trio.current_time()
        for step in plan:
            await trio.sleep_until(begun + step.at_s)
            self.make(step.trouble, step.way, step.for_s)

    async def _end_later(self, number: int, for_s: float) -> None:
        await trio.sleep(for_s)
        if number == self._number:
            self.heal()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- carrying ---------------------------------------------------------------------------------

    async def _serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        async with client:
            if isinstance(self._door, AcceptAndClose):
                return
            try:
                tws = await trio.open_tcp_stream(self.host, self.port)
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                return
            for stream in (client, tws):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, tws)
            self._pairs.append(pair)
            try:
                async with tws:
                    with pair.scope:
                        async with trio.open_nursery() as nursery:
                            nursery.start_soon(self._pump, pair, Way.TO_TWS)
                            nursery.start_soon(self._pump, pair, Way.FROM_TWS)
            finally:
                self._pairs.remove(pair)

    async def _pump(self, pair: _Pair, way: Way) -> None:
        source, to = (pair.client, pair.tws) if way is Way.TO_TWS else (pair.tws, pair.client)
        try:
            while True:
                data = bytes(await source.receive_some(READ_BYTES))
                await self._while_stalled(way)
                if isinstance(self._troubles.get(way), Swallow):
                    pair.lost.add(way)
                if not data:
                    break
                if way in pair.lost:
                    continue
                await self._carry(data, source, to, pair, way)
                self.passed[way] += len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        if pair.lost:
            # That one side has left is not told to the other. Once packets pass again, what that one says is
            # answered by a host that knows no such connection any more: with an RST.
            while self._troubles:
                await self._changed.wait()
            pair.reset()
        pair.scope.cancel()

    async def _while_stalled(self, way: Way) -> None:
        while isinstance(self._troubles.get(way), Stall):
            await self._changed.wait()

    async def _carry(
        self, data: bytes, source: trio.SocketStream, to: trio.SocketStream, pair: _Pair, way: Way
    ) -> None:
        match trouble := self._troubles.get(way):
            case None | Stall() | Swallow() | Reset() | Refuse() | AcceptAndClose():
                await to.send_all(data)
            case Split(size):
                await self._send_split(data, size, to, way)
            case Glue(hold_s):
                await trio.sleep(hold_s)
                with trio.move_on_after(0):
                    data += bytes(await source.receive_some(READ_BYTES))
                await to.send_all(data)
            case Delay(by_s):
                await trio.sleep(by_s)
                await to.send_all(data)
            case Throttle(bytes_per_s):
                await self._send_slowly(data, bytes_per_s, to, way)
            case Garble(times):
                if times > 1:
                    self._troubles[way] = Garble(times - 1)
                else:
                    del self._troubles[way]
                await to.send_all(self._garbled(data))
            case Cut(after_bytes) if len(data) < after_bytes:
                self._troubles[way] = Cut(after_bytes - len(data))
                await to.send_all(data)
            case Cut(after_bytes):
                del self._troubles[way]
                await to.send_all(data[:after_bytes])
                pair.reset()
            case _:
                assert_never(trouble)

    async def _send_split(self, data: bytes, size: int, to: trio.SocketStream, way: Way) -> None:
        at = 0
        while at < len(data) and isinstance(self._troubles.get(way), Split):
            await to.send_all(data[at : at + size])
            at += size
        await to.send_all(data[at:])

    async def _send_slowly(self, data: bytes, bytes_per_s: int, to: trio.SocketStream, way: Way) -> None:
        block = max(1, bytes_per_s // 20)
        at = 0
        while at < len(data) and isinstance(self._troubles.get(way), Throttle):
            await to.send_all(data[at : at + block])
            at += block
            await trio.sleep(block / bytes_per_s)
        await to.send_all(data[at:])

    def _garbled(self, data: bytes) -> bytes:
        at = self._rng.randrange(len(data))
        other = data[at] ^ self._rng.randrange(1, 256)
        return data[:at] + bytes((other,)) + data[at + 1 :]


# --- in a thread ----------------------------------------------------------------------------------


@attrs.frozen
class ProxyThread:
    """The face of a proxy for plain, blocking code."""

    proxy: Proxy
    _token: trio.lowlevel.TrioToken

    @property
    def port(self) -> int:
        return self.proxy.listening_on

    def make(self, trouble: Trouble, way: Way = Way.BOTH, for_s: float = math.inf) -> None:
        trio.from_thread.run_sync(self.proxy.make, trouble, way, for_s, trio_token=self._token)

    def heal(self) -> None:
        trio.from_thread.run_sync(self.proxy.heal, trio_token=self._token)


@contextmanager
def proxied(port: int, *, host: str = LOOPBACK, seed: int = 1) -> Iterator[ProxyThread]:
    """A proxy to `host:port` in a thread of its own, for as long as the block lasts."""
    proxy, ready = Proxy(host, port, seed=seed), threading.Event()
    tokens: list[trio.lowlevel.TrioToken] = []
    scope = trio.CancelScope()

    async def serve() -> None:
        with scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(proxy.run)
                tokens.append(trio.lowlevel.current_trio_token())
                ready.set()

    thread = threading.Thread(target=trio.run, args=(serve,), name="proxy", daemon=True)
    thread.start()
    if not ready.wait(JOIN_S):
        raise TimeoutError("the proxy did not start")
    (token,) = tokens
    try:
        yield ProxyThread(proxy, token)
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(JOIN_S)


# --- as a program ---------------------------------------------------------------------------------


async def obey_lines(proxy: Proxy) -> None:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        try:
            step = read_command(line)
        except ValueError as wrong:
            print(wrong, flush=True)
            continue
        if step is None:
            proxy.heal()
        else:
            proxy.make(step.trouble, step.way, step.for_s)
        print("done", flush=True)


async def serve_program(asked: argparse.Namespace) -> None:
    host, _, port = asked.to.rpartition(":")
    proxy = Proxy(host, int(port), seed=asked.plan or 1, listen_on=asked.port)
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        print(f"listening on {LOOPBACK}:{proxy.listening_on}", flush=True)
        if asked.plan is None:
            await obey_lines(proxy)
        else:
            await proxy.play(draw_plan(asked.plan, asked.minutes * 60.0))
        nursery.cancel_scope.cancel()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--to", required=True, help="HOST:PORT")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plan", type=int, metavar="SEED", help="Play a drawn plan instead of commands.")
    parser.add_argument("--minutes", type=float, default=10.0)
    trio.run(serve_program, parser.parse_args(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
