"""Messages to payloads and back, for one negotiated version.

The layouts of a version are compiled on first use and kept. Payloads are without their frame
(see `framing`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

import attrs

from protocol.tws.compiler import BadMessage, Record, compile_record
from protocol.tws.framing import join, split
from protocol.tws.layout import Layout
from protocol.tws.messages import ClientRequest, ServerMessage, UnknownRequest
from protocol.tws.request_layouts import REQUEST_LAYOUTS
from protocol.tws.server_layouts import SERVER_LAYOUTS
from protocol.tws.ticks import decode_tick as decode_tick
from protocol.tws.ticks import tick_writers
from protocol.tws.versions import FORBIDDEN, NEWEST, OLDEST

__all__ = ["BadMessage", "decode_client", "decode_server", "decode_tick", "encode_client", "encode_server"]


@attrs.frozen
class _Direction:
    """All messages of one direction at one version, by class to write and by id to read."""

    writers: dict[type, Callable[[Any], bytes]]
    readers: dict[str, Record[Any]]

    def write(self, message: object) -> bytes:
        try:
            writer = self.writers[type(message)]
        except KeyError:
            raise TypeError(f"there is no layout for {type(message).__name__}") from None
        return writer(message)

    def read(self, fields: list[str]) -> object | None:
        """None when the id is unknown. Raises `BadMessage`."""
        record = self.readers.get(fields[0]) if fields else None
        if record is None:
            return None
        message: object
        message, end = record.read(fields, 1)
        if end != len(fields):
            raise BadMessage(f"{len(fields)} fields, of which only {end} belong to the message")
        return message


@functools.cache
def _server(version: int) -> _Direction:
    direction = _direction(SERVER_LAYOUTS, version)
    direction.writers.update(tick_writers(version))
    return direction


@functools.cache
def _client(version: int) -> _Direction:
    return _direction(REQUEST_LAYOUTS, version)


def _direction(layouts: tuple[Layout, ...], version: int) -> _Direction:
    if not OLDEST <= version <= NEWEST or version in FORBIDDEN:
        raise ValueError(f"no layouts for server version {version}, only {OLDEST} to {NEWEST} without 158")
    writers: dict[type, Callable[[Any], bytes]] = {}
    readers: dict[str, Record[Any]] = {}
    for layout in layouts:
        record: Record[Any] = compile_record(layout.of, layout.items, version)
        writers[layout.of] = _writer(str(layout.message_id), record)
        readers[str(layout.message_id)] = record
    return _Direction(writers, readers)


def _writer(message_id: str, record: Record[Any]) -> Callable[[Any], bytes]:
    def write(message: Any) -> bytes:
        fields = [message_id]
        record.write(message, fields)
        return join(fields)

    return write


def encode_server(version: int, message: ServerMessage) -> bytes:
    """What TWS sends to a client of that version."""
    return _server(version).write(message)


def decode_server(version: int, payload: bytes) -> ServerMessage | None:
    """What TWS said; None for a message that is not in our vocabulary. Raises `BadMessage`."""
    tick = decode_tick(payload)
    if tick is not None:
        return tick
    return cast("ServerMessage | None", _server(version).read(split(payload)))


def encode_client(version: int, request: ClientRequest) -> bytes:
    """What a client sends. An `UnknownRequest` cannot be sent: TypeError."""
    return _client(version).write(request)


def decode_client(version: int, payload: bytes) -> ClientRequest:
    """What a client asked. Never raises on what came over the wire: that is an `UnknownRequest`."""
    fields = split(payload)
    try:
        request = _client(version).read(fields)
    except BadMessage as error:
        return _unknown(fields, str(error))
    if request is None:
        return _unknown(fields, "a request that this server does not know")
    return cast("ClientRequest", request)


def _unknown(fields: list[str], why: str) -> UnknownRequest:
    name = fields[0] if fields else ""
    # Nine digits: more is no message id, and int() of a long enough text raises.
    message_id = int(name) if name.isascii() and name.isdecimal() and len(name) <= 9 else -1
    return UnknownRequest(message_id, tuple(fields[1:]), why)
