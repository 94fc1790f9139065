"""`[signals.NAME]` and `[[thresholds]]`: where signals come from, and which figures are watched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Final, TypedDict
from urllib.parse import SplitResult, urlsplit

from protocol.config_reading import POSITIVE, PROBABILITY, Range, Table, suggest
from protocol.flow_thresholds import DATA
from protocol.rules.conditions import WhenEvent, simple_conditions
from protocol.rules.rule import Rule
from protocol.signal_memory import MAX_FLIPS_KEPT
from protocol.source_settings import (
    FileSource,
    FlowThreshold,
    HttpSource,
    Source,
    WebhookSource,
    WebSocketSource,
)
from protocol.values import Symbol

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
SCHEMES: Final = ("hmac", "secret")
MAX_TICKERS: Final = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET_KEYS = ("api_key", "key", "token", "password", "secret")
_PORT = Range(Decimal(1), Decimal(65_535))
_FLIPS = Range(Decimal(0), Decimal(MAX_FLIPS_KEPT))


class _RulesRead(TypedDict):
    """What every kind of source has, under the names of `SourceRules`."""

    name: str
    min_confidence: float
    min_confidence_of: tuple[tuple[Symbol, float], ...]
    max_age_s: float | None
    max_flips: int | None
    flip_flop_s: float


# --- sources --------------------------------------------------------------------------------------


def read_sources(table: Table, known: Sequence[Symbol] = ()) -> tuple[Source, ...]:
    """One table for each source. Without any, the polled one that the embedded service feeds.

    `known`: the symbols of the configuration; a source may speak of others, its settings may not.
    """
    if not table.names:
        return (HttpSource(),)
    sources: list[Source] = []
    for name in table.names:
        if not _NAME.fullmatch(name):
            table.fault(name[:40], "is no name of a source: up to 32 letters, digits, _, . and -")
        inner = table.table(name)
        if inner is not None:
            sources.append(_read_source(name, inner, known))
    _check_ports(table, sources)
    return tuple(sources)


def _read_source(name: str, table: Table, known: Sequence[Symbol]) -> Source:
    kind = table.text("kind", "http")
    if kind not in _KINDS:
        table.expected("kind", ", ".join(f'"{word}"' for word in _KINDS))
        kind = "http"
    variable = _SECRET_VARIABLES[kind]
    for key in _SECRET_KEYS:
        where = f"name an environment variable in {variable}" if variable else "a file needs none"
        table.refuse(key, f"a secret does not belong here: {where}")
    source = _KINDS[kind](table, _read_rules(name, table, known), known)
    table.close()
    return source


def _read_rules(name: str, table: Table, known: Sequence[Symbol]) -> _RulesRead:
    default = HttpSource()
    return {
        "name": name,
        "min_confidence": table.number("min_confidence", default.min_confidence, PROBABILITY),
        "min_confidence_of": _by_symbol(table, "min_confidence_of", PROBABILITY, known),
        "max_age_s": table.number("max_age_s", 1.0, POSITIVE) if table.has("max_age_s") else None,
        "max_flips": table.integer("max_flips", 0, _FLIPS) if table.has("max_flips") else None,
        "flip_flop_s": table.number("flip_flop_s", default.flip_flop_s, POSITIVE),
    }


def _read_http(table: Table, rules: _RulesRead, known: Sequence[Symbol]) -> Source:
    default = HttpSource()
    url = table.text("url", default.url).rstrip("/")
    api_key_env = _variable(table, "api_key_env", default.api_key_env)
    _check_address(table, url, ("https", "http"), "https://HOST/api/v1", key_from="api_key_env")
    return HttpSource(
        **rules,
        url=url,
        api_key_env=api_key_env,
        poll_s=table.number("poll_s", default.poll_s, POSITIVE),
        poll_of=_by_symbol(table, "poll_of", POSITIVE, known),
        tickers=_symbols(table, "tickers", known),
        trades=table.truth("trades", default.trades),
        divergence=table.truth("divergence", default.divergence),
        data_poll_s=table.number("data_poll_s", default.data_poll_s, POSITIVE),
    )


def _read_websocket(table: Table, rules: _RulesRead, _known: Sequence[Symbol]) -> Source:
    default = WebSocketSource()
    url = table.required_text("url")
    _check_address(table, url, ("wss", "ws"), "wss://HOST/feed", key_from="token_env")
    source = WebSocketSource(
        **rules,
        url=url,
        token_env=_variable(table, "token_env", default.token_env),
        subscribe=table.text("subscribe", default.subscribe),
        keep_alive_loop_s=table.number("keep_alive_loop_s", default.keep_alive_loop_s, POSITIVE),
        silence_loop_s=table.number("silence_loop_s", default.silence_loop_s, POSITIVE),
    )
    if source.silence_loop_s <= source.keep_alive_loop_s:
        table.fault(
            "silence_loop_s",
            f"{source.silence_loop_s:g} has to be more than keep_alive_loop_s {source.keep_alive_loop_s:g}",
        )
    return source


def _read_webhook(table: Table, rules: _RulesRead, _known: Sequence[Symbol]) -> Source:
    default = WebhookSource()
    source = WebhookSource(
        **rules,
        host=table.text("host", default.host),
        port=table.integer("port", default.port, _PORT),
        path=table.text("path", default.path),
        secret_env=_variable(table, "secret_env", default.secret_env),
        scheme=table.text("scheme", default.scheme),
        window_loop_s=table.number("window_loop_s", default.window_loop_s, POSITIVE),
    )
    if not source.secret_env:
        table.fault("secret_env", "is empty: nobody may post without a secret")
    if source.scheme not in SCHEMES:
        table.expected("scheme", " or ".join(f'"{scheme}"' for scheme in SCHEMES))
    elif source.scheme != "hmac" and source.host not in LOOPBACK:
        table.fault("host", f'{source.host} is not this machine: there, scheme has to be "hmac"')
    if not re.fullmatch(r"/[A-Za-z0-9_./-]*", source.path):
        table.expected("path", 'the path of an address, like "/hook"')
    return source


def _read_file(table: Table, rules: _RulesRead, _known: Sequence[Symbol]) -> Source:
    return FileSource(**rules, path=table.required_text("path"), from_start=table.truth("from_start", False))


_KINDS: Final[Mapping[str, Callable[[Table, _RulesRead, Sequence[Symbol]], Source]]] = MappingProxyType(
    {"http": _read_http, "websocket": _read_websocket, "webhook": _read_webhook, "file": _read_file}
)
_SECRET_VARIABLES: Final = MappingProxyType(
    {"http": "api_key_env", "websocket": "token_env", "webhook": "secret_env", "file": ""}
)


def _check_ports(table: Table, sources: Iterable[Source]) -> None:
    taken: dict[int, str] = {}
    for source in sources:
        if isinstance(source, WebhookSource):
            other = taken.setdefault(source.port, source.name)
            if other != source.name:
                table.fault(source.name, f"port {source.port} is taken by signals.{other}")


# --- parts ----------------------------------------------------------------------------------------


def _variable(table: Table, key: str, default: str) -> str:
    name = table.text(key, default)
    if (name or default) and not _ENVIRONMENT_NAME.fullmatch(name):
        table.expected(key, "the name of an environment variable (A-Z, 0-9 and _)")
    return name


def _check_address(table: Table, url: str, schemes: tuple[str, str], example: str, *, key_from: str) -> None:
    """Encrypted, or plain to this machine; a key travels in a header, never in the address."""
    if not url:
        return
    parts = _split(url)
    secure, plain = schemes
    if parts is None or parts.scheme not in schemes or not parts.hostname:
        table.expected("url", f"an address like {example}")
    elif parts.username or parts.password or parts.query or parts.fragment:
        table.fault("url", f"holds more than an address; the key comes from the variable in {key_from}")
    elif parts.scheme == plain and parts.hostname not in LOOPBACK:
        table.fault("url", f"{plain} is accepted for this machine only; use {secure}")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _by_symbol(
    table: Table, key: str, allowed: Range, known: Sequence[Symbol]
) -> tuple[tuple[Symbol, float], ...]:
    """`{ SLV = 0.7, GLD = 0.6 }`."""
    inner = table.table(key)
    if inner is None:
        return ()
    for name in inner.names:
        _check_symbol(inner, name, name, known)
    found = tuple((Symbol(name), inner.number(name, 0.0, allowed)) for name in inner.names)
    inner.close()
    return found


def _symbols(table: Table, key: str, known: Sequence[Symbol]) -> tuple[Symbol, ...]:
    names = tuple(dict.fromkeys(table.texts(key, ())))
    for name in names:
        _check_symbol(table, key, name, known)
    if len(names) > MAX_TICKERS:
        table.fault(key, f"{len(names)} are too many, at most {MAX_TICKERS}")
    return tuple(Symbol(name) for name in names)


def _check_symbol(table: Table, key: str, name: str, known: Sequence[Symbol]) -> None:
    if known and name not in known:
        table.fault(key, f'"{name}" is not among the symbols{suggest(name, known)}')


# --- thresholds -----------------------------------------------------------------------------------


def read_thresholds(
    root: Table, sources: Sequence[Source], known: Sequence[Symbol] = ()
) -> tuple[FlowThreshold, ...]:
    """`[[thresholds]]`, each with a name of its own and a source that polls what it looks at."""
    found: list[FlowThreshold] = []
    for table in root.tables("thresholds") or ():
        threshold = _read_threshold(table, known)
        if any(threshold.name == other.name for other in found):
            table.fault("name", f'"{threshold.name}" is taken by an earlier threshold')
        if threshold.data in DATA and not _polled(threshold.data, sources):
            http = next((source.name for source in sources if isinstance(source, HttpSource)), "NAME")
            table.fault("data", f"no source polls it: set signals.{http}.{threshold.data} = true")
        found.append(threshold)
    return tuple(found)


def _read_threshold(table: Table, known: Sequence[Symbol]) -> FlowThreshold:
    name, field = table.required_text("name"), table.required_text("field")
    default = FlowThreshold(name="", field="", limit=0.0)
    if not table.has("limit"):
        table.fault("limit", "is missing: expected a number")
    if name and not _NAME.fullmatch(name):
        table.expected("name", "up to 32 letters, digits, _, . and -")
    if field and not _FIELD.fullmatch(field):
        table.expected("field", 'the name of a figure, like "d_diff_short" or "trade_value"')
    data = table.text("data", default.data)
    if data not in DATA:
        table.expected("data", " or ".join(f'"{word}"' for word in DATA))
    threshold = FlowThreshold(
        name=name,
        field=field,
        limit=table.number("limit", default.limit),
        data=data,
        above=table.truth("above", default.above),
        symbols=_symbols(table, "symbols", known),
    )
    table.close()
    return threshold


def _polled(data: str, sources: Sequence[Source]) -> bool:
    return any(
        isinstance(source, HttpSource) and (source.trades if data == "trades" else source.divergence)
        for source in sources
    )


def check_flow_rules(root: Table, rules: Sequence[Rule], thresholds: Sequence[FlowThreshold]) -> None:
    """A rule about a threshold that nobody has configured would wait for ever."""
    names = [threshold.name for threshold in thresholds]
    for number, rule in enumerate(rules):
        for condition in simple_conditions(rule.when):
            if not isinstance(condition, WhenEvent) or condition.event_type != "FlowThresholdEvent":
                continue
            for field in condition.fields:
                if field.field == "threshold" and field.sign == "==" and field.value not in names:
                    hint = suggest(str(field.value), names) if names else "; there are no [[thresholds]]"
                    root.fault(f"rules[{number}].when", f'no threshold is called "{field.value}"{hint}')
