"""What is decided about a supervisor and its children before anything starts, and what is wrong with it.

Words, defaults and the rules of validation are those of OTP's `supervisor`; see `supervision.py` for
what the house does differently. All durations are of the loop's clock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Final

import attrs

BRUTAL: Final = 0.0
"""OTP's `brutal_kill`, as the time that a child has after being asked to end."""


class Strategy(enum.Enum):
    """Who goes down with a child that failed: nobody, everybody, or those started after it."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class RestartPolicy(enum.Enum):
    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class OnExhausted(enum.Enum):
    """What follows when something failed more often than its intensity allows."""

    ESCALATE = "escalate"
    """The supervisor stops its children and gives up; its own supervisor decides."""
    QUARANTINE = "quarantine"
    """Only the child that failed stays down, until a person lets it out."""


@attrs.frozen
class Backoff:
    """How long a restart waits. The first failure of a healthy child is restarted at once.

    Then `min_loop_s`, doubling up to `max_loop_s`, each times (1 + `jitter` * U), until an incarnation
    stayed up for `healthy_after_loop_s`.
    """

    min_loop_s: float = 0.1
    max_loop_s: float = 30.0
    factor: float = 2.0
    jitter: float = 0.2
    healthy_after_loop_s: float = 10.0

    def delay_s(self, failures: int, chance: float) -> float:
        """The wait after `failures` failures in a row before this one; `chance` is U in [0, 1)."""
        if failures == 0:
            return 0.0
        # The exponent is bounded before it is used: a child may fail for days.
        doublings = min(failures - 1, math.ceil(math.log(self.max_loop_s / self.min_loop_s, self.factor)))
        return min(self.max_loop_s, self.min_loop_s * self.factor**doublings) * (1 + self.jitter * chance)


@attrs.frozen(kw_only=True)
class ChildPlan:
    """What is decided beforehand about one child. Durations are of the loop's clock.

    `intensity` restarts within `period_loop_s` are allowed; None: only the supervisor's limit holds.
    `shutdown_loop_s` is how long it may take to end after being asked, before it is cancelled; `BRUTAL`:
    it is not asked.
    """

    id: str
    restart: RestartPolicy = RestartPolicy.PERMANENT
    intensity: int | None = None
    period_loop_s: float = 60.0
    on_exhausted: OnExhausted = OnExhausted.ESCALATE
    backoff: Backoff = Backoff()
    init_timeout_loop_s: float = 10.0
    shutdown_loop_s: float = 5.0
    is_supervisor: bool = False


@attrs.frozen(kw_only=True)
class SupervisorPlan:
    """`intensity` None: the supervisor itself is never exhausted, only its children are."""

    name: str
    strategy: Strategy = Strategy.ONE_FOR_ONE
    intensity: int | None = 3
    period_loop_s: float = 60.0
    on_exhausted: OnExhausted = OnExhausted.ESCALATE


def faults(plan: SupervisorPlan, children: Sequence[ChildPlan]) -> tuple[str, ...]:
    """Everything that is wrong with a plan, each as a sentence; empty for a good one."""
    found = _limit_faults(plan.name, plan.intensity, plan.period_loop_s)
    if not plan.name:
        found.append("a supervisor needs a name")
    if plan.on_exhausted is OnExhausted.QUARANTINE and plan.strategy is not Strategy.ONE_FOR_ONE:
        found.append(f"{plan.name}: to quarantine one child needs one_for_one, not {plan.strategy.value}")
    names = [child.id for child in children]
    found += [
        f"{plan.name}: two children are called {name!r}"
        for name in sorted({n for n in names if names.count(n) > 1})
    ]
    for child in children:
        found += _child_faults(plan, child)
    return tuple(found)


def _limit_faults(name: str, intensity: int | None, period_loop_s: float) -> list[str]:
    found = []
    if intensity is not None and intensity < 0:
        found.append(f"{name}: an intensity is 0 or more, not {intensity}")
    if not 0 < period_loop_s < math.inf:
        found.append(f"{name}: a period is a positive number of seconds, not {period_loop_s}")
    return found


def _child_faults(plan: SupervisorPlan, child: ChildPlan) -> list[str]:
    name = f"{plan.name}/{child.id}"
    found = _limit_faults(name, child.intensity, child.period_loop_s)
    if not child.id:
        found.append(f"{plan.name}: a child needs an id")
    if child.is_supervisor and child.restart is not RestartPolicy.PERMANENT:
        # A supervisor that gives up ends like one that was stopped: OTP would not restart a transient one.
        found.append(f"{name}: a nested supervisor is permanent, not {child.restart.value}")
    if child.is_supervisor and child.shutdown_loop_s != math.inf:
        found.append(
            f"{name}: a nested supervisor gets all the time it needs to stop, not {child.shutdown_loop_s}"
        )
    if child.on_exhausted is OnExhausted.QUARANTINE and plan.strategy is not Strategy.ONE_FOR_ONE:
        found.append(f"{name}: a quarantine needs one_for_one around it, not {plan.strategy.value}")
    if not child.init_timeout_loop_s > 0:
        found.append(f"{name}: init_timeout_loop_s is positive, not {child.init_timeout_loop_s}")
    if not child.shutdown_loop_s >= 0:
        found.append(f"{name}: shutdown_loop_s is 0 or more, not {child.shutdown_loop_s}")
    backoff = child.backoff
    if not (0 < backoff.min_loop_s <= backoff.max_loop_s < math.inf and backoff.factor > 1):
        found.append(f"{name}: a backoff grows from a positive minimum to its maximum, not {backoff}")
    if backoff.jitter < 0 or not backoff.healthy_after_loop_s > 0:
        found.append(f"{name}: jitter is 0 or more and healthy_after_loop_s positive, not {backoff}")
    return found
