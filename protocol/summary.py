"""A run in sentences: one line for each event worth telling, and the table at the end.

Plain text for people. What came from outside is stripped of control characters before it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from decimal import Decimal

from protocol.books import JournalBooks, SymbolSummary
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
    FillEvent,
    ForeignFillEvent,
    LinkEvent,
    ModifyOrderEvent,
    NotifyEvent,
    PositionAdjustEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    RejectEvent,
    RunEvent,
)
from protocol.report import dollars, total
from protocol.values import Purpose, Side

_MAX_TEXT = 200
"""Characters of a text from outside that one line shows."""


def tell(event: BaseEvent, zone: tzinfo) -> str | None:
    """The line for an event that a person wants to see, in the exchange's time; None for all others."""
    told = sentence(event)
    return None if told is None else f"{event.at.astimezone(zone):%H:%M:%S}  {told}"


def sentence(event: BaseEvent) -> str | None:
    """What happened, in words; None for what only programs care for."""
    match event:
        case PositionOpenEvent():
            return f"{event.symbol}: {_entry(event)}"
        case FillEvent(ref=ref):
            return f"{ref.symbol}: {ref.role} fills, {_traded(event.side, event.quantity, event.price)}"
        case ForeignFillEvent():
            traded = _traded(event.side, event.quantity, event.price)
            return f"{event.symbol}: somebody else traded, {traded}"
        case ModifyOrderEvent(ref=ref, order=order) if order.purpose is Purpose.STOP:
            return f"{ref.symbol}: stop moves to {order.quantity} at {order.stop_price} ({clean(event.why)})"
        case PositionUpdateEvent():
            then = "" if event.reverse_to is None else f", then turns {_direction(event.reverse_to)}"
            return f"{event.symbol}: closes, {clean(event.reason)}{then}"
        case PositionCloseEvent():
            return f"{event.symbol}: closed, {clean(event.reason)}, {_gain(event.realized_pnl)}"
        case PositionAdjustEvent(reason=reason, ratchet=ratchet):
            moved = "" if ratchet is None else f", stop to {ratchet}"
            return f"{event.symbol}: adjusted, {clean(reason)}{moved}"
        case NotifyEvent(text=text):
            return f"{event.symbol}: {clean(text)}"
        case RejectEvent(ref=ref):
            return (
                f"{ref.symbol}: {event.request} of {ref.role} refused ({event.code}): {clean(event.reason)}"
            )
        case _:
            return _tell_system(event)


def _tell_system(event: BaseEvent) -> str | None:
    match event:
        case AlarmEvent():
            about = f"{event.symbol}: " if event.symbol else ""
            return f"ALARM {about}{clean(event.text)} ({event.code})"
        case LinkEvent():
            reason = f", {clean(event.reason)}" if event.reason else ""
            return f"link {event.state}{reason}"
        case ActorExitedEvent():
            return f"{event.actor} ended ({event.exit}, {clean(event.reason)}): {event.decision}"
        case RunEvent():
            return f"run {event.what}: {clean(event.detail)}" if event.detail else f"run {event.what}"
        case _:
            return _tell_control(event)


def _tell_control(event: BaseEvent) -> str | None:
    """What keeps the system within its bounds, and what persons did."""
    match event:
        case KillLevelEvent():
            return f"kill level K{event.level}, was K{event.before}: {clean(event.why)} ({clean(event.who)})"
        case LockEvent():
            about = f"{event.symbol}: " if event.symbol else ""
            until = "" if event.until is None else f" until {event.until:%H:%M:%S %Z}"
            return f"{about}locked{until}, {event.kind}: {clean(event.reason)} ({event.lock})"
        case UnlockEvent():
            return f"lock {event.lock} is lifted: {clean(event.why)} ({clean(event.who)})"
        case LimitTightenedEvent():
            change = f"from {clean(event.before)} to {clean(event.value)}"
            return f"limit {event.name} tightened {change}: {clean(event.why)} ({clean(event.who)})"
        case OperatorEvent():
            said = f": {clean(event.why)}" if event.why else ""
            asked = f"{event.action} {clean(event.arguments)}".rstrip()
            return f"{clean(event.who)} asks {asked}{said}; {clean(event.outcome)}"
        case SourceEvent():
            return f"signals {event.source}: {event.what} {clean(event.detail)}".rstrip()
        case HealthEvent():
            because = f": {clean(event.sentence)}" if event.sentence else ""
            return f"{event.subject} is {event.state}{because}"
        case _:
            return None


def _entry(event: PositionOpenEvent) -> str:
    target = "" if event.target_distance is None else f", target {event.target_distance} away"
    return (
        f"enters {_direction(event.side)} {event.quantity} by rule {clean(event.rule)} "
        f"(stop {event.stop_distance} away{target})"
    )


def _direction(side: Side) -> str:
    return "long" if side is Side.BUY else "short"


def _traded(side: Side, quantity: int, price: Decimal) -> str:
    return f"{side.value} {quantity} at {price}"


def _gain(amount: Decimal) -> str:
    return f"+{dollars(amount)}" if amount > 0 else dollars(amount)


def clean(text: str) -> str:
    """Text from outside, on one line and without anything that a terminal would obey."""
    shown = "".join(character if character.isprintable() else " " for character in text[: _MAX_TEXT + 1])
    return shown if len(shown) <= _MAX_TEXT else shown[:_MAX_TEXT] + "…"


# --- the end --------------------------------------------------------------------------------------

_HEAD = ("symbol", "state", "signals", "accepted", "orders", "trades", "position", "P&L", "commission")


def summarise(
    books: JournalBooks, *, exit_reason: str, faults: Sequence[str] = (), next_command: str = ""
) -> tuple[str, ...]:
    """The lines that end a run: each symbol, the totals, why it ended, what disagrees, what to try next."""
    rows = [_row(summary) for summary in books.symbols]
    signals = books.signals
    both = (
        total(summary.books.realized_pnl for summary in books.symbols),
        total(summary.books.commission for summary in books.symbols),
    )
    last = (
        "total",
        "",
        str(signals.received),
        str(signals.accepted),
        str(books.orders.placed),
        str(sum(summary.trades for summary in books.symbols)),
        "",
        *(_amount(amount) for amount in both),
    )
    lines = [*_columns((_HEAD, *rows, last)), f"exit: {clean(exit_reason)}"]
    lines += [f"books disagree: {fault}" for fault in faults]
    if next_command:
        lines.append(f"next: {next_command}")
    return tuple(lines)


def _row(summary: SymbolSummary) -> tuple[str, ...]:
    return (
        summary.symbol,
        summary.state,
        str(summary.signals.received),
        str(summary.signals.accepted),
        str(summary.orders.placed),
        str(summary.trades),
        f"{summary.books.position:+d}" if summary.books.position else "0",
        _amount(summary.books.realized_pnl),
        _amount(summary.books.commission),
    )


def _amount(amount: Decimal | None) -> str:
    return "?" if amount is None else dollars(amount)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Two columns of words to the left, numbers to the right."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
