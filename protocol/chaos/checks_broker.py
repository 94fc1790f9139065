"""Words of the broker, its silence, and trades of somebody else, taken as they must be: L3, L8, O12, X1, OCA.

The names are those of the faults that show whether a law holds, or of the groups of exits.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from protocol.chaos.checker import Bounds, Checker, Stretch
from protocol.chaos.scene import DISTURBED_S, QUIET_KINDS, STOP_TYPES, Scene, ref_of, works
from protocol.chaos.timeline import (
    Blow,
    Connected,
    Entry,
    FaultDone,
    Happened,
    Healed,
    Journalled,
    ProcessBegan,
    Sent,
    Struck,
)
from protocol.events import FillEvent, ForeignFillEvent, LinkEvent
from protocol.exchange.faults import ConnectivityLost, Freeze, Silence, StopReading, kind_of
from protocol.exchange.happenings import (
    Executed,
    OrderAccepted,
    OrderChanged,
    OrderModified,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.session_orders import ACK_LOOP_S
from protocol.tws.messages import PlaceOrder, ReqAllOpenOrders
from protocol.values import OrderRef, Purpose, Symbol, purpose_of

BEATS: Final = 2.0
"""Periods of the heartbeat after which a link that is silent is not up any more."""
SILENT: Final = (Silence, Freeze, StopReading)
SILENT_KINDS: Final = frozenset({"silence", "freeze", "stop_reading"})
NEAR: Final = timedelta(seconds=1)
IN_VAIN: Final = "there was nothing to do it to"
"""What a fault says that found nothing, such as a connection."""
COUNTED_S: Final = 2.0
ASKED_S: Final = 1.0
EXACT_S: Final = 1e-6
FOREIGN_FOR_S: Final = 5.0
"""For so long a position must have been somebody else's, so that what we send is no crossed close of ours."""


class CountedWhileCutOff(Bounds):
    """What TWS tells of executions while it says that it is cut off from IBKR counts at once, too."""

    invariant = "L3"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._told_at = [
            fault.when.at
            for fault in scene.plan.faults
            if isinstance(fault, ConnectivityLost) and fault.told and isinstance(fault.when.at, datetime)
        ]
        self._disturbed_until = 0.0

    def see(self, entry: Entry) -> None:
        super().see(entry)
        match entry:
            case Happened(happening=Executed(execution=execution)):
                self._executed(execution, entry.loop_s)
            case Journalled(event=FillEvent(exec_id=exec_id) | ForeignFillEvent(exec_id=exec_id)):
                self.met(exec_id)
            case FaultDone(kind=kind, at=at) if kind not in QUIET_KINDS and not self._is_told(kind, at):
                self._disturb(entry.loop_s + self.scene.lasts_s(kind))
            case Connected(up=False) | ProcessBegan() | Struck(blow=Blow.ACTOR | Blow.DEFECT | Blow.PAUSE):
                self._disturb(entry.loop_s)
            case _:
                pass

    def _executed(self, execution: VenueExecution, loop_s: float) -> None:
        scene = self.scene
        hears = scene.link == "held" and scene.alive and scene.connected and loop_s > self._disturbed_until
        if hears and Symbol(execution.contract.symbol) in scene.plan.symbols:
            self.due[execution.exec_id] = loop_s + COUNTED_S + scene.answer_s

    def _is_told(self, kind: str, at: datetime) -> bool:
        return kind == "connectivity_lost" and any(abs(at - when) < NEAR for when in self._told_at)

    def _disturb(self, until_s: float) -> None:
        self.due.clear()
        self._disturbed_until = max(self._disturbed_until, until_s + DISTURBED_S)

    def describe(self, name: str) -> str:
        return f"{name} was told while TWS was cut off, and not counted within {COUNTED_S:g} s"


class HeartbeatFails(Bounds):
    """A link on which TWS is silent is not up for longer than two beats."""

    invariant = "L8"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._bound_s = BEATS * scene.plan.settings.broker.heartbeat_loop_s + scene.answer_s
        self._planned = [
            (kind_of(fault), fault.when.at, fault.duration_loop_s)
            for fault in scene.plan.faults
            if isinstance(fault, SILENT) and isinstance(fault.when.at, datetime)
        ]

    def see(self, entry: Entry) -> None:
        super().see(entry)
        match entry:
            case FaultDone(kind=kind, what=what) if kind in SILENT_KINDS and self.scene.link == "up":
                if what != IN_VAIN and self._lasts_s(kind, entry.at) > self._bound_s:
                    self.due.setdefault("the link", entry.loop_s + self._bound_s)
            case FaultDone(kind="restart" | "drop_connection" | "refuse_connections") | Healed():
                self.due.clear()  # it ends in another way
            case Journalled(event=LinkEvent(state=state)) if state != "up":
                self.met("the link")
            case Struck(blow=Blow.ACTOR):
                self.due.clear()
            case _:
                pass

    def _lasts_s(self, kind: str, at: datetime) -> float:
        """The fault of this kind that was planned for this moment."""
        lasts = [each for of, when, each in self._planned if of == kind and abs(at - when) < NEAR]
        return min(lasts, default=0.0)

    def describe(self, name: str) -> str:
        return f"TWS was silent, and {name} was up {self._bound_s:g} s later"


class AskedAbout(Checker):
    """An order without an answer is asked about when its time is over, and not only by the next poll."""

    invariant = "O12"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._unanswered = Stretch(scene)
        self._process = 0

    def pass_time(self) -> None:
        if self.scene.process != self._process:
            self._unanswered.set(False)
        elif self._unanswered.too_long(ACK_LOOP_S + ASKED_S, ACK_LOOP_S + ASKED_S):
            self.violate(f"an order had no answer, and nobody asked in {self._unanswered.lasted_s:.1f} s")

    def see(self, entry: Entry) -> None:
        match entry:
            case FaultDone(kind="swallow_request", what=what) if self._is_new(what):
                self._process = self.scene.process
                self._unanswered.set(True)
            case Sent(request=ReqAllOpenOrders()):
                self.checked += self._unanswered.lasts
                self._unanswered.set(False)
            case _:
                pass

    def _is_new(self, what: str) -> bool:
        """Whether a placement was lost, and not a change: the symbol asks for that once more by itself."""
        if not what.startswith("place_order"):
            return False
        ref = self.scene.word.by_id.get(int(what.rpartition(" ")[2]))
        return ref is None or ref not in self.scene.truth.incarnations


class NoFight(Checker):
    """What somebody else has bought or sold is theirs: no order of ours closes it."""

    invariant = "X1"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._theirs = {symbol: Stretch(scene) for symbol in scene.plan.symbols}
        self._seen: set[int] = set()
        self._added: dict[Symbol, int] = {}
        """Shares that late executions of ours have added beside theirs: those may go again."""

    def see(self, entry: Entry) -> None:
        match entry:
            case Happened(happening=happening):
                for symbol, stretch in self._theirs.items():
                    self.checked += stretch.set(self._is_theirs(symbol))
                    if not stretch.lasts:
                        self._added.pop(symbol, None)
                if isinstance(happening, Executed) and happening.order.status is Status.CANCELLED:
                    symbol = Symbol(happening.execution.contract.symbol)
                    self._added[symbol] = self._added.get(symbol, 0) + happening.execution.quantity
            case Sent(request=PlaceOrder(order_id=order_id, order=order)) if order_id not in self._seen:
                self._seen.add(order_id)
                ref = OrderRef.parse(order.order_ref)
                if ref is not None and purpose_of(ref.role) is Purpose.CLOSE:
                    self._closes(ref, int(order.total_quantity))
            case _:
                pass

    def _is_theirs(self, symbol: Symbol) -> bool:
        truth = self.scene.truth
        return bool(truth.foreign.get(symbol)) and truth.position(symbol) != 0 == truth.ours(symbol)

    def _closes(self, ref: OrderRef, quantity: int) -> None:
        stretch = self._theirs[ref.symbol]
        if quantity <= self._added.get(ref.symbol, 0):
            return
        if stretch.lasts and self.scene.loop_s - stretch.began_at > FOREIGN_FOR_S:
            self.violate(f"{ref} left to close {self.scene.truth.position(ref.symbol)}, which others hold")


class CloseInTheGroup(Checker):
    """A close goes into the OCA group of the stop that it may meet, so that the two never both fill."""

    invariant = "OCA"

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Happened) and isinstance(entry.happening, OrderAccepted)):
            return
        close = entry.happening.order
        ref = ref_of(close)
        if ref is None or purpose_of(ref.role) is not Purpose.CLOSE:
            return
        self.checked += 1
        if close.order.oca_group or self.scene.disturbed:
            return
        truth = self.scene.truth
        beside = sum(
            order.remaining
            for order in truth.live_of(ref.symbol)
            if order.order.order_type in STOP_TYPES
            and order.order.action == close.order.action
            and works(order)
            and ref_of(order) is not None
        )
        position = abs(truth.position(ref.symbol))
        if beside and beside + close.remaining > position:
            self.violate(
                f"{ref} for {close.remaining} of {position} shares is in no group, stops of {beside} are"
            )


OCA_TRADED: Final = "another order of the OCA group traded"
"""The venue's word for it. Children that follow their parent are another thing: we ask for the same at once,
since what a child becomes of that is not proven."""


class ReducedOnce(Checker):
    """What the exchange takes off an exit of a group by itself, nobody asks of it once more."""

    invariant = "OCA"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent_at: dict[int, float] = {}
        self._changed_at: dict[int, float] = {}
        self._terms: dict[int, tuple[object, ...]] = {}

    def see(self, entry: Entry) -> None:
        match entry:
            case Sent(request=PlaceOrder(order_id=order_id)):
                self._sent_at[order_id] = entry.loop_s
            case Happened(happening=OrderChanged(order=order, why=why)) if why == OCA_TRADED:
                self._changed_at[order.perm_id] = entry.loop_s
                self._terms[order.perm_id] = _terms_of(order)
            case Happened(happening=OrderModified(order=order)):
                self._modified(order)
                self._changed_at.pop(order.perm_id, None)
            case _:
                pass

    def _modified(self, order: VenueOrder) -> None:
        """Judged where the news takes a while, so that it is plain who knew what."""
        changed_at, latency_s = self._changed_at.get(order.perm_id), self.scene.plan.tws.report_latency_s
        ref = ref_of(order)
        if changed_at is None or not latency_s or ref is None or self.scene.disturbed:
            return
        knew = self._sent_at.get(order.order_id, 0.0) >= changed_at + latency_s - EXACT_S
        same = self._terms[order.perm_id] == _terms_of(order)
        self.hold(not (knew and same), f"{ref} was asked for what the exchange had made of it already")


def _terms_of(order: VenueOrder) -> tuple[object, ...]:
    asked = order.order
    return asked.total_quantity, asked.lmt_price, asked.aux_price, asked.order_type


CHECKERS: Final = (CountedWhileCutOff, HeartbeatFails, AskedAbout, NoFight, CloseInTheGroup, ReducedOnce)
