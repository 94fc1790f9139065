"""What could be held at worst: positions with any part of the working orders filled, in shares and dollars.

Entries fill whole or not at all, exits of a group fill the largest of them once, children of an entry that
has not filled yet wait for it. Nothing else is taken for granted, least of all the order in which it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Final

import attrs

from protocol.position import ZERO
from protocol.risk.book import BookedOrder, RiskBook
from protocol.risk.words import Quote
from protocol.values import OrderRef, OrderType, Purpose, Side, Symbol, exact

MAX_PRICE: Final = 10_000_000.0
"""Dollars; the dearest share that was ever listed costs less than a tenth of it."""


@attrs.frozen
class WorstCase:
    """The shares of a symbol: held now, and the two ends of what its working orders can make of it."""

    held: int = 0
    lowest: int = 0
    highest: int = 0

    @property
    def largest(self) -> int:
        """Without its sign."""
        return max(abs(self.lowest), abs(self.highest))

    def with_entry(self, side: Side, quantity: int) -> WorstCase:
        """After one more entry."""
        if side is Side.BUY:
            return attrs.evolve(self, highest=self.highest + quantity)
        return attrs.evolve(self, lowest=self.lowest - quantity)


def worst_case(held: int, orders: Iterable[BookedOrder]) -> WorstCase:
    """Of a position and its working orders."""
    bought, sold = 0, 0
    groups: dict[tuple[Side, str], int] = {}
    for order in orders:
        shares = order.may_fill
        if order.enters:
            bought += shares if order.side is Side.BUY else 0
            sold += shares if order.side is Side.SELL else 0
        elif not order.waits:
            # An order without a group is one of its own.
            group = order.spec.oca_group or str(order.ref)
            groups[order.side, group] = max(groups.get((order.side, group), 0), shares)
    back = sum(shares for (side, _), shares in groups.items() if side is Side.BUY)
    out = sum(shares for (side, _), shares in groups.items() if side is Side.SELL)
    return WorstCase(held, held - sold - out, held + bought + back)


# --- dollars --------------------------------------------------------------------------------------


def dollars(price: float | None) -> Decimal | None:
    """A price off the wire; None where it is none: not told, not a number, zero, or beyond all reason."""
    if price is None or not 0 < price < MAX_PRICE:
        return None
    return exact(price)


def mark(quote: Quote | None) -> Decimal | None:
    """What a share is worth: the middle of the quote, or the last trade; None when neither is known."""
    if quote is None:
        return None
    bid, ask = dollars(quote.bid), dollars(quote.ask)
    if bid is not None and ask is not None:
        return (bid + ask) / 2
    return dollars(quote.last)


@attrs.frozen
class Exposure:
    """One symbol in dollars."""

    symbol: Symbol
    worst: WorstCase
    price: Decimal
    sector: str = ""

    @property
    def net(self) -> Decimal:
        """What is held, with its sign."""
        return self.worst.held * self.price

    @property
    def worst_gross(self) -> Decimal:
        return self.worst.largest * self.price

    @property
    def worst_long(self) -> Decimal:
        return self.worst.highest * self.price

    @property
    def worst_short(self) -> Decimal:
        return self.worst.lowest * self.price


@attrs.frozen
class AccountExposure:
    """All symbols that hold something or have an entry at work."""

    symbols: Mapping[Symbol, Exposure]

    @property
    def gross(self) -> Decimal:
        return sum((abs(one.net) for one in self.symbols.values()), ZERO)

    @property
    def net(self) -> Decimal:
        return sum((one.net for one in self.symbols.values()), ZERO)

    @property
    def worst_gross(self) -> Decimal:
        return sum((one.worst_gross for one in self.symbols.values()), ZERO)

    @property
    def worst_long(self) -> Decimal:
        """The largest sum with signs that can come about: longs are entered, shorts are closed."""
        return sum((one.worst_long for one in self.symbols.values()), ZERO)

    @property
    def worst_short(self) -> Decimal:
        return sum((one.worst_short for one in self.symbols.values()), ZERO)

    def worst_of_sector(self, sector: str) -> Decimal:
        return sum((one.worst_gross for one in self.symbols.values() if one.sector == sector), ZERO)

    def get(self, symbol: Symbol) -> WorstCase:
        found = self.symbols.get(symbol)
        return WorstCase() if found is None else found.worst


class WorstCases:
    """The worst case of every symbol of a book, reckoned anew only when its orders have changed."""

    def __init__(self, book: RiskBook, sectors: Mapping[Symbol, str]) -> None:
        self._book, self._sectors = book, sectors
        self._cases: dict[Symbol, tuple[int, WorstCase, WorstCase]] = {}
        """The version of the book that it was reckoned from; of what has left; of all, decided or not."""

    def account(
        self,
        quote: Callable[[Symbol], Quote | None],
        *,
        judged: frozenset[OrderRef] = frozenset(),
        pending: bool = False,
    ) -> AccountExposure:
        """All of the account now, at the quotes.

        Orders that still wait for the gate are not in it, save those of `judged`, and with `pending` all.
        """
        cases = {symbol: self._known(symbol, pending=pending) for symbol in self._book.symbols}
        for symbol in {ref.symbol: None for ref in judged}:
            cases[symbol] = self._case(symbol, lambda order: order.sent or order.ref in judged)
        return AccountExposure({
            symbol: Exposure(symbol, case, self._price(symbol, quote(symbol)), self._sectors.get(symbol, ""))
            for symbol, case in cases.items()
            if case.held or case.largest
        })  # fmt: skip

    def _known(self, symbol: Symbol, *, pending: bool) -> WorstCase:
        version, known = self._book.version(symbol), self._cases.get(symbol)
        if known is None or known[0] != version:
            left, every = self._case(symbol, lambda order: order.sent), self._case(symbol, lambda _: True)
            known = self._cases[symbol] = (version, left, every)
        return known[2] if pending else known[1]

    def _case(self, symbol: Symbol, counts: Callable[[BookedOrder], bool]) -> WorstCase:
        orders = (order for order in self._book.live(symbol) if counts(order))
        return worst_case(self._book.position(symbol), orders)

    def _price(self, symbol: Symbol, quote: Quote | None) -> Decimal:
        """Without any quote: the average that was paid, or where a working order would trade."""
        price = mark(quote) or self._book.average_price(symbol)
        if price is not None:
            return price
        prices = [order.spec.limit_price or order.spec.stop_price for order in self._book.live(symbol)]
        return max((price for price in prices if price is not None), default=ZERO)


# --- open risk ------------------------------------------------------------------------------------


@attrs.frozen
class OpenRisk:
    """What a position loses from the present price when its stops fill where they stand."""

    dollars: Decimal = ZERO
    uncovered: int = 0
    """Shares without a stop: their whole worth is in `dollars`."""


def open_risk(book: RiskBook, symbol: Symbol, price: Decimal) -> OpenRisk:
    """Of what is held at `price`: for each share the distance to its stop."""
    held = book.position(symbol)
    left, dollars = abs(held), ZERO
    sign = 1 if held > 0 else -1
    for order in book.live(symbol):
        if order.spec.purpose is not Purpose.STOP or not left or order.side.sign == sign:
            continue
        covered = min(order.may_fill, left)
        dollars += covered * max(_distance(order, price, sign), ZERO)
        left -= covered
    return OpenRisk(dollars + left * price, left)


def _distance(order: BookedOrder, price: Decimal, sign: int) -> Decimal:
    spec = order.spec
    if spec.type is OrderType.TRAILING:
        # Where the broker has moved it to, nobody tells: it is never further than this.
        return price * spec.trail_fraction if spec.trail_fraction is not None else spec.trail_amount or price
    return price if spec.stop_price is None else (price - spec.stop_price) * sign
