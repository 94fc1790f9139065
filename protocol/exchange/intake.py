"""How orders enter the venue: new ones, held ones that wait for their family's last leg, and modifies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs

from protocol.exchange import oca
from protocol.exchange.account import Accounts
from protocol.exchange.book import Book, BookOrder, OrderRecord
from protocol.exchange.contract_key import STOCK_TYPES, contract_key
from protocol.exchange.funds import Funds
from protocol.exchange.happenings import (
    OrderAccepted,
    OrderModified,
    OrderRejected,
    Status,
    VenueOrder,
)
from protocol.exchange.matching import Matching
from protocol.exchange.order_checks import (
    OCA_REVISION,
    Refusal,
    check_band,
    check_close,
    check_modify,
    check_order,
    good_till,
    invalid,
    rejected,
)
from protocol.exchange.order_kinds import KINDS, SPELLINGS, TRAILING_PARENTS
from protocol.exchange.trailing import carried_over
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import Contract, Order

ALL_STOCKS = "*"
NEVER = datetime.max.replace(tzinfo=UTC)


class Intake:
    """Judges what clients send and hands what is good to the matching core."""

    def __init__(self, settings: VenueSettings, book: Book, accounts: Accounts, matching: Matching) -> None:
        self._settings = settings
        self._book = book
        self._accounts = accounts
        self._matching = matching
        self._funds = Funds(settings, book, accounts, matching.mark)

    def place(
        self, at: datetime, client_id: int, order_id: int, contract: Contract, order: Order
    ) -> BookOrder | None:
        """A new order, or a modify of the client's live order of that id. The order, if there is one now."""
        order = self._normal(order)
        known = self._book.find(client_id, order_id)
        if known is not None and known.now.live:
            return self._modify(at, known, contract, order)
        if known is not None and known.view.status is Status.API_PENDING:
            return self._replace_held(at, known, contract, order)
        refusal = self._check_id(known, client_id, order_id) or self._check_new(
            at, client_id, contract, order
        )
        if refusal is not None and not refusal.inactive:
            self._refuse(at, client_id, order_id, refusal, None)
            return None
        new = self._book.add(self._new_record(at, client_id, order_id, contract, order))
        if refusal is not None:
            self._reject(at, new, refusal)
        elif order.transmit:
            self._release(at, new)
        return new

    def judge(self, at: datetime, client_id: int, contract: Contract, order: Order) -> Refusal | None:
        """What would be said against a new order, which is not placed."""
        return self._check_new(at, client_id, contract, attrs.evolve(self._normal(order), what_if=False))

    def _normal(self, order: Order) -> Order:
        name = order.order_type.upper()
        return attrs.evolve(
            order,
            order_type=SPELLINGS.get(name, name),
            tif=order.tif or "DAY",
            account=order.account or self._settings.accounts[0].name,
            trail_stop_price=order.trail_stop_price or None,
        )

    # --- new orders -------------------------------------------------------------------------------

    def _check_id(self, known: BookOrder | None, client_id: int, order_id: int) -> Refusal | None:
        if known is not None and known.view.status is Status.FILLED:
            return Refusal(104, "Cannot modify a filled order.")
        if known is not None or order_id <= self._book.largest_order_id(client_id):
            return Refusal(103, "Duplicate order id")
        return None

    def _check_new(self, at: datetime, client_id: int, contract: Contract, order: Order) -> Refusal | None:
        if order.account not in self._accounts.names:
            return invalid(f"Invalid account code '{order.account}'.")
        refusal = self._check_terms(at, contract, order)
        if refusal is not None:
            return refusal
        if (order.account, order.oca_group) in self._book.spent_groups:
            return OCA_REVISION
        if order.parent_id:
            return self._check_parent(client_id, contract, order)
        return self._check_crowd(contract, order) or self._check_funds(contract, order)

    def _check_terms(self, at: datetime, contract: Contract, order: Order) -> Refusal | None:
        """What a new order and a modify must both be: sound in itself, in time, and near the market."""
        key, settings = contract_key(contract), self._settings
        refusal = check_order(order, contract, self._matching.grid_of(key, contract), settings.zone)
        if refusal is not None:
            return refusal
        quote = self._matching.quotes.get(key)
        return check_close(at, order, settings.closing_cutoff_s) or check_band(
            order, None if quote is None else quote.tick(), settings.price_band
        )

    def _check_parent(self, client_id: int, contract: Contract, order: Order) -> Refusal | None:
        parent = self._book.find(client_id, order.parent_id)
        if parent is None:
            return Refusal(135, f"Can't find order with id ={order.parent_id}")
        if parent.key != contract_key(contract) or parent.view.account != order.account:
            return invalid("A child order must be on the contract and account of its parent")
        if not _may_trail(order, parent):
            return TRAILING_CHILD
        if not order.oca_group and (order.account, str(parent.perm_id)) in self._book.spent_groups:
            return OCA_REVISION
        if parent.view.status in (Status.CANCELLED, Status.INACTIVE):
            return rejected("Parent order is being cancelled.")
        return None

    def _check_crowd(self, contract: Contract, order: Order) -> Refusal | None:
        working = sum(
            other.view.order.action == order.action
            and other.view.account == order.account
            and not other.now.waits_for_parent
            for other in self._book.live_of(contract_key(contract))
        )
        if working < self._settings.max_working_per_side:
            return None
        return rejected(
            f"The maximum of {self._settings.max_working_per_side} working orders "
            "on one side of this contract is reached."
        )

    def _check_funds(self, contract: Contract, order: Order) -> Refusal | None:
        refusal = self._funds.refusal(contract, order)
        return None if refusal is None else rejected(refusal)

    def _new_record(
        self, at: datetime, client_id: int, order_id: int, contract: Contract, order: Order
    ) -> OrderRecord:
        perm_id = self._book.new_perm_id()
        parent = self._book.find(client_id, order.parent_id) if order.parent_id else None
        group = order.oca_group or (str(parent.perm_id) if parent else "")
        order = attrs.evolve(
            order,
            oca_group=group,
            oca_type=(order.oca_type or oca.DEFAULT_TYPE) if group else 0,
            client_id=client_id,
            perm_id=perm_id,
        )
        view = VenueOrder(
            account=order.account,
            client_id=client_id,
            order_id=order_id,
            perm_id=perm_id,
            parent_perm_id=parent.perm_id if parent else 0,
            contract=contract,
            order=order,
            status=Status.API_PENDING,
        )
        return OrderRecord(
            view=view,
            asked=int(order.total_quantity),
            parent_quantity=parent.now.total if parent else 0,
            waits_for_parent=parent is not None,
            waits_until=self._beginning(at, order),
            asked_trail_stop=order.trail_stop_price,
            good_till=self._expiry(order),
        )

    def _release(self, at: datetime, order: BookOrder) -> None:
        """The last leg transmits: all of its family that was held back is taken, parents first."""
        released = [o for o in self._book.family(order) if o.view.status is Status.API_PENDING]
        for member in released:
            parent = self._parent(member)
            if parent is not None:
                member.now = attrs.evolve(member.now, parent_quantity=parent.now.total)
            view = attrs.evolve(member.view, order=attrs.evolve(member.view.order, transmit=True))
            taken = attrs.evolve(member.now, view=view, locate_until=self._located(at, member))
            member.now = self._matching.standing(taken)
            self._matching.aim(member)
            self._book.enlist(member)
            self._matching.agenda.note(member)
            self._matching.happened.append(OrderAccepted(at, member.view))
        for member in released:
            parent = self._parent(member)
            if parent is not None and parent.view.filled and member.now.waits_for_parent:
                self._matching.feed_children(at, parent, parent.view.filled)
            elif member.now.live and not member.now.waits_for_parent:
                self._matching.settle(at, member)

    # --- modifies ---------------------------------------------------------------------------------

    def _replace_held(self, at: datetime, held: BookOrder, contract: Contract, order: Order) -> BookOrder:
        refusal = self._check_change(at, held, contract, order)
        if refusal is not None:
            self._refuse(at, held.view.client_id, held.view.order_id, refusal, None)
            return held
        self._change(at, held, order)
        if order.transmit:
            self._release(at, held)
        return held

    def _modify(self, at: datetime, live: BookOrder, contract: Contract, order: Order) -> BookOrder:
        """Change a live order in place: permanent id, OCA group and what has executed stay.

        The new total includes what has executed. A total of no more than that completes the order as
        Filled; its OCA siblings stay, since nothing has traded.
        """
        refusal = self._check_change(at, live, contract, order) or self._check_growth(live, order)
        if refusal is not None:
            self._refuse(at, live.view.client_id, live.view.order_id, refusal, live.view)
            return live
        self._change(at, live, order)
        if live.view.filled and live.now.total <= live.view.filled:
            self._complete(at, live)
            return live
        live.now = self._matching.standing(live.now)
        self._matching.aim(live)
        self._matching.agenda.note(live)
        self._matching.happened.append(OrderModified(at, live.view))
        self._matching.settle(at, live)
        return live

    def _check_growth(self, live: BookOrder, order: Order) -> Refusal | None:
        """A larger total has to be carried like a new order; a child's has its parent behind it."""
        if order.total_quantity <= live.now.total or live.view.parent_perm_id:
            return None
        rest = attrs.evolve(order, total_quantity=order.total_quantity - live.view.filled)
        refusal = self._funds.refusal(live.view.contract, rest, instead_of=live.view.perm_id)
        return None if refusal is None else rejected(refusal)

    def _check_change(
        self, at: datetime, changed: BookOrder, contract: Contract, order: Order
    ) -> Refusal | None:
        refusal = check_modify(changed.now, contract, order) or self._check_terms(
            at, changed.view.contract, order
        )
        if refusal is None and not _may_trail(order, self._parent(changed)):
            return TRAILING_CHILD
        return refusal

    def _change(self, at: datetime, changed: BookOrder, wanted: Order) -> None:
        """Put the wanted parameters in place, keeping what a modify cannot change."""
        now, old = changed.now, changed.view.order
        order = attrs.evolve(
            wanted,
            oca_group=old.oca_group,
            oca_type=old.oca_type,
            parent_id=old.parent_id,
            order_ref=wanted.order_ref or old.order_ref,
            transmit=True,
            client_id=old.client_id,
            perm_id=old.perm_id,
            trail_stop_price=carried_over(now, wanted),
        )
        same_type = order.order_type == old.order_type
        quantity, parent = int(order.total_quantity), self._parent(changed)
        resized = quantity != now.total and not now.waits_for_parent
        asleep = now.waits_for_parent and parent is not None
        changed.now = attrs.evolve(
            now,
            view=attrs.evolve(now.view, order=order),
            asked=quantity if parent is None or asleep else now.asked,
            parent_quantity=parent.now.total if asleep and parent is not None else now.parent_quantity,
            sized_by_owner=now.sized_by_owner or resized,
            triggered=now.triggered and same_type,
            near=False,
            opening_due=now.opening_due and order.tif == old.tif,
            own_limit=now.own_limit if same_type else None,
            asked_trail_stop=wanted.trail_stop_price,
            waits_until=self._beginning(at, order),
            good_till=self._expiry(order),
        )

    def _complete(self, at: datetime, order: BookOrder) -> None:
        total = Decimal(order.view.filled)
        view = attrs.evolve(
            order.view,
            order=attrs.evolve(order.view.order, total_quantity=total),
            status=Status.FILLED,
            why_held="",
        )
        order.now = attrs.evolve(order.now, view=view, ended_at=at)
        self._book.retire(order)
        self._matching.happened.append(OrderModified(at, view))
        self._matching.part_from_children(at, order)

    # --- small things -----------------------------------------------------------------------------

    def _parent(self, order: BookOrder) -> BookOrder | None:
        return self._book.order(order.view.parent_perm_id) if order.view.parent_perm_id else None

    def _expiry(self, order: Order) -> datetime | None:
        return good_till(order.good_till_date, self._settings.zone) if order.tif == "GTD" else None

    def _beginning(self, at: datetime, order: Order) -> datetime | None:
        """Its good-after time, if that is still to come."""
        moment = good_till(order.good_after_time, self._settings.zone)
        return moment if moment is not None and moment > at else None

    def _located(self, at: datetime, order: BookOrder) -> datetime | None:
        """Until when shares are sought for a short sale that needs them; None for any other order."""
        view, hard = order.view, self._settings.short_locate
        if not hard or order.is_buy or view.parent_perm_id or view.contract.sec_type not in STOCK_TYPES:
            return None
        if order.key not in hard and ALL_STOCKS not in hard:
            return None
        if self._accounts.quantity(view.account, order.key) >= view.remaining:
            return None
        delay_s = self._settings.locate_delay_s
        return NEVER if delay_s is None else at + timedelta(seconds=delay_s)

    def _refuse(
        self, at: datetime, client_id: int, order_id: int, refusal: Refusal, order: VenueOrder | None
    ) -> None:
        self._matching.happened.append(
            OrderRejected(at, client_id, order_id, refusal.code, refusal.text, order)
        )

    def _reject(self, at: datetime, order: BookOrder, refusal: Refusal) -> None:
        """The order came to be only to be shown as Inactive; its held children never will."""
        view = attrs.evolve(order.view, status=Status.INACTIVE)
        order.now = attrs.evolve(order.now, view=view, ended_at=at, end_reason=refusal.text)
        self._book.retire(order)
        self._refuse(at, view.client_id, view.order_id, refusal, view)


def _may_trail(order: Order, parent: BookOrder | None) -> bool:
    """A trailing stop can be attached to a limit order only."""
    if parent is None or not KINDS[order.order_type].trails:
        return True
    return parent.view.order.order_type in TRAILING_PARENTS


TRAILING_CHILD = Refusal(328, "Trailing stop orders can be attached to limit or stop-limit orders only.")
