"""How one value looks as one text field, both ways.

Unset numbers are None here. On the wire they are empty or the largest value of their type; both are
read everywhere, and which one is written is the kind's choice: ibapi reads some empty fields as 0, and
there the largest value must be said. Reading raises ValueError for what is not of the kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

from protocol.tws.framing import escape, escape_fully

UNSET_DOUBLE_TEXT = "1.7976931348623157E308"
UNSET_DOUBLE = float(UNSET_DOUBLE_TEXT)
UNSET_INTEGER = 2**31 - 1
UNSET_INTEGER_TEXT = str(UNSET_INTEGER)
UNSET_LONG_TEXT = str(2**63 - 1)
UNSET_DECIMAL = Decimal(2**127 - 1)
"""How clients of the 10.x line write a size that was never set."""
MAX_SIZE_EXPONENT = 27
"""Of ten. A number like 1E+999999999 is short to send and exhausts the memory of whoever writes it out."""
_UNSET_SIZES = frozenset({UNSET_DECIMAL, Decimal(UNSET_DOUBLE_TEXT)})
_UNSET_SIZE_TEXTS = frozenset({str(UNSET_DECIMAL), UNSET_DOUBLE_TEXT})


@attrs.frozen
class Kind:
    """`read` None: the field's text is the value (escapes were undone for the whole payload)."""

    name: str
    write: Callable[[Any], str]
    read: Callable[[str], Any] | None


def _read_int(text: str) -> int:
    return int(text) if text else 0


def _read_optional_int(text: str) -> int | None:
    if not text or text in {UNSET_INTEGER_TEXT, UNSET_LONG_TEXT}:
        return None
    return int(text)


def _write_optional_int(value: int | None) -> str:
    return "" if value is None else str(value)


def _write_max_int(value: int | None) -> str:
    return UNSET_INTEGER_TEXT if value is None else str(value)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite number")
    return value


def _read_float(text: str) -> float:
    return _finite(text) if text else 0.0


def _read_optional_float(text: str) -> float | None:
    if not text:
        return None
    value = _finite(text)
    return None if value == UNSET_DOUBLE else value


def _write_optional_float(value: float | None) -> str:
    return "" if value is None else repr(value)


def _write_max_float(value: float | None) -> str:
    return UNSET_DOUBLE_TEXT if value is None else repr(value)


def _read_offset(text: str) -> float | None:
    # The last is how ib_async 2.1 spells it.
    return math.inf if text in {"Infinity", "inf", "Infinite"} else _read_optional_float(text)


def _write_offset(value: float | None) -> str:
    return "Infinity" if value == math.inf else _write_optional_float(value)


def _write_short_float(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _read_bool(text: str) -> bool:
    return text == "1" or (text not in {"", "0"} and int(text) != 0)


def _write_bool(value: bool) -> str:
    return "1" if value else "0"


def _read_optional_bool(text: str) -> bool | None:
    return None if not text or text == UNSET_INTEGER_TEXT else _read_bool(text)


def _write_optional_bool(value: bool | None) -> str:
    return "" if value is None else _write_bool(value)


def read_size(text: str) -> Decimal:
    """A quantity; empty and unset read as zero."""
    if not text:
        return Decimal(0)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text[:40]!r} is not a quantity") from None
    if value in _UNSET_SIZES:
        return Decimal(0)
    if not value.is_finite() or abs(value.adjusted()) > MAX_SIZE_EXPONENT:
        raise ValueError(f"{text[:40]!r} is not a quantity of anything")
    return value


def _read_optional_size(text: str) -> Decimal | None:
    return None if not text or text in _UNSET_SIZE_TEXTS else read_size(text)


def _write_optional_size(value: Decimal | None) -> str:
    return "" if value is None else write_size(value)


def write_size(value: Decimal) -> str:
    """Plain digits: never an exponent, which no client reads as a size."""
    text = str(value)
    return format(value, "f") if "E" in text else text


def write_whole(value: Decimal) -> str:
    """The whole part alone: clients below version 163 read these sizes as integers and die of a fraction."""
    return str(int(value))


def _read_accounts(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _write_accounts(accounts: tuple[str, ...]) -> str:
    return escape_fully(",".join(accounts))


def _read_conjunction(text: str) -> bool:
    return text == "a"


def _write_conjunction(value: bool) -> str:
    return "a" if value else "o"


STR = Kind("str", escape, None)
TEXT = Kind("text", escape_fully, None)
"""For the fields that ibapi reads as Python escapes."""
INT = Kind("int", str, _read_int)
OPT_INT = Kind("int or empty", _write_optional_int, _read_optional_int)
MAX_INT = Kind("int or largest", _write_max_int, _read_optional_int)
FLOAT = Kind("float", repr, _read_float)
OPT_FLOAT = Kind("float or empty", _write_optional_float, _read_optional_float)
MAX_FLOAT = Kind("float or largest", _write_max_float, _read_optional_float)
SHORT_FLOAT = Kind("float without .0", _write_short_float, _read_float)
"""For the values that some clients read as integers when they are whole."""
OFFSET = Kind("float, infinite or empty", _write_offset, _read_offset)
BOOL = Kind("bool", _write_bool, _read_bool)
OPT_BOOL = Kind("bool or empty", _write_optional_bool, _read_optional_bool)
QTY = Kind("quantity", write_size, read_size)
OPT_QTY = Kind("quantity or empty", _write_optional_size, _read_optional_size)
WHOLE = Kind("whole quantity", write_whole, read_size)
ACCOUNTS = Kind("accounts", _write_accounts, _read_accounts)
CONJUNCTION = Kind("and/or", _write_conjunction, _read_conjunction)
