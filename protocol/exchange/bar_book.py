"""Bars of any contract and of any of its prices: what trades, what is bid, what is asked, the middle.

Bars of trades are the market's own. Those of the quote are made of the very ticks that the market gives,
as long as these are not too many; for longer spans a spread is put around what traded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby, pairwise
from math import log, sqrt
from typing import Final, Protocol, runtime_checkable

from protocol.exchange.calendar import NEW_YORK, Session
from protocol.exchange.derived_market import DerivedMarket, days_with_a_past
from protocol.exchange.happenings import MarketTick
from protocol.exchange.history import DAY_S, SECOND_US, Prints, completed_bars, micros, moment, regular_part
from protocol.exchange.listings import Listing
from protocol.exchange.market import Market
from protocol.exchange.path import Print, quote_around, spread_at
from protocol.values import Bar

WEEK_S: Final = 7 * DAY_S
MONTH_S: Final = 30 * DAY_S
"""A calendar month; the number only stands for it."""
EXACT_SPAN_S: Final = 2 * 23_400
"""Bars of the quote are made of its ticks when they span no more than this: some ten thousand ticks."""
VOLATILITY_DAYS: Final = 30
TRADING_DAYS_A_YEAR: Final = 252


@runtime_checkable
class TickSource(Protocol):
    """A market that can give the ticks of one symbol again."""

    def ticks_of(self, symbol: str, session: Session, from_us: int, to_us: int) -> Iterator[MarketTick]:
        """From `from_us` up to, not including, `to_us`, within `session`."""
        ...


class BarBook:
    def __init__(self, market: Market, derived: DerivedMarket) -> None:
        self._market, self._derived = market, derived

    def bars(
        self, listing: Listing, what: str, bar_s: int, end: datetime, count: int, *, regular_only: bool
    ) -> tuple[Bar, ...]:
        """The last `count` bars complete by `end`, oldest first. `what`: TRADES, BID, ASK or MIDPOINT.

        A week or month is dated by its last trading day; the newest one is as complete as it is.
        """
        if bar_s > DAY_S:
            days = 5 if bar_s == WEEK_S else 23
            daily = self.bars(listing, what, DAY_S, end, count * days, regular_only=regular_only)
            return _folded(daily, bar_s)[-count:]
        match listing.terms:
            case str(symbol) if what == "TRADES":
                return self._market.history(symbol, bar_s, end, count, regular_only=regular_only)
            case str(symbol):
                exact = bar_s * count <= EXACT_SPAN_S and isinstance(self._market, TickSource)
                source: Prints = _QuotePrints(self._market, symbol, what, exact=exact)
                sessions = self._sessions(symbol, end, regular_only=regular_only)
                return completed_bars(source, sessions, bar_s, end, count)
            case _:
                prints = self._derived.prints_of(listing, what, bar_s)
                sessions = self._derived.sessions_back_from(listing, end)
                return completed_bars(prints, sessions, bar_s, end, count)

    def ticks(
        self, listing: Listing, session: Session, from_: datetime, to: datetime
    ) -> Iterator[MarketTick]:
        """The ticks of a contract in a stretch of a session; none where the market cannot give them again."""
        from_us, to_us = micros(max(from_, session.start)), micros(min(to, session.end))
        match listing.terms:
            case str(symbol):
                if isinstance(self._market, TickSource):
                    yield from self._market.ticks_of(symbol, session, from_us, to_us)
            case _:
                regular = regular_part(session)
                if regular is not None:
                    first, last = max(from_us, micros(regular.start)), min(to_us, micros(regular.end))
                    yield from self._derived.ticks_of(listing, regular, first, last)

    def sessions(self, listing: Listing, end: datetime, *, regular_only: bool) -> Iterator[Session]:
        """The days for which there is a past, the newest first."""
        if isinstance(listing.terms, str):
            return self._sessions(listing.terms, end, regular_only=regular_only)
        return self._derived.sessions_back_from(listing, end)

    def _sessions(self, symbol: str, end: datetime, *, regular_only: bool) -> Iterator[Session]:
        if self._market.end is not None:
            for session in reversed(self._market.sessions):
                part = regular_part(session) if regular_only else session
                if part is not None and session.start < end:
                    yield part
            return
        yield from days_with_a_past(self._market, symbol, end)


class _QuotePrints:
    """Bids, asks or their middle of a stock of the market."""

    def __init__(self, market: Market, symbol: str, what: str, *, exact: bool) -> None:
        self._market, self._symbol, self._what, self._exact = market, symbol, what, exact

    def prints(self, session: Session, from_us: int, to_us: int, *, whole_minutes: bool) -> Iterable[Print]:
        if self._exact and isinstance(self._market, TickSource):
            yield from self._ticked(self._market, session, from_us, to_us)
            return
        bar_s = 60 if whole_minutes else 1
        count = -(-(to_us - from_us) // (bar_s * SECOND_US))
        for bar in self._market.history(self._symbol, bar_s, moment(to_us), count):
            at_us = micros(bar.start)
            if at_us >= from_us:
                first, last = self._around(bar.open), self._around(bar.close)
                yield Print(at_us, first, self._around(bar.high), self._around(bar.low), last, 0)

    def _ticked(self, market: TickSource, session: Session, from_us: int, to_us: int) -> Iterator[Print]:
        bid = ask = 0.0
        for tick in market.ticks_of(self._symbol, session, from_us, to_us):
            bid = bid if tick.bid is None else tick.bid
            ask = ask if tick.ask is None else tick.ask
            price = bid if self._what == "BID" else ask if self._what == "ASK" else 0.0
            if self._what == "MIDPOINT" and bid and ask:
                price = round((bid + ask) / 2, 8)
            if price:
                yield Print(micros(tick.at), price, price, price, price, 0)

    def close_before(self, at_us: int) -> float | None:
        bars = self._market.history(self._symbol, 60, moment(at_us), 1)
        return self._around(bars[-1].close) if bars else None

    def _around(self, price: float) -> float:
        bid, ask = quote_around(price, spread_at(price), rising=True)
        match self._what:
            case "BID":
                return bid
            case "ASK":
                return ask
            case _:
                return round((bid + ask) / 2, 8)


def _folded(daily: Iterable[Bar], bar_s: int) -> tuple[Bar, ...]:
    """Days as weeks or months."""

    def period(bar: Bar) -> tuple[int, int]:
        day = bar.start.astimezone(NEW_YORK).date()
        if bar_s == WEEK_S:
            year, week, _ = day.isocalendar()
            return year, week
        return day.year, day.month

    folded: list[Bar] = []
    for _, group in groupby(daily, period):
        days = list(group)
        folded.append(
            Bar(
                # The last day of the period: so TWS dates weeks and months.
                days[-1].start,
                days[0].open,
                max(day.high for day in days),
                min(day.low for day in days),
                days[-1].close,
                sum(day.volume for day in days),
            )
        )
    return tuple(folded)


def realized_volatility(closes: list[float]) -> float | None:
    """The annual deviation of the daily changes; None of fewer than three closes."""
    changes = [log(after / before) for before, after in pairwise(closes) if before > 0 < after]
    if len(changes) < 2:
        return None
    mean = sum(changes) / len(changes)
    variance = sum((change - mean) ** 2 for change in changes) / (len(changes) - 1)
    return round(sqrt(variance * TRADING_DAYS_A_YEAR), 6)
