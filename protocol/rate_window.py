"""At most so many requests in any minute of market time: the signal service's rule, kept by both ends."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

WINDOW = timedelta(minutes=1)


class RateWindow:
    """The requests of the last minute. `limit` may change: the service says what it allows."""

    __slots__ = ("_taken", "limit")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a rate limit allows at least one request a minute, got {limit}")
        self.limit = limit
        self._taken: deque[datetime] = deque()

    def take(self, at: datetime) -> bool:
        """Count a request at `at` if it is within the limit; False, and nothing counted, if it is not."""
        if self.remaining(at) == 0:
            return False
        self._taken.append(at)
        return True

    def remaining(self, at: datetime) -> int:
        while self._taken and self._taken[0] + WINDOW <= at:
            self._taken.popleft()
        return max(0, self.limit - len(self._taken))

    def free_at(self, at: datetime) -> datetime:
        """When the next request is within the limit: `at` itself when one is left."""
        if self.remaining(at) > 0:
            return at
        return self._taken[len(self._taken) - self.limit] + WINDOW
