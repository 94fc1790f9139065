"""A feed that pushes predictions over a websocket: connect, subscribe, listen, and all of it again.

Whatever the feed does, the source stays up and says so once: a lost connection is made anew after a
growing wait, one bad message is refused and a hundred in a row end the connection, silence ends it too.
After a reconnect, and after a restart, the feed is asked to go on where it was left; what it sends twice
is known by its id. Everything here is loop time, except the age of signals.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable
from functools import partial
from random import Random
from urllib.parse import urlsplit

import attrs
import httpx2
import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from actors.intake import CLOCK_GLANCE_LOOP_S, Desk, Intake, Marks
from actors.market_clock import MarketClock
from actors.signal_desk import SourceStatistics
from actors.websocket_stream import WatchedStream
from protocol.allowances import Bucket
from protocol.events import PredictionSignalEvent, SignalVerdictEvent
from protocol.feed_messages import (
    MAX_MESSAGE_BYTES,
    Aside,
    BadMessage,
    FeedSequence,
    Predictions,
    SeqCounts,
    SeqNews,
    fill_subscription,
    read_message,
)
from protocol.health import HealthState
from protocol.loopback import is_loopback
from protocol.predictions import hash_body
from protocol.redaction import Secret
from protocol.signal_gate import MALFORMED, Judgement
from protocol.source_health import TroubleKind
from protocol.source_settings import WebSocketSource
from protocol.supervision_plan import Backoff

MAX_AGE_S = 10.0
"""Of a pushed signal, in market seconds: its way here takes a fraction of one."""
HANDSHAKE_LOOP_S = 10.0
"""From the first packet to a subscription that has left."""
QUEUE = 16
"""Messages that wait to be read; the feed's own connection holds back the rest."""
MAX_BAD_IN_A_ROW = 100
BODIES_AT_ONCE, BODIES_PER_LOOP_S = 400, 200.0
"""Predictions that are taken; a feed that brings more is read more slowly, and trading goes on."""
SAVE_LOOP_S = 1.0
"""How old the saved sequence number may be: after a crash so much is asked for twice."""
RECONNECT = Backoff(min_loop_s=0.5, max_loop_s=30.0, healthy_after_loop_s=10.0)


@attrs.frozen
class _Ending:
    """Why a connection ended; `text` quotes nothing that the feed sent."""

    kind: TroubleKind
    text: str


class _Lost(Exception):
    """No connection came about."""

    def __init__(self, kind: TroubleKind, text: str) -> None:
        super().__init__(text)
        self.ending = _Ending(kind, text)


@attrs.frozen
class _Address:
    host: str
    port: int
    resource: str
    tls: bool

    @property
    def header(self) -> str:
        """The host as the handshake names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def check_feed_url(url: str) -> _Address:
    """Where `url` leads. ValueError unless it is wss, or ws to this very machine."""
    parts = urlsplit(url)
    host = parts.hostname
    if not host or parts.username is not None or parts.query or parts.fragment or not url.isascii():
        raise ValueError("the URL of a feed names a host and a path, nothing else: keys go into token_env")
    if parts.scheme != "wss" and not (parts.scheme == "ws" and is_loopback(host)):
        raise ValueError("the URL of a feed is wss:// (ws:// only to this machine)")
    tls = parts.scheme == "wss"
    return _Address(host, parts.port or (443 if tls else 80), parts.path or "/", tls)


def check_token(token: str) -> None:
    """ValueError, without the token in its text, unless a header can carry it."""
    if not token.isascii() or (token and not token.isprintable()) or token != token.strip():
        raise ValueError("the token of a feed is printable ASCII text without spaces around it")


class WebSocketSignals:
    """One feed. `marks` keeps the last sequence number; `tickers` are what it is asked for."""

    def __init__(
        self,
        settings: WebSocketSource,
        secret: Secret,
        *,
        desk: Desk,
        clock: MarketClock,
        tickers: Iterable[str],
        random: Random,
        marks: Marks,
        reconnect: Backoff = RECONNECT,
        handshake_loop_s: float = HANDSHAKE_LOOP_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` None: what the system trusts. ValueError when URL or token cannot be used."""
        check_token(secret.reveal())
        self._address = check_feed_url(settings.url)
        self._settings, self._secret, self._clock = settings, secret, clock
        self._intake = Intake(settings, desk=desk, clock=clock, tickers=tickers, max_age_s=MAX_AGE_S)
        self._random, self._marks, self._reconnect = random, marks, reconnect
        self._handshake_loop_s, self._tls = handshake_loop_s, tls
        self._sequence: FeedSequence | None = None
        self._bucket = Bucket(BODIES_AT_ONCE, BODIES_PER_LOOP_S)
        self._trouble: _Ending | None = None
        self._connected = False
        self._heard_loop = self._saved_loop = -math.inf
        self._retarget = trio.Event()

    def statistics(self) -> SourceStatistics:
        return self._intake.copy_statistics()

    def sequence_counts(self) -> SeqCounts:
        """What the feed's numbers told so far."""
        return SeqCounts() if self._sequence is None else attrs.evolve(self._sequence.counts)

    def health(self) -> tuple[str, str]:
        if self._trouble is not None:
            text = f"{self._trouble.text}; it is tried again, trading goes on"
            return HealthState.DOWN.value, text
        if self._connected:
            return HealthState.OK.value, ""
        return HealthState.WAITING.value, "no connection yet"

    def set_tickers(self, tickers: Iterable[str]) -> None:
        """Ask for other tickers from now on; the subscription is sent anew."""
        self._intake.set_tickers(tickers)
        self._retarget.set()

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. `epoch` counts the starts of this actor."""
        del epoch  # what the desk has seen it knows, whichever incarnation brought it
        await self._intake.ready()
        if self._sequence is None:
            self._sequence = FeedSequence(self._read_mark())
        if self._address.tls and self._tls is None:
            # Reading the certificates takes 100 ms and more: not on the loop that trades.
            self._tls = await trio.to_thread.run_sync(httpx2.create_ssl_context, abandon_on_cancel=True)
        task_status.started()
        while not self._clock.known:
            await trio.sleep(CLOCK_GLANCE_LOOP_S)
        failures = 0
        while True:
            self._intake.statistics.polls += 1
            begun_loop = trio.current_time()
            try:
                ending = await self._connect_and_listen(self._sequence)
            finally:
                self._connected = False
                self._save_mark()
            if trio.current_time() - begun_loop >= self._reconnect.healthy_after_loop_s:
                failures = 0
            self._note_trouble(ending)
            failures += 1
            await trio.sleep(self._reconnect.delay_s(failures, self._random.random()))

    # --- one connection ---------------------------------------------------------------------------

    async def _connect_and_listen(self, sequence: FeedSequence) -> _Ending:
        try:
            with trio.fail_after(self._handshake_loop_s):
                stream = await self._open_stream()
        except trio.TooSlowError:
            return _Ending(TroubleKind.TIMEOUT, f"no connection within {self._handshake_loop_s:g} s")
        except _Lost as lost:
            return lost.ending
        watched = WatchedStream(stream)
        try:
            return await self._hold(watched, sequence)
        finally:
            await trio.aclose_forcefully(watched)

    async def _open_stream(self) -> trio.abc.Stream:
        host, port = self._address.host, self._address.port
        if not self._address.tls:
            try:
                return await trio.open_tcp_stream(host, port)
            except OSError:
                raise _Lost(TroubleKind.UNREACHABLE, "nobody answers at its address") from None
        try:
            stream = await trio.open_ssl_over_tcp_stream(
                host, port, ssl_context=self._tls, https_compatible=True
            )
        except OSError:
            raise _Lost(TroubleKind.UNREACHABLE, "nobody answers at its address") from None
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            await trio.aclose_forcefully(stream)
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise _Lost(TroubleKind.REFUSED, "its certificate is not trusted: it may be another") from None
            raise _Lost(TroubleKind.UNREACHABLE, "the encrypted connection did not come about") from None
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    async def _hold(self, stream: WatchedStream, sequence: FeedSequence) -> _Ending:
        """From the handshake to the end; what the library raises on the way is the end, too."""
        endings: list[_Ending] = []
        try:
            async with trio.open_nursery() as nursery:
                endings.append(await self._converse(stream, sequence, nursery))
                nursery.cancel_scope.cancel()
        except* trio_websocket.ConnectionRejected as rejected:
            endings.append(_rejection(rejected))
        except* (trio_websocket.HandshakeError, trio_websocket.ConnectionClosed, LocalProtocolError):
            endings.append(_Ending(TroubleKind.UNREACHABLE, "the connection broke"))
        return endings[0]

    async def _converse(
        self, stream: WatchedStream, sequence: FeedSequence, nursery: trio.Nursery
    ) -> _Ending:
        with trio.move_on_after(self._handshake_loop_s) as handshake:
            nursery.start_soon(_cancel_at_end, stream, handshake)
            connection = await self._shake_hands(stream, nursery)
            stream.open = True
            await self._subscribe(connection, sequence.begin_connection())
        if handshake.cancelled_caught:
            if stream.ended.is_set():
                return _Ending(TroubleKind.UNREACHABLE, "it closed the connection during the handshake")
            return _Ending(TroubleKind.TIMEOUT, f"no handshake within {self._handshake_loop_s:g} s")
        self._note_heard()
        self._connected = True
        ended = _End(nursery.cancel_scope)
        nursery.start_soon(self._keep_alive, connection, ended)
        nursery.start_soon(self._watch_silence, ended)
        nursery.start_soon(self._follow_tickers, connection, sequence)
        nursery.start_soon(self._note_recovery)
        return await self._listen(connection, sequence)
