"""How fast the price moves, and where it stands within where it was: figures that swing within limits."""

from __future__ import annotations

from collections import deque

from protocol.indicators.base import Exponential, Indicator, Window, mean, ratio, typical_price, whole
from protocol.values import Bar


class RelativeStrength(Indicator):
    """RSI: the rises' share of all movement, in percent, each averaged Wilder's way (1978).

    Without any movement there is no share, and no value.
    """

    __slots__ = ("_falls", "_last", "_rises", "value")

    def __init__(self, period: float = 14) -> None:
        self._rises, self._falls = Exponential.wilder(period), Exponential.wilder(period)
        self._last: float | None = None
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        last, self._last = self._last, bar.close
        if last is None:
            return
        rise, fall = self._rises.add(max(bar.close - last, 0.0)), self._falls.add(max(last - bar.close, 0.0))
        if rise is not None and fall is not None:
            share = ratio(rise, rise + fall)
            self.value = None if share is None else 100 * share


class Momentum(Indicator):
    """The close less the close `period` bars ago, in dollars."""

    __slots__ = ("_closes", "value")

    def __init__(self, period: float = 10) -> None:
        self._closes = Window(period + 1)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        if self._closes.add(bar.close):
            self.value = bar.close - self._closes.values[0]


class RateOfChange(Indicator):
    """ROC: the close against the close `period` bars ago, in percent."""

    __slots__ = ("_closes", "value")

    def __init__(self, period: float = 10) -> None:
        self._closes = Window(period + 1)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        if self._closes.add(bar.close):
            before = self._closes.values[0]
            self.value = 100 * (bar.close - before) / before


class _Range:
    """The highest and the lowest price of the last `period` bars."""

    __slots__ = ("_highs", "_lows")

    def __init__(self, period: float) -> None:
        self._highs, self._lows = Window(period), Window(period)

    def add(self, bar: Bar) -> tuple[float, float] | None:
        self._highs.add(bar.high)
        if not self._lows.add(bar.low):
            return None
        return max(self._highs.values), min(self._lows.values)


class WilliamsR(Indicator):
    """Williams %R: how far the close is below the highest of `period` bars, in percent of their range.

    Between -100 (at the lowest) and 0; no value where the range is nothing.
    """

    __slots__ = ("_range", "value")

    def __init__(self, period: float = 14) -> None:
        self._range = _Range(period)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        found = self._range.add(bar)
        if found is not None:
            high, low = found
            place = ratio(high - bar.close, high - low)
            self.value = None if place is None else -100 * place


class Stochastic(Indicator):
    """Where the close stands in the range of `period` bars, in percent (George Lane).

    `k` is the mean of the last `slowing` places (1: the fast stochastic, 3: the slow one), `d` that of the
    last `smoothing` values of `k`. A bar whose range is nothing has no place and is left out.
    """

    __slots__ = ("_ks", "_places", "_range", "d", "k")

    def __init__(self, period: float = 14, smoothing: float = 3, slowing: float = 1) -> None:
        self._range = _Range(period)
        self._places, self._ks = Window(slowing, "the slowing"), Window(smoothing, "the smoothing")
        self.k: float | None = None
        self.d: float | None = None

    def add(self, bar: Bar) -> None:
        found = self._range.add(bar)
        if found is None:
            return
        high, low = found
        if high > low and self._places.add(100 * (bar.close - low) / (high - low)):
            self.k = self._places.mean()
            if self._ks.add(self.k):
                self.d = self._ks.mean()


class DonchianChannel(Indicator):
    """The highest and the lowest price of `period` bars, the newest among them, and their middle."""

    __slots__ = ("_range", "lower", "middle", "upper")

    def __init__(self, period: float = 20) -> None:
        self._range = _Range(period)
        self.upper: float | None = None
        self.middle: float | None = None
        self.lower: float | None = None

    def add(self, bar: Bar) -> None:
        found = self._range.add(bar)
        if found is not None:
            self.upper, self.lower = found
            self.middle = (self.upper + self.lower) / 2


class CommodityChannel(Indicator):
    """CCI: the typical price's distance from its mean, in units of 0.015 mean deviations (Donald Lambert)."""

    __slots__ = ("_prices", "value")

    def __init__(self, period: float = 20) -> None:
        self._prices = Window(period)
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        price = typical_price(bar)
        if self._prices.add(price):
            middle, values = self._prices.mean(), self._prices.values
            away = mean((abs(value - middle) for value in values), len(values))
            # Equal prices can differ from their own mean by a rounding.
            self.value = (price - middle) / (0.015 * away) if away > 1e-12 * middle else None


class MoneyFlow(Indicator):
    """MFI: the share of the dollars that traded at rising typical prices, in percent, over `period` bars."""

    __slots__ = ("_flows", "_last", "_period", "value")

    def __init__(self, period: float = 14) -> None:
        self._period = whole(period, "the period")
        self._flows: deque[float] = deque(maxlen=self._period)
        self._last: float | None = None
        self.value: float | None = None

    def add(self, bar: Bar) -> None:
        price, last = typical_price(bar), self._last
        self._last = price
        if last is None:
            return
        self._flows.append(price * bar.volume if price > last else -price * bar.volume if price < last else 0)
        if len(self._flows) == self._period:
            share = ratio(sum(flow for flow in self._flows if flow > 0), sum(map(abs, self._flows)))
            self.value = None if share is None else 100 * share
