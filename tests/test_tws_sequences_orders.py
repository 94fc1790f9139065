"""What a client hears of its orders, whole and in order: the sequences of captured live sessions.

Where live sessions vary, each variant is a setting and has a test; without settings the shortest is spoken.
"""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from protocol.exchange.calendar import new_york
from protocol.exchange.happenings import MarketTick
from protocol.exchange.interventions import Interventions
from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.tws_settings import PendingCancel, TwsSettings
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from tests.tws_faces import DAY, NOW, Face, limit_order, market_order
from tests.tws_sequences import bracket, connected, lines, stop_order


def trade(face: Face, price: float) -> list[str]:
    """A print alone, a second later."""
    face.now += timedelta(seconds=1)
    face.server.tick(MarketTick(face.now, "SLV", last=price, last_size=100))
    return lines(face.heard())


# --- 4.2: a market order fills ---------------------------------------------------------------------

PLACED = ["openOrder 1 Submitted BUY 100 MKT 0.0", "orderStatus 1 Submitted 0+100 #1"]
EXECUTED = "execDetails 1 #1 BOT 100 at 25.02 of 100 e1.01"
FILLED = [
    "openOrder 1 Filled BUY 100 MKT 0.0",
    "orderStatus 1 Filled 100+0 avg 25.02 last 25.02 #1",
]


def test_sequence_4_02_a_market_order_fills() -> None:
    face = connected()
    assert lines(face.place(1, market_order("BUY", 100))) == [
        *PLACED,
        EXECUTED,
        *FILLED,
        "commissionReport e1.01 1 opens",
    ]


def test_sequence_4_02_the_status_may_come_before_the_execution() -> None:
    face = connected(TwsSettings(status_before_execution=True))
    assert lines(face.place(1, market_order("BUY", 100))) == [
        *PLACED,
        *FILLED,
        EXECUTED,
        "commissionReport e1.01 1 opens",
    ]


def test_sequence_4_02_the_filled_order_may_be_repeated_with_its_commission() -> None:
    face = connected(TwsSettings(commission_echo=True))
    assert lines(face.place(1, market_order("BUY", 100))) == [
        *PLACED,
        EXECUTED,
        *FILLED,
        FILLED[0] + " cost 1",
        FILLED[1],
        "commissionReport e1.01 1 opens",
    ]


def test_sequence_4_02_the_commission_may_come_later() -> None:
    face = connected(TwsSettings(commission_delay_s=0.5))
    assert lines(face.place(1, market_order("BUY", 100))) == [*PLACED, EXECUTED, *FILLED]
    assert lines(face.pass_time(0.4)) == []
    assert lines(face.pass_time(0.1)) == ["commissionReport e1.01 1 opens"]


def test_sequence_4_02_a_closing_commission_reports_the_profit() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.quote(26.0, 26.02, after_s=1)
    heard = lines(face.place(2, market_order("SELL", 100)))
    assert heard[2] == "execDetails 2 #2 SLD 100 at 26.0 of 100 e2.01"
    kind, execution, commission, profit = heard[-1].split()
    assert (kind, execution) == ("commissionReport", "e2.01")
    # The proceeds less the fees of both sides.
    assert float(profit) == pytest.approx(98.0 - 1.0 - float(commission), abs=0.01)


def test_sequence_4_02_a_correction_is_one_more_execution_of_the_next_revision() -> None:
    face = connected()
    heard = face.place(1, market_order("BUY", 100))
    execution = next(said.execution for said in heard if isinstance(said, m.ExecDetails))
    Interventions(face.server.venue).correct(
        face.now, execution.exec_id, price=face.settings.default_grid * 2500
    )
    face.server.orders.hear()
    assert lines(face.heard()) == [
        "execDetails 1 #1 BOT 100 at 25.0 of 100 e1.02",
        "commissionReport e1.02 1 opens",
    ]
    assert lines(face.ask(m.ReqExecutions(9, m.ExecutionFilter()))) == [
        "execDetails 1 #1 BOT 100 at 25.02 of 100 e1.01 (request 9)",
        "commissionReport e1.01 1 opens",
        "execDetails 1 #1 BOT 100 at 25.0 of 100 e1.02 (request 9)",
        "commissionReport e1.02 1 opens",
        "ExecDetailsEnd",
    ]


# --- 4.3: a limit order rests and is cancelled -------------------------------------------------------

RESTS = ["openOrder 1 Submitted BUY 100 LMT 24.0", "orderStatus 1 Submitted 0+100 #1"]
CANCELLED = ["orderStatus 1 Cancelled 0+100 #1", "error 1 202 Order Canceled - reason:"]
PENDING = ["openOrder 1 PendingCancel BUY 100 LMT 24.0", "orderStatus 1 PendingCancel 0+100 #1"]


@pytest.mark.parametrize(
    ("pending", "before"),
    [(PendingCancel.NONE, []), (PendingCancel.STATUS, PENDING[1:]), (PendingCancel.ECHO, PENDING)],
    ids=lambda value: value.value if isinstance(value, PendingCancel) else "",
)
def test_sequence_4_03_a_resting_order_is_cancelled(pending: PendingCancel, before: list[str]) -> None:
    face = connected(TwsSettings(pending_cancel=pending))
    assert lines(face.place(1, limit_order("BUY", 100, 24.0))) == RESTS
    assert lines(face.ask(m.CancelOrder(1))) == [*before, *CANCELLED]


def test_sequence_4_03_a_working_order_may_be_presubmitted_first() -> None:
    face = connected(TwsSettings(presubmitted_first=True, duplicate_echo=True))
    assert lines(face.place(1, limit_order("BUY", 100, 24.0))) == [
        "openOrder 1 PreSubmitted BUY 100 LMT 24.0",
        "orderStatus 1 PreSubmitted 0+100 #1",
        *RESTS,
        *RESTS,
    ]


def test_sequence_4_03_what_an_immediate_order_does_not_get_is_cancelled() -> None:
    face = connected(TwsSettings(duplicate_echo=True))
    assert lines(face.place(1, limit_order("BUY", 100, 24.0, "IOC"))) == [
        *RESTS,
        *RESTS,
        *PENDING,
        "orderStatus 1 Cancelled 0+100 #1",
        "error 1 202 Order Canceled - reason:",
    ]


def test_sequence_4_03_a_cancel_in_tws_says_why() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    order = face.server.venue.open_orders()[0]
    Interventions(face.server.venue).cancel_manual(face.now, order.perm_id, "The trader changed his mind.")
    face.server.orders.hear()
    assert lines(face.heard()) == [
        "orderStatus 1 Cancelled 0+100 #1",
        "error 1 202 Order Canceled - reason:The trader changed his mind.",
    ]


# --- 4.4 and 4.5: out of hours, modifies -----------------------------------------------------------


@pytest.mark.parametrize("repeated", [False, True])
def test_sequence_4_04_an_order_out_of_hours_waits_with_a_notice(repeated: bool) -> None:
    face = Face(TwsSettings(duplicate_echo=repeated), open_=False)
    face.connect()
    face.now = NOW.replace(hour=12)
    echo = ["openOrder 1 PreSubmitted BUY 100 LMT 24.0", "orderStatus 1 PreSubmitted 0+100 #1"]
    notice = (
        "error 1 399 Order Message:\nBUY 100 SLV NASDAQ.NMS\nWarning: Your order will not be placed at the "
        "exchange until 20250123 09:30:00 US/Eastern."
    )
    heard = lines(face.place(1, limit_order("BUY", 100, 24.0)))
    assert heard == ([*echo, *echo, notice, *echo] if repeated else [*echo, notice])
    face.server.turn(Boundary(NOW.replace(hour=14, minute=30), Turn.OPENS))
    assert lines(face.heard()) == RESTS * (2 if repeated else 1)


def test_sequence_4_05_a_modify_echoes_the_new_values() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    assert lines(face.place(1, limit_order("BUY", 50, 24.5))) == [
        "openOrder 1 Submitted BUY 50 LMT 24.5",
        "orderStatus 1 Submitted 0+50 #1",
    ]


def test_sequence_4_05_a_modify_to_market_fills() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    assert lines(face.place(1, market_order("BUY", 100))) == [
        *PLACED,
        EXECUTED,
        *FILLED,
        "commissionReport e1.01 1 opens",
    ]


def test_sequence_4_05_a_modify_beyond_the_price_band_ends_the_order() -> None:
    face = connected(
        TwsSettings(band_ends_order=True), venue=VenueSettings(price_band=VenueSettings().max_commission_rate)
    )
    face.place(1, limit_order("BUY", 100, 24.0))
    assert lines(face.place(1, limit_order("BUY", 100, 40.0))) == [
        "openOrder 1 PreSubmitted BUY 100 LMT 40.0",
        "orderStatus 1 PendingCancel 0+100 #1",
        "orderStatus 1 Submitted 0+100 #1",
        "openOrder 1 PreSubmitted BUY 100 LMT 24.0",
        "orderStatus 1 Cancelled 0+100 #1",
        "error 1 202 Order Canceled - reason:The price is beyond the limits of the exchange.",
        "error 1 201 Order rejected - reason:Order has been cancelled already, too late to replace",
    ]
    assert lines(face.ask(m.ReqOpenOrders())) == ["OpenOrderEnd"]


# --- 4.6 and 4.7: stops, orders that are not transmitted -------------------------------------------

STOP_ECHO = [
    "openOrder 1 PreSubmitted SELL 100 STP 0.0 aux 24.0",
    "orderStatus 1 PreSubmitted 0+100 #1 (trigger)",
]


def test_sequence_4_06_a_stop_waits_for_its_trigger_and_fills() -> None:
    face = connected()
    assert lines(face.place(1, stop_order("SELL", 100, 24.0))) == STOP_ECHO
    face.quote(23.98, 24.02, after_s=1)
    assert trade(face, 24.0) == [
        "openOrder 1 Submitted SELL 100 STP 0.0 aux 24.0",
        "orderStatus 1 Submitted 0+100 #1",
        "execDetails 1 #1 SLD 100 at 23.98 of 100 e1.01",
        "openOrder 1 Filled SELL 100 STP 0.0 aux 24.0",
        "orderStatus 1 Filled 100+0 avg 23.98 last 23.98 #1",
        "commissionReport e1.01 1 opens",
    ]


@pytest.mark.parametrize(("action", "first"), [("SELL", 23.97), ("BUY", 26.03)])
def test_sequence_4_06_the_first_echo_of_a_stop_may_show_a_limit(action: str, first: float) -> None:
    face = connected(TwsSettings(stop_price_echo=True))
    aux = 24.0 if action == "SELL" else 26.0
    status = "orderStatus 1 PreSubmitted 0+100 #1 (trigger)"
    assert lines(face.place(1, stop_order(action, 100, aux))) == [
        f"openOrder 1 PreSubmitted {action} 100 STP {first} aux {aux}",
        status,
        f"openOrder 1 PreSubmitted {action} 100 STP 0.0 aux {aux}",
        status,
    ]


def test_sequence_4_06_a_trailing_stop_waits_for_its_trigger() -> None:
    face = connected(TwsSettings(stop_price_echo=True))
    order = attrs.evolve(stop_order("SELL", 100, 0.5), order_type="TRAIL", trail_stop_price=24.4)
    status = "orderStatus 1 PreSubmitted 0+100 #1 (trigger)"
    heard = face.place(1, order)
    assert lines(heard) == [
        "openOrder 1 PreSubmitted SELL 100 TRAIL 24.37 aux 0.5",
        status,
        "openOrder 1 PreSubmitted SELL 100 TRAIL 0.0 aux 0.5",
        status,
    ]


def test_sequence_4_07_an_order_that_is_not_transmitted_is_not_told() -> None:
    face = connected()
    held = attrs.evolve(limit_order("BUY", 100, 24.0), transmit=False)
    assert face.place(1, held) == []
    assert lines(face.ask(m.ReqOpenOrders())) == ["OpenOrderEnd"]
    assert lines(face.place(1, attrs.evolve(held, transmit=True))) == RESTS


# --- 4.10: partial fills -----------------------------------------------------------------------------

PART = [
    "execDetails 1 #1 BOT 80 at 25.02 of 80 e1.01",
    "openOrder 1 Submitted BUY 100 MKT 0.0",
    "orderStatus 1 Submitted 80+20 avg 25.02 last 25.02 #1",
]
REST = [
    "execDetails 1 #1 BOT 20 at 25.12 of 100 e2.01",
    "openOrder 1 Filled BUY 100 MKT 0.0",
    "orderStatus 1 Filled 100+0 avg 25.04 last 25.12 #1",
]


def test_sequence_4_10_an_order_fills_in_parts() -> None:
    face = connected(size=80)
    assert lines(face.place(1, market_order("BUY", 100))) == [
        *PLACED,
        *PART,
        "commissionReport e1.01 1 opens",
    ]
    assert lines(face.quote(25.1, 25.12, after_s=1)) == [*REST, "commissionReport e2.01 0 opens"]


def test_sequence_4_10_commissions_follow_when_all_parts_are_told() -> None:
    """80 and 20 shares within the time that a commission takes (capture: api_order_fill)."""
    face = connected(TwsSettings(commission_delay_s=2, commission_echo=True), size=80)
    assert lines(face.place(1, market_order("BUY", 100))) == [*PLACED, *PART]
    assert lines(face.quote(25.1, 25.12, after_s=1)) == REST
    filled = [REST[1] + " cost 1", REST[2]]
    assert lines(face.pass_time(1)) == [*filled, "commissionReport e1.01 1 opens"]
    assert lines(face.pass_time(1)) == [*filled, "commissionReport e2.01 0 opens"]


def test_sequence_4_10_executions_at_once_are_told_before_their_commissions_and_the_positions() -> None:
    face = connected()
    face.ask(m.ReqPositions())
    face.place(1, limit_order("BUY", 70, 24.9))
    face.now += timedelta(seconds=1)
    face.server.tick(MarketTick(face.now, "SLV", 24.88, 30, 24.9, 30, 24.8, 40))
    heard = lines(face.heard())
    assert [line.split()[0] for line in heard] == [
        *["execDetails", "openOrder", "orderStatus"] * 2,
        *["commissionReport", "Position"] * 2,
    ]
    assert [line for line in heard if line.startswith("orderStatus")] == [
        "orderStatus 1 Submitted 30+40 avg 24.9 last 24.9 #1",
        "orderStatus 1 Filled 70+0 avg 24.9 last 24.9 #1",
    ]


def test_sequence_4_10_there_is_no_status_for_a_partial_fill_of_a_resting_order() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.9))
    heard = lines(face.quote(24.88, 24.9, size=30, after_s=1))
    assert heard[1:3] == [
        "openOrder 1 Submitted BUY 100 LMT 24.9",
        "orderStatus 1 Submitted 30+70 avg 24.9 last 24.9 #1",
    ]


# --- 4.13 and 4.14: completed orders, what-if ------------------------------------------------------


def test_sequence_4_13_completed_orders_say_how_they_ended() -> None:
    face = connected()
    face.place(1, market_order("BUY", 100))
    face.place(2, limit_order("BUY", 10, 24.0))
    face.ask(m.CancelOrder(2))
    face.place(3, limit_order("BUY", 10, 24.0))
    face.server.turn(Boundary(new_york(DAY, NOW.time().replace(hour=16)), Turn.DAY_ENDS))
    face.heard()
    assert lines(face.ask(m.ReqCompletedOrders(api_only=True))) == [
        "completedOrder #1 Filled 0 filled 100 20250123 10:00:00 US/Eastern: Filled Size: 100",
        "completedOrder #2 Cancelled 10 filled 0 20250123 10:00:00 US/Eastern: Cancelled by Trader",
        "completedOrder #3 Cancelled 10 filled 0 20250123 16:00:00 US/Eastern: Cancelled by System:\n"
        "The trading day is over.",
        "CompletedOrdersEnd",
    ]


def test_sequence_4_14_a_what_if_order_is_answered_once_and_leaves_nothing() -> None:
    face = connected()
    what_if = attrs.evolve(limit_order("BUY", 100, 25.0), what_if=True)
    heard = face.place(7, what_if)
    assert lines(heard) == ["openOrder 7 PreSubmitted BUY 100 LMT 25.0 cost 1"]
    (preview,) = heard
    assert isinstance(preview, m.OpenOrder)
    state = preview.state
    assert state.init_margin_change == 1250.0
    assert state.init_margin_after == (state.init_margin_before or 0) + 1250.0
    assert lines(face.ask(m.ReqOpenOrders())) == ["OpenOrderEnd"]
    # The id is free for the real order.
    assert lines(face.ask(m.ReqIds(1))) == ["nextValidId 1"]
    assert lines(face.place(7, attrs.evolve(what_if, what_if=False, lmt_price=24.0)))[0] == (
        "openOrder 7 Submitted BUY 100 LMT 24.0"
    )


def test_sequence_4_14_a_what_if_order_that_cannot_be_is_refused_like_a_real_one() -> None:
    face = connected()
    what_if = attrs.evolve(limit_order("BUY", 100, 24.001), what_if=True)
    assert lines(face.place(7, what_if)) == [
        "error 7 110 The price does not conform to the minimum price variation for this contract."
    ]


# --- 4.19 and 4.20: latency, states ----------------------------------------------------------------


def test_sequence_4_19_orders_and_reports_take_their_time() -> None:
    face = connected(TwsSettings(order_latency_s=0.3, report_latency_s=0.2))
    assert face.place(1, market_order("BUY", 100)) == []
    assert lines(face.ask(m.ReqIds(1))) == ["nextValidId 2"]
    # The market moves while the order is on its way.
    assert lines(face.quote(25.1, 25.12, after_s=0.2)) == []
    assert lines(face.pass_time(0.1)) == []
    assert face.server.venue.find(1, 1) is not None
    # What is asked meanwhile is answered behind the reports that are on their way.
    assert face.ask(m.ReqExecutions(9, m.ExecutionFilter())) == []
    assert lines(face.pass_time(0.2)) == [
        *PLACED,
        "execDetails 1 #1 BOT 100 at 25.12 of 100 e1.01",
        "openOrder 1 Filled BUY 100 MKT 0.0",
        "orderStatus 1 Filled 100+0 avg 25.12 last 25.12 #1",
        "commissionReport e1.01 1 opens",
        "execDetails 1 #1 BOT 100 at 25.12 of 100 e1.01 (request 9)",
        "commissionReport e1.01 1 opens",
        "ExecDetailsEnd",
    ]


def test_sequence_4_19_a_tick_finds_the_orders_that_were_due_before_it() -> None:
    face = connected(TwsSettings(order_latency_s=0.3))
    assert face.place(1, market_order("BUY", 100)) == []
    heard = lines(face.quote(26.0, 26.02, after_s=1))
    assert heard[:3] == [*PLACED, EXECUTED]


def test_sequence_4_20_only_the_states_of_tws_are_said() -> None:
    face = connected(TwsSettings(duplicate_echo=True, presubmitted_first=True), size=40)
    heard = bracket(face, limit_order("BUY", 100, 25.02))
    heard += lines(face.ask(m.CancelOrder(1))) + lines(face.quote(27.0, 27.02, after_s=1))
    heard += lines(face.place(4, limit_order("BUY", 1, 24.0, "FOK")))
    states = {line.split()[2] for line in heard if line.startswith(("openOrder", "orderStatus"))}
    assert states == {"PreSubmitted", "Submitted", "PendingCancel", "Cancelled", "Filled", "Inactive"}
