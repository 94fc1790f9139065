"""All orders and positions of the account, as the journal has them: what the limits are reckoned from.

The fold of each symbol is the one that the symbol itself uses (`symbol_state.evolve`), so executions count
once, corrections replace what they correct, and a refused change leaves the order as it was. Beside it the
book knows which orders have left: an order that was decided and waits for the gate is no risk yet for the
others, since it will be judged itself. What belongs to a concluded trade is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

import attrs

from protocol.events import (
    BaseEvent,
    CancelEvent,
    FillEvent,
    ForeignFillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    PositionAdjustEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    RejectEvent,
)
from protocol.linked_orders import LinkedOrders
from protocol.order import TERMINAL, Order
from protocol.position import Execution, Position, split_exec_id
from protocol.symbol_state import SymbolState, evolve, told
from protocol.trade_plan import TradePlan
from protocol.values import MAIN, OrderRef, OrderSpec, OrderStatus, Purpose, Side, Symbol

SYMBOL_STREAM: Final = "symbol:"
_FOLDED: Final = (
    FillEvent, ForeignFillEvent, NewOrderEvent, ModifyOrderEvent, CancelEvent, OrderStatusEvent, RejectEvent,
    PositionOpenEvent, PositionAdjustEvent, PositionUpdateEvent, PositionCloseEvent,
)  # fmt: skip
"""What moves orders and positions. A symbol's other events grow its state and say nothing about risk."""
MAX_OLD_EXECUTIONS: Final = 1000
"""Executions of concluded trades that are kept for each symbol, since the exchange may still correct them
(it does so within the day)."""
MAX_SIGNALS: Final = 10_000
"""Signals that have led to a trade, of each symbol: years of one."""


@attrs.frozen
class BookedOrder:
    """An order that may still execute."""

    order: Order
    sent: bool
    """It has left, or the gate has let it."""
    waits: bool = False
    """It is a child of an entry of which nothing has executed: the broker holds it until something has."""

    @property
    def ref(self) -> OrderRef:
        return self.order.ref

    @property
    def spec(self) -> OrderSpec:
        """As it was asked for last."""
        return self.order.spec

    @property
    def side(self) -> Side:
        return self.order.spec.side

    @property
    def enters(self) -> bool:
        """Whether it opens or enlarges a position."""
        return self.order.purpose is Purpose.ENTRY

    @property
    def may_fill(self) -> int:
        """Shares that it may still execute: of what was asked or of what is confirmed, the larger.

        Where the broker has said that more executed than it has told in executions, these are to come,
        also of an order that has ended.
        """
        order = self.order
        if order.status in TERMINAL and order.status is not OrderStatus.FILLED:
            return order.owed
        largest = max(order.spec.quantity, order.confirmed_quantity or 0)
        if order.status is OrderStatus.FILLED:
            largest -= order.taken_back
        return max(largest - order.filled, order.owed)


@attrs.define
class _SymbolBook:
    state: SymbolState
    opened: PositionOpenEvent | None = None
    """How the trade that lives was opened: its plan as it was decided, before anything adjusted it."""
    strays: dict[OrderRef, Order] = attrs.Factory(dict)
    """Orders that still lived when their trade was called over, or another one began: none should, and
    while one does it counts."""
    sent: set[OrderRef] = attrs.Factory(set)
    refused: set[OrderRef] = attrs.Factory(set)
    old: dict[str, Execution] = attrs.Factory(dict)
    signals: dict[str, int] = attrs.Factory(dict)
    last_main_at: datetime | None = None
    version: int = 0


class RiskBook:
    """Fed with every event of the journal, in its order; it asks nobody anything."""

    def __init__(self) -> None:
        self._books: dict[Symbol, _SymbolBook] = {}

    # --- what feeds it --------------------------------------------------------------------------------

    def follow(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written to the journal."""
        for event in events:
            self.fold(stream, event)

    def fold(self, stream: str, event: BaseEvent) -> None:
        """Take in one event of any stream; those that move no order and no position are let go."""
        if isinstance(event, OrderSentEvent):
            self.leaves((event.ref,))
        elif stream.startswith(SYMBOL_STREAM) and isinstance(event, _FOLDED):
            self._fold(self._book(Symbol(stream.removeprefix(SYMBOL_STREAM))), event)

    def _book(self, symbol: Symbol) -> _SymbolBook:
        book = self._books.get(symbol)
        if book is None:
            book = self._books[symbol] = _SymbolBook(SymbolState.begin(symbol))
        return book

    def _fold(self, book: _SymbolBook, event: BaseEvent) -> None:
        book.version += 1
        match event:
            case FillEvent() | ForeignFillEvent():
                told = _correction(book.old, event)
                if told is not None:
                    book.state = evolve(book.state, told)
            case PositionOpenEvent():
                _keep_strays(book)
                book.state, book.opened = evolve(book.state, event), event
                _remember(book.signals, event.signal_id, event.trade)
            case PositionCloseEvent(trade=trade):
                if book.state.trade is not None and book.state.trade.trade == trade:
                    _keep_strays(book)
                book.state = _concluded(book, evolve(book.state, event))
            case _:
                book.state = evolve(book.state, event)
        if isinstance(event, OrderEvent) and event.ref in book.strays:
            _follow_stray(book.strays, event)

    def left(self, refs: Iterable[OrderRef]) -> bool:
        """Whether all of them have left before."""
        return all(ref in self._book(ref.symbol).sent for ref in refs)

    def leaves(self, refs: Iterable[OrderRef]) -> None:
        """These orders have left, or are about to."""
        for ref in refs:
            book = self._book(ref.symbol)
            book.version += 1
            book.sent.add(ref)
            order = self.find(ref)
            if ref.role == MAIN and order is not None and book.opened is not None:
                book.last_main_at = book.opened.at

    def stays(self, refs: Iterable[OrderRef]) -> None:
        """These orders will not leave; the journal says so a moment later."""
        for ref in refs:
            book = self._book(ref.symbol)
            book.version += 1
            book.refused.add(ref)

    def executions(self, symbol: Symbol) -> tuple[str, ...]:
        """The executions that are known of a symbol, without their revisions."""
        book = self._books.get(symbol)
        return () if book is None else (*book.old, *book.state.position.executions)

    # --- looking things up ----------------------------------------------------------------------------

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """All that the journal speaks of, in the order in which it first did."""
        return tuple(self._books)

    def version(self, symbol: Symbol) -> int:
        """Grows with each change of the symbol's orders or position: what was reckoned before is old then."""
        book = self._books.get(symbol)
        return 0 if book is None else book.version

    def position(self, symbol: Symbol) -> int:
        """Signed shares, from executions."""
        book = self._books.get(symbol)
        return 0 if book is None else book.state.position.quantity

    def average_price(self, symbol: Symbol) -> Decimal | None:
        """Average entry of what is held; None when nothing is."""
        book = self._books.get(symbol)
        if book is None or not book.state.position.quantity:
            return None
        return book.state.position.average_price

    def trade(self, symbol: Symbol) -> LinkedOrders | None:
        """The trade that lives."""
        book = self._books.get(symbol)
        return None if book is None else book.state.trade

    def opened(self, symbol: Symbol) -> PositionOpenEvent | None:
        """How the trade that lives was decided."""
        book = self._books.get(symbol)
        return None if book is None or book.state.trade is None else book.opened

    def find(self, ref: OrderRef) -> Order | None:
        """The order, live or not, of the trade that lives."""
        trade = self.trade(ref.symbol)
        return None if trade is None else trade.find(ref)

    def live(self, symbol: Symbol | None = None) -> Iterator[BookedOrder]:
        """Orders that may still execute, of a symbol or of all; those that the gate refused are none."""
        for book in self._books.values() if symbol is None else filter(None, (self._books.get(symbol),)):
            yield from (BookedOrder(order, sent=True) for order in book.strays.values())
            trade = book.state.trade
            for order in () if trade is None else trade.orders:
                if order.live and order.ref not in book.refused:
                    yield BookedOrder(order, _has_left(book, order), _waits(trade, order))

    def trade_of_signal(self, symbol: Symbol, signal_id: str) -> int | None:
        """The number of the trade that a signal has led to."""
        book = self._books.get(symbol)
        return None if book is None or not signal_id else book.signals.get(signal_id)

    def last_main_at(self, symbol: Symbol) -> datetime | None:
        """When the last main entry that left was decided, in market time."""
        book = self._books.get(symbol)
        return None if book is None else book.last_main_at


def _has_left(book: _SymbolBook, order: Order) -> bool:
    return order.status is not OrderStatus.CREATED or order.ref in book.sent


def _waits(trade: LinkedOrders | None, order: Order) -> bool:
    parent = None if trade is None or order.spec.parent is None else trade.find(order.spec.parent)
    return parent is not None and not parent.filled and not parent.awaits_executions


def _keep_strays(book: _SymbolBook) -> None:
    """The trade's context goes; what has left and still lives stays in the book by itself."""
    trade = book.state.trade
    for order in () if trade is None else trade.orders:
        if order.live and order.ref not in book.refused and _has_left(book, order):
            book.strays[order.ref] = order
    book.sent.clear()
    book.refused.clear()


def _follow_stray(strays: dict[OrderRef, Order], event: OrderEvent) -> None:
    order = strays[event.ref]
    match event:
        case OrderStatusEvent():
            order = told(order, event)
        case FillEvent(quantity=quantity):
            order = order.executed(quantity)
        case ModifyOrderEvent(order=spec):
            order = attrs.evolve(order, spec=spec)
        case RejectEvent(terminal=True):
            order = attrs.evolve(order, status=order.told(OrderStatus.REJECTED))
        case _:
            pass  # Whatever else is said of it changes nothing about what it may execute.
    strays[event.ref] = order
    if not order.live:
        del strays[event.ref]


def planned_quantity(opened: PositionOpenEvent) -> int:
    """What the trade's own plan comes to: its entry, each scale-in and each double-down."""
    return opened.quantity + added_by(opened.plan)


def added_by(plan: TradePlan) -> int:
    return sum(level.quantity for level in (*plan.scale_ins, *plan.double_downs))


def _remember(signals: dict[str, int], signal_id: str, trade: int) -> None:
    """The first trade of a signal is the one that counts."""
    if signal_id:
        signals.setdefault(signal_id, trade)
    while len(signals) > MAX_SIGNALS:
        del signals[next(iter(signals))]


def _concluded(book: _SymbolBook, state: SymbolState) -> SymbolState:
    """The trade is over: of its executions only what a correction would need is kept."""
    if state.trade is not None or state.position.quantity:
        return state
    book.old.update(state.position.executions)
    while len(book.old) > MAX_OLD_EXECUTIONS:
        del book.old[next(iter(book.old))]
    return attrs.evolve(state, position=Position.empty(state.symbol), results=())


def _correction(
    old: dict[str, Execution], event: FillEvent | ForeignFillEvent
) -> FillEvent | ForeignFillEvent | None:
    """The event as the fold needs it: the correction of an old execution counts by its difference."""
    root, revision = split_exec_id(event.exec_id)
    before = old.get(root)
    if before is None:
        return event
    if before.revision >= revision:
        return None
    old[root] = Execution(revision, event.side, event.quantity, event.price)
    change = event.side.sign * event.quantity - before.side.sign * before.quantity
    if not change:
        return None
    side = Side.BUY if change > 0 else Side.SELL
    return attrs.evolve(event, exec_id=f"{root}:corrected{revision}", side=side, quantity=abs(change))
