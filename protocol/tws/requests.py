"""What a TWS API client asks of TWS, one frozen class per request; the union is `ClientRequest`.

Field names are those of the TWS API in snake_case. Unset numbers are None, unset strings are empty.
How each looks as bytes is in `request_layouts`.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from protocol.tws.account_requests import (
    AdvisorRequest,
)
from protocol.tws.account_requests import (
    CancelPositionsMulti as CancelPositionsMulti,
)
from protocol.tws.account_requests import (
    ReplaceFa as ReplaceFa,
)
from protocol.tws.account_requests import (
    ReqFamilyCodes as ReqFamilyCodes,
)
from protocol.tws.account_requests import (
    ReqPositionsMulti as ReqPositionsMulti,
)
from protocol.tws.account_requests import (
    ReqSoftDollarTiers as ReqSoftDollarTiers,
)
from protocol.tws.account_requests import (
    RequestFa as RequestFa,
)
from protocol.tws.market_requests import MarketRequest
from protocol.tws.order_terms import Order
from protocol.tws.terms import Contract, ExecutionFilter


@attrs.frozen
class StartApi:
    client_id: int
    optional_capabilities: str = ""


@attrs.frozen
class PlaceOrder:
    order_id: int
    contract: Contract
    order: Order


@attrs.frozen
class CancelOrder:
    order_id: int
    manual_cancel_time: str = ""
    ext_operator: str = ""
    manual_order_indicator: int | None = None


@attrs.frozen
class GlobalCancel:
    ext_operator: str = ""
    manual_order_indicator: int | None = None


@attrs.frozen
class ReqIds:
    count: int


@attrs.frozen
class ReqOpenOrders:
    pass


@attrs.frozen
class ReqAllOpenOrders:
    pass


@attrs.frozen
class ReqAutoOpenOrders:
    auto_bind: bool


@attrs.frozen
class ReqCompletedOrders:
    api_only: bool


@attrs.frozen
class ReqExecutions:
    req_id: int
    filter: ExecutionFilter


@attrs.frozen
class ReqPositions:
    pass


@attrs.frozen
class CancelPositions:
    pass


@attrs.frozen
class ReqAccountUpdates:
    subscribe: bool
    account: str


@attrs.frozen
class ReqAccountUpdatesMulti:
    req_id: int
    account: str
    model_code: str
    ledger_and_nlv: bool


@attrs.frozen
class CancelAccountUpdatesMulti:
    req_id: int


@attrs.frozen
class ReqAccountSummary:
    req_id: int
    group: str
    tags: str


@attrs.frozen
class CancelAccountSummary:
    req_id: int


@attrs.frozen
class ReqManagedAccounts:
    pass


@attrs.frozen
class ReqCurrentTime:
    pass


@attrs.frozen
class ReqCurrentTimeInMillis:
    """From version 197 on."""


@attrs.frozen
class ReqUserInfo:
    """From version 167 on."""

    req_id: int


@attrs.frozen
class SetServerLogLevel:
    level: int


@attrs.frozen
class ReqContractDetails:
    req_id: int
    contract: Contract


@attrs.frozen
class ReqMarketRule:
    rule_id: int


@attrs.frozen
class ReqMktData:
    req_id: int
    contract: Contract
    generic_ticks: str = ""
    snapshot: bool = False
    regulatory_snapshot: bool = False
    options: str = ""
    """As it travels: `tag=value;` one behind the other."""


@attrs.frozen
class CancelMktData:
    req_id: int


@attrs.frozen
class ReqMarketDataType:
    type: int


@attrs.frozen
class ReqHistoricalData:
    """`end` empty means now; `bar_size` such as `1 min`, `10 secs`; `duration` such as `1 D`, `3600 S`."""

    req_id: int
    contract: Contract
    end: str
    bar_size: str
    duration: str
    use_rth: bool
    what: str
    format_date: int
    keep_up_to_date: bool
    options: str = ""


@attrs.frozen
class CancelHistoricalData:
    req_id: int


@attrs.frozen
class ReqPnL:
    req_id: int
    account: str
    model_code: str


@attrs.frozen
class CancelPnL:
    req_id: int


@attrs.frozen
class ReqPnLSingle:
    req_id: int
    account: str
    model_code: str
    con_id: int


@attrs.frozen
class CancelPnLSingle:
    req_id: int


@attrs.frozen
class UnknownRequest:
    """A request that this server does not know or could not decode; the session goes on.

    `message_id` is -1 when there was none; `fields` are those behind it (of a placeOrder, the first is
    the order id).
    """

    message_id: int
    fields: tuple[str, ...]
    why: str


ClientRequest: TypeAlias = (
    AdvisorRequest | MarketRequest
    | StartApi | PlaceOrder | CancelOrder | GlobalCancel | ReqIds | ReqOpenOrders | ReqAllOpenOrders
    | ReqAutoOpenOrders | ReqCompletedOrders | ReqExecutions | ReqPositions | CancelPositions
    | ReqAccountUpdates | ReqAccountUpdatesMulti | CancelAccountUpdatesMulti | ReqAccountSummary
    | CancelAccountSummary | ReqManagedAccounts | ReqCurrentTime | ReqCurrentTimeInMillis | ReqUserInfo
    | SetServerLogLevel
    | ReqContractDetails | ReqMarketRule | ReqMktData | CancelMktData | ReqMarketDataType
    | ReqHistoricalData | CancelHistoricalData | ReqPnL | CancelPnL | ReqPnLSingle | CancelPnLSingle
    | UnknownRequest
)  # fmt: skip
