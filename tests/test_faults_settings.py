"""Faults and settings as a person writes them: all that is wrong is told at once, each with its path."""

from __future__ import annotations

import tomllib
from contextlib import suppress
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.exchange import faults as f
from protocol.exchange.fault_settings import WHEN_KEYS, read_fault, read_faults
from protocol.exchange.fault_words import HAPPENINGS, MESSAGES, REQUESTS
from protocol.exchange.settings_reading import WrongSettings
from protocol.exchange.simulator_settings import SimulatorSettings, read_settings
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import AccountSettings, ChildActivation, VenueSettings

EXAMPLE = Path(__file__).parent.parent / "scripts" / "examples" / "faults.toml"


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(WrongSettings) as wrong:
        read_settings(tomllib.loads(text))
    return wrong.value.problems


def test_a_fault_is_read_with_its_trigger_beside_its_own_fields() -> None:
    (fault,) = read_faults(
        [{"kind": "drop_connection", "at": "10:31", "on": "place_order", "after": 3, "reset": True}]
    )
    when = f.When(at=time(10, 31), on=("place_order",), after=3)
    assert fault == f.DropConnection(reset=True, when=when)


def test_every_kind_can_be_named() -> None:
    assert len(f.KINDS) == len(get_args(f.Fault)) >= 50
    assert f.kind_of(f.OcaRace) == "oca_race"
    for name, kind in f.KINDS.items():
        problems: list[str] = []
        needed = {"on": "message"} if kind.family is f.Family.MESSAGE else {}
        table = {"kind": name, "symbol": "SLV", "code": 1, "text": "t", "nth": 1, "by": 1, "accounts": ["A"]}
        known = {field.name for field in attrs.fields(kind)} | {"kind", "symbol"}
        read = read_fault({key: table[key] for key in table if key in known} | needed, "fault", problems)
        assert problems == []
        assert type(read) is kind


def test_words_of_the_three_kinds_of_opportunity_do_not_clash() -> None:
    assert not REQUESTS & MESSAGES
    assert not (REQUESTS | MESSAGES) & HAPPENINGS
    assert {"exec_details", "order_filled", "ticks"} <= MESSAGES
    assert {"place_order", "modify_order", "start_api"} <= REQUESTS
    assert {"execution", "correction", "order_accepted"} <= HAPPENINGS


def test_everything_that_is_wrong_is_told_at_once_with_its_path() -> None:
    assert problems_of(
        """
        [venu]
        [venue]
        commission_per_share = "cheap"
        child_activation = "half"
        asumed_size = 3
        [session]
        duplicate_echo = 1
        nightly_restart = "25:00"
        [[account]]
        name = "DU1"
        [[fault]]
        kind = "drop_conection"
        [[fault]]
        kind = "silence"
        [[fault]]
        kind = "delay_messages"
        by_s = "x"
        after = -1
        [[fault]]
        kind = "refuse_request"
        code = 201
        on = "exec_details"
        """
    ) == (
        'venu: unknown table; did you mean "venue"?',
        "venue.commission_per_share: expected an amount such as 10.5, got 'cheap'",
        "venue.child_activation: expected one of scaled, full, got 'half'",
        'venue.asumed_size: unknown key; did you mean "assumed_size"?',
        "session.duplicate_echo: expected true or false, got 1",
        "session.nightly_restart: expected a time of day such as \"10:30:00\", got '25:00'",
        "account[1].cash: is missing",
        "fault[1].kind: 'drop_conection' is no fault; did you mean \"drop_connection\"?",
        "fault[2]: needs `at` or `on`: when does it happen?",
        "fault[3]: 'after' must be >= 0: -1",
        "fault[3].by_s: expected a number, got 'x'",
        "fault[4].on: 'exec_details' is not a request; did you mean \"req_contract_details\"?",
    )


def test_a_message_fault_says_which_messages_and_a_trade_which_symbol() -> None:
    told = problems_of('[[fault]]\nkind = "drop_messages"\n[[fault]]\nkind = "manual_trade"\nat = "10:00"')
    assert told == (
        'fault[1]: say which messages with `on`, such as on = "exec_details"',
        "fault[2].symbol: is missing",
    )


def test_settings_of_the_venue_and_the_session_are_read() -> None:
    read = read_settings(
        tomllib.loads(
            """
            [venue]
            child_activation = "full"
            commission_per_share = 0.01
            short_locate = ["GME"]
            [session]
            order_latency_s = 0.005
            nightly_restart = 23:45:00
            pending_cancel = "echo"
            [[account]]
            name = "DU1"
            cash = 25000
            """
        )
    )
    assert read.venue.child_activation is ChildActivation.FULL
    assert (read.venue.commission_per_share, read.venue.short_locate) == (Decimal("0.01"), ("GME",))
    assert (read.session.order_latency_s, read.session.nightly_restart) == (0.005, time(23, 45))
    assert read.accounts == (AccountSettings("DU1", Decimal(25_000)),)


def test_a_later_file_wins_where_it_says_something() -> None:
    first = SimulatorSettings(
        venue=VenueSettings(assumed_size=300, exchange="NYSE"), faults=(f.SwallowRequest(),)
    )
    second = SimulatorSettings(venue=VenueSettings(exchange="ARCA"), faults=(f.ZeroPermId(),))
    both = first.and_then(second)
    assert (both.venue.assumed_size, both.venue.exchange) == (300, "ARCA")
    assert both.faults == (f.SwallowRequest(), f.ZeroPermId())
    assert both.session == TwsSettings()


def test_the_shipped_example_is_right() -> None:
    read = read_settings(tomllib.loads(EXAMPLE.read_text(encoding="utf-8")))
    assert len(read.faults) == 10


words = st.sampled_from([*f.KINDS, "place_order", "10:30", "SLV", "x", "2025-01-23T10:00:00"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
keys = sorted({field.name for kind in f.KINDS.values() for field in attrs.fields(kind)} - {"when"})


@given(st.fixed_dictionaries({"kind": words}, optional=dict.fromkeys([*keys, *WHEN_KEYS], values)))
@pytest.mark.slow
def test_whatever_a_fault_says_it_is_read_or_refused(table: dict[str, object]) -> None:
    problems: list[str] = []
    assert (read_fault(table, "fault", problems) is None) is bool(problems)


@given(st.dictionaries(st.sampled_from(["venue", "session", "account", "fault", "x"]), values))
def test_whatever_a_file_says_it_is_read_or_refused(content: dict[str, object]) -> None:
    with suppress(WrongSettings):
        read_settings(content)
