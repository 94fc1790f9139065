"""The bars of one symbol, a series for each size in use, and the indicators that are reckoned from them.

A trade costs each series a comparison or two; only a bar that is complete touches indicators, and their
figures are read once then, so that asking for one is a look into a dictionary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import attrs

from protocol.bars import DAY_S, BarBuilder, interval_at, traded
from protocol.indicators import Indicator, bar_size_s, build
from protocol.reports import HistoryLoaded
from protocol.rules.indicator_names import IndicatorName
from protocol.settings import Atr
from protocol.values import Bar, Tick

NEVER: Final = datetime.max.replace(tzinfo=UTC)
RECENT_BARS: Final = 16
"""Live bars kept, since an answer with history may arrive when the bar after it is complete, too."""


class BarSeries:
    """The bars of one size, and every indicator on them, each reckoned once whatever asks for it."""

    def __init__(self, bar_s: int) -> None:
        self.bar_s = bar_s
        self.builder = BarBuilder(bar_s)
        self._indicators: dict[tuple[str, tuple[float, ...]], Indicator] = {}
        self._readings: list[tuple[IndicatorName, Indicator]] = []
        self._names: list[IndicatorName] = []
        self._recent: deque[Bar] = deque(maxlen=RECENT_BARS)
        self._warm_until: datetime | None = None

    def follow(self, name: IndicatorName) -> None:
        if name not in self._names:
            self._names.append(name)
            self._bind(name)

    def _bind(self, name: IndicatorName) -> None:
        key = name.kind, name.parameters
        if key not in self._indicators:
            self._indicators[key] = build(name, self.bar_s)
        self._readings.append((name, self._indicators[key]))

    def live(self, bar: Bar) -> bool:
        """Take a bar that is complete; whether it was news to the indicators."""
        self._recent.append(bar)
        if self._warm_until is not None and bar.start <= self._warm_until:
            return False
        return self._add(bar)

    def _add(self, bar: Bar) -> bool:
        if not traded(bar):
            return False
        for indicator in self._indicators.values():
            indicator.add(bar)
        return True

    def warm_up(self, bars: tuple[Bar, ...]) -> None:
        """Begin anew with these bars of the past, and the live ones after them."""
        self._indicators, self._readings = {}, []
        for name in self._names:
            self._bind(name)
        for bar in bars:
            self._add(bar if self.bar_s < DAY_S else _of_session(bar))
        self._warm_until = bars[-1].start
        for bar in self._recent:
            if bar.start > self._warm_until:
                self._add(bar)

    def read(self, figures: dict[IndicatorName, float | None]) -> None:
        """Put the present figures where they are looked up."""
        for name, indicator in self._readings:
            figures[name] = indicator.figure(name.field)


def _of_session(bar: Bar) -> Bar:
    """A day's bar carries a date only; as ours it starts with its session."""
    noon = interval_at(bar.start.replace(hour=16), DAY_S)
    return bar if noon is None else attrs.evolve(bar, start=noon[0])


class SymbolBars:
    """Every series of a symbol; `figures` has what was asked to be followed, None while it is warming up."""

    def __init__(self, atr: Atr, names: Iterable[IndicatorName] = ()) -> None:
        self._usual_s = atr.bar_s
        self._series: dict[int, BarSeries] = {}
        self._all: tuple[BarSeries, ...] = ()
        self.figures: dict[IndicatorName, float | None] = {}
        self.atr_name = IndicatorName("atr", (float(atr.period),))
        self.completed = 0
        """Bars that changed a figure so far: what was reckoned from indicators holds until it grows."""
        self.torn: list[int] = []
        """Sizes whose newest bar was not heard from its beginning: history tells how it really was."""
        self.due = NEVER
        """When the next bar is over."""
        self.follow((self.atr_name, *names))

    def follow(self, names: Iterable[IndicatorName]) -> tuple[int, ...]:
        """Reckon these, too; gives the sizes of bars that need history for it."""
        sizes = []
        for name in names:
            if name in self.figures:
                continue
            bar_s = bar_size_s(name, self._usual_s)
            series = self._series.get(bar_s)
            if series is None:
                series = self._series[bar_s] = BarSeries(bar_s)
            series.follow(name)
            self.figures[name] = None
            if bar_s not in sizes:
                sizes.append(bar_s)
        self._all = tuple(self._series.values())
        return tuple(sizes)

    def trade(self, tick: Tick) -> None:
        changed = False
        for series in self._all:
            builder = series.builder
            end = builder.end
            bar = builder.add(tick)
            if builder.end is not end:
                changed = True
                if bar is not None:
                    self._complete(series, bar)
        if changed:
            self._set_due()

    def count(self, day_volume: float) -> None:
        for series in self._all:
            series.builder.count(day_volume)

    def advance(self, at: datetime) -> None:
        """Let time go on: bars that are over by `at` are complete without another trade."""
        if at < self.due:
            return
        for series in self._all:
            bar = series.builder.advance(at)
            if bar is not None:
                self._complete(series, bar)
        self._set_due()

    def interrupt(self) -> None:
        """Trades go unheard from now on."""
        for series in self._all:
            series.builder.interrupt()

    def warm_up(self, history: HistoryLoaded) -> None:
        """Take completed bars of the past. An empty answer changes nothing."""
        series = self._series.get(history.bar_s)
        if series is not None and history.bars:
            series.warm_up(history.bars)
            series.read(self.figures)
            self.completed += 1

    def _complete(self, series: BarSeries, bar: Bar) -> None:
        if series.builder.was_torn and series.bar_s not in self.torn:
            self.torn.append(series.bar_s)
        if series.live(bar):
            series.read(self.figures)
            self.completed += 1

    def _set_due(self) -> None:
        self.due = min((end for one in self._all if (end := one.builder.end) is not None), default=NEVER)
