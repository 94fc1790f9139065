"""Fault runs: a seed is an episode, the same every time; what it finds is counted, told, and remembered."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from random import Random

import attrs
import orjson
import pytest

from actors.chaos import Job, run_episode
from protocol.chaos.plan import DAY, CrashPoint, Victim, draw_plan
from protocol.chaos.strategy import draw_settings
from protocol.chaos.swarm import DRAWERS, Draw, draw_faults
from protocol.chaos.tally import ALL_KINDS, ENOUGH_SEEDS, EpisodeResult, Tally
from protocol.chaos.verdict import Judge
from protocol.exchange.faults import KINDS, kind_of
from protocol.journal_checks import Violation
from protocol.rule_checks import rule_faults
from protocol.values import Symbol
from scripts.chaos import run

ROOT = Path(__file__).parent.parent
SEEDS = Path(__file__).parent / "seeds"
AAA, BBB = Symbol("AAA"), Symbol("BBB")


# --- what is drawn --------------------------------------------------------------------------------


def test_every_kind_of_fault_that_the_simulated_tws_knows_can_be_drawn() -> None:
    assert set(DRAWERS) == set(KINDS.values())


def test_a_drawer_makes_its_own_kind_within_the_safety_phase() -> None:
    start = draw_plan(1).start
    for kind, drawer in DRAWERS.items():
        for number in range(20):
            draw = Draw(Random(f"{kind} {number}"), (AAA, BBB), start, 1700.0)
            faults = drawer(draw)
            assert isinstance(faults[0], kind)
            for fault in faults:
                assert isinstance(fault.when.at, datetime)
                assert 10 < (fault.when.at - start).total_seconds() < 1700


def test_a_swarm_knows_some_kinds_well_and_most_of_them_not_at_all() -> None:
    start = draw_plan(1).start
    swarms = [
        {kind_of(fault) for fault in draw_faults(Draw(Random(seed), (AAA,), start, 1700.0))}
        for seed in range(300)
    ]
    assert set().union(*swarms) == set(KINDS)
    assert min(map(len, swarms)) <= 2
    assert max(map(len, swarms)) < len(KINDS) / 2


def test_a_plan_is_drawn_from_its_seed_alone() -> None:
    assert draw_plan(7) == draw_plan(7)
    assert draw_plan(7) != draw_plan(8)


def test_a_calm_plan_has_the_same_market_and_strategy_and_nothing_else() -> None:
    calm, wild = draw_plan(7, faults=False), draw_plan(7)
    assert (calm.tempers, calm.settings, calm.predictions) == (wild.tempers, wild.settings, wild.predictions)
    done = (calm.faults, calm.kills, calm.crashes, calm.disk, calm.pauses, calm.moments)
    assert done == ((), (), (), (), (), ())


def test_every_strategy_that_is_drawn_can_be_traded() -> None:
    for seed in range(100):
        settings = draw_settings(Random(seed), (AAA, BBB))
        assert rule_faults(settings.rules, (AAA, BBB)) == ()


def test_what_is_drawn_over_many_seeds_has_every_blow_in_it() -> None:
    plans = [draw_plan(seed) for seed in range(400)]
    assert {crash.point for plan in plans for crash in plan.crashes} == set(CrashPoint)
    assert {kill.victim for plan in plans for kill in plan.kills} == set(Victim)
    assert all(plan.start.date() == DAY for plan in plans)


# --- episodes -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_calm_episode_trades_and_breaks_no_law() -> None:
    result = run_episode(Job(4, 8.0, calm=True))
    assert result.failed == ""
    assert result.verdict.violations == ()
    assert result.verdict.trades >= 3
    assert result.verdict.worst_uncovered_s < 2
    assert result.verdict.faults == {}


@pytest.mark.slow
def test_an_episode_with_deaths_in_it_goes_on_in_another_process() -> None:
    lines: list[str] = []
    result = run_episode(Job(4, 10.0), lines.append)
    assert result.verdict.crashes >= 1
    assert result.verdict.kills >= 1
    assert any("#2 " in line for line in lines)
    assert [
        each for each in result.verdict.violations if each.invariant in ("INV-05", "INV-14", "CRASH")
    ] == []


@pytest.mark.slow
def test_an_episode_is_the_same_in_every_process() -> None:
    command = [sys.executable, "-c", (
        "from actors.chaos import Job, be_quiet, run_episode; be_quiet();"
        "print(run_episode(Job(9, 8.0)).trace_hash)"
    )]  # fmt: skip
    runs = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed in ("1", "4321")
    ]
    one, other = (run.communicate(timeout=300)[0] for run in runs)
    assert one == other
    assert len(one.strip()) == 16


KEPT = tuple(int(path.stem) for path in sorted(SEEDS.glob("*.seed")))
"""Seeds that once broke a law. Each file holds, in a sentence, what it was."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_once_broke_a_law_breaks_none(seed: int) -> None:
    result = run_episode(Job(seed, 30.0))
    assert result.failed == ""
    assert [f"{each.invariant} {each.at:%H:%M:%S} {each.what}" for each in result.verdict.violations] == []


# --- the sum --------------------------------------------------------------------------------------


def verdict_of(**changes: object) -> EpisodeResult:
    """A result with what is of interest changed."""
    empty = run_nothing()
    return attrs.evolve(empty, **changes)  # type: ignore[arg-type]


def run_nothing() -> EpisodeResult:
    verdict = Judge(draw_plan(1, faults=False)).verdict()
    return EpisodeResult(
        seed=1, verdict=attrs.evolve(verdict, violations=()), trace_hash="0" * 16, entries=10, wall_s=1.0
    )


def test_the_sum_has_the_form_that_others_read() -> None:
    tally = Tally()
    plan = draw_plan(1)
    broken = Violation("INV-01", plan.start, "naked")
    base = run_nothing()
    tally.add(verdict_of(seed=3, verdict=attrs.evolve(base.verdict, violations=(broken,), kills=2)))
    tally.add(verdict_of(seed=2))
    told = orjson.loads(orjson.dumps(tally.to_dict(2.0)))
    assert told["seeds"] == 2
    assert told["violations"] == [
        {"seed": 3, "invariant": "INV-01", "at": plan.start.isoformat(), "what": "naked"}
    ]
    assert set(ALL_KINDS) <= set(told["faults"])
    assert told["kills"] == 2
    assert told["trace_hash"] == {"2": "0" * 16, "3": "0" * 16}
    assert told["events_per_s"] == 10.0
    assert {"invariants", "worst_uncovered_s", "restarts"} <= set(told)


def test_a_long_run_that_never_saw_a_kind_of_fault_says_so() -> None:
    base = run_nothing().verdict
    seen = dict.fromkeys(ALL_KINDS, 1)
    for missing, told in ((None, ()), ("halt", ("halt",))):
        tally = Tally()
        for seed in range(ENOUGH_SEEDS):
            faults = {kind: count for kind, count in seen.items() if kind != missing}
            tally.add(verdict_of(seed=seed, verdict=attrs.evolve(base, faults=faults)))
        assert tally.never_fired == told


# --- the script -----------------------------------------------------------------------------------


def test_the_script_writes_what_it_found_and_traces_a_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "chaos.json"
    assert run(["--seed", "4", "--minutes", "5", "--calm", "--trace", "--json", str(report)]) == 0
    assert "venue Executed" in capsys.readouterr().out
    told = orjson.loads(report.read_bytes())
    assert told["seeds"] == 1
    assert told["violations"] == []
    assert list(told["trace_hash"]) == ["4"]


@pytest.mark.parametrize("arguments", [["--seeds", "0"], ["--trace"], ["--minutes", "1"], ["--nonsense"]])
def test_a_wrong_option_ends_the_script_with_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("chaos.py: ")
