"""One websocket connection to a feed, from its first packet to its end: bounded in time and in size.

The library does the protocol. What it lacks is here: certificates judged before the handshake, a limit on
what a stranger may answer to it, an end that is noticed during it, and a silence that has an end.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlsplit

import attrs
import h11
import trio
import trio_websocket
from wsproto.utilities import ProtocolError

from protocol.feed_messages import MAX_MESSAGE_BYTES
from protocol.loopback import is_loopback
from protocol.source_health import TroubleKind
from protocol.source_settings import WebSocketSource

QUEUE = 16
"""Messages that wait to be read; what comes on top waits in the connection."""
MAX_HANDSHAKE_BYTES = 65_536
"""What the other side may say before the connection is a websocket."""
END_GRACE_LOOP_S = 0.05
"""Between the end of a connection and giving up on its handshake, which may have just come."""

_BROKEN = (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, ProtocolError, h11.ProtocolError)
"""What the library raises, at times from tasks of its own, when the other side does not keep to the protocol.

It stumbles over its own answer to garbage: an error of its own side then means one of the other side.
"""


@attrs.frozen
class Ending:
    """Why a connection ended, or never came about. `text` quotes nothing that the other side said."""

    kind: TroubleKind
    text: str


@attrs.frozen
class Address:
    host: str
    port: int
    resource: str
    tls: bool

    @property
    def header(self) -> str:
        """The host as the handshake names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def read_feed_url(url: str) -> Address:
    """Where `url` leads. ValueError unless it is wss, or ws to this very machine."""
    parts = urlsplit(url)
    host = parts.hostname
    if not host or parts.username is not None or parts.query or parts.fragment or not url.isascii():
        raise ValueError("the URL of a feed names a host and a path, nothing else: keys go into token_env")
    if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(host)):
        raise ValueError("the URL of a feed is wss:// (ws:// only to this machine)")
    tls = parts.scheme == "wss"
    return Address(host, parts.port or (443 if tls else 80), parts.path or "/", tls)


def check_token(token: str) -> None:
    """ValueError, without the token in its text, unless a header can carry it."""
    if not token.isascii() or not (token == "" or token.isprintable()) or token != token.strip():
        raise ValueError("the token of a feed is printable ASCII text without spaces around it")


class Listener(Protocol):
    """Who listens to a connection."""

    def opened(self) -> str:
        """The handshake is through; the text that subscribes, empty for none."""

    def alive(self) -> None:
        """A sign of life: a message, or the answer to a ping."""

    async def heard(self, message: str | bytes) -> Ending | None:
        """One message; an ending when there should be no more."""


class FeedConnection:
    """Used once: `run` connects, subscribes, and listens until the connection ends."""

    def __init__(
        self,
        address: Address,
        token: str,
        settings: WebSocketSource,
        listener: Listener,
        *,
        tls: ssl.SSLContext | None,
        handshake_loop_s: float,
    ) -> None:
        self._address, self._token, self._settings, self._listener = address, token, settings, listener
        self._tls, self._handshake_loop_s = tls, handshake_loop_s
        self._ending: Ending | None = None
        self._heard_loop = -math.inf
        self._scope: trio.CancelScope | None = None
        self._connection: trio_websocket.WebSocketConnection | None = None
        self._text_waits: str | None = None
        self._wake = trio.Event()

    def say(self, text: str) -> None:
        """Send `text` soon; a later one replaces one that has not left yet."""
        self._text_waits = text
        self._wake.set()

    async def run(self) -> Ending:
        try:
            with trio.fail_after(self._handshake_loop_s):
                stream = await self._open_stream()
        except trio.TooSlowError:
            return Ending(TroubleKind.TIMEOUT, f"no connection within {self._handshake_loop_s:g} s")
        if isinstance(stream, Ending):
            return stream
        watched = _WatchedStream(stream)
        try:
            await self._hold(watched)
        finally:
            await trio.aclose_forcefully(watched)
        return self._ending or Ending(TroubleKind.UNREACHABLE, "the connection broke")

    async def _open_stream(self) -> trio.abc.Stream | Ending:
        host, port = self._address.host, self._address.port
        nobody = Ending(TroubleKind.UNREACHABLE, "nobody answers at its address")
        try:
            plain = await trio.open_tcp_stream(host, port)
        except OSError:
            return nobody
        if self._tls is None:
            return plain
        stream = trio.SSLStream(plain, self._tls, server_hostname=host, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                return Ending(TroubleKind.REFUSED, "its certificate is not trusted; nothing was said to it")
            return Ending(TroubleKind.UNREACHABLE, "the encrypted connection did not come about")
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def _hold(self, stream: _WatchedStream) -> None:
        """From the handshake to the end; what the library raises on the way is the end, too."""
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                await self._converse(stream, nursery)
                nursery.cancel_scope.cancel()
        except* trio_websocket.ConnectionRejected as rejected:
            self._ending = _rejection(rejected)
        except* _BROKEN:
            pass
        except* UnicodeDecodeError:
            # The library takes the headers of an answer for ASCII. Later, it would be a fault of ours.
            if stream.open:
                raise

    async def _converse(self, stream: _WatchedStream, nursery: trio.Nursery) -> None:
        with trio.move_on_after(self._handshake_loop_s) as handshake:
            nursery.start_soon(_cancel_at_end, stream, handshake)
            headers = [(b"authorization", f"Bearer {self._token}".encode())] if self._token else []
            connection = await trio_websocket.wrap_client_stream(
                nursery,
                stream,  # type: ignore[arg-type]  # any stream does; its hints name two of them
                self._address.header,
                self._address.resource,
                extra_headers=headers,
                message_queue_size=QUEUE,
                max_message_size=MAX_MESSAGE_BYTES,
            )
            stream.open = True
            subscription = self._listener.opened()
            if subscription:
                await connection.send_message(subscription)
        if handshake.cancelled_caught:
            slow = Ending(TroubleKind.TIMEOUT, f"no handshake within {self._handshake_loop_s:g} s")
            closed = Ending(TroubleKind.UNREACHABLE, "it closed the connection during the handshake")
            self._ending = closed if stream.ended.is_set() else slow
            return
        self._heard_loop = trio.current_time()
        nursery.start_soon(self._keep_alive, connection)
        nursery.start_soon(self._watch_silence)
        nursery.start_soon(self._say_what_waits, connection)
        self._ending = await self._listen(connection)

    async def _listen(self, connection: trio_websocket.WebSocketConnection) -> Ending:
        while True:
            try:
                message = await connection.get_message()
            except trio_websocket.ConnectionClosed as closed:
                code = 1006 if closed.reason is None else closed.reason.code
                return Ending(TroubleKind.UNREACHABLE, f"the connection was closed ({code})")
            self._note_life()
            ending = await self._listener.heard(message)
            if ending is not None:
                return ending

    # --- beside the listening ---------------------------------------------------------------------

    async def _keep_alive(self, connection: trio_websocket.WebSocketConnection) -> None:
        interval_loop_s = self._settings.keep_alive_loop_s
        while True:
            await trio.sleep(interval_loop_s)
            asked_loop = trio.current_time()
            with trio.move_on_after(interval_loop_s):
                if not await _try_to(connection.ping):
                    return
                self._note_life()
            if self._heard_loop < asked_loop:
                self._end(f"no sign of life within {interval_loop_s:g} s of a ping")

    async def _watch_silence(self) -> None:
        longest_loop_s = self._settings.silence_loop_s
        while trio.current_time() < self._heard_loop + longest_loop_s:
            await trio.sleep_until(self._heard_loop + longest_loop_s)
        self._end(f"silent for {longest_loop_s:g} s")

    async def _say_what_waits(self, connection: trio_websocket.WebSocketConnection) -> None:
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            text, self._text_waits = self._text_waits, None
            if text and not await _try_to(connection.send_message, text):
                return

    def _note_life(self) -> None:
        self._heard_loop = trio.current_time()
        self._listener.alive()

    def _end(self, text: str) -> None:
        self._ending = Ending(TroubleKind.TIMEOUT, text)
        assert self._scope is not None
        self._scope.cancel()


class _WatchedStream(trio.abc.Stream):
    """A stream with a limit on what is received until it is `open`, and with its end as an event."""

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
        self._received += len(data)
        if not self.open and self._received > MAX_HANDSHAKE_BYTES:
            self.ended.set()
            raise trio.BrokenResourceError("the answer to the handshake is too large")
        if not data:
            self.ended.set()
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _cancel_at_end(stream: _WatchedStream, handshake: trio.CancelScope) -> None:
    """Cancel the wait for a handshake that will not come. Once it is through, nobody is in its scope."""
    await stream.ended.wait()
    await trio.sleep(END_GRACE_LOOP_S)
    handshake.cancel()


async def _try_to(action: Callable[..., Awaitable[None]], *arguments: object) -> bool:
    """Whether it could be done; if not, the connection is closing, and whoever listens learns why."""
    try:
        await action(*arguments)
    except _BROKEN:
        return False
    return True


def _rejection(rejected: BaseExceptionGroup[trio_websocket.ConnectionRejected]) -> Ending:
    error: BaseException = rejected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, trio_websocket.ConnectionRejected)
    code = error.status_code
    match code:
        case 401 | 403:
            kind = TroubleKind.UNAUTHORIZED
        case 429:
            kind = TroubleKind.RATE_LIMITED
        case _:
            kind = TroubleKind.SERVER_ERROR if code >= 500 else TroubleKind.REFUSED
    return Ending(kind, f"it refused the handshake with HTTP {code}")
