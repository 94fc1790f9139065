"""What a person sees: a live table on a terminal, a line for each notable event anywhere else.

The terminal folds the journal and asks a `status` function for what the journal does not hold; it asks no
trading actor anything. Trading never waits for it: `follow` only notes, writing happens on a thread, what
waits to be written is bounded, and a reader that stands still loses lines, which is said.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TextIO
from zoneinfo import ZoneInfo

import trio
from rich.console import Console
from rich.live import Live

from actors.terminal_view import RunStatus, SymbolStatus, View, draw
from protocol.books import JournalBooks, JournalFold
from protocol.events import BaseEvent
from protocol.summary import summarise, tell
from protocol.values import Symbol

__all__ = ["RunStatus", "SymbolStatus", "Terminal"]

REFRESH_LOOP_S = 0.5
"""How often the table is drawn: a person reads no faster, and drawing costs milliseconds."""
MAX_WAITING_LINES = 1000
"""Lines that wait for a slow reader; older ones give way."""
SHOWN_LINES = 8
"""The last notable events under the live table."""
FLUSH_LOOP_S = 2.0
"""How long an end waits for the reader of the last lines."""


class Terminal:
    """One per run. Give `follow` to the journal, run `run` as an actor, call `finish` at the end."""

    def __init__(
        self,
        symbols: Sequence[Symbol],
        status: Callable[[], RunStatus],
        *,
        out: TextIO | None = None,
        live: bool | None = None,
        zone: str = "America/New_York",
        control: str = "",
    ) -> None:
        """`live` None: a table when `out` is a terminal, lines when it is not.

        `control`: the command that looks at the run from another terminal; told once, after the first line.
        """
        self._out = sys.stdout if out is None else out
        self.live = self._out.isatty() if live is None else live
        self._status = status
        self._zone = ZoneInfo(zone)
        self._fold = JournalFold(symbols)
        self._waiting: deque[str] = deque(maxlen=MAX_WAITING_LINES)
        self._shown: deque[str] = deque(maxlen=SHOWN_LINES)
        self._lost = 0
        self._news = trio.Event()
        self._control = control
        self._control_told = not control

    def books(self) -> JournalBooks:
        """What has been followed and recalled, as books."""
        return self._fold.books()

    # --- from the journal: no waiting, no writing ---------------------------------------------------

    def recall(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """What an earlier run wrote on the same journal: counted, not told again."""
        for event in events:
            self._fold.add(stream, event)

    def follow(self, stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written."""
        for event in events:
            self._fold.add(stream, event)
            line = tell(event, self._zone)
            if line is not None:
                self._note(line)

    def _note(self, line: str) -> None:
        if self.live:
            self._shown.append(line)
            return
        self._lost += len(self._waiting) == MAX_WAITING_LINES
        self._waiting.append(line)
        if not self._control_told:
            self._control_told = True
            self._waiting.append(f"control: {self._control}   (in another terminal)")
        self._news.set()

    # --- to the person ------------------------------------------------------------------------------

    async def run(
        self, _epoch: int = 0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Shows the run until cancelled. A reader who has gone is no reason to stop trading."""
        task_status.started()
        if self.live:
            await self._show_table()
        else:
            await self._show_lines()

    async def _show_lines(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            text = self._take()
            # A reader who stands still costs this one thread, and no more: nothing else is taken meanwhile.
            await trio.to_thread.run_sync(self._write, text, abandon_on_cancel=True)

    def _take(self) -> str:
        lines = list(self._waiting)
        self._waiting.clear()
        if self._lost:
            lines.insert(0, f"… {self._lost} lines were not shown")
            self._lost = 0
        return "".join(line + "\n" for line in lines)

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except OSError:
            self._fall_silent()

    def _fall_silent(self) -> None:
        """The reader has gone (a closed pipe, a hung-up terminal), and there is nobody else to tell.

        What is still in the stream's buffer must go somewhere, or the interpreter fails to write it at the
        end and turns a clean exit code into 120.
        """
        try:
            written_to = self._out.fileno()
        except OSError:
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, written_to)
        os.close(nowhere)

    async def _show_table(self) -> None:
        screen = _Screen(file=self._out, force_terminal=True, highlight=False)
        table = Live(console=screen, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)

        def show(view: View) -> None:
            try:
                table.start()
                table.update(draw(view), refresh=True)
            except OSError:
                screen.quiet = True

        try:
            while True:
                await trio.to_thread.run_sync(show, self._view(), abandon_on_cancel=True)
                await trio.sleep(REFRESH_LOOP_S)
        finally:
            # Puts the cursor back. A stopped terminal (Ctrl-S) would hold this up for ever.
            with trio.move_on_after(FLUSH_LOOP_S, shield=True):
                await trio.to_thread.run_sync(table.stop, abandon_on_cancel=True)

    def _view(self) -> View:
        status = self._status()
        rows = tuple((self._fold.summary_of(row.symbol), row) for row in status.symbols)
        return View(
            status=status, rows=rows, lines=tuple(self._shown), zone=self._zone, control=self._control
        )

    async def finish(self, *, exit_reason: str, faults: Sequence[str] = (), next_command: str = "") -> None:
        """Writes what still waits and the summary; a reader who does not read is given up after a while."""
        lines = summarise(
            self._fold.books(), exit_reason=exit_reason, faults=faults, next_command=next_command
        )
        text = self._take() + "".join(line + "\n" for line in lines)
        with trio.move_on_after(FLUSH_LOOP_S, shield=True):
            await trio.to_thread.run_sync(self._write, text, abandon_on_cancel=True)


class _Screen(Console):
    """A console that falls silent when its reader has gone, where rich's own ends the program."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
