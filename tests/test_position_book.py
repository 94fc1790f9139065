"""The book of positions: what it says is what the symbols' own events say, trade by trade and in total."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import events as vocabulary
from protocol.config import ConfigFaults, resolve
from protocol.events import (
    BaseEvent,
    CommissionEvent,
    FillEvent,
    ForeignFillEvent,
    PositionCloseEvent,
    PriceEvent,
)
from protocol.position_book import PositionBook
from protocol.position_record import (
    MAX_CHANGES,
    PositionRecord,
    optimal_stop,
    optimal_target,
    trailing_stop,
)
from protocol.position_status import STATUSES, PositionStatus
from protocol.position_summary import TradeResult, TradeSummary, summed_up
from protocol.reports import CommissionCharged, ExecutionReport
from protocol.rules.fact_names import STATES
from protocol.settings import StockFacts
from protocol.values import OrderStatus, Side, Symbol
from tests.directed_market import DirectedMarket
from tests.journals import fold
from tests.symbol_desk import SLV, TEN, Desk, ref
from tests.world import GLD, World, play, settings_for

STREAM = "symbol:SLV"
P = PositionStatus


def book_of(desk: Desk, facts: StockFacts | None = None, *, keep_closed: int = 1000) -> PositionBook:
    rows = [(STREAM, event) for event in desk.events]
    return PositionBook.of(rows, {} if facts is None else {SLV: facts}, keep_closed=keep_closed)


def live(book: PositionBook) -> PositionRecord:
    record = book.live(SLV)
    assert record is not None
    return record


def take_target(desk: Desk, trade: int = 1, price: str = "108", quantity: int = 100) -> None:
    """The target fills whole, the broker cancels the stop, and the trade concludes."""
    desk.fills(ref("target", trade), quantity, price)
    desk.told(ref("target", trade), OrderStatus.FILLED, quantity)
    desk.told(ref("stop", trade), OrderStatus.CANCELLED, 0)
    desk.wait(5.0)


# --- statuses -------------------------------------------------------------------------------------


def test_a_position_goes_through_its_states_in_order() -> None:
    desk = Desk.ready()
    seen: list[PositionStatus] = []

    def look() -> None:
        record = book_of(desk).get("SLV:000001")
        assert record is not None
        if not seen or seen[-1] is not record.status:
            seen.append(record.status)

    desk.signal("BUY")
    look()
    desk.bracket_taken()
    look()
    desk.fills(ref("main"), 60, "100")
    look()
    desk.fills(ref("main"), 40, "100")
    desk.told(ref("main"), OrderStatus.FILLED, 100)
    desk.wait(1.0)
    look()
    desk.told(ref("stop"))
    desk.told(ref("target"))
    look()
    desk.fills(ref("target"), 100, "108")
    look()
    desk.told(ref("target"), OrderStatus.FILLED, 100)
    desk.told(ref("stop"), OrderStatus.CANCELLED, 0)
    desk.wait(5.0)
    look()
    assert [status for status in seen if status is not P.ADJUSTING] == [
        P.PLANNED, P.OPENING, P.OPEN, P.CLOSING, P.CLOSED
    ]  # fmt: skip
    record = book_of(desk).closed()[0]
    assert [change.after for change in record.changes if change.what == "status"][-1] == "closed"


def test_every_status_has_its_meaning_and_the_events_that_lead_there_exist() -> None:
    assert set(STATUSES) == set(PositionStatus)
    assert all(meaning.meaning and meaning.led_by for meaning in STATUSES.values())
    assert [n for each in STATUSES.values() for n in each.led_by if not hasattr(vocabulary, n)] == []
    assert {status.value for status in PositionStatus} - {"closed"} == set(STATES) - {"flat"}


# --- one position ---------------------------------------------------------------------------------


def test_a_live_position_says_what_is_held_what_protects_it_and_what_it_is_worth() -> None:
    desk = Desk.ready().entered()
    book = book_of(desk, StockFacts("metals", 0.4, 20_000_000, Decimal(12_000_000_000)))
    record = live(book)
    assert (record.position_id, record.side, record.quantity, record.entered) == (
        "SLV:000001", Side.BUY, 100, 100
    )  # fmt: skip
    assert (record.average_entry, record.stop_price, record.target_price) == (
        Decimal(100), Decimal("97.00"), Decimal("108.00")
    )  # fmt: skip
    assert (record.rule, record.signal_id) == ("long", "s1")
    assert record.unrealized_pnl is None
    assert record.facts.sector == "metals"
    book.hear(PriceEvent(at=TEN, symbol=SLV, price=103.0))
    book.mark(SLV, Decimal(99))
    book.mark(SLV, Decimal("101.5"))
    record = live(book)
    assert (record.unrealized_pnl, record.best, record.worst, record.drawdown) == (
        Decimal(150), Decimal(3), Decimal(-1), Decimal("1.5")
    )  # fmt: skip
    assert record.is_long
    assert record.is_active
    assert record.duration_s(desk.at) == (desk.at - record.opened_at).total_seconds()


def test_a_stop_that_does_not_work_any_more_is_not_shown_as_if_it_did() -> None:
    desk = Desk.ready().entered()
    before = len(desk.events)
    desk.told(ref("stop"), OrderStatus.CANCELLED, 0)
    lost = PositionBook.of((STREAM, event) for event in desk.events[: before + 1])
    assert live(lost).stop_price is None
    assert live(book_of(desk)).stop_price == Decimal("97.00")


def test_a_short_position_is_in_profit_when_the_price_falls() -> None:
    book = book_of(Desk.ready().entered("SELL"))
    book.mark(SLV, Decimal(98))
    record = live(book)
    assert (record.quantity, record.unrealized_pnl) == (-100, Decimal(200))
    assert record.is_short
    assert record.stop_price is not None
    assert record.target_price is not None
    assert record.target_price < Decimal(100) < record.stop_price


def test_the_history_tells_when_what_became_what() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    desk.fills(ref("main"), 60, "100")
    desk.wait(1.0)
    desk.fills(ref("main"), 40, "101")
    record = live(book_of(desk))
    quantities = [(c.before, c.after) for c in record.changes if c.what == "quantity"]
    averages = [(c.before, c.after) for c in record.changes if c.what == "average_entry"]
    assert quantities == [("0", "60"), ("60", "100")]
    assert averages == [("", "100"), ("100", "100.4")]
    assert all(change.at >= record.opened_at for change in record.changes)


def test_the_history_of_a_position_has_a_limit() -> None:
    record = live(book_of(Desk.ready().entered()))
    for number in range(MAX_CHANGES + 10):
        record = record.changed(TEN, quantity=number)
    assert len(record.changes) == MAX_CHANGES
    assert record.changes[-1].after == str(MAX_CHANGES + 9)


def test_a_closed_position_keeps_what_it_made_and_why_it_ended() -> None:
    desk = Desk.ready().entered()
    take_target(desk)
    book = book_of(desk)
    (record,) = book.closed()
    assert (record.status, record.reason, record.quantity) == (P.CLOSED, "target", 0)
    assert record.realized_pnl == Decimal(800)
    assert record.closed_at is not None
    assert (record.target_price, record.stop_price) == (Decimal("108.00"), Decimal("97.00"))
    assert not book.has_open()
    assert book.get("SLV:000001") == record
    assert book.get("SLV:000002") is None
    assert book.get("GLD:000001") is None


def test_a_commission_that_comes_late_belongs_to_the_trade_of_its_execution() -> None:
    desk = Desk.ready().entered()
    take_target(desk)
    desk.wait(300.0)
    desk.signal("BUY", "s2")
    desk.say(CommissionCharged(desk.at, SLV, "x1.01", Decimal("1.25")))
    book = book_of(desk)
    assert book.closed()[0].commission == Decimal("1.25")
    assert live(book).commission == 0
    assert book.summary().commission == Decimal("1.25")
    assert book.summary().net_pnl == Decimal("798.75")


def test_what_somebody_else_trades_between_our_trades_is_nobodys() -> None:
    book = PositionBook()
    for side, price in ((Side.BUY, "10"), (Side.SELL, "11")):
        foreign = ForeignFillEvent(
            at=TEN, symbol=SLV, exec_id=f"f{price}.01", side=side, quantity=10, price=Decimal(price)
        )
        book.add(STREAM, foreign)
    assert book.outside == Decimal(10)
    assert book.summary() == TradeSummary()
    assert not book.has_open(SLV)


# --- many -----------------------------------------------------------------------------------------


def test_positions_are_found_by_id_by_symbol_and_by_being_open() -> None:
    def fill(symbol: Symbol) -> list[BaseEvent]:
        desk = Desk.ready().entered()
        return desk.events

    slv, gld = fill(SLV), fill(GLD)
    book = PositionBook.of([*((STREAM, e) for e in slv), *(("symbol:GLD", e) for e in gld)])
    assert [record.symbol for record in book.active()] == [GLD, SLV]
    assert book.symbols == (GLD, SLV)
    assert book.has_open()
    assert book.has_open(GLD)
    assert not book.has_open(Symbol("SPY"))
    assert book.of_symbol(GLD) == (book.get("GLD:000001"),)
    assert set(book.to_dict()["summary"]) == {"total", "GLD", "SLV"}


def test_older_positions_are_forgotten_but_not_what_they_made() -> None:
    desk = Desk.ready()
    for trade in (1, 2, 3):
        desk.signal("BUY", f"s{trade}")
        desk.bracket_taken()
        desk.fills(ref("main", trade), 100, "100")
        desk.told(ref("main", trade), OrderStatus.FILLED, 100)
        take_target(desk, trade)
        desk.wait(300.0)
    book = book_of(desk, keep_closed=2)
    assert [record.trade for record in book.closed()] == [2, 3]
    assert book.get("SLV:000001") is None
    assert book.summary().trades == 3
    assert book.summary(SLV).realized_pnl == Decimal(2400)


def test_an_entry_that_never_filled_is_closed_and_counts_for_nothing() -> None:
    desk = Desk.ready()
    desk.signal("BUY")
    desk.bracket_taken()
    for role in ("main", "stop", "target"):
        desk.told(ref(role), OrderStatus.CANCELLED, 0)
    desk.wait(5.0)
    book = book_of(desk)
    assert [record.reason for record in book.closed()] == ["not entered"]
    assert book.summary() == TradeSummary()


@given(st.lists(st.tuples(st.integers(-500, 500), st.integers(0, 20))))
def test_a_summary_adds_up(made: list[tuple[int, int]]) -> None:
    results = [TradeResult(SLV, n, TEN, Decimal(pnl), Decimal(fee)) for n, (pnl, fee) in enumerate(made)]
    summary = summed_up(results)
    assert summary.trades == len(made)
    assert summary.realized_pnl == sum(pnl for pnl, _ in made)
    assert summary.commission == sum(fee for _, fee in made)
    assert summary.winners == sum(pnl > 0 for pnl, _ in made)
    assert summary.losers == sum(pnl < 0 for pnl, _ in made)
    curve = [sum(pnl for pnl, _ in made[:n]) for n in range(len(made) + 1)]
    falls = [max(curve[: n + 1]) - reached for n, reached in enumerate(curve)]
    assert summary.max_drawdown == max(falls)
    if made:
        assert summary.expectancy == summary.realized_pnl / len(made)
        assert summary.win_rate == summary.winners / len(made)


def test_a_summary_in_figures() -> None:
    results = [TradeResult(SLV, n, TEN, Decimal(pnl), Decimal(1)) for n, pnl in enumerate((100, -50, 0, 20))]
    assert summed_up(results) == TradeSummary(
        trades=4, winners=2, losers=1, realized_pnl=Decimal(70), commission=Decimal(4), win_rate=0.5,
        average_win=Decimal(60), average_loss=Decimal(-50), profit_factor=2.4, largest_win=Decimal(100),
        largest_loss=Decimal(-50), expectancy=Decimal("17.5"), max_drawdown=Decimal(50),
    )  # fmt: skip


# --- beside the other owners of facts ------------------------------------------------------------------


def test_a_book_that_follows_a_run_agrees_with_the_journal_and_with_the_owners() -> None:
    book = PositionBook()

    async def story(world: World) -> None:
        world.journal.follow(book.follow)
        for symbol, price in ((SLV, 110.0), (GLD, 190.0)):
            await world.enter(symbol)
            await world.show(symbol, price)
        await world.enter(SLV, "SELL") if world.position(SLV) else None
        await world.settle()
        for record in book.active():
            assert record.quantity == world.state(record.symbol).position.quantity
        told = {event.symbol: event for event in world.events(PositionCloseEvent)}
        for record in book.closed():
            assert record.realized_pnl == told[record.symbol].realized_pnl
            assert record.best == told[record.symbol].best_pnl
        whole = fold(tuple(world.system.symbols), world.rows())
        for each in whole.symbols:
            records = book.of_symbol(each.symbol)
            assert sum(r.realized_pnl for r in records) == each.books.realized_pnl
            assert sum(r.commission for r in records) == each.books.commission
        assert PositionBook.of(world.rows()).closed() == book.closed()

    play(story, DirectedMarket({SLV: 100.0, GLD: 200.0}), settings_for(SLV, GLD))


WORDS = ("main", "target", "stop", "out", "out", "fee", "correct", "foreign", "signal", "wait")
STEPS = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(1, 100), st.integers(90, 110)), max_size=25)


@given(STEPS)
@settings(max_examples=60, deadline=None)
@pytest.mark.slow
def test_whatever_happens_the_money_of_all_positions_is_that_of_the_executions(
    steps: list[tuple[str, int, int]],
) -> None:
    desk = Desk.ready().entered() if len(steps) % 2 else Desk.ready()
    executions: list[ExecutionReport] = []
    for number, (step, shares, price) in enumerate(steps):
        trade = desk.state.trade
        match step:
            case "signal":
                desk.signal("BUY" if shares % 2 else "SELL", f"s{number}")
            case "wait":
                desk.wait(shares * 5.0)
            case "foreign":
                executions.append(desk.execution(None, Side.BUY, shares, str(price), f"f{number}.01"))
                desk.say(executions[-1])
            case "fee" if executions:
                exec_id = executions[shares % len(executions)].exec_id
                desk.say(CommissionCharged(desk.at, SLV, exec_id, Decimal(price)))
            case "correct" if executions:
                again = executions[shares % len(executions)]
                root = again.exec_id.rpartition(".")[0]
                desk.say(attrs.evolve(again, exec_id=f"{root}.{number + 2:02}", price=Decimal(price)))
            case "out":
                # An exit fills whole, and the broker cancels everything else.
                for each in () if trade is None else trade.orders:
                    if each.role == "target" and each.live and each.remaining:
                        side, rest = each.spec.side, each.remaining
                        executions.append(desk.execution(each.ref, side, rest, str(price)))
                        desk.say(executions[-1])
                    elif each.live:
                        desk.told(each.ref, OrderStatus.CANCELLED, each.filled)
                desk.wait(200.0)
            case "main" | "target" | "stop":
                order = None if trade is None else trade.latest(step)
                if order is not None and order.live and order.remaining:
                    side, ref_ = order.spec.side, order.ref
                    part = min(shares, order.remaining)
                    executions.append(desk.execution(ref_, side, part, str(price)))
                    desk.say(executions[-1])
            case _:
                pass
    book = book_of(desk)
    position = desk.state.position
    records = book.of_symbol(SLV)
    made = sum((record.realized_pnl for record in records), book.outside)
    # Averages are not rounded: their last digit is the 28th.
    assert made.quantize(Decimal("1e-9")) == position.realized_pnl.quantize(Decimal("1e-9"))
    alive = book.live(SLV)
    open_pnl = Decimal(0) if alive is None else alive.realized_pnl
    summed = book.summary().realized_pnl + open_pnl + book.outside
    assert summed.quantize(Decimal("1e-9")) == made.quantize(Decimal("1e-9"))
    told = sum(record.commission for record in records) + book.outside_commission
    assert told == position.commission
    assert (alive is not None) == (desk.state.trade is not None)
    assert alive is None or alive.quantity == position.quantity


def test_only_what_a_symbol_wrote_moves_its_position() -> None:
    book = PositionBook()
    fill = FillEvent(at=TEN, ref=ref("main"), exec_id="x.01", side=Side.BUY, quantity=10, price=Decimal(100))
    for stream in ("broker", "signals", "user", "system"):
        book.add(stream, fill)
    assert book.symbols == ()
    book.add(STREAM, CommissionEvent(at=TEN, symbol=SLV, exec_id="x.01", commission=Decimal(1)))
    assert not book.has_open()


def test_a_snapshot_is_plain_json() -> None:
    desk = Desk.ready().entered()
    take_target(desk)
    desk.wait(300.0)
    desk.signal("BUY", "s2")
    book = book_of(desk)
    written = orjson.loads(orjson.dumps(book.to_dict()))
    assert written["active"][0]["position_id"] == "SLV:000002"
    assert written["summary"]["total"]["realized_pnl"] == "800"
    assert orjson.loads(orjson.dumps(book.closed()[0].to_dict()))["changes"]


# --- prices -----------------------------------------------------------------------------------------


def test_stops_and_targets_lie_on_their_sides_for_long_and_short() -> None:
    average = Decimal(100)
    assert optimal_stop(Side.BUY, average, 1.5) == Decimal("97.00")
    assert optimal_stop(Side.SELL, average, 1.5) == Decimal("103.00")
    assert optimal_stop(Side.BUY, average, 0.3333, 6.0) == Decimal("98.00")
    assert optimal_target(Side.BUY, average, Decimal(97)) == Decimal("106.00")
    assert optimal_target(Side.SELL, average, Decimal(103), 3.0) == Decimal("91.00")
    assert trailing_stop(Side.BUY, Decimal(110)) == Decimal("106.70")
    assert trailing_stop(Side.SELL, Decimal(90), 0.1) == Decimal("99.00")
    with pytest.raises(ValueError, match="loses nothing"):
        optimal_target(Side.BUY, average, Decimal(101))


def test_a_position_knows_its_own_best_exits() -> None:
    record = live(book_of(Desk.ready().entered()))
    assert record.optimal_stop(1.5) == Decimal("97.00")
    assert record.optimal_target() == Decimal("106.00")
    assert record.trailing_stop(Decimal(110)) == Decimal("106.70")
    moved = record.changed(TEN + timedelta(1), stop_price=Decimal(101))
    assert moved.optimal_target() is None


# --- what is known of a stock -----------------------------------------------------------------------


def test_facts_of_a_stock_are_read_from_the_configuration() -> None:
    entry = {
        "symbol": "SLV", "shares": 10, "sector": "metals", "beta": 0.4, "average_volume": 20_000_000,
        "market_cap": 12_000_000_000,
    }  # fmt: skip
    chosen = resolve([{"symbols": [entry, {"symbol": "GLD"}]}])
    assert chosen.symbols[0].facts == StockFacts("metals", 0.4, 20_000_000, Decimal(12_000_000_000))
    assert chosen.symbols[1].facts == StockFacts()


def test_wrong_facts_of_a_stock_are_refused_with_their_place() -> None:
    with pytest.raises(ConfigFaults) as refused:
        resolve([{"symbols": [{"symbol": "SLV", "market_cap": -1, "average_volume": 0.5, "sektor": "x"}]}])
    assert [fault.split(":")[0] for fault in refused.value.faults] == [
        "symbols[0].market_cap", "symbols[0].average_volume", "symbols[0].sektor"
    ]  # fmt: skip
