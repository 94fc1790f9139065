"""A market that does what a test tells it to, second by second."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Final

import attrs

from protocol.exchange.calendar import Session, new_york, next_session, session_of
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import completed_bars
from protocol.exchange.path import Print
from protocol.values import Bar, Symbol

DAY: Final = date(2025, 1, 23)
"""An ordinary, full trading day."""
DEEP: Final = 5000
"""Shares shown where a test does not care: enough for any of its orders."""


@attrs.frozen
class Shown:
    """What a symbol shows: both sides of the quote a cent from `price`, `size` shares on each, and trades."""

    price: float
    size: int = DEEP
    half_spread: float = 0.01

    def tick(self, at: datetime, symbol: str) -> MarketTick:
        bid, ask = round(self.price - self.half_spread, 4), round(self.price + self.half_spread, 4)
        return MarketTick(at, symbol, bid, self.size, ask, self.size, self.price, max(self.size, 1), None)


class DirectedMarket:
    """Every symbol ticks once a second and shows what it was last told to, from two seconds later on.

    Before the day began, each minute went `range_` dollars up and down: the true range that an ATR finds.
    """

    has_regular_hours: Final = True
    end: Final = None

    def __init__(self, prices: Mapping[Symbol, float], *, start: str = "10:00", range_: float = 0.20) -> None:
        self.start: Final = new_york(DAY, time.fromisoformat(start))
        self._shown = {str(symbol): Shown(price) for symbol, price in sorted(prices.items())}
        self._first = dict(self._shown)
        self._range = range_

    def show(self, symbol: Symbol, price: float | None = None, *, size: int | None = None) -> None:
        shown = self._shown[symbol]
        self._shown[symbol] = attrs.evolve(
            shown, price=shown.price if price is None else price, size=shown.size if size is None else size
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(self._shown)

    @property
    def sessions(self) -> tuple[Session, ...]:
        return (next_session(self.start),)

    def knows(self, symbol: str) -> bool:
        return symbol in self._shown

    def add(self, symbol: str) -> None:
        if symbol not in self._shown:
            raise KeyError(symbol)

    def session_after(self, at: datetime) -> Session:
        return next_session(at)

    def ticks(self, from_: datetime) -> Iterator[MarketTick]:
        session, at = next_session(from_), from_
        while True:
            at = max(at, session.start)
            while at < session.end:
                for symbol in self._shown:
                    yield self._shown[symbol].tick(at, symbol)
                at += timedelta(seconds=1)
            session = next_session(session.end)

    def history(
        self,
        symbol: str,
        bar_s: int,
        end: datetime,
        count: int,
        *,
        regular_only: bool = False,  # noqa: ARG002 - there is no other trading here
    ) -> tuple[Bar, ...]:
        first = self._first.get(symbol)
        today = session_of(DAY)
        if first is None or today is None:
            return ()
        return completed_bars(_Past(first.price, self._range), iter((today,)), bar_s, end, count)


@attrs.frozen
class _Past:
    """Minutes that all look the same."""

    price: float
    range_: float

    def prints(
        self,
        session: Session,  # noqa: ARG002 - all days are alike
        from_us: int,
        to_us: int,
        *,
        whole_minutes: bool,  # noqa: ARG002
    ) -> Iterator[Print]:
        for minute_us in range(from_us, to_us, 60_000_000):
            yield Print(minute_us, self.price, self.price + self.range_, self.price, self.price, 1000)

    def close_before(self, at_us: int) -> float | None:  # noqa: ARG002
        return self.price
