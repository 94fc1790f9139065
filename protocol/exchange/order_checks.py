"""What the venue refuses, with the error code and text of a real TWS (how sure each is: `FIDELITY.md`)."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import attrs

from protocol.exchange.book import OrderRecord
from protocol.exchange.calendar import session_at
from protocol.exchange.contract_key import FUTURE, FUTURE_OPTION, OPTION, STOCK_TYPES, contract_key
from protocol.exchange.happenings import MarketTick
from protocol.exchange.order_kinds import (
    KINDS,
    NOT_OFFERED,
    Auction,
    OrderKind,
    Peg,
    Trigger,
    auction_of,
    kind_of,
)
from protocol.exchange.triggers import METHODS
from protocol.tws.messages import Contract, Order
from protocol.values import PriceGrid, exact

TIMES_IN_FORCE = frozenset({"DAY", "GTC", "IOC", "GTD", "OPG", "FOK"})
FOREIGN_TIMES_IN_FORCE = frozenset({"AUC", "DTC", "GTX", "GTT", "OVERNIGHT", "OVERNIGHT + DAY", "Minutes"})
"""Times in force that IBKR knows, and no order of this venue can have."""
OPENING_TYPES = frozenset({"MKT", "LMT"})
"""What can be good at the opening: as market- or limit-on-open."""
FOR_FUTURES_ONLY, FOR_OPTIONS_ONLY = frozenset({"STP PRT"}), frozenset({"PEG STK"})
MAX_PRICE, MAX_QUANTITY = 1e9, 10**9
"""Dollars and shares beyond anything a stock order means; larger numbers are a client's mistake."""
BAD_TIME = "The date, time, or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx"
_GOOD_TILL = re.compile(r"(\d{8})(?:(-| +)(\d{1,2}:\d{2}:\d{2})(?: +(\S+))?)?")


@attrs.frozen
class Refusal:
    """`inactive`: the order came to be and is shown as Inactive; otherwise there is only the error."""

    code: int
    text: str
    inactive: bool = False


OCA_REVISION = Refusal(10326, "OCA group revision is not allowed.")


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


def check_order(order: Order, contract: Contract, grid: PriceGrid, zone: str) -> Refusal | None:
    """What is wrong with an order on its own, whatever else the venue holds."""
    return (
        _check_kind(order, contract)
        or _check_life(order, contract)
        or _check_quantity(order)
        or _check_prices(order, grid)
        or _check_times(order, zone)
    )


def _check_kind(order: Order, contract: Contract) -> Refusal | None:
    name, kind_of_contract = order.order_type, contract.sec_type
    if order.action not in ("BUY", "SELL"):
        return invalid(f"Invalid action {order.action!r}")
    foreign = name in FOR_FUTURES_ONLY and kind_of_contract not in (FUTURE, FUTURE_OPTION)
    foreign = foreign or (name in FOR_OPTIONS_ONLY and kind_of_contract != OPTION)
    if name in NOT_OFFERED or foreign:
        return Refusal(387, "Unsupported order type for this exchange and security type.")
    if name not in KINDS:
        return invalid("Invalid order type")
    if not 0 <= order.oca_type <= 3:
        return invalid("Invalid OCA type")
    if order.trigger_method not in METHODS:
        return invalid("Invalid trigger method")
    if order.cash_qty:
        return Refusal(10244, "Cash quantity cannot be used for this order.")
    if order.what_if:
        return invalid("The 'whatIf' order attribute is not supported.")
    return None


def _check_life(order: Order, contract: Contract) -> Refusal | None:
    tif, auction = order.tif, kind_of(order).closing
    if tif not in TIMES_IN_FORCE and tif not in FOREIGN_TIMES_IN_FORCE:
        return Refusal(10052, f"Invalid time in force: {tif}.")
    if (
        tif in FOREIGN_TIMES_IN_FORCE
        # A fill-or-kill stock order does not go through IBKR's own router.
        or (tif == "FOK" and contract.sec_type in STOCK_TYPES)
    ):
        return rejected(
            f"The time-in-force {tif} is invalid for this combination of exchange and security type."
        )
    if (tif == "OPG" and order.order_type not in OPENING_TYPES) or (
        auction and tif not in ("DAY", "GTC", "GTD")
    ):
        return rejected(f"The time-in-force {tif} is invalid for order type {order.order_type}.")
    return None


def _check_quantity(order: Order) -> Refusal | None:
    quantity = order.total_quantity
    if not quantity.is_finite() or quantity != quantity.to_integral_value():
        return Refusal(434, "The order size must be a whole number of shares.")
    if quantity <= 0:
        return Refusal(434, "The order size cannot be zero.")
    if quantity > MAX_QUANTITY:
        return invalid("Invalid order size")
    if not 0 <= (order.min_qty or 0) <= quantity:
        return invalid("Invalid minimum quantity")
    return None


def _check_prices(order: Order, grid: PriceGrid) -> Refusal | None:
    kind = kind_of(order)
    needed, given = _prices(order, kind)
    for price in needed:
        if not _is_price(price):
            return invalid(f"A positive price is required for order type {order.order_type}")
    for price in (*needed, *given):
        if not _is_price(price):
            return invalid("Invalid price")
        if not grid.contains(exact(price or 0.0)):
            return Refusal(
                110, "The price does not conform to the minimum price variation for this contract."
            )
    if kind.trails:
        return _check_trail(order, kind)
    return _check_peg(order, kind.peg) if kind.peg is not None else None


def _prices(order: Order, kind: OrderKind) -> tuple[list[float | None], list[float]]:
    """The prices that its type needs, and those that it may have."""
    if kind.trails:
        asked = [order.trail_stop_price, None if order.lmt_price_offset is not None else order.lmt_price]
        return [], [price for price in asked[: 2 if kind.limit else 1] if price]
    if kind.peg is not None:
        return [], [order.lmt_price] if order.lmt_price else []
    needed = [order.lmt_price] if kind.limit else []
    return (needed, []) if kind.trigger is Trigger.NONE else ([*needed, order.aux_price], [])


def _check_trail(order: Order, kind: OrderKind) -> Refusal | None:
    amount, percent = order.aux_price or 0.0, order.trailing_percent or 0.0
    if not (math.isfinite(amount) and math.isfinite(percent)) or bool(amount) == bool(percent):
        return invalid("A trailing order needs either a trailing amount or a trailing percentage")
    if not 0 <= amount <= MAX_PRICE or not 0 <= percent < 100:
        return invalid("Invalid trailing amount")
    if not kind.limit:
        return None
    offset = order.lmt_price_offset
    if offset is None and not order.lmt_price:
        return invalid("A trailing limit order needs a limit price or a limit price offset")
    if offset is not None and not (math.isfinite(offset) and abs(offset) <= MAX_PRICE):
        return invalid("Invalid limit price offset")
    return None


def _check_peg(order: Order, peg: Peg) -> Refusal | None:
    offset, share = order.aux_price or 0.0, order.percent_offset or 0.0
    if not (math.isfinite(offset) and abs(offset) <= MAX_PRICE and math.isfinite(share) and abs(share) < 1):
        return invalid("Invalid offset")
    start = order.starting_price or order.stock_ref_price
    if peg is Peg.STARTING_PRICE and not _is_price(start):
        return invalid(f"A starting price is required for order type {order.order_type}")
    return None


def _is_price(price: float | None) -> bool:
    return price is not None and math.isfinite(price) and 0 < price <= MAX_PRICE


def _check_times(order: Order, zone: str) -> Refusal | None:
    wanted = [order.good_till_date] if order.tif == "GTD" else []
    if order.good_after_time:
        wanted.append(order.good_after_time)
    bad = any(good_till(text, zone) is None for text in wanted)
    return Refusal(343, BAD_TIME) if bad else None


def check_close(at: datetime, order: Order, cutoff_s: int) -> Refusal | None:
    """An order for the closing auction comes too late in the last minutes of the regular session."""
    session = session_at(at)
    if auction_of(order) is not Auction.CLOSING or session is None:
        return None
    if at < session.end - timedelta(seconds=cutoff_s):
        return None
    return rejected(f"The {order.order_type} order comes too late for the closing auction.")


def check_band(order: Order, quote: MarketTick | None, band: Decimal | None) -> Refusal | None:
    """A limit further through the market than the share `band` of it looks like a slip of the pen."""
    kind = kind_of(order)
    if band is None or quote is None or order.override_percentage_constraints or not order.lmt_price:
        return None
    if not kind.limit or kind.trigger is not Trigger.NONE:
        return None
    is_buy = order.action == "BUY"
    touch = (quote.ask if is_buy else quote.bid) or quote.last
    if not touch:
        return None
    limit, market = exact(order.lmt_price), exact(touch)
    if limit <= market * (1 + band) if is_buy else limit >= market * (1 - band):
        return None
    return Refusal(
        163,
        "The price specified would violate the percentage constraint specified in the default order "
        "settings.",
    )


def check_modify(record: OrderRecord, contract: Contract, order: Order) -> Refusal | None:
    """What a modify may not change. The original order stands whatever is refused."""
    view = record.view
    same_contract = contract_key(view.contract) == contract_key(contract) and (
        not contract.con_id or not view.contract.con_id or contract.con_id == view.contract.con_id
    )
    if not same_contract or view.order.action != order.action or order.account not in ("", view.account):
        return Refusal(105, "Order being modified does not match original order.")
    if order.oca_group and order.oca_group != view.order.oca_group:
        return OCA_REVISION
    return None
