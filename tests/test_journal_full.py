"""A disk that refuses: what was acknowledged stays, the journal's last row says why it is the last."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from actors.child import ChildSpec, SupervisorSpec
from actors.journal import Journal, JournalFailed, keep
from actors.reserve import RESERVE, RESERVE_BYTES
from actors.supervisor import Supervisor
from protocol.events import AlarmEvent, BaseEvent, RunEvent
from protocol.supervision_plan import Strategy

TEN = datetime(2025, 9, 26, 14, 0, tzinfo=UTC)
ROOT = Path(__file__).parent.parent


def run_event(number: int, detail: str = "") -> RunEvent:
    return RunEvent(at=TEN + timedelta(seconds=number), what="started", detail=detail or str(number))


class FullDisk:
    """A connection to a journal on a disk that has room for nothing but what the reserve keeps free."""

    def __init__(self, real: sqlite3.Connection, reserve: Path) -> None:
        self._real, self._reserve = real, reserve
        self.full = False

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if self.full and self._reserve.exists() and sql.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")
        return self._real.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class CountingJournal(Journal):
    checkpoints = 0

    def checkpoint(self) -> None:
        self.checkpoints += 1
        super().checkpoint()


@contextlib.contextmanager
def largest_file(limit: int) -> Iterator[None]:
    """No file of this process can be written beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_reserve_is_really_allocated_and_survives_reopening(tmp_path: Path) -> None:
    for _ in range(2):
        Journal.open(tmp_path).close()
        kept = (tmp_path / RESERVE).stat()
        assert kept.st_blocks * 512 >= RESERVE_BYTES
        assert kept.st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_room_for_the_row_that_says_so_and_followers_hear_it(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    disk = FullDisk(journal._connection, tmp_path / RESERVE)
    journal._connection = disk  # type: ignore[assignment]
    heard: list[tuple[str, BaseEvent]] = []

    def hear(stream: str, events: Sequence[BaseEvent]) -> None:
        heard.extend((stream, event) for event in events)

    journal.append("symbol:SLV", [run_event(0)])
    journal.follow(hear)
    disk.full = True
    with pytest.raises(JournalFailed, match="cannot be written: database or disk is full"):
        journal.append("symbol:SLV", [run_event(1)])
    for _ in range(2):
        with pytest.raises(JournalFailed):
            journal.append("symbol:SLV", [run_event(2)])
        with pytest.raises(JournalFailed):
            journal.set_meta("epoch:symbol:SLV", "2")
    journal.close()
    assert not (tmp_path / RESERVE).exists()
    again = Journal.open(tmp_path)
    written, halt = ((row.stream, row.event) for row in again.rows())
    again.close()
    assert written == ("symbol:SLV", run_event(0))
    assert heard == [halt]
    assert halt[0] == "system"
    assert isinstance(halt[1], AlarmEvent)
    assert (halt[1].code, halt[1].at) == ("JOURNAL_FAILED", TEN + timedelta(seconds=1))
    assert "database or disk is full" in halt[1].text
    assert (tmp_path / RESERVE).exists()


def test_a_small_fact_that_cannot_be_kept_fails_the_journal_in_the_same_way(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("a", [run_event(0)])
    journal.close()
    journal = Journal.open(tmp_path)
    disk = FullDisk(journal._connection, tmp_path / RESERVE)
    journal._connection = disk  # type: ignore[assignment]
    disk.full = True
    with pytest.raises(JournalFailed):
        journal.next_epoch("symbol:SLV")
    journal.close()
    again = Journal.open(tmp_path)
    assert [type(event) for event in again.read()] == [RunEvent, AlarmEvent]
    assert again.next_epoch("symbol:SLV") == 1
    again.close()


def test_when_even_the_last_words_are_refused_the_run_still_ends_for_the_first_reason(
    tmp_path: Path,
) -> None:
    journal = Journal.open(tmp_path)
    heard: list[BaseEvent] = []
    journal.follow(lambda _, events: heard.extend(events))
    with largest_file(1), pytest.raises(JournalFailed, match="cannot be written"):
        journal.append("a", [run_event(0)])
    assert [type(event) for event in heard] == [AlarmEvent]  # alarms go out, whatever the disk does
    assert list(journal.read()) == []
    journal.close()


async def test_p_7_a_checkpoint_that_fails_is_never_tried_again_and_stops_all_writing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("a", [run_event(number, "x" * 4000) for number in range(100)])
    journal.close()
    journal = CountingJournal.open(tmp_path)
    assert isinstance(journal, CountingJournal)
    journal.append("a", [run_event(101)])
    # The WAL may still grow; the database is beyond the limit already.
    with largest_file(200 * 1024):
        with trio.fail_after(10), pytest.raises(JournalFailed, match="cannot be written"):
            await keep(journal, period_loop_s=0.01)
        with pytest.raises(JournalFailed):
            journal.append("a", [run_event(102)])
    assert journal.checkpoints == 1
    journal.close()
    again = Journal.open(tmp_path)
    *_, last, halt = again.read()
    again.close()
    assert last == run_event(101)
    assert isinstance(halt, AlarmEvent)
    assert halt.code == "JOURNAL_FAILED"


FILLER = """
import sys
from pathlib import Path
from actors.journal import Journal, JournalFailed
from protocol.events import RunEvent
from tests.test_journal_full import TEN
folder = Path(sys.argv[1])
ballast = folder / "ballast"
ballast.write_bytes(bytes(256 * 1024))
journal = Journal.open(folder)
written = 0
try:
    while written < 2000:
        journal.append("a", [RunEvent(at=TEN, what="x" * 500, detail=str(written))])
        written += 1
        if written % 100 == 0:
            journal.checkpoint()
except JournalFailed as failed:
    print(failed)
journal.close()
try:
    Journal.open(folder).close()
except JournalFailed as failed:
    print("no room:", failed)
ballast.unlink()
again = Journal.open(folder)
*rows, last = again.read()
print(len(rows) == written, last.code)
again.append("a", rows[:1])
again.close()
"""


@pytest.mark.slow
def test_p_8_on_a_file_system_that_is_really_full_the_halt_is_the_last_row(tmp_path: Path) -> None:
    """A file system of one megabyte in a mount namespace of its own; skipped where that is not allowed."""
    mount = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode
    ):
        pytest.skip("no mount namespaces here")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1" {tmp_path}', sys.executable, FILLER],
        capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stderr == ""
    full, *no_room, after = done.stdout.splitlines()
    assert "cannot be written: database or disk is full" in full
    assert all(line.startswith("no room:") for line in no_room)
    assert after == "True JOURNAL_FAILED"


async def test_p_7_a_failing_checkpoint_ends_the_tree_after_its_alarm(tmp_path: Path) -> None:
    """The death of the journal's actor cannot be journalled, so nobody is restarted to trade without one."""
    journal = Journal.open(tmp_path)
    journal.append("a", [run_event(number, "x" * 4000) for number in range(100)])
    journal.close()
    journal = Journal.open(tmp_path)
    alarms: list[str] = []
    journal.follow(lambda _, events: alarms.extend(e.code for e in events if isinstance(e, AlarmEvent)))
    starts: list[str] = []

    async def keep_journal(_epoch: int, task_status: trio.TaskStatus[None]) -> None:
        starts.append("journal")
        await keep(journal, period_loop_s=0.01, task_status=task_status)

    async def trade(_epoch: int, task_status: trio.TaskStatus[None]) -> None:
        starts.append("trading")
        task_status.started()
        await trio.sleep_forever()

    spec = SupervisorSpec(
        name="root", strategy=Strategy.REST_FOR_ONE, intensity=3, period_loop_s=60.0,
        children=(ChildSpec(id="journal", start=keep_journal), ChildSpec(id="trading", start=trade)),
    )  # fmt: skip
    root = Supervisor(
        spec, record=lambda event: journal.append("system", [event]), market_now=lambda: TEN,
        next_epoch=journal.next_epoch, rng=random.Random(1),
    )  # fmt: skip
    ended_by: list[BaseException] = []
    with trio.fail_after(10), largest_file(200 * 1024):
        try:
            await root.run()
        except* JournalFailed as failed:
            ended_by.append(failed)
    journal.close()
    assert len(ended_by) == 1
    assert starts == ["journal", "trading"]
    assert alarms == ["JOURNAL_FAILED"]
