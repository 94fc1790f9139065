"""Runs that are the same every time: trio's clock is a mock one, and so is the order of its tasks.

Trio shuffles tasks that are ready at the same time, on purpose, so that nobody depends on their order. A
run that is to be repeated event for event needs that order to come from a seed, which trio allows only by
the two private names used here; nothing else in this house touches them. The mock clock jumps as soon as
every task waits, so such a run may use neither threads nor sockets: the clock would jump over them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, TypeVar

import trio
from trio._core import _run

T = TypeVar("T")

SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
"""Trio's own name. It is declared final, and yet meant to be set by those who test with it."""


class JumpingClock(trio.abc.Clock):
    """From 0, it stands still while any task can run, and then is at the next deadline at once.

    `trio.testing.MockClock(autojump_threshold=0)` in less than half of its time: that one needs an idle
    turn of the loop, with statistics over all tasks, for every jump.
    """

    def __init__(self) -> None:
        self._now = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Asked by the loop exactly when no task can run; nothing but a deadline can change that."""
        if deadline == inf:
            return inf
        # By the difference and not to the deadline, as the mock clock does: it may come an ulp short.
        self.jump(max(0.0, deadline - self._now))
        return 0.0

    def jump(self, seconds: float) -> None:
        """Let time pass that nobody has waited for."""
        if seconds < 0:
            raise ValueError(f"time cannot go backwards, by {seconds:g} s")
        self._now += seconds


def run_deterministically(main: Callable[[], Awaitable[T]], *, seed: int) -> T:
    """Run `main` to its end. The same seed gives the same schedule, in any process."""
    allowed, state = getattr(_run, SWITCH), _run._r.getstate()
    setattr(_run, SWITCH, True)
    _run._r.seed(seed)
    try:
        return trio.run(main, clock=JumpingClock())
    finally:
        setattr(_run, SWITCH, allowed)
        _run._r.setstate(state)
