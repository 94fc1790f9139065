"""The invariants that the journal alone can show, checked event by event.

The numbers are those of the reliability rules: one intent, one order (INV-05); one live entry (INV-04);
each execution once (INV-07); the intent before the wire (INV-14); one verdict for each signal (INV-27).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from protocol.events import (
    BaseEvent,
    FillEvent,
    NewOrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    PositionCloseEvent,
    PredictionSignalEvent,
    RejectEvent,
    SignalVerdictEvent,
)
from protocol.reports import RequestKind
from protocol.values import MAIN, OrderRef, OrderStatus, Symbol

MAX_VIOLATIONS = 1000
"""Past this many, a report tells no more by naming more; they are still counted as checked."""

_ENTRY_ENDED = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.INACTIVE}
)


@attrs.frozen
class Violation:
    """One broken invariant; `what` is a sentence."""

    invariant: str
    at: datetime
    what: str


@attrs.frozen
class Invariants:
    """How often invariants were looked at, and where they did not hold."""

    checked: int = 0
    violations: tuple[Violation, ...] = ()

    def __add__(self, other: Invariants) -> Invariants:
        return Invariants(self.checked + other.checked, self.violations + other.violations)


class JournalChecks:
    """The checks as events come; `result()` at any time."""

    def __init__(self) -> None:
        self._checked = 0
        self._violations: list[Violation] = []
        self._intents: set[OrderRef] = set()
        self._order_ids: dict[OrderRef, tuple[int, int]] = {}
        self._entries: dict[Symbol, dict[OrderRef, int]] = {}
        self._executions: set[tuple[str, str]] = set()
        self._asked: dict[str, datetime] = {}
        self._answered: dict[str, int] = {}

    def follow(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written."""
        for event in events:
            self.add(stream, event)

    def add(self, stream: str, event: BaseEvent) -> None:
        match event:
            case NewOrderEvent():
                self._intend(event)
            case OrderSentEvent():
                self._send(event)
            case FillEvent():
                self._fill(stream, event)
            case OrderStatusEvent(ref=ref, status=status):
                if status in _ENTRY_ENDED:
                    self._end_entry(ref)
            case RejectEvent(ref=ref, request=request, terminal=terminal):
                if terminal and request == RequestKind.PLACE.value:
                    self._end_entry(ref)
            case PositionCloseEvent(symbol=symbol):
                self._entries.pop(symbol, None)
            case PredictionSignalEvent():
                self._asked.setdefault(event.signal_id, event.at)
            case SignalVerdictEvent():
                self._answer(event)
            case _:
                pass  # Says nothing that these checks look at.

    def result(self, *, ended: bool) -> Invariants:
        """`ended` adds the check that no signal is left without its verdict."""
        if not ended:
            return Invariants(self._checked, tuple(self._violations))
        unanswered = tuple(
            Violation("INV-27", at, f"signal {signal_id} has no verdict")
            for signal_id, at in self._asked.items()
            if signal_id not in self._answered
        )
        return Invariants(self._checked + len(self._asked), (*self._violations, *unanswered)[:MAX_VIOLATIONS])

    def _check(self, invariant: str, event: BaseEvent, *, holds: bool, what: str) -> None:
        self._checked += 1
        if not holds and len(self._violations) < MAX_VIOLATIONS:
            self._violations.append(Violation(invariant, event.at, what))

    def _intend(self, event: NewOrderEvent) -> None:
        ref = event.ref
        self._check(
            "INV-05", event, holds=ref not in self._intents, what=f"order {ref} was decided more than once"
        )
        self._intents.add(ref)
        if ref.role != MAIN:
            return
        entries = self._entries.setdefault(ref.symbol, {})
        others = ", ".join(str(other) for other in entries if other != ref)
        self._check(
            "INV-04", event, holds=not others, what=f"entry {ref} was decided while {others} may still work"
        )
        entries[ref] = event.order.quantity

    def _send(self, event: OrderSentEvent) -> None:
        ref, sent_as = event.ref, (event.client_id, event.order_id)
        self._check(
            "INV-14",
            event,
            holds=ref in self._intents,
            what=f"order {ref} was sent without an intent in the journal",
        )
        first = self._order_ids.setdefault(ref, sent_as)
        if event.replaces and first == (event.client_id, event.replaces):
            # The id it was to have never left: this is the first that does.
            first = self._order_ids[ref] = sent_as
        self._check(
            "INV-05",
            event,
            holds=first == sent_as,
            what=f"order {ref} was sent as TWS order {first[1]} and again as {sent_as[1]}",
        )

    def _fill(self, stream: str, event: FillEvent) -> None:
        key = (stream, event.exec_id)
        self._check(
            "INV-07",
            event,
            holds=key not in self._executions,
            what=f"execution {event.exec_id} of {event.ref} was applied more than once",
        )
        if key in self._executions:
            return
        self._executions.add(key)
        entries = self._entries.get(event.symbol, {})
        if event.ref in entries:
            entries[event.ref] -= event.quantity
            if entries[event.ref] <= 0:
                del entries[event.ref]

    def _end_entry(self, ref: OrderRef) -> None:
        self._entries.get(ref.symbol, {}).pop(ref, None)

    def _answer(self, event: SignalVerdictEvent) -> None:
        count = self._answered.get(event.signal_id, 0) + 1
        self._answered[event.signal_id] = count
        self._check(
            "INV-27", event, holds=count == 1, what=f"signal {event.signal_id} has {count} verdicts, not one"
        )
