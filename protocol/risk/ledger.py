"""What the day has brought so far, folded from the journal: results, losses, refusals, messages.

The monitor (`monitor.py`) compares it with the limits; the gate never needs it for a single order. Days
are those of the schedule's zone. Memory is bounded: of each kind only the latest are kept, and of the
executions of earlier days so many that a late correction still finds what it corrects.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import takewhile
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import attrs

from protocol.control_events import EquityEvent, KillLevelEvent, LockEvent, UnlockEvent
from protocol.events import (
    AlarmEvent,
    BaseEvent,
    CancelEvent,
    CommissionEvent,
    FillEvent,
    ForeignFillEvent,
    HoldEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    PositionCloseEvent,
    ReconciledEvent,
    RejectEvent,
)
from protocol.position import ZERO, Execution, Position, split_exec_id
from protocol.reports import NOT_SENT, RequestKind
from protocol.risk.words import LockKind
from protocol.settings import Schedule
from protocol.tws.codes import CodeClass, classify
from protocol.values import MAIN, STOP, TARGET, OrderRef, Side, Symbol

KEPT_RESULTS: Final = 500
"""Trades of one symbol; no protection looks at more."""
KEPT_FILLS: Final = 200
KEPT_EXECUTIONS: Final = 1000
"""Executions of earlier days, of one symbol."""
KEPT_REFUSALS: Final = 100
ACCOUNT: Final = ""
"""In the place of a symbol: all of them."""


@attrs.frozen
class TradeResult:
    """One trade that is over, commissions taken off. `stopped_out`: its stop ended it, at a loss."""

    symbol: Symbol
    at: datetime
    pnl: Decimal
    stopped_out: bool


@attrs.frozen
class PastFill:
    at: datetime
    side: Side
    price: Decimal


_Dated = TypeVar("_Dated", TradeResult, PastFill)


@attrs.frozen
class BooksLook:
    """What the broker held of a symbol when it was last compared, and what our executions made then."""

    at: datetime
    broker: int
    ours: int


@attrs.define
class SymbolLedger:
    """Of one symbol. `realized_before` is what its position had realized, net, when the day began."""

    position: Position
    old: dict[str, Execution] = attrs.field(factory=dict)
    """Executions of earlier days, by their roots: they add up to nothing."""
    realized_before: Decimal = ZERO
    results: deque[TradeResult] = attrs.field(factory=lambda: deque(maxlen=KEPT_RESULTS))
    fills: deque[PastFill] = attrs.field(factory=lambda: deque(maxlen=KEPT_FILLS))
    refusals: deque[datetime] = attrs.field(factory=lambda: deque(maxlen=KEPT_REFUSALS))
    messages: int = 0
    """Placements, changes and cancels of the day that were meant for the wire."""
    executed: set[OrderRef] = attrs.field(factory=set)
    """Orders that executed today."""
    held: str = ""
    """Why the symbol itself makes no entries; it says so when the broker's position is not its own."""
    look: BooksLook | None = None
    entered: int = 0
    """The latest trade that has had an execution."""
    refused_brackets: deque[int] = attrs.field(factory=lambda: deque(maxlen=8))
    """Trades whose bracket was refused: its legs are refused one by one, and are one refusal."""

    @classmethod
    def begin(cls, symbol: Symbol) -> SymbolLedger:
        return cls(Position.empty(symbol))

    @property
    def realized_today(self) -> Decimal:
        """Net of commissions."""
        return self.position.realized_pnl - self.position.commission - self.realized_before

    def begin_day(self) -> None:
        if self.position.quantity == 0:
            self.old.update(self.position.executions)
            while len(self.old) > KEPT_EXECUTIONS:
                del self.old[next(iter(self.old))]
            self.position = Position.empty(self.position.symbol)
        self.realized_before = self.position.realized_pnl - self.position.commission
        self.messages = 0
        self.executed.clear()

    def hold(self, reason: str) -> None:
        """The symbol holds itself, or (empty) somebody has lifted that, having seen the difference."""
        self.held = reason
        if not reason:
            self.look = None

    def fill(self, event: FillEvent | ForeignFillEvent) -> None:
        root, revision = split_exec_id(event.exec_id)
        known = self.old.get(root)
        if known is None or root in self.position.executions:
            self.position = self.position.with_fill(event.exec_id, event.side, event.quantity, event.price)
        elif known.revision < revision:
            self._correct(root, known, Execution(revision, event.side, event.quantity, event.price))

    def _correct(self, root: str, before: Execution, after: Execution) -> None:
        """An earlier day is closed: what a correction changes in it counts from today on."""
        self.old[root] = after
        was, now = before.side.sign * before.quantity, after.side.sign * after.quantity
        if now == was:
            self.realized_before += after.price * now - before.price * was
            return
        side = Side.BUY if now > was else Side.SELL
        exec_id = f"{root}:corrected{after.revision}"
        self.position = self.position.with_fill(exec_id, side, abs(now - was), after.price)

    def commission(self, event: CommissionEvent) -> None:
        root, _ = split_exec_id(event.exec_id)
        if root not in self.old or root in self.position.executions:
            self.position = self.position.with_commission(event.exec_id, event.commission)


class Ledger:
    """Folds every event of every stream, in the journal's order."""

    def __init__(self, schedule: Schedule) -> None:
        self._zone = ZoneInfo(schedule.zone)
        self._symbols: dict[Symbol, SymbolLedger] = {}
        self._day_begins = self._day_ends = datetime.fromtimestamp(0, UTC)
        self._locks: dict[str, LockEvent] = {}
        self._locked_at: dict[tuple[str, str], datetime] = {}
        self._lifted_at: dict[tuple[str, str], datetime] = {}
        self._warned: set[tuple[str, str]] = set()
        self.lowered_at: datetime | None = None
        """When a person last lowered the kill level: what led to it counts no more."""
        self.liquidated: ForeignFillEvent | None = None
        """The last position that the broker closed for want of margin."""
        self._first_equity: Decimal | None = None
        self._best_equity: Decimal | None = None

    # --- in -----------------------------------------------------------------------------------------

    def fold(self, stream: str, event: BaseEvent) -> None:
        """Take in one event. `stream` is not needed: each kind of event has one meaning."""
        del stream
        if event.at >= self._day_ends:
            self._begin_day(event.at)
        match event:
            case NewOrderEvent() | ModifyOrderEvent() | CancelEvent():
                self._of(event.symbol).messages += 1
            case FillEvent():
                self._filled(event)
            case CommissionEvent():
                self._of(event.symbol).commission(event)
            case RejectEvent():
                self._refused(event)
            case PositionCloseEvent():
                self._closed(event)
            case _:
                self._fold_others(event)

    def _fold_others(self, event: BaseEvent) -> None:
        match event:
            case ForeignFillEvent():
                self._of(event.symbol).fill(event)
                if event.liquidation:
                    self.liquidated = event
            case HoldEvent():
                self._of(event.symbol).hold(event.reason)
            case ReconciledEvent():
                entry = self._of(event.symbol)
                entry.look = BooksLook(event.at, event.position, entry.position.quantity)
            case LockEvent():
                self._locks[event.lock] = event
                self._locked_at[event.kind, event.symbol] = event.at
            case UnlockEvent() if (lock := self._locks.pop(event.lock, None)) is not None:
                self._lift(lock, event.at)
            case KillLevelEvent() if event.level < event.before:
                self.lowered_at = event.at
            case EquityEvent():
                self._first_equity, self._best_equity = event.first, event.best
            case AlarmEvent():
                self._warned.add((event.code, event.symbol))
            case _:
                pass  # All others say nothing about the day.

    def _lift(self, lock: LockEvent, at: datetime) -> None:
        self._lifted_at[lock.kind, lock.symbol] = at
        if lock.kind == LockKind.MESSAGES.value:
            for symbol, entry in self._symbols.items():
                if lock.symbol in (ACCOUNT, symbol):
                    entry.messages = 0
                    entry.executed.clear()

    def _of(self, symbol: Symbol) -> SymbolLedger:
        found = self._symbols.get(symbol)
        if found is None:
            found = self._symbols[symbol] = SymbolLedger.begin(symbol)
        return found

    def _begin_day(self, at: datetime) -> None:
        self._day_begins, self._day_ends = day_around(at, self._zone)
        self._first_equity = self._best_equity = None
        self._warned.clear()
        for entry in self._symbols.values():
            entry.begin_day()

    def _filled(self, event: FillEvent) -> None:
        entry = self._of(event.symbol)
        before = entry.position
        entry.fill(event)
        if entry.position is before:
            return
        entry.entered = event.ref.trade
        entry.executed.add(event.ref)
        entry.fills.append(PastFill(event.at, event.side, event.price))

    def _refused(self, event: RejectEvent) -> None:
        """A refusal of the broker counts; one of ours is a message that never left."""
        entry = self._of(event.symbol)
        if event.code == NOT_SENT:
            entry.messages = max(entry.messages - 1, 0)
            return
        if event.request == RequestKind.CANCEL.value or classify(event.code) in _CROSSED:
            return
        ref = event.ref
        if event.request == RequestKind.PLACE.value and ref.revision == 0 and _is_leg(ref.role):
            if ref.trade in entry.refused_brackets:
                return
            entry.refused_brackets.append(ref.trade)
        entry.refusals.append(event.at)

    def _closed(self, event: PositionCloseEvent) -> None:
        entry = self._of(event.symbol)
        if entry.entered != event.trade:
            return  # Never entered: no trade in the sense of a trader.
        stopped_out = event.reason == STOP and event.realized_pnl < 0
        pnl = event.realized_pnl - event.commission
        entry.results.append(TradeResult(event.symbol, event.at, pnl, stopped_out))

    # --- out: the day and the account -----------------------------------------------------------------

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """All that anything was heard of, in the order in which it was."""
        return tuple(self._symbols)

    def get(self, symbol: Symbol) -> SymbolLedger | None:
        return self._symbols.get(symbol)

    def is_today(self, at: datetime) -> bool:
        """Whether `at` lies in the day that was folded last; else all that is of the day is nothing yet."""
        return self._day_begins <= at < self._day_ends

    def day_end(self, at: datetime) -> datetime:
        """The midnight, in the schedule's zone, after `at`."""
        return self._day_ends if self.is_today(at) else day_around(at, self._zone)[1]

    def realized_today(self, symbol: Symbol, at: datetime) -> Decimal:
        entry = self._symbols.get(symbol)
        return entry.realized_today if entry is not None and self.is_today(at) else ZERO

    def first_equity(self, at: datetime) -> Decimal | None:
        """What the account was worth when the day began, as far as it was told."""
        return self._first_equity if self.is_today(at) else None

    def best_equity(self, at: datetime) -> Decimal | None:
        return self._best_equity if self.is_today(at) else None

    def position(self, symbol: Symbol) -> int:
        """The sum of all executions, signed."""
        entry = self._symbols.get(symbol)
        return 0 if entry is None else entry.position.quantity

    def warned(self, code: str, symbol: str, at: datetime) -> bool:
        """Whether this alarm has sounded today."""
        return self.is_today(at) and (code, symbol) in self._warned

    # --- out: what happened within a while -------------------------------------------------------------

    def locked_at(self, kind: str, symbol: str) -> datetime | None:
        """When a lock of this kind was last put on."""
        return self._locked_at.get((kind, symbol))

    def lifted_at(self, kind: str, symbol: str) -> datetime | None:
        """When one last ended: what led to it counts no more."""
        return self._lifted_at.get((kind, symbol))

    def results(self, symbol: str, since: datetime) -> tuple[TradeResult, ...]:
        """Trades that closed after `since`, the oldest first; of all symbols for the empty one."""
        if symbol != ACCOUNT:
            entry = self._symbols.get(Symbol(symbol))
            return () if entry is None else _after(entry.results, since)
        found = [result for entry in self._symbols.values() for result in _after(entry.results, since)]
        return tuple(sorted(found, key=lambda result: result.at))

    def fills(self, symbol: Symbol, since: datetime) -> tuple[PastFill, ...]:
        entry = self._symbols.get(symbol)
        return () if entry is None else _after(entry.fills, since)

    def refusals(self, symbol: str, since: datetime) -> int:
        """Orders that the broker refused after `since`; of all symbols for the empty one."""
        names = self._symbols if symbol == ACCOUNT else (Symbol(symbol),)
        entries = (self._symbols[name] for name in names if name in self._symbols)
        return sum(at > since for entry in entries for at in entry.refusals)

    def stop_outs_in_a_row(self, symbol: Symbol, since: datetime) -> int:
        """How many of the latest trades, one after the other, were stopped out after `since`."""
        entry, count = self._symbols.get(symbol), 0
        for result in () if entry is None else reversed(entry.results):
            if not result.stopped_out or result.at <= since:
                break
            count += 1
        return count

    def messages_today(self, symbol: str, at: datetime) -> tuple[int, int]:
        """Placements, changes and cancels of the day, and executed orders; of all for the empty symbol."""
        if not self.is_today(at):
            return 0, 0
        names = self._symbols if symbol == ACCOUNT else (Symbol(symbol),)
        entries = [self._symbols[name] for name in names if name in self._symbols]
        return sum(entry.messages for entry in entries), sum(len(entry.executed) for entry in entries)

    def messages_per_execution(self, symbol: str, at: datetime) -> float:
        """(placements + changes + cancels) / (executed orders + 1) of the day, as IB reckons its
        order efficiency ratio (IBKR knowledge base 1343: an account's above 20 is excessive)."""
        messages, executed = self.messages_today(symbol, at)
        return messages / (executed + 1)


_CROSSED: Final = frozenset({CodeClass.REQUEST_REFUSED, CodeClass.ORDER_NOTICE})
"""Refusals of a request about an order that has meanwhile filled or ended: no fault of the order."""


def _is_leg(role: str) -> bool:
    return role.partition(".")[0] in (MAIN, STOP, TARGET)


def _after(kept: deque[_Dated], since: datetime) -> tuple[_Dated, ...]:
    """What is later; asked every second, so that it does not look at the rest."""
    late = list(takewhile(lambda each: each.at > since, reversed(kept)))
    late.reverse()
    return tuple(late)


def day_around(at: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The midnights around `at` in a zone, in UTC; a day of a time change has 23 or 25 hours."""
    day = at.astimezone(zone).date()
    begins = datetime.combine(day, time(), zone)
    ends = datetime.combine(day + timedelta(days=1), time(), zone)
    return begins.astimezone(UTC), ends.astimezone(UTC)
