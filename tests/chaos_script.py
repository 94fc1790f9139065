"""A timeline of a fault run written by hand, before the eyes of one checker."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import attrs

from protocol.chaos.checker import Checker
from protocol.chaos.plan import EpisodePlan, draw_plan
from protocol.chaos.scene import Scene
from protocol.chaos.timeline import (
    Blow,
    Compared,
    Entry,
    Happened,
    Journalled,
    ProcessBegan,
    Sent,
    Struck,
)
from protocol.events import (
    BaseEvent,
    FillEvent,
    LinkEvent,
    NewOrderEvent,
    OrderSentEvent,
    ReconciledEvent,
)
from protocol.exchange.happenings import (
    Executed,
    OrderAccepted,
    OrderCancelled,
    PositionChanged,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.tws.messages import CancelOrder, Contract, Order, PlaceOrder
from protocol.values import OrderRef, OrderSpec, OrderType, Side, Symbol, TimeInForce

PLAN = draw_plan(1, faults=False)
AAA, ACCOUNT = Symbol("AAA"), "DU1234567"
STOCK = Contract(symbol="AAA", sec_type="STK", exchange="SMART", currency="USD")
SHARES = PLAN.caps[AAA]


def ref(role: str, trade: int = 1) -> OrderRef:
    return OrderRef("c", AAA, trade, role)


class Script:
    """A timeline written by hand, before the eyes of one checker."""

    def __init__(self, kind: type[Checker], plan: EpisodePlan = PLAN) -> None:
        self.scene = Scene(plan)
        self.checker = kind(self.scene)
        self.loop_s, self.seq = 0.0, 0
        self.put(ProcessBegan(0.0, 1))
        self.journal("broker", LinkEvent(at=self.at, state="up", generation=1, reason="", account=ACCOUNT))
        self.journal("symbol:AAA", ReconciledEvent(at=self.at, symbol=AAA, generation=1, position=0))
        # What has just begun is disturbed: let it settle.
        self.loop_s = 100.0

    @property
    def at(self) -> datetime:
        return PLAN.start + timedelta(seconds=self.loop_s)

    def put(self, entry: Entry) -> None:
        if entry.loop_s > self.scene.loop_s:
            self.scene.pass_time(entry.loop_s)
            self.checker.pass_time()
        self.scene.take(entry)
        self.checker.see(entry)

    def journal(self, stream: str, *events: BaseEvent) -> None:
        for event in events:
            self.seq += 1
            self.put(Journalled(self.loop_s, 1, self.seq, stream, event))

    def intend(
        self, role: str, *, side: Side = Side.BUY, quantity: int = 100, order_id: int = 1, trade: int = 1
    ) -> None:
        spec = OrderSpec(ref(role, trade), side, quantity, OrderType.MARKET, TimeInForce.DAY)
        self.journal("symbol:AAA", NewOrderEvent(at=self.at, ref=ref(role, trade), order=spec))
        self.journal(
            "broker", OrderSentEvent(at=self.at, ref=ref(role, trade), order_id=order_id, client_id=1)
        )

    def send(
        self,
        role: str,
        *,
        action: str = "BUY",
        quantity: int = 100,
        order_id: int = 1,
        age_s: float | None = 0.5,
        trade: int = 1,
        **more: object,
    ) -> None:
        order = Order(
            order_ref=str(ref(role, trade)), action=action, total_quantity=Decimal(quantity),
            order_type="MKT", **{"account": ACCOUNT, **more},  # type: ignore[arg-type]
        )  # fmt: skip
        self.put(Sent(self.loop_s, self.at, 1, PlaceOrder(order_id, STOCK, order), age_s))

    def cancel(self, order_id: int) -> None:
        self.put(Sent(self.loop_s, self.at, 1, CancelOrder(order_id)))

    def order(
        self,
        role: str,
        perm_id: int,
        *,
        action: str,
        quantity: int = 100,
        type_: str = "MKT",
        group: str = "",
        tif: str = "GTC",
        trade: int = 1,
    ) -> VenueOrder:
        return VenueOrder(
            account=ACCOUNT, client_id=1, order_id=perm_id, perm_id=perm_id, parent_perm_id=0,
            contract=STOCK,
            order=Order(
                order_ref=str(ref(role, trade)), action=action, total_quantity=Decimal(quantity),
                order_type=type_, oca_group=group, tif=tif,
            ),
            status=Status.SUBMITTED,
        )  # fmt: skip

    def accept(self, role: str, perm_id: int, **about: object) -> VenueOrder:
        order = self.order(role, perm_id, **about)  # type: ignore[arg-type]
        self.put(Happened(self.loop_s, OrderAccepted(self.at, order)))
        return order

    def end(self, order: VenueOrder) -> None:
        ended = attrs.evolve(order, status=Status.CANCELLED)
        self.put(Happened(self.loop_s, OrderCancelled(self.at, ended, "", by_client=True)))

    def execute(self, order: VenueOrder, exec_id: str, position: int, *, own: bool = True) -> VenueExecution:
        side = "BOT" if order.order.action == "BUY" else "SLD"
        filled = attrs.evolve(order, status=Status.FILLED, filled=int(order.order.total_quantity))
        execution = VenueExecution(
            exec_id=exec_id, account=ACCOUNT, perm_id=order.perm_id, client_id=1, order_id=order.order_id,
            order_ref=order.order.order_ref if own else "", contract=STOCK, exchange="IEX", side=side,
            quantity=int(order.order.total_quantity), price=Decimal(10), cum_quantity=100,
            avg_price=10.0, at=self.at,
        )  # fmt: skip
        self.put(Happened(self.loop_s, Executed(self.at, filled, execution)))
        self.hold_position(position)
        return execution

    def hold_position(self, position: int) -> None:
        zero = Decimal(0)
        self.put(Happened(self.loop_s, PositionChanged(self.at, ACCOUNT, STOCK, position, zero, zero, zero)))

    def fill(self, exec_id: str, quantity: int = 100, side: Side = Side.BUY) -> None:
        self.journal("symbol:AAA", FillEvent(
            at=self.at, ref=ref("main"), exec_id=exec_id, side=side, quantity=quantity, price=Decimal(10)
        ))  # fmt: skip

    def later(self, seconds: float) -> None:
        """Time passes, and something that concerns nobody tells so."""
        self.loop_s += seconds
        self.put(Compared(self.loop_s, self.at, Symbol("ZZZ"), same=True))

    def strike(self, blow: Blow, kind: str, what: str = "") -> None:
        self.put(Struck(self.loop_s, self.at, blow, kind, what))

    def broken(self) -> list[str]:
        self.checker.finish()
        return [each.what for each in self.checker.violations]


def enter(script: Script) -> VenueOrder:
    """A long position of 100 of our own."""
    script.intend("main")
    order = script.accept("main", 1, action="BUY")
    script.execute(order, "e.01", 100)
    return order
