"""What the running system answers to a request: one closed union, `Answer`. Tables and JSON come of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs

from protocol.position_record import PositionRecord


@attrs.frozen(kw_only=True)
class Declined:
    """Nothing was done; `problems` are sentences, at least one."""

    problems: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Done:
    """`said`: what was done, and what still holds."""

    said: tuple[str, ...]


# --- the run ----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class RunTold:
    """`temporary`: the state folder goes with the run. `speed`: market seconds per second.

    Of a run that is over, as its journal has it: not `running`, no process, and `ended` says why it ended.
    """

    running: bool = True
    ended: str = ""
    pid: int
    mode: str
    state: str
    temporary: bool
    version: str
    configuration: str
    started_at: datetime | None
    market_now: datetime | None
    speed: float


@attrs.frozen(kw_only=True)
class ActorTold:
    """One child of a supervisor; `depth` is how far below the root. `waiting`: messages in its mailbox.

    `restarts` in this run; `recent`: the failures that count against its limit now.
    """

    id: str
    depth: int
    state: str
    epoch: int
    restarts: int
    recent: int = 0
    waiting: int | None = None
    last_exit: str = ""


@attrs.frozen(kw_only=True)
class LinkTold:
    state: str
    account: str
    link: int
    """Which one since the process began."""


@attrs.frozen(kw_only=True)
class KillTold:
    """`level` by number, `name` in words, `meaning` what it does."""

    level: int
    name: str
    meaning: str
    who: str = ""
    why: str = ""


@attrs.frozen(kw_only=True)
class LockTold:
    """`symbol` empty: all entries. `until` None: until a person lifts it."""

    lock: str
    symbol: str
    kind: str
    reason: str
    who: str
    at: datetime
    until: datetime | None


@attrs.frozen(kw_only=True)
class HealthTold:
    subject: str
    state: str
    sentence: str


@attrs.frozen(kw_only=True)
class AlarmTold:
    at: datetime
    code: str
    symbol: str
    text: str


@attrs.frozen(kw_only=True)
class SourceTold:
    """`counts`: what it has brought so far, in words."""

    name: str
    kind: str
    running: bool
    state: str
    sentence: str
    tickers: tuple[str, ...]
    counts: str


@attrs.frozen(kw_only=True)
class LimitTold:
    """One limit, or what it is to one symbol.

    `now` and `part` (of the limit, 1 is all of it) where it is on something that is measured. `control`
    is its number in the table of controls, R1 to R23.
    """

    name: str
    limit: str
    symbol: str = ""
    control: str = ""
    now: str = ""
    part: float | None = None
    tightened: bool = False
    tightenable: bool = True


@attrs.frozen(kw_only=True)
class FiguresTold:
    """Dollars; None what nobody has told yet. `…_worst`: with all working orders filled.

    `open_risk` is what is lost when every stop fills where it stands.
    """

    equity: Decimal | None = None
    excess_liquidity: Decimal | None = None
    gross: Decimal | None = None
    gross_worst: Decimal | None = None
    net: Decimal | None = None
    net_worst: Decimal | None = None
    open_risk: Decimal | None = None
    positions: int | None = None


@attrs.frozen(kw_only=True)
class SymbolLine:
    """A symbol in one line of the status. `held`: why it may not enter, empty when nothing is in its way."""

    symbol: str
    actor: str
    status: str
    position: int
    average: Decimal | None
    last: float | None
    unrealized_pnl: Decimal | None
    stop: Decimal | None
    held: str


@attrs.frozen(kw_only=True)
class StatusTold:
    run: RunTold
    link: LinkTold
    kill: KillTold
    symbols: tuple[SymbolLine, ...]
    tree: tuple[ActorTold, ...]
    locks: tuple[LockTold, ...]
    sources: tuple[SourceTold, ...]
    health: tuple[HealthTold, ...]
    alarms: tuple[AlarmTold, ...]
    figures: FiguresTold
    near: tuple[LimitTold, ...]
    """The limits that are used up most."""


# --- what it trades ---------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PositionsTold:
    """The trades that live."""

    positions: tuple[PositionRecord, ...]
    market_now: datetime | None = None


@attrs.frozen(kw_only=True)
class OrderTold:
    """One order that has not ended: what was asked, and what the broker says.

    `waits_for`: the request that has no answer yet. `held`: why the broker holds it.
    """

    symbol: str
    role: str
    purpose: str
    ref: str
    status: str
    side: str
    type: str
    quantity: int
    filled: int
    limit_price: Decimal | None
    stop_price: Decimal | None
    trail: Decimal | None
    tif: str
    perm_id: int
    order_id: int
    as_asked: bool
    waits_for: str = ""
    held: str = ""


@attrs.frozen(kw_only=True)
class OrdersTold:
    orders: tuple[OrderTold, ...]


@attrs.frozen(kw_only=True)
class RuleTold:
    """A rule as one symbol follows it."""

    symbol: str
    name: str
    priority: int
    on: bool
    cooldown_left_s: float
    acted_today: int
    max_per_day: int | None
    text: str


@attrs.frozen(kw_only=True)
class RulesTold:
    rules: tuple[RuleTold, ...]


@attrs.frozen(kw_only=True)
class SymbolTold:
    """One symbol, beyond what its journal says."""

    line: SymbolLine
    actor: ActorTold
    bid: float | None
    ask: float | None
    quote_age_s: float | None
    locks: tuple[LockTold, ...]
    rules: tuple[RuleTold, ...]
    health: tuple[HealthTold, ...]


# --- what bounds it ---------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class LocksTold:
    kill: KillTold
    locks: tuple[LockTold, ...]


@attrs.frozen(kw_only=True)
class LimitsTold:
    limits: tuple[LimitTold, ...]


@attrs.frozen(kw_only=True)
class SourcesTold:
    sources: tuple[SourceTold, ...]


Answer: TypeAlias = (
    Declined
    | Done
    | StatusTold
    | PositionsTold
    | OrdersTold
    | RulesTold
    | SymbolTold
    | LocksTold
    | LimitsTold
    | SourcesTold
)
ANSWERS: Final = MappingProxyType({
    "declined": Declined,
    "done": Done,
    "status": StatusTold,
    "positions": PositionsTold,
    "orders": OrdersTold,
    "rules": RulesTold,
    "symbol": SymbolTold,
    "locks": LocksTold,
    "limits": LimitsTold,
    "sources": SourcesTold,
})  # fmt: skip
"""The word of each answer, `answer` on the wire."""
