"""The running system as it is told to whoever asks: what it says, and that asking changes nothing."""

from __future__ import annotations

from decimal import Decimal

import trio

from protocol.control_answers import (
    Declined,
    OrdersTold,
    PositionsTold,
    RulesTold,
    StatusTold,
    SymbolTold,
)
from protocol.control_requests import (
    AskLimits,
    AskOrders,
    AskPositions,
    AskRules,
    AskStatus,
    AskSymbol,
    Pause,
    RaiseKillLevel,
)
from protocol.values import STOP, TARGET
from tests.operator_desk import Person, act_out
from tests.world import SLV, World

# --- looking ----------------------------------------------------------------------------------------


def test_the_system_is_told_as_it_is_and_looking_changes_nothing() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        await world.show(SLV, 101.0)
        head = world.journal.head
        told = person.ask(AskStatus())
        assert isinstance(told, StatusTold)
        assert (told.link.state, told.link.account, told.kill.name) == ("up", "DU1234567", "open")
        tree = {(actor.depth, actor.id) for actor in told.tree}
        assert {(0, "trading"), (1, "broker"), (1, "symbols"), (2, "symbol:SLV"), (0, "edge")} <= tree
        assert {actor.state for actor in told.tree} <= {"running"}
        line = told.symbols[0]
        assert (line.symbol, line.status, line.position, line.held) == ("SLV", "open", 100, "")
        assert line.unrealized_pnl is not None
        assert line.unrealized_pnl > 50
        assert told.figures.open_risk is not None
        assert told.figures.open_risk > 0
        for request in (AskPositions(), AskOrders(), AskRules(), AskSymbol(symbol="SLV"), AskLimits()):
            assert not isinstance(person.ask(request), Declined)
        assert world.journal.head == head

    act_out(story)


def test_positions_orders_and_rules_are_told_with_what_the_broker_says() -> None:
    async def story(world: World) -> None:
        person = Person(world)
        await world.enter(SLV)
        positions = person.ask(AskPositions())
        assert isinstance(positions, PositionsTold)
        (record,) = positions.positions
        assert (record.position_id, record.quantity, record.rule) == ("SLV:000001", 100, "long")
        assert record.price == Decimal(repr(world.system.symbols[SLV].view.bid))
        orders = person.ask(AskOrders(symbol="SLV"))
        assert isinstance(orders, OrdersTold)
        told = {order.role: order for order in orders.orders}
        assert set(told) == {STOP, TARGET}
        assert all(order.as_asked and order.perm_id and order.order_id for order in orders.orders)
        assert told[STOP].stop_price == record.stop_price
        rules = person.ask(AskRules(symbol="SLV"))
        assert isinstance(rules, RulesTold)
        assert [(rule.name, rule.on, rule.acted_today) for rule in rules.rules] == [
            ("long", True, 1), ("short", True, 0)
        ]  # fmt: skip
        assert 0 < rules.rules[0].cooldown_left_s <= 180
        none = person.ask(AskOrders(symbol="GLD"))
        assert none == OrdersTold(orders=())

    act_out(story)


def test_why_a_symbol_does_not_enter_is_told_by_the_widest_reason() -> None:
    async def story(world: World) -> None:
        person = Person(world)

        def held() -> str:
            told = person.ask(AskSymbol(symbol="SLV"))
            assert isinstance(told, SymbolTold)
            return told.line.held

        await world.quoted()
        assert held() == ""
        world.unreachable = True
        world.kill("broker")
        await trio.sleep(1)
        assert held() == "no link to the broker"
        person.do(Pause(symbol="SLV", why="news"))
        assert held() == "lock L000001: news"
        person.do(RaiseKillLevel(level="reduce", why="x"))
        assert held() == "kill level reduce"

    act_out(story)
