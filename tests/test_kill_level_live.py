"""A person halts a busy system from another terminal: nothing that adds risk leaves any more, stops stay."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.kill_loop import CONFIG, SPEED, SYMBOLS
from tests.programs import (
    SIMULATOR,
    SUPERVISOR,
    launch,
    program,
    said_port,
    truth,
    write_turning_signals,
)

pytestmark = pytest.mark.slow

ADDS_RISK = (":main:", ":scale:", ":doubledown:")
PATIENCE_S = 60.0


def orders(path: Path) -> list[dict[str, Any]]:
    """What the venue has taken, in its order."""
    return [line for line in truth(path) if line["kind"] in ("order_accepted", "order_modified")]


def entries(path: Path) -> list[dict[str, Any]]:
    return [line for line in orders(path) if any(role in line["order_ref"] for role in ADDS_RISK)]


def stops(path: Path) -> set[str]:
    """Symbols with a working stop, by the last word on each order."""
    last = {
        line["order_ref"]: line
        for line in truth(path)
        if line["kind"].startswith("order_") and line["order_ref"]  # a refused cancel names no order
    }
    return {
        line["symbol"]
        for ref, line in last.items()
        if ":stop:" in ref and line["status"] in ("PreSubmitted", "Submitted")
    }


def held(path: Path) -> set[str]:
    position: dict[str, int] = {}
    for line in truth(path):
        if line["kind"] == "execution":
            sign = 1 if line["side"] in ("BOT", "BUY") else -1
            position[line["symbol"]] = position.get(line["symbol"], 0) + sign * line["quantity"]
    return {symbol for symbol, shares in position.items() if shares}


def until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_after_a_halt_no_entry_leaves_also_not_after_a_kill_and_a_restart(tmp_path: Path) -> None:
    write_turning_signals(tmp_path / "signals.jsonl", SYMBOLS, 3)
    (tmp_path / "busy.toml").write_text(CONFIG, encoding="utf-8")
    told, state = tmp_path / "truth.jsonl", tmp_path / "state"
    simulator = launch(
        SIMULATOR, tmp_path / "simulator.log", "--port", "0", "--speed", str(SPEED), "--truth", told
    )
    options = (
        "--config", tmp_path / "busy.toml", "--broker", "tws", "--tws",
        f"127.0.0.1:{said_port(tmp_path / 'simulator.log')}", "--symbols", ",".join(SYMBOLS),
        "--signals", tmp_path / "signals.jsonl", "--speed", str(SPEED), "--state", state,
    )  # fmt: skip
    running = launch(SUPERVISOR, tmp_path / "first.log", *options)
    try:
        until(lambda: len(entries(told)) >= 3 and held(told), "three entries")
        halted = program(SUPERVISOR, "kill", "halt", "--why", "the test says so", "--state", state)
        at = time.monotonic()
        assert halted.returncode == 0, halted.stderr + halted.stdout
        time.sleep(4.0)
        assert [line for line in entries(told) if line["mono"] > at + 0.1] == []
        assert held(told) <= stops(told)
        running.send_signal(signal.SIGKILL)
        running.wait()
        running = launch(SUPERVISOR, tmp_path / "second.log", *options)
        until(lambda: b"link up" in (tmp_path / "second.log").read_bytes(), "the second life's link")
        time.sleep(4.0)
        assert [line for line in entries(told) if line["mono"] > at + 0.1] == []
        assert held(told) <= stops(told)
        shown = program(SUPERVISOR, "status", "--json", "--state", state)
        assert '"name":"halt"' in shown.stdout, shown.stdout + shown.stderr
        refused = program(SUPERVISOR, "signals", "--refused", "--state", state).stdout
        assert "kill_level" in refused
        again = program(SUPERVISOR, "kill", "reset", "--why", "it was a drill", "--state", state)
        assert again.returncode == 0, again.stderr + again.stdout
        until(lambda: any(line["mono"] > at + 0.1 for line in entries(told)), "an entry after the reset")
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
        simulator.send_signal(signal.SIGKILL)
        simulator.wait()
