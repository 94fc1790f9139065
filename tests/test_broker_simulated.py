"""The broker actor against the simulated TWS: real wire bytes, a market, the real journal and mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TypeVar

import attrs
import pytest
import trio

from actors.broker import Broker
from actors.journal import Journal
from actors.mailbox import Lane, Mailbox
from actors.market_clock import MarketClock
from actors.simulated_tws import SimulatedTws
from actors.tws_link import Link, LinkDown, StreamLink
from actors.tws_thread import ThreadLink
from protocol.commands import AskHistory, AskSnapshot, BrokerCommand, CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import AlarmEvent, OrderSentEvent
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.venue_settings import VenueSettings
from protocol.reports import (
    CommissionCharged,
    ExecutionReport,
    HistoryLoaded,
    LinkState,
    OrderReport,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.session_words import Delivery
from protocol.settings import BrokerSettings
from protocol.values import (
    CENT_GRID,
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    Side,
    Symbol,
    Tick,
    TickKind,
    TimeInForce,
    exact,
)
from tests.broker_fakes import OpenGate

T = TypeVar("T")

SLV, GLD = Symbol("SLV"), Symbol("GLD")


@attrs.define
class Desk:
    """One broker at one simulated TWS."""

    tws: SimulatedTws
    broker: Broker
    journal: Journal
    mailbox: Mailbox[BrokerCommand]
    deliveries: list[Delivery]

    def reports(self, kind: type[T]) -> list[T]:
        return [message for _, message in self.deliveries if isinstance(message, kind)]

    def command(self, command: BrokerCommand) -> None:
        self.mailbox.put(Lane.SIGNALS, command)

    async def until(self, condition: Callable[[], bool], loop_s: float = 30.0) -> None:
        with trio.fail_after(loop_s):
            while not condition():
                await trio.sleep(0.01)

    def last_tick(self, kind: TickKind) -> Tick | None:
        ticks = [
            message for _, message in self.deliveries if isinstance(message, Tick) and message.kind is kind
        ]
        return next((tick for tick in reversed(ticks) if tick.symbol == SLV), None)

    async def quote(self) -> Decimal:
        await self.until(lambda: self.last_tick(TickKind.ASK) is not None)
        tick = self.last_tick(TickKind.ASK)
        assert tick is not None
        return exact(tick.price)

    def alarms(self) -> list[str]:
        return [event.code for event in self.journal.read() if isinstance(event, AlarmEvent)]


@asynccontextmanager
async def desk(
    *,
    speed: float = 1.0,
    connect: Callable[[SimulatedTws], Awaitable[Link]] | None = None,
    version: int = 178,
) -> AsyncIterator[Desk]:
    tws = SimulatedTws(SyntheticMarket(1), VenueSettings(), speed=speed, seed=1, server_version_max=version)
    journal, mailbox = Journal.memory(), Mailbox[BrokerCommand]()
    deliveries: list[Delivery] = []

    async def dial() -> Link:
        if connect is not None:
            return await connect(tws)
        return await StreamLink.open(tws.connect_memory(), 1)

    broker = Broker(
        BrokerSettings(), (SLV, GLD), instance="a7", connect=dial, journal=journal, mailbox=mailbox,
        deliver=deliveries.extend, clock=MarketClock(speed), gate=OpenGate(),
    )  # fmt: skip
    world = Desk(tws, broker, journal, mailbox, deliveries)
    async with trio.open_nursery() as nursery:
        await nursery.start(tws.run)
        await nursery.start(broker.run, 1)
        await world.until(lambda: broker.state is LinkState.UP)
        yield world
        nursery.cancel_scope.cancel()
    journal.close()


def order(
    role: str, side: Side, kind: OrderType, price: Decimal | None, parent: OrderRef | None = None
) -> OrderSpec:
    limit = price if kind is OrderType.LIMIT else None
    stop = price if kind is OrderType.STOP else None
    return OrderSpec(
        OrderRef("a7", SLV, 1, role), side, 100, kind, TimeInForce.GTC, limit, stop, parent=parent,
        oca_group="exits 1" if parent else "", oca_type=2 if parent else 0,
    )  # fmt: skip


def bracket(price: Decimal) -> tuple[OrderSpec, ...]:
    main = order("main", Side.BUY, OrderType.MARKET, None)
    stop = order("stop", Side.SELL, OrderType.STOP, CENT_GRID.floor(price * Decimal("0.9")), main.ref)
    target = order("target", Side.SELL, OrderType.LIMIT, CENT_GRID.ceil(price * Decimal("1.1")), main.ref)
    return main, stop, target


async def test_a_bracket_is_bought_its_stop_resized_and_everything_cancelled(autojump_clock: object) -> None:
    async with desk() as world:
        main, stop, target = bracket(await world.quote())
        world.command(PlaceOrders(SLV, 1, (main, stop, target)))
        await world.until(lambda: len(world.reports(CommissionCharged)) > 0)
        fills = world.reports(ExecutionReport)
        assert sum(fill.quantity for fill in fills) == 100
        assert {fill.ref for fill in fills} == {main.ref}
        world.command(ModifyOrder(SLV, 1, attrs.evolve(stop, quantity=60)))
        await world.until(lambda: 60 in [report.quantity for report in world.reports(OrderReport)])
        world.command(CancelOrder(SLV, 1, stop.ref))
        world.command(CancelOrder(SLV, 1, target.ref))
        ended = {
            (OrderStatus.CANCELLED, stop.ref),
            (OrderStatus.CANCELLED, target.ref),
            (OrderStatus.FILLED, main.ref),
        }
        await world.until(lambda: ended <= {(each.status, each.ref) for each in world.reports(OrderReport)})
        world.deliveries.clear()
        world.command(AskSnapshot(SLV, 1))
        await world.until(lambda: bool(world.reports(SymbolSnapshot)))
        (snapshot,) = world.reports(SymbolSnapshot)
        assert (snapshot.position, snapshot.orders, len(snapshot.executions)) == (100, (), len(fills))
        await trio.sleep(120)
        assert world.alarms() == []
        assert world.reports(RequestRefused) == []
        assert len([event for event in world.journal.read() if isinstance(event, OrderSentEvent)]) == 3


async def test_an_order_off_the_grid_is_refused_and_known_to_be_dead(autojump_clock: object) -> None:
    async with desk() as world:
        entry = order("main", Side.BUY, OrderType.LIMIT, Decimal("10.001"))
        world.command(PlaceOrders(SLV, 1, (entry,)))
        await world.until(lambda: bool(world.reports(RequestRefused)))
        (refused,) = world.reports(RequestRefused)
        assert (refused.code, refused.terminal) == (110, True)


async def test_bars_of_the_past_are_complete_and_as_many_as_asked(autojump_clock: object) -> None:
    async with desk() as world:
        for bar_s in (5, 30, 60, 300, 3600, 86_400):
            world.command(AskHistory(SLV, 1, bar_s, 14))
        await world.until(lambda: len(world.reports(HistoryLoaded)) == 6)
        for loaded in world.reports(HistoryLoaded):
            assert len(loaded.bars) == 14, loaded.bar_s
            assert list(loaded.bars) == sorted(loaded.bars, key=lambda bar: bar.start)


async def test_an_execution_that_is_never_told_is_taken_from_its_status_and_the_position(
    autojump_clock: object,
) -> None:
    async with desk() as world:
        world.tws.withhold_execution(1)
        main, *_ = bracket(await world.quote())
        world.command(PlaceOrders(SLV, 1, (attrs.evolve(main, quantity=1),)))
        await trio.sleep(60)
        (report,) = world.reports(ExecutionReport)
        (executed,) = world.tws.venue.executions()
        assert (report.ref, report.quantity, report.price) == (main.ref, 1, executed.price)
        assert world.alarms() == ["EXECUTION_NOT_TOLD"]


@pytest.mark.slow
async def test_market_time_follows_a_replay_at_its_speed(autojump_clock: object) -> None:
    async with desk(speed=60) as world:
        for _ in range(30):
            await trio.sleep(1)
            drift = world.broker._clock.now() - world.tws.market_now()
            assert abs(drift.total_seconds()) <= 8
        ticks = [message for _, message in world.deliveries if isinstance(message, Tick)]
        assert len(ticks) > 100
        assert [tick.at for tick in ticks] == sorted(tick.at for tick in ticks)


@pytest.mark.slow
@pytest.mark.parametrize("version", [157, 178])
async def test_the_thread_link_trades_over_tcp_and_comes_back_after_a_loss(version: int) -> None:
    links: list[ThreadLink] = []
    port: list[int] = []

    async def dial(tws: SimulatedTws) -> Link:
        if not port:
            port.append(await tws.listen("127.0.0.1", 0))
        link = await ThreadLink.open("127.0.0.1", port[0], 1)
        links.append(link)
        return link

    async with desk(connect=dial, version=version) as world:
        main, stop, target = bracket(await world.quote())
        world.command(PlaceOrders(SLV, 1, (main, stop, target)))
        await world.until(lambda: len(world.reports(CommissionCharged)) > 0)
        links[0].close()
        await world.until(lambda: len(links) == 2 and world.broker.state is LinkState.UP)
        snapshot = world.reports(SymbolSnapshot)[-2]
        assert snapshot.position == 100
        assert {report.ref for report in snapshot.orders} == {stop.ref, target.ref}
        assert world.broker.latencies.received_to_delivered.percentile(0.5) is not None
        with pytest.raises(LinkDown):
            links[0].send(b"")
