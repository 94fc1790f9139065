"""What a run is made of, resolved from the options before anything starts: settings, market, signals."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random

import attrs

from actors.alerts import open_channels
from actors.config_files import load_settings, read_secret
from actors.flow_api import load_predictions
from actors.known_secrets import KNOWN
from actors.market_folder import MarketFolderError, load_market, signals_path
from actors.run_service import DEMO_HOURS, embedded_service, embedded_sources
from protocol.alert_settings import AlertChannel
from protocol.config import ConfigFaults
from protocol.config_text import describe
from protocol.exchange.contracts import NEW_YORK
from protocol.exchange.market import Market, RecordedMarket
from protocol.exchange.predictions import draw_predictions
from protocol.exchange.synthetic import SyntheticMarket
from protocol.flow_service import FlowService
from protocol.kills import KillOrder, read_kill
from protocol.prediction_shelf import StoredPrediction
from protocol.redaction import Secret
from protocol.rules.rule import Rule
from protocol.settings import BrokerSettings, Settings
from protocol.source_settings import FileSource, HttpSource, Source, WebhookSource, WebSocketSource
from protocol.values import Symbol

DEMO_SYMBOLS = tuple(map(Symbol, ("SPY", "QQQ", "AAPL", "TSLA", "NVDA")))
DEMO_POLL_S = 1.0
DEMO_SPEED, REPLAY_SPEED = 1.0, 60.0
SIM_ACCOUNT = "DU1234567"


class UsageError(Exception):
    """What the user has to change: one line each. Exit code 2."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@attrs.frozen(kw_only=True)
class RunOptions:
    """The options of `scripts/supervisor.py`, read but not yet understood."""

    config: tuple[Path, ...] = ()
    broker: str = "sim"
    tws: str = ""
    client_id: int | None = None
    market: Path | None = None
    signals: Path | None = None
    symbols: tuple[Symbol, ...] = ()
    speed: float | None = None
    until_end: bool = False
    duration_s: float | None = None
    state: Path | None = None
    report: Path | None = None
    seed: int = 1
    connect_timeout_s: float | None = None
    kill: tuple[str, ...] = ()
    live: bool = False


@attrs.frozen(kw_only=True)
class Plan:
    """A run, understood. `market` is None when TWS is somebody else's; `service` when signals are."""

    options: RunOptions
    settings: Settings
    speed: float
    market: Market | None
    service: FlowService | None
    service_key: str = attrs.field(repr=False)
    sources: tuple[tuple[Source, Secret], ...]
    """Each source with its key; a polled one without a URL asks the embedded service."""
    kills: tuple[KillOrder, ...]
    warnings: tuple[str, ...]
    predictions: int
    """How many the embedded service holds."""
    signal_faults: tuple[str, ...]
    """Lines of the signal file that are no predictions: refused, each with its place."""
    channels: tuple[tuple[AlertChannel, Secret], ...] = ()
    """Where alarms go, each with its token or address."""

    @property
    def embedded(self) -> bool:
        return self.options.broker == "sim"

    def describe(self) -> tuple[str, ...]:
        """What would run, line by line."""
        options = self.options
        broker = self.settings.broker
        where = "an embedded simulated TWS" if self.embedded else f"TWS at {broker.host}:{broker.port}"
        what = "" if self.market is None else f", market {options.market or 'synthetic'}"
        lines = [f"broker: {where}{what}, speed {self.speed:g}"]
        if self.market is not None:
            begin, end = (
                None if at is None else at.astimezone(NEW_YORK) for at in (self.market.start, self.market.end)
            )
            over = "no end" if end is None else f"{end:%Y-%m-%d %H:%M}"
            lines.append(f"market: from {begin:%Y-%m-%d %H:%M} to {over}, New York time")
        if self.service is not None:
            refused = f", {len(self.signal_faults)} lines refused" if self.signal_faults else ""
            lines.append(f"predictions: {self.predictions} in the embedded options-flow service{refused}")
        folder = state_folder(self)
        lines.append(f"state: {folder or 'a temporary folder, removed at the end'}")
        lines += [f"report: {options.report}"] if options.report is not None else []
        lines += [f"kill: {order}" for order in options.kill]
        described = describe(self.settings)
        # The first line says where a TWS is that somebody else runs.
        return (*lines, *(described[1:] if self.embedded else described))


def state_folder(plan: Plan) -> Path | None:
    """Where the journal lives; None for a run that keeps nothing."""
    options = plan.options
    if options.state is not None:
        return options.state
    if plan.settings.journal_path:
        return Path(plan.settings.journal_path)
    return None if plan.embedded else own_state_folder(plan.settings.broker)


def own_state_folder(broker: BrokerSettings) -> Path:
    """Where the journal of a TWS lives that nobody gave a folder."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "ringfence" / f"{broker.host}-{broker.port}-{broker.client_id}"


def resolve(options: RunOptions) -> Plan:
    """Read and check everything. Raises `UsageError` and `ConfigFaults`, starts nothing."""
    _check(options)
    market, warnings = _open_market(options)
    stored, signal_faults, signal_tickers = _read_signals(options)
    offered = _offered(options, market)
    settings = load_settings(
        options.config, options=_overrides(options), offered=offered, only=options.symbols, live=options.live
    )
    names = tuple(entry.symbol for entry in settings.symbols)
    if options.broker == "sim" and market is not None:
        _know_symbols(market, names)
    speed = options.speed or (REPLAY_SPEED if options.market is not None else DEMO_SPEED)
    if options.broker == "tws":
        speed = options.speed or 1.0
    demo = options.broker == "sim" and options.market is None
    settings = _with_demo_poll(settings, demo=demo, configured=bool(options.config))
    if demo and stored is None and market is not None:
        end = market.start + timedelta(hours=DEMO_HOURS)
        stored = tuple(draw_predictions(names, Random(options.seed), market.start, end))
    tickers = (*names, *signal_tickers)
    service = None
    if stored is not None and embedded_sources(settings):
        service, wrong_rows = embedded_service(
            stored, settings, tickers, folder=options.market, seed=options.seed,
            drawn_from=market.start if demo and market is not None else None,
        )  # fmt: skip
        warnings = (*warnings, *wrong_rows)
    elif options.signals is not None:
        warnings = (*warnings, "--signals: nobody polls it; add [signals.flow] without a url")
    key = secrets.token_urlsafe(16)
    KNOWN.know(key)
    sources = _sources(settings, service, key)
    idle = [source.name for source in embedded_sources(settings) if service is None]
    if not sources:
        warnings = (*warnings, "nobody predicts anything: give --signals FILE, or a url in [signals.flow]")
    elif idle:
        warnings = (*warnings, f"signals.{idle[0]}: nobody to poll: give --signals FILE, or a url")
    return Plan(
        options=options,
        settings=settings,
        speed=speed,
        market=market if options.broker == "sim" else None,
        service=service,
        service_key=key,
        predictions=len(stored or ()),
        sources=sources,
        kills=_kills(options, names),
        warnings=warnings,
        signal_faults=signal_faults,
        channels=open_channels(settings.alerts),
    )


def read_rules_again(plan: Plan) -> tuple[Rule, ...]:
    """The rules of a running plan's configuration as it is on disk now. Raises `ConfigFaults`.

    Everything else of it stays as it was at the start: a change of the symbols or limits needs a restart.
    """
    options, names = plan.options, tuple(entry.symbol for entry in plan.settings.symbols)
    settings = load_settings(
        options.config, options=_overrides(options), offered=names, only=options.symbols, live=options.live
    )
    added = sorted({entry.symbol for entry in settings.symbols} - set(names))
    if added:
        raise ConfigFaults((f"symbols: {', '.join(added)} cannot join a run; start it again",))
    return settings.rules


def _check(options: RunOptions) -> None:
    wrong: list[str] = []
    if options.broker not in ("sim", "tws"):
        wrong.append(f"--broker: must be sim or tws, not {options.broker!r}")
    if options.broker == "tws":
        if not options.tws and not options.config:
            wrong.append("--broker tws: say where with --tws HOST:PORT")
        if options.until_end:
            wrong.append("--until-end: only an embedded simulator has an end")
        if options.kill:
            wrong.append("--kill: only with the embedded simulator")
        if options.market is not None:
            wrong.append("--market: only with the embedded simulator; tws_simulator.py has one of its own")
    else:
        if options.tws:
            wrong.append("--tws: needs --broker tws")
        if options.until_end and options.market is None:
            wrong.append("--until-end: the synthetic market has no end; give --market DIR, or --duration")
    for name, path, problem in (
        ("report", options.report, _not_writable(options.report)),
        ("state", options.state, _no_folder(options.state)),
    ):
        if problem:
            wrong.append(f"--{name}: {path}: {problem}")
    for name, value in (
        ("speed", options.speed),
        ("duration", options.duration_s),
        ("connect-timeout", options.connect_timeout_s),
    ):
        if value is not None and not 0 < value < float("inf"):
            wrong.append(f"--{name}: must be more than 0, not {value:g}")
    if wrong:
        raise UsageError(*wrong)


def _not_writable(path: Path | None) -> str:
    """Why a file cannot be written there, as far as that can be seen without writing it."""
    if path is None:
        return ""
    if path.is_dir():
        return "is a folder"
    if not path.parent.is_dir():
        return "there is no such folder to write it to"
    return "" if os.access(path if path.exists() else path.parent, os.W_OK) else "may not be written"


def _no_folder(path: Path | None) -> str:
    if path is None:
        return ""
    standing = next(above for above in (path, *path.absolute().parents) if above.exists())
    if not standing.is_dir():
        return f"{standing} is not a folder"
    return "" if os.access(standing, os.W_OK | os.X_OK) else "may not be written"


def _open_market(options: RunOptions) -> tuple[Market | None, tuple[str, ...]]:
    if options.market is None:
        if options.broker == "tws":
            return None, ()
        return SyntheticMarket(options.seed), ()
    try:
        market: RecordedMarket = load_market(options.market)
    except MarketFolderError as error:
        raise UsageError(*error.problems) from error
    return market, market.warnings


def _read_signals(
    options: RunOptions,
) -> tuple[tuple[StoredPrediction, ...] | None, tuple[str, ...], tuple[str, ...]]:
    path = options.signals
    if path is None and options.market is not None:
        path = signals_path(options.market)
    if path is None:
        return None, (), ()
    try:
        stored, faults = load_predictions(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"--signals: {path}: {reason}") from error
    return stored, faults, tuple(sorted({prediction.ticker for prediction in stored}))


def _offered(options: RunOptions, market: Market | None) -> tuple[Symbol, ...]:
    if options.market is not None and market is not None:
        return tuple(Symbol(symbol) for symbol in market.symbols)
    if options.broker == "sim":
        return options.symbols or DEMO_SYMBOLS
    return options.symbols


def _overrides(options: RunOptions) -> dict[str, object]:
    broker: dict[str, object] = {}
    if options.tws:
        host, colon, port = options.tws.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise UsageError(f"--tws: must be HOST:PORT, not {options.tws!r}")
        broker |= {"host": host, "port": int(port)}
    if options.client_id is not None:
        broker["client_id"] = options.client_id
    if options.connect_timeout_s is not None:
        broker["connect_timeout_loop_s"] = options.connect_timeout_s
    return {"broker": broker} if broker else {}


def _know_symbols(market: Market, names: Sequence[Symbol]) -> None:
    """A synthetic market makes every symbol; a folder has what it has, and the broker will say so."""
    for name in names:
        if not market.knows(name):
            continue
        market.add(name)


def _with_demo_poll(settings: Settings, *, demo: bool, configured: bool) -> Settings:
    if not demo or configured:
        return settings
    return attrs.evolve(
        settings,
        sources=tuple(
            attrs.evolve(source, poll_s=DEMO_POLL_S) if isinstance(source, HttpSource) else source
            for source in settings.sources
        ),
    )


def _sources(settings: Settings, service: FlowService | None, key: str) -> tuple[tuple[Source, Secret], ...]:
    """The sources that can run, each with its secret; all secrets that are missing at once."""
    found: list[tuple[Source, Secret]] = []
    wrong: list[str] = []
    for source in settings.sources:
        if isinstance(source, HttpSource) and not source.url:
            # Without a service there is nobody to poll; `resolve` warns of it.
            if service is not None:
                found.append((source, Secret(key)))
            continue
        variable = _secret_variable(source)
        secret = read_secret(variable) if variable else ""
        if secret is None:
            wrong.append(f"signals.{source.name}: the key is expected in the environment as {variable}")
        else:
            found.append((source, Secret(secret)))
    if wrong:
        raise ConfigFaults(tuple(wrong))
    return tuple(found)


def _secret_variable(source: Source) -> str:
    """The variable that holds the secret of a source; "" for one that needs none."""
    match source:
        case HttpSource():
            return source.api_key_env
        case WebSocketSource():
            return source.token_env
        case WebhookSource():
            return source.secret_env
        case FileSource():
            return ""


def _kills(options: RunOptions, names: Sequence[Symbol]) -> tuple[KillOrder, ...]:
    orders: list[KillOrder] = []
    for text in options.kill:
        try:
            order = read_kill(text)
        except ValueError as error:
            raise UsageError(f"--kill: {error}") from error
        if order.symbol not in names:
            raise UsageError(f"--kill: {order.symbol} is not among the symbols")
        orders.append(order)
    return tuple(orders)
