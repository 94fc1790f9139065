"""What the random messages about the market are made of: contracts to ask about, ticks of one kind."""

from __future__ import annotations

from typing import Any, Final

import attrs

from protocol.tws import messages as m

_FULL: Final = m.Contract(
    con_id=9, symbol="SLV", sec_type="OPT", last_trade_date_or_contract_month="20250221", strike=27.5,
    right="C", multiplier="100", exchange="SMART", primary_exchange="CBOE", currency="USD",
    local_symbol="SLV   250221C00027500", trading_class="class",
)  # fmt: skip
_PART: Final = m.Contract(
    con_id=9, symbol="SLV", sec_type="OPT", exchange="SMART", primary_exchange="CBOE", currency="USD",
    local_symbol="SLV   250221C00027500",
)  # fmt: skip
_PLAIN: Final = (m.Contract(), _FULL)
_EXPIRED: Final = (*_PLAIN, attrs.evolve(_FULL, include_expired=True))

ASKED_ABOUT: Final[dict[type, tuple[m.Contract, ...]]] = {
    m.ReqTickByTick: _PLAIN,
    m.ReqMarketDepth: _PLAIN,
    m.ReqRealTimeBars: _PLAIN,
    m.CalculateImpliedVolatility: _PLAIN,
    m.CalculateOptionPrice: _PLAIN,
    m.ReqHeadTimestamp: _EXPIRED,
    m.ReqHistogram: _EXPIRED,
    m.ReqHistoricalTicks: _EXPIRED,
    m.ReqFundamentalData: (m.Contract(), _PART),
}
"""Contracts that say only what travels with each request."""

_OF_A_TRADE: Final = ("price", "size", "attr_mask", "exchange", "special_conditions")
TICK_KINDS: Final = {
    1: _OF_A_TRADE,
    2: _OF_A_TRADE,
    3: ("bid", "ask", "bid_size", "ask_size", "attr_mask"),
    4: ("mid",),
}
"""The fields of a single tick that travel, by its type."""


def tick_of(tick: m.TickByTick, kind: int) -> m.TickByTick:
    """`tick` as one of this kind: only what belongs to it."""
    said: dict[str, Any] = {name: getattr(tick, name) for name in TICK_KINDS[kind]}
    return m.TickByTick(req_id=tick.req_id, tick_type=kind, epoch_s=tick.epoch_s, **said)
