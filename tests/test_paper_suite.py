"""The suite for a user's own paper account, against the simulated TWS: it passes, refuses, leaves nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ASKS
from tests.paper.desk import NotPaper, paper_account
from tests.paper.probes import Probes, lines
from tests.programs import PATIENCE_S, ROOT, SIMULATOR, started, truth

SPEED = 4
"""The suite waits for some market seconds; two of them are what it calls punctual."""

REFUSES_MODIFIES = """
[[fault]]
kind = "refuse_request"
on = "modify_order"
code = 105
times = 0
"""


def suite(*options: str | Path, port: int, **extra: str) -> subprocess.CompletedProcess[str]:
    """The suite against a simulator at `port`; with `scripts/test`, the options `-n auto` come first."""
    environment = {
        "PYTHONPATH": str(ROOT),
        "RINGFENCE_PAPER_TWS": f"127.0.0.1:{port}",
        "RINGFENCE_PAPER_QUIET_S": "0.1",
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         *map(str, options)],
        capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT, env=os.environ | environment | extra,
    )  # fmt: skip


@contextmanager
def simulator(folder: Path, *options: str | Path) -> Iterator[int]:
    """Its port. Afterwards `truth.jsonl` is whole."""
    speed = ("--speed", str(SPEED), "--truth", folder / "truth.jsonl")
    with started(SIMULATOR, folder, "--port", "0", *speed, *options) as program:
        yield int(program.until_said(r"^listening on 127\.0\.0\.1:(\d+)$"))
        program.stop()


def end_of(folder: Path) -> dict[str, Any]:
    last = truth(folder / "truth.jsonl")[-1]
    assert last["kind"] == "end"
    return last


def nothing_left(folder: Path) -> bool:
    last = end_of(folder)
    return not last["open_orders"] and not any(held["position"] for held in last["positions"])


@pytest.mark.slow
def test_it_passes_and_every_guess_is_as_imitated(tmp_path: Path) -> None:
    report = tmp_path / "rows.json"
    with simulator(tmp_path) as port:
        done = suite("-m", "paper", port=port, RINGFENCE_PAPER_FILLS="1", RINGFENCE_PAPER_REPORT=str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout.splitlines()[-1]
    rows = json.loads(report.read_text(encoding="utf-8"))
    assert len(rows) >= 30
    assert [row for row in rows if row["verdict"] != "as imitated"] == []
    assert "| +PACEAPI" in done.stdout.replace("`", "")
    kinds = [line["kind"] for line in truth(tmp_path / "truth.jsonl")]
    assert kinds.count("execution") == 2
    assert kinds.count("order_accepted") > 30
    assert nothing_left(tmp_path)


@pytest.mark.slow
def test_after_tests_that_fail_nothing_is_left_either(tmp_path: Path) -> None:
    faults = tmp_path / "faults.toml"
    faults.write_text(REFUSES_MODIFIES, encoding="utf-8")
    with simulator(tmp_path, "--faults", faults) as port:
        done = suite(
            "-m", "paper", "-k", "modify_in_place or target_closes", port=port,
            RINGFENCE_PAPER_FILLS="1", RINGFENCE_PAPER_PATIENCE_S="1",
        )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert re.search(r"\b2 failed", done.stdout), done.stdout
    assert nothing_left(tmp_path)
    bought_and_sold = [
        line["side"] for line in truth(tmp_path / "truth.jsonl") if line["kind"] == "execution"
    ]
    assert len(set(bought_and_sold)) == len(bought_and_sold) == 2


@pytest.mark.slow
def test_an_account_that_is_not_paper_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with simulator(tmp_path, "--account", "DU1234567", "--account", "U7654321") as port:
        done = suite("-m", "paper", port=port)
    assert done.returncode == 2, done.stdout
    assert "nothing was done" in done.stdout + done.stderr
    assert {line["kind"] for line in truth(tmp_path / "truth.jsonl")} <= {
        "client_connected", "client_disconnected", "end",
    }  # fmt: skip


@pytest.mark.slow
def test_it_only_runs_when_the_marker_is_named() -> None:
    done = suite("--collect-only", "tests/paper", port=1)
    assert done.returncode == 5, done.stdout
    assert "deselected" in done.stdout


def test_every_account_has_to_be_a_paper_one() -> None:
    assert paper_account(("DU1234567", "DF7654321")) == "DU1234567"
    for accounts in ((), ("U1234567",), ("DU1234567", "U7654321")):
        with pytest.raises(NotPaper):
            paper_account(accounts)


def test_a_row_says_whether_a_setting_imitates_what_was_seen() -> None:
    probes = Probes()
    for seen in ("a", "b", "c"):
        probes.record("what", imitated="a", seen=seen, some_setting="b")
    assert [row.verdict for row in probes.rows] == ["as imitated", "as imitated with some_setting", "differs"]
    table = lines(probes, fills=False)
    assert table[4] == "| what | a | c | differs |"
    assert len(lines(probes, fills=True)) == len(table) - 1


@pytest.mark.parametrize(
    ("expression", "asks"),
    [
        ("paper", True),
        ("paper and not slow", True),
        ("slow or paper", True),
        ("", False),
        ("not slow", False),
        ("not paper", False),
        ("not slow and not paper", False),
        ("newspaper", False),
    ],
)
def test_a_marker_expression_asks_for_it_or_does_not(expression: str, asks: bool) -> None:
    assert bool(ASKS.search(expression)) is asks
