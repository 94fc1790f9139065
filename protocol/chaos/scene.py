"""What all checkers look at: the venue's truth, the journal's word, and whether the system could act at all.

A folding of the timeline. Time-outs of invariants count only while the system could do something: its
process lives, its link is up by its own word, and no fault lies on the wire (`able_s`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import attrs

from protocol.chaos.plan import EpisodePlan
from protocol.chaos.timeline import (
    Blow,
    Connected,
    Entry,
    FaultDone,
    Happened,
    Healed,
    Journalled,
    ProcessBegan,
    ProcessEnded,
    Struck,
)
from protocol.control_events import KillLevelEvent, LockEvent, UnlockEvent
from protocol.events import (
    ActorExitedEvent,
    ActorStartedEvent,
    AlarmEvent,
    BaseEvent,
    FillEvent,
    ForeignFillEvent,
    HoldEvent,
    LinkEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderSentEvent,
    ReconciledEvent,
)
from protocol.exchange.contract_key import contract_key
from protocol.exchange.faults import KINDS, kind_of
from protocol.exchange.happenings import (
    Executed,
    ExecutionCorrected,
    Happening,
    OrderAccepted,
    PositionChanged,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.position import split_exec_id
from protocol.values import OrderRef, OrderSpec, Purpose, Symbol, purpose_of

STOP_TYPES: Final = frozenset({"STP", "STP LMT", "STP PRT", "TRAIL", "TRAIL LIMIT"})
WORKING: Final = frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED, Status.PENDING_CANCEL})
LIVE: Final = WORKING | {Status.API_PENDING}
DATA_KINDS: Final = frozenset(
    {"farm_broken", "silent_feed", "old_ticks", "bad_tick", "market_data_error", "delayed_data"}
)
"""Faults of market data: they are no excuse for anything but missing entries."""
QUIET_KINDS: Final = DATA_KINDS | {
    "notice",
    "order_notice",
    "stale_status",
    "zero_perm_id",
    "duplicate_messages",
}
"""Faults that a sound client does not even slow down for."""
WIRE_KINDS: Final = frozenset(
    {
        "silence", "freeze", "stop_reading", "split_bytes", "glue_bytes", "burst_bytes", "connectivity_lost",
        "refuse_connections", "silent_handshake", "restart", "delay_messages", "delay_request",
        "unanswered_order", "suspend_order", "halt",
    }
)  # fmt: skip
"""Faults that lie on the wire or the venue for a while, during which nobody could act."""
DISTURBED_S: Final = 40.0
"""After a fault that concerns orders, what it brought about may take a poll of the books to be seen."""
GRACE_S: Final = 0.05
"""For whoever acts exactly at the end of a bound."""
LINGERING_S: Final = {"oca_race": 900.0, "withhold_execution": 900.0}
"""Faults that show only when the order that they were done to fills."""
_DURATIONS: Final = ("duration_loop_s", "duration_s", "by_s", "hold_s", "down_loop_s")


class Truth:
    """The venue's books, folded from what happened there."""

    def __init__(self) -> None:
        self.orders: dict[int, VenueOrder] = {}
        self.live: dict[int, VenueOrder] = {}
        self.positions: dict[Symbol, int] = {}
        self.executions: dict[str, VenueExecution] = {}
        """By root: the latest revision of each."""
        self._own: dict[Symbol, int] = {}
        self.foreign: dict[Symbol, int] = {}
        """How often somebody else has traded each symbol."""
        self.incarnations: dict[OrderRef, list[int]] = {}
        """The permanent ids that carry a reference of ours, in the order in which they came."""

    def take(self, happening: Happening) -> None:
        match happening:
            case PositionChanged(contract=contract, quantity=quantity):
                symbol = Symbol(contract_key(contract))
                self.positions[symbol] = quantity
                self._begin_anew(symbol)
            case (
                Executed(order=order, execution=execution)
                | ExecutionCorrected(order=order, execution=execution)
            ):
                self._note_order(order)
                self._note_execution(execution)
            case OrderAccepted(order=order):
                self._note_order(order)
                ref = ref_of(order)
                if ref is not None:
                    self.incarnations.setdefault(ref, []).append(order.perm_id)
            case _:
                changed = getattr(happening, "order", None)
                if isinstance(changed, VenueOrder):
                    self._note_order(changed)
                    # Of an execution the position is told behind it.
                    self._begin_anew(Symbol(changed.contract.symbol))

    def _note_execution(self, execution: VenueExecution) -> None:
        root = split_exec_id(execution.exec_id)[0]
        if OrderRef.parse(execution.order_ref) is not None:
            symbol, before = Symbol(execution.contract.symbol), self.executions.get(root)
            change = signed(execution) - (0 if before is None else signed(before))
            self._own[symbol] = self._own.get(symbol, 0) + change
        else:
            symbol = Symbol(execution.contract.symbol)
            self.foreign[symbol] = self.foreign.get(symbol, 0) + 1
        self.executions[root] = execution

    def _note_order(self, order: VenueOrder) -> None:
        self.orders[order.perm_id] = order
        if order.status in LIVE:
            self.live[order.perm_id] = order
        else:
            self.live.pop(order.perm_id, None)

    def _begin_anew(self, symbol: Symbol) -> None:
        """Flat, whose shares they were has no meaning any more. With an exit of ours still at work, what it
        does then is what somebody else's trade left."""
        if self.position(symbol) == 0 and not any(ref_of(order) for order in self.live_of(symbol)):
            self._own[symbol] = 0

    def position(self, symbol: Symbol) -> int:
        return self.positions.get(symbol, 0)

    def own_position(self, symbol: Symbol) -> int:
        """What our own orders alone have made since the position was flat."""
        return self._own.get(symbol, 0)

    def live_of(self, symbol: Symbol) -> Iterator[VenueOrder]:
        return (order for order in self.live.values() if order.contract.symbol == symbol)

    def ours(self, symbol: Symbol) -> int:
        """The part of the position that is ours to protect: what somebody else has added is theirs, and
        what they have taken off is gone."""
        own, held = self.own_position(symbol), self.position(symbol)
        return max(0, min(own, held)) if own > 0 else min(0, max(own, held))

    def stops(self, symbol: Symbol) -> int:
        """Shares of working stops on the side that closes the position."""
        side = "SELL" if self.position(symbol) > 0 else "BUY"
        return sum(
            order.remaining
            for order in self.live_of(symbol)
            if order.order.order_type in STOP_TYPES and order.order.action == side and works(order)
        )

    def most_closed(self, symbol: Symbol) -> int:
        """The most shares that working exits on the closing side can take off; of a group, one fills."""
        side = "SELL" if self.position(symbol) > 0 else "BUY"
        groups: dict[str, int] = {}
        for order in self.live_of(symbol):
            if order.order.action == side and works(order) and not is_entry(order):
                group = order.order.oca_group or str(order.perm_id)
                groups[group] = max(groups.get(group, 0), order.remaining)
        return sum(groups.values())


def signed(execution: VenueExecution) -> int:
    return execution.quantity if execution.side == "BOT" else -execution.quantity


def works(order: VenueOrder) -> bool:
    """At work at the exchange: neither held back nor asleep as a child."""
    return order.status in WORKING and "child" not in order.why_held


def ref_of(order: VenueOrder) -> OrderRef | None:
    return OrderRef.parse(order.order.order_ref) if order.order.order_ref else None


def is_entry(order: VenueOrder) -> bool:
    """One of ours that opens or enlarges a position."""
    ref = ref_of(order)
    return ref is not None and purpose_of(ref.role) is Purpose.ENTRY


@attrs.define
class Intent:
    """What the journal holds of one order of ours."""

    order: OrderSpec
    epoch: tuple[int, int]
    """The life of the process and of the symbol's actor in which it was last asked for."""
    asked: int = 1
    """How often it was asked for: the placement and each change."""
    order_id: int = 0
    closes: bool = False
    """A target that is to close the position now."""


class Word:
    """What the journal says, as far as checkers ask."""

    def __init__(self) -> None:
        self.intents: dict[OrderRef, Intent] = {}
        self.by_id: dict[int, OrderRef] = {}
        self.epochs: dict[str, int] = {}
        self.quarantined: set[Symbol] = set()
        """Symbols whose actors are shut away."""
        self.held: dict[Symbol, str] = {}
        self.holds: dict[Symbol, int] = {}
        """How often each symbol was put on hold."""
        self.reconciled: dict[Symbol, int] = {}
        """The last link on which each symbol was reconciled."""
        self.fills: dict[str, tuple[str, Symbol, int]] = {}
        """By root: the execution id, its symbol, its signed shares."""
        self._positions: dict[Symbol, int] = {}
        self.alarms: dict[str, int] = {}
        """By code: how often."""
        self.alarmed_at: dict[str, float] = {}
        """By symbol ("" for none): when the last alarm sounded."""
        self.locks: dict[str, LockEvent] = {}
        self.level = 0

    def take(self, process: int, loop_s: float, event: BaseEvent) -> None:
        match event:
            case NewOrderEvent(ref=ref, order=order):
                self.intents[ref] = Intent(order, (process, self.epoch(ref.symbol)))
            case ModifyOrderEvent(ref=ref, order=order, why=why) if ref in self.intents:
                intent = self.intents[ref]
                intent.closes = intent.closes or why == "close"
                intent.order, intent.asked = order, intent.asked + 1
                intent.epoch = (process, self.epoch(ref.symbol))
            case OrderSentEvent(ref=ref, order_id=order_id):
                self.by_id[order_id] = ref
                if ref in self.intents:
                    self.intents[ref].order_id = order_id
            case ActorStartedEvent(actor=actor, epoch=epoch):
                self.epochs[actor] = epoch
                self.quarantined.discard(symbol_of(actor))
            case ActorExitedEvent(actor=actor, decision="quarantine"):
                self.quarantined.add(symbol_of(actor))
            case HoldEvent(symbol=symbol, reason=reason):
                self.held[symbol] = reason
                self.holds[symbol] = self.holds.get(symbol, 0) + bool(reason)
            case ReconciledEvent(symbol=symbol, generation=generation):
                self.reconciled[symbol] = generation
            case FillEvent() | ForeignFillEvent():
                self._count_fill(event)
            case AlarmEvent(code=code, symbol=symbol):
                self.alarms[code] = self.alarms.get(code, 0) + 1
                self.alarmed_at[symbol] = loop_s
            case LockEvent(lock=lock):
                self.locks[lock] = event
            case UnlockEvent(lock=lock):
                self.locks.pop(lock, None)
            case KillLevelEvent(level=level):
                self.level = level
            case _:
                pass

    def _count_fill(self, event: FillEvent | ForeignFillEvent) -> None:
        root, shares = split_exec_id(event.exec_id)[0], event.side.sign * event.quantity
        before = self.fills.get(root)
        change = shares - (0 if before is None else before[2])
        self._positions[event.symbol] = self._positions.get(event.symbol, 0) + change
        self.fills[root] = (event.exec_id, event.symbol, shares)

    def epoch(self, symbol: Symbol) -> int:
        return self.epochs.get(f"symbol:{symbol}", 0)

    def position(self, symbol: Symbol) -> int:
        return self._positions.get(symbol, 0)


def symbol_of(actor: str) -> Symbol:
    """Whose actor it is, by its name in the tree."""
    return Symbol(actor.removeprefix("symbol:"))


class Scene:
    """The truth, the word and the circumstances, up to the entry taken last."""

    def __init__(self, plan: EpisodePlan) -> None:
        self.plan = plan
        self.truth, self.word = Truth(), Word()
        self.loop_s = self.able_s = 0.0
        self.process = 0
        self.alive = self.connected = self.healed = False
        self.link, self.generation = "down", 0
        self.fired: dict[str, int] = {}
        """Faults and blows by kind, and below those of them while some position was open."""
        self.fired_open: dict[str, int] = {}
        self._lasts = _longest(plan)
        self._hindered_until = 0.0
        self._disturbed_until = 0.0

    @property
    def at(self) -> datetime:
        """Market time, which runs with the machine's."""
        return self.plan.start + timedelta(seconds=self.loop_s)

    @property
    def answer_s(self) -> float:
        """What a request and its answer take in this episode: no bound can be shorter."""
        return self.plan.tws.order_latency_s + self.plan.tws.report_latency_s + GRACE_S

    @property
    def able(self) -> bool:
        """Whether the system can act now."""
        return self.alive and self.link == "up" and self.loop_s >= self._hindered_until

    @property
    def disturbed(self) -> bool:
        """Whether something has lately been done to orders, to messages, or to the system itself."""
        return self.loop_s < self._disturbed_until

    def closing(self, symbol: Symbol, *, at_market: bool = False) -> int:
        """Shares of our orders at work that close at the market: a target that was turned into one, too,
        unless only market orders count (`at_market`)."""
        side = "SELL" if self.truth.position(symbol) > 0 else "BUY"
        return sum(
            order.remaining
            for order in self.truth.live_of(symbol)
            if order.order.action == side
            and works(order)
            and self._closes(ref_of(order))
            and (not at_market or order.order.order_type == "MKT")
        )

    def _closes(self, ref: OrderRef | None) -> bool:
        if ref is None:
            return False
        intent = self.word.intents.get(ref)
        return purpose_of(ref.role) is Purpose.CLOSE or (intent is not None and intent.closes)

    def pass_time(self, loop_s: float) -> None:
        """Time up to the next entry, under the circumstances of the last one."""
        if self.alive and self.link == "up":
            self.able_s += max(0.0, loop_s - max(self.loop_s, self._hindered_until))
        self.loop_s = loop_s

    def take(self, entry: Entry) -> None:
        match entry:
            case Happened(happening=happening):
                self.truth.take(happening)
            case Journalled(process=process, event=event):
                self._journalled(process, event)
            case FaultDone(kind=kind):
                self._fault(kind)
            case Struck(blow=blow, kind=kind, what=what):
                self._struck(blow, kind, what)
            case Connected(up=up):
                self.connected = up
                if not up:
                    self._disturb(0.0)
            case ProcessBegan(process=process):
                self.process, self.alive, self.link = process, True, "down"
                self.word.quarantined.clear()
                self._disturb(0.0)
            case ProcessEnded():
                self.alive = False
            case Healed():
                self.healed = True
            case _:
                pass  # Sent, Compared, Looked: they change nothing.

    def _journalled(self, process: int, event: BaseEvent) -> None:
        if isinstance(event, LinkEvent):
            self.link, self.generation = event.state, event.generation
            if self.link == "up":
                self._disturb(0.0)
        self.word.take(process, self.loop_s, event)

    def lasts_s(self, kind: str) -> float:
        """The longest that a fault of this kind is felt in this episode."""
        return max(self._lasts.get(kind, 0.0), LINGERING_S.get(kind, 0.0))

    def _fault(self, kind: str) -> None:
        self._count(kind)
        lasts_s = self.lasts_s(kind)
        if kind in WIRE_KINDS:
            self._hindered_until = max(self._hindered_until, self.loop_s + lasts_s)
        if kind not in QUIET_KINDS:
            self._disturb(lasts_s)

    def _struck(self, blow: Blow, kind: str, what: str) -> None:
        self._count(kind)
        if blow is Blow.PAUSE:
            lasts_s = float(what.split()[1])
            self._hindered_until = max(self._hindered_until, self.loop_s + lasts_s)
            self._disturb(lasts_s)
        elif blow is Blow.PROCESS:
            self.alive = False
        if blow is not Blow.SIGNAL:
            self._disturb(0.0)

    def _disturb(self, lasts_s: float) -> None:
        self._disturbed_until = max(self._disturbed_until, self.loop_s + lasts_s + DISTURBED_S)

    def _count(self, kind: str) -> None:
        self.fired[kind] = self.fired.get(kind, 0) + 1
        if any(self.truth.positions.values()):
            self.fired_open[kind] = self.fired_open.get(kind, 0) + 1


def _longest(plan: EpisodePlan) -> dict[str, float]:
    """How long each kind of fault lasts at most in this episode."""
    found: dict[str, float] = {}
    for fault in plan.faults:
        kind = kind_of(fault)
        lasts = max((float(getattr(fault, name, 0.0)) for name in _DURATIONS), default=0.0)
        found[kind] = max(found.get(kind, 0.0), lasts + fault.when.delay_s)
    return found


FAULT_KINDS: Final = tuple(KINDS)
