"""Bars from trades: intervals of market time, aligned to the epoch, closed by the first trade after them."""

from __future__ import annotations

from datetime import UTC, datetime

from protocol.values import Bar, Tick


class BarBuilder:
    """Builds bars of `bar_s` seconds from LAST ticks; `add` gives the bar that a tick completes, if one.

    A tick that was merged from several carries their extremes, so a bar keeps its range under load.
    """

    __slots__ = ("_bar_s", "_close", "_high", "_low", "_open", "_slot", "_volume")

    def __init__(self, bar_s: int) -> None:
        if bar_s <= 0:
            raise ValueError(f"a bar lasts some seconds, got {bar_s}")
        self._bar_s = bar_s
        self._slot: int | None = None
        self._open = self._high = self._low = self._close = self._volume = 0.0

    def add(self, tick: Tick) -> Bar | None:
        slot = int(tick.at.timestamp()) // self._bar_s
        if self._slot is not None and slot <= self._slot:
            # A tick that is older than the bar in the making still traded: it belongs to what is open.
            self._high = max(self._high, tick.high)
            self._low = min(self._low, tick.low)
            self._close = tick.price
            self._volume += tick.size
            return None
        completed = self._bar()
        self._slot = slot
        self._open, self._high, self._low, self._close = tick.price, tick.high, tick.low, tick.price
        self._volume = tick.size
        return completed

    def _bar(self) -> Bar | None:
        if self._slot is None:
            return None
        start = datetime.fromtimestamp(self._slot * self._bar_s, UTC)
        return Bar(start, self._open, self._high, self._low, self._close, self._volume)
