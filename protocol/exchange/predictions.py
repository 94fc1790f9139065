"""A seeded stream of predictions for the synthetic market: what the demo trades on.

They foresee nothing: signals, confidences and pauses are drawn from the generator alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import orjson

from protocol.prediction_shelf import StoredPrediction

ZONE = ZoneInfo("America/New_York")
FIRST_AFTER_S = (0.5, 1.5)
PAUSE_S = (1.5, 5.0)
SIGNALS = ("BUY", "BUY", "BUY", "SELL", "SHORT", "SHORT", "HOLD")
"""Drawn evenly: three in seven for the long side, three for the short side, one that asks for nothing."""
NUMERIC = {"BUY": 1, "HOLD": 0, "SELL": -1, "SHORT": -1}
CONFIDENCE = (0.35, 0.97)
FIRST_CONFIDENCE = 0.9
"""The first prediction for each symbol is a BUY or a SHORT that every sensible threshold lets pass."""


def draw_predictions(
    symbols: Sequence[str], random: Random, start: datetime, end: datetime
) -> Iterator[StoredPrediction]:
    """Predictions from `start` to `end` (market time), one every few seconds over all `symbols`.

    Each symbol has its first one before any has its second, and the first of all comes within 1.5 s.
    """
    at = start + timedelta(seconds=random.uniform(*FIRST_AFTER_S))
    fresh = list(symbols)
    while at < end and symbols:
        if fresh:
            symbol, signal, confidence = fresh.pop(0), random.choice(("BUY", "SHORT")), FIRST_CONFIDENCE
        else:
            symbol, signal = random.choice(symbols), random.choice(SIGNALS)
            confidence = round(random.uniform(*CONFIDENCE), 4)
        yield _stored(symbol, signal, confidence, at)
        at += timedelta(seconds=random.uniform(*PAUSE_S))


def _stored(symbol: str, signal: str, confidence: float, at: datetime) -> StoredPrediction:
    timestamp_ms = int(at.timestamp() * 1000)
    body = {
        "id": f"{symbol}-{timestamp_ms}",
        "ticker": symbol,
        "signal": signal,
        "numeric": NUMERIC[signal],
        "confidence": confidence,
        "timestamp": timestamp_ms,
        "datetime": at.astimezone(ZONE).isoformat(timespec="milliseconds"),
    }
    return StoredPrediction(symbol, float(timestamp_ms), orjson.dumps(body))
