"""What TWS says about orders and executions.

Field names are those of the TWS API in snake_case. The union of this module is part of
`messages.ServerMessage`; how each looks as bytes is in the layouts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.tws.order_terms import Order, OrderState
from protocol.tws.terms import Contract, Execution


@attrs.frozen
class OpenOrder:
    order_id: int
    contract: Contract
    order: Order
    state: OrderState


@attrs.frozen
class OpenOrderEnd:
    pass


@attrs.frozen
class OrderStatus:
    order_id: int
    status: str
    filled: Decimal
    remaining: Decimal
    avg_fill_price: float
    perm_id: int
    parent_id: int
    last_fill_price: float
    client_id: int
    why_held: str
    mkt_cap_price: float = 0.0


@attrs.frozen
class ExecDetails:
    """`req_id` is -1 for a live execution, else the request's that asked."""

    req_id: int
    contract: Contract
    execution: Execution


@attrs.frozen
class ExecDetailsEnd:
    req_id: int


@attrs.frozen
class CommissionReport:
    exec_id: str
    commission: float
    currency: str
    realized_pnl: float | None


@attrs.frozen
class CompletedOrder:
    contract: Contract
    order: Order
    state: OrderState
    filled_quantity: Decimal


@attrs.frozen
class CompletedOrdersEnd:
    pass


@attrs.frozen
class OrderBound:
    """A manual order has got an id of its client, which may work with it from now on."""

    perm_id: int
    client_id: int
    order_id: int


OrderMessage: TypeAlias = (
    OpenOrder
    | OpenOrderEnd
    | OrderStatus
    | ExecDetails
    | ExecDetailsEnd
    | CommissionReport
    | CompletedOrder
    | CompletedOrdersEnd
    | OrderBound
)
