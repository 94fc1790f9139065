"""The orders that the broker session has sent: what each was asked to be, and what the broker says of it.

An order has three names: our reference, which survives everything; TWS's permanent id; and the order id,
a handle from a counter that never goes back. What is asked and what is confirmed are two things, and a
missing answer is a third: such an order is unknown, is asked about, and is only called lost when two
complete snapshots on one link, `ABSENCE_LOOP_S` apart, do not hold it. Nothing is ever sent again on a
guess. Executions are no business of this file: a status never moves a quantity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import (
    BaseEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    RejectEvent,
)
from protocol.reports import NOT_SENT, OrderLost, OrderReport, RequestKind, RequestRefused
from protocol.session_incarnations import Incarnations
from protocol.session_order import TOO_EARLY_TO_TELL, SentOrder, as_asked
from protocol.session_register import OrderRegister
from protocol.session_translation import DEAD, STATUS, WORKING, report_of_order, report_of_spec, to_tws
from protocol.session_words import Outbox, Sending, Urgency
from protocol.tws import messages as tws
from protocol.tws.codes import CodeClass
from protocol.values import OrderRef, OrderSpec, OrderStatus, Purpose, Symbol

ACK_LOOP_S = 5.0
"""An order that has had no answer for so long is unknown (most answers take milliseconds)."""
ABSENCE_LOOP_S = 2.0
"""Between two snapshots that prove an absence: orders reach TWS's lists late after a reconnect."""


class SentOrders(OrderRegister):
    """All of them, by each of their names."""

    def __init__(self, instance: str, client_id: int) -> None:
        super().__init__(instance, client_id)
        self.account = ""
        self.sequence = 0
        self._journalled: dict[OrderRef, OrderSpec] = {}
        self._incarnations = Incarnations(client_id)

    # --- identity ---------------------------------------------------------------------------------

    def fold(self, event: BaseEvent) -> None:
        """What the journal says: which id an order has, what was asked, and whether it has ended."""
        match event:
            case NewOrderEvent() | ModifyOrderEvent():
                self._journalled[event.ref] = event.order
                if (sent := self._by_ref.get(event.ref)) is not None:
                    sent.asked = event.order
            case OrderSentEvent():
                asked = self._journalled.get(event.ref)
                self._remember(SentOrder(event.ref, event.order_id, event.client_id, asked=asked))
            case OrderStatusEvent() if (sent := self._by_ref.get(event.ref)) is not None:
                self._fold_status(sent, event)
            case RejectEvent(terminal=True) if (sent := self._by_ref.get(event.ref)) is not None:
                self._end(sent)
            case _:
                pass

    def _fold_status(self, sent: SentOrder, event: OrderStatusEvent) -> None:
        self._bind(sent, event.perm_id)
        sent.worked = sent.worked or event.status in WORKING
        if event.status in DEAD:
            self._end(sent)

    def of(self, symbol: Symbol) -> Iterator[SentOrder]:
        """All orders of a symbol, ended ones too."""
        return (sent for sent in self._by_ref.values() if sent.symbol == symbol)

    def live(self, symbol: Symbol | None = None) -> Iterator[SentOrder]:
        """The orders that have not ended."""
        return (sent for sent in self._live.values() if symbol is None or sent.symbol == symbol)

    # --- what symbols ask -------------------------------------------------------------------------

    def place(self, command: PlaceOrders, contract: tws.Contract, out: Outbox) -> None:
        """Give ids to a group and send it; only its last leg transmits, so TWS takes all or none."""
        if any(spec.ref in self._by_ref for spec in command.orders):
            self._place_again(command, out)
            return
        here = {spec.ref for spec in command.orders}
        parents = {spec.parent for spec in command.orders if spec.parent is not None}
        if not all(parent in here or parent in self._by_ref for parent in parents):
            for spec in command.orders:
                self._refuse(
                    spec.ref, RequestKind.PLACE, "not sent: its parent was never sent", out, dead=True
                )
            return
        self.sequence += 1
        requests: list[tws.PlaceOrder] = []
        for spec in command.orders:
            parent = None if spec.parent is None else self._by_ref.get(spec.parent)
            sent = SentOrder(spec.ref, self._next_id, self.client_id, asked=spec, pending=RequestKind.PLACE)
            # A child of an order that has ended stands alone: there is nothing to wait for.
            sent.parent_id = 0 if parent is None or parent.ended else parent.order_id
            sent.sequence, sent.deadline_loop_s = self.sequence, out.loop_s + ACK_LOOP_S
            self._remember(sent)
            out.events.append(
                OrderSentEvent(at=out.at, ref=spec.ref, order_id=sent.order_id, client_id=self.client_id)
            )
            order = to_tws(spec, self.account, sent.parent_id, transmit=spec is command.orders[-1])
            requests.append(tws.PlaceOrder(sent.order_id, contract, order))
        exits_only = all(spec.purpose is not Purpose.ENTRY for spec in command.orders)
        urgency = Urgency.PROTECTION if exits_only else Urgency.ENTRY
        ids = tuple(request.order_id for request in requests)
        refs = tuple(spec.ref for spec in command.orders)
        out.sends.append(Sending(tuple(requests), urgency, ids, refs))

    def _place_again(self, command: PlaceOrders, out: Outbox) -> None:
        """A reference names one order for ever, so the same command twice places nothing the second time."""
        for spec in command.orders:
            known = self._by_ref.get(spec.ref)
            if known is None or (known.ended and known.report is None):
                self._refuse(
                    spec.ref, RequestKind.PLACE, "not sent: its group was sent before", out, dead=True
                )
            elif known.report is not None:
                out.tell(known.symbol, known.report)

    def modify(self, command: ModifyOrder, contract: tws.Contract, out: Outbox) -> None:
        spec = command.order
        sent = self._changeable(spec.ref, RequestKind.MODIFY, out)
        if sent is None:
            return
        parent = None if spec.parent is None else self._by_ref.get(spec.parent)
        sent.parent_id = sent.parent_id or (0 if parent is None else parent.order_id)
        sent.asked = spec
        self._await_answer(sent, RequestKind.MODIFY, out)
        order = to_tws(spec, self.account, sent.parent_id, transmit=True)
        urgency = Urgency.PROTECTION if spec.purpose is not Purpose.ENTRY else Urgency.ENTRY
        out.sends.append(
            Sending((tws.PlaceOrder(sent.order_id, contract, order),), urgency, (sent.order_id,))
        )

    def cancel(self, command: CancelOrder, out: Outbox) -> None:
        sent = self._changeable(command.ref, RequestKind.CANCEL, out)
        if sent is None:
            return
        self._await_answer(sent, RequestKind.CANCEL, out)
        out.sends.append(Sending((tws.CancelOrder(sent.order_id),), Urgency.PROTECTION, (sent.order_id,)))

    def _changeable(self, ref: OrderRef, kind: RequestKind, out: Outbox) -> SentOrder | None:
        sent = self._by_ref.get(ref)
        if sent is None:
            self._refuse(ref, kind, "no such order was ever sent", out)
        elif sent.ended:
            self._refuse(ref, kind, "the order has ended", out)
            if sent.report is not None:
                out.tell(sent.symbol, sent.report)
        elif sent.client_id != self.client_id:
            self._refuse(ref, kind, f"the order belongs to client id {sent.client_id}", out)
        else:
            return sent
        return None

    def _await_answer(self, sent: SentOrder, kind: RequestKind, out: Outbox) -> None:
        self.sequence += 1
        if sent.pending is not RequestKind.PLACE:
            # A change of an order that is still unconfirmed leaves the question whether it exists.
            sent.pending = kind
        sent.sequence, sent.deadline_loop_s = self.sequence, out.loop_s + ACK_LOOP_S

    def _refuse(
        self, ref: OrderRef, kind: RequestKind, reason: str, out: Outbox, *, code: int = NOT_SENT,
        dead: bool = False,
    ) -> None:  # fmt: skip
        out.tell(ref.symbol, RequestRefused(out.at, ref, kind, code, reason, dead))

    def never_left(self, refs: tuple[OrderRef, ...], reason: str, out: Outbox) -> None:
        """Placements that were given an id and then not sent after all: dead, and known to be."""
        for ref in refs:
            sent = self._by_ref[ref]
            self._end(sent)
            self._refuse(ref, RequestKind.PLACE, reason, out, dead=True)

    def change_never_left(self, order_id: int, reason: str, out: Outbox) -> None:
        """A change that was not sent after all: the order stands as it was."""
        sent = self._by_id[self._numbered_anew.get(order_id, order_id)]
        kind = sent.pending or RequestKind.MODIFY
        if sent.pending is not RequestKind.PLACE:
            sent.pending = sent.deadline_loop_s = None
        self._refuse(sent.ref, kind, reason, out)

    # --- what TWS says ----------------------------------------------------------------------------

    def open_order(self, message: tws.OpenOrder, out: Outbox, *, asked: bool = False) -> OrderRef | None:
        """An openOrder, live or (`asked`) as part of a snapshot. Its reference, if it is ours."""
        order = message.order
        self.saw_order_id(message.order_id)
        ref = self.ref_of(order.order_ref, order.client_id, message.order_id, order.perm_id)
        if ref is None:
            return None
        sent = self._by_ref.get(ref) or self._adopt(ref, message, out)
        if sent.repeats(message):
            sent.missing = None
            return ref
        status, report = STATUS.get(message.state.status), report_of_order(message, ref, out.at)
        if self._incarnations.is_another(sent, order.perm_id, status, report, out):
            return ref
        self._bind(sent, order.perm_id)
        self._revive(sent, status, out, listed=asked)
        if self._succeeded(sent, status, out):
            return ref
        if report is None:
            self._odd(sent, f"status {message.state.status!r} of a {order.order_type!r}", out)
            return ref
        old = sent.report
        if old is not None:
            filled = max(old.filled, report.filled)
            report = attrs.evolve(report, filled=filled, why_held=old.why_held)
            if (sent.ended and report.status is not OrderStatus.FILLED) or old.status is OrderStatus.FILLED:
                return ref  # an echo that was overtaken
        self._confirm(sent, report)
        self._tell(sent, report, out)
        sent.told_by = (message, sent.told_by[1] if sent.report is old else None)
        return ref

    def order_status(self, message: tws.OrderStatus, out: Outbox) -> SentOrder | None:
        """A status. The order that it is about, if it is ours and the one that we know."""
        ref = self.ref_of("", message.client_id, message.order_id, message.perm_id)
        sent = None if ref is None else self._by_ref[ref]
        if sent is not None and sent.repeats(message):
            sent.missing = None
            return sent
        status = STATUS.get(message.status)
        if sent is None or self._incarnations.is_another(sent, message.perm_id, status, None, out):
            return None
        self._bind(sent, message.perm_id)
        self._revive(sent, status, out)
        if self._succeeded(sent, status, out):
            return sent
        base = sent.report or (
            None if sent.asked is None else report_of_spec(sent.asked, out.at, OrderStatus.CREATED)
        )
        if status is None or base is None:
            self._odd(sent, f"status {message.status!r}", out)
            return sent
        # Also of one that has filled by its openOrder, which comes first and says no price.
        sent.average_price = message.avg_fill_price or sent.average_price
        if base.status is OrderStatus.FILLED or (base.status in DEAD and status is not OrderStatus.FILLED):
            return sent
        filled = max(base.filled, int(message.filled))
        report = attrs.evolve(
            base, at=out.at, status=status, filled=filled, why_held=message.why_held, perm_id=sent.perm_id
        )
        self._confirm(sent, report, parameters=False)
        old = sent.report
        self._tell(sent, report, out)
        sent.told_by = (sent.told_by[0] if sent.report is old else None, message)
        return sent

    def completed(self, message: tws.CompletedOrder, out: Outbox) -> None:
        """A terminal order of today: how an order ended that we did not see ending."""
        ref = self.ref_of(message.order.order_ref, 0, 0, message.order.perm_id)
        sent = None if ref is None else self._by_ref.get(ref)
        if sent is None or sent.ended:
            return
        report = report_of_order(message, sent.ref, out.at)
        if report is None or report.status not in DEAD:
            return
        if self._incarnations.is_another(sent, report.perm_id, report.status, report, out):
            return
        if self._succeeded(sent, report.status, out):
            return
        self._bind(sent, report.perm_id)
        self._confirm(sent, report)
        self._tell(sent, report, out)

    def _confirm(self, sent: SentOrder, report: OrderReport, *, parameters: bool = True) -> None:
        """Whether a word of the broker answers what was pending."""
        sent.worked = sent.worked or report.status in WORKING
        sent.missing = None
        match sent.pending:
            case RequestKind.PLACE if report.status is not OrderStatus.INACTIVE:
                answered = True
            case RequestKind.MODIFY:
                answered = report.status in DEAD or (parameters and as_asked(sent.asked, report))
            case RequestKind.CANCEL:
                answered = report.status in DEAD or report.status is OrderStatus.PENDING_CANCEL
            case _:
                answered = False
        if answered:
            sent.pending = sent.deadline_loop_s = None
            sent.suspect = False

    def _tell(self, sent: SentOrder, report: OrderReport, out: Outbox) -> None:
        old = sent.report
        if report.status in DEAD:
            self._end(sent)
        if old is None or attrs.evolve(report, at=old.at) != old:
            sent.report = report
            out.tell(sent.symbol, report)
        if (
            sent.refusal is not None
            and not sent.refused
            and report.status in (OrderStatus.INACTIVE, OrderStatus.CANCELLED)
        ):
            self._refused_for_good(sent, out)

    def _end(self, sent: SentOrder) -> None:
        sent.ended = True
        sent.pending = sent.deadline_loop_s = sent.missing = None
        sent.suspect = False
        self._live.pop(sent.ref, None)

    def _adopt(self, ref: OrderRef, message: tws.OpenOrder, out: Outbox) -> SentOrder:
        """An order with our name that our journal does not know: it is real, so it is ours from now on."""
        sent = SentOrder(
            ref, message.order_id, message.order.client_id, parent_id=message.order.parent_id,
            asked=self._journalled.get(ref),
        )  # fmt: skip
        self._remember(sent)
        self._alarm(sent, "ORDER_ADOPTED", "the broker holds an order of ours that the journal lacks", out)
        return sent

    def _revive(
        self, sent: SentOrder, status: OrderStatus | None, out: Outbox, *, listed: bool = False
    ) -> None:
        """An order that was given up, for lost or for refused, turns out to be there."""
        filled = sent.report is not None and sent.report.status is OrderStatus.FILLED
        if sent.lost or (sent.ended and status in WORKING and (sent.refused or (listed and not filled))):
            sent.lost = sent.refused = sent.ended = False
            sent.refusal = None
            self._live[sent.ref] = sent
            self._alarm(sent, "LATE_ANSWER", "an order that was given up is there", out)

    def _succeeded(self, sent: SentOrder, status: OrderStatus | None, out: Outbox) -> bool:
        """Whether another order of the same reference takes the place of one that was cancelled."""
        report = self._incarnations.successor(sent, status)
        if report is None:
            return False
        sent.perm_id = report.perm_id
        self._by_perm[report.perm_id] = sent
        self._tell(sent, attrs.evolve(report, at=out.at), out)
        return True

    def _odd(self, sent: SentOrder, what: str, out: Outbox) -> None:
        """Words that we do not know change nothing and are asked about."""
        if not sent.suspect:
            self._alarm(sent, "UNKNOWN_WORD", what, out)
        sent.suspect = not sent.ended

    @staticmethod
    def _alarm(sent: SentOrder, code: str, text: str, out: Outbox) -> None:
        out.alarm(code, f"{sent.ref}: {text}", sent.symbol)

    # --- errors that name an order ----------------------------------------------------------------

    def error(self, message: tws.ErrorMessage, kind: CodeClass, out: Outbox) -> None:
        """An error with the id of an order of ours. Only a refusal that the broker's lists confirm kills."""
        sent = self._by_id[message.id]
        match kind:
            case CodeClass.ORDER_NOTICE:
                # 202 has the order's end in its text; should the status be missing, its absence tells.
                sent.suspect = sent.suspect or (message.code == TOO_EARLY_TO_TELL and not sent.ended)
            case CodeClass.ORDER_REFUSED | CodeClass.REQUEST_REFUSED:
                self._refused(sent, message, out)
            case _:
                sent.suspect = not sent.ended

    def _refused(self, sent: SentOrder, message: tws.ErrorMessage, out: Outbox) -> None:
        if sent.ended:
            self._refused_after_end(sent, message, out)
            return
        status = None if sent.report is None else sent.report.status
        if sent.pending in (RequestKind.MODIFY, RequestKind.CANCEL):
            kind, sent.pending, sent.deadline_loop_s = sent.pending, None, None
            self._refuse(sent.ref, kind, message.text, out, code=message.code)
            sent.suspect = True
            return
        sent.refusal, sent.suspect = (message.code, message.text), True
        if status in (OrderStatus.INACTIVE, OrderStatus.CANCELLED):
            self._refused_for_good(sent, out)

    def _refused_after_end(self, sent: SentOrder, message: tws.ErrorMessage, out: Outbox) -> None:
        """The status came first and the reason after it: a placement that TWS cancelled at once."""
        if not (sent.worked or sent.lost or sent.refused):
            sent.refusal = (message.code, message.text)
            self._refused_for_good(sent, out)

    def _refused_for_good(self, sent: SentOrder, out: Outbox) -> None:
        assert sent.refusal is not None
        code, text = sent.refusal
        self._end(sent)
        sent.refused = True
        self._refuse(sent.ref, RequestKind.PLACE, text, out, code=code, dead=True)

    # --- unknown fates ----------------------------------------------------------------------------

    def due(self) -> float | None:
        """The loop time at which the next order becomes unknown, or may be looked for again."""
        times = [sent.deadline_loop_s for sent in self._live.values() if sent.deadline_loop_s is not None]
        times += [
            sent.missing[1] + ABSENCE_LOOP_S for sent in self._live.values() if sent.missing is not None
        ]
        return min(times, default=None)

    def wants_snapshot(self, loop_s: float) -> bool:
        """Whether somebody's fate is to be asked for now; deadlines that have passed make orders suspect."""
        wanted = False
        for sent in self._live.values():
            if sent.deadline_loop_s is not None and loop_s >= sent.deadline_loop_s:
                sent.suspect, sent.deadline_loop_s = True, None
            if sent.missing is not None:
                wanted = wanted or loop_s >= sent.missing[1] + ABSENCE_LOOP_S
            else:
                wanted = wanted or sent.suspect
        return wanted

    def link_lost(self) -> None:
        """Answers that were due will not come on the next link: everything unanswered is unknown."""
        for sent in self._live.values():
            if sent.pending is not None:
                sent.suspect = True
            sent.deadline_loop_s = sent.missing = None

    def settle(
        self,
        found: frozenset[OrderRef],
        found_ids: frozenset[int],
        executed: Mapping[OrderRef, int],
        asked_sequence: int,
        generation: int,
        out: Outbox,
    ) -> bool:
        """Compare with a complete snapshot: `found` are our open orders in it, `found_ids` their permanent
        ids, `executed` shares so far. Returns whether to look soon what became of cancels that it led to.

        An order about which something was asked after the snapshot is left alone.
        """
        for sent in self._incarnations.keep_one(found_ids, asked_sequence, out):
            self._succeeded(sent, OrderStatus.CANCELLED, out)
        for sent in tuple(self._live.values()):
            if sent.ended or sent.sequence > asked_sequence:
                continue
            if sent.ref in found:
                self._settle_found(sent, out)
            else:
                self._settle_missing(sent, executed.get(sent.ref, 0), (generation, out.loop_s), out)
        return self._incarnations.asked

    def _settle_found(self, sent: SentOrder, out: Outbox) -> None:
        sent.missing = sent.refusal = None
        overdue = sent.deadline_loop_s is not None and out.loop_s >= sent.deadline_loop_s
        if (sent.suspect or overdue) and sent.pending in (RequestKind.MODIFY, RequestKind.CANCEL):
            kind, sent.pending, sent.deadline_loop_s = sent.pending, None, None
            self._refuse(sent.ref, kind, "never answered; the order stands as reported", out)
        sent.suspect = False

    def _settle_missing(self, sent: SentOrder, executed: int, look: tuple[int, float], out: Outbox) -> None:
        if sent.refusal is not None and not sent.worked and not executed:
            self._refused_for_good(sent, out)
            return
        parent = (
            None if sent.asked is None or sent.asked.parent is None else self._by_ref.get(sent.asked.parent)
        )
        if parent is not None and parent.refused and parent.refusal is not None and not sent.worked:
            sent.refusal = (parent.refusal[0], f"its parent was refused: {parent.refusal[1]}")
            self._refused_for_good(sent, out)
            return
        first = sent.missing
        if first is None or first[0] != look[0]:
            sent.missing, sent.suspect = look, True
        elif look[1] - first[1] >= ABSENCE_LOOP_S:
            self._settle_gone(sent, executed, out)

    def _settle_gone(self, sent: SentOrder, executed: int, out: Outbox) -> None:
        """Twice absent. What the broker once told of, or has executed, has ended; the rest never arrived."""
        base = sent.report or (
            None if sent.asked is None else report_of_spec(sent.asked, out.at, OrderStatus.CREATED)
        )
        if base is None or not (sent.report is not None or sent.worked or executed):
            self._end(sent)
            sent.lost = True
            out.tell(sent.symbol, OrderLost(out.at, sent.ref))
            return
        status = OrderStatus.FILLED if executed >= base.quantity else OrderStatus.CANCELLED
        self._alarm(sent, "ORDER_GONE", f"no longer at the broker, taken as {status.value}", out)
        self._tell(sent, attrs.evolve(base, at=out.at, status=status, filled=max(base.filled, executed)), out)
