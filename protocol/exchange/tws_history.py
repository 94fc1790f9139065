"""Historical bars as reqHistoricalData asks for them and TWS answers.

A duration in seconds means so many seconds of trading, back over the close of the day before when the
session is younger than that; one in days means the bars of the last so many trading days, today's
included.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Final

import attrs

from protocol.exchange.bar_book import (
    MONTH_S,
    VOLATILITY_DAYS,
    WEEK_S,
    BarBook,
    realized_volatility,
)
from protocol.exchange.contract_key import contract_key
from protocol.exchange.currencies import Pair
from protocol.exchange.history import DAY_S
from protocol.exchange.listings import Listing
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_text import NEW_YORK, read_time, write_time
from protocol.tws.messages import (
    ErrorMessage,
    HistoricalBar,
    HistoricalData,
    HistoricalSchedule,
    HistoricalSession,
    ReqHistoricalData,
)
from protocol.tws.versions import HISTORICAL_SCHEDULE
from protocol.values import Bar

BAR_SIZES_S: Final = {
    "1 secs": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30,
    "1 min": 60, "2 mins": 120, "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900,
    "20 mins": 1200, "30 mins": 1800,
    "1 hour": 3600, "2 hours": 7200, "3 hours": 10_800, "4 hours": 14_400, "8 hours": 28_800,
    "1 day": DAY_S, "1 week": WEEK_S, "1 month": MONTH_S,
}  # fmt: skip
"""The bar sizes of the API by name."""
_OTHER_NAMES: Final = {
    "1 sec": "1 secs", "1 hours": "1 hour", "1 mins": "1 min", "1 days": "1 day", "1D": "1 day",
    "1W": "1 week", "1 W": "1 week", "1w": "1 week", "1M": "1 month", "1 M": "1 month", "1m": "1 month",
}  # fmt: skip

PRICES: Final = frozenset({"TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK", "ADJUSTED_LAST"})
VOLATILITIES: Final = frozenset({"HISTORICAL_VOLATILITY", "OPTION_IMPLIED_VOLATILITY"})
SCHEDULE: Final = "SCHEDULE"
_NOT_HERE: Final = frozenset(
    {"FEE_RATE", "REBATE_RATE", "YIELD_BID", "YIELD_ASK", "YIELD_BID_ASK", "YIELD_LAST", "AGGTRADES"}
)
"""What TWS knows to ask for and this market has nothing of."""
MAX_BARS: Final = 60_000
"""Bars that one request may span; TWS refuses longer ones as well, by a table of its own."""

_DAYS_OF_UNIT: Final = {"D": 1, "W": 5, "M": 21, "Y": 252}
_EXTENDED_DAY_S, _REGULAR_DAY_S = 16 * 3600, 23_400
_DURATION: Final = re.compile(r"(\d{1,9})\s*([SDWMY])")
_UNTRADED: Final = -1
"""Volume, average price and count of a bar that is not made of trades."""

PACING_CODE = 162
VALIDATION_CODE = 321


@attrs.frozen
class _Span:
    count: int
    days: int | None
    """Only bars of the last so many days; None: just `count` bars."""


@attrs.frozen
class Query:
    """What a request asks for, understood: `what` without its synonyms."""

    bar_s: int
    what: str
    end: datetime
    span: _Span
    use_rth: bool


def read_query(request: ReqHistoricalData, now: datetime) -> Query | ErrorMessage:
    """What a request asks for; nothing that ends after `now`."""
    size = request.bar_size.strip()
    bar_s = BAR_SIZES_S.get(_OTHER_NAMES.get(size, size))
    span = None if bar_s is None else _span(request.duration, bar_s, use_rth=request.use_rth)
    end = now if request.end == "" else read_time(request.end)
    what = request.what.upper()
    known = what in PRICES | VOLATILITIES | _NOT_HERE or what == SCHEDULE
    if bar_s is None or span is None or end is None or not known:
        said = f"{request.duration!r} of {request.bar_size!r} {request.what!r} up to {request.end!r}"
        return _invalid(request.req_id, f"Historical data query is not valid: {said}")
    if what == "ADJUSTED_LAST" and request.end:
        return _invalid(request.req_id, "End date not supported with adjusted last")
    if request.keep_up_to_date and request.end:
        return _invalid(request.req_id, "End date not supported with keepUpToDate")
    if span.count > MAX_BARS:
        return refusal(request.req_id, "Time length exceed max.")
    return Query(bar_s, what, min(end, now), span, request.use_rth)


def answer(
    request: ReqHistoricalData,
    query: Query,
    listing: Listing,
    book: BarBook,
    version: int,
    settings: MarketSettings,
) -> HistoricalData | HistoricalSchedule | ErrorMessage:
    """The bars that a request asks for, or the refusal."""
    if query.what == SCHEDULE:
        return _schedule(request.req_id, query, listing, book, version)
    bars = _bars(query, listing, book, settings)
    if not bars:
        contract = listing.contract
        key = f"{contract_key(contract)}@{contract.exchange} {request.what}"
        return refusal(request.req_id, f"HMDS query returned no data: {key}")
    traded = query.what in ("TRADES", "ADJUSTED_LAST")
    told = tuple(
        historical_bar(bar, query.bar_s, request.format_date, version, traded=traded) for bar in bars
    )
    return HistoricalData(
        request.req_id, write_time(bars[0].start, version), write_time(query.end, version), told
    )


def historical_bar(
    bar: Bar, bar_s: int, format_date: int, version: int, *, traded: bool = True
) -> HistoricalBar:
    """One bar; its date in New York's words, or epoch seconds when `format_date` is 2 (not for days)."""
    if bar_s >= DAY_S:
        day = f"{bar.start.astimezone(NEW_YORK):%Y%m%d}"
    elif format_date == 2:
        day = str(int(bar.start.timestamp()))
    else:
        day = write_time(bar.start, version)
    volume, wap, count = Decimal(_UNTRADED), float(_UNTRADED), _UNTRADED
    if traded:
        volume, wap = Decimal(int(bar.volume)), round((bar.high + bar.low + bar.close) / 3, 4)
        count = max(1, int(bar.volume) // 100) if bar.volume else 0
    return HistoricalBar(
        date=day,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=volume,
        wap=wap,
        count=count,
    )


def bars_of(
    listing: Listing, what: str, bar_s: int, end: datetime, count: int, book: BarBook, *, use_rth: bool
) -> tuple[Bar, ...]:
    """The last `count` bars of a price. A bar of BID_ASK goes from the average bid to the average ask."""
    if what in ("TRADES", "ADJUSTED_LAST"):
        if isinstance(listing.terms, Pair):
            return ()
        return book.bars(listing, "TRADES", bar_s, end, count, regular_only=use_rth)
    if what != "BID_ASK":
        return book.bars(listing, what, bar_s, end, count, regular_only=use_rth)
    bids = book.bars(listing, "BID", bar_s, end, count, regular_only=use_rth)
    asks = book.bars(listing, "ASK", bar_s, end, count, regular_only=use_rth)
    return tuple(
        Bar(bid.start, _average(bid), ask.high, bid.low, _average(ask), 0)
        for bid, ask in zip(bids, asks, strict=True)
    )


def _average(bar: Bar) -> float:
    return round((bar.open + bar.high + bar.low + bar.close) / 4, 6)


def _bars(query: Query, listing: Listing, book: BarBook, settings: MarketSettings) -> list[Bar]:
    span, bar_s = query.span, query.bar_s
    if query.what in _NOT_HERE:
        return []
    if query.what in VOLATILITIES:
        return _volatilities(query, listing, book, settings)
    bars = list(bars_of(listing, query.what, bar_s, query.end, span.count, book, use_rth=query.use_rth))
    if span.days is not None and bar_s < DAY_S:
        days = sorted({bar.start.astimezone(NEW_YORK).date() for bar in bars})[-span.days :]
        bars = [bar for bar in bars if bar.start.astimezone(NEW_YORK).date() in days]
    return bars


def _volatilities(query: Query, listing: Listing, book: BarBook, settings: MarketSettings) -> list[Bar]:
    """A value a day: of the last thirty daily closes, or what options are priced at."""
    if query.bar_s != DAY_S or not isinstance(listing.terms, str):
        return []
    days = query.span.days or query.span.count
    daily = book.bars(listing, "TRADES", DAY_S, query.end, days + VOLATILITY_DAYS, regular_only=True)
    closes = [bar.close for bar in daily]
    told: list[Bar] = []
    for number, bar in enumerate(daily):
        value = realized_volatility(closes[max(0, number - VOLATILITY_DAYS) : number + 1])
        if query.what == "OPTION_IMPLIED_VOLATILITY":
            value = settings.volatility_of(listing.terms)
        if value is not None:
            told.append(Bar(bar.start, value, value, value, value, 0))
    return told[-days:]


def _schedule(
    req_id: int, query: Query, listing: Listing, book: BarBook, version: int
) -> HistoricalSchedule | ErrorMessage:
    if version < HISTORICAL_SCHEDULE or query.bar_s != DAY_S:
        return _invalid(req_id, "Historical schedule is only available with daily bars")
    days = query.span.days or query.span.count
    sessions: list[HistoricalSession] = []
    for session in book.sessions(listing, query.end, regular_only=query.use_rth):
        if len(sessions) >= days:
            break
        start, end = session.start.astimezone(NEW_YORK), session.end.astimezone(NEW_YORK)
        sessions.append(
            HistoricalSession(f"{start:%Y%m%d-%H:%M:%S}", f"{end:%Y%m%d-%H:%M:%S}", f"{session.day:%Y%m%d}")
        )
    if not sessions:
        return refusal(req_id, f"HMDS query returned no data: {contract_key(listing.contract)} SCHEDULE")
    sessions.reverse()
    return HistoricalSchedule(req_id, sessions[0].start, sessions[-1].end, "US/Eastern", tuple(sessions))


def _span(duration: str, bar_s: int, *, use_rth: bool) -> _Span | None:
    found = _DURATION.fullmatch(duration.strip().upper())
    if found is None or int(found[1]) == 0:
        return None
    number, unit = int(found[1]), found[2]
    if unit == "S":
        return _Span(max(1, number // bar_s), None)
    days = number * _DAYS_OF_UNIT[unit]
    if bar_s > DAY_S:
        return _Span(max(1, days // _DAYS_OF_UNIT["W" if bar_s == WEEK_S else "M"]), None)
    if bar_s == DAY_S:
        return _Span(days, days)
    # A bar more for each day: sessions need not begin on a multiple of the bar's length.
    longest_day_s = _REGULAR_DAY_S if use_rth else _EXTENDED_DAY_S
    return _Span(days * (longest_day_s // bar_s + 1), days)


def refusal(req_id: int, why: str) -> ErrorMessage:
    return ErrorMessage(req_id, PACING_CODE, f"Historical Market Data Service error message:{why}")


def _invalid(req_id: int, why: str) -> ErrorMessage:
    return ErrorMessage(req_id, VALIDATION_CODE, f"Error validating request.-'bF' : cause - {why}")
