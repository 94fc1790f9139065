"""The day in dollars: what was realized, what is open at the market's prices, what the account is worth.

A day's result is what was realized since midnight of the schedule's zone, commissions included, and what is
open at the price at which it could be closed (the last trade where the quote is crossed or wide, nothing
where there is none). The account's worth is the worse of that sum and of the equity that the broker tells,
which also knows what others trade in it, but is told only every few minutes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

import attrs

from protocol.position import ZERO
from protocol.risk.ledger import Ledger
from protocol.risk.settings import RiskLimits
from protocol.risk.standing import Standing
from protocol.risk.words import Quote, Surroundings
from protocol.values import Symbol

NO_PRICE: Final = 1e7
"""No share costs so many dollars: it is a bad tick, as are infinity and NaN, of which no comparison holds."""


class Book(Protocol):
    def position(self, symbol: Symbol) -> int: ...


class Watched(Protocol):
    """What of the gate the monitor looks at."""

    @property
    def standing(self) -> Standing: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def book(self) -> Book: ...


@attrs.frozen
class Reckoning:
    """The day in dollars, as it looks now: what each symbol made, and the equity of the account."""

    pnl: Mapping[Symbol, Decimal]
    """Realized since midnight and open."""
    first: Decimal | None
    best: Decimal | None
    told: Decimal | None
    """By the broker, perhaps minutes ago."""

    @property
    def total(self) -> Decimal:
        return sum(self.pnl.values(), ZERO)

    @property
    def reckoned(self) -> Decimal | None:
        """The equity by our own books: the day's first and what was made since."""
        return None if self.first is None else self.first + self.total

    @property
    def worth(self) -> Decimal | None:
        """The equity, by the worse of our own books and the broker's word."""
        reckoned = self.reckoned
        if reckoned is None or self.told is None:
            return self.told if reckoned is None else reckoned
        return min(reckoned, self.told)


def reckon(gate: Watched, around: Surroundings, *, at: datetime, market: bool = True) -> Reckoning:
    """`market` false: without what is open, so that no tick is believed."""
    ledger = gate.ledger
    pnl = {
        symbol: day_pnl(gate, around, symbol, at) if market else ledger.realized_today(symbol, at)
        for symbol in ledger.symbols
    }
    return Reckoning(pnl, ledger.first_equity(at), ledger.best_equity(at), around.money.equity)


def day_pnl(gate: Watched, around: Surroundings, symbol: Symbol, at: datetime) -> Decimal:
    """What a symbol has made today in dollars, realized and open."""
    entry = gate.ledger.get(symbol)
    if entry is None:
        return ZERO
    made = gate.ledger.realized_today(symbol, at)
    held = entry.position
    if held.quantity == 0:
        return made
    quote = around.quote(symbol)
    price = None if quote is None else mark(quote, held.quantity, gate.standing.limits)
    return made if price is None else made + held.unrealized_pnl(price)


def _is_sane(quote: Quote, limits: RiskLimits) -> bool:
    bid, ask = quote.bid, quote.ask
    if bid is None or ask is None or not 0 < bid <= ask < NO_PRICE:
        return False
    return (ask - bid) / ((ask + bid) / 2) <= limits.max_spread


def mark(quote: Quote, quantity: int, limits: RiskLimits) -> Decimal | None:
    """Where a signed quantity could be closed: the bid for a long, the ask for a short, else the last.

    Of a quote and a last trade that contradict each other one is a bad tick: nothing is closed on the worse.
    """
    last = _price(quote.last)
    if not _is_sane(quote, limits):
        return last
    price = _price(quote.bid if quantity > 0 else quote.ask)
    if price is None or last is None or _agree(price, last, limits):
        return price
    return max(price, last) if quantity > 0 else min(price, last)


def reference(quote: Quote, limits: RiskLimits) -> Decimal | None:
    """The market in one price: the middle of a good quote, else the last trade; None where they differ."""
    last = _price(quote.last)
    if not _is_sane(quote, limits):
        return last
    assert quote.bid is not None
    assert quote.ask is not None
    middle = _price(round((quote.bid + quote.ask) / 2, 6))
    if middle is None or last is None or _agree(middle, last, limits):
        return middle
    return None


@functools.lru_cache(maxsize=4096, typed=True)
def exact(number: float) -> Decimal:
    """As it is written; the same few prices and limits are reckoned with every second."""
    return Decimal(repr(number))


def _price(tick: float | None) -> Decimal | None:
    return exact(tick) if tick is not None and 0 < tick < NO_PRICE else None


def _agree(one: Decimal, other: Decimal, limits: RiskLimits) -> bool:
    return abs(one - other) <= exact(limits.max_fill_deviation) * min(one, other)
