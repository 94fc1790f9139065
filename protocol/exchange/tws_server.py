"""The face of the simulated TWS, without its wires: requests in, messages out, in the order of a real TWS.

Theory of operation. A connection is a number and a protocol version. Whoever owns the wires reports
connections, requests and ends of connections, and brings the market: ticks, turns of the trading day, and
the time. Everything happens inside those calls and queues what is to be said; `take` hands it out in
order. What each side of the business says is decided at its desk (`tws_order_desk`, `tws_market_desk`,
`tws_account_desk`); this class only sends requests to the right one.

No clock is read: every call carries market time, which must not run backwards.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from protocol.exchange.happenings import MarketTick
from protocol.exchange.intake import ALL_STOCKS
from protocol.exchange.market import Market
from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.tws_account_desk import AccountDesk, AccountRequest
from protocol.exchange.tws_clients import NO_ID, Client, ClientKey, Clients, Said
from protocol.exchange.tws_market_desk import DataRequest, MarketDesk
from protocol.exchange.tws_order_desk import Noted, OrderDesk
from protocol.exchange.tws_refusals import request_id
from protocol.exchange.tws_session import Farm, SessionLife
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.tws import messages as m

CLIENT_ID_IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."
BAD_REQUEST_CODE = 320
UNKNOWN_MESSAGE_CODE = 505


class TwsServer:
    """All sessions of one simulated TWS, with its venue and its market."""

    def __init__(self, market: Market, venue: Venue, settings: TwsSettings | None = None) -> None:
        self.venue = venue
        self.clients = Clients()
        self._market = market
        settings = settings or TwsSettings()
        self._data = MarketDesk(
            market,
            self.clients,
            settings.market,
            bring=self._deal,
            set_grid=venue.set_grid,
            hard_to_borrow=self._is_hard_to_borrow,
            exchange=venue.settings.exchange,
        )
        self._accounts = AccountDesk(venue, self.clients)
        self._session = SessionLife(self.clients, settings)
        self._due: datetime | None = None
        """No earlier than this something is due by time, beyond what market and account look after."""
        self.orders = OrderDesk(
            venue,
            self.clients,
            settings,
            resolve=self._data.resolve,
            opens_after=self._opens_after,
            position_changed=self._accounts.position_changed,
        )

    # --- connections --------------------------------------------------------------------------

    def connected(self, key: ClientKey, version: int) -> None:
        """A connection has agreed on a version; it says who it is with startApi."""
        self.clients.add(key, version)

    def disconnected(self, key: ClientKey, at: datetime) -> int | None:
        """A connection is gone; its orders stay. Returns its client id, if it had one."""
        client = self.clients.get(key)
        if client is None:
            return None
        if client.client_id is not None and self.clients.named(client.client_id) is client:
            self._session.hold_id(client.client_id, at)
        self.clients.remove(key)
        self._data.forget(client)
        self._accounts.forget(client)
        self.orders.hear()
        self._accounts.advance(at)
        return client.client_id

    def take(self) -> tuple[tuple[ClientKey, m.ServerMessage], ...]:
        """What is to be sent since the last call, in order."""
        return self.clients.take()

    def take_packed(self) -> list[tuple[ClientKey, Said]]:
        """The same with the ticks of one instant and line together."""
        return self.clients.take_packed()

    def take_closing(self) -> tuple[ClientKey, ...]:
        """Connections to be closed once everything taken for them has been sent."""
        return self.clients.take_closing()

    @property
    def next_at(self) -> datetime | None:
        """No later than the next thing that is due by time, beyond what is looked after each second."""
        return self._due

    def take_dropped(self) -> tuple[ClientKey, ...]:
        """Connections that end now, without another word: TWS restarts."""
        return self.clients.take_dropped()

    def take_noted(self) -> tuple[Noted, ...]:
        """What has happened at the venue since the last call."""
        return self.orders.take_noted()

    def resolve(self, contract: m.Contract) -> m.Contract | None:
        """The contract that is meant, complete; None when there is none or several."""
        return self._data.resolve(contract)

    def follow_again(self, key: str, at: datetime) -> None:
        """Make a contract tick that was followed before a restart, from `at` on."""
        self._data.follow_again(key, at)

    # --- the market ---------------------------------------------------------------------------

    def tick(self, tick: MarketTick) -> None:
        """Watchers see a tick before they see what it did at the venue."""
        if self._due is not None and tick.at >= self._due:
            self._pass_time(tick.at)
        for earlier in self._data.walked_until(tick.at):
            self._deal(earlier)
        self._deal(tick)
        for following in self._data.followed_by(tick):
            self._deal(following)

    def _deal(self, tick: MarketTick) -> None:
        """One tick of one contract, to those who watch it and to the venue."""
        if self._session.mutes_market:
            self._take_unheard(tick)
        else:
            self._data.take_tick(tick)
        self.venue.tick(tick)
        if self.orders.hear():
            self._reckon()

    def tick_unseen(self, tick: MarketTick) -> None:
        """A tick of the past, before anyone was connected: only the quotes are brought up to date."""
        self._data.take_tick(tick)
        for following in self._data.followed_by(tick):
            self._data.take_tick(following)

    def turn(self, boundary: Boundary) -> None:
        """The trading day turns."""
        self._pass_time(boundary.at)
        match boundary.turn:
            case Turn.OPENS:
                self.venue.set_session(boundary.at, is_open=True)
            case Turn.CLOSES:
                self.venue.set_session(boundary.at, is_open=False)
            case Turn.DAY_ENDS:
                self.venue.end_of_session(boundary.at)
            case _:
                assert_never(boundary.turn)
        self.orders.hear()
        self._reckon()

    def advance(self, at: datetime) -> None:
        """It is `at`: orders that are good until then expire, and what is due by time is said."""
        self._pass_time(at)
        for tick in self._data.walked_until(at):
            self._deal(tick)
        self.venue.advance(at)
        if self.orders.hear():
            self._reckon()
        said = self.clients.said_so_far()
        self._data.advance(at)
        if self._session.mutes_market:
            self.clients.unsay(said)
        self._accounts.advance(at)

    def _pass_time(self, at: datetime) -> None:
        """What is due by now: requests on their way to the venue, reports on theirs back, the restart."""
        if self._session.advance(at):
            self.restart(at)
        self.orders.advance(at)
        self._reckon()

    def _reckon(self) -> None:
        orders_at, session_at = self.orders.next_at, self._session.next_at
        if orders_at is None or session_at is None:
            self._due = orders_at or session_at
        else:
            self._due = min(orders_at, session_at)

    def _take_unheard(self, tick: MarketTick) -> None:
        said = self.clients.said_so_far()
        self._data.take_tick(tick)
        self.clients.unsay(said)

    # --- the links of TWS itself --------------------------------------------------------------

    def connectivity_lost(self, at: datetime, *, told: bool = False) -> None:
        """TWS has lost IBKR: 1100. Orders live on at the venue; nothing more is heard of them, nor of the
        market, until the two meet again. `told`: what happens to orders is told all the same."""
        self._pass_time(at)
        self._session.lost(at)
        self.orders.lose_venue(told=told)
        self._reckon()

    def connectivity_restored(self, at: datetime, *, data_lost: bool = False) -> None:
        """1102 and everything goes on, or 1101: market data has to be asked for anew."""
        self._pass_time(at)
        if data_lost:
            for client in self.clients:
                self._data.drop_subscriptions(client)
        self._session.restored(data_lost=data_lost)
        self.orders.regain_venue(at)
        self._reckon()

    def farm_broken(self, farm: Farm) -> None:
        """A data farm is gone (2103, 2105, 2157); without that of market data no ticks come."""
        self._session.farm_broken(farm)

    def farm_ok(self, farm: Farm) -> None:
        self._session.farm_ok(farm)

    def restart(self, at: datetime) -> None:
        """The nightly restart: `take_dropped` has the connections to end, see `TwsSettings`."""
        for client in self.clients:
            self._data.forget(client)
            self._accounts.forget(client)
        self.clients.drop_all()
        self._session.restarted()
        self.orders.restart(at)
        self._reckon()

    # --- requests -----------------------------------------------------------------------------

    def receive(self, key: ClientKey, request: m.ClientRequest, at: datetime) -> None:
        """One request of a connection. Nothing that a client can send ends its session."""
        client = self.clients.get(key)
        if client is None:
            raise ValueError(f"connection {key} is not known")
        if self._due is not None and at >= self._due:
            self._pass_time(at)
        if isinstance(request, m.StartApi):
            self._start(client, request, at)
        elif client.client_id is None:
            return  # a client that has not said who it is would lose every answer
        elif isinstance(request, m.UnknownRequest):
            code = BAD_REQUEST_CODE if request.fields else UNKNOWN_MESSAGE_CODE
            text = f"Request {request.message_id} could not be understood: {request.why}"
            self.clients.refuse(client, request_id(request, client.version), code, text)
        else:
            self._answer(client, request, at)
            self._reckon()

    def _start(self, client: Client, request: m.StartApi, at: datetime) -> None:
        if client.client_id is not None:
            return
        busy = self._session.holds_id(request.client_id, at)
        if busy or not self.clients.name(client, request.client_id):
            self.clients.refuse(client, NO_ID, 326, CLIENT_ID_IN_USE)
            self.clients.close(client)
            return
        if self.orders.say_own_orders(client):
            self.clients.say(client, (m.OpenOrderEnd(),))
        self.clients.say(client, (m.ManagedAccounts(self.venue.account_names), self._next_id(client)))
        self._session.greet(client)

    def _answer(self, client: Client, request: _Answerable, at: datetime) -> None:
        match request:
            case m.PlaceOrder() | m.CancelOrder() | m.GlobalCancel():
                self._change_orders(client, request, at)
            case m.ReqOpenOrders():
                self.orders.say_open_orders(client, at, everyones=False)
            case m.ReqAllOpenOrders():
                self.orders.say_open_orders(client, at, everyones=True)
            case m.ReqCompletedOrders():
                self.orders.say_completed_orders(client, request)
            case m.ReqExecutions():
                self.orders.say_executions(client, request, at)
            case m.ReqAutoOpenOrders(auto_bind=bind):
                self.orders.take_auto_open_orders(client, bind=bind)
            case m.SetServerLogLevel():
                pass  # TWS does not answer it
            case m.ReqIds():
                self.clients.say(client, (self._next_id(client),))
            case m.ReqManagedAccounts():
                self.clients.say(client, (m.ManagedAccounts(self.venue.account_names),))
            case m.ReqCurrentTime():
                self.clients.say(client, (m.CurrentTime(int(at.timestamp())),))
            case m.ReqCurrentTimeInMillis():
                self.clients.say(client, (m.CurrentTimeInMillis(int(at.timestamp() * 1000)),))
            case m.ReqUserInfo(req_id=req_id):
                self.clients.say(client, (m.UserInfo(req_id, ""),))
            case (
                m.ReqPositions() | m.CancelPositions() | m.ReqAccountUpdates() | m.ReqAccountUpdatesMulti()
                | m.CancelAccountUpdatesMulti() | m.ReqAccountSummary() | m.CancelAccountSummary()
                | m.ReqPnL() | m.CancelPnL() | m.ReqPnLSingle() | m.CancelPnLSingle()
                | m.ReqPositionsMulti() | m.CancelPositionsMulti() | m.ReqFamilyCodes()
                | m.ReqSoftDollarTiers() | m.RequestFa() | m.ReplaceFa()
            ):  # fmt: skip
                self._accounts.answer(client, request, at)
            case _:
                self._data.answer(client, request, at)

    def _change_orders(self, client: Client, request: _OrderRequest, at: datetime) -> None:
        match request:
            case m.PlaceOrder():
                self.orders.place(client, request, at)
            case m.CancelOrder():
                self.orders.cancel(client, request, at)
            case m.GlobalCancel():
                self.orders.cancel_all(client, request, at)
            case _:
                assert_never(request)

    def _is_hard_to_borrow(self, key: str) -> bool:
        hard = self.venue.settings.short_locate
        return key in hard or ALL_STOCKS in hard

    def _next_id(self, client: Client) -> m.NextValidId:
        assert client.client_id is not None
        return m.NextValidId(self.orders.largest_order_id(client.client_id) + 1)

    def _opens_after(self, at: datetime) -> datetime | None:
        if self.venue.session_open:
            return None
        session = self._market.session_after(at)
        return None if session is None else session.start


_OrderRequest = m.PlaceOrder | m.CancelOrder | m.GlobalCancel
_Answerable = (
    _OrderRequest | DataRequest | AccountRequest | m.ReqIds | m.ReqOpenOrders | m.ReqAllOpenOrders
    | m.ReqAutoOpenOrders | m.ReqCompletedOrders | m.ReqExecutions | m.ReqManagedAccounts
    | m.ReqCurrentTime | m.ReqCurrentTimeInMillis | m.ReqUserInfo | m.SetServerLogLevel
)  # fmt: skip
