"""The broker session as a symbol sees it: orders go to the real venue, happenings come back as reports."""

from __future__ import annotations

from datetime import datetime

import attrs

from protocol.exchange import happenings as venue_words
from protocol.exchange.happenings import Status, VenueOrder
from protocol.exchange.venue import Venue
from protocol.reports import (
    CommissionCharged,
    ExecutionReport,
    OrderReport,
    Report,
    RequestKind,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.session_translation import STATUS, price_fields, stock, to_tws
from protocol.values import (
    MAIN,
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    Side,
)
from tests.symbol_desk import SLV

CLIENT = 1
DEAD = frozenset({OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED})


class SessionStandIn:
    """What the broker session knows of the orders, and its words for what the venue says."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.ids: dict[OrderRef, int] = {}
        self.refs: dict[int, OrderRef] = {}
        self.parents: dict[OrderRef, int] = {}
        self.last: dict[OrderRef, OrderReport] = {}
        self.executions: list[ExecutionReport] = []
        self.charges: list[CommissionCharged] = []
        self.asking: RequestKind = RequestKind.PLACE
        self.status_first = self.tells_corrected_orders = False
        self.overshoots: list[str] = []
        """Executions of exits that took the position through zero though nothing had crossed."""
        self.crossed: set[int] = set()
        """Trades of which something was asked while news of the venue was still on its way.

        A modify says the whole quantity. One that crosses a fill takes back what the venue took off, and
        only the next one puts that right: no client can rule that out.
        """
        self._held = 0

    def place(self, at: datetime, orders: tuple[OrderSpec, ...]) -> list[Report]:
        self.asking = RequestKind.PLACE
        for spec in orders:
            assert spec.ref not in self.ids, f"{spec.ref} is placed twice"
            parent = 0 if spec.parent is None else self.ids[spec.parent]
            order_id = len(self.ids) + 1
            self.ids[spec.ref], self.refs[order_id], self.parents[spec.ref] = order_id, spec.ref, parent
            order = to_tws(spec, "", parent, transmit=spec is orders[-1])
            self.venue.place(at, CLIENT, order_id, stock(SLV), order)
        return self.translate()

    def modify(self, at: datetime, spec: OrderSpec) -> list[Report]:
        ended = self._ended(at, spec.ref, RequestKind.MODIFY)
        if ended:
            return ended
        self.asking = RequestKind.MODIFY
        order = to_tws(spec, "", self.parents[spec.ref], transmit=True)
        self.venue.place(at, CLIENT, self.ids[spec.ref], stock(SLV), order)
        return self.translate()

    def cancel(self, at: datetime, ref: OrderRef) -> list[Report]:
        ended = self._ended(at, ref, RequestKind.CANCEL)
        if ended:
            return ended
        self.asking = RequestKind.CANCEL
        self.venue.cancel(at, CLIENT, self.ids[ref])
        return self.translate()

    def _ended(self, at: datetime, ref: OrderRef, kind: RequestKind) -> list[Report]:
        last = self.last.get(ref)
        if ref not in self.ids:
            return [RequestRefused(at, ref, kind, 0, "no such order was ever sent", terminal=False)]
        if last is None or last.status not in DEAD:
            return []
        return [RequestRefused(at, ref, kind, 0, "the order has ended", terminal=False), last]

    def translate(self) -> list[Report]:
        """What has happened at the venue, in the session's words."""
        reports: list[Report] = []
        for happening in self.venue.take():
            reports += self._say(happening)
        return reports

    def _say(self, happening: venue_words.Happening) -> list[Report]:
        match happening:
            case venue_words.Executed():
                execution = self._executed(happening)
                status = self._status(happening.at, happening.order)
                return [status, execution] if self.status_first else [execution, status]
            case venue_words.CommissionCharged(at=at, exec_id=exec_id, commission=commission):
                self.charges.append(CommissionCharged(at, SLV, exec_id, commission))
                return [self.charges[-1]]
            case venue_words.ExecutionCorrected():
                report, status = self._corrected(happening), self._status(happening.at, happening.order)
                return [report, status] if self.tells_corrected_orders else [report]
            case venue_words.PositionChanged():
                return []
            case venue_words.OrderRejected():
                return self._refused(happening)
            case venue_words.OrderCancelled(by_client=True):
                pending = attrs.evolve(happening.order, status=Status.PENDING_CANCEL)
                return [self._status(happening.at, pending), self._status(happening.at, happening.order)]
            case _:
                return [self._status(happening.at, happening.order)]

    def _executed(self, happening: venue_words.Executed) -> ExecutionReport:
        told = happening.execution
        report = ExecutionReport(
            happening.at, SLV, told.exec_id, self.refs[told.order_id], told.perm_id,
            Side.BUY if told.side == "BOT" else Side.SELL, told.quantity, told.price,
        )  # fmt: skip
        self.executions.append(report)
        self._judge(report)
        return report

    def _corrected(self, happening: venue_words.ExecutionCorrected) -> ExecutionReport:
        told = happening.execution
        before = next(e for e in self.executions if e.exec_id == happening.replaces)
        report = attrs.evolve(
            before, at=happening.at, exec_id=told.exec_id, quantity=told.quantity, price=told.price
        )
        self.executions.append(report)
        self._held += report.side.sign * (report.quantity - before.quantity)
        return report

    def _judge(self, report: ExecutionReport) -> None:
        before, self._held = self._held, self._held + report.side.sign * report.quantity
        entering = any(ref.role == MAIN and last.status not in DEAD for ref, last in self.last.items())
        crossed = report.ref is not None and report.ref.trade in self.crossed
        if before * self._held < 0 and not entering and not crossed:
            self.overshoots.append(f"{before} -> {self._held}: {report.ref}")

    def _status(self, at: datetime, order: VenueOrder) -> OrderReport:
        kind = OrderType(order.order.order_type)
        limit, stop = price_fields(kind, order.order.lmt_price, order.order.aux_price)
        ref = self.refs[order.order_id]
        report = OrderReport(
            at, ref, order.perm_id, STATUS[order.status.value], Side(order.order.action), kind,
            int(order.order.total_quantity), order.filled, limit, stop, order.why_held,
        )  # fmt: skip
        self.last[ref] = report
        return report

    def _refused(self, happening: venue_words.OrderRejected) -> list[Report]:
        at, ref = happening.at, self.refs[happening.order_id]
        dead = self.asking is RequestKind.PLACE
        refusal = RequestRefused(at, ref, self.asking, happening.code, happening.text, terminal=dead)
        if happening.order is None or not dead:
            return [refusal]
        inactive = self._status(at, happening.order)
        self.last[ref] = attrs.evolve(inactive, status=OrderStatus.REJECTED)
        return [inactive, refusal]

    def snapshot(self, at: datetime, generation: int) -> SymbolSnapshot:
        orders = tuple(
            attrs.evolve(report, at=at) for report in self.last.values() if report.status not in DEAD
        )
        return SymbolSnapshot(
            at, SLV, generation, self.position, orders, tuple(self.executions), 0, tradable=True
        )

    @property
    def position(self) -> int:
        held = {p.contract.symbol: p.quantity for p in self.venue.positions("DU1234567")}
        return held.get(SLV, 0)

    def missed(self) -> list[Report]:
        """After an outage: how the orders ended, or what they have become, that nobody was told of.

        Executions come with the books; what each has cost comes with them.
        """
        self.translate()
        return [*(self.last[ref] for ref in self.ids if ref in self.last), *self.charges]
