"""Links that go and come: silence, 1100 and its kin, a client id in use, restarts of the actor itself."""

from __future__ import annotations

import attrs
import pytest
import trio

from actors.broker import Backoff
from protocol.commands import AskHistory, CancelOrder, PlaceOrders
from protocol.events import AlarmEvent, LinkEvent, NewOrderEvent, OrderSentEvent, OrderStatusEvent
from protocol.reports import (
    ExecutionReport,
    HistoryLoaded,
    LinkChanged,
    LinkState,
    OrderLost,
    OrderReport,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.settings import BrokerSettings
from protocol.tws import messages as tws
from protocol.values import OrderStatus
from tests.broker_fakes import (
    SLV,
    START,
    FakeTws,
    ListJournal,
    World,
    bracket,
    broker_world,
    contract,
    echo,
    execution_of,
    spec,
)


def states(world: World) -> list[LinkState]:
    return [report.state for report in world.reports(LinkChanged)]


async def test_a_lost_link_is_told_and_comes_back_with_everybodys_books(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.deliveries.clear()
        world.tws.hang_up()
        await world.wait_state(LinkState.DOWN)
        lost_at = trio.current_time()
        await world.wait_state(LinkState.UP)
        assert trio.current_time() - lost_at < 1.0
        assert states(world) == [LinkState.DOWN, LinkState.HELD, LinkState.UP]
        assert [snapshot.generation for snapshot in world.reports(SymbolSnapshot)] == [2, 2]
        assert [event.generation for event in world.journal.of(LinkEvent)] == [1, 1, 1, 2, 2]
        # The same client id every time: another one could not change our orders.
        assert {request.client_id for request in world.tws.asked(tws.StartApi)} == {1}


async def test_orders_in_flight_at_a_loss_are_found_on_the_next_link(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.commands.put(PlaceOrders(SLV, 1, (spec(),)))
        await world.settle()
        (request,) = world.tws.placed
        world.tws.hang_up()
        world.tws.open_orders = [echo(request)]
        await world.settle(20)
        assert [report.status for report in world.reports(OrderReport)] == [OrderStatus.SUBMITTED]
        assert world.reports(OrderLost) == []
        assert len(world.tws.placed) == 1


async def test_orders_in_flight_that_never_arrived_are_lost_after_two_looks_on_the_new_link(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        world.commands.put(PlaceOrders(SLV, 1, bracket()))
        await world.settle()
        world.tws.hang_up()
        await world.wait_state(LinkState.DOWN)
        await world.wait_state(LinkState.UP)
        up_at = trio.current_time()
        await world.settle(1.5)
        assert world.reports(OrderLost) == []
        await world.settle(5)
        assert [lost.ref for lost in world.reports(OrderLost)] == [order.ref for order in bracket()]
        assert trio.current_time() - up_at < 10


async def test_fills_of_an_outage_come_with_the_next_link(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.commands.put(PlaceOrders(SLV, 1, (spec(),)))
        await world.settle()
        (request,) = world.tws.placed
        world.tws.say(*echo(request))
        await world.settle()
        world.tws.hang_up()
        world.tws.executions = [(contract(), execution_of(request, 100))]
        world.tws.positions = {SLV: 100}
        await world.settle(60)
        assert [report.quantity for report in world.reports(ExecutionReport)] == [100]
        assert [report.status for report in world.reports(OrderReport)][-1] is OrderStatus.FILLED
        assert "BOOKS_DISAGREE" not in world.journal.alarms


async def test_nothing_is_sent_without_a_link_and_the_symbol_is_told_at_once(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.tws.refuse_links = 1000
        world.tws.hang_up()
        await world.wait_state(LinkState.DOWN)
        world.deliveries.clear()
        world.commands.put(PlaceOrders(SLV, 1, (spec(),)))
        world.commands.put(CancelOrder(SLV, 1, spec().ref))
        await world.settle()
        assert [(each.code, each.terminal) for each in world.reports(RequestRefused)] == [
            (0, True),
            (0, False),
        ]
        assert world.journal.of(OrderSentEvent) == []


async def test_a_silent_peer_is_found_out_within_ten_seconds(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.tws.silent = {tws.ReqCurrentTime}
        silent_at = trio.current_time()
        await world.wait_state(LinkState.DOWN)
        assert trio.current_time() - silent_at <= 10.1
        assert "2 heartbeats without an answer" in world.journal.of(LinkEvent)[-1].reason


@pytest.mark.parametrize("lost", [1100, 2110])
async def test_a_cut_off_tws_holds_entries_lets_exits_through_and_reads_the_books_when_it_is_back(
    lost: int, autojump_clock: object
) -> None:
    async with broker_world() as world:
        world.commands.put(PlaceOrders(SLV, 1, bracket()))
        await world.settle()
        for request in world.tws.placed:
            world.tws.say(*echo(request))
        world.tws.open_orders = [echo(request) for request in world.tws.placed]
        await world.settle()
        world.deliveries.clear()
        for _ in range(3):
            world.tws.say(tws.ErrorMessage(-1, lost, "Connectivity has been lost."))
        await world.settle()
        assert states(world) == [LinkState.HELD]
        world.commands.put(PlaceOrders(SLV, 1, (spec(trade=2),)))
        world.commands.put(CancelOrder(SLV, 1, spec().ref))
        await world.settle()
        assert [each.ref for each in world.reports(RequestRefused)] == [spec(trade=2).ref]
        assert len(world.tws.asked(tws.CancelOrder)) == 1
        # A fill that comes through meanwhile counts.
        world.tws.say(tws.ExecDetails(-1, contract(), execution_of(world.tws.placed[0], 10)))
        await world.settle(60)
        assert len(world.reports(ExecutionReport)) == 1
        assert world.tws.links == 1
        lines = len(world.tws.asked(tws.ReqMktData))
        world.tws.say(tws.ErrorMessage(-1, 1102, "restored - data maintained."))
        await world.settle()
        assert states(world) == [LinkState.HELD, LinkState.UP]
        assert len(world.tws.asked(tws.ReqMktData)) == lines
        assert len(world.reports(SymbolSnapshot)) == 2


async def test_lost_data_is_subscribed_to_anew(autojump_clock: object) -> None:
    async with broker_world() as world:
        before = dict(world.tws.lines)
        world.tws.say(tws.ErrorMessage(-1, 1100, "lost"), tws.ErrorMessage(-1, 1101, "restored - data lost."))
        await world.settle()
        assert world.broker.state is LinkState.UP
        assert set(world.tws.lines) == set(before)
        assert all(world.tws.lines[symbol] > before[symbol] for symbol in before)


async def test_a_line_that_ended_by_itself_is_subscribed_to_again_after_a_pause(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        before = dict(world.tws.lines)
        world.tws.say(tws.ErrorMessage(before[SLV], 10182, "Failed to request live updates (disconnected)."))
        await world.settle(1)
        assert world.tws.lines == before
        await world.settle(5)
        assert world.tws.lines[SLV] > before[SLV]
        assert world.journal.alarms == ["MARKET_DATA_10182"]


async def test_a_snapshot_that_was_under_way_at_a_cut_proves_nothing(autojump_clock: object) -> None:
    fake = FakeTws()
    fake.silent = {tws.ReqCompletedOrders}
    async with broker_world(fake=fake, up=False) as world:
        await world.wait_state(LinkState.HELD)
        await world.settle()
        fake.say(tws.ErrorMessage(-1, 1100, "lost"), tws.CompletedOrdersEnd())
        await world.settle(60)
        assert states(world) == [LinkState.HELD]
        assert world.reports(SymbolSnapshot) == []
        fake.silent = set()
        fake.say(tws.ErrorMessage(-1, 1102, "restored"))
        await world.settle()
        assert world.broker.state is LinkState.UP
        assert len(world.reports(SymbolSnapshot)) == 2


@pytest.mark.parametrize("code", [2103, 2104, 2105, 2106, 2107, 2108, 2119, 2157, 2158])
async def test_words_about_farms_never_touch_the_order_link(code: int, autojump_clock: object) -> None:
    async with broker_world() as world:
        world.deliveries.clear()
        for _ in range(50):
            world.tws.say(tws.ErrorMessage(-1, code, "farm"))
            await world.settle(1)
        assert world.broker.state is LinkState.UP
        assert world.tws.links == 1
        assert world.deliveries == []


async def test_a_client_id_in_use_is_waited_for_and_never_changed(autojump_clock: object) -> None:
    fake = FakeTws()
    fake.busy_links = 3
    begun = trio.current_time()
    async with broker_world(fake=fake, settings=BrokerSettings(connect_timeout_loop_s=120)) as world:
        # 5, 10 and 20 seconds.
        assert trio.current_time() - begun == pytest.approx(35, abs=1)
        assert {request.client_id for request in world.tws.asked(tws.StartApi)} == {1}


async def test_a_broker_that_stays_away_is_tried_for_ever_with_longer_pauses_and_an_alarm(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        await world.settle(20)
        world.tws.refuse_links = 100
        world.tws.hang_up()
        await world.wait_state(LinkState.DOWN)
        await world.settle(59)
        assert world.journal.alarms == []
        await world.settle(3600)
        assert set(world.journal.alarms) == {"LINK_STAYS_DOWN"}
        assert 3 <= len(world.journal.alarms) <= 5
        world.tws.refuse_links = 0
        await world.wait_state(LinkState.UP, within_loop_s=31)


async def test_a_snapshot_without_an_answer_closes_the_link(autojump_clock: object) -> None:
    fake = FakeTws()
    fake.silent = {tws.ReqPositions}
    async with broker_world(fake=fake, up=False) as world:
        await world.settle(10.2)
        fake.silent = set()
        await world.wait_state(LinkState.UP)
        assert fake.links == 2
        reasons = [event.reason for event in world.journal.of(LinkEvent)]
        assert reasons[1] == "no answer about positions"


async def test_completed_orders_may_stay_unanswered(autojump_clock: object) -> None:
    fake = FakeTws()
    fake.silent = {tws.ReqCompletedOrders}
    async with broker_world(fake=fake) as world:
        assert world.tws.links == 1


async def test_history_that_was_asked_for_without_a_link_comes_with_the_link(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.tws.silent = {tws.ReqHistoricalData}
        world.commands.put(AskHistory(SLV, 1, 60, 10))
        await world.settle()
        world.tws.silent = set()
        world.tws.hang_up()
        await world.settle(10)
        assert len(world.reports(HistoryLoaded)) == 1


async def test_what_cannot_be_decoded_is_told_and_the_stream_lives_on(autojump_clock: object) -> None:
    async with broker_world() as world:
        looks = len(world.tws.asked(tws.ReqAllOpenOrders))
        for payload in (b"5\0garbage\0", b"\0", b"", b"11\0x\0", b"999\0\0", b"4\x002\0"):
            world.tws.say_bytes(payload)
        world.tws.say(tws.ErrorMessage(-1, 1100, "lost"), tws.ErrorMessage(-1, 1102, "restored"))
        await world.settle(10)
        assert world.tws.links == 1
        assert world.broker.session.counts.undecodable == 6
        assert world.journal.alarms == ["UNDECODABLE"]
        assert len(world.tws.asked(tws.ReqAllOpenOrders)) > looks


async def test_a_frame_beyond_all_measure_closes_the_link(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.tws._put((17 << 20).to_bytes(4, "big"))
        await world.wait_state(LinkState.DOWN)
        assert "out of step" in world.journal.of(LinkEvent)[-1].reason


async def test_a_restarted_actor_knows_its_orders_from_the_journal(autojump_clock: object) -> None:
    journal = ListJournal()
    async with broker_world(journal=journal) as first:
        for order in bracket():
            journal.append("symbol:SLV", [NewOrderEvent(at=START, ref=order.ref, order=order)])
        first.commands.put(PlaceOrders(SLV, 1, bracket()))
        await first.settle()
        placed = first.tws.placed
    fake = FakeTws()
    fake.open_orders = [echo(request, perm_id=9000 + request.order_id) for request in placed[:1]]
    # TWS forgot the references of what it sends: the permanent id is bound by the order id.
    async with broker_world(fake=fake, journal=journal) as second:
        (snapshot,) = [each for each in second.reports(SymbolSnapshot) if each.symbol == SLV]
        # The first is there; of the other two it is not known yet, so they are pending.
        assert [(order.ref.role, order.status) for order in snapshot.orders] == [
            ("main", OrderStatus.SUBMITTED),
            ("stop", OrderStatus.PENDING_SUBMIT),
            ("target", OrderStatus.PENDING_SUBMIT),
        ]
        await second.settle(5)
        assert [lost.ref.role for lost in second.reports(OrderLost)] == ["stop", "target"]
        assert second.broker.session.generation == 2
        # A command that was in the mailbox at the crash and comes again places nothing.
        second.commands.put(PlaceOrders(SLV, 1, bracket()[:1]))
        await second.settle()
        assert fake.placed == []
        second.commands.put(PlaceOrders(SLV, 1, (spec(trade=2),)))
        await second.settle()
        assert fake.placed[0].order_id > max(request.order_id for request in placed)


async def test_orders_that_ended_according_to_the_journal_are_not_looked_for(autojump_clock: object) -> None:
    journal = ListJournal()
    journal.append("symbol:SLV", [NewOrderEvent(at=START, ref=spec().ref, order=spec())])
    journal.append("broker", [OrderSentEvent(at=START, ref=spec().ref, order_id=3, client_id=1)])
    ended = OrderStatusEvent(
        at=START, ref=spec().ref, status=OrderStatus.FILLED, perm_id=9, quantity=100, filled=100
    )
    journal.append("symbol:SLV", [ended])
    async with broker_world(journal=journal) as world:
        await world.settle(20)
        assert world.reports(OrderLost, OrderReport) == []
        assert world.journal.of(AlarmEvent) == []


async def test_an_order_that_the_broker_lists_lives_whatever_the_journal_says(autojump_clock: object) -> None:
    journal = ListJournal()
    journal.append("symbol:SLV", [NewOrderEvent(at=START, ref=spec().ref, order=spec())])
    journal.append("broker", [OrderSentEvent(at=START, ref=spec().ref, order_id=3, client_id=1)])
    ended = OrderStatusEvent(
        at=START, ref=spec().ref, status=OrderStatus.CANCELLED, perm_id=9, quantity=100, filled=0
    )
    journal.append("symbol:SLV", [ended])
    fake = FakeTws()
    order = tws.Order(action="BUY", order_type="LMT", lmt_price=30.0, order_ref=str(spec().ref))
    fake.open_orders = [echo(tws.PlaceOrder(3, contract(), order), perm_id=9)]
    async with broker_world(fake=fake, journal=journal) as world:
        snapshot = next(each for each in world.reports(SymbolSnapshot) if each.symbol == SLV)
        assert [each.status for each in snapshot.orders] == [OrderStatus.SUBMITTED]
        assert world.journal.alarms == ["LATE_ANSWER"]


async def test_orders_that_worked_and_are_gone_after_a_restart_have_ended(autojump_clock: object) -> None:
    journal = ListJournal()
    journal.append("symbol:SLV", [NewOrderEvent(at=START, ref=spec().ref, order=spec())])
    journal.append("broker", [OrderSentEvent(at=START, ref=spec().ref, order_id=3, client_id=1)])
    seen = OrderStatusEvent(
        at=START, ref=spec().ref, status=OrderStatus.SUBMITTED, perm_id=9, quantity=100, filled=0
    )
    journal.append("symbol:SLV", [seen])
    async with broker_world(journal=journal) as world:
        await world.settle(20)
        assert [report.status for report in world.reports(OrderReport)] == [OrderStatus.CANCELLED]
        assert world.journal.alarms == ["ORDER_GONE"]


def test_pauses_double_up_to_the_longest_and_begin_anew() -> None:
    pauses = Backoff(0.5, 4.0)
    assert [pauses.next() for _ in range(5)] == [0.5, 1.0, 2.0, 4.0, 4.0]
    pauses.reset()
    assert pauses.next() == 0.5


async def test_every_version_of_the_protocol_that_ibapi_speaks_gives_the_same_session(
    autojump_clock: object,
) -> None:
    async with broker_world(fake=FakeTws(version=157)) as world:
        world.commands.put(PlaceOrders(SLV, 1, bracket()))
        await world.settle()
        for request in world.tws.placed:
            world.tws.say(*echo(attrs.evolve(request)))
        await world.settle()
        assert len(world.reports(OrderReport)) == 3
