"""TWS restarts and IBKR resets at known hours: nothing new is risked then, and nobody is woken for it."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import attrs
import pytest
import trio

from actors.link_alarm import LinkAlarm
from actors.market_clock import MarketClock
from protocol.commands import PlaceOrders
from protocol.health import HealthState, link_health
from protocol.reports import LinkState, RequestRefused
from protocol.reset_windows import ResetPlan
from protocol.settings import Schedule
from tests.broker_fakes import SLV, bracket, broker_world

NEW_YORK = ZoneInfo("America/New_York")
NIGHT = "IBKR's nightly reset until 01:45 New York time"
WEEKEND = "IBKR's weekend reset until 03:00 New York time"
RESTART = "the daily restart of TWS at 23:45"
PLAN = ResetPlan(time(23, 45))


def on(day: int, clock: str, month: int = 9) -> datetime:
    """A New York time in 2025; the 22nd of September is a Monday."""
    return datetime.combine(date(2025, month, day), time.fromisoformat(clock), NEW_YORK).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "name"),
    [
        (on(22, "00:13:59"), ""),
        (on(22, "00:14:00"), NIGHT),
        (on(22, "01:44:59"), NIGHT),
        (on(22, "01:45"), ""),
        (on(22, "12:00"), ""),
        (on(22, "23:43:59"), ""),
        (on(22, "23:44"), RESTART),
        (on(22, "23:49:59"), RESTART),
        (on(22, "23:50"), ""),
        (on(26, "22:58:59"), ""),
        (on(26, "22:59"), WEEKEND),
        (on(26, "23:46"), WEEKEND),
        (on(27, "00:30"), WEEKEND),
        (on(27, "02:59:59"), WEEKEND),
        (on(27, "03:00"), ""),
        (on(28, "00:30"), NIGHT),
        (on(28, "12:00"), ""),
    ],
    ids=str,
)
def test_the_windows_are_those_that_are_published_a_minute_early(at: datetime, name: str) -> None:
    window = PLAN.window(at)
    assert ("" if window is None else window.name) == name


def test_a_window_is_a_time_of_day_there_in_summer_and_in_winter() -> None:
    summer, winter = PLAN.window(on(22, "00:30")), PLAN.window(on(22, "00:30", month=12))
    assert summer is not None
    assert winter is not None
    assert (summer.begins.hour, winter.begins.hour) == (4, 5)


def test_the_restart_is_a_time_of_the_schedules_zone() -> None:
    plan = ResetPlan(time(23, 45), attrs.evolve(Schedule(), zone="Europe/Zurich"))
    assert plan.window(datetime(2025, 9, 22, 21, 46, tzinfo=UTC)) is not None
    assert plan.window(on(22, "23:46")) is None


def test_nothing_new_is_risked_in_a_window_and_a_restart_that_is_over_ends_its_own() -> None:
    before, within = on(22, "20:00"), on(22, "23:46")
    assert PLAN.why_no_risk(within, before) == f"{RESTART}: no new risk"
    assert PLAN.why_no_risk(within, None) == f"{RESTART}: no new risk"
    assert PLAN.why_no_risk(within, on(22, "23:44:30")) == f"{RESTART}: no new risk"
    assert PLAN.why_no_risk(within, on(22, "23:45:30")) == ""
    assert PLAN.why_no_risk(on(22, "23:50"), before) == ""
    assert PLAN.why_no_risk(on(23, "00:30"), on(23, "00:20")) == f"{NIGHT}: no new risk"
    assert PLAN.why_no_risk(on(22, "12:00"), None) == ""


def test_without_a_known_restart_only_the_resets_count() -> None:
    assert ResetPlan().window(on(22, "23:46")) is None
    assert ResetPlan().window(on(23, "00:30")) is not None


def test_a_planned_absence_excuses_a_link_but_not_over_positions_in_the_session() -> None:
    noon = ResetPlan(time(12, 0))
    assert noon.excuses(on(22, "12:01"), holding=False) is not None
    assert noon.excuses(on(22, "12:01"), holding=True) is None
    # Not yet: a link that is down then is news.
    assert noon.excuses(on(22, "11:59:30"), holding=False) is None
    assert PLAN.excuses(on(22, "23:46"), holding=True) is not None


def test_health_says_which_absence_it_is_and_until_when() -> None:
    health = link_health(LinkState.DOWN, "connection refused", busy_id=False, severed="", absence=NIGHT)
    assert health.state is HealthState.DOWN
    assert health.sentence == f"no session with the broker: {NIGHT}; it is tried again"
    held = link_health(LinkState.HELD, "1100 lost", busy_id=False, severed="", absence=NIGHT)
    assert held.sentence == f"no new positions: {NIGHT}"
    assert link_health(LinkState.UP, "", busy_id=False, severed="", absence=NIGHT).sentence == ""


async def test_the_alarm_of_a_link_that_stays_down_waits_for_the_end_of_the_window(
    autojump_clock: object,
) -> None:
    clock = MarketClock()
    clock.set(on(23, "00:20"))
    alarm = LinkAlarm(PLAN, clock)
    for minutes, due in ((0.5, False), (1.5, False), (60, False), (84.9, False), (85.1, True), (86, False)):
        await trio.sleep_until(minutes * 60)
        assert alarm.is_due(holding=True) is due, minutes
    await trio.sleep_until((85.1 + 15) * 60)
    assert alarm.is_due(holding=True)


async def test_over_open_positions_in_the_session_it_waits_for_nothing(autojump_clock: object) -> None:
    clock = MarketClock()
    clock.set(on(22, "12:00:10"))
    alarm = LinkAlarm(ResetPlan(time(12, 0)), clock)
    await trio.sleep(61)
    assert alarm.is_due(holding=True)


async def test_an_entry_waits_for_the_link_after_a_restart_and_an_exit_for_nothing(
    autojump_clock: object,
) -> None:
    async with broker_world() as world:
        restart = (world.clock.now() + timedelta(seconds=30)).astimezone(NEW_YORK).time()
        world.broker.session.resets = ResetPlan(restart)
        world.commands.put(PlaceOrders(SLV, 1, bracket()))
        stop = attrs.evolve(bracket(trade=2)[1], parent=None)
        world.commands.put(PlaceOrders(SLV, 1, (stop,)))
        await world.settle(1)
        assert [request.order.order_ref for request in world.tws.placed] == [str(stop.ref)]
        said = {report.reason for report in world.reports(RequestRefused)}
        assert said == {f"not sent: the daily restart of TWS at {restart:%H:%M}: no new risk"}
        await world.settle(30)
        world.tws.hang_up()
        await world.wait_state(LinkState.DOWN)
        await world.wait_state(LinkState.UP)
        world.commands.put(PlaceOrders(SLV, 1, bracket(trade=3)))
        await world.settle(1)
        assert len(world.tws.placed) == 4
