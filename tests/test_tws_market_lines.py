"""Market data lines of the simulated TWS: generic ticks, snapshots, permissions, delays, limits."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_market_settings import DataPermission, MarketSettings
from protocol.exchange.tws_settings import TwsSettings
from protocol.tws import messages as m
from tests.market_faces import OPTION, PAIR, STOCK, RunningFace
from tests.tws_faces import NOW, SLV, Face, said

GLD = attrs.evolve(SLV, symbol="GLD")
EPOCH = int(NOW.timestamp())


def face_with(**settings: Any) -> Face:
    face = Face(TwsSettings(market=MarketSettings(**settings)))
    face.connect()
    face.quote(25.0, 25.02, size=300)
    face.trade(25.01, size=50, volume=900)
    return face


def kinds(heard: list[m.ServerMessage]) -> list[int]:
    """The tick types that were told, in order."""
    ticks = (m.TickPrice, m.TickSize, m.TickGeneric, m.TickString)
    return [one.tick_type for one in heard if isinstance(one, ticks)]


# --- what a line says -------------------------------------------------------------------------------


def test_a_new_day_begins_with_its_open_and_the_close_of_the_day_before() -> None:
    face = face_with()
    face.ask(m.ReqMktData(5, SLV))
    face.now += timedelta(days=1)
    prices = {one.tick_type: one.price for one in face.trade(26.0) if isinstance(one, m.TickPrice)}
    assert prices == {4: 26.0, 6: 26.0, 7: 26.0, 14: 26.0, 9: 25.01}


def test_a_halt_is_told_and_its_end() -> None:
    face = face_with()
    face.ask(m.ReqMktData(5, SLV))
    for halted in (True, False):
        face.server.tick(MarketTick(face.now, "SLV", halted=halted))
        assert face.heard() == [m.TickGeneric(5, 49, float(halted))]


def test_a_snapshot_is_the_whole_quote_and_its_end_whichever_kind_it_is() -> None:
    face = face_with()
    plain = face.ask(m.ReqMktData(5, SLV, snapshot=True))
    regulatory = face.ask(m.ReqMktData(5, SLV, regulatory_snapshot=True))
    assert plain == regulatory
    assert kinds(plain) == [1, 0, 2, 3, 4, 5, 45, 6, 7, 14, 8, 49]
    assert plain[-1] == m.TickSnapshotEnd(5)


def test_a_stock_that_nobody_asked_for_before_is_quoted_at_once() -> None:
    face = RunningFace()
    face.ask(m.ReqMktData(1, attrs.evolve(STOCK, symbol="GLD")))
    face.run(90)
    known = RunningFace()
    known.ask(m.ReqMktData(1, STOCK))
    known.run(90)
    (late,) = (
        one for one in face.ask(m.ReqMktData(5, STOCK)) if isinstance(one, m.TickPrice) and one.tick_type == 4
    )
    (early,) = (
        one
        for one in known.ask(m.ReqMktData(5, STOCK))
        if isinstance(one, m.TickPrice) and one.tick_type == 4
    )
    assert late == early
    closes = face.ask(m.ReqHistoricalData(6, STOCK, "", "1 day", "1 D", True, "TRADES", 1, False))
    (told,) = closes
    assert isinstance(told, m.HistoricalData)
    (close,) = (
        one.price
        for one in face.ask(m.ReqMktData(7, STOCK))
        if isinstance(one, m.TickPrice) and one.tick_type == 9
    )
    assert close == told.bars[-1].close


# --- generic ticks ----------------------------------------------------------------------------------


def test_a_trade_in_the_form_of_rt_volume() -> None:
    face = face_with()
    face.ask(m.ReqMktData(5, SLV, "233,375"))
    heard = face.trade(25.05, size=150, volume=1050)
    average = (25.01 * 50 + 25.05 * 150) / 200
    sale = f"25.05;150;{EPOCH * 1000};1050;{average:.8f};false"
    assert m.TickString(5, 48, sale) in heard
    assert m.TickString(5, 77, sale) in heard


def test_counts_and_rates_of_trading() -> None:
    face = face_with()
    face.ask(m.ReqMktData(5, SLV, "293,294,295,318"))
    face.trade(25.03, size=100)
    face.now += timedelta(seconds=30)
    heard = face.trade(25.04, size=200)
    assert [one for one in heard if isinstance(one, m.TickGeneric)] == [
        m.TickGeneric(5, 54, 3.0),
        m.TickGeneric(5, 55, 2.0),
        m.TickGeneric(5, 56, 300.0),
    ]
    assert m.TickPrice(5, 57, 25.04, Decimal(0)) in heard
    face.now += timedelta(seconds=45)
    assert m.TickGeneric(5, 55, 2.0) in face.trade(25.04, size=200)  # the first of the three is too long ago


def test_the_mark_price_is_the_last_held_within_the_quote() -> None:
    face = face_with()
    assert m.TickPrice(5, 37, 25.01, Decimal(0)) in face.ask(m.ReqMktData(5, SLV, "221"))
    assert m.TickPrice(5, 37, 25.04, Decimal(0)) in face.quote(25.04, 25.06)
    assert 37 not in kinds(face.quote(25.04, 25.07))


def test_what_the_past_says_of_a_stock() -> None:
    face = RunningFace(MarketSettings(volatilities=(("SLV", 0.55),)))
    heard = face.ask(m.ReqMktData(5, STOCK, "104,106,165,411,456"))
    (daily,) = face.ask(m.ReqHistoricalData(6, STOCK, "", "1 day", "1 Y", True, "TRADES", 1, False))
    assert isinstance(daily, m.HistoricalData)
    low, high = min(bar.low for bar in daily.bars), max(bar.high for bar in daily.bars)
    prices = {one.tick_type: one.price for one in heard if isinstance(one, m.TickPrice)}
    assert (prices[19], prices[20], prices[17], prices[18], prices[15], prices[16]) == (low, high) * 3
    volume = int(sum(bar.volume for bar in daily.bars) / len(daily.bars))
    assert m.TickSize(5, 21, Decimal(volume)) in heard
    assert m.TickGeneric(5, 24, 0.55) in heard
    assert m.TickString(5, 59, ",,,") in heard
    (volatility,) = (one.value for one in heard if isinstance(one, m.TickGeneric) and one.tick_type == 23)
    assert 0.1 < volatility < 1.5


def test_shares_to_borrow() -> None:
    heard = face_with().ask(m.ReqMktData(5, SLV, "236"))
    assert m.TickGeneric(5, 46, 3.0) in heard
    assert m.TickSize(5, 89, Decimal(1_000_000)) in heard


def test_an_illegal_generic_tick_is_refused_with_the_legal_ones() -> None:
    face = face_with()
    for wrong in ("999", "233,x", "233;221"):
        (refusal,) = face.ask(m.ReqMktData(5, SLV, wrong))
        assert isinstance(refusal, m.ErrorMessage)
        assert (refusal.id, refusal.code) == (5, 321)
        assert (
            f"Incorrect generic tick list of {wrong}.  Legal ones for (STK) are: 100(Option Volume)"
            in refusal.text
        )
    assert said(face.ask(m.ReqMktData(5, SLV, "233", snapshot=True))) == ["error 5 321"]
    assert said(RunningFace().ask(m.ReqMktData(5, PAIR, "233"))) == ["error 5 321"]


def test_generic_ticks_can_come_alone() -> None:
    face = face_with()
    assert kinds(face.ask(m.ReqMktData(5, SLV, "mdoff,233"))) == []
    assert kinds(face.trade(25.02)) == [48]


def test_lines_on_one_contract_hear_what_each_has_asked_for() -> None:
    face = face_with()
    face.ask(m.ReqMktData(5, SLV))
    face.ask(m.ReqMktData(6, SLV, "233"))
    heard = face.trade(25.03, size=70)
    of = {req_id: [one for one in heard if getattr(one, "req_id", 0) == req_id] for req_id in (5, 6)}
    assert kinds(of[6]) == [*kinds(of[5]), 48]


# --- limits -----------------------------------------------------------------------------------------


def test_a_client_has_so_many_lines_and_no_more() -> None:
    face = face_with(max_market_data_lines=2)
    for req_id in (5, 6):
        face.ask(m.ReqMktData(req_id, SLV))
    assert said(face.ask(m.ReqMktData(7, SLV))) == ["error 7 101"]
    face.ask(m.CancelMktData(5))
    assert said(face.ask(m.ReqMktData(7, SLV)))[0] == "TickReqParams"


def test_changes_can_be_gathered() -> None:
    face = face_with(tick_gather_s=0.25)
    face.ask(m.ReqMktData(5, SLV))
    face.now += timedelta(seconds=1)
    for bid in (25.01, 25.02, 25.03):
        face.server.tick(MarketTick(face.now, "SLV", bid, 300))
        face.now += timedelta(milliseconds=50)
    assert face.heard() == []
    assert face.pass_time(0.15) == [m.TickPrice(5, 1, 25.03, Decimal(300), 1)]
    assert face.pass_time(0.25) == []


# --- permissions ------------------------------------------------------------------------------------


def test_without_permission_there_is_no_data() -> None:
    face = face_with(permission=DataPermission.NONE)
    assert said(face.ask(m.ReqMktData(5, SLV))) == ["TickReqParams", "error 5 354"]
    face.ask(m.ReqMarketDataType(3))
    assert said(face.ask(m.ReqMktData(5, SLV))) == ["TickReqParams", "error 5 354"]
    assert face.quote(25.1, 25.2) == []
    assert said(face.ask(m.CancelMktData(5))) == ["error 5 300"]


def test_permissions_are_by_symbol() -> None:
    face = face_with(permissions=(("SLV", DataPermission.NONE),))
    assert said(face.ask(m.ReqMktData(5, SLV)))[-1] == "error 5 354"
    assert said(face.ask(m.ReqMktData(6, GLD)))[-1] == "TickGeneric"


def test_who_may_see_delayed_data_only_has_to_ask_for_it() -> None:
    face = face_with(permission=DataPermission.DELAYED)
    params, refusal = face.ask(m.ReqMktData(5, SLV))
    assert isinstance(params, m.TickReqParams)
    assert isinstance(refusal, m.ErrorMessage)
    assert (refusal.id, refusal.code) == (5, 10089)
    assert refusal.text.endswith("Delayed market data is available.SLV NASDAQ.NMS/TOP/ALL")


def test_delayed_data_is_that_of_a_quarter_of_an_hour_before() -> None:
    face = RunningFace(MarketSettings(permission=DataPermission.DELAYED))
    assert face.ask(m.ReqMarketDataType(3)) == []
    live = RunningFace()
    live.ask(m.ReqMktData(5, STOCK))
    then = live.run(10)
    face.run(900)
    notice, params, data_type, *_ = face.ask(m.ReqMktData(5, STOCK))
    assert isinstance(notice, m.ErrorMessage)
    assert (notice.id, notice.code) == (5, 10167)
    assert isinstance(params, m.TickReqParams)
    assert data_type == m.MarketDataType(5, 3)
    later = face.run(10)
    assert [one.price for one in later if isinstance(one, m.TickPrice) and one.tick_type == 68] == [
        one.price for one in then if isinstance(one, m.TickPrice) and one.tick_type == 4
    ]
    assert set(kinds(later)) <= {66, 67, 68, 69, 70, 71, 72, 73, 74, 88}
    assert [one.value for one in later if isinstance(one, m.TickString)] == [
        one.value for one in then if isinstance(one, m.TickString)
    ]


def test_a_delayed_snapshot_ends() -> None:
    face = RunningFace(MarketSettings(permission=DataPermission.DELAYED))
    face.ask(m.ReqMarketDataType(4))
    heard = face.ask(m.ReqMktData(5, STOCK, snapshot=True))
    assert heard[-1] == m.TickSnapshotEnd(5)
    assert said(face.ask(m.CancelMktData(5))) == ["error 5 300"]


def test_live_data_stays_live_for_who_asks_for_less() -> None:
    face = face_with()
    for wanted in (1, 2, 3, 4):
        face.ask(m.ReqMarketDataType(wanted))
        assert face.ask(m.ReqMktData(wanted, SLV))[1] == m.MarketDataType(wanted, 1)
    assert said(face.ask(m.ReqMarketDataType(5))) == ["error -1 321"]


def test_frozen_data_is_the_last_of_a_market_that_has_closed() -> None:
    face = face_with()
    face.ask(m.ReqMarketDataType(2))
    face.now += timedelta(hours=7)
    assert face.ask(m.ReqMktData(5, SLV))[1] == m.MarketDataType(5, 2)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (m.ReqTickByTick(5, SLV, "Last", 0, False), "error 5 10189"),
        (m.ReqRealTimeBars(5, SLV, 5, "TRADES", True), "error 5 420"),
        (m.ReqMarketDepth(5, SLV, 5, False), "error 5 354"),
        (m.ReqHistoricalData(5, SLV, "", "1 min", "300 S", True, "TRADES", 1, False), "error 5 162"),
        (m.ReqHistoricalTicks(5, SLV, "", "20250123-15:00:00", 10, "TRADES", True, False), "error 5 162"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_everything_else_needs_live_data(request_: m.ClientRequest, answer: str) -> None:
    face = face_with(permission=DataPermission.DELAYED)
    assert said(face.ask(request_)) == [answer]


def test_a_client_that_is_gone_leaves_nothing_behind() -> None:
    face = RunningFace()
    face.ask(m.ReqMktData(1, OPTION))
    face.ask(m.ReqTickByTick(2, STOCK, "BidAsk", 0, False))
    face.ask(m.ReqRealTimeBars(3, STOCK, 5, "MIDPOINT", True))
    face.ask(m.ReqMarketDepth(4, STOCK, 5, True))
    face.ask(m.ReqHistoricalData(5, STOCK, "", "5 secs", "60 S", True, "TRADES", 1, True))
    face.server.disconnected(1, face.now)
    face.run(10)
    assert face.server.take() == ()
