"""The one gate that all signal sources share: judge, journal, remember, hand on, in this order.

An object, not an actor: each source calls it in its own turn, and it outlives them all. Whatever
source brings an id, and however often, it is acted on once. The journal's stream `signals` is all that
it remembers across a restart of the process.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import attrs
import trio

from actors.market_clock import MarketClock
from protocol.control_events import FlowThresholdEvent, SourceEvent
from protocol.events import AlarmEvent, BaseEvent, PredictionSignalEvent, SignalVerdictEvent, Verdict
from protocol.rate_window import RateWindow
from protocol.signal_gate import (
    REPEATED,
    GateLimits,
    Judgement,
    judge,
    judge_again,
    refuse_name,
    refuse_reception,
)
from protocol.signal_memory import SeenSignals
from protocol.source_settings import SourceRules

STREAM = "signals"
CHUNK = 100
"""Events between two checkpoints while the memory is rebuilt."""
MAX_JUNK_PER_MIN = 600
"""Refusals of what is no prediction that one source may write into the journal in a minute of market time.

A stranger may send what he likes as often as he likes; past this it is counted, and told in one alarm.
"""
MAX_TAKEN_PER_MIN = 20_000
"""The same for well-formed predictions: ten times what a service for hundreds of tickers sends at once."""
UNKNOWN_SOURCE = "source_gone"


class SignalJournal(Protocol):
    """What the desk needs of the journal."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> object: ...

    def read(self, stream: str) -> Iterable[BaseEvent]: ...


@attrs.define
class SourceStatistics:
    """Counts of a source's own since it was made, whatever its kind.

    `polls`: requests, connections, posts or looks; `troubles`: how many of them brought nothing.
    """

    polls: int = 0
    received: int = 0
    repeated: int = 0
    troubles: int = 0


@attrs.define
class SignalCounts:
    """What the desk has had of one source since the process began.

    Each reception is accepted, ignored or refused.
    """

    accepted: int = 0
    """Handed on to their symbols; those have the last word."""
    ignored: int = 0
    refused: int = 0
    repeated: int = 0
    """Unchanged repetitions of what was received before: no receptions."""
    flooded: int = 0
    """Past `MAX_JUNK_PER_MIN` or `MAX_TAKEN_PER_MIN`: dropped, not acted on, without a verdict of its own."""
    flows: int = 0
    """Threshold events."""


@attrs.define
class _Counter:
    taken: RateWindow
    junk: RateWindow = attrs.Factory(lambda: RateWindow(MAX_JUNK_PER_MIN))
    counts: SignalCounts = attrs.Factory(SignalCounts)
    flooding: bool = False


def _nobody(_: FlowThresholdEvent) -> None:
    """For a desk of which nobody wants to hear of thresholds."""


class SignalDesk:
    """`deliver` takes each signal that passed, `deliver_flow` each threshold event; neither may wait.

    `judged`: the ids that have their verdict in another stream, asked for once and read in chunks.
    """

    def __init__(
        self,
        *,
        symbols: Iterable[str],
        journal: SignalJournal,
        deliver: Callable[[PredictionSignalEvent], None],
        clock: MarketClock,
        judged: Callable[[], Iterable[str]] = frozenset,
        deliver_flow: Callable[[FlowThresholdEvent], None] = _nobody,
        taken_per_min: int = MAX_TAKEN_PER_MIN,
    ) -> None:
        self._symbols, self._taken_per_min = frozenset(symbols), taken_per_min
        self._journal, self._clock, self._judged = journal, clock, judged
        self._deliver, self._deliver_flow = deliver, deliver_flow
        self._seen = SeenSignals()
        self._waiting: dict[str, PredictionSignalEvent] = {}
        """Received and passed, but not handed on: from before the restart, or in hand."""
        self._counters: dict[str, _Counter] = {}
        self.heard_at: datetime | None = None
        """Up to when the journal of an earlier run had heard of signals; None for a fresh one."""
        self.stopped: dict[str, SourceEvent] = {}
        """The sources that a person stopped and nobody has started since, by what the journal says."""
        self._recovering = trio.Lock()
        self._recovered = False

    @property
    def symbols(self) -> frozenset[str]:
        """Whose signals are traded; all others are answered with a refusal."""
        return self._symbols

    @property
    def remembered(self) -> int:
        """How many ids are known."""
        return len(self._seen)

    def counts(self, source: str) -> SignalCounts:
        counter = self._counters.get(source)
        return SignalCounts() if counter is None else attrs.evolve(counter.counts)

    # --- recovery ---------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Rebuild the memory from the journal, once for the process; whoever comes second waits for it."""
        async with self._recovering:
            if self._recovered:
                return
            judged = set[str]()
            for number, signal_id in enumerate(self._judged(), start=1):
                judged.add(signal_id)
                if number % CHUNK == 0:
                    await trio.lowlevel.checkpoint()
            for number, event in enumerate(self._journal.read(STREAM), start=1):
                self._seen.evolve(event)
                self._note_waiting(event, judged)
                self.heard_at = event.at if self.heard_at is None else max(self.heard_at, event.at)
                if number % CHUNK == 0:
                    await trio.lowlevel.checkpoint()
            self._recovered = True

    def _note_waiting(self, event: BaseEvent, judged: Collection[str]) -> None:
        match event:
            case PredictionSignalEvent() if event.signal_id not in judged:
                self._waiting.setdefault(event.signal_id, event)
            case SignalVerdictEvent():
                self._waiting.pop(event.signal_id, None)
            case SourceEvent(source=source, what="stopped"):
                self.stopped[source] = event
            case SourceEvent(source=source, what="started"):
                self.stopped.pop(source, None)
            case _:
                pass

    def hand_on(self, rules: SourceRules, *, max_age_s: float, allowance_s: float = 0.0) -> None:
        """Hand on what this source received and no verdict answers yet, unless it is too old by now.

        To be called once market time is known.
        """
        limits, at = GateLimits.of(self._symbols, rules, max_age_s), self._clock.now()
        for event in self._waiting_of(rules.name):
            judgement = judge_again(event, limits, at=at, allowance_s=allowance_s)
            self._waiting.pop(event.signal_id, None)
            self._perform(judgement)

    def give_up(self, sources: Collection[str]) -> None:
        """Refuse what still waits of sources that are none of `sources`: nobody will hand it on."""
        for event in tuple(self._waiting.values()):
            if event.source not in sources:
                del self._waiting[event.signal_id]
                reason = f"its source {event.source} is not configured any more"
                self._perform(refuse_reception(event, UNKNOWN_SOURCE, reason, at=self._clock.now()))

    def _waiting_of(self, source: str) -> tuple[PredictionSignalEvent, ...]:
        return tuple(event for event in self._waiting.values() if event.source == source)

    # --- what comes in ----------------------------------------------------------------------------

    def take(
        self, body: object, rules: SourceRules, *, max_age_s: float, allowance_s: float = 0.0
    ) -> Judgement:
        """Answer one decoded prediction, received now; the answer is already carried out.

        `allowance_s`: what our own machine may have added to its age, in market seconds.
        """
        limits, at = GateLimits.of(self._symbols, rules, max_age_s), self._clock.now()
        judgement = judge(self._seen, body, limits, at=at, source=rules.name, allowance_s=allowance_s)
        return self._admit(rules.name, judgement)

    def refuse(
        self, name: str, symbol: str, code: str, reason: str, *, body_hash: str, source: str = ""
    ) -> Judgement:
        """A verdict for what is no prediction at all; `name` stands for its id. Once for each body."""
        judgement = refuse_name(
            self._seen, name, symbol, code, reason, body_hash=body_hash, at=self._clock.now()
        )
        return self._admit(source, judgement)

    def take_flow(self, event: FlowThresholdEvent) -> bool:
        """Journal a threshold event and hand it on, once for each `event_id`; False: seen before."""
        if self._seen.holds_flow(event.event_id):
            return False
        self._journal.append(STREAM, [event])
        self._seen.evolve(event)
        self._counter(event.source).counts.flows += 1
        self._deliver_flow(event)
        return True

    def alarm(self, code: str, text: str) -> None:
        """Something about the sources that a person should know."""
        self._journal.append(STREAM, [AlarmEvent(at=self._clock.now(), code=code, text=text)])

    def note_source(self, source: str, what: str, detail: str) -> None:
        """What is being done to a source: written before it is done."""
        event = SourceEvent(at=self._clock.now(), source=source, what=what, detail=detail)
        self._journal.append(STREAM, [event])

    def _admit(self, source: str, judgement: Judgement) -> Judgement:
        """Count, and carry out what does not flood the journal."""
        counter = self._counter(source)
        if not judgement.events:
            counter.counts.repeated += 1
            return judgement
        received = isinstance(judgement.events[0], PredictionSignalEvent)
        if not self._has_room(source, counter, counter.taken if received else counter.junk):
            counter.counts.flooded += 1
            return REPEATED
        _count(counter.counts, judgement)
        self._perform(judgement)
        return judgement

    def _has_room(self, source: str, counter: _Counter, window: RateWindow) -> bool:
        """Whether the source may write once more; the first time that it may not is told."""
        now = self._clock.now()
        if window.take(now):
            if window.remaining(now) > window.limit // 2:
                counter.flooding = False
            return True
        if not counter.flooding:
            counter.flooding = True
            what = "bodies that are no predictions" if window is counter.junk else "predictions"
            text = f"{source or 'a source'}: more than {window.limit} {what} within a minute"
            self.alarm("signals_flood", f"{text}; the rest is dropped and counted")
        return False

    def _perform(self, judgement: Judgement) -> None:
        """Journal, remember, hand on: in this order."""
        if judgement.events:
            self._journal.append(STREAM, judgement.events)
        for event in judgement.events:
            self._seen.evolve(event)
        passed = judgement.passed
        if passed is not None:
            # Whoever dies while it is in hand leaves it here, for the next start.
            self._waiting[passed.signal_id] = passed
            self._deliver(passed)
            del self._waiting[passed.signal_id]

    def _counter(self, source: str) -> _Counter:
        counter = self._counters.get(source)
        if counter is None:
            counter = self._counters[source] = _Counter(RateWindow(self._taken_per_min))
        return counter


def _count(counts: SignalCounts, judgement: Judgement) -> None:
    if judgement.passed is not None:
        counts.accepted += 1
        return
    verdict = next(event for event in judgement.events if isinstance(event, SignalVerdictEvent))
    if verdict.verdict is Verdict.IGNORED:
        counts.ignored += 1
    else:
        counts.refused += 1
