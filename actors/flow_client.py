"""One request to the options-flow API: bounded in time and size, with every failure as a value.

The transport of httpx2 is used without its client on top: no redirects to whatever host, no cookies, no
environment, and about half the work for each poll. The key is in a header only; nothing here puts headers
in a text.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self, TypeAlias
from urllib.parse import urlencode, urlsplit

import attrs
import httpx2
import orjson
import trio

from protocol.source_health import TroubleKind

DEADLINE_LOOP_S = 5.0
"""From the first byte asked to the last one received."""
MAX_BODY_BYTES = 1_000_000
"""A page of 100 predictions is about 30 kB."""
MAX_LISTED = 1000
"""In one answer: more than the service ever gives."""
PAGE = 100
"""Asked for at once: the service's own default."""
MAX_CONNECTIONS = 8
MAX_RESET_S = 3600.0
MAX_DATE = 64
"""Characters of a date in a header."""


@attrs.frozen
class Allowance:
    """What the service says about its rate limit; None where it says nothing. Market seconds."""

    limit: int | None = None
    remaining: int | None = None
    reset_s: float | None = None
    retry_after_s: float | None = None
    """`Retry-After`, whether it was written as seconds or as a date."""


@attrs.frozen
class Fetched:
    """What one answer lists (predictions, trades, …), decoded but not judged; of a status, its one object."""

    bodies: tuple[object, ...]
    allowance: Allowance


@attrs.frozen
class Trouble:
    kind: TroubleKind
    text: str
    allowance: Allowance = Allowance()


FetchOutcome: TypeAlias = Fetched | Trouble


def check_base_url(url: str) -> str:
    """`url` without a trailing slash. ValueError unless it is https, or http to this very machine."""
    parts = urlsplit(url)
    if parts.username is not None or parts.query or parts.fragment or not parts.hostname:
        raise ValueError("the URL of a signal source names a host and a path, nothing else")
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return url.rstrip("/")
    raise ValueError("the URL of a signal source is https (http only to this machine)")


def check_api_key(api_key: str) -> None:
    """ValueError, without the key in its text, unless a header can carry `api_key` as it is."""
    if not api_key or not api_key.isascii() or not api_key.isprintable() or api_key != api_key.strip():
        raise ValueError("the key of a signal source is printable ASCII text without spaces around it")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class FlowClient:
    """A keep-alive connection pool to one service. An async context manager; not for use outside it."""

    def __init__(self, base_url: str, api_key: str) -> None:
        check_api_key(api_key)
        self._base_url = check_base_url(base_url)
        self._headers = [
            (b"x-api-key", api_key.encode()),
            (b"accept", b"application/json"),
            # A compressed body could be a thousand times what its size says.
            (b"accept-encoding", b"identity"),
            (b"user-agent", b"ringfence"),
        ]
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def __aenter__(self) -> Self:
        if self._base_url.startswith("https:"):
            # Reading the certificates takes 100 ms and more: not on the loop that trades.
            tls = await trio.to_thread.run_sync(httpx2.create_ssl_context, abandon_on_cancel=True)
        else:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
        self._transport = httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            await self._transport.aclose()
            self._transport = None

    # --- the end points ---------------------------------------------------------------------------

    async def fetch_status(self) -> FetchOutcome:
        """Whether the service runs, its time, its tickers: one object."""
        return await self._ask("status", {}, "")

    async def fetch_tickers(self) -> FetchOutcome:
        return await self._ask("tickers", {}, "tickers")

    async def fetch_latest(self, ticker: str, *, use_default_only: bool = False) -> FetchOutcome:
        """The newest prediction of `ticker`; an empty answer when there is none."""
        query = {"ticker": ticker} | ({"use_default_only": "true"} if use_default_only else {})
        return await self._ask("prediction/latest", query, "prediction")

    async def fetch_predictions(
        self, ticker: str, start: str | None = None, end: str | None = None
    ) -> FetchOutcome:
        """A page of the predictions of `ticker` stamped from `start` to `end` (ISO 8601, inclusive)."""
        return await self._ask("predictions", _page(ticker, start, end), "predictions")

    async def fetch_trades(
        self, ticker: str, start: str | None = None, end: str | None = None
    ) -> FetchOutcome:
        """A page of the option trades of `ticker`. Heavy, as the next two are."""
        return await self._ask("trades", _page(ticker, start, end), "trades")

    async def fetch_minute_data(
        self, ticker: str, start: str | None = None, end: str | None = None
    ) -> FetchOutcome:
        """A page of the stock's minutes as the service has them. We trade by the broker's own."""
        return await self._ask("minute-data", _page(ticker, start, end), "minute_data")

    async def fetch_divergence(
        self, ticker: str, start: str | None = None, end: str | None = None
    ) -> FetchOutcome:
        """A page of the figures of the flow of `ticker`."""
        return await self._ask("divergence", _page(ticker, start, end), "divergence_data")

    async def _ask(self, path: str, query: dict[str, str], name: str) -> FetchOutcome:
        """What the answer lists under `name`; all of its data without one."""
        url = f"{self._base_url}/{path}" + (f"?{urlencode(query)}" if query else "")
        with trio.move_on_after(DEADLINE_LOOP_S):
            try:
                try:
                    return await self._get(url, name)
                except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
                    # A kept connection that the service closed just now says nothing about the service.
                    return await self._get(url, name)
            except httpx2.HTTPError as error:
                # Only the kind: the text of the error could quote what was sent.
                return Trouble(TroubleKind.UNREACHABLE, type(error).__name__)
        return Trouble(TroubleKind.TIMEOUT, f"no whole answer within {DEADLINE_LOOP_S:g} s")

    async def _get(self, url: str, name: str) -> FetchOutcome:
        if self._transport is None:
            raise RuntimeError("a flow client asks only inside its own async with")
        response = await self._transport.handle_async_request(
            httpx2.Request("GET", url, headers=self._headers)
        )
        try:
            allowance = _read_allowance(response.headers)
            if response.status_code != 200:
                return _trouble_of(response.status_code, allowance)
            if response.headers.get("content-encoding", "identity") != "identity":
                return Trouble(TroubleKind.BAD_BODY, "the answer is compressed", allowance)
            content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != "application/json":
                return Trouble(TroubleKind.BAD_BODY, "the answer is not JSON by its content type", allowance)
            body = await _read_body(response)
        finally:
            await response.aclose()
        if body is None:
            return Trouble(TroubleKind.TOO_LARGE, f"the answer exceeds {MAX_BODY_BYTES} bytes", allowance)
        return _decode(body, name, allowance)


async def _read_body(response: httpx2.Response) -> bytes | None:
    """The whole body, or None as soon as it is too large."""
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                # Leaving the loop would abandon the generators below it, for the garbage collector to
                # complain about; a cancel unwinds them from the inside.
                body.clear()
                scope.cancel()
    return None if scope.cancel_called else bytes(body)


def _page(ticker: str, start: str | None, end: str | None) -> dict[str, str]:
    query = {"ticker": ticker, "limit": str(PAGE)}
    if start is not None:
        query["start_date"] = start
    if end is not None:
        query["end_date"] = end
    return query


def _decode(body: bytes, name: str, allowance: Allowance) -> FetchOutcome:
    try:
        answer: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Trouble(TroubleKind.BAD_BODY, f"the answer is no JSON: {error.msg}", allowance)
    if not isinstance(answer, dict) or answer.get("status") != "success":
        return Trouble(TroubleKind.BAD_BODY, "the answer does not say success", allowance)
    listed = _listed(answer.get("data"), name)
    if listed is None:
        return Trouble(TroubleKind.BAD_BODY, f"the answer holds no list of {name or 'facts'}", allowance)
    if len(listed) > MAX_LISTED:
        return Trouble(TroubleKind.TOO_LARGE, f"more than {MAX_LISTED} {name} at once", allowance)
    return Fetched(tuple(listed), allowance)


def _listed(data: object, name: str) -> list[object] | None:
    """A success with empty data is a success."""
    if not name:
        return [data] if isinstance(data, dict) else None
    found = data.get(name) if isinstance(data, dict) else data
    if not found and not isinstance(found, (str, bool, int, float)):
        return []
    if name == "prediction":
        return [found]
    return found if isinstance(found, list) else None


def _trouble_of(code: int, allowance: Allowance) -> Trouble:
    match code:
        case 401 | 403:
            kind = TroubleKind.UNAUTHORIZED
        case 404:
            kind = TroubleKind.UNKNOWN_TICKER
        case 429:
            kind = TroubleKind.RATE_LIMITED
        case _ if 300 <= code < 400:
            # Wherever it points: the key goes to the host that was configured, and to no other.
            return Trouble(TroubleKind.REFUSED, f"HTTP {code}, a redirect, is not followed", allowance)
        case _:
            kind = TroubleKind.SERVER_ERROR if code >= 500 else TroubleKind.REFUSED
    return Trouble(kind, f"HTTP {code}", allowance)


def _read_allowance(headers: httpx2.Headers) -> Allowance:
    reset_s = _whole(headers.get("x-ratelimit-reset"))
    return Allowance(
        limit=_whole(headers.get("x-ratelimit-limit")),
        remaining=_whole(headers.get("x-ratelimit-remaining")),
        reset_s=None if reset_s is None else min(float(reset_s), MAX_RESET_S),
        retry_after_s=_retry_after_s(headers),
    )


def _retry_after_s(headers: httpx2.Headers) -> float | None:
    """Seconds, or a date: that one counts from the service's own `Date`, whose clock need not be ours."""
    text = headers.get("retry-after")
    whole = _whole(text)
    if text is None or whole is not None:
        return None if whole is None else min(float(whole), MAX_RESET_S)
    until, said = _http_date(text), _http_date(headers.get("date"))
    if until is None:
        return None
    wait_s = (until - (said or datetime.now(UTC))).total_seconds()
    return min(max(wait_s, 0.0), MAX_RESET_S)


def _http_date(text: str | None) -> datetime | None:
    if text is None or len(text) > MAX_DATE:
        return None
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _whole(text: str | None) -> int | None:
    """A whole number of at most nine digits; a header that holds anything else says nothing."""
    return int(text) if text is not None and len(text) <= 9 and text.isascii() and text.isdecimal() else None
