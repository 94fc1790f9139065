"""When rules are looked at, and which of them act.

A rule that asks for a signal is asked with each signal. Any other acts when its condition becomes true, and
not again before it was false in between and its cooldown is over; where what it wants is refused for the
moment, it is tried again while the condition holds. What was true before a restart is not known after it:
a rule that would enlarge a position has to be seen false first, one that only reduces risk acts at once.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from protocol.chores import Chores
from protocol.control_events import FlowThresholdEvent
from protocol.events import BaseEvent, NotifyEvent, PredictionSignalEvent, RuleFiredEvent, Verdict
from protocol.judging import Outcome, say_verdict
from protocol.rules.acting import act
from protocol.rules.actions import (
    Action,
    Choose,
    Close,
    DoubleDown,
    Enter,
    FlattenAll,
    Hedge,
    PlainOrder,
    ScaleIn,
    Submit,
)
from protocol.rules.conditions import asks_for_signal, event_types, holds, why_not
from protocol.rules.rule import Rule
from protocol.signal_gate import STALE
from protocol.symbol_state import SymbolState

EVALUATE_EVERY: Final = timedelta(seconds=5.0)
"""Rules about time and positions are looked at this often in market time, besides after each message."""
TRY_AGAIN: Final = timedelta(seconds=0.25)
"""A refused wish of a rule whose condition still holds is tried again after this long."""

_TRADES = (Enter, Submit, PlainOrder, ScaleIn, DoubleDown, Close, FlattenAll)
_ENLARGES = (Enter, Submit, PlainOrder, ScaleIn, DoubleDown, Hedge)


def is_on(state: SymbolState, rule: Rule) -> bool:
    """Whether the rule is switched on: by the configuration, or since then."""
    return state.switched.get(rule.name, rule.enabled)


def judge(chores: Chores, signal: PredictionSignalEvent) -> None:
    """Give a signal its one verdict, and let the rules that ask for it act, the most important first.

    Only one of them trades. Where none holds, the verdict says what was missing to the first that is about
    such a signal.
    """
    if signal.signal_id in chores.state.judged:
        return
    waited = chores.at - signal.at
    if waited > chores.plan.longest_wait:
        reason = f"it has waited {waited.total_seconds():.0f} s for its symbol"
        say_verdict(chores, signal, Outcome(Verdict.REFUSED, STALE, reason))
        return
    if chores.view.stopping:
        # What is begun now would be half done when the link goes; positions keep their stops.
        say_verdict(chores, signal, Outcome(Verdict.REFUSED, "stopping", "the system stops"))
        return
    missing, traded, acted = "", False, list[Outcome]()
    for rule in chores.plan.rules:
        if not asks_for_signal(rule.when) or not is_on(chores.state, rule):
            continue
        facts = chores.facts()
        if holds(rule.when, facts) is not True:
            missing = missing or f"rule '{rule.name}': {why_not(rule.when, facts)}"
            continue
        trades = _contains(rule.then, _TRADES)
        if trades and traded:
            continue
        traded = traded or trades
        outcomes = act(chores, rule, rule.then, signal.signal_id)
        acted += outcomes
        if rule.entry is None and any(outcome.verdict is Verdict.ACCEPTED for outcome in outcomes):
            _note_fired(chores, rule, f"{signal.signal} with confidence {signal.confidence:g}")
    if signal.signal_id in chores.state.judged:
        return
    telling = [outcome for outcome in acted if outcome.verdict is not Verdict.ACCEPTED] or acted
    if telling:
        say_verdict(chores, signal, telling[0])
        return
    why = f" ({missing})" if missing else ""
    reason = f"no rule acts on {signal.signal} with confidence {signal.confidence:g}{why}"
    say_verdict(chores, signal, Outcome(Verdict.IGNORED, "no_rule", reason))


def evaluate(chores: Chores, happened: tuple[BaseEvent, ...]) -> None:
    """Let the rules that ask for no signal act, after everything else of a message is done."""
    for rule in chores.plan.rules:
        if asks_for_signal(rule.when):
            continue
        if not is_on(chores.state, rule):
            chores.view.rule_was[rule.name] = False
        elif event_types(rule.when):
            _answer_events(chores, rule, happened)
        else:
            _follow(chores, rule)
    if chores.plan.timed_rules:
        chores.look_again(chores.at + EVALUATE_EVERY)


def _answer_events(chores: Chores, rule: Rule, happened: tuple[BaseEvent, ...]) -> None:
    """A rule about events is asked with each of them; its own doings are none."""
    wanted = event_types(rule.when)
    for event in happened:
        if isinstance(event, FlowThresholdEvent) and chores.state.answered.get(rule.name) == event.event_id:
            continue  # It comes once more after a crash, and this rule has acted on it.
        if isinstance(event, wanted) and not isinstance(event, RuleFiredEvent):
            cause, chores.cause = chores.cause, event
            if holds(rule.when, chores.facts()) is True and _may_fire(chores, rule):
                _fire(chores, rule, event.event_type)
            chores.cause = cause


def _follow(chores: Chores, rule: Rule) -> None:
    view, name = chores.view, rule.name
    if holds(rule.when, chores.facts()) is not True:
        view.rule_was[name] = False
        view.rule_tries.pop(name, None)
        return
    before = view.rule_was.get(name)
    view.rule_was[name] = True
    if before is None and _contains(rule.then, _ENLARGES):
        return
    again_at = view.rule_tries.get(name)
    if (before is True and again_at is None) or not _may_fire(chores, rule):
        if before is not True:
            # It became true at a moment at which it may not act yet.
            view.rule_tries[name] = chores.at + TRY_AGAIN
            chores.look_again(chores.at + TRY_AGAIN)
        return
    if again_at is not None and not chores.due(again_at):
        return
    if _fire(chores, rule, "its condition holds"):
        view.rule_tries.pop(name, None)
    else:
        view.rule_tries[name] = chores.at + TRY_AGAIN
        chores.look_again(chores.at + TRY_AGAIN)


def _may_fire(chores: Chores, rule: Rule) -> bool:
    """Whether cooldown and daily limit allow it. Entries have their own, which all rules share."""
    if rule.entry is not None:
        return True
    fired = [at for at in chores.state.fired.get(rule.name, ()) if at.date() == chores.at.date()]
    if rule.max_per_day is not None and len(fired) >= rule.max_per_day:
        return False
    return not fired or chores.at >= fired[-1] + timedelta(seconds=rule.cooldown_s)


def _fire(chores: Chores, rule: Rule, why: str) -> bool:
    """Act. False when nothing of what it wants could be done now, so that it is worth another try."""
    outcomes = act(chores, rule, rule.then, "")
    refused = [outcome for outcome in outcomes if outcome.verdict is Verdict.REFUSED]
    if rule.name not in chores.view.rule_tries:
        # Said once, not with each further try.
        for outcome in refused:
            _note_refused(chores, rule, outcome)
    if not any(outcome.verdict is Verdict.ACCEPTED for outcome in outcomes):
        return not refused
    _note_fired(chores, rule, why)
    return True


def _note_refused(chores: Chores, rule: Rule, outcome: Outcome) -> None:
    """For the record: what a rule wanted and did not get."""
    chores.emit(NotifyEvent(
        at=chores.at, cause=outcome.code, symbol=chores.plan.symbol, rule=rule.name, urgent=False,
        text=f"rule '{rule.name}' was refused: {outcome.reason}",
    ))  # fmt: skip


def _note_fired(chores: Chores, rule: Rule, why: str) -> None:
    kinds = ", ".join(type(action).__name__ for action in rule.then)
    cause = chores.cause.event_id if isinstance(chores.cause, FlowThresholdEvent) else why
    chores.emit(RuleFiredEvent(
        at=chores.at, cause=cause, symbol=chores.plan.symbol, rule=rule.name, why=why, actions=kinds
    ))  # fmt: skip


def _contains(actions: tuple[Action, ...], kinds: tuple[type, ...]) -> bool:
    return any(
        isinstance(action, kinds)
        or (isinstance(action, Choose) and _contains((*action.then, *action.otherwise), kinds))
        for action in actions
    )
