"""`kill -9` again and again: the trading system dies at any moment against a simulated TWS that lives on.

`python -m tests.kill_loop --kills 200` starts one simulator process with a synthetic market, and then the
supervisor on the same state folder so many times; each is killed at a moment drawn from the seed: some at
once after an order has left, some after a while. At the end the truth file is held against the journal:
every order reference once, every execution in both, positions equal, no position without its whole stop for
longer than two seconds of link time, over all connections together. It prints when the kills came.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import attrs
from rich.console import Console
from rich.progress import Progress

from tests.programs import (
    SIMULATOR,
    SUPERVISOR,
    launch,
    said_port,
    write_turning_signals,
)
from tests.truth_checks import (
    Line,
    Tail,
    differences,
    positions_of,
    too_long_bare,
    uncovered,
    while_anybody_was_there,
)

SYMBOLS: Final = ("SPY", "QQQ", "AAPL", "TSLA")
SPEED: Final = 20
STARTS_WITHIN_S: Final = 30.0
GLANCE_S: Final = 0.001
SOON_S: Final = 0.05
"""A kill within so long after an order left is one that hit it on its way."""
MIN_WITH_POSITION: Final = 0.6
MIN_SOON: Final = 0.2
MANY: Final = 50
"""What part of the kills must hit an open position, and an order on its way: of so many kills or more."""

CONFIG: Final = """
[risk]
max_round_trips = 100000
max_stop_outs_in_a_row = 100000
max_daily_loss_of_symbol = 1000000
max_messages_per_execution = 100000
max_rejects = 100000
max_rejects_in_all = 100000

[signals.flow]
poll_s = 5
max_age_s = 60

[[rules]]
name = "{symbol} both ways"
cooldown_s = 20
when.signal = { signal = "BUY" }
then = [{ enter = { side = "BUY", stop_pct = 0.004, target_pct = 0.006, trail_pct = 0.003 } }]

[[rules]]
name = "{symbol} short"
cooldown_s = 20
when.signal = { signal = "SELL" }
then = [{ enter = { side = "SELL", stop_pct = 0.004, target_pct = 0.006, trail_pct = 0.003 } }]
"""


@attrs.define
class Tally:
    """What the kills hit."""

    kills: int = 0
    with_position: int = 0
    soon_after_order: int = 0
    never_up: int = 0
    delays_ms: list[float] = attrs.field(factory=list)
    """From the venue's word about our last order to the kill."""

    def missed(self) -> Iterator[str]:
        """The quotas that were not met: kills that hit nothing prove nothing."""
        if self.kills < MANY:
            return
        for what, count, least in (
            ("with a position open", self.with_position, MIN_WITH_POSITION),
            ("within 50 ms after an order", self.soon_after_order, MIN_SOON),
        ):
            if count < least * self.kills:
                yield f"only {count} of {self.kills} kills came {what}, {least:.0%} are wanted"


def wait_for_blow(tail: Tail, rng: random.Random, process: subprocess.Popen[bytes], tally: Tally) -> None:
    """Until the moment of the kill: after an order of this life, at once or a while later."""
    at_once = rng.random() < 0.55
    pause_s = rng.uniform(0.0, 0.02) if at_once else rng.uniform(0.0, 1.5)
    skip = rng.choice((0, 0, 1, 2, 3, 5))
    most_s = rng.uniform(1.0, 6.0)
    deadline = time.monotonic() + STARTS_WITHIN_S
    connected = False
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the supervisor ended by itself with {process.returncode}")
        for line in tail.read():
            if line["kind"] == "client_connected" and not connected:
                connected, deadline = True, time.monotonic() + most_s
            skip -= asked_by_us(line)
        if skip < 0:
            time.sleep(pause_s)
            return
        time.sleep(GLANCE_S)
    tally.never_up += not connected


def asked_by_us(line: Line) -> bool:
    """A placement or a change that the venue took; what it changes by itself says why."""
    return line["kind"] in ("order_accepted", "order_modified") and not line.get("why")


def strike(tail: Tail, process: subprocess.Popen[bytes], tally: Tally) -> None:
    tail.read()
    process.send_signal(signal.SIGKILL)
    now = time.monotonic()
    process.wait()
    tail.read()
    ours = [line["mono"] for line in tail.lines if asked_by_us(line)]
    tally.kills += 1
    if ours:
        since_s = now - max(ours)
        tally.delays_ms.append(since_s * 1000)
        tally.soon_after_order += since_s <= SOON_S
    tally.with_position += any(positions_of(tail.lines).values())


def run(kills: int, seed: int, folder: Path, out: Console) -> int:
    """The loop; the exit code."""
    rng, tally = random.Random(seed), Tally()
    write_turning_signals(folder / "signals.jsonl", SYMBOLS, seed)
    (folder / "kills.toml").write_text(CONFIG, encoding="utf-8")
    log, state, tail = folder / "simulator.log", folder / "state", Tail(folder / "truth.jsonl")
    simulator = launch(
        SIMULATOR, log, "--port", "0", "--seed", str(seed), "--speed", str(SPEED), "--truth", tail.path
    )
    options = (
        "--config", folder / "kills.toml", "--broker", "tws", "--tws", f"127.0.0.1:{said_port(log)}",
        "--symbols", ",".join(SYMBOLS), "--signals", folder / "signals.jsonl", "--speed", str(SPEED),
        "--state", state,
    )  # fmt: skip
    begun = time.monotonic()
    try:
        with Progress(console=out) as progress:
            task = progress.add_task("kill -9", total=kills)
            for _ in range(kills):
                supervisor = launch(SUPERVISOR, folder / "supervisor.log", *options)
                try:
                    wait_for_blow(tail, rng, supervisor, tally)
                finally:
                    strike(tail, supervisor, tally)
                progress.advance(task)
        last = launch(SUPERVISOR, folder / "supervisor.log", *options)
        time.sleep(15.0)
        last.send_signal(signal.SIGTERM)
        code = last.wait(60)
    finally:
        simulator.send_signal(signal.SIGTERM)
        simulator.wait(30)
    tail.read()
    lines = while_anybody_was_there(tail.lines)
    found = [*differences(lines, state), *too_long_bare(lines), *tally.missed()]
    if code not in (0,):
        found.append(f"the last life ended with exit code {code}")
    tell(out, tally, tail.lines, time.monotonic() - begun)
    for each in found:
        out.print(f"[red]{each}[/red]")
    out.print("next: the same with another --seed" if not found else f"next: look into {folder}")
    return 1 if found else 0


def tell(out: Console, tally: Tally, lines: Sequence[Line], took_s: float) -> None:
    delays = sorted(tally.delays_ms)
    executions = sum(line["kind"] == "execution" for line in lines)
    orders = len({line["order_ref"] for line in lines if line["kind"] == "order_accepted"})
    edges = (1, 5, 20, 50, 200, 1000, 5000)
    bins = Counter(next((edge for edge in edges if each <= edge), None) for each in delays)
    out.print(
        f"{tally.kills} kills in {took_s:.0f} s: {tally.with_position} with a position open "
        f"({tally.with_position / tally.kills:.0%}), {tally.soon_after_order} within 50 ms after an order "
        f"({tally.soon_after_order / tally.kills:.0%}), {tally.never_up} before there was a link; "
        f"{orders} orders, {executions} executions"
    )
    shown = ", ".join(f"<= {edge} ms: {bins[edge]}" for edge in edges)
    out.print(f"from the last order to the kill: {shown}, later: {bins[None]}")
    for symbol, bare in sorted(uncovered(while_anybody_was_there(list(lines))).items()):
        out.print(
            f"{symbol}: longest uncovered {bare.in_one_s:.2f} s in one connection, "
            f"{bare.in_all_s:.2f} s of link time in all"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="Keep everything there, to look at afterwards.")
    asked = parser.parse_args(arguments)
    out = Console()
    if asked.folder is not None:
        asked.folder.mkdir(parents=True, exist_ok=True)
        return run(asked.kills, asked.seed, asked.folder, out)
    with TemporaryDirectory() as folder:
        return run(asked.kills, asked.seed, Path(folder), out)


if __name__ == "__main__":
    sys.exit(main())
