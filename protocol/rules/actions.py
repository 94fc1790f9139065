"""What a rule can do: one closed union, `Action`. Nothing here acts; `protocol/rules/acting.py` does."""

from __future__ import annotations

import enum
from datetime import time
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import attrs

from protocol.rules.amounts import Addition, Distance, Multiple, Percent, Sizing
from protocol.rules.expression import Expression
from protocol.values import OrderType, Side, Symbol

if TYPE_CHECKING:
    from protocol.rules.conditions import Condition

DEFAULT_STOP = Percent(0.03)
DEFAULT_TARGET = Percent(0.08)
DEFAULT_TRAIL = Percent(0.03)
DEFAULT_ATR_MULTIPLE = 2.0
DEFAULT_REWARD_RATIO = 2.0
"""What holds where a rule names a kind of exit and no figure for it (the user's own defaults)."""


class OnOpposite(enum.Enum):
    """What a signal against the live trade does."""

    REVERSE = "reverse"
    CLOSE = "close"


class OnCloseStop(enum.Enum):
    """What becomes of an entry whose stop would lie closer than the risk limits allow."""

    REFUSE = "refuse"
    WIDEN = "widen"
    """The stop goes to the least distance, and the size shrinks so that a stop-out costs no more."""


# --- parts of an entry ------------------------------------------------------------------------------


@attrs.frozen
class EntryOrder:
    """How the entry goes to the market.

    `offset` is how far from the far side of the quote its price lies: below it for a limit that buys,
    above it for a stop that buys, mirrored for a sale; unused by a market order. `limit_offset` is how
    much further a stop-limit may trade. After `expires_s` it is cancelled; None: the risk limit's age.
    """

    type: OrderType = OrderType.MARKET
    offset: Distance | None = None
    limit_offset: Distance | None = None
    expires_s: float | None = None


@attrs.frozen
class TargetPart:
    """One of several targets: at `distance`, for `part` (a fraction) of the position."""

    distance: Distance
    part: float


@attrs.frozen
class Trailing:
    """A stop that follows the price at `distance` and never goes back.

    It begins at once, or when the trade is `after` in profit. `native`: the broker's own TRAIL order, which
    trails with our process dead; otherwise we ratchet a plain stop by modifies.
    """

    distance: Distance = DEFAULT_TRAIL
    after: Distance | None = None
    native: bool = False


@attrs.frozen
class Breakeven:
    """Once `after` in profit, the stop goes to the average entry, `offset` dollars in our favour."""

    after: Distance
    offset: Decimal = Decimal(0)


@attrs.frozen
class ScaleLevel:
    """Add once, at the market, when the trade is `profit` in our favour."""

    profit: Distance
    quantity: Addition = Multiple(0.5)


@attrs.frozen
class DoubleDownLevel:
    """Add once, by a limit order `part_of_stop` of the way from the entry to the stop (0 to 1)."""

    part_of_stop: float = 0.5
    quantity: Addition = Multiple(1.0)


class _Step:
    """`a + b`: first one, then the other. What comes out is the `then` of a rule."""

    __slots__ = ()

    def __add__(self, other: Action | tuple[Action, ...]) -> tuple[Action, ...]:
        return (_action(self), *(other if isinstance(other, tuple) else (other,)))

    def __radd__(self, other: tuple[Action, ...]) -> tuple[Action, ...]:
        return (*other, _action(self))


def _action(step: _Step) -> Action:
    """Only actions are added: the union is closed, its common base is not."""
    assert isinstance(step, Action)
    return step


# --- actions ----------------------------------------------------------------------------------------


@attrs.frozen
class Enter(_Step):
    """Enter with a native bracket: stop and target at these distances from the real average fill.

    `sizing` None: the symbol's own. `targets` divides the position among several targets, each with a stop
    of its own for its part; it excludes `target`. `close_after_s`: closed that long after the entry;
    `close_at`: at that time of the schedule's zone.
    """

    side: Side
    stop: Distance = DEFAULT_STOP
    target: Distance | None = DEFAULT_TARGET
    on_opposite: OnOpposite = OnOpposite.REVERSE
    on_close_stop: OnCloseStop = OnCloseStop.REFUSE
    sizing: Sizing | None = None
    order: EntryOrder = EntryOrder()
    targets: tuple[TargetPart, ...] = ()
    trail: Trailing | None = None
    breakeven: Breakeven | None = None
    scale_in: tuple[ScaleLevel, ...] = ()
    double_down: tuple[DoubleDownLevel, ...] = ()
    close_after_s: float | None = None
    close_at: time | None = None


@attrs.frozen
class ScaleIn(_Step):
    """Add to the live trade at the market; only while it is at least `min_profit` in our favour."""

    quantity: Addition = Multiple(0.5)
    min_profit: Distance | None = None


@attrs.frozen
class DoubleDown(_Step):
    """Add to the live trade by a limit order `part_of_stop` of the way to the stop; None: at the market."""

    quantity: Addition = Multiple(1.0)
    part_of_stop: float | None = 0.5


@attrs.frozen
class Adjust(_Step):
    """Change the exits of the live trade. A stop is only ever tightened; what is None stays."""

    stop: Distance | None = None
    target: Distance | None = None
    trail: Trailing | None = None
    breakeven: Breakeven | None = None


@attrs.frozen
class Link(_Step):
    """Join an exit of a name of your own (`trail`, `hedge`, …) to the live trade, for `part` of the position.

    The other exits give up that part, so that all of them together still are the position. A stop that
    trails by itself needs `trail`; a fixed one `stop`; `target` adds the other side of its pair.
    """

    name: str
    part: float
    stop: Distance | None = None
    trail: Trailing | None = None
    target: Distance | None = None


@attrs.frozen
class Close(_Step):
    """Close the live trade, or `part` of it."""

    part: float = 1.0
    reason: str = ""


@attrs.frozen
class Cancel(_Step):
    """Cancel working orders of the live trade by link type; those that protect it are never among them."""

    links: tuple[str, ...] = ("scale", "doubledown")


@attrs.frozen
class FlattenAll(_Step):
    """Close every trade of every symbol."""

    reason: str = ""


@attrs.frozen
class Hedge(_Step):
    """While the trade lives, hold `ratio` times its dollars in another symbol, on the other side.

    The hedge belongs to that symbol's own actor: it has its own stop, and ends with this trade.
    """

    symbol: Symbol
    ratio: float = 1.0


@attrs.frozen
class Prepare(_Step):
    """Make an entry ready under a name, to be sent later by `Submit`, or never."""

    name: str
    entry: Enter


@attrs.frozen
class Submit(_Step):
    """Send what was prepared under `name`."""

    name: str


@attrs.frozen
class PlainOrder(_Step):
    """Buy or sell, without a plan for a trade.

    Without a trade it opens one, with the usual stop and target, since no position is without a stop. On the
    side of a live trade it adds to it; against it, it takes that much off, and never turns it around.
    """

    side: Side
    sizing: Sizing | None = None
    order: EntryOrder = EntryOrder()


@attrs.frozen
class Notify(_Step):
    """Tell a person. `{price}` and other facts in the text are filled in."""

    text: str


@attrs.frozen
class Log(_Step):
    text: str


@attrs.frozen
class SetValue(_Step):
    """Keep a value under a name that expressions of this symbol can read; it survives restarts."""

    name: str
    value: Expression


@attrs.frozen
class EnableRule(_Step):
    """Switch another rule of this symbol on or off."""

    rule: str
    on: bool = True


@attrs.frozen
class Choose(_Step):
    """`then` where the condition holds, `otherwise` where it does not."""

    condition: Condition
    then: tuple[Action, ...]
    otherwise: tuple[Action, ...] = ()


Action: TypeAlias = (
    Enter
    | ScaleIn
    | DoubleDown
    | Adjust
    | Link
    | Close
    | Cancel
    | FlattenAll
    | Hedge
    | Prepare
    | Submit
    | PlainOrder
    | Notify
    | Log
    | SetValue
    | EnableRule
    | Choose
)
