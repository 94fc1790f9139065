"""The broker actor near the limit of the wire: what waits, what goes first, what is refused."""

from __future__ import annotations

import trio

from protocol.commands import CancelOrder, PlaceOrders
from protocol.reports import RequestRefused
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from tests.broker_fakes import SLV, bracket, broker_world, spec


async def test_a_burst_of_entries_is_paced_and_a_cancel_does_not_wait_for_it(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.commands.put(PlaceOrders(SLV, 1, (spec(trade=500),)))
        await world.settle()
        await trio.sleep(2)
        times: list[tuple[float, str]] = []

        def note(request: tws.ClientRequest) -> None:
            times.append((trio.current_time(), type(request).__name__))

        world.tws.on_request = note
        for trade in range(1, 21):
            world.commands.put(PlaceOrders(SLV, 1, bracket(trade)))
        world.commands.put(CancelOrder(SLV, 1, spec(trade=500).ref))
        begun = trio.current_time()
        await world.settle(3)
        stamps = [at for at, _ in times]
        assert all(stamps[i + 45] - stamps[i] >= 0.99 for i in range(len(stamps) - 45))
        assert next(at for at, name in times if name == "CancelOrder") - begun < 0.01
        assert len([name for _, name in times if name == "PlaceOrder"]) == 60


async def test_a_group_beyond_the_configured_pace_is_refused_and_the_actor_lives(
    autojump_clock: object,
) -> None:
    async with broker_world(settings=BrokerSettings(max_messages_per_s=2)) as world:
        world.commands.put(PlaceOrders(SLV, 1, bracket()))
        await world.settle()
        assert world.tws.placed == []
        assert [refused.terminal for refused in world.reports(RequestRefused)] == [True, True, True]
        assert world.journal.alarms == ["NOT_SENT"]


async def test_entries_that_waited_too_long_for_the_wire_are_refused_and_not_sent_late(
    autojump_clock: object,
) -> None:
    async with broker_world(settings=BrokerSettings(max_messages_per_s=8)) as world:
        await trio.sleep(2)
        for trade in range(1, 11):
            world.commands.put(PlaceOrders(SLV, 1, bracket(trade)))
        await world.settle(4)
        refused = {report.ref.trade for report in world.reports(RequestRefused)}
        sent = {int(request.order.order_ref.split(":")[2]) for request in world.tws.placed}
        assert refused
        assert sent | refused == set(range(1, 11))
        assert not sent & refused
