"""The simulated TWS as an actor: a market that runs, a venue that trades on it, and clients on streams.

Theory of operation. One task replays the market: it brings everything that is due to the `TwsServer` and
sleeps until the next thing is. Each client has a task that reads. Whatever happens in either is handed out
in one place (`_hand_out`), in this order: the record (truth file, coverage, books on disk), then the bytes,
so that no client ever knows more than what would survive. A request is answered at the market time at which
it arrives, after all that was due by then. Faults stand between the server and the wires (`FaultPlan`).

When the machine cannot keep up, market time is that of the last thing replayed: the replay lags, it skips
nothing. A replay that is faster than the market also waits for a client that is slow to read, but not for
one that has stopped reading; at the market's own pace nobody waits for anybody.

Over memory streams (`connect_memory`) and trio's mock clock the whole is deterministic.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import trio

from actors.simulated_tws_books import BooksFile, SavedState
from actors.simulated_tws_connection import Connection
from actors.simulated_tws_door import FrontDoor, ignore
from actors.simulated_tws_record import Record, SymbolBooks, Witness
from protocol.exchange.contracts import NEW_YORK
from protocol.exchange.fault_armed import FaultState
from protocol.exchange.fault_effects import ChangeDoor
from protocol.exchange.fault_plan import FaultPlan
from protocol.exchange.faults import Fault, WithholdExecution
from protocol.exchange.happenings import MarketTick
from protocol.exchange.market import Market
from protocol.exchange.replay import WARM_UP, Replay, sessions_from
from protocol.exchange.replay_clock import TAIL, Boundary, ReplayClock
from protocol.exchange.tws_clients import ClientKey, Said
from protocol.exchange.tws_pacing import RATE_CODE, RequestPace
from protocol.exchange.tws_server import TwsServer
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.handshake import Negotiated, Refused, ServerConnection, ServerEvent
from protocol.tws.messages import ErrorMessage, ReqHistoricalData, StartApi

TICKS_PER_TURN = 64
"""Ticks replayed before others have their turn: a few milliseconds."""
LONGEST_SLEEP_LOOP_S = 1.0
"""The replay looks up at least so often: orders expire and accounts are refreshed between ticks, too."""
SHORTEST_SLEEP_LOOP_S = 0.0005
"""What is due within it is replayed in one turn; and the clock must move between two looks, or rounding
could make them endless."""
WORDY = 512
"""Messages waiting to be handed out from which on others have their turn before the next request."""
MAX_CONNECTIONS = 512
"""At a time. TWS takes 32 clients; a supervisor's reconnects and a port scanner are not clients."""
SEND_BUFFER_BYTES = 128 * 1024
"""Of a client's socket. The default holds seconds of ticks that a slow client would see late."""


class SimulatedTws:
    """A TWS that anyone can start. Give it `run` in a nursery, then `listen` or `connect_memory`."""

    def __init__(
        self,
        market: Market,
        venue_settings: VenueSettings,
        *,
        speed: float = 1.0,
        seed: int = 0,
        server_version_max: int = 178,
        truth: Path | None = None,
        state_dir: Path | None = None,
        start: datetime | None = None,
        settings: TwsSettings | None = None,
        faults: Sequence[Fault] = (),
        mono: Callable[[], float] = trio.current_time,
    ) -> None:
        """`speed`: market seconds per second of trio's clock. `start`: market time to begin at, instead of
        the market's own start; books in `state_dir` go on where they were. `mono`: the machine's seconds
        for the truth file. The seed is the market's and the faults'; books of another seed are refused.
        `faults` wait from the beginning; those of saved books go on counting where they were.

        Raises StateError for an unusable state folder, OSError for the truth file, ValueError for a start
        beyond the market's end, a speed or a server version that there is not.
        """
        ServerConnection(server_version_max, "")
        self.ended = trio.Event()
        self.clock_started = trio.Event()
        self._market, self._settings = market, (settings or TwsSettings()).seeded(seed)
        self._server_version_max = server_version_max
        self._connections: dict[ClientKey, Connection] = {}
        self._keys = itertools.count(1)
        self._drained = trio.Event()
        self._due_sooner = trio.Event()
        self._sleeps_to: datetime | None = None
        self._nursery: trio.Nursery | None = None
        self._behind = False
        books = None if state_dir is None else BooksFile(state_dir, _describe(market, seed))
        saved = None if books is None else books.load()
        self._open_venue(venue_settings, saved, speed=speed, start=start)
        self._record = Record(self._server.venue, truth=truth, books=books, mono=mono)
        self._door = FrontDoor(self._serve_socket)
        self._plan = FaultPlan(self._server, Random(f"faults {seed}"))
        for fault in faults:
            self._plan.inject(fault, self._market_now)
        if saved is not None:
            self._plan.resume(saved.faults)

    def _open_venue(
        self, settings: VenueSettings, saved: SavedState | None, *, speed: float, start: datetime | None
    ) -> None:
        """Open new books, or take up the saved ones and replay silently what they have already seen."""
        venue = Venue(settings) if saved is None else Venue.restore(settings, saved.venue)
        self._server = TwsServer(self._market, venue, self._settings)
        if saved is not None:
            for quote in saved.venue.quotes:
                self._server.follow_again(quote.tick.symbol, saved.market_at)
        begin = saved.market_at if saved is not None else (start or self._market.start)
        if saved is not None and self._market.end is not None:
            # Books of a market that is over: its last moment is all that is left to replay.
            begin = min(begin, self._market.end + TAIL - timedelta(milliseconds=1))
        first = self._market.session_after(begin)
        exact = saved is not None or (first is not None and begin > first.start)
        sessions = sessions_from(self._market, begin - TAIL)
        self._clock = ReplayClock(sessions, speed=speed, start=begin if exact else None)
        self._market_now = self._clock.start if saved is None else begin
        known_until = None if saved is None else saved.venue_at
        if saved is None:
            venue.set_session(self._market_now, is_open=False)
        warm_from = (known_until or self._market_now) - WARM_UP
        self._replay = Replay(self._market, min(warm_from, self._market_now))
        while (at := self._replay.next_at) is not None and at <= self._market_now:
            self._bring(self._replay.take(), unseen=known_until is not None and at <= known_until)
        self._replay.pass_time(self._market_now)
        self._server.take_noted()

    # --- for those who run it -------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. The market runs from the first client's startApi on."""
        self._record.begin()
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await self._replay_market()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._record.close(self._market_now, self._server.clients.ids)

    async def listen(self, host: str, port: int) -> int:
        """Accept clients on TCP; 0 picks a free port. Returns the port. OSError when it cannot be had."""
        listeners = await trio.open_tcp_listeners(port, host=host)
        taken = int(listeners[0].socket.getsockname()[1])
        self._running().start_soon(self._door.accept, listeners, host, taken, self._running())
        return taken

    def connect_memory(self) -> trio.abc.Stream:
        """A client's end of a connection without a socket."""
        # Here, because it brings all of pytest with it where that is installed.
        import trio.testing

        ours, theirs = trio.testing.memory_stream_pair()
        self._running().start_soon(self._serve, ours)
        return theirs

    def market_now(self) -> datetime:
        """Market time: where the clock is, but not beyond what is still to be replayed."""
        due = self._clock.market_at(trio.current_time())
        next_at = self._replay.next_at
        return max(self._market_now, due if next_at is None else min(due, next_at))

    @property
    def market_start(self) -> datetime:
        return self._clock.start

    @property
    def market_end(self) -> datetime | None:
        """When a recorded market is over; None for an endless one."""
        return self._market.end

    @property
    def lag_s(self) -> float:
        """Market time by which the replay is behind its clock."""
        due = self._clock.market_at(trio.current_time())
        return max(0.0, (due - self._market_now).total_seconds())

    @property
    def venue(self) -> Venue:
        """The truth, to look at; only clients and the market may change it."""
        return self._server.venue

    def books(self) -> dict[str, SymbolBooks]:
        """The venue's books per symbol, for the report; counts what is uncovered now up to now."""
        return self._record.symbol_books()

    def inject(self, fault: Fault) -> int:
        """A fault waits for its opportunities from now on; without any it happens now. Returns its number.

        Raises ValueError when there are too many.
        """
        if self._clock.begun and not self._behind:
            self._catch_up()
        number = self._plan.inject(fault, self._market_now)
        self._plan.advance(self._market_now)
        self._hand_out()
        return number

    def disarm(self) -> None:
        """No fault begins any more; one that has begun runs its course."""
        self._plan.disarm()

    def watch(self, witness: Witness) -> None:
        """Tell `witness` what happens, before any client hears of it."""
        self._record.witness = witness

    def fault_states(self) -> tuple[FaultState, ...]:
        return self._plan.states()

    def withhold_execution(self, nth: int) -> None:
        """Fault: no client ever hears of the `nth` execution of the books (the first is 1)."""
        self.inject(WithholdExecution(nth=nth))

    def break_connections(self) -> None:
        """Fault: every connection is gone at once; what was not sent yet is lost. Clients may come back."""
        connected = self._server.clients.ids
        for connection in self._connections.values():
            connection.drop()
        self._record.fault("drop_connection", f"{len(connected)} clients", self._market_now, connected)

    def pause(self) -> None:
        """The market stands still until `go_on`; clients are still answered."""
        self._catch_up()
        self._clock.pause(trio.current_time())

    def go_on(self) -> None:
        self._clock.go_on(trio.current_time())

    @property
    def paused(self) -> bool:
        return self._clock.paused

    @property
    def client_ids(self) -> tuple[int, ...]:
        """Who is connected."""
        return self._server.clients.ids

    # --- the market -----------------------------------------------------------------------------

    async def _replay_market(self) -> None:
        await self.clock_started.wait()
        while True:
            await self._wait_for_slow_clients()
            self._catch_up()
            if self._behind:
                await trio.lowlevel.checkpoint()
                continue
            if self._market.end is not None and self._is_over():
                self._plan.release()
                self._hand_out()
                self.ended.set()
                return
            await self._sleep_until_next()

    def _is_over(self) -> bool:
        return self._replay.exhausted and self._clock.over_at(self._market_now)

    async def _sleep_until_next(self) -> None:
        now = trio.current_time()
        next_at = _soonest(self._replay.next_at, self._due_by_itself())
        due = None if next_at is None else self._clock.loop_s_of(next_at)
        until = now + LONGEST_SLEEP_LOOP_S if due is None else min(due, now + LONGEST_SLEEP_LOOP_S)
        self._sleeps_to, self._due_sooner = next_at, trio.Event()
        with trio.move_on_at(max(until, now + SHORTEST_SLEEP_LOOP_S)):
            await self._due_sooner.wait()

    def _due_by_itself(self) -> datetime | None:
        """When a fault or the server has something to do, whatever the market does."""
        return _soonest(self._plan.next_at, self._server.next_at)

    def _catch_up(self) -> None:
        """Replay what is due, at most one turn's worth, whole instants; hand out what came of it."""
        due = self._clock.market_at(trio.current_time())
        replay, taken = self._replay, 0
        self._behind = False
        while (at := replay.next_at) is not None and at <= due:
            if taken >= TICKS_PER_TURN and at > self._market_now:
                self._behind = True
                break
            taken += 1
            if (fault_at := self._plan.next_at) is not None and fault_at <= at:
                self._do_faults(at)
            self._market_now = max(self._market_now, at)
            self._bring(replay.take())
        else:
            self._do_faults(due)
            self._market_now = max(self._market_now, due)
        replay.pass_time(self._market_now)
        self._server.advance(self._market_now)
        self._hand_out()

    def _do_faults(self, until: datetime) -> None:
        """Whatever faults are due by then, each at its own time."""
        while (at := self._plan.next_at) is not None and at <= until:
            self._market_now = max(self._market_now, at)
            self._plan.advance(at)

    def _bring(self, what: MarketTick | Boundary | None, *, unseen: bool = False) -> None:
        match what:
            case MarketTick() if unseen:
                self._server.tick_unseen(what)
            case MarketTick():
                self._server.tick(what)
            case Boundary() if not unseen:
                self._server.turn(what)

    async def _wait_for_slow_clients(self) -> None:
        if self._clock.speed <= 1:
            return
        while any(connection.clogged for connection in self._connections.values()):
            with trio.move_on_after(LONGEST_SLEEP_LOOP_S):
                await self._drained.wait()

    def _note_drained(self) -> None:
        self._drained.set()
        self._drained = trio.Event()

    # --- clients --------------------------------------------------------------------------------

    async def _serve_socket(self, stream: trio.SocketStream) -> None:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        await self._serve(stream)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self._door.turns_away:
            await stream.aclose()
            return
        if self._door.silent:
            await ignore(stream)
            return
        key = next(self._keys)
        time_text = f"{self._market_now.astimezone(NEW_YORK):%Y%m%d %H:%M:%S %Z}"
        protocol = ServerConnection(self._server_version_max, time_text)
        connection = Connection(key, stream, protocol, drained=self._note_drained)
        self._make_room()
        self._connections[key] = connection
        try:
            async with stream, trio.open_nursery() as nursery:
                # The connection's scope is the nursery's: either side of it ends both.
                connection.scope = nursery.cancel_scope
                nursery.start_soon(connection.send_all)
                await self._listen_to(connection)
                nursery.cancel_scope.cancel()
        finally:
            del self._connections[key]
            self._disconnected(key)

    def _make_room(self) -> None:
        """Drop the connection that has been silent longest where there are too many: whoever opens
        thousands and says nothing must not keep others out."""
        staying = [one for one in self._connections.values() if not one.scope.cancel_called]
        if len(staying) >= MAX_CONNECTIONS:
            oldest = next((one for one in staying if not one.named), staying[0])
            oldest.scope.cancel()

    async def _listen_to(self, connection: Connection) -> None:
        pace = RequestPace(self._settings.max_messages_per_s)
        while (events := await connection.receive()) is not None:
            if self._clock.begun and not self._behind:
                self._catch_up()
            for event in events:
                if isinstance(event, Negotiated):
                    pace = RequestPace(self._settings.max_messages_per_s, event.options)
                elif not isinstance(event, Refused | StartApi) and not await self._paced(connection, pace):
                    continue
                if not self._take_event(connection, event):
                    return
                # Bars take tens of milliseconds to make, and a client may ask for many lists in one packet.
                if isinstance(event, ReqHistoricalData) or self._server.clients.said_so_far() > WORDY:
                    self._hand_out()
                    await trio.lowlevel.checkpoint()
            self._hand_out()

    async def _paced(self, connection: Connection, pace: RequestPace) -> bool:
        """Whether the next request of a client is taken, once its turn has come."""
        paced = pace.take(trio.current_time())
        if paced.text:
            connection.queue(ErrorMessage(-1, RATE_CODE, paced.text), self._market_now)
        if paced.ends:
            connection.finish()
        if paced.wait_s:
            self._hand_out()
            await trio.sleep(paced.wait_s)
        return paced.taken

    def _take_event(self, connection: Connection, event: ServerEvent) -> bool:
        """One thing that a client said; False when the connection is to end."""
        match event:
            case Negotiated():
                self._server.connected(connection.key, event.version)
                connection.queue_bytes(event.reply)
            case Refused():
                return False
            case StartApi():
                self._start_client(connection.key, event)
            case _:
                self._plan.receive(connection.key, event, self._market_now)
        return True

    def _start_client(self, key: ClientKey, request: StartApi) -> None:
        before = self._server.clients.ids
        self._plan.receive(key, request, self._market_now)
        if self._server.clients.ids == before:
            return
        self._record.client(request.client_id, self._market_now, self._server.clients.ids, came=True)
        self._clock.begin(trio.current_time())
        self.clock_started.set()

    def _disconnected(self, key: ClientKey) -> None:
        self._plan.disconnected(key)
        client_id = self._server.disconnected(key, self._market_now)
        if client_id is not None:
            self._record.client(client_id, self._market_now, self._server.clients.ids, came=False)
            self._hand_out()

    def _hand_out(self) -> None:
        """Record what has happened, save it, and only then send it."""
        idle = self._plan.idle
        noted = self._server.take_noted() if idle else self._plan.take_noted(self._market_now)
        if noted:
            self._record.happened(noted, self._market_now, self._server.clients.ids)
        self._record.save(self._market_now, changed=bool(noted), faults=self._plan.states)
        said: Sequence[tuple[ClientKey, Said]]
        said = self._server.take_packed() if idle else self._plan.take(self._market_now)
        for key, message in said:
            connection = self._connections.get(key)
            if connection is not None:
                connection.queue(message, self._market_now)
        if not idle:
            self._disturb()
        for key in self._server.take_closing():
            if key in self._connections:
                self._connections[key].finish()
        for key in self._server.take_dropped():
            if key in self._connections:
                self._connections[key].drop()

        due = self._due_by_itself()
        if due is not None and (self._sleeps_to is None or due < self._sleeps_to):
            self._due_sooner.set()

    def _disturb(self) -> None:
        """Record the faults that have happened, and do to the wires what they say."""
        connected = self._server.clients.ids
        for done in self._plan.take_done():
            self._record.fault(done.kind, done.what, self._market_now, connected)
        for effect in self._plan.take_effects():
            if isinstance(effect, ChangeDoor):
                self._door.change(effect.door)
            elif effect.key in self._connections:
                self._connections[effect.key].disturb(effect)

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("the simulated TWS takes clients only while it runs")
        return self._nursery


def _soonest(first: datetime | None, second: datetime | None) -> datetime | None:
    return first or second if first is None or second is None else min(first, second)


def _describe(market: Market, seed: int) -> str:
    """Which market books belong to, in words that are equal only for the same one."""
    if market.end is None:
        return f"synthetic, seed {seed}"
    return f"recorded, {market.start:%Y-%m-%d} to {market.end:%Y-%m-%d}, {' '.join(market.symbols)}"
