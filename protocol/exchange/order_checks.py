"""What the venue refuses, with the error code and text of a real TWS (how sure each is: `FIDELITY.md`)."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from protocol.exchange.book import LIMITS, STOPS, OrderRecord
from protocol.tws.messages import Contract, Order
from protocol.values import PriceGrid, exact

ORDER_TYPES = frozenset({"MKT"}) | LIMITS | STOPS
TIMES_IN_FORCE = frozenset({"DAY", "GTC", "IOC", "GTD"})
MAX_PRICE, MAX_QUANTITY = 1e9, 10**9
"""Dollars and shares beyond anything a stock order means; larger numbers are a client's mistake."""
_GOOD_TILL = re.compile(r"(\d{8})(?:(-| +)(\d{1,2}:\d{2}:\d{2})(?: +(\S+))?)?")


@attrs.frozen
class Refusal:
    """`inactive`: the order came to be and is shown as Inactive; otherwise there is only the error."""

    code: int
    text: str
    inactive: bool = False


def rejected(reason: str) -> Refusal:
    """The exchange or the account system says no: error 201 and an Inactive order."""
    return Refusal(201, f"Order rejected - reason:{reason}", inactive=True)


def invalid(cause: str) -> Refusal:
    """TWS itself says no: error 321, and no order."""
    return Refusal(321, f"Error validating request.-'bF' : cause - {cause}")


def good_till(text: str, zone: str) -> datetime | None:
    """The instant that a `goodTillDate` names, in UTC; None when it does not name one.

    `yyyymmdd hh:mm:ss [zone]`, `yyyymmdd-hh:mm:ss` (UTC), or a date alone, which means its end.
    """
    found = _GOOD_TILL.fullmatch(text.strip())
    if found is None:
        return None
    date, dash, clock, named_zone = found.groups()
    try:
        where = UTC if dash == "-" else ZoneInfo(named_zone or zone)
        day = datetime.strptime(date, "%Y%m%d").replace(tzinfo=where)
        if clock is None:
            return datetime.combine(day, time(23, 59, 59), where).astimezone(UTC)
        parsed = datetime.strptime(clock, "%H:%M:%S").time()  # noqa: DTZ007 only the wall time is taken
        return datetime.combine(day, parsed, where).astimezone(UTC)
    except (ValueError, ZoneInfoNotFoundError):
        return None


def check_order(order: Order, grid: PriceGrid, zone: str) -> Refusal | None:
    """What is wrong with an order on its own, whatever else the venue holds."""
    return _check_kind(order) or _check_quantity(order.total_quantity) or _check_prices(order, grid, zone)


def _check_kind(order: Order) -> Refusal | None:
    if order.action not in ("BUY", "SELL"):
        return invalid(f"Invalid action {order.action!r}")
    if order.order_type not in ORDER_TYPES:
        return invalid("Invalid order type")
    if order.tif not in TIMES_IN_FORCE:
        return rejected(
            f"The time-in-force {order.tif} is invalid for this combination of exchange and security type."
        )
    if not 0 <= order.oca_type <= 3:
        return invalid("Invalid OCA type")
    unsupported = {
        "allOrNone": order.all_or_none,
        "minQty": bool(order.min_qty),
        "goodAfterTime": bool(order.good_after_time),
        "cashQty": bool(order.cash_qty),
        "whatIf": order.what_if,
    }
    named = [name for name, is_set in unsupported.items() if is_set]
    return invalid(f"The '{named[0]}' order attribute is not supported.") if named else None


def _check_quantity(quantity: Decimal) -> Refusal | None:
    if not quantity.is_finite() or quantity != quantity.to_integral_value():
        return Refusal(434, "The order size must be a whole number of shares.")
    if quantity <= 0:
        return Refusal(434, "The order size cannot be zero.")
    if quantity > MAX_QUANTITY:
        return invalid("Invalid order size")
    return None


def _check_prices(order: Order, grid: PriceGrid, zone: str) -> Refusal | None:
    wanted = [order.lmt_price] if order.order_type in LIMITS else []
    if order.order_type in STOPS:
        wanted.append(order.aux_price)
    for price in wanted:
        if price is None or not math.isfinite(price) or not 0 < price <= MAX_PRICE:
            return invalid(f"A positive price is required for order type {order.order_type}")
        if not grid.contains(exact(price)):
            return Refusal(
                110, "The price does not conform to the minimum price variation for this contract."
            )
    if order.tif == "GTD" and good_till(order.good_till_date, zone) is None:
        return Refusal(
            343,
            "The date, time, or time-zone entered is invalid. "
            "The correct format is yyyymmdd hh:mm:ss xx/xxxx",
        )
    return None


def check_modify(record: OrderRecord, contract: Contract, order: Order) -> Refusal | None:
    """What a modify may not change. The original order stands whatever is refused."""
    view = record.view
    same_contract = view.contract.symbol == contract.symbol and (
        not contract.con_id or not view.contract.con_id or contract.con_id == view.contract.con_id
    )
    if not same_contract or view.order.action != order.action or order.account not in ("", view.account):
        return Refusal(105, "Order being modified does not match original order.")
    if order.oca_group and order.oca_group != view.order.oca_group:
        return Refusal(10326, "OCA group revision is not allowed.")
    return None
