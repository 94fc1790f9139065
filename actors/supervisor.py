"""Supervision: starts actors in order, learns of their deaths as messages, and does what `decide` says.

Each child lives in a task and a cancel scope of its own; whatever `Exception` ends it is caught here,
and nowhere else, and becomes a message in the supervisor's inbox. The loop that reads the inbox never
waits for anything else: stopping, waiting and starting are done by tasks of their own, one for each
child (`one_for_one`) or one for the whole group, and a later death replaces what is still to be done.

Not a nursery of children with an `except*` around it: that restarts nobody, cancels everybody, and
forbids `break`, `continue` and `return` where they are needed.
"""

from __future__ import annotations

import math
import random
import traceback
from collections.abc import Callable
from datetime import datetime

import structlog
import trio

from actors.agenda import Agenda
from actors.child import (
    Child,
    ChildCount,
    ChildSpec,
    ChildState,
    ChildStatus,
    Down,
    Incarnation,
    Killed,
    SupervisorSpec,
    TreeGaveUp,
    Up,
)
from actors.supervisor_inbox import AllDown, Exited, InboxMessage, QuarantineAsked, Settled, StopAsked
from actors.watchdog import end_stuck
from protocol.events import ActorStartedEvent, AlarmEvent, SystemEvent
from protocol.message_names import message_name
from protocol.supervision import (
    Decision,
    Drop,
    Escalate,
    Exit,
    ExitKind,
    History,
    Quarantine,
    Rest,
    Restart,
    decide,
)
from protocol.supervision_plan import BRUTAL, Strategy, faults

__all__ = [
    "ChildSpec",
    "ChildState",
    "ChildStatus",
    "Down",
    "Killed",
    "Supervisor",
    "SupervisorSpec",
    "TreeGaveUp",
    "Up",
]

KILL_GRACE_LOOP_S = 2.0
"""How long a cancelled child may take to end before it counts as stuck."""

log = structlog.get_logger("supervisor")


def nothing(_: str) -> None:
    """For a supervisor whose quarantines concern nobody else."""


class Supervisor:
    """One supervisor, run any number of times, one after the other. Children added to it stay with it.

    `record` journals an event before anything follows from it; `next_epoch` numbers incarnations over
    the life of the journal; `rng` gives the jitter. `on_stuck` ends the process, unless a test says
    otherwise.
    """

    def __init__(
        self,
        spec: SupervisorSpec,
        *,
        record: Callable[[SystemEvent], None],
        market_now: Callable[[], datetime],
        next_epoch: Callable[[str], int],
        rng: random.Random,
        on_quarantine: Callable[[str], None] = nothing,
        on_stuck: Callable[[str], None] = end_stuck,
    ) -> None:
        wrong = faults(spec, spec.children)
        if wrong:
            raise ValueError("\n".join(wrong))
        self.spec = spec
        self._record = record
        self._market_now = market_now
        self._next_epoch = next_epoch
        self._rng = rng
        self._on_quarantine = on_quarantine
        self._on_stuck = on_stuck
        self._monitors: list[Callable[[Up | Down], None]] = []
        self._children = {child.id: Child(child, dynamic=False) for child in spec.children}
        self._nursery: trio.Nursery | None = None
        self._inbox: trio.MemorySendChannel[InboxMessage] | None = None
        self._history = History()
        self._stopping = self._all_up = False
        self._failure: TreeGaveUp | None = None

    # --- for others ----------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children in order, report started, supervise until stopped or exhausted.

        Returns after `stop()`. `TreeGaveUp` when exhausted, or when a child does not come up in the
        first place. Cancelled, it stops its children in order as well.
        """
        if self._nursery is not None:
            raise RuntimeError(f"the supervisor {self.spec.name} runs already")
        self._begin()
        self._inbox, inbox = trio.open_memory_channel[InboxMessage](math.inf)
        try:
            async with trio.open_nursery() as outer:
                outer.start_soon(self._stop_when_cancelled)
                # The shield keeps a cancellation from reaching all children at once, in no order.
                with trio.CancelScope(shield=True):
                    async with trio.open_nursery() as self._nursery:
                        await self._supervise(inbox, task_status)
                        self._nursery.cancel_scope.cancel()
                outer.cancel_scope.cancel()
        finally:
            self._nursery = self._inbox = None
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ask for an orderly end: children stop in reverse order, then `run` returns."""
        self._post(StopAsked())

    def as_child(self) -> ChildSpec:
        """This supervisor as a child of another."""

        async def start(_: int, task_status: trio.TaskStatus[None]) -> None:
            await self.run(task_status)

        return ChildSpec(
            id=self.spec.name,
            start=start,
            ask_stop=self.stop,
            below=self.which_children,
            is_supervisor=True,
            shutdown_loop_s=math.inf,
            init_timeout_loop_s=math.inf,
        )

    def add_child(self, spec: ChildSpec) -> None:
        """A dynamic child, started now or as soon as the others are up. `ValueError` for a bad one.

        If it does not come up, it is restarted like any other failure: it never fails the supervisor's
        own start. It stays known when the supervisor itself is restarted.
        """
        wrong = faults(self.spec, [*(child.spec for child in self._children.values()), spec])
        if wrong:
            raise ValueError("\n".join(wrong))
        child = self._children[spec.id] = Child(spec, dynamic=True)
        if self._nursery is not None and self._all_up and not self._stopping:
            self._spawn(child)

    def kill(self, child_id: str, why: str) -> bool:
        """Crash a child on purpose; False if it is not alive. `KeyError` for one that does not exist."""
        child = self._children[child_id]
        life = child.life
        if life is None or life.wanted is not None:
            return False
        self._end(child, life, Exit(ExitKind.KILLED, why))
        return True

    def quarantine(self, child_id: str, why: str) -> None:
        """End a child and keep it down until `release`; also from within a monitor's `Down`."""
        child = self._children[child_id]
        if self.spec.strategy is not Strategy.ONE_FOR_ONE:
            raise ValueError(f"{child_id}: a quarantine needs one_for_one around it")
        if child.quarantine is None:
            child.quarantine = why
            self._post(QuarantineAsked(child))

    def release(self, child_id: str) -> bool:
        """Start a quarantined child afresh, on a person's word; False if it is in no quarantine."""
        child = self._children[child_id]
        if child.state is not ChildState.QUARANTINED:
            return False
        child.quarantine = None
        child.state = ChildState.DOWN
        child.settled = trio.Event()
        if self._nursery is not None and not self._stopping:
            self._history = self._history.forgetting(child_id)
            self._spawn(child)
        return True

    def monitor(self, callback: Callable[[Up | Down], None]) -> None:
        """Tell `callback` once of each incarnation that comes up, and once of its end."""
        self._monitors.append(callback)

    def which_children(self) -> tuple[ChildStatus, ...]:
        """All children in start order, as they are now."""
        history = self._history
        now = trio.current_time() if history.children else 0.0
        return tuple(child.status(history.recent(child.spec, now)) for child in self._children.values())

    def count_children(self) -> ChildCount:
        """How many there are, by kind, and how many of them live."""
        children = self._children.values()
        supervisors = sum(child.spec.is_supervisor for child in children)
        return ChildCount(
            known=len(children),
            active=sum(child.life is not None for child in children),
            supervisors=supervisors,
            workers=len(children) - supervisors,
        )

    # --- the loop ------------------------------------------------------------------------------

    def _begin(self) -> None:
        dynamic = [child for child in self._children.values() if child.dynamic]
        static = [self._children.get(spec.id) or Child(spec, dynamic=False) for spec in self.spec.children]
        self._children = {child.spec.id: child for child in (*static, *dynamic)}
        for child in self._children.values():
            child.begin()
        self._history = History()
        self._stopping = self._all_up = False
        self._failure = None

    def _post(self, message: InboxMessage) -> None:
        if self._inbox is not None:
            self._inbox.send_nowait(message)

    async def _stop_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.stop()

    async def _supervise(
        self, inbox: trio.MemoryReceiveChannel[InboxMessage], task_status: trio.TaskStatus[None]
    ) -> None:
        assert self._nursery is not None
        self._agenda = Agenda(
            self._nursery,
            self._children,
            spawn=self._spawn,
            stop=self._stop_child,
            all_up=lambda: self._post(Settled()),
        )
        self._agenda.first_start()
        async for message in inbox:
            match message:
                case Exited(child, life):
                    self._exited(child, life)
                case Settled():
                    self._settled(task_status)
                case QuarantineAsked(child):
                    self._quarantine_asked(child)
                case StopAsked():
                    self._begin_stop()
                case AllDown():
                    return

    def _settled(self, task_status: trio.TaskStatus[None]) -> None:
        if self._stopping or self._all_up:
            return
        self._all_up = True
        task_status.started()
        for child in [each for each in self._children.values() if each.dynamic]:
            if child.life is None and child.quarantine is None:
                self._spawn(child)

    def _exited(self, child: Child, life: Incarnation) -> None:
        exit_ = life.exit(child.spec.fatal)
        child.life, child.last_exit, child.state = None, exit_, ChildState.DOWN
        life.gone.set()
        life.settled.set()
        mailbox = child.spec.mailbox
        if mailbox is not None:
            life.last_message = message_name(mailbox.in_hand)
            # Its next incarnation, or the verdict that the message is poison, which may be a quarantine.
            mailbox.owner_died(blame=exit_.kind is ExitKind.CRASH)
        # A kill was asked for, and what is fatal ends the run, which says why in its own words.
        if life.error is not None and exit_.kind not in (ExitKind.KILLED, ExitKind.FATAL):
            # As text: a console that prints the local variables of a traceback would print secrets.
            trace = "".join(traceback.format_exception(life.error))
            log.error("actor crashed", actor=child.spec.id, epoch=life.epoch, traceback=trace)
        if life.ready_at is not None:
            child.settled = trio.Event()
            self._tell(Down(child.spec.id, life.epoch, exit_))
        asked = life.wanted is not None and life.wanted.kind is ExitKind.SHUTDOWN
        if self._stopping or asked:
            if self._agenda.will_start(child):
                child.state = ChildState.BACKOFF
            if exit_.kind not in (ExitKind.NORMAL, ExitKind.SHUTDOWN):
                self._record_exit(child, life, exit_, "stopping", 0.0)
            return
        decision = self._decide(child, life, exit_)
        delay_s = decision.delay_s if isinstance(decision, Restart) else 0.0
        if exit_.kind not in (ExitKind.NORMAL, ExitKind.SHUTDOWN) or isinstance(decision, Restart):
            self._record_exit(child, life, exit_, type(decision).__name__.lower(), delay_s)
        self._follow(decision, child, life.error)

    def _decide(self, child: Child, life: Incarnation, exit_: Exit) -> Decision:
        if child.quarantine is not None:
            return Quarantine(child.quarantine)
        failed_start = not (self._all_up or child.dynamic or child.was_up)
        if failed_start and exit_.kind in (ExitKind.CRASH, ExitKind.INIT_TIMEOUT):
            return Escalate(f"{child.spec.id} did not start: {exit_.reason or exit_.kind.value}")
        now = trio.current_time()
        decision, self._history = decide(
            self.spec,
            [each.spec for each in self._children.values()],
            self._history,
            child.spec.id,
            exit_,
            now=now,
            up_s=None if life.ready_at is None else now - life.ready_at,
            chance=self._rng.random(),
        )
        return decision

    def _follow(self, decision: Decision, child: Child, error: Exception | None) -> None:
        match decision:
            case Restart():
                self._restart(decision, child)
            case Rest():
                child.settled.set()
            case Drop():
                self._drop(child)
            case Quarantine(why):
                self._shut_away(child, why)
            case Escalate(why):
                fatal = child.last_exit is not None and child.last_exit.kind is ExitKind.FATAL
                self._failure = TreeGaveUp(f"{self.spec.name} gave up: {why}", fatal=fatal)
                self._failure.__cause__ = error
                self._begin_stop()

    def _drop(self, child: Child) -> None:
        child.settled.set()
        self._children.pop(child.spec.id, None)

    def _shut_away(self, child: Child, why: str) -> None:
        child.quarantine, child.state = why, ChildState.QUARANTINED
        child.settled.set()
        self._alarm("quarantined", f"{child.spec.id} is in quarantine: {why}")
        self._on_quarantine(child.spec.id)

    def _quarantine_asked(self, child: Child) -> None:
        if self._stopping or child.quarantine is None or child.state is ChildState.QUARANTINED:
            return
        if child.life is not None:
            self._end(child, child.life, Exit(ExitKind.KILLED, child.quarantine))
            return
        self._agenda.forget(child)
        self._shut_away(child, child.quarantine)

    # --- starting ------------------------------------------------------------------------------

    def _restart(self, decision: Restart, failed: Child) -> None:
        if self.spec.strategy is Strategy.ONE_FOR_ONE:
            self._agenda.revive(failed, decision.delay_s)
            return
        self._agenda.regroup(decision)

    def _spawn(self, child: Child) -> None:
        assert self._nursery is not None
        assert child.life is None
        child.epoch = self._next_epoch(child.spec.id)
        child.lives += 1
        child.state = ChildState.STARTING
        child.life = life = Incarnation(child.epoch, lambda life: self._ready(child, life))
        self._nursery.start_soon(self._live, child, life, name=f"{child.spec.id}#{child.epoch}")
        if child.spec.init_timeout_loop_s < math.inf:
            self._nursery.start_soon(self._watch_start, child, life)

    def _ready(self, child: Child, life: Incarnation) -> None:
        if child.state is ChildState.STARTING:
            child.state = ChildState.RUNNING
        child.was_up = True
        self._record(ActorStartedEvent(at=self._market_now(), actor=child.spec.id, epoch=life.epoch))
        child.settled.set()
        self._tell(Up(child.spec.id, life.epoch))

    async def _live(self, child: Child, life: Incarnation) -> None:
        try:
            with life.scope:
                await child.spec.start(life.epoch, life)
        except Exception as error:
            life.error = error
        self._post(Exited(child, life))

    async def _watch_start(self, child: Child, life: Incarnation) -> None:
        with trio.move_on_after(child.spec.init_timeout_loop_s):
            await life.settled.wait()
        if not life.settled.is_set() and life.wanted is None:
            limit = f"not ready within {child.spec.init_timeout_loop_s:g} s"
            life.wanted = Exit(ExitKind.INIT_TIMEOUT, limit)
            await self._cancel(child, life)

    # --- stopping ------------------------------------------------------------------------------

    def _end(self, child: Child, life: Incarnation, why: Exit) -> None:
        assert self._nursery is not None
        life.wanted = why
        child.state = ChildState.STOPPING
        # Cancelled now and not when the task below runs: what the child has in hand stays there.
        life.scope.cancel()
        self._nursery.start_soon(self._cancel, child, life)

    async def _cancel(self, child: Child, life: Incarnation) -> None:
        life.scope.cancel()
        # A supervisor below is as slow as its slowest child, and finds out by itself which one is stuck.
        with trio.move_on_after(math.inf if child.spec.is_supervisor else KILL_GRACE_LOOP_S):
            await life.gone.wait()
        if not (life.gone.is_set() or life.stuck):
            life.stuck = True
            stuck = Exit(ExitKind.STUCK, f"still there {KILL_GRACE_LOOP_S:g} s after its cancellation")
            child.last_exit = stuck
            self._record_exit(child, life, stuck, "end the process", 0.0)
            self._alarm("stuck", f"{child.spec.id} is stuck: the process ends")
            self._on_stuck(child.spec.id)

    async def _stop_child(self, child: Child) -> None:
        """Ask, wait, cancel, wait, and if it is still there the process has to end."""
        life = child.life
        if life is None or life.gone.is_set():
            return
        child.state = ChildState.STOPPING
        spec, may_wait = child.spec, life.wanted is None or life.wanted.kind is ExitKind.SHUTDOWN
        if spec.ask_stop is not None and spec.shutdown_loop_s > BRUTAL and may_wait:
            if life.wanted is None:
                life.wanted = Exit(ExitKind.SHUTDOWN)
                spec.ask_stop()
            with trio.move_on_after(spec.shutdown_loop_s):
                await life.gone.wait()
        if not life.gone.is_set():
            life.wanted = life.wanted or Exit(ExitKind.SHUTDOWN)
            await self._cancel(child, life)

    def _begin_stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        self._agenda.forget_all()
        assert self._nursery is not None
        self._nursery.start_soon(self._stop_all)

    async def _stop_all(self) -> None:
        children = list(self._children.values())
        async with trio.open_nursery() as together:
            for child in children:
                if child.dynamic:
                    together.start_soon(self._stop_child, child)
        for child in reversed(children):
            await self._stop_child(child)
        self._post(AllDown())

    # --- small things --------------------------------------------------------------------------

    def _tell(self, change: Up | Down) -> None:
        for callback in self._monitors:
            callback(change)

    def _record_exit(
        self, child: Child, life: Incarnation, exit_: Exit, decision: str, delay_s: float
    ) -> None:
        self._record(child.exited_event(life, exit_, decision, delay_s, at=self._market_now()))

    def _alarm(self, code: str, text: str) -> None:
        self._record(AlarmEvent(at=self._market_now(), code=code, text=text))
