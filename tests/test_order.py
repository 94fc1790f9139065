"""The life of one order: what was asked, what is confirmed, what has executed."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.events import OrderStatusEvent
from protocol.order import TERMINAL, TRANSITIONS, WORKING, Order
from protocol.symbol_state import told
from protocol.values import OrderSpec, OrderStatus, OrderType, Side, TimeInForce
from tests.symbol_desk import TEN, ref

S = OrderStatus
STOP = Order(
    OrderSpec(
        ref("stop"), Side.SELL, 200, OrderType.STOP, TimeInForce.GTC, stop_price=Decimal(97), oca_group="g",
        oca_type=2,
    )
)  # fmt: skip


def status(
    status: OrderStatus, *, quantity: int = 200, filled: int = 0, stop: str = "97", adopted: bool = False
) -> OrderStatusEvent:
    return OrderStatusEvent(
        at=TEN, ref=STOP.ref, status=status, perm_id=7, quantity=quantity, filled=filled,
        stop_price=Decimal(stop), adopted=adopted,
    )  # fmt: skip


def test_every_status_has_a_row() -> None:
    assert set(TRANSITIONS) == set(OrderStatus)


def test_what_has_ended_never_works_again_by_a_mere_status() -> None:
    assert not TRANSITIONS[S.FILLED]
    assert not TRANSITIONS[S.CANCELLED] & WORKING


@given(st.lists(st.sampled_from(OrderStatus)))
def test_a_filled_order_stays_filled_whatever_is_said(words: list[OrderStatus]) -> None:
    order = attrs.evolve(STOP, status=S.FILLED)
    for word in words:
        order = told(order, status(word))
    assert order.status is S.FILLED


@given(st.lists(st.tuples(st.sampled_from(OrderStatus), st.integers(0, 200))))
def test_no_status_ever_moves_a_quantity(words: list[tuple[OrderStatus, int]]) -> None:
    order = STOP
    for word, filled in words:
        order = told(order, status(word, filled=filled))
    assert order.filled == 0
    assert order.spec == STOP.spec


def test_filled_by_a_status_alone_it_still_waits_for_its_executions() -> None:
    order = told(STOP, status(S.FILLED, filled=200))
    assert (order.status, order.filled, order.live) == (S.FILLED, 0, True)
    assert order.executed(200).live is False


def test_a_fill_that_crossed_the_cancel_is_real() -> None:
    order = told(STOP, status(S.CANCELLED)).executed(200)
    assert (order.status, order.filled) == (S.FILLED, 200)


def test_a_partial_fill_after_the_cancel_does_not_revive_it() -> None:
    order = told(STOP, status(S.CANCELLED)).executed(50)
    assert (order.status, order.filled, order.live) == (S.CANCELLED, 50, False)


def test_a_smaller_quantity_that_was_only_asked_does_not_end_an_order_that_works_on() -> None:
    working = told(STOP, status(S.SUBMITTED))
    asked = attrs.evolve(working, spec=attrs.evolve(working.spec, quantity=60))
    assert asked.executed(60).status is S.PARTIALLY_FILLED
    assert told(asked, status(S.SUBMITTED, quantity=60)).executed(60).status is S.FILLED


def test_a_correction_that_takes_shares_back_leaves_nothing_to_wait_for() -> None:
    order = told(STOP, status(S.FILLED, filled=200)).executed(200).executed(-10)
    assert (order.filled, order.owed, order.live) == (190, 0, False)
    again = told(order, status(S.FILLED, filled=200))
    assert (again.owed, again.live) == (0, False), "TWS goes on saying what it said before (seed 801)"
    less = told(order, status(S.FILLED, filled=190))
    assert (less.owed, less.live) == (0, False)


def test_given_up_for_lost_and_listed_as_open_it_is_there() -> None:
    for gone in (S.CANCELLED, S.REJECTED):
        order = attrs.evolve(STOP, status=gone)
        assert told(order, status(S.SUBMITTED, adopted=True)).status is S.SUBMITTED


def test_an_adopted_order_is_asked_for_what_the_broker_has() -> None:
    asked = attrs.evolve(STOP, cancel_asked=True, refusals=2)
    order = told(asked, status(S.SUBMITTED, quantity=150, stop="96", adopted=True))
    assert order.spec == attrs.evolve(STOP.spec, quantity=150, stop_price=Decimal(96))
    assert (order.cancel_asked, order.refusals) == (False, 0)


def test_refusals_are_forgotten_when_the_broker_takes_a_change() -> None:
    refused = attrs.evolve(told(STOP, status(S.SUBMITTED)), refusals=1)
    assert told(refused, status(S.SUBMITTED)).refusals == 1, "a repeat of what was known takes nothing"
    asked = attrs.evolve(refused, spec=attrs.evolve(refused.spec, quantity=150))
    assert told(asked, status(S.SUBMITTED, quantity=150)).refusals == 0


@pytest.mark.parametrize("ended", [S.FILLED, S.CANCELLED, S.REJECTED])
def test_what_has_ended_cannot_be_changed(ended: OrderStatus) -> None:
    order = attrs.evolve(STOP, status=ended)
    assert ended in TERMINAL
    assert not order.changeable
    assert not order.live
