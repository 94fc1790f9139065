"""What the desks of the market share: which contracts there are, their quotes, their past, who asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from protocol.exchange import market_rules
from protocol.exchange.bar_book import BarBook
from protocol.exchange.calendar import NEW_YORK, session_at, session_of
from protocol.exchange.contract_key import contract_key
from protocol.exchange.currencies import Pair
from protocol.exchange.derived_market import DerivedMarket
from protocol.exchange.happenings import MarketTick
from protocol.exchange.listings import Listing, Listings
from protocol.exchange.market import Market
from protocol.exchange.tws_clients import Client, Clients
from protocol.exchange.tws_market_data import MarketDataLines
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_quotes import Quote
from protocol.tws.messages import Contract
from protocol.values import PriceGrid

_LOOK_BACK: Final = timedelta(minutes=1)
_MINUTE: Final = timedelta(minutes=1)
NO_SECURITY_CODE = 200
NO_SECURITY = "No security definition has been found for the request"


class Floor:
    """`now` is the market time of the last thing that was brought here.

    `bring` takes a tick of a contract that is no stock of the market, to the venue and back here; `set_grid`
    tells the venue the price steps of such a contract. `hard_to_borrow`: whether shares of a stock have to be
    located before they are sold short.
    """

    def __init__(
        self,
        market: Market,
        clients: Clients,
        settings: MarketSettings,
        *,
        bring: Callable[[MarketTick], None],
        set_grid: Callable[[str, PriceGrid], None],
        hard_to_borrow: Callable[[str], bool],
    ) -> None:
        self.market, self.clients, self.settings = market, clients, settings
        self.lines = MarketDataLines(gather_s=settings.tick_gather_s)
        self.listings = Listings(market, lambda symbol: self.lines.quote(symbol).price)
        self.derived = DerivedMarket(market, settings)
        self.book = BarBook(market, self.derived)
        self.hard_to_borrow = hard_to_borrow
        self.now: datetime = market.start
        self._bring, self._set_grid = bring, set_grid

    def find(self, contract: Contract) -> tuple[Listing, ...]:
        return self.listings.find(contract, self.now)

    def resolve(self, contract: Contract) -> Listing | None:
        """The one contract that is meant, which ticks from now on; None when there is none or several."""
        found = self.find(contract)
        if len(found) != 1:
            return None
        self.follow(found[0])
        return found[0]

    def follow(self, listing: Listing) -> None:
        """Make a contract tick, if it does not yet."""
        if isinstance(listing.terms, str):
            self.market.add(listing.terms)
            if listing.rule_id == market_rules.SUB_DOLLAR_STOCK:
                self._set_grid(listing.terms, market_rules.grid_of(listing.rule_id))
            return
        carrier = listing.carrier
        price = self.lines.quote(carrier).price if self.market.knows(carrier) else None
        first = self.derived.follow(listing, self.now, price)
        if first is None:
            return
        self._set_grid(contract_key(listing.contract), market_rules.grid_of(listing.rule_id))
        for tick in first:
            self._bring(tick)

    def follow_again(self, key: str, at: datetime) -> None:
        """Make a contract tick that was followed before a restart; nothing is brought yet."""
        self.now = at
        listing = self.listings.by_key(key, at)
        if listing is None:
            return
        if isinstance(listing.terms, str):
            self.market.add(listing.terms)
            return
        self.derived.follow(listing, at, None, quietly=True)
        self._set_grid(key, market_rules.grid_of(listing.rule_id))

    def refusal_text(self, contract: Contract) -> str:
        """Why `resolve` finds nothing: no such contract, or more than one."""
        if len(self.find(contract)) < 2:
            return NO_SECURITY
        name = contract.symbol or contract.local_symbol
        return (
            f"The contract description specified for {name} is ambiguous; "
            "you must specify the multiplier or trading class."
        )

    def resolve_for(self, client: Client, req_id: int, contract: Contract) -> Listing | None:
        """The contract of a request; when there is none, the client has been told (200)."""
        listing = self.resolve(contract)
        if listing is None:
            self.clients.refuse(client, req_id, NO_SECURITY_CODE, self.refusal_text(contract))
        return listing

    def quote(self, listing: Listing) -> Quote:
        """The market of a contract as it stands, looked up in its past when it has only begun to tick."""
        quote = self.lines.quote(contract_key(listing.contract))
        if quote.close is None:
            quote.close = self._last_close(listing)
        if quote.bid is None and quote.ask is None and quote.last is None:
            self._look_back(listing, quote)
        return quote

    def _last_close(self, listing: Listing) -> float | None:
        if isinstance(listing.terms, str):
            return self.listings.last_close(listing.terms, self.now)
        session = session_of(self.now.astimezone(NEW_YORK).date())
        before = self.now if session is None else min(self.now, session.start)
        what = "MIDPOINT" if isinstance(listing.terms, Pair) else "TRADES"
        bars = self.book.bars(listing, what, 60, before, 1, regular_only=True)
        return bars[-1].close if bars else None

    def _look_back(self, listing: Listing, quote: Quote) -> None:
        """What has happened today to a contract that nobody has asked for before."""
        session = self.market.session_after(self.now)
        if session is None or not session.contains(self.now):
            return
        minute = self.now.replace(second=0, microsecond=0)
        recent = tuple(self.book.ticks(listing, session, max(session.start, minute - _LOOK_BACK), self.now))
        traded = [tick for tick in recent if tick.last is not None]
        for tick in recent:
            quote.absorb(tick)
        if traded:
            minutes = (minute - session.start) // _MINUTE
            bars = (
                self.book.bars(listing, "TRADES", 60, minute, minutes, regular_only=False) if minutes else ()
            )
            today = [bar for bar in bars if bar.start >= session.start]
            if today:
                quote.opened = today[0].open
                quote.high = max(*(bar.high for bar in today), quote.high or 0.0)
                quote.low = min(*(bar.low for bar in today), quote.low or today[0].low)

    def carrier_price(self, listing: Listing) -> float | None:
        """What the underlying costs now."""
        return self.lines.quote(listing.carrier).price

    def is_open(self, at: datetime) -> bool:
        """Whether the market trades at a moment, extended hours included."""
        session = self.market.session_after(at)
        return session is not None and session.contains(at)

    def is_regular(self, at: datetime) -> bool:
        return session_at(at) is not None
