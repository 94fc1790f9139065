"""Each checker of fault runs sees what it is there for: a timeline in which its law is broken, and one in
which it is not."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
import pytest

from protocol.chaos.checks_books import AnsweredOnce, EqualBooks, NothingLost, SameByReplay
from protocol.chaos.checks_life import ComesRight, LinkStays, Mended, NoCrash, Noticed, Recorded
from protocol.chaos.checks_protection import Covered, NoOrphans, NotBeyond, OutlivesTheDay, StopsStay
from protocol.chaos.timeline import (
    Blow,
    Compared,
    Connected,
    FaultDone,
    Healed,
    Looked,
    ProcessEnded,
    SymbolStanding,
)
from protocol.chaos.verdict import CHECKERS
from protocol.events import (
    ActorExitedEvent,
    ActorStartedEvent,
    HoldEvent,
    LinkEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    PredictionSignalEvent,
)
from protocol.values import Side
from tests.chaos_script import AAA, Script, enter

# --- protection -----------------------------------------------------------------------------------


def test_a_position_without_its_stop_is_seen_after_two_seconds() -> None:
    script = Script(Covered)
    enter(script)
    script.later(1.9)
    assert script.broken() == []
    script.later(0.3)
    assert "a position of 100, ours 100, had stops of 0" in script.broken()[0]


def test_a_position_with_its_stop_is_covered_and_counts_as_a_test() -> None:
    script = Script(Covered)
    script.accept("stop", 2, action="SELL", type_="STP")
    enter(script)
    script.later(60)
    assert script.broken() == []
    assert script.checker.checked > 0


def test_a_stop_that_is_smaller_than_the_position_does_not_cover_it() -> None:
    script = Script(Covered)
    script.accept("stop", 2, action="SELL", type_="STP", quantity=99)
    enter(script)
    script.later(3)
    assert len(script.broken()) == 1


def test_what_somebody_else_added_is_not_ours_to_cover() -> None:
    script = Script(Covered)
    script.execute(script.order("main", 9, action="BUY"), "f.01", 100, own=False)
    script.later(60)
    assert script.broken() == []


def take_off(script: Script) -> None:
    """Somebody else sells what is ours."""
    script.execute(script.order("main", 8, action="SELL"), "f.01", 0, own=False)


def test_shares_of_others_after_ours_were_taken_off_are_not_ours_once_our_exits_are_gone() -> None:
    """A liquidation, then a person who buys again (seed 552)."""
    script = Script(Covered)
    enter(script)
    stop = script.accept("stop", 2, action="SELL", type_="STP")
    take_off(script)
    script.later(20)
    script.end(stop)
    script.execute(script.order("main", 9, action="BUY"), "f.02", 100, own=False)
    script.later(60)
    assert script.broken() == []


def test_a_close_that_crosses_a_strangers_trade_leaves_shares_that_are_theirs() -> None:
    script = Script(Covered)
    enter(script)
    close = script.accept("close", 2, action="SELL")
    take_off(script)
    script.execute(close, "g.01", -100)
    script.later(60)
    assert script.broken() == []


def test_time_without_a_link_is_nobodys_fault() -> None:
    script = Script(Covered)
    enter(script)
    script.journal("broker", LinkEvent(at=script.at, state="down", generation=1, reason="lost"))
    script.later(600)
    assert script.broken() == []


def test_a_disturbed_system_has_fifteen_seconds() -> None:
    script = Script(Covered)
    enter(script)
    script.put(FaultDone(script.loop_s, script.at, "reject_order", ""))
    script.later(14)
    assert script.broken() == []
    script.later(2)
    assert len(script.broken()) == 1


def test_exits_that_could_turn_the_position_around_are_seen() -> None:
    script = Script(NotBeyond)
    enter(script)
    script.accept("stop", 2, action="SELL", type_="STP", group="g")
    script.accept("target", 3, action="SELL", type_="LMT", group="g")
    script.later(10)
    assert script.broken() == []
    script.accept("close", 4, action="SELL")
    script.later(10)
    assert "exits could close 200 of a position of 100" in script.broken()[0]


def test_an_exit_without_a_position_is_an_orphan() -> None:
    script = Script(NoOrphans)
    entry = script.accept("main", 1, action="BUY")
    script.accept("stop", 2, action="SELL", type_="STP")
    script.later(60)
    assert script.broken() == []
    script.end(entry)
    script.later(3)
    assert "AAA is flat" in script.broken()[0]


def test_exits_of_a_position_that_somebody_else_closed_have_until_the_next_poll() -> None:
    script = Script(NoOrphans)
    enter(script)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.execute(script.order("main", 9, action="SELL"), "f.01", 0, own=False)
    script.later(35)
    assert script.broken() == []
    script.later(2)
    assert len(script.broken()) == 1


def test_the_last_stop_of_a_position_is_not_cancelled_for_nothing() -> None:
    script = Script(StopsStay)
    enter(script)
    script.intend("stop", order_id=2)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.cancel(2)
    assert len(script.broken()) == 1


def test_the_last_stop_may_go_when_the_position_is_being_closed() -> None:
    script = Script(StopsStay)
    enter(script)
    script.intend("stop", order_id=2)
    script.accept("stop", 2, action="SELL", type_="STP")
    script.journal(
        "symbol:AAA", PositionUpdateEvent(at=script.at, symbol=AAA, trade=1, reason="its time is over")
    )
    script.cancel(2)
    assert script.broken() == []


@pytest.mark.parametrize(("tif", "faults"), [("GTC", 0), ("DAY", 1), ("", 1)])
def test_a_stop_that_ends_with_the_day_is_seen(tif: str, faults: int) -> None:
    script = Script(OutlivesTheDay)
    script.accept("stop", 2, action="SELL", type_="STP", tif=tif)
    assert len(script.broken()) == faults


# --- books ----------------------------------------------------------------------------------------


def test_books_that_differ_are_seen() -> None:
    script = Script(EqualBooks)
    enter(script)
    script.later(1)
    script.fill("e.01")
    script.later(10)
    assert script.broken() == []
    script.hold_position(90)
    script.later(3)
    assert "our books had 100, the venue 90" in script.broken()[0]


def test_an_execution_that_never_came_is_seen() -> None:
    script = Script(NothingLost)
    enter(script)
    assert "e.01" in script.broken()[0]


def test_an_execution_in_an_old_revision_is_seen() -> None:
    script = Script(NothingLost)
    enter(script)
    script.fill("e.01")
    order = script.order("main", 1, action="BUY")
    script.execute(order, "e.02", 100)
    assert "e.02" in script.broken()[0]


def test_an_execution_that_never_was_is_seen() -> None:
    script = Script(NothingLost)
    script.fill("x.01")
    assert "never were" in script.broken()[0]


def signal(script: Script, *, age_s: float = 1.0) -> None:
    script.journal("signals", PredictionSignalEvent(
        at=script.at, symbol=AAA, signal_id="s", source="chaos", signal="BUY", confidence=0.9,
        predicted_at=script.at - timedelta(seconds=age_s),
    ))  # fmt: skip


def act(script: Script) -> None:
    script.journal("symbol:AAA", PositionOpenEvent(
        at=script.at, symbol=AAA, trade=1, side=Side.BUY, quantity=1, stop_distance=Decimal(1),
        target_distance=None, signal_id="s", rule="r",
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("age_s", "times", "word"), [(1.0, 2, "acted on 2 times"), (90.0, 1, "90 s old"), (-60.0, 1, "-60 s old")]
)
def test_a_signal_that_is_acted_on_twice_or_at_the_wrong_time_is_seen(
    age_s: float, times: int, word: str
) -> None:
    script = Script(AnsweredOnce)
    signal(script, age_s=age_s)
    for _ in range(times):
        act(script)
    assert any(word in what for what in script.broken())


def test_a_replay_that_gives_another_state_is_seen() -> None:
    script = Script(SameByReplay)
    script.put(Compared(script.loop_s, script.at, AAA, same=True))
    assert script.broken() == []
    script.put(Compared(script.loop_s, script.at, AAA, same=False))
    assert len(script.broken()) == 1


# --- life -----------------------------------------------------------------------------------------


def exited(script: Script, exit_: str, reason: str = "") -> ActorExitedEvent:
    return ActorExitedEvent(
        at=script.at, actor="symbol:AAA", epoch=1, exit=exit_, reason=reason, decision="restart", delay_s=0.0
    )


@pytest.mark.parametrize(
    ("exit_", "reason", "faults"),
    [("killed", "", 0), ("crash", "JournalFailed: full", 0), ("crash", "KeyError: 'x'", 1), ("stuck", "", 1)],
)
def test_a_crash_that_nobody_injected_is_seen(exit_: str, reason: str, faults: int) -> None:
    script = Script(NoCrash)
    script.journal("system", exited(script, exit_, reason))
    assert len(script.broken()) == faults


def test_a_process_that_ends_by_itself_is_seen() -> None:
    script = Script(NoCrash)
    script.put(ProcessEnded(script.loop_s, 1, "crash_at_once", expected=True))
    assert script.broken() == []
    script.put(ProcessEnded(script.loop_s, 1, "TreeGaveUp", expected=False))
    assert len(script.broken()) == 1


def test_a_death_that_is_not_recorded_and_not_mended_is_seen() -> None:
    for kind in (Recorded, Mended):
        script = Script(kind)
        script.strike(Blow.ACTOR, "kill_symbol", "symbol:AAA")
        script.later(5)
        assert len(script.broken()) == 1, kind


def test_a_death_that_is_recorded_and_mended_is_none() -> None:
    for kind in (Recorded, Mended):
        script = Script(kind)
        script.strike(Blow.ACTOR, "kill_symbol", "symbol:AAA")
        script.journal("system", exited(script, "killed"))
        script.journal("system", ActorStartedEvent(at=script.at, actor="symbol:AAA", epoch=2))
        script.later(5)
        assert script.broken() == [], kind
        assert script.checker.checked == 1


def look(script: Script, **changes: object) -> Looked:
    standing = SymbolStanding(AAA, ready=True, quarantined=False, held="", position=0, quote_age_s=1.0)
    return Looked(
        script.loop_s,
        script.at,
        link_up=True,
        unknown_orders=0,
        symbols=(attrs.evolve(standing, **changes),),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"ready": False}, "not ready"), ({"quote_age_s": 99.0}, "99.0 s old"), ({"position": 5}, "believes 5")],
)
def test_what_has_not_come_right_a_minute_after_the_healing_is_seen(
    changes: dict[str, object], word: str
) -> None:
    script = Script(ComesRight)
    script.put(Healed(script.loop_s, script.at))
    script.loop_s += 55
    script.put(look(script, **changes))
    assert word in script.broken()[0]


def test_what_comes_right_in_time_is_right() -> None:
    script = Script(ComesRight)
    script.put(Healed(script.loop_s, script.at))
    script.loop_s += 55
    script.put(look(script))
    assert script.broken() == []


def test_a_symbol_on_hold_has_said_why_it_does_not_trade() -> None:
    script = Script(ComesRight)
    script.put(Healed(script.loop_s, script.at))
    script.put(look(script, held="somebody else traded it", position=7))
    assert script.broken() == []


def test_a_link_that_ends_for_want_of_data_is_seen() -> None:
    script = Script(LinkStays)
    script.put(FaultDone(script.loop_s, script.at, "silent_feed", ""))
    script.later(5)
    script.put(Connected(script.loop_s, up=False))
    assert len(script.broken()) == 1


def test_somebody_elses_trade_that_nobody_notices_is_seen() -> None:
    script = Script(Noticed)
    script.execute(script.order("main", 9, action="BUY"), "f.01", 100, own=False)
    script.later(40)
    assert "was not held" in script.broken()[0]


def test_somebody_elses_trade_that_puts_the_symbol_on_hold_is_noticed() -> None:
    script = Script(Noticed)
    script.execute(script.order("main", 9, action="BUY"), "f.01", 100, own=False)
    script.journal("symbol:AAA", HoldEvent(at=script.at, symbol=AAA, reason="somebody else"))
    script.later(40)
    assert script.broken() == []


def test_every_checker_names_an_invariant_and_says_what_it_is() -> None:
    assert all(kind.invariant and kind.__doc__ for kind in CHECKERS)
    assert len(set(CHECKERS)) == len(CHECKERS)
