"""ib_async as second opinion, at every version that it speaks: what it sends we read, what we send it reads.

Its own client and decoder do the work; only the connection under them and the wrapper above are fakes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, Final

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ib_async import objects as ib_objects

from protocol.tws import messages as m
from protocol.tws.codec import decode_client, encode_server
from protocol.tws.kinds import UNSET_DOUBLE
from protocol.tws.versions import ADVERTISED, OLDEST
from protocol.tws.versions import spoken as spoken_versions
from tests.ib_async_wire import NAMES, check, decoded, heard, made, order_of, speaker
from tests.ibapi_words import random_messages
from tests.pair_orders import (
    ALL_CONDITIONS,
    completed_order,
    exec_details,
    open_order,
    placement,
    telling_placements,
)
from tests.pair_words import differences, spoken
from tests.tws_strategies import (
    CONTRACT_OF_A_REQUEST,
    CONTRACT_OF_AN_EXECUTION,
    CONTRACT_OF_AN_ORDER_ECHO,
    NOT_COMPLETED,
    PLAIN_TEXT,
    echoed,
    only,
    server_messages,
    telling_contract,
    telling_orders,
    without,
)
from tests.tws_strategies import placements as some_placements

VERSIONS: Final = tuple(version for version in spoken_versions() if version <= ADVERTISED)
FEW_QUICKLY: Final = [
    pytest.param(version, marks=[] if version in {OLDEST, ADVERTISED} else pytest.mark.slow)
    for version in VERSIONS
]

# --- what ib_async sends -----------------------------------------------------------------------------


def understood(version: int, placed: m.PlaceOrder) -> m.ClientRequest:
    client, kept = speaker(version)
    contract = made(spoken(placed.contract, NAMES))
    client.placeOrder(placed.order_id, contract, order_of(placed.order))
    (payload,) = kept.payloads
    return decode_client(version, payload)


def as_ib_async_sends(placed: m.PlaceOrder) -> m.PlaceOrder:
    """ib_async leaves the volatility out of every order that is not about it."""
    order = placed.order
    if not order.order_type.startswith("VOL"):
        order = without(order, ["volatility"])
    return attrs.evolve(placed, order=order)


def check_placement(version: int, placed: m.PlaceOrder) -> None:
    assert understood(version, placed) == as_ib_async_sends(placed)


@given(st.sampled_from(VERSIONS).flatmap(lambda at: st.tuples(st.just(at), some_placements(at, PLAIN_TEXT))))
@settings(random_messages, max_examples=15)
def test_orders_that_ib_async_places_are_understood(case: tuple[int, m.PlaceOrder]) -> None:
    version, placed = case
    # ib_async builds the options from pairs; it has no way of sending other text.
    check_placement(version, attrs.evolve(placed, order=attrs.evolve(placed.order, order_misc_options="")))


@pytest.mark.parametrize("version", FEW_QUICKLY)
def test_no_two_attributes_of_an_order_of_ib_async_change_places(version: int) -> None:
    for placed in telling_placements(version):
        check_placement(version, placed)


@pytest.mark.parametrize("version", VERSIONS)
def test_many_orders_of_ib_async_are_understood(version: int) -> None:
    dice = Random(version)
    for _ in range(8):
        check_placement(version, placement(version, dice))


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_very_many_orders_of_ib_async_are_understood(version: int) -> None:
    dice = Random(1000 + version)
    for _ in range(50):
        check_placement(version, placement(version, dice))


@pytest.mark.parametrize("version", VERSIONS)
def test_cancels_and_requests_of_ib_async_are_understood(version: int) -> None:
    cancelled_at = "20250123-15:00:00" if version >= 169 else ""
    wanted = m.ExecutionFilter(client_id=1, account="DU1", time="t", symbol="SLV", side="BUY")
    asked = ib_objects.ExecutionFilter(clientId=1, acctCode="DU1", time="t", symbol="SLV", side="BUY")
    combination = telling_contract()
    legs = tuple(only(leg, ("con_id", "ratio", "action", "exchange")) for leg in combination.combo_legs)
    combination = attrs.evolve(combination, combo_legs=legs)
    plain_one = only(combination, CONTRACT_OF_A_REQUEST)
    about = attrs.evolve(plain_one, sec_id="US0", issuer_id="issuer" if version >= 176 else "")
    said, said_plainly = made(spoken(combination, NAMES)), made(spoken(about, NAMES))
    bars: tuple[Any, ...] = ("", "2 D", "1 min", "TRADES", 1, 2, True, [])
    undelta = attrs.evolve(combination, delta_neutral_contract=None)
    calls: list[tuple[str, tuple[Any, ...], m.ClientRequest]] = [
        ("cancelOrder", (7, cancelled_at), m.CancelOrder(7, manual_cancel_time=cancelled_at)),
        ("reqGlobalCancel", (), m.GlobalCancel()),
        ("reqExecutions", (9, asked), m.ReqExecutions(9, wanted)),
        ("reqContractDetails", (9, said_plainly), m.ReqContractDetails(9, about)),
        ("reqMktData", (9, said, "233", False, True, []), m.ReqMktData(9, combination, "233", False, True)),
        (
            "reqHistoricalData",
            (9, said, *bars),
            m.ReqHistoricalData(9, undelta, "", "1 min", "2 D", True, "TRADES", 2, True),
        ),
        ("reqPnLSingle", (9, "DU1", "", 11), m.ReqPnLSingle(9, "DU1", "", 11)),
        ("reqAccountUpdates", (True, "DU1"), m.ReqAccountUpdates(True, "DU1")),
        ("reqCompletedOrders", (True,), m.ReqCompletedOrders(True)),
    ]
    for method, args, meant in calls:
        client, kept = speaker(version)
        getattr(client, method)(*args)
        assert [decode_client(version, payload) for payload in kept.payloads] == [meant]


# --- what ib_async reads -----------------------------------------------------------------------------


def as_read(order: m.Order) -> m.Order:
    """ib_async has no third value for the one, and takes nothing for unset in the other."""
    return attrs.evolve(
        order,
        use_price_mgmt_algo=bool(order.use_price_mgmt_algo),
        scale_price_increment=order.scale_price_increment or None,
    )


def check_open_order(version: int, message: m.OpenOrder) -> None:
    ((name, (order_id, contract, order, state)),) = heard(version, message)
    assert (name, order_id, order["orderId"]) == ("openOrder", message.order_id, message.order_id)
    check(message.contract, contract)
    check(as_read(message.order), order, frozenset({"orderId"}))
    check(message.state, state)


def check_completed_order(version: int, message: m.CompletedOrder) -> None:
    ((name, (contract, order, state)),) = heard(version, message)
    assert (name, order["filledQuantity"]) == ("completedOrder", float(message.filled_quantity))
    check(message.contract, contract)
    check(as_read(message.order), order, frozenset({"filledQuantity"}))
    check(message.state, state)


TIMES: Final = (
    ("20250123  10:00:01", datetime(2025, 1, 23, 15, 0, 1, tzinfo=UTC)),
    ("20250123-10:00:01", datetime(2025, 1, 23, 15, 0, 1, tzinfo=UTC)),
    ("20250123 10:00:01 US/Eastern", datetime(2025, 1, 23, 15, 0, 1, tzinfo=UTC)),
    ("1737644401", datetime(2025, 1, 23, 15, 0, 1, tzinfo=UTC)),
)


def check_execution(version: int, message: m.ExecDetails, time: tuple[str, datetime]) -> None:
    text, at = time
    message = attrs.evolve(message, execution=attrs.evolve(message.execution, time=text))
    ((name, (req_id, contract, execution)),) = heard(version, message)
    assert (name, req_id, execution.pop("time")) == ("execDetails", message.req_id, at)
    check(message.contract, contract)
    multiplier = message.execution.ev_multiplier or 0.0
    said = attrs.evolve(message.execution, ev_multiplier=multiplier, time="")
    check(said, execution | {"time": ""})


@pytest.mark.parametrize("version", VERSIONS)
def test_many_orders_and_executions_are_heard_by_ib_async(version: int) -> None:
    hear_many(version, Random(version), 4)


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_very_many_orders_and_executions_are_heard_by_ib_async(version: int) -> None:
    hear_many(version, Random(1000 + version), 20)


def hear_many(version: int, dice: Random, rounds: int) -> None:
    for _ in range(rounds):
        check_open_order(version, open_order(version, dice))
        check_completed_order(version, completed_order(version, dice))
        check_execution(version, exec_details(version, dice), dice.choice(TIMES))


@pytest.mark.parametrize("version", FEW_QUICKLY)
def test_no_two_attributes_of_an_order_change_places_on_the_way_to_ib_async(version: int) -> None:
    contract = only(telling_contract(), CONTRACT_OF_AN_ORDER_ECHO)
    for order in telling_orders(version):
        order = attrs.evolve(order, conditions=ALL_CONDITIONS)
        check_open_order(version, m.OpenOrder(7, contract, echoed(order, version), m.OrderState()))
        completed = m.CompletedOrder(
            contract, without(order, NOT_COMPLETED), m.OrderState(status="Filled"), Decimal(5)
        )
        check_completed_order(version, completed)


def plain(value: Any) -> Any:
    """A value of ours as ib_async hands it over: sizes as floats, unset ones as the largest number."""
    if value is None:
        return UNSET_DOUBLE
    return float(value) if isinstance(value, Decimal) else value


def values_of(message: Any) -> tuple[Any, ...]:
    return tuple(plain(getattr(message, field.name)) for field in attrs.fields(type(message)))


PLAIN_CALLS: Final[dict[type, str]] = {
    m.NextValidId: "nextValidId",
    m.CurrentTime: "currentTime",
    m.UserInfo: "userInfo",
    m.OpenOrderEnd: "openOrderEnd",
    m.OrderStatus: "orderStatus",
    m.OrderBound: "orderBound",
    m.ExecDetailsEnd: "execDetailsEnd",
    m.CompletedOrdersEnd: "completedOrdersEnd",
    m.PositionEnd: "positionEnd",
    m.PositionMultiEnd: "positionMultiEnd",
    m.AccountValue: "updateAccountValue",
    m.AccountUpdateTime: "updateAccountTime",
    m.AccountDownloadEnd: "accountDownloadEnd",
    m.AccountSummary: "accountSummary",
    m.AccountSummaryEnd: "accountSummaryEnd",
    m.AccountUpdateMulti: "accountUpdateMulti",
    m.AccountUpdateMultiEnd: "accountUpdateMultiEnd",
    m.PnL: "pnl",
    m.PnLSingle: "pnlSingle",
    m.ContractDataEnd: "contractDetailsEnd",
    m.MarketDataType: "marketDataType",
    m.TickReqParams: "tickReqParams",
    m.TickSize: "tickSize",
    m.TickGeneric: "tickGeneric",
    m.TickString: "tickString",
    m.TickSnapshotEnd: "tickSnapshotEnd",
    m.MarketDepth: "updateMktDepth",
    m.MarketDepthL2: "updateMktDepthL2",
    m.RealTimeBar: "realtimeBar",
    m.HeadTimestamp: "headTimestamp",
    m.OptionParametersEnd: "securityDefinitionOptionParameterEnd",
    m.HistoricalNewsEnd: "historicalNewsEnd",
    m.ScannerParameters: "scannerParameters",
}
"""Messages whose fields ib_async hands over one by one, in our order."""
_AT_SOME_VERSION = st.sampled_from(VERSIONS)


def drawn(data: st.DataObject, of: type) -> tuple[int, Any]:
    version = data.draw(_AT_SOME_VERSION)
    return version, data.draw(server_messages(of, version, PLAIN_TEXT))


@pytest.mark.parametrize("of", PLAIN_CALLS, ids=lambda of: of.__name__)
@given(data=st.data())
@settings(random_messages, max_examples=6)
def test_ib_async_hears_what_a_plain_message_says(of: type, data: st.DataObject) -> None:
    version, message = drawn(data, of)
    assert heard(version, message) == [(PLAIN_CALLS[of], values_of(message))]


@given(st.data())
@settings(random_messages, max_examples=12)
def test_ib_async_hears_errors_with_their_json(data: st.DataObject) -> None:
    version, error = drawn(data, m.ErrorMessage)
    assert heard(version, error) == [("error", (error.id, error.code, error.text, error.advanced_json))]


@given(st.data())
@settings(random_messages, max_examples=12)
def test_ib_async_hears_commissions_positions_and_portfolio_lines(data: st.DataObject) -> None:
    version, report = drawn(data, m.CommissionReport)
    ((name, (said,)),) = heard(version, report)
    assert name == "commissionReport"
    assert differences(report, said, NAMES) == {}

    version, position = drawn(data, m.Position)
    ((name, (account, contract, *numbers)),) = heard(version, position)
    assert (name, account, tuple(numbers)) == ("position", position.account, values_of(position)[2:])
    check(position.contract, contract)

    version, position = drawn(data, m.PositionMulti)
    position = attrs.evolve(position, contract=only(position.contract, CONTRACT_OF_AN_EXECUTION))
    ((name, (req_id, account, model, contract, *numbers)),) = heard(version, position)
    assert (name, req_id, account, model) == (
        "positionMulti",
        position.req_id,
        position.account,
        position.model_code,
    )
    assert tuple(numbers) == values_of(position)[3:5]
    check(position.contract, contract)

    version, line = drawn(data, m.PortfolioValue)
    ((name, (contract, *rest)),) = heard(version, line)
    assert (name, tuple(rest)) == ("updatePortfolio", values_of(line)[1:])
    check(line.contract, contract)


@given(st.data())
@settings(random_messages, max_examples=24)
@pytest.mark.slow
def test_ib_async_hears_contracts_as_they_were_said(data: st.DataObject) -> None:
    version, message = drawn(data, m.ContractData)
    ((name, (req_id, theirs)),) = heard(version, message)
    assert (name, req_id) == ("contractDetails", message.req_id)
    details = message.details
    if version == 163:
        # The one size of that version is the smallest one; ib_async keeps it by another name.
        details = attrs.evolve(details, min_size=Decimal(0), suggested_size_increment=details.min_size)
    if version < 163:
        details = attrs.evolve(details, min_size=Decimal(0), suggested_size_increment=Decimal(0))
    if version < 164:
        details = attrs.evolve(details, size_increment=Decimal(0), md_size_multiplier=1)
    check(details, theirs)
    check(details.contract, theirs["contract"])


@given(st.data())
@settings(random_messages, max_examples=12)
def test_ib_async_hears_history_as_it_was_said(data: st.DataObject) -> None:
    version, history = drawn(data, m.HistoricalData)
    *bars, end = heard(version, history)
    assert end == ("historicalDataEnd", (history.req_id, history.start, history.end))
    assert [(name, req_id) for name, (req_id, _) in bars] == [("historicalData", history.req_id)] * len(bars)
    assert differences(history.bars, [bar for _, (_, bar) in bars], NAMES) == {}

    version, update = drawn(data, m.HistoricalDataUpdate)
    ((name, (req_id, bar)),) = heard(version, update)
    assert (name, req_id) == ("historicalDataUpdate", update.req_id)
    assert differences(update.bar, bar, NAMES) == {}


@given(st.data())
@settings(random_messages, max_examples=12)
def test_ib_async_hears_ticks_with_their_sizes(data: st.DataObject) -> None:
    version, tick = drawn(data, m.TickPrice)
    # The mask travels, but this client leaves it alone.
    assert decoded(version, encode_server(version, tick).decode().split("\0")[:-1]) == (
        [("priceSizeTick", values_of(tick)[:4])],
        [],
    )

    version, greeks = drawn(data, m.TickOptionComputation)
    ((name, numbers),) = heard(version, greeks)
    unset = (None, None, None, -1.0, -2.0, -1.0, -1.0, -2.0, -2.0, -2.0, -1.0)
    said = (getattr(greeks, field.name) for field in attrs.fields(m.TickOptionComputation))
    assert name == "tickOptionComputation"
    assert numbers == tuple(none if one is None else one for one, none in zip(said, unset, strict=True))


@given(st.data())
@settings(random_messages, max_examples=20)
def test_ib_async_hears_single_ticks_of_every_kind(data: st.DataObject) -> None:
    version, tick = drawn(data, m.TickByTick)
    tick = attrs.evolve(tick, attr_mask=tick.attr_mask & 3)
    ((name, said),) = heard(version, tick)
    low, high = bool(tick.attr_mask & 1), bool(tick.attr_mask & 2)
    if tick.tick_type in {1, 2}:
        assert name == "tickByTickAllLast"
        marks = {"pastLimit": low, "unreported": high}
        numbers = (tick.req_id, tick.tick_type, tick.epoch_s, tick.price, float(tick.size))
        assert said == (*numbers, marks, tick.exchange, tick.special_conditions)
    elif tick.tick_type == 3:
        assert name == "tickByTickBidAsk"
        sizes = (float(tick.bid_size), float(tick.ask_size))
        marks = {"bidPastLow": low, "askPastHigh": high}
        assert said == (tick.req_id, tick.epoch_s, tick.bid, tick.ask, *sizes, marks)
    else:
        assert (name, said) == ("tickByTickMidPoint", (tick.req_id, tick.epoch_s, tick.mid))


@given(st.data())
@settings(random_messages, max_examples=12)
def test_ib_async_hears_rules_chains_and_samples(data: st.DataObject) -> None:
    version, rule = drawn(data, m.MarketRule)
    ((name, (rule_id, increments)),) = heard(version, rule)
    assert (name, rule_id) == ("marketRule", rule.rule_id)
    assert increments == [list(pair) for pair in rule.increments]

    version, chain = drawn(data, m.OptionParameters)
    chain = attrs.evolve(chain, strikes=(*chain.strikes, 27.5))
    ((name, (req_id, exchange, under, trading_class, multiplier, expirations, strikes)),) = heard(
        version, chain
    )
    assert (name, req_id, exchange, int(under)) == (
        "securityDefinitionOptionParameter",
        chain.req_id,
        chain.exchange,
        chain.underlying_con_id,
    )
    assert (trading_class, multiplier) == (chain.trading_class, chain.multiplier)
    assert (tuple(expirations), tuple(strikes)) == (chain.expirations, chain.strikes)

    version, schedule = drawn(data, m.HistoricalSchedule)
    ((name, (req_id, start, end, zone, sessions)),) = heard(version, schedule)
    assert (name, req_id, start, end, zone) == (
        "historicalSchedule",
        schedule.req_id,
        schedule.start,
        schedule.end,
        schedule.time_zone,
    )
    assert [tuple(session.values()) for session in sessions] == [
        attrs.astuple(session) for session in schedule.sessions
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_ib_async_hears_the_accounts(version: int) -> None:
    assert heard(version, m.ManagedAccounts(("DU1", "DU2"))) == [("managedAccounts", ("DU1,DU2",))]
