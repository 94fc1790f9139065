"""The market side of the simulated TWS: market data lines, and the way to the desks of everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import assert_never

from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import MarketTick
from protocol.exchange.listings import Listing
from protocol.exchange.market import Market
from protocol.exchange.options import OptionTerms
from protocol.exchange.tws_clients import NO_ID, Client, Clients
from protocol.exchange.tws_contract_desk import ContractDesk
from protocol.exchange.tws_floor import Floor
from protocol.exchange.tws_generic_ticks import Facts, illegal_text, read_list
from protocol.exchange.tws_history_desk import HistoryDesk
from protocol.exchange.tws_history_ticks import PastTicks
from protocol.exchange.tws_late_data import LateData
from protocol.exchange.tws_market_data import Line
from protocol.exchange.tws_market_facts import facts_of
from protocol.exchange.tws_market_settings import DataPermission, MarketSettings
from protocol.exchange.tws_option_ticks import OptionTicks
from protocol.exchange.tws_stream_desk import StreamDesk
from protocol.tws import messages as m
from protocol.values import PriceGrid

DUPLICATE_TICKER_CODE = 322
INVALID_CODE = 321
MOST_LINES_CODE, MOST_LINES = 101, "Max number of tickers has been reached."
NO_TICKER_CODE = 300
NOT_SUBSCRIBED_CODE, NOT_SUBSCRIBED = 354, "Requested market data is not subscribed."
ONLY_DELAYED_CODE = 10089
SHOWS_DELAYED_CODE = 10167
SHOWS_DELAYED = "Requested market data is not subscribed. Displaying delayed market data."
NO_FUNDAMENTALS_CODE = 430
NO_FUNDAMENTALS = "The fundamentals data for the security specified is not available."
NO_NEWS_CODE, NO_NEWS = 10276, "News feed is not allowed."
NO_ITEMS_CODE, NO_ITEMS = 165, "Historical Market Data Service query message:no items retrieved"
NO_SCAN_CODE = 365
LIVE, FROZEN, DELAYED, DELAYED_FROZEN = 1, 2, 3, 4
SCANNER_PARAMETERS = (
    '<?xml version="1.0" encoding="UTF-8"?><ScanParameterResponse><InstrumentList/><LocationTree/>'
    "<ScanTypeList/></ScanParameterResponse>"
)


class MarketDesk:
    """What clients can ask about the market; ticks go through here to those who watch them.

    `bring`, `set_grid`, `hard_to_borrow`: see `Floor`. `exchange`: where trades are said to have happened.
    """

    def __init__(
        self,
        market: Market,
        clients: Clients,
        settings: MarketSettings | None = None,
        *,
        bring: Callable[[MarketTick], None],
        set_grid: Callable[[str, PriceGrid], None],
        hard_to_borrow: Callable[[str], bool],
        exchange: str,
    ) -> None:
        self._clients, self._settings = clients, settings or MarketSettings()
        self._floor = Floor(
            market, clients, self._settings, bring=bring, set_grid=set_grid, hard_to_borrow=hard_to_borrow
        )
        past = PastTicks(self._floor.book, exchange)
        self._contracts = ContractDesk(self._floor)
        self._streams = StreamDesk(self._floor, past, exchange)
        self._history = HistoryDesk(self._floor, past)
        self._late = LateData(self._floor)
        self._wanted_types: dict[int, int] = {}
        """What each client has asked for with reqMarketDataType, by its connection."""

    # --- contracts --------------------------------------------------------------------------------

    def resolve(self, contract: m.Contract) -> m.Contract | None:
        """The contract that a client means, complete; None when TWS would find none or several.

        From then on the contract ticks, also in a market that makes its prices on demand.
        """
        listing = self._floor.resolve(contract)
        return None if listing is None else listing.contract

    def follow_again(self, key: str, at: datetime) -> None:
        """Make a contract tick that was followed before a restart."""
        self._floor.follow_again(key, at)

    def refusal_text(self, contract: m.Contract) -> str:
        """What error 200 says when `resolve` finds nothing."""
        return self._floor.refusal_text(contract)

    def price_of(self, key: str) -> float | None:
        """The last price, or what is asked when nothing has traded yet."""
        quote = self._floor.lines.quote(key)
        return quote.last if quote.last is not None else quote.ask

    # --- the market -------------------------------------------------------------------------------

    def take_tick(self, tick: MarketTick) -> None:
        floor = self._floor
        floor.now = tick.at
        self._clients.say_ticks(floor.lines.take_tick(tick))
        if self._streams.busy:
            self._clients.say_ticks(self._streams.take_tick(tick))
        if self._late.busy:
            self._late.take_tick(tick)

    def walked_until(self, at: datetime) -> Iterator[MarketTick]:
        """Ticks of contracts that move by time alone."""
        return self._floor.derived.walked_until(at) if self._floor.derived.walks else iter(())

    def followed_by(self, tick: MarketTick) -> Iterator[MarketTick]:
        """Ticks of what hangs on a stock that has ticked."""
        derived = self._floor.derived
        return derived.followed_by(tick) if derived.carries(tick.symbol) else iter(())

    def advance(self, at: datetime) -> None:
        """It is `at`: what is due by time is said."""
        self._floor.now = at
        self._history.advance(at)
        self._streams.advance(at)
        self._clients.say_ticks(self._floor.lines.flush(at))
        self._clients.say_ticks(self._late.advance(at))

    def forget(self, client: Client) -> None:
        """The client is gone."""
        self.drop_subscriptions(client)
        self._wanted_types.pop(client.key, None)

    def drop_subscriptions(self, client: Client) -> None:
        """What the client has subscribed to is lost; the type of data that it wants is not."""
        self._floor.lines.forget(client.key)
        self._late.lines.forget(client.key)
        self._streams.forget(client.key)
        self._history.forget(client.key)

    # --- requests ---------------------------------------------------------------------------------

    def answer(self, client: Client, request: DataRequest, at: datetime) -> None:
        self._floor.now = at
        match request:
            case m.ReqMktData():
                self._start_data(client, request, at)
            case m.CancelMktData(req_id=req_id):
                self._stop_data(client, req_id)
            case m.ReqMarketDataType(type=wanted):
                self._choose_type(client, wanted)
            case m.ReqContractDetails():
                self._contracts.say_details(client, request, at)
            case m.ReqMarketRule():
                self._contracts.say_market_rule(client, request)
            case m.ReqMatchingSymbols():
                self._contracts.say_matching_symbols(client, request)
            case m.ReqOptionParameters():
                self._contracts.say_option_parameters(client, request, at)
            case m.ReqSmartComponents():
                self._contracts.say_smart_components(client, request)
            case m.ReqMarketDepthExchanges():
                self._contracts.say_depth_exchanges(client)
            case m.CalculateImpliedVolatility() | m.CalculateOptionPrice():
                self._contracts.calculate(client, request, at)
            case m.CancelImpliedVolatility() | m.CancelOptionPrice():
                pass  # each is answered once, at once
            case _:
                self._answer_about_ticks(client, request, at)

    def _answer_about_ticks(self, client: Client, request: _TickRequest, at: datetime) -> None:
        match request:
            case m.ReqHistoricalData():
                self._history.take(client, request, at)
            case m.CancelHistoricalData(req_id=req_id):
                self._history.stop(client, req_id)
            case m.ReqHeadTimestamp():
                self._history.say_head(client, request, at)
            case m.ReqHistogram():
                self._history.say_histogram(client, request, at)
            case m.ReqHistoricalTicks():
                self._history.say_ticks(client, request, at)
            case m.CancelHeadTimestamp() | m.CancelHistogram():
                pass  # each is answered once, at once
            case m.ReqTickByTick():
                self._streams.start_ticks(client, request, at)
            case m.CancelTickByTick(req_id=req_id):
                self._streams.stop_ticks(client, req_id)
            case m.ReqRealTimeBars():
                self._streams.start_bars(client, request, at)
            case m.CancelRealTimeBars(req_id=req_id):
                self._streams.stop_bars(client, req_id)
            case m.ReqMarketDepth():
                self._streams.start_depth(client, request)
            case m.CancelMarketDepth(req_id=req_id):
                self._streams.stop_depth(client, req_id)
            case _:
                self._answer_about_subscriptions(client, request)

    def _answer_about_subscriptions(self, client: Client, request: _ServiceRequest) -> None:
        """News, fundamentals, scanners: this user has subscribed to none."""
        refuse = self._clients.refuse
        match request:
            case m.ReqNewsProviders():
                self._clients.say(client, (m.NewsProviders(()),))
            case m.ReqNewsBulletins() | m.CancelNewsBulletins():
                pass  # there are never any
            case m.ReqHistoricalNews(req_id=req_id) | m.ReqNewsArticle(req_id=req_id):
                refuse(client, req_id, NO_NEWS_CODE, NO_NEWS)
            case m.ReqFundamentalData(req_id=req_id, contract=contract):
                if self._floor.resolve_for(client, req_id, contract) is not None:
                    refuse(client, req_id, NO_FUNDAMENTALS_CODE, NO_FUNDAMENTALS)
            case m.CancelFundamentalData(req_id=req_id):
                refuse(client, req_id, NO_TICKER_CODE, f"Can't find EId with tickerId:{req_id}")
            case m.ReqScannerParameters():
                self._clients.say(client, (m.ScannerParameters(SCANNER_PARAMETERS),))
            case m.ReqScannerSubscription(req_id=req_id):
                refuse(client, req_id, NO_ITEMS_CODE, NO_ITEMS)
            case m.CancelScannerSubscription(req_id=req_id):
                text = f"No scanner subscription found for ticker id:{req_id}"
                refuse(client, req_id, NO_SCAN_CODE, text)
            case _:
                assert_never(request)

    # --- market data lines ------------------------------------------------------------------------

    def _choose_type(self, client: Client, wanted: int) -> None:
        if wanted in (LIVE, FROZEN, DELAYED, DELAYED_FROZEN):
            self._wanted_types[client.key] = wanted
        else:
            text = f"Error validating request.-'bF' : cause - Market data type {wanted} is not valid"
            self._clients.refuse(client, NO_ID, INVALID_CODE, text)

    def _start_data(self, client: Client, request: m.ReqMktData, at: datetime) -> None:
        req_id, once = request.req_id, request.snapshot or request.regulatory_snapshot
        listing = self._floor.resolve_for(client, req_id, request.contract)
        if listing is None:
            return
        generic = read_list(request.generic_ticks, listing.contract.sec_type)
        limit = self._settings.max_market_data_lines
        lines, late = self._floor.lines, self._late.lines
        if generic is None:
            text = illegal_text(request.generic_ticks, listing.contract.sec_type)
            self._clients.refuse(client, req_id, INVALID_CODE, text)
        elif once and generic:
            cause = "Snapshot market data subscription is not applicable to generic ticks"
            text = f"Error validating request.-'bQ' : cause - {cause}"
            self._clients.refuse(client, req_id, INVALID_CODE, text)
        elif lines.watches(client.key, req_id) or late.watches(client.key, req_id):
            self._clients.refuse(client, req_id, DUPLICATE_TICKER_CODE, "Duplicate ticker id")
        elif limit is not None and lines.count_of(client.key) + late.count_of(client.key) >= limit:
            self._clients.refuse(client, req_id, MOST_LINES_CODE, MOST_LINES)
        else:
            self._open_line(client, request, listing, generic, at)

    def _open_line(
        self, client: Client, request: m.ReqMktData, listing: Listing, generic: frozenset[int], at: datetime
    ) -> None:
        once = request.snapshot or request.regulatory_snapshot
        wanted = self._wanted_types.get(client.key, LIVE)
        match self._settings.permission_of(listing.contract.symbol):
            case DataPermission.LIVE:
                closed = wanted in (FROZEN, DELAYED_FROZEN) and not self._floor.is_open(at)
                line = self._line(client, request, listing, generic, FROZEN if closed else LIVE)
                self._floor.quote(listing)
                say = self._floor.lines.snapshot if once else self._floor.lines.start
                self._clients.say(client, say(line, at))
            case DataPermission.DELAYED if wanted in (DELAYED, DELAYED_FROZEN):
                self._clients.refuse(client, request.req_id, SHOWS_DELAYED_CODE, SHOWS_DELAYED)
                closed = wanted == DELAYED_FROZEN and not self._floor.is_open(at)
                data_type = DELAYED_FROZEN if closed else DELAYED
                line = self._line(client, request, listing, frozenset(), data_type)
                start = self._late.snapshot if once else self._late.start
                self._clients.say(client, start(line, listing, at))
            case DataPermission.DELAYED:
                self._say_params(client, request.req_id, listing)
                text = (
                    "Requested market data requires additional subscription for API. See link in 'Market "
                    "Data Connections' dialog for more details.Delayed market data is available."
                    f"{_named(listing)}"
                )
                self._clients.refuse(client, request.req_id, ONLY_DELAYED_CODE, text)
            case DataPermission.NONE:
                self._say_params(client, request.req_id, listing)
                self._clients.refuse(client, request.req_id, NOT_SUBSCRIBED_CODE, NOT_SUBSCRIBED)

    def _say_params(self, client: Client, req_id: int, listing: Listing) -> None:
        self._clients.say(client, (m.TickReqParams(req_id, listing.min_tick, "", 0),))

    def _line(
        self, client: Client, request: m.ReqMktData, listing: Listing, generic: frozenset[int], data_type: int
    ) -> Line:
        options = None
        if isinstance(listing.terms, OptionTerms) and data_type in (LIVE, FROZEN):
            terms = listing.terms
            options = OptionTicks(terms, self._settings, lambda: self._floor.carrier_price(listing)).say
        return Line(
            client=client.key,
            req_id=request.req_id,
            key=contract_key(listing.contract),
            min_tick=listing.min_tick,
            data_type=data_type,
            generic=generic,
            generic_only="mdoff" in request.generic_ticks,
            facts=facts_of(self._floor, listing, generic) if generic else Facts(),
            say_more=options,
        )

    def _stop_data(self, client: Client, req_id: int) -> None:
        stopped = self._floor.lines.stop(client.key, req_id) or self._late.lines.stop(client.key, req_id)
        if not stopped:
            text = f"Can't find EId with tickerId:{req_id}"
            self._clients.refuse(client, req_id, NO_TICKER_CODE, text)


def _named(listing: Listing) -> str:
    """`SLV NASDAQ.NMS/TOP/ALL`, as TWS names what is not subscribed."""
    contract = listing.contract
    place = "NASDAQ.NMS" if contract.sec_type == "STK" else contract.exchange
    return f"{contract.symbol} {place}/TOP/ALL"


_ServiceRequest = (
    m.ReqNewsProviders | m.ReqNewsBulletins | m.CancelNewsBulletins | m.ReqHistoricalNews | m.ReqNewsArticle
    | m.ReqFundamentalData | m.CancelFundamentalData | m.ReqScannerParameters | m.ReqScannerSubscription
    | m.CancelScannerSubscription
)  # fmt: skip
_TickRequest = (
    m.ReqHistoricalData | m.CancelHistoricalData | m.ReqHeadTimestamp | m.CancelHeadTimestamp | m.ReqHistogram
    | m.CancelHistogram | m.ReqHistoricalTicks | m.ReqTickByTick | m.CancelTickByTick | m.ReqRealTimeBars
    | m.CancelRealTimeBars | m.ReqMarketDepth | m.CancelMarketDepth | _ServiceRequest
)  # fmt: skip
DataRequest = (
    m.MarketRequest | m.ReqMktData | m.CancelMktData | m.ReqMarketDataType | m.ReqContractDetails
    | m.ReqMarketRule | m.ReqHistoricalData | m.CancelHistoricalData
)  # fmt: skip
"""Everything that is answered here."""
