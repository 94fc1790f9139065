"""What a person may get wrong: one clear line each, the right exit code, nothing lost of what was good."""

from __future__ import annotations

import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from actors.child import TreeGaveUp
from actors.logs import close_log
from actors.run_end import reason_of
from actors.run_options import RunOptions, resolve
from protocol.values import Symbol
from scripts import supervisor
from tests.programs import (
    SIMULATOR,
    SUPERVISOR,
    kinds,
    prediction,
    program,
    report_of,
    started,
    write_market,
)

pytestmark = pytest.mark.slow

DAY = ((5, "AAA", "BUY"), (6, "BBB", "SHORT"))
LAST_MINUTE = 30


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("markets") / "market", DAY, minutes=LAST_MINUTE)


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


WRONG = {
    "--prot 1": "--prot",
    "--until-end --broker tws --tws 127.0.0.1:7497 --symbols AAA": "--until-end: only an embedded simulator",
    "--until-end": "--until-end: the synthetic market has no end",
    "--broker tws": "--broker tws: say where with --tws HOST:PORT",
    "--broker ib": "--broker",
    "--tws 127.0.0.1:7497": "--tws: needs --broker tws",
    "--broker tws --tws 7497 --symbols AAA": "--tws: must be HOST:PORT",
    "--broker tws --tws 127.0.0.1:7497 --symbols AAA --kill AAA@10:00:00": "--kill: only with the embedded",
    "--broker tws --tws 127.0.0.1:7497 --symbols AAA --market {market}": "--market: only with the embedded",
    "--speed 0": "--speed: must be more than 0",
    "--speed fast": "--speed",
    "--speed nan": "--speed: must be more than 0",
    "--duration -3": "--duration: must be more than 0",
    "--market {market} --kill ZZZ@10:00:00": "--kill: ZZZ is not among the symbols",
    "--market {market} --kill AAA@teatime": "--kill: 'teatime' is neither HH:MM:SS",
    "--market {market} --kill AAA": "--kill: must be SYMBOL@WHEN",
    "--market {market} --symbols ZZZ": "ZZZ",
    "--market /no/such/folder": "/no/such/folder: no such folder",
    "--market {empty}": "no usable file: SYMBOL.csv",
    "--market {market} --signals /no/such/file": "--signals: /no/such/file",
    "--report /no/such/folder/report.json": "--report: /no/such/folder/report.json: there is no such folder",
    "--report {empty}": "is a folder",
    "--state {market}/AAA.csv": "is not a folder",
    "--config /no/such/file.toml": "/no/such/file.toml",
}


OPTIONS = (
    "config", "broker", "tws", "client-id", "market", "signals", "symbols", "speed", "until-end", "duration",
    "state", "report", "seed", "connect-timeout", "kill", "check", "live", "log-format", "verbose",
)  # fmt: skip


SUB_COMMANDS = ("events", "show", "positions", "signals", "why")


@pytest.mark.parametrize("name", SUB_COMMANDS)
def test_a_sub_command_has_a_help_of_its_own(
    name: str, call_it: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_it([name, "--help"]) == 0
    helped = capsys.readouterr().out
    assert "--state" in helped
    assert "--json" in helped


@pytest.fixture
def call_it() -> Iterator[Callable[[list[str]], int]]:
    """The program within this process, which a start of Python for each call would slow down."""
    before, hooks = signal.getsignal(signal.SIGTERM), (sys.excepthook, threading.excepthook)
    yield supervisor.run
    signal.signal(signal.SIGTERM, before)
    close_log()
    sys.excepthook, threading.excepthook = hooks
    structlog.reset_defaults()


@pytest.mark.parametrize("call", WRONG)
def test_a_wrong_call_is_one_clear_line_and_exit_2(
    call: str,
    market: Path,
    tmp_path: Path,
    call_it: Callable[[list[str]], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = call_it([option.format(market=market, empty=tmp_path) for option in call.split()])
    said = capsys.readouterr()
    assert (code, said.out) == (2, ""), said.err
    assert WRONG[call] in said.err
    assert len(said.err.splitlines()) == 1, said.err


def test_everything_that_is_wrong_is_said_at_once(
    tmp_path: Path, call_it: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_it(["--speed", "0", "--until-end", "--report", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_help_says_everything_and_is_there_at_once() -> None:
    took_s = []
    for _ in range(3):
        began = time.monotonic()
        done = program(SUPERVISOR, "--help")
        took_s.append(time.monotonic() - began)
        assert done.returncode == 0
        missing = [option for option in OPTIONS if f"--{option}" not in done.stdout]
        assert missing == []
        assert [name for name in SUB_COMMANDS if f" {name} " not in done.stdout] == []
    assert min(took_s) < 2.0, "only what --help needs is imported"


def test_check_says_what_would_run_and_starts_nothing(market: Path, tmp_path: Path) -> None:
    state, report = tmp_path / "state", tmp_path / "report.json"
    done = program(
        SUPERVISOR,
        "--market",
        market,
        "--check",
        "--state",
        state,
        "--report",
        report,
        "--kill",
        "AAA@10:00:00",
    )
    assert (done.returncode, done.stderr) == (0, "")
    for said in (
        "speed 60",
        "from 2025-03-12 09:30 to 2025-03-12 16:00, New York time",
        "predictions: 2",
        f"state: {state}",
        f"report: {report}",
        "kill: AAA@10:00:00",
        "symbol CCC: $10000 an entry",
        "stop 3 %, target 8 %",
    ):
        assert said in done.stdout
    assert list(tmp_path.iterdir()) == []


# --- the market folder and the predictions ------------------------------------------------------------


def test_bad_lines_are_named_and_the_good_ones_traded(tmp_path: Path) -> None:
    market = write_market(tmp_path / "market", DAY, minutes=LAST_MINUTE)
    bars = (market / "AAA.csv").read_text().splitlines()
    bars[3] = "2025-03-12T09:32:00-04:00,40.0,not a price,40.0,40.0,100"
    bars[11], bars[12] = bars[12], bars[11]
    bars.insert(20, bars[19])
    (market / "AAA.csv").write_text("\n".join(bars) + "\n", encoding="utf-8")
    signals = (market / "signals.jsonl").read_text().splitlines()
    signals += ['{"id": "torn", "ticker": "AAA', prediction(8, "ZZZ", "BUY")]
    (market / "signals.jsonl").write_text("\n".join(signals) + "\n", encoding="utf-8")
    report, state = tmp_path / "report.json", tmp_path / "state"
    done = program(
        *(SUPERVISOR, "--market", market, "--speed", "2000", "--until-end"),
        *("--report", report, "--state", state),
    )
    assert done.returncode == 0, done.stderr
    assert "AAA.csv:4" in done.stderr
    assert "signals.jsonl:3" in done.stderr
    told = report_of(report)
    assert told["symbols"]["AAA"]["executions"] == 2
    assert told["symbols"]["BBB"]["executions"] == 2
    assert told["totals"]["signals"] == {"received": 4, "accepted": 2, "ignored": 0, "refused": 2}
    verdicts = {
        (payload["symbol"], payload["code"])
        for _, kind, payload in kinds(state)
        if kind == "SignalVerdictEvent" and payload["verdict"] == "refused"
    }
    assert {code for _, code in verdicts} == {"malformed", "unknown_symbol"}


def test_without_predictions_a_person_is_told() -> None:
    plan = resolve(RunOptions(broker="tws", tws="127.0.0.1:7497", symbols=(Symbol("AAA"),)))
    assert plan.warnings == ("nobody predicts anything: give --signals FILE, or a url in [signals.flow]",)


# --- brokers -------------------------------------------------------------------------------------------


def tws(port: int, market: Path, *more: str | Path) -> tuple[str | Path, ...]:
    where = ("--broker", "tws", "--tws", f"127.0.0.1:{port}", "--symbols", "AAA")
    return (*where, "--signals", market / "signals.jsonl", *more)


def test_no_broker_at_the_port_is_exit_3_within_the_time_out_and_still_reported(
    market: Path, free_port: int, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    began = time.monotonic()
    done = program(
        SUPERVISOR,
        *tws(free_port, market, "--connect-timeout", "2", "--report", report, "--state", tmp_path / "state"),
    )
    assert done.returncode == 3
    assert 2 <= time.monotonic() - began < 20
    assert [line for line in done.stderr.splitlines() if "no broker session within 2 s" in line]
    assert len(done.stderr.splitlines()) == 1
    told = report_of(report)
    assert told["exit"].startswith("no broker session within 2 s")
    assert told["broker"] is None


def test_a_silent_port_is_no_broker(market: Path, tmp_path: Path) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        port = int(mute.getsockname()[1])
        done = program(
            SUPERVISOR, *tws(port, market, "--connect-timeout", "2", "--state", tmp_path / "state")
        )
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


def test_a_tws_with_another_account_is_refused(market: Path, tmp_path: Path) -> None:
    config = tmp_path / "ours.toml"
    config.write_text('[broker]\naccount = "DU7777777"\n', encoding="utf-8")
    with started(SIMULATOR, tmp_path, "--port", "0") as simulator:
        port = int(simulator.until_said(r"^listening on 127\.0\.0\.1:(\d+)$"))
        done = program(SUPERVISOR, *tws(port, market, "--config", config, "--state", tmp_path / "state"))
    assert done.returncode == 2
    alarm, complaint = done.stderr.splitlines()
    assert "WRONG_ACCOUNT" in alarm
    assert complaint.startswith("supervisor.py: the broker manages DU")


def test_a_port_in_use_is_refused_by_the_simulator(tmp_path: Path) -> None:
    with started(SIMULATOR, tmp_path, "--port", "0") as simulator:
        port = simulator.until_said(r"^listening on 127\.0\.0\.1:(\d+)$")
        done = program(SIMULATOR, "--port", port)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


# --- the state folder -----------------------------------------------------------------------------------


def test_a_second_instance_on_one_state_folder_is_refused(market: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with started(SUPERVISOR, tmp_path, "--market", market, "--state", state) as first:
        first.until_said("link up")
        done = program(SUPERVISOR, "--market", market, "--state", state)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert f"in use by process {first.process.pid}" in done.stderr
        first.stop()


def test_a_damaged_journal_is_one_clear_line(market: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = program(SUPERVISOR, "--market", market, "--state", state, "--duration", "1")
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(state / "journal.sqlite3") as journal:
        journal.execute("UPDATE event SET payload = CAST(payload || ' ' AS BLOB) WHERE seq = 3")
    journal.close()
    done = program(SUPERVISOR, "--market", market, "--state", state)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "is damaged: row 3 is not what was written" in done.stderr


def test_the_simulators_books_of_another_market_are_one_clear_line(market: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert program(SUPERVISOR, "--market", market, "--state", state, "--duration", "1").returncode == 0
    other = write_market(tmp_path / "other", DAY, minutes=LAST_MINUTE)
    (other / "CCC.csv").unlink()
    done = program(SUPERVISOR, "--market", other, "--state", state)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "holds the books of another market" in done.stderr


def test_a_report_that_can_no_longer_be_written_is_said_and_fails_the_run(
    market: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    with started(SUPERVISOR, tmp_path, "--market", market, "--report", folder / "report.json") as run:
        run.until_said("link up")
        folder.rmdir()
        run.stop(signal.SIGTERM, code=1)
    assert [line for line in run.complained() if "--report" in line and "No such file" in line]


def test_a_tree_that_gives_up_has_an_exit_code_of_its_own() -> None:
    gave_up = TreeGaveUp("trading died 4 times in 60 s")
    gave_up.__cause__ = RuntimeError("a bug")
    assert reason_of(gave_up) == ("the supervision tree gave up: trading died 4 times in 60 s", 70)
