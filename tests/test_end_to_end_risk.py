"""The account's limits, locks and kill levels in the whole system: what is refused, what stays in place."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
import trio

from actors.market_clock import MarketClock
from actors.system import TradingSystem
from actors.tws_link import Link, LinkDown
from protocol.control_events import HealthEvent, KillLevelEvent
from protocol.events import OrderSentEvent, PositionCloseEvent, SignalVerdictEvent, Verdict
from protocol.exchange.tws_market_settings import DataPermission, MarketSettings
from protocol.exchange.tws_settings import TwsSettings
from protocol.reports import LinkState, RequestKind
from protocol.risk.settings import CoolDown
from protocol.risk.words import KillLevel, LockKind
from protocol.settings import Settings
from protocol.values import MAIN, STOP, TARGET, Symbol
from tests.directed_market import DirectedMarket
from tests.world import GLD, ROOMY, SLV, World, play, settings_for


def limited(*symbols: Symbol, shares: int = 100, **limits: object) -> Settings:
    """The given limits, and no cooldown of a rule's own in the way."""
    settings = settings_for(*symbols, shares=shares, risk=attrs.evolve(ROOMY, **limits))  # type: ignore[arg-type]
    return attrs.evolve(settings, rules=tuple(attrs.evolve(rule, cooldown_s=0.0) for rule in settings.rules))


UGA = Symbol("UGA")


def two_stocks() -> DirectedMarket:
    return DirectedMarket({SLV: 100.0, GLD: 50.0})


def level_of(world: World) -> KillLevel:
    return world.system.gate.standing.level


def last_verdict(world: World) -> SignalVerdictEvent:
    return world.events(SignalVerdictEvent)[-1]


async def nobody() -> Link:
    """Who is asked for a link by a system that never runs."""
    raise LinkDown("nobody is there")


def next_life(world: World) -> TradingSystem:
    """The system as it would start on the same journal."""
    return TradingSystem(
        world.settings, journal=world.journal, instance="w", clock=MarketClock(), connect=nobody
    )


async def refused(world: World, symbol: Symbol = SLV, word: str = "BUY") -> SignalVerdictEvent:
    """A signal that must not trade, and its verdict."""
    before = len(world.events(OrderSentEvent))
    await world.quoted()
    world.signal(symbol, word)
    await trio.sleep(1.0)
    verdict = last_verdict(world)
    assert verdict.verdict is Verdict.REFUSED, verdict
    assert len(world.events(OrderSentEvent)) == before
    return verdict


def test_the_second_symbol_is_refused_when_both_would_be_more_than_the_account_may_hold() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)  # 10,000 dollars
        verdict = await refused(world, GLD)  # 5,000 more
        assert verdict.code == "gross"
        assert "(R3)" in verdict.reason
        assert world.position(GLD) == 0
        await world.check(alarms=None)

    play(story, two_stocks(), limited(SLV, GLD, max_gross=0.0149, max_net=None))


def test_the_same_two_fit_within_a_limit_just_above() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        await world.enter(GLD)
        await world.check()

    play(story, two_stocks(), limited(SLV, GLD, max_gross=0.0152, max_net=None))


def test_a_symbol_that_is_locked_is_refused_until_the_lock_is_lifted() -> None:
    async def story(world: World) -> None:
        lock = world.system.risk.lock(SLV, kind=LockKind.PERSON, reason="earnings tonight", who="ann")
        verdict = await refused(world)
        assert verdict.code == "locked"
        assert "earnings tonight" in verdict.reason
        world.system.risk.unlock(lock, who="ann", why="earnings are out")
        await world.enter()
        await world.check(alarms=None)

    play(story)


def test_halt_cancels_what_enters_keeps_every_exit_and_survives_a_restart() -> None:
    async def story(world: World) -> None:
        await world.enter(GLD)
        world.stage.show(SLV, size=30)
        await world.quoted()
        world.signal(SLV, "BUY")
        await world.until(lambda: world.position() > 0)
        asked = world.clock.now()
        assert world.system.risk.raise_level(KillLevel.HALT, who="ann", why="something smells")
        world.signal(GLD, "SELL")
        await trio.sleep(10.0)
        assert MAIN not in world.working(SLV)
        assert world.working(SLV)[STOP].remaining == world.position(SLV)
        assert set(world.exits(GLD)) == {STOP, TARGET}
        sent = [event for event in world.events(OrderSentEvent) if event.at > asked + timedelta(seconds=0.1)]
        assert [event.ref for event in sent if event.ref.role == MAIN] == []
        again = next_life(world)
        assert again.gate.standing.level is KillLevel.HALT
        verdict = await refused(world, UGA)
        assert verdict.code == "kill_level"
        assert "something smells" in verdict.reason
        world.system.risk.lower_level(KillLevel.OPEN, who="ann", why="it was the cat")
        assert [event.who for event in world.events(KillLevelEvent)] == ["ann", "ann"]
        await world.check(alarms=None)

    market = DirectedMarket({SLV: 100.0, GLD: 50.0, UGA: 30.0})
    play(story, market, limited(SLV, GLD, UGA, shares=250))


def test_flatten_closes_every_position_and_nothing_is_entered_afterwards() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        await world.enter(GLD, "SELL")
        world.system.risk.raise_level(KillLevel.FLATTEN, who="ann", why="enough for today")
        await world.until(lambda: world.system.at_rest)
        assert (world.position(SLV), world.position(GLD)) == (0, 0)
        assert (world.working(SLV), world.working(GLD)) == ({}, {})
        assert {event.reason for event in world.events(PositionCloseEvent)} == {"enough for today"}
        assert (await refused(world)).code == "kill_level"
        await world.check(alarms=None)

    play(story, two_stocks(), limited(SLV, GLD))


def test_flatten_reaches_a_symbol_in_quarantine_too() -> None:
    async def story(world: World) -> None:
        await world.enter()
        world.system.symbol_tree.quarantine("symbol:SLV", "the story shuts it away")
        await trio.sleep(5.0)
        assert set(world.exits()) == {STOP, TARGET}
        world.system.risk.raise_level(KillLevel.FLATTEN, who="ann", why="enough")
        await world.until(lambda: world.system.at_rest)
        assert (world.position(), world.working()) == (0, {})

    play(story)


def test_sever_closes_the_link_once_all_is_flat_and_a_person_opens_it_again() -> None:
    async def story(world: World) -> None:
        await world.enter()
        world.system.risk.raise_level(KillLevel.SEVER, who="ann", why="the account is under attack")
        await world.until(lambda: world.system.broker.state is LinkState.DOWN)
        assert (world.position(), world.working()) == (0, {})
        links = world.links
        await trio.sleep(120.0)
        assert world.links == links
        again = next_life(world)
        assert again.broker.severed
        world.system.risk.lower_level(KillLevel.OPEN, who="ann", why="the password is another one")
        await world.until(lambda: world.system.broker.state is LinkState.UP)
        await trio.sleep(180.0)
        await world.enter()

    play(story)


def test_a_symbol_that_has_lost_its_share_of_the_day_is_closed_and_locked_while_the_others_trade() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        await world.show(SLV, 97.5)  # 250 dollars of open loss, and the stop still 50 cents away
        await world.until(lambda: world.position(SLV) == 0)
        assert (await refused(world, SLV)).code == "locked"
        assert "LIMIT_LOCK" in world.alarms()
        await world.enter(GLD)
        await world.check(alarms=None)

    play(story, two_stocks(), limited(SLV, GLD, max_daily_loss_of_symbol=Decimal(200)))


def test_a_cool_down_after_a_trade_is_a_lock_that_ends_by_itself() -> None:
    async def story(world: World) -> None:
        await world.enter()
        world.system.flatten(SLV, "the story wants it so")
        await world.until(lambda: world.system.at_rest)
        await trio.sleep(2.0)
        assert (await refused(world)).code == "locked"
        await trio.sleep(120.0)
        await world.enter()
        await world.check()

    play(story, settings=limited(SLV, protections=(CoolDown(lock_s=120.0),)))


def test_delayed_data_holds_entries_and_says_so_as_the_symbols_health() -> None:
    async def story(world: World) -> None:
        await trio.sleep(10.0)
        world.signal(SLV, "BUY")
        await trio.sleep(2.0)
        assert last_verdict(world).verdict is Verdict.REFUSED
        assert world.position() == 0
        told = {event.subject: event.state for event in world.events(HealthEvent)}
        assert told["symbol:SLV"] in ("not_permitted", "delayed")

    play(story, tws=TwsSettings(market=MarketSettings(permission=DataPermission.NONE)))


def test_five_quarantines_hold_the_entries_of_all_others() -> None:
    names = [Symbol(f"S{number}") for number in range(6)]

    async def story(world: World) -> None:
        for symbol in names[:5]:
            world.system.symbol_tree.quarantine(f"symbol:{symbol}", "the story shuts it away")
        await trio.sleep(1.0)
        assert "MANY_QUARANTINES" in world.alarms()
        assert (await refused(world, names[5])).code == "locked"
        for symbol in names[:5]:
            assert world.system.release_symbol(symbol)
        (lock,) = world.system.gate.standing.locks(world.clock.now())
        world.system.risk.unlock(lock.lock, who="ann", why="the disk was full")
        await trio.sleep(2.0)
        await world.enter(names[5])

    play(story, DirectedMarket(dict.fromkeys(names, 100.0)), settings_for(*names))


def test_every_order_that_leaves_was_intended_as_the_drop_copy_counts_them() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        await world.show(SLV, 97.0)
        await world.until(lambda: world.system.at_rest)
        assert level_of(world) is KillLevel.OPEN
        assert "WIRE_MISMATCH" not in world.alarms()
        spec = world.events(OrderSentEvent)[0]
        world.system.risk.left(RequestKind.PLACE, spec.order_id + 1000, None)
        assert level_of(world) is KillLevel.HALT
        assert "WIRE_MISMATCH" in world.alarms()

    play(story)
