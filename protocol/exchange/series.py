"""Recorded data of one symbol, as columns: a few dozen bytes a row, searched by time.

Times are microseconds of the epoch, ascending; prices in dollars, sizes and volumes in whole shares.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, time, timedelta
from typing import TypeVar

import attrs

from protocol.exchange.calendar import NEW_YORK, new_york
from protocol.exchange.history import micros, moment


def _times() -> array[int]:
    return array("q")


def _reals() -> array[float]:
    return array("d")


@attrs.define(eq=False)
class BarSeries:
    """One-minute bars by the start of their minute; minutes without a bar are absent."""

    at_us: array[int] = attrs.field(factory=_times)
    open: array[float] = attrs.field(factory=_reals)
    high: array[float] = attrs.field(factory=_reals)
    low: array[float] = attrs.field(factory=_reals)
    close: array[float] = attrs.field(factory=_reals)
    volume: array[int] = attrs.field(factory=_times)

    def row(self, index: int) -> tuple[float, float, float, float, int]:
        """Open, high, low, close, volume."""
        return self.open[index], self.high[index], self.low[index], self.close[index], self.volume[index]


@attrs.define(eq=False)
class TradeSeries:
    at_us: array[int] = attrs.field(factory=_times)
    price: array[float] = attrs.field(factory=_reals)
    size: array[int] = attrs.field(factory=_times)


@attrs.define(eq=False)
class QuoteSeries:
    """Best bid and offer after each change, as recorded: one-sided (a 0) and crossed moments included."""

    at_us: array[int] = attrs.field(factory=_times)
    bid: array[float] = attrs.field(factory=_reals)
    bid_size: array[int] = attrs.field(factory=_times)
    ask: array[float] = attrs.field(factory=_reals)
    ask_size: array[int] = attrs.field(factory=_times)


def bars_from(rows: Iterable[tuple[int, float, float, float, float, int]]) -> BarSeries:
    """Rows of (time, open, high, low, close, volume), sorted by time."""
    series = BarSeries()
    for at_us, opened, high, low, close, volume in rows:
        series.at_us.append(at_us)
        series.open.append(opened)
        series.high.append(high)
        series.low.append(low)
        series.close.append(close)
        series.volume.append(volume)
    return series


def trades_from(rows: Iterable[tuple[int, float, int]]) -> TradeSeries:
    """Rows of (time, price, size), sorted by time."""
    series = TradeSeries()
    for at_us, price, size in rows:
        series.at_us.append(at_us)
        series.price.append(price)
        series.size.append(size)
    return series


def quotes_from(rows: Iterable[tuple[int, float, int, float, int]]) -> QuoteSeries:
    """Rows of (time, bid, bid size, ask, ask size), sorted by time."""
    series = QuoteSeries()
    for at_us, bid, bid_size, ask, ask_size in rows:
        series.at_us.append(at_us)
        series.bid.append(bid)
        series.bid_size.append(bid_size)
        series.ask.append(ask)
        series.ask_size.append(ask_size)
    return series


Series = TypeVar("Series", BarSeries, TradeSeries, QuoteSeries)


def rows_of(series: Series, rows: Sequence[int]) -> Series:
    """A new series of these rows, in this order."""
    columns = attrs.astuple(series, recurse=False)
    return type(series)(*[array(column.typecode, map(column.__getitem__, rows)) for column in columns])


@attrs.frozen
class DaySlice:
    """The rows `first` up to, not including, `end` of a series belong to New York's `day`."""

    day: date
    first: int
    end: int


def split_days(at_us: array[int]) -> Iterator[DaySlice]:
    """The days of a sorted column of times."""
    first = 0
    while first < len(at_us):
        day = moment(at_us[first]).astimezone(NEW_YORK).date()
        end = bisect_left(at_us, micros(new_york(day + timedelta(days=1), time())), first)
        yield DaySlice(day, first, end)
        first = end
