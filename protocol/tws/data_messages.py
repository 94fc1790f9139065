"""What TWS says about contracts, prices and history.

Field names are those of the TWS API in snake_case. The union of this module is part of
`messages.ServerMessage`; how each looks as bytes is in the layouts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.tws.terms import ContractDetails, HistoricalBar


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
    """`start` and `end` until version 195; from 196 on they follow in a `HistoricalDataEnd`."""

    req_id: int
    start: str = ""
    end: str = ""
    bars: tuple[HistoricalBar, ...] = ()


@attrs.frozen
class HistoricalDataEnd:
    """From version 196 on, behind the bars."""

    req_id: int
    start: str
    end: str


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


DataMessage: TypeAlias = (
    ContractData
    | ContractDataEnd
    | MarketRule
    | HistoricalData
    | HistoricalDataEnd
    | HistoricalDataUpdate
    | MarketDataType
    | TickReqParams
    | TickPrice
    | TickSize
    | TickGeneric
    | TickString
    | TickSnapshotEnd
)
