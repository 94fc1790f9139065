"""Everything since some instant, page by page where one answer does not hold it.

Of more than a page, one service gives the newest and another the oldest: so after a full page we walk
back from its first stamp and on from its last. What comes twice is for the gate to recognise. More than
a page with the very same stamp cannot be told apart, and is cut.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from actors.flow_client import PAGE, Fetched, FetchOutcome, Trouble
from protocol.predictions import timestamp_of

MAX_PAGES = 20
"""In each direction."""

Fetch: TypeAlias = Callable[[str | None, str | None], Awaitable[FetchOutcome]]
"""Asks for one page: from and to, ISO 8601, both inclusive."""


StampOf: TypeAlias = Callable[[object], float | None]
"""The time stamp of one thing of a page, in epoch milliseconds."""


async def fetch_all(
    fetch: Fetch, since: datetime | None, *, stamp_of: StampOf = timestamp_of
) -> tuple[list[object], Trouble | None]:
    """What there is since `since`, and the trouble that kept us from the rest of it, if any."""
    begin = None if since is None else iso_of(since.timestamp() * 1000)
    first = await fetch(begin, None)
    if isinstance(first, Trouble):
        return [], first
    bodies = list(first.bodies)
    for back in (True, False):
        trouble = await _walk(fetch, first, begin, bodies, stamp_of, back=back)
        if trouble is not None:
            return bodies, trouble
    return bodies, None


async def _walk(
    fetch: Fetch, page: Fetched, begin: str | None, bodies: list[object], stamp_of: StampOf, *, back: bool
) -> Trouble | None:
    """Extend `bodies` from the edge of `page` until a page is not full or brings the edge no further."""
    edge_ms = math.nan
    for _ in range(MAX_PAGES):
        stamps = [stamp for body in page.bodies if (stamp := stamp_of(body)) is not None]
        if len(page.bodies) < PAGE or not stamps:
            return None
        new_edge_ms = min(stamps) if back else max(stamps)
        if new_edge_ms == edge_ms:
            return None
        edge_ms = new_edge_ms
        outcome = await (fetch(begin, iso_of(edge_ms, up=True)) if back else fetch(iso_of(edge_ms), None))
        if isinstance(outcome, Trouble):
            return outcome
        page = outcome
        bodies += page.bodies
    return None


def iso_of(timestamp_ms: float, *, up: bool = False) -> str:
    """An instant as the service reads it, in whole milliseconds, without a `+` that a URL could lose."""
    whole_ms = math.ceil(timestamp_ms) if up else math.floor(timestamp_ms)
    at = datetime.fromtimestamp(whole_ms // 1000, UTC) + timedelta(milliseconds=whole_ms % 1000)
    return at.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
