"""Trades from their signal to their end, through the real router, symbols, broker, wire and venue."""

from __future__ import annotations

from decimal import Decimal

import attrs
import trio

from protocol.events import ModifyOrderEvent, PositionCloseEvent
from protocol.exchange.venue_settings import ChildActivation
from protocol.rules.actions import Enter, OnOpposite
from protocol.rules.amounts import AtrMultiple, Percent
from protocol.rules.conditions import WhenSignal
from protocol.rules.rule import Rule
from protocol.settings import Atr
from protocol.values import STOP, Side
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for, under_both


def reasons(world: World) -> list[str]:
    """Why each trade ended, in order."""
    return [event.reason for event in world.events(PositionCloseEvent, SLV)]


# --- entries --------------------------------------------------------------------------------------


@under_both
def test_a_buy_signal_enters_long_with_the_stop_below_and_the_target_above(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.enter(SLV, "BUY")
        assert world.verdicts() == [(SLV, "entry")]
        assert world.prices() == [("BOT", 100, Decimal("100.01"))]
        # 3 % below and 8 % above the fill, the stop rounded away from the market.
        assert world.exits() == {"stop": ("SELL", 100, 97.0), "target": ("SELL", 100, 108.01)}
        await world.check()

    play(story, activation=activation)


@under_both
def test_a_short_signal_enters_short_with_the_stop_above_and_the_target_below(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.enter(SLV, "SHORT")
        assert world.prices() == [("SLD", 100, Decimal("99.99"))]
        assert world.position() == -100
        assert world.exits() == {"stop": ("BUY", 100, 102.99), "target": ("BUY", 100, 92.0)}
        await world.check()

    play(story, activation=activation)


def test_distances_in_average_true_ranges_come_from_the_history_of_the_broker() -> None:
    rule = Rule("atr", WhenSignal(("BUY",)), Enter(Side.BUY, AtrMultiple(6.0), AtrMultiple(4.0)))

    async def story(world: World) -> None:
        await world.enter()
        # A minute of the past has a true range of 0.20: stop 1.20 below the fill, target 0.80 above.
        assert world.exits() == {"stop": ("SELL", 100, 98.81), "target": ("SELL", 100, 100.81)}
        await world.check()

    play(story, settings=settings_for(SLV, rules=(rule,), atr=Atr(14, 60)))


@under_both
def test_the_stop_follows_an_entry_that_fills_in_parts(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.show(SLV, size=100)
        await world.quoted()
        world.signal(SLV, "BUY")
        await trio.sleep(0.5)
        assert world.position() == 100
        covered = []
        while world.position() < 350:
            covered.append((world.position(), world.exits()["stop"][1] >= world.position()))
            await trio.sleep(0.5)
        assert covered
        assert all(enough for _, enough in covered), covered
        await trio.sleep(2.0)
        assert [quantity for _, quantity, _ in world.prices()] == [100, 100, 100, 50]
        assert world.exits() == {"stop": ("SELL", 350, 97.0), "target": ("SELL", 350, 108.01)}
        await world.check()

    play(story, settings=settings_for(SLV, shares=350), activation=activation)


@under_both
def test_exits_move_with_the_average_of_an_entry_that_fills_at_rising_prices(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.show(SLV, size=100)
        await world.quoted()
        world.signal(SLV, "BUY")
        await world.until(lambda: world.position() == 100)
        await world.show(SLV, 101.0)
        await world.until(lambda: world.position() == 300)
        await trio.sleep(2.0)
        paid = sum((quantity * price for _, quantity, price in world.prices()), Decimal(0))
        assert paid > 300 * Decimal("100.01")
        distance = Decimal("100.01") * Decimal("0.03")
        stop = Decimal(str(world.exits()["stop"][2]))
        assert stop == (paid / 300 - distance).quantize(Decimal("0.01"), "ROUND_FLOOR")
        assert world.events(ModifyOrderEvent, SLV)
        await world.check()

    play(story, settings=settings_for(SLV, shares=300), activation=activation)


@under_both
def test_an_entry_that_does_not_fill_in_time_is_cancelled_and_what_it_filled_is_protected(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.show(SLV, size=100)
        await world.quoted()
        world.stage.show(SLV, size=0)
        world.signal(SLV, "BUY")
        await trio.sleep(29)
        assert "main" in world.working()
        await trio.sleep(4)
        assert "main" not in world.working()
        filled = world.position()
        assert 0 < filled < 450
        assert world.exits() == {"stop": ("SELL", filled, 97.0), "target": ("SELL", filled, 108.01)}
        await world.check()

    play(story, settings=settings_for(SLV, shares=450), activation=activation)


def test_an_entry_that_fills_not_at_all_leaves_nothing_behind() -> None:
    async def story(world: World) -> None:
        await world.quoted()
        await world.show(SLV, size=0)
        world.signal(SLV, "BUY")
        await trio.sleep(35)
        assert world.working() == {}
        assert world.state().trade is None
        assert reasons(world) == ["not entered"]
        await world.check()

    play(story)


# --- the next signal ------------------------------------------------------------------------------


@under_both
def test_a_signal_for_the_same_side_is_ignored(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter()
        await trio.sleep(200)
        world.signal(SLV, "BUY")
        await trio.sleep(5)
        assert world.verdicts() == [(SLV, "entry"), (SLV, "same_side")]
        assert world.position() == 100
        await world.check()

    play(story, activation=activation)


def test_an_opposite_signal_in_the_cooldown_is_refused() -> None:
    async def story(world: World) -> None:
        await world.enter()
        await trio.sleep(60)
        world.signal(SLV, "SELL")
        await trio.sleep(5)
        assert world.verdicts() == [(SLV, "entry"), (SLV, "cooldown")]
        assert world.position() == 100
        await world.check()

    play(story)


@under_both
def test_a_long_trade_is_turned_into_a_short_one(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter(SLV, "BUY")
        await trio.sleep(200)
        world.signal(SLV, "SELL")
        await world.until(lambda: world.position() == -100)
        await trio.sleep(3)
        assert world.verdicts() == [(SLV, "entry"), (SLV, "reverse")]
        assert [side for side, _, _ in world.prices()] == ["BOT", "SLD", "SLD"]
        assert world.exits() == {"stop": ("BUY", 100, 102.99), "target": ("BUY", 100, 92.0)}
        assert reasons(world) == ["reverse"]
        await world.check()

    play(story, activation=activation)


@under_both
def test_a_short_trade_is_turned_into_a_long_one(activation: ChildActivation) -> None:
    async def story(world: World) -> None:
        await world.enter(SLV, "SHORT")
        await trio.sleep(200)
        world.signal(SLV, "BUY")
        await world.until(lambda: world.position() == 100)
        await trio.sleep(3)
        assert [side for side, _, _ in world.prices()] == ["SLD", "BOT", "BOT"]
        assert world.exits() == {"stop": ("SELL", 100, 97.0), "target": ("SELL", 100, 108.01)}
        await world.check()

    play(story, activation=activation)


@under_both
def test_a_reversal_while_the_entry_still_fills_waits_until_everything_is_flat(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.show(SLV, size=100)
        await world.quoted()
        world.signal(SLV, "BUY")
        await world.until(lambda: world.position() == 300)
        world.signal(SLV, "SHORT")
        positions = [world.position()]
        with trio.fail_after(60):
            while world.position() != -400:
                await trio.sleep(0.25)
                positions.append(world.position())
        turned = positions.index(0)
        assert all(held >= 0 for held in positions[:turned])
        assert all(held <= 0 for held in positions[turned:])
        await trio.sleep(3)
        assert world.exits() == {"stop": ("BUY", 400, 102.99), "target": ("BUY", 400, 92.0)}
        await world.check()

    rules = tuple(attrs.evolve(rule, cooldown_s=0.0) for rule in settings_for(SLV).rules)
    play(story, settings=settings_for(SLV, shares=400, rules=rules), activation=activation)


def test_a_rule_may_say_that_an_opposite_signal_only_closes() -> None:
    async def story(world: World) -> None:
        await world.enter()
        await trio.sleep(200)
        world.signal(SLV, "SELL")
        await world.until(lambda: world.state().trade is None)
        await trio.sleep(5)
        assert world.position() == 0
        assert world.working() == {}
        await world.check()

    rules = (
        Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY, on_opposite=OnOpposite.CLOSE)),
        Rule("short", WhenSignal(("SELL",)), Enter(Side.SELL, on_opposite=OnOpposite.CLOSE)),
    )
    play(story, settings=settings_for(SLV, rules=rules))


# --- several symbols ------------------------------------------------------------------------------


def test_two_symbols_trade_side_by_side() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV, "BUY")
        await world.enter(GLD, "SHORT")
        await world.show(SLV, 108.50)
        await world.until(lambda: world.state(SLV).trade is None)
        assert world.exits(GLD) == {"stop": ("BUY", 100, 205.98), "target": ("BUY", 100, 183.99)}
        await world.check()

    play(story, DirectedMarket({SLV: 100.0, GLD: 199.99}), settings_for(SLV, GLD))


def test_a_stop_below_the_least_distance_is_refused() -> None:
    rule = Rule("tight", WhenSignal(("BUY",)), Enter(Side.BUY, Percent(0.0001), None))

    async def story(world: World) -> None:
        await world.quoted()
        world.signal(SLV, "BUY")
        await trio.sleep(3)
        assert world.verdicts() == [(SLV, "stop_too_close")]
        await world.check()

    play(story, settings=settings_for(SLV, rules=(rule,)))


def test_a_trade_without_a_target_is_closed_by_a_market_order_in_the_group() -> None:
    rule = Rule("bare", WhenSignal(("BUY",)), Enter(Side.BUY, Percent(0.03), None))

    async def story(world: World) -> None:
        await world.enter()
        assert set(world.exits()) == {STOP}
        await world.sleep_until("15:59:10")
        assert (world.position(), world.working()) == (0, {})
        await world.check()

    market = DirectedMarket({SLV: 100.0}, start="15:40")
    play(story, market, settings_for(SLV, rules=(rule,)))
