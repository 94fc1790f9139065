"""The gate that every signal passes before any symbol sees it: pure, and told the market time.

`judge` answers one prediction with the events to journal; only `SeenSignals.evolve` remembers, from
those events, so that replaying the journal's `signals` stream rebuilds the memory. An id is acted on
once for ever; a poll that returns it again, unchanged, is no new reception.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import TypeAlias

import attrs

from protocol.events import AlarmEvent, BaseEvent, PredictionSignalEvent, SignalVerdictEvent, Verdict
from protocol.predictions import PredictionFault, read_prediction

TRADED_SIGNALS = frozenset({"BUY", "SELL", "SHORT"})
MALFORMED = "malformed"
CHANGED_BODY = "changed_body"
UNKNOWN_SYMBOL = "unknown_symbol"
NO_TRADE = "no_trade"
FUTURE = "future"
STALE = "stale"
BELOW_CONFIDENCE = "below_confidence"
MAX_REASON = 300
"""Characters of a reason: a body with many faults must not fill the journal."""
_BODY = "body:"
"""Prefix of the cause of a verdict that no reception stands behind: the hash of the body it judges."""


@attrs.frozen
class GateLimits:
    """`future_s` is what two honest clocks may differ by. All times in market seconds."""

    symbols: frozenset[str]
    min_confidence: float = 0.5
    max_age_s: float = 90.0
    future_s: float = 2.0


@attrs.frozen
class Judgement:
    """`events` go to the journal, then to `SeenSignals.evolve`; then `passed`, if any, is handed on.

    No events: the prediction is an unchanged repetition.
    """

    events: tuple[PredictionSignalEvent | SignalVerdictEvent | AlarmEvent, ...] = ()
    passed: PredictionSignalEvent | None = None


REPEATED = Judgement()
GateAnswer: TypeAlias = tuple[Verdict, str, str]


class SeenSignals:
    """Every signal id that was ever received or judged, each with the hash of the body it came with."""

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, signal_id: str) -> bool:
        return signal_id in self._hashes

    def hash_of(self, signal_id: str) -> str | None:
        return self._hashes.get(signal_id)

    def evolve(self, event: BaseEvent) -> None:
        """Take one event of the stream into the memory; twice is the same as once."""
        match event:
            case PredictionSignalEvent():
                self._hashes.setdefault(event.signal_id, event.body_hash)
            case SignalVerdictEvent() if event.cause.startswith(_BODY):
                self._hashes.setdefault(event.signal_id, event.cause.removeprefix(_BODY))
            case _:
                # Alarms, and verdicts on receptions that are already remembered.
                pass


def judge(
    seen: SeenSignals,
    body: object,
    limits: GateLimits,
    *,
    at: datetime,
    source: str,
    allowance_s: float = 0.0,
) -> Judgement:
    """The answer to one decoded prediction received at market time `at`.

    `allowance_s` is what our own machine may have added, in market seconds: in a replay at sixty times
    the clock, 50 ms of ours are 3 s of the market.
    """
    read = read_prediction(body, at=at, source=source)
    known_hash = seen.hash_of(read.signal_id)
    if known_hash == read.body_hash:
        return REPEATED
    if known_hash is not None:
        return _changed(seen, read, at)
    if isinstance(read, PredictionFault):
        return Judgement((_refuse_body(read.signal_id, read, at, MALFORMED, read.reason),))
    answer = _weigh(read, limits, at, allowance_s)
    if answer is None:
        return Judgement((read,), passed=read)
    return Judgement((read, _verdict(read, at, answer)))


def judge_again(
    event: PredictionSignalEvent, limits: GateLimits, *, at: datetime, allowance_s: float = 0.0
) -> Judgement:
    """The answer to a reception that passed, whose owner died before its verdict: it may be too old now."""
    answer = _weigh(event, limits, at, allowance_s)
    return Judgement((), passed=event) if answer is None else Judgement((_verdict(event, at, answer),))


def unjudged(
    events: Iterable[BaseEvent], judged_elsewhere: Collection[str]
) -> tuple[PredictionSignalEvent, ...]:
    """The receptions of the stream that no verdict answers, neither in it nor in `judged_elsewhere`."""
    waiting: dict[str, PredictionSignalEvent] = {}
    for event in events:
        match event:
            case PredictionSignalEvent() if event.signal_id not in judged_elsewhere:
                waiting.setdefault(event.signal_id, event)
            case SignalVerdictEvent():
                waiting.pop(event.signal_id, None)
            case _:
                pass
    return tuple(waiting.values())


def _weigh(
    event: PredictionSignalEvent, limits: GateLimits, at: datetime, allowance_s: float
) -> GateAnswer | None:
    """Why a well-formed, new prediction must not or need not trade, or None when it passes."""
    age_s = (at - event.predicted_at).total_seconds()
    if event.symbol not in limits.symbols:
        return Verdict.REFUSED, UNKNOWN_SYMBOL, "no configured symbol"
    if event.signal not in TRADED_SIGNALS:
        return Verdict.IGNORED, NO_TRADE, "the prediction asks for no trade"
    if -age_s > limits.future_s + allowance_s:
        return Verdict.REFUSED, FUTURE, f"stamped {-age_s:.1f} s ahead of the market's time"
    if age_s > limits.max_age_s + allowance_s:
        return Verdict.REFUSED, STALE, f"{age_s:.1f} s old, at most {limits.max_age_s:g} s"
    if event.confidence < limits.min_confidence:
        reason = f"confidence {event.confidence:g} under {limits.min_confidence:g}"
        return Verdict.IGNORED, BELOW_CONFIDENCE, reason
    return None


def _changed(seen: SeenSignals, read: PredictionSignalEvent | PredictionFault, at: datetime) -> Judgement:
    """The same id with another body: refused once, under a name of its own, since the id is taken."""
    signal_id = f"{read.signal_id}#{read.body_hash[:12]}"
    if signal_id in seen:
        return REPEATED
    text = f"signal {read.signal_id} came again with another body; the first one holds"
    verdict = _refuse_body(signal_id, read, at, CHANGED_BODY, text)
    return Judgement((verdict, AlarmEvent(at=at, cause=signal_id, code=CHANGED_BODY, text=text)))


def _refuse_body(
    signal_id: str, read: PredictionSignalEvent | PredictionFault, at: datetime, code: str, reason: str
) -> SignalVerdictEvent:
    return SignalVerdictEvent(
        at=at,
        cause=_BODY + read.body_hash,
        signal_id=signal_id,
        symbol=read.symbol,
        verdict=Verdict.REFUSED,
        code=code,
        reason=reason[:MAX_REASON],
    )


def _verdict(event: PredictionSignalEvent, at: datetime, answer: GateAnswer) -> SignalVerdictEvent:
    verdict, code, reason = answer
    return SignalVerdictEvent(
        at=at,
        cause=event.signal_id,
        signal_id=event.signal_id,
        symbol=event.symbol,
        verdict=verdict,
        code=code,
        reason=reason,
    )
