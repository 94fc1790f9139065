"""The feed that pushes: what comes through, in which order, and whom it believes."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio
import trio_websocket

from tests.feeds import (
    TOKEN,
    Line,
    SourceBench,
    envelope,
    feeding,
    listening,
    prediction,
    stay,
    until,
)

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
    async with feeding(behave) as feed, bench.going(listening(bench, feed.url)):
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
        made = listening(bench, feed.url, tickers=("SLV", "GLD"))
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
    async with feeding(behave) as feed, bench.going(listening(bench, feed.url, tickers=("GLD",))):
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
        made = listening(bench, feed.url)
        async with bench.going(made):
            await until(lambda: len(bench.delivered) == 5)
        assert made.sequence_counts().repeated == 4
        again = bench.restarted()
        async with again.going(listening(again, feed.url)):
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
        made = listening(bench, feed.url)
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
    async with feeding(behave) as feed, bench.going(listening(bench, feed.url)):
        await until(lambda: "3-2" in bench.delivered)
    assert [json.loads(text)["after"] for text in feed.heard] == [0, 701, 2]
    assert Counter(bench.journal.alarms)["signals_renumbered"] == 1


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
        async with bench.going(listening(bench, f"wss://{host}:{server.port}/", tls=theirs)):
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
        listening(SourceBench(), url)
