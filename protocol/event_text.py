"""Events of a journal as people and programs read them: one line each, or one JSON object each."""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Iterable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import attrs
import orjson

from protocol.events import ActorExitedEvent, ActorStartedEvent, BaseEvent
from protocol.journal import KINDS, JournalRow, encode
from protocol.summary import clean, sentence
from protocol.values import OrderRef, OrderSpec

NEW_YORK: Final = ZoneInfo("America/New_York")
SYMBOL_STREAM: Final = "symbol:"
_OWN_COLUMNS: Final = frozenset({"at", "cause", "ref", "symbol"})


class BadQuestion(ValueError):
    """Something was asked for that cannot be; the message says what could."""


# --- what is asked for ------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class EventFilter:
    """Which events are wanted. `kinds` empty: all; otherwise these, and those that derive from them."""

    kinds: frozenset[str] = frozenset()
    symbol: str = ""
    since: datetime | None = None

    def wants(self, row: JournalRow) -> bool:
        if self.kinds and row.kind not in self.kinds:
            return False
        if self.since is not None and row.at < self.since:
            return False
        return not self.symbol or symbol_of(row.event) == self.symbol


def kinds_named(name: str) -> frozenset[str]:
    """The names of an event type and of all that derive from it. Raises `BadQuestion`."""
    wanted = KINDS.get(name)
    if wanted is None:
        close = difflib.get_close_matches(name, KINDS, n=1, cutoff=0.5)
        also = [kind for kind in KINDS if kind.lower() in (name.lower(), f"{name.lower()}event")]
        hint = f'did you mean "{(also or close)[0]}"?' if also or close else f"known: {', '.join(KINDS)}"
        raise BadQuestion(f'--type: there is no event type "{name}"; {hint}')
    return frozenset(kind for kind, each in KINDS.items() if issubclass(each, wanted))


def read_moment(text: str, day: date) -> datetime:
    """`10:30`, `10:30:15` on `day`, `2025-01-23`, or a whole date and time; New York's where none is said.

    Raises `BadQuestion`.
    """
    try:
        if re.fullmatch(r"\d\d:\d\d(:\d\d)?", text):
            return datetime.combine(day, time.fromisoformat(text), NEW_YORK)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadQuestion(
            f"--since: {text!r} is neither HH:MM, HH:MM:SS, a date, nor a date and time"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=NEW_YORK)


def symbol_of(event: BaseEvent) -> str:
    """The symbol that an event is about; "" for none."""
    if isinstance(event, ActorStartedEvent | ActorExitedEvent):
        is_symbol = event.actor.startswith(SYMBOL_STREAM)
        return event.actor.removeprefix(SYMBOL_STREAM) if is_symbol else ""
    return str(getattr(event, "symbol", ""))


# --- for people -------------------------------------------------------------------------------------


def clock(at: datetime) -> str:
    """New York time, with thousandths: many events share a second."""
    return f"{at.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def what(event: BaseEvent) -> str:
    """What happened, in words, or field by field where nobody has words for it."""
    told = sentence(event)
    if told is not None:
        return told.removeprefix(f"{symbol_of(event)}: ")
    ref = getattr(event, "ref", None)
    begins = f"{ref.role}.r{ref.revision}: " if isinstance(ref, OrderRef) else ""
    fields = (
        f"{field.name}={_shown(value)}"
        for field in attrs.fields(type(event))
        if field.name not in _OWN_COLUMNS and _says_something(value := getattr(event, field.name))
    )
    return clean(begins + " ".join(fields))


def _says_something(value: object) -> bool:
    return value is not None and value is not False and value not in ("", ())


def _shown(value: object) -> str:
    match value:
        case OrderSpec():
            return order_text(value)
        case enum.Enum():
            return str(value.value)
        case datetime():
            return clock(value)
        case float():
            return f"{value:g}"
        case Decimal() | int() | str():
            return str(value)
        case _:
            return f"({type(value).__name__})"


def order_text(spec: OrderSpec) -> str:
    """`SELL 100 STP 97.00 GTC`."""
    prices = (spec.limit_price, spec.stop_price, spec.trail_amount, spec.trail_fraction)
    shown = " ".join(str(price) for price in prices if price is not None)
    return " ".join(
        filter(None, (spec.side.value, str(spec.quantity), spec.type.value, shown, spec.tif.value))
    )


# --- for programs -----------------------------------------------------------------------------------


def to_json(row: JournalRow) -> dict[str, Any]:
    """`event_id` is its place in the journal, `stream` whose it is; `source` too, unless it names its own."""
    fields = orjson.loads(encode(row.event))
    return {
        "event_id": row.seq,
        "event_type": row.kind,
        "stream": row.stream,
        "source": row.stream,
        **fields,
    }


def last(rows: Iterable[JournalRow], limit: int | None) -> tuple[JournalRow, ...]:
    """The last `limit` of them, None for all."""
    found = tuple(rows)
    return found if limit is None else found[-limit:] if limit else ()
