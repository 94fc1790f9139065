"""Arithmetic and comparisons on values of which some are not known (None): Kleene's three-valued logic.

What is computed from something unknown is unknown; so is a division by zero, and a number too large.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

Value: TypeAlias = float | str | bool | None
"""A number, a text, true or false, or None: not known."""

Comparison: TypeAlias = Callable[[Value, Value], bool | None]


def is_number(value: Value) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool)


def both(values: Iterable[bool | None]) -> bool | None:
    """True where all are, false where one is, else unknown."""
    known = True
    for value in values:
        if value is False:
            return False
        known = known and value is not None
    return True if known else None


def either(values: Iterable[bool | None]) -> bool | None:
    """True where one is, false where all are, else unknown."""
    known = True
    for value in values:
        if value is True:
            return True
        known = known and value is not None
    return False if known else None


def opposite(value: bool | None) -> bool | None:
    return None if value is None else not value


def truth(value: Value) -> bool | None:
    """A number or a text is neither true nor false."""
    return value if isinstance(value, bool) else None


# --- comparisons --------------------------------------------------------------------------------------


def equal(left: Value, right: Value) -> bool | None:
    """Values of different kinds are not equal: 1 is not true, and not "1"."""
    if left is None or right is None:
        return None
    return _alike(left, right) and left == right


def _unequal(left: Value, right: Value) -> bool | None:
    return opposite(equal(left, right))


def _alike(left: Value, right: Value) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return isinstance(left, bool) and isinstance(right, bool)
    return isinstance(left, str) == isinstance(right, str)


def _ordered(compare: Callable[..., bool]) -> Comparison:
    """Numbers with numbers, texts with texts; between others there is no order, and the answer unknown."""

    def ordered(left: Value, right: Value) -> bool | None:
        if left is None or right is None or isinstance(left, bool) or isinstance(right, bool):
            return None
        return compare(left, right) if isinstance(left, str) == isinstance(right, str) else None

    return ordered


COMPARISONS: Final[Mapping[str, Comparison]] = MappingProxyType(
    {
        "==": equal,
        "!=": _unequal,
        "<": _ordered(operator.lt),
        "<=": _ordered(operator.le),
        ">": _ordered(operator.gt),
        ">=": _ordered(operator.ge),
    }
)


# --- arithmetic ---------------------------------------------------------------------------------------


def calculated(operation: Callable[..., float], *values: Value) -> float | None:
    """The result of an operation on numbers; unknown where one is, or where there is no finite result."""
    for value in values:
        if not isinstance(value, float | int) or isinstance(value, bool):
            return None
    try:
        result = operation(*values)
    except (ZeroDivisionError, OverflowError):
        return None
    return result if math.isfinite(result) else None
