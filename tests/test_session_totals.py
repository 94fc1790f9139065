"""One execution under two ids counts once; whatever order true ones come in, each of them counts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.events import FillEvent
from protocol.reports import ExecutionReport
from protocol.session_executions import Executions
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import MAIN, OrderRef, Side, Symbol
from tests.broker_fakes import broker_world, contract, execution_of, spec
from tests.test_broker_doubts import working

SLV = Symbol("SLV")
AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
REF = OrderRef("a7", SLV, 1, MAIN)
OTHER_ID = "0000e0d5.69dd74y1.01.01"


def part(number: int, quantity: int, *, revision: int = 1, perm_id: int = 9) -> ExecutionReport:
    exec_id = f"0000e0d5.{number:08x}.01.{revision:02}"
    return ExecutionReport(AT, SLV, exec_id, REF, perm_id, Side.BUY, quantity, Decimal(30))


def journalled(report: ExecutionReport) -> FillEvent:
    return FillEvent(
        at=AT, ref=REF, exec_id=report.exec_id, side=report.side, quantity=report.quantity,
        price=report.price, perm_id=report.perm_id,
    )  # fmt: skip


class Ears:
    """Executions as a session hears them."""

    def __init__(self) -> None:
        self.executions, self.out = Executions(), Outbox(AT, 0.0)

    def hear(self, report: ExecutionReport, total: int) -> None:
        self.executions.add(report, total, self.out)

    @property
    def executed(self) -> int:
        return self.executions.executed().get(REF, 0)

    @property
    def doubtful(self) -> int:
        return len(self.executions.totals.doubtful)


@given(st.data(), st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_true_executions_count_in_any_order_before_and_after_a_restart(
    data: st.DataObject, quantities: list[int]
) -> None:
    """Some are in the journal, some come live in any order; then TWS tells all of them in theirs."""
    parts = [part(number, quantity) for number, quantity in enumerate(quantities)]
    totals = dict(zip((each.exec_id for each in parts), accumulate(quantities), strict=True))
    shuffled = data.draw(st.permutations(parts))
    before = data.draw(st.integers(0, len(parts)))
    live = data.draw(st.integers(before, len(parts)))
    ears = Ears()
    for report in shuffled[:before]:
        ears.executions.fold(journalled(report))
    for report in shuffled[before:live]:
        ears.hear(report, totals[report.exec_id])
    for report in parts:
        ears.hear(report, totals[report.exec_id])
    assert (ears.executed, ears.doubtful) == (sum(quantities), 0)
    told = [report.exec_id for _, report in ears.out.deliveries if isinstance(report, ExecutionReport)]
    assert sorted(told) == sorted(report.exec_id for report in shuffled[before:])


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.data())
def test_an_execution_that_comes_again_under_another_id_never_counts(
    quantities: list[int], data: st.DataObject
) -> None:
    parts = [part(number, quantity) for number, quantity in enumerate(quantities)]
    totals = list(accumulate(quantities))
    ears = Ears()
    for report, total in zip(parts, totals, strict=True):
        ears.hear(report, total)
    twice = data.draw(st.integers(0, len(parts) - 1))
    for _ in range(2):
        ears.hear(attrs.evolve(parts[twice], exec_id=OTHER_ID), totals[twice])
    assert (ears.executed, ears.doubtful) == (sum(quantities), 1)


@pytest.mark.parametrize("counted", [True, False])
def test_what_a_correction_added_leaves_room_for_what_comes_after_it(counted: bool) -> None:
    """Whether TWS counts it in the totals that it names, or not."""
    ears = Ears()
    ears.hear(part(1, 40), 40)
    ears.hear(part(1, 50, revision=2), 40)
    ears.hear(part(2, 60), 110 if counted else 100)
    assert (ears.executed, ears.doubtful) == (110, 0)


def test_a_correction_whose_execution_was_never_told_counts() -> None:
    ears = Ears()
    ears.hear(part(1, 50, revision=2), 40)
    ears.hear(part(2, 60), 100)
    assert (ears.executed, ears.doubtful) == (110, 0)


def test_after_a_bust_the_rest_of_an_order_counts() -> None:
    ears = Ears()
    ears.hear(part(1, 40), 40)
    ears.hear(part(1, 0, revision=2), 40)
    ears.hear(part(2, 60), 60)
    ears.hear(part(3, 40), 100)
    assert (ears.executed, ears.doubtful) == (100, 0)


def test_two_orders_under_one_reference_have_totals_of_their_own() -> None:
    """A modify that TWS took for a new order: both may fill, and both count."""
    ears = Ears()
    ears.hear(part(1, 100, perm_id=9), 100)
    ears.hear(part(2, 100, perm_id=10), 100)
    assert (ears.executed, ears.doubtful) == (200, 0)


def test_without_a_permanent_id_every_execution_counts() -> None:
    ears = Ears()
    ears.hear(part(1, 100, perm_id=0), 100)
    ears.hear(part(2, 100, perm_id=0), 100)
    assert (ears.executed, ears.doubtful) == (200, 0)


async def test_an_execution_for_which_there_is_no_room_is_an_alarm_and_one_look_out_of_turn(
    autojump_clock: object,
) -> None:
    """A garbled id was taken for a second fill, and a close bought what nobody held short (soak seed 2)."""
    async with broker_world() as world:
        (entry,) = await working(world, spec())
        true = execution_of(entry, 100)
        world.tws.executions.append((contract(), true))
        world.tws.positions = {SLV: 100}
        world.tws.say(tws.ExecDetails(-1, contract(), true))
        await world.settle()
        looks = len(world.tws.asked(tws.ReqAllOpenOrders))
        wrong = attrs.evolve(true, exec_id=OTHER_ID)
        world.tws.executions.append((contract(), wrong))
        world.tws.say(tws.ExecDetails(-1, contract(), wrong))
        await world.settle(4)
        assert [report.quantity for report in world.reports(ExecutionReport)] == [100]
        assert world.journal.alarms == ["EXECUTION_DOUBTED"]
        await world.settle(20)
        assert len(world.tws.asked(tws.ReqAllOpenOrders)) == looks + 1
        assert world.journal.alarms == ["EXECUTION_DOUBTED"]
