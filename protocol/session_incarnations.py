"""One reference of ours under several permanent ids: a modify that TWS took for a new order.

Seen live: a modify sent while TWS was cut off from IBKR left the old order working beside the changed
one; a later cancel took one of them, and the other filled six hours later (nautilus_trader#4564). A
client has one handle for both, the order id, and a cancel by it takes one of them, nobody knows which. So
as many are cancelled as there are too many, and whichever is left is the order from then on.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from protocol.events import CancelEvent
from protocol.reports import OrderReport
from protocol.session_order import SentOrder
from protocol.session_translation import DEAD
from protocol.session_words import Outbox, Sending, Urgency
from protocol.tws import messages as tws
from protocol.values import OrderRef, OrderStatus, Purpose, purpose_of

WHY = "the broker holds more than one order of this reference"
SOON_LOOKS: Final = 3
"""Looks out of turn at what became of the cancels of one order; what stays after those waits for its turn."""


class Incarnations:
    """The orders of ours of which more than one was seen."""

    def __init__(self, client_id: int) -> None:
        self._client_id = client_id
        self._doubled: dict[OrderRef, SentOrder] = {}
        self._looks: dict[OrderRef, int] = {}
        """How many looks in a row have shown too many of each."""
        self.asked = False
        """Whether the last look led to cancels whose answers are worth a look out of turn."""

    def is_another(
        self,
        sent: SentOrder,
        perm_id: int,
        status: OrderStatus | None,
        report: OrderReport | None,
        out: Outbox,
    ) -> bool:
        """Whether a word with `perm_id` is about another order than the one we know by this reference."""
        if not perm_id or not sent.perm_id or perm_id == sent.perm_id:
            return False
        if sent.ref not in self._doubled:
            self._doubled[sent.ref] = sent
            text = f"two orders at the broker have one reference: permIds {sent.perm_id} and {perm_id}"
            out.alarm("ORDER_TWICE", f"{sent.ref}: {text}", sent.symbol)
        if status in DEAD:
            sent.others.pop(perm_id, None)
        elif report is not None:
            sent.others[perm_id] = report
        return True

    @staticmethod
    def successor(sent: SentOrder, status: OrderStatus | None) -> OrderReport | None:
        """What the order is from now on, when the one that we knew it by was cancelled and another lives."""
        if status is not OrderStatus.CANCELLED or sent.ended or not sent.others:
            return None
        return sent.others.pop(min(sent.others))

    def keep_one(self, listed: AbstractSet[int], sequence: int, out: Outbox) -> list[SentOrder]:
        """After a complete snapshot that lists the permanent ids `listed`: cancel what is too much.

        Of an order that opens or enlarges a position none is kept: its size is in doubt. Left alone is
        what was asked after `sequence`. Returns those of which the order that we know is not listed.
        """
        gone: list[SentOrder] = []
        self.asked = False
        for sent in self._doubled.values():
            if sent.sequence > sequence or sent.client_id != self._client_id:
                continue
            sent.others = {each: report for each, report in sent.others.items() if each in listed}
            known = not sent.ended and sent.perm_id in listed
            if sent.others and not sent.ended and not known:
                gone.append(sent)
            keep = 1 if not sent.ended and purpose_of(sent.ref.role) is not Purpose.ENTRY else 0
            too_many = len(sent.others) + known - keep
            looks = self._looks[sent.ref] = self._looks.get(sent.ref, 0) + 1 if too_many > 0 else 0
            self.asked = self.asked or 0 < looks <= SOON_LOOKS
            reports = [*sent.others.values(), sent.report if known else None]
            leaving = sum(each is not None and each.status is OrderStatus.PENDING_CANCEL for each in reports)
            # Asked once more for one that is on its way out, TWS would take the one that is to stay.
            for _ in range(too_many - leaving):
                self._cancel(sent, out)
        return gone

    @staticmethod
    def _cancel(sent: SentOrder, out: Outbox) -> None:
        out.events.append(CancelEvent(at=out.at, cause=WHY, ref=sent.ref, why=WHY))
        out.sends.append(Sending((tws.CancelOrder(sent.order_id),), Urgency.PROTECTION, (sent.order_id,)))
