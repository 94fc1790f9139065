"""ib_async, unchanged, is shown the market of the simulated TWS: quotes, bars, ticks, depth, contracts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from ib_async import BarData, Option, Stock

from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_settings import TwsSettings
from protocol.values import Bar
from tests.clients import ServedTws, serving
from tests.ib_async_desk import Client, connected, heard_without_complaint, on_stage
from tests.world import SLV

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


# --- the market -----------------------------------------------------------------------------------


def test_quotes_are_those_of_the_market_and_follow_it(client: Client) -> None:
    ticker = client.ib.reqMktData(client.stock())
    client.until(lambda: (ticker.bid, ticker.ask, ticker.last) == (24.99, 25.01, 25.0))
    assert (ticker.bidSize, ticker.askSize, ticker.minTick) == (5000.0, 5000.0, 0.01)
    client.tws.show(SLV, 25.5, size=300)
    client.until(lambda: (ticker.bid, ticker.ask, ticker.last) == (25.49, 25.51, 25.5))
    client.until(lambda: (ticker.bidSize, ticker.askSize) == (300.0, 300.0))
    assert client.ib.cancelMktData(client.stock())


def test_a_snapshot_of_several_stocks(client: Client) -> None:
    tickers = client.ib.reqTickers(client.stock("SLV"), client.stock("GLD"))
    assert [(each.bid, each.ask) for each in tickers] == [(24.99, 25.01), (189.99, 190.01)]


def ohlc(bar: BarData | Bar) -> tuple[float, float, float, float]:
    return bar.open, bar.high, bar.low, bar.close


@contextmanager
def history(settings: TwsSettings | None = None) -> Iterator[tuple[Client, SyntheticMarket]]:
    """A market with a past; a minute lasts a quarter of a second."""
    market = SyntheticMarket(3, symbols=("SLV",))
    with (
        serving(market, speed=240.0, settings=settings) as tws,
        heard_without_complaint(),
        connected(tws) as client,
    ):
        yield client, market


def test_historical_bars_are_those_of_the_market() -> None:
    with history() as (client, market):
        end = datetime(2025, 1, 22, 21, 0, tzinfo=UTC)
        bars = client.ib.reqHistoricalData(client.stock(), end, "1 D", "5 mins", "TRADES", useRTH=True)
        truth = market.history("SLV", 300, end, 78)
        assert [ohlc(bar) for bar in bars] == [ohlc(bar) for bar in truth]
        assert [bar.date for bar in bars] == [bar.start for bar in truth]
        days = client.ib.reqHistoricalData(client.stock(), end, "3 D", "1 day", "TRADES", useRTH=True)
        assert [str(day.date) for day in days] == ["2025-01-17", "2025-01-21", "2025-01-22"]
        assert (days[-1].open, days[-1].close) == (bars[0].open, bars[-1].close)


def test_past_ticks_follow_one_another_and_lie_within_their_bar() -> None:
    with history() as (client, market):
        ticks = client.ib.reqHistoricalTicks(
            client.stock(), "20250122 10:00:00 US/Eastern", "", 50, "TRADES", useRth=True
        )
        (bar,) = market.history("SLV", 60, datetime(2025, 1, 22, 15, 1, tzinfo=UTC), 1)
        assert len(ticks) >= 50
        assert [tick.time for tick in ticks] == sorted(tick.time for tick in ticks)
        within = [tick.price for tick in ticks if tick.time < bar.start + timedelta(minutes=1)]
        assert bar.low <= min(within) <= max(within) <= bar.high


def test_the_head_timestamp_comes_before_the_bars() -> None:
    with history() as (client, _):
        found = client.ib.reqHeadTimeStamp(client.stock(), "TRADES", useRTH=True, formatDate=2)
        assert found < datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("forming", [True, False])
def test_bars_are_kept_up_to_date(forming: bool) -> None:
    with history(TwsSettings(market=MarketSettings(forming_bars=forming))) as (client, market):
        bars = client.ib.reqHistoricalData(
            client.stock(), "", "600 S", "1 min", "TRADES", useRTH=True, keepUpToDate=True
        )
        new: list[bool] = []
        bars.updateEvent += lambda _, has_new: new.append(has_new)
        client.until(lambda: sum(new) >= 2)
        client.ib.cancelHistoricalData(bars)
        # The last is still being made.
        done = bars[-2]
        assert isinstance(done.date, datetime)
        (truth,) = market.history("SLV", 60, done.date + timedelta(minutes=1), 1)
        assert ohlc(done) == ohlc(truth)
        assert (False in new) == forming


def test_five_second_bars_come_every_five_seconds(client: Client) -> None:
    bars = client.ib.reqRealTimeBars(client.stock(), 5, "TRADES", useRTH=True)
    client.until(lambda: len(bars) >= 3)
    assert {later.time - bar.time for bar, later in pairwise(bars)} == {timedelta(seconds=5)}
    assert {(bar.open_, bar.high, bar.low, bar.close) for bar in bars} == {(25.0, 25.0, 25.0, 25.0)}
    client.ib.cancelRealTimeBars(bars)


@pytest.mark.parametrize("kind", ["Last", "AllLast", "BidAsk", "MidPoint"])
def test_single_ticks(client: Client, kind: str) -> None:
    found: list[object] = []
    ticker = client.ib.reqTickByTickData(client.stock(), kind)
    ticker.updateEvent += lambda each: found.extend(each.tickByTicks)
    client.tws.show(SLV, 25.25)
    shown = {"BidAsk": (25.24, 25.26), "MidPoint": (25.25,)}.get(kind, (25.25, 5000.0))
    names = {"BidAsk": ("bidPrice", "askPrice"), "MidPoint": ("midPoint",)}.get(kind, ("price", "size"))
    client.until(lambda: shown in [tuple(getattr(tick, name) for name in names) for tick in found])
    client.ib.cancelTickByTickData(client.stock(), kind)


def test_the_depth_of_the_market_begins_at_the_quote(client: Client) -> None:
    ticker = client.ib.reqMktDepth(client.stock(), numRows=5, isSmartDepth=True)
    client.until(lambda: ticker.domBids and ticker.domAsks)
    assert (ticker.domBids[0].price, ticker.domAsks[0].price) == (24.99, 25.01)
    client.tws.show(SLV, 25.5)
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
    assert ("SLV", "STK") in [
        (each.contract.symbol, each.contract.secType) for each in found if each.contract
    ]
