"""The mailbox of one actor: what waits for it, in lanes, while it works or is down.

It belongs to whoever starts the actor, not to the actor's task, and so it survives a restart; the
message that was in hand at a death is delivered once more. A put never waits: a control message and
a report of the broker are always taken, signals are refused past a limit, ticks are conflated, so
that a slow or dead actor costs bounded memory and never holds up the sender.

A trio memory channel was measured first: one wake-up for each message makes it thirty times slower
than this deque that is drained whole, and it has neither lanes nor conflation.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar, cast

import attrs
import outcome
import trio

from protocol.values import Symbol, Tick, TickKind

T = TypeVar("T")

SIGNALS_LIMIT = 256
"""Signals that may wait for one actor: hours of predictions, more is a flood."""
BROKER_HIGH_WATER = 10_000
"""Broker messages waiting from which on the actor counts as hopelessly behind; none is dropped."""

DRAIN_LIMIT = 100
"""Messages handled between two checkpoints of the owner, so that a full mailbox stalls nobody."""


class Lane(enum.IntEnum):
    """The order in which a mailbox is emptied: control first, ticks last."""

    CONTROL = 0
    BROKER = 1
    SIGNALS = 2
    TICKS = 3


@attrs.frozen
class MailboxCounts:
    """Since the mailbox exists. `handled + conflated + dropped + depth == in_` at every moment.

    `depth` includes the message in hand; `dropped` includes dead letters.
    """

    in_: int
    handled: int
    conflated: int
    dropped: int
    depth: int


@attrs.frozen
class Poison(Generic[T]):
    """A message on which its owner crashed twice.

    `kept`: it is a broker message, still first in its lane, and the owner must be quarantined;
    otherwise it was taken out and this is the dead letter.
    """

    lane: Lane
    message: T
    kept: bool


def _ignore_poison(_: Poison[T]) -> None:
    """For a mailbox without a supervisor around it."""


def _ignore_crowd(_: Lane) -> None:
    """For a mailbox of which nobody wants to hear that it is full."""


class Mailbox(Generic[T]):
    """Messages of type T for one actor; `put_tick` only where T includes `Tick`.

    The owner's loop: `await wait()`, then `take()` and `done()` until `take()` gives None; or
    `await serve(handle)`, which does the same and handles messages in the sender's turn where it can.
    """

    def __init__(
        self,
        *,
        on_poison: Callable[[Poison[T]], None] = _ignore_poison,
        on_crowded: Callable[[Lane], None] = _ignore_crowd,
        signals_limit: int = SIGNALS_LIMIT,
        broker_high_water: int = BROKER_HIGH_WATER,
        keeps_poison: bool = True,
    ) -> None:
        """`on_crowded` hears once that a lane is at its limit, and again when it was half empty meanwhile.

        `keeps_poison` False: its broker lane holds what can be asked for again, so that poison in it
        becomes a dead letter like any other.
        """
        self._on_poison, self._on_crowded, self._keeps_poison = on_poison, on_crowded, keeps_poison
        self._crowded = False
        self._holds_signals = False
        self._signals_limit = signals_limit
        self._broker_high_water = broker_high_water
        self._lanes: tuple[deque[T], ...] = tuple(deque() for _ in Lane)
        self._control, self._broker, self._signals, self._kept_ticks = self._lanes
        # Insertion order is the place of the first unread tick of each kind. The lane's deque holds
        # only ticks that must not be conflated, and one that is to be delivered again.
        self._ticks: dict[tuple[Symbol, TickKind], Tick] = {}
        self._hand: T | None = None
        self._hand_lane = Lane.CONTROL
        self._suspects: list[T] = []
        self._waiter: trio.lowlevel.Task | None = None
        self._inline: Callable[[T], None] | None = None
        self._cancel_asked: trio.lowlevel.RaiseCancelT | None = None
        self._in = self._handled = self._conflated = self._dropped = 0

    # --- the sender's side ---------------------------------------------------------------------

    def put(self, lane: Lane, message: T) -> bool:
        """Leave a message. False, and the message is gone, only when the signals lane is full.

        For ticks that may be conflated use `put_tick`; in the TICKS lane this keeps each one.
        """
        self._in += 1
        held = self._holds_signals and lane is Lane.SIGNALS
        if self._inline is not None and self._hand is None and not held:
            self._handle_now(lane, message)
            return True
        waiting = self._lanes[lane]
        if lane is Lane.SIGNALS and len(waiting) >= self._signals_limit:
            self._dropped += 1
            self._tell_crowded(lane)
            return False
        waiting.append(message)
        if lane is Lane.BROKER and len(waiting) > self._broker_high_water:
            self._tell_crowded(lane)
        if self._waiter is not None and self._inline is None and not held:
            self._wake()
        return True

    def _tell_crowded(self, lane: Lane) -> None:
        if not self._crowded:
            self._crowded = True
            self._on_crowded(lane)

    def put_tick(self, tick: Tick) -> None:
        """Leave a tick; an unread one of the same kind is replaced in its place, extremes merged."""
        self._in += 1
        if self._inline is not None and self._hand is None:
            self._handle_now(Lane.TICKS, cast("T", tick))
            return
        key = (tick.symbol, tick.kind)
        unread = self._ticks.get(key)
        if unread is None:
            self._ticks[key] = tick
        else:
            self._conflated += 1
            self._ticks[key] = _merged(unread, tick)
        if self._waiter is not None and self._inline is None:
            self._wake()

    def _wake(self) -> None:
        """Once per burst: the waiter is forgotten here, and parks again only when all is read."""
        task, self._waiter = self._waiter, None
        assert task is not None
        trio.lowlevel.reschedule(task)

    def _handle_now(self, lane: Lane, message: T) -> None:
        """Run the parked owner's handler here, in the sender's turn, and spare the task switch.

        The owner is parked, so its state is at rest and nothing waits before this message. What the
        handler raises belongs to the owner: it is raised in its task, where supervision expects it.
        """
        handle, task = self._inline, self._waiter
        assert handle is not None
        assert task is not None
        self._hand, self._hand_lane = message, lane
        result: outcome.Outcome[None] = outcome.capture(self._finish_hand, handle)
        if isinstance(result, outcome.Value) and self._cancel_asked is not None:
            result = outcome.capture(self._cancel_asked)
        if isinstance(result, outcome.Error):
            self._waiter = self._inline = self._cancel_asked = None
            trio.lowlevel.reschedule(task, result)

    def _finish_hand(self, handle: Callable[[T], None]) -> None:
        handle(cast("T", self._hand))
        self.done()
        # The handler may have left something in its own mailbox.
        if self._takeable:
            self._drain(handle)

    # --- the owner's side ----------------------------------------------------------------------

    async def wait(self) -> None:
        """Park until there is something to take. A checkpoint in any case."""
        if self._waiter is not None:
            raise trio.BusyResourceError("a mailbox has one owner, and somebody already waits on it")
        if self._takeable:
            await trio.lowlevel.checkpoint()
            return
        await self._park()

    async def serve(self, handle: Callable[[T], None]) -> None:
        """Hand every message to `handle`, for ever; while parked here, in the sender's own turn.

        `handle` must not wait; what it raises, `serve` raises. Messages put while one is being
        handled, also by the handler itself, are handled after it, never inside it.
        """
        if self._waiter is not None:
            raise trio.BusyResourceError("a mailbox has one owner, and somebody already waits on it")
        while True:
            await trio.lowlevel.checkpoint()
            self._drain(handle, limit=DRAIN_LIMIT)
            if not self._takeable:
                self._inline = handle
                await self._park()

    async def _park(self) -> None:
        self._waiter = trio.lowlevel.current_task()

        def abort(raise_cancel: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
            if self._hand is not None:
                # Cancelled out of its own handler: `_handle_now` finishes the message first.
                self._cancel_asked = raise_cancel
                return trio.lowlevel.Abort.FAILED
            self._waiter = self._inline = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _drain(self, handle: Callable[[T], None], limit: int | None = None) -> None:
        while self._cancel_asked is None and (message := self.take()) is not None:
            handle(message)
            self.done()
            if limit is not None:
                limit -= 1
                if limit == 0:
                    return

    def take(self) -> T | None:
        """The next message, now in hand until `done()`; None when nothing waits.

        Finding one still in hand means that the owner died with it: see `owner_died`.
        """
        if self._hand is not None:
            self.owner_died()
        if self._control:
            self._hand, self._hand_lane = self._control.popleft(), Lane.CONTROL
        elif self._broker:
            self._hand, self._hand_lane = self._broker.popleft(), Lane.BROKER
        elif self._signals and not self._holds_signals:
            self._hand, self._hand_lane = self._signals.popleft(), Lane.SIGNALS
        elif self._kept_ticks:
            self._hand, self._hand_lane = self._kept_ticks.popleft(), Lane.TICKS
        elif self._ticks:
            first = next(iter(self._ticks))
            self._hand, self._hand_lane = cast("T", self._ticks.pop(first)), Lane.TICKS
        if self._crowded:
            self._crowded = (
                len(self._broker) > self._broker_high_water // 2
                or len(self._signals) > self._signals_limit // 2
            )
        return self._hand

    def done(self) -> None:
        """The message in hand was handled."""
        message = self._hand
        if message is None:
            raise RuntimeError("done() without a message in hand")
        self._hand = None
        self._handled += 1
        if self._suspects:
            self._suspects = [other for other in self._suspects if other is not message]

    def owner_died(self, *, blame: bool = True) -> None:
        """The owner's task has ended: the message it had in hand is first in its lane again.

        `blame`: the message may be the reason (a crash, not an injected kill). The second crash on
        one message makes it poison.
        """
        message, lane = self._hand, self._hand_lane
        if message is None:
            return
        self._hand = None
        seen = any(other is message for other in self._suspects)
        kept = (lane is Lane.BROKER and self._keeps_poison) or not (blame and seen)
        if kept:
            self._lanes[lane].appendleft(message)
        else:
            self._dropped += 1
            self._suspects = [other for other in self._suspects if other is not message]
        if blame and seen:
            self._on_poison(Poison(lane, message, kept))
        elif blame:
            self._suspects.append(message)

    def hold_signals(self) -> None:
        """Signals wait, whatever else is taken, until `let_signals_go`: the owner cannot judge them yet."""
        self._holds_signals = True

    def let_signals_go(self) -> None:
        """The signals that were held follow what else waits."""
        self._holds_signals = False
        if self._signals and self._waiter is not None and self._hand is None:
            self._inline = None
            self._wake()

    def withdraw_signals(self) -> tuple[T, ...]:
        """Take out every signal that waits: there is nobody who will ever judge it. They count as dropped."""
        withdrawn = tuple(self._signals)
        self._signals.clear()
        self._dropped += len(withdrawn)
        return withdrawn

    # --- for those who watch -------------------------------------------------------------------

    @property
    def _takeable(self) -> bool:
        signals = self._signals and not self._holds_signals
        return bool(self._ticks or self._control or self._broker or signals or self._kept_ticks)

    @property
    def waiting(self) -> bool:
        """Whether anything is still to be handled, held signals included."""
        return bool(self._ticks or self._control or self._broker or self._signals or self._kept_ticks)

    @property
    def in_hand(self) -> T | None:
        return self._hand

    @property
    def above_high_water(self) -> bool:
        """Whether more broker messages wait than an owner that keeps up would ever have."""
        return len(self._lanes[Lane.BROKER]) > self._broker_high_water

    @property
    def counts(self) -> MailboxCounts:
        return MailboxCounts(self._in, self._handled, self._conflated, self._dropped, self.depth)

    @property
    def depth(self) -> int:
        """Messages that are not handled yet, the one in hand included."""
        return sum(map(len, self._lanes)) + len(self._ticks) + (self._hand is not None)


def _merged(unread: Tick, newer: Tick) -> Tick:
    return Tick(
        newer.symbol,
        newer.kind,
        newer.price,
        newer.size,
        newer.at,
        min(unread.low, newer.low),
        max(unread.high, newer.high),
    )
