"""The program: `python scripts/tws_simulator.py`."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from protocol.tws import messages as m
from tests.memory_client import MemoryClient
from tests.tws_faces import SLV, limit_order, market_order

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "tws_simulator.py"
PATIENCE_S = 20.0


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def program(*options: str) -> subprocess.CompletedProcess[str]:
    """A run that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd="/",
        env=environment(),
    )


@contextmanager
def running(*options: str, how: int = signal.SIGTERM) -> Iterator[int]:
    """The program on a free port, ended by a signal; yields the port."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--port", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=environment(),
    )
    assert process.stdout is not None
    with process:
        line = process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        try:
            yield int(line.rpartition(":")[2])
        finally:
            process.send_signal(how)
            code = process.wait(PATIENCE_S)
    assert code == (0 if how != signal.SIGKILL else -signal.SIGKILL)


def talk(port: int, *asked: m.ClientRequest, wait_for: type[m.ServerMessage]) -> list[m.ServerMessage]:
    """What client 1 hears until the message it waits for."""

    async def conversation() -> list[m.ServerMessage]:
        with trio.fail_after(PATIENCE_S):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                client = MemoryClient(stream)
                await client.connect(1)
                for request in asked:
                    await client.send(request)
                await client.until(wait_for)
                return client.heard

    return trio.run(conversation)


def test_help_teaches_and_does_nothing() -> None:
    done = program("--help")
    assert done.returncode == 0
    assert "--truth" in done.stdout
    assert "--state" in done.stdout
    assert "--faults" in done.stdout
    assert "--control" in done.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_stops_cleanly(how: int) -> None:
    with running(how=how) as port:
        heard = talk(port, m.ReqCurrentTime(), wait_for=m.CurrentTime)
    assert m.ManagedAccounts(("DU1234567",)) in heard


def test_account_cash_and_version_can_be_chosen() -> None:
    with running("--account", "DU77", "--cash", "5000", "--server-version-max", "157") as port:
        summary = m.ReqAccountSummary(1, "All", "TotalCashValue")
        heard = talk(port, summary, wait_for=m.AccountSummaryEnd)
    assert m.AccountSummary(1, "DU77", "TotalCashValue", "5000.00", "USD") in heard


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--market", "/no/such/folder"), "/no/such/folder: no such folder"),
        (("--prot", "1"), "--prot"),
        (("--port", "x"), "--port"),
        (("--speed", "0"), "--speed: must be more than 0"),
        (("--start", "25:00"), "--start: must be a time of day such as 09:45"),
        (("--start", "03:00"), "--start: the exchange is closed"),
        (("--cash", "lots"), "--cash: must be an amount"),
        (("--server-version-max", "201"), "--server-version-max: must be 157 to 200"),
        (("--truth", "/no/such/folder/truth"), "--truth: /no/such/folder/truth"),
        (("--control", "70000"), "--control: must be from 0 to 65535"),
        (("--account", "DU1", "--account", "DU1=5"), "--account: DU1 is named twice"),
        (("--faults", "/no/such/file.toml"), "/no/such/file.toml: cannot be read"),
    ],
)
def test_a_wrong_call_is_one_clear_line_and_exit_2(options: tuple[str, ...], complaint: str) -> None:
    done = program(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_everything_that_is_wrong_in_the_files_is_told_at_once(tmp_path: Path) -> None:
    first, second = tmp_path / "settings.toml", tmp_path / "faults.toml"
    first.write_text('[venue]\nexchang = "IEX"\n[session]\norder_latency_s = -1\n')
    second.write_text('[[fault]]\nkind = "drop_conection"\n')
    done = program("--settings", str(first), "--faults", str(second))
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.rpartition("tws_simulator.py: ")[2] for line in done.stderr.splitlines()] == [
        f'{first}: venue.exchang: unknown key; did you mean "exchange"?',
        f"{first}: session: 'order_latency_s' must be >= 0: -1.0",
        f"{second}: fault[1].kind: 'drop_conection' is no fault; did you mean \"drop_connection\"?",
    ]


def test_several_accounts_and_a_fault_from_a_file_and_the_end_by_command(tmp_path: Path) -> None:
    faults, truth = tmp_path / "faults.toml", tmp_path / "truth.jsonl"
    faults.write_text('[[fault]]\nkind = "shift_next_id"\nby = 99\n')
    options = ("--account", "DU1", "--account", "DU2=5000", "--faults", str(faults), "--truth", str(truth))
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--port", "0", "--control", "0", *options],
        stdout=subprocess.PIPE, text=True, cwd="/", env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        ports = [int(process.stdout.readline().rpartition(":")[2]) for _ in range(2)]
        heard = talk(ports[0], wait_for=m.NextValidId)
        assert m.ManagedAccounts(("DU1", "DU2")) in heard
        assert m.NextValidId(100) in heard
        with socket.create_connection(("127.0.0.1", ports[1]), PATIENCE_S) as control:
            control.sendall(b'{"do": "books"}\n{"do": "stop"}\n')
            books = json.loads(control.makefile().readline())
        assert process.wait(PATIENCE_S) == 0
    assert [account["cash"] for account in books["accounts"]] == [1_000_000, 5000]
    faults_told = [json.loads(line) for line in truth.read_text().splitlines()]
    assert [line["fault"] for line in faults_told if line["kind"] == "fault"] == ["shift_next_id"]


def test_a_port_in_use_is_one_clear_line_and_exit_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = program("--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot listen" in done.stderr


def test_the_truth_is_there_and_the_books_survive_a_kill(tmp_path: Path) -> None:
    truth, state = tmp_path / "truth.jsonl", tmp_path / "state"
    options = ("--truth", str(truth), "--state", str(state), "--speed", "5")
    buy = m.PlaceOrder(1, SLV, market_order("BUY", 100))
    sell = m.PlaceOrder(2, SLV, limit_order("SELL", 100, 500.0, "GTC"))
    with running(*options, how=signal.SIGKILL) as port:
        talk(port, m.ReqMktData(9, SLV), buy, sell, wait_for=m.CommissionReport)
    with running(*options) as port:
        asked = (m.ReqExecutions(5, m.ExecutionFilter()), m.ReqPositions(), m.ReqCurrentTime())
        heard = talk(port, *asked, wait_for=m.CurrentTime)
    assert m.NextValidId(3) in heard
    assert [message.order_id for message in heard if isinstance(message, m.OpenOrder)] == [2]
    assert [message.position for message in heard if isinstance(message, m.Position)] == [100]
    kinds = [json.loads(line)["kind"] for line in truth.read_text().splitlines()]
    assert kinds.count("execution") == 1
    assert kinds[-1] == "end"


def test_a_recorded_folder_is_replayed(tmp_path: Path) -> None:
    folder = Path(os.environ.get("RINGFENCE_MARKET", ROOT.parent / "shared" / "market")) / "bars-2019-02"
    if not folder.is_dir():
        pytest.skip("the recorded sessions are not on this machine")
    with running("--market", str(folder), "--speed", "60", "--start", "09:45") as port:
        heard = talk(port, m.ReqMktData(1, SLV), wait_for=m.TickString)
    prices = [message.price for message in heard if isinstance(message, m.TickPrice)]
    assert all(14 < price < 15.5 for price in prices)
