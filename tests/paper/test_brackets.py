"""Brackets and OCA groups on a paper account, far from the market: how Ringfence's exits live there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from protocol.tws import messages as tws
from tests.paper.desk import ENDED, WORKING, PaperDesk
from tests.paper.probes import Probes

pytestmark = pytest.mark.paper

TWO = Decimal(2)


async def place_bracket(paper: PaperDesk, **children: object) -> tuple[int, int, int]:
    """An entry for two shares far below the market, its target above it and its stop below; their ids."""
    entry = paper.order(total_quantity=TWO, transmit=False)
    entry_id = paper.send(entry)
    exits: dict[str, object] = {
        "action": "SELL", "total_quantity": TWO, "parent_id": entry_id, "tif": "GTC", "outside_rth": True,
    }  # fmt: skip
    target_id = paper.send(
        paper.order(**exits | {"lmt_price": paper.at("0.6"), "transmit": False} | children)
    )
    await paper.quiet()
    assert paper.story(entry_id, target_id, since=0) == "nothing", "legs were told before the last one"
    stopping = {"order_type": "STP", "lmt_price": None, "aux_price": paper.at("0.3")}
    stop_id = paper.send(paper.order(**exits | stopping | children))
    ids = entry_id, target_id, stop_id
    assert await paper.until(lambda: all(paper.status(each) in WORKING for each in ids)), [
        (paper.status(each), paper.refused(each, 0)) for each in ids
    ]
    await paper.quiet()
    return ids


def group_of(paper: PaperDesk) -> dict[str, object]:
    """As Ringfence names it: ours, and reduce with block."""
    return {"oca_group": f"{paper.order().order_ref}:exits", "oca_type": 2}


async def test_a_bracket_keeps_our_ids_references_and_oca_group(paper: PaperDesk, probes: Probes) -> None:
    group = group_of(paper)
    entry_id, target_id, stop_id = await place_bracket(paper, **group)
    for child in (target_id, stop_id):
        echo = paper.echo(child).order
        assert (echo.oca_group, echo.oca_type) == (group["oca_group"], 2)
        assert (echo.parent_id, echo.tif, echo.outside_rth) == (entry_id, "GTC", True)
    assert len({paper.echo(each).order.perm_id for each in (entry_id, target_id, stop_id)}) == 3
    held = [f"{paper.status(each)} {paper.statuses(each)[-1].why_held}" for each in (target_id, stop_id)]
    probes.record(
        "how children wait for their parent",
        imitated="PreSubmitted child, PreSubmitted child,trigger",
        seen=", ".join(held),
    )


async def test_waiting_children_are_resized_and_repriced_in_place(paper: PaperDesk) -> None:
    group = group_of(paper)
    entry_id, _, stop_id = await place_bracket(paper, **group)
    before = paper.echo(stop_id).order
    since = paper.desk.mark
    smaller = paper.order(
        action="SELL", order_type="STP", lmt_price=None, aux_price=paper.at("0.31"),
        total_quantity=Decimal(1), parent_id=entry_id, order_ref=before.order_ref,
        tif="GTC", outside_rth=True, **group,
    )  # fmt: skip
    paper.send(smaller, stop_id)
    assert await paper.until(lambda: paper.echoes(stop_id, since=since) or paper.refused(stop_id, since))
    await paper.quiet()
    assert not paper.refused(stop_id, since)
    after = paper.echo(stop_id, since=since).order
    assert (after.perm_id, after.total_quantity) == (before.perm_id, Decimal(1))
    assert after.aux_price == paper.at("0.31")
    assert (await paper.listed())[before.order_ref].order.perm_id == before.perm_id


async def test_children_go_with_a_parent_that_never_filled(paper: PaperDesk, probes: Probes) -> None:
    entry_id, target_id, stop_id = await place_bracket(paper, **group_of(paper))
    since = paper.desk.mark
    paper.desk.send(tws.CancelOrder(entry_id))
    assert await paper.until(
        lambda: all(paper.status(each) in ENDED for each in (entry_id, target_id, stop_id))
    )
    await paper.quiet()
    probes.record(
        "messages of a child whose parent is cancelled",
        imitated="orderStatus Cancelled, error 202",
        seen=paper.story(stop_id, since=since),
    )


async def test_a_group_that_nobody_named(paper: PaperDesk, probes: Probes) -> None:
    entry_id, target_id, stop_id = await place_bracket(paper)
    parent = str(paper.echo(entry_id).order.perm_id)
    groups = [paper.echo(each).order for each in (target_id, stop_id)]
    names = {parent: "the parent’s permId", "": "none"}
    seen = [f"{names.get(each.oca_group, each.oca_group)}, type {each.oca_type}" for each in groups]
    probes.record(
        "the OCA group of children without one",
        imitated="the parent’s permId, type 3",
        seen=seen[0] if len(set(seen)) == 1 else "; ".join(seen),
    )


@pytest.mark.parametrize(
    ("parent", "imitated"),
    [("unknown", "error 135"), ("cancelled", "error 201")],
)
async def test_a_child_of_what_is_not_there(
    paper: PaperDesk, probes: Probes, parent: str, imitated: str
) -> None:
    parent_id = paper.desk.fresh_order_id()
    if parent == "cancelled":
        await paper.place(paper.order(), parent_id)
        await paper.cancel(parent_id)
    since = paper.desk.mark
    child_id = paper.send(paper.order(action="SELL", lmt_price=paper.at("3"), parent_id=parent_id))
    await paper.until(lambda: paper.status(child_id, since=since) or paper.codes(child_id, since=since))
    await paper.quiet()
    refused = paper.answer(child_id, since=since)
    works = paper.status(child_id) in WORKING
    probes.record(
        f"a child of an order that is {parent}", imitated=imitated, seen="works" if works else refused
    )


async def test_one_member_of_a_group_is_cancelled(paper: PaperDesk, probes: Probes) -> None:
    group = group_of(paper)
    first = await paper.place(paper.order(**group))
    second = await paper.place(paper.order(lmt_price=paper.at("0.39"), **group))
    await paper.cancel(first)
    await paper.quiet()
    left = "stay" if paper.status(second) in WORKING else paper.status(second)
    probes.record("the others, when a member of an OCA group is cancelled", imitated="stay", seen=left)


async def test_a_modify_names_another_group(paper: PaperDesk, probes: Probes) -> None:
    order = paper.order(**group_of(paper))
    order_id = await paper.place(order)
    since = paper.desk.mark
    paper.send(paper.order(order_ref=order.order_ref, **group_of(paper)), order_id)
    await paper.until(lambda: paper.codes(order_id, since=since) or paper.echoes(order_id, since=since))
    await paper.quiet()
    assert order.order_ref in await paper.listed(), "a refused modify leaves the order as it was"
    seen = paper.answer(order_id, since=since)
    probes.record("a modify with another OCA group", imitated="error 10326", seen=seen)
