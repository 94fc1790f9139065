"""One life of the trading system in a fault run: the real one, on the episode's disk, against its venue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import orjson
import outcome
import trio

from actors.chaos_defects import FlawedMailbox, Flaws
from actors.chaos_life import Life, ShakyJournal, WatchedLink
from actors.child import ChildState, TreeGaveUp
from actors.journal import JournalFailed
from actors.market_clock import MarketClock
from actors.signal_desk import SignalDesk
from actors.supervisor import Supervisor
from actors.symbol import stream_of
from actors.system import Edge, TradingSystem
from actors.tws_link import Link, LinkDown, StreamLink
from protocol.chaos.plan import EpisodePlan, Victim
from protocol.chaos.signals import Prediction
from protocol.chaos.timeline import SymbolStanding
from protocol.events import SignalVerdictEvent
from protocol.risk.words import KillLevel
from protocol.source_settings import SourceRules
from protocol.symbol_state import SymbolState, evolve
from protocol.tws.messages import ClientRequest
from protocol.values import Symbol

INSTANCE: Final = "c"
PERSON: Final = "chaos"
SOURCE: Final = SourceRules(name="chaos")
MAX_AGE_S: Final = 60.0
"""Of a prediction. A source that comes back asks again for those of so long ago."""
CLOCK_GLANCE_LOOP_S: Final = 0.05
SUPERVISORS: Final = ("trading", "symbols", "handlers")
SHARED: Final[dict[Victim, tuple[str, ...]]] = {
    Victim.BROKER: ("broker",), Victim.ROUTER: ("router",), Victim.TIMERS: ("timers",),
    Victim.PORTFOLIO: ("portfolio",), Victim.RISK: ("risk",), Victim.CUSTODIAN: ("custodian",),
    Victim.JOURNAL: ("journal",), Victim.EDGE: ("edge", "signals"), Victim.SUPERVISOR: SUPERVISORS,
}  # fmt: skip
"""The names in the tree of those whom a kill means; symbols are named after themselves."""


class Process:
    """Made anew for each life. `dial` opens a stream to the venue's door."""

    def __init__(
        self,
        plan: EpisodePlan,
        life: Life,
        journal: ShakyJournal,
        *,
        dial: Callable[[], trio.abc.Stream],
        on_sent: Callable[[ClientRequest, float | None], None],
        arrived: Callable[[Prediction], None],
        flaws: Flaws,
    ) -> None:
        self.life, self.journal, self.clock = life, journal, MarketClock()
        self._plan, self._dial_venue, self._on_sent, self._arrived = plan, dial, on_sent, arrived
        self._quoted_at: dict[Symbol, float] = {}
        self._replayed: dict[Symbol, tuple[SymbolState, int]] = {}
        """What the journal's rows give up to one of them: rows never change, and are read once."""
        self.system = TradingSystem(
            plan.settings, journal=journal, instance=INSTANCE, clock=self.clock, connect=self._dial,
            seed=plan.seed * 1000 + life.number, kills=plan.moments if life.number == 1 else (),
            mailbox=FlawedMailbox,
        )  # fmt: skip
        for symbol, mailbox in self.system.mailboxes.items():
            assert isinstance(mailbox, FlawedMailbox)
            mailbox.flaws, mailbox.symbol = flaws, symbol
        self.desk = SignalDesk(
            symbols=plan.symbols, journal=journal, deliver=self.system.take_signal, clock=self.clock,
            judged=self._judged,
        )  # fmt: skip
        self.system.edges.append(Edge(id="signals", start=self._bring_signals))
        self.links = 0

    async def _dial(self) -> Link:
        if not self.life.alive:
            raise LinkDown("the process is dead")
        self.links += 1
        settings = self._plan.settings.broker
        link = await StreamLink.open(
            self._dial_venue(), settings.client_id, settings.handshake_timeout_loop_s
        )
        return WatchedLink(link, self.life, self._on_sent, self._quoted_at)

    async def live(self) -> tuple[str, bool]:
        """From its start to its end: why it ended, and whether that was to be expected. What ends it
        otherwise is raised."""
        with self.life.scope:
            ended = await outcome.acapture(self.system.run)
            if isinstance(ended, outcome.Error):
                return self._post_mortem(ended.error)
        return self.life.why or "ended", not self.life.alive

    def _post_mortem(self, error: BaseException) -> tuple[str, bool]:
        leaves = tuple(_leaves(error))
        if not self.life.alive:
            return self.life.why, True
        for leaf in leaves:
            if not isinstance(leaf, trio.Cancelled | TreeGaveUp | JournalFailed):
                raise error
        told = next((leaf for leaf in leaves if not isinstance(leaf, trio.Cancelled)), error)
        causes = " <- ".join(_causes(told))
        expected = self.life.disk_failed or "BrokerRefused" in causes or "NoBroker" in causes
        return causes, expected

    # --- signals ----------------------------------------------------------------------------------

    def _judged(self) -> frozenset[str]:
        return frozenset(
            event.signal_id
            for symbol in self._plan.symbols
            for event in self.journal.read(stream_of(symbol))
            if isinstance(event, SignalVerdictEvent)
        )

    async def _bring_signals(self, _epoch: int, task_status: trio.TaskStatus[None]) -> None:
        """A source that polls: what it finds after an absence, it brings late, as long as it counts."""
        await self.desk.recover()
        task_status.started()
        while not self.clock.known:
            await trio.sleep(CLOCK_GLANCE_LOOP_S)
        self.desk.hand_on(SOURCE, max_age_s=MAX_AGE_S)
        for prediction in self._plan.predictions:
            if prediction.at_s < trio.current_time() - MAX_AGE_S:
                continue
            await trio.sleep_until(max(prediction.at_s, trio.current_time()))
            self._arrived(prediction)
            self.desk.take(orjson.loads(prediction.body), SOURCE, max_age_s=MAX_AGE_S)
        await trio.sleep_forever()

    # --- a person's word --------------------------------------------------------------------------

    def raise_level(self, level: KillLevel) -> None:
        self.system.risk.raise_level(level, who=PERSON, why="the episode says so")

    def lower_level(self) -> None:
        """As far as a person may: a level that a limit demands today stays."""
        for level in KillLevel:
            if level >= self.system.gate.standing.level:
                return
            with contextlib.suppress(ValueError):
                self.system.risk.lower_level(level, who=PERSON, why="the episode says so")
                return

    def resume(self, symbol: Symbol) -> None:
        self.system.lift_hold(symbol, PERSON, "the episode says so")

    # --- the tree, by names -----------------------------------------------------------------------

    def kill(self, victim: Victim, pick: float) -> str:
        """Kill one who is alive and meant; its name, or nothing when nobody is."""
        alive = tuple(self._alive(victim))
        if not alive:
            return ""
        supervisor, name = alive[int(pick * len(alive))]
        return name if supervisor.kill(name, "killed by the episode") else ""

    def _alive(self, victim: Victim) -> Iterator[tuple[Supervisor, str]]:
        names = SHARED.get(victim, ())
        for supervisor in supervisors_of(self.system):
            for child in supervisor.which_children():
                meant = child.id in names if names else child.id.startswith("symbol:")
                if meant and child.state in (ChildState.RUNNING, ChildState.STARTING):
                    yield supervisor, child.id

    # --- to be looked at --------------------------------------------------------------------------

    def replays_alike(self, symbol: Symbol) -> bool | None:
        """Whether the journal gives the state that the symbol has; None while it is down."""
        actor = self.system.symbols[symbol]
        if not (actor.ready and self.life.alive) or actor.mailbox.in_hand is not None:
            return None
        state, after = self._replayed.get(symbol, (SymbolState.begin(symbol), 0))
        for row in self.journal.rows(stream_of(symbol), after=after):
            state, after = evolve(state, row.event), row.seq
        self._replayed[symbol] = state, after
        return state == actor.state

    def unknown_orders(self) -> int:
        """Orders of which the broker's word is missing."""
        live = self.system.broker.session.orders.live()
        return sum(sent.suspect or sent.missing is not None for sent in live)

    def standings(self) -> tuple[SymbolStanding, ...]:
        down = {
            child.id.removeprefix("symbol:")
            for child in self.system.symbol_tree.which_children()
            if child.state is ChildState.QUARANTINED
        }
        now = self.clock.now()
        return tuple(
            SymbolStanding(
                symbol, actor.ready, symbol in down, actor.state.held, actor.state.position.quantity,
                actor.view.quote_age_s(now),
            )
            for symbol, actor in self.system.symbols.items()
        )  # fmt: skip


def supervisors_of(system: TradingSystem) -> Iterator[Supervisor]:
    """Every supervisor that the system keeps, from the root down; those that come later too."""
    known = [part for part in vars(system).values() if isinstance(part, Supervisor)]
    yield from sorted(known, key=lambda supervisor: supervisor.spec.name)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def _causes(error: BaseException | None) -> Iterable[str]:
    while error is not None:
        yield f"{type(error).__name__}: {error}"
        error = error.__cause__
