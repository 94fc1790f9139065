"""Runs that are the same every time: trio's clock is a mock one, and so is the order of its tasks.

Trio shuffles tasks that are ready at the same time, on purpose, so that nobody depends on their order. A
run that is to be repeated event for event needs that order to come from a seed, which trio allows only by
the two private names used here; nothing else in this house touches them. The mock clock jumps as soon as
every task waits, so such a run may use neither threads nor sockets: the clock would jump over them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import trio
import trio.testing
from trio._core import _run

T = TypeVar("T")

SWITCH: Final = "_ALLOW_DETERMINISTIC_SCHEDULING"
"""Trio's own name. It is declared final, and yet meant to be set by those who test with it."""


def run_deterministically(main: Callable[[], Awaitable[T]], *, seed: int) -> T:
    """Run `main` to its end. The same seed gives the same schedule, in any process."""
    allowed, state = getattr(_run, SWITCH), _run._r.getstate()
    setattr(_run, SWITCH, True)
    _run._r.seed(seed)
    try:
        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        setattr(_run, SWITCH, allowed)
        _run._r.setstate(state)
