"""The trading day of a schedule: until when to enter, when to flatten."""

from __future__ import annotations

from datetime import UTC, datetime, time

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.schedule import DayPhase, TradingDay, day_of, phase
from protocol.settings import Schedule

DAY = Schedule()


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2025-09-26 13:29:59", DayPhase.CLOSED),
        ("2025-09-26 13:30:00", DayPhase.OPEN),
        ("2025-09-26 19:44:59", DayPhase.OPEN),
        ("2025-09-26 19:45:00", DayPhase.NO_ENTRIES),
        ("2025-09-26 19:59:00", DayPhase.FLATTEN),
        ("2025-09-26 20:00:00", DayPhase.CLOSED),
        ("2025-09-27 15:00:00", DayPhase.CLOSED),  # a Saturday
        ("2025-12-25 15:00:00", DayPhase.CLOSED),
        ("2025-12-01 14:29:59", DayPhase.CLOSED),  # winter: New York is five hours behind
        ("2025-12-01 14:30:00", DayPhase.OPEN),
    ],
)
def test_the_phases_of_a_day(at: str, expected: DayPhase) -> None:
    assert phase(DAY, utc(at)) is expected


def test_a_half_day_ends_three_hours_early_with_all_that_comes_before_its_end() -> None:
    assert day_of(DAY, utc("2025-11-28 15:00:00")) == TradingDay(
        open=utc("2025-11-28 14:30:00"),
        no_entries_after=utc("2025-11-28 17:45:00"),
        flatten=utc("2025-11-28 17:59:00"),
        close=utc("2025-11-28 18:00:00"),
    )
    assert phase(DAY, utc("2025-11-28 17:59:00")) is DayPhase.FLATTEN


def test_an_own_schedule_may_begin_later_and_flatten_earlier() -> None:
    late = attrs.evolve(DAY, open=time(10, 0), flatten=time(15, 30), no_entries_after=time(15, 0))
    assert phase(late, utc("2025-09-26 13:45:00")) is DayPhase.CLOSED
    assert phase(late, utc("2025-09-26 19:30:00")) is DayPhase.FLATTEN


@given(st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_day_runs_from_open_to_close_in_order(at: datetime) -> None:
    day = day_of(DAY, at)
    if day is not None:
        assert day.open < day.no_entries_after < day.flatten < day.close
