"""How TWS writes and reads times: in New York's time, in forms that depend on the protocol version."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NEW_YORK = ZoneInfo("America/New_York")

ZONED_TIMES_SINCE = 174
"""From this server version on times name their zone; before, two blanks separate date and time."""

_TIME = re.compile(r"(\d{8})(?:[- ]+(\d{2}):(\d{2})(?::(\d{2}))?)?(?:\s+([A-Za-z_/+-]+))?")


def write_time(at: datetime, version: int) -> str:
    """A moment as an execution or a historical bar carries it."""
    local = at.astimezone(NEW_YORK)
    if version >= ZONED_TIMES_SINCE:
        return f"{local:%Y%m%d %H:%M:%S} US/Eastern"
    return f"{local:%Y%m%d  %H:%M:%S}"


def read_time(text: str) -> datetime | None:
    """A moment that a client wrote: `20250123 09:30:00 US/Eastern`, with two blanks or none of the
    zone (New York is meant), or `20250123-14:30:00` (UTC is meant). None when it is none of these.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    day, hour, minute, second, zone_name = found.groups()
    dashed = "-" in text[8:10]
    try:
        zone = ZoneInfo(zone_name) if zone_name else (UTC if dashed else NEW_YORK)
        return datetime(
            int(day[:4]), int(day[4:6]), int(day[6:]), int(hour or 0), int(minute or 0), int(second or 0),
            tzinfo=zone,
        ).astimezone(UTC)  # fmt: skip
    except (ValueError, ZoneInfoNotFoundError):
        return None
