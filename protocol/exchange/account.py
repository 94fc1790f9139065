"""The books of the accounts: cash, positions and profit, from executions alone.

Profit is by average cost, exact and without commissions, which are booked apart; IB's own average cost
includes them, so the commissions of what is still open are kept beside it for whoever shows it as IB does.
Exact means fractions: an average such as 100/3 is never rounded before it is shown.

A stock or an option is paid for in cash, a currency pair moves two balances, and a future settles its
profit when it is closed. Positions are known by their contract's key, costs include its multiplier.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

import attrs

from protocol.exchange.contract_key import CASH, FUTURE, contract_key, multiplier_of
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import Contract

DOLLAR = "USD"
"""The base currency of every account."""
Mark: TypeAlias = Callable[[str], Decimal | None]
"""What one unit of a contract, by its key, is worth now; None before its first price."""


def shown(amount: Fraction) -> Decimal:
    return Decimal(amount.numerator) / Decimal(amount.denominator)


@attrs.frozen(kw_only=True)
class PositionRecord:
    """`cost`: what the open units cost, signed like `quantity`. Commission, profit: since the beginning."""

    account: str
    contract: Contract
    quantity: int = 0
    cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)
    commission: Decimal = Decimal(0)
    open_commission: Fraction = Fraction(0)
    """Of `commission`, what was paid to open the units that are still open."""
    start_profit: Fraction = Fraction(0)
    """All profit, net of commissions, when the trading day began."""
    start_realized: Fraction = Fraction(0)
    """What of it was realized."""

    @property
    def average_cost(self) -> Decimal:
        return shown(self.cost / self.quantity) if self.quantity else Decimal(0)

    @property
    def realized_pnl(self) -> Decimal:
        return shown(self.realized)

    @property
    def realized_net(self) -> Fraction:
        """Less the commissions of what was opened and closed, those of open units apart."""
        return self.realized - Fraction(self.commission) + self.open_commission


@attrs.frozen
class AccountRecord:
    """`cash` in dollars, `balances` in other currencies. `day` is the trading day that began last, with
    `day_equity` dollars of net liquidation value."""

    name: str
    cash: Decimal
    commission: Decimal = Decimal(0)
    balances: tuple[tuple[str, Decimal], ...] = ()
    day: date | None = None
    day_equity: Decimal | None = None

    def paid(self, currency: str, amount: Decimal) -> AccountRecord:
        """The account with `amount` more of a currency."""
        if currency == DOLLAR:
            return attrs.evolve(self, cash=self.cash + amount)
        balances = dict(self.balances)
        balances[currency] = balances.get(currency, Decimal(0)) + amount
        return attrs.evolve(self, balances=tuple(balances.items()))


@attrs.frozen(kw_only=True)
class VenuePosition:
    """One position as a portfolio shows it. `market_price`: the last trade, else the middle of the quote."""

    account: str
    contract: Contract
    quantity: int
    average_cost: Decimal
    """Of one contract, its multiplier included."""
    market_price: Decimal
    market_value: Decimal
    realized_pnl: Decimal
    unrealized_pnl: Decimal
    commission: Decimal
    open_commission: Decimal
    """What of the commission was paid to open what is still open."""
    realized_today: Decimal
    """Net of commissions, as IB counts them."""
    daily_pnl: Decimal
    """All profit since the trading day began, net of commissions."""

    @property
    def average_cost_charged(self) -> Decimal:
        """The average cost as IB shows it: with the commissions of opening (a short's is lower by them)."""
        return self.average_cost + self.open_commission / self.quantity if self.quantity else Decimal(0)

    @property
    def unrealized_net(self) -> Decimal:
        return self.unrealized_pnl - self.open_commission


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
    """The position after `change` units (signed) at `price`, and the profit; None if it only opened."""
    quantity, value = position.quantity, Fraction(price * multiplier_of(position.contract))
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


def after_commission(
    before: PositionRecord, after: PositionRecord, change: int, commission: Decimal
) -> PositionRecord:
    """The position with the commission of the `change` that led from `before` to `after`."""
    closing = min(abs(change), abs(before.quantity)) if change * before.quantity < 0 else 0
    charge = Fraction(commission)
    kept = before.open_commission * (1 - Fraction(closing, abs(before.quantity) or 1))
    opened = charge * Fraction(abs(change) - closing, abs(change))
    return attrs.evolve(after, commission=after.commission + commission, open_commission=kept + opened)


def order_commission(
    settings: VenueSettings, quantity: int, value: Decimal, contract: Contract | None = None
) -> Decimal:
    """What an order costs that has executed `quantity` units for `value`, the contract's multiplier apart
    (IBKR fixed pricing; `value` matters for stocks and currencies alone)."""
    match contract.sec_type if contract is not None else "":
        case "OPT" | "FOP":
            return max(settings.commission_per_option * quantity, settings.min_commission)
        case "FUT":
            return settings.commission_per_future * quantity
        case "CASH":
            return max(settings.currency_commission_rate * value, settings.min_currency_commission)
        case _:
            by_share = max(settings.commission_per_share * quantity, settings.min_commission)
            return min(by_share, settings.max_commission_rate * value)


class Accounts:
    """The books of all accounts of a venue."""

    def __init__(self, accounts: Iterable[AccountRecord], positions: Iterable[PositionRecord] = ()) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._positions = {(p.account, contract_key(p.contract)): p for p in positions}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._accounts)

    def records(self) -> tuple[tuple[AccountRecord, ...], tuple[PositionRecord, ...]]:
        return tuple(self._accounts.values()), tuple(self._positions.values())

    def record(self, account: str) -> AccountRecord:
        return self._accounts[account]

    def execute(
        self, account: str, contract: Contract, change: int, price: Decimal, commission: Decimal
    ) -> tuple[PositionRecord, Fraction | None]:
        """Book `change` units (signed) at `price`: the position after it, and the profit it realized, net of
        the commissions of closing and of having opened what it closed; None if it only opened."""
        key = (account, contract_key(contract))
        before = self._positions.get(key) or PositionRecord(account=account, contract=contract)
        after, gain = after_execution(before, change, price)
        after = after_commission(before, after, change, commission)
        self._positions[key] = after
        self._settle(account, contract, change, price, gain or Fraction(0), commission)
        return after, None if gain is None else after.realized_net - before.realized_net

    def _settle(
        self, account: str, contract: Contract, change: int, price: Decimal, gain: Fraction, charge: Decimal
    ) -> None:
        """Move the cash of an execution."""
        books, currency = self._accounts[account], contract.currency or DOLLAR
        books = attrs.evolve(books.paid(DOLLAR, -charge), commission=books.commission + charge)
        match contract.sec_type:
            case "CASH":
                books = books.paid(contract.symbol, Decimal(change)).paid(currency, -change * price)
            case "FUT":
                books = books.paid(currency, shown(gain))
            case _:
                books = books.paid(currency, -change * price * multiplier_of(contract))
        self._accounts[account] = books

    def begin_day(self, day: date, mark: Mark) -> None:
        """A trading day begins: its profits count from the marks of now. Again for the same day: nothing."""
        for name, record in self._accounts.items():
            if record.day == day:
                continue
            self._accounts[name] = attrs.evolve(
                record, day=day, day_equity=self.books(name, mark).net_liquidation
            )
            if record.day is None:
                continue  # the first day of the books: their profit is the day's
            for key, position in self._positions.items():
                if key[0] == name:
                    start = _profit(position, mark(key[1]))
                    self._positions[key] = attrs.evolve(
                        position, start_profit=start, start_realized=position.realized_net
                    )

    def put(self, position: PositionRecord) -> None:
        """A position is as given from now on; no cash moves."""
        self._positions[position.account, contract_key(position.contract)] = position

    def quantity(self, account: str, key: str) -> int:
        position = self._positions.get((account, key))
        return position.quantity if position else 0

    def held_key(self, account: str, con_id: int) -> str | None:
        """The key of a contract that the account has held; None when it never did."""
        for (name, key), position in self._positions.items():
            if name == account and position.contract.con_id == con_id:
                return key
        return None

    def held(self, account: str) -> list[tuple[str, PositionRecord]]:
        """The open positions of an account by their keys, in order of their first execution."""
        return [(key, p) for (name, key), p in self._positions.items() if p.quantity and name == account]

    def positions(self, account: str, mark: Mark) -> tuple[VenuePosition, ...]:
        """Every position the account has held, flat ones too, in order of its first execution."""
        return tuple(
            _valued(position, mark(key))
            for (name, key), position in self._positions.items()
            if name == account
        )

    def position(self, account: str, key: str, mark: Mark) -> VenuePosition | None:
        """The position in one contract; None when there never was one."""
        position = self._positions.get((account, key))
        return None if position is None else _valued(position, mark(key))

    def rates(self, account: str, mark: Mark) -> Mapping[str, Decimal]:
        """Dollars for one unit of each currency that the account has to do with."""
        currencies = {DOLLAR: Decimal(1)}
        for currency, _ in self._accounts[account].balances:
            currencies[currency] = self._rate(account, currency, mark)
        for (name, _), position in self._positions.items():
            currency = position.contract.currency or DOLLAR
            if name == account and currency not in currencies:
                currencies[currency] = self._rate(account, currency, mark)
        return currencies

    def _rate(self, account: str, currency: str, mark: Mark) -> Decimal:
        """The pair's price; without one, what it was dealt at; without that, 1."""
        direct, inverse = f"{currency}.{DOLLAR}", f"{DOLLAR}.{currency}"
        for key, turned in ((direct, False), (inverse, True)):
            position = self._positions.get((account, key))
            price = mark(key) or (position.average_cost if position is not None else None)
            if price:
                return 1 / price if turned else price
        return Decimal(1)

    def books(self, account: str, mark: Mark) -> AccountBooks:
        record, rates = self._accounts[account], self.rates(account, mark)
        cash = record.cash + sum((rates[name] * amount for name, amount in record.balances), Decimal(0))
        value = gross = realized = unrealized = Decimal(0)
        for position in self.positions(account, mark):
            rate = rates[position.contract.currency or DOLLAR]
            realized += rate * position.realized_pnl
            unrealized += rate * position.unrealized_pnl
            if position.contract.sec_type == FUTURE:
                value += rate * position.unrealized_pnl
            elif position.contract.sec_type != CASH:
                value += rate * position.market_value
                gross += rate * abs(position.market_value)
        return AccountBooks(
            account=account,
            cash=cash,
            net_liquidation=cash + value,
            gross_position_value=gross,
            realized_pnl=realized,
            unrealized_pnl=unrealized,
            commission=record.commission,
        )


def _profit(position: PositionRecord, market_price: Decimal | None) -> Fraction:
    """All profit of a position since the beginning, net of commissions."""
    value = Fraction(0)
    if position.quantity and market_price is not None:
        value = position.quantity * Fraction(market_price * multiplier_of(position.contract)) - position.cost
    return value + position.realized - Fraction(position.commission)


def _valued(position: PositionRecord, market_price: Decimal | None) -> VenuePosition:
    multiplier = multiplier_of(position.contract)
    price = position.average_cost / multiplier if market_price is None else market_price
    worth = position.quantity * price * multiplier
    unrealized = Fraction(0) if market_price is None else Fraction(worth) - position.cost
    return VenuePosition(
        account=position.account,
        contract=position.contract,
        quantity=position.quantity,
        average_cost=position.average_cost,
        market_price=price,
        market_value=worth,
        realized_pnl=position.realized_pnl,
        unrealized_pnl=shown(unrealized),
        commission=position.commission,
        open_commission=shown(position.open_commission),
        realized_today=shown(position.realized_net - position.start_realized),
        daily_pnl=shown(_profit(position, market_price) - position.start_profit),
    )
