"""What a fault does to the wires, for whoever owns them: the closed union that a `FaultPlan` hands out."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from protocol.exchange.faults import (
    BurstBytes,
    GlueBytes,
    RefuseConnections,
    SilentHandshake,
    SplitBytes,
)
from protocol.exchange.tws_clients import ClientKey

ByteShape: TypeAlias = SplitBytes | GlueBytes | BurstBytes
Door: TypeAlias = RefuseConnections | SilentHandshake


@attrs.frozen
class CloseWire:
    """`flush`: what is queued is sent first. `reset`: with RST, where there is such a thing."""

    key: ClientKey
    reset: bool = False
    flush: bool = False


@attrs.frozen
class PauseWire:
    """Reading, writing or both stand still for a while; with `lost`, what was to be written is forgotten."""

    key: ClientKey
    reading: bool
    writing: bool
    duration_loop_s: float
    lost: bool = False


@attrs.frozen
class ShapeWire:
    """How bytes leave from now on, for as long as the shape says."""

    key: ClientKey
    shape: ByteShape


@attrs.frozen
class RawBytes:
    key: ClientKey
    data: bytes


@attrs.frozen
class ChangeDoor:
    """What becomes of those who want to connect."""

    door: Door


WireEffect: TypeAlias = CloseWire | PauseWire | ShapeWire | RawBytes | ChangeDoor


@attrs.frozen
class FaultDone:
    """For the record: a fault has happened; `what` says to whom."""

    kind: str
    what: str
