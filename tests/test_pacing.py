"""The wire's budget: never beyond the limit in any second, protection first, no order overtaken."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.pacing import ENTRY_PATIENCE_LOOP_S, WINDOW_LOOP_S, Pacer, Parcel
from protocol.session_words import Urgency


def parcel(name: str, urgency: Urgency, frames: int = 1, keys: tuple[int, ...] = ()) -> Parcel:
    return Parcel((b"x",) * frames, urgency, keys, name)


def names(parcels: tuple[Parcel, ...]) -> list[object]:
    return [each.tag for each in parcels]


def test_what_fits_leaves_at_once_and_in_order() -> None:
    pacer = Pacer()
    for name in "abc":
        pacer.offer(parcel(name, Urgency.REQUEST), 0.0)
    assert names(pacer.take(0.0)) == ["a", "b", "c"]
    assert pacer.due() is None


def test_protection_leaves_before_entries_and_questions() -> None:
    pacer = Pacer()
    pacer.offer(parcel("question", Urgency.REQUEST), 0.0)
    pacer.offer(parcel("entry", Urgency.ENTRY, 3), 0.0)
    pacer.offer(parcel("stop", Urgency.PROTECTION), 0.0)
    assert names(pacer.take(0.0)) == ["stop", "entry", "question"]


def test_a_flood_of_entries_leaves_the_reserve_to_cancels() -> None:
    pacer = Pacer(45, 10)
    for _ in range(50):
        pacer.offer(parcel("entry", Urgency.ENTRY), 0.0)
    assert len(pacer.take(0.0)) == 35
    for _ in range(20):
        pacer.offer(parcel("cancel", Urgency.PROTECTION), 0.1)
    assert names(pacer.take(0.1)) == ["cancel"] * 10
    assert pacer.due() == pytest.approx(1.0)


def test_a_group_leaves_whole_or_not_at_all() -> None:
    pacer = Pacer(20, 10)
    for _ in range(4):
        pacer.offer(parcel("bracket", Urgency.ENTRY, 3), 0.0)
    assert len(pacer.take(0.0)) == 3
    assert len(pacer.take(0.5)) == 0
    assert len(pacer.take(1.0)) == 1


def test_a_cancel_takes_its_waiting_placement_along_and_never_overtakes_it() -> None:
    pacer = Pacer(5, 1)
    for number in range(6):
        pacer.offer(parcel(f"entry {number}", Urgency.ENTRY, keys=(number,)), 0.0)
    assert len(pacer.take(0.0)) == 4
    pacer.offer(parcel("cancel 5", Urgency.PROTECTION, keys=(5,)), 0.1)
    assert names(pacer.take(0.1)) == ["entry 5"]
    assert names(pacer.take(1.0)) == ["cancel 5", "entry 4"]


def change(name: str, order_id: int) -> Parcel:
    return Parcel((b"x",), Urgency.PROTECTION, (order_id,), name, change_of=order_id)


def test_a_change_takes_the_turn_of_one_that_waits_and_is_outdated() -> None:
    """A stop that grew with each share of a shredded fill was behind by a second (seed 979)."""
    pacer = Pacer(limit=2, reserve=0)
    for name in ("108", "109", "110", "111"):
        pacer.offer(change(name, 7), 0.0)
        pacer.offer(change(name, 8), 0.0)
    assert names(pacer.take(0.0)) == ["111", "111"]
    assert len(pacer) == 0


def test_a_change_never_overtakes_a_cancel_nor_takes_the_turn_of_a_placement() -> None:
    pacer = Pacer()
    pacer.offer(parcel("bracket", Urgency.PROTECTION, 3, keys=(6, 7)), 0.0)
    pacer.offer(change("first", 7), 0.0)
    pacer.offer(parcel("cancel", Urgency.PROTECTION, keys=(7,)), 0.0)
    pacer.offer(change("second", 7), 0.0)
    assert names(pacer.take(0.0)) == ["bracket", "first", "cancel", "second"]


def test_an_entry_that_waited_too_long_is_handed_back_instead_of_sent() -> None:
    pacer = Pacer(2, 1)
    pacer.offer(parcel("first", Urgency.ENTRY), 0.0)
    pacer.offer(parcel("late", Urgency.ENTRY), 0.0)
    assert names(pacer.take(0.0)) == ["first"]
    assert pacer.overdue(ENTRY_PATIENCE_LOOP_S) == ()
    assert names(pacer.overdue(ENTRY_PATIENCE_LOOP_S + 0.01)) == ["late"]
    assert len(pacer) == 0


def test_a_group_that_can_never_fit_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="can never leave"):
        Pacer(12, 10).offer(parcel("group", Urgency.ENTRY, 3), 0.0)


def test_a_lost_link_forgets_what_waits_but_not_what_was_sent() -> None:
    pacer = Pacer(2, 1)
    pacer.offer(parcel("sent", Urgency.ENTRY), 0.0)
    pacer.take(0.0)
    pacer.offer(parcel("waiting", Urgency.ENTRY), 0.0)
    assert names(pacer.clear()) == ["waiting"]
    pacer.offer(parcel("next link", Urgency.REQUEST), 0.5)
    assert pacer.take(0.5) == ()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(Urgency), st.integers(1, 4), st.floats(0, 0.4)), min_size=1, max_size=150
    ),
    st.integers(8, 45),
)
def test_no_second_ever_holds_more_than_the_limit_and_everything_leaves(
    offers: list[tuple[Urgency, int, float]], limit: int
) -> None:
    pacer = Pacer(limit, 3)
    now, sent, wanted = 0.0, [], 0
    for urgency, frames, pause in offers:
        now += pause
        pacer.offer(parcel("x", urgency, frames), now)
        wanted += frames
        sent += [now for each in pacer.take(now) for _ in each.frames]
    while (due := pacer.due()) is not None:
        assert due <= now + WINDOW_LOOP_S + 1e-9
        now = max(now, due)
        leaving = pacer.take(now)
        assert leaving, "due means that something leaves"
        sent += [now for each in leaving for _ in each.frames]
    assert len(sent) == wanted == pacer.total
    for index in range(len(sent) - limit):
        assert sent[index + limit] - sent[index] >= WINDOW_LOOP_S - 1e-5
