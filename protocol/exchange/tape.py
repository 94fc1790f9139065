"""The recorded tape of one symbol: bars, trades and quotes become ticks and prints, day by day.

On a day with recorded trades these are replayed as they are; else the bars are, along their path. On a
day with recorded quotes these are replayed as they are (crossed and one-sided ones included); else a
spread is put around what trades. At equal times a quote comes before a trade: the trade hit it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from itertools import accumulate
from operator import attrgetter

import attrs

from protocol.exchange.calendar import Session
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import MINUTE_US, moment
from protocol.exchange.path import Print, path_of, prints_of, quote_around, shown_size, spread_at
from protocol.exchange.series import BarSeries, DaySlice, QuoteSeries, TradeSeries, split_days

_NO_ROWS = (0, 0)
_by_time = attrgetter("at")


@attrs.define(eq=False)
class Tape:
    symbol: str
    bars: BarSeries = attrs.field(factory=BarSeries)
    trades: TradeSeries = attrs.field(factory=TradeSeries)
    quotes: QuoteSeries = attrs.field(factory=QuoteSeries)
    _bar_days: dict[date, tuple[int, int]] = attrs.field(init=False)
    _trade_days: dict[date, tuple[int, int]] = attrs.field(init=False)
    _quote_days: dict[date, tuple[int, int]] = attrs.field(init=False)
    _volumes: tuple[date | None, list[int]] = attrs.field(init=False, default=(None, []))
    """The day whose running volume was asked for last, and that volume before each row and after the last."""
    _left: tuple[int, float, float, int] = attrs.field(init=False, default=(-1, 0.0, 0.0, 0))
    """The bar whose standing quote was asked for last, and that quote."""

    def __attrs_post_init__(self) -> None:
        self._bar_days = _by_day(split_days(self.bars.at_us))
        self._trade_days = _by_day(split_days(self.trades.at_us))
        self._quote_days = _by_day(split_days(self.quotes.at_us))

    def spans(self) -> Iterator[tuple[date, int, int]]:
        """Each recorded day with the time of its first row and the time by which its last row is over."""
        for days, at_us, lasts_us in (
            (self._bar_days, self.bars.at_us, MINUTE_US),
            (self._trade_days, self.trades.at_us, 1),
            (self._quote_days, self.quotes.at_us, 1),
        ):
            for day, (first, end) in days.items():
                yield day, at_us[first], at_us[end - 1] + lasts_us

    def days(self) -> set[date]:
        return self._bar_days.keys() | self._trade_days.keys() | self._quote_days.keys()

    # --- ticks ------------------------------------------------------------------------------------

    def minute(self, day: date, minute_us: int, stamps: tuple[datetime, ...]) -> list[MarketTick]:
        """What this symbol does in the minute from `minute_us` on. `stamps`: the minute's twelve instants."""
        quotes = self._quote_days.get(day)
        if day in self._trade_days:
            ticks = self._traded(day, minute_us, quoted=quotes is not None)
        else:
            ticks = self._along_the_path(day, minute_us, stamps, quoted=quotes is not None)
        if quotes is None:
            return ticks
        quoted = self._quoted(quotes, minute_us)
        if not ticks or not quoted:
            return ticks or quoted
        quoted += ticks
        quoted.sort(key=_by_time)
        return quoted

    def _along_the_path(
        self, day: date, minute_us: int, stamps: tuple[datetime, ...], *, quoted: bool
    ) -> list[MarketTick]:
        bars, symbol = self.bars, self.symbol
        index = bisect_left(bars.at_us, minute_us)
        if index == len(bars.at_us) or bars.at_us[index] != minute_us:
            if index == 0 or quoted:
                return []
            bid, ask, shown = self._standing(index - 1)
            return [MarketTick(at, symbol, bid, shown, ask, shown) for at in stamps]
        first, end = self._bar_days[day]
        volume = self._volume_before(day, bars.volume, first, end)[index - first]
        bids, asks, lasts, sizes, shown = path_of(*bars.row(index))
        ticks: list[MarketTick] = []
        for at, bid, ask, last, size in zip(stamps, bids, asks, lasts, sizes, strict=True):
            volume += size
            if not quoted:
                if last is None:
                    ticks.append(MarketTick(at, symbol, bid, shown, ask, shown))
                else:
                    ticks.append(MarketTick(at, symbol, bid, shown, ask, shown, last, size, volume))
            elif last is not None:
                ticks.append(MarketTick(at, symbol, last=last, last_size=size, volume=volume))
        return ticks

    def _standing(self, index: int) -> tuple[float, float, int]:
        """The quote (bid, ask, shares shown) that bar `index` leaves behind."""
        if self._left[0] != index:
            path = path_of(*self.bars.row(index))
            self._left = (index, path.bids[-1], path.asks[-1], path.shown)
        return self._left[1:]

    def _traded(self, day: date, minute_us: int, *, quoted: bool) -> list[MarketTick]:
        trades = self.trades
        first, end = _rows(trades.at_us, self._trade_days[day], minute_us, minute_us + MINUTE_US)
        if first == end:
            return []
        day_first, day_end = self._trade_days[day]
        volumes = self._volume_before(day, trades.size, day_first, day_end)
        ticks: list[MarketTick] = []
        for index in range(first, end):
            price, size = trades.price[index], trades.size[index]
            volume = volumes[index - day_first + 1]
            at = moment(trades.at_us[index])
            if quoted:
                ticks.append(MarketTick(at, self.symbol, last=price, last_size=size, volume=volume))
                continue
            bid, ask = quote_around(
                price, spread_at(price), rising=index == 0 or price >= trades.price[index - 1]
            )
            shown = shown_size(size)
            ticks.append(MarketTick(at, self.symbol, bid, shown, ask, shown, price, size, volume))
        return ticks

    def _quoted(self, rows: tuple[int, int], minute_us: int) -> list[MarketTick]:
        quotes = self.quotes
        first, end = _rows(quotes.at_us, rows, minute_us, minute_us + MINUTE_US)
        return [
            MarketTick(
                moment(quotes.at_us[index]),
                self.symbol,
                quotes.bid[index],
                quotes.bid_size[index],
                quotes.ask[index],
                quotes.ask_size[index],
            )
            for index in range(first, end)
        ]

    def _volume_before(self, day: date, sizes: array[int], first: int, end: int) -> list[int]:
        if self._volumes[0] != day:
            self._volumes = (day, list(accumulate(sizes[first:end], initial=0)))
        return self._volumes[1]

    # --- history ----------------------------------------------------------------------------------

    def prints(self, session: Session, from_us: int, to_us: int, *, whole_minutes: bool) -> Iterable[Print]:
        trade_days = self._trade_days.get(session.day)
        if trade_days is not None:
            trades = self.trades
            for index in range(*_rows(trades.at_us, trade_days, from_us, to_us)):
                price = trades.price[index]
                yield Print(trades.at_us[index], price, price, price, price, trades.size[index])
            return
        bars = self.bars
        for index in range(*_rows(bars.at_us, self._bar_days.get(session.day, _NO_ROWS), from_us, to_us)):
            if not whole_minutes:
                yield from prints_of(path_of(*bars.row(index)), bars.at_us[index])
                continue
            yield Print(bars.at_us[index], *bars.row(index))

    def close_before(self, at_us: int) -> float | None:
        bar, trade = bisect_left(self.bars.at_us, at_us) - 1, bisect_left(self.trades.at_us, at_us) - 1
        bar_us = self.bars.at_us[bar] if bar >= 0 else -1
        trade_us = self.trades.at_us[trade] if trade >= 0 else -1
        if bar < 0 and trade < 0:
            return None
        # Bars of a day with trades are not replayed, but their last close is that of the last trade.
        return self.trades.price[trade] if trade_us >= bar_us else self.bars.close[bar]


def _by_day(slices: Iterable[DaySlice]) -> dict[date, tuple[int, int]]:
    return {part.day: (part.first, part.end) for part in slices}


def _rows(at_us: array[int], within: tuple[int, int], from_us: int, to_us: int) -> tuple[int, int]:
    first = bisect_left(at_us, from_us, *within)
    return first, bisect_left(at_us, to_us, first, within[1])
