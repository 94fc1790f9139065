"""How orders enter the venue: new ones, held ones that wait for their family's last leg, and modifies."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import attrs

from protocol.exchange import oca
from protocol.exchange.account import Accounts
from protocol.exchange.book import Book, BookOrder, OrderRecord
from protocol.exchange.happenings import (
    OrderAccepted,
    OrderModified,
    OrderRejected,
    Status,
    VenueOrder,
)
from protocol.exchange.matching import Matching
from protocol.exchange.order_checks import (
    Refusal,
    check_modify,
    check_order,
    good_till,
    invalid,
    rejected,
)
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import Contract, Order
from protocol.values import PriceGrid


class Intake:
    """Judges what clients send and hands what is good to the matching core."""

    def __init__(self, settings: VenueSettings, book: Book, accounts: Accounts, matching: Matching) -> None:
        self._settings = settings
        self._book = book
        self._accounts = accounts
        self._matching = matching
        self._grid = PriceGrid.of(settings.default_grid)

    def place(
        self, at: datetime, client_id: int, order_id: int, contract: Contract, order: Order
    ) -> BookOrder | None:
        """A new order, or a modify of the client's live order of that id. The order, if there is one now."""
        order = attrs.evolve(
            order, tif=order.tif or "DAY", account=order.account or self._settings.accounts[0].name
        )
        known = self._book.find(client_id, order_id)
        if known is not None and known.now.live:
            return self._modify(at, known, contract, order)
        if known is not None and known.view.status is Status.API_PENDING:
            return self._replace_held(at, known, contract, order)
        refusal = self._check_id(known, client_id, order_id) or self._check_new(client_id, contract, order)
        if refusal is not None and not refusal.inactive:
            self._refuse(at, client_id, order_id, refusal, None)
            return None
        new = self._book.add(self._new_record(client_id, order_id, contract, order))
        if refusal is not None:
            self._reject(at, new, refusal)
        elif order.transmit:
            self._release(at, new)
        return new

    # --- new orders -------------------------------------------------------------------------------

    def _check_id(self, known: BookOrder | None, client_id: int, order_id: int) -> Refusal | None:
        if known is not None and known.view.status is Status.FILLED:
            return Refusal(104, "Cannot modify a filled order.")
        if known is not None or order_id <= self._book.largest_order_id(client_id):
            return Refusal(103, "Duplicate order id")
        return None

    def _check_new(self, client_id: int, contract: Contract, order: Order) -> Refusal | None:
        if order.account not in self._accounts.names:
            return invalid(f"Invalid account code '{order.account}'.")
        refusal = check_order(order, self._grid, self._settings.zone)
        if refusal is not None:
            return refusal
        if order.parent_id:
            return self._check_parent(client_id, contract, order)
        return self._check_crowd(contract, order) or self._check_funds(contract, order)

    def _check_parent(self, client_id: int, contract: Contract, order: Order) -> Refusal | None:
        parent = self._book.find(client_id, order.parent_id)
        if parent is None:
            return Refusal(135, f"Can't find order with id ={order.parent_id}")
        if parent.view.contract.symbol != contract.symbol or parent.view.account != order.account:
            return invalid("A child order must be on the contract and account of its parent")
        if parent.view.status in (Status.CANCELLED, Status.INACTIVE):
            return rejected("Parent order is being cancelled.")
        return None

    def _check_crowd(self, contract: Contract, order: Order) -> Refusal | None:
        working = sum(
            other.view.order.action == order.action
            and other.view.account == order.account
            and not other.now.waits_for_parent
            for other in self._book.live_of(contract.symbol)
        )
        if working < self._settings.max_working_per_side:
            return None
        return rejected(
            f"The maximum of {self._settings.max_working_per_side} working orders "
            "on one side of this contract is reached."
        )

    def _check_funds(self, contract: Contract, order: Order) -> Refusal | None:
        multiple, quote = self._settings.buying_power_multiple, self._matching.quotes.get(contract.symbol)
        price = quote.mark() if quote is not None else None
        if multiple is None or price is None:
            return None
        books = self._accounts.books(order.account, self._matching.mark)
        held = self._accounts.quantity(order.account, contract.symbol)
        signed = int(order.total_quantity) * (1 if order.action == "BUY" else -1)
        growth = (abs(held + signed) - abs(held)) * price
        if growth <= 0 or books.gross_position_value + growth <= multiple * books.net_liquidation:
            return None
        return rejected("Your account has insufficient buying power for this order.")

    def _new_record(self, client_id: int, order_id: int, contract: Contract, order: Order) -> OrderRecord:
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
            member.now = self._matching.standing(attrs.evolve(member.now, view=view))
            self._book.enlist(member)
            self._matching.happened.append(OrderAccepted(at, member.view))
        for member in released:
            parent = self._parent(member)
            if parent is not None and parent.view.filled and member.now.waits_for_parent:
                self._matching.feed_children(at, parent, parent.view.filled)
            elif member.now.live and not member.now.waits_for_parent:
                self._matching.settle(at, member)

    # --- modifies ---------------------------------------------------------------------------------

    def _replace_held(self, at: datetime, held: BookOrder, contract: Contract, order: Order) -> BookOrder:
        refusal = check_modify(held.now, contract, order) or check_order(
            order, self._grid, self._settings.zone
        )
        if refusal is not None:
            self._refuse(at, held.view.client_id, held.view.order_id, refusal, None)
            return held
        self._change(held, order)
        if order.transmit:
            self._release(at, held)
        return held

    def _modify(self, at: datetime, live: BookOrder, contract: Contract, order: Order) -> BookOrder:
        """Change a live order in place: permanent id, OCA group and what has executed stay.

        The new total includes what has executed. A total of no more than that completes the order as
        Filled; its OCA siblings stay, since nothing has traded.
        """
        refusal = check_modify(live.now, contract, order) or check_order(
            order, self._grid, self._settings.zone
        )
        if refusal is not None:
            self._refuse(at, live.view.client_id, live.view.order_id, refusal, live.view)
            return live
        self._change(live, order)
        if live.view.filled and live.now.total <= live.view.filled:
            self._complete(at, live)
            return live
        live.now = self._matching.standing(live.now)
        self._matching.happened.append(OrderModified(at, live.view))
        self._matching.settle(at, live)
        return live

    def _change(self, changed: BookOrder, wanted: Order) -> None:
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
        )
        quantity, parent = int(order.total_quantity), self._parent(changed)
        resized = quantity != now.total and not now.waits_for_parent
        asleep = now.waits_for_parent and parent is not None
        changed.now = attrs.evolve(
            now,
            view=attrs.evolve(now.view, order=order),
            asked=quantity if parent is None or asleep else now.asked,
            parent_quantity=parent.now.total if asleep and parent is not None else now.parent_quantity,
            sized_by_owner=now.sized_by_owner or resized,
            triggered=now.triggered and order.order_type == old.order_type,
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
