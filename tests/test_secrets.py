"""INV-40: no secret is in logs, journal, report or crash output, whatever fails and however carelessly.

Real runs with canaries for secrets, against services that echo whatever they are sent; then everything that
was written is searched for them.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import attrs
import pytest
import structlog

from actors.logs import close_log
from scripts import supervisor
from tests.programs import ROOT, Program, started, wait_until
from tests.secrets_worker import READY

pytestmark = pytest.mark.slow

API_KEY, HOOK, FEED, TELEGRAM, ROOM = CANARIES = (
    "canary-api-key-91f2", "canary-hook/with+signs&3c", "canary-feed-77aa", "510:canary-telegram_08",
    "canary-discord-room-4e",
)  # fmt: skip


class Echo(BaseHTTPRequestHandler):
    """Refuses everything, and says in head and body what it was sent."""

    heard: list[str]

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        said = f"{self.requestline} {dict(self.headers)} {self.rfile.read(length)!r}"
        type(self).heard.append(said)
        body = json.dumps({"status": "error", "error": said, "code": 401, "message": said}).encode()
        self.send_response(401, said.replace("\r", "").replace("\n", ""))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("WWW-Authenticate", self.headers.get("x-api-key", "none"))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 (the library's name)

    def log_message(self, *_: object) -> None:
        """Standard error is the tests'."""


@attrs.frozen
class Service:
    url: str
    heard: list[str]


@pytest.fixture
def echo() -> Iterator[Service]:
    heard: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("EchoOfTheTest", (Echo,), {"heard": heard}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield Service(f"127.0.0.1:{server.server_address[1]}", heard)
    server.shutdown()
    server.server_close()
    thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.frozen
class Place:
    """A folder with a configuration that uses every kind of secret, and where a run writes to."""

    folder: Path
    echo: Service
    hook_port: int

    @classmethod
    def make(cls, folder: Path, echo: Service) -> Place:
        place = cls(folder, echo, free_port())
        place.config.write_text(
            f"""
[signals.flow]
url = "http://{echo.url}/api/v1"
poll_s = 1
api_key_env = "RINGFENCE_FLOW_API_KEY"
[signals.feed]
kind = "websocket"
url = "ws://{echo.url}/feed"
token_env = "FEED_TOKEN"
[signals.hook]
kind = "webhook"
port = {place.hook_port}
scheme = "secret"
[alerts.phone]
kind = "telegram"
url = "http://{echo.url}"
token_env = "TELEGRAM_TOKEN"
chat = "5"
[alerts.room]
kind = "discord"
url_env = "ROOM_URL"
[log]
level = "debug"
file = "{folder / "run.log"}"
""",
            encoding="utf-8",
        )
        return place

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RINGFENCE_FLOW_API_KEY": API_KEY, "RINGFENCE_HOOK_SECRET": HOOK, "FEED_TOKEN": FEED,
            "TELEGRAM_TOKEN": TELEGRAM, "ROOM_URL": f"http://{self.echo.url}/api/webhooks/1/{ROOM}?wait=true",
        }  # fmt: skip

    def leaks(self) -> list[str]:
        """Where a canary is in anything that was written, in any spelling; the configuration has none."""
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file()]
        assert {"journal.sqlite3", "run.log"} <= {path.name for path in files}
        return [
            f"{path.name}: {canary}"
            for path in files
            for canary in CANARIES
            for spelled in spellings(canary)
            if spelled in path.read_bytes()
        ]


def spellings(canary: str) -> set[bytes]:
    return {
        canary.encode(),
        quote(canary, safe="").encode(),
        canary.encode().hex().encode(),
        base64.b64encode(canary.encode()).rstrip(b"="),
        json.dumps(canary)[1:-1].encode(),
    }


def post(port: int, body: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as stream:
        head = f"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        stream.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        stream.recv(4096)


def test_no_secret_is_in_anything_that_a_run_writes(tmp_path: Path, echo: Service) -> None:
    place = Place.make(tmp_path, echo)
    state, report = tmp_path / "state", tmp_path / "report.json"
    worker = ROOT / "tests" / "secrets_worker.py"
    with started(worker, tmp_path, place.config, state, report, "json", **place.environment) as run:
        run.until_said(READY)
        for body in ({"secret": HOOK, "ticker": "SPY", "signal": HOOK}, {"secret": "wrong", "key": HOOK}):
            post(place.hook_port, json.dumps(body).encode())
        wait_for_the_services(run, echo)
        # While it runs: what is in the journal's WAL, and not yet in its main file.
        assert place.leaks() == []
        run.stop(signal.SIGINT, code=1)
    assert place.leaks() == []
    crash = run.err.read_text(encoding="utf-8")
    assert "ValueError: cannot use ('[redacted]'," in crash, "the crash was told, without its keys"
    assert "Traceback (most recent call last)" in crash
    assert "ALERT_CHANNEL_FAILED" in crash
    assert "Secret(…)" in run.said()
    assert report.exists()


def wait_for_the_services(run: Program, echo: Service) -> None:
    """Until every secret has been used, so that each had its chance to come back."""

    def heard(canary: str) -> bool:
        return any(canary in said for said in echo.heard)

    for canary in (API_KEY, FEED, TELEGRAM, ROOM):
        wait_until(partial(heard, canary), run, f"use of {canary}")
    wait_until(lambda: "ALERT_CHANNEL_FAILED" in "".join(run.complained()), run, "an alarm about a channel")


@pytest.fixture
def in_this_process() -> Iterator[None]:
    """A program that is called here leaves nothing of its own behind."""
    before = signal.getsignal(signal.SIGTERM), sys.excepthook, threading.excepthook
    yield
    terminate, sys.excepthook, threading.excepthook = before
    signal.signal(signal.SIGTERM, terminate)
    close_log()
    structlog.reset_defaults()


@pytest.mark.usefixtures("in_this_process")
def test_what_would_run_and_what_is_wrong_is_said_without_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place.make(tmp_path, Service("127.0.0.1:9", []))
    far = {"ROOM_URL": f"http://far.example/{ROOM}"}
    written = {"RINGFENCE__ALERTS__PHONE__TOKEN": TELEGRAM, "RINGFENCE__SIGNALS__FLOW__URL": f"x{API_KEY}"}
    for extra, code, expected in (
        ({}, 0, "alerts phone: telegram to chat 5, token in TELEGRAM_TOKEN"),
        (far, 2, "alerts.room: the address in ROOM_URL: http is accepted for this machine only"),
        (written, 2, "RINGFENCE__ALERTS__PHONE__TOKEN: a secret does not belong here"),
    ):
        for name, value in (place.environment | extra).items():
            monkeypatch.setenv(name, value)
        assert supervisor.run(["--config", str(place.config), "--check", "-v"]) == code
        said = "".join(capsys.readouterr())
        assert expected in said
        assert [canary for canary in CANARIES for each in spellings(canary) if each in said.encode()] == []


def test_a_program_leaves_no_core_dump() -> None:
    code = (
        "import resource; from actors.known_secrets import guard_process; guard_process();"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)

    def allow() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ,
        preexec_fn=allow,
    )
    assert done.stdout == "0\n"
