"""Rules over all symbols, and rules that change while the system runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest
import trio

from protocol.config import ConfigFaults, resolve
from protocol.events import NotifyEvent, PeerAskedEvent, PositionCloseEvent, RuleFiredEvent, RunEvent
from protocol.portfolio import Holding, PortfolioState, PortfolioView, evolve_portfolio, watch_portfolio
from protocol.rules.actions import Enter, FlattenAll, Notify
from protocol.rules.amounts import Percent
from protocol.rules.conditions import When, WhenSignal
from protocol.rules.rule import Rule
from protocol.settings import Schedule
from protocol.values import Side, Symbol
from tests.directed_market import DirectedMarket
from tests.world import GLD, SLV, World, play, settings_for

D = Decimal
AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
STOP_ALL = Rule("stop all", When.parse("pnl_today_all <= -500"), FlattenAll("a bad day"), cooldown_s=60.0)


def view(*marks: float | None, at: datetime = AT, realized: str = "0") -> PortfolioView:
    """Long 100 at 100.00 of each symbol."""
    holdings = tuple(
        Holding(Symbol(f"S{number}"), 100, D(100), mark, D(realized)) for number, mark in enumerate(marks)
    )
    return PortfolioView(at, holdings, D(50_000), Schedule())


def test_sums_are_over_all_symbols_and_unknown_while_a_price_is() -> None:
    seen = view(101.0, 98.0, realized="-10")
    assert (seen.fact("open_pnl_all"), seen.fact("exposure_all")) == (-100.0, 19_900.0)
    assert (seen.fact("realized_today_all"), seen.fact("pnl_today_all")) == (-20.0, -120.0)
    assert (seen.fact("positions_all"), seen.fact("equity")) == (2.0, 50_000.0)
    assert view(101.0, None).fact("open_pnl_all") is None
    assert seen.fact("pnl_pct") is None, "a symbol's own"


def test_a_rule_acts_once_when_it_becomes_true_and_again_only_after_its_cooldown() -> None:
    state, rules = PortfolioState(), (STOP_ALL,)

    def look(*marks: float, after_s: float) -> list[str]:
        nonlocal state
        state, events = watch_portfolio(state, rules, view(*marks, at=AT + timedelta(seconds=after_s)))
        for event in events:
            state = evolve_portfolio(state, event)
        return [type(event).__name__ for event in events]

    assert look(99.0, after_s=0) == []
    assert look(94.0, after_s=1) == ["RuleFiredEvent", "PeerAskedEvent"]
    assert look(93.0, after_s=2) == []
    assert look(99.0, after_s=3) == []
    assert look(94.0, after_s=4) == [], "its cooldown"
    assert look(94.0, after_s=62) == ["RuleFiredEvent", "PeerAskedEvent"]


def test_a_loss_over_all_symbols_flattens_every_one_of_them() -> None:
    rules = (
        Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY, stop=Percent(0.1), target=None)),
        STOP_ALL,
        Rule("tell", When.parse("open_pnl_all <= -200"), Notify("open: {open_pnl_all}")),
    )

    async def story(world: World) -> None:
        await world.enter(SLV)
        await world.enter(GLD)
        await world.show(SLV, 97.0)
        assert [event.text for event in world.events(NotifyEvent)] == ["open: -304.00"]
        assert world.position(SLV) == 100
        await world.show(GLD, 197.0)
        await trio.sleep(5.0)
        assert (world.position(SLV), world.position(GLD)) == (0, 0)
        assert [e.reason for e in world.events(PositionCloseEvent)] == ["a bad day", "a bad day"]
        assert [e.rule for e in world.events(RuleFiredEvent)] == ["tell", "stop all"]
        assert len(world.events(PeerAskedEvent)) == 1
        await world.check()

    play(story, DirectedMarket({SLV: 100.0, GLD: 200.0}), settings_for(SLV, GLD, rules=rules))


def test_the_rule_of_the_portfolio_outlives_the_death_of_its_owner() -> None:
    rules = (Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY, stop=Percent(0.1), target=None)), STOP_ALL)

    async def story(world: World) -> None:
        await world.enter(SLV)
        world.kill("portfolio")
        await trio.sleep(1.0)
        await world.show(SLV, 94.0)
        await trio.sleep(3.0)
        assert world.position(SLV) == 0
        await world.check(restarts={"portfolio": 1})

    play(story, settings=settings_for(SLV, rules=rules))


def test_rules_are_replaced_while_a_trade_lives_and_it_goes_on() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        closing = Rule("out", When.parse("pnl_pct >= 0.02 and sma(2, bar_s=5) > 0"), FlattenAll("enough"))
        world.system.use_rules((closing,))
        await world.show(SLV, 101.0)
        world.signal(SLV, "SELL")
        await trio.sleep(1.0)
        assert world.verdicts()[-1] == (SLV, "no_rule"), "the old rules are gone"
        assert world.position(SLV) == 100
        await world.show(SLV, 102.5)
        await trio.sleep(20.0)
        assert world.position(SLV) == 0
        assert [event.detail for event in world.events(RunEvent)] == ["out"]
        await world.check()

    play(story)


def test_rules_with_one_name_are_refused_as_a_whole() -> None:
    async def story(world: World) -> None:
        rule = world.settings.rules[0]
        with pytest.raises(ValueError, match="long"):
            world.system.use_rules((rule, attrs.evolve(rule, priority=1)))
        assert world.system.settings.rules == world.settings.rules
        await world.enter(SLV)
        await world.check()

    play(story)


def test_a_rule_over_all_symbols_that_wants_what_only_a_symbol_has_is_refused_at_load() -> None:
    wrong = {
        "rules": [{
            "name": "all", "when": "open_pnl_all < 0 and rsi14 > 70 and pnl > 0", "symbols": ["SLV"],
            "then": [{"close": {}}, {"flatten_all": {}}],
        }]
    }  # fmt: skip
    with pytest.raises(ConfigFaults) as refused:
        resolve([wrong], offered=[SLV])
    said = str(refused.value)
    assert "cannot read pnl" in said
    assert "not Close" in said
    assert "indicators" in said
    assert "names none of them" in said
