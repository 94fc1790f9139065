"""What all faults of the simulated TWS have in common: when they happen, and what they are done to.

An *opportunity* of a fault is a message, a request or a happening at the venue whose name `on` lists (names
are those of the messages in snake_case, and the groups of `fault_words`). A fault without `on` has one
opportunity: its time, or the moment at which it is injected.
"""

from __future__ import annotations

import enum
from datetime import datetime, time
from typing import Any, ClassVar

import attrs
from attrs import validators

MOST = 1_000_000_000
"""Seconds, shares, ids: no fault needs more, and what is finite can be calculated with."""
MANY = 100_000
"""Of anything that a fault does in one go."""
ABOVE_ZERO: Any = validators.and_(validators.gt(0), validators.le(MOST))
NOT_BELOW_ZERO: Any = validators.and_(validators.ge(0), validators.le(MOST))
WITHIN: Any = validators.and_(validators.ge(-MOST), validators.le(MOST))
COUNT: Any = validators.and_(validators.ge(1), validators.le(MANY))


@attrs.frozen(kw_only=True)
class When:
    """Durations are market seconds; `probability` is drawn once per opportunity, from the seed of the run."""

    at: datetime | time | None = None
    """Not before: an instant, or a time of day in New York (its next one)."""
    on: tuple[str, ...] = ()
    """What counts as an opportunity; empty: the fault's own, or its time alone."""
    after: int = attrs.field(default=0, validator=NOT_BELOW_ZERO)
    """Opportunities that pass first."""
    probability: float = attrs.field(default=1.0, validator=[validators.gt(0), validators.le(1)])
    times: int = attrs.field(default=1, validator=[validators.ge(0), validators.le(MANY)])
    """How often it happens in all; 0: without limit."""
    every_s: float = attrs.field(default=0.0, validator=NOT_BELOW_ZERO)
    """Of a fault that has no opportunities but its time: from one time to the next."""
    delay_s: float = attrs.field(default=0.0, validator=NOT_BELOW_ZERO)
    """From the opportunity to the fault, where the fault is not something done to a message."""
    client_id: int | None = None
    symbol: str = ""


class Family(enum.Enum):
    """What a fault is done to, which is also what its opportunities are."""

    MOMENT = "moment"
    """It is done at a moment, whatever brought the moment about."""
    REQUEST = "request"
    """It is done to a client's request."""
    MESSAGE = "message"
    """It is done to what TWS says."""
    ORDER = "order"
    """It is done to an order at the venue: the one that gave the opportunity, or any that fits."""


class Leg(enum.Enum):
    """Which orders an order fault is about."""

    ANY = "any"
    ENTRY = "entry"
    """Neither attached to a parent nor a stop."""
    CHILD = "child"
    STOP = "stop"
    """STP, STP LMT, TRAIL, TRAIL LIMIT."""
    TARGET = "target"
    """An attached limit order."""


@attrs.frozen(kw_only=True)
class FaultBase:
    family: ClassVar[Family] = Family.MOMENT
    usual: ClassVar[tuple[str, ...]] = ()
    """Its opportunities unless `when.on` names others."""
    when: When = When()
