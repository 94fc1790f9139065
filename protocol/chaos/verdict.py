"""All checkers over one episode, and what they have to say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs

from protocol.chaos import (
    checks_books,
    checks_broker,
    checks_life,
    checks_orders,
    checks_protection,
    checks_supervision,
)
from protocol.chaos.checker import Checker
from protocol.chaos.checks_life import ComesRight, Mended, NoCrash
from protocol.chaos.checks_protection import Covered
from protocol.chaos.plan import EpisodePlan
from protocol.chaos.scene import Scene
from protocol.chaos.timeline import Blow, Entry, Journalled, ProcessBegan, Struck
from protocol.events import ActorExitedEvent, PositionCloseEvent
from protocol.journal_checks import Violation

C = TypeVar("C", bound=Checker)

CHECKERS = (
    *checks_protection.CHECKERS, *checks_orders.CHECKERS, *checks_books.CHECKERS, *checks_life.CHECKERS,
    *checks_supervision.CHECKERS, *checks_broker.CHECKERS,
)  # fmt: skip


@attrs.frozen(kw_only=True)
class EpisodeVerdict:
    """`invariants` says how often each was put to the test; `faults` how often each kind was done, and
    `faults_open` how often while a position was open."""

    violations: tuple[Violation, ...]
    invariants: dict[str, int]
    faults: dict[str, int]
    faults_open: dict[str, int]
    worst_uncovered_s: float
    slowest_ready_s: float
    converged_s: float | None
    kills: int
    crashes: int
    restarts: int
    trades: int
    journal_rows: int


def _overrides(checker: Checker, method: Callable[..., None]) -> bool:
    return getattr(type(checker), method.__name__) is not method


class Judge:
    """Sees every entry of one episode."""

    def __init__(self, plan: EpisodePlan) -> None:
        self.scene = Scene(plan)
        self.checkers: tuple[Checker, ...] = tuple(kind(self.scene) for kind in CHECKERS)
        # Thousands of entries, and most checkers look at one of the two only.
        self._passing = [each.pass_time for each in self.checkers if _overrides(each, Checker.pass_time)]
        self._seeing = [each.see for each in self.checkers if _overrides(each, Checker.see)]
        self._kills = self._crashes = self._restarts = self._trades = self._rows = 0

    def see(self, entry: Entry) -> None:
        if entry.loop_s > self.scene.loop_s:
            self.scene.pass_time(entry.loop_s)
            for pass_time in self._passing:
                pass_time()
        self.scene.take(entry)
        for see in self._seeing:
            see(entry)
        match entry:
            case Journalled(event=event):
                self._rows += 1
                self._trades += isinstance(event, PositionCloseEvent)
                self._restarts += isinstance(event, ActorExitedEvent) and event.decision == "restart"
            case Struck(blow=Blow.ACTOR):
                self._kills += 1
            case ProcessBegan(process=process) if process > 1:
                self._crashes += 1
            case _:
                pass

    def broke_off(self, why: str) -> None:
        """The episode ended by an exception that nobody had to raise."""
        self._of(NoCrash).violate(f"the episode broke off: {why}")

    def _of(self, kind: type[C]) -> C:
        return next(checker for checker in self.checkers if isinstance(checker, kind))

    def verdict(self) -> EpisodeVerdict:
        """After the last entry."""
        for checker in self.checkers:
            checker.finish()
        counts: dict[str, int] = {}
        for checker in self.checkers:
            counts[checker.invariant] = counts.get(checker.invariant, 0) + checker.checked
        found = sorted(
            (each for checker in self.checkers for each in checker.violations), key=lambda each: each.at
        )
        return EpisodeVerdict(
            violations=tuple(found),
            invariants=dict(sorted(counts.items())),
            faults=dict(sorted(self.scene.fired.items())),
            faults_open=dict(sorted(self.scene.fired_open.items())),
            worst_uncovered_s=self._of(Covered).worst_s,
            slowest_ready_s=self._of(Mended).slowest_s,
            converged_s=self._of(ComesRight).took_s,
            kills=self._kills,
            crashes=self._crashes,
            restarts=self._restarts,
            trades=self._trades,
            journal_rows=self._rows,
        )
