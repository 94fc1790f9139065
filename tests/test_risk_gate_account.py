"""The gate and the account: what positions and working orders can come to, and what must stay free.

Each limit has its refusal, and an order just inside it that passes. All shares cost a hundred dollars.
"""

from __future__ import annotations

import json
from decimal import Decimal

import attrs
import pytest

from protocol.control_events import LimitTightenedEvent
from protocol.risk.figures import LimitFigure
from protocol.risk.words import AccountMoney, KillLevel
from protocol.trade_plan import AdditionPlan, TradePlan
from protocol.values import OrderStatus, Side
from tests.risk_room import GLD, METALS, SPY, D, Room, proposal
from tests.symbol_desk import SLV


def worth(dollars: int, excess: int | None = None) -> AccountMoney:
    return AccountMoney(D(dollars), D(dollars if excess is None else excess))


def poor(dollars: int, **limits: object) -> Room:
    """A room whose account is worth so much, all of it free."""
    room = Room(**{"min_excess_liquidity": 0.0, **limits})
    room.around.money = worth(dollars)
    return room


# --- R2: caps of a symbol -----------------------------------------------------------------------------

PLAN = TradePlan(scale_ins=(AdditionPlan(D(2), 50),), double_downs=(AdditionPlan(D(1), 80),))


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_position_quantity": 99}, "position_quantity"),
        ({"max_position_quantity": 100}, ""),
        ({"max_position_notional": D("9999.99")}, "position_notional"),
        ({"max_position_notional": D(10_000)}, ""),
    ],
)
def test_r2_a_position_is_only_so_large(limits: dict[str, object], code: str) -> None:
    assert Room(**limits).admits(proposal()) == code
    room = Room(**limits)
    assert room.code(room.enter()) == code


def test_r2_a_trade_that_could_not_be_completed_is_not_begun() -> None:
    for most, code in ((229, "position_quantity"), (230, "")):
        room = Room(max_position_quantity=most)
        assert room.admits(proposal(worst_quantity=230)) == code
        assert room.code(room.enter(plan=PLAN)) == code


def test_r2_working_orders_count_with_what_is_held() -> None:
    room = Room(max_position_quantity=180)
    room.open(quantity=100)
    assert room.admits(proposal(80, addition=True)) == ""
    assert room.admits(proposal(81, addition=True)) == "position_quantity"


# --- R3 -----------------------------------------------------------------------------------------------


def test_r3_gross_counts_longs_and_shorts_and_all_that_works() -> None:
    room = poor(10_000, max_net=None)
    room.open(SLV, Side.BUY, 150)
    assert room.code(room.enter(GLD, Side.SELL, 150)) == ""
    assert room.admits(proposal(101, symbol=SPY)) == "gross"
    assert room.admits(proposal(100, symbol=SPY)) == ""
    assert room.code(room.enter(SPY, quantity=101)) == "gross"
    room.conclude(SPY)
    assert room.code(room.enter(SPY, quantity=100)) == ""


@pytest.mark.parametrize("side", list(Side))
def test_r3_net_is_what_longs_come_to_when_all_shorts_are_closed(side: Side) -> None:
    room = poor(10_000, max_gross=None)
    room.open(SLV, side, 120)
    room.open(GLD, side.opposite, 100)
    assert room.admits(proposal(81, side, SPY)) == "net"
    assert room.admits(proposal(80, side, SPY)) == ""
    assert room.code(room.enter(SPY, side, 81)) == "net"
    room.conclude(SPY)
    assert room.code(room.enter(SPY, side, 80)) == ""


def test_r3_an_entry_that_takes_the_account_back_to_balance_passes() -> None:
    room = poor(10_000, max_gross=None)
    room.open(SLV, Side.BUY, 200)
    room.around.money = worth(9_000)
    assert room.admits(proposal(1, Side.BUY, SPY)) == "net"
    assert room.admits(proposal(100, Side.SELL, SPY)) == ""


def test_r3_a_sector_is_only_so_large() -> None:
    room = poor(10_000, max_sector=1.5)
    room.open(SLV, Side.BUY, 100)
    assert room.admits(proposal(51, Side.SELL, GLD)) == "sector"
    assert room.admits(proposal(50, Side.SELL, GLD)) == ""
    assert room.admits(proposal(51, Side.SELL, SPY)) == ""
    assert room.code(room.enter(GLD, Side.SELL, 51)) == "sector"
    room.conclude(GLD)
    assert room.code(room.enter(GLD, Side.SELL, 50)) == ""


def test_r3_only_so_many_symbols_are_held_or_entered() -> None:
    room = Room(max_positions=2)
    room.open(SLV)
    assert room.code(room.enter(GLD)) == ""
    assert room.admits(proposal(symbol=SPY)) == room.code(room.enter(SPY)) == "positions"
    assert room.admits(proposal(10, addition=True)) == ""


def test_r3_what_the_gate_refused_is_held_against_nobody() -> None:
    room = poor(10_000, max_net=None)
    assert room.code(room.enter(SLV, quantity=401)) == "gross"
    assert room.code(room.enter(GLD, quantity=400)) == ""


def test_r3_orders_that_wait_for_the_gate_count_for_those_who_ask_and_not_for_those_before_them() -> None:
    room = poor(10_000, max_net=None)
    first, second = room.enter(SLV, quantity=300), room.enter(GLD, quantity=300)
    assert room.admits(proposal(1, symbol=SPY)) == "gross"
    assert room.code(first) == ""
    assert room.code(second) == "gross"
    assert room.admits(proposal(100, symbol=SPY)) == ""


def test_r2_of_two_additions_that_wait_for_the_gate_the_first_is_judged_without_the_second() -> None:
    room = Room(max_position_quantity=180)
    room.open(quantity=100)
    first, second = (room.addition(80, 100 + number) for number in range(2))
    assert room.admits(proposal(1, addition=True)) == "position_quantity"
    assert (room.code(first), room.code(second)) == ("", "position_quantity")


def test_r3_a_cancelled_entry_counts_until_the_broker_has_said_that_it_is_gone() -> None:
    room = poor(10_000, max_net=None)
    command = room.enter(SLV, quantity=400)
    assert room.code(command) == ""
    entry = command.orders[0]
    room.told(entry, OrderStatus.PENDING_CANCEL)
    assert room.admits(proposal(1, symbol=SPY)) == "gross"
    room.told(entry, OrderStatus.CANCELLED)
    assert room.admits(proposal(400, symbol=SPY)) == ""


def test_r3_shares_that_a_status_spoke_of_count_before_their_execution_is_told() -> None:
    room = poor(10_000, max_net=None)
    command = room.enter(SLV, quantity=400)
    assert room.code(command) == ""
    room.told(command.orders[0], OrderStatus.CANCELLED, filled=300)
    for leg in command.orders[1:]:
        room.told(leg, OrderStatus.CANCELLED)
    assert room.admits(proposal(101, symbol=SPY)) == "gross"
    assert room.admits(proposal(100, symbol=SPY)) == ""
    room.fill(command.orders[0], 300)
    assert room.admits(proposal(101, symbol=SPY)) == "gross"
    assert room.admits(proposal(100, symbol=SPY)) == ""


def test_r3_the_larger_of_asked_and_confirmed_counts_while_a_change_is_on_its_way() -> None:
    room = poor(10_000, max_net=None)
    command = room.enter(SLV, quantity=300)
    assert room.code(command) == ""
    room.told(command.orders[0])
    smaller = room.modify(command.orders[0], quantity=100)
    assert room.code(smaller) == ""
    assert room.admits(proposal(101, symbol=SPY)) == "gross"
    room.told(smaller.order)
    assert room.admits(proposal(300, symbol=SPY)) == ""


def test_r3_an_order_that_outlives_its_trade_still_counts() -> None:
    room = poor(10_000, max_net=None)
    command = room.enter(SLV, quantity=400)
    assert room.code(command) == ""
    room.conclude()
    assert room.admits(proposal(1, symbol=SPY)) == "gross"
    for order in command.orders:
        room.told(order, OrderStatus.CANCELLED)
    assert room.admits(proposal(400, symbol=SPY)) == ""


@pytest.mark.parametrize("known", [None, D(0), D(-5)])
def test_r3_without_the_equity_nothing_is_entered_that_is_measured_by_it(known: Decimal | None) -> None:
    room = Room()
    room.around.money = AccountMoney(known, D(1_000_000))
    assert room.admits(proposal()) == room.code(room.enter()) == "no_equity"
    room = Room(max_gross=None, max_net=None, min_excess_liquidity=0.0)
    room.around.money = AccountMoney()
    assert room.admits(proposal()) == room.code(room.enter()) == ""


# --- R18 ----------------------------------------------------------------------------------------------


def test_r18_a_part_of_the_equity_stays_free() -> None:
    for excess, code in ((24_999, "excess_liquidity"), (25_000, "")):
        room = Room()
        room.around.money = worth(100_000, excess)
        assert room.admits(proposal()) == room.code(room.enter()) == code


def test_r18_without_the_figure_nothing_is_entered_that_is_measured_by_it() -> None:
    room = Room()
    room.around.money = AccountMoney(D(100_000))
    assert room.admits(proposal()) == "no_excess_liquidity"
    assert Room(min_excess_liquidity=0.0).admits(proposal()) == ""


def test_r18_a_burst_of_entries_shares_what_is_free() -> None:
    """TWS tells the figure every few minutes; what has been entered since is taken off it."""
    room = Room()
    room.around.money = worth(100_000, 30_000)
    room.open(SLV)
    assert room.code(room.enter(GLD)) == ""
    assert room.admits(proposal(1, symbol=SPY)) == "excess_liquidity"
    # Of the two, the new figure knows the one that has filled.
    room.around.money = worth(100_000, 25_000)
    assert room.admits(proposal(1, symbol=SPY)) == "excess_liquidity"
    room.around.money = worth(100_000, 25_100)
    assert room.admits(proposal(2, symbol=SPY)) == ""


# --- R21 ----------------------------------------------------------------------------------------------


def test_a_tightened_limit_holds_at_once_and_not_after_a_restart() -> None:
    event = LimitTightenedEvent(
        at=Room().at, name="max_positions", value="0", before="30", who="test", why="so"
    )
    room = Room()
    assert room.admits(proposal()) == ""
    room.gate.fold("risk", event)
    assert room.admits(proposal()) == "positions"
    room = Room()
    room.gate.fold("risk", event, replay=True)
    assert room.admits(proposal()) == ""


# --- the book -----------------------------------------------------------------------------------------


def test_a_correction_of_an_execution_of_an_earlier_trade_moves_the_position_by_its_difference() -> None:
    room = Room()
    entry, target, stop = room.open().orders
    room.fill(stop, price="97")
    room.conclude()
    book = room.gate.book
    assert book.position(SLV) == 0
    told = room.fill_event(entry, 60, exec_id="x1.02")
    room.journal(SLV, told, told)
    assert book.position(SLV) == -40
    room.journal(SLV, room.fill_event(entry, 100, exec_id="x1.03"), told)
    assert book.position(SLV) == 0
    assert target.side is Side.SELL


def test_what_is_forgotten_of_concluded_trades_is_all_but_their_executions() -> None:
    room = Room(repeat_guard_s=0.0, max_entries=10_000, max_order_messages=100_000)
    for _ in range(12):
        _, target, stop = room.open().orders
        for _ in range(100):
            room.fill(stop, 1, "97")
        room.told(target, OrderStatus.CANCELLED)
        room.conclude()
    book = room.gate.book
    assert list(book.live()) == []
    assert len(book.executions(SLV)) == 1000
    assert book.find(room.ref("stop")) is None


def test_the_same_events_in_one_go_or_replayed_make_the_same_book() -> None:
    room = Room()
    command = room.open()
    room.open(GLD, Side.SELL, 70)
    figures = room.gate.figures(room.around, at=room.at)
    room.told(command.orders[1])
    assert room.gate.figures(room.around, at=room.at) == figures


# --- figures ------------------------------------------------------------------------------------------


def test_the_figures_say_how_much_of_each_limit_is_used() -> None:
    room = Room(max_sector=1.0, max_position_quantity=200, max_position_notional=D(40_000))
    room.around.money = worth(100_000, 85_000)
    room.open(SLV, Side.BUY, 100)
    assert room.code(room.enter(SPY, Side.SELL, 50)) == ""
    room.level(KillLevel.REDUCE)
    figures = room.gate.figures(room.around, at=room.at)
    assert (figures.level, figures.positions) == (KillLevel.REDUCE, 1)
    assert (figures.gross, figures.gross_worst) == (D(10_000), D(15_000))
    assert (figures.net, figures.net_worst) == (D(10_000), D(10_000))
    assert figures.open_risk == D(300)
    limits = {(figure.name, figure.of): figure for figure in figures.limits}
    assert limits["max_gross", ""] == LimitFigure("R3", "max_gross", D(15_000), D(400_000))
    used = {name: figure.used for name, figure in limits.items()}
    assert used == {
        ("max_positions", ""): pytest.approx(2 / 30),
        ("max_gross", ""): 0.0375,
        ("max_net", ""): 0.05,
        ("max_sector", METALS): 0.1,
        ("max_sector", "funds"): 0.05,
        ("min_excess_liquidity", ""): 0.1875,
        ("max_position_quantity", SLV): 0.5,
        ("max_position_quantity", SPY): 0.25,
        ("max_position_notional", SLV): 0.25,
        ("max_position_notional", SPY): 0.125,
    }


def test_open_risk_is_the_way_to_the_stop_and_all_that_has_none() -> None:
    room = Room()
    _, _, stop = room.open(SLV, Side.SELL, 100).orders
    room.quote(SLV, bid=101.99, ask=102.01)
    (risk,) = room.gate.figures(room.around, at=room.at).symbols
    assert (risk.open_risk, risk.uncovered) == (D(100), 0)
    room.told(attrs.evolve(stop, quantity=60))
    assert room.code(room.modify(stop, quantity=60)) == ""
    (risk,) = room.gate.figures(room.around, at=room.at).symbols
    assert (risk.open_risk, risk.uncovered) == (60 + 40 * D(102), 40)


def test_a_stop_in_profit_is_no_risk() -> None:
    room = Room()
    _, _, stop = room.open().orders
    room.quote(SLV, bid=109.99, ask=110.01)
    moved = room.modify(stop, stop_price=D(105))
    assert room.code(moved) == ""
    room.told(moved.order)
    room.quote(SLV, bid=103.99, ask=104.01)
    (risk,) = room.gate.figures(room.around, at=room.at).symbols
    assert (risk.open_risk, risk.uncovered) == (D(0), 0)


def test_the_figures_are_plain_for_programs() -> None:
    room = Room()
    room.open()
    room.lock("SLV", 60)
    told = room.gate.figures(room.around, at=room.at).to_dict()
    assert json.loads(json.dumps(told, default=str))["level"] == "OPEN"
    assert (told["gross"], told["symbols"][0]["position"]) == (D(10_000), 100)
    assert told["locks"][0]["symbol"] == "SLV"
    assert {limit["name"] for limit in told["limits"]} == {
        "max_positions", "max_gross", "max_net", "min_excess_liquidity",
    }  # fmt: skip
