"""What the broker actor tells a symbol actor: one closed union, `Report`.

All quantities and prices are the broker's own words, translated but never interpreted: executions
move positions, statuses do not (reliability rule; IBKR says that `orderStatus` may be missing,
repeated or stale).
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.values import Bar, OrderRef, OrderStatus, OrderType, PriceGrid, Side, Symbol


@attrs.frozen
class OrderReport:
    """An order as the broker now describes it (`openOrder` and `orderStatus` in one)."""

    at: datetime
    ref: OrderRef
    perm_id: int
    status: OrderStatus
    side: Side
    type: OrderType
    quantity: int
    """Total quantity, including what has executed."""
    filled: int
    limit_price: Decimal | None
    stop_price: Decimal | None
    why_held: str = ""


@attrs.frozen
class ExecutionReport:
    """One execution. `exec_id` carries its revision behind the last dot: a correction has the same root."""

    at: datetime
    symbol: Symbol
    exec_id: str
    ref: OrderRef | None
    """None when the order is not ours: a person or another program traded the symbol."""
    perm_id: int
    side: Side
    quantity: int
    price: Decimal
    liquidation: bool = False
    """The broker closed a position for want of margin."""


@attrs.frozen
class CommissionCharged:
    at: datetime
    symbol: Symbol
    exec_id: str
    commission: Decimal


class RequestKind(enum.Enum):
    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"


NOT_SENT = 0
"""The `code` of a refusal that is ours, not TWS's."""


@attrs.frozen
class RequestRefused:
    """TWS refused what we asked (an error with the order's id), or the broker actor refused to send it.

    `terminal` says whether the order itself is known to be dead (only for a placement that was never
    acknowledged); otherwise the order stays as it was and its old parameters hold.
    """

    at: datetime
    ref: OrderRef
    request: RequestKind
    code: int
    reason: str
    terminal: bool


@attrs.frozen
class OrderLost:
    """An order of ours that two clean snapshots did not find: its bytes never reached the broker."""

    at: datetime
    ref: OrderRef


class LinkState(enum.Enum):
    DOWN = "down"
    """No session: nothing can be sent, orders may change unseen."""
    HELD = "held"
    """A session, but not reconciled or cut off upstream (1100): no entries."""
    UP = "up"


@attrs.frozen
class LinkChanged:
    at: datetime
    state: LinkState
    generation: int
    reason: str = ""


@attrs.frozen
class SymbolSnapshot:
    """The broker's truth about one symbol after (re)connecting or on request: the symbol reconciles with it.

    Complete: an order of ours that is open at the broker is in `orders`, one that is still on its way there,
    too; every execution of today is in `executions`.
    """

    at: datetime
    symbol: Symbol
    generation: int
    position: int
    orders: tuple[OrderReport, ...]
    executions: tuple[ExecutionReport, ...]
    foreign_orders: int
    """Open orders on this symbol that are not ours."""
    tradable: bool
    why_not: str = ""


@attrs.frozen
class ContractQualified:
    at: datetime
    symbol: Symbol
    con_id: int
    grid: PriceGrid


@attrs.frozen
class HistoryLoaded:
    """Completed bars of the asked size, oldest first; empty when the broker has none."""

    at: datetime
    symbol: Symbol
    bar_s: int
    bars: tuple[Bar, ...]


@attrs.frozen
class AccountReport:
    """What the account is worth, in dollars: cash and positions at market prices."""

    at: datetime
    equity: Decimal


Report: TypeAlias = (
    OrderReport
    | ExecutionReport
    | CommissionCharged
    | RequestRefused
    | OrderLost
    | LinkChanged
    | SymbolSnapshot
    | ContractQualified
    | HistoryLoaded
    | AccountReport
)
