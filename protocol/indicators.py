"""Indicators that are fed bar by bar, in constant time each."""

from __future__ import annotations

from protocol.values import Bar


class AverageTrueRange:
    """Wilder's average true range over `period` bars, in dollars (J. Welles Wilder, 1978).

    The first value is the mean of the first `period` true ranges; each later one moves 1/`period` of the
    way to the newest true range. None until then. The first bar's true range is its height.
    """

    __slots__ = ("_count", "_last_close", "_period", "_sum", "value")

    def __init__(self, period: int) -> None:
        if period < 1:
            raise ValueError(f"the period of an ATR is at least 1, got {period}")
        self._period = period
        self._count = 0
        self._sum = 0.0
        self._last_close: float | None = None
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        true_range = bar.high - bar.low
        if self._last_close is not None:
            true_range = max(true_range, abs(bar.high - self._last_close), abs(bar.low - self._last_close))
        self._last_close = bar.close
        if self.value is not None:
            self.value += (true_range - self.value) / self._period
            return
        self._count += 1
        self._sum += true_range
        if self._count == self._period:
            self.value = self._sum / self._period
