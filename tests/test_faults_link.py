"""Faults of the link and of the session: as the client meets them, and in the truth file."""

from __future__ import annotations

from datetime import time
from decimal import Decimal
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from protocol.exchange import faults as f
from protocol.exchange.faults import When
from protocol.exchange.tws_settings import TwsSettings
from protocol.tws import messages as m
from protocol.tws.framing import Deframer
from tests.fault_stage import Stage, stage
from tests.memory_client import MemoryClient
from tests.tws_faces import SLV, limit_order, market_order, said

REST = limit_order("BUY", 100, 24.0)


def on(*words: str, **more: object) -> When:
    return When(on=words, **more)  # type: ignore[arg-type]


async def pieces(s: Stage, loop_s: float) -> list[tuple[float, bytes]]:
    """What arrives, as it arrives: seconds from now, and bytes."""
    found: list[tuple[float, bytes]] = []
    began = trio.current_time()
    with trio.move_on_after(loop_s):
        while data := await s.client.stream.receive_some(65_536):
            found.append((round(trio.current_time() - began, 3), bytes(data)))
    return found


# --- the wire --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("processed", "live"), [(True, 1), (False, 0)])
async def test_the_connection_drops_at_an_order(
    processed: bool, live: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, f.DropConnection(processed=processed, when=on("place_order"))) as s:
        assert await s.place(REST) == []
        assert s.client.closed
        assert len(s.tws.venue.open_orders()) == live
        assert s.faults == [("drop_connection", "client 1")]
        await trio.sleep(0.1)
        assert [line["kind"] for line in s.lines][-1] == "client_disconnected"
        again = await s.another(1)
        assert ("openOrder 1 Submitted" in said(again.heard)) is bool(live)


async def test_the_connection_drops_after_so_many_messages(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.DropConnection(flush=True, when=on("request", after=4))) as s:
        for _ in range(4):
            assert not s.client.closed
            assert await s.ask(m.ReqIds(1)) == ["NextValidId"]
        assert s.client.closed


async def test_the_connection_drops_at_a_market_time(tmp_path: Path, autojump_clock: MockClock) -> None:
    drop = f.DropConnection(when=When(at=time.fromisoformat("09:30:30")))
    async with stage(tmp_path, drop) as s:
        await s.heard_after(19)
        assert not s.client.closed
        await s.heard_after(1)
        assert s.client.closed
        assert next(line["t"] for line in s.lines if line["kind"] == "fault") == "2025-01-23T14:30:30+00:00"


async def test_silence_ends_with_everything_that_was_said(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.Silence(duration_loop_s=15))
        assert await s.ask(m.ReqCurrentTime(), 14) == []
        await s.client.place("SLV", REST)
        heard = await s.heard_after(2)
        assert heard[0] == "CurrentTime"
        assert "openOrder 1 Submitted" in heard


async def test_what_silence_loses_is_lost(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.Silence(duration_loop_s=15, lost=True))
        assert await s.ask(m.ReqCurrentTime(), 20) == []
        assert await s.ask(m.ReqCurrentTime()) == ["CurrentTime"]


async def test_a_frozen_tws_carries_out_later_what_it_was_sent(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.Freeze(duration_loop_s=60))
        assert await s.place(REST, 55) == []
        assert s.tws.venue.open_orders() == ()
        assert (await s.heard_after(10))[0] == "openOrder 1 Submitted"


async def test_a_tws_that_does_not_read_still_speaks(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.StopReading(duration_loop_s=10))
        assert "TickPrice" in await s.ask(m.ReqCurrentTime(), 5)
        assert "CurrentTime" in await s.heard_after(10)


async def test_bytes_come_one_by_one(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.SplitBytes(size=1, pause_loop_s=0.01))
        await s.client.send(m.ReqCurrentTime())
        found = await pieces(s, 1)
        assert {len(data) for _, data in found} == {1}
        deframer = Deframer()
        assert sum(len(deframer.feed(data)) for _, data in found) == 1


async def test_frames_come_glued(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.GlueBytes(hold_loop_s=0.5))
        for _ in range(3):
            await s.client.send(m.ReqCurrentTime())
            await trio.sleep(0.1)
        ((_, data),) = await pieces(s, 1)
        assert len(Deframer().feed(data)) == 3


async def test_bytes_come_in_full_blocks_followed_by_silence(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.BurstBytes())
        for number in range(3):
            await s.client.send(m.ReqContractDetails(number, SLV))
            await s.client.send(
                m.ReqHistoricalData(9 + number, SLV, "", "1 min", "1 D", True, "TRADES", 1, False)
            )
        for _ in range(40):
            await s.client.send(m.ReqContractDetails(99, SLV))
        found = await pieces(s, 10)
        sizes = [len(data) for _, data in found]
        assert sizes[0] % 4096 == 0
        assert sizes[0] >= 4096
        assert found[1][0] - found[0][0] >= 1.5


@pytest.mark.parametrize("accepts", [True, False])
async def test_connections_are_refused_for_a_while(
    accepts: bool, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.RefuseConnections(duration_loop_s=90, accepts=accepts))
        stream = s.tws.connect_memory()
        assert await stream.receive_some() == b""
        await trio.sleep(90)
        assert (await s.another(2)).next_id == 1


async def test_a_handshake_is_never_answered(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.SilentHandshake(duration_loop_s=30))
        second = MemoryClient(s.tws.connect_memory())
        with trio.move_on_after(100) as waited:
            await second.connect(2)
        assert waited.cancelled_caught
        assert (await s.another(3)).next_id == 1


@pytest.mark.parametrize("what", list(f.Garbage))
async def test_garbage_arrives_between_two_messages(
    what: f.Garbage, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.GarbageFrame(what=what))
        await s.client.send(m.ReqCurrentTime())
        data = b"".join(data for _, data in await pieces(s, 1))
        assert data.endswith(b"\0")
        assert len(data) > 4
        assert s.faults == [("garbage_frame", "client 1")]


async def test_a_client_id_is_busy_so_often(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, f.ClientIdBusy(when=When(client_id=2, times=2))) as s:
        for _ in range(2):
            with pytest.raises(AssertionError, match="the connection ended"):
                await s.another(2)
        assert (await s.another(2)).next_id == 1
        assert [kind for kind, _ in s.faults] == ["client_id_busy"] * 2


async def test_a_client_that_is_too_fast_hears_100_and_is_gone(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.RateExceeded())
        assert await s.heard_after() == ["error -1 100"] * 3
        assert s.client.closed


# --- the session -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("data_lost", "code"), [(False, 1102), (True, 1101)])
async def test_connectivity_is_lost_and_comes_back(
    data_lost: bool, code: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.ConnectivityLost(duration_s=70, data_lost=data_lost))
        heard = await s.heard_after(69)
        assert [line for line in heard if "error" in line] == ["error -1 1100", "error -1 1100"]
        assert "TickPrice" not in heard
        heard = await s.heard_after(5)
        assert f"error -1 {code}" in heard
        assert ("TickPrice" in heard) is not data_lost


async def test_fills_are_told_in_spite_of_the_lost_connectivity(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        await s.place(REST)
        s.tws.inject(f.ConnectivityLost(duration_s=20, told=True))
        s.tws.inject(f.ManualModify(price_change=Decimal(2), when=When(delay_s=3)))
        heard = await s.heard_after(10)
        assert heard[0] == "error -1 1100"
        assert "execDetails 1 BOT 100" in heard


async def test_a_farm_flaps(tmp_path: Path, autojump_clock: MockClock) -> None:
    when = When(at=time.fromisoformat("09:30:15"), times=3, every_s=6)
    async with stage(tmp_path, f.FarmBroken(duration_s=3, when=when)) as s:
        heard = [line for line in await s.heard_after(30) if "error" in line]
        assert heard == ["error -1 2103", "error -1 2104"] * 3
        assert s.faults == [("farm_broken", "market_data")] * 3


async def test_a_notice_is_only_a_notice(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path) as s:
        s.tws.inject(f.Notice(code=2110, text="It will be restored automatically.", when=When(times=20)))
        assert await s.heard_after() == ["error -1 2110"] * 20


async def test_a_restart_ends_connections_and_rolls_ids_back(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path) as s:
        await s.place(limit_order("BUY", 100, 24.0, "GTC"))
        await s.place(REST)
        s.tws.inject(f.Restart(down_loop_s=60, rolls_back=1))
        assert await s.heard_after() == []
        assert s.client.closed
        assert await s.tws.connect_memory().receive_some() == b""
        await trio.sleep(60)
        again = await s.another(1)
        assert again.next_id == 2
        assert [order.order_id for order in s.tws.venue.open_orders()] == [1]


async def test_the_nightly_restart_of_the_settings_ends_connections(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, settings=TwsSettings(nightly_restart=time(9, 30, 30))) as s:
        await s.place(REST)
        await s.heard_after(18)
        assert not s.client.closed
        await s.heard_after(2)
        assert s.client.closed
        assert s.tws.venue.open_orders() == ()
        assert (await s.another(1)).next_id == 2


# --- the market ------------------------------------------------------------------------------------


async def test_a_halted_symbol_does_not_trade(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.Halt(duration_s=20, when=When(symbol="SLV")))
        heard = await s.messages_after()
        assert m.TickGeneric(5, 49, 1.0) in heard
        assert "execDetails 1 BOT 100" not in await s.place(market_order("BUY", 100), 10)
        assert "execDetails 1 BOT 100" in await s.heard_after(12)


async def test_ticks_stop_without_a_word(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.SilentFeed(duration_s=60, when=When(symbol="SLV")))
        assert await s.heard_after(55) == []
        assert "TickString" in await s.heard_after(10)


async def test_old_ticks_come_in_one_burst(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.OldTicks(hold_s=5))
        assert await s.heard_after(4.9) == []
        burst = await s.messages_after(0.2)
        stamps = [int(each.value) for each in burst if isinstance(each, m.TickString)]
        assert len(stamps) == 5
        assert stamps == sorted(stamps)


@pytest.mark.parametrize(
    ("what", "bid"),
    [(f.Nonsense.NO_PRICE, -1.0), (f.Nonsense.ZERO, 0.0), (f.Nonsense.HUGE, 1e308),
     (f.Nonsense.CROSSED, 26.02), (f.Nonsense.NO_SIZE, 25.0), (f.Nonsense.HALF_PRICE, 12.5)],
)  # fmt: skip
async def test_a_quote_makes_no_sense(
    what: f.Nonsense, bid: float, tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.BadTick(what=what, when=When(symbol="SLV")))
        told = await s.messages_after(0.1)
        assert isinstance(told[0], m.TickPrice)
        assert told[0].price == bid
        quote = s.tws.venue.quote("SLV")
        assert quote is not None
        assert quote.bid == 25.0


async def test_a_quote_is_no_number(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.BadTick(what=f.Nonsense.NOT_A_NUMBER, when=When(symbol="SLV")))
        assert b"\0nan\0" in b"".join(data for _, data in await pieces(s, 0.1))


async def test_a_line_gets_an_error_and_no_more_ticks(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.MarketDataError())
        assert await s.heard_after(5) == ["error 5 10197"]
        await s.client.send(m.CancelMktData(5))
        assert "TickPrice" in await s.ask(m.ReqMktData(5, SLV), 2)


async def test_data_is_delayed(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with stage(tmp_path, watching=True) as s:
        s.tws.inject(f.DelayedData(when=When(symbol="SLV")))
        told = await s.messages_after(2)
        assert said(told)[:2] == ["error 5 10167", "MarketDataType"]
        assert {each.tick_type for each in told if isinstance(each, m.TickPrice)} <= {66, 67, 68, 72, 73}
        assert {each.tick_type for each in told if isinstance(each, m.TickString)} == {88}
