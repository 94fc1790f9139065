"""What the user decides: the typed, frozen form of the configuration.

`config.py` makes these from TOML, environment and options and refuses what is wrong with it; every
other part takes exactly the piece that concerns it. Durations end in `_s` (market time) or `_loop_s`
(the machine's own clock); fractions end in `_pct` in the file and are plain fractions here (0.03 is 3 %).
"""

from __future__ import annotations

import enum
from datetime import time
from decimal import Decimal

import attrs

from protocol.alert_settings import AlertChannel
from protocol.risk.settings import RiskLimits
from protocol.rules.amounts import Allocation, RiskFraction, Sizing
from protocol.rules.rule import Rule, entries_of
from protocol.rules.used import facts_used
from protocol.source_settings import FlowThreshold, Source
from protocol.values import Symbol


@attrs.frozen
class Atr:
    """Average true range: `period` bars of `bar_s` seconds."""

    period: int = 14
    bar_s: int = 60


# --- when -----------------------------------------------------------------------------------------


@attrs.frozen
class Schedule:
    """The trading day of the exchange, as wall times of `zone`. `calendar` is the holiday calendar's name."""

    open: time = time(9, 30)
    close: time = time(16, 0)
    no_entries_after: time = time(15, 45)
    flatten: time = time(15, 59)
    zone: str = "America/New_York"
    calendar: str = "NYSE"


# --- the parts ------------------------------------------------------------------------------------


class Mode(enum.Enum):
    PAPER = "paper"
    LIVE = "live"


@attrs.frozen
class BrokerSettings:
    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 1
    account: str = ""
    """Empty: the only account that the broker manages, if it is one and a paper account."""
    mode: Mode = Mode.PAPER
    connect_timeout_loop_s: float = 30.0
    handshake_timeout_loop_s: float = 10.0
    heartbeat_loop_s: float = 5.0
    max_messages_per_s: int = 45
    """TWS allows 50 in any second of the machine's clock and disconnects beyond."""
    restart_at: time | None = time(23, 45)
    """When TWS restarts every day, in the schedule's zone; None: nobody knows."""


@attrs.frozen
class LogSettings:
    """The log of the programs: levels by part (`broker = "debug"`), a file of its own, and its bounds."""

    level: str = "info"
    levels: tuple[tuple[str, str], ...] = ()
    """(part, level): the name of a logger and what it lets through."""
    file: str = ""
    """Empty: standard error only. Beside it, a file that is rotated."""
    max_bytes: int = 50_000_000
    """Of one file; then the next one begins."""
    keep: int = 10
    """Rotated files that are kept."""
    max_per_key_per_min: int = 60
    """Lines of one event of one part within a minute; the rest is counted and told in one line."""


@attrs.frozen
class StockFacts:
    """What is known of a stock beyond its prices; shown with its positions, nothing trades by it."""

    sector: str = ""
    beta: float | None = None
    average_volume: int | None = None
    """Shares a day."""
    market_cap: Decimal | None = None
    """Dollars."""


@attrs.frozen
class SymbolSettings:
    symbol: Symbol
    sizing: Sizing = Allocation(Decimal(10_000))
    facts: StockFacts = StockFacts()


def wants_equity(settings: Settings) -> bool:
    """Whether anything is sized by the account's worth, or reads it."""
    sizes = [entry.sizing for entry in settings.symbols]
    for rule in settings.rules:
        sizes += [entry.sizing for entry in entries_of(rule.then) if entry.sizing is not None]
    return any(isinstance(sizing, RiskFraction) for sizing in sizes) or "equity" in facts_used(settings.rules)


@attrs.frozen
class Settings:
    broker: BrokerSettings
    sources: tuple[Source, ...]
    risk: RiskLimits
    schedule: Schedule
    symbols: tuple[SymbolSettings, ...]
    rules: tuple[Rule, ...]
    atr: Atr = Atr()
    journal_path: str = ""
    thresholds: tuple[FlowThreshold, ...] = ()
    alerts: tuple[AlertChannel, ...] = ()
    log: LogSettings = LogSettings()
