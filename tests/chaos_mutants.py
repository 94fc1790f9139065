"""Mutants of the whole system: each patch of `tests/mutants/chaos` makes one mistake; fault runs notice it.

`python -m tests.chaos_mutants [--only WORD] [--seeds 500] [--jobs 2]` puts each patch into a copy of the
source and plays episodes there, seed after seed from 1 on, until one breaks a law that it does not break
without the patch, breaks off, or does not come to its end. It says how many seeds that took and which law
it was, and ends with 1 when fewer than 95 of 100 are noticed. `--results FILE` keeps what was found, so
that a later hunt leaves out what is known; `--table` prints the table of it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol, TypeAlias

import attrs
import cattrs
import orjson
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from tests.patches import ROOT, applied, copy_tree, hunks, patches_in

PATCHES: Final = Path(__file__).resolve().parent / "mutants" / "chaos"
MINUTES: Final = 30.0
SLOWEST_S: Final = 60.0
"""An episode that takes so much work hangs; most take some seconds."""
PATIENCE_S: Final = 600.0
"""One that takes so long without so much work hangs, too: it waits for what does not come."""
ENOUGH: Final = 0.95
"""Of the mutants are to be noticed."""
HANGS, BROKE_OFF = "hangs", "broke off"


@attrs.frozen
class Outcome:
    """What an episode showed: for each law that it broke, the first word about it."""

    broken: Mapping[str, str]


@attrs.frozen
class Find:
    """What became of one mutant. `law` is empty when nothing noticed it in so many seeds."""

    patch_hash: str
    seeds: int
    law: str
    what: str
    took_s: float


Finds: TypeAlias = dict[str, Find]


class Player(Protocol):
    """Who plays an episode."""

    def play(self, seed: int) -> Outcome: ...


# --- one copy of the source, and the process that plays in it ---------------------------------------


def play() -> None:
    """The program in the copy: a seed a line on stdin, what it broke as a line of JSON on stdout."""
    from actors.chaos import Job, be_quiet, run_episode

    be_quiet()
    for line in sys.stdin:
        result = run_episode(Job(int(line), MINUTES))
        broken: dict[str, str] = {}
        for each in result.verdict.violations:
            broken.setdefault(each.invariant, each.what)
        sys.stdout.buffer.write(orjson.dumps(broken) + b"\n")
        sys.stdout.buffer.flush()


class Stage:
    """A copy of the source with a process in it that plays one seed after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, seed: int) -> Outcome:
        process = self._process or self._begin()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{seed}\n".encode())
        process.stdin.flush()
        if not self._answers(process.stdout, process.pid):
            self.close()
            return Outcome({HANGS: f"no end after {SLOWEST_S:g} s"})
        line = process.stdout.readline()
        if not line:
            self.close()
            return Outcome({BROKE_OFF: f"the process ended with {process.returncode}"})
        return Outcome(orjson.loads(line))

    def _answers(self, out: IO[bytes], pid: int) -> bool:
        """Whether the episode comes to its end. What counts is the work: others may use the processors."""
        began_s, until = _cpu_s(pid), time.monotonic() + PATIENCE_S
        while time.monotonic() < until and _cpu_s(pid) - began_s < SLOWEST_S:
            if select.select([out], [], [], 1.0)[0]:
                return True
        return False

    def _begin(self) -> subprocess.Popen[bytes]:
        program = "from tests.chaos_mutants import play; play()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], cwd=self.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(self.root)},
        )  # fmt: skip
        return self._process

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def _cpu_s(pid: int) -> float:
    """What a process has worked so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def stage(source: Path, patch: Path | None) -> Iterator[Stage]:
    """A stage with a copy of `source`, and a patch in it or, with None, none."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_tree(root, source)
        here = Stage(root)
        try:
            if patch is None:
                yield here
            else:
                with applied(patch, root):
                    yield here
        finally:
            here.close()


class Sound:
    """What episodes show without any patch: each seed is played once, when it is first asked for."""

    def __init__(self, stage: Player) -> None:
        self._stage, self._lock = stage, threading.Lock()
        self._known: dict[int, Outcome] = {}

    def outcome(self, seed: int) -> Outcome:
        with self._lock:
            if seed not in self._known:
                self._known[seed] = self._stage.play(seed)
            return self._known[seed]


# --- the hunt ---------------------------------------------------------------------------------------


def hunt(
    stage: Player, sound: Sound, patch_hash: str, seeds: int, tell: Callable[[int], object] = id
) -> Find:
    """Play until a law is broken that holds without the patch; `tell` hears of each seed."""
    began = time.monotonic()
    for seed in range(1, seeds + 1):
        tell(seed)
        broken = stage.play(seed).broken
        new = dict(broken)
        if broken:
            new = {law: what for law, what in broken.items() if law not in sound.outcome(seed).broken}
        for law, what in new.items():
            return Find(patch_hash, seed, law, what, time.monotonic() - began)
    return Find(patch_hash, seeds, "", "", time.monotonic() - began)


def hash_of(patch: Path) -> str:
    """Equal for equal mistakes, wherever in their files they are."""
    told = "\0".join(
        f"{hunk.path}\0{hunk.old}\0{hunk.new}" for hunk in hunks(patch.read_text(encoding="utf-8"))
    )
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def read_results(path: Path | None) -> Finds:
    if path is None or not path.exists():
        return {}
    return cattrs.structure(orjson.loads(path.read_bytes()), Finds)


def known(patch: Path, results: Finds) -> bool:
    """Whether it was noticed before, as it is now."""
    find = results.get(patch.stem)
    return find is not None and bool(find.law) and find.patch_hash == hash_of(patch)


def hunt_all(
    wanted: Sequence[Path], seeds: int, jobs: int, console: Console, keep: Callable[[str, Find], object]
) -> None:
    """So many mutants at a time, the seeds of each one after the other, so that a count says something."""
    lock = threading.Lock()
    columns = (TextColumn("{task.description}"), TextColumn("seed {task.completed}"), TimeElapsedColumn())
    with (
        # One copy for all: somebody may be at work on the source meanwhile.
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=console) as progress,
        stage(ROOT, None) as plain,
    ):
        source = Path(folder)
        copy_tree(source, plain.root)
        sound = Sound(plain)

        def hunt_one(patch: Path) -> None:
            task = progress.add_task(patch.stem, total=seeds)
            with stage(source, patch) as here:
                found = hunt(here, sound, hash_of(patch), seeds,
                             lambda seed: progress.update(task, completed=seed))  # fmt: skip
            with lock:
                keep(patch.stem, found)
                progress.remove_task(task)
                console.print(told(patch.stem, found), markup=False, highlight=False, soft_wrap=True)

        with ThreadPoolExecutor(jobs) as pool:
            for done in [pool.submit(hunt_one, patch) for patch in wanted]:
                done.result()


def told(name: str, find: Find) -> str:
    if not find.law:
        return f"{name}: nothing noticed it in {find.seeds} seeds ({find.took_s:.0f} s)"
    return f"{name}: seed {find.seeds}, {find.law}, {find.took_s:.0f} s: {find.what}"


def row(name: str, find: Find) -> str:
    """One line of the table of results."""
    seeds = str(find.seeds) if find.law else f"over {find.seeds}"
    return f"| {name} | {seeds} | {find.law or 'nothing'} | {find.took_s:.0f} |"


def table(results: Finds) -> str:
    rows = (row(patch.stem, results[patch.stem]) for patch in patches_in(PATCHES) if patch.stem in results)
    return "\n".join(("| mutant | seeds | noticed by | s |", "|---|---|---|---|", *rows))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos_mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name contains this word")
    parser.add_argument("--seeds", type=int, default=500, help="the most that one mutant may need")
    parser.add_argument("--jobs", type=int, default=2, help="mutants that are hunted at a time")
    parser.add_argument("--results", type=Path, help="JSON of what was found: read first, and written")
    parser.add_argument("--table", action="store_true", help="print the table for tests/README.md")
    asked = parser.parse_args(arguments)
    results = read_results(asked.results)
    chosen = [patch for patch in patches_in(PATCHES) if asked.only in patch.stem]

    def keep(name: str, find: Find) -> None:
        results[name] = find
        if asked.results is not None:
            asked.results.write_bytes(orjson.dumps(cattrs.unstructure(results), option=orjson.OPT_INDENT_2))

    wanted = [patch for patch in chosen if not known(patch, results)]
    hunt_all(wanted, asked.seeds, asked.jobs, Console(stderr=True), keep)
    noticed = sum(known(patch, results) for patch in chosen)
    if asked.table:
        print(table(results))
    print(f"{noticed} of {len(chosen)} mutants were noticed")
    return 0 if noticed >= ENOUGH * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
