"""Wilder's measures of range and direction."""

from __future__ import annotations

from protocol.indicators.base import Exponential, Indicator, ratio, whole
from protocol.values import Bar


def true_range(bar: Bar, last_close: float | None) -> float:
    """The height of a bar, with the gap before it; of the first bar, its height."""
    if last_close is None:
        return bar.high - bar.low
    return max(bar.high - bar.low, abs(bar.high - last_close), abs(bar.low - last_close))


class AverageTrueRange(Indicator):
    """Wilder's average true range over `period` bars, in dollars (J. Welles Wilder, 1978).

    The first value is the mean of the first `period` true ranges; each later one moves 1/`period` of the
    way to the newest true range. None until then. The first bar's true range is its height.
    """

    __slots__ = ("_average", "_last_close", "value")

    def __init__(self, period: float = 14) -> None:
        if period < 1:
            raise ValueError(f"the period of an ATR is at least 1, got {period}")
        self._average = Exponential.wilder(period)
        self._last_close: float | None = None
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        self.value = self._average.add(true_range(bar, self._last_close))
        self._last_close = bar.close


class DirectionalMovement(Indicator):
    """ADX, and the two directional indicators that it is made of, in percent (J. Welles Wilder, 1978).

    True range and directional movements begin with the mean of the first `period` of them, the ADX with
    the mean of `period` values of the directional index, so it takes 2 × `period` bars to warm up.
    """

    __slots__ = ("_adx", "_falls", "_last", "_ranges", "_rises", "minus", "plus", "value")

    def __init__(self, period: float = 14) -> None:
        whole(period, "the period")
        self._ranges, self._rises = Exponential.wilder(period), Exponential.wilder(period)
        self._falls, self._adx = Exponential.wilder(period), Exponential.wilder(period)
        self._last: Bar | None = None
        self.value: float | None = None
        self.plus: float | None = None
        self.minus: float | None = None

    def add(self, bar: Bar) -> None:
        last, self._last = self._last, bar
        if last is None:
            return
        up, down = bar.high - last.high, last.low - bar.low
        height = self._ranges.add(true_range(bar, last.close))
        rise = self._rises.add(up if up > down and up > 0 else 0.0)
        fall = self._falls.add(down if down > up and down > 0 else 0.0)
        if height is None or rise is None or fall is None:
            return
        plus, minus = ratio(100 * rise, height), ratio(100 * fall, height)
        self.plus, self.minus = plus, minus
        if plus is None or minus is None:
            return
        # Without any movement neither side has direction: an index of nothing.
        self.value = self._adx.add(100 * (ratio(abs(plus - minus), plus + minus) or 0.0))
