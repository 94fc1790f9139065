"""How long a position stood without enough stop: measured on the venue's own books.

A position is covered while the working stop orders on its other side (STP, TRAIL and their kin; PreSubmitted
or Submitted, not asleep as a child) have at least its size left. Time is the machine's, in seconds, and
counts only while the client's link is up: with the link down nobody could have acted.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.exchange.account import VenuePosition
from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    ExecutionCorrected,
    Happening,
    OrderAccepted,
    OrderCancelled,
    OrderChanged,
    OrderModified,
    OrderRejected,
    OrderTriggered,
    PositionChanged,
    Status,
    VenueOrder,
)

STOP_TYPES = frozenset({"STP", "STP LMT", "STP PRT", "TRAIL", "TRAIL LIMIT"})
WORKING = frozenset({Status.PRE_SUBMITTED, Status.SUBMITTED})

_Key = tuple[str, str]
"""Account and contract: stops of one account protect nothing in another."""


class Coverage:
    """Feed it each batch of happenings with the machine's time; a batch counts as one instant."""

    def __init__(self) -> None:
        self._positions: dict[_Key, int] = {}
        self._stops: dict[_Key, dict[int, VenueOrder]] = {}
        self._spent_s: dict[_Key, float] = {}
        self._uncovered: set[_Key] = set()
        self._worst_s: dict[str, float] = {}
        self._link_up = False
        self._mono = 0.0

    def resume(self, orders: Iterable[VenueOrder], positions: Iterable[VenuePosition], mono: float) -> None:
        """Begin with the books of a restored venue instead of empty ones."""
        self._pass_time(mono)
        for order in orders:
            self._see(order)
        for position in positions:
            self._positions[position.account, contract_key(position.contract)] = position.quantity
        for key in list(self._positions):
            self._judge(key)

    def feed(self, happenings: Iterable[Happening], mono: float) -> None:
        """What has happened at once, at `mono` seconds."""
        self._pass_time(mono)
        touched = {key for key in map(self._take, happenings) if key is not None}
        for key in touched:
            self._judge(key)

    def link(self, up: bool, mono: float) -> None:
        """The client's link is up or down from now on; it counts as down before the first call."""
        self._pass_time(mono)
        self._link_up = up

    def finish(self, mono: float) -> None:
        """The run ends: what is uncovered now counts to here."""
        self._pass_time(mono)

    def max_uncovered_s(self, symbol: str) -> float:
        """The longest unbroken stretch without enough stop, up to the last call; 0 for an unknown symbol."""
        return self._worst_s.get(symbol, 0.0)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that have been held, in order of their first execution."""
        return tuple(dict.fromkeys(symbol for _, symbol in self._positions))

    def _pass_time(self, mono: float) -> None:
        elapsed_s, self._mono = mono - self._mono, mono
        if not self._link_up:
            return
        for key in self._uncovered:
            self._spent_s[key] += elapsed_s
            symbol = key[1]
            self._worst_s[symbol] = max(self._worst_s.get(symbol, 0.0), self._spent_s[key])

    def _take(self, happening: Happening) -> _Key | None:
        """Note what the happening says of an order or a position; the position it may concern."""
        match happening:
            case PositionChanged():
                key = (happening.account, contract_key(happening.contract))
                self._positions[key] = happening.quantity
                return key
            case OrderRejected():
                return None if happening.order is None else self._see(happening.order)
            case CommissionCharged():
                return None
            case (
                OrderAccepted()
                | OrderModified()
                | OrderTriggered()
                | OrderChanged()
                | OrderCancelled()
                | Executed()
                | ExecutionCorrected()
            ):
                return self._see(happening.order)

    def _see(self, order: VenueOrder) -> _Key:
        key = (order.account, contract_key(order.contract))
        stops = self._stops.setdefault(key, {})
        protects = (
            order.order.order_type in STOP_TYPES and order.status in WORKING and "child" not in order.why_held
        )
        if protects:
            stops[order.perm_id] = order
        else:
            stops.pop(order.perm_id, None)
        return key

    def _judge(self, key: _Key) -> None:
        position = self._positions.get(key, 0)
        closing = "SELL" if position > 0 else "BUY"
        stops = self._stops.get(key, {}).values()
        working = sum(stop.remaining for stop in stops if stop.order.action == closing)
        if working >= abs(position):
            self._uncovered.discard(key)
        elif key not in self._uncovered:
            self._uncovered.add(key)
            self._spent_s[key] = 0.0
