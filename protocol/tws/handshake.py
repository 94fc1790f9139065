"""How a session begins, both sides, without a socket: bytes in, bytes and events out.

The client says `API\\0` and, framed, the versions it speaks (`v100..157`); the server answers, framed,
with the version of the session and its time. From then on everything is framed messages, the client's
`StartApi` first. The server says nothing more until then: ibapi reads its answer with one `recv` and
loses whatever is glued behind it.
"""

from __future__ import annotations

import re
import struct
from datetime import datetime
from typing import Final, TypeAlias

import attrs

from protocol.tws.codec import decode_client, encode_server
from protocol.tws.compiler import BadMessage
from protocol.tws.framing import Deframer, FrameTooLong, frame, join, split
from protocol.tws.messages import (
    ClientRequest,
    ErrorMessage,
    HistoricalData,
    HistoricalDataEnd,
    ServerMessage,
    StartApi,
)
from protocol.tws.tick_bursts import LineTicks
from protocol.tws.versions import ERROR_TIME, HISTORICAL_DATA_END, NEWEST, OLDEST, negotiate

PREFIX: Final = b"API\0"
MAX_HELLO_BYTES: Final = 4096
"""Of the framed version text: real ones are some twenty bytes, with options some hundred."""

MAX_REQUEST_BYTES: Final = 256 * 1024
"""Of one request: the longest real ones, orders with conditions and algorithms, take a few thousand. A
client that announces more is not in step, and must not have the server hold megabytes for it."""

_LENGTH = struct.Struct("!I")
_HELLO = re.compile(r"v(\d{1,6})(?:\.\.(\d{1,6}))?(?: (.*))?", re.DOTALL)


class LocalProtocolError(Exception):
    """We broke the protocol: asked to send what may not be sent now."""


@attrs.frozen
class Negotiated:
    """The handshake is done. `reply` is what has to be sent, and nothing else until `StartApi` came."""

    version: int
    client_min: int
    client_max: int
    options: str
    reply: bytes


@attrs.frozen
class Refused:
    """Not a session: close the connection without another word."""

    reason: str


class ServerHandshake:
    """The server's half. Feed it until it answers, then take `leftover` to a `Deframer`."""

    def __init__(self, server_max: int, connection_time: str) -> None:
        if not OLDEST <= server_max <= NEWEST:
            raise ValueError(f"server version {server_max} is not from {OLDEST} to {NEWEST}")
        self._server_max = server_max
        self._connection_time = connection_time
        self._buffer = bytearray()
        self._done = False

    @property
    def leftover(self) -> bytes:
        """What came behind the hello."""
        return bytes(self._buffer) if self._done else b""

    def receive_data(self, data: bytes) -> Negotiated | Refused | None:
        """None while the hello is not complete."""
        if self._done:
            raise LocalProtocolError("the handshake is over")
        self._buffer += data
        seen = bytes(self._buffer[: len(PREFIX)])
        if not PREFIX.startswith(seen):
            return self._refuse(f"a client begins with {PREFIX!r}, this one with {seen!r}")
        if len(self._buffer) < len(PREFIX) + 4:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, len(PREFIX))
        if not 0 < length <= MAX_HELLO_BYTES:
            return self._refuse(
                f"{length} bytes were announced as versions, at most {MAX_HELLO_BYTES} are taken"
            )
        start = len(PREFIX) + 4
        if len(self._buffer) < start + length:
            return None
        text = bytes(self._buffer[start : start + length]).decode("ascii", "backslashreplace")
        del self._buffer[: start + length]
        return self._answer(text)

    def _answer(self, text: str) -> Negotiated | Refused:
        found = _HELLO.fullmatch(text.rstrip("\0"))
        if found is None:
            return self._refuse(f"{text!r} does not say which versions the client speaks")
        client_min, client_max = int(found[1]), int(found[2] or found[1])
        version = negotiate(self._server_max, client_min, client_max)
        if version is None:
            return self._refuse(
                f"no common version: the client speaks {client_min} to {client_max}, "
                f"this server {OLDEST} to {self._server_max}"
            )
        self._done = True
        reply = frame(join([str(version), self._connection_time]))
        return Negotiated(version, client_min, client_max, found[3] or "", reply)

    def _refuse(self, reason: str) -> Refused:
        self._done = True
        self._buffer.clear()
        return Refused(reason)


ServerEvent: TypeAlias = Negotiated | ClientRequest | Refused


class ServerConnection:
    """One client's connection as the server sees it: from the first byte to the last, without a socket."""

    def __init__(self, server_max: int, connection_time: str) -> None:
        """`connection_time` as TWS writes it: `20260728 10:00:00 EST`."""
        self._handshake = ServerHandshake(server_max, connection_time)
        self._deframer = Deframer(MAX_REQUEST_BYTES)
        self._version: int | None = None
        self._started = False
        self._refused = False

    @property
    def version(self) -> int | None:
        """The negotiated version, None before that."""
        return self._version

    @property
    def started(self) -> bool:
        """Whether `StartApi` came, so that the server may speak."""
        return self._started

    @property
    def pending(self) -> int:
        """Bytes held back for a request that is not complete yet."""
        return self._deframer.pending

    def receive_data(self, data: bytes) -> list[ServerEvent]:
        """What `data` completes, in order. After a `Refused` nothing more is read."""
        if self._refused:
            return []
        events: list[ServerEvent] = []
        if self._version is None:
            answer = self._handshake.receive_data(data)
            match answer:
                case None:
                    return []
                case Refused():
                    self._refused = True
                    return [answer]
                case Negotiated(version):
                    self._version = version
                    events.append(answer)
            data = self._handshake.leftover
        return events + self._requests(data, self._version)

    def _requests(self, data: bytes, version: int) -> list[ServerEvent]:
        refusal: list[ServerEvent] = []
        try:
            payloads = self._deframer.feed(data)
        except FrameTooLong as error:
            self._refused = True
            payloads, refusal = error.complete, [Refused(str(error))]
        requests: list[ServerEvent] = [decode_client(version, payload) for payload in payloads]
        self._started = self._started or any(isinstance(request, StartApi) for request in requests)
        return requests + refusal

    def send(self, message: ServerMessage | LineTicks, at: datetime | None = None) -> bytes:
        """The bytes of `message` at `at`. Raises `LocalProtocolError` before the client's `StartApi`."""
        if self._version is None or not self._started:
            raise LocalProtocolError(f"{type(message).__name__} before the client's StartApi would be lost")
        if isinstance(message, LineTicks):
            return message.burst.frames(self._version, message.req_id)
        if self._version < ERROR_TIME:
            return frame(encode_server(self._version, message))
        return b"".join(
            frame(encode_server(self._version, part)) for part in _parts(self._version, message, at)
        )


def _parts(version: int, message: ServerMessage, at: datetime | None) -> tuple[ServerMessage, ...]:
    """What later versions say in another way: an error with its time, the end of bars by itself."""
    if isinstance(message, ErrorMessage) and not message.time_ms and at is not None:
        return (attrs.evolve(message, time_ms=int(at.timestamp() * 1000)),)
    if isinstance(message, HistoricalData) and version >= HISTORICAL_DATA_END:
        return (message, HistoricalDataEnd(message.req_id, message.start, message.end))
    return (message,)


@attrs.frozen
class ServerHello:
    version: int
    time: str


class ClientHandshake:
    """The client's half: send `hello`, feed what comes, then take `leftover` to a `Deframer`."""

    def __init__(self, client_min: int, client_max: int, options: str = "") -> None:
        self._min, self._max, self._options = client_min, client_max, options
        self._buffer = bytearray()
        self._done = False

    @property
    def hello(self) -> bytes:
        """What the client says first."""
        versions = f"v{self._min}..{self._max}" + (f" {self._options}" if self._options else "")
        return PREFIX + frame(versions.encode("ascii"))

    @property
    def leftover(self) -> bytes:
        """What came behind the server's answer."""
        return bytes(self._buffer) if self._done else b""

    def receive_data(self, data: bytes) -> ServerHello | None:
        """None while the answer is not complete. Raises `BadMessage` for an answer that is none."""
        if self._done:
            raise LocalProtocolError("the handshake is over")
        self._buffer += data
        if len(self._buffer) < 4:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if not 0 < length <= MAX_HELLO_BYTES:
            raise BadMessage(f"an answer of {length} bytes was announced, not 1 to {MAX_HELLO_BYTES}")
        if len(self._buffer) < 4 + length:
            return None
        fields = split(bytes(self._buffer[4 : 4 + length]))
        del self._buffer[: 4 + length]
        self._done = True
        return self._read(fields)

    def _read(self, fields: list[str]) -> ServerHello:
        if len(fields) != 2 or not (fields[0].isascii() and fields[0].isdecimal() and len(fields[0]) <= 6):
            raise BadMessage(f"{fields!r} is not a version and a time")
        version = int(fields[0])
        if not self._min <= version <= self._max:
            raise BadMessage(f"the server chose version {version}, we speak {self._min} to {self._max}")
        return ServerHello(version, fields[1])
