"""One round of deciding: the state as the events so far make it, and when to look again."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import attrs

from protocol.events import AlarmEvent, BaseEvent
from protocol.market_view import MarketView
from protocol.rules.facts import SymbolFacts
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState, evolve
from protocol.values import Side


@attrs.frozen
class Watch:
    """The price at which a trade of `side` is to be looked at again: it could be closed there, or better."""

    side: Side
    price: float


class Chores:
    """Collects what is decided at `at`. Each event changes `state` at once, so each thought is up to date."""

    __slots__ = ("at", "cause", "events", "plan", "state", "view", "wake_at", "watch")

    def __init__(
        self,
        state: SymbolState,
        view: MarketView,
        plan: SymbolPlan,
        at: datetime,
        cause: BaseEvent | None = None,
    ) -> None:
        self.state, self.view, self.plan, self.at, self.cause = state, view, plan, at, cause
        self.events: list[BaseEvent] = []
        self.look_afresh()

    def look_afresh(self) -> None:
        """Forget what was to be waited for: the next round of upkeep says it again."""
        self.wake_at: datetime | None = None
        self.watch: Watch | None = None

    def emit(self, event: BaseEvent) -> None:
        self.events.append(event)
        self.state = evolve(self.state, event)

    def alarm(self, code: str, text: str, cause: str = "") -> None:
        """A person should know."""
        self.emit(AlarmEvent(at=self.at, cause=cause, code=code, text=text, symbol=self.plan.symbol))

    def facts(self) -> SymbolFacts:
        """What expressions can read, as it is now."""
        return SymbolFacts(self.state, self.view, self.plan, self.at, self.cause)

    def look_again(self, when: datetime) -> None:
        """Something is due at `when`, even if nothing else happens until then."""
        if self.wake_at is None or when < self.wake_at:
            self.wake_at = when

    def due(self, when: datetime) -> bool:
        """Whether `when` has come; if not, it is remembered."""
        if self.at >= when:
            return True
        self.look_again(when)
        return False

    def reached(self, side: Side, price: Decimal) -> bool:
        """Whether a trade of `side` could be closed at `price` or better; if not, the price is watched."""
        mark, wanted = self.view.mark(side), float(price)
        if mark is not None and (mark - wanted) * side.sign >= 0:
            return True
        if self.watch is None or (wanted - self.watch.price) * side.sign < 0:
            self.watch = Watch(side, wanted)
        return False
