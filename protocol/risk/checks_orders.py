"""The orders of an entry themselves: size, prices, stop, and whether they are the bracket they must be."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from protocol.risk.exposure import MAX_PRICE
from protocol.risk.question import Question, far_side
from protocol.risk.words import Refused
from protocol.rules.acting import BY_RULE
from protocol.values import (
    DOUBLEDOWN,
    MAIN,
    SCALE,
    OrderSpec,
    OrderType,
    PriceGrid,
    Purpose,
    Side,
    TimeInForce,
    exact,
)

ONE: Final = Decimal(1)
OCA_REDUCE: Final = 2
SHORT_LIVED: Final = frozenset({TimeInForce.DAY, TimeInForce.IOC, TimeInForce.GTD})
"""An entry must end by itself soon: TWS does not cancel orders when its client is gone."""


# --- R1 -------------------------------------------------------------------------------------------


def size_is_sane(question: Question) -> Refused | None:
    """R1 and the whole shares of R16."""
    limits, quantity, reference = question.limits, question.wish.quantity, question.wish.reference
    if quantity < 1:
        return Refused("R16", "quantity", f"an order for {quantity} shares")
    if quantity > limits.max_order_quantity:
        text = f"{quantity} shares are over the limit {limits.max_order_quantity}"
        return Refused("R1", "order_quantity", text)
    if reference is not None and quantity * reference > limits.max_order_notional:
        text = f"${quantity * reference:.0f} are over the limit ${limits.max_order_notional}"
        return Refused("R1", "order_notional", text)
    return None


# --- R4 -------------------------------------------------------------------------------------------


def prices_are_near(question: Question) -> Refused | None:
    """R4: how far the entry's own price lies from the quote it would meet.

    An addition rests as far on the near side of the market as its trade's stop may lie.
    """
    if not question.wish.orders:
        return None
    entry, limits = question.wish.orders[0], question.limits
    market = far_side(entry.side, question.quote)
    if market is None:
        return None
    collar = exact(limits.price_collar)
    behind = collar if question.wish.main else max(collar, exact(limits.max_stop_distance))
    for price in (entry.limit_price, entry.stop_price):
        if price is None:
            continue
        # Positive: through the market, where it would pay more than anybody asks.
        through = (price - market) * entry.side.sign / market
        allowed = collar if through > 0 else behind
        if abs(through) > allowed:
            text = f"{price} is {abs(through):.1%} from the market at {market}, at most {allowed:.1%}"
            return Refused("R4", "price_collar", text)
    return None


def stop_is_sane(question: Question) -> Refused | None:
    """R4: the stop's side and distance, as proposed, or as the children say it.

    The market may have moved between the decision and here by a spread and a tick: that much is granted.
    """
    reference, facts = question.wish.reference, question.facts
    if question.wish.stop_distance is None or reference is None or facts is None:
        return None
    limits, tick = question.limits, facts.grid.tick_at(reference)
    least = max(limits.min_stop_ticks * tick, exact(limits.min_stop_distance) * reference)
    most = exact(limits.max_stop_distance) * reference
    granted = Decimal(0)
    distances: tuple[Decimal, ...] = (question.wish.stop_distance,)
    if question.wish.orders:
        buys, sells = far_side(Side.BUY, question.quote), far_side(Side.SELL, question.quote)
        assert buys is not None
        assert sells is not None
        granted = buys - sells + tick
        distances = tuple(_stop_distances(question.wish.orders, reference))
    for distance in distances:
        if distance <= 0:
            return Refused("R4", "stop_side", f"a stop {-distance:.4f} on the winning side protects nothing")
        if distance < least - granted:
            text = f"a stop {distance:.4f} away is closer than the least distance {least:.4f}"
            return Refused("R4", "stop_too_close", text)
        if distance > most + granted:
            text = f"a stop {distance:.4f} away is further than {limits.max_stop_distance:.0%} of the price"
            return Refused("R4", "stop_too_far", text)
    return None


def _stop_distances(orders: tuple[OrderSpec, ...], reference: Decimal) -> Iterator[Decimal]:
    entry = orders[0]
    for leg in orders[1:]:
        if leg.purpose is not Purpose.STOP:
            continue
        if leg.trail_fraction is not None:
            yield leg.trail_fraction * reference
        elif leg.trail_amount is not None:
            yield leg.trail_amount
        elif leg.stop_price is not None:
            yield (reference - leg.stop_price) * entry.side.sign


# --- R14 ------------------------------------------------------------------------------------------


def is_a_bracket(question: Question) -> Refused | None:
    """R14: a trade is opened by a bracket with a stop for all of it; an addition has a stop to lean on."""
    if not question.wish.orders:
        return None
    entry, legs = question.wish.orders[0], question.wish.orders[1:]
    if entry.tif not in SHORT_LIVED:
        return Refused("R14", "entry_tif", f"an entry that is {entry.tif.value} would outlive its program")
    if not question.wish.main:
        return _addition_refusal(question, entry, legs)
    wrong = next((leg for leg in legs if not _belongs(entry, leg)), None)
    if wrong is not None:
        return Refused("R14", "not_a_bracket", f"{wrong.ref.role} is no exit of the entry it comes with")
    if len({order.ref for order in question.wish.orders}) < len(question.wish.orders):
        return Refused("R14", "not_a_bracket", "two orders of the group have one reference")
    stops = tuple(leg for leg in legs if leg.purpose is Purpose.STOP)
    if not stops:
        return Refused("R14", "no_stop", "an entry without a stop")
    unsound = next((leg for leg in stops if not _protects(leg)), None)
    if unsound is not None:
        return Refused("R14", "stop_kind", f"{unsound.ref.role} does not outlive the day, or is no stop")
    for purpose, code in ((Purpose.STOP, "stop_quantity"), (Purpose.TARGET, "target_quantity")):
        covered = sum(leg.quantity for leg in legs if leg.purpose is purpose)
        if covered > entry.quantity or (purpose is Purpose.STOP and covered < entry.quantity):
            text = f"{purpose.value} orders for {covered} shares of an entry of {entry.quantity}"
            return Refused("R14", code, text)
    return None


def _belongs(entry: OrderSpec, leg: OrderSpec) -> bool:
    ours = (leg.ref.symbol, leg.ref.trade) == (entry.ref.symbol, entry.ref.trade)
    exits = leg.purpose in (Purpose.STOP, Purpose.TARGET) and leg.side is entry.side.opposite
    grouped = bool(leg.oca_group) and leg.oca_type == OCA_REDUCE
    return ours and exits and leg.parent == entry.ref and grouped and leg.quantity >= 1


def _protects(leg: OrderSpec) -> bool:
    priced = {
        OrderType.STOP: leg.stop_price is not None,
        OrderType.TRAILING: leg.trail_amount is not None or leg.trail_fraction is not None,
    }
    return priced.get(leg.type, False) and leg.tif is TimeInForce.GTC and leg.outside_rth


def _addition_refusal(question: Question, entry: OrderSpec, legs: tuple[OrderSpec, ...]) -> Refused | None:
    if legs:
        return Refused("R14", "not_a_bracket", "an addition comes alone: the exits of its trade cover it")
    held = question.book.position(question.wish.symbol) * entry.side.sign
    if held <= 0:
        return Refused("R14", "no_position", "an addition needs a position of its side to be added to")
    # What was asked counts: its answer is on the way, and a refusal of it is an alarm of its own.
    covered = sum(
        order.order.remaining
        for order in question.book.live(question.wish.symbol)
        if order.spec.purpose is Purpose.STOP and order.side is entry.side.opposite
    )
    if covered < held:
        text = f"stops cover {covered} of {held} shares: nothing is added to what is not protected"
        return Refused("R14", "unprotected", text)
    return None


# --- R16 ------------------------------------------------------------------------------------------


def prices_on_grid(question: Question) -> Refused | None:
    """R16: every price of every leg is one that the contract can be quoted at."""
    if question.facts is None:
        return None
    return next(filter(None, (off_grid(order, question.facts.grid) for order in question.wish.orders)), None)


def off_grid(order: OrderSpec, grid: PriceGrid) -> Refused | None:
    for price in (order.limit_price, order.stop_price, order.trail_amount):
        if price is None:
            continue
        if not price.is_finite() or not 0 < price < MAX_PRICE:
            return Refused("R16", "price", f"{order.ref.role}: {price} is no price")
        if not grid.contains(price):
            text = f"{order.ref.role}: {price} is not on the grid of {grid.tick_at(price)}"
            return Refused("R16", "off_grid", text)
    if order.trail_fraction is not None and not 0 < order.trail_fraction < ONE:
        return Refused("R16", "price", f"{order.ref.role}: it cannot trail by {order.trail_fraction}")
    return None


# --- R2: the plan -----------------------------------------------------------------------------------


def within_plan(question: Question) -> Refused | None:
    """R2: no more than the trade was planned to come to, level by level.

    An addition that a rule asks for by itself is no part of the plan: the limits of R1 to R3 are its own.
    """
    if not question.wish.orders:
        return None
    entry, opened = question.wish.orders[0], question.book.opened(question.wish.symbol)
    if opened is None or opened.trade != entry.ref.trade or question.book.find(entry.ref) is None:
        return Refused("R20", "no_intent", f"{entry.ref} is in no trade of the journal that lives")
    if entry.side is not opened.side:
        return Refused("R2", "plan_side", f"{entry.side.value} in a {opened.side.value} trade")
    role = entry.ref.role
    levels: tuple[int, ...] = (opened.quantity,)
    if role != MAIN and entry.index >= BY_RULE:
        return None
    if role == SCALE:
        levels = tuple(level.quantity for level in opened.plan.scale_ins)
    elif role == DOUBLEDOWN:
        levels = tuple(level.quantity for level in opened.plan.double_downs)
    elif role != MAIN:
        return Refused("R2", "not_planned", f"nobody planned the addition {entry.ref}")
    planned = levels[entry.index] if 0 <= entry.index < len(levels) else 0
    trade = question.book.trade(question.wish.symbol)
    asked = sum(
        max(order.filled, order.spec.quantity if order.live else 0)
        for order in (() if trade is None else trade.of_role(role))
        if order.spec.index == entry.index
    )
    if asked > planned:
        text = f"{asked} shares at level {entry.index} of {role}, where the plan of the trade has {planned}"
        return Refused("R2", "plan_exceeded", text)
    return None
