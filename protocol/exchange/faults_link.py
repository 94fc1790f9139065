"""Faults of the link between a client and TWS, and between TWS and the world."""

from __future__ import annotations

import enum

import attrs

from protocol.exchange.fault_base import ABOVE_ZERO, COUNT, NOT_BELOW_ZERO, Family, FaultBase
from protocol.exchange.tws_session import Farm


@attrs.frozen(kw_only=True)
class DropConnection(FaultBase):
    """The connection is gone; what was not sent yet is lost.

    `processed`: whether a request that gave the opportunity is carried out first. `reset`: with RST
    instead of FIN (a socket only). `flush`: what is queued is sent first.
    """

    processed: bool = True
    reset: bool = False
    flush: bool = False


@attrs.frozen(kw_only=True)
class Silence(FaultBase):
    """TWS takes everything in and says nothing; afterwards it says all at once, or `lost`: never."""

    duration_loop_s: float = attrs.field(default=15.0, validator=ABOVE_ZERO)
    lost: bool = False


@attrs.frozen(kw_only=True)
class Freeze(FaultBase):
    """TWS neither reads nor writes, as when its process is stopped; then it goes on where it was."""

    duration_loop_s: float = attrs.field(default=60.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class StopReading(FaultBase):
    """TWS writes but does not read: the client's sends pile up until its buffers are full."""

    duration_loop_s: float = attrs.field(default=60.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class SplitBytes(FaultBase):
    """What is sent leaves in pieces of `size` bytes, `pause_loop_s` apart, for `duration_loop_s`."""

    size: int = attrs.field(default=1, validator=ABOVE_ZERO)
    pause_loop_s: float = attrs.field(default=0.0, validator=NOT_BELOW_ZERO)
    duration_loop_s: float = attrs.field(default=5.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class GlueBytes(FaultBase):
    """What is sent is gathered for `hold_loop_s` and leaves in one piece."""

    hold_loop_s: float = attrs.field(default=0.5, validator=ABOVE_ZERO)
    duration_loop_s: float = attrs.field(default=5.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class BurstBytes(FaultBase):
    """What is sent leaves in exact multiples of `block` bytes, each followed by a silence.

    A reader that takes a full buffer as a sign of more loses such a burst. What does not fill a block
    leaves after `pause_loop_s`.
    """

    block: int = attrs.field(default=4096, validator=ABOVE_ZERO)
    pause_loop_s: float = attrs.field(default=1.5, validator=ABOVE_ZERO)
    duration_loop_s: float = attrs.field(default=10.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class RefuseConnections(FaultBase):
    """New connections are refused, as long as TWS restarts; or `accepts`: taken, and closed at once."""

    accepts: bool = False
    duration_loop_s: float = attrs.field(default=90.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class SilentHandshake(FaultBase):
    """New connections are taken and never answered."""

    duration_loop_s: float = attrs.field(default=60.0, validator=ABOVE_ZERO)


class Garbage(enum.Enum):
    UNKNOWN_ID = "unknown_id"
    PROTOBUF_ID = "protobuf_id"
    ABSURD_LENGTH = "absurd_length"
    BAD_UTF8 = "bad_utf8"
    EMPTY_INTEGER = "empty_integer"
    """An orderStatus without its numbers."""
    EMPTY_FRAME = "empty_frame"


@attrs.frozen(kw_only=True)
class GarbageFrame(FaultBase):
    """Bytes that are no message arrive between two messages."""

    what: Garbage = Garbage.UNKNOWN_ID


@attrs.frozen(kw_only=True)
class ClientIdBusy(FaultBase):
    """326 and the end of the connection: the old session has not been released yet."""

    family = Family.REQUEST
    usual = ("start_api",)


@attrs.frozen(kw_only=True)
class RateExceeded(FaultBase):
    """100, so many times, and then the connection is gone."""

    warnings: int = attrs.field(default=3, validator=COUNT)


@attrs.frozen(kw_only=True)
class ConnectivityLost(FaultBase):
    """1100 now, repeated each minute; 1102 after `duration_s`, or 1101 with `data_lost`.

    Orders stay at the venue. `told`: what happens to them meanwhile is told at once all the same.
    """

    duration_s: float = attrs.field(default=20.0, validator=ABOVE_ZERO)
    data_lost: bool = False
    told: bool = False


@attrs.frozen(kw_only=True)
class FarmBroken(FaultBase):
    """2103, 2105 or 2157 now, 2104, 2106 or 2158 after `duration_s`."""

    farm: Farm = Farm.MARKET_DATA
    duration_s: float = attrs.field(default=3.0, validator=NOT_BELOW_ZERO)


@attrs.frozen(kw_only=True)
class Notice(FaultBase):
    """An error message about the session (`id` -1) or about anything; nothing else happens."""

    code: int
    text: str
    id: int = -1


@attrs.frozen(kw_only=True)
class Restart(FaultBase):
    """The nightly restart: every connection is gone, and none is taken for a while.

    `rolls_back`: each client's next id afterwards is that much lower than it should be.
    """

    down_loop_s: float = attrs.field(default=60.0, validator=ABOVE_ZERO)
    rolls_back: int = attrs.field(default=0, validator=NOT_BELOW_ZERO)
