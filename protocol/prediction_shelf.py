"""What an options-flow API serves (predictions, trades, divergence), visible from its time stamp on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable

import attrs
import orjson

from protocol.predictions import ticker_of, timestamp_of


@attrs.frozen
class StoredPrediction:
    """A prediction or a row as the service keeps it: `body` is its JSON, served as it is, right or wrong."""

    ticker: str
    timestamp_ms: float
    body: bytes


def read_prediction_lines(
    name: str, lines: Iterable[bytes], *, stamp_of: Callable[[object], float | None] = timestamp_of
) -> tuple[tuple[StoredPrediction, ...], tuple[str, ...]]:
    """The predictions in `lines`, and a sentence for each line that cannot be served: `signals.jsonl:17: …`.

    `stamp_of`: when one of them is from, in epoch milliseconds.

    Only a line without a place on the shelf is a fault (no JSON object, no ticker, no time stamp): what
    else may be wrong with a prediction is for its receiver to judge. Blank lines say nothing.
    """
    predictions: list[StoredPrediction] = []
    faults: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        read = _read_line(line, stamp_of)
        if isinstance(read, str):
            faults.append(f"{name}:{number}: {read}")
        else:
            predictions.append(read)
    return tuple(predictions), tuple(faults)


def _read_line(line: bytes, stamp_of: Callable[[object], float | None]) -> StoredPrediction | str:
    try:
        body: object = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return f"no JSON: {error.msg}"
    if not isinstance(body, dict):
        return "no JSON object"
    ticker, timestamp_ms = ticker_of(body), stamp_of(body)
    if ticker is None:
        return "no usable ticker"
    if timestamp_ms is None:
        return "no usable timestamp (milliseconds since 1970)"
    return StoredPrediction(ticker, timestamp_ms, line.strip())


class PredictionShelf:
    """Predictions by ticker, in the order of their time stamps; equal stamps keep the order they came in."""

    __slots__ = ("_bodies", "_stamps")

    def __init__(self, predictions: Iterable[StoredPrediction], tickers: Iterable[str] = ()) -> None:
        """`tickers`: those that the service knows besides the ones that `predictions` name."""
        self._stamps: dict[str, list[float]] = {ticker: [] for ticker in tickers}
        self._bodies: dict[str, list[bytes]] = {ticker: [] for ticker in tickers}
        for prediction in sorted(predictions, key=lambda prediction: prediction.timestamp_ms):
            self._stamps.setdefault(prediction.ticker, []).append(prediction.timestamp_ms)
            self._bodies.setdefault(prediction.ticker, []).append(prediction.body)

    @property
    def tickers(self) -> tuple[str, ...]:
        return tuple(sorted(self._stamps))

    def __contains__(self, ticker: str) -> bool:
        return ticker in self._stamps

    def between(self, ticker: str, start_ms: float, end_ms: float, limit: int) -> list[bytes]:
        """The newest `limit` bodies stamped from `start_ms` to `end_ms`, both included, oldest first."""
        stamps = self._stamps[ticker]
        end = bisect_right(stamps, end_ms)
        start = max(bisect_left(stamps, start_ms), end - limit)
        return self._bodies[ticker][start:end]

    def count_visible(self, ticker: str, now_ms: float) -> int:
        """How many predictions of `ticker` have become visible by `now_ms`."""
        return bisect_right(self._stamps.get(ticker, []), now_ms)
