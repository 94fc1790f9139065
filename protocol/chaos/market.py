"""The market of an episode: a few stocks that wander, jump and thin out, trade by trade, all from one seed.

Wild enough that stops and targets some tenths of a percent away are reached within minutes, and thin
enough that orders of a hundred shares fill in parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Final

import attrs

from protocol.exchange.history import micros
from protocol.exchange.market import RecordedMarket
from protocol.exchange.series import trades_from
from protocol.exchange.tape import Tape
from protocol.values import Symbol

HISTORY_MIN: Final = 8
"""Minutes of trading before an episode, for indicators that warm up."""
SECONDS_PER_MIN: Final = 60


@attrs.frozen
class Temper:
    """How one stock trades. `volatility_min` is the standard deviation of a minute's return."""

    symbol: Symbol
    price: float
    volatility_min: float
    gap_s: float
    """Mean time between two trades."""
    size: int
    """Median shares of a trade."""
    jumps_per_min: float


def draw_tempers(random: Random, symbols: tuple[Symbol, ...]) -> tuple[Temper, ...]:
    return tuple(
        Temper(
            symbol,
            price=round(random.uniform(15, 220), 2),
            volatility_min=random.uniform(0.0012, 0.004),
            gap_s=random.uniform(2.5, 5.0),
            size=random.choice((1500, 3000, 6000, 20_000)),
            jumps_per_min=random.choice((0.0, 0.02, 0.1)),
        )
        for symbol in symbols
    )


def make_market(
    random: Random, tempers: tuple[Temper, ...], start: datetime, minutes: float
) -> RecordedMarket:
    """From `HISTORY_MIN` before `start` on, for `minutes` after it."""
    first = start - timedelta(minutes=HISTORY_MIN)
    span_s = (HISTORY_MIN + minutes) * SECONDS_PER_MIN
    tapes = []
    for temper in tempers:
        rows = [
            (micros(first + timedelta(seconds=at)), price, size)
            for at, price, size in _walk(random, temper, span_s)
        ]
        tapes.append(Tape(temper.symbol, trades=trades_from(rows)))
    return RecordedMarket(tapes)


def _walk(random: Random, temper: Temper, span_s: float) -> Iterator[tuple[float, float, int]]:
    """Trades as (seconds from the beginning, price, shares)."""
    at_s, price = 0.0, temper.price
    while at_s < span_s:
        yield (
            round(at_s, 3),
            round(price, 2),
            max(100, round(random.lognormvariate(math.log(temper.size), 0.8))),
        )
        gap_s = random.uniform(0.3, 1.7) * temper.gap_s
        step = random.gauss(0.0, temper.volatility_min * math.sqrt(gap_s / SECONDS_PER_MIN))
        if random.random() < temper.jumps_per_min * gap_s / SECONDS_PER_MIN:
            step += random.choice((-1, 1)) * random.uniform(0.003, 0.02)
        price = max(2.0, price * (1 + step))
        at_s += gap_s
