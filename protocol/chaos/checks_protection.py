"""A position is covered by its stop, and nothing is left behind: INV-01, 02, 03, 24, 36."""

from __future__ import annotations

from typing import Final

from protocol.chaos.checker import Checker, Stretch
from protocol.chaos.scene import STOP_TYPES, Scene, is_entry, ref_of, works
from protocol.chaos.timeline import Entry, Happened, Journalled, Sent
from protocol.events import PositionCloseEvent, PositionOpenEvent, PositionUpdateEvent
from protocol.exchange.happenings import Happening, OrderAccepted, PositionChanged
from protocol.tws.messages import CancelOrder
from protocol.values import OrderRef, Purpose, Symbol, purpose_of

CALM_S: Final = 2.0
"""The bound where nothing stands in the way."""
DISTURBED_S: Final = 15.0
"""Flat or covered again after whatever has been done to the stop."""
THIN_S: Final = 60.0
"""While a market order for all of it is at work, how soon it fills is the market's business."""
POLL_S: Final = 36.0
"""What somebody else trades on the account is told to nobody; it is found when the books are polled."""


class _PerSymbol(Checker):
    """Something that may not be so for long, of any symbol; looked at whenever the venue changes."""

    happening: Happening

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.stretches = {symbol: Stretch(scene) for symbol in scene.plan.symbols}
        self._foreign: dict[Symbol, int] = {}
        """How often somebody else had traded a symbol when all was last well with it."""

    def pass_time(self) -> None:
        for symbol, stretch in self.stretches.items():
            if stretch.lasts:
                self._judge(symbol, stretch)

    def see(self, entry: Entry) -> None:
        if isinstance(entry, Happened):
            self.happening = entry.happening
            for symbol, stretch in self.stretches.items():
                self._update(symbol, stretch)

    def _update(self, symbol: Symbol, stretch: Stretch) -> None:
        wrong = self.wrong(symbol)
        self.checked += stretch.set(wrong)
        if not wrong and isinstance(self.happening, PositionChanged):
            # Only then: an execution is told before the position that it makes.
            self._foreign[symbol] = self.scene.truth.foreign.get(symbol, 0)

    def _judge(self, symbol: Symbol, stretch: Stretch) -> None:
        foreign = self.scene.truth.foreign.get(symbol, 0) > self._foreign.get(symbol, 0)
        if stretch.too_long(POLL_S if foreign else CALM_S, POLL_S if foreign else DISTURBED_S):
            self.violate(f"{self.describe(symbol)} for {stretch.lasted_s:.1f} s")

    def wrong(self, symbol: Symbol) -> bool:
        raise NotImplementedError

    def describe(self, symbol: Symbol) -> str:
        raise NotImplementedError


class Covered(_PerSymbol):
    """A position has working stops of at least its size."""

    invariant = "INV-01"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.worst_s = 0.0

    def wrong(self, symbol: Symbol) -> bool:
        truth = self.scene.truth
        return abs(truth.ours(symbol)) > truth.stops(symbol)

    def describe(self, symbol: Symbol) -> str:
        truth = self.scene.truth
        return (
            f"{symbol}: a position of {truth.position(symbol)}, ours {truth.ours(symbol)}, had stops of"
            f" {truth.stops(symbol)} and {self.scene.closing(symbol)} closing"
        )

    def _update(self, symbol: Symbol, stretch: Stretch) -> None:
        # Every change of a position in this symbol is a test, also where its stop is there at once.
        self.checked += self.scene.truth.position(symbol) != 0
        stretch.set(self.wrong(symbol))

    def _judge(self, symbol: Symbol, stretch: Stretch) -> None:
        self.worst_s = max(self.worst_s, stretch.lasted_s)
        truth = self.scene.truth
        flattening = truth.stops(symbol) + self.scene.closing(symbol) >= abs(truth.ours(symbol))
        warned = self.scene.word.alarmed_at.get(symbol, -1.0) >= stretch.began_at - CALM_S
        calm_s = DISTURBED_S if flattening and warned else CALM_S
        at_market = self.scene.closing(symbol, at_market=True) >= abs(truth.ours(symbol))
        if at_market and warned:
            calm_s = THIN_S
        if stretch.too_long(calm_s, max(calm_s, DISTURBED_S)):
            self.violate(f"{self.describe(symbol)} for {stretch.lasted_s:.1f} s")


class NotBeyond(_PerSymbol):
    """Exits never close more than there is; while an entry works, they may cover what it is about to fill."""

    invariant = "INV-02"

    def wrong(self, symbol: Symbol) -> bool:
        truth = self.scene.truth
        position = truth.position(symbol)
        if position == 0 or any(is_entry(order) and works(order) for order in truth.live_of(symbol)):
            return False
        return truth.most_closed(symbol) > abs(position)

    def describe(self, symbol: Symbol) -> str:
        truth = self.scene.truth
        most, position = truth.most_closed(symbol), truth.position(symbol)
        return f"{symbol}: exits could close {most} of a position of {position}"


class NoOrphans(_PerSymbol):
    """Flat, and no entry works: then no exit does."""

    invariant = "INV-03"

    def wrong(self, symbol: Symbol) -> bool:
        truth = self.scene.truth
        if truth.position(symbol) != 0:
            return False
        own = [order for order in truth.live_of(symbol) if ref_of(order) is not None]
        return bool(own) and not any(map(is_entry, own))

    def describe(self, symbol: Symbol) -> str:
        left = ", ".join(order.order.order_ref for order in self.scene.truth.live_of(symbol))
        return f"{symbol} is flat, and {left} still worked"


class StopsStay(Checker):
    """We cancel the last stop of an open position only to close it."""

    invariant = "INV-24"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._closing: set[Symbol] = set()

    def see(self, entry: Entry) -> None:
        match entry:
            case Journalled(event=PositionUpdateEvent(symbol=symbol)):
                self._closing.add(symbol)
            case Journalled(event=PositionOpenEvent(symbol=symbol) | PositionCloseEvent(symbol=symbol)):
                self._closing.discard(symbol)
            case Sent(request=CancelOrder(order_id=order_id)):
                self._cancelled(self.scene.word.by_id.get(order_id))
            case _:
                pass

    def _cancelled(self, ref: OrderRef | None) -> None:
        if ref is None or purpose_of(ref.role) is not Purpose.STOP:
            return
        # What somebody else holds is theirs to protect.
        position = self.scene.truth.ours(ref.symbol)
        side = "SELL" if position > 0 else "BUY"
        # A list: one of two orders under the same reference may go.
        stops = [
            ref_of(order)
            for order in self.scene.truth.live_of(ref.symbol)
            if order.order.order_type in STOP_TYPES and order.order.action == side and works(order)
        ]
        self.hold(
            position == 0 or stops != [ref] or ref.symbol in self._closing,
            f"{ref} was cancelled, the last stop of a position of {position}, and nothing closes it",
        )


class OutlivesTheDay(Checker):
    """A stop of ours is good till cancelled: it does not end with the session."""

    invariant = "INV-36"

    def see(self, entry: Entry) -> None:
        if not (isinstance(entry, Happened) and isinstance(entry.happening, OrderAccepted)):
            return
        order = entry.happening.order
        ref = ref_of(order)
        if ref is not None and purpose_of(ref.role) is Purpose.STOP:
            self.hold(order.order.tif == "GTC", f"the stop {ref} is good for {order.order.tif or 'DAY'} only")


CHECKERS: Final = (Covered, NotBeyond, NoOrphans, StopsStay, OutlivesTheDay)
