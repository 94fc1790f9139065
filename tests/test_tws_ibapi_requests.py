"""The official client as second opinion: whatever ibapi sends, we read; equal values, nothing left over."""

from __future__ import annotations

import random
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
from tests.ibapi_words import (
    IS_CURRENT,
    VERSION,
    VERSIONS,
    RecordingWrapper,
    random_messages,
    theirs,
    without_old,
)
from tests.tws_random_orders import random_placement
from tests.tws_strategies import (
    MID_OFFSETS,
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


def client(version: int = VERSION) -> tuple[EClient, KeptBytes, RecordingWrapper]:
    """An ibapi client that believes to be connected at that version."""
    wrapper = RecordingWrapper()
    speaker = EClient(wrapper)
    kept = KeptBytes()
    speaker.conn = kept
    speaker.serverVersion_ = version
    speaker.setConnState(EClient.CONNECTED)
    return speaker, kept, wrapper


def said(method: str, *args: Any, version: int = VERSION) -> m.ClientRequest:
    """What we understand when ibapi's client is called so."""
    speaker, kept, wrapper = client(version)
    getattr(speaker, method)(*args)
    assert wrapper.calls == []
    (payload,) = kept.payloads
    return decode_client(version, payload)


def ib_order_of(order: m.Order) -> ib_order.Order:
    target = theirs(order, ib_order.Order)
    target.orderMiscOptions = None
    return target


@pytest.mark.slow
@given(st.data())
@settings(random_messages, max_examples=40)
def test_every_order_that_ibapi_places_is_understood(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(VERSIONS))
    understand(data.draw(placements(version, PLAIN_TEXT)), version)


@pytest.mark.slow
def test_every_field_of_a_thousand_orders_that_ibapi_places_is_understood() -> None:
    rng = random.Random(7)
    for number in range(1000):
        version = VERSIONS[number % len(VERSIONS)]
        understand(random_placement(rng, version), version)


def understand(placed: m.PlaceOrder, version: int) -> None:
    # ibapi builds the options from pairs; it has no way of sending other text.
    order = attrs.evolve(placed.order, order_misc_options="", display_size=0)
    placed = attrs.evolve(placed, order=without_old(order))
    contract = theirs(placed.contract, ib_contract.Contract)
    heard = said("placeOrder", placed.order_id, contract, ib_order_of(placed.order), version=version)
    assert heard == placed


@pytest.mark.parametrize("version", VERSIONS)
def test_no_two_attributes_of_a_placed_order_change_places(version: int) -> None:
    contract = attrs.evolve(telling_contract(), sec_id_type="ISIN", sec_id="US0")
    pegs = {"min_trade_qty", "min_compete_size", "compete_against_best_offset", *MID_OFFSETS}
    for order in telling_orders(version)[: None if version == VERSIONS[-1] else 2]:
        order = without_old(without(order, NOT_PLACED | {"order_misc_options"} | pegs))
        tier = without(order.soft_dollar_tier, ["display_name"])
        order = attrs.evolve(order, soft_dollar_tier=tier)
        placed = m.PlaceOrder(7, contract, order)
        asked = (7, theirs(contract, ib_contract.Contract), ib_order_of(order))
        assert said("placeOrder", *asked, version=version) == placed


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
            e_trade_only=not IS_CURRENT,
            firm_quote_only=not IS_CURRENT,
        ),
    )


def test_the_misc_options_of_an_order_arrive_as_they_travel() -> None:
    order = ib_order.Order()
    order.orderMiscOptions = [TagValue("a", "1"), TagValue("b", "2")]
    placed = said("placeOrder", 7, ib_contract.Contract(), order)
    assert isinstance(placed, m.PlaceOrder)
    assert placed.order.order_misc_options == "a=1;b=2;"


NO_TAGS: tuple[Any, ...] = ()
"""What a current ibapi wants to be told about every cancel."""
if IS_CURRENT:
    from ibapi.order_cancel import OrderCancel  # only this line has it

    NO_TAGS = (OrderCancel(),)

SIMPLE_REQUESTS: list[tuple[str, tuple[Any, ...], m.ClientRequest]] = [
    ("startApi", (), m.StartApi(5)),
    ("cancelOrder", (7, *NO_TAGS), m.CancelOrder(7)),
    ("reqGlobalCancel", NO_TAGS, m.GlobalCancel()),
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


@pytest.mark.parametrize("version", VERSIONS[:: len(VERSIONS) - 1 or 1])
@pytest.mark.parametrize(
    ("method", "args", "request_of_ours"), SIMPLE_REQUESTS, ids=lambda case: str(case)[:25]
)
def test_every_simple_request_of_ibapi_is_understood(
    method: str, args: tuple[Any, ...], request_of_ours: m.ClientRequest, version: int
) -> None:
    if method == "startApi":
        speaker, kept, _ = client(version)
        speaker.clientId = 5
        speaker.startApi()
        assert decode_client(version, kept.payloads[0]) == request_of_ours
        return
    assert said(method, *args, version=version) == request_of_ours


def test_a_cancel_says_when_it_was_decided_and_by_whom() -> None:
    for version in VERSIONS:
        expected = m.CancelOrder(7)
        if IS_CURRENT:
            tags = OrderCancel()
            if version >= 169:
                tags.manualOrderCancelTime = "20250123 10:00:00"
                expected = m.CancelOrder(7, "20250123 10:00:00")
            if version >= 192:
                tags.extOperator, tags.manualOrderIndicator = "who", 1
                expected = m.CancelOrder(7, "20250123 10:00:00", "who", 1)
                heard = said("reqGlobalCancel", tags, version=version)
                assert heard == m.GlobalCancel("who", 1)
            assert said("cancelOrder", 7, tags, version=version) == expected


@pytest.mark.slow
@given(st.data())
@random_messages
def test_every_request_about_a_contract_is_understood(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(VERSIONS))
    details = data.draw(client_requests(m.ReqContractDetails, version, PLAIN_TEXT))
    contract = theirs(details.contract, ib_contract.Contract)
    assert said("reqContractDetails", details.req_id, contract, version=version) == details

    market = attrs.evolve(data.draw(client_requests(m.ReqMktData, version, PLAIN_TEXT)), options="")
    contract = theirs(market.contract, ib_contract.Contract)
    asked: tuple[Any, ...] = (
        market.req_id,
        contract,
        market.generic_ticks,
        market.snapshot,
        market.regulatory_snapshot,
        [],
    )
    assert said("reqMktData", *asked, version=version) == market

    bars = attrs.evolve(data.draw(client_requests(m.ReqHistoricalData, version, PLAIN_TEXT)), options="")
    contract = theirs(bars.contract, ib_contract.Contract)
    wanted = (bars.end, bars.duration, bars.bar_size, bars.what, bars.use_rth, bars.format_date)
    call: tuple[Any, ...] = (bars.req_id, contract, *wanted, bars.keep_up_to_date, [])
    assert said("reqHistoricalData", *call, version=version) == bars


@given(st.data())
@random_messages
def test_every_execution_filter_is_understood(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(VERSIONS))
    asked = data.draw(client_requests(m.ReqExecutions, version, PLAIN_TEXT))
    wanted = theirs(asked.filter, ExecutionFilter)
    if IS_CURRENT and not asked.filter.specific_dates:
        wanted.specificDates = None
    assert said("reqExecutions", asked.req_id, wanted, version=version) == asked
