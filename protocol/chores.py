"""One round of deciding: the state as the events so far make it, and when to look again."""

from __future__ import annotations

from datetime import datetime

from protocol.events import BaseEvent
from protocol.market_view import MarketView
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState, evolve


class Chores:
    """Collects what is decided at `at`. Each event changes `state` at once, so each thought is up to date."""

    __slots__ = ("at", "events", "plan", "state", "view", "wake_at")

    def __init__(self, state: SymbolState, view: MarketView, plan: SymbolPlan, at: datetime) -> None:
        self.state, self.view, self.plan, self.at = state, view, plan, at
        self.events: list[BaseEvent] = []
        self.wake_at: datetime | None = None

    def emit(self, event: BaseEvent) -> None:
        self.events.append(event)
        self.state = evolve(self.state, event)

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
