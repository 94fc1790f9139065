"""The feed that pushes: what comes through, and what a feed may do without anything else noticing."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio
import trio_websocket

from actors.websocket_source import MAX_BAD_IN_A_ROW, WebSocketSignals
from protocol.feed_messages import MAX_MESSAGE_BYTES
from protocol.redaction import Secret
from protocol.source_settings import WebSocketSource
from tests.feeds import (
    QUICK,
    SourceBench,
    envelope,
    feeding,
    memory_grows_less_than,
    prediction,
    raw_server,
    until,
)

TOKEN = "canary-token-0123"
SUBSCRIBE = '{"subscribe": {tickers_json}, "list": "{tickers}", "after": {last_seq}}'
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Line = trio_websocket.WebSocketConnection


def source(bench: SourceBench, url: str, **changes: object) -> WebSocketSignals:
    plan = {"keep_alive_loop_s": 5.0, "silence_loop_s": 10.0, "subscribe": SUBSCRIBE, "name": "feed"}
    tls = changes.pop("tls", None)
    tickers = changes.pop("tickers", ())
    handshake_loop_s = changes.pop("handshake_loop_s", 2.0)
    return WebSocketSignals(
        WebSocketSource(url=url, **{**plan, **changes}),  # type: ignore[arg-type]
        Secret(TOKEN),
        desk=bench.desk,
        clock=bench.clock,
        tickers=tickers,  # type: ignore[arg-type]
        random=Random(0),
        marks=bench,
        reconnect=QUICK,
        handshake_loop_s=handshake_loop_s,  # type: ignore[arg-type]
        tls=tls,  # type: ignore[arg-type]
    )


async def stay(line: Line) -> None:
    """Until the client is gone."""
    while True:
        await line.get_message()


# --- what comes through ---------------------------------------------------------------------------


async def test_each_form_of_a_message_brings_its_predictions_and_asides_bring_none() -> None:
    async def behave(_number: int, line: Line) -> None:
        await line.send_message('{"type": "hello", "server": "x"}')
        await line.send_message(json.dumps(prediction("one")))
        await line.send_message(json.dumps([prediction("two"), prediction("three", "GLD")]))
        await line.send_message('{"type": "heartbeat", "seq": 1}')
        await line.send_message(envelope(2, "four"))
        await line.send_message(json.dumps({**prediction("five"), "seq": 3}))
        await line.send_message(json.dumps(prediction("six", "TSLA")))
        await line.send_message(json.dumps(prediction("seven", confidence=0.1)))
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed, bench.going(source(bench, feed.url)):
        await until(lambda: len(bench.journal.verdicts) == 2)
    assert bench.delivered == ["one", "two", "three", "four", "five"]
    assert bench.journal.verdicts == {"six": "unknown_symbol", "seven": "below_confidence"}
    assert bench.journal.alarms == []


async def test_it_shows_its_token_and_subscribes_with_tickers_and_the_last_number() -> None:
    async def behave(_number: int, line: Line) -> None:
        await feed.hear(line)
        await line.send_message(envelope(41))
        await feed.hear(line)
        await stay(line)

    bench = SourceBench(meta={"feed_seq:feed": "40"})
    async with feeding(behave) as feed:
        made = source(bench, feed.url, tickers=("SLV", "GLD"))
        async with bench.going(made):
            await until(lambda: bench.delivered == ["id-41"])
            assert made.health() == ("ok", "")
            made.set_tickers(["GLD"])
            await until(lambda: len(feed.heard) == 2)
    assert feed.headers[0]["authorization"] == f"Bearer {TOKEN}"
    assert [json.loads(text) for text in feed.heard] == [
        {"subscribe": ["SLV", "GLD"], "list": "SLV,GLD", "after": 40},
        {"subscribe": ["GLD"], "list": "GLD", "after": 41},
    ]


async def test_what_it_was_not_asked_for_is_refused() -> None:
    async def behave(_number: int, line: Line) -> None:
        await line.send_message(envelope(1))
        await line.send_message(json.dumps(prediction("gold", "GLD")))
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed, bench.going(source(bench, feed.url, tickers=("GLD",))):
        await until(lambda: bench.delivered == ["gold"])
    assert bench.journal.verdicts == {"id-1": "unknown_symbol"}


# --- numbers --------------------------------------------------------------------------------------


async def test_a_reconnect_and_a_restart_resume_after_the_last_number() -> None:
    async def behave(number: int, line: Line) -> None:
        await feed.hear(line)
        for seq in range(1, 4 + number):
            # Resumes too early: what was received before is known by its id.
            await line.send_message(envelope(seq))
        if number > 1:
            await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed:
        made = source(bench, feed.url)
        async with bench.going(made):
            await until(lambda: len(bench.delivered) == 5)
        assert made.sequence_counts().repeated == 4
        again = bench.restarted()
        async with again.going(source(again, feed.url)):
            await until(lambda: again.delivered == ["id-6"])
    assert [json.loads(text)["after"] for text in feed.heard] == [0, 4, 5]
    assert bench.delivered == [f"id-{seq}" for seq in range(1, 6)]
    assert Counter(bench.journal.alarms)["signals_repeated"] == 1


async def test_gaps_and_reordering_are_told_once_and_what_was_missed_is_asked_for_once_more() -> None:
    async def behave(number: int, line: Line) -> None:
        await feed.hear(line)
        for seq in {1: (1, 2, 5, 4, 9), 2: (3, 9, 10), 3: (11,)}[number]:
            await line.send_message(envelope(seq))
        if number == 3:
            await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed:
        made = source(bench, feed.url)
        async with bench.going(made):
            await until(lambda: "id-11" in bench.delivered)
    assert bench.delivered == [f"id-{seq}" for seq in (1, 2, 5, 4, 9, 3, 10, 11)]
    counts = made.sequence_counts()
    assert (counts.gaps, counts.missing, counts.late, counts.repeated) == (2, 5, 2, 1)
    # 3 was missing; then 6 to 8 were, which the feed did not send again: they are given up.
    assert [json.loads(text)["after"] for text in feed.heard] == [0, 2, 10]
    alarms = Counter(bench.journal.alarms)
    assert alarms["signals_gap"] == alarms["signals_reordered"] == 1


async def test_a_feed_that_counts_anew_is_followed() -> None:
    async def behave(number: int, line: Line) -> None:
        await feed.hear(line)
        for seq in (700, 701) if number == 1 else (1, 2):
            await line.send_message(envelope(seq, f"{number}-{seq}"))
        if number == 3:
            await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed, bench.going(source(bench, feed.url)):
        await until(lambda: "3-2" in bench.delivered)
    assert [json.loads(text)["after"] for text in feed.heard] == [0, 701, 2]
    assert Counter(bench.journal.alarms)["signals_renumbered"] == 1


# --- what it survives -----------------------------------------------------------------------------


async def test_one_bad_message_is_refused_and_the_connection_goes_on() -> None:
    bad: list[str | bytes] = [
        "{not json",
        "[" * 5000,
        '"a text"',
        "17",
        b"\x00\x01",
        '{"type": "prediction", "seq": 1}',
        '{"type": "prediction", "data": {}, "seq": -1}',
        '{"type": "prediction", "data": {}, "seq": true}',
        json.dumps([{}] * 101),
        "{}",
        json.dumps(prediction("nan", confidence=7)),
        '{"id": "x", "ticker": "SLV", "signal": "BUY", "confidence": NaN, "timestamp": 1}',
        json.dumps({**prediction("many"), "ticker": "S" * 65}),
    ]

    async def behave(_number: int, line: Line) -> None:
        for number, message in enumerate(bad):
            await line.send_message(message)
            await line.send_message(envelope(number))
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed, bench.going(source(bench, feed.url)):
        await until(lambda: len(bench.delivered) == len(bad))
    assert feed.connections == 1
    assert len(bench.journal.verdicts) == len(bad)
    assert set(bench.journal.verdicts.values()) == {"malformed"}
    assert bench.journal.alarms == []


async def test_a_hundred_bad_messages_in_a_row_end_the_connection() -> None:
    async def behave(number: int, line: Line) -> None:
        for junk in range(MAX_BAD_IN_A_ROW * 2 if number == 1 else 0):
            await line.send_message(f"junk {junk}")
        await line.send_message(envelope(1))
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed, bench.going(source(bench, feed.url)):
        await until(lambda: bench.delivered == ["id-1"])
    assert len(bench.journal.verdicts) == MAX_BAD_IN_A_ROW
    assert bench.journal.alarms == ["signals_bad_body"]


async def test_a_message_that_is_too_large_ends_the_connection_and_not_more() -> None:
    async def behave(number: int, line: Line) -> None:
        if number == 1:
            await line.send_message(" " * (MAX_MESSAGE_BYTES + 1))
        await line.send_message(envelope(number))
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed, bench.going(source(bench, feed.url)):
        await until(lambda: bench.delivered == ["id-2"])


async def test_a_feed_that_answers_nothing_is_left() -> None:
    bench = SourceBench()
    async with raw_server(_nothing_after_the_handshake) as port:
        made = source(bench, f"ws://127.0.0.1:{port}/", keep_alive_loop_s=0.05, silence_loop_s=5.0)
        async with bench.going(made):
            await until(lambda: bool(bench.journal.alarms))
            assert bench.journal.alarms == ["signals_timeout"]
            assert made.health()[0] == "down"


async def test_a_feed_that_has_nothing_to_say_but_answers_pings_is_kept() -> None:
    async def behave(_number: int, line: Line) -> None:
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed:
        made = source(bench, feed.url, keep_alive_loop_s=0.05, silence_loop_s=0.2)
        async with bench.going(made):
            await until(lambda: made.health() == ("ok", ""))
            await trio.sleep(0.4)
            assert made.health() == ("ok", "")
    assert (feed.connections, bench.journal.alarms) == (1, [])


async def test_silence_ends_a_connection_that_is_never_pinged() -> None:
    async def behave(_number: int, line: Line) -> None:
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed:
        made = source(bench, feed.url, keep_alive_loop_s=5.0, silence_loop_s=0.1)
        async with bench.going(made):
            await until(lambda: feed.connections == 3)
    assert bench.journal.alarms[0] == "signals_timeout"


async def test_a_trouble_is_told_once_and_once_more_when_it_is_over() -> None:
    async def behave(number: int, line: Line) -> None:
        if number > 4:
            while True:
                await trio.sleep(0.02)
                await line.send_message('{"type": "heartbeat"}')

    bench = SourceBench()
    async with feeding(behave) as feed:
        made = source(bench, feed.url)
        async with bench.going(made):
            await until(lambda: len(bench.journal.alarms) == 2)
            assert made.health() == ("ok", "")
        assert made.statistics().troubles == 4
    assert bench.journal.alarms == ["signals_unreachable", "signals_recovered"]


async def _nothing_after_the_handshake(stream: trio.SocketStream) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some(4096)
    await stream.send_all(_accept(request))
    await trio.sleep_forever()


def _accept(request: bytes) -> bytes:
    """The answer of a websocket server to that handshake (RFC 6455, 4.2.2)."""
    lines = request.split(b"\r\n")
    key = next(line.split(b": ")[1] for line in lines if line.lower().startswith(b"sec-websocket-key"))
    proof = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + proof + b"\r\n\r\n"
    )


async def _serve_http(answer: bytes, stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)
    await stream.send_all(answer)
    await stream.send_eof()


async def _never(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def _close(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)


async def _refuse_at_length(stream: trio.SocketStream) -> None:
    await stream.receive_some(4096)
    await stream.send_all(b"HTTP/1.1 503 Later\r\nContent-Length: 50000000\r\n\r\n")
    for _ in range(800):
        await stream.send_all(b" " * 65536)


@pytest.mark.parametrize(
    ("answer", "alarm"),
    [
        (_never, "signals_timeout"),
        (_close, "signals_unreachable"),
        (partial(_serve_http, b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"), "signals_unauthorized"),
        (partial(_serve_http, b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"), "signals_unauthorized"),
        (partial(_serve_http, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "signals_refused"),
        (partial(_serve_http, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "signals_server_error"),
        (
            partial(
                _serve_http,
                b"HTTP/1.1 302 No\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
            ),
            "signals_refused",
        ),
        (partial(_serve_http, b"SSH-2.0-OpenSSH_9.6\r\n"), "signals_unreachable"),
        (_refuse_at_length, "signals_unreachable"),
    ],
)
async def test_a_handshake_that_does_not_come_about_is_a_trouble_and_no_crash(
    answer: object, alarm: str
) -> None:
    bench = SourceBench()
    async with raw_server(answer) as port:  # type: ignore[arg-type]
        made = source(bench, f"ws://127.0.0.1:{port}/", handshake_loop_s=0.3)
        with memory_grows_less_than(5_000_000):
            async with bench.going(made):
                await until(lambda: made.statistics().troubles >= 2)
    assert set(bench.journal.alarms) == {alarm}
    assert TOKEN not in repr(bench.journal.events)


async def test_nobody_listening_is_a_trouble_and_no_crash() -> None:
    async with raw_server(_never) as port:
        pass
    bench = SourceBench()
    async with bench.going(source(bench, f"ws://127.0.0.1:{port}/")):
        await until(lambda: bool(bench.journal.alarms))
    assert bench.journal.alarms == ["signals_unreachable"]


async def test_garbage_after_the_handshake_ends_connections_and_nothing_else() -> None:
    chance = Random(7)
    answered = 0

    async def garble(stream: trio.SocketStream) -> None:
        nonlocal answered
        await stream.send_all(_accept(await stream.receive_some(4096)))
        answered += 1
        frame = b"\x81" + bytes([len(text := b'{"type":"x"}')]) + text
        await stream.send_all(frame + chance.randbytes(chance.randrange(1, 200)))
        if chance.random() < 0.5:
            await stream.send_eof()
        await stream.receive_some(4096)

    bench = SourceBench()
    async with raw_server(garble) as port:
        made = source(bench, f"ws://127.0.0.1:{port}/", keep_alive_loop_s=0.05)
        async with bench.going(made):
            await until(lambda: answered >= 15, within_loop_s=15)
    assert set(bench.journal.alarms) <= {"signals_unreachable", "signals_timeout"}
    assert bench.delivered == []


async def test_a_flood_is_read_at_a_pace_and_held_back_in_the_connection() -> None:
    sent = 0

    async def flood(_number: int, line: Line) -> None:
        nonlocal sent
        while True:
            await line.send_message(
                json.dumps({**prediction(f"{sent}"), "feature_values": ["x" * 1000] * 10})
            )
            sent += 1

    bench = SourceBench()
    async with feeding(flood) as feed:
        with memory_grows_less_than(15_000_000):
            async with bench.going(source(bench, feed.url)):
                await until(lambda: len(bench.delivered) >= 410)
    # What was sent and not read stands in the sockets.
    assert len(bench.delivered) < 600
    assert bench.delivered == [f"{number}" for number in range(len(bench.delivered))]


# --- whom it believes -----------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost that only whoever reads it here trusts, with its key."""
    path = tmp_path / "feed.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(path), "-out", str(tmp_path / "cert.pem")]
    try:
        subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no openssl here to make a certificate with")
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


@pytest.mark.parametrize(
    ("host", "trusted", "comes"),
    [("localhost", True, True), ("127.0.0.1", True, False), ("localhost", False, False)],
)
async def test_only_a_feed_with_a_certificate_for_its_name_is_told_the_token(
    certificate: Path, host: str, trusted: bool, comes: bool
) -> None:
    seen: list[str] = []

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        seen.append(repr(request.headers))
        line = await request.accept()
        await line.send_message(envelope(1))
        await trio.sleep_forever()

    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(certificate)
    theirs = ssl.create_default_context(cafile=str(certificate) if trusted else None)
    bench = SourceBench()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            partial(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, ssl_context=ours)
        )
        async with bench.going(source(bench, f"wss://{host}:{server.port}/", tls=theirs)):
            await until(lambda: bool(bench.delivered or bench.journal.alarms))
        nursery.cancel_scope.cancel()
    assert bench.delivered == (["id-1"] if comes else [])
    assert bench.journal.alarms == ([] if comes else ["signals_refused"])
    assert (TOKEN in repr(seen)) == comes


@pytest.mark.parametrize(
    "url",
    [
        "ws://feed.example/",
        "http://localhost/",
        "wss://user:key@feed.example/",
        "wss://feed.example/?token=x",
        "feed.example",
        "",
    ],
)
def test_a_url_that_could_leak_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL of a feed"):
        source(SourceBench(), url)


# --- all of it at once ----------------------------------------------------------------------------


async def test_no_signal_is_acted_on_twice_however_the_feed_and_the_source_die() -> None:
    chance = Random(3)
    last = 300
    sent: set[str] = set()

    async def misbehave(_number: int, line: Line) -> None:
        asked = json.loads(await feed.hear(line))["after"]
        seqs = list(range(max(1, asked - 3), min(asked + 40, last) + 1))
        if chance.random() < 0.5:
            chance.shuffle(seqs)
        for seq in seqs:
            match chance.randrange(12):
                case 0:
                    continue
                case 1:
                    await line.send_message("garbage")
                case 2:
                    await line.send_message(envelope(seq))
                case 3:
                    await trio.sleep(0.01)
                case 4 if chance.random() < 0.3:
                    return
                case _:
                    pass
            sent.add(f"id-{seq}")
            await line.send_message(envelope(seq))
        if chance.random() < 0.3:
            await trio.sleep(0.2)

    bench = SourceBench()
    async with feeding(misbehave) as feed:
        made = source(bench, feed.url, keep_alive_loop_s=0.05, silence_loop_s=0.1)
        async with bench.supervised(made) as kill:
            with trio.fail_after(10):
                while f"id-{last}" not in bench.delivered:
                    await trio.sleep(chance.random() * 0.1)
                    kill()
    counts = Counter(bench.delivered)
    assert max(counts.values()) == 1
    assert set(counts) <= sent
    assert len(counts) > last / 2
    assert {type(event).__name__ for event in bench.lives} <= {"ActorStartedEvent", "ActorExitedEvent"}
    assert all(getattr(event, "reason", "a test") == "a test" for event in bench.lives)
