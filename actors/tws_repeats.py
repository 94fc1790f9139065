"""What TWS says again in the same words is not decoded again.

Whoever asks for the books, every half minute, is told all orders, executions and commissions of the day
once more, and nearly all of them as they were told before. ibapi takes some 50 µs to decode one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.session_words import Inbound
from protocol.tws import messages as tws

KEPT: Final = 4096
"""Frames whose meaning is kept, some kilobytes each: the orders and executions of a very busy day."""
_EXECUTION: Final = b"11"
_TOLD_AGAIN: Final = frozenset({b"3", b"5", b"59", b"61", b"101"})
"""Message ids: order statuses, open orders, commissions, positions, completed orders."""


class Repeats:
    """Of one session. `interpret` decodes a frame, the same frame always to the same messages."""

    def __init__(self, interpret: Callable[[bytes], tuple[Inbound, ...]]) -> None:
        self._interpret = interpret
        self._known: dict[bytes, tuple[Inbound, ...]] = {}

    def read(self, payload: bytes) -> tuple[Inbound, ...]:
        kind, _, rest = payload.partition(b"\0")
        if kind in _TOLD_AGAIN:
            return self._recognize(payload)
        if kind == _EXECUTION:
            # The answers to two requests differ in nothing but the id of the request.
            req_id, _, rest = rest.partition(b"\0")
            told = self._recognize(b"11\x000\0" + rest) if req_id.isdigit() else ()
            for message in told:
                if type(message) is tws.ExecDetails:
                    return (tws.ExecDetails(int(req_id), message.contract, message.execution),)
        return self._interpret(payload)

    def _recognize(self, payload: bytes) -> tuple[Inbound, ...]:
        known = self._known.get(payload)
        if known is None:
            if len(self._known) >= KEPT:
                self._known.clear()
            known = self._known[payload] = self._interpret(payload)
        return known
