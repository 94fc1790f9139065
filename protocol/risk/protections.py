"""Locks that close by themselves after a bad stretch and open again: what the protections demand.

The meaning of each is that of freqtrade's protections (Cooldown Period, Stoploss Guard, Max Drawdown, Low
Profit Pairs), which traders know; a lock counts from the close of the trade that led to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import assert_never

import attrs

from protocol.risk.ledger import ACCOUNT, Ledger, TradeResult
from protocol.risk.settings import (
    CoolDown,
    DrawdownGuard,
    LowProfitLock,
    Protection,
    StopLossGuard,
)
from protocol.risk.words import LockKind
from protocol.values import Symbol


@attrs.frozen
class WantedLock:
    """A lock that the state of things demands. `symbol` empty: of the account; `until` None: a person."""

    symbol: str
    kind: LockKind
    reason: str
    until: datetime | None = None


def wanted_locks(
    protections: Sequence[Protection], ledger: Ledger, at: datetime, *, equity: Decimal | None
) -> tuple[WantedLock, ...]:
    """What the protections demand at `at` and have not got yet: of each kind and symbol the longest.

    The trade that leads to a lock leads to one only: it does not come back when it has expired or been
    lifted, but with the next trade. `equity` is the day's first, in dollars; unknown, no drawdown is
    measured.
    """
    found: dict[tuple[LockKind, str], WantedLock] = {}
    for protection in protections:
        for wanted in _wanted_by(protection, ledger, ledger.symbols, at, equity):
            longest = found.setdefault((wanted.kind, wanted.symbol), wanted)
            if wanted.until is not None and longest.until is not None and wanted.until > longest.until:
                found[wanted.kind, wanted.symbol] = wanted
    return tuple(found.values())


def lock_wanted_on(
    protections: Sequence[Protection], ledger: Ledger, symbol: Symbol, at: datetime, *, equity: Decimal | None
) -> WantedLock | None:
    """The same for one symbol: what holds its entries already, though its lock is not in the journal yet.

    Between the event that closes a trade and the lock that follows from it, a reversal could slip through.
    """
    for protection in protections:
        for wanted in _wanted_by(protection, ledger, (symbol,), at, equity):
            return wanted
    return None


def _wanted_by(
    protection: Protection, ledger: Ledger, symbols: Iterable[Symbol], at: datetime, equity: Decimal | None
) -> Iterator[WantedLock]:
    match protection:
        case CoolDown():
            for symbol in symbols:
                yield from _cool_down(protection, ledger, symbol, at)
        case StopLossGuard():
            for name in (ACCOUNT,) if protection.everything else symbols:
                yield from _stop_loss_guard(protection, ledger, name, at)
        case DrawdownGuard():
            if equity is not None and equity > 0:
                yield from _drawdown_guard(protection, ledger, at, equity)
        case LowProfitLock():
            for symbol in symbols:
                yield from _low_profit(protection, ledger, symbol, at)
        case _:
            assert_never(protection)


def _cool_down(guard: CoolDown, ledger: Ledger, symbol: Symbol, at: datetime) -> Iterator[WantedLock]:
    closed = ledger.results(symbol, at - timedelta(seconds=guard.lock_s))
    reason = f"a trade has closed; the next one waits {guard.lock_s:g} s"
    yield from _after_last(closed, ledger, LockKind.COOL_DOWN, symbol, reason, guard.lock_s, at)


def _stop_loss_guard(guard: StopLossGuard, ledger: Ledger, name: str, at: datetime) -> Iterator[WantedLock]:
    trades = ledger.results(name, at - timedelta(seconds=guard.window_s))
    stopped = tuple(trade for trade in trades if trade.stopped_out)
    if len(stopped) >= guard.trades:
        reason = f"{len(stopped)} trades were stopped out within {guard.window_s:g} s"
        yield from _after_last(stopped, ledger, LockKind.STOP_LOSS_GUARD, name, reason, guard.lock_s, at)


def _drawdown_guard(
    guard: DrawdownGuard, ledger: Ledger, at: datetime, equity: Decimal
) -> Iterator[WantedLock]:
    trades = ledger.results(ACCOUNT, at - timedelta(seconds=guard.window_s))
    if len(trades) < guard.trades:
        return
    made = best = Decimal(0)
    for trade in trades:
        made += trade.pnl
        best = max(best, made)
    if best - made >= Decimal(repr(guard.fraction)) * equity:
        reason = (
            f"closed trades are ${best - made:.2f} below their best within {guard.window_s:g} s, "
            f"at least {guard.fraction:.3g} of the equity"
        )
        yield from _after_last(trades, ledger, LockKind.DRAWDOWN, ACCOUNT, reason, guard.lock_s, at)


def _low_profit(guard: LowProfitLock, ledger: Ledger, symbol: Symbol, at: datetime) -> Iterator[WantedLock]:
    trades = ledger.results(symbol, at - timedelta(seconds=guard.window_s))[-guard.trades :]
    made = sum((trade.pnl for trade in trades), Decimal(0))
    if len(trades) >= guard.trades and made < guard.profit:
        reason = f"the last {len(trades)} trades made ${made:.2f}, less than ${guard.profit}"
        yield from _after_last(trades, ledger, LockKind.LOW_PROFIT, symbol, reason, guard.lock_s, at)


def _after_last(
    trades: Sequence[TradeResult], ledger: Ledger, kind: LockKind, name: str, reason: str, lock_s: float,
    at: datetime,
) -> Iterator[WantedLock]:  # fmt: skip
    """A lock from the last of the trades on, unless it has been put on for that trade, or would be over."""
    if not trades:
        return
    last, locked = trades[-1].at, ledger.locked_at(kind.value, name)
    until = last + timedelta(seconds=lock_s)
    if until > at and (locked is None or locked < last):
        yield WantedLock(name, kind, reason, until)
