"""Bars of the past are asked for once, kept, and believed for as long as the broker's own agree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from actors.history_cache import FILE, HistoryCache
from protocol.commands import AskHistory
from protocol.exchange.calendar import is_open, session_of
from protocol.reports import HistoryLoaded
from protocol.settings import Atr
from protocol.values import Bar, Symbol
from protocol.warm_up import BarStore, WarmUp, history_needs, intervals, join
from tests.bars_batch import CLOSING, OPENING, named
from tests.symbol_desk import SLV

MINUTE = timedelta(minutes=1)
ATR = Atr(period=2, bar_s=60)
WANTED = 21
"""Bars of a minute that this ATR asks for."""


def price_bar(start: datetime, price: float | None = None) -> Bar:
    value = start.minute + 1.0 if price is None else price
    return Bar(start, value, value + 0.5, value - 0.5, value, 100.0)


def broker_bars(at: datetime, count: int, bar_s: int = 60) -> tuple[Bar, ...]:
    """The last `count` bars of regular hours that were complete by `at`."""
    found: list[Bar] = []
    start = at - timedelta(seconds=at.timestamp() % bar_s)
    while len(found) < count:
        start -= timedelta(seconds=bar_s)
        if is_open(start):
            found.append(price_bar(start))
    return tuple(reversed(found))


def answered(warm_up: WarmUp, at: datetime) -> tuple[int, HistoryLoaded | AskHistory]:
    """Ask at `at`, and hear what the broker says to it; how many bars that was."""
    (ask,) = warm_up.asks(1, at)
    answer = HistoryLoaded(at, SLV, ask.bar_s, broker_bars(at, ask.count))
    return ask.count, warm_up.hear(answer, 1)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[HistoryCache]:
    found = HistoryCache(tmp_path / FILE, "here")
    yield found
    found.close()


def loaded(heard: HistoryLoaded | AskHistory) -> tuple[Bar, ...]:
    assert isinstance(heard, HistoryLoaded)
    return heard.bars


# --- what is asked --------------------------------------------------------------------------------


def test_each_size_of_bars_is_asked_for_once_with_its_longest_need() -> None:
    names = (named("sma", 200), named("sma", 50), named("rsi", 14, bar_s=300), named("vwap"))
    assert history_needs(Atr(), names) == {60: 392, 300: 141}
    asks = WarmUp(SLV, Atr(), names).asks(7, OPENING)
    assert asks == (AskHistory(SLV, 7, 60, 392), AskHistory(SLV, 7, 300, 141))


def test_only_some_sizes_can_be_asked_for_again() -> None:
    names = (named("rsi", 14, bar_s=300),)
    assert [ask.bar_s for ask in WarmUp(SLV, Atr(), names).asks(1, OPENING, (300,))] == [300]


@pytest.mark.parametrize(
    ("start", "end", "bar_s", "count"),
    [
        (OPENING, OPENING + 5 * MINUTE, 60, 5),
        (OPENING, OPENING + 5 * MINUTE + timedelta(seconds=1), 60, 6),
        (CLOSING - MINUTE, CLOSING + timedelta(days=2, hours=17, minutes=30), 60, 1),
        (CLOSING - MINUTE, OPENING + timedelta(days=3, minutes=2), 60, 3),
        (OPENING, CLOSING, 3600, 7),
        (OPENING, OPENING + timedelta(days=4), 86_400, 2),
    ],
    ids=["minutes", "one begun", "weekend", "over a weekend", "hours", "days"],
)
def test_closed_hours_hold_no_bars(start: datetime, end: datetime, bar_s: int, count: int) -> None:
    assert intervals(start, end, bar_s, most=1000) == count


# --- what is kept ---------------------------------------------------------------------------------


def test_a_restart_asks_only_for_what_it_has_not_seen(cache: HistoryCache) -> None:
    first = WarmUp(SLV, ATR, (), cache)
    assert answered(first, OPENING + 60 * MINUTE)[0] == WANTED
    at = OPENING + 65 * MINUTE
    count, heard = answered(WarmUp(SLV, ATR, (), cache), at)
    assert count == 8, "five new ones, the last one kept, and one on either side"
    assert loaded(heard) == broker_bars(at, WANTED)


def test_a_second_link_asks_only_for_what_came_since(cache: HistoryCache) -> None:
    warm_up = WarmUp(SLV, ATR, ())
    answered(warm_up, OPENING + 60 * MINUTE)
    count, heard = answered(warm_up, OPENING + 61 * MINUTE)
    assert count < WANTED
    assert loaded(heard) == broker_bars(OPENING + 61 * MINUTE, WANTED)


def test_after_a_long_time_all_is_asked_anew(cache: HistoryCache) -> None:
    answered(WarmUp(SLV, ATR, (), cache), OPENING + 60 * MINUTE)
    assert answered(WarmUp(SLV, ATR, (), cache), OPENING + 120 * MINUTE)[0] == WANTED


def test_a_market_that_is_replayed_again_takes_no_bars_of_its_future(cache: HistoryCache) -> None:
    answered(WarmUp(SLV, ATR, (), cache), OPENING + 60 * MINUTE)
    at = OPENING + 50 * MINUTE
    _, heard = answered(WarmUp(SLV, ATR, (), cache), at)
    assert loaded(heard) == broker_bars(at, WANTED)


def test_history_that_was_restated_is_asked_anew(cache: HistoryCache) -> None:
    answered(WarmUp(SLV, ATR, (), cache), OPENING + 60 * MINUTE)
    warm_up, at = WarmUp(SLV, ATR, (), cache), OPENING + 62 * MINUTE
    (ask,) = warm_up.asks(1, at)
    halved = tuple(attrs.evolve(bar, close=bar.close / 2) for bar in broker_bars(at, WANTED))
    heard = warm_up.hear(HistoryLoaded(at, SLV, 60, halved[-ask.count :]), 1)
    assert heard == AskHistory(SLV, 1, 60, WANTED)
    assert loaded(warm_up.hear(HistoryLoaded(at, SLV, 60, halved), 1)) == halved
    assert cache.bars(SLV, 60) == halved


def test_a_broker_without_history_changes_nothing(cache: HistoryCache) -> None:
    answered(WarmUp(SLV, ATR, (), cache), OPENING + 60 * MINUTE)
    kept = cache.bars(SLV, 60)
    warm_up = WarmUp(SLV, ATR, (), cache)
    warm_up.asks(1, OPENING + 61 * MINUTE)
    nothing = HistoryLoaded(OPENING + 61 * MINUTE, SLV, 60, ())
    assert warm_up.hear(nothing, 1) == nothing
    assert cache.bars(SLV, 60) == kept


@settings(max_examples=30)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=6))
def test_whenever_it_is_asked_the_result_is_what_the_broker_has(pauses: list[int]) -> None:
    warm_up, at = WarmUp(SLV, ATR, ()), OPENING + 60 * MINUTE
    for pause in pauses:
        at += pause * MINUTE
        assert loaded(answered(warm_up, at)[1]) == broker_bars(at, WANTED)


def test_bars_with_a_gap_between_them_are_not_joined() -> None:
    bars = broker_bars(CLOSING, 10)
    assert join(bars[:4], bars[4:]) is None
    assert join(bars[:4], bars[3:]) == bars
    assert join(bars, bars[:4]) is None, "the broker has less than we do"


# --- on disk --------------------------------------------------------------------------------------


def test_bars_come_back_as_they_were_kept_days_in_order(cache: HistoryCache) -> None:
    bars = (price_bar(OPENING - timedelta(days=1)), price_bar(OPENING), price_bar(OPENING + MINUTE, 1 / 3))
    cache.keep(SLV, 60, bars, changed=3)
    cache.keep(Symbol("GLD"), 60, bars[:1], changed=1)
    assert cache.bars(SLV, 60) == bars
    assert (cache.bars(SLV, 10), cache.bars(Symbol("GLD"), 60)) == ((), bars[:1])


def test_only_the_days_that_changed_are_written_and_old_ones_go(cache: HistoryCache) -> None:
    opening = session_of(date(2025, 7, 1))
    assert opening is not None
    old, yesterday, today = (
        price_bar(opening.start),
        price_bar(OPENING - timedelta(days=1)),
        price_bar(OPENING),
    )
    cache.keep(SLV, 60, (old, yesterday), changed=2)
    assert cache.bars(SLV, 60) == (yesterday,), "too long ago to be worth keeping"
    cache.keep(SLV, 60, (attrs.evolve(yesterday, close=1.0), today), changed=1)
    assert cache.bars(SLV, 60) == (yesterday, today), "what is said to be kept is not written again"


def test_another_market_begins_with_nothing(tmp_path: Path) -> None:
    first = HistoryCache(tmp_path / FILE, "here")
    first.keep(SLV, 60, (price_bar(OPENING),), changed=1)
    first.close()
    again = HistoryCache(tmp_path / FILE, "here")
    assert len(again.bars(SLV, 60)) == 1
    again.close()
    other = HistoryCache(tmp_path / FILE, "there")
    assert other.bars(SLV, 60) == ()
    other.close()


def spoil_row(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE day SET bars = CAST(replace(bars, '100', '999') AS BLOB)")
    connection.commit()
    connection.close()


def spoil_version(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


@pytest.mark.parametrize(
    "spoil",
    [lambda path: path.write_bytes(b"no database at all" * 100), spoil_row, spoil_version],
    ids=["another file", "a changed figure", "another version"],
)
def test_a_damaged_file_is_thrown_away_with_a_warning(tmp_path: Path, spoil: object) -> None:
    path = tmp_path / FILE
    first = HistoryCache(path, "here")
    first.keep(SLV, 60, (price_bar(OPENING),), changed=1)
    first.close()
    assert callable(spoil)
    spoil(path)
    with capture_logs() as logs:
        cache = HistoryCache(path, "here")
        assert cache.bars(SLV, 60) == ()
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("warning", "the kept history is thrown away")
    ]
    cache.keep(SLV, 60, (price_bar(OPENING),), changed=1)
    assert len(cache.bars(SLV, 60)) == 1
    cache.close()


def test_a_folder_that_cannot_be_written_means_no_memory_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with capture_logs() as logs:
        cache: BarStore = HistoryCache(tmp_path / "file" / FILE, "here")
        cache.keep(SLV, 60, (price_bar(OPENING),), changed=1)
        assert cache.bars(SLV, 60) == ()
    assert logs[-1]["event"] == "history is not kept"


def test_times_come_back_in_utc(cache: HistoryCache) -> None:
    cache.keep(SLV, 60, (price_bar(OPENING),), changed=1)
    (bar,) = cache.bars(SLV, 60)
    assert bar.start.tzinfo is UTC
