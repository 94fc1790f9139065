"""A symbol's core meets the real venue under everything that Hypothesis can think of.

Between two quiet moments anything may happen: signals, moves, thin books, late, repeated and reordered
mail, refused and lost requests, outages, crashes. In a quiet moment the books must be right.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from protocol.commands import Flatten
from protocol.exchange.venue import ChildActivation
from protocol.reports import RequestKind
from protocol.values import MAIN, OrderRef
from tests.symbol_world import SymbolWorld

QUIET_S = 10.0
LONGEST_CLOSE_S = 180.0
"""A close whose every request is refused once or twice ends within this."""

SIZES = st.sampled_from([3, 40, 5000])
WAITS = st.sampled_from([0.0, 0.05, 0.3, 1.0, 4.0, 16.0])


class SymbolAtTheVenue(RuleBasedStateMachine):
    world: SymbolWorld
    ends_by_the_clock: bool

    @initialize(
        activation=st.sampled_from(ChildActivation), by_the_clock=st.booleans(),
        word=st.sampled_from(["BUY", "SHORT"]), size=SIZES, seconds=WAITS,
    )  # fmt: skip
    def begin(
        self, activation: ChildActivation, by_the_clock: bool, word: str, size: int, seconds: float
    ) -> None:
        self.world = SymbolWorld(activation)
        self.ends_by_the_clock = by_the_clock
        self.the_market_moves(0.0, size, 0.0)
        self.a_signal(word, seconds)

    # --- what may happen ----------------------------------------------------------------------------

    @rule(word=st.sampled_from(["BUY", "SHORT"]), seconds=WAITS)
    def a_signal(self, word: str, seconds: float) -> None:
        self.world.signal(word)
        self.world.pass_time(seconds)

    @rule(
        percent=st.sampled_from([-9.0, -3.5, -1.0, -0.1, 0.0, 0.1, 1.0, 3.5, 9.0]),
        size=SIZES, seconds=WAITS,
    )  # fmt: skip
    def the_market_moves(self, percent: float, size: int, seconds: float) -> None:
        world = self.world
        world.size = size
        world.mid = round(min(max(world.mid * (1 + percent / 100), 50.0), 200.0), 2)
        world.tick()
        world.pass_time(seconds)

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

    @rule(flatten=st.booleans())
    def somebody_looks_at_the_books_and_may_flatten(self, flatten: bool) -> None:
        if self.world.link_up:
            self.world.look_at_the_books()
        if flatten:
            self.world.say(Flatten(self.world.at, "close all"))

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
        self._books_are_right()

    def _closes_in_the_end(self, closing: int) -> None:
        world = self.world
        for _ in range(int(LONGEST_CLOSE_S / 5)):
            world.pass_time(5)
            if world.state.trade is None or world.state.trade.trade != closing:
                break
        else:
            raise AssertionError(f"never closed: {world.state.trade}")
        world.pass_time(QUIET_S)

    def _books_are_right(self) -> None:
        world, trade = self.world, self.world.state.trade
        position = world.state.position.quantity
        assert position == world.session.position
        assert world.state.held == ""
        assert abs(float(world.state.position.realized_pnl) - world.realized()) < 1e-6
        if trade is None:
            assert position == 0
            assert world.working() == []
            return
        if trade.closing is not None:
            return
        assert position * trade.side.sign > 0 or trade.entering
        stops = sum(order.remaining for order in world.working("STP"))
        targets = sum(order.remaining for order in world.working("LMT"))
        if trade.entering:
            assert stops >= abs(position)
        else:
            assert stops == abs(position)
            assert targets in (0, abs(position))

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


TestSymbolAtTheVenue = SymbolAtTheVenue.TestCase
TestSymbolAtTheVenue.settings = settings(
    max_examples=150, stateful_step_count=40, derandomize=True, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
TestSymbolAtTheVenue = pytest.mark.slow(TestSymbolAtTheVenue)
