"""The proxy does to a connection what it says: real sockets on the loopback, some milliseconds each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.proxy import Proxy
from tests.proxy_troubles import (
    AcceptAndClose,
    Cut,
    Delay,
    Garble,
    Glue,
    Refuse,
    Reset,
    Split,
    Stall,
    Swallow,
    Throttle,
    Trouble,
    Way,
)

SENT = bytes(range(256)) * 8
SHORT_S = 0.05
GONE = (trio.BrokenResourceError, trio.ClosedResourceError)


class Ends:
    """A client and the peer behind the proxy."""

    def __init__(self, proxy: Proxy, client: trio.SocketStream, peer: trio.SocketStream) -> None:
        self.proxy, self.client, self.peer = proxy, client, peer


@asynccontextmanager
async def connected() -> AsyncIterator[Ends]:
    accepted_to, accepted = trio.open_memory_channel[trio.SocketStream](4)

    async def keep(stream: trio.SocketStream) -> None:
        await accepted_to.send(stream)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, keep, listeners)
        proxy = Proxy("127.0.0.1", listeners[0].socket.getsockname()[1])
        await nursery.start(proxy.run)
        client = await trio.open_tcp_stream("127.0.0.1", proxy.listening_on)
        with trio.fail_after(5):
            async with client, await accepted.receive() as peer:
                yield Ends(proxy, client, peer)
        nursery.cancel_scope.cancel()


async def receive(stream: trio.SocketStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive_some()
        if not part:
            break
        data += part
    return data


async def hears_nothing(stream: trio.SocketStream) -> bool:
    with trio.move_on_after(SHORT_S):
        return not await stream.receive_some()
    return True


@pytest.mark.parametrize("trouble", [None, Split(7), Glue(0.02), Delay(0.02), Throttle(200_000)], ids=str)
async def test_bytes_arrive_whole_and_in_order_both_ways(trouble: Trouble | None) -> None:
    async with connected() as ends:
        if trouble is not None:
            ends.proxy.make(trouble)
        await ends.client.send_all(SENT)
        await ends.peer.send_all(SENT[::-1])
        assert await receive(ends.peer, len(SENT)) == SENT
        assert await receive(ends.client, len(SENT)) == SENT[::-1]


async def test_what_was_stalled_arrives_when_it_goes_on_and_the_other_way_passes_meanwhile() -> None:
    async with connected() as ends:
        ends.proxy.make(Stall(), Way.FROM_TWS)
        await ends.peer.send_all(SENT)
        await ends.client.send_all(b"hello")
        assert await receive(ends.peer, 5) == b"hello"
        assert await hears_nothing(ends.client)
        ends.proxy.heal()
        assert await receive(ends.client, len(SENT)) == SENT


async def test_a_trouble_ends_by_itself_after_its_time() -> None:
    async with connected() as ends:
        ends.proxy.make(Stall(), for_s=SHORT_S)
        await ends.client.send_all(SENT)
        assert await receive(ends.peer, len(SENT)) == SENT


async def test_a_line_that_has_swallowed_bytes_is_dead_and_an_rst_tells_the_other_end_later() -> None:
    async with connected() as ends:
        ends.proxy.make(Swallow(), Way.TO_TWS)
        await ends.client.send_all(SENT)
        assert await hears_nothing(ends.peer)
        await ends.client.aclose()
        assert await hears_nothing(ends.peer), "while nothing passes nobody hears of an end"
        ends.proxy.heal()
        with pytest.raises(GONE):
            await ends.peer.receive_some()


async def test_garbling_changes_one_byte_of_a_read() -> None:
    async with connected() as ends:
        ends.proxy.make(Garble(times=1), Way.FROM_TWS)
        await ends.peer.send_all(SENT)
        heard = await receive(ends.client, len(SENT))
        assert sum(a != b for a, b in zip(heard, SENT, strict=True)) == 1
        await ends.peer.send_all(SENT)
        assert await receive(ends.client, len(SENT)) == SENT


async def test_a_cut_passes_so_many_bytes_and_resets_both_ends() -> None:
    async with connected() as ends:
        ends.proxy.make(Cut(after_bytes=100), Way.TO_TWS)
        await ends.client.send_all(SENT[:60])
        assert await receive(ends.peer, 60) == SENT[:60]
        await ends.client.send_all(SENT[60:])
        with pytest.raises(GONE):
            await receive(ends.client, 1)


async def test_a_reset_is_an_rst_to_both_ends() -> None:
    async with connected() as ends:
        await ends.client.send_all(b"x")
        assert await receive(ends.peer, 1) == b"x"
        ends.proxy.make(Reset())
        for stream in (ends.client, ends.peer):
            with pytest.raises(GONE):
                await stream.receive_some()


async def test_a_closed_door_leaves_those_inside_alone_and_opens_again_at_the_same_port() -> None:
    async with connected() as ends:
        ends.proxy.make(Refuse())
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match=r"\w"):
            await trio.open_tcp_stream("127.0.0.1", ends.proxy.listening_on)
        await ends.client.send_all(SENT)
        assert await receive(ends.peer, len(SENT)) == SENT
        ends.proxy.make(AcceptAndClose())
        await trio.testing.wait_all_tasks_blocked()
        async with await trio.open_tcp_stream("127.0.0.1", ends.proxy.listening_on) as short:
            assert await short.receive_some() == b""
        ends.proxy.heal()
        async with await trio.open_tcp_stream("127.0.0.1", ends.proxy.listening_on) as again:
            assert await hears_nothing(again), "nobody closes this one"
        assert ends.proxy.connections == 3
