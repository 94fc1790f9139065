"""Fault runs over many seeds: episodes in processes of their own, their verdicts added up, told and judged.

What is printed and written keeps the form of the script's description; an exit code of 1 says that a law
was broken, or that a run that was long enough never saw one of the kinds of faults.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import attrs
import orjson
import structlog
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from actors.chaos_episode import Played, brief, play
from protocol.chaos.plan import CrashPoint, DiskFault, draw_plan
from protocol.chaos.signals import SignalKind
from protocol.chaos.timeline import Entry
from protocol.chaos.verdict import EpisodeVerdict, Judge
from protocol.exchange.faults import KINDS
from protocol.journal_checks import Violation

ENOUGH_SEEDS: Final = 200
"""From so many on, every kind of fault must have been seen."""
ALL_KINDS: Final = (
    *sorted(KINDS), *(point.value for point in CrashPoint), *(fault.value for fault in DiskFault),
    *(kind.value for kind in SignalKind if kind is not SignalKind.GENUINE),
    "kill_symbol", "kill_broker", "kill_supervisor", "machine_paused",
)  # fmt: skip
SHOWN: Final = 40
"""Violations that are printed; all of them are in the JSON."""


@attrs.frozen
class EpisodeResult:
    seed: int
    verdict: EpisodeVerdict
    played: Played


def run_episode(seed: int, minutes: float, *, faults: bool = True, trace: Callable[[str], object] | None = None) -> EpisodeResult:
    """One episode, judged. `trace` is handed each entry of the timeline as a line."""
    plan = draw_plan(seed, minutes, faults=faults)
    judge = Judge(plan)

    def take(entry: Entry) -> None:
        if trace is not None:
            trace(brief(entry))
        judge.see(entry)

    return EpisodeResult(seed, judge.verdict(), play(plan, take)) if False else _judged(plan.seed, judge, play(plan, take))


def _judged(seed: int, judge: Judge, played: Played) -> EpisodeResult:
    return EpisodeResult(seed, judge.verdict(), played)
