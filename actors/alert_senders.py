"""The ways out for alerts: one HTTP POST, or one program. Nothing comes in by them, not even an answer.

An answer is read as far as its status. What went wrong is told by its kind alone: addresses hold tokens, and
texts of exceptions hold addresses.
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
from typing import Final, Protocol, TypeAlias

import attrs
import httpx2
import orjson
import trio

from actors.known_secrets import KNOWN
from protocol.alert_settings import AlertChannel, AlertKind
from protocol.alerts import Alert, discord_fields, fields_of, telegram_fields
from protocol.config_alerts import address_fault
from protocol.redaction import Secret

TELEGRAM: Final = "https://api.telegram.org"
MAX_RETRY_AFTER_LOOP_S: Final = 60.0
_ASK_AGAIN: Final = frozenset({408, 425, 429})
"""Client errors that say nothing against the message."""


@attrs.frozen
class Delivered:
    """The service or the program has taken it."""


@attrs.frozen
class Failed:
    """`refused`: this very message is not wanted, and to say it for ever would not help."""

    why: str
    refused: bool = False
    retry_after_loop_s: float = 0.0


Delivery: TypeAlias = Delivered | Failed


class Sender(Protocol):
    """One attempt; it ends within the channel's time limit and raises nothing."""

    async def send(self, alert: Alert, *, silent: bool) -> Delivery: ...


def sender_of(channel: AlertChannel, secret: Secret, origin: str) -> Sender:
    """The way out of a channel. `secret`: its token or address, if it has one.

    ValueError, without the secret, when nothing may be sent there.
    """
    if channel.kind is AlertKind.COMMAND:
        return CommandSender(channel, origin)
    return HttpSender(channel, secret, origin)


class HttpSender:
    """A POST with a JSON body: no redirects, no cookies, no proxies of the environment, TLS verified."""

    def __init__(self, channel: AlertChannel, secret: Secret, origin: str) -> None:
        self._channel, self._origin = channel, origin
        self._url = Secret(_address(channel, secret))
        problem = address_fault(self._url.reveal(), secret=channel.kind is not AlertKind.TELEGRAM)
        if problem:
            raise ValueError(f"alerts.{channel.name}: the address in {channel.url_env or 'url'}: {problem}")
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def send(self, alert: Alert, *, silent: bool) -> Delivery:
        body = self._body(alert, silent=silent)
        with trio.move_on_after(self._channel.timeout_loop_s):
            try:
                return await self._post(body)
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
                return Failed(type(error).__name__)
        return Failed(f"no answer within {self._channel.timeout_loop_s:g} s")

    def _body(self, alert: Alert, *, silent: bool) -> bytes:
        match self._channel.kind:
            case AlertKind.TELEGRAM:
                fields = telegram_fields(alert, self._origin, chat=self._channel.chat, silent=silent)
            case AlertKind.DISCORD:
                fields = discord_fields(alert, self._origin, silent=silent)
            case _:
                fields = fields_of(alert, self._origin, silent=silent)
        return orjson.dumps(fields)

    async def _post(self, body: bytes) -> Delivery:
        if self._transport is None:
            self._transport = await self._open()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"user-agent", b"ringfence"),
        ]
        request = httpx2.Request("POST", self._url.reveal(), headers=headers, content=body)
        response = await self._transport.handle_async_request(request)
        try:
            return _delivery_of(response)
        finally:
            await response.aclose()

    async def _open(self) -> httpx2.AsyncHTTPTransport:
        if self._url.reveal().startswith("https:"):
            # Reading the certificates takes 100 ms and more: not on the loop that trades.
            tls = await trio.to_thread.run_sync(httpx2.create_ssl_context, abandon_on_cancel=True)
        else:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Alerts are rare: a connection that is kept would be closed by the other side meanwhile.
        limits = httpx2.Limits(max_connections=2, max_keepalive_connections=0)
        return httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits)


def _address(channel: AlertChannel, secret: Secret) -> str:
    if channel.kind is AlertKind.TELEGRAM:
        return f"{channel.url or TELEGRAM}/bot{secret.reveal()}/sendMessage"
    return secret.reveal() or channel.url


def _delivery_of(response: httpx2.Response) -> Delivery:
    code = response.status_code
    if 200 <= code < 300:
        return Delivered()
    wait = response.headers.get("retry-after", "")
    retry_after_loop_s = min(float(wait), MAX_RETRY_AFTER_LOOP_S) if wait[:9].isdecimal() else 0.0
    return Failed(f"HTTP {code}", code < 500 and code not in _ASK_AGAIN, retry_after_loop_s)


class CommandSender:
    """A program that reads the alert as JSON from its standard input. What it prints is not read."""

    def __init__(self, channel: AlertChannel, origin: str) -> None:
        self._channel, self._origin = channel, origin

    async def send(self, alert: Alert, *, silent: bool) -> Delivery:
        body = orjson.dumps(fields_of(alert, self._origin, silent=silent)) + b"\n"
        with trio.move_on_after(self._channel.timeout_loop_s):
            try:
                done = await trio.run_process(
                    list(self._channel.command),
                    stdin=body,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    check=False,
                    env=_environment(),
                    # A group of its own: Ctrl-C in our terminal is not meant for it.
                    start_new_session=True,
                    deliver_cancel=_kill_group,
                )
            except OSError as error:
                return Failed(error.strerror or type(error).__name__, refused=True)
            return Delivered() if done.returncode == 0 else Failed(f"exit {done.returncode}", refused=True)
        return Failed(f"not done within {self._channel.timeout_loop_s:g} s, killed")


def _environment() -> dict[str, str]:
    """Ours, without the secrets that we read from it."""
    return {name: value for name, value in os.environ.items() if KNOWN.clean(value) == value}


async def _kill_group(process: trio.Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
