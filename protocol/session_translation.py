"""The broker session's two languages: our orders as TWS orders, TWS's words as our reports. Pure mappings."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from protocol.reports import ExecutionReport, OrderReport
from protocol.tws import messages as tws
from protocol.values import OrderRef, OrderSpec, OrderStatus, OrderType, Side, Symbol, exact

STATUS: Final[dict[str, OrderStatus]] = {
    "ApiPending": OrderStatus.ACCEPTED,
    "PendingSubmit": OrderStatus.PENDING_SUBMIT,
    "PreSubmitted": OrderStatus.ACCEPTED,
    "Submitted": OrderStatus.SUBMITTED,
    "PendingCancel": OrderStatus.PENDING_CANCEL,
    "ApiCancelled": OrderStatus.CANCELLED,
    "Cancelled": OrderStatus.CANCELLED,
    "Filled": OrderStatus.FILLED,
    "Partially Filled": OrderStatus.PARTIALLY_FILLED,
    "Inactive": OrderStatus.INACTIVE,
}
"""The status words of TWS. A word that is not here changes nothing (an unknown status is asked about)."""

WORKING: Final = frozenset(
    {
        OrderStatus.PENDING_SUBMIT,
        OrderStatus.ACCEPTED,
        OrderStatus.SUBMITTED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.PENDING_CANCEL,
    }
)
DEAD: Final = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED})
"""Inactive is in neither: TWS also calls an order so that waits for a locate, and may revive it."""

_LIMITED: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_STOPPED: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_TYPES: Final[dict[str, OrderType]] = {kind.value: kind for kind in OrderType} | {
    "STPLMT": OrderType.STOP_LIMIT
}


def stock(symbol: Symbol, con_id: int = 0) -> tws.Contract:
    return tws.Contract(con_id=con_id, symbol=symbol, sec_type="STK", exchange="SMART", currency="USD")


def to_tws(spec: OrderSpec, account: str, parent_id: int, *, transmit: bool) -> tws.Order:
    """The order as placeOrder carries it. Everything that a TWS preset could fill in is said explicitly."""
    return tws.Order(
        action=spec.side.value,
        total_quantity=Decimal(spec.quantity),
        order_type=spec.type.value,
        lmt_price=None if spec.limit_price is None else float(spec.limit_price),
        aux_price=_aux_price(spec),
        tif=spec.tif.value,
        oca_group=spec.oca_group,
        oca_type=spec.oca_type,
        account=account,
        order_ref=str(spec.ref),
        transmit=transmit,
        parent_id=parent_id,
        outside_rth=spec.outside_rth,
        good_till_date="" if spec.good_till is None else _time_text(spec.good_till),
        good_after_time="" if spec.good_after is None else _time_text(spec.good_after),
        trailing_percent=None if spec.trail_fraction is None else float(spec.trail_fraction * 100),
    )


def _aux_price(spec: OrderSpec) -> float | None:
    """The stop's price, or the dollars by which a trailing one follows."""
    price = spec.trail_amount if spec.type is OrderType.TRAILING else spec.stop_price
    return None if price is None else float(price)


def _time_text(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%d %H:%M:%S} UTC"


def order_type(name: str) -> OrderType | None:
    return _TYPES.get(name)


def price_fields(
    kind: OrderType, limit: float | None, stop: float | None
) -> tuple[Decimal | None, Decimal | None]:
    """Limit and stop price where the type has them: TWS echoes 0.0, or a guess, in those it has not."""
    limit_price = exact(limit) if kind in _LIMITED and limit else None
    stop_price = exact(stop) if kind in _STOPPED and stop else None
    return limit_price, stop_price


def report_of_spec(spec: OrderSpec, at: datetime, status: OrderStatus, *, filled: int = 0) -> OrderReport:
    """An order in our own words, for as long as the broker has said nothing about it."""
    return OrderReport(
        at,
        spec.ref,
        0,
        status,
        spec.side,
        spec.type,
        spec.quantity,
        filled,
        spec.limit_price,
        spec.stop_price,
    )


def report_of_order(
    message: tws.OpenOrder | tws.CompletedOrder, ref: OrderRef, at: datetime
) -> OrderReport | None:
    """An openOrder as a report; None when it has a type or status that we do not know.

    `filled` is not part of openOrder, and is left 0 unless the order has filled. A completed order that
    filled says quantity 0, its size is in `filled_quantity`.
    """
    order = message.order
    kind, status = order_type(order.order_type), STATUS.get(message.state.status)
    if kind is None or status is None or order.action not in ("BUY", "SELL", "SSHORT"):
        return None
    limit_price, stop_price = price_fields(kind, order.lmt_price, order.aux_price)
    filled = int(message.filled_quantity) if isinstance(message, tws.CompletedOrder) else 0
    if status is OrderStatus.FILLED:
        filled = max(filled, int(order.total_quantity))
    return OrderReport(
        at,
        ref,
        order.perm_id,
        status,
        Side.BUY if order.action == "BUY" else Side.SELL,
        kind,
        int(order.total_quantity) or filled,
        filled,
        limit_price,
        stop_price,
    )


def report_of_execution(
    message: tws.ExecDetails, symbol: Symbol, ref: OrderRef | None, at: datetime
) -> ExecutionReport:
    execution = message.execution
    return ExecutionReport(
        at,
        symbol,
        execution.exec_id,
        ref,
        execution.perm_id,
        Side.BUY if execution.side == "BOT" else Side.SELL,
        int(execution.shares),
        exact(execution.price),
        # IBKR, Execution class: whether it was an IB-initiated liquidation.
        liquidation=execution.liquidation != 0,
    )


def root_of(exec_id: str) -> tuple[str, str]:
    """An execution id as (root, revision): a correction has the same root and a higher revision."""
    root, _, revision = exec_id.rpartition(".")
    return root, revision
