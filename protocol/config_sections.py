"""The sections of the configuration that are single tables: broker, signals, schedule, indicators."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from protocol.config_reading import (
    POSITIVE,
    Range,
    Table,
    suggest,
)
from protocol.settings import Atr, BrokerSettings, Mode, Schedule

LIVE_PORTS = frozenset({7496, 4001})
"""TWS and IB Gateway with a live account, as installed (paper: 7497 and 4002)."""
PAPER_ACCOUNT = "DU"
"""What the number of every paper account begins with."""

ATR_BARS: Mapping[str, int] = {
    "1 secs": 1,
    "5 secs": 5,
    "10 secs": 10,
    "15 secs": 15,
    "30 secs": 30,
    "1 min": 60,
    "2 mins": 120,
    "3 mins": 180,
    "5 mins": 300,
    "10 mins": 600,
    "15 mins": 900,
    "20 mins": 1200,
    "30 mins": 1800,
    "1 hour": 3600,
}
"""The bar sizes an ATR can be asked for, by TWS's names for historical bars, in seconds."""


def read_broker(table: Table, *, live: bool) -> BrokerSettings:
    """Where TWS is and who we are there. Live trading needs four things that agree (`_check_mode`)."""
    default = BrokerSettings()
    before = table.fault_count
    settings = BrokerSettings(
        host=table.text("host", default.host),
        port=table.integer("port", default.port, Range(Decimal(1), Decimal(65535))),
        client_id=table.integer("client_id", default.client_id, Range(Decimal(0), Decimal(2**31 - 1))),
        account=table.text("account", default.account),
        mode=table.choice("mode", default.mode, Mode),
        connect_timeout_loop_s=table.number(
            "connect_timeout_loop_s", default.connect_timeout_loop_s, POSITIVE
        ),
        handshake_timeout_loop_s=table.number(
            "handshake_timeout_loop_s", default.handshake_timeout_loop_s, POSITIVE
        ),
        heartbeat_loop_s=table.number("heartbeat_loop_s", default.heartbeat_loop_s, POSITIVE),
        max_messages_per_s=table.integer(
            "max_messages_per_s", default.max_messages_per_s, Range(Decimal(1), Decimal(50))
        ),
        restart_at=_restart_at(table, default.restart_at),
    )
    table.close()
    if table.fault_count == before:
        _check_mode(table, settings, live=live)
    return settings


def _restart_at(table: Table, default: time | None) -> time | None:
    """A time of day, or nothing where TWS does not restart by itself or nobody knows when."""
    if table.value("restart_at") in ("", None) and table.has("restart_at"):
        return None
    return default if default is None else table.time_of_day("restart_at", default)


def _check_mode(table: Table, settings: BrokerSettings, *, live: bool) -> None:
    """Mode, port, account and the flag must agree, so that no single slip trades real money."""
    paper_account = settings.account.upper().startswith(PAPER_ACCOUNT)
    live_ports = " or ".join(str(port) for port in sorted(LIVE_PORTS, reverse=True))
    match settings.mode:
        case Mode.LIVE:
            if settings.port not in LIVE_PORTS:
                table.fault("port", f"{settings.port} is no live port; live trading needs {live_ports}")
            if not settings.account:
                table.fault("account", "is missing: live trading names its account")
            elif paper_account:
                table.fault("account", f'"{PAPER_ACCOUNT}…" is a paper account, and mode is "live"')
            if not live:
                table.fault("mode", '"live" also needs the option --live')
        case Mode.PAPER:
            if settings.port in LIVE_PORTS:
                table.fault("port", f'{settings.port} is a live port, and mode is "paper"')
            if settings.account and not paper_account:
                table.fault("account", f'does not begin with {PAPER_ACCOUNT}, and mode is "paper"')
            if live:
                table.fault("mode", 'is "paper", but --live was given')


def read_schedule(table: Table) -> Schedule:
    """The trading day, in wall times of `zone`, in the order in which they come."""
    default = Schedule()
    before = table.fault_count
    schedule = Schedule(
        open=table.time_of_day("open", default.open),
        close=table.time_of_day("close", default.close),
        no_entries_after=table.time_of_day("no_entries_after", default.no_entries_after),
        flatten=table.time_of_day("flatten", default.flatten),
        zone=table.text("zone", default.zone),
        calendar=table.text("calendar", default.calendar),
    )
    try:
        ZoneInfo(schedule.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        table.expected("zone", 'a time zone like "America/New_York"')
    if schedule.calendar != default.calendar:
        table.fault("calendar", f'"{schedule.calendar}" is not in this version; it knows: {default.calendar}')
    table.close()
    if table.fault_count == before:
        _check_order(table, schedule)
    return schedule


def _check_order(table: Table, schedule: Schedule) -> None:
    if schedule.open >= schedule.close:
        table.fault("open", f"{schedule.open:%H:%M} is not before close {schedule.close:%H:%M}")
        return
    if not schedule.open < schedule.no_entries_after <= schedule.flatten:
        table.fault(
            "no_entries_after",
            f"{schedule.no_entries_after:%H:%M} must lie after open {schedule.open:%H:%M} "
            f"and not after flatten {schedule.flatten:%H:%M}",
        )
    if not schedule.open < schedule.flatten < schedule.close:
        table.fault(
            "flatten",
            f"{schedule.flatten:%H:%M} must lie between open {schedule.open:%H:%M} "
            f"and close {schedule.close:%H:%M}",
        )


def read_indicators(table: Table) -> Atr:
    """`atr_period` bars of size `atr_bar`, which is one of TWS's names in `ATR_BARS`."""
    default = Atr()
    period = table.integer("atr_period", default.period, Range(Decimal(1), Decimal(500)))
    bar_s = default.bar_s
    name = table.text("atr_bar", "1 min")
    if name in ATR_BARS:
        bar_s = ATR_BARS[name]
    else:
        table.fault("atr_bar", f'no bar size "{name}"{suggest(name, tuple(ATR_BARS))}')
    table.close()
    return Atr(period=period, bar_s=bar_s)
