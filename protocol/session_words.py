"""The words between the session and the shell around it: what comes in, and what is to be done about it."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import TypeAlias

import attrs

from protocol.events import AlarmEvent, BaseEvent
from protocol.reports import Report
from protocol.tws.messages import ClientRequest, PlaceOrder, ServerMessage
from protocol.values import OrderRef, Symbol, Tick


@attrs.frozen
class Undecodable:
    """A frame from which nothing could be read. The stream lives on; orders are asked for again."""

    raw: bytes
    why: str


Inbound: TypeAlias = ServerMessage | Undecodable

Delivery: TypeAlias = tuple[Symbol | None, Report | Tick]
"""A report or tick and the symbol it is for; None is for all of them."""


class Urgency(enum.IntEnum):
    """What leaves first when the wire is near its limit."""

    PROTECTION = 0
    """Cancels, exits and changes of exits: they have a reserve of their own and never wait for the others."""
    ENTRY = 1
    """New risk. What waits too long is refused instead of sent late."""
    BOOKS = 2
    """Snapshots and the time: their answers have deadlines, which a hundred subscriptions must not use up."""
    REQUEST = 3
    """All other questions: contracts, market data, history."""


@attrs.frozen
class Sending:
    """Requests that leave together or not at all. `key` is the TWS order id they are about, 0 for none."""

    requests: tuple[ClientRequest, ...]
    urgency: Urgency
    keys: tuple[int, ...] = ()
    refs: tuple[OrderRef, ...] = ()
    """Orders whose placement this is."""

    @property
    def change_of(self) -> int:
        """The TWS order id of the order that is changed, where this does nothing else; 0 where it does."""
        changes = not self.refs and len(self.requests) == 1 and isinstance(self.requests[0], PlaceOrder)
        return self.keys[0] if changes and self.keys else 0

    @property
    def parents(self) -> tuple[int, ...]:
        """TWS order ids of the orders that placements of this hang on."""
        placements = (request for request in self.requests if isinstance(request, PlaceOrder))
        return tuple(request.order.parent_id for request in placements if request.order.parent_id)


@attrs.frozen
class CloseLink:
    """The session cannot go on: close, wait, connect anew. `busy_id`: another session holds our client id."""

    reason: str
    busy_id: bool = False


@attrs.frozen
class RefuseBroker:
    """This is not the account that the configuration means: never trade here, and do not try again."""

    reason: str


LinkVerdict: TypeAlias = CloseLink | RefuseBroker


@attrs.define
class Outbox:
    """One step of the session: when it is, and what it leaves to be done.

    First `events` are journalled, then `sends` sent, then `deliveries` delivered; a `verdict` comes last.
    `at` is market time, `loop_s` the machine's.
    """

    at: datetime
    loop_s: float
    sends: list[Sending] = attrs.field(factory=list)
    deliveries: list[Delivery] = attrs.field(factory=list)
    events: list[BaseEvent] = attrs.field(factory=list)
    verdict: LinkVerdict | None = None

    def ask(self, *requests: ClientRequest, urgency: Urgency = Urgency.REQUEST) -> None:
        for request in requests:
            self.sends.append(Sending((request,), urgency))

    def alarm(self, code: str, text: str, symbol: str = "") -> None:
        self.events.append(AlarmEvent(at=self.at, code=code, text=text, symbol=symbol))

    def tell(self, symbol: Symbol | None, report: Report | Tick) -> None:
        self.deliveries.append((symbol, report))
