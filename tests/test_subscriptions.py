"""Users' own handlers: who hears of what, and that none of them can harm anybody else."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
import trio

from actors import subscriptions
from protocol.events import (
    BaseEvent,
    FillEvent,
    IndicatorEvent,
    MarketEvent,
    NewOrderEvent,
    OrderEvent,
    PositionEvent,
    PriceEvent,
    UserEvent,
)
from protocol.values import Symbol
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for

AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)


def test_a_handler_hears_of_a_type_and_all_that_derive_from_it() -> None:
    orders: list[BaseEvent] = []
    fills: list[FillEvent] = []

    async def hear_fill(event: FillEvent) -> None:
        await trio.sleep(0)
        fills.append(event)

    async def story(world: World) -> None:
        world.system.subscriptions.subscribe(OrderEvent, orders.append)
        world.system.subscriptions.subscribe(FillEvent, hear_fill)
        await world.enter()
        assert [fill.quantity for fill in fills] == [100]
        assert sum(isinstance(event, NewOrderEvent) for event in orders) == 3
        assert fills[0] in orders
        assert not any(isinstance(event, PositionEvent) for event in orders)
        await world.check()

    play(story)


def test_a_handler_may_ask_for_one_symbol_only() -> None:
    heard: list[OrderEvent] = []

    async def story(world: World) -> None:
        world.system.subscriptions.subscribe(OrderEvent, heard.append, symbol=GLD)
        await world.enter(SLV)
        assert heard == []
        await world.enter(GLD)
        assert {event.symbol for event in heard} == {GLD}
        await world.check()

    play(story, DirectedMarket({SLV: 100.0, GLD: 200.0}), settings_for(SLV, GLD))


def test_a_raising_handler_harms_nobody_and_hears_of_the_next_event() -> None:
    heard: list[str] = []
    calm: list[BaseEvent] = []

    def raising(event: OrderEvent) -> None:
        heard.append(event.event_type)
        if len(heard) < 3:
            raise RuntimeError("a fault of the user's")

    async def story(world: World) -> None:
        world.system.subscriptions.subscribe(OrderEvent, raising, name="bad")
        world.system.subscriptions.subscribe(OrderEvent, calm.append)
        await world.enter()
        await trio.sleep(60.0)
        assert len(heard) == len(calm) > 3
        await world.check(restarts={"handler:bad": 2}, alarms=None)

    play(story)


def test_a_handler_that_always_raises_is_left_alone_in_the_end() -> None:
    def raising(_: BaseEvent) -> None:
        raise RuntimeError("again")

    async def story(world: World) -> None:
        world.system.subscriptions.subscribe(MarketEvent, raising, name="bad")
        await trio.sleep(300.0)
        assert world.alarms() == {"quarantined"}
        await world.enter()
        await world.check(restarts={"handler:bad": world.restarts()["handler:bad"]}, alarms=None)

    play(story)


def test_a_slow_handler_loses_the_oldest_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscriptions, "MAX_WAITING", 10)
    heard: list[PriceEvent] = []

    async def slow(event: PriceEvent) -> None:
        heard.append(event)
        await trio.sleep(1000.0)

    async def story(world: World) -> None:
        subscription = world.system.subscriptions.subscribe(PriceEvent, slow)
        await trio.sleep(40.0)
        assert len(heard) == 1
        assert subscription.waiting == 10
        assert subscription.lost > 5
        await world.enter()
        await world.check()

    play(story)


def test_indicators_are_told_when_a_bar_has_moved_them() -> None:
    heard: list[IndicatorEvent] = []

    async def story(world: World) -> None:
        bus = world.system.subscriptions
        bus.subscribe(IndicatorEvent, heard.append)
        await trio.sleep(200.0)
        assert {event.name for event in heard} == {"atr14"}
        values = [event.value for event in heard]
        assert len(values) >= 3
        assert all(before != after for before, after in pairwise(values))
        assert values[-1] == world.system.symbols[SLV].view.atr

    play(story)


def test_switched_off_nothing_is_told_and_trading_goes_on() -> None:
    heard: list[BaseEvent] = []

    async def story(world: World) -> None:
        bus = world.system.subscriptions
        bus.subscribe(BaseEvent, heard.append)
        bus.disable()
        await world.enter()
        assert heard == []
        assert set(world.exits()) == {"stop", "target"}
        bus.enable()
        await world.show(SLV, 110.0)
        assert any(isinstance(event, FillEvent) for event in heard)
        await world.check()

    play(story)


def test_who_has_unsubscribed_hears_nothing_more() -> None:
    heard: list[BaseEvent] = []

    async def story(world: World) -> None:
        bus = world.system.subscriptions
        subscription = bus.subscribe(OrderEvent, heard.append, name="mine")
        bus.subscribe(FillEvent, heard.append)
        assert bus.counts() == {"OrderEvent": 1, "FillEvent": 1}
        with pytest.raises(ValueError, match="mine"):
            bus.subscribe(OrderEvent, heard.append, name="mine")
        assert bus.unsubscribe(subscription)
        assert not bus.unsubscribe(subscription)
        assert bus.counts() == {"FillEvent": 1}
        await world.enter()
        assert all(isinstance(event, FillEvent) for event in heard)
        await world.check()

    play(story)


def test_a_handler_emits_events_of_its_own_which_are_journalled_and_told() -> None:
    told: list[UserEvent] = []

    async def story(world: World) -> None:
        bus = world.system.subscriptions

        def hear_fill(fill: FillEvent) -> None:
            bus.emit(UserEvent(at=fill.at, name="big", text=f"{fill.quantity}", symbol=fill.symbol))

        bus.subscribe(FillEvent, hear_fill)
        bus.subscribe(UserEvent, told.append)
        await world.enter()
        assert [event.text for event in told] == ["100"]
        assert world.events(UserEvent) == told
        await world.check()

    play(story)


def test_every_event_is_a_dictionary_for_whoever_wants_one() -> None:
    event = PriceEvent(at=AT, symbol=Symbol("SLV"), price=30.1)
    assert event.to_dict() == {
        "event_type": "PriceEvent", "at": AT, "cause": "", "symbol": "SLV", "price": 30.1, "bid": None,
        "ask": None,
    }  # fmt: skip
