"""Nothing that a client can put on the wire brings the simulated TWS down."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.exchange.replay_clock import Boundary, Turn
from protocol.tws import messages as m
from protocol.tws.codec import decode_client, encode_server
from tests.tws_faces import SLV, Face

ODD_NUMBERS = ["", "0", "1", "-1", "100", "25.01", "25.001", "1e400", "-inf", "nan", "2147483647", "x", "0.5"]
ODD_NUMBERS += ["1.7976931348623157e+308", "9223372036854775808", "1" * 40, "1e-7", "99999999999"]
ODD_TEXTS = ["", "DAY", "GTD", "BUY", "SELL", "MKT", "LMT", "STP", "STP LMT", "SLV", "GLD", "STK", "USD"]
ODD_TEXTS += [
    "20250123 15:00:00",
    "20259999-99:99:99",
    "1 D",
    "1 min",
    "TRADES",
    "DU1234567",
    "\\u00e9",
    "a\nb",
]
FIELDS = st.sampled_from(ODD_NUMBERS + ODD_TEXTS)
KNOWN_IDS = [1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15, 16, 17, 20, 25, 49, 58, 59, 61, 62, 63, 64, 71, 76, 77]
KNOWN_IDS += [91, 92, 93, 94, 95, 99, 4711]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KNOWN_IDS), st.lists(FIELDS, max_size=20)), max_size=10))
def test_any_fields_of_any_message_are_answered(requests: list[tuple[int, list[str]]]) -> None:
    face = Face()
    face.connect()
    face.quote(25.0, 25.02)
    for number, fields in requests:
        payload = b"".join(field.encode() + b"\0" for field in [str(number), *fields])
        for message in face.ask(decode_client(178, payload)):
            encode_server(178, message)
    face.pass_time(10)


PRICES = st.one_of(
    st.none(),
    st.sampled_from([0.0, -1.0, 24.0, 25.01, 25.001, 26.0, 1e300, float("inf"), float("nan")]),
)
ORDERS = st.builds(
    m.Order,
    action=st.sampled_from(["BUY", "SELL", "SSHORT", ""]),
    total_quantity=st.sampled_from(
        [Decimal(text) for text in ("0", "100", "0.5", "-5", "1e30", "NaN", "Infinity")]
    ),
    order_type=st.sampled_from(["MKT", "LMT", "STP", "STP LMT", "TRAIL", "REL", ""]),
    lmt_price=PRICES,
    aux_price=PRICES,
    tif=st.sampled_from(["", "DAY", "GTC", "IOC", "GTD", "FOK", "OPG"]),
    good_till_date=st.sampled_from(["", "20250123 10:00:05 US/Eastern", "20250123-15:00:07", "soon"]),
    oca_group=st.sampled_from(["", "a"]),
    oca_type=st.sampled_from([0, 1, 2, 3, 9]),
    parent_id=st.sampled_from([0, 1, 2, 99]),
    transmit=st.booleans(),
    outside_rth=st.booleans(),
    what_if=st.booleans(),
    account=st.sampled_from(["", "DU1234567", "DU9"]),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(-1, 4), ORDERS), min_size=1, max_size=8))
def test_any_order_is_taken_or_refused(placements: list[tuple[int, m.Order]]) -> None:
    face = Face()
    face.connect()
    face.quote(25.0, 25.02, size=150)
    for order_id, order in placements:
        for message in face.ask(m.PlaceOrder(order_id, SLV, order)):
            encode_server(178, message)
        face.quote(24.0, 24.02, size=150, after_s=1)
        face.trade(26.0)
    face.server.turn(Boundary(face.now + timedelta(hours=1), Turn.DAY_ENDS))
    face.ask(m.ReqCompletedOrders(api_only=False))
    face.ask(m.GlobalCancel())
    assert face.ask(m.ReqOpenOrders()) == [m.OpenOrderEnd()]
