"""What the simulated TWS writes down: the truth file, and the books for the report."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from trio.testing import MockClock

from protocol.tws import messages as m
from tests.test_simulated_tws import client_of, lines, quotes, simulated
from tests.tws_faces import StillMarket, limit_order, market_order

CANCELLED = {
    "kind": "order_cancelled",
    "client_id": 7,
    "order_id": 2,
    "perm_id": 1_000_000_002,
    "order_ref": "",
    "symbol": "SLV",
    "action": "SELL",
    "type": "LMT",
    "quantity": 100,
    "filled": 0,
    "limit": 26.0,
    "stop": None,
    "parent_perm_id": 0,
    "oca_group": "",
    "status": "Cancelled",
    "account": "DU1234567",
    "tif": "DAY",
    "why_held": "",
    "contract": "SLV",
    "sec_type": "STK",
    "oca_type": 0,
    "trail_stop": None,
    "trailing_percent": None,
    "limit_offset": None,
    "good_till": "",
    "good_after": "",
    "outside_rth": False,
    "all_or_none": False,
    "min_quantity": None,
    "reason": "",
    "by_client": True,
}


async def test_the_truth_file_says_all_that_the_venue_knows(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    truth = tmp_path / "truth.jsonl"
    async with simulated(StillMarket(quotes(0, 1)), truth=truth) as tws:
        client = await client_of(tws, 7)
        await client.listen_for(40)
        await client.place("SLV", market_order("BUY", 100))
        await client.place("SLV", limit_order("SELL", 100, 26.0))
        await client.place("SLV", limit_order("SELL", 100, 26.001))
        await client.send(m.CancelOrder(2))
        await client.until(m.ErrorMessage, lambda error: error.code == 202)
    told = lines(truth)
    assert [line["kind"] for line in told] == [
        "client_connected",
        "order_accepted",
        "execution",
        "commission",
        "position",
        "order_accepted",
        "order_rejected",
        "order_cancelled",
        "client_disconnected",
        "end",
    ]
    moment = {"t": "2025-01-23T14:30:10+00:00", "mono": 40.0, "connected": [7]}
    assert told[2] | {"exec_id": "-"} == moment | {
        "kind": "execution",
        "exec_id": "-",
        "perm_id": 1_000_000_001,
        "client_id": 7,
        "order_id": 1,
        "order_ref": "ref",
        "account": "DU1234567",
        "symbol": "SLV",
        "side": "BOT",
        "quantity": 100,
        "price": 25.02,
        "cum_quantity": 100,
        "contract": "SLV",
        "multiplier": 1.0,
    }
    assert told[7] == moment | CANCELLED
    rejected, end = told[6], told[9]
    assert (rejected["code"], rejected["symbol"], rejected["perm_id"]) == (110, "SLV", None)
    assert (end["cash"], end["open_orders"], end["connected"]) == (997_497.0, [], [])


async def test_the_books_say_how_long_a_position_stood_without_a_stop(autojump_clock: MockClock) -> None:
    async with simulated(StillMarket(quotes(0, 1))) as tws:
        client = await client_of(tws)
        await client.listen_for(40)
        await client.place("SLV", market_order("BUY", 100))
        await client.listen_for(7)
        stop = attrs.evolve(market_order("SELL", 100), order_type="STP", aux_price=24.0)
        await client.place("SLV", stop)
        await client.listen_for(20)
        assert tws.books()["SLV"].max_uncovered_s == pytest.approx(7.0)


async def test_a_withheld_execution_makes_the_two_sides_disagree(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    truth = tmp_path / "truth.jsonl"
    async with simulated(StillMarket(quotes(0, 1)), truth=truth) as tws:
        tws.withhold_execution(1)
        client = await client_of(tws)
        await client.listen_for(40)
        await client.place("SLV", market_order("BUY", 100))
        await client.until(m.OrderStatus, lambda status: status.status == "Filled")
        await client.send(m.ReqExecutions(9, m.ExecutionFilter()))
        await client.until(m.ExecDetailsEnd)
        assert not [message for message in client.heard if isinstance(message, m.ExecDetails)]
        assert tws.books()["SLV"].executions == 1
    assert lines(truth)[0]["kind"] == "fault"
