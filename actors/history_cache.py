"""Historical bars on disk, so that a restart asks the broker only for what it has not seen.

One SQLite file beside the journal, a row for each symbol, size of bars and day of New York. It is a copy
of what the broker can say again: a file that is damaged, or that belongs to another market, is thrown away
and begun anew. Nothing here may keep the system from trading.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Final, TypeVar

import orjson
import structlog

from protocol.exchange.calendar import NEW_YORK
from protocol.values import Bar, Symbol

T = TypeVar("T")

FILE: Final = "history.sqlite3"
KEPT_DAYS: Final = 40
"""Calendar days kept before the newest one of a series: the longest look back is twenty sessions."""

_SCHEMA_VERSION: Final = 1
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS day (
    symbol TEXT NOT NULL, bar_s INTEGER NOT NULL, day TEXT NOT NULL, bars BLOB NOT NULL,
    check_sum INTEGER NOT NULL,
    PRIMARY KEY (symbol, bar_s, day)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS origin (source TEXT NOT NULL) STRICT;
"""

log = structlog.get_logger("history")


class DamagedRow(ValueError):
    """A row does not hold what was written."""


class HistoryCache:
    """The store of a state folder, for one thread. `source` names the market that its bars are of."""

    def __init__(self, path: Path, source: str) -> None:
        self._path, self._source = path, source
        self._connection: sqlite3.Connection | None = None
        self._try(self._open, None)

    def bars(self, symbol: Symbol, bar_s: int) -> tuple[Bar, ...]:
        """What is kept of one size, oldest first."""
        return self._try(lambda: self._read(symbol, bar_s), ())

    def keep(self, symbol: Symbol, bar_s: int, bars: tuple[Bar, ...], *, changed: int) -> None:
        """Keep exactly `bars`, of which all but the last `changed` are kept already."""
        self._try(lambda: self._write(symbol, bar_s, bars, changed), None)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, work: Callable[[], T], otherwise: T) -> T:
        """Do it, or throw the file away and do without."""
        try:
            return work()
        except (sqlite3.DatabaseError, DamagedRow, OSError) as error:
            log.warning("the kept history is thrown away", path=str(self._path), reason=str(error))
        try:
            self._throw_away()
            self._open()
        except (sqlite3.DatabaseError, OSError) as error:
            log.warning("history is not kept", path=str(self._path), reason=str(error))
            self.close()
        return otherwise

    def _throw_away(self) -> None:
        self.close()
        for path in (self._path, self._path.with_name(self._path.name + "-journal")):
            path.unlink(missing_ok=True)

    def _open(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._connection = connection = sqlite3.connect(self._path, isolation_level=None)
        # What a power loss takes is asked of the broker again.
        connection.execute("PRAGMA synchronous = OFF")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"it was written by another version ({version})")
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        connection.executescript(_TABLES)
        if connection.execute("SELECT source FROM origin").fetchall() != [(self._source,)]:
            with self._transaction(connection):
                connection.execute("DELETE FROM origin")
                connection.execute("DELETE FROM day")
                connection.execute("INSERT INTO origin VALUES (?)", (self._source,))

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        connection.execute("BEGIN")
        yield
        connection.execute("COMMIT")

    def _read(self, symbol: Symbol, bar_s: int) -> tuple[Bar, ...]:
        if self._connection is None:
            return ()
        found = self._connection.execute(
            "SELECT bars, check_sum FROM day WHERE symbol = ? AND bar_s = ? ORDER BY day", (symbol, bar_s)
        )
        return tuple(bar for packed, check_sum in found for bar in _unpack(packed, check_sum))

    def _write(self, symbol: Symbol, bar_s: int, bars: tuple[Bar, ...], changed: int) -> None:
        connection = self._connection
        if connection is None or not bars:
            return
        days = [(day, tuple(of_day)) for day, of_day in groupby(bars, _day)]
        first_changed = _day(bars[-changed]) if changed < len(bars) else days[0][0]
        oldest = max(days[0][0], days[-1][0] - timedelta(days=KEPT_DAYS))
        with self._transaction(connection):
            connection.execute(
                "DELETE FROM day WHERE symbol = ? AND bar_s = ? AND (day < ? OR day >= ?)",
                (symbol, bar_s, oldest.isoformat(), first_changed.isoformat()),
            )
            connection.executemany(
                "INSERT INTO day VALUES (?, ?, ?, ?, ?)",
                [
                    (symbol, bar_s, day.isoformat(), packed := _pack(of_day), zlib.crc32(packed))
                    for day, of_day in days
                    if day >= max(first_changed, oldest)
                ],
            )


def _day(bar: Bar) -> date:
    return bar.start.astimezone(NEW_YORK).date()


def _pack(bars: tuple[Bar, ...]) -> bytes:
    return orjson.dumps(
        [(bar.start.timestamp(), bar.open, bar.high, bar.low, bar.close, bar.volume) for bar in bars]
    )


def _unpack(packed: bytes, check_sum: int) -> list[Bar]:
    if zlib.crc32(packed) != check_sum:
        raise DamagedRow("a day of bars does not match its check sum")
    return [Bar(datetime.fromtimestamp(at, UTC), *prices) for at, *prices in orjson.loads(packed)]
