"""The order types that the venue trades, as data: what each waits for, and what bounds its price.

Words as in IBKR's list of order types. Types that IBKR has and this venue does not are refused with 387,
anything else with 321.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from protocol.tws.messages import Order


class Trigger(enum.Enum):
    """What elects an order before it works."""

    NONE = "none"
    STOP = "stop"
    """The market moves against it: a buy is elected at or above its price."""
    TOUCH = "touch"
    """The market comes to meet it: a buy is elected at or below its price."""


class Peg(enum.Enum):
    """What a pegged limit follows; `auxPrice` is the distance to it."""

    OWN_SIDE = "own side"
    """Relative: a buy follows the bid, and an offset makes it more aggressive."""
    OTHER_SIDE = "other side"
    """Pegged to market: a buy follows the ask, and an offset makes it less aggressive."""
    MIDDLE = "middle"
    STARTING_PRICE = "starting price"
    """Stands at `startingPrice`: what it is pegged to at IBKR is not looked at."""


class Auction(enum.Enum):
    """The auction that an order is for; it trades at no other time."""

    NONE = "none"
    OPENING = "opening"
    CLOSING = "closing"


@attrs.frozen(kw_only=True)
class OrderKind:
    trigger: Trigger = Trigger.NONE
    limit: bool = False
    """It has a limit price of its own; without one it must be given for a plain limit type."""
    trails: bool = False
    """Its stop follows the market at a distance, in `auxPrice` or `trailingPercent`."""
    peg: Peg | None = None
    closing: bool = False
    protected: bool = False
    """Once elected it is bounded by a limit near its stop (CME's "stop with protection"); futures only."""
    to_limit: bool = False
    """What the first execution leaves becomes a limit order at its price."""


KINDS: Final[Mapping[str, OrderKind]] = MappingProxyType(
    {
        "MKT": OrderKind(),
        "LMT": OrderKind(limit=True),
        "STP": OrderKind(trigger=Trigger.STOP),
        "STP LMT": OrderKind(trigger=Trigger.STOP, limit=True),
        "STP PRT": OrderKind(trigger=Trigger.STOP, protected=True),
        "TRAIL": OrderKind(trigger=Trigger.STOP, trails=True),
        "TRAIL LIMIT": OrderKind(trigger=Trigger.STOP, trails=True, limit=True),
        "MIT": OrderKind(trigger=Trigger.TOUCH),
        "LIT": OrderKind(trigger=Trigger.TOUCH, limit=True),
        "MOC": OrderKind(closing=True),
        "LOC": OrderKind(closing=True, limit=True),
        "MTL": OrderKind(to_limit=True),
        "REL": OrderKind(peg=Peg.OWN_SIDE),
        "PEG PRIM": OrderKind(peg=Peg.OWN_SIDE),
        "PEG BEST": OrderKind(peg=Peg.OWN_SIDE),
        "PEG MKT": OrderKind(peg=Peg.OTHER_SIDE),
        "PEG MID": OrderKind(peg=Peg.MIDDLE),
        "PEG BENCH": OrderKind(peg=Peg.STARTING_PRICE),
        "PEG STK": OrderKind(peg=Peg.STARTING_PRICE),
    }
)

SPELLINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "MARKET": "MKT",
        "LIMIT": "LMT",
        "STOP": "STP",
        "STPLMT": "STP LMT",
        "STP_LMT": "STP LMT",
        "TRAILLMT": "TRAIL LIMIT",
        "TRAIL LMT": "TRAIL LIMIT",
        "LMTTOUCH": "LIT",
        "MKTTOUCH": "MIT",
        "MKTCLS": "MOC",
        "LMTCLS": "LOC",
        "MKTPRT": "MKT PRT",
        "MKT PRTL": "MKT PRT",
        "STPPRT": "STP PRT",
        "PEGMKT": "PEG MKT",
        "PEGPRI": "PEG PRIM",
        "PEG PRI": "PEG PRIM",
        "PEGPRIM": "PEG PRIM",
        "PEGMID": "PEG MID",
        "PEGMIDPT": "PEG MID",
        "PEGBEST": "PEG BEST",
        "PEGBENCH": "PEG BENCH",
        "PEGSTK": "PEG STK",
    }
)
"""Other names under which IBKR takes the same types."""

NOT_OFFERED: Final = frozenset(
    {
        "BOX TOP", "BOXTOP", "MKT PRT", "FUNARI", "IBALGO", "LWQ", "MIDPRICE", "PASSV REL", "PEG SNAP",
        "PPV", "PDV", "PMV", "PSV", "QUOTE", "REL + LMT", "REL + MKT", "LMT + MKT", "LMT + LMT", "MKT + MKT",
        "REL + REL", "SNAP MID", "SNAP MKT", "SNAP PRIM", "TRAIL LIT", "TRAIL MIT", "TRAIL REL + MKT", "TMKT",
        "VOL", "VWAP", "WAR MKT", "AUC", "AUC LMT",
    }
)  # fmt: skip
"""Types of IBKR's that this venue does not trade."""

TRAILING_PARENTS: Final = frozenset({"LMT", "STP LMT"})
"""What a trailing stop can be attached to."""


def kind_of(order: Order) -> OrderKind:
    """The kind of an order that the venue has taken."""
    return KINDS[order.order_type]


def auction_of(order: Order) -> Auction:
    """The auction an order is for: `MOC`, `LOC`, or any type good at the opening (`OPG`)."""
    if order.tif == "OPG":
        return Auction.OPENING
    return Auction.CLOSING if KINDS[order.order_type].closing else Auction.NONE
