"""A simulated TWS with faults on command, its client over a memory link, and the truth file beside them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import attrs
import trio

from actors.simulated_tws import SimulatedTws
from protocol.exchange.faults import Fault
from protocol.exchange.happenings import MarketTick
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from tests.memory_client import MemoryClient
from tests.tws_faces import OPENING, SLV, StillMarket, limit_order, said

BEFORE_OPENING_S = 30.0
"""From the start of the clock to the opening."""


def ticking(seconds: int = 400) -> StillMarket:
    """SLV at 25.00 to 25.02, 1000 shown, every second from the opening on; a trade each second."""
    return StillMarket(
        tuple(
            MarketTick(
                OPENING + timedelta(seconds=second), "SLV", 25.0, 1000, 25.02, 1000, 25.01, 100, 100 * second
            )
            for second in range(seconds)
        )
    )


@attrs.define
class Stage:
    """The simulated TWS, one client of id 1, and what the truth file says."""

    tws: SimulatedTws
    client: MemoryClient
    truth: Path

    async def heard_after(self, loop_s: float = 1.0) -> list[str]:
        """What the client hears from now on, in short."""
        return said(await self.messages_after(loop_s))

    async def messages_after(self, loop_s: float = 1.0) -> list[m.ServerMessage]:
        since = len(self.client.heard)
        await self.client.listen_for(loop_s)
        return self.client.heard[since:]

    async def place(self, order: m.Order, loop_s: float = 1.0) -> list[str]:
        """Place it, and listen."""
        since = len(self.client.heard)
        await self.client.place("SLV", order)
        await self.client.listen_for(loop_s)
        return said(self.client.heard[since:])

    async def ask(self, request: m.ClientRequest, loop_s: float = 1.0) -> list[str]:
        since = len(self.client.heard)
        await self.client.send(request)
        await self.client.listen_for(loop_s)
        return said(self.client.heard[since:])

    async def bracket(self) -> None:
        """Orders 1, 2 and 3: an entry that rests, its target and its stop."""
        parent = self.client.next_id
        await self.client.place("SLV", attrs.evolve(limit_order("BUY", 100, 24.0), transmit=False))
        await self.client.place(
            "SLV", attrs.evolve(limit_order("SELL", 100, 26.0), transmit=False, parent_id=parent)
        )
        await self.client.place("SLV", attrs.evolve(stop_order("SELL", 100, 23.0), parent_id=parent))

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.truth.read_text().splitlines()]

    @property
    def faults(self) -> list[tuple[object, object]]:
        """Kind and object of every fault in the truth file."""
        return [(line["fault"], line["what"]) for line in self.lines if line["kind"] == "fault"]

    async def another(self, client_id: int) -> MemoryClient:
        client = MemoryClient(self.tws.connect_memory())
        await client.connect(client_id)
        return client


def stop_order(action: str, quantity: int, price: float) -> m.Order:
    order = limit_order(action, quantity, 0.0)
    return attrs.evolve(order, order_type="STP", lmt_price=None, aux_price=price)


@asynccontextmanager
async def stage(
    tmp_path: Path,
    *faults: Fault,
    watching: bool = False,
    market: StillMarket | None = None,
    **options: object,
) -> AsyncIterator[Stage]:
    """Ten seconds after the opening; `watching`: the client has market data line 5 on SLV."""
    truth = tmp_path / "truth.jsonl"
    tws = SimulatedTws(
        market or ticking(),
        VenueSettings(),
        truth=truth,
        faults=faults,
        **options,  # type: ignore[arg-type]
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(tws.run)
        client = MemoryClient(tws.connect_memory())
        await client.connect(1)
        await client.listen_for(BEFORE_OPENING_S + 10.5)
        if watching:
            await client.send(m.ReqMktData(5, SLV))
            await client.listen_for(0.1)
        yield Stage(tws, client, truth)
        nursery.cancel_scope.cancel()
