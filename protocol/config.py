"""From what the user wrote to `Settings`: layers merged, checked as a whole, every fault said at once.

The rules of the file: defaults < files in order < environment < options. Tables merge key by key; a
list (`symbols`, `rules`) of a later layer replaces the earlier one. Durations in `…_s` are market time,
in `…_loop_s` the machine's clock. Unknown keys are faults. What is left out has the default
configuration: every symbol on offer with 10 000 dollars, BUY long, SELL and SHORT short, stop 3 %,
target 8 %.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from datetime import time
from decimal import Decimal

import attrs
import orjson

from protocol.config_alerts import read_alerts
from protocol.config_log import read_log
from protocol.config_reading import EnvironmentText, Table, as_table, is_table, suggest
from protocol.config_risk import check_restricted, read_risk
from protocol.config_rules import DEFAULT_RULES, hedges_of, read_rules, read_symbols
from protocol.config_rules_parts import DEFAULT_SIZING
from protocol.config_sections import read_broker, read_indicators, read_schedule
from protocol.config_sources import check_flow_rules, read_sources, read_thresholds
from protocol.risk.settings import RiskLimits
from protocol.rules.rule import Rule
from protocol.settings import BrokerSettings, Schedule, Settings, SymbolSettings
from protocol.source_settings import HttpSource
from protocol.values import Symbol

ENVIRONMENT_PREFIX = "RINGFENCE__"


class ConfigFaults(ValueError):
    """What the user wrote cannot run; `faults` says each thing that is wrong, with its path."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__(faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(self.faults)


def default_settings(symbols: Sequence[Symbol]) -> Settings:
    """What runs when nothing is configured."""
    return Settings(
        broker=BrokerSettings(),
        sources=(HttpSource(),),
        risk=RiskLimits(),
        schedule=Schedule(),
        symbols=tuple(SymbolSettings(symbol, DEFAULT_SIZING) for symbol in symbols),
        rules=DEFAULT_RULES,
    )


def resolve(
    layers: Sequence[Mapping[str, object]],
    *,
    offered: Sequence[Symbol] = (),
    only: Sequence[Symbol] = (),
    live: bool = False,
) -> Settings:
    """The settings that the layers, the first the weakest, make together.

    `offered` are the symbols of the market, traded when no layer lists any; `only` (option `--symbols`)
    narrows the result; `live` says that the user gave `--live`. Raises `ConfigFaults`.
    """
    faults: list[str] = []
    root = Table("", _merged(layers), faults)
    risk = read_risk(root.section("risk"))
    symbols = _read_traded(root, risk, offered, only)
    rules = _read_rules(root, symbols, risk)
    known = tuple(entry.symbol for entry in symbols)
    sources = read_sources(root.section("signals"), known)
    thresholds = read_thresholds(root, sources, known)
    check_flow_rules(root, rules, thresholds)
    journal = root.section("journal")
    settings = Settings(
        broker=read_broker(root.section("broker"), live=live),
        sources=sources,
        risk=risk,
        schedule=read_schedule(root.section("schedule")),
        symbols=symbols,
        rules=rules,
        atr=read_indicators(root.section("indicators")),
        journal_path=journal.text("path", ""),
        thresholds=thresholds,
        alerts=read_alerts(root.section("alerts")),
        log=read_log(root.section("log")),
    )
    journal.close()
    root.close()
    if only and not faults:
        settings = _narrowed(settings, only, faults)
    traded = tuple(entry for entry in settings.symbols if not only or entry.symbol in only)
    check_restricted(root.section("risk"), risk, traded)
    if faults:
        raise ConfigFaults(tuple(faults))
    return settings


def _read_traded(
    root: Table, risk: RiskLimits, offered: Sequence[Symbol], only: Sequence[Symbol]
) -> tuple[SymbolSettings, ...]:
    tables = root.tables("symbols")
    if tables:
        return read_symbols(tables, risk)
    if tables is not None and root.value("symbols") == []:
        root.fault("symbols", "is an empty list; leave it out for every symbol on offer")
    names = tuple(offered) or tuple(only)
    if not names and tables is None:
        root.fault("symbols", "no symbol to trade: list some as [[symbols]], or name them with --symbols")
    if DEFAULT_SIZING.dollars > risk.max_order_notional:
        root.fault(
            "symbols",
            f"the default allocation of {DEFAULT_SIZING.dollars} is over risk.max_order_notional "
            f"{risk.max_order_notional}; list the symbols with smaller ones",
        )
    return tuple(SymbolSettings(symbol, DEFAULT_SIZING) for symbol in names)


def _read_rules(root: Table, symbols: Sequence[SymbolSettings], risk: RiskLimits) -> tuple[Rule, ...]:
    tables = root.tables("rules")
    if tables is None:
        return DEFAULT_RULES
    if root.value("rules") == []:
        root.fault("rules", "is an empty list; leave it out for the default rules")
    return read_rules(tables, symbols, risk)


def _narrowed(settings: Settings, only: Sequence[Symbol], faults: list[str]) -> Settings:
    """The same, for some of the symbols. A rule for none of them goes: without symbols it would mean all."""
    known = [entry.symbol for entry in settings.symbols]
    for symbol in only:
        if symbol not in known:
            faults.append(f'--symbols: "{symbol}" is not among the symbols{suggest(symbol, known)}')
    kept: list[Rule] = []
    for rule in settings.rules:
        left = tuple(symbol for symbol in rule.symbols if symbol in only)
        if left or not rule.symbols:
            kept.append(attrs.evolve(rule, symbols=left))
    for rule in kept:
        for symbol in hedges_of(rule.then):
            if symbol not in only:
                faults.append(f'--symbols: rule "{rule.name}" hedges with {symbol}, which is left out')
    if not kept and not faults:
        faults.append(f"--symbols: no rule trades {' or '.join(only)}")
    return attrs.evolve(
        settings,
        symbols=tuple(entry for entry in settings.symbols if entry.symbol in only),
        rules=tuple(kept),
    )


# --- layers ---------------------------------------------------------------------------------------


def environment_layer(variables: Mapping[str, str]) -> Mapping[str, object]:
    """`RINGFENCE__BROKER__PORT=7497` as a layer; other variables are left alone.

    Raises `ConfigFaults` for a variable that names no key.
    """
    layer: dict[str, object] = {}
    faults: list[str] = []
    for name in sorted(variables):
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        parts = [part.lower() for part in name.removeprefix(ENVIRONMENT_PREFIX).split("__")]
        if len(parts) < 2 or not all(parts):
            faults.append(f"{name}: expected {ENVIRONMENT_PREFIX}SECTION__KEY")
        elif parts[0] in ("symbols", "rules", "thresholds"):
            faults.append(f"{name}: {parts[0]} is a list, which a variable cannot hold; use a file")
        else:
            _put(layer, parts, EnvironmentText(name, variables[name]), faults)
    if faults:
        raise ConfigFaults(tuple(faults))
    return layer


def _put(layer: dict[str, object], parts: Sequence[str], value: EnvironmentText, faults: list[str]) -> None:
    place = layer
    for part in parts[:-1]:
        inner = place.setdefault(part, {})
        if not isinstance(inner, dict):
            faults.append(f"{value.variable}: another variable makes {part} a value")
            return
        place = inner
    if isinstance(place.get(parts[-1]), dict):
        faults.append(f"{value.variable}: other variables make {parts[-1]} a table")
        return
    place[parts[-1]] = value


def _merged(layers: Sequence[Mapping[str, object]]) -> Mapping[str, object]:
    merged: dict[str, object] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            if is_table(below) and is_table(value):
                merged[key] = _merged((as_table(below), as_table(value)))
            else:
                merged[key] = value
    return merged


# --- the name of a configuration ------------------------------------------------------------------


def config_hash(settings: Settings) -> str:
    """Sha-256 of the canonical form: the same settings, however they were written, have the same name."""
    return hashlib.sha256(orjson.dumps(canonical(settings), option=orjson.OPT_SORT_KEYS)).hexdigest()


def canonical(value: object) -> object:
    """Settings as plain data, each class by its name: 0.03 of the price is not 0.03 of the equity.

    What does not count where two of them are compared does not count here either.
    """
    kind = type(value)
    if attrs.has(kind):
        fields = {
            field.name: canonical(getattr(value, field.name)) for field in attrs.fields(kind) if field.eq
        }
        return {"is": kind.__name__, **fields}
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return format(value.normalize(), "f")
        case enum.Enum():
            return canonical(value.value)
        case time():
            return value.isoformat()
        case tuple():
            return [canonical(item) for item in value]
        case _:
            raise TypeError(f"{type(value).__name__} has no canonical form")
