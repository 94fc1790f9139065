"""What the executions of each order at the broker add up to, and what its order says it has executed.

An execution is known by its id alone. Should one come twice under two ids, it would count twice. But each
names what its order had executed with it: where those that are known leave no room for one, it is not new.
"""

from __future__ import annotations

from typing import Final

from protocol.reports import ExecutionReport
from protocol.session_translation import root_of

FIRST: Final = "01"
"""The revision of an execution that nobody has corrected."""


class Totals:
    """By permanent id, since one reference of ours may be several orders at the broker. In shares."""

    def __init__(self) -> None:
        self._executed: dict[int, int] = {}
        self._named: dict[int, int] = {}
        """The highest total that an execution of each order named."""
        self._corrected: dict[int, int] = {}
        """What corrections have added: TWS need not count it in its totals."""
        self.doubtful: dict[str, ExecutionReport] = {}
        """Executions for which their order leaves no room, by id."""

    def note(self, perm_id: int, total: int) -> None:
        """An execution, told now or again, names the total of its order."""
        self._named[perm_id] = max(self._named.get(perm_id, 0), total)

    def count(self, report: ExecutionReport, before: ExecutionReport | None) -> None:
        """An execution, or a correction of the one `before`, whatever room there is."""
        change = report.quantity - (0 if before is None else before.quantity)
        perm_id = report.perm_id
        self._executed[perm_id] = self._executed.get(perm_id, 0) + change
        if before is not None or root_of(report.exec_id)[1] > FIRST:
            self._corrected[perm_id] = self._corrected.get(perm_id, 0) + max(change, 0)

    def has_room(self, report: ExecutionReport) -> bool:
        """Whether an execution, of an id that is not known, can be one that is not."""
        if not report.perm_id or root_of(report.exec_id)[1] > FIRST:
            return True
        known = self._executed.get(report.perm_id, 0) - self._corrected.get(report.perm_id, 0)
        return known + report.quantity <= self._named.get(report.perm_id, 0)

    def take_fitting(self, perm_id: int) -> ExecutionReport | None:
        """One that was doubtful and is not any more, since a later total has room for it."""
        for report in self.doubtful.values():
            if report.perm_id == perm_id and self.has_room(report):
                return self.doubtful.pop(report.exec_id)
        return None
