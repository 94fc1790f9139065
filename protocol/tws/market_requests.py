"""What a client asks about the market beyond quotes and bars; the union is part of `requests.ClientRequest`.

Field names are those of the TWS API in snake_case; `options` are `tag=value;` one behind the other, as they
travel. How each looks as bytes is in `market_layouts`.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from protocol.tws.terms import Contract


@attrs.frozen
class ReqTickByTick:
    """`tick_type`: Last, AllLast, BidAsk or MidPoint. `count` past ticks come first; 0: none."""

    req_id: int
    contract: Contract
    tick_type: str
    count: int
    ignore_size: bool


@attrs.frozen
class CancelTickByTick:
    req_id: int


@attrs.frozen
class ReqMarketDepth:
    req_id: int
    contract: Contract
    rows: int
    is_smart_depth: bool
    options: str = ""


@attrs.frozen
class CancelMarketDepth:
    req_id: int
    is_smart_depth: bool


@attrs.frozen
class ReqMarketDepthExchanges:
    pass


@attrs.frozen
class ReqRealTimeBars:
    """`what`: TRADES, MIDPOINT, BID or ASK. `bar_size` is 5 whatever it says."""

    req_id: int
    contract: Contract
    bar_size: int
    what: str
    use_rth: bool
    options: str = ""


@attrs.frozen
class CancelRealTimeBars:
    req_id: int


@attrs.frozen
class ReqHeadTimestamp:
    req_id: int
    contract: Contract
    use_rth: bool
    what: str
    format_date: int


@attrs.frozen
class CancelHeadTimestamp:
    req_id: int


@attrs.frozen
class ReqHistogram:
    """`period` such as `3 days`."""

    req_id: int
    contract: Contract
    use_rth: bool
    period: str


@attrs.frozen
class CancelHistogram:
    req_id: int


@attrs.frozen
class ReqHistoricalTicks:
    """`what`: TRADES, BID_ASK or MIDPOINT; one of `start` and `end` is given."""

    req_id: int
    contract: Contract
    start: str
    end: str
    count: int
    what: str
    use_rth: bool
    ignore_size: bool
    options: str = ""


@attrs.frozen
class ReqMatchingSymbols:
    req_id: int
    pattern: str


@attrs.frozen
class ReqOptionParameters:
    """`exchange` empty for options on stocks."""

    req_id: int
    symbol: str
    exchange: str
    sec_type: str
    con_id: int


@attrs.frozen
class ReqSmartComponents:
    req_id: int
    bbo_exchange: str


@attrs.frozen
class CalculateImpliedVolatility:
    req_id: int
    contract: Contract
    option_price: float
    under_price: float
    option_count: int = 0
    options: str = ""


@attrs.frozen
class CalculateOptionPrice:
    req_id: int
    contract: Contract
    volatility: float
    under_price: float
    option_count: int = 0
    options: str = ""


@attrs.frozen
class CancelImpliedVolatility:
    req_id: int


@attrs.frozen
class CancelOptionPrice:
    req_id: int


@attrs.frozen
class ReqNewsProviders:
    pass


@attrs.frozen
class ReqNewsBulletins:
    all_messages: bool


@attrs.frozen
class CancelNewsBulletins:
    pass


@attrs.frozen
class ReqHistoricalNews:
    req_id: int
    con_id: int
    provider_codes: str
    start: str
    end: str
    total_results: int
    options: str = ""


@attrs.frozen
class ReqNewsArticle:
    req_id: int
    provider_code: str
    article_id: str
    options: str = ""


@attrs.frozen
class ReqFundamentalData:
    req_id: int
    contract: Contract
    report: str
    option_count: int = 0
    options: str = ""


@attrs.frozen
class CancelFundamentalData:
    req_id: int


@attrs.frozen
class ReqScannerParameters:
    pass


@attrs.frozen
class ReqScannerSubscription:
    """What the scan asks for is not read further: the answer is the same for all."""

    req_id: int
    rows: str
    instrument: str
    location_code: str
    scan_code: str
    above_price: str = ""
    below_price: str = ""
    above_volume: str = ""
    market_cap_above: str = ""
    market_cap_below: str = ""
    moody_rating_above: str = ""
    moody_rating_below: str = ""
    sp_rating_above: str = ""
    sp_rating_below: str = ""
    maturity_date_above: str = ""
    maturity_date_below: str = ""
    coupon_rate_above: str = ""
    coupon_rate_below: str = ""
    exclude_convertible: str = ""
    average_option_volume_above: str = ""
    setting_pairs: str = ""
    stock_type_filter: str = ""
    filter_options: str = ""
    options: str = ""


@attrs.frozen
class CancelScannerSubscription:
    req_id: int


MarketRequest: TypeAlias = (
    ReqTickByTick
    | CancelTickByTick
    | ReqMarketDepth
    | CancelMarketDepth
    | ReqMarketDepthExchanges
    | ReqRealTimeBars
    | CancelRealTimeBars
    | ReqHeadTimestamp
    | CancelHeadTimestamp
    | ReqHistogram
    | CancelHistogram
    | ReqHistoricalTicks
    | ReqMatchingSymbols
    | ReqOptionParameters
    | ReqSmartComponents
    | CalculateImpliedVolatility
    | CalculateOptionPrice
    | CancelImpliedVolatility
    | CancelOptionPrice
    | ReqNewsProviders
    | ReqNewsBulletins
    | CancelNewsBulletins
    | ReqHistoricalNews
    | ReqNewsArticle
    | ReqFundamentalData
    | CancelFundamentalData
    | ReqScannerParameters
    | ReqScannerSubscription
    | CancelScannerSubscription
)
