"""The sections of the configuration that are single tables: broker, signals, risk, schedule, indicators."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from protocol.config_reading import (
    COUNT,
    FRACTION,
    NOT_NEGATIVE,
    POSITIVE,
    PROBABILITY,
    Range,
    Table,
    suggest,
)
from protocol.risk.settings import RiskLimits
from protocol.settings import Atr, BrokerSettings, Mode, Schedule
from protocol.source_settings import HttpSource

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

_LATER_SOURCES = ("websocket", "webhook", "file")
_ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


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
    )
    table.close()
    if table.fault_count == before:
        _check_mode(table, settings, live=live)
    return settings


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


def read_sources(table: Table) -> tuple[HttpSource, ...]:
    """`[signals.NAME]`: one table for each source. Without any, the one that the embedded server feeds."""
    if not table.names:
        return (HttpSource(),)
    sources = []
    for name in table.names:
        inner = table.table(name)
        if inner is not None:
            sources.append(_read_source(name, inner))
    return tuple(sources)


def _read_source(name: str, table: Table) -> HttpSource:
    default = HttpSource()
    kind = table.text("kind", "http")
    if kind in _LATER_SOURCES:
        table.fault("kind", f'"{kind}" is not in this version; it knows: http')
    elif kind != "http":
        table.expected("kind", '"http"')
    for key in ("api_key", "key", "token", "password"):
        if key in table.names:
            table.refuse(key, "a secret does not belong here: name an environment variable in api_key_env")
    source = HttpSource(
        name=name,
        url=table.text("url", default.url).rstrip("/"),
        api_key_env=table.text("api_key_env", default.api_key_env),
        poll_s=table.number("poll_s", default.poll_s, POSITIVE),
        min_confidence=table.number("min_confidence", default.min_confidence, PROBABILITY),
        max_age_s=table.number("max_age_s", 0.0, POSITIVE) if table.has("max_age_s") else None,
    )
    if not _ENVIRONMENT_NAME.fullmatch(source.api_key_env):
        table.expected("api_key_env", "the name of an environment variable (A-Z, 0-9 and _)")
    _check_url(table, source.url)
    table.close()
    return source


def _check_url(table: Table, url: str) -> None:
    """Https, or http to this machine; the key travels in a header, never in the address."""
    if not url:
        return
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        table.expected("url", "an address like https://HOST/api/v1")
        return
    if parts.scheme not in ("http", "https") or not parts.hostname:
        table.expected("url", "an address like https://HOST/api/v1")
    elif parts.username or parts.password or parts.query or parts.fragment:
        table.fault("url", "holds more than an address; the key comes from the variable in api_key_env")
    elif parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        table.fault("url", "http is accepted for this machine only; use https")


def read_risk(table: Table) -> RiskLimits:
    """The pre-trade limits; the keys are the names in `RiskLimits`."""
    default = RiskLimits()
    before = table.fault_count
    limits = RiskLimits(
        max_order_quantity=table.integer("max_order_quantity", default.max_order_quantity, COUNT),
        max_order_notional=table.decimal("max_order_notional", default.max_order_notional, POSITIVE),
        max_quote_age_s=table.number("max_quote_age_s", default.max_quote_age_s, POSITIVE),
        quote_age_allowance_loop_s=table.number(
            "quote_age_allowance_loop_s", default.quote_age_allowance_loop_s, NOT_NEGATIVE
        ),
        max_spread=table.number("max_spread", default.max_spread, FRACTION),
        min_stop_distance=table.number("min_stop_distance", default.min_stop_distance, FRACTION),
        min_stop_ticks=table.integer("min_stop_ticks", default.min_stop_ticks, COUNT),
        max_stop_distance=table.number("max_stop_distance", default.max_stop_distance, FRACTION),
        price_collar=table.number("price_collar", default.price_collar, FRACTION),
        max_entry_age_s=table.number("max_entry_age_s", default.max_entry_age_s, POSITIVE),
        repeat_guard_s=table.number("repeat_guard_s", default.repeat_guard_s, NOT_NEGATIVE),
    )
    table.close()
    if table.fault_count == before and limits.min_stop_distance >= limits.max_stop_distance:
        table.fault(
            "min_stop_distance", f"must be less than max_stop_distance ({limits.max_stop_distance:g})"
        )
    return limits


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
