"""What every indicator is: something that is fed complete bars, in order, and has a value or none yet."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from protocol.values import Bar


class Indicator:
    """Constant time and memory for each bar, whatever came before.

    Each figure is None while it is warming up, and for a bar on which the formula has no value (a place
    within a range of nothing).
    """

    __slots__ = ()

    def add(self, bar: Bar) -> None:
        """Take the next complete bar."""
        raise NotImplementedError

    def figure(self, field: str) -> float | None:
        """One figure by its name in the table of kinds: a finite number or None."""
        value: float | None = getattr(self, field or "value")
        return value if value is not None and math.isfinite(value) else None


def whole(number: float, meaning: str) -> int:
    """A parameter that counts bars or days."""
    if number < 1 or number != int(number):
        raise ValueError(f"{meaning} is a whole number from 1 on, got {number:g}")
    return int(number)


def ratio(part: float, of: float) -> float | None:
    """None where there is nothing to divide by."""
    return part / of if of else None


def mean(values: Iterable[float], count: int) -> float:
    """Summed afresh each time: a sum that is carried on drifts."""
    return sum(values) / count


def typical_price(bar: Bar) -> float:
    return (bar.high + bar.low + bar.close) / 3


class Window:
    """The last `length` numbers."""

    __slots__ = ("_length", "values")

    def __init__(self, length: float, meaning: str = "the period") -> None:
        self._length = whole(length, meaning)
        self.values: deque[float] = deque(maxlen=self._length)

    def add(self, value: float) -> bool:
        """Take the newest; whether there are as many as asked for."""
        self.values.append(value)
        return len(self.values) == self._length

    def mean(self) -> float:
        return sum(self.values) / len(self.values)


class Exponential:
    """An exponential average of numbers: of its first `period` the mean, then `weight` towards each."""

    __slots__ = ("_count", "_period", "_sum", "_weight", "value")

    def __init__(self, period: float, weight: float | None = None, meaning: str = "the period") -> None:
        self._period = whole(period, meaning)
        self._weight = 2 / (self._period + 1) if weight is None else weight
        self._count, self._sum = 0, 0.0
        self.value: float | None = None

    @classmethod
    def wilder(cls, period: float) -> Exponential:
        """J. Welles Wilder's average (1978), which forgets half as fast as one of the same period."""
        return cls(period, 1 / whole(period, "the period"))

    def add(self, value: float) -> float | None:
        if self.value is not None:
            self.value += (value - self.value) * self._weight
            return self.value
        self._count += 1
        self._sum += value
        if self._count == self._period:
            self.value = self._sum / self._period
        return self.value
