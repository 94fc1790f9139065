"""The last word before the wire: every placement, change and cancel passes here, and a no has a reason.

The gate believes the journal only. It folds every event of every stream, so that an order's intent is in
its book before the order is judged; an order that waits to be judged is not held against those before it,
and one that was judged counts from that moment, not from its acknowledgement (RTS 6, article 15: orders
count as soon as they are sent). It never looks at a clock and never waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, assert_never

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import BaseEvent
from protocol.order import Order
from protocol.position import ZERO
from protocol.risk.book import RiskBook, planned_quantity
from protocol.risk.checks_account import (
    account_within,
    enough_left,
    equity_is_known,
    position_within,
    sector_within,
)
from protocol.risk.checks_exits import exit_refusal, shrinks
from protocol.risk.checks_market import (
    contract_is_ours,
    in_session,
    quote_is_sound,
    reconciled,
    switched_on,
)
from protocol.risk.checks_orders import (
    is_a_bracket,
    prices_are_near,
    prices_on_grid,
    size_is_sane,
    stop_is_sane,
    within_plan,
)
from protocol.risk.checks_repeats import Throttle, not_a_repetition, not_against_ourselves, signal_is_fresh
from protocol.risk.exposure import AccountExposure, Exposure, WorstCases, mark
from protocol.risk.figures import RiskFigures, figures_of
from protocol.risk.ledger import Ledger
from protocol.risk.question import Check, Question, Wish, reference_of
from protocol.risk.settings import RiskLimits
from protocol.risk.standing import Standing
from protocol.risk.words import AccountMoney, EntryProposal, Refused, Surroundings
from protocol.settings import Schedule, SymbolSettings
from protocol.values import MAIN, OrderSpec, Purpose, Symbol

ENTRY_CHECKS: Final[tuple[Check, ...]] = (
    switched_on, reconciled, contract_is_ours, in_session, quote_is_sound, not_a_repetition, signal_is_fresh,
    not_against_ourselves, within_plan, size_is_sane, is_a_bracket, prices_on_grid, prices_are_near,
    stop_is_sane, position_within, equity_is_known, account_within, sector_within, enough_left,
)  # fmt: skip
"""In this order: what holds for all comes before what is about one, so that the reason is the widest one."""
CHANGE_CHECKS: Final[tuple[Check, ...]] = (
    switched_on, reconciled, contract_is_ours, in_session, quote_is_sound, not_against_ourselves, within_plan,
    size_is_sane, prices_on_grid, prices_are_near, position_within, equity_is_known, account_within,
    sector_within, enough_left,
)  # fmt: skip
"""Of an entry that works already."""


class RiskGate:
    """`symbols` are those that may be traded; `latency_s` is what our machine may add to a quote's age."""

    def __init__(
        self,
        limits: RiskLimits,
        schedule: Schedule,
        symbols: Sequence[SymbolSettings],
        *,
        latency_s: float = 0.0,
    ) -> None:
        self.standing, self.book, self.ledger = Standing(limits), RiskBook(), Ledger(schedule)
        self._schedule, self._latency_s = schedule, latency_s
        self._sectors = {entry.symbol: entry.facts.sector for entry in symbols}
        self._cases = WorstCases(self.book, self._sectors)
        self._throttle = Throttle()
        self._money = AccountMoney()
        self._counted: dict[Symbol, int] = {}
        """Positions at the moment when TWS last told the account's figures: they are in them."""

    @property
    def limits(self) -> RiskLimits:
        return self.standing.limits

    # --- what feeds it --------------------------------------------------------------------------------

    def fold(self, stream: str, event: BaseEvent, *, replay: bool = False) -> None:
        """Take in one event of any stream of the journal. `replay`: it was written by an earlier run."""
        self.standing.fold(event, replay=replay)
        self.book.fold(stream, event)
        self.ledger.fold(stream, event)

    def follow(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written to the journal."""
        for event in events:
            self.fold(stream, event)

    # --- the last word ----------------------------------------------------------------------------------

    def judge(
        self,
        command: PlaceOrders | ModifyOrder | CancelOrder,
        around: Surroundings,
        *,
        at: datetime,
    ) -> Refused | None:
        """None: it may leave, and counts from now on. A cancel always may."""
        match command:
            case PlaceOrders(symbol=symbol, orders=orders):
                return _astray(symbol, orders) or self._judge_placement(orders, around, at)
            case ModifyOrder(symbol=symbol, order=spec):
                return _astray(symbol, (spec,)) or self._judge_change(spec, around, at)
            case CancelOrder(symbol=symbol):
                self._throttle.count(self.limits, symbol, 1, at, entry=False)
                return None
            case _:
                assert_never(command)

    def _judge_placement(
        self, orders: tuple[OrderSpec, ...], around: Surroundings, at: datetime
    ) -> Refused | None:
        symbol, refs = orders[0].symbol, tuple(order.ref for order in orders)
        entry = next((order for order in orders if order.purpose is Purpose.ENTRY), None)
        if self.book.left(refs):
            return None  # A reference names one order for ever: nothing is placed a second time.
        refused = None
        if entry is None:
            refused = self._exits_refusal(orders, around)
        elif entry is not orders[0]:
            refused = Refused("R14", "not_a_bracket", "an entry comes before its exits")
        else:
            refused = self._first_refusal(ENTRY_CHECKS, self._asked(orders, around, at))
            refused = refused or self._throttle.refusal(self.limits, symbol, len(orders), at)
        if refused is not None:
            self.book.stays(refs)
            return refused
        self._throttle.count(self.limits, symbol, len(orders), at, entry=entry is not None)
        self.book.leaves(refs)
        return None

    def _exits_refusal(self, orders: tuple[OrderSpec, ...], around: Surroundings) -> Refused | None:
        symbol, refs = orders[0].symbol, frozenset(order.ref for order in orders)
        quote, facts = around.quote(symbol), around.contract_facts(symbol)
        for order in orders:
            refused = exit_refusal(order, self.book, self.limits, quote, facts, together=refs)
            if refused is not None:
                return refused
        return None

    def _judge_change(self, spec: OrderSpec, around: Surroundings, at: datetime) -> Refused | None:
        symbol, entry, refused = spec.symbol, spec.purpose is Purpose.ENTRY, None
        if not entry:
            refused = self._exits_refusal((spec,), around)
        elif not _eases(spec, self.book.find(spec.ref)):
            refused = self._first_refusal(CHANGE_CHECKS, self._asked((spec,), around, at))
            refused = refused or self._throttle.refusal(self.limits, symbol, 1, at)
        if refused is None:
            self._throttle.count(self.limits, symbol, 1, at, entry=entry)
        return refused

    def admits(self, proposal: EntryProposal, around: Surroundings, *, at: datetime) -> Refused | None:
        """What the gate would say to an entry that is not decided yet; all that waits for it comes first."""
        return self._first_refusal(ENTRY_CHECKS, self._proposed(proposal, around, at))

    @staticmethod
    def _first_refusal(checks: tuple[Check, ...], question: Question) -> Refused | None:
        for check in checks:
            refused = check(question)
            if refused is not None:
                return refused
        return None

    # --- what is asked --------------------------------------------------------------------------------

    def _asked(self, orders: tuple[OrderSpec, ...], around: Surroundings, at: datetime) -> Question:
        """About orders that were decided."""
        entry = orders[0]
        opened, main = self.book.opened(entry.symbol), entry.ref.role == MAIN
        distance, planned = None, 0
        if main and opened is not None:
            distance, planned = opened.stop_distance, planned_quantity(opened)
        wish = Wish(
            symbol=entry.symbol, side=entry.side, quantity=entry.quantity, main=main, orders=orders,
            signal_id="" if opened is None else opened.signal_id, trade=entry.ref.trade,
            decided_at=at if opened is None else opened.at,
            reference=reference_of(entry, around.quote(entry.symbol)),
            stop_distance=distance, worst_quantity=planned,
        )  # fmt: skip
        judged = frozenset(order.ref for order in orders)
        return self._question(wish, self._cases.account(around.quote, judged=judged), around, at)

    def _proposed(self, proposal: EntryProposal, around: Surroundings, at: datetime) -> Question:
        """About an entry that is not decided: as if it worked beside all that does, or waits for the gate."""
        symbol, main = proposal.symbol, not proposal.addition
        wish = Wish(
            symbol=symbol, side=proposal.side, quantity=proposal.quantity, main=main, orders=(),
            signal_id=proposal.signal_id, trade=None, decided_at=at, reference=proposal.reference,
            stop_distance=proposal.stop_distance if main else None,
            worst_quantity=proposal.worst_quantity if main else 0,
        )  # fmt: skip
        account = self._cases.account(around.quote, pending=True)
        price = mark(around.quote(symbol)) or proposal.reference
        worst = account.get(symbol).with_entry(proposal.side, proposal.quantity)
        exposed = Exposure(symbol, worst, price, self._sectors.get(symbol, ""))
        return self._question(wish, AccountExposure({**account.symbols, symbol: exposed}), around, at)

    def _question(
        self, wish: Wish, exposure: AccountExposure, around: Surroundings, at: datetime
    ) -> Question:
        return Question(
            wish=wish, at=at, limits=self.limits, standing=self.standing, schedule=self._schedule,
            latency_s=self._latency_s, sectors=self._sectors, state=around.state, money=around.money,
            quote=around.quote(wish.symbol), facts=around.contract_facts(wish.symbol), book=self.book,
            ledger=self.ledger, exposure=exposure, reserved=self._reserved(exposure, around.money),
        )  # fmt: skip

    def _reserved(self, exposure: AccountExposure, money: AccountMoney) -> Decimal:
        """Dollars that positions have grown, or may grow by working entries, since TWS told the figures."""
        self._note(money)
        return sum(
            (max(one.worst.largest - self._counted.get(one.symbol, 0), 0) * one.price
             for one in exposure.symbols.values()),
            ZERO,
        )  # fmt: skip

    def _note(self, money: AccountMoney) -> None:
        """TWS tells the figures every few minutes: between two of them a burst of entries sees the same."""
        if money != self._money:
            self._money = money
            self._counted = {symbol: abs(self.book.position(symbol)) for symbol in self.book.symbols}

    # --- figures --------------------------------------------------------------------------------------

    def figures(self, around: Surroundings, *, at: datetime) -> RiskFigures:
        """Where the account stands now, and how much of each limit is used."""
        self._note(around.money)
        exposure = self._cases.account(around.quote)
        return figures_of(self.standing, self.book, exposure, around.money, at)


def _astray(symbol: Symbol, orders: tuple[OrderSpec, ...]) -> Refused | None:
    """The contract is the command's: an order of another symbol would be one for shares nobody means."""
    other = next((order.ref for order in orders if order.symbol != symbol), None)
    if other is None:
        return None
    return Refused("R16", "wrong_symbol", f"{other} in a command for {symbol}")


def _eases(spec: OrderSpec, known: Order | None) -> bool:
    """Whether a change of an entry only makes it smaller: fewer shares at the same prices, or none."""
    if known is None or not shrinks(spec, known):
        return False
    return spec.limit_price == known.confirmed_limit and spec.stop_price == known.confirmed_stop
