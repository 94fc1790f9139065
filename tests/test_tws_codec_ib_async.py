"""ib_async as second opinion: what it places we understand, what we say it reads, at all its versions."""

from __future__ import annotations

import logging
import random
from decimal import Decimal
from typing import Any

import attrs
import ib_async as ia
import pytest

from protocol.tws import messages as m
from protocol.tws.codec import decode_client, encode_server
from protocol.tws.kinds import UNSET_DOUBLE
from tests.ib_async_words import (
    VERSIONS,
    as_float,
    heard,
    ours,
    payload_of,
    theirs,
    with_whole_percents,
)
from tests.tws_random_orders import (
    random_completed_order,
    random_contract,
    random_object,
    random_open_order,
    random_placement,
)
from tests.tws_strategies import CONTRACT_OF_AN_EXECUTION, only, without

TIME = "20250123 10:00:00 US/Eastern"


@pytest.fixture(autouse=True)
def no_complaints(caplog: pytest.LogCaptureFixture) -> None:
    """ib_async logs what it cannot read, and goes on."""
    caplog.set_level(logging.INFO, "ib_async")


def hear(message: m.ServerMessage, version: int) -> tuple[str, tuple[Any, ...]]:
    (call,) = heard(encode_server(version, message), version)
    return call


def needs_every_field(message: m.ServerMessage, version: int) -> bool:
    """Whether the message without its last field is too short for ib_async, so that none is left over."""
    payload = encode_server(version, message)
    return not heard(payload[: payload.rstrip(b"\0").rfind(b"\0") + 1], version)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_field_of_a_hundred_orders_that_ib_async_places_is_understood(version: int) -> None:
    rng = random.Random(version)
    for _ in range(100):
        placed = random_placement(rng, version)
        order = without(with_whole_percents(placed.order), ["order_misc_options"])
        if not order.order_type.startswith("VOL"):
            order = attrs.evolve(order, volatility=None)  # the client takes it out
        placed = attrs.evolve(placed, order=order)
        their_order = theirs(order, ia.Order)
        if order.use_price_mgmt_algo is None:
            their_order.usePriceMgmtAlgo = None
        contract = theirs(placed.contract, ia.Contract)
        payload = payload_of(version, "placeOrder", placed.order_id, contract, their_order)
        assert decode_client(version, payload) == placed


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_ib_async_hears_every_field_of_a_hundred_open_orders(
    version: int, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(version)
    for number in range(100):
        message = random_open_order(rng, version)
        message = attrs.evolve(message, order=with_whole_percents(message.order))
        name, (order_id, contract, order, state) = hear(message, version)
        assert (name, order_id) == ("openOrder", message.order_id)
        assert ours(contract) == message.contract
        assert ours(state) == message.state
        assert ours(order) == _as_read(message.order)
        assert not caplog.records
        if number == 0:
            assert needs_every_field(message, version)
            caplog.clear()


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_ib_async_hears_every_field_of_fifty_completed_orders(version: int) -> None:
    rng = random.Random(version)
    for number in range(50):
        message = random_completed_order(rng, version)
        message = attrs.evolve(message, order=with_whole_percents(message.order))
        name, (contract, order, state) = hear(message, version)
        assert name == "completedOrder"
        assert ours(contract) == message.contract
        assert ours(state) == message.state
        assert ours(order) == attrs.evolve(_as_read(message.order), open_close=message.order.open_close)
        assert Decimal(str(order.filledQuantity)) == as_float(message.filled_quantity)
        assert number or needs_every_field(message, version)


def _as_read(order: m.Order) -> m.Order:
    return attrs.evolve(
        order,
        total_quantity=as_float(order.total_quantity),
        use_price_mgmt_algo=bool(order.use_price_mgmt_algo),
        scale_price_increment=order.scale_price_increment or None,  # there zero is unset
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_ib_async_hears_executions_statuses_and_commissions(version: int) -> None:
    rng = random.Random(version)
    late = ["submitter"] + ["pending_price_revision"] * (version < 178)
    for _ in range(20):
        contract = random_contract(rng, CONTRACT_OF_AN_EXECUTION)
        execution = attrs.evolve(without(random_object(rng, m.Execution), late), time=TIME)
        told = m.ExecDetails(-1, contract, execution)
        name, (req_id, their_contract, their_execution) = hear(told, version)
        assert (name, req_id, ours(their_contract)) == ("execDetails", -1, contract)
        assert their_execution.time.isoformat() == "2025-01-23T15:00:00+00:00"
        their_execution.time = TIME
        assert ours(their_execution) == attrs.evolve(
            execution,
            shares=as_float(execution.shares),
            cum_qty=as_float(execution.cum_qty),
            ev_multiplier=execution.ev_multiplier or 0.0,
        )
        assert needs_every_field(told, version)

        status = random_object(rng, m.OrderStatus)
        numbers = [float(one) if isinstance(one, Decimal) else one for one in attrs.astuple(status)]
        assert hear(status, version) == ("orderStatus", tuple(numbers))

        report = random_object(rng, m.CommissionReport)
        name, (their_report,) = hear(report, version)
        unset = UNSET_DOUBLE if report.realized_pnl is None else report.realized_pnl
        expected = (report.exec_id, report.commission, report.currency, unset)
        told_of = (their_report.execId, their_report.commission, their_report.currency)
        assert (name, *told_of, their_report.realizedPNL) == ("commissionReport", *expected)


@pytest.mark.parametrize("version", VERSIONS)
def test_ib_async_hears_contracts_positions_and_errors(version: int) -> None:
    rng = random.Random(version)
    sizes = ("min_size", "size_increment", "suggested_size_increment")
    for _ in range(20):
        details = random_object(rng, m.ContractDetails)
        named = CONTRACT_OF_AN_EXECUTION | {"primary_exchange"}
        contract = attrs.evolve(
            only(details.contract, named), last_trade_date_or_contract_month="20260320", sec_type="OPT"
        )
        details = without(details, ["md_size_multiplier", "fund", "ineligibility_reasons"])
        details = attrs.evolve(details, contract=contract, last_trade_time="16:00:00")
        told = m.ContractData(7, details)
        name, (req_id, their_details) = hear(told, version)
        read, expected = ours(their_details), details
        if version < 164:  # until then there was no such size, or only one that the clients disagree about
            read, expected = without(read, sizes), without(expected, sizes)
        expected = attrs.evolve(expected, **{size: as_float(getattr(expected, size)) for size in sizes})
        read = attrs.evolve(read, **{size: as_float(getattr(read, size)) for size in sizes})
        assert (name, req_id, read) == ("contractDetails", 7, expected)
        assert needs_every_field(told, version)

        held = m.Position("DU1", only(contract, CONTRACT_OF_AN_EXECUTION), Decimal("12.5"), 30.25)
        name, (account, their_contract, position, cost) = hear(held, version)
        assert (name, account, position, cost) == ("position", "DU1", 12.5, 30.25)
        assert ours(their_contract) == held.contract

        error = m.ErrorMessage(7, 201, "Order rejected - reason: no", "{}" if version >= 166 else "")
        assert hear(error, version) == ("error", (7, 201, error.text, error.advanced_json))


@pytest.mark.parametrize("version", VERSIONS)
def test_ib_async_hears_bars_and_their_end(version: int) -> None:
    bar = m.HistoricalBar(
        date="20250123", open=1.0, high=2.0, low=0.5, close=1.5, volume=Decimal(900), wap=1.25, count=3
    )
    payload = encode_server(version, m.HistoricalData(7, "a", "b", (bar, bar)))
    first, second, end = heard(payload, version)
    assert [first[0], second[0], end] == [
        "historicalData",
        "historicalData",
        ("historicalDataEnd", (7, "a", "b")),
    ]
    assert ours(second[1][1]) == attrs.evolve(bar, volume=Decimal("900.0"))
    name, (_, newest) = hear(m.HistoricalDataUpdate(7, bar), version)
    assert (name, ours(newest)) == ("historicalDataUpdate", bar)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_every_other_request_of_ib_async_is_understood(version: int) -> None:
    contract = random_contract(random.Random(1), CONTRACT_OF_AN_EXECUTION | {"primary_exchange"})
    contract = attrs.evolve(contract, sec_type="STK")
    their_contract = theirs(contract, ia.Contract)
    requests: list[tuple[tuple[Any, ...], m.ClientRequest]] = [
        (("cancelOrder", 7, ""), m.CancelOrder(7)),
        (("reqGlobalCancel",), m.GlobalCancel()),
        (("reqExecutions", 9, ia.ExecutionFilter()), m.ReqExecutions(9, m.ExecutionFilter())),
        (("reqContractDetails", 9, their_contract), m.ReqContractDetails(9, contract)),
        (("reqMktData", 9, their_contract, "233", False, False, []), m.ReqMktData(9, contract, "233")),
        (
            ("reqHistoricalData", 9, their_contract, "", "1 D", "1 min", "TRADES", True, 1, False, []),
            m.ReqHistoricalData(9, contract, "", "1 min", "1 D", True, "TRADES", 1, False),
        ),
        (("reqAccountUpdates", True, "DU1"), m.ReqAccountUpdates(True, "DU1")),
        (("reqPnLSingle", 9, "DU1", "", 11), m.ReqPnLSingle(9, "DU1", "", 11)),
        (("reqCompletedOrders", False), m.ReqCompletedOrders(False)),
        (("reqUserInfo", 9), m.ReqUserInfo(9)),
    ]
    for call, expected in requests:
        assert decode_client(version, payload_of(version, *call)) == expected


def test_an_offset_up_to_the_middle_is_understood_as_ib_async_writes_it() -> None:
    order = ia.Order(orderType="PEG BEST", competeAgainstBestOffset=float("inf"), midOffsetAtWhole=0.5)
    placed = decode_client(178, payload_of(178, "placeOrder", 7, ia.Stock("SLV", "SMART", "USD"), order))
    assert isinstance(placed, m.PlaceOrder)
    asked = (placed.order.compete_against_best_offset, placed.order.mid_offset_at_whole)
    assert asked == (float("inf"), 0.5)
