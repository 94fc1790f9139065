"""What the state of things demands now: locks, kill levels, alarms, from limits that no single order breaks.

The gate looks at one order, the monitor at what has become of all of them: R5, R10 to R13, the second
half of R20, and the protections. `watch` is asked every second and after each event that matters, and is
idempotent: once its events are folded, the same state asks for nothing more.

The money is reckoned in `reckoning.py`, the locks are demanded in `limit_locks.py` and `protections.py`. A
drawdown is measured by our own reckoning alone: a late word of the broker would look like a fall from a
best of now.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

import attrs

from protocol.control_events import EquityEvent, KillLevelEvent, LockEvent, UnlockEvent
from protocol.events import AlarmEvent, ForeignFillEvent
from protocol.risk.ledger import ACCOUNT
from protocol.risk.limit_locks import limit_locks, loss_locks, message_ratio
from protocol.risk.patience import Patience
from protocol.risk.protections import WantedLock, wanted_locks
from protocol.risk.reckoning import Reckoning, Watched, reckon
from protocol.risk.words import KillLevel, LockKind, Surroundings
from protocol.values import Symbol

CLOCK: Final = "clock"
"""Who lifts a lock whose time has come."""
LIMITS: Final = "limits"
"""Who locks and raises the level when a limit is reached."""
MESSAGES_HIGH, LIMIT_LOCK, KILL_LEVEL = "MESSAGES_HIGH", "LIMIT_LOCK", "KILL_LEVEL"
LIQUIDATION = "LIQUIDATION"
"""Codes of alarms."""
WARN_AT: Final = 0.5
"""Part of R13's limit at which a person is told."""
BEST_GROWS: Final = Decimal("1.001")
"""A new best equity is worth a row of the journal when it is so many times the old one."""
RiskEvent: TypeAlias = LockEvent | UnlockEvent | KillLevelEvent | AlarmEvent | EquityEvent


@attrs.frozen
class Demand:
    """A kill level that the state of things demands at least."""

    level: KillLevel
    why: str


def watch(
    gate: Watched, around: Surroundings, *, at: datetime, patience: Patience | None = None
) -> tuple[RiskEvent, ...]:
    """What must be journalled and done now; empty when nothing has changed. `at` is market time.

    With `patience`, what follows from the market's prices alone is demanded when it has lasted.
    """
    standing, day = gate.standing, reckon(gate, around, at=at)
    events: list[RiskEvent] = [
        UnlockEvent(at=at, lock=lock.lock, who=CLOCK, why="its time has come")
        for lock in standing.expired(at)
    ]
    events += _equity(day, patience, at)
    events += _warnings(gate, at)
    locks = [
        wanted
        for wanted in _new_locks(gate, around, day, at)
        if patience is None or _is_lasting(wanted, gate, around, patience, at)
    ]
    for number, wanted in enumerate(locks):
        events.append(LockEvent(
            at=at, cause=LIMITS, lock=standing.lock_name(number), symbol=wanted.symbol,
            kind=wanted.kind.value, reason=wanted.reason, who=LIMITS, until=wanted.until,
        ))  # fmt: skip
        if not wanted.symbol or wanted.kind not in _QUIET:
            where = wanted.symbol or "the account"
            text = f"{where} is locked: {wanted.reason}"
            events.append(AlarmEvent(at=at, cause=LIMITS, code=LIMIT_LOCK, text=text, symbol=wanted.symbol))
    demand = _highest(gate, day, at)
    if patience is not None and demand is not None and demand.level > standing.level:
        certain = _highest(gate, reckon(gate, around, at=at, market=False), at)
        demand = _lasting(demand, certain, patience, at)
    if demand is not None and demand.level > standing.level:
        events += raised(standing.level, demand, at=at, who=LIMITS)
    if patience is not None:
        patience.end_look()
    return tuple(events)


def _is_lasting(
    wanted: WantedLock, gate: Watched, around: Surroundings, patience: Patience, at: datetime
) -> bool:
    """Whether a lock is certain by the journal alone, or the market has demanded it for long enough."""
    symbol = Symbol(wanted.symbol)
    match wanted.kind:
        case LockKind.DAILY_LOSS:
            certain = reckon(gate, around, at=at, market=False)
            if any(True for _ in loss_locks(gate, certain, symbol, at=at)):
                return True
        case LockKind.FILLS_OFF_MARKET:
            pass
        case _:
            return True
    return patience.confirmed(wanted.kind.value, symbol, at)


def _lasting(demand: Demand, certain: Demand | None, patience: Patience, at: datetime) -> Demand | None:
    """The part of a demand that has lasted, or what is certain by the journal and the broker's word."""
    upto = [level for level in KillLevel if KillLevel.OPEN < level <= demand.level]
    lasting = [level for level in upto if patience.confirmed("level", level.name, at)]
    found = attrs.evolve(demand, level=lasting[-1]) if lasting else None
    return max((each for each in (certain, found) if each), key=lambda each: each.level, default=None)


def _highest(gate: Watched, day: Reckoning, at: datetime) -> Demand | None:
    return max(demands(gate, day, at=at), key=lambda each: each.level, default=None)


def raised(before: KillLevel, demand: Demand, *, at: datetime, who: str) -> tuple[RiskEvent, ...]:
    """The events of a kill level that goes up: the level and its alarm."""
    text = f"kill level {demand.level.name} (from {before.name}), by {who}: {demand.why}"
    return (
        KillLevelEvent(
            at=at, cause=who, level=demand.level.value, before=before.value, who=who, why=demand.why
        ),
        AlarmEvent(at=at, cause=who, code=KILL_LEVEL, text=text),
    )


# --- locks ----------------------------------------------------------------------------------------


def _new_locks(gate: Watched, around: Surroundings, day: Reckoning, at: datetime) -> Iterator[WantedLock]:
    """Those that are demanded and do not hold. A protection says by itself when it has its lock."""
    holding = {(lock.kind, lock.symbol) for lock in gate.standing.locks(at)}
    for wanted in limit_locks(gate, around, day, at):
        if (wanted.kind.value, wanted.symbol) not in holding:
            yield wanted
    protections = gate.standing.limits.protections
    if protections:
        yield from wanted_locks(protections, gate.ledger, at, equity=day.first)


# --- the account ----------------------------------------------------------------------------------


def demands(gate: Watched, day: Reckoning, *, at: datetime) -> Iterator[Demand]:
    """The kill levels that limits and mismatches demand now."""
    yield from lasting_demands(gate, day)
    limits, ledger = gate.standing.limits, gate.ledger
    sold = _liquidated(gate)
    if sold is not None:
        yield Demand(KillLevel.HALT, _liquidation_text(sold))
    since = at - timedelta(seconds=limits.reject_window_s)
    if ledger.lowered_at is not None:
        since = max(since, ledger.lowered_at)
    refused = ledger.refusals(ACCOUNT, since)
    if refused >= limits.max_rejects_in_all:
        window = f"{limits.reject_window_s:g} s"
        yield Demand(
            KillLevel.HALT, f"the broker refused {refused} orders within {window} (max_rejects_in_all)"
        )


def _liquidated(gate: Watched) -> ForeignFillEvent | None:
    """What the broker closed for want of margin since a person last lowered the level."""
    sold, lowered_at = gate.ledger.liquidated, gate.ledger.lowered_at
    return sold if sold is not None and (lowered_at is None or sold.at > lowered_at) else None


def _liquidation_text(sold: ForeignFillEvent) -> str:
    what = f"{sold.side.value} {sold.quantity} {sold.symbol} at {sold.price}"
    return f"the broker closes positions for want of margin ({what})"


def lasting_demands(gate: Watched, day: Reckoning) -> Iterator[Demand]:
    """Those that a person's word does not end: the day's loss (R12), books that differ (R20)."""
    limits, first, now = gate.standing.limits, day.first, day.worth
    if first is not None and now is not None and first > 0:
        lost = float((first - now) / first)
        why = f"the account has lost {lost:.2%} of the day's first equity"
        if lost >= limits.daily_loss_halt:
            yield Demand(KillLevel.FLATTEN, f"{why} (daily_loss_halt {limits.daily_loss_halt:.2%})")
        elif lost >= limits.daily_loss_reduce:
            yield Demand(KillLevel.REDUCE, f"{why} (daily_loss_reduce {limits.daily_loss_reduce:.2%})")
    best, reckoned = day.best, day.reckoned
    if limits.max_drawdown is not None and best is not None and reckoned is not None and best > 0:
        fall = float((best - reckoned) / best)
        if fall >= limits.max_drawdown:
            why = f"the account is {fall:.2%} below its best of the day"
            yield Demand(KillLevel.REDUCE, f"{why} (max_drawdown {limits.max_drawdown:.2%})")
    for why in book_mismatches(gate):
        yield Demand(KillLevel.HALT, why)


def book_mismatches(gate: Watched) -> Iterator[str]:
    """R20: our own books against each other, and against the broker's where no symbol has seen to it.

    A symbol whose position is not the broker's holds itself; that it does not is a fault of ours.
    """
    for symbol in gate.ledger.symbols:
        entry = gate.ledger.get(symbol)
        if entry is None:
            continue
        ours, booked = entry.position.quantity, gate.book.position(symbol)
        if ours != booked:
            yield f"{symbol}: our executions make {ours} shares, the risk book holds {booked}"
        look = entry.look
        if look is not None and look.broker != look.ours and not entry.held:
            yield (
                f"{symbol}: our executions made {look.ours} shares when the broker held {look.broker}, "
                "and the symbol does not hold itself"
            )


def _equity(day: Reckoning, patience: Patience | None, at: datetime) -> Iterator[EquityEvent]:
    """The day's first equity once it is known, and its best when that has grown."""
    if day.first is None or day.best is None:
        if day.told is not None and day.told > 0:
            # What was made before it was told belongs to the day, not to its beginning.
            began = day.told - day.total
            yield EquityEvent(at=at, first=began, best=max(began, day.told))
    elif (
        day.reckoned is not None
        and day.reckoned >= day.best * BEST_GROWS
        and (patience is None or patience.confirmed("equity", "best", at))
    ):
        yield EquityEvent(at=at, first=day.first, best=day.reckoned)


def _warnings(gate: Watched, at: datetime) -> Iterator[AlarmEvent]:
    """R13 at half of its limit, and what the broker liquidates, once a day."""
    ledger, most = gate.ledger, gate.standing.limits.max_messages_per_execution
    ratio = message_ratio(ledger, at)
    if ratio >= most * WARN_AT and not ledger.warned(MESSAGES_HIGH, ACCOUNT, at):
        text = f"{ratio:.1f} order messages for each executed order today; {most} lock what they come from"
        yield AlarmEvent(at=at, cause=LIMITS, code=MESSAGES_HIGH, text=text)
    sold = _liquidated(gate)
    if sold is not None and not ledger.warned(LIQUIDATION, sold.symbol, at):
        yield AlarmEvent(
            at=at, cause=LIMITS, code=LIQUIDATION, text=_liquidation_text(sold), symbol=sold.symbol
        )


_QUIET: Final = frozenset({
    LockKind.COOL_DOWN, LockKind.STOP_LOSS_GUARD, LockKind.LOW_PROFIT, LockKind.DRAWDOWN
})  # fmt: skip
"""Locks that belong to trading as it was meant: they close and open without an alarm."""
