"""The risk gate with a journal in memory and surroundings that are as the test says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import attrs

from protocol.events import (
    BaseEvent,
    FillEvent,
    ModifyOrderEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    RejectEvent,
)
from protocol.reports import LinkState
from protocol.risk.gate import RiskGate
from protocol.risk.monitor import watch
from protocol.risk.settings import RiskLimits
from protocol.risk.words import AccountMoney, ContractFacts, KillLevel, Quote
from protocol.settings import Schedule, SymbolSettings
from protocol.values import CENT_GRID, MAIN, STOP, TARGET, Side, Symbol
from tests.journals import GLD, SLV, at, new, ref

D = Decimal


@attrs.define
class Around:
    """What the broker session would say."""

    state: LinkState = LinkState.UP
    money: AccountMoney = attrs.field(factory=lambda: AccountMoney(D(100_000), D(80_000), D(200_000)))
    quotes: dict[Symbol, Quote] = attrs.field(factory=dict)

    def quote(self, symbol: Symbol) -> Quote | None:
        return self.quotes.get(symbol)

    def contract_facts(self, symbol: Symbol) -> ContractFacts | None:
        return ContractFacts(sum(map(ord, symbol)), "USD", "SMART", CENT_GRID)

    def show(self, symbol: Symbol, bid: float, ask: float | None = None) -> None:
        ask = bid + 0.02 if ask is None else ask
        self.quotes[symbol] = Quote(bid, ask, bid, at(0))

    def is_worth(self, equity: str) -> None:
        self.money = attrs.evolve(self.money, equity=D(equity))


class RiskStage:
    """Tell it what happened, let it look; what the monitor demands is folded, as its actor would."""

    def __init__(self, limits: RiskLimits | None = None, symbols: Iterable[Symbol] = (SLV, GLD)) -> None:
        self.gate = RiskGate(limits or RiskLimits(), Schedule(), [SymbolSettings(name) for name in symbols])
        self.around = Around()
        self.journal: list[tuple[str, BaseEvent]] = []
        self._trades: dict[Symbol, int] = {}
        self._executions = 0

    def tell(self, *events: BaseEvent, stream: str = "") -> None:
        for event in events:
            place = stream or f"symbol:{event.symbol}"  # type: ignore[attr-defined]
            self.journal.append((place, event))
            self.gate.fold(place, event)

    def look(self, seconds: float = 0.0) -> list[BaseEvent]:
        """What the monitor demands at that moment, folded."""
        events: list[BaseEvent] = list(watch(self.gate, self.around, at=at(seconds)))
        for event in events:
            self.journal.append(("risk", event))
            self.gate.fold("risk", event)
        return events

    def again(self, limits: RiskLimits | None = None) -> RiskStage:
        """The same journal after a restart."""
        other = RiskStage(limits or self.gate.standing.limits)
        other.around, other._trades, other._executions = self.around, self._trades, self._executions
        for stream, event in self.journal:
            other.journal.append((stream, event))
            other.gate.fold(stream, event, replay=True)
        return other

    # --- what happens ---------------------------------------------------------------------------------

    def open(
        self, symbol: Symbol = SLV, quantity: int = 100, price: str = "15.00", seconds: float = 0
    ) -> int:
        """A trade is entered long and filled."""
        number = self._trades[symbol] = self._trades.get(symbol, 0) + 1
        main = ref(MAIN, number, symbol=symbol)
        self.tell(
            PositionOpenEvent(
                at=at(seconds), symbol=symbol, trade=number, side=Side.BUY, quantity=quantity,
                stop_distance=D("0.50"), target_distance=None, signal_id="", rule="long",
            ),
            new(main, quantity, seconds=seconds),
            self.fill(main, Side.BUY, quantity, price, seconds),
        )  # fmt: skip
        return number

    def close(
        self, symbol: Symbol = SLV, quantity: int = 100, price: str = "15.00", seconds: float = 0,
        *, by: str = TARGET, entered: str = "15.00",
    ) -> None:  # fmt: skip
        """The trade that lives is over; `by` is the order that ended it."""
        number = self._trades[symbol]
        self.tell(
            self.fill(ref(by, number, symbol=symbol), Side.SELL, quantity, price, seconds),
            PositionCloseEvent(
                at=at(seconds), symbol=symbol, trade=number, reason=by,
                realized_pnl=(D(price) - D(entered)) * quantity,
            ),
        )  # fmt: skip

    def trade(self, seconds: float, pnl: str, *, symbol: Symbol = SLV, by: str = TARGET) -> None:
        """One whole trade of 100 shares that made `pnl` dollars and closed then."""
        price = D("15.00") + D(pnl) / 100
        self.open(symbol, seconds=seconds)
        self.close(symbol, price=str(price), seconds=seconds, by=by)

    def stop_out(self, seconds: float, *, symbol: Symbol = SLV, pnl: str = "-10") -> None:
        self.trade(seconds, pnl, symbol=symbol, by=STOP)

    def fill(self, order: object, side: Side, quantity: int, price: str, seconds: float) -> FillEvent:
        self._executions += 1
        return FillEvent(
            at=at(seconds), ref=order, exec_id=f"{self._executions:04d}.01", side=side, quantity=quantity,  # type: ignore[arg-type]
            price=D(price),
        )  # fmt: skip

    def refuse(
        self, seconds: float, *, symbol: Symbol = SLV, code: int = 201, request: str = "place",
        role: str = MAIN, trade: int | None = None,
    ) -> None:  # fmt: skip
        """The broker refuses an order, of another trade each time."""
        number = trade or self._trades.get(symbol, 0) + 1
        self._trades[symbol] = number
        order = ref(role, number, symbol=symbol)
        self.tell(RejectEvent(
            at=at(seconds), ref=order, request=request, code=code, reason="no", terminal=request == "place"
        ))  # fmt: skip

    def change(self, times: int, seconds: float = 0, symbol: Symbol = SLV) -> None:
        """So many changes of a stop."""
        order = ref(STOP, self._trades.get(symbol, 1), symbol=symbol)
        for _ in range(times):
            self.tell(
                ModifyOrderEvent(at=at(seconds), ref=order, order=new(order, stop="14.50").order, why="trail")
            )

    # --- what came of it ------------------------------------------------------------------------------

    def locks(self, seconds: float = 0.0) -> list[tuple[str, str]]:
        """(kind, symbol) of the locks that hold then."""
        return [(lock.kind, lock.symbol) for lock in self.gate.standing.locks(at(seconds))]

    @property
    def level(self) -> KillLevel:
        return self.gate.standing.level


def kinds(events: Iterable[BaseEvent]) -> list[str]:
    """The names of events, without what tells a person the same."""
    quiet = ("AlarmEvent", "EquityEvent")
    return [type(event).__name__ for event in events if type(event).__name__ not in quiet]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
