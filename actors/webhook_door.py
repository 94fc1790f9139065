"""The door of a webhook receiver: hypercorn on few connections, each for a short time, made at a pace.

Hypercorn alone takes every connection that comes, and a stranger could take all file descriptors from
what trades. Here a new connection past the limit costs the oldest one its place (whoever drips bytes is
always older than an honest sender), and what comes faster than the pace waits in the kernel's queue.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import hypercorn.typing
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from starlette.applications import Starlette

from protocol.allowances import Bucket

MAX_CONNECTIONS = 50
HEAD_LOOP_S = 10.0
"""For the head of a request, however it drips."""
CONNECTION_LOOP_S = 25.0
"""For a whole connection: head, body and answer."""
MAX_HEAD_BYTES = 16_384
CONNECTIONS_AT_ONCE, CONNECTIONS_PER_LOOP_S = 50, 50.0
"""One costs about 2 ms of the machine: a flood takes a tenth of it."""
BACKLOG = 64


class Door:
    """Serves one application; each connection brings one request."""

    def __init__(self, app: Starlette) -> None:
        self._app = ASGIWrapper(cast("hypercorn.typing.ASGIFramework", app))
        self._config = _config()
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
        bucket = Bucket(CONNECTIONS_AT_ONCE, CONNECTIONS_PER_LOOP_S)
        paced = [_PacedListener(listener, bucket) for listener in listeners]
        task_status.started()
        await trio.serve_listeners(self._serve_one, paced)

    async def _serve_one(self, stream: trio.SocketStream) -> None:
        number = next(self._numbers)
        while len(self._open) >= MAX_CONNECTIONS:
            self._open.pop(next(iter(self._open))).cancel()
        scope = self._open[number] = trio.CancelScope(deadline=trio.current_time() + CONNECTION_LOOP_S)
        try:
            with scope:
                # Hypercorn's types speak of its TLS streams; it serves plain ones as well.
                tls_or_not = cast("trio.SSLStream[trio.SocketStream]", stream)
                state = hypercorn.typing.ConnectionState({})
                await TCPServer(self._app, self._config, self._context, state, tls_or_not).run()
        finally:
            self._open.pop(number, None)


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


def _config() -> Config:
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = MAX_HEAD_BYTES
    # One request a connection: many answers that nobody reads would fill the socket, and hypercorn
    # shields its sends from being cancelled.
    config.keep_alive_max_requests = 1
    config.keep_alive_timeout = HEAD_LOOP_S
    config.max_app_queue_size = 2
    config.h2_max_concurrent_streams = 1
    return config
