"""The custodian: guards every symbol whose own actor is down for more than two seconds, or in quarantine.

What to do is decided in `protocol/custody.py` from the broker's books alone; here is when to look and who is
told. While it guards a symbol it is the writer of that symbol's stream: what it asks of the broker, and what
executes meanwhile, stands there when the actor comes back and replays. It never touches a symbol that is
running or starting, and the epoch of the dead incarnation fences what it asked, once a new one is up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from actors.child import ChildState
from actors.mailbox import Lane, Mailbox, Poison
from actors.market_clock import MarketClock
from protocol.commands import AskSnapshot, BrokerCommand, CancelOrder, ModifyOrder, PlaceOrders
from protocol.custody import DEAD, Custody, Step, believed, close_ref, custody_of, next_steps
from protocol.events import (
    AlarmEvent,
    BaseEvent,
    CancelEvent,
    CommissionEvent,
    FillEvent,
    ForeignFillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderStatusEvent,
    RejectEvent,
)
from protocol.foreign_shares import foreign_after
from protocol.position import Position
from protocol.reconcile import LOOK_AGAIN_LOOP_S
from protocol.report_events import fill_event, hold_event, lost_event, refusal_event, status_event
from protocol.reports import (
    NOT_SENT,
    CommissionCharged,
    ExecutionReport,
    OrderLost,
    OrderReport,
    Report,
    RequestKind,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.schedule import DayPhase, phase
from protocol.settings import Schedule
from protocol.values import CLOSE, OrderRef, OrderSpec, Symbol, Tick

GRACE_LOOP_S: Final = 2.0
"""How long a symbol may be down before it is guarded: nearly every restart is over by then."""
GLANCE_LOOP_S, GLANCE_S = 0.25, 15.0
"""Between two glances, whichever is sooner: in a fast replay the end of the day is soon over."""
AGAIN_LOOP_S: Final = 2.0
"""Between two looks at a symbol that is not safe yet."""
ROUTINE_LOOP_S: Final = 30.0
"""Between two looks at one that is."""
REPLAY_CHUNK: Final = 100
"""Events of the journal between two checkpoints of a replay."""
STUBBORN_AFTER: Final = 2
"""Refusals of a change after which a stop counts as one that cannot be changed."""
DOWN: Final = frozenset({ChildState.BACKOFF, ChildState.QUARANTINED, ChildState.DOWN})

Heard: TypeAlias = tuple[Symbol, Report | Tick]


class Journal(Protocol):
    """What the actor needs of the journal: events are committed when `append` returns."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None: ...
    def read(self, stream: str | None = None) -> Iterator[BaseEvent]: ...


@attrs.define
class Guard:
    """What is known of one symbol while it is guarded."""

    symbol: Symbol
    position: Position
    used: list[OrderRef]
    """References that orders of the symbol have had."""
    look_at: float
    foreign: int = 0
    """Shares of the position that somebody else holds, signed."""
    apart: tuple[int, int, float] | None = None
    """Our position and the broker's, where they differ, and since when they do."""
    look: Custody | None = None
    refusals: dict[OrderRef, int] = attrs.field(factory=dict)
    ended: set[OrderRef] = attrs.field(factory=set)
    """Closes whose end is in the journal."""
    refused_closes: int = 0
    """One after the other."""
    naked_told: bool = False
    day_ends: bool = False
    """As of the last glance: when it begins to, the books are looked at out of turn."""

    @property
    def flat(self) -> bool:
        """Nothing is held, and nothing works, as far as the last look showed."""
        return self.look is not None and self.look.size == 0 and not self.look.orders

    def take(self, event: BaseEvent) -> None:
        """Count an event of the symbol's stream."""
        before, self.position = self.position, _moved(self.position, event)
        self.foreign = foreign_after(self.foreign, before.quantity, self.position.quantity, event)
        if isinstance(event, NewOrderEvent):
            self.used.append(event.ref)


class Custodian:
    """`states` says how each symbol's actor is; `spec_of` what an order was asked to be; `epoch_of` whose
    commands the broker would still take; `stream_of` names a symbol's stream."""

    def __init__(
        self,
        *,
        states: Callable[[], Mapping[Symbol, ChildState]],
        spec_of: Callable[[OrderRef], OrderSpec | None],
        epoch_of: Callable[[Symbol], int],
        stream_of: Callable[[Symbol], str],
        instance: str,
        broker: Mailbox[BrokerCommand],
        journal: Journal,
        clock: MarketClock,
        schedule: Schedule,
        on_poison: Callable[[Poison[Heard]], None],
    ) -> None:
        # What it hears it can ask for again: one word that kills it is put aside.
        self.mailbox: Mailbox[Heard] = Mailbox(on_poison=on_poison, keeps_poison=False)
        self.guards: dict[Symbol, Guard] = {}
        self._states, self._spec_of, self._epoch_of, self._stream_of = states, spec_of, epoch_of, stream_of
        self._instance, self._broker, self._journal = instance, broker, journal
        self._clock, self._schedule = clock, schedule
        self._down_since: dict[Symbol, float] = {}
        self._flatten: dict[Symbol, str] = {}
        self._fell = trio.Event()

    # --- for the others ---------------------------------------------------------------------------

    def note_fall(self) -> None:
        """A symbol's actor has ended: from now on it is looked at until all are up again."""
        self._fell.set()

    def guards_symbol(self, symbol: Symbol) -> bool:
        return symbol in self.guards and self._states().get(symbol) in DOWN

    def hear(self, symbol: Symbol, report: Report | Tick) -> None:
        """What the broker says of a symbol that is guarded."""
        self.mailbox.put(Lane.BROKER, (symbol, report))

    def flatten(self, symbol: Symbol, reason: str) -> None:
        """Close the position of a symbol, should it be guarded now or soon; a living actor does it itself."""
        self._flatten[symbol] = reason
        guard = self.guards.get(symbol)
        if guard is not None:
            guard.look_at = trio.current_time()

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch for ever. A new incarnation begins its guards anew, from the journal and the broker."""
        del epoch  # its commands carry the epochs of the symbols that it stands for
        self.guards.clear()
        self._down_since.clear()
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.mailbox.serve, self._handle)
            while True:
                self._fell = trio.Event()
                await self._watch()
                if not self._down_since:
                    # Mostly told of at once; a supervisor that dies tells nobody what it takes along.
                    with trio.move_on_after(AGAIN_LOOP_S):
                        await self._fell.wait()
                await trio.sleep(min(GLANCE_LOOP_S, GLANCE_S / self._clock.speed))

    # --- who is guarded ---------------------------------------------------------------------------

    async def _watch(self) -> None:
        now = trio.current_time()
        for symbol, state in tuple(self._states().items()):
            if state not in DOWN:
                self._down_since.pop(symbol, None)
                self._flatten.pop(symbol, None)
                if self.guards.pop(symbol, None) is not None:
                    self._alarm(symbol, "GUARD_ENDED", "its own actor is back and looks after it")
                continue
            since = self._down_since.setdefault(symbol, now)
            patient = state is not ChildState.QUARANTINED and now - since < GRACE_LOOP_S
            if symbol not in self.guards and not patient:
                await self._begin(symbol, state)
        ends = self._day_ends()
        for guard in tuple(self.guards.values()):
            if now >= guard.look_at or (ends and not guard.day_ends):
                guard.look_at = now + AGAIN_LOOP_S
                self._broker.put(Lane.BROKER, AskSnapshot(guard.symbol, self._epoch_of(guard.symbol)))
            guard.day_ends = ends

    def _day_ends(self) -> bool:
        return phase(self._schedule, self._clock.now()) is DayPhase.FLATTEN

    async def _begin(self, symbol: Symbol, state: ChildState) -> None:
        guard = Guard(symbol, Position.empty(symbol), [], trio.current_time())
        for number, event in enumerate(self._journal.read(self._stream_of(symbol))):
            guard.take(event)
            if number % REPLAY_CHUNK == 0:
                await trio.lowlevel.checkpoint()
        if self._states()[symbol] not in DOWN:
            return  # Its own actor came back meanwhile.
        self.guards[symbol] = guard
        why = "in quarantine" if state is ChildState.QUARANTINED else "down"
        self._alarm(
            symbol, "GUARDED", f"its actor is {why}: the custodian keeps its stop in place, or closes it"
        )

    # --- what the broker says ---------------------------------------------------------------------

    def _handle(self, heard: Heard) -> None:
        symbol, report = heard
        guard = self.guards.get(symbol)
        if guard is None or not self.guards_symbol(symbol):
            return  # Its own actor is back, hears the same, and is the one to act.
        match report:
            case SymbolSnapshot():
                self._look(guard, report)
            case CommissionCharged(exec_id=exec_id, commission=commission) if not guard.position.charged(
                exec_id, commission
            ):
                self._write(guard, [
                    CommissionEvent(at=self._clock.now(), cause=exec_id, symbol=symbol, exec_id=exec_id,
                                    commission=commission)
                ])  # fmt: skip
            case ExecutionReport():
                self._book(guard, (report,))
                guard.look_at = trio.current_time()
            case RequestRefused(ref=ref, request=RequestKind.PLACE) if ref.role == CLOSE:
                self._refused(guard, report)
            case RequestRefused(ref=ref, request=request):
                if request is RequestKind.MODIFY:
                    guard.refusals[ref] = guard.refusals.get(ref, 0) + 1
                guard.look_at = trio.current_time()
            case OrderLost(ref=ref):
                self._end_close(guard, lost_event(ref, self._clock.now()))
                guard.look_at = trio.current_time()
            case OrderReport(status=status):
                if status in DEAD:
                    self._end_close(guard, status_event(report, self._clock.now()))
                # An order moved: the books say what has become of it.
                guard.look_at = min(guard.look_at, trio.current_time() + GLANCE_LOOP_S)
            case _:
                guard.look_at = min(guard.look_at, trio.current_time() + GLANCE_LOOP_S)

    def _refused(self, guard: Guard, report: RequestRefused) -> None:
        """A close was not taken. Whoever refuses one refuses the next as well, if it comes at once."""
        if report.terminal:
            self._end_close(guard, refusal_event(report, self._clock.now()))
        pause = min(AGAIN_LOOP_S * 2**guard.refused_closes, ROUTINE_LOOP_S)
        guard.refused_closes += 1
        guard.look_at = trio.current_time() + pause
        if report.code != NOT_SENT:  # of what was never sent its gate has told
            self._alarm(guard.symbol, "REFUSED", f"{report.ref} was refused: {report.reason} ({report.code})")

    def _end_close(self, guard: Guard, end: RejectEvent | OrderStatusEvent) -> None:
        """The limits count each close that may still execute, and would let no other leave beside it."""
        if end.ref.role == CLOSE and end.ref not in guard.ended:
            guard.ended.add(end.ref)
            self._write(guard, [end])

    def _look(self, guard: Guard, snapshot: SymbolSnapshot) -> None:
        """Compare with what must be, and do the next thing for it."""
        self._book(guard, snapshot.executions)
        position = self._believed(guard, snapshot.position)
        if position is None:
            guard.look_at = trio.current_time() + LOOK_AGAIN_LOOP_S
            return
        stubborn = (ref for ref, count in guard.refusals.items() if count >= STUBBORN_AFTER)
        guard.look = look = custody_of(snapshot, position, self._spec_of, stubborn, guard.foreign)
        if not snapshot.tradable:
            return
        now = self._clock.now()
        trade = max((ref.trade for ref in guard.used), default=0)
        steps = next_steps(
            look,
            close_ref(self._instance, guard.symbol, trade, guard.used),
            now,
            flatten=self._day_ends() or guard.symbol in self._flatten,
        )
        self._tell_naked(guard, look)
        if steps:
            self._perform(guard, steps)
        if look.safe or look.closes:
            guard.refused_closes = 0
        pause = ROUTINE_LOOP_S if look.safe and not steps and guard.apart is None else AGAIN_LOOP_S
        guard.look_at = trio.current_time() + pause

    @staticmethod
    def _believed(guard: Guard, theirs: int) -> int | None:
        """The position to guard; a difference to our executions counts from the second look at it."""
        ours, now = guard.position.quantity, trio.current_time()
        if ours == theirs:
            guard.apart = None
        elif guard.apart is None or guard.apart[:2] != (ours, theirs):
            guard.apart = ours, theirs, now
        since = now if guard.apart is None else guard.apart[2]
        return believed(ours, theirs, confirmed=now - since >= LOOK_AGAIN_LOOP_S)

    def _tell_naked(self, guard: Guard, look: Custody) -> None:
        naked = look.size - look.covered
        if naked > 0 and not guard.naked_told:
            self._alarm(guard.symbol, "NAKED", f"{naked} of {look.position} shares have no working stop")
        guard.naked_told = naked > 0

    def _book(self, guard: Guard, executions: Sequence[ExecutionReport]) -> None:
        """Executions are facts whoever lives: into the journal, each once."""
        for report in executions:
            if guard.position.knows(report.exec_id):
                continue
            at = self._clock.now()
            self._write(guard, [fill_event(report, at)])
            if report.ref is None:
                # Its own actor will find the trade in its journal, as a thing of the past.
                hold = hold_event(report, at)
                self._write(guard, [hold])
                self._alarm(guard.symbol, "FOREIGN_TRADE", f"{hold.reason}, while its actor was down")

    # --- performing -------------------------------------------------------------------------------

    def _perform(self, guard: Guard, steps: Sequence[Step]) -> None:
        """Journal, then ask."""
        self._write(guard, steps)
        epoch, symbol = self._epoch_of(guard.symbol), guard.symbol
        for step in steps:
            command: BrokerCommand
            match step:
                case CancelEvent(ref=ref):
                    command = CancelOrder(symbol, epoch, ref)
                case ModifyOrderEvent(order=order):
                    command = ModifyOrder(symbol, epoch, order)
                case NewOrderEvent(order=order):
                    command = PlaceOrders(symbol, epoch, (order,))
            self._broker.put(Lane.BROKER, command)

    def _write(self, guard: Guard, events: Sequence[BaseEvent]) -> None:
        self._journal.append(self._stream_of(guard.symbol), events)
        for event in events:
            guard.take(event)

    def _alarm(self, symbol: Symbol, code: str, text: str) -> None:
        alarm = AlarmEvent(at=self._clock.now(), code=code, text=f"{symbol}: {text}", symbol=symbol)
        self._journal.append("custodian", [alarm])


def _moved(position: Position, event: BaseEvent) -> Position:
    """The position after an event of the symbol's stream."""
    match event:
        case FillEvent() | ForeignFillEvent():
            return position.with_fill(event.exec_id, event.side, event.quantity, event.price)
        case CommissionEvent():
            return position.with_commission(event.exec_id, event.commission)
        case _:
            return position
