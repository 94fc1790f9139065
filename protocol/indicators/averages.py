"""Averages of the closes, and how far the closes stray from them."""

from __future__ import annotations

import math
from collections.abc import Collection

from protocol.indicators.base import Exponential, Indicator, Window, ratio
from protocol.values import Bar


class SimpleAverage(Indicator):
    """SMA: the mean of the last `period` closes."""

    __slots__ = ("_closes", "value")

    def __init__(self, period: float = 20) -> None:
        self._closes = Window(period)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        if self._closes.add(bar.close):
            self.value = self._closes.mean()


class ExponentialAverage(Indicator):
    """EMA: begins with the mean of `period` closes, then moves 2/(period + 1) of the way to each close."""

    __slots__ = ("_average", "value")

    def __init__(self, period: float = 20) -> None:
        self._average = Exponential(period)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        self.value = self._average.add(bar.close)


class WeightedAverage(Indicator):
    """WMA: the newest of `period` closes counts `period` times, the oldest once."""

    __slots__ = ("_closes", "value")

    def __init__(self, period: float = 20) -> None:
        self._closes = Window(period)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        if self._closes.add(bar.close):
            count = len(self._closes.values)
            weighted = sum(weight * close for weight, close in enumerate(self._closes.values, 1))
            self.value = weighted / (count * (count + 1) / 2)


def deviation(values: Collection[float], around: float) -> float:
    """The standard deviation of a whole population, as chart programs take it."""
    return math.sqrt(sum((value - around) ** 2 for value in values) / len(values))


class StandardDeviation(Indicator):
    """Of the last `period` closes, in dollars; of the whole population, not of a sample."""

    __slots__ = ("_closes", "value")

    def __init__(self, period: float = 20) -> None:
        self._closes = Window(period)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        if self._closes.add(bar.close):
            self.value = deviation(self._closes.values, self._closes.mean())


class BollingerBands(Indicator):
    """The mean of `period` closes, and bands `multiple` standard deviations from it (John Bollinger).

    `width` is the bands' distance as a fraction of the mean.
    """

    __slots__ = ("_closes", "_multiple", "lower", "middle", "upper", "width")

    def __init__(self, period: float = 20, multiple: float = 2.0) -> None:
        self._closes, self._multiple = Window(period), multiple
        self.upper: float | None = None
        self.middle: float | None = None
        self.lower: float | None = None
        self.width: float | None = None

    def add(self, bar: Bar) -> None:
        if not self._closes.add(bar.close):
            return
        middle = self._closes.mean()
        reach = self._multiple * deviation(self._closes.values, middle)
        self.upper, self.middle, self.lower = middle + reach, middle, middle - reach
        self.width = ratio(2 * reach, middle)


class ConvergenceDivergence(Indicator):
    """MACD: a fast less a slow exponential average, and an exponential average of that as its signal.

    Each average begins with the mean of its own first bars.
    """

    __slots__ = ("_fast", "_signal", "_slow", "histogram", "line", "signal")

    def __init__(self, fast: float = 12, slow: float = 26, signal: float = 9) -> None:
        if fast >= slow:
            raise ValueError(f"the fast average is over fewer bars than the slow one, got {fast:g}, {slow:g}")
        self._fast, self._slow = Exponential(fast), Exponential(slow)
        self._signal = Exponential(signal, meaning="the signal's period")
        self.line: float | None = None
        self.signal: float | None = None
        self.histogram: float | None = None

    def add(self, bar: Bar) -> None:
        fast, slow = self._fast.add(bar.close), self._slow.add(bar.close)
        if fast is None or slow is None:
            return
        self.line = fast - slow
        self.signal = self._signal.add(self.line)
        if self.signal is not None:
            self.histogram = self.line - self.signal
