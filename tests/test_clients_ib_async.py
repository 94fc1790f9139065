"""ib_async, unchanged, trades on the simulated TWS over real sockets and is told the truth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import pytest
from ib_async import LimitOrder, MarketOrder, Order, StopOrder
from ib_async import Trade as Placed

from protocol.exchange.tws_settings import PendingCancel, TwsSettings
from tests.clients import ACCOUNT, ServedTws
from tests.ib_async_desk import Client, another, connected, heard_without_complaint, leave, on_stage
from tests.programs import ROOT, program
from tests.world import SLV

EXAMPLE: Final = ROOT / "scripts" / "examples" / "ib_async_client.py"

pytestmark = [
    pytest.mark.slow,
    # ib_async asks for the loop of a thread that has none yet.
    pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning"),
]


@pytest.fixture
def tws() -> Iterator[ServedTws]:
    with on_stage() as served:
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


@pytest.mark.parametrize("version", [157, 163, 170, 200])
def test_it_trades_at_every_version_of_the_protocol(version: int) -> None:
    with (
        on_stage(version=version) as tws,
        heard_without_complaint(),
        connected(tws) as client,
    ):
        assert client.ib.client.serverVersion() == min(version, 178)
        agrees_with_the_venue(client, client.bought(100))
        assert [held.position for held in client.ib.reqPositions()] == [100.0]


def test_the_time_is_that_of_the_market(client: Client) -> None:
    began = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
    assert 0 <= (client.ib.reqCurrentTime() - began).total_seconds() < 600


def test_two_clients_see_one_account_each_its_own_orders(tws: ServedTws) -> None:
    with heard_without_complaint(), connected(tws, 1) as one:
        resting = one.place(LimitOrder("BUY", 10, 20.0), until="Submitted")
        other = another(tws)
        assert other.reqOpenOrders() == []
        assert [each.order.permId for each in other.reqAllOpenOrders()] == [resting.order.permId]
        bought = one.bought(30)
        one.until(lambda: [held.position for held in other.positions()] == [30.0])
        assert bought.fills[0].execution.clientId == 1
        leave(other)


# --- orders ---------------------------------------------------------------------------------------


def agrees_with_the_venue(client: Client, placed: Placed) -> None:
    """Status, fills and commissions, as the venue has them."""
    order, status = client.venues(placed), placed.orderStatus
    assert (status.permId, status.filled, status.remaining) == (order.perm_id, order.filled, order.remaining)
    truth = client.tws.ask(
        lambda venue: [
            (one.exec_id, float(one.quantity), float(one.price), float(venue.charge(one.exec_id).commission))
            for one in venue.executions()
            if one.perm_id == order.perm_id
        ]
    )
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
    assert client.tws.position(SLV) == 100


def test_a_large_order_fills_in_parts(client: Client) -> None:
    client.tws.show(SLV, 25.0, size=40)
    ticker = client.ib.reqMktData(client.stock())
    client.until(lambda: ticker.askSize == 40)
    placed = client.bought(100)
    client.until(lambda: len(placed.fills) == 3)
    agrees_with_the_venue(client, client.charged(placed))
    assert [fill.execution.shares for fill in placed.fills] == [40.0, 40.0, 20.0]
    assert [fill.execution.cumQty for fill in placed.fills] == [40.0, 80.0, 100.0]


def test_a_limit_order_rests_until_the_market_comes_to_it(client: Client) -> None:
    placed = client.place(LimitOrder("BUY", 50, 24.5), until="Submitted")
    client.tws.show(SLV, 24.4)
    client.ends_as(placed, "Filled")
    agrees_with_the_venue(client, client.charged(placed))
    assert placed.orderStatus.avgFillPrice <= 24.5


def test_a_stop_is_elected_and_fills(client: Client) -> None:
    client.bought()
    placed = client.place(StopOrder("SELL", 100, 24.5), until="PreSubmitted")
    client.tws.show(SLV, 24.4)
    client.ends_as(placed, "Filled")
    agrees_with_the_venue(client, client.charged(placed))
    assert client.tws.position(SLV) == 0
    bought, sold = 100 * 25.01 + 1.0, 100 * placed.orderStatus.avgFillPrice
    assert placed.fills[0].commissionReport.realizedPNL == pytest.approx(
        sold - bought - placed.fills[0].commissionReport.commission
    )


def test_a_trailing_stop_follows_the_market_and_then_fills(client: Client) -> None:
    client.bought()
    placed = client.place(
        Order(action="SELL", orderType="TRAIL", totalQuantity=100, auxPrice=0.5), until="PreSubmitted"
    )
    client.tws.show(SLV, 26.0)
    client.until(lambda: client.venues(placed).order.trail_stop_price == 25.5)
    # ib_async does not refresh this price of an order that it knows, so somebody else has to ask.
    other = another(client.tws)
    (seen,) = other.reqAllOpenOrders()
    assert (seen.order.trailStopPrice, seen.order.auxPrice) == (25.5, 0.5)
    leave(other)
    client.tws.show(SLV, 25.4)
    client.ends_as(placed, "Filled")
    agrees_with_the_venue(client, client.charged(placed))


def test_a_bracket_ends_with_its_target_and_the_stop_is_cancelled(cancelling: Client) -> None:
    stock = cancelling.stock()
    bracket = cancelling.ib.bracketOrder("BUY", 100, 25.01, 25.5, 24.5)
    entry, target, stop = (cancelling.ib.placeOrder(stock, order) for order in bracket)
    cancelling.ends_as(entry, "Filled")
    cancelling.until(
        lambda: (target.orderStatus.status, stop.orderStatus.status) == ("Submitted", "PreSubmitted")
    )
    assert {target.order.parentId, stop.order.parentId} == {entry.order.orderId}
    cancelling.tws.show(SLV, 25.6)
    cancelling.ends_as(target, "Filled")
    cancelling.ends_as(stop, "Cancelled")
    for placed in (entry, target):
        agrees_with_the_venue(cancelling, cancelling.charged(placed))
    assert cancelling.tws.position(SLV) == 0


def test_of_an_oca_group_one_fills_and_the_other_is_cancelled(cancelling: Client) -> None:
    pair = cancelling.ib.oneCancelsAll(
        [LimitOrder("BUY", 10, 24.5), LimitOrder("BUY", 10, 24.0)], "either", 1
    )
    first, second = (cancelling.place(order, until="Submitted") for order in pair)
    cancelling.tws.show(SLV, 24.4)
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
        client.ib.reqGlobalCancel()  # type: ignore[no-untyped-call]
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


@pytest.mark.parametrize("first", ["the echo", "the error"])
def test_an_order_beyond_the_margin_is_rejected_with_its_reason(first: str) -> None:
    settings = TwsSettings(error_before_inactive=first == "the error")
    # To ib_async an error of an order that has not ended yet is its end.
    complaints = ("Error 201", "Canceled order") if first == "the error" else ("Error 201",)
    told: list[tuple[int, int]] = []
    with (
        on_stage(settings) as tws,
        heard_without_complaint(*complaints),
        connected(tws) as client,
    ):
        client.ib.errorEvent += lambda order_id, code, *_: told.append((order_id, code))
        placed = client.place(LimitOrder("BUY", 10_000_000, 25.0), until="Inactive")
        client.until(lambda: (placed.order.orderId, 201) in told)
        assert client.ib.openTrades() == []
        assert client.tws.position(SLV) == 0


VARIANTS: Final = (
    TwsSettings(duplicate_echo=True, presubmitted_first=True, stop_price_echo=True, commission_echo=True),
    TwsSettings(status_before_execution=True, commission_delay_s=2.0, pending_cancel=PendingCancel.ECHO),
    TwsSettings(order_latency_s=1.0, report_latency_s=2.0, pending_cancel=PendingCancel.NONE),
)
"""Message sequences of live sessions that are not spoken unless asked for."""


@pytest.mark.parametrize("settings", VARIANTS, ids=["wordy", "status first", "late"])
def test_a_bracket_comes_to_the_same_end_in_whatever_words_it_is_told(settings: TwsSettings) -> None:
    with on_stage(settings) as tws, heard_without_complaint("Error 202"), connected(tws) as client:
        stock = client.stock()
        bracket = client.ib.bracketOrder("BUY", 100, 25.01, 25.5, 24.5)
        entry, target, stop = (client.ib.placeOrder(stock, order) for order in bracket)
        client.ends_as(entry, "Filled")
        client.until(lambda: stop.orderStatus.status == "PreSubmitted")
        tws.show(SLV, 24.4)
        client.ends_as(stop, "Filled")
        client.ends_as(target, "Cancelled")
        for placed in (entry, stop):
            agrees_with_the_venue(client, client.charged(placed))
        assert tws.position(SLV) == 0


# --- the account ----------------------------------------------------------------------------------


def test_positions_and_portfolio_are_those_of_the_venue(client: Client) -> None:
    client.bought(100)
    client.charged(client.place(MarketOrder("SELL", 30), until="Filled", symbol="GLD"))
    ticker = client.ib.reqMktData(client.stock())
    client.tws.show(SLV, 26.0)
    client.until(lambda: ticker.last == 26.0)
    # The portfolio is told every three minutes, and at once when a position changes.
    client.bought(50)
    client.until(lambda: client.tws.position(SLV) in [held.position for held in client.ib.positions()])
    truth = {each.contract.symbol: each for each in client.tws.ask(lambda venue: venue.positions(ACCOUNT))}
    assert {held.contract.symbol for held in client.ib.positions()} == {"SLV", "GLD"}
    for held in client.ib.positions():
        of_venue = truth[held.contract.symbol]
        assert held.position == of_venue.quantity
        assert held.avgCost == pytest.approx(float(of_venue.average_cost_charged))

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

    client.until(lambda: shown() == of_the_venue() and shown()["SLV"] == (150.0, 26.0, 96.5))


def test_account_values_are_those_of_the_venue(client: Client) -> None:
    client.bought(200)

    def value(tag: str, currency: str = "USD") -> float:
        found = [
            each.value for each in client.ib.accountValues() if (each.tag, each.currency) == (tag, currency)
        ]
        return float(found[0])

    figures = client.tws.ask(lambda venue: venue.figures(ACCOUNT))
    client.until(lambda: value("TotalCashBalance") == pytest.approx(float(figures.cash), abs=0.01))
    client.until(lambda: value("NetLiquidation") == pytest.approx(float(figures.net_liquidation), abs=0.01))
    assert value("InitMarginReq") == pytest.approx(float(figures.margin.initial), abs=0.01)
    summary = {each.tag: each.value for each in client.ib.accountSummary(ACCOUNT)}
    assert float(summary["NetLiquidation"]) == pytest.approx(float(figures.net_liquidation), abs=0.01)
    assert float(summary["GrossPositionValue"]) == pytest.approx(
        float(figures.gross_position_value), abs=0.01
    )


def test_profit_and_loss_are_those_of_the_venue(client: Client) -> None:
    client.bought(100)
    client.charged(client.place(MarketOrder("SELL", 40), until="Filled"))
    of_account = client.ib.reqPnL(ACCOUNT)
    of_stock = client.ib.reqPnLSingle(ACCOUNT, "", client.stock().conId)
    client.tws.show(SLV, 26.0)

    def told() -> list[float]:
        alone = (of_stock.dailyPnL, of_stock.unrealizedPnL, of_stock.realizedPnL)
        together = (of_account.dailyPnL, of_account.unrealizedPnL, of_account.realizedPnL)
        return [of_stock.position, of_stock.value, *alone, *together]

    def true() -> list[float]:
        (held,) = client.tws.ask(lambda venue: venue.positions(ACCOUNT))
        profits = (held.daily_pnl, held.unrealized_net, held.realized_today)
        return [float(each) for each in (held.quantity, held.market_value, *profits, *profits)]

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
    assert tws.position(SLV) == 0


def test_a_fill_that_came_while_nobody_was_connected_is_found(tws: ServedTws) -> None:
    with heard_without_complaint(), connected(tws) as first:
        placed = first.place(LimitOrder("BUY", 100, 24.5), until="Submitted")
        tws.show(SLV, 24.4)
    with heard_without_complaint(), connected(tws) as again:
        again.until(lambda: tws.position(SLV) == 100)
        (fill,) = [each for each in again.ib.reqExecutions() if each.execution.permId == placed.order.permId]
        assert (fill.execution.shares, fill.execution.orderId) == (100.0, placed.order.orderId)
        assert again.ib.openTrades() == []


# --- the example ----------------------------------------------------------------------------------


def test_the_example_of_the_readme_is_the_file_that_it_names() -> None:
    code = EXAMPLE.read_text(encoding="utf-8").split('"""\n\n', 1)[1]
    assert f"```python\n{code}```" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 10


def test_the_example_buys_and_prints_its_position(tws: ServedTws) -> None:
    done = program(EXAMPLE, str(tws.port))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["Filled at 25.01", f"{ACCOUNT} SLV 100.0 25.02"]
    assert tws.position(SLV) == 100
