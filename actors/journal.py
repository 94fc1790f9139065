"""The journal on disk: one SQLite file in WAL mode, one writer, every row tied to the one before.

`append` has committed when it returns. With `synchronous = NORMAL` a commit is a write into the WAL and
no fsync: it survives `kill -9` of this process; what a power loss takes is asked of the broker again.
fsync happens in checkpoints, in a thread, while `keep` runs. A folder opens only when SQLite's own
check and the chain of hashes hold: SQLite's main file has no page checksums, the chain finds a flipped
bit there, and `wal_damage` finds one in the WAL, which SQLite takes for a torn end.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import sqlite3
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import trio

from actors.journal_check import DATABASE, SCHEMA, Findings, examine, tables
from actors.known_secrets import KNOWN
from actors.reserve import give_back, lay_by
from actors.wal import wal_damage
from protocol.events import AlarmEvent, BaseEvent
from protocol.journal import (
    GENESIS,
    SCHEMA_VERSION,
    JournalRow,
    UnreadableRow,
    decode,
    encode,
    link,
    meta_check,
)

LOCK = "journal.lock"
PAGE_ROWS = 200
"""Rows fetched at a time by a reader: short reads let checkpoints and other readers in."""
CHECKPOINT_LOOP_S = 2.0

_INSERT = "INSERT INTO event (seq, stream, kind, version, payload, hash, wall) VALUES (?, ?, ?, ?, ?, ?, ?)"
_ALL_ROWS = (
    "SELECT seq, stream, kind, version, payload FROM event"
    " WHERE seq > :after AND seq <= :end ORDER BY seq LIMIT :limit"
)
_ROWS_OF_KIND = (
    "SELECT seq, stream, kind, version, payload FROM event"
    " WHERE kind = :kind AND seq > :after AND seq <= :end ORDER BY seq LIMIT :limit"
)
_ROWS_OF_STREAM = (
    "SELECT seq, stream, kind, version, payload FROM event"
    " WHERE stream = :stream AND seq > :after AND seq <= :end ORDER BY seq LIMIT :limit"
)


class JournalInUse(RuntimeError):
    """Another process holds the folder: two instances must never trade one account."""


class JournalDamaged(ValueError):
    """The journal does not say reliably what happened; the message says what to do about it."""


class JournalFailed(OSError):
    """The disk refused: full, IO error. Sticky, since after a failed write nobody knows what is on disk."""


Follower = Callable[[str, Sequence[BaseEvent]], None]
E = TypeVar("E", bound=BaseEvent)


class Journal:
    """The one writer of a folder, used by the thread that opened it; only `checkpoint` may run elsewhere."""

    def __init__(
        self, connection: sqlite3.Connection, *, path: Path | None, lock: int | None, synchronous: bool
    ) -> None:
        """Use `open` or `memory`."""
        self.path = path
        self.synchronous = synchronous
        self._connection = connection
        self._lock = lock
        self._followers: list[Follower] = []
        self._failure: str | None = None
        self._last_at: datetime | None = None
        self._recorded = False
        self._checkpointed = self._seq = 0
        self._hash = GENESIS

    @classmethod
    def open(cls, folder: Path, *, synchronous: bool = False) -> Journal:
        """Open or create the journal of a state folder.

        `synchronous`: no background checkpoints, for runs under a mock clock. Raises `JournalInUse`,
        `JournalDamaged`, and `UnreadableRow` for the journal of another version.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = _lock(folder)
        path = folder / DATABASE
        try:
            damage = wal_damage(path)
            if damage is not None:
                raise _damaged(path, damage)
            journal = cls(_connect(path), path=path, lock=lock, synchronous=synchronous)
            journal._check()
        except (sqlite3.OperationalError, OSError) as error:
            os.close(lock)
            raise JournalFailed(f"the journal {path} cannot be opened: {error}") from error
        except sqlite3.DatabaseError as error:
            os.close(lock)
            raise _damaged(path, str(error)) from error
        except ValueError:
            os.close(lock)
            raise
        return journal

    @classmethod
    def memory(cls) -> Journal:
        """A journal that lives as long as this object."""
        journal = cls(_connect(":memory:"), path=None, lock=None, synchronous=True)
        journal._check()
        return journal

    def _check(self) -> None:
        """Prove what is there, find the end of the chain, and keep room for the last words."""
        try:
            self._check_rows()
            if self.path is not None:
                lay_by(self.path.parent)
        except (JournalDamaged, UnreadableRow, sqlite3.DatabaseError, OSError):
            self._connection.close()
            raise

    def _check_rows(self) -> None:
        found = examine(self._connection)
        if found.damage:
            raise _damaged(self.path or Path(":memory:"), _told(found))
        if found.unreadable:
            raise UnreadableRow(found.unreadable[0])
        if not tables(self._connection):
            self._connection.executescript(SCHEMA)
        self._seq, self._hash = found.rows, found.head_hash

    # --- writing -------------------------------------------------------------------------------

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """Write `events` in one transaction, committed on return, then tell the followers.

        `ValueError` for an event that could not be read back (nothing is written); `JournalFailed`
        when the disk refuses: then the system must stop trading.
        """
        if not events:
            return
        if self._failure is not None:
            raise JournalFailed(self._failure)
        events = [KNOWN.clean_event(event) for event in events]
        self._last_at = events[-1].at
        try:
            self._write(stream, events)
        except sqlite3.Error as error:
            self._fail(error)
            self.record_failure()
            raise JournalFailed(self._failure) from error
        for follower in self._followers:
            follower(stream, events)

    def _write(self, stream: str, events: Sequence[BaseEvent]) -> None:
        seq, chain, wall = self._seq, self._hash, time.time()
        rows = []
        for event in events:
            seq += 1
            kind, payload = type(event).__name__, encode(event)
            chain = link(chain, seq, stream, kind, SCHEMA_VERSION, payload)
            rows.append((seq, stream, kind, SCHEMA_VERSION, payload, chain, wall))
        if len(rows) == 1:
            self._connection.execute(_INSERT, rows[0])
        else:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.executemany(_INSERT, rows)
        self._seq, self._hash = seq, chain

    def _fail(self, error: sqlite3.Error) -> str:
        self._failure = f"the journal {self.path} cannot be written: {error}"
        return self._failure

    def record_failure(self) -> None:
        """Write down why this row is the last, in the room that is kept for it, and tell the followers.

        To be called by the writer's thread, once a write has failed. Nothing else is written any more.
        """
        at = self._last_at if self._last_at is not None else self._last_moment()
        if at is None or self._recorded:
            return
        self._recorded = True
        text = f"{self._failure}: nothing is entered any more, protective stops stand at the broker"
        halt = KNOWN.clean_event(AlarmEvent(at=at, code="JOURNAL_FAILED", text=text))
        with contextlib.suppress(OSError, sqlite3.Error):
            # Suppressed, since the disk may refuse this as well: the run ends for the reason it ends for.
            if self.path is not None:
                give_back(self.path.parent)
            self._write("system", [halt])
        for follower in self._followers:
            follower("system", [halt])

    def _last_moment(self) -> datetime | None:
        with contextlib.suppress(sqlite3.Error):
            return next((row.at for row in self.rows(after=self._seq - 1)), None)
        return None

    def follow(self, follower: Follower) -> None:
        """Tell `follower(stream, events)` of everything appended from now on, after its commit.

        It runs in the writer's turn: it must be quick and must not raise.
        """
        self._followers.append(follower)

    # --- reading -------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        """The `seq` of the last row, 0 for an empty journal."""
        return self._seq

    @property
    def head_hash(self) -> str:
        """The hash of the last row: equal for two journals exactly when all their rows are."""
        return self._hash.hex()

    def hash_at(self, seq: int) -> str | None:
        """The hash of a row, and with it of all before; None where there is no such row."""
        found = self._connection.execute("SELECT hash FROM event WHERE seq = ?", (seq,)).fetchone()
        return None if found is None else bytes(found[0]).hex()

    def row_behind(self, stream: str, after: int, count: int) -> int | None:
        """The `seq` of the `count`th row of a stream behind `after`; None where there are fewer."""
        found = self._connection.execute(
            "SELECT seq FROM event WHERE stream = ? AND seq > ? ORDER BY seq LIMIT 1 OFFSET ?",
            (stream, after, count - 1),
        ).fetchone()
        return None if found is None else int(found[0])

    def rows(self, stream: str | None = None, *, after: int = 0) -> Iterator[JournalRow]:
        """The rows that exist now, of one stream or of all, with `seq` > `after`, in order."""
        end = self._seq
        query = _ALL_ROWS if stream is None else _ROWS_OF_STREAM
        while True:
            page = self._connection.execute(
                query, {"after": after, "end": end, "stream": stream, "limit": PAGE_ROWS}
            ).fetchall()
            for seq, of, kind, version, payload in page:
                event = decode(kind, version, payload)
                yield JournalRow(seq, of, kind, event.at, event)
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def of_kind(self, kind: type[E]) -> Iterator[E]:
        """The events of exactly this type, of all streams, in order."""
        end, after = self._seq, 0
        while True:
            page = self._connection.execute(
                _ROWS_OF_KIND, {"after": after, "end": end, "kind": kind.__name__, "limit": PAGE_ROWS}
            ).fetchall()
            for _, _, name, version, payload in page:
                event = decode(name, version, payload)
                assert isinstance(event, kind)
                yield event
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    def read(self, stream: str | None = None) -> Iterator[BaseEvent]:
        """The events of one stream, or of all, in the order in which they were written."""
        return (row.event for row in self.rows(stream))

    # --- small facts beside the events ---------------------------------------------------------

    def get_meta(self, key: str) -> str | None:
        found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep one fact by name; committed on return."""
        if self._failure is not None:
            raise JournalFailed(self._failure)
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO meta (key, value, hash) VALUES (?, ?, ?)",
                (key, value, meta_check(key, value)),
            )
        except sqlite3.Error as error:
            self._fail(error)
            self.record_failure()
            raise JournalFailed(self._failure) from error

    def next_epoch(self, actor: str) -> int:
        """The number of the actor's next incarnation, from 1; never given twice, also not after a crash."""
        key = f"epoch:{actor}"
        epoch = int(self.get_meta(key) or 0) + 1
        self.set_meta(key, str(epoch))
        return epoch

    # --- checkpoints and the end ---------------------------------------------------------------

    def checkpoint(self) -> None:
        """Bring the WAL into the main file, with fsync. Any thread; the writer is not held up."""
        if self.path is None or self._checkpointed == self._seq:
            return
        seq = self._seq
        try:
            connection = sqlite3.connect(self.path, isolation_level=None)
            try:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                connection.close()
        except sqlite3.Error as error:
            # Never tried again: after a failed fsync the kernel may have dropped what was unwritten
            # and report success the next time (PostgreSQL panics for this reason since 2018).
            raise JournalFailed(self._fail(error)) from error
        self._checkpointed = seq

    def close(self) -> None:
        """Checkpoint, close, and let another process have the folder. Twice is once."""
        try:
            if self._lock is not None and self._failure is None:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            elif self._lock is not None and sys.version_info >= (3, 12):
                # Else the last connection checkpoints as it closes, and tries the fsync once more.
                self._connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        finally:
            self._connection.close()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None


async def keep(
    journal: Journal,
    *,
    period_loop_s: float = CHECKPOINT_LOOP_S,
    then: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The journal's actor: checkpoints every `period_loop_s`, off the loop's thread, for ever.

    `then` is called after each.
    """
    task_status.started()
    while True:
        # A mock clock would jump over a thread's work, so a synchronous journal only rests here.
        await trio.sleep(math.inf if journal.synchronous else period_loop_s)
        try:
            await trio.to_thread.run_sync(journal.checkpoint)
        except JournalFailed:
            # Here and not in the thread: only the writer writes.
            journal.record_failure()
            raise
        await then()


def _connect(database: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(database, isolation_level=None, cached_statements=32)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _lock(folder: Path) -> int:
    """Hold the folder for this process; the kernel lets go when the process ends, however it ends."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise JournalInUse(
            f"{folder} is in use by process {owner}: stop that one, or choose another --state folder"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _told(found: Findings) -> str:
    return f"{found.damage[0]}; the {found.rows} rows before are sound" if found.rows else found.damage[0]


def _damaged(path: Path, what: str) -> JournalDamaged:
    return JournalDamaged(
        f"the journal {path} is damaged: {what}. Nothing was changed and nothing will be traded on it. "
        f"Restore {path.parent} from a copy, or move it away and start with an empty folder: orders and "
        f"positions are then taken from the broker, and need a person to look at them first."
    )
