"""No sequence of approved orders, however the venue fills them, goes over a limit in the venue's truth.

Somebody without much sense commands: entries on top of entries, additions without a plan, exits of any size,
trades called over while they live. The market moves, books are thin, the mail is late, the gate restarts.
"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocol.exchange.venue import ChildActivation
from protocol.values import OrderType, Purpose, Side, Symbol
from tests.risk_room import METALS, SECTORS
from tests.risk_venue import EQUITY, LIMITS, PRICE, RiskVenue
from tests.symbol_desk import SLV

SYMBOLS = st.sampled_from(list(SECTORS))
SIDES = st.sampled_from(Side)
QUANTITIES = st.sampled_from([1, 30, 60, 100, 120, 150, 151, 200])
OFFSETS = st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(-1), Decimal(2)])
SIZES = st.sampled_from([7, 45, 5000])
NEARLY_NEVER = st.sampled_from([False] * 7 + [True])


class GateAtTheVenue(RuleBasedStateMachine):
    world: RiskVenue

    @initialize(
        activation=st.sampled_from(ChildActivation), sides=st.tuples(SIDES, SIDES, SIDES), late=st.booleans(),
        quantities=st.tuples(*[st.sampled_from([0, 60, 120, 150])] * 3),
    )  # fmt: skip
    def begin(
        self, activation: ChildActivation, sides: tuple[Side, ...], quantities: tuple[int, ...], late: bool
    ) -> None:
        """Some trades live already."""
        self.world = RiskVenue(activation)
        self.scaled = activation is ChildActivation.SCALED
        self.world.mail_is_late = late
        for symbol, side, quantity in zip(SECTORS, sides, quantities, strict=True):
            if quantity:
                self.world.enter(symbol, side, quantity, OrderType.MARKET, Decimal(0))

    # --- what may happen ----------------------------------------------------------------------------

    @rule(
        symbol=SYMBOLS, side=SIDES, quantity=QUANTITIES,
        kind=st.sampled_from([OrderType.MARKET, OrderType.LIMIT]), offset=OFFSETS, tidy=st.booleans(),
    )  # fmt: skip
    def somebody_enters(
        self, symbol: Symbol, side: Side, quantity: int, kind: OrderType, offset: Decimal, tidy: bool
    ) -> None:
        """Where nothing is held, the trade before is called over first: after a cancel of all, or without."""
        if not self.world.gate.book.position(symbol):
            for order in self.world.working(symbol) if tidy else ():
                self.world.cancel(order.ref)
            self.world.conclude(symbol)
        self.world.enter(symbol, side, quantity, kind, offset)

    @rule(
        symbol=SYMBOLS, against=NEARLY_NEVER, quantity=QUANTITIES, index=st.sampled_from([0, 100, 100, 101]),
        offset=st.one_of(st.none(), OFFSETS), covered=st.booleans(),
    )  # fmt: skip
    def somebody_adds(
        self, symbol: Symbol, against: bool, quantity: int, index: int, offset: Decimal | None, covered: bool
    ) -> None:
        world, side = self.world, self._side_of(symbol)
        held = abs(world.gate.book.position(symbol))
        for order in world.working(symbol) if covered else ():
            if order.spec.purpose is Purpose.STOP and order.order.remaining < held:
                world.change(order, order.order.filled + held, None)
        world.add(symbol, side.opposite if against else side, quantity, index, offset)

    @rule(symbol=SYMBOLS, against=NEARLY_NEVER, quantity=st.one_of(st.none(), QUANTITIES))
    def somebody_closes(self, symbol: Symbol, against: bool, quantity: int | None) -> None:
        held, side = abs(self.world.gate.book.position(symbol)), self._side_of(symbol)
        if held:
            self.world.close(symbol, side if against else side.opposite, quantity or held)

    @rule(symbol=SYMBOLS, which=st.integers(0, 9), quantity=st.one_of(st.none(), QUANTITIES), offset=OFFSETS)
    def somebody_changes_an_order(
        self, symbol: Symbol, which: int, quantity: int | None, offset: Decimal
    ) -> None:
        """To any size, or to the one that covers the position."""
        working = self.world.working(symbol)
        if working:
            order = working[which % len(working)]
            covering = order.order.filled + abs(self.world.gate.book.position(symbol))
            self.world.change(order, quantity or max(covering, 1), PRICE + offset)

    @rule(symbol=SYMBOLS, which=st.integers(0, 9), over=NEARLY_NEVER)
    def somebody_cancels_an_order(self, symbol: Symbol, which: int, over: bool) -> None:
        """Or calls the trade over while it lives."""
        working = self.world.working(symbol)
        if working:
            self.world.cancel(working[which % len(working)].ref)
        if over:
            self.world.conclude(symbol)

    @rule(
        symbol=SYMBOLS, offset=st.sampled_from([-5.0, -2.0, -0.5, 0.0, 0.0, 0.5, 2.0, 5.0]), size=SIZES
    )  # fmt: skip
    def the_market_moves(self, symbol: Symbol, offset: float, size: int) -> None:
        self.world.market(symbol, offset, size)

    @rule(late=st.booleans(), most=st.integers(0, 5), restart=NEARLY_NEVER)
    def the_mail_is_late_or_the_gate_restarts(self, late: bool, most: int, restart: bool) -> None:
        self.world.mail_is_late = late
        self.world.hear(most if late else 10**6)
        if restart:
            self.world.restart()

    def _side_of(self, symbol: Symbol) -> Side:
        return Side.BUY if self.world.gate.book.position(symbol) >= 0 else Side.SELL

    # --- what must hold, in the venue's truth ---------------------------------------------------------

    @invariant()
    def no_order_is_larger_than_an_order_may_be(self) -> None:
        for working in self.world.venue.open_orders():
            assert working.order.total_quantity <= LIMITS.max_position_quantity  # type: ignore[operator]

    @invariant()
    def no_position_is_larger_than_a_position_may_be(self) -> None:
        assert LIMITS.max_position_quantity is not None
        for symbol, held in self.world.positions().items():
            assert abs(held) <= LIMITS.max_position_quantity, symbol

    @invariant()
    def gross_sector_and_number_are_within_their_limits(self) -> None:
        held = self.world.positions()
        assert LIMITS.max_gross is not None
        assert LIMITS.max_sector is not None
        gross = sum(abs(quantity) for quantity in held.values()) * PRICE
        metals = sum(abs(held.get(one, 0)) for one, sector in SECTORS.items() if sector == METALS) * PRICE
        assert gross <= LIMITS.max_gross * EQUITY
        assert metals <= LIMITS.max_sector * EQUITY
        assert len(held) <= LIMITS.max_positions

    @invariant()
    def net_is_within_its_limit(self) -> None:
        """Where the venue gives children their whole size at once, or an exit has crossed news of its
        position, an exit may overshoot: no gate before the wire can know."""
        if self.scaled and not self.world.crossed:
            assert LIMITS.max_net is not None
            assert abs(sum(self.world.positions().values())) * PRICE <= LIMITS.max_net * EQUITY

    @invariant()
    def the_books_agree_when_everything_was_heard(self) -> None:
        world = self.world
        if not world.mail_is_late:
            booked = {one: world.gate.book.position(one) for one in SECTORS}
            assert {one: held for one, held in booked.items() if held} == world.positions()


HEALTH = list(HealthCheck)
TestGateAtTheVenue = GateAtTheVenue.TestCase
TestGateAtTheVenue.settings = settings(
    max_examples=40, stateful_step_count=30, derandomize=True, deadline=None, suppress_health_check=HEALTH
)


class GateAtTheVenueForLong(GateAtTheVenue):
    """The same, searched deeper."""


TestGateAtTheVenueForLong = GateAtTheVenueForLong.TestCase
TestGateAtTheVenueForLong.settings = settings(
    max_examples=250, stateful_step_count=40, derandomize=True, deadline=None, suppress_health_check=HEALTH
)
TestGateAtTheVenueForLong = pytest.mark.slow(TestGateAtTheVenueForLong)


def test_the_machine_fills_what_the_limits_allow_to_the_last_share() -> None:
    """Else the machine above would show nothing."""
    world = RiskVenue(ChildActivation.SCALED)
    world.enter(SLV, Side.BUY, 150, OrderType.MARKET, Decimal(0))
    stop = next(order for order in world.working(SLV) if order.spec.purpose is Purpose.STOP)
    world.add(SLV, Side.BUY, 50, 100, None)
    assert world.positions() == {SLV: 200}
    world.change(stop, 200, None)
    world.add(SLV, Side.BUY, 1, 100, None)
    assert (world.positions(), world.refused) == ({SLV: 200}, 1)
    world.market(SLV, -5.0, 5000)
    assert world.positions() == {}
