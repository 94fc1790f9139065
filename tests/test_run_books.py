"""What a run says of the broker's books at its end, when the broker is a TWS that is not ours."""

from __future__ import annotations

import trio

from actors.run_facts import broker_books
from tests.world import SLV, World, play


def test_an_execution_after_the_last_look_at_the_books_is_the_brokers_word_too() -> None:
    """A stop that fills between that look and the end is no disagreement."""

    async def story(world: World) -> None:
        await world.quoted()
        await world.enter()
        (actor,) = [each for each in world.actors if each.symbol == SLV]
        looks = actor.snapshots
        actor.ask_books()
        await world.until(lambda: actor.snapshots > looks)
        assert actor.broker_position == world.position() == 100
        looks = actor.snapshots
        await world.show(SLV, 20.0)
        await world.until(lambda: world.state().position.quantity == 0)
        assert actor.snapshots == looks, "the broker was not asked again"
        (books,) = [each for each in broker_books(world.system, None).symbols if each.symbol == SLV]
        assert books.position == 0
        await trio.sleep(1.0)

    play(story)
