"""What charting services and others post: a small HTTP receiver that believes few and answers all.

Believed, understood, and within its rate, a post is a signal like any other; the sender is told what the
gate made of it. Requests are read by tasks of their own; what touches the journal happens in the actor's
task, so that its supervisor sees a failure. The machine's clock is asked for the age of signatures, and
for nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import attrs
import orjson
import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.intake import Desk, Intake
from actors.market_clock import MarketClock
from actors.signal_desk import SourceStatistics
from actors.webhook_door import BACKLOG, HANG_UP, Door, DoorLimits
from protocol.allowances import Allowances
from protocol.charting_posts import PostReader
from protocol.health import HealthState
from protocol.redaction import Secret
from protocol.source_settings import WebhookSource
from protocol.supervision_plan import Backoff
from protocol.webhooks import (
    MAX_BODY_BYTES,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    Doubt,
    Fault,
    SignatureCheck,
    Told,
    check_webhook,
    read_timestamp,
    take_secret,
    tell,
)

MAX_AGE_S = 10.0
"""Of a posted signal, in market seconds."""
ANSWER_LOOP_S = 5.0
"""For the verdict of a post that waits for the actor."""
DRAINED_BYTES = 1_000_000
"""What is read of a body that is too large, so that its sender gets to read the answer."""
HANG_UP_LOOP_S = 1.0
"""For an answer to somebody who is still talking."""
QUEUE = 16
POSTS_OF_ALL, POSTS_OF_EACH = (60, 2.0), (30, 1.0)
"""Believed posts: at once, and a second in the long run."""
ALARM_LOOP_S = 60.0
"""Between two alarms about requests without proof: the second one tells how many there were."""
LIMITS = DoorLimits()
REBIND = Backoff(min_loop_s=0.5, max_loop_s=30.0)


class _Refused(Exception):
    """What answers a request that is not taken. `reason` quotes nothing of it."""

    def __init__(self, status: int, reason: str, retry_loop_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status, self.reason, self.retry_loop_s = status, reason, retry_loop_s

    def response(self) -> Response:
        headers = {"Retry-After": str(math.ceil(self.retry_loop_s))} if self.retry_loop_s else {}
        return _json({"error": self.reason}, self.status, headers)


@attrs.define(eq=False)
class _Post:
    """One believed prediction, and where its answer goes."""

    body: dict[str, object]
    told: Told | None = None
    answered: trio.Event = attrs.Factory(trio.Event)


@attrs.frozen
class _Unproven:
    """Somebody posted without being who he should be."""

    sender: str


class WebhookSignals:
    """One receiver. `tickers` are what may be posted; empty: whatever is traded."""

    def __init__(
        self,
        settings: WebhookSource,
        secret: Secret,
        *,
        desk: Desk,
        clock: MarketClock,
        tickers: Iterable[str] = (),
        wall: Callable[[], float] = time.time,
        limits: DoorLimits = LIMITS,
        rebind: Backoff = REBIND,
    ) -> None:
        """`wall`: epoch seconds. ValueError when the settings or the secret cannot be used."""
        check_webhook(settings, secret.reveal())
        self._settings, self._secret, self._clock, self._wall = settings, secret, clock, wall
        self._intake = Intake(settings, desk=desk, clock=clock, tickers=tickers, max_age_s=MAX_AGE_S)
        self._rebind = rebind
        self._signatures = SignatureCheck(secret, settings.window_loop_s)
        self._posts = PostReader()
        self._allowances = Allowances(POSTS_OF_ALL, POSTS_OF_EACH)
        self._send: trio.MemorySendChannel[_Post | _Unproven] | None = None
        self._unproven = 0
        self._alarm_due_loop = -math.inf
        self._port_trouble = ""
        self.port = settings.port
        """Where it listens; that of the settings until it does."""
        route = Route(settings.path, _EndPoint(self._answer), methods=["POST"])
        app = Starlette(routes=[route], middleware=[Middleware(_BodyFirst, within_loop_s=limits.body_loop_s)])
        app.router.redirect_slashes = False
        self._door = Door(app, limits)

    @property
    def connections(self) -> int:
        """How many are open now."""
        return self._door.connections

    def statistics(self) -> SourceStatistics:
        return self._intake.copy_statistics()

    def health(self) -> tuple[str, str]:
        if self._send is not None and self._clock.known:
            return HealthState.OK.value, ""
        if self._port_trouble:
            return HealthState.DOWN.value, f"{self._port_trouble}; it is tried again, trading goes on"
        return HealthState.WAITING.value, "it takes no posts yet"

    def set_tickers(self, tickers: Iterable[str]) -> None:
        """Take signals of these only from now on."""
        self._intake.set_tickers(tickers)

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until cancelled. `epoch` counts the starts of this actor."""
        del epoch  # what the desk has seen it knows, whichever incarnation brought it
        await self._intake.ready()
        task_status.started()
        listeners = await self._listen()
        self._send, arriving = trio.open_memory_channel[_Post | _Unproven](QUEUE)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._door.serve, listeners)
                async for item in arriving:
                    match item:
                        case _Post():
                            item.told = tell(self._intake.take(item.body))
                            item.answered.set()
                        case _Unproven():
                            self._note_unproven(item.sender)
        finally:
            self._send = None

    async def _listen(self) -> list[trio.SocketListener]:
        """The listeners; a port that another program has is waited for."""
        host, failures = self._settings.host, 0
        while True:
            try:
                listeners = await trio.open_tcp_listeners(self._settings.port, host=host, backlog=BACKLOG)
            except OSError as error:
                failures += 1
                self._port_trouble = f"it cannot listen on {host}:{self._settings.port}: {error.strerror}"
                self._intake.alarm_once("signals_port_taken", f"{self._port_trouble}; it is tried again")
                await trio.sleep(self._rebind.delay_s(failures, 0.0))
            else:
                self._port_trouble = ""
                self.port = listeners[0].socket.getsockname()[1]
                return listeners

    def _note_unproven(self, sender: str) -> None:
        self._unproven += 1
        now_loop = trio.current_time()
        if now_loop >= self._alarm_due_loop:
            count, self._unproven = self._unproven, 0
            self._alarm_due_loop = now_loop + ALARM_LOOP_S
            what = "a request that does not" if count == 1 else f"{count} requests that do not"
            text = f"{what} prove the sender, the last from {sender}"
            self._intake.alarm("webhook_unproven", text)

    # --- one request ------------------------------------------------------------------------------

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        self._intake.statistics.polls += 1
        try:
            told = await self._take(scope, receive)
        except _Refused as refused:
            self._intake.statistics.troubles += 1
            return refused.response()
        return _json(attrs.asdict(told), 200, {})

    async def _take(self, scope: Scope, receive: Receive) -> Told:
        """What the gate says of the post in this request."""
        if scope["http_version"] not in ("1.0", "1.1"):
            raise _Refused(505, "only HTTP/1 is spoken here")
        body = (await receive())["body"]
        if not self._clock.known:
            raise _Refused(503, "the market's time is not known yet: nothing can be judged", 5.0)
        sender = str((scope.get("client") or ("",))[0])
        post = _Post(self._believe(scope, body, sender))
        if self._send is None:
            raise _Refused(503, "the receiver is being restarted", 1.0)
        with trio.move_on_after(ANSWER_LOOP_S):
            await self._send.send(post)
            await post.answered.wait()
        if post.told is None:
            raise _Refused(503, "no verdict in time: post it again, with the same id", 1.0)
        return post.told

    def _believe(self, scope: Scope, body: bytes, sender: str) -> dict[str, object]:
        """The prediction in a request that proves its sender and is within its rate."""
        if self._settings.scheme == "hmac":
            read = self._read_signed(_headers(scope), body, sender)
        else:
            read = self._read_with_secret(body, sender)
        if isinstance(read, Doubt):
            if read.fault is Fault.UNPROVEN and self._send is not None:
                try:
                    self._send.send_nowait(_Unproven(sender))
                except trio.WouldBlock:
                    self._unproven += 1
            raise _Refused(read.fault.value, read.reason)
        return read

    def _read_signed(self, headers: dict[str, str], body: bytes, sender: str) -> dict[str, object] | Doubt:
        stamp = headers.get(TIMESTAMP_HEADER.lower(), "")
        signature = headers.get(SIGNATURE_HEADER.lower(), "")
        wall_s = self._wall()
        doubt = self._signatures.doubt(stamp, signature, body, wall_s=wall_s)
        if doubt is not None:
            return doubt
        self._count(sender)
        self._signatures.use_up(stamp, signature)
        on_its_way_loop_s = max(0.0, wall_s - (read_timestamp(stamp) or wall_s))
        return self._read_post(_decode(body), on_its_way_loop_s)

    def _read_with_secret(self, body: bytes, sender: str) -> dict[str, object] | Doubt:
        rest = take_secret(_decode(body), self._secret.reveal())
        if isinstance(rest, Doubt):
            return rest
        self._count(sender)
        return self._read_post(rest, 0.0)

    def _read_post(self, body: object, on_its_way_loop_s: float) -> dict[str, object] | Doubt:
        sent_at = self._clock.now() - timedelta(seconds=on_its_way_loop_s * self._clock.speed)
        return self._posts.read(body, sent_at=sent_at)

    def _count(self, sender: str) -> None:
        """Only who has proved himself is counted: strangers cannot use up an honest sender's rate."""
        wait_loop_s = self._allowances.take(sender, trio.current_time())
        if wait_loop_s > 0:
            raise _Refused(429, "too many posts: this one was not taken", wait_loop_s)


@attrs.frozen(eq=False)
class _EndPoint:
    """The one route, as an ASGI application."""

    answer: Callable[[Scope, Receive], Awaitable[Response]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.answer(scope, receive)
        await response(scope, receive, send)


class _BodyFirst:
    """Reads the whole body, within its bounds, before anything is answered.

    Hypercorn waits for ever for a body that its application has left unread.
    """

    def __init__(self, app: ASGIApp, within_loop_s: float) -> None:
        self._app, self._within_loop_s = app, within_loop_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await _read_body(scope, receive, self._within_loop_s)
        except _Refused as refused:
            with trio.move_on_after(HANG_UP_LOOP_S):
                await refused.response()(scope, receive, send)
            scope["state"][HANG_UP]()
            return

        async def whole() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)


async def _read_body(scope: Scope, receive: Receive, within_loop_s: float) -> bytes:
    announced = _headers(scope).get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > DRAINED_BYTES:
        raise _Refused(413, f"a body holds at most {MAX_BODY_BYTES} bytes")
    body, received = bytearray(), 0
    with trio.move_on_after(within_loop_s):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise _Refused(400, "the sender has gone")
            part = message.get("body", b"")
            received += len(part)
            if received <= MAX_BODY_BYTES:
                body += part
            if not message.get("more_body", False):
                if received > MAX_BODY_BYTES:
                    raise _Refused(413, f"a body holds at most {MAX_BODY_BYTES} bytes")
                return bytes(body)
            if received > DRAINED_BYTES:
                raise _Refused(413, f"a body holds at most {MAX_BODY_BYTES} bytes")
    raise _Refused(408, f"no whole body within {within_loop_s:g} s")


def _decode(body: bytes) -> object:
    try:
        decoded: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _Refused(400, f"the body is no JSON: {error.msg}") from None
    return decoded


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _json(content: dict[str, object], status: int, headers: dict[str, str]) -> Response:
    return Response(orjson.dumps(content), status_code=status, headers=headers, media_type="application/json")
