"""One client's connection to the simulated TWS: its bytes in, and its bytes out through a bounded buffer.

Faults stand in between: reading and writing can be paused, and the bytes be cut or gathered in ways that a
client must bear.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from datetime import datetime
from typing import assert_never

import trio

from protocol.exchange.fault_effects import ByteShape, CloseWire, PauseWire, RawBytes, ShapeWire
from protocol.exchange.faults import BurstBytes, GlueBytes, SplitBytes
from protocol.exchange.tws_clients import ClientKey, Said
from protocol.tws.handshake import ServerConnection, ServerEvent

RECEIVE_BYTES = 65_536
CLOGGED_BYTES = 256 * 1024
"""Unsent bytes from which on a client is slow: the replay waits for it a little."""
MAX_UNSENT_BYTES = 32 * 1024 * 1024
"""Unsent bytes beyond which a client is dropped: it has stopped reading."""
STALLED_LOOP_S = 1.0
"""A slow client that has taken nothing for so long is not waited for."""
_LINGER_NOT = struct.pack("ii", 1, 0)
"""Of SO_LINGER: closing sends RST and drops what is unsent."""


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
        self._reads_from_loop_s = self._writes_from_loop_s = self._loses_until_loop_s = 0.0
        self._shape: ByteShape | None = None
        self._shaped_until_loop_s = 0.0
        self.scope = trio.CancelScope()

    @property
    def clogged(self) -> bool:
        """Slow, but alive."""
        if self._in_flight + len(self._unsent) < CLOGGED_BYTES:
            return False
        return trio.current_time() - self._last_progress_loop_s < STALLED_LOOP_S

    @property
    def named(self) -> bool:
        """Whether the client has said who it is."""
        return self._protocol.started

    def queue(self, message: Said, at: datetime) -> None:
        """Have a message of market time `at` sent. A client whose buffer is full is dropped instead."""
        self.queue_bytes(self._protocol.send(message, at))

    def queue_bytes(self, data: bytes) -> None:
        if self._in_flight + len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
            self.scope.cancel()
            return
        if self._loses_until_loop_s and trio.current_time() < self._loses_until_loop_s:
            return
        self._unsent += data
        self._wake.set()

    def finish(self) -> None:
        """Close the connection once everything queued has been sent."""
        self._closing = True
        self._wake.set()

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection now; what is queued is lost. `reset`: a socket sends RST instead of FIN."""
        if reset and isinstance(self._stream, trio.SocketStream):
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.scope.cancel()

    def disturb(self, effect: CloseWire | PauseWire | ShapeWire | RawBytes) -> None:
        """A fault on this wire; pauses begin with the next read and write."""
        now = trio.current_time()
        match effect:
            case CloseWire(flush=True):
                self.finish()
            case CloseWire(reset=reset):
                self.drop(reset=reset)
            case PauseWire(reading=reading, writing=writing, duration_loop_s=duration_loop_s, lost=lost):
                until = now + duration_loop_s
                self._reads_from_loop_s = until if reading else self._reads_from_loop_s
                self._writes_from_loop_s = until if writing else self._writes_from_loop_s
                self._loses_until_loop_s = until if lost else self._loses_until_loop_s
            case ShapeWire(shape=shape):
                self._shape, self._shaped_until_loop_s = shape, now + shape.duration_loop_s
            case RawBytes(data=data):
                self.queue_bytes(data)
            case _:
                assert_never(effect)

    async def receive(self) -> list[ServerEvent] | None:
        """What the client says next; None when it is gone."""
        try:
            data = await self._stream.receive_some(RECEIVE_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        while trio.current_time() < self._reads_from_loop_s:
            await trio.sleep_until(self._reads_from_loop_s)
        return self._protocol.receive_data(bytes(data)) if data else None

    async def send_all(self) -> None:
        """Send what is queued, until the connection is finished or gone; then end its scope."""
        try:
            while not self._closing or self._unsent:
                if not self._unsent:
                    await self._wake.wait()
                    self._wake = trio.Event()
                    continue
                if trio.current_time() < self._writes_from_loop_s:
                    await trio.sleep_until(self._writes_from_loop_s)
                    continue
                if self._shape is None:
                    await self._write(len(self._unsent))
                else:
                    await self._write_shaped(self._shape)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.scope.cancel()

    async def _write(self, size: int) -> None:
        if size == len(self._unsent):
            data, self._unsent = self._unsent, bytearray()
        else:
            data = self._unsent[:size]
            del self._unsent[:size]
        self._in_flight = len(data)
        self._last_progress_loop_s = trio.current_time()
        await self._stream.send_all(data)
        self._in_flight = 0
        self._last_progress_loop_s = trio.current_time()
        self._drained()

    async def _write_shaped(self, shape: ByteShape) -> None:
        """One piece, and the silence that belongs to it."""
        if trio.current_time() >= self._shaped_until_loop_s:
            self._shape = None
            return
        match shape:
            case SplitBytes(size=size, pause_loop_s=pause_loop_s):
                await self._write(min(size, len(self._unsent)))
                await trio.sleep(pause_loop_s)
            case GlueBytes(hold_loop_s=hold_loop_s):
                await trio.sleep(hold_loop_s)
                await self._write(len(self._unsent))
            case BurstBytes(block=block, pause_loop_s=pause_loop_s):
                if len(self._unsent) < block:
                    await trio.sleep(pause_loop_s)
                whole = len(self._unsent) // block * block
                await self._write(whole or len(self._unsent))
                if whole:
                    await trio.sleep(pause_loop_s)
            case _:
                assert_never(shape)
