"""Supervision in the flesh, on the mock clock: who is started, restarted and stopped (SUP-1 to SUP-9)."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing

from actors.supervisor import (
    ChildSpec,
    ChildState,
    ChildStatus,
    Down,
    Supervisor,
    SupervisorSpec,
    TreeGaveUp,
)
from protocol.events import ActorExitedEvent, AlarmEvent
from protocol.supervision import Exit, ExitKind
from protocol.supervision_plan import OnExhausted, RestartPolicy, Strategy
from tests.stage import TEN, Stage, boom, end_of, quiet, running


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_sup_1_children_start_in_order_each_when_the_one_before_is_ready(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a", init_loop_s=1), stage.actor("b", init_loop_s=1), stage.actor("c"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sup.run)
        await trio.sleep(0.5)
        assert stage.heard() == ["+a1"]
        await trio.sleep(1)
        assert stage.heard() == ["+b1"]
        assert [child.state for child in sup.which_children()] == [
            ChildState.RUNNING,
            ChildState.STARTING,
            ChildState.DOWN,
        ]
        await trio.sleep(1)
        assert stage.heard() == ["+c1"]
        sup.stop()


async def test_sup_1_a_child_that_does_not_start_fails_the_start_and_the_others_stop_in_reverse(
    stage: Stage, autojump_clock: object
) -> None:
    stage.orders["c"] = boom()
    sup = stage.supervisor(stage.actor("a"), stage.actor("b"), stage.actor("c"), stage.actor("d"))
    with pytest.raises(TreeGaveUp, match="c did not start: ValueError: boom") as raised:
        await sup.run()
    assert isinstance(raised.value.__cause__, ValueError)
    assert stage.heard() == ["+a1", "+b1", "+c1", "-c1", "-b1", "-a1"]


async def test_sup_1_a_child_that_is_not_ready_in_time_fails_the_start(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a", init_loop_s=11))
    began = trio.current_time()
    with pytest.raises(TreeGaveUp, match="not ready within 10 s"):
        await sup.run()
    assert trio.current_time() - began == pytest.approx(10)


async def test_sup_2_children_stop_in_reverse_order(stage: Stage, autojump_clock: object) -> None:
    async with running(stage.supervisor(stage.actor("a"), stage.actor("b"), stage.actor("c"))):
        assert stage.heard() == ["+a1", "+b1", "+c1"]
    assert stage.heard() == ["-c1", "-b1", "-a1"]


async def test_sup_2_dynamic_children_stop_together_and_before_the_others(
    stage: Stage, autojump_clock: object
) -> None:
    async def slow(_: int, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            stage.said.append("gone")

    sup = stage.supervisor(stage.actor("a"))
    async with running(sup):
        for number in range(10):
            sup.add_child(ChildSpec(id=f"slow {number}", start=slow))
        await quiet()
        began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(1)
    assert stage.heard() == ["+a1", *["gone"] * 10, "-a1"]


async def test_a_cancelled_supervisor_stops_its_children_in_order_as_well(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a"), stage.actor("b"))
    async with trio.open_nursery() as nursery:
        await nursery.start(sup.run)
        nursery.cancel_scope.cancel()
    assert stage.heard() == ["+a1", "+b1", "-b1", "-a1"]


async def test_sup_3_a_transient_child_may_finish_and_a_temporary_one_is_forgotten(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(
        stage.actor("p"),
        stage.actor("t", restart=RestartPolicy.TRANSIENT),
        stage.actor("x", restart=RestartPolicy.TEMPORARY),
    )
    async with running(sup):
        for child in ("p", "t", "x"):
            stage.tell(child)
            await trio.sleep(1)
        assert stage.heard() == ["+p1", "+t1", "+x1", "-p1", "+p2", "-t1", "-x1"]
        assert sup.which_children() == (
            ChildStatus("p", ChildState.RUNNING, 2, 1, Exit(ExitKind.NORMAL), recent=1),
            ChildStatus("t", ChildState.DOWN, 1, 0, Exit(ExitKind.NORMAL)),
        )


@pytest.mark.parametrize(
    ("strategy", "story"),
    [
        (Strategy.ONE_FOR_ONE, ["-b1", "+b2"]),
        (Strategy.REST_FOR_ONE, ["-b1", "-d1", "-c1", "+b2", "+c2", "+d2"]),
        (Strategy.ONE_FOR_ALL, ["-b1", "-d1", "-c1", "-a1", "+a2", "+b2", "+c2", "+d2"]),
    ],
)
async def test_sup_4_a_crash_takes_down_whom_the_strategy_names(
    stage: Stage, autojump_clock: object, strategy: Strategy, story: list[str]
) -> None:
    sup = stage.supervisor(*map(stage.actor, "abcd"), strategy=strategy)
    async with running(sup):
        stage.heard()
        stage.tell("b", boom())
        await trio.sleep(1)
        assert stage.heard() == story
        assert {child.state for child in sup.which_children()} == {ChildState.RUNNING}


async def test_sup_4_a_second_death_during_a_group_restart_forgets_nobody(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(
        *(stage.actor(name, init_loop_s=1) for name in "abcd"), strategy=Strategy.REST_FOR_ONE, intensity=9
    )
    async with running(sup):
        stage.heard()
        stage.tell("c", boom())
        await trio.sleep(0.5)
        assert stage.heard() == ["-c1", "-d1", "+c2"]
        stage.tell("b", boom())
        await trio.sleep(5)
        assert stage.heard() == ["-b1", "-c2", "+b2", "+c3", "+d2"]
        assert {child.state for child in sup.which_children()} == {ChildState.RUNNING}


async def test_sup_4_a_death_in_the_moment_in_which_the_group_is_up_forgets_nobody(
    stage: Stage, autojump_clock: object
) -> None:
    async def b_crashes_just_when_c_is_ready(epoch: int, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(1)
        if epoch == 1:
            raise ValueError("boom")
        await trio.sleep_forever()

    # Which of the two comes first is trio's throw of a die.
    for _ in range(20):
        stage.epochs.clear()
        b = ChildSpec(id="b", start=b_crashes_just_when_c_is_ready)
        sup = stage.supervisor(b, stage.actor("c", init_loop_s=1), strategy=Strategy.REST_FOR_ONE)
        async with running(sup):
            await trio.sleep(10)
            assert [child.state for child in sup.which_children()] == [ChildState.RUNNING] * 2


async def test_sup_4_a_child_that_fails_to_come_up_again_is_where_the_group_goes_on(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(*map(stage.actor, "abc"), strategy=Strategy.ONE_FOR_ALL, intensity=9)
    async with running(sup):
        stage.heard()
        stage.orders["b"] = boom()
        stage.tell("a", boom())
        await trio.sleep(0.05)
        assert stage.heard() == ["-a1", "-c1", "-b1", "+a2", "+b2", "-b2", "-a2"]
        del stage.orders["b"]
        await trio.sleep(1)
        assert stage.heard() == ["+a3", "+b3", "+c2"]


async def test_sup_5_more_failures_than_allowed_bring_the_supervisor_down_with_the_last_one_as_cause(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a"), stage.actor("b"), intensity=2, period_loop_s=60)

    async def torment() -> None:
        for number in range(3):
            await trio.sleep(5)
            stage.tell("b", boom(str(number)))

    gave_up = await end_of(sup, torment)
    assert isinstance(gave_up, TreeGaveUp)
    assert "failed 3 times in 60 s" in str(gave_up)
    assert repr(gave_up.__cause__) == "ValueError('2')"
    assert stage.heard()[-2:] == ["-b3", "-a1"]


async def test_sup_6_the_wait_of_one_child_holds_up_neither_another_nor_a_stop(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a"), stage.actor("b"), intensity=None)
    async with running(sup):
        stage.heard()
        stage.orders["a"] = boom()
        stage.tell("a", boom())
        await trio.sleep(10)
        assert sup.which_children()[0].state is ChildState.BACKOFF
        stage.heard()
        stage.tell("b", boom())
        await quiet()
        assert stage.heard() == ["-b1", "+b2"]
        began = trio.current_time()
    assert trio.current_time() == began
    assert stage.heard() == ["-b2"]


async def test_sup_6_restarts_wait_longer_and_longer(stage: Stage, autojump_clock: object) -> None:
    sup = stage.supervisor(stage.actor("a"), intensity=None)
    async with running(sup):
        stage.orders["a"] = boom()
        stage.tell("a", boom())
        await trio.sleep(5)
    delays = [event.delay_s for event in stage.journal if isinstance(event, ActorExitedEvent)]
    assert delays[0] == 0
    for number, delay_s in enumerate(delays[1:]):
        assert 0.1 * 2**number <= delay_s <= 0.12 * 2**number


async def test_sup_7_each_symbol_has_its_own_limit(stage: Stage, autojump_clock: object) -> None:
    sup = stage.supervisor(intensity=None)
    async with running(sup):
        for number in range(10):
            sup.add_child(stage.actor(f"s{number}", intensity=1, on_exhausted=OnExhausted.QUARANTINE))
        await quiet()
        for number in range(10):
            stage.tell(f"s{number}", boom())
        await trio.sleep(1)
        assert stage.quarantined == []
        stage.tell("s3", boom())
        await trio.sleep(1)
        assert stage.quarantined == ["s3"]
        states = [child.state for child in sup.which_children()]
        assert states.count(ChildState.RUNNING) == 9


async def test_sup_8_a_quarantined_child_stays_down_with_an_alarm_until_it_is_let_out(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(
        stage.actor("a", intensity=0, on_exhausted=OnExhausted.QUARANTINE), stage.actor("b")
    )
    async with running(sup):
        stage.tell("a", boom())
        await trio.sleep(1000)
        assert sup.which_children()[0].state is ChildState.QUARANTINED
        assert stage.quarantined == ["a"]
        assert [event for event in stage.journal if isinstance(event, AlarmEvent)] == [
            AlarmEvent(at=TEN, code="quarantined", text="a is in quarantine: a failed 1 times in 60 s")
        ]
        assert not sup.kill("a", "no effect")
        assert sup.release("a")
        assert not sup.release("a")
        await quiet()
        assert sup.which_children()[0].state is ChildState.RUNNING
        stage.tell("a", boom())
        await trio.sleep(1)
        assert stage.quarantined == ["a", "a"]


async def test_sup_8_a_quarantine_outlives_a_restart_of_the_supervisor(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor()
    sup.add_child(stage.actor("a", intensity=0, on_exhausted=OnExhausted.QUARANTINE))
    sup.add_child(stage.actor("b"))
    async with running(sup):
        await quiet()
        stage.tell("a", boom())
        await trio.sleep(1)
    async with running(sup):
        await trio.sleep(1)
        assert [child.state for child in sup.which_children()] == [ChildState.QUARANTINED, ChildState.RUNNING]


async def test_sup_8_a_monitor_may_quarantine_a_child_on_its_death(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a"), stage.actor("b"))
    sup.monitor(lambda change: sup.quarantine(change.id, "poison") if isinstance(change, Down) else None)
    async with running(sup):
        stage.tell("a", boom())
        await trio.sleep(1)
        assert sup.which_children()[0].state is ChildState.QUARANTINED
        assert stage.quarantined == ["a"]
        sup.quarantine("b", "an operator said so")
        await trio.sleep(1)
        assert stage.quarantined == ["a", "b"]
        assert stage.heard() == ["+a1", "+b1", "-a1", "-b1"]


async def test_sup_9_supervisors_nest_and_an_exhausted_one_is_its_supervisors_business(
    stage: Stage, autojump_clock: object
) -> None:
    inner = stage.supervisor(stage.actor("x"), stage.actor("y"), intensity=0)
    outer = Supervisor(
        SupervisorSpec(
            name="root",
            strategy=Strategy.REST_FOR_ONE,
            children=(stage.actor("a"), inner.as_child(), stage.actor("z")),
        ),
        record=stage.journal.append,
        market_now=lambda: TEN,
        next_epoch=stage.next_epoch,
        rng=random.Random(0),
        on_stuck=stage.stuck.append,
    )
    async with running(outer):
        stage.tell("x", boom())
        await trio.sleep(1)
        assert stage.heard() == ["+a1", "+x1", "+y1", "+z1", "-x1", "-y1", "-z1", "+x2", "+y2", "+z2"]
    assert stage.heard() == ["-z2", "-y2", "-x2", "-a1"]
    reasons = [event.reason for event in stage.journal if isinstance(event, ActorExitedEvent)]
    assert reasons == [
        "ValueError: boom",
        "TreeGaveUp: sup gave up: the children of sup failed 1 times in 60 s",
    ]
    with pytest.raises(ValueError, match="nested supervisor is permanent"):
        stage.supervisor(stage.actor("n", is_supervisor=True, restart=RestartPolicy.TRANSIENT))


async def test_what_no_restart_can_heal_goes_all_the_way_up(stage: Stage, autojump_clock: object) -> None:
    inner = stage.supervisor(stage.actor("x", fatal=(ValueError,)), intensity=None)
    outer = Supervisor(
        SupervisorSpec(name="root", children=(inner.as_child(),)),
        record=stage.journal.append,
        market_now=lambda: TEN,
        next_epoch=stage.next_epoch,
        rng=random.Random(0),
    )

    async def refuse() -> None:
        stage.tell("x", boom("wrong account"))

    gave_up = await end_of(outer, refuse)
    assert isinstance(gave_up, TreeGaveUp)
    assert gave_up.fatal
    assert isinstance(gave_up.__cause__, TreeGaveUp)
    assert repr(gave_up.__cause__.__cause__) == "ValueError('wrong account')"
    assert stage.heard() == ["+x1", "-x1"]
