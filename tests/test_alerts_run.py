"""Alerts of a whole run: real programs, a real service, and an end that sends what still waits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.programs import PATIENCE_S, ROOT, SUPERVISOR, program

pytestmark = pytest.mark.slow


def test_a_run_tells_what_is_listed_by_a_program_up_to_its_last_word(tmp_path: Path) -> None:
    told, config = tmp_path / "told.jsonl", tmp_path / "config.toml"
    config.write_text(
        f"""
[alerts.desk]
kind = "command"
command = ["/bin/sh", "-c", "cat >> {told}"]
events = {{ RunEvent = "silent", PositionOpenEvent = "on" }}
""",
        encoding="utf-8",
    )
    done = program(SUPERVISOR, "--config", config, "--symbols", "SPY", "--duration", "3")
    assert (done.returncode, done.stderr) == (0, "")
    alerts = [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]
    runs = [alert["text"] for alert in alerts if alert["event"] == "RunEvent"]
    assert runs[0].startswith("run started")
    assert runs[1:] == ["run stopping: 3 s are over", "run stopped: 3 s are over"]
    assert all(alert["silent"] and not alert["alarm"] for alert in alerts if alert["event"] == "RunEvent")
    assert {alert["from"] for alert in alerts} == {"ringfence paper, simulation"}


WITH_AN_ALARM = """
import trio
from actors.logs import close_log, set_up_log
from actors.run import Run
from actors.run_options import RunOptions, resolve
from actors.system import Edge
from protocol.values import Symbol

async def sound(system, _epoch, task_status):
    task_status.started()
    system.alarm("TEST_ALARM", "look here")
    await trio.sleep_forever()

def add(system):
    system.edges.append(Edge(id="sound", start=lambda *given: sound(system, *given)))

set_up_log("text", verbose=False)
trio.run(Run(resolve(RunOptions(symbols=(Symbol("SPY"),), duration_s=1.0)), prepare_system=add).run)
close_log()
"""


def test_an_alarm_is_told_once_where_both_streams_go_to_the_same_place(tmp_path: Path) -> None:
    both = tmp_path / "both"
    with both.open("wb") as same:
        done = subprocess.run(
            [sys.executable, "-c", WITH_AN_ALARM], stdout=same, stderr=same, cwd="/", timeout=PATIENCE_S,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    said = both.read_text(encoding="utf-8")
    assert done.returncode == 0, said
    assert [line for line in said.splitlines() if "look here" in line and "ALARM" in line]
    assert said.count("look here") == 1
