"""The life of one order, as a table.

What we asked (`spec`) and what the broker confirmed are two things; comparisons are made with what was
asked. Quantities move by executions only: a status never fills an order.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

import attrs

from protocol.values import OrderRef, OrderSpec, OrderStatus, Purpose

S = OrderStatus

TERMINAL: Final = frozenset({S.FILLED, S.CANCELLED, S.REJECTED})
"""Nothing more is to come of these, save an execution that crossed the cancel."""

WORKING: Final = frozenset({S.ACCEPTED, S.SUBMITTED, S.PARTIALLY_FILLED})
"""The broker has it and may fill it, or holds it for its trigger or parent."""

TRANSITIONS: Final[dict[OrderStatus, frozenset[OrderStatus]]] = {
    # Any first word is possible: a market order may be Filled before it was ever Submitted.
    S.CREATED: frozenset(S) - {S.CREATED},
    S.PENDING_SUBMIT: frozenset(S) - {S.CREATED},
    # PreSubmitted and Submitted alternate with sessions, modifies and locates.
    S.ACCEPTED: frozenset(S) - {S.CREATED, S.PENDING_SUBMIT},
    S.SUBMITTED: frozenset(S) - {S.CREATED, S.PENDING_SUBMIT},
    S.PARTIALLY_FILLED: frozenset(S) - {S.CREATED, S.PENDING_SUBMIT, S.ACCEPTED},
    # A refused cancel puts the order back to work.
    S.PENDING_CANCEL: frozenset(S) - {S.CREATED, S.PENDING_SUBMIT},
    # Inactive is not terminal: held for a locate or dead, only asking tells (the API uses it for both).
    S.INACTIVE: frozenset(S) - {S.CREATED, S.PENDING_SUBMIT},
    # A cancel and a fill can cross; the fill is real.
    S.CANCELLED: frozenset({S.FILLED}),
    # Given up for lost or refused, and then found at the broker after all.
    S.REJECTED: frozenset({S.ACCEPTED, S.SUBMITTED, S.PENDING_CANCEL, S.CANCELLED, S.FILLED}),
    # Statuses repeat and arrive late (a Submitted after Filled is common); filled stays filled.
    S.FILLED: frozenset(),
}


@attrs.frozen
class Order:
    """One order of a trade. `spec.quantity` is the total asked, executed shares included."""

    spec: OrderSpec
    status: OrderStatus = S.CREATED
    filled: int = 0
    """By executions."""
    perm_id: int = 0
    confirmed_quantity: int | None = None
    requested_quantity: int | None = None
    """The total in what we last sent about it; `spec` is without what the broker took off itself since."""
    confirmed_limit: Decimal | None = None
    confirmed_stop: Decimal | None = None
    cancel_asked: bool = False
    refusals: int = 0
    """Requests about it that the broker refused since the last one it took."""
    refused_with: int = 0
    """The broker's code for not taking it; 0 where it never got there."""
    reported_filled: int = 0
    """Executed shares that a status spoke of."""
    taken_back: int = 0
    """Executed shares that corrections took away: what a status says may go on counting them."""
    asked_at: datetime | None = None
    """When we last asked something of it, or the broker changed it by a rule that we know."""
    modified_at: datetime | None = None
    """When we last asked for a change of it: changes of its price alone are spaced."""
    status_since: datetime | None = None
    agreed: OrderSpec | None = None
    """As what the broker last confirmed it, just as it was asked."""
    differs_since: datetime | None = None
    """Since when the broker's word is another than what we ask."""
    moved: int = 0
    """How often somebody else has changed it after the broker had agreed."""
    closing_attempts: int = 0
    """How often it was asked to close the position: each price reaches further through the market."""

    @property
    def ref(self) -> OrderRef:
        return self.spec.ref

    @property
    def role(self) -> str:
        return self.spec.ref.role

    @property
    def purpose(self) -> Purpose:
        return self.spec.purpose

    @property
    def live(self) -> bool:
        """Whether executions of it may still come: it works, or a status spoke of more than we have."""
        return self.status not in TERMINAL or self.awaits_executions

    @property
    def awaits_executions(self) -> bool:
        """Whether the broker has said that more of it executed than it has told in executions."""
        return self.owed > 0

    @property
    def owed(self) -> int:
        """Shares whose executions are to come."""
        return max(self.reported_filled - self.filled - self.taken_back, 0)

    @property
    def changeable(self) -> bool:
        """Whether a modify of it makes sense now."""
        return self.status not in TERMINAL and not self.cancel_asked and self.status is not S.PENDING_CANCEL

    @property
    def as_asked(self) -> bool:
        """Whether the broker has said that it is what we asked for."""
        return (
            self.confirmed_quantity == self.spec.quantity
            and self.confirmed_limit in (None, self.spec.limit_price)
            and self.confirmed_stop in (None, self.spec.stop_price)
        )

    @property
    def remaining(self) -> int:
        return max(self.spec.quantity - self.filled, 0)

    def told(self, status: OrderStatus) -> OrderStatus:
        """The status after the broker said `status`: the old one where the table knows no way there."""
        return status if status in TRANSITIONS[self.status] else self.status

    def executed(self, change: int) -> Order:
        """After `change` more shares have executed (fewer, for a correction).

        It has filled when that holds for what was asked and for what the broker confirmed: a smaller
        quantity that was asked in vain must not end an order that works on.
        """
        filled = self.filled + change
        status = self.status
        if filled >= max(self.spec.quantity, self.confirmed_quantity or 0):
            status = self.told(S.FILLED)
        elif status not in TERMINAL and status is not S.PENDING_CANCEL:
            status = S.PARTIALLY_FILLED
        taken_back = self.taken_back - min(change, 0)
        return attrs.evolve(self, filled=filled, status=status, taken_back=taken_back)
