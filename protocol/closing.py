"""Closing a trade without a moment in which both the close and the stop can fill.

The target is turned in place into a marketable limit, so that it stays in its OCA group: whatever it
executes, the broker takes off the stop. Without a target that can be changed, a market order joins the
group. If that is refused too, the exits are cancelled, confirmed dead, and then the position is sold or
bought at the market.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import attrs

from protocol.chores import Chores
from protocol.events import (
    AlarmEvent,
    CancelEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    PeerAskedEvent,
    PositionCloseEvent,
    PositionUpdateEvent,
)
from protocol.linked_orders import LinkedOrders
from protocol.order import TERMINAL, WORKING, Order
from protocol.protection import EXITED, OCA_REDUCE, group_of, shrinking
from protocol.schedule import DayPhase, day_of
from protocol.values import CLOSE, MAIN, OrderSpec, OrderStatus, OrderType, Purpose, Side, TimeInForce

ASK_AGAIN = timedelta(seconds=5.0)
"""A closing price that has not filled after this long is moved further through the market."""
REACH = Decimal("0.005")
"""How far beyond the quote the first closing price reaches, as a fraction; each next one as much further."""
GRACE = timedelta(seconds=2.0)
"""The broker cancels the siblings of a filled exit by itself; after this long we do."""
LONGEST_PAUSE = timedelta(seconds=60.0)
"""Refused closing orders follow each other ever more slowly, up to this."""
OWED = timedelta(seconds=30.0)
OWED_LATENCIES = 20
"""How long a close waits for executions that a status has told of: the session asks for them within seconds
of the machine's time, however fast the market's goes."""
TELLS_IT = ("UNCOVERED", "LATE_FILL")
"""Alarms that say already that shares are closed without a stop."""
MAX_ATTEMPTS = 6
"""Closing prices asked of the target before a market order joins it."""


def end_the_day(chores: Chores) -> None:
    """Flatten when the schedule says so, and see to it that nothing stays open after it."""
    trade, plan = chores.state.trade, chores.plan
    if trade is None or trade.closing is not None:
        return
    day = day_of(plan.schedule, chores.at)
    if day is None:
        return
    phase = day.phase(chores.at)
    if phase is DayPhase.FLATTEN:
        start_closing(chores, "end of day")
    elif phase is not DayPhase.CLOSED and trade.opened_at < day.open:
        start_closing(chores, "left over from an earlier day")
    elif chores.at < day.flatten:
        chores.look_again(day.open if chores.at < day.open else day.flatten)


def start_closing(chores: Chores, reason: str) -> None:
    """Close the trade of the symbol, if there is one and it is not being closed already."""
    trade = chores.state.trade
    if trade is not None and trade.closing is None:
        chores.emit(PositionUpdateEvent(
            at=chores.at, cause=reason, symbol=chores.plan.symbol, trade=trade.trade, reason=reason
        ))  # fmt: skip


def exit_in_time(chores: Chores) -> None:
    """Close a trade that was opened for a limited time."""
    trade = chores.state.trade
    if trade is None or trade.closing is not None:
        return
    plan, until = trade.plan, trade.plan.close_at
    if plan.close_after_s is not None:
        after = trade.opened_at + timedelta(seconds=plan.close_after_s)
        until = after if until is None else min(after, until)
    if until is not None and chores.due(until):
        start_closing(chores, "its time is over")


def limit_entry_age(chores: Chores) -> None:
    """An entry that has not filled soon is cancelled: a dead program must not leave one working."""
    trade = chores.state.trade
    if trade is None:
        return
    age_s = trade.plan.entry_age_s
    age = timedelta(seconds=chores.plan.limits.max_entry_age_s if age_s is None else age_s)
    for order in trade.live_entries:
        if order.role == MAIN and chores.due(trade.opened_at + age + chores.plan.latency):
            _cancel(chores, order, "the entry did not fill in time")


def keep_closing(chores: Chores) -> None:
    """One step of a close: entries first, then the position, then what is left of the exits."""
    trade = chores.state.trade
    if trade is None or trade.closing is None:
        return
    for order in trade.live_entries:
        _cancel(chores, order, trade.closing.reason)
    quantity = chores.state.guarded
    if quantity == 0 or _owed_entries(chores, trade, trade.closing.since):
        return
    if quantity * trade.side.sign < 0:
        # What somebody else has turned around is theirs.
        quantity = chores.state.own_quantity
        if quantity == 0 or any(order.awaits_executions for order in trade.orders):
            # It only looks so: the executions that are still to come say what there is.
            return
        # More was closed than there was: what is on the wrong side has no tranche to belong to.
        _close_part(chores, trade, 0, Side.SELL if quantity > 0 else Side.BUY, abs(quantity))
        return
    for index, shares in enumerate(trade.shares(abs(quantity))):
        if shares:
            # Each close takes the next number of its role, so the ones before it have to be seen.
            _close_part(chores, chores.state.trade or trade, index, trade.side.opposite, shares)


def _owed_entries(chores: Chores, trade: LinkedOrders, since: datetime) -> bool:
    """Whether an entry has filled further than its executions tell, so that nobody knows how much is to be
    closed. A close for less would fill its group and take the stop of the rest along; the exits stay until
    the executions have come, or what stands in for them, though not for ever."""
    owed = any(order.awaits_executions for order in trade.orders if order.purpose is Purpose.ENTRY)
    return owed and not chores.due(since + OWED + OWED_LATENCIES * chores.plan.latency)


def _close_part(chores: Chores, trade: LinkedOrders, index: int, leaving: Side, quantity: int) -> None:
    assert trade.closing is not None
    target = trade.exit(Purpose.TARGET, index)
    if (
        target is not None and target.changeable and target.spec.side is leaving
        and target.status is not OrderStatus.CREATED
        and not target.refusals
    ):  # fmt: skip
        _close_by_target(chores, trade, target, quantity)
    elif target is None or target.status is not OrderStatus.CREATED or target.status in TERMINAL:
        _close_by_market(chores, trade, index, leaving, quantity, trade.closing.reason)
    else:
        # The bracket is still on its way to the broker; its acknowledgement comes within moments.
        chores.look_again(chores.at + GRACE)


def _close_by_target(chores: Chores, trade: LinkedOrders, target: Order, quantity: int) -> None:
    closing, view, grid = trade.closing, chores.view, chores.view.grid
    assert closing is not None
    if trade.leaving(target.spec.index, besides=target.ref):
        chores.look_again(chores.at + ASK_AGAIN)
        return
    wanted, attempts = target.filled + quantity, target.closing_attempts
    asked_at = target.asked_at or closing.since
    late = attempts > 0 and chores.at >= asked_at + ASK_AGAIN + chores.plan.latency
    if attempts and wanted == target.spec.quantity and not late:
        # Also without a quote, as right after a restart: it is at work already.
        chores.look_again(asked_at + ASK_AGAIN + chores.plan.latency)
        return
    price = view.far_side(target.spec.side) or view.last
    if price is None or grid is None:
        _close_by_market(chores, trade, target.spec.index, target.spec.side, quantity, closing.reason)
        return
    if attempts >= MAX_ATTEMPTS and wanted == target.spec.quantity:
        _close_by_market(chores, trade, target.spec.index, target.spec.side, quantity, closing.reason)
        return
    collar = Decimal(repr(chores.plan.limits.price_collar))
    reach = min(REACH * (attempts + 1), collar)
    through = Decimal(repr(price)) * (1 + target.spec.side.sign * reach)
    limit = grid.ceil(through) if target.spec.side is Side.BUY else grid.floor(through)
    spec = attrs.evolve(target.spec, quantity=wanted, limit_price=limit)
    chores.emit(ModifyOrderEvent(at=chores.at, cause=closing.reason, ref=target.ref, order=spec, why="close"))
    chores.look_again(chores.at + ASK_AGAIN + chores.plan.latency)


def close_parts(chores: Chores) -> None:
    """Shares that are closed apart from the rest, once they have a stop of their own, which goes with them.

    A close of a part inside the group of all exits would cancel the stop of the rest when it has filled.
    """
    trade = chores.state.trade
    if trade is None or trade.closing is not None or trade.entering:
        return
    position = chores.state.guarded * trade.side.sign
    if position <= 0 or not any(tranche.closing for tranche in trade.tranches):
        return
    for index, shares in enumerate(trade.shares(position)):
        stop = trade.exit(Purpose.STOP, index)
        if not trade.tranches[index].closing or not shares or stop is None or stop.status not in WORKING:
            continue
        if not shrinking(trade, position):
            _close_by_market(chores, trade, index, trade.side.opposite, shares, trade.tranches[index].closing)


def _close_by_market(
    chores: Chores, trade: LinkedOrders, index: int, side: Side, quantity: int, reason: str
) -> None:
    """A market order in the exits' group; where the broker refuses it there, one after the exits are dead.

    A close that never got there says nothing about the group: the next one tries it, and the stop stays.
    """
    closes = tuple(
        order for order in trade.orders if order.purpose is Purpose.CLOSE and order.spec.index == index
    )
    live = [order for order in closes if order.live]
    if live or trade.leaving(index):
        # What has executed already must not be sold a second time.
        if len(live) == 1 and not trade.leaving(index, besides=live[0].ref):
            _grow(chores, live[0], side, quantity, reason)
        chores.look_again(chores.at + ASK_AGAIN)
        return
    refused = [order for order in closes if order.status is OrderStatus.REJECTED]
    exits = tuple(
        order
        for order in trade.live_exits
        if order.purpose is not Purpose.CLOSE and order.spec.index == index
    )
    group, group_type = group_of(chores, trade, index), OCA_REDUCE
    against = any(order.spec.side is not side for order in exits)
    if against or any(order.refused_with for order in refused):
        if exits:
            for order in exits:
                _cancel(chores, order, "the group refuses the close")
            chores.look_again(chores.at + GRACE)
            return
        group, group_type = "", 0
    last = closes[-1] if closes else None
    pause = min(GRACE * max(len(refused), 1), LONGEST_PAUSE)
    # What is left when a close has filled, an addition that filled beside it, goes at once.
    if (
        last is not None and last.status is not OrderStatus.FILLED
        and last.asked_at is not None and not chores.due(last.asked_at + pause)
    ):  # fmt: skip
        return
    spec = close_spec(chores, trade, index, side, quantity, group, group_type)
    chores.emit(NewOrderEvent(at=chores.at, cause=reason, ref=spec.ref, order=spec))
    covered = sum(
        order.remaining for order in exits if order.purpose is Purpose.STOP and order.status in WORKING
    )
    # The group has gone with the close that filled, and its stop with it.
    spent = last is not None and last.status is OrderStatus.FILLED
    told = any(isinstance(event, AlarmEvent) and event.code in TELLS_IT for event in chores.events)
    if (spent or covered < quantity) and not told:
        chores.alarm("UNCOVERED", f"{quantity} shares are closed without a stop")


def _grow(chores: Chores, close: Order, side: Side, quantity: int, reason: str) -> None:
    """More has filled beside a close that works, an addition: it takes that along. Its total counts what it
    has executed, told or not."""
    total = close.filled + quantity
    works = close.status in WORKING and close.changeable and not close.refusals
    if works and close.spec.side is side and total > close.spec.quantity:
        spec = attrs.evolve(close.spec, quantity=total)
        chores.emit(ModifyOrderEvent(at=chores.at, cause=reason, ref=close.ref, order=spec, why="close"))


def close_spec(
    chores: Chores, trade: LinkedOrders, index: int, side: Side, quantity: int, group: str, group_type: int
) -> OrderSpec:
    """A market order that takes `quantity` off a tranche, whose group shrinks with it."""
    ref = chores.plan.ref(trade.trade, CLOSE, trade.next_revision(CLOSE))
    return OrderSpec(
        ref, side, quantity, OrderType.MARKET, TimeInForce.DAY, oca_group=group, oca_type=group_type,
        index=index,
    )  # fmt: skip


def clear_up(chores: Chores) -> None:
    """Flat, or never opened: nothing may be left working, and then the context goes as a whole."""
    trade = chores.state.trade
    if trade is None:
        return
    position = chores.state.guarded
    if position * trade.side.sign < 0:
        position = chores.state.own_quantity
    if position * trade.side.sign < 0 and trade.closing is None:
        # An entry that has filled and whose executions are still to come only makes it look so: what were
        # closed now would be opened.
        if not any(order.awaits_executions for order in trade.orders):
            start_closing(chores, "the position has the wrong side")
        return
    if position != 0:
        return
    entries = trade.live_entries
    if entries and trade.flat_since is None:
        return
    if entries:
        for order in entries:
            _cancel(chores, order, "the trade is over")
        return
    _cancel_exits(chores, trade)
    trade = chores.state.trade
    assert trade is not None
    if trade.settled:
        _conclude(chores, trade)


def _cancel_exits(chores: Chores, trade: LinkedOrders) -> None:
    for order in trade.live_exits:
        since = trade.flat_since or order.asked_at or trade.opened_at
        by_broker = trade.flat_since is None or trade.concluded_by in EXITED
        if not by_broker or chores.due(since + GRACE + chores.plan.latency):
            _cancel(chores, order, "the trade is over")


def _cancel(chores: Chores, order: Order, why: str) -> None:
    """Ask for a cancel once; again only when it was refused and the order still lives some time later."""
    if order.cancel_asked or order.status in TERMINAL or order.status is OrderStatus.PENDING_CANCEL:
        return
    again_at = None
    if order.refusals and order.asked_at is not None:
        again_at = order.asked_at + GRACE + chores.plan.latency
    if again_at is not None and not chores.due(again_at):
        return
    chores.emit(CancelEvent(at=chores.at, cause=why, ref=order.ref, why=why))


def _end_hedges(chores: Chores, trade: LinkedOrders, reason: str) -> None:
    for peer in trade.hedges:
        chores.emit(PeerAskedEvent(
            at=chores.at, cause=reason, symbol=chores.plan.symbol, what="unhedge", peer=peer,
            trade=trade.trade, reason=reason,
        ))  # fmt: skip


def _conclude(chores: Chores, trade: LinkedOrders) -> None:
    filled = any(order.filled for order in trade.orders)
    reason = trade.closing.reason if trade.closing is not None else trade.concluded_by or "closed"
    if not filled:
        reason = f"not entered: {reason}" if trade.closing is not None else "not entered"
    _end_hedges(chores, trade, reason)
    best, worst = chores.view.excursion(trade.side, trade.average)
    chores.emit(PositionCloseEvent(
        at=chores.at, cause=reason, symbol=chores.plan.symbol, trade=trade.trade, reason=reason,
        realized_pnl=chores.state.position.realized_pnl - trade.realized_before,
        commission=chores.state.position.commission - trade.commission_before,
        best_pnl=best if filled else None, worst_pnl=worst if filled else None,
    ))  # fmt: skip
