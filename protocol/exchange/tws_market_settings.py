"""What is decided about market data and the contracts beside stocks before anyone connects."""

from __future__ import annotations

import enum

import attrs
from attrs import validators


class DataPermission(enum.Enum):
    """What the user of this TWS has subscribed to, for a contract."""

    LIVE = "live"
    DELAYED = "delayed"
    """Only delayed data, for those who ask for it (market data types 3 and 4); others hear 10089."""
    NONE = "none"
    """No data at all: 354."""


@attrs.frozen(kw_only=True)
class MarketSettings:
    """Seconds are market seconds; a limit of None means any number."""

    permission: DataPermission = DataPermission.LIVE
    permissions: tuple[tuple[str, DataPermission], ...] = ()
    """By symbol, where it differs: all contracts on that symbol."""
    delay_s: float = attrs.field(default=900.0, validator=validators.gt(0))
    """How old delayed data is."""
    max_market_data_lines: int | None = 100
    """Market data lines of one client (101)."""
    max_tick_by_tick: int | None = 5
    """Of one client (10190)."""
    max_depths: int | None = 3
    """Market depth requests of one client (309)."""
    tick_gather_s: float = attrs.field(default=0.0, validator=validators.ge(0))
    """Changes of a quote are told at most so often, the last of each kind; TWS gathers for 0.25 s, 0 tells
    every change."""
    historical_pacing: bool = False
    """Refuse (162) the second of two like requests for bars within 15 s, the sixth for one contract within
    2 s, the sixty-first within 10 min, as IBKR does. Counted in market time."""
    forming_bars: bool = False
    """Bars kept up to date are told every 5 s while they are being made, as TWS does; otherwise once they
    are complete."""
    option_volatility: float = attrs.field(default=0.30, validator=validators.gt(0))
    """A year's volatility, at which options are priced."""
    volatilities: tuple[tuple[str, float], ...] = ()
    """By underlying, where it differs."""
    interest_rate: float = 0.04
    contract_seed: int = 0
    """Of the walks that currencies follow, and futures on funds that the market does not have."""

    def permission_of(self, symbol: str) -> DataPermission:
        return dict(self.permissions).get(symbol, self.permission)

    def volatility_of(self, underlying: str) -> float:
        return dict(self.volatilities).get(underlying, self.option_volatility)
