"""Whose shares a position is made of, and that the custodian guards ours alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.commands import BrokerCommand, LiftHold, PlaceOrders
from protocol.custody import Custody, next_steps
from protocol.events import ModifyOrderEvent, NewOrderEvent
from protocol.foreign_shares import own_part
from protocol.splits import split_ratio
from protocol.values import STOP, TARGET, OrderStatus, Side
from tests.risk_stage import D
from tests.symbol_desk import SLV, Desk, ref
from tests.test_custodian import AT, NEXT_CLOSE, working

SHARES = st.integers(-300, 300)


@given(SHARES, SHARES)
def test_our_part_is_never_more_than_there_is_nor_on_its_other_side(position: int, foreign: int) -> None:
    own = own_part(position, foreign)
    assert own * position >= 0
    assert abs(own) <= abs(position)
    assert foreign or own == position


def test_what_others_add_is_theirs_and_what_they_take_off_is_gone() -> None:
    assert own_part(150, 50) == 100
    assert own_part(60, -40) == 60
    assert own_part(-50, -150) == 0
    assert own_part(-50, -20) == -30


def test_the_custodian_closes_no_share_of_others() -> None:
    assert next_steps(Custody(SLV, 100, (), foreign=100), NEXT_CLOSE, AT) == ()
    assert next_steps(Custody(SLV, -50, (), foreign=-150), NEXT_CLOSE, AT, flatten=True) == ()
    (close,) = next_steps(Custody(SLV, 150, (), foreign=50), NEXT_CLOSE, AT)
    assert isinstance(close, NewOrderEvent)
    assert (close.order.side, close.order.quantity) == (Side.SELL, 100)


def test_the_custodian_leaves_a_stop_that_covers_our_part_and_shrinks_one_that_is_larger() -> None:
    covered = Custody(SLV, 150, (working("stop", 100),), foreign=50)
    assert covered.safe
    assert next_steps(covered, NEXT_CLOSE, AT) == ()
    (smaller,) = next_steps(Custody(SLV, 150, (working("stop", 150),), foreign=50), NEXT_CLOSE, AT)
    assert isinstance(smaller, ModifyOrderEvent)
    assert smaller.order.quantity == 100


def test_the_custodian_cancels_our_stop_over_shares_that_are_all_of_others() -> None:
    steps = next_steps(Custody(SLV, -50, (working("stop", 100),), foreign=-150), NEXT_CLOSE, AT)
    assert [type(step).__name__ for step in steps] == ["CancelEvent"]


def test_a_split_is_so_many_times_as_many_shares_at_a_price_so_many_times_lower() -> None:
    assert split_ratio(100, 400, D("100"), D("25")) == "4:1"
    assert split_ratio(100, 400, D("100"), D("27.30")) == "4:1"
    assert split_ratio(-100, -300, D("90"), D("30")) == "3:1"
    assert split_ratio(100, 25, D("25"), D("98")) == "1:4"
    assert split_ratio(103, 25, D("25"), D("98")) == "1:4", "a fraction is paid out"


def test_what_a_person_bought_is_no_split() -> None:
    assert split_ratio(100, 400, D("100"), D("99")) is None
    assert split_ratio(100, 350, D("100"), D("28")) is None
    assert split_ratio(100, -400, D("100"), D("25")) is None
    assert split_ratio(100, 0, D("100"), D("25")) is None
    assert split_ratio(0, 100, D("100"), D("25")) is None
    assert split_ratio(100, 60, D("100"), D("99")) is None


def late_fill_beside_a_strangers_shares() -> tuple[Desk, tuple[BrokerCommand, ...]]:
    """A person has bought 110 where we were short 100; then our cancelled target buys 20 after all."""
    desk = Desk.ready().entered("SHORT")
    desk.say(desk.execution(None, Side.BUY, 110, "99"))
    for role in (STOP, TARGET):
        desk.told(ref(role), OrderStatus.CANCELLED)
    assert (desk.state.trade, desk.state.foreign, desk.position) == (None, 10, 10)
    return desk, desk.say(desk.execution(ref(TARGET), Side.BUY, 20, "99"))


def test_a_late_fill_beside_a_strangers_shares_closes_its_own_and_leaves_theirs() -> None:
    """Fault seed 91: the close took the stranger's shares as well."""
    desk, said = late_fill_beside_a_strangers_shares()
    (placed,) = [command for command in said if isinstance(command, PlaceOrders)]
    (close,) = placed.orders
    assert (close.side, close.quantity) == (Side.SELL, 20)
    desk.told(close.ref, OrderStatus.SUBMITTED)
    desk.fills(close.ref, 20, "99")
    assert (desk.state.trade, desk.state.foreign, desk.position) == (None, 10, 10)


def test_beside_a_strangers_shares_no_trade_begins_also_when_the_hold_is_lifted() -> None:
    desk, said = late_fill_beside_a_strangers_shares()
    (placed,) = [command for command in said if isinstance(command, PlaceOrders)]
    desk.fills(placed.orders[0].ref, 20, "99")
    desk.say(LiftHold(desk.at, "someone", "seen"))
    assert desk.state.held == ""
    desk.wait(400)
    desk.quote(99.98, 100.0)
    desk.signal("BUY", "s2")
    assert desk.verdicts()[-1] == ("s2", "foreign_shares")
    desk.say(desk.execution(None, Side.SELL, 10, "99"))
    desk.say(LiftHold(desk.at, "someone", "they have sold"))
    assert desk.signal("BUY", "s3") != ()
