"""How long orders live and how much they take: times in force, auctions, liquidity, groups, contracts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest

from protocol.exchange.contract_key import contract_key, multiplier_of
from protocol.exchange.happenings import (
    Happening,
    MarketTick,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderRejected,
    Status,
)
from protocol.exchange.snapshot import snapshot_from_json, snapshot_to_json
from protocol.exchange.venue import AccountSettings, Venue, VenueSettings
from protocol.tws.messages import Contract, Order
from protocol.values import PriceGrid
from tests.venues import ACCOUNT, CASH, SLV, Bench, fills, kinds, limit, market, only, stop

CLOSE = datetime(2025, 1, 23, 21, 0, tzinfo=UTC)
OPTION = Contract(
    con_id=8, symbol="SLV", sec_type="OPT", local_symbol="SLV   250221C00010000", multiplier="100",
    exchange="SMART", currency="USD",
)  # fmt: skip


ACCOUNTS = (AccountSettings(ACCOUNT, CASH),)


def codes(happened: tuple[Happening, ...]) -> list[int]:
    return [h.code for h in only(happened, OrderRejected)]


def ends(happened: tuple[Happening, ...]) -> list[tuple[int, str]]:
    return [(h.order.order_id, h.reason) for h in only(happened, OrderCancelled)]


def revived(bench: Bench) -> None:
    """The bench goes on with a venue that came back from its snapshot."""
    saved = snapshot_to_json(bench.venue.snapshot())
    bench.venue = Venue.restore(bench.venue.settings, snapshot_from_json(saved))


# --- good after, good till ----------------------------------------------------------------------------


def test_an_order_good_after_a_time_does_nothing_until_then() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    after = (bench.now + timedelta(seconds=30)).strftime("%Y%m%d-%H:%M:%S")
    bench.place(1, attrs.evolve(market("BUY", 10), good_after_time=after))
    assert bench.state(1) == (Status.PRE_SUBMITTED, "", 10, 0)
    assert bench.quote(9.99, 10.01) == ()
    revived(bench)
    bench.venue.advance(bench.later(30))
    happened = bench.venue.take()
    assert only(happened, OrderChanged)[0].why == "the good-after time has come"
    assert fills(happened) == [(1, 10, Decimal("10.01"))]


def test_a_stop_good_after_a_time_is_not_elected_before() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    after = (bench.now + timedelta(seconds=30)).strftime("%Y%m%d-%H:%M:%S")
    bench.place(1, attrs.evolve(stop("SELL", 10, 9.50), good_after_time=after))
    assert bench.trade(9.00) == ()
    bench.trade(10.00)
    bench.venue.advance(bench.later(30))
    assert bench.state(1) == (Status.PRE_SUBMITTED, "trigger", 10, 0)
    assert fills(bench.trade(9.50))


def test_a_good_after_time_of_the_past_means_nothing() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    assert fills(bench.place(1, attrs.evolve(market("BUY", 10), good_after_time="20250123-10:00:00")))


def test_an_order_that_ends_before_it_begins_ends() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    order = attrs.evolve(
        limit("BUY", 10, 10.01), tif="GTD",
        good_after_time="20250123-15:01:00", good_till_date="20250123-15:00:30",
    )  # fmt: skip
    bench.place(1, order)
    bench.venue.advance(bench.later(120))
    assert kinds(bench.venue.take()) == ["OrderCancelled"]


def test_a_held_order_that_is_good_till_a_date_expires_after_it_was_transmitted() -> None:
    bench = Bench()
    held = attrs.evolve(limit("BUY", 10, 9.00), tif="GTD", good_till_date="20250123-15:00:30", transmit=False)
    bench.place(1, held)
    bench.venue.advance(bench.later(10))
    bench.place(1, attrs.evolve(held, transmit=True))
    bench.venue.advance(bench.later(30))
    assert ends(bench.venue.take()) == [(1, "The good-till date has passed.")]


# --- fill or kill, all or none, minimum quantity --------------------------------------------------------


def test_fill_or_kill_is_for_what_does_not_go_through_the_router_of_stocks() -> None:
    bench = Bench()
    bench.quote(1.00, 1.10, size=5, contract=OPTION)
    order = attrs.evolve(limit("BUY", 5, 1.10), tif="FOK")
    assert codes(bench.place(1, order)) == [201]
    assert bench.order(1).status is Status.INACTIVE
    assert fills(bench.place(2, order, contract=OPTION)) == [(2, 5, Decimal("1.1"))]
    killed = bench.place(3, attrs.evolve(order, total_quantity=Decimal(6)), contract=OPTION)
    assert ends(killed) == [(3, "Fill or kill: the order could not be filled.")]
    assert fills(killed) == []


@pytest.mark.parametrize("tif", ["AUC", "DTC", "GTX"])
def test_a_time_in_force_that_only_other_venues_have_makes_an_inactive_order(tif: str) -> None:
    bench = Bench()
    (rejected,) = only(bench.place(1, attrs.evolve(limit("BUY", 10, 9.00), tif=tif)), OrderRejected)
    assert (rejected.code, bench.order(1).status) == (201, Status.INACTIVE)
    assert rejected.text.startswith(f"Order rejected - reason:The time-in-force {tif} is invalid for this")


def test_all_or_none_waits_for_enough_shares_at_once() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=60)
    assert kinds(bench.place(1, attrs.evolve(limit("BUY", 100, 10.01), all_or_none=True))) == [
        "OrderAccepted"
    ]
    assert bench.trade(10.00, size=99) == ()
    taken = bench.place(2, limit("BUY", 60, 10.01))
    assert fills(taken) == [(2, 60, Decimal("10.01"))], "what it does not take is there for others"
    assert fills(bench.quote(9.99, 10.01, size=100)) == [(1, 100, Decimal("10.01"))]


def test_all_or_none_takes_a_print_that_is_large_enough() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(limit("BUY", 100, 9.90), all_or_none=True))
    assert bench.trade(9.89, size=99) == ()
    assert fills(bench.trade(9.89, size=100)) == [(1, 100, Decimal("9.9"))]


def test_a_minimum_quantity_holds_for_the_first_execution() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=49)
    assert kinds(bench.place(1, attrs.evolve(limit("BUY", 100, 10.01), min_qty=50))) == ["OrderAccepted"]
    assert fills(bench.quote(9.99, 10.01, size=50)) == [(1, 50, Decimal("10.01"))]
    assert fills(bench.quote(9.99, 10.01, size=1)) == [(1, 1, Decimal("10.01"))]


# --- auctions -------------------------------------------------------------------------------------------


def overnight() -> Bench:
    """Before an opening: the last session closed at a quote of 9.99 to 10.01."""
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(10.00)
    bench.venue.set_session(bench.later(), is_open=False)
    bench.venue.take()
    return bench


def at_open(order: Order) -> Order:
    return attrs.evolve(order, tif="OPG")


def test_orders_good_at_the_opening_trade_whole_at_the_first_trade_of_the_session() -> None:
    bench = overnight()
    bench.place(1, at_open(market("BUY", 5000)))
    bench.place(2, at_open(limit("SELL", 10, 10.20)))
    bench.place(3, at_open(limit("SELL", 10, 10.21)))
    assert [bench.order(n).status for n in (1, 2, 3)] == [Status.PRE_SUBMITTED] * 3
    bench.venue.set_session(bench.later(), is_open=True)
    assert bench.quote(10.10, 10.30) == ()
    revived(bench)
    happened = bench.trade(10.20, size=100)
    assert fills(happened) == [(1, 5000, Decimal("10.2")), (2, 10, Decimal("10.2"))]
    assert ends(happened) == [(3, "Its limit was not reached in the opening auction.")]


def test_a_print_before_the_opening_is_no_opening_print() -> None:
    bench = overnight()
    bench.place(1, at_open(market("BUY", 10)))
    assert bench.trade(10.50) == ()
    bench.venue.set_session(bench.later(), is_open=True)
    assert fills(bench.trade(10.20)) == [(1, 10, Decimal("10.2"))]


def test_a_halted_symbol_opens_when_it_trades_again() -> None:
    bench = overnight()
    bench.place(1, at_open(market("BUY", 10)))
    bench.venue.set_session(bench.later(), is_open=True)
    bench.venue.tick(MarketTick(bench.later(), "SLV", last=10.10, halted=True))
    assert bench.venue.take() == ()
    bench.venue.tick(MarketTick(bench.later(), "SLV", halted=False))
    assert fills(bench.trade(10.30)) == [(1, 10, Decimal("10.3"))]


def test_an_opening_order_that_comes_after_the_opening_waits_for_the_next_one() -> None:
    bench = overnight()
    bench.venue.set_session(bench.later(), is_open=True)
    bench.trade(10.10)
    assert kinds(bench.place(1, at_open(market("BUY", 10)))) == ["OrderAccepted"]
    assert bench.trade(10.20) == ()
    bench.venue.set_session(bench.later(), is_open=False)
    bench.venue.end_of_session(bench.later())
    assert only(bench.venue.take(), OrderCancelled) == []
    bench.venue.set_session(bench.later(), is_open=True)
    assert fills(bench.trade(10.40)) == [(1, 10, Decimal("10.4"))]


def test_an_opening_without_a_trade_ends_the_orders_that_were_good_at_it() -> None:
    bench = overnight()
    bench.place(1, at_open(market("BUY", 10)))
    bench.venue.set_session(bench.later(), is_open=True)
    bench.venue.set_session(bench.later(), is_open=False)
    bench.venue.end_of_session(bench.later())
    assert ends(bench.venue.take()) == [(1, "There was no opening auction for it.")]


@pytest.mark.parametrize("order_type", ["STP", "TRAIL", "MOC", "REL"])
def test_only_market_and_limit_orders_can_be_good_at_the_opening(order_type: str) -> None:
    bench = Bench()
    order = attrs.evolve(at_open(market("BUY", 10)), order_type=order_type, aux_price=10.0)
    assert codes(bench.place(1, order)) == [201]


def on_close(action: str, quantity: int, price: float | None = None) -> Order:
    order_type = "MOC" if price is None else "LOC"
    return attrs.evolve(market(action, quantity), order_type=order_type, lmt_price=price)


def test_orders_on_close_trade_whole_at_the_last_trade_of_the_session() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=10)
    bench.place(1, on_close("BUY", 5000))
    bench.place(2, on_close("SELL", 10, 10.05))
    bench.place(3, on_close("SELL", 10, 10.06))
    assert bench.state(1) == (Status.PRE_SUBMITTED, "", 5000, 0)
    assert bench.trade(10.05, size=10) == ()
    bench.quote(9.50, 9.60)
    revived(bench)
    bench.venue.set_session(CLOSE, is_open=False)
    happened = bench.venue.take()
    assert fills(happened) == [(1, 5000, Decimal("10.05")), (2, 10, Decimal("10.05"))]
    assert ends(happened) == [(3, "Its limit was not reached in the closing auction.")]


@pytest.mark.parametrize("halted", [True, False])
def test_without_a_closing_print_orders_on_close_end(halted: bool) -> None:
    bench = overnight()
    bench.venue.set_session(bench.later(), is_open=True)
    bench.place(1, on_close("BUY", 10))
    if halted:
        bench.trade(10.00)
        bench.venue.tick(MarketTick(bench.later(), "SLV", halted=True))
    bench.venue.set_session(CLOSE, is_open=False)
    assert ends(bench.venue.take()) == [(1, "There was no closing auction for it.")]


def test_an_order_on_close_comes_too_late_from_ten_minutes_before_it() -> None:
    bench = Bench()
    bench.now = CLOSE - timedelta(seconds=601)
    assert codes(bench.place(1, on_close("BUY", 10))) == []
    bench.now = CLOSE - timedelta(seconds=600)
    assert codes(bench.place(2, on_close("BUY", 10))) == [201]
    assert bench.order(2).status is Status.INACTIVE
    bench.place(3, limit("BUY", 10, 9.00))
    assert codes(bench.place(3, on_close("BUY", 10, 9.00))) == [201]
    assert bench.state(3) == (Status.SUBMITTED, "", 10, 0)
    bench.now = CLOSE
    assert codes(bench.place(4, on_close("BUY", 10))) == [], "for the next session"


# --- liquidity and prices -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "price"),
    [
        (market("BUY", 10), "10.05"),
        (market("SELL", 10), "9.96"),
        (attrs.evolve(market("BUY", 10), order_type="MTL"), "10.05"),
        (limit("BUY", 10, 10.50), "10.01"),
    ],
)
def test_slippage_makes_market_orders_dearer_and_leaves_limit_orders_alone(order: Order, price: str) -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, slippage_bps=Decimal(20), slippage_ticks=1))
    bench.quote(9.99, 10.01)
    assert fills(bench.place(1, order)) == [(1, 10, Decimal(price))]


def test_an_elected_stop_slips_too() -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, slippage_ticks=3))
    bench.quote(9.99, 10.01)
    bench.place(1, stop("SELL", 10, 9.50))
    assert fills(bench.trade(9.50)) == [(1, 10, Decimal("9.96"))]


def test_slippage_never_takes_a_price_below_one_tick() -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, slippage_ticks=50))
    bench.quote(0.001, 0.002)
    assert fills(bench.place(1, market("SELL", 10))) == [(1, 10, Decimal("0.0001"))]


def test_resting_orders_take_their_share_of_a_print_and_no_more() -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, participation=Decimal("0.1")))
    bench.quote(9.99, 10.01)
    bench.place(1, limit("BUY", 50, 9.95))
    assert fills(bench.trade(9.90, size=309)) == [(1, 30, Decimal("9.95"))]
    assert fills(bench.trade(9.90, size=9)) == []


def test_a_limit_far_through_the_market_is_refused_where_a_band_is_set_unless_it_says_so() -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, price_band=Decimal("0.03")))
    assert codes(bench.place(1, limit("BUY", 10, 99.00))) == [], "nothing is known of the market"
    bench.cancel(1)
    bench.quote(9.99, 10.00)
    assert codes(bench.place(2, limit("BUY", 10, 10.31))) == [163]
    assert codes(bench.place(3, limit("SELL", 10, 9.00))) == [163]
    assert codes(bench.place(4, limit("BUY", 10, 1.00))) == [], "away from the market is nobody's harm"
    override = attrs.evolve(limit("BUY", 10, 10.31), override_percentage_constraints=True)
    assert fills(bench.place(5, override)) == [(5, 10, Decimal("10"))]
    assert codes(bench.place(4, limit("BUY", 10, 10.31))) == [163]
    assert bench.order(4).order.lmt_price == 1.00


def test_a_stock_below_a_dollar_is_priced_in_hundredths_of_a_cent() -> None:
    bench = Bench()
    assert codes(bench.place(1, limit("BUY", 10, 0.1234))) == []
    assert codes(bench.place(2, limit("BUY", 10, 0.12345))) == [110]
    assert codes(bench.place(3, limit("BUY", 10, 1.2345))) == [110]


def test_a_contract_has_the_grid_it_was_given() -> None:
    bench = Bench()
    bench.venue.set_grid(OPTION.local_symbol, PriceGrid.of(Decimal("0.05")))
    assert codes(bench.place(1, limit("BUY", 1, 1.05), contract=OPTION)) == []
    assert codes(bench.place(2, limit("BUY", 1, 1.06), contract=OPTION)) == [110]
    assert codes(bench.place(3, limit("BUY", 1, 1.06))) == []


# --- contracts ------------------------------------------------------------------------------------------


def test_an_option_and_its_stock_are_different_books_and_positions() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    assert kinds(bench.place(1, market("BUY", 2), contract=OPTION)) == ["OrderAccepted"]
    assert fills(bench.quote(1.00, 1.10, contract=OPTION)) == [(1, 2, Decimal("1.1"))]
    assert fills(bench.place(2, market("SELL", 5))) == [(2, 5, Decimal("9.99"))]
    held = {contract_key(p.contract): p.quantity for p in bench.venue.positions(ACCOUNT)}
    assert held == {"SLV   250221C00010000": 2, "SLV": -5}
    assert codes(bench.place(3, attrs.evolve(limit("BUY", 5, 9.00)), contract=SLV)) == []
    assert codes(bench.place(3, limit("BUY", 5, 9.00), contract=OPTION)) == [105]


@pytest.mark.parametrize(
    ("contract", "key", "multiplier"),
    [
        (SLV, "SLV", "1"),
        (Contract(symbol="BRK B"), "BRK B", "1"),
        (OPTION, "SLV   250221C00010000", "100"),
        (Contract(symbol="ES", sec_type="FUT", local_symbol="ESH5", multiplier="50"), "ESH5", "50"),
        (Contract(symbol="EUR", sec_type="CASH", currency="USD"), "EUR.USD", "1"),
        (
            Contract(
                symbol="SLV", sec_type="OPT", last_trade_date_or_contract_month="20250221", strike=10.5,
                right="CALL", currency="USD",
            ),
            "SLV OPT 20250221 10.5 C USD",
            "100",
        ),
        (Contract(symbol="X", sec_type="FUT", multiplier="nonsense"), "X FUT", "1"),
    ],
)  # fmt: skip
def test_a_contract_is_known_by_its_ticker_or_local_symbol(
    contract: Contract, key: str, multiplier: str
) -> None:
    assert (contract_key(contract), multiplier_of(contract)) == (key, Decimal(multiplier))


# --- short sales ----------------------------------------------------------------------------------------


def test_a_short_sale_of_what_is_hard_to_borrow_is_held_until_shares_are_located() -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, short_locate=("SLV",), locate_delay_s=60.0))
    bench.quote(9.99, 10.01)
    (accepted,) = only(bench.place(1, market("SELL", 10)), OrderAccepted)
    assert (accepted.order.status, accepted.order.why_held) == (Status.PRE_SUBMITTED, "locate")
    revived(bench)
    assert bench.quote(9.99, 10.01) == ()
    bench.venue.advance(bench.later(60))
    happened = bench.venue.take()
    assert only(happened, OrderChanged)[0].why == "shares were located"
    assert fills(happened) == [(1, 10, Decimal("9.99"))]


def test_shares_that_are_never_found_hold_the_order_until_it_is_cancelled() -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, short_locate=("*",)))
    bench.quote(9.99, 10.01)
    bench.place(1, market("SELL", 10))
    revived(bench)
    bench.venue.advance(bench.later(86400))
    assert bench.venue.take() == ()
    assert kinds(bench.cancel(1)) == ["OrderCancelled"]


def test_selling_what_is_held_needs_no_locate() -> None:
    bench = Bench(settings=VenueSettings(accounts=ACCOUNTS, short_locate=("*",)))
    bench.quote(9.99, 10.01)
    bench.place(1, market("BUY", 10))
    assert fills(bench.place(2, market("SELL", 10)))
    assert bench.place(3, market("SELL", 1))[0].order.why_held == "locate"  # type: ignore[union-attr]
