"""Orders over a link: what leaves, what an answer means, and what becomes of one that never comes."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
import trio

from protocol.commands import AskSnapshot, CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import OrderSentEvent
from protocol.reports import (
    CommissionCharged,
    ExecutionReport,
    OrderLost,
    OrderReport,
    RequestKind,
    RequestRefused,
    SymbolSnapshot,
)
from protocol.tws import messages as tws
from protocol.values import OrderSpec, OrderStatus, OrderType, Side
from tests.broker_fakes import (
    ACCOUNT,
    GLD,
    SLV,
    START,
    ListJournal,
    World,
    bracket,
    broker_world,
    contract,
    echo,
    execution_of,
    spec,
    status_of,
)


async def place(world: World, *orders: OrderSpec, epoch: int = 1) -> list[tws.PlaceOrder]:
    """Command a group and give back what reached TWS of it."""
    before = len(world.tws.placed)
    world.commands.put(PlaceOrders(orders[0].symbol, epoch, orders))
    await world.settle()
    return world.tws.placed[before:]


async def working(world: World, *orders: OrderSpec) -> list[tws.PlaceOrder]:
    """Place and let TWS acknowledge; nothing of it is left in `deliveries`."""
    placed = await place(world, *orders)
    for request in placed:
        world.tws.say(*echo(request))
    await world.settle()
    world.deliveries.clear()
    return placed


def statuses(world: World) -> list[OrderStatus]:
    return [report.status for report in world.reports(OrderReport)]


async def test_a_bracket_leaves_as_one_group_of_which_only_the_last_leg_transmits(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        main, stop, target = await place(world, *bracket())
        assert [leg.order_id for leg in (main, stop, target)] == [1, 2, 3]
        assert [leg.order.transmit for leg in (main, stop, target)] == [False, False, True]
        assert [leg.order.parent_id for leg in (main, stop, target)] == [0, 1, 1]
        assert {leg.order.account for leg in (main, stop, target)} == {ACCOUNT}
        assert {leg.contract.con_id for leg in (main, stop, target)} == {11}
        assert stop.order == tws.Order(
            action="SELL",
            total_quantity=Decimal(100),
            order_type="STP",
            lmt_price=None,
            aux_price=29.1,
            tif="GTC",
            oca_group="exits 1",
            oca_type=2,
            account=ACCOUNT,
            order_ref="a7:SLV:000001:stop:r0",
            transmit=False,
            parent_id=1,
        )
        assert world.sent == [order.ref for order in bracket()]
        assert world.broker.latencies.command_to_sent.count == 1


async def test_an_order_is_in_the_journal_before_its_bytes_leave(autojump_clock: object) -> None:
    async with broker_world() as world:
        known: list[int] = []

        def note(request: tws.ClientRequest) -> None:
            if isinstance(request, tws.PlaceOrder):
                known.append(len(world.journal.of(OrderSentEvent)))

        world.tws.on_request = note
        await place(world, *bracket())
        assert known == [3, 3, 3]
        assert [(event.ref, event.order_id) for event in world.journal.of(OrderSentEvent)] == [
            (order.ref, number) for number, order in enumerate(bracket(), 1)
        ]


async def test_echoes_are_told_once_and_repeats_are_no_news(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        for _ in range(3):
            world.tws.say(*echo(request, "PreSubmitted"))
        for _ in range(3):
            world.tws.say(*echo(request, "Submitted"))
        await world.settle()
        assert statuses(world) == [OrderStatus.ACCEPTED, OrderStatus.SUBMITTED]


async def test_executions_are_told_whatever_the_status_says_and_each_once(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        fill = execution_of(request, 100)
        # Status first, then the execution, then both again with the commission: all of it is seen live.
        world.tws.say(
            tws.CommissionReport(fill.exec_id, 1.0, "USD", None),
            *echo(request, "Filled", filled=100),
            tws.ExecDetails(-1, contract(), fill),
            *echo(request, "Filled", filled=100),
            status_of(request, "Submitted"),
            tws.ExecDetails(-1, contract(), fill),
            tws.CommissionReport(fill.exec_id, 1.0, "USD", None),
        )
        await world.settle()
        assert [type(report) for report in world.told] == [OrderReport, ExecutionReport, CommissionCharged]
        last = world.reports(OrderReport)[-1]
        assert (last.status, last.filled, last.quantity) == (OrderStatus.FILLED, 100, 100)
        charged = world.reports(CommissionCharged)[0]
        assert charged.commission == Decimal("1.0")


async def test_an_execution_after_the_cancel_is_told_as_well(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        world.tws.say(
            status_of(request, "Cancelled"), tws.ExecDetails(-1, contract(), execution_of(request, 100))
        )
        await world.settle()
        assert [type(report) for report in world.told] == [OrderReport, ExecutionReport]


async def test_an_execution_without_our_reference_is_matched_by_permanent_id(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        ours = execution_of(request, 10, order_ref="", client_id=0)
        theirs = execution_of(request, 20, order_ref="", client_id=0, perm_id=4, exec_id="aa.bb.01.01")
        world.tws.say(tws.ExecDetails(-1, contract(), ours), tws.ExecDetails(-1, contract(), theirs))
        await world.settle()
        assert [report.ref for report in world.reports(ExecutionReport)] == [spec().ref, None]


async def test_another_accounts_execution_is_not_ours(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        fill = attrs.evolve(execution_of(request, 10), acct_number="DU9")
        world.tws.say(tws.ExecDetails(-1, contract(), fill))
        await world.settle()
        assert world.reports(ExecutionReport) == []
        assert world.broker.session.counts.foreign_messages == 1


async def test_a_modify_keeps_the_order_id_and_its_parent(autojump_clock: object) -> None:
    async with broker_world() as world:
        placed = await working(world, *bracket())
        smaller = attrs.evolve(bracket()[1], quantity=30)
        world.commands.put(ModifyOrder(SLV, 1, smaller))
        await world.settle()
        modify = world.tws.placed[-1]
        assert (modify.order_id, modify.order.parent_id) == (placed[1].order_id, placed[0].order_id)
        assert (modify.order.total_quantity, modify.order.transmit) == (Decimal(30), True)


async def test_a_refused_modify_leaves_the_order_as_it_was(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        world.tws.open_orders = [echo(request)]
        world.commands.put(ModifyOrder(SLV, 1, spec(limit="30.001")))
        await world.settle()
        world.tws.say(tws.ErrorMessage(request.order_id, 110, "The price does not conform to the variation"))
        await world.settle(20.0)
        (refused,) = world.reports(RequestRefused)
        assert (refused.request, refused.code, refused.terminal) == (RequestKind.MODIFY, 110, False)
        assert statuses(world) == []


async def test_a_modify_that_is_never_answered_is_refused_after_the_books_show_the_old_order(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        world.tws.open_orders = [echo(request)]
        world.commands.put(ModifyOrder(SLV, 1, spec(quantity=50)))
        await world.settle(4.9)
        assert world.told == []
        await world.settle(0.3)
        (refused,) = world.reports(RequestRefused)
        assert (refused.request, refused.terminal) == (RequestKind.MODIFY, False)


async def test_a_cancel_is_confirmed_by_the_status_and_not_by_the_text(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        world.commands.put(CancelOrder(SLV, 1, spec().ref))
        await world.settle()
        assert [each.order_id for each in world.tws.asked(tws.CancelOrder)] == [request.order_id]
        world.tws.say(tws.ErrorMessage(request.order_id, 399, "Warning: something"))
        await world.settle()
        assert world.told == []
        world.tws.say(status_of(request, "PendingCancel"), status_of(request, "Cancelled"))
        world.tws.say(tws.ErrorMessage(request.order_id, 202, "Order Canceled - reason:"))
        await world.settle(10)
        assert [type(each) for each in world.told] == [OrderReport, OrderReport]
        assert statuses(world) == [OrderStatus.PENDING_CANCEL, OrderStatus.CANCELLED]


@pytest.mark.parametrize("code", [10147, 10148, 161, 135])
async def test_a_refused_cancel_is_never_taken_for_the_end_of_the_order(
    code: int, autojump_clock: object
) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        world.tws.open_orders = [echo(request)]
        world.commands.put(CancelOrder(SLV, 1, spec().ref))
        await world.settle()
        world.tws.say(tws.ErrorMessage(request.order_id, code, "cannot be cancelled"))
        await world.settle(20)
        (refused,) = world.told
        assert isinstance(refused, RequestRefused)
        assert (refused.request, refused.code, refused.terminal) == (RequestKind.CANCEL, code, False)


@pytest.mark.parametrize("first", ["status", "error"])
async def test_a_rejected_order_is_dead_whichever_of_status_and_reason_comes_first(
    first: str, autojump_clock: object
) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        words: list[tws.ServerMessage] = list(echo(request, "Inactive"))
        reason = tws.ErrorMessage(request.order_id, 201, "Order rejected - reason:margin")
        world.tws.say(*([*words, reason] if first == "status" else [reason, *words]))
        await world.settle(30)
        (refused,) = world.reports(RequestRefused)
        assert (refused.request, refused.code, refused.terminal) == (RequestKind.PLACE, 201, True)
        assert world.reports(OrderLost) == []


@pytest.mark.parametrize("code", [110, 200, 103, 321, 460])
async def test_an_error_alone_kills_a_new_order_only_once_the_books_do_not_hold_it(
    code: int, autojump_clock: object
) -> None:
    async with broker_world() as world:
        main, _, _ = await place(world, *bracket())
        looks = len(world.tws.asked(tws.ReqAllOpenOrders))
        world.tws.say(tws.ErrorMessage(main.order_id, code, "refused"))
        await world.settle()
        assert len(world.tws.asked(tws.ReqAllOpenOrders)) == looks + 1
        refused = world.reports(RequestRefused)
        # The children of a refused parent never came to be either.
        assert [(each.ref, each.code, each.terminal) for each in refused] == [
            (order.ref, code, True) for order in bracket()
        ]


async def test_an_error_about_a_new_order_that_the_books_do_hold_kills_nothing(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        world.tws.open_orders = [echo(request)]
        world.tws.say(tws.ErrorMessage(request.order_id, 201, "Order rejected - reason:who knows"))
        await world.settle(30)
        assert world.reports(RequestRefused) == []
        assert statuses(world) == [OrderStatus.SUBMITTED]


@pytest.mark.parametrize("code", [399, 404, 10349, 2109, 99999])
async def test_notices_and_unknown_codes_change_nothing(code: int, autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        world.tws.open_orders = [echo(request)]
        world.tws.say(tws.ErrorMessage(request.order_id, code, "something"))
        await world.settle(60)
        assert world.reports(RequestRefused, OrderLost, OrderReport) == []


async def test_an_order_without_any_answer_is_asked_about_and_lost_only_after_two_looks(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        await place(world, spec())
        sent_at = trio.current_time()
        looks = len(world.tws.asked(tws.ReqAllOpenOrders))
        await world.settle(4.8)
        assert len(world.tws.asked(tws.ReqAllOpenOrders)) == looks
        await world.settle(0.5)
        assert len(world.tws.asked(tws.ReqAllOpenOrders)) == looks + 1
        assert world.reports(OrderLost) == []
        with trio.fail_after(5):
            while not world.reports(OrderLost):
                await trio.sleep(0.1)
        assert trio.current_time() - sent_at >= 7.0 - 1e-6
        assert len(world.tws.asked(tws.ReqAllOpenOrders)) == looks + 2
        # Never sent again, by anybody, on a guess.
        assert len(world.tws.placed) == 1


async def test_a_late_answer_brings_a_lost_order_back(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        await world.settle(10)
        assert len(world.reports(OrderLost)) == 1
        world.tws.say(*echo(request))
        await world.settle()
        assert statuses(world) == [OrderStatus.SUBMITTED]
        assert "LATE_ANSWER" in world.journal.alarms
        world.commands.put(CancelOrder(SLV, 1, spec().ref))
        await world.settle()
        assert len(world.tws.asked(tws.CancelOrder)) == 1


async def test_an_unanswered_order_that_the_books_hold_is_simply_there(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        world.tws.open_orders = [echo(request, "PreSubmitted")]
        await world.settle(20)
        assert statuses(world) == [OrderStatus.ACCEPTED]
        assert world.reports(OrderLost) == []


async def test_an_order_that_filled_without_a_word_is_completed_from_its_executions(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        world.tws.say(tws.ExecDetails(-1, contract(), execution_of(request, 100)))
        await world.settle(30)
        assert statuses(world) == [OrderStatus.FILLED]
        assert world.reports(OrderLost) == []


async def test_completed_orders_say_how_an_order_ended_unseen(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        order, _ = echo(request, "Cancelled")
        world.tws.completed = [tws.CompletedOrder(contract(), order.order, order.state, Decimal(0))]
        await world.settle(6)
        assert statuses(world) == [OrderStatus.CANCELLED]


async def test_the_same_command_twice_places_once(autojump_clock: object) -> None:
    async with broker_world() as world:
        await working(world, spec())
        again = await place(world, spec())
        assert again == []
        # It is told how the order stands, so that it need not wonder.
        assert statuses(world) == [OrderStatus.SUBMITTED]


async def test_sup_15_stale_epochs_never_reach_the_wire(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.broker.set_epoch(SLV, 3)
        assert await place(world, spec(), epoch=2) == []
        assert world.broker.session.counts.stale_commands == 1
        assert len(await place(world, spec(), epoch=3)) == 1
        assert len(await place(world, attrs.evolve(spec(symbol=GLD)), epoch=1)) == 1


async def test_a_child_of_a_parent_that_was_never_sent_is_refused(autojump_clock: object) -> None:
    async with broker_world() as world:
        _, stop, _ = bracket()
        assert await place(world, stop) == []
        (refused,) = world.reports(RequestRefused)
        assert refused.terminal


async def test_order_ids_lie_above_everything_ever_seen(autojump_clock: object) -> None:
    journal = ListJournal()
    journal.append("broker", [OrderSentEvent(at=START, ref=spec(trade=9).ref, order_id=400, client_id=1)])
    async with broker_world(journal=journal) as world:
        world.tws.say(tws.NextValidId(5))
        (request,) = await place(world, spec())
        assert request.order_id == 401
        foreign = tws.PlaceOrder(900, contract(), tws.Order(action="BUY", order_type="LMT"))
        world.tws.say(echo(foreign)[0])
        await world.settle()
        (request,) = await place(world, spec(trade=2))
        assert request.order_id == 901


async def test_a_second_order_under_one_reference_is_an_alarm(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        world.tws.say(*echo(request, "PreSubmitted", perm_id=777))
        await world.settle()
        assert "ORDER_TWICE" in world.journal.alarms
        assert statuses(world) == []


async def test_an_order_in_flight_is_part_of_a_snapshot(autojump_clock: object) -> None:
    async with broker_world() as world:
        await place(world, spec())
        await world.settle(5.2)
        world.deliveries.clear()
        world.commands.put(AskSnapshot(SLV, 1))
        await world.settle()
        (snapshot,) = world.reports(SymbolSnapshot)
        assert [(order.ref, order.status) for order in snapshot.orders] == [
            (spec().ref, OrderStatus.PENDING_SUBMIT)
        ]


async def test_a_reduced_sibling_is_told_with_its_new_quantity(autojump_clock: object) -> None:
    async with broker_world() as world:
        _, _, target = await working(world, *bracket())
        smaller = attrs.evolve(target, order=attrs.evolve(target.order, total_quantity=Decimal(40)))
        world.tws.say(*echo(smaller))
        await world.settle()
        (report,) = world.reports(OrderReport)
        assert (report.quantity, report.type, report.side) == (40, OrderType.LIMIT, Side.SELL)


async def test_books_that_disagree_twice_are_an_alarm_and_a_snapshot(autojump_clock: object) -> None:
    async with broker_world() as world:
        world.deliveries.clear()
        world.tws.positions = {SLV: 100}  # and no execution that says why
        await world.settle(28)
        assert world.journal.alarms == []
        await world.settle(10)
        assert world.journal.alarms == ["BOOKS_DISAGREE"]
        (snapshot,) = world.reports(SymbolSnapshot)
        assert (snapshot.symbol, snapshot.position) == (SLV, 100)
        await world.settle(100)
        assert world.journal.alarms == ["BOOKS_DISAGREE"]


async def test_a_position_that_is_told_behind_the_end_of_its_list_counts_in_the_next_look(
    autojump_clock: object,
) -> None:
    """TWS goes on telling positions. Taken for none three times, one cost a stop (seed 393)."""
    async with broker_world() as world:
        world.tws.positions_behind_their_end = True
        (request,) = await working(world, spec())
        execution = execution_of(request, 100)
        world.tws.executions.append((contract(), execution))
        world.tws.say(tws.ExecDetails(-1, contract(), execution))
        world.tws.positions = {SLV: 100}
        await world.settle(100)
        assert "BOOKS_DISAGREE" not in world.journal.alarms
        world.tws.positions = {}
        await world.settle(100)
        assert "BOOKS_DISAGREE" in world.journal.alarms, "what was told once does not count for ever"


async def test_a_corrected_execution_takes_the_place_of_the_first(autojump_clock: object) -> None:
    async with broker_world() as world:
        (request,) = await working(world, spec())
        first, second = (
            execution_of(request, size, exec_id=f"aa.bb.01.0{n}") for n, size in ((1, 100), (2, 90))
        )
        world.tws.say(tws.ExecDetails(-1, contract(), first), tws.ExecDetails(-1, contract(), second))
        world.tws.positions = {SLV: 90}
        await world.settle(100)
        assert [report.quantity for report in world.reports(ExecutionReport)] == [100, 90]
        assert "BOOKS_DISAGREE" not in world.journal.alarms


async def test_an_order_called_inactive_that_is_gone_has_ended_and_was_not_lost(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        (request,) = await place(world, spec())
        world.tws.say(*echo(request, "Inactive"))
        await world.settle(30)
        assert statuses(world) == [OrderStatus.INACTIVE, OrderStatus.CANCELLED]
        assert world.reports(OrderLost) == []
