"""Where log lines end up: standard error and a file, written by a thread of their own.

A pipe that nobody reads and a disk that is busy hold up the thread, never the loop that trades. What waits
is bounded; lines that find no room are counted, and the count is told with the next line.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, TextIO

import attrs

MAX_WAITING_LINES: Final = 10_000
FLUSH_LOOP_S: Final = 1.0
"""How long an end, or a line that is the last one, waits for what is not written yet."""


@attrs.frozen
class LogLine:
    """One line, in the form of each place that it goes to; None: not there."""

    screen: str | None
    file: str | None


class RotatedFile(RotatingFileHandler):
    """A file of the user alone; when it is full the next one begins and the oldest goes.

    `lost` counts lines that the disk refused: the log is no reason to stop anything.
    """

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """Opens it at once: OSError when it cannot be written."""
        self.lost = 0
        super().__init__(
            path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8", errors="backslashreplace"
        )

    def _open(self) -> TextIO:  # type: ignore[override]
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.baseFilename, flags, 0o600)
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 (the library's name)
        """The disk refused: count it, where the library would write a traceback."""
        self.lost += 1

    def close(self) -> None:
        """What the disk still refuses is given up."""
        with contextlib.suppress(OSError):
            super().close()

    def write(self, text: str) -> None:
        self.emit(logging.makeLogRecord({"msg": text}))


class LogWriter:
    """Takes lines without waiting, from any thread, and writes them in order. `close` ends it."""

    def __init__(self, screen: TextIO, file: RotatedFile | None = None) -> None:
        self._screen, self._file = screen, file
        self._waiting: deque[LogLine] = deque()
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._writing = self._closed = self._dumb = False
        self.lost = 0
        """Lines that found no room since the last one that was written."""

    def take(self, line: LogLine) -> None:
        with self._lock:
            if self._closed:
                return
            if len(self._waiting) >= MAX_WAITING_LINES:
                self.lost += 1
                return
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_for_ever, name="log", daemon=True)
                self._thread.start()
            self._waiting.append(line)
            self._lock.notify_all()

    def flush(self, deadline_loop_s: float = FLUSH_LOOP_S) -> bool:
        """Wait until everything is written; False when the reader or the disk does not take it in time."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._waiting and not self._writing, deadline_loop_s)

    def close(self) -> None:
        """Write what waits, for a bounded time, and take nothing more."""
        self.flush()
        with self._lock:
            self._closed = True
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join(FLUSH_LOOP_S)
        if self._file is not None and (self._thread is None or not self._thread.is_alive()):
            self._file.close()

    def _write_for_ever(self) -> None:
        while True:
            with self._lock:
                self._writing = False
                self._lock.notify_all()
                self._lock.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                self._writing = True
                lines, lost, self.lost = tuple(self._waiting), self.lost, 0
                self._waiting.clear()
            self._write(lines)
            if lost:
                self._write((_both(f"… {lost} lines of the log were lost: its reader is too slow"),))

    def _write(self, lines: tuple[LogLine, ...]) -> None:
        shown = [line.screen for line in lines if line.screen is not None]
        if shown and not self._dumb:
            try:
                self._screen.write("".join(f"{line}\n" for line in shown))
                self._screen.flush()
            except (OSError, ValueError):
                # The reader has gone, or somebody closed the stream: there is nobody else to tell.
                self._dumb = True
        if self._file is None:
            return
        for line in lines:
            if line.file is not None:
                self._file.write(line.file)
        if self._file.lost:
            lost, self._file.lost = self._file.lost, 0
            self._tell_disk(lost)

    def _tell_disk(self, lost: int) -> None:
        assert self._file is not None
        text = f"… {lost} lines could not be written to {self._file.baseFilename}"
        self._write((LogLine(screen=text, file=None),))


def _both(text: str) -> LogLine:
    return LogLine(screen=text, file=text)
