"""What is added to a live trade: scale-ins in profit, double-downs in loss, each level once.

A double-down rests at the broker as a limit order from the moment that the main entry has ended. A scale-in
is a market order, sent when the price at which the trade could be closed has come far enough.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

from protocol.chores import Chores
from protocol.entry import market_refusal, quantity_refusal, risk_refusal
from protocol.events import NewOrderEvent
from protocol.linked_orders import LinkedOrders
from protocol.order import Order
from protocol.planning import Refusal
from protocol.risk.words import EntryProposal
from protocol.schedule import DayPhase, phase
from protocol.values import DOUBLEDOWN, SCALE, OrderSpec, OrderStatus, OrderType, Side, TimeInForce

LOOK_AGAIN: Final = timedelta(seconds=0.25)
"""A scale-in that something stands against is looked at again after this long, while its price holds."""


def keep_adding(chores: Chores) -> None:
    """Place what the plan of the trade still owes, where nothing stands against it."""
    trade = chores.state.trade
    if trade is None or trade.closing is not None or trade.opening:
        return
    if not trade.plan.double_downs and not trade.plan.scale_ins:
        return
    if chores.state.position.quantity * trade.side.sign <= 0 or not may_add(chores, trade):
        return
    for level, addition in enumerate(trade.plan.double_downs):
        # Each order takes the next number of its role, so the ones before it have to be seen.
        trade = chores.state.trade or trade
        if addition.quantity and not _used(trade, DOUBLEDOWN, level):
            double_down(chores, trade, level, addition.distance, addition.quantity)
    for level, addition in enumerate(trade.plan.scale_ins):
        trade = chores.state.trade or trade
        due = addition.quantity and not _used(trade, SCALE, level) and _in_profit(chores, addition.distance)
        if due and add_at_market(chores, trade, SCALE, level, addition.quantity) is not None:
            # For the moment, mostly: one side of a quote comes before the other.
            chores.look_again(chores.at + LOOK_AGAIN)


def may_add(chores: Chores, trade: LinkedOrders) -> bool:
    """Whether more may be bought or sold short now at all: the hour, a hold, an exit that has begun."""
    if chores.view.stopping or chores.state.held or chores.view.grid is None:
        return False
    if phase(chores.plan.schedule, chores.at) is not DayPhase.OPEN:
        return False
    return not any(trade.leaving(index) for index in range(len(trade.tranches)))


def _used(trade: LinkedOrders, role: str, level: int) -> bool:
    """Whether the level has had its order. One that only our own clean stop took back may be placed anew."""
    return any(order.spec.index == level and not _taken_back(order) for order in trade.of_role(role))


def _taken_back(order: Order) -> bool:
    return order.status is OrderStatus.CANCELLED and order.cancel_asked and not order.filled


def _in_profit(chores: Chores, distance: Decimal) -> bool:
    """Whether the trade could be closed at that much profit per share; if not, the price is watched."""
    trade = chores.state.trade
    assert trade is not None
    wanted = chores.state.position.average_price + trade.side.sign * distance
    return chores.reached(trade.side, wanted)


def double_down(
    chores: Chores, trade: LinkedOrders, level: int, distance: Decimal, quantity: int
) -> Refusal | None:
    """A limit order `distance` dollars on the losing side of the average entry, for the rest of the day."""
    grid, average = chores.view.grid, chores.state.position.average_price
    assert grid is not None
    before = next((o for o in trade.of_role(DOUBLEDOWN) if o.spec.index == level), None)
    limit = average - trade.side.sign * distance if before is None else before.spec.limit_price
    assert limit is not None
    limit = grid.floor(limit) if trade.side is Side.BUY else grid.ceil(limit)
    refusal = quantity_refusal(chores.plan.limits, quantity, limit)
    refusal = refusal or _risk_refusal(chores, trade, quantity, limit)
    if refusal is not None:
        return refusal
    ref = chores.plan.ref(trade.trade, DOUBLEDOWN, trade.next_revision(DOUBLEDOWN))
    spec = OrderSpec(
        ref, trade.side, quantity, OrderType.LIMIT, TimeInForce.DAY, limit_price=limit, index=level
    )
    chores.emit(NewOrderEvent(at=chores.at, cause="double-down", ref=ref, order=spec))
    return None


def _risk_refusal(chores: Chores, trade: LinkedOrders, quantity: int, price: Decimal) -> Refusal | None:
    return risk_refusal(chores, EntryProposal(
        chores.plan.symbol, trade.side, quantity, price, trade.stop_distance, quantity, addition=True
    ))  # fmt: skip


def add_at_market(
    chores: Chores, trade: LinkedOrders, role: str, level: int, quantity: int
) -> Refusal | None:
    """A market order that enlarges the position now; the exits follow its fills."""
    refusal = market_refusal(chores)
    price = chores.view.far_side(trade.side)
    if refusal is None and price is not None:
        at_price = Decimal(repr(price))
        refusal = quantity_refusal(chores.plan.limits, quantity, at_price)
        refusal = refusal or _risk_refusal(chores, trade, quantity, at_price)
    if refusal is not None:
        return refusal
    ref = chores.plan.ref(trade.trade, role, trade.next_revision(role))
    spec = OrderSpec(ref, trade.side, quantity, OrderType.MARKET, TimeInForce.DAY, index=level)
    chores.emit(NewOrderEvent(at=chores.at, cause=f"{role} level {level}", ref=ref, order=spec))
    return None
