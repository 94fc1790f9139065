"""Ways into a trade, the broker's own trailing stop, joined exits and parts, end to end."""

from __future__ import annotations

from decimal import Decimal

import trio

from protocol.commands import Flatten
from protocol.events import CancelEvent, ModifyOrderEvent, PositionCloseEvent, PositionUpdateEvent
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import ChildActivation
from protocol.rules.actions import (
    Close,
    DoubleDownLevel,
    Enter,
    EntryOrder,
    Link,
    OnCloseStop,
    Trailing,
)
from protocol.rules.amounts import Amount, Percent, RiskFraction
from protocol.rules.conditions import When, WhenSignal
from protocol.rules.rule import Rule
from protocol.settings import Settings
from protocol.values import OrderType, Side
from tests.world import SLV, World, play, settings_for, under_both


def entering(entry: Enter, shares: int = 100) -> Settings:
    """SLV enters so on a signal of its side."""
    words = ("BUY",) if entry.side is Side.BUY else ("SELL", "SHORT")
    return settings_for(SLV, shares=shares, rules=(Rule("rule", WhenSignal(words), entry),))


def reasons(world: World) -> list[str]:
    return [event.reason for event in world.events(PositionCloseEvent, SLV)]


# --- entries --------------------------------------------------------------------------------------


@under_both
def test_a_limit_entry_waits_at_its_price_and_is_protected_from_its_first_share(
    activation: ChildActivation,
) -> None:
    entry = Enter(Side.BUY, order=EntryOrder(OrderType.LIMIT, Percent(0.01), expires_s=600.0))

    async def story(world: World) -> None:
        await world.quoted()
        world.signal(SLV, "BUY")
        await trio.sleep(60.0)
        assert world.exits()["main"] == ("BUY", 100, 99.0)
        await world.show(SLV, 98.9, size=40)
        await world.until(lambda: world.position() == 100)
        await trio.sleep(3.0)
        assert world.exits()["stop"][1] == world.exits()["target"][1] == 100
        await world.check()

    play(story, settings=entering(entry), activation=activation)


def test_a_limit_entry_that_expires_leaves_nothing() -> None:
    entry = Enter(Side.BUY, order=EntryOrder(OrderType.LIMIT, Percent(0.01), expires_s=120.0))

    async def story(world: World) -> None:
        await world.quoted()
        world.signal(SLV, "BUY")
        await trio.sleep(130.0)
        assert world.exits() == {}
        assert reasons(world) == ["not entered"]
        await world.check()

    play(story, settings=entering(entry))


def test_stop_entries_wait_for_the_breakout() -> None:
    for kind in (OrderType.STOP, OrderType.STOP_LIMIT):
        order = EntryOrder(kind, Percent(0.01), Percent(0.005), expires_s=600.0)
        entry = Enter(Side.SELL, order=order)

        async def story(world: World) -> None:
            await world.quoted()
            world.signal(SLV, "SELL")
            await trio.sleep(30.0)
            assert world.position() == 0
            await world.show(SLV, 98.95)
            await trio.sleep(2.0)
            assert world.position() == -100
            assert world.exits()["stop"][:2] == ("BUY", 100)
            await world.check()

        play(story, settings=entering(entry))


def test_a_trade_for_a_limited_time_is_closed_when_it_is_over() -> None:
    async def story(world: World) -> None:
        await world.enter()
        await trio.sleep(320.0)
        assert world.position() == 0
        assert [event.reason for event in world.events(PositionUpdateEvent, SLV)] == ["its time is over"]
        await world.check()

    play(story, settings=entering(Enter(Side.BUY, close_after_s=300.0)))


# --- the broker's own trailing stop, and joined exits ---------------------------------------------------


@under_both
def test_a_native_trailing_stop_is_the_brokers_and_moves_with_the_market(activation: ChildActivation) -> None:
    entry = Enter(Side.BUY, target=None, trail=Trailing(Amount(Decimal("1.00")), native=True))

    async def story(world: World) -> None:
        await world.enter()
        assert world.exits()["stop"][:2] == ("SELL", 100)
        assert world.working()["stop"].order.order_type == "TRAIL"
        await world.show(SLV, 105.0)
        await trio.sleep(5.0)
        assert not world.events(ModifyOrderEvent, SLV), "the broker trails by itself"
        await world.show(SLV, 103.5)
        await trio.sleep(3.0)
        assert reasons(world) == ["stop"]
        assert world.prices()[-1][2] >= Decimal("103.4")
        await world.check()

    play(story, settings=entering(entry), activation=activation)


@under_both
def test_a_trail_of_ones_own_name_joins_the_first_stop_and_sizes_add_up(activation: ChildActivation) -> None:
    trail = Link("trail", 0.4, trail=Trailing(Percent(0.005), native=True))
    rules = (
        Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY)),
        Rule("trail", When.parse("pnl_pct >= 0.02"), trail),
    )

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 102.5)
        await trio.sleep(3.0)
        assert {role: each[1] for role, each in world.exits().items()} == {
            "stop": 60, "target": 60, "trail": 40
        }  # fmt: skip
        await world.show(SLV, 101.5)
        await trio.sleep(3.0)
        assert world.position() == 60
        assert {role: each[1] for role, each in world.exits().items()} == {"stop": 60, "target": 60}
        await world.show(SLV, 108.5)
        await trio.sleep(3.0)
        assert reasons(world) == ["target"]
        await world.check()

    play(story, settings=settings_for(SLV, rules=rules), activation=activation)


@under_both
def test_half_of_a_position_is_closed_and_the_other_half_stays_protected(activation: ChildActivation) -> None:
    rules = (
        Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY)),
        Rule("half", When.parse("pnl_pct >= 0.02"), Close(0.5)),
    )

    async def story(world: World) -> None:
        await world.enter()
        await world.show(SLV, 102.5)
        await trio.sleep(3.0)
        assert world.position() == 50
        assert {role: each[1] for role, each in world.exits().items()} == {"stop": 50, "target": 50}
        await world.check()

    play(story, settings=settings_for(SLV, rules=rules), activation=activation)


@under_both
def test_a_reversal_takes_a_resting_double_down_back_first(activation: ChildActivation) -> None:
    rules = (
        Rule(
            "long", WhenSignal(("BUY",)), Enter(Side.BUY, double_down=(DoubleDownLevel(0.5),)), cooldown_s=5.0
        ),
        Rule("short", WhenSignal(("SHORT",)), Enter(Side.SELL), cooldown_s=5.0),
    )

    async def story(world: World) -> None:
        await world.enter()
        await trio.sleep(10.0)
        assert "doubledown" in world.exits()
        world.signal(SLV, "SHORT")
        await world.until(lambda: world.position() == -100)
        await trio.sleep(2.0)
        assert set(world.exits()) == {"stop", "target"}
        await world.check()

    play(story, settings=settings_for(SLV, rules=rules), activation=activation)


def test_a_cooldown_is_reset_by_a_stop_out_where_the_rule_says_so() -> None:
    for reset, code in ((True, "entry"), (False, "cooldown")):
        rule = Rule(
            "long",
            WhenSignal(("BUY",)),
            Enter(Side.BUY, target=None),
            cooldown_s=600.0,
            reset_by_stop_out=reset,
        )

        async def story(world: World, code: str = code) -> None:
            await world.enter()
            await world.show(SLV, 96.0)
            await trio.sleep(3.0)
            assert reasons(world) == ["stop"]
            world.signal(SLV, "BUY")
            await trio.sleep(2.0)
            assert world.verdicts()[-1] == (SLV, code)
            await world.check()

        play(story, settings=settings_for(SLV, rules=(rule,)))


def test_a_size_by_risk_asks_the_broker_for_the_accounts_worth() -> None:
    rule = Rule(
        "long",
        WhenSignal(("BUY",)),
        Enter(Side.BUY, stop=Amount(Decimal("2.00")), sizing=RiskFraction(0.0005)),
    )

    async def story(world: World) -> None:
        await world.quoted()
        await world.until(lambda: world.system.symbols[SLV].view.equity is not None)
        world.signal(SLV, "BUY")
        await trio.sleep(2.0)
        # 0.05 % of a million dollars is 500: 250 shares with 2 dollars of risk each.
        assert world.position() == 250
        await world.check()

    play(story, settings=settings_for(SLV, rules=(rule,)))


def test_a_stop_closer_than_the_limits_is_widened_and_the_size_shrunk_where_the_rule_says_so() -> None:
    entry = Enter(Side.BUY, stop=Amount(Decimal("0.05")), target=None, on_close_stop=OnCloseStop.WIDEN)

    async def story(world: World) -> None:
        await world.quoted()
        world.signal(SLV, "BUY")
        await trio.sleep(3.0)
        # The least distance is 0.1 % of 100.01: half as close needs half as many shares.
        assert world.position() == 49
        assert world.exits()["stop"] == ("SELL", 49, 99.9)
        await world.check()

    play(story, settings=entering(entry))


# --- what crosses on the way ----------------------------------------------------------------------------


@under_both
def test_a_fill_that_crosses_the_cancel_of_its_entry_is_protected_and_kept(
    activation: ChildActivation,
) -> None:
    """The cancel takes two seconds to the venue; the market comes to the limit in between."""
    entry = Enter(Side.BUY, order=EntryOrder(OrderType.LIMIT, Percent(0.01), expires_s=60.0))
    slow = TwsSettings(order_latency_s=2.0, report_latency_s=0.5)

    async def story(world: World) -> None:
        await world.quoted()
        world.signal(SLV, "BUY")
        await world.until(lambda: bool(world.events(CancelEvent, SLV)), within_s=90.0)
        world.stage.show(SLV, 98.9)
        await world.until(lambda: world.position() == 100)
        await trio.sleep(5.0)
        assert {role: each[1] for role, each in world.exits().items()} == {"stop": 100, "target": 100}
        await world.check(alarms=None)

    play(story, settings=entering(entry), activation=activation, tws=slow)


@under_both
def test_everything_is_closed_on_a_persons_word(activation: ChildActivation) -> None:
    levels = (DoubleDownLevel(0.5),)

    async def story(world: World) -> None:
        await world.enter()
        assert set(world.exits()) == {"stop", "target", "doubledown"}
        world.system.router.command(SLV, Flatten(world.clock.now(), "enough for today"))
        await trio.sleep(3.0)
        assert (world.position(), world.exits()) == (0, {})
        assert reasons(world) == ["enough for today"]
        await world.check()

    play(story, settings=entering(Enter(Side.BUY, double_down=levels)), activation=activation)


@under_both
def test_a_stop_that_fills_50_of_200_shrinks_the_target_to_150_and_the_rest_follows(
    activation: ChildActivation,
) -> None:
    async def story(world: World) -> None:
        await world.enter()
        world.stage.show(SLV, 96.9, size=50)
        await world.until(lambda: world.position() == 150)
        assert world.exits()["target"][1] == 150
        await world.until(lambda: world.position() == 0)
        await trio.sleep(2.0)
        assert world.exits() == {}
        assert reasons(world) == ["stop"]
        await world.check()

    play(story, settings=entering(Enter(Side.BUY), shares=200), activation=activation)
