"""What a row of the journal holds: an event as bytes and back, and the chain that ties rows together.

A row is `(seq, stream, kind, version, payload)` and the hash of all of that together with the hash of
the row before, so that a flipped bit, a missing row or a foreign one is found when the journal is
opened. The payload is JSON: decimals and order references as strings, instants in ISO 8601 and UTC,
enums by value. `kind` is the name of the event's class.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

import attrs
import orjson
from cattrs import BaseValidationError, Converter
from cattrs.errors import ForbiddenExtraKeysError

from protocol import control_events, events
from protocol.events import BaseEvent, RuleValue
from protocol.values import OrderRef

SCHEMA_VERSION = 1
"""Of the events. A new kind, and a new field with a default, leave it as it is: rows that lack the field are
read with the default. A field that is renamed, dropped, or means something else raises it, and `decode`
then has to translate the rows of the versions before. A row of a later version is refused, as is one of a
kind that nobody knows: whoever guesses what happened trades on a guess."""
GENESIS = bytes(32)
"""The hash before the first row."""


class UnreadableRow(ValueError):
    """A row that this version of the system cannot read: it must not guess what happened."""


@attrs.frozen
class JournalRow:
    """One event at its place in the journal. `seq` counts from 1 over all streams, without gaps."""

    seq: int
    stream: str
    kind: str
    at: datetime
    event: BaseEvent


def kinds_of(classes: Iterable[type[BaseEvent]]) -> dict[str, type[BaseEvent]]:
    """The classes by name. Two of one name would make rows ambiguous: `ValueError`."""
    kinds: dict[str, type[BaseEvent]] = {}
    for each in classes:
        if kinds.setdefault(each.__name__, each) is not each:
            raise ValueError(
                f"two kinds of event are called {each.__name__}: {each!r}, {kinds[each.__name__]!r}"
            )
    return kinds


KINDS = kinds_of(
    thing
    for vocabulary in (events, control_events)
    for thing in vars(vocabulary).values()
    if isinstance(thing, type) and issubclass(thing, BaseEvent)
)


# --- event <-> bytes ------------------------------------------------------------------------------


def _from_instant(at: datetime) -> datetime:
    if at.tzinfo is UTC:
        return at
    if at.tzinfo is None:
        raise ValueError(f"an event needs aware times, got {at!r}")
    return at.astimezone(UTC)


def _from_float(number: float) -> float:
    # JSON has no word for these; written as null they would make the journal unreadable.
    if not math.isfinite(number):
        raise ValueError(f"an event cannot hold {number!r}")
    return number


def _from_decimal(number: Decimal) -> str:
    if not number.is_finite():
        raise ValueError(f"an event cannot hold {number!r}")
    return str(number)


@lru_cache(maxsize=4096)
def _to_ref(text: str, _: type[OrderRef]) -> OrderRef:
    # Cached, since the events of a trade name the same few orders over and over.
    ref = OrderRef.parse(text)
    if ref is None:
        raise ValueError(f"{text!r} is not an order reference")
    return ref


def converter() -> Converter:
    """A new one that knows all that events hold."""
    made = Converter(forbid_extra_keys=True, detailed_validation=False)
    made.register_unstructure_hook(datetime, _from_instant)
    made.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    made.register_unstructure_hook(float, _from_float)
    made.register_unstructure_hook(Decimal, _from_decimal)
    made.register_structure_hook(Decimal, lambda text, _: Decimal(text))
    # Values that rules keep are JSON's own; told apart by type, not guessed.
    made.register_structure_hook(RuleValue, lambda value, _: value)
    made.register_unstructure_hook(OrderRef, str)
    made.register_structure_hook(OrderRef, _to_ref)
    return made


UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    ArithmeticError,
    BaseValidationError,
    ForbiddenExtraKeysError,
)
"""What reading a payload raises when somebody else wrote it."""
_CONVERTER = converter()
_TO_PLAIN = {each: _CONVERTER.get_unstructure_hook(each) for each in KINDS.values()}
_FROM_PLAIN = {name: _CONVERTER.get_structure_hook(each) for name, each in KINDS.items()}


def encode(event: BaseEvent) -> bytes:
    """The payload of `event`. `ValueError` for what no replay could read back: an unknown class, a NaN."""
    to_plain = _TO_PLAIN.get(type(event))
    if to_plain is None:
        raise ValueError(f"{type(event).__name__} is no event of protocol/events.py or control_events.py")
    return orjson.dumps(to_plain(event))


def decode(kind: str, version: int, payload: bytes) -> BaseEvent:
    """The event that `encode` wrote; `UnreadableRow` if this version does not know it."""
    check_known(kind, version)
    try:
        event: BaseEvent = _FROM_PLAIN[kind](orjson.loads(payload), KINDS[kind])
    except UNREADABLE as error:
        raise UnreadableRow(f"the payload of this {kind} cannot be read: {error!r}") from error
    return event


def check_known(kind: str, version: int) -> None:
    """`UnreadableRow` if rows of this kind or version were written by another version of the system."""
    if kind not in KINDS:
        raise UnreadableRow(f"no event is called {kind!r} here: another version wrote this journal")
    if not 1 <= version <= SCHEMA_VERSION:
        raise UnreadableRow(f"{kind!r} is of schema {version}, this version reads 1 to {SCHEMA_VERSION}")


# --- the chain ------------------------------------------------------------------------------------


def link(previous: bytes, seq: int, stream: str, kind: str, version: int, payload: bytes) -> bytes:
    """The hash of a row: SHA-256 over the hash before it and everything that replay reads of it."""
    # Neither stream nor kind can hold a zero byte, so no two rows spell the same bytes.
    head = f"{seq}\0{stream}\0{kind}\0{version}\0".encode()
    return hashlib.sha256(previous + head + payload).digest()


def meta_check(key: str, value: str) -> bytes:
    """The hash that guards a named fact beside the events."""
    return hashlib.sha256(f"{key}\0{value}".encode()).digest()
