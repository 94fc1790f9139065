"""The runnable examples run, end by themselves, and show what they say; and so does the face they use."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import trio

from actors.run_options import RunOptions
from actors.simulation import Simulation, simulate
from actors.system import TradingSystem
from actors.trade import trade
from protocol import configuration_note
from protocol.config import ConfigFaults
from protocol.configuration_note import read_note
from protocol.events import BaseEvent, FillEvent, NewOrderEvent, PositionOpenEvent
from protocol.rules.actions import Enter, FlattenAll, ScaleIn
from protocol.rules.conditions import When, WhenSignal
from protocol.rules.rule import Rule
from protocol.values import Side, Symbol

EXAMPLES = Path(__file__).parent.parent / "scripts" / "examples"

SHOWN = {
    "positions.py": (
        "open", "a target that wins twice", "planned -> opening, opening -> open", "1 of 2 won",
    ),
    "orders.py": ("scale ", "TRAIL", "stop (resize)", "created -> submitted -> pending_cancel -> cancelled"),
    "rules.py": ("BUY with confidence from 0.7", "'no patience' did Close, Notify", "'long' is off"),
    "signals.py": ("same_side", "no_rule", "cooldown", "reverse", "SPY is now -10", "FillEvent: main fills"),
    "events.py": (
        "told two seconds later", "'FillEvent': 1", "a fault in a handler", "big fill",
        "Switched off: 0 events",
    ),
}  # fmt: skip
CLIENTS = {"ib_async_client.py": "test_clients_ib_async.py"}
"""Those that need a TWS, and the module that runs them on a simulated one."""


def test_every_runnable_example_is_run_here_or_where_there_is_a_tws() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SHOWN) | set(CLIENTS)
    for name, module in CLIENTS.items():
        assert name in (Path(__file__).parent / module).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.slow
def test_an_example_runs_and_shows_what_it_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    out = capsys.readouterr().out
    assert [words for words in SHOWN[name] if words not in out] == [], out


@pytest.mark.parametrize("name", [*SHOWN, *CLIENTS])
def test_an_example_says_how_it_is_called_and_stays_short(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert f".venv/bin/python scripts/examples/{name}" in text
    assert len(text.splitlines()) <= 100


# --- the face that they use -------------------------------------------------------------------------


def test_the_same_seed_tells_the_same_story_event_for_event() -> None:
    async def story(simulation: Simulation) -> tuple[str, str]:
        simulation.signal("SPY", "BUY")
        await simulation.wait(20)
        return simulation.journal.head_hash, str(simulation.price("SPY"))

    assert simulate(story, seed=4) == simulate(story, seed=4) != simulate(story, seed=5)


def test_a_story_that_fails_fails_with_its_own_words() -> None:
    async def story(_: Simulation) -> None:
        raise RuntimeError("my own fault")

    with pytest.raises(RuntimeError, match="my own fault"):
        simulate(story)


def test_waiting_for_what_never_comes_ends() -> None:
    async def story(simulation: Simulation) -> None:
        await simulation.until(lambda: False, within_s=2.0)

    with pytest.raises(trio.TooSlowError):
        simulate(story)


WRONG_RULES = (
    (Rule("a", WhenSignal(("BUY",)), Enter(Side.BUY)),) * 2,
    (Rule("a", WhenSignal(("BUY",)), Enter(Side.BUY), symbols=(Symbol("ZZZ"),)),),
    (Rule("a", When.parse("open_pnl_all < -100"), ScaleIn()),),
)


@pytest.mark.parametrize("rules", WRONG_RULES, ids=["two of one name", "unknown symbol", "over all symbols"])
def test_rules_that_cannot_be_traded_are_refused_before_anything_starts(rules: tuple[Rule, ...]) -> None:
    async def story(_: Simulation) -> None:
        pytest.fail("it was started")

    with pytest.raises(ConfigFaults):
        simulate(story, rules=rules)
    with pytest.raises(ConfigFaults):
        trade(RunOptions(duration_s=1.0), rules=rules)


def test_rules_are_exchanged_all_or_none_while_a_story_goes_on() -> None:
    async def story(simulation: Simulation) -> None:
        with pytest.raises(ValueError, match="two rules are called a"):
            simulation.system.use_rules(WRONG_RULES[0])
        simulation.system.use_rules((Rule("mine", WhenSignal(("GO",)), Enter(Side.BUY)),))
        note = read_note(simulation.journal.get_meta(configuration_note.KEY))
        assert [rule.name for rule in note.rules] == ["mine"]
        simulation.signal("SPY", "GO")
        await simulation.wait(5)
        assert [event.rule for event in simulation.events(PositionOpenEvent)] == ["mine"]

    simulate(story)


def test_a_rule_over_all_symbols_flattens_them() -> None:
    late = Rule("late", When.parse("positions_all >= 2"), FlattenAll("that is enough"))
    enter = Rule("long", WhenSignal(("BUY",)), Enter(Side.BUY))

    async def story(simulation: Simulation) -> None:
        for symbol in ("SPY", "QQQ"):
            simulation.signal(symbol, "BUY")
        await simulation.until(lambda: len(simulation.positions.closed()) == 2)
        assert {record.reason for record in simulation.positions.closed()} == {"that is enough"}

    simulate(story, symbols=("SPY", "QQQ"), rules=(late, enter))


@pytest.mark.slow
def test_a_python_program_trades_in_real_time_with_rules_and_handlers_of_its_own() -> None:
    heard: list[BaseEvent] = []

    def prepare(system: TradingSystem) -> None:
        system.subscriptions.subscribe(NewOrderEvent, heard.append)
        system.subscriptions.subscribe(FillEvent, heard.append)

    always = Rule("always", WhenSignal(("BUY", "SELL", "SHORT"), min_confidence=0.0), Enter(Side.BUY))
    assert trade(RunOptions(duration_s=6.0, seed=3), rules=(always,), prepare=prepare) == 0
    assert {event.event_type for event in heard} == {"NewOrderEvent", "FillEvent"}
