"""What a person is told outside the program: which events, how loud, how often, in which words."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.alert_settings import AlertChannel, AlertKind, Loudness
from protocol.alerts import (
    MANY,
    MAX_TEXT,
    SAME_LOOP_S,
    SUPPRESS_NOTIFICATIONS,
    WINDOW_LOOP_S,
    Alert,
    Listing,
    Outgoing,
    Throttle,
    alert_of,
    backoff_loop_s,
    discord_fields,
    fields_of,
    telegram_fields,
    text_of,
)
from protocol.config import ConfigFaults, resolve
from protocol.config_text import describe
from protocol.control_events import HealthEvent, KillLevelEvent, LockEvent
from protocol.events import (
    ActorExitedEvent,
    AlarmEvent,
    BaseEvent,
    FillEvent,
    NotifyEvent,
    PositionCloseEvent,
)
from protocol.risk.words import LockKind
from protocol.settings import LogSettings, Settings
from protocol.values import OrderRef, Side, Symbol

SLV = Symbol("SLV")
AT = datetime(2025, 3, 12, 14, 0, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


def alarm(code: str = "LATE_FILL", symbol: str = "SLV", text: str = "a fill came late") -> AlarmEvent:
    return AlarmEvent(at=AT, code=code, text=text, symbol=symbol)


def notify(*, urgent: bool) -> NotifyEvent:
    return NotifyEvent(at=AT, symbol=SLV, rule="tell", text="half of it closed", urgent=urgent)


def lock(kind: LockKind, symbol: str = "SLV") -> LockEvent:
    return LockEvent(at=AT, lock="L000001", symbol=symbol, kind=kind.value, reason="lost twice", who="limits")


def level(to: int, before: int) -> KillLevelEvent:
    return KillLevelEvent(at=AT, level=to, before=before, who="anna", why="looked at it")


CLOSED = PositionCloseEvent(at=AT, symbol=SLV, trade=1, reason="target", realized_pnl=Decimal(12))
FILL = FillEvent(
    at=AT, ref=OrderRef("r0", SLV, 1, "main", 0), exec_id="1", side=Side.BUY, quantity=5,
    price=Decimal("21.5"),
)  # fmt: skip


def channel(default: Loudness = Loudness.ON, **events: Loudness) -> AlertChannel:
    return AlertChannel(name="phone", kind=AlertKind.COMMAND, default=default, events=tuple(events.items()))


# --- which, and how loud ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (alarm(), Loudness.ON),
        (notify(urgent=True), Loudness.ON),
        (notify(urgent=False), Loudness.OFF),
        (level(0, 2), Loudness.ON),
        (level(2, 0), Loudness.OFF),
        (lock(LockKind.LOW_PROFIT), Loudness.SILENT),
        (lock(LockKind.COOL_DOWN), Loudness.OFF),
        (lock(LockKind.DAILY_LOSS), Loudness.OFF),
        (CLOSED, Loudness.OFF),
        (FILL, Loudness.OFF),
    ],
)
def test_alarms_are_told_unless_a_channel_says_otherwise(event: BaseEvent, expected: Loudness) -> None:
    assert Listing(channel()).loudness(event) is expected


def test_a_channel_that_is_off_tells_only_what_it_lists() -> None:
    listing = Listing(channel(Loudness.OFF, PositionCloseEvent=Loudness.SILENT))
    assert listing.loudness(CLOSED) is Loudness.SILENT
    for event in (alarm(), notify(urgent=True), level(0, 1), lock(LockKind.LOW_PROFIT)):
        assert listing.loudness(event) is Loudness.OFF


def test_the_most_particular_word_of_a_channel_counts() -> None:
    listing = Listing(
        channel(LATE_FILL=Loudness.OFF, AlarmEvent=Loudness.SILENT, OrderEvent=Loudness.SILENT,
                FillEvent=Loudness.ON)
    )  # fmt: skip
    assert listing.loudness(alarm("LATE_FILL")) is Loudness.OFF
    assert listing.loudness(alarm("BOOKS_DISAGREE")) is Loudness.SILENT
    assert listing.loudness(FILL) is Loudness.ON
    assert Listing(channel(OrderEvent=Loudness.SILENT)).loudness(FILL) is Loudness.SILENT


# --- in which words ---------------------------------------------------------------------------------


def test_an_alert_says_what_about_whom_when_and_which_system_says_it() -> None:
    told = alert_of(alarm(), NEW_YORK)
    assert told == Alert(
        code="LATE_FILL", text="a fill came late", at="2025-03-12T10:00:00-04:00", symbol="SLV",
        event="AlarmEvent",
    )  # fmt: skip
    assert text_of(told, "ringfence paper") == (
        "ALARM SLV: a fill came late (LATE_FILL at 2025-03-12T10:00:00-04:00, ringfence paper)"
    )
    assert fields_of(told, "ringfence paper", silent=True) == {
        "code": "LATE_FILL", "event": "AlarmEvent", "symbol": "SLV", "text": "a fill came late",
        "at": "2025-03-12T10:00:00-04:00", "alarm": True, "silent": True, "from": "ringfence paper",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (CLOSED, "closed, target, +$12.00"),
        (notify(urgent=True), "half of it closed"),
        (level(0, 2), "kill level K0, was K2: looked at it (anna)"),
        (lock(LockKind.LOW_PROFIT), "locked, low_profit: lost twice (L000001)"),
        (
            HealthEvent(at=AT, subject="symbol:SLV", state="delayed", sentence="quotes are delayed"),
            "symbol:SLV is delayed: quotes are delayed",
        ),
        (
            ActorExitedEvent(at=AT, actor="broker", epoch=1, exit="crash", reason="E", decision="restart",
                             delay_s=0.1),
            "broker ended (crash, E): restart",
        ),
    ],
)  # fmt: skip
def test_events_are_told_in_words(event: BaseEvent, text: str) -> None:
    assert alert_of(event, NEW_YORK).text == text


def test_a_silent_message_makes_no_sound_where_the_service_knows_the_difference() -> None:
    told = alert_of(alarm(), NEW_YORK)
    assert telegram_fields(told, "us", chat="-5", silent=True)["disable_notification"] is True
    assert telegram_fields(told, "us", chat="-5", silent=False)["disable_notification"] is False
    assert discord_fields(told, "us", silent=True)["flags"] == SUPPRESS_NOTIFICATIONS
    assert discord_fields(told, "us", silent=False)["flags"] == 0


def test_nobody_is_mentioned_whatever_a_text_says() -> None:
    told = alert_of(alarm(text="@everyone"), NEW_YORK)
    assert discord_fields(told, "us", silent=False)["allowed_mentions"] == {"parse": []}


@given(st.text(max_size=4000))
def test_a_message_is_never_longer_than_the_services_take(text: str) -> None:
    assert len(text_of(alert_of(alarm(text=text), NEW_YORK), "ringfence")) <= MAX_TEXT


# --- how often --------------------------------------------------------------------------------------


def told(code: str, symbol: str = "", *, alarming: bool = True) -> Alert:
    return Alert(code=code, text=f"{code} {symbol}", symbol=symbol, event="AlarmEvent", alarming=alarming)


def test_the_same_alarm_of_the_same_symbol_is_told_once_a_minute_and_the_rest_in_one_message() -> None:
    throttle = Throttle(20)
    first = throttle.offer(told("LINK_DOWN"), silent=False, loop_s=100.0)
    assert first == Outgoing(told("LINK_DOWN"), False, 100.0)
    for second in range(1, 30):
        assert throttle.offer(told("LINK_DOWN"), silent=False, loop_s=100.0 + second) is None
    assert throttle.offer(told("LINK_DOWN", "SLV"), silent=False, loop_s=101.0) is not None
    assert throttle.due(130.0) is None
    assert throttle.next_due_loop_s == 101.0 + SAME_LOOP_S
    summary = throttle.due(101.0 + SAME_LOOP_S)
    assert summary is not None
    assert (summary.alert.code, summary.alert.text, summary.silent) == (MANY, "29 more: LINK_DOWN ×29", True)
    assert throttle.due(400.0) is None
    assert throttle.offer(told("LINK_DOWN"), silent=False, loop_s=161.0) is not None


def test_what_a_rule_tells_is_the_same_only_if_its_text_is() -> None:
    throttle = Throttle(20)
    for text, passes in (("in at 21.5", True), ("out at 22.0", True), ("in at 21.5", False)):
        event = attrs.evolve(notify(urgent=True), text=text)
        offered = throttle.offer(alert_of(event, NEW_YORK), silent=False, loop_s=1.0)
        assert (offered is not None) is passes


def test_beyond_a_channels_limit_alerts_are_counted_and_told_in_one_message() -> None:
    throttle = Throttle(4)
    passed = [
        throttle.offer(told("C", f"S{number:02}"), silent=False, loop_s=float(number)) is not None
        for number in range(10)
    ]
    assert passed == [True] * 4 + [False] * 6
    summary = throttle.due(4.0 + SAME_LOOP_S)
    assert summary is not None
    assert summary.alert.text.startswith("6 more: C S04 ×1, C S05 ×1")


def test_a_burst_of_trades_leaves_room_for_an_alarm() -> None:
    throttle = Throttle(8)
    for number in range(20):
        throttle.offer(told("PositionCloseEvent", f"S{number}", alarming=False), silent=True, loop_s=1.0)
    assert [
        throttle.offer(told("KILL_LEVEL", f"{number}"), silent=False, loop_s=2.0) is not None
        for number in range(3)
    ] == [True, True, False]


OFFERS = st.lists(
    st.tuples(
        st.floats(0.0, 30.0), st.sampled_from("ABC"), st.sampled_from(["", "SLV", "GLD"]), st.booleans()
    ),
    max_size=80,
)


@given(OFFERS, st.integers(1, 6))
def test_every_alert_is_told_or_counted_and_no_minute_has_more_than_its_limit(
    offers: list[tuple[float, str, str, bool]], limit: int
) -> None:
    throttle, now, sent, counted = Throttle(limit), 0.0, [], 0
    for wait, code, symbol, alarming in offers:
        now += wait
        summary = throttle.due(now)
        if summary is not None:
            counted += int(summary.alert.text.split()[0])
        if throttle.offer(told(code, symbol, alarming=alarming), silent=False, loop_s=now) is not None:
            sent.append((now, code, symbol))
    last = throttle.held(now)
    counted += 0 if last is None else int(last.alert.text.split()[0])
    assert len(sent) + counted == len(offers)
    for at, code, symbol in sent:
        assert len([each for each in sent if 0 <= each[0] - at < WINDOW_LOOP_S]) <= limit
        again = [each for each in sent if each[1:] == (code, symbol) and 0 < each[0] - at < SAME_LOOP_S]
        assert again == []


def test_alarms_without_end_cost_bounded_memory() -> None:
    throttle = Throttle(10)
    for number in range(5000):
        throttle.offer(told(f"CODE_{number}"), silent=False, loop_s=0.01 * number)
    assert len(throttle._since) + len(throttle._held) <= 2010
    summary = throttle.held(60.0)
    assert summary is not None
    assert len(summary.alert.text) < MAX_TEXT


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_the_wait_between_attempts_grows_to_a_minute_and_no_further(failures: int, chance: float) -> None:
    assert 1.0 <= backoff_loop_s(failures, chance) <= 75.0
    assert backoff_loop_s(failures, 0.0) <= backoff_loop_s(failures + 1, 0.0)
    assert timedelta(seconds=backoff_loop_s(1, 0.0)) == timedelta(seconds=1)


# --- the configuration ------------------------------------------------------------------------------


def settings_of(text: str) -> Settings:
    return resolve((tomllib.loads(text, parse_float=Decimal),), offered=(SLV,))


def faults_of(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigFaults) as caught:
        settings_of(text)
    return caught.value.faults


CONFIG = """
[alerts.phone]
kind = "telegram"
token_env = "RINGFENCE_TELEGRAM_TOKEN"
chat = -100123
default = "silent"
events = { LATE_FILL = "off", PositionCloseEvent = "on" }

[alerts.desk]
kind = "command"
command = ["notify-send", "ringfence"]

[alerts.room]
kind = "discord"
url_env = "RINGFENCE_DISCORD_URL"

[alerts.pager]
kind = "webhook"
url = "https://pager.example/hook"
max_per_min = 5
timeout_loop_s = 2.5

[log]
level = "info"
levels = { alerts = "debug" }
file = "ringfence.log"
max_bytes = 100_000
keep = 3
"""


def test_channels_and_log_are_read_from_the_configuration() -> None:
    settings = settings_of(CONFIG)
    assert settings.alerts == (
        AlertChannel(
            name="phone", kind=AlertKind.TELEGRAM, token_env="RINGFENCE_TELEGRAM_TOKEN", chat="-100123",
            default=Loudness.SILENT,
            events=(("LATE_FILL", Loudness.OFF), ("PositionCloseEvent", Loudness.ON)),
        ),
        AlertChannel(name="desk", kind=AlertKind.COMMAND, command=("notify-send", "ringfence")),
        AlertChannel(name="room", kind=AlertKind.DISCORD, url_env="RINGFENCE_DISCORD_URL"),
        AlertChannel(
            name="pager", kind=AlertKind.WEBHOOK, url="https://pager.example/hook", max_per_min=5,
            timeout_loop_s=2.5,
        ),
    )  # fmt: skip
    assert settings.log == LogSettings(
        level="info", levels=(("alerts", "debug"),), file="ringfence.log", max_bytes=100_000, keep=3
    )


def test_what_would_run_names_channels_and_log() -> None:
    described = "\n".join(describe(settings_of(CONFIG)))
    assert (
        "alerts phone: telegram to chat -100123, token in RINGFENCE_TELEGRAM_TOKEN; alarms silent"
        in described
    )
    assert "alerts pager: webhook to https://pager.example/hook; alarms on; at most 5 a minute" in described
    assert "log: info, alerts debug; on standard error and in ringfence.log" in described


WRONG = {
    '[alerts.p]\nkind = "telegramm"': ('alerts.p.kind: expected "webhook" or', 'did you mean "telegram"?'),
    "[alerts.p]\nurl = 'https://h/x'": ("alerts.p.kind: is missing",),
    '[alerts.Phone]\nkind = "discord"\nurl_env = "X"': ('alerts.Phone.kind: "Phone" is no name',),
    '[alerts.p]\nkind = "telegram"\ntoken = "1:canary"\nchat = "5"': (
        "alerts.p.token: a secret does not belong here: name an environment variable in token_env",
        "alerts.p.token_env: is missing",
    ),
    '[alerts.p]\nkind = "telegram"\ntoken_env = "T"\nchat = "my chat"': ("alerts.p.chat: expected the id",),
    '[alerts.p]\nkind = "discord"\nurl = "https://discord.example/canary"': (
        "alerts.p.url: this address is a secret: name an environment variable in url_env",
    ),
    '[alerts.p]\nkind = "webhook"': ("alerts.p.url: expected either url, or url_env",),
    '[alerts.p]\nkind = "webhook"\nurl = "http://far.example/x"': (
        "alerts.p.url: http is accepted for this machine only; use https",
    ),
    '[alerts.p]\nkind = "webhook"\nurl = "https://h/x?k=canary"': ("alerts.p.url: holds more than",),
    '[alerts.p]\nkind = "webhook"\nurl = "ftp://h/x"': ("alerts.p.url: expected an address like",),
    '[alerts.p]\nkind = "webhook"\nurl_env = "lower-canary"': ("alerts.p.url_env: expected the name of",),
    '[alerts.p]\nkind = "command"': ("alerts.p.command: is missing",),
    '[alerts.p]\nkind = "command"\ncommand = ["x"]\nurl = "https://h"': (
        'alerts.p.url: has no meaning for kind "command"; it knows: command',
    ),
    '[alerts.p]\nkind = "command"\ncommand = ["x"]\nevents = { PositionClosedEvent = "on" }': (
        'alerts.p.events.PositionClosedEvent: is neither', 'did you mean "PositionCloseEvent"?',
    ),
    '[alerts.p]\nkind = "command"\ncommand = ["x"]\nevents = { LATE_FILL = "of" }': (
        'alerts.p.events.LATE_FILL: expected "on" or "off" or "silent"',
    ),
    '[alerts.p]\nkind = "command"\ncommand = ["x"]\nmax_per_min = 0': ("alerts.p.max_per_min: expected",),
    '[alerts.p]\nkind = "command"\ncommand = ["x"]\ncolour = "red"': ("alerts.p.colour: unknown key",),
    '[log]\nlevel = "inf"': ('log.level: no level "inf"; did you mean "info"?',),
    '[log]\nlevels = { alarms = "debug" }': ("log.levels.alarms: no part is called that", '"alarm"?'),
    "[log]\nmax_bytes = 10": ("log.max_bytes: expected a whole number at least 10000",),
    "[log]\nmax_bytes = 1_000_000_000\nkeep = 50": ("log.keep: 50 and the one in use may hold",),
}  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_with_channels_and_log_is_said_with_its_place_and_without_secrets(text: str) -> None:
    said = "\n".join(faults_of(text))
    assert [part for part in WRONG[text] if part not in said] == [], said
    assert "canary" not in said


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = faults_of(
        '[alerts.a]\nkind = "command"\n[alerts.b]\nkind = "discord"\n[log]\nlevel = "loud"\nkeep = 0'
    )
    assert [fault.split(":")[0] for fault in said] == [
        "alerts.a.command", "alerts.b.url_env", "log.level", "log.keep",
    ]  # fmt: skip
