"""The words that everything else is made of.

Sign convention, said once: an order has a `Side` and an unsigned quantity; a position is signed,
positive for long and negative for short. Shares are whole numbers. Prices of our own orders, fills,
commissions and money are `Decimal`; indicators and ticks are floats.
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import NewType

import attrs

Symbol = NewType("Symbol", str)
"""The ticker, as TWS names the stock: `SLV`, `BRK B`. The key of a symbol actor."""


class Side(enum.Enum):
    """What an order does. A short sale is a `SELL` that takes the position below zero."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL: `sign * quantity` is the change of a position."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(enum.Enum):
    """The order types of the TWS API that we send, by their names on the wire."""

    MARKET = "MKT"
    LIMIT = "LMT"
    STOP = "STP"
    STOP_LIMIT = "STP LMT"
    TRAILING = "TRAIL"
    """A stop that the broker itself moves along with the market."""


class TimeInForce(enum.Enum):
    DAY = "DAY"
    GTC = "GTC"
    IOC = "IOC"
    GTD = "GTD"


class OrderStatus(enum.Enum):
    """The life of an order, in the words of the user's system (see `protocol/order.py` for the table)."""

    CREATED = "created"
    PENDING_SUBMIT = "pending_submit"
    ACCEPTED = "accepted"
    SUBMITTED = "submitted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    PENDING_CANCEL = "pending_cancel"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    INACTIVE = "inactive"


MAIN, STOP, TARGET, SCALE, DOUBLEDOWN, CLOSE = "main", "stop", "target", "scale", "doubledown", "close"
"""The roles (the seeds' link types) an order can have in a trade; `close` is an order that only flattens.

Users name further ones (`trail`, `hedge`, …); what such an order does says its `Purpose`.
"""


class Purpose(enum.Enum):
    """What an order does to the position of its trade, whatever its role is called."""

    ENTRY = "entry"
    """Opens or enlarges it."""
    STOP = "stop"
    """Protects it."""
    TARGET = "target"
    """Takes its profit; the order that a close is turned into."""
    CLOSE = "close"
    """Flattens, or takes a part off."""


_PURPOSES = {STOP: Purpose.STOP, TARGET: Purpose.TARGET, CLOSE: Purpose.CLOSE}


def purpose_of(role: str) -> Purpose:
    """By the name alone: the exits' own names, with a number for further ones. All else may add risk."""
    return _PURPOSES.get(role.partition(".")[0], Purpose.ENTRY)


@attrs.frozen(order=True)
class OrderRef:
    """Our name of one order: the only identity that survives at the broker, sent as `orderRef` on every leg.

    `instance` names the journal that owns the order, so that two systems on one account never
    mistake each other's orders. `revision` counts the orders that took this role in this trade one
    after another (a stop put back after the broker cancelled it is revision 1).
    """

    instance: str
    symbol: Symbol
    trade: int
    role: str
    revision: int = 0

    def __str__(self) -> str:
        return f"{self.instance}:{self.symbol}:{self.trade:06d}:{self.role}:r{self.revision}"

    @classmethod
    def parse(cls, text: str) -> OrderRef | None:
        """The reference that `text` spells, or None when somebody else's order carries it."""
        parts = text.split(":")
        if len(parts) != 5 or not parts[4].startswith("r"):
            return None
        instance, symbol, trade, role, revision = parts
        if not (instance and symbol and role and trade.isdecimal() and revision[1:].isdecimal()):
            return None
        return cls(instance, Symbol(symbol), int(trade), role, int(revision[1:]))


class PriceGrid:
    """The prices at which a contract can be quoted: steps that may widen with the price (a market rule)."""

    __slots__ = ("_steps",)

    def __init__(self, steps: tuple[tuple[Decimal, Decimal], ...]) -> None:
        """`steps`: (price from which the step holds, step), ascending, the first from 0."""
        if not steps or any(step <= 0 for _, step in steps):
            raise ValueError(f"a price grid needs positive steps, got {steps!r}")
        self._steps = steps

    @classmethod
    def of(cls, min_tick: Decimal) -> PriceGrid:
        return cls(((Decimal(0), min_tick),))

    @property
    def steps(self) -> tuple[tuple[Decimal, Decimal], ...]:
        return self._steps

    def tick_at(self, price: Decimal) -> Decimal:
        """The step that holds at `price`."""
        tick = self._steps[0][1]
        for edge, step in self._steps:
            if price >= edge:
                tick = step
        return tick

    def floor(self, price: Decimal) -> Decimal:
        tick = self.tick_at(price)
        return (price / tick).to_integral_value(ROUND_FLOOR) * tick

    def ceil(self, price: Decimal) -> Decimal:
        tick = self.tick_at(price)
        return (price / tick).to_integral_value(ROUND_CEILING) * tick

    def contains(self, price: Decimal) -> bool:
        return price % self.tick_at(price) == 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PriceGrid) and self._steps == other._steps

    def __hash__(self) -> int:
        return hash(self._steps)

    def __repr__(self) -> str:
        return f"PriceGrid({self._steps!r})"


CENT_GRID = PriceGrid.of(Decimal("0.01"))


def exact(number: float) -> Decimal:
    """The decimal that the broker meant by a float: `Decimal(repr(x))`, never the binary expansion."""
    return Decimal(repr(number))


class TickKind(enum.Enum):
    """What one tick says."""

    BID = "bid"
    ASK = "ask"
    LAST = "last"
    HALTED = "halted"
    VOLUME = "volume"
    PREVIOUS_CLOSE = "previous_close"


@attrs.frozen
class Tick:
    """One change of the market, as the broker actor hands it on.

    `price` in dollars, `size` in shares. `low` and `high` are the extremes of the trades that were
    merged into this one while a symbol was busy (equal to `price` otherwise), so that a bar built
    from conflated ticks keeps its range. For HALTED, `price` is 1.0 (halted) or 0.0;
    for VOLUME, `size` is what traded that day up to now.
    """

    symbol: Symbol
    kind: TickKind
    price: float
    size: float
    at: datetime
    low: float
    high: float


@attrs.frozen
class OrderSpec:
    """Everything we ask of the broker about one order; a modify sends the whole of it again.

    Prices lie on the contract's grid. `parent` makes it a native bracket child. `oca_type` 2 reduces
    the siblings of its `oca_group` when it fills (the only type used here, see `protection.py`).
    """

    ref: OrderRef
    side: Side
    quantity: int
    type: OrderType
    tif: TimeInForce
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    outside_rth: bool = False
    good_till: datetime | None = None
    parent: OrderRef | None = None
    oca_group: str = ""
    oca_type: int = 0
    purpose: Purpose = attrs.field()
    index: int = 0
    """Which part of the position an exit is for, or which level an addition belongs to; from 0."""
    trail_amount: Decimal | None = None
    """Dollars by which a trailing stop follows; one of the two for its type, none for others."""
    trail_fraction: Decimal | None = None
    good_after: datetime | None = None
    """It does not work before this moment."""

    @purpose.default
    def _purpose_by_role(self) -> Purpose:
        return purpose_of(self.ref.role)

    @property
    def symbol(self) -> Symbol:
        return self.ref.symbol


@attrs.frozen
class Bar:
    """An interval of trading that starts at `start`: prices in dollars, volume in shares."""

    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
