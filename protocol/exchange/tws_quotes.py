"""The market of one contract as it stands, from its ticks: what every subscription of the face looks at."""

from __future__ import annotations

import attrs

from protocol.exchange.happenings import MarketTick

_DAY_TURNS_UTC_S = 5 * 3600
"""Seconds after midnight UTC at which the day's figures start anew: night in New York, summer and winter."""


@attrs.define(eq=False)
class Quote:
    """None is not known yet. `opened`, `high`, `low`, `volume`, `trades` and `turnover` are the day's."""

    bid: float | None = None
    bid_size: int | None = None
    ask: float | None = None
    ask_size: int | None = None
    last: float | None = None
    last_size: int | None = None
    last_epoch_s: int | None = None
    opened: float | None = None
    high: float | None = None
    low: float | None = None
    volume: int | None = None
    trades: int = 0
    turnover: float = 0.0
    """Price times size over the trades that were seen."""
    shares: int = 0
    """The shares of these trades."""
    close: float | None = None
    """The last price of the trading day before."""
    halted: bool = False
    day: int | None = None
    """The number of the trading day that the figures are of."""

    def absorb(self, tick: MarketTick) -> None:
        if tick.bid is not None:
            self.bid = tick.bid
        if tick.bid_size is not None:
            self.bid_size = tick.bid_size
        if tick.ask is not None:
            self.ask = tick.ask
        if tick.ask_size is not None:
            self.ask_size = tick.ask_size
        if tick.halted is not None:
            self.halted = tick.halted
        last = tick.last
        if last is None:
            return
        epoch_s = int(tick.at.timestamp())
        day = (epoch_s - _DAY_TURNS_UTC_S) // 86_400
        if day != self.day:
            self._begin(day, last)
        if self.high is None or last > self.high:
            self.high = last
        if self.low is None or last < self.low:
            self.low = last
        if tick.volume is not None:
            self.volume = tick.volume
        size = tick.last_size
        self.last, self.last_size, self.last_epoch_s = last, size, epoch_s
        self.trades += 1
        if size:
            self.turnover += last * size
            self.shares += size

    def _begin(self, day: int, first: float) -> None:
        if self.day is not None:
            self.close = self.last
        self.day, self.opened = day, first
        self.high = self.low = self.volume = None
        self.trades = self.shares = 0
        self.turnover = 0.0

    @property
    def middle(self) -> float | None:
        """Between bid and ask, where there are both."""
        if self.bid and self.ask:
            return round((self.bid + self.ask) / 2, 8)
        return None

    @property
    def price(self) -> float | None:
        """The last price, or else the middle of the quote."""
        return self.last if self.last is not None else self.middle

    @property
    def mark(self) -> float | None:
        """The last price, held within the quote."""
        last, bid, ask = self.last, self.bid, self.ask
        if last is None or not bid or not ask:
            return self.price
        return min(max(last, bid), ask) if bid <= ask else last

    @property
    def vwap(self) -> float:
        return self.turnover / self.shares if self.shares else 0.0
