"""Bars from ticks, and the average true range from bars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.bars import BarBuilder
from protocol.indicators import AverageTrueRange
from protocol.market_view import MarketView
from protocol.reports import HistoryLoaded
from protocol.settings import Atr
from protocol.values import Bar, Tick, TickKind
from tests.symbol_desk import SLV, TEN


def trade(second: float, price: float, size: float = 1.0, spread: float = 0.0) -> Tick:
    at = TEN + timedelta(seconds=second)
    return Tick(SLV, TickKind.LAST, price, size, at, price - spread, price + spread)


def bar(minute: int, high: float, low: float, close: float) -> Bar:
    return Bar(TEN + timedelta(minutes=minute), close, high, low, close, 100.0)


def test_a_bar_is_complete_with_the_first_trade_after_it() -> None:
    bars = BarBuilder(60)
    said = [bars.add(trade(s, p)) for s, p in ((0, 10.0), (20, 12.0), (40, 9.0), (59, 11.0), (60, 11.5))]
    assert said[:4] == [None] * 4
    assert said[4] == Bar(TEN, 10.0, 12.0, 9.0, 11.0, 4.0)


def test_a_merged_tick_gives_the_bar_its_whole_range() -> None:
    bars = BarBuilder(60)
    bars.add(trade(0, 10.0, spread=2.0))
    assert bars.add(trade(60, 10.0)) == Bar(TEN, 10.0, 12.0, 8.0, 10.0, 1.0)


def test_a_late_tick_belongs_to_the_bar_in_the_making() -> None:
    bars = BarBuilder(60)
    bars.add(trade(60, 10.0))
    bars.add(trade(59, 8.0))
    assert bars.add(trade(120, 10.0)) == Bar(TEN + timedelta(minutes=1), 10.0, 10.0, 8.0, 8.0, 2.0)


@given(st.lists(st.tuples(st.integers(0, 600), st.floats(1, 1000)), min_size=1))
def test_no_trade_is_lost_between_bars(trades: list[tuple[int, float]]) -> None:
    bars, volume = BarBuilder(60), 0.0
    for second, price in sorted(trades):
        done = bars.add(trade(second, price))
        if done is not None:
            volume += done.volume
            assert done.low <= min(done.open, done.close) <= max(done.open, done.close) <= done.high
            assert done.start.timestamp() % 60 == 0
    last = bars.add(trade(10_000, 1.0))
    assert last is not None
    assert volume + last.volume == len(trades)


def test_a_bar_and_an_average_need_a_length() -> None:
    with pytest.raises(ValueError, match="a bar lasts"):
        BarBuilder(0)
    with pytest.raises(ValueError, match="at least 1"):
        AverageTrueRange(0)


def test_the_average_true_range_is_wilders() -> None:
    atr = AverageTrueRange(3)
    for high, low, close in ((12.0, 10.0, 11.0), (13.0, 11.0, 12.0)):
        atr.add(bar(0, high, low, close))
        assert atr.value is None
    atr.add(bar(0, 17.0, 15.0, 16.0))  # a gap from 12: the true range is 5, not 2
    assert atr.value == pytest.approx((2 + 2 + 5) / 3)
    atr.add(bar(0, 17.0, 16.0, 16.0))
    assert atr.value == pytest.approx(3 + (1 - 3) / 3)


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(0, 10)), min_size=14, max_size=60))
def test_the_average_lies_within_the_true_ranges(bars: list[tuple[float, float]]) -> None:
    atr, last, ranges = AverageTrueRange(14), None, []
    for low, height in bars:
        high = low + height
        ranges.append(max(high, last or high) - min(low, low if last is None else last))
        last = low
        atr.add(bar(0, high, low, low))
    assert atr.value is not None
    assert min(ranges) - 1e-9 <= atr.value <= max(ranges) + 1e-9


def test_a_view_warms_up_from_history_and_counts_no_bar_twice() -> None:
    view = MarketView(Atr(period=2, bar_s=60))
    past = tuple(bar(minute, 10.0, 8.0, 9.0) for minute in (-2, -1, 0))
    view.warm_up(HistoryLoaded(TEN, SLV, 60, past))
    assert view.atr == 2.0
    view.tick(trade(10, 90.0))
    view.tick(trade(60, 9.0))
    assert view.atr == 2.0, "the bar of minute 0 is part of the history"
    view.tick(trade(130, 9.0))
    assert view.atr == 1.0


def test_history_of_another_bar_size_is_not_taken() -> None:
    view = MarketView(Atr(period=1, bar_s=60))
    view.warm_up(HistoryLoaded(TEN, SLV, 30, (bar(0, 10.0, 8.0, 9.0),)))
    assert view.atr is None


def test_a_quote_is_as_old_as_the_last_word_of_its_line() -> None:
    view = MarketView(Atr())
    at = datetime(2025, 9, 26, 14, 0, tzinfo=UTC)
    view.tick(Tick(SLV, TickKind.BID, 9.0, 1, at, 9.0, 9.0))
    assert view.quote_age_s(at) is None, "one side is no quote"
    view.tick(Tick(SLV, TickKind.ASK, 9.1, 1, at + timedelta(seconds=3), 9.1, 9.1))
    assert view.quote_age_s(at + timedelta(seconds=4)) == 1.0
    view.tick(Tick(SLV, TickKind.LAST, 9.1, 1, at + timedelta(seconds=60), 9.1, 9.1))
    assert view.quote_age_s(at + timedelta(seconds=62)) == 2.0, "a standing quote is told once"
