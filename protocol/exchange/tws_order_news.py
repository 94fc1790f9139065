"""What the venue does to orders, on its way to those who may hear of it.

Theory of operation. Everything that happens is noted at once, for the record. It is told at once, too,
unless the settings make reports late or TWS has lost its connection to IBKR: then it waits in one queue, in
order, so that nobody hears things in another order than they happened. Answers that would betray what still
waits join the queue.

An order's owner hears of it, and the master client. A manual order has no owner until client 0 binds it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

import attrs

from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    ExecutionCorrected,
    Happening,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderModified,
    OrderRejected,
    OrderTriggered,
    PositionChanged,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.exchange.tws_clients import Client, Clients
from protocol.exchange.tws_orders import commission_report, echo, exec_details, is_manual
from protocol.exchange.tws_sequences import Sequences
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import BOUND, Venue
from protocol.tws.messages import ExecDetails, PlaceOrder, ServerMessage

NOT_FOUND_CODE = 10147
UNSET_ID = 2_147_483_647
"""The largest integer of the protocol, which means: none."""


@attrs.frozen
class Noted:
    """One happening for the record, with the placement that brought it about, if one did."""

    happening: Happening
    request: PlaceOrder | None = None


@attrs.frozen
class _Waiting:
    """Something to be said at `due`: a happening, or the answer to a request that must not overtake it."""

    due: datetime
    what: Happening | Callable[[], None]


class OrderNews:
    """Takes what happens at the venue, notes it, and tells it."""

    def __init__(
        self,
        venue: Venue,
        clients: Clients,
        settings: TwsSettings,
        *,
        opens_after: Callable[[datetime], datetime | None],
        position_changed: Callable[[PositionChanged], None],
        bind: Callable[[VenueOrder, datetime], None],
    ) -> None:
        """`opens_after`: when an order of that moment can trade, None when it can at once. `bind` is asked
        to give a new manual order an id, if somebody wants it."""
        self._venue, self._clients, self._settings = venue, clients, settings
        self._opens_after, self._position_changed, self._bind = opens_after, position_changed, bind
        self._sequences = Sequences(settings)
        self._report_latency = timedelta(seconds=settings.report_latency_s)
        self._commission_delay = timedelta(seconds=settings.commission_delay_s)
        self._executions = {execution.exec_id: execution for execution in venue.executions()}
        self._withheld: set[str] = set()
        self._withhold: set[int] = set()
        self._traded = sum(execution.exec_id.endswith(".01") for execution in venue.executions())
        """Executions so far; a correction is none."""
        self._noted: list[Noted] = []
        self._waiting: deque[_Waiting] = deque()
        self._after: list[CommissionCharged | PositionChanged] = []
        """What belongs to the executions just told, and follows when all that came at once have been told."""
        self._late_charges: deque[CommissionCharged] = deque()
        self._bound: dict[int, int] = {}
        """Order ids of manual orders by permanent id, for what happened before they were bound."""
        self._told: dict[int, VenueOrder] = {}
        """Filled orders whose commission is still to be told, by permanent id."""
        self._cost: dict[int, Decimal] = {}
        """Commissions told so far, by permanent id, where echoes show them."""
        self._held = False

    # --- taking ---------------------------------------------------------------------------------

    def hear(self, request: PlaceOrder | None = None) -> bool:
        """Take what has happened at the venue: note it, and tell it. False when nothing has."""
        happened = self._venue.take()
        if not happened:
            return False
        for happening in happened:
            self._note(happening, request)
        self._say_rest()
        return True

    def refuse(self, rejected: OrderRejected, request: PlaceOrder | None = None) -> None:
        """TWS itself refuses: that is told without asking anybody."""
        self._noted.append(Noted(rejected, request))
        self._tell(rejected)

    def beyond_band(self, order: VenueOrder, wanted: VenueOrder) -> None:
        """A modify of `order` to what `wanted` shows came to nothing at the exchange."""
        self.when_told(lambda: self._say(order, lambda shown: self._sequences.beyond_band(shown, wanted)))

    def take_noted(self) -> tuple[Noted, ...]:
        noted, self._noted = self._noted, []
        return tuple(noted)

    def bound(self, perm_id: int, order_id: int) -> None:
        """A manual order has this id from now on."""
        self._bound[perm_id] = order_id

    def withhold_execution(self, nth: int) -> None:
        """No client ever hears of the `nth` execution of these books (the first is 1)."""
        self._withhold.add(nth)

    def is_withheld(self, exec_id: str) -> bool:
        return exec_id in self._withheld

    def _note(self, happening: Happening, request: PlaceOrder | None) -> None:
        self._noted.append(Noted(happening, request))
        match happening:
            case OrderAccepted(at, order) if is_manual(order):
                self._bind(order, at)
            case Executed(execution=execution):
                self._executions[execution.exec_id] = execution
                self._traded += 1
                if self._traded in self._withhold:
                    self._withheld.add(execution.exec_id)
            case ExecutionCorrected(execution=execution, replaces=replaces):
                self._executions[execution.exec_id] = execution
                if replaces in self._withheld:
                    self._withheld.add(execution.exec_id)
            case _:
                pass
        if self._held or self._report_latency:
            self._waiting.append(_Waiting(happening.at + self._report_latency, happening))
        else:
            self._tell(happening)

    # --- waiting --------------------------------------------------------------------------------

    @property
    def next_at(self) -> datetime | None:
        """When something waiting is due; None when nothing is."""
        if self._held:
            return None
        due = [self._late_charges[0].at + self._commission_delay] if self._late_charges else []
        if self._waiting:
            due.append(self._waiting[0].due)
        return min(due, default=None)

    def advance(self, at: datetime) -> None:
        """Tell what is due by now."""
        if self._held:
            return
        while self._late_charges and self._late_charges[0].at + self._commission_delay <= at:
            self._say_charge(self._late_charges.popleft())
        while self._waiting and self._waiting[0].due <= at:
            self._tell_waiting(self._waiting.popleft().what)
        self._say_rest()

    def when_told(self, answer: Callable[[], None]) -> None:
        """Give an answer once all has been told that it must not overtake."""
        if self._waiting and not self._held:
            self._waiting.append(_Waiting(self._waiting[-1].due, answer))
        else:
            answer()

    def hold(self) -> None:
        """TWS hears nothing from the venue: it has lost IBKR."""
        self._held = True

    def release(self, at: datetime) -> None:
        """It hears it all now; executions are passed on unless only those who ask are to know."""
        self._held = False
        waiting, self._waiting = self._waiting, deque()
        for late in waiting:
            what = late.what
            if not self._settings.tell_missed_executions and isinstance(what, Executed):
                self._tell(OrderChanged(what.at, what.order, "executed"))
            elif self._settings.tell_missed_executions or not isinstance(
                what, CommissionCharged | ExecutionCorrected
            ):
                self._tell_waiting(what)
        self._say_rest()
        self.advance(at)

    def forget(self) -> None:
        """TWS restarts: what was on its way reaches nobody."""
        self._waiting.clear()
        self._after.clear()
        self._late_charges.clear()
        self._told.clear()
        self._held = False

    def _tell_waiting(self, what: Happening | Callable[[], None]) -> None:
        if callable(what):
            self._say_rest()
            what()
        else:
            self._tell(what)

    # --- telling --------------------------------------------------------------------------------

    def _tell(self, happening: Happening) -> None:
        if self._after and not isinstance(happening, CommissionCharged | PositionChanged):
            self._say_rest(before=happening)
        match happening:
            case OrderAccepted(at, order):
                opens = self._waits_for_session(order, at)
                self._say(order, lambda shown: self._sequences.accepted(shown, opens))
            case OrderChanged(why=why) if why == BOUND:
                pass  # its client is told with the id
            case OrderModified(order=order):
                self._say(order, self._sequences.modified)
            case OrderTriggered(order=order) | OrderChanged(order=order):
                self._say(order, self._sequences.shown)
            case OrderCancelled(order=order, reason=reason, by_client=by_client):
                self._say(order, lambda shown: self._sequences.cancelled(shown, reason, by_client=by_client))
            case OrderRejected():
                self._rejected(happening)
            case Executed():
                self._executed(happening)
            case ExecutionCorrected(execution=execution):
                self._corrected(execution)
            case CommissionCharged():
                self._charged(happening)
            case PositionChanged():
                self._after.append(happening)
            case _:
                assert_never(happening)

    def _say(self, order: VenueOrder, words: Callable[[VenueOrder], Iterable[ServerMessage]]) -> None:
        shown = self._as_bound(order)
        for client in self._hearers(shown.client_id, shown.order_id):
            self._clients.say(client, words(shown))

    def _hearers(self, client_id: int, order_id: int) -> Iterator[Client]:
        owner = self._clients.named(client_id) if order_id else None
        if owner is not None:
            yield owner
        master_id = self._settings.master_client_id
        if master_id is not None:
            master = self._clients.named(master_id)
            if master is not None and master is not owner:
                yield master

    def _as_bound(self, order: VenueOrder) -> VenueOrder:
        if order.order_id or order.perm_id not in self._bound:
            return order
        return attrs.evolve(order, order_id=self._bound[order.perm_id])

    def _waits_for_session(self, order: VenueOrder, at: datetime) -> datetime | None:
        asked = order.order
        if asked.outside_rth or asked.parent_id or order.status is not Status.PRE_SUBMITTED:
            return None
        return self._opens_after(at)

    def _rejected(self, rejected: OrderRejected) -> None:
        # A refusal of a manual order is shown at TWS's screen; but a client can ask to cancel order 0.
        asked = rejected.order_id or rejected.client_id or rejected.code == NOT_FOUND_CODE
        client = self._clients.named(rejected.client_id) if asked else None
        if client is not None:
            self._clients.say(client, self._sequences.rejected(rejected))
        if rejected.order is not None and rejected.order.status is Status.INACTIVE:
            for other in self._hearers(rejected.client_id, rejected.order_id):
                if other is not client:
                    self._clients.say(other, echo(rejected.order))

    def _executed(self, executed: Executed) -> None:
        order, execution = self._as_bound(executed.order), executed.execution
        if self._settings.commission_echo and order.status is Status.FILLED:
            self._told[order.perm_id] = order
        for client in self._hearers(order.client_id, order.order_id):
            details = None
            if execution.exec_id not in self._withheld:
                details = self.details(execution, client.version)
            self._clients.say(client, self._sequences.executed(order, details))

    def _corrected(self, execution: VenueExecution) -> None:
        """The correction is told as one more execution, under its new id; no status comes with it."""
        if execution.exec_id in self._withheld:
            return
        for client in self._hearers(execution.client_id, self._order_id(execution)):
            self._clients.say(client, (self.details(execution, client.version),))

    def details(self, execution: VenueExecution, version: int, req_id: int = -1) -> ExecDetails:
        """An execution as a client of this version is told it, live or (`req_id`) because it asked."""
        order_id = self._order_id(execution)
        if order_id == 0 and self._settings.unset_manual_id:
            order_id = UNSET_ID
        if order_id != execution.order_id:
            execution = attrs.evolve(execution, order_id=order_id)
        return exec_details(execution, version, req_id)

    def _order_id(self, execution: VenueExecution) -> int:
        return execution.order_id or self._bound.get(execution.perm_id, 0)

    # --- commissions ----------------------------------------------------------------------------

    def _charged(self, charged: CommissionCharged) -> None:
        if charged.exec_id in self._withheld:
            return
        if self._commission_delay:
            self._late_charges.append(charged)
        else:
            self._after.append(charged)

    def _say_rest(self, *, before: Happening | None = None) -> None:
        """Commissions and positions, unless the next thing to tell is a further execution of the order."""
        if isinstance(before, Executed):
            first = self._after[0]
            execution = self._executions[first.exec_id] if isinstance(first, CommissionCharged) else None
            of_one_order = execution is not None and execution.perm_id == before.execution.perm_id
            if of_one_order and first.at == before.at:
                return
        after, self._after = self._after, []
        for what in after:
            match what:
                case CommissionCharged():
                    self._say_charge(what)
                case PositionChanged():
                    self._position_changed(what)
                case _:
                    assert_never(what)

    def _say_charge(self, charged: CommissionCharged) -> None:
        execution = self._executions[charged.exec_id]
        report = commission_report(charged.exec_id, charged.commission, charged.realized_pnl)
        perm_id = execution.perm_id
        if self._settings.commission_echo:
            self._cost[perm_id] = self._cost.get(perm_id, Decimal(0)) + charged.commission
        cost = self._cost.get(perm_id, Decimal(0))
        said = self._sequences.charged(self._told.get(perm_id), cost, report)
        for client in self._hearers(execution.client_id, self._order_id(execution)):
            self._clients.say(client, said)
