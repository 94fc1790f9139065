"""Accounts and positions in the words of TWS: account values, portfolio, summary, profit and loss.

The average cost of a position is shown as IB shows it, with the commissions of having opened it, and so
are the profits that follow from it; the books keep both apart (`account`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from protocol.exchange.account import VenuePosition
from protocol.exchange.account_figures import AccountFigures, CurrencyFigures
from protocol.exchange.funds import MarginImpact
from protocol.exchange.happenings import Status
from protocol.exchange.margin import ZERO, Requirement
from protocol.exchange.tws_text import NEW_YORK
from protocol.tws.messages import (
    AccountDownloadEnd,
    AccountSummary,
    AccountUpdateMulti,
    AccountUpdateTime,
    AccountValue,
    OrderState,
    PnL,
    PnLSingle,
    PortfolioValue,
    Position,
    PositionMulti,
    ServerMessage,
)

Row: TypeAlias = tuple[str, str, str]
"""Key, value and currency of one account value."""

BASE = "BASE"
LEDGER = "$LEDGER"
_CENT = Decimal("0.01")
_RATE = Decimal("0.0000001")
_NOT_HELD = (
    "FundValue", "NetDividend", "MutualFundValue", "MoneyMarketFundValue", "CorporateBondValue",
    "TBondValue", "TBillValue", "WarrantValue", "FxCashBalance", "IssuerOptionValue", "Cryptocurrency",
)  # fmt: skip
"""Parts of a ledger that this account never has."""


def account_values(figures: AccountFigures) -> Iterator[Row]:
    """Every value of an account, in TWS's names: of the account, of its two segments, of its currencies."""
    yield "AccountCode", figures.account, ""
    yield "AccountOrGroup", figures.account, BASE
    yield "AccountReady", "true", ""
    yield "AccountType", "INDIVIDUAL", ""
    yield "Currency", BASE, BASE
    yield "Cushion", str(figures.cushion.quantize(Decimal("0.000001"))), ""
    yield "DayTradesRemaining", "-1", ""
    for day in range(1, 5):
        yield f"DayTradesRemainingT+{day}", "-1", ""
    yield "HighestSeverity", "0", ""
    yield "Leverage", _cents(figures.leverage), ""
    yield "Leverage-S", _cents(figures.leverage), ""
    yield "LookAheadNextChange", "0", ""
    yield "NLVAndMarginInReview", "false", ""
    yield "SegmentTitle-C", "US Commodities", ""
    yield "SegmentTitle-S", "US Securities", ""
    yield "TradingType-S", "STKNOPT", ""
    yield "WhatIfPMEnabled", "true", ""
    for key, amount in _dollars(figures):
        yield key, _cents(amount), "USD"
    yield from ledger(figures, "ALL")


def _dollars(figures: AccountFigures) -> Iterator[tuple[str, Decimal]]:
    """Whole account first, then securities (-S) and commodities (-C), in each the margin with variants.

    The requirements of the next session and those without day-trading relief are the same here.
    """
    # Cash that futures require lies in the commodity segment, to which TWS sweeps it.
    swept = figures.commodities.initial
    equity_c = swept + figures.futures_pnl
    yield "AccruedCash", ZERO
    yield "AccruedDividend", ZERO
    yield "BuyingPower", figures.buying_power
    yield "Guarantee", ZERO
    yield "PASharesValue", ZERO
    yield "PostExpirationExcess", ZERO
    yield "PostExpirationMargin", ZERO
    yield "GrossPositionValue", figures.gross_position_value
    yield "GrossPositionValue-S", figures.gross_position_value
    yield "NetLiquidationUncertainty", ZERO
    yield "PreviousDayEquityWithLoanValue", figures.start_equity
    yield "PreviousDayEquityWithLoanValue-S", figures.start_equity
    yield "RegTEquity", figures.equity_with_loan - equity_c
    yield "RegTEquity-S", figures.equity_with_loan - equity_c
    yield "RegTMargin", figures.securities.initial
    yield "RegTMargin-S", figures.securities.initial
    yield "SMA", figures.sma
    yield "SMA-S", figures.sma
    yield "SettledCash", figures.cash
    segments = (
        ("", figures.equity_with_loan, figures.net_liquidation, figures.cash, figures.margin),
        ("-C", equity_c, equity_c, swept, figures.commodities),
        (
            "-S",
            figures.equity_with_loan - equity_c,
            figures.net_liquidation - equity_c,
            figures.cash - swept,
            figures.securities,
        ),
    )
    for suffix, equity, net_liquidation, cash, margin in segments:
        yield f"EquityWithLoanValue{suffix}", equity
        yield f"NetLiquidation{suffix}", net_liquidation
        yield f"TotalCashValue{suffix}", cash
        yield from _margins(suffix, equity, margin)


def _margins(suffix: str, equity: Decimal, margin: Requirement) -> Iterator[tuple[str, Decimal]]:
    for variant in ("", "Full", "LookAhead"):
        yield f"{variant}AvailableFunds{suffix}", equity - margin.initial
        yield f"{variant}ExcessLiquidity{suffix}", equity - margin.maintenance
        yield f"{variant}InitMarginReq{suffix}", margin.initial
        yield f"{variant}MaintMarginReq{suffix}", margin.maintenance


def ledger(figures: AccountFigures, currency: str) -> Iterator[Row]:
    """What an account has in a currency: one of its own, BASE for all in dollars, or ALL for every row."""
    if currency in (BASE, "ALL"):
        yield from _ledger_rows(_base(figures), BASE)
    for row in figures.by_currency:
        if currency in (row.currency, "ALL"):
            yield from _ledger_rows(row, row.currency)


def _base(figures: AccountFigures) -> CurrencyFigures:
    return CurrencyFigures(
        currency=BASE,
        rate=Decimal(1),
        cash=figures.cash,
        stock_value=figures.stock_value,
        option_value=figures.option_value,
        futures_pnl=figures.futures_pnl,
        realized_pnl=figures.realized_pnl,
        unrealized_pnl=figures.unrealized_pnl,
    )


def _ledger_rows(row: CurrencyFigures, currency: str) -> Iterator[Row]:
    amounts = {
        "CashBalance": row.cash,
        "TotalCashBalance": row.cash,
        "AccruedCash": ZERO,
        "StockMarketValue": row.stock_value,
        "OptionMarketValue": row.option_value,
        "FutureOptionValue": ZERO,
        "FuturesPNL": row.futures_pnl,
        "NetLiquidationByCurrency": row.net_liquidation,
        "UnrealizedPnL": row.unrealized_pnl,
        "RealizedPnL": row.realized_pnl,
    }
    for key, amount in amounts.items():
        yield key, _cents(amount), currency
    rate = row.rate.quantize(_RATE).normalize()
    yield "ExchangeRate", f"{rate:f}" if rate % 1 else f"{rate:.2f}", currency
    for key in _NOT_HELD:
        yield key, "0.00", currency
    yield "RealCurrency", currency, currency


def portfolio_value(position: VenuePosition) -> PortfolioValue:
    return PortfolioValue(
        contract=position.contract,
        position=Decimal(position.quantity),
        market_price=float(position.market_price),
        market_value=float(position.market_value),
        average_cost=float(position.average_cost_charged),
        unrealized_pnl=float(position.unrealized_net),
        realized_pnl=float(position.realized_today),
        account=position.account,
    )


def position_of(position: VenuePosition) -> Position:
    return Position(
        position.account,
        position.contract,
        Decimal(position.quantity),
        float(position.average_cost_charged),
    )


def position_multi(req_id: int, model_code: str, position: VenuePosition) -> PositionMulti:
    return PositionMulti(
        req_id,
        position.account,
        position.contract,
        Decimal(position.quantity),
        float(position.average_cost_charged),
        model_code,
    )


def account_updates(
    account: str, rows: Iterable[Row], positions: Iterable[VenuePosition], at: datetime
) -> Iterator[ServerMessage]:
    """One burst of reqAccountUpdates: values, portfolio, time, end."""
    for key, value, currency in rows:
        yield AccountValue(key, value, currency, account)
    for position in positions:
        yield portfolio_value(position)
    yield AccountUpdateTime(f"{at.astimezone(NEW_YORK):%H:%M}")
    yield AccountDownloadEnd(account)


def account_updates_multi(
    req_id: int, account: str, model_code: str, rows: Iterable[Row]
) -> Iterator[ServerMessage]:
    for key, value, currency in rows:
        yield AccountUpdateMulti(req_id, account, model_code, key, value, currency)


def multi_rows(figures: AccountFigures, *, ledger_only: bool) -> Iterator[Row]:
    """What reqAccountUpdatesMulti tells: everything, or the currencies and the net liquidation value."""
    if not ledger_only:
        yield from account_values(figures)
        return
    yield "NetLiquidation", _cents(figures.net_liquidation), "USD"
    yield from ledger(figures, "ALL")


def summary_rows(figures: AccountFigures, tags: Iterable[str]) -> Iterator[Row]:
    """The tags asked for, in their order; `$LEDGER` is the base currency, `$LEDGER:EUR` one of them,
    `$LEDGER:ALL` all. A tag that there is not is passed over, as TWS does."""
    known = {key: (value, currency) for key, value, currency in account_values(figures)}
    for tag in tags:
        name, _, currency = tag.partition(":")
        if name == LEDGER:
            yield from ledger(figures, currency or BASE)
        elif tag in known:
            yield tag, *known[tag]


def account_summary(req_id: int, account: str, rows: Iterable[Row]) -> Iterator[AccountSummary]:
    return (AccountSummary(req_id, account, key, value, currency) for key, value, currency in rows)


def profit(req_id: int, figures: AccountFigures) -> PnL:
    """The day's profit, and what of all profit is open and what was realized today, net of commissions."""
    return PnL(
        req_id,
        float(figures.daily_pnl),
        float(figures.unrealized_pnl),
        float(figures.realized_pnl),
    )


def profit_of(req_id: int, position: VenuePosition | None) -> PnLSingle:
    """The profit of one position; of one never held all is zero."""
    if position is None:
        return PnLSingle(req_id, Decimal(0), 0.0, 0.0, 0.0, 0.0)
    return PnLSingle(
        req_id,
        Decimal(position.quantity),
        float(position.daily_pnl),
        float(position.unrealized_net),
        float(position.realized_today),
        float(position.market_value),
    )


def margin_state(impact: MarginImpact) -> OrderState:
    """The answer to a what-if order: margins and equity before and after, and the commission."""
    before, after = impact.margin_before, impact.margin_after
    change, commission = after - before, float(impact.commission)
    return OrderState(
        status=Status.PRE_SUBMITTED.value,
        init_margin_before=float(before.initial),
        init_margin_change=float(change.initial),
        init_margin_after=float(after.initial),
        maint_margin_before=float(before.maintenance),
        maint_margin_change=float(change.maintenance),
        maint_margin_after=float(after.maintenance),
        equity_with_loan_before=float(impact.equity_before),
        equity_with_loan_change=float(impact.equity_after - impact.equity_before),
        equity_with_loan_after=float(impact.equity_after),
        commission=commission,
        min_commission=commission,
        max_commission=commission,
        commission_currency="USD",
    )


def _cents(amount: Decimal) -> str:
    return str(amount.quantize(_CENT))
