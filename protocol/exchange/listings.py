"""Which contracts there are: stocks of the market, and the options, futures and currency pairs beside them.

Nothing is made ahead of being asked for. A contract id is worked out from the local symbol, the same in
every run; to find a contract by its id alone, those that were named before are looked at first, then the
lists of every symbol of the market.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Final, TypeAlias

import attrs

from protocol.exchange import market_rules
from protocol.exchange.calendar import NEW_YORK, session_of
from protocol.exchange.contracts import contract_id, stock, symbol_of
from protocol.exchange.currencies import PAIRS, Pair
from protocol.exchange.futures import PRODUCTS, FutureTerms, listed, read_local_symbol
from protocol.exchange.market import Market
from protocol.exchange.options import OptionTerms, exists, expiries, read_code, strikes
from protocol.tws.messages import Contract

STOCK_EXCHANGES: Final = (
    "SMART", "NYSE", "NASDAQ", "ARCA", "BATS", "IEX", "ISLAND", "AMEX", "BEX", "BYX", "CHX", "EDGEA",
    "DRCTEDGE", "FOXRIVER", "IBEOS", "IBKRATS", "LTSE", "MEMX", "NYSENAT", "OVERNIGHT", "PEARL", "PSX",
)  # fmt: skip
OPTION_EXCHANGES: Final = (
    "SMART", "AMEX", "BATS", "BOX", "CBOE", "CBOE2", "EDGX", "EMERALD", "GEMINI", "ISE", "MERCURY", "MIAX",
    "NASDAQBX", "NASDAQOM", "PEARL", "PHLX", "PSE",
)  # fmt: skip
OPTION_MULTIPLIER: Final = "100"
MOST_NAMED: Final = 100_000
"""Contracts and closes that are remembered."""
PENNY_CLASSES: Final = frozenset({"IWM", "QQQ", "SPY"})
"""Whose options are quoted in cents at any price."""
_RIGHTS: Final = {"C": "C", "CALL": "C", "P": "P", "PUT": "P", "": "", "0": "", "?": ""}

Terms: TypeAlias = str | OptionTerms | FutureTerms | Pair
"""A stock by its ticker."""


@attrs.frozen
class Listing:
    """A contract, complete as TWS echoes it, and what it is made of."""

    contract: Contract
    terms: Terms
    rule_id: int

    @property
    def min_tick(self) -> float:
        """The finest step of its prices."""
        return market_rules.STEPS[self.rule_id][0][1]

    @property
    def carrier(self) -> str:
        """Whose price its own follows; a stock follows itself."""
        match self.terms:
            case str(symbol):
                return symbol
            case OptionTerms(underlying=underlying):
                return underlying
            case FutureTerms(product=product):
                return product.carrier
            case Pair() as pair:
                return pair.carrier


class Listings:
    """`price_of`: the last price of a stock, or None."""

    def __init__(self, market: Market, price_of: Callable[[str], float | None]) -> None:
        self._market, self._price_of = market, price_of
        self._named: dict[int, Listing] = {}
        self._closes: dict[tuple[str, date], float] = {}

    def find(self, query: Contract, at: datetime) -> tuple[Listing, ...]:
        """Every contract that fits a description; () when there is none."""
        today = at.astimezone(NEW_YORK).date()
        if query.con_id:
            one = self._by_id(query.con_id, at, today)
            found = iter((one,) if one is not None and _agrees(one.contract, query) else ())
        else:
            found = self._search(query, at, today)
        listings = tuple(_routed(listing, query) for listing in found if _trades_at(listing, query.exchange))
        for listing in listings:
            if not isinstance(listing.terms, str):
                self._name(listing)
        return listings

    def _name(self, listing: Listing) -> None:
        if len(self._named) >= MOST_NAMED:
            del self._named[next(iter(self._named))]
        self._named[listing.contract.con_id] = listing

    def by_key(self, key: str, at: datetime) -> Listing | None:
        """The contract of a key (`contract_key`) that was in use before."""
        if self._market.knows(key):
            return self._stock(key)
        option, pair = read_code(key), PAIRS.get(key)
        if pair is not None:
            return pair_listing(pair)
        if option is not None:
            return option_listing(option) if self._market.knows(option.underlying) else None
        future = read_local_symbol(key, at.astimezone(NEW_YORK).date())
        return None if future is None else future_listing(future)

    def last_close(self, symbol: str, at: datetime) -> float | None:
        """The price at which a stock closed before this day; None when it has no past."""
        day = at.astimezone(NEW_YORK).date()
        close = self._closes.get((symbol, day))
        if close is None:
            if len(self._closes) >= MOST_NAMED:
                self._closes.clear()
            session = session_of(day)
            before = at if session is None else min(at, session.start)
            bars = self._market.history(symbol, 60, before, 1, regular_only=True)
            if not bars:
                return None
            close = self._closes[symbol, day] = bars[-1].close
        return close

    def reference(self, symbol: str, at: datetime) -> float | None:
        """The price around which options on a stock are listed: its last close, else what it costs now."""
        close = self.last_close(symbol, at)
        return self._price_of(symbol) if close is None else close

    def _search(self, query: Contract, at: datetime, today: date) -> Iterator[Listing]:
        match query.sec_type:
            case "STK":
                yield from self._stocks(query)
            case "OPT":
                yield from self._options(query, at, today)
            case "FUT":
                yield from _futures(query, today)
            case "CASH":
                yield from _pairs(query)
            case _:
                return

    def _stocks(self, query: Contract) -> Iterator[Listing]:
        symbol = (query.symbol or query.local_symbol).upper()
        if symbol and query.currency in ("", "USD") and self._market.knows(symbol):
            yield self._stock(symbol)

    def _stock(self, symbol: str) -> Listing:
        price = self._price_of(symbol)
        rule = market_rules.SUB_DOLLAR_STOCK if price is not None and price < 1 else market_rules.STOCK
        return Listing(stock(symbol), symbol, rule)

    def _options(self, query: Contract, at: datetime, today: date) -> Iterator[Listing]:
        if query.currency not in ("", "USD") or query.multiplier not in ("", OPTION_MULTIPLIER):
            return
        if query.local_symbol:
            named = read_code(query.local_symbol)
            if named is not None and self._is_listed(named, at, today):
                listing = option_listing(named)
                if _agrees(listing.contract, query):
                    yield listing
            return
        symbol, right = query.symbol.upper(), _RIGHTS.get(query.right.upper())
        if right is None or query.trading_class not in ("", symbol) or not self._market.knows(symbol):
            return
        month = query.last_trade_date_or_contract_month.split(" ")[0].replace("-", "")
        for terms in self._chain(symbol, query.strike, at, today):
            if f"{terms.expiry:%Y%m%d}".startswith(month) and right in ("", terms.right):
                yield option_listing(terms)

    def _chain(self, symbol: str, strike: float, at: datetime, today: date) -> Iterator[OptionTerms]:
        price = self.reference(symbol, at)
        if price is None or price <= 0:
            return
        for expiry in expiries(today):
            for each in (strike,) if strike else strikes(price):
                for right in "CP":
                    terms = OptionTerms(symbol, expiry, each, right)
                    if exists(terms, price, today):
                        yield terms

    def _is_listed(self, terms: OptionTerms, at: datetime, today: date) -> bool:
        if not self._market.knows(terms.underlying):
            return False
        price = self.reference(terms.underlying, at)
        return price is not None and price > 0 and exists(terms, price, today)

    def _by_id(self, con_id: int, at: datetime, today: date) -> Listing | None:
        if con_id in self._named:
            return self._named[con_id]
        symbol = symbol_of(con_id, self._market.symbols)
        if symbol is not None:
            future = read_local_symbol(symbol, today)
            if future is not None:
                return future_listing(future)
            return self._stock(symbol) if self._market.knows(symbol) else None
        return next((one for one in self._everything(at, today) if one.contract.con_id == con_id), None)

    def _everything(self, at: datetime, today: date) -> Iterator[Listing]:
        """What only a hash identifies: currency pairs, and the options of every symbol of the market."""
        yield from map(pair_listing, PAIRS.values())
        for symbol in self._market.symbols:
            for terms in self._chain(symbol, 0.0, at, today):
                yield option_listing(terms)


def option_listing(terms: OptionTerms) -> Listing:
    contract = Contract(
        con_id=contract_id(terms.local_symbol),
        symbol=terms.underlying,
        sec_type="OPT",
        last_trade_date_or_contract_month=f"{terms.expiry:%Y%m%d}",
        strike=terms.strike,
        right=terms.right,
        multiplier=OPTION_MULTIPLIER,
        exchange="SMART",
        currency="USD",
        local_symbol=terms.local_symbol,
        trading_class=terms.underlying,
    )
    penny = terms.underlying in PENNY_CLASSES
    return Listing(contract, terms, market_rules.PENNY_OPTION if penny else market_rules.OPTION)


def future_listing(terms: FutureTerms) -> Listing:
    product = terms.product
    contract = Contract(
        con_id=contract_id(terms.local_symbol),
        symbol=product.symbol,
        sec_type="FUT",
        last_trade_date_or_contract_month=f"{terms.expiry:%Y%m%d}",
        multiplier=product.multiplier,
        exchange=product.exchange,
        currency="USD",
        local_symbol=terms.local_symbol,
        trading_class=product.symbol,
    )
    return Listing(contract, terms, market_rules.rule_of_tick(product.tick))


def pair_listing(pair: Pair) -> Listing:
    contract = Contract(
        con_id=contract_id(pair.local_symbol),
        symbol=pair.base,
        sec_type="CASH",
        exchange="IDEALPRO",
        currency=pair.quote,
        local_symbol=pair.local_symbol,
        trading_class=pair.local_symbol,
    )
    return Listing(contract, pair, market_rules.rule_of_tick(pair.tick))


def _futures(query: Contract, today: date) -> Iterator[Listing]:
    if query.currency not in ("", "USD"):
        return
    if query.local_symbol:
        named = read_local_symbol(query.local_symbol, today)
        found = [] if named is None else [named]
    else:
        product = PRODUCTS.get(query.symbol or query.trading_class)
        found = [] if product is None else list(listed(product, today))
    month = query.last_trade_date_or_contract_month.split(" ")[0].replace("-", "")
    for terms in found:
        if f"{terms.expiry:%Y%m%d}".startswith(month) and query.multiplier in ("", terms.product.multiplier):
            listing = future_listing(terms)
            if query.symbol in ("", listing.contract.symbol):
                yield listing


def _pairs(query: Contract) -> Iterator[Listing]:
    name = query.local_symbol or f"{query.symbol}.{query.currency}"
    pair = PAIRS.get(name.upper())
    if pair is not None and query.symbol in ("", pair.base) and query.currency in ("", pair.quote):
        yield pair_listing(pair)


def _agrees(contract: Contract, query: Contract) -> bool:
    """Whether what else a client said of a contract that it named exactly is true of it."""
    said = (
        (query.symbol.upper(), contract.symbol.upper()),
        (query.sec_type, contract.sec_type),
        (query.currency, contract.currency),
        (query.local_symbol, contract.local_symbol),
    )
    return all(theirs in ("", ours) for theirs, ours in said)


def _trades_at(listing: Listing, exchange: str) -> bool:
    if exchange in ("", listing.contract.exchange):
        return True
    match listing.terms:
        case str():
            return exchange in STOCK_EXCHANGES
        case OptionTerms():
            return exchange in OPTION_EXCHANGES
        case _:
            return False


def _routed(listing: Listing, query: Contract) -> Listing:
    """The listing as the client will hear it echoed: on the exchange that it named."""
    if query.exchange in ("", listing.contract.exchange):
        return listing
    return attrs.evolve(listing, contract=attrs.evolve(listing.contract, exchange=query.exchange))
