"""The webhook receiver: whom it believes, what it understands, and what a stranger may do to it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random

import attrs
import pytest
import trio

from actors import file_source, webhook_source, websocket_source
from actors.sources import max_age_of
from actors.webhook_door import DoorLimits
from actors.webhook_source import WebhookSignals
from protocol.events import BaseEvent
from protocol.redaction import Secret
from protocol.source_settings import FileSource, WebhookSource, WebSocketSource
from protocol.supervision_plan import Backoff
from protocol.webhooks import (
    MAX_BODY_BYTES,
    sign,
)
from tests.feeds import START, SourceBench, memory_grows_less_than, prediction, until
from tests.signal_bench import ListJournal

SECRET = "canary-secret-0123456789"
WALL_S = 1_700_000_000.0
SOON = Backoff(min_loop_s=0.01, max_loop_s=0.05)


@attrs.define
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def said(self) -> dict[str, str]:
        said: dict[str, str] = json.loads(self.text)
        return said


@attrs.define
class Hook:
    """A receiver and those who post to it."""

    bench: SourceBench
    source: WebhookSignals
    wall_s: float = WALL_S

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.source.port)

    async def raw(self, request: bytes) -> Reply:
        async with await self.connect() as stream:
            await stream.send_all(request)
            return await read_reply(stream)

    async def post(self, body: object, *headers: str, path: str = "/hook", method: str = "POST") -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(content)}", *headers, "", ""]
        return await self.raw("\r\n".join(lines).encode() + content)

    async def signed(self, body: object, *, at_s: float | None = None, secret: str = SECRET) -> Reply:
        content = json.dumps(body).encode()
        stamp = f"{self.wall_s if at_s is None else at_s:.0f}"
        return await self.post(content, *signature(stamp, content, secret))


def signature(stamp: str, content: bytes, secret: str = SECRET) -> tuple[str, str]:
    return f"X-Ringfence-Timestamp: {stamp}", f"X-Ringfence-Signature: {sign(secret, stamp, content)}"


async def read_reply(stream: trio.SocketStream) -> Reply:
    answer = b""
    with trio.fail_after(5):
        while part := await stream.receive_some(65536):
            answer += part
    head, _, text = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Reply(int(status.split()[1]), headers, text.decode())


def receiver(
    bench: SourceBench, hook: Hook | None = None, limits: DoorLimits | None = None, **settings: object
) -> WebhookSignals:
    return WebhookSignals(
        WebhookSource(**{"port": 0, **settings}),  # type: ignore[arg-type]
        Secret(SECRET),
        desk=bench.desk,
        clock=bench.clock,
        wall=lambda: WALL_S if hook is None else hook.wall_s,
        limits=limits or DoorLimits(),
        rebind=SOON,
    )


@asynccontextmanager
async def hooked(
    bench: SourceBench | None = None, limits: DoorLimits | None = None, **settings: object
) -> AsyncIterator[Hook]:
    bench = bench or SourceBench()
    hook = Hook(bench, receiver(bench))
    hook.source = receiver(bench, hook, limits, **settings)
    async with bench.going(hook.source):
        await until(lambda: hook.source.health() == ("ok", ""))
        yield hook


# --- who is believed ------------------------------------------------------------------------------


async def test_a_signed_prediction_passes_and_its_sender_is_told() -> None:
    async with hooked() as hook:
        reply = await hook.signed(prediction("one"))
        assert (reply.status, reply.said["verdict"], reply.said["signal_id"]) == (200, "passed", "one")
        refused = await hook.signed(prediction("two", "TSLA"))
        assert (refused.status, refused.said["verdict"]) == (200, "refused")
        assert (refused.said["code"], refused.said["reason"]) == ("unknown_symbol", "no configured symbol")
        ignored = await hook.signed(prediction("three", signal="HOLD"))
        assert (ignored.said["verdict"], ignored.said["code"]) == ("ignored", "no_trade")
        hook.wall_s += 1
        again = await hook.signed(prediction("one"))
        assert (again.status, again.said["verdict"]) == (200, "repeated")
        changed = await hook.signed(prediction("one", confidence=0.9))
        assert changed.said["code"] == "changed_body"
    assert hook.bench.delivered == ["one"]


async def test_a_signature_is_believed_once_and_only_near_its_time() -> None:
    async with hooked(window_loop_s=30.0) as hook:
        body = json.dumps(prediction("one")).encode()
        headers = signature(f"{WALL_S:.0f}", body)
        assert (await hook.post(body, *headers)).status == 200
        replayed = await hook.post(body, *headers)
        assert (replayed.status, "used before" in replayed.text) == (403, True)
        for at_s, status in ((WALL_S - 31, 403), (WALL_S + 31, 403), (WALL_S - 29, 200), (WALL_S + 29, 200)):
            assert (await hook.signed(prediction(f"at {at_s:.0f}"), at_s=at_s)).status == status
        hook.wall_s += 3600
        assert (await hook.post(body, *headers)).status == 403
    assert hook.bench.delivered == ["one", f"at {WALL_S - 29:.0f}", f"at {WALL_S + 29:.0f}"]


async def test_a_replay_after_a_restart_is_known_by_its_id() -> None:
    async with hooked() as hook:
        body = json.dumps(prediction("one")).encode()
        stampless = json.dumps({"ticker": "SLV", "action": "buy"}).encode()
        for content in (body, stampless):
            assert (await hook.post(content, *signature(f"{WALL_S:.0f}", content))).said[
                "verdict"
            ] == "passed"
    async with hooked(hook.bench.restarted()) as again:
        reply = await again.post(body, *signature(f"{WALL_S:.0f}", body))
        assert reply.said["verdict"] == "repeated"
        reply = await again.post(stampless, *signature(f"{WALL_S:.0f}", stampless))
        assert reply.said["verdict"] in ("repeated", "refused")
    assert again.bench.delivered == []


async def test_whatever_does_not_prove_the_sender_gets_one_and_the_same_answer() -> None:
    body = json.dumps(prediction("one")).encode()
    stamp = f"{WALL_S:.0f}"
    right = sign(SECRET, stamp, body)
    async with hooked() as hook:
        answers = [
            await hook.post(body),
            await hook.post(body, f"X-Ringfence-Timestamp: {stamp}"),
            await hook.post(body, f"X-Ringfence-Signature: {right}"),
            await hook.post(body, f"X-Ringfence-Timestamp: {stamp}", f"X-Ringfence-Signature: {right[:-1]}"),
            await hook.post(body + b" ", *signature(stamp, body)),
            await hook.post(body, *signature(stamp, body, "another secret 0123456789")),
            await hook.post(body, f"X-Ringfence-Timestamp: {stamp}0", f"X-Ringfence-Signature: {right}"),
            await hook.post({**prediction("one"), "secret": SECRET}),
        ]
        assert {(reply.status, reply.text) for reply in answers} == {(401, answers[0].text)}
        await until(lambda: bool(hook.bench.journal.alarms))
    assert hook.bench.delivered == []
    assert hook.bench.journal.alarms == ["webhook_unproven"]
    assert SECRET not in repr(hook.bench.journal.events)


async def test_a_secret_in_the_body_is_taken_out_of_it() -> None:
    async with hooked(scheme="secret") as hook:
        good = await hook.post({**prediction("one"), "secret": SECRET})
        assert (good.status, good.said["verdict"]) == (200, "passed")
        assert (await hook.post({**prediction("two"), "secret": SECRET[:-1]})).status == 401
        assert (await hook.post(prediction("three"))).status == 401
        assert (await hook.post({**prediction("four"), "secret": [SECRET]})).status == 401
        assert (await hook.post([prediction("five")])).status == 400
        strayed = await hook.post({**prediction("six", SECRET), "secret": SECRET})
        assert strayed.status == 400
        nested = await hook.post(
            b'{"secret": "%b", "ticker": "%b", "x": %b}'
            % (SECRET.encode(), SECRET.encode(), b"[" * 600 + b"]" * 600)
        )
        assert nested.status == 400
        assert all(SECRET not in reply.text for reply in (good, strayed, nested))
        repeated = await hook.post({**prediction("one"), "secret": SECRET})
        assert repeated.said["verdict"] == "repeated"
    assert hook.bench.delivered == ["one"]
    assert SECRET not in repr(hook.bench.journal.events)


async def test_a_post_without_time_is_as_old_as_its_way_here() -> None:
    bench = SourceBench(speed=2.0)
    async with hooked(bench) as hook:
        assert (await hook.signed({"ticker": "SLV", "action": "buy", "price": 1}, at_s=WALL_S - 3)).said[
            "verdict"
        ] == "passed"
        late = await hook.signed({"ticker": "SLV", "action": "buy", "price": 2}, at_s=WALL_S - 8)
        assert (late.said["verdict"], late.said["code"]) == ("refused", "stale")


# --- what is answered -----------------------------------------------------------------------------


async def test_each_wrong_request_is_told_what_is_wrong() -> None:
    async with hooked() as hook:
        assert (await hook.post({}, method="GET")).status == 405
        assert (await hook.post({}, method="PUT")).status == 405
        assert (await hook.post({}, path="/")).status == 404
        assert (await hook.post({}, path="/hook/")).status == 404
        assert (await hook.post(b" " * (MAX_BODY_BYTES + 1))).status == 413
        huge = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n"
        assert (await hook.raw(huge)).status == 413
        broken = b"{not json"
        reply = await hook.post(broken, *signature(f"{WALL_S:.0f}", broken))
        assert (reply.status, reply.headers["content-type"]) == (400, "application/json")
        assert (await hook.signed({"ticker": "SLV", "action": "hold"})).status == 400
        assert (await hook.raw(b"NONSENSE\r\n\r\n")).status == 400
        assert (await hook.signed(prediction("one"))).status == 200
    assert hook.bench.delivered == ["one"]


async def test_nothing_is_taken_before_the_market_time_is_known() -> None:
    bench = SourceBench()
    made = receiver(bench)
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run, 1)
        hook = Hook(bench, made)
        await until(lambda: made.port != 0)
        reply = await hook.signed(prediction("one"))
        assert (reply.status, "retry-after" in reply.headers) == (503, True)
        assert made.health()[0] == "waiting"
        bench.clock.set(START)
        # The first try was not used up.
        assert (await hook.signed(prediction("one"))).status == 200
        nursery.cancel_scope.cancel()


async def test_a_port_that_is_taken_is_waited_for() -> None:
    bench = SourceBench()
    (taken,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    made = receiver(bench, port=taken.socket.getsockname()[1])
    async with bench.going(made):
        await until(lambda: made.health()[0] == "down")
        assert "in use" in made.health()[1]
        await taken.aclose()
        await until(lambda: made.health()[0] == "ok")
        assert (await Hook(bench, made).signed(prediction("one"))).status == 200
    assert bench.journal.alarms == ["signals_port_taken"]


@pytest.mark.slow
async def test_too_many_believed_posts_are_answered_with_429_and_not_taken() -> None:
    async with hooked() as hook:
        replies = [await hook.signed(prediction(f"id {number}")) for number in range(40)]
        statuses = Counter(reply.status for reply in replies)
        assert 30 <= statuses[200] <= 32
        assert statuses[429] == 40 - statuses[200]
        refused = next(reply for reply in replies if reply.status == 429)
        assert int(refused.headers["retry-after"]) >= 1
        number = replies.index(refused)
        # It was not used up: the same request may come again, once there is room.
        await trio.sleep(1.1)
        assert (await hook.signed(prediction(f"id {number}"))).said["verdict"] == "passed"


class FullJournal(ListJournal):
    """A journal on a full disk."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None:
        raise OSError(f"no space left for {len(events)} events of {stream}")


async def test_a_failing_journal_is_no_answer_but_the_end_of_the_actor() -> None:
    bench = SourceBench(journal=FullJournal())
    made = receiver(bench)
    hook = Hook(bench, made)

    async def post_at_the_wrong_time() -> None:
        async with bench.going(made):
            await until(lambda: made.health()[0] == "ok")
            async with await hook.connect() as stream:
                body = json.dumps(prediction("one")).encode()
                head = "\r\n".join(("POST /hook HTTP/1.1", "Host: x", *signature(f"{WALL_S:.0f}", body)))
                length = f"\r\nContent-Length: {len(body)}\r\n\r\n"
                await stream.send_all((head + length).encode() + body)
                await trio.sleep(5)

    with pytest.raises(ExceptionGroup) as caught:
        await post_at_the_wrong_time()
    assert caught.group_contains(OSError, match="no space left")
    assert bench.delivered == []


# --- what a stranger may do -----------------------------------------------------------------------


@pytest.mark.slow
async def test_a_flood_of_wrong_signatures_keeps_no_honest_sender_out_and_takes_no_memory() -> None:
    async with hooked(limits=DoorLimits(per_loop_s=500.0, head_loop_s=0.5)) as hook:
        junk = b"x" * 40_000

        async def flood() -> None:
            while True:
                with suppress(OSError, trio.BrokenResourceError, IndexError):
                    await hook.post(junk, "X-Ringfence-Timestamp: 1", "X-Ringfence-Signature: 00")

        with memory_grows_less_than(10_000_000):
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(flood)
                await until(lambda: hook.source.statistics().troubles > 60)
                with trio.fail_after(2):
                    assert (await hook.signed(prediction("one"))).status == 200
                nursery.cancel_scope.cancel()
        await until(lambda: hook.source.connections == 0)
    assert hook.bench.delivered == ["one"]
    assert hook.bench.journal.alarms == ["webhook_unproven"]


async def test_whoever_drips_is_cut_off_and_makes_room_for_others() -> None:
    limits = DoorLimits(connections=8, head_loop_s=0.3, body_loop_s=0.3, connection_loop_s=1.0)
    async with hooked(limits=limits) as hook:
        head = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"

        async def drip(text: bytes) -> None:
            try:
                async with await hook.connect() as stream:
                    for byte in text:
                        await stream.send_all(bytes([byte]))
                        await trio.sleep(0.03)
                    assert (await read_reply(stream)).status == 408
            except (OSError, trio.BrokenResourceError, ValueError, IndexError):
                pass

        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(drip, head if number % 2 else head[:10] * 100)
            await trio.sleep(0.1)
            assert hook.source.connections <= limits.connections
            before = trio.current_time()
            assert (await hook.signed(prediction("one"))).status == 200
            assert trio.current_time() - before < 0.3
            with trio.fail_after(2):
                while hook.source.connections:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert hook.bench.delivered == ["one"]


async def test_whoever_makes_it_talk_and_does_not_listen_holds_nothing_up() -> None:
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"
    talk = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + ping * 20_000
    async with hooked() as hook, await hook.connect() as stream:
        with trio.fail_after(5), suppress(trio.BrokenResourceError):
            while True:
                # Each ping would be answered, and no answer is ever read.
                await stream.send_all(talk)
        assert (await hook.signed(prediction("one"))).status == 200


async def test_a_body_that_never_ends_is_answered_at_its_deadline() -> None:
    async with hooked(limits=DoorLimits(body_loop_s=0.1)) as hook, await hook.connect() as stream:
        await stream.send_all(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert (await read_reply(stream)).status == 408


@pytest.mark.slow
async def test_garbage_of_all_kinds_ends_connections_and_nothing_else() -> None:
    chance = Random(11)
    body = json.dumps(prediction("x")).encode()
    good = b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    kinds = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + chance.randbytes(100),
        b"POST /hook HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: x\r\n\r\n",
        b"GET /hook HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
        b"POST /hook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /hook HTTP/1.0\r\n\r\n",
        b"POST /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /hook HTTP/1.1\r\n" + b"X: y\r\n" * 2000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(60),
        good * 40,
    ]
    async with hooked(limits=DoorLimits(per_loop_s=1000.0, head_loop_s=0.2, connection_loop_s=0.4)) as hook:

        async def throw(request: bytes) -> None:
            async with await hook.connect() as stream:
                try:
                    await stream.send_all(request)
                    if chance.random() < 0.5:
                        await stream.send_eof()
                    with trio.move_on_after(0.5):
                        while await stream.receive_some(65536):
                            pass
                except trio.BrokenResourceError:
                    pass

        async with trio.open_nursery() as nursery:
            for kind in kinds:
                nursery.start_soon(throw, kind)
                for _ in range(6):
                    cut = bytearray(kind[: chance.randrange(1, len(kind))])
                    cut[chance.randrange(len(cut))] = chance.randrange(256)
                    nursery.start_soon(throw, bytes(cut))
        await until(lambda: hook.source.connections == 0)
        assert (await hook.signed(prediction("one"))).status == 200
    assert hook.bench.delivered == ["one"]


async def test_no_signal_is_acted_on_twice_while_the_receiver_is_killed() -> None:
    chance = Random(5)
    names = [f"id {number}" for number in range(25)]
    bench = SourceBench()
    hook = Hook(bench, receiver(bench))
    hook.source = receiver(bench, hook, port=await _free_port())
    answers: Counter[str] = Counter()

    async def insist(name: str) -> None:
        """As charting services do: again and again until there is an answer."""
        while True:
            await trio.sleep(chance.random() * 0.1)
            try:
                reply = await hook.signed(prediction(name))
            except (OSError, trio.BrokenResourceError, IndexError, ValueError):
                continue
            answers[str(reply.status)] += 1
            if reply.status == 403:
                # The answer to a post that was taken was lost: it is signed anew.
                hook.wall_s += 1
            if reply.status == 200:
                return

    async with bench.supervised(hook.source) as kill, trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(insist, name)
        for _ in range(8):
            await trio.sleep(0.05)
            kill()
    assert sorted(bench.delivered) == sorted(names)
    assert answers["200"] == len(names)
    assert all(getattr(event, "reason", "a test") == "a test" for event in bench.lives)


def test_what_the_registry_says_of_ages_is_what_the_sources_hold_to() -> None:
    assert max_age_of(WebhookSource()) == webhook_source.MAX_AGE_S
    assert max_age_of(WebSocketSource()) == websocket_source.MAX_AGE_S
    assert max_age_of(FileSource()) == file_source.MAX_AGE_S


async def _free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port: int = listener.socket.getsockname()[1]
        return port
