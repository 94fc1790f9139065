"""The ways out for alerts, on real sockets of this machine and with real programs."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import orjson
import pytest
import trio

from actors.alert_senders import Delivered, Failed, HttpSender, sender_of
from actors.alerts import open_channels
from actors.known_secrets import KNOWN
from protocol.alert_settings import AlertChannel, AlertKind
from protocol.alerts import Alert
from protocol.config import ConfigFaults
from protocol.redaction import Secret

ALERT = Alert(
    code="LATE_FILL", text="a fill came late", symbol="SLV", event="AlarmEvent", at="2025-03-12T10:00"
)
TOKEN = "canary-of-the-senders"


@attrs.define
class Service:
    """Answers every request with `answer`, and keeps the requests. An empty answer: none ever comes."""

    answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
    requests: list[bytes] = attrs.field(factory=list)
    port: int = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request or len(request.partition(b"\r\n\r\n")[2]) < _length(request):
                chunk = await stream.receive_some()
                if not chunk:
                    return
                request += chunk
            self.requests.append(request)
            if not self.answer:
                await trio.sleep_forever()
            await stream.send_all(self.answer)

    @property
    def body(self) -> object:
        return orjson.loads(self.requests[-1].partition(b"\r\n\r\n")[2])

    @property
    def line(self) -> str:
        return self.requests[-1].partition(b"\r\n")[0].decode()


def _length(request: bytes) -> int:
    for line in request.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        made.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, made.serve, listeners)
        yield made
        nursery.cancel_scope.cancel()


def webhook(port: int, **more: object) -> AlertChannel:
    return AlertChannel(name="pager", kind=AlertKind.WEBHOOK, url=f"http://127.0.0.1:{port}/hook", **more)  # type: ignore[arg-type]


async def test_a_webhook_is_one_post_of_json(service: Service) -> None:
    sender = sender_of(webhook(service.port), Secret(""), "ringfence paper")
    assert await sender.send(ALERT, silent=False) == Delivered()
    assert await sender.send(ALERT, silent=True) == Delivered()
    assert service.line == "POST /hook HTTP/1.1"
    assert service.body == {
        "code": "LATE_FILL", "event": "AlarmEvent", "symbol": "SLV", "text": "a fill came late",
        "at": "2025-03-12T10:00", "alarm": True, "silent": True, "from": "ringfence paper",
    }  # fmt: skip
    assert len(service.requests) == 2


async def test_telegram_and_discord_are_one_post_each_of_their_own_form(service: Service) -> None:
    base = f"http://127.0.0.1:{service.port}"
    telegram = AlertChannel(name="t", kind=AlertKind.TELEGRAM, url=base, token_env="T", chat="-5")
    assert await sender_of(telegram, Secret(TOKEN), "us").send(ALERT, silent=True) == Delivered()
    assert service.line == f"POST /bot{TOKEN}/sendMessage HTTP/1.1"
    text = "ALARM SLV: a fill came late (LATE_FILL at 2025-03-12T10:00, us)"
    assert service.body == {"chat_id": "-5", "text": text, "disable_notification": True}
    discord = AlertChannel(name="d", kind=AlertKind.DISCORD, url_env="D")
    assert await sender_of(discord, Secret(f"{base}/api/{TOKEN}?wait=true"), "us").send(
        ALERT, silent=False
    ) == (Delivered())
    assert service.line == f"POST /api/{TOKEN}?wait=true HTTP/1.1"
    assert service.body == {"content": text, "flags": 0, "allowed_mentions": {"parse": []}}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("302 Found\r\nLocation: http://127.0.0.1:1/elsewhere", Failed("HTTP 302", refused=True)),
        ("400 Bad Request", Failed("HTTP 400", refused=True)),
        ("401 Unauthorized", Failed("HTTP 401", refused=True)),
        ("429 Too Many Requests\r\nRetry-After: 7", Failed("HTTP 429", retry_after_loop_s=7.0)),
        ("429 Too Many Requests\r\nRetry-After: 99999", Failed("HTTP 429", retry_after_loop_s=60.0)),
        ("500 Internal Server Error\r\nRetry-After: Wed, 21 Oct 2015", Failed("HTTP 500")),
    ],
)
async def test_what_a_service_answers_decides_whether_it_is_tried_again(
    service: Service, answer: str, expected: Failed
) -> None:
    service.answer = f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n".encode()
    assert await sender_of(webhook(service.port), Secret(""), "us").send(ALERT, silent=False) == expected
    assert len(service.requests) == 1, "no redirect is followed"


async def test_a_silent_or_garbled_or_closed_service_is_a_failure_in_time(service: Service) -> None:
    sender = sender_of(webhook(service.port, timeout_loop_s=0.2), Secret(""), "us")
    service.answer = b""
    assert await sender.send(ALERT, silent=False) == Failed("no answer within 0.2 s")
    service.answer = b"\0\1garbage\r\n\r\n"
    assert await sender.send(ALERT, silent=False) == Failed("RemoteProtocolError")
    closed = sender_of(webhook(1), Secret(""), "us")
    assert await closed.send(ALERT, silent=False) == Failed("ConnectError")


async def test_the_body_of_an_answer_is_not_read_whatever_its_size(service: Service) -> None:
    service.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 100_000
    sender = sender_of(webhook(service.port, timeout_loop_s=5.0), Secret(""), "us")
    began = time.monotonic()
    assert await sender.send(ALERT, silent=False) == Delivered()
    assert time.monotonic() - began < 2.0


@pytest.mark.parametrize(
    "address",
    ["http://far.example/canary", "ftp://127.0.0.1/canary", "https://user:canary@host/x", "canary", "http://[canary"],
)  # fmt: skip
def test_an_address_that_must_not_be_used_is_refused_without_being_said(address: str) -> None:
    channel = AlertChannel(name="d", kind=AlertKind.DISCORD, url_env="ROOM")
    with pytest.raises(ValueError, match=r"^alerts\.d: the address in ROOM: ") as caught:
        HttpSender(channel, Secret(address), "us")
    assert "canary" not in str(caught.value)


def test_missing_and_unusable_secrets_are_all_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_TOKEN", raising=False)
    monkeypatch.setenv("BAD_ROOM", "http://far.example/canary-room")
    channels = (
        AlertChannel(name="t", kind=AlertKind.TELEGRAM, token_env="NO_TOKEN", chat="5"),
        AlertChannel(name="d", kind=AlertKind.DISCORD, url_env="BAD_ROOM"),
        AlertChannel(name="c", kind=AlertKind.COMMAND, command=("true",)),
    )
    with pytest.raises(ConfigFaults) as caught:
        open_channels(channels)
    assert caught.value.faults == (
        "alerts.t: the token is expected in the environment as NO_TOKEN",
        "alerts.d: the address in BAD_ROOM: http is accepted for this machine only; use https",
    )
    assert open_channels(channels[2:]) == ((channels[2], Secret("")),)


# --- programs ---------------------------------------------------------------------------------------


def command(*words: str, timeout_loop_s: float = 20.0) -> AlertChannel:
    return AlertChannel(name="c", kind=AlertKind.COMMAND, command=words, timeout_loop_s=timeout_loop_s)


async def test_a_program_reads_the_alert_and_gets_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    KNOWN.know(TOKEN)
    monkeypatch.setenv("OUR_TOKEN", TOKEN)
    monkeypatch.setenv("HARMLESS", "yes")
    told, variables = tmp_path / "told", tmp_path / "variables"
    sender = sender_of(
        command("/bin/sh", "-c", f"cat > {told}; env > {variables}; echo noise; echo noise >&2"),
        Secret(""),
        "us",
    )
    assert await sender.send(ALERT, silent=True) == Delivered()
    assert orjson.loads(told.read_bytes())["code"] == "LATE_FILL"
    assert "HARMLESS=yes" in variables.read_text()
    assert TOKEN not in variables.read_text()


async def test_a_program_that_fails_or_is_not_there_is_a_failure() -> None:
    assert await sender_of(command("/bin/sh", "-c", "exit 3"), Secret(""), "us").send(
        ALERT, silent=False
    ) == (Failed("exit 3", refused=True))
    assert await sender_of(command("/no/such/program"), Secret(""), "us").send(ALERT, silent=False) == (
        Failed("No such file or directory", refused=True)
    )


@pytest.mark.slow
async def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    survivor = tmp_path / "survivor"
    script = f"trap '' TERM INT; (sleep 0.6; touch {survivor}) & sleep 30"
    began = time.monotonic()
    hanging = sender_of(command("/bin/sh", "-c", script, timeout_loop_s=0.3), Secret(""), "us")
    assert await hanging.send(ALERT, silent=False) == Failed("not done within 0.3 s, killed")
    assert time.monotonic() - began < 2.0
    await trio.sleep(0.5)
    assert not survivor.exists()


async def test_a_program_that_does_not_read_is_none_of_our_business() -> None:
    sender = sender_of(command(sys.executable, "-S", "-c", "pass"), Secret(""), "us")
    assert await sender.send(ALERT, silent=False) == Delivered()
