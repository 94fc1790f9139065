"""The sub-commands that look at a run and act on it: against a run that goes on, and one that is over."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from actors import control_tables as tables
from actors.control_client import Address
from actors.journal import Journal
from actors.journal_tables import Screen
from protocol.control_events import KillLevelEvent, LockEvent
from protocol.events import ActorStartedEvent, AlarmEvent, PositionOpenEvent, RunEvent
from protocol.values import MAIN, STOP, Side, Symbol
from scripts import supervisor
from tests import programs
from tests.journals import a_winning_trade, at, filled, new, ref
from tests.programs import SUPERVISOR, Program, started, wait_until
from tests.test_control_messages import STATUS

Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other systems of the same user are none of these tests' business."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Iterator[Ask]:
    """A sub-command within this process: its exit code and what it said."""
    before = signal.getsignal(signal.SIGTERM)

    def call(words: str, *more: str) -> tuple[int, str, str]:
        code = supervisor.run([*words.split(), *more])
        said = capsys.readouterr()
        return code, said.out, said.err

    yield call
    signal.signal(signal.SIGTERM, before)


def objects(text: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in text.splitlines()]


# --- a run that is over -----------------------------------------------------------------------------


@pytest.fixture
def over(tmp_path: Path) -> Path:
    """SLV won a trade and holds the next one; the run was killed at kill level HALT, with a lock on SLV."""
    folder = tmp_path / "over"
    journal = Journal.open(folder)
    journal.append("system", [
        RunEvent(at=at(0), what="started", detail="0.1"),
        ActorStartedEvent(at=at(0), actor="symbol:SLV", epoch=1),
    ])  # fmt: skip
    for stream, event in a_winning_trade():
        journal.append(stream, [event])
    entry, stop = ref(MAIN, trade=2), ref(STOP, trade=2)
    journal.append("symbol:SLV", [opened(2), new(entry), new(stop, stop="14.20")])
    journal.append("symbol:SLV", [filled(entry, "0009.01", Side.BUY, 100, "14.60", seconds=90)])
    journal.append("risk", [
        KillLevelEvent(at=at(95), level=2, before=0, who="ann", why="strange"),
        LockEvent(at=at(96), lock="L000001", symbol="SLV", kind="person", reason="news", who="ann"),
        AlarmEvent(at=at(97), code="KILL_LEVEL", text="halt"),
    ])  # fmt: skip
    journal.close()
    return folder


def opened(trade: int) -> PositionOpenEvent:
    return PositionOpenEvent(
        at=at(80), symbol=Symbol("SLV"), trade=trade, side=Side.BUY, quantity=100,
        stop_distance=Decimal("0.40"), target_distance=None, signal_id="s9", rule="long",
    )  # fmt: skip


def test_the_status_of_a_run_that_is_over_comes_from_its_journal(ask: Ask, over: Path) -> None:
    code, out, err = ask(f"status --state {over}")
    assert (code, err) == (0, "")
    assert "not running: it ended without a word" in out
    assert "kill level: halt" in out
    assert "L000001" in out
    assert "KILL_LEVEL" in out
    assert out.splitlines()[-1].startswith("next: supervisor.py ")
    (told,) = objects(ask(f"status --json --state {over}")[1])
    assert told["run"]["running"] is False
    assert [(line["symbol"], line["position"], line["held"]) for line in told["symbols"]] == [
        ("SLV", 100, "kill level halt")
    ]
    assert told["tree"][0]["id"] == "symbol:SLV"


def test_orders_rules_and_locks_of_a_run_that_is_over_come_from_its_journal(ask: Ask, over: Path) -> None:
    told = objects(ask(f"orders --json --state {over}")[1])
    assert [(order["role"], order["quantity"], order["stop_price"]) for order in told] == [
        ("stop", 100, "14.20")
    ]
    assert "14.2" in ask(f"orders SLV --state {over}")[1]
    assert ask(f"rules --json --state {over}") == (0, "", "")
    (locks,) = objects(ask(f"locks --json --state {over}")[1])
    assert [lock["lock"] for lock in locks["locks"]] == ["L000001"]
    code, out, err = ask(f"orders SVL --state {over}")
    assert (code, out) == (2, "")
    assert 'did you mean "SLV"?' in err


@pytest.mark.parametrize("words", ["pause SLV", "kill halt --why x", "limits", "sources", "stop"])
def test_what_only_a_running_system_can_do_says_so_with_exit_3(ask: Ask, over: Path, words: str) -> None:
    code, out, err = ask(f"{words} --state {over}")
    assert (code, out) == (3, "")
    assert f"no running system answers for --state {over}" in err
    assert f"`status --state {over}`" in err
    code, out, err = ask(words)
    assert (code, out) == (3, "")
    assert "no running system of this user was found" in err


@pytest.mark.parametrize("words", ["status", "positions", "signals", "show SLV", "events", "why SLV:000001"])
def test_without_a_folder_and_without_a_run_there_is_nothing_to_look_at(ask: Ask, words: str) -> None:
    assert ask(words)[0] == 3


@pytest.mark.parametrize(
    "words", ["kill", "lock --minutes soon", "limits tighten x", "restart", "pause --typo"]
)
def test_a_wrong_call_is_exit_2(ask: Ask, words: str) -> None:
    code, out, err = ask(words)
    assert (code, out) == (2, "")
    assert err.startswith("supervisor.py: ")


@pytest.mark.parametrize("words", ["flatten --why x", "kill flatten --why x", "kill K4 --why x"])
def test_without_a_terminal_nobody_is_asked_again(
    ask: Ask, words: str, running_demo: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("flatten\n"))
    code, out, err = ask(words)
    assert (code, out) == (2, "")
    assert "confirm it with --yes" in err


@pytest.fixture
def running_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a system ran, that does not answer when it is asked: exit 3 instead of 2."""
    from actors import control_program

    nowhere = Address(Path("/nowhere"), Path("/nowhere/control.sock"))
    monkeypatch.setattr(control_program, "find", lambda _: nowhere)


class Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_at_a_terminal_the_word_has_to_be_typed(
    ask: Ask, running_demo: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard("no\n"))
    code, out, err = ask("flatten --why x")
    assert (code, err) == (2, "supervisor.py: not confirmed: nothing was done\n")
    assert "type flatten to go on" in out
    monkeypatch.setattr(sys, "stdin", Keyboard(""))
    assert ask("kill flatten --why x")[0] == 2
    for words in ("flatten --why x", "kill flatten --why x", "flatten --why x --yes", "kill halt --why x"):
        monkeypatch.setattr(sys, "stdin", Keyboard("flatten\n"))
        assert ask(words)[0] == 3, "it was asked"


# --- tables -----------------------------------------------------------------------------------------


def test_what_strangers_wrote_stays_on_its_line_and_is_no_markup() -> None:
    import attrs

    out = io.StringIO()
    lock = attrs.evolve(STATUS.locks[0], reason="[bold]a\x1b[2Jb\nc")
    tables.show_status(Screen(out), attrs.evolve(STATUS, locks=(lock,)))
    assert "[bold]a [2Jb c" in out.getvalue()
    assert "\x1b" not in out.getvalue()


# --- a run that goes on -----------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[tuple[Program, Path]]:
    state = tmp_path / "state"
    places = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "TMPDIR": str(tmp_path)}
    with started(SUPERVISOR, tmp_path, "--state", state, "--duration", "120", **places) as program:
        program.until_said(r"main fills")
        yield program, state


@pytest.mark.slow
def test_a_running_demo_is_looked_at_paused_tightened_closed_killed_reset_and_stopped(
    ask: Ask, demo: tuple[Program, Path], tmp_path: Path
) -> None:
    program, state = demo

    def told(words: str, *more: str) -> list[dict[str, Any]]:
        code, out, err = ask(f"{words} --json", *more)
        assert (code, err) == (0, ""), (words, code, err)
        return objects(out)

    def said(words: str, *more: str) -> str:
        code, out, err = ask(words, *more)
        assert (code, err) == (0, ""), (words, code, err)
        assert out.splitlines()[-1].startswith("next: supervisor.py ")
        return out

    assert "control: scripts/run status --state" in program.said()
    (status,) = told("status")
    assert status["run"]["state"] == str(state)
    assert (status["run"]["running"], status["run"]["pid"]) == (True, program.process.pid)
    assert {actor["id"] for actor in status["tree"]} >= {"broker", "risk", "control", "symbols"}
    held = told("positions")[0]["symbol"]
    assert {order["role"] for order in told("orders", held)} >= {"stop", "target"}
    for words in ("status", "positions", "positions --closed", "orders", f"show {held}", "rules", "signals",
                  "events", "locks", "limits", "sources", f"why {held}:000001"):  # fmt: skip
        said(words)
    assert told(f"show {held}")[0]["live"]["line"]["actor"] == "running"

    said("pause", "--why", "news")
    assert [lock["symbol"] for lock in told("locks")[0]["locks"]] == [""]
    said(f"lock {held} --minutes 5 --why auction")
    said("unlock L000002 --why over")
    said("resume")
    said("limits tighten max_positions 10 --why careful")
    assert ask("limits tighten max_positions 11 --why careless")[0] == 2
    assert [limit["limit"] for limit in told("limits") if limit["name"] == "max_positions"] == [
        "10",
    ]
    said("sources tickers flow SPY")
    said("sources stop flow")
    assert [source["running"] for source in told("sources")] == [False]
    said("sources start flow")
    said(f"restart {held} --why odd")
    assert ask(f"release {held} --why odd")[0] == 2
    assert ask("restart NONE --why odd")[0] == 2
    assert ask("flatten --yes")[0] == 2, "without a reason"
    said("kill reduce --why careful")
    said("flatten --yes", "--why", "end of the day")
    wait_until(lambda: not any(each["quantity"] for each in told("positions")), program, "all flat")
    said("kill sever --yes --why enough")
    wait_until(lambda: told("status")[0]["link"]["state"] == "down", program, "the link is cut")
    said("kill reset halt --why calmer")
    assert told("locks")[0]["kill"]["level"] == 2
    refused = ask("kill flatten --json --why x")
    assert refused[0] == 2

    # Another process, another folder as the working one: found by its note alone.
    other = programs.program(
        SUPERVISOR, "stop", "--why", "enough", XDG_RUNTIME_DIR=str(tmp_path / "run"), TMPDIR=str(tmp_path)
    )
    assert (other.returncode, other.stderr) == (0, "")
    # Halted by risk: whoever starts it again should know.
    assert program.process.wait(30) in (0, 4)
    assert f"stopped by {os.environ.get('USER', '')}"[:11] in program.said()
    assert ask("status")[0] == 3
    assert "kill level: halt" in ask(f"status --state {state}")[1]
    asked = objects(ask(f"events --state {state} --type OperatorEvent --json")[1])
    assert [event["action"] for event in asked][:4] == ["pause", "lock", "unlock", "resume"]
    assert all(event["who"] for event in asked)
    assert not (tmp_path / "run" / "ringfence").exists()
