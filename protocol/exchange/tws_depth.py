"""The book behind the quote: rows that are made up around the touch, and what changes of them is told.

The venue knows the best prices and their sizes alone. Behind them rows stand a step apart; each shows less
than the one before it. The same quote always has the same book.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from protocol.exchange import market_rules
from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_quotes import Quote
from protocol.tws.messages import MarketDepth, MarketDepthL2, ServerMessage

MOST_ROWS: Final = 10
"""On either side of the book, whatever a request asks for."""
ASK_SIDE, BID_SIDE = 0, 1
INSERT, UPDATE, DELETE = range(3)
MAKERS: Final = ("NSDQ", "ARCA", "BATS", "IEX", "EDGX", "NYSE", "MEMX", "BYX", "EDGEA", "PSX")
"""Whose quote each row is, from the touch outwards."""
_LEAST: Final = 1
_DIGITS = 8


class Row(NamedTuple):
    price: float
    size: int


def book_side(
    price: float | None, size: int | None, rule_id: int, rows: int, *, bids: bool
) -> tuple[Row, ...]:
    """The rows of one side, the best first; () where there is no quote."""
    if not price or not size or price <= 0:
        return ()
    made = [Row(price, size)]
    for position in range(1, min(rows, MOST_ROWS)):
        step = market_rules.step_at(rule_id, made[-1].price)
        away = round(made[-1].price - step if bids else made[-1].price + step, _DIGITS)
        if away <= 0:
            break
        made.append(Row(away, max(_LEAST, size * (MOST_ROWS - position) // MOST_ROWS)))
    return tuple(made[:rows])


class DepthStream:
    """One request's picture of the book. `smart`: each row says on which exchange it stands."""

    def __init__(self, req_id: int, key: str, rule_id: int, rows: int, *, smart: bool) -> None:
        self.key = key
        self._req_id, self._rule_id, self._rows, self._smart = req_id, rule_id, rows, smart
        self._told: dict[int, tuple[Row, ...]] = {ASK_SIDE: (), BID_SIDE: ()}

    def begin(self, quote: Quote) -> Iterator[ServerMessage]:
        """The book as it stands."""
        yield from self._tell(quote)

    def take(self, quote: Quote, tick: MarketTick) -> Iterator[ServerMessage]:
        if (
            tick.bid is not None
            or tick.ask is not None
            or tick.bid_size is not None
            or tick.ask_size is not None
        ):
            yield from self._tell(quote)

    def pass_time(self, at: datetime) -> Iterator[ServerMessage]:
        del at
        yield from ()

    def _tell(self, quote: Quote) -> Iterator[ServerMessage]:
        bids = book_side(quote.bid, quote.bid_size, self._rule_id, self._rows, bids=True)
        asks = book_side(quote.ask, quote.ask_size, self._rule_id, self._rows, bids=False)
        for side, rows in ((BID_SIDE, bids), (ASK_SIDE, asks)):
            told, self._told[side] = self._told[side], rows
            for position in range(len(told) - 1, len(rows) - 1, -1):
                yield self._row(position, DELETE, side, Row(0.0, 0))
            for position, row in enumerate(rows):
                if position >= len(told):
                    yield self._row(position, INSERT, side, row)
                elif row != told[position]:
                    yield self._row(position, UPDATE, side, row)

    def _row(self, position: int, operation: int, side: int, row: Row) -> ServerMessage:
        price, size = row.price, Decimal(row.size)
        if not self._smart:
            return MarketDepth(self._req_id, position, operation, side, price, size)
        return MarketDepthL2(self._req_id, position, MAKERS[position], operation, side, price, size, True)
