"""A person takes our exits away or moves them: put back once, and then it is their word (X2, O23).

Nobody is fought, and no position is left without a stop. An exit that somebody moved goes back to its place
once; the second time its price is theirs, and only its size still follows the position. A stop that somebody
cancelled is put back once; the second time the position is closed. Whoever insists, or cancels stop and
target alike, is heard: the symbol is held until a person resumes it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import attrs

from protocol.chores import Chores
from protocol.events import HoldEvent, OrderStatusEvent
from protocol.linked_orders import LinkedOrders
from protocol.order import TERMINAL, Order
from protocol.symbol_state import told
from protocol.values import MAIN, OrderRef, OrderStatus, Purpose

PUT_BACK: Final = 1
"""How often an exit is put back where somebody took it from."""
MOVED_FOR: Final = timedelta(seconds=1.0)
"""A word of the broker that differs from what it had confirmed is somebody's change when it lasts so long:
an echo that was overtaken, or the broker's own reduction, is explained sooner."""
SETTLED: Final = timedelta(seconds=2.0)
"""After we or the broker's rules have changed an exit, this long, what it says is the answer to that."""
TOGETHER: Final = timedelta(seconds=2.0)
"""TWS takes the children of an entry that ends along with it within this time."""


def is_theirs(order: Order) -> bool:
    """Whether somebody else has insisted on where this exit stands."""
    return order.moved > PUT_BACK


def moved_since(order: Order, latency: timedelta) -> datetime | None:
    """Since when an exit is not what we ask and the broker had confirmed; None when it is, or is no wonder.

    What begins to differ soon after we asked for something, or after a fill of the entry whose children the
    broker makes follow, is an answer on its way.
    """
    since, asked_at = order.differs_since, order.asked_at
    if order.agreed != order.spec or order.as_asked or since is None or asked_at is None:
        return None
    return since if since - asked_at >= SETTLED + latency else None


def moved_unseen(order: Order, said: OrderStatusEvent, latency: timedelta) -> bool:
    """Whether an exit is found elsewhere than the broker had confirmed it, as after a link that was down."""
    if order.purpose not in (Purpose.STOP, Purpose.TARGET) or said.status in TERMINAL:
        return False
    return moved_since(told(order, attrs.evolve(said, adopted=False)), latency) is not None


def heed_move(chores: Chores, ref: OrderRef) -> None:
    """Tell of an exit that somebody else has just been found to have moved, and hold at the second time."""
    trade = chores.state.trade
    order = None if trade is None else trade.find(ref)
    assert order is not None
    price = (order.spec.stop_price or order.spec.limit_price or Decimal(0)).normalize()
    what = f"somebody else moved the {order.role} to {order.spec.quantity} shares at {price:f}"
    if not is_theirs(order):
        chores.alarm("EXIT_MOVED", f"{what}; it is put back once")
    elif order.moved == PUT_BACK + 1:
        _hold(chores, f"{what} again")
        text = "its price is theirs from now on, its size still follows the position"
        chores.alarm("EXIT_MOVED", f"{what} again; {text}; no entries until a person resumes it")


def keeps_shrinking(chores: Chores, ref: OrderRef) -> bool:
    """Whether somebody has made a stop too small once more than it was put back."""
    trade = chores.state.trade
    order = None if trade is None else trade.find(ref)
    assert trade is not None
    assert order is not None
    shares = trade.shares(chores.state.position.quantity * trade.side.sign)[order.spec.index]
    return order.purpose is Purpose.STOP and is_theirs(order) and order.remaining < shares


def taken_away(chores: Chores, index: int) -> bool:
    """Tell of a stop of a tranche that somebody else has cancelled; True when it is not put back any more."""
    trade = chores.state.trade
    assert trade is not None
    taken = [order for order in _taken(trade, index) if order.purpose is Purpose.STOP]
    if not taken:
        return False
    what = f"somebody else cancelled the {taken[-1].role}"
    if len(taken) <= PUT_BACK:
        chores.alarm("EXIT_CANCELLED", f"{what}; it is put back once")
        return False
    _hold(chores, f"{what} again")
    chores.alarm("EXIT_CANCELLED", f"{what} again; the position is closed, and a person resumes the symbol")
    return True


def heed_cancels(chores: Chores) -> None:
    """Whoever cancels stop and target alike, or everything in TWS, does not want this symbol to be traded."""
    trade = chores.state.trade
    if trade is None or trade.closing is not None or chores.state.held:
        return
    position = chores.state.position.quantity * trade.side.sign
    for index, shares in enumerate(trade.shares(position) if position > 0 else ()):
        taken = {order.purpose for order in _taken(trade, index)}
        if shares and taken == {Purpose.STOP, Purpose.TARGET}:
            reason = "somebody else cancelled stop and target"
            _hold(chores, reason)
            text = f"{reason}; the stop is put back, and a person resumes the symbol"
            chores.alarm("EXIT_CANCELLED", text)
            return


def _taken(trade: LinkedOrders, index: int) -> tuple[Order, ...]:
    """Exits of a tranche that were cancelled, and not by us, nor by the broker for what their group filled,
    nor with their entry."""
    mains = [order for order in trade.of_role(MAIN) if order.status is OrderStatus.CANCELLED]
    filled = {order.spec.oca_group for order in trade.orders if order.filled and order.spec.oca_group}

    def with_entry(order: Order) -> bool:
        since = order.status_since
        return any(
            since is not None and main.status_since is not None and since - main.status_since < TOGETHER
            for main in mains
        )

    return tuple(
        order
        for order in trade.orders
        if order.purpose in (Purpose.STOP, Purpose.TARGET)
        and order.spec.index == index
        and order.status is OrderStatus.CANCELLED
        and not order.cancel_asked
        and order.spec.oca_group not in filled
        and not with_entry(order)
    )


def _hold(chores: Chores, reason: str) -> None:
    if not chores.state.held:
        chores.emit(HoldEvent(at=chores.at, cause="broker", symbol=chores.plan.symbol, reason=reason))
