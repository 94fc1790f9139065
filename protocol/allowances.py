"""How much of something is let through: so many at once, and so many a second in the long run. Loop time."""

from __future__ import annotations

import math
from collections import OrderedDict

MAX_SENDERS = 256
"""Senders that have a bucket of their own; the one heard longest ago is forgotten."""


class Bucket:
    """A token bucket that begins full. `burst` at once, `per_loop_s` in the long run."""

    __slots__ = ("_at_loop_s", "_burst", "_left", "_per_loop_s")

    def __init__(self, burst: int, per_loop_s: float) -> None:
        self._burst, self._per_loop_s = burst, per_loop_s
        self._left, self._at_loop_s = float(burst), -math.inf

    def take(self, loop_s: float) -> bool:
        """Take one if there is one."""
        if self.wait_loop_s(loop_s) > 0:
            return False
        self._left -= 1
        return True

    def wait_loop_s(self, loop_s: float) -> float:
        """How long until there is one; 0 when there is."""
        if loop_s > self._at_loop_s:
            self._left = min(float(self._burst), self._left + (loop_s - self._at_loop_s) * self._per_loop_s)
            self._at_loop_s = loop_s
        return max(0.0, (1 - self._left) / self._per_loop_s)


class Allowances:
    """A bucket for all senders and one for each, the latter forgotten when there are too many of them."""

    __slots__ = ("_all", "_each", "_of")

    def __init__(self, everybody: tuple[int, float], each: tuple[int, float]) -> None:
        """(burst, per second) for all of them together, and for every single one."""
        self._all, self._each = Bucket(*everybody), each
        self._of: OrderedDict[str, Bucket] = OrderedDict()

    @property
    def senders(self) -> int:
        """How many are remembered."""
        return len(self._of)

    def take(self, sender: str, loop_s: float) -> float:
        """0 when one was taken, else how long to wait."""
        own = self._of.setdefault(sender, Bucket(*self._each))
        self._of.move_to_end(sender)
        while len(self._of) > MAX_SENDERS:
            self._of.popitem(last=False)
        wait_loop_s = max(own.wait_loop_s(loop_s), self._all.wait_loop_s(loop_s))
        if wait_loop_s == 0:
            own.take(loop_s)
            self._all.take(loop_s)
        return wait_loop_s
