"""Faults of what a simulated TWS says: each message passes here while the plan is not idle."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar, assert_never

import attrs

from protocol.exchange.contract_key import contract_key
from protocol.exchange.fault_armed import Occasion
from protocol.exchange.fault_base import Family
from protocol.exchange.fault_rewriting import as_delayed, stale_statuses, without_perm_id
from protocol.exchange.fault_words import FEED, MESSAGE_WORDS, NEWS, ORDER_FILLED, TICKS
from protocol.exchange.faults import (
    ChangeAccounts,
    DelayMessages,
    DropMessages,
    DuplicateMessages,
    ReorderMessages,
    ShiftNextId,
    StaleStatus,
    ZeroPermId,
)
from protocol.exchange.tws_clients import ClientKey, Said
from protocol.exchange.tws_server import TwsServer
from protocol.tws import messages as m
from protocol.tws.tick_bursts import LineTicks

if TYPE_CHECKING:
    from protocol.exchange.fault_plan import FaultPlan

MAX_LINES: Final = 20_000
"""Request ids whose symbol is remembered, all clients together; beyond that the oldest are forgotten."""
REORDER_PATIENCE_S: Final = 1.0
"""A message that waits for others to overtake it does not wait longer."""

_K = TypeVar("_K")

_MessageFault = (
    DelayMessages | DuplicateMessages | DropMessages | ReorderMessages | ShiftNextId | ZeroPermId
    | StaleStatus | ChangeAccounts
)  # fmt: skip


@attrs.define(eq=False)
class _Overtaken:
    """A message that comes after so many others."""

    left: int
    message: m.ServerMessage


@attrs.define
class Conditions:
    """What holds for a while: keys are what it is about, values until when (None: for good)."""

    muted_orders: dict[tuple[int, int], datetime | None] = attrs.Factory(dict)
    """By client and order id."""
    muted_lines: dict[tuple[ClientKey, int], datetime | None] = attrs.Factory(dict)
    """By connection and request id."""
    silent: dict[str, datetime | None] = attrs.Factory(dict)
    """By symbol, or `""` for all."""
    stalled: dict[str, datetime | None] = attrs.Factory(dict)
    delayed: dict[str, datetime | None] = attrs.Factory(dict)
    hidden_orders: dict[int, datetime | None] = attrs.Factory(dict)
    """By permanent id."""
    liquidations: dict[int, datetime | None] = attrs.Factory(dict)

    @property
    def any(self) -> bool:
        orders = self.muted_orders or self.hidden_orders or self.liquidations
        feed = self.muted_lines or self.silent or self.stalled or self.delayed
        return bool(orders or feed)


class SaidFaults:
    """Messages in, messages out. What a fault holds back comes by the plan's agenda."""

    def __init__(self, server: TwsServer, plan: FaultPlan) -> None:
        self._server, self._plan = server, plan
        self._inbox: deque[tuple[ClientKey, Said, bool]] = deque()
        self._passing = False
        self._out: list[tuple[ClientKey, Said]] = []
        self._overtaken: dict[ClientKey, list[_Overtaken]] = {}
        self._lines: dict[tuple[ClientKey, int], tuple[str, bool]] = {}
        self.conditions = Conditions()

    @property
    def busy(self) -> bool:
        return bool(self._inbox or self._out or self._overtaken or self.conditions.any)

    def learn(self, key: ClientKey, request: m.ClientRequest) -> None:
        """What a request id is about, so that ticks can be known by their symbol."""
        match request:
            case m.ReqMktData(req_id=req_id, contract=contract):
                self._lines[key, req_id] = (contract_key(contract), True)
                self.conditions.muted_lines.pop((key, req_id), None)
            case m.CancelMktData(req_id=req_id):
                self._lines.pop((key, req_id), None)
            case m.PlaceOrder() | m.ReqContractDetails():
                pass
            case _:
                number, about = getattr(request, "req_id", None), getattr(request, "contract", None)
                if isinstance(number, int) and isinstance(about, m.Contract) and self._plan.armed:
                    self._lines[key, number] = (contract_key(about), False)
        if len(self._lines) > MAX_LINES:
            del self._lines[next(iter(self._lines))]

    def forget(self, key: ClientKey) -> None:
        for line in [line for line in self._lines if line[0] == key]:
            del self._lines[line]
            self.conditions.muted_lines.pop(line, None)
        self._overtaken.pop(key, None)

    def lines_of(self, key: ClientKey, symbol: str) -> tuple[tuple[int, str], ...]:
        """The market data lines of a connection on a symbol, or on all: request ids and symbols."""
        return tuple(
            (req_id, of)
            for (owner, req_id), (of, is_data) in self._lines.items()
            if owner == key and is_data and symbol in ("", of)
        )

    def gather(self, at: datetime, *, asked: bool = False) -> None:
        """Take what the server says; `asked`: it answers a request for what has been said before."""
        self.push(self._server.take_packed(), at, asked=asked)

    def push(self, said: Iterable[tuple[ClientKey, Said]], at: datetime, *, asked: bool = False) -> None:
        self._inbox += [(key, message, asked) for key, message in said]
        if self._passing:
            return  # a fault of a message said something: that comes behind what is on its way already
        self._passing = True
        while self._inbox:
            key, message, was_asked = self._inbox.popleft()
            if not isinstance(message, LineTicks):
                self._pass(key, message, at, asked=was_asked)
            elif self._leaves_ticks_alone:
                self._out.append((key, message))
            else:
                for tick in message.messages():
                    self._pass(key, tick, at, asked=was_asked)
        self._passing = False

    @property
    def _leaves_ticks_alone(self) -> bool:
        """Nothing looks at ticks, nor counts them: they may stay together, as they are cheapest to send."""
        return not (self.conditions.any or self._overtaken or any(map(self._plan.waits_for, TICKS)))

    def take(self) -> tuple[tuple[ClientKey, Said], ...]:
        out, self._out = self._out, []
        return tuple(out)

    # --- one message ------------------------------------------------------------------------------

    def _pass(self, key: ClientKey, message: m.ServerMessage, at: datetime, *, asked: bool) -> None:
        word = MESSAGE_WORDS[type(message)]
        if self.conditions.any:
            kept = self._under_conditions(key, message, word, at, asked=asked)
            if kept is None:
                return
            message = kept
        filled = isinstance(message, m.OrderStatus) and message.status == "Filled"
        waiting = self._plan.waiting((word, ORDER_FILLED) if filled else (word,))
        if not waiting:
            self._emit(key, message)
            return
        occasion = self._occasion(key, message)
        messages: list[m.ServerMessage] = [message]
        fired = []
        for armed in waiting:
            fault = armed.fault
            if asked and word in NEWS and isinstance(fault, DropMessages | DelayMessages):
                continue
            if not self._plan.happens(armed, occasion, at):
                continue
            if isinstance(fault, _MessageFault):
                messages = self._apply(fault, key, messages, at)
                self._plan.note_done(fault, f"{word} to client {occasion.client_id}")
            elif fault.family is Family.MOMENT:
                fired.append(armed)
        for each in messages:
            self._emit(key, each)
        for armed in fired:
            self._plan.fire(armed, occasion, at)

    def _emit(self, key: ClientKey, message: m.ServerMessage) -> None:
        self._out.append((key, message))
        overtaken = self._overtaken.get(key)
        if overtaken is None:
            return
        for each in overtaken:
            each.left -= 1
        self._release(key, lambda waiting: waiting.left <= 0)

    def _emit_all(self, key: ClientKey, messages: list[m.ServerMessage]) -> None:
        for message in messages:
            self._emit(key, message)

    def _release(self, key: ClientKey, due: Callable[[_Overtaken], bool]) -> None:
        """Say those of the messages that wait for others to overtake them."""
        waiting = self._overtaken.pop(key, [])
        self._out += [(key, each.message) for each in waiting if due(each)]
        rest = [each for each in waiting if not due(each)]
        if rest:
            self._overtaken[key] = rest

    def _apply(
        self, fault: _MessageFault, key: ClientKey, messages: list[m.ServerMessage], at: datetime
    ) -> list[m.ServerMessage]:
        match fault:
            case DelayMessages(by_s=by_s):
                due = at + timedelta(seconds=by_s)
                self._plan.later(due, lambda _: self._emit_all(key, messages), holds=True)
                return []
            case DropMessages():
                return []
            case DuplicateMessages(copies=copies):
                return messages * copies
            case ReorderMessages(past=past):
                held = [_Overtaken(past, each) for each in messages]
                self._overtaken.setdefault(key, []).extend(held)
                patience = at + timedelta(seconds=REORDER_PATIENCE_S)
                self._plan.later(patience, lambda _: self._release(key, held.__contains__), holds=True)
                return []
            case ZeroPermId():
                return [without_perm_id(each) for each in messages]
            case StaleStatus():
                return [
                    *messages,
                    *(
                        stale
                        for each in messages
                        if isinstance(each, m.OrderStatus)
                        for stale in stale_statuses(each)
                    ),
                ]
            case ShiftNextId(by=by):
                return [
                    m.NextValidId(max(1, each.order_id + by)) if isinstance(each, m.NextValidId) else each
                    for each in messages
                ]
            case ChangeAccounts(accounts=accounts):
                return [
                    m.ManagedAccounts(accounts) if isinstance(each, m.ManagedAccounts) else each
                    for each in messages
                ]
            case _:
                assert_never(fault)

    # --- what holds for a while -----------------------------------------------------------------------

    def _under_conditions(
        self, key: ClientKey, message: m.ServerMessage, word: str, at: datetime, *, asked: bool
    ) -> m.ServerMessage | None:
        """The message as it may be said now; None when it may not."""
        conditions = self.conditions
        if word in FEED or isinstance(message, m.MarketDataType):
            return self._tick_under_conditions(key, message, at)
        if isinstance(message, m.ExecDetails) and message.execution.perm_id in conditions.liquidations:
            execution = attrs.evolve(message.execution, liquidation=1)
            message = attrs.evolve(message, execution=execution)
        if asked or not (conditions.muted_orders or conditions.hidden_orders):
            return message
        match message:
            case m.OpenOrder(order=order) if _holds(conditions.hidden_orders, order.perm_id, at):
                return None
            case m.OrderStatus(perm_id=perm_id) if _holds(conditions.hidden_orders, perm_id, at):
                return None
            case m.OpenOrder(order_id=order_id) | m.OrderStatus(order_id=order_id):
                pass
            case m.ErrorMessage(id=order_id):
                pass
            case m.ExecDetails(execution=execution):
                order_id = execution.order_id
            case m.CommissionReport():
                order_id = self._order_id_of(message.exec_id)
            case _:
                return message
        client_id = self._client_id(key)
        muted = client_id is not None and _holds(conditions.muted_orders, (client_id, order_id), at)
        return None if muted else message

    def _tick_under_conditions(
        self, key: ClientKey, message: m.ServerMessage, at: datetime
    ) -> m.ServerMessage | None:
        req_id: int = getattr(message, "req_id", -1)
        symbol = self._lines.get((key, req_id), ("", False))[0]
        conditions = self.conditions
        if _holds(conditions.muted_lines, (key, req_id), at):
            return None
        for of in dict.fromkeys((symbol, "")):
            if _holds(conditions.silent, of, at):
                return None
        for of in dict.fromkeys((symbol, "")):
            if _holds(conditions.delayed, of, at):
                message = as_delayed(message)
        for of in dict.fromkeys((symbol, "")):
            if _holds(conditions.stalled, of, at):
                due = conditions.stalled[of]
                assert due is not None, "a stall has an end"
                self._plan.later(due, lambda _: self._emit(key, message), holds=True)
                return None
        return message

    # --- what a message is about ----------------------------------------------------------------------

    def _occasion(self, key: ClientKey, message: m.ServerMessage) -> Occasion:
        exec_id = message.execution.exec_id if isinstance(message, m.ExecDetails) else ""
        return Occasion(
            key=key, client_id=self._client_id(key), symbol=self._symbol_of(key, message), exec_id=exec_id
        )

    def _client_id(self, key: ClientKey) -> int | None:
        client = self._server.clients.get(key)
        return None if client is None else client.client_id

    def _symbol_of(self, key: ClientKey, message: m.ServerMessage) -> str:
        """The contract's key, `""` for what is about none."""
        contract = getattr(message, "contract", None)
        if isinstance(contract, m.Contract):
            return contract_key(contract)
        match message:
            case m.OrderStatus(perm_id=perm_id) if perm_id:
                return contract_key(self._server.venue.by_perm_id(perm_id).contract)
            case m.CommissionReport(exec_id=exec_id):
                return next(
                    (
                        contract_key(e.contract)
                        for e in self._server.venue.executions()
                        if e.exec_id == exec_id
                    ),
                    "",
                )
            case m.ErrorMessage(id=order_id) if order_id > 0 and (key, order_id) not in self._lines:
                client_id = self._client_id(key)
                order = None if client_id is None else self._server.venue.find(client_id, order_id)
                return "" if order is None else contract_key(order.contract)
            case _:
                about = getattr(message, "req_id", getattr(message, "id", -1))
                return self._lines.get((key, about), ("", False))[0]

    def _order_id_of(self, exec_id: str) -> int:
        executions = self._server.venue.executions()
        return next((e.order_id for e in executions if e.exec_id == exec_id), 0)


def _holds(condition: dict[_K, datetime | None], about: _K, at: datetime) -> bool:
    """Whether it holds at this moment; one that is over is forgotten."""
    if about not in condition:
        return False
    until = condition[about]
    if until is None or at < until:
        return True
    del condition[about]
    return False
