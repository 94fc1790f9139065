"""Single ticks, bars of five seconds and the book, as the simulated TWS tells them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.exchange.happenings import MarketTick
from protocol.exchange.tws_depth import DepthStream, book_side
from protocol.exchange.tws_market_settings import MarketSettings
from protocol.exchange.tws_quotes import Quote
from protocol.exchange.tws_settings import TwsSettings
from protocol.tws import messages as m
from tests.market_faces import OPTION, PAIR, STOCK, RunningFace
from tests.tws_faces import NOW, SLV, Face, said

EPOCH = int(NOW.timestamp())


def open_face() -> Face:
    face = Face()
    face.connect()
    face.quote(25.0, 25.02, size=300)
    face.trade(25.01, size=50)
    return face


# --- single ticks -----------------------------------------------------------------------------------


def test_each_trade_comes_by_itself() -> None:
    face = open_face()
    for req_id, kind in ((5, "Last"), (6, "AllLast")):
        assert face.ask(m.ReqTickByTick(req_id, SLV, kind, 0, False)) == []
    trade = m.TickByTick(req_id=5, tick_type=1, epoch_s=EPOCH, price=25.02, size=Decimal(70), exchange="IEX")
    assert face.trade(25.02, size=70) == [trade, attrs.evolve(trade, req_id=6, tick_type=2)]
    assert face.quote(25.01, 25.03) == []


def test_each_change_of_the_quote_comes_by_itself() -> None:
    face = open_face()
    face.ask(m.ReqTickByTick(5, SLV, "BidAsk", 0, False))
    face.ask(m.ReqTickByTick(6, SLV, "BidAsk", 0, True))
    face.ask(m.ReqTickByTick(7, SLV, "MidPoint", 0, False))
    quote = m.TickByTick(
        req_id=5,
        tick_type=3,
        epoch_s=EPOCH,
        bid=25.01,
        ask=25.03,
        bid_size=Decimal(200),
        ask_size=Decimal(200),
    )
    assert face.quote(25.01, 25.03, size=200) == [
        quote,
        attrs.evolve(quote, req_id=6),
        m.TickByTick(req_id=7, tick_type=4, epoch_s=EPOCH, mid=25.02),
    ]
    assert face.quote(25.01, 25.03, size=400) == [
        attrs.evolve(quote, bid_size=Decimal(400), ask_size=Decimal(400))
    ]
    assert face.trade(25.02) == []


def test_single_ticks_can_begin_in_the_past() -> None:
    face = RunningFace()
    face.ask(m.ReqMktData(1, STOCK))
    ticks = [one for one in face.run(20) if isinstance(one, m.TickPrice) and one.tick_type == 4]
    (past,) = face.ask(m.ReqTickByTick(5, STOCK, "Last", 10, False))
    assert isinstance(past, m.HistoricalTicksLast)
    assert past.done
    assert [tick.price for tick in past.ticks] == [tick.price for tick in ticks][-10:]


def test_single_ticks_have_a_limit_a_type_and_an_id() -> None:
    face = Face(TwsSettings(market=MarketSettings(max_tick_by_tick=2)))
    face.connect()
    for req_id in (1, 2):
        face.ask(m.ReqTickByTick(req_id, SLV, "Last", 0, False))
    assert said(face.ask(m.ReqTickByTick(3, SLV, "Last", 0, False))) == ["error 3 10190"]
    assert said(face.ask(m.ReqTickByTick(2, SLV, "Last", 0, False))) == ["error 2 322"]
    assert said(face.ask(m.ReqTickByTick(4, SLV, "First", 0, False))) == ["error 4 321"]
    assert said(face.ask(m.ReqTickByTick(4, SLV, "Last", 5000, False))) == ["error 4 321"]
    assert face.ask(m.CancelTickByTick(1)) == []
    assert said(face.ask(m.CancelTickByTick(1))) == ["error 1 300"]
    assert said(RunningFace().ask(m.ReqTickByTick(5, PAIR, "Last", 0, False))) == ["error 5 321"]


# --- five seconds -----------------------------------------------------------------------------------


def bars_by_hand(ticks: Iterable[MarketTick], first_s: int, last_s: int) -> list[tuple[object, ...]]:
    """Start, open, high, low, close, volume, count of each five seconds."""
    found: list[tuple[object, ...]] = []
    traded = [tick for tick in ticks if tick.last is not None]
    for start in range(first_s, last_s, 5):
        inside = [tick for tick in traded if start <= tick.at.timestamp() < start + 5]
        prices = [tick.last for tick in inside if tick.last is not None]
        volume = sum(tick.last_size or 0 for tick in inside)
        found.append((start, prices[0], max(prices), min(prices), prices[-1], volume, len(inside)))
    return found


def test_five_seconds_of_trades_are_what_traded_in_them() -> None:
    face = RunningFace()
    face.ask(m.ReqMktData(1, STOCK))
    face.run(1.5)
    face.ask(m.ReqRealTimeBars(5, STOCK, 5, "TRADES", True))
    begin = int(face.now.timestamp())
    ticks: list[MarketTick] = []
    for tick in face.market.ticks(face.now):
        if tick.at > face.now + timedelta(seconds=30):
            break
        ticks.append(tick)
    bars = [one for one in face.run(30) if isinstance(one, m.RealTimeBar)]
    first = -(-begin // 5) * 5
    told = [(bar.epoch_s, bar.open, bar.high, bar.low, bar.close, int(bar.volume), bar.count) for bar in bars]
    assert told == bars_by_hand(ticks, first, bars[-1].epoch_s + 5)
    assert len(bars) == 5


def test_five_seconds_without_a_trade_are_flat() -> None:
    face = open_face()
    face.ask(m.ReqRealTimeBars(5, SLV, 5, "TRADES", True))
    face.ask(m.ReqRealTimeBars(6, SLV, 5, "BID", True))
    heard = face.pass_time(5)
    price = 25.01
    assert heard == [
        m.RealTimeBar(5, EPOCH, price, price, price, price, Decimal(0), price, 0),
        m.RealTimeBar(6, EPOCH, 25.0, 25.0, 25.0, 25.0, Decimal(-1), -1.0, -1),
    ]
    assert face.ask(m.CancelRealTimeBars(5)) == []
    assert said(face.pass_time(5)) == ["RealTimeBar"]
    assert said(face.ask(m.CancelRealTimeBars(5))) == ["error 5 366"]


def test_no_bars_are_made_while_the_market_is_closed() -> None:
    face = open_face()
    face.ask(m.ReqRealTimeBars(5, SLV, 5, "MIDPOINT", True))
    assert len(face.pass_time(6 * 3600)) == 6 * 720  # the exchange closes at four
    assert face.pass_time(600) == []


def test_bars_of_five_seconds_are_of_four_prices() -> None:
    face = open_face()
    assert said(face.ask(m.ReqRealTimeBars(5, SLV, 5, "BID_ASK", True))) == ["error 5 321"]
    face.ask(m.ReqRealTimeBars(5, SLV, 5, "ASK", True))
    assert said(face.ask(m.ReqRealTimeBars(5, SLV, 5, "ASK", True))) == ["error 5 322"]
    assert said(RunningFace().ask(m.ReqRealTimeBars(5, PAIR, 5, "TRADES", True))) == ["error 5 321"]


# --- depth ------------------------------------------------------------------------------------------


def test_the_book_begins_whole_and_then_tells_its_changes() -> None:
    face = open_face()
    assert face.ask(m.ReqMarketDepth(5, SLV, 2, False)) == [
        m.MarketDepth(5, 0, 0, 1, 25.0, Decimal(300)),
        m.MarketDepth(5, 1, 0, 1, 24.99, Decimal(270)),
        m.MarketDepth(5, 0, 0, 0, 25.02, Decimal(300)),
        m.MarketDepth(5, 1, 0, 0, 25.03, Decimal(270)),
    ]
    assert face.quote(25.0, 25.03, size=300) == [
        m.MarketDepth(5, 0, 1, 0, 25.03, Decimal(300)),
        m.MarketDepth(5, 1, 1, 0, 25.04, Decimal(270)),
    ]
    assert face.ask(m.CancelMarketDepth(5, False)) == []
    assert face.quote(25.0, 25.05) == []
    assert said(face.ask(m.CancelMarketDepth(5, False))) == ["error 5 310"]


def test_smart_depth_names_the_exchange_of_each_row() -> None:
    face = open_face()
    rows = face.ask(m.ReqMarketDepth(5, SLV, 3, True))
    assert [(row.market_maker, row.is_smart_depth) for row in rows if isinstance(row, m.MarketDepthL2)] == [
        ("NSDQ", True),
        ("ARCA", True),
        ("BATS", True),
    ] * 2


def test_a_side_that_is_gone_is_deleted_from_the_bottom() -> None:
    face = open_face()
    face.ask(m.ReqMarketDepth(5, SLV, 3, False))
    face.server.tick(MarketTick(face.now, "SLV", 0.0, 0))
    deleted = [
        (row.position, row.operation, row.side) for row in face.heard() if isinstance(row, m.MarketDepth)
    ]
    assert deleted == [(2, 2, 1), (1, 2, 1), (0, 2, 1)]


def test_three_books_are_enough_and_options_have_none() -> None:
    face = open_face()
    for req_id in (1, 2, 3):
        face.ask(m.ReqMarketDepth(req_id, SLV, 5, False))
    assert said(face.ask(m.ReqMarketDepth(4, SLV, 5, False))) == ["error 4 309"]
    assert said(face.ask(m.ReqMarketDepth(3, SLV, 5, False))) == ["error 3 322"]
    assert said(face.ask(m.ReqMarketDepth(4, SLV, 0, False))) == ["error 4 321"]
    assert said(RunningFace().ask(m.ReqMarketDepth(5, OPTION, 5, False))) == ["error 5 10092"]


prices = st.integers(0, 400).map(lambda cents: cents / 100)
quotes = st.tuples(prices, st.integers(0, 900), st.integers(1, 40).map(lambda cents: cents / 100))


@settings(deadline=None)
@given(st.lists(quotes, min_size=1, max_size=20), st.integers(1, 12))
def test_who_follows_every_change_has_the_book_that_the_quote_has(
    moves: list[tuple[float, int, float]], rows: int
) -> None:
    stream, quote = DepthStream(5, "SLV", 26, rows, smart=False), Quote()
    built: dict[int, list[tuple[float, int]]] = {0: [], 1: []}
    for bid, size, spread in moves:
        tick = MarketTick(NOW, "SLV", bid, size, round(bid + spread, 2), size)
        quote.absorb(tick)
        for row in stream.take(quote, tick):
            assert isinstance(row, m.MarketDepth)
            side = built[row.side]
            match row.operation:
                case 0:
                    side.insert(row.position, (row.price, int(row.size)))
                case 1:
                    side[row.position] = (row.price, int(row.size))
                case _:
                    del side[row.position]
        for number, (price, shown) in enumerate(((quote.ask, quote.ask_size), (quote.bid, quote.bid_size))):
            assert tuple(built[number]) == book_side(price, shown, 26, rows, bids=number == 1)
        sizes = [shares for _, shares in built[1]]
        assert sizes == sorted(sizes, reverse=True)
