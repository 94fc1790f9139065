"""R5, R10 to R13 and the books' half of R20: each limit reached, and just not."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from protocol.control_events import EquityEvent, KillLevelEvent, LockEvent, UnlockEvent
from protocol.events import AlarmEvent, HoldEvent, ReconciledEvent
from protocol.risk.monitor import watch
from protocol.risk.patience import Patience
from protocol.risk.reckoning import reckon
from protocol.risk.settings import CoolDown, RiskLimits
from protocol.risk.words import KillLevel, Quote
from protocol.values import STOP, Side, Symbol
from tests.journals import GLD, SLV, at, ref
from tests.risk_stage import RiskStage, kinds

D = Decimal


def stage(**limits: object) -> RiskStage:
    made = RiskStage(attrs.evolve(RiskLimits(), **limits))  # type: ignore[arg-type]
    made.look()  # the day's equity is known
    return made


def the_lock(risk: RiskStage, seconds: float = 0) -> LockEvent:
    """The only lock that is demanded now; a second look demands nothing more."""
    (lock,) = [event for event in risk.look(seconds) if isinstance(event, LockEvent)]
    assert kinds(risk.look(seconds)) == [], "the same state asks for nothing twice"
    return lock


def test_nothing_that_happened_demands_nothing() -> None:
    risk = RiskStage()
    assert risk.look() == [EquityEvent(at=at(0), first=D(100_000), best=D(100_000))]
    assert risk.look() == []


# --- R5 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("market", "locked"), [(14.28, True), (14.29, False), (15.78, False), (15.80, True)])
def test_r5_a_fill_off_the_market_locks_the_symbol(market: float, locked: bool) -> None:
    risk = stage()
    risk.open(price="15.00")
    risk.around.quotes[SLV] = Quote(market, market, market, at(1))
    assert (
        ("fills_off_market", "SLV") in [(e.kind, e.symbol) for e in risk.look(1) if isinstance(e, LockEvent)]
    ) == locked


def test_r5_looks_at_fills_of_the_window_only_and_not_at_those_a_person_has_seen() -> None:
    risk = stage(
        fill_window_s=60.0, max_daily_loss_of_symbol=D(10_000), daily_loss_reduce=0.5, daily_loss_halt=0.6
    )
    risk.open(price="15.00")
    risk.around.show(SLV, 13.0)
    assert kinds(risk.look(61)) == []
    lock = the_lock(risk, 30)
    assert lock.until is None, "until a person lifts it"
    assert "15.00" in lock.reason
    assert "13.01" in lock.reason
    risk.tell(UnlockEvent(at=at(31), lock=lock.lock, who="ann", why="split"), stream="risk")
    assert kinds(risk.look(32)) == []


def test_r5_without_a_market_there_is_nothing_to_compare_with() -> None:
    risk = stage()
    risk.open(price="15.00")
    assert kinds(risk.look(1)) == []
    risk.around.quotes[SLV] = Quote(10.0, 20.0, 14.9, at(1))
    assert kinds(risk.look(1)) == [], "a quote that wide is none; the last trade is near"


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e308, -1.0, 0.0])
def test_a_bad_tick_is_no_price(bad: float) -> None:
    risk = stage()
    risk.open(price="15.00")
    for quote in (Quote(bad, bad, 15.0, at(1)), Quote(bad, bad, bad, at(1)), Quote(15.0, bad, bad, at(1))):
        risk.around.quotes[SLV] = quote
        assert kinds(risk.look(1)) == []


# --- R10 --------------------------------------------------------------------------------------------


def test_r10_too_many_round_trips_within_an_hour_lock_the_symbol_until_a_person_lifts_it() -> None:
    risk = stage(max_round_trips=2)
    risk.trade(0, "5")
    risk.trade(1800, "5")
    assert kinds(risk.look(1800)) == [], "two are allowed"
    risk.trade(3601, "5")
    assert kinds(risk.look(3601)) == [], "the first is an hour old"
    risk.trade(3700, "5")
    lock = the_lock(risk, 3700)
    assert (lock.kind, lock.symbol, lock.until) == ("repeated_trades", "SLV", None)
    assert lock.reason == "3 round trips within an hour, 2 are allowed (max_round_trips)"
    assert ("repeated_trades", "SLV") in risk.locks(1e9)


def test_r10_counts_anew_when_a_person_has_lifted_the_lock() -> None:
    risk = stage(max_round_trips=1)
    risk.trade(0, "5")
    risk.trade(10, "5")
    lock = the_lock(risk, 10)
    risk.tell(UnlockEvent(at=at(20), lock=lock.lock, who="ann", why="seen"), stream="risk")
    risk.trade(30, "5")
    assert kinds(risk.look(30)) == []
    risk.trade(40, "5")
    assert the_lock(risk, 40).lock == "L000002"


def test_r10_stop_outs_in_a_row_lock_the_symbol() -> None:
    risk = stage()
    risk.stop_out(0)
    risk.stop_out(10_000)
    risk.trade(15_000, "5")
    for seconds in (20_000, 30_000, 40_000):
        risk.stop_out(seconds)
    assert kinds(risk.look(40_000)) == [], "a trade that was none was between them and the others"
    risk.stop_out(50_000)
    lock = the_lock(risk, 50_000)
    assert (lock.kind, lock.until) == ("repeated_trades", None)
    assert lock.reason == "4 stop-outs in a row, 3 are allowed (max_stop_outs_in_a_row)"


# --- R11 --------------------------------------------------------------------------------------------


def test_r11_refused_orders_of_a_symbol_lock_it() -> None:
    risk = stage()
    risk.refuse(0)
    risk.refuse(10)
    assert kinds(risk.look(10)) == []
    risk.refuse(600)
    assert kinds(risk.look(601)) == [], "the first is older than the window"
    risk.refuse(605)
    lock = the_lock(risk, 605)
    assert (lock.kind, lock.symbol, lock.until) == ("rejects", "SLV", None)


def test_r11_refused_orders_in_all_halt_the_account_until_a_person_lowers_the_level() -> None:
    risk = stage(max_rejects=100, max_rejects_in_all=4)
    for second, symbol in enumerate((SLV, GLD, SLV)):
        risk.refuse(second, symbol=symbol)
    assert kinds(risk.look(3)) == []
    risk.refuse(3, symbol=GLD)
    level, alarm = risk.look(4)
    assert isinstance(level, KillLevelEvent)
    assert (level.level, level.before, level.who) == (KillLevel.HALT, KillLevel.OPEN, "limits")
    assert level.why == "the broker refused 4 orders within 600 s (max_rejects_in_all)"
    assert isinstance(alarm, AlarmEvent)
    assert alarm.code == "KILL_LEVEL"
    assert risk.look(5) == []
    risk.tell(
        KillLevelEvent(at=at(6), level=0, before=2, who="ann", why="the account was fixed"), stream="risk"
    )
    assert risk.look(7) == [], "what led to it counts no more"


# --- R12 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("realized", "bid", "locked"), [
    ("-300", 13.00, True), ("-300", 13.01, False), ("-500", None, True), ("-499.99", None, False),
])  # fmt: skip
def test_r12_a_symbols_loss_realized_and_open_locks_it_for_the_day(
    realized: str, bid: float | None, locked: bool
) -> None:
    risk = stage(max_fill_deviation=0.9)
    risk.trade(0, realized)
    if bid is not None:
        risk.open(price="15.00", seconds=1)
        risk.around.show(SLV, bid)
    if not locked:
        assert kinds(risk.look(2)) == []
        return
    lock = the_lock(risk, 2)
    assert (lock.kind, lock.symbol, lock.who) == ("daily_loss", "SLV", "limits")
    assert lock.reason == "SLV has lost $500.00 today, realized and open; the limit is $500"
    assert lock.until == risk.gate.ledger.day_end(at(2))
    assert f"{lock.until:%H:%M}" == "05:00", "midnight in New York"


def test_r12_a_short_is_marked_where_it_could_be_bought_back_and_a_wide_quote_at_its_last_trade() -> None:
    risk = stage(max_fill_deviation=0.9)
    risk.tell(risk.fill(ref("main"), Side.SELL, 100, "15.00", 0))
    risk.around.quotes[SLV] = Quote(19.90, 20.00, 19.0, at(0))
    assert the_lock(risk, 1).kind == "daily_loss", "at the ask of 20"
    other = stage(max_fill_deviation=0.9)
    other.tell(other.fill(ref("main"), Side.SELL, 100, "15.00", 0))
    other.around.quotes[SLV] = Quote(10.0, 30.0, 15.1, at(0))
    assert kinds(other.look(1)) == [], "nobody sells at 30"


def test_r12_the_lock_of_the_day_ends_with_it() -> None:
    risk = stage()
    risk.trade(0, "-600")
    lock = the_lock(risk, 1)
    assert lock.until is not None
    night = (lock.until - at(0)).total_seconds()
    assert kinds(risk.look(night - 1)) == []
    unlocked = [event for event in risk.look(night) if isinstance(event, UnlockEvent)]
    assert [(event.lock, event.who) for event in unlocked] == [(lock.lock, "clock")]
    assert risk.locks(night) == []


@pytest.mark.parametrize(("lost", "level"), [
    ("1499", KillLevel.OPEN), ("1500", KillLevel.REDUCE),
    ("1999", KillLevel.REDUCE), ("2000", KillLevel.FLATTEN),
])  # fmt: skip
def test_r12_the_accounts_loss_is_a_part_of_the_days_first_equity(lost: str, level: KillLevel) -> None:
    risk = stage(max_daily_loss_of_symbol=D(10_000))
    risk.trade(0, f"-{lost}")
    risk.look(1)
    assert risk.level is level
    assert risk.look(2) == []


def test_r12_the_brokers_own_word_counts_where_it_is_worse() -> None:
    risk = stage()
    risk.around.is_worth("98501")
    assert kinds(risk.look(1)) == []
    risk.around.is_worth("98500")
    (level, _) = risk.look(2)
    assert isinstance(level, KillLevelEvent)
    assert level.why == "the account has lost 1.50% of the day's first equity (daily_loss_reduce 1.50%)"


def test_r12_the_days_first_equity_survives_a_restart_and_a_late_word() -> None:
    risk = RiskStage(RiskLimits(max_daily_loss_of_symbol=D(10_000)))
    risk.around.money = attrs.evolve(risk.around.money, equity=None)
    risk.trade(0, "-1000")
    assert kinds(risk.look(1)) == [], "a part of what is not known is not known"
    risk.around.is_worth("99000")
    assert risk.look(2) == [EquityEvent(at=at(2), first=D(100_000), best=D(100_000))]
    risk = risk.again()
    risk.trade(3, "-1000")
    risk.around.is_worth("98000")
    risk.look(4)
    assert risk.level is KillLevel.FLATTEN, "a thousand before the restart, a thousand after it"


def test_the_level_goes_up_and_never_down_by_itself() -> None:
    risk = stage()
    risk.around.is_worth("98000")
    risk.look(1)
    assert risk.level is KillLevel.FLATTEN
    risk.around.is_worth("100000")
    assert kinds(risk.look(2)) == []
    assert risk.level is KillLevel.FLATTEN
    night = 86_400.0
    assert kinds(risk.look(night)) == []
    assert risk.level is KillLevel.FLATTEN, "also on another day: a person lowers it"


def test_a_lesser_demand_leaves_a_higher_level_as_it_is() -> None:
    risk = stage()
    risk.tell(KillLevelEvent(at=at(0), level=2, before=0, who="ann", why="news"), stream="risk")
    risk.around.is_worth("98500")
    assert kinds(risk.look(1)) == []
    assert risk.level is KillLevel.HALT


def test_a_drawdown_is_measured_from_the_best_of_the_day() -> None:
    risk = stage(max_drawdown=0.01)
    risk.trade(0, "2000")
    assert risk.look(1) == [EquityEvent(at=at(1), first=D(100_000), best=D(102_000))]
    risk.trade(2, "-1019")
    assert kinds(risk.look(3)) == [], "a thousandth short of a hundredth"
    risk = risk.again()
    risk.trade(4, "-1")
    assert kinds(risk.look(5)) == ["KillLevelEvent"], "the best is remembered"
    assert risk.level is KillLevel.REDUCE


def test_no_drawdown_is_measured_where_none_is_asked_for() -> None:
    risk = stage(max_daily_loss_of_symbol=D(10_000))
    risk.trade(0, "9000")
    risk.look(1)
    risk.trade(2, "-9000")
    assert kinds(risk.look(3)) == []


# --- R13 --------------------------------------------------------------------------------------------


def test_r13_too_many_messages_of_the_account_lock_the_symbols_that_they_come_from_for_the_day() -> None:
    risk = stage()
    for second in range(4):
        risk.trade(second, "1", symbol=GLD)  # a placement and two executed orders each, with one name
    risk.open()
    messages, executed = risk.gate.ledger.messages_today("", at(5))
    assert (messages, executed) == (5, 9)
    risk.change(94)
    assert risk.look(6) == [], "99 messages are too few to say anything"
    risk.change(1)
    (warning,) = risk.look(7)
    assert isinstance(warning, AlarmEvent)
    assert (warning.code, warning.symbol) == ("MESSAGES_HIGH", "")
    assert risk.look(8) == [], "once a day"
    risk.change(99)
    assert kinds(risk.look(9)) == [], "199 messages for nine orders and one"
    risk.change(1)
    lock = the_lock(risk, 10)
    assert (lock.kind, lock.symbol, lock.until) == ("messages", "SLV", risk.gate.ledger.day_end(at(10)))


def test_r13_a_symbol_over_it_in_an_account_that_is_not_is_left_alone() -> None:
    risk = stage()
    for second in range(10):
        risk.trade(second, "0", symbol=GLD)
    risk.change(120)
    assert risk.gate.ledger.messages_per_execution(SLV, at(20)) == 120
    assert kinds(risk.look(7300)) == []


def test_r13_where_no_symbol_is_over_it_by_itself_the_account_is_locked() -> None:
    names = [Symbol(f"S{number}") for number in range(10)]
    risk = RiskStage(symbols=names)
    risk.look()
    for name in names:
        risk.change(12, symbol=name)
    assert the_lock(risk, 1).symbol == ""


def test_r13_counts_anew_when_a_person_has_lifted_the_lock() -> None:
    risk = stage()
    risk.change(100)
    lock = the_lock(risk, 1)
    risk.tell(UnlockEvent(at=at(2), lock=lock.lock, who="ann", why="seen"), stream="risk")
    assert kinds(risk.look(3)) == []
    risk.change(100)
    assert the_lock(risk, 4).kind == "messages"


# --- R20: the books -----------------------------------------------------------------------------------


def looked(risk: RiskStage, broker: int, seconds: float = 0) -> None:
    risk.tell(ReconciledEvent(at=at(seconds), symbol=SLV, generation=1, position=broker))


def test_r20_books_that_differ_and_hold_nobody_halt_the_account() -> None:
    risk = stage()
    risk.open()
    looked(risk, 100)
    assert kinds(risk.look(1)) == []
    looked(risk, 60)
    level, _ = risk.look(2)
    assert isinstance(level, KillLevelEvent)
    assert level.level == KillLevel.HALT
    assert level.why.startswith("SLV: our executions made 100 shares when the broker held 60")


def test_r20_a_symbol_that_holds_itself_has_seen_to_it() -> None:
    risk = stage()
    risk.open()
    looked(risk, 60)
    risk.tell(HoldEvent(at=at(0), symbol=SLV, reason="the broker's position differs from our executions"))
    assert kinds(risk.look(1)) == []


def test_r20_two_books_of_our_own_that_differ_halt_the_account() -> None:
    risk = stage()
    risk.open()
    risk.gate.ledger.fold("symbol:SLV", risk.fill(ref(STOP), Side.SELL, 1, "15.00", 0))
    level, _ = risk.look(1)
    assert isinstance(level, KillLevelEvent)
    assert level.why == "SLV: our executions make 99 shares, the risk book holds 100"


# --- patience -----------------------------------------------------------------------------------------


def patient(risk: RiskStage, patience: Patience, seconds: float) -> list[str]:
    """Kinds of locks, and levels, that are demanded then."""
    found = []
    for event in watch(risk.gate, risk.around, at=at(seconds), patience=patience):
        risk.tell(event, stream="risk")
        if isinstance(event, LockEvent):
            found.append(event.kind)
        elif isinstance(event, KillLevelEvent):
            found.append(KillLevel(event.level).name)
    return found


def test_what_the_market_alone_demands_has_to_last() -> None:
    """A feed that tells half of every price for a moment closes nothing."""
    risk, patience = stage(), Patience()
    risk.open(quantity=400, price="15.00")
    risk.around.show(SLV, 7.5)
    assert patient(risk, patience, 0) == []
    assert patient(risk, patience, 1.9) == []
    risk.around.show(SLV, 15.0)
    assert patient(risk, patience, 2.5) == []
    risk.around.show(SLV, 7.5)
    assert patient(risk, patience, 3) == [], "it begins anew"
    assert patient(risk, patience, 5) == ["fills_off_market", "daily_loss", "FLATTEN"]
    assert patient(risk, patience, 8) == []


def test_what_the_journal_and_the_broker_say_is_demanded_at_once() -> None:
    risk, patience = stage(), Patience()
    risk.trade(0, "-1600")
    assert patient(risk, patience, 0) == ["daily_loss", "REDUCE"]
    risk.around.is_worth("98000")
    assert patient(risk, patience, 0.1) == ["FLATTEN"]


def test_of_a_level_the_certain_part_is_demanded_at_once_and_the_rest_when_it_lasts() -> None:
    risk, patience = stage(max_daily_loss_of_symbol=D(10_000), max_fill_deviation=99.0), Patience()
    risk.trade(0, "-1600")
    risk.open(seconds=1, price="15.00")
    risk.around.show(SLV, 10.0)
    assert patient(risk, patience, 1) == ["REDUCE"]
    assert patient(risk, patience, 3) == ["FLATTEN"]


def test_a_best_equity_by_a_moments_price_is_none() -> None:
    risk, patience = stage(max_drawdown=0.01), Patience()
    risk.open(quantity=400, price="15.00")
    risk.around.show(SLV, 30.0)
    patient(risk, patience, 0)
    risk.around.show(SLV, 15.0)
    for seconds in range(1, 10):
        assert patient(risk, patience, seconds) == []
    assert risk.gate.ledger.best_equity(at(10)) == D(100_000)


@pytest.mark.parametrize(("bid", "last", "pnl"), [
    (15.50, 15.60, "50"), (7.50, 15.20, "20"), (15.20, 7.50, "20"), (30.00, 15.20, "1500"),
])  # fmt: skip
def test_of_a_quote_and_a_last_trade_that_contradict_each_other_a_position_is_marked_at_the_better(
    bid: float, last: float, pnl: str
) -> None:
    risk = stage()
    risk.open(price="15.00")
    risk.around.quotes[SLV] = Quote(bid, bid + 0.02, last, at(1))
    assert reckon(risk.gate, risk.around, at=at(1)).pnl[SLV] == D(pnl)


# --- locks in general -----------------------------------------------------------------------------------


def test_locks_that_are_demanded_together_have_names_of_their_own() -> None:
    risk = stage(max_round_trips=1, protections=(CoolDown(300.0),))
    risk.trade(0, "0")
    risk.trade(0, "-600")
    names = [event.lock for event in risk.look(1) if isinstance(event, LockEvent)]
    assert names == ["L000001", "L000002", "L000003"]
    assert sorted(risk.locks(1)) == [("cool_down", "SLV"), ("daily_loss", "SLV"), ("repeated_trades", "SLV")]
    assert kinds(risk.look(2)) == []
    assert risk.again().locks(2) == risk.locks(2), "a restart changes nothing"
    assert kinds(risk.again().look(2)) == []


def test_a_lock_by_a_limit_sounds_an_alarm_and_a_cool_down_does_not() -> None:
    risk = stage(max_round_trips=1)
    risk.trade(0, "5")
    risk.trade(0, "5")
    assert [event.code for event in risk.look(1) if isinstance(event, AlarmEvent)] == ["LIMIT_LOCK"]
    quiet = stage(protections=(CoolDown(300.0),))
    quiet.trade(0, "5")
    assert [event for event in quiet.look(1) if isinstance(event, AlarmEvent)] == []
