"""The past, as the simulated TWS tells it: bars of every size and price, single ticks, first moments."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import attrs
import pytest

from protocol.exchange.calendar import NEW_YORK, session_of
from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_history import BAR_SIZES_S
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.tws import messages as m
from tests.market_faces import FUTURE, OF_EVERY_KIND, OPTION, PAIR, STOCK, RunningFace
from tests.tws_faces import said

OPENED = datetime(2025, 1, 23, 14, 30, tzinfo=UTC)
TEN = datetime(2025, 1, 23, 15, tzinfo=UTC)


class Row(NamedTuple):
    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


@functools.cache
def day_of_ticks() -> tuple[MarketTick, ...]:
    """What SLV does until noon of the demo's day."""
    face = RunningFace()
    face.market.add("SLV")
    found = []
    for tick in face.market.ticks(OPENED):
        if tick.at >= OPENED + timedelta(hours=2.5):
            break
        found.append(tick)
    return tuple(found)


def folded(moves: Iterable[tuple[datetime, float, int]], bar_s: int) -> list[Row]:
    """Bars by hand: buckets of New York's clock."""
    buckets: dict[datetime, list[tuple[float, int]]] = {}
    for at, price, size in moves:
        local = at.astimezone(NEW_YORK)
        second = (local.hour * 3600 + local.minute * 60 + local.second) // bar_s * bar_s
        start = max(
            OPENED, local.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(seconds=second)
        )
        buckets.setdefault(start.astimezone(UTC), []).append((price, size))
    rows = []
    for start in sorted(buckets):
        prices = [price for price, _ in buckets[start]]
        volume = sum(size for _, size in buckets[start])
        rows.append(Row(start, prices[0], max(prices), min(prices), prices[-1], volume))
    return rows


def asked(face: RunningFace, contract: m.Contract = STOCK, **changes: Any) -> list[m.ServerMessage]:
    plain = m.ReqHistoricalData(4, contract, "", "1 min", "1 D", True, "TRADES", 2, False)
    return face.ask(attrs.evolve(plain, **changes))


def rows(heard: list[m.ServerMessage]) -> list[Row]:
    (told,) = heard
    assert isinstance(told, m.HistoricalData)
    return [
        Row(
            datetime.fromtimestamp(int(bar.date), UTC),
            bar.open,
            bar.high,
            bar.low,
            bar.close,
            int(bar.volume),
        )
        for bar in told.bars
    ]


def at_noon(settings: MarketSettings | None = None) -> RunningFace:
    face = RunningFace(settings)
    face.now = OPENED + timedelta(hours=2.5)
    return face


# --- bars -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [name for name, seconds in BAR_SIZES_S.items() if seconds < 86_400])
@pytest.mark.slow
def test_bars_of_every_size_are_what_traded_in_them(size: str) -> None:
    bar_s = BAR_SIZES_S[size]
    trades = [(tick.at, tick.last, tick.last_size) for tick in day_of_ticks()]
    expected = folded(((at, price, number or 0) for at, price, number in trades if price is not None), bar_s)
    face = at_noon()
    complete = [row for row in expected if _end_of(row.start, bar_s) <= face.now]
    span = "600 S" if bar_s < 60 else "1 D"
    # Before the first bar of a day is complete, a day of bars is that of the day before.
    told = [row for row in rows(asked(face, bar_size=size, duration=span)) if row.start >= OPENED]
    assert told == (complete[-600 // bar_s :] if bar_s < 60 else complete)


def _end_of(start: datetime, bar_s: int) -> datetime:
    local = start.astimezone(NEW_YORK)
    midnight = local.replace(hour=0, minute=0, second=0)
    slot = timedelta(seconds=bar_s)
    return midnight + ((local - midnight) // slot + 1) * slot


def test_a_day_a_week_and_a_month_are_made_of_days() -> None:
    face = RunningFace()
    (days,) = asked(face, bar_size="1 day", duration="2 M")
    (weeks,) = asked(face, bar_size="1 week", duration="2 M")
    (months,) = asked(face, bar_size="1 month", duration="1 Y")
    for told, period in ((weeks, _week), (months, _month)):
        assert isinstance(days, m.HistoricalData)
        assert isinstance(told, m.HistoricalData)
        by_period: dict[Any, list[m.HistoricalBar]] = {}
        for bar in days.bars:
            by_period.setdefault(period(_date(bar)), []).append(bar)
        for bar in told.bars[-2:]:
            inside = by_period[period(_date(bar))]
            assert (bar.date, bar.open, bar.close) == (inside[-1].date, inside[0].open, inside[-1].close)
            assert bar.high == max(day.high for day in inside)
            assert bar.low == min(day.low for day in inside)
            assert bar.volume == sum(day.volume for day in inside)


def _date(bar: m.HistoricalBar) -> date:
    return date(int(bar.date[:4]), int(bar.date[4:6]), int(bar.date[6:]))


def _week(day: date) -> Any:
    return day.isocalendar()[:2]


def _month(day: date) -> Any:
    return day.year, day.month


@pytest.mark.parametrize("what", ["BID", "ASK", "MIDPOINT"])
@pytest.mark.parametrize("size", ["5 secs", "1 min", "5 mins"])
@pytest.mark.slow
def test_bars_of_the_quote_are_what_was_quoted(what: str, size: str) -> None:
    moves = []
    for tick in day_of_ticks():
        assert tick.bid is not None
        assert tick.ask is not None
        price = {"BID": tick.bid, "ASK": tick.ask, "MIDPOINT": round((tick.bid + tick.ask) / 2, 8)}[what]
        moves.append((tick.at, price, 0))
    bar_s = BAR_SIZES_S[size]
    expected = folded(moves, bar_s)[-1200 // bar_s :]
    told = rows(asked(at_noon(), bar_size=size, duration="1200 S", what=what))
    assert [row[:5] for row in told] == [row[:5] for row in expected]
    assert {row.volume for row in told} == {-1}


def test_bars_of_bid_and_ask_span_both() -> None:
    face = at_noon()
    bids, asks, both = (rows(asked(face, duration="300 S", what=what)) for what in ("BID", "ASK", "BID_ASK"))
    for bid, ask, bar in zip(bids, asks, both, strict=True):
        assert (bar.low, bar.high) == (bid.low, ask.high)
        assert bid.low <= bar.open <= bid.high
        assert ask.low <= bar.close <= ask.high


def test_long_bars_of_the_quote_lie_around_the_trades() -> None:
    face = RunningFace()
    trades, bids, asks = (
        rows(asked(face, bar_size="1 hour", duration="5 D", what=what)) for what in ("TRADES", "BID", "ASK")
    )
    for trade, bid, ask in zip(trades, bids, asks, strict=True):
        assert bid.close <= trade.close <= ask.close
        assert round(ask.close - bid.close, 2) == 0.01


@pytest.mark.parametrize("contract", [OPTION, FUTURE], ids=["OPT", "FUT"])
@pytest.mark.parametrize("size", ["30 secs", "1 min", "5 mins"])
@pytest.mark.slow
def test_bars_of_what_hangs_on_a_stock_are_what_traded_in_them(contract: m.Contract, size: str) -> None:
    face = RunningFace()
    resolved = face.server.resolve(contract)
    assert resolved is not None
    key, begin = contract_key(resolved), face.now
    trades: list[tuple[datetime, float, int]] = []
    face.ask(m.ReqTickByTick(5, contract, "Last", 0, False))
    for one in face.run(600):
        if isinstance(one, m.TickByTick):
            trades.append((datetime.fromtimestamp(one.epoch_s, UTC), one.price, int(one.size)))
    assert face.venue.quote(key) is not None
    expected = [row for row in folded(trades, BAR_SIZES_S[size]) if row.start >= begin]
    told = [row for row in rows(asked(face, contract, bar_size=size)) if row.start >= begin]
    assert [row for row in told if row.volume] == expected


def test_bars_of_a_pair_are_what_was_quoted() -> None:
    face = RunningFace()
    begin = face.now
    face.ask(m.ReqTickByTick(5, PAIR, "BidAsk", 0, True))
    quoted = [one for one in face.run(300) if isinstance(one, m.TickByTick)]
    told = [row for row in rows(asked(face, PAIR, what="BID")) if row.start >= begin]
    for row in told[1:]:
        inside = [
            one.bid for one in quoted if row.start.timestamp() <= one.epoch_s < row.start.timestamp() + 60
        ]
        assert row.low == min([*inside, row.low])
        assert row.high == max([*inside, row.high])
        assert row.close == inside[-1]
    assert said(asked(face, PAIR, what="TRADES")) == ["error 4 162"]


def test_adjusted_bars_are_those_of_trades_and_end_now() -> None:
    face = RunningFace()
    assert rows(asked(face, what="ADJUSTED_LAST")) == rows(asked(face))
    assert said(asked(face, what="ADJUSTED_LAST", end="20250123-14:40:00")) == ["error 4 321"]


def test_volatility_is_told_by_the_day() -> None:
    face = RunningFace(MarketSettings(option_volatility=0.42))
    (implied,) = asked(face, bar_size="1 day", duration="5 D", what="OPTION_IMPLIED_VOLATILITY")
    (realized,) = asked(face, bar_size="1 day", duration="5 D", what="HISTORICAL_VOLATILITY")
    assert isinstance(implied, m.HistoricalData)
    assert isinstance(realized, m.HistoricalData)
    assert {bar.close for bar in implied.bars} == {0.42}
    assert all(0.1 < bar.close < 2 for bar in realized.bars)
    assert said(asked(face, what="HISTORICAL_VOLATILITY")) == ["error 4 162"]
    assert said(asked(face, bar_size="1 day", what="FEE_RATE")) == ["error 4 162"]


def test_an_end_is_understood_in_every_form() -> None:
    ends = (
        "20250123 09:40:00 US/Eastern",
        "20250123  09:40:00",
        "20250123-14:40:00",
        "20250123 14:40:00 UTC",
    )
    told = [rows(asked(RunningFace(), end=end, duration="120 S")) for end in ends]
    assert told == [told[0]] * 4
    assert [row.start for row in told[0]] == [TEN - timedelta(minutes=22), TEN - timedelta(minutes=21)]


@pytest.mark.parametrize(("duration", "days"), [("1 D", 1), ("3 D", 3), ("1 W", 5), ("1 M", 21), ("1 Y", 21)])
def test_a_duration_counts_trading_days(duration: str, days: int) -> None:
    told = rows(asked(RunningFace(), bar_size="1 hour", duration=duration))
    dates = {row.start.date() for row in told}
    assert len(dates) in (days, days - 1)  # today's first hour is not over


def test_the_schedule_is_the_exchange_s() -> None:
    face = RunningFace(version=165)
    (told,) = asked(face, bar_size="1 day", duration="3 D", what="SCHEDULE")
    assert told == m.HistoricalSchedule(
        4,
        "20250121-09:30:00",
        "20250123-16:00:00",
        "US/Eastern",
        tuple(
            m.HistoricalSession(f"202501{day}-09:30:00", f"202501{day}-16:00:00", f"202501{day}")
            for day in (21, 22, 23)
        ),
    )
    assert said(asked(RunningFace(version=163), bar_size="1 day", what="SCHEDULE")) == ["error 4 321"]


def test_a_bar_in_the_making_can_be_told_every_five_seconds() -> None:
    face = RunningFace(MarketSettings(forming_bars=True))
    asked(face, keep_up_to_date=True, duration="300 S")
    heard: list[m.HistoricalDataUpdate] = []
    for _ in range(15):
        heard += [one for one in face.run(5) if isinstance(one, m.HistoricalDataUpdate)]
    dates = [one.bar.date for one in heard]
    assert dates == sorted(dates)
    assert len(dates) >= 13
    first_minute = [one.bar for one in heard if one.bar.date == str(int(TEN.timestamp()))]
    complete = rows(asked(face, duration="60 S"))[-1]
    assert Row(TEN, *_ohlc(first_minute[-1])) == complete
    volumes = [bar.volume for bar in first_minute]
    assert volumes == sorted(volumes)


def _ohlc(bar: m.HistoricalBar) -> tuple[float, float, float, float, int]:
    return bar.open, bar.high, bar.low, bar.close, int(bar.volume)


def test_bars_kept_up_to_date_end_now() -> None:
    assert said(asked(RunningFace(), keep_up_to_date=True, end="20250123-14:40:00")) == ["error 4 321"]


# --- pacing -----------------------------------------------------------------------------------------


def test_past_bars_can_be_asked_for_only_so_often() -> None:
    face = RunningFace(MarketSettings(historical_pacing=True))
    assert said(asked(face)) == ["HistoricalData"]
    assert said(asked(face)) == ["error 4 162"]
    face.now += timedelta(seconds=15)
    assert said(asked(face)) == ["HistoricalData"]
    spans = [f"{count} S" for count in (60, 120, 180, 240, 300)]
    answers = [said(asked(face, duration=span)) for span in spans]
    assert answers == [["HistoricalData"]] * 4 + [["error 4 162"]]
    face.now += timedelta(seconds=2)
    assert said(asked(face, duration="300 S")) == ["HistoricalData"]


def test_sixty_requests_in_ten_minutes_are_enough() -> None:
    face = RunningFace(MarketSettings(historical_pacing=True))
    for number in range(60):
        assert said(asked(face, duration=f"{60 + number} S", bar_size="1 secs")) == ["HistoricalData"]
        face.now += timedelta(seconds=3)
    assert said(asked(face, duration="30 S")) == ["error 4 162"]
    face.now += timedelta(minutes=8)
    assert said(asked(face, duration="30 S")) == ["HistoricalData"]


# --- single ticks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("contract", OF_EVERY_KIND, ids=lambda contract: contract.sec_type)
@pytest.mark.parametrize("what", ["TRADES", "BID_ASK", "MIDPOINT"])
def test_past_ticks_are_those_that_came(contract: m.Contract, what: str) -> None:
    kind = {"TRADES": "Last", "BID_ASK": "BidAsk", "MIDPOINT": "MidPoint"}[what]
    face = RunningFace()
    face.server.resolve(contract)
    face.run(2)
    if contract is PAIR and what == "TRADES":
        kind = "MidPoint"
    face.ask(m.ReqTickByTick(5, contract, kind, 0, False))
    begin = face.now
    live = [one for one in face.run(130) if isinstance(one, m.TickByTick)]
    start = f"{begin:%Y%m%d-%H:%M:%S}"
    (past,) = face.ask(m.ReqHistoricalTicks(6, contract, start, "", 1000, what, True, False))
    assert isinstance(past, m.HistoricalTicksLast | m.HistoricalTicksBidAsk | m.HistoricalTicks)
    assert past.done
    if contract is PAIR and what == "TRADES":
        assert past.ticks == ()
        return
    told = [_tick(one) for one in past.ticks]
    came = [(one.epoch_s, *_facts(one)) for one in live]
    # What stood at the beginning is told once more.
    assert told[-len(came) :] == came
    assert len(told) - len(came) <= 1


def _tick(one: m.HistoricalTickLast | m.HistoricalTickBidAsk | m.HistoricalTick) -> tuple[object, ...]:
    match one:
        case m.HistoricalTickLast():
            return one.epoch_s, one.price, one.size
        case m.HistoricalTickBidAsk():
            return one.epoch_s, one.bid, one.ask, one.bid_size, one.ask_size
        case m.HistoricalTick():
            return one.epoch_s, one.price


def _facts(one: m.TickByTick) -> tuple[object, ...]:
    match one.tick_type:
        case 1:
            return one.price, one.size
        case 3:
            return one.bid, one.ask, one.bid_size, one.ask_size
        case _:
            return (one.mid,)


def test_the_last_ticks_before_a_moment_can_be_asked_for() -> None:
    face = RunningFace()
    (past,) = face.ask(m.ReqHistoricalTicks(6, STOCK, "", "20250123-14:31:00", 5, "TRADES", True, False))
    assert isinstance(past, m.HistoricalTicksLast)
    expected = [tick for tick in day_of_ticks() if tick.at < OPENED + timedelta(minutes=1)][-5:]
    assert [(tick.price, tick.size) for tick in past.ticks] == [
        (tick.last, Decimal(tick.last_size or 0)) for tick in expected
    ]


def test_a_request_for_ticks_that_makes_no_sense_is_refused() -> None:
    face = RunningFace()
    plain = m.ReqHistoricalTicks(6, STOCK, "", "20250123-14:31:00", 5, "TRADES", True, False)
    wrong: tuple[dict[str, Any], ...] = (
        {"end": ""}, {"start": "20250123-14:30:00"}, {"count": 0}, {"count": 1001}, {"what": "BID"},
        {"end": "soon"},
    )  # fmt: skip
    for changes in wrong:
        assert said(face.ask(attrs.evolve(plain, **changes))) == ["error 6 321"]


# --- first moments, histograms ----------------------------------------------------------------------


def test_the_past_begins_with_its_first_bar() -> None:
    face = RunningFace()
    (head,) = face.ask(m.ReqHeadTimestamp(7, STOCK, True, "TRADES", 1))
    (days,) = asked(face, bar_size="1 day", duration="1 Y")
    assert isinstance(head, m.HeadTimestamp)
    assert isinstance(days, m.HistoricalData)
    first = session_of(_date(days.bars[0]))
    assert first is not None
    assert head.timestamp == f"{first.start:%Y%m%d-%H:%M:%S}"
    (epoch,) = face.ask(m.ReqHeadTimestamp(7, STOCK, True, "TRADES", 2))
    assert epoch == m.HeadTimestamp(7, str(int(first.start.timestamp())))
    assert said(face.ask(m.ReqHeadTimestamp(7, PAIR, True, "MIDPOINT", 1))) == ["HeadTimestamp"]
    assert said(face.ask(m.ReqHeadTimestamp(7, PAIR, True, "TRADES", 1))) == ["error 7 162"]
    assert face.ask(m.CancelHeadTimestamp(7)) == []


def test_a_histogram_has_every_share_of_its_days() -> None:
    face = RunningFace()
    (told,) = face.ask(m.ReqHistogram(8, STOCK, True, "1 day"))
    assert isinstance(told, m.HistogramData)
    prices = [price for price, _ in told.points]
    assert prices == sorted(set(prices))
    assert sum(count for _, count in told.points) == sum(row.volume for row in rows(asked(face)))
    assert said(face.ask(m.ReqHistogram(8, STOCK, True, "a while"))) == ["error 8 321"]
