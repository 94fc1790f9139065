"""Questions about contracts: what there is, how it is described, what an option would cost."""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

from protocol.exchange.black_scholes import implied_volatility, price_of
from protocol.exchange.calendar import NEW_YORK
from protocol.exchange.contract_details import details_of
from protocol.exchange.contracts import contract_id, symbol_of
from protocol.exchange.listings import OPTION_EXCHANGES, OPTION_MULTIPLIER
from protocol.exchange.market_rules import market_rule
from protocol.exchange.options import OptionTerms, expiries, strikes
from protocol.exchange.stock import FAMILIAR
from protocol.exchange.tws_clients import NO_ID, Client
from protocol.exchange.tws_floor import NO_SECURITY, NO_SECURITY_CODE, Floor
from protocol.exchange.tws_option_ticks import CUSTOM, OptionTicks
from protocol.tws.messages import (
    CalculateImpliedVolatility,
    CalculateOptionPrice,
    ContractData,
    ContractDataEnd,
    ContractDescription,
    DepthExchange,
    MarketDepthExchanges,
    OptionParameters,
    OptionParametersEnd,
    ReqContractDetails,
    ReqMarketRule,
    ReqMatchingSymbols,
    ReqOptionParameters,
    ReqSmartComponents,
    SmartComponent,
    SmartComponents,
    SymbolSamples,
)

INVALID_CODE = 321
MOST_SAMPLES: Final = 16
_COMPONENTS: Final = (
    ("AMEX", "A"), ("ARCA", "P"), ("BATS", "Z"), ("BYX", "Y"), ("EDGEA", "J"), ("EDGX", "K"), ("IEX", "V"),
    ("ISLAND", "Q"), ("MEMX", "U"), ("NYSE", "N"), ("NYSENAT", "C"), ("PSX", "X"),
)  # fmt: skip
_WITH_DEPTH: Final = ("ARCA", "BATS", "EDGX", "IEX", "ISLAND", "MEMX", "NYSE")


class ContractDesk:
    def __init__(self, floor: Floor) -> None:
        self._floor, self._clients = floor, floor.clients

    def say_details(self, client: Client, request: ReqContractDetails, at: datetime) -> None:
        found = self._floor.find(request.contract)
        if not found:
            self._clients.refuse(client, request.req_id, NO_SECURITY_CODE, NO_SECURITY)
            return
        today = _day(at)
        for listing in found:
            if isinstance(listing.terms, str):
                self._floor.follow(listing)
            details = details_of(listing, today)
            self._clients.say(client, (ContractData(request.req_id, details),))
        self._clients.say(client, (ContractDataEnd(request.req_id),))

    def say_market_rule(self, client: Client, request: ReqMarketRule) -> None:
        rule = market_rule(request.rule_id)
        if rule is None:
            self._invalid(client, NO_ID, f"Market rule {request.rule_id} is unknown")
        else:
            self._clients.say(client, (rule,))

    def say_matching_symbols(self, client: Client, request: ReqMatchingSymbols) -> None:
        """Stocks whose ticker begins with the pattern, the pattern itself first."""
        pattern = request.pattern.strip().upper()
        market = self._floor.market
        known = {symbol for symbol in (*market.symbols, *FAMILIAR) if market.knows(symbol)}
        if pattern and market.knows(pattern):
            known.add(pattern)
        found = sorted(symbol for symbol in known if pattern and symbol.startswith(pattern))
        samples = tuple(
            ContractDescription(
                contract_id(symbol), symbol, "STK", "NASDAQ", "USD", ("OPT",), description=symbol
            )
            for symbol in found[:MOST_SAMPLES]
        )
        self._clients.say(client, (SymbolSamples(request.req_id, samples),))

    def say_option_parameters(self, client: Client, request: ReqOptionParameters, at: datetime) -> None:
        """The chain of a stock, the same on every exchange that trades it."""
        market, symbol = self._floor.market, request.symbol.upper()
        if request.con_id:
            symbol = symbol_of(request.con_id, market.symbols) or ""
        if request.sec_type != "STK" or not symbol or not market.knows(symbol):
            self._clients.refuse(client, request.req_id, NO_SECURITY_CODE, NO_SECURITY)
            return
        price = self._floor.listings.reference(symbol, at)
        if price is not None and price > 0:
            days = tuple(f"{day:%Y%m%d}" for day in expiries(_day(at)))
            for exchange in OPTION_EXCHANGES:
                if request.exchange in ("", exchange):
                    said = OptionParameters(
                        request.req_id, exchange, contract_id(symbol), symbol, OPTION_MULTIPLIER, days,
                        strikes(price),
                    )  # fmt: skip
                    self._clients.say(client, (said,))
        self._clients.say(client, (OptionParametersEnd(request.req_id),))

    def say_smart_components(self, client: Client, request: ReqSmartComponents) -> None:
        components = tuple(SmartComponent(bit, *names) for bit, names in enumerate(_COMPONENTS))
        self._clients.say(client, (SmartComponents(request.req_id, components),))

    def say_depth_exchanges(self, client: Client) -> None:
        exchanges = tuple(DepthExchange(name, "STK", name, "Deep2", 1) for name in _WITH_DEPTH)
        self._clients.say(client, (MarketDepthExchanges(exchanges),))

    def calculate(
        self, client: Client, request: CalculateImpliedVolatility | CalculateOptionPrice, at: datetime
    ) -> None:
        """The volatility that a price implies, or the price at a volatility, by the model of all options."""
        listing = self._floor.resolve_for(client, request.req_id, request.contract)
        if listing is None:
            return
        terms, spot = listing.terms, request.under_price
        if not isinstance(terms, OptionTerms) or not 0.0001 <= spot <= 1e9:
            self._invalid(client, request.req_id, "An option and the price of its underlying are needed")
            return
        years, rate = terms.years_left(at), self._floor.settings.interest_rate
        volatility: float | None
        if isinstance(request, CalculateImpliedVolatility):
            price = request.option_price
            volatility = implied_volatility(price, spot, terms.strike, years, rate, call=terms.is_call)
        else:
            volatility = request.volatility
            if not 0.0001 <= volatility <= 10:
                self._invalid(client, request.req_id, "A volatility lies between 0.0001 and 10")
                return
            price = round(price_of(spot, terms.strike, years, rate, volatility, call=terms.is_call), 8)
        if volatility is None:
            self._invalid(client, request.req_id, "No volatility gives this price")
            return
        ticks = OptionTicks(terms, self._floor.settings, lambda: spot)
        said = ticks.computation(request.req_id, CUSTOM, volatility, price, spot, at)
        self._clients.say(client, (said,))

    def _invalid(self, client: Client, req_id: int, why: str) -> None:
        text = f"Error validating request.-'bF' : cause - {why}"
        self._clients.refuse(client, req_id, INVALID_CODE, text)


def _day(at: datetime) -> date:
    return at.astimezone(NEW_YORK).date()
