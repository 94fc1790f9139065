"""Every actor and supervisor dies at every point of a trade: nothing is naked, doubled or lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import pytest
import trio

from protocol.values import MAIN, STOP
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for

SHARES: Final = 250
VICTIMS: Final = (
    "SLV", "router", "broker", "journal", "custodian", "risk", "portfolio", "timers", "symbols", "trading",
    "edge",
)  # fmt: skip


async def kill(world: World, actor: str) -> None:
    root = world.system.root
    assert root is not None
    if actor in {child.id for child in root.which_children()}:
        assert root.kill(actor, "killed by the story")
        return
    # Who has just died lives again in a moment.
    while not world.kill_if_alive(actor):
        await trio.lowlevel.checkpoint()


async def idle(world: World) -> None:
    await trio.sleep(1.0)


async def entry_working(world: World) -> None:
    """A part has filled, the rest of the entry works."""
    world.stage.show(SLV, size=100)
    await trio.sleep(2.0)
    world.signal(SLV, "BUY")
    await world.until(lambda: 0 < world.position() < SHARES and MAIN in world.working())


async def position_open(world: World) -> None:
    await world.enter()


async def reversal(world: World) -> None:
    """The close of the long has been asked for, or the short is on its way."""
    await world.enter()
    world.stage.show(SLV, size=100)
    await trio.sleep(25.0)
    world.signal(SLV, "SELL")
    await world.until(lambda: world.position() < SHARES)


async def recovery(world: World) -> None:
    """The symbol has a position, has just died, and its books do not agree yet."""
    await world.enter()
    world.kill(SLV)
    while world.system.symbols[SLV].ready:
        await trio.lowlevel.checkpoint()


MOMENTS: Final[tuple[Callable[[World], Awaitable[None]], ...]] = (
    idle, entry_working, position_open, reversal, recovery,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("actor", VICTIMS)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_a_death_at_any_point_of_a_trade_leaves_nothing_naked_doubled_or_lost(
    moment: Callable[[World], Awaitable[None]], actor: str
) -> None:
    async def story(world: World) -> None:
        await world.quoted()
        await moment(world)
        await kill(world, actor)
        await trio.sleep(30.0)
        await world.until(lambda: all(each.ready and each.view.reconciled for each in world.actors), 60.0)
        held = world.position()
        covered = world.working()[STOP].remaining if held else 0
        assert covered == abs(held)
        assert {child.state.value for child in world.system.symbol_tree.which_children()} == {"running"}
        # The other symbol trades, and the one that it was about comes to its end.
        await world.enter(GLD)
        world.system.flatten("", "the story ends")
        await world.until(lambda: world.position(SLV) == world.position(GLD) == 0)
        await world.until(lambda: not world.working(SLV) and not world.working(GLD))
        name = f"symbol:{actor}" if actor == SLV else actor
        deaths = [name] + (["symbol:SLV"] if moment is recovery else [])
        await world.check(restarts={name: deaths.count(name) for name in deaths}, alarms=None)

    settings = settings_for(SLV, GLD, shares=SHARES)
    brief = tuple(attrs.evolve(rule, cooldown_s=20.0) for rule in settings.rules)
    play(story, DirectedMarket({SLV: 100.0, GLD: 50.0}), attrs.evolve(settings, rules=brief))
