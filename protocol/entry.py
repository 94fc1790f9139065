"""From a signal to a verdict, and from a verdict to a bracket: entry, stop and target as one native group."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import assert_never

import attrs

from protocol.chores import Chores
from protocol.events import (
    EntryDroppedEvent,
    NewOrderEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    PredictionSignalEvent,
    SignalVerdictEvent,
    Verdict,
)
from protocol.protection import OCA_REDUCE, stop_price, target_price
from protocol.reports import LinkState
from protocol.schedule import DayPhase, phase
from protocol.settings import AtrMultiple, Distance, OnOpposite, Percent, Rule
from protocol.sizing import size
from protocol.values import MAIN, STOP, TARGET, OrderSpec, OrderType, PriceGrid, Side, TimeInForce

PENDING_ENTRY_S = 30.0
"""How long the new entry of a reversal may wait for a fresh quote before it is dropped."""


@attrs.frozen
class Refusal:
    """Why something may not be done: a short code and a sentence."""

    code: str
    reason: str


@attrs.frozen
class Bracket:
    """An entry, decided: what to buy or sell, and how far its exits lie from the average fill, in dollars."""

    side: Side
    quantity: int
    reference: Decimal
    stop_distance: Decimal
    target_distance: Decimal | None
    grid: PriceGrid


def judge(chores: Chores, signal: PredictionSignalEvent) -> None:
    """Give a signal its one verdict, and do what it says."""
    state, plan = chores.state, chores.plan
    if signal.signal_id in state.judged:
        return
    rule = next((rule for rule in plan.rules if _asks_for(rule, signal)), None)
    if rule is None:
        _say(chores, signal, Verdict.IGNORED, "no_rule", f"no rule acts on {signal.signal} "
             f"with confidence {signal.confidence:g}")  # fmt: skip
        return
    side, trade = rule.then.side, state.trade
    if trade is None and state.pending is None:
        _judge_entry(chores, signal, rule)
    elif trade is None or trade.closing is not None:
        _say(chores, signal, Verdict.IGNORED, "closing", "the last trade is still being closed")
    elif trade.side is side:
        _say(chores, signal, Verdict.IGNORED, "same_side", f"already in a {side.value} trade")
    else:
        _judge_opposite(chores, signal, rule)


def _asks_for(rule: Rule, signal: PredictionSignalEvent) -> bool:
    return signal.signal in rule.when.signals and signal.confidence >= rule.when.min_confidence


def _judge_entry(chores: Chores, signal: PredictionSignalEvent, rule: Rule) -> None:
    refusal = _timing_refusal(chores, rule)
    bracket = refusal or plan_bracket(chores, rule)
    if isinstance(bracket, Refusal):
        _say(chores, signal, Verdict.REFUSED, bracket.code, bracket.reason)
        return
    verb = "buys" if bracket.side is Side.BUY else "sells"
    _say(chores, signal, Verdict.ACCEPTED, "entry",
         f"rule '{rule.name}' {verb} {bracket.quantity} at about {bracket.reference}")  # fmt: skip
    enter(chores, bracket, signal.signal_id, rule.name)


def _judge_opposite(chores: Chores, signal: PredictionSignalEvent, rule: Rule) -> None:
    """A signal against the trade: close it, and turn around where the rule and the hour allow."""
    trade, side = chores.state.trade, rule.then.side
    assert trade is not None
    if chores.view.link is not LinkState.UP or not chores.view.reconciled:
        _say(chores, signal, Verdict.REFUSED, "not_reconciled", chores.view.why_not)
        return
    refusal = _timing_refusal(chores, rule)
    if refusal is not None and refusal.code in ("cooldown", "repeat"):
        _say(chores, signal, Verdict.REFUSED, refusal.code, refusal.reason)
        return
    turn = rule.then.on_opposite is OnOpposite.REVERSE and refusal is None and not chores.state.held
    code, reason = ("reverse", f"against the {trade.side.value} trade: close it and enter {side.value}")
    if not turn:
        why = "the rule says so" if refusal is None else refusal.reason
        code, reason = "close", f"against the {trade.side.value} trade: close it, no new entry ({why})"
    _say(chores, signal, Verdict.ACCEPTED, code, reason)
    chores.emit(PositionUpdateEvent(
        at=chores.at, cause=signal.signal_id, symbol=chores.plan.symbol, trade=trade.trade, reason=code,
        reverse_to=side if turn else None, signal_id=signal.signal_id, rule=rule.name,
    ))  # fmt: skip


def _say(chores: Chores, signal: PredictionSignalEvent, verdict: Verdict, code: str, reason: str) -> None:
    chores.emit(SignalVerdictEvent(
        at=chores.at, cause=signal.signal_id, signal_id=signal.signal_id, symbol=chores.plan.symbol,
        verdict=verdict, code=code, reason=reason,
    ))  # fmt: skip


def _timing_refusal(chores: Chores, rule: Rule) -> Refusal | None:
    """Whether the hour, the cooldown or a daily limit stands against an entry of `rule`."""
    state, at = chores.state, chores.at
    now = phase(chores.plan.schedule, at)
    if now is not DayPhase.OPEN:
        return Refusal("session", now.value)
    if state.last_entry_at is not None:
        since_s = (at - state.last_entry_at).total_seconds()
        if since_s < chores.plan.limits.repeat_guard_s:
            return Refusal("repeat", f"the last entry was only {since_s:.1f} s ago")
        if since_s < rule.cooldown_s:
            return Refusal("cooldown", f"{rule.cooldown_s - since_s:.0f} s of the cooldown are left")
    today = [entry for entry in state.entries.get(rule.name, ()) if entry.date() == at.date()]
    if rule.max_per_day is not None and len(today) >= rule.max_per_day:
        return Refusal("max_per_day", f"rule '{rule.name}' has entered {len(today)} times today")
    return None


def plan_bracket(chores: Chores, rule: Rule) -> Bracket | Refusal:
    """The bracket of an entry now, or why there can be none: books, quote, distances, sizes and limits."""
    view, plan, limits = chores.view, chores.plan, chores.plan.limits
    refusal = _market_refusal(chores)
    if refusal is not None:
        return refusal
    side = rule.then.side
    price, grid = view.far_side(side), view.grid
    assert price is not None
    assert grid is not None
    reference = Decimal(repr(price))
    stop = _dollars(rule.then.stop, reference, view.atr)
    target = None if rule.then.target is None else _dollars(rule.then.target, reference, view.atr)
    if stop is None or (target is None and rule.then.target is not None):
        return Refusal(
            "no_atr", f"the ATR({plan.atr.period}) of {plan.atr.bar_s}-second bars is not warm yet"
        )
    least = max(
        limits.min_stop_ticks * grid.tick_at(reference), Decimal(repr(limits.min_stop_distance)) * reference
    )
    if stop < least:
        return Refusal(
            "stop_too_close", f"a stop {stop:.4f} away is closer than the least distance {least:.4f}"
        )
    if stop > Decimal(repr(limits.max_stop_distance)) * reference:
        return Refusal("stop_too_far", f"a stop {stop:.4f} away is further than "
                       f"{limits.max_stop_distance:.0%} of the price")  # fmt: skip
    if target is not None and target >= reference and side is Side.SELL:
        return Refusal("target_too_far", "the target of a short would lie at or below zero")
    quantity = size(plan.sizing, reference, stop, None)
    if quantity is None:
        return Refusal("no_equity", "the size needs the account's equity, which is not known")
    if quantity < 1:
        return Refusal("size_zero", f"the allocation does not buy one share at {reference}")
    if quantity > limits.max_order_quantity:
        return Refusal("order_quantity", f"{quantity} shares are over the limit {limits.max_order_quantity}")
    if quantity * reference > limits.max_order_notional:
        return Refusal("order_notional", f"${quantity * reference:.0f} are over the limit "
                       f"${limits.max_order_notional}")  # fmt: skip
    return Bracket(side, quantity, reference, stop, target, grid)


def _market_refusal(chores: Chores) -> Refusal | None:
    """Whether the link, the books or the quote stand against any entry now."""
    state, view, plan = chores.state, chores.view, chores.plan
    if view.stopping:
        return Refusal("stopping", "the system stops")
    if state.held:
        return Refusal("hold", state.held)
    if view.link is not LinkState.UP or not view.reconciled:
        return Refusal("not_reconciled", view.why_not)
    if view.grid is None:
        return Refusal("not_qualified", "the broker has not confirmed the contract")
    if view.halted:
        return Refusal("halted", "trading in the symbol is halted")
    age_s = view.quote_age_s(chores.at)
    if age_s is None:
        return Refusal("no_quote", "there is no quote with two sides")
    if age_s > plan.limits.max_quote_age_s + plan.latency_s:
        return Refusal("stale_quote", f"the quote is {age_s:.1f} s old")
    assert view.bid is not None
    assert view.ask is not None
    if view.bid >= view.ask:
        return Refusal("crossed_quote", f"bid {view.bid:g} is not below ask {view.ask:g}")
    if (view.ask - view.bid) / view.ask > plan.limits.max_spread:
        return Refusal("wide_spread", f"the spread {view.ask - view.bid:.2f} is wider than "
                       f"{plan.limits.max_spread:.1%} of the price")  # fmt: skip
    return None


def _dollars(distance: Distance, price: Decimal, atr: float | None) -> Decimal | None:
    match distance:
        case Percent(fraction):
            return price * Decimal(repr(fraction))
        case AtrMultiple(multiple):
            return None if atr is None else Decimal(repr(round(atr * multiple, 6)))
        case _:
            assert_never(distance)


def enter(chores: Chores, bracket: Bracket, signal_id: str, rule: str) -> None:
    """Open a trade: the entry with its exits as children, exits in one group that reduces its members."""
    at, plan, trade = chores.at, chores.plan, chores.state.next_trade
    chores.emit(PositionOpenEvent(
        at=at, cause=signal_id, symbol=plan.symbol, trade=trade, side=bracket.side,
        quantity=bracket.quantity, stop_distance=bracket.stop_distance,
        target_distance=bracket.target_distance, signal_id=signal_id, rule=rule,
    ))  # fmt: skip
    main = OrderSpec(plan.ref(trade, MAIN), bracket.side, bracket.quantity, OrderType.MARKET, TimeInForce.DAY)
    group = plan.oca_group(trade)
    orders = [main]
    if bracket.target_distance is not None:
        limit = target_price(bracket.side, bracket.reference, bracket.target_distance, bracket.grid)
        orders.append(OrderSpec(
            plan.ref(trade, TARGET), bracket.side.opposite, bracket.quantity, OrderType.LIMIT,
            TimeInForce.GTC, limit_price=limit, outside_rth=True, parent=main.ref,
            oca_group=group, oca_type=OCA_REDUCE,
        ))  # fmt: skip
    stop = stop_price(bracket.side, bracket.reference, bracket.stop_distance, bracket.grid)
    orders.append(OrderSpec(
        plan.ref(trade, STOP), bracket.side.opposite, bracket.quantity, OrderType.STOP, TimeInForce.GTC,
        stop_price=stop, outside_rth=True, parent=main.ref, oca_group=group, oca_type=OCA_REDUCE,
    ))  # fmt: skip
    for order in orders:
        chores.emit(NewOrderEvent(at=at, cause=signal_id, ref=order.ref, order=order))


def enter_after_reversal(chores: Chores) -> None:
    """The old trade is gone: enter afresh as soon as a bracket can be made, or drop it after a while."""
    pending = chores.state.pending
    if pending is None or chores.state.trade is not None:
        return
    rule = chores.plan.rule_named(pending.rule)
    until = pending.since + timedelta(seconds=PENDING_ENTRY_S) + chores.plan.latency
    if rule is None or rule.then.side is not pending.side:
        _drop(chores, pending.signal_id, f"the rule '{pending.rule}' is gone")
        return
    now = phase(chores.plan.schedule, chores.at)
    if now is not DayPhase.OPEN:
        _drop(chores, pending.signal_id, now.value)
        return
    bracket = plan_bracket(chores, rule)
    if chores.due(until):
        # The close was long ago, or nobody could look: what the signal was about has passed.
        reason = bracket.reason if isinstance(bracket, Refusal) else "it comes too late"
        _drop(chores, pending.signal_id, reason)
    elif isinstance(bracket, Bracket):
        enter(chores, bracket, pending.signal_id, pending.rule)


def forget_reversal(chores: Chores, reason: str) -> None:
    """Whatever a reversal was going to enter is not entered; the closing of the old trade goes on."""
    pending, trade = chores.state.pending, chores.state.trade
    if pending is not None:
        _drop(chores, pending.signal_id, reason)
    elif trade is not None and trade.closing is not None and trade.closing.reverse_to is not None:
        _drop(chores, trade.closing.signal_id, reason)


def _drop(chores: Chores, signal_id: str, reason: str) -> None:
    chores.emit(EntryDroppedEvent(
        at=chores.at, cause=signal_id, symbol=chores.plan.symbol, signal_id=signal_id, reason=reason
    ))  # fmt: skip
