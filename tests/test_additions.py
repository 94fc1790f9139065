"""What is added to a live trade, and how the exits keep up: levels, names, ratchets, parts."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from protocol.commands import CancelOrder, Flatten, ModifyOrder, PlaceOrders
from protocol.events import NewOrderEvent, PositionAdjustEvent
from protocol.rules.actions import (
    Breakeven,
    DoubleDownLevel,
    Enter,
    ScaleLevel,
    TargetPart,
    Trailing,
)
from protocol.rules.amounts import Amount, Multiple, Percent, Shares
from protocol.symbol_state import evolve
from protocol.values import CLOSE, DOUBLEDOWN, MAIN, SCALE, STOP, TARGET, OrderRef, OrderStatus, Side
from tests.symbol_desk import LONG, SHORT, SLV, Desk, ref

D = Decimal
S = OrderStatus
BOTH = pytest.mark.parametrize("word", ["BUY", "SHORT"])


def desk_with(entry: Enter) -> Desk:
    """Both sides enter so; the quote is 99.98 to 100.00."""
    rules = tuple(
        attrs.evolve(rule, then=attrs.evolve(entry, side=side))
        for rule, side in ((LONG, Side.BUY), (SHORT, Side.SELL))
    )
    return Desk.ready(rules=rules)


def entered(entry: Enter, word: str = "BUY") -> Desk:
    """A trade of 100 at 100.00, entered whole."""
    return desk_with(entry).entered(word, price="100")


def move(desk: Desk, word: str, percent: str) -> None:
    """The market goes so far in favour of the trade (against it, where negative)."""
    sign = 1 if word == "BUY" else -1
    price = float(D(100) * (1 + sign * D(percent) / 100))
    desk.book = (round(price - 0.01, 2), round(price + 0.01, 2))
    desk.wait(0.6)


def added(desk: Desk, role: str) -> list[tuple[OrderRef, int]]:
    """Every order of a role that was ever asked for, with its level."""
    news = [event.order for event in desk.events if isinstance(event, NewOrderEvent)]
    return [(order.ref, order.index) for order in news if order.ref.role == role]


def filled(desk: Desk, role: str, quantity: int, price: str, revision: int = 0) -> None:
    asked = ref(role, revision=revision)
    desk.told(asked)
    desk.fills(asked, quantity, price)
    desk.told(asked, S.FILLED, quantity)


TWO_DOUBLES = Enter(
    Side.BUY, double_down=(DoubleDownLevel(0.3, Multiple(0.5)), DoubleDownLevel(0.6, Multiple(0.7)))
)


@BOTH
def test_two_levels_of_double_downs_are_two_orders_with_names_of_their_own(word: str) -> None:
    desk = entered(TWO_DOUBLES, word)
    assert added(desk, DOUBLEDOWN) == [(ref(DOUBLEDOWN), 0), (ref(DOUBLEDOWN, revision=1), 1)]


@BOTH
def test_two_scale_ins_that_are_due_at_once_are_two_orders_with_names_of_their_own(word: str) -> None:
    levels = (ScaleLevel(Percent(0.01), Shares(25)), ScaleLevel(Percent(0.02), Shares(30)))
    desk = entered(Enter(Side.BUY, scale_in=levels), word)
    move(desk, word, "2.5")
    assert added(desk, SCALE) == [(ref(SCALE), 0), (ref(SCALE, revision=1), 1)]


@BOTH
def test_a_level_is_used_once_also_when_its_order_has_filled(word: str) -> None:
    desk = entered(TWO_DOUBLES, word)
    filled(desk, DOUBLEDOWN, 50, "99" if word == "BUY" else "101")
    desk.wait(10)
    assert len(added(desk, DOUBLEDOWN)) == 2
    assert desk.quantity(STOP) == desk.quantity(TARGET) == 150


def test_a_level_is_used_once_also_when_its_order_has_died() -> None:
    desk = entered(TWO_DOUBLES)
    desk.told(ref(DOUBLEDOWN))
    desk.told(ref(DOUBLEDOWN), S.CANCELLED)
    desk.wait(10)
    assert len(added(desk, DOUBLEDOWN)) == 2


def test_a_double_down_that_fills_in_part_grows_the_exits_with_every_part() -> None:
    desk = entered(Enter(Side.BUY, double_down=(DoubleDownLevel(0.5),)))
    desk.told(ref(DOUBLEDOWN))
    for part, total in ((60, 160), (40, 200)):
        desk.fills(ref(DOUBLEDOWN), part, "98.50")
        assert desk.quantity(STOP) == desk.quantity(TARGET) == total


@BOTH
def test_a_stop_that_has_executed_in_part_grows_with_an_addition(word: str) -> None:
    desk = entered(Enter(Side.BUY, double_down=(DoubleDownLevel(0.5),)), word)
    desk.fills(ref(STOP), 30, "97" if word == "BUY" else "103")
    desk.told(ref(STOP), S.SUBMITTED, 30)
    desk.told(ref(TARGET), quantity=70)
    filled(desk, DOUBLEDOWN, 100, "98.50" if word == "BUY" else "101.50")
    assert abs(desk.position) == 170
    assert (desk.quantity(STOP), desk.quantity(TARGET)) == (200, 170)


@BOTH
def test_a_stop_that_was_ratcheted_is_not_loosened_by_the_average_of_an_addition(word: str) -> None:
    entry = Enter(
        Side.BUY, trail=Trailing(Amount(D("1.00"))), scale_in=(ScaleLevel(Percent(0.02), Shares(100)),)
    )
    desk = entered(entry, word)
    move(desk, word, "2.5")
    tight = desk.order(ref(STOP)).spec.stop_price
    assert tight is not None
    assert tight == D("101.49" if word == "BUY" else "98.51")
    filled(desk, SCALE, 100, "102.51" if word == "BUY" else "97.49")
    move(desk, word, "2.0")
    stop = desk.order(ref(STOP)).spec
    assert (stop.quantity, stop.stop_price) == (200, tight)


@BOTH
def test_what_adjusts_a_stop_never_takes_its_ratchet_back(word: str) -> None:
    desk = entered(Enter(Side.BUY, breakeven=Breakeven(Percent(0.01))), word)
    move(desk, word, "1.5")
    assert desk.trade.ratchet == D(100)
    looser = PositionAdjustEvent(
        at=desk.at, symbol=SLV, trade=1, reason="by hand", ratchet=D("99.5" if word == "BUY" else "100.5")
    )
    after = evolve(desk.state, looser).trade
    assert after is not None
    assert after.ratchet == D(100)


def test_a_short_is_rescaled_when_its_entry_ends_early() -> None:
    desk = desk_with(Enter(Side.SELL))
    desk.signal("SHORT")
    desk.bracket_taken()
    desk.fills(ref(MAIN), 40, "100")
    said = desk.told(ref(MAIN), S.CANCELLED)
    assert [(c.order.ref.role, c.order.quantity, c.order.stop_price or c.order.limit_price)
            for c in said if isinstance(c, ModifyOrder)] == [
        (STOP, 40, D("103.00")), (TARGET, 40, D("92.01")),
    ]  # fmt: skip


# --- parts of the position ------------------------------------------------------------------------

HALVES = Enter(Side.BUY, targets=(TargetPart(Percent(0.02), 0.5), TargetPart(Percent(0.05), 0.5)))


def test_the_exits_of_each_part_share_a_group_and_no_two_parts_do() -> None:
    desk = entered(HALVES)
    groups = [{o.spec.oca_group for o in desk.trade.live_exits if o.spec.index == index} for index in (0, 1)]
    assert groups == [{"t:SLV:000001"}, {"t:SLV:000001:1"}]


def test_a_target_of_one_part_takes_nothing_off_the_other() -> None:
    desk = entered(HALVES)
    desk.fills(ref(TARGET), 50, "102")
    desk.told(ref(TARGET), S.FILLED, 50)
    desk.told(ref(STOP), S.CANCELLED)
    desk.wait(5)
    assert (desk.position, desk.quantity("stop.1"), desk.quantity("target.1")) == (50, 50, 50)
    assert [order.role for order in desk.trade.live_exits] == ["target.1", "stop.1"]


def test_parts_that_are_closed_at_the_market_have_closes_with_names_of_their_own() -> None:
    desk = entered(HALVES)
    for role in (TARGET, "target.1"):
        desk.told(ref(role), S.CANCELLED)
    said = desk.say(Flatten(desk.at, "close all"))
    placed = [order for command in said if isinstance(command, PlaceOrders) for order in command.orders]
    assert [(order.ref, order.quantity, order.oca_group) for order in placed] == [
        (ref(CLOSE), 50, "t:SLV:000001"),
        (ref(CLOSE, revision=1), 50, "t:SLV:000001:1"),
    ]


def test_a_close_cancels_the_additions_that_rest() -> None:
    desk = entered(TWO_DOUBLES)
    for revision in (0, 1):
        desk.told(ref(DOUBLEDOWN, revision=revision))
    said = desk.say(Flatten(desk.at, "close all"))
    assert [command for command in said if isinstance(command, CancelOrder)] == [
        CancelOrder(SLV, 1, ref(DOUBLEDOWN, revision=revision)) for revision in (0, 1)
    ]
