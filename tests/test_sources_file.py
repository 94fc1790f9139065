"""The file of signals: lines that are appended, half written, cut off, moved away; and where it left off."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from random import Random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.file_source import FileSignals
from actors.file_tail import CHUNK_BYTES, FileTail
from protocol.events import SignalVerdictEvent
from protocol.line_cutter import MAX_LINE_BYTES, LineCutter, LinePlace
from protocol.source_settings import FileSource
from tests.feeds import SourceBench, memory_grows_less_than, prediction, until


def line(name: str, ticker: str = "SLV", **changes: object) -> str:
    return json.dumps(prediction(name, ticker, **changes)) + "\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def source(bench: SourceBench, path: Path, **changes: object) -> FileSignals:
    settings = FileSource(path=str(path), **changes)  # type: ignore[arg-type]
    return FileSignals(settings, desk=bench.desk, clock=bench.clock, marks=bench, look_loop_s=0.01)


def reasons(bench: SourceBench) -> list[str]:
    return [event.reason for event in bench.journal.events if isinstance(event, SignalVerdictEvent)]


async def test_lines_that_are_appended_count_and_those_that_stood_there_do_not(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line("old") + line("half")[:20])
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: made.health() == ("ok", ""))
        append(path, line("half")[20:] + line("new") + "\n  \n")
        await until(lambda: len(bench.delivered) == 2)
        append(path, line("newer", "GLD"))
        await until(lambda: len(bench.delivered) == 3)
    assert bench.delivered == ["half", "new", "newer"]
    assert bench.journal.verdicts == {}


async def test_from_the_start_everything_counts(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line("one") + line("two"))
    bench = SourceBench()
    async with bench.going(source(bench, path, from_start=True)):
        await until(lambda: bench.delivered == ["one", "two"])


async def test_a_file_that_comes_later_counts_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: made.statistics().polls > 2)
        assert made.health()[0] == "waiting"
        path.write_text(line("one"))
        await until(lambda: bench.delivered == ["one"])
        assert made.health() == ("ok", "")
    assert bench.journal.alarms == []


async def test_a_line_counts_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text("")
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: made.health() == ("ok", ""))
        for character in line("one"):
            assert bench.delivered == []
            append(path, character)
            if character in "{:}":
                looks = made.statistics().polls
                await until(lambda looks=looks: made.statistics().polls > looks + 1)  # type: ignore[misc]
        await until(lambda: bench.delivered == ["one"])
    assert bench.journal.verdicts == {}


async def test_a_bad_line_gets_a_verdict_with_its_place_and_the_next_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text("")
    bench = SourceBench()
    made = source(bench, path)
    long = "x" * (MAX_LINE_BYTES + 1)
    async with bench.going(made):
        await until(lambda: made.health() == ("ok", ""))
        append(path, f"garbage\n{line('one')}[]\n{long}\n{line('two', confidence=9)}{line('three', 'TSLA')}")
        append(path, "\n" + line("four"))
        await until(lambda: "four" in bench.delivered)
    assert bench.delivered == ["one", "four"]
    assert sorted(bench.journal.verdicts.values()) == ["malformed"] * 4 + ["unknown_symbol"]
    places = [reason.split(": ")[0] for reason in reasons(bench)]
    assert places[:4] == [f"signals.jsonl:{number}" for number in (1, 3, 4, 5)]


async def test_a_file_that_is_moved_away_is_read_to_its_end_and_the_new_one_from_its_start(
    tmp_path: Path,
) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line("old"))
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: made.health() == ("ok", ""))
        with path.open("a") as writer:
            writer.write(line("one"))
            writer.flush()
            path.rename(tmp_path / "signals.jsonl.1")
            # Who writes it does not know yet, and never ends his last line.
            writer.write(line("two") + line("three")[:-1])
        path.write_text(line("four"))
        await until(lambda: len(bench.delivered) == 4)
        append(path, line("five"))
        await until(lambda: len(bench.delivered) == 5)
    assert bench.delivered == ["one", "two", "three", "four", "five"]
    assert bench.journal.alarms == []


@pytest.mark.parametrize("longer", [False, True])
async def test_a_file_that_is_truncated_is_read_from_its_start(tmp_path: Path, longer: bool) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line("old") * 3)
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: made.health() == ("ok", ""))
        append(path, line("one"))
        await until(lambda: bench.delivered == ["one"])
        path.write_text("".join(line(f"new {number}") for number in range(30 if longer else 1)))
        await until(lambda: len(bench.delivered) == (31 if longer else 2))
    assert bench.delivered[:2] == ["one", "new 0"]
    assert bench.journal.alarms == ["signals_file_replaced"]


async def test_after_a_restart_it_reads_on_where_it_left_off(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line("old"))
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: made.health() == ("ok", ""))
        append(path, line("one") + line("two")[:10])
        await until(lambda: bench.delivered == ["one"])
    append(path, line("two")[10:] + line("three"))
    again = bench.restarted()
    async with again.going(source(again, path)):
        await until(lambda: again.delivered == ["two", "three"])
    assert again.journal.verdicts == {}
    # Another file of the same name, while nobody looked.
    path.unlink()
    path.write_text(line("four"))
    third = again.restarted()
    async with third.going(source(third, path)):
        await until(lambda: third.delivered == ["four"])
    assert third.journal.alarms == ["signals_file_replaced"]


async def test_a_lost_mark_repeats_lines_and_acts_on_none_twice(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text(line("one") + "garbage\n")
    bench = SourceBench()
    async with bench.going(source(bench, path, from_start=True)):
        await until(lambda: len(bench.journal.verdicts) == 1)
    again = bench.restarted()
    again.meta.clear()
    made = source(again, path, from_start=True)
    append(path, line("two"))
    async with again.going(made):
        await until(lambda: again.delivered == ["two"])
    assert made.statistics().repeated == 1
    assert len(again.journal.verdicts) == 1


async def test_what_is_no_file_is_a_trouble_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    os.mkfifo(path)
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: bool(bench.journal.alarms))
        assert made.health()[0] == "down"
        path.unlink()
        path.mkdir()
        await until(lambda: made.statistics().troubles > 3)
        path.rmdir()
        path.write_text("")
        await until(lambda: made.health() == ("ok", ""))
        append(path, line("one"))
        await until(lambda: bench.delivered == ["one"])
    assert bench.journal.alarms == ["signals_unreadable", "signals_recovered"]


async def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_text("")
    bench = SourceBench()
    made = source(bench, path)
    async with bench.going(made):
        await until(lambda: made.health() == ("ok", ""))
        with memory_grows_less_than(6 * CHUNK_BYTES):
            with path.open("ab") as file:
                for _ in range(200):
                    file.write(b"x" * 100_000)
            append(path, "\n" + line("one"))
            await until(lambda: bench.delivered == ["one"])
    assert list(bench.journal.verdicts.values()) == ["malformed"]


async def test_no_line_is_acted_on_twice_or_lost_while_the_source_is_killed(tmp_path: Path) -> None:
    chance = Random(2)
    path = tmp_path / "signals.jsonl"
    names = [f"id {number}" for number in range(200)]
    bench = SourceBench()
    async with bench.supervised(source(bench, path, from_start=True)) as kill:
        for number, name in enumerate(names):
            text = line(name) + ("garbage\n" if number % 7 == 0 else "")
            cut = chance.randrange(len(text))
            append(path, text[:cut])
            if chance.random() < 0.2:
                await trio.sleep(chance.random() * 0.03)
                kill()
            append(path, text[cut:])
            if number in (60, 120):
                # What is moved away while nobody looks at it is not found again.
                await until(lambda number=number: len(bench.delivered) == number + 1)  # type: ignore[misc]
                path.rename(tmp_path / f"rotated.{number}")
        await until(lambda: len(bench.delivered) == len(names))
    assert bench.delivered == names
    assert all(getattr(event, "reason", "a test") == "a test" for event in bench.lives)


def test_a_file_source_without_a_path_is_not_made() -> None:
    bench = SourceBench()
    with pytest.raises(ValueError, match="path"):
        FileSignals(FileSource(), desk=bench.desk, clock=bench.clock, marks=bench)


# --- the parts ------------------------------------------------------------------------------------


@given(st.binary(max_size=200).map(lambda data: data.replace(b"x", b"\n")), st.lists(st.integers(0, 200)))
def test_however_a_file_is_cut_into_reads_its_lines_are_the_same(data: bytes, cuts: list[int]) -> None:
    cutter = LineCutter(LinePlace())
    found = []
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for begin, end in itertools.pairwise(edges):
        found += cutter.cut(data[begin:end])
        place = cutter.place
        assert data[: place.offset].endswith(place.tail)
        assert data[: place.offset].count(b"\n") == place.lines == len(found)
    found += cutter.finish()
    assert [each.content for each in found] == data.split(b"\n")[: len(found)]
    assert b"\n".join(each.content or b"" for each in found) in (data, data.removesuffix(b"\n"))
    assert [each.number for each in found] == list(range(1, len(found) + 1))


def test_a_long_file_is_read_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "signals.jsonl"
    path.write_bytes(b"x" * 999 + b"\n" + b"y" * 999 + b"\n" * 1000 + b"z" * CHUNK_BYTES)
    tail = FileTail(path, None, from_start=True)
    first = tail.look()
    assert first.more
    again = FileTail(path, tail.mark, from_start=False)
    assert again.look().lines == ()
    mark = tail.mark
    tail.drop()
    again.drop()
    fresh = FileTail(path, None, from_start=False)
    assert fresh.look().lines == ()
    assert mark is not None
    assert fresh.mark is not None
    assert [json.loads(each)["lines"] for each in (mark, fresh.mark)] == [1001, 1001]
    assert json.loads(fresh.mark)["offset"] == json.loads(mark)["offset"] == 2999
    fresh.drop()
