"""Settings in sentences: what would run, for `--check` and for the first lines of a run. No secrets."""

from __future__ import annotations

from protocol.config import config_hash
from protocol.settings import (
    Allocation,
    AtrMultiple,
    Distance,
    HttpSource,
    Percent,
    RiskFraction,
    Rule,
    Settings,
    Shares,
    Sizing,
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
        f"schedule: {schedule.open:%H:%M} to {schedule.close:%H:%M} {schedule.zone} ({schedule.calendar}), "
        f"no entries after {schedule.no_entries_after:%H:%M}, flat at {schedule.flatten:%H:%M}",
        f"ATR: {settings.atr.period} bars of {settings.atr.bar_s} s",
        f"risk: at most {risk.max_order_quantity} shares and ${risk.max_order_notional} an order",
        *(f"symbol {entry.symbol}: {_sizing(entry.sizing)}" for entry in settings.symbols),
        *(f"rule {rule.name}: {_rule(rule)}" for rule in settings.rules),
        f"configuration {config_hash(settings)[:12]}",
    )


def _source(source: HttpSource) -> str:
    where = source.url or "the embedded server"
    return f"{source.name} from {where} every {source.poll_s:g} s, confidence from {source.min_confidence:g}"


def _sizing(sizing: Sizing) -> str:
    match sizing:
        case Shares(quantity):
            return f"{quantity} shares an entry"
        case Allocation(dollars):
            return f"${dollars} an entry"
        case RiskFraction(fraction):
            return f"{fraction:.4g} of the equity at risk an entry"


def _rule(rule: Rule) -> str:
    whom = ", ".join(rule.symbols) if rule.symbols else "every symbol"
    target = "no target" if rule.then.target is None else f"target {_distance(rule.then.target)}"
    limit = "" if rule.max_per_day is None else f", at most {rule.max_per_day} a day"
    return (
        f"{' or '.join(rule.when.signals)} with confidence from {rule.when.min_confidence:g} enters "
        f"{rule.then.side.value} {whom}, stop {_distance(rule.then.stop)}, {target}, "
        f"on the opposite signal {rule.then.on_opposite.value}, cooldown {rule.cooldown_s:g} s{limit}"
    )


def _distance(distance: Distance) -> str:
    match distance:
        case Percent(fraction):
            return f"{fraction * 100:g} %"
        case AtrMultiple(multiple):
            return f"{multiple:g} ATR"
