"""What is written is what is read, for every message at every version, and bad input is an answer."""

from __future__ import annotations

from decimal import Decimal
from typing import get_args

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from protocol.tws import messages as m
from protocol.tws.codec import (
    BadMessage,
    decode_client,
    decode_server,
    decode_tick,
    encode_client,
    encode_server,
)
from protocol.tws.compiler import compile_record
from protocol.tws.request_layouts import REQUEST_LAYOUTS
from protocol.tws.server_layouts import SERVER_LAYOUTS
from protocol.tws.ticks import tick_writers
from protocol.tws.versions import NEWEST, OLDEST
from tests.tws_strategies import (
    GATES,
    MID_OFFSETS,
    NOT_COMPLETED,
    NOT_PLACED,
    client_requests,
    echoed,
    server_messages,
    telling_contract,
    telling_orders,
    without,
)

SERVER_CLASSES: tuple[type, ...] = get_args(m.ServerMessage)
MARKET_CLASSES = frozenset(get_args(m.MarketMessage) + get_args(m.MarketRequest))
MARKET_GATES = (OLDEST, 163, 176, NEWEST)
"""All that changes these: fractional sizes, and the issuers of symbols."""
REQUEST_CLASSES = tuple(of for of in get_args(m.ClientRequest) if of is not m.UnknownRequest)
TICKS = (m.TickPrice, m.TickSize, m.TickGeneric, m.TickString)

STOCK = m.Contract(symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
LIMIT = m.Order(action="BUY", total_quantity=Decimal(100), order_type="LMT", lmt_price=20.5, tif="DAY")

random_messages = settings(
    max_examples=15,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_every_message_of_the_vocabulary_has_exactly_one_layout() -> None:
    assert sorted(layout.of.__name__ for layout in SERVER_LAYOUTS) == sorted(
        of.__name__ for of in SERVER_CLASSES
    )
    assert sorted(layout.of.__name__ for layout in REQUEST_LAYOUTS) == sorted(
        of.__name__ for of in REQUEST_CLASSES
    )
    assert len({layout.message_id for layout in SERVER_LAYOUTS}) == len(SERVER_LAYOUTS)
    assert len({layout.message_id for layout in REQUEST_LAYOUTS}) == len(REQUEST_LAYOUTS)


@pytest.mark.slow
@pytest.mark.parametrize("of", SERVER_CLASSES, ids=lambda of: of.__name__)
@given(data=st.data())
@settings(random_messages, max_examples=10)
def test_what_the_server_writes_is_read_back_equal_at_every_version(of: type, data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(MARKET_GATES if of in MARKET_CLASSES else GATES))
    message = data.draw(server_messages(of, version))
    assert decode_server(version, encode_server(version, message)) == message


@pytest.mark.slow
@pytest.mark.parametrize("of", REQUEST_CLASSES, ids=lambda of: of.__name__)
@given(data=st.data())
@settings(random_messages, max_examples=10)
def test_what_a_client_writes_is_read_back_equal_at_every_version(of: type, data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(MARKET_GATES if of in MARKET_CLASSES else GATES))
    request = data.draw(client_requests(of, version))
    assert decode_client(version, encode_client(version, request)) == request


@pytest.mark.slow
def test_every_attribute_of_an_order_travels_from_its_version_on() -> None:
    state = m.OrderState(status="Submitted")
    pegs = ("min_trade_qty", "min_compete_size", "compete_against_best_offset", *MID_OFFSETS)
    contract = without(telling_contract(), ["primary_exchange"])
    for version in GATES:
        for order in telling_orders(version):
            asked = without(order, NOT_PLACED.union(pegs))
            tier = without(asked.soft_dollar_tier, ["display_name"])
            placed = m.PlaceOrder(7, contract, attrs.evolve(asked, soft_dollar_tier=tier))
            assert decode_client(version, encode_client(version, placed)) == placed
            told = m.OpenOrder(7, contract, echoed(order, version), state)
            assert decode_server(version, encode_server(version, told)) == told
            completed = m.CompletedOrder(contract, without(order, NOT_COMPLETED), state, Decimal(5))
            assert decode_server(version, encode_server(version, completed)) == completed


@pytest.mark.parametrize("version", [157, 163, 170, 178, 200])
@pytest.mark.parametrize("of", [m.PlaceOrder, m.ReqContractDetails, m.CancelOrder])
@given(data=st.data())
@random_messages
@pytest.mark.slow
def test_the_requests_with_gates_are_read_back_equal(version: int, of: type, data: st.DataObject) -> None:
    request = data.draw(client_requests(of, version))
    assert decode_client(version, encode_client(version, request)) == request


@pytest.mark.parametrize("version", [157, 163, 170, 178, 200])
@pytest.mark.parametrize(
    "of", [m.OpenOrder, m.CompletedOrder, m.ContractData, m.HistoricalData, m.ErrorMessage]
)
@given(data=st.data())
@random_messages
@pytest.mark.slow
def test_the_messages_with_gates_are_read_back_equal(version: int, of: type, data: st.DataObject) -> None:
    message = data.draw(server_messages(of, version))
    assert decode_server(version, encode_server(version, message)) == message


@pytest.mark.parametrize(
    ("version", "place", "echo", "execution", "completed", "details"),
    [
        (157, 110, 120, 31, 92, 41),
        (163, 113, 123, 31, 92, 42),
        (176, 115, 128, 31, 97, 42),
        (178, 114, 127, 32, 96, 42),
        (200, 119, 148, 33, 99, 44),
    ],
)
def test_plain_messages_have_as_many_fields_as_real_ones(
    version: int, place: int, echo: int, execution: int, completed: int, details: int
) -> None:
    state = m.OrderState(status="Submitted")
    filled = m.Execution(
        exec_id="0000e0d5.69dd7411.01.01",
        time="20260413  15:27:04",
        acct_number="DU1",
        exchange="IEX",
        side="BOT",
        shares=Decimal(100),
        price=20.5,
        perm_id=1,
        client_id=1,
        order_id=7,
        cum_qty=Decimal(100),
        avg_price=20.5,
    )
    one_id = m.ContractDetails(contract=STOCK, sec_id_list=(("ISIN", "US0"),))
    assert encode_client(version, m.PlaceOrder(7, STOCK, LIMIT)).count(b"\0") == place
    assert encode_server(version, m.OpenOrder(7, STOCK, LIMIT, state)).count(b"\0") == echo
    assert encode_server(version, m.ExecDetails(-1, STOCK, filled)).count(b"\0") == execution
    assert encode_server(version, m.CompletedOrder(STOCK, LIMIT, state, Decimal(0))).count(b"\0") == completed
    assert encode_server(version, m.ContractData(1, one_id)).count(b"\0") == details


def tail(payload: bytes, count: int) -> list[str]:
    return payload.decode().split("\0")[-count - 1 : -1]


def test_the_fields_that_came_after_157_stand_where_tws_has_them() -> None:
    ats = attrs.evolve(STOCK, exchange="IBKRATS")
    pegged = attrs.evolve(
        LIMIT,
        order_type="PEG BEST",
        duration=30,
        post_to_ats=31,
        auto_cancel_parent=True,
        advanced_error_override="8229",
        manual_order_time="20250101 09:30:00",
        min_trade_qty=32,
        min_compete_size=33,
        compete_against_best_offset=float("inf"),
        mid_offset_at_whole=0.25,
        mid_offset_at_half=0.5,
    )
    placed = encode_client(178, m.PlaceOrder(7, ats, pegged))
    newest = ["30", "31", "1", "8229", "20250101 09:30:00", "32", "33", "Infinity", "0.25", "0.5"]
    assert tail(placed, 11) == ["", *newest]
    assert decode_client(178, placed) == m.PlaceOrder(7, ats, pegged)

    told = encode_server(178, m.OpenOrder(7, ats, pegged, m.OrderState()))
    assert tail(told, 9) == ["", "30", "31", "1", "32", "33", "Infinity", "0.25", "0.5"]
    done = m.OrderState(completed_time="20260415 11:00:11 US/Eastern", completed_status="Filled Size: 1")
    completed = encode_server(178, m.CompletedOrder(ats, pegged, done, Decimal(1)))
    assert tail(completed, 7) == [
        done.completed_time,
        done.completed_status,
        "32",
        "33",
        "Infinity",
        "0.25",
        "0.5",
    ]

    pegged_to_the_middle = attrs.evolve(pegged, order_type="PEG MID", duration=None, post_to_ats=None)
    at_the_middle = encode_client(178, m.PlaceOrder(7, STOCK, pegged_to_the_middle))
    assert tail(at_the_middle, 5) == ["1", "8229", "20250101 09:30:00", "0.25", "0.5"]


def test_the_profile_of_advisors_is_gone_from_177_on() -> None:
    order = attrs.evolve(
        LIMIT, fa_group="G", fa_method="M", fa_percentage="P", fa_profile="F", model_code="X"
    )
    before = encode_client(176, m.PlaceOrder(7, STOCK, order))
    after = encode_client(177, m.PlaceOrder(7, STOCK, order))
    assert b"\x00G\x00M\x00P\x00F\x00X\x00" in before
    assert b"\x00G\x00M\x00P\x00X\x00" in after


@pytest.mark.parametrize(
    ("version", "message", "last"),
    [
        (165, m.ErrorMessage(7, 201, "no", "{}"), ["2", "7", "201", "no"]),
        (166, m.ErrorMessage(7, 201, "no", "{}"), ["7", "201", "no", "{}"]),
        (157, m.ContractData(1, m.ContractDetails(contract=STOCK, stock_type="ETF")), ["", "ETF"]),
        (163, m.ContractData(1, m.ContractDetails(contract=STOCK, stock_type="ETF")), ["ETF", "1"]),
        (
            164,
            m.ContractData(1, m.ContractDetails(contract=STOCK, stock_type="ETF")),
            ["ETF", "1", "1", "100"],
        ),
    ],
)
def test_a_server_message_ends_as_its_version_has_it(
    version: int, message: m.ServerMessage, last: list[str]
) -> None:
    assert tail(encode_server(version, message), len(last)) == last


@pytest.mark.parametrize(
    ("version", "request_of_ours", "last"),
    [
        (168, m.CancelOrder(7, "20250101 09:30:00"), ["4", "1", "7"]),
        (169, m.CancelOrder(7, "20250101 09:30:00"), ["4", "1", "7", "20250101 09:30:00"]),
        (175, m.ReqContractDetails(1, attrs.evolve(STOCK, sec_id="S", issuer_id="e1")), ["", "S"]),
        (176, m.ReqContractDetails(1, attrs.evolve(STOCK, sec_id="S", issuer_id="e1")), ["S", "e1"]),
    ],
)
def test_a_request_ends_as_its_version_has_it(
    version: int, request_of_ours: m.ClientRequest, last: list[str]
) -> None:
    assert tail(encode_client(version, request_of_ours), len(last)) == last


@pytest.mark.parametrize("version", [157, 178])
@pytest.mark.parametrize("of", TICKS)
@given(data=st.data())
@random_messages
def test_the_tick_codec_by_hand_agrees_with_the_layouts(version: int, of: type, data: st.DataObject) -> None:
    tick = data.draw(server_messages(of, version))
    layout = next(layout for layout in SERVER_LAYOUTS if layout.of is of)
    fields = [str(layout.message_id)]
    compile_record(layout.of, layout.items, version).write(tick, fields)
    by_layout = ("\0".join(fields) + "\0").encode()
    assert tick_writers(version)[of](tick) == by_layout
    assert decode_tick(by_layout) == tick


def test_a_message_that_is_no_tick_is_none_to_the_tick_decoder() -> None:
    assert decode_tick(encode_server(178, m.CurrentTime(1_700_000_000))) is None


@pytest.mark.parametrize(
    "payload",
    [
        b"1\x006\x001\x002\x00nan\x00100\x000\x00",
        b"1\x006\x001\x002\x0020.5\x00Infinity\x000\x00",
        b"1\x006\x001\x002\x0020.5\x00ten\x000\x00",
        b"1\x006\x001\x002\x0020.5\x00NaN\x000\x00",
        b"1\x006\x001\x002\x0020.5\x00-Infinity\x000\x00",
        b"1\x006\x001\x002\x0020.5\x001E+99\x000\x00",
        b"1\x006\x001\x002\x0020.5\x00100\x00",
        b"2\x006\x001\x00two\x00100\x00",
        b"45\x006\x001\x0049\x00inf\x00",
    ],
)
def test_a_broken_tick_is_the_servers_fault(payload: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_tick(payload)


def test_sizes_are_whole_for_clients_that_cannot_read_fractions() -> None:
    tick = m.TickSize(1, 5, Decimal("2.5"))
    assert encode_server(157, tick) == b"2\x006\x001\x005\x002\x00"
    assert encode_server(163, tick) == b"2\x006\x001\x005\x002.5\x00"


def test_a_large_size_is_written_without_an_exponent() -> None:
    assert encode_server(178, m.TickSize(1, 8, Decimal("1E+7"))) == b"2\x006\x001\x008\x0010000000\x00"


def test_text_beyond_ascii_travels_as_escapes() -> None:
    error = m.ErrorMessage(-1, 2104, "Börse \\ offen")
    payload = encode_server(157, error)
    assert payload == b"4\x002\x00-1\x002104\x00B\\u00f6rse \\u005c offen\x00"
    assert decode_server(157, payload) == error


@pytest.mark.parametrize("unset", ["", "1.7976931348623157E308", "1.7976931348623157e+308"])
def test_every_way_of_leaving_a_price_unset_is_none(unset: str) -> None:
    fields = encode_client(157, m.PlaceOrder(7, STOCK, LIMIT)).split(b"\0")
    fields[19] = b"12.5"
    assert _placed(fields).order.lmt_price == 12.5
    fields[19] = unset.encode()
    assert _placed(fields).order.lmt_price is None


def _placed(fields: list[bytes]) -> m.PlaceOrder:
    request = decode_client(157, b"\0".join(fields))
    assert isinstance(request, m.PlaceOrder)
    return request


def test_a_quantity_may_come_as_a_float_and_small_numbers_with_an_exponent() -> None:
    fields = encode_client(157, m.PlaceOrder(7, STOCK, LIMIT)).split(b"\0")
    fields[17], fields[19], fields[6] = b"10.0", b"1e-07", b""
    placed = _placed(fields)
    assert (placed.order.total_quantity, placed.order.lmt_price, placed.contract.strike) == (
        Decimal(10),
        1e-07,
        0.0,
    )


@pytest.mark.parametrize(
    "unset", [b"", b"170141183460469231731687303715884105727", b"1.7976931348623157e+308"]
)
def test_a_size_that_was_never_set_is_zero(unset: bytes) -> None:
    fields = encode_client(157, m.PlaceOrder(7, STOCK, LIMIT)).split(b"\0")
    fields[17] = unset
    assert _placed(fields).order.total_quantity == 0
    assert decode_tick(b"2\x006\x001\x005\x00" + unset + b"\x00") == m.TickSize(1, 5, Decimal(0))


def test_the_word_none_as_delta_neutral_type_brings_its_eight_fields() -> None:
    order = attrs.evolve(LIMIT, delta_neutral_order_type="None", delta_neutral_open_close="?")
    message = m.OpenOrder(7, STOCK, order, m.OrderState(status="Submitted"))
    payload = encode_server(157, message)
    assert payload.count(b"\0") == 128
    assert decode_server(157, payload) == message


@pytest.mark.parametrize(
    ("payload", "message_id", "why"),
    [
        (b"", -1, "does not know"),
        (b"\0", -1, "does not know"),
        (b"hello\0", -1, "does not know"),
        (b"1000000000000\0", -1, "does not know"),
        (b"110\x001\x00", 110, "does not know"),
        (b"8\x001\x00", 8, "count is missing"),
        (b"8\x001\x00many\x00", 8, "count: invalid literal"),
        (b"8\x001\x001\x001\x00", 8, "4 fields, of which only 3"),
        (b"4\x001\x00\xff\x00", 4, "order_id"),
    ],
)
def test_a_request_that_cannot_be_read_says_why(payload: bytes, message_id: int, why: str) -> None:
    request = decode_client(157, payload)
    assert isinstance(request, m.UnknownRequest)
    assert request.message_id == message_id
    assert why in request.why


@pytest.mark.parametrize("quantity", [b"NaN", b"Infinity", b"ten", b"1E+999999999999", b"1E-999999999999"])
def test_an_order_that_cannot_be_read_still_names_its_id(quantity: bytes) -> None:
    fields = encode_client(178, m.PlaceOrder(7, STOCK, LIMIT)).split(b"\0")
    fields[17] = quantity
    request = decode_client(178, b"\0".join(fields))
    assert isinstance(request, m.UnknownRequest)
    assert (request.message_id, request.fields[0]) == (3, "7")
    assert "total_quantity" in request.why


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_the_request_decoder_raise(payload: bytes) -> None:
    decode_client(178, payload)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_request_never_raises(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from([m.PlaceOrder, m.ReqMktData, m.ReqHistoricalData, m.ReqExecutions]))
    fields = encode_client(170, data.draw(client_requests(of, 170))).split(b"\0")
    at = data.draw(st.integers(0, len(fields) - 1))
    damage = st.sampled_from([b"", b"-1", b"999999999", b"1e999", b"x", b"NaN", b"\xff", b"9" * 5000])
    fields[at : at + data.draw(st.integers(0, 2))] = data.draw(st.lists(damage, max_size=2))
    decode_client(170, b"\0".join(fields))


def test_a_message_from_a_newer_vocabulary_is_none_and_a_broken_one_is_an_error() -> None:
    assert decode_server(178, b"999\x001\x00") is None
    with pytest.raises(BadMessage, match="order_id"):
        decode_server(178, b"9\x001\x00x\x00")
    with pytest.raises(BadMessage, match="too few"):
        decode_server(178, encode_server(178, m.OpenOrder(7, STOCK, LIMIT, m.OrderState()))[:-20])


def test_there_is_no_layout_for_a_version_that_is_never_agreed_on() -> None:
    for version in (156, 158, 201):
        with pytest.raises(ValueError, match=str(version)):
            encode_server(version, m.CurrentTime(1))


def test_an_unknown_request_cannot_be_sent() -> None:
    with pytest.raises(TypeError, match="UnknownRequest"):
        encode_client(178, m.UnknownRequest(97, (), ""))
