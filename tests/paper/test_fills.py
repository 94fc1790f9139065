"""One share on a paper account, bought and sold again: what happens to a bracket that trades.

Only with RINGFENCE_PAPER_FILLS=1, and while the market is open.
"""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from protocol.tws import messages as tws
from tests.paper.desk import ENDED, HOURS_NOTICE, RUN, WORKING, PaperDesk, net
from tests.paper.probes import Probes

pytestmark = pytest.mark.paper

EXECUTION_ID = re.compile(r"[0-9a-f]{8}\.[0-9a-f]{8}\.\d\d\.\d\d")


@pytest.fixture
def trading(paper: PaperDesk) -> PaperDesk:
    if not paper.target.fills:
        pytest.skip("RINGFENCE_PAPER_FILLS=1 allows to buy and sell one share")
    return paper


async def enter(paper: PaperDesk) -> tuple[int, int, int, dict[str, object]]:
    """Buy one share at the market, target and stop far away; their ids, and what the exits share."""
    entry_id = paper.send(paper.order(order_type="MKT", lmt_price=None, transmit=False))
    exits: dict[str, object] = {
        "action": "SELL", "parent_id": entry_id, "tif": "GTC", "outside_rth": True,
        "oca_group": f"{paper.order().order_ref}:exits", "oca_type": 2,
    }  # fmt: skip
    target_id = paper.send(paper.order(**exits, lmt_price=paper.at("1.5"), transmit=False))
    stop_id = paper.send(paper.order(**exits, order_type="STP", lmt_price=None, aux_price=paper.at("0.6")))
    filled = await paper.until(lambda: paper.status(entry_id) == "Filled" or paper.codes(entry_id))
    if HOURS_NOTICE in paper.codes(entry_id):
        pytest.skip("the market is closed")
    assert filled, f"the entry is {paper.status(entry_id)}"
    assert paper.status(entry_id) == "Filled", paper.answer(entry_id, since=0)
    assert await paper.until(lambda: awake(paper, stop_id) and awake(paper, target_id))
    await paper.quiet()
    return entry_id, target_id, stop_id, exits


def awake(paper: PaperDesk, order_id: int) -> bool:
    """Whether an exit works and no longer waits for its parent."""
    said = paper.statuses(order_id)
    return bool(said) and said[-1].status in WORKING and "child" not in said[-1].why_held


async def test_a_bracket_trades_and_its_target_closes_it(trading: PaperDesk, probes: Probes) -> None:
    paper = trading
    entry_id, target_id, stop_id, exits = await enter(paper)
    probes.record(
        "messages of a market entry with exits",
        imitated="openOrder Submitted, orderStatus Submitted, execDetails, openOrder Filled, "
        "orderStatus Filled",
        seen=paper.story(entry_id, since=0),
        presubmitted_first="openOrder PreSubmitted, orderStatus PreSubmitted, openOrder Submitted, "
        "orderStatus Submitted, execDetails, openOrder Filled, orderStatus Filled",
        status_before_execution="openOrder Submitted, orderStatus Submitted, openOrder Filled, "
        "orderStatus Filled, execDetails",
    )
    stop = paper.statuses(stop_id)[-1]
    probes.record(
        "exits once the entry has filled",
        imitated="target Submitted, stop PreSubmitted trigger",
        seen=f"target {paper.status(target_id)}, stop {stop.status} {stop.why_held}",
    )
    await move_the_stop(paper, stop_id, exits)
    since = paper.desk.mark
    await close_by_the_target(paper, target_id, exits)
    assert await paper.until(lambda: paper.status(stop_id) in ENDED), "the stop outlived its position"
    await paper.quiet()
    assert paper.status(stop_id) == "Cancelled"
    probes.record(
        "messages of the stop when the target fills",
        imitated="orderStatus Cancelled, error 202",
        seen=paper.story(stop_id, since=since),
    )
    since = paper.desk.mark
    paper.send(paper.order(order_type="MKT", lmt_price=None), entry_id)
    await paper.until(lambda: paper.codes(entry_id, since=since))
    answer = paper.answer(entry_id, since=since)
    probes.record("a modify of a filled order", imitated="error 104", seen=answer)
    assert net(await paper.executions()) == 0


async def move_the_stop(paper: PaperDesk, stop_id: int, exits: dict[str, object]) -> None:
    """In place, as a trailing stop does: the same order."""
    before, since = paper.echo(stop_id).order, paper.desk.mark
    moved = paper.order(
        **exits, order_type="STP", lmt_price=None, aux_price=paper.at("0.61"), order_ref=before.order_ref
    )
    paper.send(moved, stop_id)
    assert await paper.until(lambda: paper.echoes(stop_id, since=since) or paper.refused(stop_id, since))
    await paper.quiet()
    assert not paper.refused(stop_id, since)
    after = paper.echo(stop_id).order
    assert (after.perm_id, after.aux_price) == (before.perm_id, paper.at("0.61"))


async def close_by_the_target(paper: PaperDesk, target_id: int, exits: dict[str, object]) -> None:
    """As Ringfence closes a trade: the target becomes marketable, and stays in its group."""
    before = paper.echo(target_id).order
    paper.send(paper.order(**exits, lmt_price=paper.at("0.98"), order_ref=before.order_ref), target_id)
    assert await paper.until(lambda: paper.status(target_id) in ENDED), paper.answer(target_id, since=0)
    assert paper.status(target_id) == "Filled"
    assert paper.echo(target_id).order.perm_id == before.perm_id


async def test_executions_and_commissions_are_told_under_our_reference(
    trading: PaperDesk, probes: Probes
) -> None:
    paper = trading
    mine = [each for each in await paper.executions() if f":{RUN}:" in each.order_ref]
    if not mine:
        pytest.skip("nothing has traded in this run")
    seen = "as imitated" if all(EXECUTION_ID.fullmatch(each.exec_id) for each in mine) else mine[0].exec_id
    probes.record("the form of execution ids", imitated="as imitated", seen=seen)
    ids = {each.exec_id for each in mine}

    def reported() -> set[str]:
        return ids & {report.exec_id for report in paper.desk.all(tws.CommissionReport)}

    assert await paper.until(lambda: reported() == ids), "not every execution has its commission"


async def test_a_completed_order_says_no_quantity(trading: PaperDesk, probes: Probes) -> None:
    paper, since = trading, trading.desk.mark
    paper.desk.send(tws.ReqCompletedOrders(api_only=True))
    assert await paper.until(lambda: any(True for _ in paper.desk.all(tws.CompletedOrdersEnd, since=since)))
    filled = [
        each
        for each in paper.desk.all(tws.CompletedOrder, since=since)
        if f":{RUN}:" in each.order.order_ref and each.state.status == "Filled"
    ]
    if not filled:
        pytest.skip("nothing has traded in this run")
    seen = f"quantity {filled[0].order.total_quantity}, filled {filled[0].filled_quantity}"
    probes.record("a filled order among the completed ones", imitated="quantity 0, filled 1", seen=seen)
    assert {each.filled_quantity for each in filled} == {Decimal(1)}
