"""What one symbol decides: `decide(state, message) -> events`, and the commands that events stand for.

Everything a symbol does follows one path: a message, the events it leads to, the journal, the state, the
commands. Rules that must always hold (protection, closing, clearing up) are looked after in the same
place after every message, whatever it was, so that no case can forget them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeAlias, assert_never

import attrs

from protocol import commands
from protocol.additions import keep_adding
from protocol.chores import Chores, Watch
from protocol.closing import (
    clear_up,
    close_parts,
    end_the_day,
    exit_in_time,
    keep_closing,
    limit_entry_age,
    start_closing,
)
from protocol.commands import BrokerCommand, Flatten, SymbolCommand, Wake
from protocol.contradictions import (
    DIFFERS,
    clear_kept,
    compare_positions,
    keeps_unknown,
    look_again,
    make_room,
)
from protocol.control_events import FlowThresholdEvent
from protocol.disputes import heed_move, moved_unseen
from protocol.entry import enter_after_reversal, forget_reversal
from protocol.events import (
    BaseEvent,
    CancelEvent,
    CommissionEvent,
    HoldEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    PeerAskedEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    PredictionSignalEvent,
    ReconciledEvent,
)
from protocol.hedging import hear_peer
from protocol.market_view import MarketView
from protocol.order import TERMINAL, Order
from protocol.protection import ANSWER_WITHIN, keep_protected
from protocol.ratchet import keep_trailing
from protocol.report_events import fill_event, hold_event, lost_event, refusal_event, status_event
from protocol.reports import (
    NOT_SENT,
    AccountReport,
    CommissionCharged,
    ContractQualified,
    ExecutionReport,
    HistoryLoaded,
    LinkChanged,
    LinkState,
    OrderLost,
    OrderReport,
    Report,
    RequestKind,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.rules.evaluation import evaluate, judge
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState, told
from protocol.values import OrderStatus, Purpose, Side, Tick

SymbolMessage: TypeAlias = PredictionSignalEvent | FlowThresholdEvent | Tick | Report | SymbolCommand

MAX_ROUNDS = 20
"""Rounds of upkeep after one message; more would mean that two rules undo each other's work."""


@attrs.frozen
class Decision:
    """What a message leads to, in order, and when or at which price to look again at the latest."""

    events: tuple[BaseEvent, ...]
    wake_at: datetime | None
    watch: Watch | None = None


def decide(
    state: SymbolState, view: MarketView, plan: SymbolPlan, message: SymbolMessage, at: datetime
) -> Decision:
    """Everything that follows from `message` at market time `at`. Changes nothing but the market view."""
    if not isinstance(message, Tick):
        # Ticks that are still on their way through our machine belong to the bar that they traded in.
        view.advance(at - plan.latency)
    chores = Chores(state, view, plan, at, message if isinstance(message, BaseEvent) else None)
    _react(chores, message)
    heard: tuple[BaseEvent, ...] = (message,) if isinstance(message, FlowThresholdEvent) else ()
    asked_of_rules = 0
    for _ in range(MAX_ROUNDS):
        before = len(chores.events)
        chores.look_afresh()
        _look_after(chores)
        if len(chores.events) == before and _heeds_rules(plan, view):
            evaluate(chores, (*heard, *chores.events[asked_of_rules:before]))
            heard, asked_of_rules = (), before
        if len(chores.events) == before:
            return Decision(tuple(chores.events), chores.wake_at, chores.watch)
    raise RuntimeError(f"{plan.symbol}: upkeep does not come to rest after {message!r}")


def _heeds_rules(plan: SymbolPlan, view: MarketView) -> bool:
    return plan.follows_rules and view.reconciled and not view.stopping


def _look_after(chores: Chores) -> None:
    """The rules that hold whatever happened, most urgent first."""
    end_the_day(chores)
    if chores.view.link is LinkState.UP and chores.view.reconciled:
        # What a broker that we cannot see believes is unknown: nothing is asked until the books agree.
        limit_entry_age(chores)
        exit_in_time(chores)
        keep_trailing(chores)
        keep_protected(chores)
        keep_adding(chores)
        close_parts(chores)
        keep_closing(chores)
        clear_up(chores)
        clear_kept(chores)
        look_again(chores)
        enter_after_reversal(chores)


def _react(chores: Chores, message: SymbolMessage) -> None:
    match message:
        case Tick():
            chores.view.tick(message)
        case PredictionSignalEvent():
            judge(chores, message)
        case Wake() | commands.UseRules() | FlowThresholdEvent():
            pass  # The upkeep that follows every message is what it is for.
        case Flatten(reason=reason):
            forget_reversal(chores, reason)
            start_closing(chores, reason)
        case commands.Stop():
            chores.view.stopping = True
            _cancel_entries(chores, "the system stops")
        case commands.CancelEntries(reason=reason):
            _cancel_entries(chores, reason)
        case commands.LiftHold():
            _lift_hold(chores, message)
        case commands.HedgeTrade() | commands.EndHedge():
            hear_peer(chores, message)
        case _:
            _hear(chores, message)


def _hear(chores: Chores, report: Report) -> None:
    match report:
        case OrderReport():
            _hear_order(chores, report, adopted=False)
        case ExecutionReport():
            _hear_executions(chores, (report,))
        case CommissionCharged(exec_id=exec_id, commission=commission):
            _hear_commission(chores, exec_id, commission)
        case RequestRefused():
            _hear_refusal(chores, report)
        case OrderLost(ref=ref):
            chores.emit(lost_event(ref, chores.at))
        case LinkChanged(state=link, generation=generation, reason=reason):
            chores.view.link_changed(link, generation)
            chores.view.why_not = reason or f"the link to the broker is {link.value}"
        case SymbolSnapshot():
            _reconcile(chores, report)
        case ContractQualified(grid=grid):
            chores.view.grid = grid
        case HistoryLoaded():
            chores.view.warm_up(report)
        case AccountReport(equity=equity):
            chores.view.equity = equity
        case _:
            assert_never(report)


def _hear_commission(chores: Chores, exec_id: str, commission: Decimal) -> None:
    """What an execution cost; TWS tells the whole day's once more to every new session."""
    if not chores.state.position.charged(exec_id, commission):
        chores.emit(CommissionEvent(
            at=chores.at, cause=exec_id, symbol=chores.plan.symbol, exec_id=exec_id, commission=commission
        ))  # fmt: skip


def _hear_order(chores: Chores, report: OrderReport, *, adopted: bool, position: int | None = None) -> None:
    """A status is journalled when it says something new; TWS repeats itself up to four times.

    `position` is the broker's, where it is told with the order.
    """
    trade = chores.state.trade
    order = None if trade is None else trade.find(report.ref)
    if order is None:
        held = chores.state.position.quantity if position is None else position
        gone = report.status in TERMINAL or report.status is OrderStatus.PENDING_CANCEL
        if not gone and not keeps_unknown(chores, report, held):
            # Nothing of a concluded trade may go on working.
            why = "its trade is over"
            chores.emit(CancelEvent(at=chores.at, cause=why, ref=report.ref, why=why))
        return
    said = status_event(report, chores.at, adopted=adopted)
    if adopted and moved_unseen(order, said, chores.plan.latency):
        chores.emit(attrs.evolve(said, moved=True))
        heed_move(chores, report.ref)
    elif adopted or told(order, said) != order:
        chores.emit(said)


def _hear_executions(chores: Chores, reports: Sequence[ExecutionReport]) -> None:
    """Executions count always, in any state, once; those of strangers put the symbol on hold."""
    held_before = chores.state.own_quantity
    make_room(chores, reports)
    for report in reports:
        _hear_execution(chores, report)
    ours = any(report.ref is not None for report in reports)
    held = chores.state.own_quantity
    if ours and chores.state.trade is None and held not in (0, held_before):
        _adopt_late_fill(chores)


def _hear_execution(chores: Chores, report: ExecutionReport) -> None:
    state = chores.state
    if state.position.knows(report.exec_id):
        return
    chores.emit(fill_event(report, chores.at))
    if report.ref is None and not state.held:
        hold = hold_event(report, chores.at)
        unguarded = chores.state.position.quantity if chores.state.trade is None else 0
        left = f"; the {unguarded} shares that are held now have no stop of ours" if unguarded else ""
        chores.emit(hold)
        chores.alarm("FOREIGN_TRADE", f"{hold.reason}: no entries until a person resumes it{left}")


def _adopt_late_fill(chores: Chores) -> None:
    """An order of a concluded trade filled after all: the position gets a context, and is closed."""
    own, plan = chores.state.own_quantity, chores.plan
    side = Side.BUY if own > 0 else Side.SELL
    trade = chores.state.next_trade
    reason = "an order of an earlier trade filled late"
    forget_reversal(chores, reason)
    chores.emit(PositionOpenEvent(
        at=chores.at, cause=reason, symbol=plan.symbol, trade=trade, side=side,
        quantity=abs(own), stop_distance=chores.state.position.average_price, target_distance=None,
        signal_id="", rule=reason,
    ))  # fmt: skip
    chores.emit(PositionUpdateEvent(
        at=chores.at, cause=reason, symbol=plan.symbol, trade=trade, reason=reason
    ))  # fmt: skip
    chores.alarm("LATE_FILL", reason)


def _hear_refusal(chores: Chores, report: RequestRefused) -> None:
    trade = chores.state.trade
    order = None if trade is None else trade.find(report.ref)
    if order is None:
        return
    chores.emit(refusal_event(report, chores.at))
    if report.request is not RequestKind.PLACE and order.status in TERMINAL:
        return  # It crossed the end of its order: nothing that a person has to know.
    enters = order.purpose is Purpose.ENTRY or order.spec.parent is not None
    if report.request is RequestKind.PLACE and report.code == NOT_SENT and enters:
        return  # Our own limits kept an entry back, and its exits with it: that is what they are for.
    text = f"{report.ref.role} order, {report.request.value}: {report.reason} ({report.code})"
    chores.alarm("REFUSED", text, cause=str(report.ref))


def _lift_hold(chores: Chores, word: commands.LiftHold) -> None:
    """What somebody else traded is history once a person says so; books that differ are not."""
    held = chores.state.held
    if held and not held.startswith(DIFFERS):
        chores.emit(HoldEvent(at=chores.at, cause=word.who, symbol=chores.plan.symbol, reason=""))


def _cancel_entries(chores: Chores, why: str) -> None:
    """No entry works on or is still to come; every exit stays where it is."""
    forget_reversal(chores, why)
    trade = chores.state.trade
    for order in () if trade is None else trade.live_entries:
        if not order.cancel_asked:
            chores.emit(CancelEvent(at=chores.at, cause=why, ref=order.ref, why=why))


# --- reconciling ----------------------------------------------------------------------------------


def _reconcile(chores: Chores, snapshot: SymbolSnapshot) -> None:
    """Take over the broker's books: executions first, then orders, then what is missing from them."""
    view, plan = chores.view, chores.plan
    if not view.began and _from_an_earlier_life(chores, snapshot):
        return
    _hear_executions(chores, snapshot.executions)
    for order in snapshot.orders:
        _hear_order(chores, order, adopted=True, position=snapshot.position)
    listed = {order.ref for order in snapshot.orders}
    trade = chores.state.trade
    for known in () if trade is None else trade.orders:
        if known.status is not OrderStatus.CREATED or known.ref in listed:
            continue
        if not _on_its_way(chores, snapshot, known):
            # Its intent is in the journal and its bytes never left; an entry is not sent again on a guess.
            chores.emit(lost_event(known.ref, chores.at, "it was decided, but never sent"))
    chores.emit(ReconciledEvent(
        at=chores.at, cause=f"link {snapshot.generation}", symbol=plan.symbol,
        generation=snapshot.generation, position=snapshot.position,
    ))  # fmt: skip
    view.reconciled, view.generation = snapshot.tradable, snapshot.generation
    view.began = view.began or snapshot.tradable
    view.why_not = snapshot.why_not if not snapshot.tradable else ""
    compare_positions(chores, snapshot)


def _on_its_way(chores: Chores, snapshot: SymbolSnapshot, order: Order) -> bool:
    """Whether the snapshot was taken before the broker actor can have had our command for `order` in hand."""
    if order.asked_at is None:
        return False
    # Between a new link and its books nothing is asked; what was asked before has left or was refused.
    patience = ANSWER_WITHIN + chores.plan.latency if chores.view.reconciled else timedelta(0)
    return order.asked_at > snapshot.at - patience


def _from_an_earlier_life(chores: Chores, snapshot: SymbolSnapshot) -> bool:
    """Whether it waited in the mail since before a restart: it knows nothing of what was asked after it.

    The one that this life of the actor has asked for is still to come.
    """
    trade = chores.state.trade
    return trade is not None and any(
        order.status is OrderStatus.CREATED and order.asked_at is not None and order.asked_at > snapshot.at
        for order in trade.orders
    )


# --- performing -----------------------------------------------------------------------------------


def commands_for(plan: SymbolPlan, epoch: int, events: Sequence[BaseEvent]) -> tuple[BrokerCommand, ...]:
    """What to ask of the broker for events that are in the journal by now, in their order.

    Orders that were decided together leave together: an entry with its children is one command.
    """
    out: list[BrokerCommand] = []
    group: list[NewOrderEvent] = []
    for event in events:
        if group and not (isinstance(event, NewOrderEvent) and event.order.parent == group[0].ref):
            out.append(_placement(plan, epoch, group))
            group = []
        match event:
            case NewOrderEvent():
                group.append(event)
            case ModifyOrderEvent(order=order):
                out.append(commands.ModifyOrder(plan.symbol, epoch, order))
            case CancelEvent(ref=ref):
                out.append(commands.CancelOrder(plan.symbol, epoch, ref))
            case _:
                pass  # The other events tell, they ask for nothing.
    if group:
        out.append(_placement(plan, epoch, group))
    return tuple(out)


def peer_requests(events: Sequence[BaseEvent]) -> tuple[PeerAskedEvent, ...]:
    """What is asked of other symbols by events that are in the journal by now."""
    return tuple(event for event in events if isinstance(event, PeerAskedEvent))


def _placement(plan: SymbolPlan, epoch: int, group: Sequence[NewOrderEvent]) -> commands.PlaceOrders:
    return commands.PlaceOrders(plan.symbol, epoch, tuple(event.order for event in group))
