"""Trailing orders: where their stop is, and the limit that hangs on it.

A trailing stop follows the market at a distance, only ever in the direction that protects more. The limit
of a `TRAIL LIMIT` keeps its offset from the stop. Both are shown in the order itself.
"""

from __future__ import annotations

import attrs

from protocol.exchange.book import OrderRecord
from protocol.exchange.order_kinds import KINDS
from protocol.exchange.quotes import Quote
from protocol.exchange.triggers import followed_price, trailed
from protocol.tws.messages import Order
from protocol.values import PriceGrid, exact

TRAILING = frozenset(name for name, kind in KINDS.items() if kind.trails)


def aimed(record: OrderRecord, quote: Quote | None, method: int, grid: PriceGrid) -> OrderRecord:
    """The trailing order with its first stop: the one its owner gave, else from the market, if it stands."""
    order = record.view.order
    if order.trail_stop_price is not None:
        return _with_stop(record, order.trail_stop_price, grid)
    return record if quote is None or quote.halted else followed_by(record, quote, method, grid) or record


def followed_by(record: OrderRecord, quote: Quote, method: int, grid: PriceGrid) -> OrderRecord | None:
    """The trailing order after an instant of the market; None where its stop stays."""
    order, rises = record.view.order, record.is_buy
    followed = followed_price(quote, method, rises=rises)
    if followed is None:
        return None
    stop = order.trail_stop_price
    distance = distance_at(order, followed)
    if stop is not None and (followed + distance >= stop if rises else followed - distance <= stop):
        return None
    moved = trailed(followed, distance, grid, rises=rises)
    if moved is None or (stop is not None and (moved >= stop if rises else moved <= stop)):
        return None
    return _with_stop(record, moved, grid)


def distance_at(order: Order, price: float) -> float:
    """How far the stop stays behind the market when that stands at `price`."""
    if order.trailing_percent:
        return price * order.trailing_percent / 100
    return order.aux_price or 0.0


def _with_stop(record: OrderRecord, stop: float, grid: PriceGrid) -> OrderRecord:
    order = record.view.order
    if not record.kind.limit:
        moved = attrs.evolve(order, trail_stop_price=stop)
    else:
        offset = order.lmt_price_offset
        if offset is None:
            # Its owner named the limit itself: its distance from the first stop is the offset from then on.
            offset = abs(float(exact(stop) - exact(order.lmt_price or 0.0)))
        worst = exact(stop) + exact(offset) if record.is_buy else exact(stop) - exact(offset)
        limit = float(grid.floor(worst) if record.is_buy else grid.ceil(worst))
        moved = attrs.evolve(order, trail_stop_price=stop, lmt_price=limit, lmt_price_offset=offset)
    return attrs.evolve(record, view=attrs.evolve(record.view, order=moved))


def carried_over(record: OrderRecord, wanted: Order) -> float | None:
    """The stop that a modify of the record to `wanted` leaves it with; None: the market says it anew.

    Clients send the whole order again, often with a stop that has trailed since: what they sent before, or
    what the order shows, asks for nothing. Another stop is theirs to have, looser or not.
    """
    order = record.view.order
    asked = wanted.trail_stop_price
    if asked is not None and asked not in (record.asked_trail_stop, order.trail_stop_price):
        return asked
    if not record.kind.trails or wanted.order_type not in TRAILING:
        return asked
    distance = (order.aux_price or 0.0, order.trailing_percent or 0.0)
    if distance != (wanted.aux_price or 0.0, wanted.trailing_percent or 0.0):
        return None
    return order.trail_stop_price
