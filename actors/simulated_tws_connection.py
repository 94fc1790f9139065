"""One client's connection to the simulated TWS: its bytes in, and its bytes out through a bounded buffer."""

from __future__ import annotations

from collections.abc import Callable

import trio

from protocol.exchange.tws_clients import ClientKey
from protocol.tws.handshake import ServerConnection, ServerEvent
from protocol.tws.messages import ServerMessage

RECEIVE_BYTES = 65_536
CLOGGED_BYTES = 256 * 1024
"""Unsent bytes from which on a client is slow: the replay waits for it a little."""
MAX_UNSENT_BYTES = 32 * 1024 * 1024
"""Unsent bytes beyond which a client is dropped: it has stopped reading."""
STALLED_LOOP_S = 1.0
"""A slow client that has taken nothing for so long is not waited for."""


class Connection:
    """Messages are queued without waiting and leave in one write per turn of the loop."""

    def __init__(
        self,
        key: ClientKey,
        stream: trio.abc.Stream,
        protocol: ServerConnection,
        *,
        drained: Callable[[], None],
    ) -> None:
        """`drained` is called after each write: somebody may be waiting for a slow client."""
        self.key = key
        self._stream, self._protocol, self._drained = stream, protocol, drained
        self._unsent = bytearray()
        self._in_flight = 0
        self._wake = trio.Event()
        self._closing = False
        self._last_progress_loop_s = trio.current_time()
        self.scope = trio.CancelScope()

    @property
    def clogged(self) -> bool:
        """Slow, but alive."""
        if self._in_flight + len(self._unsent) < CLOGGED_BYTES:
            return False
        return trio.current_time() - self._last_progress_loop_s < STALLED_LOOP_S

    def queue(self, message: ServerMessage) -> None:
        """Have a message sent. A client whose buffer is full is dropped instead."""
        self.queue_bytes(self._protocol.send(message))

    def queue_bytes(self, data: bytes) -> None:
        if self._in_flight + len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
            self.scope.cancel()
            return
        self._unsent += data
        self._wake.set()

    def finish(self) -> None:
        """Close the connection once everything queued has been sent."""
        self._closing = True
        self._wake.set()

    async def receive(self) -> list[ServerEvent] | None:
        """What the client says next; None when it is gone."""
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        return self._protocol.receive_data(bytes(data)) if data else None

    async def send_all(self) -> None:
        """Send what is queued, until the connection is finished or gone; then end its scope."""
        try:
            while not self._closing or self._unsent:
                if not self._unsent:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    continue
                data, self._unsent = self._unsent, bytearray()
                self._in_flight = len(data)
                self._last_progress_loop_s = trio.current_time()
                await self._stream.send_all(data)
                self._in_flight = 0
                self._last_progress_loop_s = trio.current_time()
                self._drained()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.scope.cancel()
