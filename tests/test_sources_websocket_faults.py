"""What a feed that pushes may do without anything but its own connection noticing."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from random import Random

import pytest
import trio

from actors.websocket_source import MAX_BAD_IN_A_ROW
from protocol.feed_messages import MAX_MESSAGE_BYTES
from tests.feeds import (
    TOKEN,
    Line,
    SourceBench,
    accept_handshake,
    envelope,
    feeding,
    listening,
    memory_grows_less_than,
    prediction,
    raw_server,
    stay,
    until,
)

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
    async with feeding(behave) as feed, bench.going(listening(bench, feed.url)):
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
    async with feeding(behave) as feed, bench.going(listening(bench, feed.url)):
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
    async with feeding(behave) as feed, bench.going(listening(bench, feed.url)):
        await until(lambda: bench.delivered == ["id-2"])


async def test_a_feed_that_answers_nothing_is_left() -> None:
    bench = SourceBench()
    async with raw_server(_nothing_after_the_handshake) as port:
        made = listening(bench, f"ws://127.0.0.1:{port}/", keep_alive_loop_s=0.05, silence_loop_s=5.0)
        async with bench.going(made):
            await until(lambda: bool(bench.journal.alarms))
            assert bench.journal.alarms == ["signals_timeout"]
            assert made.health()[0] == "down"


async def test_a_feed_that_has_nothing_to_say_but_answers_pings_is_kept() -> None:
    async def behave(_number: int, line: Line) -> None:
        await stay(line)

    bench = SourceBench()
    async with feeding(behave) as feed:
        made = listening(bench, feed.url, keep_alive_loop_s=0.05, silence_loop_s=0.2)
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
        made = listening(bench, feed.url, keep_alive_loop_s=5.0, silence_loop_s=0.1)
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
        made = listening(bench, feed.url)
        async with bench.going(made):
            await until(lambda: len(bench.journal.alarms) == 2)
            assert made.health() == ("ok", "")
        assert made.statistics().troubles == 4
    assert bench.journal.alarms == ["signals_unreachable", "signals_recovered"]


async def _nothing_after_the_handshake(stream: trio.SocketStream) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += await stream.receive_some(4096)
    await stream.send_all(accept_handshake(request))
    await trio.sleep_forever()


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
        (partial(_serve_http, b"garbage\r\n\r\n"), "signals_unreachable"),
        (partial(_serve_http, b"HTTP/1.1 101 X\r\nConnection: \xbd\r\n\r\n"), "signals_unreachable"),
        (partial(_serve_http, b"HTTP/1.1 101 X\r\nUpgrade: h2c\r\n\r\n"), "signals_unreachable"),
        (_refuse_at_length, "signals_unreachable"),
    ],
)
@pytest.mark.slow
async def test_a_handshake_that_does_not_come_about_is_a_trouble_and_no_crash(
    answer: object, alarm: str
) -> None:
    bench = SourceBench()
    async with raw_server(answer) as port:  # type: ignore[arg-type]
        made = listening(bench, f"ws://127.0.0.1:{port}/", handshake_loop_s=0.3)
        with memory_grows_less_than(5_000_000):
            async with bench.going(made):
                await until(lambda: made.statistics().troubles >= 2)
    assert set(bench.journal.alarms) == {alarm}
    assert TOKEN not in repr(bench.journal.events)


async def test_a_connection_that_ends_during_the_handshake_is_noticed_at_once() -> None:
    bench = SourceBench()
    async with raw_server(_close) as port:
        made = listening(bench, f"ws://127.0.0.1:{port}/", handshake_loop_s=60.0)
        async with bench.going(made):
            await until(lambda: made.statistics().troubles >= 2)
    assert bench.journal.alarms == ["signals_unreachable"]


async def test_nobody_listening_is_a_trouble_and_no_crash() -> None:
    async with raw_server(_never) as port:
        pass
    bench = SourceBench()
    async with bench.going(listening(bench, f"ws://127.0.0.1:{port}/")):
        await until(lambda: bool(bench.journal.alarms))
    assert bench.journal.alarms == ["signals_unreachable"]


@pytest.mark.slow
async def test_garbage_after_the_handshake_ends_connections_and_nothing_else() -> None:
    chance = Random(7)
    answered = 0

    async def garble(stream: trio.SocketStream) -> None:
        nonlocal answered
        await stream.send_all(accept_handshake(await stream.receive_some(4096)))
        answered += 1
        frame = b"\x81" + bytes([len(text := b'{"type":"x"}')]) + text
        await stream.send_all(frame + chance.randbytes(chance.randrange(1, 200)))
        if chance.random() < 0.5:
            await stream.send_eof()
        await stream.receive_some(4096)

    bench = SourceBench()
    async with raw_server(garble) as port:
        made = listening(bench, f"ws://127.0.0.1:{port}/", keep_alive_loop_s=0.05)
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
                json.dumps({**prediction(f"{sent}"), "feature_values": ["x" * 1000] * 30})
            )
            sent += 1

    bench = SourceBench()
    async with feeding(flood) as feed:
        with memory_grows_less_than(15_000_000):
            async with bench.going(listening(bench, feed.url, pace=(20, 100.0))):
                await until(lambda: bool(bench.delivered))
                before = trio.current_time()
                await until(lambda: len(bench.delivered) >= 60)
                assert trio.current_time() - before > 0.3
    # What was sent and not read stands in the sockets.
    assert sent > len(bench.delivered)
    assert bench.delivered == [f"{number}" for number in range(len(bench.delivered))]


# --- all of it at once ----------------------------------------------------------------------------


@pytest.mark.slow
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
        made = listening(bench, feed.url, keep_alive_loop_s=0.05, silence_loop_s=0.1)
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
