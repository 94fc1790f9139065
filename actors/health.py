"""The health actor: looks at the link and at each symbol every two seconds, and journals what has changed.

It asks no trading actor anything and decides nothing. What lasts less than two looks is not told: farms
flap, and lines wait for their first tick.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

from actors.market_clock import MarketClock
from protocol.events import BaseEvent
from protocol.health import Health, changes

PERIOD_LOOP_S = 2.0
STREAM = "system"


class Journal(Protocol):
    """What the actor needs of the journal."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> object: ...


class HealthWatch:
    """`look` says how everything is now, by subject."""

    def __init__(
        self, look: Callable[[], Mapping[str, Health]], *, journal: Journal, clock: MarketClock
    ) -> None:
        self._look, self._journal, self._clock = look, journal, clock
        self.told: dict[str, Health] = {}
        """What the journal holds of each subject, in this run."""

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        del epoch  # it commands nobody
        task_status.started()
        before: Mapping[str, Health] = {}
        while True:
            await trio.sleep(PERIOD_LOOP_S)
            now = self._look()
            lasting = {subject: health for subject, health in now.items() if before.get(subject) == health}
            news = changes(self.told, lasting, self._clock.now())
            if news and self._clock.known:
                self._journal.append(STREAM, news)
                self.told.update(lasting)
            before = now
