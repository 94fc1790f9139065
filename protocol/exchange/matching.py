"""The matching core: what a tick, a placement or an activation does to the orders in the book.

Everything that happens is appended to `happened` in the order in which a real TWS tells it: an
execution, its commission, the position; then what follows from it for OCA siblings and bracket children.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import attrs

from protocol.exchange import brackets, oca
from protocol.exchange.account import Accounts, order_commission, shown
from protocol.exchange.book import Book, BookOrder, OrderRecord
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
from protocol.exchange.quotes import Quote, elects, offered, printed_through
from protocol.exchange.venue_settings import VenueSettings
from protocol.values import exact


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
        self._settings = settings

    # --- the market -------------------------------------------------------------------------------

    def tick(self, tick: MarketTick) -> None:
        quote = self.quotes.get(tick.symbol)
        if quote is None:
            quote = self.quotes[tick.symbol] = Quote(tick)
        quote.update(tick, self._settings.assumed_size)
        orders = self.book.live_of(tick.symbol)
        if orders:
            rested = [order.works for order in orders]
            for order in orders:
                self._elect(tick.at, order, quote)
            for order, before_print in zip(orders, rested, strict=True):
                if order.works:
                    self._trade(tick.at, order, quote, before_print=before_print)
                    self._finish_ioc(tick.at, order)
        quote.instant_over()

    def settle(self, at: datetime, order: BookOrder) -> None:
        """Let a new, changed or activated order meet the standing market."""
        quote = self.quotes.get(order.view.contract.symbol)
        if quote is not None:
            self._elect(at, order, quote)
            self._trade(at, order, quote, before_print=False)
        self._finish_ioc(at, order)

    def set_session(self, at: datetime, *, is_open: bool) -> None:
        if is_open is self.session_open:
            return
        self.session_open = is_open
        for order in self.book.live():
            before = order.view.status
            order.now = self.standing(order.now)
            if order.view.status is not before:
                why = "the session opened" if is_open else "the session closed"
                self.happened.append(OrderChanged(at, order.view, why))

    def mark(self, symbol: str) -> Decimal | None:
        """What a share of the symbol is worth now; None before its first price."""
        quote = self.quotes.get(symbol)
        return None if quote is None else quote.mark()

    # --- the life of an order ---------------------------------------------------------------------

    def standing(self, record: OrderRecord) -> OrderRecord:
        """The live record with the status and the reason for waiting that TWS shows for it."""
        status, why_held = Status.PRE_SUBMITTED, ""
        if record.waits_for_parent:
            why_held = "child,trigger" if record.waits_for_trigger else "child"
        elif record.waits_for_trigger:
            why_held = "trigger"
        elif self._in_hours(record):
            status = Status.SUBMITTED
        view = record.view
        if view.status is status and view.why_held == why_held:
            return record
        return attrs.evolve(record, view=attrs.evolve(view, status=status, why_held=why_held))

    def cancel(self, at: datetime, order: BookOrder, reason: str, *, by_client: bool = False) -> None:
        """End a live order, and what hangs on it: children go with an unfilled parent, else they are cut."""
        view = attrs.evolve(order.view, status=Status.CANCELLED, why_held="")
        order.now = attrs.evolve(order.now, view=view, ended_at=at, end_reason=reason)
        self.book.retire(order)
        self.happened.append(OrderCancelled(at, view, reason, by_client))
        self.part_from_children(at, order)

    def part_from_children(self, at: datetime, parent: BookOrder) -> None:
        """The parent is terminal: no child may wait for it, or work for more than it filled."""
        for child in self.book.children(parent):
            if not child.now.live and parent.view.status is Status.FILLED:
                continue
            if child.now.waits_for_parent:
                self.cancel(at, child, "The parent order has ended.")
            elif parent.now.total != child.now.parent_quantity or parent.view.remaining:
                total = brackets.total_after_parent_end(
                    child.now, parent.view.filled, self._settings.child_activation
                )
                self._resize(at, child, total, "the parent ended partly filled")

    def feed_children(self, at: datetime, parent: BookOrder, filled_before: int) -> None:
        """The parent has filled further: its children wake or grow, and then meet the market."""
        woken = []
        for child in self.book.children(parent):
            if not child.now.live:
                continue
            total = brackets.total_after_parent_fill(
                child.now, filled_before, parent.view.filled, self._settings.child_activation
            )
            if total == 0 or (total == child.now.total and not child.now.waits_for_parent):
                continue
            record = _with_total(child.now, total)
            child.now = self.standing(attrs.evolve(record, waits_for_parent=False))
            self.happened.append(OrderChanged(at, child.view, "the parent filled"))
            woken.append(child)
        if parent.view.status is Status.FILLED:
            self.part_from_children(at, parent)
        for child in woken:
            self.settle(at, child)

    # --- one order against the market -------------------------------------------------------------

    def _in_hours(self, record: OrderRecord) -> bool:
        """IB ignores `outsideRth` on a market order."""
        order = record.view.order
        return self.session_open or (order.outside_rth and order.order_type != "MKT")

    def _may_trade(self, at: datetime, order: BookOrder, quote: Quote) -> bool:
        if not order.works or quote.halted:
            return False
        if not self.blocks or order.view.order.oca_type not in oca.BLOCKING:
            return True
        block = self.blocks.get((order.view.account, order.view.order.oca_group))
        return block is None or block[0] == order.perm_id or block[1] != at

    def _elect(self, at: datetime, order: BookOrder, quote: Quote) -> None:
        stop_price = order.stop_price
        if stop_price is None or quote.halted or not elects(quote, stop_price, is_buy=order.is_buy):
            return
        if self._in_hours(order.now):
            order.now = self.standing(attrs.evolve(order.now, triggered=True))
            self.happened.append(OrderTriggered(at, order.view))

    def _trade(self, at: datetime, order: BookOrder, quote: Quote, *, before_print: bool) -> None:
        if not self._may_trade(at, order, quote):
            return
        deal = offered(quote, order.limit_price, is_buy=order.is_buy)
        if deal is not None:
            price, quantity = deal[0], min(deal[1], order.view.remaining)
            if order.is_buy:
                quote.ask_left -= quantity
            else:
                quote.bid_left -= quantity
            self._fill(at, order, price, quantity)
        if not before_print or not self._may_trade(at, order, quote):
            return
        deal = printed_through(quote, order.limit_price, is_buy=order.is_buy)
        if deal is not None:
            price, quantity = deal[0], min(deal[1], order.view.remaining)
            quote.print_left -= quantity
            self._fill(at, order, price, quantity)

    def _finish_ioc(self, at: datetime, order: BookOrder) -> None:
        now = order.now
        waits = now.waits_for_parent or now.waits_for_trigger
        if now.live and now.view.order.tif == "IOC" and not waits:
            self.cancel(at, order, "Immediate or cancel: the rest could not be filled.")

    # --- an execution and what follows from it ----------------------------------------------------

    def _fill(self, at: datetime, order: BookOrder, price: float, quantity: int) -> None:
        before = order.now
        filled, value = before.view.filled + quantity, before.value + quantity * exact(price)
        commission = order_commission(self._settings, filled, value)
        complete = filled == before.total
        view = attrs.evolve(
            before.view,
            filled=filled,
            avg_fill_price=float(value / filled),
            last_fill_price=price,
            status=Status.FILLED if complete else before.view.status,
        )
        order.now = attrs.evolve(
            before, view=view, value=value, commission=commission, ended_at=at if complete else None
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
        net = None if gain is None else shown(gain) - charge
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
        if view.order.oca_type in oca.BLOCKING:
            self.blocks[view.account, view.order.oca_group] = (order.perm_id, at)
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
            self.blocks.pop((view.account, view.order.oca_group), None)

    def _resize(self, at: datetime, order: BookOrder, total: int, why: str) -> None:
        if total <= order.view.filled:
            self.cancel(at, order, why)
        elif total != order.now.total:
            order.now = _with_total(order.now, total)
            self.happened.append(OrderChanged(at, order.view, why))


def _with_total(record: OrderRecord, total: int) -> OrderRecord:
    order = attrs.evolve(record.view.order, total_quantity=Decimal(total))
    return attrs.evolve(record, view=attrs.evolve(record.view, order=order))
