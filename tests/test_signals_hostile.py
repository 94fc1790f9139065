"""A service that does everything wrong, against the real source and against a whole run that trades."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from actors.run import Run as WholeRun
from actors.run_options import RunOptions, resolve
from protocol.circuit_breaker import CircuitBreaker
from protocol.events import (
    ActorExitedEvent,
    AlarmEvent,
    FillEvent,
    PositionOpenEvent,
    PredictionSignalEvent,
    SignalVerdictEvent,
)
from protocol.journal import decode
from protocol.values import Symbol
from tests.signal_bench import START, Run, http, scripted, stored, success

Trick = Callable[[trio.SocketStream, "Ask"], Awaitable[None]]
"""What it does with a connection."""


@attrs.frozen
class Ask:
    """What it was asked about, `second` market seconds after START, and by what its answer is drawn."""

    ticker: str
    second: float
    random: Random


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
MB = 1_000_000


async def _say(answer: bytes, stream: trio.SocketStream, _ask: Ask) -> None:
    await stream.send_all(answer)


async def _flood(stream: trio.SocketStream, _ask: Ask) -> None:
    """50 MB without a length."""
    await stream.send_all(HEAD + b'\r\n{"status":"success","data":{"predictions":[')
    for _ in range(50):
        await stream.send_all(b"1," * (MB // 2))


async def _announce(stream: trio.SocketStream, _ask: Ask) -> None:
    await stream.send_all(HEAD + b"Content-Length: 50000000\r\n\r\n")


async def _good(stream: trio.SocketStream, ask: Ask) -> None:
    """Predictions, some of them again, some with another body, some for strangers, some from elsewhen."""
    random = ask.random
    await stream.send_all(success(*(
        stored(
            random.choice([ask.ticker, "EVIL"]), ask.second + random.choice([-9000, -9, -5, 0, 9000]),
            f"id-{random.randrange(60)}", signal=random.choice(["BUY", "SHORT", "HOLD"]),
        )
        for _ in range(5)
    )))  # fmt: skip


TRICKS: tuple[Trick, ...] = (
    _good,
    _good,
    _good,
    _flood,
    _announce,
    partial(_say, http(b'{"status":"error","code":401}', 401)),
    partial(_say, http(b"{}", 429)),
    partial(_say, http(b"{}", 429, "Retry-After: 2")),
    partial(_say, http(b"{}", 429, "X-RateLimit-Limit: 1000000", "X-RateLimit-Remaining: 0")),
    partial(_say, http(b"<html>", 500, content_type="text/html")),
    partial(_say, http(b"", 302, "Location: https://elsewhere.example/predictions")),
    partial(_say, http(b'{"status":"success","data":{"predictions":[{"confidence":NaN}]}}')),
    partial(_say, http(b'{"status":"success","data":{"predictions":[{"ticker":"SLV","confidence":1e999}]}}')),
    partial(_say, http(b'{"status":"success","data":{"predictions":[null, 7, "x", [], {}]}}')),
    partial(_say, http(b"[" * 5000)),
    partial(_say, http(b"\xff\xfe\x00")),
    partial(_say, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    partial(_say, b"\x00" * 400),
    partial(_say, b""),
)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
async def test_whatever_a_service_answers_nothing_is_acted_on_twice_and_memory_stays_bounded() -> None:
    random, answered = Random(5), Counter[int]()

    async def respond(request: str, stream: trio.SocketStream) -> None:
        ticker = request.partition("ticker=")[2].partition("&")[0]
        place = random.randrange(len(TRICKS))
        await TRICKS[place](stream, Ask(ticker, (run.clock.now() - START).total_seconds(), random))
        answered[place] += 1

    symbols = tuple(f"S{number}" for number in range(20))
    async with scripted(respond) as url:
        run = Run(url, symbols=symbols, speed=600.0, poll_s=60.0, breaker=CircuitBreaker(0.05))
        async with run.going():
            await run.until(lambda: run.source.statistics().polls >= 30)
            before = _resident_bytes()
            await run.until(lambda: run.source.statistics().polls >= 90, 20.0)
        assert _resident_bytes() - before < 40 * MB
    assert len(set(run.delivered)) == len(run.delivered) > 0
    assert not set(run.delivered) & set(run.journal.verdicts)
    assert set(run.journal.received) <= set(run.delivered) | set(run.journal.verdicts)
    assert "changed_body" in run.journal.alarms
    assert len(answered) > len(TRICKS) // 2


CONFIG = """
[signals.good]
poll_s = 1

[signals.bad]
url = "{url}"
api_key_env = "BAD_KEY"
poll_s = 5
"""


@pytest.mark.slow
async def test_a_run_trades_on_while_one_of_its_sources_is_an_enemy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(6)

    async def respond(_request: str, stream: trio.SocketStream) -> None:
        if random.random() < 0.2:
            for _ in range(100):
                # A slow trickle, until the client's deadline.
                await stream.send_all(b"H")
                await trio.sleep(0.2)
        await random.choice(TRICKS)(stream, Ask("SLV", 0.0, random))

    monkeypatch.setenv("BAD_KEY", "canary-key")
    async with scripted(respond) as url:
        config = tmp_path / "run.toml"
        config.write_text(CONFIG.format(url=url))
        state = tmp_path / "state"
        plan = resolve(RunOptions(
            config=(config,), symbols=(Symbol("SLV"), Symbol("GLD")), speed=60.0, duration_s=6.0, state=state,
        ))  # fmt: skip
        run = WholeRun(plan)
        assert await run.run() == 0, run.complaints
    events = _events_of(state)
    exits = [event.actor for event in events if isinstance(event, ActorExitedEvent)]
    assert exits == []
    opened = [event.signal_id for event in events if isinstance(event, PositionOpenEvent) and event.signal_id]
    assert len(set(opened)) == len(opened) >= 2
    received = [event.signal_id for event in events if isinstance(event, PredictionSignalEvent)]
    verdicts = [event.signal_id for event in events if isinstance(event, SignalVerdictEvent)]
    assert len(set(verdicts)) == len(verdicts)
    assert set(received) <= set(verdicts)
    assert [event for event in events if isinstance(event, FillEvent) and Decimal(event.quantity) > 0]
    assert any(event.code.startswith("signals_") for event in events if isinstance(event, AlarmEvent))


def _events_of(state: Path) -> list[object]:
    with sqlite3.connect(state / "journal.sqlite3") as connection:
        rows = connection.execute("SELECT kind, version, payload FROM event ORDER BY seq").fetchall()
    connection.close()
    return [decode(*row) for row in rows]
