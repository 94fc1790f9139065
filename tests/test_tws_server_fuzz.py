"""Nothing that a client can put on the wire brings the simulated TWS down, or hurts another client."""

from __future__ import annotations

import random
import struct
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.exchange.replay_clock import Boundary, Turn
from protocol.tws import messages as m
from protocol.tws.codec import decode_client, encode_client, encode_server
from protocol.tws.framing import frame
from protocol.tws.handshake import MAX_REQUEST_BYTES, Negotiated, Refused, ServerConnection
from protocol.tws.request_layouts import REQUEST_LAYOUTS
from protocol.tws.versions import ADVERTISED, FORBIDDEN, OLDEST
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
KNOWN_IDS = [layout.message_id for layout in REQUEST_LAYOUTS]
ANY_IDS = [*KNOWN_IDS, 0, -1, 4711, 10**12]
VERSIONS = [version for version in range(OLDEST, ADVERTISED + 1) if version not in FORBIDDEN]


class Wire:
    """A client that says bytes, and one beside it that behaves; `said` counts what the first was told."""

    def __init__(self, version: int = ADVERTISED) -> None:
        self.face = Face()
        self.connection = ServerConnection(ADVERTISED, "20250123 10:00:00 EST")
        self.version, self.said, self.refused = version, 0, False
        self.face.connect(2)
        self.face.quote(25.0, 25.02)

    def hello(self) -> None:
        versions = f"v100..{self.version}".encode()
        self.say(b"API\0" + frame(versions) + frame(encode_client(self.version, m.StartApi(1))))

    def say(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            match event:
                case Negotiated(version):
                    self.face.server.connected(1, version)
                case Refused():
                    self.refused = True
                case _:
                    self.face.server.receive(1, event, self.face.now)
        for key, message in self.face.server.take():
            if key == 1:
                assert self.connection.send(message)
                self.said += 1

    def other_client_is_served(self) -> bool:
        return self.face.ask(m.ReqIds(1), 2) == [m.NextValidId(1)]


def requests_of(version: int) -> list[bytes]:
    """One real request of many kinds, as payloads."""
    order = m.Order(action="BUY", total_quantity=Decimal(10), order_type="LMT", lmt_price=24.0)
    return [
        encode_client(version, request)
        for request in (
            m.PlaceOrder(1, SLV, order), m.PlaceOrder(1, SLV, order), m.CancelOrder(1), m.ReqOpenOrders(),
            m.ReqExecutions(3, m.ExecutionFilter()), m.ReqPositions(), m.ReqAccountUpdates(True, ""),
            m.ReqAccountSummary(4, "All", "NetLiquidation"), m.ReqPnL(5, "DU1234567", ""),
            m.ReqContractDetails(6, SLV), m.ReqMktData(7, SLV, "", False, False),
            m.ReqHistoricalData(8, SLV, "", "1 min", "3600 S", True, "TRADES", 1, False),
        )
    ]  # fmt: skip


def damaged(payload: bytes, random_: random.Random) -> bytes:
    """A request with a field replaced, lost, doubled, cut off or far too long."""
    fields = payload.split(b"\0")[:-1]
    for _ in range(random_.randint(1, 3)):
        place = random_.randrange(len(fields))
        match random_.randrange(6):
            case 0:
                fields[place] = random_.choice(ODD_NUMBERS + ODD_TEXTS).encode()
            case 1 if len(fields) > 1:
                del fields[place]
            case 2:
                fields.insert(place, fields[place])
            case 3:
                fields = fields[: place + 1]
            case 4:
                fields[place] = random_.choice((b"9" * 5000, b"x" * 20_000, b"\xff\xfe\x80", b"\\ud800"))
            case _:
                fields[place] = random_.randbytes(random_.randrange(12)).replace(b"\0", b"\1")
    return b"".join(field + b"\0" for field in fields)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=80), max_size=12))
def test_random_bytes_before_the_handshake_are_refused_or_waited_for(chunks: list[bytes]) -> None:
    wire = Wire()
    for chunk in chunks:
        wire.say(chunk)
    assert wire.said == 0
    assert wire.other_client_is_served()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=12), st.booleans())
def test_random_bytes_within_a_session_end_at_most_that_session(chunks: list[bytes], framed: bool) -> None:
    wire = Wire()
    wire.hello()
    for chunk in chunks:
        wire.say(frame(chunk) if framed else chunk)
    assert wire.other_client_is_served()
    if framed:
        before = wire.said
        wire.say(frame(encode_client(wire.version, m.ReqIds(1))))
        assert wire.said == before + 1


@pytest.mark.parametrize("version", [OLDEST, 163, 166, 170, 176, ADVERTISED])
def test_damaged_requests_are_answered_and_the_session_goes_on(version: int) -> None:
    random_ = random.Random(version)
    wire = Wire(version)
    wire.hello()
    requests = requests_of(version)
    for number in range(300):
        data = frame(damaged(random_.choice(requests), random_))
        cut = random_.randrange(len(data))
        wire.say(data[:cut])
        wire.say(data[cut:])
        if number % 50 == 0:
            wire.face.quote(25.0 + number / 1000, 25.1 + number / 1000, after_s=1)
            wire.face.pass_time(1)
    assert not wire.refused
    assert wire.other_client_is_served()
    before = wire.said
    wire.say(frame(encode_client(version, m.ReqIds(1))))
    assert wire.said == before + 1


@pytest.mark.parametrize("version", VERSIONS)
def test_every_message_id_with_any_fields_is_answered_at_every_version(version: int) -> None:
    random_ = random.Random(version)
    wire = Wire(version)
    wire.hello()
    for message_id in ANY_IDS:
        for _ in range(4):
            fields = [str(message_id), *random_.choices(ODD_NUMBERS + ODD_TEXTS, k=random_.randrange(25))]
            wire.say(frame(b"".join(field.encode("utf-8", "replace") + b"\0" for field in fields)))
    assert not wire.refused
    assert wire.other_client_is_served()


@pytest.mark.parametrize("size", [MAX_REQUEST_BYTES + 1, 2**31, 2**32 - 1])
def test_a_giant_frame_ends_the_session_before_it_is_held(size: int) -> None:
    wire = Wire()
    wire.hello()
    wire.say(struct.pack("!I", size) + b"x" * 1000)
    assert wire.refused
    assert wire.connection.pending <= 1004
    wire.say(b"x" * 100_000)
    assert wire.connection.pending <= 1004


def test_a_frame_that_never_ends_holds_no_more_than_the_longest_request() -> None:
    wire = Wire()
    wire.hello()
    wire.say(struct.pack("!I", MAX_REQUEST_BYTES))
    for _ in range(64):
        wire.say(b"x" * 4095)
        assert wire.connection.pending <= MAX_REQUEST_BYTES + 4
    assert not wire.refused


def test_absurd_counts_in_a_request_make_no_absurd_lists() -> None:
    wire = Wire()
    wire.hello()
    payload = encode_client(ADVERTISED, m.PlaceOrder(1, SLV, m.Order(action="BUY", order_type="LMT")))
    fields = payload.split(b"\0")[:-1]
    for place in range(len(fields)):
        for count in (b"100000", b"2147483647", b"-1"):
            wire.say(frame(b"".join(f + b"\0" for f in [*fields[:place], count, *fields[place + 1 :]])))
    assert wire.other_client_is_served()


def test_subscriptions_of_one_client_are_bounded() -> None:
    wire = Wire()
    wire.hello()
    for number in range(500):
        for request in (
            m.ReqPnL(number, "", ""),
            m.ReqPnLSingle(number, "", "", 1),
            m.ReqAccountUpdatesMulti(number, "", "", True),
            m.ReqPositionsMulti(number, "", ""),
            m.ReqAccountSummary(number, "All", "NetLiquidation"),
        ):
            wire.say(frame(encode_client(ADVERTISED, request)))
    wire.face.place(1, m.Order(action="BUY", total_quantity=Decimal(10), order_type="MKT"), 2)
    before = wire.said
    wire.face.server.advance(wire.face.now + timedelta(minutes=5))
    wire.say(b"")
    assert wire.said - before < 10_000


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ANY_IDS), st.lists(FIELDS, max_size=20)), max_size=10))
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
