"""What TWS means by an error code, as data.

Most "errors" of the TWS API are notices. A code says which part of our picture it may touch: the link,
a market data farm, one subscription, one request. None of them says that an order is dead: that is for
`orderStatus`, or for a query, to say. Misreading a notice as a cancellation has made programs send the
same order again and again.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs


class CodeClass(enum.Enum):
    LINK_LOST = "link_lost"
    """TWS lost IBKR. Our session stands, orders live on; hold until it is restored."""
    LINK_RESTORED_DATA_LOST = "link_restored_data_lost"
    """Restored: reconcile, and subscribe to everything anew."""
    LINK_RESTORED = "link_restored"
    """Restored with all subscriptions: reconcile."""
    SOCKET = "socket"
    """The session with TWS itself is gone or never was; what was in flight is unknown."""
    CLIENT_ID_IN_USE = "client_id_in_use"
    """Try again with the same client id, later: another id could not modify our orders."""
    FARM_BROKEN = "farm_broken"
    """One data farm is off. Says nothing about orders."""
    FARM_OK = "farm_ok"
    FARM_INACTIVE = "farm_inactive"
    """A farm that sleeps until something is asked of it, or is just connecting."""
    MARKET_DATA = "market_data"
    """One subscription or one request for history, named by its id."""
    PACING = "pacing"
    """We send too fast; TWS disconnects those who go on."""
    ORDER_NOTICE = "order_notice"
    """A remark about a live order; 202 is the text of a cancellation, whose `orderStatus` counts."""
    ORDER_REFUSED = "order_refused"
    """A new order is refused; of a modify, that the order stands as it was."""
    REQUEST_REFUSED = "request_refused"
    """One request is refused. What it was about may well be alive: ask."""
    UNKNOWN = "unknown"
    """Not in the table: changes nothing by itself; ask, if it names an order."""


@attrs.frozen
class CodeMeaning:
    """`text` is ours, for people; what TWS wrote comes with the message."""

    code_class: CodeClass
    text: str


def _table(*rows: tuple[int, CodeClass, str]) -> Mapping[int, CodeMeaning]:
    table = {code: CodeMeaning(code_class, text) for code, code_class, text in rows}
    if len(table) != len(rows):
        raise ValueError("a code is in the table twice")
    return MappingProxyType(table)


C = CodeClass
CODES: Final = _table(
    (1100, C.LINK_LOST, "TWS has lost its connection to IBKR"),
    (2110, C.LINK_LOST, "TWS has lost its connection to the server and will restore it by itself"),
    (1101, C.LINK_RESTORED_DATA_LOST, "the connection to IBKR is back, subscriptions are lost"),
    (1102, C.LINK_RESTORED, "the connection to IBKR is back, subscriptions stand"),
    (1300, C.SOCKET, "the socket port was changed and this connection is being closed"),
    (502, C.SOCKET, "TWS cannot be reached"),
    (504, C.SOCKET, "not connected"),
    (507, C.SOCKET, "a message of a bad length was read"),
    (509, C.SOCKET, "the connection failed while reading"),
    (326, C.CLIENT_ID_IN_USE, "another connection uses this client id"),
    (2103, C.FARM_BROKEN, "a market data farm is disconnected"),
    (2105, C.FARM_BROKEN, "a historical data farm is disconnected"),
    (2157, C.FARM_BROKEN, "the security definition farm is disconnected"),
    (2104, C.FARM_OK, "a market data farm is connected"),
    (2106, C.FARM_OK, "a historical data farm is connected"),
    (2158, C.FARM_OK, "the security definition farm is connected"),
    (2107, C.FARM_INACTIVE, "a historical data farm sleeps until it is needed"),
    (2108, C.FARM_INACTIVE, "a market data farm sleeps until it is needed"),
    (2119, C.FARM_INACTIVE, "a market data farm is connecting"),
    (10182, C.MARKET_DATA, "live updates of a request have stopped: its farm was disconnected"),
    (10225, C.MARKET_DATA, "a bust event has ended a real-time request, which has to be made again"),
    (101, C.MARKET_DATA, "too many market data subscriptions"),
    (300, C.MARKET_DATA, "there is no market data request of this id"),
    (322, C.MARKET_DATA, "the request id is in use"),
    (354, C.MARKET_DATA, "this market data is not subscribed to"),
    (10089, C.MARKET_DATA, "this market data needs another subscription"),
    (10090, C.MARKET_DATA, "a part of this market data is not subscribed to"),
    (10167, C.MARKET_DATA, "this market data is not subscribed to; it comes delayed"),
    (10168, C.MARKET_DATA, "this market data is not subscribed to, and delayed data is not enabled"),
    (10186, C.MARKET_DATA, "this market data is not subscribed to, and delayed data is not enabled"),
    (10190, C.MARKET_DATA, "too many tick-by-tick requests"),
    (10197, C.MARKET_DATA, "no market data while another session of this user takes it"),
    (162, C.MARKET_DATA, "the historical data service refused a request, perhaps for its pace"),
    (165, C.MARKET_DATA, "a notice of the historical data service"),
    (366, C.MARKET_DATA, "there is no historical data request of this id"),
    (420, C.MARKET_DATA, "a real-time request was refused, perhaps for its pace"),
    (100, C.PACING, "more messages per second than TWS takes"),
    (202, C.ORDER_NOTICE, "the order was cancelled, with the reason; its status says so too"),
    (399, C.ORDER_NOTICE, "a warning about an order that stands"),
    (404, C.ORDER_NOTICE, "the order is held while shares to sell short are located"),
    (2109, C.ORDER_NOTICE, "the flag for trading outside regular hours is ignored"),
    (2168, C.ORDER_NOTICE, "the eTradeOnly attribute is ignored"),
    (2169, C.ORDER_NOTICE, "the firmQuoteOnly attribute is ignored"),
    (10349, C.ORDER_NOTICE, "the time in force was set by the order preset"),
    (103, C.ORDER_REFUSED, "the order id was used before"),
    (110, C.ORDER_REFUSED, "the price is not on the contract's grid"),
    (163, C.ORDER_REFUSED, "the price is further from the market than the order settings allow"),
    (200, C.ORDER_REFUSED, "no such contract"),
    (201, C.ORDER_REFUSED, "the order was rejected, with the reason"),
    (203, C.ORDER_REFUSED, "this account may not trade the security"),
    (328, C.ORDER_REFUSED, "a trailing stop can only be attached to a limit or stop-limit order"),
    (343, C.ORDER_REFUSED, "a date or time of the order cannot be read"),
    (383, C.ORDER_REFUSED, "the size is beyond the limit set in TWS"),
    (387, C.ORDER_REFUSED, "the order type is not offered for this contract"),
    (388, C.ORDER_REFUSED, "the size is below the smallest of the contract"),
    (434, C.ORDER_REFUSED, "the size cannot be zero"),
    (460, C.ORDER_REFUSED, "no permission to trade this"),
    (10052, C.ORDER_REFUSED, "the time in force is not valid"),
    (10244, C.ORDER_REFUSED, "an amount of cash cannot be used as the size"),
    (10268, C.ORDER_REFUSED, "the eTradeOnly attribute is not supported"),
    (10289, C.ORDER_REFUSED, "the order is refused as it is set up; TWS says what it lacks"),
    (10293, C.ORDER_REFUSED, "the order is refused as it is set up; TWS says what it lacks"),
    (104, C.REQUEST_REFUSED, "a filled order cannot be modified"),
    (105, C.REQUEST_REFUSED, "the modify does not match the order, which stands as it was"),
    (135, C.REQUEST_REFUSED, "there is no order of this id"),
    (161, C.REQUEST_REFUSED, "the order is not in a state to be cancelled"),
    (321, C.REQUEST_REFUSED, "the request is not valid"),
    (329, C.REQUEST_REFUSED, "the order type cannot be changed"),
    (10147, C.REQUEST_REFUSED, "the order to cancel is not found"),
    (10148, C.REQUEST_REFUSED, "the order to cancel cannot be cancelled in its state"),
    (10285, C.REQUEST_REFUSED, "the request needs a client that knows fractional sizes"),
    (10326, C.REQUEST_REFUSED, "the OCA group cannot be revised"),
)

_UNKNOWN: Final = CodeMeaning(CodeClass.UNKNOWN, "not in the table of codes")


def meaning(code: int) -> CodeMeaning:
    """What `code` means, with a text for people."""
    return CODES.get(code, _UNKNOWN)


def classify(code: int, overrides: Mapping[int, CodeClass] = MappingProxyType({})) -> CodeClass:
    """The class of `code`. `overrides`, from the configuration, win over the table."""
    return overrides.get(code) or meaning(code).code_class
