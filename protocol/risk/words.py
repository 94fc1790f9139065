"""The words of risk: levels, locks, refusals, and what the gate looks at beside its own book."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Protocol

import attrs

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.reports import LinkState
from protocol.values import PriceGrid, Side, Symbol


class KillLevel(enum.IntEnum):
    """How far the account is switched off. A single symbol is paused (K0) by a lock instead.

    The last stop of an open position stays in place at every level; only a confirmed flatten ends it.
    """

    OPEN = 0
    """Nothing is switched off."""
    REDUCE = 1
    """K1: only what makes positions smaller."""
    HALT = 2
    """K2: working entries are cancelled, stops and targets stay."""
    FLATTEN = 3
    """K3: everything is closed, each position in its own OCA group."""
    SEVER = 4
    """K4: once flat, the link is closed and stays closed."""


class LockKind(enum.Enum):
    """Where a lock comes from."""

    PERSON = "person"
    COOL_DOWN = "cool_down"
    STOP_LOSS_GUARD = "stop_loss_guard"
    DRAWDOWN = "drawdown"
    LOW_PROFIT = "low_profit"
    FILLS_OFF_MARKET = "fills_off_market"
    """R5"""
    REPEATED_TRADES = "repeated_trades"
    """R10"""
    REJECTS = "rejects"
    """R11"""
    DAILY_LOSS = "daily_loss"
    """R12"""
    MESSAGES = "messages"
    """R13"""
    QUARANTINE = "quarantine"
    """Five symbols in quarantine within ten minutes hold all entries."""


@attrs.frozen
class Refused:
    """Why an order does not leave: the control (`R4`), a code for programs and a sentence for people."""

    control: str
    code: str
    reason: str


class DataState(enum.Enum):
    """What the market data of a symbol is worth."""

    LIVE = "live"
    WAITING = "waiting"
    """Asked for, nothing heard yet."""
    DELAYED = "delayed"
    """Types 2, 3, 4 of message 58: frozen or delayed. Nothing is ever entered on it."""
    NOT_PERMITTED = "not_permitted"
    """354, 10089, 10168, 10186 and relatives."""
    COMPETING = "competing"
    """10197: another session of the user has the data."""
    NO_LINE = "no_line"
    """101: more symbols than market data lines."""
    ENDED = "ended"
    """10182, 10225, a broken farm: asked for again soon."""


@attrs.frozen
class Quote:
    """The market of one symbol as its line last told it. Prices in dollars, None where there is none."""

    bid: float | None
    ask: float | None
    last: float | None
    heard_at: datetime | None
    """When the line last said anything, in market time."""
    halted: bool = False
    data: DataState = DataState.LIVE


@attrs.frozen
class ContractFacts:
    """What the broker has confirmed of a symbol's contract."""

    con_id: int
    currency: str
    exchange: str
    grid: PriceGrid


@attrs.frozen
class AccountMoney:
    """The account in dollars as TWS last told it; None what it has not told."""

    equity: Decimal | None = None
    """NetLiquidation."""
    excess_liquidity: Decimal | None = None
    buying_power: Decimal | None = None


class Surroundings(Protocol):
    """What the gate is shown of the broker session at the moment of an order."""

    @property
    def state(self) -> LinkState: ...

    @property
    def money(self) -> AccountMoney: ...

    def quote(self, symbol: Symbol) -> Quote | None: ...

    def contract_facts(self, symbol: Symbol) -> ContractFacts | None: ...


class OrderGate(Protocol):
    """Who has the last word before an order, a change or a cancel goes out."""

    def judge(
        self,
        command: PlaceOrders | ModifyOrder | CancelOrder,
        around: Surroundings,
        *,
        at: datetime,
    ) -> Refused | None: ...


@attrs.frozen
class EntryProposal:
    """An entry that a symbol would like to make, asked about before its orders are decided.

    `worst_quantity` is what the position can grow to with every addition of its plan.
    """

    symbol: Symbol
    side: Side
    quantity: int
    reference: Decimal
    """About where it would trade, in dollars."""
    stop_distance: Decimal
    worst_quantity: int
    signal_id: str = ""
    addition: bool = False
    """To a trade that lives: no main entry, so it is neither a repetition nor another order of its signal."""
