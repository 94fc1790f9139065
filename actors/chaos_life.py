"""One life of the trading system's process in a fault run, and the fence around its effects.

A process that is killed does nothing more: its bytes, its rows, its connections. Here its tasks are still
there for an instant, so everything through which it acts asks `alive` first, and the cancellation of its
tasks follows. What it had given to the wire before is the kernel's, and still arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from actors.journal import Journal, JournalFailed
from actors.tws_link import Burst, StreamLink
from protocol.chaos.plan import CrashPoint, DiskFault
from protocol.events import BaseEvent
from protocol.tws import messages as tws
from protocol.tws.messages import ClientRequest
from protocol.values import Symbol

FLUSH_LOOP_S: Final = 0.0001
"""For what was sent to reach the wire before the tasks of a killed process are cancelled."""
ORDERS: Final = (tws.PlaceOrder, tws.CancelOrder)


@attrs.define
class Countdown:
    """Something is to happen at the `left`th occasion of its kind from now on."""

    point: CrashPoint | DiskFault
    left: int
    down_s: float


class Life:
    """Whether the process lives, and when it is to die. `on_death` is told why, and for how long."""

    def __init__(self, number: int, on_death: Callable[[CrashPoint], None]) -> None:
        self.number = number
        self.alive = True
        self.scope = trio.CancelScope()
        self.down_s = 1.0
        self.why = ""
        self.disk_failed = False
        self._on_death = on_death
        self._crash: Countdown | None = None
        self._disk: Countdown | None = None
        self._dying = trio.Event()

    def arm_crash(self, crash: Countdown) -> None:
        """The process dies at that occasion; a crash that was armed before is forgotten."""
        self._crash = crash

    def arm_disk(self, failure: Countdown) -> None:
        self._disk = failure

    def disarm(self) -> None:
        """Nothing that was armed happens any more."""
        self._crash = self._disk = None

    def occasion(self, point: CrashPoint) -> bool:
        """One of the moments at which a process can die; whether it lives on."""
        crash = self._crash
        if self.alive and crash is not None and crash.point is point:
            crash.left -= 1
            if crash.left <= 0:
                self.die(point, crash.down_s)
        return self.alive

    def disk_occasion(self) -> DiskFault | None:
        """What happens to this write."""
        failure = self._disk
        if failure is None:
            return None
        failure.left -= 1
        if failure.left > 0:
            return None
        self._disk, self.down_s, self.disk_failed = None, failure.down_s, True
        assert isinstance(failure.point, DiskFault)
        return failure.point

    def die(self, point: CrashPoint, down_s: float) -> None:
        if not self.alive:
            return
        self.alive, self.down_s, self.why = False, down_s, point.value
        self._crash = None
        self._on_death(point)
        self._dying.set()

    async def wait_for_death(self) -> None:
        """Cancel the tasks of the process once it is dead."""
        await self._dying.wait()
        await trio.sleep(FLUSH_LOOP_S)
        self.scope.cancel()


class ShakyJournal(Journal):
    """A journal on the one disk of an episode, opened by one life; a dead process writes nothing."""

    @classmethod
    def opened(
        cls, disk: Journal, life: Life, recorder: Callable[[int, str, Sequence[BaseEvent]], None]
    ) -> ShakyJournal:
        """As after the start of a process: known is what was written. `recorder` hears of commits first."""
        journal = cls(disk._connection, path=None, lock=None, synchronous=True)
        journal._check()
        journal._life, journal._disk_error = life, None

        def record(stream: str, events: Sequence[BaseEvent]) -> None:
            recorder(journal.head, stream, events)

        journal.follow(record)
        return journal

    _life: Life
    _disk_error: DiskFault | None

    def append(self, stream: str, events: Sequence[BaseEvent]) -> None:
        life = self._life
        if not events or not life.occasion(CrashPoint.BEFORE_APPEND):
            return
        match life.disk_occasion():
            case None:
                super().append(stream, events)
            case DiskFault.FULL:
                self._refuse("database or disk is full")
            case DiskFault.TORN:
                recorder, self._followers = self._followers[:1], self._followers[:1]
                super().append(stream, events)
                self._followers = recorder
                self._refuse("disk I/O error")
        life.occasion(CrashPoint.AFTER_APPEND)

    def _refuse(self, why: str) -> None:
        self._failure = f"the journal cannot be written: {why}"
        raise JournalFailed(self._failure)

    def set_meta(self, key: str, value: str) -> None:
        if self._life.alive:
            super().set_meta(key, value)

    def close(self) -> None:
        """The disk outlives every process."""


class WatchedLink:
    """A link that writes down what leaves, and on which its process can die."""

    def __init__(
        self,
        link: StreamLink,
        life: Life,
        on_sent: Callable[[ClientRequest, float | None], None],
        quoted_at: dict[Symbol, float],
    ) -> None:
        """`on_sent` hears of each request with the age of the symbol's last price on this machine."""
        self._link, self._life, self._on_sent = link, life, on_sent
        self._quoted_at = quoted_at
        self._lines: dict[int, Symbol] = {}
        self._requests: dict[bytes, ClientRequest] = {}

    @property
    def server_version(self) -> int:
        return self._link.server_version

    def encode(self, request: ClientRequest) -> bytes:
        frame = self._link.encode(request)
        self._requests[frame] = request
        return frame

    def send(self, data: bytes) -> None:
        if not self._life.alive:
            return
        requests = self._split(data)
        about_orders = any(isinstance(request, ORDERS) for request in requests)
        if about_orders and not self._life.occasion(CrashPoint.BEFORE_SEND):
            return
        self._link.send(data)
        for request in requests:
            self._note(request)
        if about_orders:
            self._life.occasion(CrashPoint.AFTER_SEND)

    def _split(self, data: bytes) -> list[ClientRequest]:
        """The requests whose frames these are."""
        found, at = [], 0
        while at < len(data):
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            found.append(self._requests[data[at:end]])
            at = end
        return found

    def _note(self, request: ClientRequest) -> None:
        age_s = None
        match request:
            case tws.ReqMktData(req_id=req_id, contract=contract):
                self._lines[req_id] = Symbol(contract.symbol)
            case tws.PlaceOrder(contract=contract):
                heard = self._quoted_at.get(Symbol(contract.symbol))
                age_s = None if heard is None else trio.current_time() - heard
            case _:
                pass
        self._on_sent(request, age_s)

    async def receive(self) -> Burst:
        burst = await self._link.receive()
        for message in burst.messages:
            if type(message) is tws.TickPrice:
                symbol = self._lines.get(message.req_id)
                if symbol is not None:
                    self._quoted_at[symbol] = burst.received_at
        return burst

    async def run(self) -> None:
        await self._link.run()

    def close(self) -> None:
        self._link.close()
