"""What a symbol sees: its bars of every size in use, and the figures that its rules name."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.indicators import build
from protocol.market_view import MarketView
from protocol.reports import HistoryLoaded, LinkState
from protocol.rules.indicator_names import IndicatorName
from protocol.session_market_data import Lines
from protocol.settings import Atr
from protocol.tws import messages as tws
from protocol.values import Bar, Tick, TickKind
from tests.bars_batch import CLOSING, OPENING, market, named
from tests.symbol_desk import SLV

SMA3 = named("sma3")
SLOW = named("sma", 2, bar_s=300)
MINUTE = timedelta(minutes=1)


def tick(at: datetime, price: float, kind: TickKind = TickKind.LAST, size: float = 1.0) -> Tick:
    return Tick(SLV, kind, price, size, at, price, price)


def bar(start: datetime, price: float) -> Bar:
    return Bar(start, price, price, price, price, 10.0)


def closes(view: MarketView, *prices: float, since: datetime = OPENING) -> None:
    """A trade in each minute from `since` on, and the end of the last one."""
    for number, price in enumerate(prices):
        view.tick(tick(since + number * MINUTE, price))
    view.advance(since + len(prices) * MINUTE)


def test_a_figure_changes_only_when_a_bar_is_complete() -> None:
    view = MarketView(Atr(), (SMA3,))
    closes(view, 10.0, 11.0)
    assert view.indicator(SMA3) is None
    closes(view, 12.0, since=OPENING + 2 * MINUTE)
    assert view.indicator(SMA3) == 11.0
    completed = view.bars.completed
    view.tick(tick(OPENING + 3 * MINUTE, 99.0))
    assert (view.indicator(SMA3), view.bars.completed) == (11.0, completed)


def test_a_quote_tells_that_a_bar_is_over() -> None:
    view = MarketView(Atr(), (named("sma1"),))
    view.tick(tick(OPENING, 10.0))
    view.tick(tick(OPENING + timedelta(seconds=59), 9.0, TickKind.BID))
    assert view.indicator(named("sma1")) is None
    view.tick(tick(OPENING + MINUTE, 9.0, TickKind.BID))
    assert view.indicator(named("sma1")) == 10.0


def test_each_size_of_bars_is_made_once_and_feeds_what_is_reckoned_on_it() -> None:
    view = MarketView(Atr(period=14, bar_s=60), (SMA3, SLOW, named("ema", 2, bar_s=300), named("atr14")))
    closes(view, *(float(price) for price in range(10, 20)))
    assert view.indicator(SMA3) == 18.0
    assert view.indicator(SLOW) == (14.0 + 19.0) / 2
    assert view.indicator(named("atr14")) == view.atr
    assert view.indicator(named("rsi14")) is None, "nobody asked for it to be followed"


def test_what_a_rule_asks_for_later_is_followed_from_then_on() -> None:
    view = MarketView(Atr())
    assert view.bars.follow((SMA3, SLOW)) == (60, 300)
    assert view.bars.follow((SMA3, SLOW)) == ()
    closes(view, 10.0, 11.0, 12.0)
    assert view.indicator(SMA3) == 11.0


def test_figures_of_sessions_have_bars_of_their_own_size() -> None:
    view = MarketView(Atr(bar_s=10), (named("vwap"), named("relative_volume")))
    assert view.bars.follow((named("opening_range.high"),)) == (60,)
    view.tick(tick(OPENING, 10.0))
    view.advance(OPENING + timedelta(seconds=59))
    assert view.indicator(named("vwap")) is None
    view.advance(OPENING + MINUTE)
    assert view.indicator(named("vwap")) == 10.0


def test_the_day_s_volume_and_the_close_before_it_are_kept() -> None:
    view = MarketView(Atr())
    assert (view.volume, view.previous_close) == (None, None)
    view.tick(tick(OPENING, 0.0, TickKind.VOLUME, 12_345.0))
    view.tick(tick(OPENING, 21.5, TickKind.PREVIOUS_CLOSE))
    assert (view.volume, view.previous_close) == (12_345.0, 21.5)
    assert view.heard_at is None, "neither is a word about the market now"


# --- history --------------------------------------------------------------------------------------


def test_intervals_without_a_trade_count_neither_in_history_nor_live() -> None:
    untraded = Bar(OPENING + MINUTE, 10.0, 10.0, 10.0, 10.0, 0.0)
    past = (bar(OPENING, 10.0), untraded, bar(OPENING + 2 * MINUTE, 12.0))
    warm, live = MarketView(Atr(), (named("sma2"),)), MarketView(Atr(), (named("sma2"),))
    warm.warm_up(HistoryLoaded(OPENING + 3 * MINUTE, SLV, 60, past))
    live.tick(tick(OPENING, 10.0))
    live.tick(tick(OPENING + 2 * MINUTE, 12.0))
    live.advance(OPENING + 3 * MINUTE)
    assert warm.indicator(named("sma2")) == live.indicator(named("sma2")) == 11.0


def test_an_answer_that_comes_after_the_next_bar_loses_none() -> None:
    view = MarketView(Atr(), (SMA3,))
    closes(view, 10.0, 11.0, 12.0)
    view.warm_up(
        HistoryLoaded(OPENING + 2 * MINUTE, SLV, 60, (bar(OPENING, 1.0), bar(OPENING + MINUTE, 2.0)))
    )
    assert view.indicator(SMA3) == (1.0 + 2.0 + 12.0) / 3


def test_the_bar_in_which_the_line_began_is_asked_for_again() -> None:
    view = MarketView(Atr(), (SLOW,))
    closes(view, *([10.0] * 6))
    assert view.bars.torn == [60, 300]
    view.bars.torn = []
    closes(view, *([10.0] * 10), since=OPENING + 6 * MINUTE)
    assert view.bars.torn == []
    view.link_changed(LinkState.DOWN, 1)
    closes(view, 10.0, since=OPENING + 16 * MINUTE)
    assert view.bars.torn == [60]


def test_a_day_of_history_is_a_session() -> None:
    name = named("sma", 2, bar_s=86_400)
    view = MarketView(Atr(), (name,))
    midnight = OPENING.replace(hour=4, minute=0) - timedelta(days=1)
    view.warm_up(HistoryLoaded(OPENING, SLV, 86_400, (bar(midnight, 10.0),)))
    view.tick(tick(OPENING, 12.0))
    view.tick(tick(CLOSING, 12.0, TickKind.BID))
    assert view.indicator(name) == 11.0


WORDS = (
    "sma5 ema5 rsi5 macd.signal bollinger5.upper adx5 stochastic5.d vwap obv opening_range.high dema5 psar"
)
EVERYTHING = tuple(named(word) for word in WORDS.split(" "))


@settings(max_examples=20)
@given(st.integers(1, 119))
def test_history_and_the_bars_after_it_are_as_good_as_all_bars_live(cut: int) -> None:
    bars = market(120, seed=3, bar_s=60)
    view = MarketView(Atr(period=5), EVERYTHING)
    view.warm_up(HistoryLoaded(bars[cut - 1].start + MINUTE, SLV, 60, tuple(bars[:cut])))
    for each in bars[cut:]:
        for second, price in ((1, each.open), (20, each.high), (40, each.low), (59, each.close)):
            view.tick(tick(each.start + timedelta(seconds=second), price, size=each.volume / 4))
    view.advance(bars[-1].start + MINUTE)
    for name in EVERYTHING:
        assert view.indicator(name) == pytest.approx(alone(name, bars), rel=1e-12), str(name)
    assert view.atr == pytest.approx(alone(named("atr5"), bars), rel=1e-12)


def alone(name: IndicatorName, bars: list[Bar]) -> float | None:
    indicator = build(name, 60)
    for each in bars:
        indicator.add(each)
    return indicator.figure(name.field)


def test_the_line_tells_the_day_s_volume_and_whoever_looks_later_is_told_it_again() -> None:
    lines = Lines()
    lines.open(7, SLV)
    said = [
        lines.tick(tws.TickSize(7, 8, Decimal(12_300)), OPENING),
        lines.tick(tws.TickSize(7, 8, Decimal(-1)), OPENING),
        lines.tick(tws.TickPrice(7, 9, 21.5, Decimal(0)), OPENING),
    ]
    volume = Tick(SLV, TickKind.VOLUME, 0.0, 12_300.0, OPENING, 0.0, 0.0)
    close = Tick(SLV, TickKind.PREVIOUS_CLOSE, 21.5, 0.0, OPENING, 21.5, 21.5)
    assert said == [volume, None, close]
    assert list(lines.standing(SLV)) == [close, volume]
