"""Two processes: the simulated TWS and the trading system; either one dies, and the trades go on."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.process_desk import Desk
from tests.programs import placed, positions, report_of, truth, wait_until, write_market

pytestmark = pytest.mark.slow

SIGNALS = ((2, "AAA", "BUY"), (3, "BBB", "SHORT"), (17, "AAA", "BUY"), (19, "CCC", "BUY"))
"""AAA and BBB enter before whatever happens, CCC enters after it; AAA's second one has its trade already."""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, write_market(tmp_path / "market", SIGNALS))


def entries(desk: Desk) -> Counter[str]:
    return Counter(ref.split(":")[1] for ref in placed(desk.truth) if ":main:" in ref)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_tws_that_dies_and_comes_back_on_its_port_finds_the_same_trades(
    desk: Desk, how: signal.Signals
) -> None:
    with desk.simulator() as (simulator, port), desk.supervisor(port) as supervisor:
        supervisor.until_said("main fills", times=2)
        wait_until(lambda: desk.covered("AAA") and desk.covered("BBB"), simulator, "stops")
        simulator.stop(how)
        supervisor.until_said("link down")
        with desk.simulator(port) as (again, _):
            supervisor.until_said("CCC: main fills")
            assert desk.covered("AAA")
            assert desk.covered("BBB")
            supervisor.stop()
            again.stop()
    assert supervisor.complained() == []
    held = positions(desk.truth)
    assert sides(held) == {"AAA": "long", "BBB": "short", "CCC": "long"}
    assert entries(desk) == {"AAA": 1, "BBB": 1, "CCC": 1}
    assert max(Counter(placed(desk.truth)).values()) == 1
    report = report_of(desk.report)
    assert report["exit"] == "stopped by SIGINT"
    assert report["broker"]["positions"] == held
    assert report["broker"]["open_orders"] == 6
    assert report["invariants"]["violations"] == []
    assert {name: one["signals"]["accepted"] for name, one in report["symbols"].items()} == {
        "AAA": 1,
        "BBB": 1,
        "CCC": 1,
    }


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_supervisor_that_dies_with_open_positions_goes_on_with_the_same_trades(
    desk: Desk, how: signal.Signals
) -> None:
    with desk.simulator() as (simulator, port):
        with desk.supervisor(port) as first:
            first.until_said("main fills", times=2)
            wait_until(lambda: desk.covered("AAA") and desk.covered("BBB"), simulator, "stops")
            first.stop(how)
        before = positions_now(desk)
        assert sides(before) == {"AAA": "long", "BBB": "short"}
        assert desk.covered("AAA")
        assert desk.covered("BBB")
        with desk.supervisor(port) as second:
            second.until_said("CCC: main fills")
            second.stop()
        assert second.complained() == []
        simulator.stop()
    after = positions(desk.truth)
    assert after == before | {"CCC": after["CCC"]}
    assert entries(desk) == {"AAA": 1, "BBB": 1, "CCC": 1}
    assert max(Counter(placed(desk.truth)).values()) == 1
    cancelled = [line["order_ref"] for line in truth(desk.truth) if line["kind"] == "order_cancelled"]
    assert cancelled == [], "every stop and every target stands as it was"
    report = report_of(desk.report)
    assert report["broker"]["positions"] == positions(desk.truth)
    assert report["totals"]["executions"] == sum(line["kind"] == "execution" for line in truth(desk.truth))
    assert report["symbols"]["AAA"]["signals"]["ignored"] == 1
    assert report["invariants"]["violations"] == []


def sides(held: dict[str, int]) -> dict[str, str]:
    return {symbol: "long" if quantity > 0 else "short" for symbol, quantity in held.items()}


def positions_now(desk: Desk) -> dict[str, int]:
    lines = [line for line in truth(desk.truth) if line["kind"] == "position"]
    return {line["symbol"]: line["position"] for line in lines if line["position"]}


def test_a_supervisor_whose_tws_is_gone_for_good_still_stops_cleanly(desk: Desk) -> None:
    with desk.simulator() as (simulator, port), desk.supervisor(port) as supervisor:
        supervisor.until_said("AAA: main fills")
        simulator.stop(signal.SIGKILL)
        supervisor.until_said("link down")
        supervisor.stop()
    report = report_of(desk.report)
    assert report["broker"] is None, "nobody is quoted who was not asked"
    assert "not compared" in report["exit"]
    assert report["symbols"]["AAA"]["position"] == positions_now(desk)["AAA"] > 0
