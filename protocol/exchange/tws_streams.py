"""Subscriptions to every tick of a contract: single ticks, bars of five seconds, the rows of the book.

A stream hears the ticks of its contract after its quote has taken them in, and the time. What it says goes to
one request of one client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import moment
from protocol.exchange.tws_quotes import Quote
from protocol.tws.messages import RealTimeBar, ServerMessage, TickByTick

TICK_TYPES: Final = {"Last": 1, "AllLast": 2, "BidAsk": 3, "MidPoint": 4}
REAL_TIME_BAR_S: Final = 5
UNTRADED: Final = -1
"""Volume, average price and count of a bar that is not made of trades."""


class Stream(Protocol):
    @property
    def key(self) -> str:
        """The contract, as its ticks name it."""
        ...

    def take(self, quote: Quote, tick: MarketTick) -> Iterator[ServerMessage]:
        """A tick, and the quote after it."""
        ...

    def pass_time(self, at: datetime) -> Iterator[ServerMessage]:
        """It is `at`, all ticks until then have been taken."""
        ...


class TickByTickStream:
    """`tick_type` as in `TICK_TYPES`. A quote of which only a size changed is told unless `ignore_size`."""

    def __init__(self, req_id: int, key: str, tick_type: int, exchange: str, *, ignore_size: bool) -> None:
        self.key = key
        self._req_id, self._type, self._exchange, self._ignore_size = req_id, tick_type, exchange, ignore_size
        self._told: tuple[object, ...] | None = None

    def take(self, quote: Quote, tick: MarketTick) -> Iterator[ServerMessage]:
        epoch_s = int(tick.at.timestamp())
        if self._type in (1, 2):
            if tick.last is not None:
                yield TickByTick(
                    req_id=self._req_id, tick_type=self._type, epoch_s=epoch_s, price=tick.last,
                    size=Decimal(tick.last_size or 0), exchange=self._exchange,
                )  # fmt: skip
            return
        if self._type == 4:
            middle = quote.middle
            if middle is not None and (middle,) != self._told:
                self._told = (middle,)
                yield TickByTick(req_id=self._req_id, tick_type=4, epoch_s=epoch_s, mid=middle)
            return
        sizes = () if self._ignore_size else (quote.bid_size, quote.ask_size)
        standing = (quote.bid, quote.ask, *sizes)
        if standing == self._told or (quote.bid is None and quote.ask is None):
            return
        self._told = standing
        yield TickByTick(
            req_id=self._req_id, tick_type=3, epoch_s=epoch_s, bid=quote.bid or 0.0, ask=quote.ask or 0.0,
            bid_size=Decimal(quote.bid_size or 0), ask_size=Decimal(quote.ask_size or 0),
        )  # fmt: skip

    def pass_time(self, at: datetime) -> Iterator[ServerMessage]:
        del at
        yield from ()


class RealTimeBars:
    """Bars of five seconds, from the next full five seconds on; each is told when it is over.

    Five seconds without a trade (or a change of the quote) are a flat bar. `is_open`: whether bars are made
    at a moment.
    """

    def __init__(
        self,
        req_id: int,
        key: str,
        what: str,
        quote: Quote,
        begin: datetime,
        is_open: Callable[[datetime], bool],
    ) -> None:
        self.key = key
        self._req_id, self._what, self._is_open = req_id, what, is_open
        self._start_s = -(-int(begin.timestamp() * 1_000_000) // 5_000_000) * REAL_TIME_BAR_S
        self._price = quote.last if what == "TRADES" else _side(quote, what)
        self._opened: float | None = None
        self._high = self._low = 0.0
        self._volume = self._count = 0
        self._turnover = 0.0

    def take(self, quote: Quote, tick: MarketTick) -> Iterator[ServerMessage]:
        yield from self._close_until(tick.at)
        price = tick.last if self._what == "TRADES" else _side(quote, self._what)
        if price is None:
            return
        self._price = price
        if tick.at.timestamp() < self._start_s:
            return
        if self._opened is None:
            self._opened = self._high = self._low = price
        self._high, self._low = max(self._high, price), min(self._low, price)
        if self._what == "TRADES":
            size = tick.last_size or 0
            self._volume += size
            self._turnover += price * size
            self._count += 1

    def pass_time(self, at: datetime) -> Iterator[ServerMessage]:
        yield from self._close_until(at)

    def _close_until(self, at: datetime) -> Iterator[ServerMessage]:
        now_s = at.timestamp()
        while now_s >= self._start_s + REAL_TIME_BAR_S:
            if self._price is not None and self._is_open(moment(self._start_s * 1_000_000)):
                yield self._bar(self._price)
                self._start_s += REAL_TIME_BAR_S
            elif self._is_open(at):
                self._start_s += REAL_TIME_BAR_S
            else:
                # A night has as many five seconds as nobody wants to count.
                self._start_s = int(now_s) // REAL_TIME_BAR_S * REAL_TIME_BAR_S
            self._opened = None
            self._volume = self._count = 0
            self._turnover = 0.0

    def _bar(self, close: float) -> RealTimeBar:
        if self._opened is None:
            opened = high = low = close
        else:
            opened, high, low = self._opened, self._high, self._low
        start_s = self._start_s
        if self._what != "TRADES":
            none = UNTRADED
            return RealTimeBar(
                self._req_id, start_s, opened, high, low, close, Decimal(none), float(none), none
            )
        wap = round(self._turnover / self._volume, 6) if self._volume else close
        return RealTimeBar(
            self._req_id, start_s, opened, high, low, close, Decimal(self._volume), wap, self._count
        )


def _side(quote: Quote, what: str) -> float | None:
    match what:
        case "BID":
            return quote.bid
        case "ASK":
            return quote.ask
        case _:
            return quote.middle
