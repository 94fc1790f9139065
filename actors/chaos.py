"""Fault runs over many seeds: each an episode, in as many processes as are asked for, judged and told."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter
from typing import Final

import attrs
import orjson
import outcome
import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from actors.chaos_episode import brief, play
from protocol.chaos.plan import draw_plan
from protocol.chaos.tally import EpisodeResult, Tally
from protocol.chaos.timeline import Entry
from protocol.chaos.verdict import Judge

OK_EXIT, VIOLATION_EXIT = 0, 1
SHOWN: Final = 5
"""Violations of one episode that are printed; all of them are in the JSON."""


@attrs.frozen
class Job:
    """One episode to be played. `calm`: nothing is done to it."""

    seed: int
    minutes: float
    calm: bool = False


def run_episode(job: Job, trace: Callable[[str], object] | None = None) -> EpisodeResult:
    """Play and judge one episode; `trace` is handed each entry of its timeline as a line.

    An episode that breaks off, because the trading system raised what nothing may raise, is a violation.
    """
    plan = draw_plan(job.seed, job.minutes, faults=not job.calm)
    judge = Judge(plan)

    def take(entry: Entry) -> None:
        if trace is not None:
            trace(brief(entry))
        judge.see(entry)

    began = perf_counter()
    played = outcome.capture(play, plan, take)
    wall_s = perf_counter() - began
    match played:
        case outcome.Value(value=done):
            return EpisodeResult(
                seed=job.seed, verdict=judge.verdict(), trace_hash=done.trace_hash, entries=done.entries,
                wall_s=wall_s,
            )  # fmt: skip
        case outcome.Error(error=error):
            if not isinstance(error, Exception):
                raise error
            judge.broke_off(_told(error))
            return EpisodeResult(
                seed=job.seed,
                verdict=judge.verdict(),
                trace_hash="",
                entries=0,
                wall_s=wall_s,
                failed=_told(error),
            )
    raise AssertionError("an outcome is a value or an error")


def _told(error: BaseException) -> str:
    """The first single exception in it, in words."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


def be_quiet() -> None:
    """What actors log of their deaths is in the timeline; on a terminal it would be noise."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@contextmanager
def quietly() -> Iterator[None]:
    """Quiet for the episodes only: whoever called has a log of his own."""
    before, disabled = structlog.get_config(), logging.root.manager.disable
    be_quiet()
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.disable(disabled)


def results_of(jobs: Sequence[Job], processes: int) -> Iterator[EpisodeResult]:
    """The results as they come."""
    if processes <= 1 or len(jobs) <= 1:
        with quietly():
            yield from map(run_episode, jobs)
        return
    # Fresh interpreters: nothing of this one, such as a running loop or a console, is in theirs.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(jobs)), initializer=be_quiet) as pool:
        yield from pool.imap_unordered(run_episode, jobs)


def run_seeds(jobs: Sequence[Job], *, processes: int, report: Path | None, console: Console) -> int:
    """Play them all, show how it goes, say what was found; the exit code."""
    tally, began = Tally(), perf_counter()
    interrupted: KeyboardInterrupt | None = None
    with _progress(console) as progress:
        task = progress.add_task("episodes", total=len(jobs), broken=0)
        try:
            for result in results_of(jobs, processes):
                tally.add(result)
                _say_violations(console, result)
                progress.update(task, advance=1, broken=len(tally.violations))
        except KeyboardInterrupt as error:
            # What has been played counts all the same.
            interrupted = error
    told = tally.to_dict(perf_counter() - began)
    if report is not None:
        report.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    _say(console, tally, told)
    if interrupted is not None:
        raise interrupted
    return VIOLATION_EXIT if tally.violations or tally.never_fired else OK_EXIT


def run_one(job: Job, *, trace: bool, report: Path | None, console: Console, quiet: bool = True) -> int:
    """One seed, with its whole timeline on stdout where that is asked for."""
    began = perf_counter()
    tally = Tally()
    with quietly() if quiet else nullcontext():
        result = run_episode(job, sys.stdout.write if trace else None)
    tally.add(result)
    _say_violations(console, result)
    told = tally.to_dict(perf_counter() - began)
    if report is not None:
        report.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    _say(console, tally, told)
    return VIOLATION_EXIT if tally.violations else OK_EXIT


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[broken]} violations"),
        TimeElapsedColumn(), TimeRemainingColumn(), console=console,
    )  # fmt: skip


def _say_violations(console: Console, result: EpisodeResult) -> None:
    """At once, and above the bar where there is one."""
    for each in result.verdict.violations[:SHOWN]:
        told = f"seed {result.seed}: {each.invariant} at {each.at:%H:%M:%S.%f}: {each.what}"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    more = len(result.verdict.violations) - SHOWN
    if more > 0:
        console.print(f"seed {result.seed}: and {more} more", highlight=False, soft_wrap=True)


def _say(console: Console, tally: Tally, told: dict[str, object]) -> None:
    for seed in dict.fromkeys(seed for seed, _ in tally.violations):
        console.print(f"again: scripts/chaos.py --seed {seed} --trace", highlight=False, soft_wrap=True)
    for kind in tally.never_fired:
        console.print(f"never fired: {kind}", highlight=False, soft_wrap=True)
    figures = (
        "seeds", "seeds_per_min", "events_per_s", "trades", "median_trades", "median_faults", "kills",
        "crashes", "restarts", "worst_uncovered_s", "worst_ready_s", "worst_convergence_s",
    )  # fmt: skip
    console.print(
        ", ".join(f"{name.replace('_', ' ')} {told[name]}" for name in figures),
        highlight=False,
        soft_wrap=True,
    )
    for result in tally.results[:1] if len(tally.results) == 1 else ():
        console.print(
            f"trace hash {result.trace_hash or 'none: it broke off'}", highlight=False, soft_wrap=True
        )
    console.print(f"{len(tally.violations)} violations", highlight=False, soft_wrap=True)
