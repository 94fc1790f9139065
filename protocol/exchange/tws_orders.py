"""Orders, executions and commissions of the venue as the messages in which TWS tells them.

In which order they come is in `tws_sequences`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import attrs

from protocol.exchange.book import Completion
from protocol.exchange.happenings import Status, VenueExecution, VenueOrder
from protocol.exchange.tws_text import NEW_YORK, read_time, write_time
from protocol.tws.messages import (
    CommissionReport,
    CompletedOrder,
    ErrorMessage,
    ExecDetails,
    Execution,
    ExecutionFilter,
    OpenOrder,
    Order,
    OrderState,
    OrderStatus,
    ServerMessage,
)

LIVE = frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED, Status.PENDING_CANCEL})
"""The states of orders that open-order requests list; a held order (`transmit` False) is not told."""

ADDED_LIQUIDITY, REMOVED_LIQUIDITY = 1, 2

CANCELLED_CODE = 202

MAX_DAYS = 7
"""More than these TWS does not keep executions for."""


def is_manual(order: VenueOrder) -> bool:
    """Placed at TWS's own screen, and bound to no client since."""
    return order.client_id == 0 and order.order_id == 0


def open_order(order: VenueOrder, commission: Decimal | None = None) -> OpenOrder:
    """One openOrder echo; `commission` is known only of a filled order."""
    state = OrderState(
        status=order.status.value,
        commission=None if commission is None else float(commission),
        commission_currency="" if commission is None else "USD",
    )
    return OpenOrder(order.order_id, order.contract, _echo(order), state)


def order_status(order: VenueOrder, status: Status | None = None) -> OrderStatus:
    return OrderStatus(
        order_id=order.order_id,
        status=(status or order.status).value,
        filled=Decimal(order.filled),
        remaining=Decimal(order.remaining),
        avg_fill_price=order.avg_fill_price,
        perm_id=order.perm_id,
        parent_id=order.order.parent_id,
        last_fill_price=order.last_fill_price,
        client_id=order.client_id,
        why_held=order.why_held,
    )


def echo(order: VenueOrder) -> tuple[ServerMessage, ...]:
    """openOrder and orderStatus: how TWS says that an order is as it is now."""
    return (open_order(order), order_status(order))


def held_until_open(order: VenueOrder, opens: datetime) -> ErrorMessage:
    """399, the notice that an order placed out of hours waits for the session."""
    what = f"{order.order.action} {int(order.order.total_quantity)} {order.contract.symbol} NASDAQ.NMS"
    when = write_time(opens, 178)
    return ErrorMessage(
        order.order_id,
        399,
        f"Order Message:\n{what}\nWarning: Your order will not be placed at the exchange until {when}.",
    )


def exec_details(execution: VenueExecution, version: int, req_id: int = -1) -> ExecDetails:
    """An execution, live (`req_id` -1) or as the answer to a request; its exchange is where it traded."""
    told = _told_live(execution, version)
    return told if req_id == -1 else ExecDetails(req_id, told.contract, told.execution)


@functools.lru_cache(maxsize=4096)
def _told_live(execution: VenueExecution, version: int) -> ExecDetails:
    """Kept, since whoever polls is told all executions of the day each time."""
    return ExecDetails(
        -1,
        attrs.evolve(execution.contract, exchange=execution.exchange),
        Execution(
            exec_id=execution.exec_id,
            time=write_time(execution.at, version),
            acct_number=execution.account,
            exchange=execution.exchange,
            side=execution.side,
            shares=Decimal(execution.quantity),
            price=float(execution.price),
            perm_id=execution.perm_id,
            client_id=execution.client_id,
            order_id=execution.order_id,
            cum_qty=Decimal(execution.cum_quantity),
            avg_price=execution.avg_price,
            order_ref=execution.order_ref,
            last_liquidity=REMOVED_LIQUIDITY,
        ),
    )


def commission_report(exec_id: str, commission: Decimal, realized_pnl: Decimal | None) -> CommissionReport:
    realized = None if realized_pnl is None else float(realized_pnl)
    return CommissionReport(exec_id, float(commission), "USD", realized)


def completed_order(completion: Completion) -> CompletedOrder:
    """A terminal order; a filled one says total quantity 0 (capture: api_completed_orders_variants)."""
    order = completion.order
    shown = attrs.evolve(_echo(order), client_id=0)
    if order.status is Status.FILLED:
        shown, ending = attrs.evolve(shown, total_quantity=Decimal(0)), f"Filled Size: {order.filled}"
    elif completion.reason:
        ending = f"Cancelled by System:\n{completion.reason}"
    else:
        ending = "Cancelled by Trader"
    state = OrderState(
        status=order.status.value, completed_time=write_time(completion.at, 178), completed_status=ending
    )
    return CompletedOrder(order.contract, shown, state, Decimal(order.filled))


def days_of(wanted: ExecutionFilter, at: datetime, usual_days: int) -> Callable[[VenueExecution], bool]:
    """Whether an execution is of the days that are asked for: by name, so many with today, or the usual."""
    if wanted.specific_dates:
        dates = frozenset(wanted.specific_dates)
        return lambda execution: f"{execution.at.astimezone(NEW_YORK):%Y%m%d}" in dates
    midnight = at.astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0)
    days = usual_days if wanted.last_n_days is None else min(max(wanted.last_n_days, 1), MAX_DAYS)
    since = midnight - timedelta(days=days - 1)
    return lambda execution: execution.at >= since


def matches(wanted: ExecutionFilter, execution: VenueExecution) -> bool:
    """Whether an execution passes the filter of reqExecutions; an empty field lets everything pass."""
    since = read_time(wanted.time) if wanted.time else None
    side = {"BUY": "BOT", "SELL": "SLD", "SSHORT": "SLD"}.get(wanted.side.upper(), wanted.side.upper())
    return (
        wanted.client_id in (0, execution.client_id)
        and wanted.account in ("", execution.account)
        and (since is None or execution.at >= since)
        and wanted.symbol in ("", execution.contract.symbol)
        and wanted.sec_type in ("", execution.contract.sec_type)
        and wanted.exchange in ("", "SMART", execution.exchange)
        and side in ("", execution.side)
    )


def _echo(order: VenueOrder) -> Order:
    """The order as TWS gives it back: with its ids and account, prices 0.0 where none is set."""
    given = order.order
    return attrs.evolve(
        given,
        lmt_price=given.lmt_price if given.lmt_price is not None else 0.0,
        aux_price=given.aux_price if given.aux_price is not None else 0.0,
        tif=given.tif or "DAY",
        oca_type=given.oca_type or 3,
        account=order.account,
        client_id=order.client_id,
        perm_id=order.perm_id,
    )
