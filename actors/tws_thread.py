"""The TWS thread: its own socket, read and decoded there, handed to trio burst by burst.

ibapi's own transport is not used: its reads lose a burst that ends on a multiple of 4096 bytes, its
sends may write half a message, and both block for ever on a peer that is silent. Here the thread reads
64 KiB at a time, cuts and decodes, and wakes the loop once for each read. Sends go straight into the
socket from the loop's thread, without blocking; what the socket does not take at once, the thread
writes later, and a peer that takes nothing for some seconds ends the link.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections import deque

import trio

from actors.tws_codec import TwsCodec
from actors.tws_link import (
    MAX_UNSENT_BYTES,
    READ_BYTES,
    STUCK_LOOP_S,
    Burst,
    Decoding,
    LinkDown,
    shake_hands,
)
from protocol.tws.messages import ClientRequest

MAX_UNREAD_BURSTS = 256
"""Bursts that the loop has not taken yet; beyond, the thread stops reading and TCP slows TWS down."""
_POLL_S = 1.0
"""How long the thread sleeps at most. It is woken when there is something to do: this is for the
stuck peer only, who gives no sign."""


class ThreadLink:
    """A link over a TCP connection. Made by `open`, ended by `close`, never used twice."""

    def __init__(self, sock: socket.socket, server_version: int, client_id: int, leftover: bytes) -> None:
        sock.setblocking(False)
        self.server_version = server_version
        self._sock = sock
        self._codec = TwsCodec(server_version, client_id)
        # Two codecs, since encoding happens in the loop's thread and decoding here: ibapi's objects
        # are not made for two threads.
        self._decoding = Decoding(TwsCodec(server_version, client_id))
        self._leftover = leftover
        self._lock = threading.Lock()
        self._unsent: deque[bytes] = deque()
        self._unsent_bytes = 0
        self._stuck_since: float | None = None
        self._down: str | None = None
        self._room = threading.Semaphore(MAX_UNREAD_BURSTS)
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._token = trio.lowlevel.current_trio_token()
        self._clock = trio.lowlevel.current_clock()
        self._to_loop, self._bursts = trio.open_memory_channel[Burst](MAX_UNREAD_BURSTS + 1)
        self._thread = threading.Thread(target=self._serve, name="tws", daemon=True)
        self._thread.start()

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        client_id: int,
        *,
        connect_loop_s: float = 30.0,
        handshake_loop_s: float = 10.0,
    ) -> ThreadLink:
        """Connect and shake hands. Raises `LinkDown`."""
        try:
            with trio.fail_after(connect_loop_s):
                stream = await trio.open_tcp_stream(host, port)
        except OSError as problem:
            raise LinkDown(f"cannot connect to {host}:{port}: {problem}") from None
        except trio.TooSlowError:
            raise LinkDown(f"{host}:{port} did not answer within {connect_loop_s:g} s") from None
        try:
            version, leftover = await shake_hands(stream, handshake_loop_s)
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = socket.socket(fileno=stream.socket.detach())
        return cls(sock, version, client_id, leftover)

    # --- the loop's side --------------------------------------------------------------------------

    def encode(self, request: ClientRequest) -> bytes:
        return self._codec.encode(request)

    def send(self, data: bytes) -> None:
        with self._lock:
            if self._down is not None:
                raise LinkDown(self._down)
            if not self._unsent:
                try:
                    sent = self._sock.send(data)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                except OSError as problem:
                    self._end(f"sending failed: {problem}")
                    raise LinkDown(self._down) from None
                if sent == len(data):
                    return
                data = data[sent:]
                self._stuck_since = self._clock.current_time()
            if self._unsent_bytes + len(data) > MAX_UNSENT_BYTES:
                self._end("the peer does not read")
                raise LinkDown(self._down)
            self._unsent.append(data)
            self._unsent_bytes += len(data)
        self._wake()

    async def receive(self) -> Burst:
        try:
            burst = await self._bursts.receive()
        except trio.EndOfChannel:
            raise LinkDown(self._down or "closed") from None
        self._room.release()
        return burst

    async def run(self) -> None:
        """Nothing: the thread does it all."""

    def close(self) -> None:
        with self._lock:
            self._end("closed")
        self._wake()
        # The thread never waits while the link is down, so this takes as long as one message.
        self._thread.join()

    def _end(self, reason: str) -> None:
        """Under the lock. Wakes the thread out of whatever it waits for."""
        if self._down is None:
            self._down = reason
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            self._room.release()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_write.send(b"\0")

    # --- the thread -------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            self._read_until_down()
        finally:
            with self._lock:
                self._end("the TWS thread ended")
                self._sock.close()
                self._wake_read.close()
                self._wake_write.close()
            self._run_in_loop(self._to_loop.close)

    def _read_until_down(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._sock, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            if self._leftover:
                self._take(self._leftover)
            while self._down is None:
                if not self._read():
                    self._wait(selector)

    def _read(self) -> bool:
        """Whether there was something to read."""
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as problem:
            self._lose(f"receiving failed: {problem}")
            return True
        if data:
            self._take(data)
        else:
            self._lose("TWS closed the connection")
        return True

    def _take(self, data: bytes) -> None:
        received_at = self._clock.current_time()
        messages, problem = self._decoding.feed(data)
        if messages:
            self._room.acquire()
            if self._down is None:
                self._run_in_loop(self._deliver, Burst(received_at, messages))
        if problem is not None:
            self._lose(problem)

    def _deliver(self, burst: Burst) -> None:
        # Runs in the loop; a receiver that has gone, or a channel that is closed, wants nothing more.
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            self._to_loop.send_nowait(burst)

    def _run_in_loop(self, function: object, *args: object) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)  # type: ignore[arg-type]

    def _wait(self, selector: selectors.BaseSelector) -> None:
        with self._lock:
            if self._down is not None:
                return
            writing = bool(self._unsent)
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        selector.modify(self._sock, events)
        ready = selector.select(_POLL_S)
        for key, mask in ready:
            if key.fileobj is self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    self._wake_read.recv(4096)
            elif mask & selectors.EVENT_WRITE:
                self._write()
        if writing:
            self._check_stuck()

    def _write(self) -> None:
        with self._lock:
            while self._unsent and self._down is None:
                data = self._unsent[0]
                try:
                    sent = self._sock.send(data)
                except (BlockingIOError, InterruptedError):
                    return
                except OSError as problem:
                    self._end(f"sending failed: {problem}")
                    return
                self._stuck_since = self._clock.current_time()
                self._unsent_bytes -= sent
                if sent < len(data):
                    self._unsent[0] = data[sent:]
                else:
                    self._unsent.popleft()

    def _check_stuck(self) -> None:
        with self._lock:
            if not self._unsent or self._stuck_since is None:
                return
            if self._clock.current_time() - self._stuck_since >= STUCK_LOOP_S:
                self._end("the peer does not read")

    def _lose(self, reason: str) -> None:
        with self._lock:
            self._end(reason)
