"""One fault that waits for its opportunities, and what an opportunity is made of."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from random import Random

import attrs

from protocol.exchange.contract_key import contract_key
from protocol.exchange.fault_base import Family, Leg
from protocol.exchange.fault_words import GROUPS
from protocol.exchange.faults import Fault, kind_of
from protocol.exchange.happenings import VenueOrder
from protocol.exchange.settings_reading import NEW_YORK
from protocol.exchange.tws_clients import ClientKey

_STOPS = frozenset({"STP", "STP LMT", "STP PRT", "TRAIL", "TRAIL LIMIT"})


@attrs.frozen(kw_only=True)
class Occasion:
    """What gave a fault its opportunity; empty where it was only its time."""

    key: ClientKey | None = None
    client_id: int | None = None
    symbol: str = ""
    order: VenueOrder | None = None
    exec_id: str = ""


@attrs.frozen(kw_only=True)
class FaultState:
    number: int
    kind: str
    seen: int
    fired: int
    over: bool


class ArmedFault:
    """Counts its opportunities. Chance has a generator of its own, so that no other fault disturbs it."""

    def __init__(self, number: int, fault: Fault, at: datetime, random: Random) -> None:
        self.number, self.fault = number, fault
        self.not_before = resolve(fault.when.at, at)
        self.seen = self.fired = 0
        self._random = random
        self._disarmed = False

    def disarm(self) -> None:
        """It does not happen any more."""
        self._disarmed = True

    @property
    def over(self) -> bool:
        return self._disarmed or 0 < self.fault.when.times <= self.fired

    @property
    def words(self) -> tuple[str, ...]:
        """What gives it opportunities: messages and happenings, groups of them taken apart."""
        when = self.fault.when
        timed = when.at is not None and self.fault.family in (Family.MOMENT, Family.ORDER)
        named = when.on or (() if timed else self.fault.usual)
        found: dict[str, None] = {}
        for word in named:
            members = GROUPS.get(word, (word,))
            found |= dict.fromkeys(sorted(members))
        return tuple(found)

    def fits(self, occasion: Occasion) -> bool:
        """Whether the client and the symbol are those it is about."""
        when = self.fault.when
        if when.client_id is not None and when.client_id != occasion.client_id:
            return False
        return when.symbol in ("", occasion.symbol)

    def chance(self, at: datetime) -> bool:
        """An opportunity: does it happen?"""
        when = self.fault.when
        if self.over or (self.not_before is not None and at < self.not_before):
            return False
        self.seen += 1
        if self.seen <= when.after or (when.probability < 1 and self._random.random() >= when.probability):
            return False
        self.fired += 1
        return True

    def resume(self, seen: int, fired: int) -> None:
        """Go on as after so many opportunities."""
        self.seen, self.fired = seen, fired
        if self.fault.when.probability < 1:
            for _ in range(seen - self.fault.when.after):
                self._random.random()

    def state(self) -> FaultState:
        return FaultState(
            number=self.number, kind=kind_of(self.fault), seen=self.seen, fired=self.fired, over=self.over
        )


def resolve(when: datetime | time | None, at: datetime) -> datetime | None:
    """The moment that is meant at `at`: a time of day is New York's, today or else tomorrow."""
    if when is None:
        return None
    if isinstance(when, datetime):
        return when.astimezone(UTC)
    wall = at.astimezone(NEW_YORK)
    day = wall.date() if wall.time() <= when else wall.date() + timedelta(days=1)
    return datetime.combine(day, when, NEW_YORK).astimezone(UTC)


def is_leg(order: VenueOrder, leg: Leg) -> bool:
    stop, child = order.order.order_type in _STOPS, bool(order.parent_perm_id)
    match leg:
        case Leg.ANY:
            return True
        case Leg.STOP:
            return stop
        case Leg.CHILD:
            return child
        case Leg.TARGET:
            return child and not stop
        case Leg.ENTRY:
            return not child and not stop


def order_occasion(order: VenueOrder, exec_id: str = "") -> Occasion:
    return Occasion(
        client_id=order.client_id, symbol=contract_key(order.contract), order=order, exec_id=exec_id
    )
