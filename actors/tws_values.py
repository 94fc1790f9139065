"""ibapi's numbers, texts and objects as our values and classes, and back, by the names of their fields.

The two sides name the same fields, in their own spelling, so the pairs are found once, at import; ibapi
marks what is unset with the largest number of a type, we with None.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar

import attrs

_UNSET_INT = 2**31 - 1
_UNSET_DOUBLE = 1.7976931348623157e308
_UNSET_SIZE = Decimal(10) ** 30  # 10.x marks an unset Decimal with 2**127 - 1

T = TypeVar("T")


def size(value: Any) -> Decimal:
    """A size as ibapi gives it (int, float or Decimal), exactly; unset is 0."""
    if isinstance(value, float):
        value = Decimal(int(value)) if value.is_integer() and abs(value) < 1e15 else Decimal(repr(value))
    size = Decimal(value)
    return Decimal(0) if abs(size) >= _UNSET_SIZE else size


def optional_float(value: Any) -> float | None:
    """A price or amount, also as text (margins); None when unset."""
    if value is None or value == "":
        return None
    number = float(value)
    return None if number >= _UNSET_DOUBLE else number


def optional_int(value: Any) -> int | None:
    return None if value is None or value == "" or int(value) >= _UNSET_INT else int(value)


def plain_float(value: Any) -> float:
    return optional_float(value) or 0.0


def plain_int(value: Any) -> int:
    # A permId may be larger than an unset int; order ids of manual orders are exactly that.
    return int(value or 0)


def text(value: Any) -> str:
    return "" if value is None else str(value)


def optional_bool(value: Any) -> bool | None:
    return None if value is None or value == "" or value == _UNSET_INT else bool(value)


_READERS: Final[dict[str, Any]] = {
    "str": text,
    "int": plain_int,
    "int | None": optional_int,
    "float": plain_float,
    "float | None": optional_float,
    "bool": bool,
    "bool | None": optional_bool,
    "Decimal": size,
}
_OTHER_NAMES: Final = {
    # the 10.x names of fields
    "commission": "commissionandfees",
    "mincommission": "mincommissionandfees",
    "maxcommission": "maxcommissionandfees",
    "commissioncurrency": "commissionandfeescurrency",
}

Columns: TypeAlias = tuple[tuple[str, str, Callable[[Any], object], object], ...]
"""Per field: our name, ibapi's attribute, reader, our default."""


def columns(ours: type[attrs.AttrsInstance], theirs: object) -> Columns:
    """The plain fields that both classes have, matched by name without case and underscores."""
    attributes = {name.lower(): name for name in vars(theirs)}
    found: list[tuple[str, str, Any, Any]] = []
    for field in attrs.fields(ours):
        flat = field.name.replace("_", "")
        name = attributes.get(flat) or attributes.get(_OTHER_NAMES.get(flat, ""))
        reader = _READERS.get(str(field.type))
        if name is not None and reader is not None:
            found.append((field.name, name, reader, field.default))
    return tuple(found)


def read_from(into: type[T], source: object, columns: Columns, **given: object) -> T:
    values = {ours: reader(getattr(source, name)) for ours, name, reader, _ in columns}
    return into(**values, **given)


def fill(target: T, source: object, columns: Columns) -> T:
    """Set on ibapi's object what differs from our default; the rest keeps ibapi's idea of unset."""
    for ours, name, _, default in columns:
        value = getattr(source, ours)
        if value is not None and value != default:
            setattr(target, name, value)
    return target
