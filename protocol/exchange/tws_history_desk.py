"""Requests for the past: bars (kept up to date, if asked), single ticks, histograms, the first moment."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Final, TypeAlias

import attrs

from protocol.exchange.calendar import NEW_YORK, new_york
from protocol.exchange.history import DAY_S
from protocol.exchange.listings import Listing
from protocol.exchange.tws_clients import Client
from protocol.exchange.tws_floor import Floor
from protocol.exchange.tws_history import answer, bars_of, historical_bar, read_query, refusal
from protocol.exchange.tws_history_pacing import HistoryPacing
from protocol.exchange.tws_history_ticks import MOST_TICKS, WHATS, PastTicks, ticks_message, timestamp
from protocol.exchange.tws_market_settings import DataPermission
from protocol.exchange.tws_text import read_time
from protocol.tws.messages import (
    ErrorMessage,
    HeadTimestamp,
    HistoricalData,
    HistoricalDataUpdate,
    ReqHeadTimestamp,
    ReqHistogram,
    ReqHistoricalData,
    ReqHistoricalTicks,
)
from protocol.values import Bar

NO_HISTORY_QUERY_CODE = 366
INVALID_CODE = 321
UPDATE_S: Final = 5
"""A bar in the making is told so often."""
_RECENT_BARS: Final = 100
"""Completed bars looked at when kept bars are brought up to date: more than pass between two looks."""

_Id: TypeAlias = tuple[int, int]
"""A client's connection and its request id."""


@attrs.define(eq=False)
class _Kept:
    """Bars that a client wants to be kept up to date."""

    client: Client
    listing: Listing
    what: str
    bar_s: int
    format_date: int
    use_rth: bool
    last_start: datetime
    told_at_s: int = 0
    """When the bar in the making was told last."""


class HistoryDesk:
    def __init__(self, floor: Floor, past: PastTicks) -> None:
        self._floor, self._past = floor, past
        self._kept: dict[_Id, _Kept] = {}
        self._pacing: dict[int, HistoryPacing] = {}

    def forget(self, client: int) -> None:
        self._pacing.pop(client, None)
        for key in [key for key in self._kept if key[0] == client]:
            del self._kept[key]

    def take(self, client: Client, request: ReqHistoricalData, at: datetime) -> None:
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        why = self._why_not(client, request, listing, at)
        query = read_query(request, at) if why is None else refusal(request.req_id, why)
        if isinstance(query, ErrorMessage):
            self._floor.clients.say(client, (query,))
            return
        said = answer(request, query, listing, self._floor.book, client.version, self._floor.settings)
        self._floor.clients.say(client, (said,))
        if request.keep_up_to_date and isinstance(said, HistoricalData):
            newest = bars_of(listing, query.what, query.bar_s, at, 1, self._floor.book, use_rth=query.use_rth)
            if newest:
                self._kept[client.key, request.req_id] = _Kept(
                    client, listing, query.what, query.bar_s, request.format_date, query.use_rth,
                    newest[-1].start,
                )  # fmt: skip

    def stop(self, client: Client, req_id: int) -> None:
        if self._kept.pop((client.key, req_id), None) is None:
            text = f"No historical data query found for ticker id:{req_id}"
            self._floor.clients.refuse(client, req_id, NO_HISTORY_QUERY_CODE, text)

    def advance(self, at: datetime) -> None:
        """It is `at`: bars that have become complete go to those who keep them up to date."""
        for (_, req_id), kept in self._kept.items():
            if at >= kept.last_start + timedelta(seconds=2 * kept.bar_s):
                for bar in self._bars(kept, kept.bar_s, at, _RECENT_BARS):
                    if bar.start > kept.last_start:
                        kept.last_start = bar.start
                        self._tell(req_id, kept, bar)
            if self._floor.settings.forming_bars and kept.bar_s > UPDATE_S:
                self._tell_forming(req_id, kept, at)

    def say_head(self, client: Client, request: ReqHeadTimestamp, at: datetime) -> None:
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        head = self._past.head(listing, request.what.upper(), at, use_rth=request.use_rth)
        if head is None:
            said = refusal(request.req_id, f"No head time stamp: {request.what}")
            self._floor.clients.say(client, (said,))
        else:
            text = timestamp(head, request.format_date)
            self._floor.clients.say(client, (HeadTimestamp(request.req_id, text),))

    def say_histogram(self, client: Client, request: ReqHistogram, at: datetime) -> None:
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        said = self._past.histogram(request.req_id, listing, request.period, at, use_rth=request.use_rth)
        if said is None:
            self._invalid(client, request.req_id, f"Histogram period {request.period!r} is not valid")
        else:
            self._floor.clients.say(client, (said,))

    def say_ticks(self, client: Client, request: ReqHistoricalTicks, at: datetime) -> None:
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        what, count = request.what.upper(), request.count
        start = read_time(request.start) if request.start else None
        end = read_time(request.end) if request.end else None
        if (start is None) == (end is None) or what not in WHATS or not 1 <= count <= MOST_TICKS:
            asked = f"{count} of {request.what!r} from {request.start!r} to {request.end!r}"
            self._invalid(client, request.req_id, f"Historical ticks query is not valid: {asked}")
            return
        if not self._live(listing):
            said = refusal(request.req_id, f"No market data permissions for {listing.contract.symbol}")
            self._floor.clients.say(client, (said,))
            return
        if start is not None:
            found = self._past.after(listing, what, start, at, count, use_rth=request.use_rth)
        else:
            assert end is not None
            found = self._past.before(listing, what, min(end, at), count, use_rth=request.use_rth)
        self._floor.clients.say(client, (ticks_message(request.req_id, what, found),))

    def _why_not(
        self, client: Client, request: ReqHistoricalData, listing: Listing, at: datetime
    ) -> str | None:
        if not self._live(listing):
            return f"No market data permissions for {listing.contract.symbol}"
        if not self._floor.settings.historical_pacing:
            return None
        pacing = self._pacing.setdefault(client.key, HistoryPacing())
        return pacing.violation(request, listing.contract.local_symbol, at)

    def _live(self, listing: Listing) -> bool:
        return self._floor.settings.permission_of(listing.contract.symbol) is DataPermission.LIVE

    def _bars(self, kept: _Kept, bar_s: int, at: datetime, count: int) -> tuple[Bar, ...]:
        return bars_of(kept.listing, kept.what, bar_s, at, count, self._floor.book, use_rth=kept.use_rth)

    def _tell(self, req_id: int, kept: _Kept, bar: Bar) -> None:
        traded = kept.what in ("TRADES", "ADJUSTED_LAST")
        told = historical_bar(bar, kept.bar_s, kept.format_date, kept.client.version, traded=traded)
        self._floor.clients.say(kept.client, (HistoricalDataUpdate(req_id, told),))

    def _tell_forming(self, req_id: int, kept: _Kept, at: datetime) -> None:
        now_s = int(at.timestamp()) // UPDATE_S * UPDATE_S
        session = self._floor.market.session_after(at)
        if now_s == kept.told_at_s or session is None or not session.contains(at):
            return
        kept.told_at_s = now_s
        midnight = new_york(at.astimezone(NEW_YORK).date(), time())
        slot = timedelta(seconds=kept.bar_s)
        start = (
            session.start
            if kept.bar_s >= DAY_S
            else max(session.start, midnight + (at - midnight) // slot * slot)
        )
        small_s = UPDATE_S if kept.bar_s <= 3600 else 60
        parts = self._bars(kept, small_s, at, int((at - start).total_seconds()) // small_s)
        parts = tuple(part for part in parts if part.start >= start)
        if parts:
            forming = Bar(
                start,
                parts[0].open,
                max(part.high for part in parts),
                min(part.low for part in parts),
                parts[-1].close,
                sum(part.volume for part in parts),
            )
            self._tell(req_id, kept, forming)

    def _invalid(self, client: Client, req_id: int, why: str) -> None:
        text = f"Error validating request.-'bF' : cause - {why}"
        self._floor.clients.refuse(client, req_id, INVALID_CODE, text)
