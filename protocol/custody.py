"""What the custodian does for a symbol whose own actor is down: nothing clever, protection first.

It knows no rules and no trade plan, only what the broker says: a position and the orders that live. Entries
are cancelled, so that nothing grows while nobody looks. A position must have working stops for exactly
its size: they are modified in place where that is enough, else the part without a stop is closed at the
market. Flat, nothing may go on working. One look leads to at most one change of each order; the next look
judges by what the broker then says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final, TypeAlias

import attrs

from protocol.events import CancelEvent, ModifyOrderEvent, NewOrderEvent
from protocol.foreign_shares import own_part
from protocol.order import WORKING
from protocol.reports import OrderReport, SymbolSnapshot
from protocol.values import (
    CLOSE,
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    Symbol,
    TimeInForce,
    purpose_of,
)

GUARD: Final = "the custodian guards the symbol while its actor is down"
Step: TypeAlias = CancelEvent | ModifyOrderEvent | NewOrderEvent
DEAD: Final = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED})


@attrs.frozen
class Guarded:
    """One live order as the broker has it. `spec` None: the journal does not know what it was asked to be."""

    report: OrderReport
    spec: OrderSpec | None

    @property
    def purpose(self) -> Purpose:
        return purpose_of(self.report.ref.role) if self.spec is None else self.spec.purpose

    @property
    def remaining(self) -> int:
        return max(self.report.quantity - self.report.filled, 0)

    @property
    def works(self) -> bool:
        """A child that waits for its parent protects nothing yet."""
        return self.report.status in WORKING and "child" not in self.report.why_held

    @property
    def group(self) -> str:
        return "" if self.spec is None else self.spec.oca_group


@attrs.frozen
class Custody:
    """A look at one symbol. `stubborn` are orders that were asked to change and did not."""

    symbol: Symbol
    position: int
    orders: tuple[Guarded, ...]
    stubborn: frozenset[OrderRef] = frozenset()
    foreign: int = 0
    """Shares of the position that somebody else holds, signed: nothing is done about those."""

    @property
    def size(self) -> int:
        """Shares that are ours to guard."""
        return abs(own_part(self.position, self.foreign))

    @property
    def covered(self) -> int:
        """Shares of the position that working stops would close."""
        return sum(order.remaining for order in self.stops)

    @property
    def safe(self) -> bool:
        """Nothing is left to do: flat without orders, or exactly covered and not growing."""
        if self.size == 0:
            return not self.orders
        return self.covered == self.size >= self.promised and not self.entries

    @property
    def promised(self) -> int:
        """Shares that targets would close."""
        return sum(order.remaining for order in self.targets)

    @property
    def closing_side(self) -> Side:
        return Side.SELL if self.position > 0 else Side.BUY

    @property
    def entries(self) -> tuple[Guarded, ...]:
        return tuple(order for order in self.orders if order.purpose is Purpose.ENTRY)

    @property
    def stops(self) -> tuple[Guarded, ...]:
        return self._exits(Purpose.STOP)

    @property
    def targets(self) -> tuple[Guarded, ...]:
        return self._exits(Purpose.TARGET)

    def _exits(self, purpose: Purpose) -> tuple[Guarded, ...]:
        return tuple(
            order
            for order in self.orders
            if order.purpose is purpose and order.works and order.report.side is self.closing_side
        )

    @property
    def closes(self) -> tuple[Guarded, ...]:
        """Orders that already flatten."""
        return tuple(
            order
            for order in self.orders
            if order.purpose is Purpose.CLOSE and order.report.side is self.closing_side
        )


def believed(ours: int, theirs: int, *, confirmed: bool) -> int | None:
    """The position to guard, where our executions make `ours` and the broker's books say `theirs`.

    A difference counts once it is `confirmed`, by a second look. None: nothing is done before that. What a
    look has missed must not cost a stop, and what is gone must not be closed once more.
    """
    return theirs if confirmed or ours == theirs else None


def custody_of(
    snapshot: SymbolSnapshot,
    position: int,
    spec_of: Callable[[OrderRef], OrderSpec | None],
    stubborn: Iterable[OrderRef] = (),
    foreign: int = 0,
) -> Custody:
    """What a snapshot of the broker's books shows of a symbol, at the `position` that is believed."""
    live = (report for report in snapshot.orders if report.status not in DEAD)
    orders = tuple(Guarded(report, spec_of(report.ref)) for report in live)
    return Custody(snapshot.symbol, position, orders, frozenset(stubborn), foreign)


def next_steps(
    look: Custody, next_close: OrderRef, at: datetime, *, flatten: bool = False
) -> tuple[Step, ...]:
    """What to do now, in the order in which it has to leave. `flatten`: the position is not wanted at all.

    `next_close` is a reference that no order has had yet. Nothing while an earlier step is still answered:
    a symbol in motion is looked at again.
    """
    steps: list[Step] = [
        _cancel(order, at) for order in look.entries if order.report.status is not OrderStatus.PENDING_CANCEL
    ]
    if look.size == 0:
        if not look.entries:
            # With an entry still at work its children are its protection, and go with it.
            steps += [
                _cancel(order, at)
                for order in look.orders
                if order.report.status is not OrderStatus.PENDING_CANCEL
            ]
        return tuple(steps)
    size = look.size
    if flatten or look.covered == 0:
        return (*steps, *_flatten(look, size, next_close, at))
    missing = size - look.covered - sum(order.remaining for order in look.closes)
    if missing > 0:
        steps += _cover(look, missing, next_close, at)
    elif not look.entries and not look.closes:
        steps += _shrink(look, look.stops, -missing, at)
        # What an entry that is gone was to fill is no more to be sold either.
        steps += _shrink(look, look.targets, look.promised - size, at)
    return tuple(steps)


def _flatten(look: Custody, size: int, ref: OrderRef, at: datetime) -> tuple[Step, ...]:
    """Close at the market what no close is under way for, each part in the OCA group of its own exits.

    In the group the broker shrinks the exits by what the close fills, so that the two never both fill.
    """
    left = size - sum(order.remaining for order in look.closes)
    taken = {order.group for order in look.closes}
    shares: dict[str, int] = {}
    for order in look.orders:
        if order.group and order.group not in taken and order.purpose in (Purpose.STOP, Purpose.TARGET):
            shares[order.group] = max(shares.get(order.group, 0), order.remaining)
    steps: list[Step] = []
    for group, wanted in (*shares.items(), ("", size)):
        quantity = min(wanted, left)
        if quantity > 0:
            number = attrs.evolve(ref, revision=ref.revision + len(steps))
            steps.append(_close(look, quantity, number, group, at))
            left -= quantity
    return tuple(steps)


def _cover(look: Custody, missing: int, ref: OrderRef, at: datetime) -> tuple[Step, ...]:
    """Enlarge the widest stop in place; when none can be changed, close what it does not cover."""
    changeable = [
        order for order in look.stops if order.spec is not None and order.report.ref not in look.stubborn
    ]
    if not changeable:
        return (_close(look, missing, ref, "", at),)
    widest = max(changeable, key=lambda order: order.remaining)
    return (_resize(widest, widest.report.quantity + missing, at),)


def _shrink(look: Custody, exits: Sequence[Guarded], excess: int, at: datetime) -> Sequence[Step]:
    """Take from the exits what is more than the position; one that would be left empty is cancelled, and a
    target that cannot be changed."""
    steps: list[Step] = []
    for order in sorted(exits, key=lambda order: order.remaining):
        if excess <= 0:
            break
        taken = min(excess, order.remaining)
        excess -= taken
        stubborn = order.purpose is Purpose.TARGET and order.report.ref in look.stubborn
        if taken == order.remaining or order.spec is None or stubborn:
            steps.append(_cancel(order, at))
        else:
            steps.append(_resize(order, order.report.quantity - taken, at))
    return steps


def _cancel(order: Guarded, at: datetime) -> CancelEvent:
    return CancelEvent(at=at, cause=GUARD, ref=order.report.ref, why=GUARD)


def _resize(order: Guarded, quantity: int, at: datetime) -> ModifyOrderEvent:
    assert order.spec is not None
    report = order.report
    # What the broker has is what counts: a change of ours that it never took is not repeated by the way.
    spec = attrs.evolve(
        order.spec, quantity=quantity, limit_price=report.limit_price, stop_price=report.stop_price
    )
    return ModifyOrderEvent(at=at, cause=GUARD, ref=report.ref, order=spec, why=GUARD)


def _close(look: Custody, quantity: int, ref: OrderRef, group: str, at: datetime) -> NewOrderEvent:
    spec = OrderSpec(
        ref,
        look.closing_side,
        quantity,
        OrderType.MARKET,
        TimeInForce.DAY,
        oca_group=group,
        oca_type=2 if group else 0,
        purpose=Purpose.CLOSE,
    )
    return NewOrderEvent(at=at, cause=GUARD, ref=ref, order=spec)


def close_ref(instance: str, symbol: Symbol, trade: int, used: Iterable[OrderRef]) -> OrderRef:
    """A name for a close of the custodian that no order of the trade has had."""
    taken = [ref.revision for ref in used if ref.trade == trade and ref.role == CLOSE]
    return OrderRef(instance, symbol, trade, CLOSE, max(taken, default=-1) + 1)
