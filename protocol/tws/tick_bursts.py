"""The same ticks for many lines at once, written once.

What one instant of the market says differs between two clients' lines in nothing but the request id. So
its frames are written once for each way of writing sizes and each length of a request id (the length of a
frame counts its digits), with gaps where the id goes; a line's bytes are then one `bytes.join`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import NamedTuple, assert_never

import attrs

from protocol.tws.framing import escape_fully
from protocol.tws.kinds import write_size, write_whole
from protocol.tws.messages import TickGeneric, TickPrice, TickSize, TickString
from protocol.tws.ticks import AnyTick
from protocol.tws.versions import FRACTIONAL_SIZE_SUPPORT

_pack = struct.Struct("!I").pack


class TickBurst:
    """Ticks of one instant, whatever request id they carry."""

    __slots__ = ("_pieces", "ticks")

    def __init__(self, ticks: tuple[AnyTick, ...]) -> None:
        """At least one tick."""
        self.ticks = ticks
        self._pieces: dict[tuple[bool, int], list[bytes]] = {}

    def frames(self, version: int, req_id: int) -> bytes:
        """All ticks as they go onto the stream of a client of that version."""
        text = b"%d" % req_id
        key = (version >= FRACTIONAL_SIZE_SUPPORT, len(text))
        pieces = self._pieces.get(key)
        if pieces is None:
            pieces = self._pieces[key] = _cut(self.ticks, *key)
        return text.join(pieces)


class LineTicks(NamedTuple):
    """A burst on one line: `req_id` is that of the client's request. A tuple, for there are very many."""

    req_id: int
    burst: TickBurst

    def messages(self) -> Iterator[AnyTick]:
        for tick in self.burst.ticks:
            yield attrs.evolve(tick, req_id=self.req_id)


def _cut(ticks: tuple[AnyTick, ...], fractional: bool, digits: int) -> list[bytes]:
    """The frames, cut where the request id belongs: behind the message id and the version field."""
    write = write_size if fractional else write_whole
    pieces: list[bytes] = []
    end = b""
    for tick in ticks:
        head, tail = _around_id(tick, write)
        rest = tail.encode("ascii")
        pieces.append(end + _pack(len(head) + digits + len(rest)) + head)
        end = rest
    pieces.append(end)
    return pieces


def _around_id(tick: AnyTick, size_text: Callable[[Decimal], str]) -> tuple[bytes, str]:
    """What stands before and behind the request id of a tick; tests hold it to `ticks`."""
    match tick:
        case TickPrice():
            return (
                b"1\x006\x00",
                f"\0{tick.tick_type}\0{tick.price!r}\0{size_text(tick.size)}\0{tick.attr_mask}\0",
            )
        case TickSize():
            return b"2\x006\x00", f"\0{tick.tick_type}\0{size_text(tick.size)}\0"
        case TickString():
            return b"46\x006\x00", f"\0{tick.tick_type}\0{escape_fully(tick.value)}\0"
        case TickGeneric():
            return b"45\x006\x00", f"\0{tick.tick_type}\0{tick.value!r}\0"
        case _:
            assert_never(tick)
