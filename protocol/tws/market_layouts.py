"""How the messages and requests about the market look, those of `market_messages` and `market_requests`."""

from __future__ import annotations

from protocol.tws import market_messages as m
from protocol.tws import market_requests as r
from protocol.tws.kinds import BOOL, FLOAT, INT, STR, TEXT, Kind
from protocol.tws.layout import (
    Constant,
    Field,
    Item,
    Layout,
    OneOf,
    Pairs,
    Repeat,
    Repeated,
    When,
    fields,
    size,
)
from protocol.tws.versions import BOND_ISSUERID

V1, V2, V3, V5 = (Constant(str(number)) for number in (1, 2, 3, 5))
"""The version field that older messages still carry."""

_REQ_ID = Field("req_id", INT)


def _float_unless(unset: float) -> Kind:
    """A float; TWS says `unset` for one that it has not computed."""

    def write(value: float | None) -> str:
        return f"{unset:g}" if value is None else repr(value)

    def read(text: str) -> float | None:
        value = FLOAT.read(text) if FLOAT.read is not None else float(text)
        return None if value == unset else float(value)

    return Kind(f"float or {unset:g}", write, read)


_ABOVE_ZERO = _float_unless(-1.0)
_GREEK = _float_unless(-2.0)

_TICK_BY_TICK: tuple[Item, ...] = (
    _REQ_ID,
    *fields(INT, "tick_type", "epoch_s"),
    When(
        OneOf("tick_type", (1, 2)),
        (
            *fields(FLOAT, "price"),
            *size("size"),
            *fields(INT, "attr_mask"),
            *fields(STR, "exchange", "special_conditions"),
        ),
    ),
    When(
        OneOf("tick_type", (3,)),
        (*fields(FLOAT, "bid", "ask"), *size("bid_size"), *size("ask_size"), *fields(INT, "attr_mask")),
    ),
    When(OneOf("tick_type", (4,)), fields(FLOAT, "mid")),
)

_PAST_MIDPOINT: tuple[Item, ...] = (
    *fields(INT, "epoch_s"),
    Constant("0"),
    *fields(FLOAT, "price"),
    *size("size"),
)
_PAST_QUOTE: tuple[Item, ...] = (
    *fields(INT, "epoch_s", "attr_mask"),
    *fields(FLOAT, "bid", "ask"),
    *size("bid_size"),
    *size("ask_size"),
)
_PAST_TRADE: tuple[Item, ...] = (
    *fields(INT, "epoch_s", "attr_mask"),
    *fields(FLOAT, "price"),
    *size("size"),
    *fields(STR, "exchange", "special_conditions"),
)
_DESCRIPTION: tuple[Item, ...] = (
    *fields(INT, "con_id"),
    *fields(STR, "symbol", "sec_type", "primary_exchange", "currency"),
    Repeated("derivative_sec_types", STR),
    Field("description", STR, since=BOND_ISSUERID),
    Field("issuer_id", STR, since=BOND_ISSUERID),
)

MARKET_SERVER_LAYOUTS: tuple[Layout, ...] = (
    Layout(
        21,
        m.TickOptionComputation,
        (
            _REQ_ID,
            *fields(INT, "tick_type", "attrib"),
            *fields(_ABOVE_ZERO, "implied_vol"),
            *fields(_GREEK, "delta"),
            *fields(_ABOVE_ZERO, "opt_price", "pv_dividend"),
            *fields(_GREEK, "gamma", "vega", "theta"),
            *fields(_ABOVE_ZERO, "und_price"),
        ),
    ),
    Layout(
        50,
        m.RealTimeBar,
        (
            V3,
            _REQ_ID,
            *fields(INT, "epoch_s"),
            *fields(FLOAT, "open", "high", "low", "close"),
            *size("volume"),
            *fields(FLOAT, "wap"),
            *fields(INT, "count"),
        ),
    ),
    Layout(99, m.TickByTick, _TICK_BY_TICK),
    Layout(
        96,
        m.HistoricalTicks,
        (_REQ_ID, Repeat("ticks", m.HistoricalTick, _PAST_MIDPOINT), Field("done", BOOL)),
    ),
    Layout(
        97,
        m.HistoricalTicksBidAsk,
        (_REQ_ID, Repeat("ticks", m.HistoricalTickBidAsk, _PAST_QUOTE), Field("done", BOOL)),
    ),
    Layout(
        98,
        m.HistoricalTicksLast,
        (_REQ_ID, Repeat("ticks", m.HistoricalTickLast, _PAST_TRADE), Field("done", BOOL)),
    ),
    Layout(
        12,
        m.MarketDepth,
        (V1, _REQ_ID, *fields(INT, "position", "operation", "side"), *fields(FLOAT, "price"), *size("size")),
    ),
    Layout(
        13,
        m.MarketDepthL2,
        (
            V1,
            _REQ_ID,
            *fields(INT, "position"),
            *fields(STR, "market_maker"),
            *fields(INT, "operation", "side"),
            *fields(FLOAT, "price"),
            *size("size"),
            *fields(BOOL, "is_smart_depth"),
        ),
    ),
    Layout(
        80,
        m.MarketDepthExchanges,
        (
            Repeat(
                "exchanges",
                m.DepthExchange,
                (
                    *fields(STR, "exchange", "sec_type", "listing_exchange", "service_data_type"),
                    *fields(INT, "agg_group"),
                ),
            ),
        ),
    ),
    Layout(88, m.HeadTimestamp, (_REQ_ID, *fields(STR, "timestamp"))),
    Layout(89, m.HistogramData, (_REQ_ID, Pairs("points", FLOAT, INT))),
    Layout(
        106,
        m.HistoricalSchedule,
        (
            _REQ_ID,
            *fields(STR, "start", "end", "time_zone"),
            Repeat("sessions", m.HistoricalSession, fields(STR, "start", "end", "ref_date")),
        ),
    ),
    Layout(79, m.SymbolSamples, (_REQ_ID, Repeat("contracts", m.ContractDescription, _DESCRIPTION))),
    Layout(
        75,
        m.OptionParameters,
        (
            _REQ_ID,
            *fields(STR, "exchange"),
            *fields(INT, "underlying_con_id"),
            *fields(STR, "trading_class", "multiplier"),
            Repeated("expirations", STR),
            Repeated("strikes", FLOAT),
        ),
    ),
    Layout(76, m.OptionParametersEnd, (_REQ_ID,)),
    Layout(
        82,
        m.SmartComponents,
        (
            _REQ_ID,
            Repeat(
                "components",
                m.SmartComponent,
                (*fields(INT, "bit_number"), *fields(STR, "exchange", "exchange_letter")),
            ),
        ),
    ),
    Layout(85, m.NewsProviders, (Pairs("providers", STR, STR),)),
    Layout(87, m.HistoricalNewsEnd, (_REQ_ID, *fields(BOOL, "has_more"))),
    Layout(19, m.ScannerParameters, (V1, *fields(TEXT, "xml"))),
)

_CONTRACT: tuple[Item, ...] = (
    *fields(INT, "contract.con_id"),
    *fields(STR, "contract.symbol", "contract.sec_type", "contract.last_trade_date_or_contract_month"),
    *fields(FLOAT, "contract.strike"),
    *fields(STR, "contract.right", "contract.multiplier", "contract.exchange", "contract.primary_exchange"),
    *fields(STR, "contract.currency", "contract.local_symbol", "contract.trading_class"),
)
_EXPIRED = Field("contract.include_expired", BOOL)
_OPTIONS = Field("options", STR)
_OPTION_COUNT = Field("option_count", INT)
_SCAN = tuple(
    name for name in (field.name for field in r.ReqScannerSubscription.__attrs_attrs__) if name != "req_id"
)

MARKET_REQUEST_LAYOUTS: tuple[Layout, ...] = (
    Layout(
        97,
        r.ReqTickByTick,
        (_REQ_ID, *_CONTRACT, Field("tick_type", STR), Field("count", INT), Field("ignore_size", BOOL)),
    ),
    Layout(98, r.CancelTickByTick, (_REQ_ID,)),
    Layout(
        10,
        r.ReqMarketDepth,
        (V5, _REQ_ID, *_CONTRACT, Field("rows", INT), Field("is_smart_depth", BOOL), _OPTIONS),
    ),
    Layout(11, r.CancelMarketDepth, (V1, _REQ_ID, Field("is_smart_depth", BOOL))),
    Layout(82, r.ReqMarketDepthExchanges, ()),
    Layout(
        50,
        r.ReqRealTimeBars,
        (
            V3,
            _REQ_ID,
            *_CONTRACT,
            Field("bar_size", INT),
            Field("what", STR),
            Field("use_rth", BOOL),
            _OPTIONS,
        ),
    ),
    Layout(51, r.CancelRealTimeBars, (V1, _REQ_ID)),
    Layout(
        87,
        r.ReqHeadTimestamp,
        (
            _REQ_ID,
            *_CONTRACT,
            _EXPIRED,
            Field("use_rth", BOOL),
            Field("what", STR),
            Field("format_date", INT),
        ),
    ),
    Layout(90, r.CancelHeadTimestamp, (_REQ_ID,)),
    Layout(88, r.ReqHistogram, (_REQ_ID, *_CONTRACT, _EXPIRED, Field("use_rth", BOOL), Field("period", STR))),
    Layout(89, r.CancelHistogram, (_REQ_ID,)),
    Layout(
        96,
        r.ReqHistoricalTicks,
        (
            _REQ_ID,
            *_CONTRACT,
            _EXPIRED,
            *fields(STR, "start", "end"),
            Field("count", INT),
            Field("what", STR),
            *fields(BOOL, "use_rth", "ignore_size"),
            _OPTIONS,
        ),
    ),
    Layout(81, r.ReqMatchingSymbols, (_REQ_ID, Field("pattern", STR))),
    Layout(
        78,
        r.ReqOptionParameters,
        (_REQ_ID, *fields(STR, "symbol", "exchange", "sec_type"), *fields(INT, "con_id")),
    ),
    Layout(83, r.ReqSmartComponents, (_REQ_ID, Field("bbo_exchange", STR))),
    Layout(
        54,
        r.CalculateImpliedVolatility,
        (V3, _REQ_ID, *_CONTRACT, *fields(FLOAT, "option_price", "under_price"), _OPTION_COUNT, _OPTIONS),
    ),
    Layout(
        55,
        r.CalculateOptionPrice,
        (V3, _REQ_ID, *_CONTRACT, *fields(FLOAT, "volatility", "under_price"), _OPTION_COUNT, _OPTIONS),
    ),
    Layout(56, r.CancelImpliedVolatility, (V1, _REQ_ID)),
    Layout(57, r.CancelOptionPrice, (V1, _REQ_ID)),
    Layout(85, r.ReqNewsProviders, ()),
    Layout(12, r.ReqNewsBulletins, (V1, Field("all_messages", BOOL))),
    Layout(13, r.CancelNewsBulletins, (V1,)),
    Layout(
        86,
        r.ReqHistoricalNews,
        (
            _REQ_ID,
            Field("con_id", INT),
            *fields(STR, "provider_codes", "start", "end"),
            Field("total_results", INT),
            _OPTIONS,
        ),
    ),
    Layout(84, r.ReqNewsArticle, (_REQ_ID, *fields(STR, "provider_code", "article_id"), _OPTIONS)),
    Layout(
        52,
        r.ReqFundamentalData,
        (
            V2,
            _REQ_ID,
            *fields(INT, "contract.con_id"),
            *fields(
                STR, "contract.symbol", "contract.sec_type", "contract.exchange", "contract.primary_exchange"
            ),
            *fields(STR, "contract.currency", "contract.local_symbol", "report"),
            _OPTION_COUNT,
            _OPTIONS,
        ),
    ),
    Layout(53, r.CancelFundamentalData, (V1, _REQ_ID)),
    Layout(24, r.ReqScannerParameters, (V1,)),
    Layout(22, r.ReqScannerSubscription, (_REQ_ID, *fields(STR, *_SCAN))),
    Layout(23, r.CancelScannerSubscription, (V1, _REQ_ID)),
)
