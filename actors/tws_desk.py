"""One session with TWS for somebody who asks one thing after the other: the examination, the paper suite.

The same link and codec as those that trade. Nothing is read in the background: whoever waits for an
answer reads until it is there, and everything that was ever heard is kept in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self, TypeVar

import trio

from actors.tws_link import Link, LinkDown
from actors.tws_thread import ThreadLink
from protocol.session_words import Inbound
from protocol.tws import messages as tws

T = TypeVar("T")

FIRST_REQ_ID: Final = 900_000_000
"""Far above the ids of orders, which share the answers' id space."""
BUSY_CODE: Final = 326


class ClientIdBusy(LinkDown):
    """Another session uses this client id."""


class TwsDesk:
    """A session after its beginning. `order_id` is the next free one; `accounts` those that TWS manages."""

    def __init__(self, link: Link, client_id: int) -> None:
        """Use `open`."""
        self.link = link
        self.client_id = client_id
        self.accounts: tuple[str, ...] = ()
        self.heard: list[Inbound] = []
        self._order_id = 0
        self._req_id = FIRST_REQ_ID

    @classmethod
    async def open(cls, host: str, port: int, client_id: int, *, timeout_loop_s: float = 10.0) -> TwsDesk:
        """Connect, shake hands and begin. Raises `LinkDown`: `NoHandshake`, `NotTws`, `ClientIdBusy`."""
        link = await ThreadLink.open(
            host, port, client_id, connect_loop_s=timeout_loop_s, handshake_loop_s=timeout_loop_s
        )
        desk = cls(link, client_id)
        try:
            await desk._begin(timeout_loop_s)
        except BaseException:
            link.close()
            raise
        return desk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.link.close()

    async def _begin(self, timeout_loop_s: float) -> None:
        self.send(tws.StartApi(self.client_id))

        def ready() -> bool:
            if any(error.code == BUSY_CODE for error in self.all(tws.ErrorMessage)):
                raise ClientIdBusy(f"client id {self.client_id} is in use")
            return bool(self._order_id and self.accounts)

        try:
            there = await self.until(ready, timeout_loop_s)
        except ClientIdBusy:
            raise
        except LinkDown:
            ready()  # the reason can have come right before the end
            raise
        if not there:
            raise LinkDown(f"TWS told neither account nor order id within {timeout_loop_s:g} s")

    # --- asking -----------------------------------------------------------------------------------

    def send(self, *requests: tws.ClientRequest) -> None:
        """All of them at once. Raises `LinkDown`."""
        self.link.send(b"".join(self.link.encode(request) for request in requests))

    def fresh_req_id(self) -> int:
        self._req_id += 1
        return self._req_id

    def fresh_order_id(self) -> int:
        """The next one. Whoever takes it uses it: a later one makes it invalid."""
        self._order_id += 1
        return self._order_id - 1

    async def until(self, holds: Callable[[], bool], within_loop_s: float) -> bool:
        """Read until it holds, for as long as that; whether it does. Raises `LinkDown`."""
        if holds():
            return True
        with trio.move_on_after(within_loop_s):
            while True:
                burst = await self.link.receive()
                for message in burst.messages:
                    self._take(message)
                if holds():
                    return True
        return holds()

    async def listen(self, loop_s: float) -> None:
        """Hear what comes within that time. Raises `LinkDown`."""
        await self.until(lambda: False, loop_s)

    def _take(self, message: Inbound) -> None:
        self.heard.append(message)
        match message:
            case tws.NextValidId(order_id):
                self._order_id = max(self._order_id, order_id)
            case tws.ManagedAccounts(accounts):
                self.accounts = accounts
            case _:
                pass

    # --- what was heard ---------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """Where the future begins: `all` takes it as `since`."""
        return len(self.heard)

    def all(self, kind: type[T], *, since: int = 0) -> Iterator[T]:
        """What was heard of one kind, in order."""
        return (message for message in self.heard[since:] if isinstance(message, kind))

    def errors(self, about: int, *, since: int = 0) -> tuple[tws.ErrorMessage, ...]:
        """The errors that name a request or an order."""
        return tuple(error for error in self.all(tws.ErrorMessage, since=since) if error.id == about)

    def notices(self) -> tuple[tws.ErrorMessage, ...]:
        """What TWS said about the session."""
        return self.errors(-1)
