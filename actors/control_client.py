"""The other end of the control connection: a program of its own that asks one thing and ends.

Plain blocking sockets with a time-out: nothing else happens in the process meanwhile.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Final

import attrs

from actors.control_places import RunningNote, noted_runs, socket_of
from protocol.control_answers import Answer, Declined
from protocol.control_messages import BadAnswer, read_answer, write_request
from protocol.control_requests import Request

TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 16_000_000


class NobodyAnswers(ConnectionError):
    """No running system is there to be asked; the message says what to do."""


class SeveralRun(ValueError):
    """Which one is meant has to be said; the message lists them."""


@attrs.frozen
class Address:
    """A running system that can be asked: its folder, its socket."""

    state: Path
    socket: Path

    def ask(self, request: Request) -> Answer:
        """The answer. Raises `NobodyAnswers`, and `BadAnswer` for a system of another version."""
        try:
            with _connected(self.socket) as connection:
                connection.sendall(write_request(attrs.evolve(request, tty=terminal_name())))
                line = _read_line(connection)
        except OSError as error:
            raise NobodyAnswers(_nobody_at(self.state, error.strerror or str(error))) from error
        if not line:
            raise NobodyAnswers(_nobody_at(self.state, "it hung up"))
        return read_answer(line)


def running_on(state: Path) -> Address | None:
    """The system that runs on this folder and takes connections; None when nobody does."""
    place = socket_of(state)
    return Address(state, place) if _takes_connections(place) else None


def find(state: Path | None) -> Address:
    """The system to ask: the one on `state`, or else the only one that this user runs.

    Raises `NobodyAnswers` and `SeveralRun`.
    """
    if state is not None:
        address = running_on(state)
        if address is None:
            raise NobodyAnswers(_nobody_at(state, "nobody answers there"))
        return address
    notes = running()
    if not notes:
        raise NobodyAnswers(
            "no running system of this user was found; start one with `supervisor.py`, or say with --state "
            "DIR where it runs or ran"
        )
    if len(notes) > 1:
        raise SeveralRun("\n".join(("several systems run; say with --state DIR which one:", *_listed(notes))))
    (note,) = notes
    return Address(Path(note.state), Path(note.socket))


def running() -> tuple[RunningNote, ...]:
    """The runs of this user that take connections."""
    found = {note.pid: note for note in noted_runs() if _takes_connections(Path(note.socket))}
    return tuple(found.values())


def terminal_name() -> str:
    """`pts/3`, or `script` where nobody sits at a terminal."""
    for stream in (sys.stdin, sys.stderr):
        try:
            return os.ttyname(stream.fileno()).removeprefix("/dev/")
        except (OSError, ValueError, AttributeError):
            continue
    return "script"


def declined(answer: Answer) -> tuple[str, ...]:
    """Why nothing was done; empty when it was."""
    return answer.problems if isinstance(answer, Declined) else ()


def _listed(notes: tuple[RunningNote, ...]) -> tuple[str, ...]:
    return tuple(f"  --state {note.state}   ({note.what}, process {note.pid})" for note in notes)


def _nobody_at(state: Path, reason: str) -> str:
    return (
        f"no running system answers for --state {state} ({reason}); `status --state {state}` tells what its "
        f"journal knows, `supervisor.py --state {state}` with the run's other options starts it again; "
        f"a file KILL in that folder holds it from then on"
    )


def _connected(place: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT_S)
    try:
        connection.connect(os.fspath(place))
    except OSError:
        connection.close()
        raise
    return connection


def _takes_connections(place: Path) -> bool:
    try:
        _connected(place).close()
    except OSError:
        return False
    return True


def _read_line(connection: socket.socket) -> bytes:
    read = bytearray()
    while not read.endswith(b"\n"):
        part = connection.recv(65_536)
        if not part:
            return b""
        read += part
        if len(read) > MAX_ANSWER_BYTES:
            raise BadAnswer("the answer has no end")
    return bytes(read)
