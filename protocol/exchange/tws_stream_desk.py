"""Requests for single ticks, bars of five seconds and market depth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final, TypeAlias

import attrs

from protocol.exchange.contract_key import contract_key
from protocol.exchange.currencies import Pair
from protocol.exchange.happenings import MarketTick
from protocol.exchange.listings import Listing
from protocol.exchange.options import OptionTerms
from protocol.exchange.tws_clients import Client
from protocol.exchange.tws_depth import MOST_ROWS, DepthStream
from protocol.exchange.tws_floor import Floor
from protocol.exchange.tws_history_ticks import MOST_TICKS, PastTicks, ticks_message
from protocol.exchange.tws_market_settings import DataPermission
from protocol.exchange.tws_streams import TICK_TYPES, RealTimeBars, Stream, TickByTickStream
from protocol.tws.messages import ReqMarketDepth, ReqRealTimeBars, ReqTickByTick, ServerMessage

BAR_PRICES: Final = frozenset({"TRADES", "MIDPOINT", "BID", "ASK"})
DUPLICATE_TICKER_CODE = 322
INVALID_CODE = 321
NO_TICKER_CODE = 300
NO_DEPTH_CODE = 310
NO_BARS_CODE = 366
DEPTH_LIMIT_CODE, DEPTH_LIMIT = 309, "Max number (3) of market depth requests has been reached"
TICKS_LIMIT_CODE, TICKS_LIMIT = 10190, "Max number of tick-by-tick requests has been reached."
NO_TICKS_PERMISSION_CODE, NO_BARS_PERMISSION_CODE, NO_DEPTH_PERMISSION_CODE = 10189, 420, 354
DEEP_DATA_CODE = 10092
_WHAT_OF_TYPE: Final = {1: "TRADES", 2: "TRADES", 3: "BID_ASK", 4: "MIDPOINT"}

_Id: TypeAlias = tuple[int, int]
"""A client's connection and its request id."""


@attrs.define(eq=False)
class _Open:
    client: int
    stream: Stream


class StreamDesk:
    def __init__(self, floor: Floor, past: PastTicks, exchange: str) -> None:
        self._floor, self._past, self._exchange = floor, past, exchange
        self._ticks: dict[_Id, _Open] = {}
        self._bars: dict[_Id, _Open] = {}
        self._depths: dict[_Id, _Open] = {}
        self._by_key: dict[str, list[_Open]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._by_key)

    def take_tick(self, tick: MarketTick) -> Iterator[tuple[int, ServerMessage]]:
        """What the streams of a contract say of a tick that its quote has taken in."""
        opened = self._by_key.get(tick.symbol)
        if opened:
            quote = self._floor.lines.quote(tick.symbol)
            for each in opened:
                for message in each.stream.take(quote, tick):
                    yield each.client, message

    def advance(self, at: datetime) -> None:
        for each in self._bars.values():
            for message in each.stream.pass_time(at):
                self._floor.clients.say_to(each.client, message)

    def forget(self, client: int) -> None:
        for opened in (self._ticks, self._bars, self._depths):
            for key in [key for key in opened if key[0] == client]:
                self._close(opened, key)

    # --- single ticks -----------------------------------------------------------------------------

    def start_ticks(self, client: Client, request: ReqTickByTick, at: datetime) -> None:
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        kind, symbol = TICK_TYPES.get(request.tick_type), listing.contract.symbol
        limit = self._floor.settings.max_tick_by_tick
        if kind is None or not 0 <= request.count <= MOST_TICKS or self._has_none(listing, kind):
            what = f"{request.tick_type!r} of {symbol}, {request.count} past ticks"
            self._refuse(
                client, request.req_id, INVALID_CODE, _invalid(f"Tick-by-tick data is not valid: {what}")
            )
        elif not self._live(listing):
            text = f"Failed to request tick-by-tick data:No market data permissions for {symbol}"
            self._refuse(client, request.req_id, NO_TICKS_PERMISSION_CODE, text)
        elif (client.key, request.req_id) in self._ticks:
            self._refuse(client, request.req_id, DUPLICATE_TICKER_CODE, "Duplicate ticker id")
        elif limit is not None and _count(self._ticks, client) >= limit:
            self._refuse(client, request.req_id, TICKS_LIMIT_CODE, TICKS_LIMIT)
        else:
            if request.count:
                what = _WHAT_OF_TYPE[kind]
                past = self._past.before(listing, what, at, request.count, use_rth=False)
                self._floor.clients.say(client, (ticks_message(request.req_id, what, past),))
            key = contract_key(listing.contract)
            stream = TickByTickStream(
                request.req_id, key, kind, self._exchange, ignore_size=request.ignore_size
            )
            self._open(self._ticks, client, request.req_id, stream)

    def stop_ticks(self, client: Client, req_id: int) -> None:
        if not self._close(self._ticks, (client.key, req_id)):
            self._refuse(client, req_id, NO_TICKER_CODE, f"Can't find EId with tickerId:{req_id}")

    # --- bars of five seconds ---------------------------------------------------------------------

    def start_bars(self, client: Client, request: ReqRealTimeBars, at: datetime) -> None:
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        what = request.what.upper()
        if what not in BAR_PRICES or (what == "TRADES" and isinstance(listing.terms, Pair)):
            text = _invalid(f"Real time bars of {request.what!r} are not valid")
            self._refuse(client, request.req_id, INVALID_CODE, text)
        elif not self._live(listing):
            name = listing.contract.symbol
            text = f"Invalid Real-time Query:No market data permissions for {name}"
            self._refuse(client, request.req_id, NO_BARS_PERMISSION_CODE, text)
        elif (client.key, request.req_id) in self._bars:
            self._refuse(client, request.req_id, DUPLICATE_TICKER_CODE, "Duplicate ticker id")
        else:
            is_open = self._floor.is_regular if request.use_rth else self._floor.is_open
            key, quote = contract_key(listing.contract), self._floor.quote(listing)
            stream = RealTimeBars(request.req_id, key, what, quote, at, is_open)
            self._open(self._bars, client, request.req_id, stream)

    def stop_bars(self, client: Client, req_id: int) -> None:
        if not self._close(self._bars, (client.key, req_id)):
            text = f"No historical data query found for ticker id:{req_id}"
            self._refuse(client, req_id, NO_BARS_CODE, text)

    # --- depth ------------------------------------------------------------------------------------

    def start_depth(self, client: Client, request: ReqMarketDepth) -> None:
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        limit = self._floor.settings.max_depths
        if request.rows < 1:
            text = _invalid(f"Market depth of {request.rows} rows is not valid")
            self._refuse(client, request.req_id, INVALID_CODE, text)
        elif isinstance(listing.terms, OptionTerms):
            text = "Deep market data is not supported for this combination of security type/exchange"
            self._refuse(client, request.req_id, DEEP_DATA_CODE, text)
        elif not self._live(listing):
            text = "Requested market data is not subscribed."
            self._refuse(client, request.req_id, NO_DEPTH_PERMISSION_CODE, text)
        elif (client.key, request.req_id) in self._depths:
            self._refuse(client, request.req_id, DUPLICATE_TICKER_CODE, "Duplicate ticker id")
        elif limit is not None and _count(self._depths, client) >= limit:
            self._refuse(client, request.req_id, DEPTH_LIMIT_CODE, DEPTH_LIMIT)
        else:
            key, rows = contract_key(listing.contract), min(request.rows, MOST_ROWS)
            stream = DepthStream(request.req_id, key, listing.rule_id, rows, smart=request.is_smart_depth)
            self._open(self._depths, client, request.req_id, stream)
            self._floor.clients.say(client, stream.begin(self._floor.quote(listing)))

    def stop_depth(self, client: Client, req_id: int) -> None:
        if not self._close(self._depths, (client.key, req_id)):
            text = f"Can't find the subscribed market depth with tickerId:{req_id}"
            self._refuse(client, req_id, NO_DEPTH_CODE, text)

    # --- all --------------------------------------------------------------------------------------

    def _live(self, listing: Listing) -> bool:
        return self._floor.settings.permission_of(listing.contract.symbol) is DataPermission.LIVE

    @staticmethod
    def _has_none(listing: Listing, kind: int) -> bool:
        """Currencies are quoted, nobody reports their trades."""
        return kind in (1, 2) and isinstance(listing.terms, Pair)

    def _open(self, opened: dict[_Id, _Open], client: Client, req_id: int, stream: Stream) -> None:
        each = opened[client.key, req_id] = _Open(client.key, stream)
        self._by_key.setdefault(stream.key, []).append(each)

    def _close(self, opened: dict[_Id, _Open], key: _Id) -> bool:
        each = opened.pop(key, None)
        if each is None:
            return False
        others = self._by_key[each.stream.key]
        others.remove(each)
        if not others:
            del self._by_key[each.stream.key]
        return True

    def _refuse(self, client: Client, req_id: int, code: int, text: str) -> None:
        self._floor.clients.refuse(client, req_id, code, text)


def _count(opened: dict[_Id, _Open], client: Client) -> int:
    return sum(1 for key in opened if key[0] == client.key)


def _invalid(why: str) -> str:
    return f"Error validating request.-'bF' : cause - {why}"
