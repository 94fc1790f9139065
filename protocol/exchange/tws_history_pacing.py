"""How often past bars may be asked for: the limits that IBKR documents for small bars, kept for all."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from protocol.tws.messages import ReqHistoricalData

IDENTICAL: Final = timedelta(seconds=15)
SAME_CONTRACT: Final = timedelta(seconds=2)
MOST_OF_A_CONTRACT: Final = 6
WINDOW: Final = timedelta(minutes=10)
MOST_IN_A_WINDOW: Final = 60


class _Asked(NamedTuple):
    at: datetime
    contract: str
    query: tuple[object, ...]


class HistoryPacing:
    """The recent requests of one client."""

    def __init__(self) -> None:
        self._recent: deque[_Asked] = deque()

    def violation(self, request: ReqHistoricalData, contract: str, at: datetime) -> str | None:
        """What is wrong with asking this now; None when it may be asked, which counts."""
        while self._recent and self._recent[0].at <= at - WINDOW:
            self._recent.popleft()
        query = (
            contract, request.contract.exchange, request.end, request.bar_size, request.duration,
            request.use_rth, request.what,
        )  # fmt: skip
        if len(self._recent) >= MOST_IN_A_WINDOW:
            return "Historical data request pacing violation"
        if any(asked.query == query and asked.at > at - IDENTICAL for asked in self._recent):
            return "Historical data request pacing violation"
        lately = sum(asked.contract == contract and asked.at > at - SAME_CONTRACT for asked in self._recent)
        if lately >= MOST_OF_A_CONTRACT - 1:
            return "Historical data request pacing violation"
        self._recent.append(_Asked(at, contract, query))
        return None
