"""What must never be read by anybody: keys, tokens, passwords; and how a text is cleaned of them.

Two fences. A secret travels as a `Secret`, which shows itself to nobody who does not ask for it by name;
and whatever leaves as text (log, crash output, free text of events) goes through a `Redactor`, which
knows the values that were read and takes them out, however they are spelled. Addresses are shortened,
since a query and a user's part of an address are where keys are put.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn, SupportsIndex
from urllib.parse import quote, quote_plus

import attrs
import orjson

from protocol.control_events import (
    HealthEvent,
    KillLevelEvent,
    LimitTightenedEvent,
    LockEvent,
    OperatorEvent,
    SourceEvent,
    UnlockEvent,
)
from protocol.events import (
    ActorExitedEvent,
    AlarmEvent,
    BaseEvent,
    LinkEvent,
    NotifyEvent,
    RunEvent,
    SignalVerdictEvent,
)

REDACTED: Final = "[redacted]"
MIN_KNOWN_LENGTH: Final = 6
"""A shorter value would be found in half of all words, and protects nothing."""

_QUERY_OR_USER: Final = re.compile(
    r"\b([a-z][a-z0-9+.-]*://)([^\s/?#@\"'<>]*@)?([^\s?#\"'<>]*)(\?[^\s\"'<>]*)?"
)
_ACCOUNT: Final = re.compile(r"\b(D?[UFI])\d{5,}\b")
"""Account numbers of IBKR: U1234567, DU1234567 (paper), F… and DF… of advisors, I…."""


class Secret:
    """A text that is shown to nobody: not by `repr`, `str`, `format`, nor by a pickle.

    `reveal()` gives it away; it is called where the bytes that need it are made, and nowhere else.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, specification: str) -> str:
        return format(REDACTED, specification)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied into anything that is kept")


class Redactor:
    """Takes known values out of texts. Values are added as they are read, and stay for the process."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._known: re.Pattern[str] | None = None

    def know(self, value: str) -> None:
        """From now on `value` is in no text, neither plainly nor as an address, JSON or Python spells it."""
        if len(value) < MIN_KNOWN_LENGTH:
            return
        self._spellings |= {
            value,
            quote(value, safe=""),
            quote_plus(value),
            orjson.dumps(value).decode()[1:-1],
            repr(value)[1:-1],
        }
        # The longest first: what is left of a longer spelling is no secret any more, but still a hint.
        ordered = sorted(self._spellings, key=lambda spelling: (-len(spelling), spelling))
        self._known = re.compile("|".join(map(re.escape, ordered)))

    def clean(self, text: str) -> str:
        """`text` without any known value."""
        return text if self._known is None else self._known.sub(REDACTED, text)

    def clean_event(self, event: BaseEvent) -> BaseEvent:
        """The same event, its free text cleaned. What programs go by (ids, names, codes) is left alone."""
        if self._known is None or (fields := FREE_TEXT.get(type(event))) is None:
            return event
        changed: dict[str, Any] = {
            name: cleaned
            for name in fields
            if (cleaned := self.clean(before := getattr(event, name))) != before
        }
        return attrs.evolve(event, **changed) if changed else event


FREE_TEXT: Final[Mapping[type[BaseEvent], tuple[str, ...]]] = MappingProxyType(
    {
        ActorExitedEvent: ("reason",),
        AlarmEvent: ("text",),
        HealthEvent: ("sentence",),
        KillLevelEvent: ("why",),
        LimitTightenedEvent: ("why",),
        LinkEvent: ("reason",),
        LockEvent: ("reason",),
        NotifyEvent: ("text",),
        OperatorEvent: ("arguments", "why", "outcome"),
        RunEvent: ("detail",),
        SignalVerdictEvent: ("reason",),
        SourceEvent: ("detail",),
        UnlockEvent: ("why",),
    }
)
"""The fields of events into which a text from outside, an exception or a person could carry a secret."""


def shorten_addresses(text: str) -> str:
    """Addresses without user, password and query: `https://u:p@host/a?key=1` becomes `https://host/a?…`."""

    def shortened(found: re.Match[str]) -> str:
        scheme, _user, place, query = found.groups()
        return f"{scheme}{place}{'?…' if query else ''}"

    return _QUERY_OR_USER.sub(shortened, text) if "://" in text else text


def shorten_accounts(text: str) -> str:
    """Account numbers by the letters that tell paper from live: `DU1234567` becomes `DU…`."""
    return _ACCOUNT.sub(r"\1…", text)


def escape(text: str) -> str:
    """On one line, and without anything that a terminal would obey: that is spelled out (`\\n`, `\\x1b`)."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
