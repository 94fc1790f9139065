"""The control interface, and faults that only sockets show."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from actors.simulated_tws import SimulatedTws
from actors.simulated_tws_control import LOOPBACK, ControlDesk
from protocol.exchange import faults as f
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from tests.fault_stage import stage
from tests.memory_client import MemoryClient
from tests.tws_faces import StillMarket, limit_order, market_order

PATIENCE_S = 10


def told(desk: ControlDesk, **command: object) -> dict[str, object]:
    answer: dict[str, object] = json.loads(desk.answer(json.dumps(command).encode()))
    return answer


async def test_a_fault_is_injected_and_counted(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        desk = ControlDesk(s.tws)
        assert told(desk, do="inject", fault={"kind": "swallow_request"}) == {"ok": True, "number": 1}
        assert await s.place(limit_order("BUY", 100, 24.0)) == []
        status = told(desk, do="status")
        assert status["faults"] == [
            {"number": 1, "kind": "swallow_request", "seen": 1, "fired": 1, "over": True}
        ]
        assert status["clients"] == [1]
        assert status["market_time"] == s.tws.market_now().isoformat()


async def test_books_are_told_as_the_truth_file_would(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        await s.place(market_order("BUY", 100))
        await s.place(limit_order("SELL", 100, 26.0))
        books = told(ControlDesk(s.tws), do="books")
        assert books["cash"] == 997_497.0
        shown = json.dumps([books["positions"], books["open_orders"]])
        assert '"contract": "SLV", "position": 100' in shown
        assert '"order_id": 2' in shown


async def test_the_market_is_paused_and_goes_on_where_it_was(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, watching=True) as s:
        desk = ControlDesk(s.tws)
        await trio.sleep(0.3)
        assert told(desk, do="pause") == {"ok": True}
        paused_at = s.tws.market_now()
        await s.heard_after(0.1)
        assert await s.heard_after(30) == []
        assert s.tws.market_now() == paused_at
        assert await s.ask(m.ReqCurrentTime()) == ["CurrentTime"]
        assert told(desk, do="status")["paused"] is True
        assert told(desk, do="go_on") == {"ok": True}
        await s.heard_after(5)
        assert (s.tws.market_now() - paused_at).total_seconds() == pytest.approx(5, abs=0.01)


async def test_wrong_commands_are_refused_with_what_is_wrong(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        desk = ControlDesk(s.tws)
        assert told(desk, do="stauts") == {
            "ok": False,
            "problems": ["do: 'stauts' is no command; did you mean \"status\"?"],
        }
        wrong = told(desk, do="inject", fault={"kind": "halt", "duration_s": -1})
        assert wrong["problems"] == ["fault: 'duration_s' must be > 0: -1.0"]
        for line in (b"", b"no json", b"[]", b"\xff\xfe"):
            assert json.loads(desk.answer(line))["ok"] is False
        assert not desk.stopped.is_set()
        assert told(desk, do="stop") == {"ok": True}
        assert desk.stopped.is_set()


async def test_commands_come_in_pieces_over_a_stream(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s, trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(ControlDesk(s.tws).serve, theirs)
        await ours.send_all(b'{"do": "sta')
        await ours.send_all(b'tus"}\n{"do": "pause"}\n')
        answers = b""
        while answers.count(b"\n") < 2:
            answers += await ours.receive_some()
        assert [json.loads(line)["ok"] for line in answers.splitlines()] == [True, True]
        await ours.aclose()


# --- over sockets ----------------------------------------------------------------------------------


async def connected(port: int, client_id: int = 1) -> MemoryClient:
    client = MemoryClient(await trio.open_tcp_stream("127.0.0.1", port))
    await client.connect(client_id)
    return client


async def until_the_end(stream: trio.abc.Stream) -> None:
    while await stream.receive_some():
        pass


async def test_a_reset_connection_and_a_closed_port_over_tcp() -> None:
    tws = SimulatedTws(StillMarket(), VenueSettings())
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(tws.run)
            port = await tws.listen("127.0.0.1", 0)
            client = await connected(port)
            tws.inject(f.DropConnection(reset=True))
            with pytest.raises(trio.BrokenResourceError) as broken:
                await until_the_end(client.stream)
            assert isinstance(broken.value.__cause__, ConnectionResetError)
            await client.stream.aclose()

            tws.inject(f.RefuseConnections(duration_loop_s=0.3))
            await trio.sleep(0.05)
            with socket.socket() as late:
                assert late.connect_ex(("127.0.0.1", port)) != 0
            await trio.sleep(0.4)
            again = await connected(port)
            assert again.next_id == 1
            await again.stream.aclose()
            nursery.cancel_scope.cancel()


async def test_commands_over_tcp() -> None:
    tws = SimulatedTws(StillMarket(), VenueSettings())
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(tws.run)
            port = await ControlDesk(tws).listen(0, nursery)
            async with await trio.open_tcp_stream(LOOPBACK, port) as stream:
                await stream.send_all(b'{"do": "status"}\n')
                assert json.loads(await stream.receive_some())["ok"] is True
            nursery.cancel_scope.cancel()
