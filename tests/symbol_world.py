"""A symbol's core against the real venue: what it commands is placed, what happens comes back as reports.

The broker session between the two is played here, with what it may do to the mail: delay it, repeat it,
let executions lag behind statuses, lose requests and refuse them. Time passes only in `pass_time`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count

import attrs

from protocol.chores import Watch
from protocol.commands import (
    AskHistory,
    AskSnapshot,
    BrokerCommand,
    CancelOrder,
    ModifyOrder,
    PlaceOrders,
    Wake,
)
from protocol.events import BaseEvent
from protocol.exchange.happenings import MarketTick, VenueOrder
from protocol.exchange.interventions import Interventions
from protocol.exchange.venue import ChildActivation, Venue, VenueSettings
from protocol.market_view import MarketView
from protocol.reports import (
    ContractQualified,
    ExecutionReport,
    LinkChanged,
    LinkState,
    Report,
    RequestKind,
    RequestRefused,
)
from protocol.risk.settings import RiskLimits
from protocol.rules.amounts import Shares
from protocol.rules.watching import turned
from protocol.symbol import SymbolMessage, commands_for, decide
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState, evolve
from protocol.values import (
    CENT_GRID,
    Tick,
    TickKind,
)
from tests.symbol_desk import LONG, PLAN, SHORT, SLV, TEN, signal
from tests.symbol_session import SessionStandIn

NEVER_ANSWERED_S = 7.0
"""After this long the session tells that a request was never answered."""
THICK = 5000
WORLD_PLAN = attrs.evolve(
    PLAN,
    sizing=Shares(100),
    rules=tuple(attrs.evolve(rule, cooldown_s=3.0) for rule in (LONG, SHORT)),
    limits=RiskLimits(max_entry_age_s=15.0),
)


class SymbolWorld:
    """The symbol, the venue, and the mail between them."""

    def __init__(
        self,
        activation: ChildActivation,
        plan: SymbolPlan = WORLD_PLAN,
        witness: Callable[[SymbolState, BaseEvent], None] | None = None,
    ) -> None:
        """`witness` sees every event, with the state before it."""
        self.at, self.plan, self.witness = TEN, plan, witness
        self.venue = Venue(VenueSettings(child_activation=activation))
        self.session = SessionStandIn(self.venue)
        self.state = SymbolState.begin(SLV)
        self.view = MarketView(plan.atr)
        self.journal: list[BaseEvent] = []
        self.mid, self.size, self.signals = 100.0, THICK, 0
        self.generation, self.link_up = 1, True
        self.report_delay_s = self.execution_lag_s = self.command_delay_s = 0.0
        self.duplicate = self.crash_before_performing = False
        self.refuse: list[RequestKind] = []
        self.swallow: list[RequestKind] = []
        self._mail: list[tuple[datetime, int, Report]] = []
        self._orders_until = TEN
        self._commands: list[tuple[datetime, BrokerCommand]] = []
        self._count = count()
        self._wake_at: datetime | None = None
        self._watch: Watch | None = None
        self._next_tick = TEN
        self.post([LinkChanged(self.at, LinkState.UP, self.generation)])
        self._tell_books()
        self.tick()
        self.pass_time(0)

    # --- the symbol ---------------------------------------------------------------------------------

    def say(self, message: SymbolMessage) -> None:
        decision = decide(self.state, self.view, self.plan, message, self.at)
        for event in decision.events:
            if self.witness is not None:
                self.witness(self.state, event)
            self.state = evolve(self.state, event)
        self.journal += decision.events
        self._wake_at, self._watch = decision.wake_at, decision.watch
        commands = commands_for(self.plan, 1, decision.events)
        if commands and self.crash_before_performing:
            self.crash_before_performing = False
            self.restart()
            return
        due = self.at + timedelta(seconds=self.command_delay_s)
        if self._commands:
            due = max(due, self._commands[-1][0])
        self._commands += [(due, command) for command in commands]
        news = any(not isinstance(report, ExecutionReport) for _, _, report in self._mail)
        if self.state.trade is not None and (news or self.command_delay_s or not self.link_up):
            self.session.crossed.add(self.state.trade.trade)

    def signal(self, word: str) -> None:
        self.signals += 1
        self.say(signal(word, self.at, f"s{self.signals}"))

    def restart(self) -> None:
        """The actor is born again: its state from the journal, its view empty but for the link.

        Its mail has waited, and the books that it asks for come after that. What it commanded before
        stands in the broker's mailbox ahead of the question for them.
        """
        state = SymbolState.begin(SLV)
        for event in self.journal:
            state = evolve(state, event)
        assert state == self.state, "replay gives another state than life did"
        link, generation = self.view.link, self.view.generation
        self.state, self.view, self._wake_at = state, MarketView(self.plan.atr), None
        self._watch = None
        self.view.link_changed(link, generation)
        self._obey(everything=True)
        self._tell_books()
        self.tick()

    def _tell_books(self) -> None:
        if self.link_up:
            self.post([
                ContractQualified(self.at, SLV, 1, CENT_GRID),
                self.session.snapshot(self.at, self.generation),
            ])  # fmt: skip

    # --- the exchange -------------------------------------------------------------------------------

    def correct(self, which: int, quantity: int, price_change: Decimal, *, status: bool) -> None:
        """The exchange corrects one of the executions so far, or takes it back: its quantity is then 0.

        `status`: the broker says how the order is now, too; it need not.
        """
        self.session.tells_corrected_orders = status
        interventions = Interventions(self.venue)
        standing = [e for e in interventions.effective_executions() if e.quantity]
        if not standing:
            return
        told = standing[which % len(standing)]
        # What crosses a correction may go through zero: no client can know of it before.
        self.session.crossed |= {ref.trade for ref in self.session.ids} | {self.state.next_trade}
        corrected = min(quantity, told.quantity)
        interventions.correct(self.at, told.exec_id, quantity=corrected, price=told.price + price_change)
        self._hear_venue()

    # --- the link and the mail ------------------------------------------------------------------------

    def lose_link(self) -> None:
        self.link_up = False
        self.post([LinkChanged(self.at, LinkState.DOWN, self.generation)])

    def regain_link(self) -> None:
        self._obey(everything=True)
        self.link_up, self.generation = True, self.generation + 1
        self.post(self.session.missed())
        self.post([LinkChanged(self.at, LinkState.UP, self.generation)])
        self._tell_books()

    def look_at_the_books(self) -> None:
        """A snapshot that nobody asked for; commands that are still on their way are not in it."""
        self.post([self.session.snapshot(self.at, self.generation)])
        self.at += timedelta(milliseconds=1)

    def post(self, reports: Iterable[Report]) -> None:
        """Put what the session tells into the mail: in order, save for executions, which may lag."""
        for report in reports:
            due = max(self.at + timedelta(seconds=self.report_delay_s), self._orders_until)
            if isinstance(report, ExecutionReport):
                due += timedelta(seconds=self.execution_lag_s)
            else:
                self._orders_until = due
            self._put(due, report)
            if self.duplicate:
                self._put(due, report)

    def _put(self, due: datetime, report: Report) -> None:
        heapq.heappush(self._mail, (due, next(self._count), report))

    def _hear_venue(self) -> None:
        reports = self.session.translate()
        if self.link_up:
            self.post(reports)

    # --- the commands ---------------------------------------------------------------------------------

    def _obey(self, *, everything: bool = False) -> None:
        while self._commands and (everything or self._commands[0][0] <= self.at):
            _, command = self._commands.pop(0)
            if self.link_up:
                self.post(self._perform(command))
            else:
                self.post(self._turn_away(command, "the link is down"))

    def _perform(self, command: BrokerCommand) -> list[Report]:
        kind = _kind(command)
        bracket = isinstance(command, PlaceOrders) and len(command.orders) > 1
        if kind in self.refuse and not bracket:
            self.refuse.remove(kind)
            return self._turn_away(command, "no")
        if kind in self.swallow and kind is not RequestKind.PLACE:
            self.swallow.remove(kind)
            due = self.at + timedelta(seconds=NEVER_ANSWERED_S)
            for report in self._turn_away(command, "never answered; the order stands as reported"):
                self._put(due, report)
            return []
        match command:
            case PlaceOrders(orders=orders):
                return self.session.place(self.at, orders)
            case ModifyOrder(order=spec):
                return self.session.modify(self.at, spec)
            case CancelOrder(ref=ref):
                return self.session.cancel(self.at, ref)
            case AskSnapshot() | AskHistory():
                raise AssertionError("the core does not ask for these by itself")

    def _turn_away(self, command: BrokerCommand, why: str) -> list[Report]:
        match command:
            case PlaceOrders(orders=orders):
                return [
                    RequestRefused(self.at, spec.ref, RequestKind.PLACE, 0, why, terminal=True)
                    for spec in orders
                ]
            case ModifyOrder(order=spec):
                return [RequestRefused(self.at, spec.ref, RequestKind.MODIFY, 0, why, terminal=False)]
            case CancelOrder(ref=ref):
                return [RequestRefused(self.at, ref, RequestKind.CANCEL, 0, why, terminal=False)]
            case AskSnapshot() | AskHistory():
                return []

    # --- the market and time --------------------------------------------------------------------------

    def tick(self) -> None:
        """The market as it stands now, with fresh sizes, for the venue and for the symbol."""
        bid, ask = round(self.mid - 0.01, 2), round(self.mid + 0.01, 2)
        self.venue.tick(MarketTick(self.at, SLV, bid, self.size, ask, self.size, self.mid, self.size))
        self._hear_venue()
        if self.link_up:
            for kind, price in ((TickKind.BID, bid), (TickKind.ASK, ask), (TickKind.LAST, self.mid)):
                self._hear_tick(Tick(SLV, kind, price, float(self.size), self.at, price, price))
        self._next_tick = self.at + timedelta(seconds=1)

    def _hear_tick(self, tick: Tick) -> None:
        """As in the actor: nearly all ticks change nothing but the view."""
        if self.state.pending is not None or (self._wake_at is not None and tick.at >= self._wake_at):
            self.say(tick)
            return
        watch = self._watch
        self.view.tick(tick)
        mark = None if watch is None else self.view.mark(watch.side)
        due = watch is not None and mark is not None and (mark - watch.price) * watch.side.sign >= 0
        if due or (self.plan.follows_rules and turned(self.state, self.view, self.plan, tick)):
            self.say(Wake(tick.at))

    def pass_time(self, seconds: float) -> None:
        until = self.at + timedelta(seconds=seconds)
        while True:
            due = [self._next_tick]
            due += [self._mail[0][0]] if self._mail else []
            due += [self._commands[0][0]] if self._commands else []
            due += [self._wake_at] if self._wake_at is not None else []
            if min(due) > until:
                self.at = until
                return
            self.at = max(self.at, min(due))
            self._obey()
            if self._mail and self._mail[0][0] <= self.at:
                self.say(heapq.heappop(self._mail)[2])
            if self._wake_at is not None and self._wake_at <= self.at:
                self._wake_at = None
                self.say(Wake(self.at))
            if self._next_tick <= self.at:
                self.tick()

    @property
    def in_flight(self) -> bool:
        return bool(self._mail or self._commands)

    def heal(self) -> None:
        """Everything works again: a link, a thick book, prompt mail."""
        self.report_delay_s = self.execution_lag_s = self.command_delay_s = 0.0
        self.duplicate = self.crash_before_performing = False
        self.refuse, self.swallow, self.size = [], [], THICK
        if not self.link_up:
            self.regain_link()
        self.pass_time(0)

    # --- the truth ------------------------------------------------------------------------------------

    def working(self, kind: str | None = None) -> list[VenueOrder]:
        """Live orders at the venue that do not sleep behind their parent."""
        return [
            order for order in self.venue.open_orders()
            if "child" not in order.why_held and kind in (None, order.order.order_type)
        ]  # fmt: skip

    def realized(self) -> float:
        return float(sum(p.realized_pnl for p in self.venue.positions("DU1234567")))


def _kind(command: BrokerCommand) -> RequestKind | None:
    match command:
        case PlaceOrders():
            return RequestKind.PLACE
        case ModifyOrder():
            return RequestKind.MODIFY
        case CancelOrder():
            return RequestKind.CANCEL
        case AskSnapshot() | AskHistory():
            return None
