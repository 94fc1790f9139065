#!/usr/bin/env python3
"""Rules in Python: conditions with `&`, `|` and `~`, actions with `+`; the same objects that TOML makes.

.venv/bin/python scripts/examples/rules.py
"""

from datetime import time

from actors.simulation import Simulation, simulate
from protocol.config_rules_text import describe_rule
from protocol.events import BaseEvent, NotifyEvent, RuleFiredEvent, RuleSwitchedEvent
from protocol.rules.actions import Breakeven, Close, EnableRule, Enter, Log, Notify, SetValue, Trailing
from protocol.rules.amounts import Percent, RiskReward
from protocol.rules.conditions import When, WhenEvent, WhenPosition, WhenSignal, WhenTime
from protocol.rules.expression import Expression
from protocol.rules.rule import Rule
from protocol.values import Side

sure = WhenSignal(("BUY",), min_confidence=0.7)
in_hours = WhenTime(after=time(9, 45), before=time(15, 30), market_hours=True)
overbought = When.parse("default(rsi14, 50) > 80")

RULES = (
    Rule(
        "long",
        sure & in_hours & ~overbought,
        Enter(
            Side.BUY,
            stop=Percent(0.005),
            target=RiskReward(2.0),
            trail=Trailing(Percent(0.003), after=Percent(0.001)),
            breakeven=Breakeven(after=Percent(0.001)),
        ),
        priority=200,
        cooldown_s=60,
    ),
    Rule(
        "count the trades",
        WhenEvent("PositionCloseEvent"),
        SetValue("trades", Expression.parse("default(value.trades, 0) + 1"))
        + Log("{symbol}: one more is over"),
        cooldown_s=0,
    ),
    Rule(
        "no patience",
        WhenPosition(state=("open",), min_duration_s=180) & When.parse("pnl_pct < 0.0005"),
        Close(reason="three minutes and no profit") + Notify("{symbol}: closed at {price}, no patience"),
    ),
    Rule(
        "enough",
        When.parse("value.trades >= 2") | When.parse("realized_today < -100"),
        EnableRule("long", on=False) + Notify("{symbol} trades no more today"),
        max_per_day=1,
    ),
)


async def story(simulation: Simulation) -> None:
    print("The rules, as anybody can read them:")
    for rule in RULES:
        print(f"  {rule.name}: {describe_rule(rule)}")
    print("Ten minutes with a prediction each:")
    for confidence in (0.6, *[0.9] * 9):
        simulation.signal("SPY", "BUY", confidence)
        await simulation.wait(60)

    for event in simulation.events(BaseEvent):
        match event:
            case RuleFiredEvent():
                print(f"  {event.at:%H:%M:%S} '{event.rule}' did {event.actions}")
            case NotifyEvent():
                print(f"  {event.at:%H:%M:%S} '{event.rule}' says: {event.text}")
            case RuleSwitchedEvent():
                print(f"  {event.at:%H:%M:%S} '{event.rule}' is {'on' if event.on else 'off'}")
            case _:
                pass
    total = simulation.positions.summary()
    print(f"{total.trades} trades, ${total.realized_pnl:+.2f}")


if __name__ == "__main__":
    simulate(story, symbols=("SPY",), rules=RULES)
