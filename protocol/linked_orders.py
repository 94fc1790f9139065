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
from protocol.trade_plan import TradePlan, Tranche, split
from protocol.values import MAIN, OrderRef, OrderType, Purpose, Side


@attrs.frozen
class Closing:
    """Why the trade is being closed, since when, and what to enter once it is flat."""

    reason: str
    since: datetime
    reverse_to: Side | None = None
    signal_id: str = ""
    rule: str = ""


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
    commission_before: Decimal = Decimal(0)
    orders: tuple[Order, ...] = ()
    closing: Closing | None = None
    flat_since: datetime | None = None
    """Since when the position has been zero after having been open."""
    concluded_by: str = ""
    """Role of the order whose execution made the position flat."""
    plan: TradePlan = TradePlan()
    average: Decimal = Decimal(0)
    """Average entry of what is held, or was held last."""
    besides: int = 0
    """Signed shares that somebody else held when it began: they are not its own."""
    hedges: tuple[str, ...] = ()
    """Symbols that were asked to hedge it."""
    ratchet: Decimal | None = None
    """The price that the trade's own stop has been moved to by trailing, breakeven or hand: it is never
    loosened below it (above it, for a short)."""

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

    def next_revision(self, role: str) -> int:
        return sum(1 for _ in self.of_role(role))

    # --- entries ----------------------------------------------------------------------------------

    @property
    def live_entries(self) -> tuple[Order, ...]:
        return tuple(order for order in self.orders if order.live and order.purpose is Purpose.ENTRY)

    @property
    def opening(self) -> bool:
        """Whether the main entry still lives."""
        return any(order.live and order.role == MAIN for order in self.orders)

    @property
    def entering(self) -> bool:
        """Whether an order that is about to enlarge the position lives: the entry, or a market addition.

        An addition that rests at its limit is none: it may never fill, and exits cover what there is.
        """
        return any(
            order.live
            and order.purpose is Purpose.ENTRY
            and (order.role == MAIN or order.spec.type is OrderType.MARKET)
            for order in self.orders
        )

    # --- exits ------------------------------------------------------------------------------------

    @property
    def tranches(self) -> tuple[Tranche, ...]:
        return self.plan.tranches or (Tranche(target_distance=self.target_distance),)

    def shares(self, position: int) -> tuple[int, ...]:
        """How many of `position` shares (counted in the trade's direction) the exits of each tranche cover.

        Each tranche has its part of all that was entered, less what its own exits have executed. They
        always add up to the position: where a tranche gave more than it had, the others make up for it.
        """
        tranches = self.tranches
        if len(tranches) == 1:
            return (position,)
        gone = [0] * len(tranches)
        for order in self.orders:
            if order.purpose is not Purpose.ENTRY and order.filled:
                gone[order.spec.index] += order.filled
        entered = position + sum(gone)
        taken: list[int] = []
        for tranche in tranches:
            taken.append(min(tranche.fixed or 0, entered - sum(taken)))
        free = [tranche.part if tranche.fixed is None else Decimal(0) for tranche in tranches]
        parts = [a + b for a, b in zip(_divided(entered - sum(taken), free), taken, strict=True)]
        left = [part - out for part, out in zip(parts, gone, strict=True)]
        for index, shares in enumerate(left):
            if shares < 0:
                left[index] = 0
                for other in sorted(range(len(left)), key=lambda i: -left[i]):
                    given = min(max(left[other], 0), -shares)
                    left[other] -= given
                    shares += given
        return tuple(left)

    def exit(self, purpose: Purpose, index: int) -> Order | None:
        """The newest stop or target of a tranche: the one that counts, live or not."""
        found = None
        for order in self.orders:
            if order.purpose is purpose and order.spec.index == index:
                found = order
        return found

    @property
    def live_exits(self) -> tuple[Order, ...]:
        return tuple(order for order in self.orders if order.live and order.purpose is not Purpose.ENTRY)

    def leaving(self, index: int = 0, besides: OrderRef | None = None) -> bool:
        """Whether more of a tranche's exits has executed than we know: the position is smaller than it seems.

        Of `besides` that does not matter: its total counts what it has executed, known or not.
        """
        return any(
            order.awaits_executions
            and order.purpose is not Purpose.ENTRY
            and order.spec.index == index
            and order.ref != besides
            for order in self.orders
        )

    @property
    def settled(self) -> bool:
        """Whether no order of the trade lives any more."""
        return not any(order.live for order in self.orders)


def _divided(quantity: int, parts: list[Decimal]) -> tuple[int, ...]:
    """`split` over the parts that are not zero; the others get nothing."""
    shares = iter(split(max(quantity, 0), [part for part in parts if part]))
    return tuple(next(shares) if part else 0 for part in parts)
