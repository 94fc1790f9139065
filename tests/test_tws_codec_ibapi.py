"""The client's codec: what the installed ibapi encodes and decodes is what our messages say."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from actors.tws_codec import CLIENT_MAX, EncodeRefused, TwsCodec
from actors.tws_values import optional_float, optional_int, size
from protocol.session_words import Undecodable
from protocol.tws import messages as tws
from protocol.tws.codec import decode_client, encode_server
from protocol.tws.framing import Deframer

VERSION = CLIENT_MAX  # 157 with the ibapi of PyPI, 178 with a current one
SLV = tws.Contract(con_id=11, symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")


def sent(request: tws.ClientRequest) -> tws.ClientRequest:
    (payload,) = Deframer().feed(TwsCodec(VERSION, 1).encode(request))
    return decode_client(VERSION, payload)


def received(message: tws.ServerMessage) -> tuple[object, ...]:
    return TwsCodec(VERSION, 1).decode(encode_server(VERSION, message))


@pytest.mark.parametrize(
    "request_",
    [
        tws.StartApi(7, "caps"),
        tws.CancelOrder(12),
        tws.GlobalCancel(),
        tws.ReqIds(1),
        tws.ReqOpenOrders(),
        tws.ReqAllOpenOrders(),
        tws.ReqAutoOpenOrders(auto_bind=True),
        tws.ReqCompletedOrders(api_only=False),
        tws.ReqExecutions(3, tws.ExecutionFilter(client_id=2, account="DU1", symbol="SLV", side="BUY")),
        tws.ReqPositions(),
        tws.CancelPositions(),
        tws.ReqAccountUpdates(subscribe=True, account="DU1"),
        tws.ReqAccountUpdatesMulti(4, "DU1", "", ledger_and_nlv=True),
        tws.CancelAccountUpdatesMulti(4),
        tws.ReqAccountSummary(5, "All", "NetLiquidation"),
        tws.CancelAccountSummary(5),
        tws.ReqManagedAccounts(),
        tws.ReqCurrentTime(),
        tws.SetServerLogLevel(2),
        tws.ReqContractDetails(6, SLV),
        tws.ReqMarketRule(26),
        tws.ReqMktData(7, SLV, "233"),
        tws.CancelMktData(7),
        tws.ReqMarketDataType(3),
        tws.ReqHistoricalData(8, SLV, "", "1 min", "2 D", True, "TRADES", 2, False),
        tws.CancelHistoricalData(8),
        tws.ReqPnL(9, "DU1", ""),
        tws.CancelPnL(9),
        tws.ReqPnLSingle(10, "DU1", "", 11),
        tws.CancelPnLSingle(10),
    ],
    ids=lambda request: type(request).__name__,
)
def test_a_request_reaches_the_server_as_it_was_meant(request_: tws.ClientRequest) -> None:
    assert sent(request_) == request_


def test_an_order_reaches_the_server_with_everything_that_we_say_about_it() -> None:
    order = tws.Order(
        action="SELL",
        total_quantity=Decimal(100),
        order_type="STP LMT",
        lmt_price=29.05,
        aux_price=29.1,
        tif="GTD",
        good_till_date="20250123 15:00:30 UTC",
        oca_group="exits 1",
        oca_type=2,
        account="DU1",
        order_ref="a7:SLV:000001:stop:r0",
        transmit=False,
        parent_id=6,
        outside_rth=True,
    )
    got = sent(tws.PlaceOrder(7, SLV, order))
    assert isinstance(got, tws.PlaceOrder)
    said = {field.name for field in attrs.fields(tws.Order) if getattr(order, field.name) != field.default}
    assert {name: getattr(got.order, name) for name in said} == {name: getattr(order, name) for name in said}
    assert (got.order_id, got.contract.con_id, got.contract.symbol) == (7, 11, "SLV")
    # TWS refuses orders in which these are set, as ibapi does by default.
    assert (got.order.e_trade_only, got.order.firm_quote_only) == (False, False)


def test_the_prices_that_a_market_order_has_not_are_unset_on_the_wire() -> None:
    got = sent(tws.PlaceOrder(7, SLV, tws.Order(action="BUY", total_quantity=Decimal(1), order_type="MKT")))
    assert isinstance(got, tws.PlaceOrder)
    assert (got.order.lmt_price, got.order.aux_price, got.order.min_qty) == (None, None, None)


ORDER = tws.Order(
    action="BUY",
    total_quantity=Decimal(100),
    order_type="LMT",
    lmt_price=30.07,
    aux_price=0.0,
    tif="DAY",
    account="DU1",
    order_ref="a7:SLV:000001:main:r0",
    client_id=1,
    perm_id=2**31 + 5,
    parent_id=3,
    oca_group="g",
    oca_type=2,
    display_size=None,
)
EXECUTION = tws.Execution(
    exec_id="0000e0d5.69dd7411.01.01",
    time="20250123  10:00:01",
    acct_number="DU1",
    exchange="IEX",
    side="BOT",
    shares=Decimal(100),
    price=30.07,
    perm_id=2**31 + 5,
    client_id=1,
    order_id=7,
    cum_qty=Decimal(100),
    avg_price=30.07,
    order_ref="a7:SLV:000001:main:r0",
    ev_multiplier=0.0,
    last_liquidity=2,
)


@pytest.mark.parametrize(
    "message",
    [
        tws.NextValidId(17),
        tws.ManagedAccounts(("DU1", "DU2")),
        tws.ErrorMessage(7, 201, "Order rejected - reason:a \\ in ünïcode"),
        tws.CurrentTime(1_737_644_400),
        tws.OpenOrderEnd(),
        tws.OrderStatus(7, "Submitted", Decimal(0), Decimal(100), 0.0, 2**31 + 5, 3, 0.0, 1, "trigger"),
        tws.ExecDetails(-1, SLV, EXECUTION),
        tws.ExecDetailsEnd(3),
        tws.CommissionReport("0000e0d5.69dd7411.01.01", 1.0, "USD", None),
        tws.CommissionReport("0000e0d5.69dd7411.01.01", 1.0, "USD", -12.5),
        tws.CompletedOrdersEnd(),
        tws.Position("DU1", SLV, Decimal(-5), 30.5),
        tws.PositionEnd(),
        tws.AccountValue("NetLiquidation", "1000", "USD", "DU1"),
        tws.AccountUpdateTime("10:00"),
        tws.AccountDownloadEnd("DU1"),
        tws.AccountSummary(5, "DU1", "NetLiquidation", "1000", "USD"),
        tws.AccountSummaryEnd(5),
        tws.AccountUpdateMulti(4, "DU1", "", "Cash", "1", "USD"),
        tws.AccountUpdateMultiEnd(4),
        tws.ContractDataEnd(6),
        tws.MarketRule(26, ((0.0, 0.0001), (1.0, 0.01))),
        tws.HistoricalData(8, "a", "b", ()),
        tws.HistoricalData(
            8,
            "a",
            "b",
            (
                tws.HistoricalBar(
                    date="1737644400",
                    open=1.0,
                    high=2.0,
                    low=0.5,
                    close=1.5,
                    volume=Decimal(9),
                    wap=1.2,
                    count=3,
                ),
            ),
        ),
        tws.MarketDataType(7, 3),
        tws.TickReqParams(7, 0.01, "9c0001", 3),
        tws.TickSnapshotEnd(7),
        tws.TickPrice(7, 1, 30.07, Decimal(100)),
        tws.TickSize(7, 0, Decimal(100)),
        tws.TickGeneric(7, 49, 1.0),
        tws.TickString(7, 45, "1737644400"),
        tws.PnL(9, 1.0, None, 2.0),
        tws.PnLSingle(10, Decimal(5), None, 1.0, 2.0, 3.0),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_is_read_as_the_server_meant_it(message: tws.ServerMessage) -> None:
    assert received(message) == (message,)


def test_an_open_order_is_read_with_unset_numbers_as_none() -> None:
    message = tws.OpenOrder(7, SLV, ORDER, tws.OrderState(status="Submitted", commission=1.5))
    (got,) = received(message)
    assert isinstance(got, tws.OpenOrder)
    assert got.state == message.state
    told = (
        "action",
        "total_quantity",
        "order_type",
        "lmt_price",
        "aux_price",
        "account",
        "order_ref",
        "client_id",
        "perm_id",
        "parent_id",
        "oca_group",
        "oca_type",
        "tif",
        "trail_stop_price",
        "min_qty",
    )
    assert {name: getattr(got.order, name) for name in told} == {name: getattr(ORDER, name) for name in told}


def test_a_completed_order_says_how_much_of_it_was_filled() -> None:
    order = attrs.evolve(ORDER, total_quantity=Decimal(0))
    state = tws.OrderState(
        status="Filled", completed_time="20250123 10:00:00", completed_status="Filled Size: 100"
    )
    (got,) = received(tws.CompletedOrder(SLV, order, state, Decimal(100)))
    assert isinstance(got, tws.CompletedOrder)
    assert (got.filled_quantity, got.order.order_ref, got.order.perm_id) == (
        Decimal(100),
        ORDER.order_ref,
        ORDER.perm_id,
    )
    assert (got.state.status, got.state.completed_status) == ("Filled", "Filled Size: 100")


def test_contract_details_are_read_with_their_contract_and_rules() -> None:
    details = tws.ContractDetails(
        contract=attrs.evolve(SLV, primary_exchange="ARCA"),
        valid_exchanges="SMART,ARCA",
        market_rule_ids="26,557",
        min_tick=0.01,
        long_name="iShares Silver",
        sec_id_list=(("ISIN", "US46428Q1094"),),
        stock_type="ETF",
    )
    (got,) = received(tws.ContractData(6, details))
    assert isinstance(got, tws.ContractData)
    assert (got.req_id, got.details.contract.con_id, got.details.market_rule_ids) == (6, 11, "26,557")
    assert (got.details.min_tick, got.details.sec_id_list) == (0.01, details.sec_id_list)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0",
        b"x\0",
        b"5\0nonsense\0",
        b"3\x001\0Submitted\0",
        b"4\x002\x001\0",
        b"11\0\0",
        b"\xff\xfe\0",
        b"9\x001\0z\0",
    ],
)
def test_what_cannot_be_decoded_is_an_event_and_the_codec_lives_on(payload: bytes) -> None:
    codec = TwsCodec(VERSION, 1)
    (got,) = codec.decode(payload)
    assert isinstance(got, Undecodable)
    assert got.raw == payload
    assert codec.decode(encode_server(VERSION, tws.NextValidId(3))) == (tws.NextValidId(3),)


def test_a_message_that_we_have_no_word_for_is_let_go() -> None:
    assert TwsCodec(VERSION, 1).decode(b"100\x00123\x001\x007\x00") == ()


def test_what_ibapi_will_not_encode_is_refused_with_its_reason() -> None:
    order = tws.Order(action="BUY", total_quantity=Decimal(1), order_type="MKT", order_ref="ü")
    with pytest.raises(EncodeRefused):
        TwsCodec(VERSION, 1).encode(tws.PlaceOrder(7, SLV, order))
    with pytest.raises(EncodeRefused):
        TwsCodec(VERSION, 1).encode(tws.UnknownRequest(999, (), "no"))


def test_numbers_come_out_exact_and_unset_ones_as_nothing() -> None:
    assert [size(each) for each in (100, 100.0, 0.5, Decimal("7"), Decimal(2) ** 127)] == [
        Decimal(100),
        Decimal(100),
        Decimal("0.5"),
        Decimal(7),
        Decimal(0),
    ]
    assert str(size(100.0)) == "100"
    assert [optional_float(each) for each in ("", None, 1.7976931348623157e308, "1.5", 2)] == [
        None,
        None,
        None,
        1.5,
        2.0,
    ]
    assert [optional_int(each) for each in ("", None, 2**31 - 1, "3")] == [None, None, None, 3]
