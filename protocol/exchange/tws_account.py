"""Accounts and positions in the words of TWS: account values, portfolio, summary, profit and loss.

The figures are those of a cash-like paper account: a quarter of the gross position value counts as
margin, and day's profit is profit since the books began (`FIDELITY.md`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from protocol.exchange.account import AccountBooks, VenuePosition
from protocol.exchange.tws_text import NEW_YORK
from protocol.tws.messages import (
    AccountDownloadEnd,
    AccountSummary,
    AccountSummaryEnd,
    AccountUpdateMulti,
    AccountUpdateMultiEnd,
    AccountUpdateTime,
    AccountValue,
    PnL,
    PnLSingle,
    PortfolioValue,
    Position,
    ServerMessage,
)

MARGIN_RATE = Decimal("0.25")
"""Of the gross position value: Regulation T's maintenance margin of stocks."""
_CENT = Decimal("0.01")


def account_values(books: AccountBooks) -> Iterator[tuple[str, str, str]]:
    """Key, value and currency of every figure of an account, in the order TWS sends them."""
    margin = books.gross_position_value * MARGIN_RATE
    yield "AccountCode", books.account, ""
    yield "AccountReady", "true", ""
    yield "AccountType", "INDIVIDUAL", ""
    yield "Currency", "USD", "USD"
    dollars = {
        "AvailableFunds": books.net_liquidation - margin,
        "BuyingPower": (books.net_liquidation - margin) / MARGIN_RATE,
        "CashBalance": books.cash,
        "EquityWithLoanValue": books.net_liquidation,
        "ExcessLiquidity": books.net_liquidation - margin,
        "FullInitMarginReq": margin,
        "FullMaintMarginReq": margin,
        "GrossPositionValue": books.gross_position_value,
        "InitMarginReq": margin,
        "MaintMarginReq": margin,
        "NetLiquidation": books.net_liquidation,
        "RealizedPnL": books.realized_pnl - books.commission,
        "StockMarketValue": books.net_liquidation - books.cash,
        "TotalCashValue": books.cash,
        "UnrealizedPnL": books.unrealized_pnl,
    }
    for key, amount in dollars.items():
        yield key, str(amount.quantize(_CENT)), "USD"


def portfolio_value(position: VenuePosition) -> PortfolioValue:
    return PortfolioValue(
        contract=position.contract,
        position=Decimal(position.quantity),
        market_price=float(position.market_price),
        market_value=float(position.market_value),
        average_cost=float(position.average_cost),
        unrealized_pnl=float(position.unrealized_pnl),
        realized_pnl=float(position.realized_pnl),
        account=position.account,
    )


def position_of(position: VenuePosition) -> Position:
    return Position(
        position.account, position.contract, Decimal(position.quantity), float(position.average_cost)
    )


def account_updates(
    books: AccountBooks, positions: tuple[VenuePosition, ...], at: datetime
) -> Iterator[ServerMessage]:
    """One whole burst of reqAccountUpdates: values, portfolio, time, end."""
    for key, value, currency in account_values(books):
        yield AccountValue(key, value, currency, books.account)
    for position in positions:
        yield portfolio_value(position)
    yield AccountUpdateTime(f"{at.astimezone(NEW_YORK):%H:%M}")
    yield AccountDownloadEnd(books.account)


def account_updates_multi(req_id: int, model_code: str, books: AccountBooks) -> Iterator[ServerMessage]:
    for key, value, currency in account_values(books):
        yield AccountUpdateMulti(req_id, books.account, model_code, key, value, currency)
    yield AccountUpdateMultiEnd(req_id)


def account_summary(req_id: int, tags: str, books: tuple[AccountBooks, ...]) -> Iterator[ServerMessage]:
    """The tags asked for, in their order, of each account; `$LEDGER` (of any currency) means all figures."""
    wanted = [tag.strip() for tag in tags.split(",") if tag.strip()]
    for account in books:
        figures = {key: (value, currency) for key, value, currency in account_values(account)}
        for tag in wanted:
            names = list(figures) if tag.startswith("$LEDGER") else [tag]
            for name in names:
                if name in figures:
                    yield AccountSummary(req_id, account.account, name, *figures[name])
    yield AccountSummaryEnd(req_id)


def profit(req_id: int, books: AccountBooks) -> PnL:
    realized = books.realized_pnl - books.commission
    return PnL(req_id, float(realized + books.unrealized_pnl), float(books.unrealized_pnl), float(realized))


def profit_of(req_id: int, position: VenuePosition | None) -> PnLSingle:
    """The profit of one position; of one never held all is zero."""
    if position is None:
        return PnLSingle(req_id, Decimal(0), 0.0, 0.0, 0.0, 0.0)
    realized = position.realized_pnl - position.commission
    return PnLSingle(
        req_id,
        Decimal(position.quantity),
        float(realized + position.unrealized_pnl),
        float(position.unrealized_pnl),
        float(realized),
        float(position.market_value),
    )
