"""The last resort: ending the process when the loop, or one child, no longer answers.

Trio cannot pre-empt, so an actor that computes for ever stops everything, the supervisor included.
Only a thread sees that. It sends no orders and decides nothing: the stops stand at the broker, the
journal holds what was acknowledged, and the process manager starts the system anew.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import structlog
import trio

PERIOD_LOOP_S = 0.1
DUMP_AFTER = 10
"""Wakes in a row without an answer after which all stacks are written, once: about one second."""
EXIT_AFTER = 50
"""Wakes in a row without an answer after which the process ends: about five seconds."""
EXIT_CHILD_STUCK = 70
EXIT_LOOP_STUCK = 71


def dump_stacks() -> None:
    """Write the stack of every thread to standard error, without the help of the interpreter's loop."""
    sys.stderr.write("the event loop does not answer; this is what every thread does:\n")
    sys.stderr.flush()
    faulthandler.dump_traceback(all_threads=True)


def end_process(exit_code: int) -> None:
    """End at once, with no clean-up: what must survive is in the journal already."""
    os._exit(exit_code)


def end_stuck(child_id: str) -> None:
    """A child ignores its cancellation: the process ends and starts anew."""
    log = structlog.get_logger("watchdog")
    log.critical("ending the process", stuck=child_id, exit_code=EXIT_CHILD_STUCK)
    end_process(EXIT_CHILD_STUCK)


class _Watch:
    """Counts the thread's own wakes, and no seconds: a process or machine that was suspended slept too."""

    def __init__(self, dump_after: int, exit_after: int, killed: Callable[[], bool] = lambda: False) -> None:
        self.beats = 0
        self._killed = killed
        self._seen = -1
        self._missed = 0
        self._dump_after = dump_after
        self._exit_after = exit_after

    def woke(self, dump: Callable[[], None], end: Callable[[int], None]) -> bool:
        """One wake of the thread. False once the process was told to end."""
        beats = self.beats
        self._missed = self._missed + 1 if beats == self._seen else 0
        self._seen = beats
        if self._missed == self._dump_after:
            dump()
        # The switch of a person who sees that nothing moves: no use in waiting for the rest of the time.
        if self._missed >= self._exit_after or (self._missed >= self._dump_after and self._killed()):
            dump()
            end(EXIT_LOOP_STUCK)
            return False
        return True


async def watch(
    *,
    period_loop_s: float = PERIOD_LOOP_S,
    dump_after: int = DUMP_AFTER,
    exit_after: int = EXIT_AFTER,
    dump: Callable[[], None] = dump_stacks,
    end: Callable[[int], None] = end_process,
    kill_file: Path | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer the watchdog thread every `period_loop_s` for as long as this is not cancelled.

    `dump` and `end` run in the thread. Where `kill_file` exists, a loop that is late ends the process as
    soon as it is noticed; the next start obeys the file. Only for the real clock: a mock clock would beat
    for nothing.
    """
    state = _Watch(dump_after, exit_after, lambda: kill_file is not None and os.path.lexists(kill_file))
    over = threading.Event()

    def look() -> None:
        while not over.wait(period_loop_s):
            if not state.woke(dump, end):
                return

    thread = threading.Thread(target=look, name="loop watchdog", daemon=True)
    thread.start()
    try:
        task_status.started()
        while True:
            await trio.sleep(period_loop_s)
            state.beats += 1
    finally:
        over.set()
        thread.join()
