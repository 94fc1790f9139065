"""The proof that TWS is still there: it is asked the time, and it has to answer.

A socket alone proves nothing: a peer that hangs keeps it open, and takes orders into a buffer that nobody
reads. Silence is found out within two beats.
"""

from __future__ import annotations

import attrs

MISSES = 2


@attrs.define
class Heartbeat:
    """`period_loop_s` after an answer the next question; half of it later, without an answer, a miss."""

    period_loop_s: float
    due_loop_s: float | None = None
    misses: int = 0
    _asked: bool = False

    def stop(self) -> None:
        self.due_loop_s, self.misses, self._asked = None, 0, False

    def answered(self, loop_s: float) -> None:
        self.due_loop_s, self.misses, self._asked = loop_s + self.period_loop_s, 0, False

    def beat(self, loop_s: float) -> bool:
        """It is due: whether to ask (again). False: the peer has been given its chances."""
        self.misses += self._asked
        if self.misses >= MISSES:
            return False
        self._asked, self.due_loop_s = True, loop_s + self.period_loop_s / 2
        return True
