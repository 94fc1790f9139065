"""The account in figures: exposure, open risk, and how much of each limit is used."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import attrs

from protocol.control_events import LockEvent
from protocol.position import ZERO
from protocol.risk.book import RiskBook
from protocol.risk.exposure import AccountExposure, Exposure, open_risk
from protocol.risk.settings import RiskLimits
from protocol.risk.standing import Standing
from protocol.risk.words import AccountMoney, KillLevel
from protocol.values import Symbol, exact

ONE: Final = Decimal(1)


@attrs.frozen
class SymbolFigures:
    """A symbol that holds something or has an entry at work. Dollars are at `price`."""

    symbol: Symbol
    sector: str
    position: int
    worst_long: int
    """Shares, if everything that buys fills and nothing that sells."""
    worst_short: int
    price: Decimal
    worth: Decimal
    """Signed."""
    worst: Decimal
    """The larger end, without its sign."""
    open_risk: Decimal
    """What is lost from the present price when the stops fill where they stand."""
    uncovered: int
    """Shares without a stop; their whole worth is in `open_risk`."""


@attrs.frozen
class LimitFigure:
    """`used` is the part of the limit that is used: 1 at the limit, None where the value is not known."""

    control: str
    name: str
    """As the configuration calls it."""
    value: Decimal | None
    limit: Decimal
    of: str = ""
    """Whose limit it is, or of which sector; empty: the account's."""

    @property
    def used(self) -> float | None:
        if self.value is None:
            return None
        return float(self.value / self.limit) if self.limit else 0.0 if not self.value else float("inf")


@attrs.frozen
class RiskFigures:
    """`…_worst` is with all working orders filled, whichever way is the largest."""

    level: KillLevel
    locks: tuple[LockEvent, ...]
    equity: Decimal | None
    excess_liquidity: Decimal | None
    gross: Decimal
    gross_worst: Decimal
    net: Decimal
    net_worst: Decimal
    open_risk: Decimal
    positions: int
    symbols: tuple[SymbolFigures, ...]
    limits: tuple[LimitFigure, ...]

    def to_dict(self) -> dict[str, Any]:
        """For programs: money stays exact, as `Decimal`."""
        return {
            **attrs.asdict(self, recurse=False),
            "level": self.level.name,
            "locks": [lock.to_dict() for lock in self.locks],
            "symbols": [attrs.asdict(one) for one in self.symbols],
            "limits": [{**attrs.asdict(one), "used": one.used} for one in self.limits],
        }


def figures_of(
    standing: Standing, book: RiskBook, exposure: AccountExposure, money: AccountMoney, at: datetime
) -> RiskFigures:
    """What `exposure` and the account's figures come to under the limits that hold at `at`."""
    symbols = tuple(_of_symbol(book, one) for one in exposure.symbols.values())
    held = sum(1 for one in symbols if one.position)
    return RiskFigures(
        level=standing.level,
        locks=tuple(standing.locks(at)),
        equity=money.equity,
        excess_liquidity=money.excess_liquidity,
        gross=exposure.gross,
        gross_worst=exposure.worst_gross,
        net=exposure.net,
        net_worst=max(exposure.worst_long, -exposure.worst_short),
        open_risk=sum((one.open_risk for one in symbols), ZERO),
        positions=held,
        symbols=symbols,
        limits=(
            *_account_limits(standing.limits, exposure, money),
            *_symbol_limits(standing.limits, symbols),
        ),
    )


def _of_symbol(book: RiskBook, one: Exposure) -> SymbolFigures:
    risk = open_risk(book, one.symbol, one.price)
    return SymbolFigures(
        symbol=one.symbol,
        sector=one.sector,
        position=one.worst.held,
        worst_long=one.worst.highest,
        worst_short=one.worst.lowest,
        price=one.price,
        worth=one.net,
        worst=one.worst_gross,
        open_risk=risk.dollars,
        uncovered=risk.uncovered,
    )


def _account_limits(
    limits: RiskLimits, exposure: AccountExposure, money: AccountMoney
) -> Iterator[LimitFigure]:
    """R3 and R18, in dollars where the limit is a part of the equity; without equity there are none."""
    yield LimitFigure("R3", "max_positions", Decimal(len(exposure.symbols)), Decimal(limits.max_positions))
    equity = money.equity
    if equity is None or equity <= 0:
        return
    net = max(exposure.worst_long, -exposure.worst_short)
    for name, times, value in (
        ("max_gross", limits.max_gross, exposure.worst_gross), ("max_net", limits.max_net, net)
    ):  # fmt: skip
        if times is not None:
            yield LimitFigure("R3", name, value, exact(times) * equity)
    if limits.max_sector is not None:
        for sector in dict.fromkeys(one.sector for one in exposure.symbols.values() if one.sector):
            value = exposure.worst_of_sector(sector)
            yield LimitFigure("R3", "max_sector", value, exact(limits.max_sector) * equity, sector)
    if limits.min_excess_liquidity:
        spent = None if money.excess_liquidity is None else equity - money.excess_liquidity
        free = ONE - exact(limits.min_excess_liquidity)
        yield LimitFigure("R18", "min_excess_liquidity", spent, free * equity)


def _symbol_limits(limits: RiskLimits, symbols: tuple[SymbolFigures, ...]) -> Iterator[LimitFigure]:
    """R2's caps, of each symbol that holds something."""
    for one in symbols:
        if limits.max_position_quantity is not None:
            largest, most = max(one.worst_long, -one.worst_short), limits.max_position_quantity
            yield LimitFigure("R2", "max_position_quantity", Decimal(largest), Decimal(most), one.symbol)
        if limits.max_position_notional is not None:
            yield LimitFigure(
                "R2", "max_position_notional", one.worst, limits.max_position_notional, one.symbol
            )
