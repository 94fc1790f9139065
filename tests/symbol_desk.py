"""One symbol's core on a desk: messages go in by hand, events and commands are looked at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs

from protocol.commands import BrokerCommand, Wake
from protocol.events import BaseEvent, PredictionSignalEvent, SignalVerdictEvent
from protocol.linked_orders import LinkedOrders
from protocol.market_view import MarketView
from protocol.order import Order
from protocol.reports import (
    ContractQualified,
    ExecutionReport,
    LinkChanged,
    LinkState,
    OrderReport,
    RequestKind,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.risk.settings import RiskLimits
from protocol.rules.actions import Enter
from protocol.rules.amounts import Shares
from protocol.rules.conditions import WhenSignal
from protocol.rules.rule import Rule
from protocol.settings import Schedule
from protocol.symbol import SymbolMessage, commands_for, decide
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState, evolve
from protocol.values import (
    CENT_GRID,
    OrderRef,
    OrderStatus,
    Side,
    Symbol,
    Tick,
    TickKind,
)

TEN = datetime(2025, 9, 26, 14, 0, tzinfo=UTC)
"""Ten o'clock in New York, on a Friday."""
SLV = Symbol("SLV")
LONG = Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY))
SHORT = Rule("short", WhenSignal(("SELL", "SHORT")), Enter(Side.SELL))
PLAN = SymbolPlan(SLV, "t", Shares(100), (LONG, SHORT), Schedule(), RiskLimits())


def ref(role: str, trade: int = 1, revision: int = 0) -> OrderRef:
    return PLAN.ref(trade, role, revision)


def signal(word: str, at: datetime, signal_id: str = "s1", confidence: float = 0.9) -> PredictionSignalEvent:
    return PredictionSignalEvent(
        at=at, symbol=SLV, signal_id=signal_id, source="flow", signal=word, confidence=confidence,
        predicted_at=at,
    )  # fmt: skip


class Desk:
    """`say` gives the commands that a message leads to; `events` and `commands` keep everything."""

    def __init__(self, plan: SymbolPlan = PLAN, at: datetime = TEN) -> None:
        self.plan, self.at = plan, at
        self.state = SymbolState.begin(plan.symbol)
        self.view = MarketView(plan.atr)
        self.events: list[BaseEvent] = []
        self.commands: list[BrokerCommand] = []
        self.wake_at: datetime | None = None
        self.executions = 0
        self.book: tuple[float, float] = (99.98, 100.0)

    @classmethod
    def ready(cls, bid: float = 99.98, ask: float = 100.0, **changes: object) -> Desk:
        """Connected, reconciled, with a fresh quote; `changes` are those of the plan."""
        at = changes.pop("at", TEN)
        assert isinstance(at, datetime)
        desk = cls(attrs.evolve(PLAN, **changes), at)  # type: ignore[arg-type]
        desk.connect()
        desk.quote(bid, ask)
        return desk

    def say(self, message: SymbolMessage) -> tuple[BrokerCommand, ...]:
        decision = decide(self.state, self.view, self.plan, message, self.at)
        for event in decision.events:
            self.state = evolve(self.state, event)
        self.events += decision.events
        self.wake_at = decision.wake_at
        commands = commands_for(self.plan, 1, decision.events)
        self.commands += commands
        return commands

    # --- the market and the clock -------------------------------------------------------------------

    def quote(self, bid: float, ask: float) -> tuple[BrokerCommand, ...]:
        self.book = (bid, ask)
        first = self.say(Tick(SLV, TickKind.BID, bid, 500.0, self.at, bid, bid))
        return first + self.say(Tick(SLV, TickKind.ASK, ask, 500.0, self.at, ask, ask))

    def wait(self, seconds: float) -> tuple[BrokerCommand, ...]:
        """Let time pass, with each wake at its moment and the quote as it was, but fresh."""
        until, said = self.at + timedelta(seconds=seconds), list[BrokerCommand]()
        while self.wake_at is not None and self.wake_at <= until:
            self.at = max(self.wake_at, self.at)
            said += self.say(Wake(self.at))
        self.at = until
        return (*said, *self.quote(*self.book))

    def signal(self, word: str, signal_id: str = "s1", confidence: float = 0.9) -> tuple[BrokerCommand, ...]:
        return self.say(signal(word, self.at, signal_id, confidence))

    # --- the broker ---------------------------------------------------------------------------------

    def connect(self, generation: int = 1) -> None:
        self.say(LinkChanged(self.at, LinkState.UP, generation))
        self.say(ContractQualified(self.at, SLV, 1, CENT_GRID))
        self.snapshot(generation=generation)

    def snapshot(
        self, *orders: OrderReport, executions: tuple[ExecutionReport, ...] = (),
        position: int | None = None, generation: int = 1,
    ) -> tuple[BrokerCommand, ...]:  # fmt: skip
        held = self.state.position.quantity if position is None else position
        return self.say(SymbolSnapshot(self.at, SLV, generation, held, orders, executions, 0, tradable=True))

    def report(
        self, ref: OrderRef, status: OrderStatus = OrderStatus.SUBMITTED, filled: int | None = None,
        **changes: object,
    ) -> OrderReport:  # fmt: skip
        """What the broker would say of an order that is as we asked; `changes` say where it is not."""
        order = self.order(ref)
        spec = order.spec
        said = OrderReport(
            self.at, ref, 7, status, spec.side, spec.type, spec.quantity,
            order.filled if filled is None else filled, spec.limit_price, spec.stop_price,
        )  # fmt: skip
        return attrs.evolve(said, **changes)  # type: ignore[arg-type]

    def told(
        self, ref: OrderRef, status: OrderStatus = OrderStatus.SUBMITTED, filled: int | None = None,
        **changes: object,
    ) -> tuple[BrokerCommand, ...]:  # fmt: skip
        return self.say(self.report(ref, status, filled, **changes))

    def execution(
        self, ref: OrderRef | None, side: Side, quantity: int, price: str, exec_id: str = ""
    ) -> ExecutionReport:
        self.executions += 1
        exec_id = exec_id or f"x{self.executions}.01"
        return ExecutionReport(self.at, SLV, exec_id, ref, 7, side, quantity, Decimal(price))

    def fills(self, ref: OrderRef, quantity: int, price: str) -> tuple[BrokerCommand, ...]:
        return self.say(self.execution(ref, self.order(ref).spec.side, quantity, price))

    def refused(
        self, ref: OrderRef, request: RequestKind, *, terminal: bool = False
    ) -> tuple[BrokerCommand, ...]:
        return self.say(RequestRefused(self.at, ref, request, 201, "no", terminal))

    def bracket_taken(self) -> None:
        """The broker acknowledges every order of the trade that is not acknowledged yet."""
        for order in self.trade.orders:
            if order.status is OrderStatus.CREATED:
                self.told(order.ref)

    def entered(self, word: str = "BUY", price: str = "100", quantity: int = 100) -> Desk:
        """A signal, its bracket acknowledged, and the entry filled whole."""
        self.signal(word)
        self.bracket_taken()
        self.fills(ref("main"), quantity, price)
        self.told(ref("main"), OrderStatus.FILLED, quantity)
        return self

    # --- what it has come to ------------------------------------------------------------------------

    @property
    def trade(self) -> LinkedOrders:
        assert self.state.trade is not None
        return self.state.trade

    @property
    def position(self) -> int:
        return self.state.position.quantity

    def order(self, ref: OrderRef) -> Order:
        order = self.trade.find(ref)
        assert order is not None
        return order

    def quantity(self, role: str) -> int:
        """What was asked of the newest order in a role."""
        order = self.trade.latest(role)
        assert order is not None
        return order.spec.quantity

    def verdicts(self) -> list[tuple[str, str]]:
        return [
            (event.signal_id, event.code) for event in self.events if isinstance(event, SignalVerdictEvent)
        ]
