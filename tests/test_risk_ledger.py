"""What the day has brought: results, losses, refusals and messages, folded from the journal."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.control_events import EquityEvent
from protocol.events import (
    BaseEvent,
    CancelEvent,
    CommissionEvent,
    FillEvent,
    ForeignFillEvent,
    HoldEvent,
    PositionCloseEvent,
    ReconciledEvent,
    RejectEvent,
)
from protocol.risk.book import RiskBook
from protocol.risk.ledger import ACCOUNT, KEPT_EXECUTIONS, KEPT_RESULTS, Ledger, day_around
from protocol.settings import Schedule
from protocol.values import CLOSE, MAIN, STOP, TARGET, Side
from tests.journals import GLD, SLV, T0, a_winning_trade, at, filled, new, ref
from tests.risk_stage import RiskStage, moment

D = Decimal
LONG_AGO = T0 - timedelta(days=1)


def folded(*events: BaseEvent) -> Ledger:
    ledger = Ledger(Schedule())
    for event in events:
        ledger.fold(f"symbol:{SLV}", event)
    return ledger


def test_a_trade_that_is_over_is_a_result_and_the_day_has_its_money_net_of_commissions() -> None:
    ledger = Ledger(Schedule())
    for stream, event in a_winning_trade():
        ledger.fold(stream, event)
    (result,) = ledger.results(SLV, LONG_AGO)
    assert (result.symbol, result.pnl, result.stopped_out) == (SLV, D("40.00"), False)
    assert ledger.realized_today(SLV, at(70)) == D("40.00") - D("2.35125")
    assert ledger.position(SLV) == 0


def test_a_trade_that_never_filled_is_none() -> None:
    stage = RiskStage()
    stage.tell(PositionCloseEvent(at=at(0), symbol=SLV, trade=1, reason="not entered", realized_pnl=D(0)))
    assert stage.gate.ledger.results(SLV, LONG_AGO) == ()


@pytest.mark.parametrize(
    ("by", "pnl", "stopped_out"),
    [(STOP, "-10", True), (STOP, "10", False), (TARGET, "10", False), ("end of day", "-10", False)],
)
def test_a_stop_out_is_a_trade_that_its_stop_ended_at_a_loss(by: str, pnl: str, stopped_out: bool) -> None:
    stage = RiskStage()
    stage.trade(0, pnl, by=by)
    assert [result.stopped_out for result in stage.gate.ledger.results(SLV, LONG_AGO)] == [stopped_out]


def test_stop_outs_in_a_row_end_with_a_trade_that_was_none() -> None:
    stage = RiskStage()
    for seconds, stopped in enumerate((True, False, True, True)):
        (stage.stop_out if stopped else lambda s: stage.trade(s, "5"))(seconds)
    ledger = stage.gate.ledger
    assert ledger.stop_outs_in_a_row(SLV, LONG_AGO) == 2
    assert ledger.stop_outs_in_a_row(SLV, at(2)) == 1, "only those after a moment"
    assert ledger.stop_outs_in_a_row(GLD, LONG_AGO) == 0


def test_results_of_all_symbols_come_in_the_order_in_which_they_closed() -> None:
    stage = RiskStage()
    stage.trade(1, "1", symbol=GLD)
    stage.trade(2, "2")
    stage.trade(3, "3", symbol=GLD)
    assert [result.pnl for result in stage.gate.ledger.results(ACCOUNT, at(1))] == [D(2), D(3)]


def test_a_new_day_of_the_exchange_begins_at_its_own_midnight() -> None:
    stage = RiskStage()
    stage.trade(0, "-40")
    stage.tell(EquityEvent(at=at(0), first=D(100), best=D(101)), stream="risk")
    before, after = moment("2019-02-12T04:59:59+00:00"), moment("2019-02-12T05:00:00+00:00")
    ledger = stage.gate.ledger
    assert ledger.day_end(at(0)) == after, "midnight in New York"
    assert (ledger.realized_today(SLV, before), ledger.first_equity(before)) == (D(-40), D(100))
    assert (ledger.realized_today(SLV, after), ledger.first_equity(after)) == (D(0), None)
    assert len(ledger.results(SLV, LONG_AGO)) == 1, "protections look back further than a day"


def test_a_day_with_a_change_of_the_clock_is_as_long_as_it_is() -> None:
    begins, ends = day_around(moment("2025-03-09T18:00:00+00:00"), Ledger(Schedule())._zone)
    assert ends - begins == timedelta(hours=23)


def test_a_position_that_is_carried_over_midnight_keeps_its_average() -> None:
    stage = RiskStage()
    stage.open(price="15.00")
    night = 86_400.0
    stage.close(price="15.40", seconds=night, entered="15.00")
    assert stage.gate.ledger.realized_today(SLV, at(night)) == D("40.00"), "realized on the second day"


def test_a_correction_of_yesterdays_execution_counts_today_and_makes_no_position() -> None:
    night = 86_400.0
    ledger = folded(
        filled(ref(MAIN), "0001.01", Side.BUY, 100, "15.00", seconds=0),
        filled(ref(STOP), "0002.01", Side.SELL, 100, "14.90", seconds=10),
        filled(ref(STOP), "0002.02", Side.SELL, 100, "14.80", seconds=night),
    )
    assert ledger.position(SLV) == 0
    assert ledger.realized_today(SLV, at(night)) == D("-10.00"), "a tenth of a dollar for each share"


def test_a_correction_that_takes_shares_back_leaves_them_held() -> None:
    night = 86_400.0
    ledger = folded(
        filled(ref(MAIN), "0001.01", Side.BUY, 100, "15.00", seconds=0),
        filled(ref(STOP), "0002.01", Side.SELL, 100, "14.90", seconds=10),
        filled(ref(STOP), "0002.02", Side.SELL, 60, "14.90", seconds=night),
    )
    assert ledger.position(SLV) == 40


def test_a_commission_of_yesterdays_execution_is_no_loss_of_today() -> None:
    night = 86_400.0
    ledger = folded(
        filled(ref(MAIN), "0001.01", Side.BUY, 100, "15.00", seconds=0),
        filled(ref(STOP), "0002.01", Side.SELL, 100, "15.00", seconds=10),
        CommissionEvent(at=at(night), symbol=SLV, exec_id="0002.01", commission=D(1)),
    )
    assert ledger.realized_today(SLV, at(night)) == D(0)


# --- refusals and messages --------------------------------------------------------------------------


def test_a_refusal_of_the_broker_counts_and_one_of_ours_does_not() -> None:
    stage = RiskStage()
    stage.refuse(0, code=201)
    stage.refuse(1, code=0)
    assert stage.gate.ledger.refusals(SLV, LONG_AGO) == 1


def test_a_bracket_whose_legs_are_refused_one_by_one_is_one_refusal() -> None:
    stage = RiskStage()
    for role in (MAIN, TARGET, STOP):
        stage.refuse(0, role=role, trade=7)
    stage.refuse(0, role=CLOSE, trade=7)
    assert stage.gate.ledger.refusals(SLV, LONG_AGO) == 2, "the bracket, and the close"


@pytest.mark.parametrize(("request_", "code"), [("cancel", 201), ("modify", 104), ("cancel", 10148)])
def test_a_request_that_crossed_the_end_of_its_order_is_no_refusal(request_: str, code: int) -> None:
    stage = RiskStage()
    stage.refuse(0, request=request_, code=code)
    assert stage.gate.ledger.refusals(ACCOUNT, LONG_AGO) == 0


def test_a_refused_change_counts_each_time() -> None:
    stage = RiskStage()
    for second in range(3):
        stage.refuse(second, request="modify", code=201, role=STOP, trade=7)
    assert stage.gate.ledger.refusals(SLV, LONG_AGO) == 3


def test_messages_are_reckoned_against_executed_orders_as_ib_does() -> None:
    stage = RiskStage()
    stage.open()
    stage.change(5)
    order = ref(STOP)
    stage.tell(CancelEvent(at=at(0), ref=order, why="over"))
    assert stage.gate.ledger.messages_per_execution(SLV, at(0)) == 7 / 2, "one order executed, and one"
    stage.tell(stage.fill(ref(MAIN), Side.BUY, 10, "15.00", 0))
    assert stage.gate.ledger.messages_per_execution(SLV, at(0)) == 7 / 2, "parts of one order are one"
    stage.tell(RejectEvent(
        at=at(0), ref=order, request="cancel", code=0, reason="not sent", terminal=False
    ))  # fmt: skip
    assert stage.gate.ledger.messages_per_execution(SLV, at(0)) == 6 / 2, "what never left is no message"
    assert stage.gate.ledger.messages_per_execution(SLV, at(86_400)) == 0.0, "another day"


# --- books ------------------------------------------------------------------------------------------


def test_the_last_look_at_the_brokers_books_is_kept_until_a_person_has_seen_it() -> None:
    ledger = folded(
        ReconciledEvent(at=at(0), symbol=SLV, generation=1, position=50),
        HoldEvent(at=at(0), symbol=SLV, reason="differs"),
    )
    entry = ledger.get(SLV)
    assert entry is not None
    assert entry.look is not None
    assert (entry.look.broker, entry.look.ours, entry.held) == (50, 0, "differs")
    ledger.fold("symbol:SLV", HoldEvent(at=at(1), symbol=SLV, reason=""))
    after = ledger.get(SLV)
    assert after is not None
    assert (after.look, after.held) == (None, "")


FILLS = st.lists(
    st.tuples(
        st.integers(1, 12), st.integers(1, 3), st.sampled_from(Side), st.integers(0, 50),
        st.integers(1, 9), st.booleans(), st.integers(0, 400_000),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=60)
@given(FILLS)
def test_ledger_and_risk_book_make_the_same_position_of_any_executions(
    drawn: list[tuple[int, int, Side, int, int, bool, int]],
) -> None:
    """Repetitions, corrections and executions of strangers, over some days."""
    ledger, book = Ledger(Schedule()), RiskBook()
    seconds = 0
    for root, revision, side, quantity, price, ours, later in drawn:
        seconds += later // 10
        exec_id = f"{root:04d}.{revision:02d}"
        event: FillEvent | ForeignFillEvent = FillEvent(
            at=at(seconds), ref=ref(MAIN), exec_id=exec_id, side=side, quantity=quantity, price=D(price)
        )
        if not ours:
            event = ForeignFillEvent(
                at=at(seconds), symbol=SLV, exec_id=exec_id, side=side, quantity=quantity, price=D(price)
            )
        ledger.fold("symbol:SLV", event)
        book.fold("symbol:SLV", event)
        assert ledger.position(SLV) == book.position(SLV)


def test_memory_is_bounded() -> None:
    ledger = Ledger(Schedule())
    order = new(ref(MAIN))
    for number in range(KEPT_RESULTS + 50):
        trade, when = number + 1, number * 60.0
        bought = filled(ref(MAIN, trade), f"{number}a.01", Side.BUY, 1, "15", seconds=when)
        sold = filled(ref(STOP, trade), f"{number}b.01", Side.SELL, 1, "14", seconds=when)
        closed = PositionCloseEvent(at=at(when), symbol=SLV, trade=trade, reason=STOP, realized_pnl=D(-1))
        for event in (attrs.evolve(order, at=at(when)), bought, sold, closed):
            ledger.fold("symbol:SLV", event)
    entry = ledger.get(SLV)
    assert entry is not None
    assert len(entry.results) == KEPT_RESULTS
    ledger.fold("symbol:SLV", attrs.evolve(order, at=at(3 * 86_400)))
    ledger.fold("symbol:SLV", attrs.evolve(order, at=at(4 * 86_400)))
    assert (len(entry.position.executions), len(entry.old)) == (0, KEPT_EXECUTIONS)
