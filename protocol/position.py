"""A position from its executions: each execution once, at its highest revision; commissions apart.

Average cost: adding moves the average, reducing realizes against it, crossing zero does both. Amounts
are exact decimals; an average is not rounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import attrs

from protocol.growth import Growth
from protocol.values import Side, Symbol

ZERO = Decimal(0)


@attrs.frozen
class Execution:
    """What one execution does to a position; `revision` counts the broker's corrections of it."""

    revision: int
    side: Side
    quantity: int
    price: Decimal


def split_exec_id(exec_id: str) -> tuple[str, int]:
    """The root of an execution id and its revision: a correction carries the same root and a higher one."""
    root, dot, last = exec_id.rpartition(".")
    if dot and last.isdecimal():
        return root, int(last)
    return exec_id, 0


@attrs.frozen
class Position:
    """`quantity` is signed; `realized_pnl` is of all trades of the symbol so far, without commissions."""

    symbol: Symbol
    quantity: int
    average_price: Decimal
    realized_pnl: Decimal
    commission: Decimal
    executions: Growth[str, Execution]
    """By the root of the execution id."""
    commissions: Growth[str, Decimal]

    @classmethod
    def empty(cls, symbol: Symbol) -> Position:
        return cls(symbol, 0, ZERO, ZERO, ZERO, Growth(), Growth())

    def knows(self, exec_id: str) -> bool:
        """Whether this execution, or a later revision of it, is already in the position."""
        root, revision = split_exec_id(exec_id)
        known = self.executions.get(root)
        return known is not None and known.revision >= revision

    def with_fill(self, exec_id: str, side: Side, quantity: int, price: Decimal) -> Position:
        """The position after an execution; unchanged when it is known, recomputed when it is corrected."""
        if self.knows(exec_id):
            return self
        root, revision = split_exec_id(exec_id)
        corrected = root in self.executions
        executions = self.executions.adding(root, Execution(revision, side, quantity, price))
        if corrected:
            held = _fold(executions.values())
        else:
            change = side.sign * quantity
            held = _trade(self.quantity, self.average_price, self.realized_pnl, change, price)
        return attrs.evolve(
            self,
            quantity=held[0],
            average_price=held[1],
            realized_pnl=held[2],
            executions=executions,
        )

    def charged(self, exec_id: str, commission: Decimal) -> bool:
        """Whether this commission of this execution is in the position already."""
        return self.commissions.get(split_exec_id(exec_id)[0]) == commission

    def with_commission(self, exec_id: str, commission: Decimal) -> Position:
        """Commission of one execution, in dollars, positive when paid; a later report replaces it."""
        root, _ = split_exec_id(exec_id)
        before = self.commissions.get(root, ZERO)
        if root in self.commissions and before == commission:
            return self
        return attrs.evolve(
            self,
            commission=self.commission - before + commission,
            commissions=self.commissions.adding(root, commission),
        )

    def unrealized_pnl(self, price: Decimal) -> Decimal:
        return (price - self.average_price) * self.quantity


def _fold(executions: Iterable[Execution]) -> tuple[int, Decimal, Decimal]:
    held = (0, ZERO, ZERO)
    for execution in executions:
        held = _trade(*held, execution.side.sign * execution.quantity, execution.price)
    return held


def _trade(
    quantity: int, average: Decimal, realized: Decimal, change: int, price: Decimal
) -> tuple[int, Decimal, Decimal]:
    """Average-cost arithmetic: quantity, average price and realized P&L after `change` shares at `price`."""
    after = quantity + change
    if quantity * change >= 0:
        if after == 0:
            return 0, ZERO, realized
        return after, (average * quantity + price * change) / after, realized
    closed = min(abs(change), abs(quantity)) * (1 if quantity > 0 else -1)
    realized += (price - average) * closed
    if after == 0:
        return 0, ZERO, realized
    if after * quantity > 0:
        return after, average, realized
    return after, price, realized
