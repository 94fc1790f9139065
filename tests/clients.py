"""A simulated TWS in a thread of its own, for clients that have loops or threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import attrs
import outcome
import trio

from actors.simulated_tws import SimulatedTws
from protocol.exchange.market import Market
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue import Venue
from protocol.exchange.venue_settings import VenueSettings
from protocol.values import Symbol
from tests.directed_market import DEEP, DirectedMarket

T = TypeVar("T")

HOST: Final = "127.0.0.1"
ACCOUNT: Final = "DU1234567"
PATIENCE_LOOP_S: Final = 10.0
"""For machines with other things to do; what is waited for takes a few hundredths of a second."""


@attrs.frozen
class ServedTws:
    """It listens on `port`; what it knows may be asked, and its market directed, from the test's thread."""

    port: int
    tws: SimulatedTws
    market: Market
    token: trio.lowlevel.TrioToken

    def ask(self, question: Callable[[Venue], T]) -> T:
        """What the venue, which is the truth, answers: asked in the thread that changes it."""
        return trio.from_thread.run_sync(lambda: question(self.tws.venue), trio_token=self.token)

    def show(self, symbol: Symbol, price: float, *, size: int = DEEP) -> None:
        """A price, from two seconds of a directed market later on."""
        market = self.market
        assert isinstance(market, DirectedMarket)
        trio.from_thread.run_sync(lambda: market.show(symbol, price, size=size), trio_token=self.token)

    def position(self, symbol: str) -> int:
        held = self.ask(lambda venue: venue.positions(ACCOUNT))
        return sum(each.quantity for each in held if each.contract.symbol == symbol)


@contextmanager
def serving(
    market: Market,
    *,
    speed: float,
    venue: VenueSettings | None = None,
    settings: TwsSettings | None = None,
    server_version_max: int = 178,
) -> Iterator[ServedTws]:
    """The simulated TWS from the beginning of its market on. If it crashes, so does the block, at its end."""
    served: list[ServedTws] = []
    ends: list[outcome.Maybe[None]] = []
    ready, stop = threading.Event(), trio.Event()

    async def serve() -> None:
        tws = SimulatedTws(
            market, venue or VenueSettings(), speed=speed, settings=settings,
            server_version_max=server_version_max,
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await nursery.start(tws.run)
            port = await tws.listen(HOST, 0)
            served.append(ServedTws(port, tws, market, trio.lowlevel.current_trio_token()))
            ready.set()
            await stop.wait()
            nursery.cancel_scope.cancel()

    def live() -> None:
        ends.append(outcome.capture(trio.run, serve))
        ready.set()

    thread = threading.Thread(target=live, name="simulated TWS")
    thread.start()
    assert ready.wait(PATIENCE_LOOP_S)
    try:
        if served:
            yield served[0]
    finally:
        if thread.is_alive():
            served[0].token.run_sync_soon(stop.set)
        thread.join(PATIENCE_LOOP_S)
    ends[0].unwrap()
