"""Bars of trades, of smaller bars and of history are the same bars, whatever their size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.bars import BarBuilder, interval_at, traded
from protocol.exchange.calendar import Session, session_of
from protocol.exchange.history import completed_bars, micros
from protocol.exchange.path import Print
from protocol.values import Bar, Tick, TickKind
from tests.bars_batch import CLOSING, OPENING
from tests.symbol_desk import SLV, TEN

SIZES_S = (5, 10, 60, 300, 3600, 7200, 86_400)


def trade(at: datetime, price: float, size: float = 1.0) -> Tick:
    return Tick(SLV, TickKind.LAST, price, size, at, price, price)


def after_open(second: float) -> datetime:
    return OPENING + timedelta(seconds=second)


def live_bars(bar_s: int, trades: Iterable[tuple[datetime, float, int]], until: datetime) -> list[Bar]:
    builder = BarBuilder(bar_s)
    found = [builder.add(trade(at, price, size)) for at, price, size in trades]
    found.append(builder.advance(until))
    return [bar for bar in found if bar is not None]


@attrs.frozen
class Tape:
    """What traded, as the simulated exchange's history reads it."""

    trades: tuple[tuple[datetime, float, int], ...]

    def prints(self, session: Session, from_us: int, to_us: int, *, whole_minutes: bool) -> Iterator[Print]:
        del session, whole_minutes  # every trade is a print of its own
        for at, price, size in self.trades:
            if from_us <= micros(at) < to_us:
                yield Print(micros(at), price, price, price, price, size)

    def close_before(self, at_us: int) -> float | None:
        return next((price for at, price, _ in reversed(self.trades) if micros(at) < at_us), None)


DAYS = tuple(session for day in (25, 26) if (session := session_of(date(2025, 9, day))) is not None)


@st.composite
def days(draw: st.DrawFn) -> tuple[tuple[datetime, float, int], ...]:
    """Trades of two days, in order, at quarters of seconds within and a little around regular hours."""
    quarters, cents = st.integers(-600, 4 * 23_900), st.integers(900, 1100)
    row = st.tuples(st.sampled_from(DAYS), quarters, cents, st.integers(1, 9))
    rows = draw(st.lists(row, min_size=1, max_size=40))
    told = [(day.start + timedelta(seconds=at / 4), price / 100, size) for day, at, price, size in rows]
    return tuple(sorted(told, key=lambda row: row[0]))


@settings(max_examples=40)
@given(days(), st.sampled_from(SIZES_S))
@pytest.mark.slow
def test_bars_of_trades_are_those_of_history(
    trades: tuple[tuple[datetime, float, int], ...], bar_s: int
) -> None:
    over = CLOSING + timedelta(hours=1)
    history = completed_bars(Tape(trades), reversed(DAYS), bar_s, over, 100_000)
    assert live_bars(bar_s, trades, over) == [bar for bar in history if traded(bar)]


@settings(max_examples=25)
@given(days(), st.sampled_from(SIZES_S[1:]))
@pytest.mark.slow
def test_bars_of_small_bars_are_those_of_trades(
    trades: tuple[tuple[datetime, float, int], ...], bar_s: int
) -> None:
    over = CLOSING + timedelta(hours=1)
    builder = BarBuilder(bar_s)
    small = completed_bars(Tape(trades), reversed(DAYS), 5, over, 100_000)
    folded = [builder.fold(bar) for bar in small if traded(bar)]
    folded.append(builder.advance(over))
    assert [bar for bar in folded if bar is not None] == live_bars(bar_s, trades, over)


# --- when a bar begins and ends -------------------------------------------------------------------


def test_hours_are_cut_by_the_opening_and_days_by_the_session() -> None:
    assert interval_at(after_open(0), 3600) == (OPENING, OPENING + timedelta(minutes=30))
    assert interval_at(TEN, 3600) == (TEN, TEN + timedelta(hours=1))
    assert interval_at(TEN, 86_400) == (OPENING, CLOSING)
    assert interval_at(CLOSING - timedelta(minutes=1), 7200) == (CLOSING - timedelta(hours=2), CLOSING)


def test_half_a_day_ends_its_last_bar_early() -> None:
    noon = datetime(2025, 11, 28, 17, 59, tzinfo=UTC)
    assert interval_at(noon, 7200) == (noon - timedelta(minutes=59), noon + timedelta(minutes=1))


def test_what_trades_out_of_hours_belongs_to_no_bar() -> None:
    builder = BarBuilder(60)
    assert builder.add(trade(after_open(-1), 10.0)) is None
    assert builder.end is None
    builder.add(trade(after_open(0), 11.0))
    assert builder.add(trade(CLOSING, 12.0)) == Bar(OPENING, 11.0, 11.0, 11.0, 11.0, 1.0)
    assert builder.end is None


def test_a_market_that_is_recorded_on_a_holiday_has_bars_all_the_same() -> None:
    sunday = datetime(2025, 9, 28, 3, 59, 30, tzinfo=UTC)  # the last minute of Saturday in New York
    midnight = sunday + timedelta(seconds=30)
    assert interval_at(sunday, 60) == (midnight - timedelta(minutes=1), midnight)
    assert interval_at(sunday, 86_400) == (midnight - timedelta(days=1), midnight)


def test_time_alone_ends_a_bar() -> None:
    builder = BarBuilder(60)
    builder.add(trade(after_open(5), 10.0))
    assert builder.advance(after_open(59)) is None
    assert builder.advance(after_open(60)) == Bar(OPENING, 10.0, 10.0, 10.0, 10.0, 1.0)
    assert builder.advance(after_open(120)) is None, "an interval without a trade is no bar"


def test_a_trade_that_comes_when_its_bar_is_over_belongs_to_the_next_one() -> None:
    builder = BarBuilder(60)
    builder.add(trade(after_open(5), 10.0))
    builder.advance(after_open(60))
    builder.add(trade(after_open(58), 9.0))
    assert builder.advance(after_open(120)) == Bar(after_open(60), 9.0, 9.0, 9.0, 9.0, 1.0)


# --- volume ---------------------------------------------------------------------------------------


def test_the_day_s_volume_counts_trades_that_were_never_sent() -> None:
    builder = BarBuilder(60)
    builder.add(trade(after_open(5), 10.0, 100.0))
    builder.count(1000.0)  # nobody knows what of it was before the bar
    assert builder.advance(after_open(60)) == Bar(OPENING, 10.0, 10.0, 10.0, 10.0, 100.0)
    builder.add(trade(after_open(61), 10.0, 100.0))
    builder.count(1350.0)
    second = builder.advance(after_open(120))
    assert second is not None
    assert second.volume == 350.0


def test_a_new_day_s_volume_begins_with_nothing() -> None:
    builder = BarBuilder(60)
    builder.count(5000.0)
    builder.add(trade(after_open(5), 10.0, 100.0))
    builder.count(130.0)
    bar = builder.advance(after_open(60))
    assert bar is not None
    assert bar.volume == 130.0


def test_the_first_bar_and_one_that_was_interrupted_may_lack_something() -> None:
    builder, torn = BarBuilder(60), []
    for minute in range(5):
        builder.add(trade(after_open(60 * minute + 5), 10.0))
        if minute == 2:
            builder.interrupt()
        builder.advance(after_open(60 * minute + 60))
        torn.append(builder.was_torn)
    assert torn == [True, False, True, True, False]


@pytest.mark.parametrize(
    ("bar", "tells"),
    [
        (Bar(OPENING, 9.0, 9.0, 9.0, 9.0, 5.0), True),
        (Bar(OPENING, 9.0, 9.1, 9.0, 9.0, 0.0), True),
        (Bar(OPENING, 9.0, 9.0, 9.0, 9.0, 0.0), False),
        (Bar(OPENING, 9.0, 9.0, 9.0, 9.0, float("inf")), False),
        (Bar(OPENING, 9.0, float("nan"), 9.0, 9.0, 5.0), False),
        (Bar(OPENING, 9.0, 9.0, 0.0, 9.0, 5.0), False),
    ],
    ids=["flat", "without volume", "no trade", "endless", "no number", "free"],
)
def test_a_bar_counts_when_something_traded_in_numbers(bar: Bar, tells: bool) -> None:
    assert traded(bar) is tells
