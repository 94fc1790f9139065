"""One run of the trading system, from the first task to the exit code."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import structlog
import trio

from actors.child import TreeGaveUp
from actors.flow_api import flow_app, serve_flow_api
from actors.history_cache import FILE as HISTORY_FILE
from actors.history_cache import HistoryCache
from actors.journal import Journal, JournalDamaged, JournalFailed, JournalInUse
from actors.kill_file import KILL
from actors.market_clock import MarketClock
from actors.overview import RunIdentity
from actors.run_alerts import attach_alerts
from actors.run_control import attach_control, control_hint
from actors.run_end import (
    CLEAN_EXIT,
    CRASH_EXIT,
    SECOND_INTERRUPT_EXIT,
    USAGE_EXIT,
    Ending,
    bound_stop,
    conclude,
    reason_of,
)
from actors.run_options import SIM_ACCOUNT, Plan, read_rules_again, state_folder
from actors.run_sources import judged, open_sources
from actors.simulated_tws import SimulatedTws
from actors.simulated_tws_books import StateError
from actors.sources import Sources
from actors.system import SYSTEM_STREAM, Edge, TradingSystem
from actors.terminal import RunStatus, SymbolStatus, Terminal
from actors.tws_link import Link
from actors.tws_thread import ThreadLink
from actors.watchdog import watch
from protocol.books import JournalBooks
from protocol.config import ConfigFaults, config_hash
from protocol.events import RunEvent, SignalVerdictEvent, Verdict
from protocol.exchange.venue_settings import AccountSettings, VenueSettings
from protocol.journal import UnreadableRow
from protocol.journal_checks import JournalChecks
from protocol.report import RunFacts, report, to_json
from protocol.reports import LinkState
from protocol.values import Symbol

STOP_LOOP_S = 5.0
"""How long a clean stop waits for working entries to be cancelled."""
SETTLE_LOOP_S = 30.0
"""How long the end of a replay waits for everything to be flat."""
AGREE_LOOP_S = 3.0
"""How long the last commissions may take until the two sides' books are compared for good."""
GLANCE_LOOP_S = 0.02
END_ROWS = 100
"""At its end a run saves the state of each symbol with so many new rows: fewer are soon replayed."""
SHOW_CURSOR = b"\x1b[?25h\n"
"""The live table hides it."""
VERSION = "0.1.0"
CASH = 1_000_000

log = structlog.get_logger("run")


def leave_alone(_: SimulatedTws) -> None:
    """An embedded simulator without faults."""


class Run:
    """Made from a plan, run once. `verdict` is the exit code."""

    def __init__(
        self,
        plan: Plan,
        prepare: Callable[[SimulatedTws], None] = leave_alone,
        *,
        prepare_system: Callable[[TradingSystem], None] | None = None,
    ) -> None:
        """`prepare` is given the embedded simulator before it runs: the place for faults of a test.

        `prepare_system` is given the trading system, with nothing started yet: the place for handlers.
        """
        self.plan = plan
        self._prepare, self._prepare_system = prepare, prepare_system
        self.ending = Ending()
        self._signalled = trio.Event()
        """A signal has asked for the end."""
        self.sim: SimulatedTws | None = None
        self.system: TradingSystem | None = None
        self.clock = MarketClock(plan.speed)
        self.complaints: tuple[str, ...] = ()
        """What a person has to know of a run that did not end well, or not as asked: one line each."""
        self.sources: Sources | None = None
        self._temporary: Path | None = None
        self._history: HistoryCache | None = None
        self._began: datetime | None = None
        self._compared = False
        self._faults: tuple[str, ...] = ()
        self._terminal: Terminal | None = None
        self._checks = JournalChecks()

    async def run(self) -> int:
        """Raises `StateError`, `JournalInUse` or `JournalDamaged` before anything has started."""
        async with trio.open_nursery() as nursery:
            # First of all, so that a Ctrl-C during the start is an orderly stop, too.
            await nursery.start(self._listen_to_signals)
            nursery.start_soon(bound_stop, self._signalled, self._leave_at_once)
            try:
                folder = state_folder(self.plan)
                if folder is None:
                    folder = self._temporary = Path(tempfile.mkdtemp(prefix="ringfence-"))
                code = await self._in_folder(folder)
            except (
                StateError, JournalInUse, JournalDamaged, JournalFailed, UnreadableRow, ConfigFaults
            ) as unusable:  # fmt: skip
                code, self.complaints = USAGE_EXIT, (str(unusable),)
            finally:
                self._remove_temporary()
            nursery.cancel_scope.cancel()
        return code

    async def _in_folder(self, folder: Path) -> int:
        journal = Journal.open(folder)
        if self._temporary is None:
            self._history = HistoryCache(folder / HISTORY_FILE, self._market_name())
        try:
            self._open_simulator(folder)
            return await self._with_journal(journal, folder)
        finally:
            journal.close()
            if self._history is not None:
                self._history.close()

    def _market_name(self) -> str:
        """Of which market the kept history is: bars of one must not warm up indicators in another."""
        plan = self.plan
        if plan.embedded:
            return f"simulated: {plan.options.market or 'synthetic'}, seed {plan.options.seed}"
        return f"TWS {plan.settings.broker.host}:{plan.settings.broker.port}"

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    async def _with_journal(self, journal: Journal, folder: Path) -> int:
        async with trio.open_nursery() as host:
            connect = await self._open_broker(host)
            self.system = system = self._system(journal, connect, folder)
            if self._prepare_system is not None:
                self._prepare_system(system)
            self._terminal = terminal = self._show(system, journal)
            alerts = attach_alerts(self.plan, system, journal)
            await self._add_edges(host, system, terminal, journal)
            attach_control(self._identity(folder), system, journal, sources=self.sources, end=self.ending.ask)
            try:
                await self._trade(system, journal)
                self._note(journal, "stopped", self.ending.reason)
                if self._temporary is None:
                    await system.save_states(least_rows=END_ROWS)
            except* JournalFailed as failed:
                # Without a journal nothing may be traded; what it holds can still be told.
                self.ending.fail(f"{_first(failed)}; protective stops stand at the broker")
            books, facts = self._conclude(system, terminal)
            host.cancel_scope.cancel()
        return await alerts.finish(await self._tell(terminal, books, facts), self.ending.reason)

    # --- what there is ----------------------------------------------------------------------------

    def _open_simulator(self, folder: Path) -> None:
        """Make the embedded simulated TWS, if it is to be one; its books live under the state folder."""
        plan = self.plan
        if plan.market is None:
            return
        account = plan.settings.broker.account or SIM_ACCOUNT
        self.sim = SimulatedTws(
            plan.market,
            VenueSettings(accounts=(AccountSettings(account, Decimal(CASH)),)),
            speed=plan.speed,
            seed=plan.options.seed,
            state_dir=folder / "simulator" if self._temporary is None else None,
        )
        self._prepare(self.sim)
        # What is written before the broker has said the time belongs to the market's own beginning.
        self.clock = MarketClock(plan.speed, self.sim.market_now())

    async def _open_broker(self, host: trio.Nursery) -> Callable[[], Awaitable[Link]]:
        """Start the embedded simulated TWS, if there is one; how to connect to the broker."""
        settings = self.plan.settings.broker
        where, port = settings.host, settings.port
        if self.sim is not None:
            await host.start(self.sim.run)
            where, port = "127.0.0.1", await self.sim.listen("127.0.0.1", 0)

        async def connect() -> Link:
            return await ThreadLink.open(
                where, port, settings.client_id, handshake_loop_s=settings.handshake_timeout_loop_s
            )

        return connect

    def _system(
        self, journal: Journal, connect: Callable[[], Awaitable[Link]], folder: Path
    ) -> TradingSystem:
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
            history=self._history,
            folder=folder,
        )

    def _show(self, system: TradingSystem, journal: Journal) -> Terminal:
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

        terminal = Terminal(
            tuple(system.symbols),
            status,
            zone=self.plan.settings.schedule.zone,
            control=control_hint(self.plan),
        )
        for row in journal.rows():
            terminal.recall(row.stream, (row.event,))
            self._checks.add(row.stream, row.event)
        journal.follow(terminal.follow)
        journal.follow(self._checks.follow)
        return terminal

    async def _add_edges(
        self, host: trio.Nursery, system: TradingSystem, terminal: Terminal, journal: Journal
    ) -> None:
        plan, url = self.plan, ""
        if plan.service is not None:
            now = self.clock.now
            app = flow_app(plan.service, api_key=plan.service_key, now=now)
            url = await host.start(partial(serve_flow_api, app))
        self.sources = open_sources(plan, system, journal, self.clock, embedded_url=url)
        system.edges.append(Edge(id="terminal", start=terminal.run))

    def _identity(self, folder: Path) -> RunIdentity:
        return RunIdentity(
            state=folder,
            temporary=self._temporary is not None,
            mode=self.plan.settings.broker.mode.value if self.sim is None else "simulation",
            version=VERSION,
            configuration=config_hash(self.plan.settings),
            began=lambda: self._began,
            now=self._now,
        )

    def _note_start(self, journal: Journal) -> None:
        """The run itself, and the lines of the signal file that nobody could ever serve."""
        at = self._began = self._now()
        self._note(journal, "started", f"{VERSION} {config_hash(self.plan.settings)}")
        known = judged(journal) if self.plan.signal_faults else frozenset()
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

    def _note(self, journal: Journal, what: str, detail: str) -> None:
        journal.append(SYSTEM_STREAM, [RunEvent(at=self._now(), what=what, detail=detail)])

    def _now(self) -> datetime:
        if self.clock.known:
            return self.clock.now()
        return datetime.now(UTC) if self.sim is None else self.sim.market_now()

    # --- the run ----------------------------------------------------------------------------------

    async def _trade(self, system: TradingSystem, journal: Journal) -> None:
        """Run the tree until something ends the run; then stop it in order."""
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_loop, journal)
            if self.sim is not None:
                self._note_start(journal)
            else:
                nursery.start_soon(self._note_start_in_time, system, journal)
            nursery.start_soon(self._keep_tree, system)
            nursery.start_soon(self._wait_for_end, system)
            await self.ending.asked.wait()
            if self.ending.code == CLEAN_EXIT:
                self._note(journal, "stopping", self.ending.reason)
                await self._stop_in_order(system)
            nursery.cancel_scope.cancel()
        if self._began is None:
            self._note_start(journal)

    async def _note_start_in_time(self, system: TradingSystem, journal: Journal) -> None:
        """A TWS that is not ours may live in another year: the run begins when it has said the time."""
        await system.broker.has_session.wait()
        self._note_start(journal)

    async def _keep_tree(self, system: TradingSystem) -> None:
        try:
            await system.run()
        except TreeGaveUp as gave_up:
            self.ending.ask(*reason_of(gave_up))

    async def _listen_to_signals(self, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGHUP:
                    self._reload_rules()
                    continue
                if self._signalled.is_set() or (self.ending.asked.is_set() and number == signal.SIGINT):
                    self._leave_at_once(SECOND_INTERRUPT_EXIT)
                self._signalled.set()
                self.ending.ask(f"stopped by {signal.Signals(number).name}")

    def _reload_rules(self) -> None:
        """SIGHUP: read the configuration again and trade by its rules, all of them or none."""
        system = self.system
        if system is None:
            return
        try:
            rules = read_rules_again(self.plan)
        except ConfigFaults as faults:
            # An alarm is shown at once and kept: each fault with its place.
            system.alarm("RULES_REFUSED", "the rules stay as they are: " + "; ".join(faults.faults))
            return
        system.use_rules(rules)
        structlog.get_logger().info("rules read again", rules=[rule.name for rule in rules])

    def _leave_at_once(self, code: int) -> None:
        """After a second signal, or a stop that takes too long: nothing is waited for, or left behind."""
        self._remove_temporary()
        if self._terminal is not None and self._terminal.live:
            os.write(sys.stdout.fileno(), SHOW_CURSOR)
        os._exit(code)

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
        unseen = () if self.sources is None else await self.sources.drain()
        if unseen:
            log.warning("tickers could not be polled a last time", tickers=unseen)
        with trio.move_on_after(SETTLE_LOOP_S):
            while not (system.at_rest and self._agree(system)):
                await trio.sleep(GLANCE_LOOP_S)

    async def _stop_in_order(self, system: TradingSystem) -> None:
        """No new entries, working ones cancelled, stops left in place; then the books may come to agree."""
        system.stop_entries()
        with trio.move_on_after(STOP_LOOP_S):
            while system.entering:
                await trio.sleep(GLANCE_LOOP_S)
        looks = {symbol: actor.snapshots for symbol, actor in system.symbols.items()}
        if self.sim is None:
            if system.broker.state is not LinkState.UP:
                return  # Nobody to compare with.
            for actor in system.symbols.values():
                actor.ask_books()
        with trio.move_on_after(AGREE_LOOP_S):
            while not self._agree(system, looks):
                await trio.sleep(GLANCE_LOOP_S)
            self._compared = True

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

    def _conclude(self, system: TradingSystem, terminal: Terminal) -> tuple[JournalBooks, RunFacts]:
        """Hold the journal against the broker, and decide how the run ended.

        Both were counted as the journal grew: a stop has no time to read a long one.
        """
        concluded = conclude(
            system, terminal.books(), self._checks, self.sim, self.ending,
            until_end=self.plan.options.until_end, compared=self._compared, began=self._began,
            ended=self._now(),
        )  # fmt: skip
        self._faults, self.complaints = concluded.faults, concluded.complaints
        return concluded.books, concluded.facts

    async def _tell(self, terminal: Terminal, books: JournalBooks, facts: RunFacts) -> int:
        await self._write_report(books, facts)
        await terminal.finish(
            exit_reason=self.ending.reason, faults=self._faults, next_command=self._next_command()
        )
        return self.ending.code

    async def _write_report(self, books: JournalBooks, facts: RunFacts) -> None:
        path = self.plan.options.report
        if path is None:
            return
        try:
            await trio.to_thread.run_sync(path.write_bytes, to_json(report(books, facts)))
        except OSError as error:
            self.complaints = (*self.complaints, f"--report: {path}: {error.strerror}")
            self.ending.code = self.ending.code or CRASH_EXIT

    def _next_command(self) -> str:
        options = self.plan.options
        if options.market is None and self.plan.embedded:
            return "scripts/run --market DIR --until-end --report report.json   (a folder of recorded days)"
        if options.report is None:
            return "the same with --report report.json for the whole account of the run"
        return f"read {options.report}, or try --kill SYMBOL@entry-filled"


async def watch_loop(journal: Journal, *, task_status: trio.TaskStatus[None]) -> None:
    await watch(kill_file=journal.path and journal.path.parent / KILL, task_status=task_status)


def _first(group: BaseExceptionGroup[JournalFailed]) -> BaseException:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
