"""How fast we may talk to TWS: fewer messages than its limit in any second, what protects first.

TWS takes 50 messages a second and disconnects a client that does not keep to it. Times here are seconds
of loop time, since the limit is one of the machine's clock, whatever market time does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import attrs

from protocol.session_words import Urgency

WINDOW_LOOP_S = 1.0
RESERVE = 10
"""Messages of each second that only cancels and exits may use: a burst of entries never delays a stop."""
ENTRY_PATIENCE_LOOP_S = 1.5
"""How long an entry may wait for its turn. The window frees itself after one second, so whatever waits
longer is behind a flood, and the quote that it was decided on is old."""


@attrs.frozen
class Parcel:
    """Frames that leave in one write, with what they are about (`keys`: TWS order ids)."""

    frames: tuple[bytes, ...]
    urgency: Urgency
    keys: tuple[int, ...] = ()
    tag: object = None
    """The sender's own, handed back with the parcel."""
    change_of: int = 0
    """The TWS order id of the order that this changes, and nothing else; 0 for everything else."""


@attrs.define
class _Waiting:
    parcel: Parcel
    since: float


class Pacer:
    """A queue with a budget. `offer` what is to leave, `take` what may leave now, look again at `due`."""

    def __init__(self, limit: int = 45, reserve: int = RESERVE) -> None:
        if not 0 <= reserve < limit:
            raise ValueError(f"a reserve of {reserve} leaves nothing of {limit} messages a second")
        self._limit, self._reserve = limit, reserve
        self._queues: tuple[deque[_Waiting], ...] = tuple(deque() for _ in Urgency)
        self._sent: deque[float] = deque()
        self.total = 0

    @property
    def largest(self) -> int:
        """Frames that one parcel may have: more could never leave within a second."""
        return self._limit - self._reserve

    def __len__(self) -> int:
        """Parcels that wait."""
        return sum(map(len, self._queues))

    def offer(self, parcel: Parcel, at: float) -> None:
        """Queue a parcel. One that protects takes along what is still waiting about the same order,
        so that a cancel never overtakes the placement it is meant for. A change takes the turn of one of the
        same order that still waits: what that wanted nobody wants any more."""
        if len(parcel.frames) > self.largest:
            raise ValueError(f"{len(parcel.frames)} frames can never leave within one second")
        if parcel.urgency is Urgency.PROTECTION and parcel.keys:
            self._promote(parcel.keys)
        queue = self._queues[parcel.urgency]
        if parcel.change_of:
            last = next((entry for entry in reversed(queue) if parcel.change_of in entry.parcel.keys), None)
            if last is not None and last.parcel.change_of == parcel.change_of:
                last.parcel = parcel
                return
        queue.append(_Waiting(parcel, at))

    def _promote(self, keys: Sequence[int]) -> None:
        wanted = set(keys)
        first = self._queues[Urgency.PROTECTION]
        entries = self._queues[Urgency.ENTRY]
        for waiting in [entry for entry in entries if wanted.intersection(entry.parcel.keys)]:
            entries.remove(waiting)
            first.append(waiting)

    def take(self, at: float) -> tuple[Parcel, ...]:
        """The parcels that may leave now, in the order in which they leave."""
        # A hair less than the window: `due` added it to a float, and must not be told to wait again.
        while self._sent and at - self._sent[0] >= WINDOW_LOOP_S - 1e-6:
            self._sent.popleft()
        leaving: list[Parcel] = []
        for urgency, queue in zip(Urgency, self._queues, strict=True):
            ceiling = self._limit if urgency is Urgency.PROTECTION else self._limit - self._reserve
            while queue and len(self._sent) + len(queue[0].parcel.frames) <= ceiling:
                parcel = queue.popleft().parcel
                self._sent.extend([at] * len(parcel.frames))
                self.total += len(parcel.frames)
                leaving.append(parcel)
            if queue:
                break  # nothing overtakes what is more urgent: a question about an order follows the order
        return tuple(leaving)

    def overdue(self, at: float) -> tuple[Parcel, ...]:
        """Take out the entries that have waited too long; they must be refused, not sent."""
        entries = self._queues[Urgency.ENTRY]
        late: list[Parcel] = []
        while entries and entries[0].since < at - ENTRY_PATIENCE_LOOP_S:
            late.append(entries.popleft().parcel)
        return tuple(late)

    def drop_entries(self) -> tuple[Parcel, ...]:
        """Take out all entries that wait, also those that a cancel has taken along."""
        dropped: list[Parcel] = []
        for urgency in (Urgency.PROTECTION, Urgency.ENTRY):
            queue = self._queues[urgency]
            dropped += (waiting.parcel for waiting in queue if waiting.parcel.urgency is Urgency.ENTRY)
            kept = [waiting for waiting in queue if waiting.parcel.urgency is not Urgency.ENTRY]
            queue.clear()
            queue.extend(kept)
        return tuple(dropped)

    def due(self) -> float | None:
        """The loop time at which `take` will have something, or None when nothing waits."""
        for urgency, queue in zip(Urgency, self._queues, strict=True):
            if not queue:
                continue
            ceiling = self._limit if urgency is Urgency.PROTECTION else self._limit - self._reserve
            excess = len(self._sent) + len(queue[0].parcel.frames) - ceiling
            return self._sent[excess - 1] + WINDOW_LOOP_S if excess > 0 else queue[0].since
        return None

    def clear(self) -> tuple[Parcel, ...]:
        """Forget what waits (the link is gone); the messages already sent still count."""
        dropped = tuple(entry.parcel for queue in self._queues for entry in queue)
        for queue in self._queues:
            queue.clear()
        return dropped
