"""All signal sources of a run: each an actor of its own, started, stopped and redirected while it runs.

Their supervisor is a part of the edge: a source that fails is restarted or shut away by itself, and stops
neither another one nor anything that trades. What a person does to a source is journalled first; one that
was stopped stays so after a restart, until a person starts it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from random import Random
from typing import Any, Final, Protocol

import attrs
import trio

from actors.child import ChildSpec, ChildState, SupervisorSpec
from actors.file_source import FileSignals
from actors.flow_access import MACHINE_ALLOWANCE_LOOP_S
from actors.market_clock import MarketClock
from actors.signal_desk import SignalCounts, SignalDesk, SourceStatistics
from actors.signals import AGE_GRACE_S, CLOCK_GLANCE_LOOP_S, HttpSignalSource
from actors.supervisor import Supervisor
from actors.webhook_source import WebhookSignals
from actors.websocket_source import WebSocketSignals
from protocol.config import ConfigFaults
from protocol.health import HealthState
from protocol.predictions import MAX_TEXT
from protocol.redaction import Secret
from protocol.source_settings import (
    FileSource,
    FlowThreshold,
    HttpSource,
    Source,
    WebhookSource,
    WebSocketSource,
)
from protocol.supervision_plan import OnExhausted, RestartPolicy

SUPERVISOR = "signals"
PREFIX = "signals:"
"""How the name of a source's actor begins."""
INTENSITY = 5
"""Crashes of one source within a minute after which it is left alone until a person starts it."""
MAX_TICKERS = 1000
KINDS: Final = {
    HttpSource: "http", WebSocketSource: "websocket", WebhookSource: "webhook", FileSource: "file",
}  # fmt: skip
PUSHED_AGE_S: Final = 10.0
"""What a signal that came by itself may be old at most, unless the configuration says otherwise."""
FILE_AGE_S: Final = 60.0


class SignalSource(Protocol):
    """What every kind of source is."""

    async def run(self, epoch: int, task_status: trio.TaskStatus[None]) -> None: ...

    def statistics(self) -> SourceStatistics: ...

    def health(self) -> tuple[str, str]: ...

    def set_tickers(self, tickers: Iterable[str]) -> None: ...


class Marks(Protocol):
    """Small facts beside the journal: how far a feed or a file was read."""

    def get_meta(self, key: str) -> str | None: ...

    def set_meta(self, key: str, value: str) -> None: ...


@attrs.frozen(kw_only=True)
class SourceStatus:
    """A source as it is now, in a word of `protocol.health.HealthState` and a sentence for a person."""

    name: str
    kind: str
    running: bool
    state: str
    sentence: str
    tickers: tuple[str, ...]
    """Empty: whatever comes."""
    counts: SignalCounts
    statistics: SourceStatistics

    def to_dict(self) -> dict[str, Any]:
        return attrs.asdict(self)


@attrs.define(eq=False)
class _Seat:
    """One source and whether it is wanted to run."""

    settings: Source
    source: SignalSource
    tickers: tuple[str, ...]
    wanted: bool = True
    why_not: str = ""
    scope: trio.CancelScope | None = None
    changed: trio.Event = attrs.Factory(trio.Event)

    @property
    def id(self) -> str:
        return PREFIX + self.settings.name


class _Once:
    """Reports a start once, whoever is started after it."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status: trio.TaskStatus[None] | None = task_status

    def started(self, _: None = None) -> None:
        task_status, self._task_status = self._task_status, None
        if task_status is not None:
            task_status.started()


class Sources:
    """The registry of them all, for the tree and for whoever controls the run."""

    def __init__(
        self,
        sources: Sequence[tuple[Source, Secret]],
        *,
        desk: SignalDesk,
        clock: MarketClock,
        marks: Marks,
        also_polled: Iterable[str] = (),
        embedded_url: str = "",
        thresholds: Sequence[FlowThreshold] = (),
        seed: int = 0,
    ) -> None:
        """`also_polled`: tickers at `embedded_url` that nobody trades; their signals get a verdict as well.

        Raises `ConfigFaults` when a source cannot be made of its settings.
        """
        self._desk, self._clock, self._marks = desk, clock, marks
        self._thresholds, self._seed = tuple(thresholds), seed
        self._also_polled, self._embedded_url = tuple(also_polled), embedded_url
        self._seats: dict[str, _Seat] = {}
        self._supervisor: Supervisor | None = None
        wrong: list[str] = []
        for settings, secret in sources:
            try:
                self._seats[settings.name] = self._seat(settings, secret)
            except ValueError as error:
                wrong.append(f"signals.{settings.name}: {error}")
        if wrong:
            raise ConfigFaults(tuple(wrong))

    def _seat(self, settings: Source, secret: Secret) -> _Seat:
        random, traded = Random(f"{self._seed}:{settings.name}"), tuple(sorted(self._desk.symbols))
        desk, clock = self._desk, self._clock
        match settings:
            case HttpSource():
                others = self._also_polled if settings.url == self._embedded_url else ()
                # A ticker of its settings that this run leaves out is not asked for.
                own = tuple(ticker for ticker in settings.tickers if ticker in self._desk.symbols)
                source = HttpSignalSource(
                    settings, secret.reveal(), desk=desk, clock=clock, random=random,
                    tickers=own if settings.tickers else (*traded, *others), thresholds=self._thresholds,
                )  # fmt: skip
                return _Seat(settings, source, source.tickers)
            case WebSocketSource():
                feed = WebSocketSignals(
                    settings, secret, desk=desk, clock=clock, tickers=traded, random=random, marks=self._marks
                )
                return _Seat(settings, feed, traded)
            case WebhookSource():
                return _Seat(settings, WebhookSignals(settings, secret, desk=desk, clock=clock), ())
            case FileSource():
                return _Seat(settings, FileSignals(settings, desk=desk, clock=clock, marks=self._marks), ())

    # --- in the tree ------------------------------------------------------------------------------

    def plan(self) -> SupervisorSpec:
        """The supervisor of the sources: the desk recovers first, then each source for itself."""
        desk = ChildSpec(
            id="desk", start=self._open_desk, restart=RestartPolicy.TRANSIENT, init_timeout_loop_s=math.inf
        )
        return SupervisorSpec(
            name=SUPERVISOR,
            intensity=None,
            children=(desk, *(self._child(seat) for seat in self._seats.values())),
        )

    def join(self, supervisor: Supervisor) -> None:
        """The supervisor that was made of `plan`."""
        self._supervisor = supervisor

    def _child(self, seat: _Seat) -> ChildSpec:
        return ChildSpec(
            id=seat.id,
            start=partial(self._keep, seat),
            intensity=INTENSITY,
            on_exhausted=OnExhausted.QUARANTINE,
        )

    async def _open_desk(self, _epoch: int, task_status: trio.TaskStatus[None]) -> None:
        """Recover; then answer what was received before a restart and still waits for its verdict."""
        await self._desk.recover()
        for name, stopped in self._desk.stopped.items():
            seat = self._seats.get(name)
            if seat is not None:
                seat.wanted, seat.why_not = False, f"stopped {stopped.detail}, before the last start"
        task_status.started()
        while not self._clock.known:
            await trio.sleep(CLOCK_GLANCE_LOOP_S)
        allowance_s = MACHINE_ALLOWANCE_LOOP_S * self._clock.speed
        for seat in self._seats.values():
            if not isinstance(seat.settings, HttpSource):
                max_age_s = max_age_of(seat.settings)
                self._desk.hand_on(seat.settings, max_age_s=max_age_s, allowance_s=allowance_s)
        self._desk.give_up(self._seats)

    async def _keep(self, seat: _Seat, epoch: int, task_status: trio.TaskStatus[None]) -> None:
        """The source's life: it runs while it is wanted, and rests while it is not."""
        once = _Once(task_status)
        while True:
            seat.changed = trio.Event()
            if not seat.wanted:
                once.started()
                await seat.changed.wait()
                continue
            try:
                with trio.CancelScope() as seat.scope:
                    await seat.source.run(epoch, once)
                    return
            finally:
                seat.scope = None

    # --- for whoever controls the run -------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        return tuple(self._seats)

    def status(self) -> tuple[SourceStatus, ...]:
        return tuple(self._status(seat) for seat in self._seats.values())

    def start(self, name: str, *, who: str) -> None:
        """Let a source run that was stopped, or shut away after too many crashes. ValueError if it runs."""
        seat = self._named(name)
        shut_away = self._child_state(seat) is ChildState.QUARANTINED
        if seat.wanted and not shut_away:
            raise ValueError(f"{name} runs already")
        self._desk.note_source(name, "started", f"by {who}")
        seat.wanted, seat.why_not = True, ""
        seat.changed.set()
        if shut_away and self._supervisor is not None:
            self._supervisor.release(seat.id)

    def stop(self, name: str, *, who: str) -> None:
        """Let a source rest until somebody starts it. ValueError if it rests."""
        seat = self._named(name)
        if not seat.wanted:
            raise ValueError(f"{name} is stopped already")
        self._desk.note_source(name, "stopped", f"by {who}")
        seat.wanted, seat.why_not = False, f"stopped by {who}"
        if seat.scope is not None:
            seat.scope.cancel()

    def set_tickers(self, name: str, tickers: Iterable[str], *, who: str) -> None:
        """Ask a source for these tickers from now on; the configuration counts again after a restart.

        ValueError for an unknown source, for none or too many tickers, and for one that nobody trades.
        """
        seat = self._named(name)
        wanted = tuple(dict.fromkeys(tickers))
        known = self._desk.symbols | set(self._also_polled)
        unknown = [ticker[:MAX_TEXT] for ticker in wanted if ticker not in known]
        if not wanted or len(wanted) > MAX_TICKERS:
            raise ValueError(f"{name}: give it 1 to {MAX_TICKERS} tickers; to have none, stop it")
        if unknown:
            raise ValueError(f"{name}: {', '.join(unknown[:5])}: not traded here")
        self._desk.note_source(name, "tickers", f"{', '.join(wanted)}, by {who}")
        seat.source.set_tickers(wanted)
        seat.tickers = wanted

    async def drain(self) -> tuple[str, ...]:
        """Poll every polled service once more, now; the tickers for which that failed."""
        unseen: list[str] = []
        for seat in self._seats.values():
            if isinstance(seat.source, HttpSignalSource) and seat.wanted:
                unseen += await seat.source.drain()
        return tuple(unseen)

    def _named(self, name: str) -> _Seat:
        seat = self._seats.get(name)
        if seat is None:
            raise ValueError(
                f"there is no source {name[:MAX_TEXT]}; there are: {', '.join(self._seats) or 'none'}"
            )
        return seat

    def _status(self, seat: _Seat) -> SourceStatus:
        state, sentence = self._health(seat)
        return SourceStatus(
            name=seat.settings.name,
            kind=KINDS[type(seat.settings)],
            running=seat.scope is not None and seat.wanted,
            state=state,
            sentence=sentence,
            tickers=seat.tickers,
            counts=self._desk.counts(seat.settings.name),
            statistics=seat.source.statistics(),
        )

    def _health(self, seat: _Seat) -> tuple[str, str]:
        child = self._child_state(seat)
        if child is ChildState.QUARANTINED:
            return HealthState.QUARANTINED.value, "it crashed too often and is left alone; start it again"
        if not seat.wanted:
            return HealthState.STOPPED.value, seat.why_not
        if child is ChildState.BACKOFF:
            return HealthState.DOWN.value, "it has crashed and is started again soon"
        return seat.source.health()

    def _child_state(self, seat: _Seat) -> ChildState | None:
        children = () if self._supervisor is None else self._supervisor.which_children()
        return next((child.state for child in children if child.id == seat.id), None)


def max_age_of(settings: Source) -> float:
    """How old a signal of that source may be, in market seconds."""
    if settings.max_age_s is not None:
        return settings.max_age_s
    match settings:
        case HttpSource():
            return settings.poll_s + AGE_GRACE_S
        case WebSocketSource() | WebhookSource():
            return PUSHED_AGE_S
        case FileSource():
            return FILE_AGE_S


def supervised(sources: Sources, make: Callable[[SupervisorSpec], Supervisor]) -> Supervisor:
    """The supervisor of the sources, which know it from now on."""
    supervisor = make(sources.plan())
    sources.join(supervisor)
    return supervisor
