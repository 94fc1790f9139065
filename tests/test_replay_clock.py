"""Market time of a replay: as fast as asked, without the closed hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.calendar import Session, session_of
from protocol.exchange.replay_clock import LEAD, TAIL, Boundary, ReplayClock, Turn, boundaries


def trading_day(day: date) -> Session:
    session = session_of(day)
    assert session is not None
    return session


THURSDAY = trading_day(date(2025, 1, 23))
FRIDAY = trading_day(date(2025, 1, 24))
DAYS = (THURSDAY, FRIDAY)
WINDOW_S = 6.5 * 3600 + (LEAD + TAIL).total_seconds()


def test_the_clock_stands_just_before_the_opening_until_it_begins() -> None:
    clock = ReplayClock(DAYS, speed=60)
    assert clock.market_at(1000.0) == THURSDAY.start - timedelta(seconds=30)
    clock.begin(1000.0)
    assert clock.market_at(1001.0) == THURSDAY.start + timedelta(seconds=30)


def test_closed_hours_are_skipped_from_a_little_after_one_session_to_a_little_before_the_next() -> None:
    clock = ReplayClock(DAYS, speed=1)
    clock.begin(0.0)
    assert clock.market_at(WINDOW_S) == THURSDAY.end + TAIL
    assert clock.market_at(WINDOW_S + 1) == FRIDAY.start - LEAD + timedelta(seconds=1)
    assert clock.loop_s_of(FRIDAY.start) == WINDOW_S + 30
    assert clock.loop_s_of(THURSDAY.end + timedelta(hours=5)) == WINDOW_S


def test_the_clock_ends_with_the_last_session() -> None:
    clock = ReplayClock(DAYS, speed=3600)
    clock.begin(0.0)
    end = FRIDAY.end + TAIL
    assert clock.market_at(1e6) == end
    assert (clock.over_at(end), clock.over_at(end - timedelta(seconds=1))) == (True, False)
    assert clock.loop_s_of(end + timedelta(seconds=1)) is None


def test_a_start_in_the_middle_is_where_it_begins() -> None:
    noon = THURSDAY.start + timedelta(hours=2.5)
    clock = ReplayClock(DAYS, speed=1, start=noon)
    clock.begin(0.0)
    assert clock.market_at(0.0) == noon


def test_a_start_in_closed_hours_is_the_next_opening() -> None:
    night = THURSDAY.end + timedelta(hours=4)
    assert ReplayClock(DAYS, speed=1, start=night).start == FRIDAY.start - LEAD


def test_sessions_that_touch_give_no_time_twice() -> None:
    noon = THURSDAY.start + timedelta(hours=2)
    halves = (Session(THURSDAY.day, THURSDAY.start, noon), Session(THURSDAY.day, noon, THURSDAY.end))
    clock = ReplayClock(halves, speed=1)
    clock.begin(0.0)
    assert clock.market_at(2 * 3600 + 30 + 600) == noon + timedelta(minutes=10)


def test_a_start_after_everything_and_a_speed_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no session"):
        ReplayClock(DAYS, speed=1, start=datetime(2025, 2, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="positive"):
        ReplayClock(DAYS, speed=0)


@given(st.floats(0, 2 * WINDOW_S), st.floats(0.5, 1000))
def test_the_moment_of_a_market_time_is_found_again(run_s: float, speed: float) -> None:
    clock = ReplayClock(DAYS, speed=speed)
    clock.begin(50.0)
    market = clock.market_at(50.0 + run_s / speed)
    moment = clock.loop_s_of(market)
    assert moment is not None
    assert abs(moment - 50.0 - run_s / speed) < 1e-4


@given(st.lists(st.floats(0, 3 * WINDOW_S), min_size=2))
def test_market_time_never_runs_backwards(moments: list[float]) -> None:
    clock = ReplayClock(DAYS, speed=7)
    clock.begin(0.0)
    shown = [clock.market_at(moment) for moment in sorted(moments)]
    assert shown == sorted(shown)


def test_a_regular_day_opens_closes_and_ends() -> None:
    assert list(boundaries([THURSDAY])) == [
        Boundary(THURSDAY.start, Turn.OPENS),
        Boundary(THURSDAY.end, Turn.CLOSES),
        Boundary(THURSDAY.end, Turn.DAY_ENDS),
    ]


def test_the_regular_hours_of_an_extended_day_lie_within() -> None:
    extended = Session(THURSDAY.day, THURSDAY.start - timedelta(hours=5.5), THURSDAY.end + timedelta(hours=4))
    assert list(boundaries([extended])) == [
        Boundary(THURSDAY.start, Turn.OPENS),
        Boundary(THURSDAY.end, Turn.CLOSES),
        Boundary(extended.end, Turn.DAY_ENDS),
    ]
