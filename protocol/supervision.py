"""Who is restarted when an actor dies: OTP's semantics as tables, with the house's deviations.

`decide` is a pure function of the plan, of what happened before (`History`) and of one exit. It never
waits: the supervisor in `actors/` stops, delays and starts what the decision names. The deviations
from OTP are three. A restart waits (`Backoff`), since OTP's immediate retries burn the intensity of a
child that cannot start in microseconds. Intensity is kept for each child and for the whole supervisor,
so that ten symbols that crash once each do not bring the tree down. And an exhausted child can be
quarantined, alone.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import attrs

from protocol.supervision_plan import ChildPlan, OnExhausted, RestartPolicy, Strategy, SupervisorPlan


class ExitKind(enum.Enum):
    NORMAL = "normal"
    """It returned by itself."""
    SHUTDOWN = "shutdown"
    """It ended because its supervisor asked for it."""
    CRASH = "crash"
    KILLED = "killed"
    """On purpose: an operator or an injected fault. Restarted at once, and not counted."""
    INIT_TIMEOUT = "init_timeout"
    STUCK = "stuck"
    """It ignored its cancellation; the process has to end."""
    FATAL = "fatal"
    """It raised what no restart can heal, such as a refused configuration."""


RESTARTED_AFTER: Mapping[RestartPolicy, frozenset[ExitKind]] = {
    RestartPolicy.PERMANENT: frozenset(
        {ExitKind.NORMAL, ExitKind.SHUTDOWN, ExitKind.CRASH, ExitKind.KILLED, ExitKind.INIT_TIMEOUT}
    ),
    RestartPolicy.TRANSIENT: frozenset({ExitKind.CRASH, ExitKind.KILLED, ExitKind.INIT_TIMEOUT}),
    RestartPolicy.TEMPORARY: frozenset(),
}
"""OTP's table. `STUCK` and `FATAL` are in no row: they end the process, or at least the supervisor."""


@attrs.frozen
class Exit:
    """How an incarnation ended. `reason` is short, for people; the traceback's hash groups equal crashes."""

    kind: ExitKind
    reason: str = ""
    traceback_hash: str = ""


# --- what happened before -------------------------------------------------------------------------


@attrs.frozen
class ChildHistory:
    """`failures`: in a row, without health in between. `restarts`: when, within the period."""

    failures: int = 0
    restarts: tuple[float, ...] = ()


@attrs.frozen
class History:
    """What a supervisor remembers of restarts, for itself and for each child that ever failed."""

    restarts: tuple[float, ...] = ()
    children: Mapping[str, ChildHistory] = attrs.field(factory=dict)

    def of(self, child: str) -> ChildHistory:
        return self.children.get(child, ChildHistory())

    def recent(self, child: ChildPlan, now: float) -> int:
        """The failures of a child that still count against its intensity."""
        if child.id not in self.children:
            return 0
        return sum(each >= now - child.period_loop_s for each in self.children[child.id].restarts)

    def forgetting(self, child: str) -> History:
        """For a child that a person let out of quarantine: it begins afresh."""
        return attrs.evolve(self, children={k: v for k, v in self.children.items() if k != child})


# --- the decision ---------------------------------------------------------------------------------


@attrs.frozen
class Restart:
    """Stop `stop` in this order, forget `drop`, wait, then start `start` in this order."""

    stop: tuple[str, ...]
    drop: tuple[str, ...]
    start: tuple[str, ...]
    delay_s: float


@attrs.frozen
class Rest:
    """A transient child has done its work: it stays known, and down."""


@attrs.frozen
class Drop:
    """A temporary child has ended: it is forgotten."""


@attrs.frozen
class Quarantine:
    """The child stays down until a person lets it out."""

    why: str


@attrs.frozen
class Escalate:
    """The supervisor stops all children and gives up."""

    why: str


Decision: TypeAlias = Restart | Rest | Drop | Quarantine | Escalate


def decide(
    plan: SupervisorPlan,
    children: Sequence[ChildPlan],
    history: History,
    child_id: str,
    exit_: Exit,
    *,
    now: float,
    up_s: float | None,
    chance: float,
) -> tuple[Decision, History]:
    """What follows from the exit of one child, and what is to be remembered.

    `children` in start order, `now` in seconds of the loop's clock, `up_s` how long the incarnation
    was ready (None: never), `chance` a random number in [0, 1) for the jitter.
    """
    child = next(each for each in children if each.id == child_id)
    if exit_.kind in (ExitKind.FATAL, ExitKind.STUCK):
        return Escalate(f"{child.id}: {exit_.reason or exit_.kind.value}"), history
    if exit_.kind not in RESTARTED_AFTER[child.restart]:
        return (Drop() if child.restart is RestartPolicy.TEMPORARY else Rest()), history
    if exit_.kind is ExitKind.KILLED:
        return _group(plan, children, child, 0.0), history

    before = history.of(child_id)
    healthy = up_s is not None and up_s >= child.backoff.healthy_after_loop_s
    # One that never came up has not been healthy: no immediate restart for it.
    failures = 0 if healthy else before.failures + (before.failures == 0 and up_s is None)
    own = within(child.period_loop_s, before.restarts, now)
    whole = within(plan.period_loop_s, history.restarts, now)
    after = History(whole, {**history.children, child_id: ChildHistory(failures + 1, own)})
    if child.intensity is not None and len(own) > child.intensity:
        return _exhausted(child.on_exhausted, child.id, len(own), child.period_loop_s), after
    if plan.intensity is not None and len(whole) > plan.intensity:
        return _exhausted(
            plan.on_exhausted, f"the children of {plan.name}", len(whole), plan.period_loop_s
        ), after
    return _group(plan, children, child, child.backoff.delay_s(failures, chance)), after


def within(period_loop_s: float, restarts: Sequence[float], now: float) -> tuple[float, ...]:
    """The restarts that count at `now`, this one included. The window includes its far edge, as in OTP."""
    return (*(each for each in restarts if each >= now - period_loop_s), now)


def _exhausted(then: OnExhausted, who: str, count: int, period_loop_s: float) -> Escalate | Quarantine:
    why = f"{who} failed {count} times in {period_loop_s:g} s"
    return Escalate(why) if then is OnExhausted.ESCALATE else Quarantine(why)


def _group(plan: SupervisorPlan, children: Sequence[ChildPlan], failed: ChildPlan, delay_s: float) -> Restart:
    """Those that the strategy takes down and brings up again; temporary ones do not come back."""
    place = [each.id for each in children].index(failed.id)
    first, last = {
        Strategy.ONE_FOR_ONE: (place, place + 1),
        Strategy.REST_FOR_ONE: (place, len(children)),
        Strategy.ONE_FOR_ALL: (0, len(children)),
    }[plan.strategy]
    group = children[first:last]
    return Restart(
        stop=tuple(each.id for each in reversed(group) if each.id != failed.id),
        drop=tuple(each.id for each in group if each.restart is RestartPolicy.TEMPORARY),
        start=tuple(each.id for each in group if each.restart is not RestartPolicy.TEMPORARY),
        delay_s=delay_s,
    )
