"""One look at the broker's books: open orders, executions, positions, completed orders, all ends in."""

from __future__ import annotations

import enum
from typing import Final

import attrs

from protocol.reports import ExecutionReport
from protocol.tws import messages as tws
from protocol.values import OrderRef, Symbol

ANSWER_LOOP_S = 10.0
"""Silence after which a snapshot counts as unanswered; each part of the answer starts it anew."""


class Part(enum.Enum):
    ORDERS = "open orders"
    EXECUTIONS = "executions"
    POSITIONS = "positions"
    COMPLETED = "completed orders"


REQUIRED: Final = frozenset({Part.ORDERS, Part.EXECUTIONS, Part.POSITIONS})
"""Without completed orders a snapshot still proves what is open: they only say how the others ended."""

ROUTINE: Final = REQUIRED
"""What a regular look asks for: nothing is open but what it finds."""


@attrs.define
class Gathering:
    """A snapshot on its way. `sequence` is the count of order requests when it was asked for."""

    req_id: int
    sequence: int
    quiet_until_loop_s: float
    everyone: bool
    """Whether all symbols get it (after a link-up) or those that asked for it."""
    asked_by: set[Symbol]
    waiting: set[Part] = attrs.field(factory=lambda: set(Part))
    found: set[OrderRef] = attrs.field(factory=set)
    found_ids: set[int] = attrs.field(factory=set)
    """The permanent ids of our open orders: of one reference there should be one."""
    foreign: dict[int, Symbol] = attrs.field(factory=dict)
    """Open orders of others on our symbols, by permId."""
    positions: dict[Symbol, int] = attrs.field(factory=dict)
    executions: dict[str, ExecutionReport] = attrs.field(factory=dict)
    traded: bool = False
    """Whether something executed while it was under way."""

    def requests(self, account: str) -> tuple[tws.ClientRequest, ...]:
        """One for each part that is waited for."""
        everywhere: tuple[tws.ClientRequest, ...] = (
            tws.ReqAllOpenOrders(),
            tws.ReqExecutions(self.req_id, tws.ExecutionFilter(account=account)),
            tws.ReqPositions(),
        )
        if Part.COMPLETED not in self.waiting:
            return everywhere
        return (*everywhere, tws.ReqCompletedOrders(api_only=False))

    def heard(self, loop_s: float) -> None:
        self.quiet_until_loop_s = loop_s + ANSWER_LOOP_S

    def ended(self, part: Part) -> bool:
        """A part has ended; whether that was the last one."""
        self.waiting.discard(part)
        return not self.waiting

    @property
    def usable(self) -> bool:
        return not self.waiting & REQUIRED
