"""Where the control sockets are, and how a client finds the one of a run.

The socket lies in the state folder. A path that is too long for a Unix socket goes to the user's runtime
folder, and a file `control` in the state folder says where. Every run is also noted in the runtime folder,
one file for each process, so that a client finds the run of this user without being told its folder.
Everything here is private: folders 0700, files and sockets 0600, nothing reached through another's link.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs
import orjson
from cattrs import BaseValidationError, Converter

SOCKET: Final = "control.sock"
POINTER: Final = "control"
MAX_SOCKET_PATH: Final = 100
"""Bytes: `sun_path` holds 108 on Linux and 104 elsewhere, its end included."""
MAX_NOTE_BYTES: Final = 16_384


class NotPrivate(OSError):
    """A folder that should be this user's alone is not."""


@attrs.frozen(kw_only=True)
class RunningNote:
    """One running system, as it noted itself. `what` says it in a few words."""

    pid: int
    state: str
    socket: str
    what: str

    @property
    def alive(self) -> bool:
        """Whether its process is there; a number is given to another process one day."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def runtime_folders() -> tuple[Path, ...]:
    """Where runs of this user may be noted, the place for a new note first."""
    user = os.getuid()
    named = os.environ.get("XDG_RUNTIME_DIR")
    places = [Path(named) / "ringfence"] if named else []
    return (*places, Path(tempfile.gettempdir()) / f"ringfence-{user}")


def private_folder(folder: Path) -> Path:
    """The folder, made if need be. `NotPrivate` when somebody else made it, or others may enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotPrivate(f"{folder} is not a folder of this user's alone (0700); remove it or set it right")
    return folder


def runtime_folder() -> Path:
    """The first of them that can be had. OSError when none can."""
    *others, last = runtime_folders()
    for folder in others:
        try:
            return private_folder(folder)
        except OSError:
            continue
    return private_folder(last)


def socket_place(state: Path) -> Path:
    """Where the socket of a run on `state` belongs. OSError when it cannot be there."""
    own = state.absolute() / SOCKET
    if len(os.fsencode(own)) <= MAX_SOCKET_PATH:
        return own
    return runtime_folder() / f"{os.getpid()}.sock"


def socket_of(state: Path) -> Path:
    """Where a client finds the socket of the run on `state`, if there is one."""
    folder = state.absolute()
    try:
        return Path((folder / POINTER).read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return folder / SOCKET


# --- the notes --------------------------------------------------------------------------------------


def note_run(note: RunningNote) -> Path:
    """Write the note of a run, and take away those of processes that are gone. Raises OSError."""
    try:
        return _note_run(note)
    except FileNotFoundError:
        # The last run of others has just ended, and taken the folder with it.
        return _note_run(note)


def _note_run(note: RunningNote) -> Path:
    folder = runtime_folder()
    for old in folder.glob("*.json"):
        read = _read(old)
        if read is None or not read.alive:
            old.unlink(missing_ok=True)
    path = folder / f"{note.pid}.json"
    path.unlink(missing_ok=True)
    write_private(path, orjson.dumps(attrs.asdict(note)))
    return path


def take_away(paths: Iterable[Path]) -> None:
    """What a run has left, and the runtime folder with its last file."""
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in runtime_folders():
        try:
            folder.rmdir()
        except OSError:
            continue  # Others run, or it was never made.


def write_private(path: Path, content: bytes) -> None:
    """A new file that only this user may read; never through a link that stands there already."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(number, "wb") as file:
        file.write(content)


def noted_runs() -> Iterator[RunningNote]:
    """The runs of this user whose processes are there, the newest first."""
    for folder in runtime_folders():
        try:
            private = private_folder(folder) if folder.is_dir() else None
        except OSError:
            continue  # Somebody else's: what it says is not believed.
        if private is None:
            continue
        for path in sorted(private.glob("*.json"), key=_age, reverse=True):
            note = _read(path)
            if note is not None and note.alive:
                yield note


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _read(path: Path) -> RunningNote | None:
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(number, "rb") as file:
            told = orjson.loads(file.read(MAX_NOTE_BYTES))
        return _CONVERTER.structure(told, RunningNote) if isinstance(told, dict) else None
    except (OSError, ValueError, BaseValidationError):
        return None


_CONVERTER: Final = Converter(forbid_extra_keys=True)
