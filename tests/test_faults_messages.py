"""Faults of requests, orders, fills and of what is said: as the client meets them, and in the truth file."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from trio.testing import MockClock

from protocol.exchange import faults as f
from protocol.exchange.faults import When
from protocol.tws import messages as m
from tests.fault_stage import Stage, stage, stop_order
from tests.tws_faces import limit_order, market_order, said

RESTED = ["openOrder 1 Submitted", "orderStatus 1 Submitted 0/100"]
FILLED = [
    *RESTED, "execDetails 1 BOT 100", "openOrder 1 Filled", "orderStatus 1 Filled 100/100", "commissionReport"
]  # fmt: skip
REST, BUY = limit_order("BUY", 100, 24.0), market_order("BUY", 100)


def on(*words: str, **more: object) -> When:
    return When(on=words, **more)  # type: ignore[arg-type]


# --- requests --------------------------------------------------------------------------------------


async def test_a_swallowed_order_is_neither_taken_nor_answered(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.SwallowRequest()) as s:
        assert await s.place(REST) == []
        assert await s.ask(m.ReqAllOpenOrders()) == ["OpenOrderEnd"]
        assert await s.place(REST) == ["openOrder 2 Submitted", "orderStatus 2 Submitted 0/100"]
        assert s.faults == [("swallow_request", "place_order of client 1, number 1")]


async def test_a_heartbeat_can_be_swallowed_after_so_many(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.SwallowRequest(when=on("req_current_time", after=2, times=2))) as s:
        answers = [await s.ask(m.ReqCurrentTime()) for _ in range(5)]
        assert answers == [["CurrentTime"], ["CurrentTime"], [], [], ["CurrentTime"]]


async def test_a_refused_modify_leaves_the_order_as_it_was(tmp_path: Path, autojump_clock: MockClock) -> None:
    refuse = f.RefuseRequest(code=105, when=on("modify_order"))
    async with stage(tmp_path, refuse) as s:
        assert await s.place(REST) == RESTED
        await s.client.place("SLV", limit_order("BUY", 100, 24.5), 1)
        assert await s.heard_after() == ["error 1 105"]
        assert s.tws.venue.open_orders()[0].order.lmt_price == 24.0


async def test_a_cancel_can_be_told_that_there_is_no_such_order(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.RefuseRequest(code=10147, when=on("cancel_order"))) as s:
        await s.place(REST)
        assert await s.ask(m.CancelOrder(1)) == ["error 1 10147"]
        assert len(s.tws.venue.open_orders()) == 1


async def test_market_data_can_be_refused_for_a_symbol(tmp_path: Path, autojump_clock: MockClock) -> None:
    refuse = f.RefuseRequest(code=354, when=on("req_mkt_data", symbol="SLV"))
    async with stage(tmp_path, refuse, watching=True) as s:
        assert "error 5 354" in said(s.client.heard)
        assert not [each for each in s.client.heard if isinstance(each, m.TickPrice)]


async def test_a_late_cancel_loses_its_race(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.DelayRequest(by_s=3)) as s:
        await s.place(REST)
        assert await s.ask(m.CancelOrder(1)) == []
        assert (await s.heard_after(3))[-1] == "error 1 202"


async def test_an_unanswered_order_lives_and_is_found_by_asking(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.UnansweredOrder()) as s:
        assert await s.place(BUY) == []
        assert s.tws.books()["SLV"].position == 100
        assert "execDetails 1 BOT 100" in await s.ask(m.ReqExecutions(9, m.ExecutionFilter()))
        assert s.faults == [("unanswered_order", "place_order of client 1, number 1")]


async def test_a_notice_on_an_order_changes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.OrderNotice(code=10349, text="TIF was set to DAY")) as s:
        assert await s.place(REST) == [*RESTED, "error 1 10349"]


async def test_a_double_modify_leaves_a_second_order_that_only_a_snapshot_shows(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.DoubleModify()) as s:
        await s.place(REST)
        await s.client.place("SLV", limit_order("BUY", 100, 24.5), 1)
        assert await s.heard_after() == RESTED
        await s.ask(m.ReqOpenOrders())
        shown = [each for each in s.client.heard if isinstance(each, m.OpenOrder)][-2:]
        assert [(each.order_id, each.order.lmt_price) for each in shown] == [(1, 24.5), (1, 24.0)]
        assert shown[0].order.perm_id != shown[1].order.perm_id
        assert [line["perm_id"] for line in s.lines if line["kind"] == "order_accepted"] == [
            each.order.perm_id for each in shown
        ]


async def test_a_fill_comes_after_the_cancel(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.FillAfterCancel(quantity=40, after_s=2)) as s:
        await s.place(REST)
        assert (await s.ask(m.CancelOrder(1)))[-1] == "error 1 202"
        assert (await s.heard_after(3))[0] == "execDetails 1 BOT 40"
        assert s.tws.books()["SLV"].position == 40


# --- orders ----------------------------------------------------------------------------------------


async def test_the_stop_child_alone_is_rejected(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.RejectOrder(leg=f.Leg.STOP, reason="no")) as s:
        await s.bracket()
        heard = await s.heard_after()
        assert heard[-3:] == ["openOrder 3 Inactive", "orderStatus 3 Inactive 0/100", "error 3 201"]
        assert [order.order_id for order in s.tws.venue.open_orders()] == [1, 2]
        assert s.faults == [("reject_order", "order 3 of client 1")]


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (f.Form.STATUS_FIRST, ["openOrder 1 Inactive", "orderStatus 1 Inactive 0/100", "error 1 201"]),
        (f.Form.ERROR_FIRST, ["error 1 201", "openOrder 1 Inactive", "orderStatus 1 Inactive 0/100"]),
        (f.Form.ONLY_ERROR, ["error 1 201"]),
        (f.Form.ONLY_STATUS, ["openOrder 1 Inactive", "orderStatus 1 Inactive 0/100"]),
    ],
)
async def test_a_rejection_comes_in_every_form(
    form: f.Form, told: list[str], tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.RejectOrder(form=form)) as s:
        assert await s.place(REST) == RESTED + told


async def test_a_person_cancels_the_stop(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.bracket()
        await s.heard_after()
        s.tws.inject(f.ManualCancel(leg=f.Leg.STOP))
        assert (await s.heard_after())[-1] == "error 3 202"
        assert s.faults == [("manual_cancel", "order 3 of client 1")]


async def test_a_manual_cancel_waits_for_an_order_that_fits(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.ManualCancel(leg=f.Leg.STOP, when=When(at=None))) as s:
        assert await s.place(REST) == RESTED
        await s.client.place("SLV", stop_order("SELL", 100, 23.0))
        assert (await s.heard_after())[-1] == "error 2 202"


async def test_a_person_moves_and_resizes_an_order(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.place(REST)
        s.tws.inject(f.ManualModify(price_change=Decimal("-0.50"), quantity_change=-30))
        assert await s.heard_after() == ["openOrder 1 Submitted", "orderStatus 1 Submitted 0/70"]
        assert s.tws.venue.open_orders()[0].order.lmt_price == 23.5


async def test_a_person_cancels_all_orders(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.bracket()
        await s.heard_after()
        s.tws.inject(f.ManualGlobalCancel())
        await s.heard_after()
        assert s.tws.venue.open_orders() == ()


async def test_a_suspended_order_is_inactive_for_a_while(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.SuspendOrder(duration_s=5)) as s:
        suspended = ["openOrder 1 Inactive", "orderStatus 1 Inactive 0/100"]
        assert await s.place(REST) == RESTED + suspended
        assert await s.heard_after(5) == RESTED


async def test_both_members_of_a_group_fill(tmp_path: Path, autojump_clock: MockClock) -> None:
    race = f.OcaRace(leg=f.Leg.ANY, when=on("order_accepted", times=2))
    async with stage(tmp_path, race) as s:
        for price in (24.99, 25.0):
            order = attrs.evolve(limit_order("SELL", 100, price), oca_group="g", oca_type=1)
            order = attrs.evolve(order, lmt_price=price + 1)
            await s.place(order)
        for order_id, price in ((1, 24.99), (2, 25.0)):
            order = attrs.evolve(limit_order("SELL", 100, price), oca_group="g", oca_type=1)
            await s.client.place("SLV", order, order_id)
        await s.heard_after()
        assert s.tws.books()["SLV"].position == -200


# --- fills -----------------------------------------------------------------------------------------


async def test_a_busted_execution_is_told_as_a_correction_to_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.BustExecution(when=When(delay_s=2))) as s:
        assert await s.place(BUY) == FILLED
        assert (await s.heard_after(3))[:1] == ["execDetails 1 BOT 0"]
        assert s.tws.books()["SLV"].position == 0
        corrections = [line for line in s.lines if line["kind"] == "correction"]
        assert [(line["quantity"], line["order_quantity"]) for line in corrections] == [(0, 0)]
        assert str(corrections[0]["exec_id"]).endswith(".02")


async def test_a_corrected_execution_has_the_next_id(tmp_path: Path, autojump_clock: MockClock) -> None:
    correct = f.CorrectExecution(price_change=Decimal("-0.02"), quantity_change=-10, when=on("execution"))
    async with stage(tmp_path, correct) as s:
        await s.place(BUY)
        told = [each.execution for each in s.client.heard if isinstance(each, m.ExecDetails)]
        assert [(int(each.shares), each.price) for each in told] == [(100, 25.02), (90, 25.0)]
        assert told[1].exec_id == told[0].exec_id[:-3] + ".02"
        assert s.faults == [("correct_execution", f"execution {told[0].exec_id}")]


async def test_a_withheld_execution_is_never_told(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.WithholdExecution(nth=1))
        assert "execDetails 1 BOT 100" not in await s.place(BUY)
        assert await s.ask(m.ReqExecutions(9, m.ExecutionFilter())) == ["ExecDetailsEnd"]


async def test_a_person_trades_the_symbol(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.ask(m.ReqPositions())
        s.tws.inject(f.ManualTrade(action="SELL", quantity=70, when=When(symbol="SLV")))
        assert await s.heard_after() == ["Position"]
        assert s.tws.books()["SLV"].position == -70
        executed = next(line for line in s.lines if line["kind"] == "execution")
        assert (executed["client_id"], executed["order_id"]) == (0, 0)


async def test_another_api_client_trades_the_symbol(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.ManualTrade(as_client=9, when=When(symbol="SLV")))
        await s.heard_after()
        executed = next(line for line in s.lines if line["kind"] == "execution")
        assert (executed["client_id"], executed["order_id"]) == (9, 1)


async def test_a_liquidation_says_so(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.place(BUY)
        screen = await s.another(0)
        s.tws.inject(f.Liquidation(when=When(symbol="SLV")))
        await s.heard_after()
        assert s.tws.books()["SLV"].position == 0
        await screen.send(m.ReqExecutions(9, m.ExecutionFilter(side="SLD")))
        told = await screen.until(m.ExecDetails)
        assert (told.execution.liquidation, int(told.execution.shares)) == (1, 100)


async def test_a_fill_is_shredded_into_many(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        shred = f.ShreddedFills(parts=100, when=When(symbol="SLV"))
        s.tws.inject(shred)
        heard = await s.place(BUY, 0.4)
        fills = [line for line in heard if line.startswith("execDetails")]
        assert len(fills) == 100
        assert fills[0] == "execDetails 1 BOT 1"


async def test_executions_are_replayed(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.place(BUY)
        s.tws.inject(f.ReplayExecutions(copies=3))
        assert await s.heard_after() == ["execDetails 1 BOT 100", "commissionReport"] * 3


# --- what TWS says ---------------------------------------------------------------------------------


async def test_executions_come_late(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.DelayMessages(by_s=3, when=on("exec_details"))) as s:
        assert await s.place(BUY) == [line for line in FILLED if "execDetails" not in line]
        assert await s.heard_after(3) == ["execDetails 1 BOT 100"]


async def test_messages_come_twice(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.DuplicateMessages(copies=3, when=on("order_status"))) as s:
        assert await s.place(REST) == [RESTED[0], *[RESTED[1]] * 3]


async def test_an_execution_is_lost_but_found_by_asking(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.DropMessages(when=on("fills", times=0))) as s:
        assert await s.place(BUY) == [*RESTED, *FILLED[3:5]]
        found = await s.ask(m.ReqExecutions(9, m.ExecutionFilter()))
        assert found == ["execDetails 1 BOT 100", "commissionReport", "ExecDetailsEnd"]


async def test_a_fill_without_any_status(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.DropMessages(when=on("order_echo", times=0))) as s:
        assert await s.place(BUY) == ["execDetails 1 BOT 100", "commissionReport"]


async def test_an_execution_comes_before_the_order(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.ReorderMessages(past=3, when=on("open_order"))) as s:
        assert (await s.place(BUY))[:4] == ["orderStatus 1 Submitted 0/100", *FILLED[2:4], FILLED[0]]


async def test_a_message_that_nothing_overtakes_comes_all_the_same(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.ReorderMessages(past=3, when=on("current_time"))) as s:
        assert await s.ask(m.ReqCurrentTime(), 0.5) == []
        assert await s.heard_after() == ["CurrentTime"]


async def test_the_next_id_is_rolled_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.place(REST)
        s.tws.inject(f.ShiftNextId(by=-1))
        await s.ask(m.ReqIds(1))
        assert s.client.heard[-1] == m.NextValidId(1)
        s.client.next_id = 1
        assert await s.place(limit_order("BUY", 70, 23.0)) == [RESTED[0], "orderStatus 1 Submitted 0/70"]
        assert len(s.tws.venue.open_orders()) == 1


async def test_the_next_id_jumps_ahead(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.ShiftNextId(by=10_000)) as s:
        assert s.client.next_id == 10_001


async def test_a_status_misses_its_permanent_id(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.ZeroPermId()) as s:
        await s.place(BUY)
        statuses = [each.perm_id for each in s.client.heard if isinstance(each, m.OrderStatus)]
        assert (statuses[0], statuses[-1]) == (0, 1_000_000_001)


async def test_old_statuses_follow_a_filled(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.StaleStatus()) as s:
        heard = await s.place(BUY)
        at = heard.index("orderStatus 1 Filled 100/100")
        assert heard[at + 1 : at + 3] == ["orderStatus 1 Submitted 0/100", "orderStatus 1 Filled 100/100"]


async def test_managed_accounts_are_others(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.ChangeAccounts(accounts=("U999",))) as s:
        assert m.ManagedAccounts(("U999",)) in s.client.heard
        assert s.faults == [("change_accounts", "managed_accounts to client 1")]


# --- chance ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
async def test_chance_is_the_same_for_the_same_seed(
    seed: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def answered(folder: Path, seed: int) -> list[int]:
        folder.mkdir()
        swallow = f.SwallowRequest(when=on("req_ids", probability=0.5, times=0))
        async with stage(folder, swallow, seed=seed) as s:
            return [len(await s.ask(m.ReqIds(1), 0.01)) for _ in range(40)]

    first = await answered(tmp_path / "first", seed)
    assert first == await answered(tmp_path / "second", seed)
    assert first != await answered(tmp_path / "third", seed + 7)
    assert 5 < sum(first) < 35


async def test_a_fault_is_about_its_client_and_symbol_only(tmp_path: Path, autojump_clock: MockClock) -> None:
    other_client = f.SwallowRequest(when=When(client_id=2))
    other_symbol = f.SwallowRequest(when=When(symbol="GLD"))
    async with stage(tmp_path, other_client, other_symbol) as s:
        assert await s.place(REST) == RESTED
        other = await s.another(2)
        await other.place("SLV", REST)
        await s.heard_after()
        assert [order.client_id for order in s.tws.venue.open_orders()] == [1]
        assert [state.fired for state in s.tws.fault_states()] == [1, 0]


async def test_faults_go_on_counting_after_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    swallow = f.SwallowRequest(when=on("place_order", after=1))

    async def one(s: Stage) -> list[str]:
        return await s.place(REST)

    async with stage(tmp_path, swallow, state_dir=tmp_path / "books") as s:
        assert await one(s) == RESTED
    async with stage(tmp_path, swallow, state_dir=tmp_path / "books") as s:
        assert await one(s) == []
        assert (await one(s))[0] == "openOrder 3 Submitted"


async def test_what_is_held_back_is_said_when_the_market_is_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    late = f.DelayMessages(by_s=90_000, when=on("current_time"))
    endless = f.Notice(code=2110, text="again", when=When(at=time(16, 0), times=0, every_s=60))
    tomorrow = f.ManualGlobalCancel(when=When(at=time(9, 0)))
    async with stage(tmp_path, late, endless, tomorrow, speed=300) as s:
        await s.client.send(m.ReqCurrentTime())
        await s.tws.ended.wait()
        heard = await s.heard_after()
        assert heard.count("CurrentTime") == 1
        assert heard.count("error -1 2110") == 3
        assert [state.fired for state in s.tws.fault_states()] == [1, 3, 0]
