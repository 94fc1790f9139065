"""What a client sends: one layout per request."""

from __future__ import annotations

from protocol.tws import requests as r
from protocol.tws.kinds import BOOL, FLOAT, INT, MAX_INT, STR
from protocol.tws.layout import Constant, Field, Item, Layout, OneOf, Repeat, Repeated, When, fields
from protocol.tws.market_layouts import MARKET_REQUEST_LAYOUTS
from protocol.tws.order_blocks import DELTA_NEUTRAL_CONTRACT, RFQ
from protocol.tws.order_layouts import PLACE_ORDER
from protocol.tws.terms import ComboLeg
from protocol.tws.versions import (
    BOND_ISSUERID,
    CME_TAGGING_FIELDS,
    MANUAL_ORDER_TIME,
    PARAMETRIZED_DAYS_OF_EXECUTIONS,
    RFQ_FIELDS,
    UNDO_RFQ_FIELDS,
)

V1, V2, V3, V8, V11 = (Constant(str(number)) for number in (1, 2, 3, 8, 11))
"""The version field that older requests still carry."""

_REQ_ID = Field("req_id", INT)

_CONTRACT: tuple[Item, ...] = (
    *fields(INT, "contract.con_id"),
    *fields(STR, "contract.symbol", "contract.sec_type", "contract.last_trade_date_or_contract_month"),
    *fields(FLOAT, "contract.strike"),
    *fields(
        STR,
        "contract.right",
        "contract.multiplier",
        "contract.exchange",
        "contract.primary_exchange",
        "contract.currency",
        "contract.local_symbol",
        "contract.trading_class",
    ),
)

_LEG: tuple[Item, ...] = (*fields(INT, "con_id", "ratio"), *fields(STR, "action", "exchange"))
_LEGS = When(OneOf("contract.sec_type", ("BAG",)), (Repeat("contract.combo_legs", ComboLeg, _LEG),))

_SESSION: tuple[Layout, ...] = (
    Layout(71, r.StartApi, (V2, *fields(INT, "client_id"), *fields(STR, "optional_capabilities"))),
    Layout(8, r.ReqIds, (V1, *fields(INT, "count"))),
    Layout(17, r.ReqManagedAccounts, (V1,)),
    Layout(49, r.ReqCurrentTime, (V1,)),
    Layout(105, r.ReqCurrentTimeInMillis, ()),
    Layout(104, r.ReqUserInfo, (_REQ_ID,)),
    Layout(14, r.SetServerLogLevel, (V1, *fields(INT, "level"))),
)

_CME_TAGS = (
    Field("ext_operator", STR, since=CME_TAGGING_FIELDS),
    Field("manual_order_indicator", MAX_INT, since=CME_TAGGING_FIELDS),
)

_ORDERS: tuple[Layout, ...] = (
    PLACE_ORDER,
    Layout(
        4,
        r.CancelOrder,
        (
            Constant("1", until=CME_TAGGING_FIELDS),
            *fields(INT, "order_id"),
            Field("manual_cancel_time", STR, since=MANUAL_ORDER_TIME),
            Constant("", since=RFQ_FIELDS, until=UNDO_RFQ_FIELDS),
            *RFQ,
            *_CME_TAGS,
        ),
    ),
    Layout(58, r.GlobalCancel, (Constant("1", until=CME_TAGGING_FIELDS), *_CME_TAGS)),
    Layout(5, r.ReqOpenOrders, (V1,)),
    Layout(16, r.ReqAllOpenOrders, (V1,)),
    Layout(15, r.ReqAutoOpenOrders, (V1, *fields(BOOL, "auto_bind"))),
    Layout(99, r.ReqCompletedOrders, fields(BOOL, "api_only")),
    Layout(
        7,
        r.ReqExecutions,
        (
            V3,
            _REQ_ID,
            *fields(INT, "filter.client_id"),
            *fields(
                STR,
                "filter.account",
                "filter.time",
                "filter.symbol",
                "filter.sec_type",
                "filter.exchange",
                "filter.side",
            ),
            Field("filter.last_n_days", MAX_INT, since=PARAMETRIZED_DAYS_OF_EXECUTIONS),
            Repeated("filter.specific_dates", STR, since=PARAMETRIZED_DAYS_OF_EXECUTIONS),
        ),
    ),
)

_ACCOUNT: tuple[Layout, ...] = (
    Layout(61, r.ReqPositions, (V1,)),
    Layout(64, r.CancelPositions, (V1,)),
    Layout(6, r.ReqAccountUpdates, (V2, *fields(BOOL, "subscribe"), *fields(STR, "account"))),
    Layout(
        76,
        r.ReqAccountUpdatesMulti,
        (V1, _REQ_ID, *fields(STR, "account", "model_code"), *fields(BOOL, "ledger_and_nlv")),
    ),
    Layout(77, r.CancelAccountUpdatesMulti, (V1, _REQ_ID)),
    Layout(74, r.ReqPositionsMulti, (V1, _REQ_ID, *fields(STR, "account", "model_code"))),
    Layout(75, r.CancelPositionsMulti, (V1, _REQ_ID)),
    Layout(80, r.ReqFamilyCodes, ()),
    Layout(79, r.ReqSoftDollarTiers, (_REQ_ID,)),
    Layout(18, r.RequestFa, (V1, *fields(INT, "kind"))),
    Layout(19, r.ReplaceFa, (V1, *fields(INT, "kind"), *fields(STR, "xml"), _REQ_ID)),
    Layout(62, r.ReqAccountSummary, (V1, _REQ_ID, *fields(STR, "group", "tags"))),
    Layout(63, r.CancelAccountSummary, (V1, _REQ_ID)),
    Layout(92, r.ReqPnL, (_REQ_ID, *fields(STR, "account", "model_code"))),
    Layout(93, r.CancelPnL, (_REQ_ID,)),
    Layout(94, r.ReqPnLSingle, (_REQ_ID, *fields(STR, "account", "model_code"), *fields(INT, "con_id"))),
    Layout(95, r.CancelPnLSingle, (_REQ_ID,)),
)

_MARKET: tuple[Layout, ...] = (
    Layout(
        9,
        r.ReqContractDetails,
        (
            V8,
            _REQ_ID,
            *_CONTRACT,
            *fields(BOOL, "contract.include_expired"),
            *fields(STR, "contract.sec_id_type", "contract.sec_id"),
            Field("contract.issuer_id", STR, since=BOND_ISSUERID),
        ),
    ),
    Layout(91, r.ReqMarketRule, fields(INT, "rule_id")),
    Layout(
        1,
        r.ReqMktData,
        (
            V11,
            _REQ_ID,
            *_CONTRACT,
            _LEGS,
            DELTA_NEUTRAL_CONTRACT,
            *fields(STR, "generic_ticks"),
            *fields(BOOL, "snapshot", "regulatory_snapshot"),
            *fields(STR, "options"),
        ),
    ),
    Layout(2, r.CancelMktData, (V2, _REQ_ID)),
    Layout(59, r.ReqMarketDataType, (V1, *fields(INT, "type"))),
    Layout(
        20,
        r.ReqHistoricalData,
        (
            _REQ_ID,
            *_CONTRACT,
            *fields(BOOL, "contract.include_expired"),
            *fields(STR, "end", "bar_size", "duration"),
            *fields(BOOL, "use_rth"),
            *fields(STR, "what"),
            *fields(INT, "format_date"),
            _LEGS,
            *fields(BOOL, "keep_up_to_date"),
            *fields(STR, "options"),
        ),
    ),
    Layout(25, r.CancelHistoricalData, (V1, _REQ_ID)),
)

REQUEST_LAYOUTS: tuple[Layout, ...] = (*_SESSION, *_ORDERS, *_ACCOUNT, *_MARKET, *MARKET_REQUEST_LAYOUTS)
