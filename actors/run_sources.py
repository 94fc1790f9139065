"""The signal sources of a run: made from its plan, wired to its trading system, put at its edge."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import attrs

from actors.journal import Journal
from actors.market_clock import MarketClock
from actors.run_options import Plan
from actors.signal_desk import SignalDesk
from actors.sources import Sources, supervised
from actors.system import TradingSystem
from protocol.events import SignalVerdictEvent
from protocol.source_settings import HttpSource, Source


def open_sources(
    plan: Plan, system: TradingSystem, journal: Journal, clock: MarketClock, *, embedded_url: str
) -> Sources:
    """To be called before the system runs. Raises `ConfigFaults` for a source that cannot be made."""
    desk = SignalDesk(
        symbols=system.symbols,
        journal=journal,
        deliver=system.take_signal,
        clock=clock,
        judged=partial(_verdicts, journal),
        deliver_flow=system.take_flow,
    )
    others = () if plan.service is None else set(plan.service.tickers) - set(system.symbols)
    sources = Sources(
        [(_with_url(source, embedded_url), secret) for source, secret in plan.sources],
        desk=desk,
        clock=clock,
        marks=journal,
        also_polled=sorted(others),
        embedded_url=embedded_url,
        thresholds=plan.settings.thresholds,
        seed=plan.options.seed,
    )
    supervised(sources, system.add_edge_tree)
    return sources


def _with_url(source: Source, url: str) -> Source:
    """A polled source without an address is the embedded service's."""
    return attrs.evolve(source, url=url) if isinstance(source, HttpSource) and not source.url else source


def judged(journal: Journal) -> frozenset[str]:
    """The ids of all signals that have their verdict."""
    return frozenset(_verdicts(journal))


def _verdicts(journal: Journal) -> Iterator[str]:
    return (event.signal_id for event in journal.of_kind(SignalVerdictEvent))
