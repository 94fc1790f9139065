"""The simulated TWS as an actor: a market that runs, a venue that trades on it, and clients on streams.

Theory of operation. One task replays the market: it brings everything that is due to the `TwsServer` and
sleeps until the next thing is. Each client has a task that reads. Whatever happens in either is handed out
in one place (`_hand_out`), in this order: the record (truth file, coverage, books on disk), then the bytes,
so that no client ever knows more than what would survive. A request is answered at the market time at which
it arrives, after all that was due by then.

When the machine cannot keep up, market time is that of the last thing replayed: the replay lags, it skips
nothing. It also waits for a client that is slow to read, but not for one that has stopped reading.

Over memory streams (`connect_memory`) and trio's mock clock the whole is deterministic.
"""

from __future__ import annotations

import itertools
import socket
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import trio

from actors.simulated_tws_books import BooksFile, SavedState
from actors.simulated_tws_connection import Connection
from actors.simulated_tws_record import Record, SymbolBooks
from protocol.exchange.contracts import NEW_YORK
from protocol.exchange.happenings import MarketTick
from protocol.exchange.market import Market
from protocol.exchange.replay import WARM_UP, Replay, sessions_from
from protocol.exchange.replay_clock import TAIL, Boundary, ReplayClock
from protocol.exchange.tws_clients import ClientKey
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
SEND_BUFFER_BYTES = 128 * 1024
"""Of a client's socket. The default holds seconds of ticks that a slow client would see late."""
RATE_CODE = 100


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
        mono: Callable[[], float] = trio.current_time,
    ) -> None:
        """`speed`: market seconds per second of trio's clock. `start`: market time to begin at, instead of
        the market's own start; books in `state_dir` go on where they were. `mono`: the machine's seconds
        for the truth file. The seed is the market's; books of another seed are refused.

        Raises StateError for an unusable state folder, OSError for the truth file, ValueError for a start
        beyond the market's end, a speed or a server version that there is not.
        """
        ServerConnection(server_version_max, "")
        self.ended = trio.Event()
        self.clock_started = trio.Event()
        self._market, self._settings = market, settings or TwsSettings()
        self._server_version_max = server_version_max
        self._connections: dict[ClientKey, Connection] = {}
        self._keys = itertools.count(1)
        self._drained = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._behind = False
        books = None if state_dir is None else BooksFile(state_dir, _describe(market, seed))
        saved = None if books is None else books.load()
        self._open_venue(venue_settings, saved, speed=speed, start=start)
        self._record = Record(self._server.venue, truth=truth, books=books, mono=mono)

    def _open_venue(
        self, settings: VenueSettings, saved: SavedState | None, *, speed: float, start: datetime | None
    ) -> None:
        """Open new books, or take up the saved ones and replay silently what they have already seen."""
        venue = Venue(settings) if saved is None else Venue.restore(settings, saved.venue)
        self._server = TwsServer(self._market, venue, settings, self._settings)
        if saved is not None:
            for quote in saved.venue.quotes:
                self._market.add(quote.tick.symbol)
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
        self._running().start_soon(trio.serve_listeners, self._serve_socket, listeners)
        address = listeners[0].socket.getsockname()
        return int(address[1])

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

    def withhold_execution(self, nth: int) -> None:
        """Fault: no client ever hears of the `nth` execution of the books (the first is 1)."""
        self._server.orders.withhold_execution(nth)
        connected = self._server.clients.ids
        self._record.fault("withhold_execution", f"execution {nth}", self._market_now, connected)

    def break_connections(self) -> None:
        """Fault: every connection is gone at once; what was not sent yet is lost. Clients may come back."""
        connected = self._server.clients.ids
        for connection in self._connections.values():
            connection.scope.cancel()
        self._record.fault("break_connections", f"{len(connected)} clients", self._market_now, connected)

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
                self.ended.set()
                return
            await self._sleep_until_next()

    def _is_over(self) -> bool:
        return self._replay.exhausted and self._clock.over_at(self._market_now)

    async def _sleep_until_next(self) -> None:
        now = trio.current_time()
        next_at = self._replay.next_at
        due = None if next_at is None else self._clock.loop_s_of(next_at)
        until = now + LONGEST_SLEEP_LOOP_S if due is None else min(due, now + LONGEST_SLEEP_LOOP_S)
        await trio.sleep_until(max(until, now + SHORTEST_SLEEP_LOOP_S))

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
            self._market_now = max(self._market_now, at)
            self._bring(replay.take())
        else:
            self._market_now = max(self._market_now, due)
        replay.pass_time(self._market_now)
        self._server.advance(self._market_now)
        self._hand_out()

    def _bring(self, what: MarketTick | Boundary | None, *, unseen: bool = False) -> None:
        match what:
            case MarketTick() if unseen:
                self._server.tick_unseen(what)
            case MarketTick():
                self._server.tick(what)
            case Boundary() if not unseen:
                self._server.turn(what)

    async def _wait_for_slow_clients(self) -> None:
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
        key = next(self._keys)
        time_text = f"{self._market_now.astimezone(NEW_YORK):%Y%m%d %H:%M:%S %Z}"
        protocol = ServerConnection(self._server_version_max, time_text)
        connection = Connection(key, stream, protocol, drained=self._note_drained)
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

    async def _listen_to(self, connection: Connection) -> None:
        budget = _RequestBudget(self._settings.max_messages_per_s)
        while (events := await connection.receive()) is not None:
            if self._clock.begun and not self._behind:
                self._catch_up()
            for event in events:
                if not self._take_event(connection, event, budget):
                    return
                if isinstance(event, ReqHistoricalData):
                    # Bars take tens of milliseconds to make, and a client asks for many symbols at once.
                    self._hand_out()
                    await trio.lowlevel.checkpoint()
            self._hand_out()

    def _take_event(self, connection: Connection, event: ServerEvent, budget: _RequestBudget) -> bool:
        """One thing that a client said; False when the connection is to end."""
        match event:
            case Negotiated():
                self._server.connected(connection.key, event.version)
                connection.queue_bytes(event.reply)
            case Refused():
                return False
            case StartApi():
                self._start_client(connection.key, event)
            case _ if not budget.allows(trio.current_time()):
                text = "Max rate of messages per second has been exceeded"
                connection.queue(ErrorMessage(-1, RATE_CODE, text))
                connection.finish()
            case _:
                self._server.receive(connection.key, event, self._market_now)
        return True

    def _start_client(self, key: ClientKey, request: StartApi) -> None:
        before = self._server.clients.ids
        self._server.receive(key, request, self._market_now)
        if self._server.clients.ids == before:
            return
        self._record.client(request.client_id, self._market_now, self._server.clients.ids, came=True)
        self._clock.begin(trio.current_time())
        self.clock_started.set()

    def _disconnected(self, key: ClientKey) -> None:
        client_id = self._server.disconnected(key, self._market_now)
        if client_id is not None:
            self._record.client(client_id, self._market_now, self._server.clients.ids, came=False)
            self._hand_out()

    def _hand_out(self) -> None:
        """Record what has happened, save it, and only then send it."""
        noted = self._server.take_noted()
        if noted:
            self._record.happened(noted, self._market_now, self._server.clients.ids)
        self._record.save(self._market_now, changed=bool(noted))
        for key, message in self._server.take():
            connection = self._connections.get(key)
            if connection is not None:
                connection.queue(message)
        for key in self._server.take_closing():
            if key in self._connections:
                self._connections[key].finish()

    def _running(self) -> trio.Nursery:
        if self._nursery is None:
            raise RuntimeError("the simulated TWS takes clients only while it runs")
        return self._nursery


class _RequestBudget:
    """Requests that one client may still make in this second of the machine's clock; None: any number."""

    def __init__(self, per_s: int | None) -> None:
        self._per_s = per_s
        self._recent_loop_s: deque[float] = deque()

    def allows(self, now: float) -> bool:
        if self._per_s is None:
            return True
        while self._recent_loop_s and now - self._recent_loop_s[0] >= 1.0:
            self._recent_loop_s.popleft()
        self._recent_loop_s.append(now)
        return len(self._recent_loop_s) <= self._per_s


def _describe(market: Market, seed: int) -> str:
    """Which market books belong to, in words that are equal only for the same one."""
    if market.end is None:
        return f"synthetic, seed {seed}"
    return f"recorded, {market.start:%Y-%m-%d} to {market.end:%Y-%m-%d}, {' '.join(market.symbols)}"
