"""All positions of a journal: those that live, those that were closed, and what they made together.

The book folds the symbols' streams with the same `evolve` that the symbols themselves use, so it can say
nothing that they do not. It is fed by reading a journal, or as it is written (`follow`); prices, which no
journal keeps, are told by `mark`. It asks no trading actor anything. The report's counts are those of
`books.py`; a position, its executions and averages are `position.py`'s in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

import attrs

from protocol.events import (
    BaseEvent,
    CommissionEvent,
    FillEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    PriceEvent,
)
from protocol.position import ZERO, split_exec_id
from protocol.position_record import PositionRecord, position_id
from protocol.position_status import PositionStatus, nearest_target, status_of, working_stop
from protocol.position_summary import TradeResult, TradeSummary, summed_up
from protocol.settings import StockFacts
from protocol.symbol_state import SymbolState, evolve
from protocol.values import Purpose, Symbol

MAX_CLOSED: Final = 1000
"""Closed positions that are kept with their whole history: weeks of one. Older ones are in the journal; their
results stay, some hundred bytes each."""
_STREAM: Final = "symbol:"
_NO_FACTS: Final[Mapping[Symbol, StockFacts]] = MappingProxyType({})


class PositionBook:
    """`facts` are shown with the positions of their symbols."""

    def __init__(
        self, facts: Mapping[Symbol, StockFacts] = _NO_FACTS, *, keep_closed: int = MAX_CLOSED
    ) -> None:
        self._facts, self._keep_closed = facts, keep_closed
        self._states: dict[Symbol, SymbolState] = {}
        self._live: dict[Symbol, PositionRecord] = {}
        self._closed: dict[str, PositionRecord] = {}
        self._results: dict[str, TradeResult] = {}
        self._executions: dict[tuple[Symbol, str], int] = {}
        self._prices: dict[Symbol, Decimal] = {}
        self.outside = ZERO
        """Dollars realized by nobody's trade: somebody else traded our symbol between two of ours."""
        self.outside_commission = ZERO
        """What was paid for it."""

    @classmethod
    def of(
        cls,
        journal: Iterable[tuple[str, BaseEvent]],
        facts: Mapping[Symbol, StockFacts] = _NO_FACTS,
        *,
        keep_closed: int = MAX_CLOSED,
    ) -> PositionBook:
        """The book of a whole journal, as (stream, event) in the order in which it was written."""
        book = cls(facts, keep_closed=keep_closed)
        for stream, event in journal:
            book.add(stream, event)
        return book

    # --- what feeds it --------------------------------------------------------------------------------

    def follow(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written to the journal."""
        for event in events:
            self.add(stream, event)

    def add(self, stream: str, event: BaseEvent) -> None:
        if not stream.startswith(_STREAM):
            return
        symbol = Symbol(stream.removeprefix(_STREAM))
        before = self._states.get(symbol) or SymbolState.begin(symbol)
        after = self._states[symbol] = evolve(before, event)
        if after is before:
            return
        if isinstance(event, PositionOpenEvent):
            self._open(symbol, event)
        if isinstance(event, FillEvent):
            self._executions[symbol, split_exec_id(event.exec_id)[0]] = event.ref.trade
        self._account(symbol, event, before, after)
        if isinstance(event, PositionCloseEvent) and before.trade is not None and after.trade is None:
            self._close(symbol, event)
        elif after.trade is not None:
            self._look(symbol, event, after)

    def mark(self, symbol: Symbol, price: Decimal) -> None:
        """The market trades at `price`: what is held is worth that from now on."""
        self._prices[symbol] = price
        live = self._live.get(symbol)
        if live is not None:
            self._live[symbol] = live.at_price(price)

    def hear(self, event: PriceEvent) -> None:
        """`mark`, as a handler of price events."""
        self.mark(event.symbol, Decimal(repr(event.price)))

    # --- the fold -------------------------------------------------------------------------------------

    def _open(self, symbol: Symbol, event: PositionOpenEvent) -> None:
        self._live[symbol] = PositionRecord(
            symbol=symbol,
            trade=event.trade,
            side=event.side,
            rule=event.rule,
            signal_id=event.signal_id,
            opened_at=event.at,
            price=self._prices.get(symbol),
            facts=self._facts.get(symbol, StockFacts()),
        )

    def _account(self, symbol: Symbol, event: BaseEvent, before: SymbolState, after: SymbolState) -> None:
        """Money goes to the trade that lives, as its owner reckons it; after its end, where it came from.

        A commission belongs to the trade of its execution, whichever trade lives when it is told.
        """
        realized = after.position.realized_pnl - before.position.realized_pnl
        commission = after.position.commission - before.position.commission
        if not realized and not commission:
            return
        live = self._live.get(symbol)
        of = live.trade if live is not None else None
        if isinstance(event, CommissionEvent):
            of = self._executions.get((symbol, split_exec_id(event.exec_id)[0]), of)
        elif of is None and isinstance(event, FillEvent):
            of = event.ref.trade
        if live is not None and of == live.trade:
            # What it realized is looked up with the rest, as its owner reckons it.
            self._live[symbol] = _credited(live, ZERO, commission)
            return
        name = "" if of is None else position_id(symbol, of)
        record, result = self._closed.get(name), self._results.get(name)
        if record is None and result is None:
            self.outside += realized
            self.outside_commission += commission
            return
        if record is not None:
            record = self._closed[name] = _credited(record, realized, commission)
        if result is None and record is not None:
            # Its entry executed only after its end was written.
            ended = record.closed_at or event.at
            self._results[name] = TradeResult(
                symbol, record.trade, ended, record.realized_pnl, record.commission
            )
        elif result is not None:
            self._results[name] = attrs.evolve(
                result, realized=result.realized + realized, commission=result.commission + commission
            )

    def _look(self, symbol: Symbol, event: BaseEvent, state: SymbolState) -> None:
        """Write down what the event changed about the live position."""
        record, trade = self._live.get(symbol), state.trade
        if record is None or trade is None:
            return
        held = state.position.quantity
        entered = sum(order.filled for order in trade.orders if order.purpose is Purpose.ENTRY)
        stop, target = working_stop(trade), nearest_target(trade)
        if not held:
            # Not working is no news of a position that is not there: show where it was.
            stop, target = stop or record.stop_price, target or record.target_price
        reason = record.reason if trade.closing is None else trade.closing.reason
        record = record.changed(
            event.at,
            status=status_of(state),
            quantity=held,
            average_entry=trade.average if entered else None,
            stop_price=stop,
            target_price=target,
            reason=reason or (trade.concluded_by if trade.flat_since is not None else ""),
            entered=entered,
            realized_pnl=state.position.realized_pnl - trade.realized_before,
            filled_at=event.at if held and record.filled_at is None else record.filled_at,
        )
        self._live[symbol] = record if record.price is None else record.at_price(record.price)

    def _close(self, symbol: Symbol, event: PositionCloseEvent) -> None:
        record = self._live.pop(symbol)
        record = record.changed(
            event.at,
            status=PositionStatus.CLOSED,
            quantity=0,
            reason=event.reason,
            closed_at=event.at,
            realized_pnl=event.realized_pnl,
            best=record.best if event.best_pnl is None else event.best_pnl,
            worst=record.worst if event.worst_pnl is None else event.worst_pnl,
        )
        if record.entered:
            self._results[record.position_id] = TradeResult(
                symbol, record.trade, event.at, record.realized_pnl, record.commission
            )
        self._closed[record.position_id] = record
        while len(self._closed) > self._keep_closed:
            del self._closed[next(iter(self._closed))]

    # --- looking things up ----------------------------------------------------------------------------

    def get(self, position_id: str) -> PositionRecord | None:
        """The position of that id; None for one that never was, or is older than what is kept."""
        symbol = Symbol(position_id.rpartition(":")[0])
        live = self._live.get(symbol)
        return live if live and live.position_id == position_id else self._closed.get(position_id)

    def of_symbol(self, symbol: Symbol) -> tuple[PositionRecord, ...]:
        """The symbol's positions in their order, the live one last."""
        closed = tuple(record for record in self._closed.values() if record.symbol == symbol)
        live = self._live.get(symbol)
        return closed if live is None else (*closed, live)

    def live(self, symbol: Symbol) -> PositionRecord | None:
        """The one position that a symbol can have."""
        return self._live.get(symbol)

    def active(self) -> tuple[PositionRecord, ...]:
        """All that live, by symbol."""
        return tuple(self._live[symbol] for symbol in sorted(self._live))

    def closed(self) -> tuple[PositionRecord, ...]:
        """Those that ended last, in the order in which they did."""
        return tuple(self._closed.values())

    def has_open(self, symbol: Symbol | None = None) -> bool:
        """Whether a trade lives, of that symbol or of any: the traffic light for new ones."""
        return bool(self._live) if symbol is None else symbol in self._live

    def state(self, symbol: Symbol) -> SymbolState:
        """The symbol's whole state, as its owner rebuilds it after a restart."""
        return self._states.get(symbol) or SymbolState.begin(symbol)

    @property
    def symbols(self) -> tuple[Symbol, ...]:
        """All that the journal speaks of, sorted."""
        return tuple(sorted(self._states))

    def summary(self, symbol: Symbol | None = None) -> TradeSummary:
        """What closed positions made, of one symbol or in total, also of those that are kept no more."""
        return summed_up(
            result for result in self._results.values() if symbol is None or result.symbol == symbol
        )

    def to_dict(self) -> dict[str, Any]:
        """A snapshot of everything but the closed positions."""
        return {
            "active": [record.to_dict() for record in self.active()],
            "summary": {
                "total": self.summary().to_dict(),
                **{symbol: self.summary(symbol).to_dict() for symbol in self.symbols},
            },
        }


def _credited(record: PositionRecord, realized: Decimal, commission: Decimal) -> PositionRecord:
    return attrs.evolve(
        record, realized_pnl=record.realized_pnl + realized, commission=record.commission + commission
    )
