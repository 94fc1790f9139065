"""A file `KILL` in the state folder: the switch that works with nothing but a shell.

The risk actor looks for it every second; when the loop no longer answers, the watchdog's thread sees it
and ends the process (`watchdog.py`), and the next start finds the file again.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Final

from protocol.risk.levels import KillNote, read_kill_note

KILL: Final = "KILL"
MOST_BYTES: Final = 4096


def look(folder: Path) -> KillNote | None:
    """What the file asks for; None without one. Whatever cannot be read still halts."""
    try:
        # A link is not followed, and nothing that waits for a writer is waited for.
        descriptor = os.open(folder / KILL, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        return read_kill_note("")
    try:
        text = os.read(descriptor, MOST_BYTES)
    except OSError:
        text = b""
    finally:
        os.close(descriptor)
    return read_kill_note(text.decode("utf-8", "replace"))


def put_away(folder: Path, at: datetime) -> Path:
    """Rename the file after the moment at which it was obeyed. OSError when the folder does not let us."""
    name = f"{KILL}.taken-{at:%Y%m%dT%H%M%SZ}"
    taken, number = folder / name, 1
    while os.path.lexists(taken):
        number += 1
        taken = folder / f"{name}-{number}"
    (folder / KILL).rename(taken)
    return taken
