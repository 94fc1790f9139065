"""One trade from its signal to its last fill, step by step, with the market time between the steps.

Each step is one row of the journal, under the word of what it was for the trade: a status is told when it
is the first word of the broker about an order (acknowledged), confirms a change, or ends it, and otherwise
changes nothing. The sums are folded from the executions, so that they hold for a trade that still lives.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

import attrs

from protocol.event_text import order_text, what
from protocol.events import (
    CancelEvent,
    CommissionEvent,
    FillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    PositionAdjustEvent,
    PositionCloseEvent,
    PositionEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    PredictionSignalEvent,
    RejectEvent,
    RuleFiredEvent,
    SignalVerdictEvent,
)
from protocol.journal import JournalRow
from protocol.order import TERMINAL
from protocol.position import Position, split_exec_id
from protocol.position_record import position_id
from protocol.values import MAIN, OrderRef, OrderStatus, Purpose, Side, Symbol

MAX_WAITING_SIGNALS: Final = 1000
"""Signals of a symbol that no trade has followed from yet: nearly all never lead to one."""
_Confirmed: TypeAlias = tuple[OrderStatus, int, Decimal | None, Decimal | None]


@attrs.frozen(kw_only=True)
class TradeStep:
    """`step` names what it was for the trade; `ref` is the order, where it is about one."""

    event_id: int
    at: datetime
    step: str
    text: str
    ref: OrderRef | None = None


@attrs.frozen(kw_only=True)
class TradeStory:
    """`quantity` is what is held now, signed; money is in dollars, `realized_pnl` without commissions."""

    symbol: Symbol
    trade: int
    side: Side
    rule: str
    signal_id: str
    reason: str
    """Why it was closed; empty while it lives."""
    steps: tuple[TradeStep, ...]
    entered: int
    quantity: int
    realized_pnl: Decimal
    commission: Decimal

    @property
    def id(self) -> str:
        return position_id(self.symbol, self.trade)

    @property
    def net_pnl(self) -> Decimal:
        return self.realized_pnl - self.commission

    def first(self, step: str, role: str = "") -> datetime | None:
        """When a step of this name was first taken, for an order of this role or for any."""
        return next(
            (
                each.at
                for each in self.steps
                if each.step == step and (not role or (each.ref is not None and each.ref.role == role))
            ),
            None,
        )

    def last(self, step: str) -> datetime | None:
        return next((each.at for each in reversed(self.steps) if each.step == step), None)

    @property
    def times_s(self) -> dict[str, float]:
        """The waits that matter, in seconds of market time; those whose both ends are known."""
        ends = {
            "signal_to_verdict": (self.first("signal"), self.first("verdict")),
            "verdict_to_sent": (self.first("verdict"), self.first("sent", MAIN)),
            "sent_to_acknowledged": (self.first("sent", MAIN), self.first("acknowledged", MAIN)),
            "sent_to_first_fill": (self.first("sent", MAIN), self.first("filled", MAIN)),
            "first_to_last_fill": (self.first("filled"), self.last("filled")),
            "opened_to_closed": (self.first("opened"), self.last("closed")),
        }
        return {
            name: (end - begin).total_seconds()
            for name, (begin, end) in ends.items()
            if begin is not None and end is not None
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs: money as text, times in ISO 8601, waits in seconds of market time."""
        return {
            "position_id": self.id,
            "symbol": self.symbol,
            "side": self.side.value,
            "rule": self.rule,
            "signal_id": self.signal_id,
            "reason": self.reason,
            "entered": self.entered,
            "quantity": self.quantity,
            "realized_pnl": str(self.realized_pnl),
            "commission": str(self.commission),
            "net_pnl": str(self.net_pnl),
            "times_s": self.times_s,
            "steps": [
                {
                    "event_id": each.event_id,
                    "at": each.at.isoformat(),
                    "after_s": after_s,
                    "step": each.step,
                    "ref": None if each.ref is None else str(each.ref),
                    "text": each.text,
                }
                for each, after_s in zip(self.steps, waits_s(self.steps), strict=True)
            ],
        }


def waits_s(steps: Iterable[TradeStep]) -> tuple[float, ...]:
    """Seconds of market time from each step to the next; the first has waited for nothing."""
    waits: list[float] = []
    before: datetime | None = None
    for step in steps:
        waits.append(0.0 if before is None else (step.at - before).total_seconds())
        before = step.at
    return tuple(waits)


def trade_stories(rows: Iterable[JournalRow], symbol: Symbol, trade: int | None = None) -> list[TradeStory]:
    """The trades of a symbol, or one of them, in the order in which they were opened.

    `rows` are those of a whole journal, or of the streams `signals`, `broker` and the symbol's own.
    """
    teller = _Teller(symbol)
    for row in rows:
        teller.hear(row)
    return [told.story() for number, told in teller.trades.items() if trade in (None, number)]


class _Teller:
    """One walk over the journal."""

    def __init__(self, symbol: Symbol) -> None:
        self.trades: dict[int, _Trade] = {}
        self._symbol = symbol
        self._alive: _Trade | None = None
        self._of_execution: dict[str, _Trade] = {}
        self._signals: dict[str, list[JournalRow]] = {}

    def hear(self, row: JournalRow) -> None:
        match row.event:
            case PositionEvent(symbol=self._symbol) as event:
                self._hear_position(row, event)
            case OrderEvent(ref=ref) as event if ref.symbol == self._symbol:
                self._hear_order(row, event)
            case CommissionEvent(symbol=self._symbol, exec_id=exec_id, commission=commission):
                paid_by = self._of_execution.get(split_exec_id(exec_id)[0])
                if paid_by is not None:
                    paid_by.position = paid_by.position.with_commission(exec_id, commission)
                    paid_by.add(row, "commission", f"{commission} for execution {exec_id}")
            case RuleFiredEvent(symbol=self._symbol) if self._alive is not None:
                self._alive.add(row, "rule")
            case PredictionSignalEvent(symbol=self._symbol, signal_id=signal_id):
                self._wait(signal_id, row)
            case SignalVerdictEvent(symbol=self._symbol, signal_id=signal_id):
                self._wait(signal_id, row)
            case _:
                pass

    def _wait(self, signal_id: str, row: JournalRow) -> None:
        self._signals.setdefault(signal_id, []).append(row)
        while len(self._signals) > MAX_WAITING_SIGNALS:
            del self._signals[next(iter(self._signals))]

    def _hear_position(self, row: JournalRow, event: PositionEvent) -> None:
        if isinstance(event, PositionOpenEvent):
            self._alive = self.trades[event.trade] = _Trade(event)
            for earlier in self._signals.pop(event.signal_id, ()):
                said = isinstance(earlier.event, PredictionSignalEvent)
                self._alive.add(earlier, "signal" if said else "verdict")
        trade = self.trades.get(event.trade)
        if trade is None:
            return
        match event:
            case PositionOpenEvent():
                trade.add(row, "opened")
            case PositionAdjustEvent():
                trade.add(row, "adjusted")
            case PositionUpdateEvent():
                trade.add(row, "closing")
            case PositionCloseEvent():
                trade.add(row, "closed")
                trade.reason, self._alive = event.reason, None
            case _:
                pass

    def _hear_order(self, row: JournalRow, event: OrderEvent) -> None:
        trade = self.trades.get(event.ref.trade)
        if trade is None:
            return
        if isinstance(event, FillEvent):
            self._of_execution[split_exec_id(event.exec_id)[0]] = trade
        trade.hear(row, event)


class _Trade:
    """What has been heard of one trade so far."""

    def __init__(self, opened: PositionOpenEvent) -> None:
        self.opened, self.reason = opened, ""
        self.position = Position.empty(opened.symbol)
        self._steps: list[TradeStep] = []
        self._confirmed: dict[OrderRef, _Confirmed] = {}

    def add(self, row: JournalRow, step: str, text: str = "") -> None:
        ref = getattr(row.event, "ref", None)
        told = text or what(row.event)
        self._steps.append(TradeStep(event_id=row.seq, at=row.at, step=step, text=told, ref=ref))

    def hear(self, row: JournalRow, event: OrderEvent) -> None:
        match event:
            case NewOrderEvent(order=order):
                self.add(row, "intent", order_text(order))
            case ModifyOrderEvent(order=order):
                step = "stop moved" if order.purpose is Purpose.STOP else "changed"
                self.add(row, step, f"{order_text(order)} ({event.why})")
            case OrderSentEvent():
                self.add(row, "sent", f"as TWS order {event.order_id} of client {event.client_id}")
            case OrderStatusEvent():
                self._hear_status(row, event)
            case FillEvent():
                self.position = self.position.with_fill(
                    event.exec_id, event.side, event.quantity, event.price
                )
                filled = f"{event.side.value} {event.quantity} at {event.price}"
                self.add(row, "filled", f"{filled}, execution {event.exec_id}")
            case CancelEvent(why=why):
                self.add(row, "cancel asked", why)
            case RejectEvent():
                self.add(row, "refused")
            case _:
                pass

    def _hear_status(self, row: JournalRow, event: OrderStatusEvent) -> None:
        now = (event.status, event.quantity, event.limit_price, event.stop_price)
        before = self._confirmed.get(event.ref)
        if before == now:
            return
        self._confirmed[event.ref] = now
        prices = " ".join(str(price) for price in now[2:] if price is not None)
        text = f"{event.status.value}, {event.quantity} {prices}".rstrip() + f", permanent id {event.perm_id}"
        if event.status in TERMINAL:
            self.add(row, "ended", text)
        elif before is None:
            self.add(row, "acknowledged", text)
        else:
            self.add(row, "confirmed", text)

    def story(self) -> TradeStory:
        opened, position = self.opened, self.position
        entering = opened.side
        return TradeStory(
            symbol=opened.symbol,
            trade=opened.trade,
            side=entering,
            rule=opened.rule,
            signal_id=opened.signal_id,
            reason=self.reason,
            steps=tuple(sorted(self._steps, key=lambda step: step.event_id)),
            entered=sum(each.quantity for each in position.executions.values() if each.side is entering),
            quantity=position.quantity,
            realized_pnl=position.realized_pnl,
            commission=position.commission,
        )
