"""The orders of one trade, linked: the context of a symbol while a trade exists.

It comes into being with the entry and is deleted whole when the trade has concluded, so nothing of one
trade can reach into the next. An order belongs to exactly one role of exactly one trade, by its reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal

import attrs

from protocol.order import Order
from protocol.values import CLOSE, DOUBLEDOWN, MAIN, SCALE, STOP, TARGET, OrderRef, Side

ENTRY_ROLES = frozenset({MAIN, SCALE, DOUBLEDOWN})
EXIT_ROLES = frozenset({STOP, TARGET, CLOSE})


@attrs.frozen
class Closing:
    """Why the trade is being closed, since when, and what to enter once it is flat."""

    reason: str
    since: datetime
    reverse_to: Side | None = None
    signal_id: str = ""
    rule: str = ""
    attempts: int = 0
    """How often the closing price has been asked for."""


@attrs.frozen
class LinkedOrders:
    """`stop_distance` and `target_distance` are dollars from the average entry; `side` is the trade's."""

    trade: int
    side: Side
    quantity: int
    stop_distance: Decimal
    target_distance: Decimal | None
    signal_id: str
    rule: str
    opened_at: datetime
    realized_before: Decimal
    """Realized P&L of the symbol when the trade began."""
    orders: tuple[Order, ...] = ()
    closing: Closing | None = None
    flat_since: datetime | None = None
    """Since when the position has been zero after having been open."""
    concluded_by: str = ""
    """Role of the order whose execution made the position flat."""

    def find(self, ref: OrderRef) -> Order | None:
        return next((order for order in self.orders if order.ref == ref), None)

    def with_order(self, order: Order) -> LinkedOrders:
        return attrs.evolve(self, orders=(*self.orders, order))

    def changed(self, ref: OrderRef, change: Callable[[Order], Order]) -> LinkedOrders:
        orders = tuple(change(order) if order.ref == ref else order for order in self.orders)
        return attrs.evolve(self, orders=orders)

    def of_role(self, role: str) -> Iterator[Order]:
        return (order for order in self.orders if order.role == role)

    def latest(self, role: str) -> Order | None:
        """The newest order in a role: the one that counts, live or not."""
        found = None
        for order in self.of_role(role):
            found = order
        return found

    def live(self, roles: frozenset[str]) -> tuple[Order, ...]:
        return tuple(order for order in self.orders if order.live and order.role in roles)

    @property
    def entering(self) -> bool:
        """Whether an order that can enlarge the position still lives."""
        return any(order.live and order.role in ENTRY_ROLES for order in self.orders)

    def leaving(self, besides: OrderRef | None = None) -> bool:
        """Whether more of an exit has executed than we know: the position is smaller than it seems.

        Of `besides` that does not matter: its total counts what it has executed, known or not.
        """
        return any(
            order.awaits_executions and order.role in EXIT_ROLES and order.ref != besides
            for order in self.orders
        )

    @property
    def settled(self) -> bool:
        """Whether no order of the trade lives any more."""
        return not any(order.live for order in self.orders)

    def next_revision(self, role: str) -> int:
        return sum(1 for _ in self.of_role(role))
