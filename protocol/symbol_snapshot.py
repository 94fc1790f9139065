"""The whole state of one symbol as plain data: what its owner rebuilds from the journal, and why it waits.

For people who ask "what is it doing, and why not more?"; nothing that trades reads it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import attrs

from protocol.configuration_note import ConfigurationNote
from protocol.event_text import symbol_of
from protocol.events import ActorExitedEvent, ActorStartedEvent, PredictionSignalEvent, SignalVerdictEvent
from protocol.journal import JournalRow
from protocol.linked_orders import LinkedOrders
from protocol.order import Order
from protocol.position_book import PositionBook
from protocol.position_record import plain
from protocol.position_status import status_of
from protocol.symbol_state import SymbolState
from protocol.values import Symbol

SHOWN_SIGNALS: Final = 5
"""The last verdicts that a snapshot shows."""


@attrs.frozen
class SignalStory:
    """A prediction and its answer; one that is malformed has no prediction, one that waits no verdict."""

    signal_id: str
    said: PredictionSignalEvent | None
    verdict: SignalVerdictEvent | None

    @property
    def at(self) -> datetime:
        event = self.said or self.verdict
        assert event is not None
        return event.at

    @property
    def symbol(self) -> str:
        event = self.said or self.verdict
        assert event is not None
        return str(event.symbol)

    def to_dict(self) -> dict[str, Any]:
        said, verdict = self.said, self.verdict
        return {
            "signal_id": self.signal_id,
            "at": self.at.isoformat(),
            "symbol": self.symbol,
            "signal": None if said is None else said.signal,
            "confidence": None if said is None else said.confidence,
            "source": None if said is None else said.source,
            "verdict": "waiting" if verdict is None else verdict.verdict.value,
            "code": "" if verdict is None else verdict.code,
            "reason": "" if verdict is None else verdict.reason,
        }


def signal_stories(rows: Iterable[JournalRow]) -> tuple[SignalStory, ...]:
    """Every signal with its answer, in the order in which they came."""
    stories: dict[str, SignalStory] = {}
    for row in rows:
        match row.event:
            case PredictionSignalEvent(signal_id=signal_id) as said:
                known = stories.get(signal_id)
                stories[signal_id] = SignalStory(signal_id, said, None if known is None else known.verdict)
            case SignalVerdictEvent(signal_id=signal_id) as verdict:
                known = stories.get(signal_id)
                stories[signal_id] = SignalStory(signal_id, None if known is None else known.said, verdict)
            case _:
                pass
    return tuple(stories.values())


class SymbolWatch:
    """A walk over the journal that remembers what `snapshot` needs of one symbol."""

    def __init__(self, symbol: Symbol, note: ConfigurationNote) -> None:
        self._symbol, self._note = symbol, note
        self._book = PositionBook(note.facts)
        self._signals: deque[JournalRow] = deque(maxlen=2 * SHOWN_SIGNALS)
        self._actor = ""
        self._at: datetime | None = None
        self.known = any(rule.symbols and rule.concerns(symbol) for rule in note.rules)
        """Whether anything speaks of the symbol."""

    def add(self, row: JournalRow) -> None:
        self._at = row.at if self._at is None else max(self._at, row.at)
        if symbol_of(row.event) != self._symbol:
            return
        self.known = True
        self._book.add(row.stream, row.event)
        match row.event:
            case PredictionSignalEvent() | SignalVerdictEvent():
                self._signals.append(row)
            case ActorStartedEvent():
                self._actor = "running"
            case ActorExitedEvent(decision=decision):
                self._actor = decision
            case _:
                pass

    def snapshot(self) -> dict[str, Any]:
        """As of the last event of the whole journal, which is when its market time was last told."""
        state, at = self._book.state(self._symbol), self._at
        record, status = self._book.live(self._symbol), status_of(state)
        return {
            "symbol": self._symbol,
            "as_of": plain(at),
            "actor": self._actor,
            "status": "flat" if status is None else status.value,
            "held": state.held,
            "position": {
                "quantity": state.position.quantity,
                "average_price": plain(state.position.average_price),
                "realized_pnl": plain(state.position.realized_pnl),
                "commission": plain(state.position.commission),
            },
            "trade": None if state.trade is None else trade_dict(state.trade),
            "record": None if record is None else record.to_dict(),
            "pending": _pending(state),
            "rules": [] if at is None else self._rules(state, at),
            "values": dict(state.values),
            "prepared": dict(state.prepared),
            "signals": [story.to_dict() for story in signal_stories(self._signals)][-SHOWN_SIGNALS:],
            "summary": self._book.summary(self._symbol).to_dict(),
        }

    def _rules(self, state: SymbolState, at: datetime) -> list[dict[str, Any]]:
        return [
            {
                "name": rule.name,
                "on": rule.is_on(state),
                "cooldown_left_s": round(rule.cooldown_left_s(state, at), 1),
                "acted_today": rule.acted_today(state, at),
                "max_per_day": rule.max_per_day,
                "text": rule.text,
            }
            for rule in sorted(self._note.rules, key=lambda rule: -rule.priority)
            if rule.concerns(self._symbol)
        ]


def _pending(state: SymbolState) -> dict[str, Any] | None:
    pending = state.pending
    if pending is None:
        return None
    return {name: plain(value) for name, value in attrs.asdict(pending).items()}


def trade_dict(trade: LinkedOrders) -> dict[str, Any]:
    """The context of a trade: its orders by link type."""
    orders: dict[str, list[dict[str, Any]]] = {}
    for order in trade.orders:
        orders.setdefault(order.role, []).append(order_dict(order))
    return {
        "trade": trade.trade,
        "side": trade.side.value,
        "rule": trade.rule,
        "signal_id": trade.signal_id,
        "opened_at": trade.opened_at.isoformat(),
        "quantity": trade.quantity,
        "average_price": plain(trade.average),
        "stop_distance": plain(trade.stop_distance),
        "target_distance": plain(trade.target_distance),
        "ratchet": plain(trade.ratchet),
        "closing": None if trade.closing is None else trade.closing.reason,
        "hedges": list(trade.hedges),
        "orders": orders,
    }


def order_dict(order: Order) -> dict[str, Any]:
    """What was asked, and what the broker confirmed."""
    spec = order.spec
    return {
        "ref": str(order.ref),
        "status": order.status.value,
        "side": spec.side.value,
        "type": spec.type.value,
        "quantity": spec.quantity,
        "filled": order.filled,
        "remaining": order.remaining if order.live else 0,
        "limit_price": plain(spec.limit_price),
        "stop_price": plain(spec.stop_price),
        "trail": plain(spec.trail_amount if spec.trail_amount is not None else spec.trail_fraction),
        "tif": spec.tif.value,
        "purpose": spec.purpose.value,
        "oca_group": spec.oca_group,
        "perm_id": order.perm_id,
        "as_asked": order.as_asked,
        "cancel_asked": order.cancel_asked,
    }
