"""The journal: what comes back, what is refused, and what a kill or a flipped bit does to it."""

from __future__ import annotations

import enum
import itertools
import re
import shutil
import sqlite3
import subprocess
import sys
import types
import typing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.journal import Journal, JournalDamaged, JournalFailed, JournalInUse, keep
from actors.journal_check import DATABASE
from protocol import control_events
from protocol import events as vocabulary
from protocol.events import (
    AlarmEvent,
    BaseEvent,
    FillEvent,
    NewOrderEvent,
    PriceEvent,
    RunEvent,
)
from protocol.journal import KINDS, UnreadableRow, decode, encode, kinds_of
from protocol.values import OrderRef, OrderSpec, OrderType, Side, Symbol, TimeInForce

TEN = datetime(2025, 9, 26, 14, 0, tzinfo=UTC)
REF = OrderRef("a7", Symbol("BRK B"), 123, "main")
STOP_ORDER = OrderSpec(
    ref=OrderRef("a7", Symbol("BRK B"), 123, "stop", 2),
    side=Side.SELL,
    quantity=40,
    type=OrderType.STOP_LIMIT,
    tif=TimeInForce.GTC,
    limit_price=Decimal("12.30"),
    stop_price=Decimal("12.35"),
    outside_rth=True,
    good_till=TEN + timedelta(days=1),
    parent=REF,
    oca_group="a7:BRK B:123",
    oca_type=2,
)
PLACED = NewOrderEvent(at=TEN, cause="signal 7", ref=STOP_ORDER.ref, order=STOP_ORDER)
FILLED = FillEvent(at=TEN, ref=REF, exec_id="0001.01", side=Side.BUY, quantity=40, price=Decimal("12.340"))


def run_event(number: int) -> RunEvent:
    return RunEvent(at=TEN + timedelta(seconds=number), what="started", detail=str(number))


# --- events as bytes ------------------------------------------------------------------------------


NAMES = st.text("abcXYZ09 .", min_size=1)
NUMBERS = st.integers(0, 999_999)
LEAVES: dict[object, st.SearchStrategy[object]] = {
    str: st.text(),
    int: st.integers(-(2**53), 2**53),
    bool: st.booleans(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    datetime: st.datetimes(min_value=datetime(1990, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    Decimal: st.decimals(allow_nan=False, allow_infinity=False, places=4),
    OrderRef: st.builds(OrderRef, NAMES, NAMES.map(Symbol), NUMBERS, NAMES, NUMBERS),
    Symbol: NAMES,
    type(None): st.none(),
}


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type that appears in an event."""
    if kind in LEAVES:
        return LEAVES[kind]
    if typing.get_origin(kind) is tuple:
        return st.lists(any_of(typing.get_args(kind)[0]), max_size=3).map(tuple)
    if isinstance(kind, types.UnionType):
        return st.one_of([any_of(part) for part in typing.get_args(kind)])
    if issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    return st.builds(kind, **{name: any_of(part) for name, part in typing.get_type_hints(kind).items()})


@given(st.data())
def test_every_kind_of_event_comes_back_as_it_was(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    event = data.draw(any_of(KINDS[kind]))
    assert decode(kind, 1, encode(event)) == event


def test_the_registry_holds_every_event_of_the_vocabulary() -> None:
    named = {
        name
        for words in (vocabulary, control_events)
        for name, thing in vars(words).items()
        if name.endswith("Event") and isinstance(thing, type)
    }
    assert set(KINDS) == named


def test_two_events_of_one_name_are_refused() -> None:
    impostor = type("FillEvent", (BaseEvent,), {})
    with pytest.raises(ValueError, match="FillEvent"):
        kinds_of([FillEvent, impostor])


def test_an_event_that_could_not_be_read_back_is_refused_before_anything_is_written() -> None:
    journal = Journal.memory()
    foreign = type("HomeMadeEvent", (BaseEvent,), {})(at=TEN)
    nan = PriceEvent(at=TEN, symbol=Symbol("SLV"), price=1.0, bid=float("nan"))
    naive = RunEvent(at=datetime(2025, 1, 1), what="", detail="")  # noqa: DTZ001
    for bad in (foreign, nan, naive):
        with pytest.raises(ValueError, match=r"event"):
            journal.append("symbol:SLV", [FILLED, bad])
    assert list(journal.read()) == []
    journal.close()


def test_times_of_other_zones_are_kept_as_the_same_instant_in_utc() -> None:
    event = run_event(0)
    elsewhere = RunEvent(at=TEN.astimezone(timezone(timedelta(hours=-4))), what="started", detail="0")
    assert encode(elsewhere) == encode(event)


def test_kinds_versions_and_payloads_from_elsewhere_are_refused_by_name() -> None:
    with pytest.raises(UnreadableRow, match="'TeaEvent'"):
        decode("TeaEvent", 1, b"{}")
    with pytest.raises(UnreadableRow, match="schema 2"):
        decode("RunEvent", 2, encode(run_event(0)))
    with pytest.raises(UnreadableRow, match="schema 0"):
        decode("RunEvent", 0, encode(run_event(0)))
    with pytest.raises(UnreadableRow, match="RunEvent"):
        decode("RunEvent", 1, b'{"at": "yesterday"}')
    with pytest.raises(UnreadableRow, match="RunEvent"):
        decode("RunEvent", 1, encode(run_event(0))[:-1] + b',"more":1}')


# --- writing and reading --------------------------------------------------------------------------


def test_rows_are_numbered_without_gaps_over_all_streams_and_read_by_stream(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("symbol:BRK B", [PLACED, FILLED])
    journal.append("system", [run_event(1)])
    journal.append("symbol:BRK B", [FILLED])
    assert [(row.seq, row.stream, row.kind, row.at) for row in journal.rows()] == [
        (1, "symbol:BRK B", "NewOrderEvent", TEN),
        (2, "symbol:BRK B", "FillEvent", TEN),
        (3, "system", "RunEvent", TEN + timedelta(seconds=1)),
        (4, "symbol:BRK B", "FillEvent", TEN),
    ]
    assert list(journal.read("symbol:BRK B")) == [PLACED, FILLED, FILLED]
    assert [row.seq for row in journal.rows("symbol:BRK B", after=2)] == [4]
    assert list(journal.of_kind(FillEvent)) == [FILLED, FILLED]
    assert list(journal.of_kind(AlarmEvent)) == []
    journal.close()


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("a", [run_event(n) for n in range(450)])
    head, chain = journal.head, journal.head_hash
    journal.close()
    journal.close()
    again = Journal.open(tmp_path)
    assert (again.head, again.head_hash) == (head, chain)
    assert list(again.read("a")) == [run_event(n) for n in range(450)]
    again.append("a", [run_event(450)])
    assert again.head == 451
    again.close()


def test_a_reader_sees_the_journal_as_it_was_when_it_began() -> None:
    journal = Journal.memory()
    journal.append("a", [run_event(0)])
    seen = []
    for event in journal.read():
        seen.append(event)
        journal.append("a", [run_event(1)])
    assert seen == [run_event(0)]
    journal.close()


def test_equal_rows_make_equal_chains_and_any_difference_shows() -> None:
    one, two, other = Journal.memory(), Journal.memory(), Journal.memory()
    one.append("a", [run_event(0), run_event(1)])
    two.append("a", [run_event(0)])
    two.append("a", [run_event(1)])
    other.append("b", [run_event(0), run_event(1)])
    assert one.head_hash == two.head_hash != other.head_hash
    for journal in (one, two, other):
        journal.close()


def test_followers_hear_of_events_after_they_are_committed() -> None:
    journal = Journal.memory()
    heard: list[tuple[str, tuple[BaseEvent, ...], int]] = []
    journal.follow(lambda stream, events: heard.append((stream, tuple(events), journal.head)))
    journal.append("a", [run_event(0), run_event(1)])
    journal.append("a", [])
    assert heard == [("a", (run_event(0), run_event(1)), 2)]
    journal.close()


def test_epochs_and_small_facts_survive_and_an_epoch_is_never_given_twice(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    assert journal.get_meta("instance") is None
    journal.set_meta("instance", "a7")
    assert [
        journal.next_epoch("symbol:SLV"),
        journal.next_epoch("symbol:SLV"),
        journal.next_epoch("broker"),
    ] == [1, 2, 1]
    journal.close()
    again = Journal.open(tmp_path)
    assert (again.get_meta("instance"), again.next_epoch("symbol:SLV")) == ("a7", 3)
    again.close()


def test_a_write_that_failed_is_never_tried_again_and_only_the_failure_is_recorded(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("a", [run_event(0)])
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    big = AlarmEvent(at=TEN, code="big", text="x" * 100_000)
    with pytest.raises(JournalFailed, match="full"):
        journal.append("a", [run_event(1), big])
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    with pytest.raises(JournalFailed, match="full"):
        journal.append("a", [run_event(2)])
    written, failed = journal.read()
    assert written == run_event(0)
    assert isinstance(failed, AlarmEvent)
    assert failed.code == "JOURNAL_FAILED"
    journal.close()


# --- who may open it, and what must hold ------------------------------------------------------------


def test_a_second_instance_is_refused_and_told_which_process_has_the_folder(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    other = f"from actors.journal import *; from pathlib import Path; Journal.open(Path({str(tmp_path)!r}))"
    run = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True)
    assert "JournalInUse" in run.stderr
    with pytest.raises(JournalInUse, match="in use by process"):
        Journal.open(tmp_path)
    journal.close()
    Journal.open(tmp_path).close()


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    Journal.open(tmp_path / "new" / "state").close()
    assert (tmp_path / "new" / "state").stat().st_mode & 0o777 == 0o700


def test_a_row_changed_by_hand_is_found_and_the_message_says_what_to_do(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("a", [run_event(n) for n in range(5)])
    journal.close()
    for change, complaint in [
        (
            "UPDATE event SET payload = CAST(replace(payload, 'started', 'stopped') AS BLOB) WHERE seq = 3",
            "row 3",
        ),
        ("UPDATE event SET stream = 'b' WHERE seq = 5", "row 5"),
        ("DELETE FROM event WHERE seq = 2", "row 2 is missing"),
        ("DROP TABLE event", "tables"),
        ("INSERT INTO meta VALUES ('epoch:broker', '1', x'00')", "'epoch:broker'"),
    ]:
        folder = tmp_path / "copy"
        folder.mkdir()
        shutil.copy(tmp_path / DATABASE, folder)
        with sqlite3.connect(folder / DATABASE) as connection:
            connection.execute(change)
        connection.close()
        with pytest.raises(JournalDamaged, match=complaint) as refusal:
            Journal.open(folder)
        assert "move it away" in str(refusal.value)
        shutil.rmtree(folder)


def test_the_journal_of_another_version_is_refused_at_the_door(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    KINDS["TeaEvent"] = KINDS["RunEvent"]
    try:
        tea = type("TeaEvent", (RunEvent,), {})
        from protocol import journal as rows

        rows._TO_PLAIN[tea] = rows._TO_PLAIN[RunEvent]
        journal.append("a", [tea(at=TEN, what="started", detail="")])
        del rows._TO_PLAIN[tea]
    finally:
        del KINDS["TeaEvent"]
        journal.close()
    with pytest.raises(UnreadableRow, match="TeaEvent"):
        Journal.open(tmp_path)


# --- crashes and bad disks ------------------------------------------------------------------------


def crashed_copy(folder: Path, *, batches: int = 12) -> Path:
    """A folder as `kill -9` leaves it: part of the rows in the main file, the rest in the WAL."""
    live, crashed = folder / "live", folder / "crashed"
    journal = Journal.open(live)
    for batch in range(batches):
        journal.append("a", [run_event(2 * batch), run_event(2 * batch + 1)])
        if batch == 3:
            journal.checkpoint()
    crashed.mkdir()
    for path in live.glob(DATABASE + "*"):
        if not path.name.endswith("-shm"):
            shutil.copy(path, crashed)
    journal.close()
    return crashed


def surviving(crashed: Path, scratch: Path) -> list[BaseEvent] | None:
    """The events that a journal opened on a copy of `crashed` holds; None when it refuses to open."""
    shutil.copytree(crashed, scratch)
    try:
        journal = Journal.open(scratch)
        events = list(journal.read())
        journal.close()
    except (JournalDamaged, JournalFailed, UnreadableRow):
        return None
    finally:
        shutil.rmtree(scratch)
    return events


WRITTEN = [run_event(n) for n in range(24)]


@pytest.mark.slow
def test_a_wal_torn_at_any_place_opens_and_loses_only_whole_transactions_from_its_end(tmp_path: Path) -> None:
    crashed = crashed_copy(tmp_path)
    wal = crashed / f"{DATABASE}-wal"
    whole = wal.read_bytes()
    assert surviving(crashed, tmp_path / "scratch") == WRITTEN
    lengths = set(range(0, len(whole), 509)) | set(range(len(whole) - 60, len(whole))) | set(range(80))
    longest_so_far = 8
    for length in sorted(lengths):
        wal.write_bytes(whole[:length])
        events = surviving(crashed, tmp_path / "scratch")
        assert events is not None
        assert events == WRITTEN[: len(events)]
        assert len(events) % 2 == 0
        assert len(events) >= longest_so_far
        longest_so_far = len(events)
    assert longest_so_far == 22


@pytest.mark.slow
@pytest.mark.parametrize("name", [DATABASE, f"{DATABASE}-wal"])
def test_inv_16_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, name: str) -> None:
    crashed = crashed_copy(tmp_path)
    path = crashed / name
    whole = path.read_bytes()
    # Of the last frame's header alone a flip cannot be told from a write that was cut short.
    last_frame = len(whole) - 4096 - 24 if name.endswith("-wal") else len(whole)
    refused = 0
    places = itertools.chain(range(200), range(200, last_frame, 293))
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        events = surviving(crashed, tmp_path / "scratch")
        refused += events is None
        assert events in (None, WRITTEN), f"byte {place}"
    assert refused > 30


@pytest.mark.slow
def test_a_flipped_bit_in_the_name_of_a_stream_hides_no_row_from_the_readers_of_that_stream(
    tmp_path: Path,
) -> None:
    """The index repeats the name of each row's stream, and whoever reads one stream goes by the index."""
    folder = tmp_path / "journal"
    journal = Journal.open(folder)
    for number in range(24):
        journal.append(f"symbol:{'ABC'[number % 3]}", [run_event(number)])
    journal.close()
    path, whole = folder / DATABASE, (folder / DATABASE).read_bytes()
    places = [match.start() for match in re.finditer(rb"symbol:[ABC]", whole)]
    assert len(places) >= 2 * 24
    for place in places:
        flipped = bytearray(whole)
        flipped[place + len("symbol:")] ^= 0b111
        path.write_bytes(flipped)
        with pytest.raises(JournalDamaged):
            Journal.open(folder)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 24))
def test_replaying_a_prefix_and_then_the_rest_is_replaying_the_whole(cut: int) -> None:
    journal = Journal.memory()
    journal.append("a", WRITTEN)
    rows = list(journal.rows())
    prefix = [row.event for row in rows if row.seq <= cut]
    rest = [row.event for row in journal.rows(after=cut)]
    assert prefix + rest == WRITTEN
    journal.close()


WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from actors.journal import Journal
from protocol.events import RunEvent
journal = Journal.open(Path(sys.argv[1]))
number = journal.head
while True:
    at = datetime(2025, 1, 1, tzinfo=UTC)
    batch = [RunEvent(at=at, what="x", detail=str(number + k)) for k in range(3)]
    journal.append("a", batch)
    number += 3
    print(number, flush=True)
    if number % 60 == 0:
        journal.checkpoint()
"""


@pytest.mark.slow
def test_kill_9_of_a_writer_loses_no_acknowledged_row(tmp_path: Path) -> None:
    acknowledged = 0
    for lines in (20, 55, 200):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(lines):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        for line in writer.stdout.read().splitlines():
            acknowledged = int(line)
        writer.stdout.close()
        writer.wait()
        journal = Journal.open(tmp_path)
        details = [event.detail for event in journal.read() if isinstance(event, RunEvent)]
        assert len(details) >= acknowledged
        assert len(details) % 3 == 0
        assert details == [str(number) for number in range(len(details))]
        journal.close()


async def test_the_journals_actor_checkpoints_off_the_loops_thread(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append("a", WRITTEN)
    before = (tmp_path / DATABASE).stat().st_size
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: keep(journal, period_loop_s=0.01, task_status=task_status))
        with trio.fail_after(10):
            while (tmp_path / DATABASE).stat().st_size == before:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    journal.append("a", [run_event(24)])
    journal.close()
    again = Journal.open(tmp_path)
    assert again.head == 25
    again.close()


async def test_a_synchronous_journal_leaves_its_actor_nothing_to_do(
    tmp_path: Path, autojump_clock: object
) -> None:
    journal = Journal.open(tmp_path, synchronous=True)
    journal.append("a", WRITTEN)
    with trio.move_on_after(3600) as hour:
        await keep(journal)
    assert hour.cancelled_caught
    assert journal._checkpointed == 0
    journal.close()
