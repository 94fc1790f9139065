"""What an episode leaves behind, in the order in which it happened: one closed union of entries.

`loop_s` is the machine's clock of the episode, which runs at the pace of the market. `process` counts the
lives of the whole trading system, from 1.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import TypeAlias

import attrs

from protocol.chaos.defects import DefectKind
from protocol.events import BaseEvent
from protocol.exchange.happenings import Happening
from protocol.tws.messages import ClientRequest
from protocol.values import Symbol


@attrs.frozen
class Happened:
    """Something happened at the venue: the truth."""

    loop_s: float
    happening: Happening


@attrs.frozen
class FaultDone:
    """A fault of the simulated TWS has fired."""

    loop_s: float
    at: datetime
    kind: str
    what: str


@attrs.frozen
class Connected:
    """Our client's connection to TWS is there, or is gone, as TWS sees it."""

    loop_s: float
    up: bool


@attrs.frozen
class Sent:
    """A request was given to the wire by the trading system, at its own market time."""

    loop_s: float
    at: datetime
    process: int
    request: ClientRequest
    tick_age_s: float | None = None
    """Of a placement: how long ago the wire brought the symbol's last quote; None when it never did."""


@attrs.frozen
class Journalled:
    """A row of the journal was committed. `seq` is its number."""

    loop_s: float
    process: int
    seq: int
    stream: str
    event: BaseEvent


class Blow(enum.Enum):
    """What was done to the trading system on purpose."""

    ACTOR = "actor killed"
    PROCESS = "process killed"
    PAUSE = "machine paused"
    DISK = "disk failed"
    PERSON = "a person's word"
    SIGNAL = "signal fault"
    DEFECT = "defect in a symbol"


@attrs.frozen
class Struck:
    """`kind` is the blow's own name (`kill_symbol`, `crash_before_append`, …), `what` a word about it."""

    loop_s: float
    at: datetime
    blow: Blow
    kind: str
    what: str


@attrs.frozen
class Raised:
    """The handler of a symbol is about to raise where a defect is; `count`: so many times by now."""

    loop_s: float
    kind: DefectKind
    symbol: Symbol
    count: int


@attrs.frozen
class ProcessBegan:
    loop_s: float
    process: int


@attrs.frozen
class ProcessEnded:
    """`expected`: it was killed, or has ended for a reason that was injected."""

    loop_s: float
    process: int
    why: str
    expected: bool


@attrs.frozen
class Compared:
    """A symbol's live state was held against a replay of its journal."""

    loop_s: float
    at: datetime
    symbol: Symbol
    same: bool


@attrs.frozen
class Healed:
    """From here on nothing is done to the system any more, and everything that was taken is given back."""

    loop_s: float
    at: datetime


@attrs.frozen
class SymbolStanding:
    """A symbol as it is at the end. `held`: why it enters nothing, in its own words."""

    symbol: Symbol
    ready: bool
    quarantined: bool
    held: str
    position: int
    quote_age_s: float | None


@attrs.frozen
class Looked:
    """How things stand, looked at from outside, at a moment after the healing."""

    loop_s: float
    at: datetime
    link_up: bool
    unknown_orders: int
    symbols: tuple[SymbolStanding, ...]


Entry: TypeAlias = (
    Happened | FaultDone | Connected | Sent | Journalled | Struck | Raised | ProcessBegan | ProcessEnded
    | Compared | Healed | Looked
)  # fmt: skip
