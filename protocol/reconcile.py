"""Our picture of the broker's books against the broker's own: what differs, in words a person can read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import attrs

from protocol.values import Symbol

LOOK_AGAIN_LOOP_S = 2.5
"""Until the second look at a difference: a position follows its execution within two seconds."""


@attrs.frozen
class Books:
    """Positions in shares, signed; a symbol that is not named has none."""

    positions: Mapping[Symbol, int]

    def position(self, symbol: Symbol) -> int:
        return self.positions.get(symbol, 0)


@attrs.frozen
class Difference:
    symbol: Symbol
    believed: int
    actual: int

    @property
    def text(self) -> str:
        return f"our executions make {self.believed} shares of {self.symbol}, the broker holds {self.actual}"


@attrs.frozen
class Apart:
    """A difference that a symbol has seen on one link: since when, and when to ask for the books again."""

    generation: int
    ours: int
    theirs: int
    since: datetime
    ask_at: datetime


def differences(believed: Books, actual: Books, symbols: Iterable[Symbol]) -> tuple[Difference, ...]:
    """The symbols whose position is not what our executions make of it."""
    return tuple(
        Difference(symbol, believed.position(symbol), actual.position(symbol))
        for symbol in symbols
        if believed.position(symbol) != actual.position(symbol)
    )


@attrs.define
class Doubts:
    """Differences that were seen once: only the same one, still there `LOOK_AGAIN_LOOP_S` later, is real."""

    _first: dict[Symbol, tuple[Difference, float]] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self._first)

    def confirm(self, found: Iterable[Difference], loop_s: float) -> tuple[Difference, ...]:
        """Those of `found` that are old enough to be real; the others are to be looked at again."""
        real: list[Difference] = []
        doubts: dict[Symbol, tuple[Difference, float]] = {}
        for difference in found:
            first, since = self._first.get(difference.symbol, (difference, loop_s))
            if first != difference:
                since = loop_s
            if loop_s - since >= LOOK_AGAIN_LOOP_S - 1e-6:
                real.append(difference)
            else:
                doubts[difference.symbol] = (difference, since)
        self._first = doubts
        return tuple(real)

    def clear(self) -> None:
        self._first.clear()
