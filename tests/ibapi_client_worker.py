"""A day at the desk of the official Python client, whichever `ibapi` is on the path: 9.81 or 10.x.

A program of its own, so that either library can be run: `python ibapi_client_worker.py PORT`. It trades
AAPL through the client's own threads and prints JSON lines: `{"show": PRICE}` asks whoever owns the market
to move it, the last line is what was seen. It imports nothing of this project.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

try:
    from ibapi.order_cancel import OrderCancel
except ImportError:
    CANCEL_WORDS: tuple[Any, ...] = ()
else:
    CANCEL_WORDS = (OrderCancel(),)

CURRENT = bool(CANCEL_WORDS)
PATIENCE_S = 10.0
CLIENT_ID = 7
SYMBOL = "AAPL"
BID, ASK, LAST, TIME_AND_SALES = 1, 2, 4, 48
BID_SIZE, ASK_SIZE, LAST_SIZE = 0, 3, 5
UNSET = 1e300
QUOTES_ID, BARS_ID, UNKNOWN_ID = 90, 91, 92
SILENT = ("logAnswer", "winError")
FARMS = (2104, 2106, 2158)
IN_USE = 326

faults: list[str] = []
"""What the library logged as a warning or worse, and what ended one of its threads."""


class Faults(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        faults.append(f"{record.name}: {record.getMessage()}")


class Desk(EWrapper, EClient):  # type: ignore[misc]
    """The client; `calls` holds (callback, arguments) in order. Commissions have one name in all versions."""

    def __init__(self) -> None:
        EClient.__init__(self, self)
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._news = threading.Condition()
        for name in dir(EWrapper):
            if not name.startswith("_") and not name.endswith("ProtoBuf") and name not in SILENT:
                setattr(self, name, self._recorded(name))

    def _recorded(self, name: str) -> Callable[..., None]:
        known = "commissionReport" if name == "commissionAndFeesReport" else name

        def record(*arguments: Any) -> None:
            if name == "error" and len(arguments) > 3:
                arguments = (arguments[0], *arguments[2:4])  # the newer ones also tell when
            with self._news:
                self.calls.append((known, arguments))
                self._news.notify_all()

        return record

    def until(
        self, name: str, condition: Callable[..., bool] = lambda *_: True, *, since: int = 0
    ) -> tuple[Any, ...]:
        """The arguments of the first call, from a place on, of a callback that meets a condition."""

        def found() -> tuple[Any, ...] | None:
            later = self.calls[since:]
            return next((a for called, a in later if called == name and condition(*a)), None)

        with self._news:
            heard = self._news.wait_for(lambda: found() is not None, PATIENCE_S)
            result = found()
        if not heard or result is None:
            raise TimeoutError(f"no {name} in {self.calls[-12:]}, faults {faults}")
        return result

    def all(self, name: str, since: int = 0) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls[since:] if called == name]

    def status(self, number: int, wanted: str) -> tuple[Any, ...]:
        return self.until("orderStatus", lambda order_id, status, *_: (order_id, status) == (number, wanted))

    def trouble(self, number: int, wanted: int) -> str:
        return str(self.until("error", lambda about, code, _: (about, code) == (number, wanted))[2])


def plain(value: Any) -> Any:
    """As JSON has it: sizes are plain numbers in every version, what is unset is None."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return None if value > UNSET else round(value, 6)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


def connect(port: int) -> tuple[Desk, threading.Thread]:
    """A session that has heard its accounts and its next id; one that ends may hold its id for a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        desk = Desk()
        desk.connect("127.0.0.1", port, CLIENT_ID)
        thread = threading.Thread(target=desk.run)
        thread.start()
        desk.until("error")
        if not any(code == IN_USE for _, code, _ in desk.all("error")):
            for code in FARMS:
                desk.trouble(-1, code)
            desk.until("nextValidId")
            return desk, thread
        leave(desk, thread)
        if time.monotonic() > deadline:
            raise TimeoutError("the client id stays in use")


def leave(desk: Desk, thread: threading.Thread) -> None:
    desk.disconnect()
    thread.join(PATIENCE_S)
    if thread.is_alive():
        raise TimeoutError("the client's own loop does not end")


def stock(symbol: str = SYMBOL) -> Contract:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = symbol, "STK", "SMART", "USD"
    return contract


def euro() -> Contract:
    contract = Contract()
    contract.symbol, contract.secType, contract.exchange, contract.currency = "EUR", "CASH", "IDEALPRO", "USD"
    return contract


def order(action: str, quantity: int, kind: str = "MKT", **fields: object) -> Order:
    asked = Order()
    asked.action, asked.orderType = action, kind
    # The newer library counts in decimals, the older one in floats.
    asked.totalQuantity = Decimal(quantity) if CURRENT else quantity
    asked.eTradeOnly = asked.firmQuoteOnly = False
    for name, value in fields.items():
        setattr(asked, name, value)
    return asked


def move(desk: Desk, price: float) -> None:
    """The market goes there; returns when its trade is seen."""
    since = len(desk.calls)
    say({"show": price})
    desk.until(
        "tickPrice", lambda number, kind, at, _: (number, kind, at) == (QUOTES_ID, LAST, price), since=since
    )


def filled(desk: Desk, number: int) -> dict[str, Any]:
    """An order's end: its last status, its executions, their commissions, every status on the way."""
    _, _, quantity, remaining, average, *_ = desk.status(number, "Filled")
    mine = [execution for _, _, execution in desk.all("execDetails") if execution.orderId == number]
    paid = [
        desk.until("commissionReport", lambda report, wanted=execution.execId: report.execId == wanted)[0]
        for execution in mine
    ]
    return {
        "filled": plain(quantity),
        "remaining": plain(remaining),
        "average": plain(average),
        "executions": [[e.side, plain(e.shares), plain(e.price)] for e in mine],
        "commissions": [plain(p.commissionAndFees if CURRENT else p.commission) for p in paid],
        "realized": [plain(p.realizedPNL) for p in paid],
        "statuses": ways(desk, number),
    }


def ways(desk: Desk, number: int) -> list[str]:
    """The statuses of an order, each said once."""
    said = [status for order_id, status, *_ in desk.all("orderStatus") if order_id == number]
    return list(dict.fromkeys(said))


def echo(desk: Desk, number: int, condition: Callable[[Any], bool] = lambda _: True) -> Any:
    return desk.until("openOrder", lambda order_id, _, asked, __: order_id == number and condition(asked))[2]


# --- the day ----------------------------------------------------------------------------------------------


def greet(desk: Desk) -> dict[str, Any]:
    desk.reqCurrentTime()
    return {
        "version": desk.serverVersion(),
        "time": bytes(desk.twsConnectionTime()).decode(),
        "accounts": desk.until("managedAccounts")[0],
        "next_id": desk.until("nextValidId")[0],
        "now": desk.until("currentTime")[0],
    }


def look(desk: Desk) -> dict[str, Any]:
    """Quotes that go on, a contract, one that there is not, bars, a market rule."""
    desk.reqMktData(QUOTES_ID, stock(), "", False, False, [])
    prices = {
        kind: plain(desk.until("tickPrice", lambda _, told, *__, kind=kind: told == kind)[2])
        for kind in (BID, ASK, LAST)
    }
    sizes = [
        plain(desk.until("tickSize", lambda _, told, __, kind=kind: told == kind)[2])
        for kind in (BID_SIZE, ASK_SIZE, LAST_SIZE)
    ]
    move(desk, 201.0)
    moved = plain(desk.until("tickPrice", lambda _, kind, price, __: kind == BID and price > 200.5)[2])
    move(desk, 200.0)
    desk.reqContractDetails(1, stock())
    _, details = desk.until("contractDetails")
    desk.until("contractDetailsEnd")
    desk.reqMarketRule(int(details.marketRuleIds.split(",")[0]))
    desk.reqContractDetails(UNKNOWN_ID, stock("NO SUCH"))
    desk.trouble(UNKNOWN_ID, 200)
    desk.reqHistoricalData(BARS_ID, stock(), "", "1800 S", "1 min", "TRADES", 1, 2, False, [])
    desk.until("historicalDataEnd")
    bars = [bar for _, bar in desk.all("historicalData")]
    return {
        "prices": list(prices.values()),
        "sizes": sizes,
        "bid_moved": moved,
        "contract": [details.contract.symbol, details.contract.secType, details.contract.currency],
        "con_id": details.contract.conId,
        "details": [details.longName, plain(details.minTick), details.timeZoneId],
        "increments": [[plain(i.lowEdge), plain(i.increment)] for i in desk.until("marketRule")[1]],
        "bars": [[plain(b.open), plain(b.high), plain(b.low), plain(b.close), plain(b.volume)] for b in bars],
    }


def ask(desk: Desk) -> dict[str, Any]:
    """What there is to know of a stock, and of the account in parts: what answers each request."""
    seen: dict[str, Any] = {}
    desk.reqMatchingSymbols(100, "AAP")
    seen |= answer(desk, "symbolSamples")
    desk.reqSecDefOptParams(101, SYMBOL, "", "STK", desk.until("contractDetails")[1].contract.conId)
    seen |= answer(desk, "securityDefinitionOptionParameter", "securityDefinitionOptionParameterEnd")
    desk.reqHeadTimeStamp(102, stock(), "TRADES", 1, 1)
    seen |= answer(desk, "headTimestamp")
    desk.reqHistogramData(103, stock(), True, "1 day")
    seen |= answer(desk, "histogramData")
    for number, what, name in (
        (104, "BID_ASK", "historicalTicksBidAsk"),
        (105, "MIDPOINT", "historicalTicks"),
    ):
        desk.reqHistoricalTicks(number, euro(), "20250123 09:45:00", "", 5, what, 1, False, [])
        seen |= answer(desk, name)
    desk.reqPositionsMulti(107, "", "")
    seen |= answer(desk, "positionMultiEnd")
    desk.cancelPositionsMulti(107)
    desk.reqAccountUpdatesMulti(108, "", "", True)
    seen |= answer(desk, "accountUpdateMulti", "accountUpdateMultiEnd")
    desk.cancelAccountUpdatesMulti(108)
    desk.reqFamilyCodes()
    seen |= answer(desk, "familyCodes")
    desk.reqMktDepthExchanges()
    seen |= answer(desk, "mktDepthExchanges")
    if CURRENT:
        desk.reqHistoricalData(109, stock(), "", "2 D", "1 day", "SCHEDULE", 1, 1, False, [])
        seen |= answer(desk, "historicalSchedule")
        desk.reqUserInfo(110)
        seen |= answer(desk, "userInfo")
    return seen


def follow(desk: Desk) -> dict[str, Any]:
    """What goes on until it is cancelled: the first of each."""
    seen: dict[str, Any] = {}
    for number, what, name in (
        (120, "AllLast", "tickByTickAllLast"),
        (121, "BidAsk", "tickByTickBidAsk"),
        (122, "MidPoint", "tickByTickMidPoint"),
    ):
        desk.reqTickByTickData(number, stock(), what, 0, False)
        seen |= answer(desk, name)
        desk.cancelTickByTickData(number)
    desk.reqMktDepth(123, stock(), 5, False, [])
    seen |= answer(desk, "updateMktDepth")
    desk.cancelMktDepth(123, False)
    desk.reqRealTimeBars(124, stock(), 5, "TRADES", True, [])
    seen |= answer(desk, "realtimeBar")
    desk.cancelRealTimeBars(124)
    desk.reqHistoricalData(125, stock(), "", "600 S", "1 min", "TRADES", 1, 2, True, [])
    seen |= answer(desk, "historicalDataUpdate")
    desk.cancelHistoricalData(125)
    desk.reqMktData(126, stock(), "233", False, False, [])
    desk.until("tickString", lambda number, kind, _: (number, kind) == (126, TIME_AND_SALES))
    desk.cancelMktData(126)
    desk.reqMktData(127, stock(), "", True, False, [])
    return seen | answer(desk, "tickSnapshotEnd")


def answer(desk: Desk, name: str, last: str = "") -> dict[str, Any]:
    """The first call of a callback: numbers and texts as they are, of a collection its size."""
    arguments = desk.until(name)
    if last:
        desk.until(last)
    told = [len(each) if isinstance(each, list | set) else each for each in arguments]
    return {name: plain([each for each in told if isinstance(each, Decimal | float | int | str)])}


def trade(desk: Desk) -> dict[str, Any]:
    """One order of each kind to its end; each leaves the market where the next one begins."""
    seen: dict[str, Any] = {}
    desk.placeOrder(1, stock(), order("BUY", 100))
    seen["market"] = filled(desk, 1)

    desk.placeOrder(2, stock(), order("BUY", 50, "LMT", lmtPrice=195.0))
    desk.status(2, "Submitted")
    move(desk, 194.0)
    seen["limit"] = filled(desk, 2)

    desk.placeOrder(3, stock(), order("SELL", 50, "STP", auxPrice=193.0))
    held = desk.status(3, "PreSubmitted")[9]
    move(desk, 192.0)
    seen["stop"] = filled(desk, 3) | {"why_held": held}

    desk.placeOrder(4, stock(), order("SELL", 50, "TRAIL", auxPrice=1.0))
    echo(desk, 4, lambda shown: shown.trailStopPrice == 191.0)
    move(desk, 195.0)
    echo(desk, 4, lambda shown: shown.trailStopPrice == 194.0)
    move(desk, 193.0)
    seen["trailing"] = filled(desk, 4)
    return seen


def link(desk: Desk) -> dict[str, Any]:
    """A bracket and an OCA group, at 193."""
    quiet = len(desk.calls)
    desk.placeOrder(5, stock(), order("BUY", 10, "LMT", lmtPrice=193.5, transmit=False))
    desk.placeOrder(6, stock(), order("SELL", 10, "LMT", lmtPrice=196.0, parentId=5, transmit=False))
    desk.reqCurrentTime()
    desk.until("currentTime", since=quiet)
    early = [number for number, *_ in desk.all("openOrder", quiet)]
    desk.placeOrder(7, stock(), order("SELL", 10, "STP", auxPrice=190.0, parentId=5))
    entry = filled(desk, 5)
    desk.status(6, "Submitted")
    group = echo(desk, 6, lambda shown: bool(shown.ocaGroup))
    move(desk, 196.5)
    bracket = {"early": early, "entry": entry, "target": filled(desk, 6), "parent": group.parentId}
    desk.status(7, "Cancelled")
    desk.trouble(7, 202)
    bracket["stop"] = ways(desk, 7)

    for number, price in ((8, 195.0), (9, 194.0)):
        asked = order("BUY", 20, "LMT", lmtPrice=price, ocaGroup="either", ocaType=1)
        desk.placeOrder(number, stock(), asked)
        desk.status(number, "Submitted")
    move(desk, 194.5)
    one = filled(desk, 8)
    desk.status(9, "Cancelled")
    desk.trouble(9, 202)
    return {"bracket": bracket, "oca": {"one": one, "other": ways(desk, 9), "group": echo(desk, 9).ocaGroup}}


def change(desk: Desk) -> dict[str, Any]:
    """Modify, cancel, cancel again, cancel what never was, and ask what an order would cost."""
    desk.placeOrder(10, stock(), order("BUY", 30, "LMT", lmtPrice=150.0))
    desk.status(10, "Submitted")
    first = echo(desk, 10)
    desk.placeOrder(10, stock(), order("BUY", 40, "LMT", lmtPrice=151.0))
    second = echo(desk, 10, lambda shown: shown.lmtPrice == 151.0)
    desk.cancelOrder(10, *CANCEL_WORDS)
    desk.status(10, "Cancelled")
    texts = [desk.trouble(10, 202)]
    desk.cancelOrder(10, *CANCEL_WORDS)
    texts.append(desk.trouble(10, 10148))
    desk.cancelOrder(555, *CANCEL_WORDS)
    texts.append(desk.trouble(555, 10147))
    desk.placeOrder(11, stock(), order("BUY", 100, "LMT", lmtPrice=194.5, whatIf=True))
    state = desk.until("openOrder", lambda number, *_: number == 11)[3]
    return {
        "same_order": first.permId == second.permId,
        "quantity": plain(second.totalQuantity),
        "texts": texts,
        "what_if": {
            "status": state.status,
            "statuses": ways(desk, 11),
            "initial": plain(float(state.initMarginChange)),
            "maintenance": plain(float(state.maintMarginChange)),
            "commission": plain(state.commissionAndFees if CURRENT else state.commission),
        },
    }


def reckon(desk: Desk, account: str, con_id: int) -> dict[str, Any]:
    """What the account says: executions, completed orders, positions, values, profit."""
    since = len(desk.calls)
    desk.reqExecutions(20, ExecutionFilter())
    desk.until("execDetailsEnd")
    desk.reqCompletedOrders(False)
    desk.until("completedOrdersEnd")
    desk.reqPositions()
    desk.until("positionEnd")
    desk.cancelPositions()
    desk.reqAccountUpdates(True, account)
    desk.until("accountDownloadEnd")
    desk.reqAccountUpdates(False, account)
    desk.reqAccountSummary(21, "All", "NetLiquidation,TotalCashValue,BuyingPower")
    desk.until("accountSummaryEnd")
    desk.cancelAccountSummary(21)
    desk.reqPnL(22, account, "")
    pnl = desk.until("pnl")
    desk.cancelPnL(22)
    desk.reqPnLSingle(23, account, "", con_id)
    single = desk.until("pnlSingle")
    desk.cancelPnLSingle(23)
    found = [execution for number, _, execution in desk.all("execDetails", since) if number == 20]
    ended = [(asked, state) for _, asked, state in desk.all("completedOrder")]
    held = desk.all("updatePortfolio", since)[0]
    return {
        "executions": [[e.orderId, e.side, plain(e.shares), plain(e.price)] for e in found],
        "exec_ids": [execution.execId for execution in found],
        "completed": sorted([asked.orderType, state.status, state.completedStatus] for asked, state in ended),
        "positions": [[a, c.symbol, plain(q), plain(cost)] for a, c, q, cost in desk.all("position", since)],
        "values": {key: value for key, value, *_ in desk.all("updateAccountValue", since)},
        "portfolio": [held[0].symbol, *plain(held[1:7]), held[7]],
        "summary": {tag: value for _, _, tag, value, _ in desk.all("accountSummary")},
        "pnl": plain(pnl[1:]),
        "single": plain(single[1:]),
    }


def return_to(port: int, first: Desk, thread: threading.Thread) -> dict[str, Any]:
    """Leave an order, go, come back as the same client: the order and the day's executions are there."""
    first.placeOrder(30, stock(), order("BUY", 25, "LMT", lmtPrice=100.0, tif="GTC"))
    first.status(30, "Submitted")
    left = echo(first, 30)
    leave(first, thread)
    desk, thread = connect(port)
    found = echo(desk, 30)
    seen = {
        "same_order": found.permId == left.permId,
        "closed": first.calls[-1][0],
        "found": [found.orderType, plain(found.lmtPrice), plain(found.totalQuantity), found.tif],
        "next_id": desk.until("nextValidId")[0],
    }
    desk.reqOpenOrders()
    desk.until("openOrderEnd")
    desk.reqExecutions(31, ExecutionFilter())
    desk.until("execDetailsEnd")
    seen["exec_ids"] = [execution.execId for _, _, execution in desk.all("execDetails")]
    desk.cancelOrder(30, *CANCEL_WORDS)
    desk.status(30, "Cancelled")
    seen["cancelled"] = desk.trouble(30, 202)
    leave(desk, thread)
    return seen | {"errors": [[number, code] for number, code, _ in desk.all("error")]}


def main(port: int) -> None:
    logging.getLogger().addHandler(Faults(logging.WARNING))
    threading.excepthook = lambda end: faults.append(f"a thread ended: {end.exc_value!r}")
    desk, thread = connect(port)
    try:
        seen: dict[str, Any] = {"greeting": greet(desk), "market": look(desk)}
        seen |= {"facts": ask(desk), "streams": follow(desk)}
        seen |= {"orders": trade(desk), "links": link(desk), "changes": change(desk)}
        seen["books"] = reckon(desk, seen["greeting"]["accounts"], seen["market"]["con_id"])
        desk.cancelMktData(QUOTES_ID)
        seen["return"] = return_to(port, desk, thread)
    finally:
        desk.disconnect()
    seen["errors"] = [[number, code] for number, code, _ in desk.all("error")]
    say(seen | {"faults": faults, "library": sys.modules["ibapi"].__file__})


if __name__ == "__main__":
    main(int(sys.argv[1]))
