"""The TWS thread on real sockets, on the real clock: every byte arrives, nothing blocks, no thread stays."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal

import pytest
import trio

from actors import tws_link, tws_thread
from actors.tws_link import LinkDown
from actors.tws_thread import ThreadLink
from protocol.session_words import Inbound
from protocol.tws import messages as tws
from protocol.tws.codec import encode_server
from protocol.tws.framing import frame
from protocol.tws.handshake import Negotiated, ServerConnection

pytestmark = pytest.mark.slow

Behaviour = Callable[[socket.socket], None]


@contextmanager
def no_thread_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name == "tws"]
    assert left == []


class Peer:
    """A TWS of one connection, in a thread of its own: shakes hands, then does as told."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = bytearray()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            server = ServerConnection(157, "20250123 10:00:00 EST")
            while True:
                events = server.receive_data(connection.recv(4096))
                if events and isinstance(events[0], Negotiated):
                    connection.sendall(events[0].reply)
                    break
            with contextlib.suppress(OSError):  # the client has gone, which is what some tests are about
                self._behaviour(connection)

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)


@asynccontextmanager
async def linked(behaviour: Behaviour) -> AsyncIterator[ThreadLink]:
    peer = Peer(behaviour)
    with no_thread_left():
        link = await ThreadLink.open("127.0.0.1", peer.port, 1)
        try:
            yield link
        finally:
            link.close()
            peer.close()


async def read_all(receive: Callable[[], Awaitable[tws_link.Burst]]) -> list[Inbound]:
    messages: list[Inbound] = []
    with trio.fail_after(20):
        try:
            while True:
                messages += (await receive()).messages
        except LinkDown:
            return messages


def tick(number: int) -> bytes:
    return frame(encode_server(157, tws.TickPrice(number, 1, 30.0 + number / 100, Decimal(100))))


async def test_bursts_of_whole_pages_arrive_whole() -> None:
    """The length at which ibapi's own reader loses everything: a multiple of 4096 bytes, then silence."""
    page = b""
    count = 0
    while True:
        message = tick(count)
        room = 8192 - len(page) - len(message)
        if room < 40:
            text = "x" * (8192 - len(page) - len(frame(encode_server(157, tws.AccountUpdateTime("")))))
            page += frame(encode_server(157, tws.AccountUpdateTime(text)))
            break
        page += message
        count += 1
    assert len(page) == 8192

    def behave(connection: socket.socket) -> None:
        connection.sendall(page)
        time.sleep(1.3)

    async with linked(behave) as link:
        messages: list[Inbound] = []
        with trio.fail_after(1.0):
            while len(messages) < count + 1:
                messages += (await link.receive()).messages
        assert [message.req_id for message in messages if isinstance(message, tws.TickPrice)] == list(
            range(count)
        )


async def test_single_bytes_make_the_same_messages() -> None:
    data = b"".join(tick(number) for number in range(5))

    def behave(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            connection.sendall(data[at : at + 1])
            time.sleep(0.001)

    async with linked(behave) as link:
        messages = await read_all(link.receive)
        assert [message.req_id for message in messages if isinstance(message, tws.TickPrice)] == list(
            range(5)
        )


async def test_a_flood_arrives_whole_and_in_order_though_the_reader_is_slow() -> None:
    def behave(connection: socket.socket) -> None:
        for start in range(0, 100_000, 1000):
            connection.sendall(b"".join(tick(number) for number in range(start, start + 1000)))

    async with linked(behave) as link:
        await trio.sleep(0.5)
        messages = await read_all(link.receive)
        assert [message.req_id for message in messages if isinstance(message, tws.TickPrice)] == list(
            range(100_000)
        )


async def test_requests_arrive_as_whole_frames_in_order() -> None:
    received = bytearray()

    def behave(connection: socket.socket) -> None:
        while data := connection.recv(65536):
            received.extend(data)

    async with linked(behave) as link:
        sent = [
            link.encode(tws.ReqContractDetails(number, tws.Contract(symbol="SLV"))) for number in range(200)
        ]
        for data in sent:
            link.send(data)
        with trio.fail_after(5):
            while len(received) < len(b"".join(sent)):
                await trio.sleep(0.01)
        assert bytes(received) == b"".join(sent)


async def test_a_peer_that_stops_reading_blocks_nobody_and_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tws_thread, "STUCK_LOOP_S", 0.5)
    done = threading.Event()

    def behave(connection: socket.socket) -> None:
        done.wait(10)

    async with linked(behave) as link:
        data = link.encode(tws.ReqContractDetails(1, tws.Contract(symbol="SLV"))) * 500
        begun = time.monotonic()

        def send_for_ever() -> None:
            while True:
                link.send(data)

        with pytest.raises(LinkDown, match="does not read"):
            send_for_ever()
        assert time.monotonic() - begun < 2
        with pytest.raises(LinkDown, match="does not read"), trio.fail_after(5):
            await link.receive()
        done.set()


async def test_bytes_that_had_to_wait_are_sent_when_the_peer_reads_again() -> None:
    received = bytearray()
    go = threading.Event()

    def behave(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        go.wait(10)
        while data := connection.recv(65536):
            received.extend(data)

    async with linked(behave) as link:
        one = link.encode(tws.ReqContractDetails(1, tws.Contract(symbol="SLV"))) * 100
        count = 0
        while not link._unsent:
            link.send(one)
            count += 1
        link.send(one)
        go.set()
        with trio.fail_after(10):
            while len(received) < len(one) * (count + 1):
                await trio.sleep(0.01)
        assert bytes(received) == one * (count + 1)


async def test_a_peer_that_hangs_up_is_noticed_at_once_after_its_last_words() -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(tick(1))

    async with linked(behave) as link:
        with trio.fail_after(1):
            assert len((await link.receive()).messages) == 1
            with pytest.raises(LinkDown, match="closed the connection"):
                await link.receive()
        with pytest.raises(LinkDown):
            link.send(b"")


async def test_garbage_closes_the_link_with_its_reason() -> None:
    def behave(connection: socket.socket) -> None:
        connection.sendall(tick(1) + b"\xff\xff\xff\xff garbage")
        time.sleep(1)

    async with linked(behave) as link:
        with trio.fail_after(2):
            assert len((await link.receive()).messages) == 1
            with pytest.raises(LinkDown, match="out of step"):
                await link.receive()


async def test_close_is_quick_and_may_come_twice() -> None:
    release = threading.Event()

    def behave(connection: socket.socket) -> None:
        release.wait(10)

    async with linked(behave) as link:
        begun = time.monotonic()
        link.close()
        link.close()
        assert time.monotonic() - begun < 0.5
        release.set()


async def test_a_port_where_nobody_listens_is_a_link_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with no_thread_left(), pytest.raises(LinkDown, match="cannot connect"):
        await ThreadLink.open("127.0.0.1", port, 1)


async def test_a_peer_that_never_answers_the_handshake_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, no_thread_left():
        begun = time.monotonic()
        with pytest.raises(LinkDown, match="no answer to the handshake"):
            await ThreadLink.open("127.0.0.1", silent.getsockname()[1], 1, handshake_loop_s=0.3)
        assert time.monotonic() - begun < 1


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x05abc\0\0", b""])
async def test_a_peer_that_is_not_tws_is_given_up(words: bytes) -> None:
    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(words)

    with socket.create_server(("127.0.0.1", 0)) as listener, no_thread_left():
        peer = threading.Thread(target=serve, args=(listener,))
        peer.start()
        with pytest.raises(LinkDown):
            await ThreadLink.open("127.0.0.1", listener.getsockname()[1], 1, handshake_loop_s=2)
        peer.join()
