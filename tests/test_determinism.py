"""One seed, one run: two processes with different hash seeds write the same journal and the same truth.

`python -m tests.test_determinism generated|recorded` makes one run and prints it, a line for each event of
the journal and for each thing that the venue knows; wall time is in neither.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import time, timedelta
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from random import Random

import attrs
import orjson
import pytest
import trio

from actors.market_folder import SIGNALS_FILE, load_market
from protocol.config import default_settings
from protocol.exchange.calendar import new_york
from protocol.exchange.history import micros
from protocol.exchange.market import RecordedMarket
from protocol.exchange.series import bars_from
from protocol.exchange.tape import Tape
from protocol.exchange.venue_settings import ChildActivation
from protocol.kills import KillOrder, Moment
from protocol.prediction_shelf import StoredPrediction, read_prediction_lines
from protocol.values import Symbol
from tests.directed_market import DAY
from tests.world import World, play, prediction

ROOT = Path(__file__).parent.parent
RECORDED = Path(os.environ.get("RINGFENCE_MARKET") or ROOT.parent / "shared" / "market") / "flow-2025-01-23"
SYMBOLS = tuple(map(Symbol, ("AAA", "BBB", "CCC")))
FROM, MINUTES = time(15, 25), 35
LONGEST_S = 40_000.0
"""More market time than any of these runs has."""


# --- one run --------------------------------------------------------------------------------------


def generated_market() -> RecordedMarket:
    """The last minutes of a day of three symbols that wander by up to half a percent a minute."""
    random = Random("determinism")
    tapes = []
    for symbol in SYMBOLS:
        price, rows = 50.0, []
        for minute in range(MINUTES):
            at = new_york(DAY, FROM) + timedelta(minutes=minute)
            close = round(price * (1 + random.uniform(-0.005, 0.005)), 2)
            high, low = round(max(price, close) + 0.05, 2), round(min(price, close) - 0.05, 2)
            rows.append((micros(at), price, high, low, close, random.randrange(500, 20_000)))
            price = close
        tapes.append(Tape(symbol, bars=bars_from(rows)))
    return RecordedMarket(tapes)


def generated_predictions() -> list[StoredPrediction]:
    random = Random("predictions")
    stored = []
    for number in range(40):
        at = new_york(DAY, FROM) + timedelta(seconds=90 + 45 * number)
        symbol, word = random.choice(SYMBOLS), random.choice(("BUY", "SELL", "SHORT"))
        body = prediction(symbol, word, at, confidence=round(random.uniform(0.45, 1.0), 3))
        stored.append(StoredPrediction(symbol, micros(at) / 1000, orjson.dumps(body)))
    return stored


def play_generated() -> list[bytes]:
    """Trades, reversals, deaths of symbols and of their recovery, and the end of the day."""
    rules = tuple(attrs.evolve(rule, cooldown_s=30.0) for rule in default_settings(SYMBOLS).rules)
    kills = (
        KillOrder(SYMBOLS[0], Moment.ENTRY_FILLED),
        KillOrder(SYMBOLS[0], Moment.RECOVERING),
        KillOrder(SYMBOLS[1], Moment.REVERSAL_CLOSING),
    )
    return play(
        to_the_end, generated_market(), attrs.evolve(default_settings(SYMBOLS), rules=rules),
        activation=ChildActivation.FULL, predictions=generated_predictions(), kills=kills, seed=5,
        start=new_york(DAY, FROM) - timedelta(seconds=5),
    )  # fmt: skip


def play_recorded() -> list[bytes]:
    market = load_market(RECORDED)
    predictions, faults = read_prediction_lines(SIGNALS_FILE, (RECORDED / SIGNALS_FILE).open("rb"))
    assert faults == ()
    settings = default_settings(tuple(map(Symbol, market.symbols)))
    return play(to_the_end, market, settings, predictions=predictions, seed=5)


async def to_the_end(world: World) -> list[bytes]:
    with trio.fail_after(LONGEST_S):
        await world.tws.ended.wait()
    await trio.sleep(2.0)
    assert world.disagreements() == ()
    assert world.sent_twice() == []
    assert world.lost() == {}
    assert all(actor.at_rest for actor in world.actors)
    rows = [
        orjson.dumps([row.seq, row.stream, row.kind, row.at, attrs.asdict(row.event)], default=str)
        for row in world.journal.rows()
    ]
    return [*rows, *world.truth_path.read_bytes().splitlines()]


# --- two runs -------------------------------------------------------------------------------------


def run_twice(kind: str) -> tuple[list[bytes], list[bytes]]:
    """The same run in two processes at once, each with a hash seed of its own."""
    command = [sys.executable, "-m", "tests.test_determinism", kind]
    runs = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "4321")
    ]  # fmt: skip
    told = [run.communicate(timeout=500) for run in runs]
    for run, (_, error) in zip(runs, told, strict=True):
        assert run.returncode == 0, error.decode()
    one, other = (out.splitlines() for out, _ in told)
    return one, other


def assert_same(one: list[bytes], other: list[bytes]) -> None:
    for number, (line, twin) in enumerate(zip_longest(one, other, fillvalue=b"nothing more"), 1):
        assert line == twin, f"the runs differ from line {number} on"


def count(lines: list[bytes], word: bytes) -> int:
    return sum(word in line for line in lines)


@pytest.mark.slow
def test_a_generated_hour_with_deaths_in_it_is_the_same_in_every_process() -> None:
    one, other = run_twice("generated")
    assert_same(one, other)
    assert count(one, b'"PositionCloseEvent"') >= 8
    assert count(one, b'"ActorExitedEvent"') == 3
    assert count(one, b'"kind":"execution"') >= 16


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded session: {RECORDED}")
def test_a_recorded_day_is_the_same_in_every_process() -> None:
    one, other = run_twice("recorded")
    assert_same(one, other)
    assert count(one, b'"PositionCloseEvent"') >= 40
    assert count(one, b'"kind":"execution"') >= 80


def test_another_seed_is_another_schedule_but_the_same_books() -> None:
    """The order of tasks is free where nothing hangs on it: both runs end with equal books."""

    async def story(world: World) -> list[tuple[str, int, Decimal]]:
        await world.enter()
        await world.check()
        return world.prices()

    assert play(story, seed=1) == play(story, seed=2) == [("BOT", 100, Decimal("100.01"))]


if __name__ == "__main__":
    lines = {"generated": play_generated, "recorded": play_recorded}[sys.argv[1]]()
    sys.stdout.buffer.write(b"\n".join(lines))
