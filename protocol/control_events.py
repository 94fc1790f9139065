"""What keeps the system within its bounds, for the journal: kill levels, locks, limits, persons, health.

Their streams: `risk` for levels, locks and limits, `control` for what persons did, `signals` for what is
not a prediction, `system` for health. Like all events they are written before anything follows from them.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import attrs

from protocol.events import OptionsFlowEvent, SystemEvent


@attrs.frozen(kw_only=True)
class KillLevelEvent(SystemEvent):
    """The account's kill level is `level` from now on (`protocol.risk.words.KillLevel`, by number).

    It goes up by anybody's word and down by a person's only, who gives a reason.
    """

    level: int
    before: int
    who: str
    why: str


@attrs.frozen(kw_only=True)
class LockEvent(SystemEvent):
    """No entries of `symbol` (empty: of any) until `until` (None: until a person lifts it).

    `lock` names it for ever (`L000017`); `kind` says which control or protection it comes from
    (`protocol.risk.words.LockKind`, by value).
    """

    lock: str
    symbol: str
    kind: str
    reason: str
    who: str
    until: datetime | None = None


@attrs.frozen(kw_only=True)
class UnlockEvent(SystemEvent):
    """A lock was lifted before its time, or its time has come (`who` is then `clock`)."""

    lock: str
    who: str
    why: str


@attrs.frozen(kw_only=True)
class LimitTightenedEvent(SystemEvent):
    """A limit of `RiskLimits` was tightened while running; a restart reads the configuration anew.

    `value` and `before` are spelled as in TOML.
    """

    name: str
    value: str
    before: str
    who: str
    why: str


@attrs.frozen(kw_only=True)
class EquityEvent(SystemEvent):
    """The account's worth in dollars when the day began (`first`) and at its best so far (`best`).

    Written when the first is known and when the best has grown by a thousandth, so that limits that
    are parts of them survive a restart.
    """

    first: Decimal
    best: Decimal


@attrs.frozen(kw_only=True)
class OperatorEvent(SystemEvent):
    """A person, or a program for one, asked something of the running system; `outcome`: what came of it."""

    action: str
    arguments: str
    who: str
    why: str
    outcome: str


@attrs.frozen(kw_only=True)
class SourceEvent(SystemEvent):
    """A signal source was started, stopped, or given other tickers: `what` says it, `detail` the rest."""

    source: str
    what: str
    detail: str = ""


@attrs.frozen(kw_only=True)
class HealthEvent(SystemEvent):
    """The health of `subject` (`link`, `symbol:SLV`, `source:flow`) is another one from now on.

    `state` is a word of `protocol.health.HealthState`; `sentence` tells a person what it means.
    """

    subject: str
    state: str
    sentence: str


@attrs.frozen(kw_only=True)
class FlowThresholdEvent(OptionsFlowEvent):
    """A figure of the options flow crossed a threshold of the configuration (the seeds' FlowThresholdEvent).

    `threshold` is its name there, `field` the figure (`d_diff_short`, `trade_value`, …), `above` the
    direction, `limit` what was crossed. `event_id` makes each crossing one event for ever.
    """

    source: str
    event_id: str
    threshold: str
    field: str
    value: float
    limit: float
    above: bool
    measured_at: datetime
