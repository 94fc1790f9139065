"""How the link and each symbol's market data are doing, as a word and a sentence a person can act on.

Nothing trades by these words: the gate looks at the facts behind them. They say why entries are held.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import attrs

from protocol.control_events import HealthEvent
from protocol.reports import LinkState
from protocol.risk.words import DataState, Quote
from protocol.values import Symbol

LINK: Final = "link"


class HealthState(enum.Enum):
    """The words of `HealthEvent.state`."""

    OK = "ok"
    WAITING = "waiting"
    DELAYED = "delayed"
    NOT_PERMITTED = "not_permitted"
    COMPETING = "competing"
    NO_LINE = "no_line"
    ENDED = "ended"
    SILENT = "silent"
    HALTED = "halted"
    LEFT_OUT = "left_out"
    HELD = "held"
    QUARANTINED = "quarantined"
    DOWN = "down"
    BUSY_ID = "busy_id"
    SEVERED = "severed"
    TROUBLED = "troubled"
    STOPPED = "stopped"


@attrs.frozen
class Health:
    """`sentence` is empty when all is well."""

    state: HealthState = HealthState.OK
    sentence: str = ""


OK: Final = Health()
_OF_DATA: Final = {
    DataState.LIVE: OK,
    DataState.WAITING: Health(HealthState.WAITING, "no market data has come yet; entries wait for it"),
    DataState.DELAYED: Health(
        HealthState.DELAYED,
        "the market data is delayed or frozen: no entries. Subscribe to it in IBKR's client portal, and "
        "share it with the paper account",
    ),
    DataState.NOT_PERMITTED: Health(
        HealthState.NOT_PERMITTED,
        "this user may not see the market data: no entries. Subscribe to it in IBKR's client portal, and "
        "share it with the paper account",
    ),
    DataState.COMPETING: Health(
        HealthState.COMPETING,
        "another session of this user takes the market data: no entries. Log out there; it is asked for "
        "again every half minute",
    ),
    DataState.NO_LINE: Health(
        HealthState.NO_LINE,
        "the account has no market data line left: no entries. Trade fewer symbols, or close "
        "watchlists in TWS",
    ),
    DataState.ENDED: Health(HealthState.ENDED, "the market data was cut off; it is asked for again soon"),
}


def link_health(state: LinkState, reason: str, *, busy_id: bool, severed: str, absence: str = "") -> Health:
    """Of the link to the broker. `reason` is what was said of it last, `absence` which planned one of TWS."""
    if severed:
        return Health(HealthState.SEVERED, f"the link is closed on purpose: {severed}")
    if busy_id and state is LinkState.DOWN:
        return Health(
            HealthState.BUSY_ID,
            "another program uses our client id (326): end it, or give this one another --client-id; the "
            "same id is tried again",
        )
    match state:
        case LinkState.UP:
            return OK
        case LinkState.HELD:
            why = absence or reason or "the books are being compared"
            return Health(HealthState.HELD, f"no new positions: {why}")
        case LinkState.DOWN:
            return Health(
                HealthState.DOWN, f"no session with the broker: {absence or reason}; it is tried again"
            )


def symbol_health(
    quote: Quote | None,
    *,
    left_out: str = "",
    held: str = "",
    quarantined: bool = False,
    silent: bool = False,
) -> Health:
    """Of one symbol: what keeps it from entering, the gravest first."""
    if quarantined:
        return Health(HealthState.QUARANTINED, "its actor failed too often: `release` starts it again")
    if left_out:
        return Health(HealthState.LEFT_OUT, left_out)
    if held:
        return Health(HealthState.HELD, held)
    if quote is None:
        return _OF_DATA[DataState.WAITING]
    if quote.data is not DataState.LIVE:
        return _OF_DATA[quote.data]
    if quote.halted:
        return Health(HealthState.HALTED, "trading in the symbol is halted: no entries until it opens again")
    if silent:
        return Health(HealthState.SILENT, "its line says nothing while others do: it is asked for anew")
    return OK


def name_of(symbol: Symbol) -> str:
    """The subject of a symbol's health."""
    return f"symbol:{symbol}"


def changes(before: Mapping[str, Health], now: Mapping[str, Health], at: datetime) -> tuple[HealthEvent, ...]:
    """What to journal: each subject whose health differs. One never heard of before counts as well."""
    return tuple(
        HealthEvent(at=at, subject=subject, state=health.state.value, sentence=health.sentence)
        for subject, health in now.items()
        if health != before.get(subject, OK)
    )
