"""The control socket: who may ask, and that a bad client costs nobody else anything."""

from __future__ import annotations

import os
import stat
import struct
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
import trio.testing

from actors import control
from actors.control import ASKS_PER_S, BURST, DEEDS_PER_S, MAX_CONNECTIONS, REQUEST_LOOP_S, Control, Turns
from actors.control_client import NobodyAnswers, SeveralRun, find, running, running_on
from actors.control_places import RunningNote, note_run, socket_of
from protocol.control_answers import Answer, Declined, Done
from protocol.control_messages import MAX_LINE_BYTES, read_answer, write_request
from protocol.control_requests import AskOrders, AskStatus, Pause, Request, StopRun


class EchoOperator:
    """Answers with what was asked, and by whom."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, str]] = []
        self.large = False

    def answer(self, request: Request, user: str) -> Answer:
        self.asked.append((request, user))
        return Done(said=("x" * 20_000_000,) if self.large else (type(request).__name__,))


class Room:
    """A served state folder."""

    def __init__(self, state: Path) -> None:
        self.operator, self.state = EchoOperator(), state
        self.alarms: list[tuple[str, str]] = []
        self.control = Control(
            self.operator, state, what="a test", alarm=lambda code, text: self.alarms.append((code, text))
        )

    async def connect(self) -> trio.SocketStream:
        return await trio.open_unix_socket(str(socket_of(self.state)))

    async def say(self, line: bytes) -> Answer:
        async with await self.connect() as stream:
            await stream.send_all(line)
            return read_answer(await whole(stream))


async def whole(stream: trio.SocketStream) -> bytes:
    """The next line, or what comes before the end."""
    read = b""
    while not read.endswith(b"\n"):
        part = await stream.receive_some(1_000_000)
        if not part:
            break
        read += part
    return read


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
async def room(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Room]:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    found = Room(state)
    await nursery.start(found.control.run, 1)
    yield found
    nursery.cancel_scope.cancel()


# --- asking -----------------------------------------------------------------------------------------


async def test_a_request_is_answered_and_the_next_one_too(room: Room) -> None:
    async with await room.connect() as stream:
        for request in (AskStatus(), Pause(symbol="SLV")):
            await stream.send_all(write_request(request))
            assert read_answer(await whole(stream)) == Done(said=(type(request).__name__,))
    assert [request for request, _ in room.operator.asked] == [AskStatus(), Pause(symbol="SLV")]


async def test_who_asks_is_told_by_the_operating_system(room: Room) -> None:
    await room.say(write_request(AskStatus(tty="somebody else")))
    assert [user for _, user in room.operator.asked] == [control._name_of(os.getuid())]


async def test_only_the_same_user_and_root_may_ask(room: Room) -> None:
    def whose(user_id: int) -> str | None:
        told = SimpleNamespace(getsockopt=lambda *_: struct.pack("3i", 1, user_id, 1))
        return room.control._user_of(cast("trio.SocketStream", SimpleNamespace(socket=told)))

    assert whose(os.getuid()) is not None
    assert whose(0) == "root"
    assert whose(os.getuid() + 4711) is None


async def test_somebody_else_is_told_so_and_nothing_is_asked(room: Room, monkeypatch: Any) -> None:
    monkeypatch.setattr(room.control, "_user_of", lambda _: None)
    answer = await room.say(write_request(StopRun()))
    assert answer == Declined(problems=("only the user who runs it may control it",))
    assert room.operator.asked == []


async def test_socket_and_note_are_private_and_gone_after_the_run(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    room = Room(state)
    async with trio.open_nursery() as nursery:
        await nursery.start(room.control.run, 1)
        assert stat.S_IMODE((state / "control.sock").stat().st_mode) == 0o600
        (note,) = running()
        assert (note.pid, note.state, note.what) == (os.getpid(), str(state), "a test")
        nursery.cancel_scope.cancel()
    assert list(state.iterdir()) == []
    assert running() == ()


async def test_what_a_killed_run_left_is_replaced(tmp_path: Path, nursery: trio.Nursery) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "control.sock").write_bytes(b"")
    (state / "control").write_text("/nowhere")
    room = Room(state)
    await nursery.start(room.control.run, 1)
    assert await room.say(write_request(AskStatus())) == Done(said=("AskStatus",))
    nursery.cancel_scope.cancel()


async def test_a_folder_with_a_long_name_is_reached_all_the_same(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    state = tmp_path / ("x" * 150)
    state.mkdir()
    room = Room(state)
    await nursery.start(room.control.run, 1)
    assert socket_of(state).parent == tmp_path / "run" / "ringfence"
    assert await room.say(write_request(AskStatus())) == Done(said=("AskStatus",))
    nursery.cancel_scope.cancel()


async def test_a_run_that_cannot_be_reached_goes_on_with_an_alarm(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    room = Room(tmp_path / "there is no such folder")
    with trio.move_on_after(5):
        await room.control.run(1)
    assert [code for code, _ in room.alarms] == ["NO_CONTROL"]
    assert trio.current_time() >= 5


# --- bad clients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b"{}\n", b'{"do": "status", "x": 1}\n', b"[" * 9000 + b"\n"])
async def test_nonsense_is_answered_and_the_connection_goes_on(room: Room, line: bytes) -> None:
    async with await room.connect() as stream:
        await stream.send_all(line)
        assert isinstance(read_answer(await whole(stream)), Declined)
        await stream.send_all(b"\n \n" + write_request(AskStatus()))
        assert isinstance(read_answer(await whole(stream)), Done)


@pytest.mark.parametrize("end", [b"", b"\n"])
async def test_a_line_without_end_costs_its_own_connection(room: Room, end: bytes) -> None:
    async with await room.connect() as stream:
        await stream.send_all(b" " * 10 + b"x" * MAX_LINE_BYTES + end)
        answer = read_answer(await whole(stream))
        assert isinstance(answer, Declined)
        assert "65536 bytes" in answer.problems[0]
        assert await whole(stream) == b""
    assert room.operator.asked == []


async def test_a_client_that_says_nothing_is_let_go_in_time(
    room: Room, autojump_clock: trio.testing.MockClock
) -> None:
    async with await room.connect() as stream:
        await stream.send_all(b'{"do": "sta')
        began = trio.current_time()
        assert await whole(stream) == b""
        assert trio.current_time() - began == pytest.approx(REQUEST_LOOP_S)


async def test_a_client_that_does_not_read_holds_up_nobody_and_is_let_go(
    room: Room, autojump_clock: trio.testing.MockClock
) -> None:
    room.operator.large = True
    async with await room.connect() as lazy:
        await lazy.send_all(write_request(AskStatus()))
        await trio.testing.wait_all_tasks_blocked()
        room.operator.large = False
        assert await room.say(write_request(AskStatus())) == Done(said=("AskStatus",))
        assert trio.current_time() < 1.0
        await trio.sleep(control.ANSWER_LOOP_S + 1)
        assert room.control._connections == 0


async def test_a_client_that_hangs_up_in_the_middle_is_forgotten(room: Room) -> None:
    room.operator.large = True
    async with await room.connect() as stream:
        await stream.send_all(write_request(AskStatus()))
    await trio.testing.wait_all_tasks_blocked(0.05)
    room.operator.large = False
    assert await room.say(write_request(AskStatus())) == Done(said=("AskStatus",))


async def test_there_is_room_for_so_many_clients_and_no_more(room: Room) -> None:
    clients = [await room.connect() for _ in range(MAX_CONNECTIONS)]
    await trio.testing.wait_all_tasks_blocked(0.01)
    answer = await room.say(write_request(AskStatus()))
    assert isinstance(answer, Declined)
    assert "16 clients" in answer.problems[0]
    await clients.pop().aclose()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert isinstance(await room.say(write_request(AskStatus())), Done)
    for client in clients:
        await client.aclose()


async def test_a_flood_of_looks_is_paced_and_does_not_hold_up_a_deed(
    room: Room, autojump_clock: trio.testing.MockClock
) -> None:
    async def flood() -> None:
        async with await room.connect() as stream:
            while True:
                await stream.send_all(write_request(AskStatus()) * 20)
                await trio.sleep(0.01)

    async with trio.open_nursery() as crowd:
        for _ in range(8):
            crowd.start_soon(flood)
        await trio.sleep(10.0)
        looked = len(room.operator.asked)
        assert looked <= ASKS_PER_S * 10 + BURST + 8
        began = trio.current_time()
        assert await room.say(write_request(Pause())) == Done(said=("Pause",))
        assert trio.current_time() - began < 0.1
        crowd.cancel_scope.cancel()


async def test_turns_are_a_burst_and_then_a_pace(autojump_clock: trio.testing.MockClock) -> None:
    turns = Turns(DEEDS_PER_S, BURST)
    for _ in range(BURST):
        await turns.take()
    assert trio.current_time() == pytest.approx(0.0, abs=1e-9)
    for _ in range(10):
        await turns.take()
    assert trio.current_time() == pytest.approx(10 / DEEDS_PER_S)


# --- the client -------------------------------------------------------------------------------------


async def in_thread(ask: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(ask)


async def test_the_only_run_is_found_without_its_folder(room: Room) -> None:
    address = await in_thread(lambda: find(None))
    assert address.state == room.state
    assert await in_thread(lambda: address.ask(AskOrders())) == Done(said=("AskOrders",))
    assert room.operator.asked[0][0] != AskOrders()
    assert room.operator.asked[0][0] == AskOrders(tty=room.operator.asked[0][0].tty)


async def test_of_several_runs_one_has_to_be_named(room: Room, tmp_path: Path, nursery: trio.Nursery) -> None:
    other = tmp_path / "other"
    other.mkdir()
    second = Room(other)
    await nursery.start(second.control.run, 1)
    # One file for each process, and this is one process: the second note has taken the place of the first.
    note_run(RunningNote(pid=1, state=str(room.state), socket=str(socket_of(room.state)), what="first"))
    with pytest.raises(SeveralRun) as several:
        await in_thread(lambda: find(None))
    assert f"--state {room.state}   (first, process 1)" in str(several.value)
    assert f"--state {other}" in str(several.value)
    assert (await in_thread(lambda: find(other))).state == other


async def test_where_nobody_answers_it_is_said_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NobodyAnswers, match="start one with"):
        await in_thread(lambda: find(None))
    with pytest.raises(NobodyAnswers, match=f"status --state {tmp_path}"):
        await in_thread(lambda: find(tmp_path))
    assert running_on(tmp_path) is None


async def test_a_run_that_ends_before_its_answer_is_nobody(tmp_path: Path, nursery: trio.Nursery) -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some(10)
        await stream.aclose()

    listening = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
    await listening.bind(str(tmp_path / "control.sock"))
    listening.listen(1)
    nursery.start_soon(trio.serve_listeners, hang_up, [trio.SocketListener(listening)])
    with pytest.raises(NobodyAnswers):
        await in_thread(lambda: find(tmp_path).ask(AskStatus()))
    nursery.cancel_scope.cancel()
