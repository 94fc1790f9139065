"""What the gate asks itself: one entry, with all that its limits are about, as it is at that moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.position import ZERO
from protocol.reports import LinkState
from protocol.risk.book import RiskBook
from protocol.risk.exposure import AccountExposure, WorstCase, dollars
from protocol.risk.ledger import Ledger
from protocol.risk.settings import RiskLimits
from protocol.risk.standing import Standing
from protocol.risk.words import AccountMoney, ContractFacts, Quote, Refused
from protocol.settings import Schedule
from protocol.values import OrderSpec, OrderType, Side, Symbol


@attrs.frozen
class Wish:
    """To buy or sell short `quantity` shares: proposed by a symbol, or decided (`orders`)."""

    symbol: Symbol
    side: Side
    quantity: int
    main: bool
    """Whether it opens a trade; an addition to one that lives otherwise."""
    orders: tuple[OrderSpec, ...]
    """The entry first, then its children; empty for a proposal."""
    signal_id: str
    trade: int | None
    """None: not decided yet."""
    decided_at: datetime
    reference: Decimal | None
    """About where it would trade, in dollars; None without a quote."""
    stop_distance: Decimal | None
    """Dollars; None for additions, which the stops of their trade cover."""
    worst_quantity: int
    """What the position can grow to with every addition of the plan."""


@attrs.frozen
class Question:
    """May it be? `exposure` is the account with the wish in it; what was decided is in `book` already."""

    wish: Wish
    at: datetime
    limits: RiskLimits
    standing: Standing
    schedule: Schedule
    latency_s: float
    sectors: Mapping[Symbol, str]
    """Of the symbols that may be traded."""
    state: LinkState
    money: AccountMoney
    quote: Quote | None
    facts: ContractFacts | None
    book: RiskBook
    ledger: Ledger
    exposure: AccountExposure
    reserved: Decimal
    """Dollars of positions and entries, this one among them, that the account's figures do not count yet."""

    @property
    def worst(self) -> WorstCase:
        """Of the symbol."""
        return self.exposure.get(self.wish.symbol)

    @property
    def price(self) -> Decimal:
        """What a share is worth, for limits in dollars."""
        exposed = self.exposure.symbols.get(self.wish.symbol)
        return exposed.price if exposed is not None and exposed.price else self.wish.reference or ZERO


Check: TypeAlias = Callable[[Question], Refused | None]


def far_side(side: Side, quote: Quote | None) -> Decimal | None:
    """Where a market order would trade: the ask for BUY, the bid for SELL."""
    if quote is None:
        return None
    return dollars(quote.ask if side is Side.BUY else quote.bid)


def reference_of(spec: OrderSpec, quote: Quote | None) -> Decimal | None:
    """About where an order would trade: at the market, at its limit on this side of it, at its stop."""
    market = far_side(spec.side, quote)
    match spec.type:
        case OrderType.LIMIT if spec.limit_price is not None and market is not None:
            better = min if spec.side is Side.BUY else max
            return better(spec.limit_price, market)
        case OrderType.LIMIT:
            return spec.limit_price
        case OrderType.STOP | OrderType.STOP_LIMIT:
            return spec.stop_price
        case _:
            return market
