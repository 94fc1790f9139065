"""What TWS says of orders and requests that it does not carry out: each code, its text, and what stands."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from protocol.exchange.happenings import OrderRejected
from protocol.exchange.interventions import Interventions
from protocol.exchange.tws_refusals import request_id
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from protocol.tws.codec import decode_client
from tests.tws_faces import SLV, Face, limit_order, market_order
from tests.tws_sequences import connected, lines

STANDS = ["openOrder 5 Submitted BUY 100 LMT 24.0", "orderStatus 5 Submitted 0+100 #1", "OpenOrderEnd"]


def with_order(settings: TwsSettings | None = None) -> Face:
    """Order 5 of client 1 rests."""
    face = connected(settings)
    face.place(5, limit_order("BUY", 100, 24.0))
    return face


def stands(face: Face) -> bool:
    return lines(face.ask(m.ReqOpenOrders())) == STANDS


def test_sequence_4_11_103_an_id_is_used_once() -> None:
    face = with_order()
    assert lines(face.place(4, limit_order("BUY", 1, 24.0))) == ["error 4 103 Duplicate order id"]
    face.ask(m.CancelOrder(5))
    assert lines(face.place(5, limit_order("BUY", 1, 24.0))) == ["error 5 103 Duplicate order id"]


def test_sequence_4_11_an_order_that_the_venue_refuses_counts_towards_the_next_id() -> None:
    face = connected()
    assert lines(face.place(7, limit_order("BUY", 100, 24.001)))[0].startswith("error 7 110 ")
    assert lines(face.ask(m.ReqIds(1))) == ["nextValidId 8"]
    assert face.server.venue.largest_order_id(1) == 0


def test_sequence_4_11_104_a_filled_order_is_not_modified() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    assert lines(face.place(1, market_order("BUY", 200))) == ["error 1 104 Cannot modify a filled order."]


@pytest.mark.parametrize(
    ("contract", "order"),
    [(SLV, limit_order("SELL", 100, 26.0)), (attrs.evolve(SLV, symbol="GLD"), limit_order("BUY", 100, 24.0))],
    ids=["side", "contract"],
)
def test_sequence_4_11_105_a_modify_must_match(contract: m.Contract, order: m.Order) -> None:
    face = with_order()
    assert lines(face.ask(m.PlaceOrder(5, contract, order))) == [
        "error 5 105 Order being modified does not match original order."
    ]
    assert stands(face)


def test_sequence_4_11_110_prices_lie_on_the_grid() -> None:
    text = "110 The price does not conform to the minimum price variation for this contract."
    face = with_order()
    assert lines(face.place(6, limit_order("BUY", 100, 24.001))) == [f"error 6 {text}"]
    assert lines(face.place(5, limit_order("BUY", 100, 24.001))) == [f"error 5 {text}"]
    assert stands(face)


def test_sequence_4_11_161_a_cancel_that_comes_too_late() -> None:
    """The order fills while its cancel is on the way to the venue."""
    face = with_order(TwsSettings(order_latency_s=0.1))
    face.pass_time(0.2)
    assert face.ask(m.CancelOrder(5)) == []
    face.quote(23.98, 24.0, after_s=0.05)
    assert lines(face.pass_time(0.05)) == [
        "error 5 161 Cancel attempted when order is not in a cancellable state.  Order permId =1000000001"
    ]


def test_sequence_4_11_161_a_global_cancel_that_comes_too_late_for_one() -> None:
    face = with_order(TwsSettings(order_latency_s=0.1))
    face.place(6, limit_order("BUY", 100, 23.0))
    face.pass_time(0.2)
    assert face.ask(m.GlobalCancel()) == []
    face.quote(23.98, 24.0, after_s=0.05)
    assert lines(face.pass_time(0.05)) == [
        "error 5 161 Cancel attempted when order is not in a cancellable state.  Order permId =1000000001",
        "orderStatus 6 PendingCancel 0+100 #2",
        "orderStatus 6 Cancelled 0+100 #2",
        "error 6 202 Order Canceled - reason:",
    ]


@pytest.mark.parametrize(
    "contract",
    [attrs.evolve(SLV, symbol="NOPE"), attrs.evolve(SLV, currency="EUR"), attrs.evolve(SLV, con_id=1)],
    ids=["symbol", "currency", "contract id"],
)
def test_sequence_4_11_200_the_contract_must_exist(contract: m.Contract) -> None:
    face = connected()
    assert lines(face.ask(m.PlaceOrder(1, contract, market_order("BUY", 1)))) == [
        "error 1 200 No security definition has been found for the request"
    ]


INACTIVE = ["openOrder 1 Inactive BUY 1 LMT 24.0", "orderStatus 1 Inactive 0+1 #1"]
NO_FOK = (
    "error 1 201 Order rejected - reason:The time-in-force FOK is invalid for this combination of exchange "
    "and security type."
)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (TwsSettings(), [*INACTIVE, NO_FOK]),
        (TwsSettings(error_before_inactive=True), [NO_FOK, *INACTIVE]),
        (TwsSettings(repeat_rejection=True), [*INACTIVE, NO_FOK, NO_FOK]),
    ],
    ids=["status first", "error first", "repeated"],
)
def test_sequence_4_11_201_a_rejected_order_is_inactive(settings: TwsSettings, expected: list[str]) -> None:
    face = connected(settings)
    assert lines(face.place(1, limit_order("BUY", 1, 24.0, "FOK"))) == expected


def test_sequence_4_11_201_a_working_order_is_rejected_by_the_exchange() -> None:
    face = with_order()
    order = face.server.venue.open_orders()[0]
    Interventions(face.server.venue).reject(face.now, order.perm_id, "Not today.")
    face.server.orders.hear()
    assert lines(face.heard()) == [
        "openOrder 5 Inactive BUY 100 LMT 24.0",
        "orderStatus 5 Inactive 0+100 #1",
        "error 5 201 Order rejected - reason:Not today.",
    ]


def test_sequence_4_11_321_a_field_is_not_valid() -> None:
    face = connected()
    cause = "error 1 321 Error validating request.-'bF' : cause - "
    elsewhere = attrs.evolve(market_order("BUY", 1), account="DU9")
    assert lines(face.place(1, elsewhere)) == [cause + "Invalid account code"]
    strange = attrs.evolve(market_order("BUY", 1), action="HOLD")
    (line,) = lines(face.place(1, strange))
    assert line.startswith(cause)
    endless = limit_order("BUY", 1, float("inf"))
    assert lines(face.place(1, endless)) == [cause + "A number is not finite"]
    huge = 2**31 - 1
    assert lines(face.place(huge, market_order("BUY", 1))) == [
        f"error {huge} 321 Error validating request.-'bF' : cause - Invalid order id"
    ]


def test_sequence_4_11_383_an_order_is_not_endless() -> None:
    face = connected()
    assert lines(face.place(1, market_order("BUY", 2_000_000_000))) == [
        "error 1 383 Order size exceeds the limit of 1000000000 shares"
    ]


def test_sequence_4_11_399_is_a_notice() -> None:
    """The order stands; the sequence is that of 4.4."""
    face = Face(open_=False)
    face.connect()
    heard = lines(face.place(1, limit_order("BUY", 100, 24.0)))
    assert [line.split()[:3] for line in heard] == [
        ["openOrder", "1", "PreSubmitted"],
        ["orderStatus", "1", "PreSubmitted"],
        ["error", "1", "399"],
    ]


def test_sequence_4_11_404_a_short_sale_waits_for_its_shares() -> None:
    face = connected(venue=VenueSettings(short_locate=("SLV",), locate_delay_s=5))
    assert lines(face.place(1, limit_order("SELL", 100, 26.0))) == [
        "openOrder 1 PreSubmitted SELL 100 LMT 26.0",
        "orderStatus 1 PreSubmitted 0+100 #1 (locate)",
        "error 1 404 Shares for this order are not immediately available for short sale. The order will be "
        "held while we attempt to locate the shares.",
    ]
    assert lines(face.pass_time(5)) == [
        "openOrder 1 Submitted SELL 100 LMT 26.0",
        "orderStatus 1 Submitted 0+100 #1",
    ]


@pytest.mark.parametrize("quantity", [Decimal(0), Decimal("0.5")])
def test_sequence_4_11_434_sizes_are_whole_and_not_zero(quantity: Decimal) -> None:
    face = connected()
    order = attrs.evolve(market_order("BUY", 1), total_quantity=quantity)
    (line,) = lines(face.place(1, order))
    assert line.startswith("error 1 434 ")
    assert lines(face.ask(m.ReqOpenOrders())) == ["OpenOrderEnd"]


def test_sequence_4_11_10052_an_unknown_time_in_force() -> None:
    face = connected()
    (line,) = lines(face.place(1, limit_order("BUY", 1, 24.0, "SOON")))
    assert line.startswith("error 1 10052 ")


def test_sequence_4_11_10147_an_order_that_is_not_there() -> None:
    face = connected()
    face.connect(2)
    face.place(1, limit_order("BUY", 1, 24.0), 2)
    text = "10147 OrderId {0} that needs to be cancelled is not found."
    assert lines(face.ask(m.CancelOrder(77))) == ["error 77 " + text.format(77)]
    assert lines(face.ask(m.CancelOrder(1))) == ["error 1 " + text.format(1)]
    assert lines(face.ask(m.CancelOrder(0))) == ["error 0 " + text.format(0)]


def test_sequence_4_11_10148_an_order_that_has_ended() -> None:
    face = connected()
    face.place(1, market_order("BUY", 1))
    face.place(2, limit_order("BUY", 1, 24.0))
    face.ask(m.CancelOrder(2))
    text = "error {0} 10148 OrderId {0} that needs to be cancelled cannot be cancelled, state: {1}."
    assert lines(face.ask(m.CancelOrder(1))) == [text.format(1, "Filled")]
    assert lines(face.ask(m.CancelOrder(2))) == [text.format(2, "Cancelled")]


@pytest.mark.parametrize("name", ["EtradeOnly", "FirmQuoteOnly"])
def test_sequence_4_11_10268_a_modern_tws_knows_no_etrade_only(name: str) -> None:
    e_trade = name == "EtradeOnly"
    order = limit_order("BUY", 100, 24.0)
    order = attrs.evolve(order, e_trade_only=e_trade, firm_quote_only=not e_trade)
    assert lines(connected(TwsSettings(reject_etrade_only=True)).place(1, order)) == [
        f"error 1 10268 The '{name}' order attribute is not supported."
    ]
    assert lines(connected().place(1, order))[0] == "openOrder 1 Submitted BUY 100 LMT 24.0"


def test_sequence_4_11_10349_is_a_notice() -> None:
    face = connected(TwsSettings(tif_preset_notice=True))
    assert lines(face.place(1, attrs.evolve(limit_order("BUY", 100, 24.0), tif=""))) == [
        "error 1 10349 Order TIF was set to DAY based on order preset.",
        "openOrder 1 Submitted BUY 100 LMT 24.0",
        "orderStatus 1 Submitted 0+100 #1",
    ]


def test_a_refusal_of_tws_itself_is_noted_with_its_request() -> None:
    face = connected()
    face.server.take_noted()
    request = m.PlaceOrder(1, attrs.evolve(SLV, symbol="NOPE"), market_order("BUY", 1))
    face.ask(request)
    (noted,) = face.server.take_noted()
    assert noted.request == request
    assert isinstance(noted.happening, OrderRejected)
    assert (noted.happening.order_id, noted.happening.code) == (1, 200)


# --- requests that cannot be read --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fields", "expected"),
    [
        (178, ["3", "12", "not a number"], 12),
        (178, ["4", "1", "13", "", "surplus"], 13),
        (200, ["4", "14", "", "", "", "surplus"], 14),
        (178, ["1", "11", "15", "not a contract"], 15),
        (178, ["20", "16"], 16),
        (178, ["9", "8", "17"], 17),
        (178, ["58", "1", "what"], -1),
        (178, ["9999", "1", "18"], -1),
        (178, ["1", "11"], -1),
        (178, ["1", "11", "9" * 400], -1),
        (178, ["1", "11", "99999999999"], -1),
        (178, ["1", "11", "-7"], -1),
        (178, [], -1),
    ],
)
def test_an_unreadable_request_is_answered_under_its_id(
    version: int, fields: list[str], expected: int
) -> None:
    payload = "".join(f"{field}\0" for field in fields).encode()
    request = decode_client(version, payload)
    assert isinstance(request, m.UnknownRequest)
    assert request_id(request, version) == expected
    face = Face()
    face.connect(version=version)
    (answer,) = face.ask(request)
    assert isinstance(answer, m.ErrorMessage)
    assert answer.id == expected
    assert face.ask(m.ReqIds(1)) == [m.NextValidId(1)]
