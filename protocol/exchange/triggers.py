"""When the market elects an order that waits for a price, and how far a trailing stop has come.

The methods are those of the API's `triggerMethod`: 0 the default of the kind of contract, 1 double
bid/ask, 2 last, 3 double last, 4 bid/ask, 7 last or bid/ask, 8 midpoint. With bid/ask, the quote must lie
wholly beyond the price: a rising trigger waits for the bid, a falling one for the ask. The doubles
need two instants in a row that say so.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from protocol.exchange.contract_key import CASH, OPTION
from protocol.exchange.quotes import Quote
from protocol.values import PriceGrid, exact

DEFAULT, DOUBLE_BID_ASK, LAST, DOUBLE_LAST, BID_ASK, LAST_OR_BID_ASK, MIDPOINT = 0, 1, 2, 3, 4, 7, 8
METHODS = frozenset({DEFAULT, DOUBLE_BID_ASK, LAST, DOUBLE_LAST, BID_ASK, LAST_OR_BID_ASK, MIDPOINT})
DOUBLES = frozenset({DOUBLE_BID_ASK, DOUBLE_LAST})
BY_LAST = frozenset({LAST, DOUBLE_LAST})


def method_for(asked: int, sec_type: str) -> int:
    """The method in force: what was asked, or IBKR's default: double bid/ask for options, bid/ask for
    currencies, the last trade for the rest."""
    if asked != DEFAULT:
        return asked
    if sec_type == OPTION:
        return DOUBLE_BID_ASK
    return BID_ASK if sec_type == CASH else DEFAULT


def elects(quote: Quote, price: float, method: int, *, rises: bool) -> bool:
    """Whether this instant of the market is at or beyond `price`. `rises`: beyond is above it.

    The default method goes by the last trade; also by a sound quote that lies wholly beyond the price in
    an instant without a trade, so that a gap in trading does not leave a position without its stop.
    """
    if method == DEFAULT:
        return _last(quote, price, rises=rises) or (not quote.traded and _quoted(quote, price, rises=rises))
    if method == LAST:
        return _last(quote, price, rises=rises)
    if method == DOUBLE_LAST:
        return quote.traded and _last(quote, price, rises=rises)
    if method == LAST_OR_BID_ASK:
        return _last(quote, price, rises=rises) or _quoted(quote, price, rises=rises)
    if method == MIDPOINT:
        return _middle(quote, price, rises=rises)
    return _quoted(quote, price, rises=rises)


def counts(quote: Quote, method: int) -> bool:
    """Whether this instant says anything about a double method: a trade, or a sound quote."""
    return quote.traded if method == DOUBLE_LAST else quote.two_sided


def _last(quote: Quote, price: float, *, rises: bool) -> bool:
    last = quote.last
    return last is not None and (last >= price if rises else last <= price)


def _quoted(quote: Quote, price: float, *, rises: bool) -> bool:
    side = quote.bid if rises else quote.ask
    if side is None or not quote.two_sided:
        return False
    return side >= price if rises else side <= price


def _middle(quote: Quote, price: float, *, rises: bool) -> bool:
    if quote.bid is None or quote.ask is None or not quote.two_sided:
        return False
    middle = (quote.bid + quote.ask) / 2
    return middle >= price if rises else middle <= price


def followed_price(quote: Quote, method: int, *, rises: bool) -> float | None:
    """The price that a trailing stop follows: the last trade or the side of the quote that is behind the
    market (the bid for a stop that sells), by the method that elects it; None where there is none.

    The default follows the last trade once there is one: a stop drawn by the quote could be beyond it.
    """
    if method in BY_LAST or (quote.last is not None and method in (DEFAULT, LAST_OR_BID_ASK)):
        return quote.last
    if quote.bid is None or quote.ask is None or not quote.two_sided:
        return None
    if method == MIDPOINT:
        return (quote.bid + quote.ask) / 2
    return quote.ask if rises else quote.bid


def trailed(followed: float, distance: float, grid: PriceGrid, *, rises: bool) -> float | None:
    """Where a trailing stop is when the market stands at `followed`: on the grid, away from the market.

    `rises`: it buys, and lies above. None when the distance leaves no positive price.
    """
    raw = exact(followed + distance if rises else followed - distance)
    if raw <= 0:
        return None
    tick = grid.tick_at(raw)
    steps = (raw / tick - _DUST if rises else raw / tick + _DUST).to_integral_value(
        ROUND_CEILING if rises else ROUND_FLOOR
    )
    return float(steps * tick) if steps > 0 else None


_DUST = Decimal("1e-6")
"""Of a tick: what floats leave behind must not move a price by a whole one."""
