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
from protocol.exchange.market import Market
from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.tws_account_desk import AccountDesk
from protocol.exchange.tws_clients import NO_ID, Client, ClientKey, Clients
from protocol.exchange.tws_market_desk import MarketDesk
from protocol.exchange.tws_order_desk import Noted, OrderDesk
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m

CLIENT_ID_IN_USE = "Unable to connect as the client id is already in use. Retry with a unique client id."
FARM_NOTICES = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefnj"),
)
BAD_REQUEST_CODE = 320
UNKNOWN_MESSAGE_CODE = 505


class TwsServer:
    """All sessions of one simulated TWS, with its venue and its market."""

    def __init__(
        self,
        market: Market,
        venue: Venue,
        venue_settings: VenueSettings,
        settings: TwsSettings | None = None,
    ) -> None:
        """`venue_settings`: those that the venue was opened with."""
        self.venue = venue
        self.clients = Clients()
        self._market = market
        self._data = MarketDesk(market, self.clients)
        self._accounts = AccountDesk(venue, self.clients)
        self.orders = OrderDesk(
            venue,
            self.clients,
            settings or TwsSettings(),
            venue_settings,
            resolve=self._data.resolve,
            price_of=self._data.price_of,
            opens_after=self._opens_after,
            position_changed=self._accounts.position_changed,
        )

    # --- connections --------------------------------------------------------------------------

    def connected(self, key: ClientKey, version: int) -> None:
        """A connection has agreed on a version; it says who it is with startApi."""
        self.clients.add(key, version)

    def disconnected(self, key: ClientKey, at: datetime) -> int | None:
        """A connection is gone; its orders stay. Returns its client id, if it had one."""
        client = self.clients.remove(key)
        if client is None:
            return None
        self._data.forget(client)
        self.orders.hear()
        self._accounts.advance(at)
        return client.client_id

    def take(self) -> tuple[tuple[ClientKey, m.ServerMessage], ...]:
        """What is to be sent since the last call, in order."""
        return self.clients.take()

    def take_closing(self) -> tuple[ClientKey, ...]:
        """Connections to be closed once everything taken for them has been sent."""
        return self.clients.take_closing()

    def take_noted(self) -> tuple[Noted, ...]:
        """What has happened at the venue since the last call."""
        return self.orders.take_noted()

    # --- the market ---------------------------------------------------------------------------

    def tick(self, tick: MarketTick) -> None:
        """Watchers see a tick before they see what it did at the venue."""
        self._data.take_tick(tick)
        self.venue.tick(tick)
        self.orders.hear()

    def tick_unseen(self, tick: MarketTick) -> None:
        """A tick of the past, before anyone was connected: only the quotes are brought up to date."""
        self._data.take_tick(tick)

    def turn(self, boundary: Boundary) -> None:
        """The trading day turns."""
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

    def advance(self, at: datetime) -> None:
        """It is `at`: orders that are good until then expire, and what is due by time is said."""
        self.venue.advance(at)
        self.orders.hear()
        self._data.advance(at)
        self._accounts.advance(at)

    # --- requests -----------------------------------------------------------------------------

    def receive(self, key: ClientKey, request: m.ClientRequest, at: datetime) -> None:
        """One request of a connection. Nothing that a client can send ends its session."""
        client = self.clients.get(key)
        if client is None:
            raise ValueError(f"connection {key} is not known")
        if isinstance(request, m.StartApi):
            self._start(client, request)
        elif client.client_id is None:
            return  # a client that has not said who it is would lose every answer
        elif isinstance(request, m.UnknownRequest):
            code = BAD_REQUEST_CODE if request.fields else UNKNOWN_MESSAGE_CODE
            text = f"Request {request.message_id} could not be understood: {request.why}"
            self.clients.refuse(client, NO_ID, code, text)
        else:
            self._answer(client, request, at)

    def _start(self, client: Client, request: m.StartApi) -> None:
        if client.client_id is not None:
            return
        if not self.clients.name(client, request.client_id):
            self.clients.refuse(client, NO_ID, 326, CLIENT_ID_IN_USE)
            self.clients.close(client)
            return
        if self.orders.say_own_orders(client):
            self.clients.say(client, (m.OpenOrderEnd(),))
        self.clients.say(client, (m.ManagedAccounts(self.venue.account_names), self._next_id(client)))
        for code, text in FARM_NOTICES:
            self.clients.refuse(client, NO_ID, code, text)

    def _answer(self, client: Client, request: _Answerable, at: datetime) -> None:
        match request:
            case m.PlaceOrder() | m.CancelOrder() | m.GlobalCancel():
                self._change_orders(client, request, at)
            case m.ReqOpenOrders():
                self.orders.say_open_orders(client, everyones=False)
            case m.ReqAllOpenOrders():
                self.orders.say_open_orders(client, everyones=True)
            case m.ReqCompletedOrders():
                self.orders.say_completed_orders(client)
            case m.ReqExecutions():
                self.orders.say_executions(client, request, at)
            case m.ReqAutoOpenOrders() | m.SetServerLogLevel() | m.ReqMarketDataType():
                pass  # TWS answers none of them; there are no manual orders to bind and no delayed data
            case m.ReqIds():
                self.clients.say(client, (self._next_id(client),))
            case m.ReqManagedAccounts():
                self.clients.say(client, (m.ManagedAccounts(self.venue.account_names),))
            case m.ReqCurrentTime():
                self.clients.say(client, (m.CurrentTime(int(at.timestamp())),))
            case (
                m.ReqContractDetails() | m.ReqMarketRule() | m.ReqMktData() | m.CancelMktData()
                | m.ReqHistoricalData() | m.CancelHistoricalData()
            ):  # fmt: skip
                self._answer_about_market(client, request, at)
            case (
                m.ReqPositions() | m.CancelPositions() | m.ReqAccountUpdates() | m.ReqAccountUpdatesMulti()
                | m.CancelAccountUpdatesMulti() | m.ReqAccountSummary() | m.CancelAccountSummary()
                | m.ReqPnL() | m.CancelPnL() | m.ReqPnLSingle() | m.CancelPnLSingle()
            ):  # fmt: skip
                self._answer_about_account(client, request, at)
            case _:
                assert_never(request)

    def _change_orders(self, client: Client, request: _OrderRequest, at: datetime) -> None:
        match request:
            case m.PlaceOrder():
                self.orders.place(client, request, at)
            case m.CancelOrder(order_id=order_id):
                self.orders.cancel(client, order_id, at)
            case m.GlobalCancel():
                self.orders.cancel_all(client, at)
            case _:
                assert_never(request)

    def _answer_about_market(self, client: Client, request: _MarketRequest, at: datetime) -> None:
        match request:
            case m.ReqContractDetails():
                self._data.say_details(client, request, at)
            case m.ReqMarketRule():
                self._data.say_market_rule(client, request)
            case m.ReqMktData():
                self._data.take_data_request(client, request)
            case m.CancelMktData(req_id=req_id):
                self._data.stop_data(client, req_id)
            case m.ReqHistoricalData():
                self._data.take_history_request(client, request, at)
            case m.CancelHistoricalData(req_id=req_id):
                self._data.stop_history(client, req_id)
            case _:
                assert_never(request)

    def _answer_about_account(self, client: Client, request: _AccountRequest, at: datetime) -> None:
        match request:
            case m.ReqPositions():
                self._accounts.say_positions(client)
            case m.CancelPositions():
                client.wants_positions = False
            case m.ReqAccountUpdates():
                self._accounts.take_updates_request(client, request, at)
            case m.ReqAccountUpdatesMulti():
                self._accounts.take_multi_request(client, request)
            case m.CancelAccountUpdatesMulti(req_id=req_id):
                client.multi_updates.pop(req_id, None)
            case m.ReqAccountSummary():
                self._accounts.take_summary_request(client, request)
            case m.CancelAccountSummary(req_id=req_id):
                client.summaries.pop(req_id, None)
            case m.ReqPnL():
                self._accounts.take_profit_request(client, request)
            case m.CancelPnL(req_id=req_id):
                client.profits.pop(req_id, None)
            case m.ReqPnLSingle():
                self._accounts.take_single_profit_request(client, request)
            case m.CancelPnLSingle(req_id=req_id):
                client.single_profits.pop(req_id, None)
            case _:
                assert_never(request)

    def _next_id(self, client: Client) -> m.NextValidId:
        assert client.client_id is not None
        return m.NextValidId(self.venue.largest_order_id(client.client_id) + 1)

    def _opens_after(self, at: datetime) -> datetime | None:
        if self.venue.session_open:
            return None
        session = self._market.session_after(at)
        return None if session is None else session.start


_OrderRequest = m.PlaceOrder | m.CancelOrder | m.GlobalCancel
_MarketRequest = (
    m.ReqContractDetails | m.ReqMarketRule | m.ReqMktData | m.CancelMktData
    | m.ReqHistoricalData | m.CancelHistoricalData
)  # fmt: skip
_AccountRequest = (
    m.ReqPositions | m.CancelPositions | m.ReqAccountUpdates | m.ReqAccountUpdatesMulti
    | m.CancelAccountUpdatesMulti | m.ReqAccountSummary | m.CancelAccountSummary
    | m.ReqPnL | m.CancelPnL | m.ReqPnLSingle | m.CancelPnLSingle
)  # fmt: skip
_Answerable = (
    _OrderRequest | _MarketRequest | _AccountRequest | m.ReqIds | m.ReqOpenOrders | m.ReqAllOpenOrders
    | m.ReqAutoOpenOrders | m.ReqCompletedOrders | m.ReqExecutions | m.ReqManagedAccounts
    | m.ReqCurrentTime | m.SetServerLogLevel | m.ReqMarketDataType
)  # fmt: skip
