"""A TwsServer on a synthetic market that runs: what a client hears while seconds of market time go by."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from protocol.exchange.happenings import MarketTick
from protocol.exchange.replay import Replay
from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_server import TwsServer
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m

STOCK = m.Contract(symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
OPTION = m.Contract(
    symbol="SLV", sec_type="OPT", last_trade_date_or_contract_month="20250221", strike=27.0, right="C",
    exchange="SMART", currency="USD",
)  # fmt: skip
FUTURE = m.Contract(
    symbol="ES", sec_type="FUT", last_trade_date_or_contract_month="202503", exchange="CME", currency="USD"
)
PAIR = m.Contract(symbol="EUR", sec_type="CASH", exchange="IDEALPRO", currency="USD")
OF_EVERY_KIND = (STOCK, OPTION, FUTURE, PAIR)


class RunningFace:
    """Ten in the morning of the demo's day; client 1 is connected."""

    def __init__(self, settings: MarketSettings | None = None, *, seed: int = 7, version: int = 178) -> None:
        self.market = SyntheticMarket(seed)
        self.venue = Venue(VenueSettings())
        self.server = TwsServer(self.market, self.venue, TwsSettings(market=settings or MarketSettings()))
        self.now = self.market.start
        self.server.turn(Boundary(self.now, Turn.OPENS))
        self._replay = Replay(self.market, self.now)
        self.connect(1, version=version)

    def connect(self, client_id: int, *, version: int = 178) -> None:
        self.server.connected(client_id, version)
        self.ask(m.StartApi(client_id), client_id)

    def ask(self, request: m.ClientRequest, client_id: int = 1) -> list[m.ServerMessage]:
        self.server.receive(client_id, request, self.now)
        return self.heard(client_id)

    def run(self, seconds: float, client_id: int = 1) -> list[m.ServerMessage]:
        """Let the market run; what this client hears of it."""
        end = self.now + timedelta(seconds=seconds)
        while (at := self._replay.next_at) is not None and at <= end:
            match self._replay.take():
                case MarketTick() as tick:
                    self.server.tick(tick)
                case Boundary() as boundary:
                    self.server.turn(boundary)
                case None:
                    break
        self.now = end
        self._replay.pass_time(end)
        self.server.advance(end)
        return self.heard(client_id)

    def heard(self, client_id: int = 1) -> list[m.ServerMessage]:
        return [message for key, message in self.server.take() if key == client_id]

    def buy(self, order_id: int, contract: m.Contract, quantity: int) -> list[m.ServerMessage]:
        order = m.Order(action="BUY", total_quantity=Decimal(quantity), order_type="MKT")
        return self.ask(m.PlaceOrder(order_id, contract, order))
