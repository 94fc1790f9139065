"""Processes that stop without dying: a TWS that hangs, a machine that was suspended; then they go on."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.process_desk import QUICK, Desk
from tests.programs import wait_until, write_market

pytestmark = pytest.mark.slow


def test_a_frozen_tws_is_noticed_and_gets_no_order_and_afterwards_nothing_is_twice(tmp_path: Path) -> None:
    """L8: what is sent into the silence would be carried out late. BBB's signal comes during it."""
    desk = Desk(tmp_path, write_market(tmp_path / "market", ()), QUICK)
    with desk.simulator() as (simulator, port), desk.supervisor(port) as supervisor:
        supervisor.until_said("link up")
        desk.signal("AAA", "BUY")
        wait_until(lambda: desk.covered("AAA") and bool(desk.held()), simulator, "a position with a stop")
        begun = time.monotonic()
        with simulator.frozen():
            supervisor.until_said("link down")
            noticed_s = time.monotonic() - begun
            desk.signal("BBB", "BUY")
            wait_until(lambda: bool(desk.verdicts("BBB")), supervisor, "a verdict")
        supervisor.until_said("link up", times=2)
        assert desk.covered("AAA")
        assert desk.verdicts("BBB") == [("refused", "not_reconciled")]
        supervisor.stop()
        simulator.stop()
    # Two seconds with the heartbeat of these tests; with the usual one of 5 s, ten.
    assert noticed_s < 4.0
    assert desk.orders_since(begun) == []
    assert desk.held().keys() == {"AAA"}
    assert desk.faults() == []


def test_a_supervisor_that_was_suspended_is_not_stuck_and_does_nothing_that_is_old(tmp_path: Path) -> None:
    """A11, the laptop: for longer than the watchdog's patience, and a signal comes meanwhile. Afterwards a
    SIGTERM (INV-38) takes the entry that works back, and leaves the stop."""
    desk = Desk(tmp_path, write_market(tmp_path / "market", ()), QUICK)
    with desk.simulator() as (simulator, port), desk.supervisor(port) as supervisor:
        supervisor.until_said("link up")
        desk.signal("AAA", "BUY")
        desk.signal("CCC", "SHORT")
        wait_until(lambda: desk.covered("AAA") and desk.works("CCC", "main"), simulator, "stop and entry")
        begun = time.monotonic()
        with supervisor.frozen():
            desk.signal("BBB", "BUY")
            time.sleep(7.0)
        wait_until(lambda: bool(desk.verdicts("BBB")), supervisor, "a verdict")
        assert desk.verdicts("BBB") == [("refused", "stale")]
        assert supervisor.process.poll() is None, "suspended, and taken for stuck"
        assert supervisor.complained() == []
        assert desk.orders_since(begun) == []
        stops = time.monotonic()
        supervisor.stop(signal.SIGTERM)
        assert time.monotonic() - stops < 15.0
        assert desk.covered("AAA")
        assert not desk.works("CCC", "main")
        simulator.stop()
    assert desk.orders_since(begun) == []
    assert desk.held().keys() == {"AAA"}
    assert desk.faults() == []
