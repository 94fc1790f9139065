"""What must hold of one symbol and the venue, reckoned apart from the core: from events and executions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal

from protocol.events import (
    BaseEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    PositionAdjustEvent,
    PositionOpenEvent,
)
from protocol.exchange.happenings import VenueOrder
from protocol.linked_orders import LinkedOrders
from protocol.order import TERMINAL
from protocol.position import split_exec_id
from protocol.symbol_state import SymbolState
from protocol.values import DOUBLEDOWN, MAIN, SCALE, OrderRef, OrderSpec, OrderType, Purpose, Side
from tests.symbol_world import SymbolWorld

LATE = "an order of an earlier trade filled late"


class Witness:
    """Sees each event with the state before it; `broken` says in words what should not have been."""

    def __init__(self, price: Callable[[], float]) -> None:
        """`price` is where the market is now."""
        self.broken: list[str] = []
        self._price = price
        self._levels: set[tuple[int, str, int]] = set()
        self._asked: dict[OrderRef, OrderSpec] = {}

    def __call__(self, before: SymbolState, event: BaseEvent) -> None:
        match event:
            case PositionOpenEvent(rule=rule):
                if before.trade is not None or (before.position.quantity and rule != LATE):
                    self.broken.append(f"entered on top of {before.position.quantity}: {event}")
            case NewOrderEvent(order=order):
                self._new(before, order)
            case ModifyOrderEvent(order=order, why=why):
                self._modified(before, order, why)
            case PositionAdjustEvent(ratchet=ratchet):
                if ratchet is not None and before.trade is not None:
                    self._tightened(before.trade, ratchet)
            case _:
                pass

    def _new(self, before: SymbolState, order: OrderSpec) -> None:
        if order.ref in self._asked:
            self.broken.append(f"{order.ref} is ordered twice")
        self._asked[order.ref] = order
        if order.ref.role == MAIN and before.position.quantity:
            self.broken.append(f"{order.ref} enters while {before.position.quantity} are held")
        level = (order.ref.trade, order.ref.role, order.index)
        if order.ref.role in (SCALE, DOUBLEDOWN):
            if level in self._levels:
                self.broken.append(f"level {level} is added twice")
            self._levels.add(level)
            planned = () if before.trade is None else before.trade.plan.scale_ins
            if order.ref.role == DOUBLEDOWN and before.trade is not None:
                planned = before.trade.plan.double_downs
            if order.index >= len(planned):
                self.broken.append(f"{order.ref} is an addition that nobody planned")
        if order.purpose is Purpose.STOP:
            self._new_stop(before, order)
        beside = () if before.trade is None else before.trade.live_exits
        if order.purpose is Purpose.CLOSE and not order.oca_group:
            for other in beside:
                if other.purpose is not Purpose.CLOSE and other.spec.index == order.index:
                    self.broken.append(f"{order.ref} closes outside the group of {other.ref}")

    def _new_stop(self, before: SymbolState, order: OrderSpec) -> None:
        """One stop for each part of the position, on the losing side; another one when that is gone."""
        earlier = None if before.trade is None else before.trade.exit(Purpose.STOP, order.index)
        if earlier is not None and earlier.status not in TERMINAL:
            self.broken.append(f"{order.ref} is placed beside {earlier}")
        price = Decimal(repr(self._price()))
        if order.parent is None or order.stop_price is None:
            return
        if (order.stop_price - price) * order.side.sign <= 0:
            self.broken.append(f"{order.ref} at {order.stop_price} protects nothing at {price}")

    def _modified(self, before: SymbolState, order: OrderSpec, why: str) -> None:
        trade, asked = before.trade, self._asked[order.ref]
        self._asked[order.ref] = order
        if (order.ref, order.side, order.type, order.oca_group) != (
            asked.ref, asked.side, asked.type, asked.oca_group
        ):  # fmt: skip
            self.broken.append(f"a modify made another order of {asked}: {order}")
        known = None if trade is None else trade.find(order.ref)
        if known is not None and known.spec == order and why != "close":
            self.broken.append(f"{order.ref} is asked to be what it was asked to be already")
        if trade is None or trade.ratchet is None or order.type is not OrderType.STOP:
            return
        if trade.tranches[order.index].name or order.stop_price is None:
            return
        if (order.stop_price - trade.ratchet) * trade.side.sign < 0:
            self.broken.append(f"{order.ref} is loosened to {order.stop_price} from {trade.ratchet}")

    def _tightened(self, trade: LinkedOrders, ratchet: Decimal) -> None:
        if trade.ratchet is not None and (ratchet - trade.ratchet) * trade.side.sign < 0:
            self.broken.append(f"the ratchet of {trade.trade} goes back from {trade.ratchet} to {ratchet}")


# --- quiet moments --------------------------------------------------------------------------------


def check_books(world: SymbolWorld) -> None:
    """Nothing is on its way: position, P&L, commissions and every working order must be explained."""
    check_reckoning(world)
    state, trade = world.state, world.state.trade
    held = state.position.quantity
    assert state.held == ""
    if trade is None:
        assert held == 0
        assert list(world.venue.open_orders()) == []
        return
    if trade.closing is not None:
        return
    assert held * trade.side.sign > 0 or trade.entering
    check_orders(world, trade, abs(held))


def check_reckoning(world: SymbolWorld) -> None:
    """Quantity and P&L from the executions as they stand last: money in, money out, what is left at cost."""
    position = world.state.position
    standing = {split_exec_id(report.exec_id)[0]: report for report in world.session.executions}
    quantity = sum(report.side.sign * report.quantity for report in standing.values())
    assert position.quantity == quantity == world.session.position
    flows = sum((-e.side.sign * e.quantity * e.price for e in standing.values()), Decimal(0))
    value = position.quantity * position.average_price
    assert abs(position.realized_pnl - (flows + value)) < Decimal("0.000001")
    charges = {split_exec_id(charge.exec_id)[0]: charge.commission for charge in world.session.charges}
    assert position.commission == sum(charges.values(), Decimal(0))
    if quantity == 0:
        assert abs(float(position.realized_pnl) - world.realized()) < 1e-6


def check_orders(world: SymbolWorld, trade: LinkedOrders, position: int) -> None:
    """Each part of the position has its stop; targets and closes never exceed it; all else is an addition."""
    stops, others = defaultdict[int, int](int), defaultdict[int, int](int)
    for working in world.working():
        ref = OrderRef.parse(working.order.order_ref)
        order = None if ref is None else trade.find(ref)
        assert order is not None, f"an order without a purpose: {working}"
        assert order.live, f"the core believes that {ref} has ended"
        sign = 1 if working.order.action == Side.BUY.value else -1
        if order.purpose is Purpose.ENTRY:
            assert sign == trade.side.sign
            continue
        assert sign == -trade.side.sign, f"{ref} does not lead out of the position"
        (stops if order.purpose is Purpose.STOP else others)[order.spec.index] += working.remaining
        if order.purpose is Purpose.STOP:
            check_stop_price(trade, order.spec, working)
    if trade.entering:
        assert sum(stops.values()) >= position
        return
    shares = dict(enumerate(trade.shares(position)))
    assert sum(shares.values()) == sum(stops.values()) == position
    for index, held in shares.items():
        assert stops[index] == held, f"tranche {index} of {trade}"
        assert others[index] in (0, held), f"tranche {index} of {trade}"


def check_stop_price(trade: LinkedOrders, asked: OrderSpec, working: VenueOrder) -> None:
    if asked.type is not OrderType.STOP:
        return
    price = Decimal(str(working.order.aux_price))
    side = trade.side.sign
    assert (trade.average - price) * side > 0 or trade.ratchet is not None, "the stop is on the wrong side"
    if trade.ratchet is not None and not trade.tranches[asked.index].name:
        assert (price - trade.ratchet) * side >= 0, "the stop at the venue is looser than it was"
