"""The section `[log]`: how much is logged of which part, and into which file."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from protocol.config_reading import COUNT, Range, Table, suggest
from protocol.log_limits import LEVELS
from protocol.settings import LogSettings

PARTS: Final = (
    "alarm", "alerts", "broker", "control", "history", "libraries", "recovery", "run", "supervisor",
    "watchdog",
)  # fmt: skip
"""The names of loggers; `libraries` is what others' code says."""
MIN_FILE_BYTES, MAX_FILE_BYTES = 10_000, 1_000_000_000
MAX_TOTAL_BYTES = 10_000_000_000
"""Of all files together: an error storm must not fill a disk by itself."""


def read_log(table: Table) -> LogSettings:
    """Levels, file and bounds; the keys are the names in `LogSettings`."""
    default = LogSettings()
    before = table.fault_count
    settings = LogSettings(
        level=_level(table, "level", default.level),
        levels=_read_levels(table),
        file=table.text("file", default.file),
        max_bytes=table.integer(
            "max_bytes", default.max_bytes, Range(Decimal(MIN_FILE_BYTES), Decimal(MAX_FILE_BYTES))
        ),
        keep=table.integer("keep", default.keep, Range(Decimal(1), Decimal(1000))),
        max_per_key_per_min=table.integer("max_per_key_per_min", default.max_per_key_per_min, COUNT),
    )
    table.close()
    total = settings.max_bytes * (settings.keep + 1)
    if table.fault_count == before and total > MAX_TOTAL_BYTES:
        table.fault(
            "keep", f"{settings.keep} and the one in use may hold {total} bytes, more than {MAX_TOTAL_BYTES}"
        )
    return settings


def _read_levels(table: Table) -> tuple[tuple[str, str], ...]:
    inner = table.table("levels")
    if inner is None:
        return ()
    found = []
    for part in inner.names:
        if part in PARTS:
            found.append((part, _level(inner, part, "info")))
        else:
            inner.refuse(part, f"no part is called that{suggest(part, PARTS)}")
    return tuple(found)


def _level(table: Table, key: str, default: str) -> str:
    word = table.text(key, default)
    if word in LEVELS:
        return word
    table.fault(key, f'no level "{word}"{suggest(word, tuple(LEVELS))}')
    return default


def describe_log(log: LogSettings) -> str:
    """One line for `--check`."""
    parts = "".join(f", {part} {level}" for part, level in log.levels)
    where = (
        f"and in {log.file}, {log.keep + 1} files of at most {log.max_bytes} bytes" if log.file else "alone"
    )
    limit = f"{log.max_per_key_per_min} lines a minute of a kind"
    return f"log: {log.level}{parts}; on standard error {where}; {limit}"
