"""From a symbol's command to what leaves: whether it can go at all, the gate's last word, then the orders."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Final, TypeAlias

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.reports import NOT_SENT, LinkState, RequestKind, RequestRefused
from protocol.risk.words import OrderGate, Refused, Surroundings
from protocol.session_contracts import Contracts
from protocol.session_orders import SentOrders
from protocol.session_words import Outbox, Urgency
from protocol.tws import messages as tws
from protocol.values import OrderRef, Purpose, Symbol

OrderCommand: TypeAlias = PlaceOrders | ModifyOrder | CancelOrder
SILENCE_LOOP_S: Final = 3.0
"""After so long without a word of TWS, new risk waits for a sign of life."""
ANSWER_LOOP_S: Final = 2.0
"""How long it waits for that."""


class OrderDesk:
    """Every order, change and cancel passes here, and nothing reaches the wire by another way.

    `around` is the session that it serves.
    """

    def __init__(
        self,
        orders: SentOrders,
        contracts: Contracts,
        gate: OrderGate,
        around: Surroundings,
        pause: Callable[[datetime], str] = lambda _: "",
    ) -> None:
        """`pause` says why nothing new is to be risked at a moment, whatever the link; empty if it may be."""
        self._orders, self._contracts, self._gate, self._around = orders, contracts, gate, around
        self._pause = pause
        self.heard_loop_s = -math.inf
        """When TWS last said anything."""
        self._held: deque[tuple[OrderCommand, float]] = deque()

    def take(self, command: OrderCommand, out: Outbox) -> None:
        """Serve it, at once or, for new risk after a silence, when TWS has shown that it still listens.

        A peer that hangs takes orders into a buffer that it reads an hour later.
        """
        silent = out.loop_s - self.heard_loop_s > SILENCE_LOOP_S
        if silent and _adds_risk(command) and self._around.state is LinkState.UP:
            if not self._held:
                out.ask(tws.ReqCurrentTime(), urgency=Urgency.BOOKS)
            self._held.append((command, out.loop_s))
            return
        if isinstance(command, CancelOrder):
            self._take_back(command, out)
        self.serve(command, out)

    def _take_back(self, cancel: CancelOrder, out: Outbox) -> None:
        """A placement that is still held is not sent any more when it is to be cancelled."""
        for held in tuple(self._held):
            if cancel.ref in _refs(held[0]):
                self._held.remove(held)
                self._refuse(held[0], "it was cancelled before it left", out)

    @property
    def due_loop_s(self) -> float | None:
        """When the first of those that are held has waited long enough; None when none is."""
        return self._held[0][1] + ANSWER_LOOP_S if self._held else None

    def serve_held(self, out: Outbox) -> None:
        """TWS has spoken."""
        held, self._held = self._held, deque()
        for command, _ in held:
            self.serve(command, out)

    def forget_stale(self, symbol: Symbol, epoch: int) -> int:
        """A new incarnation of a symbol: what an earlier one asked and is still held must not leave any more.

        Its successor finds no such order in the books and has nothing to be told. How many there were.
        """
        kept = [held for held in self._held if held[0].symbol != symbol or held[0].epoch >= epoch]
        stale, self._held = len(self._held) - len(kept), deque(kept)
        return stale

    def refuse_held(self, why: str, out: Outbox) -> None:
        held, self._held = self._held, deque()
        for command, _ in held:
            self._refuse(command, why, out)

    def serve(self, command: OrderCommand, out: Outbox) -> None:
        """Send it, or tell the symbol why not."""
        why_not = self._why_not(command, out.at)
        contract = self._contracts.contract(command.symbol)
        refused: Refused | None = None
        if why_not is None:
            refused = self._gate.judge(command, self._around, at=out.at)
            why_not = None if refused is None else f"{refused.reason} ({refused.control} {refused.code})"
        if refused is not None and not _adds_risk(command):
            # An exit that must not leave is a position that may stay open: a person has to know.
            out.alarm("RISK_REFUSED", f"{_refs(command)[0]}: {why_not}", command.symbol)
        if why_not is not None or contract is None:
            self._refuse(command, why_not or "its contract is not known yet", out)
            return
        match command:
            case PlaceOrders():
                self._orders.place(command, contract, out)
            case ModifyOrder():
                self._orders.modify(command, contract, out)
            case CancelOrder():
                self._orders.cancel(command, out)

    def _refuse(self, command: OrderCommand, why: str, out: Outbox) -> None:
        kind = {
            PlaceOrders: RequestKind.PLACE, ModifyOrder: RequestKind.MODIFY, CancelOrder: RequestKind.CANCEL,
        }[type(command)]  # fmt: skip
        for ref in _refs(command):
            # A placement that never left is dead; what a change was meant for stands as it was.
            dead = kind is RequestKind.PLACE and self._orders.get(ref) is None
            refusal = RequestRefused(out.at, ref, kind, NOT_SENT, f"not sent: {why}", dead)
            out.tell(command.symbol, refusal)

    def _why_not(self, command: OrderCommand, at: datetime) -> str | None:
        """Why nothing can be sent for a symbol now. New risk needs a reconciled link, an exit any link."""
        state, symbol = self._around.state, command.symbol
        if state is LinkState.DOWN:
            return "there is no session with the broker"
        if symbol not in self._contracts.qualified:
            return self._left_out(symbol)
        if state is not LinkState.UP and _adds_risk(command):
            return "the link is not reconciled, or TWS is cut off: no new risk"
        return (self._pause(at) or None) if _adds_risk(command) else None

    def _left_out(self, symbol: Symbol) -> str:
        return self._contracts.left_out.get(symbol, "its contract is not known yet")


def _adds_risk(command: OrderCommand) -> bool:
    match command:
        case PlaceOrders(orders=orders):
            return any(spec.purpose is Purpose.ENTRY for spec in orders)
        case ModifyOrder(order=order):
            return order.purpose is Purpose.ENTRY
        case CancelOrder():
            return False


def _refs(command: OrderCommand) -> tuple[OrderRef, ...]:
    match command:
        case PlaceOrders(orders=orders):
            return tuple(spec.ref for spec in orders)
        case ModifyOrder(order=order):
            return (order.ref,)
        case CancelOrder(ref=ref):
            return (ref,)
