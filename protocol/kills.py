"""Deaths on command: which symbol actor is to crash, and at which moment of its work."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime, time
from zoneinfo import ZoneInfo

import attrs

from protocol.events import BaseEvent, FillEvent, ModifyOrderEvent, PositionUpdateEvent
from protocol.values import MAIN, Purpose, Symbol


class Moment(enum.Enum):
    """Moments of a symbol's work, right after its events are in the journal and its commands are out."""

    ENTRY_FILLED = "entry-filled"
    STOP_MODIFY_SENT = "stop-modify-sent"
    REVERSAL_CLOSING = "reversal-closing"
    RECOVERING = "recovering"


@attrs.frozen
class KillOrder:
    """`when` is a moment, a time of day (the next one, New York), or a full date and time."""

    symbol: Symbol
    when: Moment | time | datetime

    def __str__(self) -> str:
        """As the user wrote it."""
        return f"{self.symbol}@{self.when.value if isinstance(self.when, Moment) else self.when}"

    def is_due(self, events: Sequence[BaseEvent], *, recovering: bool, at: datetime, since: datetime) -> bool:
        """Whether the death is due after a step with these events, at market time `at`."""
        match self.when:
            case datetime():
                return at >= self.when
            case time():
                zone = ZoneInfo(NEW_YORK)
                moment = datetime.combine(since.astimezone(zone).date(), self.when, zone)
                return at >= moment > since or (moment <= since and at.astimezone(zone).date() > moment.date()
                                                and at.astimezone(zone).time() >= self.when)  # fmt: skip
            case Moment.RECOVERING:
                return recovering
            case Moment.ENTRY_FILLED:
                return any(isinstance(e, FillEvent) and e.ref.role == MAIN for e in events)
            case Moment.STOP_MODIFY_SENT:
                return any(_moves_stop(event) for event in events)
            case Moment.REVERSAL_CLOSING:
                return any(isinstance(e, PositionUpdateEvent) and e.reverse_to is not None for e in events)


def _moves_stop(event: BaseEvent) -> bool:
    return isinstance(event, ModifyOrderEvent) and event.order.purpose is Purpose.STOP


NEW_YORK = "America/New_York"


def read_kill(text: str) -> KillOrder:
    """`SYMBOL@WHEN`. Raises ValueError with a sentence for a user."""
    symbol, at, when = text.partition("@")
    if not at or not symbol or not when:
        raise ValueError(f"must be SYMBOL@WHEN, not {text!r}")
    for moment in Moment:
        if when == moment.value:
            return KillOrder(Symbol(symbol), moment)
    try:
        return KillOrder(Symbol(symbol), time.fromisoformat(when))
    except ValueError:
        pass
    try:
        day = datetime.fromisoformat(when)
    except ValueError:
        known = ", ".join(moment.value for moment in Moment)
        raise ValueError(f"{when!r} is neither HH:MM:SS, a date and time, nor one of {known}") from None
    if day.tzinfo is None:
        day = day.replace(tzinfo=ZoneInfo(NEW_YORK))
    return KillOrder(Symbol(symbol), day)
