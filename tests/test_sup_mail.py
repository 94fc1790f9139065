"""Mail that is too much for its actor, or kills it, in the whole system on the mock clock (SUP-16, 17)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from actors.mailbox import SIGNALS_LIMIT, Lane, Mailbox
from protocol.commands import BrokerCommand, PlaceOrders
from protocol.events import AlarmEvent, FillEvent, PredictionSignalEvent, SignalVerdictEvent
from protocol.message_names import message_name
from protocol.reports import ExecutionReport
from protocol.symbol import SymbolMessage
from protocol.values import STOP, Symbol
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for


def two(story: Callable[[World], object]) -> None:
    play(story, DirectedMarket({SLV: 100.0, GLD: 50.0}), settings_for(SLV, GLD))  # type: ignore[arg-type]


def allergic(world: World, kind: type, symbol: Symbol = SLV) -> None:
    """The symbol crashes on every message of this kind, in this life and in all that follow."""
    actor = world.system.symbols[symbol]
    handle = actor._handle

    def crash(message: SymbolMessage) -> None:
        if isinstance(message, kind):
            raise ZeroDivisionError(f"no {kind.__name__} is wanted")
        handle(message)

    actor._handle = crash  # type: ignore[method-assign]
    world.kill(symbol)  # its next life reads its mail with this


def states(world: World) -> dict[str, str]:
    return {child.id: child.state.value for child in world.system.symbol_tree.which_children()}


async def gold_trades(world: World) -> None:
    """Whatever has become of the other symbol."""
    world.signal(GLD, "BUY")
    await world.until(lambda: world.position(GLD) == 100)
    await world.until(lambda: STOP in world.working(GLD))


def alarm(world: World, code: str) -> AlarmEvent:
    (found,) = [event for event in world.events(AlarmEvent) if event.code == code]
    return found


# --- poison -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ready", [True, False], ids=["ready", "before its books agree"])
def test_sup_17_a_signal_that_kills_twice_is_a_dead_letter_with_a_verdict_and_an_alarm(ready: bool) -> None:
    async def story(world: World) -> None:
        await world.quoted()
        allergic(world, PredictionSignalEvent)
        if ready:
            await trio.sleep(5.0)
        world.signal(SLV, "BUY")
        await trio.sleep(5.0)
        assert world.verdicts() == [(SLV, "dead_letter")]
        told = alarm(world, "DEAD_LETTER")
        assert told.symbol == SLV
        (signal,) = world.events(PredictionSignalEvent)
        assert told.text == f"symbol:SLV crashed twice on PredictionSignalEvent {signal.signal_id}"
        assert states(world) == {"symbol:SLV": "running", "symbol:GLD": "running"}
        assert world.restarts() == {"symbol:SLV": 3}  # the story's kill, and two crashes
        await gold_trades(world)

    two(story)


def test_sup_17_a_word_of_the_broker_that_kills_twice_is_kept_and_the_symbol_guarded() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        allergic(world, ExecutionReport)
        await trio.sleep(5.0)
        world.signal(SLV, "BUY")
        await trio.sleep(15.0)
        assert states(world) == {"symbol:SLV": "quarantined", "symbol:GLD": "running"}
        assert "crashed twice on ExecutionReport" in alarm(world, "quarantined").text
        assert "DEAD_LETTER" not in world.alarms()
        assert isinstance(world.system.mailboxes[SLV].take(), ExecutionReport)
        # The custodian has counted what the symbol could not hear.
        assert sum(event.quantity for event in world.events(FillEvent, SLV)) == world.position() == 100
        assert world.working()[STOP].remaining == 100
        await gold_trades(world)
        assert set(world.restarts()) == {"symbol:SLV"}

    two(story)


def test_sup_17_a_command_that_kills_the_broker_twice_costs_only_its_symbol() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        broker = world.system.broker
        handle = broker._handle_command

        def crash(command: BrokerCommand) -> None:
            if isinstance(command, PlaceOrders) and command.symbol == SLV:
                raise ZeroDivisionError("this order cannot be said")
            handle(command)

        broker._handle_command = crash  # type: ignore[method-assign]
        world.kill("broker")
        await world.until(lambda: all(actor.view.reconciled for actor in world.actors))
        world.signal(SLV, "BUY")
        await trio.sleep(60.0)
        assert states(world) == {"symbol:SLV": "quarantined", "symbol:GLD": "running"}
        told = alarm(world, "DEAD_LETTER")
        assert (told.symbol, told.text.split(" on ")[0]) == (SLV, "broker crashed twice")
        assert world.restarts() == {"broker": 3, "symbol:SLV": 1}
        await gold_trades(world)
        assert (world.position(SLV), world.position(GLD)) == (0, 100)

    two(story)


# --- too much ---------------------------------------------------------------------------------------


def test_sup_16_signals_past_the_limit_are_refused_each_with_its_verdict_and_one_alarm() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        world.unreachable = True
        world.kill("broker")
        world.kill(SLV)
        await trio.sleep(5.0)
        for _ in range(SIGNALS_LIMIT + 3):
            world.signal(SLV, "BUY")
        assert world.verdicts() == [(SLV, "mailbox_full")] * 3
        assert world.system.mailboxes[SLV].counts.dropped == 3
        assert alarm(world, "MAILBOX_CROWDED").symbol == SLV
        world.unreachable = False
        await world.until(lambda: world.system.symbols[SLV].ready, within_s=120.0)
        await trio.sleep(1.0)
        judged = [event.signal_id for event in world.events(SignalVerdictEvent)]
        assert len(judged) == len(set(judged)) == SIGNALS_LIMIT + 3

    two(story)


def test_sup_16_a_crowded_lane_is_told_once_until_it_was_half_empty() -> None:
    told: list[Lane] = []
    box: Mailbox[int] = Mailbox(on_crowded=told.append, broker_high_water=4, signals_limit=2)
    for number in range(6):
        assert box.put(Lane.BROKER, number)  # told of, and never dropped
    assert told == [Lane.BROKER]
    for _ in range(3):
        box.take()
        box.done()
    box.put(Lane.BROKER, 7)
    box.put(Lane.BROKER, 8)
    assert told == [Lane.BROKER]
    for _ in range(4):
        box.take()
        box.done()
    assert [box.put(Lane.SIGNALS, number) for number in range(3)] == [True, True, False]
    assert told == [Lane.BROKER, Lane.SIGNALS]
    assert box.counts.dropped == 1


async def test_sup_18_held_signals_wait_while_the_rest_of_the_mail_is_read(autojump_clock: object) -> None:
    box: Mailbox[str] = Mailbox()
    heard: list[str] = []
    box.hold_signals()
    box.put(Lane.SIGNALS, "signal 1")
    box.put(Lane.BROKER, "report 1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(box.serve, heard.append)
        await trio.testing.wait_all_tasks_blocked()
        box.put(Lane.SIGNALS, "signal 2")
        box.put(Lane.BROKER, "report 2")
        assert heard == ["report 1", "report 2"]
        assert (box.depth, box.waiting) == (2, True)
        box.let_signals_go()
        await trio.testing.wait_all_tasks_blocked()
        assert heard == ["report 1", "report 2", "signal 1", "signal 2"]
        nursery.cancel_scope.cancel()


def test_messages_are_named_by_kind_and_by_what_finds_them_again() -> None:
    assert message_name(None) == ""
    assert message_name(("SLV", 5)) == "int"
    assert message_name((("SLV", 5), (None, "x"))) == "2 messages from int"
