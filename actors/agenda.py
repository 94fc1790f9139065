"""What a supervisor still has to do: start and stop children in order, beside its loop.

One task for each child that is to come back alone, and one for the group. A later death replaces a
task that is not finished; what it left undone stays in `_pending`, `_going` and `_dropped`, and so is
done by the one that follows. Nothing here decides, and no wait of one child is a wait of another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from actors.child import Child, ChildState
from protocol.supervision import Restart

GROUP = ""
"""The key of the group's task; a child's own key is its id, which is never empty."""


class Agenda:
    """For one run of a supervisor. `children` is the supervisor's own table, in start order."""

    def __init__(
        self,
        nursery: trio.Nursery,
        children: dict[str, Child],
        *,
        spawn: Callable[[Child], None],
        stop: Callable[[Child], Awaitable[None]],
        all_up: Callable[[], None],
    ) -> None:
        self._nursery = nursery
        self._children = children
        self._spawn = spawn
        self._stop = stop
        self._all_up = all_up
        self._tasks: dict[str, trio.CancelScope] = {}
        self._pending: set[str] = set()
        self._going: set[str] = set()
        self._dropped: set[str] = set()

    def first_start(self) -> None:
        """Start the children of the specification; `all_up` is called when each is up, or need not be."""
        self._pending = {child.spec.id for child in self._children.values() if not child.dynamic}
        self._begin(GROUP, self._bring_up, 0.0)

    def revive(self, child: Child, delay_s: float) -> None:
        """Start one child again, after a while."""
        child.state = ChildState.BACKOFF
        self._begin(child.spec.id, self._start_later, child, delay_s)

    def regroup(self, restart: Restart) -> None:
        """Stop those that go down with a child, in reverse; after a while start them all, in order."""
        self._pending |= set(restart.start)
        self._going |= set(restart.stop)
        self._dropped |= set(restart.drop)
        for child_id in restart.start:
            if self._children[child_id].life is None:
                self._children[child_id].state = ChildState.BACKOFF
        self._begin(GROUP, self._regroup, restart.delay_s)

    def will_start(self, child: Child) -> bool:
        return child.spec.id in self._pending or child.spec.id in self._tasks

    def forget(self, child: Child) -> None:
        """Do not start this one after all."""
        self._cancel(child.spec.id)

    def forget_all(self) -> None:
        for key in list(self._tasks):
            self._cancel(key)

    # --- the tasks -----------------------------------------------------------------------------
    # A wait that has just been fulfilled returns even if its task was replaced in the same moment;
    # hence the second look after each, before anything is ticked off.

    async def _start_later(self, child: Child, delay_s: float) -> None:
        if delay_s > 0:
            await trio.sleep(delay_s)
        await trio.lowlevel.checkpoint_if_cancelled()
        self._spawn(child)

    async def _regroup(self, delay_s: float) -> None:
        for child in reversed(list(self._children.values())):
            if child.spec.id in self._going:
                await self._stop(child)
                await trio.lowlevel.checkpoint_if_cancelled()
                self._going.discard(child.spec.id)
        for child_id in self._dropped:
            self._children.pop(child_id, None)
        self._dropped.clear()
        await self._bring_up(delay_s)

    async def _bring_up(self, delay_s: float) -> None:
        if delay_s > 0:
            await trio.sleep(delay_s)
        for child in list(self._children.values()):
            if child.spec.id not in self._pending:
                continue
            if child.life is None and child.quarantine is None and child.spec.id not in self._tasks:
                self._spawn(child)
            await child.settled.wait()
            await trio.lowlevel.checkpoint_if_cancelled()
            self._pending.discard(child.spec.id)
        self._all_up()

    def _begin(self, key: str, work: Callable[..., Awaitable[None]], *args: object) -> None:
        self._cancel(key)
        self._tasks[key] = scope = trio.CancelScope()

        async def run() -> None:
            with scope:
                await work(*args)
            if self._tasks.get(key) is scope:
                del self._tasks[key]

        self._nursery.start_soon(run)

    def _cancel(self, key: str) -> None:
        scope = self._tasks.pop(key, None)
        if scope is not None:
            scope.cancel()
