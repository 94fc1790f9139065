"""From a signal to its one verdict: which rule asks for it, and whether it may have its way."""

from __future__ import annotations

import attrs

from protocol.chores import Chores
from protocol.entry import enter, plan_bracket
from protocol.events import (
    PositionUpdateEvent,
    PredictionSignalEvent,
    SignalVerdictEvent,
    Verdict,
)
from protocol.planning import Refusal
from protocol.reports import LinkState
from protocol.rules.actions import Enter, OnOpposite
from protocol.rules.rule import Rule
from protocol.schedule import DayPhase, phase
from protocol.values import Side


@attrs.frozen
class Outcome:
    """What became of the wish to trade: a verdict with its reason."""

    verdict: Verdict
    code: str
    reason: str

    @classmethod
    def refused(cls, refusal: Refusal) -> Outcome:
        return cls(Verdict.REFUSED, refusal.code, refusal.reason)


def say_verdict(chores: Chores, signal: PredictionSignalEvent, outcome: Outcome) -> None:
    chores.emit(SignalVerdictEvent(
        at=chores.at, cause=signal.signal_id, signal_id=signal.signal_id, symbol=chores.plan.symbol,
        verdict=outcome.verdict, code=outcome.code, reason=outcome.reason,
    ))  # fmt: skip


def judge_entry(chores: Chores, rule: Rule, entry: Enter, signal_id: str) -> Outcome:
    """Enter, turn around or leave it: one trade for each symbol.

    The outcome is emitted by the caller before anything else of it would be, so it comes with a plan of
    what to do that has not been done: `perform_entry` does it.
    """
    state, side = chores.state, entry.side
    trade = state.trade
    if trade is None and state.pending is None:
        return _judge_fresh(chores, rule, entry, signal_id)
    if trade is None or trade.closing is not None:
        return Outcome(Verdict.IGNORED, "closing", "the last trade is still being closed")
    if trade.side is side:
        return Outcome(Verdict.IGNORED, "same_side", f"already in a {side.value} trade")
    return _judge_opposite(chores, rule, entry, signal_id)


def _judge_fresh(chores: Chores, rule: Rule, entry: Enter, signal_id: str) -> Outcome:
    refusal = timing_refusal(chores, rule)
    bracket = refusal or plan_bracket(chores, entry, signal_id)
    if isinstance(bracket, Refusal):
        return Outcome.refused(bracket)
    verb = "buys" if bracket.side is Side.BUY else "sells"
    reason = f"rule '{rule.name}' {verb} {bracket.quantity} at about {bracket.reference}"
    outcome = Outcome(Verdict.ACCEPTED, "entry", reason)
    _tell(chores, outcome)
    enter(chores, bracket, signal_id, rule.name)
    return outcome


def _judge_opposite(chores: Chores, rule: Rule, entry: Enter, signal_id: str) -> Outcome:
    """A signal against the trade: close it, and turn around where the rule and the hour allow."""
    trade, side = chores.state.trade, entry.side
    assert trade is not None
    if chores.view.link is not LinkState.UP or not chores.view.reconciled:
        return Outcome(Verdict.REFUSED, "not_reconciled", chores.view.why_not)
    refusal = timing_refusal(chores, rule)
    if refusal is not None and refusal.code in ("cooldown", "repeat"):
        return Outcome.refused(refusal)
    turn = entry.on_opposite is OnOpposite.REVERSE and refusal is None and not chores.state.held
    code, reason = ("reverse", f"against the {trade.side.value} trade: close it and enter {side.value}")
    if not turn:
        why = "the rule says so" if refusal is None else refusal.reason
        code, reason = "close", f"against the {trade.side.value} trade: close it, no new entry ({why})"
    outcome = Outcome(Verdict.ACCEPTED, code, reason)
    _tell(chores, outcome)
    chores.emit(PositionUpdateEvent(
        at=chores.at, cause=signal_id or f"rule {rule.name}", symbol=chores.plan.symbol, trade=trade.trade,
        reason=code, reverse_to=side if turn else None, signal_id=signal_id, rule=rule.name,
    ))  # fmt: skip
    return outcome


def _tell(chores: Chores, outcome: Outcome) -> None:
    """The verdict stands in the journal before what it leads to."""
    signal = chores.cause
    if isinstance(signal, PredictionSignalEvent) and signal.signal_id not in chores.state.judged:
        say_verdict(chores, signal, outcome)


def timing_refusal(chores: Chores, rule: Rule) -> Refusal | None:
    """Whether the hour, the cooldown or a daily limit stands against an entry of `rule`."""
    state, at = chores.state, chores.at
    now = phase(chores.plan.schedule, at)
    if now is not DayPhase.OPEN:
        return Refusal("session", now.value)
    last = state.last_entry_at
    if last is not None:
        since_s = (at - last).total_seconds()
        if since_s < chores.plan.limits.repeat_guard_s:
            return Refusal("repeat", f"the last entry was only {since_s:.1f} s ago")
        reset = rule.reset_by_stop_out and state.stopped_out_at is not None and state.stopped_out_at >= last
        if since_s < rule.cooldown_s and not reset:
            return Refusal("cooldown", f"{rule.cooldown_s - since_s:.0f} s of the cooldown are left")
    today = [entry for entry in state.entries.get(rule.name, ()) if entry.date() == at.date()]
    if rule.max_per_day is not None and len(today) >= rule.max_per_day:
        return Refusal("max_per_day", f"rule '{rule.name}' has entered {len(today)} times today")
    return None
