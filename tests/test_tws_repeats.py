"""What TWS tells again is not decoded again, and says what it said."""

from __future__ import annotations

from decimal import Decimal

import pytest

from actors.tws_codec import CLIENT_MAX, TwsCodec
from actors.tws_repeats import KEPT, Repeats
from protocol.session_words import Inbound, Undecodable
from protocol.tws import messages as tws
from protocol.tws.codec import encode_server

VERSION = CLIENT_MAX
SLV = tws.Contract(con_id=11, symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
BOUGHT = tws.Execution(
    exec_id="0001.01", time="20250123 15:30:00 US/Eastern", acct_number="DU1", exchange="ISLAND", side="BOT",
    shares=Decimal(100), price=28.5, perm_id=9, client_id=1, order_id=7, cum_qty=Decimal(100), avg_price=28.5,
    ev_multiplier=0.0,
)  # fmt: skip
CHARGED = tws.CommissionReport("0001.01", 1.0, "USD", None)


class Counting:
    """The codec behind `Repeats`, counting what it is asked to decode."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.repeats = Repeats(self._interpret)
        self._codec = TwsCodec(VERSION, 1)

    def _interpret(self, payload: bytes) -> tuple[Inbound, ...]:
        self.asked.append(payload)
        return self._codec._interpret(payload)

    def hear(self, message: tws.ServerMessage) -> tuple[Inbound, ...]:
        return self.repeats.read(encode_server(VERSION, message))


def test_a_commission_that_is_told_again_is_decoded_once() -> None:
    counting = Counting()
    first, second = counting.hear(CHARGED), counting.hear(CHARGED)
    assert first == second == (CHARGED,)
    assert len(counting.asked) == 1


def test_an_execution_is_known_again_under_another_request() -> None:
    counting = Counting()
    told = [counting.hear(tws.ExecDetails(req_id, SLV, BOUGHT)) for req_id in (3, 4, -1)]
    assert told == [(tws.ExecDetails(req_id, SLV, BOUGHT),) for req_id in (3, 4, -1)]
    assert len(counting.asked) == 2, "both answers are one, and a live one is read as it came"


def test_what_differs_in_anything_else_is_read_anew() -> None:
    counting = Counting()
    counting.hear(tws.CommissionReport("0001.01", 1.0, "USD", None))
    (other,) = counting.hear(tws.CommissionReport("0001.01", 1.5, "USD", None))
    assert other == tws.CommissionReport("0001.01", 1.5, "USD", None)


def test_the_current_time_is_not_kept() -> None:
    counting = Counting()
    for _ in range(2):
        counting.hear(tws.CurrentTime(1_700_000_000))
    assert len(counting.asked) == 2


def test_no_more_is_kept_than_the_limit() -> None:
    made: list[bytes] = []

    def interpret(payload: bytes) -> tuple[Inbound, ...]:
        made.append(payload)
        return (Undecodable(payload, "a test"),)

    repeats = Repeats(interpret)
    for number in range(KEPT + 1):
        repeats.read(b"59\x00%d\0" % number)
    repeats.read(b"59\x00%d\0" % KEPT)
    assert len(made) == KEPT + 1
    repeats.read(b"59\x000\0")
    assert len(made) == KEPT + 2, "those before the limit were let go"


@pytest.mark.parametrize("payload", [b"11\0", b"11\x005\0", b"11\x005\0x\0", b"11\0x\x001\0"])
def test_a_damaged_execution_is_shown_as_it_came(payload: bytes) -> None:
    (got,) = TwsCodec(VERSION, 1).decode(payload)
    assert isinstance(got, Undecodable)
    assert got.raw == payload
