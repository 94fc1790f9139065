"""What a person is told outside the program: which events, how loud, how often, in which words.

An alarm is told by every channel that does not say otherwise, and so is what a rule calls urgent, and a kill
level that was lowered; a protection's lock is told without a sound. Other events are told where a channel
lists them. The same alarm of
the same symbol is told once a minute; what comes meanwhile is counted and told in one message, and so is
what a channel's own limit holds back. The clock of all this is the machine's: a person reads no faster in
a fast replay.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any, Final

import attrs

from protocol.alert_settings import AlertChannel, Loudness
from protocol.control_events import KillLevelEvent, LockEvent
from protocol.event_text import symbol_of, what
from protocol.events import AlarmEvent, BaseEvent, NotifyEvent
from protocol.risk.words import LockKind

SAME_LOOP_S: Final = 60.0
"""For so long an alarm that was told is not told again, but counted."""
WINDOW_LOOP_S: Final = 60.0
MAX_COUNTED: Final = 1000
"""Different alarms that are counted at once."""
MAX_TEXT: Final = 1500
"""Characters of one message: all services take that many (Discord 2000, Telegram 4096)."""

MANY: Final = "ALERTS_LEFT_OUT"
"""The code of a message that tells what was held back."""


@attrs.frozen(kw_only=True)
class Alert:
    """One thing to tell. `code` is the alarm's, or the name of the event's type; `at` is market time.

    `alarming`: told unless a channel says otherwise.
    """

    code: str
    text: str
    at: str = ""
    symbol: str = ""
    event: str = ""
    alarming: bool = True

    @property
    def key(self) -> tuple[str, str]:
        """What makes two of them the same."""
        # What rules and trades tell differs from time to time; an alarm is its code.
        return (self.code, f"{self.symbol} {self.text}" if self.code == self.event else self.symbol)


def alert_of(event: BaseEvent, zone: tzinfo) -> Alert:
    """The event as something to tell."""
    match event:
        case AlarmEvent():
            code, text = event.code, event.text
        case NotifyEvent():
            code, text = event.event_type, event.text
        case _:
            code, text = event.event_type, what(event)
    return Alert(
        code=code,
        text=text,
        at=event.at.astimezone(zone).isoformat(timespec="seconds"),
        symbol=symbol_of(event),
        event=event.event_type,
        alarming=is_alarming(event),
    )


def is_alarming(event: BaseEvent) -> bool:
    """Whether a person is to know of it in any case."""
    match event:
        case AlarmEvent():
            return True
        case KillLevelEvent():
            # A level that rises has an alarm of its own; one that a person lowers has none.
            return event.level < event.before
        case NotifyEvent():
            return event.urgent
        case _:
            return False


_NOTICED: Final = frozenset(
    {LockKind.STOP_LOSS_GUARD.value, LockKind.LOW_PROFIT.value, LockKind.DRAWDOWN.value}
)
"""Locks of one symbol that come with no alarm and last; those of limits and of the account come with one."""


def default_loudness(event: BaseEvent, of_channel: Loudness) -> Loudness:
    """How loud an event is of which a channel says nothing; `of_channel`: its word for alarms."""
    if is_alarming(event):
        return of_channel
    if isinstance(event, LockEvent) and event.symbol and event.kind in _NOTICED:
        return Loudness.OFF if of_channel is Loudness.OFF else Loudness.SILENT
    return Loudness.OFF


class Listing:
    """What one channel says of events: the most particular word counts.

    The code of an alarm comes before the type of the event, that before the types it derives from.
    """

    def __init__(self, channel: AlertChannel) -> None:
        self._default = channel.default
        self._listed = dict(channel.events)

    def loudness(self, event: BaseEvent) -> Loudness:
        names = [each.__name__ for each in type(event).__mro__ if issubclass(each, BaseEvent)]
        if isinstance(event, AlarmEvent):
            names.insert(0, event.code)
        for name in names:
            if name in self._listed:
                return self._listed[name]
        return default_loudness(event, self._default)

    def loudness_of_code(self, code: str) -> Loudness:
        """Of an alarm that no journal holds."""
        return self._listed.get(code, self._default)


@attrs.frozen
class Outgoing:
    """An alert on its way by one channel."""

    alert: Alert
    silent: bool
    offered_loop_s: float


class Throttle:
    """One channel's limits. `offer` what there is to tell; `due` says what was held back, once it is time."""

    def __init__(self, max_per_min: int) -> None:
        self._max = max_per_min
        self._told: deque[float] = deque()
        self._since: dict[tuple[str, str], float] = {}
        self._held: Counter[str] = Counter()
        self._tell_held_loop_s = math.inf

    def offer(self, alert: Alert, *, silent: bool, loop_s: float) -> Outgoing | None:
        """The alert, if it may be told now; None when it is only counted."""
        again = loop_s - self._since.get(alert.key, -math.inf) < SAME_LOOP_S
        # A burst of trades that are told, too, must leave room for an alarm.
        limit = self._max if alert.alarming else self._max - self._max // 4
        if again or not self._has_room(loop_s, limit):
            self.hold(alert, loop_s=loop_s)
            return None
        if len(self._since) >= MAX_COUNTED:
            self._since = {key: at for key, at in self._since.items() if loop_s - at < SAME_LOOP_S}
        if len(self._since) < MAX_COUNTED:
            self._since[alert.key] = loop_s
        self._told.append(loop_s)
        return Outgoing(alert, silent, loop_s)

    def hold(self, alert: Alert, *, loop_s: float) -> None:
        """It is not told, but counted: a repetition, one too many, or one that found no room."""
        name = f"{alert.code} {alert.symbol}".strip()
        self._held[name if name in self._held or len(self._held) < MAX_COUNTED else "others"] += 1
        self._tell_held_loop_s = min(self._tell_held_loop_s, loop_s + SAME_LOOP_S)

    @property
    def next_due_loop_s(self) -> float:
        """When `due` will have something; infinity when nothing was held back."""
        return self._tell_held_loop_s

    def due(self, loop_s: float) -> Outgoing | None:
        """The one message about everything that was held back."""
        if loop_s < self._tell_held_loop_s:
            return None
        return self.held(loop_s)

    def held(self, loop_s: float) -> Outgoing | None:
        """The same without waiting for the time: for an end."""
        if not self._held:
            return None
        held, self._held, self._tell_held_loop_s = self._held, Counter(), math.inf
        # It takes a place of the limit, but never waits for one: it comes once a minute.
        self._told.append(loop_s)
        many = ", ".join(f"{name} ×{count}" for name, count in held.most_common(20))
        rest = f" and {len(held) - 20} more kinds" if len(held) > 20 else ""
        text = f"{held.total()} more: {many}{rest}"
        return Outgoing(Alert(code=MANY, text=text), silent=True, offered_loop_s=loop_s)

    def _has_room(self, loop_s: float, limit: int) -> bool:
        while self._told and loop_s - self._told[0] >= WINDOW_LOOP_S:
            self._told.popleft()
        return len(self._told) < limit


# --- the words --------------------------------------------------------------------------------------


def text_of(alert: Alert, origin: str) -> str:
    """For people: what, about whom, when, and which system says it."""
    about = f"{alert.symbol}: " if alert.symbol else ""
    mark = "ALARM " if alert.alarming else ""
    when = f" at {alert.at}" if alert.at else ""
    tail = f" ({alert.code}{when}, {origin})"
    room = MAX_TEXT - len(mark) - len(about) - len(tail)
    text = alert.text if len(alert.text) <= room else alert.text[: room - 1] + "…"
    return f"{mark}{about}{text}{tail}"


def fields_of(alert: Alert, origin: str, *, silent: bool) -> dict[str, Any]:
    """For programs: the body of a webhook, the standard input of a command."""
    return {
        "code": alert.code,
        "event": alert.event,
        "symbol": alert.symbol,
        "text": alert.text[:MAX_TEXT],
        "at": alert.at,
        "alarm": alert.alarming,
        "silent": silent,
        "from": origin,
    }


def telegram_fields(alert: Alert, origin: str, *, chat: str, silent: bool) -> dict[str, Any]:
    """The body of `sendMessage` of Telegram's bot API."""
    return {"chat_id": chat, "text": text_of(alert, origin), "disable_notification": silent}


SUPPRESS_NOTIFICATIONS: Final = 1 << 12
"""Discord's message flag for a message that makes no sound."""


def discord_fields(alert: Alert, origin: str, *, silent: bool) -> dict[str, Any]:
    """The body of a Discord webhook; nobody is mentioned, whatever the text says."""
    return {
        "content": text_of(alert, origin),
        "flags": SUPPRESS_NOTIFICATIONS if silent else 0,
        "allowed_mentions": {"parse": []},
    }


def backoff_loop_s(failures: int, chance: float) -> float:
    """The wait after so many failures in a row: 1 s doubling to a minute, a quarter more at random."""
    return float(min(60.0, 2.0 ** min(failures - 1, 6))) * (1 + 0.25 * chance)


def told_kinds(channels: Sequence[AlertChannel]) -> frozenset[str]:
    """The names of event types that some channel lists, for those who look at every event."""
    return frozenset(name for channel in channels for name, _ in channel.events if name.endswith("Event"))
