"""How orders trade: prices, sizes, triggers, hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    MarketTick,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderTriggered,
    PositionChanged,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.exchange.order_checks import good_till
from tests.venues import ACCOUNT, OPEN, SLV, Bench, fills, kinds, limit, market, only, stop, stop_limit


def test_a_market_order_trades_at_the_opposite_quote_in_the_order_of_a_real_tws() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    happened = bench.place(7, attrs.evolve(market("BUY", 100), order_ref="ours"))
    order = attrs.evolve(
        market("BUY", 100), order_ref="ours", tif="DAY", account=ACCOUNT, client_id=1, perm_id=1_000_000_001
    )
    accepted = VenueOrder(
        account=ACCOUNT, client_id=1, order_id=7, perm_id=1_000_000_001, parent_perm_id=0,
        contract=SLV, order=order, status=Status.SUBMITTED,
    )  # fmt: skip
    filled = attrs.evolve(
        accepted, status=Status.FILLED, filled=100, avg_fill_price=10.01, last_fill_price=10.01
    )
    execution = VenueExecution(
        exec_id=f"00000001.{int(bench.now.timestamp()):08x}.01.01", account=ACCOUNT,
        perm_id=1_000_000_001, client_id=1, order_id=7, order_ref="ours", contract=SLV, exchange="IEX",
        side="BOT", quantity=100, price=Decimal("10.01"), cum_quantity=100, avg_price=10.01, at=bench.now,
    )  # fmt: skip
    assert happened == (
        OrderAccepted(bench.now, accepted),
        Executed(bench.now, filled, execution),
        CommissionCharged(bench.now, execution.exec_id, Decimal("1.00"), None),
        PositionChanged(bench.now, ACCOUNT, SLV, 100, Decimal("10.01"), Decimal(0), Decimal("1.00")),
    )


def test_a_market_order_takes_the_shown_size_and_the_rest_on_later_ticks() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=80)
    assert fills(bench.place(1, market("BUY", 100))) == [(1, 80, Decimal("10.01"))]
    assert bench.state(1) == (Status.SUBMITTED, "", 100, 80)
    assert fills(bench.quote(9.99, 10.02, size=80)) == [(1, 20, Decimal("10.02"))]
    assert bench.order(1).avg_fill_price == pytest.approx(10.012)


def test_two_orders_in_one_instant_share_the_shown_size() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=100)
    assert fills(bench.place(1, market("BUY", 60))) == [(1, 60, Decimal("10.01"))]
    assert fills(bench.place(2, market("BUY", 60))) == [(2, 40, Decimal("10.01"))]
    assert fills(bench.place(3, market("SELL", 60))) == [(3, 60, Decimal("9.99"))]


def test_a_market_order_waits_for_the_first_quote() -> None:
    bench = Bench()
    assert kinds(bench.place(1, market("BUY", 10))) == ["OrderAccepted"]
    assert fills(bench.quote(9.99, 10.01)) == [(1, 10, Decimal("10.01"))]


def test_a_marketable_limit_order_gets_the_better_price_of_the_quote() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    assert fills(bench.place(1, limit("BUY", 10, 10.50))) == [(1, 10, Decimal("10.01"))]
    assert fills(bench.place(2, limit("SELL", 10, 9.50))) == [(2, 10, Decimal("9.99"))]


def test_a_resting_limit_order_fills_when_the_quote_crosses_it() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    assert kinds(bench.place(1, limit("BUY", 10, 9.95))) == ["OrderAccepted"]
    assert bench.quote(9.95, 9.96) == ()
    assert fills(bench.quote(9.94, 9.95)) == [(1, 10, Decimal("9.95"))]


def test_a_resting_limit_order_fills_at_its_price_when_a_trade_prints_beyond_it() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, limit("BUY", 50, 9.95))
    assert bench.trade(9.95) == ()
    assert fills(bench.trade(9.94, size=30)) == [(1, 30, Decimal("9.95"))]
    assert fills(bench.trade(9.94, size=30)) == [(1, 20, Decimal("9.95"))]


def test_a_print_before_the_order_came_does_not_fill_it() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(9.90)
    assert fills(bench.place(1, limit("BUY", 50, 9.95))) == []
    assert bench.quote(9.99, 10.01) == ()


@pytest.mark.parametrize(
    ("action", "price", "before", "at"), [("SELL", 9.50, 9.51, 9.50), ("BUY", 10.50, 10.49, 10.50)]
)
def test_a_stop_is_elected_by_the_last_trade_and_then_trades_at_the_quote(
    action: str, price: float, before: float, at: float
) -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, stop(action, 10, price))
    assert bench.state(1) == (Status.PRE_SUBMITTED, "trigger", 10, 0)
    assert bench.trade(before) == ()
    happened = bench.trade(at)
    assert kinds(happened) == ["OrderTriggered", "Executed", "CommissionCharged", "PositionChanged"]
    assert only(happened, OrderTriggered)[0].order.status is Status.SUBMITTED
    assert fills(happened) == [(1, 10, Decimal("9.99") if action == "SELL" else Decimal("10.01"))]


def test_a_stop_is_elected_by_a_sound_quote_beyond_it_where_no_trade_prints() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, stop("SELL", 10, 9.50))
    assert bench.quote(9.40, 9.60) == ()
    assert bench.quote(9.60, 9.40) == (), "a crossed quote says nothing"
    assert bench.quote(0.0, 9.40) == (), "a one-sided quote says nothing"
    assert fills(bench.quote(9.40, 9.45)) == [(1, 10, Decimal("9.4"))]


def test_a_stop_beyond_the_last_trade_is_elected_at_once() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(10.00)
    assert kinds(bench.place(1, stop("SELL", 10, 10.50)))[:3] == [
        "OrderAccepted",
        "OrderTriggered",
        "Executed",
    ]


def test_an_elected_stop_limit_order_does_not_trade_beyond_its_limit() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, stop_limit("SELL", 10, 9.50, 9.45))
    bench.quote(9.40, 9.55)
    assert kinds(bench.trade(9.49)) == ["OrderTriggered"]
    assert bench.state(1) == (Status.SUBMITTED, "", 10, 0)
    assert fills(bench.quote(9.46, 9.55)) == [(1, 10, Decimal("9.46"))]


def test_the_print_that_elects_a_stop_limit_does_not_fill_it() -> None:
    bench = Bench()
    bench.quote(9.30, 10.01)
    bench.place(1, stop_limit("BUY", 10, 9.90, 9.95))
    assert fills(bench.trade(9.90)) == []
    assert fills(bench.trade(9.94)) == [(1, 10, Decimal("9.95"))]


def test_immediate_or_cancel_gives_up_what_it_does_not_get() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=30)
    happened = bench.place(1, attrs.evolve(limit("BUY", 100, 10.01), tif="IOC"))
    assert fills(happened) == [(1, 30, Decimal("10.01"))]
    assert bench.state(1) == (Status.CANCELLED, "", 100, 30)
    assert only(happened, OrderCancelled)[0].by_client is False


def test_nothing_trades_while_the_symbol_is_halted() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.venue.tick(MarketTick(at=bench.later(), symbol="SLV", halted=True))
    assert fills(bench.place(1, market("BUY", 10))) == []
    bench.place(2, stop("SELL", 10, 9.50))
    assert bench.trade(9.00) == ()
    bench.venue.tick(MarketTick(at=bench.later(), symbol="SLV", halted=False))
    assert fills(bench.venue.take()) == [(1, 10, Decimal("10.01")), (2, 10, Decimal("9.99"))]


@pytest.mark.parametrize(("bid", "ask"), [(0.0, 0.0), (-1.0, -1.0)])
def test_a_side_without_a_price_trades_nothing(bid: float, ask: float) -> None:
    bench = Bench()
    bench.quote(bid, ask)
    assert fills(bench.place(1, market("BUY", 10))) == []
    assert fills(bench.place(2, market("SELL", 10))) == []


def test_a_quote_without_a_size_trades_one_round_lot_a_tick() -> None:
    bench = Bench()
    bench.venue.tick(MarketTick(at=bench.later(), symbol="SLV", bid=9.99, ask=10.01))
    assert fills(bench.place(1, market("BUY", 150))) == [(1, 100, Decimal("10.01"))]


# --- hours ------------------------------------------------------------------------------------------


def test_outside_regular_hours_an_order_rests_until_the_session_opens() -> None:
    bench = Bench()
    bench.venue.set_session(bench.now, is_open=False)
    bench.quote(9.99, 10.01)
    assert fills(bench.place(1, market("BUY", 10))) == []
    assert bench.state(1) == (Status.PRE_SUBMITTED, "", 10, 0)
    assert bench.quote(9.99, 10.01) == ()
    bench.venue.set_session(bench.now, is_open=True)
    assert only(bench.venue.take(), OrderChanged)[0].order.status is Status.SUBMITTED
    assert fills(bench.quote(9.99, 10.01)) == [(1, 10, Decimal("10.01"))]


def test_an_order_for_all_hours_works_outside_the_session_unless_it_is_a_market_order() -> None:
    bench = Bench()
    bench.venue.set_session(bench.now, is_open=False)
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(stop("SELL", 10, 9.50), outside_rth=True))
    assert fills(bench.place(2, attrs.evolve(limit("BUY", 10, 10.05), outside_rth=True)))
    assert not fills(bench.place(3, attrs.evolve(market("BUY", 10), outside_rth=True)))
    assert fills(bench.trade(9.50)) == [(1, 10, Decimal("9.99"))]


def test_a_waiting_stop_is_not_elected_outside_its_hours() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, stop("SELL", 10, 9.50))
    bench.venue.set_session(bench.now, is_open=False)
    assert bench.trade(9.00) == ()
    assert bench.state(1) == (Status.PRE_SUBMITTED, "trigger", 10, 0)


def test_the_close_cancels_day_orders_and_leaves_the_others() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, limit("BUY", 10, 9.00))
    bench.place(2, stop("SELL", 10, 9.00))
    bench.venue.end_of_session(bench.later())
    cancelled = only(bench.venue.take(), OrderCancelled)
    assert [(c.order.order_id, c.by_client, c.reason) for c in cancelled] == [
        (1, False, "The trading day is over.")
    ]
    assert [order.order_id for order in bench.venue.open_orders()] == [2]


def test_a_day_order_for_all_hours_ends_with_the_session_too() -> None:
    bench = Bench()
    bench.place(1, attrs.evolve(limit("BUY", 10, 9.00), outside_rth=True))
    bench.venue.set_session(bench.later(), is_open=False)
    assert bench.venue.take() == ()
    assert bench.state(1) == (Status.SUBMITTED, "", 10, 0)
    bench.venue.end_of_session(bench.later())
    assert [c.order.order_id for c in only(bench.venue.take(), OrderCancelled)] == [1]


def test_a_good_till_date_order_whose_time_has_passed_is_taken_and_cancelled() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    order = attrs.evolve(limit("BUY", 10, 10.05), tif="GTD", good_till_date="20250123-14:59:59")
    assert kinds(bench.place(1, order)) == ["OrderAccepted", "OrderCancelled"]
    assert bench.position == 0


def test_a_good_till_date_order_expires_on_time_and_does_not_trade_after_it() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    until = (bench.now + timedelta(seconds=30)).strftime("%Y%m%d-%H:%M:%S")
    bench.place(1, attrs.evolve(limit("BUY", 10, 9.90), tif="GTD", good_till_date=until))
    bench.venue.advance(bench.later(29))
    assert bench.venue.take() == ()
    assert kinds(bench.quote(9.80, 9.85)) == ["OrderCancelled"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20250123 10:00:30", datetime(2025, 1, 23, 15, 0, 30, tzinfo=UTC)),
        ("20250123 10:00:30 US/Eastern", datetime(2025, 1, 23, 15, 0, 30, tzinfo=UTC)),
        ("20250123 15:00:30 UTC", datetime(2025, 1, 23, 15, 0, 30, tzinfo=UTC)),
        ("20250123-15:00:30", datetime(2025, 1, 23, 15, 0, 30, tzinfo=UTC)),
        ("20250123", datetime(2025, 1, 24, 4, 59, 59, tzinfo=UTC)),
        ("", None),
        ("tomorrow", None),
        ("20251323 10:00:00", None),
        ("20250123 25:00:00", None),
        ("20250123 10:00:00 Mars/Olympus", None),
        ("20250123 10:00:00 ../x", None),
    ],
)
def test_a_good_till_date_is_read_as_tws_reads_it(text: str, expected: datetime | None) -> None:
    assert good_till(text, "America/New_York") == expected


def test_the_standing_market_is_the_last_that_each_field_was_told_to_be() -> None:
    bench = Bench()
    assert bench.venue.quote("SLV") is None
    bench.quote(9.99, 10.01, size=300)
    bench.trade(10.00, size=70)
    assert bench.venue.quote("SLV") == MarketTick(
        OPEN + timedelta(seconds=2), "SLV", 9.99, 300, 10.01, 300, 10.00, 70, None, None
    )
