"""Many at once over real sockets: clients, symbols, connections that come and go or talk rubbish."""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from actors.simulated_tws import MAX_CONNECTIONS, SimulatedTws
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from tests.memory_client import MemoryClient
from tests.tws_faces import SLV

BENCH = Path(__file__).parent.parent / "scripts" / "bench_load.py"
TICKS_PER_MARKET_TICK = 3
"""At the least: a trade is told with its price, its time and the day's volume."""


@pytest.mark.slow
def test_thirty_clients_watch_500_symbols_and_none_is_dropped() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), "--check", "1.5"], capture_output=True, text=True, timeout=60, check=True
    )
    heard = json.loads(done.stdout)
    assert (heard["clients"], heard["dropped"]) == (30, 0)
    # Half of the pace is enough here: what else this machine does meanwhile is not known.
    assert heard["poorest"] > 500 * 1.5 * TICKS_PER_MARKET_TICK / 2


async def served(tws: SimulatedTws, port: int) -> None:
    """A client that behaves is answered."""
    client = MemoryClient(await trio.open_tcp_stream("127.0.0.1", port))
    with trio.fail_after(10):
        await client.connect(7)
        await client.send(m.ReqContractDetails(1, SLV))
        await client.until(m.ContractDataEnd)
    await client.stream.aclose()
    while 7 in tws._server.clients.ids:
        await trio.lowlevel.checkpoint()


def rubbish(random_: random.Random) -> bytes:
    hello = b"API\0" + struct.pack("!I", 9) + b"v100..178"
    start = struct.pack("!I", 8) + b"71\x002\x00%d\0" % random_.randrange(8, 10)
    junk = random_.randbytes(random_.randrange(1, 200))
    match random_.randrange(5):
        case 0:
            return junk
        case 1:
            return hello + junk
        case 2:
            return hello + start + struct.pack("!I", len(junk)) + junk
        case 3:
            return hello + start + struct.pack("!I", 2**32 - 1) + junk
        case _:
            return hello + start[: random_.randrange(len(start))]


async def test_connections_that_talk_rubbish_and_go_hurt_nobody() -> None:
    random_ = random.Random(1)
    tws = SimulatedTws(SyntheticMarket(1, symbols=["SLV"]), VenueSettings())
    async with trio.open_nursery() as nursery:
        await nursery.start(tws.run)
        port = await tws.listen("127.0.0.1", 0)
        for _ in range(8):
            for _ in range(25):
                stream = await trio.open_tcp_stream("127.0.0.1", port)
                await stream.send_all(rubbish(random_))
                if random_.random() < 0.5:
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await stream.aclose()
            await served(tws, port)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_connections_that_say_nothing_are_bounded_and_keep_nobody_out() -> None:
    tws = SimulatedTws(SyntheticMarket(1, symbols=["SLV"]), VenueSettings())
    async with trio.open_nursery() as nursery:
        await nursery.start(tws.run)
        ends = []
        for _ in range(MAX_CONNECTIONS + 200):
            ends.append(tws.connect_memory())
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert len(tws._connections) <= MAX_CONNECTIONS
        client = MemoryClient(tws.connect_memory())
        await client.connect(7)
        nursery.cancel_scope.cancel()


@pytest.mark.slow
def test_thousands_of_connections_opened_and_dropped_leave_nothing_behind() -> None:
    trio.run(_thousands)


async def _thousands() -> None:
    tws = SimulatedTws(SyntheticMarket(1, symbols=["SLV"]), VenueSettings())
    async with trio.open_nursery() as nursery:
        await nursery.start(tws.run)
        port = await tws.listen("127.0.0.1", 0)
        await served(tws, port)
        open_files, most_kb = len(os.listdir("/proc/self/fd")), _most_kb()
        await trio.to_thread.run_sync(_open_and_drop, port)
        await served(tws, port)
        assert tws._connections == {}
        assert len(os.listdir("/proc/self/fd")) <= open_files
        assert _most_kb() - most_kb < 50_000
        nursery.cancel_scope.cancel()


def _open_and_drop(port: int) -> None:
    for _ in range(60):
        batch = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        for one in batch:
            one.close()


def _most_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
