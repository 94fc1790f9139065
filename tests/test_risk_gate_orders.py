"""The gate and the orders themselves: size, prices, the stop, the bracket, the plan, and what only closes.

Each limit has its refusal, and an order just inside it that passes.
"""

from __future__ import annotations

import attrs
import pytest

from protocol.commands import CancelOrder
from protocol.trade_plan import AdditionPlan, TradePlan
from protocol.values import (
    CLOSE,
    DOUBLEDOWN,
    SCALE,
    STOP,
    OrderSpec,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
)
from tests.risk_room import GLD, D, Room, proposal
from tests.symbol_desk import SLV


def entry_at(room: Room, price: str, kind: OrderType = OrderType.LIMIT, side: Side = Side.BUY) -> str:
    """The code for a main entry at its own price, with its exits outside of all that is tried."""
    bracket = room.bracket(side=side, stop=str(100 - 6 * side.sign), target=str(100 + 6 * side.sign))
    limit = D(price) if kind is not OrderType.STOP else None
    stop = D(price) if kind is not OrderType.LIMIT else None
    entry = attrs.evolve(bracket[0], type=kind, limit_price=limit, stop_price=stop)
    return room.code(room.decide((entry, *bracket[1:])))


def with_stop(room: Room, **changes: object) -> str:
    entry, target, stop = room.bracket()
    return room.code(room.decide((entry, target, attrs.evolve(stop, **changes))))  # type: ignore[arg-type]


# --- R1 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_order_quantity": 99}, "order_quantity"),
        ({"max_order_quantity": 100}, ""),
        ({"max_order_notional": D("10000.99")}, "order_notional"),
        ({"max_order_notional": D("10001")}, ""),
    ],
)
def test_r1_one_order_is_only_so_large(limits: dict[str, object], code: str) -> None:
    room = Room(**limits)
    assert room.code(room.enter()) == code
    proposed = Room(**limits).admits(proposal(reference=D("100.01")))
    assert proposed == code


def test_r1_an_order_with_a_price_of_its_own_is_measured_by_it() -> None:
    assert entry_at(Room(max_order_notional=D(9999)), "99.99") == ""
    assert entry_at(Room(max_order_notional=D(9998)), "99.99") == "order_notional"


def test_r16_an_order_is_for_whole_shares() -> None:
    room = Room()
    assert room.admits(proposal(0)) == room.code(room.enter(quantity=0)) == "quantity"
    assert room.admits(proposal(1)) == ""


# --- R4 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "kind", "side", "code"),
    [
        ("103.02", OrderType.LIMIT, Side.BUY, "price_collar"),
        ("103.01", OrderType.LIMIT, Side.BUY, ""),
        ("97.00", OrderType.LIMIT, Side.BUY, "price_collar"),
        ("97.01", OrderType.LIMIT, Side.BUY, ""),
        ("96.99", OrderType.LIMIT, Side.SELL, "price_collar"),
        ("97.00", OrderType.LIMIT, Side.SELL, ""),
        ("103.02", OrderType.STOP, Side.BUY, "price_collar"),
        ("103.01", OrderType.STOP, Side.BUY, ""),
        ("96.99", OrderType.STOP_LIMIT, Side.SELL, "price_collar"),
        ("97.00", OrderType.STOP_LIMIT, Side.SELL, ""),
    ],
)
def test_r4_an_entrys_price_is_near_the_quote(price: str, kind: OrderType, side: Side, code: str) -> None:
    assert entry_at(Room(), price, kind, side) == code


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        ("100.02", "stop_side"),
        ("100.01", "stop_side"),
        ("99.95", "stop_too_close"),
        ("99.93", ""),
        ("84.98", ""),
        ("84.97", "stop_too_far"),
    ],
)
def test_r4_the_stop_lies_on_the_losing_side_and_not_too_close_or_far(stop: str, code: str) -> None:
    """The quote's spread of two cents and a tick are granted: the market may have moved since."""
    assert with_stop(Room(), stop_price=D(stop)) == code


@pytest.mark.parametrize(
    ("distance", "code"),
    [("0.0999", "stop_too_close"), ("0.1", ""), ("15", ""), ("15.0001", "stop_too_far"), ("-1", "stop_side")],
)
def test_r4_a_proposed_stop_keeps_to_the_distances_exactly(distance: str, code: str) -> None:
    assert Room().admits(proposal(stop_distance=D(distance))) == code


def test_r4_the_least_distance_is_some_ticks_for_a_cheap_share() -> None:
    room = Room(min_stop_ticks=20)
    assert room.admits(proposal(stop_distance=D("0.19"))) == "stop_too_close"
    assert room.admits(proposal(stop_distance=D("0.20"))) == ""


@pytest.mark.parametrize(
    ("trail", "code"),
    [
        ({"trail_fraction": D("0.1504")}, "stop_too_far"),
        ({"trail_fraction": D("0.15")}, ""),
        ({"trail_amount": D("0.06")}, "stop_too_close"),
        ({"trail_amount": D("0.08")}, ""),
    ],
)
def test_r4_a_stop_that_trails_by_itself_keeps_the_same_distances(
    trail: dict[str, object], code: str
) -> None:
    assert with_stop(Room(), type=OrderType.TRAILING, stop_price=None, **trail) == code


# --- R14 ----------------------------------------------------------------------------------------------


def test_r14_a_trade_is_not_opened_without_a_stop() -> None:
    room = Room()
    entry, target, _ = room.bracket()
    assert room.code(room.decide((entry, target))) == "no_stop"
    assert room.code(Room().enter()) == ""


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": 99}, "stop_quantity"),
        ({"quantity": 101}, "stop_quantity"),
        ({"quantity": 100}, ""),
        ({"tif": TimeInForce.DAY}, "stop_kind"),
        ({"outside_rth": False}, "stop_kind"),
        ({"type": OrderType.STOP_LIMIT, "limit_price": D("96")}, "stop_kind"),
        ({"type": OrderType.TRAILING, "stop_price": None}, "stop_kind"),
        ({"side": Side.BUY}, "not_a_bracket"),
        ({"parent": None}, "not_a_bracket"),
        ({"oca_type": 3}, "not_a_bracket"),
        ({"oca_group": ""}, "not_a_bracket"),
        ({"purpose": Purpose.CLOSE}, "not_a_bracket"),
    ],
)
def test_r14_the_stop_covers_all_and_outlives_the_day(changes: dict[str, object], code: str) -> None:
    assert with_stop(Room(), **changes) == code


def test_r14_targets_are_for_no_more_than_the_entry() -> None:
    room = Room()
    entry, target, stop = room.bracket()
    assert room.code(room.decide((entry, attrs.evolve(target, quantity=101), stop))) == "target_quantity"
    room = Room()
    entry, target, stop = room.bracket()
    assert room.code(room.decide((entry, attrs.evolve(target, quantity=99), stop))) == ""


def test_r14_stops_of_parts_add_up_to_the_entry() -> None:
    def parts(first: int, second: int) -> str:
        room = Room()
        entry, _, stop = room.bracket()
        two = attrs.evolve(
            stop, ref=room.ref("stop.1"), quantity=second, oca_group=f"{stop.oca_group}:1", index=1
        )
        return room.code(room.decide((entry, attrs.evolve(stop, quantity=first), two)))

    assert (parts(60, 40), parts(60, 39)) == ("", "stop_quantity")


@pytest.mark.parametrize(
    ("tif", "code"), [(TimeInForce.GTC, "entry_tif"), (TimeInForce.DAY, ""), (TimeInForce.IOC, "")]
)
def test_r14_an_entry_ends_by_itself(tif: TimeInForce, code: str) -> None:
    room = Room()
    entry, *exits = room.bracket()
    assert room.code(room.decide((attrs.evolve(entry, tif=tif), *exits))) == code


def test_r14_a_reference_is_that_of_one_order() -> None:
    room = Room()
    entry, target, stop = room.bracket()
    twice = attrs.evolve(target, ref=stop.ref)
    assert room.code(room.decide((entry, twice, stop))) == "not_a_bracket"


def test_r14_the_entry_comes_first() -> None:
    room = Room()
    entry, target, stop = room.bracket()
    assert room.code(room.decide((stop, target, entry))) == "not_a_bracket"


# --- additions: R14 and R2 ------------------------------------------------------------------------------

PLAN = TradePlan(scale_ins=(AdditionPlan(D(2), 50),), double_downs=(AdditionPlan(D(1), 80),))


def addition(room: Room, role: str, quantity: int, index: int = 0, **changes: object) -> OrderSpec:
    spec = OrderSpec(
        room.ref(role), Side.BUY, quantity, OrderType.MARKET, TimeInForce.DAY, purpose=Purpose.ENTRY,
        index=index,
    )  # fmt: skip
    return attrs.evolve(spec, **changes)  # type: ignore[arg-type]


def code_of(room: Room, spec: OrderSpec) -> str:
    return room.code(room.decide((spec,)))


def test_r14_only_a_protected_position_is_added_to() -> None:
    room = Room()
    _, _, stop = room.open(plan=PLAN).orders
    room.told(stop, OrderStatus.CANCELLED)
    assert code_of(room, addition(room, SCALE, 50)) == "unprotected"
    room = Room()
    _, _, stop = room.open(plan=PLAN).orders
    assert code_of(room, addition(room, SCALE, 50)) == ""


def test_r14_stops_that_cover_a_part_are_not_enough() -> None:
    for covered, code in ((99, "unprotected"), (100, "")):
        room = Room()
        _, _, stop = room.open(plan=PLAN).orders
        assert room.code(room.modify(stop, quantity=covered)) == ""
        assert code_of(room, addition(room, SCALE, 50)) == code


def test_r14_an_addition_needs_a_position() -> None:
    room = Room()
    assert room.code(room.enter(plan=PLAN)) == ""
    assert code_of(room, addition(room, SCALE, 50)) == "no_position"


def test_r14_an_addition_comes_alone() -> None:
    room = Room()
    room.open(plan=PLAN)
    add = addition(room, SCALE, 50)
    stop = OrderSpec(room.ref("stop.9"), Side.SELL, 50, OrderType.STOP, TimeInForce.GTC, stop_price=D(97))
    assert room.code(room.decide((add, attrs.evolve(stop, parent=add.ref)))) == "not_a_bracket"


@pytest.mark.parametrize(
    ("role", "quantity", "index", "code"),
    [
        (SCALE, 51, 0, "plan_exceeded"),
        (SCALE, 50, 0, ""),
        (SCALE, 1, 1, "plan_exceeded"),
        (DOUBLEDOWN, 81, 0, "plan_exceeded"),
        (DOUBLEDOWN, 80, 0, ""),
        ("order", 10, 0, "not_planned"),
        ("order", 10, 100, ""),
        (SCALE, 10, 101, ""),
    ],
    ids=["over", "at", "no level", "double over", "double at", "by nobody", "a rule's", "a rule's scale-in"],
)
def test_r2_additions_keep_to_the_plan_of_their_trade(
    role: str, quantity: int, index: int, code: str
) -> None:
    room = Room()
    room.open(plan=PLAN)
    assert code_of(room, addition(room, role, quantity, index)) == code


def test_r2_a_level_is_added_once() -> None:
    room = Room()
    _, _, stop = room.open(plan=PLAN).orders
    add = addition(room, SCALE, 50)
    assert code_of(room, add) == ""
    room.fill(add)
    assert room.code(room.modify(stop, quantity=150)) == ""
    again = addition(room, SCALE, 1)
    assert code_of(room, attrs.evolve(again, ref=room.ref(SCALE, revision=1))) == "plan_exceeded"


def test_r2_a_level_that_was_taken_back_unfilled_may_be_placed_anew() -> None:
    room = Room()
    room.open(plan=PLAN)
    resting = addition(room, DOUBLEDOWN, 80, type=OrderType.LIMIT, limit_price=D(99))
    assert code_of(room, resting) == ""
    room.told(resting, OrderStatus.CANCELLED)
    assert code_of(room, attrs.evolve(resting, ref=room.ref(DOUBLEDOWN, revision=1))) == ""


def test_r2_the_entry_is_as_large_as_its_trade_was_planned() -> None:
    room = Room()
    assert room.code(room.decide(room.bracket(), planned=99)) == "plan_exceeded"
    room.conclude()
    assert room.code(room.decide(room.bracket(), planned=100)) == ""


def test_r4_a_double_down_rests_as_far_as_a_stop_may_lie() -> None:
    def resting(price: str) -> str:
        room = Room()
        room.open(plan=PLAN)
        return code_of(room, addition(room, DOUBLEDOWN, 80, type=OrderType.LIMIT, limit_price=D(price)))

    assert (resting("85.01"), resting("85.00")) == ("", "price_collar")
    assert (resting("103.01"), resting("103.02")) == ("", "price_collar")


# --- R16: prices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "code"),
    [("97.005", "off_grid"), ("97.01", ""), ("NaN", "price"), ("0", "price"), ("-1", "price")],
)
def test_r16_every_price_lies_on_the_grid(price: str, code: str) -> None:
    assert with_stop(Room(), stop_price=D(price)) == code


def test_r16_a_stop_trails_by_a_fraction_of_the_price() -> None:
    trailing = {"type": OrderType.TRAILING, "stop_price": None}
    assert with_stop(Room(), trail_fraction=D(1), **trailing) == "price"
    assert with_stop(Room(), trail_fraction=D("0.1"), **trailing) == ""


# --- R22: exits -----------------------------------------------------------------------------------------


def opened(side: Side = Side.BUY) -> tuple[Room, OrderSpec, OrderSpec]:
    room = Room()
    _, target, stop = room.open(side=side).orders
    return room, target, stop


def closing(room: Room, quantity: int = 100, side: Side = Side.SELL, revision: int = 0) -> OrderSpec:
    return OrderSpec(
        room.ref(CLOSE, revision=revision), side, quantity, OrderType.MARKET, TimeInForce.DAY,
        oca_group="t:SLV:000001", oca_type=2,
    )  # fmt: skip


def test_r22_no_more_is_closed_than_there_is() -> None:
    room, _, _ = opened()
    assert code_of(room, closing(room, 101)) == "more_than_held"
    assert code_of(room, closing(room, 100, revision=1)) == ""


def test_r22_a_second_close_of_the_same_shares_does_not_leave() -> None:
    room, _, _ = opened()
    assert code_of(room, closing(room, 60)) == ""
    assert code_of(room, closing(room, 41, revision=1)) == "more_than_held"
    assert code_of(room, closing(room, 40, revision=2)) == ""


def test_r22_a_close_leads_out_of_the_position() -> None:
    room, _, _ = opened()
    assert code_of(room, closing(room, 100, Side.BUY)) == "nothing_to_close"
    room, _, _ = opened(Side.SELL)
    assert code_of(room, closing(room, 100, Side.BUY)) == ""


def test_r22_flat_there_is_nothing_to_close() -> None:
    room, _, stop = opened()
    room.fill(stop, price="97")
    assert code_of(room, closing(room)) == "nothing_to_close"


@pytest.mark.parametrize(
    ("side", "price", "code"),
    [
        (Side.BUY, "89.99", "flatten_collar"),
        (Side.BUY, "90.00", ""),
        (Side.SELL, "110.02", "flatten_collar"),
        (Side.SELL, "110.01", ""),
        (Side.BUY, "190.00", ""),
    ],
)
def test_r22_a_close_reaches_only_so_far_through_the_market(side: Side, price: str, code: str) -> None:
    room, target, _ = opened(side)
    assert room.code(room.modify(target, limit_price=D(price))) == code


@pytest.mark.parametrize(
    ("price", "code"), [("40.00", ""), ("99.98", ""), ("110.01", ""), ("110.02", "flatten_collar")]
)
def test_r22_a_stop_may_lie_far_behind_or_just_beyond_the_market(price: str, code: str) -> None:
    room, _, stop = opened()
    assert room.code(room.modify(stop, stop_price=D(price))) == code


def test_r22_a_price_that_the_broker_works_at_already_is_judged_no_more() -> None:
    """The market jumps over a resting target, or falls through a stop, while they are resized."""
    room, target, stop = opened()
    room.quote(SLV, bid=129.99, ask=130.01)
    assert room.code(room.modify(target, quantity=90)) == ""
    assert room.code(room.modify(target, limit_price=D("105.01"))) == "flatten_collar"
    room.quote(SLV, bid=79.99, ask=80.01)
    assert room.code(room.modify(stop, quantity=90)) == ""
    assert room.code(room.modify(stop, stop_price=D("97.01"))) == "flatten_collar"


def test_r22_exits_keep_to_the_grid() -> None:
    room, target, _ = opened()
    assert room.code(room.modify(target, limit_price=D("105.005"))) == "off_grid"
    assert room.code(room.modify(target, limit_price=D("105.01"))) == ""


def test_r22_a_stop_grows_with_the_position_and_no_further() -> None:
    room = Room()
    _, _, stop = room.open(plan=PLAN).orders
    add = addition(room, SCALE, 50)
    assert code_of(room, add) == ""
    room.fill(add)
    assert room.code(room.modify(stop, quantity=151)) == "more_than_held"
    assert room.code(room.modify(stop, quantity=150)) == ""


def test_r22_the_growth_of_a_stop_that_a_targets_fill_has_crossed_passes() -> None:
    """For a moment it covers ten shares too many; refused, it would leave forty without a stop."""
    room = Room()
    _, target, stop = room.open(plan=PLAN).orders
    add = addition(room, SCALE, 50)
    assert code_of(room, add) == ""
    room.fill(add)
    grown = room.modify(stop, quantity=150)
    room.fill(target, 10, "105")
    assert room.code(grown) == ""


def test_r22_an_exit_that_only_becomes_smaller_always_passes() -> None:
    room, target, stop = opened()
    room.fill(stop, price="97")
    assert room.code(room.modify(target, quantity=50)) == ""
    assert room.code(CancelOrder(SLV, 1, target.ref)) == ""


def test_r22_an_exit_of_another_symbol_needs_a_position_there() -> None:
    room, _, _ = opened()
    other = attrs.evolve(closing(room), ref=room.ref(CLOSE, GLD))
    assert code_of(room, other) == "nothing_to_close"


def test_a_lost_stop_is_put_back_whatever_the_market_does() -> None:
    room, _, stop = opened()
    room.told(stop, OrderStatus.CANCELLED)
    room.quote(SLV, bid=50.0, ask=150.0, halted=True)
    again = attrs.evolve(stop, ref=room.ref(STOP, revision=1), parent=None)
    assert code_of(room, again) == ""
