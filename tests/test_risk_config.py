"""`[risk]` of the configuration: every limit, the protections, and each contradiction with its path."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import attrs
import pytest

from protocol.config import ConfigFaults, environment_layer, resolve
from protocol.config_risk import DOLLARS, MAY_BE_OFF, NUMBERS, WHOLE
from protocol.config_text import describe
from protocol.risk.settings import CoolDown, DrawdownGuard, LowProfitLock, RiskLimits, StopLossGuard
from protocol.risk.tightening import TIGHTENABLE
from tests.journals import GLD, SLV

D = Decimal


def limits(text: str) -> RiskLimits:
    return resolve((tomllib.loads(text),), offered=(SLV,)).risk


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigFaults) as caught:
        limits(text)
    return caught.value.faults


def test_without_a_section_the_limits_are_the_defaults() -> None:
    assert limits("") == limits("[risk]") == RiskLimits()


def test_every_limit_has_its_key() -> None:
    names = {field.name for field in attrs.fields(RiskLimits)}
    assert {*WHOLE, *DOLLARS, *NUMBERS} == names - {"restricted", "currency", "protections"}
    assert {*WHOLE, *DOLLARS, *NUMBERS} == set(TIGHTENABLE)
    assert {name for name in names if getattr(RiskLimits(), name) is None} < MAY_BE_OFF


@pytest.mark.parametrize("name", sorted({*WHOLE, *DOLLARS, *NUMBERS}))
def test_each_limit_is_read_with_its_own_type(name: str) -> None:
    """Half of the default is within every range, and leaves what is ordered in its order."""
    usual = getattr(RiskLimits(), name)
    text = "7" if usual is None or name in WHOLE else str(float(usual) / 2)
    if name in ("max_sector", "max_drawdown"):
        text = "0.25"
    found = getattr(limits(f"[risk]\n{name} = {text}"), name)
    kind = int if name in WHOLE else Decimal if name in DOLLARS else float
    assert (found, type(found)) == (kind(text), kind)


@pytest.mark.parametrize("name", sorted(MAY_BE_OFF))
def test_a_limit_that_need_not_be_applied_can_be_switched_off(name: str) -> None:
    assert getattr(limits(f'[risk]\n{name} = "off"'), name) is None


def test_the_others_cannot_be_switched_off() -> None:
    assert faults('[risk]\nmax_positions = "off"') == (
        'risk.max_positions: expected a whole number at least 1, got "off"',
    )


def test_all_faults_are_said_at_once_with_their_paths() -> None:
    assert faults("""
        [risk]
        max_order_quantity = 0
        max_gross = -1
        daily_loss_halt = 2
        max_rejcts = 3
        currency = "dollars"
        restricted = ["slv", "GME!"]
        initial_margin = 0
    """) == (
        "risk.max_order_quantity: expected a whole number at least 1, got 0",
        "risk.max_gross: expected a number more than 0, got -1",
        "risk.daily_loss_halt: expected a number more than 0 and less than 1 (0.03 is 3 %), got 2",
        "risk.initial_margin: expected a number more than 0 and at most 1, got 0",
        'risk.restricted: "slv" is no stock symbol as TWS writes it; did you mean "SLV"?',
        'risk.restricted: "GME!" is no stock symbol as TWS writes it',
        'risk.currency: expected a currency like "USD", got "dollars"',
        'risk.max_rejcts: unknown key; did you mean "max_rejects"?',
    )


@pytest.mark.parametrize(("text", "fault"), [
    ("min_stop_distance = 0.2", "risk.min_stop_distance: must be less than max_stop_distance (0.15)"),
    ("max_stop_distance = 0.0005", "risk.min_stop_distance: must be less than max_stop_distance (0.0005)"),
    ("daily_loss_reduce = 0.02", "risk.daily_loss_reduce: must be less than daily_loss_halt (0.02)"),
    ("price_collar = 0.2", "risk.price_collar: must not be more than flatten_collar (0.1)"),
    ("max_rejects = 11", "risk.max_rejects: must not be more than max_rejects_in_all (10)"),
    ("max_entries = 41", "risk.max_entries: must not be more than max_order_messages (40)"),
    ("max_net = 5", "risk.max_net: must not be more than max_gross (4)"),
    ("max_sector = 5", "risk.max_sector: must not be more than max_gross (4)"),
])  # fmt: skip
def test_limits_that_contradict_each_other_are_a_fault(text: str, fault: str) -> None:
    assert faults(f"[risk]\n{text}") == (fault,)


@pytest.mark.parametrize("text", [
    "daily_loss_reduce = 0.019", "daily_loss_halt = 0.01", "max_gross = 0.5", "flatten_collar = 0.02",
    'max_net = 5\nmax_gross = "off"', "max_entries = 40", "max_rejects_in_all = 2",
])  # fmt: skip
def test_a_tight_limit_alone_contradicts_nothing(text: str) -> None:
    limits(f"[risk]\n{text}")


def test_the_default_configuration_writes_every_limit_down() -> None:
    text = (Path(__file__).parent.parent / "scripts/examples/default.toml").read_text(encoding="utf-8")
    written = tomllib.loads(text)["risk"]
    assert set(written) == {field.name for field in attrs.fields(RiskLimits)}
    assert resolve(({"risk": written},), offered=(SLV,)).risk == RiskLimits()


# --- restricted -------------------------------------------------------------------------------------


def test_a_restricted_symbol_that_is_traded_is_a_fault() -> None:
    fault = 'risk.restricted: "SLV" is among the symbols that are traded'
    assert faults('[risk]\nrestricted = ["GME", "SLV"]') == (fault,)
    assert faults('[risk]\nrestricted = ["SLV"]\n[[symbols]]\nsymbol = "SLV"\nshares = 1') == (fault,)


def test_a_restricted_symbol_that_is_left_out_is_none() -> None:
    text = tomllib.loads('[risk]\nrestricted = ["SLV"]')
    settings = resolve((text,), offered=(SLV, GLD), only=(GLD,))
    assert [entry.symbol for entry in settings.symbols] == [GLD]
    assert settings.risk.restricted == (SLV,)


def test_a_single_restricted_symbol_can_come_from_the_environment() -> None:
    layer = environment_layer({"RINGFENCE__RISK__RESTRICTED": "GME", "RINGFENCE__RISK__MAX_GROSS": "off"})
    risk = resolve((layer,), offered=(SLV,)).risk
    assert (risk.restricted, risk.max_gross) == (("GME",), None)


# --- protections ------------------------------------------------------------------------------------


def test_protections_are_read_in_their_order_with_their_defaults() -> None:
    assert limits("""
        [[risk.protections]]
        kind = "stop_loss_guard"
        trades = 2
        everything = true
        [[risk.protections]]
        kind = "cool_down"
        lock_s = 60
        [[risk.protections]]
        kind = "drawdown_guard"
        fraction = 0.03
        window_s = 7200
        [[risk.protections]]
        kind = "low_profit_lock"
        profit = -25.5
    """).protections == (
        StopLossGuard(trades=2, everything=True),
        CoolDown(60.0),
        DrawdownGuard(fraction=0.03, window_s=7200.0),
        LowProfitLock(profit=D("-25.5")),
    )


def test_what_is_wrong_with_protections_is_said_with_its_place() -> None:
    assert faults("""
        [[risk.protections]]
        kind = "cooldown"
        [[risk.protections]]
        lock_s = 60
        [[risk.protections]]
        kind = "drawdown_guard"
        fraction = 3
        trades = 0
        [[risk.protections]]
        kind = "cool_down"
        trades = 2
        lock_s = 0
    """) == (
        'risk.protections[0].kind: no protection is called "cooldown"; did you mean "cool_down"?',
        "risk.protections[1].kind: is missing: expected text in quotes",
        "risk.protections[2].fraction: expected a number more than 0 and less than 1 (0.03 is 3 %), got 3",
        "risk.protections[2].trades: expected a whole number at least 1 and at most 500, got 0",
        "risk.protections[3].lock_s: expected a number more than 0, got 0",
        "risk.protections[3].trades: unknown key; known: kind, lock_s",
    )


# --- in sentences -----------------------------------------------------------------------------------


def risk_lines(text: str) -> list[str]:
    settings = resolve((tomllib.loads(text),), offered=(SLV,))
    return [line for line in describe(settings) if line.startswith(("risk", "protection"))]


def test_the_check_says_which_limits_are_not_as_usual() -> None:
    assert risk_lines("") == ["risk: at most 10000 shares and $50000 an order"]
    assert risk_lines("""
        [risk]
        max_order_notional = 20_000
        max_gross = "off"
        max_sector = 1.5
        daily_loss_halt = 0.018
        restricted = ["GME"]
        [[risk.protections]]
        kind = "cool_down"
    """) == [
        "risk: at most 10000 shares and $20000 an order",
        "risk, not as usual: max_order_notional 20000 (usually 50000), max_gross off (usually 4), "
        "max_sector 1.5 (usually off), daily_loss_halt 0.018 (usually 0.02), restricted GME (usually none)",
        "protection: after each trade its symbol waits 300 s",
    ]


def test_each_protection_has_its_sentence() -> None:
    kinds = ("stop_loss_guard", "drawdown_guard", "low_profit_lock")
    assert risk_lines("\n".join(f'[[risk.protections]]\nkind = "{kind}"' for kind in kinds))[1:] == [
        "protection: 4 stop-outs within 3600 s lock the symbol for 1800 s",
        "protection: a fall of 0.05 of the equity over at least 4 trades within 86400 s "
        "locks everything for 3600 s",
        "protection: a symbol whose last 4 trades within 86400 s made less than $0 is locked for 3600 s",
    ]
