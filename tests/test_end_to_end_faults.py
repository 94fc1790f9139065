"""Lost links, refused stops and untold executions, in the middle of a trade."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
import trio

from actors.tws_link import Burst, Link, StreamLink
from protocol.events import HoldEvent, NewOrderEvent, RejectEvent
from protocol.exchange.venue_settings import ChildActivation
from protocol.reports import LinkState
from protocol.tws import messages as tws
from protocol.values import STOP
from tests.world import SLV, World, play, settings_for, under_both

# --- lost links -----------------------------------------------------------------------------------


@under_both
@pytest.mark.parametrize("away_s", [0.0, 3.0, 40.0])
def test_a_link_lost_in_the_middle_of_an_entry_comes_back_to_the_same_trade(
    away_s: float, activation: ChildActivation
) -> None:
    async def story(world: World) -> None:
        await world.show(SLV, size=100)
        await world.quoted()
        world.signal(SLV, "BUY")
        await world.until(lambda: world.position() == 200)
        world.unreachable = away_s > 0
        world.tws.break_connections()
        await trio.sleep(away_s)
        world.unreachable = False
        await world.until(lambda: world.system.broker.state is LinkState.UP, within_s=60)
        await world.until(lambda: world.position() == 450)
        await trio.sleep(5)
        assert world.links == 2
        assert world.exits() == {"stop": ("SELL", 450, 97.0), "target": ("SELL", 450, 108.01)}
        assert world.state().position.quantity == 450
        await world.check()

    play(story, settings=settings_for(SLV, shares=450), activation=activation)


@under_both
@pytest.mark.parametrize("turns", range(12))
@pytest.mark.slow
def test_a_link_may_be_lost_at_any_moment_around_the_placing_of_a_bracket(
    turns: int, activation: ChildActivation
) -> None:
    async def story(world: World) -> None:
        await world.quoted()
        world.signal(SLV, "BUY")
        for _ in range(turns):
            # The clock stands: bytes travel, and the venue answers, within turns of the loop.
            await trio.lowlevel.checkpoint()
        world.tws.break_connections()
        await trio.sleep(40)
        # An entry that never arrived is not sent again on a guess; one that did goes on.
        assert world.position() in (0, 100)
        assert set(world.exits()) == ({"stop", "target"} if world.position() else set())
        assert world.links == 2
        await world.check(alarms=None)

    play(story, activation=activation)


@under_both
def test_a_target_that_fills_while_the_link_is_down_is_found_when_it_is_back(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.enter()
        world.unreachable = True
        world.tws.break_connections()
        await world.show(SLV, 108.5)
        assert world.position() == 0
        assert world.state().position.quantity == 100
        world.unreachable = False
        await world.until(lambda: world.state().trade is None)
        assert world.working() == {}
        await world.check()

    play(story, activation=activation)


@under_both
def test_a_stop_that_fills_in_part_while_the_link_is_down_is_followed_afterwards(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, size=100)
        world.unreachable = True
        world.tws.break_connections()
        world.stage.show(SLV, 96.5)
        await world.until(lambda: world.position() <= 200)
        world.stage.show(SLV, size=0)
        world.unreachable = False
        await world.until(lambda: world.system.broker.state is LinkState.UP)
        await trio.sleep(3)
        assert world.state().position.quantity == world.position()
        world.stage.show(SLV, size=100)
        await world.until(lambda: world.state().trade is None)
        assert (world.position(), world.working()) == (0, {})
        await world.check()

    play(story, settings=settings_for(SLV, shares=450), activation=activation)


def test_a_reversal_goes_on_after_a_link_that_was_lost_in_it() -> None:
    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, size=100)
        await trio.sleep(200)
        world.signal(SLV, "SELL")
        await world.until(lambda: world.position() < 400)
        world.tws.break_connections()
        await trio.sleep(60)
        assert world.position() == -400
        assert world.exits() == {"stop": ("BUY", 400, 102.99), "target": ("BUY", 400, 92.0)}
        await world.check()

    play(story, settings=settings_for(SLV, shares=400))


def test_a_day_of_lost_links_ends_flat_and_with_equal_books() -> None:
    from tests.test_end_to_end_kills import brief, trade_a_short_day

    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:

            async def cut() -> None:
                while True:
                    # Long enough for a link to count as healthy: else the pauses before the next one grow.
                    await trio.sleep(12.3)
                    world.tws.break_connections()

            nursery.start_soon(cut)
            await trade_a_short_day(world)
            nursery.cancel_scope.cancel()
        await world.settle()
        await world.check(alarms=None)

    play(story, settings=brief(SLV))


# --- a stop that the broker refuses -----------------------------------------------------------------


class RefusingWire:
    """A link on which the prices of new stop orders go wrong, so that TWS refuses them: `left` of them.

    The leg before the stop transmits the bracket then, as it would where the stop is refused for a
    reason of its own.
    """

    def __init__(self, inner: StreamLink, left: int) -> None:
        self._inner, self.left = inner, left
        self._known: set[int] = set()

    @property
    def server_version(self) -> int:
        return self._inner.server_version

    def encode(self, request: tws.ClientRequest) -> bytes:
        if isinstance(request, tws.PlaceOrder) and self.left > 0:
            order = request.order
            new = request.order_id not in self._known
            self._known.add(request.order_id)
            if new and order.order_type == "STP":
                self.left -= 1
                assert order.aux_price is not None
                order = attrs.evolve(order, aux_price=order.aux_price + 0.005)
            elif new and order.order_type == "LMT":
                order = attrs.evolve(order, transmit=True)
            request = attrs.evolve(request, order=order)
        return self._inner.encode(request)

    def send(self, data: bytes) -> None:
        self._inner.send(data)

    async def receive(self) -> Burst:
        return await self._inner.receive()

    async def run(self) -> None:
        await self._inner.run()

    def close(self) -> None:
        self._inner.close()


def refusing(world: World, stops: int) -> None:
    """The next link refuses so many stops; the present one ends."""

    def wrap(link: StreamLink) -> Link:
        return RefusingWire(link, stops)

    world.wire = wrap
    world.tws.break_connections()


@under_both
def test_a_stop_that_is_refused_while_the_entry_fills_is_placed_anew(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        refusing(world, 1)
        await world.until(lambda: world.links == 2 and world.system.broker.state is LinkState.UP)
        await world.show(SLV, size=100)
        world.signal(SLV, "BUY")
        await world.until(lambda: world.position() == 300)
        await trio.sleep(5)
        assert world.exits() == {"stop": ("SELL", 300, 97.0), "target": ("SELL", 300, 108.01)}
        assert [event.ref.role for event in world.events(RejectEvent, SLV)] == [STOP]
        assert [event.ref.revision for event in stops(world)] == [0, 1]
        await world.check(alarms={"REFUSED"})

    play(story, settings=settings_for(SLV, shares=300), activation=activation)


@under_both
def test_a_trade_whose_stops_are_all_refused_is_closed(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        refusing(world, 1000)
        await world.until(lambda: world.links == 2 and world.system.broker.state is LinkState.UP)
        await world.show(SLV)
        world.signal(SLV, "BUY")
        await world.until(lambda: bool(world.prices()))
        await world.until(lambda: world.state().trade is None)
        assert (world.position(), world.working()) == (0, {})
        await world.check(alarms={"REFUSED", "UNCOVERED"})

    play(story, activation=activation)


def stops(world: World) -> Iterator[NewOrderEvent]:
    return (event for event in world.events(NewOrderEvent, SLV) if event.ref.role == STOP)


# --- executions that nobody tells -------------------------------------------------------------------


def test_an_execution_that_is_withheld_is_taken_from_the_status_and_the_position() -> None:
    async def story(world: World) -> None:
        world.tws.withhold_execution(1)
        await world.quoted()
        world.signal(SLV, "BUY")
        await trio.sleep(60)
        assert world.position() == 100
        held = world.state().position
        ((_, quantity, price),) = world.prices(SLV)
        assert (held.quantity, held.average_price) == (quantity, price)
        assert world.alarms() == {"EXECUTION_NOT_TOLD"}
        assert world.events(HoldEvent, SLV) == []
        assert world.exits()["stop"][:2] == ("SELL", 100)
        assert world.uncovered_s()[SLV] <= 2.0
        await trio.sleep(200)
        world.signal(SLV, "SHORT")
        await world.until(lambda: world.position() == -100)
        assert world.sent_twice() == []

    play(story)
