"""One run of the trading system, from the first task to the exit code."""

from __future__ import annotations

import math
import os
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random

import attrs
import structlog
import trio

from actors.broker import BrokerRefused, NoBroker
from actors.child import TreeGaveUp
from actors.flow_api import flow_app, serve_flow_api
from actors.journal import Journal
from actors.market_clock import MarketClock
from actors.run_facts import gather_facts
from actors.run_options import SIM_ACCOUNT, Plan
from actors.signals import HttpSignalSource
from actors.simulated_tws import SimulatedTws
from actors.system import SYSTEM_STREAM, Edge, TradingSystem
from actors.terminal import RunStatus, SymbolStatus, Terminal
from actors.tws_link import Link
from actors.tws_thread import ThreadLink
from actors.watchdog import watch
from protocol.books import JournalBooks, fold
from protocol.config import config_hash
from protocol.events import RunEvent, SignalVerdictEvent, Verdict
from protocol.exchange.venue_settings import AccountSettings, VenueSettings
from protocol.journal_checks import check_journal
from protocol.report import RunFacts, disagreements, report, to_json
from protocol.values import Symbol

CLEAN_EXIT, CRASH_EXIT, USAGE_EXIT, NO_BROKER_EXIT, GAVE_UP_EXIT = 0, 1, 2, 3, 70
SECOND_INTERRUPT_EXIT = 130
STOP_LOOP_S = 5.0
"""How long a clean stop waits for working entries to be cancelled."""
SETTLE_LOOP_S = 30.0
"""How long the end of a replay waits for everything to be flat."""
AGREE_LOOP_S = 3.0
"""How long the last commissions may take until the two sides' books are compared for good."""
GLANCE_LOOP_S = 0.02
VERSION = "0.1.0"
CASH = 1_000_000

log = structlog.get_logger("run")


@attrs.define
class Ending:
    """Why the run ends. The first cause counts."""

    reason: str = ""
    code: int = CLEAN_EXIT
    asked: trio.Event = attrs.field(factory=trio.Event)

    def ask(self, reason: str, code: int = CLEAN_EXIT) -> None:
        if not self.reason:
            self.reason, self.code = reason, code
        self.asked.set()


class Run:
    """Made from a plan, run once. `verdict` is the exit code."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ending = Ending()
        self.sim: SimulatedTws | None = None
        self.clock = MarketClock(plan.speed)
        self._sources: list[HttpSignalSource] = []
        self._temporary: Path | None = None
        self._faults: tuple[str, ...] = ()

    async def run(self) -> int:
        folder = self._state_folder()
        journal = Journal.open(folder)
        try:
            return await self._with_journal(journal, folder)
        finally:
            journal.close()
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def _state_folder(self) -> Path:
        options = self.plan.options
        if options.state is not None:
            return options.state
        if self.plan.settings.journal_path:
            return Path(self.plan.settings.journal_path)
        if self.plan.embedded:
            self._temporary = Path(tempfile.mkdtemp(prefix="ringfence-"))
            return self._temporary
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        place = options.tws.replace(":", "-") or "tws"
        return home / "ringfence" / f"{place}-{self.plan.settings.broker.client_id}"

    async def _with_journal(self, journal: Journal, folder: Path) -> int:
        async with trio.open_nursery() as host:
            connect = await self._open_broker(host, folder)
            system = self._system(journal, connect)
            terminal = self._terminal(system, journal)
            await self._add_edges(host, system, terminal, journal)
            self._note_start(journal)
            await self._trade(system)
            self._note_end(journal)
            books, facts = self._conclude(system, journal)
            host.cancel_scope.cancel()
        return await self._tell(terminal, books, facts)

    # --- what there is ----------------------------------------------------------------------------

    async def _open_broker(self, host: trio.Nursery, folder: Path) -> Callable[[], Awaitable[Link]]:
        """Start the embedded simulated TWS, if it is to be one; how to connect to the broker."""
        plan, settings = self.plan, self.plan.settings.broker
        where, port = settings.host, settings.port
        if plan.market is not None:
            account = settings.account or SIM_ACCOUNT
            venue = VenueSettings(accounts=(AccountSettings(account, Decimal(CASH)),))
            persistent = self._temporary is None
            self.sim = SimulatedTws(
                plan.market,
                venue,
                speed=plan.speed,
                seed=plan.options.seed,
                state_dir=folder / "simulator" if persistent else None,
            )
            await host.start(self.sim.run)
            where, port = "127.0.0.1", await self.sim.listen("127.0.0.1", 0)

        async def connect() -> Link:
            return await ThreadLink.open(
                where, port, settings.client_id, handshake_loop_s=settings.handshake_timeout_loop_s
            )

        return connect

    def _system(self, journal: Journal, connect: Callable[[], Awaitable[Link]]) -> TradingSystem:
        instance = journal.get_meta("instance")
        if instance is None:
            # Names this journal in every order, for ever: no other one may ever draw the same.
            instance = f"r{os.urandom(4).hex()}"
            journal.set_meta("instance", instance)
        return TradingSystem(
            self.plan.settings,
            journal=journal,
            instance=instance,
            clock=self.clock,
            connect=connect,
            seed=self.plan.options.seed,
            kills=self.plan.kills,
        )

    def _terminal(self, system: TradingSystem, journal: Journal) -> Terminal:
        sim = self.sim

        def status() -> RunStatus:
            return RunStatus(
                symbols=tuple(
                    SymbolStatus(symbol, actor.view.last, "" if actor.ready else "reconciling")
                    for symbol, actor in system.symbols.items()
                ),
                market_now=self.clock.now() if self.clock.known else None,
                speed=self.plan.speed,
                link=system.broker.state,
                market_from=None if sim is None or sim.market_end is None else sim.market_start,
                market_to=None if sim is None else sim.market_end,
            )

        terminal = Terminal(tuple(system.symbols), status, zone=self.plan.settings.schedule.zone)
        for row in journal.rows():
            terminal.recall(row.stream, (row.event,))
        journal.follow(terminal.follow)
        return terminal

    async def _add_edges(
        self, host: trio.Nursery, system: TradingSystem, terminal: Terminal, journal: Journal
    ) -> None:
        plan, url = self.plan, ""
        if plan.service is not None:
            now = self.clock.now
            app = flow_app(plan.service, api_key=plan.service_key, now=now)
            url = await host.start(partial(serve_flow_api, app))
        others = () if plan.service is None else set(plan.service.tickers) - set(system.symbols)
        for source, key in plan.sources:
            made = HttpSignalSource(
                source if source.url else attrs.evolve(source, url=url),
                key,
                system.symbols,
                journal=journal,
                deliver=system.take_signal,
                clock=self.clock,
                judged=partial(_judged, journal),
                also_polled=() if source.url else sorted(others),
                random=Random(f"{plan.options.seed}:{source.name}"),
            )
            self._sources.append(made)
            system.edges.append(Edge(id=f"signals:{source.name}", start=made.run))
        system.edges.append(Edge(id="terminal", start=terminal.run))

    def _note_start(self, journal: Journal) -> None:
        """The run itself, and the lines of the signal file that nobody could ever serve."""
        at = self._now()
        digest = config_hash(self.plan.settings)
        journal.append(SYSTEM_STREAM, [RunEvent(at=at, what="started", detail=f"{VERSION} {digest}")])
        known = _judged(journal)
        for fault in self.plan.signal_faults:
            place = ":".join(fault.split(":", 2)[:2])
            if place not in known:
                verdict = SignalVerdictEvent(
                    at=at,
                    signal_id=place,
                    symbol="",
                    verdict=Verdict.REFUSED,
                    code="malformed",
                    reason=fault,
                )
                journal.append("signals", [verdict])

    def _note_end(self, journal: Journal) -> None:
        journal.append(SYSTEM_STREAM, [RunEvent(at=self._now(), what="stopped", detail=self.ending.reason)])

    def _now(self) -> datetime:
        if self.clock.known:
            return self.clock.now()
        return datetime.now(UTC) if self.sim is None else self.sim.market_now()

    # --- the run ----------------------------------------------------------------------------------

    async def _trade(self, system: TradingSystem) -> None:
        """Run the tree until something ends the run; then stop it in order."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._listen_to_signals)
            await nursery.start(watch_loop)
            nursery.start_soon(self._keep_tree, system)
            nursery.start_soon(self._wait_for_end, system)
            await self.ending.asked.wait()
            if self.ending.code == CLEAN_EXIT:
                await self._stop_in_order(system)
            nursery.cancel_scope.cancel()

    async def _keep_tree(self, system: TradingSystem) -> None:
        try:
            await system.run()
        except TreeGaveUp as gave_up:
            self.ending.ask(*_reason_of(gave_up))

    async def _listen_to_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for number in signals:
                if self.ending.asked.is_set() and number == signal.SIGINT:
                    os._exit(SECOND_INTERRUPT_EXIT)
                self.ending.ask(f"stopped by {signal.Signals(number).name}")

    async def _wait_for_end(self, system: TradingSystem) -> None:
        options = self.plan.options
        with trio.move_on_after(options.duration_s or math.inf):
            if self.sim is not None and options.until_end:
                await self.sim.ended.wait()
                await self._settle(system)
                self.ending.ask("end of replay")
            await trio.sleep_forever()
        self.ending.ask(f"{options.duration_s:g} s are over")

    async def _settle(self, system: TradingSystem) -> None:
        """After the last tick: every prediction seen, every position flat, every cent booked."""
        for source in self._sources:
            unseen = await source.drain()
            if unseen:
                log.warning("tickers could not be polled a last time", tickers=unseen)
        with trio.move_on_after(SETTLE_LOOP_S):
            while not (system.at_rest and self._agree(system)):
                await trio.sleep(GLANCE_LOOP_S)

    async def _stop_in_order(self, system: TradingSystem) -> None:
        """No new entries, working ones cancelled, stops left in place; then the books get a moment to agree."""
        system.stop_entries()
        with trio.move_on_after(STOP_LOOP_S):
            while system.entering:
                await trio.sleep(GLANCE_LOOP_S)
        looks = {symbol: actor.snapshots for symbol, actor in system.symbols.items()}
        if self.sim is None:
            for actor in system.symbols.values():
                actor.ask_books()
        with trio.move_on_after(AGREE_LOOP_S):
            while not self._agree(system, looks):
                await trio.sleep(GLANCE_LOOP_S)

    def _agree(self, system: TradingSystem, looks: dict[Symbol, int] | None = None) -> bool:
        """Whether positions, executions and money are the same on both sides right now."""
        if self.sim is None:
            return all(actor.snapshots > (looks or {}).get(s, 0) for s, actor in system.symbols.items())
        theirs = self.sim.books()
        for symbol, actor in system.symbols.items():
            ours, other = actor.state.position, theirs.get(symbol)
            if other is None:
                continue
            if (ours.quantity, len(ours.executions)) != (other.position, other.executions):
                return False
            if ours.commission != other.commission:
                return False
        return True

    # --- the end ------------------------------------------------------------------------------------

    def _conclude(self, system: TradingSystem, journal: Journal) -> tuple[JournalBooks, RunFacts]:
        """Fold the journal, hold it against the broker, and decide how the run ended."""
        rows = [(row.stream, row.event) for row in journal.rows()]
        books = fold(tuple(system.symbols), rows)
        checks = check_journal(rows, ended=self.plan.options.until_end)
        sim = self.sim
        facts = gather_facts(
            system,
            sim,
            exit_reason=self.ending.reason,
            began=books.first_at if sim is None else sim.market_start,
            checks=checks,
        )
        faults = [] if facts.broker is None else list(disagreements(books, facts.broker))
        faults += [f"{found.invariant}: {found.what}" for found in facts.invariants.violations]
        if self.plan.options.until_end and self.ending.code == CLEAN_EXIT and not system.at_rest:
            open_ones = [s for s, actor in system.symbols.items() if not actor.at_rest]
            faults.append(f"the replay has ended and {', '.join(open_ones)} did not come to rest")
        self._faults = tuple(faults)
        if faults and self.ending.code == CLEAN_EXIT:
            self.ending.code = CRASH_EXIT
        return books, facts

    async def _tell(self, terminal: Terminal, books: JournalBooks, facts: RunFacts) -> int:
        options = self.plan.options
        if options.report is not None:
            await trio.to_thread.run_sync(options.report.write_bytes, to_json(report(books, facts)))
        await terminal.finish(
            exit_reason=self.ending.reason, faults=self._faults, next_command=self._next_command()
        )
        return self.ending.code

    def _next_command(self) -> str:
        options = self.plan.options
        if options.market is None and self.plan.embedded:
            return "scripts/run --market DIR --until-end --report report.json   (a folder of recorded days)"
        if options.report is None:
            return "the same with --report report.json for the whole account of the run"
        return f"read {options.report}, or try --kill SYMBOL@entry-filled"


async def watch_loop(task_status: trio.TaskStatus[None]) -> None:
    await watch(task_status=task_status)


def _judged(journal: Journal) -> frozenset[str]:
    """The ids of all signals that have their verdict."""
    return frozenset(event.signal_id for event in journal.read() if isinstance(event, SignalVerdictEvent))


def _reason_of(gave_up: BaseException) -> tuple[str, int]:
    """What ended the tree: a broker that is not there or not the right one, or actors that cannot live."""
    cause: BaseException | None = gave_up
    while cause is not None:
        if isinstance(cause, NoBroker):
            return str(cause), NO_BROKER_EXIT
        if isinstance(cause, BrokerRefused):
            return str(cause), USAGE_EXIT
        cause = cause.__cause__
    return f"the supervision tree gave up: {gave_up}", GAVE_UP_EXIT
