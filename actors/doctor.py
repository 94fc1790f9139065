"""The examination of everything between Ringfence and a trade: what is asked, in which order.

Each step makes its findings and says beforehand what it waits for. What needs the step before it is
skipped when that failed; what does not is asked all the same, so that one call shows all there is.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs

from actors.config_files import load_settings
from actors.doctor_machine import (
    examine_disk,
    examine_secrets,
    examine_state,
    holder,
    look_at_machine,
    look_at_port,
    open_usual_ports,
)
from actors.doctor_order import OrderTrial
from actors.doctor_session import Questions, SymbolFound, told_order_id
from actors.doctor_sources import examine_source
from actors.run_options import own_state_folder
from actors.tws_codec import CLIENT_MAX
from actors.tws_desk import BUSY_CODE, ClientIdBusy, TwsDesk
from actors.tws_link import LinkDown, NoHandshake, NotTws
from protocol.config import ConfigFaults
from protocol.doctor import (
    OF_THE_SESSION,
    Asked,
    Check,
    Finding,
    Outcome,
    fail,
    in_order,
    not_asked,
    ok,
    skip,
    warn,
)
from protocol.doctor_advice import CLOSED_AT_ONCE, NOT_TWS, NOTHING_LISTENS, SILENT, advice_for
from protocol.doctor_machine import Machine, judge_machine, others_listening
from protocol.doctor_session import judge_account, judge_version
from protocol.settings import Mode, Settings
from protocol.values import Symbol

EXAMPLES = tuple(map(Symbol, ("SPY", "AAPL")))
"""What is asked about when neither options nor files name a symbol."""
SPARE_IDS = 1000
"""Added to a client id that is in use, for the questions only: orders keep their own id."""


@attrs.frozen(kw_only=True)
class DoctorOptions:
    """The options of `scripts/doctor.py`. `timeout_loop_s`: for each answer."""

    config: tuple[Path, ...] = ()
    tws: tuple[str, int] | None = None
    client_id: int | None = None
    symbols: tuple[Symbol, ...] = ()
    place_order: bool = False
    live: bool = False
    state: Path | None = None
    timeout_loop_s: float = 10.0

    def overrides(self) -> dict[str, object]:
        broker: dict[str, object] = {}
        if self.tws is not None:
            broker |= {"host": self.tws[0], "port": self.tws[1]}
        if self.client_id is not None:
            broker["client_id"] = self.client_id
        return {"broker": broker} if broker else {}

    def repeated(self, symbols: tuple[Symbol, ...]) -> tuple[str, ...]:
        """Those that a run takes, too, as they have to be typed again; `symbols` that it has to be told."""
        typed = [word for file in self.config for word in ("--config", str(file))]
        typed += [] if self.tws is None else ["--tws", f"{self.tws[0]}:{self.tws[1]}"]
        typed += [] if self.client_id is None else ["--client-id", str(self.client_id)]
        typed += ["--symbols", ",".join(symbols)] if symbols else []
        typed += [] if self.state is None else ["--state", str(self.state)]
        return tuple(map(shlex.quote, typed))


class Examination:
    """`say` hears what is being waited for; `look` finds out what kind of machine this is."""

    def __init__(
        self,
        options: DoctorOptions,
        say: Callable[[str], None],
        look: Callable[[], Awaitable[Machine]] = look_at_machine,
    ) -> None:
        self.options = options
        self.settings: Settings | None = None
        self._say, self._look = say, look
        self._found: list[Finding] = []
        self._example = False

    @property
    def findings(self) -> tuple[Finding, ...]:
        return in_order(self._found)

    @property
    def asked(self) -> Asked:
        """What the next command has to repeat."""
        paper = self.settings is None or self.settings.broker.mode is Mode.PAPER
        symbols = EXAMPLES if self._example else self.options.symbols
        return Asked(
            options=self.options.repeated(symbols), place_order=self.options.place_order, paper=paper
        )

    async def run(self) -> None:
        """Ask everything; `findings` are complete afterwards."""
        self._say("reading the configuration")
        self.settings = self._configuration()
        if self.settings is None:
            why = "the configuration has to be right first"
            self._found += not_asked(self._found, self._all(), why)
            return
        self._found += examine_secrets(self.settings)
        folder = self._folder(self.settings)
        self._found += [examine_state(folder), examine_disk(folder)]
        if await self._reachable():
            await self._session()
        self._found += not_asked(
            self._found, (Check.HANDSHAKE, *OF_THE_SESSION), "there is no session to ask in"
        )
        await self._sources()

    def interrupted(self) -> None:
        """The examination was ended from outside."""
        self._found.append(
            fail(Check.EXAMINATION, "interrupted: what follows was not asked", "start it again")
        )

    def _all(self) -> tuple[Check, ...]:
        return tuple(check for check in Check if check is not Check.EXAMINATION)

    # --- before the session -------------------------------------------------------------------------

    def _configuration(self) -> Settings | None:
        options = self.options
        try:
            settings = load_settings(
                options.config,
                options=options.overrides(),
                offered=options.symbols or EXAMPLES,
                only=options.symbols,
                live=options.live,
            )
        except ConfigFaults as faults:
            self._found += [fail(Check.CONFIGURATION, fault) for fault in faults.faults]
            return None
        names = tuple(entry.symbol for entry in settings.symbols)
        self._example = not options.symbols and names == EXAMPLES
        files = ", ".join(map(str, options.config)) or "the default one"
        mode = settings.broker.mode.value
        what = f"{files}: {mode}, {_count(len(names), 'symbol')}, {_count(len(settings.rules), 'rule')}"
        self._found.append(ok(Check.CONFIGURATION, what))
        return settings

    def _folder(self, settings: Settings) -> Path:
        if self.options.state is not None:
            return self.options.state
        return Path(settings.journal_path) if settings.journal_path else own_state_folder(settings.broker)

    async def _reachable(self) -> bool:
        assert self.settings is not None
        host, port = self.settings.broker.host, self.settings.broker.port
        self._say(f"looking whether something listens at {host}:{port}")
        machine = await self._look()
        seen = await look_at_port(host, port, self.options.timeout_loop_s)
        self._found.append(judge_machine(machine, host, port, port_open=seen.open))
        where = f"{host}:{port}"
        self._say("looking for other TWS on this machine")
        others = others_listening(await open_usual_ports(host, {port}), host)
        if seen.open:
            others_text = (
                f"; also there: {'; '.join(each.partition(';')[0] for each in others)}" if others else ""
            )
            self._found.append(ok(Check.PORT, f"something listens{others_text}", where))
            return True
        self._found.append(
            fail(
                Check.PORT,
                seen.problem,
                *others,
                *await self._outside(machine),
                *NOTHING_LISTENS,
                subject=where,
            )
        )
        return False

    async def _outside(self, machine: Machine) -> tuple[str, ...]:
        """What listens on the machine around this one, if there is such a one."""
        assert self.settings is not None
        broker = self.settings.broker
        outside = machine.host_address
        if not outside or outside == broker.host:
            return ()
        self._say(f"looking for TWS at {outside}")
        return others_listening(await open_usual_ports(outside), outside)

    # --- the session --------------------------------------------------------------------------------

    async def _session(self) -> None:
        assert self.settings is not None
        broker, within = self.settings.broker, self.options.timeout_loop_s
        where = f"{broker.host}:{broker.port}"
        self._say(f"shaking hands with {where}")
        try:
            desk, busy = await self._open(broker.client_id)
        except NoHandshake as problem:
            self._found.append(fail(Check.HANDSHAKE, str(problem), *SILENT, subject=where))
            return
        except NotTws as problem:
            self._found.append(fail(Check.HANDSHAKE, str(problem), *NOT_TWS, subject=where))
            return
        except LinkDown as problem:
            self._found.append(fail(Check.HANDSHAKE, str(problem), *CLOSED_AT_ONCE, subject=where))
            return
        self._found.append(judge_version(desk.link.server_version, CLIENT_MAX))
        try:
            async with desk:
                await self._ask(Questions(desk, within), busy=busy)
        except LinkDown as problem:
            self._found.append(
                fail(
                    Check.HANDSHAKE,
                    f"the session ended in the middle: {problem}",
                    *CLOSED_AT_ONCE,
                    subject=where,
                )
            )

    async def _open(self, client_id: int) -> tuple[TwsDesk, bool]:
        """A session under our id, or beside it when somebody else has it. Raises `LinkDown`."""
        assert self.settings is not None
        broker, within = self.settings.broker, self.options.timeout_loop_s
        try:
            desk = await TwsDesk.open(broker.host, broker.port, client_id, timeout_loop_s=within)
        except ClientIdBusy:
            text = f"{client_id} is in use (326); the rest is asked as {client_id + SPARE_IDS}"
            self._found.append(fail(Check.CLIENT_ID, text, *advice_for(BUSY_CODE)))
            spare = await TwsDesk.open(broker.host, broker.port, client_id + SPARE_IDS, timeout_loop_s=within)
            return spare, True
        zero = "; 0 also binds what persons order in TWS: another id is better" if client_id == 0 else ""
        self._found.append((warn if zero else ok)(Check.CLIENT_ID, f"{client_id} is free{zero}"))
        return desk, False

    async def _ask(self, questions: Questions, *, busy: bool) -> None:
        assert self.settings is not None
        finding, account = judge_account(self.settings.broker, questions.desk.accounts)
        self._found += [finding, told_order_id(questions.desk)]
        self._say("asking TWS for its time")
        self._found.append(await questions.clock())
        if not account:
            self._found += not_asked(self._found, OF_THE_SESSION, "not asked of an account that is not meant")
            return
        self._say("asking for orders, positions and money")
        self._found += await questions.books(account)
        self._found.append(await questions.money(account))
        found = [await self._symbol(questions, entry.symbol) for entry in self.settings.symbols]
        self._say("asking for historical data")
        self._found.append(await questions.history(found[0]))
        self._found += await self._order(questions, found, account, busy=busy)
        # Last, since the farms are told one by one after the session has begun.
        self._found.append(questions.upstream())

    async def _symbol(self, questions: Questions, symbol: Symbol) -> SymbolFound:
        self._say(f"asking who {symbol} is, and for its quote")
        finding, found = await questions.contract(symbol, example=self._example)
        self._found.append(finding)
        self._found.append(await questions.market_data(found))
        return found

    async def _order(
        self, questions: Questions, found: list[SymbolFound], account: str, *, busy: bool
    ) -> tuple[Finding, ...]:
        assert self.settings is not None
        why = ""
        if not self.options.place_order:
            why = "not asked for: --place-order (a paper account only)"
        elif self.settings.broker.mode is not Mode.PAPER or not account.startswith(("DU", "DF")):
            why = "never on an account that is not a paper one"
        elif holder(self._folder(self.settings)) is not None:
            why = "a run is trading: an order of another program would put its symbol on hold"
        elif busy:
            why = "orders are tried under their own client id only"
        elif any(
            finding.check is Check.API_SETTINGS and finding.outcome is Outcome.FAIL for finding in self._found
        ):
            why = "TWS takes no orders"
        if why:
            return (skip(Check.ORDER_PATH, why),)
        target = next((each for each in found if each.contract is not None and each.price), found[0])
        self._say(f"placing an order for 1 {target.symbol}, far from the market, and cancelling it")
        trial = OrderTrial(questions, target, account)
        try:
            return await trial.run()
        except LinkDown:
            text = f"the session ended meanwhile: the order {trial.ref} may still work"
            self._found.append(
                fail(Check.ORDER_PATH, text, "look in TWS and cancel it", subject=target.symbol)
            )
            raise

    # --- signals --------------------------------------------------------------------------------------

    async def _sources(self) -> None:
        assert self.settings is not None
        missing = {
            finding.subject
            for finding in self._found
            if finding.check is Check.SECRETS and finding.outcome is Outcome.FAIL
        }
        for source in self.settings.sources:
            if f"signals.{source.name}" in missing:
                self._found.append(skip(Check.SIGNALS, "its secret is missing", source.name))
                continue
            self._say(f"asking the signal source {source.name}")
            self._found.append(await examine_source(source, self.options.timeout_loop_s))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
