"""A file of JSON lines that others append to, each line a prediction: watched, read on, never read twice.

The file may come later, be truncated, or be moved away and begun anew. A line counts once it is whole; one
that is no prediction gets a verdict that names the file and the line. Where it was read to is kept with
the journal, and what a crash makes it read again is known by its ids. The disk is looked at from a thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import orjson
import trio

from actors.file_tail import FileTail, Look
from actors.intake import CLOCK_GLANCE_LOOP_S, Desk, Intake, Marks
from actors.market_clock import MarketClock
from actors.signal_desk import SourceStatistics
from protocol.allowances import Bucket
from protocol.health import HealthState
from protocol.line_cutter import MAX_LINE_BYTES, Line
from protocol.source_settings import FileSource

MAX_AGE_S = 60.0
"""Of a signal in a file, in market seconds."""
LOOK_LOOP_S = 0.25
CHUNK = 20
"""Lines between two checkpoints: a file that was there before may be long."""
LINES_AT_ONCE, LINES_PER_LOOP_S = 1000, 1000.0


class FileSignals:
    """One file. `marks` keeps how far it was read; `tickers` are what is taken: empty: whatever is traded."""

    def __init__(
        self,
        settings: FileSource,
        *,
        desk: Desk,
        clock: MarketClock,
        tickers: Iterable[str] = (),
        marks: Marks,
        look_loop_s: float = LOOK_LOOP_S,
    ) -> None:
        """ValueError without a path."""
        if not settings.path:
            raise ValueError("a file source needs the path of its file")
        self._path = Path(settings.path).expanduser()
        self._settings, self._clock, self._marks = settings, clock, marks
        self._intake = Intake(settings, desk=desk, clock=clock, tickers=tickers, max_age_s=MAX_AGE_S)
        self._look_loop_s = look_loop_s
        self._bucket = Bucket(LINES_AT_ONCE, LINES_PER_LOOP_S)
        self._trouble = ""
        self._exists: bool | None = None
        self._saved: str | None = None

    def statistics(self) -> SourceStatistics:
        return self._intake.copy_statistics()

    def health(self) -> tuple[str, str]:
        if self._trouble:
            return HealthState.DOWN.value, f"{self._trouble}; it is tried again, trading goes on"
        if self._exists is None:
            return HealthState.WAITING.value, "not looked at yet"
        if not self._exists:
            return HealthState.WAITING.value, "the file is not there yet"
        return HealthState.OK.value, ""

    def set_tickers(self, tickers: Iterable[str]) -> None:
        """Take signals of these only from now on."""
        self._intake.set_tickers(tickers)

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch until cancelled. `epoch` counts the starts of this actor."""
        del epoch  # what the desk has seen it knows, whichever incarnation brought it
        await self._intake.ready()
        task_status.started()
        while not self._clock.known:
            await trio.sleep(CLOCK_GLANCE_LOOP_S)
        self._saved = self._marks.get_meta(self._mark_key)
        tail = FileTail(self._path, self._saved, from_start=self._settings.from_start)
        try:
            while True:
                if not await self._look(tail):
                    await trio.sleep(self._look_loop_s)
        finally:
            tail.drop()

    async def _look(self, tail: FileTail) -> bool:
        """Take what is new in the file; whether to look again at once."""
        self._intake.statistics.polls += 1
        try:
            # A disk that hangs must not keep the actor from ending: its thread is left behind then.
            look = await trio.to_thread.run_sync(tail.look, abandon_on_cancel=True)
        except OSError as error:
            self._note_trouble(f"cannot be read: {error.strerror}")
            return False
        self._note_health(look)
        for number, line in enumerate(look.lines, start=1):
            while not self._bucket.take(trio.current_time()):
                await trio.sleep(self._bucket.wait_loop_s(trio.current_time()))
            self._take(line)
            if number % CHUNK == 0:
                await trio.lowlevel.checkpoint()
        self._save(tail.mark)
        return look.more

    def _take(self, line: Line) -> None:
        place = f"{self._path.name}:{line.number}"
        if line.content is None:
            # Its content is not kept: its place has to name it.
            reason = f"the line exceeds {MAX_LINE_BYTES} bytes"
            self._intake.refuse_unreadable(reason, f"{place} at {self._clock.now()}".encode(), place)
            return
        content = line.content.strip()
        if not content:
            return
        try:
            body: object = orjson.loads(content)
        except orjson.JSONDecodeError as error:
            self._intake.refuse_unreadable(f"is no JSON: {error.msg}", content, place)
            return
        self._intake.take(body, place)

    def _note_trouble(self, text: str) -> None:
        self._intake.statistics.troubles += 1
        if not self._trouble:
            self._intake.alarm("signals_unreadable", f"{self._path.name} {text}; it is tried again")
        self._trouble = f"{self._path.name} {text}"

    def _note_health(self, look: Look) -> None:
        if self._trouble:
            self._trouble = ""
            self._intake.alarm("signals_recovered", f"{self._path.name} can be read again")
        self._exists = look.exists
        if look.replaced:
            text = f"{self._path.name}: {look.replaced}; it is read from its start"
            self._intake.alarm_once("signals_file_replaced", text)

    @property
    def _mark_key(self) -> str:
        return f"file_mark:{self._settings.name}"

    def _save(self, mark: str | None) -> None:
        if mark is not None and mark != self._saved:
            self._saved = mark
            self._marks.set_meta(self._mark_key, mark)
