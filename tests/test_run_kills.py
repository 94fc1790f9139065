"""Deaths on command and a broker that hides something, in whole runs on a small market."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from actors.run import Run
from actors.run_options import RunOptions, resolve
from protocol.values import Symbol
from tests.programs import SUPERVISOR, kinds, report_of, rising, started, write_market

pytestmark = pytest.mark.slow

SPEED = 120
SIGNALS = (
    (2, "AAA", "BUY"),
    (2, "BBB", "BUY"),
    (3, "CCC", "SHORT"),
    (8, "AAA", "SHORT"),
    (9, "BBB", "BUY"),
)


TRAILING = """
[[rules]]
name = "long"
when.signal = { signal = "BUY" }
then = [{ enter = { side = "BUY", stop_pct = 0.03, trail_pct = 0.03, target_pct = 0.08 } }]

[[rules]]
name = "short"
when.signal = { signal = ["SELL", "SHORT"] }
then = [{ enter = { side = "SELL", stop_pct = 0.03, trail_pct = 0.03, target_pct = 0.08 } }]
"""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("markets") / "market"
    return write_market(folder, SIGNALS, minutes=40, volume=2400, closes=rising)


@pytest.mark.parametrize(
    "moments",
    [
        ("entry-filled",),
        ("stop-modify-sent",),
        ("reversal-closing",),
        ("09:34:00",),
        ("2025-03-12T09:35:10",),
        ("entry-filled", "recovering"),
        ("entry-filled", "recovering", "reversal-closing"),
    ],
    ids="+".join,
)
def test_a_symbol_that_is_killed_with_a_position_goes_on_alone(
    market: Path, tmp_path: Path, moments: tuple[str, ...]
) -> None:
    report, state = tmp_path / "report.json", tmp_path / "state"
    kills = [option for moment in moments for option in ("--kill", f"AAA@{moment}")]
    # A stop that trails moves in a rising market, whatever the entry was filled at.
    config = tmp_path / "trailing.toml"
    config.write_text(TRAILING, encoding="utf-8")
    options = ("--market", market, "--speed", str(SPEED), "--state", state, "--report", report)
    with started(SUPERVISOR, tmp_path, *options, "--config", config, *kills) as run:
        run.until_said("AAA: closed, reverse")
        run.until_said(r"AAA: enters short (?:.*\n)+?.*AAA: main fills")
        run.until_said("BBB: main fills")
        run.until_said("CCC: main fills")
        run.stop()
    assert run.complained() == []
    told = report_of(report)
    assert [kill["symbol"] for kill in told["kills"]] == ["AAA"] * len(moments)
    for kill in told["kills"]:
        assert kill["position"] > 0
        assert 0 < kill["ready_after_ms"] < 5000
    restarts = {symbol: one["restarts"] for symbol, one in told["symbols"].items()}
    assert restarts == {"AAA": len(moments), "BBB": 0, "CCC": 0}
    assert [one["mailbox"]["dropped"] for one in told["symbols"].values()] == [0, 0, 0]
    assert [one["state"] for one in told["symbols"].values()] == ["running"] * 3
    assert told["symbols"]["AAA"]["trades"] == 2
    assert told["symbols"]["AAA"]["signals"]["accepted"] == 2
    assert told["symbols"]["AAA"]["position"] < 0
    assert told["invariants"]["violations"] == []
    assert told["broker"]["executions"] == told["totals"]["executions"]
    decided = [payload["ref"] for _, kind, payload in kinds(state) if kind == "NewOrderEvent"]
    sent = [payload["ref"] for _, kind, payload in kinds(state) if kind == "OrderSentEvent"]
    assert len({str(ref) for ref in decided}) == len(decided)
    assert len({str(ref) for ref in sent}) == len(sent)


def test_a_kill_whose_moment_never_came_is_said(market: Path, tmp_path: Path) -> None:
    options = ("--market", market, "--speed", str(SPEED), "--duration", "2", "--kill", "AAA@15:00:00")
    with started(SUPERVISOR, tmp_path, *options) as run:
        run.wait(0)
    assert run.complained() == ["supervisor.py: --kill AAA: its moment never came"]


def test_an_execution_that_is_withheld_is_stood_in_for_and_its_commission_fails_the_run(
    market: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    plan = resolve(RunOptions(market=market, speed=float(SPEED), duration_s=5.0, report=report))
    run = Run(plan, prepare=lambda simulator: simulator.withhold_execution(1))
    assert trio.run(run.run) == 1
    assert run.complaints
    assert [line for line in run.complaints if "commission" not in line] == []
    told = report_of(report)
    assert told["broker"]["executions"] == told["totals"]["executions"]


def test_the_same_run_without_the_fault_ends_well(market: Path, tmp_path: Path) -> None:
    plan = resolve(RunOptions(market=market, speed=float(SPEED), duration_s=5.0, symbols=(Symbol("AAA"),)))
    run = Run(plan)
    assert trio.run(run.run) == 0
    assert run.complaints == ()
