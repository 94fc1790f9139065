"""The books: positions, average cost, profit, commissions, cash."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange.account import (
    AccountBooks,
    AccountRecord,
    Accounts,
    PositionRecord,
    after_execution,
    order_commission,
)
from protocol.exchange.happenings import CommissionCharged
from protocol.exchange.venue import VenueSettings
from tests.venues import ACCOUNT, CASH, SLV, Bench, limit, market, only

FLAT = PositionRecord(account=ACCOUNT, contract=SLV)
trades = st.lists(
    st.tuples(st.integers(-500, 500).filter(bool), st.decimals("0.01", "999.99", places=2, allow_nan=False)),
    min_size=1,
    max_size=20,
)


def held(*trades: tuple[int, str]) -> PositionRecord:
    position = FLAT
    for change, price in trades:
        position, _ = after_execution(position, change, Decimal(price))
    return position


# --- one position -----------------------------------------------------------------------------------


def test_adding_moves_the_average_and_realizes_nothing() -> None:
    position = held((100, "10.00"), (50, "13.00"))
    assert (position.quantity, position.average_cost, position.realized) == (150, Decimal(11), Fraction(0))


def test_closing_a_part_realizes_against_the_average_and_keeps_it() -> None:
    position = held((100, "10.00"), (50, "13.00"), (-30, "12.00"))
    assert (position.quantity, position.average_cost, position.realized_pnl) == (
        120,
        Decimal(11),
        Decimal(30),
    )


def test_a_trade_through_zero_realizes_the_old_side_and_opens_the_new_at_its_price() -> None:
    position = held((100, "10.00"), (-150, "12.00"))
    assert (position.quantity, position.average_cost, position.realized_pnl) == (
        -50,
        Decimal(12),
        Decimal(200),
    )


def test_a_short_position_earns_when_the_price_falls() -> None:
    position = held((-100, "10.00"), (40, "9.00"))
    assert (position.quantity, position.average_cost, position.realized_pnl) == (
        -60,
        Decimal(10),
        Decimal(40),
    )


def test_an_execution_that_only_opens_realizes_none_rather_than_nothing() -> None:
    assert after_execution(FLAT, 10, Decimal(5))[1] is None
    assert after_execution(held((10, "5")), -10, Decimal(5))[1] == 0


@given(trades)
def test_what_is_realized_when_flat_is_exactly_what_flowed(trades: list[tuple[int, Decimal]]) -> None:
    position = FLAT
    for change, price in [*trades, (-sum(change for change, _ in trades), Decimal("7.77"))]:
        if change:
            position, _ = after_execution(position, change, price)
    rest = -sum(change for change, _ in trades)
    flows = -sum(change * price for change, price in trades) - rest * Decimal("7.77")
    assert (position.quantity, position.cost) == (0, Fraction(0))
    assert position.realized_pnl == flows


@given(trades)
def test_the_order_of_additions_does_not_matter_to_the_average(trades: list[tuple[int, Decimal]]) -> None:
    def total(executions: list[tuple[int, Decimal]]) -> PositionRecord:
        position = FLAT
        for change, price in executions:
            position, _ = after_execution(position, abs(change), price)
        return position

    assert total(trades) == total(trades[::-1])


# --- commissions ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "value", "expected"),
    [
        (100, "1000", "1.00"),
        (1000, "10000", "5.000"),
        (10, "50", "0.50"),
        (10_000, "1000", "10.00"),
    ],
    ids=["the minimum", "by share", "one per cent is below the minimum", "one per cent is below the shares"],
)
def test_an_order_costs_by_share_within_a_minimum_and_one_per_cent(
    quantity: int, value: str, expected: str
) -> None:
    assert order_commission(VenueSettings(), quantity, Decimal(value)) == Decimal(expected)


@pytest.mark.parametrize(
    ("kind", "quantity", "value", "expected"),
    [
        ("OPT", 1, "0.50", "1.00"),
        ("OPT", 10, "5.00", "6.50"),
        ("FUT", 1, "6000", "0.85"),
        ("FUT", 4, "24000", "3.40"),
        ("CASH", 10_000, "11000", "2.00"),
        ("CASH", 1_000_000, "1100000", "22.00"),
    ],
)
def test_options_and_futures_cost_by_contract_and_currencies_by_value(
    kind: str, quantity: int, value: str, expected: str
) -> None:
    contract = attrs.evolve(SLV, sec_type=kind)
    assert order_commission(VenueSettings(), quantity, Decimal(value), contract) == Decimal(expected)


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.decimals("0.01", "500", places=2)), min_size=1, max_size=8)
)
def test_a_further_execution_never_makes_an_order_cheaper(fills: list[tuple[int, Decimal]]) -> None:
    quantity, value, charged = 0, Decimal(0), Decimal(0)
    for shares, price in fills:
        quantity, value = quantity + shares, value + shares * price
        due = order_commission(VenueSettings(), quantity, value)
        assert due >= charged
        charged = due


def test_the_minimum_is_charged_once_for_an_order_in_many_executions() -> None:
    bench = Bench()
    charged: list[Decimal] = []
    bench.place(1, market("BUY", 500))
    for _ in range(5):
        charged += [c.commission for c in only(bench.quote(9.99, 10.01, size=100), CommissionCharged)]
    assert charged == [Decimal("1.00"), Decimal(0), Decimal("0.5"), Decimal("0.5"), Decimal("0.5")]
    assert bench.venue.commission_of(bench.order(1).perm_id) == Decimal("2.5")


def test_the_profit_told_with_a_commission_is_net_of_both_sides_commissions() -> None:
    bench = Bench()
    bench.quote(10.00, 10.00)
    assert only(bench.place(1, market("BUY", 100)), CommissionCharged)[0].realized_pnl is None
    bench.quote(11.00, 11.00)
    assert only(bench.place(2, market("SELL", 100)), CommissionCharged)[0].realized_pnl == Decimal("98.00")


# --- the account ------------------------------------------------------------------------------------


def test_the_account_is_cash_and_positions_at_the_last_trade() -> None:
    bench = Bench()
    bench.quote(10.00, 10.00)
    bench.place(1, market("BUY", 100))
    bench.place(2, limit("SELL", 40, 10.00))
    bench.trade(12.00)
    assert bench.venue.account(ACCOUNT) == AccountBooks(
        account=ACCOUNT,
        cash=CASH - 1000 + 400 - 2,
        net_liquidation=CASH - 600 - 2 + 720,
        gross_position_value=Decimal(720),
        realized_pnl=Decimal(0),
        unrealized_pnl=Decimal(120),
        commission=Decimal(2),
    )
    (position,) = bench.venue.positions(ACCOUNT)
    assert (position.market_price, position.market_value, position.commission) == (
        Decimal(12),
        Decimal(720),
        Decimal(2),
    )


def test_without_a_trade_a_position_is_worth_the_middle_of_the_quote() -> None:
    bench = Bench()
    bench.quote(10.00, 10.02)
    bench.place(1, market("SELL", 100))
    assert bench.venue.account(ACCOUNT).unrealized_pnl == Decimal("-1.00")


def test_accounts_keep_their_books_apart() -> None:
    accounts = Accounts([AccountRecord("A", Decimal(100)), AccountRecord("B", Decimal(200))])
    accounts.execute("A", SLV, 10, Decimal(5), Decimal(1))
    assert accounts.books("A", lambda _: None).cash == 49
    assert accounts.books("B", lambda _: None).cash == 200
    assert accounts.positions("B", lambda _: None) == ()
    assert (accounts.quantity("A", "SLV"), accounts.quantity("B", "SLV")) == (10, 0)
