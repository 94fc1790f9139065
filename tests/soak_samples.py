"""What a running process weighs, again and again, and how steeply it grows."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@attrs.frozen(kw_only=True)
class Sample:
    """One process at one moment. `life` counts its incarnations; `cpu_s` is of this one."""

    at_s: float
    life: int
    rss_kib: float
    threads: int
    fds: int
    cpu_s: float


@attrs.frozen(kw_only=True)
class FileSample:
    at_s: float
    journal_bytes: int
    wal_bytes: int
    rows: int
    log_bytes: int
    """Of what the program logs into files of its own, all generations."""
    said_bytes: int
    """Of its standard output and error, which nobody rotates."""


def sample_process(pid: int, at_s: float, life: int) -> Sample | None:
    """None when the process is gone."""
    folder = Path(f"/proc/{pid}")
    try:
        resident = int((folder / "statm").read_text().split()[1])
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        fds = len(os.listdir(folder / "fd"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Sample(
        at_s=at_s,
        life=life,
        rss_kib=resident * PAGE_KIB,
        threads=int(fields[17]),
        fds=fds,
        cpu_s=(int(fields[11]) + int(fields[12])) / TICKS_PER_S,
    )


def sample_files(state: Path, logs: Path, said: Path, at_s: float) -> FileSample:
    journal = state / "journal.sqlite3"
    return FileSample(
        at_s=at_s,
        journal_bytes=size(journal),
        wal_bytes=size(state / "journal.sqlite3-wal"),
        rows=rows_of(journal),
        log_bytes=sum(size(path) for path in logs.glob("*")),
        said_bytes=size(said),
    )


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def rows_of(journal: Path) -> int:
    """Read beside the writer."""
    if not journal.exists():
        return 0
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    try:
        (rows,) = connection.execute("SELECT COALESCE(MAX(seq), 0) FROM event").fetchone()
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
    return int(rows)


def kinds_of(journal: Path) -> dict[str, tuple[int, int]]:
    """Rows and bytes of payload by kind, the heaviest first."""
    connection = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
    rows = connection.execute(
        "SELECT kind, COUNT(*), SUM(LENGTH(payload)) FROM event GROUP BY kind ORDER BY 3 DESC"
    ).fetchall()
    connection.close()
    return {kind: (count, total) for kind, count, total in rows}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line, per unit of the first number; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def growth_kib_per_min(samples: Sequence[Sample], warm_up_s: float) -> tuple[float, float]:
    """(KiB a minute, over how many minutes) of the incarnation that was watched longest, warm-up apart."""
    best: tuple[float, float] = (0.0, 0.0)
    for life in sorted({sample.life for sample in samples}):
        own = [sample for sample in samples if sample.life == life]
        warm = [sample for sample in own if sample.at_s - own[0].at_s >= warm_up_s]
        if len(warm) > 2 and (warm[-1].at_s - warm[0].at_s) / 60 > best[1]:
            minutes = (warm[-1].at_s - warm[0].at_s) / 60
            best = (slope([(each.at_s / 60, each.rss_kib) for each in warm]), minutes)
    return best
