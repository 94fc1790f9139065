"""The broker actor: one session with TWS, over one link after the other, for as long as the process lives.

What to say and what to make of an answer is decided in `protocol/session.py`; here is who waits for
what: a link to be read, commands to be taken, times to come. All handlers are synchronous and run in
one thread, so each sees the session at rest. The order of effects is always: journal, send, deliver.

A lost or refused link is a state with a pause behind it, not a crash. Two things do end the actor: an
account that is not the configured one, and no session at all within the first `connect_timeout_loop_s`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import attrs
import trio

from actors.link_alarm import LinkAlarm
from actors.market_clock import MarketClock
from actors.tws_codec import EncodeRefused
from actors.tws_link import Burst, Link, LinkDown
from protocol.commands import BrokerCommand
from protocol.events import AlarmEvent, BaseEvent
from protocol.pacing import RESERVE, Pacer, Parcel
from protocol.reports import LinkState, RequestKind
from protocol.reset_windows import ResetPlan
from protocol.risk.words import OrderGate
from protocol.session import Session
from protocol.session_latency import Latencies
from protocol.session_market_data import LAST_TIME, TICK_MESSAGES, TickMessage
from protocol.session_words import CloseLink, Delivery, Outbox, RefuseBroker, Sending
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from protocol.values import OrderRef, Symbol, Tick

STREAM: Final = "broker"
REPLAY_CHUNK: Final = 100
"""Events of the journal between two checkpoints of a replay, so that it stalls nobody."""
HEALTHY_LOOP_S: Final = 10.0
"""How long a link must have been up for the next pause to be the short one again."""
CLOCK_PLAY_LOOP_S: Final = 0.1
"""How far, in the machine's time, market time may run ahead of the broker's word before it is set back:
the word is in whole seconds and was some milliseconds on its way."""


class BrokerRefused(Exception):
    """The broker's account is not the one of the configuration. Exit code 2, never tried again."""


class NoBroker(Exception):
    """No session within the first connect time-out. Exit code 3."""


class Journal(Protocol):
    """What the actor needs of the journal: events are committed when `append` returns."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None: ...
    def read(self, stream: str | None = None) -> Iterator[BaseEvent]: ...


class Commands(Protocol):
    """What the actor needs of its mailbox: every command to the handler, for ever."""

    async def serve(self, handle: Callable[[BrokerCommand], None]) -> None: ...


@attrs.define
class Backoff:
    """Pauses that double from `first_loop_s` to `longest_loop_s`."""

    first_loop_s: float
    longest_loop_s: float
    _next_loop_s: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next_loop_s = self.first_loop_s

    def next(self) -> float:
        pause = self._next_loop_s
        self._next_loop_s = min(pause * 2, self.longest_loop_s)
        return pause

    def reset(self) -> None:
        self._next_loop_s = self.first_loop_s


@attrs.define
class BrokerLatencies:
    """`received_to_delivered`: from the read of a burst to its ticks and reports in the mailboxes.
    `command_to_sent`: from taking a command to its bytes in the socket, when nothing holds them back."""

    received_to_delivered: Latencies = attrs.field(factory=Latencies)
    command_to_sent: Latencies = attrs.field(factory=Latencies)


class Broker:
    """One for each account. Outlives its own restarts: `run` is called again with the next epoch."""

    def __init__(
        self,
        settings: BrokerSettings,
        symbols: Iterable[Symbol],
        *,
        instance: str,
        connect: Callable[[], Awaitable[Link]],
        journal: Journal,
        mailbox: Commands,
        deliver: Callable[[Sequence[Delivery]], None],
        clock: MarketClock,
        on_sent: Callable[[OrderRef], None] | None = None,
        gate: OrderGate,
        wants_figures: bool = False,
        on_left: Callable[[RequestKind, int, OrderRef | None], None] | None = None,
        resets: ResetPlan | None = None,
    ) -> None:
        """`gate` has the last word on every order. `on_sent` hears of each placement that left, `on_left`
        of every placement, change and cancel, with its TWS order id, as the wire counts them."""
        self._gate, self._wants_figures, self._on_left = gate, wants_figures, on_left
        self._resets = resets or ResetPlan()
        self._severed = ""
        self.settings, self.symbols, self.instance = settings, tuple(symbols), instance
        self.latencies = BrokerLatencies()
        self.has_session = trio.Event()
        """Set once: there has been a session with the right account."""
        self.is_up = trio.Event()
        """Set once: the link has been up, reconciled and ready to trade."""
        self._connect, self._journal, self._mailbox = connect, journal, mailbox
        self._deliver, self._clock, self._on_sent = deliver, clock, on_sent
        self._epochs: dict[Symbol, int] = {}
        self._begin()

    def _begin(self) -> None:
        """Everything that dies with an incarnation of the actor."""
        self.session = Session(
            self.settings, self.symbols, self.instance, gate=self._gate, wants_figures=self._wants_figures,
            resets=self._resets,
        )  # fmt: skip
        for symbol, epoch in self._epochs.items():
            self.session.set_epoch(symbol, epoch)
        self._link: Link | None = None
        limit = self.settings.max_messages_per_s
        self._pacer = Pacer(limit, min(RESERVE, limit // 4))
        self._poke = trio.Event()
        self._sleeping_until = math.inf
        self._failure: Exception | None = None
        self._busy_id = False
        self._last_reason = "TWS has not answered yet"
        self._scope = trio.CancelScope()
        self._unsevered = trio.Event()

    # --- for the others ---------------------------------------------------------------------------

    @property
    def state(self) -> LinkState:
        return self.session.state

    @property
    def account(self) -> str:
        """The account that is traded; empty before the first session."""
        return self.session.account

    def set_epoch(self, symbol: Symbol, epoch: int) -> None:
        """A symbol's actor has started anew: what its former incarnations asked is dropped and counted."""
        self._epochs[symbol] = max(epoch, self._epochs.get(symbol, 0))
        self.session.set_epoch(symbol, epoch)

    @property
    def last_trouble(self) -> str:
        """Why there was no link last."""
        return self._last_reason

    @property
    def busy_id(self) -> bool:
        """Whether the last link failed because another program holds our client id."""
        return self._busy_id

    def drop_entries(self, why: str) -> None:
        """Refuse every entry that was approved and still waits for the wire."""
        out = self._now()
        for parcel in self._pacer.drop_entries():
            assert isinstance(parcel.tag, Sending)
            self._not_sent(parcel.tag, why, out)
        self._perform(out)

    def sever(self, why: str) -> None:
        """Close the link and open no other one until `reconnect`."""
        self._severed = why
        self._close_link(why)

    def reconnect(self) -> None:
        """A person has lifted what severed the link."""
        self._severed = ""
        self._unsevered.set()

    @property
    def severed(self) -> str:
        """Why no link is opened; empty when one may be."""
        return self._severed

    def epoch_of(self, symbol: Symbol) -> int:
        """The incarnation of a symbol's actor whose commands are taken."""
        return self._epochs.get(symbol, 0)

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Replay the journal, then serve for ever. Raises `BrokerRefused` or `NoBroker`."""
        del epoch  # the fence is for commands to the broker, and the broker itself commands nobody
        self._begin()
        await self._replay()
        task_status.started()
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._mailbox.serve, self._handle_command)
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._keep_link)
                nursery.start_soon(self._watch_first_session)
        # Outside the nursery, so that it arrives as it is and not wrapped in a group.
        if self._failure is not None:
            raise self._failure

    async def _replay(self) -> None:
        for number, event in enumerate(self._journal.read(None)):
            self.session.fold(event)
            if number % REPLAY_CHUNK == 0:
                await trio.lowlevel.checkpoint()

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._scope.cancel()

    async def _watch_first_session(self) -> None:
        if self._severed:
            # Nobody connects meanwhile: the time-out is for brokers that do not answer.
            return
        with trio.move_on_after(self.settings.connect_timeout_loop_s):
            await self.has_session.wait()
        if not self.has_session.is_set():
            waited = f"{self.settings.connect_timeout_loop_s:g} s"
            self._fail(NoBroker(f"no broker session within {waited}: {self._last_reason}"))

    # --- the link ---------------------------------------------------------------------------------

    async def _keep_link(self) -> None:
        """Connect, use, pause, for ever; always with the same client id."""
        pauses, busy_pauses = Backoff(0.5, 30.0), Backoff(5.0, 60.0)
        alarm = LinkAlarm(self._resets, self._clock)
        while True:
            while self._severed:
                self._unsevered = trio.Event()
                await self._unsevered.wait()
                pauses.reset()
                alarm.begin_anew()
            up_for = await self._use_one_link()
            if up_for > 0:
                alarm.begin_anew()
            if up_for >= HEALTHY_LOOP_S:
                pauses.reset()
                busy_pauses.reset()
            if alarm.is_due(holding=any(self.session.books.executions.positions.values())):
                self._record("LINK_STAYS_DOWN", f"no link to the broker: {self._last_reason}")
            await trio.sleep((busy_pauses if self._busy_id else pauses).next())

    async def _use_one_link(self) -> float:
        """One link from its beginning to its end; for how long it was up, in loop seconds."""
        self._busy_id = False
        try:
            link = await self._connect()
        except LinkDown as down:
            self._last_reason = str(down)
            return 0.0
        self._link = link
        up_since: float | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run)
                out = self._now()
                self.session.link_opened(out)
                self._perform(out)
                try:
                    while True:
                        self._take(await link.receive())
                        if up_since is None and self.session.state is LinkState.UP:
                            up_since = trio.current_time()
                except LinkDown as down:
                    self._close_link(str(down))
                nursery.cancel_scope.cancel()
        finally:
            self._link = None
            link.close()
            self._pacer.clear()
        return 0.0 if up_since is None else trio.current_time() - up_since

    def _close_link(self, reason: str) -> None:
        """The session ends here; the reader notices that the link is closed and goes on to the next one."""
        link, self._link = self._link, None
        if link is None:
            return
        self._last_reason = reason
        link.close()
        self._pacer.clear()
        out = self._now()
        self.session.link_closed(reason, out)
        self._perform(out)

    # --- in ---------------------------------------------------------------------------------------

    def _take(self, burst: Burst) -> None:
        """One burst, in order. Ticks go through untouched; everything else is the session's."""
        session, clock = self.session, self._clock
        out = self._now()
        deliveries = out.deliveries
        ticks_only = True
        for message in burst.messages:
            if type(message) in TICK_MESSAGES:
                # Compared by type and not matched: nearly every message is one of these.
                tick = self._tick(message, out)  # type: ignore[arg-type]
                if tick is not None:
                    deliveries.append((tick.symbol, tick))
                continue
            ticks_only = False
            if isinstance(message, tws.CurrentTime):
                self._set_clock(message.epoch_s)
                out.at = clock.now()
            session.receive(message, out)
            if out.verdict is not None:
                break
        session.desk.heard_loop_s = out.loop_s
        if session.desk.due_loop_s is not None:
            session.desk.serve_held(out)
            ticks_only = False
        if ticks_only:
            if deliveries:
                self._deliver(deliveries)
        else:
            self._perform(out)
        if deliveries:
            self.latencies.received_to_delivered.add(trio.current_time() - burst.received_at)

    def _tick(self, message: TickMessage, out: Outbox) -> Tick | None:
        if type(message) is tws.TickString:
            if message.tick_type == LAST_TIME and message.value.isdecimal():
                self._clock.advance_to(datetime.fromtimestamp(int(message.value), UTC))
                out.at = self._clock.now()
            return None
        return self.session.lines.tick(message, out.at)

    def _set_clock(self, epoch_s: int) -> None:
        """Follow the broker's word, which is cut to whole seconds, without stopping the clock for it."""
        said = datetime.fromtimestamp(epoch_s, UTC)
        play = timedelta(seconds=1.0 + CLOCK_PLAY_LOOP_S * self._clock.speed)
        if not self._clock.known or not said <= self._clock.now() <= said + play:
            self._clock.set(said)

    def _handle_command(self, command: BrokerCommand) -> None:
        out = self._now()
        self.session.command(command, out)
        sends = bool(out.sends)
        self._perform(out)
        if sends and not self._pacer:
            self.latencies.command_to_sent.add(trio.current_time() - out.loop_s)

    async def _keep_time(self) -> None:
        while True:
            due = self._due()
            self._sleeping_until = math.inf if due is None else due
            self._poke = trio.Event()
            with trio.move_on_at(self._sleeping_until):
                await self._poke.wait()
            out = self._now()
            self.session.tick(out)
            self._perform(out)

    def _due(self) -> float | None:
        times = [time for time in (self.session.due(), self._pacer.due()) if time is not None]
        return min(times, default=None)

    def _now(self) -> Outbox:
        return Outbox(self._clock.now(), trio.current_time())

    # --- out --------------------------------------------------------------------------------------

    def _perform(self, out: Outbox) -> None:
        """Journal, send, deliver; then what sending itself brought about; then a verdict about the link."""
        while True:
            after = self._now()
            if out.events:
                self._journal.append(STREAM, out.events)
            for sending in out.sends:
                self._queue(sending, after)
            self._flush(after)
            if out.deliveries:
                self._deliver(out.deliveries)
            self._obey(out)
            if not (after.events or after.deliveries or after.sends):
                break
            out = after
        self._note_state()
        due = self._due()
        if due is not None and due < self._sleeping_until:
            self._poke.set()

    def _note_state(self) -> None:
        state = self.session.state
        if state is not LinkState.DOWN:
            self.has_session.set()
        if state is LinkState.UP:
            self.is_up.set()

    def _queue(self, sending: Sending, after: Outbox) -> None:
        link = self._link
        if link is None:
            return  # what was asked is unknown now, and asked for again on the next link
        try:
            frames = tuple(link.encode(request) for request in sending.requests)
        except EncodeRefused as problem:
            self._not_sent(sending, str(problem), after)
            return
        if len(frames) > self._pacer.largest:
            self._not_sent(sending, f"{len(frames)} messages at once are beyond the wire's pace", after)
            return
        # A child that protects takes its parent along, should that one still wait: TWS must know it first.
        about = (*sending.keys, *sending.parents)
        parcel = Parcel(frames, sending.urgency, about, sending, sending.change_of)
        self._pacer.offer(parcel, trio.current_time())

    def _flush(self, after: Outbox) -> None:
        """Everything that may leave now, in one write."""
        link, now = self._link, trio.current_time()
        if link is None:
            return
        for late in self._pacer.overdue(now):
            assert isinstance(late.tag, Sending)
            self._not_sent(late.tag, "too many messages were waiting for the wire", after)
        parcels = self._pacer.take(now)
        if not parcels:
            return
        leaving, frames = self._leaving(link, parcels)
        try:
            link.send(b"".join(frames))
        except LinkDown as down:
            self._close_link(str(down))
            return
        for sending in leaving:
            self._tell_left(sending)

    def _leaving(self, link: Link, parcels: Sequence[Parcel]) -> tuple[list[Sending], list[bytes]]:
        """What leaves in this order, and its bytes: anew for a placement that was overtaken by another."""
        numbering = self._now()
        leaving: list[Sending] = []
        frames: list[bytes] = []
        for parcel in parcels:
            assert isinstance(parcel.tag, Sending)
            sending = self.session.orders.leaves(parcel.tag, numbering)
            leaving.append(sending)
            frames += parcel.frames if sending is parcel.tag else map(link.encode, sending.requests)
        self._journal.append(STREAM, numbering.events)
        return leaving, frames

    def _tell_left(self, sending: Sending) -> None:
        if self._on_sent is not None:
            for ref in sending.refs:
                self._on_sent(ref)
        if self._on_left is None:
            return
        for request in sending.requests:
            match request:
                case tws.PlaceOrder(order_id=order_id):
                    kind = RequestKind.PLACE if sending.refs else RequestKind.MODIFY
                case tws.CancelOrder(order_id=order_id):
                    kind = RequestKind.CANCEL
                case _:
                    continue
            self._on_left(kind, order_id, self.session.orders.ref_of_id(order_id))

    def _not_sent(self, sending: Sending, reason: str, after: Outbox) -> None:
        if sending.refs:
            self.session.orders.never_left(sending.refs, reason, after)
        else:
            for order_id in sending.keys:
                self.session.orders.change_never_left(order_id, reason, after)
        after.alarm("NOT_SENT", reason)

    def _obey(self, out: Outbox) -> None:
        match out.verdict:
            case None:
                pass
            case CloseLink(reason, busy_id):
                self._busy_id = busy_id
                self._close_link(reason)
            case RefuseBroker(reason):
                self._fail(BrokerRefused(reason))

    def _record(self, code: str, text: str) -> None:
        self._journal.append(STREAM, [AlarmEvent(at=self._clock.now(), code=code, text=text)])
