"""The life of TWS's own connections: to IBKR, to the data farms, and to its clients.

Codes and texts are those of captured live sessions. Whether orders go on at the venue is none of this
module's business: they do.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from protocol.exchange.calendar import NEW_YORK, new_york
from protocol.exchange.tws_clients import NO_ID, Client, Clients
from protocol.exchange.tws_settings import TwsSettings

LOST_CODE, RESTORED_DATA_LOST_CODE, RESTORED_CODE, WILL_RESTORE_CODE = 1100, 1101, 1102, 2110
LOST = "Connectivity between IBKR and Trader Workstation has been lost."
WILL_RESTORE = (
    "Connectivity between Trader Workstation and server is broken. It will be restored automatically."
)
_RESTORED = "Connectivity between IBKR and Trader Workstation has been restored - "
LOST_AGAIN = timedelta(minutes=1)
"""1100 is repeated about so often."""


class Farm(enum.Enum):
    MARKET_DATA = "market_data"
    HISTORY = "history"
    SECURITIES = "securities"


@attrs.frozen
class _FarmWords:
    name: str
    kind: str
    broken_code: int
    ok_code: int


FARMS = {
    Farm.MARKET_DATA: _FarmWords("usfarm", "Market data", 2103, 2104),
    Farm.HISTORY: _FarmWords("ushmds", "HMDS data", 2105, 2106),
    Farm.SECURITIES: _FarmWords("secdefnj", "Sec-def data", 2157, 2158),
}
"""In the order in which a new client hears of them."""


class SessionLife:
    """Tells every client how TWS is connected, and knows when it restarts."""

    def __init__(self, clients: Clients, settings: TwsSettings) -> None:
        self._clients, self._settings = clients, settings
        self._broken: dict[Farm, None] = {}
        self._lost_since_told: datetime | None = None
        self._held_until: dict[int, datetime] = {}
        self._next_restart: datetime | None = None
        self.mutes_market = False
        """No market data reaches TWS. A plain value: every tick asks."""

    @property
    def is_lost(self) -> bool:
        """TWS and IBKR do not hear each other."""
        return self._lost_since_told is not None

    # --- what clients are told ------------------------------------------------------------------

    def greet(self, client: Client) -> None:
        """The notices that follow the ids when a client has connected."""
        if self.is_lost:
            self._clients.refuse(client, NO_ID, WILL_RESTORE_CODE, WILL_RESTORE)
            return
        for farm in FARMS:
            self._clients.refuse(client, NO_ID, *_farm_notice(farm, broken=farm in self._broken))

    def lost(self, at: datetime) -> None:
        self._lost_since_told = at
        self._judge_market()
        self._tell_all(LOST_CODE, LOST)

    def restored(self, *, data_lost: bool) -> None:
        self._lost_since_told = None
        self._judge_market()
        if data_lost:
            self._tell_all(RESTORED_DATA_LOST_CODE, f"{_RESTORED}data lost.")
            return
        farms = "; ".join(words.name for farm, words in FARMS.items() if farm not in self._broken)
        text = f"{_RESTORED}data maintained. All data farms are connected: {farms}."
        self._tell_all(RESTORED_CODE, text)

    def farm_broken(self, farm: Farm) -> None:
        self._broken[farm] = None
        self._judge_market()
        self._tell_all(*_farm_notice(farm, broken=True))

    def farm_ok(self, farm: Farm) -> None:
        self._broken.pop(farm, None)
        self._judge_market()
        self._tell_all(*_farm_notice(farm, broken=False))

    def _judge_market(self) -> None:
        self.mutes_market = self.is_lost or Farm.MARKET_DATA in self._broken

    def _tell_all(self, code: int, text: str) -> None:
        for client in self._named():
            self._clients.refuse(client, NO_ID, code, text)

    def _named(self) -> Iterator[Client]:
        return (client for client in self._clients if client.client_id is not None)

    # --- client ids -----------------------------------------------------------------------------

    def hold_id(self, client_id: int, at: datetime) -> None:
        """The connection of this id is gone; TWS takes a while to notice."""
        if self._settings.id_hold_s:
            self._held_until[client_id] = at + timedelta(seconds=self._settings.id_hold_s)

    def holds_id(self, client_id: int, at: datetime) -> bool:
        until = self._held_until.get(client_id)
        return until is not None and at < until

    # --- time -----------------------------------------------------------------------------------

    @property
    def next_at(self) -> datetime | None:
        """When something is due; None when nothing is."""
        due = [] if self._next_restart is None else [self._next_restart]
        if self._lost_since_told is not None:
            due.append(self._lost_since_told + LOST_AGAIN)
        return min(due, default=None)

    def advance(self, at: datetime) -> bool:
        """It is `at`. True when the time of the nightly restart has come."""
        if self._lost_since_told is not None and at >= self._lost_since_told + LOST_AGAIN:
            self.lost(at)
        if self._settings.nightly_restart is None:
            return False
        due = self._next_restart is not None and at >= self._next_restart
        if self._next_restart is None or due:
            self._next_restart = self._restart_after(at)
        return due

    def restarted(self) -> None:
        """All connections are new: to IBKR, to the farms, and no client id is in use."""
        self._broken.clear()
        self._held_until.clear()
        self._lost_since_told = None
        self._judge_market()

    def _restart_after(self, at: datetime) -> datetime:
        clock = self._settings.nightly_restart
        assert clock is not None
        day = at.astimezone(NEW_YORK).date()
        today = new_york(day, clock)
        return today if today > at else new_york(day + timedelta(days=1), clock)


def _farm_notice(farm: Farm, *, broken: bool) -> tuple[int, str]:
    words = FARMS[farm]
    if broken:
        return words.broken_code, f"{words.kind} farm connection is broken:{words.name}"
    return words.ok_code, f"{words.kind} farm connection is OK:{words.name}"
