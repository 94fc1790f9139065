"""The order types of the venue: what elects them, what they follow, and at which price they trade."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from protocol.exchange.happenings import (
    Executed,
    MarketTick,
    OrderCancelled,
    OrderChanged,
    OrderRejected,
    OrderTriggered,
    Status,
)
from protocol.exchange.order_kinds import KINDS
from protocol.exchange.snapshot import snapshot_from_json, snapshot_to_json
from protocol.exchange.venue import Venue
from protocol.tws.messages import Contract, Order
from tests.venues import Bench, fills, kinds, limit, market, only, stop

FUTURE = Contract(
    con_id=7,
    symbol="ES",
    sec_type="FUT",
    local_symbol="ESH5",
    multiplier="50",
    exchange="CME",
    currency="USD",
)
OPTION = Contract(
    con_id=8, symbol="SLV", sec_type="OPT", local_symbol="SLV   250221C00010000", multiplier="100",
    exchange="SMART", currency="USD",
)  # fmt: skip


def trail(action: str, quantity: int, amount: float, *, start: float | None = None) -> Order:
    """A trailing stop, good till cancelled."""
    return attrs.evolve(
        market(action, quantity), order_type="TRAIL", aux_price=amount, trail_stop_price=start, tif="GTC"
    )


def touch(action: str, quantity: int, price: float) -> Order:
    return attrs.evolve(market(action, quantity), order_type="MIT", aux_price=price)


def typed(order: Order, order_type: str) -> Order:
    return attrs.evolve(order, order_type=order_type)


# --- trailing stops ---------------------------------------------------------------------------------


def test_a_trailing_stop_starts_at_its_distance_from_the_last_trade_and_follows_it_up_only() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(10.00)
    bench.place(1, trail("SELL", 10, 0.50))
    assert bench.order(1).order.trail_stop_price == 9.50
    assert bench.state(1) == (Status.PRE_SUBMITTED, "trigger", 10, 0)
    moved = only(bench.trade(10.20), OrderChanged)
    assert [(m.order.order.trail_stop_price, m.why) for m in moved] == [(9.70, "the stop trailed the market")]
    assert bench.trade(9.80) == (), "it never loosens"
    assert bench.order(1).order.trail_stop_price == 9.70
    bench.quote(9.60, 9.90)
    happened = bench.trade(9.70)
    assert kinds(happened)[0] == "OrderTriggered"
    assert fills(happened) == [(1, 10, Decimal("9.6"))]


def test_a_trailing_stop_that_buys_follows_the_market_down() -> None:
    bench = Bench()
    bench.trade(10.00)
    bench.place(1, trail("BUY", 10, 0.50))
    assert bench.order(1).order.trail_stop_price == 10.50
    bench.trade(9.00)
    assert bench.order(1).order.trail_stop_price == 9.50
    assert kinds(bench.trade(9.50)) == ["OrderTriggered"]


def test_a_trailing_percentage_is_of_the_market_and_rounded_away_from_it() -> None:
    bench = Bench()
    bench.trade(10.00)
    order = attrs.evolve(trail("SELL", 10, 0.0), trailing_percent=3.33)
    bench.place(1, order)
    assert bench.order(1).order.trail_stop_price == 9.66
    bench.place(2, attrs.evolve(order, action="BUY"))
    assert bench.order(2).order.trail_stop_price == 10.34


def test_a_trailing_stop_keeps_the_start_its_owner_gave_until_the_market_draws_it() -> None:
    bench = Bench()
    bench.trade(10.00)
    bench.place(1, trail("SELL", 10, 0.50, start=9.20))
    assert bench.order(1).order.trail_stop_price == 9.20
    bench.trade(10.01)
    assert bench.order(1).order.trail_stop_price == 9.51


def test_a_trailing_stop_without_a_market_waits_for_its_first_price() -> None:
    bench = Bench()
    bench.place(1, trail("SELL", 10, 0.50))
    assert bench.order(1).order.trail_stop_price is None
    bench.quote(9.99, 10.01)
    assert bench.order(1).order.trail_stop_price == 9.49, "the bid, while nothing has traded"
    bench.trade(10.20)
    assert bench.order(1).order.trail_stop_price == 9.70


def test_a_trailing_stop_stands_still_while_the_symbol_is_halted() -> None:
    bench = Bench()
    bench.trade(10.00)
    bench.place(1, trail("SELL", 10, 0.50))
    bench.venue.tick(MarketTick(at=bench.later(), symbol="SLV", last=11.00, halted=True))
    assert bench.order(1).order.trail_stop_price == 9.50


def test_a_sleeping_trailing_child_begins_to_trail_when_its_parent_fills() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(12.00)
    bench.place(1, attrs.evolve(limit("BUY", 10, 9.90), transmit=False))
    bench.place(2, attrs.evolve(trail("SELL", 10, 0.50), parent_id=1))
    assert bench.order(2).order.trail_stop_price is None
    bench.trade(10.00)
    happened = bench.quote(9.85, 9.90)
    woken = only(happened, OrderChanged)
    assert [(w.order.order_id, w.order.order.trail_stop_price) for w in woken] == [(2, 9.50)]


@pytest.mark.parametrize("parent", [market("BUY", 10), stop("BUY", 10, 11.00), trail("BUY", 10, 0.5)])
def test_a_trailing_stop_is_attached_to_a_limit_order_only(parent: Order) -> None:
    bench = Bench()
    bench.place(1, attrs.evolve(parent, transmit=False))
    (refused,) = only(bench.place(2, attrs.evolve(trail("SELL", 10, 0.5), parent_id=1)), OrderRejected)
    assert (refused.code, refused.order) == (328, None)
    assert refused.text == "Trailing stop orders can be attached to limit or stop-limit orders only."


def test_a_modify_that_sends_the_shown_stop_again_leaves_the_trailing_stop_where_it_is() -> None:
    bench = Bench()
    bench.trade(10.00)
    bench.place(1, trail("SELL", 10, 0.50))
    shown = bench.order(1).order
    bench.trade(11.00)
    bench.place(1, attrs.evolve(bench.order(1).order, total_quantity=Decimal(5)))
    assert bench.order(1).order.trail_stop_price == 10.50
    bench.place(1, trail("SELL", 10, 0.50))
    assert bench.order(1).order.trail_stop_price == 10.50, "what was sent first asks for nothing new"
    bench.place(1, attrs.evolve(shown, trail_stop_price=10.10))
    assert bench.order(1).order.trail_stop_price == 10.10, "another stop is the owner's to have"
    bench.place(1, trail("SELL", 10, 2.00))
    assert bench.order(1).order.trail_stop_price == 9.00, "another distance is measured anew"


def test_a_trailing_limit_order_keeps_its_limit_at_the_offset_from_its_stop() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.trade(10.00)
    order = attrs.evolve(typed(trail("SELL", 10, 0.50), "TRAIL LIMIT"), lmt_price_offset=0.10)
    bench.place(1, order)
    assert (bench.order(1).order.trail_stop_price, bench.order(1).order.lmt_price) == (9.50, 9.40)
    bench.trade(10.30)
    assert (bench.order(1).order.trail_stop_price, bench.order(1).order.lmt_price) == (9.80, 9.70)
    bench.quote(9.60, 9.90)
    assert kinds(bench.trade(9.80)) == ["OrderTriggered"], "the bid is beyond its limit"
    assert fills(bench.quote(9.70, 9.90)) == [(1, 10, Decimal("9.7"))]


def test_a_trailing_limit_order_with_a_limit_of_its_own_takes_the_offset_from_it() -> None:
    bench = Bench()
    bench.trade(10.00)
    order = attrs.evolve(typed(trail("BUY", 10, 0.50, start=10.60), "TRAIL LIMIT"), lmt_price=10.75)
    bench.place(1, order)
    shown = bench.order(1).order
    assert (shown.trail_stop_price, shown.lmt_price, shown.lmt_price_offset) == (10.60, 10.75, 0.15)
    bench.trade(9.00)
    assert (bench.order(1).order.trail_stop_price, bench.order(1).order.lmt_price) == (9.50, 9.65)


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (trail("SELL", 10, 0.0), 321),
        (attrs.evolve(trail("SELL", 10, 0.5), trailing_percent=2.0), 321),
        (trail("SELL", 10, -0.5), 321),
        (trail("SELL", 10, float("nan")), 321),
        (attrs.evolve(trail("SELL", 10, 0.0), trailing_percent=100.0), 321),
        (trail("SELL", 10, 0.5, start=9.505), 110),
        (trail("SELL", 10, 0.5, start=-1.0), 321),
        (typed(trail("SELL", 10, 0.5), "TRAIL LIMIT"), 321),
        (attrs.evolve(typed(trail("SELL", 10, 0.5), "TRAIL LIMIT"), lmt_price=9.005), 110),
        (attrs.evolve(typed(trail("SELL", 10, 0.5), "TRAIL LIMIT"), lmt_price_offset=float("inf")), 321),
        (attrs.evolve(typed(market("SELL", 10), "REL"), lmt_price=9.005), 110),
        (attrs.evolve(typed(market("SELL", 10), "REL"), percent_offset=1.5), 321),
        (attrs.evolve(typed(market("SELL", 10), "PEG MID"), aux_price=float("nan")), 321),
        (typed(market("SELL", 10), "PEG BENCH"), 321),
        (typed(market("SELL", 10), "PEG STK"), 387),
        (typed(market("SELL", 10), "MIT"), 321),
        (typed(touch("SELL", 10, 9.50), "LIT"), 321),
        (typed(market("SELL", 10), "LOC"), 321),
    ],
)
def test_an_order_whose_prices_do_not_suit_its_type_is_refused(order: Order, code: int) -> None:
    bench = Bench()
    happened = bench.place(1, order)
    assert [(h.code, h.order) for h in only(happened, OrderRejected)] == [(code, None)]


# --- touched, to limit, with protection ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "price", "before", "at", "filled"),
    [("BUY", 9.50, 9.51, 9.50, "10.01"), ("SELL", 10.50, 10.49, 10.50, "9.99")],
)
def test_a_market_if_touched_order_is_elected_where_the_market_comes_to_meet_it(
    action: str, price: float, before: float, at: float, filled: str
) -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, touch(action, 10, price))
    assert bench.state(1) == (Status.PRE_SUBMITTED, "trigger", 10, 0)
    assert bench.trade(before) == ()
    happened = bench.trade(at)
    assert kinds(happened)[:2] == ["OrderTriggered", "Executed"]
    assert fills(happened) == [(1, 10, Decimal(filled))]


def test_a_limit_if_touched_order_works_as_a_limit_order_from_then_on() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(typed(touch("BUY", 10, 9.50), "LIT"), lmt_price=9.45))
    assert kinds(bench.trade(9.50)) == ["OrderTriggered"]
    assert bench.state(1) == (Status.SUBMITTED, "", 10, 0)
    assert fills(bench.trade(9.44)) == [(1, 10, Decimal("9.45"))]


def test_what_a_market_to_limit_order_does_not_get_at_once_rests_at_the_price_of_its_fill() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=30)
    assert fills(bench.place(1, typed(market("BUY", 100), "MTL"))) == [(1, 30, Decimal("10.01"))]
    assert bench.quote(9.99, 10.02, size=30) == ()
    assert fills(bench.quote(9.99, 10.01)) == [(1, 70, Decimal("10.01"))]


def test_a_protected_stop_does_not_trade_far_from_the_price_that_elected_it() -> None:
    bench = Bench()
    bench.quote(4990.0, 5010.0, contract=FUTURE)
    order = typed(stop("SELL", 1, 4900.0), "STP PRT")
    bench.place(1, order, contract=FUTURE)
    tick = MarketTick(
        at=bench.later(), symbol="ESH5", bid=4800.0, bid_size=10, ask=4900.0, ask_size=10, last=4890.0
    )
    bench.venue.tick(tick)
    assert kinds(bench.venue.take()) == ["OrderTriggered"]
    assert fills(bench.quote(4875.49, 4900.0, contract=FUTURE)) == []
    assert fills(bench.quote(4875.50, 4900.0, contract=FUTURE)) == [(1, 1, Decimal("4875.5"))]


# --- pegged orders ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "bid", "ask"),
    [
        (typed(market("BUY", 10), "REL"), 10.05, 10.10),
        (attrs.evolve(typed(market("BUY", 10), "REL"), aux_price=0.05), 10.05, 10.10),
        (attrs.evolve(typed(market("BUY", 10), "PEG MKT"), aux_price=0.03), 10.05, 10.10),
        (typed(market("BUY", 10), "PEG MID"), 10.05, 10.10),
        (typed(market("SELL", 10), "PEG BEST"), 10.05, 10.10),
    ],
)
def test_a_pegged_order_waits_at_its_peg_and_trades_when_a_trade_prints_beyond_it(
    order: Order, bid: float, ask: float
) -> None:
    bench = Bench()
    bench.quote(bid, ask, size=5)
    placed = bench.place(1, order)
    pegs = {"REL": bid + (order.aux_price or 0.0), "PEG MKT": ask - (order.aux_price or 0.0)}
    pegs |= {"PEG MID": 10.07, "PEG BEST": ask}
    peg = Decimal(str(round(pegs[order.order_type], 2)))
    if peg >= Decimal(str(ask)) and order.action == "BUY":
        assert fills(placed) == [(1, 5, Decimal(str(ask)))], "an offset that crosses takes the quote"
        return
    assert placed[1:] == ()
    assert bench.trade(float(peg)) == ()
    beyond = float(peg) + (-0.01 if order.action == "BUY" else 0.01)
    assert fills(bench.trade(beyond)) == [(1, 10, peg)]


def test_a_pegged_order_follows_the_market_as_far_as_its_cap() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(typed(market("BUY", 10), "REL"), lmt_price=10.05))
    bench.quote(10.20, 10.25)
    assert bench.trade(10.10) == ()
    assert fills(bench.trade(10.04)) == [(1, 10, Decimal("10.05"))]


def test_the_print_that_comes_with_a_new_quote_meets_the_old_peg() -> None:
    bench = Bench()
    bench.quote(10.00, 10.02)
    bench.place(1, typed(market("BUY", 10), "REL"))
    bench.venue.tick(MarketTick(bench.later(), "SLV", 10.10, 100, 10.12, 100, last=10.05, last_size=50))
    assert fills(bench.venue.take()) == []
    bench.venue.tick(MarketTick(bench.later(), "SLV", 10.00, 100, 10.02, 100, last=10.05, last_size=50))
    assert fills(bench.venue.take()) == [(1, 10, Decimal("10.1"))]


def test_a_pegged_order_without_a_sound_quote_trades_with_nobody() -> None:
    bench = Bench()
    bench.quote(0.0, 10.00)
    assert kinds(bench.place(1, typed(market("BUY", 10), "PEG MKT"))) == ["OrderAccepted"]
    assert bench.trade(9.00) == ()


def test_an_order_pegged_to_a_benchmark_stands_at_its_starting_price() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    order = attrs.evolve(typed(market("BUY", 10), "PEG BENCH"), starting_price=9.95, lmt_price=9.97)
    bench.place(1, order)
    assert fills(bench.trade(9.94)) == [(1, 10, Decimal("9.95"))]


# --- trigger methods ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "instants", "elected"),
    [
        (2, [(9.00, 9.10, None), (9.95, 10.05, 9.50)], 2),
        (3, [(9.95, 10.05, 9.50), (9.95, 10.05, None), (9.95, 10.05, 9.49)], 3),
        (3, [(9.95, 10.05, 9.50), (9.95, 10.05, 9.60), (9.95, 10.05, 9.49), (9.95, 10.05, 9.40)], 4),
        (4, [(9.95, 10.05, 9.40), (9.40, 9.51, None), (9.40, 9.50, None)], 3),
        (1, [(9.40, 9.50, None), (9.40, 9.55, None), (9.40, 9.50, None), (9.30, 9.40, None)], 4),
        (7, [(9.95, 10.05, 9.51), (9.40, 9.50, 9.60)], 2),
        (7, [(9.95, 10.05, 9.50)], 1),
        (8, [(9.40, 9.62, 9.40), (9.40, 9.60, None)], 2),
    ],
)
def test_a_stop_is_elected_by_its_trigger_method(
    method: int, instants: list[tuple[float, float, float | None]], elected: int
) -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(stop("SELL", 10, 9.50), trigger_method=method))
    for number, (bid, ask, last) in enumerate(instants, 1):
        size = None if last is None else 100
        bench.venue.tick(MarketTick(bench.later(), "SLV", bid, 100, ask, 100, last, size))
        triggered = only(bench.venue.take(), OrderTriggered)
        assert bool(triggered) is (number == elected), number


def test_an_option_waits_for_two_quotes_in_a_row_by_default() -> None:
    bench = Bench()
    bench.quote(1.00, 1.10, contract=OPTION)
    bench.place(1, stop("SELL", 1, 0.90), contract=OPTION)
    assert bench.quote(0.70, 0.90, contract=OPTION) == ()
    bench.venue = Venue.restore(
        bench.venue.settings, snapshot_from_json(snapshot_to_json(bench.venue.snapshot()))
    )
    happened = bench.quote(0.70, 0.85, contract=OPTION)
    assert kinds(happened)[0] == "OrderTriggered"


def test_a_modify_does_not_count_as_a_second_quote() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01)
    bench.place(1, attrs.evolve(stop("SELL", 10, 9.50), trigger_method=1))
    bench.quote(9.40, 9.45)
    assert kinds(bench.place(1, attrs.evolve(bench.order(1).order, total_quantity=Decimal(9)))) == [
        "OrderModified"
    ]
    assert bench.order(1).status is Status.PRE_SUBMITTED


# --- all of them ----------------------------------------------------------------------------------------


def an_order_of(order_type: str) -> Order:
    """A sound order of a type, which does not trade at 9.99 to 10.01."""
    return Order(
        action="BUY",
        total_quantity=Decimal(10),
        order_type=order_type,
        lmt_price=9.00,
        aux_price=9.50 if order_type in ("MIT", "LIT") else 1.00 if KINDS[order_type].trails else 11.00,
        lmt_price_offset=0.10 if order_type == "TRAIL LIMIT" else None,
        starting_price=9.00,
        tif="GTC",
    )


RESTING = sorted(set(KINDS) - {"MKT", "MTL"})


@pytest.mark.parametrize("order_type", RESTING)
def test_every_type_can_be_cancelled_modified_saved_and_restored(order_type: str) -> None:
    contract = {"STP PRT": FUTURE, "PEG STK": OPTION}.get(order_type)
    bench = Bench()
    order = an_order_of(order_type)
    if KINDS[order_type].peg is not None:
        order = attrs.evolve(order, aux_price=0.0)
    if contract is None:
        bench.quote(9.99, 10.01)
        assert kinds(bench.place(1, order)) == ["OrderAccepted"]
    else:
        bench.quote(9.99, 10.01, contract=contract)
        assert kinds(bench.place(1, order, contract=contract)) == ["OrderAccepted"]
    shown = bench.order(1).order
    wanted = attrs.evolve(shown, total_quantity=Decimal(7))
    assert kinds(bench.place(1, wanted, contract=bench.order(1).contract)) == ["OrderModified"]
    snapshot = bench.venue.snapshot()
    restored = Venue.restore(bench.venue.settings, snapshot_from_json(snapshot_to_json(snapshot)))
    assert restored.snapshot() == snapshot
    assert kinds(bench.cancel(1)) == ["OrderCancelled"]
    assert bench.state(1) == (Status.CANCELLED, "", 7, 0)


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [("lmt", "LMT"), ("TRAIL LMT", "TRAIL LIMIT"), ("PEGMID", "PEG MID"), ("MKTCLS", "MOC")],
)
def test_other_spellings_of_a_type_mean_the_same(spelled: str, meant: str) -> None:
    bench = Bench()
    bench.place(1, typed(an_order_of(meant), spelled))
    assert bench.order(1).order.order_type == meant


def test_immediate_or_cancel_waits_for_its_trigger_and_then_gives_up_the_rest() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=4)
    bench.place(1, attrs.evolve(touch("BUY", 10, 9.50), tif="IOC"))
    happened = bench.trade(9.50)
    assert kinds(happened)[0] == "OrderTriggered"
    assert [h.execution.quantity for h in only(happened, Executed)] == [4]
    assert only(happened, OrderCancelled)
