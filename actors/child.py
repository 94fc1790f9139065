"""What a supervisor knows of one child: its specification, its incarnation, and how that one ended."""

from __future__ import annotations

import enum
import hashlib
import traceback
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import PurePath
from typing import Protocol

import attrs
import trio

from actors.known_secrets import clean_text
from protocol.events import ActorExitedEvent
from protocol.supervision import Exit, ExitKind
from protocol.supervision_plan import ChildPlan, SupervisorPlan

Start = Callable[[int, "trio.TaskStatus[None]"], Awaitable[None]]
"""`start(epoch, task_status)`: the actor's life. It calls `task_status.started()` once it is ready."""

REASON_LENGTH = 300
"""Characters of an exception's text that the journal keeps; the whole of it is in the log."""


class Killed(Exception):
    """What an actor raises in itself to die an injected death: restarted at once and not counted."""


class TreeGaveUp(Exception):
    """A supervisor was exhausted and has stopped its children. `__cause__` is the last crash.

    `fatal`: no restart can heal it, and the supervisor above gives up as well.
    """

    def __init__(self, why: str, *, fatal: bool = False) -> None:
        super().__init__(why)
        self.fatal = fatal


class Mail(Protocol):
    """What a supervisor knows of a child's mailbox, which outlives every incarnation."""

    @property
    def depth(self) -> int: ...
    @property
    def in_hand(self) -> object: ...
    def owner_died(self, *, blame: bool = True) -> None: ...


@attrs.frozen(kw_only=True)
class ChildSpec(ChildPlan):
    """One child. `start` runs in a task and a cancel scope of its own, again for each incarnation.

    `ask_stop` asks it politely to end, for instance by a message on its control lane; without it a
    stop begins with the cancellation. An exception of a type in `fatal` makes the supervisor give up.
    """

    start: Start
    ask_stop: Callable[[], None] | None = None
    fatal: tuple[type[Exception], ...] = ()
    below: Callable[[], tuple[ChildStatus, ...]] | None = None
    """Of a supervisor: its own children."""
    mailbox: Mail | None = None
    """What its incarnation had in hand when it died is delivered once more to the next one."""


@attrs.frozen(kw_only=True)
class SupervisorSpec(SupervisorPlan):
    """`children` in start order."""

    children: tuple[ChildSpec, ...] = ()


class ChildState(enum.Enum):
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    """Waiting for its restart, or for that of a sibling it goes with."""
    STOPPING = "stopping"
    QUARANTINED = "quarantined"
    DOWN = "down"
    """Not started yet, stopped, or done with its work."""


@attrs.frozen
class ChildStatus:
    """A child as it is now. `restarts` counts incarnations after the first, in this run of the supervisor.

    `recent`: the failures within the period that its intensity is about. `waiting`: the messages in its
    mailbox; None for a child without one. `below`: those of a supervisor's own children.
    """

    id: str
    state: ChildState
    epoch: int
    restarts: int
    last_exit: Exit | None
    below: tuple[ChildStatus, ...] = ()
    recent: int = 0
    waiting: int | None = None


@attrs.frozen
class ChildCount:
    """OTP's `count_children`: all that are known, those that live, and how many of all are of which kind."""

    known: int
    active: int
    supervisors: int
    workers: int


@attrs.frozen
class Up:
    """The incarnation has become ready."""

    id: str
    epoch: int


@attrs.frozen
class Down:
    """The incarnation, once up, has ended."""

    id: str
    epoch: int
    exit: Exit


class Incarnation:
    """One life of a child; as `task_status` of its start it reports that it is ready."""

    def __init__(self, epoch: int, on_ready: Callable[[Incarnation], None]) -> None:
        self.epoch = epoch
        self.scope = trio.CancelScope()
        self.settled = trio.Event()
        """Ready, or gone before it was."""
        self.gone = trio.Event()
        self.ready_at: float | None = None
        self.wanted: Exit | None = None
        """Why it is being ended, if somebody ends it."""
        self.error: Exception | None = None
        self.stuck = False
        self.last_message = ""
        """The name of the message that it had in hand when it ended."""
        self._on_ready = on_ready

    def started(self, value: None = None) -> None:  # noqa: ARG002 -- the face of trio.TaskStatus
        if self.ready_at is not None:
            raise RuntimeError("an actor reports that it is ready once")
        self.ready_at = trio.current_time()
        self.settled.set()
        self._on_ready(self)

    def exit(self, fatal: tuple[type[Exception], ...]) -> Exit:
        """How this life ended, from what it raised and what was asked of it."""
        if self.error is None:
            return self.wanted or Exit(ExitKind.NORMAL)
        found = exit_of(self.error, fatal)
        if self.wanted is not None and self.wanted.kind is not ExitKind.SHUTDOWN:
            reason = f"{self.wanted.reason}; then {found.reason}"
            return Exit(self.wanted.kind, reason[:REASON_LENGTH], found.traceback_hash)
        return found


class Child:
    """A child over all its lives. `settled`: nobody needs to wait for it to come up any longer."""

    def __init__(self, spec: ChildSpec, *, dynamic: bool) -> None:
        self.spec = spec
        self.dynamic = dynamic
        self.quarantine: str | None = None
        self.begin()

    def begin(self) -> None:
        """Forget the run of the supervisor before this one, but never a quarantine."""
        self.state = ChildState.DOWN if self.quarantine is None else ChildState.QUARANTINED
        self.life: Incarnation | None = None
        self.lives = 0
        self.epoch = 0
        self.last_exit: Exit | None = None
        self.was_up = False
        self.settled = trio.Event()
        if self.quarantine is not None:
            self.settled.set()

    def status(self, recent: int) -> ChildStatus:
        """`recent`: its failures that count now."""
        spec = self.spec
        return ChildStatus(
            spec.id,
            self.state,
            self.epoch,
            max(0, self.lives - 1),
            self.last_exit,
            () if spec.below is None else spec.below(),
            recent,
            None if spec.mailbox is None else spec.mailbox.depth,
        )

    def exited_event(
        self, life: Incarnation, exit_: Exit, decision: str, delay_s: float, *, at: datetime
    ) -> ActorExitedEvent:
        """The end of a life as the journal keeps it."""
        return ActorExitedEvent(
            at=at,
            actor=self.spec.id,
            epoch=life.epoch,
            exit=exit_.kind.value,
            reason=exit_.reason,
            decision=decision,
            delay_s=delay_s,
            traceback_hash=exit_.traceback_hash,
            last_message=life.last_message,
            restart_number=self.lives if decision == "restart" else 0,
        )


# --- what an exception says -----------------------------------------------------------------------


def exit_of(error: Exception, fatal: tuple[type[Exception], ...]) -> Exit:
    """The exit that an exception means; of a group, its parts speak."""
    leaves = tuple(_leaves(error))
    if all(isinstance(leaf, Killed) for leaf in leaves):
        return Exit(ExitKind.KILLED, str(leaves[0])[:REASON_LENGTH])
    worst = next((leaf for leaf in leaves if not isinstance(leaf, Killed)), leaves[0])
    deadly = [
        leaf for leaf in leaves if isinstance(leaf, fatal) or (isinstance(leaf, TreeGaveUp) and leaf.fatal)
    ]
    more = f" (and {len(leaves) - 1} more)" if len(leaves) > 1 else ""
    named = deadly[0] if deadly else worst
    reason = clean_text(f"{type(named).__name__}: {named}")[:REASON_LENGTH] + more
    return Exit(ExitKind.FATAL if deadly else ExitKind.CRASH, reason, traceback_hash(named))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def traceback_hash(error: BaseException) -> str:
    """Equal for equal crashes, in every run and on every machine: type and places, no text, no addresses."""
    places = [
        f"{PurePath(frame.filename).name}:{frame.name}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return hashlib.sha256("\n".join([type(error).__qualname__, *places]).encode()).hexdigest()[:12]
