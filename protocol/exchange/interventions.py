"""What is done to a simulated venue from outside its clients: by a person in TWS, or by the exchange.

Executions are taken back and corrected, orders placed, moved and cancelled by hand, rejected after they were
taken, left behind by a modify. A friend of `Venue`: it works on the venue's own parts, and what it does is
reported by the venue's `take()` like everything else. What of it imitates IB, and how surely: `FIDELITY.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import attrs

from protocol.exchange.account import PositionRecord, shown
from protocol.exchange.book import BookOrder
from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import (
    CommissionCharged,
    ExecutionCorrected,
    MarketTick,
    OrderAccepted,
    OrderRejected,
    PositionChanged,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.exchange.venue import Venue
from protocol.tws.messages import Contract, Order

MANUAL_CLIENT_ID = MANUAL_ORDER_ID = 0
"""What TWS says of an order that was placed at its own screen, until client 0 binds it."""


class Interventions:
    """Every call says when it happens in market time, and answers False when there is nothing to do it to."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue

    # --- executions ---------------------------------------------------------------------------------

    def bust(self, at: datetime, exec_id: str) -> bool:
        """The exchange takes an execution back: a correction to no shares, without commission.

        The order's total shrinks with what it has filled: the exchange does not work those shares again.
        """
        return self.correct(at, exec_id, quantity=0)

    def correct(
        self, at: datetime, exec_id: str, *, price: Decimal | None = None, quantity: int | None = None
    ) -> bool:
        """The exchange corrects an execution; its commission stays, unless nothing of it is left.

        False for an execution that there is not, or that was replaced already. Raises ValueError for a
        price of 0 or less, a quantity below 0.
        """
        old = next((e for e in self.effective_executions() if e.exec_id == exec_id), None)
        if old is None:
            return False
        price = old.price if price is None else price
        quantity = old.quantity if quantity is None else quantity
        if price <= 0 or quantity < 0:
            raise ValueError(f"an execution of {quantity} at {price} is none")
        order = self._venue._book.order(old.perm_id)
        self._restate_order(order, old, price, quantity)
        root, _, revision = exec_id.rpartition(".")
        new = attrs.evolve(
            old,
            exec_id=f"{root}.{int(revision) + 1:02d}",
            price=price,
            quantity=quantity,
            cum_quantity=old.cum_quantity + quantity - old.quantity,
            avg_price=order.view.avg_fill_price,
        )
        matching = self._venue._matching
        charge = matching.charges[exec_id].commission if quantity else Decimal(0)
        position, gain = self._restate_position(old, new, charge)
        charged = CommissionCharged(at, new.exec_id, charge, None if gain is None else shown(gain))
        matching.executions.append(new)
        matching.charges[new.exec_id] = charged
        matching.happened += (
            ExecutionCorrected(at, order.view, new, exec_id),
            charged,
            PositionChanged(
                at, new.account, position.contract, position.quantity,
                position.average_cost, position.realized_pnl, position.commission,
            ),
        )  # fmt: skip
        return True

    def effective_executions(self) -> tuple[VenueExecution, ...]:
        """Executions as they stand: of each its last correction, in the order in which they happened."""
        return tuple({e.exec_id.rpartition(".")[0]: e for e in self._venue.executions()}.values())

    def _restate_order(self, order: BookOrder, old: VenueExecution, price: Decimal, quantity: int) -> None:
        now = order.now
        change = quantity - old.quantity
        filled = now.view.filled + change
        value = now.value + quantity * price - old.quantity * old.price
        commission = now.commission
        if not quantity:
            commission -= self._venue._matching.charges[old.exec_id].commission
        view = attrs.evolve(
            now.view,
            order=attrs.evolve(now.view.order, total_quantity=now.view.order.total_quantity + change),
            filled=filled,
            avg_fill_price=float(value / filled) if filled else 0.0,
        )
        order.now = attrs.evolve(now, view=view, value=value, commission=commission)

    def _restate_position(
        self, old: VenueExecution, new: VenueExecution, charge: Decimal
    ) -> tuple[PositionRecord, Fraction | None]:
        """The position as if the trade had been the corrected one from the beginning.

        Average costs depend on the order of trades, so all of them are undone and booked again.
        """
        accounts, charges = self._venue._accounts, self._venue._matching.charges
        key = contract_key(old.contract)
        trades = [
            e
            for e in self.effective_executions()
            if e.account == old.account and contract_key(e.contract) == key
        ]
        record = next(
            p for p in accounts.records()[1] if p.account == old.account and contract_key(p.contract) == key
        )
        for trade in trades:
            if trade.quantity:
                paid = charges[trade.exec_id].commission
                accounts.execute(trade.account, record.contract, -_signed(trade), trade.price, -paid)
        record = attrs.evolve(
            record,
            quantity=0,
            cost=Fraction(0),
            realized=Fraction(0),
            commission=Decimal(0),
            open_commission=Fraction(0),
        )
        accounts.put(record)
        own_gain: Fraction | None = None
        for trade in trades:
            told = new if trade is old else trade
            if told.quantity:
                paid = charge if told is new else charges[told.exec_id].commission
                record, gain = accounts.execute(
                    told.account, record.contract, _signed(told), told.price, paid
                )
                own_gain = gain if told is new else own_gain
        return record, own_gain

    # --- a person in TWS ----------------------------------------------------------------------------

    def place_manual(self, at: datetime, contract: Contract, order: Order) -> VenueOrder | None:
        """An order from TWS's own screen: client 0, order 0, found by its permanent id alone.

        None when it was refused, which is an `OrderRejected` of client 0.
        """
        self._venue.advance(at)
        intake, book = self._venue._intake, self._venue._book
        account = order.account or self._venue.account_names[0]
        order = attrs.evolve(order, tif=order.tif or "DAY", account=account, transmit=True, parent_id=0)
        refusal = intake._check_new(at, MANUAL_CLIENT_ID, contract, order)
        if refusal is not None:
            intake._refuse(at, MANUAL_CLIENT_ID, MANUAL_ORDER_ID, refusal, None)
            return None
        placed = book.add(intake._new_record(at, MANUAL_CLIENT_ID, MANUAL_ORDER_ID, contract, order))
        intake._release(at, placed)
        return placed.view

    def cancel_manual(self, at: datetime, perm_id: int, reason: str = "") -> bool:
        """A person in TWS cancels an API client's order, or the exchange does: Cancelled and 202."""
        order = self._live(perm_id)
        if order is not None:
            self._venue._matching.cancel(at, order, reason)
        return order is not None

    def cancel_everything(self, at: datetime) -> int:
        """A person in TWS cancels all orders; how many there were."""
        live = [order.perm_id for order in self._venue.open_orders()]
        return sum(self.cancel_manual(at, perm_id) for perm_id in live)

    def modify_manual(
        self,
        at: datetime,
        perm_id: int,
        *,
        quantity: int | None = None,
        limit_price: float | None = None,
        stop_price: float | None = None,
    ) -> bool:
        """A person in TWS changes an order; the rules are those of its owner's modify.

        `quantity` is the total, what has filled included.
        """
        order = self._live(perm_id)
        if order is None:
            return False
        asked = order.view.order
        wanted = attrs.evolve(
            asked,
            total_quantity=asked.total_quantity if quantity is None else Decimal(quantity),
            lmt_price=asked.lmt_price if limit_price is None else limit_price,
            aux_price=asked.aux_price if stop_price is None else stop_price,
        )
        self._venue._intake._modify(at, order, order.view.contract, wanted)
        return True

    # --- the exchange -------------------------------------------------------------------------------

    def reject(self, at: datetime, perm_id: int, reason: str, code: int = 201) -> bool:
        """The exchange rejects an order that was taken already: Inactive, and an error (201 as a rule)."""
        order = self._live(perm_id)
        if order is None:
            return False
        matching, view = self._venue._matching, order.view
        text = f"Order rejected - reason:{reason}" if code == 201 else reason
        view = attrs.evolve(view, status=Status.INACTIVE, why_held="")
        order.now = attrs.evolve(order.now, view=view, ended_at=at, end_reason=text)
        self._venue._book.retire(order)
        matching.happened.append(OrderRejected(at, view.client_id, view.order_id, code, text, view))
        matching.part_from_children(at, order)
        return True

    def halt(self, at: datetime, key: str) -> None:
        """Nothing of this contract trades or is elected until `resume`."""
        self._venue.tick(MarketTick(at, key, halted=True))

    def resume(self, at: datetime, key: str) -> None:
        self._venue.tick(MarketTick(at, key, halted=False))

    def leave_stale(self, at: datetime, before: VenueOrder) -> VenueOrder | None:
        """A modify of `before` went astray: besides the modified order a second one works as it was before.

        Same client, order id and reference, another permanent id; requests about the order id reach the
        modified one. None, and nothing happens, when the order has ended.
        """
        order = self._live(before.perm_id)
        if order is None:
            return None
        book = self._venue._book
        perm_id = book.new_perm_id()
        asked = attrs.evolve(before.order, perm_id=perm_id)
        view = attrs.evolve(before, perm_id=perm_id, order=asked)
        twin = book.add(attrs.evolve(order.now, view=view, asked=int(asked.total_quantity), triggered=False))
        twin.now = self._venue._matching.standing(twin.now)
        self._venue._matching.agenda.note(twin)
        self._venue._matching.happened.append(OrderAccepted(at, twin.view))
        self._venue._matching.settle(at, twin)
        return twin.view

    def leave_group(self, perm_id: int) -> bool:
        """The venue forgets that an order belongs to an OCA group; it is still shown with it."""
        order = self._live(perm_id)
        if order is None or not order.view.order.oca_group:
            return False
        self._venue._book.leave_group(order)
        return True

    def fill_ended(self, at: datetime, perm_id: int, quantity: int = 0, price: Decimal | None = None) -> bool:
        """A cancelled order trades all the same: the exchange had it when the cancel came.

        `quantity` 0: all that was left. Without a `price`, at the opposite quote, or its own limit.
        """
        order = self._find(perm_id)
        if order is None or order.view.status is not Status.CANCELLED or order.view.remaining <= 0:
            return False
        at_price = float(price) if price is not None else self._price_for(order)
        if at_price is None:
            return False
        ended = order.now
        size = min(quantity or order.view.remaining, order.view.remaining)
        self._venue._matching._fill(at, order, at_price, size)
        if order.now.ended_at is None:
            order.now = attrs.evolve(order.now, ended_at=ended.ended_at, end_reason=ended.end_reason)
        return True

    def _price_for(self, order: BookOrder) -> float | None:
        quote = self._venue.quote(contract_key(order.view.contract))
        if quote is None:
            return order.view.order.lmt_price
        shown_price = quote.ask if order.now.is_buy else quote.bid
        limit = order.view.order.lmt_price
        if shown_price is None or limit is None:
            return shown_price or limit
        better: Callable[[float, float], float] = min if order.now.is_buy else max
        return better(shown_price, limit)

    # --- orders by permanent id -----------------------------------------------------------------------

    def _find(self, perm_id: int) -> BookOrder | None:
        try:
            return self._venue._book.order(perm_id)
        except KeyError:
            return None

    def _live(self, perm_id: int) -> BookOrder | None:
        order = self._find(perm_id)
        return order if order is not None and order.now.live else None


def _signed(execution: VenueExecution) -> int:
    return execution.quantity if execution.side == "BOT" else -execution.quantity
