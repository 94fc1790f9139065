"""Supervision in the flesh, on the mock clock: how actors end and what is known of it (SUP-10 to SUP-23)."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from actors.child import ChildCount
from actors.mailbox import Lane, Mailbox
from actors.supervisor import (
    ChildSpec,
    ChildState,
    ChildStatus,
    Down,
    Killed,
    Up,
)
from protocol.commands import Wake
from protocol.events import ActorExitedEvent, ActorStartedEvent
from protocol.supervision import Exit, ExitKind
from protocol.supervision_plan import Strategy
from tests.stage import TEN, Stage, boom, end_of, quiet, running


@pytest.fixture
def stage() -> Stage:
    return Stage()


async def test_sup_10_a_child_is_asked_then_cancelled_then_the_process_has_to_end(
    stage: Stage, autojump_clock: object
) -> None:
    asked: list[float] = []

    def child(name: str, deaf_loop_s: float) -> ChildSpec:
        async def live(_: int, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                stage.said.append(f"{name} cancelled at {trio.current_time() - asked[0]:g}")
                with trio.CancelScope(shield=True):
                    await trio.sleep(deaf_loop_s)

        return ChildSpec(
            id=name, start=live, shutdown_loop_s=3, ask_stop=lambda: asked.append(trio.current_time())
        )

    sup = stage.supervisor(child("deaf", 100), child("slow", 1))
    async with running(sup):
        pass
    assert stage.heard() == ["slow cancelled at 3", "deaf cancelled at 7"]
    assert stage.stuck == ["deaf"]
    assert [type(event).__name__ for event in stage.journal[2:]] == ["ActorExitedEvent", "AlarmEvent"]


async def test_sup_10_a_child_that_ends_when_asked_is_never_cancelled(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a", ask_stop=lambda: stage.tell("a")))
    began = trio.current_time()
    async with running(sup):
        pass
    assert trio.current_time() == began
    assert stage.stuck == []
    assert [event for event in stage.journal if isinstance(event, ActorExitedEvent)] == []


async def test_sup_10_a_crash_while_stopping_is_told_and_never_fatal(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a", ask_stop=lambda: stage.tell("a", boom())), stage.actor("b"))
    async with running(sup):
        pass
    (exited,) = [event for event in stage.journal if isinstance(event, ActorExitedEvent)]
    assert (exited.actor, exited.exit, exited.decision) == ("a", "crash", "stopping")


async def test_sup_12_a_keyboard_interrupt_is_not_a_crash(stage: Stage, autojump_clock: object) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    sup = stage.supervisor(stage.actor("a"), stage.actor("b"))

    async def interrupt_a() -> None:
        stage.tell("a", interrupt)

    assert isinstance(await end_of(sup, interrupt_a), KeyboardInterrupt)
    assert not [event for event in stage.journal if isinstance(event, ActorExitedEvent)]


async def test_sup_12_the_parts_of_a_group_that_are_no_cancellations_are_the_crash(
    stage: Stage, autojump_clock: object
) -> None:
    async def live(epoch: int, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            task_status.started()
            if epoch == 1:
                await trio.sleep(1)
                raise ValueError("one of two tasks")

    sup = stage.supervisor(ChildSpec(id="a", start=live))
    async with running(sup):
        await trio.sleep(2)
    (exited,) = [event for event in stage.journal if isinstance(event, ActorExitedEvent)]
    assert (exited.exit, exited.reason) == ("crash", "ValueError: one of two tasks")


async def test_sup_13_a_crash_touches_no_other_child(stage: Stage, autojump_clock: object) -> None:
    sup = stage.supervisor(*map(stage.actor, "abcde"))
    async with running(sup):
        stage.heard()
        stage.tell("c", boom())
        await trio.sleep(1)
        assert stage.heard() == ["-c1", "+c2"]


async def test_sup_14_every_crash_is_recorded_before_the_restart_with_what_identifies_it(
    stage: Stage, autojump_clock: object
) -> None:
    mailbox: Mailbox[Wake] = Mailbox()
    mailbox.put(Lane.CONTROL, Wake(TEN))
    sup = stage.supervisor(stage.actor("a", mailbox=mailbox))
    async with running(sup):
        for take in (mailbox.take, lambda: None):
            take()
            stage.tell("a", boom())
            await trio.sleep(20)
    hashes = {event.traceback_hash for event in stage.journal if isinstance(event, ActorExitedEvent)}
    assert len(hashes) == 1
    (traceback_hash,) = hashes

    def exited(epoch: int, last_message: str) -> ActorExitedEvent:
        return ActorExitedEvent(
            at=TEN,
            actor="a",
            epoch=epoch,
            exit="crash",
            reason="ValueError: boom",
            decision="restart",
            delay_s=0.0,
            traceback_hash=traceback_hash,
            last_message=last_message,
            restart_number=epoch,
        )

    assert stage.journal == [
        ActorStartedEvent(at=TEN, actor="a", epoch=1),
        exited(1, "Wake"),
        ActorStartedEvent(at=TEN, actor="a", epoch=2),
        exited(2, ""),
        ActorStartedEvent(at=TEN, actor="a", epoch=3),
    ]
    assert mailbox.take() == Wake(TEN)


async def test_sup_15_each_start_has_the_next_epoch_of_the_journal(
    stage: Stage, autojump_clock: object
) -> None:
    stage.epochs["a"] = 41
    sup = stage.supervisor(stage.actor("a"))
    async with running(sup):
        stage.tell("a", boom())
        await trio.sleep(1)
    async with running(sup):
        pass
    assert [line for line in stage.heard() if line[0] == "+"] == ["+a42", "+a43", "+a44"]


async def test_sup_21_what_each_child_does_can_be_asked_at_any_time(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a"), stage.actor("b"), intensity=None)
    assert sup.which_children() == tuple(ChildStatus(n, ChildState.DOWN, 0, 0, None) for n in "ab")
    async with running(sup):
        stage.tell("b", boom())
        await trio.sleep(1)
        (a, b) = sup.which_children()
        assert a == ChildStatus("a", ChildState.RUNNING, 1, 0, None)
        assert (b.state, b.epoch, b.restarts, b.recent) == (ChildState.RUNNING, 2, 1, 1)
        assert b.last_exit is not None
        assert b.last_exit.reason == "ValueError: boom"
        await trio.sleep(61)
        (a, b) = sup.which_children()
        assert (b.restarts, b.recent) == (1, 0)


async def test_sup_21_children_are_counted_by_kind_and_by_whether_they_live(
    stage: Stage, autojump_clock: object
) -> None:
    below = stage.supervisor(stage.actor("c"))
    mailbox: Mailbox[Wake] = Mailbox()
    sup = stage.supervisor(
        stage.actor("a", mailbox=mailbox), stage.actor("b", intensity=None), below.as_child()
    )
    async with running(sup):
        mailbox.put(Lane.CONTROL, Wake(TEN))
        sup.quarantine("b", "the story shuts it away")
        await quiet()
        assert sup.count_children() == ChildCount(known=3, active=2, supervisors=1, workers=2)
        (a, b, c) = sup.which_children()
        assert (a.waiting, b.waiting) == (1, None)
        assert b.state is ChildState.QUARANTINED
        assert [child.id for child in c.below] == ["c"]


async def test_sup_23_monitors_hear_of_each_life_and_death_once(stage: Stage, autojump_clock: object) -> None:
    heard: list[Up | Down] = []
    sup = stage.supervisor(stage.actor("a"))
    sup.monitor(heard.append)
    async with running(sup):
        sup.kill("a", "chaos")
        await trio.sleep(1)
        stage.tell("a")
        await trio.sleep(1)
    assert heard == [
        Up("a", 1),
        Down("a", 1, Exit(ExitKind.KILLED, "chaos")),
        Up("a", 2),
        Down("a", 2, Exit(ExitKind.NORMAL)),
        Up("a", 3),
        Down("a", 3, Exit(ExitKind.SHUTDOWN)),
    ]


async def test_an_injected_kill_restarts_at_once_and_never_counts(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a", intensity=0), intensity=0)
    began = trio.current_time()
    async with running(sup):
        for number in range(20):
            assert sup.kill("a", f"chaos {number}")
            assert not sup.kill("a", "it is dying already")
            await quiet()
        assert sup.which_children()[0].epoch == 21
        assert trio.current_time() == began
        with pytest.raises(KeyError):
            sup.kill("nobody", "")


async def test_an_actor_may_die_an_injected_death_by_itself(stage: Stage, autojump_clock: object) -> None:
    def die() -> None:
        raise Killed("at its next fill")

    sup = stage.supervisor(stage.actor("a"), intensity=0)
    async with running(sup):
        stage.tell("a", die)
        await quiet()
        assert sup.which_children() == (
            ChildStatus("a", ChildState.RUNNING, 2, 1, Exit(ExitKind.KILLED, "at its next fill")),
        )


async def test_a_kill_during_the_first_start_does_not_fail_the_start(
    stage: Stage, autojump_clock: object
) -> None:
    for strategy in Strategy:
        sup = stage.supervisor(
            stage.actor("a", init_loop_s=1), stage.actor("b"), strategy=strategy, intensity=0
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sup.run)
            await trio.sleep(0.5)
            sup.kill("a", "chaos")
            await trio.sleep(2)
            assert [child.state for child in sup.which_children()] == [ChildState.RUNNING] * 2
            sup.stop()


async def test_a_killed_child_that_stays_is_stuck(stage: Stage, autojump_clock: object) -> None:
    async def deaf(_: int, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    sup = stage.supervisor(ChildSpec(id="deaf", start=deaf))
    async with running(sup):
        sup.kill("deaf", "chaos")
        await trio.sleep(1.9)
        assert stage.stuck == []
        await trio.sleep(0.2)
        assert stage.stuck == ["deaf"]


async def test_dynamic_children_may_be_added_at_any_time_and_are_restarted_when_they_do_not_come_up(
    stage: Stage, autojump_clock: object
) -> None:
    stage.orders["late"] = boom()
    sup = stage.supervisor(stage.actor("a", init_loop_s=1), intensity=None)
    sup.add_child(stage.actor("early"))
    with pytest.raises(ValueError, match="two children are called 'early'"):
        sup.add_child(stage.actor("early"))
    async with running(sup):
        sup.add_child(stage.actor("late"))
        await trio.sleep(0.3)
        del stage.orders["late"]
        await trio.sleep(5)
        assert {child.state for child in sup.which_children()} == {ChildState.RUNNING}


async def test_a_supervisor_can_run_again_with_the_children_that_were_added(
    stage: Stage, autojump_clock: object
) -> None:
    sup = stage.supervisor(stage.actor("a"))
    async with running(sup):
        sup.add_child(stage.actor("b"))
        await quiet()
        with pytest.raises(RuntimeError, match="runs already"):
            await sup.run()
    async with running(sup):
        await quiet()
        assert [child.id for child in sup.which_children()] == ["a", "b"]
    assert stage.heard() == ["+a1", "+b1", "-b1", "-a1", "+a2", "+b2", "-b2", "-a2"]


async def test_an_actor_that_ends_without_ever_being_ready_counts_as_ended_and_is_tried_again(
    stage: Stage, autojump_clock: object
) -> None:
    async def nothing_to_do(_: int, task_status: trio.TaskStatus[None]) -> None:
        stage.said.append("tried")

    sup = stage.supervisor(intensity=None)
    async with running(sup):
        sup.add_child(ChildSpec(id="a", start=nothing_to_do))
        await trio.sleep(1)
    assert 3 <= stage.said.count("tried") <= 6


def test_a_bad_specification_is_refused_with_everything_that_is_wrong(stage: Stage) -> None:
    with pytest.raises(ValueError, match=r"(?s)intensity is 0 or more.*two children are called 'a'"):
        stage.supervisor(stage.actor("a"), stage.actor("a"), intensity=-1)
    assert math.isfinite(stage.actor("a").shutdown_loop_s)
