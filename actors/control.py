"""The control connection of the running system: a Unix socket, a line of JSON in, a line of JSON out.

An actor at the edge. Nothing that trades waits for it: each answer is made in one turn of the loop, the
number of turns a second is bounded, and a client who stalls, floods or sends nonsense costs his own
connection only. Who may ask is the operating system's word (SO_PEERCRED): the same user, and root.
What is asked and answered is in `protocol/control_messages.py`, what is done in `operator.py`.
"""

from __future__ import annotations

import os
import pwd
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import structlog
import trio

from actors.control_places import (
    POINTER,
    RunningNote,
    note_run,
    socket_place,
    take_away,
    write_private,
)
from protocol.control_answers import Answer, Declined
from protocol.control_messages import MAX_LINE_BYTES, BadRequest, read_request, write_answer
from protocol.control_requests import Ask, Request

MAX_CONNECTIONS: Final = 16
BACKLOG: Final = 16
REQUEST_LOOP_S: Final = 30.0
"""How long a client may take for a request, from the answer before it or from its connection on."""
ANSWER_LOOP_S: Final = 5.0
"""How long a client may take to read an answer."""
ASKS_PER_S, DEEDS_PER_S = 10.0, 20.0
"""Of all clients together. The status of sixty symbols costs 3 ms of everybody's loop, other answers less."""
BURST: Final = 20
_RECEIVE_BYTES: Final = 16_384
_CREDENTIALS: Final = struct.Struct("3i")

log = structlog.get_logger("control")


class Operator(Protocol):
    """Who answers; see `actors/operator.py`."""

    def answer(self, request: Request, user: str) -> Answer: ...


class Turns:
    """At most `per_s` in the long run and `burst` at once; who comes early waits in line."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._step_loop_s = 1.0 / per_s
        self._burst_loop_s = burst / per_s
        self._booked_until = 0.0

    async def take(self) -> None:
        now = trio.current_time()
        self._booked_until = max(self._booked_until, now) + self._step_loop_s
        await trio.sleep(max(0.0, self._booked_until - self._burst_loop_s - now))


class Control:
    """One for each run. `state` is its state folder, `what` says in a few words what runs there."""

    def __init__(
        self,
        operator: Operator,
        state: Path,
        *,
        what: str,
        alarm: Callable[[str, str], None],
        user_id: int | None = None,
    ) -> None:
        """`user_id`: whose requests are taken, beside root's; the process's own user unless a test says."""
        self._operator, self._state, self._what, self._alarm = operator, state, what, alarm
        self._user_id = os.getuid() if user_id is None else user_id
        self._asks, self._deeds = Turns(ASKS_PER_S, BURST), Turns(DEEDS_PER_S, BURST)
        self._connections = 0
        self.socket: Path | None = None
        """Where clients connect, while it runs."""

    async def run(
        self, _epoch: int = 0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve for ever. A run that cannot be reached trades on, with an alarm."""
        left: list[Path] = []
        try:
            listener = self._open(left)
        except OSError as error:
            self._alarm("NO_CONTROL", f"this run cannot be controlled from another terminal: {error}")
            take_away(left)
            task_status.started()
            await trio.sleep_forever()
            return
        task_status.started()
        try:
            await trio.serve_listeners(self.serve, [listener])
        finally:
            self.socket = None
            take_away(left)

    def _open(self, left: list[Path]) -> trio.SocketListener:
        """The listening socket; `left` collects what has to be taken away at the end."""
        place = socket_place(self._state)
        # The state folder's lock is ours, so whatever stands there was left by a run that is gone.
        place.unlink(missing_ok=True)
        pointer = self._state / POINTER
        pointer.unlink(missing_ok=True)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            opened.bind(os.fspath(place))
            left.append(place)
            place.chmod(0o600)
            opened.listen(BACKLOG)
            opened.setblocking(False)
            if place.parent != self._state.absolute():
                write_private(pointer, os.fsencode(place))
                left.append(pointer)
        except OSError:
            opened.close()
            raise
        self.socket = place
        self._note(place, left)
        return trio.SocketListener(trio.socket.from_stdlib_socket(opened))

    def _note(self, place: Path, left: list[Path]) -> None:
        note = RunningNote(
            pid=os.getpid(), state=str(self._state.absolute()), socket=str(place), what=self._what
        )
        try:
            left.append(note_run(note))
        except OSError as error:
            # It is reached by its folder all the same.
            log.warning("run not noted, clients need --state", reason=str(error))

    # --- one client ---------------------------------------------------------------------------------

    async def serve(self, stream: trio.SocketStream) -> None:
        """One client, to its end."""
        async with stream:
            try:
                await self._serve(stream)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return

    async def _serve(self, stream: trio.SocketStream) -> None:
        user = self._user_of(stream)
        if user is None:
            await _send(stream, Declined(problems=("only the user who runs it may control it",)))
            return
        if self._connections >= MAX_CONNECTIONS:
            await _send(stream, Declined(problems=(f"{MAX_CONNECTIONS} clients are connected already",)))
            return
        self._connections += 1
        try:
            await self._converse(stream, user)
        finally:
            self._connections -= 1

    async def _converse(self, stream: trio.SocketStream, user: str) -> None:
        unread = bytearray()
        while True:
            with trio.move_on_after(REQUEST_LOOP_S) as patience:
                line = await _line(stream, unread)
            if patience.cancelled_caught or not line:
                return
            if len(line) > MAX_LINE_BYTES:
                await _send(stream, Declined(problems=(f"a request has at most {MAX_LINE_BYTES} bytes",)))
                return
            if not await _send(stream, await self._answer(line, user)):
                return

    async def _answer(self, line: bytes, user: str) -> Answer:
        try:
            request = read_request(line)
        except BadRequest as bad:
            await self._asks.take()
            return Declined(problems=bad.problems)
        # Apart, so that nobody who only looks holds up a hand on the switch.
        await (self._asks if isinstance(request, Ask) else self._deeds).take()
        return self._operator.answer(request, user)

    def _user_of(self, stream: trio.SocketStream) -> str | None:
        """The user's name; None for one who may not ask."""
        option = getattr(socket, "SO_PEERCRED", None)
        if option is None:
            # Without the operating system's word, the modes of folder and socket have to do.
            return _name_of(self._user_id)
        told = stream.socket.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
        _, user_id, _ = _CREDENTIALS.unpack(told)
        return _name_of(user_id) if user_id in (self._user_id, 0) else None


def _name_of(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return f"user {user_id}"


async def _line(stream: trio.SocketStream, unread: bytearray) -> bytes:
    """The next line without its end; empty when the client is done, too long when it is too long."""
    while True:
        end = unread.find(b"\n")
        if end >= 0 or len(unread) > MAX_LINE_BYTES:
            line = bytes(unread[: end if end >= 0 else len(unread)])
            del unread[: len(line) + 1]
            if line.strip():
                return line
            continue
        received = await stream.receive_some(_RECEIVE_BYTES)
        if not received:
            return b""
        unread += received


async def _send(stream: trio.SocketStream, answer: Answer) -> bool:
    """False when the client did not read in time."""
    with trio.move_on_after(ANSWER_LOOP_S) as patience:
        await stream.send_all(write_answer(answer))
    return not patience.cancelled_caught
