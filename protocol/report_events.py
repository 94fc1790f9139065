"""What the broker tells of an order or an execution, as the event that the journal keeps of it."""

from __future__ import annotations

from datetime import datetime

from protocol.events import FillEvent, ForeignFillEvent, HoldEvent, OrderStatusEvent, RejectEvent
from protocol.reports import ExecutionReport, OrderReport, RequestKind, RequestRefused
from protocol.values import OrderRef


def hold_event(report: ExecutionReport, at: datetime) -> HoldEvent:
    """What somebody else's trade leads to: no entries until a person resumes the symbol."""
    reason = f"somebody else traded {report.symbol} ({report.side.value} {report.quantity})"
    return HoldEvent(at=at, cause=report.exec_id, symbol=report.symbol, reason=reason)


def fill_event(report: ExecutionReport, at: datetime) -> FillEvent | ForeignFillEvent:
    """Of one of our orders, or of somebody else's."""
    if report.ref is None:
        return ForeignFillEvent(
            at=at, cause=report.exec_id, symbol=report.symbol, exec_id=report.exec_id, side=report.side,
            quantity=report.quantity, price=report.price, liquidation=report.liquidation,
        )  # fmt: skip
    return FillEvent(
        at=at, cause=report.exec_id, ref=report.ref, exec_id=report.exec_id, side=report.side,
        quantity=report.quantity, price=report.price, perm_id=report.perm_id,
    )  # fmt: skip


def status_event(report: OrderReport, at: datetime, *, adopted: bool = False) -> OrderStatusEvent:
    """`adopted`: it is from a look at the books, not from an order that moved just now."""
    return OrderStatusEvent(
        at=at, cause=str(report.perm_id), ref=report.ref, status=report.status, perm_id=report.perm_id,
        quantity=report.quantity, filled=report.filled, limit_price=report.limit_price,
        stop_price=report.stop_price, why_held=report.why_held, adopted=adopted,
    )  # fmt: skip


def refusal_event(report: RequestRefused, at: datetime) -> RejectEvent:
    return RejectEvent(
        at=at, cause=str(report.code), ref=report.ref, request=report.request.value, code=report.code,
        reason=report.reason, terminal=report.terminal,
    )  # fmt: skip


def lost_event(ref: OrderRef, at: datetime, reason: str = "the broker has never had it") -> RejectEvent:
    """Of an order that is known never to have arrived."""
    return RejectEvent(
        at=at, cause=reason, ref=ref, request=RequestKind.PLACE.value, code=0, reason=reason, terminal=True
    )
