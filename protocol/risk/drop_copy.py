"""R20: orders out against intents in, the control that Knight Capital lacked on 1 August 2012 (SEC 34-70694).

An independent count, fed by the journal on the one side and by the wire on the other: each placement,
change and cancel that leaves must have its own intent in the journal, and each placement its own order
id. It knows nothing of the session that sends. The other half, our executions against the broker's
positions, is in `monitor.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from protocol.events import BaseEvent, CancelEvent, ModifyOrderEvent, NewOrderEvent, OrderSentEvent
from protocol.reports import RequestKind
from protocol.values import OrderRef

KEPT: Final = 10_000
"""Intents that have not left: what was refused before the wire stays here until newer ones push it out."""


class DropCopy:
    """Begins empty with the process: whatever leaves from then on follows from an event of then."""

    def __init__(self) -> None:
        self._intents: OrderedDict[tuple[RequestKind, OrderRef], int] = OrderedDict()
        self._ids: OrderedDict[int, OrderRef] = OrderedDict()
        self.intents = self.messages = 0
        """Intents in and messages out, in all."""

    def fold(self, stream: str, event: BaseEvent) -> None:
        """Take in one event of any stream, as it is journalled."""
        del stream
        match event:
            case NewOrderEvent():
                self._intend(RequestKind.PLACE, event.ref)
            case ModifyOrderEvent():
                self._intend(RequestKind.MODIFY, event.ref)
            case CancelEvent():
                self._intend(RequestKind.CANCEL, event.ref)
            case OrderSentEvent():
                self._ids[event.order_id] = event.ref
                _bound(self._ids)
            case _:
                pass  # Nothing else asks for a message.

    def _intend(self, kind: RequestKind, ref: OrderRef) -> None:
        self.intents += 1
        self._intents[kind, ref] = self._intents.get((kind, ref), 0) + 1
        self._intents.move_to_end((kind, ref))
        _bound(self._intents)

    def left(self, kind: RequestKind, order_id: int, ref: OrderRef | None) -> str | None:
        """A message about an order has left the wire. What is wrong with that, in a sentence, or None."""
        self.messages += 1
        what = f"a {_WORDS[kind]} with order id {order_id}"
        if ref is None:
            return f"{what} left, which belongs to no order of ours"
        if kind is RequestKind.PLACE and self._ids.pop(order_id, None) != ref:
            return f"{what} left for {ref}, for which the journal has no such id"
        if not self._intents.get((kind, ref)):
            return f"{what} left for {ref}, without an intent of its own in the journal"
        self._intents[kind, ref] -= 1
        if not self._intents[kind, ref]:
            del self._intents[kind, ref]
        return None


def _bound(kept: OrderedDict[int, OrderRef] | OrderedDict[tuple[RequestKind, OrderRef], int]) -> None:
    while len(kept) > KEPT:
        kept.popitem(last=False)


_WORDS: Final = {
    RequestKind.PLACE: "placement",
    RequestKind.MODIFY: "change",
    RequestKind.CANCEL: "cancel",
}
