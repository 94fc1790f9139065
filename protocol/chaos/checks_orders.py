"""What leaves on the wire, held against the venue's truth and the journal.

INV-04, 05, 09 to 14, 22, 23, 28, 30, 31, 33.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import Final

from protocol.chaos.checker import Checker, Stretch
from protocol.chaos.scene import LIVE, Scene, is_entry, ref_of
from protocol.chaos.timeline import Entry, Happened, Journalled, Sent
from protocol.control_events import KillLevelEvent
from protocol.events import CancelEvent, OrderStatusEvent, RejectEvent
from protocol.exchange.calendar import session_of
from protocol.exchange.happenings import OrderAccepted, VenueOrder
from protocol.reports import RequestKind
from protocol.tws.messages import CancelOrder, Order, PlaceOrder
from protocol.values import MAIN, OrderRef, OrderStatus, Purpose, Side, Symbol, purpose_of

POLL_S: Final = 36.0
NOTICED_S: Final = 2.0
"""For news that cross each other, where nothing was done to the system."""
"""A poll of the books, and its answer: by then what nobody told is known."""
NO_INTENT: Final = "R20 no_intent"
"""How the gate refuses what the journal does not know."""
LATE_FILLS: Final = ("fill_after_cancel", "bust_execution", "correct_execution", "withhold_execution")
"""Faults after which our own position is not what anybody could know."""


def ref_sent(order: Order) -> OrderRef | None:
    return OrderRef.parse(order.order_ref)


def entry_sent(entry: Entry) -> tuple[OrderRef, PlaceOrder] | None:
    """The placement of an order of ours that opens or enlarges, if that is what left."""
    if not (isinstance(entry, Sent) and isinstance(entry.request, PlaceOrder)):
        return None
    ref = ref_sent(entry.request.order)
    if ref is None or purpose_of(ref.role) is not Purpose.ENTRY:
        return None
    return ref, entry.request


class _FirstSends(Checker):
    """Looks at each entry when it leaves for the first time; changes of it leave under the same id."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: set[int] = set()

    def see(self, entry: Entry) -> None:
        found = entry_sent(entry)
        if found is None or not isinstance(entry, Sent) or found[1].order_id in self._sent:
            return
        self._sent.add(found[1].order_id)
        self.look(found[0], found[1].order, entry)

    def look(self, ref: OrderRef, order: Order, sent: Sent) -> None:
        raise NotImplementedError


class OneEntry(Checker):
    """At most one main entry of a symbol lives at the venue."""

    invariant = "INV-04"

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Happened) and isinstance(entry.happening, OrderAccepted)):
            return
        ref = ref_of(entry.happening.order)
        if ref is None or ref.role != MAIN:
            return
        live = {
            str(other)
            for order in self.scene.truth.live_of(ref.symbol)
            if (other := ref_of(order)) is not None and other.role == MAIN
        }
        self.hold(len(live) == 1, f"{ref.symbol} has several live entries: {', '.join(sorted(live))}")


class OneOrder(Checker):
    """One intent, one order at the broker, also over restarts; what a fault doubled, we end."""

    invariant = "INV-05"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._twins: dict[OrderRef, Stretch] = {}

    def pass_time(self) -> None:
        for ref, stretch in self._twins.items():
            if stretch.too_long(POLL_S, POLL_S + 10):
                self.violate(f"{ref} lived twice at the broker for {stretch.lasted_s:.1f} s")

    def see(self, entry: Entry) -> None:
        if not isinstance(entry, Happened):
            return
        if isinstance(entry.happening, OrderAccepted):
            self._accepted(entry.happening.order)
        for ref, stretch in self._twins.items():
            stretch.set(self._live(ref) > 1)

    def _live(self, ref: OrderRef) -> int:
        truth = self.scene.truth
        return sum(truth.orders[perm_id].status in LIVE for perm_id in truth.incarnations[ref])

    def _accepted(self, order: VenueOrder) -> None:
        ref = ref_of(order)
        if ref is None:
            return
        count = len(self.scene.truth.incarnations[ref])
        self.checked += 1
        if count > 1:
            self._twins.setdefault(ref, Stretch(self.scene))

    def finish(self) -> None:
        doubled = self.scene.fired.get("double_modify", 0)
        if len(self._twins) > doubled:
            told = ", ".join(str(ref) for ref in self._twins)
            self.violate(f"taken by the venue more than once, and {doubled} by a fault: {told}")


class GateOpen(_FirstSends):
    """An entry leaves only on a reconciled link, a fresh quote, within the session, of a symbol not held."""

    invariant = "INV-10"

    def look(self, ref: OrderRef, order: Order, sent: Sent) -> None:
        del order
        scene, symbol = self.scene, ref.symbol
        word, oldest = scene.word, scene.plan.settings.risk.max_quote_age_s + 0.1
        session = session_of(sent.at.date())
        self.hold(scene.link == "up", f"{ref} left while the link was {scene.link}")
        last = word.reconciled.get(symbol)
        self.hold(
            last == scene.generation,
            f"{ref} left on link {scene.generation}, and {symbol} was last reconciled on {last}",
        )
        self.hold(
            sent.tick_age_s is not None and sent.tick_age_s <= oldest,
            f"{ref} left on a quote {sent.tick_age_s} s old",
        )
        self.hold(not word.held.get(symbol), f"{ref} left while {symbol} was held: {word.held.get(symbol)}")
        self.hold(session is not None and session.contains(sent.at), f"{ref} left outside the session")


class SwitchedOff(Checker):
    """From a tenth of a second after the kill level rose, nothing that adds risk leaves."""

    invariant = "INV-23"

    REACTION_S = 0.1

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._since: float | None = None

    def see(self, entry: Entry) -> None:
        match entry:
            case Journalled(event=KillLevelEvent(level=level, before=before)):
                self.checked += level > before
                if not level:
                    self._since = None
                elif self._since is None:
                    self._since = entry.loop_s
            case Sent() if self._since is not None and entry.loop_s > self._since + self.REACTION_S:
                found = entry_sent(entry)
                if found is not None:
                    self.violate(f"{found[0]} left while the kill level was {self.scene.word.level}")
            case _:
                pass


class FlatBefore(_FirstSends):
    """A new trade's entry leaves only when the old trade is flat and its exits are terminal."""

    invariant = "INV-11"

    def look(self, ref: OrderRef, order: Order, sent: Sent) -> None:
        del sent
        scene, truth = self.scene, self.scene.truth
        if ref.role != MAIN or any(scene.fired.get(kind) for kind in LATE_FILLS):
            return
        own = truth.ours(ref.symbol)
        side = Side(order.action)
        self.hold(own * side.sign >= 0, f"{ref} ({side.value}) left while our orders held {own}")
        left = [
            str(other)
            for live in truth.live_of(ref.symbol)
            if (other := ref_of(live)) is not None and other.trade != ref.trade and not self._doubled(other)
        ]
        self.hold(not left, f"{ref} left while {', '.join(left)} still worked")

    def _doubled(self, ref: OrderRef) -> bool:
        return len(self.scene.truth.incarnations[ref]) > 1


class NoReplacement(_FirstSends):
    """No entry takes the place of another one before that one is provably terminal."""

    invariant = "INV-12"

    def look(self, ref: OrderRef, order: Order, sent: Sent) -> None:
        del order, sent
        if ref.role != MAIN:
            return
        alive = [
            str(other)
            for live in self.scene.truth.live_of(ref.symbol)
            if (other := ref_of(live)) is not None and other.role == MAIN and other != ref
        ]
        self.hold(not alive, f"{ref} left while {', '.join(alive)} was alive")


class IdsRise(Checker):
    """New orders have rising ids, whatever TWS says is next."""

    invariant = "INV-13"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._refs: dict[int, str] = {}
        self._largest = 0

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Sent) and isinstance(entry.request, PlaceOrder)):
            return
        order_id, ref = entry.request.order_id, entry.request.order.order_ref
        known = self._refs.get(order_id)
        if known is not None:
            self.hold(known == ref, f"order id {order_id} of {known} left again as {ref}")
            return
        self._refs[order_id] = ref
        self.hold(order_id > self._largest, f"order id {order_id} left after {self._largest}")
        self._largest = max(self._largest, order_id)


class JournalFirst(Checker):
    """Whatever leaves about an order was in the journal before, as it leaves, and no oftener than there."""

    invariant = "INV-14"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: dict[OrderRef, int] = {}
        self._cancels: dict[OrderRef, int] = {}
        self._cancelled: dict[OrderRef, int] = {}

    def see(self, entry: Entry) -> None:
        match entry:
            case Journalled(event=CancelEvent(ref=ref)):
                self._cancels[ref] = self._cancels.get(ref, 0) + 1
            case Journalled(event=RejectEvent(ref=ref, reason=reason)) if NO_INTENT in reason:
                # It did not leave, and that was the gate's doing.
                self.violate(f"{ref} was to leave before its intent was in the journal")
            case Sent(request=PlaceOrder(order_id=order_id, order=order)):
                self._placed(order_id, order)
            case Sent(request=CancelOrder(order_id=order_id)):
                self._cancel(order_id)
            case _:
                pass

    def _placed(self, order_id: int, order: Order) -> None:
        ref = ref_sent(order)
        intent = None if ref is None else self.scene.word.intents.get(ref)
        if ref is None or intent is None:
            self.hold(False, f"order {order_id} ({order.order_ref!r}) left without an intent")
            return
        self._sent[ref] = self._sent.get(ref, 0) + 1
        self.hold(intent.order_id == order_id, f"{ref} left as {order_id}, the journal has {intent.order_id}")
        self.hold(
            self._sent[ref] <= intent.asked,
            f"{ref} left {self._sent[ref]} times, and was asked for {intent.asked} times",
        )
        asked = intent.order
        self.hold(
            (int(order.total_quantity), order.action) == (asked.quantity, asked.side.value),
            f"{ref} left for {order.action} {order.total_quantity}, the journal has {asked.side.value}"
            f" {asked.quantity}",
        )

    def _cancel(self, order_id: int) -> None:
        ref = self.scene.word.by_id.get(order_id)
        if ref is None:
            self.hold(False, f"a cancel of {order_id} left, which the journal does not know")
            return
        self._cancelled[ref] = self._cancelled.get(ref, 0) + 1
        self.hold(
            self._cancelled[ref] <= self._cancels.get(ref, 0),
            f"{self._cancelled[ref]} cancels of {ref} left, the journal has {self._cancels.get(ref, 0)}",
        )


class NotStale(Checker):
    """What a dead incarnation of a symbol asked never leaves in the name of the next one."""

    invariant = "INV-22"

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Sent) and isinstance(entry.request, PlaceOrder)):
            return
        ref = ref_sent(entry.request.order)
        intent = None if ref is None else self.scene.word.intents.get(ref)
        if ref is None or intent is None:
            return
        now = (entry.process, self.scene.word.epoch(ref.symbol))
        self.hold(intent.epoch == now, f"{ref} was asked for in {intent.epoch} and left in {now}")


class DeadIsDead(Checker):
    """What we hold for ended has ended: no notice, unknown code or odd word has made us believe it."""

    invariant = "INV-28"

    _ENDINGS = frozenset({OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.FILLED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._believed: dict[OrderRef, Stretch] = {}

    def pass_time(self) -> None:
        for ref, stretch in self._believed.items():
            if stretch.lasts and stretch.too_long(NOTICED_S, POLL_S):
                self.violate(f"{ref} counts as ended and has lived on for {stretch.lasted_s:.1f} s")

    def see(self, entry: Entry) -> None:
        match entry:
            case Journalled(event=OrderStatusEvent(ref=ref, status=status)):
                self._believe(ref, ended=status in self._ENDINGS)
            case Journalled(event=RejectEvent(ref=ref, terminal=True, request=request)):
                self._believe(ref, ended=request == RequestKind.PLACE.value)
            case Happened():
                for ref, stretch in self._believed.items():
                    if stretch.lasts:
                        stretch.set(self._lives(ref))
            case _:
                pass

    def _believe(self, ref: OrderRef, *, ended: bool) -> None:
        self.checked += ended
        stretch = self._believed.setdefault(ref, Stretch(self.scene))
        stretch.set(ended and self._lives(ref))

    def _lives(self, ref: OrderRef) -> bool:
        truth = self.scene.truth
        perm_ids = truth.incarnations.get(ref, [])
        # A second incarnation that a fault has made is INV-05's business.
        return len(perm_ids) == 1 and truth.orders[perm_ids[0]].status in LIVE


class Pace(Checker):
    """TWS never hears more than it takes in a second, and no symbol chatters."""

    invariant = "INV-30"

    MAX_PER_S = 45
    MAX_ENTRIES_PER_10_S = 40

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._all: deque[tuple[float, int]] = deque()
        self._entries: dict[Symbol, deque[float]] = {}

    def see(self, entry: Entry) -> None:
        if not isinstance(entry, Sent):
            return
        now = entry.loop_s
        self._all.append((now, entry.process))
        while now - self._all[0][0] >= 0.999 or self._all[0][1] != entry.process:
            self._all.popleft()
        self.hold(len(self._all) <= self.MAX_PER_S, f"{len(self._all)} messages left within a second")
        found = entry_sent(entry)
        if found is not None:
            entries = self._entries.setdefault(found[0].symbol, deque())
            entries.append(now)
            while now - entries[0] > 10:
                entries.popleft()
            self.hold(
                len(entries) <= self.MAX_ENTRIES_PER_10_S,
                f"{len(entries)} messages about entries of {found[0].symbol} in 10 s",
            )


class OurAccount(Checker):
    """Orders name the account that was configured or found, and no other."""

    invariant = "INV-31"

    def see(self, entry: Entry) -> None:
        if isinstance(entry, Sent) and isinstance(entry.request, PlaceOrder):
            account = entry.request.order.account
            ours = self.scene.plan.venue.accounts[0].name
            self.hold(account == ours, f"order {entry.request.order_id} left for the account {account!r}")


class OnTheGrid(Checker):
    """Prices lie on the contract's grid, sizes are whole shares."""

    invariant = "INV-33"

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Sent) and isinstance(entry.request, PlaceOrder)):
            return
        order, grid = entry.request.order, self.scene.plan.venue.default_grid
        size = order.total_quantity
        self.hold(size == int(size) and size >= 1, f"order {entry.request.order_id} left for {size} shares")
        for price in (order.lmt_price, order.aux_price):
            if price is not None and price != 0:
                exact = Decimal(repr(float(price)))
                self.hold(
                    exact > 0 and exact % grid == 0,
                    f"order {entry.request.order_id} left with a price of {price}",
                )


class WithinThePlan(Checker):
    """With every working entry filled, a symbol holds no more than its trade may grow to."""

    invariant = "INV-09"

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Happened) and isinstance(entry.happening, OrderAccepted)):
            return
        ref = ref_of(entry.happening.order)
        if ref is None or not is_entry(entry.happening.order) or any(map(self.scene.fired.get, LATE_FILLS)):
            return
        truth, cap = self.scene.truth, self.scene.plan.caps[ref.symbol]
        working = sum(
            order.remaining * (1 if order.order.action == "BUY" else -1)
            for order in truth.live_of(ref.symbol)
            if is_entry(order)
        )
        worst = abs(truth.ours(ref.symbol) + working)
        self.hold(worst <= cap, f"{ref.symbol} could come to hold {worst}, its trades may grow to {cap}")


CHECKERS: Final = (
    OneEntry, OneOrder, GateOpen, SwitchedOff, FlatBefore, NoReplacement, IdsRise, JournalFirst, NotStale,
    DeadIsDead,
    Pace, OurAccount, OnTheGrid, WithinThePlan,
)  # fmt: skip
