"""What an account can afford: its figures under the margin rules, and what an order would do to them.

An order is judged with everything that works already: every contract is taken to where its working orders
could bring it, whichever side needs more margin, and that has to be carried by the equity with loan value.
Of an OCA group only the largest order counts, a child that waits for its parent not at all, and an order
that can do no more than close a position is never refused.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.exchange.account import DOLLAR, Accounts, Mark, PositionRecord, order_commission, shown
from protocol.exchange.account_figures import AccountFigures, CurrencyFigures
from protocol.exchange.book import Book
from protocol.exchange.contract_key import (
    CASH,
    FUTURE,
    FUTURE_OPTION,
    OPTION,
    STOCK_TYPES,
    contract_key,
    multiplier_of,
)
from protocol.exchange.margin import ZERO, Holding, Requirement, total_requirement
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws.messages import Contract, Order
from protocol.values import exact


@attrs.frozen(kw_only=True)
class MarginImpact:
    """What an order that fills at once and whole does to an account, in dollars."""

    margin_before: Requirement
    margin_after: Requirement
    equity_before: Decimal
    """With loan value."""
    equity_after: Decimal
    commission: Decimal


@attrs.frozen
class _Wanted:
    """How far the working orders of one contract can move its position, each side alone."""

    contract: Contract
    price: Decimal
    bought: int = 0
    sold: int = 0


_Held: TypeAlias = tuple[str, PositionRecord, Holding]
"""A position by its contract's key, with its price now in dollars."""


class _Working:
    """What the working orders of an account could do to each contract, by its key."""

    def __init__(self) -> None:
        self.wanted: dict[str, _Wanted] = {}
        self._largest: dict[tuple[str, str, str], int] = {}

    def add(self, contract: Contract, order: Order, quantity: int, price: Decimal) -> None:
        """One more order, of `quantity` still to fill; `price` in dollars."""
        key, is_buy = contract_key(contract), order.action == "BUY"
        if order.oca_group:
            place = (order.oca_group, key, order.action)
            counted = self._largest.get(place, 0)
            self._largest[place] = max(counted, quantity)
            quantity = max(0, quantity - counted)
        known = self.wanted.get(key) or _Wanted(contract, price)
        self.wanted[key] = _Wanted(
            contract,
            max(price, known.price),
            known.bought + (quantity if is_buy else 0),
            known.sold + (0 if is_buy else quantity),
        )


class Funds:
    """Looks at the books, the book of orders and the market; changes none of them."""

    def __init__(self, settings: VenueSettings, book: Book, accounts: Accounts, mark: Mark) -> None:
        self._settings, self._rules = settings, settings.margin
        self._book, self._accounts, self._mark = book, accounts, mark

    def figures(self, account: str, *, by_day: bool) -> AccountFigures:
        """`by_day`: the session is open, so that day-trading multiples hold."""
        rates = self._accounts.rates(account, self._mark)
        rows = {currency: CurrencyFigures(currency=currency, rate=rate) for currency, rate in rates.items()}
        record = self._accounts.record(account)
        for currency, amount in ((DOLLAR, record.cash), *record.balances):
            rows[currency] = attrs.evolve(rows[currency], cash=amount)
        daily = ZERO
        for position in self._accounts.positions(account, self._mark):
            currency, kind = position.contract.currency or DOLLAR, position.contract.sec_type
            row, value = rows[currency], position.market_value
            # The exchange value of a currency pair is in the balances already.
            is_option, is_future = kind in (OPTION, FUTURE_OPTION), kind == FUTURE
            is_stock = not (is_option or is_future or kind == CASH)
            rows[currency] = attrs.evolve(
                row,
                stock_value=row.stock_value + (value if is_stock else ZERO),
                option_value=row.option_value + (value if is_option else ZERO),
                futures_pnl=row.futures_pnl + (position.unrealized_pnl if is_future else ZERO),
                realized_pnl=row.realized_pnl + position.realized_today,
                unrealized_pnl=row.unrealized_pnl + position.unrealized_net,
                gross_value=row.gross_value + (abs(value) if is_stock or is_option else ZERO),
            )
            daily += rates[currency] * position.daily_pnl
        return self._sum(account, tuple(rows.values()), daily, record.day_equity, by_day=by_day)

    def _sum(
        self,
        account: str,
        rows: tuple[CurrencyFigures, ...],
        daily: Decimal,
        start_equity: Decimal | None,
        *,
        by_day: bool,
    ) -> AccountFigures:
        def total(name: str) -> Decimal:
            return sum((row.rate * Decimal(getattr(row, name)) for row in rows), ZERO)

        holdings = [holding for _, _, holding in self._held(account)]
        futures = total_requirement(
            (h for h in holdings if h.contract.sec_type == FUTURE), self._rules, self._mark
        )
        everything = total_requirement(holdings, self._rules, self._mark)
        equity = total("net_liquidation")
        rich = equity >= self._rules.pattern_day_equity
        return AccountFigures(
            account=account,
            by_currency=rows,
            cash=total("cash"),
            stock_value=total("stock_value"),
            option_value=total("option_value"),
            futures_pnl=total("futures_pnl"),
            realized_pnl=total("realized_pnl"),
            unrealized_pnl=total("unrealized_pnl"),
            daily_pnl=daily,
            gross_position_value=total("gross_value"),
            securities=everything - futures,
            commodities=futures,
            start_equity=equity if start_equity is None else start_equity,
            buying_multiple=(self._rules.day_multiple if by_day and rich else self._rules.overnight_multiple),
        )

    def impact(self, contract: Contract, order: Order) -> MarginImpact:
        """What the order would do. Without a price of any kind it costs its commission alone."""
        account = order.account
        key, price = contract_key(contract), self.price(contract, order) or ZERO
        change = int(order.total_quantity) * (1 if order.action == "BUY" else -1)
        held_now = self._held(account)
        before = total_requirement((holding for _, _, holding in held_now), self._rules, self._mark)
        held = self._accounts.quantity(account, key)
        others = (holding for other, _, holding in held_now if other != key)
        mine = Holding(contract, held + change, self._dollars(account, contract, price))
        after = total_requirement((*others, *((mine,) if mine.quantity else ())), self._rules, self._mark)
        equity = self._equity_with_loan(account, held_now)
        value = abs(change) * price
        commission = order_commission(self._settings, abs(change), value, contract)
        premium = ZERO
        if contract.sec_type in (OPTION, FUTURE_OPTION):
            premium = change * price * multiplier_of(contract)
        return MarginImpact(
            margin_before=before,
            margin_after=after,
            equity_before=equity,
            equity_after=equity - commission - premium,
            commission=commission,
        )

    def refusal(self, contract: Contract, order: Order, *, instead_of: int = 0) -> str | None:
        """Why the account cannot carry a new order, or a modify of the order of permanent id `instead_of`;
        None when it can, or when nothing is known of the contract's price."""
        account, key, price = order.account, contract_key(contract), self.price(contract, order)
        change = int(order.total_quantity) * (1 if order.action == "BUY" else -1)
        held = self._accounts.quantity(account, key)
        multiple, checked = self._settings.buying_power_multiple, self._settings.check_margin
        if not checked and multiple is None:
            return None
        if price is None or (change * held < 0 and abs(change) <= abs(held)):
            return None
        holdings = self._held(account)
        working = self._working(account, instead_of)
        working.add(contract, order, abs(change), self._dollars(account, contract, price))
        after = self._worst(holdings, working)
        equity = self._equity_with_loan(account, holdings)
        if multiple is None and equity >= after:
            return None  # by far the most orders
        if after <= self._worst(holdings, self._working(account, instead_of)):
            return None
        if multiple is not None and not self._within(account, held, change, price, multiple):
            return "Your account has insufficient buying power for this order."
        if not checked or equity >= after:
            return None
        return (
            "YOUR ORDER IS NOT ACCEPTED. IN ORDER TO OBTAIN THE DESIRED POSITION YOUR EQUITY WITH LOAN "
            f"VALUE [{equity:.2f} USD] MUST EXCEED THE INITIAL MARGIN [{after:.2f} USD]"
        )

    def price(self, contract: Contract, order: Order) -> Decimal | None:
        """The price that an order is judged at: its limit, else the market's, else its trigger."""
        if order.lmt_price:
            return exact(order.lmt_price)
        marked = self._mark(contract_key(contract))
        return exact(order.aux_price) if marked is None and order.aux_price else marked

    def _within(self, account: str, held: int, change: int, price: Decimal, multiple: Decimal) -> bool:
        books = self._accounts.books(account, self._mark)
        growth = (abs(held + change) - abs(held)) * price
        return growth <= 0 or books.gross_position_value + growth <= multiple * books.net_liquidation

    def _held(self, account: str) -> list[_Held]:
        held: list[_Held] = []
        for key, position in self._accounts.held(account):
            price = self._mark(key)
            if price is None:
                price = position.average_cost / multiplier_of(position.contract)
            dollars = self._dollars(account, position.contract, price)
            held.append((key, position, Holding(position.contract, position.quantity, dollars)))
        return held

    def _dollars(self, account: str, contract: Contract, price: Decimal) -> Decimal:
        currency = contract.currency or DOLLAR
        if currency == DOLLAR:
            return price
        return price * self._accounts.rates(account, self._mark).get(currency, Decimal(1))

    def _equity_with_loan(self, account: str, held: list[_Held]) -> Decimal:
        """Cash, stocks and what futures have gained since they were opened; options have no loan value."""
        record = self._accounts.record(account)
        equity = record.cash
        if record.balances:
            rates = self._accounts.rates(account, self._mark)
            equity += sum((rates[currency] * amount for currency, amount in record.balances), ZERO)
        for _, position, holding in held:
            kind = position.contract.sec_type
            if kind in (OPTION, FUTURE_OPTION, CASH):
                continue
            equity += holding.quantity * holding.price * multiplier_of(position.contract)
            if kind == FUTURE:
                equity -= self._dollars(account, position.contract, shown(position.cost))
        return equity

    def _working(self, account: str, without: int) -> _Working:
        """By contract, what the working orders of an account could buy and sell together."""
        working = _Working()
        for order in self._book.live():
            view = order.view
            if view.account != account or view.perm_id == without or order.now.waits_for_parent:
                continue
            price = self.price(view.contract, view.order)
            if price is not None:
                dollars = self._dollars(account, view.contract, price)
                working.add(view.contract, view.order, view.remaining, dollars)
        return working

    def _worst(self, held: list[_Held], working: _Working) -> Decimal:
        """The initial margin where each contract has gone to the side that needs more of it."""
        holdings: list[Holding] = []
        premiums = ZERO
        unseen = dict(working.wanted)
        for key, _, holding in held:
            moved, premium = self._worse(holding, unseen.pop(key, None))
            holdings.append(moved)
            premiums += premium
        for wanted in unseen.values():
            moved, premium = self._worse(Holding(wanted.contract, 0, wanted.price), wanted)
            holdings.append(moved)
            premiums += premium
        return total_requirement(holdings, self._rules, self._mark).initial + premiums

    def _worse(self, holding: Holding, wanted: _Wanted | None) -> tuple[Holding, Decimal]:
        """Where the working orders of a contract could bring it at worst, and the premium paid for that."""
        if wanted is None:
            return holding, ZERO
        price = max(holding.price, wanted.price)
        if holding.contract.sec_type in STOCK_TYPES:
            # Both sides cost the same to open.
            bought, sold = holding.quantity + wanted.bought, holding.quantity - wanted.sold
            far = max((holding.quantity, bought, sold), key=abs)
            return Holding(holding.contract, far, price), ZERO
        outcomes = []
        for change in (0, wanted.bought, -wanted.sold):
            moved = Holding(holding.contract, holding.quantity + change, price)
            premium = ZERO
            if holding.contract.sec_type in (OPTION, FUTURE_OPTION):
                premium = change * wanted.price * multiplier_of(holding.contract)
            needed = total_requirement((moved,), self._rules, self._mark).initial if moved.quantity else ZERO
            outcomes.append((needed + premium, -abs(change), moved, premium))
        _, _, moved, premium = max(outcomes, key=lambda outcome: outcome[:2])
        return moved, premium
