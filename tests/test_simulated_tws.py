"""The simulated TWS as clients meet it: over memory streams, on the mock clock, deterministic."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actors.simulated_tws import SimulatedTws
from actors.simulated_tws_books import FILE_NAME, StateError
from actors.simulated_tws_connection import MAX_UNSENT_BYTES
from actors.simulated_tws_record import SymbolBooks
from protocol.exchange.happenings import MarketTick
from protocol.exchange.market import Market
from protocol.exchange.replay_clock import LEAD, TAIL
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.tws_market_data import VOLUME
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from tests.memory_client import MemoryClient
from tests.tws_faces import OPENING, SLV, StillMarket, limit_order, market_order, said

TEN = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
CLOSE = datetime(2025, 1, 23, 21, 0, tzinfo=UTC)


def quotes(*minutes: int) -> tuple[MarketTick, ...]:
    """SLV at 25.00 to 25.02, 1000 shown, so many minutes after the opening."""
    return tuple(
        MarketTick(OPENING + timedelta(minutes=minute), "SLV", 25.0, 1000, 25.02, 1000, 25.01, 100)
        for minute in minutes
    )


@asynccontextmanager
async def simulated(market: Market, **options: object) -> AsyncIterator[SimulatedTws]:
    tws = SimulatedTws(market, VenueSettings(), **options)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(tws.run)
        yield tws
        nursery.cancel_scope.cancel()


async def client_of(tws: SimulatedTws, client_id: int = 1, version: int = 178) -> MemoryClient:
    client = MemoryClient(tws.connect_memory(), version)
    await client.connect(client_id)
    return client


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- time ------------------------------------------------------------------------------------------


async def test_the_clock_starts_with_the_first_client(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(quotes(0, 1))) as tws:
        await trio.sleep(100)
        assert tws.market_now() == OPENING - LEAD
        client = await client_of(tws)
        await client.listen_for(10)
        assert tws.market_now() == OPENING - timedelta(seconds=20)


async def test_market_time_runs_at_its_speed(autojump_clock: MockClock) -> None:
    async with simulated(SyntheticMarket(1), speed=60) as tws:
        client = await client_of(tws)
        await client.listen_for(10)
        await client.send(m.ReqCurrentTime())
        answer = await client.until(m.CurrentTime)
        assert answer == m.CurrentTime(int(TEN.timestamp()) + 600)


async def test_every_tick_comes_at_its_own_time(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(quotes(0, 1, 3))) as tws:
        client = await client_of(tws)
        await client.send(m.ReqMktData(5, SLV))
        heard: list[float] = []
        for nth in (1, 2, 3):
            while sum(isinstance(message, m.TickString) for message in client.heard) < nth:
                await client.listen()
            heard.append(trio.current_time())
        assert heard == pytest.approx([30, 90, 210], abs=0.002)


async def test_closed_hours_are_skipped(autojump_clock: MockClock) -> None:
    async with simulated(SyntheticMarket(1), speed=3600, start=CLOSE - timedelta(minutes=10)) as tws:
        client = await client_of(tws)
        loop_s = (600 + TAIL.total_seconds() + LEAD.total_seconds() + 3600) / 3600
        await client.listen_for(loop_s)
        next_opening = datetime(2025, 1, 24, 14, 30, tzinfo=UTC)
        assert abs(tws.market_now() - (next_opening + timedelta(hours=1))) < timedelta(seconds=5)


async def test_a_recorded_market_ends_a_little_after_its_last_close(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(quotes(0)), speed=3600) as tws:
        client = await client_of(tws)
        await client.place("SLV", limit_order("BUY", 1, 20.0))
        await tws.ended.wait()
        assert tws.market_now() == CLOSE + TAIL
        await client.until(m.ErrorMessage, lambda error: error.code == 202)
        await client.send(m.ReqCurrentTime())
        assert (await client.until(m.CurrentTime)).epoch_s == int((CLOSE + TAIL).timestamp())


async def test_a_replay_that_cannot_keep_up_lags_and_skips_nothing(autojump_clock: MockClock) -> None:
    ticks = tuple(
        MarketTick(OPENING + timedelta(milliseconds=ms), "SLV", last=25.0, last_size=ms, volume=ms)
        for ms in range(1, 5001)
    )
    async with simulated(StillMarket(ticks), speed=1e6) as tws:
        client = await client_of(tws)
        await client.send(m.ReqMktData(5, SLV))
        await tws.ended.wait()
        await client.listen_for(1)
        sizes = [message for message in client.heard if isinstance(message, m.TickSize)]
        volumes = [message.size for message in sizes if message.tick_type == VOLUME]
        assert volumes == [Decimal(ms) for ms in range(1, 5001)]
        assert tws.lag_s == 0.0


# --- clients ---------------------------------------------------------------------------------------


async def test_a_market_order_fills_over_the_wire(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(quotes(0, 1))) as tws:
        client = await client_of(tws)
        await client.listen_for(40)
        since = len(client.heard)
        await client.place("SLV", market_order("BUY", 100))
        await client.until(m.CommissionReport)
        assert said(client.heard[since:]) == [
            "openOrder 1 Submitted",
            "orderStatus 1 Submitted 0/100",
            "execDetails 1 BOT 100",
            "openOrder 1 Filled",
            "orderStatus 1 Filled 100/100",
            "commissionReport",
        ]
        assert tws.books() == {
            "SLV": SymbolBooks(
                position=100,
                executions=1,
                realized_pnl=Decimal(0),
                commission=Decimal("1.00"),
                open_orders=0,
                max_uncovered_s=0.0,
            )
        }


@pytest.mark.parametrize("version", [157, 163, 176, 178])
async def test_every_version_is_served(version: int, autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(quotes(0, 1))) as tws:
        client = await client_of(tws, version=version)
        assert client.version == version
        await client.listen_for(40)
        await client.place("SLV", market_order("BUY", 100))
        assert (await client.until(m.CommissionReport)).commission == 1.0


async def test_the_newest_version_can_be_limited(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(), server_version_max=170) as tws:
        assert (await client_of(tws)).version == 170
    with pytest.raises(ValueError, match="version 300"):
        SimulatedTws(StillMarket(), VenueSettings(), server_version_max=300)


async def test_a_duplicate_client_id_is_told_326_and_closed(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket()) as tws:
        await client_of(tws)
        second = MemoryClient(tws.connect_memory())
        with pytest.raises(AssertionError, match="the connection ended"):
            await second.connect(1)
        assert said(second.heard) == ["error -1 326"]


async def test_garbage_ends_the_connection_and_nothing_else(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket()) as tws:
        client = await client_of(tws)
        stray = tws.connect_memory()
        await stray.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await stray.receive_some() == b""
        await client.send(m.ReqCurrentTime())
        await client.until(m.CurrentTime)


async def test_a_client_that_stops_reading_is_dropped_and_the_others_go_on(
    autojump_clock: MockClock,
) -> None:
    async with simulated(SyntheticMarket(1), speed=10) as tws:
        client = await client_of(tws)
        near, far = trio.testing.lockstep_stream_pair()
        tws._running().start_soon(tws._serve, near)
        stuck = MemoryClient(far)
        await stuck.connect(2)
        await stuck.send(m.ReqMktData(1, SLV))
        connection = list(tws._connections.values())[1]
        await client.listen_for(5)
        connection.queue_bytes(bytes(MAX_UNSENT_BYTES))
        await client.listen_for(5)
        assert tws._server.clients.ids == (1,)
        await client.send(m.ReqCurrentTime())
        await client.until(m.CurrentTime)


async def test_a_slow_reader_holds_the_market_but_not_for_ever(autojump_clock: MockClock) -> None:
    async with simulated(SyntheticMarket(1), speed=10) as tws:
        near, far = trio.testing.lockstep_stream_pair()
        tws._running().start_soon(tws._serve, near)
        slow = MemoryClient(far)
        await slow.connect(2)
        await slow.send(m.ReqMktData(1, SLV))
        (connection,) = tws._connections.values()
        connection.queue_bytes(bytes(300 * 1024))
        held_at = tws.market_now()
        await trio.sleep(0.9)
        assert tws.market_now() - held_at < timedelta(seconds=1)
        await trio.sleep(30)
        assert tws.market_now() - held_at > timedelta(seconds=200)


async def test_at_the_markets_own_pace_a_slow_reader_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with simulated(SyntheticMarket(1)) as tws:
        near, far = trio.testing.lockstep_stream_pair()
        tws._running().start_soon(tws._serve, near)
        slow = MemoryClient(far)
        await slow.connect(2)
        (connection,) = tws._connections.values()
        connection.queue_bytes(bytes(300 * 1024))
        held_at = tws.market_now()
        await trio.sleep(5.0)
        assert tws.market_now() - held_at >= timedelta(seconds=4.5)


async def test_a_client_that_talks_too_fast_is_told_100_and_dropped(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(), settings=TwsSettings(max_messages_per_s=50)) as tws:
        client = await client_of(tws)
        for _ in range(50):
            await client.send(m.ReqIds(1))
        await client.listen_for(1)
        assert not client.closed
        for _ in range(53):
            await client.send(m.ReqIds(1))
        await client.listen_for(1)
        assert client.closed
        texts = [
            heard.text for heard in client.heard if isinstance(heard, m.ErrorMessage) and heard.code == 100
        ]
        assert texts == [
            "Approaching max rate of 50 messages per second (44)",
            "Approaching max rate of 50 messages per second (44)",
            "Max rate of messages per second has been exceeded:max=50 rec=51 (1)",
            "Max rate of messages per second has been exceeded:max=50 rec=52 (2)",
            "Max rate of messages per second has been exceeded:max=50 rec=53 (3)",
        ]


async def test_a_symbol_asked_for_ticks_from_then_on(autojump_clock: MockClock) -> None:
    async with simulated(SyntheticMarket(1)) as tws:
        client = await client_of(tws)
        await client.listen_for(100)
        asked = int(tws.market_now().timestamp())
        await client.send(m.ReqMktData(5, SLV))
        await client.listen_for(10)
        times = [int(tick.value) for tick in client.heard if isinstance(tick, m.TickString)]
        assert times == list(range(asked - 1, asked - 1 + len(times)))
        assert len(times) >= 9


async def test_two_runs_of_one_seed_say_the_same() -> None:
    def one_run() -> list[m.ServerMessage]:
        async def trade() -> list[m.ServerMessage]:
            async with simulated(SyntheticMarket(5), speed=20) as tws:
                client = await client_of(tws)
                await client.send(m.ReqMktData(1, SLV))
                await client.listen_for(1)
                await client.place("SLV", market_order("BUY", 5000))
                await client.place("SLV", limit_order("SELL", 2000, 27.50))
                await client.listen_for(20)
                return client.heard

        return trio.run(trade, clock=MockClock(autojump_threshold=0))

    first, second = await trio.to_thread.run_sync(one_run), await trio.to_thread.run_sync(one_run)
    assert first == second
    assert sum(isinstance(message, m.ExecDetails) for message in first) >= 3


# --- survival --------------------------------------------------------------------------------------


async def traded(tws: SimulatedTws) -> MemoryClient:
    """A client with a position of 100, a resting GTC target, and a cancelled order."""
    client = await client_of(tws)
    await client.listen_for(40)
    await client.place("SLV", market_order("BUY", 100))
    await client.place("SLV", limit_order("SELL", 100, 26.0, "GTC"))
    await client.place("SLV", limit_order("BUY", 100, 20.0))
    await client.send(m.CancelOrder(3))
    await client.until(m.ErrorMessage, lambda error: error.code == 202)
    return client


async def asked_everything(client: MemoryClient) -> list[m.ServerMessage]:
    since = len(client.heard)
    for request in (
        m.ReqAllOpenOrders(),
        m.ReqExecutions(1, m.ExecutionFilter()),
        m.ReqPositions(),
        m.ReqIds(1),
        m.ReqCompletedOrders(api_only=False),
    ):
        await client.send(request)
    await client.until(m.CompletedOrdersEnd, since=since)
    return client.heard[since:]


async def test_books_and_time_survive_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    market = StillMarket(quotes(0, 1, 5))
    async with simulated(market, state_dir=tmp_path) as tws:
        client = await traded(tws)
        await client.listen_for(60)
        before, left_at = await asked_everything(client), tws.market_now()
    async with simulated(market, state_dir=tmp_path) as tws:
        assert tws.market_now() == left_at
        again = await client_of(tws)
        assert said(again.heard)[:3] == [
            "openOrder 2 Submitted",
            "orderStatus 2 Submitted 0/100",
            "OpenOrderEnd",
        ]
        assert await asked_everything(again) == before
        await again.place("SLV", market_order("SELL", 100))
        report = await again.until(m.CommissionReport, since=len(again.heard) - 1)
        assert report is not None


async def test_books_survive_a_death_in_the_middle(tmp_path: Path, autojump_clock: MockClock) -> None:
    """As after kill -9: the file is copied while the program runs and never closed."""
    market, copied = StillMarket(quotes(0, 1, 5)), tmp_path / "copy"
    copied.mkdir()
    async with simulated(market, state_dir=tmp_path / "live") as tws:
        before = await asked_everything(await traded(tws))
        for file in (tmp_path / "live").iterdir():
            (copied / file.name).write_bytes(file.read_bytes())
    async with simulated(market, state_dir=copied) as tws:
        assert await asked_everything(await client_of(tws)) == before


async def test_orders_go_on_trading_after_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    cheap = MarketTick(OPENING + timedelta(minutes=5), "SLV", 26.5, 1000, 26.52, 1000)
    market = StillMarket((*quotes(0, 1), cheap))
    async with simulated(market, state_dir=tmp_path) as tws:
        await traded(tws)
    async with simulated(market, state_dir=tmp_path) as tws:
        client = await client_of(tws)
        status = await client.until(m.OrderStatus, lambda status: status.status == "Filled")
        assert (status.order_id, status.avg_fill_price) == (2, 26.5)
        assert tws.market_now() == cheap.at


async def test_the_books_of_an_ended_market_can_be_read_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    market = StillMarket(quotes(0, 1))
    async with simulated(market, state_dir=tmp_path) as tws:
        before = await asked_everything(await traded(tws))
        tws._clock.speed = 1e6
        await tws.ended.wait()
    async with simulated(market, state_dir=tmp_path) as tws:
        client = await client_of(tws)
        await tws.ended.wait()
        assert len(await asked_everything(client)) == len(before)


async def test_the_books_of_another_market_are_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(), state_dir=tmp_path):
        pass
    with pytest.raises(StateError, match="another market"):
        SimulatedTws(SyntheticMarket(1), VenueSettings(), state_dir=tmp_path)


def test_damaged_books_are_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    with pytest.raises(StateError, match="move the file away"):
        SimulatedTws(StillMarket(), VenueSettings(), state_dir=tmp_path)


@pytest.mark.slow
async def test_books_in_use_are_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(), state_dir=tmp_path):
        with pytest.raises(StateError, match="another simulated TWS uses"):
            SimulatedTws(StillMarket(), VenueSettings(), state_dir=tmp_path)
