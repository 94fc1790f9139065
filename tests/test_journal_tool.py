"""`scripts/journal.py`: whether a journal holds, and up to where; a trade from its signal to its end."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors.journal import Journal
from actors.journal_check import DATABASE
from protocol.events import (
    CancelEvent,
    PositionOpenEvent,
    PositionUpdateEvent,
    RejectEvent,
    RunEvent,
)
from protocol.journal import GENESIS, JournalRow, link
from protocol.trade_story import TradeStory, trade_stories
from protocol.values import MAIN, STOP, TARGET, OrderStatus, Side, Symbol
from scripts import journal as tool
from tests import journals
from tests.journals import GLD, SLV, at, ref

SCRIPT = Path(tool.__file__)
Ask = Callable[..., tuple[int, str, str]]

OPENED = PositionOpenEvent(
    at=at(0.5), symbol=SLV, trade=1, side=Side.BUY, quantity=100, stop_distance=Decimal("0.40"),
    target_distance=Decimal("0.40"), signal_id="s1", rule="long",
)  # fmt: skip


def told_journal() -> journals.Journal:
    """The winning trade, with its opening where the symbol writes it: behind the verdict."""
    rows = journals.a_winning_trade()
    place = next(n for n, (stream, _) in enumerate(rows) if stream == "symbol:SLV")
    return [*rows[: place + 1], ("symbol:SLV", OPENED), *rows[place + 1 :]]


def rows_of(told: journals.Journal) -> list[JournalRow]:
    return [JournalRow(n, stream, each.event_type, each.at, each) for n, (stream, each) in enumerate(told, 1)]


def story_of(told: journals.Journal) -> TradeStory:
    (story,) = trade_stories(rows_of(told), SLV)
    return story


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    journal = Journal.open(folder)
    for stream, event in told_journal():
        journal.append(stream, [event])
    journal.close()
    return folder


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])

    def call(*arguments: object) -> tuple[int, str, str]:
        code = tool.run([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def objects(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


# --- one trade ------------------------------------------------------------------------------------


def test_a_trade_is_told_from_its_signal_over_orders_and_fills_to_its_end() -> None:
    story = story_of(told_journal())
    assert [(step.step, "" if step.ref is None else step.ref.role) for step in story.steps] == [
        ("signal", ""),
        ("verdict", ""),
        ("opened", ""),
        *[("intent", role) for role in (MAIN, STOP, TARGET)],
        *[("sent", role) for role in (MAIN, STOP, TARGET)],
        ("filled", MAIN),
        ("filled", MAIN),
        ("ended", MAIN),
        ("stop moved", STOP),
        ("filled", TARGET),
        ("ended", TARGET),
        ("ended", STOP),
        ("commission", ""),
        ("commission", ""),
        ("commission", ""),
        ("closed", ""),
    ]
    assert (story.id, story.rule, story.signal_id, story.reason) == ("SLV:000001", "long", "s1", "target")
    assert (story.entered, story.quantity) == (100, 0)
    assert (story.realized_pnl, story.commission) == (Decimal("40.00"), Decimal("2.35125"))
    assert story.net_pnl == Decimal("37.64875")


def test_the_waits_of_a_trade_are_market_time_between_its_steps() -> None:
    story = story_of(told_journal())
    assert story.times_s == {
        "signal_to_verdict": 0.0,
        "verdict_to_sent": 1.0,
        "sent_to_first_fill": 1.0,
        "first_to_last_fill": 58.0,
        "opened_to_closed": 60.5,
    }
    told = story.to_dict()
    assert [step["after_s"] for step in told["steps"]][9:14] == [1.0, 0.0, 1.0, 2.0, 55.0]
    assert told["steps"][3]["ref"] == "rf:SLV:000001:main:r0"


def test_the_first_word_about_an_order_acknowledges_it_and_a_repetition_is_no_step() -> None:
    words = (OrderStatus.ACCEPTED, OrderStatus.ACCEPTED, OrderStatus.SUBMITTED, OrderStatus.CANCELLED)
    story = story_of([
        ("symbol:SLV", OPENED),
        *(("symbol:SLV", journals.status(ref(STOP), word)) for word in words),
    ])  # fmt: skip
    assert [step.step for step in story.steps] == ["opened", "acknowledged", "confirmed", "ended"]


def test_a_trade_that_lives_tells_what_it_holds_and_what_stands_against_it() -> None:
    story = story_of([
        ("symbol:SLV", OPENED),
        ("symbol:SLV", journals.filled(ref(MAIN), "1.01", Side.BUY, 60, "14.60")),
        ("symbol:SLV", journals.filled(ref(MAIN), "1.02", Side.BUY, 50, "14.60")),
        ("symbol:SLV", RejectEvent(
            at=at(3), ref=ref(TARGET), request="modify", code=201, reason="no", terminal=False
        )),
        ("symbol:SLV", CancelEvent(at=at(4), ref=ref(MAIN), why="too old")),
        ("symbol:SLV", PositionUpdateEvent(at=at(5), symbol=SLV, trade=1, reason="reversal")),
    ])  # fmt: skip
    assert (story.quantity, story.entered, story.reason) == (50, 50, "")  # the correction counts once
    assert [step.step for step in story.steps][-3:] == ["refused", "cancel asked", "closing"]


def test_what_belongs_to_other_trades_and_symbols_is_not_told() -> None:
    second = PositionOpenEvent(
        at=at(99), symbol=SLV, trade=2, side=Side.SELL, quantity=5, stop_distance=Decimal(1),
        target_distance=None, signal_id="", rule="short",
    )  # fmt: skip
    more: journals.Journal = [
        ("symbol:SLV", second),
        ("symbol:SLV", journals.filled(ref(MAIN, 2), "9.01", Side.SELL, 5, "15.00", 100)),
        ("symbol:SLV", journals.charged("0003.01", "1.50")),
        ("symbol:GLD", journals.filled(ref(MAIN, symbol=GLD), "8.01", Side.BUY, 7, "99.00")),
    ]
    first, last = trade_stories(rows_of([*told_journal(), *more]), SLV)
    assert first.commission == Decimal("2.85125")  # a late one replaces the first, and is its trade's
    assert (last.quantity, last.side, [step.step for step in last.steps]) == (
        -5, Side.SELL, ["opened", "filled"],
    )  # fmt: skip
    assert trade_stories(rows_of(told_journal()), SLV, 7) == []


def test_the_tool_tells_a_trade_to_people_and_to_programs(ask: Ask, sound: Path) -> None:
    code, out, err = ask("trade", "slv", "--state", sound)
    assert (code, err) == (0, "")
    missing = [
        words
        for words in (
            "SLV:000001: long 100 by rule long, by signal s1; closed, target", "as TWS order 10 of client 1",
            "BUY 60 at 14.60, execution 0001.01", "55.0 s", "stop moved", "0.35125 for execution 0002.01",
            "realized $40.00, commission $2.35, net $37.65", "sent to first fill 1.0 s",
        )
        if words not in out
    ]  # fmt: skip
    assert missing == []
    assert out.splitlines()[-1].startswith(f"next: journal.py why s1 --state {sound}")
    (told,) = objects(ask("trade", "SLV:000001", "--state", sound, "--json")[1])
    assert (told["position_id"], told["net_pnl"], len(told["steps"])) == ("SLV:000001", "37.64875", 20)


def test_a_trade_that_is_not_there_is_a_question_not_a_crash(ask: Ask, sound: Path) -> None:
    code, out, err = ask("trade", "SLV:000009", "--state", sound)
    assert (code, out) == (2, "")
    assert "the journal knows no such trade; `positions --closed` lists them" in err
    assert ask("trade", "SLV", "--state", sound, "--limit", "0")[0] == 2


def test_every_command_that_answers_ends_by_naming_the_next_one(ask: Ask, sound: Path) -> None:
    for words in (
        ("verify",), ("trade", "SLV"), ("events",), ("show", "SLV"), ("positions",), ("signals",),
        ("why", "s1"),
    ):  # fmt: skip
        code, out, _ = ask(*words, "--state", sound)
        assert code == 0
        assert out.splitlines()[-1].startswith("next: journal.py "), words


# --- whether it holds -----------------------------------------------------------------------------


def test_a_sound_journal_is_told_with_its_counts_and_its_head(ask: Ask, sound: Path) -> None:
    code, out, _ = ask("verify", "--state", sound)
    assert code == 0
    assert f"{sound / DATABASE}: sound" in out
    (told,) = objects(ask("verify", "--state", sound, "--json")[1])
    journal = Journal.open(sound)
    assert (told["rows"], told["head_hash"]) == (journal.head, journal.head_hash)
    journal.close()
    assert (told["sound"], told["damage"], told["versions"]) == (True, [], {"1": 22})
    assert told["kinds"]["FillEvent"] == 3
    assert (told["first_at"], told["last_at"]) == (at(0).isoformat(), at(61).isoformat())
    assert told["bytes"] == (sound / DATABASE).stat().st_size


@pytest.mark.parametrize(
    ("change", "damage", "rows"),
    [
        ("UPDATE event SET payload = x'7b7d' WHERE seq = 7", "row 7 is not what was written", 6),
        ("UPDATE event SET hash = x'00' WHERE seq = 1", "row 1 is not what was written", 0),
        ("DELETE FROM event WHERE seq = 3", "row 3 is missing", 2),
        ("DROP TABLE meta", "its tables are not those of a journal", 0),
        ("INSERT INTO meta VALUES ('epoch:broker', '1', x'00')", "the entry 'epoch:broker'", 22),
    ],
)
def test_damage_is_told_with_its_place_and_the_last_sound_row(
    ask: Ask, sound: Path, tmp_path: Path, change: str, damage: str, rows: int
) -> None:
    shutil.copy(sound / DATABASE, tmp_path)
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute(change)
    connection.close()
    code, out, _ = ask("verify", "--state", tmp_path)
    assert code == 1
    assert f"damage: {damage}" in out
    assert f"last sound row: {rows}," in out
    (told,) = objects(ask("verify", "--state", tmp_path, "--json")[1])
    assert (told["sound"], told["last_sound_row"]) == (False, rows)


def test_pages_that_are_gone_and_files_that_are_no_database_are_damage(
    ask: Ask, sound: Path, tmp_path: Path
) -> None:
    whole = (sound / DATABASE).read_bytes()
    for content in (whole[: len(whole) // 2], b"x" * 5000):
        (tmp_path / DATABASE).write_bytes(content)
        code, out, _ = ask("verify", "--state", tmp_path)
        assert code == 1
        assert "damage: " in out


def test_a_flip_in_the_wal_that_hides_rows_is_damage(ask: Ask, tmp_path: Path) -> None:
    live, copy = tmp_path / "live", tmp_path / "copy"
    copy.mkdir()
    journal = Journal.open(live)
    for number in range(8):
        journal.append("a", [RunEvent(at=at(number), what="started", detail="")])
    for path in live.glob(f"{DATABASE}*"):
        shutil.copy(path, copy)
    journal.close()
    wal = copy / f"{DATABASE}-wal"
    flipped = bytearray(wal.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    wal.write_bytes(flipped)
    (copy / f"{DATABASE}-shm").unlink()
    code, out, _ = ask("verify", "--state", copy)
    assert code == 1
    assert "of its WAL fails its checksum, and committed rows lie behind it" in out


def test_a_journal_is_verified_while_its_writer_writes(ask: Ask, tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for number in range(5):
        journal.append("a", [RunEvent(at=at(number), what="started", detail="")])
        (told,) = objects(ask("verify", "--state", tmp_path, "--json")[1])
        assert (told["sound"], told["rows"], told["head_hash"]) == (True, number + 1, journal.head_hash)
        if number == 2:
            journal.checkpoint()
    journal.append("a", [RunEvent(at=at(9), what="stopped", detail="")])
    journal.close()


def test_what_another_version_wrote_is_told_as_such_and_not_as_damage(ask: Ask, tmp_path: Path) -> None:
    Journal.open(tmp_path).close()
    chained = link(GENESIS, 1, "a", "TeaEvent", 1, b"{}")
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("INSERT INTO event VALUES (1, 'a', 'TeaEvent', 1, x'7b7d', ?, 0.0)", (chained,))
    connection.close()
    code, out, _ = ask("verify", "--state", tmp_path)
    assert code == 1
    assert "of another version: no event is called 'TeaEvent' here" in out
    assert "damage" not in out


def test_without_a_journal_there_is_nothing_to_verify(ask: Ask, tmp_path: Path) -> None:
    code, out, err = ask("verify", "--state", tmp_path)
    assert (code, out) == (2, "")
    assert err == f"journal.py: --state: {tmp_path}: holds no journal (journal.sqlite3)\n"
    assert ask("verify", "--stat", tmp_path)[0] == 2


@pytest.mark.slow
def test_the_tool_is_a_program_that_explains_itself(sound: Path) -> None:
    helped = subprocess.run([sys.executable, SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert "Is it sound?" in helped.stdout
    done = subprocess.run(
        [sys.executable, SCRIPT, "verify", "--state", sound], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("next: journal.py positions")


def test_a_symbol_is_not_asked_for_by_the_name_of_another() -> None:
    assert trade_stories(rows_of(told_journal()), Symbol("SL")) == []
