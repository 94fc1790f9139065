"""Where a position is in its life, and what that means: told by its orders and what is held, nothing else.

The rules' fact `state` and the position book read it from here, so that both always say the same.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs

from protocol.linked_orders import LinkedOrders
from protocol.values import MAIN, SCALE, OrderStatus, Purpose, Side

if TYPE_CHECKING:
    from protocol.symbol_state import SymbolState


class PositionStatus(enum.Enum):
    """The seeds' states of a position."""

    PLANNED = "planned"
    OPENING = "opening"
    OPEN = "open"
    ADJUSTING = "adjusting"
    CLOSING = "closing"
    CLOSED = "closed"


P = PositionStatus


@attrs.frozen
class StatusMeaning:
    """What a status means, and the events that lead there, by their names."""

    meaning: str
    led_by: tuple[str, ...]


STATUSES: Final[Mapping[PositionStatus, StatusMeaning]] = MappingProxyType(
    {
        P.PLANNED: StatusMeaning(
            "entered by a rule, the broker has not taken the entry yet; or a reversal waits for its entry",
            ("PositionOpenEvent", "PositionCloseEvent"),
        ),
        P.OPENING: StatusMeaning(
            "the broker has the entry, and it has not filled whole",
            ("OrderStatusEvent", "FillEvent"),
        ),
        P.OPEN: StatusMeaning(
            "the entry has ended, a position is held, and its exits are as they were asked for",
            ("FillEvent", "OrderStatusEvent"),
        ),
        P.ADJUSTING: StatusMeaning(
            "an exit is being changed or put back, or an addition at the market works",
            ("ModifyOrderEvent", "NewOrderEvent", "FillEvent"),
        ),
        P.CLOSING: StatusMeaning(
            "it is being closed, or is flat already and the last of its orders are being cancelled",
            ("PositionUpdateEvent", "FillEvent"),
        ),
        P.CLOSED: StatusMeaning(
            "flat, no order works, and the context of the trade is gone",
            ("PositionCloseEvent",),
        ),
    }
)

_NOT_ACCEPTED: Final = frozenset({OrderStatus.CREATED, OrderStatus.PENDING_SUBMIT})


def status_of(state: SymbolState) -> PositionStatus | None:
    """Where the live trade of a symbol is; None without one."""
    trade = state.trade
    if trade is None:
        return None if state.pending is None else P.PLANNED
    if trade.closing is not None or trade.flat_since is not None:
        return P.CLOSING
    held, accepted, changing = state.position.quantity != 0, False, False
    for order in trade.orders:
        if not order.live:
            continue
        if order.spec.purpose is not Purpose.ENTRY:
            changing = changing or (held and not order.as_asked)
        elif order.spec.ref.role == MAIN and held:
            return P.OPENING
        else:
            accepted = accepted or order.status not in _NOT_ACCEPTED
            changing = changing or order.spec.ref.role == SCALE
    if not held:
        return P.OPENING if accepted else P.PLANNED
    return P.ADJUSTING if changing else P.OPEN


def working_stop(trade: LinkedOrders) -> Decimal | None:
    """The price of the trade's own stop, while it works."""
    stop = trade.exit(Purpose.STOP, 0)
    return None if stop is None or not stop.live else stop.spec.stop_price


def nearest_target(trade: LinkedOrders) -> Decimal | None:
    """The price of the target that comes first: the lowest of a long trade, the highest of a short one."""
    prices = [
        order.spec.limit_price
        for order in trade.live_exits
        if order.purpose is Purpose.TARGET and order.spec.limit_price is not None
    ]
    nearest = min if trade.side is Side.BUY else max
    return nearest(prices) if prices else None
