"""Faults of what clients ask: each request passes here while the plan is not idle."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

import attrs

from protocol.exchange.contract_key import contract_key
from protocol.exchange.fault_armed import Occasion
from protocol.exchange.fault_words import MODIFY_ORDER, NEW_ORDER, REQUEST_WORDS
from protocol.exchange.faults import (
    ClientIdBusy,
    DelayRequest,
    DoubleModify,
    DropConnection,
    FillAfterCancel,
    OrderNotice,
    RefuseRequest,
    SwallowRequest,
    UnansweredOrder,
)
from protocol.exchange.happenings import Status, VenueOrder
from protocol.exchange.interventions import Interventions
from protocol.exchange.tws_clients import NO_ID, ClientKey
from protocol.exchange.tws_server import CLIENT_ID_IN_USE, TwsServer
from protocol.tws import messages as m

if TYPE_CHECKING:
    from protocol.exchange.fault_armed import ArmedFault
    from protocol.exchange.fault_plan import FaultPlan

_LIVE = frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED, Status.PENDING_CANCEL})
_ASKS_AGAIN = (
    m.StartApi, m.ReqOpenOrders, m.ReqAllOpenOrders, m.ReqAutoOpenOrders, m.ReqExecutions, m.ReqPositions
)  # fmt: skip
"""Requests whose answers say what has been said before."""

_RequestFault = (
    SwallowRequest | RefuseRequest | DelayRequest | UnansweredOrder | OrderNotice | DoubleModify
    | FillAfterCancel | ClientIdBusy
)  # fmt: skip


@attrs.define
class _Passage:
    """One request, and what is left to be done once it has been carried out."""

    key: ClientKey
    request: m.ClientRequest
    occasion: Occasion
    afterwards: list[ArmedFault]


class RequestFaults:
    """Carries requests out, unless a fault prevents it."""

    def __init__(self, server: TwsServer, plan: FaultPlan) -> None:
        self._server, self._plan = server, plan
        self._interventions = Interventions(server.venue)

    def take(self, key: ClientKey, request: m.ClientRequest, at: datetime) -> None:
        occasion = self._occasion(key, request)
        passage = _Passage(key, request, occasion, [])
        for armed in self._plan.waiting(self._words(request, occasion)):
            if not self._plan.happens(armed, occasion, at):
                continue
            fault = armed.fault
            if isinstance(fault, _RequestFault):
                if not self._let_pass(armed, fault, passage, at):
                    return
            elif isinstance(fault, DropConnection) and not fault.processed:
                self._plan.fire(armed, occasion, at)
                return
            else:
                passage.afterwards.append(armed)
        self._carry_out(passage, at)

    def _let_pass(self, armed: ArmedFault, fault: _RequestFault, passage: _Passage, at: datetime) -> bool:
        """Whether the request is carried out now."""
        word = REQUEST_WORDS[type(passage.request)]
        self._plan.note_done(
            fault, f"{word} of client {passage.occasion.client_id}{_number(passage.request)}"
        )
        client = self._server.clients.get(passage.key)
        match fault:
            case SwallowRequest():
                return False
            case RefuseRequest(code=code, text=text):
                if client is not None:
                    self._server.clients.refuse(client, _id_of(passage.request), code, text)
                return False
            case ClientIdBusy():
                if client is not None:
                    self._server.clients.refuse(client, NO_ID, 326, CLIENT_ID_IN_USE)
                    self._server.clients.close(client)
                return False
            case DelayRequest(by_s=by_s):
                due = at + timedelta(seconds=by_s)
                self._plan.later(due, lambda then: self._carry_out(passage, then), holds=True)
                return False
            case UnansweredOrder(duration_s=duration_s):
                until = at + timedelta(seconds=duration_s) if duration_s else None
                self._plan.mute_order(passage.occasion.client_id or 0, _id_of(passage.request), until)
                return True
            case OrderNotice() | DoubleModify() | FillAfterCancel():
                passage.afterwards.append(armed)
                return True
            case _:
                assert_never(fault)

    def _carry_out(self, passage: _Passage, at: datetime) -> None:
        if self._server.clients.get(passage.key) is None:
            return  # the client has gone while its request was on its way
        before = passage.occasion.order
        self._server.receive(passage.key, passage.request, at)
        self._plan.answered(at, asked=isinstance(passage.request, _ASKS_AGAIN))
        for armed in passage.afterwards:
            match armed.fault:
                case OrderNotice(code=code, text=text):
                    client = self._server.clients.get(passage.key)
                    if client is not None:
                        self._server.clients.refuse(client, _id_of(passage.request), code, text)
                case DoubleModify():
                    self._double(before, at)
                case FillAfterCancel(quantity=quantity, after_s=after_s):
                    self._fill_later(before, quantity, at + timedelta(seconds=after_s))
                case _:
                    self._plan.fire(armed, passage.occasion, at)

    def _double(self, before: VenueOrder | None, at: datetime) -> None:
        if before is None:
            return
        self._plan.before_deed(at)
        stale = self._interventions.leave_stale(at, before)
        if stale is not None:
            self._plan.hide_order(stale.perm_id, at)

    def _fill_later(self, before: VenueOrder | None, quantity: int, due: datetime) -> None:
        if before is None:
            return
        perm_id = before.perm_id

        def fill(at: datetime) -> None:
            self._plan.before_deed(at)
            self._interventions.fill_ended(at, perm_id, quantity)
            self._plan.settle(at)

        self._plan.later(due, fill)

    # --- what a request is about ----------------------------------------------------------------------

    def _occasion(self, key: ClientKey, request: m.ClientRequest) -> Occasion:
        client = self._server.clients.get(key)
        client_id = None if client is None else client.client_id
        if isinstance(request, m.StartApi):
            client_id = request.client_id
        contract = getattr(request, "contract", None)
        symbol = contract_key(contract) if isinstance(contract, m.Contract) else ""
        order = None
        if isinstance(request, m.PlaceOrder | m.CancelOrder) and client_id is not None:
            known = self._server.venue.find(client_id, request.order_id)
            order = known if known is not None and known.status in _LIVE else None
        if order is not None:
            symbol = contract_key(order.contract)
        return Occasion(key=key, client_id=client_id, symbol=symbol, order=order)

    def _words(self, request: m.ClientRequest, occasion: Occasion) -> tuple[str, ...]:
        word = REQUEST_WORDS[type(request)]
        if not isinstance(request, m.PlaceOrder):
            return (word,)
        return (word, NEW_ORDER if occasion.order is None else MODIFY_ORDER)


def _id_of(request: m.ClientRequest) -> int:
    found = getattr(request, "order_id", getattr(request, "req_id", NO_ID))
    return int(found)


def _number(request: m.ClientRequest) -> str:
    number = _id_of(request)
    return "" if number == NO_ID else f", number {number}"
