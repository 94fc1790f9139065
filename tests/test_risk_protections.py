"""Cool-down, stop-loss guard, drawdown guard and low-profit lock: when they close and open again."""

from __future__ import annotations

from decimal import Decimal

import pytest

from protocol.control_events import LockEvent, UnlockEvent
from protocol.risk.protections import lock_wanted_on
from protocol.risk.settings import (
    CoolDown,
    DrawdownGuard,
    LowProfitLock,
    Protection,
    RiskLimits,
    StopLossGuard,
)
from tests.journals import GLD, SLV, at
from tests.risk_stage import RiskStage, kinds

D = Decimal


def stage(*protections: Protection) -> RiskStage:
    """Only protections can lock anything."""
    risk = RiskStage(RiskLimits(
        protections=protections, max_round_trips=1000, max_stop_outs_in_a_row=1000,
        max_daily_loss_of_symbol=D(10**9), daily_loss_reduce=0.98, daily_loss_halt=0.99,
    ))  # fmt: skip
    risk.look()
    return risk


def new_locks(risk: RiskStage, seconds: float) -> list[tuple[str, str, float]]:
    """(kind, symbol, seconds until it ends) of the locks that this look demands."""
    return [
        (event.kind, event.symbol, (event.until - at(0)).total_seconds())
        for event in risk.look(seconds)
        if isinstance(event, LockEvent) and event.until is not None
    ]


def test_a_symbol_cools_down_after_each_of_its_trades_and_no_other_does() -> None:
    risk = stage(CoolDown(300.0))
    risk.trade(100, "5")
    assert new_locks(risk, 101) == [("cool_down", "SLV", 400.0)], "from the close on"
    assert new_locks(risk, 102) == []
    assert risk.locks(399) == [("cool_down", "SLV")]
    assert kinds(risk.look(400)) == ["UnlockEvent"]
    assert risk.locks(400) == []
    assert new_locks(risk, 401) == []
    risk.trade(500, "5", symbol=GLD)
    assert new_locks(risk, 501) == [("cool_down", "GLD", 800.0)]


def test_a_cool_down_that_would_be_over_is_not_begun() -> None:
    risk = stage(CoolDown(300.0))
    risk.trade(0, "5")
    assert new_locks(risk, 299.9) == [("cool_down", "SLV", 300.0)]
    late = stage(CoolDown(300.0))
    late.trade(0, "5")
    assert new_locks(late, 300) == []


def test_a_lock_that_a_person_lifts_comes_back_with_the_next_trade_only() -> None:
    risk = stage(CoolDown(300.0))
    risk.trade(0, "5")
    risk.look(1)
    risk.tell(UnlockEvent(at=at(10), lock="L000001", who="ann", why="a good moment"), stream="risk")
    assert new_locks(risk, 11) == []
    risk.trade(20, "5")
    assert new_locks(risk, 21) == [("cool_down", "SLV", 320.0)]


def test_what_a_cool_down_holds_is_known_before_its_lock_is_in_the_journal() -> None:
    risk = stage(CoolDown(300.0))
    guards, ledger = (CoolDown(300.0),), risk.gate.ledger
    assert lock_wanted_on(guards, ledger, SLV, at(0), equity=None) is None
    risk.trade(0, "5")
    wanted = lock_wanted_on(guards, ledger, SLV, at(0), equity=None)
    assert wanted is not None
    assert wanted.until == at(300)
    assert lock_wanted_on(guards, ledger, GLD, at(0), equity=None) is None
    risk.look(0.1)
    assert lock_wanted_on(guards, ledger, SLV, at(1), equity=None) is None, "now the lock says it"


GUARD = StopLossGuard(trades=3, window_s=600.0, lock_s=1800.0)


def test_a_stop_loss_guard_locks_a_symbol_after_so_many_stop_outs_within_its_window() -> None:
    risk = stage(GUARD)
    risk.stop_out(0)
    risk.stop_out(100, symbol=GLD)
    risk.trade(200, "5")
    risk.stop_out(300)
    assert new_locks(risk, 301) == [], "two of its own"
    risk.stop_out(601)
    assert new_locks(risk, 601) == [], "the first is older than the window"
    risk.stop_out(700)
    assert new_locks(risk, 701) == [("stop_loss_guard", "SLV", 2500.0)]
    assert new_locks(risk, 702) == []


def test_a_guard_whose_lock_would_be_over_already_locks_nothing() -> None:
    """Its trades may be younger than its window when the system has been away."""
    risk = stage(StopLossGuard(trades=2, window_s=6000.0, lock_s=60.0))
    risk.stop_out(0)
    risk.stop_out(1)
    assert kinds(risk.look(61)) == []


def test_a_stop_in_profit_is_no_stop_out() -> None:
    risk = stage(GUARD)
    for second in range(5):
        risk.stop_out(second, pnl="10")
    assert new_locks(risk, 6) == []


def test_a_stop_loss_guard_over_everything_counts_and_locks_all_symbols() -> None:
    risk = stage(StopLossGuard(trades=3, window_s=600.0, lock_s=60.0, everything=True))
    risk.stop_out(0)
    risk.stop_out(1, symbol=GLD)
    assert new_locks(risk, 2) == []
    risk.stop_out(3)
    assert new_locks(risk, 4) == [("stop_loss_guard", "", 63.0)]


def test_of_two_guards_of_a_kind_the_longer_lock_counts() -> None:
    risk = stage(StopLossGuard(2, 600.0, 60.0), StopLossGuard(3, 600.0, 6000.0))
    risk.stop_out(0)
    risk.stop_out(1)
    assert new_locks(risk, 2) == [("stop_loss_guard", "SLV", 61.0)]
    risk.stop_out(3)
    assert new_locks(risk, 4) == [("stop_loss_guard", "SLV", 6003.0)]


@pytest.mark.parametrize(("last", "locked"), [("-1499.99", False), ("-1500.01", True)])
def test_a_drawdown_guard_measures_closed_trades_from_their_best_within_the_window(
    last: str, locked: bool
) -> None:
    risk = stage(DrawdownGuard(fraction=0.02, trades=4, window_s=3600.0, lock_s=600.0))
    risk.trade(0, "-500", symbol=GLD)
    risk.trade(10, "1000")
    risk.trade(20, "-500", symbol=GLD)
    risk.around.is_worth("100000")
    assert new_locks(risk, 21) == []
    risk.trade(30, last)
    assert new_locks(risk, 31) == ([("drawdown", "", 630.0)] if locked else [])


def test_a_drawdown_guard_needs_its_trades_and_an_equity() -> None:
    guard = DrawdownGuard(fraction=0.02, trades=4, window_s=3600.0, lock_s=600.0)
    risk = stage(guard)
    risk.trade(0, "-3000")
    assert new_locks(risk, 1) == []
    blind = RiskStage(RiskLimits(protections=(guard,), max_round_trips=99, max_daily_loss_of_symbol=D(10**9)))
    blind.around.is_worth("0")  # no worth at all: a part of it says nothing
    for second in range(4):
        blind.trade(second, "-3000")
    assert new_locks(blind, 5) == []


@pytest.mark.parametrize(("last", "locked"), [("9.99", True), ("10", False)])
def test_a_low_profit_lock_sums_the_last_trades_of_a_symbol(last: str, locked: bool) -> None:
    risk = stage(LowProfitLock(profit=D(20), trades=3, window_s=3600.0, lock_s=600.0))
    risk.trade(0, "500")
    risk.trade(10, "15")
    risk.trade(15, "-1000", symbol=GLD)
    risk.trade(20, "-5")
    risk.look(21)
    risk.trade(30, last)
    assert new_locks(risk, 31) == ([("low_profit", "SLV", 630.0)] if locked else [])


def test_a_low_profit_lock_needs_its_trades_within_the_window() -> None:
    risk = stage(LowProfitLock(profit=D(0), trades=3, window_s=100.0, lock_s=600.0))
    for seconds in (0, 60, 101):
        risk.trade(seconds, "-5")
    assert new_locks(risk, 102) == []
    risk.trade(120, "-5")
    assert new_locks(risk, 121) == [("low_profit", "SLV", 720.0)]
