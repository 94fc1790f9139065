"""Margin in the style of Regulation T: what positions and orders require of an account.

Stocks follow the rule of the book: half of the value to open, a quarter to keep a long position, 30 % to
keep a short one (FINRA rule 4210, IBKR's "Reg T margin"). The other kinds are simplified: a bought option
is paid for in full and has no loan value; a naked written option takes its premium and a fifth of the
underlying less what it is out of the money, at least a tenth, as at the CBOE; a written call is covered by
shares of its stock. Futures take a share of their notional value instead of SPAN's scenarios, currencies a
haircut of what is held of them. Spreads and portfolio margin are not known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.exchange.contract_key import CASH, FUTURE, FUTURE_OPTION, OPTION, multiplier_of
from protocol.tws.messages import Contract

ZERO = Decimal(0)
PriceOf: TypeAlias = Callable[[str], Decimal | None]
"""What a contract, by its key, is worth now; None before its first price."""


@attrs.frozen(kw_only=True)
class MarginRules:
    """Rates are parts of the market value unless they say otherwise."""

    stock_initial: Decimal = Decimal("0.5")
    long_maintenance: Decimal = Decimal("0.25")
    short_maintenance: Decimal = Decimal("0.3")
    written_of_underlying: Decimal = Decimal("0.2")
    written_floor: Decimal = Decimal("0.1")
    """Of the underlying for a call, of the strike for a put."""
    future_initial: Decimal = Decimal("0.06")
    future_maintenance: Decimal = Decimal("0.05")
    currency_haircut: Decimal = Decimal("0.03")
    pattern_day_equity: Decimal = Decimal(25_000)
    """Dollars of equity from which on an account buys with four times its funds by day."""
    day_multiple: int = 4
    overnight_multiple: int = 2


@attrs.frozen
class Requirement:
    """Dollars."""

    initial: Decimal = ZERO
    maintenance: Decimal = ZERO

    def __add__(self, other: Requirement) -> Requirement:
        return Requirement(self.initial + other.initial, self.maintenance + other.maintenance)

    def __sub__(self, other: Requirement) -> Requirement:
        return Requirement(self.initial - other.initial, self.maintenance - other.maintenance)


@attrs.frozen
class Holding:
    """A signed quantity of a contract at its price now, in dollars."""

    contract: Contract
    quantity: int
    price: Decimal


def requirement(
    holding: Holding, rules: MarginRules, *, underlying: Decimal | None = None, covered: int = 0
) -> Requirement:
    """What one holding requires. `underlying`: the price of an option's stock; its strike stands in for it.
    `covered`: contracts of a written option that shares stand behind.
    """
    contract, quantity = holding.contract, holding.quantity
    value = abs(quantity) * holding.price * multiplier_of(contract)
    match contract.sec_type:
        case "OPT" | "FOP":
            return _option(holding, value, rules, underlying, covered)
        case "FUT":
            return Requirement(value * rules.future_initial, value * rules.future_maintenance)
        case "CASH":
            return Requirement(value * rules.currency_haircut, value * rules.currency_haircut)
        case _:
            keep = rules.long_maintenance if quantity >= 0 else rules.short_maintenance
            return Requirement(value * rules.stock_initial, value * keep)


def _option(
    holding: Holding, value: Decimal, rules: MarginRules, underlying: Decimal | None, covered: int
) -> Requirement:
    if holding.quantity >= 0:
        # Equity with loan value leaves options out, so a bought one has taken its price from it already.
        return Requirement()
    contract = holding.contract
    strike = Decimal(repr(contract.strike))
    spot = strike if underlying is None else underlying
    is_call = contract.right.startswith("C")
    out_of_the_money = max(ZERO, strike - spot if is_call else spot - strike)
    floor = rules.written_floor * (spot if is_call else strike)
    each = max(rules.written_of_underlying * spot - out_of_the_money, floor) * multiplier_of(contract)
    naked = abs(holding.quantity) - min(covered, abs(holding.quantity))
    total = value * naked / abs(holding.quantity) + naked * each
    return Requirement(total, total)


def total_requirement(holdings: Iterable[Holding], rules: MarginRules, price_of: PriceOf) -> Requirement:
    """What an account's holdings require together. Shares cover written calls, shorts written puts."""
    stocks: list[Holding] = []
    options: list[Holding] = []
    initial = maintenance = bought = sold = ZERO
    for holding in holdings:
        contract, quantity = holding.contract, holding.quantity
        if contract.sec_type in (OPTION, FUTURE_OPTION):
            options.append(holding)
        elif contract.sec_type in (FUTURE, CASH):
            one = requirement(holding, rules)
            initial += one.initial
            maintenance += one.maintenance
        else:
            stocks.append(holding)
            value = (
                quantity * holding.price * multiplier_of(contract)
                if contract.multiplier
                else (quantity * holding.price)
            )
            if quantity >= 0:
                bought += value
            else:
                sold -= value
    initial += (bought + sold) * rules.stock_initial
    maintenance += bought * rules.long_maintenance + sold * rules.short_maintenance
    if not options:
        return Requirement(initial, maintenance)
    shares: dict[str, int] = {}
    for holding in stocks:
        shares[holding.contract.symbol] = shares.get(holding.contract.symbol, 0) + holding.quantity
    for holding in options:
        symbol = holding.contract.symbol
        covered = _cover(holding, shares)
        one = requirement(holding, rules, underlying=price_of(symbol), covered=covered)
        initial += one.initial
        maintenance += one.maintenance
    return Requirement(initial, maintenance)


def _cover(holding: Holding, shares: dict[str, int]) -> int:
    """Takes the shares that cover a written option out of `shares`; the number of contracts covered."""
    symbol, each = holding.contract.symbol, int(multiplier_of(holding.contract))
    sign = 1 if holding.contract.right.startswith("C") else -1
    behind = shares.get(symbol, 0) * sign
    if holding.quantity >= 0 or each <= 0 or behind < each:
        return 0
    covered = min(behind // each, -holding.quantity)
    shares[symbol] -= sign * covered * each
    return covered
