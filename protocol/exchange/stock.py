"""The making of one synthetic stock: any second of any trading day can be worked out by itself.

The price is a walk in three storeys, each pinned to the one above: the level from day to day, which
wanders around a price of the symbol's own (so that years may pass), the minutes of a day, the seconds of a
minute. Every second trades, on the cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from itertools import accumulate
from math import exp, log, sqrt
from typing import Final, NamedTuple

from protocol.exchange.calendar import NEW_YORK, Session, next_trading_day, previous_trading_day, session_of
from protocol.exchange.history import MINUTE_US, SECOND_US, micros, moment
from protocol.exchange.noise import WORD_DEVIATION, shocks, uniforms, words
from protocol.exchange.path import Print

SECONDS: Final = 60

FAMILIAR: Final = {
    "AAPL": 223, "AMD": 123, "AMZN": 235, "BAC": 46, "GLD": 254, "GOOGL": 198, "IBM": 226, "INTC": 22,
    "IWM": 229, "JPM": 264, "META": 636, "MSFT": 447, "MU": 109, "NVDA": 147, "QCOM": 170, "QQQ": 532,
    "SLV": 28, "SMH": 262, "SPY": 607, "TSLA": 412, "TSM": 220, "V": 326, "XOM": 109,
}  # fmt: skip
"""Dollars that these cost in January 2025, about, so that a demo looks familiar; others are made up."""

_MADE_UP_FROM, _MADE_UP_TO = 12.0, 400.0
_QUIETEST, _LIVELIEST = 0.03, 0.06
"""Standard deviation of a day: livelier than most stocks, so that little time shows a lot."""
_SLOWEST, _BUSIEST = 200.0, 4000.0
"""Shares traded a second, on average."""
_MEMORY: Final = 0.9
"""Of the distance from the symbol's own price, so much is left a day later."""
_WEIGHTS: Final = tuple(_MEMORY**age for age in range(30))
_BLOCK: Final = 32
_DRIFT: Final = 0.7
"""Of the daily deviation, what each day adds to the wandering level."""
_GAP: Final = 0.15
"""Of the daily deviation, what the price jumps over night."""
_DAYS_KEPT: Final = 8


class Minute(NamedTuple):
    """Sixty seconds: price and shares of each, the day's volume after each; the price before the first."""

    before: float
    prices: list[float]
    sizes: list[int]
    volumes: list[int]


class Day(NamedTuple):
    """The logarithm of the price at the edges of the minutes; the shares of each minute, and before it."""

    edges: list[float]
    shares: list[int]
    volumes: list[int]


class Stock:
    """One symbol under one seed. `phase`: where in each second it trades, so that not all do at once."""

    def __init__(self, seed: int, symbol: str, *, first_day: date) -> None:
        """`first_day`: nothing is known of the time before."""
        self.symbol = symbol
        self._name = f"{seed}|{symbol}|"
        level, lively, busy, phase = uniforms(4, self._name + "character")
        price = FAMILIAR.get(symbol) or _MADE_UP_FROM * (_MADE_UP_TO / _MADE_UP_FROM) ** level
        self._base = log(price)
        self._daily = _QUIETEST + (_LIVELIEST - _QUIETEST) * lively
        self._shares_a_minute = SECONDS * _SLOWEST * (_BUSIEST / _SLOWEST) ** busy
        self.phase_us = int(phase * 100) * 10_000
        self.phase = timedelta(microseconds=self.phase_us)
        self._first_day = first_day
        self._days: dict[date, Day] = {}

    @property
    def base(self) -> float:
        """The price around which it wanders in the long run."""
        return exp(self._base)

    def minute(self, session: Session, minute_us: int) -> Minute:
        day, index = self._day(session), (minute_us - micros(session.start)) // MINUTE_US
        levels, weights = self._seconds(day, index, minute_us)
        prices = [int(100 * exp(level) + 0.5) / 100 for level in levels]
        sizes = _split(day.shares[index], weights)
        volumes = list(accumulate(sizes, initial=day.volumes[index]))[1:]
        return Minute(_cents(day.edges[index]), prices, sizes, volumes)

    def _seconds(self, day: Day, index: int, minute_us: int) -> tuple[list[float], tuple[int, ...]]:
        """The logarithm of the price in each second of a minute, and the weight of its trading."""
        start, end = day.edges[index], day.edges[index + 1]
        steps = words(2 * SECONDS, f"{self._name}{minute_us}")
        walk = list(accumulate(steps[:SECONDS]))
        scale = self._daily / sqrt(len(day.shares) * SECONDS) / WORD_DEVIATION
        # The pull that pins the walk to `end` also takes out that words are positive.
        pull = (end - start - scale * walk[-1]) / SECONDS
        levels = [start + scale * word + pull * second for second, word in enumerate(walk, 1)]
        levels[-1] = end
        return levels, steps[SECONDS:]

    def prints(self, session: Session, from_us: int, to_us: int, *, whole_minutes: bool) -> Iterable[Print]:
        if session.day < self._first_day:
            return
        day, open_us = self._day(session), micros(session.start)
        for minute_us in range(from_us, to_us, MINUTE_US):
            if whole_minutes:
                index = (minute_us - open_us) // MINUTE_US
                levels, _ = self._seconds(day, index, minute_us)
                high, low = _cents(max(levels)), _cents(min(levels))
                yield Print(minute_us, _cents(levels[0]), high, low, _cents(levels[-1]), day.shares[index])
                continue
            minute = self.minute(session, minute_us)
            first_us = minute_us + self.phase_us
            moments = range(first_us, min(first_us + MINUTE_US, to_us), SECOND_US)
            for at_us, price, size in zip(moments, minute.prices, minute.sizes, strict=False):
                yield Print(at_us, price, price, price, price, size)

    def close_before(self, at_us: int) -> float | None:
        session = session_of(moment(at_us).astimezone(NEW_YORK).date())
        if session is None:
            raise ValueError(f"the exchange is closed at {moment(at_us)}")
        index = (at_us - micros(session.start)) // MINUTE_US
        if index == 0:
            session, index = previous_trading_day(session.day), -1
        if session.day < self._first_day:
            return None
        return _cents(self._day(session).edges[index])

    def _day(self, session: Session) -> Day:
        day = self._days.get(session.day)
        if day is None:
            if len(self._days) >= _DAYS_KEPT:
                del self._days[next(iter(self._days))]
            day = self._days[session.day] = self._make_day(session)
        return day

    def _make_day(self, session: Session) -> Day:
        minutes = (micros(session.end) - micros(session.start)) // MINUTE_US
        name = f"{self._name}day|{session.day.toordinal()}"
        opened = self._level(session.day) + _GAP * self._daily * shocks(1, name + "|open")[0]
        closed = self._level(next_trading_day(session.day).day)
        walk = list(accumulate(words(minutes, name)))
        scale = self._daily / sqrt(minutes) / WORD_DEVIATION
        pull = (closed - opened - scale * walk[-1]) / minutes
        edges = [opened, *(opened + scale * word + pull * minute for minute, word in enumerate(walk, 1))]
        shares = [
            SECONDS + int(self._shares_a_minute * (0.5 + busy))
            for busy in uniforms(minutes, name + "|shares")
        ]
        return Day(edges, shares, list(accumulate(shares, initial=0)))

    def _level(self, day: date) -> float:
        """The logarithm of the price around which the day opens, and near which the day before closes."""
        ordinal = day.toordinal()
        block = (ordinal - len(_WEIGHTS) + 1) // _BLOCK
        steps = [
            shock
            for number in range(block, ordinal // _BLOCK + 1)
            for shock in shocks(_BLOCK, f"{self._name}level|{number}")
        ]
        today = ordinal - block * _BLOCK
        wander = sum(weight * steps[today - age] for age, weight in enumerate(_WEIGHTS))
        return self._base + _DRIFT * self._daily * wander


def _cents(level: float) -> float:
    return int(100 * exp(level) + 0.5) / 100


def _split(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in parts by weight, at least 1 each; what does not divide goes to the last."""
    rest, whole = total - len(weights), sum(weights) or 1
    sizes = [1 + rest * weight // whole for weight in weights]
    sizes[-1] += total - sum(sizes)
    return sizes
