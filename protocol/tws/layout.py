"""The words in which layouts are written: a layout is a tuple of these, in wire order.

`path` is an attribute of the message (`order.lmt_price`). `since` is the first server version that has
the item, `until` the first that no longer has it. Both directions derive from the one tuple
(see `compiler`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from protocol.tws.kinds import QTY, WHOLE, Kind
from protocol.tws.versions import FRACTIONAL_SIZE_SUPPORT


@attrs.frozen
class Field:
    path: str
    kind: Kind
    since: int = 0
    until: int | None = None


@attrs.frozen
class Constant:
    """A field that says nothing: written as `text`, skipped when read (version numbers, dead fields)."""

    text: str
    since: int = 0
    until: int | None = None


@attrs.frozen
class Given:
    """True when the attribute is not empty."""

    path: str


@attrs.frozen
class OneOf:
    path: str
    values: tuple[object, ...]


@attrs.frozen
class Positive:
    """True when the attribute is a number above zero."""

    path: str


Test: TypeAlias = Given | OneOf | Positive


@attrs.frozen
class When:
    """A block that is there only when the test holds, on attributes that came before it."""

    test: Test
    items: tuple[Item, ...]
    since: int = 0
    until: int | None = None


@attrs.frozen
class Repeat:
    """A count, then that many records of class `of`."""

    path: str
    of: type
    items: tuple[Item, ...]
    since: int = 0
    until: int | None = None


@attrs.frozen
class Pairs:
    """A count, then that many pairs of fields; a tuple of tuples in the message."""

    path: str
    first: Kind
    second: Kind
    since: int = 0
    until: int | None = None


@attrs.frozen
class Presence:
    """A flag, then the record of class `of` when it is 1; None in the message when it is 0."""

    path: str
    of: type
    items: tuple[Item, ...]
    since: int = 0
    until: int | None = None


@attrs.frozen
class Variants:
    """A count, then that many records, each behind the code of its class."""

    path: str
    cases: Mapping[int, tuple[type, tuple[Item, ...]]]
    since: int = 0
    until: int | None = None


@attrs.frozen
class Words:
    """Two attributes in one field, a space between them; the second may be missing."""

    path: str
    second: str
    since: int = 0
    until: int | None = None


@attrs.frozen
class Repeated:
    """A count, then that many fields; a tuple of values in the message."""

    path: str
    kind: Kind
    since: int = 0
    until: int | None = None


Item: TypeAlias = Field | Constant | When | Repeat | Repeated | Pairs | Presence | Variants | Words


@attrs.frozen
class Layout:
    message_id: int
    of: type
    items: tuple[Item, ...]


def size(path: str) -> tuple[Field, Field]:
    """A market size: whole numbers below the version that brought fractions."""
    return (
        Field(path, WHOLE, until=FRACTIONAL_SIZE_SUPPORT),
        Field(path, QTY, since=FRACTIONAL_SIZE_SUPPORT),
    )


def fields(kind: Kind, *paths: str) -> tuple[Field, ...]:
    """Several fields of one kind in a row."""
    return tuple(Field(path, kind) for path in paths)
