"""The broker's books as the session knows them: orders, executions, positions, and how to look anew."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from protocol.reconcile import LOOK_AGAIN_LOOP_S, Books, Difference, Doubts, differences
from protocol.reports import ContractQualified, ExecutionReport, OrderReport, SymbolSnapshot
from protocol.session_contracts import Contracts
from protocol.session_executions import Executions
from protocol.session_market_data import Lines
from protocol.session_orders import ACK_LOOP_S, SentOrders
from protocol.session_snapshot import ROUTINE, Gathering, Part
from protocol.session_translation import DEAD, STATUS, report_of_execution, report_of_spec
from protocol.session_words import Outbox, Urgency
from protocol.tws import messages as tws
from protocol.values import OrderRef, OrderSpec, OrderStatus, Purpose, Symbol

RECONCILE_LOOP_S = 30.0
OWED_LOOP_S = 1.0
"""How long a status may be ahead of the executions it speaks of before they are asked for."""


class BrokerBooks:
    """One snapshot is under way at a time: the ends of its parts do not say whose they are."""

    def __init__(
        self, orders: SentOrders, contracts: Contracts, lines: Lines, fresh_id: Callable[[], int]
    ) -> None:
        self.orders, self.contracts, self._lines = orders, contracts, lines
        self.executions = Executions()
        self.gathering: Gathering | None = None
        self.reconcile_at: float | None = None
        self.snapshots = 0
        self._fresh_id = fresh_id
        self._asked_by: set[Symbol] = set()
        self._doubts = Doubts()
        self._owed: dict[OrderRef, float] = {}
        """Orders of which a status told more than executions did, and when those are asked for."""
        self._doubts_told: set[str] = set()
        self._trusts_positions = False
        self._told_apart: dict[Symbol, int] = {}
        """Positions that TWS told since the last look. Being asked for them once, it goes on telling them,
        and what should have come within a look may come behind its end."""

    def link_lost(self) -> None:
        self.gathering = self.reconcile_at = None
        self._told_apart.clear()
        self._doubts.clear()
        self.orders.link_lost()

    def ask(self, symbol: Symbol) -> None:
        """A symbol wants its books; the next snapshot that begins from now on is for it."""
        self._asked_by.add(symbol)

    def wanted(self, loop_s: float) -> bool:
        """Whether somebody waits for a snapshot, or an order's fate is to be asked for."""
        owed = any(loop_s >= due for due in self._owed.values())
        return owed or bool(self._asked_by) or self.orders.wants_snapshot(loop_s)

    def owed_due(self) -> float | None:
        """When executions that a status spoke of are to be asked for."""
        return min(self._owed.values(), default=None)

    def gather(self, out: Outbox, *, everyone: bool = False) -> None:
        """Look at the books. `everyone`: all symbols are told, not only those that asked.

        The completed orders, of which a day has ever more, are asked for where an order's fate is not known:
        one that a look misses is asked for once more, and with them.
        """
        assert self.gathering is None
        self._owed.clear()
        parts = frozenset(Part) if everyone or self.orders.wants_snapshot(out.loop_s) else ROUTINE
        asked_by, self._asked_by = self._asked_by, set()
        self.gathering = Gathering(
            self._fresh_id(), self.orders.sequence, 0.0, everyone, asked_by, waiting=set(parts)
        )
        self.gathering.heard(out.loop_s)
        self.reconcile_at = out.loop_s + RECONCILE_LOOP_S
        out.ask(*self.gathering.requests(self.orders.account), urgency=Urgency.BOOKS)

    def look_again(self, out: Outbox, after_loop_s: float = LOOK_AGAIN_LOOP_S) -> None:
        """Something odd was seen: do not wait for the next regular look."""
        if self.reconcile_at is not None:
            self.reconcile_at = min(self.reconcile_at, out.loop_s + after_loop_s)

    def changing(self, order: OrderSpec, out: Outbox) -> None:
        """A change is about to leave. TWS has been seen to double one (nautilus_trader issue 4564): where
        shares are taken off an exit, the old one that is left would close more than there is."""
        sent = self.orders.get(order.ref)
        before = 0 if sent is None or sent.report is None else sent.report.quantity
        if order.purpose is not Purpose.ENTRY and order.quantity < before:
            self.look_again(out)

    # --- messages, inside and outside a snapshot --------------------------------------------------

    def order_status(self, message: tws.OrderStatus, out: Outbox) -> None:
        sent = self.orders.order_status(message, out)
        if sent is None or sent.report is None:
            return
        if sent.report.filled <= self.executions.executed().get(sent.ref, 0):
            self._owed.pop(sent.ref, None)
        elif self.gathering is None:
            self._owed.setdefault(sent.ref, out.loop_s + OWED_LOOP_S)

    def open_order(self, message: tws.OpenOrder, out: Outbox) -> None:
        gathering = self.gathering
        asked = gathering is not None and Part.ORDERS in gathering.waiting
        ref = self.orders.open_order(message, out, asked=asked)
        if gathering is None or not asked:
            return
        gathering.heard(out.loop_s)
        if ref is not None:
            gathering.found.add(ref)
            gathering.found_ids.add(message.order.perm_id)
            return
        symbol = self._ours(message.contract, message.order.account)
        if symbol is not None and STATUS.get(message.state.status) not in DEAD:
            gathering.foreign[message.order.perm_id] = symbol

    def execution(self, message: tws.ExecDetails, out: Outbox) -> bool:
        """Whether it was about a symbol and account of ours. Known ones are not told again."""
        execution, gathering = message.execution, self.gathering
        report = self.executions.get(execution.exec_id)
        if report is None:
            symbol = self._ours(message.contract, execution.acct_number)
            if symbol is None:
                return False
            report = self._new_execution(message, symbol, out)
        counts = self.executions.add(report, int(execution.cum_qty), out)
        if counts:
            self._owe_less(report.ref)
        elif gathering is None:
            self.look_again(out)
        if gathering is not None:
            gathering.heard(out.loop_s)
            if counts:
                gathering.executions[report.exec_id] = report
                gathering.traded = gathering.traded or message.req_id != gathering.req_id
        return True

    def _new_execution(self, message: tws.ExecDetails, symbol: Symbol, out: Outbox) -> ExecutionReport:
        execution = message.execution
        ref = self.orders.ref_of(
            execution.order_ref, execution.client_id, execution.order_id, execution.perm_id
        )
        report = report_of_execution(message, symbol, ref, out.at)
        if execution.shares != report.quantity:
            out.alarm("FRACTION", f"{symbol}: {execution.shares} shares executed, whole ones counted", symbol)
        return report

    def _owe_less(self, ref: OrderRef | None) -> None:
        """An execution has come: perhaps the one that a status spoke of."""
        if ref in self._owed:
            sent = self.orders.get(ref)
            known = self.executions.executed().get(ref, 0)
            if sent is None or sent.report is None or known >= sent.report.filled:
                del self._owed[ref]

    def position(self, message: tws.Position, out: Outbox) -> None:
        symbol = self._ours(message.contract, message.account)
        if symbol is None:
            return
        shares = self._told_apart[symbol] = int(message.position)
        if self.gathering is not None:
            self.gathering.positions[symbol] = shares
            self.gathering.heard(out.loop_s)
        elif self._trusts_positions and shares != self.executions.positions.get(symbol, 0):
            # Somebody else has traded, whose executions come only when they are asked for.
            self.look_again(out)

    def _ours(self, contract: tws.Contract, account: str) -> Symbol | None:
        """The symbol of ours that a contract in our account is, if it is one."""
        ours = self.orders.account
        if contract.sec_type != "STK" or (account and ours and account != ours):
            return None
        symbol = Symbol(contract.symbol)
        known = self.contracts.qualified.get(symbol)
        if known is not None and contract.con_id not in (0, known.contract.con_id):
            return None
        return symbol if symbol in self.contracts.symbols else None

    def ended(self, part: Part, out: Outbox) -> Gathering | None:
        """A part of the answer is complete; the snapshot, once that was the last."""
        gathering = self.gathering
        if gathering is None:
            return None
        gathering.heard(out.loop_s)
        return gathering if gathering.ended(part) else None

    # --- what a snapshot means --------------------------------------------------------------------

    def settle(self, gathering: Gathering, generation: int, out: Outbox) -> None:
        """Settle what was unknown, compare positions, tell those who asked and those who must know."""
        self.snapshots += 1
        gathering.positions = self._told_apart | gathering.positions
        self._told_apart = {}
        found, found_ids = frozenset(gathering.found), frozenset(gathering.found_ids)
        executed = self.executions.executed()
        if self.orders.settle(found, found_ids, executed, gathering.sequence, generation, out):
            self.look_again(out, ACK_LOOP_S)
        self._tell_doubtful(out)
        told = gathering.asked_by | self._compare(gathering, out)
        for symbol in self.contracts.symbols:
            if gathering.everyone or symbol in told:
                self._tell_snapshot(symbol, gathering, generation, out)

    def _tell_doubtful(self, out: Outbox) -> None:
        """A whole list of executions has not made room for them."""
        doubtful = self.executions.totals.doubtful
        for report in doubtful.values():
            if report.exec_id not in self._doubts_told:
                what = f"{report.side.value} {report.quantity} at {report.price} ({report.exec_id})"
                whose = report.ref or report.symbol
                text = f"{whose}: {what} is more than the order has executed; it does not count"
                out.alarm("EXECUTION_DOUBTED", text, report.symbol)
        self._doubts_told = set(doubtful)

    def _compare(self, gathering: Gathering, out: Outbox) -> set[Symbol]:
        """Our executions against the broker's positions; the symbols whose books disagree."""
        believed, positions = self.executions.positions, gathering.positions
        if not self._trusts_positions:
            # The first look of this process: what was there before is the broker's word, not ours.
            # A fill in the middle of it may or may not be in the positions: look once more.
            self._trusts_positions = not gathering.traded
            if gathering.traded:
                self.look_again(out)
            believed.clear()
            believed.update(positions)
            return set()
        found = differences(Books(believed), Books(positions), self.contracts.symbols)
        real = self._doubts.confirm(found, out.loop_s)
        for difference in real:
            if self._stand_in(difference, out):
                continue
            believed[difference.symbol] = difference.actual
            out.alarm("BOOKS_DISAGREE", difference.text, difference.symbol)
        if self._doubts:
            self.look_again(out)
        return {difference.symbol for difference in real}

    def _stand_in(self, difference: Difference, out: Outbox) -> bool:
        """Whether executions that were never told explain it: the statuses speak of exactly the shares that
        the broker's position has and our executions have not. Then they are put in their place."""
        executed = self.executions.executed()
        owing = [
            (sent, sent.report)
            for sent in self.orders.of(difference.symbol)
            if sent.report is not None and sent.report.filled > executed.get(sent.ref, 0)
        ]
        missing = sum(
            report.side.sign * (report.filled - executed.get(sent.ref, 0)) for sent, report in owing
        )
        if not owing or missing != difference.actual - difference.believed:
            return False
        for sent, report in owing:
            told = self.executions.stand_in(
                sent.ref, sent.perm_id, report.side, report.filled, sent.average_price, out
            )
            text = (
                f"{sent.ref}: TWS never told an execution; by the order's status and the position it was"
                f" {told.side.value} {told.quantity} at {told.price}, and counts as that"
            )
            out.alarm("EXECUTION_NOT_TOLD", text, difference.symbol)
        return True

    def _tell_snapshot(self, symbol: Symbol, gathering: Gathering, generation: int, out: Outbox) -> None:
        """The books of a symbol, before them its contract, after them the quote that stands.

        Whoever asks may have just begun to live, and nobody else will tell it what does not change.
        """
        known = self.contracts.qualified.get(symbol)
        if known is not None:
            out.tell(symbol, ContractQualified(out.at, symbol, known.contract.con_id, known.grid))
        snapshot = SymbolSnapshot(
            out.at,
            symbol,
            generation,
            gathering.positions.get(symbol, 0),
            self._orders_of(symbol, out),
            tuple(report for report in gathering.executions.values() if report.symbol == symbol),
            sum(1 for other in gathering.foreign.values() if other == symbol),
            known is not None,
            "" if known is not None else self.contracts.left_out.get(symbol, "its contract is not known"),
        )
        out.tell(symbol, snapshot)
        for tick in self._lines.standing(symbol):
            out.tell(symbol, tick)

    def _orders_of(self, symbol: Symbol, out: Outbox) -> tuple[OrderReport, ...]:
        """Our live orders of a symbol; one that is still in flight is pending, so that nobody misses it."""
        reports: list[OrderReport] = []
        for sent in self.orders.live(symbol):
            if sent.report is not None:
                reports.append(attrs.evolve(sent.report, at=out.at))
            elif sent.asked is not None:
                reports.append(report_of_spec(sent.asked, out.at, OrderStatus.PENDING_SUBMIT))
        return tuple(reports)
