"""A gate before a real venue, and somebody without much sense who commands: what the gate lets, is placed.

The journal is kept as the system keeps it: an intent before its order, a word of the venue when it is heard,
which may be late. The gate is shown the same quote all the time, so that a share is worth a hundred dollars
in its limits and in the truth; the venue's market moves as it likes.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from decimal import Decimal

import attrs

from protocol.commands import CancelOrder, ModifyOrder, PlaceOrders
from protocol.events import (
    BaseEvent,
    CancelEvent,
    FillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    PositionCloseEvent,
    PositionOpenEvent,
    RejectEvent,
)
from protocol.exchange import happenings as venue_words
from protocol.exchange.happenings import MarketTick, VenueOrder
from protocol.exchange.venue import AccountSettings, ChildActivation, Venue, VenueSettings
from protocol.reports import RequestKind
from protocol.risk.book import BookedOrder
from protocol.risk.gate import RiskGate
from protocol.risk.settings import RiskLimits
from protocol.risk.words import AccountMoney
from protocol.rules.amounts import Shares
from protocol.session_translation import STATUS, price_fields, stock, to_tws
from protocol.settings import Schedule, StockFacts, SymbolSettings
from protocol.trade_plan import AdditionPlan, TradePlan
from protocol.values import (
    CLOSE,
    MAIN,
    SCALE,
    STOP,
    TARGET,
    OrderRef,
    OrderSpec,
    OrderType,
    Purpose,
    Side,
    Symbol,
    TimeInForce,
)
from tests.risk_room import SECTORS, Around, D
from tests.symbol_desk import TEN

ACCOUNT, CLIENT = "DU1234567", 1
PRICE = 100
EQUITY = 20_000
LIMITS = RiskLimits(
    max_order_quantity=150, max_order_notional=D(15_100), max_position_quantity=200,
    max_position_notional=D(21_000), max_gross=1.5, max_net=1.2, max_sector=1.3, max_positions=2,
    min_excess_liquidity=0.0, repeat_guard_s=0.0, max_order_messages=10**6, max_entries=10**6,
)  # fmt: skip
OPENING = TradePlan(scale_ins=(AdditionPlan(D(1), 50),))


class RiskVenue:
    """`approved` and `refused` count what the gate said."""

    def __init__(self, activation: ChildActivation) -> None:
        self.at = TEN
        self.venue = Venue(VenueSettings(
            accounts=(AccountSettings(ACCOUNT, Decimal(10**9)),), child_activation=activation
        ))  # fmt: skip
        self.around = Around()
        self.around.money = AccountMoney(D(EQUITY), D(EQUITY))
        self.gate = self._new_gate()
        self.journal: list[tuple[str, BaseEvent]] = []
        self.approved = self.refused = 0
        self.mail_is_late = False
        self.crossed: set[Symbol] = set()
        """Symbols of which an exit was asked for while news of them was on its way: it may overshoot."""
        self._news: deque[tuple[str, BaseEvent]] = deque()
        self._ids: dict[OrderRef, int] = {}
        self._refs: dict[int, OrderRef] = {}
        self._parents: dict[OrderRef, int] = {}
        self._trades: dict[Symbol, int] = {}
        self._revisions = 0
        for symbol in SECTORS:
            self.market(symbol, 0.0, 5000)

    @staticmethod
    def _new_gate() -> RiskGate:
        settings = [SymbolSettings(one, Shares(1), StockFacts(sector=name)) for one, name in SECTORS.items()]
        return RiskGate(LIMITS, Schedule(), settings)

    # --- the journal --------------------------------------------------------------------------------

    def write(self, symbol: Symbol, *events: BaseEvent) -> None:
        for event in events:
            self._append(f"symbol:{symbol}", event)

    def _append(self, stream: str, event: BaseEvent) -> None:
        self.journal.append((stream, event))
        self.gate.follow(stream, [event])

    def restart(self) -> None:
        """The gate is born again, with nothing but the journal."""
        self.gate = self._new_gate()
        for stream, event in self.journal:
            self.gate.fold(stream, event, replay=True)

    def hear(self, most: int = 10**6) -> None:
        """So much of the mail arrives."""
        while self._news and most > 0:
            self._append(*self._news.popleft())
            most -= 1

    # --- what is asked ------------------------------------------------------------------------------

    def enter(self, symbol: Symbol, side: Side, quantity: int, kind: OrderType, offset: Decimal) -> None:
        """A trade with its bracket, whether or not one lives."""
        number = self._trades[symbol] = self._trades.get(symbol, 0) + 1
        main, group = OrderRef("t", symbol, number, MAIN), f"t:{symbol}:{number}"
        limit = PRICE - side.sign * offset if kind is OrderType.LIMIT else None
        entry = OrderSpec(main, side, quantity, kind, TimeInForce.DAY, limit_price=limit)
        legs = tuple(
            OrderSpec(
                OrderRef("t", symbol, number, role), side.opposite, quantity, of, TimeInForce.GTC,
                limit_price=None if of is OrderType.STOP else D(PRICE) + side.sign * 4,
                stop_price=D(PRICE) - side.sign * 4 if of is OrderType.STOP else None,
                outside_rth=True, parent=main, oca_group=group, oca_type=2,
            )
            for role, of in ((TARGET, OrderType.LIMIT), (STOP, OrderType.STOP))
        )  # fmt: skip
        self.write(symbol, PositionOpenEvent(
            at=self.at, symbol=symbol, trade=number, side=side, quantity=quantity, stop_distance=D(4),
            target_distance=D(4), signal_id=f"{symbol}{number}", rule="r", plan=OPENING,
        ))  # fmt: skip
        self.place((entry, *legs))

    def add(self, symbol: Symbol, side: Side, quantity: int, index: int, offset: Decimal | None) -> None:
        """An addition to the trade that lives; `offset` None: at the market."""
        kind = OrderType.MARKET if offset is None else OrderType.LIMIT
        limit = None if offset is None else PRICE - side.sign * offset
        self.place((OrderSpec(
            self._fresh(symbol, SCALE), side, quantity, kind, TimeInForce.DAY, limit_price=limit, index=index
        ),))  # fmt: skip

    def close(self, symbol: Symbol, side: Side, quantity: int) -> None:
        """A market order in the group of the trade's exits."""
        self._may_cross(symbol)
        group = f"t:{symbol}:{self._trades.get(symbol, 0)}"
        self.place((OrderSpec(
            self._fresh(symbol, CLOSE), side, quantity, OrderType.MARKET, TimeInForce.DAY, oca_group=group,
            oca_type=2,
        ),))  # fmt: skip

    def _fresh(self, symbol: Symbol, role: str) -> OrderRef:
        self._revisions += 1
        return OrderRef("t", symbol, self._trades.get(symbol, 0), role, self._revisions)

    def place(self, orders: tuple[OrderSpec, ...]) -> None:
        symbol = orders[0].symbol
        self.write(symbol, *(NewOrderEvent(at=self.at, ref=order.ref, order=order) for order in orders))
        if not self._judged(PlaceOrders(symbol, 1, orders)):
            for order in orders:
                self._turn_away(order.ref, RequestKind.PLACE)
            return
        for spec in orders:
            order_id = self._ids[spec.ref] = len(self._ids) + 1
            self._refs[order_id] = spec.ref
            sent = OrderSentEvent(at=self.at, ref=spec.ref, order_id=order_id, client_id=CLIENT)
            self._append("broker", sent)
            parent = self._parents[spec.ref] = 0 if spec.parent is None else self._ids[spec.parent]
            on_the_wire = to_tws(spec, "", parent, transmit=spec is orders[-1])
            self.venue.place(self.at, CLIENT, order_id, stock(symbol), on_the_wire)
        self._listen(RequestKind.PLACE)

    def change(self, booked: BookedOrder, quantity: int, price: Decimal | None) -> None:
        """An order is asked to be for so many shares, and at another price where it has one."""
        spec = attrs.evolve(booked.spec, quantity=quantity)
        if price is not None and spec.limit_price is not None:
            spec = attrs.evolve(spec, limit_price=price)
        if spec.purpose is not Purpose.ENTRY:
            self._may_cross(spec.symbol)
        self.write(spec.symbol, ModifyOrderEvent(at=self.at, ref=spec.ref, order=spec, why="so"))
        if not self._judged(ModifyOrder(spec.symbol, 1, spec)):
            self._turn_away(spec.ref, RequestKind.MODIFY)
            return
        order = to_tws(spec, "", self._parents[spec.ref], transmit=True)
        self.venue.place(self.at, CLIENT, self._ids[spec.ref], stock(spec.symbol), order)
        self._listen(RequestKind.MODIFY)

    def cancel(self, ref: OrderRef) -> None:
        self.write(ref.symbol, CancelEvent(at=self.at, ref=ref, why="so"))
        assert self._judged(CancelOrder(ref.symbol, 1, ref)), "a cancel was refused"
        self.venue.cancel(self.at, CLIENT, self._ids[ref])
        self._listen(RequestKind.CANCEL)

    def conclude(self, symbol: Symbol) -> None:
        """The trade is called over, whatever lives of it."""
        self.write(symbol, PositionCloseEvent(
            at=self.at, symbol=symbol, trade=self._trades.get(symbol, 0), reason="so", realized_pnl=D(0)
        ))  # fmt: skip

    def working(self, symbol: Symbol) -> list[BookedOrder]:
        """Orders that the venue was sent and that may still execute, as far as is known."""
        return [order for order in self.gate.book.live(symbol) if order.ref in self._ids]

    def _judged(self, command: PlaceOrders | ModifyOrder | CancelOrder) -> bool:
        refused = self.gate.judge(command, self.around, at=self.at)
        self.approved += refused is None
        self.refused += refused is not None
        return refused is None

    def _turn_away(self, ref: OrderRef, kind: RequestKind) -> None:
        self.write(ref.symbol, RejectEvent(
            at=self.at, ref=ref, request=kind.value, code=0, reason="no", terminal=kind is RequestKind.PLACE
        ))  # fmt: skip

    def _may_cross(self, symbol: Symbol) -> None:
        if self._news:
            self.crossed.add(symbol)

    # --- the venue ----------------------------------------------------------------------------------

    def market(self, symbol: Symbol, offset: float, size: int) -> None:
        """The venue's market goes to a hundred and `offset`, with so many shares on each side."""
        self.at += timedelta(milliseconds=10)
        bid, ask = PRICE + offset - 0.01, PRICE + offset + 0.01
        self.venue.tick(MarketTick(self.at, symbol, bid, size, ask, size, PRICE + offset, size))
        self._listen(RequestKind.PLACE)

    def _listen(self, asked: RequestKind) -> None:
        for happening in self.venue.take():
            for event in self._events(happening, asked):
                self._news.append((f"symbol:{event.ref.symbol}", event))
        if not self.mail_is_late:
            self.hear()

    def _events(
        self, happening: venue_words.Happening, asked: RequestKind
    ) -> list[FillEvent | OrderStatusEvent | RejectEvent]:
        match happening:
            case venue_words.CommissionCharged() | venue_words.PositionChanged():
                return []
            case venue_words.ExecutionCorrected():
                raise AssertionError("nobody corrects anything here")
            case venue_words.Executed(at=at, order=order, execution=told):
                fill = FillEvent(
                    at=at, ref=self._refs[told.order_id], exec_id=told.exec_id, quantity=told.quantity,
                    side=Side.BUY if told.side == "BOT" else Side.SELL, price=told.price,
                )  # fmt: skip
                return [self._status(at, order), fill]
            case venue_words.OrderRejected(at=at, order_id=order_id, code=code, text=text):
                dead = asked is RequestKind.PLACE
                return [RejectEvent(
                    at=at, ref=self._refs[order_id], request=asked.value, code=code, reason=text,
                    terminal=dead,
                )]  # fmt: skip
            case _:
                return [self._status(happening.at, happening.order)]

    def _status(self, at: datetime, order: VenueOrder) -> OrderStatusEvent:
        kind = OrderType(order.order.order_type)
        limit, stop = price_fields(kind, order.order.lmt_price, order.order.aux_price)
        return OrderStatusEvent(
            at=at, ref=self._refs[order.order_id], status=STATUS[order.status.value],
            perm_id=order.perm_id, quantity=int(order.order.total_quantity), filled=order.filled,
            limit_price=limit, stop_price=stop,
        )  # fmt: skip

    # --- the truth ----------------------------------------------------------------------------------

    def positions(self) -> dict[Symbol, int]:
        """What the venue says that the account holds."""
        held = {Symbol(p.contract.symbol): p.quantity for p in self.venue.positions(ACCOUNT)}
        return {symbol: quantity for symbol, quantity in held.items() if quantity}
