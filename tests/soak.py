"""An hour on real processes and real sockets with faults all the time: what grows, and do the books agree.

`python -m tests.soak --minutes 60 --seed 1 --folder F` starts the simulated TWS, a proxy before it, and the
supervisor behind that. Every 10 to 30 s something is done to the line, to what TWS says or does, or to an
actor. In the last third the supervisor is killed (-9) every few minutes as well; before that one incarnation
lives on, so that its growth can be seen. An operator of sorts lifts every hold and lock once a minute.

Every 10 s both processes and all files are weighed. Exit 0 when the truth file and the journal agree, no
reference was used twice, no position was bare for too long, memory, descriptors and threads did not grow,
and nothing ended that was not killed. The figures are printed, and are in `soak.json`.
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
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs
import cattrs
import orjson
from rich.console import Console

from actors.control_client import NobodyAnswers, running_on
from protocol.control_answers import StatusTold
from protocol.control_messages import BadAnswer
from protocol.control_requests import (
    AskStatus,
    LiftLock,
    LowerKillLevel,
    ReleaseSymbol,
    Request,
    RestartActor,
    Resume,
)
from tests.kill_loop import CONFIG
from tests.programs import SIMULATOR, SUPERVISOR, launch, said_port, write_turning_signals
from tests.proxy import proxied
from tests.soak_faults import AtProxy, AtTws, Deed, KillActor, command, draw_deed, lasts_s, name_of
from tests.soak_report import Outcome, conclude, tell
from tests.soak_samples import FileSample, Sample, sample_files, sample_process
from tests.truth_checks import Tail

SYMBOLS: Final = ("SPY", "QQQ", "AAPL", "TSLA", "NVDA", "AMD")
SPEED: Final = 10
DAYS: Final = 6
SAMPLE_EVERY_S: Final = 10.0
DEED_EVERY_S: Final = (10.0, 30.0)
KILL_EVERY_S: Final = (120.0, 240.0)
ROUND_EVERY_S: Final = 60.0
"""How often the operator looks."""
LAST_LIFE_S: Final = 45.0
"""At the end all is healed, and everything has so long to come right."""
STEADY_PART: Final = 2 / 3
GLANCE_S: Final = 0.05
WHY: Final = "the soak's operator"

LOG_SECTION: Final = """
[log]
level = "debug"
file = "{file}"
max_bytes = 1000000
keep = 3
"""


class Soak:
    """One run: two programs, a proxy between them, and whatever is done to them."""

    def __init__(self, folder: Path, minutes: float, seed: int) -> None:
        self.folder, self.length_s, self.seed = folder, minutes * 60.0, seed
        self.state, self.logs = folder / "state", folder / "logs"
        self.tail = Tail(folder / "truth.jsonl")
        self.outcome = Outcome()
        self._rng = random.Random(seed)
        self._begun = time.monotonic()
        self._life = 0
        self._control = 0

    def run(self) -> Outcome:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)
        config = self.folder / "soak.toml"
        config.write_text(CONFIG + LOG_SECTION.format(file=self.logs / "supervisor.log"), encoding="utf-8")
        write_turning_signals(self.folder / "signals.jsonl", SYMBOLS, self.seed, DAYS)
        log = self.folder / "simulator.log"
        self._tws = launch(
            SIMULATOR, log, "--port", "0", "--control", "0", "--seed", str(self.seed), "--speed", str(SPEED),
            "--truth", self.tail.path,
        )  # fmt: skip
        try:
            port, self._control = said_port(log), said_port(log, "control")
            with proxied(port, seed=self.seed) as proxy:
                self._proxy = proxy
                self._supervisor = self._start()
                try:
                    self._live()
                finally:
                    self._end()
        finally:
            self._tws.send_signal(signal.SIGTERM)
            self._tws.wait(30)
        self.tail.read()
        self.outcome.minutes = (time.monotonic() - self._begun) / 60
        return self.outcome

    def _start(self) -> subprocess.Popen[bytes]:
        self._life += 1
        return launch(
            SUPERVISOR, self.folder / "supervisor.out",
            "--config", self.folder / "soak.toml", "--broker", "tws",
            "--tws", f"127.0.0.1:{self._proxy.port}", "--symbols", ",".join(SYMBOLS),
            "--signals", self.folder / "signals.jsonl", "--speed", str(SPEED), "--state", self.state,
            "--log-format", "json", "--connect-timeout", "120",
        )  # fmt: skip

    # --- the hour ---------------------------------------------------------------------------------

    def _live(self) -> None:
        """Whatever is due, one after the other, until the time is over."""
        kills_from_s = self.length_s * STEADY_PART
        agenda = {
            self._sample: 0.0,
            self._do_something: self._rng.uniform(*DEED_EVERY_S),
            self._look_after_it: ROUND_EVERY_S,
            self._kill: kills_from_s + self._rng.uniform(0.0, KILL_EVERY_S[0]),
        }
        while (now_s := self._now_s()) < self.length_s - LAST_LIFE_S:
            if self._supervisor.poll() is not None:
                self.outcome.ended_by_itself.append(self._supervisor.returncode)
                self._supervisor = self._start()
            if self._tws.poll() is not None:
                raise RuntimeError(f"the simulator ended by itself with {self._tws.returncode}")
            for task, due_s in agenda.items():
                if now_s >= due_s:
                    agenda[task] = now_s + task()
            self.tail.read()
            time.sleep(GLANCE_S)
        self._proxy.heal()
        healed_s = self._now_s()
        while self._now_s() < healed_s + LAST_LIFE_S:
            self._sample()
            time.sleep(SAMPLE_EVERY_S)
            self._look_after_it()

    def _now_s(self) -> float:
        return time.monotonic() - self._begun

    def _sample(self) -> float:
        at_s = self._now_s()
        for pid, life, samples in (
            (self._supervisor.pid, self._life, self.outcome.supervisor),
            (self._tws.pid, 1, self.outcome.simulator),
        ):
            sample = sample_process(pid, at_s, life)
            if sample is not None:
                samples.append(sample)
        self.outcome.files.append(sample_files(self.state, self.logs, self.folder / "supervisor.out", at_s))
        self._note_progress()
        return SAMPLE_EVERY_S

    def _note_progress(self) -> None:
        """One line, so that somebody who looks in knows how far it is."""
        last: Sequence[Sample] = self.outcome.supervisor[-1:]
        files: Sequence[FileSample] = self.outcome.files[-1:]
        for sample, file in zip(last, files, strict=False):
            print(
                f"{sample.at_s:7.0f} s  life {sample.life}  {sample.rss_kib / 1024:7.1f} MiB  "
                f"{sample.threads} threads  {sample.fds} fds  {sample.cpu_s:6.1f} s CPU  {file.rows} rows",
                flush=True,
            )

    def _do_something(self) -> float:
        deed = draw_deed(self._rng, SYMBOLS)
        begun = time.monotonic()
        self._do(deed)
        lasts = lasts_s(deed)
        if lasts:
            self.outcome.apart.append((begun, time.monotonic() + lasts))
        return self._rng.uniform(*DEED_EVERY_S)

    def _do(self, deed: Deed) -> None:
        match deed:
            case AtProxy(step):
                self._proxy.make(step.trouble, step.way, step.for_s)
            case AtTws(fault):
                answer = command(self._control, do="inject", fault=fault)
                if not answer["ok"]:
                    raise RuntimeError(f"{fault}: {answer['problems']}")
            case KillActor(symbol):
                self._ask(RestartActor(actor=symbol, why=WHY))
        self.outcome.deeds[name_of(deed)] += 1

    def _kill(self) -> float:
        self._supervisor.send_signal(signal.SIGKILL)
        self._supervisor.wait()
        self.outcome.kills += 1
        self._supervisor = self._start()
        return self._rng.uniform(*KILL_EVERY_S)

    def _end(self) -> None:
        """The clean stop, as the last thing that the supervisor is asked for."""
        if self._supervisor.poll() is None:
            begun = time.monotonic()
            self._supervisor.send_signal(signal.SIGTERM)
            self.outcome.exit_code = self._supervisor.wait(60)
            self.outcome.stop_s = time.monotonic() - begun

    # --- the operator -----------------------------------------------------------------------------

    def _ask(self, request: Request) -> object:
        """The answer, or None while nobody is there to answer."""
        address = running_on(self.state)
        if address is None:
            return None
        with suppress(NobodyAnswers, BadAnswer):
            return address.ask(request)
        return None

    def _look_after_it(self) -> float:
        """Lift what only a person may lift; each lift is counted."""
        status = self._ask(AskStatus())
        if isinstance(status, StatusTold):
            for request in wanted(status):
                self._ask(request)
                self.outcome.operator[type(request).__name__] += 1
            self.outcome.held += Counter(line.held for line in status.symbols if line.held)
        return ROUND_EVERY_S


def wanted(status: StatusTold) -> Iterator[Request]:
    """What an operator does who wants to see it trade."""
    if status.kill.level:
        yield LowerKillLevel(why=WHY)
    for actor in status.tree:
        if actor.id.startswith("symbol:") and actor.state == "quarantined":
            yield ReleaseSymbol(symbol=actor.id.removeprefix("symbol:"), why=WHY)
    for lock in status.locks:
        if lock.until is None:
            yield LiftLock(lock=lock.lock, why=WHY)
    for line in status.symbols:
        if line.held.startswith("hold"):
            yield Resume(symbol=line.symbol, why=WHY)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--again", action="store_true", help="Only judge what an earlier run left there.")
    asked = parser.parse_args(arguments)
    # So that both programs are ended here, too, and do not live on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    soak = Soak(asked.folder, asked.minutes, asked.seed)
    kept = asked.folder / "outcome.json"
    if not asked.again:
        kept.write_bytes(orjson.dumps(attrs.asdict(soak.run())))
    outcome = cattrs.structure(orjson.loads(kept.read_bytes()), Outcome)
    soak.tail.read()
    found = conclude(outcome, soak.tail.lines, soak.state)
    tell(Console(), found, asked.folder / "soak.json")
    return 1 if found.faults else 0


if __name__ == "__main__":
    sys.exit(main())
