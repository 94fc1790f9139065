"""Alerts leave by their channels: what waits, what is tried again, what an outage means, what an end does."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import attrs
import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from actors.alert_senders import Delivered, Delivery, Failed
from actors.alerts import (
    ATTEMPTS,
    CHANNEL_FAILED,
    CHANNEL_RECOVERED,
    FINISH_LOOP_S,
    KEEP_LOOP_S,
    MAX_WAITING,
    Alerts,
    Channel,
)
from actors.journal import Journal
from protocol.alert_settings import AlertChannel, AlertKind, Loudness
from protocol.alerts import MANY, SAME_LOOP_S, Alert
from protocol.events import AlarmEvent, BaseEvent, NotifyEvent, PositionCloseEvent
from protocol.redaction import Secret
from protocol.values import Symbol

AT = datetime(2025, 3, 12, 14, 0, tzinfo=UTC)
UNREACHABLE, UNWANTED = Failed("ConnectError"), Failed("HTTP 400", refused=True)


@attrs.define
class FakeWayOut:
    """Answers as told, then that all is well; a `hang` of it lasts until it is cancelled."""

    answers: deque[Delivery] = attrs.field(factory=deque)
    always: Delivery = attrs.field(factory=Delivered)
    hangs: bool = False
    takes_s: float = 0.0
    tried: list[tuple[float, str, bool]] = attrs.field(factory=list)
    texts: list[str] = attrs.field(factory=list)

    async def send(self, alert: Alert, *, silent: bool) -> Delivery:
        await trio.lowlevel.checkpoint()
        self.tried.append((trio.current_time(), f"{alert.code} {alert.symbol}".strip(), silent))
        self.texts.append(alert.text)
        if self.hangs:
            await trio.sleep_forever()
        await trio.sleep(self.takes_s)
        return self.answers.popleft() if self.answers else self.always

    @property
    def codes(self) -> list[str]:
        return [code for _, code, _ in self.tried]


@attrs.define
class Stage:
    """A journal and alerts on it, with fakes in place of the ways out."""

    ways: dict[str, FakeWayOut]
    journal: Journal = attrs.field(factory=Journal.memory)
    settings: dict[str, AlertChannel] = attrs.field(factory=dict)

    def open(self) -> Alerts:
        channels = [
            self.settings.get(name, AlertChannel(name=name, kind=AlertKind.COMMAND)) for name in self.ways
        ]
        alerts = Alerts(
            [(channel, Secret("")) for channel in channels],
            alarm=lambda code, text: self.alarm(code, text=text),
            origin="test",
            zone="America/New_York",
            random=Random(1),
            way_out=lambda channel, _secret, _origin: self.ways[channel.name],
        )
        self.journal.follow(alerts.follow)
        return alerts

    def alarm(self, code: str, symbol: str = "", text: str = "something") -> None:
        self.append(AlarmEvent(at=AT, code=code, symbol=symbol, text=text))

    def append(self, event: BaseEvent) -> None:
        self.journal.append("system", [event])

    def codes(self) -> list[str]:
        return [event.code for event in self.journal.read() if isinstance(event, AlarmEvent)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Alarms reach standard error, which is looked at elsewhere."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage({"phone": FakeWayOut(), "desk": FakeWayOut()})
    yield made
    made.journal.close()


async def run(alerts: Alerts, nursery: trio.Nursery) -> None:
    for channel in alerts.channels:
        await nursery.start(channel.run, 1)


# --- what arrives -----------------------------------------------------------------------------------


async def test_an_alarm_is_told_by_every_channel_and_what_is_listed_by_that_one(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    stage.settings["desk"] = AlertChannel(
        name="desk", kind=AlertKind.COMMAND,
        events=(("PositionCloseEvent", Loudness.SILENT), ("LATE_FILL", Loudness.OFF)),
    )  # fmt: skip
    await run(stage.open(), nursery)
    slv = Symbol("SLV")
    stage.alarm("BOOKS_DISAGREE", "SLV")
    stage.alarm("LATE_FILL", "SLV")
    stage.append(PositionCloseEvent(at=AT, symbol=slv, trade=1, reason="stop", realized_pnl=Decimal(-5)))
    stage.append(NotifyEvent(at=AT, symbol=slv, rule="r", text="for the record", urgent=False))
    await trio.sleep(1)
    assert stage.ways["phone"].codes == ["BOOKS_DISAGREE SLV", "LATE_FILL SLV"]
    assert stage.ways["desk"].codes == ["BOOKS_DISAGREE SLV", "PositionCloseEvent SLV"]
    assert [silent for _, _, silent in stage.ways["desk"].tried] == [False, True]


async def test_a_channel_that_hangs_delays_neither_the_journal_nor_the_other(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    stage.ways["phone"].hangs = True
    await run(stage.open(), nursery)
    began = trio.current_time()
    for number in range(5):
        stage.alarm("CODE", f"S{number}")
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() == began
    assert len(stage.ways["desk"].tried) == 5
    assert len(stage.ways["phone"].tried) == 1


async def test_repetitions_come_as_one_message_after_a_minute(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    await run(stage.open(), nursery)
    for _ in range(50):
        stage.alarm("LINK_DOWN")
    await trio.sleep(SAME_LOOP_S + 1)
    assert stage.ways["phone"].codes == ["LINK_DOWN", MANY]
    assert stage.ways["phone"].texts[1] == "49 more: LINK_DOWN ×49"


async def test_control_characters_and_addresses_do_not_leave_as_they_came(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    await run(stage.open(), nursery)
    stage.alarm("CODE", text="a\r\nb\x1b[31m https://u:p@host/x?key=1")
    await trio.sleep(1)
    assert stage.ways["phone"].texts == ["a\\r\\nb\\x1b[31m https://host/x?…"]


# --- what does not arrive -----------------------------------------------------------------------------


async def test_what_fails_is_tried_again_with_growing_waits_and_a_short_trouble_is_no_outage(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    stage.ways["phone"].answers += [UNREACHABLE] * (ATTEMPTS - 1)
    await run(stage.open(), nursery)
    stage.alarm("CODE")
    await trio.sleep(30)
    first, second, third = (at for at, _, _ in stage.ways["phone"].tried)
    assert 1.0 <= second - first <= 1.25
    assert 2.0 <= third - second <= 2.5
    assert stage.codes() == ["CODE"]


async def test_a_channel_that_fails_is_an_alarm_once_which_the_others_tell_and_its_return_is_told(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    phone, desk = stage.ways["phone"], stage.ways["desk"]
    phone.always = UNREACHABLE
    alerts = stage.open()
    await run(alerts, nursery)
    for number in range(3):
        stage.alarm("CODE", f"S{number}")
    await trio.sleep(200)
    assert stage.codes() == ["CODE"] * 3 + [CHANNEL_FAILED]
    assert desk.codes[-1] == CHANNEL_FAILED
    assert desk.texts[-1] == "alerts by phone do not arrive: ConnectError"
    assert set(phone.codes) == {"CODE S0"}, "the first is kept, in its place, and it hears nothing of itself"
    assert alerts.channels[0].failing
    phone.always = Delivered()
    await trio.sleep(100)
    assert stage.codes()[-1] == CHANNEL_RECOVERED
    assert phone.codes[-4:] == ["CODE S0", "CODE S1", "CODE S2", CHANNEL_RECOVERED]
    assert not alerts.channels[0].failing
    phone.always = UNREACHABLE
    stage.alarm("CODE", "S9")
    await trio.sleep(100)
    assert stage.codes().count(CHANNEL_FAILED) == 2, "the next outage is another one"


async def test_what_a_service_refuses_is_given_up_and_does_not_block_what_follows(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    phone = stage.ways["phone"]
    phone.answers += [UNWANTED] * ATTEMPTS
    alerts = stage.open()
    await run(alerts, nursery)
    stage.alarm("BAD")
    stage.alarm("GOOD")
    await trio.sleep(60)
    assert phone.codes == ["BAD"] * ATTEMPTS + ["GOOD", CHANNEL_RECOVERED]
    counts = alerts.channels[0].counts()
    assert (counts.sent, counts.unsent, counts.failures) == (2, 1, ATTEMPTS)


async def test_what_is_too_old_is_given_up_and_counted_in_the_word_of_the_return(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    phone = stage.ways["phone"]
    phone.always = UNREACHABLE
    await run(stage.open(), nursery)
    stage.alarm("OLD")
    await trio.sleep(KEEP_LOOP_S + 120)
    stage.alarm("NEW")
    await trio.sleep(90)
    phone.always = Delivered()
    await trio.sleep(90)
    assert phone.codes[-2:] == ["NEW", CHANNEL_RECOVERED]
    assert phone.texts[-1].endswith("; 1 given up")


async def test_a_service_that_asks_to_wait_is_given_the_time(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    stage.ways["phone"].answers.append(Failed("HTTP 429", retry_after_loop_s=17.0))
    await run(stage.open(), nursery)
    stage.alarm("CODE")
    await trio.sleep(60)
    first, second = (at for at, _, _ in stage.ways["phone"].tried)
    assert second - first == pytest.approx(17.0)


async def test_what_waits_for_a_channel_is_bounded_and_the_newest_stays(
    stage: Stage, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    stage.settings["phone"] = AlertChannel(name="phone", kind=AlertKind.COMMAND, max_per_min=10_000)
    stage.ways["phone"].hangs = True
    alerts = stage.open()
    await run(alerts, nursery)
    for number in range(MAX_WAITING + 50):
        stage.alarm("CODE", f"S{number}")
    await trio.testing.wait_all_tasks_blocked()
    phone = alerts.channels[0]
    assert phone.waiting <= MAX_WAITING + 1
    assert phone.counts().unsent == 50
    assert phone._waiting[-1].alert.symbol == f"S{MAX_WAITING + 49}"


async def test_what_a_dead_channel_had_in_hand_is_sent_by_its_next_life(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    phone = stage.ways["phone"]
    phone.hangs = True
    channel = stage.open().channels[0]
    async with trio.open_nursery() as life:
        await life.start(channel.run, 1)
        stage.alarm("CODE")
        await trio.testing.wait_all_tasks_blocked()
        life.cancel_scope.cancel()
    phone.hangs = False
    async with trio.open_nursery() as life:
        await life.start(channel.run, 2)
        await trio.sleep(1)
        life.cancel_scope.cancel()
    assert phone.codes == ["CODE", "CODE"]
    assert channel.waiting == 0


# --- the end ----------------------------------------------------------------------------------------


async def test_a_channel_that_is_to_stop_ends_with_what_it_is_sending_and_sends_it_once(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    """What a program had written already was told once more (seen in `test_alerts_run.py`)."""
    phone = stage.ways["phone"]
    phone.takes_s = 0.8
    alerts = stage.open()
    channel = alerts.channels[0]
    async with trio.open_nursery() as life:
        await life.start(channel.run, 1)
        stage.alarm("FIRST")
        stage.alarm("SECOND")
        await trio.sleep(0.3)
        channel.stop()
    assert phone.codes == ["FIRST"]
    await alerts.finish(0, "end of replay")
    assert phone.codes == ["FIRST", "SECOND"]


async def test_a_channel_that_was_stopped_with_its_supervisor_sends_again_in_its_next_life(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    channel = stage.open().channels[0]
    for number in (1, 2):
        async with trio.open_nursery() as life:
            await life.start(channel.run, number)
            stage.alarm(f"CODE_{number}")
            await trio.sleep(1)
            channel.stop()
    assert stage.ways["phone"].codes == ["CODE_1", "CODE_2"]


async def test_a_channel_that_waits_to_try_again_stops_at_once_and_tries_at_the_end(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    phone = stage.ways["phone"]
    phone.answers = deque([Failed("503", retry_after_loop_s=100.0)])
    alerts = stage.open()
    channel = alerts.channels[0]
    async with trio.open_nursery() as life:
        await life.start(channel.run, 1)
        stage.alarm("CODE")
        await trio.sleep(0.3)
        channel.stop()
    assert trio.current_time() == pytest.approx(0.3)
    await alerts.finish(0, "end of replay")
    assert phone.codes == ["CODE", "CODE"]
    assert channel.waiting == 0


async def test_at_the_end_what_waits_and_what_was_held_back_is_sent(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    alerts = stage.open()
    for _ in range(3):
        stage.alarm("CODE")
    assert await alerts.finish(0, "end of replay") == 0
    assert stage.ways["phone"].codes == ["CODE", MANY]
    assert stage.ways["desk"].codes == ["CODE", MANY]


async def test_a_hanging_channel_holds_up_the_end_for_three_seconds_and_no_other_channel(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    stage.ways["phone"].hangs = True
    alerts = stage.open()
    stage.alarm("CODE")
    began = trio.current_time()
    await alerts.finish(0, "stopped by SIGINT")
    assert trio.current_time() - began == pytest.approx(FINISH_LOOP_S)
    assert stage.ways["desk"].codes == ["CODE"]
    assert stage.codes() == ["CODE"], "the books are closed: nothing is journalled any more"


async def test_an_end_that_is_not_clean_is_an_alarm(
    stage: Stage, autojump_clock: trio.testing.MockClock
) -> None:
    assert await stage.open().finish(70, "the supervision tree gave up: x") == 70
    assert stage.ways["phone"].codes == ["RUN_FAILED"]
    assert stage.ways["phone"].texts == ["the run ends with 70: the supervision tree gave up: x"]


# --- standard error -----------------------------------------------------------------------------------


@pytest.mark.parametrize("on_stderr", [True, False])
async def test_alarms_are_on_standard_error_without_any_channel_unless_a_terminal_shows_them(
    on_stderr: bool, autojump_clock: trio.testing.MockClock
) -> None:
    structlog.reset_defaults()
    alerts = Alerts(
        (), alarm=lambda _code, _text: None, origin="", zone="UTC", random=Random(1), on_stderr=on_stderr
    )
    with capture_logs() as lines:
        alerts.follow("system", [AlarmEvent(at=AT, code="LATE_FILL", text="late", symbol="SLV")])
        alerts.follow("system", [NotifyEvent(at=AT, symbol=Symbol("SLV"), rule="r", text="t", urgent=False)])
    expected = {"event": "late", "code": "LATE_FILL", "symbol": "SLV", "log_level": "error"}
    assert lines == ([expected] if on_stderr else [])


def test_a_channel_is_an_actor_with_a_name_of_its_own(stage: Stage) -> None:
    assert [channel.name for channel in stage.open().channels] == ["phone", "desk"]
    assert all(isinstance(channel, Channel) for channel in stage.open().channels)
