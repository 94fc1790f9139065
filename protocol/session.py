"""The conversation with TWS, from the handshake on: what to ask, what an answer means, when to trade.

Sans-IO: the shell (`actors/broker.py`) hands in messages, commands and the time, and does what the
`Outbox` says. A session lives as long as the broker actor and outlasts many links; each link passes
through the phases below, and only `UP` trades. Time-outs count loop time, since they concern machines.

The order link and the data farms are two things: no word about a farm ever touches the link.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from protocol.commands import AskHistory, AskSnapshot, BrokerCommand, CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import BaseEvent, FillEvent, LinkEvent
from protocol.reports import LinkChanged, LinkState
from protocol.reset_windows import ResetPlan
from protocol.risk.words import AccountMoney, ContractFacts, DataState, OrderGate, Quote
from protocol.session_account import AccountFigures
from protocol.session_books import RECONCILE_LOOP_S, BrokerBooks
from protocol.session_contracts import Contracts
from protocol.session_desk import OrderDesk
from protocol.session_heartbeat import Heartbeat
from protocol.session_history import History
from protocol.session_identity import choose_account
from protocol.session_market_data import DATA_AGAIN, DATA_STATES, LIVE_DATA, Lines
from protocol.session_orders import SentOrders
from protocol.session_phase import Phase, SessionCounts
from protocol.session_snapshot import Gathering, Part
from protocol.session_words import CloseLink, Outbox, RefuseBroker, Undecodable, Urgency
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from protocol.tws.codes import CodeClass, classify
from protocol.values import Symbol

PHASE_LOOP_S = 10.0
"""Silence in a phase of the link-up after which it has failed."""
FIRST_REQUEST_ID: Final = 1_000_000_000
"""Order ids and request ids answer in one field of an error; far apart, they are never mixed up."""
SILENCE_S: Final = 30.0
"""Market time without a word of a line, while others speak, after which it is asked for anew."""


class Session:
    """One broker account's conversation. `instance` names the journal in our order references."""

    def __init__(
        self,
        settings: BrokerSettings,
        symbols: Iterable[Symbol],
        instance: str,
        *,
        gate: OrderGate,
        wants_figures: bool = False,
        resets: ResetPlan | None = None,
    ) -> None:
        """`gate` has the last word on every order; `wants_figures`: it, or anybody, needs the account's."""
        self.resets = resets or ResetPlan()
        self.up_since: datetime | None = None
        """Since when the link has been up and reconciled, in market time; None while it is not."""
        self.settings = settings
        self.orders = SentOrders(instance, settings.client_id)
        self.contracts = Contracts(symbols)
        self.lines = Lines()
        self.books = BrokerBooks(self.orders, self.contracts, self.lines, self._fresh_id)
        self.history = History()
        self.figures = AccountFigures(wanted=wants_figures)
        self.counts = SessionCounts()
        self.desk = OrderDesk(
            self.orders, self.contracts, gate, self, lambda at: self.resets.why_no_risk(at, self.up_since)
        )
        self.phase = Phase.DOWN
        self.generation = 0
        self._told = LinkState.DOWN
        self._cut_off = False
        self._accounts: tuple[str, ...] | None = None
        self._has_next_id = False
        self._request_id = FIRST_REQUEST_ID
        self._phase_until: float | None = None
        self._everyone_again = False
        self._heartbeat = Heartbeat(settings.heartbeat_loop_s)
        self._epochs: dict[Symbol, int] = {}
        self._alarmed: set[tuple[str, str]] = set()
        self._ended_lines: dict[Symbol, None] = {}

    # --- before and around the links --------------------------------------------------------------

    def fold(self, event: BaseEvent) -> None:
        """Take in one event of the journal, of any stream, in its order."""
        if isinstance(event, LinkEvent):
            self.generation = max(self.generation, event.generation)
            self.orders.account = event.account or self.orders.account
        else:
            if isinstance(event, FillEvent):
                self.books.executions.fold(event)
            self.orders.fold(event)

    def set_epoch(self, symbol: Symbol, epoch: int) -> None:
        """A new incarnation of a symbol: commands of the ones before it are stale from now on."""
        self._epochs[symbol] = max(epoch, self._epochs.get(symbol, 0))
        self.counts.stale_commands += self.desk.forget_stale(symbol, epoch)

    @property
    def state(self) -> LinkState:
        if self.phase in (Phase.DOWN, Phase.IDENTITY, Phase.CLOCK):
            return LinkState.DOWN
        return LinkState.UP if self.phase is Phase.UP and not self._cut_off else LinkState.HELD

    @property
    def account(self) -> str:
        return self.orders.account

    @property
    def money(self) -> AccountMoney:
        return self.figures.money

    def quote(self, symbol: Symbol) -> Quote | None:
        return self.lines.quote(symbol)

    def contract_facts(self, symbol: Symbol) -> ContractFacts | None:
        known = self.contracts.qualified.get(symbol)
        if known is None:
            return None
        contract = known.contract
        return ContractFacts(contract.con_id, contract.currency, contract.exchange, known.grid)

    def link_opened(self, out: Outbox) -> None:
        """The handshake is done."""
        self.generation += 1
        self._accounts, self._has_next_id, self._cut_off = None, False, False
        self._alarmed.clear()
        self.lines.clear()
        self.desk.heard_loop_s = out.loop_s
        out.ask(tws.StartApi(self.settings.client_id))
        self._enter(Phase.IDENTITY, out)

    def link_closed(self, reason: str, out: Outbox) -> None:
        """The link is gone; whatever was unanswered is unknown. Safe to call when there was none."""
        if self.phase is Phase.DOWN:
            return
        self.counts.link_losses += 1
        self.phase, self._phase_until = Phase.DOWN, None
        self.desk.refuse_held("the link was lost", out)
        self._everyone_again = False
        self._heartbeat.stop()
        self.lines.clear()
        self.books.link_lost()
        self.history.link_lost()
        self.figures.link_lost()
        self._tell_state(reason, out)

    def _enter(self, phase: Phase, out: Outbox) -> None:
        self.phase = phase
        self._phase_until = None if phase is Phase.UP else out.loop_s + PHASE_LOOP_S

    def _progress(self, out: Outbox) -> None:
        if self._phase_until is not None:
            self._phase_until = out.loop_s + PHASE_LOOP_S

    def _tell_state(self, reason: str, out: Outbox) -> None:
        state = self.state
        if state is self._told:
            return
        self._told = state
        self.up_since = out.at if state is LinkState.UP else None
        out.events.append(LinkEvent(
            at=out.at, state=state.value, generation=self.generation, reason=reason, account=self.account
        ))  # fmt: skip
        out.tell(None, LinkChanged(out.at, state, self.generation, reason))

    def _fresh_id(self) -> int:
        self._request_id += 1
        return self._request_id

    def _alarm(self, code: str, text: str, out: Outbox, symbol: str = "") -> None:
        """Once for each link, code and symbol: a repeated word of TWS is no news."""
        if (code, symbol) not in self._alarmed:
            self._alarmed.add((code, symbol))
            out.alarm(code, text, symbol)

    # --- commands ---------------------------------------------------------------------------------

    def command(self, command: BrokerCommand, out: Outbox) -> None:
        if command.epoch < self._epochs.get(command.symbol, 0):
            self.counts.stale_commands += 1
            return
        match command:
            case PlaceOrders() | CancelOrder():
                self.desk.take(command, out)
            case ModifyOrder():
                self.books.changing(command.order, out)
                self.desk.take(command, out)
            case AskSnapshot():
                self.books.ask(command.symbol)
                self.figures.tell_again(command.symbol, out)
                self._gather_if_free(out)
            case AskHistory():
                self.history.ask(command, out)
                self._send_history(out)

    # --- messages ---------------------------------------------------------------------------------

    def receive(self, message: tws.ServerMessage | Undecodable, out: Outbox) -> None:
        """One message that is not a tick. Messages that we never ask for are let go."""
        match message:
            case tws.OrderStatus():
                self.books.order_status(message, out)
            case tws.OpenOrder():
                self.books.open_order(message, out)
            case tws.ExecDetails():
                self.counts.foreign_messages += not self.books.execution(message, out)
            case tws.CommissionReport():
                self.books.executions.commission(message, out)
            case tws.ErrorMessage():
                self._error(message, out)
            case tws.CurrentTime():
                self._current_time(out)
            case tws.Position():
                self.books.position(message, out)
            case tws.HistoricalData():
                self.history.loaded(message, out)
            case tws.MarketDataType(req_id, kind):
                self._market_data_type(req_id, kind, out)
            case Undecodable():
                self._undecodable(message, out)
            case _:
                self._receive_answer(message, out)

    def _receive_answer(self, message: tws.ServerMessage, out: Outbox) -> None:
        """The messages of a link-up and of a snapshot."""
        match message:
            case tws.OpenOrderEnd():
                self._part_ended(Part.ORDERS, out)
            case tws.ExecDetailsEnd(req_id):
                if self.books.gathering is not None and self.books.gathering.req_id == req_id:
                    self._part_ended(Part.EXECUTIONS, out)
            case tws.PositionEnd():
                self._part_ended(Part.POSITIONS, out)
            case tws.CompletedOrder():
                self.orders.completed(message, out)
            case tws.CompletedOrdersEnd():
                self._part_ended(Part.COMPLETED, out)
            case tws.AccountSummary():
                self.figures.receive(message, self.account, out)
            case tws.ManagedAccounts(accounts):
                self._accounts = accounts
                self._identify(out)
            case tws.NextValidId(order_id):
                self.orders.saw_order_id(order_id - 1)
                self._has_next_id = True
                self._identify(out)
            case tws.ContractData():
                self.contracts.data(message)
                self._progress(out)
            case tws.ContractDataEnd():
                self._settled(self.contracts.end(message, out), out)
            case tws.MarketRule():
                self._settled_all(self.contracts.rule(message), out)
            case _:
                pass

    def _identify(self, out: Outbox) -> None:
        if self.phase is not Phase.IDENTITY or self._accounts is None or not self._has_next_id:
            return
        chosen = choose_account(self.settings, self._accounts, self.account)
        if isinstance(chosen, RefuseBroker):
            out.alarm("WRONG_ACCOUNT", chosen.reason)
            out.verdict = chosen
            return
        self.orders.account = chosen
        out.ask(tws.ReqCurrentTime(), urgency=Urgency.BOOKS)
        self._enter(Phase.CLOCK, out)

    def _current_time(self, out: Outbox) -> None:
        """The shell has set the clock by it; here it is a sign of life."""
        self._heartbeat.answered(out.loop_s)
        if self.phase is not Phase.CLOCK:
            return
        self._enter(Phase.CONTRACTS, out)
        self._tell_state("a session, not reconciled yet", out)
        self.contracts.ask(self._fresh_id, out)
        self._after_contracts(out)

    # --- contracts and market data ----------------------------------------------------------------

    def _settled(self, symbol: Symbol | None, out: Outbox) -> None:
        self._settled_all(() if symbol is None else (symbol,), out)

    def _settled_all(self, symbols: tuple[Symbol, ...], out: Outbox) -> None:
        self._progress(out)
        for symbol in symbols:
            if symbol not in self.contracts.qualified:
                text = f"{symbol} is left out: {self.contracts.left_out[symbol]}"
                self._alarm("SYMBOL_LEFT_OUT", text, out, symbol)
        self._after_contracts(out)

    def _after_contracts(self, out: Outbox) -> None:
        if self.phase is not Phase.CONTRACTS or not self.contracts.complete:
            return
        self._enter(Phase.SNAPSHOT, out)
        self._subscribe(out)
        # Before the books, so that the first entry after them finds the account's worth.
        self.figures.ask(self._fresh_id, out)
        self._gather_for_everyone(out)

    def _subscribe(self, out: Outbox) -> None:
        """All market data lines under new ids, whatever became of the old ones."""
        self._ended_lines.clear()
        for req_id in self.lines.clear():
            out.ask(tws.CancelMktData(req_id))
        for symbol in self.contracts.qualified:
            self._subscribe_one(symbol, out)

    def _subscribe_one(self, symbol: Symbol, out: Outbox) -> None:
        req_id = self._fresh_id()
        self.lines.open(req_id, symbol)
        out.ask(tws.ReqMktData(req_id, self.contracts.qualified[symbol].contract))

    def _subscribe_again(self, out: Outbox) -> None:
        """Lines that ended, or that are silent while others speak: asked for anew under another id."""
        for symbol in self.lines.silent(out.at, SILENCE_S):
            self._ended_lines[symbol] = None
        for symbol in self._ended_lines:
            for req_id in self.lines.drop(symbol):
                out.ask(tws.CancelMktData(req_id))
            self._subscribe_one(symbol, out)
        self._ended_lines.clear()

    def _market_data_type(self, req_id: int, kind: int, out: Outbox) -> None:
        symbol = self.lines.symbol_of(req_id)
        if symbol is None:
            return
        self.lines.note(symbol, DataState.LIVE if kind == LIVE_DATA else DataState.DELAYED)
        if kind != LIVE_DATA:
            self._alarm("DATA_NOT_LIVE", f"{symbol}: the market data is not live (type {kind})", out, symbol)

    def _send_history(self, out: Outbox) -> None:
        if self.phase is Phase.UP:
            self.history.send(self.contracts.contract, self._fresh_id, out)

    def _undecodable(self, message: Undecodable, out: Outbox) -> None:
        """It may have been about an order: look at the books again."""
        self.counts.undecodable += 1
        shown = message.raw[:80].decode("ascii", "backslashreplace").replace("\0", "|")
        self._alarm("UNDECODABLE", f"{message.why}: {shown}", out)
        self.books.look_again(out)

    # --- errors and notices -----------------------------------------------------------------------

    def _error(self, message: tws.ErrorMessage, out: Outbox) -> None:
        kind = classify(message.code)
        match kind:
            case CodeClass.LINK_LOST:
                self._cut_off = True
                self._tell_state(f"{message.code} {message.text}", out)
            case CodeClass.LINK_RESTORED | CodeClass.LINK_RESTORED_DATA_LOST:
                self._restored(kind, out)
            case CodeClass.SOCKET:
                out.verdict = CloseLink(f"{message.code} {message.text}")
            case CodeClass.CLIENT_ID_IN_USE:
                out.verdict = CloseLink(f"{message.code} {message.text}", busy_id=True)
            case CodeClass.PACING:
                self._alarm("TOO_FAST", message.text, out)
            case _:
                self._error_about(message, kind, out)

    def _error_about(self, message: tws.ErrorMessage, kind: CodeClass, out: Outbox) -> None:
        """An error that names, by its id, what it is about."""
        text = f"{message.code} {message.text}"
        symbol = self.lines.symbol_of(message.id)
        if self.contracts.knows_id(message.id):
            self._settled(self.contracts.refused(message.id, text), out)
        elif self.history.knows_id(message.id):
            if kind is not CodeClass.MARKET_DATA:
                self._alarm("HISTORY_REFUSED", text, out)
            self.history.failed(message.id, out)
        elif symbol is not None:
            self._alarm(f"MARKET_DATA_{message.code}", f"{symbol}: {text}", out, symbol)
            if message.code in DATA_STATES:
                self.lines.note(symbol, DATA_STATES[message.code])
            if message.code in DATA_AGAIN:
                # Not at once: a farm that is down would end the new one too, and so on without a pause.
                self._ended_lines[symbol] = None
                self.books.look_again(out)
        elif self.orders.knows_id(message.id):
            self.orders.error(message, kind, out)
            self._gather_if_free(out)

    def _restored(self, kind: CodeClass, out: Outbox) -> None:
        """Back with IBKR. What happened meanwhile is in the books, so they are read before trading."""
        self._cut_off = False
        if self.phase not in (Phase.UP, Phase.SNAPSHOT):
            return
        self._enter(Phase.SNAPSHOT, out)
        if kind is CodeClass.LINK_RESTORED_DATA_LOST:
            self._subscribe(out)
            self.figures.ask(self._fresh_id, out)
        self._gather_for_everyone(out)

    # --- snapshots --------------------------------------------------------------------------------

    def _gather_if_free(self, out: Outbox) -> None:
        """Start a snapshot if somebody wants one and none is under way."""
        free = self.phase is Phase.UP and not self._cut_off and self.books.gathering is None
        if free and self.books.wanted(out.loop_s):
            self.books.gather(out)

    def _gather_for_everyone(self, out: Outbox) -> None:
        """A snapshot that begins now; one that is under way already must end first, and proves nothing."""
        self._everyone_again = self.books.gathering is not None
        if not self._everyone_again:
            self.books.gather(out, everyone=True)

    def _part_ended(self, part: Part, out: Outbox) -> None:
        self._progress(out)
        gathering = self.books.ended(part, out)
        if gathering is not None:
            self._gathered(gathering, out)

    def _gathered(self, gathering: Gathering, out: Outbox) -> None:
        self.books.gathering = None
        if self._cut_off:
            # TWS answers from memory while it is cut off: no proof of anything. Restored, it is asked anew.
            self._phase_until = None
            return
        self.books.settle(gathering, self.generation, out)
        if self._everyone_again:
            self._gather_for_everyone(out)
        elif self.phase is Phase.SNAPSHOT:
            self._enter(Phase.UP, out)
            self._tell_state("reconciled", out)
            self._send_history(out)
        self._gather_if_free(out)

    # --- time -------------------------------------------------------------------------------------

    def due(self) -> float | None:
        """The loop time at which `tick` has something to do."""
        # Only what `tick` acts on in this phase: a time that has passed and is not acted on spins the loop.
        times = [self._phase_until, self._heartbeat.due_loop_s, self.desk.due_loop_s]
        if self.books.gathering is not None:
            times.append(self.books.gathering.quiet_until_loop_s)
        if self.phase is Phase.UP:
            times += [self.books.reconcile_at, self.history.due()]
            if self.books.gathering is None and not self._cut_off:
                times += [self.orders.due(), self.books.owed_due()]
        return min((time for time in times if time is not None), default=None)

    def tick(self, out: Outbox) -> None:
        """Do what the time demands; harmless when nothing is due."""
        if self.phase is Phase.DOWN:
            return
        self.history.expire(out)
        if self.desk.due_loop_s is not None and out.loop_s >= self.desk.due_loop_s:
            self.desk.refuse_held("TWS does not answer", out)
        gathering = self.books.gathering
        if gathering is not None and out.loop_s >= gathering.quiet_until_loop_s:
            self._gathering_silent(gathering, out)
        if out.verdict is None and self._phase_until is not None and out.loop_s >= self._phase_until:
            self._phase_silent(out)
        if self._heartbeat.due_loop_s is not None and out.loop_s >= self._heartbeat.due_loop_s:
            self._beat(out)
        if out.verdict is not None or self.phase is not Phase.UP:
            return
        self._send_history(out)
        if self.books.reconcile_at is not None and out.loop_s >= self.books.reconcile_at:
            self.books.reconcile_at = out.loop_s + RECONCILE_LOOP_S
            self._subscribe_again(out)
            if self.books.gathering is None and not self._cut_off:
                self.books.gather(out)
        self._gather_if_free(out)

    def _gathering_silent(self, gathering: Gathering, out: Outbox) -> None:
        if gathering.usable:
            self._gathered(gathering, out)
            return
        missing = ", ".join(sorted(part.value for part in gathering.waiting))
        out.verdict = CloseLink(f"no answer about {missing}")

    def _phase_silent(self, out: Outbox) -> None:
        if self.phase is Phase.CONTRACTS:
            self._settled_all(self.contracts.give_up(), out)
        elif self.books.gathering is None or not self.books.gathering.usable:
            out.verdict = CloseLink(f"silence while {self.phase.value}")

    def _beat(self, out: Outbox) -> None:
        if self._heartbeat.beat(out.loop_s):
            out.ask(tws.ReqCurrentTime(), urgency=Urgency.BOOKS)
        else:
            out.verdict = CloseLink(f"{self._heartbeat.misses} heartbeats without an answer")
