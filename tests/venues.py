"""A venue to speak to in tests: short words for orders, ticks and what has happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TypeVar

import attrs

from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import Executed, Happening, MarketTick, Status, VenueOrder
from protocol.exchange.venue import AccountSettings, ChildActivation, Venue, VenueSettings
from protocol.tws.messages import Contract, Order

OPEN = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
ACCOUNT = "DU1234567"
CASH = Decimal(1_000_000)
SLV = Contract(con_id=1, symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
GLD = Contract(con_id=2, symbol="GLD", sec_type="STK", exchange="SMART", currency="USD")

H = TypeVar("H")


def limit(action: str, quantity: int, price: float) -> Order:
    return Order(action=action, total_quantity=Decimal(quantity), order_type="LMT", lmt_price=price)


def market(action: str, quantity: int) -> Order:
    return Order(action=action, total_quantity=Decimal(quantity), order_type="MKT")


def stop(action: str, quantity: int, price: float) -> Order:
    return Order(
        action=action, total_quantity=Decimal(quantity), order_type="STP", aux_price=price, tif="GTC"
    )


def stop_limit(action: str, quantity: int, price: float, worst: float) -> Order:
    return attrs.evolve(stop(action, quantity, price), order_type="STP LMT", lmt_price=worst)


class Bench:
    """One venue, one clock: `say` places as client 1, each tick comes a second after the last."""

    def __init__(
        self,
        activation: ChildActivation = ChildActivation.SCALED,
        settings: VenueSettings | None = None,
    ) -> None:
        self.now = OPEN
        self.venue = Venue(
            settings or VenueSettings(accounts=(AccountSettings(ACCOUNT, CASH),), child_activation=activation)
        )

    def later(self, seconds: float = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def place(
        self, order_id: int, order: Order, *, client: int = 1, contract: Contract = SLV
    ) -> tuple[Happening, ...]:
        self.venue.place(self.now, client, order_id, contract, order)
        return self.venue.take()

    def cancel(self, order_id: int, *, client: int = 1) -> tuple[Happening, ...]:
        self.venue.cancel(self.now, client, order_id)
        return self.venue.take()

    def quote(
        self, bid: float, ask: float, size: int = 1000, *, contract: Contract = SLV
    ) -> tuple[Happening, ...]:
        tick = MarketTick(
            at=self.later(), symbol=contract_key(contract), bid=bid, bid_size=size, ask=ask, ask_size=size
        )
        self.venue.tick(tick)
        return self.venue.take()

    def trade(self, last: float, size: int = 1000) -> tuple[Happening, ...]:
        """A print alone: the quote stands where it stood."""
        self.venue.tick(MarketTick(at=self.later(), symbol="SLV", last=last, last_size=size))
        return self.venue.take()

    def order(self, order_id: int, *, client: int = 1) -> VenueOrder:
        order = self.venue.find(client, order_id)
        assert order is not None
        return order

    def state(self, order_id: int, *, client: int = 1) -> tuple[Status, str, int, int]:
        """Status, why held, total quantity and filled quantity."""
        order = self.order(order_id, client=client)
        return order.status, order.why_held, int(order.order.total_quantity), order.filled

    @property
    def position(self) -> int:
        return sum(p.quantity for p in self.venue.positions(ACCOUNT) if p.contract.symbol == "SLV")

    def bracket(
        self, entry: Order, *, target: float, stop_at: float, oca: str = "", oca_type: int = 0
    ) -> None:
        """Orders 1 (entry), 2 (target) and 3 (stop) as one native bracket; only the last leg transmits."""
        exit_side = "SELL" if entry.action == "BUY" else "BUY"
        quantity = int(entry.total_quantity)
        self.venue.place(self.now, 1, 1, SLV, attrs.evolve(entry, transmit=False))
        leg = attrs.evolve(
            limit(exit_side, quantity, target),
            parent_id=1,
            tif="GTC",
            transmit=False,
            oca_group=oca,
            oca_type=oca_type,
        )
        self.venue.place(self.now, 1, 2, SLV, leg)
        leg = attrs.evolve(stop(exit_side, quantity, stop_at), parent_id=1, oca_group=oca, oca_type=oca_type)
        self.venue.place(self.now, 1, 3, SLV, leg)


def fills(happened: tuple[Happening, ...]) -> list[tuple[int, int, Decimal]]:
    """Order id, quantity and price of each execution."""
    return [
        (h.execution.order_id, h.execution.quantity, h.execution.price)
        for h in happened
        if isinstance(h, Executed)
    ]


def only(happened: tuple[Happening, ...], kind: type[H]) -> list[H]:
    return [h for h in happened if isinstance(h, kind)]


def kinds(happened: tuple[Happening, ...]) -> list[str]:
    return [type(h).__name__ for h in happened]
