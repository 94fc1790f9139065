"""The official client as second opinion: whatever we send, ibapi reads; equal values, nothing left over."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibapi.common import UNSET_DOUBLE, TickAttrib
from ibapi.decoder import Decoder

from protocol.tws import messages as m
from protocol.tws.codec import encode_server
from tests.ibapi_words import VERSION, RecordingWrapper, ours, random_messages
from tests.tws_strategies import (
    NOT_COMPLETED,
    PLAIN_TEXT,
    echoed,
    server_messages,
    telling_contract,
    telling_orders,
    without,
)


class CountedFields:
    """The fields of a message, which know how many of them were read one after the other."""

    def __init__(self, fields: tuple[bytes, ...]) -> None:
        self.fields, self.iterated = fields, 0

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, at: int) -> bytes:
        return self.fields[at]

    def __iter__(self) -> Iterator[bytes]:
        for field in self.fields:
            self.iterated += 1
            yield field


def heard(message: m.ServerMessage) -> list[tuple[str, tuple[Any, ...]]]:
    """What ibapi's decoder calls for a message of ours, having read every field of it."""
    wrapper = RecordingWrapper()
    fields = CountedFields(tuple(encode_server(VERSION, message).split(b"\0")[:-1]))
    Decoder(wrapper, VERSION).interpret(fields)
    # Zero: read by the signature of its callback, which drops a message of any other length.
    assert fields.iterated in {0, len(fields)}
    return wrapper.calls


def texts_of(message: m.ServerMessage) -> tuple[Any, ...]:
    return tuple(getattr(message, field.name) for field in attrs.fields(type(message)))


EXPECTED_CALLS: dict[type, str] = {
    m.NextValidId: "nextValidId",
    m.CurrentTime: "currentTime",
    m.OpenOrderEnd: "openOrderEnd",
    m.ExecDetailsEnd: "execDetailsEnd",
    m.CompletedOrdersEnd: "completedOrdersEnd",
    m.PositionEnd: "positionEnd",
    m.AccountValue: "updateAccountValue",
    m.AccountUpdateTime: "updateAccountTime",
    m.AccountDownloadEnd: "accountDownloadEnd",
    m.AccountSummary: "accountSummary",
    m.AccountSummaryEnd: "accountSummaryEnd",
    m.AccountUpdateMulti: "accountUpdateMulti",
    m.AccountUpdateMultiEnd: "accountUpdateMultiEnd",
    m.ContractDataEnd: "contractDetailsEnd",
    m.MarketDataType: "marketDataType",
    m.TickReqParams: "tickReqParams",
    m.TickSize: "tickSize",
    m.TickGeneric: "tickGeneric",
    m.TickString: "tickString",
    m.TickSnapshotEnd: "tickSnapshotEnd",
    m.OrderStatus: "orderStatus",
}
ANY_BMP_TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=6)
"""ibapi undoes escapes one by one, so a character of two escapes does not come out whole."""


@pytest.mark.parametrize("of", EXPECTED_CALLS, ids=lambda of: of.__name__)
@given(data=st.data())
@settings(random_messages, max_examples=10)
def test_ibapi_hears_what_a_plain_message_says(of: type, data: st.DataObject) -> None:
    read_by_signature = of not in {m.TickReqParams, m.OrderStatus}
    text = ANY_BMP_TEXT if read_by_signature else PLAIN_TEXT
    message = data.draw(server_messages(of, VERSION, text))
    said_so = tuple(float(value) if isinstance(value, Decimal) else value for value in texts_of(message))
    assert heard(message) == [(EXPECTED_CALLS[of], said_so)]


@given(server_messages(m.ErrorMessage, VERSION, ANY_BMP_TEXT))
@random_messages
def test_ibapi_hears_every_error_as_it_was_said(error: m.ErrorMessage) -> None:
    assert heard(error) == [("error", (error.id, error.code, error.text))]


@pytest.mark.slow
@given(server_messages(m.OpenOrder, VERSION, PLAIN_TEXT))
@settings(random_messages, max_examples=150)
def test_ibapi_hears_every_open_order_as_it_was_said(message: m.OpenOrder) -> None:
    ((name, (order_id, contract, order, state)),) = heard(message)
    assert (name, order_id) == ("openOrder", message.order_id)
    assert ours(contract) == message.contract
    assert ours(state, m.OrderState) == message.state
    # Empty is False there; in a completed order the field does not travel, and None stays None.
    expected = attrs.evolve(message.order, use_price_mgmt_algo=bool(message.order.use_price_mgmt_algo))
    assert ours(order, m.Order) == _as_ibapi_reads(expected)


@pytest.mark.slow
@given(server_messages(m.CompletedOrder, VERSION, PLAIN_TEXT))
@settings(random_messages, max_examples=100)
def test_ibapi_hears_every_completed_order_as_it_was_said(message: m.CompletedOrder) -> None:
    ((name, (contract, order, state)),) = heard(message)
    assert name == "completedOrder"
    assert ours(contract) == message.contract
    assert ours(state, m.OrderState) == message.state
    assert Decimal(str(order.filledQuantity)) == Decimal(str(float(message.filled_quantity)))
    order.eTradeOnly = order.firmQuoteOnly = False  # True by default there, and not in the message
    assert ours(order, m.Order) == _as_ibapi_reads(message.order)


def test_no_two_attributes_of_an_open_order_change_places() -> None:
    contract = attrs.evolve(without(telling_contract(), ["primary_exchange"]), combo_legs_descrip="legs")
    margins = {
        name: number + 0.5
        for number, (name, default) in enumerate(attrs.asdict(m.OrderState()).items())
        # The preview outside regular hours came with version 195, far beyond this client.
        if default is None and name != "suggested_size" and not name.endswith("_outside_rth")
    }
    state = attrs.evolve(
        m.OrderState(status="Submitted", commission_currency="USD", warning_text="w"), **cast("Any", margins)
    )
    for order in telling_orders(VERSION):
        order = echoed(order, VERSION)
        ((_, (order_id, contract_heard, order_heard, state_heard)),) = heard(
            m.OpenOrder(7, contract, order, state)
        )
        assert (order_id, ours(contract_heard)) == (7, contract)
        assert ours(state_heard, m.OrderState) == state
        assert ours(order_heard, m.Order) == attrs.evolve(
            order, use_price_mgmt_algo=bool(order.use_price_mgmt_algo)
        )


def test_no_two_attributes_of_a_completed_order_change_places() -> None:
    contract = attrs.evolve(without(telling_contract(), ["primary_exchange"]), combo_legs_descrip="legs")
    state = m.OrderState(status="Filled", completed_time="t", completed_status="s")
    for order in telling_orders(VERSION):
        order = attrs.evolve(without(order, NOT_COMPLETED), auto_cancel_parent=order.outside_rth)
        ((_, (contract_heard, order_heard, state_heard)),) = heard(
            m.CompletedOrder(contract, order, state, Decimal(5))
        )
        order_heard.eTradeOnly = order_heard.firmQuoteOnly = False
        assert (ours(contract_heard), ours(state_heard, m.OrderState)) == (contract, state)
        assert ours(order_heard, m.Order) == order
        assert order_heard.filledQuantity == 5.0


def _as_ibapi_reads(order: m.Order) -> m.Order:
    """ibapi reads quantities as floats, and these two as 0 when they are empty."""
    return attrs.evolve(
        order,
        total_quantity=Decimal(str(float(order.total_quantity))),
        volatility_type=order.volatility_type or 0,
        reference_price_type=order.reference_price_type or 0,
    )


@given(server_messages(m.ExecDetails, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_execution_as_it_was_said(message: m.ExecDetails) -> None:
    ((name, (req_id, contract, execution)),) = heard(message)
    assert (name, req_id) == ("execDetails", message.req_id)
    assert ours(contract) == message.contract
    assert ours(execution, m.Execution) == attrs.evolve(
        message.execution,
        shares=Decimal(str(float(message.execution.shares))),
        cum_qty=Decimal(str(float(message.execution.cum_qty))),
        ev_multiplier=message.execution.ev_multiplier or 0.0,
    )


@given(server_messages(m.CommissionReport, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_commission_as_it_was_said(message: m.CommissionReport) -> None:
    ((name, (report,)),) = heard(message)
    pnl = None if report.realizedPNL == UNSET_DOUBLE else report.realizedPNL
    assert name == "commissionReport"
    assert m.CommissionReport(report.execId, report.commission, report.currency, pnl) == message


@given(server_messages(m.Position, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_position_as_it_was_said(message: m.Position) -> None:
    ((name, (account, contract, position, cost)),) = heard(message)
    assert (name, account, cost) == ("position", message.account, message.avg_cost)
    assert (ours(contract), position) == (message.contract, float(message.position))


@given(server_messages(m.PortfolioValue, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_portfolio_line_as_it_was_said(message: m.PortfolioValue) -> None:
    ((name, (contract, position, *numbers)),) = heard(message)
    assert (name, ours(contract)) == ("updatePortfolio", message.contract)
    assert (position, *numbers) == (float(message.position), *texts_of(message)[2:])


@given(server_messages(m.ContractData, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_contract_as_it_was_said(message: m.ContractData) -> None:
    ((name, (req_id, details)),) = heard(message)
    assert (name, req_id) == ("contractDetails", message.req_id)
    assert ours(details) == message.details


@given(server_messages(m.MarketRule, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_market_rule_as_it_was_said(message: m.MarketRule) -> None:
    ((name, (rule_id, increments)),) = heard(message)
    assert (name, rule_id, ours(increments)) == ("marketRule", message.rule_id, message.increments)


@given(server_messages(m.HistoricalData, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_history_as_it_was_said(message: m.HistoricalData) -> None:
    *bars, end = heard(message)
    assert end == ("historicalDataEnd", (message.req_id, message.start, message.end))
    assert [(name, req_id) for name, (req_id, _) in bars] == [("historicalData", message.req_id)] * len(bars)
    assert tuple(ours(bar) for _, (_, bar) in bars) == message.bars


@given(server_messages(m.HistoricalDataUpdate, VERSION, PLAIN_TEXT))
@random_messages
def test_ibapi_hears_every_new_bar_as_it_was_said(message: m.HistoricalDataUpdate) -> None:
    ((name, (req_id, bar)),) = heard(message)
    assert (name, req_id, ours(bar)) == ("historicalDataUpdate", message.req_id, message.bar)


@given(st.lists(st.sampled_from(["DU1", "DU2", "U3"]), max_size=3).map(tuple))
@random_messages
def test_ibapi_hears_the_accounts(accounts: tuple[str, ...]) -> None:
    assert heard(m.ManagedAccounts(accounts)) == [("managedAccounts", (",".join(accounts),))]


@given(server_messages(m.TickPrice, VERSION, PLAIN_TEXT), st.sampled_from([1, 2, 4, 6, 9]))
@random_messages
def test_ibapi_hears_a_price_and_its_size(tick: m.TickPrice, tick_type: int) -> None:
    tick = attrs.evolve(tick, tick_type=tick_type, attr_mask=tick.attr_mask & 7)
    (name, (req_id, kind, price, attribute)), *rest = heard(tick)
    assert (name, req_id, kind, price) == ("tickPrice", tick.req_id, tick_type, tick.price)
    assert isinstance(attribute, TickAttrib)
    mask = attribute.canAutoExecute | attribute.pastLimit << 1 | attribute.preOpen << 2
    assert mask == tick.attr_mask
    sizes = {1: 0, 2: 3, 4: 5}
    expected = [("tickSize", (tick.req_id, sizes[tick_type], int(tick.size)))] if tick_type in sizes else []
    assert rest == expected


@pytest.mark.parametrize("of", [m.PnL, m.PnLSingle])
@given(data=st.data())
@random_messages
def test_ibapi_hears_every_profit_and_loss_as_it_was_said(of: type, data: st.DataObject) -> None:
    message = data.draw(server_messages(of, VERSION, PLAIN_TEXT))
    ((name, numbers),) = heard(message)
    assert name == {m.PnL: "pnl", m.PnLSingle: "pnlSingle"}[of]
    assert tuple(None if number == UNSET_DOUBLE else number for number in numbers) == texts_of(message)
