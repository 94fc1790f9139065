"""What the journal says about a run: its events folded into one summary for each symbol.

The fold asks no trading actor anything. The terminal feeds it as events are written; the report feeds it
the whole journal at the end; both get the same numbers, because there is nothing else to get them from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

import attrs

from protocol.events import (
    ActorExitedEvent,
    ActorStartedEvent,
    BaseEvent,
    CommissionEvent,
    FillEvent,
    ForeignFillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    PredictionSignalEvent,
    RejectEvent,
    SignalVerdictEvent,
    Verdict,
)
from protocol.position import Position, split_exec_id
from protocol.reports import RequestKind
from protocol.values import OrderRef, OrderSpec, OrderStatus, Purpose, Side, Symbol


@attrs.frozen
class SymbolBooks:
    """One side's books of one symbol, ours or the broker's: what must be equal at the end.

    Dollars; `None` where this side does not say.
    """

    symbol: Symbol
    position: int
    executions: int
    realized_pnl: Decimal | None
    commission: Decimal | None


@attrs.frozen
class SignalCounts:
    received: int = 0
    accepted: int = 0
    ignored: int = 0
    refused: int = 0

    def __add__(self, other: SignalCounts) -> SignalCounts:
        return SignalCounts(
            self.received + other.received,
            self.accepted + other.accepted,
            self.ignored + other.ignored,
            self.refused + other.refused,
        )


@attrs.frozen
class OrderCounts:
    """`placed`: their bytes left; `modified`: changes asked for; the other three say how orders ended."""

    placed: int = 0
    modified: int = 0
    filled: int = 0
    cancelled: int = 0
    rejected: int = 0

    def __add__(self, other: OrderCounts) -> OrderCounts:
        return OrderCounts(
            self.placed + other.placed,
            self.modified + other.modified,
            self.filled + other.filled,
            self.cancelled + other.cancelled,
            self.rejected + other.rejected,
        )


@attrs.frozen
class SymbolSummary:
    """Everything that the journal says about one symbol. `trades` are those with at least one execution."""

    symbol: Symbol
    state: str
    restarts: int
    signals: SignalCounts
    orders: OrderCounts
    trades: int
    books: SymbolBooks
    average_price: Decimal
    stop_price: Decimal | None
    last_verdict: str


@attrs.frozen
class JournalBooks:
    """`elsewhere` counts signals for symbols that are not ours."""

    symbols: tuple[SymbolSummary, ...]
    elsewhere: SignalCounts
    first_at: datetime | None
    last_at: datetime | None

    @property
    def signals(self) -> SignalCounts:
        return sum((summary.signals for summary in self.symbols), self.elsewhere)

    @property
    def orders(self) -> OrderCounts:
        return sum((summary.orders for summary in self.symbols), OrderCounts())


class JournalFold:
    """The fold as it goes along; `books()` at any time."""

    def __init__(self, symbols: Sequence[Symbol]) -> None:
        self._accounts = {symbol: _Account(symbol) for symbol in symbols}
        self._seen: set[str] = set()
        self._elsewhere = SignalCounts()
        self._first_at: datetime | None = None
        self._last_at: datetime | None = None

    def add(self, _stream: str, event: BaseEvent) -> None:
        if self._first_at is None:
            self._first_at = event.at
        if self._last_at is None or event.at > self._last_at:
            self._last_at = event.at
        match event:
            case PredictionSignalEvent(signal_id=signal_id, symbol=symbol):
                self._receive(signal_id, symbol)
            case SignalVerdictEvent():
                self._receive(event.signal_id, event.symbol)
                self._judge(event)
            case ActorStartedEvent(actor=actor) | ActorExitedEvent(actor=actor):
                account = self._accounts.get(_symbol_of(actor))
                if account is not None:
                    account.live(event)
            case (
                NewOrderEvent(symbol=symbol)
                | ModifyOrderEvent(symbol=symbol)
                | OrderSentEvent(symbol=symbol)
                | OrderStatusEvent(symbol=symbol)
                | RejectEvent(symbol=symbol)
            ):
                self._account(symbol).order(event)
            case FillEvent(symbol=symbol) | ForeignFillEvent(symbol=symbol) | CommissionEvent(symbol=symbol):
                self._account(symbol).execute(event)
            case _:
                pass  # Every other event says nothing that the books count.

    def summary_of(self, symbol: Symbol) -> SymbolSummary:
        return self._account(symbol).summary()

    def books(self) -> JournalBooks:
        return JournalBooks(
            symbols=tuple(account.summary() for account in self._accounts.values()),
            elsewhere=self._elsewhere,
            first_at=self._first_at,
            last_at=self._last_at,
        )

    def _account(self, symbol: Symbol) -> _Account:
        """A symbol that is configured no longer may still have a past; it is shown with the others."""
        if symbol not in self._accounts:
            self._accounts[symbol] = _Account(symbol)
        return self._accounts[symbol]

    def _receive(self, signal_id: str, symbol: str) -> None:
        """A malformed prediction is known by its verdict alone; it was received all the same."""
        if signal_id in self._seen:
            return
        self._seen.add(signal_id)
        self._count(symbol, SignalCounts(received=1))

    def _judge(self, event: SignalVerdictEvent) -> None:
        match event.verdict:
            case Verdict.ACCEPTED:
                self._count(event.symbol, SignalCounts(accepted=1))
            case Verdict.IGNORED:
                self._count(event.symbol, SignalCounts(ignored=1))
            case Verdict.REFUSED:
                self._count(event.symbol, SignalCounts(refused=1))
        account = self._accounts.get(Symbol(event.symbol))
        if account is not None:
            account.last_verdict = (
                f"{event.verdict.value}: {event.code}" if event.code else event.verdict.value
            )

    def _count(self, symbol: str, counts: SignalCounts) -> None:
        account = self._accounts.get(Symbol(symbol))
        if account is None:
            self._elsewhere += counts
        else:
            account.signals += counts


class _Account:
    """The fold of one symbol."""

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.signals = SignalCounts()
        self.last_verdict = ""
        self._position = Position.empty(symbol)
        self._state = "running"
        self._restarts = 0
        self._modified = 0
        self._sent: set[OrderRef] = set()
        self._quantity: dict[OrderRef, int] = {}
        self._filled: dict[OrderRef, int] = {}
        self._ended: dict[OrderRef, OrderStatus] = {}
        self._executions: set[str] = set()
        self._trades: set[int] = set()
        self._stops: dict[OrderRef, Decimal | None] = {}

    def live(self, event: ActorStartedEvent | ActorExitedEvent) -> None:
        match event:
            case ActorStartedEvent():
                self._state = "running"
            case ActorExitedEvent(decision=decision):
                self._restarts += decision == "restart"
                self._state = _STATE_AFTER.get(decision, "stopped")

    def order(
        self, event: NewOrderEvent | ModifyOrderEvent | OrderSentEvent | OrderStatusEvent | RejectEvent
    ) -> None:
        match event:
            case NewOrderEvent(ref=ref, order=order):
                self._ask(ref, order)
            case ModifyOrderEvent(ref=ref, order=order):
                self._modified += 1
                self._ask(ref, order)
            case OrderSentEvent(ref=ref):
                self._sent.add(ref)
            case OrderStatusEvent(ref=ref, status=status):
                if status in _ENDINGS:
                    self._end(ref, status)
            case RejectEvent(ref=ref, request=request, terminal=terminal):
                if terminal and request == RequestKind.PLACE.value:
                    self._end(ref, OrderStatus.REJECTED)

    def _ask(self, ref: OrderRef, order: OrderSpec) -> None:
        self._quantity[ref] = order.quantity
        if order.purpose is Purpose.STOP:
            self._stops[ref] = order.stop_price

    def _end(self, ref: OrderRef, status: OrderStatus) -> None:
        """A filled order stays filled: a cancel that came too late is reported, but changes nothing."""
        if self._ended.get(ref) is not OrderStatus.FILLED:
            self._ended[ref] = status
        self._stops.pop(ref, None)

    def execute(self, event: FillEvent | ForeignFillEvent | CommissionEvent) -> None:
        if isinstance(event, CommissionEvent):
            self._position = self._position.with_commission(event.exec_id, event.commission)
            return
        self._move(event.exec_id, event.side, event.quantity, event.price)
        if isinstance(event, FillEvent):
            self._trades.add(event.ref.trade)

    def _move(self, exec_id: str, side: Side, quantity: int, price: Decimal) -> None:
        self._executions.add(execution_root(exec_id))
        self._position = self._position.with_fill(exec_id, side, quantity, price)

    def summary(self) -> SymbolSummary:
        ended = list(self._ended.values())
        stops = [price for price in self._stops.values() if price is not None]
        return SymbolSummary(
            symbol=self.symbol,
            state=self._state,
            restarts=self._restarts,
            signals=self.signals,
            orders=OrderCounts(
                placed=len(self._sent),
                modified=self._modified,
                filled=ended.count(OrderStatus.FILLED),
                cancelled=ended.count(OrderStatus.CANCELLED),
                rejected=ended.count(OrderStatus.REJECTED) + ended.count(OrderStatus.INACTIVE),
            ),
            trades=len(self._trades),
            books=SymbolBooks(
                symbol=self.symbol,
                position=self._position.quantity,
                executions=len(self._executions),
                realized_pnl=self._position.realized_pnl,
                commission=self._position.commission,
            ),
            average_price=self._position.average_price,
            stop_price=stops[-1] if stops else None,
            last_verdict=self.last_verdict,
        )


_STATE_AFTER = {"restart": "restarting", "quarantine": "quarantined"}
"""What a symbol actor is after the supervisor's decision about its exit; after any other it stays down."""

_ENDINGS = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.INACTIVE})


def execution_root(exec_id: str) -> str:
    """What an execution and its corrections have in common."""
    return split_exec_id(exec_id)[0]


def _symbol_of(actor: str) -> Symbol:
    """`symbol:SLV` and `SLV` are the same actor."""
    return Symbol(actor.removeprefix("symbol:"))
