"""One symbol is killed every second: how much later do the others handle their ticks?

`python -m tests.isolation --seconds 120` runs the real system on the real clock and a real socket: a
simulated TWS that says more of every symbol than a busy recorded day has, predictions that are traded.
An actor at its edge kills one symbol each second, in turn. A delay is from the moment at which the TWS thread
read a tick from the socket to the end of its handling by the symbol. The delays of the others within 50 ms
after each kill are held against those of 50 ms windows half a second later, when nothing was killed: both see
the same machine in the same seconds. A phase without kills comes first. Exits 1 when a bound is broken.

The simulated TWS is a process of its own, as TWS is. With `--embedded` it shares the loop of the system, and
what a restart asks of it (books, bars of the past) is worked out in everybody's time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import cycle
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import attrs
import trio

from actors.interpreter import prepare_interpreter
from actors.journal import Journal
from actors.run import Run
from actors.run_options import RunOptions, resolve
from actors.symbol import stream_of
from actors.system import Edge, TradingSystem
from actors.tws_link import Burst
from protocol.events import SignalVerdictEvent, Verdict
from protocol.exchange.synthetic import SyntheticMarket
from protocol.symbol import SymbolMessage
from protocol.values import Symbol, Tick, TickKind
from tests.programs import SIMULATOR, started

NAMES: Final = (
    "AAPL", "MSFT", "NVDA", "AMZN", "META", "TSLA", "GOOG", "AMD", "INTC", "QCOM", "IBM", "AIG", "JPM", "BAC",
    "SPY", "QQQ", "SLV", "GLD", "SMH", "TSM",
)  # fmt: skip
SPEED: Final = 10.0
"""Ten quotes and ten trades a second for each symbol; IBM's busiest recorded day has seven rows a second."""
KILL_EVERY_S: Final = 1.0
WINDOW_S: Final = 0.05
CONTROL_AFTER_S: Final = 0.5
BOUND_MS: Final = 10.0
"""What a kill may add to the others' p99.9."""
READY_S: Final = 1.0
EDGES_MS: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0)
GLANCE_S: Final = 0.002
SETTLE_S: Final = 2.0
"""After the start: bars of the past are read for every symbol at once."""


# --- arithmetic -----------------------------------------------------------------------------------


@attrs.frozen
class Handled:
    """One tick: when it was read from the socket, and how long after that its symbol was done with it."""

    symbol: str
    read_at: float
    delay_s: float


@attrs.frozen
class Death:
    """A symbol killed at `at`, ready again after `ready_s`."""

    symbol: str
    at: float
    ready_s: float


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(part * len(ordered)) - 1)] if ordered else 0.0


def windows(
    ticks: Sequence[Handled], deaths: Sequence[Death], *, after_s: float, width_s: float = WINDOW_S
) -> list[float]:
    """Delays of the survivors' ticks, read in the window that begins `after_s` after each death."""
    found, place = list[float](), 0
    ordered = sorted(ticks, key=lambda tick: tick.read_at)
    for death in sorted(deaths, key=lambda death: death.at):
        begin = death.at + after_s
        while place < len(ordered) and ordered[place].read_at < begin:
            place += 1
        for tick in ordered[place:]:
            if tick.read_at >= begin + width_s:
                break
            if tick.symbol != death.symbol:
                found.append(tick.delay_s)
    return found


def histogram(columns: Sequence[tuple[str, Sequence[float]]]) -> Iterator[str]:
    """Parts of all, by delay, and percentiles, one column for each set."""
    yield "delay".rjust(12) + "".join(name.rjust(22) for name, _ in columns)
    low = 0.0
    for high in (*EDGES_MS, float("inf")):
        label = f"< {high:g} ms" if high != float("inf") else f">= {low:g} ms"
        counts = [sum(low <= 1000 * value < high for value in values) for _, values in columns]
        parts = (
            f"{count} ({100 * count / max(1, len(values)):.2f} %)"
            for count, (_, values) in zip(counts, columns, strict=True)
        )
        yield label.rjust(12) + "".join(part.rjust(22) for part in parts)
        low = high
    yield "ticks".rjust(12) + "".join(str(len(values)).rjust(22) for _, values in columns)
    for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        told = (f"{1000 * percentile(values, part):.2f} ms" for _, values in columns)
        yield name.rjust(12) + "".join(each.rjust(22) for each in told)


# --- the measurement ------------------------------------------------------------------------------


class Turns(trio.abc.Instrument):
    """What each turn of the loop costs in processor time, whoever else uses the machine."""

    def __init__(self) -> None:
        self.turns: list[Handled] = []
        self._began: tuple[float, float] | None = None

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        self._began = trio.current_time(), time.thread_time()

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002
        if self._began is not None:
            at, spent = self._began
            self.turns.append(Handled("", at, time.thread_time() - spent))


class Isolation:
    """Puts a watch around the ticks of a system, and an actor into it that kills."""

    def __init__(self, settle_s: float, quiet_s: float, kills: int, end: Callable[[str], None]) -> None:
        self.ticks: list[Handled] = []
        self.deaths: list[Death] = []
        self.kills_from = 0.0
        self._settle_s, self._quiet_s, self._kills, self._end = settle_s, quiet_s, kills, end
        self.loop = Turns()
        self._read_at = 0.0

    def prepare(self, system: TradingSystem) -> None:
        self._watch_reads(system)
        for symbol in system.symbols:
            self._watch_symbol(system, symbol)

        async def live(_: int, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            await self._kill_in_turn(system)

        system.edges.append(Edge(id="isolation", start=live))

    def _watch_reads(self, system: TradingSystem) -> None:
        broker, take = system.broker, system.broker._take

        def taken(burst: Burst) -> None:
            self._read_at = burst.received_at
            take(burst)

        broker._take = taken  # type: ignore[method-assign]

    def _watch_symbol(self, system: TradingSystem, symbol: Symbol) -> None:
        """An unread tick that a newer one replaces counts from when it was read itself."""
        mailbox, unread = system.mailboxes[symbol], dict[TickKind, float]()
        put, serve = mailbox.put_tick, mailbox.serve

        def put_tick(tick: Tick) -> None:
            unread.setdefault(tick.kind, self._read_at)
            put(tick)

        async def serve_timed(handle: Callable[[SymbolMessage], None]) -> None:
            def timed(message: SymbolMessage) -> None:
                handle(message)
                if type(message) is Tick:
                    read_at = unread.pop(message.kind)
                    self.ticks.append(Handled(symbol, read_at, trio.current_time() - read_at))

            await serve(timed)

        mailbox.put_tick, mailbox.serve = put_tick, serve_timed  # type: ignore[method-assign]

    async def _kill_in_turn(self, system: TradingSystem) -> None:
        await trio.sleep(self._settle_s)
        while not all(actor.ready for actor in system.symbols.values()):
            await trio.sleep(GLANCE_S)
        trio.lowlevel.add_instrument(self.loop)
        await trio.sleep(self._quiet_s)
        self.kills_from = trio.current_time()
        for number, symbol in zip(range(1, self._kills + 1), cycle(system.symbols), strict=False):
            await self._kill(system, symbol)
            await trio.sleep_until(self.kills_from + number * KILL_EVERY_S)
        trio.lowlevel.remove_instrument(self.loop)
        self._end("the measurement is over")

    async def _kill(self, system: TradingSystem, symbol: Symbol) -> None:
        actor, at = system.symbols[symbol], trio.current_time()
        assert system.restart_actor(f"symbol:{symbol}", "killed in turn")
        while actor.ready:
            await trio.lowlevel.checkpoint()
        while not actor.ready:
            await trio.sleep(GLANCE_S)
        self.deaths.append(Death(symbol, at, trio.current_time() - at))


@attrs.frozen
class Measured:
    """What one run gave. `faults` is empty when every bound held."""

    quiet: Sequence[float]
    control: Sequence[float]
    after_kill: Sequence[float]
    ready_s: Sequence[float]
    seconds: float
    ticks: int
    faults: tuple[str, ...]
    turns: tuple[Sequence[float], Sequence[float]]
    """Processor time of the loop's turns in the control windows, and in those after a kill."""

    @property
    def added_ms(self) -> float:
        """What the kills add to the p99.9 of the others; below 0 where the machine was worse without."""
        return 1000 * (percentile(self.after_kill, 0.999) - percentile(self.control, 0.999))


def measure(
    seconds: float,
    symbols: int,
    *,
    history: int = 0,
    speed: float = SPEED,
    embedded: bool = False,
    settle_s: float = SETTLE_S,
) -> Measured:
    """A quarter of the time without kills, then one each second. `history`: rows of each symbol's journal."""
    names = tuple(map(Symbol, NAMES[:symbols]))
    with TemporaryDirectory() as name:
        folder = Path(name)
        options = RunOptions(
            symbols=names, speed=speed, state=folder / "state", report=folder / "report.json"
        )
        if history:
            write_history(folder / "state", names, history)
        if embedded:
            return measure_run(options, seconds, settle_s)
        write_signals(folder / "signals.jsonl", names, seconds * speed)
        with started(SIMULATOR, folder, "--port", "0", "--speed", str(speed)) as simulator:
            port = simulator.until_said(r"^listening on 127\.0\.0\.1:(\d+)$")
            return measure_run(
                attrs.evolve(
                    options, broker="tws", tws=f"127.0.0.1:{port}", signals=folder / "signals.jsonl"
                ),
                seconds,
                settle_s,
            )


def measure_run(options: RunOptions, seconds: float, settle_s: float) -> Measured:
    quiet_s = seconds / 4
    run = Run(resolve(options), prepare_system=lambda system: isolation.prepare(system))  # noqa: PLW0108
    isolation = Isolation(settle_s, quiet_s, int((seconds - quiet_s) / KILL_EVERY_S), run.ending.ask)
    code = trio.run(run.run)
    assert options.report is not None
    told = json.loads(options.report.read_text())
    kills_from = isolation.kills_from
    quiet = [tick.delay_s for tick in isolation.ticks if kills_from - quiet_s <= tick.read_at < kills_from]
    faults = [f"exit {code}: {'; '.join(run.complaints)}"] if code else []
    for name in options.symbols:
        died = sum(death.symbol == name for death in isolation.deaths)
        one = told["symbols"][name]
        if one["restarts"] != died:
            faults.append(f"{name} was killed {died} times and restarted {one['restarts']} times")
        if one["mailbox"]["dropped"]:
            faults.append(f"{name} lost {one['mailbox']['dropped']} messages")
    if told["broker"]["executions"] != told["totals"]["executions"]:
        faults.append(f"{told['broker']['executions']} executions, {told['totals']['executions']} known")
    return Measured(
        quiet,
        windows(isolation.ticks, isolation.deaths, after_s=CONTROL_AFTER_S),
        windows(isolation.ticks, isolation.deaths, after_s=0.0),
        [death.ready_s for death in isolation.deaths],
        seconds,
        len(isolation.ticks),
        tuple(faults),
        (
            windows(isolation.loop.turns, isolation.deaths, after_s=CONTROL_AFTER_S),
            windows(isolation.loop.turns, isolation.deaths, after_s=0.0),
        ),
    )


def write_signals(path: Path, names: Sequence[Symbol], seconds: float) -> None:
    """A prediction for every symbol each minute of the market, in turns for it and against it."""
    begins = SyntheticMarket(1).start
    with path.open("w", encoding="utf-8") as file:
        for second in range(20, int(seconds) + 60, 60):
            stamp = int((begins + timedelta(seconds=second)).timestamp() * 1000)
            word = "BUY" if second // 60 % 2 == 0 else "SELL"
            for name in names:
                body = {"id": f"{name}-{stamp}", "ticker": name, "signal": word, "confidence": 0.9,
                        "timestamp": stamp}  # fmt: skip
                file.write(json.dumps(body) + "\n")


def write_history(state: Path, names: Sequence[Symbol], rows: int) -> None:
    """A journal that a symbol has to read before it is ready."""
    journal, at = Journal.open(state), SyntheticMarket(1).start
    for name in names:
        journal.append(
            stream_of(name),
            [
                SignalVerdictEvent(
                    at=at, signal_id=f"{name}-{number}", symbol=name, verdict=Verdict.IGNORED, code="no_rule",
                    reason="a row of the past",
                )
                for number in range(rows)
            ],
        )  # fmt: skip
    journal.close()


def tell(measured: Measured) -> Iterator[str]:
    yield from histogram(
        (
            ("without kills", measured.quiet),
            ("0.5 s after a kill", measured.control),
            ("within 50 ms of one", measured.after_kill),
        )
    )
    ready = [1000 * each for each in measured.ready_s]
    yield (
        f"{len(ready)} kills, {measured.ticks / measured.seconds:.0f} ticks/s; a kill adds "
        f"{measured.added_ms:+.2f} ms to the others' p99.9; ready again after "
        f"{percentile(ready, 0.5):.0f} ms (p50), {percentile(ready, 1.0):.0f} ms (max)"
    )
    for name, turns in zip(("0.5 s after a kill", "within 50 ms of one"), measured.turns, strict=True):
        told = ", ".join(
            f"{1000 * percentile(turns, part):.2f} ms {label}"
            for label, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
        )
        yield f"processor time of one turn of the loop, {name}: {told} ({len(turns)} turns)"
    yield from measured.faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.isolation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--history", type=int, default=0, help="rows in each symbol's journal at the start")
    parser.add_argument("--speed", type=float, default=SPEED)
    parser.add_argument("--embedded", action="store_true", help="the simulated TWS in the same process")
    asked = parser.parse_args()
    prepare_interpreter()
    measured = measure(
        asked.seconds, asked.symbols, history=asked.history, speed=asked.speed, embedded=asked.embedded
    )
    print(*tell(measured), sep="\n")
    broken = measured.added_ms > BOUND_MS or max(measured.ready_s) > READY_S
    return 1 if broken or measured.faults else 0


if __name__ == "__main__":
    sys.exit(main())
