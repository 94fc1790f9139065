"""An execution that the broker tells, as the event that counts it."""

from __future__ import annotations

from datetime import datetime

from protocol.events import FillEvent, ForeignFillEvent, HoldEvent
from protocol.reports import ExecutionReport


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
