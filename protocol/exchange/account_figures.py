"""The figures of an account under the margin rules, as numbers; `tws_account` puts them in TWS's words."""

from __future__ import annotations

from decimal import Decimal

import attrs

from protocol.exchange.margin import ZERO, Requirement


@attrs.frozen(kw_only=True)
class CurrencyFigures:
    """What an account has in one currency, in that currency; `rate` dollars buy one unit of it."""

    currency: str
    rate: Decimal
    cash: Decimal = ZERO
    stock_value: Decimal = ZERO
    option_value: Decimal = ZERO
    futures_pnl: Decimal = ZERO
    """Not realized: what is realized has become cash."""
    realized_pnl: Decimal = ZERO
    """Of the day, net of commissions."""
    unrealized_pnl: Decimal = ZERO
    gross_value: Decimal = ZERO
    """Stocks and options, long and short added."""

    @property
    def net_liquidation(self) -> Decimal:
        return self.cash + self.stock_value + self.option_value + self.futures_pnl


@attrs.frozen(kw_only=True)
class AccountFigures:
    """An account in dollars, as TWS shows it. `by_currency`: the dollar first; profits are of the day."""

    account: str
    by_currency: tuple[CurrencyFigures, ...]
    cash: Decimal
    stock_value: Decimal
    option_value: Decimal
    futures_pnl: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    daily_pnl: Decimal
    gross_position_value: Decimal
    securities: Requirement
    commodities: Requirement
    """Of futures: the rest is of securities."""
    start_equity: Decimal
    """Net liquidation value when the day began."""
    buying_multiple: int

    @property
    def margin(self) -> Requirement:
        return self.securities + self.commodities

    @property
    def net_liquidation(self) -> Decimal:
        return self.cash + self.stock_value + self.option_value + self.futures_pnl

    @property
    def equity_with_loan(self) -> Decimal:
        """Options have no loan value."""
        return self.cash + self.stock_value + self.futures_pnl

    @property
    def available_funds(self) -> Decimal:
        return self.equity_with_loan - self.margin.initial

    @property
    def excess_liquidity(self) -> Decimal:
        return self.equity_with_loan - self.margin.maintenance

    @property
    def buying_power(self) -> Decimal:
        return max(ZERO, self.available_funds * self.buying_multiple)

    @property
    def sma(self) -> Decimal:
        """The special memorandum account, without the memory of better days that a real one keeps."""
        return max(ZERO, self.equity_with_loan - self.securities.initial)

    @property
    def cushion(self) -> Decimal:
        return self.excess_liquidity / self.net_liquidation if self.net_liquidation > 0 else ZERO

    @property
    def leverage(self) -> Decimal:
        return self.gross_position_value / self.net_liquidation if self.net_liquidation > 0 else ZERO
