"""The durable state of one symbol, and `evolve`: the only thing that changes it.

Replaying a symbol's stream of the journal through `evolve` gives its state, at any prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TypeAlias

import attrs

from protocol.events import (
    BaseEvent,
    CancelEvent,
    CommissionEvent,
    EntryDroppedEvent,
    EntryPreparedEvent,
    FillEvent,
    ForeignFillEvent,
    HoldEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderStatusEvent,
    PeerAskedEvent,
    PositionAdjustEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    RejectEvent,
    RuleFiredEvent,
    RuleSwitchedEvent,
    SignalVerdictEvent,
    ValueSetEvent,
)
from protocol.foreign_shares import foreign_after, own_part
from protocol.growth import Growth
from protocol.linked_orders import Closing, LinkedOrders
from protocol.order import TERMINAL, Order
from protocol.position import Position
from protocol.reports import RequestKind
from protocol.values import MAIN, STOP, OrderSpec, OrderStatus, OrderType, Purpose, Side, Symbol

_TradeChange: TypeAlias = Callable[[LinkedOrders], LinkedOrders]
_OrderChange: TypeAlias = Callable[[Order], Order]


@attrs.frozen
class PendingEntry:
    """The new entry of a reversal, waiting for the old trade to be gone and for a fresh quote."""

    side: Side
    signal_id: str
    rule: str
    since: datetime


@attrs.frozen
class SymbolState:
    symbol: Symbol
    position: Position
    trade: LinkedOrders | None = None
    next_trade: int = 1
    pending: PendingEntry | None = None
    foreign: int = 0
    """Shares of the position that somebody else holds, signed."""
    held: str = ""
    """Why no entry may be made, in words; empty when none is in the way."""
    last_entry_at: datetime | None = None
    judged: Growth[str, None] = attrs.Factory(Growth)
    """Ids of the signals that have their verdict."""
    entries: Mapping[str, tuple[datetime, ...]] = MappingProxyType({})
    """When each rule entered, on the day of its last entry."""
    fired: Mapping[str, tuple[datetime, ...]] = MappingProxyType({})
    """When each rule acted without entering, on the day that it last did."""
    answered: Mapping[str, str] = MappingProxyType({})
    """What each rule last acted on."""
    switched: Mapping[str, bool] = MappingProxyType({})
    """Rules that were switched on or off since the configuration was read."""
    values: Mapping[str, float | str | bool] = MappingProxyType({})
    """What rules keep, by name."""
    prepared: Mapping[str, str] = MappingProxyType({})
    """Entries made ready: their names, and the rules that hold them."""
    stopped_out_at: datetime | None = None
    """When a stop last ended a trade."""
    results: tuple[tuple[datetime, Decimal], ...] = ()
    """When the trades of the last day that had any ended, with what each made, commissions apart."""

    @classmethod
    def begin(cls, symbol: Symbol) -> SymbolState:
        return cls(symbol, Position.empty(symbol))

    @property
    def besides(self) -> int:
        return 0 if self.trade is None else self.trade.besides

    @property
    def traded(self) -> int:
        """The position without what somebody else held before the trade began, signed shares."""
        return self.position.quantity - self.besides

    @property
    def own_quantity(self) -> int:
        """The part of the position that is ours, signed."""
        return own_part(self.traded, self.foreign - self.besides)

    @property
    def guarded(self) -> int:
        """What the open trade has to protect and to close, signed: all that is traded, until nothing of it
        is ours any more. What others hold then is theirs."""
        over = self.trade is not None and self.trade.flat_since is not None and self.own_quantity == 0
        return 0 if over else self.traded


def evolve(state: SymbolState, event: BaseEvent) -> SymbolState:
    """The state after `event`. Events of others, and those that change nothing here, leave it as it is."""
    match event:
        case FillEvent():
            return _filled(state, event)
        case CommissionEvent():
            return attrs.evolve(
                state, position=state.position.with_commission(event.exec_id, event.commission)
            )
        case ForeignFillEvent():
            position = state.position.with_fill(event.exec_id, event.side, event.quantity, event.price)
            return _moved(state, position, event, "somebody else")
        case NewOrderEvent():
            return _in_trade(state, event.ref.trade, lambda trade: trade.with_order(
                Order(event.order, asked_at=event.at, requested_quantity=event.order.quantity)
            ))  # fmt: skip
        case ModifyOrderEvent():
            return _in_trade(state, event.ref.trade, lambda trade: _modified(trade, event))
        case CancelEvent():
            return _in_order(state, event, lambda order: attrs.evolve(
                order, cancel_asked=True, asked_at=event.at
            ))  # fmt: skip
        case OrderStatusEvent():
            return _in_trade(state, event.ref.trade, lambda trade: _trade_told(trade, event))
        case RejectEvent():
            return _in_order(state, event, lambda order: _refused(order, event))
        case PositionOpenEvent():
            return _opened(state, event)
        case PositionAdjustEvent():
            return _in_trade(state, event.trade, lambda trade: _adjusted(trade, event))
        case PositionUpdateEvent():
            closing = Closing(event.reason, event.at, event.reverse_to, event.signal_id, event.rule)
            return _in_trade(state, event.trade, lambda trade: attrs.evolve(trade, closing=closing))
        case PositionCloseEvent():
            return _closed(state, event)
        case SignalVerdictEvent(signal_id=signal_id):
            return attrs.evolve(state, judged=state.judged.adding(signal_id, None))
        case HoldEvent(reason=reason):
            return attrs.evolve(state, held=reason)
        case EntryDroppedEvent():
            return attrs.evolve(state, pending=None, trade=_not_reversed(state.trade))
        case _:
            return _ruled(state, event)


def _ruled(state: SymbolState, event: BaseEvent) -> SymbolState:
    """What rules leave behind."""
    match event:
        case PeerAskedEvent(what="hedge", peer=peer, trade=number):
            return _in_trade(state, number, lambda trade: attrs.evolve(trade, hedges=(*trade.hedges, peer)))
        case RuleFiredEvent(rule=rule, at=at, cause=cause):
            answered = MappingProxyType({**state.answered, rule: cause})
            return attrs.evolve(state, fired=_with_time(state.fired, rule, at), answered=answered)
        case RuleSwitchedEvent(rule=rule, on=on):
            return attrs.evolve(state, switched=MappingProxyType({**state.switched, rule: on}))
        case ValueSetEvent(name=name, value=value):
            values = {key: kept for key, kept in state.values.items() if key != name}
            if value is not None:
                values[name] = value
            return attrs.evolve(state, values=MappingProxyType(values))
        case EntryPreparedEvent(name=name, rule=rule, on=on):
            prepared = {key: value for key, value in state.prepared.items() if key != name}
            return attrs.evolve(state, prepared=MappingProxyType(prepared | ({name: rule} if on else {})))
        case _:
            return state


def _in_trade(state: SymbolState, trade: int, change: _TradeChange) -> SymbolState:
    """Only the living trade has a context; words about an older one change nothing but the position."""
    if state.trade is None or state.trade.trade != trade:
        return state
    return attrs.evolve(state, trade=change(state.trade))


def _in_order(state: SymbolState, event: CancelEvent | RejectEvent, change: _OrderChange) -> SymbolState:
    return _in_trade(state, event.ref.trade, lambda trade: trade.changed(event.ref, change))


def _with_time(
    times: Mapping[str, tuple[datetime, ...]], rule: str, at: datetime
) -> Mapping[str, tuple[datetime, ...]]:
    """The moments of a rule's last day, with one more."""
    earlier = tuple(time for time in times.get(rule, ()) if time.date() == at.date())
    return MappingProxyType({**times, rule: (*earlier, at)})


def _adjusted(trade: LinkedOrders, event: PositionAdjustEvent) -> LinkedOrders:
    ratchet = trade.ratchet
    if event.ratchet is not None:
        tighter = max if trade.side is Side.BUY else min
        ratchet = event.ratchet if ratchet is None else tighter(ratchet, event.ratchet)
    return attrs.evolve(
        trade,
        stop_distance=trade.stop_distance if event.stop_distance is None else event.stop_distance,
        target_distance=trade.target_distance if event.target_distance is None else event.target_distance,
        plan=trade.plan if event.plan is None else event.plan,
        ratchet=ratchet,
    )


def _not_reversed(trade: LinkedOrders | None) -> LinkedOrders | None:
    if trade is None or trade.closing is None:
        return trade
    return attrs.evolve(trade, closing=attrs.evolve(trade.closing, reverse_to=None))


def _modified(trade: LinkedOrders, event: ModifyOrderEvent) -> LinkedOrders:
    def change(order: Order) -> Order:
        closes = trade.closing is not None and order.purpose is Purpose.TARGET
        return attrs.evolve(
            order,
            spec=event.order,
            asked_at=event.at,
            modified_at=event.at,
            agreed=None,
            differs_since=None,
            requested_quantity=event.order.quantity,
            closing_attempts=order.closing_attempts + closes,
        )

    return trade.changed(event.ref, change)


def _filled(state: SymbolState, event: FillEvent) -> SymbolState:
    before = state.position
    position = before.with_fill(event.exec_id, event.side, event.quantity, event.price)
    if position is before:
        return state
    # A correction replaces what the execution was before; the order follows by the difference.
    change = event.side.sign * (position.quantity - before.quantity)
    trade, by = state.trade, event.ref.role
    if trade is not None and trade.trade == event.ref.trade:
        trade = trade.changed(event.ref, lambda order: _executed(order, event, change))
        order = trade.find(event.ref)
        if order is not None and order.purpose is not Purpose.ENTRY:
            trade = _reduced_by_broker(_given_back(trade, event, change), event, change)
            by = order.purpose.value
        elif event.ref.role == MAIN:
            trade = _exits_follow(trade, event.at)
        state = attrs.evolve(state, trade=trade)
    return _moved(state, position, event, by)


def _executed(order: Order, event: FillEvent, change: int) -> Order:
    """The order moves with its executions, and not with those of another order of the same reference, which
    TWS had beside it: that one's shares are no part of this one's total."""
    other = event.perm_id and order.perm_id and event.perm_id != order.perm_id
    return order if other else order.executed(change)


def _given_back(trade: LinkedOrders, event: FillEvent, change: int) -> LinkedOrders:
    """A correction takes `change` shares back: whether the exchange works them again, nobody says.

    We take it that it does not, so that an exit that still works is asked for them once more.
    """
    if change >= 0:
        return trade

    def shrunk(order: Order) -> Order:
        if not order.live:
            return order
        confirmed = order.confirmed_quantity
        return attrs.evolve(
            order,
            spec=attrs.evolve(order.spec, quantity=order.spec.quantity + change),
            confirmed_quantity=None if confirmed is None else confirmed + change,
            asked_at=event.at,
        )

    return trade.changed(event.ref, shrunk)


def _reduced_by_broker(trade: LinkedOrders, event: FillEvent, change: int) -> LinkedOrders:
    """The broker takes `change` shares off the other exits of the group (OCA type 2); we believe it at once.

    Were we to ask for the same, the sibling would be shrunk twice. A correction that takes shares back
    gives the siblings nothing back.
    """
    filled = trade.find(event.ref)
    group = "" if filled is None else filled.spec.oca_group
    if not group or change <= 0:
        return trade

    def reduce(order: Order) -> Order:
        if order.ref == event.ref or order.spec.oca_group != group or not order.live:
            return order
        quantity = max(order.spec.quantity - change, order.filled)
        # When an order that may never have left was decided, only its decision says.
        asked_at = order.asked_at if order.status is OrderStatus.CREATED else event.at
        return attrs.evolve(order, spec=attrs.evolve(order.spec, quantity=quantity), asked_at=asked_at)

    return attrs.evolve(trade, orders=tuple(reduce(order) for order in trade.orders))


def _exits_follow(trade: LinkedOrders, at: datetime) -> LinkedOrders:
    """The broker makes children follow their parent: when that fills or ends, its word is on its way."""

    def follow(order: Order) -> Order:
        if not order.live or order.purpose is Purpose.ENTRY or order.status is OrderStatus.CREATED:
            return order
        return attrs.evolve(order, asked_at=at)

    return attrs.evolve(trade, orders=tuple(follow(order) for order in trade.orders))


def _moved(state: SymbolState, position: Position, event: BaseEvent, by: str) -> SymbolState:
    trade, at, besides = state.trade, event.at, state.besides
    held = position.quantity - besides
    theirs = foreign_after(state.foreign - besides, state.traded, held, event)
    if trade is not None:
        own = own_part(held, theirs)
        # By a correction, or by what somebody else did, nothing of it may be the trade's any more. What our
        # exits take off leaves a rest that they are to take off, too.
        exits = isinstance(event, FillEvent) and event.side is not trade.side
        gone = state.own_quantity != 0 and own == 0 and not (exits and held * state.traded > 0)
        if gone or (held == 0 and state.traded != 0):
            trade = attrs.evolve(trade, flat_since=at, concluded_by=by)
        elif own != 0 or (held != 0 and trade.flat_since is None):
            trade = attrs.evolve(trade, flat_since=None, average=position.average_price)
    return attrs.evolve(state, position=position, foreign=theirs + besides, trade=trade)


def _trade_told(trade: LinkedOrders, event: OrderStatusEvent) -> LinkedOrders:
    order = trade.find(event.ref)
    if order is None:
        return trade
    after = told(order, event)
    trade = trade.changed(event.ref, lambda _: after)
    ended = order.status not in TERMINAL and after.status in TERMINAL
    return _exits_follow(trade, event.at) if ended and order.role == MAIN else trade


def told(order: Order, event: OrderStatusEvent) -> Order:
    """A status: what the broker confirms. `adopted` makes it what we ask for, too.

    So does the echo of a total that we sent before we knew what the broker was taking off at that moment:
    it has overwritten that, and nobody will take it off again.
    """
    status = order.told(event.status)
    if event.adopted and order.status in _GIVEN_UP and event.status not in TERMINAL:
        # Given up as ended, and yet the broker lists it as open: it is there.
        status = event.status
    known_as_asked = order.as_asked
    if event.perm_id and order.perm_id and event.perm_id != order.perm_id:
        # Another order has taken its place, with executions of its own.
        order = attrs.evolve(order, filled=event.filled, reported_filled=event.filled)
    sent = order.requested_quantity
    overwritten = event.quantity == sent and sent not in (order.spec.quantity, order.confirmed_quantity)
    order = attrs.evolve(
        order,
        spec=attrs.evolve(order.spec, quantity=event.quantity) if overwritten else order.spec,
        status=status,
        status_since=order.status_since if status is order.status else event.at,
        perm_id=event.perm_id or order.perm_id,
        reported_filled=max(order.reported_filled, event.filled),
        confirmed_quantity=event.quantity or order.confirmed_quantity,
        confirmed_limit=event.limit_price,
        confirmed_stop=event.stop_price,
    )
    if order.as_asked and not known_as_asked:
        order = attrs.evolve(order, refusals=0)
    order = _compared(order, event)
    if not event.adopted or not event.quantity:
        return order
    confirmed = _as_confirmed(order)
    return attrs.evolve(
        order,
        spec=confirmed,
        agreed=confirmed,
        differs_since=None,
        cancel_asked=status is OrderStatus.PENDING_CANCEL,
        refusals=0,
        asked_at=event.at,
    )


def _compared(order: Order, event: OrderStatusEvent) -> Order:
    """Whether the broker's word agrees with what we ask, and since when it does not."""
    if order.as_asked:
        return attrs.evolve(order, agreed=order.spec, differs_since=None)
    since = order.differs_since or event.at
    return attrs.evolve(order, differs_since=since, moved=order.moved + event.moved)


def _as_confirmed(order: Order) -> OrderSpec:
    """The order's parameters as the broker has them, where it said what they are."""
    spec = order.spec
    limit = order.confirmed_limit if spec.type in _LIMITED else spec.limit_price
    stop = order.confirmed_stop if spec.type in _STOPPED else spec.stop_price
    return attrs.evolve(
        spec,
        quantity=order.confirmed_quantity or spec.quantity,
        limit_price=spec.limit_price if limit is None else limit,
        stop_price=spec.stop_price if stop is None else stop,
    )


def _refused(order: Order, event: RejectEvent) -> Order:
    """A refused request: the order is dead, or it stands as it was before."""
    if event.terminal:
        return attrs.evolve(order, status=order.told(OrderStatus.REJECTED), refused_with=event.code)
    refused = attrs.evolve(order, refusals=order.refusals + 1, asked_at=event.at)
    match RequestKind(event.request):
        case RequestKind.CANCEL:
            return attrs.evolve(refused, cancel_asked=False)
        case RequestKind.MODIFY:
            return attrs.evolve(refused, spec=_as_confirmed(order))
        case RequestKind.PLACE:
            return refused


def _opened(state: SymbolState, event: PositionOpenEvent) -> SymbolState:
    trade = LinkedOrders(
        event.trade,
        event.side,
        event.quantity,
        event.stop_distance,
        event.target_distance,
        event.signal_id,
        event.rule,
        event.at,
        state.position.realized_pnl,
        state.position.commission,
        plan=event.plan,
        besides=state.foreign,
    )
    entries = _with_time(state.entries, event.rule, event.at)
    return attrs.evolve(
        state,
        trade=trade,
        next_trade=event.trade + 1,
        pending=None,
        last_entry_at=event.at,
        entries=entries,
    )


def _closed(state: SymbolState, event: PositionCloseEvent) -> SymbolState:
    trade = state.trade
    if trade is None or trade.trade != event.trade:
        return state
    closing, pending = trade.closing, None
    if closing is not None and closing.reverse_to is not None:
        pending = PendingEntry(closing.reverse_to, closing.signal_id, closing.rule, event.at)
    results = tuple(result for result in state.results if result[0].date() == event.at.date())
    if any(order.filled for order in trade.orders):
        results = (*results, (event.at, event.realized_pnl))
    return attrs.evolve(
        state,
        trade=None,
        foreign=state.position.quantity,
        pending=pending,
        results=results,
        stopped_out_at=event.at if event.reason == STOP else state.stopped_out_at,
    )


_GIVEN_UP = frozenset({OrderStatus.CANCELLED, OrderStatus.REJECTED})
_LIMITED = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_STOPPED = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
