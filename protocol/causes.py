"""Why it happened: the chain from a signal over its verdict to the orders, fills and the end of a trade."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from protocol.events import (
    BaseEvent,
    CommissionEvent,
    FillEvent,
    OrderEvent,
    PositionCloseEvent,
    PositionEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    PredictionSignalEvent,
    RuleFiredEvent,
    SignalVerdictEvent,
)
from protocol.journal import JournalRow
from protocol.values import OrderRef, Symbol

_POSITION_ID: Final = re.compile(r"(?P<symbol>[^:]+):(?P<trade>\d+)")
_Trade = tuple[str, int]


@attrs.frozen
class Subject:
    """What is asked about: signals, trades, and of their orders all or one."""

    signals: frozenset[str]
    trades: frozenset[_Trade]
    order: OrderRef | None = None
    ended: frozenset[_Trade] = frozenset()
    """Those of the trades that a signal only ended: what came before it is not its doing."""


def why(rows: Callable[[], Iterable[JournalRow]], name: str) -> tuple[JournalRow, ...]:
    """Everything that led to what `name` says, and what came of it, in the order in which it happened.

    `name` is a signal id, a position id (`SLV:000007`) or an order reference. `rows` is asked twice for the
    whole journal. Empty when the journal does not know the name.
    """
    subject = _subject(rows(), name)
    if not subject.signals and not subject.trades:
        return ()
    return tuple(_Chain(subject).rows(rows()))


def depth(event: BaseEvent) -> int:
    """How far down the chain an event of this kind stands: the signal on top, fills at the bottom."""
    match event:
        case PredictionSignalEvent():
            return 0
        case SignalVerdictEvent() | RuleFiredEvent():
            return 1
        case PositionEvent():
            return 2
        case FillEvent() | CommissionEvent():
            return 4
        case _:
            return 3


def _subject(rows: Iterable[JournalRow], name: str) -> Subject:
    order, asked = OrderRef.parse(name), _POSITION_ID.fullmatch(name)
    named: set[_Trade] = set()
    if order is not None:
        named = {(order.symbol, order.trade)}
    elif asked is not None:
        named = {(asked["symbol"], int(asked["trade"]))}
    signals, trades, opened = set[str](), set[_Trade](), set[_Trade]()
    for row in rows:
        event = row.event
        if isinstance(event, PositionOpenEvent | PositionUpdateEvent):
            trade = (str(event.symbol), event.trade)
            if trade in named or (not named and event.signal_id == name):
                trades.add(trade)
                if named or isinstance(event, PositionOpenEvent):
                    opened.add(trade)
                signals |= {event.signal_id} - {""}
        elif isinstance(event, PredictionSignalEvent | SignalVerdictEvent) and event.signal_id == name:
            signals.add(name)
    if not named and signals:
        # The signal asked for, not the others that met its trade.
        signals = {name}
    return Subject(
        frozenset(signals), frozenset(trades), order if trades else None, frozenset(trades - opened)
    )


class _Chain:
    """One walk over the journal."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._executions: set[str] = set()
        self._alive: set[Symbol] = set()
        self._silent = set(subject.ended)

    def rows(self, rows: Iterable[JournalRow]) -> Iterable[JournalRow]:
        return [row for row in rows if self._belongs(row.event)]

    def _belongs(self, event: BaseEvent) -> bool:
        match event:
            case PositionEvent(symbol=symbol, trade=trade):
                if isinstance(event, PositionUpdateEvent) and event.signal_id in self._subject.signals:
                    self._silent.discard((str(symbol), trade))
                mine = self._is_mine(str(symbol), trade)
                if mine and isinstance(event, PositionOpenEvent):
                    self._alive.add(symbol)
                elif mine and isinstance(event, PositionCloseEvent):
                    self._alive.discard(symbol)
                return mine
            case OrderEvent(ref=ref):
                return self._of_order(event, ref)
            case CommissionEvent(exec_id=exec_id):
                return exec_id in self._executions
            case RuleFiredEvent(symbol=symbol):
                return symbol in self._alive and self._subject.order is None
            case _:
                return getattr(event, "signal_id", None) in self._subject.signals

    def _is_mine(self, symbol: str, trade: int) -> bool:
        return (symbol, trade) in self._subject.trades and (symbol, trade) not in self._silent

    def _of_order(self, event: OrderEvent, ref: OrderRef) -> bool:
        mine = self._is_mine(str(ref.symbol), ref.trade)
        if not mine or self._subject.order not in (None, ref):
            return False
        if isinstance(event, FillEvent):
            self._executions.add(event.exec_id)
        return True
