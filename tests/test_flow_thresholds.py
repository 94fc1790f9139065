"""Thresholds on the options flow: when a figure crosses one, once, and what a rule makes of it."""

from __future__ import annotations

import itertools
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import ConfigFaults, resolve
from protocol.control_events import FlowThresholdEvent
from protocol.events import BaseEvent, NewOrderEvent, NotifyEvent, OptionsFlowEvent, RuleFiredEvent
from protocol.flow_thresholds import RowsTaken, ThresholdWatch, stamp_of_row
from protocol.rules.actions import Enter, Notify
from protocol.rules.amounts import Percent
from protocol.rules.conditions import FieldTest, WhenEvent
from protocol.rules.rule import Rule
from protocol.settings import Settings
from protocol.source_settings import FlowThreshold
from protocol.values import MAIN, Side, Symbol
from tests.symbol_desk import TEN, Desk
from tests.world import SLV, World, play, settings_for

NOW = datetime(2025, 9, 26, 14, 0, tzinfo=UTC)
OVER_50 = FlowThreshold(name="rich", field="d_diff_short", limit=50.0)
UNDER_0 = FlowThreshold(name="poor", field="d_diff_short", limit=0.0, above=False, symbols=(SLV,))
BLOCK = FlowThreshold(name="block", field="trade_value", limit=1e6, data="trades")


def row(second: float, value: object, **more: object) -> dict[str, object]:
    return {"timestamp": round(NOW.timestamp() * 1000 + second * 1000), "d_diff_short": value, **more}


def take(
    watch: ThresholdWatch,
    *rows: object,
    data: str = "divergence",
    after_s: float = 0.0,
    max_age_s: float = 90.0,
) -> RowsTaken:
    at = NOW + timedelta(seconds=after_s)
    return watch.take(data, "SLV", rows, at=at, max_age_s=max_age_s)


def values(taken: RowsTaken) -> list[tuple[str, float]]:
    return [(event.threshold, event.value) for event in taken.events]


def crossed(
    name: str = "rich", value: float = 60.0, number: int = 1, at: datetime = TEN
) -> FlowThresholdEvent:
    return FlowThresholdEvent(
        at=at, symbol=SLV, source="flow", event_id=f"flow:{name}:SLV:{number}", threshold=name,
        field="d_diff_short", value=value, limit=50.0, above=True, measured_at=at,
    )  # fmt: skip


E = TypeVar("E", bound=BaseEvent)


def events_of(desk: Desk, kind: type[E]) -> list[E]:
    return [event for event in desk.events if isinstance(event, kind)]


# --- crossing -------------------------------------------------------------------------------------


def test_a_figure_fires_when_it_crosses_and_not_while_it_stays_there() -> None:
    watch = ThresholdWatch((OVER_50, UNDER_0), source="flow")
    assert take(watch, row(-60, 40)).events == ()
    taken = take(watch, row(-50, 50.0), row(-40, 51), row(-30, 80), row(-20, 10), row(-10, -1), row(-5, 55))
    assert values(taken) == [("rich", 51.0), ("poor", -1.0), ("rich", 55.0)]
    first = taken.events[0]
    assert (first.measured_at, first.at) == (NOW - timedelta(seconds=40), NOW)
    assert (first.symbol, first.source, first.field, first.limit, first.above) == (
        "SLV", "flow", "d_diff_short", 50.0, True,
    )  # fmt: skip
    assert len({event.event_id for event in taken.events}) == 3


def test_the_first_row_only_says_where_the_figure_stands() -> None:
    watch = ThresholdWatch((OVER_50,), source="flow")
    assert take(watch, row(-60, 99)).events == ()
    assert take(watch, row(-50, 98)).events == ()
    assert values(take(watch, row(-40, 1), row(-30, 97))) == [("rich", 97.0)]


def test_rows_come_again_and_in_any_order_and_each_counts_once() -> None:
    watch = ThresholdWatch((OVER_50,), source="flow")
    rows = [row(-60, 10), row(-50, 60), row(-40, 20), row(-30, 70)]
    assert values(take(watch, *reversed(rows))) == [("rich", 60.0), ("rich", 70.0)]
    assert take(watch, *rows) == RowsTaken()
    other = ThresholdWatch((OVER_50,), source="flow")
    again = take(other, *rows)
    assert [event.event_id for event in again.events] == [
        event.event_id for event in take(ThresholdWatch((OVER_50,), source="flow"), *rows).events
    ], "the same crossing has the same id after a restart"


def test_rows_of_the_same_stamp_are_told_apart_by_their_id() -> None:
    watch = ThresholdWatch((BLOCK,), source="flow")
    stamp = {"trade_timestamp": "2025-09-26T09:59:50-04:00"}
    small, large = {"id": 1, "trade_value": 5.0, **stamp}, {"id": 2, "trade_value": 2e6, **stamp}
    assert take(watch, small, data="trades").events == ()
    assert values(take(watch, small, large, data="trades")) == [("block", 2e6)]
    assert take(watch, small, large, data="trades").events == ()


def test_what_is_too_old_moves_the_figure_and_fires_nothing() -> None:
    watch = ThresholdWatch((OVER_50,), source="flow")
    assert take(watch, row(-400, 10), row(-300, 60)).events == ()
    assert take(watch, row(-10, 61)).events == ()
    assert values(take(watch, row(-8, 10), row(-5, 62))) == [("rich", 62.0)]


def test_a_row_from_the_future_waits_until_it_is_not() -> None:
    watch = ThresholdWatch((OVER_50,), source="flow")
    rows = (row(-10, 10), row(30, 60))
    assert take(watch, *rows) == RowsTaken((), ("a row is from the future",))
    assert values(take(watch, *rows, after_s=30)) == [("rich", 60.0)]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ({"d_diff_short": 60}, "a row is no object with a time stamp"),
        ("text", "a row is no object with a time stamp"),
        (row(-5, "60"), "d_diff_short of a row is no finite number"),
        (row(-5, True), "d_diff_short of a row is no finite number"),
        (row(-5, float("nan")), "d_diff_short of a row is no finite number"),
        (row(-5, float("inf")), "d_diff_short of a row is no finite number"),
        (row(-5, 10**400), "d_diff_short of a row is no finite number"),
        ({"timestamp": row(-5, 0)["timestamp"]}, "a row has no d_diff_short"),
        ({"timestamp": "2025-09-26T10:00:00", "d_diff_short": 60}, "a row is no object with a time stamp"),
    ],
)
def test_a_bad_row_is_named_and_counts_for_nothing(bad: object, fault: str) -> None:
    watch = ThresholdWatch((OVER_50,), source="flow")
    taken = take(watch, row(-20, 10), bad)
    assert taken == RowsTaken((), (fault,))
    assert values(take(watch, row(-1, 60))) == [("rich", 60.0)]


def test_a_row_of_another_ticker_is_not_this_ones() -> None:
    watch = ThresholdWatch((OVER_50,), source="flow")
    assert take(watch, row(-20, 10), row(-10, 60, ticker="GLD")) == RowsTaken()
    assert watch.watched("divergence", "SLV") == (OVER_50,)
    assert ThresholdWatch((UNDER_0,), source="flow").watched("divergence", "GLD") == ()


@given(st.lists(st.tuples(st.integers(-80, 0), st.floats(-100, 100)), max_size=40), st.data())
def test_however_the_rows_are_cut_into_polls_the_crossings_are_the_same(
    figures: list[tuple[int, float]], data: st.DataObject
) -> None:
    rows = [row(second, value, id=number) for number, (second, value) in enumerate(sorted(figures))]
    whole = values(take(ThresholdWatch((OVER_50,), source="flow"), *rows))
    watch, found, place = ThresholdWatch((OVER_50,), source="flow"), list[tuple[str, float]](), 0
    while place < len(rows):
        size = data.draw(st.integers(1, 8))
        # Each poll asks from the newest row on, so the last of the poll before comes again.
        found += values(take(watch, *rows[max(0, place - 1) : place + size]))
        place += size
    assert found == whole
    beyond = [value > 50 for _, value in sorted(figures)]
    assert len(whole) == sum(now and not before for before, now in itertools.pairwise(beyond))


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), st.lists, max_leaves=4))
def test_no_row_whatever_breaks_the_watch(value: Any) -> None:
    watch = ThresholdWatch((OVER_50, BLOCK), source="flow")
    for data in ("divergence", "trades"):
        take(watch, value, {"timestamp": value, "d_diff_short": value}, row(-1, value), data=data)
    assert stamp_of_row(value) is None


# --- rules ----------------------------------------------------------------------------------------

CONFIGURED = """
[signals.flow]
divergence = true

[[thresholds]]
name = "rich"
field = "d_diff_short"
limit = 50

[[rules]]
name = "follow the flow"
when = { flow = { threshold = "rich" }, market = { max_spread_pct = 0.01 } }
then = [{ enter = { side = "BUY", stop_pct = 0.03 } }]
"""


def configured(text: str) -> Settings:
    return resolve((tomllib.loads(text),), offered=(SLV,))


def test_a_rule_names_its_threshold_in_the_configuration() -> None:
    settings = configured(CONFIGURED)
    assert settings.thresholds == (OVER_50,)
    (rule,) = settings.rules
    assert WhenEvent("FlowThresholdEvent", (FieldTest("threshold", "==", "rich"),)) in rule.when.conditions  # type: ignore[union-attr]
    with pytest.raises(ConfigFaults) as caught:
        configured(CONFIGURED.replace('threshold = "rich"', 'threshold = "rihc"'))
    assert caught.value.faults == (
        'rules[0].when: no threshold is called "rihc"; did you mean "rich"?',
    )  # fmt: skip


def test_a_rule_enters_when_a_figure_of_the_flow_crosses_its_threshold() -> None:
    (rule,) = configured(CONFIGURED).rules
    desk = Desk.ready(rules=(rule,))
    desk.say(crossed("other"))
    assert events_of(desk, NewOrderEvent) == []
    desk.say(crossed("rich"))
    entry = events_of(desk, NewOrderEvent)[0]
    assert (entry.ref.role, entry.order.side) == (MAIN, Side.BUY)
    assert [event.cause for event in events_of(desk, RuleFiredEvent)] == ["flow:rich:SLV:1"]


def test_the_fields_of_the_crossing_are_facts_and_each_crossing_is_answered_once() -> None:
    tell = Rule(
        "tell",
        WhenEvent("FlowThresholdEvent", (FieldTest("value", ">=", 55.0),)),
        Notify("{event.threshold} is at {event.value}"),
        cooldown_s=0.0,
    )
    desk = Desk.ready(rules=(tell,))
    desk.say(crossed(value=54.0, number=1))
    desk.say(crossed(value=60.0, number=2))
    desk.say(crossed(value=60.0, number=2))
    desk.say(crossed(value=61.0, number=3))
    assert [event.text for event in events_of(desk, NotifyEvent)] == ["rich is at 60", "rich is at 61"]


def test_a_crossing_reaches_its_symbol_and_every_subscriber_and_a_killed_symbol_does_not_trade_it_twice() -> (
    None
):
    rule = Rule(
        "follow",
        WhenEvent("FlowThresholdEvent"),
        Enter(Side.BUY, stop=Percent(0.03), target=None),
        cooldown_s=0.0,
    )
    heard: list[str] = []

    async def story(world: World) -> None:
        world.system.subscriptions.subscribe(OptionsFlowEvent, lambda event: heard.append(event.event_type))
        await world.quoted()
        world.at_write("symbol:SLV", 1, lambda: world.kill("SLV"))
        event = crossed(at=world.clock.now())
        world.journal.append("signals", [event])
        world.system.take_flow(event)
        world.system.take_flow(attrs.evolve(event, symbol=Symbol("TSLA")))
        await world.until(lambda: world.position() == 100)
        await trio.sleep(5.0)
        assert world.position() == 100
        assert len(world.events(NewOrderEvent)) == 2, "one entry and its stop"
        assert heard == ["FlowThresholdEvent"]
        await world.check(restarts={"symbol:SLV": 1})

    play(story, settings=settings_for(SLV, rules=(rule,)))
