"""What a network does to the line between the system and TWS, on real sockets, through a proxy."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from actors.control_client import running_on
from protocol.control_answers import OrdersTold
from protocol.control_requests import AskOrders
from tests.process_desk import QUICK, Desk
from tests.programs import Program, placed, wait_until, write_market
from tests.proxy import ProxyThread, proxied
from tests.proxy_troubles import Cut, Garble, Split, Stall, Way

pytestmark = pytest.mark.slow


def settles(supervisor: Program, proxy: ProxyThread, links: int) -> None:
    """All passes again, and so many times in all the link has come up."""
    proxy.heal()
    supervisor.until_said("link up", times=links)


def test_an_rst_in_the_middle_of_a_burst_of_orders_leaves_each_of_them_once_or_never(tmp_path: Path) -> None:
    """L5. Three brackets leave together; the line breaks within the second one."""
    desk = Desk(tmp_path, write_market(tmp_path / "market", ()), QUICK)
    with (
        desk.simulator() as (simulator, port),
        proxied(port) as proxy,
        desk.supervisor(proxy.port) as supervisor,
    ):
        supervisor.until_said("link up")
        proxy.make(Cut(after_bytes=1500), Way.TO_TWS)
        for symbol in ("AAA", "BBB", "CCC"):
            desk.signal(symbol, "BUY")
        supervisor.until_said("link down")
        settles(supervisor, proxy, 2)
        wait_until(lambda: all_known(desk), supervisor, "an answer about each order")
        supervisor.stop()
        simulator.stop()
    assert max(Counter(placed(desk.truth)).values(), default=1) == 1
    assert all(desk.works(symbol, "stop") for symbol in desk.held())
    assert desk.faults() == []


def all_known(desk: Desk) -> bool:
    """Whether the running system is in doubt about none of its orders."""
    address = running_on(desk.state)
    told = None if address is None else address.ask(AskOrders())
    return isinstance(told, OrdersTold) and not any(each.waits_for for each in told.orders)


def test_a_half_open_line_and_garbled_bytes_end_the_link_and_nothing_else(tmp_path: Path) -> None:
    """L8, L12, L17: one after the other while a position is open."""
    desk = Desk(tmp_path, write_market(tmp_path / "market", ()), QUICK)
    with (
        desk.simulator() as (simulator, port),
        proxied(port) as proxy,
        desk.supervisor(proxy.port) as supervisor,
    ):
        supervisor.until_said("link up")
        desk.signal("AAA", "BUY")
        wait_until(lambda: desk.covered("AAA") and bool(desk.held()), simulator, "a position with a stop")
        begun = time.monotonic()
        proxy.make(Split(1))
        time.sleep(1.0)
        assert "link down" not in supervisor.said(), "single bytes are bytes"
        proxy.make(Stall(), Way.FROM_TWS)
        supervisor.until_said("link down")
        assert time.monotonic() - begun < 6.0
        settles(supervisor, proxy, 2)
        proxy.make(Garble(times=40), Way.FROM_TWS)
        time.sleep(1.0)
        settles(supervisor, proxy, 2)
        assert desk.covered("AAA")
        supervisor.stop()
        simulator.stop()
    assert desk.orders_since(begun) == []
    assert desk.held().keys() == {"AAA"}
    assert desk.faults() == []
