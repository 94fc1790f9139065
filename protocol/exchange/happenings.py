"""What happens at the simulated venue: the closed union that `Venue` reports and the TWS face translates.

`VenueOrder` is a snapshot: what the venue knows about one order at that instant.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.tws.messages import Contract, Order


class Status(enum.Enum):
    """The order states of the TWS API, by their names on the wire. There is no PartiallyFilled."""

    API_PENDING = "ApiPending"
    """Held back: `transmit` was False. TWS says nothing about such an order."""
    PRE_SUBMITTED = "PreSubmitted"
    SUBMITTED = "Submitted"
    PENDING_CANCEL = "PendingCancel"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    INACTIVE = "Inactive"


@attrs.frozen(kw_only=True)
class VenueOrder:
    """`order` holds the parameters as they are now (quantity after reductions, prices after modifies)."""

    account: str
    client_id: int
    order_id: int
    perm_id: int
    parent_perm_id: int
    contract: Contract
    order: Order
    status: Status
    filled: int = 0
    avg_fill_price: float = 0.0
    last_fill_price: float = 0.0
    why_held: str = ""
    """`child`, `trigger`, `child,trigger`, `locate` or empty, as TWS says it."""

    @property
    def remaining(self) -> int:
        return int(self.order.total_quantity) - self.filled


@attrs.frozen(kw_only=True)
class VenueExecution:
    exec_id: str
    account: str
    perm_id: int
    client_id: int
    order_id: int
    order_ref: str
    contract: Contract
    exchange: str
    side: str
    """BOT or SLD."""
    quantity: int
    price: Decimal
    cum_quantity: int
    avg_price: float
    at: datetime


@attrs.frozen
class OrderAccepted:
    """The venue took a new order (all legs of a group, parent first, when the last one transmits)."""

    at: datetime
    order: VenueOrder


@attrs.frozen
class OrderModified:
    """The owner's modify took effect."""

    at: datetime
    order: VenueOrder


@attrs.frozen
class OrderTriggered:
    """A stop has been elected and now works as a market or limit order."""

    at: datetime
    order: VenueOrder


@attrs.frozen
class OrderChanged:
    """The venue itself changed an order: a child activated by its parent's fill, an OCA reduction."""

    at: datetime
    order: VenueOrder
    why: str


@attrs.frozen
class OrderCancelled:
    """Terminal. `by_client`: the owner asked; otherwise `reason` says why (OCA, day end)."""

    at: datetime
    order: VenueOrder
    reason: str
    by_client: bool


@attrs.frozen
class OrderRejected:
    """A request was refused. `order` is the live order that stands as before (modify), the Inactive one
    (a reject by the exchange), or None when no order came to be."""

    at: datetime
    client_id: int
    order_id: int
    code: int
    text: str
    order: VenueOrder | None = None


@attrs.frozen
class Executed:
    """One execution; `order` is the order after it."""

    at: datetime
    order: VenueOrder
    execution: VenueExecution


@attrs.frozen
class ExecutionCorrected:
    """The exchange corrected an execution, or took it back (its quantity is then 0).

    `order` and `execution` are as they are after it; the execution has a new id, of which only the last
    part differs from `replaces`.
    """

    at: datetime
    order: VenueOrder
    execution: VenueExecution
    replaces: str


@attrs.frozen
class CommissionCharged:
    """`realized_pnl` of this execution, net of the commissions of both sides, or None when it only opened."""

    at: datetime
    exec_id: str
    commission: Decimal
    realized_pnl: Decimal | None


@attrs.frozen
class PositionChanged:
    at: datetime
    account: str
    contract: Contract
    quantity: int
    average_cost: Decimal
    realized_pnl: Decimal
    """Of the symbol since the books began, commissions apart."""
    commission: Decimal
    """Of the symbol since the books began."""


Happening: TypeAlias = (
    OrderAccepted
    | OrderModified
    | OrderTriggered
    | OrderChanged
    | OrderCancelled
    | OrderRejected
    | Executed
    | ExecutionCorrected
    | CommissionCharged
    | PositionChanged
)


@attrs.frozen
class MarketTick:
    """One instant of the market of one symbol: quote and, when there was a trade, its price and size.

    None means: unchanged. Prices in dollars, sizes in shares. `volume` is the day's volume so far.
    """

    at: datetime
    symbol: str
    bid: float | None = None
    bid_size: int | None = None
    ask: float | None = None
    ask_size: int | None = None
    last: float | None = None
    last_size: int | None = None
    volume: int | None = None
    halted: bool | None = None
