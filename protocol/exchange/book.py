"""The order book of the venue: every order it ever took, and where to find each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

import attrs

from protocol.exchange.happenings import Status, VenueOrder

TERMINAL = frozenset({Status.FILLED, Status.CANCELLED, Status.INACTIVE})
STOPS = frozenset({"STP", "STP LMT"})
LIMITS = frozenset({"LMT", "STP LMT"})

FIRST_PERM_ID = 1_000_000_001
"""TWS' permanent ids have nine or ten digits; they must stay below 2**31 for old clients."""


@attrs.frozen(kw_only=True)
class OrderRecord:
    """All that the venue knows about one order: what it shows (`view`), and what it keeps to itself."""

    view: VenueOrder
    asked: int
    """The quantity its owner asked for, before the venue scaled a child to its parent's fills."""
    parent_quantity: int = 0
    """The parent's quantity that `asked` was sized for: a child's share is in proportion to it."""
    waits_for_parent: bool = False
    sized_by_owner: bool = False
    """The owner changed the quantity while the order worked; the venue no longer derives it from `asked`."""
    triggered: bool = False
    value: Decimal = Decimal(0)
    """Traded so far, in dollars."""
    commission: Decimal = Decimal(0)
    good_till: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str = ""

    @property
    def total(self) -> int:
        return int(self.view.order.total_quantity)

    @property
    def live(self) -> bool:
        """Taken by the venue and not terminal; an order that is not transmitted is not live."""
        return self.view.status is not Status.API_PENDING and self.view.status not in TERMINAL

    @property
    def is_buy(self) -> bool:
        return self.view.order.action == "BUY"

    @property
    def waits_for_trigger(self) -> bool:
        return self.view.order.order_type in STOPS and not self.triggered

    @property
    def limit_price(self) -> float | None:
        """The price it will not trade beyond; None for a market order and an elected stop."""
        return self.view.order.lmt_price if self.view.order.order_type in LIMITS else None


class BookOrder:
    """The place of one order in the book: `now` is replaced by each change, so no reference goes stale.

    What every tick asks is kept beside it as plain values.
    """

    __slots__ = ("_now", "is_buy", "limit_price", "stop_price", "works")

    def __init__(self, record: OrderRecord) -> None:
        self.now = record

    @property
    def now(self) -> OrderRecord:
        return self._now

    @now.setter
    def now(self, record: OrderRecord) -> None:
        self._now = record
        self.is_buy = record.is_buy
        self.limit_price = record.limit_price
        awaits = record.live and record.waits_for_trigger and not record.waits_for_parent
        self.stop_price = record.view.order.aux_price if awaits else None
        """The price it waits for; None when it waits for none."""
        self.works = record.view.status is Status.SUBMITTED
        """Free to trade as soon as the price is right."""

    @property
    def view(self) -> VenueOrder:
        return self._now.view

    @property
    def perm_id(self) -> int:
        return self._now.view.perm_id


@attrs.frozen
class Completion:
    """A terminal order: when it ended, as what, and why ("" when it filled or its owner cancelled it)."""

    at: datetime
    order: VenueOrder
    reason: str


class Book:
    """Orders by permanent id, by owner, by parent and, while live, by symbol and by OCA group.

    Whatever it lists is ordered by permanent id, so that a restored book behaves like the one it was.
    """

    def __init__(self, records: Iterable[OrderRecord] = (), next_perm_id: int = FIRST_PERM_ID) -> None:
        self.next_perm_id = next_perm_id
        self._by_perm: dict[int, BookOrder] = {}
        self._by_owner: dict[tuple[int, int], BookOrder] = {}
        self._live: dict[str, dict[int, BookOrder]] = {}
        self._ranked: dict[str, tuple[BookOrder, ...]] = {}
        self._groups: dict[tuple[str, str], dict[int, BookOrder]] = {}
        self._children: dict[int, list[BookOrder]] = {}
        self._largest_id: dict[int, int] = {}
        for record in records:
            self.add(record)

    def __iter__(self) -> Iterator[BookOrder]:
        return iter(self._by_perm.values())

    def new_perm_id(self) -> int:
        self.next_perm_id += 1
        return self.next_perm_id - 1

    def add(self, record: OrderRecord) -> BookOrder:
        order, view = BookOrder(record), record.view
        self._by_perm[view.perm_id] = order
        self._by_owner[view.client_id, view.order_id] = order
        self._largest_id[view.client_id] = max(view.order_id, self._largest_id.get(view.client_id, 0))
        if view.parent_perm_id:
            self._children.setdefault(view.parent_perm_id, []).append(order)
        if record.live:
            self.enlist(order)
        return order

    def enlist(self, order: BookOrder) -> None:
        """The order is live from now on: ticks of its symbol concern it."""
        view = order.view
        self._live.setdefault(view.contract.symbol, {})[view.perm_id] = order
        self._ranked.pop(view.contract.symbol, None)
        if view.order.oca_group:
            self._groups.setdefault((view.account, view.order.oca_group), {})[view.perm_id] = order

    def retire(self, order: BookOrder) -> None:
        """The order is terminal from now on."""
        view = order.view
        self._live.get(view.contract.symbol, {}).pop(view.perm_id, None)
        self._ranked.pop(view.contract.symbol, None)
        group = self._groups.get((view.account, view.order.oca_group), {})
        group.pop(view.perm_id, None)
        if not group:
            self._groups.pop((view.account, view.order.oca_group), None)

    def find(self, client_id: int, order_id: int) -> BookOrder | None:
        return self._by_owner.get((client_id, order_id))

    def order(self, perm_id: int) -> BookOrder:
        return self._by_perm[perm_id]

    def live_of(self, symbol: str) -> tuple[BookOrder, ...]:
        ranked = self._ranked.get(symbol)
        if ranked is None:
            ranked = self._ranked[symbol] = tuple(_by_perm_id(self._live.get(symbol)))
        return ranked

    def live(self) -> list[BookOrder]:
        """Every live order, by permanent id."""
        everywhere = (order for orders in self._live.values() for order in orders.values())
        return sorted(everywhere, key=lambda order: order.perm_id)

    def children(self, parent: BookOrder) -> list[BookOrder]:
        """Those that are not terminal, untransmitted ones included."""
        children = self._children.get(parent.perm_id, ())
        return [child for child in children if child.view.status not in TERMINAL]

    def family(self, order: BookOrder) -> list[BookOrder]:
        """The order's topmost ancestor and all that descends from it, parents before children."""
        while order.view.parent_perm_id:
            order = self._by_perm[order.view.parent_perm_id]
        members = [order]
        for member in members:
            members += self._children.get(member.perm_id, ())
        return members

    def siblings(self, order: BookOrder) -> list[BookOrder]:
        """The other live members of its OCA group."""
        view = order.view
        members = self._groups.get((view.account, view.order.oca_group))
        return [other for other in _by_perm_id(members) if other is not order]

    def completions(self) -> tuple[Completion, ...]:
        """Terminal orders by when they ended."""
        ended = [
            Completion(order.now.ended_at, order.view, order.now.end_reason)
            for order in self
            if order.now.ended_at is not None
        ]
        return tuple(sorted(ended, key=lambda completion: (completion.at, completion.order.perm_id)))

    def largest_order_id(self, client_id: int) -> int:
        return self._largest_id.get(client_id, 0)


def _by_perm_id(orders: dict[int, BookOrder] | None) -> list[BookOrder]:
    return [orders[perm_id] for perm_id in sorted(orders)] if orders else []
