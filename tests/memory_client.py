"""A TWS API client for tests: our own codec over any trio stream, with everything it heard in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from protocol.tws.codec import decode_server, encode_client
from protocol.tws.framing import Deframer, frame
from protocol.tws.handshake import ClientHandshake
from protocol.tws.messages import (
    ClientRequest,
    Contract,
    NextValidId,
    Order,
    PlaceOrder,
    ServerMessage,
    StartApi,
)

T = TypeVar("T")


class MemoryClient:
    """`heard` holds every message; `next_id` is filled in by `connect`."""

    def __init__(self, stream: trio.abc.Stream, version: int = 178) -> None:
        self.stream, self.version = stream, version
        self.heard: list[ServerMessage] = []
        self.next_id = 0
        self._deframer = Deframer()
        self.closed = False

    async def connect(self, client_id: int) -> None:
        """Handshake and startApi, up to the last farm notice."""
        handshake = ClientHandshake(100, self.version)
        await self.stream.send_all(handshake.hello)
        hello = None
        while hello is None:
            hello = handshake.receive_data(bytes(await self.stream.receive_some()))
        self.version = hello.version
        self._take(handshake.leftover)
        await self.send(StartApi(client_id))
        self.next_id = (await self.until(NextValidId)).order_id

    async def send(self, request: ClientRequest) -> None:
        await self.stream.send_all(frame(encode_client(self.version, request)))

    async def place(self, symbol: str, order: Order, order_id: int | None = None) -> int:
        """A new order on a stock, with the next free id unless one is given."""
        if order_id is None:
            order_id, self.next_id = self.next_id, self.next_id + 1
        contract = Contract(symbol=symbol, sec_type="STK", exchange="SMART", currency="USD")
        await self.send(PlaceOrder(order_id, contract, order))
        return order_id

    async def until(
        self, kind: type[T], condition: Callable[[T], bool] = lambda _: True, *, since: int = 0
    ) -> T:
        """The first message of a kind that meets a condition, among those heard from number `since` on."""
        seen = since
        while True:
            for message in self.heard[seen:]:
                if isinstance(message, kind) and condition(message):
                    return message
            seen = len(self.heard)
            if not await self.listen():
                raise AssertionError(f"the connection ended before {kind.__name__}; heard {self.heard[-5:]}")

    async def listen(self) -> bool:
        """Take one burst in; False when the connection is over."""
        try:
            data = await self.stream.receive_some(65_536)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            self.closed = True
            return False
        self._take(bytes(data))
        return True

    async def listen_for(self, loop_s: float) -> None:
        """Take in whatever comes in so many seconds."""
        with trio.move_on_after(loop_s):
            while await self.listen():
                pass

    def _take(self, data: bytes) -> None:
        for payload in self._deframer.feed(data):
            message = decode_server(self.version, payload)
            assert message is not None, payload
            self.heard.append(message)
