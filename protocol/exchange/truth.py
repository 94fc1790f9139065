"""The truth file: what the venue knows, one JSON object a line, as it happens.

Every line has `t` (market time), `mono` (seconds of the machine's monotonic clock), `connected` (client ids)
and `kind`. Order lines all carry the same keys, null where the venue has nothing to say; changes that the
venue itself made are `order_modified` with a `why`. Prices and money are JSON numbers. `contract` is the
key of `contract_key`. An execution that the exchange corrects or takes back (quantity 0) is told as
`correction`, with the id that it `replaces`, the order's new total and a commission and position of its own.
From these lines alone every order, execution, position and balance can be rebuilt.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias, assert_never

import attrs
import orjson

from protocol.exchange.account import AccountBooks, VenuePosition
from protocol.exchange.contract_key import contract_key, multiplier_of
from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    ExecutionCorrected,
    Happening,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderModified,
    OrderRejected,
    OrderTriggered,
    PositionChanged,
    VenueExecution,
    VenueOrder,
)
from protocol.exchange.tws_order_desk import Noted
from protocol.tws.messages import PlaceOrder


class Kind(enum.Enum):
    CLIENT_CONNECTED = "client_connected"
    CLIENT_DISCONNECTED = "client_disconnected"
    ORDER_ACCEPTED = "order_accepted"
    ORDER_MODIFIED = "order_modified"
    ORDER_REJECTED = "order_rejected"
    ORDER_CANCELLED = "order_cancelled"
    ORDER_TRIGGERED = "order_triggered"
    EXECUTION = "execution"
    CORRECTION = "correction"
    COMMISSION = "commission"
    POSITION = "position"
    FAULT = "fault"
    END = "end"


@attrs.frozen
class Moment:
    """When a line was written: the market's time, the machine's, and who was connected."""

    at: datetime
    mono_s: float
    connected: tuple[int, ...]


_Object: TypeAlias = dict[str, object]

_ORDER_KEYS = (
    "client_id", "order_id", "perm_id", "order_ref", "symbol", "action", "type", "quantity", "filled",
    "limit", "stop", "parent_perm_id", "oca_group", "status", "account", "tif", "why_held", "contract",
    "sec_type", "oca_type", "trail_stop", "trailing_percent", "limit_offset", "good_till", "good_after",
    "outside_rth", "all_or_none", "min_quantity",
)  # fmt: skip


def happening_line(noted: Noted, moment: Moment) -> bytes:
    """What has happened at the venue; its own market time is told, not the moment's."""
    kind, told = _describe(noted.happening, noted.request)
    return _line(attrs.evolve(moment, at=noted.happening.at), kind, told)


def client_line(moment: Moment, client_id: int, *, came: bool) -> bytes:
    return _line(
        moment, Kind.CLIENT_CONNECTED if came else Kind.CLIENT_DISCONNECTED, {"client_id": client_id}
    )


def fault_line(moment: Moment, fault: str, what: str) -> bytes:
    """Something was done to the simulated TWS on purpose, to see how its clients bear it."""
    return _line(moment, Kind.FAULT, {"fault": fault, "what": what})


def end_line(
    moment: Moment,
    accounts: Iterable[AccountBooks],
    positions: Iterable[VenuePosition],
    open_orders: Iterable[VenueOrder],
) -> bytes:
    """The books as they are when the program ends."""
    accounts = tuple(accounts)
    return _line(
        moment,
        Kind.END,
        {
            "cash": float(sum(books.cash for books in accounts)),
            "accounts": [_account(books) for books in accounts],
            "positions": [_position(position) for position in positions],
            "open_orders": [_order(order) for order in open_orders],
        },
    )


def _line(moment: Moment, kind: Kind, told: _Object) -> bytes:
    head: dict[str, object] = {
        "t": moment.at,
        "mono": moment.mono_s,
        "connected": moment.connected,
        "kind": kind.value,
    }
    return orjson.dumps(head | told, option=orjson.OPT_APPEND_NEWLINE)


def _describe(happening: Happening, request: PlaceOrder | None) -> tuple[Kind, _Object]:
    match happening:
        case OrderAccepted(order=order):
            return Kind.ORDER_ACCEPTED, _order(order)
        case OrderModified(order=order):
            return Kind.ORDER_MODIFIED, _order(order)
        case OrderTriggered(order=order):
            return Kind.ORDER_TRIGGERED, _order(order)
        case OrderChanged(order=order, why=why):
            return Kind.ORDER_MODIFIED, _order(order) | {"why": why}
        case OrderCancelled(order=order, reason=reason, by_client=by_client):
            return Kind.ORDER_CANCELLED, _order(order) | {"reason": reason, "by_client": by_client}
        case OrderRejected():
            return Kind.ORDER_REJECTED, _rejected(happening, request)
        case Executed():
            return Kind.EXECUTION, _execution(happening.execution)
        case ExecutionCorrected(order=order, execution=execution, replaces=replaces):
            told = _execution(execution) | {"replaces": replaces}
            return Kind.CORRECTION, told | {"order_quantity": int(order.order.total_quantity)}
        case CommissionCharged(exec_id=exec_id, commission=commission, realized_pnl=realized):
            charged: _Object = {"exec_id": exec_id, "commission": float(commission)}
            return Kind.COMMISSION, charged | {"realized_pnl": None if realized is None else float(realized)}
        case PositionChanged():
            return Kind.POSITION, {
                "account": happening.account,
                "symbol": happening.contract.symbol,
                "contract": contract_key(happening.contract),
                "position": happening.quantity,
                "average_cost": float(happening.average_cost),
                "realized_pnl": float(happening.realized_pnl),
                "commission": float(happening.commission),
            }
        case _:
            assert_never(happening)


def _order(order: VenueOrder) -> _Object:
    asked = order.order
    return {
        "client_id": order.client_id,
        "order_id": order.order_id,
        "perm_id": order.perm_id,
        "order_ref": asked.order_ref,
        "symbol": order.contract.symbol,
        "action": asked.action,
        "type": asked.order_type,
        "quantity": int(asked.total_quantity),
        "filled": order.filled,
        "limit": asked.lmt_price,
        "stop": asked.aux_price,
        "parent_perm_id": order.parent_perm_id,
        "oca_group": asked.oca_group,
        "status": order.status.value,
        "account": order.account,
        "tif": asked.tif or "DAY",
        "why_held": order.why_held,
        "contract": contract_key(order.contract),
        "sec_type": order.contract.sec_type or "STK",
        "oca_type": asked.oca_type,
        "trail_stop": asked.trail_stop_price,
        "trailing_percent": asked.trailing_percent,
        "limit_offset": asked.lmt_price_offset,
        "good_till": asked.good_till_date,
        "good_after": asked.good_after_time,
        "outside_rth": asked.outside_rth,
        "all_or_none": asked.all_or_none,
        "min_quantity": asked.min_qty,
    }


def _rejected(rejected: OrderRejected, request: PlaceOrder | None) -> _Object:
    told = dict.fromkeys(_ORDER_KEYS) if rejected.order is None else _order(rejected.order)
    if rejected.order is None and request is not None:
        asked = request.order
        told |= {
            "order_ref": asked.order_ref,
            "symbol": request.contract.symbol,
            "action": asked.action,
            "type": asked.order_type,
            "quantity": float(asked.total_quantity),
            "limit": asked.lmt_price,
            "stop": asked.aux_price,
            "oca_group": asked.oca_group,
            "account": asked.account,
            "tif": asked.tif,
        }
    told |= {"client_id": rejected.client_id, "order_id": rejected.order_id}
    return told | {"code": rejected.code, "text": rejected.text}


def _execution(execution: VenueExecution) -> _Object:
    return {
        "exec_id": execution.exec_id,
        "perm_id": execution.perm_id,
        "client_id": execution.client_id,
        "order_id": execution.order_id,
        "order_ref": execution.order_ref,
        "account": execution.account,
        "symbol": execution.contract.symbol,
        "side": execution.side,
        "quantity": execution.quantity,
        "price": float(execution.price),
        "cum_quantity": execution.cum_quantity,
        "contract": contract_key(execution.contract),
        "multiplier": float(multiplier_of(execution.contract)),
    }


def _account(books: AccountBooks) -> _Object:
    return {
        "account": books.account,
        "cash": float(books.cash),
        "net_liquidation": float(books.net_liquidation),
        "realized_pnl": float(books.realized_pnl),
        "commission": float(books.commission),
    }


def _position(position: VenuePosition) -> _Object:
    return {
        "account": position.account,
        "symbol": position.contract.symbol,
        "contract": contract_key(position.contract),
        "position": position.quantity,
        "average_cost": float(position.average_cost),
        "realized_pnl": float(position.realized_pnl),
        "commission": float(position.commission),
    }
