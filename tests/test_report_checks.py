"""What the journal alone can show: invariants, checked event by event."""

from __future__ import annotations

from decimal import Decimal

import pytest

from protocol.events import (
    BaseEvent,
    PositionCloseEvent,
    RejectEvent,
    Verdict,
)
from protocol.journal_checks import Invariants
from protocol.values import (
    STOP,
    OrderStatus,
    Side,
)
from tests.journals import (
    GLD,
    SLV,
    Journal,
    a_winning_trade,
    at,
    check_journal,
    filled,
    new,
    ref,
    sent,
    signal,
    status,
    verdict,
)


def violated(journal: Journal, *, ended: bool = False) -> list[tuple[str, str]]:
    return [(found.invariant, found.what) for found in check_journal(journal, ended=ended).violations]


def test_a_clean_journal_is_checked_and_found_clean() -> None:
    result = check_journal(a_winning_trade(), ended=True)
    # Three intents (one of them an entry), three sendings (looked at twice), three fills, two verdicts,
    # and two signals that must have one at the end.
    assert result == Invariants(checked=3 + 1 + 6 + 3 + 2 + 2)


def test_an_order_decided_twice_is_found() -> None:
    journal: Journal = [("symbol:SLV", new(ref(STOP))), ("symbol:SLV", new(ref(STOP)))]
    assert violated(journal) == [("INV-05", "order rf:SLV:000001:stop:r0 was decided more than once")]


def test_an_order_sent_under_two_ids_is_found() -> None:
    journal: Journal = [("symbol:SLV", new(ref())), ("broker", sent(ref(), 4)), ("broker", sent(ref(), 5))]
    assert violated(journal) == [
        ("INV-05", "order rf:SLV:000001:main:r0 was sent as TWS order 4 and again as 5")
    ]


def test_an_order_sent_before_its_intent_is_found() -> None:
    journal: Journal = [("broker", sent(ref(), 4)), ("symbol:SLV", new(ref()))]
    assert violated(journal) == [
        ("INV-14", "order rf:SLV:000001:main:r0 was sent without an intent in the journal")
    ]


@pytest.mark.parametrize(
    "between",
    [
        [status(ref(), OrderStatus.CANCELLED)],
        [status(ref(), OrderStatus.FILLED)],
        [filled(ref(), "1.01", Side.BUY, 60, "14"), filled(ref(), "2.01", Side.BUY, 40, "14")],
        [RejectEvent(at=at(1), ref=ref(), request="place", code=201, reason="no", terminal=True)],
        [PositionCloseEvent(at=at(1), symbol=SLV, trade=1, reason="x", realized_pnl=Decimal(0))],
    ],
    ids=["cancelled", "filled", "filled in parts", "rejected", "trade over"],
)
def test_a_second_entry_is_right_once_the_first_has_ended(between: list[BaseEvent]) -> None:
    first, second = new(ref(trade=1)), new(ref(trade=2))
    journal: Journal = [("symbol:SLV", event) for event in (first, *between, second)]
    assert violated(journal) == []
    assert violated([("symbol:SLV", first), ("symbol:SLV", second)]) == [
        (
            "INV-04",
            "entry rf:SLV:000002:main:r0 was decided while rf:SLV:000001:main:r0 may still work",
        )
    ]


def test_a_partly_filled_entry_still_works() -> None:
    events = (new(ref(trade=1)), filled(ref(), "1.01", Side.BUY, 99, "14"), new(ref(trade=2)))
    assert [name for name, _ in violated([("symbol:SLV", event) for event in events])] == ["INV-04"]


def test_entries_of_different_symbols_do_not_meet() -> None:
    journal: Journal = [("symbol:SLV", new(ref())), ("symbol:GLD", new(ref(symbol=GLD)))]
    assert violated(journal) == []


def test_an_execution_applied_twice_is_found_and_a_correction_is_not_one() -> None:
    one, correction = (filled(ref(), exec_id, Side.BUY, 10, "14") for exec_id in ("7.01", "7.02"))
    assert violated([("symbol:SLV", one), ("symbol:SLV", correction)]) == []
    assert violated([("symbol:SLV", one), ("symbol:SLV", one)]) == [
        ("INV-07", "execution 7.01 of rf:SLV:000001:main:r0 was applied more than once")
    ]


def test_a_signal_has_one_verdict_no_more_and_at_the_end_no_less() -> None:
    two: Journal = [
        ("signals", signal("a")),
        ("signals", verdict("a", Verdict.IGNORED)),
        ("symbol:SLV", verdict("a", Verdict.ACCEPTED)),
    ]
    assert violated(two, ended=True) == [("INV-27", "signal a has 2 verdicts, not one")]
    none: Journal = [("signals", signal("b"))]
    assert violated(none) == []
    assert violated(none, ended=True) == [("INV-27", "signal b has no verdict")]
