"""The gate that every signal passes before any symbol sees it: pure, and told the market time.

`judge` answers one prediction with the events to journal; only `SeenSignals.evolve` remembers, from
those events, so that replaying the journal's `signals` stream rebuilds the memory. An id is acted on
once for ever, whatever source brings it; one that comes again, unchanged, is no new reception.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Self, TypeAlias

import attrs

from protocol.events import AlarmEvent, BaseEvent, PredictionSignalEvent, SignalVerdictEvent, Verdict
from protocol.predictions import PredictionFault, read_prediction
from protocol.signal_memory import BODY, SeenSignals
from protocol.source_settings import SourceRules
from protocol.values import Symbol

TRADED_SIGNALS = frozenset({"BUY", "SELL", "SHORT"})
MALFORMED = "malformed"
CHANGED_BODY = "changed_body"
UNKNOWN_SYMBOL = "unknown_symbol"
NO_TRADE = "no_trade"
FUTURE = "future"
STALE = "stale"
BELOW_CONFIDENCE = "below_confidence"
FLIP_FLOP = "flip_flop"
MAX_REASON = 300
"""Characters of a reason: a body with many faults must not fill the journal."""


@attrs.frozen
class GateLimits:
    """`future_s` is what two honest clocks may differ by. All times in market seconds.

    `max_flips` None: a symbol may be turned around as often as its signals say.
    """

    symbols: frozenset[str]
    min_confidence: float = 0.5
    max_age_s: float = 90.0
    future_s: float = 2.0
    min_confidence_of: tuple[tuple[Symbol, float], ...] = ()
    max_flips: int | None = None
    flip_flop_s: float = 600.0

    @classmethod
    def of(cls, symbols: frozenset[str], rules: SourceRules, max_age_s: float) -> Self:
        """What a source's rules come to for the symbols that are traded."""
        return cls(
            symbols=symbols,
            min_confidence=rules.min_confidence,
            max_age_s=max_age_s,
            min_confidence_of=rules.min_confidence_of,
            max_flips=rules.max_flips,
            flip_flop_s=rules.flip_flop_s,
        )

    def confidence_for(self, symbol: str) -> float:
        """The least confidence that a signal of `symbol` needs."""
        return next((least for name, least in self.min_confidence_of if name == symbol), self.min_confidence)


@attrs.frozen
class Judgement:
    """`events` go to the journal, then to `SeenSignals.evolve`; then `passed`, if any, is handed on.

    No events: the prediction is an unchanged repetition.
    """

    events: tuple[PredictionSignalEvent | SignalVerdictEvent | AlarmEvent, ...] = ()
    passed: PredictionSignalEvent | None = None


REPEATED = Judgement()
GateAnswer: TypeAlias = tuple[Verdict, str, str]


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
    if seen.holds(read.signal_id, read.body_hash):
        return REPEATED
    if read.signal_id in seen:
        return _changed(seen, read, at)
    if isinstance(read, PredictionFault):
        return Judgement((_refuse_body(read.signal_id, read, at, MALFORMED, read.reason),))
    answer = _weigh(read, limits, at, allowance_s) or _weigh_turn(seen, read, limits, at)
    if answer is None:
        return Judgement((read,), passed=read)
    return Judgement((read, _verdict(read, at, answer)))


def judge_again(
    event: PredictionSignalEvent, limits: GateLimits, *, at: datetime, allowance_s: float = 0.0
) -> Judgement:
    """The answer to a reception that passed, whose owner died before its verdict: it may be too old now.

    The turn that it makes was counted when it came.
    """
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


def refuse_reception(event: PredictionSignalEvent, code: str, reason: str, *, at: datetime) -> Judgement:
    """A refusal of a reception that the gate has let pass before."""
    return Judgement((_verdict(event, at, (Verdict.REFUSED, code, reason)),))


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
    least = limits.confidence_for(event.symbol)
    if event.confidence < least:
        return Verdict.IGNORED, BELOW_CONFIDENCE, f"confidence {event.confidence:g} under {least:g}"
    return None


def _weigh_turn(
    seen: SeenSignals, event: PredictionSignalEvent, limits: GateLimits, at: datetime
) -> GateAnswer | None:
    """Why a signal that would turn its symbol around once more must not, or None when it may."""
    if limits.max_flips is None or not seen.turns(event):
        return None
    flips = seen.flips_within(event.symbol, at, limits.flip_flop_s)
    if flips < limits.max_flips:
        return None
    reason = f"turned around {flips} times within {limits.flip_flop_s:g} s, at most {limits.max_flips}"
    return Verdict.REFUSED, FLIP_FLOP, reason


def refuse_name(
    seen: SeenSignals, name: str, symbol: str, code: str, reason: str, *, body_hash: str, at: datetime
) -> Judgement:
    """The answer to something that was received as `name` and is no prediction: one refusal for each body."""
    if seen.holds(name, body_hash):
        return REPEATED
    fault = PredictionFault(name, symbol, body_hash, reason)
    if name in seen:
        return _changed(seen, fault, at)
    return Judgement((_refuse_body(name, fault, at, code, reason),))


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
        cause=BODY + read.body_hash,
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
