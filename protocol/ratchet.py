"""Trailing and breakeven: the trade's own stop follows the price, in steps, and never goes back."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.chores import Chores
from protocol.events import PositionAdjustEvent
from protocol.linked_orders import LinkedOrders
from protocol.protection import stop_price
from protocol.values import Side

TRAIL_STEP: Final = Decimal("0.05")
"""A stop is moved when it gains at least this part of its distance: each move is a message to the broker."""


def keep_trailing(chores: Chores) -> None:
    """Tighten the stop where trailing or breakeven ask for it; else watch for the price that will."""
    trade = chores.state.trade
    if trade is None or trade.closing is not None or trade.opening:
        return
    if chores.state.position.quantity * trade.side.sign <= 0 or chores.view.grid is None:
        return
    _move_to_breakeven(chores, trade)
    trade = chores.state.trade
    if trade is not None:
        _trail(chores, trade)


def current_stop(chores: Chores, trade: LinkedOrders) -> Decimal:
    """Where the trade's own stop has to be now."""
    grid = chores.view.grid
    assert grid is not None
    base = stop_price(trade.side, chores.state.position.average_price, trade.stop_distance, grid)
    if trade.ratchet is None:
        return base
    return max(base, trade.ratchet) if trade.side is Side.BUY else min(base, trade.ratchet)


def tighten(chores: Chores, trade: LinkedOrders, price: Decimal, reason: str) -> bool:
    """Move the stop to `price`, where that is tighter than where it is. False: it is not."""
    grid = chores.view.grid
    assert grid is not None
    rounded = grid.floor(price) if trade.side is Side.BUY else grid.ceil(price)
    if (rounded - current_stop(chores, trade)) * trade.side.sign <= 0:
        return False
    chores.emit(PositionAdjustEvent(
        at=chores.at, cause=reason, symbol=chores.plan.symbol, trade=trade.trade, reason=reason,
        ratchet=rounded,
    ))  # fmt: skip
    return True


def _move_to_breakeven(chores: Chores, trade: LinkedOrders) -> None:
    breakeven, average = trade.plan.breakeven, chores.state.position.average_price
    if breakeven is None:
        return
    wanted = average + trade.side.sign * breakeven.offset
    if (wanted - current_stop(chores, trade)) * trade.side.sign <= 0:
        return
    if chores.reached(trade.side, average + trade.side.sign * breakeven.after):
        tighten(chores, trade, wanted, "breakeven")


def _trail(chores: Chores, trade: LinkedOrders) -> None:
    trail, sign, mark = trade.plan.trail, trade.side.sign, chores.view.mark(trade.side)
    if trail is None or mark is None:
        return
    begins = chores.state.position.average_price + sign * (trail.after or Decimal(0))
    if trail.after is not None and trade.ratchet is None and not chores.reached(trade.side, begins):
        return
    grid = chores.view.grid
    assert grid is not None
    price = Decimal(repr(mark))
    distance = trail.distance(price)
    step = max(distance * TRAIL_STEP, grid.tick_at(price))
    stop = current_stop(chores, trade)
    if (price - sign * distance - stop) * sign >= step:
        tighten(chores, trade, price - sign * distance, "trail")
        stop = current_stop(chores, trade)
    # At which price the next step is due; with a fraction the distance grows with the price.
    due = stop + sign * step
    due = due / (1 - sign * trail.fraction) if trail.fraction is not None else due + sign * distance
    chores.reached(trade.side, due)
