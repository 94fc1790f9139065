"""The official client as second opinion about ticks, depth, options, contracts: both directions, at 157."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ibapi.contract import Contract
from ibapi.scanner import ScannerSubscription
from ibapi.tag_value import TagValue

from protocol.tws import messages as m
from tests.ibapi_words import ours
from tests.test_tws_ibapi_messages import heard
from tests.test_tws_ibapi_requests import said


def plain(value: Any) -> Any:
    """An object of ibapi as its values, in order; attributes with objects inside likewise."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if hasattr(value, "__dict__"):
        return [plain(one) for one in vars(value).values()]
    return value


# --- what we say ------------------------------------------------------------------------------------

SPOKEN: list[tuple[m.ServerMessage, str, list[Any]]] = [
    (
        m.TickOptionComputation(5, 13, 1, 0.3, 0.52, 1.25, 0.0, 0.04, 0.03, -0.01, 27.5),
        "tickOptionComputation",
        [5, 13, 1, 0.3, 0.52, 1.25, 0.0, 0.04, 0.03, -0.01, 27.5],
    ),
    (
        m.TickOptionComputation(5, 10, 1, None, None, 1.25, None, None, None, None, None),
        "tickOptionComputation",
        [5, 10, 1, None, None, 1.25, None, None, None, None, None],
    ),
    (
        m.RealTimeBar(5, 1737644400, 1.5, 2.5, 0.5, 2.0, Decimal(700), 1.75, 9),
        "realtimeBar",
        [5, 1737644400, 1.5, 2.5, 0.5, 2.0, 700, 1.75, 9],
    ),
    (
        m.TickByTick(
            req_id=5,
            tick_type=1,
            epoch_s=77,
            price=1.5,
            size=Decimal(3),
            attr_mask=2,
            exchange="IEX",
            special_conditions="I",
        ),
        "tickByTickAllLast",
        [5, 1, 77, 1.5, 3, [False, True], "IEX", "I"],
    ),
    (
        m.TickByTick(
            req_id=5,
            tick_type=3,
            epoch_s=77,
            bid=1.5,
            ask=1.75,
            bid_size=Decimal(3),
            ask_size=Decimal(4),
            attr_mask=1,
        ),
        "tickByTickBidAsk",
        [5, 77, 1.5, 1.75, 3, 4, [True, False]],
    ),
    (m.TickByTick(req_id=5, tick_type=4, epoch_s=77, mid=1.625), "tickByTickMidPoint", [5, 77, 1.625]),
    (
        m.HistoricalTicks(5, (m.HistoricalTick(77, 1.5, Decimal(0)),), True),
        "historicalTicks",
        [5, [[77, 1.5, 0]], True],
    ),
    (
        m.HistoricalTicksBidAsk(5, (m.HistoricalTickBidAsk(77, 0, 1.5, 1.75, Decimal(3), Decimal(4)),), True),
        "historicalTicksBidAsk",
        [5, [[77, [False, False], 1.5, 1.75, 3, 4]], True],
    ),
    (
        m.HistoricalTicksLast(5, (m.HistoricalTickLast(77, 1, 1.5, Decimal(3), "IEX", ""),), False),
        "historicalTicksLast",
        [5, [[77, [True, False], 1.5, 3, "IEX", ""]], False],
    ),
    (m.MarketDepth(5, 1, 0, 1, 24.5, Decimal(300)), "updateMktDepth", [5, 1, 0, 1, 24.5, 300]),
    (
        m.MarketDepthL2(5, 1, "ARCA", 2, 0, 24.5, Decimal(300), True),
        "updateMktDepthL2",
        [5, 1, "ARCA", 2, 0, 24.5, 300, True],
    ),
    (
        m.MarketDepthExchanges((m.DepthExchange("ARCA", "STK", "ARCA", "Deep2", 1),)),
        "mktDepthExchanges",
        [[["ARCA", "STK", "ARCA", "Deep2", 1]]],
    ),
    (m.HeadTimestamp(5, "20250102-14:30:00"), "headTimestamp", [5, "20250102-14:30:00"]),
    (m.HistogramData(5, ((24.5, 300), (24.51, 7))), "histogramData", [5, [[24.5, 300], [24.51, 7]]]),
    (
        m.OptionParameters(5, "SMART", 9, "SLV", "100", ("20250221",), (27.0, 27.5)),
        "securityDefinitionOptionParameter",
        [5, "SMART", 9, "SLV", "100", {"20250221"}, {27.0, 27.5}],
    ),
    (m.OptionParametersEnd(5), "securityDefinitionOptionParameterEnd", [5]),
    (
        m.SmartComponents(5, (m.SmartComponent(0, "ARCA", "P"),)),
        "smartComponents",
        [5, [[0, "ARCA", "P"]]],
    ),
    (m.NewsProviders((("BRFG", "Briefing"),)), "newsProviders", [[["BRFG", "Briefing"]]]),
    (m.HistoricalNewsEnd(5, False), "historicalNewsEnd", [5, False]),
    (m.ScannerParameters("<x>y</x>"), "scannerParameters", ["<x>y</x>"]),
]


@pytest.mark.parametrize(("message", "name", "arguments"), SPOKEN, ids=lambda value: type(value).__name__)
def test_ibapi_hears_what_is_said(message: m.ServerMessage, name: str, arguments: list[Any]) -> None:
    ((called, told),) = heard(message)
    assert called == name
    assert [plain(one) for one in told] == arguments


def test_ibapi_hears_the_symbols_that_were_found() -> None:
    one = m.ContractDescription(9, "SLV", "STK", "ARCA", "USD", ("OPT", "WAR"))
    ((name, (req_id, (found,))),) = heard(m.SymbolSamples(5, (one,)))
    assert (name, req_id, found.derivativeSecTypes) == ("symbolSamples", 5, ["OPT", "WAR"])
    assert ours(found.contract) == m.Contract(
        con_id=9, symbol="SLV", sec_type="STK", primary_exchange="ARCA", currency="USD"
    )


# --- what ibapi asks --------------------------------------------------------------------------------


def option() -> Contract:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = "SLV", "OPT", "SMART", "USD"
    contract.lastTradeDateOrContractMonth, contract.strike, contract.right = "20250221", 27.5, "C"
    contract.conId, contract.multiplier, contract.tradingClass = 7, "100", "SLV"
    contract.localSymbol, contract.primaryExchange = "SLV   250221C00027500", "CBOE"
    return contract


OPTION = m.Contract(
    con_id=7, symbol="SLV", sec_type="OPT", last_trade_date_or_contract_month="20250221", strike=27.5,
    right="C", multiplier="100", exchange="SMART", primary_exchange="CBOE", currency="USD",
    local_symbol="SLV   250221C00027500", trading_class="SLV",
)  # fmt: skip
PART = m.Contract(
    con_id=7, symbol="SLV", sec_type="OPT", exchange="SMART", primary_exchange="CBOE", currency="USD",
    local_symbol="SLV   250221C00027500",
)  # fmt: skip

ASKED: list[tuple[str, list[Any], m.ClientRequest]] = [
    ("reqTickByTickData", [5, option(), "BidAsk", 10, True], m.ReqTickByTick(5, OPTION, "BidAsk", 10, True)),
    ("cancelTickByTickData", [5], m.CancelTickByTick(5)),
    ("reqMktDepth", [5, option(), 10, True, []], m.ReqMarketDepth(5, OPTION, 10, True)),
    ("cancelMktDepth", [5, True], m.CancelMarketDepth(5, True)),
    ("reqMktDepthExchanges", [], m.ReqMarketDepthExchanges()),
    (
        "reqRealTimeBars",
        [5, option(), 5, "BID", True, []],
        m.ReqRealTimeBars(5, OPTION, 5, "BID", True),
    ),
    ("cancelRealTimeBars", [5], m.CancelRealTimeBars(5)),
    ("reqHeadTimeStamp", [5, option(), "TRADES", 1, 2], m.ReqHeadTimestamp(5, OPTION, True, "TRADES", 2)),
    ("cancelHeadTimeStamp", [5], m.CancelHeadTimestamp(5)),
    ("reqHistogramData", [5, option(), True, "3 days"], m.ReqHistogram(5, OPTION, True, "3 days")),
    ("cancelHistogramData", [5], m.CancelHistogram(5)),
    (
        "reqHistoricalTicks",
        [5, option(), "20250123 10:00:00", "", 10, "TRADES", 1, True, []],
        m.ReqHistoricalTicks(5, OPTION, "20250123 10:00:00", "", 10, "TRADES", True, True),
    ),
    ("reqMatchingSymbols", [5, "SL"], m.ReqMatchingSymbols(5, "SL")),
    ("reqSecDefOptParams", [5, "SLV", "", "STK", 9], m.ReqOptionParameters(5, "SLV", "", "STK", 9)),
    ("reqSmartComponents", [5, "9c0001"], m.ReqSmartComponents(5, "9c0001")),
    (
        "calculateImpliedVolatility",
        [5, option(), 1.25, 27.0, []],
        m.CalculateImpliedVolatility(5, OPTION, 1.25, 27.0),
    ),
    (
        "calculateOptionPrice",
        [5, option(), 0.5, 27.0, []],
        m.CalculateOptionPrice(5, OPTION, 0.5, 27.0),
    ),
    ("cancelCalculateImpliedVolatility", [5], m.CancelImpliedVolatility(5)),
    ("cancelCalculateOptionPrice", [5], m.CancelOptionPrice(5)),
    ("reqNewsProviders", [], m.ReqNewsProviders()),
    ("reqNewsBulletins", [True], m.ReqNewsBulletins(True)),
    ("cancelNewsBulletins", [], m.CancelNewsBulletins()),
    (
        "reqHistoricalNews",
        [5, 9, "BRFG", "from", "to", 10, []],
        m.ReqHistoricalNews(5, 9, "BRFG", "from", "to", 10),
    ),
    ("reqNewsArticle", [5, "BRFG", "x", []], m.ReqNewsArticle(5, "BRFG", "x")),
    (
        "reqFundamentalData",
        [5, option(), "ReportSnapshot", []],
        m.ReqFundamentalData(5, PART, "ReportSnapshot"),
    ),
    ("cancelFundamentalData", [5], m.CancelFundamentalData(5)),
    ("reqScannerParameters", [], m.ReqScannerParameters()),
    ("cancelScannerSubscription", [5], m.CancelScannerSubscription(5)),
]


@pytest.mark.parametrize(("method", "arguments", "request_"), ASKED, ids=[one[0] for one in ASKED])
def test_what_ibapi_asks_is_understood(method: str, arguments: list[Any], request_: m.ClientRequest) -> None:
    assert said(method, *arguments) == request_


def test_a_scan_that_ibapi_asks_for_is_understood() -> None:
    scan = ScannerSubscription()
    scan.numberOfRows, scan.instrument, scan.locationCode, scan.scanCode = (
        10,
        "STK",
        "STK.US",
        "HOT_BY_VOLUME",
    )
    understood = said("reqScannerSubscription", 5, scan, [], [TagValue("price", "10")])
    assert isinstance(understood, m.ReqScannerSubscription)
    assert (understood.req_id, understood.rows, understood.location_code) == (5, "10", "STK.US")
    assert understood.filter_options == "price=10;"
