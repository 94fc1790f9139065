"""Whether the sources of signals can be reached: each asked once, as it will be asked in a run."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import h11
import httpx2
import orjson
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import RemoteProtocolError

from actors.config_files import read_secret
from actors.flow_client import check_api_key, check_base_url
from protocol.doctor import Check, Finding, fail, ok, warn
from protocol.doctor_machine import is_loopback
from protocol.source_settings import FileSource, HttpSource, Source, WebhookSource, WebSocketSource

MAX_BODY_BYTES = 65_536


async def examine_source(source: Source, within_loop_s: float) -> Finding:
    match source:
        case HttpSource():
            return await _http(source, within_loop_s)
        case WebSocketSource():
            return await _websocket(source, within_loop_s)
        case WebhookSource():
            return _webhook(source)
        case FileSource():
            return _file(source)


# --- polled ---------------------------------------------------------------------------------------------


async def _http(source: HttpSource, within_loop_s: float) -> Finding:
    """The service's status, with the key: nothing is cheaper, and a wrong key shows."""
    if not source.url:
        return warn(
            Check.SIGNALS,
            "it has no url: nothing predicts anything but a file that the run is given",
            f"set url under [signals.{source.name}], or start the run with --signals FILE",
            subject=source.name,
        )
    key = read_secret(source.api_key_env) or ""
    try:
        url = f"{check_base_url(source.url)}/status"
        check_api_key(key)
    except ValueError as problem:
        return fail(Check.SIGNALS, str(problem), subject=source.name)
    with trio.move_on_after(within_loop_s):
        try:
            code, body = await _get(url, key)
        except httpx2.HTTPError as problem:
            # Only the kind: the text of the error could quote what was sent.
            return fail(
                Check.SIGNALS, f"not reached: {type(problem).__name__}", *_reach(url), subject=source.name
            )
        return _judge_http(source, code, body)
    return fail(Check.SIGNALS, f"no answer within {within_loop_s:g} s", *_reach(url), subject=source.name)


async def _get(url: str, key: str) -> tuple[int, bytes]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if url.startswith("https:"):
        tls = await trio.to_thread.run_sync(httpx2.create_ssl_context, abandon_on_cancel=True)
    headers = [
        (b"x-api-key", key.encode()),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
    ]
    async with httpx2.AsyncHTTPTransport(verify=tls, trust_env=False) as transport:
        response = await transport.handle_async_request(httpx2.Request("GET", url, headers=headers))
        try:
            body = bytearray()
            with trio.CancelScope() as enough:
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > MAX_BODY_BYTES:
                        # A cancel unwinds the generators below; leaving the loop would abandon them.
                        enough.cancel()
            return response.status_code, bytes(body)
        finally:
            await response.aclose()


def _judge_http(source: HttpSource, code: int, body: bytes) -> Finding:
    name = source.name
    match code:
        case 200:
            return _judge_status(name, body)
        case 401 | 403:
            return fail(
                Check.SIGNALS,
                f"HTTP {code}: the key is not accepted",
                f"renew {source.api_key_env}",
                subject=name,
            )
        case 429:
            return warn(Check.SIGNALS, "HTTP 429: too many requests just now", "raise poll_s", subject=name)
        case 404:
            return fail(
                Check.SIGNALS,
                "HTTP 404: no options-flow API there",
                "url ends in /api/v1, as a rule",
                subject=name,
            )
        case _ if 300 <= code < 400:
            return fail(
                Check.SIGNALS, f"HTTP {code}: it redirects", "give the final address as url", subject=name
            )
        case _:
            return fail(
                Check.SIGNALS, f"HTTP {code}", "the service is ill; a run tries again by itself", subject=name
            )


def _judge_status(name: str, body: bytes) -> Finding:
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict) or answer.get("status") != "success":
        return fail(
            Check.SIGNALS, "it answers, but not as an options-flow API does", "check url", subject=name
        )
    data = answer.get("data")
    tickers = data.get("tickers") if isinstance(data, dict) else None
    said = f", {len(tickers)} tickers" if isinstance(tickers, list) else ""
    return ok(Check.SIGNALS, f"reached, the key is accepted{said}", name)


def _reach(url: str) -> tuple[str, ...]:
    return (f"try: curl -sS -o /dev/null -w '%{{http_code}}' {url}", "a proxy of the environment is not used")


# --- pushed ---------------------------------------------------------------------------------------------


async def _websocket(source: WebSocketSource, within_loop_s: float) -> Finding:
    """The opening handshake with the token, and nothing of the feed."""
    name, parts = source.name, urlsplit(source.url)
    if not parts.hostname:
        return fail(Check.SIGNALS, "it has no url", subject=name)
    text = f"no handshake within {within_loop_s:g} s"
    with trio.move_on_after(within_loop_s):
        try:
            async with await _open_stream(parts) as stream:
                answer = await _upgrade(stream, parts, _token(source))
        except (RemoteProtocolError, h11.ProtocolError):
            return fail(Check.SIGNALS, "what listens there is no websocket", "check url", subject=name)
        except (trio.BrokenResourceError, OSError) as problem:
            text = f"not reached: {str(problem.__cause__ or problem) or type(problem).__name__}"
        else:
            return _judge_upgrade(source, answer)
    return fail(Check.SIGNALS, text, "check url and network", subject=name)


def _token(source: WebSocketSource) -> str:
    return (read_secret(source.token_env) or "") if source.token_env else ""


async def _open_stream(parts: SplitResult) -> trio.abc.Stream:
    host = parts.hostname or ""
    if parts.scheme == "wss":
        tls = await trio.to_thread.run_sync(ssl.create_default_context, abandon_on_cancel=True)
        return await trio.open_ssl_over_tcp_stream(
            host, parts.port or 443, ssl_context=tls, https_compatible=True
        )
    return await trio.open_tcp_stream(host, parts.port or 80)


async def _upgrade(stream: trio.abc.Stream, parts: SplitResult, token: str) -> int | None:
    """The HTTP status of the answer, 101 for a websocket; None when the connection just ends."""
    headers = [(b"authorization", f"Bearer {token}".encode())] if token else []
    target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    talk = WSConnection(ConnectionType.CLIENT)
    await stream.send_all(talk.send(Request(host=parts.netloc, target=target, extra_headers=headers)))
    while True:
        data = await stream.receive_some()
        if not data:
            return None
        talk.receive_data(bytes(data))
        for event in talk.events():
            if isinstance(event, AcceptConnection):
                return 101
            if isinstance(event, RejectConnection):
                return event.status_code


def _judge_upgrade(source: WebSocketSource, code: int | None) -> Finding:
    match code:
        case 101:
            return ok(Check.SIGNALS, "the handshake succeeds", source.name)
        case None:
            text = "not reached: the connection ends during the handshake"
            return fail(Check.SIGNALS, text, "check url and network", subject=source.name)
        case 401 | 403 if source.token_env:
            advice = f"renew {source.token_env}"
        case _:
            advice = "check url"
    return fail(Check.SIGNALS, f"the handshake is refused with HTTP {code}", advice, subject=source.name)


def _webhook(source: WebhookSource) -> Finding:
    """Whether the port can be had. Who posts to it must find this machine; that cannot be seen from here."""
    where = f"{source.host}:{source.port}"
    try:
        with socket.create_server((source.host, source.port)):
            pass
    except OSError as problem:
        if problem.errno == errno.EADDRINUSE:
            return warn(
                Check.SIGNALS,
                f"{where} is in use",
                "by a run of yours? else choose another port",
                subject=source.name,
            )
        return fail(
            Check.SIGNALS, f"{where}: {problem.strerror}", "choose another host or port", subject=source.name
        )
    if is_loopback(source.host):
        return ok(Check.SIGNALS, f"{where} is free; only this machine reaches it, or a tunnel", source.name)
    return warn(
        Check.SIGNALS,
        f"{where} is free, and others reach it without TLS",
        "listen on 127.0.0.1 behind a proxy that has TLS, or a tunnel",
        subject=source.name,
    )


def _file(source: FileSource) -> Finding:
    path = Path(source.path)
    if path.is_file():
        try:
            with path.open("rb"):
                pass
        except OSError as problem:
            return fail(Check.SIGNALS, f"{path}: {problem.strerror}", subject=source.name)
        return ok(Check.SIGNALS, f"{path} is readable", source.name)
    if path.parent.is_dir() and not path.exists():
        return warn(
            Check.SIGNALS, f"{path} is not there yet", "it is read when it comes", subject=source.name
        )
    return fail(Check.SIGNALS, f"{path} is no file", "check path", subject=source.name)
