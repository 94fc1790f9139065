"""The orders of one trade: how the position is divided among exits that are each for a part of it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from protocol.linked_orders import LinkedOrders
from protocol.order import Order
from protocol.trade_plan import TradePlan, Tranche
from protocol.values import OrderRef, OrderSpec, OrderType, Purpose, Side, Symbol, TimeInForce

AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
SLV = Symbol("SLV")


def exit_of(index: int, filled: int) -> Order:
    """A target that has executed so much."""
    spec = OrderSpec(
        OrderRef("a7", SLV, 1, f"target.{index}"), Side.SELL, filled, OrderType.LIMIT, TimeInForce.GTC,
        limit_price=Decimal(110), purpose=Purpose.TARGET, index=index,
    )  # fmt: skip
    return Order(spec, filled=filled)


def trade(parts: tuple[Decimal, ...], gone: tuple[int, ...], fixed: tuple[int | None, ...]) -> LinkedOrders:
    tranches = tuple(Tranche(part=part, fixed=size) for part, size in zip(parts, fixed, strict=True))
    orders = tuple(exit_of(index, filled) for index, filled in enumerate(gone) if filled)
    return LinkedOrders(
        1, Side.BUY, 100, Decimal(3), None, "", "", AT, Decimal(0), plan=TradePlan(tranches=tranches),
        orders=orders,
    )  # fmt: skip


def test_parts_that_gave_more_than_they_had_are_all_made_up_for_by_the_others() -> None:
    """After a bust: two targets and a partial close had filled for what is now a smaller position."""
    parts = (Decimal("0.18"), Decimal("0.18"), Decimal("0.24"), Decimal(0), Decimal("0.4"))
    found = trade(parts, (27, 27, 0, 33, 0), (None, None, None, 33, None)).shares(28)
    assert sum(found) == 28
    assert min(found) >= 0


@given(
    st.integers(1, 300),
    st.lists(
        st.tuples(st.integers(1, 10), st.integers(0, 80), st.one_of(st.none(), st.integers(1, 60))),
        min_size=2,
        max_size=6,
    ),
)
def test_the_parts_always_add_up_to_the_position(
    position: int, rows: list[tuple[int, int, int | None]]
) -> None:
    whole = sum(weight for weight, _, fixed in rows if fixed is None)
    if not whole:
        rows.append((1, 0, None))
        whole = 1
    parts = tuple(Decimal(0) if fixed else Decimal(weight) / whole for weight, _, fixed in rows)
    found = trade(parts, tuple(gone for _, gone, _ in rows), tuple(fixed for _, _, fixed in rows)).shares(
        position
    )
    assert sum(found) == position
    assert min(found) >= 0
