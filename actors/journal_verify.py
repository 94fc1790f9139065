"""`verify`: whether a journal can be relied on, and if not, up to where. It changes nothing.

It may run beside the system: what it says is of one moment. The writer makes the same examination at each
start and refuses to trade on what it finds here.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from actors.event_log import NoJournal, journal_file, read_only
from actors.journal_check import Findings, examine, settled_wal_damage
from actors.journal_program import next_is, program
from actors.journal_tables import Screen
from protocol.event_text import clock

SOUND_EXIT, DAMAGED_EXIT, NO_JOURNAL_EXIT = 0, 1, 2


def verify(state: Path, *, as_json: bool) -> int:
    """0 sound, 1 damaged or written by another version, 2 nothing there to verify."""
    try:
        path = journal_file(state)
        found = verified(path)
    except NoJournal as nothing:
        print(f"{program()}: {nothing}", file=sys.stderr)
        return NO_JOURNAL_EXIT
    if as_json:
        sys.stdout.write(orjson.dumps(_to_dict(path, found)).decode() + "\n")
    else:
        _show(path, found)
        next_is(*_what_next(state, found))
    sys.stdout.flush()
    return SOUND_EXIT if found.sound else DAMAGED_EXIT


def verified(path: Path) -> Findings:
    """All that can be said against a journal. Raises `NoJournal` when the disk does not let it be read."""
    connection = None
    try:
        torn = settled_wal_damage(path)
        connection = read_only(path)
        # One transaction, so that all of it is of one moment, whatever is being written.
        connection.execute("BEGIN")
        found = examine(connection, read_rows=True)
    except sqlite3.OperationalError as error:
        raise NoJournal(f"--state: {path.parent}: the journal cannot be read: {error}") from error
    except sqlite3.DatabaseError as error:
        return Findings(damage=(f"SQLite cannot read it: {error}",))
    finally:
        if connection is not None:
            connection.close()
    return found if torn is None else found.with_damage(torn)


def _sizes(path: Path) -> tuple[int, int]:
    """Bytes of the database, and of the WAL beside it."""
    wal = path.with_name(path.name + "-wal")
    return path.stat().st_size, wal.stat().st_size if wal.exists() else 0


def _to_dict(path: Path, found: Findings) -> dict[str, Any]:
    size, wal = _sizes(path)
    return {
        "journal": str(path),
        "sound": found.sound,
        "damage": list(found.damage),
        "unreadable": list(found.unreadable),
        "last_sound_row": found.rows,
        "rows": found.rows,
        "streams": found.streams,
        "first_at": None if found.first_at is None else found.first_at.isoformat(),
        "last_at": None if found.last_at is None else found.last_at.isoformat(),
        "head_hash": found.head_hash.hex(),
        "bytes": size,
        "wal_bytes": wal,
        "kinds": dict(sorted(found.kinds.items())),
        "versions": {str(version): count for version, count in sorted(found.versions.items())},
    }


def _show(path: Path, found: Findings) -> None:
    screen = Screen()
    screen.say(f"{path}: {'sound' if found.sound else 'not to be relied on'}")
    for line in _lines(path, found):
        screen.say(line)
    kinds = sorted(found.kinds.items(), key=lambda each: (-each[1], each[0]))
    screen.table(("event type", "rows"), kinds, right="rows")


def _lines(path: Path, found: Findings) -> Iterator[str]:
    for fault in found.damage:
        yield f"damage: {fault}"
    for fault in found.unreadable:
        yield f"of another version: {fault}"
    sound = "last sound row" if found.damage else "rows"
    yield f"{sound}: {found.rows}, in {found.streams} streams"
    if found.first_at is not None and found.last_at is not None:
        yield f"from {clock(found.first_at)} to {clock(found.last_at)}, New York time"
    yield f"head hash: {found.head_hash.hex()}"
    size, wal = _sizes(path)
    yield f"size: {size} bytes, and {wal} in the WAL"
    versions = ", ".join(f"{version} ({count} rows)" for version, count in sorted(found.versions.items()))
    yield f"schema: {versions or 'no rows yet'}"


def _what_next(state: Path, found: Findings) -> tuple[str, ...]:
    if found.damage:
        return (f"events --state {state} --json > saved.jsonl", f"positions --state {state}")
    return (f"positions --closed --state {state}", f"events --state {state}")
