"""The symbol actor: receives, decides, journals, evolves, performs; one for each symbol, each on its own.

What to do is decided in `protocol/symbol.py`. The object outlives its deaths: `run` is called again with
the next epoch, rebuilds the state from the journal, asks the broker for the books, and goes on. Mail waits
meanwhile; signals are not looked at before the books agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import attrs
import trio

from actors.mailbox import Lane, Mailbox
from actors.market_clock import MarketClock
from actors.recovery import Recovery
from actors.timers import Timers
from protocol.chores import Watch
from protocol.commands import AskHistory, AskSnapshot, BrokerCommand, UseRules, Wake
from protocol.events import BaseEvent, PeerAskedEvent
from protocol.market_view import MarketView
from protocol.reports import HistoryLoaded, LinkState, SymbolSnapshot
from protocol.risk.words import EntryProposal, Refused
from protocol.rules.rule import Rule
from protocol.rules.used import indicators_used
from protocol.rules.watching import turned
from protocol.symbol import SymbolMessage, commands_for, decide, peer_requests
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState, evolve
from protocol.values import Symbol, Tick
from protocol.warm_up import BarStore, WarmUp


def stream_of(symbol: Symbol) -> str:
    """The stream of the journal that is the symbol's own."""
    return f"symbol:{symbol}"


class Journal(Protocol):
    """What the actor needs of the journal: events are committed when `append` returns."""

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None: ...
    def read(self, stream: str | None = None) -> Iterator[BaseEvent]: ...


class SymbolActor:
    """`broker` is the broker's mailbox; `probe` is called after each step and may raise an injected death."""

    def __init__(
        self,
        plan: SymbolPlan,
        *,
        mailbox: Mailbox[SymbolMessage],
        broker: Mailbox[BrokerCommand],
        journal: Journal,
        clock: MarketClock,
        timers: Timers,
        set_epoch: Callable[[Symbol, int], None],
        ask_peer: Callable[[PeerAskedEvent], None],
        probe: Callable[[SymbolActor, tuple[BaseEvent, ...]], None],
        history: BarStore | None = None,
        admits: Callable[[EntryProposal, datetime], Refused | None] | None = None,
        recovery: Recovery | None = None,
    ) -> None:
        """`admits` asks the account's limits whether an entry may be decided at all. `recovery` is shared
        by all symbols; without one, this symbol replays its whole stream by itself."""
        self.plan, self.mailbox = plan, mailbox
        self.state = SymbolState.begin(plan.symbol)
        self.view = MarketView(plan.atr, plan.indicators)
        self._store = history
        self._warm_up = WarmUp(plan.symbol, plan.atr, plan.indicators, history)
        self.ready = False
        """Recovered and reconciled with the broker's books, in this incarnation."""
        self.snapshots = 0
        """Looks at the broker's books so far; below, what the last one showed."""
        self.broker_orders = 0
        self._broker_apart = 0
        self._broker, self._journal, self._clock = broker, journal, clock
        self._timers, self._set_epoch, self._probe = timers, set_epoch, probe
        self._ask_peer, self._admits = ask_peer, admits
        self._recovery = recovery or Recovery(journal)
        self._epoch = 0
        self._history_of = -1
        self._wake_at: datetime | None = None
        self._watch: Watch | None = None

    @property
    def symbol(self) -> Symbol:
        return self.plan.symbol

    @property
    def at_rest(self) -> bool:
        """Flat, with nothing at the broker and nothing planned."""
        state = self.state
        return state.position.quantity == 0 and state.trade is None and state.pending is None

    @property
    def broker_position(self) -> int:
        """What the last look showed, and the executions that the broker has told since."""
        return self.state.position.quantity + self._broker_apart

    @property
    def broker_executions(self) -> int:
        """A TWS lists a few days' executions only; what it listed, we have, and the older ones stand."""
        return len(self.state.position.executions)

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover, reconcile, then handle mail for ever."""
        self._epoch, self.ready, self._history_of, self._wake_at = epoch, False, -1, None
        self._watch = None
        self.mailbox.hold_signals()
        self._set_epoch(self.symbol, epoch)
        self.state = await self._recovery.state(stream_of(self.symbol), self.symbol)
        link, generation = self.view.link, self.view.generation
        self.view = MarketView(self.plan.atr, self.plan.indicators)
        # Nobody repeats the state of the link for a restart; what changed meanwhile is in the mailbox.
        self.view.link_changed(link, generation)
        self.view.admits = self._admits
        task_status.started()
        self._probe(self, ())
        self.ask_books()
        await self.mailbox.serve(self._handle)

    def ask_books(self) -> None:
        """Ask the broker for its books of this symbol; the answer comes as a report."""
        self._broker.put(Lane.BROKER, AskSnapshot(self.symbol, self._epoch))

    def _handle(self, message: SymbolMessage) -> None:
        if type(message) is Tick:
            self._handle_tick(message)
            return
        if isinstance(message, HistoryLoaded):
            self._hear_history(message)
            return
        if isinstance(message, UseRules):
            self._use(message.rules)
        self._decide(message)
        if isinstance(message, SymbolSnapshot):
            self._reconciled(message)
        # The books come first, and only then the word that the link is up: until then a signal would be
        # refused for nothing.
        if self.ready and (self.view.link is LinkState.UP or not self.view.reconciled):
            self.mailbox.let_signals_go()

    def _handle_tick(self, tick: Tick) -> None:
        """Nearly all mail is ticks, and nearly all ticks change nothing but the view."""
        if self.view.bars.torn:
            self._mend_bars()
        state, wake_at = self.state, self._wake_at
        if state.pending is not None or (wake_at is not None and tick.at >= wake_at):
            self._decide(tick)
            return
        view, watch = self.view, self._watch
        view.tick(tick)
        if watch is not None:
            mark = view.mark(watch.side)
            if mark is not None and (mark - watch.price) * watch.side.sign >= 0:
                self._decide(Wake(tick.at))
                return
        if self.plan.follows_rules and turned(self.state, view, self.plan, tick):
            self._decide(Wake(tick.at))
            return
        self._probe(self, ())

    def _decide(self, message: SymbolMessage) -> None:
        decision = decide(self.state, self.view, self.plan, message, self._clock.now())
        if decision.events:
            self._journal.append(stream_of(self.symbol), decision.events)
            for event in decision.events:
                self.state = evolve(self.state, event)
        if decision.wake_at != self._wake_at:
            self._wake_at = decision.wake_at
            self._timers.set(self.symbol, decision.wake_at)
        self._watch = decision.watch
        for command in commands_for(self.plan, self._epoch, decision.events):
            self._broker.put(Lane.BROKER, command)
        for asked in peer_requests(decision.events):
            self._ask_peer(asked)
        self._probe(self, decision.events)
        if self.view.wants_books:
            self.view.wants_books = False
            self.ask_books()

    def _reconciled(self, snapshot: SymbolSnapshot) -> None:
        """The books agree: history once for each link."""
        self.snapshots += 1
        self._broker_apart = snapshot.position - self.state.position.quantity
        self.broker_orders = len(snapshot.orders)
        if snapshot.tradable and self._history_of != snapshot.generation:
            self._history_of = snapshot.generation
            self._ask_history()
        if not self.ready:
            self.ready = True
            self._probe(self, ())

    def _use(self, rules: tuple[Rule, ...]) -> None:
        """Other rules from now on; what they ask of the market beyond the old ones is warmed up."""
        self.plan = attrs.evolve(self.plan, rules=rules, indicators=indicators_used(rules))
        sizes = self.view.bars.follow(self.plan.indicators)
        self._warm_up = WarmUp(self.symbol, self.plan.atr, self.plan.indicators, self._store)
        if sizes and self.ready:
            self._ask_history(sizes)

    def _ask_history(self, sizes: Iterable[int] | None = None) -> None:
        for ask in self._warm_up.asks(self._epoch, self._clock.now(), sizes):
            self._broker.put(Lane.BROKER, ask)

    def _hear_history(self, answer: HistoryLoaded) -> None:
        heard = self._warm_up.hear(answer, self._epoch)
        if isinstance(heard, AskHistory):
            self._broker.put(Lane.BROKER, heard)
        else:
            self._decide(heard)

    def _mend_bars(self) -> None:
        """Ask how the bars were of which only a part was heard: those in the making when a link came up."""
        torn, self.view.bars.torn = tuple(self.view.bars.torn), []
        if self.view.link is LinkState.UP and self.ready:
            self._ask_history(torn)

    def wake(self) -> None:
        """The time that was asked for has come."""
        self.mailbox.put(Lane.CONTROL, Wake(self._clock.now()))
