"""The last word before the wire: when nothing may be entered, and what must not be done twice.

Each limit has its refusal, and an order just inside it that passes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import NewOrderEvent, OrderSentEvent
from protocol.reports import LinkState
from protocol.risk.settings import CoolDown
from protocol.risk.words import ContractFacts, DataState, KillLevel
from protocol.values import CENT_GRID, MAIN, OrderSpec, OrderStatus, OrderType, Side, Symbol, TimeInForce
from tests.risk_room import GLD, SPY, D, Room, proposal
from tests.symbol_desk import SLV, TEN


def both(room: Room, side: Side = Side.BUY, symbol: Symbol = SLV) -> set[str]:
    """What the gate says to an entry when it is proposed, and when it is decided."""
    proposed = room.admits(proposal(side=side, symbol=symbol))
    return {proposed, room.code(room.enter(symbol, side))}


def test_a_plain_bracket_passes() -> None:
    assert both(Room()) == {""}
    assert both(Room(), Side.SELL) == {""}


# --- what is switched off ---------------------------------------------------------------------------


@pytest.mark.parametrize("level", [KillLevel.REDUCE, KillLevel.HALT, KillLevel.FLATTEN, KillLevel.SEVER])
def test_at_a_kill_level_nothing_is_entered_and_everything_can_be_closed(level: KillLevel) -> None:
    room = Room()
    entry, target, stop = room.open().orders
    room.level(level)
    assert both(room, symbol=GLD) == {"kill_level"}
    assert room.code(room.modify(stop, quantity=100, stop_price=D("98"))) == ""
    assert room.code(room.modify(target, limit_price=D("99.49"))) == ""
    assert room.code(CancelOrder(SLV, 1, entry.ref)) == ""


def test_below_the_first_kill_level_entries_pass() -> None:
    room = Room()
    room.level(KillLevel.OPEN)
    assert both(room) == {""}


def test_a_lock_holds_its_symbol_until_its_time_has_come() -> None:
    room = Room()
    room.lock("SLV", seconds=60)
    assert both(room) == {"locked"}
    assert both(room, symbol=GLD) == {""}
    room.wait(59.9)
    assert room.admits(proposal()) == "locked"
    room.wait(0.1)
    assert room.admits(proposal()) == ""


def test_a_lock_of_the_account_holds_all() -> None:
    room = Room()
    room.lock()
    assert both(room) == both(room, symbol=GLD) == {"locked"}


def test_a_cool_down_holds_before_its_lock_is_written() -> None:
    room = Room(protections=(CoolDown(lock_s=300.0),))
    _, target, stop = room.open().orders
    room.wait(10)
    room.fill(stop, price="97")
    room.told(stop, OrderStatus.FILLED, 100)
    room.told(target, OrderStatus.CANCELLED)
    room.conclude()
    room.wait(299)
    assert room.admits(proposal()) == "locked"
    room.wait(1)
    assert room.admits(proposal()) == ""


# --- R19, R15, R16 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [LinkState.DOWN, LinkState.HELD])
def test_r19_nothing_is_entered_before_the_books_are_compared(state: LinkState) -> None:
    room = Room()
    room.around.state = state
    assert both(room) == {"not_reconciled"}
    room.around.state = LinkState.UP
    assert room.admits(proposal()) == ""


@pytest.mark.parametrize(
    ("moment", "code"),
    [
        (datetime(2025, 9, 26, 13, 29, 59, tzinfo=UTC), "session"),
        (datetime(2025, 9, 26, 13, 30, tzinfo=UTC), ""),
        (datetime(2025, 9, 26, 19, 44, 59, tzinfo=UTC), ""),
        (datetime(2025, 9, 26, 19, 45, tzinfo=UTC), "session"),
        (datetime(2025, 9, 27, 15, 0, tzinfo=UTC), "session"),
        (datetime(2025, 11, 27, 15, 0, tzinfo=UTC), "session"),
        (datetime(2025, 11, 28, 17, 44, 59, tzinfo=UTC), ""),
        (datetime(2025, 11, 28, 17, 45, tzinfo=UTC), "session"),
    ],
    ids=["early", "open", "inside", "late", "saturday", "thanksgiving", "half day", "late on a half day"],
)
def test_r15_entries_keep_to_the_session(moment: datetime, code: str) -> None:
    room = Room()
    room.at = moment
    room.wait(0)
    assert both(room) == {code}


def test_r16_only_symbols_of_the_configuration_are_entered() -> None:
    assert both(Room(GLD)) == {"not_allowed"}
    assert both(Room(SLV)) == {""}


def test_r16_a_restricted_symbol_is_not_entered() -> None:
    assert both(Room(restricted=(SLV,))) == {"restricted"}
    assert both(Room(restricted=(GLD,))) == {""}


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (None, "contract_unknown"),
        (ContractFacts(0, "USD", "SMART", CENT_GRID), "contract_unknown"),
        (ContractFacts(1, "CAD", "SMART", CENT_GRID), "currency"),
        (ContractFacts(1, "USD", "SMART", CENT_GRID), ""),
    ],
)
def test_r16_the_contract_is_confirmed_and_in_our_currency(facts: ContractFacts | None, code: str) -> None:
    room = Room()
    if facts is None:
        del room.around.facts[SLV]
    else:
        room.around.facts[SLV] = facts
    assert both(room) == {code}


# --- R6 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"heard_at": TEN - timedelta(seconds=5.001)}, "stale_quote"),
        ({"heard_at": TEN - timedelta(seconds=5)}, ""),
        ({"heard_at": None}, "no_quote"),
        ({"bid": None}, "no_quote"),
        ({"ask": 0.0}, "no_quote"),
        ({"ask": float("nan")}, "no_quote"),
        ({"ask": 1e300}, "no_quote"),
        ({"bid": 100.01}, "crossed_quote"),
        ({"bid": 100.0}, ""),
        ({"bid": 99.0}, "wide_spread"),
        ({"bid": 99.01}, ""),
        ({"halted": True}, "halted"),
        *(({"data": state}, f"data_{state.value}") for state in DataState if state is not DataState.LIVE),
        ({"data": DataState.LIVE}, ""),
    ],
)
def test_r6_the_quote_is_live_fresh_uncrossed_and_narrow(changes: dict[str, object], code: str) -> None:
    room = Room()
    room.quote(SLV, **changes)
    assert both(room) == {code}


def test_r6_without_a_line_there_is_no_entry() -> None:
    room = Room()
    del room.around.quotes[SLV]
    assert both(room) == {"no_quote"}


# --- R7, R8, R17 --------------------------------------------------------------------------------------


def ended(room: Room, command: PlaceOrders) -> None:
    """The broker has cancelled all of it, and the trade is over."""
    for order in command.orders:
        room.told(order, OrderStatus.CANCELLED)
    room.conclude(command.symbol)


def test_r7_two_main_entries_of_a_symbol_keep_their_distance() -> None:
    room = Room()
    first = room.enter()
    assert room.code(first) == ""
    ended(room, first)
    room.wait(1.999)
    assert both(room) == {"repeat"}
    room.conclude()
    room.wait(0.001)
    assert room.admits(proposal()) == room.code(room.enter()) == ""


def test_r7_the_distance_holds_over_a_restart() -> None:
    room = Room()
    first = room.enter()
    room.gate.fold("broker", OrderSentEvent(at=room.at, ref=first.orders[0].ref, order_id=1, client_id=1))
    ended(room, first)
    assert both(room) == {"repeat"}


def test_r7_an_entry_that_the_gate_refused_is_no_first_one() -> None:
    room = Room()
    room.quote(SLV, halted=True)
    refused = room.enter()
    assert room.code(refused) == "halted"
    room.quote(SLV, halted=False)
    room.conclude()
    assert both(room) == {""}


def test_r7_no_main_entry_while_one_lives_or_a_position_is_held() -> None:
    room = Room()
    first = room.enter()
    assert room.code(first) == ""
    room.wait(10)
    assert room.admits(proposal()) == "main_lives"
    second = attrs.evolve(first.orders[0], ref=room.ref(MAIN, revision=1))
    room.journal(SLV, NewOrderEvent(at=room.at, ref=second.ref, order=second))
    assert room.code(PlaceOrders(SLV, 1, (second,))) == "main_lives"
    room.fill(first.orders[0])
    assert room.admits(proposal()) == "position_held"


def test_r8_a_signal_leads_to_one_trade_ever() -> None:
    room = Room()
    first = room.enter(signal_id="a")
    assert room.code(first) == ""
    ended(room, first)
    room.wait(3600)
    assert room.admits(proposal(signal_id="a")) == "signal_used"
    assert room.code(room.enter(signal_id="a")) == "signal_used"
    room.conclude()
    assert room.admits(proposal(signal_id="b")) == room.code(room.enter(signal_id="b")) == ""


def test_r8_ids_of_other_symbols_are_other_signals() -> None:
    room = Room()
    assert room.code(room.enter(signal_id="a")) == ""
    assert room.code(room.enter(GLD, signal_id="a")) == ""


def test_r17_nothing_is_entered_against_a_position_of_ours() -> None:
    room = Room()
    room.open()
    room.wait(10)
    addition = proposal(50, Side.SELL, addition=True)
    assert room.admits(addition) == "opposite_position"
    assert room.admits(attrs.evolve(addition, side=Side.BUY)) == ""


def test_r17_nothing_is_entered_against_an_order_of_ours() -> None:
    room = Room()
    assert room.code(room.enter()) == ""
    addition = proposal(50, Side.SELL, addition=True)
    assert room.admits(addition) == "self_cross"
    assert room.admits(attrs.evolve(addition, side=Side.BUY)) == ""


# --- R9 ---------------------------------------------------------------------------------------------


def test_r9_entries_wait_when_too_many_messages_have_left_and_cancels_never_do() -> None:
    room = Room()
    first = room.enter()
    assert room.code(first) == ""
    cancel = CancelOrder(SLV, 1, first.orders[0].ref)
    assert [room.code(cancel) for _ in range(34)] == [""] * 34
    ended(room, first)
    room.wait(5)
    # 37 have left: a bracket of three more makes forty.
    inside = room.enter()
    assert room.code(inside) == ""
    ended(room, inside)
    room.wait(4.999)
    assert room.code(room.enter()) == "message_throttle"
    assert room.code(cancel) == ""
    room.conclude()
    room.wait(0.001)
    assert room.code(room.enter()) == ""


def test_r9_every_leg_of_a_bracket_is_a_message() -> None:
    for most, code in ((2, "message_throttle"), (3, "")):
        room = Room(max_order_messages=most)
        assert room.code(room.enter()) == code


def test_r9_stops_and_closes_count_and_are_never_refused() -> None:
    room = Room()
    _, target, stop = room.open().orders
    for number in range(100):
        assert room.code(room.modify(stop, stop_price=D("97") + D(number) / 100)) == ""
    assert room.code(room.modify(target, limit_price=D("99.50"))) == ""


def test_r9_a_symbol_enters_only_so_often_in_market_time() -> None:
    room = Room(repeat_guard_s=0.0, max_order_messages=1000)
    for _ in range(10):
        command = room.enter()
        assert room.code(command) == ""
        ended(room, command)
    assert room.code(room.enter()) == "entry_throttle"
    assert room.code(room.enter(GLD)) == ""
    room.conclude()
    room.wait(10)
    assert room.code(room.enter()) == ""


# --- what the journal says ----------------------------------------------------------------------------


def test_an_entry_that_is_not_in_the_journal_does_not_leave() -> None:
    room = Room()
    orders = room.bracket()
    assert room.code(PlaceOrders(SLV, 1, orders)) == "no_intent"
    assert room.code(room.decide(orders)) == ""


def test_r16_an_order_goes_to_the_contract_that_it_is_for() -> None:
    room = Room()
    command = room.enter()
    _, _, stop = command.orders
    assert room.code(attrs.evolve(command, symbol=GLD)) == "wrong_symbol"
    assert room.code(command) == ""
    assert room.code(ModifyOrder(GLD, 1, stop)) == "wrong_symbol"
    assert room.code(ModifyOrder(SLV, 1, stop)) == ""


def test_an_entry_of_a_trade_that_is_over_does_not_leave() -> None:
    room = Room()
    late = room.enter()
    room.conclude()
    assert room.code(late) == "no_intent"


def test_what_has_left_before_is_not_judged_again() -> None:
    room = Room()
    command = room.enter()
    assert room.code(command) == ""
    room.around.state = LinkState.DOWN
    assert room.code(command) == ""


def test_a_change_of_an_entry_passes_the_limits_and_one_that_makes_it_smaller_always() -> None:
    room = Room()
    bracket = room.bracket()
    entry = attrs.evolve(bracket[0], type=OrderType.LIMIT, limit_price=D("100"))
    assert room.code(room.decide((entry, *bracket[1:]))) == ""
    room.told(entry)
    room.quote(SLV, halted=True)
    assert room.code(room.modify(entry, limit_price=D("100.50"))) == "halted"
    assert room.code(room.modify(entry, quantity=60)) == ""
    room.quote(SLV, halted=False)
    assert room.code(room.modify(entry, limit_price=D("104"))) == "price_collar"
    assert room.code(room.modify(entry, limit_price=D("100.50"))) == ""
    assert room.code(room.modify(entry, quantity=101)) == "plan_exceeded"


def test_cancels_pass_whatever_holds() -> None:
    room = Room(GLD)
    room.level(KillLevel.SEVER)
    room.lock()
    room.around.state = LinkState.DOWN
    room.around.quotes.clear()
    assert room.code(CancelOrder(SPY, 1, room.ref(MAIN, SPY))) == ""


def test_a_change_of_a_stop_needs_no_quote_no_hour_and_no_money() -> None:
    room = Room()
    _, _, stop = room.open().orders
    room.lock()
    room.around.money = attrs.evolve(room.around.money, equity=None, excess_liquidity=None)
    room.around.quotes.clear()
    room.at = datetime(2025, 9, 27, 15, 0, tzinfo=UTC)
    assert room.code(room.modify(stop, stop_price=D("98"))) == ""
    close = OrderSpec(room.ref("close"), Side.SELL, 100, OrderType.MARKET, TimeInForce.DAY)
    assert room.code(room.decide((close,))) == ""


def test_every_refusal_names_its_control_and_says_why() -> None:
    room = Room(max_order_quantity=99)
    refused = room.judge(room.enter())
    assert refused is not None
    assert (refused.control, refused.code) == ("R1", "order_quantity")
    assert refused.reason == "100 shares are over the limit 99"
