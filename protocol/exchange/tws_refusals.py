"""What TWS itself refuses or remarks before any exchange sees an order, and to what its errors belong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from math import isfinite
from typing import TypeAlias

from protocol.exchange.tws_clients import NO_ID
from protocol.exchange.tws_settings import TwsSettings
from protocol.tws.messages import Contract, ErrorMessage, Order, PlaceOrder, UnknownRequest

Refusal: TypeAlias = tuple[int, str]
"""Code and text."""

NO_SECURITY_CODE = 200
NO_SECURITY = "No security definition has been found for the request"
VALIDATION_CODE = 321
SIZE_LIMIT_CODE = 383
ETRADE_ONLY_CODE = 10268
TIF_PRESET_CODE = 10349
TIF_PRESET = "Order TIF was set to DAY based on order preset."
LATE_CANCEL_CODE = 161
PRICE_BAND_CODE = 163
PRICE_BAND = "The price is beyond the limits of the exchange."
TOO_LATE_TO_REPLACE = 201, "Order rejected - reason:Order has been cancelled already, too late to replace"
MAX_QUANTITY = 1_000_000_000
"""Shares in one order: more than any company's float, and small enough for old clients' integers."""
MAX_ORDER_ID = 2_147_483_646
"""The largest integer of the protocol but one; the largest means that there is none."""


def validation(cause: str) -> Refusal:
    return VALIDATION_CODE, f"Error validating request.-'bF' : cause - {cause}"


ONLY_DEFAULT_CLIENT = validation("Only the default client (i.e 0) can auto bind orders.")


def late_cancel(perm_id: int) -> Refusal:
    """The order had ended when the cancel reached it."""
    text = f"Cancel attempted when order is not in a cancellable state.  Order permId ={perm_id}"
    return LATE_CANCEL_CODE, text


class OrderRefusals:
    """Judges placements, modifies included, by what TWS knows without asking anybody."""

    def __init__(self, settings: TwsSettings, account_names: Callable[[], tuple[str, ...]]) -> None:
        self._settings, self._account_names = settings, account_names

    def refusal(self, contract: Contract | None, request: PlaceOrder) -> Refusal | None:
        """`contract`: what the request's contract stands for; None when that is not known."""
        order = request.order
        if contract is None:
            return NO_SECURITY_CODE, NO_SECURITY
        if request.order_id > MAX_ORDER_ID:
            return validation("Invalid order id")
        if order.account and order.account not in self._account_names():
            return validation("Invalid account code")
        if not all(isfinite(number) for number in _numbers(order)):
            return validation("A number is not finite")
        if order.total_quantity > MAX_QUANTITY:
            return SIZE_LIMIT_CODE, f"Order size exceeds the limit of {MAX_QUANTITY} shares"
        if self._settings.reject_etrade_only and (order.e_trade_only or order.firm_quote_only):
            name = "EtradeOnly" if order.e_trade_only else "FirmQuoteOnly"
            return ETRADE_ONLY_CODE, f"The '{name}' order attribute is not supported."
        return None

    def remarks(self, request: PlaceOrder) -> tuple[ErrorMessage, ...]:
        """What is said of an order that goes on its way."""
        if request.order.tif or not self._settings.tif_preset_notice:
            return ()
        return (ErrorMessage(request.order_id, TIF_PRESET_CODE, TIF_PRESET),)


def _numbers(order: Order) -> Iterator[float | Decimal]:
    """What the venue calculates with; a client can write infinity and NaN on the wire."""
    yield order.total_quantity
    prices = (
        order.lmt_price, order.aux_price, order.trail_stop_price, order.trailing_percent,
        order.lmt_price_offset, order.starting_price, order.cash_qty,
    )  # fmt: skip
    for price in prices:
        if price is not None:
            yield price


# --- requests that could not be read ----------------------------------------------------------------

_ID_FIRST = frozenset(
    {3, 20, 78, 79, 81, 83, 84, 86, 87, 88, 89, 90, 92, 93, 94, 95, 96, 97, 98, 100, 101, 104}
)
_ID_BEHIND_VERSION = frozenset(
    {
        1, 2, 4, 7, 9, 10, 11, 21, 22, 23, 25, 50, 51, 52, 53, 54, 55, 56, 57,
        62, 63, 67, 68, 69, 70, 74, 75, 76, 77,
    }
)  # fmt: skip
_CANCEL_ORDER, _CANCEL_WITHOUT_VERSION_SINCE = 4, 192


def request_id(request: UnknownRequest, version: int) -> int:
    """The id that a request carries which could not be read otherwise; -1 when it has none."""
    message_id = request.message_id
    first = message_id in _ID_FIRST or (
        message_id == _CANCEL_ORDER and version >= _CANCEL_WITHOUT_VERSION_SINCE
    )
    if not first and message_id not in _ID_BEHIND_VERSION:
        return NO_ID
    place = 0 if first else 1
    text = request.fields[place] if len(request.fields) > place else ""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ORDER_ID))):
        return NO_ID
    number = int(text)
    return number if number <= MAX_ORDER_ID else NO_ID
