"""Which bars of the past a symbol asks for, so that its indicators are warm; what is kept is not asked again.

Kept bars are good for as long as the broker's own agree with them: each later ask begins with the last bar
that is kept, and if that one comes back different (history is restated after a split, for one) all is
asked anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol

import attrs

from protocol.bars import DAY_S
from protocol.commands import AskHistory
from protocol.exchange.calendar import next_session, next_trading_day
from protocol.indicators import bar_size_s, bars_needed
from protocol.reports import HistoryLoaded
from protocol.rules.indicator_names import IndicatorName
from protocol.settings import Atr
from protocol.values import Bar, Symbol

OVERLAP_BARS: Final = 2
"""Asked beyond what is missing: the last one kept, and one for a bar that is complete on the way."""


class BarStore(Protocol):
    """Where bars outlive the process. It may lose any of them, as long as none is missing in between."""

    def bars(self, symbol: Symbol, bar_s: int) -> tuple[Bar, ...]:
        """What is kept, oldest first, without a gap."""
        ...

    def keep(self, symbol: Symbol, bar_s: int, bars: tuple[Bar, ...], *, changed: int) -> None:
        """Keep exactly `bars`, of which all but the last `changed` are kept already."""
        ...


def history_needs(atr: Atr, names: Iterable[IndicatorName]) -> dict[int, int]:
    """How many bars the plan's ATR and these indicators need, by the size of the bars, small ones first."""
    counts: dict[int, int] = {}
    for name in (IndicatorName("atr", (float(atr.period),)), *names):
        bar_s = bar_size_s(name, atr.bar_s)
        counts[bar_s] = max(counts.get(bar_s, 0), bars_needed(name, bar_s))
    return dict(sorted(counts.items()))


def intervals(start: datetime, end: datetime, bar_s: int, *, most: int) -> int:
    """How many bars of regular hours lie between two moments, begun ones included; it stops past `most`."""
    count, session = 0, next_session(start)
    while session.start < end and count <= most:
        traded_s = (min(session.end, end) - max(session.start, start)).total_seconds()
        count += 1 if bar_s >= DAY_S else math.ceil(traded_s / bar_s)
        session = next_trading_day(session.day)
    return count


def missing_count(wanted: int, kept: tuple[Bar, ...], bar_s: int, at: datetime) -> int:
    """How many bars to ask for at `at`; all of them when too few are kept, or hardly fewer would do."""
    if not kept:
        return wanted
    missing = OVERLAP_BARS + intervals(kept[-1].start, at, bar_s, most=wanted)
    return missing if missing < wanted <= len(kept) + missing - OVERLAP_BARS else wanted


def join(kept: tuple[Bar, ...], answer: tuple[Bar, ...]) -> tuple[Bar, ...] | None:
    """Kept bars and those of the answer behind them; None when they do not fit together without a gap."""
    first = answer[0].start
    before = tuple(bar for bar in kept if bar.start < first)
    twice = kept[len(before) :]
    return before + answer if twice and twice == answer[: len(twice)] else None


def _is_finite(bar: Bar) -> bool:
    return math.isfinite(bar.open + bar.high + bar.low + bar.close + bar.volume)


class WarmUp:
    """One symbol's dealings with history: what to ask when a link is up, and what an answer completes."""

    def __init__(
        self, symbol: Symbol, atr: Atr, names: Iterable[IndicatorName], store: BarStore | None = None
    ) -> None:
        self._symbol, self._store = symbol, store
        self._needs = history_needs(atr, names)
        self._kept: dict[int, tuple[Bar, ...]] = {}

    def asks(self, epoch: int, at: datetime, sizes: Iterable[int] | None = None) -> tuple[AskHistory, ...]:
        """What to ask the broker for at market time `at`: for all bars in use, or those of these sizes."""
        return tuple(
            AskHistory(self._symbol, epoch, bar_s, self._missing(bar_s, at))
            for bar_s in (self._needs if sizes is None else sizes)
        )

    def _missing(self, bar_s: int, at: datetime) -> int:
        kept = self._kept.get(bar_s)
        if kept is None:
            kept = () if self._store is None else self._store.bars(self._symbol, bar_s)
        # A market that is replayed once more has not yet got to some of them.
        kept = tuple(bar for bar in kept if bar.start + timedelta(seconds=bar_s) <= at)
        count = missing_count(self._needs[bar_s], kept, bar_s, at)
        self._kept[bar_s] = kept if count < self._needs[bar_s] else ()
        return count

    def hear(self, answer: HistoryLoaded, epoch: int) -> HistoryLoaded | AskHistory:
        """The answer with what was kept before it; or another ask, since the two do not fit together."""
        bar_s = answer.bar_s
        bars = tuple(filter(_is_finite, answer.bars))
        wanted = self._needs.get(bar_s)
        if wanted is None or not bars:
            return answer
        kept = self._kept.get(bar_s, ())
        joined = join(kept, bars) if kept else bars
        if joined is None:
            self._kept[bar_s] = ()
            return AskHistory(self._symbol, epoch, bar_s, wanted)
        joined = joined[-wanted:]
        self._kept[bar_s] = joined
        if self._store is not None:
            self._store.keep(self._symbol, bar_s, joined, changed=len(bars) if kept else len(joined))
        return attrs.evolve(answer, bars=joined)
