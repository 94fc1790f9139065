"""The limits of the configuration's `[risk]`: typed, frozen, in dollars (`Decimal`) and plain fractions.

The numbers R1 to R23 are those of the table in `protocol/risk/README.md`, which names the source of each
rule. A limit that is None is not applied. Limits can be made tighter while the system runs, never looser.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.values import Symbol


@attrs.frozen
class CoolDown:
    """After a trade of a symbol has closed, its next entry waits `lock_s`."""

    lock_s: float = 300.0


@attrs.frozen
class StopLossGuard:
    """`trades` stop-outs within `window_s` lock the symbol, or all with `everything`, for `lock_s`."""

    trades: int = 4
    window_s: float = 3600.0
    lock_s: float = 1800.0
    everything: bool = False


@attrs.frozen
class DrawdownGuard:
    """The account fell by `fraction` from its best result within `window_s`: all entries wait `lock_s`.

    Counted over closed trades once there are `trades` of them in the window, as a part of the equity.
    """

    fraction: float = 0.05
    trades: int = 4
    window_s: float = 86_400.0
    lock_s: float = 3600.0


@attrs.frozen
class LowProfitLock:
    """A symbol waits `lock_s` when its last `trades` trades within `window_s` made less than `profit`."""

    profit: Decimal = Decimal(0)
    trades: int = 4
    window_s: float = 86_400.0
    lock_s: float = 3600.0


Protection: TypeAlias = CoolDown | StopLossGuard | DrawdownGuard | LowProfitLock
"""What traders know as protections: locks that close by themselves after a bad stretch, and open again."""


@attrs.frozen
class RiskLimits:
    """Pre-trade limits; each has a refusal with its own code. Dollars are `Decimal`."""

    # R1: one order
    max_order_quantity: int = 10_000
    max_order_notional: Decimal = Decimal(50_000)
    # R2: one symbol, all its working orders filled; beside it the trade's own plan is always a limit
    max_position_quantity: int | None = None
    max_position_notional: Decimal | None = None
    # R3: the account, all working orders filled
    max_gross: float | None = 4.0
    """Times the equity: the sum of all positions without their signs."""
    max_net: float | None = 2.0
    """Times the equity: the sum of all positions with their signs."""
    max_sector: float | None = None
    """Times the equity: gross, of the symbols of one sector (`[[symbols]] sector`)."""
    max_positions: int = 30
    """Symbols with a position or an entry at work."""
    # R4: prices
    min_stop_distance: float = 0.001
    """Fraction of the price."""
    min_stop_ticks: int = 2
    max_stop_distance: float = 0.15
    price_collar: float = 0.03
    """How far from the last good quote the price of an entry or a closing limit may reach."""
    flatten_collar: float = 0.10
    """The same for exits: wider, since a position must be closed also in a market that runs away."""
    # R5: fills against the market over time
    max_fill_deviation: float = 0.05
    fill_window_s: float = 300.0
    # R6: the quote
    max_quote_age_s: float = 5.0
    quote_age_allowance_loop_s: float = 0.05
    """What our own machine may add to a quote's age; at `--speed` X it counts X times in market time."""
    max_spread: float = 0.01
    # R7
    repeat_guard_s: float = 2.0
    """Two main entries of one symbol are never closer than this."""
    max_entry_age_s: float = 30.0
    """An entry that still works after this long is cancelled."""
    # R9: messages of the machine's clock
    max_order_messages: int = 40
    """For one symbol within `message_window_s`: what opens or enlarges a position counts against it
    and waits for nothing; cancels and changes of exits count and are never refused."""
    max_entries: int = 10
    """Placements and changes of entries for one symbol within `message_window_s`."""
    message_window_s: float = 10.0
    # R10
    max_round_trips: int = 30
    """Of one symbol within an hour of market time; with one more it is locked until a person lifts it."""
    max_stop_outs_in_a_row: int = 3
    """The same."""
    # R11
    max_rejects: int = 3
    """Orders of one symbol that the broker refused within `reject_window_s`; then it is locked."""
    max_rejects_in_all: int = 10
    reject_window_s: float = 600.0
    # R12
    max_daily_loss_of_symbol: Decimal = Decimal(500)
    """Realized and open together; then it is locked for the day and flattened."""
    daily_loss_reduce: float = 0.015
    """Part of the day's first equity; then kill level REDUCE."""
    daily_loss_halt: float = 0.02
    """The same; then kill level FLATTEN."""
    max_drawdown: float | None = None
    """Part of the best equity of the day; then kill level REDUCE."""
    # R13
    max_messages_per_execution: int = 20
    """Of the account in a day, once there are a hundred messages (IB's order efficiency ratio); then the
    symbols that are over it by themselves are locked for the day."""
    # R16
    restricted: tuple[Symbol, ...] = ()
    """Never entered."""
    currency: str = "USD"
    # R18
    min_excess_liquidity: float = 0.2
    """Part of the equity that must be left after an entry, by the margin that it is reckoned to take."""
    initial_margin: float = 0.5
    """Part of an entry's worth that it is reckoned to take (Regulation T: a half)."""
    protections: tuple[Protection, ...] = ()
