"""Brackets and OCA groups: when exits wake, grow, shrink and end."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from protocol.exchange.coverage import Coverage
from protocol.exchange.happenings import MarketTick, OrderCancelled, OrderChanged, Status
from protocol.exchange.venue import ChildActivation
from protocol.tws.messages import Order
from tests.venues import SLV, Bench, fills, kinds, limit, market, only, stop

SCALED, FULL = ChildActivation.SCALED, ChildActivation.FULL
LIVE_TARGET, LIVE_STOP = (Status.SUBMITTED, ""), (Status.PRE_SUBMITTED, "trigger")


def entered(activation: ChildActivation, filled: int = 30, oca_type: int = 2) -> Bench:
    """A bracket for 100 whose entry has filled in part and rests at 9.90; the market is back at 10."""
    bench = Bench(activation)
    bench.quote(9.99, 10.01)
    bench.bracket(limit("BUY", 100, 9.90), target=10.90, stop_at=9.50, oca="exits", oca_type=oca_type)
    bench.quote(9.89, 9.90, size=filled)
    bench.quote(9.99, 10.01)
    return bench


# --- children and their parent ----------------------------------------------------------------------


def test_children_sleep_until_the_parent_fills_however_the_market_moves() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.bracket(limit("BUY", 100, 9.00), target=10.90, stop_at=8.50)
    bench.venue.take()
    assert bench.quote(11.00, 11.02) == ()
    assert bench.state(2) == (Status.PRE_SUBMITTED, "child", 100, 0)
    assert bench.state(3) == (Status.PRE_SUBMITTED, "child,trigger", 100, 0)


def test_the_fill_of_the_parent_is_told_before_its_children_wake() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.bracket(market("BUY", 100), target=10.90, stop_at=9.50)
    happened = bench.venue.take()
    assert kinds(happened) == [
        "OrderAccepted", "OrderAccepted", "OrderAccepted",
        "Executed", "CommissionCharged", "PositionChanged", "OrderChanged", "OrderChanged",
    ]  # fmt: skip
    assert [c.why for c in only(happened, OrderChanged)] == ["the parent filled"] * 2
    assert bench.state(2) == (*LIVE_TARGET, 100, 0)
    assert bench.state(3) == (*LIVE_STOP, 100, 0)


def test_a_partly_filled_parent_wakes_scaled_children_for_its_fills_and_they_grow_with_it() -> None:
    bench = entered(SCALED)
    assert bench.state(2) == (*LIVE_TARGET, 30, 0)
    assert bench.state(3) == (*LIVE_STOP, 30, 0)
    bench.quote(9.89, 9.90, size=50)
    assert (bench.state(2)[2], bench.state(3)[2]) == (80, 80)
    bench.quote(9.89, 9.90, size=50)
    assert (bench.state(2)[2], bench.state(3)[2], bench.position) == (100, 100, 100)


def test_a_partly_filled_parent_wakes_full_children_with_their_whole_quantity() -> None:
    bench = entered(FULL)
    assert bench.state(2) == (*LIVE_TARGET, 100, 0)
    assert bench.state(3) == (*LIVE_STOP, 100, 0)


def test_a_full_child_can_close_more_than_its_parent_has_filled() -> None:
    bench = entered(FULL)
    assert fills(bench.quote(10.90, 10.92)) == [(2, 100, Decimal("10.9"))]
    assert bench.state(1) == (Status.SUBMITTED, "", 100, 30)
    assert bench.position == -70


def test_a_scaled_exit_that_fills_all_it_holds_leaves_the_rest_of_the_entry_without_exits() -> None:
    bench = entered(SCALED)
    assert fills(bench.quote(10.90, 10.92)) == [(2, 30, Decimal("10.9"))]
    assert bench.state(1) == (Status.SUBMITTED, "", 100, 30)
    ended = [bench.order(2).status, bench.order(3).status]
    assert ended == [Status.FILLED, Status.CANCELLED]
    assert fills(bench.quote(9.89, 9.90, size=30)) == [(1, 30, Decimal("9.9"))]
    assert [bench.order(2).status, bench.order(3).status] == ended
    assert bench.position == 30


def test_a_child_for_half_of_its_parent_gets_half_of_each_fill_rounded_down() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(limit("BUY", 100, 9.90), transmit=False))
    bench.place(2, attrs.evolve(stop("SELL", 50, 9.50), parent_id=1))
    bench.quote(9.89, 9.90, size=1)
    assert bench.state(2) == (Status.PRE_SUBMITTED, "child,trigger", 50, 0)
    bench.quote(9.89, 9.90, size=30)
    assert bench.state(2) == (*LIVE_STOP, 15, 0)


def test_what_is_rounded_off_one_stop_is_in_the_next_so_that_all_stand_for_what_has_filled() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(limit("BUY", 100, 9.90), transmit=False))
    for order_id, size, last in ((2, 30, False), (3, 70, True)):
        bench.place(order_id, attrs.evolve(stop("SELL", size, 9.50), parent_id=1, transmit=last))
    bench.quote(9.89, 9.90, size=33)
    assert [bench.state(order_id)[2] for order_id in (2, 3)] == [9, 24]
    bench.quote(9.89, 9.90, size=67)
    assert [bench.state(order_id)[2] for order_id in (2, 3)] == [30, 70]


def test_an_unfilled_parent_takes_its_children_with_it() -> None:
    bench = Bench()
    bench.bracket(limit("BUY", 100, 9.90), target=10.90, stop_at=9.50)
    bench.venue.take()
    cancelled = only(bench.cancel(1), OrderCancelled)
    assert [(c.order.order_id, c.by_client) for c in cancelled] == [(1, True), (2, False), (3, False)]


@pytest.mark.parametrize("activation", [SCALED, FULL])
def test_children_of_a_partly_filled_and_cancelled_parent_stay_for_what_it_filled(
    activation: ChildActivation,
) -> None:
    bench = entered(activation)
    bench.cancel(1)
    assert bench.state(2) == (*LIVE_TARGET, 30, 0)
    assert bench.state(3) == (*LIVE_STOP, 30, 0)


@pytest.mark.parametrize("activation", [SCALED, FULL])
def test_what_a_sibling_took_stays_taken_when_the_parent_is_cancelled(activation: ChildActivation) -> None:
    bench = entered(activation)
    bench.quote(10.90, 10.92, size=10)
    bench.quote(9.99, 10.01)
    bench.cancel(1)
    assert bench.position == 20
    assert bench.state(2) == (*LIVE_TARGET, 30, 10)
    assert bench.state(3) == (*LIVE_STOP, 20, 0)


def test_scaled_children_grow_by_the_fill_and_not_back_to_what_a_sibling_took() -> None:
    bench = entered(SCALED)
    bench.quote(10.90, 10.92, size=10)
    bench.quote(9.89, 9.90, size=20)
    assert bench.position == 40
    assert bench.state(2) == (*LIVE_TARGET, 50, 10)
    assert bench.state(3) == (*LIVE_STOP, 40, 0)


@pytest.mark.parametrize(("asked", "after_fill"), [(30, 50), (100, 100), (40, 50)])
def test_an_exit_that_its_owner_resized_ahead_of_the_fills_is_not_grown_twice(
    asked: int, after_fill: int
) -> None:
    bench = entered(SCALED)
    bench.place(3, stop("SELL", asked, 9.50))
    bench.quote(9.89, 9.90, size=20)
    assert bench.state(3) == (*LIVE_STOP, after_fill, 0)


def test_a_size_that_the_owner_gave_an_exit_outlives_the_cancel_of_its_parent() -> None:
    bench = entered(FULL)
    bench.place(3, stop("SELL", 50, 9.50))
    bench.cancel(1)
    assert bench.state(3) == (*LIVE_STOP, 50, 0)


def test_a_child_of_a_shrunk_parent_is_cut_to_it() -> None:
    for activation in ChildActivation:
        bench = entered(activation)
        bench.place(1, limit("BUY", 30, 9.90))
        assert bench.state(1)[0] is Status.FILLED
        assert (bench.state(2)[2], bench.state(3)[2]) == (30, 30)


@pytest.mark.parametrize("activation", [SCALED, FULL])
def test_children_end_with_the_size_of_a_parent_that_was_made_smaller_and_then_filled(
    activation: ChildActivation,
) -> None:
    bench = entered(activation)
    bench.place(1, limit("BUY", 60, 9.90))
    bench.quote(9.89, 9.90)
    assert bench.position == 60
    assert bench.state(2) == (*LIVE_TARGET, 60, 0)
    assert bench.state(3) == (*LIVE_STOP, 60, 0)


def test_a_child_that_comes_after_its_parent_filled_works_at_once() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, market("BUY", 10))
    assert kinds(bench.place(2, attrs.evolve(stop("SELL", 10, 9.50), parent_id=1))) == [
        "OrderAccepted", "OrderChanged",
    ]  # fmt: skip
    assert bench.state(2) == (*LIVE_STOP, 10, 0)


def test_a_child_of_a_cancelled_parent_is_rejected() -> None:
    bench = Bench()
    bench.place(1, limit("BUY", 10, 9.00))
    bench.cancel(1)
    bench.place(2, attrs.evolve(stop("SELL", 10, 8.50), parent_id=1))
    assert bench.order(2).status is Status.INACTIVE


def test_a_sleeping_child_can_be_repriced_and_resized() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.bracket(limit("BUY", 100, 9.90), target=10.90, stop_at=9.50)
    bench.place(3, attrs.evolve(stop("SELL", 60, 9.40), parent_id=1))
    bench.quote(9.89, 9.90)
    assert bench.state(3) == (*LIVE_STOP, 60, 0)
    assert bench.order(3).order.aux_price == 9.40


def test_a_stop_woken_beyond_the_market_closes_the_position_at_once() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(9.40)
    bench.bracket(market("BUY", 10), target=10.90, stop_at=9.50)
    assert bench.position == 0
    assert bench.state(2)[0] is Status.CANCELLED


def test_a_short_bracket_is_the_mirror() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.bracket(market("SELL", 100), target=9.00, stop_at=10.50)
    assert bench.position == -100
    bench.trade(10.50)
    assert bench.position == 0
    assert bench.state(2)[0] is Status.CANCELLED


# --- OCA --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oca_type", [2, 3])
def test_a_partial_fill_of_one_exit_reduces_the_total_of_the_other(oca_type: int) -> None:
    bench = entered(SCALED, filled=100, oca_type=oca_type)
    happened = bench.quote(10.90, 10.92, size=40)
    assert fills(happened) == [(2, 40, Decimal("10.9"))]
    assert [c.order.order_id for c in only(happened, OrderChanged)] == [3]
    assert bench.state(3) == (*LIVE_STOP, 60, 0)


def test_the_complete_fill_of_one_exit_cancels_the_other() -> None:
    bench = entered(SCALED, filled=100)
    happened = bench.trade(9.50)
    assert [c.order.order_id for c in only(happened, OrderCancelled)] == [2]
    assert bench.position == 0


def test_a_group_of_type_one_ends_with_its_first_fill() -> None:
    bench = entered(SCALED, filled=100, oca_type=1)
    happened = bench.quote(10.90, 10.92, size=40)
    assert [c.order.order_id for c in only(happened, OrderCancelled)] == [3]
    assert bench.state(2) == (*LIVE_TARGET, 100, 40)


@pytest.mark.parametrize(("oca_type", "sold"), [(2, [(1, 20)]), (3, [(1, 20), (2, 30)])])
def test_with_block_two_members_never_trade_in_the_same_instant(
    oca_type: int, sold: list[tuple[int, int]]
) -> None:
    bench = Bench()
    bench.quote(10.00, 10.02)
    bench.place(1, attrs.evolve(limit("SELL", 60, 10.50), oca_group="exits", oca_type=oca_type))
    bench.place(2, attrs.evolve(limit("SELL", 50, 10.40), oca_group="exits", oca_type=oca_type))
    tick = MarketTick(
        at=bench.later(),
        symbol="SLV",
        bid=10.45,
        bid_size=30,
        ask=10.47,
        ask_size=30,
        last=10.60,
        last_size=20,
    )
    bench.venue.tick(tick)
    assert [(order_id, quantity) for order_id, quantity, _ in fills(bench.venue.take())] == sold
    later = fills(bench.quote(10.45, 10.47, size=30))
    assert [(order_id, quantity) for order_id, quantity, _ in later] == ([(2, 30)] if oca_type == 2 else [])


def test_a_market_order_in_the_group_of_the_exits_cannot_close_twice() -> None:
    bench = entered(SCALED, filled=100)
    bench.place(4, attrs.evolve(market("SELL", 100), oca_group="exits", oca_type=2))
    assert bench.position == 0
    assert [bench.state(n)[0] for n in (2, 3)] == [Status.CANCELLED] * 2


def test_a_sleeping_member_is_reduced_too_and_wakes_with_what_is_left() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.bracket(limit("BUY", 100, 9.90), target=10.90, stop_at=9.50, oca="exits", oca_type=2)
    bench.quote(9.99, 10.01, size=40)
    bench.place(4, attrs.evolve(market("SELL", 90), oca_group="exits", oca_type=2))
    bench.cancel(4)
    assert bench.state(3) == (Status.PRE_SUBMITTED, "child,trigger", 60, 0)
    bench.quote(9.89, 9.90)
    assert bench.state(3) == (*LIVE_STOP, 60, 0)


def test_cancelling_one_member_leaves_its_siblings() -> None:
    bench = entered(SCALED, filled=100)
    bench.cancel(2)
    assert bench.state(3) == (*LIVE_STOP, 100, 0)


def test_a_group_without_a_type_reduces_without_block() -> None:
    bench = Bench()
    bench.place(1, attrs.evolve(limit("SELL", 30, 10.50), oca_group="exits"))
    assert bench.order(1).order.oca_type == 3


# --- how long a position stood without its stop -------------------------------------------------------


def test_a_scaled_bracket_is_covered_from_its_first_share() -> None:
    bench, coverage = Bench(), Coverage()
    coverage.link(True, 0.0)
    bench.quote(9.99, 10.01)
    bench.bracket(limit("BUY", 100, 9.90), target=10.90, stop_at=9.50)
    coverage.feed(bench.venue.take(), 1.0)
    coverage.feed(bench.quote(9.89, 9.90, size=30), 2.0)
    coverage.feed(bench.quote(9.89, 9.90, size=70), 9.0)
    coverage.finish(60.0)
    assert coverage.symbols == ("SLV",)
    assert coverage.max_uncovered_s("SLV") == 0.0


def test_the_longest_stretch_without_enough_stop_counts_while_the_link_is_up() -> None:
    bench, coverage = Bench(), Coverage()
    coverage.link(True, 0.0)
    bench.quote(9.99, 10.01)
    coverage.feed(bench.place(1, market("BUY", 100)), 10.0)
    coverage.feed(bench.place(2, stop("SELL", 99, 9.50)), 12.0)
    coverage.link(False, 13.0)
    coverage.link(True, 20.0)
    coverage.feed(bench.place(2, stop("SELL", 100, 9.50)), 20.5)
    assert coverage.max_uncovered_s("SLV") == pytest.approx(3.5)
    coverage.feed(bench.cancel(2), 30.0)
    coverage.feed(bench.place(3, market("SELL", 100)), 31.0)
    coverage.finish(99.0)
    assert coverage.max_uncovered_s("SLV") == pytest.approx(3.5)


@pytest.mark.parametrize(
    "order",
    [limit("SELL", 100, 10.90), stop("BUY", 100, 10.50)],
    ids=["a target", "a stop of the other side"],
)
def test_only_a_stop_on_the_other_side_covers(order: Order) -> None:
    bench, coverage = Bench(), Coverage()
    coverage.link(True, 0.0)
    bench.quote(9.99, 10.01)
    coverage.feed(bench.place(1, market("BUY", 100)), 1.0)
    coverage.feed(bench.place(2, order), 1.0)
    coverage.finish(3.0)
    assert coverage.max_uncovered_s("SLV") == pytest.approx(2.0)


def test_a_sleeping_child_covers_nothing() -> None:
    bench, coverage = Bench(), Coverage()
    coverage.link(True, 0.0)
    bench.quote(9.99, 10.01)
    bench.bracket(limit("BUY", 100, 9.00), target=10.90, stop_at=8.50)
    coverage.feed(bench.venue.take(), 1.0)
    coverage.feed(bench.place(9, market("BUY", 10)), 1.0)
    coverage.finish(4.0)
    assert coverage.max_uncovered_s("SLV") == pytest.approx(3.0)


def test_coverage_resumes_on_the_books_of_a_restored_venue() -> None:
    bench, coverage = Bench(), Coverage()
    bench.quote(9.99, 10.01)
    bench.place(1, market("BUY", 100))
    coverage.resume(bench.venue.open_orders(), bench.venue.positions("DU1234567"), 5.0)
    coverage.link(True, 5.0)
    coverage.feed(bench.place(2, stop("SELL", 100, 9.50), contract=SLV), 7.0)
    coverage.finish(60.0)
    assert coverage.max_uncovered_s("SLV") == pytest.approx(2.0)
