"""A gate with a journal to write into and surroundings to change: short words for the tests of the limits."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.control_events import KillLevelEvent, LockEvent
from protocol.events import (
    BaseEvent,
    FillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderStatusEvent,
    PositionCloseEvent,
    PositionOpenEvent,
)
from protocol.reports import LinkState
from protocol.risk.gate import RiskGate
from protocol.risk.settings import RiskLimits
from protocol.risk.words import AccountMoney, ContractFacts, EntryProposal, KillLevel, Quote, Refused
from protocol.rules.amounts import Shares
from protocol.settings import Schedule, StockFacts, SymbolSettings
from protocol.trade_plan import TradePlan
from protocol.values import (
    CENT_GRID,
    MAIN,
    STOP,
    TARGET,
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    Symbol,
    TimeInForce,
)
from tests.symbol_desk import SLV, TEN

GLD, SPY = Symbol("GLD"), Symbol("SPY")
METALS = "metals"
SECTORS = {SLV: METALS, GLD: METALS, SPY: "funds"}
RICH = AccountMoney(Decimal(1_000_000), Decimal(1_000_000), Decimal(4_000_000))
"""A million dollars, all of it free."""
D = Decimal


class Around:
    """What the gate is shown; every test changes what it is about. All shares cost a hundred dollars."""

    def __init__(self) -> None:
        self.state = LinkState.UP
        self.money = RICH
        self.quotes = {symbol: Quote(99.99, 100.01, 100.0, TEN) for symbol in SECTORS}
        self.facts = {symbol: ContractFacts(1, "USD", "SMART", CENT_GRID) for symbol in SECTORS}

    def quote(self, symbol: Symbol) -> Quote | None:
        return self.quotes.get(symbol)

    def contract_facts(self, symbol: Symbol) -> ContractFacts | None:
        return self.facts.get(symbol)


class Room:
    """`enter` decides and journals an entry, `judge` asks the gate, `open` does both and lets it fill."""

    def __init__(self, *symbols: Symbol, **limits: object) -> None:
        """`symbols`: none are all; `limits` are those that differ from the defaults."""
        self.at = TEN
        self.around = Around()
        settings = [
            SymbolSettings(symbol, Shares(100), StockFacts(sector=SECTORS[symbol]))
            for symbol in symbols or SECTORS
        ]
        self.gate = RiskGate(RiskLimits(**limits), Schedule(), settings)  # type: ignore[arg-type]
        self._trades: dict[Symbol, int] = {}
        self._executions = 0

    # --- time and the market ------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Both clocks go on, and the quotes are heard again."""
        self.at += timedelta(seconds=seconds)
        for symbol, quote in self.around.quotes.items():
            self.around.quotes[symbol] = attrs.evolve(quote, heard_at=self.at)

    def quote(self, symbol: Symbol = SLV, **changes: object) -> None:
        self.around.quotes[symbol] = attrs.evolve(self.around.quotes[symbol], **changes)  # type: ignore[arg-type]

    # --- the journal --------------------------------------------------------------------------------

    def journal(self, symbol: Symbol, *events: BaseEvent) -> None:
        self.gate.follow(f"symbol:{symbol}", events)

    def level(self, level: KillLevel) -> None:
        before = int(self.gate.standing.level)
        self.gate.fold(
            "risk", KillLevelEvent(at=self.at, level=int(level), before=before, who="test", why="so")
        )

    def lock(self, symbol: str = "", seconds: float | None = None) -> None:
        until = None if seconds is None else self.at + timedelta(seconds=seconds)
        name = self.gate.standing.next_lock
        self.gate.fold("risk", LockEvent(
            at=self.at, lock=name, symbol=symbol, kind="person", reason="so", who="test", until=until
        ))  # fmt: skip

    def ref(self, role: str, symbol: Symbol = SLV, revision: int = 0) -> OrderRef:
        return OrderRef("t", symbol, self._trades.get(symbol, 0), role, revision)

    # --- entries ------------------------------------------------------------------------------------

    def bracket(
        self, symbol: Symbol = SLV, side: Side = Side.BUY, quantity: int = 100, *, stop: str = "",
        target: str = "",
    ) -> tuple[OrderSpec, ...]:  # fmt: skip
        """A market entry with stop and target three and five dollars away, as the system makes them."""
        self._trades[symbol] = self._trades.get(symbol, 0) + 1
        main, group, out = self.ref(MAIN, symbol), f"t:{symbol}:{self._trades[symbol]:06d}", side.opposite
        away = side.sign
        entry = OrderSpec(main, side, quantity, OrderType.MARKET, TimeInForce.DAY)
        exits = (
            OrderSpec(
                self.ref(TARGET, symbol), out, quantity, OrderType.LIMIT, TimeInForce.GTC,
                limit_price=D(target or 100 + 5 * away),
            ),
            OrderSpec(
                self.ref(STOP, symbol), out, quantity, OrderType.STOP, TimeInForce.GTC,
                stop_price=D(stop or 100 - 3 * away),
            ),
        )  # fmt: skip
        return (entry, *(
            attrs.evolve(leg, outside_rth=True, parent=main, oca_group=group, oca_type=2) for leg in exits
        ))  # fmt: skip

    def decide(
        self, orders: tuple[OrderSpec, ...], *, plan: TradePlan | None = None, signal_id: str = "",
        planned: int | None = None,
    ) -> PlaceOrders:  # fmt: skip
        """Write the trade and its orders down, as a symbol does before it commands them."""
        entry = orders[0]
        if entry.ref.role == MAIN:
            self.journal(entry.symbol, PositionOpenEvent(
                at=self.at, symbol=entry.symbol, trade=entry.ref.trade, side=entry.side,
                quantity=entry.quantity if planned is None else planned, stop_distance=D(3),
                target_distance=D(5), signal_id=signal_id, rule="r", plan=plan or TradePlan(),
            ))  # fmt: skip
        self.journal(
            entry.symbol, *(NewOrderEvent(at=self.at, ref=order.ref, order=order) for order in orders)
        )
        return PlaceOrders(entry.symbol, 1, orders)

    def enter(
        self, symbol: Symbol = SLV, side: Side = Side.BUY, quantity: int = 100, *, signal_id: str = "",
        plan: TradePlan | None = None,
    ) -> PlaceOrders:  # fmt: skip
        return self.decide(self.bracket(symbol, side, quantity), plan=plan, signal_id=signal_id)

    def judge(self, command: PlaceOrders | ModifyOrder | CancelOrder) -> Refused | None:
        return self.gate.judge(command, self.around, at=self.at)

    def code(self, command: PlaceOrders | ModifyOrder | CancelOrder) -> str:
        """The code of the refusal; empty when it may leave."""
        refused = self.judge(command)
        return "" if refused is None else refused.code

    def admits(self, proposal: EntryProposal) -> str:
        refused = self.gate.admits(proposal, self.around, at=self.at)
        return "" if refused is None else refused.code

    def modify(self, spec: OrderSpec, **changes: object) -> ModifyOrder:
        changed = attrs.evolve(spec, **changes)  # type: ignore[arg-type]
        self.journal(spec.symbol, ModifyOrderEvent(at=self.at, ref=spec.ref, order=changed, why="resize"))
        return ModifyOrder(spec.symbol, 1, changed)

    # --- the broker ---------------------------------------------------------------------------------

    def told(self, spec: OrderSpec, status: OrderStatus = OrderStatus.SUBMITTED, filled: int = 0) -> None:
        """The broker has it as it was asked."""
        self.journal(spec.symbol, OrderStatusEvent(
            at=self.at, ref=spec.ref, status=status, perm_id=7, quantity=spec.quantity, filled=filled,
            limit_price=spec.limit_price, stop_price=spec.stop_price,
        ))  # fmt: skip

    def fill(self, spec: OrderSpec, quantity: int | None = None, price: str = "100") -> None:
        self._executions += 1
        shares = spec.quantity if quantity is None else quantity
        self.journal(spec.symbol, self.fill_event(spec, shares, price, f"x{self._executions}.01"))

    def fill_event(self, spec: OrderSpec, quantity: int, price: str = "100", exec_id: str = "") -> FillEvent:
        return FillEvent(
            at=self.at, ref=spec.ref, exec_id=exec_id, side=spec.side, quantity=quantity, price=D(price)
        )

    def open(
        self, symbol: Symbol = SLV, side: Side = Side.BUY, quantity: int = 100, *,
        plan: TradePlan | None = None,
    ) -> PlaceOrders:  # fmt: skip
        """A trade whose entry has filled and whose exits work."""
        command = self.enter(symbol, side, quantity, plan=plan)
        assert self.judge(command) is None
        for order in command.orders:
            self.told(order)
        self.fill(command.orders[0])
        return command

    def addition(self, quantity: int, index: int) -> PlaceOrders:
        """A market order to add to the long trade that lives, as a rule asks for it."""
        spec = OrderSpec(
            self.ref("order", revision=index), Side.BUY, quantity, OrderType.MARKET, TimeInForce.DAY,
            purpose=Purpose.ENTRY, index=index,
        )  # fmt: skip
        return self.decide((spec,))

    def conclude(self, symbol: Symbol = SLV) -> None:
        """The trade is over, whatever became of its orders."""
        self.journal(symbol, PositionCloseEvent(
            at=self.at, symbol=symbol, trade=self._trades[symbol], reason="test", realized_pnl=D(0)
        ))  # fmt: skip


def proposal(
    quantity: int = 100, side: Side = Side.BUY, symbol: Symbol = SLV, **changes: object
) -> EntryProposal:
    """An entry at about a hundred dollars with its stop three dollars away."""
    made = EntryProposal(symbol, side, quantity, D(100), D(3), quantity)
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]
