"""What one actor asks of another. A symbol commands the broker; a person or the clock commands a symbol."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.rules.rule import Rule
from protocol.values import OrderRef, OrderSpec, Symbol


@attrs.frozen
class PlaceOrders:
    """Place a group in one go: an entry with its children, or a single order.

    In a group the parent comes first and only the last leg transmits, so that TWS takes all or none.
    The intent of each order is in the journal before this command exists.
    """

    symbol: Symbol
    epoch: int
    orders: tuple[OrderSpec, ...]


@attrs.frozen
class ModifyOrder:
    """Change a working order in place to what `order` says (same reference, same TWS order id)."""

    symbol: Symbol
    epoch: int
    order: OrderSpec


@attrs.frozen
class CancelOrder:
    symbol: Symbol
    epoch: int
    ref: OrderRef


@attrs.frozen
class AskSnapshot:
    """Ask for a `SymbolSnapshot` (at a start, after a restart, or when an order's fate is unknown)."""

    symbol: Symbol
    epoch: int


@attrs.frozen
class AskHistory:
    """Ask for the last `count` completed bars of `bar_s` seconds before now."""

    symbol: Symbol
    epoch: int
    bar_s: int
    count: int


BrokerCommand: TypeAlias = PlaceOrders | ModifyOrder | CancelOrder | AskSnapshot | AskHistory


@attrs.frozen
class Wake:
    """The market time that a symbol asked to be woken at has come."""

    at: datetime


@attrs.frozen
class Flatten:
    """Cancel working entries, close the position, confirm flat."""

    at: datetime
    reason: str


@attrs.frozen
class Stop:
    """Clean stop: cancel working entries, leave the protective orders at the broker."""

    at: datetime


@attrs.frozen
class CancelEntries:
    """Cancel working entries and forget planned ones; positions keep their stops and targets."""

    at: datetime
    reason: str


@attrs.frozen
class LiftHold:
    """A person has looked at what a symbol is held for: it may enter again. Books that differ hold it on."""

    at: datetime
    who: str
    why: str


@attrs.frozen
class HedgeTrade:
    """Another symbol asks this one to hold `dollars` (signed) against its trade, with a stop of its own."""

    at: datetime
    trade_of: Symbol
    trade: int
    dollars: Decimal
    reason: str


@attrs.frozen
class EndHedge:
    """The trade that was hedged is over."""

    at: datetime
    trade_of: Symbol
    trade: int


@attrs.frozen
class UseRules:
    """From now on these are the symbol's rules, the most important first. The trade that lives goes on."""

    at: datetime
    rules: tuple[Rule, ...]


SymbolCommand: TypeAlias = Wake | Flatten | Stop | CancelEntries | LiftHold | HedgeTrade | EndHedge | UseRules
