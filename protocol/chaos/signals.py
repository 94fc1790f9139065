"""The predictions of an episode: enough of them to keep every stock trading, and some that must not count."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Final

import attrs
import orjson

from protocol.exchange.history import micros
from protocol.values import Symbol

MEAN_GAP_S: Final = 110.0
"""Between two predictions of one stock."""


class SignalKind(enum.Enum):
    """What a prediction is worth, by the one who made it up."""

    GENUINE = "genuine"
    REPEATED = "signal_repeated"
    """The same once more, unchanged."""
    CHANGED = "signal_changed"
    """The id of another one, with another body."""
    STALE = "signal_stale"
    FUTURE = "signal_future"
    MALFORMED = "signal_malformed"
    UNKNOWN = "signal_of_unknown_symbol"
    FLOOD = "signal_flood"
    """One of many within a second."""


@attrs.frozen
class Prediction:
    """`body` arrives `at_s` after the beginning of the episode."""

    at_s: float
    kind: SignalKind
    body: bytes


def draw_predictions(
    random: Random, symbols: tuple[Symbol, ...], start: datetime, safety_s: float
) -> tuple[Prediction, ...]:
    """In the order of their arrival."""
    mischief = random.choice((0.0, 0.05, 0.2))
    found: list[Prediction] = []
    for symbol in symbols:
        at_s, number = random.uniform(8, 40), 0
        while at_s < safety_s - 2:
            found += _arrive(random, symbol, start, at_s, number, mischief)
            at_s += random.expovariate(1 / MEAN_GAP_S) + 3
            number += 1
    return tuple(sorted(found, key=lambda each: each.at_s))


def _arrive(
    random: Random, symbol: Symbol, start: datetime, at_s: float, number: int, mischief: float
) -> Iterator[Prediction]:
    """A prediction, and at times something wrong instead of it or beside it."""
    at = start + timedelta(seconds=at_s)
    word = random.choice(("BUY", "SELL", "SHORT", "BUY", "SELL", "HOLD"))
    fair = _body(symbol, word, at, number, confidence=round(random.uniform(0.45, 1.0), 3))
    if random.random() >= mischief:
        yield Prediction(at_s, SignalKind.GENUINE, fair)
        return
    kind = random.choice(tuple(SignalKind)[1:])
    match kind:
        case SignalKind.GENUINE:
            raise AssertionError("it is none of the kinds that are chosen among")
        case SignalKind.REPEATED:
            yield Prediction(at_s, SignalKind.GENUINE, fair)
            yield Prediction(at_s + random.uniform(0.01, 30), kind, fair)
        case SignalKind.CHANGED:
            yield Prediction(at_s, SignalKind.GENUINE, fair)
            yield Prediction(
                at_s + random.uniform(0.01, 30), kind, _body(symbol, "SELL", at, number, confidence=0.99)
            )
        case SignalKind.STALE:
            old = at - timedelta(seconds=random.uniform(120, 3600))
            yield Prediction(at_s, kind, _body(symbol, "BUY", old, number))
        case SignalKind.FUTURE:
            ahead = at + timedelta(seconds=random.uniform(10, 600))
            yield Prediction(at_s, kind, _body(symbol, "BUY", ahead, number))
        case SignalKind.UNKNOWN:
            yield Prediction(at_s, kind, _body(Symbol("ZZZZ"), "BUY", at, number))
        case SignalKind.MALFORMED:
            yield Prediction(at_s, kind, random.choice(MALFORMED) % (symbol.encode(), micros(at) // 1000))
        case SignalKind.FLOOD:
            for turn in range(25):
                flip = ("BUY", "SELL")[turn % 2]
                yield Prediction(at_s + turn * 0.04, kind, _body(symbol, flip, at, number * 100 + turn))


MALFORMED: Final = (
    b'{"id": "bad-1", "ticker": "%s", "signal": "BUY", "confidence": 7.5, "timestamp": %d}',
    b'{"id": "bad-2", "ticker": "%s", "signal": "BUY", "timestamp": %d}',
    b'{"id": "bad-3", "ticker": "%s", "signal": 5, "confidence": "high", "timestamp": %d}',
    b'["BUY", "%s", %d]',
)


def _body(symbol: Symbol, word: str, at: datetime, number: int, *, confidence: float = 0.9) -> bytes:
    stamp = micros(at) // 1000
    return orjson.dumps({
        "id": f"{symbol}-{stamp}-{number}", "ticker": symbol, "signal": word, "confidence": confidence,
        "timestamp": stamp,
    })  # fmt: skip
