"""What the venue sees of the market of one contract, and what prices mean for an order.

An order trades at the quote, never with more than the shown size in one instant; a limit order that
rested before a trade printed beyond its price trades at its limit, with at most its share of that trade.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from protocol.exchange.happenings import MarketTick
from protocol.values import exact


@attrs.frozen
class QuoteRecord:
    """The standing market of a symbol and what is left of its shown sizes in this instant."""

    tick: MarketTick
    bid_left: int
    ask_left: int
    awaits_open: bool = False
    printed: bool = False


class Quote:
    """The standing market of one symbol, kept in place: a tick is the hottest path of the venue."""

    __slots__ = (
        "ask", "ask_left", "ask_size", "at", "awaits_open", "bid", "bid_left", "bid_size", "halted", "last",
        "last_size", "print_left", "printed", "symbol", "traded", "volume",
    )  # fmt: skip

    def __init__(self, tick: MarketTick) -> None:
        self.at, self.symbol = tick.at, tick.symbol
        self.bid, self.bid_size = tick.bid, tick.bid_size
        self.ask, self.ask_size = tick.ask, tick.ask_size
        self.last, self.last_size = tick.last, tick.last_size
        self.volume, self.halted = tick.volume, tick.halted
        self.bid_left = self.ask_left = self.print_left = 0
        self.traded = False
        """Whether a trade printed in this instant."""
        self.awaits_open = False
        """Whether its next trade is the first of a session: the opening print."""
        self.printed = False
        """Whether it has traded in this session, so that its last trade is one of the session."""

    @classmethod
    def restored(cls, record: QuoteRecord) -> Quote:
        quote = cls(record.tick)
        quote.bid_left, quote.ask_left = record.bid_left, record.ask_left
        quote.awaits_open, quote.printed = record.awaits_open, record.printed
        return quote

    def record(self) -> QuoteRecord:
        return QuoteRecord(self.tick(), self.bid_left, self.ask_left, self.awaits_open, self.printed)

    def tick(self) -> MarketTick:
        return MarketTick(
            self.at, self.symbol, self.bid, self.bid_size, self.ask, self.ask_size,
            self.last, self.last_size, self.volume, self.halted,
        )  # fmt: skip

    def update(self, tick: MarketTick, assumed_size: int, participation: Decimal | None = None) -> None:
        """Take the tick in: a new instant, in which the shown sizes are there to trade with once, and
        `participation` (None: all) of the size of its trade for the limit orders that the trade passed."""
        self.at = tick.at
        if tick.bid is not None:
            self.bid = tick.bid
        if tick.bid_size is not None:
            self.bid_size = tick.bid_size
        if tick.ask is not None:
            self.ask = tick.ask
        if tick.ask_size is not None:
            self.ask_size = tick.ask_size
        if tick.volume is not None:
            self.volume = tick.volume
        if tick.halted is not None:
            self.halted = tick.halted
        self.traded = tick.last is not None and tick.last > 0
        self.print_left = 0
        if self.traded:
            self.last = tick.last
            self.last_size = tick.last_size
            self.print_left = assumed_size if tick.last_size is None else tick.last_size
            self.printed = True
            if participation is not None:
                self.print_left = int(self.print_left * participation)
        self.bid_left = assumed_size if self.bid_size is None else self.bid_size
        self.ask_left = assumed_size if self.ask_size is None else self.ask_size

    def instant_over(self) -> None:
        """A print concerns only what rested before it; an order that comes later does not trade with it."""
        self.traded, self.print_left = False, 0

    @property
    def two_sided(self) -> bool:
        return self.bid is not None and self.ask is not None and 0 < self.bid <= self.ask

    def mark(self) -> Decimal | None:
        """What a share is worth: the last trade, else the middle of the quote, else not known."""
        if self.last is not None:
            return exact(self.last)
        if self.bid is not None and self.ask is not None and self.two_sided:
            return (exact(self.bid) + exact(self.ask)) / 2
        return None


def offered(quote: Quote, limit: float | None, *, is_buy: bool) -> tuple[float, int] | None:
    """The price and shares that the opposite quote gives an order now; None where it does not cross."""
    price, left = (quote.ask, quote.ask_left) if is_buy else (quote.bid, quote.bid_left)
    if price is None or price <= 0 or left <= 0:
        return None
    if limit is not None and (price > limit if is_buy else price < limit):
        return None
    return price, left


def printed_through(quote: Quote, limit: float | None, *, is_buy: bool) -> tuple[float, int] | None:
    """The limit price and the shares of a trade that printed beyond it; None where none did."""
    last = quote.last
    if limit is None or last is None or quote.print_left <= 0:
        return None
    through = last < limit if is_buy else last > limit
    return (limit, quote.print_left) if through else None
