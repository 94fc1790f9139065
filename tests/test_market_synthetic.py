"""The market that makes itself up: repeatable, endless, at one with its history."""

import subprocess
import sys
from datetime import date, datetime, time, timedelta
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.exchange.calendar import new_york, next_trading_day, previous_trading_day, session_of
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import DAY_S
from protocol.exchange.market import Market
from protocol.exchange.synthetic import DEMO_DAY, HISTORY_DAYS, SyntheticMarket
from protocol.values import Bar

SYMBOLS = ("AAPL", "SLV", "QCOM", "NOVEL", "BRK B")
SECOND = timedelta(seconds=1)


def market_of(seed: int = 7) -> SyntheticMarket:
    return SyntheticMarket(seed, symbols=SYMBOLS)


def between(market: Market, start: datetime, end: datetime) -> list[MarketTick]:
    return list(takewhile(lambda tick: tick.at < end, market.ticks(start)))


def test_it_begins_at_ten_of_a_fixed_trading_day_with_every_symbol_within_a_second() -> None:
    market = market_of()
    assert market.start == new_york(date(2025, 1, 23), time(10))
    first = list(islice(market.ticks(market.start), len(SYMBOLS)))
    assert sorted(tick.symbol for tick in first) == sorted(SYMBOLS)
    assert all(market.start <= tick.at < market.start + SECOND for tick in first)


def test_every_symbol_ticks_every_second_with_a_quote_around_its_trade() -> None:
    market = market_of()
    ticks = between(market, market.start, market.start + timedelta(minutes=3))
    assert len(ticks) == 180 * len(SYMBOLS)
    assert ticks == sorted(ticks, key=lambda tick: (tick.at, tick.symbol))
    for tick in ticks:
        assert tick.bid is not None
        assert tick.ask is not None
        assert tick.last is not None
        assert tick.bid_size is not None
        assert tick.last_size is not None
        assert 0 < tick.bid <= tick.last <= tick.ask
        assert tick.bid < tick.ask
        assert tick.last == round(tick.last, 2)
        assert tick.bid_size >= 100
        assert tick.last_size > 0


def test_one_seed_is_one_market_and_another_seed_another() -> None:
    one, same, other = market_of(), market_of(), market_of(8)
    first = list(islice(one.ticks(one.start), 300))
    assert first == list(islice(same.ticks(same.start), 300))
    assert first != list(islice(other.ticks(other.start), 300))


@pytest.mark.slow
def test_the_market_is_the_same_in_another_process_with_another_hash_seed() -> None:
    program = (
        "from protocol.exchange.synthetic import SyntheticMarket; from itertools import islice;"
        "m = SyntheticMarket(7, symbols=['SLV', 'GLD']); print(list(islice(m.ticks(m.start), 100)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_symbol_does_not_depend_on_which_others_there_are() -> None:
    alone, together = SyntheticMarket(7, symbols=["SLV"]), market_of()
    assert list(islice(alone.ticks(alone.start), 100)) == [
        tick for tick in islice(together.ticks(together.start), 100 * len(SYMBOLS)) if tick.symbol == "SLV"
    ]


def test_a_symbol_that_is_added_while_the_market_runs_ticks_from_the_next_second_on() -> None:
    market = SyntheticMarket(7, symbols=["SLV"])
    ticks = market.ticks(market.start)
    next(ticks)
    market.add("GLD")
    market.add("GLD")
    assert market.symbols == ("GLD", "SLV")
    following = list(islice(ticks, 4))
    assert sorted(tick.symbol for tick in following) == ["GLD", "GLD", "SLV", "SLV"]
    whole = between(SyntheticMarket(7, symbols=["GLD"]), market.start, market.start + timedelta(seconds=9))
    assert [tick for tick in following if tick.symbol == "GLD"] == whole[1:3]


def test_any_us_ticker_is_known_and_nothing_else() -> None:
    market = market_of()
    assert all(market.knows(symbol) for symbol in ("A", "GOOGL", "BRK B", "ZZZZZ"))
    assert not any(market.knows(symbol) for symbol in ("", "slv", "TOOLONG", "A1", "BRK.B", "A B C", "SLV\n"))
    with pytest.raises(KeyError):
        market.add("TOOLONG")
    assert market.history("TOOLONG", 60, market.start, 5) == ()


def test_the_day_goes_on_to_the_close_and_then_to_the_next_trading_day() -> None:
    market = SyntheticMarket(7, day=date(2025, 7, 3), symbols=["SLV"])
    assert market.sessions[0].end == new_york(date(2025, 7, 3), time(13))
    last_minute = islice(market.ticks(market.sessions[0].end - SECOND), 2)
    assert [tick.at.replace(microsecond=0) for tick in last_minute] == [
        market.sessions[0].end - SECOND,
        market.sessions[1].start,
    ]
    assert market.sessions[1].day == date(2025, 7, 7)
    assert market.session_after(market.sessions[-1].end).day > market.sessions[-1].day
    assert market.end is None


def test_a_start_outside_trading_hours_is_refused() -> None:
    with pytest.raises(ValueError, match="closed"):
        SyntheticMarket(7, day=date(2025, 1, 25))
    with pytest.raises(ValueError, match="closed"):
        SyntheticMarket(7, start=time(16))


def test_the_volume_of_the_day_grows_by_each_trade_and_starts_afresh() -> None:
    market = SyntheticMarket(7, symbols=["SLV"])
    session = market.sessions[0]
    volume = 0
    for tick in between(market, session.start, session.start + timedelta(minutes=5)):
        assert tick.last_size is not None
        volume += tick.last_size
        assert tick.volume == volume
    following = next(market.ticks(market.sessions[1].start))
    assert following.volume == following.last_size


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(SYMBOLS),
    st.integers(0, 6 * 3600),
    st.sampled_from([1, 5, 10, 30, 60, 120]),
    st.integers(1, 6),
)
def test_history_agrees_with_the_ticks(symbol: str, offset_s: int, bar_s: int, count: int) -> None:
    market = market_of()
    end = market.start + timedelta(seconds=offset_s)
    session = market.session_after(end)
    if end < session.start + timedelta(seconds=bar_s * count):
        return
    bars = market.history(symbol, bar_s, end, count)
    assert len(bars) == count
    for bar in bars:
        stop = bar.start + timedelta(seconds=bar_s)
        assert stop <= end
        own = [tick for tick in between(market, bar.start, stop) if tick.symbol == symbol]
        lasts = [tick.last or 0.0 for tick in own]
        # A symbol ticks somewhere within each second, so that one-second bars are never empty.
        assert bar == Bar(
            bar.start, lasts[0], max(lasts), min(lasts), lasts[-1], sum(tick.last_size or 0 for tick in own)
        )


def test_minutes_and_days_of_history_are_folded_from_the_same_trades() -> None:
    market = market_of()
    yesterday = previous_trading_day(DEMO_DAY)
    minutes = market.history("SLV", 60, yesterday.end, 390)
    fives = market.history("SLV", 5, yesterday.end, 390 * 12)
    (day,) = market.history("SLV", DAY_S, market.start, 1)
    for bars in (minutes, fives):
        assert day == Bar(
            yesterday.start,
            bars[0].open,
            max(bar.high for bar in bars),
            min(bar.low for bar in bars),
            bars[-1].close,
            sum(bar.volume for bar in bars),
        )


def test_history_reaches_a_month_back_and_no_further() -> None:
    market = market_of()
    bars = market.history("SLV", 3600, market.start, 10_000)
    assert len({bar.start.date() for bar in bars}) == HISTORY_DAYS + 1
    assert bars[-1].start == new_york(DEMO_DAY, time(9, 30))
    assert all(before.start < after.start for before, after in pairwise(bars))


def test_prices_move_several_per_cent_a_day_and_stay_sensible_for_years() -> None:
    market = SyntheticMarket(7)
    for symbol, about in (("SLV", 28), ("AAPL", 223)):
        for year in (2025, 2031, 2040):
            day = next_trading_day(date(year, 6, 1))
            session = session_of(day.day)
            assert session is not None
            bars = market.history(symbol, 60, session.end, 390)
            assert about / 2 < bars[-1].close < about * 2
            reach = max(bar.high for bar in bars) / min(bar.low for bar in bars) - 1
            assert 0.01 < reach < 0.4


def test_500_symbols_cost_only_what_is_looked_at() -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXY"
    market = SyntheticMarket(7, symbols=[first + second for first in letters[:20] for second in letters])
    assert len(list(islice(market.ticks(market.start), 500))) == 500
