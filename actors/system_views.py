"""What the trading system shows of itself to those who look at it as a whole: holdings and health."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from actors.child import ChildState
from actors.portfolio import same_day
from protocol.health import LINK, Health, link_health, name_of, symbol_health
from protocol.portfolio import Holding
from protocol.reports import LinkState
from protocol.session import SILENCE_S
from protocol.values import Side

if TYPE_CHECKING:
    from actors.system import TradingSystem

SYMBOL_PREFIX: Final = "symbol:"
"""How the name of a symbol's actor begins."""


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


def health_of(system: TradingSystem) -> dict[str, Health]:
    """How the link and each symbol are doing now, by subject."""
    broker, session = system.broker, system.broker.session
    found = {
        LINK: link_health(broker.state, broker.last_trouble, busy_id=broker.busy_id, severed=broker.severed)
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
