"""Seeded option trades and divergence for the synthetic market: what thresholds of a demo look at.

Like the drawn predictions they foresee nothing; their figures have the sizes that real ones have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random

import orjson

from protocol.exchange.predictions import ZONE
from protocol.prediction_shelf import StoredPrediction

DIVERGENCE_EVERY_S = 60.0
TRADE_PAUSE_S = (1.0, 6.0)
SPAN = 100.0
"""Divergence figures wander between minus this and this."""
STEP = 12.0
MULTIPLIER = 100
"""Shares of one option contract."""


def draw_divergence(
    symbols: Sequence[str], random: Random, start: datetime, end: datetime
) -> Iterator[StoredPrediction]:
    """A row for each symbol and minute; each figure walks at random within its bounds."""
    walks = {symbol: [random.uniform(0, SPAN), random.uniform(-SPAN, 0)] for symbol in symbols}
    at = start + timedelta(seconds=1)
    while at < end:
        for symbol, walk in walks.items():
            walk[0] = min(SPAN, max(0.0, walk[0] + random.gauss(0, STEP)))
            walk[1] = max(-SPAN, min(0.0, walk[1] + random.gauss(0, STEP)))
            yield _stored(symbol, at, {
                "d_pos_short": round(walk[0], 3),
                "d_neg_short": round(walk[1], 3),
                "d_diff_short": round(walk[0] + walk[1], 3),
                "number_of_trades": random.randint(1, 400),
            })  # fmt: skip
        at += timedelta(seconds=DIVERGENCE_EVERY_S)


def draw_trades(
    symbols: Sequence[str], random: Random, start: datetime, end: datetime
) -> Iterator[StoredPrediction]:
    """Option trades over all `symbols`, one every few seconds, most of them small."""
    at, number = start + timedelta(seconds=random.uniform(*TRADE_PAUSE_S)), 0
    while at < end and symbols:
        number += 1
        symbol, price = random.choice(symbols), round(random.uniform(0.05, 12.0), 2)
        size = max(1, round(random.lognormvariate(2.0, 1.6)))
        yield _stored(symbol, at, {
            "id": f"T{number}",
            "option_symbol": f"{symbol}-OPTION",
            "price": price,
            "size": size,
            "trade_value": round(price * size * MULTIPLIER, 2),
            "bid": round(price * 0.98, 2),
            "ask": round(price * 1.02, 2),
            "delta": round(random.uniform(-0.9, 0.9), 3),
        })  # fmt: skip
        at += timedelta(seconds=random.uniform(*TRADE_PAUSE_S))


def _stored(symbol: str, at: datetime, figures: dict[str, object]) -> StoredPrediction:
    timestamp_ms = int(at.timestamp() * 1000)
    body = {
        "ticker": symbol,
        "timestamp": timestamp_ms,
        "datetime": at.astimezone(ZONE).isoformat(timespec="milliseconds"),
        **figures,
    }
    return StoredPrediction(symbol, float(timestamp_ms), orjson.dumps(body))
