"""Prices and sizes of stop and target: a partial fill ends here, and nothing else resizes a stop.

Stop and target of each tranche share an OCA group of type 2, "reduce with block": when one of them executes,
the broker takes the same number of shares off the other, and only one is at the exchange at a time, so they
cannot overfill. Tranches never share a group: a target for half of the position would shrink the stop of
the other half too. Type 3 lacks the block; type 1 would cancel the stop on the target's first partial fill.
So the broker shrinks an exit for its siblings' fills, and we change exits for everything else: exactly
one side does each. Modifies are in place, never a cancel and a new order: in between is nakedness.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Final

import attrs

from protocol.chores import Chores
from protocol.contradictions import may_be_split
from protocol.disputes import (
    MOVED_FOR,
    heed_cancels,
    heed_move,
    is_theirs,
    keeps_shrinking,
    moved_since,
    taken_away,
)
from protocol.events import (
    CancelEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderStatusEvent,
    PositionUpdateEvent,
)
from protocol.linked_orders import LinkedOrders
from protocol.order import TERMINAL, WORKING, Order
from protocol.trade_plan import Tranche, stop_role, target_role
from protocol.values import (
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    PriceGrid,
    Purpose,
    Side,
    TimeInForce,
)

OCA_REDUCE: Final = 2
RESIZE_EVERY: Final = timedelta(seconds=0.25)
"""Repricing modifies are at least this far apart; a resize that protection needs does not wait."""
ANSWER_WITHIN: Final = timedelta(seconds=2.0)
"""After this long, what the broker confirmed is what holds, and not what we asked."""
MAX_STOPS: Final = 3
"""Stops of one trade that may be placed one after another before the position is closed instead."""
MAX_REFUSALS: Final = 3


EXITED = frozenset({Purpose.STOP.value, Purpose.TARGET.value, Purpose.CLOSE.value})


def stop_price(side: Side, average: Decimal, distance: Decimal, grid: PriceGrid) -> Decimal:
    """Where the stop of a `side` trade lies: on the losing side, rounded away from the market."""
    return grid.floor(average - distance) if side is Side.BUY else grid.ceil(average + distance)


def target_price(side: Side, average: Decimal, distance: Decimal, grid: PriceGrid) -> Decimal:
    """Where the target of a `side` trade lies: on the winning side, rounded towards the market."""
    return grid.floor(average + distance) if side is Side.BUY else grid.ceil(average - distance)


def wanted_quantity(order: Order, position: int, *, entering: bool) -> int:
    """The total an exit must ask for, executed shares included, to cover `position` shares.

    While an entry still works it may ask for more than there is: what the entry is about to fill has to be
    covered the moment it fills. Once no entry lives, it is the position exactly.
    """
    exact = order.filled + position
    return max(order.spec.quantity, exact) if entering else exact


def stop_spec(
    ref: OrderRef,
    trade: LinkedOrders,
    index: int,
    quantity: int,
    average: Decimal,
    grid: PriceGrid,
    group: str,
) -> OrderSpec:
    """The stop of a tranche for `quantity` shares entered at `average`."""
    tranche = trade.tranches[index]
    price = stop_price(trade.side, average, tranche.stop_distance or trade.stop_distance, grid)
    return OrderSpec(
        ref, trade.side.opposite, quantity, OrderType.TRAILING if tranche.native_trail else OrderType.STOP,
        TimeInForce.GTC, stop_price=None if tranche.native_trail else _ratcheted(trade, tranche, price),
        outside_rth=True, oca_group=group, oca_type=OCA_REDUCE, purpose=Purpose.STOP, index=index,
        trail_amount=_on_grid(tranche.trail_amount, grid), trail_fraction=tranche.trail_fraction,
    )  # fmt: skip


def target_spec(
    ref: OrderRef,
    trade: LinkedOrders,
    index: int,
    quantity: int,
    average: Decimal,
    grid: PriceGrid,
    group: str,
) -> OrderSpec | None:
    """The target of a tranche; None when it has none."""
    distance = trade.tranches[index].target_distance
    if distance is None:
        return None
    return OrderSpec(
        ref, trade.side.opposite, quantity, OrderType.LIMIT, TimeInForce.GTC,
        limit_price=target_price(trade.side, average, distance, grid), outside_rth=True, oca_group=group,
        oca_type=OCA_REDUCE, purpose=Purpose.TARGET, index=index,
    )  # fmt: skip


def _on_grid(amount: Decimal | None, grid: PriceGrid) -> Decimal | None:
    return None if amount is None else max(grid.ceil(amount), grid.tick_at(amount))


def _ratcheted(trade: LinkedOrders, tranche: Tranche, price: Decimal) -> Decimal:
    """The stop's price, or what it has been tightened to; exits that were joined keep their own distance."""
    if trade.ratchet is None or tranche.name:
        return price
    return max(price, trade.ratchet) if trade.side is Side.BUY else min(price, trade.ratchet)


def keep_protected(chores: Chores) -> None:
    """Make stop and target of the open trade what they have to be, in as few words as possible."""
    trade = chores.state.trade
    if trade is None:
        return
    position = chores.state.guarded * trade.side.sign
    if position <= 0:
        return
    if trade.closing is not None:
        _cover_what_is_closing(chores, trade, position)
        return
    if trade.opening and any(
        order.filled for order in trade.orders if order.purpose in (Purpose.STOP, Purpose.TARGET)
    ):
        _close(chores, "an exit filled while the entry was still working")
        return
    if trade.concluded_by in EXITED:
        _close(chores, "an order to add filled after the exits had")
        return
    heed_cancels(chores)
    believe_the_broker(chores)
    # Exits that were joined come first, so that the others see that they are on their way.
    for index, shares in reversed(tuple(enumerate(trade.shares(position)))):
        if shares or trade.entering:
            _keep_tranche(chores, index, shares)
        else:
            _retire_tranche(chores, index)


def _cover_what_is_closing(chores: Chores, trade: LinkedOrders, position: int) -> None:
    """A close takes its time: until it is done, the stops are what is left of the position, no less and no
    more; what an addition filled in its last moment is covered, too."""
    if trade.entering:
        return
    believe_the_broker(chores)
    for index, shares in enumerate(trade.shares(position)):
        stop = trade.exit(Purpose.STOP, index)
        if shares and stop is not None and stop.status in WORKING:
            _resize(chores, stop, shares)


def _keep_tranche(chores: Chores, index: int, shares: int) -> None:
    trade = chores.state.trade
    if trade is None or trade.closing is not None:
        return
    stop = trade.exit(Purpose.STOP, index)
    if stop is not None and stop.status is OrderStatus.FILLED and stop.awaits_executions:
        # Told before its executions are: what they leave of the position is not known yet, and whatever is
        # closed now could be closed twice.
        return
    if stop is not None and stop.status is OrderStatus.FILLED and shares:
        # It filled while its growth was on its way: what it did not cover goes the same way.
        _close(chores, "the stop filled before it had grown")
    elif stop is None or stop.status in TERMINAL:
        if shares:
            _replace_stop(chores, index, shares)
    elif stop.refusals >= MAX_REFUSALS:
        _close(chores, "the broker refuses to change the stop")
    elif _stays_inactive(chores, stop):
        _close(chores, "the broker holds the stop as inactive")
    else:
        _resize(chores, stop, shares)
        _retire_older_stops(chores, stop)
    target = trade.exit(Purpose.TARGET, index)
    if target is None:
        _join_target(chores, index, shares)
    elif _resize(chores, target, shares):
        _cancel(chores, target, "the broker refuses to change the target")


def shrinking(trade: LinkedOrders, position: int) -> bool:
    """Whether some exits still cover more than they will: others have not given their shares up yet."""
    shares = trade.shares(position)
    return any(
        order.purpose is Purpose.STOP
        and order.changeable
        and (order.remaining > shares[order.spec.index] or not order.as_asked)
        for order in trade.orders
    )


def _retire_tranche(chores: Chores, index: int) -> None:
    """Nothing of the position is left for these exits, and nothing will be."""
    trade = chores.state.trade
    if trade is None or trade.closing is not None or trade.leaving(index):
        return
    for order in trade.orders:
        if order.spec.index == index and order.purpose in (Purpose.STOP, Purpose.TARGET):
            if order.status in TERMINAL or order.asked_at is None:
                continue
            # The broker cancels the sibling of a filled exit by itself; after a while we do.
            if chores.due(order.asked_at + ANSWER_WITHIN + chores.plan.latency):
                _cancel(chores, order, "nothing is left for it to close")


def _stays_inactive(chores: Chores, stop: Order) -> bool:
    """Inactive protects nothing. The reason, which makes it rejected, mostly follows at once."""
    if stop.status is not OrderStatus.INACTIVE or stop.status_since is None:
        return False
    return chores.due(stop.status_since + ANSWER_WITHIN + chores.plan.latency)


def _retire_older_stops(chores: Chores, stop: Order) -> None:
    """A stop that was given up and replaced, and is there after all: one is enough."""
    trade = chores.state.trade
    assert trade is not None
    for order in trade.orders:
        same = order.purpose is Purpose.STOP and order.spec.index == stop.spec.index
        if same and order.ref != stop.ref and stop.status in WORKING:
            _cancel(chores, order, "another stop has taken its place")


def _cancel(chores: Chores, order: Order, why: str) -> None:
    if order.changeable:
        chores.emit(CancelEvent(at=chores.at, cause=why, ref=order.ref, why=why))


def believe_the_broker(chores: Chores) -> None:
    """Where an exit is not what we asked and the answer is overdue, the broker's word holds from now on."""
    trade = chores.state.trade
    assert trade is not None
    for order in trade.orders:
        if order.purpose not in (Purpose.STOP, Purpose.TARGET) or not order.changeable:
            continue
        if order.confirmed_quantity is None or trade.entering or order.asked_at is None or order.as_asked:
            continue
        moved_at = moved_since(order, chores.plan.latency)
        moved = moved_at is not None
        overdue = order.asked_at + ANSWER_WITHIN if moved_at is None else moved_at + MOVED_FOR
        if chores.due(overdue + chores.plan.latency):
            chores.emit(OrderStatusEvent(
                at=chores.at, cause="somebody else" if moved else "no answer", ref=order.ref,
                status=order.status, perm_id=order.perm_id, quantity=order.confirmed_quantity,
                filled=order.reported_filled, limit_price=order.confirmed_limit,
                stop_price=order.confirmed_stop, adopted=True, moved=moved,
            ))  # fmt: skip
            if moved:
                heed_move(chores, order.ref)
            if moved and trade.closing is None and keeps_shrinking(chores, order.ref):
                _close(chores, "somebody else keeps shrinking the stop")
                return


def _resize(chores: Chores, order: Order, shares: int) -> bool:
    """Modify an exit where it is not what it has to be. True when the broker has refused that too often."""
    trade, grid, at = chores.state.trade, chores.view.grid, chores.at
    assert trade is not None
    if not order.changeable or trade.leaving(order.spec.index, besides=order.ref):
        return False
    quantity = wanted_quantity(order, shares, entering=trade.entering)
    if quantity < order.spec.quantity and _joining(trade, order):
        # It gives its shares up when the exits that take them over work, not before.
        return False
    spec = attrs.evolve(order.spec, quantity=quantity)
    if grid is not None and not is_theirs(order):
        spec = _repriced(spec, trade, chores.state.position.average_price, grid)
    # Compare with what we asked for, not with what is confirmed: two fills can arrive before the first
    # modify is acknowledged, and must not ask for the same thing twice.
    if spec == order.spec:
        return False
    if order.refusals >= MAX_REFUSALS:
        return True
    if trade.opening and order.purpose is Purpose.TARGET:
        quantity = _as_scaled(order, shares, quantity)
        spec = attrs.evolve(spec, quantity=quantity)
    resized = quantity != order.spec.quantity
    not_before = None if resized or order.modified_at is None else order.modified_at + RESIZE_EVERY
    if order.refusals and order.asked_at is not None:
        not_before = order.asked_at + ANSWER_WITHIN + chores.plan.latency
    if not_before is not None and not chores.due(not_before):
        return False
    why = "resize" if resized else "reprice"
    chores.emit(ModifyOrderEvent(at=at, cause=why, ref=order.ref, order=spec, why=why))
    return False


def _as_scaled(target: Order, shares: int, quantity: int) -> int:
    """While the entry fills, the broker may have made its children as small as what has filled. A new price
    for a target, sent with the whole quantity, would let it turn the position around."""
    confirmed = target.confirmed_quantity
    return quantity if confirmed is None else min(quantity, max(confirmed, target.filled + shares))


def _joining(trade: LinkedOrders, order: Order) -> bool:
    """Whether a stop of another tranche is on its way to the broker."""
    return any(
        other.purpose is Purpose.STOP
        and other.spec.index != order.spec.index
        and other.status in (OrderStatus.CREATED, OrderStatus.PENDING_SUBMIT)
        for other in trade.orders
    )


def _repriced(spec: OrderSpec, trade: LinkedOrders, average: Decimal, grid: PriceGrid) -> OrderSpec:
    """The exit at its distance from the real average fill; the risk for each share is what was sized.

    A stop that was tightened stays where it is at least; one that trails at the broker moves by itself.
    """
    tranche = trade.tranches[spec.index]
    if spec.type is OrderType.STOP:
        price = stop_price(trade.side, average, tranche.stop_distance or trade.stop_distance, grid)
        return attrs.evolve(spec, stop_price=_ratcheted(trade, tranche, price))
    if spec.type is OrderType.LIMIT and tranche.target_distance is not None:
        return attrs.evolve(
            spec, limit_price=target_price(trade.side, average, tranche.target_distance, grid)
        )
    return spec


def _replace_stop(chores: Chores, index: int, shares: int) -> None:
    """The stop is gone and the position is not, or exits were joined: when a new stop is right."""
    trade, grid, plan = chores.state.trade, chores.view.grid, chores.plan
    assert trade is not None
    if trade.leaving(index):
        # The broker said that an exit has executed: its executions come, and a new stop would be too much.
        return
    if may_be_split(chores):
        return
    if taken_away(chores, index):
        _close(chores, "somebody else cancels its stop")
        return
    role = stop_role(index, trade.tranches[index])
    revision = trade.next_revision(role)
    if grid is None or revision >= MAX_STOPS:
        _close(chores, "no stop stays in place")
        return
    group = group_of(chores, trade, index)
    ref = plan.ref(trade.trade, role, revision)
    spec = stop_spec(ref, trade, index, shares, chores.state.position.average_price, grid, group)
    bid_or_ask = chores.view.far_side(trade.side.opposite)
    beyond = (
        bid_or_ask is not None
        and spec.stop_price is not None
        and (Decimal(repr(bid_or_ask)) - spec.stop_price) * trade.side.sign <= 0
    )
    if beyond:
        _close(chores, "the price is beyond the stop, and the stop is gone")
        return
    why = "the stop is gone" if revision else "exits were joined"
    chores.emit(NewOrderEvent(at=chores.at, cause=why, ref=ref, order=spec))


def group_of(chores: Chores, trade: LinkedOrders, index: int) -> str:
    """The OCA group that an order of a tranche can join: one of which an order has filled takes no more."""
    groups: dict[str, bool] = {}
    for order in trade.orders:
        group = order.spec.oca_group
        if order.purpose is not Purpose.ENTRY and order.spec.index == index and group:
            groups[group] = groups.get(group, False) or order.status is OrderStatus.FILLED
    spent = sum(groups.values())
    open_ones = [group for group, is_spent in groups.items() if not is_spent]
    name = chores.plan.oca_group(trade.trade, index)
    return open_ones[-1] if open_ones else f"{name}:again{spent}" if spent else name


def _join_target(chores: Chores, index: int, shares: int) -> None:
    """Exits that were joined to a live trade get their target when their stop is at the broker."""
    trade, grid = chores.state.trade, chores.view.grid
    if trade is None or grid is None or not shares or trade.closing is not None:
        return
    stop = trade.exit(Purpose.STOP, index)
    if stop is None or stop.status not in WORKING or trade.entering or trade.leaving(index):
        return
    ref = chores.plan.ref(trade.trade, target_role(index, trade.tranches[index]))
    group = group_of(chores, trade, index)
    spec = target_spec(ref, trade, index, shares, chores.state.position.average_price, grid, group)
    if spec is not None:
        chores.emit(NewOrderEvent(at=chores.at, cause="exits were joined", ref=ref, order=spec))


def _close(chores: Chores, reason: str) -> None:
    """Close what cannot be protected; where no stop covers all of it meanwhile, a person should know."""
    trade = chores.state.trade
    assert trade is not None
    chores.emit(PositionUpdateEvent(
        at=chores.at, cause=reason, symbol=chores.plan.symbol, trade=trade.trade, reason=reason
    ))  # fmt: skip
    stops = [order for order in trade.orders if order.purpose is Purpose.STOP and order.status in WORKING]
    if sum(order.remaining for order in stops) < abs(chores.state.position.quantity):
        chores.alarm("UNCOVERED", reason)
