"""Figures of one session begin with it, and are not known for one that was not seen from its beginning."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from protocol.exchange.calendar import session_of
from protocol.indicators import Indicator, build
from protocol.indicators.sessions import OpeningRange
from protocol.values import Bar
from tests.bars_batch import OPENING, named

MINUTE = timedelta(minutes=1)


def opening_of(day: date) -> datetime:
    session = session_of(day)
    assert session is not None
    return session.start


THURSDAY = opening_of(date(2025, 9, 25))


def bar(start: datetime, price: float, volume: float = 100.0, height: float = 0.0) -> Bar:
    return Bar(start, price, price + height, price - height, price, volume)


def fed(indicator: Indicator, *bars: Bar, field: str = "") -> list[float | None]:
    found = []
    for each in bars:
        indicator.add(each)
        found.append(indicator.figure(field))
    return found


def test_the_average_price_begins_anew_with_each_session() -> None:
    vwap = build(named("vwap"), 60)
    said = fed(vwap, bar(THURSDAY, 10.0, 300.0), bar(THURSDAY + MINUTE, 14.0, 100.0), bar(OPENING, 20.0))
    assert said == [10.0, 11.0, 20.0]


def test_a_session_that_was_joined_late_has_no_average_price_until_the_next_one() -> None:
    vwap = build(named("vwap"), 60)
    assert fed(vwap, bar(THURSDAY + MINUTE, 10.0), bar(OPENING + MINUTE, 12.0)) == [None, 12.0]


def test_the_opening_range_is_known_when_its_minutes_are_over() -> None:
    bars = [bar(OPENING + n * MINUTE, 10.0 + n, height=0.5) for n in range(4)]
    assert fed(OpeningRange(3), *bars, field="high") == [None, None, 12.5, 12.5]
    assert fed(OpeningRange(3), *bars, field="low") == [None, None, 9.5, 9.5]


def test_the_opening_range_of_a_thin_symbol_is_known_with_its_next_bar() -> None:
    bars = [bar(THURSDAY, 1.0), bar(OPENING + MINUTE, 10.0), bar(OPENING + 9 * MINUTE, 99.0)]
    assert fed(OpeningRange(5), *bars, field="high") == [None, None, 10.0]


def test_an_opening_that_was_missed_has_no_range() -> None:
    bars = [bar(OPENING + n * MINUTE, 10.0) for n in range(1, 9)]
    assert set(fed(OpeningRange(3), *bars, field="high")) == {None}


def test_balance_volume_counts_from_the_close_of_the_day_before() -> None:
    obv = build(named("obv"), 60)
    bars = [bar(THURSDAY, 9.0), bar(OPENING, 10.0, 30.0), bar(OPENING + MINUTE, 10.0, 5.0)]
    assert fed(obv, *bars, bar(OPENING + 2 * MINUTE, 9.5, 70.0)) == [0.0, 30.0, 30.0, -40.0]


def test_relative_volume_compares_the_same_stretch_of_the_days_before() -> None:
    relative = build(named("relative_volume", 2), 300)
    days = [opening_of(date(2025, 9, day)) for day in (22, 23, 24)]
    five = timedelta(minutes=5)
    for opening, volume in zip(days[:2], (100.0, 300.0), strict=True):
        said = fed(relative, bar(opening, 9.0, volume), bar(opening + 3 * five, 9.0, volume))
        assert said == [None, None]
    today = days[2]
    bars = [bar(today, 9.0, 400.0), bar(today + five, 9.0, 400.0), bar(today + 3 * five, 9.0, 400.0)]
    assert fed(relative, *bars) == [2.0, 4.0, 3.0]


def test_half_a_day_counts_with_all_it_had() -> None:
    relative = build(named("relative_volume", 1), 300)
    half, monday = opening_of(date(2025, 11, 28)), opening_of(date(2025, 12, 1))
    fed(relative, bar(half, 9.0, 100.0), bar(half + timedelta(hours=3), 9.0, 100.0))
    late = monday + timedelta(hours=6)
    assert fed(relative, bar(monday, 9.0, 100.0), bar(late, 9.0, 100.0)) == [1.0, 1.0]


def test_a_day_that_was_joined_late_is_nothing_to_compare_with() -> None:
    relative = build(named("relative_volume", 1), 300)
    said = fed(relative, bar(THURSDAY + 5 * MINUTE, 9.0), bar(OPENING, 9.0), bar(OPENING + 5 * MINUTE, 9.0))
    assert said == [None, None, None]
    monday = opening_of(date(2025, 9, 29))
    assert fed(relative, bar(monday, 9.0, 50.0)) == [0.5]
