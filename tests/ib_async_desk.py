"""ib_async on a simulated TWS: its own client, waits that end, and an ear for its complaints."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import attrs
from ib_async import IB, MarketOrder, Order, Stock
from ib_async import Trade as Placed
from ib_async.util import getLoop

from protocol.exchange.happenings import VenueOrder
from protocol.exchange.tws_settings import TwsSettings
from tests.clients import HOST, PATIENCE_LOOP_S, ServedTws, serving
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV

PRICES: Final = {SLV: 25.0, GLD: 190.0}
SPEED: Final = 40.0
GLANCE_LOOP_S: Final = 0.01


class Complaints(logging.Handler):
    """What ib_async has to say about what it hears, from warnings on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@attrs.frozen
class Client:
    """ib_async's own client, and the simulated TWS that it is connected to."""

    ib: IB
    tws: ServedTws

    def until(self, condition: Callable[[], object]) -> None:
        """Look again and again while ib_async listens; not for ever."""
        deadline = time.monotonic() + PATIENCE_LOOP_S
        while not condition():
            assert time.monotonic() < deadline, "it has never come"
            self.ib.sleep(GLANCE_LOOP_S)

    def stock(self, symbol: str = "SLV") -> Stock:
        (found,) = self.ib.qualifyContracts(Stock(symbol, "SMART", "USD"))
        assert isinstance(found, Stock)
        return found

    def place(self, order: Order, *, until: str, symbol: str = "SLV") -> Placed:
        placed = self.ib.placeOrder(self.stock(symbol), order)
        self.until(lambda: placed.orderStatus.status == until)
        return placed

    def bought(self, shares: int = 100) -> Placed:
        return self.charged(self.place(MarketOrder("BUY", shares), until="Filled"))

    def charged(self, placed: Placed) -> Placed:
        """Once the commission of every fill has come."""
        self.until(lambda: placed.fills and all(fill.commissionReport.execId for fill in placed.fills))
        return placed

    def venues(self, placed: Placed) -> VenueOrder:
        """The same order, as the venue has it."""
        order = self.tws.ask(lambda venue: venue.find(1, placed.order.orderId))
        assert order is not None
        return order

    def ends_as(self, placed: Placed, status: str) -> None:
        self.until(lambda: placed.orderStatus.status == status)
        assert placed.isDone()


@contextmanager
def heard_without_complaint(*expected: str) -> Iterator[None]:
    """ib_async logs no warning and no error but these, in order: each `Error CODE, …` by its beginning."""
    complaints, log = Complaints(), logging.getLogger("ib_async")
    log.addHandler(complaints)
    try:
        yield
    finally:
        log.removeHandler(complaints)
    unlike = [
        text for text, begins in zip(complaints.heard, expected, strict=False) if not text.startswith(begins)
    ]
    assert (len(complaints.heard), unlike) == (len(expected), []), complaints.heard


def leave(ib: IB) -> None:
    """Disconnect, and let asyncio close the socket."""
    ib.disconnect()
    while ib.client.conn.transport is not None:
        ib.sleep(GLANCE_LOOP_S)


def another(tws: ServedTws) -> IB:
    """Client 2; to be left."""
    other = IB()
    other.RequestTimeout, other.RaiseRequestErrors = PATIENCE_LOOP_S, True
    other.connect(HOST, tws.port, 2, timeout=PATIENCE_LOOP_S)
    return other


@contextmanager
def connected(tws: ServedTws, client_id: int = 1) -> Iterator[Client]:
    """A client that is patient, but not for ever, and that raises what is answered with an error."""
    ib, loop = IB(), getLoop()  # type: ignore[no-untyped-call]
    ib.RequestTimeout, ib.RaiseRequestErrors = PATIENCE_LOOP_S, True
    try:
        ib.connect(HOST, tws.port, client_id, timeout=PATIENCE_LOOP_S)
        try:
            yield Client(ib, tws)
        finally:
            leave(ib)
    finally:
        loop.close()


@contextmanager
def on_stage(settings: TwsSettings | None = None, *, version: int = 178) -> Iterator[ServedTws]:
    """The simulated TWS on a directed market of two stocks, a second of which lasts 25 ms."""
    market = DirectedMarket(PRICES)
    with serving(market, speed=SPEED, settings=settings, server_version_max=version) as served:
        yield served
