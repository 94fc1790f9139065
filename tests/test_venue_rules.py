"""Whatever clients and market do: the laws of the venue hold, and a restored venue goes on the same."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocol.exchange.happenings import (
    CommissionCharged,
    Executed,
    Happening,
    MarketTick,
    OrderCancelled,
    PositionChanged,
    Status,
    VenueExecution,
    VenueOrder,
)
from protocol.exchange.order_checks import good_till
from protocol.exchange.order_kinds import KINDS
from protocol.exchange.snapshot import snapshot_from_json, snapshot_to_json
from protocol.exchange.venue import AccountSettings, ChildActivation, Venue, VenueSettings
from protocol.tws.messages import Contract, Order
from tests.venues import ACCOUNT, CASH, GLD, OPEN, SLV, Bench, limit, market, stop, stop_limit

TERMINAL = {Status.FILLED, Status.CANCELLED, Status.INACTIVE}
CLIENTS = st.sampled_from((1, 2))
SIDES = st.sampled_from(("BUY", "SELL"))
SIZES = st.integers(1, 120)
PRICES = st.integers(960, 1040).map(lambda cents: cents / 100)
CONTRACTS = st.sampled_from((SLV, GLD))
TIFS = st.sampled_from(("DAY", "GTC", "IOC", "GTD", "OPG"))
TRAILING = ("TRAIL", "TRAIL LIMIT")
BLOCKING = (1, 2)
GROUPS = st.sampled_from(("", "", "a", "b"))


CENTS = st.integers(1, 30).map(lambda cents: cents / 100)
SPECIAL = (
    "TRAIL", "TRAIL LIMIT", "MIT", "LIT", "MOC", "LOC", "MTL", "REL", "PEG MKT", "PEG MID", "PEG BENCH"
)  # fmt: skip


def special(side: str, quantity: int, order_type: str, price: float, worst: float, distance: float) -> Order:
    """An order of a less common type, with all that any of them needs."""
    pegged = order_type in ("REL", "PEG MKT", "PEG MID", *TRAILING)
    return Order(
        action=side,
        total_quantity=Decimal(quantity),
        order_type=order_type,
        lmt_price=worst,
        aux_price=distance if pegged else price,
        lmt_price_offset=distance if order_type == "TRAIL LIMIT" else None,
        starting_price=price,
    )


@st.composite
def plain_orders(draw: st.DrawFn) -> Order:
    side, size = draw(SIDES), draw(SIZES)
    order = draw(
        st.one_of(
            st.builds(limit, st.just(side), st.just(size), PRICES),
            st.just(market(side, size)),
            st.builds(stop, st.just(side), st.just(size), PRICES),
            st.builds(stop_limit, st.just(side), st.just(size), PRICES, PRICES),
            st.builds(special, st.just(side), st.just(size), st.sampled_from(SPECIAL), PRICES, PRICES, CENTS),
        )
    )
    until = draw(st.sampled_from(("", "", "", seconds_on(draw(st.integers(0, 60))))))
    return attrs.evolve(
        order,
        tif=draw(TIFS),
        good_after_time=until,
        all_or_none=draw(st.sampled_from((False, False, False, True))),
        min_qty=draw(st.sampled_from((None, None, 1, 10))),
        trigger_method=draw(st.sampled_from((0, 0, 0, 1, 2, 3, 4, 7, 8))),
        outside_rth=draw(st.booleans()),
        oca_group=draw(GROUPS),
        oca_type=draw(st.integers(0, 3)),
        good_till_date=seconds_on(draw(st.integers(0, 60))),
    )


def seconds_on(seconds: int) -> str:
    """So many seconds after the first moment, as a client writes it."""
    return (OPEN + timedelta(seconds=seconds)).strftime("%Y%m%d-%H:%M:%S")


@attrs.define
class Seen:
    """What the happenings alone say, to hold against the venue's own books."""

    position: dict[str, int] = attrs.Factory(dict)
    flows: Decimal = Decimal(0)
    commission: Decimal = Decimal(0)
    exec_ids: set[str] = attrs.Factory(set)
    ended: set[int] = attrs.Factory(set)
    filled: dict[int, int] = attrs.Factory(dict)
    stops: dict[int, float] = attrs.Factory(dict)
    """Where each trailing stop was last."""
    filled_groups: dict[str, int] = attrs.Factory(dict)
    """The member that filled completely, by OCA group."""


class VenueLaws(RuleBasedStateMachine):
    """Two clients place, modify and cancel at random on two symbols; a twin is restored after each step."""

    @initialize(
        activation=st.sampled_from(ChildActivation),
        slippage_ticks=st.sampled_from((0, 0, 2)),
        participation=st.sampled_from((Decimal(1), Decimal("0.3"))),
        locate=st.sampled_from((None, None, 10.0)),
    )
    def begin(
        self, activation: ChildActivation, slippage_ticks: int, participation: Decimal, locate: float | None
    ) -> None:
        accounts = (AccountSettings(ACCOUNT, CASH),)
        self.settings = VenueSettings(
            accounts=accounts,
            child_activation=activation,
            slippage_ticks=slippage_ticks,
            participation=participation,
            short_locate=() if locate is None else ("GLD",),
            locate_delay_s=locate,
        )
        self.venue = Venue(self.settings)
        self.twin = Venue(self.settings)
        self.now, self.next_id, self.seen = OPEN, 1, Seen()
        self.brackets: list[tuple[int, int, int, tuple[int, int]]] = []
        self.pairs: list[tuple[int, int, int]] = []
        self.halted: dict[str, bool] = {}
        self.acting = ""
        for contract in (SLV, GLD):
            self.act("tick", MarketTick(self.now, contract.symbol, 9.99, 100, 10.01, 100))

    def act(self, what: str, *arguments: Any, **named: Any) -> tuple[Happening, ...]:
        """Do the same to the venue and to its twin that came through JSON; both must say the same."""
        self.acting = what
        getattr(self.venue, what)(*arguments, **named)
        happened = self.venue.take()
        getattr(self.twin, what)(*arguments, **named)
        assert self.twin.take() == happened
        for happening in happened:
            self.check(happening)
        return happened

    def check(self, happening: Happening) -> None:
        seen = self.seen
        match happening:
            case Executed(order=order, execution=execution):
                self.check_terms(order, execution)
                assert execution.exec_id not in seen.exec_ids
                assert order.perm_id not in seen.ended, "an ended order traded"
                assert "child" not in order.why_held
                assert 0 < order.filled <= order.order.total_quantity
                assert order.filled == seen.filled.get(order.perm_id, 0) + execution.quantity
                assert not order.parent_perm_id or self.venue.by_perm_id(order.parent_perm_id).filled > 0
                seen.exec_ids.add(execution.exec_id)
                seen.filled[order.perm_id] = order.filled
                signed = execution.quantity if execution.side == "BOT" else -execution.quantity
                symbol = execution.contract.symbol
                seen.position[symbol] = seen.position.get(symbol, 0) + signed
                seen.flows += signed * execution.price
            case CommissionCharged(commission=commission):
                assert commission >= 0
                seen.commission += commission
            case PositionChanged(contract=contract, quantity=quantity):
                assert quantity == seen.position[contract.symbol]
            case OrderCancelled(order=order):
                assert order.perm_id not in seen.ended, "an order ended twice"
            case _:
                pass
        order_of = getattr(happening, "order", None)
        if order_of is not None and order_of.status in TERMINAL:
            seen.ended.add(order_of.perm_id)

    def check_terms(self, order: VenueOrder, execution: VenueExecution) -> None:
        """An execution keeps what its order asked for."""
        asked, price, perm_id = order.order, float(execution.price), order.perm_id
        assert not self.halted.get(execution.contract.symbol)
        if (asked.lmt_price and KINDS[asked.order_type].limit) or KINDS[asked.order_type].peg:
            assert asked.lmt_price is not None
            assert price <= asked.lmt_price if asked.action == "BUY" else price >= asked.lmt_price
        if asked.all_or_none:
            assert order.remaining == 0
        before = order.filled - execution.quantity
        if asked.min_qty and before < asked.min_qty:
            assert execution.quantity >= min(asked.min_qty, int(asked.total_quantity) - before)
        if asked.tif == "GTD":
            until = good_till(asked.good_till_date, "America/New_York")
            assert until is not None
            assert execution.at < until
        after = good_till(asked.good_after_time, "America/New_York")
        assert after is None or after <= execution.at
        assert asked.tif != "OPG" or self.acting == "tick"
        assert asked.order_type not in ("MOC", "LOC") or self.acting == "set_session"
        if asked.oca_group:
            assert self.seen.filled_groups.setdefault(asked.oca_group, perm_id) == perm_id
            if order.remaining:
                del self.seen.filled_groups[asked.oca_group]

    # --- what clients do --------------------------------------------------------------------------

    @rule(client=CLIENTS, contract=CONTRACTS, order=plain_orders(), transmit=st.booleans())
    def place(self, client: int, contract: Contract, order: Order, transmit: bool) -> None:
        self.act("place", self.now, client, self.next_id, contract, attrs.evolve(order, transmit=transmit))
        self.next_id += 1

    @rule(
        client=CLIENTS, contract=CONTRACTS, side=SIDES, size=SIZES, price=PRICES,
        distance=st.integers(1, 40), exits=st.sampled_from((("", 0), ("own", 2), ("own", 1), ("own", 3))),
    )  # fmt: skip
    def bracket(
        self, client: int, contract: Contract, side: str, size: int, price: float, distance: int,
        exits: tuple[str, int],
    ) -> None:  # fmt: skip
        first, other = self.next_id, "SELL" if side == "BUY" else "BUY"
        sign = 1 if side == "BUY" else -1
        group = f"{exits[0]}{first}" if exits[0] else ""
        target = limit(other, size, round(price + sign * distance / 100, 2))
        guard = stop(other, size, round(price - sign * distance / 100, 2))
        legs = (
            attrs.evolve(limit(side, size, price), tif="GTC", transmit=False),
            attrs.evolve(
                target, tif="GTC", transmit=False, parent_id=first, oca_group=group, oca_type=exits[1]
            ),
            attrs.evolve(guard, parent_id=first, oca_group=group, oca_type=exits[1]),
        )
        for leg in legs:
            self.act("place", self.now, client, self.next_id, contract, leg)
            self.next_id += 1
        entry = self.venue.find(client, first)
        if entry is not None:
            self.brackets.append((client, first, size, (first + 1, first + 2)))

    @rule(
        client=CLIENTS, contract=CONTRACTS, side=SIDES, size=SIZES, oca_type=st.sampled_from(BLOCKING),
        near=PRICES, far=PRICES,
    )  # fmt: skip
    def pair(
        self, client: int, contract: Contract, side: str, size: int, oca_type: int, near: float, far: float
    ) -> None:  # fmt: skip
        """Two orders of which together no more than one may fill, unless the first has traded already."""
        first = self.next_id
        for order in (stop(side, size, far), limit(side, size, near)):
            earlier = self.venue.find(client, first)
            if earlier is not None and earlier.filled:
                return
            member = attrs.evolve(order, tif="GTC", oca_group=f"pair{first}", oca_type=oca_type)
            self.act("place", self.now, client, self.next_id, contract, member)
            self.next_id += 1
        self.pairs.append((client, first, size))

    @rule(data=st.data(), quantity=SIZES, price=PRICES)
    def modify(self, data: st.DataObject, quantity: int, price: float) -> None:
        """Not the exits of a bracket: their owner may ask for more than the bracket holds."""
        exits = {(client, leg) for client, _, _, legs in self.brackets for leg in legs}
        exits |= {(client, leg) for client, first, _ in self.pairs for leg in (first, first + 1)}
        live = [o for o in self.venue.open_orders() if (o.client_id, o.order_id) not in exits]
        if not live:
            return
        order = data.draw(st.sampled_from(live))
        trails = order.order.order_type in TRAILING
        wanted = attrs.evolve(
            order.order,
            total_quantity=Decimal(quantity),
            lmt_price=price,
            aux_price=order.order.aux_price if trails else price,
        )
        self.seen.stops.pop(order.perm_id, None)
        self.act("place", self.now, order.client_id, order.order_id, order.contract, wanted)

    @rule(data=st.data(), client=CLIENTS)
    def cancel(self, data: st.DataObject, client: int) -> None:
        self.act("cancel", self.now, client, data.draw(st.integers(1, self.next_id)))

    @rule(client=CLIENTS)
    def cancel_all(self, client: int) -> None:
        self.act("global_cancel", self.now, client)

    # --- what the market does ---------------------------------------------------------------------

    @rule(
        contract=CONTRACTS, bid=PRICES, spread=st.integers(-1, 5), size=st.integers(0, 90),
        last=st.none() | PRICES, seconds=st.integers(0, 5),
    )  # fmt: skip
    def tick(
        self, contract: Contract, bid: float, spread: int, size: int, last: float | None, seconds: int
    ) -> None:
        self.now += timedelta(seconds=seconds)
        ask = round(bid + spread / 100, 2)
        tick = MarketTick(
            self.now, contract.symbol, bid, size, ask, size, last, None if last is None else size
        )
        self.act("tick", tick)

    @rule(contract=CONTRACTS, halted=st.booleans())
    def halt(self, contract: Contract, halted: bool) -> None:
        self.halted[contract.symbol] = halted
        self.act("tick", MarketTick(self.now, contract.symbol, halted=halted))

    @rule(seconds=st.integers(1, 30))
    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.act("advance", self.now)

    @rule(is_open=st.booleans())
    def turn_session(self, is_open: bool) -> None:
        self.act("set_session", self.now, is_open=is_open)

    @rule()
    def end_day(self) -> None:
        self.act("end_of_session", self.now)

    @rule()
    def restart_the_twin(self) -> None:
        self.twin = Venue.restore(self.settings, snapshot_from_json(snapshot_to_json(self.venue.snapshot())))
        assert self.twin.snapshot() == self.venue.snapshot()

    # --- laws -------------------------------------------------------------------------------------

    @invariant()
    def books_are_the_sum_of_what_happened(self) -> None:
        books = self.venue.account(ACCOUNT)
        assert books.cash == CASH - self.seen.flows - self.seen.commission
        assert books.commission == self.seen.commission
        positions = {p.contract.symbol: p.quantity for p in self.venue.positions(ACCOUNT)}
        assert positions == self.seen.position
        assert len(self.venue.executions()) == len(self.seen.exec_ids)

    @invariant()
    def both_venues_hold_the_same(self) -> None:
        assert self.twin.open_orders() == self.venue.open_orders()
        assert self.twin.account(ACCOUNT) == self.venue.account(ACCOUNT)
        assert self.twin.completed_orders() == self.venue.completed_orders()

    @invariant()
    def exits_never_close_more_than_their_entry_opened(self) -> None:
        """Full children of an entry that still works may: their bound is what they were asked for."""
        for client, first, size, legs in self.brackets:
            entry = self.venue.find(client, first)
            assert entry is not None
            exits = [self.venue.find(client, leg) for leg in legs]
            closed = sum(order.filled for order in exits if order is not None)
            full = self.settings.child_activation is ChildActivation.FULL
            assert closed <= max(entry.filled, size if full else 0)

    @invariant()
    def members_with_block_never_fill_more_than_one_of_them(self) -> None:
        for client, first, size in self.pairs:
            orders = [self.venue.find(client, first + leg) for leg in (0, 1)]
            assert sum(order.filled for order in orders if order is not None) <= size

    @invariant()
    def a_trailing_stop_never_loosens(self) -> None:
        for order in self.venue.open_orders():
            stop_price = order.order.trail_stop_price
            if order.order.order_type not in TRAILING or stop_price is None:
                continue
            before = self.seen.stops.setdefault(order.perm_id, stop_price)
            assert stop_price <= before if order.order.action == "BUY" else stop_price >= before
            self.seen.stops[order.perm_id] = stop_price

    @invariant()
    def no_child_works_before_its_parent_filled(self) -> None:
        for order in self.venue.open_orders():
            if order.parent_perm_id and not self.venue.by_perm_id(order.parent_perm_id).filled:
                assert order.status is Status.PRE_SUBMITTED
                assert "child" in order.why_held


VenueLaws.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTheLawsOfTheVenue = pytest.mark.slow(VenueLaws.TestCase)


def test_a_venue_with_untaken_happenings_is_not_saved() -> None:
    bench = Bench()
    bench.venue.place(OPEN, 1, 1, SLV, market("BUY", 1))
    with pytest.raises(RuntimeError, match="take"):
        bench.venue.snapshot()


def test_a_snapshot_comes_back_from_json_as_it_was() -> None:
    bench = Bench()
    bench.quote(9.99, 10.01, size=40)
    bench.bracket(limit("BUY", 100, 10.01), target=10.90, stop_at=9.50)
    bench.venue.take()
    bench.place(4, attrs.evolve(limit("BUY", 3, 9.00), transmit=False))
    snapshot = bench.venue.snapshot()
    assert snapshot_from_json(snapshot_to_json(snapshot)) == snapshot
    assert len(snapshot.orders) == 4


def test_a_restored_venue_still_expires_its_orders_on_time() -> None:
    bench = Bench()
    order = attrs.evolve(limit("BUY", 10, 9.00), tif="GTD", good_till_date="20250123-15:00:30")
    bench.place(1, order)
    bench.venue = Venue.restore(bench.venue.settings, bench.venue.snapshot())
    bench.venue.advance(bench.later(30))
    assert [type(happening) for happening in bench.venue.take()] == [OrderCancelled]
