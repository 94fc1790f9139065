"""What a symbol sees of the market and of its link: the part of its state that no journal needs to keep.

It is rebuilt from history and fresh ticks after every start. Nothing that replays reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import assert_never

from protocol.reconcile import Apart
from protocol.reports import HistoryLoaded, LinkState
from protocol.risk.words import EntryProposal, Refused
from protocol.rules.indicator_names import IndicatorName
from protocol.series import SymbolBars
from protocol.settings import Atr
from protocol.values import OrderRef, PriceGrid, Side, Tick, TickKind


class MarketView:
    """Mutable on purpose: ticks are nearly all that an actor ever handles."""

    def __init__(self, atr: Atr, indicators: tuple[IndicatorName, ...] = ()) -> None:
        self.bars = SymbolBars(atr, indicators)
        self.bid: float | None = None
        self.ask: float | None = None
        self.last: float | None = None
        self.volume: float | None = None
        """Shares traded today, as the broker counts them."""
        self.previous_close: float | None = None
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
        self.admits: Callable[[EntryProposal, datetime], Refused | None] | None = None
        """The account's limits, asked before an entry is decided; the broker's gate asks them again."""
        self.equity: Decimal | None = None
        """Of the account, in dollars; None until the broker has told it."""
        self.apart: Apart | None = None
        """How the broker's position differs from ours, while it does."""
        self.wants_books = False
        """Whether the broker is to be asked for its books; whoever asks takes it back."""
        self.kept: dict[OrderRef, None] = {}
        """Exits that the journal does not know and that protect shares it does not know."""
        self.rule_was: dict[str, bool] = {}
        """Whether the condition of each rule held when it was last looked at."""
        self.rules_saw_bars = 0
        """How many bars were complete when rules were last looked at."""
        self.rule_tries: dict[str, datetime] = {}
        """Rules whose wish was refused, and when to try again."""
        self._bids: tuple[float, float] | None = None
        self._asks: tuple[float, float] | None = None
        """Lowest and highest since the trade began."""

    @property
    def atr(self) -> float | None:
        """Average true range in dollars; None while it is warming up."""
        return self.bars.figures[self.bars.atr_name]

    def indicator(self, name: IndicatorName) -> float | None:
        """A figure of those that are followed; None while it is warming up, and of one that is not."""
        return self.bars.figures.get(name)

    def advance(self, at: datetime) -> None:
        """Let time go on without a tick: a bar can be over without another trade."""
        self.bars.advance(at)

    def tick(self, tick: Tick) -> None:
        if tick.at >= self.bars.due and tick.kind is not TickKind.LAST:
            self.bars.advance(tick.at)
        match tick.kind:
            case TickKind.BID:
                self.bid, self.heard_at = tick.price, tick.at
                self._bids = _widened(self._bids, tick.price)
            case TickKind.ASK:
                self.ask, self.heard_at = tick.price, tick.at
                self._asks = _widened(self._asks, tick.price)
            case TickKind.LAST:
                self.last, self.heard_at = tick.price, tick.at
                self.bars.trade(tick)
            case TickKind.HALTED:
                self.halted = tick.price > 0
            case TickKind.VOLUME:
                self.volume = tick.size
                self.bars.count(tick.size)
            case TickKind.PREVIOUS_CLOSE:
                self.previous_close = tick.price
            case _:
                assert_never(tick.kind)

    def warm_up(self, history: HistoryLoaded) -> None:
        """Begin the indicators from completed bars of the past; live bars continue after the last of them."""
        self.bars.warm_up(history)

    def link_changed(self, state: LinkState, generation: int) -> None:
        """Quotes of a link that went down say nothing about now, and the books may have changed unseen."""
        if state is LinkState.DOWN or generation != self.generation:
            self.reconciled = False
            self.bars.interrupt()
        if state is LinkState.DOWN:
            self.bid = self.ask = self.heard_at = None
        self.link, self.generation = state, generation

    def begin_trade(self) -> None:
        """From here on the best and worst prices at which a trade could be closed are kept."""
        self._bids = self._asks = None

    def mark(self, side: Side) -> float | None:
        """Where a trade of `side` could be closed now: the bid for a long, the ask for a short."""
        return self.far_side(side.opposite)

    def excursion(self, side: Side, average: Decimal) -> tuple[Decimal | None, Decimal | None]:
        """The most that a trade of `side` was in profit and in loss, dollars per share, since it began."""
        seen = self._bids if side is Side.BUY else self._asks
        if seen is None:
            return None, None
        gains = sorted((Decimal(repr(price)) - average) * side.sign for price in seen)
        return max(gains[1], Decimal(0)), min(gains[0], Decimal(0))

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


def _widened(range_: tuple[float, float] | None, price: float) -> tuple[float, float] | None:
    if price <= 0 or (range_ is not None and range_[0] <= price <= range_[1]):
        return range_
    return (price, price) if range_ is None else (min(range_[0], price), max(range_[1], price))
