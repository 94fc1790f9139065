"""The connections of the simulated TWS, what each has subscribed to, and the messages on their way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

import attrs

from protocol.tws.messages import ErrorMessage, ServerMessage
from protocol.tws.tick_bursts import LineTicks

ClientKey: TypeAlias = int
"""A connection: numbered by whoever accepts them, never used twice."""

Said: TypeAlias = ServerMessage | LineTicks
"""A message, or several ticks on one market data line."""

NO_ID = -1
"""The id of notices that concern the session, not a request."""


@attrs.define
class KeptBars:
    """Historical bars that a client wants to be kept up to date."""

    symbol: str
    bar_s: int
    format_date: int
    regular_only: bool
    last_start: datetime


@attrs.define(kw_only=True)
class Client:
    """One connection: `version` as negotiated, `client_id` once startApi has named it."""

    key: ClientKey
    version: int
    client_id: int | None = None
    binds_manual_orders: bool = False
    """Client 0 has asked that orders placed by hand become its own (reqAutoOpenOrders)."""
    kept_bars: dict[int, KeptBars] = attrs.Factory(dict)


class Clients:
    """All connections, and one queue of what they are told, in order over all of them."""

    def __init__(self) -> None:
        self._clients: dict[ClientKey, Client] = {}
        self._by_id: dict[int, Client] = {}
        self._said: list[tuple[ClientKey, Said]] = []
        self._closing: list[ClientKey] = []
        self._dropped: list[ClientKey] = []

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())

    @property
    def ids(self) -> tuple[int, ...]:
        """The client ids that are connected, ascending."""
        return tuple(sorted(self._by_id))

    def add(self, key: ClientKey, version: int) -> None:
        if key in self._clients:
            raise ValueError(f"connection {key} exists already")
        self._clients[key] = Client(key=key, version=version)

    def name(self, client: Client, client_id: int) -> bool:
        """Give a connection its client id; False when another one has it."""
        if client_id in self._by_id:
            return False
        client.client_id = client_id
        self._by_id[client_id] = client
        return True

    def remove(self, key: ClientKey) -> Client | None:
        client = self._clients.pop(key, None)
        if client is not None and client.client_id is not None and self.named(client.client_id) is client:
            del self._by_id[client.client_id]
        return client

    def get(self, key: ClientKey) -> Client | None:
        return self._clients.get(key)

    def named(self, client_id: int) -> Client | None:
        """The connection of a client id, if it is connected."""
        return self._by_id.get(client_id)

    def say(self, client: Client, messages: Iterable[ServerMessage]) -> None:
        key = client.key
        self._said += [(key, message) for message in messages]

    def say_to(self, key: ClientKey, message: ServerMessage) -> None:
        self._said.append((key, message))

    def refuse(self, client: Client, request_id: int, code: int, text: str) -> None:
        self._said.append((client.key, ErrorMessage(request_id, code, text)))

    def close(self, client: Client) -> None:
        """Have the connection closed once it has been told what is queued for it."""
        self._closing.append(client.key)

    def drop_all(self) -> None:
        """Have every connection ended at once; what is queued is lost, and all client ids are free."""
        self._dropped += self._clients
        self._by_id.clear()
        self._said.clear()

    def said_so_far(self) -> int:
        """How many messages are queued, for `unsay`."""
        return len(self._said)

    def unsay(self, since: int) -> None:
        """Forget what has been queued since there were so many messages."""
        del self._said[since:]

    def take_dropped(self) -> tuple[ClientKey, ...]:
        dropped, self._dropped = self._dropped, []
        return tuple(dropped)

    def say_ticks(self, lines: Iterable[tuple[ClientKey, Said]]) -> None:
        self._said += lines

    def take(self) -> tuple[tuple[ClientKey, ServerMessage], ...]:
        """What is queued, message by message."""
        told: list[tuple[ClientKey, ServerMessage]] = []
        for key, message in self.take_packed():
            if isinstance(message, LineTicks):
                told += [(key, tick) for tick in message.messages()]
            else:
                told.append((key, message))
        return tuple(told)

    def take_packed(self) -> list[tuple[ClientKey, Said]]:
        """The same with the ticks of one instant and line together, as they are cheapest to send."""
        said, self._said = self._said, []
        return said

    def take_closing(self) -> tuple[ClientKey, ...]:
        closing, self._closing = self._closing, []
        return tuple(closing)
