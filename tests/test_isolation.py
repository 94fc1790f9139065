"""The measurement of what one symbol's death costs the others: its arithmetic, and that it runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.isolation import Death, Handled, histogram, measure, percentile, tell, windows


def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed() -> None:
    values = [float(number) for number in range(1, 1001)]
    assert [percentile(values, part) for part in (0.5, 0.99, 0.999, 1.0)] == [500.0, 990.0, 999.0, 1000.0]
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) == 0.0


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_and_enough_are_no_larger(values: list[float], part: float) -> None:
    found = percentile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= part * len(values) - 1e-9


def test_a_window_holds_what_was_read_in_it_and_nothing_of_the_dead() -> None:
    deaths = [Death("A", 1.0, 0.1), Death("B", 2.0, 0.1)]
    ticks = [
        Handled("B", 0.999, 0.1),  # before
        Handled("B", 1.000, 0.2),
        Handled("A", 1.020, 0.3),  # of the dead one
        Handled("C", 1.049, 0.4),
        Handled("C", 1.050, 0.5),  # after
        Handled("A", 2.010, 0.6),
        Handled("B", 2.010, 0.7),
        Handled("C", 2.510, 0.8),
    ]
    assert windows(ticks, deaths, after_s=0.0) == [0.2, 0.4, 0.6]
    assert windows(list(reversed(ticks)), deaths, after_s=0.5) == [0.8]
    assert windows(ticks, [], after_s=0.0) == []


def test_a_histogram_counts_each_delay_once() -> None:
    delays = [0.0001, 0.0003, 0.0004, 0.030, 0.2]
    rows = [line.split() for line in histogram((("some", delays), ("none", ())))]
    counts = [int(row[3]) for row in rows[1:11]]
    assert counts == [1, 2, 0, 0, 0, 0, 0, 1, 0, 1]
    assert [row[:3] for row in rows[-4:]] == [
        ["p50", "0.40", "ms"], ["p99", "200.00", "ms"], ["p99.9", "200.00", "ms"], ["max", "200.00", "ms"]
    ]  # fmt: skip


@pytest.mark.slow
def test_inv_19_each_killed_symbol_restarts_alone_and_nothing_of_the_broker_is_lost() -> None:
    measured = measure(3.0, 5, embedded=True, settle_s=0.5)
    assert measured.faults == ()
    assert len(measured.ready_s) == 2
    assert len(measured.quiet) > 50
    assert len(list(tell(measured))) == 19
