"""What a client hears of orders that hang on each other: brackets, and groups in which one cancels all."""

from __future__ import annotations

import attrs
import pytest

from protocol.tws import messages as m
from tests.tws_faces import Face, limit_order, market_order
from tests.tws_sequences import bracket, connected, lines, stop_order

CANCELLED = ["orderStatus 1 Cancelled 0+100 #1", "error 1 202 Order Canceled - reason:"]
FILLED = [
    "execDetails 1 #1 BOT 100 at 25.02 of 100 e1.01",
    "openOrder 1 Filled BUY 100 MKT 0.0",
    "orderStatus 1 Filled 100+0 avg 25.02 last 25.02 #1",
]

# --- 4.8: brackets -----------------------------------------------------------------------------------

TARGET = "SELL 100 LMT 27.0 child of 1 oca #1 type 3"
STOP = "SELL 100 STP 0.0 aux 24.0 child of 1 oca #1 type 3"


def waiting(entry: str) -> list[str]:
    return [
        f"openOrder 1 Submitted {entry}",
        "orderStatus 1 Submitted 0+100 #1",
        f"openOrder 2 PreSubmitted {TARGET}",
        "orderStatus 2 PreSubmitted 0+100 #2 (child)",
        f"openOrder 3 PreSubmitted {STOP}",
        "orderStatus 3 PreSubmitted 0+100 #3 (child,trigger)",
    ]


def test_sequence_4_08_a_bracket_works_from_its_entry_to_its_target() -> None:
    face = connected()
    assert bracket(face, market_order("BUY", 100)) == [
        *waiting("BUY 100 MKT 0.0"),
        *FILLED,
        "commissionReport e1.01 1 opens",
        f"openOrder 2 Submitted {TARGET}",
        "orderStatus 2 Submitted 0+100 #2",
        f"openOrder 3 PreSubmitted {STOP}",
        "orderStatus 3 PreSubmitted 0+100 #3 (trigger)",
    ]
    heard = lines(face.quote(27.0, 27.02, after_s=1))
    assert heard[:3] == [
        "execDetails 2 #2 SLD 100 at 27.0 of 100 e2.01",
        f"openOrder 2 Filled {TARGET}",
        "orderStatus 2 Filled 100+0 avg 27 last 27 #2",
    ]
    assert heard[3].startswith("commissionReport e2.01 ")
    assert heard[4:] == ["orderStatus 3 Cancelled 0+100 #3", "error 3 202 Order Canceled - reason:"]


def test_sequence_4_08_children_go_with_an_entry_that_never_filled() -> None:
    face = connected()
    assert bracket(face, limit_order("BUY", 100, 24.0)) == waiting("BUY 100 LMT 24.0")
    assert lines(face.ask(m.CancelOrder(1))) == [
        "orderStatus 1 PendingCancel 0+100 #1",
        *CANCELLED,
        "orderStatus 2 Cancelled 0+100 #2",
        "error 2 202 Order Canceled - reason:",
        "orderStatus 3 Cancelled 0+100 #3",
        "error 3 202 Order Canceled - reason:",
    ]


def test_sequence_4_08_children_of_a_partly_filled_entry_work_for_what_it_filled() -> None:
    face = connected(size=40)
    heard = bracket(face, limit_order("BUY", 100, 25.02))
    assert heard[6:] == [
        "execDetails 1 #1 BOT 40 at 25.02 of 40 e1.01",
        "openOrder 1 Submitted BUY 100 LMT 25.02",
        "orderStatus 1 Submitted 40+60 avg 25.02 last 25.02 #1",
        "commissionReport e1.01 1 opens",
        "openOrder 2 Submitted SELL 40 LMT 27.0 child of 1 oca #1 type 3",
        "orderStatus 2 Submitted 0+40 #2",
        "openOrder 3 PreSubmitted SELL 40 STP 0.0 aux 24.0 child of 1 oca #1 type 3",
        "orderStatus 3 PreSubmitted 0+40 #3 (trigger)",
    ]


def test_sequence_4_08_no_trailing_stop_hangs_on_a_market_order() -> None:
    face = connected()
    face.place(1, attrs.evolve(market_order("BUY", 100), transmit=False))
    child = attrs.evolve(stop_order("SELL", 100, 0.5), order_type="TRAIL", parent_id=1)
    assert lines(face.place(2, child)) == [
        "error 2 328 Trailing stop orders can be attached to limit or stop-limit orders only."
    ]


# --- 4.9: one cancels all ----------------------------------------------------------------------------


def two_of_a_group(face: Face, oca_type: int) -> None:
    for order_id, price in ((1, 25.5), (2, 25.6)):
        order = attrs.evolve(limit_order("SELL", 100, price), oca_group="pair", oca_type=oca_type)
        face.place(order_id, order)


@pytest.mark.parametrize("oca_type", [1, 2, 3])
def test_sequence_4_09_the_fill_of_one_cancels_the_others(oca_type: int) -> None:
    face = connected()
    two_of_a_group(face, oca_type)
    order = f"SELL 100 LMT 25.5 oca pair type {oca_type}"
    assert lines(face.quote(25.5, 25.52, after_s=1)) == [
        "execDetails 1 #1 SLD 100 at 25.5 of 100 e1.01",
        f"openOrder 1 Filled {order}",
        "orderStatus 1 Filled 100+0 avg 25.5 last 25.5 #1",
        "commissionReport e1.01 1 opens",
        "orderStatus 2 Cancelled 0+100 #2",
        "error 2 202 Order Canceled - reason:",
    ]


@pytest.mark.parametrize(("oca_type", "kept"), [(1, False), (2, True), (3, True)])
def test_sequence_4_09_a_partial_fill_cancels_or_reduces_the_others(oca_type: int, kept: bool) -> None:
    face = connected()
    two_of_a_group(face, oca_type)
    heard = lines(face.quote(25.5, 25.52, size=30, after_s=1))
    assert heard[:3] == [
        "execDetails 1 #1 SLD 30 at 25.5 of 30 e1.01",
        f"openOrder 1 Submitted SELL 100 LMT 25.5 oca pair type {oca_type}",
        "orderStatus 1 Submitted 30+70 avg 25.5 last 25.5 #1",
    ]
    reduced = [
        f"openOrder 2 Submitted SELL 70 LMT 25.6 oca pair type {oca_type}",
        "orderStatus 2 Submitted 0+70 #2",
    ]
    cancelled = ["orderStatus 2 Cancelled 0+100 #2", "error 2 202 Order Canceled - reason:"]
    assert heard[4:] == (reduced if kept else cancelled)


def test_sequence_4_09_a_group_without_a_type_reduces() -> None:
    face = connected()
    two_of_a_group(face, 0)
    assert [line for line in lines(face.ask(m.ReqOpenOrders())) if line.startswith("openOrder")] == [
        "openOrder 1 Submitted SELL 100 LMT 25.5 oca pair type 3",
        "openOrder 2 Submitted SELL 100 LMT 25.6 oca pair type 3",
    ]
