"""The broker actor near the limit of the wire: what waits, what goes first, what is refused."""

from __future__ import annotations

from decimal import Decimal

import attrs
import trio

from protocol.commands import CancelOrder, PlaceOrders
from protocol.events import OrderSentEvent
from protocol.reports import RequestRefused
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from protocol.values import STOP, OrderRef, OrderSpec, OrderType, Side, TimeInForce
from tests.broker_fakes import SLV, bracket, broker_world, spec
from tests.journals import check_journal


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


def stop_for(trade: int) -> OrderSpec:
    """An exit of its own: it goes before every entry."""
    return OrderSpec(
        OrderRef("a7", SLV, trade, STOP), Side.SELL, 100, OrderType.STOP, TimeInForce.GTC,
        stop_price=Decimal("24.00"),
    )  # fmt: skip


async def test_an_entry_that_a_stop_overtakes_gets_new_ids_since_tws_takes_rising_ones_only(
    autojump_clock: object,
) -> None:
    async with broker_world(settings=BrokerSettings(max_messages_per_s=8)) as world:
        await trio.sleep(2)
        for trade in (1, 2, 3):
            world.commands.put(PlaceOrders(SLV, 1, bracket(trade)))
        world.commands.put(PlaceOrders(SLV, 1, (stop_for(9),)))
        await world.settle(3)
        placed = [request.order_id for request in world.tws.placed]
        trades = [int(request.order.order_ref.split(":")[2]) for request in world.tws.placed]
        assert trades.index(9) < trades.index(3), "the stop goes first"
        assert placed == sorted(placed)
        assert len(set(placed)) == len(placed)
        named = {OrderRef.parse(request.order.order_ref): request for request in world.tws.placed}
        ids = {event.ref: event.order_id for event in world.journal.of(OrderSentEvent)}
        assert {ref: request.order_id for ref, request in named.items()} == ids, "journalled before it left"
        renamed = [event for event in world.journal.of(OrderSentEvent) if event.replaces]
        assert renamed
        assert {event.replaces for event in renamed}.isdisjoint(placed)
        wrong = {found.invariant for found in check_journal(world.journal.rows, ended=False).violations}
        assert "INV-05" not in wrong, "one order, though it had two ids one after the other"
        for trade in (1, 2, 3):
            entry, *children = [request for ref, request in named.items() if ref and ref.trade == trade]
            assert {child.order.parent_id for child in children} == {entry.order_id}


async def test_a_cancel_of_an_entry_that_got_a_new_id_names_the_new_one(autojump_clock: object) -> None:
    async with broker_world(settings=BrokerSettings(max_messages_per_s=8)) as world:
        await trio.sleep(2)
        for trade in (1, 2, 3):
            world.commands.put(PlaceOrders(SLV, 1, bracket(trade)))
        world.commands.put(PlaceOrders(SLV, 1, (stop_for(9),)))
        world.commands.put(CancelOrder(SLV, 1, bracket(3)[0].ref))
        await world.settle(3)
        entry = next(r for r in world.tws.placed if r.order.order_ref == str(bracket(3)[0].ref))
        cancels = [r.order_id for r in world.tws.requests if isinstance(r, tws.CancelOrder)]
        assert cancels == [entry.order_id]


async def test_entries_that_wait_for_the_wire_are_dropped_on_the_word_and_stops_are_not(
    autojump_clock: object,
) -> None:
    async with broker_world(settings=BrokerSettings(max_messages_per_s=8)) as world:
        await trio.sleep(2)
        for trade in range(1, 6):
            world.commands.put(PlaceOrders(SLV, 1, bracket(trade)))
        for trade in range(11, 15):
            world.commands.put(PlaceOrders(SLV, 1, (stop_for(trade),)))
        await world.settle()
        left = {int(request.order.order_ref.split(":")[2]) for request in world.tws.placed}
        world.broker.drop_entries("the kill level is HALT")
        await world.settle(4)
        sent = {int(request.order.order_ref.split(":")[2]) for request in world.tws.placed}
        assert {trade for trade in sent if trade < 10} == {trade for trade in left if trade < 10}
        assert {11, 12, 13, 14} <= sent
        refused = {report.ref.trade: report.terminal for report in world.reports(RequestRefused)}
        assert set(refused) | sent == {*range(1, 6), *range(11, 15)}
        assert all(refused.values())


async def test_a_child_that_comes_later_names_the_new_id_of_its_parent(autojump_clock: object) -> None:
    async with broker_world(settings=BrokerSettings(max_messages_per_s=8)) as world:
        await trio.sleep(2)
        for trade in (1, 2, 3):
            world.commands.put(PlaceOrders(SLV, 1, bracket(trade)))
        world.commands.put(PlaceOrders(SLV, 1, (stop_for(9),)))
        late = attrs.evolve(
            bracket(3)[1], ref=OrderRef("a7", SLV, 3, STOP, 1), parent=bracket(3)[0].ref, oca_group="late"
        )
        world.commands.put(PlaceOrders(SLV, 1, (late,)))
        await world.settle(3)
        by_ref = {request.order.order_ref: request for request in world.tws.placed}
        entry, child = by_ref[str(bracket(3)[0].ref)], by_ref[str(late.ref)]
        assert child.order.parent_id == entry.order_id
