"""The matching core: what a tick, a placement or an activation does to the orders in the book.

Everything that happens is appended to `happened` in the order in which a real TWS tells it: an
execution, its commission, the position; then what follows from it for OCA siblings and bracket children.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import attrs

from protocol.exchange import brackets, oca, trading
from protocol.exchange.account import Accounts, order_commission, shown
from protocol.exchange.agenda import Agenda
from protocol.exchange.book import Book, BookOrder, OrderRecord
from protocol.exchange.contract_key import STOCK_TYPES
from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    Happening,
    MarketTick,
    OrderCancelled,
    OrderChanged,
    OrderTriggered,
    PositionChanged,
    Status,
    VenueExecution,
)
from protocol.exchange.order_kinds import Auction, auction_of
from protocol.exchange.quotes import Quote, offered, printed_through
from protocol.exchange.trailing import aimed, followed_by
from protocol.exchange.triggers import DOUBLES, counts, elects
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import Contract
from protocol.values import PriceGrid, exact

IMMEDIATE = frozenset({"IOC", "FOK"})


class Matching:
    """Mutable and deterministic; it never reads a clock, every call says when it happens."""

    def __init__(self, settings: VenueSettings, book: Book, accounts: Accounts) -> None:
        self.book = book
        self.accounts = accounts
        self.happened: list[Happening] = []
        self.session_open = True
        self.quotes: dict[str, Quote] = {}
        self.executions: list[VenueExecution] = []
        self.charges: dict[str, CommissionCharged] = {}
        self.blocks: dict[tuple[str, str], tuple[int, datetime]] = {}
        """The member of a blocking OCA group that traded last, and when."""
        self.agenda = Agenda(book)
        self._settings = settings
        self._participation = None if settings.participation == 1 else settings.participation
        self._slips = bool(settings.slippage_bps or settings.slippage_ticks)
        self._grids: dict[str, PriceGrid] = {}
        self._stock_grid, self._plain_grid = _default_grids(settings)

    # --- the market -------------------------------------------------------------------------------

    def tick(self, tick: MarketTick) -> None:
        quote = self.quotes.get(tick.symbol)
        if quote is None:
            quote = self.quotes[tick.symbol] = Quote(tick)
            quote.awaits_open = self.session_open
        quote.update(tick, self._settings.assumed_size, self._participation)
        orders = self.book.live_of(tick.symbol)
        if quote.awaits_open and quote.traded and self.session_open and not quote.halted:
            quote.awaits_open = False
            self._open(tick.at, quote, orders)
        if orders:
            self._meet(tick.at, quote, orders)
        quote.instant_over()

    def settle(self, at: datetime, order: BookOrder) -> None:
        """Let a new, changed or activated order meet the standing market."""
        if order.now.good_till is not None and order.now.good_till <= at:
            self.come_due(at, order)
            return
        quote = self.quotes.get(order.key)
        if quote is not None:
            self.peg(order, quote)
            if order.awaits:
                self._elect(at, order, quote, fresh=False)
            self._trade(at, order, quote, before_print=False)
        self._finish_immediate(at, order)

    def set_session(self, at: datetime, *, is_open: bool) -> None:
        if is_open is self.session_open:
            return
        if is_open:
            for quote in self.quotes.values():
                quote.awaits_open, quote.printed = True, False
        else:
            self._close(at)
        self.session_open = is_open
        for order in self.book.live():
            before = order.view.status
            if is_open and order.auction is Auction.OPENING:
                order.now = attrs.evolve(order.now, opening_due=True)
            order.now = self.standing(order.now)
            if order.view.status is not before:
                why = "the session opened" if is_open else "the session closed"
                self.happened.append(OrderChanged(at, order.view, why))

    def mark(self, key: str) -> Decimal | None:
        """What one of the contract is worth now; None before its first price."""
        quote = self.quotes.get(key)
        return None if quote is None else quote.mark()

    def set_grid(self, key: str, grid: PriceGrid) -> None:
        self._grids[key] = grid

    def grid_of(self, key: str, contract: Contract) -> PriceGrid:
        grid = self._grids.get(key)
        if grid is not None:
            return grid
        return self._stock_grid if contract.sec_type in STOCK_TYPES else self._plain_grid

    # --- the life of an order ---------------------------------------------------------------------

    def standing(self, record: OrderRecord) -> OrderRecord:
        """The live record with the status and the reason for waiting that TWS shows for it."""
        status, why_held = Status.PRE_SUBMITTED, ""
        if record.waits_for_parent:
            why_held = "child,trigger" if record.waits_for_trigger else "child"
        elif record.locate_until is not None:
            why_held = "locate"
        elif record.waits_for_trigger:
            why_held = "trigger"
        elif record.waits_until is None and auction_of(record.view.order) is Auction.NONE:
            order = record.view.order
            if self.session_open or (order.outside_rth and order.order_type != "MKT"):
                status = Status.SUBMITTED
        view = record.view
        if view.status is status and view.why_held == why_held:
            return record
        return attrs.evolve(record, view=attrs.evolve(view, status=status, why_held=why_held))

    def aim(self, order: BookOrder) -> None:
        """Give a trailing order that is awake its first stop, where the market says one."""
        if order.trails:
            grid = self.grid_of(order.key, order.view.contract)
            order.now = aimed(order.now, self.quotes.get(order.key), order.method, grid)

    def cancel(self, at: datetime, order: BookOrder, reason: str, *, by_client: bool = False) -> None:
        """End a live order, and what hangs on it: children go with an unfilled parent, else they are cut."""
        view = attrs.evolve(order.view, status=Status.CANCELLED, why_held="")
        order.now = attrs.evolve(order.now, view=view, ended_at=at, end_reason=reason)
        self.book.retire(order)
        self.happened.append(OrderCancelled(at, view, reason, by_client))
        self.part_from_children(at, order)

    def come_due(self, at: datetime, order: BookOrder) -> None:
        """A time of the order has come: it expires, or it need not wait any longer."""
        now = order.now
        if now.good_till is not None and now.good_till <= at:
            self.cancel(at, order, "The good-till date has passed.")
            return
        waits = now.waits_until if now.waits_until is None or now.waits_until > at else None
        locate = now.locate_until if now.locate_until is None or now.locate_until > at else None
        if (waits, locate) == (now.waits_until, now.locate_until):
            return
        why = "the good-after time has come" if waits is not now.waits_until else "shares were located"
        order.now = self.standing(attrs.evolve(now, waits_until=waits, locate_until=locate))
        self.aim(order)
        self.happened.append(OrderChanged(at, order.view, why))
        if not order.now.sleeps:
            self.settle(at, order)

    def part_from_children(self, at: datetime, parent: BookOrder) -> None:
        """The parent is terminal: no child may wait for it, or work for more than it filled."""
        for child in self.book.children(parent):
            if not child.now.live and parent.view.status is Status.FILLED:
                continue
            if child.now.waits_for_parent:
                self.cancel(at, child, "The parent order has ended.")
            elif parent.now.total != child.now.parent_quantity or parent.view.remaining:
                total = brackets.total_after_parent_end(
                    child.now, parent.view.filled, self._settings.child_activation, self.book.elder(child)
                )
                self._resize(at, child, total, "the parent ended partly filled")

    def feed_children(self, at: datetime, parent: BookOrder, filled_before: int) -> None:
        """The parent has filled further: its children wake or grow, and then meet the market."""
        woken = []
        for child in self.book.children(parent):
            if not child.now.live:
                continue
            total = brackets.total_after_parent_fill(
                child.now, filled_before, parent.view.filled, self._settings.child_activation,
                self.book.elder(child),
            )  # fmt: skip
            if total == 0 or (total == child.now.total and not child.now.waits_for_parent):
                continue
            record = _with_total(child.now, total)
            child.now = self.standing(attrs.evolve(record, waits_for_parent=False))
            self.aim(child)
            self.happened.append(OrderChanged(at, child.view, "the parent filled"))
            woken.append(child)
        if parent.view.status is Status.FILLED:
            self.part_from_children(at, parent)
        for child in woken:
            self.settle(at, child)

    # --- auctions ---------------------------------------------------------------------------------

    def _open(self, at: datetime, quote: Quote, orders: tuple[BookOrder, ...]) -> None:
        """The first trade of a session: what is good at the opening trades at its price."""
        for order in orders:
            if order.now.opening_due:
                self._auction(at, order, quote.last, "opening")

    def _close(self, at: datetime) -> None:
        """The last trade of the session was its closing print: MOC and LOC trade at its price."""
        for order in self.book.live():
            if order.auction is Auction.CLOSING:
                quote = self.quotes.get(order.key)
                sound = quote is not None and quote.printed and not quote.halted
                self._auction(at, order, quote.last if quote is not None and sound else None, "closing")

    def _auction(self, at: datetime, order: BookOrder, price: float | None, which: str) -> None:
        """The whole order trades at the price of the auction, or is cancelled. Sleepers are not in it."""
        if not order.now.live or order.now.sleeps:
            return
        limit = order.limit_price
        if price is None or self._blocked(at, order):
            self.cancel(at, order, f"There was no {which} auction for it.")
        elif limit is not None and (price > limit if order.is_buy else price < limit):
            self.cancel(at, order, f"Its limit was not reached in the {which} auction.")
        else:
            self._fill(at, order, price, order.view.remaining)

    # --- one order against the market -------------------------------------------------------------

    def _meet(self, at: datetime, quote: Quote, orders: tuple[BookOrder, ...]) -> None:
        rested = [order.works for order in orders]
        for order in orders:
            if order.awaits:
                self._elect(at, order, quote, fresh=True)
            elif order.peg is not None:
                self.peg(order, quote)
        for order, before_print in zip(orders, rested, strict=True):
            if order.works:
                self._trade(at, order, quote, before_print=before_print)
                self._finish_immediate(at, order)

    def peg(self, order: BookOrder, quote: Quote) -> None:
        """Let the limit of a pegged order follow the market."""
        if order.peg is not None:
            order.print_limit = order.limit_price
            grid = self.grid_of(order.key, order.view.contract)
            order.limit_price = trading.pegged(quote, order.peg, order.view.order, grid)

    def _blocked(self, at: datetime, order: BookOrder) -> bool:
        """Another member of its blocking OCA group has traded in this instant."""
        if not self.blocks or order.view.order.oca_type not in oca.BLOCKING:
            return False
        block = self.blocks.get((order.view.account, order.view.order.oca_group))
        return block is not None and block[0] != order.perm_id and block[1] == at

    def _may_trade(self, at: datetime, order: BookOrder, quote: Quote) -> bool:
        return order.works and not quote.halted and not self._blocked(at, order)

    def _elect(self, at: datetime, order: BookOrder, quote: Quote, *, fresh: bool) -> None:
        """`fresh`: an instant of the market, not a second look at the last one."""
        if quote.halted or not (self.session_open or order.all_hours):
            return
        if order.trails and (fresh or order.stop_price is None):
            self._trail(at, order, quote)
        price, method = order.stop_price, order.method
        if price is None or (method in DOUBLES and not fresh):
            return
        now = order.now
        if not elects(quote, price, method, rises=order.rises):
            if now.near and counts(quote, method):
                order.now = attrs.evolve(now, near=False)
        elif method in DOUBLES and not now.near:
            order.now = attrs.evolve(now, near=True)
        else:
            bound = now.own_limit
            if now.kind.protected:
                bound = trading.protection(price, order.is_buy, self.grid_of(order.key, order.view.contract))
            elected = attrs.evolve(now, triggered=True, near=False, own_limit=bound)
            order.now = self.standing(elected)
            self.happened.append(OrderTriggered(at, order.view))

    def _trail(self, at: datetime, order: BookOrder, quote: Quote) -> None:
        grid = self.grid_of(order.key, order.view.contract)
        moved = followed_by(order.now, quote, order.method, grid)
        if moved is not None:
            order.now = moved
            self.happened.append(OrderChanged(at, order.view, "the stop trailed the market"))

    def _trade(self, at: datetime, order: BookOrder, quote: Quote, *, before_print: bool) -> None:
        if not self._may_trade(at, order, quote):
            return
        deal = offered(quote, order.limit_price, is_buy=order.is_buy)
        quantity = 0 if deal is None else trading.quantity_for(order, deal[1])
        if deal is not None and quantity:
            if order.is_buy:
                quote.ask_left -= quantity
            else:
                quote.bid_left -= quantity
            self._fill(at, order, self._slipped(order, deal[0]) if self._slips else deal[0], quantity)
        if not before_print or not self._may_trade(at, order, quote):
            return
        deal = printed_through(quote, order.print_limit, is_buy=order.is_buy)
        quantity = 0 if deal is None else trading.quantity_for(order, deal[1])
        if deal is not None and quantity:
            quote.print_left -= quantity
            self._fill(at, order, deal[0], quantity)

    def _slipped(self, order: BookOrder, price: float) -> float:
        if order.limit_price is not None:
            return price
        grid = self.grid_of(order.key, order.view.contract)
        return trading.slipped(price, self._settings, grid, is_buy=order.is_buy)

    def _finish_immediate(self, at: datetime, order: BookOrder) -> None:
        now = order.now
        tif = now.view.order.tif
        if tif in IMMEDIATE and now.live and not now.sleeps and not now.waits_for_trigger:
            word = "Immediate or cancel: the rest" if tif == "IOC" else "Fill or kill: the order"
            self.cancel(at, order, f"{word} could not be filled.")

    # --- an execution and what follows from it ----------------------------------------------------

    def _fill(self, at: datetime, order: BookOrder, price: float, quantity: int) -> None:
        before = order.now
        filled, value = before.view.filled + quantity, before.value + quantity * exact(price)
        commission = order_commission(self._settings, filled, value, before.view.contract)
        complete = filled == before.total
        view = attrs.evolve(
            before.view,
            filled=filled,
            avg_fill_price=float(value / filled),
            last_fill_price=price,
            status=Status.FILLED if complete else before.view.status,
        )
        order.now = attrs.evolve(
            before,
            view=view,
            value=value,
            commission=commission,
            own_limit=price if before.kind.to_limit else before.own_limit,
            ended_at=at if complete else None,
        )
        if complete:
            self.book.retire(order)
        self._book_execution(at, order.now, quantity, price, commission - before.commission)
        self._tell_siblings(at, order, quantity)
        self.feed_children(at, order, before.view.filled)

    def _book_execution(
        self, at: datetime, record: OrderRecord, quantity: int, price: float, charge: Decimal
    ) -> None:
        view = record.view
        execution = VenueExecution(
            exec_id=f"{len(self.executions) + 1:08x}.{int(at.timestamp()):08x}.01.01",
            account=view.account,
            perm_id=view.perm_id,
            client_id=view.client_id,
            order_id=view.order_id,
            order_ref=view.order.order_ref,
            contract=view.contract,
            exchange=self._settings.exchange,
            side="BOT" if record.is_buy else "SLD",
            quantity=quantity,
            price=exact(price),
            cum_quantity=view.filled,
            avg_price=view.avg_fill_price,
            at=at,
        )
        change = quantity if record.is_buy else -quantity
        position, gain = self.accounts.execute(view.account, view.contract, change, exact(price), charge)
        net = None if gain is None else shown(gain)
        charged = CommissionCharged(at, execution.exec_id, charge, net)
        self.executions.append(execution)
        self.charges[execution.exec_id] = charged
        self.happened += (
            Executed(at, view, execution),
            charged,
            PositionChanged(
                at, view.account, position.contract, position.quantity,
                position.average_cost, position.realized_pnl, position.commission,
            ),
        )  # fmt: skip

    def _tell_siblings(self, at: datetime, order: BookOrder, quantity: int) -> None:
        view = order.view
        if not view.order.oca_group:
            return
        group = (view.account, view.order.oca_group)
        if view.status is Status.FILLED:
            self.book.spent_groups[group] = None
        if view.order.oca_type in oca.BLOCKING:
            self.blocks[group] = (order.perm_id, at)
        for sibling in self.book.siblings(order):
            if not sibling.now.live:
                continue
            total = oca.sibling_total(order.now, quantity, sibling.now)
            if total is None:
                self.cancel(at, sibling, "Another order of the OCA group was filled.")
            else:
                if sibling.now.waits_for_parent:
                    sibling.now = attrs.evolve(sibling.now, asked=sibling.now.asked - quantity)
                self._resize(at, sibling, total, "another order of the OCA group traded")
        if not self.book.siblings(order):
            self.blocks.pop(group, None)

    def _resize(self, at: datetime, order: BookOrder, total: int, why: str) -> None:
        if total <= order.view.filled:
            self.cancel(at, order, why)
        elif total != order.now.total:
            order.now = _with_total(order.now, total)
            self.happened.append(OrderChanged(at, order.view, why))


def _with_total(record: OrderRecord, total: int) -> OrderRecord:
    order = attrs.evolve(record.view.order, total_quantity=Decimal(total))
    return attrs.evolve(record, view=attrs.evolve(record.view, order=order))


def _default_grids(settings: VenueSettings) -> tuple[PriceGrid, PriceGrid]:
    """Of a stock, and of anything else that has no grid of its own."""
    plain, fine = PriceGrid.of(settings.default_grid), settings.sub_dollar_grid
    if fine >= settings.default_grid:
        return plain, plain
    return PriceGrid(((Decimal(0), fine), (Decimal(1), settings.default_grid))), plain
