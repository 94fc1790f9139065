"""The health of the link and of each symbol: a word, a sentence, and one event for each change that lasts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import trio

from actors.health import HealthWatch
from actors.market_clock import MarketClock
from protocol.control_events import HealthEvent
from protocol.events import BaseEvent
from protocol.health import OK, Health, HealthState, changes, link_health, symbol_health
from protocol.reports import LinkState
from protocol.risk.words import DataState, Quote

AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)


def quote(data: DataState = DataState.LIVE, *, halted: bool = False) -> Quote:
    return Quote(10.0, 10.01, 10.0, AT, halted, data)


@pytest.mark.parametrize("data", [state for state in DataState if state is not DataState.LIVE])
def test_every_trouble_of_the_data_has_a_word_and_a_sentence(data: DataState) -> None:
    health = symbol_health(quote(data))
    assert health.state is not HealthState.OK
    assert len(health.sentence) > 20


def test_the_gravest_trouble_is_the_one_that_is_told() -> None:
    found = symbol_health(quote(DataState.DELAYED), left_out="TWS knows no such stock", quarantined=True)
    assert found.state is HealthState.QUARANTINED
    assert symbol_health(quote(), held="somebody else traded SLV").sentence == "somebody else traded SLV"
    assert symbol_health(quote(halted=True)).state is HealthState.HALTED
    assert symbol_health(quote(), silent=True).state is HealthState.SILENT
    assert symbol_health(quote()) == OK


def test_a_busy_client_id_and_a_severed_link_are_told_apart_from_one_that_is_down() -> None:
    down = link_health(LinkState.DOWN, "refused", busy_id=False, severed="")
    busy = link_health(LinkState.DOWN, "refused", busy_id=True, severed="")
    severed = link_health(LinkState.DOWN, "refused", busy_id=True, severed="the kill level is SEVER")
    assert [each.state for each in (down, busy, severed)] == [
        HealthState.DOWN, HealthState.BUSY_ID, HealthState.SEVERED,
    ]  # fmt: skip
    assert "client id" in busy.sentence


def test_only_changes_are_events() -> None:
    delayed = symbol_health(quote(DataState.DELAYED))
    events = changes({"symbol:SLV": delayed}, {"symbol:SLV": delayed, "symbol:GLD": delayed, "link": OK}, AT)
    assert [event.subject for event in events] == ["symbol:GLD"]


async def test_a_trouble_is_journalled_once_when_it_lasts_and_once_more_when_it_is_over(
    autojump_clock: trio.testing.MockClock,
) -> None:
    journal: list[HealthEvent] = []

    class Written:
        def append(self, stream: str, events: Sequence[BaseEvent]) -> None:
            assert stream == "system"
            journal.extend(event for event in events if isinstance(event, HealthEvent))

    states: dict[str, Health] = {"link": OK}
    clock = MarketClock()
    clock.set(AT)
    watch = HealthWatch(lambda: dict(states), journal=Written(), clock=clock)
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run, 1)
        down = link_health(LinkState.DOWN, "gone", busy_id=False, severed="")
        states["link"] = down
        await trio.sleep(3)
        states["link"] = OK
        await trio.sleep(6)
        assert journal == []  # it flapped: one look only
        states["link"] = down
        await trio.sleep(10)
        states["link"] = OK
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert [event.state for event in journal] == ["down", "ok"]
