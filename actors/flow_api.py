"""The options-flow API, embedded: the service of `protocol/flow_service.py` over real HTTP, on loopback only.

The key travels in the header `X-API-Key` and nowhere else: a URL ends up in logs.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import cast
from urllib.parse import parse_qsl

import attrs
import hypercorn.trio
import hypercorn.typing
import orjson
import trio
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from protocol.flow_service import Answer, FlowService, Refusal
from protocol.prediction_shelf import StoredPrediction, read_prediction_lines
from protocol.rate_window import RateWindow

PREFIX = "/api/v1"
STOP_GRACE_LOOP_S = 0.5
"""What a request in flight may take when the server stops."""
KEEP_ALIVE_LOOP_S = 75.0
"""Longer than our client keeps an idle connection, so that never the server closes first."""
MAX_PARAMETERS = 20


def load_predictions(path: Path) -> tuple[tuple[StoredPrediction, ...], tuple[str, ...]]:
    """The predictions of a JSON-lines file, and what is wrong with the lines that cannot be served."""
    with path.open("rb") as lines:
        return read_prediction_lines(path.name, lines)


def flow_app(service: FlowService, *, api_key: str, now: Callable[[], datetime]) -> Starlette:
    """The ASGI application: one route for each end point, and one for everything else. `now`: market time."""
    if not api_key:
        raise ValueError("the options-flow API serves nobody without a key: give it one")
    key = api_key.encode()
    routes = [
        Route(PREFIX + path, _EndPoint(key, now, window, answer))
        for path, (window, answer) in service.end_points().items()
    ]
    nowhere = _EndPoint(key, now, *service.nowhere())
    return Starlette(routes=[*routes, Route("/{path:path}", nowhere)])


@attrs.frozen(eq=False)
class _EndPoint:
    """One end point as an ASGI application: key, method, rate, parameters, answer, in this order."""

    key: bytes
    now: Callable[[], datetime]
    window: RateWindow
    answer: Answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: dict[str, str] = {}
        try:
            at = self._admit(scope, headers)
            query = scope["query_string"].decode("ascii", "replace")
            try:
                parameters = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
            except ValueError:
                raise Refusal(400, "Bad Request", "too many parameters") from None
            response = _respond(200, b'{"status":"success","data":%b}' % self.answer(parameters, at), headers)
        except Refusal as refusal:
            body = {
                "status": "error",
                "error": refusal.error,
                "code": refusal.code,
                "message": refusal.message,
            }
            response = _respond(refusal.code, orjson.dumps(body), headers)
        await response(scope, receive, send)

    def _admit(self, scope: Scope, headers: dict[str, str]) -> datetime:
        given = next((value for name, value in scope["headers"] if name == b"x-api-key"), b"")
        if not hmac.compare_digest(given, self.key):
            raise Refusal(401, "Unauthorized", "the header X-API-Key holds no valid key")
        if scope["method"] != "GET":
            raise Refusal(501, "Not Implemented", "only GET is served")
        at = self.now()
        admitted = self.window.take(at)
        reset_s = (self.window.free_at(at) - at).total_seconds()
        headers["X-RateLimit-Limit"] = str(self.window.limit)
        headers["X-RateLimit-Remaining"] = str(self.window.remaining(at))
        headers["X-RateLimit-Reset"] = str(math.ceil(reset_s))
        if not admitted:
            raise Refusal(429, "Too Many Requests", f"at most {self.window.limit} requests a minute")
        return at


def _respond(code: int, body: bytes, headers: dict[str, str]) -> Response:
    return Response(body, status_code=code, headers=headers, media_type="application/json")


async def serve_flow_api(
    app: Starlette, *, port: int = 0, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve on the loopback interface until cancelled; reports the base URL, `http://127.0.0.1:PORT/api/v1`."""
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_LOOP_S
    config.keep_alive_max_requests = 2**62
    config.graceful_timeout = STOP_GRACE_LOOP_S
    stopping = trio.Event()
    serving = trio.CancelScope(shield=True)

    async def serve(task_status: trio.TaskStatus[list[str]]) -> None:
        # Hypercorn closes its connections and its lifespan in order only when asked to stop, not when
        # cancelled: the shield keeps the cancel from it while it does, for a bounded time.
        with serving:
            await hypercorn.trio.serve(
                cast("hypercorn.typing.ASGIFramework", app),
                config,
                shutdown_trigger=stopping.wait,
                task_status=task_status,
                mode="asgi",
            )

    async with trio.open_nursery() as nursery:
        binds: list[str] = await nursery.start(serve)
        task_status.started(binds[0] + PREFIX)
        try:
            await trio.sleep_forever()
        finally:
            stopping.set()
            serving.deadline = trio.current_time() + 2 * STOP_GRACE_LOOP_S
