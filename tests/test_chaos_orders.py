"""The checkers of what leaves on the wire see what they are there for."""

from __future__ import annotations

import pytest

from protocol.chaos.checks_orders import (
    DeadIsDead,
    FlatBefore,
    GateOpen,
    IdsRise,
    JournalFirst,
    NoReplacement,
    NotStale,
    OneEntry,
    OneOrder,
    OnTheGrid,
    OurAccount,
    Pace,
    SwitchedOff,
    WithinThePlan,
)
from protocol.chaos.timeline import (
    Blow,
    FaultDone,
)
from protocol.control_events import KillLevelEvent
from protocol.events import (
    ActorStartedEvent,
    HoldEvent,
    LinkEvent,
    OrderStatusEvent,
)
from protocol.values import OrderStatus
from tests.chaos_script import AAA, SHARES, Script, enter, ref

# --- orders ---------------------------------------------------------------------------------------


def test_two_live_entries_are_seen() -> None:
    script = Script(OneEntry)
    script.accept("main", 1, action="BUY")
    assert script.broken() == []
    script.accept("main", 2, action="BUY", trade=2)
    assert "several live entries" in script.broken()[0]


def test_an_order_that_the_venue_took_twice_is_seen_unless_a_fault_doubled_it() -> None:
    for faults, broken in ((0, 1), (1, 0)):
        script = Script(OneOrder)
        first = script.accept("main", 1, action="BUY")
        script.end(first)
        script.accept("main", 2, action="BUY")
        for _ in range(faults):
            script.put(FaultDone(script.loop_s, script.at, "double_modify", ""))
        assert len(script.broken()) == broken


def test_a_twin_that_lives_on_is_seen() -> None:
    script = Script(OneOrder)
    script.put(FaultDone(script.loop_s, script.at, "double_modify", ""))
    script.accept("stop", 1, action="SELL")
    script.accept("stop", 2, action="SELL")
    script.later(60)
    assert "lived twice" in script.broken()[0]


def test_an_entry_passes_an_open_gate() -> None:
    script = Script(GateOpen)
    script.send("main")
    assert script.broken() == []
    assert script.checker.checked == 5


@pytest.mark.parametrize("age_s", [None, 11.0])
def test_an_entry_on_an_old_quote_is_seen(age_s: float | None) -> None:
    script = Script(GateOpen)
    script.send("main", age_s=age_s)
    assert "on a quote" in script.broken()[0]


def test_an_entry_of_a_held_symbol_is_seen() -> None:
    script = Script(GateOpen)
    script.journal("symbol:AAA", HoldEvent(at=script.at, symbol=AAA, reason="somebody else"))
    script.send("main")
    assert "was held" in script.broken()[0]


def test_an_entry_before_the_books_agree_is_seen() -> None:
    script = Script(GateOpen)
    script.journal("broker", LinkEvent(at=script.at, state="up", generation=2, reason=""))
    script.send("main")
    assert "last reconciled on 1" in script.broken()[0]


def test_an_entry_after_the_switch_is_seen() -> None:
    script = Script(SwitchedOff)
    script.journal("risk", KillLevelEvent(at=script.at, level=2, before=0, who="me", why="enough"))
    script.loop_s += 0.05
    script.send("main")
    assert script.broken() == []
    script.loop_s += 0.06
    script.send("main", order_id=2, trade=2)
    assert "while the kill level was 2" in script.broken()[0]
    script.journal("risk", KillLevelEvent(at=script.at, level=0, before=2, who="me", why="again"))
    script.send("main", order_id=3, trade=3)
    assert len(script.broken()) == 1


def test_an_entry_against_a_position_that_is_still_there_is_seen() -> None:
    script = Script(FlatBefore)
    enter(script)
    script.send("main", action="SELL", order_id=7, trade=2)
    assert "left while our orders held 100" in script.broken()[0]


def test_an_entry_beside_exits_of_the_old_trade_is_seen() -> None:
    script = Script(FlatBefore)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.send("main", order_id=7, trade=2)
    assert "still worked" in script.broken()[0]


def test_an_entry_in_place_of_one_that_lives_is_seen() -> None:
    script = Script(NoReplacement)
    script.accept("main", 1, action="BUY")
    script.send("main", order_id=7, trade=2)
    assert "was alive" in script.broken()[0]


def test_ids_that_fall_back_are_seen() -> None:
    script = Script(IdsRise)
    script.send("main", order_id=5)
    script.send("main", order_id=6, trade=2)
    assert script.broken() == []
    script.send("main", order_id=4, trade=3)
    script.send("main", order_id=5, trade=4)
    assert len(script.broken()) == 2


def test_an_order_that_is_not_in_the_journal_is_seen() -> None:
    script = Script(JournalFirst)
    script.send("main")
    assert "without an intent" in script.broken()[0]


def test_an_order_that_is_not_as_the_journal_has_it_is_seen() -> None:
    script = Script(JournalFirst)
    script.intend("main")
    script.send("main", quantity=101)
    assert "left for BUY 101, the journal has BUY 100" in script.broken()[0]


def test_an_order_that_left_oftener_than_it_was_asked_for_is_seen() -> None:
    script = Script(JournalFirst)
    script.intend("main")
    script.send("main")
    assert script.broken() == []
    script.send("main")
    assert "left 2 times" in script.broken()[0]


def test_a_cancel_that_nobody_asked_for_is_seen() -> None:
    script = Script(JournalFirst)
    script.intend("main")
    script.cancel(1)
    assert "the journal has 0" in script.broken()[0]


def test_the_order_of_a_dead_incarnation_is_seen() -> None:
    script = Script(NotStale)
    script.intend("main")
    script.journal("system", ActorStartedEvent(at=script.at, actor="symbol:AAA", epoch=2))
    script.send("main")
    assert "was asked for in (1, 0) and left in (1, 2)" in script.broken()[0]


@pytest.mark.parametrize(("disturbed", "bound_s"), [(False, 2.0), (True, 36.0)])
def test_an_order_that_we_believe_dead_and_that_lives_is_seen(disturbed: bool, bound_s: float) -> None:
    script = Script(DeadIsDead)
    if disturbed:
        script.strike(Blow.ACTOR, "kill_symbol", "symbol:AAA")
    script.accept("stop", 2, action="SELL", type_="STP")
    script.journal("symbol:AAA", OrderStatusEvent(
        at=script.at, ref=ref("stop"), status=OrderStatus.CANCELLED, perm_id=2, quantity=100, filled=0
    ))  # fmt: skip
    script.later(bound_s - 0.1)
    assert script.broken() == []
    script.later(1)
    assert "has lived on" in script.broken()[0]


def test_a_client_that_chatters_is_seen() -> None:
    script = Script(Pace)
    for number in range(46):
        script.loop_s += 0.01
        script.cancel(number)
    assert script.broken() == ["46 messages left within a second"]


def test_an_order_for_another_account_is_seen() -> None:
    script = Script(OurAccount)
    script.send("main")
    assert script.broken() == []
    script.send("main", account="U7654321")
    assert "U7654321" in script.broken()[0]


@pytest.mark.parametrize(("price", "faults"), [(10.01, 0), (10.011, 1), (-1.0, 1)])
def test_a_price_off_the_grid_is_seen(price: float, faults: int) -> None:
    script = Script(OnTheGrid)
    script.send("main", lmt_price=price)
    assert len(script.broken()) == faults


def test_more_than_the_plan_allows_is_seen() -> None:
    script = Script(WithinThePlan)
    script.accept("main", 1, action="BUY", quantity=SHARES)
    assert script.broken() == []
    script.accept("scale", 2, action="BUY", quantity=1)
    assert f"could come to hold {SHARES + 1}" in script.broken()[0]
