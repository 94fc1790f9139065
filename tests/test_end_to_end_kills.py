"""Actors that are killed in the middle of a trade: the trade goes on, and nobody else notices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import time

import attrs
import pytest
import trio

from actors.child import Killed
from protocol.events import BaseEvent, PositionCloseEvent
from protocol.exchange.venue_settings import ChildActivation
from protocol.kills import KillOrder, Moment
from protocol.settings import Schedule, Settings
from protocol.values import Symbol
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for, under_both

SHORT_DAY = Schedule(no_entries_after=time(10, 1), flatten=time(10, 1, 20))


def brief(*symbols: Symbol, shares: int = 250) -> Settings:
    """A day that ends soon after one past ten, with a cooldown that lets it hold a reversal."""
    settings = settings_for(*symbols, shares=shares, schedule=SHORT_DAY)
    return attrs.evolve(settings, rules=tuple(attrs.evolve(rule, cooldown_s=20.0) for rule in settings.rules))


async def trade_a_short_day(world: World) -> None:
    """An entry in parts at rising prices, its reversal, and the end of the day: 250 where 100 are shown."""
    world.stage.show(SLV, size=100)
    await trio.sleep(5.0)
    world.stage.show(SLV, 100.2)
    world.signal(SLV, "BUY")
    await trio.sleep(30.0)
    world.signal(SLV, "SELL")
    await trio.sleep(30.0)
    world.stage.show(SLV, 99.5)
    await world.sleep_until("10:01:40")
    assert (world.position(), world.working()) == (0, {})
    assert world.state().trade is None


STEPS = 56
"""Of the symbol in such a day, at least: commits to its journal."""


def test_the_short_day_itself_holds_two_trades() -> None:
    async def story(world: World) -> None:
        steps = 0

        def count(stream: str, _: Sequence[BaseEvent]) -> None:
            nonlocal steps
            steps += stream == "symbol:SLV"

        world.journal.follow(count)
        await trade_a_short_day(world)
        assert sum(quantity for _, quantity, _ in world.prices()) == 1000
        assert steps >= STEPS
        await world.check()

    play(story, settings=brief(SLV))


def die() -> None:
    raise Killed("killed by the story, before it could act")


@pytest.mark.parametrize("number", range(1, STEPS + 1))
@under_both
@pytest.mark.slow
def test_a_symbol_may_die_between_the_journal_and_the_wire_at_any_step(
    number: int, activation: ChildActivation
) -> None:
    async def story(world: World) -> None:
        world.at_write("symbol:SLV", number, die)
        await trade_a_short_day(world)
        await world.check(restarts={"symbol:SLV": 1}, alarms=None)

    play(story, settings=brief(SLV), activation=activation)


@pytest.mark.parametrize("number", range(1, STEPS + 1, 4))
@pytest.mark.parametrize("actor", ["SLV", "broker", "router", "timers"])
@pytest.mark.slow
def test_an_actor_may_die_after_any_step_of_the_symbol(actor: str, number: int) -> None:
    async def story(world: World) -> None:
        world.at_write("symbol:SLV", number, lambda: world.kill(actor))
        await trade_a_short_day(world)
        if actor != "broker":
            # With a broker, bytes may die that were about to leave: an entry is not sent again on a guess.
            assert sum(quantity for _, quantity, _ in world.prices()) == 1000
        name = f"symbol:{actor}" if actor == SLV else actor
        await world.check(restarts={name: 1}, alarms=None)

    play(story, settings=brief(SLV))


@pytest.mark.parametrize("number", [1, 2])
@under_both
@pytest.mark.slow
def test_the_broker_may_die_between_its_journal_and_the_wire(
    number: int, activation: ChildActivation
) -> None:
    async def story(world: World) -> None:
        world.at_write("broker", number, die)
        await trade_a_short_day(world)
        await world.check(restarts={"broker": 1}, alarms=None)

    play(story, settings=brief(SLV), activation=activation)


@pytest.mark.parametrize(
    ("actor", "after_s"),
    [
        (actor, after_s)
        for actor in ("SLV", "broker", "router", "timers")
        for after_s in (0.0, 0.5, 1.0, 2.0, 5.0)
        if (actor, after_s) != ("broker", 0.0)
    ],
)
@under_both
@pytest.mark.slow
def test_an_actor_killed_while_an_entry_fills_costs_nothing(
    actor: str, after_s: float, activation: ChildActivation
) -> None:
    async def story(world: World) -> None:
        await world.show(SLV, size=100)
        await world.enter(GLD)
        world.signal(SLV, "BUY")
        await trio.sleep(after_s)
        world.kill(actor)
        await world.until(lambda: world.position() == 300)
        await trio.sleep(10.0)
        assert world.exits() == {"stop": ("SELL", 300, 97.0), "target": ("SELL", 300, 108.01)}
        assert set(world.exits(GLD)) == {"stop", "target"}
        name = f"symbol:{actor}" if actor == SLV else actor
        await world.check(restarts={name: 1}, alarms=None)

    market = DirectedMarket({SLV: 100.0, GLD: 50.0})
    settings = settings_for(SLV, GLD, shares=300)
    play(story, market, settings, activation=activation)


def test_an_entry_whose_broker_dies_before_its_bytes_leave_is_not_sent_again_on_a_guess() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        world.signal(SLV, "BUY")
        world.kill("broker")
        await trio.sleep(30.0)
        assert (world.position(), world.working(), world.sent_twice()) == (0, {}, [])
        assert [event.reason for event in world.events(PositionCloseEvent)] == ["not entered"]
        await trio.sleep(180.0)
        await world.enter()
        await world.check(restarts={"broker": 1}, alarms=None)

    play(story)


@pytest.mark.parametrize("actor", ["SLV", "broker", "router", "timers"])
def test_an_actor_killed_while_the_stop_fills_costs_nothing(actor: str) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, size=100)
        world.stage.show(SLV, 96.5)
        await world.until(lambda: world.position() < 400)
        world.kill(actor)
        await world.until(lambda: world.state().trade is None and world.position() == 0)
        assert world.working() == {}
        name = f"symbol:{actor}" if actor == SLV else actor
        await world.check(restarts={name: 1}, alarms=None)

    play(story, settings=settings_for(SLV, shares=400))


def test_a_symbol_killed_over_and_over_in_one_trade_comes_back_each_time() -> None:
    async def story(world: World) -> None:
        await world.enter()
        for _ in range(20):
            world.kill("SLV")
            await trio.sleep(1.0)
        assert world.exits() == {"stop": ("SELL", 100, 97.0), "target": ("SELL", 100, 108.01)}
        await world.check(restarts={"symbol:SLV": 20})

    play(story)


def test_a_symbol_that_comes_back_knows_the_quote_that_stands() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        await trio.sleep(60.0)
        world.kill("SLV")
        await trio.sleep(2.0)
        world.signal(SLV, "BUY")
        await trio.sleep(3.0)
        assert world.verdicts() == [(SLV, "entry")]
        assert world.position() == 100
        await world.check(restarts={"symbol:SLV": 1})

    play(story)


def test_all_actors_killed_at_once_come_back_to_the_same_trade() -> None:
    async def story(world: World) -> None:
        await world.enter()
        for actor in ("router", "SLV", "broker", "timers"):
            world.kill(actor)
        await trio.sleep(10.0)
        assert world.exits() == {"stop": ("SELL", 100, 97.0), "target": ("SELL", 100, 108.01)}
        await world.show(SLV, 108.5)
        await world.until(lambda: world.state().trade is None)
        everyone = dict.fromkeys(("router", "symbol:SLV", "broker", "timers"), 1)
        await world.check(restarts=everyone, alarms=None)

    play(story)


def test_the_flatten_time_comes_though_the_timers_were_killed() -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.sleep_until("10:01:19")
        world.kill("timers")
        await world.sleep_until("10:01:30")
        assert (world.position(), world.working()) == (0, {})
        await world.check(restarts={"timers": 1})

    play(story, settings=brief(SLV))


# --- deaths on command ----------------------------------------------------------------------------


@pytest.mark.parametrize("moment", list(Moment), ids=lambda each: each.value)
@under_both
@pytest.mark.slow
def test_a_symbol_killed_on_command_is_ready_again_and_the_record_says_so(
    moment: Moment, activation: ChildActivation
) -> None:
    async def story(world: World) -> None:
        await trade_a_short_day(world)
        deaths = world.system.kills.record()
        assert [death.ready_after_ms is None for death in deaths] == [False] * len(deaths)
        assert len(deaths) == 1 + len(extra)
        await world.check(restarts={"symbol:SLV": len(deaths)}, alarms=None)

    # Whoever is to die while it recovers must have died before.
    extra = (KillOrder(SLV, Moment.ENTRY_FILLED),) if moment is Moment.RECOVERING else ()
    kills = (*extra, KillOrder(SLV, moment))
    play(story, settings=brief(SLV), kills=kills, activation=activation)


def test_a_recovery_that_is_killed_twice_gives_each_death_its_time() -> None:
    async def story(world: World) -> None:
        await trade_a_short_day(world)
        deaths = world.system.kills.record()
        assert len(deaths) == 3
        times = [death.ready_after_ms for death in deaths]
        assert None not in times
        await world.check(restarts={"symbol:SLV": 3})

    kills = (
        KillOrder(SLV, Moment.ENTRY_FILLED),
        KillOrder(SLV, Moment.RECOVERING),
        KillOrder(SLV, Moment.RECOVERING),
    )
    play(story, settings=brief(SLV), kills=kills)


# --- a symbol that cannot live --------------------------------------------------------------------


def make_sick(world: World, symbol: Symbol) -> None:
    """From now on every step of this symbol crashes, in this life and in all that follow."""
    sick = world.system.symbols[symbol]

    def crash(*_: object) -> None:
        raise ZeroDivisionError("its rules divide by zero")

    sick._probe = crash


def test_a_symbol_that_always_crashes_ends_in_quarantine_while_the_others_trade_on() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        make_sick(world, SLV)
        await world.enter(GLD)
        await trio.sleep(60)
        states = {child.id: child.state.value for child in world.system.symbol_tree.which_children()}
        assert states == {"symbol:SLV": "quarantined", "symbol:GLD": "running"}
        assert world.exits(GLD) == {"stop": ("SELL", 100, 48.5), "target": ("SELL", 100, 54.01)}
        await world.show(GLD, 55.0)
        await world.until(lambda: world.state(GLD).trade is None)
        assert world.disagreements() == ()
        assert set(world.restarts()) == {"symbol:SLV"}
        assert world.alarms() == {"quarantined", "GUARDED"}

    play(story, DirectedMarket({SLV: 100.0, GLD: 50.0}), settings_for(SLV, GLD))


def test_the_exits_of_a_quarantined_symbol_stand_at_the_broker() -> None:
    async def story(world: World) -> None:
        await world.enter()
        make_sick(world, SLV)
        await trio.sleep(60)
        assert "quarantined" in world.alarms()
        assert world.exits() == {"stop": ("SELL", 100, 97.0), "target": ("SELL", 100, 108.01)}
        assert world.disagreements() == ()
        assert world.uncovered_s()[SLV] <= 2.0

    play(story)
