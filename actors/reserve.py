"""Room on the disk that is kept free for one thing: to write down why nothing more can be written.

The file's blocks are really allocated, not a hole. It is given back when a write of the journal has failed,
and laid by again at the next start, which is refused while there is no room for it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

RESERVE: Final = "journal.reserve"
RESERVE_BYTES: Final = 256 * 1024
"""Some sixty pages; the last words of a journal take four."""


def lay_by(folder: Path) -> None:
    """Allocate it, if it is not there whole. `OSError` when the disk has no room for it."""
    path = folder / RESERVE
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_blocks * 512 < RESERVE_BYTES:
            os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
    finally:
        os.close(descriptor)


def give_back(folder: Path) -> None:
    """Free it; nothing happens when it is gone already."""
    (folder / RESERVE).unlink(missing_ok=True)
