"""Deaths and lost links at random moments of a wild market: at the end of the day all is flat and equal."""

from __future__ import annotations

from random import Random

import pytest
import trio

from protocol.exchange.venue_settings import ChildActivation
from tests.test_end_to_end_kills import brief
from tests.world import SLV, World, play

ACTORS = ("SLV", "broker", "router", "timers")


def strike(world: World, random: Random) -> None:
    """Kill one actor or three of them, or cut the link. Whoever is down already is left alone."""
    what = random.choice(("link", "many", "SLV", *ACTORS))
    if what == "link":
        world.tws.break_connections()
        return
    for actor in ACTORS[:3] if what == "many" else (what,):
        world.kill_if_alive(actor)


async def wander(world: World, random: Random, moves: int) -> None:
    """Another price every three seconds, at times beyond the stop, and another size, at times none."""
    for _ in range(moves):
        await trio.sleep(3.0)
        price = round(100 + random.uniform(-3.5, 3.5), 2)
        world.stage.show(SLV, price, size=random.choice((0, 50, 100, 100)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.slow
def test_a_storm_of_deaths_and_lost_links_ends_flat_with_equal_books(seed: int) -> None:
    random = Random(f"storm {seed}")

    async def storm(world: World) -> None:
        for _ in range(random.randrange(2, 7)):
            await trio.sleep(random.uniform(0, 12))
            strike(world, random)

    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(storm, world)
            world.stage.show(SLV, size=100)
            await trio.sleep(5.0)
            world.signal(SLV, "BUY")
            await wander(world, random, 8)
            world.signal(SLV, "SELL")
            await wander(world, random, 8)
            world.stage.show(SLV, 99.0, size=100)
            # The longest pause before a new link, and some more: everything has had its chance.
            await world.sleep_until("10:02:30")
        assert (world.position(), world.working()) == (0, {})
        assert world.state().trade is None
        assert world.restarts() or world.links > 1
        await world.check(restarts=world.restarts(), alarms=None)

    play(story, settings=brief(SLV), seed=seed, activation=list(ChildActivation)[seed % 2])
