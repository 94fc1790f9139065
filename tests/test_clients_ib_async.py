"""ib_async, unchanged, trades on the simulated TWS over real sockets and is told the truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, TypeVar

import attrs
import pytest
from ib_async import IB, LimitOrder, MarketOrder, Option, Order, Stock, StopOrder
from ib_async import Trade as Placed
from ib_async.util import getLoop

from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_settings import TwsSettings
from tests.clients import ACCOUNT, HOST, PATIENCE_LOOP_S, ServedTws, serving

pytestmark = [
    pytest.mark.slow,
    # ib_async asks for the loop of a thread that has none yet.
    pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning"),
]

T = TypeVar("T")

PRICES: Final = {"SLV": 25.0, "GLD": 190.0}
SPEED: Final = 40.0


class Complaints(logging.Handler):
    """What ib_async has to say about what it hears, from warnings on."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@attrs.frozen
class Client:
    """ib_async's own client, and the simulated TWS that it is connected to."""

    ib: IB
    tws: ServedTws

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until it holds, while ib_async listens."""
        assert list(self.ib.loopUntil(condition, PATIENCE_LOOP_S))[-1], "it has never come"

    def stock(self, symbol: str = "SLV") -> Stock:
        (found,) = self.ib.qualifyContracts(Stock(symbol, "SMART", "USD"))
        assert isinstance(found, Stock)
        return found

    def place(self, order: Order, *, until: str, symbol: str = "SLV") -> Placed:
        placed = self.ib.placeOrder(self.stock(symbol), order)
        self.until(lambda: placed.orderStatus.status == until)
        return placed

    def bought(self, shares: int = 100) -> Placed:
        return self.charged(self.place(MarketOrder("BUY", shares), until="Filled"))

    def charged(self, placed: Placed) -> Placed:
        """Once the commission of every fill has come."""
        self.until(lambda: placed.fills and all(fill.commissionReport.execId for fill in placed.fills))
        return placed

    def ends_as(self, placed: Placed, status: str) -> None:
        self.until(lambda: placed.orderStatus.status == status)
        assert placed.isDone()


@contextmanager
def heard_without_complaint(*expected: str) -> Iterator[None]:
    """ib_async logs no warning and no error but these, in order: each `Error CODE, …` by its beginning."""
    complaints, log = Complaints(), logging.getLogger("ib_async")
    log.addHandler(complaints)
    try:
        yield
    finally:
        log.removeHandler(complaints)
    unlike = [
        text for text, begins in zip(complaints.heard, expected, strict=False) if not text.startswith(begins)
    ]
    assert (len(complaints.heard), unlike) == (len(expected), []), complaints.heard


@contextmanager
def connected(tws: ServedTws, client_id: int = 1) -> Iterator[Client]:
    """A client that is patient, but not for ever, and that raises what is answered with an error."""
    ib, loop = IB(), getLoop()
    ib.RequestTimeout, ib.RaiseRequestErrors = PATIENCE_LOOP_S, True
    try:
        ib.connect(HOST, tws.port, client_id, timeout=PATIENCE_LOOP_S)
        try:
            yield Client(ib, tws)
        finally:
            ib.disconnect()
            list(ib.loopUntil(lambda: ib.client.conn.transport is None, PATIENCE_LOOP_S))
    finally:
        loop.close()


@pytest.fixture
def tws() -> Iterator[ServedTws]:
    with serving(PRICES, speed=SPEED) as served:
        yield served


@pytest.fixture
def client(tws: ServedTws) -> Iterator[Client]:
    """Connected; at its end ib_async must not have complained of anything."""
    with heard_without_complaint(), connected(tws) as client:
        yield client


@pytest.fixture
def cancelling(tws: ServedTws) -> Iterator[Client]:
    """The same where one order is cancelled: ib_async calls TWS's 202 an error."""
    with heard_without_complaint("Error 202"), connected(tws) as client:
        yield client


# --- connecting -----------------------------------------------------------------------------------


def test_it_connects_and_synchronizes_without_a_warning(client: Client) -> None:
    assert client.ib.isConnected()
    assert client.ib.client.serverVersion() == 178
    assert client.ib.managedAccounts() == [ACCOUNT]
    assert (client.ib.positions(), client.ib.openTrades(), client.ib.fills()) == ([], [], [])


def test_the_time_is_that_of_the_market(client: Client) -> None:
    client.until(lambda: (client.ib.reqCurrentTime() - datetime(2025, 1, 23, 15, 0, tzinfo=UTC)).seconds < 600)


def test_two_clients_see_one_account_each_its_own_orders(tws: ServedTws) -> None:
    with heard_without_complaint(), connected(tws, 1) as one:
        resting = one.place(LimitOrder("BUY", 10, 20.0), until="Submitted")
        other = IB()
        other.RequestTimeout = PATIENCE_LOOP_S
        other.connect(HOST, tws.port, 2, timeout=PATIENCE_LOOP_S)
        assert other.reqOpenOrders() == []
        assert [each.order.permId for each in other.reqAllOpenOrders()] == [resting.order.permId]
        bought = one.bought(30)
        one.until(lambda: [held.position for held in other.positions()] == [30.0])
        assert bought.fills[0].execution.clientId == 1
        other.disconnect()
        list(other.loopUntil(lambda: other.client.conn.transport is None, PATIENCE_LOOP_S))


# --- the market -----------------------------------------------------------------------------------


def test_quotes_are_those_of_the_market_and_follow_it(client: Client) -> None:
    ticker = client.ib.reqMktData(client.stock())
    client.until(lambda: (ticker.bid, ticker.ask, ticker.last) == (24.99, 25.01, 25.0))
    assert (ticker.bidSize, ticker.askSize, ticker.minTick) == (5000.0, 5000.0, 0.01)
    client.tws.show("SLV", 25.5, size=300)
    client.until(lambda: (ticker.bid, ticker.ask, ticker.last) == (25.49, 25.51, 25.5))
    client.until(lambda: (ticker.bidSize, ticker.askSize) == (300.0, 300.0))
    assert client.ib.cancelMktData(client.stock())


def test_a_snapshot_of_several_stocks(client: Client) -> None:
    tickers = client.ib.reqTickers(client.stock("SLV"), client.stock("GLD"))
    assert [(each.bid, each.ask) for each in tickers] == [(24.99, 25.01), (189.99, 190.01)]


def test_historical_bars_are_those_of_the_market(client: Client) -> None:
    bars = client.ib.reqHistoricalData(client.stock(), "", "1 D", "5 mins", "TRADES", useRTH=True)
    assert [(bar.open, bar.high, bar.low, bar.close) for bar in bars][:6] == [(25.0, 25.2, 25.0, 25.0)] * 6
    assert bars[0].date == datetime(2025, 1, 23, 14, 30, tzinfo=UTC)
    days = client.ib.reqHistoricalData(client.stock(), "", "3 D", "1 day", "TRADES", useRTH=True)
    assert len(days) == 3


def test_the_head_timestamp_comes_before_the_bars(client: Client) -> None:
    found = client.ib.reqHeadTimeStamp(client.stock(), "TRADES", useRTH=True, formatDate=2)
    assert found < datetime(2025, 1, 23, tzinfo=found.tzinfo)


@pytest.mark.parametrize("forming", [True, False])
def test_bars_are_kept_up_to_date(forming: bool) -> None:
    settings = TwsSettings(market=MarketSettings(forming_bars=forming))
    with (
        serving(PRICES, speed=SPEED * 4, settings=settings) as tws,
        heard_without_complaint(),
        connected(tws) as client,
    ):
        bars = client.ib.reqHistoricalData(
            client.stock(), "", "600 S", "1 min", "TRADES", useRTH=True, keepUpToDate=True
        )
        last, count = bars[-1].date, len(bars)
        new: list[bool] = []
        bars.updateEvent += lambda _, has_new: new.append(has_new)
        tws.show("SLV", 25.75)
        client.until(lambda: bars[-1].close == 25.75 and any(new))
        assert bars[-1].date > last
        assert len(bars) > count
        client.ib.cancelHistoricalData(bars)


def test_five_second_bars_come_every_five_seconds(client: Client) -> None:
    bars = client.ib.reqRealTimeBars(client.stock(), 5, "TRADES", useRTH=True)
    client.until(lambda: len(bars) >= 3)
    assert [(later.time - bar.time).total_seconds() for bar, later in zip(bars, bars[1:], strict=False)] == [
        5.0
    ] * (len(bars) - 1)
    assert {(bar.open_, bar.high, bar.low, bar.close) for bar in bars} == {(25.0, 25.0, 25.0, 25.0)}
    client.ib.cancelRealTimeBars(bars)


@pytest.mark.parametrize("kind", ["Last", "AllLast", "BidAsk", "MidPoint"])
def test_single_ticks(client: Client, kind: str) -> None:
    found: list[object] = []
    ticker = client.ib.reqTickByTickData(client.stock(), kind)
    ticker.updateEvent += lambda each: found.extend(each.tickByTicks)
    client.tws.show("SLV", 25.25)
    shown = {"BidAsk": (25.24, 25.26), "MidPoint": (25.25,)}.get(kind, (25.25, 5000.0))
    names = {"BidAsk": ("bidPrice", "askPrice"), "MidPoint": ("midPoint",)}.get(kind, ("price", "size"))
    client.until(lambda: shown in [tuple(getattr(tick, name) for name in names) for tick in found])
    client.ib.cancelTickByTickData(client.stock(), kind)


def test_past_ticks(client: Client) -> None:
    ticks = client.ib.reqHistoricalTicks(
        client.stock(), "20250123 09:40:00 US/Eastern", "", 20, "TRADES", useRth=True
    )
    assert len(ticks) >= 20
    assert all(25.0 <= tick.price <= 25.2 for tick in ticks)


def test_the_depth_of_the_market_begins_at_the_quote(client: Client) -> None:
    ticker = client.ib.reqMktDepth(client.stock(), numRows=5, isSmartDepth=True)
    client.until(lambda: ticker.domBids and ticker.domAsks)
    assert (ticker.domBids[0].price, ticker.domAsks[0].price) == (24.99, 25.01)
    client.tws.show("SLV", 25.5)
    client.until(lambda: (ticker.domBids[0].price, ticker.domAsks[0].price) == (25.49, 25.51))
    prices = [level.price for level in ticker.domBids]
    assert prices == sorted(prices, reverse=True)
    client.ib.cancelMktDepth(client.stock(), isSmartDepth=True)


# --- contracts ------------------------------------------------------------------------------------


def test_contract_details_name_the_stock_and_its_hours(client: Client) -> None:
    (details,) = client.ib.reqContractDetails(Stock("SLV", "SMART", "USD"))
    assert details.contract is not None
    assert (details.contract.symbol, details.minTick) == ("SLV", 0.01)
    assert details.contract.conId == client.stock().conId
    assert details.liquidSessions()[0].start == datetime(2025, 1, 23, 14, 30, tzinfo=UTC)


def test_an_unknown_contract_is_told_and_nothing_breaks(tws: ServedTws) -> None:
    with heard_without_complaint("Error 200", "Unknown contract"), connected(tws) as client:
        client.ib.RaiseRequestErrors = False
        assert client.ib.qualifyContracts(Stock("NOSUCH", "SMART", "USD")) == [None]
        assert client.stock().conId > 0


def test_an_option_of_the_chain_has_details_and_a_price(client: Client) -> None:
    stock = client.stock()
    chains = client.ib.reqSecDefOptParams("SLV", "", "STK", stock.conId)
    chain = next(each for each in chains if each.exchange == "SMART")
    assert 25.0 in chain.strikes
    (call,) = client.ib.qualifyContracts(
        Option("SLV", chain.expirations[-1], 25.0, "C", "SMART", currency="USD")
    )
    assert call is not None
    assert call.multiplier == chain.multiplier == "100"
    ticker = client.ib.reqMktData(call)
    client.until(lambda: ticker.modelGreeks and ticker.ask > ticker.bid > 0)
    assert ticker.modelGreeks is not None
    assert ticker.modelGreeks.delta is not None
    assert 0 < ticker.modelGreeks.delta < 1
    assert ticker.modelGreeks.undPrice == pytest.approx(25.0, abs=0.02)


def test_symbols_are_found_by_what_they_begin_with(client: Client) -> None:
    found = client.ib.reqMatchingSymbols("SLV")
    assert ("SLV", "STK") in [(each.contract.symbol, each.contract.secType) for each in found if each.contract]


# --- orders ---------------------------------------------------------------------------------------


def agrees_with_the_venue(client: Client, placed: Placed) -> None:
    """Status, fills and commissions, as the venue has them."""
    order = client.tws.ask(lambda venue: venue.find(1, placed.order.orderId))
    assert order is not None
    status = placed.orderStatus
    assert (status.permId, status.filled, status.remaining) == (order.perm_id, order.filled, order.remaining)
    executions = client.tws.ask(lambda venue: venue.executions())
    truth = [
        (one.exec_id, float(one.quantity), float(one.price), float(client.tws.tws.venue.charge(one.exec_id).amount))
        for one in executions
        if one.perm_id == order.perm_id
    ]
    assert truth == [
        (fill.execution.execId, fill.execution.shares, fill.execution.price, fill.commissionReport.commission)
        for fill in placed.fills
    ]


def test_a_market_order_fills_at_the_quote(client: Client) -> None:
    placed = client.bought(100)
    assert (placed.orderStatus.avgFillPrice, placed.orderStatus.filled) == (25.01, 100.0)
    assert [fill.commissionReport.commission for fill in placed.fills] == [1.0]
    assert [entry.status for entry in placed.log if not entry.message][0::2] == ["PendingSubmit", "Filled"]
    agrees_with_the_venue(client, placed)
    assert client.tws.position("SLV") == 100


def test_a_large_order_fills_in_parts(client: Client) -> None:
    client.tws.show("SLV", 25.0, size=40)
    ticker = client.ib.reqMktData(client.stock())
    client.until(lambda: ticker.askSize == 40)
    placed = client.bought(100)
    client.until(lambda: len(placed.fills) == 3)
    agrees_with_the_venue(client, client.charged(placed))
    assert [fill.execution.shares for fill in placed.fills] == [40.0, 40.0, 20.0]
    assert [fill.execution.cumQty for fill in placed.fills] == [40.0, 80.0, 100.0]


def test_a_limit_order_rests_until_the_market_comes_to_it(client: Client) -> None:
    placed = client.place(LimitOrder("BUY", 50, 24.5), until="Submitted")
    client.tws.show("SLV", 24.4)
    client.ends_as(placed, "Filled")
    agrees_with_the_venue(client, client.charged(placed))
    assert placed.orderStatus.avgFillPrice <= 24.5


def test_a_stop_is_elected_and_fills(client: Client) -> None:
    client.bought()
    placed = client.place(StopOrder("SELL", 100, 24.5), until="PreSubmitted")
    client.tws.show("SLV", 24.4)
    client.ends_as(placed, "Filled")
    agrees_with_the_venue(client, client.charged(placed))
    assert client.tws.position("SLV") == 0
    bought, sold = 100 * 25.01 + 1.0, 100 * placed.orderStatus.avgFillPrice
    assert placed.fills[0].commissionReport.realizedPNL == pytest.approx(
        sold - bought - placed.fills[0].commissionReport.commission
    )


def test_a_trailing_stop_follows_the_market_and_then_fills(client: Client) -> None:
    client.bought()
    placed = client.place(
        Order(action="SELL", orderType="TRAIL", totalQuantity=100, auxPrice=0.5), until="PreSubmitted"
    )
    client.tws.show("SLV", 26.0)
    client.until(lambda: placed.order.trailStopPrice == 25.5)
    client.tws.show("SLV", 25.4)
    client.ends_as(placed, "Filled")
    agrees_with_the_venue(client, client.charged(placed))


def test_a_bracket_ends_with_its_target_and_the_stop_is_cancelled(cancelling: Client) -> None:
    stock = cancelling.stock()
    bracket = cancelling.ib.bracketOrder("BUY", 100, 25.01, 25.5, 24.5)
    entry, target, stop = (cancelling.ib.placeOrder(stock, order) for order in bracket)
    cancelling.ends_as(entry, "Filled")
    cancelling.until(lambda: (target.orderStatus.status, stop.orderStatus.status) == ("Submitted", "PreSubmitted"))
    assert {target.order.parentId, stop.order.parentId} == {entry.order.orderId}
    cancelling.tws.show("SLV", 25.6)
    cancelling.ends_as(target, "Filled")
    cancelling.ends_as(stop, "Cancelled")
    for placed in (entry, target):
        agrees_with_the_venue(cancelling, cancelling.charged(placed))
    assert cancelling.tws.position("SLV") == 0


def test_of_an_oca_group_one_fills_and_the_other_is_cancelled(cancelling: Client) -> None:
    pair = cancelling.ib.oneCancelsAll(
        [LimitOrder("BUY", 10, 24.5), LimitOrder("BUY", 10, 24.0)], "either", 1
    )
    first, second = (cancelling.place(order, until="Submitted") for order in pair)
    cancelling.tws.show("SLV", 24.4)
    cancelling.ends_as(first, "Filled")
    cancelling.ends_as(second, "Cancelled")
    agrees_with_the_venue(cancelling, cancelling.charged(first))


def test_an_order_is_modified_in_price_and_quantity(client: Client) -> None:
    placed = client.place(LimitOrder("BUY", 50, 24.0), until="Submitted")
    placed.order.lmtPrice, placed.order.totalQuantity = 25.5, 80
    client.ib.placeOrder(placed.contract, placed.order)
    client.ends_as(placed, "Filled")
    agrees_with_the_venue(client, client.charged(placed))
    assert (placed.orderStatus.filled, placed.orderStatus.avgFillPrice) == (80.0, 25.01)


def test_an_order_is_cancelled(cancelling: Client) -> None:
    placed = cancelling.place(LimitOrder("BUY", 50, 24.0), until="Submitted")
    cancelling.ib.cancelOrder(placed.order)
    cancelling.ends_as(placed, "Cancelled")
    agrees_with_the_venue(cancelling, placed)
    (done,) = cancelling.ib.reqCompletedOrders(apiOnly=False)
    assert (done.orderStatus.status, done.order.permId) == ("Cancelled", placed.order.permId)


def test_all_orders_are_cancelled_at_once(tws: ServedTws) -> None:
    with heard_without_complaint("Error 202", "Error 202"), connected(tws) as client:
        both = [client.place(LimitOrder("BUY", 50, price), until="Submitted") for price in (24.0, 23.0)]
        client.ib.reqGlobalCancel()
        for placed in both:
            client.ends_as(placed, "Cancelled")


def test_a_what_if_shows_margin_and_commission_and_places_nothing(client: Client) -> None:
    state = client.ib.whatIfOrder(client.stock(), LimitOrder("BUY", 1000, 25.0))
    before, change, after = (
        float(text) for text in (state.initMarginBefore, state.initMarginChange, state.initMarginAfter)
    )
    assert (before, change) == (0.0, after)
    assert change > 0
    assert 0 < float(state.maintMarginChange) <= change
    assert (state.commission, state.commissionCurrency) == (5.0, "USD")
    assert client.ib.reqAllOpenOrders() == []
    assert client.tws.ask(lambda venue: venue.open_orders()) == ()


def test_an_order_beyond_the_margin_is_rejected_with_its_reason(tws: ServedTws) -> None:
    with heard_without_complaint("Error 201"), connected(tws) as client:
        placed = client.ib.placeOrder(client.stock(), LimitOrder("BUY", 10_000_000, 25.0))
        client.until(lambda: placed.orderStatus.status in ("Inactive", "Cancelled"))
        assert 201 in [entry.errorCode for entry in placed.log]


# --- the account ----------------------------------------------------------------------------------


def test_positions_and_portfolio_are_those_of_the_venue(client: Client) -> None:
    client.bought(100)
    client.charged(client.place(MarketOrder("SELL", 30), until="Filled", symbol="GLD"))
    client.until(lambda: len(client.ib.positions()) == len(client.ib.portfolio()) == 2)
    truth = {each.contract.symbol: each for each in client.tws.ask(lambda venue: venue.positions(ACCOUNT))}
    for held in client.ib.positions():
        of_venue = truth[held.contract.symbol]
        assert held.position == of_venue.quantity
        assert held.avgCost == pytest.approx(float(of_venue.average_cost_charged))
    client.tws.show("SLV", 26.0)

    def shown() -> dict[str, tuple[float, float, float]]:
        return {
            item.contract.symbol: (item.position, item.marketPrice, round(item.unrealizedPNL, 2))
            for item in client.ib.portfolio()
        }

    def of_the_venue() -> dict[str, tuple[float, float, float]]:
        return {
            each.contract.symbol: (
                float(each.quantity), float(each.market_price), round(float(each.unrealized_net), 2),
            )
            for each in client.tws.ask(lambda venue: venue.positions(ACCOUNT))
        }  # fmt: skip

    client.until(lambda: shown() == of_the_venue() and shown()["SLV"] == (100.0, 26.0, 98.0))


def test_account_values_are_those_of_the_venue(client: Client) -> None:
    client.bought(200)

    def value(tag: str, currency: str = "USD") -> float:
        found = [each.value for each in client.ib.accountValues() if (each.tag, each.currency) == (tag, currency)]
        return float(found[0])

    figures = client.tws.ask(lambda venue: venue.figures(ACCOUNT))
    client.until(lambda: value("TotalCashBalance") == pytest.approx(float(figures.cash), abs=0.01))
    client.until(lambda: value("NetLiquidation") == pytest.approx(float(figures.net_liquidation), abs=0.01))
    assert value("InitMarginReq") == pytest.approx(float(figures.margin.initial), abs=0.01)
    summary = {each.tag: each.value for each in client.ib.accountSummary(ACCOUNT)}
    assert float(summary["NetLiquidation"]) == pytest.approx(float(figures.net_liquidation), abs=0.01)
    assert float(summary["GrossPositionValue"]) == pytest.approx(float(figures.gross_position_value), abs=0.01)


def test_profit_and_loss_are_those_of_the_venue(client: Client) -> None:
    client.bought(100)
    client.charged(client.place(MarketOrder("SELL", 40), until="Filled"))
    of_account = client.ib.reqPnL(ACCOUNT)
    of_stock = client.ib.reqPnLSingle(ACCOUNT, "", client.stock().conId)
    client.tws.show("SLV", 26.0)

    def told() -> list[float]:
        alone = (of_stock.position, of_stock.value, of_stock.dailyPnL, of_stock.unrealizedPnL, of_stock.realizedPnL)
        return [*alone, of_account.dailyPnL, of_account.unrealizedPnL, of_account.realizedPnL]

    def true() -> list[float]:
        (held,) = client.tws.ask(lambda venue: venue.positions(ACCOUNT))
        alone = (held.quantity, held.market_value, held.daily_pnl, held.unrealized_net, held.realized_today)
        profits = (held.daily_pnl, held.unrealized_net, held.realized_today)
        return [float(each) for each in (*alone, *profits)]

    client.until(lambda: told() == pytest.approx(true(), abs=0.005) and of_stock.value == 60 * 26.0)
    client.ib.cancelPnL(ACCOUNT)
    client.ib.cancelPnLSingle(ACCOUNT, "", client.stock().conId)


# --- coming back ----------------------------------------------------------------------------------


def test_a_client_that_comes_back_finds_its_orders_fills_and_position(tws: ServedTws) -> None:
    with heard_without_complaint(), connected(tws) as first:
        bought = first.bought(100)
        resting = first.place(LimitOrder("SELL", 100, 30.0, tif="GTC", orderRef="target"), until="Submitted")
    with heard_without_complaint(), connected(tws) as again:
        (found,) = again.ib.openTrades()
        assert (found.order.orderId, found.order.permId) == (resting.order.orderId, resting.order.permId)
        assert (found.order.lmtPrice, found.order.orderRef, found.order.tif) == (30.0, "target", "GTC")
        assert found.orderStatus.status == "Submitted"
        (fill,) = again.ib.fills()
        assert fill.execution == bought.fills[0].execution
        assert fill.commissionReport == bought.fills[0].commissionReport
        assert [held.position for held in again.ib.positions()] == [100.0]
        found.order.lmtPrice = 24.5
        again.ib.placeOrder(found.contract, found.order)
        again.ends_as(found, "Filled")
        assert again.ib.client.getReqId() > resting.order.orderId
    assert tws.position("SLV") == 0


def test_a_fill_that_came_while_nobody_was_connected_is_found(tws: ServedTws) -> None:
    with heard_without_complaint(), connected(tws) as first:
        placed = first.place(LimitOrder("BUY", 100, 24.5), until="Submitted")
        tws.show("SLV", 24.4)
    with heard_without_complaint(), connected(tws) as again:
        again.until(lambda: tws.position("SLV") == 100)
        (fill,) = [each for each in again.ib.reqExecutions() if each.execution.permId == placed.order.permId]
        assert (fill.execution.shares, fill.execution.orderId) == (100.0, placed.order.orderId)
        assert again.ib.openTrades() == []
