"""A disk that fills up while the system trades: it ends, the broker guards, with room it goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.process_desk import QUICK, Desk
from tests.programs import kinds, wait_until, write_market
from tests.small_disks import small_disk

pytestmark = pytest.mark.slow


def test_a_full_disk_ends_the_run_with_its_stops_in_place_and_with_room_it_goes_on(tmp_path: Path) -> None:
    """P-8. What cannot be journalled is not sent: BBB's signal finds no room, and waits for the next life."""
    market = write_market(tmp_path / "market", ())
    desk = Desk(tmp_path, market, QUICK.replace("max_age_s = 180", "max_age_s = 7200"))
    with small_disk(tmp_path / "state") as disk, desk.simulator() as (simulator, port):
        with desk.supervisor(port) as first:
            first.until_said("link up")
            desk.signal("AAA", "BUY")
            wait_until(lambda: desk.covered("AAA") and bool(desk.held()), simulator, "a position and a stop")
            disk.fill(first.process.pid)
            full = time.monotonic()
            desk.signal("BBB", "BUY")
            first.wait(1)
        said = "\n".join(first.complained())
        assert "protective stops stand at the broker" in said
        assert "disk" in said or "room" in said or "full" in said, said
        assert desk.orders_since(full) == []
        assert desk.covered("AAA")
        disk.clear()
        with desk.supervisor(port) as second:
            wait_until(lambda: bool(desk.verdicts("BBB")), second, "a verdict")
            assert len(desk.verdicts("BBB")) == 1, "judged once, by this life"
            desk.signal("CCC", "BUY")
            second.until_said("CCC: main fills")
            assert desk.covered("AAA")
            second.stop()
        simulator.stop()
        assert desk.held().keys() >= {"AAA", "CCC"}
        assert desk.faults() == []
        alarms = [payload["code"] for _, kind, payload in kinds(desk.state) if kind == "AlarmEvent"]
        # The reserve that is given up for the last words is no use against a limit of the process.
        assert ("JOURNAL_FAILED" in alarms) is disk.mounted
