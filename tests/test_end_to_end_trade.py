"""What a trade can do while it is open, through the real router, symbols, broker, wire and venue."""

from __future__ import annotations

from decimal import Decimal

import pytest
import trio

from protocol.events import ModifyOrderEvent, PositionAdjustEvent, PositionCloseEvent
from protocol.exchange.venue_settings import ChildActivation
from protocol.rules.actions import (
    Breakeven,
    DoubleDownLevel,
    Enter,
    ScaleLevel,
    TargetPart,
    Trailing,
)
from protocol.rules.amounts import Amount, Multiple, Percent, RiskReward, Shares
from protocol.rules.conditions import WhenSignal
from protocol.rules.rule import Rule
from protocol.settings import Settings
from protocol.values import Side
from tests.directed_market import DirectedMarket
from tests.world import SLV, World, play, settings_for, under_both


def entering(entry: Enter, shares: int = 100) -> Settings:
    """SLV enters so on a signal of its side."""
    words = ("BUY",) if entry.side is Side.BUY else ("SELL", "SHORT")
    return settings_for(SLV, shares=shares, rules=(Rule("rule", WhenSignal(words), entry),))


def reasons(world: World) -> list[str]:
    return [event.reason for event in world.events(PositionCloseEvent, SLV)]


# --- additions ------------------------------------------------------------------------------------


@under_both
def test_scale_ins_of_25_at_2_and_at_5_percent_are_added_once_each(activation: ChildActivation) -> None:
    levels = (ScaleLevel(Percent(0.02), Shares(25)), ScaleLevel(Percent(0.05), Shares(25)))
    entry = Enter(Side.BUY, scale_in=levels, target=Percent(0.2))

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 101.5)
        assert world.position() == 100
        await world.show(SLV, 102.2)
        assert world.position() == 125
        await world.show(SLV, 102.3)
        assert world.position() == 125
        await world.show(SLV, 106.0)
        assert world.position() == 150
        await trio.sleep(1.0)
        paid = sum((quantity * price for _, quantity, price in world.prices()), Decimal(0))
        exits = world.exits()
        assert exits["stop"][1] == exits["target"][1] == 150
        # 3 % of the first quote's far side below the average of all three.
        wanted = paid / 150 - Decimal("100.01") * Decimal("0.03")
        assert Decimal(str(exits["stop"][2])) == wanted.quantize(Decimal("0.01"), "ROUND_FLOOR")
        await world.show(SLV, 95.0)
        await trio.sleep(2.0)
        assert world.position() == 0
        assert reasons(world) == ["stop"]
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
def test_a_double_down_rests_half_way_to_the_stop_and_exits_follow_its_partial_fills(
    activation: ChildActivation,
) -> None:
    entry = Enter(Side.BUY, stop=Percent(0.06), target=Percent(0.04), double_down=(DoubleDownLevel(0.5),))

    async def story(world: World) -> None:
        await world.enter()
        # The stop is 6.0006 dollars away: half of that below the average, on the grid.
        assert world.exits()["doubledown"] == ("BUY", 100, 97.0)
        await world.show(SLV, 96.9, size=60)
        assert world.position() >= 160
        await world.until(lambda: world.position() == 200)
        await trio.sleep(1.0)
        exits = world.exits()
        assert exits["stop"][:2] == exits["target"][:2] == ("SELL", 200)
        quantities = [e.order.quantity for e in world.events(ModifyOrderEvent, SLV) if e.ref.role == "stop"]
        assert 160 in quantities
        assert quantities[-1] == 200
        await world.show(SLV, 110.0, size=5000)
        await trio.sleep(2.0)
        assert reasons(world) == ["target"]
        assert world.exits() == {}
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
def test_a_short_doubles_down_above_its_entry(activation: ChildActivation) -> None:
    entry = Enter(
        Side.SELL, stop=Percent(0.06), target=None, double_down=(DoubleDownLevel(0.5, Multiple(2)),)
    )

    async def story(world: World) -> None:
        await world.enter(SLV, "SHORT")
        assert world.exits()["doubledown"][:2] == ("SELL", 200)
        await world.show(SLV, 103.2)
        assert world.position() == -300
        await trio.sleep(1.0)
        assert world.exits()["stop"][:2] == ("BUY", 300)
        await world.show(SLV, 112.0)
        await trio.sleep(2.0)
        assert reasons(world) == ["stop"]
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
def test_the_stop_takes_a_resting_double_down_with_it(activation: ChildActivation) -> None:
    entry = Enter(Side.BUY, stop=Percent(0.03), target=Percent(0.04), double_down=(DoubleDownLevel(0.5),))

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 106.0)
        await trio.sleep(3.0)
        assert reasons(world) == ["target"]
        assert world.exits() == {}
        assert world.position() == 0
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
def test_a_gap_through_double_down_and_stop_ends_flat(activation: ChildActivation) -> None:
    entry = Enter(Side.BUY, stop=Percent(0.03), target=Percent(0.1), double_down=(DoubleDownLevel(0.5),))

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 90.0)
        await trio.sleep(10.0)
        assert world.position() == 0
        assert world.exits() == {}
        await world.check(alarms=None)

    play(story, settings=entering(entry), activation=activation)


# --- exits ----------------------------------------------------------------------------------------


@under_both
def test_several_targets_each_take_their_part_and_leave_the_rest_covered(activation: ChildActivation) -> None:
    parts = (TargetPart(Percent(0.02), 0.5), TargetPart(Percent(0.05), 0.3))
    entry = Enter(Side.BUY, stop=Percent(0.03), target=None, targets=parts)

    async def story(world: World) -> None:
        await world.enter()
        exits = world.exits()
        assert {role: exits[role][1] for role in exits} == {
            "stop": 50, "target": 50, "stop.1": 30, "target.1": 30, "stop.2": 20
        }  # fmt: skip
        await world.show(SLV, 102.2)
        assert world.position() == 50
        await trio.sleep(3.0)
        exits = world.exits()
        assert {role: exits[role][1] for role in exits} == {"stop.1": 30, "target.1": 30, "stop.2": 20}
        await world.show(SLV, 105.2)
        await trio.sleep(3.0)
        assert {role: each[1] for role, each in world.exits().items()} == {"stop.2": 20}
        await world.show(SLV, 96.0)
        await trio.sleep(3.0)
        assert reasons(world) == ["stop"]
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
@pytest.mark.slow
def test_targets_in_parts_grow_with_a_scale_in(activation: ChildActivation) -> None:
    parts = (TargetPart(Percent(0.05), 0.5), TargetPart(Percent(0.10), 0.5))
    levels = (ScaleLevel(Percent(0.02), Shares(50)),)
    entry = Enter(Side.BUY, stop=Percent(0.03), target=None, targets=parts, scale_in=levels)

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 102.2)
        await trio.sleep(2.0)
        assert world.position() == 150
        assert {role: each[1] for role, each in world.exits().items()} == {
            "stop": 75, "target": 75, "stop.1": 75, "target.1": 75
        }  # fmt: skip
        await world.sleep_until("15:59")
        await trio.sleep(5.0)
        assert reasons(world) == ["end of day"]
        assert world.position() == 0
        await world.check()

    market = DirectedMarket({SLV: 100.0}, start="15:40")
    play(story, market, settings=entering(entry), activation=activation)


@under_both
def test_a_trailing_stop_ratchets_up_and_never_loosens(activation: ChildActivation) -> None:
    entry = Enter(Side.BUY, stop=Percent(0.03), target=None, trail=Trailing(Percent(0.02)))

    async def story(world: World) -> None:
        await world.enter()
        await trio.sleep(1.0)
        assert world.exits()["stop"][2] == 97.99
        await world.show(SLV, 104.0)
        await trio.sleep(1.0)
        high = world.exits()["stop"][2]
        assert high is not None
        # 2 % below the bid of 103.99, within one step of a twentieth of that.
        assert 101.80 <= high <= 101.92
        await world.show(SLV, 102.5)
        await trio.sleep(1.0)
        assert world.exits()["stop"][2] == high
        await world.show(SLV, 101.0)
        await trio.sleep(2.0)
        assert reasons(world) == ["stop"]
        prices = [event.ratchet for event in world.events(PositionAdjustEvent, SLV)]
        assert prices == sorted(prices, key=lambda price: price or 0)
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
def test_a_trail_that_begins_in_profit_leaves_the_stop_alone_until_then(activation: ChildActivation) -> None:
    trail = Trailing(Amount(Decimal("1.50")), after=Percent(0.02))
    entry = Enter(Side.SELL, stop=Percent(0.03), target=None, trail=trail)

    async def story(world: World) -> None:
        await world.enter(SLV, "SELL")
        first = world.exits()["stop"][2]
        await world.show(SLV, 99.0)
        assert world.exits()["stop"][2] == first
        await world.show(SLV, 97.0)
        await trio.sleep(1.0)
        assert world.exits()["stop"][2] == 98.51
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
def test_a_stop_goes_to_breakeven_once(activation: ChildActivation) -> None:
    entry = Enter(Side.BUY, target=None, breakeven=Breakeven(Percent(0.02), Decimal("0.05")))

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 102.1)
        await trio.sleep(1.0)
        assert world.exits()["stop"][2] == 100.06
        await world.show(SLV, 105.0)
        assert len(world.events(PositionAdjustEvent, SLV)) == 1
        await world.show(SLV, 100.0)
        await trio.sleep(2.0)
        assert reasons(world) == ["stop"]
        await world.check()

    play(story, settings=entering(entry), activation=activation)


def test_a_ratcheted_stop_survives_the_death_of_its_actor() -> None:
    entry = Enter(Side.BUY, target=None, trail=Trailing(Percent(0.02)))

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 104.0)
        await trio.sleep(1.0)
        high = world.exits()["stop"][2]
        world.kill("SLV")
        await trio.sleep(1.0)
        await world.show(SLV, 103.0)
        assert world.exits()["stop"][2] == high
        await world.check(restarts={"symbol:SLV": 1})

    play(story, settings=entering(entry))


def test_a_target_can_be_a_multiple_of_the_risk() -> None:
    entry = Enter(Side.BUY, stop=Amount(Decimal("2.00")), target=RiskReward(2.0))

    async def story(world: World) -> None:
        await world.enter()
        assert world.exits() == {"stop": ("SELL", 100, 98.01), "target": ("SELL", 100, 104.01)}
        await world.check()

    play(story, settings=entering(entry))
