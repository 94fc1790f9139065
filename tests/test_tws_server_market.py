"""What the simulated TWS says about contracts, prices, bars, positions and accounts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.contracts import contract_id, symbol_of
from protocol.exchange.tws_text import NEW_YORK, read_time, write_time
from protocol.tws import messages as m
from protocol.tws.codec import decode_server, encode_server
from tests.tws_faces import NOW, SLV, SLV_ECHO, Face, limit_order, market_order, said

GLD = attrs.evolve(SLV, symbol="GLD")


def connected(*, version: int = 178) -> Face:
    face = Face()
    face.connect(version=version)
    return face


def history(face: Face, **changes: Any) -> list[m.ServerMessage]:
    request = m.ReqHistoricalData(4, SLV, "", "1 min", "300 S", True, "TRADES", 1, False)
    return face.ask(attrs.evolve(request, **changes))


# --- contracts ---------------------------------------------------------------------------------------


@given(st.from_regex(r"[A-Z]{1,5}( [A-Z]{1,2})?", fullmatch=True))
def test_a_contract_id_names_its_symbol_and_fits_32_bits(symbol: str) -> None:
    assert 0 < contract_id(symbol) < 2**31
    assert symbol_of(contract_id(symbol), [symbol]) == symbol


@given(st.integers(-1, 2**31))
def test_a_number_that_is_no_contract_id_names_no_symbol(number: int) -> None:
    symbol = symbol_of(number, [])
    assert symbol is None or contract_id(symbol) == number


def test_a_known_stock_is_described_with_one_contract() -> None:
    details, end = connected().ask(m.ReqContractDetails(3, SLV))
    assert isinstance(details, m.ContractData)
    found = details.details
    assert found.contract == attrs.evolve(SLV_ECHO, primary_exchange="NASDAQ")
    assert (found.min_tick, found.market_rule_ids.split(",")[0], found.time_zone_id) == (
        0.01,
        "26",
        "US/Eastern",
    )
    assert found.liquid_hours.startswith(
        "20250123:0930-20250123:1600;20250124:0930-20250124:1600;20250125:CLOSED"
    )
    assert end == m.ContractDataEnd(3)


def test_a_contract_can_be_named_by_its_id_alone() -> None:
    by_id = m.Contract(con_id=contract_id("SLV"), exchange="SMART")
    assert said(connected().ask(m.ReqContractDetails(3, by_id))) == ["ContractData", "ContractDataEnd"]


def test_what_is_no_known_us_stock_has_no_security_definition() -> None:
    face = connected()
    for stranger in (
        attrs.evolve(SLV, symbol="NOPE"),
        attrs.evolve(SLV, sec_type="OPT"),
        attrs.evolve(SLV, currency="EUR"),
        attrs.evolve(SLV, con_id=contract_id("GLD")),
        m.Contract(symbol="SLV"),
        m.Contract(),
    ):
        assert said(face.ask(m.ReqContractDetails(3, stranger))) == ["error 3 200"]
        assert said(face.ask(m.ReqMktData(4, stranger))) == ["error 4 200"]


def test_market_rule_26_is_cents_and_no_other_is_known() -> None:
    face = connected()
    assert face.ask(m.ReqMarketRule(26)) == [m.MarketRule(26, ((0.0, 0.01),))]
    assert said(face.ask(m.ReqMarketRule(27))) == ["error -1 321"]


# --- prices ------------------------------------------------------------------------------------------


def test_a_line_begins_with_its_parameters_and_the_quote_as_it_stands() -> None:
    face = connected()
    face.quote(25.0, 25.02, size=300)
    face.trade(25.01, size=50, volume=900)
    epoch = str(int(NOW.timestamp()))
    assert face.ask(m.ReqMktData(5, SLV)) == [
        m.TickReqParams(5, 0.01, "9c0001", 3),
        m.MarketDataType(5, 1),
        m.TickPrice(5, 1, 25.0, Decimal(300), 1),
        m.TickSize(5, 0, Decimal(300)),
        m.TickPrice(5, 2, 25.02, Decimal(300), 1),
        m.TickSize(5, 3, Decimal(300)),
        m.TickPrice(5, 4, 25.01, Decimal(50)),
        m.TickSize(5, 5, Decimal(50)),
        m.TickString(5, 45, epoch),
        m.TickPrice(5, 6, 25.01, Decimal(0)),
        m.TickPrice(5, 7, 25.01, Decimal(0)),
        m.TickPrice(5, 14, 25.01, Decimal(0)),
        m.TickSize(5, 8, Decimal(900)),
        m.TickGeneric(5, 49, 0.0),
    ]


def test_a_line_hears_only_what_changed() -> None:
    face = connected()
    face.quote(25.0, 25.02, size=300)
    face.ask(m.ReqMktData(5, SLV))
    assert face.quote(25.0, 25.02, size=300) == []
    assert face.quote(25.0, 25.03, size=300) == [m.TickPrice(5, 2, 25.03, Decimal(300), 1)]
    assert face.quote(25.0, 25.03, size=400) == [
        m.TickSize(5, 0, Decimal(400)),
        m.TickSize(5, 3, Decimal(400)),
    ]


@pytest.mark.parametrize("version", [157, 163, 178])
def test_sizes_are_shares_at_every_version(version: int) -> None:
    face = connected(version=version)
    face.quote(25.0, 25.02, size=300)
    face.trade(25.01, size=50, volume=900)
    sizes: dict[int, Decimal] = {}
    for message in face.ask(m.ReqMktData(5, SLV)):
        told = decode_server(version, encode_server(version, message))
        if isinstance(told, m.TickSize):
            sizes[told.tick_type] = told.size
    assert sizes == {0: 300, 3: 300, 5: 50, 8: 900}


def test_every_trade_is_told_with_its_time_even_at_the_same_price() -> None:
    face = connected()
    face.ask(m.ReqMktData(5, SLV))
    epoch = str(int(NOW.timestamp()))
    first = face.trade(25.01, size=50, volume=50)
    assert first == [
        m.TickPrice(5, 4, 25.01, Decimal(50)),
        m.TickPrice(5, 6, 25.01, Decimal(0)),
        m.TickPrice(5, 7, 25.01, Decimal(0)),
        m.TickPrice(5, 14, 25.01, Decimal(0)),
        m.TickSize(5, 5, Decimal(50)),
        m.TickSize(5, 8, Decimal(50)),
        m.TickString(5, 45, epoch),
    ]
    assert face.trade(25.01, size=50, volume=100) == [
        m.TickPrice(5, 4, 25.01, Decimal(50)),
        m.TickSize(5, 8, Decimal(100)),
        m.TickString(5, 45, epoch),
    ]


def test_a_snapshot_ends_and_leaves_no_line() -> None:
    face = connected()
    heard = face.ask(m.ReqMktData(5, SLV, snapshot=True))
    assert heard[-1] == m.TickSnapshotEnd(5)
    assert face.quote(25.0, 25.02) == []
    assert said(face.ask(m.CancelMktData(5))) == ["error 5 300"]


def test_a_cancelled_line_is_silent_and_its_id_is_free_again() -> None:
    face = connected()
    face.ask(m.ReqMktData(5, SLV))
    assert said(face.ask(m.ReqMktData(5, GLD))) == ["error 5 322"]
    assert face.ask(m.CancelMktData(5)) == []
    assert face.quote(25.0, 25.02) == []
    assert face.ask(m.ReqMktData(5, GLD))[0] == m.TickReqParams(5, 0.01, "9c0001", 3)


def test_the_lines_of_a_client_that_is_gone_are_closed() -> None:
    face = connected()
    face.ask(m.ReqMktData(5, SLV))
    face.server.disconnected(1, NOW)
    face.quote(25.0, 25.02)
    assert face.server.take() == ()


# --- bars --------------------------------------------------------------------------------------------


def test_bars_come_up_to_now_in_the_words_of_the_version() -> None:
    (answer,) = history(connected())
    assert isinstance(answer, m.HistoricalData)
    assert [bar.date for bar in answer.bars] == [
        f"20250123 09:{minute}:00 US/Eastern" for minute in (55, 56, 57, 58, 59)
    ]
    assert answer.bars[0] == m.HistoricalBar(
        date="20250123 09:55:00 US/Eastern",
        open=25.0,
        high=25.5,
        low=24.5,
        close=25.25,
        volume=Decimal(1200),
        wap=25.0833,
        count=12,
    )
    assert (answer.start, answer.end) == ("20250123 09:55:00 US/Eastern", "20250123 10:00:00 US/Eastern")
    (old,) = history(connected(version=157), duration="60 S")
    assert isinstance(old, m.HistoricalData)
    assert old.bars[0].date == "20250123  09:59:00"


def test_bars_can_be_dated_in_epoch_seconds_and_end_in_the_past() -> None:
    (answer,) = history(connected(), end="20250123-14:40:00", format_date=2, duration="60 S")
    assert isinstance(answer, m.HistoricalData)
    assert [bar.date for bar in answer.bars] == [
        str(int(datetime(2025, 1, 23, 14, 39, tzinfo=UTC).timestamp()))
    ]


def test_a_day_of_bars_is_all_of_today() -> None:
    (answer,) = history(connected(), duration="1 D", bar_size="10 secs")
    assert isinstance(answer, m.HistoricalData)
    assert len(answer.bars) == 180


def test_bars_that_are_not_there_are_refused_with_162() -> None:
    face = connected()
    assert history(face, contract=GLD) == [
        m.ErrorMessage(
            4,
            162,
            "Historical Market Data Service error message:HMDS query returned no data: GLD@SMART TRADES",
        )
    ]
    assert said(history(face, duration="1 Y", bar_size="1 secs")) == ["error 4 162"]


def test_a_history_request_that_makes_no_sense_is_refused_with_321() -> None:
    face = connected()
    nonsense = ({"bar_size": "7 secs"}, {"duration": "1 X"}, {"what": "WEATHER"}, {"end": "now"})
    assert [said(history(face, **changes)) for changes in nonsense] == [["error 4 321"]] * 4


def test_bars_kept_up_to_date_come_when_they_are_complete() -> None:
    face = connected()
    history(face, keep_up_to_date=True)
    assert face.pass_time(59) == []
    (update,) = face.pass_time(1)
    assert isinstance(update, m.HistoricalDataUpdate)
    assert update.bar.date == "20250123 10:00:00 US/Eastern"
    assert face.ask(m.CancelHistoricalData(4)) == []
    assert face.pass_time(120) == []
    assert said(face.ask(m.CancelHistoricalData(4))) == ["error 4 366"]


# --- positions and accounts -----------------------------------------------------------------------


def test_positions_are_listed_and_then_told_with_each_change() -> None:
    face = connected()
    face.quote(25.0, 25.02)
    assert face.ask(m.ReqPositions()) == [m.PositionEnd()]
    heard = face.place(1, market_order("BUY", 100))
    assert heard[-1] == m.Position("DU1234567", SLV_ECHO, Decimal(100), 25.03)
    assert face.ask(m.ReqPositions()) == [
        m.Position("DU1234567", SLV_ECHO, Decimal(100), 25.03),
        m.PositionEnd(),
    ]
    assert face.place(2, market_order("SELL", 100))[-1] == m.Position("DU1234567", SLV_ECHO, Decimal(0), 0.0)
    face.ask(m.CancelPositions())
    face.place(3, market_order("BUY", 10))
    assert face.ask(m.ReqPositions())[-1] == m.PositionEnd()


def test_account_updates_are_values_portfolio_time_and_end() -> None:
    face = connected()
    face.quote(25.0, 25.02)
    face.place(1, market_order("BUY", 100))
    heard = face.ask(m.ReqAccountUpdates(True, ""))
    values = {message.key: message.value for message in heard if isinstance(message, m.AccountValue)}
    assert values["TotalCashValue"] == "997497.00"
    assert values["NetLiquidation"] == "999998.00"
    assert values["GrossPositionValue"] == "2501.00"
    assert (values["RealizedPnL"], values["UnrealizedPnL"]) == ("0.00", "-2.00")
    assert said(heard)[-3:] == ["PortfolioValue", "AccountUpdateTime", "AccountDownloadEnd"]
    assert heard[-2] == m.AccountUpdateTime("10:00")
    assert said(face.ask(m.ReqAccountUpdates(True, "DU9"))) == ["error -1 321"]


def test_account_updates_come_again_after_three_minutes_and_after_a_trade() -> None:
    face = connected()
    face.quote(25.0, 25.02)
    face.pass_time(0)
    face.ask(m.ReqAccountUpdates(True, "DU1234567"))
    assert face.pass_time(100) == []
    assert said(face.pass_time(80))[-1] == "AccountDownloadEnd"
    assert "PortfolioValue" in said(face.place(1, market_order("BUY", 100)))
    assert said(face.pass_time(1))[-1] == "AccountDownloadEnd"
    face.ask(m.ReqAccountUpdates(False, ""))
    assert face.pass_time(200) == []


def test_a_summary_has_the_tags_that_were_asked_for() -> None:
    heard = connected().ask(m.ReqAccountSummary(6, "All", "NetLiquidation,Nonsense,BuyingPower"))
    assert heard == [
        m.AccountSummary(6, "DU1234567", "NetLiquidation", "1000000.00", "USD"),
        m.AccountSummary(6, "DU1234567", "BuyingPower", "4000000.00", "USD"),
        m.AccountSummaryEnd(6),
    ]


def test_account_updates_of_several_models_end() -> None:
    heard = connected().ask(m.ReqAccountUpdatesMulti(6, "DU1234567", "", False))
    assert heard[-1] == m.AccountUpdateMultiEnd(6)
    assert m.AccountUpdateMulti(6, "DU1234567", "", "NetLiquidation", "1000000.00", "USD") in heard


def test_profit_is_told_at_once_and_then_when_it_changes() -> None:
    face = connected()
    face.quote(25.0, 25.02)
    face.pass_time(0)
    assert face.ask(m.ReqPnL(6, "DU1234567", "")) == [m.PnL(6, 0.0, 0.0, 0.0)]
    face.ask(m.ReqPnLSingle(7, "DU1234567", "", contract_id("SLV")))
    face.place(1, market_order("BUY", 100))
    face.quote(25.10, 25.12)
    assert face.pass_time(1) == [
        m.PnL(6, 8.0, 8.0, 0.0),
        m.PnLSingle(7, Decimal(100), 8.0, 8.0, 0.0, 2511.0),
    ]
    assert face.pass_time(1) == []
    face.ask(m.CancelPnL(6))
    face.ask(m.CancelPnLSingle(7))
    face.quote(25.20, 25.22)
    assert face.pass_time(1) == []


def test_limit_orders_in_an_account_without_positions_change_no_figure() -> None:
    face = connected()
    face.quote(25.0, 25.02)
    face.place(1, limit_order("BUY", 100, 24.0))
    assert face.ask(m.ReqPnL(6, "", "")) == [m.PnL(6, 0.0, 0.0, 0.0)]


# --- times -------------------------------------------------------------------------------------------


@given(st.datetimes(datetime(2010, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_zoned_time_reads_as_it_was_written(at: datetime) -> None:
    at = at.replace(microsecond=0)
    # The hour that comes twice in autumn is ambiguous on the wire.
    if at.astimezone(NEW_YORK).fold == 0:
        assert read_time(write_time(at, 178)) == at


@given(st.text(max_size=30))
def test_any_text_reads_as_a_time_or_as_none(text: str) -> None:
    assert read_time(text) is None or read_time(text) == read_time(text.strip())
