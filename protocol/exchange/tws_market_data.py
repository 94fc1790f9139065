"""Market data lines of the simulated TWS: who watches which symbol, and what each tick says to them.

A line begins with tickReqParams, marketDataType and the quote as it stands. From then on it hears what
changed: a price when it moved or a trade happened, a size when it changed, the trade's time and the
day's volume with each trade. Ticks are the bulk of all messages, so a tick of a symbol that nobody
watches costs only the upkeep of its quote.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import attrs

from protocol.exchange.contracts import MIN_TICK
from protocol.exchange.happenings import MarketTick
from protocol.tws.messages import (
    MarketDataType,
    ServerMessage,
    TickGeneric,
    TickPrice,
    TickReqParams,
    TickSize,
    TickSnapshotEnd,
    TickString,
)

BID_SIZE, BID, ASK, ASK_SIZE, LAST, LAST_SIZE, HIGH, LOW, VOLUME, CLOSE = range(10)
LAST_TIMESTAMP = 45
HALTED = 49
_LIVE_DATA = 1
_BBO_EXCHANGE = "9c0001"
_SNAPSHOT_PERMISSIONS = 3
_CAN_AUTO_EXECUTE = 1
_NO_SIZE = Decimal(0)

_DAY_TURNS_UTC_S = 5 * 3600
"""Seconds after midnight UTC at which the day's figures start anew: night in New York, summer and winter."""


@attrs.define
class Quote:
    """The market of one symbol as it stands; None is not known yet. `high`, `low`, `volume` are the day's."""

    bid: float | None = None
    bid_size: int | None = None
    ask: float | None = None
    ask_size: int | None = None
    last: float | None = None
    last_size: int | None = None
    last_epoch_s: int | None = None
    high: float | None = None
    low: float | None = None
    volume: int | None = None
    close: float | None = None
    """The last price of the trading day before."""
    halted: bool = False
    day: int | None = None
    """The number of the trading day of `high`, `low` and `volume`."""


class MarketDataLines:
    """The quotes and the lines on them. A line is a client's connection and its request id."""

    def __init__(self) -> None:
        self._quotes: dict[str, Quote] = {}
        self._lines: dict[str, list[tuple[int, int]]] = {}
        self._symbols: dict[tuple[int, int], str] = {}

    def quote(self, symbol: str) -> Quote:
        quote = self._quotes.get(symbol)
        if quote is None:
            quote = self._quotes[symbol] = Quote()
        return quote

    def watches(self, client: int, req_id: int) -> bool:
        return (client, req_id) in self._symbols

    def start(self, client: int, req_id: int, symbol: str) -> Iterator[ServerMessage]:
        """Open a line; the answer is its beginning."""
        self._symbols[client, req_id] = symbol
        self._lines.setdefault(symbol, []).append((client, req_id))
        return self._beginning(req_id, symbol)

    def snapshot(self, req_id: int, symbol: str) -> Iterator[ServerMessage]:
        """The quote once, and its end."""
        yield from self._beginning(req_id, symbol)
        yield TickSnapshotEnd(req_id)

    def stop(self, client: int, req_id: int) -> bool:
        """Close a line; False when there is none."""
        symbol = self._symbols.pop((client, req_id), None)
        if symbol is None:
            return False
        self._lines[symbol].remove((client, req_id))
        return True

    def forget(self, client: int) -> None:
        for line in [line for line in self._symbols if line[0] == client]:
            self.stop(*line)

    def take_tick(self, tick: MarketTick) -> Iterator[tuple[int, ServerMessage]]:
        """Keep the quote; says to each line of the symbol what changed."""
        changes = _take(self.quote(tick.symbol), tick)
        for client, req_id in self._lines.get(tick.symbol, ()):
            for message in _say(req_id, changes):
                yield client, message

    def _beginning(self, req_id: int, symbol: str) -> Iterator[ServerMessage]:
        quote = self.quote(symbol)
        yield TickReqParams(req_id, MIN_TICK, _BBO_EXCHANGE, _SNAPSHOT_PERMISSIONS)
        yield MarketDataType(req_id, _LIVE_DATA)
        for kind, size_kind, price, size in (
            (BID, BID_SIZE, quote.bid, quote.bid_size),
            (ASK, ASK_SIZE, quote.ask, quote.ask_size),
            (LAST, LAST_SIZE, quote.last, quote.last_size),
        ):
            if price is not None:
                yield TickPrice(req_id, kind, price, Decimal(size or 0), _mask(kind))
                yield TickSize(req_id, size_kind, Decimal(size or 0))
        if quote.last_epoch_s is not None:
            yield TickString(req_id, LAST_TIMESTAMP, str(quote.last_epoch_s))
        for kind, price in ((HIGH, quote.high), (LOW, quote.low), (CLOSE, quote.close)):
            if price is not None:
                yield TickPrice(req_id, kind, price, _NO_SIZE)
        if quote.volume is not None:
            yield TickSize(req_id, VOLUME, Decimal(quote.volume))
        yield TickGeneric(req_id, HALTED, float(quote.halted))


def _mask(kind: int) -> int:
    return _CAN_AUTO_EXECUTE if kind in (BID, ASK) else 0


@attrs.define
class _Changes:
    """What one tick changed, before it is addressed to anyone."""

    prices: list[tuple[int, float, Decimal]] = attrs.Factory(list)
    sizes: list[tuple[int, Decimal]] = attrs.Factory(list)
    traded_epoch_s: int | None = None
    halted: bool | None = None


def _take(quote: Quote, tick: MarketTick) -> _Changes:
    """Bring the quote up to date; says what is new."""
    changes = _Changes()
    if tick.bid is not None and tick.bid != quote.bid:
        size = quote.bid_size if tick.bid_size is None else tick.bid_size
        changes.prices.append((BID, tick.bid, Decimal(size or 0)))
        quote.bid = tick.bid
    if tick.bid_size is not None and tick.bid_size != quote.bid_size:
        changes.sizes.append((BID_SIZE, Decimal(tick.bid_size)))
        quote.bid_size = tick.bid_size
    if tick.ask is not None and tick.ask != quote.ask:
        size = quote.ask_size if tick.ask_size is None else tick.ask_size
        changes.prices.append((ASK, tick.ask, Decimal(size or 0)))
        quote.ask = tick.ask
    if tick.ask_size is not None and tick.ask_size != quote.ask_size:
        changes.sizes.append((ASK_SIZE, Decimal(tick.ask_size)))
        quote.ask_size = tick.ask_size
    if tick.last is not None:
        _take_trade(quote, tick, tick.last, changes)
    if tick.halted is not None and tick.halted != quote.halted:
        quote.halted = changes.halted = tick.halted
    return changes


def _take_trade(quote: Quote, tick: MarketTick, last: float, changes: _Changes) -> None:
    epoch_s = int(tick.at.timestamp())
    day = (epoch_s - _DAY_TURNS_UTC_S) // 86_400
    if day != quote.day:
        quote.close = quote.last if quote.day is not None else quote.close
        quote.day, quote.high, quote.low, quote.volume = day, None, None, None
    size = Decimal(tick.last_size or 0)
    # A trade is told even at an unchanged price: clients count trades and build bars from it.
    changes.prices.append((LAST, last, size))
    if tick.last_size != quote.last_size:
        changes.sizes.append((LAST_SIZE, size))
    if quote.high is None or last > quote.high:
        quote.high = last
        changes.prices.append((HIGH, last, _NO_SIZE))
    if quote.low is None or last < quote.low:
        quote.low = last
        changes.prices.append((LOW, last, _NO_SIZE))
    if tick.volume is not None and tick.volume != quote.volume:
        quote.volume = tick.volume
        changes.sizes.append((VOLUME, Decimal(tick.volume)))
    quote.last, quote.last_size, quote.last_epoch_s = last, tick.last_size, epoch_s
    changes.traded_epoch_s = epoch_s


def _say(req_id: int, changes: _Changes) -> Iterator[ServerMessage]:
    for kind, price, size in changes.prices:
        yield TickPrice(req_id, kind, price, size, _mask(kind))
    for kind, size in changes.sizes:
        yield TickSize(req_id, kind, size)
    if changes.traded_epoch_s is not None:
        yield TickString(req_id, LAST_TIMESTAMP, str(changes.traded_epoch_s))
    if changes.halted is not None:
        yield TickGeneric(req_id, HALTED, float(changes.halted))
