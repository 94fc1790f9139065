"""A difference between two books is real only when it lasts."""

from __future__ import annotations

from protocol.reconcile import LOOK_AGAIN_LOOP_S, Books, Difference, Doubts, differences
from protocol.values import Symbol

SLV, GLD = Symbol("SLV"), Symbol("GLD")


def test_a_symbol_without_a_line_has_no_shares() -> None:
    found = differences(Books({SLV: 100}), Books({GLD: 5, SLV: 100}), (SLV, GLD))
    assert found == (Difference(GLD, 0, 5),)
    assert found[0].text == "our executions make 0 shares of GLD, the broker holds 5"


def test_a_difference_counts_from_its_second_look_some_seconds_later() -> None:
    doubts, difference = Doubts(), Difference(SLV, 0, 5)
    assert doubts.confirm([difference], 10.0) == ()
    assert doubts.confirm([difference], 10.1) == ()
    assert doubts.confirm([difference], 10.0 + LOOK_AGAIN_LOOP_S) == (difference,)
    assert not doubts


def test_a_difference_that_changes_or_goes_away_begins_anew() -> None:
    doubts = Doubts()
    doubts.confirm([Difference(SLV, 0, 5)], 0.0)
    assert doubts.confirm([Difference(SLV, 0, 10)], 5.0) == ()
    assert bool(doubts)
    assert doubts.confirm([], 6.0) == ()
    assert not doubts
    assert doubts.confirm([Difference(SLV, 0, 10)], 20.0) == ()
