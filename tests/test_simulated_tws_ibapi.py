"""The simulated TWS serves the unchanged Python client of IB, over TCP, on the real clock."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

from actors.simulated_tws import SimulatedTws
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.venue_settings import VenueSettings

pytestmark = pytest.mark.slow

PATIENCE_S = 10.0
CALLBACKS = (
    "nextValidId", "managedAccounts", "error", "openOrder", "orderStatus", "execDetails",
    "execDetailsEnd", "commissionReport", "position", "positionEnd", "tickPrice", "tickSize",
    "tickString", "currentTime", "contractDetails", "contractDetailsEnd", "historicalData",
    "historicalDataEnd", "openOrderEnd", "completedOrder", "completedOrdersEnd", "accountSummary",
    "accountSummaryEnd", "updateAccountValue", "updatePortfolio", "accountDownloadEnd", "pnl",
    "pnlSingle", "marketRule",
)  # fmt: skip


class Recorder(EWrapper, EClient):  # type: ignore[misc]
    """IB's client with its own threads; `calls` holds (callback, arguments) in order."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._news = threading.Condition()
        for name in CALLBACKS:
            setattr(self, name, self._recorded(name))

    def _recorded(self, name: str) -> Callable[..., None]:
        def record(*arguments: Any) -> None:
            with self._news:
                self.calls.append((name, arguments))
                self._news.notify_all()

        return record

    def until(self, name: str, condition: Callable[..., bool] = lambda *_: True) -> tuple[Any, ...]:
        """The arguments of the first call of a callback that meets a condition."""

        def found() -> tuple[Any, ...] | None:
            return next((a for called, a in self.calls if called == name and condition(*a)), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, PATIENCE_S), (name, self.calls[-5:])
            result = found()
        assert result is not None
        return result

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@contextmanager
def serving(speed: float = 20.0) -> Iterator[int]:
    """A simulated TWS in a thread of its own; the port."""
    ports: list[int] = []
    ready = threading.Event()
    stop = trio.Event()
    token: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        tws = SimulatedTws(SyntheticMarket(1, symbols=("SLV",)), VenueSettings(), speed=speed)
        async with trio.open_nursery() as nursery:
            await nursery.start(tws.run)
            ports.append(await tws.listen("127.0.0.1", 0))
            token.append(trio.lowlevel.current_trio_token())
            ready.set()
            await stop.wait()
            nursery.cancel_scope.cancel()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield ports[0]
    finally:
        token[0].run_sync_soon(stop.set)
        thread.join(PATIENCE_S)


@contextmanager
def connected(port: int, client_id: int = 1) -> Iterator[Recorder]:
    client = Recorder()
    client.connect("127.0.0.1", port, client_id)
    thread = threading.Thread(target=client.run)
    thread.start()
    try:
        yield client
    finally:
        # The end of the connection first: closing alone leaves the client's reader in its last second.
        client.conn.socket.shutdown(socket.SHUT_RDWR)
        reader = client.reader
        client.disconnect()
        thread.join(PATIENCE_S)
        reader.join(PATIENCE_S)


def stock(symbol: str) -> Contract:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = symbol, "STK", "SMART", "USD"
    return contract


def order(action: str, quantity: int, kind: str = "MKT", price: float | None = None) -> Order:
    asked = Order()
    asked.action, asked.totalQuantity, asked.orderType = action, quantity, kind
    if price is not None:
        asked.lmtPrice = price
    return asked


def test_ibapi_connects_and_hears_its_id_and_accounts() -> None:
    with serving() as port, connected(port) as client:
        assert client.until("nextValidId") == (1,)
        assert client.until("managedAccounts") == ("DU1234567",)
        assert client.serverVersion() == 157
        codes = [
            client.until("error", lambda _, code, *__, wanted=wanted: code == wanted)[1]
            for wanted in (2104, 2106, 2158)
        ]
        assert codes == [2104, 2106, 2158]


def test_ibapi_trades_cancels_and_sees_its_position() -> None:
    with serving() as port, connected(port) as client:
        client.until("nextValidId")
        client.reqMktData(90, stock("SLV"), "", False, False, [])
        client.until("tickPrice", lambda _, kind, *__: kind == 2)
        client.placeOrder(1, stock("SLV"), order("BUY", 100))
        client.until("orderStatus", lambda number, status, *_: (number, status) == (1, "Filled"))
        client.until("commissionReport")
        orders = [name for name in client.names() if name in ("openOrder", "execDetails", "commissionReport")]
        assert orders[0] == "openOrder"
        assert orders.index("execDetails") < orders.index("commissionReport")

        client.placeOrder(2, stock("SLV"), order("BUY", 50, "LMT", 5.0))
        client.until("orderStatus", lambda number, status, *_: (number, status) == (2, "Submitted"))
        client.cancelOrder(2)
        client.until("orderStatus", lambda number, status, *_: (number, status) == (2, "Cancelled"))
        client.until("error", lambda number, code, *_: (number, code) == (2, 202))

        client.reqPositions()
        client.until("positionEnd")
        account, contract, quantity, _ = client.until("position")
        assert (account, contract.symbol, quantity) == ("DU1234567", "SLV", 100)


def test_every_request_of_ibapi_that_is_supported_is_answered() -> None:
    with serving() as port, connected(port) as client:
        client.until("nextValidId")
        client.reqCurrentTime()
        client.until("currentTime")
        client.reqContractDetails(1, stock("SLV"))
        _, details = client.until("contractDetails")
        assert (details.contract.symbol, details.minTick) == ("SLV", 0.01)
        client.until("contractDetailsEnd")
        client.reqMarketRule(26)
        client.until("marketRule")
        client.reqHistoricalData(2, stock("SLV"), "", "1 D", "1 min", "TRADES", 1, 1, False, [])
        client.until("historicalDataEnd")
        client.reqExecutions(3, ExecutionFilter())
        client.until("execDetailsEnd")
        client.reqOpenOrders()
        client.until("openOrderEnd")
        client.reqCompletedOrders(False)
        client.until("completedOrdersEnd")
        client.reqAccountSummary(4, "All", "NetLiquidation")
        client.until("accountSummaryEnd")
        client.reqAccountUpdates(True, "")
        client.until("accountDownloadEnd")
        client.reqPnL(5, "DU1234567", "")
        client.until("pnl")
        client.reqPnLSingle(6, "DU1234567", "", details.contract.conId)
        client.until("pnlSingle")
        client.reqContractDetails(7, stock("NO SUCH"))
        client.until("error", lambda number, code, *_: (number, code) == (7, 200))


def test_an_order_is_found_again_by_a_client_that_comes_back() -> None:
    with serving() as port:
        with connected(port) as client:
            client.until("nextValidId")
            client.placeOrder(1, stock("SLV"), order("BUY", 50, "LMT", 5.0))
            perm_id = client.until("openOrder")[2].permId
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with connected(port) as again:
                if again.until("error", lambda *_: True)[1] == 326:
                    continue
                number, contract, found, state = again.until("openOrder")
                assert (number, contract.symbol, found.permId, state.status) == (
                    1,
                    "SLV",
                    perm_id,
                    "Submitted",
                )
                assert again.until("nextValidId") == (2,)
                return
        raise AssertionError("the client id stayed in use")
