"""Single orders on a paper account, far from the market: what Ringfence relies on, and what is a guess."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from protocol.tws import messages as tws
from protocol.values import OrderRef, Symbol
from tests.paper.desk import ENDED, PREFIX, WORKING, PaperDesk
from tests.paper.probes import Probes

pytestmark = pytest.mark.paper

GTD_AHEAD_S = 8
"""Far enough ahead that the order has certainly arrived, in market time."""
PUNCTUAL_S = 2


def utc_text(epoch_s: float) -> str:
    return f"{datetime.fromtimestamp(epoch_s, UTC):%Y%m%d %H:%M:%S} UTC"


async def test_an_order_is_seen_listed_cancelled_and_gone(paper: PaperDesk, probes: Probes) -> None:
    since = paper.desk.mark
    order = paper.order()
    order_id = await paper.place(order)
    await paper.quiet()
    probes.record(
        "messages of a resting limit order",
        imitated="openOrder Submitted, orderStatus Submitted",
        seen=paper.story(order_id, since=since),
        presubmitted_first="openOrder PreSubmitted, orderStatus PreSubmitted, openOrder Submitted, "
        "orderStatus Submitted",
    )
    assert order.order_ref in await paper.listed()
    since = paper.desk.mark
    await paper.cancel(order_id)
    await paper.quiet()
    probes.record(
        "messages of a cancel by its owner",
        imitated="orderStatus PendingCancel, orderStatus Cancelled, error 202",
        seen=paper.story(order_id, since=since),
        pending_cancel="orderStatus Cancelled, error 202",
    )
    assert order.order_ref not in await paper.listed()


async def test_a_reference_comes_back_as_it_was_sent(paper: PaperDesk) -> None:
    ref = OrderRef(f"{PREFIX.rstrip(':')}", Symbol("SPY"), 123456, "doubledown-2", 12)
    sent = f"{ref}:a7f3-which-is-long-enough"
    order_id = await paper.place(paper.order(order_ref=sent))
    assert {echo.order.order_ref for echo in paper.echoes(order_id)} == {sent}
    assert sent in await paper.listed()


async def test_a_modify_in_place_is_the_same_order_with_other_terms(paper: PaperDesk) -> None:
    order = paper.order()
    order_id = await paper.place(order)
    perm_id = paper.echo(order_id).order.perm_id
    assert perm_id
    since = paper.desk.mark
    better = paper.order(order_ref=order.order_ref, lmt_price=paper.at("0.41"), total_quantity=Decimal(2))
    paper.send(better, order_id)
    assert await paper.until(lambda: paper.echoes(order_id, since=since))
    await paper.quiet()
    after = paper.echo(order_id, since=since).order
    assert (after.perm_id, after.lmt_price, after.total_quantity) == (perm_id, better.lmt_price, Decimal(2))
    listed = await paper.listed()
    assert listed[order.order_ref].order.perm_id == perm_id


async def test_a_stop_outlives_the_day_and_the_regular_hours(paper: PaperDesk, probes: Probes) -> None:
    since = paper.desk.mark
    stop = paper.order(
        order_type="STP", lmt_price=None, aux_price=paper.at("1.5"), tif="GTC", outside_rth=True
    )
    order_id = await paper.place(stop)
    await paper.quiet()
    listed = (await paper.listed())[stop.order_ref].order
    assert (listed.tif, listed.outside_rth, listed.aux_price) == ("GTC", True, stop.aux_price)
    first = paper.echoes(order_id, since=since)[0].order
    beyond = f"{abs((first.lmt_price or 0) - paper.at('1.5')):.2f} beyond the stop"
    probes.record(
        "limit price in the first echo of a stop",
        imitated="none",
        seen=beyond if first.lmt_price else "none",
        stop_price_echo="0.03 beyond the stop",
    )
    probes.record(
        "how a stop waits",
        imitated="PreSubmitted, trigger",
        seen=f"{paper.status(order_id)}, {paper.statuses(order_id)[-1].why_held}",
    )
    since = paper.desk.mark
    paper.send(paper.order(**_same(stop) | {"aux_price": paper.at("1.6")}), order_id)
    assert await paper.until(lambda: paper.echoes(order_id, since=since))
    await paper.quiet()
    assert paper.echo(order_id).order.perm_id == first.perm_id
    assert (await paper.listed())[stop.order_ref].order.aux_price == paper.at("1.6")


def _same(order: tws.Order) -> dict[str, object]:
    """What a modify has to repeat."""
    return {
        name: getattr(order, name)
        for name in (
            "order_type",
            "lmt_price",
            "aux_price",
            "tif",
            "outside_rth",
            "order_ref",
            "total_quantity",
        )
    }


async def test_a_price_off_the_grid_is_refused_and_no_order_comes_to_be(
    paper: PaperDesk, probes: Probes
) -> None:
    since = paper.desk.mark
    wrong = paper.order(lmt_price=paper.at("0.4") + 0.0033)
    order_id = paper.send(wrong)
    assert await paper.until(lambda: paper.refused(order_id, since))
    assert paper.codes(order_id, since=since)[0] == 110
    assert wrong.order_ref not in await paper.listed()
    since = paper.desk.mark
    paper.send(paper.order(), order_id)
    assert await paper.until(lambda: paper.status(order_id, since=since) or paper.refused(order_id, since))
    probes.record(
        "the id of a refused order",
        imitated="free again",
        seen=paper.refused(order_id, since) or "free again",
    )


async def test_cancels_and_modifies_of_what_is_not_there_are_refused(
    paper: PaperDesk, probes: Probes
) -> None:
    order_id = await paper.place(paper.order())
    await paper.cancel(order_id)
    await paper.quiet()
    for name, imitated, about, request in (
        ("a cancel of an order that has ended", "error 10148", order_id, tws.CancelOrder(order_id)),
        ("a cancel of an unknown order", "error 10147", order_id + 50, tws.CancelOrder(order_id + 50)),
        (
            "an order under the id of a cancelled one",
            "error 103",
            order_id,
            tws.PlaceOrder(order_id, paper.contract, paper.order()),
        ),
    ):
        since = paper.desk.mark
        paper.desk.send(request)
        await paper.until(lambda a=about, s=since: paper.codes(a, since=s))  # type: ignore[misc]
        await paper.quiet()
        probes.record(name, imitated=imitated, seen=paper.answer(about, since=since))


async def test_an_order_that_is_not_transmitted_is_silent(paper: PaperDesk, probes: Probes) -> None:
    order = paper.order(transmit=False)
    order_id = paper.send(order)
    await paper.quiet()
    probes.record("an order that is not transmitted", imitated="nothing", seen=paper.story(order_id, since=0))
    await paper.reopen()
    listed = await paper.listed()
    probes.record(
        "an order that was not transmitted, after its session ended",
        imitated="not listed",
        seen="listed" if order.order_ref in listed else "not listed",
    )


async def test_a_modify_of_a_live_order_that_does_not_transmit(paper: PaperDesk, probes: Probes) -> None:
    order = paper.order()
    order_id = await paper.place(order)
    paper.send(paper.order(order_ref=order.order_ref, lmt_price=paper.at("0.41"), transmit=False), order_id)
    await paper.quiet()
    price = (await paper.listed())[order.order_ref].order.lmt_price
    seen = "takes effect" if price == paper.at("0.41") else "waits"
    probes.record("a modify of a live order that does not transmit", imitated="takes effect", seen=seen)


async def test_a_what_if_order_is_answered_and_never_becomes_one(paper: PaperDesk, probes: Probes) -> None:
    since = paper.desk.mark
    asked = paper.order(what_if=True)
    order_id = paper.send(asked)
    assert await paper.until(lambda: paper.echoes(order_id, since=since) or paper.refused(order_id, since))
    await paper.quiet()
    assert asked.order_ref not in await paper.listed()
    probes.record(
        "what is heard of a what-if order",
        imitated="openOrder PreSubmitted",
        seen=paper.story(order_id, since=since),
    )
    margin = paper.echo(order_id, since=since).state.init_margin_change
    assert margin is not None
    since = paper.desk.mark
    paper.send(paper.order(), order_id)
    assert await paper.until(lambda: paper.status(order_id, since=since) or paper.refused(order_id, since))
    probes.record(
        "the id of a what-if order",
        imitated="not used up",
        seen=paper.refused(order_id, since) or "not used up",
    )


async def test_an_order_good_till_a_second_ends_at_it(paper: PaperDesk, probes: Probes) -> None:
    until_s = await paper.now_epoch_s() + GTD_AHEAD_S
    order = paper.order(tif="GTD", good_till_date=utc_text(until_s))
    order_id = paper.send(order)
    ended = await paper.desk.until(
        lambda: paper.status(order_id) in ENDED or bool(paper.refused(order_id, 0)),
        paper.target.patience_loop_s + GTD_AHEAD_S,
    )
    late_s = await paper.now_epoch_s() - until_s
    if paper.refused(order_id, 0):
        seen = paper.refused(order_id, 0)
    elif not ended:
        seen = f"still {paper.status(order_id)} {late_s} s later"
    elif late_s < 0:
        seen = f"{-late_s} s early"
    else:
        seen = f"within {PUNCTUAL_S} s" if late_s <= PUNCTUAL_S else f"{late_s} s late"
    probes.record("the end of an order good till a second", imitated=f"within {PUNCTUAL_S} s", seen=seen)
    assert order.order_ref not in await paper.listed() or not ended


async def test_an_order_good_after_a_time_waits(paper: PaperDesk, probes: Probes) -> None:
    after_s = await paper.now_epoch_s() + 600
    order_id = await paper.place(paper.order(good_after_time=utc_text(after_s)))
    await paper.quiet()
    last = paper.statuses(order_id)[-1]
    seen = f"{last.status}, {last.why_held or 'no reason'}"
    probes.record("an order good after a time", imitated="PreSubmitted, no reason", seen=seen)


@pytest.mark.parametrize(
    ("tif", "imitated"),
    [
        ("FOK", "Inactive, error 201"),
        ("IOC", "Cancelled, error 202"),
    ],
)
async def test_what_does_not_fill_at_once(paper: PaperDesk, probes: Probes, tif: str, imitated: str) -> None:
    since = paper.desk.mark
    order_id = paper.send(paper.order(tif=tif))
    await paper.until(lambda: paper.status(order_id) in ENDED and paper.codes(order_id, since=since))
    await paper.quiet()
    seen = f"{paper.status(order_id)}, {paper.answer(order_id, since=since)}"
    probes.record(f"{tif} far from the market", imitated=imitated, seen=seen)
    assert paper.status(order_id) not in WORKING
