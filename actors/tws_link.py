"""A link: one session's bytes to and from TWS, already as messages. Two kinds behind one face.

`ThreadLink` (`tws_thread.py`) has a socket and a thread of its own and is what trades. `StreamLink` here
runs over any trio stream, without a thread: a memory stream makes runs deterministic. Both hand over
what one read brought as one `Burst`, in order, and both send whole frames or are down.
"""

from __future__ import annotations

from typing import Protocol

import attrs
import trio

from actors.tws_codec import CLIENT_MAX, CLIENT_MIN, TwsCodec
from protocol.session_words import Inbound
from protocol.tws.compiler import BadMessage
from protocol.tws.framing import Deframer, FrameTooLong
from protocol.tws.handshake import ClientHandshake
from protocol.tws.messages import ClientRequest

READ_BYTES = 65_536
MAX_UNSENT_BYTES = 1 << 20
"""What may wait for a peer that does not read: thousands of orders, far beyond anything that is in order."""
STUCK_LOOP_S = 5.0
"""How long a peer may take nothing at all before the link counts as dead."""


class LinkDown(Exception):
    """There is no link, or no longer; `str()` says why. What was sent last may or may not have arrived."""


class NoHandshake(LinkDown):
    """Something took the connection and never answered."""


class NotTws(LinkDown):
    """Something answered, and not as TWS does."""


@attrs.frozen
class Burst:
    """What one read brought. `received_at` is the loop time of that read."""

    received_at: float
    messages: tuple[Inbound, ...]


class Link(Protocol):
    """An established session, after the handshake and before `StartApi`."""

    @property
    def server_version(self) -> int: ...

    def encode(self, request: ClientRequest) -> bytes:
        """The frame of a request. Raises `EncodeRefused`."""
        ...

    def send(self, data: bytes) -> None:
        """Give whole frames to the wire without waiting. Raises `LinkDown`."""
        ...

    async def receive(self) -> Burst:
        """The next burst. Raises `LinkDown` when there is none any more."""
        ...

    async def run(self) -> None:
        """Carry what needs a task; to be run beside `receive` for as long as the link is used."""
        ...

    def close(self) -> None:
        """End the link: nothing more is sent or received, no thread remains. May be called twice."""
        ...


class Decoding:
    """Bytes to messages: the part that every link shares."""

    def __init__(self, codec: TwsCodec) -> None:
        self.codec = codec
        self._deframer = Deframer()

    def feed(self, data: bytes) -> tuple[tuple[Inbound, ...], str | None]:
        """The messages that `data` completes, and why nothing more can be read, if that is so."""
        problem = None
        try:
            payloads = self._deframer.feed(data)
        except FrameTooLong as error:
            payloads, problem = error.complete, f"the stream is out of step: {error}"
        return tuple(self.codec.decode_all(payloads)), problem


async def shake_hands(stream: trio.abc.Stream, timeout_loop_s: float) -> tuple[int, bytes]:
    """Negotiate the version; (version, what came behind the answer). Raises `LinkDown`."""
    handshake = ClientHandshake(CLIENT_MIN, CLIENT_MAX)
    try:
        with trio.fail_after(timeout_loop_s):
            await stream.send_all(handshake.hello)
            while True:
                data = await stream.receive_some(READ_BYTES)
                if not data:
                    raise LinkDown("the connection was closed during the handshake")
                hello = handshake.receive_data(bytes(data))
                if hello is not None:
                    return hello.version, handshake.leftover
    except trio.TooSlowError:
        raise NoHandshake(f"no answer to the handshake within {timeout_loop_s:g} s") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise LinkDown("the connection broke during the handshake") from None
    except BadMessage as problem:
        raise NotTws(f"this is not TWS: {problem}") from None


class StreamLink:
    """A link over a trio stream, decoded and written in the tasks that call it."""

    def __init__(self, stream: trio.abc.Stream, server_version: int, client_id: int, leftover: bytes) -> None:
        self.server_version = server_version
        self._stream = stream
        self._decoding = Decoding(TwsCodec(server_version, client_id))
        self._leftover = leftover
        self._unsent = bytearray()
        self._wake = trio.Event()
        self._down: str | None = None

    @classmethod
    async def open(cls, stream: trio.abc.Stream, client_id: int, timeout_loop_s: float = 10.0) -> StreamLink:
        """Shake hands over `stream`. Raises `LinkDown`, with the stream closed."""
        try:
            version, leftover = await shake_hands(stream, timeout_loop_s)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return cls(stream, version, client_id, leftover)

    def encode(self, request: ClientRequest) -> bytes:
        return self._decoding.codec.encode(request)

    def send(self, data: bytes) -> None:
        if self._down is not None:
            raise LinkDown(self._down)
        if len(self._unsent) + len(data) > MAX_UNSENT_BYTES:
            self._end("the peer does not read")
            raise LinkDown("the peer does not read")
        self._unsent += data
        self._wake.set()

    async def run(self) -> None:
        """Write what was sent. A peer that takes nothing for `STUCK_LOOP_S` ends the link."""
        while self._down is None:
            await self._wake.wait()
            self._wake = trio.Event()
            data, self._unsent = bytes(self._unsent), bytearray()
            try:
                with trio.fail_after(STUCK_LOOP_S):
                    await self._stream.send_all(data)
            except trio.TooSlowError:
                self._end("the peer does not read")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end("the connection broke")
        # Closing wakes a receive that waits, here as elsewhere in trio.
        await trio.aclose_forcefully(self._stream)

    async def receive(self) -> Burst:
        while self._down is None:
            data = self._leftover
            self._leftover = b""
            try:
                if not data:
                    data = bytes(await self._stream.receive_some(READ_BYTES))
                    if not data:
                        self._end("TWS closed the connection")
                        break
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._end("the connection broke")
                break
            messages, problem = self._decoding.feed(data)
            if problem is not None:
                self._end(problem)
            if messages:
                return Burst(trio.current_time(), messages)
        raise LinkDown(self._down or "closed")

    def _end(self, reason: str) -> None:
        if self._down is None:
            self._down = reason
            self._wake.set()

    def close(self) -> None:
        self._end("closed")
        _close_now(self._stream)


def _close_now(stream: object) -> None:
    """Close without waiting. Trio's streams close in an instant but only say so in an async method;
    its sockets and memory streams have a plain one, alone or as the two halves of a stapled stream."""
    for part in (stream, getattr(stream, "send_stream", None), getattr(stream, "receive_stream", None)):
        close = getattr(getattr(part, "socket", part), "close", None)
        if close is not None:
            close()
