"""Durations in buckets: constant memory, percentiles within a few per cent, however long the run."""

from __future__ import annotations

import math
from typing import Final

_PER_DOUBLING: Final = 8
"""Buckets for each doubling: neighbours differ by nine per cent."""
_FIRST_S: Final = 1e-7
_BUCKETS: Final = 256


class Latencies:
    """Durations in seconds, from a tenth of a microsecond up; longer than some minutes counts as that."""

    __slots__ = ("_buckets", "count", "longest_s")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.longest_s = 0.0

    def add(self, duration_s: float) -> None:
        at = 0 if duration_s <= _FIRST_S else int(math.log2(duration_s / _FIRST_S) * _PER_DOUBLING) + 1
        self._buckets[min(at, _BUCKETS - 1)] += 1
        self.count += 1
        if duration_s > self.longest_s:
            self.longest_s = duration_s

    def percentile(self, fraction: float) -> float | None:
        """The duration that `fraction` (0.5, 0.99) of all do not exceed; None without any."""
        if not self.count:
            return None
        wanted = fraction * self.count
        seen = 0
        for at, number in enumerate(self._buckets):
            seen += number
            if seen >= wanted and number:
                return min(_FIRST_S * 2 ** (at / _PER_DOUBLING), self.longest_s)
        return self.longest_s
