"""The unchanged official Python client, old and current, trades on the simulated TWS through its own threads.

`ibapi_client_worker.py` does the trading, as a program of its own: once with the `ibapi` that is installed,
and twice with a current one, which has the same name and is therefore installed apart (`ib10.py`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from protocol.exchange.calendar import new_york
from protocol.tws.versions import ADVERTISED, OLDEST
from protocol.values import Symbol
from tests.clients import ACCOUNT, serving
from tests.directed_market import DAY, DEEP, DirectedMarket
from tests.ib10 import APART, current_client
from tests.programs import ROOT, SUPERVISOR, program, report_of, write_market

pytestmark = pytest.mark.slow
_installing_alone = threading.Lock()

WORKER: Final = Path(__file__).parent / "ibapi_client_worker.py"
LIMIT_LOOP_S: Final = 60.0
SPEED: Final = 40.0
SYMBOL: Final = Symbol("AAPL")
CASH: Final = 1_000_000.0

EXECUTIONS: Final = (
    (1, "BOT", 100, 200.01), (2, "BOT", 50, 194.01), (3, "SLD", 50, 191.99), (4, "SLD", 50, 192.99),
    (5, "BOT", 10, 193.01), (6, "SLD", 10, 196.49), (8, "BOT", 20, 194.51),
)  # fmt: skip
"""Order, side, shares, price: a market order trades at the quote, which is a cent around the last trade."""
LAST: Final = 194.5
HEAD: Final = "20250123-14:30:00"
"""Since when the market is there, in universal time as TWS tells it."""
FEE: Final = 1.0
"""Of each of these orders: the least that there is."""


@attrs.define
class Ledger:
    """A position by average cost, with commissions in it, reckoned from executions."""

    cash: float = CASH
    held: int = 0
    cost: float = 0.0
    realized: float = 0.0

    def take(self, side: str, shares: int, price: float) -> float | None:
        """What a sale has made, None for a buy."""
        if side == "BOT":
            self.cash -= shares * price + FEE
            self.held, self.cost = self.held + shares, self.cost + shares * price + FEE
            return None
        self.cash += shares * price - FEE
        made = shares * price - FEE - shares * self.average
        self.cost -= shares * self.average
        self.held, self.realized = self.held - shares, self.realized + made
        return made

    @property
    def average(self) -> float:
        return self.cost / self.held

    @property
    def value(self) -> float:
        return self.held * LAST


LEDGER: Final = Ledger()
MADE: Final = {order_id: LEDGER.take(side, shares, price) for order_id, side, shares, price in EXECUTIONS}


def library_apart() -> Path:
    """The folder of the current client, once for all who ask at the same time."""
    with _installing_alone:
        return current_client()


@attrs.frozen
class Day:
    """What a worker has seen, and what the venue says it has done."""

    seen: dict[str, Any]
    version: int
    library: str
    position: int

    def __getitem__(self, part: str) -> Any:
        return self.seen[part]


def spend_day(version_max: int) -> Day:
    library = None if version_max == OLDEST else library_apart()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if library is not None:
        environment["PYTHONPATH"] = str(library)
    market = DirectedMarket({SYMBOL: 200.0})
    with serving(market, speed=SPEED, server_version_max=version_max) as tws:
        worker = subprocess.Popen(
            [sys.executable, str(WORKER), str(tws.port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        deadline = threading.Timer(LIMIT_LOOP_S, worker.kill)
        deadline.start()
        seen: dict[str, Any] = {}
        with worker:
            assert worker.stdout is not None
            assert worker.stderr is not None
            for line in worker.stdout:
                said = json.loads(line)
                if "show" in said:
                    tws.show(SYMBOL, said["show"])
                else:
                    seen = said
            complaint = worker.stderr.read()
        deadline.cancel()
        assert (worker.returncode, complaint) == (0, "")
        return Day(seen, version_max, str(library or ""), tws.position(SYMBOL))


VERSIONS: Final = {"9.81.1": 157, "10.46": 178, "10.46 at 200": 200}
"""Which library, and the newest protocol version that the server offers it."""


@pytest.fixture(scope="module")
def days() -> Iterator[dict[str, Future[Day]]]:
    """All of them at once: they mostly wait."""
    with ThreadPoolExecutor() as pool:
        yield {name: pool.submit(spend_day, version) for name, version in VERSIONS.items()}


@pytest.fixture(params=list(VERSIONS))
def day(request: pytest.FixtureRequest, days: dict[str, Future[Day]]) -> Day:
    return days[request.param].result(LIMIT_LOOP_S)


def test_it_is_the_library_that_it_should_be_and_it_has_nothing_to_complain_of(day: Day) -> None:
    assert day["library"].startswith(day.library)
    assert (str(APART) in day["library"]) is bool(day.library)
    assert day["faults"] == []
    farms = [[-1, 2104], [-1, 2106], [-1, 2158]]
    asked_for = [[92, 200], [7, 202], [9, 202], [10, 202], [10, 10148], [555, 10147]]
    assert sorted(day["errors"]) == sorted(farms + asked_for)
    assert sorted(day["return"]["errors"]) == sorted([*farms, [30, 202]])


def test_it_agrees_on_a_version_and_hears_ids_accounts_and_the_time(day: Day) -> None:
    greeting = day["greeting"]
    assert (greeting["version"], greeting["accounts"], greeting["next_id"]) == (day.version, ACCOUNT, 1)
    assert greeting["time"].startswith(f"{DAY:%Y%m%d} 10:00:")
    start = new_york(DAY, datetime.min.time().replace(hour=10)).timestamp()
    assert start <= greeting["now"] < start + 600


def test_it_sees_quotes_contracts_and_bars(day: Day) -> None:
    market = day["market"]
    assert (market["prices"], market["sizes"]) == ([199.99, 200.01, 200.0], [DEEP] * 3)
    assert market["bid_moved"] == 200.99
    assert market["contract"] == [SYMBOL, "STK", "USD"]
    assert market["con_id"] > 0
    assert market["details"] == [SYMBOL, 0.01, "US/Eastern"]
    assert market["increments"] == [[0.0, 0.01]]
    assert len(market["bars"]) in (29, 30, 31)
    assert market["bars"][0] == [200.0, 200.2, 200.0, 200.0, 1000.0]


def test_it_is_told_what_there_is_to_know_of_a_stock_and_of_the_account_in_parts(day: Day) -> None:
    facts = day["facts"]
    assert facts["symbolSamples"][1] >= 1
    number, exchange, con_id, *names, expirations, strikes = facts["securityDefinitionOptionParameter"]
    assert (number, exchange, con_id, names) == (101, "SMART", day["market"]["con_id"], [SYMBOL, "100"])
    assert min(expirations, strikes) >= 1
    assert facts["headTimestamp"] == [102, HEAD]
    assert facts["histogramData"][1] >= 1
    for ticks in ("historicalTicksBidAsk", "historicalTicks"):
        assert facts[ticks][1] >= 5, "the last second is told whole"
    assert facts["accountUpdateMulti"][0] == 108
    assert {"positionMultiEnd", "familyCodes", "mktDepthExchanges"} <= facts.keys()
    if day.library:
        assert facts["historicalSchedule"][3] == "US/Eastern"
        assert facts["userInfo"] == [110, ""]


def test_it_follows_ticks_depth_and_bars(day: Day) -> None:
    streams = day["streams"]
    assert streams["tickByTickAllLast"][3:5] == [200.0, DEEP]
    assert streams["tickByTickBidAsk"][2:6] == [199.99, 200.01, DEEP, DEEP]
    assert streams["tickByTickMidPoint"][2:] == [200.0]
    assert streams["updateMktDepth"][2] == 0
    assert streams["realtimeBar"][2:7] == [200.0, 200.0, 200.0, 200.0, 5 * DEEP]
    assert streams["historicalDataUpdate"] == [125]
    assert streams["tickSnapshotEnd"] == [127]


@pytest.mark.parametrize(
    ("name", "order_id", "statuses"),
    [
        ("market", 1, ["Submitted", "Filled"]),
        ("limit", 2, ["Submitted", "Filled"]),
        ("stop", 3, ["PreSubmitted", "Submitted", "Filled"]),
        ("trailing", 4, ["PreSubmitted", "Submitted", "Filled"]),
    ],
)
def test_an_order_comes_to_its_end(day: Day, name: str, order_id: int, statuses: list[str]) -> None:
    assert_filled(day["orders"][name], order_id)
    assert day["orders"][name]["statuses"] == statuses


def test_a_stop_is_held_for_its_trigger(day: Day) -> None:
    assert day["orders"]["stop"]["why_held"] == "trigger"


def test_a_bracket_is_silent_until_it_is_whole_and_its_target_cancels_its_stop(day: Day) -> None:
    bracket = day["links"]["bracket"]
    assert bracket["early"] == []
    assert bracket["parent"] == 5
    assert_filled(bracket["entry"], 5)
    assert_filled(bracket["target"], 6)
    assert bracket["target"]["statuses"] == ["PreSubmitted", "Submitted", "Filled"]
    assert [bracket["stop"][0], bracket["stop"][-1]] == ["PreSubmitted", "Cancelled"]


def test_of_a_group_one_fills_and_the_other_is_cancelled(day: Day) -> None:
    group = day["links"]["oca"]
    assert group["group"] == "either"
    assert_filled(group["one"], 8)
    assert [group["other"][0], group["other"][-1]] == ["Submitted", "Cancelled"]


def test_a_modified_order_stays_the_same_order_and_is_cancelled_once(day: Day) -> None:
    changes = day["changes"]
    assert changes["same_order"]
    assert changes["quantity"] == 40
    assert changes["texts"] == [
        "Order Canceled - reason:",
        "OrderId 10 that needs to be cancelled cannot be cancelled, state: Cancelled.",
        "OrderId 555 that needs to be cancelled is not found.",
    ]


def test_a_what_if_order_says_what_it_would_cost_and_is_none(day: Day) -> None:
    assert day["changes"]["what_if"] == {
        "status": "PreSubmitted",
        "statuses": [],
        "initial": 100 * LAST / 2,
        "maintenance": 100 * LAST / 4,
        "commission": FEE,
    }


def test_the_days_executions_and_completed_orders_are_listed(day: Day) -> None:
    books = day["books"]
    assert books["executions"] == [list(execution) for execution in EXECUTIONS]
    assert len(set(books["exec_ids"])) == len(EXECUTIONS)
    filled = [kind for kind, status, _ in books["completed"] if status == "Filled"]
    assert filled == ["LMT", "LMT", "LMT", "LMT", "MKT", "STP", "TRAIL"]
    others = [(kind, text) for kind, status, text in books["completed"] if status == "Cancelled"]
    assert [(kind, text.partition(":")[0]) for kind, text in others] == [
        ("LMT", "Cancelled by System"),
        ("LMT", "Cancelled by Trader"),
        ("STP", "Cancelled by System"),
    ]


def test_position_cash_and_profit_are_those_of_the_executions(day: Day) -> None:
    books, worth = day["books"], LEDGER.cash + LEDGER.value
    unrealized = LEDGER.value - LEDGER.cost
    assert day.position == LEDGER.held
    assert books["positions"] == [[ACCOUNT, SYMBOL, LEDGER.held, near(LEDGER.average)]]
    assert books["portfolio"] == [
        SYMBOL, LEDGER.held, LAST, LEDGER.value, near(LEDGER.average), near(unrealized),
        near(LEDGER.realized), ACCOUNT,
    ]  # fmt: skip
    assert books["pnl"] == near([worth - CASH, unrealized, LEDGER.realized])
    assert books["single"] == near([LEDGER.held, worth - CASH, unrealized, LEDGER.realized, LEDGER.value])
    said = {"NetLiquidation": f"{worth:.2f}", "TotalCashValue": f"{LEDGER.cash:.2f}"}
    assert {key: books["values"][key] for key in said} == said
    buying_power = f"{4 * (worth - LEDGER.value / 2):.2f}"
    assert books["summary"] == said | {"BuyingPower": buying_power}
    assert books["values"]["AccountReady"] == "true"


def test_who_comes_back_finds_its_order_and_the_days_executions(day: Day) -> None:
    found = day["return"]
    assert found["closed"] == "connectionClosed"
    assert found["same_order"]
    assert found["found"] == ["LMT", 100.0, 25, "GTC"]
    assert found["next_id"] == 31
    assert found["exec_ids"] == day["books"]["exec_ids"]
    assert found["cancelled"] == "Order Canceled - reason:"


def test_the_supervisor_trades_a_day_with_the_current_client_in_place_of_the_old_one(tmp_path: Path) -> None:
    path = os.pathsep.join((str(library_apart()), str(ROOT)))
    asked = (sys.executable, "-c", "from actors.tws_codec import CLIENT_MAX; print(CLIENT_MAX)")
    offered = subprocess.run(asked, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert (offered.returncode, offered.stdout) == (0, f"{ADVERTISED}\n")

    signals = ((2, "AAA", "BUY"), (30, "BBB", "SHORT"), (90, "AAA", "SELL"), (120, "CCC", "BUY"))
    market, report = write_market(tmp_path / "market", signals), tmp_path / "report.json"
    options = ("--market", market, "--speed", "3000", "--until-end", "--report", report)
    done = program(SUPERVISOR, *options, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    found = report_of(report)
    totals, broker = found["totals"], found["broker"]
    assert found["exit"] == "end of replay"
    assert totals["signals"]["accepted"] == len(signals)
    assert (totals["trades"], totals["executions"], totals["restarts"]) == (4, 8, 0)
    assert broker["positions"] == {"AAA": 0, "BBB": 0, "CCC": 0}
    assert {key: broker[key] for key in ("executions", "realized_pnl", "commission")} == {
        key: totals[key] for key in ("executions", "realized_pnl", "commission")
    }
    assert found["invariants"]["checked"] > 0
    assert found["invariants"]["violations"] == []


def assert_filled(end: dict[str, Any], order_id: int) -> None:
    """It has all its shares at the market's price, paid once, and made what the ledger says."""
    [(side, shares, price)] = [execution[1:] for execution in EXECUTIONS if execution[0] == order_id]
    made = MADE[order_id]
    assert end["executions"] == [[side, shares, price]]
    assert (end["filled"], end["remaining"], end["average"]) == (shares, 0, price)
    assert end["commissions"] == [FEE]
    assert end["realized"] == [None if made is None else near(made)]
    assert end["statuses"][-1] == "Filled"


def near(value: Any) -> Any:
    return pytest.approx(value, abs=1e-5)
