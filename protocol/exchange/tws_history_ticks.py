"""Past ticks one by one, the first moment of a past, and how often each price traded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice, takewhile
from typing import Final

from protocol.exchange.bar_book import BarBook
from protocol.exchange.calendar import Session
from protocol.exchange.currencies import Pair
from protocol.exchange.happenings import MarketTick
from protocol.exchange.listings import Listing
from protocol.exchange.tws_quotes import Quote
from protocol.tws.messages import (
    HistogramData,
    HistoricalTick,
    HistoricalTickBidAsk,
    HistoricalTickLast,
    HistoricalTicks,
    HistoricalTicksBidAsk,
    HistoricalTicksLast,
)

MOST_DAYS, MOST_SEARCHED_DAYS = 260, 3
"""How far back ticks may begin; how many days are searched for the last ones."""
MOST_TICKS: Final = 1000
"""Of one request."""
_STRETCHES: Final = (timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=8))
"""A session is searched back in stretches that grow, since each costs what it spans."""
WHATS: Final = frozenset({"TRADES", "BID_ASK", "MIDPOINT"})
_PERIOD: Final = re.compile(r"(\d{1,4}) +(day|week|month|year)s?")
_PERIOD_DAYS: Final = {"day": 1, "week": 5, "month": 21, "year": 252}
MOST_HISTOGRAM_DAYS: Final = 30

AnyTicks = HistoricalTicks | HistoricalTicksBidAsk | HistoricalTicksLast
PastTick = HistoricalTick | HistoricalTickBidAsk | HistoricalTickLast


class PastTicks:
    def __init__(self, book: BarBook, exchange: str) -> None:
        """`exchange`: where trades are said to have happened."""
        self._book, self._exchange = book, exchange

    def after(
        self, listing: Listing, what: str, start: datetime, now: datetime, count: int, *, use_rth: bool
    ) -> tuple[PastTick, ...]:
        """The first `count` from `start` on; the last second is told whole."""
        found: list[PastTick] = []
        for session in reversed(self._sessions(listing, what, now, start, use_rth=use_rth)):
            ticks = self._book.ticks(listing, session, start, now)
            for tick in _read(ticks, what, self._exchange):
                if len(found) >= count and tick.epoch_s != found[-1].epoch_s:
                    return tuple(found)
                found.append(tick)
            if len(found) >= count:
                break
        return tuple(found)

    def before(
        self, listing: Listing, what: str, end: datetime, count: int, *, use_rth: bool
    ) -> tuple[PastTick, ...]:
        """The last `count` before `end`, oldest first; the first second is told whole."""
        found: list[PastTick] = []
        for session in self._sessions(listing, what, end, None, use_rth=use_rth):
            reached = min(end, session.end)
            for stretch in _STRETCHES:
                if reached <= session.start or len(found) > count:
                    break
                from_ = max(session.start, (reached - stretch).replace(second=0, microsecond=0))
                ticks = self._book.ticks(listing, session, from_, reached)
                found[:0] = _read(ticks, what, self._exchange)
                reached = from_
            if len(found) > count:
                break
        if len(found) > count:
            first_s = found[-count].epoch_s
            found = [tick for tick in found if tick.epoch_s >= first_s]
        return tuple(found)

    def _sessions(
        self, listing: Listing, what: str, end: datetime, start: datetime | None, *, use_rth: bool
    ) -> list[Session]:
        """The last days before `end`, of those that go on after `start`; the newest first."""
        if what == "TRADES" and isinstance(listing.terms, Pair):
            return []
        sessions = self._book.sessions(listing, end, regular_only=use_rth)
        if start is not None:
            return list(islice(takewhile(lambda day: day.end > start, sessions), MOST_DAYS))
        return list(islice(sessions, MOST_SEARCHED_DAYS))

    def histogram(
        self, req_id: int, listing: Listing, period: str, now: datetime, *, use_rth: bool
    ) -> HistogramData | None:
        """Shares by price over the last days, from the closes of their minutes; None for no such period."""
        found = _PERIOD.fullmatch(period.strip().lower())
        if found is None or int(found[1]) == 0:
            return None
        days = min(int(found[1]) * _PERIOD_DAYS[found[2]], MOST_HISTOGRAM_DAYS)
        shares: dict[float, int] = {}
        for number, session in enumerate(self._book.sessions(listing, now, regular_only=use_rth)):
            if number >= days:
                break
            end = min(now, session.end)
            minutes = int((end - session.start).total_seconds() // 60)
            if minutes > 0:
                for bar in self._book.bars(listing, "TRADES", 60, end, minutes, regular_only=use_rth):
                    if bar.start >= session.start and bar.volume:
                        shares[bar.close] = shares.get(bar.close, 0) + int(bar.volume)
        return HistogramData(req_id, tuple(sorted(shares.items())))

    def head(self, listing: Listing, what: str, now: datetime, *, use_rth: bool) -> datetime | None:
        """When the past of a contract begins; None when it has none."""
        if isinstance(listing.terms, Pair) and what == "TRADES":
            return None
        for day in reversed(list(self._book.sessions(listing, now, regular_only=use_rth))):
            end = min(day.end, now)
            if not isinstance(listing.terms, str):
                return day.start
            minutes = int((end - day.start).total_seconds() // 60)
            bars = self._book.bars(listing, "TRADES", 60, end, minutes, regular_only=use_rth)
            if bars:
                return max(bars[0].start, day.start)
        return None


def ticks_message(req_id: int, what: str, ticks: tuple[PastTick, ...]) -> AnyTicks:
    match what:
        case "TRADES":
            return HistoricalTicksLast(
                req_id, tuple(tick for tick in ticks if isinstance(tick, HistoricalTickLast)), True
            )
        case "BID_ASK":
            return HistoricalTicksBidAsk(
                req_id, tuple(tick for tick in ticks if isinstance(tick, HistoricalTickBidAsk)), True
            )
        case _:
            return HistoricalTicks(
                req_id, tuple(tick for tick in ticks if isinstance(tick, HistoricalTick)), True
            )


def timestamp(at: datetime, format_date: int) -> str:
    """`20250123-14:30:00`, UTC; epoch seconds when `format_date` is 2."""
    return str(int(at.timestamp())) if format_date == 2 else f"{at.astimezone(UTC):%Y%m%d-%H:%M:%S}"


def _read(ticks: Iterator[MarketTick], what: str, exchange: str) -> Iterator[PastTick]:
    quote = Quote()
    told: object = None
    for tick in ticks:
        quote.absorb(tick)
        epoch_s = int(tick.at.timestamp())
        if what == "TRADES":
            if tick.last is not None:
                yield HistoricalTickLast(epoch_s, 0, tick.last, Decimal(tick.last_size or 0), exchange, "")
            continue
        if what == "MIDPOINT":
            if quote.middle is not None and quote.middle != told:
                told = quote.middle
                yield HistoricalTick(epoch_s, quote.middle, Decimal(0))
            continue
        standing = (quote.bid, quote.ask, quote.bid_size, quote.ask_size)
        if standing != told and (quote.bid is not None or quote.ask is not None):
            told = standing
            yield HistoricalTickBidAsk(
                epoch_s, 0, quote.bid or 0.0, quote.ask or 0.0,
                Decimal(quote.bid_size or 0), Decimal(quote.ask_size or 0),
            )  # fmt: skip
