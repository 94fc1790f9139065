"""A growing file, cut into lines: which are whole, which one is still being written, how far it was read."""

from __future__ import annotations

import attrs

MAX_LINE_BYTES = 65_536
TAIL_BYTES = 64
"""Of what was read last, kept to know the file again."""


@attrs.frozen
class Line:
    """One line without its end. `number` counts from 1; `content` is None for one that is too long."""

    number: int
    content: bytes | None


@attrs.frozen
class LinePlace:
    """Between two lines of a file: where the next one begins, and the end of what stands before it.

    An empty `tail` says nothing.
    """

    offset: int = 0
    lines: int = 0
    tail: bytes = b""


class LineCutter:
    """Takes the bytes of a file in order, from `place` on; remembers no more than one line."""

    __slots__ = ("_pending", "_place", "_read_to", "_too_long")

    def __init__(self, place: LinePlace) -> None:
        self._place, self._read_to = place, place.offset
        self._pending = bytearray()
        self._too_long = False

    @property
    def place(self) -> LinePlace:
        """Behind the last whole line."""
        return self._place

    @property
    def read_to(self) -> int:
        """The offset of the next byte to take."""
        return self._read_to

    def cut(self, data: bytes) -> list[Line]:
        """The lines that `data` completes."""
        *whole, rest = data.split(b"\n")
        found = []
        for part in whole:
            self._take(part)
            self._read_to += 1
            found.append(self._end_line(b"\n"))
        self._take(rest)
        return found

    def finish(self) -> list[Line]:
        """The last line, when nobody will end it any more."""
        return [self._end_line(b"")] if self._pending or self._too_long else []

    def _take(self, part: bytes) -> None:
        self._read_to += len(part)
        if not self._too_long:
            self._pending += part
            if len(self._pending) > MAX_LINE_BYTES:
                self._too_long = True
                self._pending.clear()

    def _end_line(self, end: bytes) -> Line:
        content = None if self._too_long else bytes(self._pending)
        tail = b"" if content is None else (content + end)[-TAIL_BYTES:]
        self._place = LinePlace(self._read_to, self._place.lines + 1, tail)
        self._pending.clear()
        self._too_long = False
        return Line(self._place.lines, content)
