"""Clocks that jump, and a second system on the same account: real processes, real clocks."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from tests.process_desk import QUICK, Desk
from tests.programs import wait_until, write_market

pytestmark = pytest.mark.slow

LIBRARIES = tuple(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))


def written_at(desk: Desk) -> list[float]:
    """The wall clock of the process at each row of its journal, beside its events."""
    journal = sqlite3.connect(f"file:{desk.state / 'journal.sqlite3'}?mode=ro", uri=True)
    rows = journal.execute("SELECT wall FROM event ORDER BY seq").fetchall()
    journal.close()
    return [wall for (wall,) in rows]


@pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed (Debian: apt install faketime)")
def test_a_wall_clock_that_jumps_an_hour_either_way_moves_no_timer(tmp_path: Path) -> None:
    """INV-34. The wall clock of the process is an hour ahead, then an hour back; only loop and market time
    drive it, so no link ends, no signal turns stale, no wait grows."""
    desk = Desk(tmp_path, write_market(tmp_path / "market", ()), QUICK)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": str(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with desk.simulator() as (simulator, port), desk.supervisor(port, environment=faked) as supervisor:
        supervisor.until_said("link up")
        for symbol, shift in (("AAA", "+3600s"), ("BBB", "-3600s"), ("CCC", "+0")):
            desk.signal(symbol, "BUY")
            supervisor.until_said(f"{symbol}: main fills")
            clock.write_text(shift)
            time.sleep(1.0)
        wait_until(lambda: all(map(desk.covered, ("AAA", "BBB", "CCC"))), simulator, "three stops")
        assert "link down" not in supervisor.said()
        assert "ALARM" not in supervisor.said()
        supervisor.stop()
        simulator.stop()
    assert supervisor.complained() == []
    walls, now = written_at(desk), time.time()
    assert max(walls) - now > 3000.0, "it did not see its clock jump ahead"
    assert min(walls) - now < -3000.0, "it did not see its clock jump back"
    assert desk.faults() == []


def test_a_second_system_is_refused_on_the_same_folder_and_on_the_same_account(tmp_path: Path) -> None:
    """INV-39: the folder is locked; from another one, TWS has our client id already (326)."""
    desk = Desk(tmp_path, write_market(tmp_path / "market", ()), QUICK)
    with desk.simulator() as (simulator, port), desk.supervisor(port) as first:
        first.until_said("link up")
        desk.signal("AAA", "BUY")
        wait_until(lambda: desk.covered("AAA") and bool(desk.held()), simulator, "a position with a stop")
        begun = time.monotonic()
        with (
            desk.supervisor(port) as same_folder,
            desk.supervisor(port, "--connect-timeout", "2", state=tmp_path / "other") as other_folder,
        ):
            same_folder.wait(2)
            other_folder.wait(3)
        assert "another" in "\n".join(same_folder.complained())
        assert "326" in "\n".join(other_folder.complained()) + other_folder.said()
        assert "link down" not in first.said()
        assert desk.orders_since(begun) == []
        first.stop()
        simulator.stop()
    assert desk.held().keys() == {"AAA"}
    assert desk.faults() == []
