"""Recorded days, replayed: ticks, sessions, history."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.exchange.calendar import Session, new_york
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import DAY_S, micros
from protocol.exchange.market import Market, RecordedMarket
from protocol.exchange.path import path_of
from protocol.exchange.series import bars_from, quotes_from, trades_from
from protocol.exchange.tape import Tape
from protocol.values import Bar

DAY = date(2025, 1, 23)
OPEN = new_york(DAY, time(9, 30))
CLOSE = new_york(DAY, time(16, 0))
MINUTE = timedelta(minutes=1)

BarRow = tuple[int, float, float, float, float, int]


def at(clock: str, day: date = DAY) -> datetime:
    return new_york(day, time.fromisoformat(clock))


def bar_row(clock: str, *ohlc: float, volume: int = 1200, day: date = DAY) -> BarRow:
    opened, high, low, close = ohlc
    return micros(at(clock, day)), opened, high, low, close, volume


def barred(symbol: str, *rows: BarRow) -> Tape:
    return Tape(symbol, bars=bars_from(rows))


SLV = barred(
    "SLV", bar_row("09:31", 28.0, 28.1, 27.95, 28.05), bar_row("09:33", 28.0, 28.0, 27.9, 27.9, volume=30)
)
IBM = Tape(
    "IBM",
    trades=trades_from([(micros(at("09:30:01.500")), 181.5, 100), (micros(at("09:30:02")), 181.6, 50)]),
    quotes=quotes_from(
        [
            (micros(at("09:30:01")), 181.4, 300, 181.6, 100),
            (micros(at("09:30:02")), 0.0, 0, 181.6, 200),
            (micros(at("09:30:03")), 181.7, 100, 181.6, 200),
        ]
    ),
)


def minute_of(market: Market, clock: str) -> list[MarketTick]:
    start = at(clock)
    return list(takewhile(lambda tick: tick.at < start + MINUTE, market.ticks(start)))


# --- ticks ----------------------------------------------------------------------------------------


def test_a_bar_is_replayed_as_twelve_ticks_at_fixed_seconds_along_its_path() -> None:
    path = path_of(28.0, 28.1, 27.95, 28.05, 1200)
    expected = [
        MarketTick(
            at("09:31") + timedelta(seconds=5 * index),
            "SLV",
            path.bids[index],
            100,
            path.asks[index],
            100,
            path.lasts[index],
            100,
            100 * (index + 1),
        )
        for index in range(12)
    ]
    assert minute_of(RecordedMarket([SLV]), "09:31") == expected


def test_in_a_minute_without_a_bar_the_quote_stands_and_nothing_trades() -> None:
    market = RecordedMarket([SLV])
    last = minute_of(market, "09:31")[-1]
    assert minute_of(market, "09:32") == [
        MarketTick(at("09:32") + timedelta(seconds=second), "SLV", last.bid, 100, last.ask, 100)
        for second in range(0, 60, 5)
    ]


def test_the_last_quote_stands_to_the_close_and_the_volume_counts_the_day() -> None:
    ticks = list(RecordedMarket([SLV]).ticks(OPEN))
    assert ticks[0].at == at("09:31")
    assert ticks[-1].at == CLOSE - timedelta(seconds=5)
    assert len(ticks) == 12 * 389
    assert [tick.volume for tick in ticks if tick.volume is not None][-1] == 1230


def test_before_the_first_bar_there_is_nothing_to_quote() -> None:
    assert minute_of(RecordedMarket([SLV]), "09:30") == []


def test_trades_and_quotes_come_as_recorded_even_one_sided_and_crossed_ones() -> None:
    assert list(RecordedMarket([IBM]).ticks(OPEN)) == [
        MarketTick(at("09:30:01"), "IBM", 181.4, 300, 181.6, 100),
        MarketTick(at("09:30:01.500"), "IBM", last=181.5, last_size=100, volume=100),
        MarketTick(at("09:30:02"), "IBM", 0.0, 0, 181.6, 200),
        MarketTick(at("09:30:02"), "IBM", last=181.6, last_size=50, volume=150),
        MarketTick(at("09:30:03"), "IBM", 181.7, 100, 181.6, 200),
    ]


def test_where_there_are_only_trades_a_spread_is_put_around_them() -> None:
    tape = Tape("AIG", trades=trades_from([(micros(OPEN), 49.18, 2400), (micros(OPEN) + 1000, 49.17, 100)]))
    assert list(RecordedMarket([tape]).ticks(OPEN)) == [
        MarketTick(OPEN, "AIG", 49.17, 200, 49.18, 200, 49.18, 2400, 2400),
        MarketTick(OPEN + timedelta(milliseconds=1), "AIG", 49.17, 100, 49.18, 100, 49.17, 100, 2500),
    ]


def test_bars_with_recorded_quotes_only_print_along_the_path() -> None:
    tape = Tape("SLV", bars=SLV.bars, quotes=quotes_from([(micros(at("09:31:01")), 27.9, 100, 28.2, 100)]))
    first, second, third = islice(RecordedMarket([tape]).ticks(OPEN), 3)
    assert first == MarketTick(at("09:31"), "SLV", last=28.0, last_size=100, volume=100)
    assert second == MarketTick(at("09:31:01"), "SLV", 27.9, 100, 28.2, 100)
    assert (third.bid, third.last_size) == (None, 100)


def test_on_a_day_with_trades_the_bars_of_that_day_are_not_replayed() -> None:
    later = bar_row("09:30", 50.0, 50.0, 50.0, 50.0, day=date(2025, 1, 24))
    tape = Tape("AIG", bars=bars_from([bar_row("09:30", 49.0, 49.5, 49.0, 49.5), later]), trades=IBM.trades)
    market = RecordedMarket([tape])
    lasts = [tick.last for tick in market.ticks(OPEN) if tick.last is not None]
    assert lasts == [181.5, 181.6, *[50.0] * 12]
    assert [bar.close for bar in market.history("AIG", DAY_S, market.end, 9)] == [181.6, 50.0]


def test_symbols_take_turns_by_time_and_by_name_at_the_same_time() -> None:
    gld = barred("GLD", bar_row("09:31", 254.0, 254.0, 254.0, 254.0))
    seen = [(tick.at.second, tick.symbol) for tick in islice(RecordedMarket([SLV, gld]).ticks(OPEN), 6)]
    assert seen == [(0, "GLD"), (0, "SLV"), (5, "GLD"), (5, "SLV"), (10, "GLD"), (10, "SLV")]


@st.composite
def markets(draw: st.DrawFn) -> RecordedMarket:
    tapes = []
    for symbol in draw(st.lists(st.sampled_from(["A", "B", "C"]), min_size=1, unique=True)):
        minutes = draw(st.lists(st.integers(-40, 430), min_size=1, max_size=12, unique=True).map(sorted))
        rows = []
        for minute in minutes:
            low, close, opened, high = sorted(draw(st.lists(st.integers(900, 1100), min_size=4, max_size=4)))
            volume = draw(st.integers(0, 40))
            rows.append(
                (micros(OPEN + minute * MINUTE), opened / 100, high / 100, low / 100, close / 100, volume)
            )
        tapes.append(barred(symbol, *rows))
    return RecordedMarket(tapes)


@settings(max_examples=25, deadline=None)
@given(markets(), st.integers(0, 16 * 3600 * 1000))
@pytest.mark.slow
def test_a_replay_from_any_moment_is_the_rest_of_the_whole_one(
    market: RecordedMarket, offset_ms: int
) -> None:
    begin = market.start + timedelta(milliseconds=offset_ms)
    whole = list(market.ticks(market.start))
    assert list(market.ticks(begin)) == [tick for tick in whole if tick.at >= begin]
    keys = [(tick.at, tick.symbol) for tick in whole]
    assert keys == sorted(keys)


# --- sessions -------------------------------------------------------------------------------------


def test_bars_of_regular_hours_make_a_regular_session() -> None:
    market = RecordedMarket([SLV])
    assert market.sessions == (Session(DAY, OPEN, CLOSE),)
    assert (market.start, market.end, market.has_regular_hours) == (OPEN, CLOSE, True)


def test_on_a_half_day_the_session_ends_at_one() -> None:
    day = date(2025, 7, 3)
    market = RecordedMarket([barred("SLV", bar_row("09:30", 28.0, 28.0, 28.0, 28.0, day=day))])
    assert market.end == new_york(day, time(13))
    assert list(market.ticks(market.start))[-1].at == new_york(day, time(12, 59, 55))


@pytest.mark.parametrize(
    ("clocks", "start", "end"),
    [
        (["08:00"], "04:00", "16:00"),
        (["16:00"], "09:30", "20:00"),
        (["08:00", "15:59", "18:00"], "04:00", "20:00"),
        (["03:59"], "03:59", "16:00"),
        (["20:01"], "09:30", "20:02"),
    ],
)
def test_rows_outside_regular_hours_extend_the_session(clocks: list[str], start: str, end: str) -> None:
    market = RecordedMarket([barred("SLV", *(bar_row(clock, 28.0, 28.0, 28.0, 28.0) for clock in clocks))])
    assert market.sessions == (Session(DAY, at(start), at(end)),)
    assert not market.has_regular_hours


def test_a_day_on_which_the_exchange_was_closed_is_replayed_as_recorded() -> None:
    saturday = date(2025, 1, 25)
    market = RecordedMarket([barred("SLV", bar_row("10:00", 28.0, 28.0, 28.0, 28.0, day=saturday))])
    assert market.sessions == (Session(saturday, at("09:30", saturday), at("16:00", saturday)),)


def test_the_session_after_a_moment_is_the_one_in_progress_or_the_next() -> None:
    friday = bar_row("09:30", 28.0, 28.0, 28.0, 28.0, day=date(2025, 1, 24))
    market = RecordedMarket([barred("SLV", bar_row("09:30", 28.0, 28.0, 28.0, 28.0), friday)])
    first, second = market.sessions
    assert market.session_after(OPEN - timedelta(days=9)) == first
    assert market.session_after(CLOSE - timedelta(seconds=1)) == first
    assert market.session_after(CLOSE) == second
    assert market.session_after(second.end) is None


def test_a_symbol_stops_at_the_close_of_its_last_day_and_its_quote_stands_on_a_day_in_between() -> None:
    friday = date(2025, 1, 24)
    gld = barred(
        "GLD",
        bar_row("10:00", 254.0, 254.0, 254.0, 254.0),
        bar_row("10:00", 254.0, 254.0, 254.0, 254.0, day=date(2025, 1, 27)),
    )
    slv = barred(
        "SLV", bar_row("10:00", 28.0, 28.0, 28.0, 28.0), bar_row("10:00", 28.0, 28.0, 28.0, 28.0, day=friday)
    )
    counts: dict[tuple[date, str], int] = {}
    for tick in RecordedMarket([gld, slv]).ticks(OPEN):
        key = tick.at.date(), tick.symbol
        counts[key] = counts.get(key, 0) + 1
    assert counts == {
        (DAY, "GLD"): 360 * 12,
        (DAY, "SLV"): 360 * 12,
        (friday, "GLD"): 390 * 12,
        (friday, "SLV"): 390 * 12,
        (date(2025, 1, 27), "GLD"): 390 * 12,
    }


def test_a_market_without_rows_is_none() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        RecordedMarket([Tape("SLV")])


def test_an_unknown_symbol_is_not_added_and_has_no_history() -> None:
    market = RecordedMarket([SLV])
    assert market.knows("SLV")
    assert not market.knows("GLD")
    assert market.history("GLD", 60, CLOSE, 5) == ()
    with pytest.raises(KeyError):
        market.add("GLD")
    market.add("SLV")


# --- history --------------------------------------------------------------------------------------


def test_minute_bars_of_the_past_are_the_recorded_ones_and_flat_ones_between() -> None:
    assert RecordedMarket([SLV]).history("SLV", 60, at("09:34:59"), 10) == (
        Bar(at("09:31"), 28.0, 28.1, 27.95, 28.05, 1200),
        Bar(at("09:32"), 28.05, 28.05, 28.05, 28.05, 0),
        Bar(at("09:33"), 28.0, 28.0, 27.9, 27.9, 30),
    )


def test_a_bar_counts_only_once_it_is_complete() -> None:
    market = RecordedMarket([SLV])
    assert market.history("SLV", 60, at("09:31:59"), 1) == ()
    assert [bar.start for bar in market.history("SLV", 60, at("09:32"), 1)] == [at("09:31")]
    assert market.history("SLV", DAY_S, CLOSE - timedelta(seconds=1), 1) == ()
    assert market.history("SLV", DAY_S, CLOSE, 1) == (Bar(OPEN, 28.0, 28.1, 27.9, 27.9, 1230),)


def test_hourly_bars_begin_on_the_hour_but_the_first_one_at_the_open() -> None:
    starts = [bar.start for bar in RecordedMarket([SLV]).history("SLV", 3600, CLOSE, 20)]
    assert starts == [OPEN, *(at(f"{hour}:00") for hour in range(10, 16))]


def test_regular_bars_leave_the_early_morning_out() -> None:
    early = bar_row("08:00", 27.0, 27.0, 27.0, 27.0)
    market = RecordedMarket([barred("SLV", early, bar_row("09:30", 28.0, 28.0, 28.0, 28.0))])
    assert [bar.open for bar in market.history("SLV", DAY_S, market.end, 1)] == [27.0]
    assert market.history("SLV", 60, market.end, 999, regular_only=True)[0] == Bar(
        OPEN, 28.0, 28.0, 28.0, 28.0, 1200
    )


def test_a_bar_lasts_from_a_second_to_a_day() -> None:
    for bar_s in (0, DAY_S + 1):
        with pytest.raises(ValueError, match="bars last"):
            RecordedMarket([SLV]).history("SLV", bar_s, CLOSE, 1)


def folded(ticks: Iterator[MarketTick], symbol: str, start: datetime, end: datetime) -> Bar | None:
    prints = [
        (t.last, t.last_size)
        for t in ticks
        if t.symbol == symbol and t.last is not None and start <= t.at < end
    ]
    if not prints:
        return None
    lasts = [last for last, _ in prints]
    return Bar(start, lasts[0], max(lasts), min(lasts), lasts[-1], sum(size or 0 for _, size in prints))


@settings(max_examples=25, deadline=None)
@given(
    markets(),
    st.sampled_from([1, 5, 7, 10, 30, 60, 120, 300, 1800, 3600, DAY_S]),
    st.integers(1, 40),
    st.data(),
)
@pytest.mark.slow
def test_history_agrees_with_the_ticks_and_never_knows_the_future(
    market: RecordedMarket, bar_s: int, count: int, data: st.DataObject
) -> None:
    symbol = data.draw(st.sampled_from(market.symbols))
    end = market.start + timedelta(seconds=data.draw(st.integers(0, 17 * 3600)))
    bars = market.history(symbol, bar_s, end, count)
    ticks = list(market.ticks(market.start))
    assert len(bars) <= count
    previous: Bar | None = None
    for bar in bars:
        stop = min(bar.start + timedelta(seconds=bar_s), market.end)
        if bar is bars[0] and bar_s > 1:
            # The first bar of the session may begin in the middle of its stretch.
            midnight = new_york(DAY, time())
            stop = min(
                midnight
                + ((bar.start - midnight) // timedelta(seconds=bar_s) + 1) * timedelta(seconds=bar_s),
                market.end,
            )
        assert stop <= end
        expected = folded(iter(ticks), symbol, bar.start, stop)
        if expected is None:
            assert bar.volume == 0
            assert previous is None or (bar.open, bar.high, bar.low, bar.close) == (previous.close,) * 4
        else:
            assert bar == expected
        previous = bar


def test_times_are_utc() -> None:
    market = RecordedMarket([SLV])
    assert next(market.ticks(OPEN)).at.tzinfo is UTC
    assert market.history("SLV", 60, CLOSE, 1)[0].start.tzinfo is UTC
