"""Whole sequences of TWS's own links: pacing, market data and positions, IBKR and farms lost, restarts."""

from __future__ import annotations

from datetime import datetime, time, timedelta

import attrs
import pytest
import trio
from trio.testing import MockClock

from actors.simulated_tws import SimulatedTws
from protocol.exchange.calendar import new_york
from protocol.exchange.happenings import MarketTick
from protocol.exchange.replay_clock import Boundary, Turn
from protocol.exchange.tws_pacing import Pace, RequestPace
from protocol.exchange.tws_session import Farm
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import VenueSettings
from protocol.tws import messages as m
from tests.memory_client import MemoryClient
from tests.tws_faces import DAY, NOW, SLV, Face, StillMarket, limit_order, market_order
from tests.tws_sequences import FARMS, RESTS, connected, lines

LOST = "error -1 1100 Connectivity between IBKR and Trader Workstation has been lost."
KEPT = (
    "error -1 1102 Connectivity between IBKR and Trader Workstation has been restored - data maintained. "
    "All data farms are connected: usfarm; ushmds; secdefnj."
)
DATA_LOST = "error -1 1101 Connectivity between IBKR and Trader Workstation has been restored - data lost."


# --- 4.15: pacing --------------------------------------------------------------------------------------


def test_sequence_4_15_requests_are_warned_of_then_refused_then_the_connection_ends() -> None:
    pace = RequestPace(50)
    paced = [pace.take(number / 1000) for number in range(53)]
    spoken = [(number, one.pace, one.text) for number, one in enumerate(paced, 1) if one.text]
    assert spoken == [
        (44, Pace.NEAR_LIMIT, "Approaching max rate of 50 messages per second (44)"),
        (51, Pace.REFUSED, "Max rate of messages per second has been exceeded:max=50 rec=51 (1)"),
        (52, Pace.REFUSED, "Max rate of messages per second has been exceeded:max=50 rec=52 (2)"),
        (53, Pace.LAST_REFUSED, "Max rate of messages per second has been exceeded:max=50 rec=53 (3)"),
    ]
    assert [one.taken for one in paced] == [True] * 50 + [False] * 3
    assert [one.ends for one in paced] == [False] * 52 + [True]
    # A second later all is forgotten.
    assert pace.take(2.0).pace is Pace.ALLOWED


def test_sequence_4_15_a_client_that_asks_for_it_is_slowed_down_instead() -> None:
    pace = RequestPace(10, "+PACEAPI")
    now, taken = 0.0, []
    for _ in range(35):
        paced = pace.take(now)
        assert paced.taken
        now += paced.wait_s
        taken.append(now)
    assert [sum(1 for at in taken if second <= at < second + 1) for second in range(4)] == [10, 10, 10, 5]


def test_sequence_4_15_without_a_limit_any_number_is_taken() -> None:
    pace = RequestPace(None)
    assert {pace.take(0.0).pace for _ in range(1000)} == {Pace.ALLOWED}


# --- 4.16 and 4.18: the sequences of market and account in short ---------------------------------------


def test_sequence_4_16_a_market_data_line_begins() -> None:
    face = connected()
    face.trade(25.01, size=200, volume=12_000)
    heard = face.ask(m.ReqMktData(7, SLV))
    kinds = [type(message).__name__ for message in heard]
    assert kinds[0] == "TickReqParams"
    prices = {message.tick_type: message.price for message in heard if isinstance(message, m.TickPrice)}
    assert (prices[1], prices[2], prices[4]) == (25.0, 25.02, 25.01)
    later = face.quote(25.1, 25.12, after_s=1)
    assert {message.tick_type for message in later if isinstance(message, m.TickPrice)} == {1, 2}


def test_sequence_4_18_positions_are_listed_once_and_then_told_one_by_one() -> None:
    face = connected()
    assert lines(face.ask(m.ReqPositions())) == ["PositionEnd"]
    heard = face.place(1, market_order("BUY", 100))
    (position,) = [message for message in heard if isinstance(message, m.Position)]
    assert position.position == 100
    # The position follows the commission of the execution that changed it.
    assert [type(message).__name__ for message in heard[-2:]] == ["CommissionReport", "Position"]
    flat = face.place(2, market_order("SELL", 100))
    assert [message.position for message in flat if isinstance(message, m.Position)] == [0]


# --- 4.17: connectivity, farms, the nightly restart ----------------------------------------------------


@pytest.mark.parametrize(("data_lost", "restored"), [(False, KEPT), (True, DATA_LOST)])
def test_sequence_4_17_what_was_filled_while_ibkr_was_lost_is_told_late(
    data_lost: bool, restored: str
) -> None:
    face = connected()
    face.ask(m.ReqMktData(7, SLV))
    face.place(1, limit_order("BUY", 100, 24.0))
    face.server.connectivity_lost(face.now)
    assert lines(face.heard()) == [LOST]
    # The order works on at the venue; nothing is heard of it, or of the market.
    assert face.quote(23.98, 24.0, after_s=1) == []
    assert face.server.venue.executions()
    assert lines(face.ask(m.ReqOpenOrders())) == [*RESTS, "OpenOrderEnd"]
    assert lines(face.ask(m.ReqExecutions(3, m.ExecutionFilter()))) == ["ExecDetailsEnd"]
    assert lines(face.ask(m.ReqCompletedOrders(api_only=True))) == ["CompletedOrdersEnd"]
    assert lines(face.pass_time(59)) == [LOST]
    face.server.connectivity_restored(face.now, data_lost=data_lost)
    assert lines(face.heard()) == [
        restored,
        "execDetails 1 #1 BOT 100 at 24.0 of 100 e1.01",
        "openOrder 1 Filled BUY 100 LMT 24.0",
        "orderStatus 1 Filled 100+0 avg 24 last 24 #1",
        "commissionReport e1.01 1 opens",
    ]
    ticks = face.quote(24.1, 24.12, after_s=1)
    assert bool(ticks) is not data_lost


def test_sequence_4_17_or_only_to_those_who_ask_for_executions() -> None:
    face = connected(TwsSettings(tell_missed_executions=False))
    face.place(1, limit_order("BUY", 100, 24.0))
    face.server.connectivity_lost(face.now)
    face.quote(23.98, 24.0, after_s=1)
    face.heard()
    face.server.connectivity_restored(face.now)
    assert lines(face.heard()) == [
        KEPT,
        "openOrder 1 Filled BUY 100 LMT 24.0",
        "orderStatus 1 Filled 100+0 avg 24 last 24 #1",
    ]
    assert lines(face.ask(m.ReqExecutions(3, m.ExecutionFilter())))[0] == (
        "execDetails 1 #1 BOT 100 at 24.0 of 100 e1.01 (request 3)"
    )


def test_sequence_4_17_what_happens_at_the_venue_can_be_told_all_the_same() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    face.server.connectivity_lost(face.now, told=True)
    face.heard()
    assert lines(face.quote(23.98, 24.0, after_s=1))[0] == "execDetails 1 #1 BOT 100 at 24.0 of 100 e1.01"


def test_sequence_4_17_requests_wait_until_ibkr_is_back() -> None:
    face = connected()
    face.place(1, limit_order("BUY", 100, 24.0))
    face.server.connectivity_lost(face.now)
    face.heard()
    assert face.ask(m.CancelOrder(1)) == []
    assert face.place(2, limit_order("BUY", 10, 23.0)) == []
    assert lines(face.ask(m.ReqIds(1))) == ["nextValidId 3"]
    assert len(face.server.venue.open_orders()) == 1
    face.server.connectivity_restored(face.now)
    assert lines(face.heard()) == [
        KEPT,
        "orderStatus 1 PendingCancel 0+100 #1",
        "orderStatus 1 Cancelled 0+100 #1",
        "error 1 202 Order Canceled - reason:",
        "openOrder 2 Submitted BUY 10 LMT 23.0",
        "orderStatus 2 Submitted 0+10 #2",
    ]


def test_sequence_4_17_who_connects_while_ibkr_is_lost_is_told_so() -> None:
    face = connected()
    face.server.connectivity_lost(face.now)
    assert lines(face.connect(2)) == [
        "managedAccounts DU1234567",
        "nextValidId 1",
        "error -1 2110 Connectivity between Trader Workstation and server is broken. It will be restored "
        "automatically.",
    ]


@pytest.mark.parametrize(
    ("farm", "broken", "ok"),
    [
        (Farm.MARKET_DATA, "2103 Market data farm connection is broken:usfarm", FARMS[0]),
        (Farm.HISTORY, "2105 HMDS data farm connection is broken:ushmds", FARMS[1]),
        (Farm.SECURITIES, "2157 Sec-def data farm connection is broken:secdefnj", FARMS[2]),
    ],
    ids=lambda value: value.value if isinstance(value, Farm) else "",
)
def test_sequence_4_17_a_farm_breaks_and_is_ok_again(farm: Farm, broken: str, ok: str) -> None:
    face = connected()
    face.ask(m.ReqMktData(7, SLV))
    face.server.farm_broken(farm)
    assert lines(face.heard()) == [f"error -1 {broken}"]
    assert f"error -1 {broken}" in lines(face.connect(2))
    assert bool(face.quote(25.1, 25.12, after_s=1)) is (farm is not Farm.MARKET_DATA)
    face.server.farm_ok(farm)
    assert lines(face.heard()) == [ok]
    assert face.quote(25.2, 25.22, after_s=1)


MIDNIGHT_QUARTER = time(23, 45)


def until(face: Face, at: datetime) -> None:
    face.now = at
    face.server.advance(at)


def test_sequence_4_17_the_nightly_restart_ends_connections_without_a_word() -> None:
    face = connected(TwsSettings(nightly_restart=MIDNIGHT_QUARTER, order_latency_s=0.5))
    face.pass_time(0)
    face.place(1, limit_order("BUY", 100, 24.0))
    face.place(2, limit_order("BUY", 50, 23.0, "GTC"))
    face.pass_time(1)
    face.place(3, attrs.evolve(limit_order("BUY", 10, 22.0), transmit=False))
    face.pass_time(1)
    at = new_york(DAY, MIDNIGHT_QUARTER)
    until(face, at - timedelta(seconds=0.2))
    face.place(4, limit_order("BUY", 10, 22.0, "GTC"))
    assert lines(face.ask(m.ReqIds(1))) == ["nextValidId 5"]
    assert face.server.take_dropped() == ()
    until(face, at)
    assert face.server.take() == ()
    assert face.server.take_dropped() == (1,)
    face.server.disconnected(1, at)
    assert face.server.take() == ()
    # GTC orders stand, the day's are gone, and ids fall back to the largest that reached the venue.
    assert lines(face.connect()) == [
        "openOrder 2 Submitted BUY 50 LMT 23.0",
        "orderStatus 2 Submitted 0+50 #2",
        "OpenOrderEnd",
        "managedAccounts DU1234567",
        "nextValidId 3",
        *FARMS,
    ]
    assert face.server.venue.find(1, 3) is None
    # And so it is every night.
    until(face, at + timedelta(hours=23))
    assert face.server.take_dropped() == ()
    until(face, at + timedelta(hours=24))
    assert face.server.take_dropped() == (1,)


def test_sequence_4_17_a_restart_that_the_market_clock_skips_still_happens() -> None:
    """Market time jumps from one session to the next; the first thing of the new one brings the restart."""
    face = connected(TwsSettings(nightly_restart=MIDNIGHT_QUARTER))
    face.pass_time(0)
    face.place(1, limit_order("BUY", 100, 24.0))
    face.server.take()
    morning = NOW + timedelta(days=1)
    face.server.tick(MarketTick(morning, "SLV", 24.0, 100, 24.02, 100))
    assert face.server.take() == ()
    assert face.server.take_dropped() == (1,)
    assert face.server.venue.open_orders() == ()


def test_sequence_4_17_a_connection_from_before_the_restart_does_not_free_the_id_of_a_new_one() -> None:
    face = connected(TwsSettings(id_hold_s=60))
    face.server.restart(face.now)
    face.server.connected(2, 178)
    face.server.receive(2, m.StartApi(1), face.now)
    assert "managedAccounts DU1234567" in lines(face.heard(2))
    face.server.disconnected(1, face.now)
    assert face.server.clients.ids == (1,)


def test_a_market_that_opens_does_not_restart_anything_by_default() -> None:
    face = connected()
    face.server.turn(Boundary(NOW + timedelta(days=1), Turn.OPENS))
    assert face.server.take_dropped() == ()


async def test_sequence_4_17_a_client_comes_back_after_the_restart(autojump_clock: MockClock) -> None:
    settings = TwsSettings(nightly_restart=time(9, 31))
    tws = SimulatedTws(StillMarket(), VenueSettings(), settings=settings)
    async with trio.open_nursery() as nursery:
        await nursery.start(tws.run)
        client = MemoryClient(tws.connect_memory())
        await client.connect(1)
        await client.listen_for(80)
        assert not client.closed
        await client.listen_for(20)
        assert client.closed
        again = MemoryClient(tws.connect_memory())
        await again.connect(1)
        await again.send(m.ReqCurrentTime())
        await again.until(m.CurrentTime)
        nursery.cancel_scope.cancel()
