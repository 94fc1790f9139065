"""The books of the simulated TWS on disk: what must survive a restart of the program.

A SQLite file in the state folder, in one transaction per batch of happenings: orders, executions and
charges a row each (only what changed is written), the rest of the venue as one row, and market time.
WAL with NORMAL: nothing that was written is lost when the process is killed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import attrs
import orjson
from cattrs import BaseValidationError
from cattrs.preconf.orjson import make_converter

from protocol.exchange.book import OrderRecord
from protocol.exchange.fault_armed import FaultState
from protocol.exchange.happenings import CommissionCharged, VenueExecution
from protocol.exchange.snapshot import VenueSnapshot, snapshot_from_json, snapshot_to_json

FILE_NAME = "simulated_tws.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (perm_id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS executions (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS charges (number INTEGER PRIMARY KEY, body BLOB NOT NULL);
"""
_LOCK_WAIT_S = 1.0
"""A process that has just died lets go of the file at once; longer means that one is alive."""

_converter = make_converter()
_converter.register_unstructure_hook(Decimal, str)
_converter.register_structure_hook(Decimal, lambda text, _: Decimal(text))
_converter.register_unstructure_hook(Fraction, str)
_converter.register_structure_hook(Fraction, lambda text, _: Fraction(text))

_T = TypeVar("_T")


class StateError(Exception):
    """The state folder cannot be used; one line that says why and what to do."""


@attrs.frozen
class SavedState:
    """`venue` was so at `venue_at`; nothing happened there from then until `market_at`."""

    venue: VenueSnapshot
    venue_at: datetime
    market_at: datetime
    faults: tuple[FaultState, ...] = ()


class BooksFile:
    """One process has it open at a time."""

    def __init__(self, folder: Path, market: str) -> None:
        """`market` says in words which market the books belong to; another one's books are refused."""
        self._path = folder / FILE_NAME
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._db = sqlite3.connect(self._path, timeout=_LOCK_WAIT_S, isolation_level=None)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript("BEGIN IMMEDIATE;" + _SCHEMA + "COMMIT;")
            known = self._meta("market")
        except OSError as error:
            raise StateError(f"{folder}: cannot be the state folder: {error.strerror}") from error
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}{_advice(error)}") from error
        if known is None:
            self._set("market", market.encode())
        elif known.decode() != market:
            self._db.close()
            raise StateError(
                f"{self._path}: holds the books of another market ({known.decode()}), this one is {market}; "
                "give another --state folder"
            )
        self._orders: dict[int, OrderRecord] = {}
        self._executions = self._charges = 0

    def load(self) -> SavedState | None:
        """What was saved last; None when the folder is new."""
        try:
            counted = self._meta("faults")
            faults = () if counted is None else _converter.loads(counted, tuple[FaultState, ...])
            core, venue_at, market_at = self._meta("venue"), self._meta("venue_at"), self._meta("market_at")
            if core is None or venue_at is None or market_at is None:
                return None
            venue = attrs.evolve(
                snapshot_from_json(core),
                orders=self._rows("SELECT body FROM orders ORDER BY perm_id", OrderRecord),
                executions=self._rows("SELECT body FROM executions ORDER BY number", VenueExecution),
                charges=self._rows("SELECT body FROM charges ORDER BY number", CommissionCharged),
            )
        except (sqlite3.Error, orjson.JSONDecodeError, BaseValidationError) as error:
            raise StateError(f"{self._path}: is damaged ({error}){_advice(error)}") from error
        self._orders = {record.view.perm_id: record for record in venue.orders}
        self._executions, self._charges = len(venue.executions), len(venue.charges)
        return SavedState(venue, _moment(venue_at), _moment(market_at), faults)

    def save(self, venue: VenueSnapshot, at: datetime, faults: tuple[FaultState, ...] | None = None) -> None:
        """The venue as it is at `at`; when this returns it survives the death of the process.

        `faults`: how far they have counted; None leaves what was saved last.
        """
        core = snapshot_to_json(attrs.evolve(venue, orders=(), executions=(), charges=()))
        changed = [record for record in venue.orders if self._orders.get(record.view.perm_id) is not record]
        new = sum(record.view.perm_id not in self._orders for record in changed)
        gone: list[int] = []
        if len(self._orders) + new > len(venue.orders):
            gone = sorted(self._orders.keys() - {record.view.perm_id for record in venue.orders})
        stamp = at.isoformat().encode()
        self._db.execute("BEGIN")
        self._db.executemany("DELETE FROM orders WHERE perm_id = ?", [(perm_id,) for perm_id in gone])
        self._db.executemany(
            "INSERT OR REPLACE INTO orders VALUES (?, ?)",
            [(record.view.perm_id, _converter.dumps(record)) for record in changed],
        )
        self._append("executions", self._executions, venue.executions[self._executions :])
        self._append("charges", self._charges, venue.charges[self._charges :])
        for key, value in (("venue", core), ("venue_at", stamp), ("market_at", stamp)):
            self._set(key, value)
        if faults is not None:
            self._set("faults", _converter.dumps(faults))
        self._db.execute("COMMIT")
        self._orders.update((record.view.perm_id, record) for record in changed)
        for perm_id in gone:
            del self._orders[perm_id]
        self._executions, self._charges = len(venue.executions), len(venue.charges)

    def save_time(self, at: datetime) -> None:
        """Market time has come to `at` and nothing has happened since the venue was saved."""
        self._set("market_at", at.isoformat().encode())

    def close(self) -> None:
        self._db.close()

    def _append(self, table: str, first: int, values: Iterable[object]) -> None:
        self._db.executemany(
            f"INSERT INTO {table} VALUES (?, ?)",  # noqa: S608 - the name is one of ours
            [(number, _converter.dumps(value)) for number, value in enumerate(values, first)],
        )

    def _rows(self, query: str, kind: type[_T]) -> tuple[_T, ...]:
        return tuple(_converter.loads(body, kind) for (body,) in self._db.execute(query))

    def _meta(self, key: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def _set(self, key: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _moment(text: bytes) -> datetime:
    return datetime.fromisoformat(text.decode())


def _advice(error: Exception) -> str:
    if "locked" in str(error):
        return "; another simulated TWS uses this folder"
    return "; move the file away to begin with new books"
