"""The byte stream under a websocket: bounded until the handshake is through, and it tells of its end.

The websocket library puts a refusal's whole body into memory, and waits for ever for a handshake on a
connection that the other side has closed. Both are seen here.
"""

from __future__ import annotations

import trio

MAX_HANDSHAKE_BYTES = 65_536
"""What the other side may say before the connection is a websocket."""


class WatchedStream(trio.abc.Stream):
    """`stream` with a limit on what is received until `open` is set, and with its end as an event."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = 0
        self.open = False
        self.ended = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        self._received += len(data)
        if not self.open and self._received > MAX_HANDSHAKE_BYTES:
            self.ended.set()
            raise trio.BrokenResourceError("the answer to the handshake is too large")
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
