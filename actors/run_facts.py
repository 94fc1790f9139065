"""What a run knows of itself at its end, beside its journal."""

from __future__ import annotations

from datetime import datetime

from actors.simulated_tws import SimulatedTws
from actors.system import TradingSystem
from protocol.books import SymbolBooks
from protocol.journal_checks import Invariants, Violation
from protocol.report import BrokerBooks, MailboxCounts, Percentiles, RunFacts
from protocol.session_latency import Latencies
from protocol.values import Symbol

MAX_UNCOVERED_S = 2.0
"""INV-01: no open position is without its stop for longer, in loop seconds of a link that is up."""


def broker_books(system: TradingSystem, sim: SimulatedTws | None) -> BrokerBooks:
    """The broker's side: the venue's own books, or what a TWS that is not ours last told each symbol."""
    if sim is not None:
        books = sim.books()
        return BrokerBooks(
            tuple(
                SymbolBooks(Symbol(symbol), one.position, one.executions, one.realized_pnl, one.commission)
                for symbol, one in books.items()
                if one.executions or Symbol(symbol) in system.symbols
            ),
            sum(one.open_orders for one in books.values()),
        )
    return BrokerBooks(
        tuple(
            SymbolBooks(symbol, actor.broker_position, actor.broker_executions, None, None)
            for symbol, actor in system.symbols.items()
        ),
        sum(actor.broker_orders for actor in system.symbols.values()),
    )


def gather_facts(
    system: TradingSystem,
    sim: SimulatedTws | None,
    *,
    exit_reason: str,
    began: datetime | None,
    ended: datetime,
    broker: BrokerBooks | None,
    checks: Invariants,
) -> RunFacts:
    """Everything for the report that only the running system knows; call it before the tree ends."""
    uncovered = {}
    if sim is not None:
        uncovered = {Symbol(symbol): one.max_uncovered_s for symbol, one in sim.books().items()}
    counts = {symbol: mailbox.counts for symbol, mailbox in system.mailboxes.items()}
    return RunFacts(
        mode="sim" if sim is not None else system.settings.broker.mode.value,
        exit=exit_reason,
        market_from=began,
        market_to=ended if sim is None else sim.market_now(),
        broker=broker,
        kills=system.kills.record(),
        invariants=checks + _protection(uncovered, ended),
        tick_to_symbol=_percentiles(system.broker.latencies.received_to_delivered),
        signal_to_wire=_percentiles(system.signal_to_wire),
        mailboxes={
            symbol: MailboxCounts(count.in_, count.handled, count.conflated, count.dropped)
            for symbol, count in counts.items()
        },
        max_uncovered_s=uncovered,
    )


def _protection(uncovered: dict[Symbol, float], at: datetime) -> Invariants:
    naked = tuple(
        Violation("INV-01", at, f"{symbol} was without its whole stop for {seconds:.2f} s")
        for symbol, seconds in uncovered.items()
        if seconds > MAX_UNCOVERED_S
    )
    return Invariants(len(uncovered), naked)


def _percentiles(found: Latencies) -> Percentiles | None:
    p50, p99 = found.percentile(0.5), found.percentile(0.99)
    if p50 is None or p99 is None:
        return None
    return Percentiles(round(p50 * 1e6, 1), round(p99 * 1e6, 1))
