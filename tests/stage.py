"""Actors that do as they are told, and a supervisor around them: for the tests of supervision."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import trio
import trio.testing

from actors.supervisor import (
    ChildSpec,
    Supervisor,
    SupervisorSpec,
)
from protocol.events import SystemEvent

TEN = datetime(2025, 9, 26, 14, 0, tzinfo=UTC)


class Stage:
    """Actors that say when they come and go, and crash when told to."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.journal: list[SystemEvent] = []
        self.quarantined: list[str] = []
        self.stuck: list[str] = []
        self.epochs: dict[str, int] = defaultdict(int)
        self.orders: dict[str, Callable[[], None]] = {}
        self.wake: dict[str, trio.Event] = {}

    def next_epoch(self, actor: str) -> int:
        self.epochs[actor] += 1
        return self.epochs[actor]

    def actor(self, id: str, *, init_loop_s: float = 0.0, **plan: object) -> ChildSpec:  # noqa: A002
        async def live(epoch: int, task_status: trio.TaskStatus[None]) -> None:
            self.wake[id] = trio.Event()
            self.said.append(f"+{id}{epoch}")
            try:
                await trio.sleep(init_loop_s)
                if id in self.orders:
                    self.orders[id]()
                task_status.started()
                await self.wake[id].wait()
                self.orders.pop(f"run {id}", lambda: None)()
            finally:
                self.said.append(f"-{id}{epoch}")

        return ChildSpec(id=id, start=live, **plan)  # type: ignore[arg-type]

    def tell(self, id: str, order: Callable[[], None] = lambda: None) -> None:  # noqa: A002
        """Let the running actor do `order` and end."""
        self.orders[f"run {id}"] = order
        self.wake[id].set()

    def supervisor(self, *children: ChildSpec, **plan: object) -> Supervisor:
        return Supervisor(
            SupervisorSpec(name="sup", children=children, **plan),  # type: ignore[arg-type]
            record=self.journal.append,
            market_now=lambda: TEN,
            next_epoch=self.next_epoch,
            rng=random.Random(0),
            on_quarantine=self.quarantined.append,
            on_stuck=self.stuck.append,
        )

    def heard(self) -> list[str]:
        said = self.said[:]
        self.said.clear()
        return said


def boom(text: str = "boom") -> Callable[[], None]:
    def crash() -> None:
        raise ValueError(text)

    return crash


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        yield
        supervisor.stop()


async def end_of(supervisor: Supervisor, disturb: Callable[[], Awaitable[None]]) -> BaseException:
    """What `run` raises when it is disturbed like that, out of the groups that nurseries make of it."""
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await disturb()
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            (error,) = error.exceptions
        return error
    raise AssertionError("the supervisor ended well")


async def quiet() -> None:
    await trio.testing.wait_all_tasks_blocked()
