"""What the orders of a book wait for by time: when each expires, or may begin to work."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime

from protocol.exchange.book import Book, BookOrder


class Agenda:
    """The moments at which something is due, the next one first; at the same moment by permanent id.

    An order whose times have changed is noted again; its old entries are harmless, since what is due is
    always judged by the order as it is.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._due: list[tuple[datetime, int]] = []

    def note(self, order: BookOrder) -> None:
        """The order has been taken or changed."""
        now = order.now
        for moment in (now.good_till, now.waits_until, now.locate_until):
            if moment is not None:
                heapq.heappush(self._due, (moment, order.perm_id))

    @property
    def next_at(self) -> datetime | None:
        """No later than the next thing that is due; None when nothing is."""
        return self._due[0][0] if self._due else None

    def take(self, at: datetime) -> Iterator[BookOrder]:
        """The live orders for which something may be due by `at`, as they come to be due."""
        while self._due and self._due[0][0] <= at:
            order = self._book.order(heapq.heappop(self._due)[1])
            if order.now.live:
                yield order
