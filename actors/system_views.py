"""What the trading system shows of itself to those who look at it as a whole: holdings, health, custody."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import trio

from actors.child import ChildState
from actors.custodian import Custodian
from actors.portfolio import same_day
from actors.symbol import stream_of
from protocol.health import LINK, Health, link_health, name_of, symbol_health
from protocol.portfolio import Holding
from protocol.reports import LinkState
from protocol.risk.words import LockKind
from protocol.session import SILENCE_S
from protocol.values import OrderRef, OrderSpec, Side, Symbol

if TYPE_CHECKING:
    from actors.system import TradingSystem

SYMBOL_PREFIX: Final = "symbol:"
"""How the name of a symbol's actor begins."""
MANY_QUARANTINES, QUARANTINE_WINDOW_LOOP_S = 5, 600.0
"""So many within so long hold all entries."""


def holdings_of(system: TradingSystem, at: datetime) -> tuple[tuple[Holding, ...], Decimal | None]:
    """What the symbols hold now, and the account's equity, for the portfolio."""
    found, equity, zone = [], None, system.settings.schedule.zone
    for symbol, actor in system.symbols.items():
        position, trade = actor.state.position, actor.state.trade
        side = Side.BUY if position.quantity > 0 else Side.SELL
        made = [gain for ended, gain in actor.state.results if same_day(ended, at, zone)]
        if trade is not None:
            made.append(position.realized_pnl - trade.realized_before)
        mark = actor.view.mark(side)
        found.append(Holding(symbol, position.quantity, position.average_price, mark, sum(made, Decimal(0))))
        equity = equity if actor.view.equity is None else actor.view.equity
    return tuple(found), equity


class Quarantines:
    """Many symbols in quarantine have one cause that is not theirs: no entries until a person looks."""

    def __init__(self, system: TradingSystem) -> None:
        self._system = system
        self._times: list[float] = []

    def note(self, child_id: str) -> None:
        """A symbol's actor is shut away: the custodian sees to it, and five within ten minutes hold all."""
        system, now = self._system, trio.current_time()
        system.custodian.note_fall()
        self._times = [then for then in self._times if now - then <= QUARANTINE_WINDOW_LOOP_S]
        self._times.append(now)
        if len(self._times) == MANY_QUARANTINES:
            reason = f"{MANY_QUARANTINES} symbols went into quarantine, the last of them {child_id}"
            system.risk.lock("", kind=LockKind.QUARANTINE, reason=reason, who="supervisor")
            system.alarm("MANY_QUARANTINES", f"{reason}: no entries until a person lifts the lock")


def believed_positions(system: TradingSystem) -> dict[Symbol, int]:
    """Positions by the executions that the session has seen, of the symbols that have read their mail."""
    session = system.broker.session
    if session.state is not LinkState.UP:
        return {}
    return {
        symbol: session.books.executions.positions.get(symbol, 0)
        for symbol, actor in system.symbols.items()
        if actor.ready and not actor.mailbox.waiting
    }


def health_of(system: TradingSystem) -> dict[str, Health]:
    """How the link and each symbol are doing now, by subject."""
    broker, session, clock = system.broker, system.broker.session, system.clock
    window = session.resets.window(clock.now()) if clock.known else None
    found = {
        LINK: link_health(
            broker.state,
            broker.last_trouble,
            busy_id=broker.busy_id,
            severed=broker.severed,
            absence="" if window is None else window.name,
        )
    }
    if broker.state is LinkState.DOWN:
        return found  # Without a link nothing can be said of a symbol.
    silent = session.lines.silent(system.clock.now(), SILENCE_S)
    quarantined = {
        child.id for child in system.symbol_tree.which_children() if child.state is ChildState.QUARANTINED
    }
    for symbol, actor in system.symbols.items():
        found[name_of(symbol)] = symbol_health(
            session.quote(symbol),
            left_out=session.contracts.left_out.get(symbol, ""),
            held=actor.state.held,
            quarantined=SYMBOL_PREFIX + symbol in quarantined,
            silent=symbol in silent,
        )
    return found


def custodian_of(system: TradingSystem, instance: str) -> Custodian:
    """The custodian of its symbols, who sees them only as their supervisor and the broker session do."""

    def states() -> dict[Symbol, ChildState]:
        # One that has not begun to live yet is about to start, however long those before it take; one in
        # quarantine is not, however young its supervisor is.
        return {
            Symbol(child.id.removeprefix(SYMBOL_PREFIX)): (
                child.state if child.epoch or child.state is ChildState.QUARANTINED else ChildState.STARTING
            )
            for child in system.symbol_tree.which_children()
        }

    def spec_of(ref: OrderRef) -> OrderSpec | None:
        sent = system.broker.session.orders.get(ref)
        return None if sent is None else sent.asked

    return Custodian(
        states=states,
        spec_of=spec_of,
        epoch_of=system.broker.epoch_of,
        stream_of=stream_of,
        instance=instance,
        broker=system.broker_mailbox,
        journal=system.journal,
        clock=system.clock,
        schedule=system.settings.schedule,
        on_poison=system.mail.watch("custodian")[0],
    )
