"""A TwsServer with a market of two stocks that moves only when a test says so."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from protocol.exchange.calendar import Session, session_of
from protocol.exchange.happenings import MarketTick
from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.tws_server import TwsServer
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from protocol.values import Bar

DAY = date(2025, 1, 23)
OPENING = datetime(2025, 1, 23, 14, 30, tzinfo=UTC)
NOW = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)


class StillMarket:
    """Knows SLV and GLD; its ticks are those that a test lists, its minutes are flat at 25 dollars."""

    symbols = ("GLD", "SLV")
    has_regular_hours = True

    def __init__(self, ticks: tuple[MarketTick, ...] = ()) -> None:
        self._ticks = ticks
        session = session_of(DAY)
        assert session is not None
        self.sessions = (session,)

    @property
    def start(self) -> datetime:
        return self.sessions[0].start

    @property
    def end(self) -> datetime:
        return self.sessions[-1].end

    def knows(self, symbol: str) -> bool:
        return symbol in self.symbols

    def add(self, symbol: str) -> None:
        if not self.knows(symbol):
            raise KeyError(symbol)

    def session_after(self, at: datetime) -> Session | None:
        return next((session for session in self.sessions if at < session.end), None)

    def ticks(self, from_: datetime) -> Iterator[MarketTick]:
        return iter([tick for tick in self._ticks if tick.at >= from_])

    def history(
        self, symbol: str, bar_s: int, end: datetime, count: int, *, regular_only: bool = False
    ) -> tuple[Bar, ...]:
        del regular_only  # there is no other trading
        if symbol != "SLV":
            return ()
        minute = timedelta(seconds=bar_s)
        starts = [OPENING + minute * number for number in range((end - OPENING) // minute)]
        return tuple(Bar(start, 25.0, 25.5, 24.5, 25.25, 1200) for start in starts[-count:])


class Face:
    """The server and what it said since the last look, client by client."""

    def __init__(
        self,
        settings: TwsSettings | None = None,
        *,
        open_: bool = True,
        venue: VenueSettings | None = None,
    ) -> None:
        self.market = StillMarket()
        self.settings = venue or VenueSettings()
        self.server = TwsServer(self.market, Venue(self.settings), settings)
        self.now = NOW
        self.server.turn(Boundary(OPENING, Turn.OPENS if open_ else Turn.CLOSES))

    def connect(self, client_id: int = 1, *, version: int = 178) -> list[m.ServerMessage]:
        """A connection whose key is its client id."""
        self.server.connected(client_id, version)
        return self.ask(m.StartApi(client_id), client_id)

    def ask(self, request: m.ClientRequest, client_id: int = 1) -> list[m.ServerMessage]:
        self.server.receive(client_id, request, self.now)
        return self.heard(client_id)

    def place(self, order_id: int, order: m.Order, client_id: int = 1) -> list[m.ServerMessage]:
        return self.ask(m.PlaceOrder(order_id, SLV, order), client_id)

    def quote(self, bid: float, ask: float, *, size: int = 1000, after_s: float = 0) -> list[m.ServerMessage]:
        """SLV's market moves; what client 1 hears of it."""
        self.now += timedelta(seconds=after_s)
        self.server.tick(MarketTick(self.now, "SLV", bid, size, ask, size))
        return self.heard()

    def trade(self, price: float, *, size: int = 100, volume: int | None = None) -> list[m.ServerMessage]:
        self.server.tick(MarketTick(self.now, "SLV", last=price, last_size=size, volume=volume))
        return self.heard()

    def pass_time(self, seconds: float) -> list[m.ServerMessage]:
        self.now += timedelta(seconds=seconds)
        self.server.advance(self.now)
        return self.heard()

    def heard(self, client_id: int = 1) -> list[m.ServerMessage]:
        """What this client was told; what others were told is forgotten."""
        return [message for key, message in self.server.take() if key == client_id]


SLV = m.Contract(symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
SLV_ECHO = m.Contract(
    con_id=44_800_669,
    symbol="SLV",
    sec_type="STK",
    exchange="SMART",
    currency="USD",
    local_symbol="SLV",
    trading_class="SLV",
)


def market_order(action: str, quantity: int) -> m.Order:
    return m.Order(action=action, total_quantity=Decimal(quantity), order_type="MKT", order_ref="ref")


def limit_order(action: str, quantity: int, price: float, tif: str = "DAY") -> m.Order:
    return m.Order(
        action=action, total_quantity=Decimal(quantity), order_type="LMT", lmt_price=price, tif=tif
    )


def said(messages: list[m.ServerMessage]) -> list[str]:
    """Messages in short: `openOrder 1 Submitted`, `error 1 202`."""
    short: list[str] = []
    for message in messages:
        match message:
            case m.OpenOrder():
                short.append(f"openOrder {message.order_id} {message.state.status}")
            case m.OrderStatus():
                counts = f"{message.filled}/{message.filled + message.remaining}"
                held = f" ({message.why_held})" if message.why_held else ""
                short.append(f"orderStatus {message.order_id} {message.status} {counts}{held}")
            case m.ExecDetails(execution=execution):
                short.append(f"execDetails {execution.order_id} {execution.side} {execution.shares}")
            case m.CommissionReport():
                short.append("commissionReport")
            case m.ErrorMessage():
                short.append(f"error {message.id} {message.code}")
            case _:
                short.append(type(message).__name__)
    return short
