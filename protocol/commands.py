"""What one actor asks of another. A symbol commands the broker; a person or the clock commands a symbol."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import attrs

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


SymbolCommand: TypeAlias = Wake | Flatten | Stop
