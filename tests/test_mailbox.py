"""A mailbox: lanes, conflation, one wake-up for a burst, and the message that its owner died on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from actors.mailbox import Lane, Mailbox, MailboxCounts, Poison
from protocol.values import Symbol, Tick, TickKind

TEN = datetime(2025, 9, 26, 14, 0, tzinfo=UTC)


def tick(kind: TickKind, price: float, *, second: int = 0, size: float = 100.0) -> Tick:
    return Tick(Symbol("SLV"), kind, price, size, TEN + timedelta(seconds=second), price, price)


def drain(mailbox: Mailbox[str]) -> list[str]:
    taken = []
    while (message := mailbox.take()) is not None:
        taken.append(message)
        mailbox.done()
    return taken


def test_lanes_are_emptied_in_their_order_and_first_in_first_out_within() -> None:
    mailbox: Mailbox[str] = Mailbox()
    for lane, message in [
        (Lane.TICKS, "tick"),
        (Lane.SIGNALS, "buy"),
        (Lane.BROKER, "fill 1"),
        (Lane.CONTROL, "stop"),
        (Lane.BROKER, "fill 2"),
    ]:
        assert mailbox.put(lane, message)
    assert drain(mailbox) == ["stop", "fill 1", "fill 2", "buy", "tick"]


def test_only_a_full_signals_lane_refuses_and_counts_what_it_refused() -> None:
    mailbox: Mailbox[str] = Mailbox(signals_limit=2, broker_high_water=3)
    assert [mailbox.put(Lane.SIGNALS, "buy") for _ in range(3)] == [True, True, False]
    assert all(mailbox.put(lane, "x") for lane in (Lane.CONTROL, Lane.BROKER, Lane.TICKS) for _ in range(5))
    assert mailbox.above_high_water
    assert mailbox.counts == MailboxCounts(in_=18, handled=0, conflated=0, dropped=1, depth=17)


def test_unread_ticks_of_one_kind_become_the_latest_with_the_range_of_all_in_the_first_ones_place() -> None:
    mailbox: Mailbox[Tick] = Mailbox()
    mailbox.put_tick(tick(TickKind.LAST, 10.0))
    mailbox.put_tick(tick(TickKind.BID, 9.9))
    mailbox.put_tick(tick(TickKind.LAST, 12.0, second=1))
    mailbox.put_tick(tick(TickKind.LAST, 11.0, second=2, size=7.0))
    assert mailbox.take() == Tick(
        Symbol("SLV"), TickKind.LAST, 11.0, 7.0, TEN + timedelta(seconds=2), low=10.0, high=12.0
    )
    mailbox.done()
    assert mailbox.take() == tick(TickKind.BID, 9.9)
    mailbox.done()
    assert mailbox.counts == MailboxCounts(in_=4, handled=2, conflated=2, dropped=0, depth=0)


def test_a_tick_that_is_in_hand_is_not_changed_by_a_newer_one() -> None:
    mailbox: Mailbox[Tick] = Mailbox()
    mailbox.put_tick(tick(TickKind.LAST, 10.0))
    first = mailbox.take()
    mailbox.put_tick(tick(TickKind.LAST, 11.0))
    assert first == tick(TickKind.LAST, 10.0)
    mailbox.done()
    assert mailbox.take() == tick(TickKind.LAST, 11.0)


def test_done_without_a_message_in_hand_is_a_bug_of_the_caller() -> None:
    mailbox: Mailbox[str] = Mailbox()
    with pytest.raises(RuntimeError, match="in hand"):
        mailbox.done()


async def test_a_burst_wakes_the_waiting_owner_once() -> None:
    mailbox: Mailbox[str] = Mailbox()
    wakes: list[list[str]] = []

    async def own() -> None:
        while True:
            await mailbox.wait()
            wakes.append(drain(mailbox))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(own)
        await trio.testing.wait_all_tasks_blocked()
        for message in ("a", "b", "c"):
            mailbox.put(Lane.BROKER, message)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert wakes == [["a", "b", "c"]]


async def test_waiting_for_a_mailbox_that_holds_something_returns_at_once_through_a_checkpoint() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put(Lane.CONTROL, "stop")
    with trio.testing.assert_checkpoints():
        await mailbox.wait()


async def test_a_second_owner_is_refused() -> None:
    mailbox: Mailbox[str] = Mailbox()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await mailbox.wait()
        nursery.cancel_scope.cancel()


async def test_a_cancelled_wait_loses_nothing_and_leaves_the_place_free() -> None:
    mailbox: Mailbox[str] = Mailbox()
    with trio.move_on_after(0):
        await mailbox.wait()
    mailbox.put(Lane.BROKER, "fill")
    await mailbox.wait()
    assert drain(mailbox) == ["fill"]


# --- SUP-16 and SUP-17 ----------------------------------------------------------------------------


def test_sup_16_mail_outlives_its_owner_and_waits_in_order() -> None:
    mailbox: Mailbox[str] = Mailbox()
    mailbox.put(Lane.BROKER, "fill 1")
    mailbox.put(Lane.BROKER, "fill 2")
    assert mailbox.take() == "fill 1"
    mailbox.owner_died()
    mailbox.put(Lane.BROKER, "fill 3")
    mailbox.put(Lane.CONTROL, "flatten")
    assert drain(mailbox) == ["flatten", "fill 1", "fill 2", "fill 3"]
    assert mailbox.counts == MailboxCounts(in_=4, handled=4, conflated=0, dropped=0, depth=0)


def test_sup_17_a_signal_on_which_its_owner_crashed_twice_becomes_a_dead_letter() -> None:
    poison: list[Poison[str]] = []
    mailbox: Mailbox[str] = Mailbox(on_poison=poison.append)
    mailbox.put(Lane.SIGNALS, "bad")
    mailbox.put(Lane.SIGNALS, "good")
    assert mailbox.take() == "bad"
    mailbox.owner_died()
    assert mailbox.take() == "bad"
    assert poison == []
    mailbox.owner_died()
    assert poison == [Poison(Lane.SIGNALS, "bad", kept=False)]
    assert drain(mailbox) == ["good"]
    assert mailbox.counts == MailboxCounts(in_=2, handled=1, conflated=0, dropped=1, depth=0)


def test_sup_17_a_broker_message_is_never_discarded_but_asks_for_quarantine() -> None:
    poison: list[Poison[str]] = []
    mailbox: Mailbox[str] = Mailbox(on_poison=poison.append)
    mailbox.put(Lane.BROKER, "fill")
    for _ in range(2):
        assert mailbox.take() == "fill"
        mailbox.owner_died()
    assert poison == [Poison(Lane.BROKER, "fill", kept=True)]
    assert drain(mailbox) == ["fill"]


def test_an_owner_that_died_unnoticed_counts_as_crashed_when_the_next_one_takes() -> None:
    poison: list[Poison[str]] = []
    mailbox: Mailbox[str] = Mailbox(on_poison=poison.append)
    mailbox.put(Lane.SIGNALS, "bad")
    assert [mailbox.take(), mailbox.take(), mailbox.take()] == ["bad", "bad", None]
    assert [letter.message for letter in poison] == ["bad"]


def test_injected_kills_deliver_again_without_blaming_the_message() -> None:
    poison: list[Poison[str]] = []
    mailbox: Mailbox[str] = Mailbox(on_poison=poison.append)
    mailbox.put(Lane.SIGNALS, "buy")
    for _ in range(3):
        assert mailbox.take() == "buy"
        mailbox.owner_died(blame=False)
    assert poison == []
    assert drain(mailbox) == ["buy"]


def test_a_message_that_was_handled_after_all_is_no_longer_suspect() -> None:
    poison: list[Poison[str]] = []
    mailbox: Mailbox[str] = Mailbox(on_poison=poison.append)
    message = "same object, put twice"
    mailbox.put(Lane.SIGNALS, message)
    assert mailbox.take() == message
    mailbox.owner_died()
    assert drain(mailbox) == [message]
    mailbox.put(Lane.SIGNALS, message)
    assert mailbox.take() == message
    mailbox.owner_died()
    assert poison == []


# --- handled in the sender's turn -----------------------------------------------------------------


async def test_a_parked_owner_handles_a_message_in_the_senders_turn() -> None:
    mailbox: Mailbox[str] = Mailbox()
    handled: list[str] = []

    def handle(message: str) -> None:
        handled.append(message)
        if message == "first":
            mailbox.put(Lane.BROKER, "from its own handler")
            assert handled == ["first"]

    async with trio.open_nursery() as nursery:
        mailbox.put(Lane.BROKER, "before")
        nursery.start_soon(mailbox.serve, handle)
        await trio.testing.wait_all_tasks_blocked()
        assert handled == ["before"]
        handled.clear()
        mailbox.put(Lane.SIGNALS, "first")
        assert handled == ["first", "from its own handler"]
        nursery.cancel_scope.cancel()


async def test_a_crash_in_the_senders_turn_is_raised_in_the_owners_task() -> None:
    mailbox: Mailbox[str] = Mailbox()
    crashes: list[str] = []

    def handle(message: str) -> None:
        raise ValueError(message)

    async def own() -> None:
        try:
            await mailbox.serve(handle)
        except ValueError as error:
            crashes.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(own)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.put(Lane.BROKER, "fill")
        mailbox.put(Lane.BROKER, "while it is down")
        await trio.testing.wait_all_tasks_blocked()
    assert crashes == ["fill"]
    assert mailbox.in_hand == "fill"
    mailbox.owner_died()
    assert drain(mailbox) == ["fill", "while it is down"]


async def test_an_owner_cancelled_from_its_own_handler_finishes_that_message_and_no_other() -> None:
    mailbox: Mailbox[str] = Mailbox()
    handled: list[str] = []
    with trio.CancelScope() as scope:

        def handle(message: str) -> None:
            handled.append(message)
            mailbox.put(Lane.BROKER, "next")
            scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.serve, handle)
            with trio.CancelScope(shield=True):
                await trio.testing.wait_all_tasks_blocked()
                mailbox.put(Lane.BROKER, "kill")
    assert scope.cancelled_caught
    assert handled == ["kill"]
    assert drain(mailbox) == ["next"]


# --- laws -----------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from([Lane.CONTROL, Lane.BROKER, Lane.SIGNALS])),
    st.tuples(st.just("tick"), st.sampled_from(list(TickKind)), st.integers(1, 9)),
    st.sampled_from([("take",), ("done",), ("die", True), ("die", False)]),
)


@given(st.lists(STEPS, max_size=80))
def test_every_message_offered_is_handled_conflated_dropped_or_still_there(
    steps: list[tuple[object, ...]],
) -> None:
    mailbox: Mailbox[str | Tick] = Mailbox(signals_limit=3)
    broker_in = broker_done = 0
    last_in: dict[TickKind, float] = {}
    last_out: dict[TickKind, float] = {}
    for number, step in enumerate(steps):
        match step:
            case ("put", Lane() as lane):
                broker_in += lane is Lane.BROKER
                mailbox.put(lane, f"{lane.name} {number}")
            case ("tick", TickKind() as tick_kind, int(dollars)):
                mailbox.put_tick(tick(tick_kind, float(dollars)))
                last_in[tick_kind] = dollars
            case ("take",) if mailbox.in_hand is None:
                mailbox.take()
            case ("done",) if mailbox.in_hand is not None:
                match mailbox.in_hand:
                    case Tick(kind=kind, price=price, low=low, high=high):
                        assert low <= price <= high
                        last_out[kind] = price
                    case str(text):
                        broker_done += text.startswith("BROKER")
                mailbox.done()
            case ("die", bool(blame)):
                mailbox.owner_died(blame=blame)
            case _:
                pass  # nothing in hand to finish, or already something in hand
        counts = mailbox.counts
        assert counts.handled + counts.conflated + counts.dropped + counts.depth == counts.in_
    while (message := mailbox.take()) is not None:
        match message:
            case Tick(kind=kind, price=price):
                last_out[kind] = price
            case str(text):
                broker_done += text.startswith("BROKER")
        mailbox.done()
    assert broker_done == broker_in
    assert mailbox.counts.depth == 0
    if not mailbox.counts.dropped:
        assert last_out == last_in
