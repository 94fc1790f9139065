"""The books of the accounts: cash, positions and profit, from executions alone.

Profit is by average cost, exact and without commissions, which are booked apart (IB's own average cost
includes them). Exact means fractions: an average such as 100/3 is never rounded before it is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction

import attrs

from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import Contract


def shown(amount: Fraction) -> Decimal:
    return Decimal(amount.numerator) / Decimal(amount.denominator)


@attrs.frozen(kw_only=True)
class PositionRecord:
    """`cost`: what the open shares cost, signed like `quantity`. Commission, profit: since the beginning."""

    account: str
    contract: Contract
    quantity: int = 0
    cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    commission: Decimal = Decimal(0)

    @property
    def average_cost(self) -> Decimal:
        return shown(self.cost / self.quantity) if self.quantity else Decimal(0)

    @property
    def realized_pnl(self) -> Decimal:
        return shown(self.realized)


@attrs.frozen
class AccountRecord:
    name: str
    cash: Decimal
    commission: Decimal = Decimal(0)


@attrs.frozen(kw_only=True)
class VenuePosition:
    """One position as a portfolio shows it. `market_price`: the last trade, else the middle of the quote."""

    account: str
    contract: Contract
    quantity: int
    average_cost: Decimal
    market_price: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    commission: Decimal

    @property
    def market_value(self) -> Decimal:
        return self.quantity * self.market_price


@attrs.frozen(kw_only=True)
class AccountBooks:
    """`net_liquidation` is cash and positions at market; profits are gross of `commission`."""

    account: str
    cash: Decimal
    net_liquidation: Decimal
    gross_position_value: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    commission: Decimal


def after_execution(
    position: PositionRecord, change: int, price: Decimal
) -> tuple[PositionRecord, Fraction | None]:
    """The position after `change` shares (signed) at `price`, and the profit; None if it only opened."""
    quantity, value = position.quantity, Fraction(price)
    closing = min(abs(change), abs(quantity)) if change * quantity < 0 else 0
    opening = abs(change) - closing
    sign = 1 if change > 0 else -1
    released = position.cost * closing / abs(quantity) if closing else Fraction(0)
    gain = -sign * closing * value - released
    after = attrs.evolve(
        position,
        quantity=quantity + change,
        cost=position.cost - released + sign * opening * value,
        realized=position.realized + gain,
    )
    return after, gain if closing else None


def order_commission(settings: VenueSettings, quantity: int, value: Decimal) -> Decimal:
    """What an order costs that has executed `quantity` shares for `value` dollars (IBKR fixed pricing)."""
    by_share = max(settings.commission_per_share * quantity, settings.min_commission)
    return min(by_share, settings.max_commission_rate * value)


class Accounts:
    """The books of all accounts of a venue."""

    def __init__(self, accounts: Iterable[AccountRecord], positions: Iterable[PositionRecord] = ()) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._positions = {(p.account, p.contract.symbol): p for p in positions}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._accounts)

    def records(self) -> tuple[tuple[AccountRecord, ...], tuple[PositionRecord, ...]]:
        return tuple(self._accounts.values()), tuple(self._positions.values())

    def execute(
        self, account: str, contract: Contract, change: int, price: Decimal, commission: Decimal
    ) -> tuple[PositionRecord, Fraction | None]:
        """Book `change` shares (signed) at `price`: the position after it, and the profit it realized."""
        key = (account, contract.symbol)
        before = self._positions.get(key) or PositionRecord(account=account, contract=contract)
        after, gain = after_execution(before, change, price)
        after = attrs.evolve(after, commission=after.commission + commission)
        self._positions[key] = after
        books = self._accounts[account]
        self._accounts[account] = attrs.evolve(
            books,
            cash=books.cash - change * price - commission,
            commission=books.commission + commission,
        )
        return after, gain

    def quantity(self, account: str, symbol: str) -> int:
        position = self._positions.get((account, symbol))
        return position.quantity if position else 0

    def positions(self, account: str, mark: Callable[[str], Decimal | None]) -> tuple[VenuePosition, ...]:
        """Every position the account has held, flat ones too, in order of its first execution."""
        return tuple(
            _valued(position, mark(position.contract.symbol))
            for (name, _), position in self._positions.items()
            if name == account
        )

    def books(self, account: str, mark: Callable[[str], Decimal | None]) -> AccountBooks:
        record = self._accounts[account]
        positions = self.positions(account, mark)
        value = sum((p.market_value for p in positions), Decimal(0))
        return AccountBooks(
            account=account,
            cash=record.cash,
            net_liquidation=record.cash + value,
            gross_position_value=sum((abs(p.market_value) for p in positions), Decimal(0)),
            realized_pnl=sum((p.realized_pnl for p in positions), Decimal(0)),
            unrealized_pnl=sum((p.unrealized_pnl for p in positions), Decimal(0)),
            commission=record.commission,
        )


def _valued(position: PositionRecord, market_price: Decimal | None) -> VenuePosition:
    price = position.average_cost if market_price is None else market_price
    return VenuePosition(
        account=position.account,
        contract=position.contract,
        quantity=position.quantity,
        average_cost=position.average_cost,
        market_price=price,
        realized_pnl=position.realized_pnl,
        unrealized_pnl=shown(position.quantity * Fraction(price) - position.cost),
        commission=position.commission,
    )
