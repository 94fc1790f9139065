"""Everything that has happened, as the journal keeps it: the seeds' hierarchy of events.

A subscriber to a type sees its subtypes too: whoever asks for `OrderEvent` gets every `FillEvent`.
Events are facts. They are written before anything acts on them, and replaying them rebuilds the state
of their owner (`stream` in the journal: `symbol:SLV`, `broker`, `signals`, `system`).
"""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeAlias

import attrs

from protocol.trade_plan import TradePlan
from protocol.values import OrderRef, OrderSpec, OrderStatus, Side, Symbol

RuleValue: TypeAlias = float | str | bool | None
"""What a rule can keep; None is nothing."""


@attrs.frozen(kw_only=True)
class BaseEvent:
    """`at` is market time. `cause` names the message that led to it: a signal, an execution, a command."""

    at: datetime
    cause: str = ""

    @property
    def event_type(self) -> str:
        return type(self).__name__

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, for people and programs that read events; the journal has its own codec."""
        return {"event_type": self.event_type, **attrs.asdict(self)}


# --- market ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class MarketEvent(BaseEvent):
    symbol: Symbol


@attrs.frozen(kw_only=True)
class PriceEvent(MarketEvent):
    """A new price of a symbol, with the quote around it (None where there is none)."""

    price: float
    bid: float | None = None
    ask: float | None = None


@attrs.frozen(kw_only=True)
class VolumeEvent(MarketEvent):
    """Shares traded today, as the broker counts them."""

    volume: float


@attrs.frozen(kw_only=True)
class IndicatorEvent(MarketEvent):
    """An indicator has a new value, at the close of a bar."""

    name: str
    value: float


# --- orders ---------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OrderEvent(BaseEvent):
    ref: OrderRef

    @property
    def symbol(self) -> Symbol:
        return self.ref.symbol


@attrs.frozen(kw_only=True)
class NewOrderEvent(OrderEvent):
    """An order was decided. Journalled before its bytes leave."""

    order: OrderSpec


@attrs.frozen(kw_only=True)
class ModifyOrderEvent(OrderEvent):
    """A change of a working order was decided. Journalled before its bytes leave."""

    order: OrderSpec
    why: str


@attrs.frozen(kw_only=True)
class OrderStatusEvent(OrderEvent):
    """What the broker confirms: status, total quantity and prices. Never moves quantities of a position."""

    status: OrderStatus
    perm_id: int
    quantity: int
    filled: int
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    why_held: str = ""
    adopted: bool = False
    """From a snapshot: what the broker has is what counts, nothing of ours is on its way any more."""
    moved: bool = False
    """Somebody else has changed the order after the broker had confirmed it as we asked for it."""


@attrs.frozen(kw_only=True)
class FillEvent(OrderEvent):
    """One execution of one of our orders: moves the position, once per root of `exec_id`."""

    exec_id: str
    side: Side
    quantity: int
    price: Decimal
    perm_id: int = 0
    """TWS's name of the order, where it told it: now and then it has two under one reference."""


@attrs.frozen(kw_only=True)
class CommissionEvent(BaseEvent):
    symbol: Symbol
    exec_id: str
    commission: Decimal


@attrs.frozen(kw_only=True)
class CancelEvent(OrderEvent):
    """A cancel was decided. Journalled before its bytes leave; the answer is an `OrderStatusEvent`."""

    why: str


@attrs.frozen(kw_only=True)
class RejectEvent(OrderEvent):
    """A request was refused. `terminal`: the order is dead; otherwise it stands as it was before."""

    request: str
    code: int
    reason: str
    terminal: bool


@attrs.frozen(kw_only=True)
class ForeignFillEvent(BaseEvent):
    """Somebody else traded our symbol in this account: the position moves, the symbol goes on hold."""

    symbol: Symbol
    exec_id: str
    side: Side
    quantity: int
    price: Decimal
    liquidation: bool = False
    """The broker itself closed it for want of margin."""


# --- trades and positions -----------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PositionEvent(BaseEvent):
    symbol: Symbol
    trade: int


@attrs.frozen(kw_only=True)
class PositionOpenEvent(PositionEvent):
    """A trade begins: its context exists from here on, even before the first fill.

    Distances are in dollars from the average fill; `signal_id` and `rule` say why it was entered.
    """

    side: Side
    quantity: int
    stop_distance: Decimal
    target_distance: Decimal | None
    signal_id: str
    rule: str
    plan: TradePlan = TradePlan()


@attrs.frozen(kw_only=True)
class PositionAdjustEvent(PositionEvent):
    """The exits of the trade are to be others from now on. What is None stays as it is.

    `ratchet` is a price that the trade's own stop may not be looser than any more.
    """

    reason: str
    stop_distance: Decimal | None = None
    target_distance: Decimal | None = None
    plan: TradePlan | None = None
    ratchet: Decimal | None = None


@attrs.frozen(kw_only=True)
class PositionUpdateEvent(PositionEvent):
    """The trade starts to close. `reverse_to` is the side to enter afresh once it is flat, if any."""

    reason: str
    reverse_to: Side | None = None
    signal_id: str = ""
    rule: str = ""


@attrs.frozen(kw_only=True)
class PositionCloseEvent(PositionEvent):
    """The trade has ended: flat, no order working; its context is gone. Money of this trade alone."""

    reason: str
    realized_pnl: Decimal
    commission: Decimal = Decimal(0)
    best_pnl: Decimal | None = None
    worst_pnl: Decimal | None = None
    """The most that it was in profit and in loss per share, at prices it could have been closed at, as far
    as this life of the actor has seen them (favourable and adverse excursion)."""


# --- signals --------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class OptionsFlowEvent(BaseEvent):
    symbol: Symbol


@attrs.frozen(kw_only=True)
class PredictionSignalEvent(OptionsFlowEvent):
    """One prediction, parsed and checked. `at` is when it was received, `predicted_at` its own time stamp."""

    signal_id: str
    source: str
    signal: str
    """BUY, SELL or SHORT; anything else means no trade."""
    confidence: float
    predicted_at: datetime
    stock_price: float | None = None
    body_hash: str = ""
    """Of the prediction as it came: the same id with another hash is not the same signal."""


class Verdict(enum.Enum):
    ACCEPTED = "accepted"
    """A rule acted on it."""
    IGNORED = "ignored"
    """Nothing to do: same side as the trade, no rule asks for it, a 'no trade' prediction."""
    REFUSED = "refused"
    """It would have traded, and must not: malformed, stale, unknown symbol, cooldown, risk, no quote."""


@attrs.frozen(kw_only=True)
class SignalVerdictEvent(BaseEvent):
    """The answer to one signal. Exactly one for each signal that was received."""

    signal_id: str
    symbol: str
    """As the signal names it; not always one of ours."""
    verdict: Verdict
    code: str
    reason: str


# --- the system -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class SystemEvent(BaseEvent):
    pass


@attrs.frozen(kw_only=True)
class ActorStartedEvent(SystemEvent):
    """`epoch` counts the incarnations of the actor over the life of the journal."""

    actor: str
    epoch: int


@attrs.frozen(kw_only=True)
class ActorExitedEvent(SystemEvent):
    """Journalled before the restart it leads to."""

    actor: str
    epoch: int
    exit: str
    reason: str
    decision: str
    delay_s: float
    traceback_hash: str = ""
    """Equal for equal crashes."""
    last_message: str = ""
    """What it had in hand, by kind and id."""
    restart_number: int = 0
    """Of the restart that follows, in this run of its supervisor; 0 where none does."""


@attrs.frozen(kw_only=True)
class LinkEvent(SystemEvent):
    """`account` is the one that is traded over it, once it is known: a journal belongs to one account."""

    state: str
    generation: int
    reason: str
    account: str = ""


@attrs.frozen(kw_only=True)
class OrderSentEvent(OrderEvent):
    """The broker actor bound a TWS order id to an order of ours. Journalled before the bytes leave.

    `replaces` is the id that it was to have, when a later order overtook it on the wire: no bytes with that
    one ever left. 0: the first.
    """

    order_id: int
    client_id: int
    replaces: int = 0


@attrs.frozen(kw_only=True)
class AlarmEvent(SystemEvent):
    """Something a person should know: shown at once, kept for ever."""

    code: str
    text: str
    symbol: str = ""


@attrs.frozen(kw_only=True)
class RunEvent(SystemEvent):
    """The run itself: `started` or `stopped`; `detail` holds the version and configuration hash, or why."""

    what: str
    detail: str


# --- a symbol's own reckoning ---------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ReconciledEvent(BaseEvent):
    """The symbol has compared itself with the broker's books: nothing that it asked is in flight any more.

    `position` is the broker's word at that moment.
    """

    symbol: Symbol
    generation: int
    position: int


@attrs.frozen(kw_only=True)
class HoldEvent(BaseEvent):
    """No entries of this symbol until it is lifted (`reason` empty): others trade it, or books differ."""

    symbol: Symbol
    reason: str


@attrs.frozen(kw_only=True)
class RuleFiredEvent(BaseEvent):
    """A rule acted; its cooldown and its count of the day begin here. `why` is its condition in words."""

    symbol: Symbol
    rule: str
    why: str
    actions: str


@attrs.frozen(kw_only=True)
class RuleSwitchedEvent(BaseEvent):
    """A rule was switched on or off, by another rule or by a person."""

    symbol: Symbol
    rule: str
    on: bool


@attrs.frozen(kw_only=True)
class ValueSetEvent(BaseEvent):
    """A rule keeps a value; None forgets it."""

    symbol: Symbol
    name: str
    value: RuleValue


@attrs.frozen(kw_only=True)
class EntryPreparedEvent(BaseEvent):
    """An entry was made ready under a name: not sent, and forgotten when it is or when the day ends."""

    symbol: Symbol
    name: str
    rule: str
    on: bool = True


@attrs.frozen(kw_only=True)
class NotifyEvent(BaseEvent):
    """A rule tells something: to a person when `urgent`, else for the record."""

    symbol: Symbol
    rule: str
    text: str
    urgent: bool


@attrs.frozen(kw_only=True)
class PeerAskedEvent(BaseEvent):
    """A symbol asks another one, or all, for something. The owner of each position decides by itself.

    `what` is `flatten` (of all symbols), `hedge` or `unhedge`; `dollars` is the signed worth of a hedge.
    """

    symbol: Symbol
    what: str
    peer: str
    trade: int
    dollars: Decimal = Decimal(0)
    reason: str = ""


@attrs.frozen(kw_only=True)
class UserEvent(BaseEvent):
    """What a user's own handler tells: a name, and a text of any form."""

    name: str
    text: str = ""
    symbol: str = ""


@attrs.frozen(kw_only=True)
class EntryDroppedEvent(BaseEvent):
    """A reversal's new entry did not come about: the close was right, the entry no longer is."""

    symbol: Symbol
    signal_id: str
    reason: str
