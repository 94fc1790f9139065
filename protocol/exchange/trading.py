"""The prices and sizes at which an order may trade: pure arithmetic of the matching core."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, assert_never

from protocol.exchange.book import NO_PRICE, BookOrder
from protocol.exchange.order_kinds import Peg
from protocol.exchange.quotes import Quote
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import Order
from protocol.values import PriceGrid, exact

PROTECTION: Final = Decimal("0.005")
"""How far from the market, as a share of the price, a protected order may trade."""
_BASIS_POINT: Final = Decimal("0.0001")


def quantity_for(order: BookOrder, available: int) -> int:
    """How much of what is there the order may take: all or none, or no less than its minimum, if so asked."""
    remaining = order.view.remaining
    quantity = min(available, remaining)
    if quantity < remaining and (order.all_or_none or quantity < order.min_fill):
        return 0
    return quantity


def slipped(price: float, settings: VenueSettings, grid: PriceGrid, *, is_buy: bool) -> float:
    """A market order's price with the assumed slippage against it: on the grid, and above zero."""
    quoted = exact(price)
    tick = grid.tick_at(quoted)
    away = quoted * settings.slippage_bps * _BASIS_POINT + settings.slippage_ticks * tick
    if is_buy:
        return float(grid.ceil(quoted + away))
    return float(max(grid.floor(quoted - away), min(quoted, tick)))


def protection(price: float, is_buy: bool, grid: PriceGrid) -> float:
    """The limit of a protected order that is elected, or placed, with the market at `price`."""
    away = exact(price) * PROTECTION
    return float(grid.floor(exact(price) + away) if is_buy else grid.ceil(exact(price) - away))


def pegged(quote: Quote, peg: Peg, order: Order, grid: PriceGrid) -> float:
    """The limit price of a pegged order in this market, within the cap that `lmtPrice` is.

    Where there is no price to be pegged to, one at which nobody trades with it.
    """
    is_buy = order.action == "BUY"
    if not quote.two_sided and peg is not Peg.STARTING_PRICE:
        return NO_PRICE[is_buy]
    raw = _pegged_to(quote, peg, order, is_buy=is_buy)
    if raw is None or raw <= 0:
        return NO_PRICE[is_buy]
    tick = grid.tick_at(raw)
    price = float((raw / tick).to_integral_value(ROUND_FLOOR if is_buy else ROUND_CEILING) * tick)
    cap = order.lmt_price
    if not cap:
        return price
    return min(price, cap) if is_buy else max(price, cap)


def _pegged_to(quote: Quote, peg: Peg, order: Order, *, is_buy: bool) -> Decimal | None:
    """Before rounding and cap. An offset makes an own-side peg more aggressive and the others less."""
    bid, ask = exact(quote.bid or 0.0), exact(quote.ask or 0.0)
    offset = exact(order.aux_price or 0.0)
    towards = 1 if is_buy else -1
    match peg:
        case Peg.OWN_SIDE:
            touch = bid if is_buy else ask
            if order.percent_offset:
                offset = touch * exact(order.percent_offset)
            return touch + towards * offset
        case Peg.OTHER_SIDE:
            return (ask if is_buy else bid) - towards * offset
        case Peg.MIDDLE:
            return (bid + ask) / 2 - towards * offset
        case Peg.STARTING_PRICE:
            start = order.starting_price or order.stock_ref_price
            return None if start is None else exact(start)
        case _:
            assert_never(peg)
