"""The restart decisions, as arithmetic: no clock, no tasks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.supervision import (
    RESTARTED_AFTER,
    ChildHistory,
    Decision,
    Drop,
    Escalate,
    Exit,
    ExitKind,
    History,
    Quarantine,
    Rest,
    Restart,
    decide,
    within,
)
from protocol.supervision_plan import (
    Backoff,
    ChildPlan,
    OnExhausted,
    RestartPolicy,
    Strategy,
    SupervisorPlan,
    faults,
)

CRASH = Exit(ExitKind.CRASH, "ValueError: boom")
PLAN = SupervisorPlan(name="trading", intensity=None)
ABC = (ChildPlan(id="a"), ChildPlan(id="b"), ChildPlan(id="c"))


def fate(
    exit_: Exit,
    *,
    plan: SupervisorPlan = PLAN,
    children: tuple[ChildPlan, ...] = ABC,
    child: str = "b",
    history: History | None = None,
    now: float = 0.0,
    up_s: float | None = 60.0,
) -> tuple[Decision, History]:
    return decide(plan, children, history or History(), child, exit_, now=now, up_s=up_s, chance=0.0)


def alone(delay_s: float = 0.0) -> Restart:
    return Restart(stop=(), drop=(), start=("b",), delay_s=delay_s)


@pytest.mark.parametrize(
    ("policy", "restarted", "otherwise"),
    [
        (RestartPolicy.PERMANENT, {"normal", "shutdown", "crash", "killed", "init_timeout"}, Rest()),
        (RestartPolicy.TRANSIENT, {"crash", "killed", "init_timeout"}, Rest()),
        (RestartPolicy.TEMPORARY, set(), Drop()),
    ],
)
def test_sup_3_who_is_restarted_after_what_is_otps_table(
    policy: RestartPolicy, restarted: set[str], otherwise: Decision
) -> None:
    children = (ChildPlan(id="b", restart=policy),)
    for kind in ExitKind:
        if kind in (ExitKind.FATAL, ExitKind.STUCK):
            continue
        decision, _ = fate(Exit(kind), children=children)
        assert decision == (alone() if kind.value in restarted else otherwise), kind


def test_what_no_restart_can_heal_escalates_at_once_whatever_the_policy() -> None:
    assert set(RESTARTED_AFTER) == set(RestartPolicy)
    for policy in RestartPolicy:
        decision, _ = fate(
            Exit(ExitKind.FATAL, "wrong account"), children=(ChildPlan(id="b", restart=policy),)
        )
        assert decision == Escalate("b: wrong account")


def test_sup_4_the_strategy_says_who_goes_down_and_in_which_order() -> None:
    for strategy, stop, start in [
        (Strategy.ONE_FOR_ONE, (), ("b",)),
        (Strategy.REST_FOR_ONE, ("c",), ("b", "c")),
        (Strategy.ONE_FOR_ALL, ("c", "a"), ("a", "b", "c")),
    ]:
        decision, _ = fate(CRASH, plan=SupervisorPlan(name="x", strategy=strategy))
        assert decision == Restart(stop=stop, drop=(), start=start, delay_s=0.0)


def test_sup_4_a_temporary_sibling_goes_down_with_the_group_and_does_not_come_back() -> None:
    children = (ABC[0], ABC[1], ChildPlan(id="c", restart=RestartPolicy.TEMPORARY))
    decision, _ = fate(CRASH, plan=SupervisorPlan(name="x", strategy=Strategy.ONE_FOR_ALL), children=children)
    assert decision == Restart(stop=("c", "a"), drop=("c",), start=("a", "b"), delay_s=0.0)


def test_sup_5_one_restart_more_than_the_intensity_within_the_period_is_too_much() -> None:
    plan = SupervisorPlan(name="x", intensity=1, period_loop_s=5)
    decision, history = fate(CRASH, plan=plan, now=0.0)
    assert isinstance(decision, Restart)
    assert fate(CRASH, plan=plan, history=history, now=5.0)[0] == Escalate(
        "the children of x failed 2 times in 5 s"
    )
    assert isinstance(fate(CRASH, plan=plan, history=history, now=5.001)[0], Restart)


def test_sup_5_intensity_nought_gives_up_at_the_first_failure() -> None:
    assert isinstance(fate(CRASH, plan=SupervisorPlan(name="x", intensity=0))[0], Escalate)


def test_sup_6_the_first_restart_is_immediate_then_the_wait_doubles_up_to_its_limit_until_health() -> None:
    history = History()
    delays = []
    for attempt in range(12):
        decision, history = fate(CRASH, history=history, now=attempt, up_s=1.0)
        assert isinstance(decision, Restart)
        delays.append(decision.delay_s)
    assert delays == pytest.approx([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])
    assert fate(CRASH, history=history, now=100.0, up_s=10.0)[0] == alone(0.0)


def test_sup_6_a_child_that_never_came_up_waits_from_its_first_failure_on() -> None:
    decision, history = fate(Exit(ExitKind.INIT_TIMEOUT), up_s=None)
    assert decision == alone(0.1)
    assert fate(Exit(ExitKind.INIT_TIMEOUT), history=history, up_s=None)[0] == alone(0.2)


@given(
    failures=st.integers(0, 10**9),
    chance=st.floats(0, 1, exclude_max=True),
    low=st.floats(0.001, 10),
    times=st.floats(1, 1000),
)
def test_sup_6_a_wait_never_exceeds_its_limit_and_never_shrinks(
    failures: int, chance: float, low: float, times: float
) -> None:
    backoff = Backoff(min_loop_s=low, max_loop_s=low * times)
    delay_s = backoff.delay_s(failures, chance)
    assert 0 <= delay_s <= backoff.max_loop_s * (1 + backoff.jitter)
    assert backoff.delay_s(failures + 1, 0.0) >= backoff.delay_s(failures, 0.0)


@given(
    gaps=st.lists(st.floats(0, 100), max_size=30),
    period_loop_s=st.floats(0.1, 200),
    intensity=st.integers(0, 10),
)
def test_sup_5_the_window_holds_exactly_the_restarts_of_the_last_period(
    gaps: list[float], period_loop_s: float, intensity: int
) -> None:
    plan = SupervisorPlan(name="x", intensity=intensity, period_loop_s=period_loop_s)
    history, now, times = History(), 0.0, []
    for gap in gaps:
        now += gap
        times.append(now)
        decision, history = fate(CRASH, plan=plan, history=history, now=now)
        counted = [each for each in times if now - period_loop_s <= each]
        assert list(history.restarts) == counted
        assert isinstance(decision, Escalate) == (len(counted) > intensity)


@given(st.lists(st.floats(0, 1000), min_size=1).map(sorted), st.floats(0.1, 100))
def test_windows_forget_only_what_can_never_count_again(times: list[float], period_loop_s: float) -> None:
    folded: tuple[float, ...] = ()
    for now in times:
        folded = within(period_loop_s, folded, now)
    assert folded == tuple(each for each in times if each >= times[-1] - period_loop_s)


def test_sup_7_ten_children_that_crash_once_each_do_not_exhaust_their_own_limits() -> None:
    children = tuple(ChildPlan(id=str(n), intensity=1) for n in range(10))
    history = History()
    for child in children:
        decision, history = fate(CRASH, children=children, child=child.id, history=history)
        assert isinstance(decision, Restart)
    decision, history = fate(CRASH, children=children, child="3", history=history)
    assert decision == Escalate("3 failed 2 times in 60 s")


def test_sup_8_an_exhausted_child_escalates_or_is_quarantined_as_its_plan_says() -> None:
    for then, expected in [(OnExhausted.ESCALATE, Escalate), (OnExhausted.QUARANTINE, Quarantine)]:
        children = (ChildPlan(id="b", intensity=0, on_exhausted=then),)
        assert fate(CRASH, children=children)[0] == expected("b failed 1 times in 60 s")


def test_sup_8_an_exhausted_supervisor_can_leave_down_only_the_child_that_failed() -> None:
    plan = SupervisorPlan(name="edge", intensity=0, on_exhausted=OnExhausted.QUARANTINE)
    assert fate(CRASH, plan=plan)[0] == Quarantine("the children of edge failed 1 times in 60 s")


def test_kills_on_purpose_restart_at_once_and_are_not_counted() -> None:
    plan = SupervisorPlan(name="x", intensity=0)
    before = History(children={"b": ChildHistory(failures=5, restarts=(0.0,))})
    assert fate(Exit(ExitKind.KILLED, "chaos"), plan=plan, history=before) == (alone(0.0), before)


def test_a_child_out_of_quarantine_begins_afresh() -> None:
    before = History((1.0,), {"a": ChildHistory(1, (1.0,)), "b": ChildHistory(6, (1.0,))})
    assert before.forgetting("b") == History((1.0,), {"a": ChildHistory(1, (1.0,))})


def test_sup_9_all_that_is_wrong_with_a_plan_is_said_at_once() -> None:
    plan = SupervisorPlan(name="root", strategy=Strategy.REST_FOR_ONE, intensity=-1, period_loop_s=0)
    children = (
        ChildPlan(id="a", intensity=-2, period_loop_s=math.inf),
        ChildPlan(id="a", on_exhausted=OnExhausted.QUARANTINE),
        ChildPlan(id="", init_timeout_loop_s=0, shutdown_loop_s=-1),
        ChildPlan(id="n", is_supervisor=True, restart=RestartPolicy.TRANSIENT),
        ChildPlan(id="t", backoff=Backoff(min_loop_s=0, jitter=-1)),
    )
    assert faults(plan, children) == (
        "root: an intensity is 0 or more, not -1",
        "root: a period is a positive number of seconds, not 0",
        "root: two children are called 'a'",
        "root/a: an intensity is 0 or more, not -2",
        "root/a: a period is a positive number of seconds, not inf",
        "root/a: a quarantine needs one_for_one around it, not rest_for_one",
        "root: a child needs an id",
        "root/: init_timeout_loop_s is positive, not 0",
        "root/: shutdown_loop_s is 0 or more, not -1",
        "root/n: a nested supervisor is permanent, not transient",
        "root/n: a nested supervisor gets all the time it needs to stop, not 5.0",
        f"root/t: a backoff grows from a positive minimum to its maximum, not {children[4].backoff}",
        f"root/t: jitter is 0 or more and healthy_after_loop_s positive, not {children[4].backoff}",
    )
    assert faults(PLAN, ABC) == ()
