"""The four tick messages by hand: they are nearly all of the traffic, and each layout is a few fields.

Same fields and same meaning as in `server_layouts`, which tests hold these to.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from protocol.tws.compiler import BadMessage
from protocol.tws.framing import escape_fully, unescape
from protocol.tws.kinds import MAX_SIZE_EXPONENT, read_size, write_size, write_whole
from protocol.tws.messages import TickGeneric, TickPrice, TickSize, TickString
from protocol.tws.versions import FRACTIONAL_SIZE_SUPPORT

AnyTick: TypeAlias = TickPrice | TickSize | TickGeneric | TickString


def decode_tick(payload: bytes) -> AnyTick | None:
    """The tick that `payload` is, or None when it is another message. Raises `BadMessage`.

    Ticks look the same at every version, so none is asked for.
    """
    fields = payload.split(b"\0")
    read = _READERS.get(fields[0])
    if read is None:
        return None
    try:
        return read(fields)
    except (ValueError, InvalidOperation) as error:
        raise BadMessage(f"a tick that cannot be read, {payload!r}: {error}") from None


def _size(text: bytes) -> Decimal:
    value = Decimal(text.decode()) if text else _ZERO
    # NaN makes the comparison itself raise. What is out of range is unset, or wrong.
    return value if -_LARGE < value < _LARGE else read_size(text.decode())


def _number(text: bytes) -> float:
    value = float(text or 0)
    # The difference is NaN, hence true, for NaN and the infinities alone.
    if value - value:
        raise ValueError("a number that is not finite")
    return value


def _read_price(fields: list[bytes]) -> TickPrice:
    _, _, req_id, tick_type, price, size, mask, _ = fields
    return TickPrice(int(req_id), int(tick_type), _number(price), _size(size), int(mask or 0))


def _read_size(fields: list[bytes]) -> TickSize:
    _, _, req_id, tick_type, size, _ = fields
    return TickSize(int(req_id), int(tick_type), _size(size))


def _read_generic(fields: list[bytes]) -> TickGeneric:
    _, _, req_id, tick_type, value, _ = fields
    return TickGeneric(int(req_id), int(tick_type), _number(value))


def _read_string(fields: list[bytes]) -> TickString:
    _, _, req_id, tick_type, raw, _ = fields
    text = raw.decode("ascii", "backslashreplace")
    return TickString(int(req_id), int(tick_type), unescape(text) if "\\u" in text else text)


_ZERO = Decimal(0)
_LARGE = Decimal(10) ** MAX_SIZE_EXPONENT
_READERS: dict[bytes, Callable[[list[bytes]], AnyTick]] = {
    b"1": _read_price,
    b"2": _read_size,
    b"45": _read_generic,
    b"46": _read_string,
}


def tick_writers(version: int) -> dict[type, Callable[[Any], bytes]]:
    """How to write each class of tick at `version`."""
    size_text = write_size if version >= FRACTIONAL_SIZE_SUPPORT else write_whole

    def price(tick: TickPrice) -> bytes:
        return (
            f"1\x006\x00{tick.req_id}\x00{tick.tick_type}\x00{tick.price!r}\x00"
            f"{size_text(tick.size)}\x00{tick.attr_mask}\x00"
        ).encode("ascii")

    def size(tick: TickSize) -> bytes:
        return f"2\x006\x00{tick.req_id}\x00{tick.tick_type}\x00{size_text(tick.size)}\x00".encode("ascii")

    def generic(tick: TickGeneric) -> bytes:
        return f"45\x006\x00{tick.req_id}\x00{tick.tick_type}\x00{tick.value!r}\x00".encode("ascii")

    def string(tick: TickString) -> bytes:
        text = escape_fully(tick.value)
        return f"46\x006\x00{tick.req_id}\x00{tick.tick_type}\x00{text}\x00".encode("ascii")

    return {TickPrice: price, TickSize: size, TickGeneric: generic, TickString: string}
