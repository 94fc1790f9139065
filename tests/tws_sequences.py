"""What a client of the simulated TWS hears, message by message, as one short line each.

Every message goes through the codec and back first, so that a line says what is really on the wire.
Permanent ids are counted from the first of the venue: `#1`.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from protocol.exchange.book import FIRST_PERM_ID
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from protocol.tws.codec import decode_server, encode_server
from tests.tws_faces import Face, limit_order, market_order

VERSION = 178

FARMS = [
    "error -1 2104 Market data farm connection is OK:usfarm",
    "error -1 2106 HMDS data farm connection is OK:ushmds",
    "error -1 2158 Sec-def data farm connection is OK:secdefnj",
]
RESTS = ["openOrder 1 Submitted BUY 100 LMT 24.0", "orderStatus 1 Submitted 0+100 #1"]
"""An order to buy 100 at 24.0 that has been taken."""


def lines(messages: Iterable[m.ServerMessage]) -> list[str]:
    """As `openOrder 1 Submitted BUY 100 LMT 24.0`."""
    return [_line(on_the_wire(message)) for message in messages]


def on_the_wire(message: m.ServerMessage) -> m.ServerMessage:
    decoded = decode_server(VERSION, encode_server(VERSION, message))
    assert decoded is not None
    return decoded


def connected(
    settings: TwsSettings | None = None,
    *,
    size: int = 1000,
    client_id: int = 1,
    venue: VenueSettings | None = None,
) -> Face:
    """A client of a TWS whose SLV stands at 25.00 to 25.02, `size` shares on either side."""
    face = Face(settings, venue=venue)
    face.connect(client_id)
    face.quote(25.0, 25.02, size=size)
    return face


def stop_order(action: str, quantity: int, price: float) -> m.Order:
    return attrs.evolve(market_order(action, quantity), order_type="STP", aux_price=price)


def bracket(face: Face, entry: m.Order) -> list[str]:
    assert face.place(1, attrs.evolve(entry, transmit=False)) == []
    target = attrs.evolve(limit_order("SELL", 100, 27.0, "GTC"), parent_id=1, transmit=False)
    assert face.place(2, target) == []
    stop = attrs.evolve(stop_order("SELL", 100, 24.0), parent_id=1, tif="GTC")
    return lines(face.place(3, stop))


def _line(message: m.ServerMessage) -> str:
    match message:
        case m.OpenOrder():
            return f"openOrder {message.order_id} {message.state.status} {_order(message)}"
        case m.OrderStatus():
            return _status(message)
        case m.ExecDetails(req_id=req_id, execution=execution):
            asked = "" if req_id == -1 else f" (request {req_id})"
            return (
                f"execDetails {execution.order_id} {_perm(execution.perm_id)} {execution.side} "
                f"{execution.shares} at {execution.price} of {execution.cum_qty} "
                f"{_exec(execution.exec_id)}{asked}"
            )
        case m.CommissionReport(exec_id=exec_id, commission=commission, realized_pnl=realized):
            profit = "opens" if realized is None else f"{realized:g}"
            return f"commissionReport {_exec(exec_id)} {commission:g} {profit}"
        case m.CompletedOrder(order=order, state=state):
            return (
                f"completedOrder {_perm(order.perm_id)} {state.status} {order.total_quantity} "
                f"filled {message.filled_quantity} {state.completed_time}: {state.completed_status}"
            )
        case m.ErrorMessage():
            return f"error {message.id} {message.code} {message.text}"
        case m.NextValidId(order_id=order_id):
            return f"nextValidId {order_id}"
        case m.ManagedAccounts(accounts=accounts):
            return f"managedAccounts {','.join(accounts)}"
        case m.OrderBound():
            return f"orderBound {_perm(message.perm_id)} to {message.client_id}/{message.order_id}"
        case _:
            return type(message).__name__


def _order(message: m.OpenOrder) -> str:
    order = message.order
    words = [f"{order.action} {order.total_quantity} {order.order_type} {order.lmt_price}"]
    if order.aux_price:
        words.append(f"aux {order.aux_price}")
    if order.parent_id:
        words.append(f"child of {order.parent_id}")
    if order.oca_group:
        group = _perm(int(order.oca_group)) if order.oca_group.isdecimal() else order.oca_group
        words.append(f"oca {group} type {order.oca_type}")
    if message.state.commission is not None:
        words.append(f"cost {message.state.commission:g}")
    return " ".join(words)


def _status(message: m.OrderStatus) -> str:
    words = [f"orderStatus {message.order_id} {message.status} {message.filled}+{message.remaining}"]
    if message.filled:
        words.append(f"avg {message.avg_fill_price:g} last {message.last_fill_price:g}")
    words.append(_perm(message.perm_id))
    if message.why_held:
        words.append(f"({message.why_held})")
    return " ".join(words)


def _perm(perm_id: int) -> str:
    return f"#{perm_id - FIRST_PERM_ID + 1}"


def _exec(exec_id: str) -> str:
    """Number and revision: `e1.01`."""
    first, _, _, revision = exec_id.split(".")
    return f"e{int(first, 16)}.{revision}"
