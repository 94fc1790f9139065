"""A market of bars, and the indicators' formulas over a whole list of them, written out once more.

Nothing here is streaming: each figure is reckoned from all bars, as the books define it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise

from hypothesis import strategies as st

from protocol.exchange.calendar import session_of
from protocol.rules.indicator_names import IndicatorName, indicator_name, split_suffix
from protocol.values import Bar
from tests.symbol_desk import TEN

Figures = list[float | None]

_SESSION = session_of(TEN.date())
assert _SESSION is not None
OPENING = _SESSION.start
CLOSING = _SESSION.end


def named(text: str, *parameters: float, bar_s: int | None = None) -> IndicatorName:
    """`rsi14`, `macd.signal`: as rules write it."""
    word, _, field = text.partition(".")
    found = split_suffix(word)
    assert found is not None, text
    return indicator_name(found[0], found[1] or parameters, bar_s, field)


def market(count: int = 600, seed: int = 7, bar_s: int = 30) -> list[Bar]:
    """A random walk; the figures that another library gave for it are in `test_indicators_batch.py`."""
    chance, close, bars = random.Random(seed), 100.0, []
    for number in range(count):
        opened = close + chance.uniform(-0.2, 0.2)
        close = opened + chance.uniform(-0.5, 0.5)
        high = max(opened, close) + chance.uniform(0, 0.3)
        low = min(opened, close) - chance.uniform(0, 0.3)
        start = OPENING + number * timedelta(seconds=bar_s)
        bars.append(Bar(start, opened, high, low, close, float(chance.randint(1, 1000))))
    return bars


@st.composite
def markets(draw: st.DrawFn, least: int = 1, most: int = 60) -> list[Bar]:
    """Bars of a minute within one session, wild ones and flat ones among them."""
    cents = st.integers(900, 1100)
    rows = draw(
        st.lists(st.tuples(cents, cents, cents, cents, st.integers(0, 500)), min_size=least, max_size=most)
    )
    bars = []
    for minute, (*row, volume) in enumerate(rows):
        prices = [price / 100 for price in row]
        start = OPENING + minute * timedelta(minutes=1)
        bars.append(Bar(start, prices[0], max(prices), min(prices), prices[-1], float(volume)))
    return bars


# --- over a list ----------------------------------------------------------------------------------


def windowed(
    values: Sequence[float], length: int, figure: Callable[[Sequence[float]], float | None]
) -> Figures:
    """`figure` of each `length` values in a row."""
    return [
        figure(values[end - length : end]) if end >= length else None for end in range(1, len(values) + 1)
    ]


def average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def smoothed(values: Sequence[float | None], period: int, weight: float) -> Figures:
    """An exponential average that begins with the mean of its first `period` numbers."""
    found: Figures = []
    seen: list[float] = []
    for value in values:
        if value is not None:
            seen.append(value)
        if len(seen) < period or value is None:
            found.append(None)
            continue
        reached = average(seen[:period])
        for later in seen[period:]:
            reached = (1 - weight) * reached + weight * later
        found.append(reached)
    return found


def wilder(values: Sequence[float | None], period: int) -> Figures:
    return smoothed(values, period, 1 / period)


def exponential(values: Sequence[float | None], period: int) -> Figures:
    return smoothed(values, period, 2 / (period + 1))


def closes(bars: Sequence[Bar]) -> list[float]:
    return [bar.close for bar in bars]


def less(left: Figures, right: Figures) -> Figures:
    return [
        None if one is None or other is None else one - other for one, other in zip(left, right, strict=True)
    ]


def share(part: float | None, rest: float | None) -> float | None:
    """`part` of both together in percent."""
    if part is None or rest is None or part + rest == 0:
        return None
    return 100 * part / (part + rest)


def true_ranges(bars: Sequence[Bar]) -> list[float]:
    return [max(bar.high, last.close) - min(bar.low, last.close) for last, bar in pairwise([bars[0], *bars])][
        1:
    ]


def deviations(values: Sequence[float], period: int) -> Figures:
    return windowed(
        values, period, lambda some: (sum((each - average(some)) ** 2 for each in some) / len(some)) ** 0.5
    )


def rsi(bars: Sequence[Bar], period: int) -> Figures:
    changes = [after - before for before, after in pairwise(closes(bars))]
    rises = wilder([max(change, 0.0) for change in changes], period)
    falls = wilder([max(-change, 0.0) for change in changes], period)
    return [None, *(share(rise, fall) for rise, fall in zip(rises, falls, strict=True))]


def macd(bars: Sequence[Bar], fast: int, slow: int, signal: int) -> dict[str, Figures]:
    line = less(exponential(closes(bars), fast), exponential(closes(bars), slow))
    signals = exponential(line, signal)
    return {"line": line, "signal": signals, "histogram": less(line, signals)}


def adx(bars: Sequence[Bar], period: int) -> dict[str, Figures]:
    ups, downs = [], []
    for last, bar in pairwise(bars):
        up, down = bar.high - last.high, last.low - bar.low
        ups.append(up if up > max(down, 0) else 0.0)
        downs.append(down if down > max(up, 0) else 0.0)
    heights = wilder(true_ranges(bars), period)
    plus = [_percent(*pair) for pair in zip(wilder(ups, period), heights, strict=True)]
    minus = [_percent(*pair) for pair in zip(wilder(downs, period), heights, strict=True)]
    index: Figures = [
        None if p is None or m is None else 100 * abs(p - m) / (p + m) if p + m else 0.0
        for p, m in zip(plus, minus, strict=True)
    ]
    return {"": [None, *wilder(index, period)], "plus": [None, *plus], "minus": [None, *minus]}


def _percent(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else 100 * part / whole


def stochastic(bars: Sequence[Bar], period: int) -> Figures:
    found: Figures = []
    for end in range(1, len(bars) + 1):
        some = bars[max(end - period, 0) : end]
        high, low = max(bar.high for bar in some), min(bar.low for bar in some)
        known = len(some) == period and high > low
        found.append(100 * (bars[end - 1].close - low) / (high - low) if known else None)
    return found


def vwap(bars: Sequence[Bar]) -> Figures:
    """Of bars of one session."""
    found: Figures = []
    for end in range(1, len(bars) + 1):
        volume = sum(bar.volume for bar in bars[:end])
        dollars = sum((bar.high + bar.low + bar.close) / 3 * bar.volume for bar in bars[:end])
        found.append(dollars / volume if volume else None)
    return found
