"""The gate lets through what the system does: a symbol's whole trade at the venue, under every plan.

Limits that stood in the way of an exit, or of the orders that a trade was planned with, would be worse than
none. The limits here are the defaults, but for the value of one order: shares rise and fall a lot.
"""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.commands import BrokerCommand, CancelOrder, Flatten, ModifyOrder, PlaceOrders
from protocol.events import BaseEvent, FillEvent
from protocol.exchange.venue import ChildActivation
from protocol.reports import LinkState, Report
from protocol.risk.gate import RiskGate
from protocol.risk.words import ContractFacts, Quote, Refused
from protocol.settings import SymbolSettings
from protocol.symbol_plan import SymbolPlan
from protocol.symbol_state import SymbolState
from protocol.values import CENT_GRID, Purpose, Symbol
from tests.risk_room import RICH
from tests.symbol_desk import SLV
from tests.symbol_world import WORLD_PLAN, SymbolWorld
from tests.test_symbol_machine import plans


class GatedWorld(SymbolWorld):
    """The symbol at the venue with the gate between them; `refused` is what did not leave."""

    def __init__(self, activation: ChildActivation, plan: SymbolPlan = WORLD_PLAN) -> None:
        limits = attrs.evolve(plan.limits, max_order_notional=Decimal(10**6))
        self.gate = RiskGate(limits, plan.schedule, [SymbolSettings(SLV)], latency_s=plan.latency_s)
        self.refused: list[tuple[BrokerCommand, Refused]] = []
        self.judged = 0
        super().__init__(activation, plan, self._fold)

    def _fold(self, _: SymbolState, event: BaseEvent) -> None:
        self.gate.follow(f"symbol:{SLV}", [event])

    def _perform(self, command: BrokerCommand) -> list[Report]:
        if isinstance(command, PlaceOrders | ModifyOrder | CancelOrder):
            self.judged += 1
            refused = self.gate.judge(command, Shown(self), at=self.at)
            if refused is not None:
                self.refused.append((command, refused))
                return self._turn_away(command, refused.reason)
        return super()._perform(command)


class Shown:
    """What the gate is shown of that world."""

    def __init__(self, world: GatedWorld) -> None:
        self._world, self.money = world, RICH

    @property
    def state(self) -> LinkState:
        return LinkState.UP if self._world.link_up else LinkState.DOWN

    def quote(self, symbol: Symbol) -> Quote | None:
        assert symbol == SLV
        world = self._world
        return Quote(round(world.mid - 0.01, 2), round(world.mid + 0.01, 2), world.mid, world.at)

    def contract_facts(self, symbol: Symbol) -> ContractFacts | None:
        assert symbol == SLV
        return ContractFacts(1, "USD", "SMART", CENT_GRID)


MOVES = st.lists(
    st.tuples(st.sampled_from([-2.0, -1.2, -0.3, 0.3, 0.7, 1.2, 2.0]), st.sampled_from([20, 60, 5000])),
    min_size=3, max_size=8,
)  # fmt: skip


def live(world: GatedWorld, word: str, moves: list[tuple[float, int]]) -> None:
    """A signal, and a market that moves a little every three seconds."""
    world.signal(word)
    world.pass_time(3)
    for percent, size in moves:
        world.mid, world.size = round(world.mid * (1 + percent / 100), 2), size
        world.tick()
        world.pass_time(3)


@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans(), activation=st.sampled_from(ChildActivation), first=MOVES, second=MOVES)
@pytest.mark.slow
def test_a_whole_trade_its_reversal_and_its_flattening_pass(
    plan: SymbolPlan, activation: ChildActivation, first: list[tuple[float, int]],
    second: list[tuple[float, int]],
) -> None:  # fmt: skip
    world = GatedWorld(activation, plan)
    live(world, "BUY", first)
    live(world, "SHORT", second)
    world.size = 5000
    world.say(Flatten(world.at, "the end"))
    world.pass_time(20)
    assert world.refused == []
    assert world.judged > 0
    assert world.gate.book.position(SLV) == world.session.position == 0


def test_the_gates_book_of_a_trade_is_the_symbols_own() -> None:
    world = GatedWorld(ChildActivation.FULL)
    world.size = 30
    world.tick()
    world.signal("BUY")
    world.pass_time(2)
    trade = world.state.trade
    assert trade is not None
    assert sum(isinstance(event, FillEvent) for event in world.journal) > 1
    booked = {order.ref: order.order for order in world.gate.book.live(SLV)}
    assert booked == {order.ref: order for order in trade.orders if order.live}
    assert {order.purpose for order in booked.values()} >= {Purpose.STOP, Purpose.TARGET}
    assert world.gate.book.average_price(SLV) == world.state.position.average_price
