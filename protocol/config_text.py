"""Settings in sentences: what would run, for `--check` and for the first lines of a run. No secrets."""

from __future__ import annotations

from typing import assert_never

from protocol.config import config_hash
from protocol.config_alerts import describe_channel
from protocol.config_log import describe_log
from protocol.config_risk import describe_risk
from protocol.config_rules_text import describe_rule, describe_sizing
from protocol.settings import LogSettings, Settings, StockFacts
from protocol.source_settings import (
    FileSource,
    FlowThreshold,
    HttpSource,
    Source,
    WebhookSource,
    WebSocketSource,
)

_SHOWN_OF_ACCOUNT = 2
"""The letters that tell paper from live; the number is nobody's business in a log."""


def describe(settings: Settings) -> tuple[str, ...]:
    """One line for each part of the settings, each symbol and each rule."""
    broker, schedule, risk = settings.broker, settings.schedule, settings.risk
    account = f"{broker.account[:_SHOWN_OF_ACCOUNT]}…" if broker.account else "the only one of the session"
    return (
        f"broker: {broker.mode.value}, {broker.host}:{broker.port}, client {broker.client_id}, "
        f"account {account}",
        *(f"signals: {_source(source)}" for source in settings.sources),
        *(f"threshold {_threshold(threshold)}" for threshold in settings.thresholds),
        f"schedule: {schedule.open:%H:%M} to {schedule.close:%H:%M} {schedule.zone} ({schedule.calendar}), "
        f"no entries after {schedule.no_entries_after:%H:%M}, flat at {schedule.flatten:%H:%M}",
        f"ATR: {settings.atr.period} bars of {settings.atr.bar_s} s",
        *describe_risk(risk),
        *(
            f"symbol {entry.symbol}: {describe_sizing(entry.sizing)}{describe_facts(entry.facts)}"
            for entry in settings.symbols
        ),
        *(f"rule {rule.name}: {describe_rule(rule)}" for rule in settings.rules),
        *(f"alerts {describe_channel(channel)}" for channel in settings.alerts),
        *([] if settings.log == LogSettings() else [describe_log(settings.log)]),
        f"configuration {config_hash(settings)[:12]}",
    )


def describe_facts(facts: StockFacts) -> str:
    """What is known of a stock, as the end of a sentence; "" for nothing."""
    known = [
        facts.sector,
        "" if facts.beta is None else f"beta {facts.beta:g}",
        "" if facts.average_volume is None else f"{facts.average_volume:,} shares a day",
        "" if facts.market_cap is None else f"market cap ${facts.market_cap:,}",
    ]
    told = ", ".join(filter(None, known))
    return f" ({told})" if told else ""


def _source(source: Source) -> str:
    match source:
        case HttpSource():
            where = f"from {source.url or 'the embedded server'} every {source.poll_s:g} s"
            also = [data for data, on in (("trades", source.trades), ("divergence", source.divergence)) if on]
            where += f" with {' and '.join(also)}" if also else ""
        case WebSocketSource():
            where = f"pushed by {source.url}"
        case WebhookSource():
            where = f"posted to {source.host}:{source.port}{source.path}, scheme {source.scheme}"
        case FileSource():
            where = f"from the file {source.path}"
        case _:
            assert_never(source)
    return f"{source.name} {where}, confidence from {source.min_confidence:g}"


def _threshold(threshold: FlowThreshold) -> str:
    whose = f" of {', '.join(threshold.symbols)}" if threshold.symbols else ""
    way = "over" if threshold.above else "under"
    return f"{threshold.name}: {threshold.field} of {threshold.data}{whose} goes {way} {threshold.limit:g}"
