"""The custodian: a symbol whose actor is in quarantine keeps its stop, or is closed; nothing of it grows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, time
from decimal import Decimal
from functools import partial

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.recovery import Recovery
from protocol.custody import Custody, Guarded, believed, next_steps
from protocol.events import CancelEvent, FillEvent, ModifyOrderEvent, NewOrderEvent
from protocol.exchange.interventions import Interventions
from protocol.reports import OrderReport
from protocol.settings import Schedule
from protocol.symbol_state import SymbolState
from protocol.tws.messages import Order
from protocol.values import (
    CLOSE,
    DOUBLEDOWN,
    MAIN,
    STOP,
    TARGET,
    OrderRef,
    OrderSpec,
    OrderStatus,
    OrderType,
    Purpose,
    Side,
    Symbol,
    TimeInForce,
)
from tests.directed_market import DirectedMarket
from tests.test_sup_kills import kill
from tests.world import GLD, SLV, World, play, settings_for

AT = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
NEXT_CLOSE = OrderRef("a7", SLV, 1, CLOSE)
QUARANTINED = {"QUARANTINED", "GUARDED"}


def working(
    role: str,
    quantity: int,
    side: Side = Side.SELL,
    *,
    filled: int = 0,
    status: OrderStatus = OrderStatus.ACCEPTED,
    why_held: str = "",
    group: str = "exits",
) -> Guarded:
    kind = {STOP: OrderType.STOP, TARGET: OrderType.LIMIT}.get(role, OrderType.MARKET)
    ref = OrderRef("a7", SLV, 1, role)
    price = Decimal(97) if kind is OrderType.STOP else None
    limit = Decimal(108) if kind is OrderType.LIMIT else None
    group = "" if role in (MAIN, DOUBLEDOWN) else group
    spec = OrderSpec(
        ref, side, quantity, kind, TimeInForce.GTC, limit, price, oca_group=group, oca_type=2 if group else 0
    )
    report = OrderReport(AT, ref, 77, status, side, kind, quantity, filled, limit, price, why_held)
    return Guarded(report, spec)


def look(position: int, *orders: Guarded, stubborn: frozenset[OrderRef] = frozenset()) -> Custody:
    return Custody(SLV, position, orders, stubborn)


def told(found: tuple[object, ...]) -> list[tuple[str, str, int]]:
    """Each step as what, role and shares."""
    shown = []
    for step in found:
        match step:
            case CancelEvent(ref=ref):
                shown.append(("cancel", ref.role, 0))
            case ModifyOrderEvent(ref=ref, order=order):
                shown.append(("modify", ref.role, order.quantity))
            case NewOrderEvent(ref=ref, order=order):
                shown.append((f"new in {order.oca_group!r}", ref.role, order.quantity))
            case _:
                raise AssertionError(f"no step: {step!r}")
    return shown


@pytest.mark.parametrize(
    ("case", "wanted"),
    [
        (look(100, working(STOP, 100), working(TARGET, 100)), []),
        (look(-100, working(STOP, 100, Side.BUY)), []),
        (look(0), []),
        (look(0, working(STOP, 100), working(TARGET, 100)), [("cancel", STOP, 0), ("cancel", TARGET, 0)]),
        (
            look(0, working(MAIN, 100, Side.BUY), working(STOP, 100, why_held="child")),
            [("cancel", MAIN, 0)],
        ),
        (
            look(60, working(MAIN, 100, Side.BUY, filled=60), working(STOP, 60)),
            [("cancel", MAIN, 0)],
        ),
        (
            look(100, working(STOP, 100), working(DOUBLEDOWN, 50, Side.BUY)),
            [("cancel", DOUBLEDOWN, 0)],
        ),
        (look(100, working(STOP, 60), working(TARGET, 60)), [("modify", STOP, 100)]),
        (look(40, working(STOP, 100)), [("modify", STOP, 40)]),
        (look(40, working(STOP, 40), working(TARGET, 100)), [("modify", TARGET, 40)]),
        (
            look(
                40,
                working(STOP, 40),
                working(TARGET, 100),
                stubborn=frozenset({OrderRef("a7", SLV, 1, TARGET)}),
            ),
            [("cancel", TARGET, 0)],
        ),
        (look(100, working(TARGET, 100)), [("new in 'exits'", CLOSE, 100)]),
        (look(100), [("new in ''", CLOSE, 100)]),
        (look(100, working(STOP, 100, why_held="child")), [("new in 'exits'", CLOSE, 100)]),
        (look(100, working(STOP, 100, Side.BUY)), [("new in 'exits'", CLOSE, 100)]),
        (look(100, working(CLOSE, 100)), []),
        (look(100, working(CLOSE, 40)), [("new in ''", CLOSE, 60)]),
        (
            look(100, working(STOP, 60), stubborn=frozenset({OrderRef("a7", SLV, 1, STOP)})),
            [("new in ''", CLOSE, 40)],
        ),
    ],
)
def test_what_the_custodian_does_about_what_it_finds(
    case: Custody, wanted: list[tuple[str, str, int]]
) -> None:
    assert told(next_steps(case, NEXT_CLOSE, AT)) == wanted


@pytest.mark.parametrize(
    ("ours", "theirs", "first", "confirmed"),
    [(-230, -230, -230, -230), (-230, 0, None, 0), (0, 100, None, 100), (100, -50, None, -50)],
)
def test_what_one_look_shows_and_our_executions_do_not_waits_for_a_second_look(
    ours: int, theirs: int, first: int | None, confirmed: int
) -> None:
    """TWS may tell a position behind the end of its list; taken for none, it cost a stop (seed 343). It may
    keep back the execution of a stop; taken for open, the position was closed twice (seed 900)."""
    assert believed(ours, theirs, confirmed=False) == first
    assert believed(ours, theirs, confirmed=True) == confirmed


def test_an_order_that_is_being_cancelled_is_not_cancelled_again() -> None:
    asked = working(MAIN, 100, Side.BUY, status=OrderStatus.PENDING_CANCEL)
    assert next_steps(look(0, asked), NEXT_CLOSE, AT) == ()


def test_a_position_that_is_not_wanted_is_closed_part_by_part_in_the_groups_of_its_exits() -> None:
    case = look(
        100, working(STOP, 60, group="g0"), working(TARGET, 60, group="g0"), working("stop.1", 40, group="g1")
    )
    steps = next_steps(case, NEXT_CLOSE, AT, flatten=True)
    assert told(steps) == [("new in 'g0'", CLOSE, 60), ("new in 'g1'", CLOSE, 40)]
    assert len({step.ref for step in steps}) == 2


ROLES = st.sampled_from([MAIN, STOP, TARGET, CLOSE, DOUBLEDOWN])
ORDERS = st.lists(
    st.builds(
        working,
        ROLES,
        st.integers(1, 200),
        st.sampled_from(Side),
        status=st.sampled_from(
            [
                OrderStatus.ACCEPTED,
                OrderStatus.SUBMITTED,
                OrderStatus.PENDING_SUBMIT,
                OrderStatus.PENDING_CANCEL,
            ]
        ),
        why_held=st.sampled_from(["", "child", "locate"]),
        group=st.sampled_from(["", "g0", "g1"]),
    ),
    max_size=5,
)


def numbered(order: Guarded, number: int) -> Guarded:
    """No two orders have one reference."""
    assert order.spec is not None
    ref = attrs.evolve(order.spec.ref, revision=number)
    return Guarded(attrs.evolve(order.report, ref=ref), attrs.evolve(order.spec, ref=ref))


@given(st.integers(-300, 300), ORDERS, st.booleans())
def test_no_step_ever_takes_a_stop_below_the_position_or_a_close_beyond_it(
    position: int, orders: list[Guarded], flatten: bool
) -> None:
    case = look(position, *(numbered(order, number) for number, order in enumerate(orders)))
    steps = next_steps(case, NEXT_CLOSE, AT, flatten=flatten)
    cancelled = {step.ref for step in steps if isinstance(step, CancelEvent)}
    resized = {step.ref: step.order.quantity for step in steps if isinstance(step, ModifyOrderEvent)}
    covered = sum(
        resized.get(order.report.ref, order.report.quantity) - order.report.filled
        for order in case.stops
        if order.report.ref not in cancelled
    )
    assert covered >= min(case.covered, abs(position))
    closing = [step.order for step in steps if isinstance(step, NewOrderEvent)]
    under_way = sum(order.remaining for order in case.closes)
    assert all(order.side is case.closing_side and order.purpose is Purpose.CLOSE for order in closing)
    if closing:
        assert sum(order.quantity for order in closing) + under_way <= abs(position)


# --- in the tree ----------------------------------------------------------------------------------


class Reluctant(Recovery):
    """Does something before each recovery."""

    def __init__(self, recovery: Recovery, before: Callable[[], Awaitable[None]]) -> None:
        self._recovery, self._before = recovery, before

    async def state(self, stream: str, symbol: Symbol) -> SymbolState:
        await self._before()
        return await self._recovery.state(stream, symbol)


def shut_away(world: World, symbol: Symbol = SLV) -> None:
    world.system.symbol_tree.quarantine(f"symbol:{symbol}", "the story shuts it away")


async def enter_a_part(world: World) -> None:
    """The rest of the entry goes on working."""
    world.stage.show(SLV, size=100)
    await trio.sleep(5.0)
    await world.quoted()
    filled = trio.Event()
    world.journal.follow(lambda _, events: filled.set() if isinstance(events[0], FillEvent) else None)
    world.signal(SLV, "BUY")
    await filled.wait()


def test_sup_20_a_position_in_quarantine_keeps_its_stop_and_the_others_trade_on() -> None:
    async def story(world: World) -> None:
        await world.enter(SLV)
        before = world.exits()
        shut_away(world)
        await trio.sleep(60.0)
        assert world.exits() == before
        await world.enter(GLD)
        assert world.position(GLD) == 100
        assert {"quarantined", "GUARDED"} <= world.alarms()
        assert world.restarts() == {"symbol:SLV": 1}  # the quarantine itself

    play(story, DirectedMarket({SLV: 100.0, GLD: 50.0}), settings_for(SLV, GLD))


def test_sup_20_an_entry_that_works_in_quarantine_is_cancelled_and_its_fills_are_covered_and_journalled() -> (
    None
):
    async def story(world: World) -> None:
        await enter_a_part(world)
        shut_away(world)
        await trio.sleep(30.0)
        assert MAIN not in world.working()
        held = world.position()
        assert 0 < held < 250
        assert world.working()[STOP].remaining == held
        journalled = sum(event.quantity for event in world.events(FillEvent, SLV))
        assert journalled == held
        assert world.sent_twice() == []
        assert world.uncovered_s()[SLV] <= 2.0

    play(story, settings=settings_for(SLV, shares=250))


def test_sup_20_a_stop_that_a_person_cancels_in_quarantine_is_followed_by_a_close() -> None:
    async def story(world: World) -> None:
        await world.enter()
        shut_away(world)
        await trio.sleep(5.0)
        stop = world.working()[STOP]
        Interventions(world.tws.venue).cancel_manual(world.tws.market_now(), stop.perm_id)
        await trio.sleep(40.0)
        assert world.position() == 0
        assert world.working() == {}
        assert "NAKED" in world.alarms()
        assert world.disagreements() == ()

    play(story)


def test_the_day_ends_flat_for_a_symbol_in_quarantine_too() -> None:
    ends = Schedule(no_entries_after=time(10, 1), flatten=time(10, 2))

    async def story(world: World) -> None:
        await world.enter()
        shut_away(world)
        await world.sleep_until("10:03:00")
        assert (world.position(), world.working()) == (0, {})
        assert world.system.at_rest
        assert world.disagreements() == ()

    play(story, settings=settings_for(SLV, schedule=ends))


def test_sup_20_the_end_of_the_day_does_not_wait_for_the_next_routine_look() -> None:
    """In a fast replay the minutes before the close are shorter than the pause between two looks."""
    ends = Schedule(no_entries_after=time(10, 1), flatten=time(10, 1, 50))

    async def story(world: World) -> None:
        await world.enter()
        shut_away(world)
        await world.sleep_until("10:01:49")
        assert world.system.custodian.guards[SLV].look_at - trio.current_time() > 10.0
        await world.sleep_until("10:01:53")
        assert (world.position(), world.working()) == (0, {})

    play(story, settings=settings_for(SLV, schedule=ends))


def test_a_released_symbol_takes_over_from_the_custodian_and_trades_on() -> None:
    async def story(world: World) -> None:
        await world.enter()
        shut_away(world)
        await trio.sleep(10.0)
        world.system.flatten(SLV, "a person wants it so")
        await trio.sleep(10.0)
        assert world.position() == 0
        assert world.system.release_symbol(SLV)
        await world.until(lambda: world.system.symbols[SLV].ready)
        await trio.sleep(3.0)
        assert world.state().trade is None
        assert "GUARD_ENDED" in world.alarms()
        await trio.sleep(200.0)
        await world.enter(SLV, "SELL")
        assert world.position() == -100
        assert world.sent_twice() == []
        assert world.disagreements() == ()

    play(story)


def test_what_somebody_else_trades_while_the_actor_is_down_holds_the_symbol_when_it_is_back() -> None:
    """Fault seed 270: its actor found the trade in its journal, as a thing of the past, and was not held."""

    async def story(world: World) -> None:
        await world.enter()
        shut_away(world)
        await trio.sleep(10.0)
        contract = world.tws.venue.open_orders()[0].contract
        order = Order(action="BUY", order_type="MKT", total_quantity=Decimal(10))
        Interventions(world.tws.venue).place_manual(world.tws.market_now(), contract, order)
        await trio.sleep(40.0)
        assert {"GUARDED", "FOREIGN_TRADE"} <= world.alarms()
        assert world.system.release_symbol(SLV)
        await world.until(lambda: world.system.symbols[SLV].ready)
        assert world.state().held == "somebody else traded SLV (BUY 10)"

    play(story)


@pytest.mark.parametrize("after_s", [0.5, 2.5, 4.0])
def test_a_custodian_that_is_killed_takes_up_its_guards_again(after_s: float) -> None:
    async def story(world: World) -> None:
        await enter_a_part(world)
        shut_away(world)
        await trio.sleep(after_s)
        world.kill("custodian")
        await trio.sleep(30.0)
        assert MAIN not in world.working()
        assert world.working()[STOP].remaining == world.position()
        assert world.sent_twice() == []

    play(story, settings=settings_for(SLV, shares=250))


@pytest.mark.parametrize("supervisor", ["trading", "symbols"])
def test_sup_20_a_symbol_that_stays_in_quarantine_is_guarded_after_its_supervisors_have_died(
    supervisor: str,
) -> None:
    """It does not fall once more, so nobody tells of it (seed 969: its target filled, and nobody heard)."""

    async def story(world: World) -> None:
        await world.enter()
        shut_away(world)
        await trio.sleep(5.0)
        await kill(world, supervisor)
        await trio.sleep(10.0)
        assert SLV in world.system.custodian.guards
        stop = world.working()[STOP]
        Interventions(world.tws.venue).cancel_manual(world.tws.market_now(), stop.perm_id)
        await trio.sleep(40.0)
        assert world.position() == 0
        assert world.disagreements() == ()

    play(story)


def test_sup_20_a_symbol_that_is_back_within_two_seconds_is_nobodys_ward() -> None:
    async def story(world: World) -> None:
        await world.enter()
        world.kill(SLV)
        await trio.sleep(10.0)
        assert world.alarms() == set()
        assert world.system.custodian.guards == {}

    play(story)


def test_sup_15_commands_of_the_custodian_are_stale_once_the_symbol_is_up_again() -> None:
    async def story(world: World) -> None:
        await world.enter()
        shut_away(world)
        await trio.sleep(5.0)
        old = world.system.broker.epoch_of(SLV)
        world.system.release_symbol(SLV)
        await trio.sleep(1.0)
        await world.until(lambda: world.system.symbols[SLV].ready)
        assert world.system.broker.epoch_of(SLV) > old

    play(story)


def test_a_look_is_made_of_what_the_broker_says() -> None:
    guarded = working(STOP, 100, filled=30)
    assert guarded.remaining == 70
    assert not attrs.evolve(guarded, report=attrs.evolve(guarded.report, why_held="child")).works


def test_a_symbol_that_cannot_even_start_is_guarded_once_it_is_shut_away() -> None:
    """Its position is of an earlier life of the process, and the first start of this one fails already."""

    async def story(world: World) -> None:
        await world.enter()
        actor = world.system.symbols[SLV]

        async def cannot() -> None:
            raise ZeroDivisionError("it cannot start")

        actor._recovery = Reluctant(actor._recovery, cannot)
        world.kill(SLV)
        await trio.sleep(60.0)
        assert "GUARDED" in world.alarms()
        assert set(world.exits()) == {STOP, TARGET}

    play(story)


def test_symbols_that_wait_for_their_turn_to_start_are_nobodys_wards() -> None:
    names = [Symbol(f"S{number}") for number in range(4)]

    async def story(world: World) -> None:
        slow = world.system.symbols[names[0]]
        slow._recovery = Reluctant(slow._recovery, partial(trio.sleep, 8.0))
        for child in world.system.trading.which_children():
            if child.id == "symbols":
                world.system.trading.kill("symbols", "the story starts them all anew")
        await trio.sleep(20.0)
        assert "GUARDED" not in world.alarms()

    play(story, DirectedMarket(dict.fromkeys(names, 100.0)), settings_for(*names))
