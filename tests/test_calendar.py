"""The New York Stock Exchange's days and hours."""

from datetime import UTC, date, datetime, time, timedelta

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.calendar import (
    Session,
    is_half_day,
    is_open,
    is_trading_day,
    new_york,
    next_session,
    next_trading_day,
    previous_trading_day,
    session_at,
    session_of,
)

days = st.dates(date(2004, 1, 1), date(2060, 12, 31))
moments = st.datetimes(datetime(2004, 1, 1), datetime(2060, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001


def test_a_winter_day_trades_from_half_past_two_to_nine_in_the_evening_utc() -> None:
    assert session_of(date(2025, 1, 23)) == Session(
        date(2025, 1, 23), datetime(2025, 1, 23, 14, 30, tzinfo=UTC), datetime(2025, 1, 23, 21, tzinfo=UTC)
    )


def test_a_summer_day_trades_an_hour_earlier_in_utc() -> None:
    assert session_of(date(2025, 7, 2)) == Session(
        date(2025, 7, 2), datetime(2025, 7, 2, 13, 30, tzinfo=UTC), datetime(2025, 7, 2, 20, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    "day",
    [
        date(2025, 1, 25),  # a Saturday
        date(2025, 1, 9),  # mourning of President Carter
        date(2012, 10, 29),  # Hurricane Sandy
        date(2025, 4, 18),  # Good Friday
        date(2022, 6, 20),  # Juneteenth, observed
        date(2026, 7, 3),  # Independence Day on a Saturday, observed on Friday
        date(2021, 12, 24),  # Christmas on a Saturday, observed on Friday
    ],
)
def test_the_exchange_is_closed_on(day: date) -> None:
    assert not is_trading_day(day)
    assert session_of(day) is None
    assert not is_half_day(day)


@pytest.mark.parametrize(
    "day",
    [
        date(2023, 7, 3),
        date(2024, 7, 3),
        date(2025, 7, 3),
        date(2024, 11, 29),
        date(2025, 11, 28),
        date(2018, 12, 24),
        date(2025, 12, 24),
    ],
)
def test_the_exchange_closes_at_one_on(day: date) -> None:
    session = session_of(day)
    assert session is not None
    assert session.end == new_york(day, time(13))
    assert is_open(session.end - timedelta(seconds=1))
    assert not is_open(session.end)


@pytest.mark.parametrize(
    "day", [date(2022, 7, 1), date(2016, 7, 1), date(2021, 12, 31), date(2022, 12, 23), date(2021, 7, 2)]
)
def test_the_exchange_trades_to_four_on_the_last_day_before_a_holiday_that_falls_on_or_is_moved_to_a_monday(
    day: date,
) -> None:
    session = session_of(day)
    assert session is not None
    assert session.end == new_york(day, time(16))


def test_half_days_agree_with_the_holidays_package_which_lists_them_one_by_one() -> None:
    listed = holidays.financial_holidays("NYSE", categories=("half_day",))
    day = date(2004, 1, 1)
    while day < date(2035, 1, 1):
        assert is_half_day(day) == (day in listed and day.weekday() < 5), day
        day += timedelta(days=1)


def test_the_opening_instant_is_open_and_the_closing_one_is_not() -> None:
    session = next_session(datetime(2025, 1, 23, tzinfo=UTC))
    assert is_open(session.start)
    assert not is_open(session.start - timedelta(microseconds=1))
    assert is_open(session.end - timedelta(microseconds=1))
    assert not is_open(session.end)


def test_over_a_long_weekend_the_next_session_is_on_tuesday() -> None:
    friday_night = datetime(2025, 1, 18, 1, tzinfo=UTC)
    assert next_session(friday_night).day == date(2025, 1, 21)


@given(days)
def test_the_days_before_and_after_a_day_are_neighbours(day: date) -> None:
    after = next_trading_day(day)
    assert after.day > day
    assert previous_trading_day(after.day).day <= day or session_of(day) is None
    assert next_trading_day(previous_trading_day(day).day).day >= day or session_of(day) is None


@given(moments)
def test_the_next_session_is_the_one_in_progress_or_starts_later(at: datetime) -> None:
    session = next_session(at)
    assert at < session.end
    assert is_open(at) == session.contains(at)
    assert session_at(at) == (session if session.contains(at) else None)
    assert session.start - at < timedelta(days=6)
