"""The log: what is let through, where it goes, how much of it, and what it never holds."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from actors.known_secrets import KNOWN
from actors.log_writer import MAX_WAITING_LINES, LogLine, LogWriter, RotatedFile
from actors.logs import close_log, same_place, set_up_log
from protocol.config_log import PARTS
from protocol.log_limits import MAX_KEYS, WINDOW_LOOP_S, KeyLimit, LogLevels
from protocol.settings import LogSettings

CANARY = "canary-of-the-log-51d0"
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def log_of_the_test() -> Iterator[None]:
    """Each test sets the process's log up for itself; none is left behind."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    yield
    close_log()
    root.handlers[:] = before
    structlog.reset_defaults()


def written(capsys: pytest.CaptureFixture[str]) -> list[str]:
    close_log()
    return capsys.readouterr().err.splitlines()


# --- levels -----------------------------------------------------------------------------------------


def test_standard_error_shows_warnings_and_with_verbose_whatever_is_let_through() -> None:
    quiet, loud = LogLevels("info"), LogLevels("info", verbose=True)
    assert [quiet.shown("run", level) for level in ("debug", "info", "warning", "error")] == [0, 0, 1, 1]
    assert [loud.shown("run", level) for level in ("debug", "info", "warning", "error")] == [0, 1, 1, 1]
    assert quiet.wanted("run", "info"), "the file has it"


def test_a_part_with_a_level_of_its_own_shows_that_everywhere() -> None:
    levels = LogLevels("error", (("alerts", "debug"), ("libraries", "critical")))
    assert levels.shown("alerts", "debug")
    assert levels.wanted("alerts", "debug")
    assert not levels.wanted("run", "warning")
    assert not levels.wanted("libraries", "error")
    assert levels.lowest == logging.DEBUG


def test_every_logger_of_the_source_is_a_part_that_the_configuration_knows() -> None:
    named = re.compile(r"structlog\.get_logger\(\"([^\"]*)\"\)")
    found = {
        name
        for folder in ("actors", "scripts")
        for file in (ROOT / folder).rglob("*.py")
        for name in named.findall(file.read_text(encoding="utf-8"))
    }
    assert found - set(PARTS) == set()


# --- how many ---------------------------------------------------------------------------------------


def test_so_many_lines_of_one_kind_a_minute_and_the_rest_is_counted() -> None:
    limit, key = KeyLimit(3), ("run", "storm")
    assert [limit.take(key, 0.1 * number) for number in range(10)] == [True] * 3 + [False] * 7
    assert limit.take(("run", "other"), 1.0)
    assert limit.untold(WINDOW_LOOP_S - 1) == ()
    assert limit.untold(WINDOW_LOOP_S) == ((key, 7),)
    assert limit.untold(WINDOW_LOOP_S + 1) == ()
    assert limit.take(key, WINDOW_LOOP_S + 1)


def test_a_storm_that_goes_on_is_told_once_a_minute() -> None:
    limit, key = KeyLimit(2), ("run", "storm")
    told, let_through = [], 0
    for second in range(600):
        let_through += limit.take(key, float(second))
        told += [count for _, count in limit.untold(float(second))]
    assert 18 <= let_through <= 22
    assert 8 <= len(told) <= 10
    assert all(57 <= count <= 60 for count in told)


def test_kinds_of_lines_without_end_cost_bounded_memory() -> None:
    limit = KeyLimit(1)
    for number in range(3 * MAX_KEYS):
        assert limit.take(("run", f"kind {number}"), 0.001 * number)
    assert len(limit._windows) <= MAX_KEYS


def test_a_limit_that_was_reached_is_told_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log("text", verbose=False, settings=LogSettings(max_per_key_per_min=2))
    for number in range(5):
        structlog.get_logger("run").warning("storm", number=number)
    lines = written(capsys)
    assert len([line for line in lines if "storm [run]" in line]) == 2
    assert [line for line in lines if "left out" in line and "count=3" in line and "of=storm" in line]


# --- what a line holds ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_line_is_one_line_and_holds_nothing_that_a_terminal_obeys(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log(form, verbose=False)
    structlog.get_logger("run").warning("first\r\nsupervisor.py: all is well\x1b[2J", reason="a\nb\x07")
    lines = written(capsys)
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert "first" in lines[0]


def refuse(held_in_a_local_variable: str) -> None:
    raise ValueError("refused: " + held_in_a_local_variable)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_account_or_address_is_in_a_line(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    KNOWN.know(CANARY)
    set_up_log(form, verbose=True)
    log = structlog.get_logger("run")
    log.warning("plain " + CANARY, url=f"https://u:{CANARY}@host/x?key={CANARY}", account="DU7654321")
    log.error("nested", headers={"X-API-Key": CANARY}, chain=ValueError(CANARY))
    log.error("actor crashed", traceback=f"Traceback\n  File x\nValueError: {CANARY}")
    try:
        refuse(CANARY)
    except ValueError:
        log.exception("caught")
    logging.getLogger("httpx2").warning("POST https://host/bot%s/send?x=%s", CANARY, CANARY)
    text = "\n".join(written(capsys))
    assert CANARY not in text
    assert "DU7654321" not in text
    assert "DU…" in text
    assert "ValueError: refused: [redacted]" in text
    assert "held_in_a_local_variable = " not in text
    assert "https://host/x?…" in text
    assert "libraries" in text


def test_json_lines_are_objects_with_level_part_time_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log("json", verbose=False)
    structlog.get_logger("alarm").error("books differ", code="BOOKS_DISAGREE", symbol="SLV", count=3)
    (line,) = map(json.loads, written(capsys))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "books differ", "level": "error", "logger": "alarm", "code": "BOOKS_DISAGREE",
        "symbol": "SLV", "count": 3,
    }  # fmt: skip


# --- the file ---------------------------------------------------------------------------------------


def test_the_file_has_more_than_the_screen_and_is_the_users_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.log"
    set_up_log("text", verbose=False, settings=LogSettings(file=str(path)))
    log = structlog.get_logger("run")
    log.info("rules read again")
    log.warning("tickers could not be polled")
    log.debug("nobody wants this")
    assert [line.split("] ")[1] for line in written(capsys)] == ["tickers could not be polled [run]"]
    assert [line.split("] ")[1] for line in path.read_text().splitlines()] == [
        "rules read again [run]", "tickers could not be polled [run]",
    ]  # fmt: skip
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_are_rotated_and_together_never_larger_than_allowed(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    set_up_log(
        "json", verbose=False, settings=LogSettings(file=str(path), max_bytes=10_000, keep=2,
                                                    max_per_key_per_min=10_000),
    )  # fmt: skip
    for number in range(1000):
        structlog.get_logger("run").info("a line of the log that says something", number=number)
    close_log()
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["run.log", "run.log.1", "run.log.2"]
    assert all(file.stat().st_size <= 10_000 for file in tmp_path.iterdir())
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in tmp_path.iterdir())
    assert json.loads(path.read_text().splitlines()[-1])["number"] == 999


def test_a_file_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        set_up_log("text", verbose=False, settings=LogSettings(file=str(tmp_path / "none" / "run.log")))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        set_up_log("text", verbose=False, settings=LogSettings(file=str(tmp_path / "link")))


def test_a_disk_that_refuses_costs_lines_and_nothing_else() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    screen = io.StringIO()
    writer = LogWriter(screen, RotatedFile(Path("/dev/full"), max_bytes=0, keep=1))
    writer.take(LogLine(screen="one", file="one"))
    writer.take(LogLine(screen="two", file="two"))
    writer.close()
    # The writer may have told of the first before the second came.
    lines = [line for line in screen.getvalue().splitlines() if not line.startswith("…")]
    assert lines == ["one", "two"]
    assert "could not be written to /dev/full" in screen.getvalue()


# --- nobody waits -----------------------------------------------------------------------------------


class StuckScreen(io.StringIO):
    """A pipe that nobody reads: a write does not come back until `read` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.reader_is_back = threading.Event()

    def write(self, text: str) -> int:
        self.reader_is_back.wait(10)
        return super().write(text)


@pytest.mark.slow
def test_a_reader_who_stands_still_holds_up_nobody_and_is_told_what_was_lost() -> None:
    screen = StuckScreen()
    writer = LogWriter(screen)
    writer.take(LogLine(screen="first", file=None))
    while writer._waiting:  # until the thread is stuck with it
        pass
    for number in range(MAX_WAITING_LINES + 5):
        writer.take(LogLine(screen=f"line {number}", file=None))
    assert not writer.flush(0.01)
    screen.reader_is_back.set()
    writer.close()
    lines = screen.getvalue().splitlines()
    assert len(lines) == 1 + MAX_WAITING_LINES + 1
    assert lines[-1] == "… 5 lines of the log were lost: its reader is too slow"


def test_a_critical_line_is_written_before_the_program_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log("text", verbose=False)
    structlog.get_logger("watchdog").critical("ending the process", stuck="symbol:SLV")
    assert "ending the process" in capsys.readouterr().err


def test_a_reader_who_has_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    screen = os.fdopen(write, "w")
    writer = LogWriter(screen)
    writer.take(LogLine(screen="to nobody", file=None))
    assert writer.flush()
    writer.take(LogLine(screen="again", file=None))
    writer.close()
    with pytest.raises(BrokenPipeError):
        screen.close()


def test_the_same_place_is_known_by_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "both"
    with path.open("w") as one, path.open("a") as other, (tmp_path / "else").open("w") as third:
        assert same_place(one, other)
        assert not same_place(one, third)
    assert not same_place(io.StringIO(), io.StringIO())
    assert sys.stderr is not None
