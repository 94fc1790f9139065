"""The connections of the simulated TWS, what each has subscribed to, and the messages on their way out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

import attrs

from protocol.tws.messages import ErrorMessage, PnL, PnLSingle, ServerMessage

ClientKey: TypeAlias = int
"""A connection: numbered by whoever accepts them, never used twice."""

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
    wants_positions: bool = False
    account_updates: str | None = None
    """The account that reqAccountUpdates subscribed to."""
    multi_updates: dict[int, tuple[str, str]] = attrs.Factory(dict)
    """Request id to account and model."""
    summaries: dict[int, str] = attrs.Factory(dict)
    """Request id to tags."""
    profits: dict[int, tuple[str, PnL]] = attrs.Factory(dict)
    """Request id to account and what was said last."""
    single_profits: dict[int, tuple[str, int, PnLSingle]] = attrs.Factory(dict)
    """Request id to account, contract id and what was said last."""
    kept_bars: dict[int, KeptBars] = attrs.Factory(dict)


class Clients:
    """All connections, and one queue of what they are told, in order over all of them."""

    def __init__(self) -> None:
        self._clients: dict[ClientKey, Client] = {}
        self._by_id: dict[int, Client] = {}
        self._said: list[tuple[ClientKey, ServerMessage]] = []
        self._closing: list[ClientKey] = []

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
        if client is not None and client.client_id is not None:
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

    def take(self) -> tuple[tuple[ClientKey, ServerMessage], ...]:
        said, self._said = self._said, []
        return tuple(said)

    def take_closing(self) -> tuple[ClientKey, ...]:
        closing, self._closing = self._closing, []
        return tuple(closing)
