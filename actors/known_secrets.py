"""The secrets that this process has read, and the doors that they must not leave by.

One redactor for the process, as there is one standard error for it: whoever reads a secret makes it known
here, and whatever writes text for people or files cleans it here.
"""

from __future__ import annotations

import resource
import sys
import threading
import traceback
from types import TracebackType
from typing import Final

from protocol.redaction import Redactor, shorten_addresses

KNOWN: Final = Redactor()


def guard_process() -> None:
    """No core dump ever holds our memory, and what a crash says is cleaned. For the start of a program."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    sys.excepthook = tell_crash
    threading.excepthook = _tell_crash_of_thread


def tell_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python says of an exception that nobody caught, without secrets: for `sys.excepthook`."""
    said = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(clean_text(said))
    sys.stderr.flush()


def _tell_crash_of_thread(crash: threading.ExceptHookArgs) -> None:
    if crash.exc_value is not None and not isinstance(crash.exc_value, SystemExit):
        tell_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)


def clean_text(text: str) -> str:
    """Text for people, without known secrets and without what addresses carry."""
    return shorten_addresses(KNOWN.clean(text))
