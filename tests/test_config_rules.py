"""Rules in TOML: the form of every condition and action, and that they are the objects of Python."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest

from actors.config_files import load_settings
from protocol.config import config_hash, resolve
from protocol.config_rules_text import describe_action, describe_rule
from protocol.rules.actions import (
    DEFAULT_TRAIL,
    Action,
    Adjust,
    Breakeven,
    Cancel,
    Choose,
    Close,
    DoubleDown,
    DoubleDownLevel,
    EnableRule,
    Enter,
    EntryOrder,
    FlattenAll,
    Hedge,
    Link,
    Log,
    Notify,
    OnCloseStop,
    Prepare,
    ScaleIn,
    ScaleLevel,
    SetValue,
    Submit,
    TargetPart,
    Trailing,
)
from protocol.rules.amounts import (
    Allocation,
    Amount,
    At,
    AtrMultiple,
    DistanceBy,
    Multiple,
    Percent,
    RiskFraction,
    RiskReward,
    Shares,
    SharesBy,
)
from protocol.rules.conditions import (
    All,
    AnyOf,
    Condition,
    FieldTest,
    IndicatorTest,
    Not,
    When,
    WhenEvent,
    WhenMarket,
    WhenPosition,
    WhenSignal,
    WhenTime,
)
from protocol.rules.expression import Expression
from protocol.rules.indicator_names import indicator_name
from protocol.rules.rule import Rule
from protocol.settings import Settings
from protocol.values import OrderType, Side, Symbol
from tests.test_config import toml

SLV, GLD = Symbol("SLV"), Symbol("GLD")
EXAMPLES = Path(__file__).parent.parent / "scripts" / "examples"
D = Decimal
BUY = WhenSignal(("BUY",))
SAFE = 'side = "BUY", stop_pct = 0.03'


def settings(text: str) -> Settings:
    return resolve((toml(text),), offered=(SLV, GLD))


def rule(
    when: str = 'when.signal = { signal = "BUY" }', then: str = "{ close = {} }", extra: str = ""
) -> str:
    return f'[[rules]]\nname = "one"\n{when}\nthen = [{then}]\n{extra}\n'


def condition(when: str) -> Condition:
    return settings(rule(when)).rules[0].when


def action(then: str) -> Action:
    return settings(rule(then=then)).rules[0].then[0]


def enter(inside: str) -> Enter:
    found = action("{ enter = { " + inside + " } }")
    assert isinstance(found, Enter)
    return found


# --- conditions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ('when = "rsi14 < 70"', When.parse("rsi14 < 70")),
        ('when.expression = "rsi14 < 70"', When.parse("rsi14 < 70")),
        (
            'when.signal = { signal = ["BUY", "SHORT"], min_confidence = 0.7, source = "flow" }',
            WhenSignal(("BUY", "SHORT"), 0.7, ("flow",)),
        ),
        (
            'when.event = { type = "FillEvent", where = { quantity = ">= 100", '
            '"ref.role" = "stop", side = "!= BUY" } }',
            WhenEvent(
                "FillEvent",
                (
                    FieldTest("quantity", ">=", 100.0),
                    FieldTest("ref.role", "==", "stop"),
                    FieldTest("side", "!=", "BUY"),
                ),
            ),
        ),
        (
            'when.event = { type = "OrderStatusEvent", where = { adopted = true, filled = 3 } }',
            WhenEvent("OrderStatusEvent", (FieldTest("adopted", "==", True), FieldTest("filled", "==", 3.0))),
        ),
        (
            'when.position = { state = ["open", "opening"], side = "short", '
            "min_pnl_pct = -0.02, max_duration_s = 60 }",
            WhenPosition(state=("open", "opening"), side="short", min_pnl_pct=-0.02, max_duration_s=60.0),
        ),
        (
            'when.time = { after = "09:45", before = 15:30:00, weekdays = "fri", market_hours = true, '
            "min_minutes_to_close = 20 }",
            WhenTime(
                after=time(9, 45),
                before=time(15, 30),
                weekdays=("fri",),
                market_hours=True,
                min_minutes_to_close=20.0,
            ),
        ),
        (
            "when.market = { min_price = 5, max_volatility = 0.02, max_rsi14 = 70, "
            '"min_macd.histogram" = 0 }',
            WhenMarket(
                min_price=5.0,
                max_volatility=0.02,
                indicators=(
                    IndicatorTest(indicator_name("rsi", (14,)), "<=", 70.0),
                    IndicatorTest(indicator_name("macd", field="histogram"), ">=", 0.0),
                ),
            ),
        ),
        (
            'when.all = ["price > 3", { not = "price > 9" }]',
            All((When.parse("price > 3"), Not(When.parse("price > 9")))),
        ),
        (
            'when.any = [{ signal = { signal = "BUY" } }, "pnl_pct < 0"]',
            AnyOf((BUY, When.parse("pnl_pct < 0"))),
        ),
        (
            'when = { signal = { signal = "BUY" }, expression = "price > 3" }',
            All((BUY, When.parse("price > 3"))),
        ),
    ],
)
def test_every_condition_has_its_form(when: str, expected: Condition) -> None:
    assert condition(when) == expected


# --- actions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        ("{ scale_in = { shares = 25, min_profit_pct = 0.02 } }", ScaleIn(Shares(25), Percent(0.02))),
        ("{ scale_in = {} }", ScaleIn()),
        ("{ double_down = { multiplier = 2, part_of_stop = 0.4 } }", DoubleDown(Multiple(2.0), 0.4)),
        ("{ double_down = { at_market = true } }", DoubleDown(part_of_stop=None)),
        (
            '{ adjust = { stop_price = 9.5, target = "reward", trail = "pct", '
            "breakeven_after_atr = 2, breakeven_offset = 0.02 } }",
            Adjust(
                At(D("9.5")), RiskReward(2.0), Trailing(DEFAULT_TRAIL), Breakeven(AtrMultiple(2.0), D("0.02"))
            ),
        ),
        (
            '{ link = { name = "trail", part = 0.5, trail_amount = 0.25, target_pct = 0.05 } }',
            Link("trail", 0.5, None, Trailing(Amount(D("0.25"))), Percent(0.05)),
        ),
        ('{ close = { part = 0.5, reason = "half" } }', Close(0.5, "half")),
        ("{ cancel = {} }", Cancel()),
        ('{ cancel = { links = ["scale", "target"] } }', Cancel(("scale", "target"))),
        ('{ flatten_all = { reason = "enough" } }', FlattenAll("enough")),
        ('{ hedge = { symbol = "GLD", ratio = 0.5 } }', Hedge(GLD, 0.5)),
        ('{ notify = "{symbol} at {price}" }', Notify("{symbol} at {price}")),
        ('{ log = "{value.x}" }, { set = { name = "x", value = "price * 2" } }', Log("{value.x}")),
        ('{ set = { name = "x", value = "price * 2" } }', SetValue("x", Expression.parse("price * 2"))),
        ("{ set = { name = 'x', value = true } }", SetValue("x", Expression.parse("True"))),
        ("{ set = { name = 'x', value = 1.5 } }", SetValue("x", Expression.parse("1.5"))),
        ('{ disable = "one" }', EnableRule("one", on=False)),
        (
            '{ choose = { if = "price > 3", then = [{ close = {} }, { log = "a" }], '
            'else = [{ enable = "one" }] } }',
            Choose(When.parse("price > 3"), (Close(), Log("a")), (EnableRule("one"),)),
        ),
        (
            '{ choose = { if = { position = { side = "long" } }, then = [{ close = {} }] } }',
            Choose(WhenPosition(side="long"), (Close(),)),
        ),
        (
            '{ prepare = { name = "p", enter = { side = "BUY", stop_pct = 0.03 } } }, { submit = "p" }',
            Prepare("p", Enter(Side.BUY, Percent(0.03), None)),
        ),
    ],
)
def test_every_action_has_its_form(then: str, expected: Action) -> None:
    assert action(then) == expected


def test_actions_follow_each_other_in_their_order() -> None:
    found = settings(
        rule(
            then='{ prepare = { name = "p", enter = { side = "BUY", stop_pct = 0.03 } } }, '
            '{ submit = "p" }, { notify = "sent" }'
        )
    ).rules[0]
    assert found.then == Prepare("p", Enter(Side.BUY, target=None)) + Submit("p") + Notify("sent")


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("stop_atr = 2, target_reward = 3", Enter(Side.BUY, AtrMultiple(2.0), RiskReward(3.0))),
        ("stop_amount = 0.5, target_price = 12.5", Enter(Side.BUY, Amount(D("0.5")), At(D("12.5")))),
        ("stop_price = 9, target_amount = 1", Enter(Side.BUY, At(D(9)), Amount(D(1)))),
        (
            'stop_expr = "2 * atr14", target_expr = "bollinger.upper - price"',
            Enter(
                Side.BUY,
                DistanceBy(Expression.parse("2 * atr14")),
                DistanceBy(Expression.parse("bollinger.upper - price")),
            ),
        ),
        ('stop = "pct", target = "pct"', Enter(Side.BUY)),
        ('stop = "atr", target = "reward"', Enter(Side.BUY, AtrMultiple(2.0), RiskReward(2.0))),
        (
            "stop_pct = 0.03, targets = [{ pct = 0.02, part = 0.5 }, { reward = 2, part = 0.25 }]",
            Enter(
                Side.BUY,
                target=None,
                targets=(TargetPart(Percent(0.02), 0.5), TargetPart(RiskReward(2.0), 0.25)),
            ),
        ),
        (
            "stop_pct = 0.03, trail_atr = 3, trail_after_pct = 0.02",
            Enter(Side.BUY, target=None, trail=Trailing(AtrMultiple(3.0), Percent(0.02))),
        ),
        (
            "stop_pct = 0.03, trail_pct = 0.03, trail_native = true",
            Enter(Side.BUY, target=None, trail=Trailing(native=True)),
        ),
        (
            "stop_pct = 0.03, breakeven_after_pct = 0.015",
            Enter(Side.BUY, target=None, breakeven=Breakeven(Percent(0.015))),
        ),
        (
            "stop_pct = 0.03, scale_in = [{ profit_pct = 0.02, shares = 25 }, "
            "{ profit_atr = 5, multiple = 0.25 }]",
            Enter(
                Side.BUY,
                target=None,
                scale_in=(
                    ScaleLevel(Percent(0.02), Shares(25)),
                    ScaleLevel(AtrMultiple(5.0), Multiple(0.25)),
                ),
            ),
        ),
        (
            "stop_pct = 0.03, double_down = [{ part_of_stop = 0.5, multiplier = 1.0 }]",
            Enter(Side.BUY, target=None, double_down=(DoubleDownLevel(0.5, Multiple(1.0)),)),
        ),
        (
            'stop_pct = 0.03, order = "stop_limit", offset_amount = 0.1, '
            "limit_offset_pct = 0.002, expires_s = 60",
            Enter(
                Side.BUY,
                target=None,
                order=EntryOrder(OrderType.STOP_LIMIT, Amount(D("0.1")), Percent(0.002), 60.0),
            ),
        ),
        ("stop_pct = 0.03, shares = 10", Enter(Side.BUY, target=None, sizing=Shares(10))),
        ("stop_pct = 0.03, allocation = 5000", Enter(Side.BUY, target=None, sizing=Allocation(D(5000)))),
        ("stop_pct = 0.03, risk_pct = 0.01", Enter(Side.BUY, target=None, sizing=RiskFraction(0.01))),
        (
            'stop_pct = 0.03, shares_expr = "100 if rsi14 < 30 else 50"',
            Enter(Side.BUY, target=None, sizing=SharesBy(Expression.parse("100 if rsi14 < 30 else 50"))),
        ),
        (
            'stop_pct = 0.03, close_after_s = 600, close_at = "15:30"',
            Enter(Side.BUY, target=None, close_after_s=600.0, close_at=time(15, 30)),
        ),
    ],
)
def test_every_part_of_an_entry_has_its_form(inside: str, expected: Enter) -> None:
    assert enter(f'side = "BUY", {inside}') == expected


def test_a_rule_has_its_own_settings() -> None:
    found = settings(
        rule(extra="reset_by_stop_out = true\nenabled = false\ncooldown_s = 5\nmax_per_day = 2")
    ).rules
    assert found == (
        Rule("one", BUY, Close(), cooldown_s=5.0, max_per_day=2, reset_by_stop_out=True, enabled=False),
    )


def test_a_rule_for_each_symbol_speaks_of_the_others_of_that_symbol() -> None:
    text = rule().replace('"one"', '"{symbol} long"') + rule(
        "when = 'losses_today > 2'", '{ disable = "{symbol} long" }'
    ).replace('"one"', '"{symbol} off"')
    off = [found for found in settings(text).rules if found.name.endswith("off")]
    assert [(found.name, found.symbols, found.then) for found in off] == [
        ("SLV off", (SLV,), (EnableRule("SLV long", on=False),)),
        ("GLD off", (GLD,), (EnableRule("GLD long", on=False),)),
    ]


# --- the same objects, one name -----------------------------------------------------------------------


def test_rules_in_toml_and_in_python_are_the_same_objects() -> None:
    written = settings(
        rule(
            'when = { signal = { signal = "BUY" }, expression = "rsi14 < 70" }',
            "{ enter = { " + SAFE + " } }, { log = 'in' }",
        )
    ).rules[0]
    said = Rule("one", BUY & When.parse("rsi14 < 70"), Enter(Side.BUY, target=None) + Log("in"))
    assert written == said


def test_the_hash_of_a_configuration_knows_an_expression_by_its_text() -> None:
    one, same = settings(rule('when = "price > 3"')), settings(rule('when = " price > 3 "'))
    other = settings(rule('when = "price > 4"'))
    assert config_hash(one) == config_hash(same)
    assert config_hash(one) != config_hash(other)


def test_a_rule_is_told_in_one_sentence() -> None:
    found = settings(
        rule(
            'when = { signal = { signal = "BUY" }, expression = "rsi14 < 70" }',
            "{ enter = { "
            + SAFE
            + ", target_reward = 2, trail_atr = 3, scale_in = [{ profit_pct = 0.02, shares = 25 "
            "}], order = 'limit', offset_pct = 0.001 } }, { notify = 'in' }",
        )
    ).rules[0]
    assert describe_rule(found) == (
        "BUY with confidence from 0.5 and rsi14 < 70 enters BUY every symbol "
        "by a limit order 0.1 % from the quote, "
        "stop 3 %, target 2 times the stop, stop trails 3 ATR behind, adds 25 shares at 2 % in profit, "
        'on the opposite signal reverse and then tells a person "in", cooldown 180 s'
    )


def test_actions_are_told_in_words() -> None:
    told = [
        describe_action(each)
        for each in (
            Close(0.5, "half"),
            Choose(When.parse("pnl < 0"), (Close(),), (Cancel(),)),
            Link("trail", 0.5, None, Trailing(native=True)),
            Hedge(GLD, 0.5),
            SetValue("x", Expression.parse("price * 2")),
            DoubleDown(),
            EnableRule("a", on=False),
        )
    ]
    assert told == [
        "closes 50 % of the trade (half)",
        "if pnl < 0: closes the trade, else cancels the orders scale, doubledown",
        "joins 'trail' for 50 %: stop trails 3 % behind by the broker",
        "hedges with 0.5 times its dollars in GLD",
        "keeps price * 2 as value.x",
        "doubles down by 1 times the entry, 0.5 of the way to the stop",
        "switches the rule 'a' off",
    ]


# --- the examples -------------------------------------------------------------------------------------


def test_the_strategy_example_is_the_strategy_that_this_system_was_made_for() -> None:
    found = load_settings([EXAMPLES / "strategy.toml"], environment={}, offered=())
    names = ["CVNA", "UVXY", "SOXL", "SOXS", "TQQQ", "SQQQ", "GLD", "SLV"]
    assert [entry.symbol for entry in found.symbols] == names
    assert {entry.sizing for entry in found.symbols} == {Allocation(D(30_000))}
    assert (found.atr.period, found.atr.bar_s, found.schedule.flatten) == (14, 10, time(15, 59))
    assert len(found.rules) == 16
    for each in found.rules:
        long = each.name.endswith("long")
        side, words = (Side.BUY, ("BUY",)) if long else (Side.SELL, ("SELL", "SHORT"))
        assert each.when == WhenSignal(words, 0.5)
        double = (DoubleDownLevel(0.5, Multiple(1.0)),)
        entry = Enter(
            side, AtrMultiple(6.0), AtrMultiple(4.0), on_close_stop=OnCloseStop.WIDEN, double_down=double
        )
        assert each.then == (entry,)
        assert (each.cooldown_s, each.reset_by_stop_out) == (180.0, True)


def test_the_rules_example_shows_every_kind_of_condition() -> None:
    found = load_settings([EXAMPLES / "rules.toml"], environment={}, offered=())
    kinds: set[type] = set()
    for each in found.rules:
        conditions = each.when.conditions if isinstance(each.when, All) else (each.when,)
        kinds |= {type(part) for part in conditions}
    assert kinds >= {WhenSignal, WhenEvent, WhenPosition, WhenTime, WhenMarket, When}
