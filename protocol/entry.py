"""From a decision to enter to a bracket: entry, stops and targets as one native group."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

import attrs

from protocol.chores import Chores
from protocol.distances import Ruler, number
from protocol.events import EntryDroppedEvent, NewOrderEvent, PositionOpenEvent
from protocol.planning import Refusal, plan_additions, plan_double_downs, plan_trade
from protocol.protection import stop_spec, target_spec
from protocol.reports import LinkState
from protocol.risk.settings import RiskLimits
from protocol.risk.words import EntryProposal
from protocol.rules.actions import Enter, OnCloseStop
from protocol.rules.amounts import AtrMultiple, Distance, RiskFraction, SharesBy, Sizing
from protocol.schedule import DayPhase, phase
from protocol.sizing import size
from protocol.trade_plan import ONE, TradePlan, split, stop_role, target_role
from protocol.values import MAIN, OrderSpec, OrderType, PriceGrid, Side, TimeInForce

PENDING_ENTRY_S = 30.0
"""How long the new entry of a reversal may wait for a fresh quote before it is dropped."""
MARKETABLE: Final = Decimal("0.005")
"""How far through the market an entry's limit lies that stands for a market order."""


@attrs.frozen
class EntryPrices:
    """How the entry goes to the market; `reference` is where it would trade, None: at the market."""

    type: OrderType
    limit: Decimal | None = None
    stop: Decimal | None = None
    reference: Decimal | None = None


@attrs.frozen
class Bracket:
    """An entry, decided: what to buy or sell, and how far its exits lie from the average fill, in dollars."""

    side: Side
    quantity: int
    reference: Decimal
    stop_distance: Decimal
    target_distance: Decimal | None
    grid: PriceGrid
    order: EntryPrices
    plan: TradePlan


def plan_bracket(chores: Chores, entry: Enter, signal_id: str = "") -> Bracket | Refusal:
    """The bracket of an entry now, or why there can be none: books, quote, distances, sizes and limits."""
    bracket = _plan_bracket(chores, entry)
    if isinstance(bracket, Refusal):
        return bracket
    plan = bracket.plan
    added = sum(level.quantity for level in (*plan.scale_ins, *plan.double_downs))
    refusal = risk_refusal(chores, EntryProposal(
        chores.plan.symbol, bracket.side, bracket.quantity, bracket.reference, bracket.stop_distance,
        bracket.quantity + added, signal_id,
    ))  # fmt: skip
    return refusal or bracket


def risk_refusal(chores: Chores, proposal: EntryProposal) -> Refusal | None:
    """Whether a limit of the account stands against it. The gate will look at the orders themselves again."""
    admits = chores.view.admits
    refused = None if admits is None else admits(proposal, chores.at)
    return None if refused is None else Refusal(refused.code, f"{refused.reason} ({refused.control})")


def _plan_bracket(chores: Chores, entry: Enter) -> Bracket | Refusal:
    refusal = market_refusal(chores)
    if refusal is not None:
        return refusal
    view, side = chores.view, entry.side
    price, grid = view.far_side(side), view.grid
    assert price is not None
    assert grid is not None
    far_side = Decimal(repr(price))
    facts = chores.facts()
    order = entry_prices(entry, Ruler(far_side, view.atr, facts), grid)
    if isinstance(order, Refusal):
        return order
    # A limit or stop entry is planned from where it would trade, not from where the market is now.
    ruler = Ruler(order.reference or far_side, view.atr, facts)
    stop = ruler.dollars(entry.stop, away=-side.sign)
    if stop is None:
        return _unknown(chores, entry.stop, "stop")
    least = _least_stop(chores, ruler.price, grid)
    shrink = Decimal(1)
    if Decimal(0) < stop < least and entry.on_close_stop is OnCloseStop.WIDEN:
        stop, shrink = least, stop / least
    refusal = _stop_refusal(chores, ruler.price, stop, least)
    if refusal is not None:
        return refusal
    ruler = attrs.evolve(ruler, stop=stop)
    plan = plan_trade(chores, entry, ruler)
    if isinstance(plan, Refusal):
        return plan
    target = None if entry.target is None or entry.targets else ruler.dollars(entry.target, away=side.sign)
    if target is None and entry.target is not None and not entry.targets:
        return _unknown(chores, entry.target, "target")
    refusal = _target_refusal(side, ruler.price, target, plan)
    if refusal is not None:
        return refusal
    quantity = entry_quantity(chores, entry.sizing, ruler.price, stop, shrink)
    if isinstance(quantity, Refusal):
        return quantity
    plan = attrs.evolve(
        plan,
        scale_ins=plan_additions(entry.scale_in, ruler, quantity, side),
        double_downs=plan_double_downs(entry.double_down, ruler, quantity),
    )
    return Bracket(side, quantity, ruler.price, stop, target, grid, order, plan)


def entry_prices(entry: Enter, ruler: Ruler, grid: PriceGrid) -> EntryPrices | Refusal:
    """Type and prices of the entry: a limit lies on the near side of the market, a stop on the far side."""
    order, sign = entry.order, entry.side.sign
    rounded = grid.floor if entry.side is Side.BUY else grid.ceil
    if order.type is OrderType.MARKET:
        if entry.trail is None or not entry.trail.native:
            return EntryPrices(order.type)
        # TWS attaches a trailing stop to limit orders only (error 328): a limit well through the market.
        through = ruler.price * (1 + sign * MARKETABLE)
        return EntryPrices(OrderType.LIMIT, rounded(through))
    offset = Decimal(0) if order.offset is None else ruler.dollars(order.offset)
    if offset is None:
        return Refusal("no_price", "the price of the entry cannot be worked out: a value is not known yet")
    if order.type is OrderType.LIMIT:
        limit = rounded(ruler.price - sign * offset)
        return EntryPrices(order.type, limit, None, limit)
    stop = (grid.ceil if entry.side is Side.BUY else grid.floor)(ruler.price + sign * offset)
    if order.type is OrderType.STOP:
        return EntryPrices(order.type, None, stop, stop)
    further = Decimal(0) if order.limit_offset is None else ruler.dollars(order.limit_offset)
    if further is None:
        return Refusal("no_price", "the limit of the entry cannot be worked out: a value is not known yet")
    return EntryPrices(order.type, rounded(stop + sign * further), stop, stop)


def _unknown(chores: Chores, distance: Distance, what: str) -> Refusal:
    atr = chores.plan.atr
    if isinstance(distance, AtrMultiple):
        return Refusal("no_atr", f"the ATR({atr.period}) of {atr.bar_s}-second bars is not warm yet")
    return Refusal("no_distance", f"the {what} cannot be worked out: a value is not known yet")


def _least_stop(chores: Chores, reference: Decimal, grid: PriceGrid) -> Decimal:
    """How close a stop may lie: a number of ticks, or a fraction of the price."""
    limits = chores.plan.limits
    ticks = limits.min_stop_ticks * grid.tick_at(reference)
    return max(ticks, Decimal(repr(limits.min_stop_distance)) * reference)


def _stop_refusal(chores: Chores, reference: Decimal, stop: Decimal, least: Decimal) -> Refusal | None:
    limits = chores.plan.limits
    if stop < least:
        return Refusal(
            "stop_too_close", f"a stop {stop:.4f} away is closer than the least distance {least:.4f}"
        )
    if stop > Decimal(repr(limits.max_stop_distance)) * reference:
        return Refusal("stop_too_far", f"a stop {stop:.4f} away is further than "
                       f"{limits.max_stop_distance:.0%} of the price")  # fmt: skip
    return None


def _target_refusal(
    side: Side, reference: Decimal, target: Decimal | None, plan: TradePlan
) -> Refusal | None:
    targets = [target, *(tranche.target_distance for tranche in plan.tranches)]
    for distance in targets:
        if distance is not None and distance <= 0:
            return Refusal("target_side", "the target would lie on the losing side of the entry")
        if distance is not None and distance >= reference and side is Side.SELL:
            return Refusal("target_too_far", "the target of a short would lie at or below zero")
    return None


def entry_quantity(
    chores: Chores, wanted: Sizing | None, reference: Decimal, stop: Decimal, shrink: Decimal = ONE
) -> int | Refusal:
    """Whole shares at `reference` dollars, `shrink` times as many; `wanted` None: the symbol's own size."""
    plan, limits = chores.plan, chores.plan.limits
    sizing = wanted or plan.sizing
    if isinstance(sizing, SharesBy):
        value = number(sizing.expression, chores.facts())
        if value is None:
            return Refusal("no_size", f"the size '{sizing.expression.text}' is not known yet")
        quantity: int | None = int(value)
    else:
        quantity = size(sizing, reference, stop, chores.view.equity)
    if quantity is None:
        return Refusal("no_equity", "the size needs the account's equity, which is not known")
    if not isinstance(sizing, RiskFraction):
        # A size by risk has the wider stop in it already.
        quantity = int(quantity * shrink)
    if quantity < 1:
        return Refusal("size_zero", f"the allocation does not buy one share at {reference}")
    return quantity_refusal(limits, quantity, reference) or quantity


def quantity_refusal(limits: RiskLimits, quantity: int, reference: Decimal) -> Refusal | None:
    """Whether one order is larger than a limit allows."""
    if quantity > limits.max_order_quantity:
        return Refusal("order_quantity", f"{quantity} shares are over the limit {limits.max_order_quantity}")
    if quantity * reference > limits.max_order_notional:
        return Refusal("order_notional", f"${quantity * reference:.0f} are over the limit "
                       f"${limits.max_order_notional}")  # fmt: skip
    return None


def market_refusal(chores: Chores) -> Refusal | None:
    """Whether the link, the books or the quote stand against any entry now."""
    state, view, plan = chores.state, chores.view, chores.plan
    if view.stopping:
        return Refusal("stopping", "the system stops")
    if state.held:
        return Refusal("hold", state.held)
    if state.trade is None and state.foreign:
        # One account has one position: with a stranger's shares in it nobody could tell what a stop is for.
        return Refusal("foreign_shares", f"somebody else holds {state.foreign} shares of it")
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


def enter(chores: Chores, bracket: Bracket, signal_id: str, rule: str) -> None:
    """Open a trade: the entry with its exits as children, those of each part in a group of their own."""
    at, plan, number = chores.at, chores.plan, chores.state.next_trade
    cause = signal_id or f"rule {rule}"
    chores.emit(PositionOpenEvent(
        at=at, cause=cause, symbol=plan.symbol, trade=number, side=bracket.side,
        quantity=bracket.quantity, stop_distance=bracket.stop_distance,
        target_distance=bracket.target_distance, signal_id=signal_id, rule=rule, plan=bracket.plan,
    ))  # fmt: skip
    chores.view.begin_trade()
    trade = chores.state.trade
    assert trade is not None
    prices = bracket.order
    main = OrderSpec(
        plan.ref(number, MAIN), bracket.side, bracket.quantity, prices.type, TimeInForce.DAY,
        limit_price=prices.limit, stop_price=prices.stop,
    )  # fmt: skip
    orders = [main]
    for index, shares in enumerate(split(bracket.quantity, [tranche.part for tranche in trade.tranches])):
        if not shares:
            continue
        group, tranche = plan.oca_group(number, index), trade.tranches[index]
        ref = plan.ref(number, target_role(index, tranche))
        target = target_spec(ref, trade, index, shares, bracket.reference, bracket.grid, group)
        ref = plan.ref(number, stop_role(index, tranche))
        stop = stop_spec(ref, trade, index, shares, bracket.reference, bracket.grid, group)
        orders += [attrs.evolve(leg, parent=main.ref) for leg in (target, stop) if leg is not None]
    for order in orders:
        chores.emit(NewOrderEvent(at=at, cause=cause, ref=order.ref, order=order))


def enter_after_reversal(chores: Chores) -> None:
    """The old trade is gone: enter afresh as soon as a bracket can be made, or drop it after a while."""
    pending = chores.state.pending
    if pending is None or chores.state.trade is not None:
        return
    rule = chores.plan.rule_named(pending.rule)
    until = pending.since + timedelta(seconds=PENDING_ENTRY_S) + chores.plan.latency
    entry = None if rule is None else rule.entry
    if entry is None or entry.side is not pending.side:
        _drop(chores, pending.signal_id, f"the rule '{pending.rule}' is gone")
        return
    now = phase(chores.plan.schedule, chores.at)
    if now is not DayPhase.OPEN:
        _drop(chores, pending.signal_id, now.value)
        return
    bracket = plan_bracket(chores, entry, pending.signal_id)
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
