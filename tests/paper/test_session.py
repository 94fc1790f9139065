"""The session with a paper account: ids, coming back, and how fast one may ask."""

from __future__ import annotations

import pytest

from actors.tws_desk import ClientIdBusy, TwsDesk
from actors.tws_link import LinkDown
from protocol.tws import messages as tws
from tests.paper.desk import PREFIX, PaperDesk
from tests.paper.probes import Probes

pytestmark = pytest.mark.paper

BURST = 60
"""Requests in one second: ten more than TWS takes by its documentation."""


async def test_order_ids_go_on_above_those_that_were_used(paper: PaperDesk) -> None:
    order_id = await paper.place(paper.order())
    since = paper.desk.mark
    paper.desk.send(tws.ReqIds(1))
    assert await paper.until(lambda: any(True for _ in paper.desk.all(tws.NextValidId, since=since)))
    assert next(paper.desk.all(tws.NextValidId, since=since)).order_id > order_id


async def test_a_client_id_serves_one_session(paper: PaperDesk) -> None:
    target = paper.target
    with pytest.raises(ClientIdBusy):
        await TwsDesk.open(target.host, target.port, target.client_id, timeout_loop_s=target.patience_loop_s)
    assert await paper.now_epoch_s()


async def test_who_comes_back_finds_its_orders_as_they_were(paper: PaperDesk, probes: Probes) -> None:
    order = paper.order(tif="GTC")
    order_id = await paper.place(order)
    perm_id = paper.echo(order_id).order.perm_id
    await paper.reopen()
    pushed = [
        each.order.order_ref
        for each in paper.desk.all(tws.OpenOrder)
        if each.order.order_ref.startswith(PREFIX)
    ]
    probes.record(
        "open orders at a new connection",
        imitated="told before the ids",
        seen="told before the ids" if pushed else "not told: “Download open orders on connection” is off",
    )
    found = (await paper.listed())[order.order_ref]
    assert (found.order_id, found.order.perm_id) == (order_id, perm_id)
    assert paper.desk.fresh_order_id() > order_id
    await paper.cancel(order_id)


async def test_an_order_of_another_client_is_seen_and_cannot_be_cancelled(
    paper: PaperDesk, probes: Probes
) -> None:
    order = paper.order()
    order_id = await paper.place(order)
    target = paper.target
    other = await TwsDesk.open(
        target.host, target.port, target.client_id + 1, timeout_loop_s=target.patience_loop_s
    )
    async with other:
        other.send(tws.ReqAllOpenOrders(), tws.CancelOrder(order_id))
        await other.until(lambda: bool(other.errors(order_id)), target.patience_loop_s)
        refs = {each.order.order_ref for each in other.all(tws.OpenOrder)}
        codes = ", ".join(f"error {error.code}" for error in other.errors(order_id))
    assert order.order_ref in refs
    probes.record("a cancel of another client's order", imitated="error 10147", seen=codes or "no error")
    assert order.order_ref in await paper.listed()


async def test_executions_are_told_for_at_least_this_day(paper: PaperDesk, probes: Probes) -> None:
    await paper.executions()
    times = [each.execution.time for each in paper.desk.all(tws.ExecDetails)]
    days = sorted({time.split()[0].split("-")[0] for time in times})
    probes.record(
        "days that executions are told of (the Trade Log's setting)",
        imitated="at most 7",
        seen="at most 7" if len(days) <= 7 else f"{len(days)}, from {days[0]}",
    )


async def test_more_requests_in_a_second_than_are_allowed(paper: PaperDesk, probes: Probes) -> None:
    since = paper.desk.mark
    paper.desk.send(*[tws.ReqCurrentTime()] * BURST)

    def answered() -> int:
        return sum(1 for _ in paper.desk.all(tws.CurrentTime, since=since))

    try:
        await paper.until(lambda: answered() == BURST)
        codes = {error.code for error in paper.desk.all(tws.ErrorMessage, since=since)}
        seen = "all answered" if answered() == BURST else f"{answered()} answered"
        seen += "" if not codes else f", errors {sorted(codes)}"
    except LinkDown as end:
        seen = f"the connection ended: {end}"
        await paper.reopen()
    probes.record(f"{BURST} requests at once", imitated="all answered", seen=seen)
