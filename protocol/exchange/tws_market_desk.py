"""The market side of the simulated TWS: contracts, market data lines, historical bars."""

from __future__ import annotations

from datetime import datetime, timedelta

from protocol.exchange.contracts import (
    NEW_YORK,
    contract_id,
    details_of,
    market_rule,
    stock,
    symbol_of,
)
from protocol.exchange.happenings import MarketTick
from protocol.exchange.market import Market
from protocol.exchange.tws_clients import NO_ID, Client, Clients, KeptBars
from protocol.exchange.tws_history import BAR_SIZES_S, answer, historical_bar
from protocol.exchange.tws_market_data import MarketDataLines
from protocol.tws.messages import (
    Contract,
    ContractData,
    ContractDataEnd,
    HistoricalData,
    HistoricalDataUpdate,
    ReqContractDetails,
    ReqHistoricalData,
    ReqMarketRule,
    ReqMktData,
)

NO_SECURITY_CODE = 200
NO_SECURITY = "No security definition has been found for the request"
DUPLICATE_TICKER_CODE = 322
NO_TICKER_CODE = 300
NO_HISTORY_QUERY_CODE = 366
UNKNOWN_RULE_CODE = 321
_RECENT_BARS = 100
"""Completed bars looked at when kept bars are brought up to date: more than pass between two looks."""


class MarketDesk:
    """What clients can ask about stocks; ticks go through here to those who watch them."""

    def __init__(self, market: Market, clients: Clients) -> None:
        self._market, self._clients = market, clients
        self._lines = MarketDataLines()

    def resolve(self, contract: Contract) -> Contract | None:
        """The stock that a client means, complete; None when TWS would find no security or several.

        From then on the stock ticks, also in a market that makes its prices on demand.
        """
        if contract.currency not in ("", "USD") or contract.sec_type not in ("", "STK"):
            return None
        if contract.sec_type == "" and contract.con_id == 0:
            return None
        named = (contract.symbol or contract.local_symbol).upper()
        symbol = named or symbol_of(contract.con_id, self._market.symbols)
        if not symbol or not self._market.knows(symbol):
            return None
        if contract.con_id not in (0, contract_id(symbol)):
            return None
        self._market.add(symbol)
        return stock(symbol, contract.exchange or "SMART")

    def price_of(self, symbol: str) -> float | None:
        """The last price, or what is asked when nothing has traded yet."""
        quote = self._lines.quote(symbol)
        return quote.last if quote.last is not None else quote.ask

    def take_tick(self, tick: MarketTick) -> None:
        say = self._clients.say_to
        for key, message in self._lines.take_tick(tick):
            say(key, message)

    def forget(self, client: Client) -> None:
        self._lines.forget(client.key)

    def say_details(self, client: Client, request: ReqContractDetails, at: datetime) -> None:
        contract = self.resolve(request.contract)
        if contract is None:
            self._clients.refuse(client, request.req_id, NO_SECURITY_CODE, NO_SECURITY)
            return
        details = details_of(contract.symbol, at.astimezone(NEW_YORK).date())
        self._clients.say(client, (ContractData(request.req_id, details), ContractDataEnd(request.req_id)))

    def say_market_rule(self, client: Client, request: ReqMarketRule) -> None:
        rule = market_rule(request.rule_id)
        if rule is None:
            text = f"Error validating request.-'bF' : cause - Market rule {request.rule_id} is unknown"
            self._clients.refuse(client, NO_ID, UNKNOWN_RULE_CODE, text)
        else:
            self._clients.say(client, (rule,))

    def take_data_request(self, client: Client, request: ReqMktData) -> None:
        contract = self.resolve(request.contract)
        if contract is None:
            self._clients.refuse(client, request.req_id, NO_SECURITY_CODE, NO_SECURITY)
        elif self._lines.watches(client.key, request.req_id):
            self._clients.refuse(client, request.req_id, DUPLICATE_TICKER_CODE, "Duplicate ticker id")
        elif request.snapshot or request.regulatory_snapshot:
            self._clients.say(client, self._lines.snapshot(request.req_id, contract.symbol))
        else:
            self._clients.say(client, self._lines.start(client.key, request.req_id, contract.symbol))

    def stop_data(self, client: Client, req_id: int) -> None:
        if not self._lines.stop(client.key, req_id):
            text = f"Can't find EId with tickerId:{req_id}"
            self._clients.refuse(client, req_id, NO_TICKER_CODE, text)

    def take_history_request(self, client: Client, request: ReqHistoricalData, at: datetime) -> None:
        contract = self.resolve(request.contract)
        if contract is None:
            self._clients.refuse(client, request.req_id, NO_SECURITY_CODE, NO_SECURITY)
            return
        said = answer(request, contract.symbol, self._market, at, client.version)
        self._clients.say(client, (said,))
        if request.keep_up_to_date and isinstance(said, HistoricalData):
            bar_s = BAR_SIZES_S[request.bar_size.strip()]
            newest = self._market.history(contract.symbol, bar_s, at, 1, regular_only=request.use_rth)[-1]
            client.kept_bars[request.req_id] = KeptBars(
                contract.symbol, bar_s, request.format_date, request.use_rth, newest.start
            )

    def stop_history(self, client: Client, req_id: int) -> None:
        if client.kept_bars.pop(req_id, None) is None:
            text = f"No historical data query found for ticker id:{req_id}"
            self._clients.refuse(client, req_id, NO_HISTORY_QUERY_CODE, text)

    def advance(self, at: datetime) -> None:
        """It is `at`: bars that have become complete go to those who keep them up to date."""
        for client in self._clients:
            for req_id, kept in client.kept_bars.items():
                if at < kept.last_start + timedelta(seconds=2 * kept.bar_s):
                    continue
                bars = self._market.history(
                    kept.symbol, kept.bar_s, at, _RECENT_BARS, regular_only=kept.regular_only
                )
                for bar in bars:
                    if bar.start > kept.last_start:
                        kept.last_start = bar.start
                        told = historical_bar(bar, kept.bar_s, kept.format_date, client.version)
                        self._clients.say(client, (HistoricalDataUpdate(req_id, told),))
