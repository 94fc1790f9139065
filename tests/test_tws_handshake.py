"""How a session begins: both halves wired back to back, in any pieces, and what is refused."""

from __future__ import annotations

import itertools
import struct
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ibapi import comm

from protocol.tws import messages as m
from protocol.tws.codec import BadMessage, decode_server, encode_client
from protocol.tws.framing import MAX_FRAME_BYTES, Deframer, frame
from protocol.tws.handshake import (
    ClientHandshake,
    LocalProtocolError,
    Negotiated,
    Refused,
    ServerConnection,
    ServerEvent,
    ServerHandshake,
    ServerHello,
)
from protocol.tws.versions import negotiate, spoken

TIME = "20260728 10:00:00 EST"
START = frame(encode_client(157, m.StartApi(3)))


def server(server_max: int = 178) -> ServerConnection:
    return ServerConnection(server_max, TIME)


@pytest.mark.parametrize(
    ("server_max", "client_min", "client_max", "version"),
    [
        (178, 100, 157, 157),
        (178, 157, 176, 176),
        (178, 157, 178, 178),
        (178, 100, 225, 178),
        (157, 157, 178, 157),
        (158, 157, 178, 157),
        (178, 100, 158, 157),
        (158, 158, 178, None),
        (178, 100, 156, None),
        (170, 171, 178, None),
        (200, 100, 225, 200),
        (200, 157, 178, 178),
    ],
)
def test_the_newest_common_version_is_agreed_on(
    server_max: int, client_min: int, client_max: int, version: int | None
) -> None:
    assert negotiate(server_max, client_min, client_max) == version


def test_158_is_never_agreed_on() -> None:
    agreed = {negotiate(ours, 100, theirs) for ours in range(157, 201) for theirs in range(157, 226)}
    assert agreed == set(spoken())
    assert 158 not in agreed


def test_the_hello_of_ibapi_is_answered_as_tws_does() -> None:
    hello = b"API\0" + comm.make_msg("v100..157")
    (negotiated,) = server().receive_data(hello)
    assert negotiated == Negotiated(157, 100, 157, "", b"\x00\x00\x00\x1a157\x0020260728 10:00:00 EST\x00")


def test_connect_options_are_kept_apart() -> None:
    (negotiated,) = server().receive_data(b"API\0" + comm.make_msg("v100..178 +PACEAPI"))
    assert isinstance(negotiated, Negotiated)
    assert (negotiated.version, negotiated.options) == (178, "+PACEAPI")


@given(
    st.lists(st.integers(0, 200), max_size=12),
    st.sampled_from([(100, 157), (157, 176), (157, 178), (100, 225)]),
)
@settings(deadline=None)
def test_in_whatever_pieces_the_session_begins_the_same(at: list[int], versions: tuple[int, int]) -> None:
    client = ClientHandshake(*versions)
    requests: list[m.ClientRequest] = [m.StartApi(3), m.ReqIds(1), m.ReqCurrentTime()]
    agreed = min(versions[1], 178)
    stream = client.hello + b"".join(frame(encode_client(agreed, request)) for request in requests)
    connection = server()
    edges = sorted({0, len(stream), *(place % len(stream) for place in at)})
    events: list[ServerEvent] = []
    for start, end in itertools.pairwise(edges):
        events += connection.receive_data(stream[start:end])
    negotiated, *rest = events
    assert isinstance(negotiated, Negotiated)
    assert rest == requests
    assert connection.version == agreed
    assert client.receive_data(negotiated.reply) == ServerHello(agreed, TIME)
    assert client.leftover == b""


def test_the_server_speaks_only_after_start_api() -> None:
    connection = server()
    with pytest.raises(LocalProtocolError, match="NextValidId"):
        connection.send(m.NextValidId(1))
    connection.receive_data(b"API\0" + comm.make_msg("v100..157"))
    with pytest.raises(LocalProtocolError, match="StartApi"):
        connection.send(m.NextValidId(1))
    assert connection.receive_data(START) == [m.StartApi(3)]
    assert connection.started
    assert connection.send(m.NextValidId(1)) == frame(b"9\x001\x001\x00")


@pytest.mark.parametrize("client_max", [157, 163, 178])
def test_a_message_goes_through_at_the_version_agreed_on(client_max: int) -> None:
    connection = server()
    connection.receive_data(ClientHandshake(100, client_max).hello + START)
    tick = m.TickPrice(1, 4, 20.5, Decimal(100))
    (payload,) = Deframer().feed(connection.send(tick))
    assert decode_server(client_max, payload) == tick


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "begins with"),
        (b"\x16\x03\x01", "begins with"),
        (b"API\x01", "begins with"),
        (b"API\0" + struct.pack("!I", 0), "0 bytes"),
        (b"API\0" + struct.pack("!I", 2**31), "bytes were announced"),
        (b"API\0" + frame(b"157"), "does not say"),
        (b"API\0" + frame(b"v100..many"), "does not say"),
        (b"API\0" + frame(b"\xff\xfe"), "does not say"),
        (b"API\0" + frame(b"v" + b"9" * 4000), "does not say"),
        (b"API\0" + frame(b"v100..150"), "no common version"),
        (b"API\0" + frame(b"v200..225"), "no common version"),
    ],
)
def test_what_is_no_client_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    connection = server()
    (refused,) = connection.receive_data(data)
    assert isinstance(refused, Refused)
    assert reason in refused.reason
    assert connection.receive_data(START) == []
    assert connection.version is None


def test_a_single_version_is_a_range_of_one() -> None:
    (negotiated,) = server().receive_data(b"API\0" + frame(b"v170"))
    assert isinstance(negotiated, Negotiated)
    assert (negotiated.version, negotiated.client_min, negotiated.client_max) == (170, 170, 170)


def test_a_monstrous_frame_ends_the_session_after_what_came_before_it() -> None:
    connection = server()
    connection.receive_data(ClientHandshake(100, 157).hello)
    request, refused = connection.receive_data(START + struct.pack("!I", MAX_FRAME_BYTES + 1))
    assert request == m.StartApi(3)
    assert isinstance(refused, Refused)
    assert connection.receive_data(START) == []


def test_a_request_that_cannot_be_read_does_not_end_the_session() -> None:
    connection = server()
    connection.receive_data(ClientHandshake(100, 157).hello + START)
    unknown, known = connection.receive_data(frame(b"8\x001\x00many\x00") + frame(b"49\x001\x00"))
    assert isinstance(unknown, m.UnknownRequest)
    assert known == m.ReqCurrentTime()


def test_the_handshake_alone_keeps_what_came_behind_it() -> None:
    handshake = ServerHandshake(178, TIME)
    assert handshake.receive_data(b"API\0") is None
    assert handshake.leftover == b""
    assert isinstance(handshake.receive_data(comm.make_msg("v100..157") + START), Negotiated)
    assert handshake.leftover == START
    with pytest.raises(LocalProtocolError):
        handshake.receive_data(b"")


def test_the_client_keeps_what_is_glued_behind_the_answer() -> None:
    client = ClientHandshake(100, 157, "+PACEAPI")
    assert client.hello == b"API\0" + comm.make_msg("v100..157 +PACEAPI")
    answer = frame(b"157\x00" + TIME.encode() + b"\0")
    glued = frame(b"9\x001\x001\x00")
    assert client.receive_data(answer[:10]) is None
    assert client.receive_data(answer[10:] + glued) == ServerHello(157, TIME)
    assert client.leftover == glued


@pytest.mark.parametrize(
    "answer",
    [
        frame(b"178\x00" + TIME.encode() + b"\0"),
        frame(b"99\x00" + TIME.encode() + b"\0"),
        frame(b"many\x00time\x00"),
        frame(b"157\x00"),
        frame(b""),
        b"HTTP/1.1 400 Bad Request",
    ],
)
def test_an_answer_that_is_none_is_the_servers_fault(answer: bytes) -> None:
    with pytest.raises(BadMessage):
        ClientHandshake(100, 157).receive_data(answer)


@pytest.mark.parametrize("server_max", [156, 201])
def test_a_server_offers_only_versions_that_it_speaks(server_max: int) -> None:
    with pytest.raises(ValueError, match=str(server_max)):
        server(server_max)
