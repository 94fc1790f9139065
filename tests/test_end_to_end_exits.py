"""How trades end: by their target, by their stop, by the end of the day; through the real wire and venue."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

from protocol.exchange.venue_settings import ChildActivation
from tests.directed_market import DirectedMarket
from tests.test_end_to_end import reasons
from tests.world import SLV, World, play, settings_for, under_both

# --- exits ----------------------------------------------------------------------------------------


@under_both
def test_a_target_that_fills_whole_cancels_the_stop_and_ends_the_trade(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 108.50)
        await world.until(lambda: world.state().trade is None)
        assert (world.position(), world.working()) == (0, {})
        assert reasons(world) == ["target"]
        assert world.state().position.realized_pnl >= Decimal(800)
        await world.check()

    play(story, activation=activation)


@under_both
def test_a_target_that_fills_in_parts_shrinks_the_stop(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, size=100)
        world.stage.show(SLV, 108.50)
        seen = []
        with trio.fail_after(30):
            while world.position():
                await trio.sleep(0.5)
                exits = world.exits()
                if world.position() and "stop" in exits:
                    seen.append((world.position(), exits["stop"][1]))
        assert all(stop == held for held, stop in seen), seen
        assert len({held for held, _ in seen}) > 1
        await world.until(lambda: world.state().trade is None)
        assert reasons(world) == ["target"]
        await world.check()

    play(story, settings=settings_for(SLV, shares=400), activation=activation)


@under_both
def test_a_stop_that_triggers_ends_the_trade_and_cancels_the_target(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 96.50)
        await world.until(lambda: world.state().trade is None)
        assert (world.position(), world.working()) == (0, {})
        assert reasons(world) == ["stop"]
        await world.check()

    play(story, activation=activation)


@under_both
def test_the_stop_of_a_short_triggers_above(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter(SLV, "SHORT")
        await world.show(SLV, 103.50)
        await world.until(lambda: world.state().trade is None)
        assert (world.position(), world.working()) == (0, {})
        assert reasons(world) == ["stop"]
        await world.check()

    play(story, activation=activation)


@under_both
def test_a_stop_that_triggers_into_a_thin_market_fills_in_parts_and_takes_the_target_along(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, size=100)
        await world.show(SLV, 96.50)
        await world.until(lambda: world.state().trade is None)
        assert (world.position(), world.working()) == (0, {})
        assert sum(quantity for side, quantity, _ in world.prices() if side == "SLD") == 400
        await world.check()

    play(story, settings=settings_for(SLV, shares=400), activation=activation)


@under_both
def test_a_stop_that_triggers_while_the_entry_still_fills_ends_flat(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.show(SLV, size=100)
        await world.quoted()
        world.signal(SLV, "BUY")
        await world.until(lambda: world.position() == 200)
        world.stage.show(SLV, 96.50)
        await world.until(lambda: world.state().trade is None, within_s=60)
        assert (world.position(), world.working()) == (0, {})
        await world.check()

    play(story, settings=settings_for(SLV, shares=450), activation=activation)


# --- the end of the day ---------------------------------------------------------------------------


@under_both
@pytest.mark.slow
def test_everything_is_flat_after_the_flatten_time(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.sleep_until("15:58:59")
        assert world.position() == 100
        await world.sleep_until("15:59:10")
        assert (world.position(), world.working()) == (0, {})
        assert reasons(world) == ["end of day"]
        await world.check()

    market = DirectedMarket({SLV: 100.0}, start="15:40")
    play(story, market, activation=activation)


@under_both
@pytest.mark.slow
def test_the_day_ends_flat_though_the_stop_triggers_in_that_moment(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, size=100)
        await world.sleep_until("15:58:58.500")
        world.stage.show(SLV, 96.50)
        await world.sleep_until("15:59:30")
        assert (world.position(), world.working()) == (0, {})
        assert world.state().trade is None
        await world.check()

    market = DirectedMarket({SLV: 100.0}, start="15:40")
    play(story, market, settings_for(SLV, shares=400), activation=activation)


def test_no_trade_is_entered_late_in_the_day() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        await world.sleep_until("15:45:01")
        world.signal(SLV, "BUY")
        await trio.sleep(5)
        assert world.verdicts() == [(SLV, "session")]
        await world.check()

    play(story, DirectedMarket({SLV: 100.0}, start="15:40"))
