"""A symbol that somebody else traded is held, a person is told, and a person resumes it."""

from __future__ import annotations

from decimal import Decimal

import trio

from protocol.control_requests import Resume
from protocol.events import SignalVerdictEvent
from protocol.exchange.interventions import Interventions
from protocol.tws.messages import Order
from tests.operator_desk import Person, act_out
from tests.world import SLV, World


def test_a_strangers_trade_is_an_alarm_and_its_hold_ends_by_a_persons_word() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.quoted()
        contract = world.system.broker.session.contracts.qualified[SLV].contract
        outside = Interventions(world.tws.venue)
        for action in ("BUY", "SELL"):
            order = Order(action=action, total_quantity=Decimal(7), order_type="MKT")
            outside.place_manual(world.tws.market_now(), contract, order)
            await trio.sleep(1.0)
        await trio.sleep(40.0)
        assert "FOREIGN_TRADE" in world.alarms()
        assert world.state().held
        world.signal(SLV, "BUY")
        await trio.sleep(1.0)
        assert world.events(SignalVerdictEvent)[-1].code == "hold"
        assert "somebody else traded" in person.do(Resume(symbol=SLV, why="it was me"))
        await trio.sleep(1.0)
        assert world.state().held == ""
        assert "nobody has paused" in person.do(Resume(symbol=SLV, why="once more"))
        await world.enter()

    act_out(story)
