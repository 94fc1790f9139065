"""The order book of the venue: every order it ever took, and where to find each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal

import attrs

from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import Status, VenueOrder
from protocol.exchange.order_kinds import OrderKind, Trigger, auction_of, kind_of
from protocol.exchange.triggers import method_for

TERMINAL = frozenset({Status.FILLED, Status.CANCELLED, Status.INACTIVE})

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
    waits_until: datetime | None = None
    """Its good-after time, while that is still to come."""
    locate_until: datetime | None = None
    """Shares to sell short are being located until then."""
    opening_due: bool = False
    """The opening that it is good at has come: the bell has rung, the first trade has not printed."""
    triggered: bool = False
    near: bool = False
    """The last instant was the first of the two that a double trigger method needs."""
    own_limit: float | None = None
    """A limit that the venue has set itself: of a protected order, or of what a market-to-limit left."""
    asked_trail_stop: float | None = None
    """The first stop price of a trailing order as its owner gave it; the present one is in `view`."""
    value: Decimal = Decimal(0)
    """Traded so far: prices times quantity, without a multiplier."""
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
    def kind(self) -> OrderKind:
        return kind_of(self.view.order)

    @property
    def waits_for_trigger(self) -> bool:
        return not self.triggered and self.kind.trigger is not Trigger.NONE

    @property
    def sleeps(self) -> bool:
        """It waits for something else than a price: its parent, its time, or shares to borrow."""
        return self.waits_for_parent or self.waits_until is not None or self.locate_until is not None

    @property
    def stop_price(self) -> float | None:
        """The price that elects it; None for a trailing stop that has not seen the market yet."""
        order = self.view.order
        return order.trail_stop_price if self.kind.trails else order.aux_price

    @property
    def limit_price(self) -> float | None:
        """The price it will not trade beyond; None for a market order and an elected stop."""
        if self.kind.limit:
            return self.view.order.lmt_price
        return self.own_limit


class BookOrder:
    """The place of one order in the book: `now` is replaced by each change, so no reference goes stale.

    What every tick asks is kept beside it as plain values.
    """

    __slots__ = (
        "_now", "all_hours", "all_or_none", "auction", "awaits", "is_buy", "key", "limit_price", "method",
        "min_fill", "peg", "print_limit", "rises", "stop_price", "trails", "works",
    )  # fmt: skip

    def __init__(self, record: OrderRecord) -> None:
        self.key = contract_key(record.view.contract)
        self.limit_price: float | None = NO_PRICE[record.is_buy]
        """The price it does not trade beyond now; that of a pegged order is set by the market."""
        self.print_limit: float | None = self.limit_price
        """The same, as it was when the trade of this instant printed."""
        self.now = record

    @property
    def now(self) -> OrderRecord:
        return self._now

    @now.setter
    def now(self, record: OrderRecord) -> None:
        self._now = record
        order, kind = record.view.order, record.kind
        self.is_buy = record.is_buy
        self.auction = auction_of(order)
        """The auction it is for; at all other times it does not trade."""
        self.peg = kind.peg
        if kind.peg is None:
            self.limit_price = self.print_limit = record.limit_price
        self.awaits = record.live and record.waits_for_trigger and not record.sleeps
        """Awake, and waiting to be elected."""
        self.stop_price = record.stop_price if self.awaits else None
        self.trails = self.awaits and kind.trails
        self.rises = record.is_buy is (kind.trigger is not Trigger.TOUCH)
        """The market must rise to the stop price to elect it."""
        self.method = method_for(order.trigger_method, record.view.contract.sec_type)
        self.all_hours = order.outside_rth and order.order_type != "MKT"
        """IBKR ignores `outsideRth` on a market order."""
        self.all_or_none = order.all_or_none or order.tif == "FOK"
        self.min_fill = order.min_qty if order.min_qty and record.view.filled < order.min_qty else 0
        """The least that its next execution must have."""
        self.works = record.view.status is Status.SUBMITTED
        """Free to trade as soon as the price is right."""

    @property
    def view(self) -> VenueOrder:
        return self._now.view

    @property
    def perm_id(self) -> int:
        return self._now.view.perm_id


NO_PRICE = {True: 0.0, False: math.inf}
"""By whether it buys: the limit at which a pegged order trades with nobody."""


@attrs.frozen
class Completion:
    """A terminal order: when it ended, as what, and why ("" when it filled or its owner cancelled it)."""

    at: datetime
    order: VenueOrder
    reason: str


class Book:
    """Orders by permanent id, by owner, by parent and, while live, by contract and by OCA group.

    Whatever it lists is ordered by permanent id, so that a restored book behaves like the one it was.
    """

    def __init__(
        self,
        records: Iterable[OrderRecord] = (),
        next_perm_id: int = FIRST_PERM_ID,
        spent_groups: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.next_perm_id = next_perm_id
        self.spent_groups = dict.fromkeys(spent_groups)
        """OCA groups (account and name) of which a member has filled completely: closed for good."""
        self._by_perm: dict[int, BookOrder] = {}
        self._by_owner: dict[tuple[int, int], BookOrder] = {}
        self._twins: dict[tuple[int, int], list[BookOrder]] = {}
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
        if view.order_id:
            # Manual orders have no id. A modify that went astray leaves a second order of the same id, and
            # requests reach the first while it lives.
            owner = (view.client_id, view.order_id)
            if self._by_owner.setdefault(owner, order) is not order:
                self._twins.setdefault(owner, []).append(order)
        self._largest_id[view.client_id] = max(view.order_id, self._largest_id.get(view.client_id, 0))
        if view.parent_perm_id:
            self._children.setdefault(view.parent_perm_id, []).append(order)
        if record.live:
            self.enlist(order)
        return order

    def enlist(self, order: BookOrder) -> None:
        """The order is live from now on: ticks of its contract concern it."""
        view = order.view
        self._live.setdefault(order.key, {})[view.perm_id] = order
        self._ranked.pop(order.key, None)
        if view.order.oca_group:
            self._groups.setdefault((view.account, view.order.oca_group), {})[view.perm_id] = order

    def retire(self, order: BookOrder) -> None:
        """The order is terminal from now on."""
        view = order.view
        self._live.get(order.key, {}).pop(view.perm_id, None)
        self._ranked.pop(order.key, None)
        group = self._groups.get((view.account, view.order.oca_group), {})
        group.pop(view.perm_id, None)
        if not group:
            self._groups.pop((view.account, view.order.oca_group), None)

    def leave_group(self, order: BookOrder) -> None:
        """The order has no OCA siblings any more, whatever is shown of it."""
        group = self._groups.get((order.view.account, order.view.order.oca_group), {})
        group.pop(order.perm_id, None)
        if not group:
            self._groups.pop((order.view.account, order.view.order.oca_group), None)

    def bind(self, order: BookOrder, order_id: int) -> None:
        """An order without an id has this one from now on."""
        now = order.now
        order.now = attrs.evolve(now, view=attrs.evolve(now.view, order_id=order_id))
        client_id = now.view.client_id
        self._by_owner[client_id, order_id] = order
        self._largest_id[client_id] = max(order_id, self._largest_id.get(client_id, 0))

    def forget_held(self) -> None:
        """Orders that were never transmitted are gone, and their ids are free again."""
        held = [order for order in self if order.view.status is Status.API_PENDING]
        for order in held:
            del self._by_perm[order.perm_id]
            del self._by_owner[order.view.client_id, order.view.order_id]
            if order.view.parent_perm_id:
                self._children[order.view.parent_perm_id].remove(order)
        self._largest_id = {}
        for order in self:
            client_id, order_id = order.view.client_id, order.view.order_id
            self._largest_id[client_id] = max(order_id, self._largest_id.get(client_id, 0))

    def find(self, client_id: int, order_id: int) -> BookOrder | None:
        found = self._by_owner.get((client_id, order_id))
        if found is not None and self._twins and found.view.status in TERMINAL:
            twins = self._twins.get((client_id, order_id), ())
            return next((twin for twin in twins if twin.view.status not in TERMINAL), found)
        return found

    def order(self, perm_id: int) -> BookOrder:
        return self._by_perm[perm_id]

    def live_of(self, key: str) -> tuple[BookOrder, ...]:
        """The live orders of a contract, by permanent id."""
        ranked = self._ranked.get(key)
        if ranked is None:
            ranked = self._ranked[key] = tuple(_by_perm_id(self._live.get(key)))
        return ranked

    def live(self) -> list[BookOrder]:
        """Every live order, by permanent id."""
        everywhere = (order for orders in self._live.values() for order in orders.values())
        return sorted(everywhere, key=lambda order: order.perm_id)

    def children(self, parent: BookOrder) -> list[BookOrder]:
        """Those that are not terminal, untransmitted ones included."""
        children = self._children.get(parent.perm_id, ())
        return [child for child in children if child.view.status not in TERMINAL]

    def elder(self, child: BookOrder) -> int:
        """What the parent's elder children of the same kind, stops or others, asked for."""
        children = self._children.get(child.view.parent_perm_id, ())
        before = itertools.takewhile(lambda other: other is not child, children)
        stops = child.now.kind.trigger is not Trigger.NONE
        return sum(
            other.now.asked
            for other in before
            if other.is_buy is child.is_buy and (other.now.kind.trigger is not Trigger.NONE) is stops
        )

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
