"""What closed positions made, one by one and together. Commissions stand apart, as everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from protocol.position import ZERO
from protocol.position_record import plain
from protocol.values import Symbol


@attrs.frozen
class TradeResult:
    """What one closed position that executed anything made: dollars, `realized` without commissions."""

    symbol: Symbol
    trade: int
    closed_at: datetime
    realized: Decimal
    commission: Decimal


@attrs.frozen(kw_only=True)
class TradeSummary:
    """Dollars. A trade that made nothing either way is neither a winner nor a loser.

    None is what cannot be said: an average of no trades, a factor of no losses. `largest_loss` and
    `average_loss` are negative; `profit_factor` is what winners won over what losers lost, `expectancy`
    what a trade made on average; `max_drawdown` is the deepest fall of the realized curve from its
    highest point, in the order in which positions were closed.
    """

    trades: int = 0
    winners: int = 0
    losers: int = 0
    realized_pnl: Decimal = ZERO
    commission: Decimal = ZERO
    win_rate: float | None = None
    average_win: Decimal | None = None
    average_loss: Decimal | None = None
    profit_factor: float | None = None
    largest_win: Decimal | None = None
    largest_loss: Decimal | None = None
    expectancy: Decimal | None = None
    max_drawdown: Decimal = ZERO

    @property
    def net_pnl(self) -> Decimal:
        return self.realized_pnl - self.commission

    def to_dict(self) -> dict[str, Any]:
        own = {name: plain(value) for name, value in attrs.asdict(self).items()}
        return {**own, "net_pnl": plain(self.net_pnl)}


def summed_up(results: Iterable[TradeResult]) -> TradeSummary:
    """The summary of some trades, in the order in which they were closed."""
    realized, commission = list[Decimal](), ZERO
    for result in results:
        realized.append(result.realized)
        commission += result.commission
    if not realized:
        return TradeSummary()
    won, lost = [made for made in realized if made > 0], [made for made in realized if made < 0]
    total = sum(realized, ZERO)
    return TradeSummary(
        trades=len(realized),
        winners=len(won),
        losers=len(lost),
        realized_pnl=total,
        commission=commission,
        win_rate=len(won) / len(realized),
        average_win=_mean(won),
        average_loss=_mean(lost),
        profit_factor=float(sum(won, ZERO) / -sum(lost, ZERO)) if lost else None,
        largest_win=max(won, default=None),
        largest_loss=min(lost, default=None),
        expectancy=total / len(realized),
        max_drawdown=_deepest_fall(realized),
    )


def _mean(amounts: list[Decimal]) -> Decimal | None:
    return sum(amounts, ZERO) / len(amounts) if amounts else None


def _deepest_fall(realized: list[Decimal]) -> Decimal:
    reached = highest = deepest = ZERO
    for made in realized:
        reached += made
        highest = max(highest, reached)
        deepest = max(deepest, highest - reached)
    return deepest
