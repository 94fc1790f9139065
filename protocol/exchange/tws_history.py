"""Historical bars as reqHistoricalData asks for them and TWS answers.

A duration in seconds means so many seconds of trading, back over the close of the day before when the
session is younger than that; one in days means the bars of the last so many trading days, today's
included. Bars of MIDPOINT, BID and ASK are those of the trades.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import attrs

from protocol.exchange.tws_text import NEW_YORK, read_time, write_time
from protocol.tws.messages import ErrorMessage, HistoricalBar, HistoricalData, ReqHistoricalData
from protocol.values import Bar

DAY_S = 86_400
BAR_SIZES_S = {
    "1 secs": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30,
    "1 min": 60, "2 mins": 120, "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900,
    "20 mins": 1200, "30 mins": 1800,
    "1 hour": 3600, "2 hours": 7200, "3 hours": 10_800, "4 hours": 14_400, "8 hours": 28_800,
    "1 day": DAY_S,
}  # fmt: skip
"""The bar sizes of the API by name, up to a day."""

WHAT_TO_SHOW = frozenset({"TRADES", "MIDPOINT", "BID", "ASK", "ADJUSTED_LAST"})
MAX_BARS = 60_000
"""Bars that one request may span; TWS refuses longer ones as well, by a table of its own."""

_DAYS_OF_UNIT = {"D": 1, "W": 5, "M": 21, "Y": 252}
_EXTENDED_DAY_S, _REGULAR_DAY_S = 16 * 3600, 23_400
_DURATION = re.compile(r"(\d+)\s*([SDWMY])")

PACING_CODE = 162
VALIDATION_CODE = 321


class BarSource(Protocol):
    """What this needs of a market: bars that were complete by `end`, oldest first."""

    def history(
        self, symbol: str, bar_s: int, end: datetime, count: int, *, regular_only: bool = False
    ) -> tuple[Bar, ...]: ...


@attrs.frozen
class _Span:
    count: int
    days: int | None
    """Only bars of the last so many days; None: just `count` bars."""


def answer(
    request: ReqHistoricalData, symbol: str, market: BarSource, now: datetime, version: int
) -> HistoricalData | ErrorMessage:
    """The bars that a request asks for, none of which ends after `now`, or the refusal."""
    bar_s = BAR_SIZES_S.get(request.bar_size.strip())
    span = None if bar_s is None else _span(request.duration, bar_s, use_rth=request.use_rth)
    end = now if request.end == "" else read_time(request.end)
    if bar_s is None or span is None or end is None or request.what.upper() not in WHAT_TO_SHOW:
        what = f"{request.duration!r} of {request.bar_size!r} {request.what!r} up to {request.end!r}"
        text = f"Error validating request.-'bF' : cause - Historical data query is not valid: {what}"
        return ErrorMessage(request.req_id, VALIDATION_CODE, text)
    if span.count > MAX_BARS:
        return _refusal(request.req_id, "Time length exceed max.")
    bars = _bars(market, symbol, bar_s, min(end, now), span, use_rth=request.use_rth)
    if not bars:
        return _refusal(request.req_id, f"HMDS query returned no data: {symbol}@SMART {request.what}")
    told = tuple(historical_bar(bar, bar_s, request.format_date, version) for bar in bars)
    return HistoricalData(
        request.req_id, write_time(bars[0].start, version), write_time(min(end, now), version), told
    )


def historical_bar(bar: Bar, bar_s: int, format_date: int, version: int) -> HistoricalBar:
    """One bar; its date in New York's words, or epoch seconds when `format_date` is 2 (not for days)."""
    if bar_s == DAY_S:
        day = f"{bar.start.astimezone(NEW_YORK):%Y%m%d}"
    elif format_date == 2:
        day = str(int(bar.start.timestamp()))
    else:
        day = write_time(bar.start, version)
    return HistoricalBar(
        date=day,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=Decimal(int(bar.volume)),
        wap=round((bar.high + bar.low + bar.close) / 3, 4),
        count=max(1, int(bar.volume) // 100) if bar.volume else 0,
    )


def _span(duration: str, bar_s: int, *, use_rth: bool) -> _Span | None:
    found = _DURATION.fullmatch(duration.strip().upper())
    if found is None or int(found[1]) == 0:
        return None
    number, unit = int(found[1]), found[2]
    if unit == "S":
        return _Span(max(1, number // bar_s), None)
    days = number * _DAYS_OF_UNIT[unit]
    if bar_s == DAY_S:
        return _Span(days, None)
    # A bar more for each day: sessions need not begin on a multiple of the bar's length.
    longest_day_s = _REGULAR_DAY_S if use_rth else _EXTENDED_DAY_S
    return _Span(days * (longest_day_s // bar_s + 1), days)


def _bars(
    market: BarSource, symbol: str, bar_s: int, end: datetime, span: _Span, *, use_rth: bool
) -> list[Bar]:
    bars = list(market.history(symbol, bar_s, end, span.count, regular_only=use_rth))
    if span.days is not None:
        days = sorted({bar.start.astimezone(NEW_YORK).date() for bar in bars})[-span.days :]
        bars = [bar for bar in bars if bar.start.astimezone(NEW_YORK).date() in days]
    return bars


def _refusal(req_id: int, why: str) -> ErrorMessage:
    return ErrorMessage(req_id, PACING_CODE, f"Historical Market Data Service error message:{why}")
