"""A disk that is full when a test says so: a file system where that is allowed, else a limit of a process."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

SIZE_KIB: Final = 4096
BLOCK: Final = 4096


@attrs.frozen
class SmallDisk:
    """`folder` is on it. `mounted`: it is a file system of its own."""

    folder: Path
    mounted: bool

    def fill(self, pid: int) -> None:
        """From now on the process finds no room for what it writes."""
        if not self.mounted:
            # No file of its grows beyond the size of the WAL now; what it prints is far smaller than that.
            largest = max(path.stat().st_size for path in self.folder.glob("*-wal"))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))
            return
        with (self.folder / "filler").open("wb", buffering=0) as filler:
            for size in (BLOCK, 1):
                try:
                    while True:
                        filler.write(b"x" * size)
                except OSError:
                    pass

    def clear(self) -> None:
        """There is room again, for a process that is started now."""
        if self.mounted:
            (self.folder / "filler").unlink()


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """`folder` is made. Mounting needs root and a kernel that lets it."""
    folder.mkdir()
    mounted = os.geteuid() == 0 and _done("mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tmpfs", folder)
    try:
        yield SmallDisk(folder, mounted)
    finally:
        if mounted and not _done("umount", folder):
            _done("umount", "-l", folder)


def _done(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False
