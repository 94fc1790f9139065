"""What TWS sends, orders apart: one layout per message."""

from __future__ import annotations

from protocol.tws import messages as m
from protocol.tws.kinds import ACCOUNTS, BOOL, FLOAT, INT, MAX_FLOAT, OPT_FLOAT, QTY, STR, TEXT
from protocol.tws.layout import (
    Constant,
    Field,
    Item,
    Layout,
    OneOf,
    Pairs,
    Repeat,
    When,
    Words,
    fields,
    size,
)
from protocol.tws.market_layouts import MARKET_SERVER_LAYOUTS
from protocol.tws.order_layouts import COMPLETED_ORDER, OPEN_ORDER
from protocol.tws.terms import HistoricalBar
from protocol.tws.versions import (
    ADVANCED_ORDER_REJECT,
    ERROR_TIME,
    FRACTIONAL_SIZE_SUPPORT,
    FUND_DATA_FIELDS,
    HISTORICAL_DATA_END,
    INELIGIBILITY_REASONS,
    LAST_TRADE_DATE,
    PENDING_PRICE_REVISION,
    SIZE_RULES,
    SUBMITTER,
)

V1, V2, V3, V6, V8 = (Constant(str(number)) for number in (1, 2, 3, 6, 8))
"""The version field that older messages still carry."""


def _contract(*last: str) -> tuple[Item, ...]:
    """The contract as positions, executions and portfolio lines carry it; `last` behind the right."""
    return (
        *fields(INT, "contract.con_id"),
        *fields(STR, "contract.symbol", "contract.sec_type", "contract.last_trade_date_or_contract_month"),
        *fields(FLOAT, "contract.strike"),
        *fields(STR, "contract.right", "contract.multiplier", *last),
        *fields(STR, "contract.currency", "contract.local_symbol", "contract.trading_class"),
    )


_SESSION: tuple[Layout, ...] = (
    Layout(9, m.NextValidId, (V1, *fields(INT, "order_id"))),
    Layout(15, m.ManagedAccounts, (V1, *fields(ACCOUNTS, "accounts"))),
    Layout(
        4,
        m.ErrorMessage,
        (
            Constant("2", until=ERROR_TIME),
            *fields(INT, "id", "code"),
            *fields(TEXT, "text"),
            Field("advanced_json", TEXT, since=ADVANCED_ORDER_REJECT),
            Field("time_ms", INT, since=ERROR_TIME),
        ),
    ),
    Layout(49, m.CurrentTime, (V1, *fields(INT, "epoch_s"))),
    Layout(109, m.CurrentTimeInMillis, fields(INT, "epoch_ms")),
    Layout(107, m.UserInfo, (*fields(INT, "req_id"), *fields(STR, "white_branding_id"))),
)

_ORDERS: tuple[Layout, ...] = (
    OPEN_ORDER,
    Layout(53, m.OpenOrderEnd, (V1,)),
    Layout(
        3,
        m.OrderStatus,
        (
            *fields(INT, "order_id"),
            *fields(STR, "status"),
            *fields(QTY, "filled", "remaining"),
            *fields(FLOAT, "avg_fill_price"),
            *fields(INT, "perm_id", "parent_id"),
            *fields(FLOAT, "last_fill_price"),
            *fields(INT, "client_id"),
            *fields(STR, "why_held"),
            *fields(FLOAT, "mkt_cap_price"),
        ),
    ),
    Layout(
        11,
        m.ExecDetails,
        (
            *fields(INT, "req_id", "execution.order_id"),
            *_contract("contract.exchange"),
            *fields(
                STR,
                "execution.exec_id",
                "execution.time",
                "execution.acct_number",
                "execution.exchange",
                "execution.side",
            ),
            *fields(QTY, "execution.shares"),
            *fields(FLOAT, "execution.price"),
            *fields(INT, "execution.perm_id", "execution.client_id", "execution.liquidation"),
            *fields(QTY, "execution.cum_qty"),
            *fields(FLOAT, "execution.avg_price"),
            *fields(STR, "execution.order_ref", "execution.ev_rule"),
            *fields(OPT_FLOAT, "execution.ev_multiplier"),
            *fields(STR, "execution.model_code"),
            *fields(INT, "execution.last_liquidity"),
            Field("execution.pending_price_revision", BOOL, since=PENDING_PRICE_REVISION),
            Field("execution.submitter", STR, since=SUBMITTER),
        ),
    ),
    Layout(55, m.ExecDetailsEnd, (V1, *fields(INT, "req_id"))),
    Layout(
        59,
        m.CommissionReport,
        (
            V1,
            *fields(STR, "exec_id"),
            *fields(FLOAT, "commission"),
            *fields(STR, "currency"),
            *fields(MAX_FLOAT, "realized_pnl"),
            Constant("1.7976931348623157E308"),  # the yield of a bond
            Constant(""),  # and its redemption date
        ),
    ),
    COMPLETED_ORDER,
    Layout(102, m.CompletedOrdersEnd, ()),
    Layout(100, m.OrderBound, fields(INT, "perm_id", "client_id", "order_id")),
)

_ACCOUNT: tuple[Layout, ...] = (
    Layout(
        61,
        m.Position,
        (
            V3,
            *fields(STR, "account"),
            *_contract("contract.exchange"),
            *fields(QTY, "position"),
            *fields(FLOAT, "avg_cost"),
        ),
    ),
    Layout(62, m.PositionEnd, (V1,)),
    Layout(
        71,
        m.PositionMulti,
        (
            V1,
            *fields(INT, "req_id"),
            *fields(STR, "account"),
            *_contract("contract.exchange"),
            *fields(QTY, "position"),
            *fields(FLOAT, "avg_cost"),
            *fields(STR, "model_code"),
        ),
    ),
    Layout(72, m.PositionMultiEnd, (V1, *fields(INT, "req_id"))),
    Layout(78, m.FamilyCodes, (Pairs("codes", STR, STR),)),
    Layout(
        77,
        m.SoftDollarTiers,
        (
            *fields(INT, "req_id"),
            Repeat("tiers", m.SoftDollarTier, fields(STR, "name", "val", "display_name")),
        ),
    ),
    Layout(6, m.AccountValue, (V2, *fields(TEXT, "key", "value", "currency", "account"))),
    Layout(
        7,
        m.PortfolioValue,
        (
            V8,
            *_contract("contract.primary_exchange"),
            *fields(QTY, "position"),
            *fields(FLOAT, "market_price", "market_value", "average_cost", "unrealized_pnl", "realized_pnl"),
            *fields(STR, "account"),
        ),
    ),
    Layout(8, m.AccountUpdateTime, (V1, *fields(TEXT, "text"))),
    Layout(54, m.AccountDownloadEnd, (V1, *fields(TEXT, "account"))),
    Layout(
        63,
        m.AccountSummary,
        (V1, *fields(INT, "req_id"), *fields(TEXT, "account", "tag", "value", "currency")),
    ),
    Layout(64, m.AccountSummaryEnd, (V1, *fields(INT, "req_id"))),
    Layout(
        73,
        m.AccountUpdateMulti,
        (V1, *fields(INT, "req_id"), *fields(TEXT, "account", "model_code", "key", "value", "currency")),
    ),
    Layout(74, m.AccountUpdateMultiEnd, (V1, *fields(INT, "req_id"))),
    Layout(
        94,
        m.PnL,
        (*fields(INT, "req_id"), *fields(MAX_FLOAT, "daily_pnl", "unrealized_pnl", "realized_pnl")),
    ),
    Layout(
        95,
        m.PnLSingle,
        (
            *fields(INT, "req_id"),
            *size("position"),
            *fields(MAX_FLOAT, "daily_pnl", "unrealized_pnl", "realized_pnl", "value"),
        ),
    ),
)

_FUND = When(
    OneOf("details.contract.sec_type", ("FUND",)),
    (
        *fields(
            STR,
            "details.fund.name",
            "details.fund.family",
            "details.fund.type",
            "details.fund.front_load",
            "details.fund.back_load",
            "details.fund.back_load_time_interval",
            "details.fund.management_fee",
        ),
        *fields(
            BOOL,
            "details.fund.closed",
            "details.fund.closed_for_new_investors",
            "details.fund.closed_for_new_money",
        ),
        *fields(
            STR,
            "details.fund.notify_amount",
            "details.fund.minimum_initial_purchase",
            "details.fund.subsequent_minimum_purchase",
            "details.fund.blue_sky_states",
            "details.fund.blue_sky_territories",
            "details.fund.distribution_policy_indicator",
            "details.fund.asset_type",
        ),
    ),
    since=FUND_DATA_FIELDS,
)

_CONTRACTS: tuple[Layout, ...] = (
    Layout(
        10,
        m.ContractData,
        (
            Constant("8", until=SIZE_RULES),
            *fields(INT, "req_id"),
            *fields(STR, "details.contract.symbol", "details.contract.sec_type"),
            Words("details.contract.last_trade_date_or_contract_month", "details.last_trade_time"),
            Field("details.contract.last_trade_date", STR, since=LAST_TRADE_DATE),
            *fields(FLOAT, "details.contract.strike"),
            *fields(
                STR,
                "details.contract.right",
                "details.contract.exchange",
                "details.contract.currency",
                "details.contract.local_symbol",
                "details.market_name",
                "details.contract.trading_class",
            ),
            *fields(INT, "details.contract.con_id"),
            *fields(FLOAT, "details.min_tick"),
            Field("details.md_size_multiplier", INT, until=SIZE_RULES),
            *fields(STR, "details.contract.multiplier", "details.order_types", "details.valid_exchanges"),
            *fields(INT, "details.price_magnifier", "details.under_con_id"),
            *fields(TEXT, "details.long_name"),
            *fields(
                STR,
                "details.contract.primary_exchange",
                "details.contract_month",
                "details.industry",
                "details.category",
                "details.subcategory",
                "details.time_zone_id",
                "details.trading_hours",
                "details.liquid_hours",
                "details.ev_rule",
            ),
            *fields(INT, "details.ev_multiplier"),
            Pairs("details.sec_id_list", STR, STR),
            *fields(INT, "details.agg_group"),
            *fields(
                STR,
                "details.under_symbol",
                "details.under_sec_type",
                "details.market_rule_ids",
                "details.real_expiration_date",
                "details.stock_type",
            ),
            # At exactly 163 one size travelled, the smallest one.
            Field("details.min_size", QTY, since=FRACTIONAL_SIZE_SUPPORT),
            Field("details.size_increment", QTY, since=SIZE_RULES),
            Field("details.suggested_size_increment", QTY, since=SIZE_RULES),
            _FUND,
            Pairs("details.ineligibility_reasons", STR, STR, since=INELIGIBILITY_REASONS),
        ),
    ),
    Layout(52, m.ContractDataEnd, (V1, *fields(INT, "req_id"))),
    Layout(93, m.MarketRule, (*fields(INT, "rule_id"), Pairs("increments", FLOAT, FLOAT))),
)

_BAR: tuple[Item, ...] = (
    *fields(STR, "date"),
    *fields(FLOAT, "open", "high", "low", "close"),
    *size("volume"),
    *fields(FLOAT, "wap"),
    *fields(INT, "count"),
)

_MARKET: tuple[Layout, ...] = (
    Layout(
        17,
        m.HistoricalData,
        (
            *fields(INT, "req_id"),
            Field("start", STR, until=HISTORICAL_DATA_END),
            Field("end", STR, until=HISTORICAL_DATA_END),
            Repeat("bars", HistoricalBar, _BAR),
        ),
    ),
    Layout(108, m.HistoricalDataEnd, (*fields(INT, "req_id"), *fields(STR, "start", "end"))),
    Layout(
        90,
        m.HistoricalDataUpdate,
        (
            *fields(INT, "req_id", "bar.count"),
            *fields(STR, "bar.date"),
            *fields(FLOAT, "bar.open", "bar.close", "bar.high", "bar.low", "bar.wap"),
            *size("bar.volume"),
        ),
    ),
    Layout(58, m.MarketDataType, (V1, *fields(INT, "req_id", "type"))),
    Layout(
        81,
        m.TickReqParams,
        (
            *fields(INT, "req_id"),
            *fields(FLOAT, "min_tick"),
            *fields(STR, "bbo_exchange"),
            *fields(INT, "snapshot_permissions"),
        ),
    ),
    Layout(
        1,
        m.TickPrice,
        (
            V6,
            *fields(INT, "req_id", "tick_type"),
            *fields(FLOAT, "price"),
            *size("size"),
            *fields(INT, "attr_mask"),
        ),
    ),
    Layout(2, m.TickSize, (V6, *fields(INT, "req_id", "tick_type"), *size("size"))),
    Layout(45, m.TickGeneric, (V6, *fields(INT, "req_id", "tick_type"), *fields(FLOAT, "value"))),
    Layout(46, m.TickString, (V6, *fields(INT, "req_id", "tick_type"), *fields(TEXT, "value"))),
    Layout(57, m.TickSnapshotEnd, (V1, *fields(INT, "req_id"))),
)

SERVER_LAYOUTS: tuple[Layout, ...] = (
    *_SESSION, *_ORDERS, *_ACCOUNT, *_CONTRACTS, *_MARKET, *MARKET_SERVER_LAYOUTS
)  # fmt: skip
