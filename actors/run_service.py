"""The embedded options-flow service of a run: what it serves, and how often it may be asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from protocol.exchange.flow_data import draw_divergence, draw_trades
from protocol.flow_service import FlowLimits, FlowService
from protocol.flow_thresholds import stamp_of_row
from protocol.prediction_shelf import StoredPrediction, read_prediction_lines
from protocol.settings import Settings
from protocol.source_settings import HttpSource
from protocol.values import Symbol

DEMO_HOURS = 6
"""Of which a demo has predictions, trades and divergence."""
TRADES_FILE, DIVERGENCE_FILE = "trades.jsonl", "divergence.jsonl"
"""Beside the predictions in a market folder."""

Rows = tuple[StoredPrediction, ...]
_Draw = Callable[[Sequence[str], Random, datetime, datetime], Iterator[StoredPrediction]]


def embedded_sources(settings: Settings) -> tuple[HttpSource, ...]:
    """The sources that poll the embedded service: those without an address of their own."""
    return tuple(source for source in settings.sources if isinstance(source, HttpSource) and not source.url)


def embedded_service(
    stored: Rows,
    settings: Settings,
    tickers: Sequence[str],
    *,
    folder: Path | None = None,
    drawn_from: datetime | None = None,
    seed: int = 1,
) -> tuple[FlowService, tuple[str, ...]]:
    """The service over `stored` predictions, and what is wrong with lines that it cannot serve.

    Trades and divergence come from the market's `folder`, or are drawn for a demo that begins at
    `drawn_from`; a kind that nobody polls is left out.
    """
    polled = embedded_sources(settings)
    names = tuple(entry.symbol for entry in settings.symbols)
    wanted = {
        "trades": any(source.trades for source in polled),
        "divergence": any(source.divergence for source in polled),
    }
    rows: dict[str, Rows] = {}
    faults: list[str] = []
    for data, file, draw in (
        ("trades", TRADES_FILE, draw_trades), ("divergence", DIVERGENCE_FILE, draw_divergence)
    ):  # fmt: skip
        if wanted[data]:
            rows[data], wrong = _rows(data, file, draw, names, folder, drawn_from, seed)
            faults += wrong
    service = FlowService(
        stored,
        tickers=tickers,
        limits=_limits(polled, len(set(tickers)), heavy=sum(wanted.values())),
        trades=rows.get("trades", ()),
        divergence=rows.get("divergence", ()),
    )
    return service, tuple(faults)


def _limits(polled: Sequence[HttpSource], tickers: int, *, heavy: int) -> FlowLimits:
    """All sources share the one key."""
    paces_s = [pace for source in polled for pace in (source.poll_s, *(own_s for _, own_s in source.poll_of))]
    return FlowLimits.for_polling(
        tickers * max(1, len(polled)),
        min(paces_s, default=60.0),
        heavy=heavy,
        data_poll_s=min((source.data_poll_s for source in polled), default=60.0),
    )


def _rows(
    data: str,
    file: str,
    draw: _Draw,
    names: Sequence[Symbol],
    folder: Path | None,
    drawn_from: datetime | None,
    seed: int,
) -> tuple[Rows, tuple[str, ...]]:
    if drawn_from is not None:
        # A generator of its own: the market and the predictions of a seed stay as they are.
        end = drawn_from + timedelta(hours=DEMO_HOURS)
        return tuple(draw(names, Random(f"{seed}:{data}"), drawn_from, end)), ()
    path = None if folder is None else folder / file
    if path is None or not path.is_file():
        return (), ()
    with path.open("rb") as lines:
        return read_prediction_lines(path.name, lines, stamp_of=stamp_of_row)
