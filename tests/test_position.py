"""The position of a symbol, from its executions alone."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.account import PositionRecord, after_execution
from protocol.position import Position, split_exec_id
from protocol.tws.messages import Contract
from protocol.values import Side, Symbol

EMPTY = Position.empty(Symbol("SLV"))
D = Decimal

fills = st.lists(
    st.tuples(st.sampled_from(Side), st.integers(1, 500), st.integers(1, 50_000).map(lambda c: D(c) / 100)),
    max_size=30,
)


def after(*fills: tuple[Side, int, str]) -> Position:
    position = EMPTY
    for number, (side, quantity, price) in enumerate(fills):
        position = position.with_fill(f"{number}.01", side, quantity, D(price))
    return position


def held(position: Position) -> tuple[int, Decimal, Decimal]:
    return position.quantity, position.average_price, position.realized_pnl


def test_adding_moves_the_average_and_reducing_realizes_against_it() -> None:
    assert held(after((Side.BUY, 100, "10"), (Side.BUY, 100, "12"))) == (200, D(11), D(0))
    assert held(after((Side.BUY, 100, "10"), (Side.SELL, 40, "12"))) == (60, D(10), D(80))
    assert held(after((Side.SELL, 100, "10"), (Side.BUY, 40, "9"))) == (-60, D(10), D(40))


def test_crossing_zero_realizes_what_was_held_and_opens_the_rest_at_the_price() -> None:
    assert held(after((Side.BUY, 100, "10"), (Side.SELL, 150, "12"))) == (-50, D(12), D(200))


def test_a_flat_position_has_no_average() -> None:
    assert held(after((Side.BUY, 100, "10"), (Side.SELL, 100, "9"))) == (0, D(0), D(-100))


def test_an_execution_counts_once() -> None:
    once = after((Side.BUY, 100, "10"))
    assert once.with_fill("0.01", Side.BUY, 100, D(10)) is once


def test_a_correction_replaces_its_execution_and_what_came_after_is_reckoned_anew() -> None:
    position = after((Side.BUY, 100, "10"), (Side.SELL, 50, "11"))
    corrected = position.with_fill("0.02", Side.BUY, 100, D("10.50"))
    assert held(corrected) == (50, D("10.50"), D(25))
    assert corrected.with_fill("0.01", Side.BUY, 100, D(10)) is corrected, "an older revision comes late"


def test_an_execution_id_is_a_root_and_a_revision() -> None:
    assert split_exec_id("0000e0d5.68d6.01.02") == ("0000e0d5.68d6.01", 2)
    assert split_exec_id("odd") == ("odd", 0)


def test_a_commission_is_counted_once_and_a_later_one_replaces_it() -> None:
    charged = EMPTY.with_commission("a.01", D("1.00"))
    assert charged.with_commission("a.01", D("1.00")) is charged
    assert charged.with_commission("a.02", D("1.25")).commission == D("1.25")
    assert charged.with_commission("b.01", D("0.50")).commission == D("1.50")


@given(fills)
def test_it_agrees_with_the_books_of_the_venue(fills: list[tuple[Side, int, Decimal]]) -> None:
    ours = EMPTY
    theirs = PositionRecord(account="DU1", contract=Contract(symbol="SLV"))
    for number, (side, quantity, price) in enumerate(fills):
        ours = ours.with_fill(f"{number}.01", side, quantity, price)
        theirs, _ = after_execution(theirs, side.sign * quantity, price)
    assert ours.quantity == theirs.quantity
    assert abs(Fraction(ours.realized_pnl) - theirs.realized) < Fraction(1, 10**9)
    assert abs(ours.average_price - theirs.average_cost) < D("0.000000001")


@given(fills, st.randoms(use_true_random=False))
def test_repeats_in_any_order_change_nothing(fills: list[tuple[Side, int, Decimal]], random: object) -> None:
    position = EMPTY
    for number, fill in enumerate(fills):
        position = position.with_fill(f"{number}.01", *fill)
    again = position
    shuffled = list(enumerate(fills))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for number, fill in shuffled:
        again = again.with_fill(f"{number}.01", *fill)
    assert again == position


@given(fills, st.data())
def test_a_correction_is_as_if_it_had_always_been_so(
    fills: list[tuple[Side, int, Decimal]], data: st.DataObject
) -> None:
    if not fills:
        return
    index = data.draw(st.integers(0, len(fills) - 1))
    side, quantity, _ = fills[index]
    right = (side, quantity, D("77.77"))
    corrected, straight = EMPTY, EMPTY
    for number, fill in enumerate(fills):
        corrected = corrected.with_fill(f"{number}.01", *fill)
        straight = straight.with_fill(f"{number}.01", *(right if number == index else fill))
    assert held(corrected.with_fill(f"{index}.02", *right)) == held(straight)
