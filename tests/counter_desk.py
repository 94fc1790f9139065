"""A symbol's core at a broker that does at once what it is asked, and whose books may be others than ours."""

from __future__ import annotations

from decimal import Decimal

from protocol.commands import BrokerCommand, CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import AlarmEvent
from protocol.reports import ExecutionReport, OrderReport
from protocol.values import OrderRef, OrderStatus, OrderType, Purpose, Side
from tests.symbol_desk import SLV, Desk, ref

UNKNOWN_STOP = OrderReport(
    Desk().at, OrderRef("t", SLV, 7, "stop", 0), 70, OrderStatus.SUBMITTED, Side.SELL, OrderType.STOP, 100, 0,
    None, Decimal("95"),
)  # fmt: skip

STEP_S = 0.1


class Counter:
    """`asked` is what the desk has asked of the broker since it was set up as `ours` says."""

    def __init__(self, ours: str) -> None:
        self.desk = desk = Desk.ready()
        self.unknown: tuple[OrderReport, ...] = ()
        self.asked: list[BrokerCommand] = []
        if ours.startswith("long 100 by somebody"):
            desk.say(desk.execution(None, Side.BUY, 100, "100"))
        elif ours.startswith("long 100"):
            self.serve(desk.signal("BUY"))
            self.serve(desk.fills(ref("main"), 100, "100"))
            self.serve(desk.told(ref("main"), OrderStatus.FILLED, 100))
        elif ours.startswith("an entry"):
            self.serve(desk.signal("BUY"))
        elif ours.endswith("lacks"):
            self.unknown = (UNKNOWN_STOP,)
        self.wait(5)
        if ours.endswith("cancelled meanwhile"):
            for role in ("stop", "target"):
                self.serve(desk.told(ref(role), OrderStatus.CANCELLED))
        self.asked.clear()

    def serve(self, commands: tuple[BrokerCommand, ...]) -> None:
        self.asked += commands
        for command in commands:
            match command:
                case PlaceOrders(orders=orders):
                    for spec in orders:
                        self.serve(self.desk.told(spec.ref))
                case ModifyOrder(order=order):
                    self.serve(self.desk.told(order.ref))
                case CancelOrder(ref=known) if self.desk.state.trade is not None:
                    self.serve(self.desk.told(known, OrderStatus.CANCELLED))
                case CancelOrder():
                    self.unknown = ()
                case _:
                    raise AssertionError(command)

    def hear(self, report: OrderReport | ExecutionReport) -> None:
        self.serve(self.desk.say(report))

    def alarms(self) -> list[str]:
        return [event.code for event in self.desk.events if isinstance(event, AlarmEvent)]

    def wait(self, seconds: float) -> None:
        """In small steps, since what is asked meanwhile is answered meanwhile."""
        for _ in range(round(seconds / STEP_S)):
            self.serve(self.desk.wait(STEP_S))

    def look(self, position: int) -> None:
        trade = self.desk.state.trade
        live = () if trade is None else tuple(order for order in trade.orders if order.live)
        orders = tuple(self.desk.report(order.ref) for order in live)
        self.serve(self.desk.snapshot(*orders, *self.unknown, position=position))

    def outcome(self) -> str:
        """What has come of it, in the words of the table."""
        desk, words = self.desk, []
        words.append("held" if desk.state.held else "trades on")
        trade = desk.state.trade
        if trade is None:
            words.append(f"no trade, {desk.position} shares of others" if desk.position else "no trade")
            if self.unknown:
                words.append("the stop stays")
        else:
            working = {order.role: order.remaining for order in trade.orders if order.live}
            words.append(f"position {desk.position}")
            words.append(", ".join(f"{role} {size}" for role, size in sorted(working.items())))
        sold = [each for each in self.asked if isinstance(each, PlaceOrders)]
        assert all(spec.purpose is Purpose.STOP for each in sold for spec in each.orders), "traded back"
        return "; ".join(words)
