"""The simulated venue: an account, an order book and a matching core behind one small face.

`Venue` does no IO and reads no clock: every call says at which market time it happens, and `take()`
hands out what has happened since, in the order in which a real TWS tells it. The same calls always
give the same happenings. What it imitates, and how sure that is: `FIDELITY.md`.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from protocol.exchange.account import AccountBooks, AccountRecord, Accounts, VenuePosition
from protocol.exchange.account_figures import AccountFigures
from protocol.exchange.book import Book, Completion
from protocol.exchange.funds import Funds, MarginImpact
from protocol.exchange.happenings import (
    CommissionCharged,
    Happening,
    MarketTick,
    OrderChanged,
    OrderRejected,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.exchange.intake import Intake
from protocol.exchange.matching import Matching
from protocol.exchange.quotes import Quote
from protocol.exchange.snapshot import GroupBlock, SpentGroup, VenueSnapshot
from protocol.exchange.venue_settings import AccountSettings, ChildActivation, VenueSettings
from protocol.tws.messages import Contract, Order
from protocol.values import PriceGrid

__all__ = ["AccountSettings", "ChildActivation", "Venue", "VenueSettings", "VenueSnapshot"]

BOUND = "bound to an API client"
"""Why a manual order has changed that has got an order id."""


class Venue:
    """Mutable like `h11.Connection`: feed it orders, ticks and time; drain it with `take()`."""

    def __init__(self, settings: VenueSettings) -> None:
        accounts = Accounts(AccountRecord(account.name, account.cash) for account in settings.accounts)
        self._open(settings, Book(), accounts)

    def _open(self, settings: VenueSettings, book: Book, accounts: Accounts) -> None:
        self.settings = settings
        self._book, self._accounts = book, accounts
        self._matching = Matching(settings, book, accounts)
        self._intake = Intake(settings, book, accounts, self._matching)
        self._funds = Funds(settings, book, accounts, self._matching.mark)
        self._zone = ZoneInfo(settings.zone)

    # --- what clients ask -------------------------------------------------------------------------

    def place(self, at: datetime, client_id: int, order_id: int, contract: Contract, order: Order) -> None:
        """A new order, or a modify when `order_id` is a live order of this client.

        Refusals are `OrderRejected` happenings: 103 used id, 104 filled, 105 side, contract or account
        differ, 110 off the grid, 135 unknown parent, 163 outside the price band, 201 rejected (Inactive),
        321 invalid, 328 a trailing child of the wrong parent, 343 bad time, 387 order type not offered,
        434 size, 10052 unknown time in force, 10244 cash quantity, 10326 another OCA group or one that has
        filled. Whether the contract exists is not asked here.
        """
        self.advance(at)
        self._intake.place(at, client_id, order_id, contract, order)
        self.advance(at)

    def cancel(self, at: datetime, client_id: int, order_id: int) -> None:
        """10147 for an id that is not this client's, 10148 for an order that has ended."""
        self.advance(at)
        order = self._book.find(client_id, order_id)
        if order is None:
            text = f"OrderId {order_id} that needs to be cancelled is not found."
            self._matching.happened.append(OrderRejected(at, client_id, order_id, 10147, text))
        elif order.now.live or order.view.status is Status.API_PENDING:
            self._matching.cancel(at, order, "", by_client=True)
        else:
            state = order.view.status.value
            text = f"OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {state}."
            self._matching.happened.append(OrderRejected(at, client_id, order_id, 10148, text))

    def global_cancel(self, at: datetime, client_id: int) -> None:
        """Cancel every live order of every client, as `reqGlobalCancel` does; `client_id` asked."""
        self.advance(at)
        for order in self._book.live():
            if order.now.live:
                self._matching.cancel(at, order, "", by_client=order.view.client_id == client_id)

    def judge(self, at: datetime, client_id: int, contract: Contract, order: Order) -> tuple[int, str] | None:
        """The code and text with which a new order would be refused; None when it would be taken."""
        refusal = self._intake.judge(at, client_id, contract, order)
        return None if refusal is None else (refusal.code, refusal.text)

    def bind(self, at: datetime, perm_id: int, order_id: int) -> None:
        """A live order without an order id, placed by hand, gets this one, which its client must not have
        used."""
        order = self._book.order(perm_id)
        self._book.bind(order, order_id)
        self._matching.happened.append(OrderChanged(at, order.view, BOUND))

    def forget_held(self) -> None:
        """Orders that were not transmitted are gone, as they are when TWS restarts; their ids are free."""
        self._book.forget_held()

    # --- market and time --------------------------------------------------------------------------

    def tick(self, tick: MarketTick) -> None:
        """Move the market of one contract (`tick.symbol` is its key) and let its orders meet it."""
        if self._matching.agenda.next_at is not None:
            self.advance(tick.at)
        self._matching.tick(tick)

    def advance(self, at: datetime) -> None:
        """Time has come to `at`: orders good till then are cancelled, orders good after it work."""
        for order in self._matching.agenda.take(at):
            self._matching.come_due(at, order)

    def set_session(self, at: datetime, *, is_open: bool) -> None:
        """Regular hours begin or end: outside them only `outside_rth` orders (never MKT) work.

        With the first opening of a date its profits begin to count from the prices of now.
        """
        if is_open:
            self._accounts.begin_day(at.astimezone(self._zone).date(), self._matching.mark)
        self._matching.set_session(at, is_open=is_open)

    def end_of_session(self, at: datetime) -> None:
        """The close: DAY orders are cancelled, and what was good at an opening that brought no trade; GTC
        and GTD orders stay."""
        for order in self._book.live():
            if not order.now.live:
                continue
            if order.view.order.tif == "DAY":
                self._matching.cancel(at, order, "The trading day is over.")
            elif order.now.opening_due:
                self._matching.cancel(at, order, "There was no opening auction for it.")

    def set_grid(self, key: str, grid: PriceGrid) -> None:
        """The prices at which a contract, by its key, can be quoted. Not part of a snapshot."""
        self._matching.set_grid(key, grid)

    def take(self) -> tuple[Happening, ...]:
        """What has happened since the last call, in order."""
        if not self._matching.happened:
            return ()
        happened = tuple(self._matching.happened)
        self._matching.happened.clear()
        return happened

    # --- what it knows ----------------------------------------------------------------------------

    @property
    def account_names(self) -> tuple[str, ...]:
        return self._accounts.names

    def open_orders(self, client_id: int | None = None) -> tuple[VenueOrder, ...]:
        """Live orders by permanent id, of one client or all; orders not transmitted are not among them."""
        live = (order.view for order in self._book.live())
        return tuple(view for view in live if client_id is None or view.client_id == client_id)

    def find(self, client_id: int, order_id: int) -> VenueOrder | None:
        """The order in whatever state; `API_PENDING` when it is not transmitted."""
        order = self._book.find(client_id, order_id)
        return None if order is None else order.view

    def by_perm_id(self, perm_id: int) -> VenueOrder:
        return self._book.order(perm_id).view

    def completed_orders(self) -> tuple[Completion, ...]:
        """Terminal orders, by when they ended."""
        return self._book.completions()

    def executions(self) -> tuple[VenueExecution, ...]:
        return tuple(self._matching.executions)

    def charge(self, exec_id: str) -> CommissionCharged:
        """The commission of an execution of this venue."""
        return self._matching.charges[exec_id]

    def commission_of(self, perm_id: int) -> Decimal:
        """What an order has cost so far."""
        return self._book.order(perm_id).now.commission

    def positions(self, account: str) -> tuple[VenuePosition, ...]:
        """Every position the account has held, flat ones too."""
        return self._accounts.positions(account, self._matching.mark)

    def held_key(self, account: str, con_id: int) -> str | None:
        """The key of the contract of an id that the account has held; None when it never did."""
        return self._accounts.held_key(account, con_id)

    def position(self, account: str, key: str) -> VenuePosition | None:
        """The position in one contract, by its key; None when there never was one."""
        return self._accounts.position(account, key, self._matching.mark)

    def account(self, account: str) -> AccountBooks:
        return self._accounts.books(account, self._matching.mark)

    def figures(self, account: str) -> AccountFigures:
        """The account under the margin rules."""
        return self._funds.figures(account, by_day=self._matching.session_open)

    def margin_impact(self, contract: Contract, order: Order) -> MarginImpact:
        """What an order of `order.account` would do to its margin, filled whole at its price."""
        return self._funds.impact(contract, order)

    def largest_order_id(self, client_id: int) -> int:
        """The largest id this client has given to an order that came to be; 0 when none did."""
        return self._book.largest_order_id(client_id)

    def quote(self, key: str) -> MarketTick | None:
        """The standing market of a contract: the last that each field was told to be."""
        quote = self._matching.quotes.get(key)
        return None if quote is None else quote.tick()

    @property
    def session_open(self) -> bool:
        return self._matching.session_open

    # --- survival ---------------------------------------------------------------------------------

    def snapshot(self) -> VenueSnapshot:
        """The whole venue as one value. RuntimeError while happenings wait to be taken: they would be lost
        with it."""
        if self._matching.happened:
            raise RuntimeError("take() what has happened before the venue is saved")
        accounts, positions = self._accounts.records()
        blocks = self._matching.blocks.items()
        return VenueSnapshot(
            next_perm_id=self._book.next_perm_id,
            session_open=self._matching.session_open,
            orders=tuple(order.now for order in self._book),
            executions=tuple(self._matching.executions),
            charges=tuple(self._matching.charges.values()),
            accounts=accounts,
            positions=positions,
            quotes=tuple(quote.record() for quote in self._matching.quotes.values()),
            blocks=tuple(GroupBlock(*key, perm_id, at) for key, (perm_id, at) in blocks),
            spent_groups=tuple(SpentGroup(*key) for key in self._book.spent_groups),
        )

    @classmethod
    def restore(cls, settings: VenueSettings, snapshot: VenueSnapshot) -> Venue:
        """The venue that `snapshot` was taken of; its accounts win over those of `settings`."""
        venue = cls.__new__(cls)
        groups = ((group.account, group.group) for group in snapshot.spent_groups)
        book = Book(snapshot.orders, snapshot.next_perm_id, groups)
        venue._open(settings, book, Accounts(snapshot.accounts, snapshot.positions))
        matching = venue._matching
        matching.session_open = snapshot.session_open
        matching.executions += snapshot.executions
        matching.charges.update({charge.exec_id: charge for charge in snapshot.charges})
        matching.quotes.update({q.tick.symbol: Quote.restored(q) for q in snapshot.quotes})
        matching.blocks.update({(b.account, b.group): (b.perm_id, b.at) for b in snapshot.blocks})
        for order in book.live():
            matching.agenda.note(order)
            quote = matching.quotes.get(order.key)
            if quote is not None:
                matching.peg(order, quote)
        return venue
