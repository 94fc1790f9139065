"""Kill levels as people write them: in commands, and in a file `KILL`."""

from __future__ import annotations

from typing import Final

import attrs

from protocol.risk.words import KillLevel

LONGEST_REASON: Final = 200
_SEPARATORS: Final = " \t:,;-–—."


@attrs.frozen
class KillNote:
    """What a file `KILL` asks for."""

    level: KillLevel
    why: str


def level_of(word: str) -> KillLevel | None:
    """The level that a word names: `HALT`, `halt`, `K2`, `2`; None for anything else."""
    name = word.strip().upper()
    if name in KillLevel.__members__:
        return KillLevel[name]
    digits = name.removeprefix("K")
    if digits.isascii() and digits.isdecimal() and int(digits) in set(KillLevel):
        return KillLevel(int(digits))
    return None


def read_kill_note(text: str) -> KillNote:
    """The first line is a level, a reason, or a level and a reason; HALT where no level is named.

    Nobody lowers a level by a file, so that `OPEN` counts as a word like any other.
    """
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    word, _, rest = line.partition(" ")
    level = level_of(word.strip(_SEPARATORS))
    if level is None or level is KillLevel.OPEN:
        level, rest = KillLevel.HALT, line
    why = "".join(letter if letter.isprintable() else " " for letter in rest).strip(_SEPARATORS)
    return KillNote(level, why[:LONGEST_REASON] or "a file KILL lies in the state folder")
