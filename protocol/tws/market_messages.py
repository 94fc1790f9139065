"""What TWS says about the market beyond quotes and bars: single ticks, depth, options, lists of contracts.

Field names are those of the TWS API in snake_case. The union of this module is part of
`messages.ServerMessage`; how each looks as bytes is in `market_layouts`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs


@attrs.frozen
class TickOptionComputation:
    """`tick_type` 10 bid, 11 ask, 12 last, 13 model, 53 what calculateImpliedVolatility and its twin ask for.

    `attrib` 0: computed from returns, 1: from prices. None means: not computed.
    """

    req_id: int
    tick_type: int
    attrib: int
    implied_vol: float | None
    delta: float | None
    opt_price: float | None
    pv_dividend: float | None
    gamma: float | None
    vega: float | None
    theta: float | None
    und_price: float | None


@attrs.frozen
class RealTimeBar:
    """Five seconds that began at `epoch_s`."""

    req_id: int
    epoch_s: int
    open: float
    high: float
    low: float
    close: float
    volume: Decimal
    wap: float
    count: int


@attrs.frozen(kw_only=True)
class TickByTick:
    """`tick_type` 1 last, 2 all last: a trade; 3 bid and ask; 4 `mid`. Only the fields of its type travel."""

    req_id: int
    tick_type: int
    epoch_s: int
    price: float = 0.0
    size: Decimal = Decimal(0)
    exchange: str = ""
    special_conditions: str = ""
    bid: float = 0.0
    ask: float = 0.0
    bid_size: Decimal = Decimal(0)
    ask_size: Decimal = Decimal(0)
    attr_mask: int = 0
    """Of a trade: 1 past limit, 2 unreported; of a quote: 1 bid past the low, 2 ask past the high."""
    mid: float = 0.0


@attrs.frozen
class HistoricalTick:
    """A midpoint; its size is 0."""

    epoch_s: int
    price: float
    size: Decimal


@attrs.frozen
class HistoricalTickBidAsk:
    epoch_s: int
    attr_mask: int
    bid: float
    ask: float
    bid_size: Decimal
    ask_size: Decimal


@attrs.frozen
class HistoricalTickLast:
    epoch_s: int
    attr_mask: int
    price: float
    size: Decimal
    exchange: str
    special_conditions: str


@attrs.frozen
class HistoricalTicks:
    """Midpoints, oldest first; `done` when no more follow."""

    req_id: int
    ticks: tuple[HistoricalTick, ...]
    done: bool


@attrs.frozen
class HistoricalTicksBidAsk:
    req_id: int
    ticks: tuple[HistoricalTickBidAsk, ...]
    done: bool


@attrs.frozen
class HistoricalTicksLast:
    req_id: int
    ticks: tuple[HistoricalTickLast, ...]
    done: bool


@attrs.frozen
class MarketDepth:
    """A row of the book. `operation` 0 insert, 1 update, 2 delete; `side` 0 ask, 1 bid."""

    req_id: int
    position: int
    operation: int
    side: int
    price: float
    size: Decimal


@attrs.frozen
class MarketDepthL2:
    """A row of the book with whose quote it is: a market maker, or an exchange when `is_smart_depth`."""

    req_id: int
    position: int
    market_maker: str
    operation: int
    side: int
    price: float
    size: Decimal
    is_smart_depth: bool


@attrs.frozen
class DepthExchange:
    exchange: str
    sec_type: str
    listing_exchange: str
    service_data_type: str
    agg_group: int


@attrs.frozen
class MarketDepthExchanges:
    exchanges: tuple[DepthExchange, ...]


@attrs.frozen
class HeadTimestamp:
    req_id: int
    timestamp: str


@attrs.frozen
class HistogramData:
    """(price, shares traded there), ascending."""

    req_id: int
    points: tuple[tuple[float, int], ...]


@attrs.frozen
class HistoricalSession:
    """One day's trading, such as `20250123-09:30:00` to `20250123-16:00:00` of `20250123`."""

    start: str
    end: str
    ref_date: str


@attrs.frozen
class HistoricalSchedule:
    """From version 165 on."""

    req_id: int
    start: str
    end: str
    time_zone: str
    sessions: tuple[HistoricalSession, ...]


@attrs.frozen
class ContractDescription:
    con_id: int
    symbol: str
    sec_type: str
    primary_exchange: str
    currency: str
    derivative_sec_types: tuple[str, ...]
    description: str = ""
    """From version 176 on, like the issuer."""
    issuer_id: str = ""


@attrs.frozen
class SymbolSamples:
    req_id: int
    contracts: tuple[ContractDescription, ...]


@attrs.frozen
class OptionParameters:
    """One trading class of options on one exchange: expirations such as `20250221`, strikes ascending."""

    req_id: int
    exchange: str
    underlying_con_id: int
    trading_class: str
    multiplier: str
    expirations: tuple[str, ...]
    strikes: tuple[float, ...]


@attrs.frozen
class OptionParametersEnd:
    req_id: int


@attrs.frozen
class SmartComponent:
    bit_number: int
    exchange: str
    exchange_letter: str


@attrs.frozen
class SmartComponents:
    req_id: int
    components: tuple[SmartComponent, ...]


@attrs.frozen
class NewsProviders:
    """(code, name) of those that the user has subscribed to."""

    providers: tuple[tuple[str, str], ...]


@attrs.frozen
class HistoricalNewsEnd:
    req_id: int
    has_more: bool


@attrs.frozen
class ScannerParameters:
    xml: str


MarketMessage: TypeAlias = (
    TickOptionComputation
    | RealTimeBar
    | TickByTick
    | HistoricalTicks
    | HistoricalTicksBidAsk
    | HistoricalTicksLast
    | MarketDepth
    | MarketDepthL2
    | MarketDepthExchanges
    | HeadTimestamp
    | HistogramData
    | HistoricalSchedule
    | SymbolSamples
    | OptionParameters
    | OptionParametersEnd
    | SmartComponents
    | NewsProviders
    | HistoricalNewsEnd
    | ScannerParameters
)
