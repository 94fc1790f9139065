"""Our words to TWS's bytes and back, through the installed `ibapi`: its encoders, its decoder, its classes.

Neither thread nor socket: the client object gets a connection that only keeps the bytes, the decoder a
wrapper that only collects. Ticks, nearly all of the traffic, are decoded by `decode_tick` (ibapi takes
six times as long). Works with ibapi 9.81.1 and with 10.x, whose signatures differ: `error` has up to five
arguments, `cancelOrder` takes a time or an object, `interpret` takes the message id apart, sizes are
`Decimal`, and commission reports have another name. What this client never sends (combination legs,
conditions, algorithm parameters) is not carried over.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Iterable
from typing import Any, Final

from ibapi.client import EClient
from ibapi.contract import Contract as IbContract
from ibapi.contract import ContractDetails as IbContractDetails
from ibapi.decoder import Decoder
from ibapi.execution import Execution as IbExecution
from ibapi.execution import ExecutionFilter as IbExecutionFilter
from ibapi.order import Order as IbOrder
from ibapi.order_state import OrderState as IbOrderState
from ibapi.server_versions import MAX_CLIENT_VER

from actors.tws_repeats import Repeats
from actors.tws_values import columns, fill, optional_float, read_from, size, text
from protocol.session_words import Inbound, Undecodable
from protocol.tws import messages as tws
from protocol.tws.codec import decode_tick
from protocol.tws.versions import ADVERTISED, OLDEST

logging.getLogger("ibapi").setLevel(logging.WARNING)  # it formats every field it reads at DEBUG

CLIENT_MIN: Final[int] = OLDEST
CLIENT_MAX: Final[int] = min(ADVERTISED, int(MAX_CLIENT_VER))
"""Later versions are protobuf in part; we ask for text only."""


_ERROR = b"4"
"""The message id of errors."""


class EncodeRefused(ValueError):
    """ibapi would not turn a request into bytes; nothing was sent."""


class TwsCodec:
    """One session's codec: never reused for the next one, since ibapi's objects keep state."""

    def __init__(self, server_version: int, client_id: int) -> None:
        self.server_version = server_version
        self._answers = _Answers()
        self._capture = _Capture()
        client = EClient(self._answers)
        client.conn = self._capture
        client.clientId = client_id
        client.serverVersion_ = server_version
        client.setConnState(EClient.CONNECTED)
        self._client = client
        self._decoder = Decoder(self._answers, server_version)
        self._split_id = len(inspect.signature(self._decoder.interpret).parameters) == 2
        self._repeats = Repeats(self._interpret)

    def encode(self, request: tws.ClientRequest) -> bytes:
        """The whole frame. Raises `EncodeRefused`."""
        self._answers.clear()
        self._capture.sent.clear()
        _call(self._client, request)
        if not self._capture.sent:
            raise EncodeRefused(f"ibapi did not encode {request!r}: {self._answers.refusal()}")
        return b"".join(self._capture.sent)

    def decode(self, payload: bytes) -> tuple[Inbound, ...]:
        """What one frame says: nothing (no word of ours), one message, or `Undecodable`."""
        return tuple(self.decode_all((payload,)))

    def decode_all(self, payloads: Iterable[bytes]) -> list[Inbound]:
        """The same for many frames, with as little as possible between two ticks."""
        messages: list[Inbound] = []
        for payload in payloads:
            try:
                tick = decode_tick(payload)
                if tick is not None:
                    messages.append(tick)
                else:
                    messages += self._repeats.read(payload)
            except Exception as problem:
                messages.append(Undecodable(payload, f"{type(problem).__name__}: {problem}"))
        return messages

    def _interpret(self, payload: bytes) -> tuple[Inbound, ...]:
        answers = self._answers
        answers.clear()
        fields = tuple(payload.split(b"\0")[:-1])
        if self._split_id:
            self._decoder.interpret(fields[1:], int(fields[0]))
        else:
            self._decoder.interpret(fields)
        if not answers.called:
            return (Undecodable(payload, "ibapi made nothing of it"),)
        if fields[0] != _ERROR:
            problems = [answer.text for answer in answers.messages if isinstance(answer, tws.ErrorMessage)]
            if problems:
                # An error that TWS did not send: ibapi complains about the message through the same door.
                return (Undecodable(payload, "; ".join(problems)),)
        return tuple(answers.messages)


class _Capture:
    """A connection of ibapi's shape that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def isConnected(self) -> bool:
        return True

    def sendMsg(self, message: bytes) -> int:
        self.sent.append(message)
        return len(message)


# --- our requests to ibapi's methods ----------------------------------------------------------------


def _call(client: Any, request: tws.ClientRequest) -> None:
    match request:
        case tws.PlaceOrder(order_id, contract, order):
            client.placeOrder(order_id, _contract_out(contract), _order_out(order))
        case tws.CancelOrder(order_id, when):
            _cancel_order(client, order_id, when)
        case tws.ReqMktData(req_id, contract, generic, snapshot, regulatory):
            client.reqMktData(req_id, _contract_out(contract), generic, snapshot, regulatory, [])
        case tws.ReqContractDetails(req_id, contract):
            client.reqContractDetails(req_id, _contract_out(contract))
        case tws.ReqHistoricalData():
            _req_historical_data(client, request)
        case tws.ReqExecutions(req_id, wanted):
            client.reqExecutions(req_id, fill(IbExecutionFilter(), wanted, _FILTER))
        case tws.StartApi(client_id, capabilities):
            client.clientId, client.optCapab = client_id, capabilities
            client.startApi()
        case tws.GlobalCancel():
            _global_cancel(client)
        case tws.ReqAccountUpdatesMulti(req_id, account, model, ledger):
            client.reqAccountUpdatesMulti(req_id, account, model, ledger)
        case tws.ReqAccountSummary(req_id, group, tags):
            client.reqAccountSummary(req_id, group, tags)
        case tws.ReqPnL(req_id, account, model):
            client.reqPnL(req_id, account, model)
        case tws.ReqPnLSingle(req_id, account, model, con_id):
            client.reqPnLSingle(req_id, account, model, con_id)
        case tws.ReqAccountUpdates(subscribe, account):
            client.reqAccountUpdates(subscribe, account)
        case _:
            _call_plain(client, request)


def _call_plain(client: Any, request: tws.ClientRequest) -> None:
    """The requests of at most one plain argument."""
    match request:
        case tws.ReqIds(count):
            client.reqIds(count)
        case tws.ReqOpenOrders():
            client.reqOpenOrders()
        case tws.ReqAllOpenOrders():
            client.reqAllOpenOrders()
        case tws.ReqAutoOpenOrders(bind):
            client.reqAutoOpenOrders(bind)
        case tws.ReqCompletedOrders(api_only):
            client.reqCompletedOrders(api_only)
        case tws.ReqPositions():
            client.reqPositions()
        case tws.CancelPositions():
            client.cancelPositions()
        case tws.CancelAccountUpdatesMulti(req_id):
            client.cancelAccountUpdatesMulti(req_id)
        case tws.CancelAccountSummary(req_id):
            client.cancelAccountSummary(req_id)
        case tws.ReqManagedAccounts():
            client.reqManagedAccts()
        case tws.ReqCurrentTime():
            client.reqCurrentTime()
        case tws.SetServerLogLevel(level):
            client.setServerLogLevel(level)
        case tws.ReqMarketRule(rule_id):
            client.reqMarketRule(rule_id)
        case tws.CancelMktData(req_id):
            client.cancelMktData(req_id)
        case tws.ReqMarketDataType(kind):
            client.reqMarketDataType(kind)
        case tws.CancelHistoricalData(req_id):
            client.cancelHistoricalData(req_id)
        case tws.CancelPnL(req_id):
            client.cancelPnL(req_id)
        case tws.CancelPnLSingle(req_id):
            client.cancelPnLSingle(req_id)
        case _:
            # The vocabulary is that of the simulated TWS, which serves more than we ever ask.
            raise EncodeRefused(f"not a request of ours: {request!r}")


def _req_historical_data(client: Any, request: tws.ReqHistoricalData) -> None:
    client.reqHistoricalData(
        request.req_id,
        _contract_out(request.contract),
        request.end,
        request.duration,
        request.bar_size,
        request.what,
        int(request.use_rth),
        request.format_date,
        request.keep_up_to_date,
        [],
    )


def _cancel_order(client: Any, order_id: int, when: str) -> None:
    """9.81.1 takes the id alone, 10.10 a time with it, 10.30 an object that holds the time."""
    parameters = _parameters(type(client).cancelOrder)
    if len(parameters) == 2:
        client.cancelOrder(order_id)
    elif parameters[2] == "orderCancel":
        client.cancelOrder(order_id, _order_cancel(when))
    else:
        client.cancelOrder(order_id, when)


def _global_cancel(client: Any) -> None:
    if len(_parameters(type(client).reqGlobalCancel)) > 1:
        client.reqGlobalCancel(_order_cancel(""))
    else:
        client.reqGlobalCancel()


@functools.cache
def _parameters(method: object) -> tuple[str, ...]:
    """The names of a method's parameters, `self` first."""
    return tuple(inspect.signature(method).parameters)  # type: ignore[arg-type]


def _order_cancel(when: str) -> Any:
    from ibapi.order_cancel import OrderCancel  # only 10.30 and later have it

    cancel = OrderCancel()
    cancel.manualOrderCancelTime = when
    return cancel


# --- ibapi's callbacks to our messages ----------------------------------------------------------------


class _Answers:
    """An EWrapper by shape: turns each callback into a message; one that we have no word for is let go."""

    def __init__(self) -> None:
        self.messages: list[Inbound] = []
        self.called = False
        self._bars: list[tws.HistoricalBar] = []

    def clear(self) -> None:
        self.messages = []
        self.called = False
        self._bars = []

    def refusal(self) -> str:
        texts = [answer.text for answer in self.messages if isinstance(answer, tws.ErrorMessage)]
        return "; ".join(texts) or "without a reason"

    def __getattr__(self, name: str) -> Any:
        # Reached only for callbacks that are not defined below.
        if name.startswith("_"):
            raise AttributeError(name)

        def let_go(*_: object) -> None:
            self.called = True

        return let_go

    def _add(self, message: Inbound) -> None:
        self.called = True
        self.messages.append(message)

    def error(self, req_id: int, *rest: Any) -> None:
        # 9.81.1: code, text · 10.10: code, text, json · 10.33: time, code, text, json. The text is the
        # first string, the code stands before it.
        at = next(index for index, value in enumerate(rest) if isinstance(value, str))
        advanced = rest[at + 1] if len(rest) > at + 1 else ""
        self._add(tws.ErrorMessage(int(req_id), int(rest[at - 1]), rest[at], str(advanced)))

    def nextValidId(self, orderId: int) -> None:
        self._add(tws.NextValidId(orderId))

    def managedAccounts(self, accountsList: str) -> None:
        self._add(tws.ManagedAccounts(tuple(name for name in accountsList.split(",") if name)))

    def currentTime(self, time: int) -> None:
        self._add(tws.CurrentTime(time))

    def openOrder(self, orderId: int, contract: Any, order: Any, orderState: Any) -> None:
        read = read_from(tws.Order, order, _ORDER)
        state = read_from(tws.OrderState, orderState, _ORDER_STATE)
        self._add(tws.OpenOrder(orderId, read_from(tws.Contract, contract, _CONTRACT), read, state))

    def openOrderEnd(self) -> None:
        self._add(tws.OpenOrderEnd())

    def orderStatus(
        self, orderId: int, status: str, filled: Any, remaining: Any, avgFillPrice: float, permId: int,
        parentId: int, lastFillPrice: float, clientId: int, whyHeld: str, mktCapPrice: float,
    ) -> None:  # fmt: skip
        self._add(
            tws.OrderStatus(
                orderId, status, size(filled), size(remaining), avgFillPrice, permId, parentId,
                lastFillPrice, clientId, whyHeld or "", mktCapPrice or 0.0,
            )
        )  # fmt: skip

    def execDetails(self, reqId: int, contract: Any, execution: Any) -> None:
        read = read_from(tws.Execution, execution, _EXECUTION)
        self._add(tws.ExecDetails(reqId, read_from(tws.Contract, contract, _CONTRACT), read))

    def execDetailsEnd(self, reqId: int) -> None:
        self._add(tws.ExecDetailsEnd(reqId))

    def commissionReport(self, commissionReport: Any) -> None:
        self._commission(commissionReport, commissionReport.commission)

    def commissionAndFeesReport(self, commissionAndFeesReport: Any) -> None:
        self._commission(commissionAndFeesReport, commissionAndFeesReport.commissionAndFees)

    def _commission(self, report: Any, commission: float) -> None:
        realized = optional_float(report.realizedPNL)
        self._add(tws.CommissionReport(report.execId, commission, report.currency, realized))

    def completedOrder(self, contract: Any, order: Any, orderState: Any) -> None:
        read = read_from(tws.Order, order, _ORDER)
        state = read_from(tws.OrderState, orderState, _ORDER_STATE)
        filled = size(order.filledQuantity)
        self._add(tws.CompletedOrder(read_from(tws.Contract, contract, _CONTRACT), read, state, filled))

    def completedOrdersEnd(self) -> None:
        self._add(tws.CompletedOrdersEnd())

    def position(self, account: str, contract: Any, position: Any, avgCost: float) -> None:
        read = read_from(tws.Contract, contract, _CONTRACT)
        self._add(tws.Position(account, read, size(position), avgCost))

    def positionEnd(self) -> None:
        self._add(tws.PositionEnd())

    def updateAccountValue(self, key: str, val: str, currency: str, accountName: str) -> None:
        self._add(tws.AccountValue(key, val, currency, accountName))

    def updatePortfolio(
        self, contract: Any, position: Any, marketPrice: float, marketValue: float, averageCost: float,
        unrealizedPNL: float, realizedPNL: float, accountName: str,
    ) -> None:  # fmt: skip
        self._add(
            tws.PortfolioValue(
                read_from(tws.Contract, contract, _CONTRACT), size(position), marketPrice, marketValue,
                averageCost, unrealizedPNL, realizedPNL, accountName,
            )
        )  # fmt: skip

    def updateAccountTime(self, timeStamp: str) -> None:
        self._add(tws.AccountUpdateTime(timeStamp))

    def accountDownloadEnd(self, accountName: str) -> None:
        self._add(tws.AccountDownloadEnd(accountName))

    def accountSummary(self, reqId: int, account: str, tag: str, value: str, currency: str) -> None:
        self._add(tws.AccountSummary(reqId, account, tag, value, currency))

    def accountSummaryEnd(self, reqId: int) -> None:
        self._add(tws.AccountSummaryEnd(reqId))

    def accountUpdateMulti(
        self, reqId: int, account: str, modelCode: str, key: str, value: str, currency: str
    ) -> None:
        self._add(tws.AccountUpdateMulti(reqId, account, modelCode, key, value, currency))

    def accountUpdateMultiEnd(self, reqId: int) -> None:
        self._add(tws.AccountUpdateMultiEnd(reqId))

    def contractDetails(self, reqId: int, contractDetails: Any) -> None:
        read = read_from(
            tws.ContractDetails,
            contractDetails,
            _DETAILS,
            contract=read_from(tws.Contract, contractDetails.contract, _CONTRACT),
            sec_id_list=tuple((pair.tag, pair.value) for pair in contractDetails.secIdList or ()),
        )
        self._add(tws.ContractData(reqId, read))

    def contractDetailsEnd(self, reqId: int) -> None:
        self._add(tws.ContractDataEnd(reqId))

    def marketRule(self, marketRuleId: int, priceIncrements: Any) -> None:
        steps = tuple((step.lowEdge, step.increment) for step in priceIncrements)
        self._add(tws.MarketRule(marketRuleId, steps))

    def historicalData(self, reqId: int, bar: Any) -> None:
        del reqId  # one answer at a time: the end of it follows in the same frame
        self.called = True
        self._bars.append(_bar(bar))

    def historicalDataEnd(self, reqId: int, start: str, end: str) -> None:
        bars, self._bars = tuple(self._bars), []
        self._add(tws.HistoricalData(reqId, start, end, bars))

    def historicalDataUpdate(self, reqId: int, bar: Any) -> None:
        self._add(tws.HistoricalDataUpdate(reqId, _bar(bar)))

    def marketDataType(self, reqId: int, marketDataType: int) -> None:
        self._add(tws.MarketDataType(reqId, marketDataType))

    def tickReqParams(
        self, tickerId: int, minTick: float, bboExchange: str, snapshotPermissions: int, *_: object
    ) -> None:
        self._add(tws.TickReqParams(tickerId, minTick, bboExchange, snapshotPermissions))

    def tickSnapshotEnd(self, reqId: int) -> None:
        self._add(tws.TickSnapshotEnd(reqId))

    def pnl(self, reqId: int, dailyPnL: float, unrealizedPnL: float, realizedPnL: float) -> None:
        figures = map(optional_float, (dailyPnL, unrealizedPnL, realizedPnL))
        self._add(tws.PnL(reqId, *figures))

    def pnlSingle(
        self, reqId: int, pos: Any, dailyPnL: float, unrealizedPnL: float, realizedPnL: float, value: float
    ) -> None:
        figures = map(optional_float, (dailyPnL, unrealizedPnL, realizedPnL, value))
        self._add(tws.PnLSingle(reqId, size(pos), *figures))


def _bar(bar: Any) -> tws.HistoricalBar:
    wap = bar.average if hasattr(bar, "average") else bar.wap
    return tws.HistoricalBar(
        date=bar.date,
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=size(bar.volume),
        wap=float(wap),
        count=int(bar.barCount),
    )


_CONTRACT = columns(tws.Contract, IbContract())
_ORDER = columns(tws.Order, IbOrder())
_ORDER_STATE = columns(tws.OrderState, IbOrderState())
_EXECUTION = columns(tws.Execution, IbExecution())
_DETAILS = columns(tws.ContractDetails, IbContractDetails())
_FILTER = tuple(
    (ours, {"account": "acctCode"}.get(ours, name), reader, default)
    for ours, name, reader, default in (
        *columns(tws.ExecutionFilter, IbExecutionFilter()),
        ("account", "acctCode", text, ""),
    )
)


def _contract_out(contract: tws.Contract) -> Any:
    return fill(IbContract(), contract, _CONTRACT)


def _order_out(order: tws.Order) -> Any:
    out = fill(IbOrder(), order, _ORDER)
    quantity = order.total_quantity
    out.totalQuantity = int(quantity) if quantity == quantity.to_integral_value() else quantity
    # ibapi sets both by default and TWS refuses them with 10268.
    out.eTradeOnly = out.firmQuoteOnly = False
    return out
