"""The risk actor: watches what the gate cannot see in one order, and does what a kill level says.

It looks every second of market time and soon after each event that matters, journals what the state of
things demands (`protocol/risk/monitor.py`) and performs it. Levels and locks live in the journal, so that
it can die at any moment: its next incarnation performs the level that holds once more, and everything
that it asks for may be asked for twice.

A rise of the level is journalled, and the entries that wait for the wire are dropped, before `raise_level`
returns. The last stop of a position stays in place at every level; only a confirmed flatten ends it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import trio

from actors import kill_file
from actors.market_clock import MarketClock
from protocol.control_events import KillLevelEvent, LimitTightenedEvent, LockEvent, UnlockEvent
from protocol.events import (
    AlarmEvent,
    BaseEvent,
    CancelEvent,
    FillEvent,
    ForeignFillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    PositionCloseEvent,
    ReconciledEvent,
    RejectEvent,
)
from protocol.reconcile import Books, Doubts, differences
from protocol.reports import RequestKind
from protocol.risk.drop_copy import DropCopy
from protocol.risk.figures import RiskFigures
from protocol.risk.gate import RiskGate
from protocol.risk.limit_locks import loss_locks
from protocol.risk.monitor import Demand, lasting_demands, raised, watch
from protocol.risk.patience import Patience
from protocol.risk.reckoning import reckon
from protocol.risk.words import KillLevel, LockKind, Surroundings
from protocol.values import OrderRef, Symbol

STREAM: Final = "risk"
LOOK_EVERY_S: Final = 1.0
"""Market seconds between two looks, but …"""
LEAST_PAUSE_LOOP_S: Final = 0.05
"""… in a fast replay, or when events follow each other closely, not more often than this."""
FILE_EVERY_LOOP_S: Final = 1.0
AGAIN_LOOP_S: Final = 5.0
"""Until what has not come about is asked for once more."""
COMPARE_LOOP_S: Final = 30.0
"""Between two comparisons of the journal's positions with the session's (R20)."""
SEVER_WAITS_LOOP_S: Final = 60.0
"""After so long without being flat a person is told that the link is still needed."""
WIRE_MISMATCH, BOOKS_MISMATCH, KILL_FILE, SEVER_WAITS = (
    "WIRE_MISMATCH", "BOOKS_MISMATCH", "KILL_FILE", "SEVER_WAITS"
)  # fmt: skip
"""Codes of alarms."""
DROP_COPY: Final = "drop copy"
FILE: Final = "file KILL"
"""Who raises the level."""
_MATTERS: Final = (
    FillEvent, ForeignFillEvent, PositionCloseEvent, RejectEvent, ReconciledEvent, NewOrderEvent,
    ModifyOrderEvent, CancelEvent,
)  # fmt: skip


class Journal(Protocol):
    """What the actor needs of the journal: events are committed, and told to followers, by `append`."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None: ...
    def follow(self, follower: Callable[[str, Sequence[BaseEvent]], None]) -> None: ...


class RiskDesk:
    """Outlives its own restarts: `run` is called again with the next epoch.

    `gate` follows the same journal, and has folded what was in it. `cancel_entries(reason)` drops what
    waits for the wire and cancels what works; `flatten(symbol or "", reason)` closes; `sever` closes the
    link for good and `reconnect` undoes that; `at_rest` says that all is flat with nothing at work.
    `believed`: positions by the broker session's executions, of the symbols that have read their mail.
    """

    def __init__(
        self,
        gate: RiskGate,
        *,
        journal: Journal,
        clock: MarketClock,
        around: Callable[[], Surroundings],
        cancel_entries: Callable[[str], None],
        flatten: Callable[[str, str], None],
        sever: Callable[[str], None],
        at_rest: Callable[[], bool],
        folder: Path | None = None,
        reconnect: Callable[[], None] | None = None,
        believed: Callable[[], Mapping[Symbol, int]] | None = None,
    ) -> None:
        self.gate, self.drop_copy = gate, DropCopy()
        self._journal, self._clock, self._around = journal, clock, around
        self._cancel_entries, self._flatten = cancel_entries, flatten
        self._sever, self._reconnect, self._at_rest = sever, reconnect, at_rest
        self._folder, self._believed = folder, believed
        self._doubts = Doubts()
        self._poke = trio.Event()
        self._file_stays = self._unperformed = False
        self._begin()
        journal.follow(self.follow)

    def _begin(self) -> None:
        """What dies with an incarnation: when things are due once more. At first, at once."""
        self._again_loop_s = self._file_loop_s = self._compare_loop_s = -math.inf
        self._sever_alarm_loop_s: float | None = None
        self._severed = False
        self._patience = Patience()

    # --- the actor ------------------------------------------------------------------------------------

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch for ever."""
        del epoch  # what it asks may be asked twice, and is asked of actors that decide for themselves
        self._begin()
        task_status.started()
        while True:
            self._poke = trio.Event()
            self.look()
            with trio.move_on_after(max(LOOK_EVERY_S / self._clock.speed, LEAST_PAUSE_LOOP_S)):
                await self._poke.wait()
                await trio.sleep(LEAST_PAUSE_LOOP_S)

    def follow(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written to the journal, in the writer's turn."""
        for event in events:
            self.drop_copy.fold(stream, event)
            if isinstance(event, _MATTERS):
                self._poke.set()

    def look(self) -> None:
        """Look once: decide, journal, perform, and ask again for what has not come about."""
        loop_s = trio.current_time()
        if self._folder is not None and loop_s >= self._file_loop_s:
            self._file_loop_s = loop_s + FILE_EVERY_LOOP_S
            self._look_for_file(self._folder)
        if self._clock.known:
            self._compare_positions(loop_s)
            events = watch(self.gate, self._around(), at=self._clock.now(), patience=self._patience)
            self._journal.append(STREAM, events)
            for event in events:
                self._perform(event)
        if self._unperformed:
            self._unperformed = False
            self._perform_level(self.gate.standing.why)
        if loop_s >= self._again_loop_s:
            self._ask_again(loop_s)
        self._keep_severed(loop_s)

    def _perform(self, event: BaseEvent) -> None:
        match event:
            case KillLevelEvent():
                self._perform_level(event.why)
            case LockEvent(kind=LockKind.DAILY_LOSS.value):
                self._flatten(event.symbol, event.reason)
            case _:
                pass  # The gate sees to the others.

    def _perform_level(self, why: str) -> None:
        """At once, whatever the actor's own task is waiting for."""
        level = self.gate.standing.level
        if level >= KillLevel.HALT:
            self._cancel_entries(why)
        if level >= KillLevel.FLATTEN:
            self._flatten("", why)
        self._again_loop_s = trio.current_time() + AGAIN_LOOP_S

    def _ask_again(self, loop_s: float) -> None:
        """An actor that was down, or a link, may have missed it; what has come about is not disturbed."""
        self._again_loop_s = loop_s + AGAIN_LOOP_S
        standing, ledger = self.gate.standing, self.gate.ledger
        why = standing.why or standing.level.name
        entering = any(order.enters for order in self.gate.book.live())
        if standing.level >= KillLevel.HALT and entering:
            self._cancel_entries(why)
        if standing.level >= KillLevel.FLATTEN and not self._flat:
            self._flatten("", why)
            return
        for lock in standing.locks(self._clock.now()):
            if lock.kind == LockKind.DAILY_LOSS.value and ledger.position(Symbol(lock.symbol)):
                self._flatten(lock.symbol, lock.reason)

    @property
    def _flat(self) -> bool:
        """By the symbols, who may not have recovered yet, and by the book, which has."""
        book = self.gate.book
        return self._at_rest() and not any(map(book.position, book.symbols)) and not any(book.live())

    def _keep_severed(self, loop_s: float) -> None:
        """K4: once everything is flat, the link goes; until then it is needed."""
        if self.gate.standing.level < KillLevel.SEVER:
            self._severed, self._sever_alarm_loop_s = False, None
            return
        if self._severed:
            return
        if self._flat:
            self._severed = True
            self._sever(self.gate.standing.why or KillLevel.SEVER.name)
        elif self._sever_alarm_loop_s is None:
            self._sever_alarm_loop_s = loop_s + SEVER_WAITS_LOOP_S
        elif loop_s >= self._sever_alarm_loop_s:
            self._sever_alarm_loop_s = loop_s + SEVER_WAITS_LOOP_S
            self._alarm(SEVER_WAITS, "the link stays, since not everything is flat yet")

    # --- the file -------------------------------------------------------------------------------------

    def _look_for_file(self, folder: Path) -> None:
        note = kill_file.look(folder)
        if note is None:
            self._file_stays = False
            return
        if not self.raise_level(note.level, who=FILE, why=note.why) and not self._file_stays:
            held = self.gate.standing.level.name
            self._alarm(KILL_FILE, f"a file KILL asks for {note.level.name}; the level is {held} already")
        try:
            kill_file.put_away(folder, self._clock.now())
        except OSError as problem:
            if not self._file_stays:
                self._alarm(KILL_FILE, f"the file KILL was obeyed and cannot be renamed: {problem.strerror}")
            self._file_stays = True

    # --- our books against the session's ----------------------------------------------------------------

    def left(self, kind: RequestKind, order_id: int, ref: OrderRef | None) -> None:
        """A message about an order has left the wire (R20). To be called for each."""
        wrong = self.drop_copy.left(kind, order_id, ref)
        if wrong is not None:
            self._mismatch(WIRE_MISMATCH, wrong)

    def _compare_positions(self, loop_s: float) -> None:
        """R20: what the journal's executions make against what the session's do, every 30 s."""
        if self._believed is None or not (self._doubts or loop_s >= self._compare_loop_s):
            return
        self._compare_loop_s = loop_s + COMPARE_LOOP_S
        believed, ledger = self._believed(), self.gate.ledger
        free = [symbol for symbol in believed if (entry := ledger.get(symbol)) is None or not entry.held]
        ours = Books({symbol: ledger.position(symbol) for symbol in free})
        for difference in self._doubts.confirm(differences(ours, Books(believed), free), loop_s):
            self._mismatch(BOOKS_MISMATCH, difference.text)

    def _mismatch(self, code: str, text: str) -> None:
        self._alarm(code, text)
        # What follows from it waits for the actor's own turn: this one may be the broker's, in its flush.
        if self._raise(Demand(KillLevel.HALT, text), DROP_COPY):
            self._unperformed = True
            self._poke.set()

    # --- what others ask ----------------------------------------------------------------------------------

    def raise_level(self, level: KillLevel, *, who: str, why: str) -> bool:
        """Switch off as far as `level` says. False: it is as high already."""
        if not self._raise(Demand(level, why.strip() or "no reason given"), who):
            return False
        self._perform_level(why)
        self._poke.set()
        return True

    def _raise(self, demand: Demand, who: str) -> bool:
        before = self.gate.standing.level
        if demand.level <= before:
            return False
        self._append(*raised(before, demand, at=self._clock.now(), who=who))
        return True

    def lower_level(self, level: KillLevel, *, who: str, why: str) -> None:
        """A person switches on again. ValueError without a reason, for a level that is not lower, and for
        one that a limit does not allow today: limits are loosened in the configuration alone (R21)."""
        standing, at = self.gate.standing, self._clock.now()
        before = standing.level
        if not why.strip():
            raise ValueError("a kill level is lowered with a reason only")
        if level >= before:
            raise ValueError(f"the kill level is {before.name}; {level.name} is not lower")
        asked = lasting_demands(self.gate, reckon(self.gate, self._around(), at=at))
        demand = max(asked, key=lambda each: each.level, default=None)
        if demand is not None and level < demand.level:
            raise ValueError(
                f"{demand.why}: while that holds, the level stays at {demand.level.name} at least"
            )
        self._append(KillLevelEvent(
            at=at, cause=who, level=level.value, before=before.value, who=who, why=why.strip()
        ))  # fmt: skip
        if before is KillLevel.SEVER and self._reconnect is not None:
            self._severed = False
            self._reconnect()

    def lock(
        self, symbol: str, *, kind: LockKind, reason: str, who: str, until: datetime | None = None
    ) -> str:
        """No entries of a symbol (empty: of any) until a moment, or until a person lifts it. Its name."""
        at, name = self._clock.now(), self.gate.standing.next_lock
        if until is not None and until <= at:
            raise ValueError(f"{until:%Y-%m-%d %H:%M:%S %Z} is over")
        self._append(LockEvent(
            at=at, cause=who, lock=name, symbol=symbol, kind=kind.value, reason=reason, who=who, until=until
        ))  # fmt: skip
        return name

    def unlock(self, lock: str, *, who: str, why: str) -> None:
        """Lift a lock. ValueError if there is none of that name, or while a loss limit demands it (R21)."""
        at, standing = self._clock.now(), self.gate.standing
        found = standing.get(lock)
        if found is None:
            held = ", ".join(each.lock for each in standing.locks(at)) or "none"
            raise ValueError(f"no lock is called {lock!r}; those that hold: {held}")
        if found.kind == LockKind.DAILY_LOSS.value:
            day = reckon(self.gate, self._around(), at=at)
            for wanted in loss_locks(self.gate, day, Symbol(found.symbol), at=at):
                raise ValueError(f"{wanted.reason}: while that holds, it stays locked")
        self._append(UnlockEvent(at=at, cause=who, lock=lock, who=who, why=why))

    def tighten(self, name: str, value: str, *, who: str, why: str) -> None:
        """A tighter limit from now on, until the next start. ValueError if it is looser or unknown."""
        standing = self.gate.standing
        standing.limits_with(name, value)
        before = getattr(standing.limits, name)
        self._append(LimitTightenedEvent(
            at=self._clock.now(), cause=who, name=name, value=value, who=who, why=why,
            before="off" if before is None else str(before),
        ))  # fmt: skip
        self._poke.set()

    def figures(self) -> RiskFigures:
        """Exposure, open risk, and how much of each limit is used."""
        return self.gate.figures(self._around(), at=self._clock.now())

    # --- small things ---------------------------------------------------------------------------------

    def _append(self, *events: BaseEvent) -> None:
        self._journal.append(STREAM, events)

    def _alarm(self, code: str, text: str) -> None:
        self._append(AlarmEvent(at=self._clock.now(), code=code, text=text))
