"""Deaths at any moment, in any order: a supervised tree always comes back whole."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.child import Start
from actors.supervisor import ChildSpec, ChildState, Supervisor, SupervisorSpec
from protocol.events import ActorExitedEvent, ActorStartedEvent, SystemEvent
from protocol.supervision_plan import Strategy

NAMES = "abcd"


class Storm:
    """A supervisor of four actors that take their time to start and to go, and laws that hold throughout."""

    def __init__(self, strategy: Strategy, slowness: list[float]) -> None:
        self.alive: list[str] = []
        self.started: list[str] = []
        self.journal: list[SystemEvent] = []
        self.crash: dict[str, trio.Event] = {}
        self.epochs = dict.fromkeys(NAMES, 0)
        self.supervisor = Supervisor(
            SupervisorSpec(
                name="storm",
                strategy=strategy,
                intensity=None,
                children=tuple(
                    ChildSpec(id=name, start=self.actor(name, slow))
                    for name, slow in zip(NAMES, slowness, strict=True)
                ),
            ),
            record=self.journal.append,
            market_now=lambda: datetime(2025, 9, 26, 14, 0, tzinfo=UTC),
            next_epoch=self.next_epoch,
            rng=random.Random(7),
        )

    def next_epoch(self, name: str) -> int:
        self.epochs[name] += 1
        return self.epochs[name]

    def actor(self, name: str, slow: float) -> Start:
        async def live(epoch: int, task_status: trio.TaskStatus[None]) -> None:
            assert name not in self.alive, "two incarnations of one actor"
            assert epoch == self.epochs[name]
            self.alive.append(name)
            self.crash[name] = trio.Event()
            try:
                await trio.sleep(slow)
                task_status.started()
                await self.crash[name].wait()
                raise ValueError(name)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(slow / 2)
                self.alive.remove(name)

        return live

    async def blow(self, deaths: list[tuple[float, str, bool]]) -> None:
        for delay_s, name, crash in deaths:
            await trio.sleep(delay_s)
            if crash and name in self.alive:
                self.crash[name].set()
            else:
                self.supervisor.kill(name, "storm")

    async def run(self, deaths: list[tuple[float, str, bool]]) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.supervisor.run)
            await self.blow(deaths)
            await trio.sleep(300)
            assert [child.state for child in self.supervisor.which_children()] == [ChildState.RUNNING] * 4
            assert self.alive == list(NAMES) or self.supervisor.spec.strategy is Strategy.ONE_FOR_ONE
            self.supervisor.stop()
        assert self.alive == []


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    strategy=st.sampled_from(Strategy),
    slowness=st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=4, max_size=4),
    deaths=st.lists(
        st.tuples(st.sampled_from([0.0, 0.2, 0.5, 3.0]), st.sampled_from(NAMES), st.booleans()), max_size=12
    ),
    schedule=st.random_module(),
)
def test_inv_21_after_any_storm_of_deaths_all_live_again_in_order_and_each_death_is_recorded(
    strategy: Strategy, slowness: list[float], deaths: list[tuple[float, str, bool]], schedule: object
) -> None:
    storm = Storm(strategy, slowness)
    trio.run(storm.run, deaths, clock=trio.testing.MockClock(autojump_threshold=0))
    starts = [(event.actor, event.epoch) for event in storm.journal if isinstance(event, ActorStartedEvent)]
    assert len(set(starts)) == len(starts)
    ends = [(event.actor, event.epoch) for event in storm.journal if isinstance(event, ActorExitedEvent)]
    assert len(set(ends)) == len(ends)
    for name in NAMES:
        last = max(epoch for actor, epoch in starts if actor == name)
        assert last == storm.epochs[name]
        if strategy is Strategy.ONE_FOR_ONE:
            assert sorted(epoch for actor, epoch in ends if actor == name) == list(range(1, last))
