"""The risk actor: looks, journals, performs; locks, limits and the drop copy by the hand of others."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import attrs
import pytest
import trio

from actors.risk import COMPARE_LOOP_S
from protocol.control_events import KillLevelEvent, LimitTightenedEvent, LockEvent, UnlockEvent
from protocol.events import CancelEvent, HoldEvent, ModifyOrderEvent
from protocol.reports import RequestKind
from protocol.risk.drop_copy import KEPT, DropCopy
from protocol.risk.settings import CoolDown, RiskLimits
from protocol.risk.words import KillLevel, LockKind
from protocol.values import MAIN, STOP, TARGET
from tests.journals import GLD, SLV, T0, a_winning_trade, at, new, ref, sent
from tests.risk_actor import RiskActor
from tests.risk_stage import RiskStage

D = Decimal
PLACE, MODIFY, CANCEL = RequestKind.PLACE, RequestKind.MODIFY, RequestKind.CANCEL


def traded(stage: RiskStage, actor: RiskActor) -> None:
    """What happened on the stage goes into the actor's journal."""
    actor.write(*(event for _, event in stage.journal))
    stage.journal.clear()


def losing(price: str) -> RiskStage:
    """Long 100 at 15.00 of SLV, and then a sale of all at `price`."""
    stage = RiskStage()
    stage.open()
    stage.close(price=price, by=TARGET)
    return stage


# --- looking ----------------------------------------------------------------------------------------


async def test_a_loss_is_seen_soon_after_its_fill_journalled_and_the_symbol_is_flattened(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor()
    async with actor.living():
        await trio.sleep(0.5)
        traded(losing("9.90"), actor)
        await trio.sleep(0.1)
        (lock,) = actor.events(LockEvent)
        assert isinstance(lock, LockEvent)
        assert (lock.kind, lock.symbol) == ("daily_loss", SLV)
        assert actor.asked == [f"flatten SLV: {lock.reason}"]
        assert actor.alarms == ["LIMIT_LOCK"]
        with actor.nothing_is_asked():
            await trio.sleep(60.0)
    assert len(actor.events(LockEvent)) == 1


async def test_a_loss_that_only_the_market_shows_is_seen_when_it_has_lasted_two_seconds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor, stage = RiskActor(limits=RiskLimits(max_fill_deviation=0.9)), RiskStage()
    stage.open()
    async with actor.living():
        traded(stage, actor)
        actor.around.show(SLV, 10.01)
        await trio.sleep(1.1)
        assert actor.events(LockEvent) == [], "a dollar short of the limit"
        actor.around.show(SLV, 10.00)
        await trio.sleep(1.5)
        actor.around.show(SLV, 15.00)
        await trio.sleep(1.1)
        actor.around.show(SLV, 10.00)
        await trio.sleep(2.0)
        assert actor.events(LockEvent) == [], "twice for a moment"
        await trio.sleep(1.1)
        assert len(actor.events(LockEvent)) == 1


async def test_a_symbol_that_lost_too_much_is_asked_to_close_until_it_has(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limits, stage = RiskLimits(max_fill_deviation=0.9), RiskStage()
    actor = RiskActor(limits=limits)
    stage.open()
    async with actor.living():
        traded(stage, actor)
        actor.around.show(SLV, 9.0)
        await trio.sleep(23.5)
        assert len(actor.asked) >= 4
        assert set(actor.asked) == {
            "flatten SLV: SLV has lost $600.00 today, realized and open; the limit is $500"
        }
    after = RiskActor(actor.journal, limits=limits)
    async with after.living():
        await trio.sleep(0.5)
        assert len(after.asked) == 1, "a restart asks, too"
        stage.close(price="9.00")
        traded(stage, after)
        with after.nothing_is_asked():
            await trio.sleep(20.0)


async def test_a_cool_down_begins_and_ends_by_itself_and_nobody_is_disturbed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor(limits=RiskLimits(protections=(CoolDown(60.0),)))
    async with actor.living():
        await trio.sleep(1.0)
        stage = RiskStage()
        stage.trade(1, "5")
        traded(stage, actor)
        await trio.sleep(0.2)
        assert actor.gate.standing.lock_on(SLV, actor.clock.now()) is not None
        await trio.sleep(58.0)
        assert actor.events(UnlockEvent) == []
        await trio.sleep(2.5)
        (over,) = actor.events(UnlockEvent)
        assert isinstance(over, UnlockEvent)
        assert (over.lock, over.who) == ("L000001", "clock")
    assert (actor.asked, actor.alarms) == ([], [])


async def test_in_a_fast_replay_market_time_is_watched_and_the_machine_is_not_worn_out(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor(speed=600.0, limits=RiskLimits(protections=(CoolDown(60.0),)))
    async with actor.living():
        stage = RiskStage()
        stage.trade(0, "5")
        traded(stage, actor)
        await trio.sleep(0.06)
        assert len(actor.events(LockEvent)) == 1
        await trio.sleep(0.2)
        (over,) = actor.events(UnlockEvent)
        assert over.at < at(61 + 2 * 0.05 * 600)


async def test_without_the_brokers_time_nothing_is_reckoned(autojump_clock: trio.testing.MockClock) -> None:
    actor = RiskActor()
    traded(losing("9.00"), actor)
    async with trio.open_nursery() as nursery:
        await nursery.start(actor.desk.run, 1)
        await trio.sleep(5.0)
        assert list(actor.journal.read("risk")) == []
        nursery.cancel_scope.cancel()


# --- locks and limits by hand -------------------------------------------------------------------------


async def test_a_person_locks_and_lifts_and_every_lock_has_a_name_of_its_own() -> None:
    actor = RiskActor()
    actor.clock.set(T0)
    one = actor.desk.lock(SLV, kind=LockKind.PERSON, reason="lunch", who="ann", until=at(60))
    two = actor.desk.lock("", kind=LockKind.PERSON, reason="news", who="bob")
    assert (one, two) == ("L000001", "L000002")
    assert [lock.lock for lock in actor.gate.standing.locks(at(0))] == [one, two]
    actor.desk.unlock(two, who="bob", why="read them")
    assert [lock.lock for lock in actor.gate.standing.locks(at(0))] == [one]
    assert RiskActor(actor.journal).desk.lock(GLD, kind=LockKind.PERSON, reason="x", who="ann") == "L000003"


async def test_what_cannot_be_locked_or_lifted_is_said() -> None:
    actor = RiskActor()
    actor.clock.set(T0)
    with pytest.raises(ValueError, match="is over"):
        actor.desk.lock(SLV, kind=LockKind.PERSON, reason="late", who="ann", until=at(-1))
    with pytest.raises(ValueError, match="no lock is called 'L7'; those that hold: none"):
        actor.desk.unlock("L7", who="ann", why="?")
    name = actor.desk.lock(SLV, kind=LockKind.PERSON, reason="lunch", who="ann")
    with pytest.raises(ValueError, match=f"those that hold: {name}"):
        actor.desk.unlock("L7", who="ann", why="?")


async def test_a_lock_for_the_days_loss_stays_while_the_loss_is_over_its_limit() -> None:
    actor = RiskActor()
    actor.clock.set(T0)
    traded(losing("9.90"), actor)
    actor.desk.look()
    with pytest.raises(ValueError, match=r"SLV has lost \$510\.00 today.*while that holds, it stays locked"):
        actor.desk.unlock("L000001", who="ann", why="I feel lucky")
    looser = RiskActor(actor.journal, limits=RiskLimits(max_daily_loss_of_symbol=D(1000)))
    looser.clock.set(T0)
    looser.desk.unlock("L000001", who="ann", why="the limit is another one now")
    looser.desk.look()
    assert list(looser.gate.standing.locks(at(0))) == []


async def test_r21_a_limit_is_tightened_while_running_and_acts_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor()
    async with actor.living():
        traded(losing("14.00"), actor)
        await trio.sleep(1.0)
        assert actor.events(LockEvent) == []
        actor.desk.tighten("max_daily_loss_of_symbol", "100", who="ann", why="a nervous day")
        await trio.sleep(0.1)
        assert len(actor.events(LockEvent)) == 1
    (event,) = actor.events(LimitTightenedEvent)
    assert event == LimitTightenedEvent(
        at=event.at, cause="ann", name="max_daily_loss_of_symbol", value="100", before="500", who="ann",
        why="a nervous day",
    )  # fmt: skip
    assert actor.gate.limits.max_daily_loss_of_symbol == 100
    assert RiskActor(actor.journal).gate.limits.max_daily_loss_of_symbol == 500, "a restart reads the file"


@pytest.mark.parametrize(("name", "value", "words"), [
    ("max_daily_loss_of_symbol", "501", "looser than 500"),
    ("min_excess_liquidity", "0.1", "looser than 0.2"),
    ("max_daily_los", "1", "no limit is called"),
    ("max_positions", "many", "needs a number"),
])  # fmt: skip
async def test_r21_no_limit_is_loosened(name: str, value: str, words: str) -> None:
    actor = RiskActor()
    with pytest.raises(ValueError, match=words):
        actor.desk.tighten(name, value, who="ann", why="more")
    assert actor.gate.limits == RiskLimits()
    assert actor.events(LimitTightenedEvent) == []


async def test_a_limit_that_was_off_can_be_put_on_and_at_its_own_value_is_no_change_for_the_worse() -> None:
    actor = RiskActor()
    actor.desk.tighten("max_sector", "1.5", who="ann", why="metals")
    actor.desk.tighten("max_positions", "30", who="ann", why="as it is")
    assert (actor.gate.limits.max_sector, actor.gate.limits.max_positions) == (1.5, 30)
    assert [event.before for event in actor.events(LimitTightenedEvent)] == ["off", "30"]  # type: ignore[attr-defined]


# --- R20: the wire --------------------------------------------------------------------------------------


def test_r20_every_message_of_a_trade_has_its_intent() -> None:
    copy = DropCopy()
    for stream, event in a_winning_trade():
        copy.fold(stream, event)
    assert [copy.left(PLACE, 10 + n, ref(role)) for n, role in enumerate((MAIN, STOP, TARGET))] == [None] * 3
    assert copy.left(MODIFY, 11, ref(STOP)) is None
    assert (copy.intents, copy.messages) == (4, 4)


@pytest.mark.parametrize(("kind", "order_id", "role", "words"), [
    (PLACE, 10, MAIN, "the journal has no such id"),  # a second time
    (PLACE, 99, STOP, "the journal has no such id"),
    (MODIFY, 11, STOP, "without an intent of its own"),
    (CANCEL, 11, STOP, "without an intent of its own"),
    (CANCEL, 11, None, "belongs to no order of ours"),
])  # fmt: skip
def test_r20_a_message_without_an_intent_is_named(
    kind: RequestKind, order_id: int, role: str | None, words: str
) -> None:
    copy = DropCopy()
    for number, leg in enumerate((MAIN, STOP)):
        copy.fold("symbol:SLV", new(ref(leg), stop="14.00" if leg == STOP else None))
        copy.fold("broker", sent(ref(leg), 10 + number))
    assert copy.left(PLACE, 10, ref(MAIN)) is None
    wrong = copy.left(kind, order_id, None if role is None else ref(role))
    assert wrong is not None
    assert words in wrong
    assert f"order id {order_id}" in wrong


def test_r20_what_was_decided_and_did_not_leave_is_no_mismatch_and_takes_no_room_for_ever() -> None:
    copy = DropCopy()
    for number in range(KEPT + 10):
        copy.fold("symbol:SLV", new(ref(MAIN, trade=number)))
        copy.fold("broker", sent(ref(MAIN, trade=number), number))
    assert copy.left(PLACE, KEPT + 9, ref(MAIN, trade=KEPT + 9)) is None
    assert (len(copy._intents), len(copy._ids)) == (KEPT - 1, KEPT - 1)
    assert copy.left(PLACE, 1, ref(MAIN, trade=1)) is not None


def test_r20_as_many_changes_and_cancels_may_leave_as_were_decided() -> None:
    copy, stop = DropCopy(), ref(STOP)
    for _ in range(2):
        order = new(stop, stop="14.00").order
        copy.fold("symbol:SLV", ModifyOrderEvent(at=at(0), ref=stop, order=order, why="trail"))
        copy.fold("symbol:SLV", CancelEvent(at=at(0), ref=stop, why="over"))
    assert [copy.left(MODIFY, 11, stop) is None for _ in range(3)] == [True, True, False]
    assert [copy.left(CANCEL, 11, stop) is None for _ in range(3)] == [True, True, False]


async def test_r20_more_out_than_in_halts_the_account_with_an_alarm(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor, order = RiskActor(), ref(MAIN)
    async with actor.living():
        actor.write(new(order))
        actor.journal.append("broker", [sent(order, 10)])
        actor.desk.left(PLACE, 10, order)
        await trio.sleep(1.0)
        assert (actor.level, actor.asked) == (KillLevel.OPEN, [])
        actor.desk.left(PLACE, 10, order)
        assert actor.level is KillLevel.HALT, "in the journal at once, so that nothing more passes the gate"
        await trio.sleep(0.1)
    (level,) = actor.events(KillLevelEvent)
    assert isinstance(level, KillLevelEvent)
    assert level.who == "drop copy"
    assert actor.alarms == ["WIRE_MISMATCH", "KILL_LEVEL"]
    assert actor.asked == [f"cancel entries: {level.why}"]


# --- R20: positions ------------------------------------------------------------------------------------


async def test_r20_an_execution_that_the_journal_lacks_halts_the_account(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor, stage = RiskActor(), RiskStage()
    stage.open()
    async with actor.living():
        actor.believed = {SLV: 0}
        await trio.sleep(2 * COMPARE_LOOP_S)
        actor.believed = {SLV: 100}
        traded(stage, actor)
        await trio.sleep(2 * COMPARE_LOOP_S)
        assert actor.level is KillLevel.OPEN
        actor.believed = {SLV: 150}
        await trio.sleep(COMPARE_LOOP_S + 5)
    (level,) = actor.events(KillLevelEvent)
    assert isinstance(level, KillLevelEvent)
    assert (level.level, level.who) == (KillLevel.HALT, "drop copy")
    assert level.why == "our executions make 100 shares of SLV, the broker holds 150"
    assert actor.alarms == ["BOOKS_MISMATCH", "KILL_LEVEL"]


async def test_r20_an_execution_that_is_on_its_way_is_no_mismatch(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor, stage = RiskActor(), RiskStage()
    stage.open()
    async with actor.living():
        await trio.sleep(COMPARE_LOOP_S - 1)
        actor.believed = {SLV: 100}
        await trio.sleep(2.0)
        traded(stage, actor)
        await trio.sleep(2 * COMPARE_LOOP_S)
    assert actor.level is KillLevel.OPEN


async def test_r20_a_symbol_that_holds_itself_has_told_a_person_already(
    autojump_clock: trio.testing.MockClock,
) -> None:
    actor = RiskActor()
    async with actor.living():
        actor.write(HoldEvent(at=T0, symbol=SLV, reason="somebody else traded SLV"))
        actor.believed = {SLV: 100}
        await trio.sleep(2 * COMPARE_LOOP_S)
    assert actor.level is KillLevel.OPEN


# --- figures --------------------------------------------------------------------------------------------


async def test_the_figures_are_those_of_the_gate_now() -> None:
    actor = RiskActor(limits=attrs.evolve(RiskLimits(), max_positions=7))
    actor.clock.set(T0 + timedelta(minutes=1))
    figures = actor.desk.figures()
    assert figures.level is KillLevel.OPEN
    assert figures.equity == 100_000
    assert {limit.name: limit.limit for limit in figures.limits}["max_positions"] == 7
