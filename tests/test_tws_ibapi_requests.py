"""The official client as second opinion: whatever ibapi sends, we read; equal values, nothing left over."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibapi import contract as ib_contract
from ibapi import order as ib_order
from ibapi.client import EClient
from ibapi.execution import ExecutionFilter
from ibapi.tag_value import TagValue

from protocol.tws import messages as m
from protocol.tws.codec import decode_client
from protocol.tws.framing import Deframer
from tests.ibapi_words import VERSION, RecordingWrapper, random_messages, theirs
from tests.tws_strategies import (
    NOT_PLACED,
    PLAIN_TEXT,
    client_requests,
    placements,
    telling_contract,
    telling_orders,
    without,
)


class KeptBytes:
    """The duck type of ibapi's connection: keeps what is sent."""

    def __init__(self) -> None:
        self.deframer = Deframer()
        self.payloads: list[bytes] = []

    def isConnected(self) -> bool:  # noqa: N802  ibapi's name
        return True

    def sendMsg(self, message: bytes) -> int:  # noqa: N802  ibapi's name
        self.payloads += self.deframer.feed(message)
        return len(message)


def client() -> tuple[EClient, KeptBytes, RecordingWrapper]:
    """An ibapi client that believes to be connected at version 157."""
    wrapper = RecordingWrapper()
    speaker = EClient(wrapper)
    kept = KeptBytes()
    speaker.conn = kept
    speaker.serverVersion_ = VERSION
    speaker.setConnState(EClient.CONNECTED)
    return speaker, kept, wrapper


def said(method: str, *args: Any) -> m.ClientRequest:
    """What we understand when ibapi's client is called so."""
    speaker, kept, wrapper = client()
    getattr(speaker, method)(*args)
    assert wrapper.calls == []
    (payload,) = kept.payloads
    return decode_client(VERSION, payload)


def ib_order_of(order: m.Order) -> ib_order.Order:
    target = theirs(order, ib_order.Order)
    target.orderMiscOptions = None
    return target


@pytest.mark.slow
@given(placements(VERSION, PLAIN_TEXT))
@settings(random_messages, max_examples=150)
def test_every_order_that_ibapi_places_is_understood(placed: m.PlaceOrder) -> None:
    # ibapi builds the options from pairs; it has no way of sending other text.
    placed = attrs.evolve(placed, order=attrs.evolve(placed.order, order_misc_options="", display_size=0))
    contract = theirs(placed.contract, ib_contract.Contract)
    assert said("placeOrder", placed.order_id, contract, ib_order_of(placed.order)) == placed


def test_no_two_attributes_of_a_placed_order_change_places() -> None:
    contract = attrs.evolve(telling_contract(), sec_id_type="ISIN", sec_id="US0")
    for order in telling_orders(VERSION):
        order = without(order, NOT_PLACED | {"order_misc_options"})
        tier = without(order.soft_dollar_tier, ["display_name"])
        order = attrs.evolve(order, soft_dollar_tier=tier)
        placed = m.PlaceOrder(7, contract, order)
        assert said("placeOrder", 7, theirs(contract, ib_contract.Contract), ib_order_of(order)) == placed


def test_an_order_of_ibapi_as_it_comes_has_110_fields_and_its_defaults() -> None:
    speaker, kept, _ = client()
    contract, order = ib_contract.Contract(), ib_order.Order()
    contract.symbol, contract.secType, contract.exchange, contract.currency = "SLV", "STK", "SMART", "USD"
    order.action, order.totalQuantity, order.orderType, order.lmtPrice = "BUY", 100, "LMT", 20.5
    speaker.placeOrder(7, contract, order)
    assert kept.payloads[0].count(b"\0") == 110
    assert decode_client(VERSION, kept.payloads[0]) == m.PlaceOrder(
        7,
        m.Contract(symbol="SLV", sec_type="STK", exchange="SMART", currency="USD"),
        m.Order(
            action="BUY",
            total_quantity=Decimal(100),
            order_type="LMT",
            lmt_price=20.5,
            e_trade_only=True,
            firm_quote_only=True,
        ),
    )


def test_the_misc_options_of_an_order_arrive_as_they_travel() -> None:
    order = ib_order.Order()
    order.orderMiscOptions = [TagValue("a", "1"), TagValue("b", "2")]
    placed = said("placeOrder", 7, ib_contract.Contract(), order)
    assert isinstance(placed, m.PlaceOrder)
    assert placed.order.order_misc_options == "a=1;b=2;"


SIMPLE_REQUESTS: list[tuple[str, tuple[Any, ...], m.ClientRequest]] = [
    ("startApi", (), m.StartApi(5)),
    ("cancelOrder", (7,), m.CancelOrder(7)),
    ("reqGlobalCancel", (), m.GlobalCancel()),
    ("reqIds", (1,), m.ReqIds(1)),
    ("reqOpenOrders", (), m.ReqOpenOrders()),
    ("reqAllOpenOrders", (), m.ReqAllOpenOrders()),
    ("reqAutoOpenOrders", (True,), m.ReqAutoOpenOrders(True)),
    ("reqCompletedOrders", (True,), m.ReqCompletedOrders(True)),
    ("reqPositions", (), m.ReqPositions()),
    ("cancelPositions", (), m.CancelPositions()),
    ("reqAccountUpdates", (True, "DU1"), m.ReqAccountUpdates(True, "DU1")),
    ("reqAccountUpdatesMulti", (9, "DU1", "", True), m.ReqAccountUpdatesMulti(9, "DU1", "", True)),
    ("cancelAccountUpdatesMulti", (9,), m.CancelAccountUpdatesMulti(9)),
    ("reqAccountSummary", (9, "All", "NetLiquidation"), m.ReqAccountSummary(9, "All", "NetLiquidation")),
    ("cancelAccountSummary", (9,), m.CancelAccountSummary(9)),
    ("reqManagedAccts", (), m.ReqManagedAccounts()),
    ("reqCurrentTime", (), m.ReqCurrentTime()),
    ("setServerLogLevel", (5,), m.SetServerLogLevel(5)),
    ("reqMarketRule", (26,), m.ReqMarketRule(26)),
    ("cancelMktData", (9,), m.CancelMktData(9)),
    ("reqMarketDataType", (3,), m.ReqMarketDataType(3)),
    ("cancelHistoricalData", (9,), m.CancelHistoricalData(9)),
    ("reqPnL", (9, "DU1", ""), m.ReqPnL(9, "DU1", "")),
    ("cancelPnL", (9,), m.CancelPnL(9)),
    ("reqPnLSingle", (9, "DU1", "", 39039301), m.ReqPnLSingle(9, "DU1", "", 39039301)),
    ("cancelPnLSingle", (9,), m.CancelPnLSingle(9)),
]


@pytest.mark.parametrize(
    ("method", "args", "request_of_ours"), SIMPLE_REQUESTS, ids=lambda case: str(case)[:25]
)
def test_every_simple_request_of_ibapi_is_understood(
    method: str, args: tuple[Any, ...], request_of_ours: m.ClientRequest
) -> None:
    if method == "startApi":
        speaker, kept, _ = client()
        speaker.clientId = 5
        speaker.startApi()
        assert decode_client(VERSION, kept.payloads[0]) == request_of_ours
        return
    assert said(method, *args) == request_of_ours


@pytest.mark.slow
@given(st.data())
@random_messages
def test_every_request_about_a_contract_is_understood(data: st.DataObject) -> None:
    details = data.draw(client_requests(m.ReqContractDetails, VERSION, PLAIN_TEXT))
    contract = theirs(details.contract, ib_contract.Contract)
    assert said("reqContractDetails", details.req_id, contract) == details

    market = attrs.evolve(data.draw(client_requests(m.ReqMktData, VERSION, PLAIN_TEXT)), options="")
    contract = theirs(market.contract, ib_contract.Contract)
    asked: tuple[Any, ...] = (
        market.req_id,
        contract,
        market.generic_ticks,
        market.snapshot,
        market.regulatory_snapshot,
        [],
    )
    assert said("reqMktData", *asked) == market

    bars = attrs.evolve(data.draw(client_requests(m.ReqHistoricalData, VERSION, PLAIN_TEXT)), options="")
    contract = theirs(bars.contract, ib_contract.Contract)
    wanted = (bars.end, bars.duration, bars.bar_size, bars.what, bars.use_rth, bars.format_date)
    assert said("reqHistoricalData", bars.req_id, contract, *wanted, bars.keep_up_to_date, []) == bars


@given(client_requests(m.ReqExecutions, VERSION, PLAIN_TEXT))
@random_messages
def test_every_execution_filter_is_understood(asked: m.ReqExecutions) -> None:
    assert said("reqExecutions", asked.req_id, theirs(asked.filter, ExecutionFilter)) == asked
