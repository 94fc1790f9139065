"""The door of a webhook receiver: hypercorn on few connections, each small and short, made at a pace.

Hypercorn alone takes every connection that comes, and a stranger could take all file descriptors from
what trades. Here a new connection past the limit costs the oldest one its place (whoever drips bytes is
always older than an honest sender), and what comes faster than the pace waits in the kernel's queue.
Hypercorn also shields what it sends from being cancelled: whoever makes it send without reading would
hold up the end of the process. So little is sent on one connection that it never waits.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

import attrs
import h11
import hypercorn.typing
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.applications import Starlette

from protocol.allowances import Bucket

MAX_HEAD_BYTES = 16_384
MAX_RECEIVED_BYTES = 1_200_000
"""On one connection, whatever it is: more than is read of a body that is too large."""
MAX_SENT_BYTES = 16_384
"""On one connection: an answer has some hundred bytes. It fits into what the kernel takes at once."""
SEND_LOOP_S = 1.0
"""For one sending, shorter than a supervisor waits for a cancelled actor."""
BACKLOG = 64
"""Connections that the kernel keeps waiting."""


HANG_UP = "hang_up"
"""In the `state` of an ASGI scope: what ends its connection at once, for an answer that ends the talk."""


@attrs.frozen(kw_only=True)
class DoorLimits:
    """How much is let in. A connection costs 1 to 2 ms of the machine: a flood takes a tenth of it."""

    connections: int = 50
    at_once: int = 50
    per_loop_s: float = 50.0
    head_loop_s: float = 10.0
    """For the head of a request, however it drips."""
    body_loop_s: float = 10.0
    connection_loop_s: float = 25.0
    """For the whole of it: head, body and answer."""


_STUMBLES = (h11.ProtocolError, trio.BusyResourceError)
"""What hypercorn itself raises over bytes that no honest sender sends: the connection ends, and no more.

What the application raises is no part of it: that, hypercorn answers with a 500.
"""


class Door:
    """Serves one application; each connection brings one request."""

    def __init__(self, app: Starlette, limits: DoorLimits) -> None:
        self._app = ASGIWrapper(cast("hypercorn.typing.ASGIFramework", app))
        self._limits, self._config = limits, _config(limits)
        self._context = WorkerContext(None)
        self._open: dict[int, trio.CancelScope] = {}
        self._numbers = itertools.count()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._open)

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Until cancelled; the listeners are closed then."""
        bucket = Bucket(self._limits.at_once, self._limits.per_loop_s)
        paced = [_PacedListener(listener, bucket) for listener in listeners]
        task_status.started()
        await trio.serve_listeners(self._serve_one, paced)

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        number = next(self._numbers)
        while len(self._open) >= self._limits.connections:
            self._open.pop(next(iter(self._open))).cancel()
        deadline_loop = trio.current_time() + self._limits.connection_loop_s
        scope = self._open[number] = trio.CancelScope(deadline=deadline_loop)
        # Hypercorn's types speak of its TLS streams; it serves whatever is a stream with a socket.
        bounded = cast("trio.SSLStream[trio.SocketStream]", _BoundedStream(stream, scope.cancel))
        state = hypercorn.typing.ConnectionState({HANG_UP: scope.cancel})
        try:
            with scope:
                await TCPServer(self._app, self._config, self._context, state, bounded).run()
        except* _STUMBLES:
            pass
        finally:
            self._open.pop(number, None)


class _BoundedStream(trio.abc.HalfCloseableStream):
    """A stream that breaks past its limits, in bytes and in time."""

    def __init__(self, stream: trio.SocketStream, hang_up: Callable[[], None]) -> None:
        self._stream, self.socket, self._hang_up = stream, stream.socket, hang_up
        self._received = self._sent = 0
        self._head_is_whole = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._sent += len(data)
        if self._sent > MAX_SENT_BYTES:
            raise trio.BrokenResourceError("it was to be told too much")
        with trio.move_on_after(SEND_LOOP_S) as scope:
            await self._stream.send_all(data)
        if scope.cancelled_caught:
            raise trio.BrokenResourceError("it does not read")

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if not self._head_is_whole:
            return await self._receive_head()
        data = await self._stream.receive_some(max_bytes)
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            raise trio.BrokenResourceError("it says too much")
        return data

    async def _receive_head(self) -> bytes:
        """The head of the request, and what came with it. Only plain HTTP/1 gets any further."""
        head = bytearray()
        while b"\r\n\r\n" not in head:
            part = await self._stream.receive_some(MAX_HEAD_BYTES)
            head += part
            if not part or len(head) > 2 * MAX_HEAD_BYTES:
                self._give_up("it asks for nothing")
        if head.startswith(b"PRI ") or b"\r\nupgrade:" in head.lower():
            self._give_up("it wants to speak another protocol")
        self._received, self._head_is_whole = len(head), True
        return bytes(head)

    def _give_up(self, why: str) -> NoReturn:
        # Hypercorn would keep the connection until its head is overdue.
        self._hang_up()
        raise trio.BrokenResourceError(why)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _PacedListener(trio.abc.Listener[trio.SocketStream]):
    """A listener that accepts no faster than the bucket lets it."""

    def __init__(self, listener: trio.SocketListener, bucket: Bucket) -> None:
        self._listener, self._bucket = listener, bucket

    async def accept(self) -> trio.SocketStream:
        while (wait_loop_s := self._bucket.wait_loop_s(trio.current_time())) > 0:
            await trio.sleep(wait_loop_s)
        stream = await self._listener.accept()
        self._bucket.take(trio.current_time())
        return stream

    async def aclose(self) -> None:
        await self._listener.aclose()


def _config(limits: DoorLimits) -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    config.keep_alive_max_requests = 1
    config.keep_alive_timeout = limits.head_loop_s
    config.h2_max_concurrent_streams = 1
    return config
