"""Every execution that the broker has told us of, each id once, and the positions they make.

Now and then TWS says that an order has filled, its position says so too, and the execution never comes,
asked or not. Then, and only when both agree to the share, an execution is put in its place: with an id of
its own that is the same whoever works it out, at the price that the status implies. Should the true one
come after all, it takes the place of the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import attrs

from protocol.events import FillEvent
from protocol.reports import CommissionCharged, ExecutionReport
from protocol.session_totals import Totals
from protocol.session_translation import root_of
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import OrderRef, Side, Symbol, exact

STAND_IN: Final = "status."
"""How the ids begin of executions that were never told. Those of TWS are groups of hexadecimal digits."""
CENT_PARTS: Final = Decimal("0.000001")


class Executions:
    """A correction has the same root as what it corrects and a higher revision, and takes its place."""

    def __init__(self) -> None:
        self._by_id: dict[str, ExecutionReport] = {}
        self._latest: dict[str, ExecutionReport] = {}
        self._charged: set[str] = set()
        self._early: dict[str, tws.CommissionReport] = {}
        self._by_order: dict[OrderRef, int] = {}
        self._paid: dict[OrderRef, Decimal] = {}
        self._stand_ins: dict[OrderRef, list[str]] = {}
        self._reached: dict[OrderRef, int] = {}
        """The highest total that an execution of each order named."""
        self.totals = Totals()
        self.positions: dict[Symbol, int] = {}
        """What we believe: the broker's word once, every new execution since. Signed shares."""

    def executed(self) -> Mapping[OrderRef, int]:
        """Shares of each of our orders so far."""
        return self._by_order

    def get(self, exec_id: str) -> ExecutionReport | None:
        return self._by_id.get(exec_id)

    def add(self, report: ExecutionReport, cumulative: int, out: Outbox) -> bool:
        """Tell the symbol of an execution that is new, whatever state the link or its order is in.

        `cumulative`: what its order had executed with it, in shares; a known one names it all the same.
        False: it does not count, since its order has no room for it.
        """
        self.totals.note(report.perm_id, cumulative)
        if report.exec_id not in self._by_id:
            if root_of(report.exec_id)[0] in self._latest or self.totals.has_room(report):
                self._tell(report, cumulative, out)
            else:
                self.totals.doubtful[report.exec_id] = report
        while self.totals.doubtful and (fitting := self.totals.take_fitting(report.perm_id)) is not None:
            self._tell(fitting, cumulative, out)
        return report.exec_id in self._by_id

    def _tell(self, report: ExecutionReport, cumulative: int, out: Outbox) -> None:
        if report.ref is not None:
            self._reached[report.ref] = max(self._reached.get(report.ref, 0), cumulative)
        if report.ref in self._stand_ins and root_of(report.exec_id)[0] not in self._latest:
            self._make_room(report, out)
        self._take(report)
        out.tell(report.symbol, report)
        if (early := self._early.pop(report.exec_id, None)) is not None:
            self.commission(early, out)

    def _take(self, report: ExecutionReport) -> None:
        self._by_id[report.exec_id] = report
        root, revision = root_of(report.exec_id)
        before = self._latest.get(root)
        if before is None or root_of(before.exec_id)[1] < revision:
            self._latest[root] = report
            self._count(report, 1)
            if not root.startswith(STAND_IN):
                self.totals.count(report, before)
            if before is not None:
                self._count(before, -1)
                if report.ref in self._reached:
                    self._reached[report.ref] += report.quantity - before.quantity

    def _count(self, report: ExecutionReport, times: int) -> None:
        change = times * report.quantity
        self.positions[report.symbol] = self.positions.get(report.symbol, 0) + report.side.sign * change
        if report.ref is not None:
            self._by_order[report.ref] = self._by_order.get(report.ref, 0) + change
            self._paid[report.ref] = self._paid.get(report.ref, Decimal(0)) + change * report.price

    # --- executions that were never told ----------------------------------------------------------

    def fold(self, event: FillEvent) -> None:
        """What the journal holds: TWS tells the day's executions again, not those of the days before, and
        what an order has executed is wanted whole. An execution that was never told may come yet."""
        ref = event.ref
        report = ExecutionReport(
            event.at, ref.symbol, event.exec_id, ref, event.perm_id, event.side, event.quantity, event.price
        )
        if event.exec_id.startswith(STAND_IN):
            self._take_stand_in(report)
        else:
            self._take(report)

    def stand_in(
        self, ref: OrderRef, perm_id: int, side: Side, filled: int, average: float | None, out: Outbox
    ) -> ExecutionReport:
        """Put one execution in the place of those of an order that are missing.

        `filled` and `average` are what its status says: shares in all, and their average price.
        """
        known = self._by_order.get(ref, 0)
        missing = filled - known
        whole = None if not average else exact(average) * filled - self._paid.get(ref, Decimal(0))
        price = Decimal(0) if whole is None else (whole / missing).quantize(CENT_PARTS)
        report = ExecutionReport(
            out.at, ref.symbol, f"{STAND_IN}{perm_id}.{filled}.01", ref, perm_id, side, missing, price
        )
        self._take_stand_in(report)
        out.tell(report.symbol, report)
        return report

    def _take_stand_in(self, report: ExecutionReport) -> None:
        assert report.ref is not None
        self._take(report)
        roots = self._stand_ins.setdefault(report.ref, [])
        root = root_of(report.exec_id)[0]
        if root not in roots:
            roots.append(root)

    def _make_room(self, report: ExecutionReport, out: Outbox) -> None:
        """With `report`, an order has executed more than its status or any execution said: the true one of a
        stand-in has come, and as much of that is taken back."""
        assert report.ref is not None
        roots = self._stand_ins[report.ref]
        filled = max(self._reached[report.ref], *(int(root.rpartition(".")[2]) for root in roots))
        left = min(self._by_order[report.ref] + report.quantity - filled, report.quantity)
        for root in roots:
            standing = self._latest[root]
            taken = min(left, standing.quantity)
            if taken > 0:
                left -= taken
                revision = int(root_of(standing.exec_id)[1]) + 1
                smaller = attrs.evolve(
                    standing, at=out.at, exec_id=f"{root}.{revision:02}", quantity=standing.quantity - taken
                )
                self._take(smaller)
                out.tell(smaller.symbol, smaller)

    # --- what they cost ---------------------------------------------------------------------------

    def commission(self, message: tws.CommissionReport, out: Outbox) -> None:
        """Told once; one that comes before its execution waits for it."""
        report = self._by_id.get(message.exec_id)
        if report is None:
            self._early[message.exec_id] = message
        elif message.exec_id not in self._charged:
            self._charged.add(message.exec_id)
            charged = CommissionCharged(out.at, report.symbol, message.exec_id, exact(message.commission))
            out.tell(report.symbol, charged)
