"""The log of the programs: levels by part, a limit for each kind of line, nothing secret, nothing that acts.

A part is the name that a module gives its logger (`structlog.get_logger("broker")`); what libraries log
is the part `libraries`. Standard error shows warnings and worse, with `-v` what the levels let through; a
part with a level of its own shows that everywhere. What a person wants to read goes to stdout.
"""

from __future__ import annotations

import atexit
import logging
import math
import os
import sys
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Final, TextIO, TypeAlias

import attrs
import orjson
import structlog
from structlog.typing import Processor

from actors.known_secrets import clean_text
from actors.log_writer import LogLine, LogWriter, RotatedFile
from protocol.log_limits import KeyLimit, LogLevels
from protocol.redaction import escape, shorten_accounts
from protocol.settings import LogSettings

LIBRARIES: Final = "libraries"
_TRACES: Final = ("exception", "traceback")
"""Texts of several lines, which stay so in the text form."""

_Line: TypeAlias = MutableMapping[str, Any]


@attrs.define
class _Running:
    """The one log of this process, while it is set up."""

    writer: LogWriter | None = None
    limit: KeyLimit = attrs.field(factory=lambda: KeyLimit(0))


_RUNNING: Final = _Running()


class PartLogger:
    """The end of a logger: its line goes to the writer. `part` names it."""

    def __init__(self, part: str, writer: LogWriter) -> None:
        self.part, self._writer = part, writer

    def msg(self, line: LogLine) -> None:
        self._writer.take(line)

    debug = info = warning = error = msg

    def critical(self, line: LogLine) -> None:
        """Written before anything else happens: it may be the last word of the process."""
        self._writer.take(line)
        self._writer.flush()

    fatal = critical


def set_up_log(form: str, *, verbose: bool, settings: LogSettings | None = None) -> None:
    """The log goes to stderr, as `text` or `json`, and to a file if there is to be one.

    Called again it replaces what was set up before. OSError when the file cannot be written.
    """
    chosen = LogSettings() if settings is None else settings
    levels = LogLevels(chosen.level, chosen.levels, verbose=verbose)
    file = None
    if chosen.file:
        path = Path(chosen.file).expanduser()
        file = RotatedFile(path, max_bytes=chosen.max_bytes, keep=chosen.keep)
    close_log()
    writer = _RUNNING.writer = LogWriter(sys.stderr, file)
    limit = _RUNNING.limit = KeyLimit(chosen.max_per_key_per_min)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _Admission(levels, limit),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _clean,
            _Form(form, levels, has_file=file is not None),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels.lowest),
        logger_factory=lambda *names: PartLogger(str(names[0]) if names else "", writer),
    )
    _hear_libraries()


def close_log() -> None:
    """Write what waits, for a bounded time. A log that is never set up again loses what comes later."""
    if _RUNNING.writer is not None:
        _tell_untold(_RUNNING.limit, math.inf)
        _RUNNING.writer.close()
        _RUNNING.writer = None


atexit.register(close_log)


def same_place(one: TextIO, other: TextIO) -> bool:
    """Whether both are the same terminal, file or pipe: what is on one is on the other."""
    try:
        first, second = os.fstat(one.fileno()), os.fstat(other.fileno())
    except (OSError, ValueError):
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


# --- what becomes of a line -------------------------------------------------------------------------


@attrs.define
class _Admission:
    """Lets a line through by the level of its part and the limit of its key."""

    levels: LogLevels
    limit: KeyLimit

    def __call__(self, logger: PartLogger, _method: str, line: _Line) -> _Line:
        if not self.levels.wanted(logger.part, line["level"]):
            raise structlog.DropEvent
        # An alarm has a code, and a text that is never twice the same.
        key = (logger.part, str(line.get("code", line.get("event", ""))))
        now_loop_s = time.monotonic()
        taken = self.limit.take(key, now_loop_s)
        _tell_untold(self.limit, now_loop_s)
        if not taken:
            raise structlog.DropEvent
        if logger.part:
            line["logger"] = logger.part
        return line


def _tell_untold(limit: KeyLimit, now_loop_s: float) -> None:
    for (part, key), count in limit.untold(now_loop_s):
        structlog.get_logger(part).warning("lines left out: too many of one kind", of=key, count=count)


def _clean(_logger: PartLogger, _method: str, line: _Line) -> _Line:
    """No secrets, no account numbers, nothing that a terminal obeys or that looks like another line."""
    for key, value in line.items():
        if not isinstance(value, bool | int | float | None):
            text = shorten_accounts(clean_text(value if isinstance(value, str) else str(value)))
            line[key] = _lines(text) if key in _TRACES else escape(text)
    return line


def _lines(text: str) -> str:
    return "\n".join(escape(each) for each in text.split("\n"))


class _Form:
    """The last step: from the fields of a line to its text, for the screen and for the file."""

    def __init__(self, form: str, levels: LogLevels, *, has_file: bool) -> None:
        self._levels, self._has_file = levels, has_file
        colors = sys.stderr.isatty()
        self._screen, self._file = _renderer(form, colors=colors), _renderer(form, colors=False)
        self._one_form = form == "json" or not colors

    def __call__(self, logger: PartLogger, method: str, line: _Line) -> tuple[tuple[LogLine], dict[str, Any]]:
        on_screen = self._levels.shown(logger.part, line["level"])
        plain = None
        if self._has_file or self._one_form:
            plain = str(self._file(logger, method, dict(line)))
        screen = None
        if on_screen:
            screen = plain if self._one_form else str(self._screen(logger, method, dict(line)))
        return (LogLine(screen=screen, file=plain if self._has_file else None),), {}


def _renderer(form: str, *, colors: bool) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(serializer=_to_json)
    # Its own choice of traceback would show the local variables, keys among them.
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )


def _to_json(line: _Line, **_: Any) -> str:
    return orjson.dumps(line, default=str).decode()


# --- what libraries say -----------------------------------------------------------------------------


class _FromLibraries(logging.Handler):
    """Hands what libraries log to our log, so that it is cleaned, limited and formed like the rest."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(LIBRARIES)
        level = min(record.levelno, logging.ERROR) // 10 * 10
        log.log(max(level, logging.DEBUG), record.getMessage(), library=record.name)


def _hear_libraries() -> None:
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _FromLibraries):
            root.removeHandler(handler)
    root.addHandler(_FromLibraries(level=logging.WARNING))
