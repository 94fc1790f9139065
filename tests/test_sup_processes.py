"""How the process itself ends: a child that stays (SUP-10), a signal, a second one, a slow stop (SUP-25)."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from actors.journal import Journal
from actors.run_end import GAVE_UP_EXIT, STOP_LIMIT_LOOP_S, bound_stop
from protocol.events import ActorExitedEvent, AlarmEvent
from tests.programs import ROOT, SIMULATOR, SUPERVISOR, started

STUCK = """
import random, sys
from datetime import UTC, datetime
from pathlib import Path
import trio
from actors.child import ChildSpec, SupervisorSpec
from actors.journal import Journal
from actors.supervisor import Supervisor

async def deaf(epoch, task_status):
    task_status.started()
    with trio.CancelScope(shield=True):
        await trio.sleep(60)

async def main():
    journal = Journal.open(Path(sys.argv[1]))
    tree = Supervisor(
        SupervisorSpec(name="root", children=(ChildSpec(id="deaf", start=deaf),)),
        record=lambda event: journal.append("system", [event]),
        market_now=lambda: datetime(2025, 1, 23, 15, tzinfo=UTC),
        next_epoch=journal.next_epoch, rng=random.Random(1),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tree.run)
        tree.stop()

trio.run(main)
"""


@pytest.mark.slow
def test_sup_10_a_child_that_ignores_its_cancellation_ends_the_process_with_70_and_the_journal_says_so(
    tmp_path: Path,
) -> None:
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", STUCK, str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert run.returncode == 70, run.stderr
    assert time.monotonic() - began > 2.0
    assert "ending the process" in run.stdout + run.stderr
    journal = Journal.open(tmp_path)
    told = [event for event in journal.read() if isinstance(event, ActorExitedEvent | AlarmEvent)]
    journal.close()
    assert isinstance(told[0], ActorExitedEvent)
    assert (told[0].actor, told[0].exit, told[0].decision) == ("deaf", "stuck", "end the process")
    assert isinstance(told[1], AlarmEvent)
    assert told[1].code == "stuck"


@pytest.mark.slow
def test_sup_25_sigterm_ends_the_run_within_15_s_though_the_broker_stands_still_and_the_second_at_once(
    tmp_path: Path,
) -> None:
    with started(SIMULATOR, tmp_path, "--port", "0") as simulator:
        port = simulator.until_said(r"^listening on 127\.0\.0\.1:(\d+)$")
        options = ("--broker", "tws", "--tws", f"127.0.0.1:{port}", "--symbols", "AAA,BBB")
        for signals, code, limit_s in ((1, 0, STOP_LIMIT_LOOP_S), (2, 130, 1.0)):
            with started(SUPERVISOR, tmp_path, *options, "--state", tmp_path / f"state{signals}") as run:
                run.until_said("link up")
                # Nobody answers for the books any more.
                simulator.process.send_signal(signal.SIGSTOP)
                run.process.send_signal(signal.SIGTERM)
                run.until_said("run stopping: stopped by SIGTERM")
                asked = time.monotonic()
                if signals == 2:
                    run.process.send_signal(signal.SIGTERM)
                run.wait(code)
                assert time.monotonic() - asked < limit_s
            simulator.process.send_signal(signal.SIGCONT)


async def test_sup_25_a_stop_that_takes_longer_than_15_s_is_cut_short(autojump_clock: object) -> None:
    signalled, left = trio.Event(), list[tuple[float, int]]()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bound_stop, signalled, lambda code: left.append((trio.current_time(), code)))
        await trio.sleep(100.0)
        assert left == []
        signalled.set()
    assert left == [(began + 100.0 + 15.0, GAVE_UP_EXIT)]
