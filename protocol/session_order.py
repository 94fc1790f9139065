"""One order that was sent: what it was asked to be, what is known of it, what is still to be answered."""

from __future__ import annotations

import attrs

from protocol.reports import OrderReport, RequestKind
from protocol.values import OrderRef, OrderSpec, Symbol

TOO_EARLY_TO_TELL = 202
"""TWS's text about a cancel; the status that goes with it is what counts."""


@attrs.define
class SentOrder:
    """One order of ours, as far as this process and the journal know it."""

    ref: OrderRef
    order_id: int
    client_id: int
    perm_id: int = 0
    parent_id: int = 0
    asked: OrderSpec | None = None
    report: OrderReport | None = None
    """What the symbol was last told."""
    average_price: float | None = None
    """Of what has executed, by the last status that said so."""
    worked: bool = False
    """Whether the broker ever had it as a working order."""
    ended: bool = False
    lost: bool = False
    pending: RequestKind | None = None
    deadline_loop_s: float | None = None
    sequence: int = 0
    """When the last request about it was made, as a count of requests: compared with a snapshot's."""
    refusal: tuple[int, str] | None = None
    """The code and text that TWS gave for not taking it; proof of its end is another thing."""
    refused: bool = False
    """Ended by `refusal`, and the symbol has been told so."""
    suspect: bool = False
    """Its fate is to be asked for."""
    others: dict[int, OrderReport] = attrs.field(factory=dict)
    """Further live orders at the broker with the same reference, by permanent id."""
    told_by: tuple[object, object] = (None, None)
    """The last openOrder and orderStatus that led to `report`: TWS repeats both in every list of orders."""
    missing: tuple[int, float] | None = None
    """(link generation, loop time) of the first complete snapshot without it."""

    @property
    def symbol(self) -> Symbol:
        return self.ref.symbol

    def repeats(self, message: object) -> bool:
        """Whether a word of the broker is the one that stands, and nothing waits for an answer."""
        known = any(message is told for told in self.told_by)
        waits = self.pending is not None or self.refusal is not None or self.suspect
        return known and not (waits or self.ended or self.others)

    @property
    def in_flight(self) -> bool:
        """Placed, and nothing heard: it may be there, it may not."""
        return self.report is None and not self.ended


def as_asked(asked: OrderSpec | None, report: OrderReport) -> bool:
    return asked is not None and (
        (report.quantity, report.limit_price, report.stop_price, report.type)
        == (asked.quantity, asked.limit_price, asked.stop_price, asked.type)
    )
