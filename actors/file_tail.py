"""The end of a growing file, followed through truncation and rotation. Every call blocks: use a thread.

Where a file was read to is kept as its inode, an offset between two lines, and the bytes before it: the
inode of a file that was removed is given to the next one, and a file that was written anew may be longer
than the old one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs
import orjson

from protocol.line_cutter import TAIL_BYTES, Line, LineCutter, LinePlace

CHUNK_BYTES = 262_144
"""Read at a time."""


@attrs.frozen
class Look:
    """What one look at the file brought. `more`: there may be more at once."""

    lines: tuple[Line, ...] = ()
    more: bool = False
    exists: bool = True
    replaced: str = ""
    """Why what was read before is not the beginning of this file; empty when it is."""


@attrs.frozen
class _Mark:
    """How far it was read; `inode` 0: it did not exist."""

    inode: int
    place: LinePlace

    def to_text(self) -> str:
        place = self.place
        fields = {
            "inode": self.inode, "offset": place.offset, "lines": place.lines, "tail": place.tail.hex()
        }  # fmt: skip
        return orjson.dumps(fields).decode()

    @classmethod
    def from_text(cls, text: str) -> _Mark:
        fields = orjson.loads(text)
        place = LinePlace(fields["offset"], fields["lines"], bytes.fromhex(fields["tail"]))
        return cls(fields["inode"], place)


class FileTail:
    """One file by its path, from `mark` on. Used by one thread at a time; OSError when it cannot be read."""

    def __init__(self, path: Path, mark: str | None, *, from_start: bool) -> None:
        """`mark` None: never read before; then lines that stand there count only `from_start`."""
        self._path = path
        self._mark = None if mark is None else _Mark.from_text(mark)
        self._from_start = from_start
        self._file: int | None = None
        self._inode = 0
        self._cutter = LineCutter(LinePlace())
        self._recent = b""
        self._leaving = False
        self._busy = self._dropped = False

    @property
    def mark(self) -> str | None:
        """How far it was read, for another `FileTail`; None before the first look."""
        if self._file is not None:
            return _Mark(self._inode, self._cutter.place).to_text()
        return None if self._mark is None else self._mark.to_text()

    def look(self) -> Look:
        """Read on; lines come in order, each once it is whole."""
        self._busy = True
        try:
            return self._look()
        finally:
            self._busy = False
            if self._dropped:
                self._close()

    def drop(self) -> None:
        """Close it, now or as soon as the look that a thread may still be at is over."""
        self._dropped = True
        if not self._busy:
            self._close()

    def _look(self) -> Look:
        replaced = ""
        if self._file is None:
            try:
                replaced = self._open()
            except FileNotFoundError:
                self._mark = self._mark or _Mark(0, LinePlace())
                return Look(exists=False)
        assert self._file is not None
        replaced = self._follow_truncation(self._file) or replaced
        data = os.pread(self._file, CHUNK_BYTES, self._cutter.read_to)
        if data:
            self._leaving = False
            self._recent = (self._recent + data)[-TAIL_BYTES:]
            return Look(tuple(self._cutter.cut(data)), len(data) == CHUNK_BYTES, replaced=replaced)
        if not self._is_rotated():
            return Look(replaced=replaced)
        if not self._leaving:
            # Whoever writes it may not know yet that it has another name: one more look.
            self._leaving = True
            return Look(replaced=replaced)
        lines = tuple(self._cutter.finish())
        self._close()
        self._mark = _Mark(0, LinePlace())
        return Look(lines, more=True, replaced=replaced)

    # --- which file it is -------------------------------------------------------------------------

    def _open(self) -> str:
        # Without O_NONBLOCK the opening of a pipe would wait for its writer.
        file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            os.close(file)
            raise OSError(0, "it is no regular file")
        self._file, self._inode, self._leaving = file, found.st_ino, False
        mark, place, replaced = self._mark, LinePlace(), ""
        if mark is None:
            place = LinePlace() if self._from_start else self._last_line_end(file)
        elif mark.inode == found.st_ino and _stands_before(file, mark.place.tail, mark.place.offset):
            place = mark.place
        elif mark.inode != 0:
            replaced = "it is another file than the one that was read before"
        self._begin(place)
        return replaced

    def _begin(self, place: LinePlace) -> None:
        self._cutter, self._recent = LineCutter(place), place.tail

    def _follow_truncation(self, file: int) -> str:
        if os.fstat(file).st_size >= self._cutter.read_to and _stands_before(
            file, self._recent, self._cutter.read_to
        ):
            return ""
        self._begin(LinePlace())
        return "it was truncated or written anew"

    def _is_rotated(self) -> bool:
        try:
            return os.stat(self._path).st_ino != self._inode
        except FileNotFoundError:
            return True

    def _last_line_end(self, file: int) -> LinePlace:
        """Behind the last whole line of what stands there."""
        offset = lines = end = 0
        tail = b""
        while data := os.pread(file, CHUNK_BYTES, offset):
            lines += data.count(b"\n")
            newline = data.rfind(b"\n")
            if newline >= 0:
                end = offset + newline + 1
                tail = data[max(0, newline + 1 - TAIL_BYTES) : newline + 1]
            offset += len(data)
        return LinePlace(end, lines, tail)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _stands_before(file: int, tail: bytes, offset: int) -> bool:
    """Whether `tail` is what ends at `offset`."""
    return os.pread(file, len(tail), max(0, offset - len(tail))) == tail
