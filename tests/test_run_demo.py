"""The demo and the ways to end a run: what a person sees in the first minute."""

from __future__ import annotations

import os
import pty
import resource
import select
import signal
import subprocess
import sys
import termios
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from protocol.exchange.contracts import NEW_YORK
from tests.programs import (
    PATIENCE_S,
    ROOT,
    SIMULATOR,
    SUPERVISOR,
    kinds,
    program,
    report_of,
    started,
    wait_until,
    write_market,
)

pytestmark = pytest.mark.slow

FIRST_TRADE_S = 10.0
SHOW_CURSOR, HIDE_CURSOR = b"\x1b[?25h", b"\x1b[?25l"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the program makes its temporary folders; nothing may be left of them."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_the_demo_trades_within_ten_seconds_and_ends_on_the_first_ctrl_c(
    tmp_path: Path, scratch: Path
) -> None:
    report = tmp_path / "report.json"
    with started(SUPERVISOR, tmp_path, "--report", report, TMPDIR=str(scratch)) as run:
        run.until_said("run started")
        began = time.monotonic()
        run.until_said("main fills")
        assert time.monotonic() - began < FIRST_TRADE_S
        asked = time.monotonic()
        run.stop()
        assert time.monotonic() - asked < FIRST_TRADE_S
    assert run.complained() == []
    assert list(scratch.iterdir()) == []
    said = run.said()
    assert "run stopping: stopped by SIGINT" in said
    assert "exit: stopped by SIGINT" in said
    assert said.splitlines()[-1].startswith("next: ")
    told = report_of(report)
    assert told["mode"] == "sim"
    assert told["broker"]["executions"] == told["totals"]["executions"] >= 1
    assert told["invariants"]["violations"] == []
    held = [one for one in told["symbols"].values() if one["position"]]
    assert told["broker"]["open_orders"] == 2 * len(held), "each position keeps its stop and its target"
    assert all(one["max_uncovered_s"] <= 2.0 for one in held)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kolkata"])
def test_the_demo_is_the_same_day_whatever_the_hosts_clock_says(tmp_path: Path, zone: str) -> None:
    state = tmp_path / "state"
    with started(SUPERVISOR, tmp_path, "--state", state, TZ=zone) as run:
        run.until_said("main fills")
        run.stop()
    assert run.said().startswith("10:00:00  run started")
    times = [datetime.fromisoformat(payload["at"]) for _, _, payload in kinds(state)]
    first = min(times).astimezone(NEW_YORK)
    assert (first.hour, first.minute) == (10, 0)
    assert max(times) - min(times) < timedelta(minutes=5), "no row is of the host's own day"
    assert abs(first - datetime.now(NEW_YORK)) > timedelta(days=1)


def test_sigterm_and_a_duration_are_clean_stops_too(tmp_path: Path, scratch: Path) -> None:
    with started(SUPERVISOR, tmp_path, TMPDIR=str(scratch)) as run:
        run.until_said("link up")
        run.stop(signal.SIGTERM)
    assert "exit: stopped by SIGTERM" in run.said()
    done = program(SUPERVISOR, "--duration", "2", TMPDIR=str(scratch))
    assert (done.returncode, done.stderr) == (0, "")
    assert "exit: 2 s are over" in done.stdout
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_ctrl_c_before_the_run_began_is_a_clean_stop(tmp_path: Path, how: signal.Signals) -> None:
    # The predictions never come out of this pipe, so that the program stands still before its start.
    pipe = tmp_path / "signals.jsonl"
    os.mkfifo(pipe)
    market = write_market(tmp_path / "market", (), minutes=5)
    with started(SUPERVISOR, tmp_path, "--market", market, "--signals", pipe) as run:
        writer = None
        deadline = time.monotonic() + PATIENCE_S
        while writer is None and time.monotonic() < deadline:
            try:
                writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads yet
                time.sleep(0.05)
        assert writer is not None
        run.process.send_signal(how)
        # The signal may have come just before the read, which then has to end by itself.
        os.close(writer)
        run.wait(0)
    assert run.complained() == ["supervisor.py: stopped before the run began"]


def test_a_ctrl_c_before_the_first_session_is_a_clean_stop(tmp_path: Path) -> None:
    report, signals = tmp_path / "report.json", write_market(tmp_path / "market", ()) / "signals.jsonl"
    options = ("--broker", "tws", "--tws", "127.0.0.1:9", "--symbols", "AAA", "--signals", signals)
    more = ("--report", report, "--state", tmp_path / "state")
    with started(SUPERVISOR, tmp_path, *options, *more) as run:
        wait_until((tmp_path / "state" / "journal.sqlite3").exists, run, "journal")
        time.sleep(0.5)
        run.stop()
    assert report_of(report)["exit"].startswith("stopped by SIGINT")
    assert run.complained() == []


def test_the_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with started(SIMULATOR, tmp_path, "--port", "0") as simulator:
        port = simulator.until_said(r"^listening on 127\.0\.0\.1:(\d+)$")
        options = ("--broker", "tws", "--tws", f"127.0.0.1:{port}", "--symbols", "AAA,BBB")
        with started(SUPERVISOR, tmp_path, *options, "--state", tmp_path / "state") as run:
            run.until_said("link up")
            # A TWS that stands still makes the clean stop wait for its books.
            simulator.process.send_signal(signal.SIGSTOP)
            run.process.send_signal(signal.SIGINT)
            run.until_said("run stopping")
            asked = time.monotonic()
            run.stop(code=130)
            assert time.monotonic() - asked < 1.0
        simulator.process.send_signal(signal.SIGCONT)


def test_a_full_disk_ends_the_run_with_its_report_written_elsewhere(tmp_path: Path) -> None:
    market = write_market(tmp_path / "market", ((2, "AAA", "BUY"), (3, "BBB", "BUY")), minutes=10)
    report, limit = tmp_path / "report.json", 300 * 1024

    options = ("--market", market, "--speed", 600, "--state", tmp_path / "state", "--report", report)

    def fill_up() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, str(SUPERVISOR), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=fill_up,
    )
    assert done.returncode == 1
    assert "journal.sqlite3 cannot be written" in done.stderr
    assert "cannot be written" in report_of(report)["exit"]


# --- a terminal -----------------------------------------------------------------------------------------


def on_a_terminal(ask: list[tuple[bytes, signal.Signals]]) -> tuple[int, bytes, list[Any], list[Any]]:
    """The demo on a terminal, with signals after what it shows: code, output, modes before and after."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [sys.executable, str(SUPERVISOR)], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    shown, waiting = b"", list(ask)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            assert time.monotonic() < deadline, shown
            if select.select([master], [], [], 0.1)[0]:
                shown += os.read(master, 65_536)
            if waiting and waiting[0][0] in shown:
                process.send_signal(waiting.pop(0)[1])
        after = termios.tcgetattr(slave)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)
    return process.returncode, shown, before, after


def test_a_terminal_shows_a_live_table_and_gets_its_cursor_back() -> None:
    code, shown, before, after = on_a_terminal([(b"main fills", signal.SIGINT)])
    assert code == 0, shown
    assert HIDE_CURSOR in shown
    assert shown.rfind(SHOW_CURSOR) > shown.rfind(HIDE_CURSOR)
    assert shown.count(b"NVDA") > 2, "drawn again and again"
    assert b"exit: stopped by SIGINT" in shown
    assert before == after
