"""The programs as a user starts them: real processes, always ended, and a small market to run them on."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs

from protocol.exchange.contracts import NEW_YORK

ROOT = Path(__file__).parent.parent
SUPERVISOR, SIMULATOR = ROOT / "scripts" / "supervisor.py", ROOT / "scripts" / "tws_simulator.py"
PATIENCE_S = 60.0
"""For machines with other things to do; what is waited for takes a second or two."""
GLANCE_S = 0.05

OPEN = datetime(2025, 3, 12, 9, 30, tzinfo=NEW_YORK)
SYMBOLS = ("AAA", "BBB", "CCC")
SYNTHETIC_BEGIN = datetime(2025, 1, 23, 10, 0, tzinfo=NEW_YORK)
"""Where the synthetic market begins."""
SIGNAL_EVERY_S = 45


def program(script: Path, *options: str | Path, **extra: str) -> subprocess.CompletedProcess[str]:
    """A run that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, options)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)} | extra,
    )


@attrs.define
class Program:
    """One running program; what it has written so far is in files."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait(self, code: int) -> None:
        """Wait for the end; it must end with `code`."""
        found = self.process.wait(PATIENCE_S)
        assert found == code, f"exit {found}\n{self.said()}\n{self.err.read_text(errors='replace')}"

    def stop(self, how: signal.Signals = signal.SIGINT, *, code: int = 0) -> None:
        self.process.send_signal(how)
        self.wait(-how if how is signal.SIGKILL else code)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped as by SIGSTOP for as long as the block lasts: it does not run, and its sockets stay."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def said(self) -> str:
        return self.out.read_text(encoding="utf-8", errors="replace")

    def complained(self) -> list[str]:
        return self.err.read_text(encoding="utf-8", errors="replace").splitlines()

    def until_said(self, pattern: str, times: int = 1) -> str:
        """Wait until the program has said it so often; the last match's first group, or the match."""

        def found() -> list[re.Match[str]]:
            return list(re.finditer(pattern, self.said(), re.MULTILINE))

        wait_until(lambda: len(found()) >= times, self, f"{times} times {pattern!r}")
        last = found()[-1]
        return last.group(1) if last.groups() else last.group()


def wait_until(holds: Callable[[], bool], program: Program, what: str) -> None:
    """Poll until it holds; a program that has ended meanwhile is the failure."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        ended = program.process.poll()
        assert ended is None or holds(), (
            f"ended ({ended}) before {what}\n{program.said()}\n{program.complained()}"
        )
        assert time.monotonic() < deadline, f"no {what}\n{program.said()}\n{program.complained()}"
        time.sleep(GLANCE_S)


def launch(script: Path, log: Path, *options: str | Path) -> subprocess.Popen[bytes]:
    """A process that outlives the block it is made in; what it says is added to `log`."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, str(script), *map(str, options)],
            stdout=out,
            stderr=out,
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )


def said_port(log: Path, what: str = "listening") -> int:
    """The port that the simulator names in its log, as soon as it does."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = re.search(rf"^{what} on 127\.0\.0\.1:(\d+)$", log.read_text(), re.MULTILINE)
        if found is not None:
            return int(found.group(1))
        time.sleep(GLANCE_S)
    raise TimeoutError(f"the simulator did not start: {log.read_text()}")


@contextmanager
def started(script: Path, folder: Path, *options: str | Path, **extra: str) -> Iterator[Program]:
    """The program in the background; if the block leaves it running it is killed."""
    number = len(list(folder.glob("*.out")))
    out, err = folder / f"{script.stem}-{number}.out", folder / f"{script.stem}-{number}.err"
    with out.open("wb") as to, err.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), *map(str, options)],
            stdout=to,
            stderr=errors,
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(ROOT)} | extra,
            start_new_session=True,
        )
    try:
        yield Program(process, out, err)
        assert process.poll() is None or not group_lives(process.pid), "it left a process behind"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# --- a market ---------------------------------------------------------------------------------------


def write_market(
    folder: Path,
    signals: Sequence[tuple[float, str, str]],
    *,
    minutes: int = 390,
    volume: int = 60_000,
    closes: Callable[[str, int], float] | None = None,
) -> Path:
    """A day of one-minute bars of three symbols, and predictions (minute, symbol, signal) on it."""
    folder.mkdir()
    price = closes or calm
    for symbol in SYMBOLS:
        rows = ["time,open,high,low,close,volume"]
        for minute in range(minutes):
            first, last = price(symbol, minute - 1), price(symbol, minute)
            low, high = min(first, last) - 0.02, max(first, last) + 0.02
            at = (OPEN + timedelta(minutes=minute)).isoformat()
            rows.append(f"{at},{first:.2f},{high:.2f},{low:.2f},{last:.2f},{volume}")
        (folder / f"{symbol}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    lines = [prediction(*signal) for signal in sorted(signals)]
    (folder / "signals.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


def calm(symbol: str, minute: int) -> float:
    """Moves by cents, so that no exit is reached."""
    return 40.0 + 10.0 * "ABC".find(symbol[0]) + 0.01 * (minute % 7)


def rising(symbol: str, minute: int) -> float:
    """A cent or two every five seconds: no order fills where it was priced."""
    return calm(symbol, 0) + 0.2 * (minute % 16)


def prediction(minute: float, symbol: str, signal: str) -> str:
    at = OPEN + timedelta(minutes=minute)
    stamp = int(at.timestamp() * 1000)
    return json.dumps(
        {
            "id": f"{symbol}-{stamp}",
            "ticker": symbol,
            "signal": signal,
            "numeric": {"BUY": 1, "SELL": -1, "SHORT": -1}[signal],
            "confidence": 0.9,
            "timestamp": stamp,
            "datetime": at.isoformat(),
            "stock_price": calm(symbol, int(minute)),
            "feature_values": {},
        }
    )


def write_turning_signals(path: Path, symbols: Sequence[str], seed: int, days: int = 4) -> None:
    """Signals of either side for every symbol, each `SIGNAL_EVERY_S` in the mean, day after day.

    For the synthetic market: those of the first day begin with it, those of the next ones 20 minutes earlier.
    """
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for day in range(days):
            at = SYNTHETIC_BEGIN + timedelta(days=day) - (timedelta(0) if day == 0 else timedelta(minutes=20))
            until = at.replace(hour=15, minute=40)
            while at < until:
                line = {
                    "ticker": rng.choice(symbols), "signal": rng.choice(("BUY", "SELL")), "numeric": 1,
                    "confidence": 0.9, "timestamp": int(at.timestamp() * 1000), "datetime": at.isoformat(),
                }  # fmt: skip
                file.write(json.dumps(line) + "\n")
                at += timedelta(seconds=SIGNAL_EVERY_S / len(symbols) * rng.uniform(0.5, 1.5))


# --- what was written ---------------------------------------------------------------------------------


def truth(path: Path) -> list[dict[str, Any]]:
    """The lines of a truth file; a torn last one is left out."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def placed(path: Path) -> list[str]:
    """The reference of every order that the venue accepted, in order."""
    return [line["order_ref"] for line in truth(path) if line["kind"] == "order_accepted"]


def positions(path: Path) -> dict[str, int]:
    """The open positions that the venue's last words name."""
    last = truth(path)[-1]
    assert last["kind"] == "end"
    return {held["symbol"]: held["position"] for held in last["positions"] if held["position"]}


def report_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def kinds(state: Path) -> list[tuple[str, str, dict[str, Any]]]:
    """(stream, kind, payload) of every row of a journal that nobody has open."""
    with sqlite3.connect(f"file:{state / 'journal.sqlite3'}?mode=ro", uri=True) as journal:
        rows = journal.execute("SELECT stream, kind, payload FROM event ORDER BY seq").fetchall()
    journal.close()
    return [(stream, kind, json.loads(payload)) for stream, kind, payload in rows]
