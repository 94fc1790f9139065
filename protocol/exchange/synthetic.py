"""A market of its own making: any US stock, any number of trading days, the same for the same seed.

How a price comes about stands in `stock.py`. History and ticks agree, a replay can begin anywhere, and only
what is looked at costs anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from itertools import dropwhile
from operator import attrgetter
from typing import Final, TypeAlias

from protocol.exchange.calendar import (
    NEW_YORK,
    Session,
    new_york,
    next_session,
    next_trading_day,
    previous_trading_day,
    session_of,
)
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import MINUTE_US, SECOND_US, completed_bars, micros, moment
from protocol.exchange.path import quote_around, shown_size, spread_at
from protocol.exchange.stock import SECONDS, Minute, Stock
from protocol.values import Bar

DEMO_DAY: Final = date(2025, 1, 23)
"""The trading day on which the demo always begins: an ordinary full Thursday."""
DEMO_START: Final = time(10, 0)
"""New York time."""
HISTORY_DAYS: Final = 20
"""Trading days before the first one for which there is history: a month."""
NAMED_DAYS: Final = 250
"""`sessions` names this many days from the first one on, a year; the market itself goes on for ever."""

_STOCK: Final = re.compile(r"[A-Z]{1,5}( [A-Z]{1,2})?")
"""A US ticker as TWS writes it: `SLV`, `BRK B`."""
_by_phase = attrgetter("phase_us", "symbol")


class SyntheticMarket:
    """Every added symbol ticks once a second through every session, with a quote and a trade."""

    has_regular_hours: Final = True
    end: Final = None

    def __init__(
        self, seed: int, day: date = DEMO_DAY, start: time = DEMO_START, symbols: Iterable[str] = ()
    ) -> None:
        """`day` is the first trading day, `start` New York's time on it at which a replay begins.

        Raises ValueError when the exchange is closed on `day` or at `start`, KeyError for a symbol that is
        no US stock's.
        """
        first = session_of(day)
        self.start: Final = new_york(day, start)
        if first is None or not first.contains(self.start):
            raise ValueError(f"the exchange is closed on {day} at {start} New York time")
        self._seed = seed
        self._first = first
        self._first_day = day
        for _ in range(HISTORY_DAYS):
            self._first_day = previous_trading_day(self._first_day).day
        self._stocks: dict[str, Stock] = {}
        self._by_phase: tuple[Stock, ...] = ()
        for symbol in symbols:
            self.add(symbol)

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self._stocks))

    @property
    def sessions(self) -> tuple[Session, ...]:
        named = [self._first]
        while len(named) < NAMED_DAYS:
            named.append(next_trading_day(named[-1].day))
        return tuple(named)

    def knows(self, symbol: str) -> bool:
        return _STOCK.fullmatch(symbol) is not None

    def add(self, symbol: str) -> None:
        if not self.knows(symbol):
            raise KeyError(symbol)
        if symbol not in self._stocks:
            self._stocks[symbol] = Stock(self._seed, symbol, first_day=self._first_day)
            self._by_phase = tuple(sorted(self._stocks.values(), key=_by_phase))

    def session_after(self, at: datetime) -> Session:
        return next_session(at)

    def ticks(self, from_: datetime) -> Iterator[MarketTick]:
        """Endless. A symbol that is added meanwhile ticks from the second after the last one taken."""
        session = next_session(from_)
        while True:
            yield from dropwhile(
                lambda tick: tick.at < from_, self._ticks_of(session, max(from_, session.start))
            )
            session = next_trading_day(session.day)

    def ticks_of(self, symbol: str, session: Session, from_us: int, to_us: int) -> Iterator[MarketTick]:
        """The ticks of one stock again, from `from_us` up to, not including, `to_us`, within `session`."""
        stock = self._stocks.get(symbol) or Stock(self._seed, symbol, first_day=self._first_day)
        if session.day < self._first_day:
            return
        for minute_us in range(from_us - from_us % MINUTE_US, to_us, MINUTE_US):
            at_us = minute_us + stock.phase_us
            for bid, ask, shown, last, size, volume in _quoted(stock.minute(session, minute_us)):
                if from_us <= at_us < to_us:
                    yield MarketTick(moment(at_us), symbol, bid, shown, ask, shown, last, size, volume)
                at_us += SECOND_US

    def _ticks_of(self, session: Session, from_: datetime) -> Iterator[MarketTick]:
        minutes: dict[Stock, list[_Second]] = {}
        first_us = micros(from_)
        for second_us in range(first_us - first_us % SECOND_US, micros(session.end), SECOND_US):
            second = second_us % MINUTE_US // SECOND_US
            if second == 0:
                minutes.clear()
            now = moment(second_us)
            for stock in self._by_phase:
                minute = minutes.get(stock)
                if minute is None:
                    minute = minutes[stock] = _quoted(stock.minute(session, second_us - second * SECOND_US))
                bid, ask, shown, last, size, volume = minute[second]
                yield MarketTick(now + stock.phase, stock.symbol, bid, shown, ask, shown, last, size, volume)

    def history(
        self,
        symbol: str,
        bar_s: int,
        end: datetime,
        count: int,
        *,
        regular_only: bool = False,  # noqa: ARG002 - there is no other trading here
    ) -> tuple[Bar, ...]:
        """Bars of any stock, whether it was added or not."""
        if not self.knows(symbol):
            return ()
        stock = self._stocks.get(symbol) or Stock(self._seed, symbol, first_day=self._first_day)
        return completed_bars(stock, self._sessions_back_from(end), bar_s, end, count)

    def _sessions_back_from(self, end: datetime) -> Iterator[Session]:
        day = end.astimezone(NEW_YORK).date()
        session = session_of(day) or previous_trading_day(day)
        while session.day >= self._first_day:
            yield session
            session = previous_trading_day(session.day)


_Second: TypeAlias = tuple[float, float, int, float, int, int]
"""Bid, ask, shares shown, last, its size, the day's volume."""


def _quoted(minute: Minute) -> list[_Second]:
    spread = spread_at(minute.before)
    seconds: list[_Second] = []
    before = minute.before
    for price, size, volume in zip(minute.prices, minute.sizes, minute.volumes, strict=True):
        bid, ask = quote_around(price, spread, rising=price >= before)
        # As liquid as a replay of bars, where a quote shows a twelfth of the minute.
        seconds.append((bid, ask, shown_size(size * SECONDS), price, size, volume))
        before = price
    return seconds
