"""The stocks that the simulated TWS knows: their contract ids and descriptions.

A contract id must be the same in every run and process, with any set of symbols, so it is computed
from the ticker alone. Up to five characters it is a positional number (no two tickers share one);
longer tickers get one from a hash, in a range of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

import attrs

from protocol.exchange.calendar import session_of
from protocol.tws.messages import Contract, ContractDetails, MarketRule

NEW_YORK = ZoneInfo("America/New_York")

MARKET_RULE_ID = 26
"""The rule that TWS names for US stocks: cents at any price."""
MIN_TICK = 0.01

_ALPHABET = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"
_FIRST_SHORT_ID = 100_000
_SHORT_LENGTH = 5
_FIRST_LONG_ID = 200_000_000
_LONG_IDS = 1_800_000_000
_VENUES = "SMART,NYSE,NASDAQ,ARCA,BATS,IEX,ISLAND"
_ORDER_TYPES = "ACTIVETIM,DAY,GTC,GTD,IOC,LMT,MKT,OUTRTH,STP,STPLMT"


def contract_id(symbol: str) -> int:
    """The contract id of a ticker: a positive 32-bit number that never changes."""
    if len(symbol) <= _SHORT_LENGTH and all(letter in _ALPHABET for letter in symbol):
        number = 0
        for letter in symbol.ljust(_SHORT_LENGTH):
            number = number * len(_ALPHABET) + _ALPHABET.index(letter)
        return _FIRST_SHORT_ID + number
    digest = hashlib.sha256(symbol.encode()).digest()
    return _FIRST_LONG_ID + int.from_bytes(digest[:8], "big") % _LONG_IDS


def symbol_of(con_id: int, known: Iterable[str]) -> str | None:
    """The ticker of a contract id: computed for a short one, looked for among `known` otherwise."""
    if con_id >= _FIRST_LONG_ID:
        return next((symbol for symbol in known if contract_id(symbol) == con_id), None)
    number = con_id - _FIRST_SHORT_ID
    letters: list[str] = []
    for _ in range(_SHORT_LENGTH):
        number, position = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[position])
    symbol = "".join(reversed(letters)).rstrip()
    return symbol if symbol and contract_id(symbol) == con_id else None


def stock(symbol: str, exchange: str = "SMART") -> Contract:
    """The contract of a US stock, as TWS echoes it with an order or a position."""
    return Contract(
        con_id=contract_id(symbol),
        symbol=symbol,
        sec_type="STK",
        exchange=exchange,
        currency="USD",
        local_symbol=symbol,
        trading_class=symbol,
    )


def details_of(symbol: str, today: date) -> ContractDetails:
    """What reqContractDetails answers; trading hours of the days that the calendar knows around `today`."""
    return ContractDetails(
        contract=attrs.evolve(stock(symbol), primary_exchange="NASDAQ"),
        market_name="NMS",
        min_tick=MIN_TICK,
        order_types=_ORDER_TYPES,
        valid_exchanges=_VENUES,
        long_name=symbol,
        time_zone_id="US/Eastern",
        trading_hours=_hours(today, extended=True),
        liquid_hours=_hours(today, extended=False),
        agg_group=1,
        market_rule_ids=",".join([str(MARKET_RULE_ID)] * len(_VENUES.split(","))),
        stock_type="COMMON",
    )


def market_rule(rule_id: int) -> MarketRule | None:
    """The price steps of a market rule, or None when TWS would not know it."""
    return MarketRule(rule_id, ((0.0, MIN_TICK),)) if rule_id == MARKET_RULE_ID else None


def _hours(today: date, *, extended: bool) -> str:
    """`20250123:0930-20250123:1600;20250124:CLOSED`, six days from `today` on."""
    days: list[str] = []
    for offset in range(6):
        day = date.fromordinal(today.toordinal() + offset)
        session = session_of(day)
        if session is None:
            days.append(f"{day:%Y%m%d}:CLOSED")
            continue
        start, end = session.start.astimezone(NEW_YORK), session.end.astimezone(NEW_YORK)
        first, last = ("0400", "2000") if extended else (f"{start:%H%M}", f"{end:%H%M}")
        days.append(f"{day:%Y%m%d}:{first}-{day:%Y%m%d}:{last}")
    return ";".join(days)
