"""What faults make of single messages: pure functions from a message, or a quote, to what is said instead."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from decimal import Decimal
from math import nan
from typing import assert_never

import attrs

from protocol.exchange.faults_link import Garbage
from protocol.exchange.faults_said import Nonsense
from protocol.exchange.happenings import MarketTick
from protocol.tws import messages as m
from protocol.tws.framing import frame

_BID, _ASK, _LAST = 1, 2, 4
_ABSURD_BYTES = 1 << 30
_DELAYED_TYPES = {
    1: 66, 2: 67, 4: 68, 0: 69, 3: 70, 5: 71, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76, 45: 88,
}  # fmt: skip
"""Tick types of live data and of delayed data (the TWS API's list of tick types)."""
DELAYED = 3


def without_perm_id(message: m.ServerMessage) -> m.ServerMessage:
    match message:
        case m.OrderStatus():
            return attrs.evolve(message, perm_id=0)
        case m.OpenOrder():
            return attrs.evolve(message, order=attrs.evolve(message.order, perm_id=0))
        case _:
            return message


def stale_statuses(filled: m.OrderStatus) -> tuple[m.OrderStatus, ...]:
    """What comes behind a Filled: an older Submitted, and Filled again without its average price."""
    older = attrs.evolve(
        filled,
        status="Submitted",
        filled=Decimal(0),
        remaining=filled.filled + filled.remaining,
        avg_fill_price=0.0,
        last_fill_price=0.0,
    )
    return (older, attrs.evolve(filled, avg_fill_price=0.0))


def as_delayed(message: m.ServerMessage) -> m.ServerMessage:
    """A tick as delayed data has it; anything else as it is."""
    match message:
        case m.TickPrice() | m.TickSize() | m.TickString():
            return attrs.evolve(message, tick_type=_DELAYED_TYPES.get(message.tick_type, message.tick_type))
        case m.MarketDataType():
            return attrs.evolve(message, type=DELAYED)
        case _:
            return message


def nonsense(req_id: int, what: Nonsense, quote: MarketTick) -> Iterator[m.ServerMessage]:
    """One quote that makes no sense, for one market data line."""
    bid, ask = quote.bid or 1.0, quote.ask or 1.0
    size = Decimal(quote.bid_size or 100)
    match what:
        case Nonsense.NO_PRICE:
            bid, ask = -1.0, -1.0
        case Nonsense.ZERO:
            bid, ask = 0.0, 0.0
        case Nonsense.NOT_A_NUMBER:
            bid, ask = nan, nan
        case Nonsense.HUGE:
            bid, ask = 1e308, 1e308
        case Nonsense.CROSSED:
            bid, ask = ask + 1.0, bid
        case Nonsense.NO_SIZE:
            size = Decimal(0)
        case Nonsense.HALF_PRICE:
            bid, ask = round(bid / 2, 2), round(ask / 2, 2)
        case _:
            assert_never(what)
    yield m.TickPrice(req_id, _BID, bid, size)
    yield m.TickPrice(req_id, _ASK, ask, size)
    if what is not Nonsense.NO_SIZE:
        yield m.TickPrice(req_id, _LAST, bid, size)


def garbage(what: Garbage) -> bytes:
    """Bytes that are no message, framed as one where that is possible."""
    match what:
        case Garbage.UNKNOWN_ID:
            return frame(b"9999\x001\x00what is this\x00")
        case Garbage.PROTOBUF_ID:
            return frame(struct.pack("!I", 203) + b"\x08\x01\x12\x03SLV")
        case Garbage.ABSURD_LENGTH:
            return struct.pack("!I", _ABSURD_BYTES)
        case Garbage.BAD_UTF8:
            return frame(b"4\x002\x00-1\x002104\x00\xff\xfe\xc3\x28\x00\x00")
        case Garbage.EMPTY_INTEGER:
            return frame(b"3\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
        case Garbage.EMPTY_FRAME:
            return frame(b"")
        case _:
            assert_never(what)
