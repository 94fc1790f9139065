"""Every execution that the broker has told us of, each id once, and the positions they make."""

from __future__ import annotations

from collections.abc import Mapping

from protocol.reports import CommissionCharged, ExecutionReport
from protocol.session_translation import root_of
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import OrderRef, Symbol, exact


class Executions:
    """A correction has the same root as what it corrects and a higher revision, and takes its place."""

    def __init__(self) -> None:
        self._by_id: dict[str, ExecutionReport] = {}
        self._latest: dict[str, ExecutionReport] = {}
        self._charged: set[str] = set()
        self._early: dict[str, tws.CommissionReport] = {}
        self._by_order: dict[OrderRef, int] = {}
        self.positions: dict[Symbol, int] = {}
        """What we believe: the broker's word once, every new execution since. Signed shares."""

    def executed(self) -> Mapping[OrderRef, int]:
        """Shares of each of our orders so far."""
        return self._by_order

    def get(self, exec_id: str) -> ExecutionReport | None:
        return self._by_id.get(exec_id)

    def add(self, report: ExecutionReport, out: Outbox) -> bool:
        """Tell the symbol of an execution that is new, whatever state the link or its order is in."""
        if report.exec_id in self._by_id:
            return False
        self._by_id[report.exec_id] = report
        root, revision = root_of(report.exec_id)
        before = self._latest.get(root)
        if before is None or root_of(before.exec_id)[1] < revision:
            self._latest[root] = report
            self._count(report, 1)
            if before is not None:
                self._count(before, -1)
        out.tell(report.symbol, report)
        if (early := self._early.pop(report.exec_id, None)) is not None:
            self.commission(early, out)
        return True

    def _count(self, report: ExecutionReport, times: int) -> None:
        change = times * report.quantity
        self.positions[report.symbol] = self.positions.get(report.symbol, 0) + report.side.sign * change
        if report.ref is not None:
            self._by_order[report.ref] = self._by_order.get(report.ref, 0) + change

    def commission(self, message: tws.CommissionReport, out: Outbox) -> None:
        """Told once; one that comes before its execution waits for it."""
        report = self._by_id.get(message.exec_id)
        if report is None:
            self._early[message.exec_id] = message
        elif message.exec_id not in self._charged:
            self._charged.add(message.exec_id)
            charged = CommissionCharged(out.at, report.symbol, message.exec_id, exact(message.commission))
            out.tell(report.symbol, charged)
