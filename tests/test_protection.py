"""Stop and target follow the position: its size, its average, and what the broker does by itself."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import BrokerCommand, CancelOrder, ModifyOrder, PlaceOrders
from protocol.order import Order
from protocol.protection import (
    ANSWER_WITHIN,
    MAX_REFUSALS,
    MAX_STOPS,
    stop_price,
    target_price,
    wanted_quantity,
)
from protocol.reports import RequestKind
from protocol.rules.amounts import Shares
from protocol.values import (
    CENT_GRID,
    CLOSE,
    MAIN,
    STOP,
    TARGET,
    OrderSpec,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from tests.symbol_desk import SLV, Desk, ref

D = Decimal
S = OrderStatus
ONE_ROUND = (ANSWER_WITHIN + timedelta(seconds=0.1)).total_seconds()


def modified(commands: tuple[BrokerCommand, ...]) -> list[tuple[str, int, Decimal | None]]:
    """Role, quantity and price of what was modified; nothing else may have been asked."""
    found = []
    for command in commands:
        assert isinstance(command, ModifyOrder)
        order = command.order
        found.append((order.ref.role, order.quantity, order.stop_price or order.limit_price))
    return found


@given(st.sampled_from(Side), st.decimals("1", "5000", places=4), st.decimals("0.01", "0.15", places=3))
def test_exits_lie_on_the_grid_on_their_side_and_are_rounded_as_they_should(
    side: Side, average: Decimal, part: Decimal
) -> None:
    distance = average * part
    stop, target = (f(side, average, distance, CENT_GRID) for f in (stop_price, target_price))
    assert CENT_GRID.contains(stop)
    assert CENT_GRID.contains(target)
    assert D(0) <= (average - stop) * side.sign - distance < D("0.01"), "never closer than the distance"
    assert D(0) <= distance - (target - average) * side.sign < D("0.01"), "never further than the distance"


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 500), st.booleans())
def test_an_exit_asks_for_what_it_has_executed_and_the_whole_position(
    filled: int, asked_more: int, position: int, entering: bool
) -> None:
    spec = OrderSpec(ref(STOP), Side.SELL, filled + asked_more, OrderType.STOP, TimeInForce.GTC)
    quantity = wanted_quantity(Order(spec, filled=filled), position, entering=entering)
    if entering:
        assert quantity >= max(filled + position, spec.quantity)
    else:
        assert quantity == filled + position


def test_the_exits_follow_the_average_price_of_the_entry() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    assert modified(desk.fills(ref(MAIN), 100, "100.50")) == [
        (STOP, 100, D("97.50")), (TARGET, 100, D("108.50")),
    ]  # fmt: skip


def test_a_partial_fill_of_the_entry_is_covered_at_once_by_the_whole_stop() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    assert desk.fills(ref(MAIN), 40, "100") == ()
    assert (desk.position, desk.quantity(STOP), desk.quantity(TARGET)) == (40, 100, 100)


def test_an_entry_cancelled_at_40_leaves_stop_and_target_of_exactly_40() -> None:
    for word, price in (("BUY", "100"), ("SHORT", "99.98")):
        desk = Desk.ready()
        desk.signal(word)
        desk.bracket_taken()
        desk.fills(ref(MAIN), 40, price)
        assert CancelOrder(SLV, 1, ref(MAIN)) in desk.wait(31)
        said = modified(desk.told(ref(MAIN), S.CANCELLED))
        assert [(role, quantity) for role, quantity, _ in said] == [(STOP, 40), (TARGET, 40)]
        assert desk.told(ref(STOP)) == desk.told(ref(TARGET)) == ()


def test_a_new_price_while_the_entry_fills_makes_no_target_greater_than_the_position() -> None:
    """The broker has made the children as small as what has filled; the stop stays what it is to become."""
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.told(ref(TARGET), quantity=40)
    assert modified(desk.fills(ref(MAIN), 40, "100.10")) == [
        (STOP, 100, D("97.10")), (TARGET, 40, D("108.10")),
    ]  # fmt: skip
    assert modified(desk.fills(ref(MAIN), 20, "100.10")) == [(TARGET, 60, D("108.10"))]
    assert modified(desk.fills(ref(MAIN), 40, "100.10")) == [(TARGET, 100, D("108.10"))]


def test_repricing_is_spaced_and_resizing_is_not() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    assert modified(desk.fills(ref(MAIN), 40, "100.10")) == [
        (STOP, 100, D("97.10")), (TARGET, 100, D("108.10")),
    ]  # fmt: skip
    assert desk.fills(ref(MAIN), 40, "100.20") == (), "too soon for another price"
    assert modified(desk.wait(0.3)) == [(STOP, 100, D("97.15")), (TARGET, 100, D("108.15"))]
    assert modified(desk.told(ref(MAIN), S.CANCELLED)) == [
        (STOP, 80, D("97.15")), (TARGET, 80, D("108.15")),
    ]  # fmt: skip


def entered_200() -> Desk:
    return Desk.ready(sizing=Shares(200)).entered(quantity=200)


def test_the_broker_shrinks_the_target_when_the_stop_fills_and_we_ask_for_nothing() -> None:
    desk = entered_200()
    assert desk.fills(ref(STOP), 50, "97") == ()
    assert (desk.position, desk.quantity(STOP), desk.quantity(TARGET)) == (150, 200, 150)
    assert desk.told(ref(TARGET), quantity=150) == ()
    assert desk.wait(10) == ()


def test_where_the_broker_does_not_shrink_it_we_do_after_a_while() -> None:
    desk = entered_200()
    desk.fills(ref(STOP), 50, "97")
    desk.told(ref(STOP), S.SUBMITTED, 50)
    assert desk.wait(1.9) == ()
    assert modified(desk.wait(0.3)) == [(TARGET, 150, D(108))]


def test_the_target_fills_whole_and_the_context_goes() -> None:
    desk = entered_200()
    assert desk.fills(ref(TARGET), 200, "108") == ()
    assert desk.told(ref(TARGET), S.FILLED, 200) == ()
    assert desk.told(ref(STOP), S.CANCELLED) == ()
    assert (desk.state.trade, desk.position) == (None, 0)
    assert desk.state.position.realized_pnl == 1600


def test_a_status_filled_before_its_executions_neither_moves_a_quantity_nor_ends_the_order() -> None:
    for filler, sibling, price in ((TARGET, STOP, "108"), (STOP, TARGET, "97")):
        desk = entered_200()
        assert desk.told(ref(filler), S.FILLED, 200) == ()
        order = desk.order(ref(filler))
        assert (desk.position, order.filled, order.live) == (200, 0, True)
        assert desk.told(ref(sibling), S.CANCELLED) == (), "no new stop for what has been sold"
        assert desk.trade.leaving()
        desk.fills(ref(filler), 200, price)
        assert (desk.state.trade, desk.position) == (None, 0)


def test_a_correction_of_an_execution_replaces_it() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.say(desk.execution(ref(MAIN), Side.BUY, 100, "100.50", "e.01"))
    desk.wait(1)
    assert modified(desk.say(desk.execution(ref(MAIN), Side.BUY, 100, "100.00", "e.02"))) == [
        (STOP, 100, D(97)), (TARGET, 100, D(108)),
    ]  # fmt: skip
    assert (desk.position, desk.state.position.average_price) == (100, D(100))
    assert desk.say(desk.execution(ref(MAIN), Side.BUY, 100, "100.50", "e.01")) == ()


def test_a_correction_of_a_stops_execution_takes_shares_back_into_cover() -> None:
    desk = entered_200()
    desk.say(desk.execution(ref(STOP), Side.SELL, 50, "97", "e.01"))
    desk.told(ref(TARGET), quantity=150)
    said = modified(desk.say(desk.execution(ref(STOP), Side.SELL, 40, "97", "e.02")))
    # Whether the stop works those ten again nobody says; its whole total said once more is right anyhow.
    assert (desk.position, said) == (160, [(STOP, 200, D(97)), (TARGET, 160, D(108))])
    assert desk.told(ref(STOP), filled=40) == ()


def test_a_correction_long_after_a_stops_last_word_asks_for_its_whole_total_too() -> None:
    desk = entered_200()
    desk.say(desk.execution(ref(STOP), Side.SELL, 50, "97", "e.01"))
    desk.told(ref(STOP), S.SUBMITTED, 50)
    desk.told(ref(TARGET), quantity=150)
    desk.wait(30)
    said = modified(desk.say(desk.execution(ref(STOP), Side.SELL, 40, "97", "e.02")))
    assert said == [(STOP, 200, D(97)), (TARGET, 160, D(108))]


def test_a_rejected_stop_is_replaced_and_after_the_last_one_the_position_is_closed() -> None:
    desk = entered_200()
    for revision in range(1, MAX_STOPS):
        (placed,) = desk.refused(ref(STOP, revision=revision - 1), RequestKind.PLACE, terminal=True)
        assert isinstance(placed, PlaceOrders)
        assert placed.orders == (OrderSpec(
            ref(STOP, revision=revision), Side.SELL, 200, OrderType.STOP, TimeInForce.GTC,
            stop_price=D(97), outside_rth=True, oca_group="t:SLV:000001", oca_type=2,
        ),)  # fmt: skip
    (closing,) = desk.refused(ref(STOP, revision=MAX_STOPS - 1), RequestKind.PLACE, terminal=True)
    assert isinstance(closing, ModifyOrder)
    assert (closing.order.ref, closing.order.quantity) == (ref(TARGET), 200)
    assert closing.order.limit_price is not None
    assert closing.order.limit_price < D("99.98"), "through the bid"


def test_a_stop_that_vanished_beyond_its_price_closes_the_position_instead() -> None:
    desk = entered_200()
    desk.quote(96.9, 97.0)
    (closing,) = desk.told(ref(STOP), S.CANCELLED)
    assert isinstance(closing, ModifyOrder)
    assert desk.trade.closing is not None


def test_a_stop_that_stays_inactive_protects_nothing() -> None:
    desk = entered_200()
    assert desk.told(ref(STOP), S.INACTIVE) == ()
    (closing,) = desk.wait(ONE_ROUND)
    assert isinstance(closing, ModifyOrder)
    assert closing.order.ref == ref(TARGET)


def test_a_stop_that_was_given_up_and_is_there_after_all_makes_place_for_the_new_one() -> None:
    desk = entered_200()
    listed = desk.report(ref(STOP))
    desk.told(ref(STOP), S.CANCELLED)
    assert desk.snapshot(listed, desk.report(ref(STOP, revision=1)), desk.report(ref(TARGET))) == (
        CancelOrder(SLV, 1, ref(STOP)),
    )


def test_a_stop_that_the_broker_refuses_to_change_leads_to_a_close() -> None:
    desk = Desk.ready(sizing=Shares(200))
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    desk.told(ref(MAIN), S.CANCELLED)
    for _ in range(MAX_REFUSALS - 1):
        assert desk.refused(ref(STOP), RequestKind.MODIFY) == ()
        desk.told(ref(TARGET))
        assert modified(desk.wait(ONE_ROUND)) == [(STOP, 40, D(97))]
    (closing,) = desk.refused(ref(STOP), RequestKind.MODIFY)
    assert isinstance(closing, ModifyOrder)
    assert (closing.order.ref, closing.order.quantity) == (ref(TARGET), 40)


def test_a_target_that_the_broker_refuses_to_change_is_cancelled_and_the_stop_stays() -> None:
    desk = Desk.ready(sizing=Shares(200))
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    desk.told(ref(MAIN), S.CANCELLED)
    desk.told(ref(STOP))
    for _ in range(MAX_REFUSALS - 1):
        assert desk.refused(ref(TARGET), RequestKind.MODIFY) == ()
        assert modified(desk.wait(ONE_ROUND)) == [(TARGET, 40, D(108))]
    assert desk.refused(ref(TARGET), RequestKind.MODIFY) == (CancelOrder(SLV, 1, ref(TARGET)),)
    assert desk.trade.closing is None


def test_an_exit_that_fills_while_the_entry_still_works_ends_the_trade() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    assert CancelOrder(SLV, 1, ref(MAIN)) in desk.fills(ref(STOP), 10, "97")
    assert desk.trade.closing is not None


def test_what_was_asked_is_not_asked_again_before_it_is_answered() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    assert len(desk.told(ref(MAIN), S.CANCELLED)) == 2
    old = attrs.evolve(desk.report(ref(STOP)), quantity=100)
    assert desk.say(old) == desk.wait(1.0) == ()
    assert modified(desk.wait(1.1)) == [(STOP, 40, D(97)), (TARGET, 40, D(108))], "no answer: asked again"


def test_the_stop_of_a_short_trade_protects_against_a_rise() -> None:
    desk = Desk.ready().entered("SHORT", price="99.98")
    stop = desk.order(ref(STOP)).spec
    assert (desk.position, stop.side, stop.stop_price) == (-100, Side.BUY, D("102.98"))
    assert CLOSE not in {order.role for order in desk.trade.orders}
