"""Everything that travels between a TWS API client and TWS, one frozen class per message.

Field names are those of the TWS API in snake_case. Unset numbers are None, unset strings are empty.
Sizes are `Decimal` (the API has fractional sizes from version 163 on); prices are floats, as on the wire.
`ServerMessage` is what TWS says, `ClientRequest` what a client asks (`requests`); the things they speak
about are in `terms` and `order_terms`. All of them can be imported from here. How each looks as bytes,
and from which version on, is in `server_layouts`, `order_layouts` and `request_layouts`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.tws.order_terms import (
    ExecutionCondition as ExecutionCondition,
)
from protocol.tws.order_terms import (
    MarginCondition as MarginCondition,
)
from protocol.tws.order_terms import (
    Order as Order,
)
from protocol.tws.order_terms import (
    OrderComboLeg as OrderComboLeg,
)
from protocol.tws.order_terms import (
    OrderCondition as OrderCondition,
)
from protocol.tws.order_terms import (
    OrderState as OrderState,
)
from protocol.tws.order_terms import (
    PercentChangeCondition as PercentChangeCondition,
)
from protocol.tws.order_terms import (
    PriceCondition as PriceCondition,
)
from protocol.tws.order_terms import (
    SoftDollarTier as SoftDollarTier,
)
from protocol.tws.order_terms import (
    TimeCondition as TimeCondition,
)
from protocol.tws.order_terms import (
    VolumeCondition as VolumeCondition,
)
from protocol.tws.requests import (
    CancelAccountSummary as CancelAccountSummary,
)
from protocol.tws.requests import (
    CancelAccountUpdatesMulti as CancelAccountUpdatesMulti,
)
from protocol.tws.requests import (
    CancelHistoricalData as CancelHistoricalData,
)
from protocol.tws.requests import (
    CancelMktData as CancelMktData,
)
from protocol.tws.requests import (
    CancelOrder as CancelOrder,
)
from protocol.tws.requests import (
    CancelPnL as CancelPnL,
)
from protocol.tws.requests import (
    CancelPnLSingle as CancelPnLSingle,
)
from protocol.tws.requests import (
    CancelPositions as CancelPositions,
)
from protocol.tws.requests import (
    ClientRequest as ClientRequest,
)
from protocol.tws.requests import (
    GlobalCancel as GlobalCancel,
)
from protocol.tws.requests import (
    PlaceOrder as PlaceOrder,
)
from protocol.tws.requests import (
    ReqAccountSummary as ReqAccountSummary,
)
from protocol.tws.requests import (
    ReqAccountUpdates as ReqAccountUpdates,
)
from protocol.tws.requests import (
    ReqAccountUpdatesMulti as ReqAccountUpdatesMulti,
)
from protocol.tws.requests import (
    ReqAllOpenOrders as ReqAllOpenOrders,
)
from protocol.tws.requests import (
    ReqAutoOpenOrders as ReqAutoOpenOrders,
)
from protocol.tws.requests import (
    ReqCompletedOrders as ReqCompletedOrders,
)
from protocol.tws.requests import (
    ReqContractDetails as ReqContractDetails,
)
from protocol.tws.requests import (
    ReqCurrentTime as ReqCurrentTime,
)
from protocol.tws.requests import (
    ReqExecutions as ReqExecutions,
)
from protocol.tws.requests import (
    ReqHistoricalData as ReqHistoricalData,
)
from protocol.tws.requests import (
    ReqIds as ReqIds,
)
from protocol.tws.requests import (
    ReqManagedAccounts as ReqManagedAccounts,
)
from protocol.tws.requests import (
    ReqMarketDataType as ReqMarketDataType,
)
from protocol.tws.requests import (
    ReqMarketRule as ReqMarketRule,
)
from protocol.tws.requests import (
    ReqMktData as ReqMktData,
)
from protocol.tws.requests import (
    ReqOpenOrders as ReqOpenOrders,
)
from protocol.tws.requests import (
    ReqPnL as ReqPnL,
)
from protocol.tws.requests import (
    ReqPnLSingle as ReqPnLSingle,
)
from protocol.tws.requests import (
    ReqPositions as ReqPositions,
)
from protocol.tws.requests import (
    SetServerLogLevel as SetServerLogLevel,
)
from protocol.tws.requests import (
    StartApi as StartApi,
)
from protocol.tws.requests import (
    UnknownRequest as UnknownRequest,
)
from protocol.tws.terms import (
    ComboLeg as ComboLeg,
)
from protocol.tws.terms import (
    Contract as Contract,
)
from protocol.tws.terms import (
    ContractDetails as ContractDetails,
)
from protocol.tws.terms import (
    DeltaNeutralContract as DeltaNeutralContract,
)
from protocol.tws.terms import (
    Execution as Execution,
)
from protocol.tws.terms import (
    ExecutionFilter as ExecutionFilter,
)
from protocol.tws.terms import (
    HistoricalBar as HistoricalBar,
)


@attrs.frozen
class NextValidId:
    order_id: int


@attrs.frozen
class ManagedAccounts:
    accounts: tuple[str, ...]


@attrs.frozen
class ErrorMessage:
    """`id` is a request's, an order's, or -1 for a notice about the session."""

    id: int
    code: int
    text: str
    advanced_json: str = ""


@attrs.frozen
class CurrentTime:
    epoch_s: int


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
class Position:
    account: str
    contract: Contract
    position: Decimal
    avg_cost: float


@attrs.frozen
class PositionEnd:
    pass


@attrs.frozen
class AccountValue:
    key: str
    value: str
    currency: str
    account: str


@attrs.frozen
class PortfolioValue:
    contract: Contract
    position: Decimal
    market_price: float
    market_value: float
    average_cost: float
    unrealized_pnl: float
    realized_pnl: float
    account: str


@attrs.frozen
class AccountUpdateTime:
    text: str


@attrs.frozen
class AccountDownloadEnd:
    account: str


@attrs.frozen
class AccountSummary:
    req_id: int
    account: str
    tag: str
    value: str
    currency: str


@attrs.frozen
class AccountSummaryEnd:
    req_id: int


@attrs.frozen
class AccountUpdateMulti:
    req_id: int
    account: str
    model_code: str
    key: str
    value: str
    currency: str


@attrs.frozen
class AccountUpdateMultiEnd:
    req_id: int


@attrs.frozen
class ContractData:
    req_id: int
    details: ContractDetails


@attrs.frozen
class ContractDataEnd:
    req_id: int


@attrs.frozen
class MarketRule:
    """`increments`: (price from which it holds, step), ascending."""

    rule_id: int
    increments: tuple[tuple[float, float], ...]


@attrs.frozen
class HistoricalData:
    req_id: int
    start: str
    end: str
    bars: tuple[HistoricalBar, ...]


@attrs.frozen
class HistoricalDataUpdate:
    req_id: int
    bar: HistoricalBar


@attrs.frozen
class MarketDataType:
    req_id: int
    type: int


@attrs.frozen
class TickReqParams:
    req_id: int
    min_tick: float
    bbo_exchange: str
    snapshot_permissions: int


@attrs.frozen
class TickPrice:
    """`tick_type` 1 bid, 2 ask, 4 last, 6 high, 7 low, 9 close; `size` belongs to it (0 where none does)."""

    req_id: int
    tick_type: int
    price: float
    size: Decimal
    attr_mask: int = 0


@attrs.frozen
class TickSize:
    """`tick_type` 0 bid size, 3 ask size, 5 last size, 8 volume."""

    req_id: int
    tick_type: int
    size: Decimal


@attrs.frozen
class TickGeneric:
    """`tick_type` 49: halted (0 no, 1 general, 2 volatility)."""

    req_id: int
    tick_type: int
    value: float


@attrs.frozen
class TickString:
    """`tick_type` 45: time of the last trade, epoch seconds."""

    req_id: int
    tick_type: int
    value: str


@attrs.frozen
class TickSnapshotEnd:
    req_id: int


@attrs.frozen
class PnL:
    req_id: int
    daily_pnl: float | None
    unrealized_pnl: float | None
    realized_pnl: float | None


@attrs.frozen
class PnLSingle:
    req_id: int
    position: Decimal
    daily_pnl: float | None
    unrealized_pnl: float | None
    realized_pnl: float | None
    value: float | None


ServerMessage: TypeAlias = (
    NextValidId | ManagedAccounts | ErrorMessage | CurrentTime
    | OpenOrder | OpenOrderEnd | OrderStatus | ExecDetails | ExecDetailsEnd | CommissionReport
    | CompletedOrder | CompletedOrdersEnd | Position | PositionEnd
    | AccountValue | PortfolioValue | AccountUpdateTime | AccountDownloadEnd
    | AccountSummary | AccountSummaryEnd | AccountUpdateMulti | AccountUpdateMultiEnd
    | ContractData | ContractDataEnd | MarketRule | HistoricalData | HistoricalDataUpdate
    | MarketDataType | TickReqParams | TickPrice | TickSize | TickGeneric | TickString | TickSnapshotEnd
    | PnL | PnLSingle
)  # fmt: skip
