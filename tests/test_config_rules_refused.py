"""Rules in TOML that cannot be meant: each fault with its path, and what would be right."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import ConfigFaults, resolve
from tests.test_config import faults_of
from tests.test_config_rules import GLD, SAFE, SLV, rule

D = Decimal


def faults(text: str) -> tuple[str, ...]:
    return faults_of(text, offered=(SLV, GLD))


ENTER = "rules[0].then[0].enter."


@pytest.mark.parametrize(
    ("inside", "fault"),
    [
        (
            'side = "BUY"',
            f"{ENTER}stop_pct: is missing: every entry has a stop; give stop_pct = 0.03, "
            "stop_atr = 2.0, stop_amount, stop_price or stop_expr",
        ),
        (
            f"{SAFE}, auto_create_stops = false",
            f"{ENTER}auto_create_stops: is not a choice here: every entry has "
            "a stop; leave this out and give stop_pct = 0.03, stop_atr = 2.0 or another stop_…",
        ),
        (
            'side = "BUY", stop_loss_pct = 0.03',
            f"{ENTER}stop_loss_pct: is called stop_pct here, and is a fraction (0.03 is 3 %)",
        ),
        (
            f"{SAFE}, take_profit_pct = 0.08",
            f"{ENTER}take_profit_pct: is called target_pct here, and is a fraction (0.08 is 8 %)",
        ),
        (
            f"{SAFE}, scale_in = [{{ trigger_profit_pct = 2.0 }}]",
            f"{ENTER}scale_in[0].trigger_profit_pct: belongs "
            "to a level: scale_in = [{ profit_pct = 0.02, shares = 25 }]",
        ),
        (
            f"{SAFE}, targets = [{{ pct = 0.02, part = 0.6 }}, {{ pct = 0.04, part = 0.6 }}]",
            f"{ENTER}targets: their parts add up to 1.2, more than the whole position",
        ),
        (
            f"{SAFE}, target_pct = 0.02, targets = [{{ pct = 0.02, part = 0.6 }}]",
            f"{ENTER}targets: a target for the whole position is given too; give one or the other",
        ),
        (
            f"{SAFE}, double_down = [{{ part_of_stop = 1.0 }}]",
            f"{ENTER}double_down[0].part_of_stop: expected a "
            "number more than 0 and less than 1 (0.03 is 3 %), got 1.0",
        ),
        (
            f"{SAFE}, double_down = [{{}}, {{}}]",
            f"{ENTER}double_down: two levels lie at the same part of the way to the stop; make them one",
        ),
        (
            f"{SAFE}, shares = 6000, double_down = [{{}}]",
            f"{ENTER}double_down: with every level filled, the stop "
            "of every symbol would cover 12000 shares, over risk.max_order_quantity 10000",
        ),
        (
            f"{SAFE}, targets = [{', '.join(['{ pct = 0.02, part = 0.1 }'] * 8)}]",
            f"{ENTER}targets: 9 parts with a "
            "stop and a target each are 18 orders; TWS lets 15 work for one side",
        ),
        (f"{SAFE}, order = 'limt'", f'{ENTER}order: no order type "limt"; did you mean "limit"?'),
        (
            f"{SAFE}, offset_pct = 0.01",
            f'{ENTER}order: is a market order, which has no offset; write order = "limit" or "stop"',
        ),
        (
            f"{SAFE}, trail_after_pct = 0.01",
            f"{ENTER}trail_after_pct: says nothing without trail_pct, trail_atr or trail_amount",
        ),
        (
            f"{SAFE}, trail_pct = 0.03, trail_after_pct = 0.01, trail_native = true",
            f"{ENTER}trail_native: the "
            "broker's own trailing stop begins at once; leave out this or trail_after_…",
        ),
        (
            f'{SAFE}, target = "best"',
            f'{ENTER}target: expected "pct" or "atr" or "reward", for your own default '
            'of that kind, or a figure, as in target_pct = 0.03, got "best"',
        ),
        (
            f'{SAFE}, shares_expr = "price > 3"',
            f'{ENTER}shares_expr: expected a number (it is true or false), got "price > 3"',
        ),
        ('side = "BUY", stop_expr = "2 * atr14 +"', f"{ENTER}stop_expr: at character 11: it ends too early"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(inside: str, fault: str) -> None:
    assert fault in faults(rule(then="{ enter = { " + inside + " } }"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            rule('when = "confidance > 1"'),
            'rules[0].when: at character 1: no fact or indicator "confidance"; did you mean "confidence"?',
        ),
        (
            rule('when = "price"'),
            'rules[0].when: expected a condition, which is true or false (it is a number), got "price"',
        ),
        (
            rule("when = 3"),
            "rules[0].when: expected an expression in quotes or a table like "
            '{ signal = { signal = "BUY" } }, got 3',
        ),
        (
            rule("when = {}"),
            "rules[0].when: holds no condition; known: signal, event, flow, position, time, market, "
            "expression, all, any, not",
        ),
        (rule("when.signl = {}"), 'rules[0].when.signl: unknown key; did you mean "signal"?'),
        (rule("when.all = []"), "rules[0].when.all: expected at least one condition, got a list"),
        (
            rule('when.any = ["price > 3", "prise > 3"]'),
            'rules[0].when.any[1]: at character 1: no fact or indicator "prise"; did you mean "price"?',
        ),
        (
            rule('when.event = { type = "FilEvent" }'),
            'rules[0].when.event.type: there is no event "FilEvent"; did you mean "FillEvent"?',
        ),
        (
            rule('when.event = { type = "FillEvent", where = { quantty = 3 } }'),
            'rules[0].when.event.where.quantty: FillEvent has no such field; did you mean "quantity"?',
        ),
        (
            rule('when = "event.quantity > 3"'),
            "rules[0].when: event.quantity has no event to read: add when.event with its type",
        ),
        (
            rule('when.position = { state = "opne" }'),
            'rules[0].when.position.state: "opne" is not known here; did you mean "open"?',
        ),
        (
            rule("when.position = { min_pnl_pct = 2, max_pnl_pct = 1 }"),
            "rules[0].when.position.min_pnl_pct: 2 is more than max_pnl_pct 1",
        ),
        (
            rule('when.time = { after = "15:00", before = "10:00" }'),
            "rules[0].when.time.before: 10:00 is not later than after 15:00",
        ),
        (
            rule('when.time = { after = "15:00:30" }'),
            'rules[0].when.time.after: expected a time to the minute, like "15:30", got "15:00:30"',
        ),
        (
            rule("when.market = { max_rsi0 = 3 }"),
            "rules[0].when.market.max_rsi0: period of rsi is a whole number from 2 to 500, not 0",
        ),
        (
            rule("when = 'value.hits > 3'"),
            'rules[0].when: no rule sets a value "hits" (an action set = { name, value })',
        ),
        (rule(then='{ enable = "two" }'), 'rules[0].then[0].enable: there is no rule "two"; known: one, one'),
        (rule(then='{ submit = "p" }'), 'rules[0].then[0].submit: no rule prepares an entry "p"'),
        (
            rule(then='{ notify = "{prize}" }'),
            'rules[0].then[0].notify: {prize}: no fact or indicator "prize"; did you mean "price"?',
        ),
        (
            rule(then='{ cancel = { links = ["stop"] } }'),
            'rules[0].then[0].cancel.links: "stop" orders protect the trade; close it instead',
        ),
        (
            rule(then='{ link = { name = "trail", part = 0.5 } }'),
            "rules[0].then[0].link.stop_pct: give it one "
            "stop: stop_… for a fixed one, or trail_… for one that trails",
        ),
        (
            rule(then='{ hedge = { symbol = "SVL" } }'),
            'rules[0].then[0].hedge.symbol: "SVL" is not among the configured symbols; did you mean "SLV"?',
        ),
        (
            rule(then="{ adjust = {} }"),
            "rules[0].then[0].adjust.stop_pct: nothing to adjust: give stop_…, "
            "target_…, trail_… or breakeven_after_…",
        ),
        (
            rule(then='{ close = {}, log = "x" }'),
            "rules[0].then[0].log: close is given too; each action has braces of its own, in their order",
        ),
        (rule(then=""), "rules[0].then: expected a list with at least one action, got a list"),
        (
            rule("when = 'open_pnl_all < -500 and price > 3'", "{ flatten_all = {} }"),
            "rules[0].when: a rule over all symbols cannot read price, which is one symbol's",
        ),
        (
            rule("when = 'open_pnl_all < -500'"),
            "rules[0].then: a rule over all symbols can only flatten_all, notify or log, not Close",
        ),
        (rule(extra='enabled = "yes"'), 'rules[0].enabled: expected true or false, got "yes"'),
    ],
)
def test_what_a_rule_gets_wrong_is_named_with_its_path(text: str, fault: str) -> None:
    assert fault in faults(text)


def test_exits_that_are_joined_later_count_among_those_that_work_at_once() -> None:
    links = ", ".join(
        f'{{ link = {{ name = "{name}", part = 0.1, stop_pct = 0.02 }} }}' for name in ("a", "b", "c", "d")
    )
    targets = ", ".join("{ pct = 0.02, part = 0.25 }" for _ in range(4))
    entry = rule(then="{ enter = { " + SAFE + f", targets = [{targets}] }} }}")
    text = entry + rule("when = 'pnl_pct > 0.02'", links).replace('"one"', '"two"')
    assert faults(text) == (
        "rules[0].then: with the links a, b, c, d the exits are 16 orders; TWS lets 15 work for one side",
    )


def test_a_symbol_that_a_rule_hedges_with_cannot_be_left_out() -> None:
    text = rule(then='{ choose = { if = "price > 3", then = [{ hedge = { symbol = "GLD" } }] } }')
    assert faults_of(text, offered=(SLV, GLD), only=(SLV,)) == (
        '--symbols: rule "one" hedges with GLD, which is left out',
    )


_WORDS = """
    when then enter signal all any not position time market event type where choose if else link targets part
    pct stop_pct trail scale_in side set name value prepare expression min_rsi14 close hedge symbol
    double_down
"""
_words = st.sampled_from(_WORDS.split())
_scalars = st.sampled_from(
    [
        "BUY",
        "price > 3",
        "rsi14",
        "open",
        "",
        "x",
        "FillEvent",
        "09:30",
        3,
        0.5,
        -1,
        True,
        D("0.1"),
        "{price}",
    ]
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=12,
)


@given(_anything, _anything)
def test_any_rule_is_understood_or_refused_with_faults(when: object, then: object) -> None:
    layer: dict[str, object] = {"rules": [{"name": "one", "when": when, "then": [then, {"enter": then}]}]}
    found: tuple[str, ...] = ()
    try:
        resolve((layer,), offered=(SLV,))
    except ConfigFaults as refused:
        found = refused.faults
    assert all(each.startswith("rules[0].") and ": " in each for each in found)
