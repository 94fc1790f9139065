"""The configuration: what is understood, what is refused, and that everything wrong is said at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import time
from decimal import Decimal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import ConfigFaults, config_hash, default_settings, environment_layer, resolve
from protocol.config_text import describe
from protocol.rules.actions import Enter, OnOpposite
from protocol.rules.amounts import Allocation, AtrMultiple, Percent, RiskFraction, Shares
from protocol.rules.conditions import WhenSignal
from protocol.rules.rule import Rule
from protocol.settings import Atr, Mode, SymbolSettings
from protocol.source_settings import HttpSource
from protocol.values import Side, Symbol

SLV, GLD = Symbol("SLV"), Symbol("GLD")


def toml(text: str) -> Mapping[str, object]:
    return tomllib.loads(text, parse_float=Decimal)


def faults_of(
    text: str,
    *,
    offered: tuple[Symbol, ...] = (SLV,),
    only: tuple[Symbol, ...] = (),
    live: bool = False,
    environment: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    with pytest.raises(ConfigFaults) as caught:
        resolve((toml(text), environment_layer(environment or {})), offered=offered, only=only, live=live)
    return caught.value.faults


def rule(action: str, extra: str = "") -> str:
    return f"""
[[rules]]
name = "one"
when.signal = {{ signal = "BUY" }}
then = [{{ enter = {{ {action} }} }}]
{extra}
"""


# --- what is understood ---------------------------------------------------------------------------


def test_without_any_layer_the_default_configuration_trades_what_the_market_offers() -> None:
    assert resolve((), offered=(SLV, GLD)) == default_settings((SLV, GLD))


def test_the_default_configuration_is_the_one_that_is_documented() -> None:
    settings = default_settings((SLV,))
    assert settings.symbols == (SymbolSettings(SLV, Allocation(Decimal(10_000))),)
    assert settings.rules == (
        Rule(
            name="long",
            when=WhenSignal(("BUY",), 0.5),
            then=Enter(Side.BUY, Percent(0.03), Percent(0.08), OnOpposite.REVERSE),
            cooldown_s=180.0,
        ),
        Rule(
            name="short",
            when=WhenSignal(("SELL", "SHORT"), 0.5),
            then=Enter(Side.SELL, Percent(0.03), Percent(0.08), OnOpposite.REVERSE),
            cooldown_s=180.0,
        ),
    )
    assert settings.schedule.flatten == time(15, 59)


def test_the_example_of_the_documentation_is_read_whole() -> None:
    settings = resolve(
        (
            toml("""
                [signals.flow]
                kind = "http"
                poll_s = 10
                max_age_s = 15.5
                [indicators]
                atr_period = 20
                atr_bar = "10 secs"
                [[symbols]]
                symbol = "SLV"
                allocation = 30000
                [[symbols]]
                symbol = "GLD"
                shares = 100
                [[symbols]]
                symbol = "SPY"
                risk_pct = 0.01
                [[rules]]
                name = "{symbol} long"
                symbols = ["SLV", "GLD"]
                priority = 50
                cooldown_s = 60
                max_per_day = 10
                when.signal = { signal = "BUY", min_confidence = 0.75 }
                then = [{ enter = { side="BUY", stop_atr=6.0, target_pct=0.04, on_opposite="close" } }]
            """),
        )
    )
    assert settings.sources == (HttpSource(name="flow", poll_s=10.0, max_age_s=15.5),)
    assert settings.atr == Atr(period=20, bar_s=10)
    assert [entry.sizing for entry in settings.symbols] == [
        Allocation(Decimal(30_000)),
        Shares(100),
        RiskFraction(0.01),
    ]
    enter = Enter(Side.BUY, AtrMultiple(6.0), Percent(0.04), OnOpposite.CLOSE)
    when = WhenSignal(("BUY",), 0.75)
    assert settings.rules == tuple(
        Rule(f"{symbol} long", when, enter, (symbol,), priority=50, cooldown_s=60.0, max_per_day=10)
        for symbol in (SLV, GLD)
    )


def test_a_later_layer_wins_key_by_key_and_replaces_lists() -> None:
    settings = resolve(
        (
            toml('[broker]\nhost = "10.0.0.1"\nport = 4002\n[[symbols]]\nsymbol = "SLV"'),
            toml('[broker]\nport = 7498\n[[symbols]]\nsymbol = "GLD"'),
            environment_layer({"RINGFENCE__BROKER__CLIENT_ID": "7", "RINGFENCE_OTHER": "x"}),
            {"broker": {"client_id": 9}},
        )
    )
    assert (settings.broker.host, settings.broker.port, settings.broker.client_id) == ("10.0.0.1", 7498, 9)
    assert [entry.symbol for entry in settings.symbols] == [GLD]


def test_the_environment_speaks_in_text_and_is_read_as_what_its_key_expects() -> None:
    settings = resolve(
        (
            environment_layer(
                {
                    "RINGFENCE__BROKER__ACCOUNT": "DU1234567",
                    "RINGFENCE__RISK__MAX_SPREAD": "0.02",
                    "RINGFENCE__SCHEDULE__FLATTEN": "15:50",
                    "RINGFENCE__SIGNALS__FLOW__POLL_S": "5",
                }
            ),
        ),
        offered=(SLV,),
    )
    assert settings.broker.account == "DU1234567"
    assert settings.risk.max_spread == 0.02
    assert settings.schedule.flatten == time(15, 50)
    assert settings.sources == (HttpSource(poll_s=5.0),)


def test_naming_symbols_narrows_symbols_and_rules_without_widening_a_rule() -> None:
    text = (
        '[[symbols]]\nsymbol = "SLV"\n[[symbols]]\nsymbol = "GLD"\n'
        + rule('side = "BUY", stop_pct = 0.02', 'symbols = ["GLD"]')
        + rule('side = "BUY", stop_pct = 0.02').replace('"one"', '"two"')
    )
    settings = resolve((toml(text),), only=(SLV,))
    assert [entry.symbol for entry in settings.symbols] == [SLV]
    assert [(rule.name, rule.symbols) for rule in settings.rules] == [("two", ())]


def test_named_symbols_are_enough_where_nothing_offers_any() -> None:
    assert resolve((), only=(SLV, GLD)) == default_settings((SLV, GLD))


# --- what is refused ------------------------------------------------------------------------------


def test_all_faults_are_said_at_once_each_with_its_path_and_a_suggestion() -> None:
    faults = faults_of(
        """
        brokr = 1
        [broker]
        prot = 7497
        client_id = "one"
        [risk]
        max_spread = 3
        [[symbols]]
        symbol = "SLV"
        allocation = 100
        shares = 2
        [[rules]]
        name = "a"
        when.signal = { signal = "BYU", min_confidence = 0.5 }
        then = [{ enter = { side = "BUY", stop_pct = 0.03, stop_atr = 2 } }]
        [[rules]]
        name = "b"
        when.position = { side = "flat" }
        then = [{ enter = { side = "SHORT" } }]
        """
    )
    assert faults == (
        "risk.max_spread: expected a number more than 0 and less than 1 (0.03 is 3 %), got 3",
        "symbols[0].shares: only one of allocation, shares, risk_pct, shares_expr; allocation is given too",
        'rules[0].when.signal.signal: no signal "BYU" can trade; did you mean "BUY"?',
        "rules[0].then[0].enter.stop_atr: stop_pct is given too; a stop has one distance",
        'rules[1].when.position.side: "flat" is not known here; known: long, short',
        "rules[1].then[0].enter.stop_pct: is missing: every entry has a stop; give stop_pct = 0.03, "
        "stop_atr = 2.0, stop_amount, stop_price or stop_expr",
        'rules[1].then[0].enter.side: expected "BUY" or "SELL", got "SHORT"',
        "broker.client_id: expected a whole number at least 0 and at most 2147483647, got \"one\"",
        'broker.prot: unknown key; did you mean "port"?',
        'brokr: unknown key; did you mean "broker"?',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("broker = 3", "broker: expected a table, got 3"),
        ("symbols = 3", "symbols: expected a list of tables, got 3"),
        ("symbols = []", "symbols: is an empty list; leave it out for every symbol on offer"),
        ("symbols = [3]", "symbols[0]: expected a table, got 3"),
        ("rules = []", "rules: is an empty list; leave it out for the default rules"),
        ("[broker]\nport = true",
         "broker.port: expected a whole number at least 1 and at most 65535, got true"),
        ("[broker]\nmax_messages_per_s = 60", "broker.max_messages_per_s: expected a whole number at least 1 "
         "and at most 50, got 60"),
        ("[risk]\nmax_quote_age_s = inf",
         "risk.max_quote_age_s: expected a number more than 0, got Infinity"),
        ("[risk]\nmin_stop_distance = 0.2",
         "risk.min_stop_distance: must be less than max_stop_distance (0.15)"),
        ("[risk]\nmax_order_notional = 5000", "symbols: the default allocation of 10000 is over "
         "risk.max_order_notional 5000; list the symbols with smaller ones"),
        ("[journal]\npaht = 'x'", 'journal.paht: unknown key; did you mean "path"?'),
        ('[schedule]\nflatten = "16:30"',
         "schedule.flatten: 16:30 must lie between open 09:30 and close 16:00"),
        ('[schedule]\nopen = "17:00"', "schedule.open: 17:00 is not before close 16:00"),
        ('[schedule]\nno_entries_after = "15:59:30"', "schedule.no_entries_after: 15:59 must lie after open "
         "09:30 and not after flatten 15:59"),
        ('[schedule]\nflatten = "4pm"', 'schedule.flatten: expected a time of day like "15:59", got "4pm"'),
        ('[schedule]\nzone = "Mars/Olympus"', 'schedule.zone: expected a time zone like "America/New_York", '
         'got "Mars/Olympus"'),
        ('[schedule]\nzone = "../etc/passwd"', 'schedule.zone: expected a time zone like "America/New_York", '
         'got "../etc/passwd"'),
        ('[schedule]\ncalendar = "NYSSE"',
         'schedule.calendar: "NYSSE" is not in this version; it knows: NYSE'),
        ('[indicators]\natr_bar = "10 sec"',
         'indicators.atr_bar: no bar size "10 sec"; did you mean "10 secs"?'),
        ('[signals.flow]\nkind = "carrier pigeon"',
         'signals.flow.kind: expected "http", "websocket", "webhook", "file", got "carrier pigeon"'),
        ("[signals.flow]\nmin_confidence = 50",
         "signals.flow.min_confidence: expected a number at least 0 and "
         "at most 1, got 50"),
        ('[[symbols]]\nsymbol = "slv"', 'symbols[0].symbol: "slv" is no stock symbol as TWS writes it; '
         'did you mean "SLV"?'),
        ('[[symbols]]\nsymbol = "SLV"\n[[symbols]]\nsymbol = "SLV"',
         'symbols[1].symbol: "SLV" is listed twice'),
        ('[[symbols]]\nallocation = 5', "symbols[0].symbol: is missing: expected text in quotes"),
        ('[[symbols]]\nsymbol = "SLV"\nallocation = 60000', "symbols[0].allocation: 60000 is over "
         "risk.max_order_notional 50000"),
        ('[[symbols]]\nsymbol = "SLV"\nshares = 1.5',
         "symbols[0].shares: expected a whole number at least 1, "
         "got 1.5"),
        ('[[symbols]]\nsymbol = "SLV"\nrisk_pct = 1',
         "symbols[0].risk_pct: expected a number more than 0 and "
         "less than 1 (0.03 is 3 %), got 1"),
        (rule('side = "BUY", stop_pct = 0.3'), "rules[0].then[0].enter.stop_pct: 0.3 is outside the limits "
         "risk.min_stop_distance 0.001 and risk.max_stop_distance 0.15"),
        (rule('side = "BUY", stop_pct = 0.03, target_pct = 0.1, target_atr = 2'),
         "rules[0].then[0].enter.target_atr: target_pct is given too; a target has one distance"),
        (rule('side = "BUY", stop_pct = 0.03, double_down = 3'),
         "rules[0].then[0].enter.double_down: expected a list of tables, got 3"),
        (rule('side = "BUY", stop_pct = 0.03', 'symbols = ["SVL"]'),
         'rules[0].symbols: "SVL" is not among the configured symbols; did you mean "SLV"?'),
        (rule('side = "BUY", stop_pct = 0.03', "max_per_day = 0"),
         "rules[0].max_per_day: expected a whole number at least 1, got 0"),
        (rule('side = "BUY", stop_pct = 0.03').replace("enter", "entre"),
         "rules[0].then[0].entre: unknown key; did you mean \"enter\"?"),
        (rule('side = "BUY", stop_pct = 0.03').replace('"one"', '"{ticker}"'),
         "rules[0].name: unknown placeholder {ticker}; known: {symbol}"),
        (rule('side = "BUY", stop_pct = 0.03') * 2, 'rules[1].name: "one" is the name of another rule'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_path(text: str, fault: str) -> None:
    assert fault in faults_of(text)


def test_a_fault_of_the_environment_names_the_variable() -> None:
    assert faults_of("", environment={"RINGFENCE__BROKER__PORT": "x"}) == (
        'RINGFENCE__BROKER__PORT: expected a whole number at least 1 and at most 65535, got "x"',
    )
    with pytest.raises(ConfigFaults) as caught:
        environment_layer({"RINGFENCE__BROKER": "x", "RINGFENCE__RULES__0": "x"})
    assert caught.value.faults == (
        "RINGFENCE__BROKER: expected RINGFENCE__SECTION__KEY",
        "RINGFENCE__RULES__0: rules is a list, which a variable cannot hold; use a file",
    )


def test_a_symbol_named_on_the_command_line_must_be_there() -> None:
    assert faults_of("", offered=(SLV, GLD), only=(Symbol("SLW"),)) == (
        '--symbols: "SLW" is not among the symbols; did you mean "SLV"?',
    )


def test_symbols_that_no_rule_trades_are_not_a_run() -> None:
    text = rule('side = "BUY", stop_pct = 0.02', 'symbols = ["GLD"]')
    assert faults_of(text, offered=(SLV, GLD), only=(SLV,)) == ("--symbols: no rule trades SLV",)


def test_without_any_symbol_there_is_nothing_to_trade() -> None:
    assert faults_of("", offered=()) == (
        "symbols: no symbol to trade: list some as [[symbols]], or name them with --symbols",
    )


# --- paper and live -------------------------------------------------------------------------------


def test_live_trading_needs_mode_port_account_and_flag_to_agree() -> None:
    text = '[broker]\nmode = "live"\nport = 7496\naccount = "U7654321"'
    settings = resolve((toml(text),), offered=(SLV,), live=True)
    assert settings.broker.mode is Mode.LIVE
    assert faults_of(text) == ('broker.mode: "live" also needs the option --live',)
    assert faults_of(text.replace("7496", "7497"), live=True) == (
        "broker.port: 7497 is no live port; live trading needs 7496 or 4001",
    )
    assert faults_of(text.replace("U765", "DU765"), live=True) == (
        'broker.account: "DU…" is a paper account, and mode is "live"',
    )
    assert faults_of('[broker]\nmode = "live"\nport = 4001', live=True) == (
        "broker.account: is missing: live trading names its account",
    )


def test_paper_trading_refuses_everything_that_belongs_to_live_trading() -> None:
    assert faults_of('[broker]\nport = 4001\naccount = "U7654321"', live=True) == (
        'broker.port: 4001 is a live port, and mode is "paper"',
        'broker.account: does not begin with DU, and mode is "paper"',
        'broker.mode: is "paper", but --live was given',
    )


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        'api_key = "canary-5f2c"',
        'api_key_env = "canary-5f2c"',
        'url = "https://user:canary-5f2c@host/api/v1"',
        'url = "https://host/api/v1?api_key=canary-5f2c"',
        'url = "http://host.example/canary-5f2c"',
        'token = "canary-5f2c"',
        "api_key_env = ['canary-5f2c']",
    ],
)
def test_a_secret_in_a_file_is_refused_and_never_repeated(line: str) -> None:
    faults = faults_of(f"[signals.flow]\n{line}")
    assert len(faults) == 1
    assert "canary" not in faults[0]


def test_the_signal_service_may_be_reached_by_plain_http_on_this_machine_only() -> None:
    settings = resolve((toml('[signals.a]\nurl = "http://127.0.0.1:8000/api/v1/"'),), offered=(SLV,))
    assert settings.sources == (HttpSource(name="a", url="http://127.0.0.1:8000/api/v1"),)


# --- the name of a configuration ------------------------------------------------------------------


def test_the_hash_names_the_meaning_and_not_the_writing() -> None:
    one = resolve((toml('[[symbols]]\nsymbol = "SLV"\nallocation = 10000'),))
    two = resolve((toml('[[symbols]]\nsymbol = "SLV"\nallocation = 10000.00\n[risk]\nmax_spread = 0.010'),))
    assert config_hash(one) == config_hash(two) == config_hash(default_settings((SLV,)))
    assert len(config_hash(one)) == 64


@given(st.floats(0.001, 0.149), st.floats(0.001, 0.149))
def test_another_stop_is_another_configuration(one: float, two: float) -> None:
    def hash_of(fraction: float) -> str:
        settings = default_settings((SLV,))
        rule = settings.rules[0]
        assert rule.entry is not None
        changed = attrs.evolve(rule, then=attrs.evolve(rule.entry, stop=Percent(fraction)))
        return config_hash(attrs.evolve(settings, rules=(changed,)))

    assert (hash_of(one) == hash_of(two)) == (one == two)


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text("aBUY09:. _{}", max_size=6)
    | st.decimals()
    | st.times()
)
_sections = st.sampled_from(["broker", "risk", "signals", "schedule", "symbols", "rules", "indicators", "x"])
_keys = st.sampled_from(["name", "port", "symbol", "when", "then", "enter", "signal", "open", "flow", "side"])
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4)
)


@given(st.dictionaries(_sections, _values, max_size=5), st.booleans())
@pytest.mark.slow
def test_whatever_is_written_either_resolves_or_is_refused_with_faults(
    layer: dict[str, object], live: bool
) -> None:
    try:
        settings = resolve((layer,), offered=(SLV,), live=live)
    except ConfigFaults as refused:
        said = refused.faults
    else:
        said = tuple(f"{entry.symbol}: traded" for entry in settings.symbols)
    assert said
    assert all(": " in fault for fault in said)


# --- in sentences ---------------------------------------------------------------------------------


def test_the_default_configuration_in_sentences() -> None:
    settings = resolve((toml('[broker]\naccount = "DU1234567"'),), offered=(SLV,))
    assert describe(settings) == (
        "broker: paper, 127.0.0.1:7497, client 1, account DU…",
        "signals: flow from the embedded server every 60 s, confidence from 0.5",
        "schedule: 09:30 to 16:00 America/New_York (NYSE), no entries after 15:45, flat at 15:59",
        "ATR: 14 bars of 60 s",
        "risk: at most 10000 shares and $50000 an order",
        "symbol SLV: $10000 an entry",
        "rule long: BUY with confidence from 0.5 enters BUY every symbol, stop 3 %, target 8 %, "
        "on the opposite signal reverse, cooldown 180 s",
        "rule short: SELL or SHORT with confidence from 0.5 enters SELL every symbol, stop 3 %, target 8 %, "
        "on the opposite signal reverse, cooldown 180 s",
        f"configuration {config_hash(settings)[:12]}",
    )
