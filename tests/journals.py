"""Journals to test with: events in few words, one whole winning trade; what a whole one says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from protocol.books import JournalBooks, JournalFold
from protocol.events import (
    BaseEvent,
    CommissionEvent,
    FillEvent,
    ModifyOrderEvent,
    NewOrderEvent,
    OrderSentEvent,
    OrderStatusEvent,
    PositionCloseEvent,
    PredictionSignalEvent,
    SignalVerdictEvent,
    Verdict,
)
from protocol.journal_checks import Invariants, JournalChecks
from protocol.values import (
    MAIN,
    STOP,
    TARGET,
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    Side,
    Symbol,
    TimeInForce,
)

SLV, GLD = Symbol("SLV"), Symbol("GLD")
T0 = datetime(2019, 2, 11, 15, 0, tzinfo=UTC)
Journal = list[tuple[str, BaseEvent]]


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def ref(role: str = MAIN, trade: int = 1, revision: int = 0, symbol: Symbol = SLV) -> OrderRef:
    return OrderRef("rf", symbol, trade, role, revision)


def new(order: OrderRef, quantity: int = 100, stop: str | None = None, seconds: float = 0) -> NewOrderEvent:
    spec = OrderSpec(
        ref=order,
        side=Side.BUY if order.role == MAIN else Side.SELL,
        quantity=quantity,
        type=OrderType.LIMIT if stop is None else OrderType.STOP,
        tif=TimeInForce.GTC,
        limit_price=Decimal("14.60") if stop is None else None,
        stop_price=None if stop is None else Decimal(stop),
    )
    return NewOrderEvent(at=at(seconds), ref=order, order=spec)


def sent(order: OrderRef, order_id: int, client_id: int = 1) -> OrderSentEvent:
    return OrderSentEvent(at=at(1), ref=order, order_id=order_id, client_id=client_id)


def filled(
    order: OrderRef, exec_id: str, side: Side, quantity: int, price: str, seconds: float = 2
) -> FillEvent:
    return FillEvent(
        at=at(seconds), ref=order, exec_id=exec_id, side=side, quantity=quantity, price=Decimal(price)
    )


def status(order: OrderRef, word: OrderStatus, seconds: float = 3) -> OrderStatusEvent:
    return OrderStatusEvent(at=at(seconds), ref=order, status=word, perm_id=9, quantity=100, filled=0)


def signal(signal_id: str, symbol: Symbol = SLV) -> PredictionSignalEvent:
    return PredictionSignalEvent(
        at=at(0),
        symbol=symbol,
        signal_id=signal_id,
        source="flow",
        signal="BUY",
        confidence=0.9,
        predicted_at=at(0),
    )


def verdict(signal_id: str, word: Verdict, symbol: str = "SLV", code: str = "") -> SignalVerdictEvent:
    return SignalVerdictEvent(
        at=at(0), signal_id=signal_id, symbol=symbol, verdict=word, code=code, reason="because"
    )


def charged(exec_id: str, commission: str, symbol: Symbol = SLV) -> CommissionEvent:
    return CommissionEvent(at=at(4), symbol=symbol, exec_id=exec_id, commission=Decimal(commission))


def a_winning_trade() -> Journal:
    """In at 14.60, stop moved once, out at the target of 15.00; the stop is cancelled by the broker."""
    symbol: list[BaseEvent] = [
        verdict("s1", Verdict.ACCEPTED),
        new(ref(MAIN)),
        new(ref(STOP), stop="14.20"),
        new(ref(TARGET)),
        filled(ref(MAIN), "0001.01", Side.BUY, 60, "14.60"),
        filled(ref(MAIN), "0002.01", Side.BUY, 40, "14.60"),
        status(ref(MAIN), OrderStatus.FILLED),
        ModifyOrderEvent(
            at=at(5), ref=ref(STOP), order=new(ref(STOP), stop="14.25").order, why="average fill"
        ),
        filled(ref(TARGET), "0003.01", Side.SELL, 100, "15.00", seconds=60),
        status(ref(TARGET), OrderStatus.FILLED, seconds=60),
        status(ref(STOP), OrderStatus.CANCELLED, seconds=60),
        charged("0001.01", "1.00"),
        charged("0002.01", "0.35125"),
        charged("0003.01", "1.00"),
        PositionCloseEvent(at=at(61), symbol=SLV, trade=1, reason="target", realized_pnl=Decimal("40.00")),
    ]
    return [
        ("signals", signal("s1")),
        ("signals", signal("s2")),
        ("signals", verdict("s2", Verdict.REFUSED, code="stale")),
        *(("symbol:SLV", event) for event in symbol[:4]),
        *(("broker", sent(ref(role), 10 + index)) for index, role in enumerate((MAIN, STOP, TARGET))),
        *(("symbol:SLV", event) for event in symbol[4:]),
    ]


def fold(symbols: Sequence[Symbol], journal: Iterable[tuple[str, BaseEvent]]) -> JournalBooks:
    """The books of a whole journal."""
    folding = JournalFold(symbols)
    for stream, event in journal:
        folding.add(stream, event)
    return folding.books()


def check_journal(journal: Iterable[tuple[str, BaseEvent]], *, ended: bool) -> Invariants:
    """Every check over a whole journal. `ended`: nothing is under way, so that all must be answered."""
    checks = JournalChecks()
    for stream, event in journal:
        checks.add(stream, event)
    return checks.result(ended=ended)
