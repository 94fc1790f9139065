"""Margin and buying power: what positions require, what an order would do, what an account cannot carry."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.account_figures import AccountFigures
from protocol.exchange.happenings import Executed, Happening, OrderRejected, Status
from protocol.exchange.margin import Holding, MarginRules, Requirement, requirement, total_requirement
from protocol.exchange.venue_settings import AccountSettings, VenueSettings
from protocol.tws.messages import Contract, Order
from tests.venues import ACCOUNT, GLD, SLV, Bench, limit, market, only, stop

D = Decimal
RULES = MarginRules()
CALL = Contract(
    symbol="SLV", sec_type="OPT", last_trade_date_or_contract_month="20250221", strike=11.0, right="C",
    multiplier="100", currency="USD", local_symbol="SLV   250221C00011000",
)  # fmt: skip
PUT = attrs.evolve(CALL, right="P", strike=9.0, local_symbol="SLV   250221P00009000")
FUTURE = Contract(symbol="ES", sec_type="FUT", multiplier="50", currency="USD", local_symbol="ESH5")
EURO = Contract(symbol="EUR", sec_type="CASH", currency="USD", local_symbol="EUR.USD")


def bench(cash: int = 1000, settings: VenueSettings | None = None) -> Bench:
    accounts = (AccountSettings(ACCOUNT, D(cash)),)
    return Bench(settings=attrs.evolve(settings or VenueSettings(), accounts=accounts))


def figures(venue: Bench) -> AccountFigures:
    return venue.venue.figures(ACCOUNT)


def refused(happened: tuple[Happening, ...]) -> list[tuple[int, str]]:
    return [(one.code, one.text) for one in only(happened, OrderRejected)]


# --- one holding ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contract", "quantity", "price", "initial", "maintenance"),
    [
        (SLV, 100, "10", "500", "250"),
        (SLV, -100, "10", "500", "300"),
        (CALL, 2, "0.50", "0", "0"),
        (CALL, -1, "0.50", "150", "150"),
        (PUT, -1, "0.20", "120", "120"),
        (FUTURE, 1, "6000", "18000", "15000"),
        (FUTURE, -1, "6000", "18000", "15000"),
        (EURO, -10_000, "1.10", "330", "330"),
    ],
    ids=[
        "half to buy a stock and a quarter to keep it",
        "half to sell a stock short and 30 % to keep it so",
        "a bought option is paid for",
        "a written call: premium and a fifth of the stock less what it is out of the money",
        "a written put: premium and a fifth of the stock less what it is out of the money",
        "a future by its notional value",
        "a sold future as a bought one",
        "a haircut of a currency",
    ],
)
def test_each_kind_of_holding_has_its_requirement(
    contract: Contract, quantity: int, price: str, initial: str, maintenance: str
) -> None:
    needed = requirement(Holding(contract, quantity, D(price)), RULES, underlying=D(10))
    assert needed == Requirement(D(initial), D(maintenance))


def test_a_written_option_far_out_of_the_money_keeps_a_tenth() -> None:
    far = attrs.evolve(CALL, strike=50.0)
    assert requirement(Holding(far, -1, D("0.05")), RULES, underlying=D(10)).initial == D("105.00")


def test_shares_cover_written_calls_as_far_as_they_go() -> None:
    shares, written = Holding(SLV, 150, D(10)), Holding(CALL, -2, D("0.50"))
    together = total_requirement([shares, written], RULES, lambda _: D(10)).initial
    assert together == D(750) + D(150)
    assert total_requirement([Holding(SLV, 200, D(10)), written], RULES, lambda _: D(10)).initial == D(1000)


def test_short_shares_cover_written_puts() -> None:
    held = [Holding(SLV, -100, D(10)), Holding(PUT, -1, D("0.20"))]
    assert total_requirement(held, RULES, lambda _: D(10)).initial == D(500)


@given(st.integers(-500, 500).filter(bool), st.decimals("0.01", "999", places=2))
def test_a_stock_never_needs_more_to_keep_than_to_open(quantity: int, price: Decimal) -> None:
    needed = requirement(Holding(SLV, quantity, price), RULES)
    assert 0 <= needed.maintenance <= needed.initial <= abs(quantity) * price


# --- the figures of an account ------------------------------------------------------------------------


def test_a_stock_position_takes_half_its_value_of_the_available_funds() -> None:
    venue = bench(100_000)
    venue.quote(10.00, 10.00)
    venue.place(1, market("BUY", 1000))
    now = figures(venue)
    assert (now.net_liquidation, now.cash, now.stock_value) == (D(99_995), D(89_995), D(10_000))
    assert now.margin == Requirement(D(5000), D(2500))
    assert (now.available_funds, now.excess_liquidity) == (D(94_995), D(97_495))
    assert now.buying_power == 4 * now.available_funds
    assert (now.gross_position_value, now.sma) == (D(10_000), D(94_995))
    assert (round(now.cushion, 4), round(now.leverage, 4)) == (D("0.9750"), D("0.1000"))


def test_buying_power_is_four_times_the_funds_by_day_and_twice_overnight_or_below_25000() -> None:
    venue = bench(100_000)
    assert figures(venue).buying_power == D(400_000)
    venue.venue.set_session(venue.now, is_open=False)
    assert figures(venue).buying_power == D(200_000)
    assert figures(bench(24_999)).buying_power == D(49_998)


def test_a_bought_option_has_value_but_no_loan_value() -> None:
    venue = bench(10_000)
    venue.quote(0.50, 0.50, contract=attrs.evolve(SLV, symbol=CALL.local_symbol))
    venue.place(1, market("BUY", 2), contract=CALL)
    now = figures(venue)
    assert (now.option_value, now.net_liquidation) == (D(100), D("9998.70"))
    assert (now.equity_with_loan, now.margin.initial) == (D("9898.70"), D(0))


def test_a_future_moves_no_cash_until_it_is_closed() -> None:
    venue = bench(100_000)
    key = attrs.evolve(SLV, symbol="ESH5")
    venue.quote(6000.0, 6000.0, contract=key)
    venue.place(1, market("BUY", 1), contract=FUTURE)
    venue.quote(6010.0, 6010.0, contract=key)
    now = figures(venue)
    assert (now.cash, now.futures_pnl, now.net_liquidation) == (D("99999.15"), D(500), D("100499.15"))
    assert now.commodities == Requirement(D(18_030), D(15_025))
    venue.place(2, market("SELL", 1), contract=FUTURE)
    assert (figures(venue).cash, figures(venue).futures_pnl) == (D("100498.30"), D(0))


def test_a_currency_pair_moves_two_balances_and_no_net_liquidation() -> None:
    venue = bench(100_000)
    key = attrs.evolve(SLV, symbol="EUR.USD")
    venue.quote(1.10, 1.10, size=10_000, contract=key)
    venue.place(1, market("BUY", 10_000), contract=EURO)
    dollar, euro = figures(venue).by_currency
    assert (dollar.cash, euro.currency, euro.cash, euro.rate) == (D(88_998), "EUR", D(10_000), D("1.1"))
    assert figures(venue).net_liquidation == D(99_998)
    venue.quote(1.20, 1.20, contract=key)
    assert figures(venue).net_liquidation == D(100_998)


def test_profits_of_the_day_begin_anew_with_the_first_opening_of_a_date() -> None:
    venue = bench(100_000)
    venue.venue.set_session(venue.now, is_open=False)
    venue.venue.set_session(venue.now, is_open=True)
    venue.quote(10.00, 10.00)
    venue.place(1, market("BUY", 100))
    venue.quote(11.00, 11.00)
    assert figures(venue).daily_pnl == D(99)
    venue.venue.set_session(venue.later(60), is_open=False)
    venue.venue.set_session(venue.later(86_400), is_open=True)
    assert (figures(venue).daily_pnl, figures(venue).unrealized_pnl) == (D(0), D(99))
    assert figures(venue).start_equity == D(100_099)
    venue.quote(12.00, 12.00)
    venue.place(2, market("SELL", 100))
    now = figures(venue)
    assert (now.daily_pnl, now.realized_pnl, now.unrealized_pnl) == (D(99), D(198), D(0))


# --- what an account cannot carry ---------------------------------------------------------------------


def test_an_order_that_needs_more_margin_than_there_is_equity_is_rejected() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    ((code, text),) = refused(venue.place(1, market("BUY", 201)))
    assert code == 201
    assert text.startswith("Order rejected - reason:YOUR ORDER IS NOT ACCEPTED.")
    assert "[1000.00 USD] MUST EXCEED THE INITIAL MARGIN [1005.00 USD]" in text
    assert venue.order(1).status is Status.INACTIVE
    assert only(venue.place(2, market("BUY", 200)), Executed)


def test_orders_that_work_already_are_counted_as_if_they_filled() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    venue.place(1, limit("BUY", 150, 9.00))
    assert refused(venue.place(2, market("BUY", 100)))
    venue.cancel(1)
    assert only(venue.place(3, market("BUY", 100)), Executed)


def test_the_two_sides_of_one_contract_do_not_add_up() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    venue.place(1, limit("BUY", 150, 9.00))
    assert not refused(venue.place(2, limit("SELL", 150, 11.00)))


def test_of_an_oca_group_only_the_largest_order_counts() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    for order_id, price in enumerate((9.00, 8.00, 7.00), start=1):
        member = attrs.evolve(limit("BUY", 150, price), oca_group="one of us", oca_type=1)
        assert not refused(venue.place(order_id, member))


def test_a_closing_order_is_never_refused() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    venue.place(1, market("BUY", 190))
    venue.quote(1.00, 1.00)
    assert figures(venue).available_funds < 0
    assert not refused(venue.place(2, stop("SELL", 190, 0.50)))
    assert not refused(venue.place(3, limit("SELL", 190, 2.00)))
    assert refused(venue.place(4, limit("BUY", 1, 1.00)))


def test_a_reversal_is_judged_by_what_it_opens() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    venue.place(1, market("BUY", 100))
    assert refused(venue.place(2, market("SELL", 320)))
    assert not refused(venue.place(3, market("SELL", 250)))


def test_a_modify_to_more_than_the_account_carries_leaves_the_original() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    venue.place(1, limit("BUY", 100, 9.00))
    assert [code for code, _ in refused(venue.place(1, limit("BUY", 300, 9.00)))] == [201]
    assert venue.state(1) == (Status.SUBMITTED, "", 100, 0)
    assert not refused(venue.place(1, limit("BUY", 180, 9.00)))


def test_an_order_in_another_contract_finds_the_margin_taken() -> None:
    venue = bench(1000)
    venue.quote(10.00, 10.00)
    venue.quote(20.00, 20.00, contract=GLD)
    venue.place(1, market("BUY", 150))
    assert refused(venue.place(2, market("BUY", 30), contract=GLD))
    assert not refused(venue.place(3, market("BUY", 20), contract=GLD))


def test_nothing_is_refused_where_margin_is_not_checked() -> None:
    venue = bench(1000, VenueSettings(check_margin=False))
    venue.quote(10.00, 10.00)
    assert only(venue.place(1, market("BUY", 900)), Executed)


def test_an_order_without_any_price_is_not_judged() -> None:
    assert not refused(bench(1).place(1, market("BUY", 1_000_000)))


# --- what if --------------------------------------------------------------------------------------------


def impact(venue: Bench, order: Order) -> tuple[Decimal, ...]:
    told = venue.venue.margin_impact(SLV, attrs.evolve(order, account=ACCOUNT))
    return (
        told.margin_before.initial, told.margin_after.initial, told.margin_after.maintenance,
        told.equity_after - told.equity_before, told.commission,
    )  # fmt: skip


def test_what_if_tells_margin_before_and_after_and_the_commission() -> None:
    venue = bench(100_000)
    venue.quote(10.00, 10.00)
    assert impact(venue, market("BUY", 1000)) == (D(0), D(5000), D(2500), D(-5), D(5))
    venue.place(1, market("BUY", 1000))
    assert impact(venue, market("SELL", 1000)) == (D(5000), D(0), D(0), D(-5), D(5))
    assert impact(venue, limit("SELL", 1500, 12.0)) == (D(5000), D(3000), D(1800), D("-7.5"), D("7.5"))


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 300)), min_size=1, max_size=12))
@pytest.mark.slow
def test_whatever_is_traded_the_equity_carried_the_margin_when_it_was_opened(
    orders: list[tuple[bool, int]],
) -> None:
    venue = bench(1000, VenueSettings(min_commission=D(0), commission_per_share=D(0)))
    venue.quote(10.00, 10.00, size=10**6)
    for number, (is_buy, quantity) in enumerate(orders, start=1):
        venue.place(number, market("BUY" if is_buy else "SELL", quantity))
        now = figures(venue)
        assert now.available_funds >= 0
        assert now.net_liquidation == D(1000)
        told = venue.venue.margin_impact(SLV, attrs.evolve(market("BUY", 1), account=ACCOUNT))
        assert (told.margin_before, told.equity_before) == (now.margin, now.equity_with_loan)


def test_what_if_and_the_figures_agree_on_options_futures_and_currencies() -> None:
    venue = bench(200_000)
    for key, price in ((CALL.local_symbol, 0.5), ("ESH5", 6000.0), ("EUR.USD", 1.1)):
        venue.quote(price, price, size=10_000, contract=attrs.evolve(SLV, symbol=key))
    venue.place(1, market("SELL", 2), contract=CALL)
    venue.place(2, market("BUY", 1), contract=FUTURE)
    venue.place(3, market("BUY", 10_000), contract=EURO)
    for key, price in ((CALL.local_symbol, 0.8), ("ESH5", 5990.0), ("EUR.USD", 1.2)):
        venue.quote(price, price, contract=attrs.evolve(SLV, symbol=key))
    now = figures(venue)
    told = venue.venue.margin_impact(SLV, attrs.evolve(market("BUY", 1), account=ACCOUNT))
    assert (told.margin_before, told.equity_before) == (now.margin, now.equity_with_loan)
