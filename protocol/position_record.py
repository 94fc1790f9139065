"""One position as people and programs look at it: what is held, what it made, what was changed when.

A position is the life of one trade: from the decision to enter until it is flat with no order working.
Money is exact and commissions stand apart. `PositionBook` makes these from the journal.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from protocol.position import ZERO
from protocol.position_status import PositionStatus
from protocol.protection import stop_price, target_price
from protocol.rules.actions import DEFAULT_ATR_MULTIPLE, DEFAULT_REWARD_RATIO, DEFAULT_TRAIL
from protocol.settings import StockFacts
from protocol.values import CENT_GRID, PriceGrid, Side, Symbol

MAX_CHANGES: Final = 500
"""Changes that one position remembers: a stop that trails all day makes some hundred. The journal has all."""

# --- prices that a person may want to know ----------------------------------------------------------


def optimal_stop(
    side: Side,
    average: Decimal,
    atr: float,
    multiple: float = DEFAULT_ATR_MULTIPLE,
    grid: PriceGrid = CENT_GRID,
) -> Decimal:
    """A stop `multiple` average true ranges (dollars) on the losing side of the average entry."""
    return stop_price(side, average, Decimal(repr(atr)) * Decimal(repr(multiple)), grid)


def optimal_target(
    side: Side,
    average: Decimal,
    stop: Decimal,
    ratio: float = DEFAULT_REWARD_RATIO,
    grid: PriceGrid = CENT_GRID,
) -> Decimal:
    """A target that wins `ratio` times what the stop would lose, from the average entry.

    ValueError for a stop that is not on the losing side: it risks nothing, so there is no multiple of it.
    """
    risk = (average - stop) * side.sign
    if risk <= 0:
        raise ValueError(f"a stop at {stop} loses nothing of an entry at {average}")
    return target_price(side, average, risk * Decimal(repr(ratio)), grid)


def trailing_stop(
    side: Side, price: Decimal, fraction: float = DEFAULT_TRAIL.fraction, grid: PriceGrid = CENT_GRID
) -> Decimal:
    """Where a stop lies that trails `price` by a fraction of it; 0.03 is 3 %."""
    return stop_price(side, price, price * Decimal(repr(fraction)), grid)


# --- the record -------------------------------------------------------------------------------------


@attrs.frozen
class Change:
    """One thing of a position that became another; prices and counts as text, "" for none."""

    at: datetime
    what: str
    before: str
    after: str


def position_id(symbol: Symbol, trade: int) -> str:
    """`SLV:000007`: the seventh trade of SLV in this journal, as its orders' references spell it."""
    return f"{symbol}:{trade:06d}"


@attrs.frozen(kw_only=True)
class PositionRecord:
    """`quantity` is signed, `side` the trade's; `opened_at` is when it was decided, `filled_at` when it first
    executed.

    `stop_price` and `target_price` are where its own stop and its nearest target work; once it is flat,
    where they worked last. `best` and `worst` are the most that a share was in profit and in loss, as far
    as prices were seen: those told by `PositionBook.mark`, or at the end those of the owner of the trade.
    """

    symbol: Symbol
    trade: int
    side: Side
    rule: str
    signal_id: str
    opened_at: datetime
    status: PositionStatus = PositionStatus.PLANNED
    quantity: int = 0
    entered: int = 0
    """Shares that its entries have executed, additions included."""
    average_entry: Decimal | None = None
    realized_pnl: Decimal = ZERO
    commission: Decimal = ZERO
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    price: Decimal | None = None
    """The last one that was told."""
    best: Decimal | None = None
    worst: Decimal | None = None
    filled_at: datetime | None = None
    closed_at: datetime | None = None
    reason: str = ""
    """Why it is being closed, or was."""
    changes: tuple[Change, ...] = ()
    facts: StockFacts = StockFacts()

    @property
    def position_id(self) -> str:
        return position_id(self.symbol, self.trade)

    @property
    def is_long(self) -> bool:
        return self.quantity > 0

    @property
    def is_short(self) -> bool:
        return self.quantity < 0

    @property
    def is_active(self) -> bool:
        """Whether it still has a context: from planned to closing."""
        return self.status is not PositionStatus.CLOSED

    # --- what it is worth -----------------------------------------------------------------------------

    @property
    def gain(self) -> Decimal | None:
        """Dollars per share that it is in profit; None while nothing is held, or no price was told."""
        if not self.quantity or self.price is None or self.average_entry is None:
            return None
        return (self.price - self.average_entry) * self.side.sign

    @property
    def unrealized_pnl(self) -> Decimal | None:
        """Dollars; zero when nothing is held, None when no price was told."""
        if not self.quantity:
            return ZERO
        gain = self.gain
        return None if gain is None else gain * abs(self.quantity)

    @property
    def net_pnl(self) -> Decimal:
        """What was realized, less the commissions that have been told."""
        return self.realized_pnl - self.commission

    @property
    def drawdown(self) -> Decimal | None:
        """Dollars per share that it is below its best; None when that is not known."""
        gain = self.gain
        return None if gain is None or self.best is None else max(self.best - gain, ZERO)

    def duration_s(self, at: datetime) -> float:
        """From the decision until it was closed, or until `at`."""
        return ((self.closed_at or at) - self.opened_at).total_seconds()

    # --- what its exits could be ----------------------------------------------------------------------

    def optimal_stop(self, atr: float, multiple: float = DEFAULT_ATR_MULTIPLE) -> Decimal | None:
        """None before anything has executed."""
        if self.average_entry is None:
            return None
        return optimal_stop(self.side, self.average_entry, atr, multiple)

    def optimal_target(self, ratio: float = DEFAULT_REWARD_RATIO) -> Decimal | None:
        """By the stop that works; None without one, and when it would lose nothing any more."""
        if self.average_entry is None or self.stop_price is None:
            return None
        if (self.average_entry - self.stop_price) * self.side.sign <= 0:
            return None
        return optimal_target(self.side, self.average_entry, self.stop_price, ratio)

    def trailing_stop(self, price: Decimal, fraction: float = DEFAULT_TRAIL.fraction) -> Decimal:
        return trailing_stop(self.side, price, fraction)

    # --- how it changes -------------------------------------------------------------------------------

    def at_price(self, price: Decimal) -> PositionRecord:
        """The same at another price of the market."""
        marked = attrs.evolve(self, price=price)
        gain = marked.gain
        if gain is None:
            return marked
        best, worst = max(self.best or ZERO, gain), min(self.worst or ZERO, gain)
        return attrs.evolve(marked, best=best, worst=worst)

    def changed(self, at: datetime, **now: object) -> PositionRecord:
        """The same with these fields, and what that changed added to its history."""
        after = attrs.evolve(self, **now)  # type: ignore[arg-type]
        found = [
            Change(at, what, said(getattr(self, what)), said(getattr(after, what)))
            for what in TRACKED
            if getattr(self, what) != getattr(after, what)
        ]
        if not found:
            return after
        return attrs.evolve(after, changes=(*self.changes, *found)[-MAX_CHANGES:])

    def to_dict(self) -> dict[str, Any]:
        """Plain data for programs: money and prices as text, times in ISO 8601."""
        own = {
            field.name: plain(getattr(self, field.name))
            for field in attrs.fields(type(self))
            if field.name not in ("changes", "facts")
        }
        worked_out = {
            "unrealized_pnl": plain(self.unrealized_pnl),
            "net_pnl": plain(self.net_pnl),
            "drawdown": plain(self.drawdown),
        }
        facts = {name: plain(value) for name, value in attrs.asdict(self.facts).items()}
        changes = [{name: plain(v) for name, v in attrs.asdict(each).items()} for each in self.changes]
        return {"position_id": self.position_id, **own, **worked_out, "facts": facts, "changes": changes}


TRACKED: Final = ("status", "quantity", "average_entry", "stop_price", "target_price", "reason")
"""What the history of a position tells of."""


def said(value: object) -> str:
    """A value as a person reads it; an average is cut to a hundredth of a cent."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value.quantize(Decimal("0.0001")).normalize(), "f")
    return str(plain(value))


def plain(value: object) -> Any:
    """A value as JSON has it."""
    match value:
        case Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case PositionStatus() | Side():
            return value.value
        case _:
            return value
