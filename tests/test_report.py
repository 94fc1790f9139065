"""The report: folded from the journal and set beside the broker's books."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.books import (
    JournalBooks,
    JournalFold,
    OrderCounts,
    SignalCounts,
    SymbolBooks,
    execution_root,
)
from protocol.events import (
    ActorExitedEvent,
    ActorStartedEvent,
    BaseEvent,
    ForeignFillEvent,
    PositionOpenEvent,
    RejectEvent,
    Verdict,
)
from protocol.journal_checks import Invariants, Violation
from protocol.report import (
    BrokerBooks,
    Kill,
    MailboxCounts,
    Percentiles,
    RunFacts,
    disagreements,
    dollars,
    report,
    to_json,
)
from protocol.values import (
    MAIN,
    STOP,
    TARGET,
    OrderStatus,
    Side,
)
from tests.journals import (
    GLD,
    SLV,
    Journal,
    a_winning_trade,
    at,
    fold,
    ref,
    status,
    verdict,
)

BROKER = BrokerBooks(
    symbols=(SymbolBooks(SLV, 0, 3, Decimal("40.00"), Decimal("2.35125")),),
    open_orders=0,
)


# --- the fold -------------------------------------------------------------------------------------


def test_a_trade_is_folded_into_the_books_of_its_symbol() -> None:
    (summary,) = fold([SLV], a_winning_trade()).symbols
    assert summary.signals == SignalCounts(received=2, accepted=1, refused=1)
    assert summary.orders == OrderCounts(placed=3, modified=1, filled=2, cancelled=1, rejected=0)
    assert summary.trades == 1
    assert summary.books == SymbolBooks(SLV, 0, 3, Decimal("40.00"), Decimal("2.35125"))
    assert (summary.state, summary.restarts, summary.last_verdict) == ("running", 0, "accepted")


def test_a_symbol_without_events_is_in_the_books_with_nothing() -> None:
    books = fold([SLV, GLD], ())
    assert [summary.symbol for summary in books.symbols] == [SLV, GLD]
    assert books.symbols[1].books == SymbolBooks(GLD, 0, 0, Decimal(0), Decimal(0))


def test_an_open_trade_shows_its_stop_where_it_was_last_asked_to_be() -> None:
    (summary,) = fold([SLV], a_winning_trade()[:-7]).symbols
    assert summary.books.position == 100
    assert summary.average_price == Decimal("14.60")
    assert summary.stop_price == Decimal("14.25")


def test_a_malformed_prediction_is_received_though_only_its_verdict_is_known() -> None:
    books = fold([SLV], [("signals", verdict("bad", Verdict.REFUSED, code="malformed"))])
    assert books.signals == SignalCounts(received=1, refused=1)


def test_signals_for_symbols_that_are_not_ours_count_in_the_totals_alone() -> None:
    journal: Journal = [("signals", verdict("x", Verdict.REFUSED, symbol="XYZ", code="unknown_symbol"))]
    books = fold([SLV], journal)
    assert [summary.symbol for summary in books.symbols] == [SLV]
    assert books.signals == books.elsewhere == SignalCounts(received=1, refused=1)


def test_a_cancel_that_came_too_late_leaves_the_order_filled() -> None:
    journal: Journal = [
        ("symbol:SLV", status(ref(MAIN), OrderStatus.FILLED)),
        ("symbol:SLV", status(ref(MAIN), OrderStatus.CANCELLED)),
    ]
    assert fold([SLV], journal).orders == OrderCounts(filled=1)


def test_only_a_placement_that_died_counts_as_rejected() -> None:
    def rejected(role: str, request: str, *, terminal: bool) -> BaseEvent:
        return RejectEvent(at=at(1), ref=ref(role), request=request, code=201, reason="no", terminal=terminal)

    journal: Journal = [
        ("symbol:SLV", rejected(MAIN, "place", terminal=True)),
        ("symbol:SLV", rejected(STOP, "modify", terminal=False)),
        ("symbol:SLV", rejected(TARGET, "place", terminal=False)),
    ]
    assert fold([SLV], journal).orders == OrderCounts(rejected=1)


def test_somebody_elses_trade_moves_the_position_but_is_no_trade_of_ours() -> None:
    event = ForeignFillEvent(
        at=at(1), symbol=SLV, exec_id="9.01", side=Side.SELL, quantity=5, price=Decimal(14)
    )
    (summary,) = fold([SLV], [("symbol:SLV", event)]).symbols
    assert (summary.books.position, summary.books.executions, summary.trades) == (-5, 1, 0)


def test_restarts_are_counted_and_the_last_exit_decides_the_state() -> None:
    def exited(decision: str) -> ActorExitedEvent:
        return ActorExitedEvent(
            at=at(1), actor="symbol:SLV", epoch=1, exit="crash", reason="bug", decision=decision, delay_s=0.1
        )

    started = ActorStartedEvent(at=at(2), actor="symbol:SLV", epoch=2)
    folding = JournalFold([SLV])
    folding.add("system", exited("restart"))
    assert (folding.summary_of(SLV).state, folding.summary_of(SLV).restarts) == ("restarting", 1)
    folding.add("system", started)
    assert (folding.summary_of(SLV).state, folding.summary_of(SLV).restarts) == ("running", 1)
    folding.add("system", exited("quarantine"))
    assert (folding.summary_of(SLV).state, folding.summary_of(SLV).restarts) == ("quarantined", 1)


def test_an_execution_and_its_correction_have_one_root() -> None:
    assert execution_root("0000e0d5.5f1.01.01") == execution_root("0000e0d5.5f1.01.02")
    assert execution_root("plain") == "plain"


# --- the report -----------------------------------------------------------------------------------


def test_the_report_has_the_documented_form() -> None:
    facts = RunFacts(
        mode="sim",
        exit="end of replay",
        market_from=at(0),
        market_to=at(3600),
        broker=BROKER,
        kills=(Kill(SLV, at(30), 100, 12.5),),
        invariants=Invariants(7, (Violation("INV-04", at(1), "two entries"),)),
        tick_to_symbol=Percentiles(20.0, 90.0),
        mailboxes={SLV: MailboxCounts(900, 870, 30, 0)},
        max_uncovered_s={SLV: 0.25},
    )
    expected_signals = {"received": 2, "accepted": 1, "ignored": 0, "refused": 1}
    expected_orders = {"placed": 3, "modified": 1, "filled": 2, "cancelled": 1, "rejected": 0}
    assert orjson.loads(to_json(report(fold([SLV], a_winning_trade()), facts))) == {
        "mode": "sim",
        "market": {"from": "2019-02-11T15:00:00+00:00", "to": "2019-02-11T16:00:00+00:00"},
        "exit": "end of replay",
        "symbols": {
            "SLV": {
                "state": "running",
                "restarts": 0,
                "signals": expected_signals,
                "orders": expected_orders,
                "executions": 3,
                "trades": 1,
                "position": 0,
                "realized_pnl": "40.00",
                "commission": "2.35125",
                "max_uncovered_s": 0.25,
                "mailbox": {"in": 900, "handled": 870, "conflated": 30, "dropped": 0},
            }
        },
        "totals": {
            "signals": expected_signals,
            "orders": expected_orders,
            "executions": 3,
            "trades": 1,
            "realized_pnl": "40.00",
            "commission": "2.35125",
            "restarts": 0,
        },
        "broker": {
            "positions": {"SLV": 0},
            "executions": 3,
            "realized_pnl": "40.00",
            "commission": "2.35125",
            "open_orders": 0,
        },
        "kills": [
            {"symbol": "SLV", "at": "2019-02-11T15:00:30+00:00", "position": 100, "ready_after_ms": 12.5}
        ],
        "invariants": {
            "checked": 7,
            "violations": [{"invariant": "INV-04", "at": "2019-02-11T15:00:01+00:00", "what": "two entries"}],
        },
        "latency_us": {
            "tick_to_symbol": {"p50": 20.0, "p99": 90.0},
            "signal_to_wire": {"p50": None, "p99": None},
        },
    }


def test_money_for_people_has_cents_and_its_sign_in_front() -> None:
    assert [dollars(Decimal(text)) for text in ("1234.5", "-0.125", "-0.001", "0")] == [
        "$1,234.50",
        "-$0.12",
        "$0.00",
        "$0.00",
    ]


# --- the two sides --------------------------------------------------------------------------------


def test_books_that_agree_have_nothing_to_say() -> None:
    assert disagreements(fold([SLV], a_winning_trade()), BROKER) == ()


@pytest.mark.parametrize(
    ("theirs", "sentence"),
    [
        (
            SymbolBooks(SLV, 100, 3, Decimal(40), Decimal("2.35125")),
            "SLV: the journal holds +0 shares, the broker +100.",
        ),
        (
            SymbolBooks(SLV, 0, 4, Decimal(40), Decimal("2.35125")),
            "SLV: the journal knows 3 executions, the broker 4.",
        ),
        (
            SymbolBooks(SLV, 0, 3, Decimal(41), Decimal("2.35125")),
            "SLV: the journal's realized P&L is $40.00, the broker's $41.00.",
        ),
        (
            SymbolBooks(SLV, 0, 3, Decimal(40), Decimal(3)),
            "SLV: the journal's commission is $2.35, the broker's $3.00.",
        ),
    ],
)
def test_each_difference_is_a_sentence_for_the_symbol_and_for_the_total(
    theirs: SymbolBooks, sentence: str
) -> None:
    found = disagreements(fold([SLV], a_winning_trade()), BrokerBooks((theirs,), 0))
    assert found == (sentence, sentence.replace("SLV", "all symbols"))


def test_a_symbol_that_one_side_has_never_heard_of_is_a_difference() -> None:
    extra = SymbolBooks(GLD, 7, 1, None, None)
    theirs = attrs.evolve(BROKER, symbols=(*BROKER.symbols, extra))
    assert disagreements(fold([SLV], a_winning_trade()), theirs)[:2] == (
        "GLD: the journal holds +0 shares, the broker +7.",
        "GLD: the journal knows 0 executions, the broker 1.",
    )
    assert disagreements(fold([SLV], a_winning_trade()), BrokerBooks((), 0))[0] == (
        "SLV: the journal knows 3 executions, the broker 0."
    )


def test_what_a_broker_does_not_say_is_not_compared() -> None:
    silent = attrs.evolve(BROKER.symbols[0], realized_pnl=None, commission=None)
    assert disagreements(fold([SLV], a_winning_trade()), BrokerBooks((silent,), 0)) == ()


# --- laws -----------------------------------------------------------------------------------------

_events = st.sampled_from(
    [event for _, event in a_winning_trade()]
    + [
        ForeignFillEvent(
            at=at(1), symbol=GLD, exec_id="5.01", side=Side.BUY, quantity=3, price=Decimal("120.5")
        ),
        PositionOpenEvent(
            at=at(0),
            symbol=SLV,
            trade=1,
            side=Side.BUY,
            quantity=100,
            stop_distance=Decimal("0.44"),
            target_distance=None,
            signal_id="s1",
            rule="long",
        ),
    ]
)


@given(st.lists(_events, max_size=30))
def test_the_totals_are_the_sums_of_the_symbols_whatever_the_journal_holds(events: list[BaseEvent]) -> None:
    books = fold([SLV, GLD], (("any", event) for event in events))
    content = orjson.loads(to_json(report(books, RunFacts(mode="sim", exit="stopped"))))
    for name in ("executions", "trades", "restarts"):
        assert content["totals"][name] == sum(symbol[name] for symbol in content["symbols"].values())
    for name in ("signals", "orders"):
        for key, value in content["totals"][name].items():
            assert value == sum(symbol[name][key] for symbol in content["symbols"].values())
    for name in ("realized_pnl", "commission"):
        amounts = [Decimal(symbol[name]) for symbol in content["symbols"].values()]
        assert abs(Decimal(content["totals"][name]) - sum(amounts)) <= Decimal("0.000002")


@given(st.lists(_events, max_size=30))
@pytest.mark.slow
def test_books_folded_as_they_come_are_the_books_folded_at_once(events: list[BaseEvent]) -> None:
    def stream() -> Iterator[tuple[str, BaseEvent]]:
        yield from (("any", event) for event in events)

    folding = JournalFold([SLV])
    for name, event in stream():
        folding.add(name, event)
        folding.books()
    once: JournalBooks = fold([SLV], stream())
    assert folding.books() == once
