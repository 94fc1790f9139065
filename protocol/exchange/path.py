"""How a one-minute bar becomes twelve instants, and what the quote looks like around a price.

The path: the open at second 0, the extreme nearer to it at 15, the other extreme at 40, the close at
55, straight lines between them on the cent. The leg from extreme to extreme is the longest, so it gets
the most time. When both extremes are equally near, a bar that closes no lower than it opens goes to its
low first. Prices that the bar states are kept as they are, fractions of a cent included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

BAR_S: Final = 60
STEP_S: Final = 5
INSTANTS: Final = BAR_S // STEP_S
FIRST_EXTREME: Final = 3
SECOND_EXTREME: Final = 8
LAST: Final = INSTANTS - 1

SPREAD: Final = 0.0001
"""Of the price, rounded to cents, at least one: about what a liquid US stock or fund shows."""
MIN_SHOWN: Final = 100
"""Shares: a round lot is the least that a quote shows."""

_SHARES_FIRST: Final = (0, LAST, FIRST_EXTREME, SECOND_EXTREME, 1, 2, 4, 5, 6, 7, 9, 10)
"""Who gets the shares that do not divide by twelve: the prices that make the bar come first."""
_MIDDLE: Final = SECOND_EXTREME - FIRST_EXTREME
_TAIL: Final = LAST - SECOND_EXTREME


class Path(NamedTuple):
    """The twelve instants of a bar, as columns. `lasts` is None where nothing trades at that instant.

    A bar without (enough) volume still states its prices: these print with size 0.
    """

    bids: list[float]
    asks: list[float]
    lasts: Sequence[float | None]
    sizes: list[int]
    shown: int
    """Shares on either side of the quote."""


class Print(NamedTuple):
    """Trading from `at_us` (microseconds of the epoch) on: one trade, or all of a bar."""

    at_us: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def spread_at(price: float) -> int:
    """The spread around `price`, in cents."""
    return int(price * (100 * SPREAD) + 0.5) or 1


def quote_around(price: float, spread: int, *, rising: bool) -> tuple[float, float]:
    """Bid and ask, `spread` cents apart, around `price`.

    A price that rises is nearer to the ask, one that falls to the bid. It lies within them whenever it is
    at least a cent; below that there is no bid (0.0).
    """
    cents = price * 100
    nearest = int(cents + 0.5)
    if -1e-4 < cents - nearest < 1e-4:
        bid = nearest - ((spread + 1) >> 1 if rising else spread >> 1)
    else:
        nearest = int(cents)
        bid = nearest - ((spread - 1) >> 1)
    if bid < 1:
        bid = 1 if nearest >= 1 else 0
    return bid / 100, (bid + spread) / 100


def shown_size(volume: float) -> int:
    """Shares shown at the best price in a minute that trades `volume`: a twelfth of it, in round lots."""
    return max(MIN_SHOWN, int(volume) // (INSTANTS * MIN_SHOWN) * MIN_SHOWN)


def corners(opened: float, high: float, low: float, close: float) -> tuple[float, float, float, float]:
    """Open, the extreme nearer to it, the other one, close."""
    # Rounded, so that a tie of decimals is a tie of floats.
    to_high, to_low = round(high - opened, 6), round(opened - low, 6)
    if to_low < to_high or (to_low == to_high and close >= opened):
        return opened, low, high, close
    return opened, high, low, close


def sizes_of(volume: int) -> list[int]:
    """Twelve trade sizes that sum to `volume`."""
    each, rest = divmod(volume, INSTANTS)
    sizes = [each] * INSTANTS
    for index in _SHARES_FIRST[:rest]:
        sizes[index] += 1
    return sizes


def path_of(opened: float, high: float, low: float, close: float, volume: int) -> Path:
    """The path of a recorded bar. All prices lie within its range; the corners are exact."""
    sizes = sizes_of(volume)
    shown = shown_size(volume)
    spread = spread_at(opened)
    start, first, second, end = corners(opened, high, low, close)
    bid, ask = quote_around(start, spread, rising=first >= start)
    if high == low:
        return Path([bid] * INSTANTS, [ask] * INSTANTS, _printed([opened] * INSTANTS, sizes), sizes, shown)
    prices, bids, asks = [start], [bid], [ask]
    for origin, target, steps in (
        (start, first, FIRST_EXTREME),
        (first, second, _MIDDLE),
        (second, end, _TAIL),
    ):
        rising = target >= origin
        below = (spread + 1) >> 1 if rising else spread >> 1
        # On the cent, but never past the ends of the leg, which may lie between cents.
        floor, ceiling = (origin, target) if rising else (target, origin)
        half_up, stride = origin * 100 + 0.5, (target - origin) * 100 / steps
        for step in range(1, steps):
            cents = int(half_up + stride * step)
            price = cents / 100
            if floor <= price <= ceiling and cents > below:
                bid, ask = (cents - below) / 100, (cents - below + spread) / 100
            else:
                price = min(max(price, floor), ceiling)
                bid, ask = quote_around(price, spread, rising=rising)
            prices.append(price)
            bids.append(bid)
            asks.append(ask)
        bid, ask = quote_around(target, spread, rising=rising)
        prices.append(target)
        bids.append(bid)
        asks.append(ask)
    return Path(bids, asks, _printed(prices, sizes), sizes, shown)


def _printed(prices: list[float], sizes: list[int]) -> Sequence[float | None]:
    """The prices at which something is said to trade: where there are shares, and where the bar is made."""
    if sizes[_SHARES_FIRST[-1]]:
        return prices
    lasts: list[float | None] = []
    latest: float | None = None
    for index, price in enumerate(prices):
        if sizes[index] or (price != latest and index in (0, FIRST_EXTREME, SECOND_EXTREME, LAST)):
            latest = price
            lasts.append(price)
        else:
            lasts.append(None)
    return lasts


def prints_of(path: Path, start_us: int) -> list[Print]:
    """What trades along the path of the bar that starts at `start_us`: the stuff of shorter bars."""
    return [
        Print(start_us + index * (STEP_S * 1_000_000), last, last, last, last, size)
        for index, (last, size) in enumerate(zip(path.lasts, path.sizes, strict=True))
        if last is not None
    ]
