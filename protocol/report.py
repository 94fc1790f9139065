"""The report of a run: the journal's books beside the broker's, ready to be written as JSON.

Money is text, exact to a millionth of a dollar. `symbols` and `totals` come from the journal alone and
`broker` from the broker alone, so that `disagreements` compares two things that never met before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

import attrs
import orjson

from protocol.books import JournalBooks, OrderCounts, SignalCounts, SymbolBooks, SymbolSummary
from protocol.journal_checks import Invariants
from protocol.values import Symbol

_MICRO_DOLLAR = Decimal("0.000001")
_CENT = Decimal("0.01")
_TOLERANCE = Decimal("0.005")
"""Less than half a cent apart is the same money: averages of partial closes need not end."""


@attrs.frozen
class BrokerBooks:
    """What the broker says at the end: in a simulation, the venue's own books."""

    symbols: tuple[SymbolBooks, ...]
    open_orders: int


@attrs.frozen
class Kill:
    """One injected death of a symbol actor. `ready_after_ms` is None when it never came back."""

    symbol: Symbol
    at: datetime
    position: int
    ready_after_ms: float | None


@attrs.frozen
class MailboxCounts:
    """`offered` is everything that came: handled, merged into another tick, dropped, or still waiting."""

    offered: int = 0
    handled: int = 0
    conflated: int = 0
    dropped: int = 0


@attrs.frozen
class Percentiles:
    """Microseconds."""

    p50: float
    p99: float


@attrs.frozen
class RunFacts:
    """What the journal does not know about its own run. Mappings by symbol may leave symbols out."""

    mode: str
    exit: str
    market_from: datetime | None = None
    market_to: datetime | None = None
    broker: BrokerBooks | None = None
    """None when there was nobody left to ask."""
    kills: tuple[Kill, ...] = ()
    invariants: Invariants = attrs.field(factory=Invariants)
    tick_to_symbol: Percentiles | None = None
    signal_to_wire: Percentiles | None = None
    mailboxes: Mapping[Symbol, MailboxCounts] = attrs.field(factory=dict)
    max_uncovered_s: Mapping[Symbol, float] = attrs.field(factory=dict)


def report(books: JournalBooks, facts: RunFacts) -> dict[str, object]:
    """The report as plain data; `to_json` writes it."""
    ours = tuple(summary.books for summary in books.symbols)
    return {
        "mode": facts.mode,
        "market": {"from": _time(facts.market_from), "to": _time(facts.market_to)},
        "exit": facts.exit,
        "symbols": {summary.symbol: _symbol(summary, facts) for summary in books.symbols},
        "totals": {
            "signals": _signals(books.signals),
            "orders": _orders(books.orders),
            "executions": sum(side.executions for side in ours),
            "trades": sum(summary.trades for summary in books.symbols),
            "realized_pnl": _money(total(side.realized_pnl for side in ours)),
            "commission": _money(total(side.commission for side in ours)),
            "restarts": sum(summary.restarts for summary in books.symbols),
        },
        "broker": None if facts.broker is None else _broker(facts.broker),
        "kills": [_kill(kill) for kill in facts.kills],
        "invariants": {
            "checked": facts.invariants.checked,
            "violations": [
                {"invariant": found.invariant, "at": _time(found.at), "what": found.what}
                for found in facts.invariants.violations
            ],
        },
        "latency_us": {
            "tick_to_symbol": _percentiles(facts.tick_to_symbol),
            "signal_to_wire": _percentiles(facts.signal_to_wire),
        },
    }


def to_json(content: Mapping[str, object]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


# --- do the two sides agree? ----------------------------------------------------------------------


def disagreements(books: JournalBooks, broker: BrokerBooks) -> tuple[str, ...]:
    """Every difference between the journal and the broker, a sentence each; empty when they agree."""
    ours = {summary.symbol: summary.books for summary in books.symbols}
    theirs = {side.symbol: side for side in broker.symbols}
    found: list[str] = []
    for symbol in dict.fromkeys((*ours, *theirs)):
        nothing = SymbolBooks(symbol, 0, 0, Decimal(0), Decimal(0))
        found += _differences(symbol, ours.get(symbol, nothing), theirs.get(symbol, nothing))
    found += _differences("all symbols", _sum(tuple(ours.values())), _sum(tuple(theirs.values())))
    return tuple(found)


def _differences(whose: str, ours: SymbolBooks, theirs: SymbolBooks) -> list[str]:
    found = []
    if ours.position != theirs.position:
        found.append(
            f"{whose}: the journal holds {ours.position:+d} shares, the broker {theirs.position:+d}."
        )
    if ours.executions != theirs.executions:
        found.append(
            f"{whose}: the journal knows {ours.executions} executions, the broker {theirs.executions}."
        )
    for what, one, other in (
        ("realized P&L", ours.realized_pnl, theirs.realized_pnl),
        ("commission", ours.commission, theirs.commission),
    ):
        if one is not None and other is not None and abs(one - other) >= _TOLERANCE:
            found.append(f"{whose}: the journal's {what} is {dollars(one)}, the broker's {dollars(other)}.")
    return found


def _sum(sides: tuple[SymbolBooks, ...]) -> SymbolBooks:
    return SymbolBooks(
        symbol=Symbol(""),
        position=sum(side.position for side in sides),
        executions=sum(side.executions for side in sides),
        realized_pnl=total(side.realized_pnl for side in sides),
        commission=total(side.commission for side in sides),
    )


# --- plain data -----------------------------------------------------------------------------------


def _symbol(summary: SymbolSummary, facts: RunFacts) -> dict[str, object]:
    mailbox = facts.mailboxes.get(summary.symbol, MailboxCounts())
    return {
        "state": summary.state,
        "restarts": summary.restarts,
        "signals": _signals(summary.signals),
        "orders": _orders(summary.orders),
        "executions": summary.books.executions,
        "trades": summary.trades,
        "position": summary.books.position,
        "realized_pnl": _money(summary.books.realized_pnl),
        "commission": _money(summary.books.commission),
        "max_uncovered_s": facts.max_uncovered_s.get(summary.symbol, 0.0),
        "mailbox": {
            "in": mailbox.offered,
            "handled": mailbox.handled,
            "conflated": mailbox.conflated,
            "dropped": mailbox.dropped,
        },
    }


def _broker(broker: BrokerBooks) -> dict[str, object]:
    both = _sum(broker.symbols)
    return {
        "positions": {side.symbol: side.position for side in broker.symbols},
        "executions": both.executions,
        "realized_pnl": _money(both.realized_pnl),
        "commission": _money(both.commission),
        "open_orders": broker.open_orders,
    }


def _kill(kill: Kill) -> dict[str, object]:
    return {
        "symbol": kill.symbol,
        "at": _time(kill.at),
        "position": kill.position,
        "ready_after_ms": kill.ready_after_ms,
    }


def _signals(counts: SignalCounts) -> dict[str, int]:
    return {
        "received": counts.received,
        "accepted": counts.accepted,
        "ignored": counts.ignored,
        "refused": counts.refused,
    }


def _orders(counts: OrderCounts) -> dict[str, int]:
    return {
        "placed": counts.placed,
        "modified": counts.modified,
        "filled": counts.filled,
        "cancelled": counts.cancelled,
        "rejected": counts.rejected,
    }


def _percentiles(found: Percentiles | None) -> dict[str, float | None]:
    return {"p50": None, "p99": None} if found is None else {"p50": found.p50, "p99": found.p99}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def _money(amount: Decimal | None) -> str | None:
    """At least cents, at most millionths: `12.30`, `0.351250` as `0.35125`."""
    if amount is None:
        return None
    exact = amount.quantize(_MICRO_DOLLAR).normalize()
    places = exact.as_tuple().exponent
    return format(exact if isinstance(places, int) and places < -2 else exact.quantize(_CENT), "f")


def dollars(amount: Decimal) -> str:
    """For people: cents, with the sign in front of the dollar sign: `-$12.30`."""
    cents = amount.quantize(_CENT)
    return f"-${-cents:,.2f}" if cents < 0 else f"${abs(cents):,.2f}"


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; None when one of them is not known, because then neither is the sum."""
    summed = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        summed += amount
    return summed
