"""What the gate of the signals remembers: every id for ever, and how often each symbol was turned around.

An id costs 24 bytes, so that a year of predictions stays small: the ids are in buckets by their digest,
each one piece of memory that is searched at the speed of the machine. A dict of two strings is ten
times as large, and stops everybody while it is made larger.
"""

from __future__ import annotations

import hashlib
from collections import deque
from datetime import datetime

from protocol.control_events import FlowThresholdEvent
from protocol.events import BaseEvent, PredictionSignalEvent, SignalVerdictEvent

BODY = "body:"
"""Prefix of the cause of a verdict that no reception stands behind: the hash of the body it judges."""
MAX_FLIPS_KEPT = 64
"""Turns of one symbol that are remembered: no throttle allows as many."""
_FLOW = "\n"
"""Before the id of a threshold event, so that it is never that of a signal: those are printable."""
_DIGEST = 12
"""Bytes of an id's and of a body's digest: no two of them are ever the same by chance."""
_RECORD = 2 * _DIGEST
_BUCKETS = 4096


class SeenSignals:
    """Every signal id that was ever received or judged, each with the hash of the body it came with.

    Beside them, the ids of threshold events; and for each symbol the way its last signal that passed
    pointed, with the times at which that turned around.
    """

    __slots__ = ("_buckets", "_count", "_flips", "_pending", "_sides")

    def __init__(self) -> None:
        self._buckets: list[bytearray | None] = [None] * _BUCKETS
        self._count = 0
        self._pending: PredictionSignalEvent | None = None
        self._sides: dict[str, int] = {}
        self._flips: dict[str, deque[datetime]] = {}

    def __len__(self) -> int:
        return self._count

    def __contains__(self, signal_id: str) -> bool:
        return self._find(_digest(signal_id)) is not None

    def holds(self, signal_id: str, body_hash: str) -> bool:
        """Whether that id is known, and came with that very body."""
        return self._find(_digest(signal_id)) == _digest_of_hash(body_hash)

    def holds_flow(self, event_id: str) -> bool:
        return _FLOW + event_id in self

    def turns(self, event: PredictionSignalEvent) -> bool:
        """Whether it points the other way than the last signal of its symbol that passed."""
        self._settle()
        return self._sides.get(event.symbol, _side(event)) != _side(event)

    def flips_within(self, symbol: str, at: datetime, within_s: float) -> int:
        """How often the signals of `symbol` that passed turned around within so many market seconds."""
        self._settle()
        return sum((at - flip).total_seconds() < within_s for flip in self._flips.get(symbol, ()))

    def evolve(self, event: BaseEvent) -> None:
        """Take one event of the stream into the memory; twice is the same as once."""
        match event:
            case PredictionSignalEvent():
                if self._add(event.signal_id, event.body_hash):
                    self._settle()
                    self._pending = event
            case SignalVerdictEvent():
                self._note_verdict(event)
            case FlowThresholdEvent():
                self._add(_FLOW + event.event_id, "")
            case _:
                pass  # Alarms, and what happens to the sources themselves.

    def _note_verdict(self, verdict: SignalVerdictEvent) -> None:
        """Its own refusal follows a reception at once: then it did not pass."""
        if self._pending is not None and self._pending.signal_id == verdict.signal_id:
            self._pending = None
        elif verdict.cause.startswith(BODY):
            self._add(verdict.signal_id, verdict.cause.removeprefix(BODY))

    def _settle(self) -> None:
        """The last reception has passed, if no verdict has followed it by now."""
        event, self._pending = self._pending, None
        if event is None:
            return
        before, now = self._sides.get(event.symbol), _side(event)
        self._sides[event.symbol] = now
        if before is not None and before != now:
            self._flips.setdefault(event.symbol, deque(maxlen=MAX_FLIPS_KEPT)).append(event.at)

    def _add(self, signal_id: str, body_hash: str) -> bool:
        """False when the id is known: the first body holds."""
        digest = _digest(signal_id)
        if self._find(digest) is not None:
            return False
        number = _bucket_of(digest)
        bucket = self._buckets[number]
        if bucket is None:
            bucket = self._buckets[number] = bytearray()
        bucket += digest
        bucket += _digest_of_hash(body_hash)
        self._count += 1
        return True

    def _find(self, digest: bytes) -> bytes | None:
        """The digest of the body's hash that is kept with an id."""
        bucket = self._buckets[_bucket_of(digest)]
        if bucket is None:
            return None
        place = bucket.find(digest)
        while place % _RECORD and place >= 0:
            # By chance, across two records.
            place = bucket.find(digest, place + 1)
        return None if place < 0 else bytes(bucket[place + _DIGEST : place + _RECORD])


def _digest(signal_id: str) -> bytes:
    # What JSON lets through need not be text that UTF-8 can hold.
    return hashlib.sha256(signal_id.encode("utf-8", "surrogatepass")).digest()[:_DIGEST]


def _digest_of_hash(body_hash: str) -> bytes:
    if len(body_hash) == 2 * _DIGEST:
        try:
            return bytes.fromhex(body_hash)
        except ValueError:
            pass
    return _digest(body_hash)


def _bucket_of(digest: bytes) -> int:
    return int.from_bytes(digest[:2], "little") % _BUCKETS


def _side(event: PredictionSignalEvent) -> int:
    return 1 if event.signal == "BUY" else -1
