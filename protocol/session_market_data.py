"""Market data lines: TWS's tick messages as our ticks, on the path of nearly every message."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from typing import Final, TypeAlias

import attrs

from protocol.risk.words import DataState, Quote
from protocol.tws import messages as tws
from protocol.values import Symbol, Tick, TickKind

TickMessage: TypeAlias = tws.TickPrice | tws.TickSize | tws.TickGeneric | tws.TickString
TICK_MESSAGES: Final = frozenset({tws.TickPrice, tws.TickSize, tws.TickGeneric, tws.TickString})

LIVE_DATA: Final = 1
"""Of the types of market data; 2 is frozen, 3 delayed, 4 both."""
DATA_STATES: Final = {
    101: DataState.NO_LINE, 354: DataState.NOT_PERMITTED, 10089: DataState.NOT_PERMITTED,
    10168: DataState.NOT_PERMITTED, 10186: DataState.NOT_PERMITTED, 10167: DataState.DELAYED,
    10182: DataState.ENDED, 10225: DataState.ENDED, 10197: DataState.COMPETING,
}  # fmt: skip
"""What an error about a subscription says of its data. 10090 (a part is missing) leaves the rest flowing."""
DATA_AGAIN: Final = frozenset({10182, 10225, 10197, 101})
"""A subscription that ended, or could not be had, and is made again with the next regular look."""

_OF_PRICE: Final = {1: TickKind.BID, 2: TickKind.ASK, 4: TickKind.LAST, 9: TickKind.PREVIOUS_CLOSE}
_OF_SIZE: Final = {0: TickKind.BID, 3: TickKind.ASK, 5: TickKind.LAST}
_VOLUME = 8
LAST_TIME = 45
_HALTED = 49
_STANDING: Final = (
    TickKind.HALTED, TickKind.PREVIOUS_CLOSE, TickKind.VOLUME, TickKind.BID, TickKind.ASK
)  # fmt: skip
"""What holds until the line tells something new."""


class _Line:
    """One subscription: what was told last of each kind, and the size whose echo is still to come."""

    __slots__ = ("echo", "latest", "quote", "symbol", "told", "trouble")

    def __init__(self, symbol: Symbol) -> None:
        self.symbol = symbol
        self.trouble: DataState | None = None
        self.told: dict[TickKind, Tick] = {}
        self.latest: Tick | None = None
        self.echo: dict[TickKind, float] = {}
        self.quote: Quote | None = None
        """Kept until anything changes: it is asked for more often than it does."""

    def tell(self, tick: Tick) -> Tick:
        self.told[tick.kind] = self.latest = tick
        self.quote = None
        return tick


class Lines:
    """The subscriptions of one link generation, by request id."""

    def __init__(self) -> None:
        self._by_id: dict[int, _Line] = {}
        self._by_symbol: dict[Symbol, _Line] = {}

    def open(self, req_id: int, symbol: Symbol) -> None:
        self._by_id[req_id] = self._by_symbol[symbol] = _Line(symbol)

    def clear(self) -> tuple[int, ...]:
        """Forget them all; their ids, so that they can be cancelled."""
        ids = tuple(self._by_id)
        self._by_id, self._by_symbol = {}, {}
        return ids

    def drop(self, symbol: Symbol) -> tuple[int, ...]:
        """Forget the lines of one symbol; their ids."""
        ids = tuple(req_id for req_id, line in self._by_id.items() if line.symbol == symbol)
        for req_id in ids:
            del self._by_id[req_id]
        return ids

    def note(self, symbol: Symbol, state: DataState) -> None:
        """What TWS says of the worth of a symbol's data; it holds until the line is opened anew."""
        line = self._by_symbol.get(symbol)
        if line is not None:
            line.trouble = None if state is DataState.LIVE else state
            line.quote = None

    def quote(self, symbol: Symbol) -> Quote | None:
        """The market of a symbol as its line last told it; None without a line."""
        line = self._by_symbol.get(symbol)
        if line is None:
            return None
        if line.quote is None:
            line.quote = _quote(line)
        return line.quote

    def silent(self, at: datetime, after_s: float) -> tuple[Symbol, ...]:
        """Lines that said nothing for `after_s` of market time while others spoke within the last fifth."""
        heard = {
            symbol: line.latest.at for symbol, line in self._by_symbol.items() if line.latest is not None
        }
        if not heard or (at - max(heard.values())).total_seconds() > after_s / 5:
            return ()
        return tuple(symbol for symbol, then in heard.items() if (at - then).total_seconds() > after_s)

    def __iter__(self) -> Iterator[Symbol]:
        return (line.symbol for line in self._by_id.values())

    def symbol_of(self, req_id: int) -> Symbol | None:
        line = self._by_id.get(req_id)
        return None if line is None else line.symbol

    def standing(self, symbol: Symbol) -> Iterator[Tick]:
        """The quote that stands, for whoever has just begun to look: TWS tells changes only.

        Stamped with the moment at which the line was heard last, since it held until then.
        """
        for line in self._by_id.values():
            if line.symbol != symbol or line.latest is None:
                continue
            for kind in _STANDING:
                told = line.told.get(kind)
                if told is not None:
                    yield attrs.evolve(told, at=line.latest.at)

    def tick(self, message: TickMessage, at: datetime) -> Tick | None:
        """The change of the market that a message tells of, or None: an echo, no price, nothing we follow.

        TWS sends a price with its size and then the size once more; a size on its own is a new size at
        the old price, which for a trade means another trade. -1 and 0 stand for "no quote".
        """
        line = self._by_id.get(message.req_id)
        if line is None:
            return None
        if type(message) is tws.TickPrice:
            kind = _OF_PRICE.get(message.tick_type)
            price = message.price
            if kind is None or not (price > 0.0 and math.isfinite(price)):
                return None
            size = float(message.size)
            line.echo[kind] = size
            return line.tell(Tick(line.symbol, kind, price, size, at, price, price))
        if type(message) is tws.TickSize:
            return self._sized(line, message, at)
        if type(message) is tws.TickGeneric and message.tick_type == _HALTED and message.value >= 0:
            halted = 1.0 if message.value > 0 else 0.0
            return line.tell(Tick(line.symbol, TickKind.HALTED, halted, 0.0, at, halted, halted))
        return None

    def _sized(self, line: _Line, message: tws.TickSize, at: datetime) -> Tick | None:
        kind = _OF_SIZE.get(message.tick_type)
        size = float(message.size)
        if kind is None:
            # Each trade is followed by the day's volume: it counts those, too, that TWS does not send.
            known = message.tick_type == _VOLUME and size >= 0
            return line.tell(Tick(line.symbol, TickKind.VOLUME, 0.0, size, at, 0.0, 0.0)) if known else None
        if line.echo.pop(kind, None) == size:
            return None
        told = line.told.get(kind)
        if told is None:
            return None
        return line.tell(Tick(line.symbol, kind, told.price, size, at, told.price, told.price))


def _quote(line: _Line) -> Quote:
    told, heard = line.told, line.latest
    bid, ask, last = told.get(TickKind.BID), told.get(TickKind.ASK), told.get(TickKind.LAST)
    halted = told.get(TickKind.HALTED)
    return Quote(
        None if bid is None else bid.price,
        None if ask is None else ask.price,
        None if last is None else last.price,
        None if heard is None else heard.at,
        halted is not None and halted.price > 0,
        line.trouble or (DataState.WAITING if heard is None else DataState.LIVE),
    )
