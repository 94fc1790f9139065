"""The registry of the signal sources: each an actor of its own, which a person starts, stops, redirects."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import attrs
import pytest
import trio

from actors.child import ChildState
from actors.market_clock import MarketClock
from actors.signal_desk import SignalDesk
from actors.sources import Sources, SourceStatus, max_age_of, supervised
from actors.supervisor import Supervisor, SupervisorSpec
from protocol.config import ConfigFaults
from protocol.control_events import SourceEvent
from protocol.events import PredictionSignalEvent, SystemEvent
from protocol.redaction import Secret
from protocol.source_settings import FileSource, HttpSource, Source, WebhookSource, WebSocketSource
from protocol.values import Symbol
from tests.signal_bench import KEY, START, Embedded, ListJournal, embedded, stored


@attrs.define
class Marks:
    kept: dict[str, str] = attrs.Factory(dict)

    def get_meta(self, key: str) -> str | None:
        return self.kept.get(key)

    def set_meta(self, key: str, value: str) -> None:
        self.kept[key] = value


@attrs.define
class Registry:
    """Sources under their supervisor, over a journal in memory."""

    sources_of: Iterable[Source]
    journal: ListJournal = attrs.Factory(ListJournal)
    delivered: list[str] = attrs.Factory(list)
    told: list[SystemEvent] = attrs.Factory(list)
    clock: MarketClock = attrs.Factory(lambda: MarketClock(60.0))
    marks: Marks = attrs.Factory(Marks)
    sources: Sources = attrs.field(init=False)
    supervisor: Supervisor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        desk = SignalDesk(
            symbols=("GLD", "SLV"), journal=self.journal, deliver=self._deliver, clock=self.clock
        )
        self.sources = Sources(
            [(each, Secret(KEY)) for each in self.sources_of], desk=desk, clock=self.clock, marks=self.marks,
            also_polled=("TSLA",),
        )  # fmt: skip
        self.supervisor = supervised(self.sources, self._supervisor)

    def _deliver(self, event: PredictionSignalEvent) -> None:
        self.delivered.append(event.signal_id)

    def _supervisor(self, spec: SupervisorSpec) -> Supervisor:
        epochs: dict[str, int] = {}

        def next_epoch(name: str) -> int:
            epochs[name] = epochs.get(name, 0) + 1
            return epochs[name]

        return Supervisor(
            spec, record=self.told.append, market_now=self.clock.now, next_epoch=next_epoch, rng=Random(1)
        )

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.supervisor.run)
            self.clock.set(START)
            yield
            self.supervisor.stop()

    def status(self, name: str) -> SourceStatus:
        return next(status for status in self.sources.status() if status.name == name)

    @property
    def written(self) -> list[tuple[str, str, str]]:
        events = [event for event in self.journal.events if isinstance(event, SourceEvent)]
        return [(event.source, event.what, event.detail) for event in events]

    async def until(self, *delivered: str, within_loop_s: float = 5.0) -> None:
        with trio.fail_after(within_loop_s):
            while sorted(self.delivered) != sorted(delivered):
                await trio.sleep(0.005)


def polled(run: Embedded, name: str = "flow", **changes: object) -> HttpSource:
    source = HttpSource(name=name, url=run.url, poll_s=3.0, max_age_s=90.0)
    return attrs.evolve(source, **changes)  # type: ignore[arg-type]


async def test_several_sources_bring_the_same_signals_and_each_is_handed_on_once(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b"\n".join(each.body for each in (stored("SLV", 0), stored("GLD", -1))) + b"\n")
    async with embedded(stored("SLV", 0), stored("GLD", 0), stored("TSLA", 0)) as run:
        lines = FileSource(path=str(path), from_start=True)
        registry = Registry([polled(run), polled(run, "again"), lines])
        async with registry.going():
            await registry.until("SLV-0", "GLD-0", "GLD--1")
            await trio.sleep(0.2)
        assert sorted(registry.delivered) == ["GLD--1", "GLD-0", "SLV-0"]
        assert registry.journal.verdicts == {}, "nobody polls what is not traded, but the embedded service"
        taken = [registry.status(name).counts.accepted for name in ("flow", "again", "file")]
        assert sum(taken) == 3
        assert registry.sources.names() == ("flow", "again", "file")


@pytest.mark.slow
async def test_a_source_is_stopped_started_and_redirected_and_each_of_it_is_written_first() -> None:
    async with embedded(stored("SLV", 0), stored("GLD", 60), stored("SLV", 61)) as run:
        registry = Registry([polled(run)])
        async with registry.going():
            await registry.until("SLV-0")
            assert (registry.status("flow").running, registry.status("flow").state) == (True, "ok")
            registry.sources.stop("flow", who="joe@tty1")
            polls = registry.status("flow").statistics.polls
            await trio.sleep(1.2)
            stopped = registry.status("flow")
            assert (stopped.running, stopped.state, stopped.sentence) == (
                False, "stopped", "stopped by joe@tty1",
            )  # fmt: skip
            assert stopped.statistics.polls <= polls + 2, "what was in flight"
            assert registry.delivered == ["SLV-0"]
            registry.sources.set_tickers("flow", ["GLD"], who="joe@tty1")
            registry.sources.start("flow", who="ann@tty2")
            await registry.until("SLV-0", "GLD-60")
            assert registry.status("flow").tickers == ("GLD",)
        assert registry.written == [
            ("flow", "stopped", "by joe@tty1"),
            ("flow", "tickers", "GLD, by joe@tty1"),
            ("flow", "started", "by ann@tty2"),
        ]
        assert {event.__class__.__name__ for event in registry.told} == {"ActorStartedEvent"}


async def test_a_source_that_a_person_stopped_stays_so_after_a_restart() -> None:
    async with embedded(stored("SLV", 0)) as run:
        first = Registry([polled(run)])
        async with first.going():
            await first.until("SLV-0")
            first.sources.stop("flow", who="joe")
        again = Registry([polled(run)], journal=first.journal)
        async with again.going():
            await trio.sleep(0.1)
            status = again.status("flow")
            assert (status.running, status.state) == (False, "stopped")
            assert status.sentence == "stopped by joe, before the last start"
            assert status.statistics.polls == 0
            again.sources.start("flow", who="joe")
            with trio.fail_after(5):
                while again.status("flow").statistics.polls == 0:
                    await trio.sleep(0.01)


async def test_wishes_that_cannot_be_meant_are_refused_with_a_sentence_and_change_nothing() -> None:
    async with embedded() as run:
        registry = Registry([polled(run)])
        sources = registry.sources
        with pytest.raises(ValueError, match="flow runs already"):
            sources.start("flow", who="joe")
        with pytest.raises(ValueError, match="there is no source folw; there are: flow"):
            sources.stop("folw", who="joe")
        with pytest.raises(ValueError, match="1 to 1000 tickers"):
            sources.set_tickers("flow", [], who="joe")
        with pytest.raises(ValueError, match="NONE: not traded here"):
            sources.set_tickers("flow", ["SLV", "NONE"], who="joe")
        assert registry.written == []
        registry.sources.stop("flow", who="joe")
        with pytest.raises(ValueError, match="stopped already"):
            registry.sources.stop("flow", who="joe")


async def test_a_source_that_always_crashes_is_left_alone_and_the_others_go_on() -> None:
    async with embedded(stored("SLV", 0), stored("GLD", 30)) as run:
        registry = Registry([polled(run), polled(run, "broken")])
        async with registry.going():
            await registry.until("SLV-0")
            assert registry.supervisor.kill("signals:broken", "an injected death")
            registry.supervisor.quarantine("signals:broken", "too many crashes")
            await registry.until("SLV-0", "GLD-30")
            children = {child.id: child.state for child in registry.supervisor.which_children()}
            assert children["signals:flow"] is ChildState.RUNNING
            assert registry.status("broken").state == "quarantined"
            registry.sources.start("broken", who="joe")
            with trio.fail_after(5):
                while registry.status("broken").state != "ok":
                    await trio.sleep(0.01)
        assert registry.status("flow").statistics.troubles == 0


def test_sources_that_cannot_be_made_are_all_named_at_once() -> None:
    with pytest.raises(ConfigFaults) as caught:
        Registry([HttpSource(name="a", url="http://elsewhere.example/"), WebSocketSource(name="b", url="x")])
    first, second = caught.value.faults
    assert first == "signals.a: the URL of a signal source is https (http only to this machine)"
    assert second.startswith("signals.b: ")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "max_age_s"),
    [
        (HttpSource(poll_s=15.0), 45.0),
        (HttpSource(max_age_s=7.0), 7.0),
        (WebSocketSource(), 10.0),
        (WebhookSource(), 10.0),
        (FileSource(), 60.0),
    ],
)
def test_each_kind_has_an_age_of_its_own_beyond_which_a_signal_is_stale(
    settings: Source, max_age_s: float
) -> None:
    assert max_age_of(settings) == max_age_s


async def test_a_status_is_plain_json_for_programs() -> None:
    async with embedded() as run:
        registry = Registry([polled(run, tickers=(Symbol("SLV"), Symbol("LEFTOUT")))])
        (status,) = json.loads(json.dumps([each.to_dict() for each in registry.sources.status()]))
        assert (status["name"], status["kind"], status["tickers"]) == ("flow", "http", ["SLV"])
        assert status["counts"]["accepted"] == status["statistics"]["polls"] == 0
        assert status["sentence"] == "waits for the market's time"
