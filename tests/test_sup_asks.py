"""Whoever waits for another's answer gets one, or hears that there is none; none waits for ever (SUP-24)."""

from __future__ import annotations

import pytest
import trio

from protocol.events import SignalVerdictEvent, Verdict
from tests.test_sup_mail import two
from tests.world import GLD, SLV, World


def test_sup_24_a_signal_for_a_symbol_in_quarantine_is_answered_at_once() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        world.unreachable = True
        world.kill("broker")
        world.kill(SLV)
        await trio.sleep(1.0)
        world.signal(SLV, "BUY")  # waits: the books have not been compared yet
        assert world.verdicts() == []
        world.system.quarantine_symbol(SLV, "the story shuts it away")
        await trio.sleep(1.0)
        assert world.verdicts() == [(SLV, "quarantined")]
        world.signal(SLV, "BUY")
        assert world.verdicts() == [(SLV, "quarantined")] * 2
        assert {event.verdict for event in world.events(SignalVerdictEvent)} == {Verdict.REFUSED}
        world.unreachable = False
        assert world.system.release_symbol(SLV)
        await world.until(lambda: world.system.symbols[SLV].ready, within_s=120.0)
        await trio.sleep(5.0)
        await world.enter(SLV)
        assert world.verdicts()[2:] == [(SLV, "entry")]

    two(story)


def test_sup_24_a_signal_that_has_waited_too_long_for_its_symbol_is_stale_and_not_acted_on() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        world.unreachable = True
        world.kill("broker")
        world.kill(SLV)
        await trio.sleep(1.0)
        world.signal(SLV, "BUY")
        await trio.sleep(100.0)
        world.unreachable = False
        await world.until(lambda: world.system.symbols[SLV].ready, within_s=120.0)
        await trio.sleep(5.0)
        assert world.verdicts() == [(SLV, "stale")]
        assert world.position() == 0

    two(story)


@pytest.mark.parametrize("after_s", [0.0, 0.001, 0.05])
def test_sup_24_a_question_about_the_books_is_answered_though_the_broker_actor_dies_of_it(
    after_s: float,
) -> None:
    async def story(world: World) -> None:
        await world.enter()
        world.kill(SLV)
        await trio.sleep(after_s)
        world.kill("broker")
        await trio.sleep(1.0)
        await world.until(lambda: all(actor.ready and actor.view.reconciled for actor in world.actors))
        await world.enter(GLD)
        await world.check(restarts={"symbol:SLV": 1, "broker": 1}, alarms=None)

    two(story)


def test_sup_24_a_question_that_tws_never_answers_is_asked_again_on_the_next_link() -> None:
    lost: list[bytes] = []

    async def story(world: World) -> None:
        await world.enter()
        deaf = world.system.broker._link
        assert deaf is not None
        deaf.send = lost.append  # type: ignore[assignment, method-assign]
        world.kill(SLV)
        await trio.sleep(1.0)
        assert not world.system.symbols[SLV].ready
        # The heartbeat finds the silence, and the next link brings the books.
        await world.until(lambda: world.system.symbols[SLV].ready, within_s=60.0)
        assert lost
        await world.check(restarts={"symbol:SLV": 1}, alarms=None)

    two(story)
