"""Where clients come in: the door of the simulated TWS, which faults can close or leave unanswered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import assert_never

import trio

from protocol.exchange.fault_effects import Door
from protocol.exchange.faults import RefuseConnections, SilentHandshake

_RECEIVE_BYTES = 4096


class FrontDoor:
    """Takes connections on TCP while it is open. One that is taken outlives the door's closing."""

    def __init__(self, serve: Callable[[trio.SocketStream], Awaitable[None]]) -> None:
        self._serve = serve
        self._shut_until_loop_s = self._empty_until_loop_s = self._silent_until_loop_s = float("-inf")
        self._open: list[trio.CancelScope] = []

    def change(self, door: Door) -> None:
        """A fault: what becomes of those who come from now on."""
        until = trio.current_time() + door.duration_loop_s
        match door:
            case RefuseConnections(accepts=True):
                self._empty_until_loop_s = until
            case RefuseConnections():
                self._shut_until_loop_s = until
                for scope in self._open:
                    scope.cancel()
            case SilentHandshake():
                self._silent_until_loop_s = until
            case _:
                assert_never(door)

    @property
    def turns_away(self) -> bool:
        """Whoever comes is closed at once."""
        return trio.current_time() < max(self._shut_until_loop_s, self._empty_until_loop_s)

    @property
    def silent(self) -> bool:
        """Whoever comes is never answered."""
        return trio.current_time() < self._silent_until_loop_s

    async def accept(
        self, listeners: list[trio.SocketListener], host: str, port: int, nursery: trio.Nursery
    ) -> None:
        """Take connections for ever; when the door is shut, the port is closed, and opened again after."""
        while True:
            with trio.CancelScope() as scope:
                self._open.append(scope)
                await trio.serve_listeners(self._serve, listeners, handler_nursery=nursery)
            self._open.remove(scope)
            while trio.current_time() < self._shut_until_loop_s:
                await trio.sleep_until(self._shut_until_loop_s)
            listeners = await trio.open_tcp_listeners(port, host=host)


async def ignore(stream: trio.abc.Stream) -> None:
    """Take whatever comes and never answer, until the other side has enough of it."""
    async with stream:
        try:
            while await stream.receive_some(_RECEIVE_BYTES):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
