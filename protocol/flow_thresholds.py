"""Thresholds on the options flow: when a figure of trades or divergence crosses one, it is an event.

The rows of one ticker are a series in the order of their own stamps. A threshold fires at the row that is
beyond its limit while the one before was not; the first row that is seen only says where the figure
stands. What happened too long ago to act on moves the figure and fires nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import attrs

from protocol.control_events import FlowThresholdEvent
from protocol.predictions import MAX_TIMESTAMP_MS, hash_body
from protocol.source_settings import FlowThreshold
from protocol.values import Symbol

DATA = ("divergence", "trades")
"""The end points whose rows can be watched."""
STAMPS = ("timestamp", "trade_timestamp", "datetime")
"""Where a row says when it was: epoch milliseconds, or ISO 8601 with an offset."""
MAX_KEY = 40
"""Characters of a row's own id that the event's id keeps."""
MAX_FIGURE = 1e18
FUTURE_S = 2.0
"""What two honest clocks may differ by; a row from beyond that waits until it is not from the future."""


def stamp_of_row(row: object) -> float | None:
    """When a row was measured, in epoch milliseconds; None where it does not say so."""
    if not isinstance(row, dict):
        return None
    for name in STAMPS:
        value = row.get(name)
        if isinstance(value, str):
            value = _epoch_ms(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= MAX_TIMESTAMP_MS:
            return float(value)
    return None


def _epoch_ms(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text) if len(text) <= MAX_KEY else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else at.timestamp() * 1000


@attrs.frozen
class RowsTaken:
    """What a poll's rows come to. `faults`: what is wrong with some of them, each kind of fault once."""

    events: tuple[FlowThresholdEvent, ...] = ()
    faults: tuple[str, ...] = ()


@attrs.define
class _Series:
    """The rows of one ticker and end point: up to where they were taken, and on which side each figure is."""

    newest_ms: float = -math.inf
    keys: set[str] = attrs.Factory(set)
    """Of the rows stamped `newest_ms`: others with that stamp may still come."""
    beyond: dict[str, bool] = attrs.Factory(dict)


class ThresholdWatch:
    """The thresholds of the configuration over what one source tells."""

    def __init__(self, thresholds: Iterable[FlowThreshold], *, source: str) -> None:
        self._thresholds, self._source = tuple(thresholds), source
        self._series: dict[tuple[str, str], _Series] = {}

    def watched(self, data: str, ticker: str) -> tuple[FlowThreshold, ...]:
        """The thresholds that look at these rows."""
        return tuple(
            each
            for each in self._thresholds
            if each.data == data and (not each.symbols or ticker in each.symbols)
        )

    def newest_at(self, data: str, ticker: str) -> datetime | None:
        """The stamp of the last row that was taken."""
        series = self._series.get((data, ticker))
        if series is None or series.newest_ms < 0:
            return None
        return datetime.fromtimestamp(series.newest_ms / 1000, UTC)

    def take(
        self, data: str, ticker: str, rows: Sequence[object], *, at: datetime, max_age_s: float
    ) -> RowsTaken:
        """The rows of one answer, in whatever order, at market time `at`; each row counts once."""
        watched = self.watched(data, ticker)
        series = self._series.setdefault((data, ticker), _Series())
        now_ms = at.timestamp() * 1000
        events: list[FlowThresholdEvent] = []
        faults: dict[str, None] = {}
        for stamp_ms, row in _in_order(rows, faults):
            if stamp_ms > now_ms + FUTURE_S * 1000:
                faults["a row is from the future"] = None
                continue
            if row.get("ticker", ticker) != ticker or not _advance(series, stamp_ms, row):
                continue
            for threshold in watched:
                value = _figure(row, threshold.field, faults)
                if value is None or not _crosses(series, threshold, value):
                    continue
                if now_ms - stamp_ms <= max_age_s * 1000:
                    events.append(self._event(threshold, ticker, value, stamp_ms, row, at))
        return RowsTaken(tuple(events), tuple(faults))

    def _event(
        self,
        threshold: FlowThreshold,
        ticker: str,
        value: float,
        stamp_ms: float,
        row: dict[str, object],
        at: datetime,
    ) -> FlowThresholdEvent:
        event_id = f"{self._source}:{threshold.name}:{ticker}:{stamp_ms:.0f}:{_key(row)}"
        return FlowThresholdEvent(
            at=at,
            cause=event_id,
            symbol=Symbol(ticker),
            source=self._source,
            event_id=event_id,
            threshold=threshold.name,
            field=threshold.field,
            value=value,
            limit=threshold.limit,
            above=threshold.above,
            measured_at=datetime.fromtimestamp(stamp_ms / 1000, UTC),
        )


def _in_order(rows: Sequence[object], faults: dict[str, None]) -> list[tuple[float, dict[str, object]]]:
    stamped = []
    for row in rows:
        stamp_ms = stamp_of_row(row)
        if isinstance(row, dict) and stamp_ms is not None:
            stamped.append((stamp_ms, row))
        else:
            faults["a row is no object with a time stamp"] = None
    return sorted(stamped, key=lambda pair: pair[0])


def _advance(series: _Series, stamp_ms: float, row: dict[str, object]) -> bool:
    """Whether the row is a new one of the series."""
    if stamp_ms < series.newest_ms:
        return False
    key = _key(row)
    if stamp_ms > series.newest_ms:
        series.newest_ms, series.keys = stamp_ms, {key}
        return True
    if key in series.keys:
        return False
    series.keys.add(key)
    return True


def _crosses(series: _Series, threshold: FlowThreshold, value: float) -> bool:
    beyond = value > threshold.limit if threshold.above else value < threshold.limit
    before = series.beyond.get(threshold.name)
    series.beyond[threshold.name] = beyond
    return beyond and before is False


def _figure(row: dict[str, object], field: str, faults: dict[str, None]) -> float | None:
    value = row.get(field)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_FIGURE:
        return float(value)
    if field not in row:
        faults[f"a row has no {field}"] = None
    elif value is not None:
        faults[f"{field} of a row is no finite number"] = None
    return None


def _key(row: dict[str, object]) -> str:
    own = row.get("id")
    if isinstance(own, (str, int)) and not isinstance(own, bool) and 0 < len(str(own)) <= MAX_KEY:
        return ascii(own).strip("'")
    return hash_body(row)[:12]
