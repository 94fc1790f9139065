"""What a symbol sees of the market and of its link: the part of its state that no journal needs to keep.

It is rebuilt from history and fresh ticks after every start. Nothing that replays reads it.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from protocol.bars import BarBuilder
from protocol.indicators import AverageTrueRange
from protocol.reports import HistoryLoaded, LinkState
from protocol.settings import Atr
from protocol.values import PriceGrid, Side, Tick, TickKind


class MarketView:
    """Mutable on purpose: ticks are nearly all that an actor ever handles."""

    def __init__(self, atr: Atr) -> None:
        self._atr_settings = atr
        self.bid: float | None = None
        self.ask: float | None = None
        self.last: float | None = None
        self.heard_at: datetime | None = None
        """When the symbol's line last told of a quote or a trade."""
        self.halted = False
        self.grid: PriceGrid | None = None
        self.link = LinkState.DOWN
        self.generation = 0
        self.reconciled = False
        """Whether the books were compared on the present link."""
        self.began = False
        """Whether they were ever compared in this life of the actor."""
        self.why_not = "the broker has not confirmed the symbol yet"
        self.stopping = False
        """Whether the system is about to stop: nothing new is entered."""
        self._bars = BarBuilder(atr.bar_s)
        self._atr = AverageTrueRange(atr.period)
        self._warm_until: datetime | None = None

    @property
    def atr(self) -> float | None:
        """Average true range in dollars; None while it is warming up."""
        return self._atr.value

    def tick(self, tick: Tick) -> None:
        match tick.kind:
            case TickKind.BID:
                self.bid, self.heard_at = tick.price, tick.at
            case TickKind.ASK:
                self.ask, self.heard_at = tick.price, tick.at
            case TickKind.LAST:
                self.last, self.heard_at = tick.price, tick.at
                bar = self._bars.add(tick)
                if bar is not None and (self._warm_until is None or bar.start > self._warm_until):
                    self._atr.add(bar)
            case TickKind.HALTED:
                self.halted = tick.price > 0
            case _:
                assert_never(tick.kind)

    def warm_up(self, history: HistoryLoaded) -> None:
        """Begin the indicators from completed bars of the past; live bars continue after the last of them."""
        if history.bar_s != self._atr_settings.bar_s or not history.bars:
            return
        self._atr = AverageTrueRange(self._atr_settings.period)
        for bar in history.bars:
            self._atr.add(bar)
        self._warm_until = history.bars[-1].start

    def link_changed(self, state: LinkState, generation: int) -> None:
        """Quotes of a link that went down say nothing about now, and the books may have changed unseen."""
        if state is LinkState.DOWN or generation != self.generation:
            self.reconciled = False
        if state is LinkState.DOWN:
            self.bid = self.ask = self.heard_at = None
        self.link, self.generation = state, generation

    def far_side(self, side: Side) -> float | None:
        """The price at which a market order of `side` would trade: the ask for BUY, the bid for SELL."""
        price = self.ask if side is Side.BUY else self.bid
        return price if price is not None and price > 0 else None

    def quote_age_s(self, at: datetime) -> float | None:
        """For how long nothing was heard of the market, in market time; None without a quote of two sides.

        TWS tells changes only: a side that stands still is as good as new while the line speaks at all.
        """
        if self.heard_at is None or not self.bid or not self.ask:
            return None
        return (at - self.heard_at).total_seconds()
