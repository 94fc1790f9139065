"""What is switched off and locked, and which limits hold: folded from the journal, asked by the gate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from protocol.control_events import KillLevelEvent, LimitTightenedEvent, LockEvent, UnlockEvent
from protocol.events import BaseEvent
from protocol.risk.settings import RiskLimits
from protocol.risk.tightening import tightened
from protocol.risk.words import KillLevel
from protocol.values import Symbol


class Standing:
    """Kill level, locks and tightened limits as the journal has them.

    `limits` begin as the configuration's; what was tightened in an earlier run does not hold any more,
    since a restart reads the configuration anew. `level` and locks hold until they are lifted.
    """

    def __init__(self, limits: RiskLimits) -> None:
        self.limits = limits
        self.level = KillLevel.OPEN
        self.why = ""
        """Why the level is what it is, as whoever changed it last said."""
        self._locks: dict[str, LockEvent] = {}
        self._number = 0

    def fold(self, event: BaseEvent, *, replay: bool = False) -> None:
        """Take in one event of the stream `risk`; others are let go. `replay`: from an earlier run."""
        match event:
            case KillLevelEvent():
                self.level, self.why = KillLevel(event.level), event.why
            case LockEvent():
                self._number += 1
                self._locks[event.lock] = event
            case UnlockEvent():
                self._locks.pop(event.lock, None)
            case LimitTightenedEvent() if not replay:
                self.limits = tightened(self.limits, event.name, event.value)
            case _:
                pass

    @property
    def next_lock(self) -> str:
        """The name of the next lock."""
        return self.lock_name(0)

    def lock_name(self, ahead: int) -> str:
        """The name of the next lock but `ahead`, where several are put on at once."""
        return f"L{self._number + 1 + ahead:06d}"

    def locks(self, at: datetime) -> Iterator[LockEvent]:
        """Those that hold at market time `at`, the oldest first."""
        return (lock for lock in self._locks.values() if lock.until is None or lock.until > at)

    def expired(self, at: datetime) -> tuple[LockEvent, ...]:
        """Those whose time has come and whose end is not in the journal yet."""
        return tuple(lock for lock in self._locks.values() if lock.until is not None and lock.until <= at)

    def get(self, lock: str) -> LockEvent | None:
        return self._locks.get(lock)

    def lock_on(self, symbol: Symbol, at: datetime) -> LockEvent | None:
        """The lock that holds entries of `symbol`: the account's own before the symbol's."""
        held = [lock for lock in self.locks(at) if lock.symbol in ("", symbol)]
        return min(held, key=lambda lock: lock.symbol, default=None)

    def limits_with(self, name: str, value: str) -> RiskLimits:
        """The limits after tightening one of them. ValueError when it would be looser, or is unknown."""
        return tightened(self.limits, name, value)
