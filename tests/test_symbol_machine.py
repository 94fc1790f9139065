"""A symbol's core meets the real venue under everything that Hypothesis can think of.

Between two quiet moments anything may happen: signals, moves, thin books, late, repeated and reordered
mail, refused and lost requests, outages, crashes. In a quiet moment the books must be right.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from protocol.commands import Flatten
from protocol.exchange.venue import ChildActivation
from protocol.reports import RequestKind
from protocol.rules.actions import (
    Breakeven,
    Close,
    DoubleDownLevel,
    Enter,
    EntryOrder,
    Link,
    ScaleLevel,
    TargetPart,
    Trailing,
)
from protocol.rules.amounts import Amount, Multiple, Percent, Shares
from protocol.rules.conditions import When
from protocol.rules.rule import Rule
from protocol.symbol_plan import SymbolPlan
from protocol.values import MAIN, OrderRef, OrderType, Side
from tests.symbol_desk import LONG, SHORT
from tests.symbol_laws import Witness, check_books
from tests.symbol_world import WORLD_PLAN, SymbolWorld

QUIET_S = 10.0
MOST_CORRECTIONS = 2
LONGEST_CLOSE_S = 180.0
"""A close whose every request is refused once or twice ends within this."""

SIZES = st.sampled_from([3, 40, 5000])
WAITS = st.sampled_from([0.0, 0.05, 0.3, 1.0, 4.0, 16.0])

# --- what a trade may have planned ------------------------------------------------------------------

TARGETS = ((), (TargetPart(Percent(0.02), 0.5), TargetPart(Percent(0.05), 0.5)),
           (TargetPart(Percent(0.02), 0.3), TargetPart(Percent(0.04), 0.3)))  # fmt: skip
LEVELS = (
    (),
    (ScaleLevel(Percent(0.02), Shares(25)),),
    (ScaleLevel(Percent(0.008), Shares(25)), ScaleLevel(Percent(0.03), Shares(30))),
)
DOUBLES = (
    (),
    (DoubleDownLevel(0.5),),
    (DoubleDownLevel(0.3, Multiple(0.5)), DoubleDownLevel(0.6, Multiple(0.7))),
)
TRAILS = (
    None,
    Trailing(Percent(0.02)),
    Trailing(Amount(Decimal(1)), after=Percent(0.008)),
    Trailing(Percent(0.02), native=True),
    Trailing(Amount(Decimal(2)), native=True),
)
ORDERS = (
    EntryOrder(),
    EntryOrder(),
    EntryOrder(OrderType.LIMIT, Percent(0.0005), expires_s=8.0),
    EntryOrder(OrderType.STOP, Percent(0.0005)),
    EntryOrder(OrderType.STOP_LIMIT, Percent(0.0005), Percent(0.0005)),
)
JOINED = Rule(
    "joined", When.parse("pnl_pct >= 0.005"), Link("runner", 0.4, trail=Trailing(Percent(0.015), native=True))
)
PAIRED = Rule(
    "paired", When.parse("pnl_pct >= 0.005"), Link("pair", 0.3, stop=Percent(0.02), target=Percent(0.06))
)
PARTIAL = Rule("partial", When.parse("pnl_pct >= 0.008"), Close(0.4), cooldown_s=3.0)


@st.composite
def entries(draw: st.DrawFn) -> Enter:
    """An entry with some of all that a trade can do."""
    targets = draw(st.sampled_from(TARGETS))
    return Enter(
        Side.BUY,
        target=draw(st.sampled_from([Percent(0.08), Percent(0.03), None])),
        order=draw(st.sampled_from(ORDERS)),
        targets=targets,
        trail=draw(st.sampled_from(TRAILS)),
        breakeven=draw(st.sampled_from([None, Breakeven(Percent(0.008), Decimal("0.05"))])),
        scale_in=draw(st.sampled_from(LEVELS)),
        double_down=draw(st.sampled_from(DOUBLES)),
        close_after_s=draw(st.sampled_from([None, None, 40.0])),
    )


@st.composite
def plans(draw: st.DrawFn) -> SymbolPlan:
    """Long and short enter alike; beside them rules that join exits, and close a part."""
    if draw(st.integers(0, 3)) == 0:
        return WORLD_PLAN
    entry = draw(entries())
    entering = tuple(
        attrs.evolve(rule, then=attrs.evolve(entry, side=side), cooldown_s=3.0)
        for rule, side in ((LONG, Side.BUY), (SHORT, Side.SELL))
    )
    others = draw(st.sampled_from([(), (), (JOINED,), (PAIRED,), (PARTIAL,), (PARTIAL, JOINED)]))
    return attrs.evolve(WORLD_PLAN, rules=(*entering, *others))


class SymbolAtTheVenue(RuleBasedStateMachine):
    world: SymbolWorld
    witness: Witness
    ends_by_the_clock: bool
    corrections: int

    @initialize(
        plan=plans(), activation=st.sampled_from(ChildActivation), by_the_clock=st.booleans(),
        word=st.sampled_from(["BUY", "SHORT"]), size=SIZES, seconds=WAITS,
    )  # fmt: skip
    def begin(
        self, plan: SymbolPlan, activation: ChildActivation, by_the_clock: bool, word: str, size: int,
        seconds: float,
    ) -> None:  # fmt: skip
        self.witness, self.corrections = Witness(lambda: self.world.mid), 0
        self.world = SymbolWorld(activation, plan, self.witness)
        self.ends_by_the_clock = by_the_clock
        self.the_market_moves(0.0, size, 0.0)
        self.a_signal(word, seconds)

    # --- what may happen ----------------------------------------------------------------------------

    @rule(word=st.sampled_from(["BUY", "SHORT"]), seconds=WAITS)
    def a_signal(self, word: str, seconds: float) -> None:
        self.world.signal(word)
        self.world.pass_time(seconds)

    @rule(
        percent=st.sampled_from([-9.0, -3.5, -2.0, -1.0, -0.1, 0.0, 0.1, 1.0, 2.0, 3.5, 9.0]),
        size=SIZES, seconds=WAITS,
    )  # fmt: skip
    def the_market_moves(self, percent: float, size: int, seconds: float) -> None:
        world = self.world
        world.size = size
        world.mid = round(min(max(world.mid * (1 + percent / 100), 50.0), 200.0), 2)
        world.tick()
        world.pass_time(seconds)

    @rule(percent=st.sampled_from([-3.5, -1.0, 2.0, 3.5, 9.0]), size=st.sampled_from([3, 20]), seconds=WAITS)
    def the_market_touches_a_price_and_comes_back(self, percent: float, size: int, seconds: float) -> None:
        world = self.world
        before, world.size, favoured = world.mid, size, world.state.trade
        sign = 1 if favoured is None else favoured.side.sign
        world.mid = round(min(max(before * (1 + sign * percent / 100), 50.0), 200.0), 2)
        world.tick()
        world.mid = before
        world.tick()
        world.pass_time(seconds)

    @rule(
        percent=st.sampled_from([-2.0, -1.2, 0.7, 1.2, 2.5]), size=SIZES,
        seconds=st.sampled_from([0.3, 1.0, 4.0]),
    )  # fmt: skip
    def the_trade_does_well_or_badly(self, percent: float, size: int, seconds: float) -> None:
        trade = self.world.state.trade
        self.the_market_moves(percent * (1 if trade is None else trade.side.sign), size, seconds)

    @rule(seconds=WAITS)
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(
        delay=st.sampled_from([0.0, 0.1, 0.6]), lag=st.sampled_from([0.0, 0.2, 3.0]),
        commands=st.sampled_from([0.0, 0.05, 0.4]), repeat=st.booleans(), status_first=st.booleans(),
    )  # fmt: skip
    def the_mail_changes(
        self, delay: float, lag: float, commands: float, repeat: bool, status_first: bool
    ) -> None:
        world = self.world
        world.report_delay_s, world.execution_lag_s, world.command_delay_s = delay, lag, commands
        world.duplicate, world.session.status_first = repeat, status_first

    @rule(kind=st.sampled_from(RequestKind), lost=st.booleans())
    def the_next_request_fails(self, kind: RequestKind, lost: bool) -> None:
        (self.world.swallow if lost else self.world.refuse).append(kind)

    @rule(at_once=st.booleans())
    def the_actor_crashes(self, at_once: bool) -> None:
        if at_once:
            self.world.restart()
        else:
            self.world.crash_before_performing = True

    @rule()
    def the_link_is_lost_or_comes_back(self) -> None:
        if self.world.link_up:
            self.world.lose_link()
        else:
            self.world.regain_link()

    @rule(flatten=st.sampled_from([False, False, False, True]))
    def somebody_looks_at_the_books_and_may_flatten(self, flatten: bool) -> None:
        if self.world.link_up:
            self.world.look_at_the_books()
        if flatten:
            self.world.say(Flatten(self.world.at, "close all"))

    @precondition(lambda self: self.corrections < MOST_CORRECTIONS)
    @rule(
        which=st.integers(0, 9), quantity=st.sampled_from([0, 10, 5000]), status=st.booleans(),
        change=st.sampled_from([Decimal(0), Decimal("0.37"), Decimal("-1.20")]), seconds=WAITS,
    )  # fmt: skip
    def the_exchange_corrects_an_execution(
        self, which: int, quantity: int, status: bool, change: Decimal, seconds: float
    ) -> None:
        self.corrections += 1
        self.world.correct(which, quantity, change, status=status)
        self.world.pass_time(seconds)

    # --- what must hold -----------------------------------------------------------------------------

    @invariant()
    def at_most_one_main_entry_lives(self) -> None:
        mains = [
            order for order in self.world.venue.open_orders()
            if (ref := OrderRef.parse(order.order.order_ref)) is not None and ref.role == MAIN
        ]  # fmt: skip
        assert len(mains) <= 1

    @invariant()
    def no_exit_takes_the_position_through_zero(self) -> None:
        assert self.world.session.overshoots == []

    @invariant()
    def nothing_was_decided_that_may_not_be(self) -> None:
        assert self.witness.broken == []

    @rule()
    def it_gets_quiet(self) -> None:
        world = self.world
        world.heal()
        while world.in_flight:
            world.pass_time(1)
        world.pass_time(QUIET_S)
        trade = world.state.trade
        if trade is not None and trade.closing is not None:
            self._closes_in_the_end(trade.trade)
        check_books(world)

    def _closes_in_the_end(self, closing: int) -> None:
        world = self.world
        for _ in range(int(LONGEST_CLOSE_S / 5)):
            world.pass_time(5)
            if world.state.trade is None or world.state.trade.trade != closing:
                break
        else:
            raise AssertionError(f"never closed: {world.state.trade}")
        world.pass_time(QUIET_S)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.it_gets_quiet()
        world = self.world
        if self.ends_by_the_clock:
            world.at = max(world.at, datetime.combine(world.at.date(), datetime.min.time(), world.at.tzinfo)
                           + timedelta(hours=19, minutes=58, seconds=55))  # fmt: skip
            world.pass_time(QUIET_S)
        else:
            world.say(Flatten(world.at, "the end"))
        world.pass_time(QUIET_S)
        if world.state.trade is not None:
            self._closes_in_the_end(world.state.trade.trade)
        assert (world.session.position, world.state.position.quantity) == (0, 0)
        assert world.state.trade is None
        assert list(world.venue.open_orders()) == []


HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

TestSymbolAtTheVenue = SymbolAtTheVenue.TestCase
TestSymbolAtTheVenue.settings = settings(
    max_examples=70, stateful_step_count=30, derandomize=True, deadline=None, suppress_health_check=HEALTH
)


class SymbolAtTheVenueForLong(SymbolAtTheVenue):
    """The same, searched deeper."""


TestSymbolAtTheVenueForLong = SymbolAtTheVenueForLong.TestCase
TestSymbolAtTheVenueForLong.settings = settings(
    max_examples=200, stateful_step_count=40, derandomize=True, deadline=None, suppress_health_check=HEALTH
)
TestSymbolAtTheVenueForLong = pytest.mark.slow(TestSymbolAtTheVenueForLong)
