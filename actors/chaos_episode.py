"""One episode: a market, a simulated TWS, and one life of the trading system after the other.

All in one trio run on the mock clock, over memory links, with a seed for everything: the same seed is the
same episode, entry for entry of its timeline. First everything is done to it that was drawn (safety), then
nothing any more, and all must come right (liveness).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from time import perf_counter
from typing import Final

import attrs
import trio

from actors.chaos_defects import Flaw
from actors.chaos_life import Countdown, Life, ShakyJournal
from actors.chaos_process import Process
from actors.deterministic import JumpingClock, run_deterministically
from actors.journal import Journal, JournalFailed
from actors.simulated_tws import SimulatedTws
from protocol.chaos.defects import Defect
from protocol.chaos.market import make_market
from protocol.chaos.plan import (
    HEAL_S,
    TAIL_MIN,
    Crash,
    CrashPoint,
    DiskFailure,
    EpisodePlan,
    Kill,
    Pause,
    Switch,
    Victim,
)
from protocol.chaos.signals import Prediction, SignalKind
from protocol.chaos.timeline import (
    Blow,
    Compared,
    Connected,
    Entry,
    FaultDone,
    Happened,
    Healed,
    Journalled,
    Looked,
    ProcessBegan,
    ProcessEnded,
    Raised,
    Sent,
    Struck,
)
from protocol.events import BaseEvent
from protocol.exchange.happenings import Happening
from protocol.reports import LinkState
from protocol.risk.words import KillLevel
from protocol.tws.messages import ClientRequest
from protocol.values import Symbol

LOOK_EVERY_LOOP_S: Final = 5.0
ATTENDS_EVERY_S: Final = 45.0
"""How often a person looks at what waits for one."""
COMPARE_EVERY_LOOP_S: Final = 280.0
FLOOD_S: Final = 1.0
MAX_LIVES: Final = 200
"""Of the process in one episode: one that dies at once, again and again, is a bug and no episode."""


class Witness:
    """Where the entries of the timeline come together; `take` is handed each of them at once."""

    def __init__(self, take: Callable[[Entry], None]) -> None:
        self._take = take
        self._hash = hashlib.sha256()
        self.entries = 0

    def note(self, entry: Entry) -> None:
        self.entries += 1
        self._hash.update(brief(entry).encode())
        self._take(entry)

    @property
    def trace_hash(self) -> str:
        """Equal for equal episodes."""
        return self._hash.hexdigest()[:16]

    # The face that the simulated TWS tells what happens.

    def happened(self, happening: Happening) -> None:
        self.note(Happened(trio.current_time(), happening))

    def connected(self, client_id: int, *, up: bool) -> None:
        del client_id  # only ours connects; others act without a connection
        self.note(Connected(trio.current_time(), up))

    def fault(self, kind: str, what: str, at: datetime) -> None:
        self.note(FaultDone(trio.current_time(), at, kind, what))


class _StepCounter(trio.abc.Instrument):
    """Does something before the `left`th step of any task from now on."""

    def __init__(self, left: int, do: Callable[[], None]) -> None:
        self._left, self._do = left, do

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        del task
        self._left -= 1
        if self._left == 0:
            trio.lowlevel.remove_instrument(self)
            self._do()


class Episode:
    """Played once. `take` hears every entry of its timeline."""

    def __init__(self, plan: EpisodePlan, take: Callable[[Entry], None]) -> None:
        self.plan, self.witness = plan, Witness(take)
        minutes = (plan.safety_s + HEAL_S) / 60 + TAIL_MIN
        market = make_market(plan.random("market"), plan.tempers, plan.start, minutes)
        self.tws = SimulatedTws(
            market, plan.venue, seed=plan.seed, start=plan.start, settings=plan.tws, faults=plan.faults
        )
        self.tws.watch(self.witness)
        self.disk = Journal.memory()
        self.process: Process | None = None
        self.lives = 0
        self._healed = self._over = self._switched = False
        self._told: set[Prediction] = set()
        self._flaws: dict[Symbol, Flaw] = {}
        self._flooded_at = float("-inf")

    async def play(self) -> None:
        """The whole episode. Raises what ends a process and was not injected."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.tws.run)
            nursery.start_soon(self._keep_alive, nursery)
            for crash in self.plan.crashes:
                nursery.start_soon(self._crash, crash)
            for kill in self.plan.kills:
                nursery.start_soon(self._kill, kill)
            for failure in self.plan.disk:
                nursery.start_soon(self._fail_disk, failure)
            for pause in self.plan.pauses:
                nursery.start_soon(self._pause, pause)
            for switch in self.plan.switches:
                nursery.start_soon(self._switch, switch)
            for defect in self.plan.defects:
                nursery.start_soon(self._spoil, defect)
            nursery.start_soon(self._attend)
            nursery.start_soon(self._compare)
            await trio.sleep_until(self.plan.safety_s)
            self._heal()
            await self._look_until(self.plan.safety_s + HEAL_S)
            self._over = True
            nursery.cancel_scope.cancel()
        self.disk.close()

    # --- lives ------------------------------------------------------------------------------------

    async def _keep_alive(self, nursery: trio.Nursery) -> None:
        """What a process manager does: one life after the other, with a pause between them."""
        while self.lives < MAX_LIVES:
            self.lives += 1
            life = Life(self.lives, self._note_death)
            self._note(ProcessBegan(trio.current_time(), life.number))
            journal = ShakyJournal.opened(self.disk, life, self._recorder(life))
            self.process = Process(
                self.plan, life, journal,
                dial=self.tws.connect_memory, on_sent=self._sender(life), arrived=self._prediction_arrived,
                flaws=self._flaws,
            )  # fmt: skip
            nursery.start_soon(life.wait_for_death)
            why, expected = await self.process.live()
            if self._over:
                return
            life.alive = False
            self._note(ProcessEnded(trio.current_time(), life.number, why, expected))
            await trio.sleep(life.down_s)

    def _note(self, entry: Entry) -> None:
        self.witness.note(entry)

    def _struck(self, blow: Blow, kind: str, what: str) -> None:
        self._note(Struck(trio.current_time(), self.tws.market_now(), blow, kind, what))

    def _note_death(self, point: CrashPoint) -> None:
        self._struck(Blow.PROCESS, point.value, f"life {self.lives}")

    def _recorder(self, life: Life) -> Callable[[int, str, Sequence[BaseEvent]], None]:
        def record(head: int, stream: str, events: Sequence[BaseEvent]) -> None:
            now, first = trio.current_time(), head - len(events) + 1
            for seq, event in enumerate(events, first):
                self._note(Journalled(now, life.number, seq, stream, event))

        return record

    def _sender(self, life: Life) -> Callable[[ClientRequest, float | None], None]:
        def sent(request: ClientRequest, tick_age_s: float | None) -> None:
            assert self.process is not None
            at = self.process.clock.now()
            self._note(Sent(trio.current_time(), at, life.number, request, tick_age_s))

        return sent

    def _prediction_arrived(self, prediction: Prediction) -> None:
        if prediction.kind is SignalKind.GENUINE or prediction in self._told:
            return
        self._told.add(prediction)
        # A flood is one thing that is done, however many drops it has.
        more = prediction.kind is SignalKind.FLOOD and trio.current_time() - self._flooded_at < FLOOD_S
        if prediction.kind is SignalKind.FLOOD:
            self._flooded_at = trio.current_time()
        if not more:
            self._struck(Blow.SIGNAL, prediction.kind.value, "")

    # --- blows ------------------------------------------------------------------------------------

    async def _crash(self, crash: Crash) -> None:
        await trio.sleep_until(crash.at_s)
        life = self.process.life if self.process is not None else None
        if life is None or not life.alive:
            return
        match crash.point:
            case CrashPoint.AT_ONCE:
                life.die(crash.point, crash.down_s)
            case CrashPoint.AT_STEP:
                trio.lowlevel.add_instrument(
                    _StepCounter(crash.nth, lambda: life.die(crash.point, crash.down_s))
                )
            case _:
                life.arm_crash(Countdown(crash.point, crash.nth, crash.down_s))

    async def _kill(self, kill: Kill) -> None:
        await trio.sleep_until(kill.at_s)
        if kill.steps:
            due = trio.Event()
            trio.lowlevel.add_instrument(_StepCounter(kill.steps, due.set))
            await due.wait()
        process = self.process
        if self._healed or process is None or not process.life.alive:
            return
        # Noted before: what the death leads to comes after it.
        name = process.kill(kill.victim, kill.pick)
        if name:
            self._struck(Blow.ACTOR, kill.victim.value, name)

    async def _fail_disk(self, failure: DiskFailure) -> None:
        await trio.sleep_until(failure.at_s)
        life = self.process.life if self.process is not None else None
        if life is not None and life.alive:
            self._struck(Blow.DISK, failure.fault.value, f"write {failure.nth} from now on")
            life.arm_disk(Countdown(failure.fault, failure.nth, failure.down_s))

    async def _pause(self, pause: Pause) -> None:
        await trio.sleep_until(pause.at_s)
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, JumpingClock)
        self._struck(Blow.PAUSE, "machine_paused", f"for {pause.lasts_s:g} s")
        clock.jump(pause.lasts_s)

    async def _switch(self, switch: Switch) -> None:
        await trio.sleep_until(switch.at_s)
        process = self.process
        if process is None or not process.life.alive:
            return
        self._struck(Blow.PERSON, switch.kind, "")
        with suppress(JournalFailed):
            process.raise_level(switch.level)
        self._switched = True
        await trio.sleep_until(switch.off_s)
        # Whoever lives then: the level has outlasted the one who was told. A link that was severed has no
        # clock before the level is lowered, and a process that dies of the word has not heard it.
        severed, heard = switch.level is KillLevel.SEVER, False
        while not heard:
            process = self.process
            if process is not None and process.life.alive and (severed or process.clock.known):
                with suppress(JournalFailed):
                    process.lower_level()
                heard = process.life.alive
                self._switched = not heard
            if not heard:
                await trio.sleep(LOOK_EVERY_LOOP_S)

    async def _attend(self) -> None:
        """A person looks in now and then: what has been held for a while is resumed, a level that a limit
        or a liquidation demanded is lowered. Otherwise an early word of somebody else ends the episode."""
        seen: frozenset[Symbol] = frozenset()
        while not self._healed:
            await trio.sleep(ATTENDS_EVERY_S)
            process = self.process
            if process is None or not process.life.alive or not process.clock.known:
                continue
            held = frozenset(each.symbol for each in process.standings() if each.held)
            # A disk that fails at such a moment is the process's business, which ends by it.
            with suppress(JournalFailed):
                for symbol in sorted(held & seen):
                    process.resume(symbol)
                if not self._switched:
                    process.lower_level()
            seen = held

    async def _spoil(self, defect: Defect) -> None:
        """A defect is there, and later a person has mended it."""
        await trio.sleep_until(defect.at_s)
        flaw = self._flaws[defect.symbol] = Flaw(defect, self._raised)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._accompany, flaw)
            nursery.start_soon(self._mend, flaw)

    async def _accompany(self, flaw: Flaw) -> None:
        await flaw.fell.wait()
        fell_s = trio.current_time()
        for other in flaw.defect.company:
            await self._kill(Kill(fell_s + other.after_s, Victim.SYMBOL, other.pick))

    async def _mend(self, flaw: Flaw) -> None:
        defect = flaw.defect
        if defect.mended_s is None:
            return
        await trio.sleep_until(defect.mended_s)
        flaw.mended = True
        while (process := self.process) is None or not process.life.alive or not process.clock.known:
            await trio.sleep(LOOK_EVERY_LOOP_S)
        with suppress(JournalFailed):
            process.system.release_symbol(defect.symbol)

    def _raised(self, defect: Defect, count: int) -> None:
        if count == 1:
            self._struck(Blow.DEFECT, defect.kind.value, defect.symbol)
        self._note(Raised(trio.current_time(), defect.kind, defect.symbol, count))

    # --- looks ------------------------------------------------------------------------------------

    async def _compare(self) -> None:
        while True:
            await trio.sleep(COMPARE_EVERY_LOOP_S)
            process = self.process
            if process is None:
                continue
            for symbol in self.plan.symbols:
                same = process.replays_alike(symbol)
                if same is not None:
                    self._note(Compared(trio.current_time(), process.clock.now(), symbol, same))

    def _heal(self) -> None:
        self._healed = True
        self.tws.disarm()
        for flaw in self._flaws.values():
            flaw.mended = True
        process = self.process
        if process is not None:
            process.life.disarm()
        self._note(Healed(trio.current_time(), self.tws.market_now()))

    async def _look_until(self, end_s: float) -> None:
        while trio.current_time() < end_s:
            await trio.sleep(LOOK_EVERY_LOOP_S)
            process = self.process
            if process is None or not process.life.alive:
                continue
            self._note(
                Looked(
                    trio.current_time(), process.clock.now(),
                    process.system.broker.state is LinkState.UP, process.unknown_orders(),
                    process.standings(),
                )
            )  # fmt: skip


def brief(entry: Entry) -> str:
    """An entry in one line, the same for the same entry in any process."""
    match entry:
        case Happened(loop_s, happening):
            return f"{loop_s:.6f} venue {type(happening).__name__} {_order_of(happening)}\n"
        case Sent(loop_s, _, process, request):
            about = getattr(request, "order_id", getattr(request, "req_id", ""))
            return f"{loop_s:.6f} wire #{process} {type(request).__name__} {about}\n"
        case Journalled(loop_s, process, seq, stream, event):
            return f"{loop_s:.6f} journal #{process} {seq} {stream} {event}\n"
        case _:
            return f"{entry}\n"


def _order_of(happening: Happening) -> str:
    order = getattr(happening, "order", None)
    if order is None:
        return f"{getattr(happening, 'quantity', '')} {getattr(happening, 'exec_id', '')}"
    asked, execution = order.order, getattr(happening, "execution", None)
    told = (
        ""
        if execution is None
        else f" exec {execution.exec_id} {execution.side} {execution.quantity} at {execution.price}"
    )
    held = f" held {order.why_held}" if order.why_held else ""
    return (
        f"{asked.order_ref or 'foreign'} perm {order.perm_id} {asked.action} {asked.total_quantity}"
        f" {asked.order_type} lmt {asked.lmt_price} aux {asked.aux_price} {order.status.value}"
        f" filled {order.filled}{held}{told}"
    )


@attrs.frozen(kw_only=True)
class Played:
    """What one episode came to, beside what its checkers say."""

    trace_hash: str
    entries: int
    lives: int
    wall_s: float


def play(plan: EpisodePlan, take: Callable[[Entry], None]) -> Played:
    """Play an episode to its end, the same way every time."""
    began = perf_counter()
    lives, witnesses = [], []

    async def main() -> None:
        episode = Episode(plan, take)
        witnesses.append(episode.witness)
        await episode.play()
        lives.append(episode.lives)

    run_deterministically(main, seed=plan.seed)
    return Played(
        trace_hash=witnesses[0].trace_hash,
        entries=witnesses[0].entries,
        lives=lives[0],
        wall_s=perf_counter() - began,
    )
