"""Market data lines of the simulated TWS: who watches which contract, and what each tick says to them.

A line begins with tickReqParams, marketDataType and the quote as it stands. From then on it hears what
changed: a price when it moved or a trade happened, a size when it changed, the trade's time and the
day's volume with each trade. Ticks are the bulk of all messages, so a tick of a contract that nobody
watches costs only the upkeep of its quote.

Lines of delayed data are the same with other tick types, on ticks that come later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

import attrs

from protocol.exchange.calendar import session_at
from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_clients import Said
from protocol.exchange.tws_generic_ticks import Facts, TradePace, after_quote, after_trade, standing
from protocol.exchange.tws_quotes import Quote
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
from protocol.tws.tick_bursts import LineTicks, TickBurst
from protocol.tws.ticks import AnyTick

BID_SIZE, BID, ASK, ASK_SIZE, LAST, LAST_SIZE, HIGH, LOW, VOLUME, CLOSE = range(10)
OPEN = 14
LAST_TIMESTAMP = 45
HALTED = 49
DELAYED_KINDS: Final[Mapping[int, int]] = MappingProxyType(
    {
        BID: 66, ASK: 67, LAST: 68, BID_SIZE: 69, ASK_SIZE: 70, LAST_SIZE: 71, HIGH: 72, LOW: 73,
        VOLUME: 74, CLOSE: 75, OPEN: 76, LAST_TIMESTAMP: 88, HALTED: 90,
    }
)  # fmt: skip
LIVE_KINDS: Final[Mapping[int, int]] = MappingProxyType({kind: kind for kind in DELAYED_KINDS})
BBO_EXCHANGE = "9c0001"
_SNAPSHOT_PERMISSIONS = 3
_CAN_AUTO_EXECUTE = 1
_NO_SIZE = Decimal(0)
_NO_FACTS = Facts()
_PACED = frozenset({294, 295})

SayMore = Callable[[int, Quote, "Changes | None", datetime], Iterator[ServerMessage]]
"""What a line of an option says besides: request id, quote, what changed (None at the beginning), time."""


@attrs.frozen(eq=False, kw_only=True)
class Line:
    """`data_type` as marketDataType names it; `generic` the numbers of the generic ticks it asked for."""

    client: int
    req_id: int
    key: str
    min_tick: float
    data_type: int
    generic: frozenset[int] = frozenset()
    generic_only: bool = False
    """`mdoff`: no prices and sizes."""
    facts: Facts = _NO_FACTS
    say_more: SayMore | None = None


@attrs.define(eq=False)
class _Group:
    """Lines of one contract that are told the same."""

    like: Line
    ids: list[tuple[int, int]] = attrs.Factory(list)
    """Of each line its client's connection and request id."""

    def holds(self, line: Line) -> bool:
        return self.like.generic == line.generic and self.like.generic_only == line.generic_only


class MarketDataLines:
    """The quotes and the lines on them. A line is a client's connection and its request id."""

    def __init__(self, kinds: Mapping[int, int] = LIVE_KINDS, gather_s: float = 0.0) -> None:
        self._kinds, self._gather_s = kinds, gather_s
        self._quotes: dict[str, Quote] = {}
        self._by_key: dict[str, list[_Group]] = {}
        self._lines: dict[tuple[int, int], Line] = {}
        self._paces: dict[str, TradePace] = {}
        self._gathered: dict[str, Changes] = {}
        self._flush_at_s = 0.0

    def quote(self, key: str) -> Quote:
        quote = self._quotes.get(key)
        if quote is None:
            quote = self._quotes[key] = Quote()
        return quote

    def watches(self, client: int, req_id: int) -> bool:
        return (client, req_id) in self._lines

    def watched(self, key: str) -> bool:
        return bool(self._by_key.get(key))

    def count_of(self, client: int) -> int:
        return sum(1 for line in self._lines if line[0] == client)

    def start(self, line: Line, at: datetime) -> Iterator[ServerMessage]:
        """Open a line; the answer is its beginning."""
        self._lines[line.client, line.req_id] = line
        groups = self._by_key.setdefault(line.key, [])
        group = next((group for group in groups if group.holds(line)), None)
        if group is None:
            group = _Group(line)
            groups.append(group)
        group.ids.append((line.client, line.req_id))
        if line.generic & _PACED:
            self._paces.setdefault(line.key, TradePace())
        return self._beginning(line, at)

    def snapshot(self, line: Line, at: datetime) -> Iterator[ServerMessage]:
        """The quote once, and its end."""
        yield from self._beginning(line, at)
        yield TickSnapshotEnd(line.req_id)

    def stop(self, client: int, req_id: int) -> bool:
        """Close a line; False when there is none."""
        line = self._lines.pop((client, req_id), None)
        if line is None:
            return False
        groups = self._by_key[line.key]
        group = next(group for group in groups if (client, req_id) in group.ids)
        group.ids.remove((client, req_id))
        if not group.ids:
            groups.remove(group)
        return True

    def forget(self, client: int) -> None:
        for line in [line for line in self._lines if line[0] == client]:
            self.stop(*line)

    def take_tick(self, tick: MarketTick) -> list[tuple[int, Said]]:
        """Keep the quote; what each line of the contract is told of the change."""
        key = tick.symbol
        quote = self.quote(key)
        groups = self._by_key.get(key)
        if not groups:
            quote.absorb(tick)
            return []
        changes = _absorb(quote, tick)
        pace = self._paces.get(key)
        if pace is not None and tick.last is not None:
            pace.add(int(tick.at.timestamp()), tick.last_size or 0)
        if not self._gather_s:
            return self._tell(groups, changes, quote, pace)
        told = self.flush(tick.at)
        gathered = self._gathered.get(key)
        self._gathered[key] = changes if gathered is None else gathered.merge(changes)
        return told

    def flush(self, at: datetime) -> list[tuple[int, Said]]:
        """What has been gathered, if it is time to tell it."""
        now_s = at.timestamp()
        if not self._gather_s or now_s < self._flush_at_s:
            return []
        self._flush_at_s = (now_s // self._gather_s + 1) * self._gather_s
        gathered, self._gathered = self._gathered, {}
        told: list[tuple[int, Said]] = []
        for key, changes in gathered.items():
            told += self._tell(self._by_key.get(key, []), changes, self.quote(key), self._paces.get(key))
        return told

    def _tell(
        self, groups: list[_Group], changes: Changes, quote: Quote, pace: TradePace | None
    ) -> list[tuple[int, Said]]:
        told: list[tuple[int, Said]] = []
        for group in groups:
            line = group.like
            ticks = tuple(self._say(line, changes, quote, pace))
            if ticks:
                burst = TickBurst(ticks)
                told += [(client, LineTicks(req_id, burst)) for client, req_id in group.ids]
            if line.say_more is not None:
                for client, req_id in group.ids:
                    told += [
                        (client, said) for said in line.say_more(req_id, quote, changes, changes.tick.at)
                    ]
        return told

    def _beginning(self, line: Line, at: datetime) -> Iterator[ServerMessage]:
        quote, req_id, kinds = self.quote(line.key), line.req_id, self._kinds
        yield TickReqParams(req_id, line.min_tick, BBO_EXCHANGE, _SNAPSHOT_PERMISSIONS)
        yield MarketDataType(req_id, line.data_type)
        if not line.generic_only:
            for kind, size_kind, price, size in (
                (BID, BID_SIZE, quote.bid, quote.bid_size),
                (ASK, ASK_SIZE, quote.ask, quote.ask_size),
                (LAST, LAST_SIZE, quote.last, quote.last_size),
            ):
                if price is not None:
                    yield TickPrice(req_id, kinds[kind], price, Decimal(size or 0), _mask(kind))
                    yield TickSize(req_id, kinds[size_kind], Decimal(size or 0))
            if quote.last_epoch_s is not None:
                yield TickString(req_id, kinds[LAST_TIMESTAMP], str(quote.last_epoch_s))
            for kind, price in (
                (HIGH, quote.high), (LOW, quote.low), (CLOSE, quote.close), (OPEN, quote.opened),
            ):  # fmt: skip
                if price is not None:
                    yield TickPrice(req_id, kinds[kind], price, _NO_SIZE)
            if quote.volume is not None:
                yield TickSize(req_id, kinds[VOLUME], Decimal(quote.volume))
            yield TickGeneric(req_id, kinds[HALTED], float(quote.halted))
        yield from standing(req_id, line.generic, line.facts)
        yield from after_quote(req_id, line.generic, None, quote)
        if line.say_more is not None:
            yield from line.say_more(req_id, quote, None, at)

    def _say(self, line: Line, changes: Changes, quote: Quote, pace: TradePace | None) -> Iterator[AnyTick]:
        """The ticks of a change, for the request id 0."""
        kinds = self._kinds
        if not line.generic_only:
            for kind, price, size in changes.prices:
                yield TickPrice(0, kinds[kind], price, size, _mask(kind))
            for kind, size in changes.sizes:
                yield TickSize(0, kinds[kind], size)
            if changes.traded_epoch_s is not None:
                yield TickString(0, kinds[LAST_TIMESTAMP], str(changes.traded_epoch_s))
            if changes.halted is not None:
                yield TickGeneric(0, kinds[HALTED], float(changes.halted))
        if line.generic:
            yield from after_quote(0, line.generic, changes.mark_before, quote)
            if changes.traded_epoch_s is not None:
                regular = session_at(changes.tick.at) is not None
                yield from after_trade(0, line.generic, quote, changes.tick, pace, regular=regular)


def _mask(kind: int) -> int:
    return _CAN_AUTO_EXECUTE if kind in (BID, ASK) else 0


@attrs.define(eq=False)
class Changes:
    """What a tick changed, before it is addressed to anyone."""

    tick: MarketTick
    mark_before: float | None
    prices: list[tuple[int, float, Decimal]] = attrs.Factory(list)
    sizes: list[tuple[int, Decimal]] = attrs.Factory(list)
    traded_epoch_s: int | None = None
    halted: bool | None = None

    def changed(self, kind: int) -> bool:
        """Whether a price of this kind is among them."""
        return any(price[0] == kind for price in self.prices)

    def merge(self, later: Changes) -> Changes:
        """These and later ones as one: of each kind the last."""
        prices = {price[0]: price for price in (*self.prices, *later.prices)}
        sizes = {size[0]: size for size in (*self.sizes, *later.sizes)}
        return Changes(
            later.tick,
            self.mark_before,
            list(prices.values()),
            list(sizes.values()),
            self.traded_epoch_s if later.traded_epoch_s is None else later.traded_epoch_s,
            self.halted if later.halted is None else later.halted,
        )


def _absorb(quote: Quote, tick: MarketTick) -> Changes:
    """Bring the quote up to date; says what is new."""
    bid, bid_size, ask, ask_size = quote.bid, quote.bid_size, quote.ask, quote.ask_size
    last_size, high, low, volume = quote.last_size, quote.high, quote.low, quote.volume
    day, halted = quote.day, quote.halted
    changes = Changes(tick, quote.mark)
    quote.absorb(tick)
    if tick.bid is not None and tick.bid != bid:
        changes.prices.append((BID, tick.bid, Decimal(quote.bid_size or 0)))
    if tick.bid_size is not None and tick.bid_size != bid_size:
        changes.sizes.append((BID_SIZE, Decimal(tick.bid_size)))
    if tick.ask is not None and tick.ask != ask:
        changes.prices.append((ASK, tick.ask, Decimal(quote.ask_size or 0)))
    if tick.ask_size is not None and tick.ask_size != ask_size:
        changes.sizes.append((ASK_SIZE, Decimal(tick.ask_size)))
    if tick.last is not None:
        size = Decimal(tick.last_size or 0)
        # A trade is told even at an unchanged price: clients count trades and build bars from it.
        changes.prices.append((LAST, tick.last, size))
        if tick.last_size != last_size:
            changes.sizes.append((LAST_SIZE, size))
        new_day = quote.day != day
        if new_day or high is None or tick.last > high:
            changes.prices.append((HIGH, tick.last, _NO_SIZE))
        if new_day or low is None or tick.last < low:
            changes.prices.append((LOW, tick.last, _NO_SIZE))
        if new_day:
            changes.prices.append((OPEN, tick.last, _NO_SIZE))
            if quote.close is not None:
                changes.prices.append((CLOSE, quote.close, _NO_SIZE))
        if tick.volume is not None and (new_day or tick.volume != volume):
            changes.sizes.append((VOLUME, Decimal(tick.volume)))
        changes.traded_epoch_s = quote.last_epoch_s
    if tick.halted is not None and tick.halted != halted:
        changes.halted = tick.halted
    return changes
