"""The tree: which actors there are, who supervises whom, and who hands what to whom.

root  rest_for_one
├─ journal
├─ trading  one_for_one
│   ├─ broker   risk   custodian   router   timers   portfolio
│   └─ symbols  one_for_one, each quarantined on its own when exhausted
└─ edge  one_for_one: signal sources, terminal; never a reason to stop trading
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import attrs
import trio

from actors.broker import Broker, BrokerRefused, NoBroker
from actors.child import ChildSpec, Down, SupervisorSpec, Up
from actors.health import HealthWatch
from actors.journal import Journal, keep
from actors.kills import Kills
from actors.mailbox import Mailbox
from actors.market_clock import MarketClock
from actors.portfolio import Portfolio
from actors.recovery import Recovery
from actors.risk import RiskDesk
from actors.router import Router
from actors.saved_states import FOLDER as STATES
from actors.saved_states import SavedStates
from actors.subscriptions import Subscriptions
from actors.supervisor import Supervisor, nothing
from actors.symbol import SymbolActor, stream_of
from actors.system_mail import Mail
from actors.system_views import (
    SYMBOL_PREFIX,
    Quarantines,
    believed_positions,
    custodian_of,
    health_of,
    holdings_of,
)
from actors.timers import Timers
from actors.tws_link import Link
from protocol import configuration_note
from protocol.commands import (
    BrokerCommand,
    CancelEntries,
    EndHedge,
    Flatten,
    HedgeTrade,
    LiftHold,
    Stop,
    UseRules,
    Wake,
)
from protocol.control_events import FlowThresholdEvent
from protocol.events import (
    AlarmEvent,
    PeerAskedEvent,
    PredictionSignalEvent,
    RunEvent,
    SystemEvent,
)
from protocol.kills import KillOrder
from protocol.portfolio import portfolio_rules
from protocol.reports import RequestKind
from protocol.reset_windows import ResetPlan
from protocol.risk.gate import RiskGate
from protocol.risk.words import EntryProposal, KillLevel, Refused
from protocol.rule_checks import rule_faults
from protocol.rules.rule import Rule
from protocol.rules.used import indicators_used
from protocol.session_latency import Latencies
from protocol.settings import Settings
from protocol.supervision_plan import OnExhausted, Strategy
from protocol.symbol import SymbolMessage
from protocol.symbol_plan import SymbolPlan, rules_of
from protocol.values import MAIN, OrderRef, Symbol
from protocol.warm_up import BarStore

SYSTEM_STREAM = "system"
BROKER, RISK, CUSTODIAN, ROUTER, TIMERS, PORTFOLIO = (
    "broker", "risk", "custodian", "router", "timers", "portfolio"
)  # fmt: skip
"""Names of the actors that all symbols share."""
REPLAY_LOOP_S = 300.0
"""How long whoever replays the journal first may take to come up: a long one is not stuck."""


@attrs.frozen(kw_only=True)
class Edge:
    """An actor at the edge: a signal source or the terminal."""

    id: str
    start: Callable[[int, trio.TaskStatus[None]], Awaitable[None]]
    ask_stop: Callable[[], None] | None = None
    shutdown_loop_s: float = 5.0
    """How long it may take to end after that."""

    def as_child(self) -> ChildSpec:
        return ChildSpec(
            id=self.id, start=self.start, ask_stop=self.ask_stop, shutdown_loop_s=self.shutdown_loop_s
        )


class TradingSystem:
    """Everything that trades, wired but not yet running. `connect` opens one link to TWS.

    `instance` names the journal in every order reference. Nothing here starts before `run`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        journal: Journal,
        instance: str,
        clock: MarketClock,
        connect: Callable[[], Awaitable[Link]],
        seed: int = 0,
        kills: Sequence[KillOrder] = (),
        history: BarStore | None = None,
        folder: Path | None = None,
        mailbox: Callable[..., Mailbox[SymbolMessage]] = Mailbox,
    ) -> None:
        """`history` keeps the bars that warm up indicators from one run to the next; `folder` is the state
        folder, where a person may leave a file `KILL`. `mailbox` makes those of the symbols."""
        self.settings, self.journal, self.clock = settings, journal, clock
        self.kills = Kills(kills, clock)
        self.signal_to_wire = Latencies()
        self.edges: list[Edge | Supervisor] = []
        """Filled by whoever runs the system, before it runs."""
        self._rng, self._history = random.Random(seed), history
        self._quarantines = Quarantines(self)
        self._signal_seen: dict[Symbol, float] = {}
        self._saved = None if folder is None else SavedStates(journal, folder / STATES)
        self._recovery = Recovery(journal, self._saved)
        self.mail = Mail(self)
        self.broker_mailbox: Mailbox[BrokerCommand] = self.mail.of_broker()
        names = tuple(entry.symbol for entry in settings.symbols)
        self.mailboxes: Mapping[Symbol, Mailbox[SymbolMessage]] = self.mail.of_symbols(names, mailbox)
        self.router = self._router()
        self.timers = Timers(clock, self._wake)
        self.gate = self._open_gate()
        """Every order's last word; it has the journal's whole past, and hears of what is written first."""
        journal.follow(self.gate.follow)
        self.broker = Broker(
            settings.broker,
            names,
            instance=instance,
            connect=connect,
            journal=journal,
            mailbox=self.broker_mailbox,
            deliver=self.router.deliver,
            clock=clock,
            on_sent=self._note_sent,
            gate=self.gate,
            on_left=self._note_left,
            wants_figures=True, resets=ResetPlan(settings.broker.restart_at, settings.schedule),
        )  # fmt: skip
        self.custodian = custodian_of(self, instance)
        self.router.guard = self.custodian
        self.symbols = {plan.symbol: self._actor(plan) for plan in self._plans(instance)}
        self.risk = self._risk_desk(folder)
        self._stay_severed()
        self.portfolio = Portfolio(
            portfolio_rules(settings.rules), settings.schedule, journal=journal, clock=clock,
            holdings=partial(holdings_of, self), ask=self.ask_peer,
        )  # fmt: skip
        self.symbol_tree = self._supervise_symbols()
        """The supervisor of the symbols, whose ids begin with `symbol:`; `trading` is the one above it."""
        self.trading = self._supervise_trading()
        self.root: Supervisor | None = None
        self._handlers = self._supervisor(SupervisorSpec(name="handlers", intensity=None))
        self.subscriptions = Subscriptions(journal.append, self._handlers)
        """Where users' own handlers hear of events."""
        journal.follow(self.subscriptions.follow)
        self.subscriptions.bars_of = lambda symbol: self.symbols[symbol].view.bars
        self.router.on_tick = self.subscriptions.take_tick
        self.health = HealthWatch(partial(health_of, self), journal=journal, clock=clock)
        self._note_settings()

    def _note_settings(self) -> None:
        """For whoever reads the journal without the configuration at hand."""
        note = configuration_note.note_of(self.settings)
        if self.journal.get_meta(configuration_note.KEY) != note:
            self.journal.set_meta(configuration_note.KEY, note)

    def _router(self) -> Router:
        mail = self.mail
        return Router(self.mailboxes, on_refused=mail.refuse, shut=mail.shut, watch=mail.watch(ROUTER))

    def _open_gate(self) -> RiskGate:
        settings = self.settings
        # Twice: between a symbol's look at the quote and the gate's, our machine works once more.
        latency_s = 2 * settings.risk.quote_age_allowance_loop_s * self.clock.speed
        gate = RiskGate(settings.risk, settings.schedule, settings.symbols, latency_s=latency_s)
        for row in self.journal.rows():
            gate.fold(row.stream, row.event, replay=True)
        return gate

    def _risk_desk(self, folder: Path | None) -> RiskDesk:
        return RiskDesk(
            self.gate,
            journal=self.journal,
            clock=self.clock,
            around=lambda: self.broker.session,
            cancel_entries=self.cancel_entries,
            flatten=self.flatten,
            sever=self.broker.sever,
            reconnect=self.broker.reconnect,
            at_rest=lambda: self.at_rest,
            folder=folder,
            believed=partial(believed_positions, self),
        )

    def _stay_severed(self) -> None:
        """A link that a person has to open again is not opened by a restart, once nothing needs it."""
        standing, book = self.gate.standing, self.gate.book
        if standing.level is KillLevel.SEVER and not any(map(book.position, book.symbols)):
            self.broker.sever(standing.why)

    def _admits(self, proposal: EntryProposal, at: datetime) -> Refused | None:
        return self.gate.admits(proposal, self.broker.session, at=at)

    def _plans(self, instance: str) -> tuple[SymbolPlan, ...]:
        settings = self.settings
        latency_s = settings.risk.quote_age_allowance_loop_s * self.clock.speed
        return tuple(
            SymbolPlan(
                symbol=entry.symbol,
                instance=instance,
                sizing=entry.sizing,
                rules=rules_of(entry.symbol, settings.rules),
                schedule=settings.schedule,
                limits=settings.risk,
                atr=settings.atr,
                latency_s=latency_s,
                indicators=indicators_used(rules_of(entry.symbol, settings.rules)),
            )
            for entry in settings.symbols
        )

    def _actor(self, plan: SymbolPlan) -> SymbolActor:
        return SymbolActor(
            plan,
            mailbox=self.mailboxes[plan.symbol],
            broker=self.broker_mailbox,
            journal=self.journal,
            clock=self.clock,
            timers=self.timers,
            set_epoch=self.broker.set_epoch,
            ask_peer=self.ask_peer,
            probe=self.kills.probe,
            history=self._history,
            admits=self._admits,
            recovery=self._recovery,
        )

    # --- the tree -----------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the tree in order and keep it until cancelled. Raises `TreeGaveUp`."""
        journal = ChildSpec(id="journal", start=self._keep_journal, intensity=3)
        trading = self.trading.as_child()
        edge = self._supervise_edge().as_child()
        self.root = self._supervisor(
            SupervisorSpec(
                name="root",
                strategy=Strategy.REST_FOR_ONE,
                intensity=3,
                period_loop_s=60.0,
                children=(journal, trading, edge),
            )
        )
        await self.root.run(task_status)

    async def _keep_journal(self, _epoch: int, task_status: trio.TaskStatus[None]) -> None:
        await keep(self.journal, then=self.save_states, task_status=task_status)

    async def save_states(self, *, least_rows: int = 0) -> None:
        """Keep states for a shorter replay next time, where streams have grown by that much (0: as usual)."""
        if self._saved is not None:
            streams = [(stream_of(symbol), symbol) for symbol in self.symbols]
            await self._saved.bring_up(streams, least_rows=least_rows)

    def _supervise_trading(self) -> Supervisor:
        fatal = (BrokerRefused, NoBroker)
        spec = SupervisorSpec(
            name="trading",
            intensity=10,
            period_loop_s=60.0,
            children=(
                ChildSpec(
                    id=BROKER,
                    start=self.broker.run,
                    intensity=5,
                    fatal=fatal,
                    mailbox=self.broker_mailbox,
                    init_timeout_loop_s=REPLAY_LOOP_S,
                ),
                ChildSpec(id=RISK, start=self.risk.run, intensity=5),
                ChildSpec(
                    id=CUSTODIAN, start=self.custodian.run, intensity=5, mailbox=self.custodian.mailbox
                ),
                ChildSpec(id=ROUTER, start=self.router.run, mailbox=self.router.mailbox),
                ChildSpec(id=TIMERS, start=self.timers.run),
                self.symbol_tree.as_child(),
                ChildSpec(id=PORTFOLIO, start=self.portfolio.run),
            ),
        )
        return self._supervisor(spec)

    def _supervise_symbols(self) -> Supervisor:
        children = tuple(
            ChildSpec(
                id=SYMBOL_PREFIX + symbol,
                start=actor.run,
                intensity=5,
                on_exhausted=OnExhausted.QUARANTINE,
                mailbox=actor.mailbox,
                init_timeout_loop_s=REPLAY_LOOP_S,
            )
            for symbol, actor in self.symbols.items()
        )
        spec = SupervisorSpec(name="symbols", intensity=None, children=children)
        supervisor = self._supervisor(spec, self._note_quarantine)
        supervisor.monitor(self._note_symbol)
        return supervisor

    def _supervise_edge(self) -> Supervisor:
        edges = tuple(edge.as_child() for edge in self.edges)
        health = ChildSpec(id="health", start=self.health.run)
        children = (*edges, health, self._handlers.as_child())
        return self._supervisor(
            SupervisorSpec(
                name="edge",
                intensity=10,
                period_loop_s=60.0,
                on_exhausted=OnExhausted.QUARANTINE,
                children=children,
            )
        )

    def add_edge_tree(self, spec: SupervisorSpec) -> Supervisor:
        """One more supervisor at the edge; to be added before `run`."""
        tree = self._supervisor(spec)
        self.edges.append(tree)
        return tree

    def _supervisor(self, spec: SupervisorSpec, on_quarantine: Callable[[str], None] = nothing) -> Supervisor:
        return Supervisor(
            spec,
            record=self._record,
            market_now=self.clock.now,
            next_epoch=self.journal.next_epoch,
            rng=self._rng,
            on_quarantine=on_quarantine,
        )

    def alarm(self, code: str, text: str) -> None:
        """Something a person should know."""
        self._record(AlarmEvent(at=self.clock.now(), code=code, text=text))

    def _record(self, event: SystemEvent) -> None:
        self.journal.append(SYSTEM_STREAM, [event])

    def _note_symbol(self, change: Up | Down) -> None:
        symbol = Symbol(change.id.removeprefix(SYMBOL_PREFIX))
        if isinstance(change, Down):
            self.symbols[symbol].ready = False
            self.custodian.note_fall()
        else:
            self.mail.shut.discard(symbol)

    def _note_quarantine(self, child_id: str) -> None:
        self.mail.shut_away(Symbol(child_id.removeprefix(SYMBOL_PREFIX)))
        self._quarantines.note(child_id)

    # --- between the actors ---------------------------------------------------------------------------

    def take_signal(self, signal: PredictionSignalEvent) -> None:
        """Where signal sources hand on what passed their gate."""
        actor = self.symbols.get(signal.symbol)
        if actor is not None and actor.at_rest:
            # The entry of a reversal waits for its close and would measure the market, not us.
            self._signal_seen[signal.symbol] = trio.current_time()
        self.router.signal(signal)

    def take_flow(self, event: FlowThresholdEvent) -> None:
        """Where signal sources hand on that a figure of the options flow has crossed a threshold."""
        if event.symbol in self.symbols:
            self.router.flow(event)

    def _note_sent(self, ref: OrderRef) -> None:
        seen = self._signal_seen.pop(ref.symbol, None) if ref.role == MAIN else None
        if seen is not None:
            self.signal_to_wire.add(trio.current_time() - seen)

    def _note_left(self, kind: RequestKind, order_id: int, ref: OrderRef | None) -> None:
        self.risk.left(kind, order_id, ref)

    def use_rules(self, rules: tuple[Rule, ...]) -> None:
        """Trade by these rules from now on, all of them or, with a ValueError, none. Live trades go on."""
        wrong = rule_faults(rules, self.symbols)
        if wrong:
            raise ValueError("; ".join(wrong))
        now = self.clock.now()
        for symbol in self.symbols:
            self.router.command(symbol, UseRules(now, rules_of(symbol, rules)))
        self.portfolio.use(portfolio_rules(rules))
        self.settings = attrs.evolve(self.settings, rules=rules)
        self._note_settings()
        self._record(RunEvent(at=now, what="rules", detail=", ".join(rule.name for rule in rules)))

    def ask_peer(self, asked: PeerAskedEvent) -> None:
        """One symbol asks another, or all of them; each decides about its own position."""
        now = self.clock.now()
        if asked.what == "flatten":
            self.flatten("", asked.reason)
            return
        peer = Symbol(asked.peer)
        if peer not in self.symbols:
            self._record(AlarmEvent(
                at=now, code="NO_PEER", symbol=asked.symbol, text=f"{asked.what}: {peer} is not traded here"
            ))  # fmt: skip
        elif asked.what == "hedge":
            self.router.command(peer, HedgeTrade(now, asked.symbol, asked.trade, asked.dollars, asked.reason))
        else:
            self.router.command(peer, EndHedge(now, asked.symbol, asked.trade))

    def flatten(self, symbol: str, reason: str) -> None:
        """Close the position of a symbol, or of all for an empty name, whoever looks after it now."""
        now = self.clock.now()
        for each in self.symbols if not symbol else (Symbol(symbol),):
            self.router.command(each, Flatten(now, reason))
            self.custodian.flatten(each, reason)

    def cancel_entries(self, reason: str) -> None:
        """No entry works on, waits or is still to come; stops and targets stay."""
        self.broker.drop_entries(reason)
        for symbol in self.symbols:
            self.router.command(symbol, CancelEntries(self.clock.now(), reason))

    def lift_hold(self, symbol: Symbol, who: str, why: str) -> None:
        """A person has looked at what the symbol is held for."""
        self.router.command(symbol, LiftHold(self.clock.now(), who, why))

    def restart_actor(self, actor: str, why: str) -> bool:
        """Crash an actor on purpose, by its name in the tree: it comes back at once. False if it is down."""
        tree = self.symbol_tree if actor.startswith(SYMBOL_PREFIX) else self.trading
        return tree.kill(actor, why)

    def quarantine_symbol(self, symbol: Symbol, why: str) -> None:
        """End the actor of a symbol and keep it down until a person releases it; the custodian guards."""
        self.symbol_tree.quarantine(SYMBOL_PREFIX + symbol, why)

    def release_symbol(self, symbol: Symbol) -> bool:
        """Start a symbol's actor that is in quarantine; False if it is in none."""
        return self.symbol_tree.release(SYMBOL_PREFIX + symbol)

    def _wake(self, symbol: Symbol, at: datetime) -> None:
        self.router.command(symbol, Wake(at))

    # --- the end ----------------------------------------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """Every symbol is flat, with nothing at the broker, and has handled all its mail."""
        guards = self.custodian.guards
        return all(
            guards[symbol].flat if symbol in guards else actor.at_rest and not actor.mailbox.waiting
            for symbol, actor in self.symbols.items()
        )

    @property
    def entering(self) -> bool:
        """Whether an entry still works somewhere."""
        trades = (actor.state.trade for actor in self.symbols.values())
        return any(trade is not None and trade.entering for trade in trades)

    def stop_entries(self) -> None:
        """No entry goes on working; every exit stays where it is."""
        for symbol in self.symbols:
            self.router.command(symbol, Stop(self.clock.now()))
