"""A symbol whose rule always raises, with a position, while nineteen others trade the day to its end."""

from __future__ import annotations

from collections import Counter
from datetime import time
from typing import Any, Final, cast

import attrs
import pytest
import trio

from protocol.control_answers import StatusTold
from protocol.control_requests import AskStatus
from protocol.events import ActorExitedEvent, AlarmEvent, PositionCloseEvent
from protocol.rules.actions import Close
from protocol.rules.conditions import Test
from protocol.rules.rule import Rule
from protocol.settings import Schedule
from protocol.values import STOP, TARGET, Symbol
from tests.directed_market import DirectedMarket
from tests.operator_desk import Person
from tests.world import World, play, settings_for

NAMES: Final = tuple(Symbol(f"S{letter}") for letter in "ABCDEFGHIJKLMNOPQRST")
SICK, *WELL = NAMES
SHORT_DAY: Final = Schedule(no_entries_after=time(10, 2), flatten=time(10, 2, 20))


@attrs.frozen
class Unheard:
    """A condition about the price that no evaluation knows: whoever asks whether it holds raises."""

    tests: tuple[Test, ...] = (Test("price", ">", 0.0),)


def raise_from_now_on(world: World, symbol: Symbol) -> None:
    """The actor has this rule in all its lives; it raises at every event that rules are asked about."""
    actor = world.system.symbols[symbol]
    broken = Rule("broken", when=cast("Any", Unheard()), then=Close())
    actor.plan = attrs.evolve(actor.plan, rules=(broken, *actor.plan.rules))


async def everybody(world: World, word: str, symbols: tuple[Symbol, ...]) -> None:
    for symbol in symbols:
        world.signal(symbol, word)
        # Entries that wait for the wire longer than a second are not sent.
        await trio.sleep(0.5)
    await trio.sleep(30.0)


@pytest.mark.slow
def test_a_symbol_whose_rule_always_raises_is_guarded_while_nineteen_others_trade_the_day_out() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.quoted()
        await everybody(world, "BUY", NAMES)
        assert {world.position(symbol) for symbol in NAMES} == {100}
        exits = world.exits(SICK)

        raise_from_now_on(world, SICK)
        await trio.sleep(10.0)
        # Once at once, once after the backoff, and not a third time.
        about_100_ms = pytest.approx(0.1, rel=0.2)
        assert exits_of(world) == [("restart", 0.0), ("restart", about_100_ms), ("quarantine", 0.0)]
        assert world.exits(SICK) == exits
        assert set(exits) == {STOP, TARGET}
        status = person.ask(AskStatus())
        assert isinstance(status, StatusTold)
        told = {line.symbol: (line.actor, line.position, line.held) for line in status.symbols}
        assert told[SICK] == ("quarantined", 100, "in quarantine; the custodian guards it")
        assert {told[symbol] for symbol in WELL} == {("running", 100, "")}

        # A reversal for everybody: the sick one is refused, the others turn around.
        await everybody(world, "SELL", NAMES)
        assert [verdict for verdict in world.verdicts() if verdict[0] == SICK] == [
            (SICK, "entry"), (SICK, "quarantined")
        ]  # fmt: skip
        assert {world.position(symbol) for symbol in WELL} == {-100}
        assert world.position(SICK) == 100

        await world.sleep_until("10:02:50")
        assert world.system.at_rest
        assert [world.position(symbol) for symbol in NAMES] == [0] * len(NAMES)
        closed = Counter(event.symbol for event in world.events(PositionCloseEvent))
        assert {closed[symbol] for symbol in WELL} == {2}
        assert {event.code for event in world.events(AlarmEvent)} == {"quarantined", "GUARDED"}
        assert set(world.restarts()) == {f"symbol:{SICK}"}
        assert world.disagreements() == ()
        assert world.sent_twice() == []
        assert max(world.uncovered_s().values()) <= 2.0

    settings = settings_for(*NAMES, schedule=SHORT_DAY)
    brief = tuple(attrs.evolve(rule, cooldown_s=20.0) for rule in settings.rules)
    market = DirectedMarket(dict.fromkeys(NAMES, 100.0))
    play(story, market, attrs.evolve(settings, rules=brief))


def exits_of(world: World) -> list[tuple[str, Any]]:
    return [(event.decision, event.delay_s) for event in world.events(ActorExitedEvent)]
