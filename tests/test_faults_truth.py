"""The truth file alone is enough to rebuild every order, execution, position and balance."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import attrs
import pytest

from protocol.exchange.contract_key import contract_key
from protocol.exchange.happenings import MarketTick
from protocol.exchange.interventions import Interventions
from protocol.exchange.truth import Moment, happening_line
from protocol.exchange.tws_order_desk import Noted
from tests.truth_books import TruthBooks
from tests.venues import ACCOUNT, CASH, SLV, Bench, limit, market, stop

MOMENT = Moment(datetime(2025, 1, 23, 15, 0, tzinfo=UTC), 0.0, ())


def session(seed: int, steps: int = 120) -> tuple[Bench, list[bytes]]:
    """Orders, modifies, cancels, brackets, groups, ticks and interventions, as chance has it."""
    random, bench = Random(seed), Bench()
    outside, next_id = Interventions(bench.venue), 1
    lines: list[bytes] = []

    def note() -> None:
        lines.extend(happening_line(Noted(h), MOMENT) for h in bench.venue.take())

    def price() -> float:
        return round(25 + random.randint(-8, 8) / 100, 2)

    def place() -> None:
        nonlocal next_id
        action, size = random.choice(["BUY", "SELL"]), random.randint(1, 400)
        order = random.choice(
            [market(action, size), limit(action, size, price()), stop(action, size, price())]
        )
        if random.random() < 0.3:
            order = attrs.evolve(order, oca_group=f"g{random.randint(1, 4)}", oca_type=random.randint(1, 3))
        bench.venue.place(bench.now, 1, next_id, SLV, order)
        next_id += 1

    def intervene() -> None:
        live, done = bench.venue.open_orders(), outside.effective_executions()
        perm_id = random.choice(live).perm_id if live else 0
        match random.randint(0, 7):
            case 0 if done:
                outside.bust(bench.now, random.choice(done).exec_id)
            case 1 if done:
                new_price = Decimal(str(price()))
                outside.correct(bench.now, random.choice(done).exec_id, price=new_price)
            case 2 if done:
                outside.correct(bench.now, random.choice(done).exec_id, quantity=random.randint(0, 300))
            case 3:
                outside.cancel_manual(bench.now, perm_id, "by hand")
            case 4:
                outside.reject(bench.now, perm_id, "no")
            case 5:
                outside.modify_manual(
                    bench.now, perm_id, limit_price=price(), quantity=random.randint(1, 400)
                )
            case 6 if live:
                outside.leave_stale(bench.now, random.choice(live))
            case _:
                outside.place_manual(bench.now, SLV, limit("BUY", 50, price()))

    for _ in range(steps):
        match random.randint(0, 5):
            case 0 | 1:
                place()
            case 2:
                bench.venue.cancel(bench.now, 1, random.randint(1, next_id))
            case 3:
                intervene()
            case _:
                cents, size = random.randint(2490, 2510), random.randint(1, 300)
                bid, ask = (cents - 1) / 100, (cents + 1) / 100
                bench.venue.tick(MarketTick(bench.later(), "SLV", bid, size, ask, size, cents / 100, size))
        note()
    return bench, lines


@pytest.mark.parametrize("seed", range(8))
def test_books_are_rebuilt_from_the_lines_alone(seed: int) -> None:
    bench, lines = session(seed)
    venue, rebuilt = bench.venue, TruthBooks().take(lines)
    effective = Interventions(venue).effective_executions()
    assert len(effective) > 5

    for perm_id, order in rebuilt.orders.items():
        view = venue.by_perm_id(perm_id)
        assert (order.status, order.filled) == (view.status.value, view.filled)
        asked = view.order
        assert order.told["quantity"] == int(asked.total_quantity)
        assert (order.told["limit"], order.told["stop"]) == (
            None if asked.lmt_price is None else Decimal(repr(asked.lmt_price)),
            None if asked.aux_price is None else Decimal(repr(asked.aux_price)),
        )
        assert (order.told["action"], order.told["type"]) == (asked.action, asked.order_type)
    live = {o.perm_id for o in venue.open_orders()}
    working = {"PreSubmitted", "Submitted", "PendingCancel"}
    assert {p for p, order in rebuilt.orders.items() if order.status in working} == live

    assert [(e["exec_id"], e["quantity"], Decimal(e["price"])) for e in rebuilt.executions.values()] == [
        (e.exec_id, e.quantity, e.price) for e in effective
    ]
    books = {(p.account, contract_key(p.contract)): p.quantity for p in venue.positions(ACCOUNT)}
    assert rebuilt.positions == rebuilt.told_positions == books
    assert CASH + rebuilt.cash_moved(ACCOUNT) == venue.account(ACCOUNT).cash
