"""An execution that the broker tells, as the event that counts it."""

from __future__ import annotations

from datetime import datetime

from protocol.events import FillEvent, ForeignFillEvent
from protocol.reports import ExecutionReport


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
