"""A person works in TWS beside the whole system: at our orders, and in our symbols."""

from __future__ import annotations

from decimal import Decimal

import trio

from protocol.events import PositionCloseEvent, SignalVerdictEvent
from protocol.exchange.interventions import Interventions
from protocol.tws.messages import Order
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for


def stage(story: object) -> None:
    play(story, DirectedMarket({SLV: 100.0, GLD: 200.0}), settings_for(SLV, GLD))  # type: ignore[arg-type]


def test_everything_is_cancelled_in_tws_and_each_position_has_its_stop_again_within_two_seconds() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        await world.enter(GLD, "SELL")
        assert Interventions(world.tws.venue).cancel_everything(world.tws.market_now()) == 4
        await trio.sleep(2.0)
        for symbol, side in ((SLV, "SELL"), (GLD, "BUY")):
            assert {role: each[:2] for role, each in world.exits(symbol).items()} == {"stop": (side, 100)}
            assert world.state(symbol).held == "somebody else cancelled stop and target"
        assert "EXIT_CANCELLED" in world.alarms()
        await trio.sleep(40.0)
        assert abs(world.position(SLV)) == abs(world.position(GLD)) == 100

    stage(story)


def test_a_stop_that_a_person_moves_comes_back_once_and_then_stays() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        (_, _, ours) = world.exits()["stop"]
        await trio.sleep(3.0)
        outside, perm_id = Interventions(world.tws.venue), world.working()["stop"].perm_id
        outside.modify_manual(world.tws.market_now(), perm_id, stop_price=90.0)
        await trio.sleep(2.0)
        assert world.exits()["stop"] == ("SELL", 100, ours)
        assert world.state().held == ""
        await trio.sleep(3.0)
        outside.modify_manual(world.tws.market_now(), perm_id, stop_price=90.0)
        await trio.sleep(40.0)
        assert world.exits()["stop"] == ("SELL", 100, 90.0)
        assert world.state().held == "somebody else moved the stop to 100 shares at 90 again"

    stage(story)


def test_a_person_who_sells_more_than_we_hold_keeps_what_is_left() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        contract = world.system.broker.session.contracts.qualified[SLV].contract
        order = Order(action="SELL", total_quantity=Decimal(150), order_type="MKT")
        Interventions(world.tws.venue).place_manual(world.tws.market_now(), contract, order)
        # TWS tells other clients' executions when it is asked: at the look of every half minute.
        await trio.sleep(36.0)
        assert world.exits() == {}
        await trio.sleep(180.0)
        assert world.position() == -50
        assert [event.reason for event in world.events(PositionCloseEvent, SLV)] == ["somebody else"]
        world.signal(SLV, "BUY")
        await trio.sleep(1.0)
        assert world.events(SignalVerdictEvent)[-1].code == "hold"

    stage(story)
