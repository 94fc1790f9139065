"""Look at a WAL before SQLite does, and tell a torn end from damage.

SQLite stops reading a WAL at the first frame whose checksum fails and drops the rest without a word.
For a write that was cut short that is right: nothing of it was acknowledged. When a bit flipped in the
middle, committed transactions behind it vanish. The two differ: behind a torn end there is no whole
frame of this WAL's generation that ends a transaction. (Format: sqlite.org/fileformat2.html, §4.)
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">IIIIIIII")
_FRAME_HEADER = struct.Struct(">IIIIII")
_BIG_ENDIAN_SUMS = 0x377F0683
_LITTLE_ENDIAN_SUMS = 0x377F0682


def wal_damage(database: Path) -> str | None:
    """What is wrong with the WAL beside `database`; None for a sound, torn, empty or missing one."""
    wal = database.with_name(database.name + "-wal")
    try:
        data = wal.read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < _HEADER.size + _FRAME_HEADER.size:
        return None
    magic, _, page_size, _, salt_1, salt_2, sum_1, sum_2 = _HEADER.unpack_from(data)
    order = {_BIG_ENDIAN_SUMS: ">", _LITTLE_ENDIAN_SUMS: "<"}.get(magic)
    if order is None or page_size < 512:
        return "the header of its WAL is not one"
    sums = _checksum(order, data[:24], (0, 0))
    if sums != (sum_1, sum_2):
        return "the header of its WAL fails its checksum"
    bad_frame: int | None = None
    frame_size = _FRAME_HEADER.size + page_size
    for number, at in enumerate(range(_HEADER.size, len(data) - frame_size + 1, frame_size), 1):
        _, pages_after_commit, frame_salt_1, frame_salt_2, sum_1, sum_2 = _FRAME_HEADER.unpack_from(data, at)
        ours = (frame_salt_1, frame_salt_2) == (salt_1, salt_2)
        if bad_frame is None:
            if ours:
                sums = _checksum(order, data[at : at + 8], sums)
                sums = _checksum(order, data[at + _FRAME_HEADER.size : at + frame_size], sums)
            if not ours or sums != (sum_1, sum_2):
                bad_frame = number
        if bad_frame is not None and ours and pages_after_commit:
            return f"frame {bad_frame} of its WAL fails its checksum, and committed rows lie behind it"
    return None


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
