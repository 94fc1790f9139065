"""The small parts of the session: ticks, bars, contracts, translations, latencies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.commands import AskHistory
from protocol.reports import HistoryLoaded
from protocol.session_contracts import Contracts, grid_of
from protocol.session_history import BAR_SIZES, LIMIT, LIMIT_LOOP_S, History, duration
from protocol.session_latency import Latencies
from protocol.session_market_data import Lines, TickMessage
from protocol.session_translation import STATUS, order_type, price_fields, report_of_order, root_of, to_tws
from protocol.session_words import Outbox
from protocol.tws import messages as tws
from protocol.values import (
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    PriceGrid,
    Side,
    Symbol,
    TickKind,
    TimeInForce,
)

SLV, GLD = Symbol("SLV"), Symbol("GLD")
AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)


def outbox(loop_s: float = 0.0) -> Outbox:
    return Outbox(AT, loop_s)


# --- ticks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("price", [-1.0, 0.0, float("nan"), float("inf")])
def test_a_price_that_is_none_makes_no_tick(price: float) -> None:
    lines = Lines()
    lines.open(1, SLV)
    assert lines.tick(tws.TickPrice(1, 1, price, Decimal(0)), AT) is None


def test_a_size_before_any_price_makes_no_tick() -> None:
    lines = Lines()
    lines.open(1, SLV)
    assert lines.tick(tws.TickSize(1, 0, Decimal(5)), AT) is None


def test_a_halt_and_its_end_are_ticks_and_an_unknown_state_is_none() -> None:
    lines = Lines()
    lines.open(1, SLV)
    ticks = [lines.tick(tws.TickGeneric(1, 49, value), AT) for value in (2.0, 0.0, -1.0)]
    assert [None if tick is None else (tick.kind, tick.price) for tick in ticks] == [
        (TickKind.HALTED, 1.0), (TickKind.HALTED, 0.0), None
    ]  # fmt: skip


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([(1, 0), (2, 3), (4, 5)]), st.integers(1, 5), st.booleans()), max_size=30
    )
)
def test_every_trade_is_one_tick_with_its_size_whether_its_price_moved_or_not(
    words: list[tuple[tuple[int, int], int, bool]],
) -> None:
    """TWS says a price with its size, then the size again; a size alone is a change at the same price."""
    lines = Lines()
    lines.open(1, SLV)
    said, heard, priced = [], [], set()
    for (price_type, size_type), size, moved in words:
        messages: list[TickMessage]
        if moved or price_type not in priced:
            messages = [
                tws.TickPrice(1, price_type, 30.0, Decimal(size)),
                tws.TickSize(1, size_type, Decimal(size)),
            ]
            priced.add(price_type)
        else:
            messages = [tws.TickSize(1, size_type, Decimal(size))]
        said.append((price_type, size))
        for message in messages:
            tick = lines.tick(message, AT)
            if tick is not None:
                kinds = {TickKind.BID: 1, TickKind.ASK: 2, TickKind.LAST: 4}
                heard.append((kinds[tick.kind], int(tick.size)))
    assert heard == said


# --- history --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bar_s", "count", "words"),
    [
        (1, 10, "11 S"),
        (5, 1000, "3600 S"),
        (30, 100, "3030 S"),
        (60, 14, "2 D"),
        (60, 390, "2 D"),
        (60, 400, "3 D"),
        (3600, 14, "4 D"),
        (86_400, 14, "15 D"),
        (86_400, 400, "2 Y"),
    ],
)
def test_the_span_asked_for_holds_the_bars_wanted_where_tws_allows_it(
    bar_s: int, count: int, words: str
) -> None:
    assert duration(bar_s, count) == words


def test_requests_for_history_stay_below_the_limit_of_tws() -> None:
    history, ids = History(), iter(range(1, 1000))
    symbols = [Symbol(f"S{number}") for number in range(100)]
    for symbol in symbols:
        history.ask(AskHistory(symbol, 1, 60, 10), outbox())
    first, second = outbox(1.0), outbox(1.0 + LIMIT_LOOP_S)
    for out in (first, outbox(2.0), second):
        history.send(lambda symbol: tws.Contract(symbol=symbol), lambda: next(ids), out)
        if out is first:
            assert history.due() == pytest.approx(31.0)
    assert (len(first.sends), len(second.sends)) == (LIMIT, 100 - LIMIT)


def test_an_ask_without_an_answer_ends_empty() -> None:
    history, ids = History(), iter(range(1, 1000))
    history.ask(AskHistory(SLV, 1, 60, 10), outbox())
    history.send(lambda symbol: tws.Contract(symbol=symbol), lambda: next(ids), outbox())
    early, late = outbox(29.0), outbox(30.0)
    history.expire(early)
    history.expire(late)
    assert (early.deliveries, late.deliveries) == ([], [(SLV, HistoryLoaded(AT, SLV, 60, ()))])
    assert history.due() is None


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("1737640800", datetime(2025, 1, 23, 14, 0, tzinfo=UTC)),
        ("20250122", datetime(2025, 1, 22, 5, 0, tzinfo=UTC)),
        ("20250122  09:30:00", datetime(2025, 1, 22, 14, 30, tzinfo=UTC)),
        ("20250122 09:30:00 US/Eastern", datetime(2025, 1, 22, 14, 30, tzinfo=UTC)),
        ("20250122 14:30:00 UTC", datetime(2025, 1, 22, 14, 30, tzinfo=UTC)),
        ("nonsense", None),
    ],
)
def test_the_date_of_a_bar_is_read_in_every_form_that_tws_writes(text: str, start: datetime | None) -> None:
    history, out = History(), outbox()
    history.ask(AskHistory(SLV, 1, 60, 10), out)
    history.send(lambda symbol: tws.Contract(symbol=symbol), lambda: 1, out)
    bar = tws.HistoricalBar(date=text, open=1, high=1, low=1, close=1, volume=Decimal(1), wap=1, count=1)
    history.loaded(tws.HistoricalData(1, "", "", (bar,)), out)
    (_, loaded), = out.deliveries  # fmt: skip
    assert isinstance(loaded, HistoryLoaded)
    assert [each.start for each in loaded.bars] == ([] if start is None else [start])


def test_every_bar_size_has_a_name_of_its_own() -> None:
    assert len(set(BAR_SIZES.values())) == len(BAR_SIZES)


# --- contracts ------------------------------------------------------------------------------------


def test_the_rule_of_smart_makes_the_grid() -> None:
    contracts, out = Contracts([SLV]), outbox()
    contracts.ask(lambda: 5, out)
    contract = tws.Contract(con_id=11, symbol="SLV", sec_type="STK", exchange="SMART", currency="USD")
    details = tws.ContractDetails(contract=contract, valid_exchanges="NYSE,SMART", market_rule_ids="1,557")
    foreign = attrs.evolve(details, contract=attrs.evolve(contract, con_id=12, currency="EUR"))
    contracts.data(tws.ContractData(5, details))
    contracts.data(tws.ContractData(5, foreign))
    assert contracts.end(tws.ContractDataEnd(5), out) is None
    assert out.sends[-1].requests == (tws.ReqMarketRule(557),)
    assert contracts.rule(tws.MarketRule(557, ((0.0, 0.0001), (1.0, 0.01)))) == (SLV,)
    assert contracts.qualified[SLV].contract.con_id == 11
    assert contracts.qualified[SLV].grid == PriceGrid(
        ((Decimal(0), Decimal("0.0001")), (Decimal("1.0"), Decimal("0.01")))
    )


def test_a_rule_without_steps_is_no_grid() -> None:
    assert grid_of(()) is None
    assert grid_of(((0.0, 0.0),)) is None


def test_giving_up_keeps_whoever_has_a_contract_and_leaves_out_the_others() -> None:
    contracts, ids = Contracts([SLV, GLD]), iter((1, 2))
    out = outbox()
    contracts.ask(lambda: next(ids), out)
    contract = tws.Contract(con_id=11, symbol="SLV", sec_type="STK", currency="USD")
    details = tws.ContractDetails(contract=contract, market_rule_ids="26", min_tick=0.05)
    contracts.data(tws.ContractData(1, details))
    contracts.end(tws.ContractDataEnd(1), out)
    assert set(contracts.give_up()) == {SLV, GLD}
    assert contracts.qualified[SLV].grid == PriceGrid.of(Decimal("0.05"))
    assert contracts.left_out == {GLD: "TWS did not answer who it is"}
    assert contracts.complete


# --- words ----------------------------------------------------------------------------------------


def test_every_status_word_of_tws_has_its_meaning() -> None:
    words = (
        "ApiPending PendingSubmit PendingCancel PreSubmitted Submitted ApiCancelled Cancelled Filled Inactive"
    )
    assert set(words.split()) <= set(STATUS)
    assert STATUS["PreSubmitted"] is STATUS["ApiPending"] is OrderStatus.ACCEPTED
    assert STATUS["ApiCancelled"] is OrderStatus.CANCELLED


def test_prices_that_a_type_has_not_are_not_read() -> None:
    assert price_fields(OrderType.STOP, 29.13, 29.1) == (None, Decimal("29.1"))
    assert price_fields(OrderType.LIMIT, 30.0, 0.0) == (Decimal("30.0"), None)
    assert price_fields(OrderType.MARKET, 0.0, 0.0) == (None, None)
    assert order_type("STPLMT") is OrderType.STOP_LIMIT
    assert order_type("TRAIL") is OrderType.TRAILING
    assert price_fields(OrderType.TRAILING, None, 0.5) == (None, None), "what it holds there is an amount"
    assert order_type("TRAIL LIMIT") is None


def test_a_time_limit_is_written_as_tws_reads_it() -> None:
    spec = OrderSpec(
        OrderRef("a7", SLV, 1, "main"), Side.BUY, 5, OrderType.LIMIT, TimeInForce.GTD, Decimal("30.10"),
        good_till=AT + timedelta(seconds=30),
    )  # fmt: skip
    order = to_tws(spec, "DU1", 0, transmit=True)
    assert (order.good_till_date, order.lmt_price, order.aux_price) == ("20250123 15:00:30 UTC", 30.1, None)


def test_an_order_of_a_type_that_we_do_not_know_makes_no_report() -> None:
    order = tws.Order(action="BUY", order_type="REL", order_ref="a7:SLV:000001:main:r0")
    message = tws.OpenOrder(1, tws.Contract(), order, tws.OrderState(status="Submitted"))
    assert report_of_order(message, OrderRef("a7", SLV, 1, "main"), AT) is None


def test_a_correction_has_the_root_of_what_it_corrects() -> None:
    assert root_of("0000e0d5.69dd7411.01.02") == ("0000e0d5.69dd7411.01", "02")


# --- latencies ------------------------------------------------------------------------------------


def test_without_a_duration_there_is_no_percentile() -> None:
    assert Latencies().percentile(0.5) is None


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_right_within_a_tenth(durations: list[float], fraction: float) -> None:
    latencies = Latencies()
    for each in durations:
        latencies.add(each)
    ranked = sorted(durations)
    exact = next(value for at, value in enumerate(ranked, 1) if at >= fraction * len(ranked) - 1e-9)
    found = latencies.percentile(fraction)
    assert found is not None
    assert exact * 0.999 <= found <= exact * 1.1
    assert latencies.count == len(durations)
