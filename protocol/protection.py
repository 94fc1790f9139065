"""Prices and sizes of stop and target: a partial fill ends here, and nothing else resizes a stop.

The exits of a trade share an OCA group of type 2, "reduce with block": when one of them executes, the
broker takes the same number of shares off the others, and only one is at the exchange at a time, so they
cannot overfill. Type 3 lacks the block; type 1 would cancel the stop on the target's first partial fill.
So the broker shrinks an exit for its siblings' fills, and we change exits for everything else: exactly
one side does each. Modifies are in place, never a cancel and a new order: in between is nakedness.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

import attrs

from protocol.chores import Chores
from protocol.events import (
    CancelEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderStatusEvent,
    PositionUpdateEvent,
)
from protocol.linked_orders import LinkedOrders
from protocol.order import TERMINAL, WORKING, Order
from protocol.values import STOP, TARGET, OrderSpec, OrderStatus, OrderType, PriceGrid, Side, TimeInForce

OCA_REDUCE: Final = 2
RESIZE_EVERY: Final = timedelta(seconds=0.25)
"""Repricing modifies are at least this far apart; a resize that protection needs does not wait."""
ANSWER_WITHIN: Final = timedelta(seconds=2.0)
"""After this long, what the broker confirmed is what holds, and not what we asked."""
MAX_STOPS: Final = 3
"""Stops of one trade that may be placed one after another before the position is closed instead."""
MAX_REFUSALS: Final = 3


def stop_price(side: Side, average: Decimal, distance: Decimal, grid: PriceGrid) -> Decimal:
    """Where the stop of a `side` trade lies: on the losing side, rounded away from the market."""
    return grid.floor(average - distance) if side is Side.BUY else grid.ceil(average + distance)


def target_price(side: Side, average: Decimal, distance: Decimal, grid: PriceGrid) -> Decimal:
    """Where the target of a `side` trade lies: on the winning side, rounded towards the market."""
    return grid.floor(average + distance) if side is Side.BUY else grid.ceil(average - distance)


def wanted_quantity(order: Order, position: int, *, entering: bool) -> int:
    """The total an exit must ask for, executed shares included, to cover `position` shares.

    While an entry still works it may ask for more than there is: what the entry is about to fill has to be
    covered the moment it fills. Once no entry lives, it is the position exactly.
    """
    exact = order.filled + position
    return max(order.spec.quantity, exact) if entering else exact


def keep_protected(chores: Chores) -> None:
    """Make stop and target of the open trade what they have to be, in as few words as possible."""
    trade = chores.state.trade
    if trade is None or trade.closing is not None:
        return
    position = chores.state.position.quantity * trade.side.sign
    if position <= 0:
        return
    if any(order.filled for order in trade.orders if order.role in (STOP, TARGET)) and trade.entering:
        _close(chores, "an exit filled while the entry was still working")
        return
    believe_the_broker(chores)
    stop = trade.latest(STOP)
    if stop is None or stop.status in TERMINAL:
        _replace_stop(chores, position)
    elif stop.refusals >= MAX_REFUSALS:
        _close(chores, "the broker refuses to change the stop")
    elif _stays_inactive(chores, stop):
        _close(chores, "the broker holds the stop as inactive")
    else:
        _resize(chores, STOP, position)
        _retire_older_stops(chores, stop)
    if _resize(chores, TARGET, position):
        _give_up_target(chores)


def _stays_inactive(chores: Chores, stop: Order) -> bool:
    """Inactive protects nothing. The reason, which makes it rejected, mostly follows at once."""
    if stop.status is not OrderStatus.INACTIVE or stop.status_since is None:
        return False
    return chores.due(stop.status_since + ANSWER_WITHIN + chores.plan.latency)


def _retire_older_stops(chores: Chores, stop: Order) -> None:
    """A stop that was given up and replaced, and is there after all: one is enough."""
    trade = chores.state.trade
    assert trade is not None
    for order in trade.of_role(STOP):
        if order.ref != stop.ref and order.changeable and stop.status in WORKING:
            why = "another stop has taken its place"
            chores.emit(CancelEvent(at=chores.at, cause=why, ref=order.ref, why=why))


def _give_up_target(chores: Chores) -> None:
    """A target that the broker will not change would execute more than there is, or less; the stop stays."""
    trade = chores.state.trade
    target = None if trade is None else trade.latest(TARGET)
    if target is not None and target.changeable:
        why = "the broker refuses to change the target"
        chores.emit(CancelEvent(at=chores.at, cause=why, ref=target.ref, why=why))


def believe_the_broker(chores: Chores) -> None:
    """Where an exit is not what we asked and the answer is overdue, the broker's word holds from now on."""
    trade = chores.state.trade
    assert trade is not None
    for order in trade.orders:
        if order.role not in (STOP, TARGET) or not order.changeable or order.confirmed_quantity is None:
            continue
        if trade.entering or order.asked_at is None or order.as_asked:
            continue
        if chores.due(order.asked_at + ANSWER_WITHIN + chores.plan.latency):
            chores.emit(OrderStatusEvent(
                at=chores.at, cause="no answer", ref=order.ref, status=order.status, perm_id=order.perm_id,
                quantity=order.confirmed_quantity, filled=order.reported_filled,
                limit_price=order.confirmed_limit, stop_price=order.confirmed_stop, adopted=True,
            ))  # fmt: skip


def _resize(chores: Chores, role: str, position: int) -> bool:
    """Modify an exit where it is not what it has to be. True when the broker has refused that too often."""
    trade, grid, at = chores.state.trade, chores.view.grid, chores.at
    assert trade is not None
    order = trade.latest(role)
    if order is None or not order.changeable or trade.leaving(besides=order.ref):
        return False
    quantity = wanted_quantity(order, position, entering=trade.entering)
    spec = attrs.evolve(order.spec, quantity=quantity)
    if grid is not None:
        spec = _repriced(spec, trade, chores.state.position.average_price, grid)
    # Compare with what we asked for, not with what is confirmed: two fills can arrive before the first
    # modify is acknowledged, and must not ask for the same thing twice.
    if spec == order.spec:
        return False
    if order.refusals >= MAX_REFUSALS:
        return True
    resized = quantity != order.spec.quantity
    not_before = None if resized or order.modified_at is None else order.modified_at + RESIZE_EVERY
    if order.refusals and order.asked_at is not None:
        not_before = order.asked_at + ANSWER_WITHIN + chores.plan.latency
    if not_before is not None and not chores.due(not_before):
        return False
    why = "resize" if resized else "reprice"
    chores.emit(ModifyOrderEvent(at=at, cause=why, ref=order.ref, order=spec, why=why))
    return False


def _repriced(spec: OrderSpec, trade: LinkedOrders, average: Decimal, grid: PriceGrid) -> OrderSpec:
    """The exit at its distance from the real average fill; the risk for each share is what was sized."""
    if spec.type is OrderType.STOP:
        return attrs.evolve(spec, stop_price=stop_price(trade.side, average, trade.stop_distance, grid))
    if spec.type is OrderType.LIMIT and trade.target_distance is not None:
        return attrs.evolve(spec, limit_price=target_price(trade.side, average, trade.target_distance, grid))
    return spec


def _replace_stop(chores: Chores, position: int) -> None:
    """The stop is gone and the position is not: the one case in which a new stop is right."""
    trade, grid, plan = chores.state.trade, chores.view.grid, chores.plan
    assert trade is not None
    if trade.leaving():
        # The broker said that an exit has executed: its executions come, and a new stop would be too much.
        return
    revision = trade.next_revision(STOP)
    if grid is None or revision >= MAX_STOPS:
        _close(chores, "no stop stays in place")
        return
    price = stop_price(trade.side, chores.state.position.average_price, trade.stop_distance, grid)
    bid_or_ask = chores.view.far_side(trade.side.opposite)
    if bid_or_ask is not None and (Decimal(repr(bid_or_ask)) - price) * trade.side.sign <= 0:
        _close(chores, "the price is beyond the stop, and the stop is gone")
        return
    order = OrderSpec(
        plan.ref(trade.trade, STOP, revision), trade.side.opposite, position, OrderType.STOP,
        TimeInForce.GTC, stop_price=price, outside_rth=True, oca_group=plan.oca_group(trade.trade),
        oca_type=OCA_REDUCE,
    )  # fmt: skip
    chores.emit(NewOrderEvent(at=chores.at, cause="the stop is gone", ref=order.ref, order=order))


def _close(chores: Chores, reason: str) -> None:
    trade = chores.state.trade
    assert trade is not None
    chores.emit(PositionUpdateEvent(
        at=chores.at, cause=reason, symbol=chores.plan.symbol, trade=trade.trade, reason=reason
    ))  # fmt: skip
