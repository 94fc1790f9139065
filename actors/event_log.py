"""A journal read by somebody else than its writer: read-only, while the system runs or after it.

SQLite in WAL mode lets readers in beside the one writer, so nothing here takes the folder's lock, and
nothing waits for a reader: each page is a transaction of its own. What is read is decoded strictly, but the
chain of hashes is not walked; that is the writer's business at its start.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import trio

from actors.journal import PAGE_ROWS
from actors.journal_check import DATABASE
from protocol.journal import JournalRow, decode

GLANCE_LOOP_S: Final = 0.2
"""How often a follower looks for news: a person reads no faster."""
BUSY_LOOP_S: Final = 5.0
"""How long SQLite may wait for a checkpoint to let it in."""


class NoJournal(ValueError):
    """There is no journal to read there; the message says why."""


def journal_file(folder: Path) -> Path:
    """The journal in a state folder. Raises `NoJournal`."""
    path = folder / DATABASE
    if not folder.exists():
        raise NoJournal(f"--state: {folder}: there is no such folder")
    if not folder.is_dir():
        raise NoJournal(f"--state: {folder}: is not a folder")
    if not path.is_file():
        raise NoJournal(f"--state: {folder}: holds no journal ({DATABASE})")
    return path


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that cannot change the journal and that its writer does not notice."""
    return sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_LOOP_S
    )


class EventLog:
    """Use `open`, and `close` at the end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, folder: Path) -> EventLog:
        """The journal of a state folder. Raises `NoJournal`."""
        path = journal_file(folder)
        connection = None
        try:
            connection = read_only(path)
            connection.execute("SELECT seq, stream, kind, version, payload FROM event LIMIT 1").fetchall()
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise NoJournal(f"--state: {folder}: the journal cannot be read: {error}") from error
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rows(
        self, *, after: int = 0, kinds: Collection[str] = (), streams: Collection[str] = ()
    ) -> Iterator[JournalRow]:
        """The rows with `seq` > `after`, in order, up to the last one there is when the end is reached.

        `kinds` and `streams` empty: all. Raises `UnreadableRow` for what another version wrote.
        """
        wanted = [f"{column} IN ({', '.join('?' * len(among))})" for column, among in (
            ("kind", kinds), ("stream", streams)
        ) if among]  # fmt: skip
        query = " AND ".join(["SELECT seq, stream, kind, version, payload FROM event WHERE seq > ?", *wanted])
        while True:
            page = self._connection.execute(
                f"{query} ORDER BY seq LIMIT {PAGE_ROWS}", (after, *kinds, *streams)
            ).fetchall()
            for seq, of, kind, version, payload in page:
                event = decode(kind, version, payload)
                yield JournalRow(seq, of, kind, event.at, event)
            if len(page) < PAGE_ROWS:
                return
            after = page[-1][0]

    @property
    def head(self) -> int:
        """The `seq` of the last row, 0 for an empty journal."""
        found = self._connection.execute("SELECT max(seq) FROM event").fetchone()
        return int(found[0] or 0)

    def meta(self, key: str) -> str | None:
        """A fact beside the events."""
        found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    async def follow(
        self, *, after: int, kinds: Collection[str] = (), glance_loop_s: float = GLANCE_LOOP_S
    ) -> AsyncIterator[JournalRow]:
        """The rows with `seq` > `after` as they are written, for ever."""
        while True:
            for row in self.rows(after=after, kinds=kinds):
                after = row.seq
                yield row
            await trio.sleep(glance_loop_s)
