"""The official client as second opinion: whatever we send, ibapi reads; equal values, nothing left over."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, cast

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibapi.common import TickAttrib
from ibapi.decoder import Decoder

from protocol.tws import messages as m
from protocol.tws.codec import encode_server
from protocol.tws.kinds import UNSET_DOUBLE
from tests.ibapi_words import (
    IS_CURRENT,
    VERSION,
    VERSIONS,
    RecordingWrapper,
    ours,
    random_messages,
    without_old,
)
from tests.tws_random_orders import random_completed_order, random_open_order
from tests.tws_strategies import (
    NOT_COMPLETED,
    PLAIN_TEXT,
    PREVIEW,
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


@functools.cache
def decoder_of(version: int) -> tuple[RecordingWrapper, Any]:
    wrapper = RecordingWrapper()
    return wrapper, Decoder(wrapper, version)


def heard(message: m.ServerMessage, version: int = VERSION) -> list[tuple[str, tuple[Any, ...]]]:
    """What ibapi's decoder calls for a message of ours, having read every field of it."""
    wrapper, decoder = decoder_of(version)
    wrapper.calls = []
    said = tuple(encode_server(version, message).split(b"\0")[:-1])
    if IS_CURRENT:
        fields = CountedFields(said[1:])
        decoder.interpret(fields, int(said[0]))
    else:
        fields = CountedFields(said)
        decoder.interpret(fields)
    # Zero: read by the signature of its callback, which drops a message of any other length.
    assert fields.iterated in {0, len(fields)}
    return wrapper.calls


def number(value: Decimal) -> Decimal | float:
    """A quantity as this ibapi hands it on."""
    return value if IS_CURRENT else float(value)


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
ANY_VERSION = st.sampled_from(VERSIONS)


def at_any_version(of: type, text: st.SearchStrategy[str] = PLAIN_TEXT) -> st.SearchStrategy[tuple[Any, int]]:
    """A random message of a class, and the version it is for."""
    return ANY_VERSION.flatmap(
        lambda version: st.tuples(server_messages(of, version, text), st.just(version))
    )


@pytest.mark.parametrize("of", EXPECTED_CALLS, ids=lambda of: of.__name__)
@given(data=st.data())
@settings(random_messages, max_examples=10)
def test_ibapi_hears_what_a_plain_message_says(of: type, data: st.DataObject) -> None:
    read_by_signature = of not in {m.TickReqParams, m.OrderStatus}
    text = ANY_BMP_TEXT if read_by_signature else PLAIN_TEXT
    version = data.draw(ANY_VERSION)
    message = data.draw(server_messages(of, version, text))
    said_so = tuple(number(value) if isinstance(value, Decimal) else value for value in texts_of(message))
    assert heard(message, version) == [(EXPECTED_CALLS[of], said_so)]


@given(at_any_version(m.ErrorMessage, ANY_BMP_TEXT))
@random_messages
def test_ibapi_hears_every_error_as_it_was_said(drawn: tuple[m.ErrorMessage, int]) -> None:
    error, version = drawn
    told: tuple[Any, ...] = (error.id, error.code, error.text)
    if IS_CURRENT:
        told = (error.id, error.time_ms, error.code, error.text, error.advanced_json)
    assert heard(error, version) == [("error", told)]


@pytest.mark.slow
@given(at_any_version(m.OpenOrder))
@settings(random_messages, max_examples=40)
def test_ibapi_hears_every_open_order_as_it_was_said(drawn: tuple[m.OpenOrder, int]) -> None:
    hear_open_order(*drawn)


@pytest.mark.slow
def test_ibapi_hears_every_field_of_a_thousand_open_orders() -> None:
    for rng, version in seeded_versions(1000):
        hear_open_order(random_open_order(rng, version), version)


def seeded_versions(times: int) -> Iterator[tuple[random.Random, int]]:
    """So many draws, evenly over the versions of this ibapi."""
    rng = random.Random(7)
    return ((rng, VERSIONS[number % len(VERSIONS)]) for number in range(times))


def hear_open_order(message: m.OpenOrder, version: int) -> None:
    ((name, (order_id, contract, order, state)),) = heard(message, version)
    assert (name, order_id) == ("openOrder", message.order_id)
    assert ours(contract) == message.contract
    assert ours(state, m.OrderState) == message.state
    # Empty is False there; in a completed order the field does not travel, and None stays None.
    expected = attrs.evolve(message.order, use_price_mgmt_algo=bool(message.order.use_price_mgmt_algo))
    assert ours(order, m.Order) == _as_ibapi_reads(without_old(expected))


@pytest.mark.slow
@given(at_any_version(m.CompletedOrder))
@settings(random_messages, max_examples=30)
def test_ibapi_hears_every_completed_order_as_it_was_said(drawn: tuple[m.CompletedOrder, int]) -> None:
    hear_completed_order(*drawn)


@pytest.mark.slow
def test_ibapi_hears_every_field_of_a_thousand_completed_orders() -> None:
    for rng, version in seeded_versions(1000):
        hear_completed_order(random_completed_order(rng, version), version)


def hear_completed_order(message: m.CompletedOrder, version: int) -> None:
    ((name, (contract, order, state)),) = heard(message, version)
    assert name == "completedOrder"
    assert ours(contract) == message.contract
    assert ours(state, m.OrderState) == message.state
    assert order.filledQuantity == number(message.filled_quantity)
    order.eTradeOnly = order.firmQuoteOnly = False  # True by default in 9.81, and not in the message
    assert ours(order, m.Order) == _as_ibapi_reads(without_old(message.order))


@pytest.mark.parametrize("version", VERSIONS)
def test_no_two_attributes_of_an_open_order_change_places(version: int) -> None:
    contract = attrs.evolve(without(telling_contract(), ["primary_exchange"]), combo_legs_descrip="legs")
    margins: dict[str, Any] = {
        name: number + 0.5
        for number, (name, default) in enumerate(attrs.asdict(m.OrderState()).items())
        if default is None and name not in PREVIEW
    }
    if version >= 195:
        margins |= {name: number + 0.25 for number, name in enumerate(PREVIEW[1:10])}
        margins |= {"margin_currency": "EUR", "reject_reason": "r", "suggested_size": Decimal(7)}
        account = m.OrderAllocation(
            account="DU1",
            position=Decimal(1),
            position_desired=Decimal(2),
            position_after=Decimal(3),
            desired_alloc_qty=Decimal(4),
            allowed_alloc_qty=Decimal(5),
            is_monetary=True,
        )
        margins["order_allocations"] = (account, m.OrderAllocation(account="DU2"))
    state = attrs.evolve(
        m.OrderState(status="Submitted", commission_currency="USD", warning_text="w"), **cast("Any", margins)
    )
    for order in telling_orders(version)[: None if version == VERSIONS[-1] else 2]:
        order = without_old(echoed(order, version))
        ((_, (order_id, contract_heard, order_heard, state_heard)),) = heard(
            m.OpenOrder(7, contract, order, state), version
        )
        assert (order_id, ours(contract_heard)) == (7, contract)
        assert ours(state_heard, m.OrderState) == state
        assert ours(order_heard, m.Order) == attrs.evolve(
            order, use_price_mgmt_algo=bool(order.use_price_mgmt_algo)
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_no_two_attributes_of_a_completed_order_change_places(version: int) -> None:
    contract = attrs.evolve(without(telling_contract(), ["primary_exchange"]), combo_legs_descrip="legs")
    state = m.OrderState(status="Filled", completed_time="t", completed_status="s")
    for order in telling_orders(version)[: None if version == VERSIONS[-1] else 2]:
        order = attrs.evolve(without_old(without(order, NOT_COMPLETED)), auto_cancel_parent=order.outside_rth)
        ((_, (contract_heard, order_heard, state_heard)),) = heard(
            m.CompletedOrder(contract, order, state, Decimal(5)), version
        )
        order_heard.eTradeOnly = order_heard.firmQuoteOnly = False
        assert (ours(contract_heard), ours(state_heard, m.OrderState)) == (contract, state)
        assert ours(order_heard, m.Order) == order
        assert order_heard.filledQuantity == 5.0


def _quantity(value: Decimal) -> Decimal:
    return value if IS_CURRENT else Decimal(str(float(value)))


def _as_ibapi_reads(order: m.Order) -> m.Order:
    """ibapi 9.81 reads quantities as floats; both read these two as 0 when they are empty."""
    return attrs.evolve(
        order,
        total_quantity=_quantity(order.total_quantity),
        volatility_type=order.volatility_type or 0,
        reference_price_type=order.reference_price_type or 0,
    )


@given(at_any_version(m.ExecDetails))
@random_messages
def test_ibapi_hears_every_execution_as_it_was_said(drawn: tuple[m.ExecDetails, int]) -> None:
    message, version = drawn
    ((name, (req_id, contract, execution)),) = heard(message, version)
    assert (name, req_id) == ("execDetails", message.req_id)
    assert ours(contract) == message.contract
    assert ours(execution, m.Execution) == attrs.evolve(
        message.execution,
        shares=_quantity(message.execution.shares),
        cum_qty=_quantity(message.execution.cum_qty),
        ev_multiplier=message.execution.ev_multiplier or 0.0,
    )


@given(at_any_version(m.CommissionReport))
@random_messages
def test_ibapi_hears_every_commission_as_it_was_said(drawn: tuple[m.CommissionReport, int]) -> None:
    message, version = drawn
    ((name, (report,)),) = heard(message, version)
    pnl = None if report.realizedPNL == UNSET_DOUBLE else report.realizedPNL
    assert name == ("commissionAndFeesReport" if IS_CURRENT else "commissionReport")
    commission = report.commissionAndFees if IS_CURRENT else report.commission
    assert m.CommissionReport(report.execId, commission, report.currency, pnl) == message


@given(at_any_version(m.Position))
@random_messages
def test_ibapi_hears_every_position_as_it_was_said(drawn: tuple[m.Position, int]) -> None:
    message, version = drawn
    ((name, (account, contract, position, cost)),) = heard(message, version)
    assert (name, account, cost) == ("position", message.account, message.avg_cost)
    assert (ours(contract), position) == (message.contract, number(message.position))


@given(at_any_version(m.PortfolioValue))
@random_messages
def test_ibapi_hears_every_portfolio_line_as_it_was_said(drawn: tuple[m.PortfolioValue, int]) -> None:
    message, version = drawn
    ((name, (contract, position, *numbers)),) = heard(message, version)
    assert (name, ours(contract)) == ("updatePortfolio", message.contract)
    assert (position, *numbers) == (number(message.position), *texts_of(message)[2:])


@given(at_any_version(m.ContractData))
@random_messages
def test_ibapi_hears_every_contract_as_it_was_said(drawn: tuple[m.ContractData, int]) -> None:
    message, version = drawn
    ((name, (req_id, details)),) = heard(message, version)
    assert (name, req_id) == ("contractDetails", message.req_id)
    unread = ["md_size_multiplier"] if IS_CURRENT else []
    unread += ["min_size"] if IS_CURRENT and version == 163 else []
    heard_of, expected = without(ours(details), unread), without(message.details, unread)
    if IS_CURRENT and version < 164:
        # Sizes that were not said are unset there, which reads as zero here.
        sizes = ["min_size", "size_increment", "suggested_size_increment"]
        heard_of, expected = without(heard_of, sizes), without(expected, sizes)
    assert heard_of == expected


@given(at_any_version(m.MarketRule))
@random_messages
def test_ibapi_hears_every_market_rule_as_it_was_said(drawn: tuple[m.MarketRule, int]) -> None:
    message, version = drawn
    ((name, (rule_id, increments)),) = heard(message, version)
    assert (name, rule_id, ours(increments)) == ("marketRule", message.rule_id, message.increments)


@given(at_any_version(m.HistoricalData))
@random_messages
def test_ibapi_hears_every_history_as_it_was_said(drawn: tuple[m.HistoricalData, int]) -> None:
    message, version = drawn
    bars = heard(message, version)
    if version >= 196:
        bars += heard(m.HistoricalDataEnd(message.req_id, message.start, message.end), version)
    *bars, end = bars
    assert end == ("historicalDataEnd", (message.req_id, message.start, message.end))
    assert [(name, req_id) for name, (req_id, _) in bars] == [("historicalData", message.req_id)] * len(bars)
    assert tuple(ours(bar) for _, (_, bar) in bars) == message.bars


@given(at_any_version(m.HistoricalDataUpdate))
@random_messages
def test_ibapi_hears_every_new_bar_as_it_was_said(drawn: tuple[m.HistoricalDataUpdate, int]) -> None:
    message, version = drawn
    ((name, (req_id, bar)),) = heard(message, version)
    assert (name, req_id, ours(bar)) == ("historicalDataUpdate", message.req_id, message.bar)


@given(st.lists(st.sampled_from(["DU1", "DU2", "U3"]), max_size=3).map(tuple))
@random_messages
def test_ibapi_hears_the_accounts(accounts: tuple[str, ...]) -> None:
    assert heard(m.ManagedAccounts(accounts)) == [("managedAccounts", (",".join(accounts),))]


@given(at_any_version(m.TickPrice), st.sampled_from([1, 2, 4, 6, 9]))
@random_messages
def test_ibapi_hears_a_price_and_its_size(drawn: tuple[m.TickPrice, int], tick_type: int) -> None:
    tick, version = drawn
    tick = attrs.evolve(tick, tick_type=tick_type, attr_mask=tick.attr_mask & 7)
    (name, (req_id, kind, price, attribute)), *rest = heard(tick, version)
    assert (name, req_id, kind, price) == ("tickPrice", tick.req_id, tick_type, tick.price)
    assert isinstance(attribute, TickAttrib)
    mask = attribute.canAutoExecute | attribute.pastLimit << 1 | attribute.preOpen << 2
    assert mask == tick.attr_mask
    sizes = {1: 0, 2: 3, 4: 5}
    size = tick.size if version >= 163 else int(tick.size)
    expected = [("tickSize", (tick.req_id, sizes[tick_type], size))] if tick_type in sizes else []
    assert rest == expected


@pytest.mark.parametrize("of", [m.PnL, m.PnLSingle])
@given(data=st.data())
@random_messages
def test_ibapi_hears_every_profit_and_loss_as_it_was_said(of: type, data: st.DataObject) -> None:
    version = data.draw(ANY_VERSION)
    message = data.draw(server_messages(of, version, PLAIN_TEXT))
    ((name, numbers),) = heard(message, version)
    assert name == {m.PnL: "pnl", m.PnLSingle: "pnlSingle"}[of]
    assert tuple(None if number == UNSET_DOUBLE else number for number in numbers) == texts_of(message)
