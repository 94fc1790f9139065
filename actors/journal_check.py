"""Whether a journal says reliably what happened, row by row: asked by its writer at opening, and by people.

It only reads. SQLite's own check sees torn pages and an index that does not fit its table; the chain of
hashes sees a flipped bit, a missing row and a foreign one; `wal_damage` sees what SQLite would take for a
torn end of the WAL. What is sound before the first fault is told, too: a person may want to save it.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs

from actors.wal import wal_damage
from protocol.journal import GENESIS, UnreadableRow, check_known, decode, link, meta_check

DATABASE: Final = "journal.sqlite3"
SCHEMA: Final = """
BEGIN;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY, stream TEXT NOT NULL, kind TEXT NOT NULL, version INTEGER NOT NULL,
    payload BLOB NOT NULL, hash BLOB NOT NULL, wall REAL NOT NULL
) STRICT;
CREATE INDEX event_by_stream ON event (stream, seq);
CREATE TABLE meta (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
COMMIT;
"""
_TABLES: Final = sorted(
    statement.strip() for statement in SCHEMA.split(";") if statement.strip().startswith("CREATE")
)
LOOKS: Final = 4
LOOK_AGAIN_WALL_S: Final = 0.05
"""A WAL that is being written is looked at again before it is called damaged."""
_Row = tuple[int, str, str, int, bytes, bytes]


@attrs.frozen(kw_only=True)
class Findings:
    """What a walk over a whole journal has found; `rows` and all that counts is of the sound rows."""

    rows: int = 0
    head_hash: bytes = GENESIS
    kinds: Mapping[str, int] = attrs.Factory(dict)
    versions: Mapping[int, int] = attrs.Factory(dict)
    streams: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    """Market time of the first and the last sound row; None where nobody asked to read them."""
    damage: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    """What another version of the system wrote: nothing is lost, but this one must not guess."""

    @property
    def sound(self) -> bool:
        return not self.damage and not self.unreadable

    def with_damage(self, fault: str) -> Findings:
        """The same, with a fault found elsewhere put first."""
        return attrs.evolve(self, damage=(fault, *self.damage))


def tables(connection: sqlite3.Connection) -> list[str]:
    """How its tables were made, in an order that does not matter."""
    found = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return sorted(sql for (sql,) in found)


def examine(connection: sqlite3.Connection, *, read_rows: bool = False) -> Findings:
    """Walk over all of it. `read_rows` also reads what each row says, which takes four times as long.

    An error of the disk is raised (`sqlite3.OperationalError`); any other word of SQLite is damage.
    """
    walk = _Walk(read_rows=read_rows)
    try:
        made = tables(connection)
        if not made:
            return walk.findings()
        if made != _TABLES:
            return Findings(damage=("its tables are not those of a journal",))
        walk.rows(connection)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        walk.damage.append(f"row {walk.seq + 1} or one behind it cannot be read: {error}")
    if not walk.damage:
        walk.damage += _beside_the_rows(connection, walk.seq)
    return walk.findings()


class _Walk:
    def __init__(self, *, read_rows: bool) -> None:
        self.seq, self.damage = 0, list[str]()
        self._read_rows, self._hash = read_rows, GENESIS
        self._kinds, self._streams = Counter[tuple[str, int]](), set[str]()
        self._unreadable: dict[str, None] = {}
        self._first_at: datetime | None = None
        self._last_at: datetime | None = None

    def rows(self, connection: sqlite3.Connection) -> None:
        for row in connection.execute(
            "SELECT seq, stream, kind, version, payload, hash FROM event ORDER BY seq"
        ):
            if not self._follows(*row):
                return
            self._streams.add(row[1])
            self._kinds[row[2], row[3]] += 1
            if self._read_rows:
                self._read(row)

    def _follows(self, seq: int, stream: str, kind: str, version: int, payload: bytes, found: bytes) -> bool:
        if seq != self.seq + 1:
            self.damage.append(f"row {self.seq + 1} is missing")
            return False
        expected = link(self._hash, seq, stream, kind, version, payload)
        if found != expected:
            self.damage.append(f"row {seq} is not what was written (its hash differs)")
            return False
        self.seq, self._hash = seq, expected
        return True

    def _read(self, row: _Row) -> None:
        seq, _, kind, version, payload, _ = row
        try:
            at = decode(kind, version, payload).at
        except UnreadableRow as unreadable:
            self._unreadable.setdefault(f"row {seq}: {unreadable}")
            return
        self._first_at = self._first_at or at
        self._last_at = at

    def findings(self) -> Findings:
        kinds, versions = Counter[str](), Counter[int]()
        for (kind, version), count in self._kinds.items():
            kinds[kind] += count
            versions[version] += count
            try:
                check_known(kind, version)
            except UnreadableRow as unreadable:
                self._unreadable.setdefault(str(unreadable))
        return Findings(
            rows=self.seq, head_hash=self._hash, kinds=kinds, versions=versions, streams=len(self._streams),
            first_at=self._first_at, last_at=self._last_at, damage=tuple(self.damage),
            unreadable=tuple(self._unreadable),
        )  # fmt: skip


def _beside_the_rows(connection: sqlite3.Connection, rows: int) -> Iterator[str]:
    """What is wrong with the file, its small facts and its index, where the rows themselves are sound."""
    try:
        # Not quick_check, which does not compare an index with its table: a stream is read by it.
        for (verdict,) in connection.execute("PRAGMA integrity_check"):
            if verdict != "ok":
                yield f"SQLite's check says: {verdict}"
        for key, value, found in connection.execute("SELECT key, value, hash FROM meta"):
            if found != meta_check(key, value):
                yield f"the entry {key!r} is not what was written (its hash differs)"
        # The index could still lead readers past rows that are there.
        (indexed,) = connection.execute("SELECT count(*) FROM event INDEXED BY event_by_stream").fetchone()
        if indexed != rows:
            yield f"the index holds {indexed} of {rows} rows"
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        yield f"SQLite cannot read it: {error}"


def settled_wal_damage(database: Path) -> str | None:
    """The same as `wal_damage`, of a WAL that somebody may be writing: only what stays wrong is damage."""
    damage = None
    for _ in range(LOOKS):
        damage = wal_damage(database)
        if damage is None:
            return None
        time.sleep(LOOK_AGAIN_WALL_S)
    return damage
