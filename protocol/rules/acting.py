"""What actions do: each becomes events of the symbol whose rule it is, or a question to another symbol."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, assert_never

import attrs

from protocol.additions import add_at_market, double_down, may_add
from protocol.chores import Chores
from protocol.closing import start_closing
from protocol.distances import Ruler, addition
from protocol.entry import entry_prices, entry_quantity, market_refusal
from protocol.events import (
    CancelEvent,
    EntryPreparedEvent,
    NewOrderEvent,
    NotifyEvent,
    PeerAskedEvent,
    PositionAdjustEvent,
    RuleSwitchedEvent,
    ValueSetEvent,
    Verdict,
)
from protocol.judging import Outcome, judge_entry
from protocol.linked_orders import LinkedOrders
from protocol.order import WORKING
from protocol.planning import Refusal, native_trail, plan_breakeven, plan_trail
from protocol.ratchet import tighten
from protocol.rules.actions import (
    Action,
    Adjust,
    Cancel,
    Choose,
    Close,
    DoubleDown,
    EnableRule,
    Enter,
    FlattenAll,
    Hedge,
    Link,
    Log,
    Notify,
    PlainOrder,
    Prepare,
    ScaleIn,
    SetValue,
    Submit,
)
from protocol.rules.conditions import holds
from protocol.rules.rule import Rule
from protocol.trade_plan import TradePlan, Tranche
from protocol.values import DOUBLEDOWN, MAIN, SCALE, OrderSpec, OrderType, Purpose, TimeInForce

PLAIN: Final = "order"
"""The role of an order that was placed without a plan."""
BY_RULE: Final = 100
"""Additions that a rule asks for count their levels from here, apart from those of the trade's own plan."""

NO_TRADE = Outcome(Verdict.IGNORED, "no_trade", "there is no trade to act on")
DONE = Outcome(Verdict.ACCEPTED, "acted", "done")


def act(chores: Chores, rule: Rule, actions: tuple[Action, ...], signal_id: str) -> tuple[Outcome, ...]:
    """Perform the actions in their order; each outcome says what became of one."""
    return tuple(outcome for action in actions for outcome in _act(chores, rule, action, signal_id))


def _act(chores: Chores, rule: Rule, action: Action, signal_id: str) -> tuple[Outcome, ...]:
    match action:
        case Enter():
            return (judge_entry(chores, rule, action, signal_id),)
        case Prepare(name=name):
            return (_prepare(chores, rule, name),)
        case Submit(name=name):
            return (_submit(chores, rule, name, signal_id),)
        case PlainOrder():
            return (place_plainly(chores, rule, action, signal_id),)
        case Choose(condition=condition, then=then, otherwise=otherwise):
            met = holds(condition, chores.facts())
            return act(chores, rule, then if met else otherwise, signal_id)
        case Notify() | Log() | SetValue() | EnableRule() | FlattenAll():
            return (_act_aside(chores, rule, action),)
        case ScaleIn() | DoubleDown() | Adjust() | Link() | Close() | Cancel() | Hedge():
            trade = chores.state.trade
            if trade is None or trade.closing is not None:
                return (NO_TRADE,)
            return (_act_on_trade(chores, rule, trade, action),)
        case _:
            assert_never(action)


def _act_aside(
    chores: Chores, rule: Rule, action: Notify | Log | SetValue | EnableRule | FlattenAll
) -> Outcome:
    """Actions that need no trade."""
    at, symbol, cause = chores.at, chores.plan.symbol, f"rule {rule.name}"
    match action:
        case Notify(text=text):
            chores.emit(NotifyEvent(
                at=at, cause=cause, symbol=symbol, rule=rule.name, text=fill_in(chores, text), urgent=True
            ))  # fmt: skip
        case Log(text=text):
            chores.emit(NotifyEvent(
                at=at, cause=cause, symbol=symbol, rule=rule.name, text=fill_in(chores, text), urgent=False
            ))  # fmt: skip
        case SetValue(name=name, value=expression):
            value = expression.value(chores.facts())
            if value != chores.state.values.get(name):
                chores.emit(ValueSetEvent(at=at, cause=cause, symbol=symbol, name=name, value=value))
        case EnableRule(rule=name, on=on):
            known = chores.plan.rule_named(name)
            if known is not None and chores.state.switched.get(name, known.enabled) is not on:
                chores.emit(RuleSwitchedEvent(at=at, cause=cause, symbol=symbol, rule=name, on=on))
        case FlattenAll(reason=reason):
            chores.emit(PeerAskedEvent(
                at=at, cause=cause, symbol=symbol, what="flatten", peer="*", trade=0,
                reason=reason or f"rule '{rule.name}' flattens everything",
            ))  # fmt: skip
        case _:
            assert_never(action)
    return DONE


_OnTrade = ScaleIn | DoubleDown | Adjust | Link | Close | Cancel | Hedge


def _act_on_trade(chores: Chores, rule: Rule, trade: LinkedOrders, action: _OnTrade) -> Outcome:
    match action:
        case ScaleIn():
            return _scale_in(chores, trade, action)
        case DoubleDown():
            return _double_down(chores, trade, action)
        case Adjust():
            return _adjust(chores, trade, action, rule)
        case Link():
            return _join(chores, trade, action)
        case Close(part=part, reason=reason):
            return _close(chores, trade, part, reason or f"rule '{rule.name}'")
        case Cancel(links=links):
            return _cancel(chores, trade, links, rule)
        case Hedge():
            return _hedge(chores, trade, action, rule)
        case _:
            assert_never(action)


def fill_in(chores: Chores, text: str) -> str:
    """`{price}` and other facts in a text, by their values; what is not known stays as it is written."""
    facts = chores.facts()

    def value(found: re.Match[str]) -> str:
        told = facts.fact(found[1])
        if told is None:
            return found[0]
        return f"{told:g}" if isinstance(told, float) else str(told)

    return re.sub(r"\{([a-z_][a-z0-9_.]*)\}", value, text)


# --- additions ----------------------------------------------------------------------------------------


def _scale_in(chores: Chores, trade: LinkedOrders, action: ScaleIn) -> Outcome:
    refused = _addition_refusal(chores, trade)
    if refused is not None:
        return refused
    if action.min_profit is not None:
        distance = _ruler(chores, trade).dollars(action.min_profit, away=trade.side.sign)
        price = chores.view.mark(trade.side)
        gain = None if price is None else (
            (Decimal(repr(price)) - chores.state.position.average_price) * trade.side.sign
        )  # fmt: skip
        if distance is None or gain is None or gain < distance:
            return Outcome(Verdict.REFUSED, "no_profit", f"the trade is not {distance} in profit")
    quantity = addition(action.quantity, trade.quantity, chores.facts())
    if not quantity:
        return Outcome(Verdict.REFUSED, "size_zero", "there is nothing to add")
    level = BY_RULE + trade.next_revision(SCALE)
    refusal = add_at_market(chores, trade, SCALE, level, quantity)
    return Outcome.refused(refusal) if refusal else Outcome(Verdict.ACCEPTED, "scale_in", f"adds {quantity}")


def _double_down(chores: Chores, trade: LinkedOrders, action: DoubleDown) -> Outcome:
    refused = _addition_refusal(chores, trade)
    if refused is not None:
        return refused
    quantity = addition(action.quantity, trade.quantity, chores.facts())
    if not quantity:
        return Outcome(Verdict.REFUSED, "size_zero", "there is nothing to add")
    level = BY_RULE + trade.next_revision(DOUBLEDOWN)
    if action.part_of_stop is None:
        refusal = add_at_market(chores, trade, DOUBLEDOWN, level, quantity)
    else:
        distance = trade.stop_distance * Decimal(repr(action.part_of_stop))
        refusal = double_down(chores, trade, level, distance, quantity)
    if refusal is not None:
        return Outcome.refused(refusal)
    return Outcome(Verdict.ACCEPTED, "double_down", f"doubles down by {quantity}")


def _addition_refusal(chores: Chores, trade: LinkedOrders) -> Outcome | None:
    if trade.opening or chores.state.position.quantity * trade.side.sign <= 0:
        return Outcome(Verdict.REFUSED, "not_open", "the entry is still working")
    if not may_add(chores, trade):
        return Outcome(Verdict.REFUSED, "no_addition", chores.state.held or "nothing may be added now")
    return None


def _ruler(chores: Chores, trade: LinkedOrders) -> Ruler:
    """Distances of a live trade are from its average entry."""
    return Ruler(
        chores.state.position.average_price, chores.view.atr, chores.facts(), stop=trade.stop_distance
    )


# --- exits --------------------------------------------------------------------------------------------


def _adjust(chores: Chores, trade: LinkedOrders, action: Adjust, rule: Rule) -> Outcome:
    if trade.opening or chores.view.grid is None:
        return Outcome(Verdict.REFUSED, "not_open", "the entry is still working")
    ruler, sign, plan = _ruler(chores, trade), trade.side.sign, trade.plan
    if action.stop is not None:
        stop = ruler.dollars(action.stop, away=-sign)
        if stop is None:
            return Outcome(Verdict.REFUSED, "no_distance", "the stop cannot be worked out yet")
        tighten(chores, trade, ruler.price - sign * stop, f"rule '{rule.name}'")
    if action.trail is not None:
        trail = plan_trail(action.trail, ruler)
        if trail is None:
            return Outcome(Verdict.REFUSED, "no_trail", "the trailing distance cannot be worked out yet")
        plan = attrs.evolve(plan, trail=trail)
    if action.breakeven is not None:
        plan = attrs.evolve(plan, breakeven=plan_breakeven(action.breakeven, ruler))
    target = None
    if action.target is not None:
        target = ruler.dollars(action.target, away=sign)
        if target is None or target <= 0:
            return Outcome(Verdict.REFUSED, "no_distance", "the target cannot be worked out, or lies behind")
        plan = _with_target(plan, target)
    changed = plan if plan != trade.plan else None
    if changed is not None or target not in (None, trade.target_distance):
        chores.emit(PositionAdjustEvent(
            at=chores.at, cause=f"rule {rule.name}", symbol=chores.plan.symbol, trade=trade.trade,
            reason=f"rule '{rule.name}'", target_distance=target, plan=changed,
        ))  # fmt: skip
    return Outcome(Verdict.ACCEPTED, "adjust", "the exits are adjusted")


def _with_target(plan: TradePlan, target: Decimal) -> TradePlan:
    """All parts of the position that the trade itself planned get this target."""
    tranches = tuple(
        tranche if tranche.name else attrs.evolve(tranche, target_distance=target)
        for tranche in plan.tranches
    )
    return attrs.evolve(plan, tranches=tranches)


def _join(chores: Chores, trade: LinkedOrders, action: Link) -> Outcome:
    if any(tranche.name == action.name for tranche in trade.tranches):
        return Outcome(Verdict.IGNORED, "joined", f"'{action.name}' is part of the trade already")
    if trade.entering or chores.view.grid is None or chores.state.position.quantity == 0:
        return Outcome(Verdict.REFUSED, "not_open", "an entry is still working")
    ruler, sign = _ruler(chores, trade), trade.side.sign
    stop = None if action.stop is None else ruler.dollars(action.stop, away=-sign)
    amount, fraction = (None, None) if action.trail is None else native_trail(action.trail, ruler)
    target = None if action.target is None else ruler.dollars(action.target, away=sign)
    if stop is None and amount is None and fraction is None:
        return Outcome(Verdict.REFUSED, "no_distance", "the distance of its stop is not known yet")
    part = Decimal(repr(action.part))
    others = tuple(attrs.evolve(tranche, part=tranche.part * (1 - part)) for tranche in trade.tranches)
    joined = Tranche(part, target, stop, amount, fraction, action.name)
    chores.emit(PositionAdjustEvent(
        at=chores.at, cause=action.name, symbol=chores.plan.symbol, trade=trade.trade,
        reason=f"'{action.name}' joins for {action.part:.0%} of the position",
        plan=attrs.evolve(trade.plan, tranches=(*others, joined)),
    ))  # fmt: skip
    return Outcome(Verdict.ACCEPTED, "link", f"'{action.name}' joins the trade")


def _close(chores: Chores, trade: LinkedOrders, part: float, reason: str) -> Outcome:
    position = abs(chores.state.position.quantity)
    return close_shares(chores, trade, position if part >= 1 else int(position * Decimal(repr(part))), reason)


def close_shares(chores: Chores, trade: LinkedOrders, quantity: int, reason: str) -> Outcome:
    """Take `quantity` shares off the trade; all of them end it."""
    position = abs(chores.state.position.quantity)
    if quantity >= position:
        start_closing(chores, reason)
        return Outcome(Verdict.ACCEPTED, "close", reason)
    if not quantity:
        return Outcome(Verdict.REFUSED, "size_zero", "that part of the position is not one share")
    if trade.entering:
        return Outcome(Verdict.REFUSED, "not_open", "an entry is still working")
    for index, held in enumerate(trade.shares(position)):
        stop = trade.exit(Purpose.STOP, index)
        if held and (stop is None or stop.status not in WORKING or trade.leaving(index)):
            return Outcome(Verdict.REFUSED, "not_protected", "the exits are not at rest")
    if any(tranche.closing for tranche in trade.tranches) and _still_closing(trade, position):
        return Outcome(Verdict.IGNORED, "closing", "a part is being closed already")
    number = sum(1 for tranche in trade.tranches if tranche.closing)
    apart = Tranche(Decimal(0), name=f"part{number}", fixed=quantity, closing=reason)
    chores.emit(PositionAdjustEvent(
        at=chores.at, cause=reason, symbol=chores.plan.symbol, trade=trade.trade, reason=reason,
        plan=attrs.evolve(trade.plan, tranches=(*trade.tranches, apart)),
    ))  # fmt: skip
    return Outcome(Verdict.ACCEPTED, "close", f"closes {quantity} of {position}: {reason}")


def _still_closing(trade: LinkedOrders, position: int) -> bool:
    left = trade.shares(position)
    return any(shares and tranche.closing for shares, tranche in zip(left, trade.tranches, strict=True))


def _cancel(chores: Chores, trade: LinkedOrders, links: tuple[str, ...], rule: Rule) -> Outcome:
    why, count = f"rule '{rule.name}'", 0
    for order in trade.orders:
        named = order.role in links or order.role.partition(".")[0] in links
        if not named or not order.changeable or order.purpose not in (Purpose.ENTRY, Purpose.TARGET):
            continue
        if order.role == MAIN and order.filled:
            continue
        chores.emit(CancelEvent(at=chores.at, cause=why, ref=order.ref, why=why))
        count += 1
    return Outcome(Verdict.ACCEPTED, "cancel", f"cancels {count} orders")


# --- plain orders -----------------------------------------------------------------------------------


def place_plainly(chores: Chores, rule: Rule, action: PlainOrder, signal_id: str) -> Outcome:
    """An order without a plan goes the way of all others: it opens a trade, adds to it, or takes off."""
    trade = chores.state.trade
    if trade is None:
        entry = Enter(action.side, sizing=action.sizing, order=action.order)
        return judge_entry(chores, rule, entry, signal_id)
    if trade.closing is not None:
        return Outcome(Verdict.IGNORED, "closing", "the trade is being closed")
    price = chores.view.far_side(action.side)
    if price is None or chores.view.grid is None:
        return Outcome(Verdict.REFUSED, "no_quote", "there is no quote with two sides")
    ruler = _ruler(chores, trade)
    quantity = entry_quantity(chores, action.sizing, Decimal(repr(price)), trade.stop_distance)
    if isinstance(quantity, Refusal):
        return Outcome.refused(quantity)
    if trade.side is not action.side:
        held = abs(chores.state.position.quantity)
        if quantity > held:
            text = f"{quantity} shares against a trade of {held}: sides are not mixed, close it first"
            return Outcome(Verdict.REFUSED, "mixed_sides", text)
        return close_shares(chores, trade, quantity, f"rule '{rule.name}'")
    refused = _addition_refusal(chores, trade)
    if refused is not None:
        return refused
    unsound = market_refusal(chores)
    if unsound is not None:
        return Outcome.refused(unsound)
    level = BY_RULE + trade.next_revision(PLAIN)
    if action.order.type is OrderType.MARKET:
        refusal = add_at_market(chores, trade, PLAIN, level, quantity)
    else:
        entry = Enter(action.side, order=action.order)
        prices = entry_prices(entry, attrs.evolve(ruler, price=Decimal(repr(price))), chores.view.grid)
        refusal = prices if isinstance(prices, Refusal) else None
        if not isinstance(prices, Refusal):
            ref = chores.plan.ref(trade.trade, PLAIN, trade.next_revision(PLAIN))
            spec = OrderSpec(
                ref, action.side, quantity, prices.type, TimeInForce.DAY, limit_price=prices.limit,
                stop_price=prices.stop, index=level,
            )  # fmt: skip
            chores.emit(NewOrderEvent(at=chores.at, cause=f"rule {rule.name}", ref=ref, order=spec))
    if refusal is not None:
        return Outcome.refused(refusal)
    return Outcome(Verdict.ACCEPTED, "order", f"{action.side.value} {quantity}")


# --- entries that wait, and other symbols ---------------------------------------------------------------


def _prepare(chores: Chores, rule: Rule, name: str) -> Outcome:
    if chores.state.prepared.get(name) != rule.name:
        chores.emit(EntryPreparedEvent(
            at=chores.at, cause=f"rule {rule.name}", symbol=chores.plan.symbol, name=name, rule=rule.name
        ))  # fmt: skip
    return Outcome(Verdict.ACCEPTED, "prepared", f"'{name}' is ready to be sent")


def _submit(chores: Chores, rule: Rule, name: str, signal_id: str) -> Outcome:
    holder = chores.plan.rule_named(chores.state.prepared.get(name, ""))
    entry = None if holder is None else prepared_entry(holder.then, name)
    if entry is None:
        return Outcome(Verdict.REFUSED, "not_prepared", f"no entry '{name}' was prepared")
    outcome = judge_entry(chores, rule, entry, signal_id)
    if outcome.verdict is Verdict.ACCEPTED:
        chores.emit(EntryPreparedEvent(
            at=chores.at, cause=f"rule {rule.name}", symbol=chores.plan.symbol, name=name, rule=rule.name,
            on=False,
        ))  # fmt: skip
    return outcome


def prepared_entry(actions: tuple[Action, ...], name: str) -> Enter | None:
    """The entry that is prepared under `name` among the actions."""
    for action in actions:
        if isinstance(action, Prepare) and action.name == name:
            return action.entry
        if isinstance(action, Choose):
            found = prepared_entry(action.then, name) or prepared_entry(action.otherwise, name)
            if found is not None:
                return found
    return None


def _hedge(chores: Chores, trade: LinkedOrders, action: Hedge, rule: Rule) -> Outcome:
    position = chores.state.position
    if trade.opening or position.quantity == 0:
        return Outcome(Verdict.REFUSED, "not_open", "the entry is still working")
    if str(action.symbol) in trade.hedges:
        return Outcome(Verdict.IGNORED, "hedged", f"{action.symbol} hedges the trade already")
    dollars = -position.quantity * position.average_price * Decimal(repr(action.ratio))
    chores.emit(PeerAskedEvent(
        at=chores.at, cause=f"rule {rule.name}", symbol=chores.plan.symbol, what="hedge",
        peer=str(action.symbol), trade=trade.trade, dollars=dollars, reason=f"rule '{rule.name}'",
    ))  # fmt: skip
    return Outcome(Verdict.ACCEPTED, "hedge", f"asks {action.symbol} to hedge")


__all__ = ["BY_RULE", "Refusal", "act", "fill_in", "prepared_entry"]
