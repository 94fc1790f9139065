"""Which lines of the log are wanted, and how many of one kind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

LEVELS: Final[Mapping[str, int]] = MappingProxyType(
    {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
)
"""By name; the numbers are those of Python's logging."""

MAX_KEYS: Final = 2000
"""Kinds of lines that are counted at once; the parts have dozens."""
WINDOW_LOOP_S: Final = 60.0


class LogLevels:
    """What each part lets through, and what of it is shown on standard error."""

    def __init__(self, level: str, by_part: Sequence[tuple[str, str]] = (), *, verbose: bool = False) -> None:
        """`verbose` shows whatever is let through; else warnings, unless a part has a level of its own."""
        self._level = LEVELS[level]
        self._by_part = {part: LEVELS[name] for part, name in by_part}
        self._least_shown = self._level if verbose else max(self._level, LEVELS["warning"])

    @property
    def lowest(self) -> int:
        """Below it nothing is wanted of anybody."""
        return min(self._level, *self._by_part.values(), LEVELS["critical"])

    def wanted(self, part: str, level: str) -> bool:
        return LEVELS.get(level, LEVELS["critical"]) >= self._by_part.get(part, self._level)

    def shown(self, part: str, level: str) -> bool:
        return LEVELS.get(level, LEVELS["critical"]) >= self._by_part.get(part, self._least_shown)


class KeyLimit:
    """So many lines of one key within a minute; the rest is counted, and told when that minute is over."""

    def __init__(self, max_per_min: int) -> None:
        self._max = max_per_min
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}
        """By key: when its minute began, and how many came in it."""
        self._next_end = math.inf
        """When the first minute ends of which there is something to tell."""

    def take(self, key: tuple[str, str], loop_s: float) -> bool:
        """Whether one more line of `key` may be written."""
        began, count = self._windows.get(key, (loop_s, 0))
        if loop_s - began >= WINDOW_LOOP_S and count <= self._max:
            began, count = loop_s, 0
        if key not in self._windows and len(self._windows) >= MAX_KEYS:
            self._forget(loop_s)
        self._windows[key] = (began, count + 1)
        if count < self._max:
            return True
        self._next_end = min(self._next_end, began + WINDOW_LOOP_S)
        return False

    def untold(self, loop_s: float = math.inf) -> tuple[tuple[tuple[str, str], int], ...]:
        """The keys of whose minute that is over (by default: of all) lines were left out, and how many."""
        if loop_s < self._next_end:
            return ()
        over = [
            (key, count - self._max)
            for key, (began, count) in self._windows.items()
            if count > self._max and loop_s - began >= WINDOW_LOOP_S
        ]
        for key, _ in over:
            del self._windows[key]
        full = [began for began, count in self._windows.values() if count > self._max]
        self._next_end = min(full, default=math.inf) + WINDOW_LOOP_S
        return tuple(over)

    def _forget(self, loop_s: float) -> None:
        """Drop the keys whose minute is over; if all are young, half of them."""
        quiet = [key for key, (_, count) in self._windows.items() if count <= self._max]
        old = [key for key in quiet if loop_s - self._windows[key][0] >= WINDOW_LOOP_S]
        for key in old or (quiet or list(self._windows))[: MAX_KEYS // 2]:
            del self._windows[key]
