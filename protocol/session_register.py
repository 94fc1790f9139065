"""The names of the orders that were sent: our reference, TWS's permanent id, and the order id, a handle.

Order ids come from a counter that never goes back. TWS takes them in rising order only: a placement that
was overtaken on the wire by one with a higher id, since a stop goes before an entry, gets a new id.
"""

from __future__ import annotations

import attrs

from protocol.events import OrderSentEvent
from protocol.session_order import SentOrder
from protocol.session_words import Outbox, Sending
from protocol.tws import messages as tws
from protocol.values import OrderRef


class OrderRegister:
    """Who is meant by a name. `instance` is ours: a reference with another one belongs to somebody else."""

    def __init__(self, instance: str, client_id: int) -> None:
        self.instance, self.client_id = instance, client_id
        self._by_ref: dict[OrderRef, SentOrder] = {}
        self._by_id: dict[int, SentOrder] = {}
        self._by_perm: dict[int, SentOrder] = {}
        self._live: dict[OrderRef, SentOrder] = {}
        self._next_id = 1
        self._highest_left = 0
        self._numbered_anew: dict[int, int] = {}

    def _remember(self, sent: SentOrder) -> None:
        self._by_ref[sent.ref] = self._live[sent.ref] = sent
        if sent.client_id == self.client_id and sent.order_id > 0:
            self._by_id[sent.order_id] = sent
            self.saw_order_id(sent.order_id)

    def saw_order_id(self, order_id: int) -> None:
        """An id is in use, or TWS says that the next one is `order_id + 1`: ours must lie above it."""
        self._next_id = max(self._next_id, order_id + 1)

    def _bind(self, sent: SentOrder, perm_id: int) -> None:
        if perm_id and not sent.perm_id:
            sent.perm_id = perm_id
            self._by_perm[perm_id] = sent

    def owns(self, ref: OrderRef | None) -> bool:
        return ref is not None and ref.instance == self.instance

    def ref_of(self, order_ref: str, client_id: int, order_id: int, perm_id: int) -> OrderRef | None:
        """Whose order a message is about; None when it is not ours."""
        ref = OrderRef.parse(order_ref) if order_ref else None
        if ref is not None:
            return ref if self.owns(ref) else None
        sent = self._by_perm.get(perm_id)
        if sent is None and client_id == self.client_id:
            sent = self._by_id.get(order_id)
        return None if sent is None else sent.ref

    def knows_id(self, order_id: int) -> bool:
        return order_id in self._by_id

    def ref_of_id(self, order_id: int) -> OrderRef | None:
        """Which order of ours an id of this client means."""
        return self._by_id[order_id].ref if order_id in self._by_id else None

    def get(self, ref: OrderRef) -> SentOrder | None:
        return self._by_ref.get(ref)

    # --- on the wire ------------------------------------------------------------------------------

    def leaves(self, sending: Sending, out: Outbox) -> Sending:
        """What really leaves now: the same, under new order ids where TWS would not take the old ones.

        To be called in the order in which things leave; `out` then holds what is to be journalled first.
        """
        ids = sending.keys
        if sending.refs:
            if min(ids) <= self._highest_left:
                self._number_anew(ids, out)
            self._highest_left = max(self._numbered_anew.get(each, each) for each in ids)
        if not self._numbered_anew:
            return sending
        # Also what only names the old id as its parent's.
        requests = tuple(self._renamed(request) for request in sending.requests)
        if requests == sending.requests:
            return sending
        keys = tuple(self._numbered_anew.get(each, each) for each in ids)
        return attrs.evolve(sending, requests=requests, keys=keys)

    def _number_anew(self, ids: tuple[int, ...], out: Outbox) -> None:
        for old in ids:
            sent = self._by_id.pop(old)
            sent.order_id = self._numbered_anew[old] = self._next_id
            self._by_id[sent.order_id] = sent
            self._next_id += 1
            out.events.append(OrderSentEvent(
                at=out.at, ref=sent.ref, order_id=sent.order_id, client_id=self.client_id, replaces=old
            ))  # fmt: skip
        for sent in self._by_id.values():
            if sent.parent_id in self._numbered_anew:
                sent.parent_id = self._numbered_anew[sent.parent_id]

    def _renamed(self, request: tws.ClientRequest) -> tws.ClientRequest:
        anew = self._numbered_anew
        match request:
            case tws.PlaceOrder(order_id=order_id, order=order):
                parent_id = anew.get(order.parent_id, order.parent_id)
                order = attrs.evolve(order, parent_id=parent_id)
                return attrs.evolve(request, order_id=anew.get(order_id, order_id), order=order)
            case tws.CancelOrder(order_id=order_id):
                return attrs.evolve(request, order_id=anew.get(order_id, order_id))
            case _:
                return request
