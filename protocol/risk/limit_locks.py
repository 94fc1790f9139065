"""The locks that limits demand: R5, R10, R11, R12 of a symbol, and R13.

R5 looks at each fill of the last `fill_window_s` that lies more than `max_fill_deviation` from the market
of now: it was off the market, or the market has run that far in so short a time. Both stop the symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from protocol.position import ZERO
from protocol.risk.ledger import ACCOUNT, Ledger
from protocol.risk.protections import WantedLock
from protocol.risk.reckoning import Reckoning, Watched, exact, reference
from protocol.risk.settings import RiskLimits
from protocol.risk.words import LockKind, Surroundings
from protocol.values import Symbol

FEW_MESSAGES: Final = 100
"""Of a day: the ratio of so few says nothing yet (IB means programs that send thousands)."""
HOUR: Final = timedelta(hours=1)
LONG_AGO: Final = timedelta(days=3650)


def limit_locks(gate: Watched, around: Surroundings, day: Reckoning, at: datetime) -> Iterator[WantedLock]:
    limits, ledger = gate.standing.limits, gate.ledger
    yield from _messages(limits, ledger, at)
    few = min(limits.max_round_trips, limits.max_stop_outs_in_a_row)
    for symbol in ledger.symbols:
        entry = ledger.get(symbol)
        assert entry is not None
        # Nearly always there is nothing to look at, every second, for each symbol.
        if entry.fills and entry.fills[-1].at > at - timedelta(seconds=limits.fill_window_s):
            yield from _fills_off_market(limits, ledger, around, symbol, at)
        if len(entry.results) > few:
            yield from _repeated_trades(limits, ledger, symbol, at)
        if entry.refusals:
            yield from _refusals(limits, ledger, symbol, at)
        yield from loss_locks(gate, day, symbol, at=at)


def _fills_off_market(
    limits: RiskLimits, ledger: Ledger, around: Surroundings, symbol: Symbol, at: datetime
) -> Iterator[WantedLock]:
    """R5 (RTS 6 Art. 15(1)(a): price collars over time)."""
    fills = ledger.fills(symbol, _since(ledger, LockKind.FILLS_OFF_MARKET, symbol, at, limits.fill_window_s))
    quote = around.quote(symbol) if fills else None
    market = None if quote is None else reference(quote, limits)
    if market is None:
        return
    prices = [fill.price for fill in fills]
    most = exact(limits.max_fill_deviation) * market
    if max(prices) - market <= most and market - min(prices) <= most:
        return
    furthest = max(prices, key=lambda price: abs(price - market))
    off = abs(furthest - market) / market
    if off > exact(limits.max_fill_deviation):
        reason = (
            f"a fill at {furthest} within {limits.fill_window_s:g} s is {off:.1%} from the market at "
            f"{market}; the limit is {limits.max_fill_deviation:.1%}"
        )
        yield WantedLock(symbol, LockKind.FILLS_OFF_MARKET, reason)


def _repeated_trades(
    limits: RiskLimits, ledger: Ledger, symbol: Symbol, at: datetime
) -> Iterator[WantedLock]:
    """R10 (RTS 6 Art. 15(3): repeated automated execution throttle)."""
    kind = LockKind.REPEATED_TRADES
    trips = len(ledger.results(symbol, _since(ledger, kind, symbol, at, HOUR.total_seconds())))
    stopped = ledger.stop_outs_in_a_row(symbol, ledger.lifted_at(kind.value, symbol) or at - LONG_AGO)
    if trips > (most := limits.max_round_trips):
        reason = f"{trips} round trips within an hour, {most} are allowed (max_round_trips)"
        yield WantedLock(symbol, kind, reason)
    elif stopped > (most := limits.max_stop_outs_in_a_row):
        reason = f"{stopped} stop-outs in a row, {most} are allowed (max_stop_outs_in_a_row)"
        yield WantedLock(symbol, kind, reason)


def _refusals(limits: RiskLimits, ledger: Ledger, symbol: Symbol, at: datetime) -> Iterator[WantedLock]:
    """R11"""
    refused = ledger.refusals(symbol, _since(ledger, LockKind.REJECTS, symbol, at, limits.reject_window_s))
    if refused >= limits.max_rejects:
        reason = f"the broker refused {refused} orders within {limits.reject_window_s:g} s (max_rejects)"
        yield WantedLock(symbol, LockKind.REJECTS, reason)


def _messages(limits: RiskLimits, ledger: Ledger, at: datetime) -> Iterator[WantedLock]:
    """R13: the ratio is the account's, what it comes from are symbols, and the day is what IB reckons it of.

    A symbol that hardly trades and trails its stop is over it by itself, which nobody minds.
    """
    most = limits.max_messages_per_execution
    ratio = message_ratio(ledger, at)
    if ratio < most:
        return
    of = f"{ratio:.1f} order messages for each executed order of the account today"
    until, alone = ledger.day_end(at), True
    for symbol in ledger.symbols:
        own = ledger.messages_per_execution(symbol, at)
        if own >= most:
            alone = False
            reason = f"{of}, {own:.1f} of this symbol (max_messages_per_execution)"
            yield WantedLock(symbol, LockKind.MESSAGES, reason, until)
    if alone:
        yield WantedLock(ACCOUNT, LockKind.MESSAGES, f"{of} (max_messages_per_execution)", until)


def message_ratio(ledger: Ledger, at: datetime) -> float:
    """R13's ratio of the account; 0 while there are few messages."""
    messages, _ = ledger.messages_today(ACCOUNT, at)
    return 0.0 if messages < FEW_MESSAGES else ledger.messages_per_execution(ACCOUNT, at)


def loss_locks(gate: Watched, day: Reckoning, symbol: Symbol, *, at: datetime) -> Iterator[WantedLock]:
    """R12 of one symbol: the lock that its loss of the day demands, whether or not it holds already."""
    lost, most = -day.pnl.get(symbol, ZERO), gate.standing.limits.max_daily_loss_of_symbol
    if lost >= most:
        reason = f"{symbol} has lost ${lost:.2f} today, realized and open; the limit is ${most}"
        yield WantedLock(symbol, LockKind.DAILY_LOSS, reason, gate.ledger.day_end(at))


def _since(ledger: Ledger, kind: LockKind, symbol: str, at: datetime, window_s: float) -> datetime:
    """From when on things count: within the window, and after a lock for them was last lifted."""
    begins = at - timedelta(seconds=window_s)
    lifted = ledger.lifted_at(kind.value, symbol)
    return begins if lifted is None else max(begins, lifted)
